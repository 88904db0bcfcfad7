/* What every file here needs: an end with a message, memory or an end, the clock.
 *
 * Any fault of the generator or refusal by the server ends the program with status 1: a run that
 * did not do what it says prints no numbers. */
#ifndef BASE_H
#define BASE_H

#include <stddef.h>
#include <stdint.h>

#define NS_PER_S UINT64_C(1000000000)

/* Outstanding work is given up when nothing moves for so long. */
#define STALL_NS (2 * NS_PER_S)

__attribute__((noreturn, format(printf, 1, 2))) void die(const char *format, ...);

void *must_alloc(void *old, size_t len);
void *must_alloc_zeroed(size_t count, size_t len);

uint64_t now_ns(void);

/* amount / of, or 0 where that says nothing. */
double per(double amount, double of);

/* Writes value in decimal; returns its length, at most 20. */
size_t format_number(char *out, uint64_t value);

#endif
