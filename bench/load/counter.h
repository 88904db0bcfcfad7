/* Every event carries a counter, written #000000123# at the head of its payload, which is looked
 * for in whatever a server makes of the event. So the same program measures any server. */
#ifndef COUNTER_H
#define COUNTER_H

#include <stddef.h>
#include <stdint.h>

#define COUNTER_DIGITS 9u
#define COUNTER_LEN (COUNTER_DIGITS + 2u)
#define COUNTER_END UINT64_C(1000000000)

/* Writes COUNTER_LEN bytes. Ends the program when the digits do not suffice. */
void counter_write(char *out, uint64_t counter);

/* Finds the first counter. Returns where it ends, or NULL if there is none. */
const char *counter_find(const char *text, size_t len, uint64_t *counter);

#endif
