/* hr_check: assertions that stay on in release, and checked handles.
 *
 * A peer's mistake is an hr_status; ours ends the process here. Every struct
 * that is reached through a pointer begins with a magic number. */
#ifndef HR_CHECK_H
#define HR_CHECK_H

#include <stdint.h>

/* Prints where and what to standard error and aborts. */
_Noreturn void hr_panic(const char *file, int line, const char *what);

#define HR_ASSERT(condition)                                                                       \
    do {                                                                                           \
        if (__builtin_expect(!(condition), 0)) {                                                   \
            hr_panic(__FILE__, __LINE__, #condition);                                              \
        }                                                                                          \
    } while (0)

#define HR_MAGIC_FIELD uint32_t magic
#define HR_MAGIC_SET(pointer, value) ((pointer)->magic = (value))
/* Poisons a handle about to be freed, so that a later use is caught. */
#define HR_MAGIC_CLEAR(pointer) ((pointer)->magic = 0xDEADDEADu)
#define HR_CHECK(pointer, value) HR_ASSERT((pointer) != NULL && (pointer)->magic == (value))

/* Casts a void * context to type * after checking its magic. */
#define HR_CAST(type, out, context, value)                                                         \
    do {                                                                                           \
        (out) = (type *)(context);                                                                 \
        HR_CHECK(out, value);                                                                      \
    } while (0)

#define HR_CONTAINER_OF(pointer, type, member)                                                     \
    ((type *)(void *)((char *)(pointer) - __builtin_offsetof(type, member)))

#endif
