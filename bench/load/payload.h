/* The bodies that are published: #000000123# and a filling, or JSON with the counter in it.
 *
 * JSON is an order of several items: the same names again and again, values that differ, words and
 * digits. There are so many different ones, in turn, that all of them together are longer than what
 * deflate looks back on: no server gains by their coming round. They are the same in every run. */
#ifndef PAYLOAD_H
#define PAYLOAD_H

#include "options.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAYLOAD_JSON_MIN 64u

typedef struct payloads {
    char *bytes; /* all of them, one behind the other */
    uint32_t count;
    uint32_t len; /* of each */
    uint32_t counter_at;
    const char *type; /* the media type */
} payloads;

/* Makes those that the options ask for, once for all. */
const payloads *payloads_of(const options *options);

/* Writes the body with this counter: len bytes. */
void payload_write(const payloads *payloads, char *out, uint64_t counter);

/* Whether the text has that body, whole, around the counter that ends at counter_end in it. */
bool payload_is_around(const payloads *payloads, const char *text, size_t len,
                       const char *counter_end, uint64_t counter);

#endif
