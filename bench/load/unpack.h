/* Messages that were compressed each by itself: by permessage-deflate without context takeover, or
 * in a gzip stream that is flushed behind each event and never looks back.
 *
 * A message that is compressed once for all has the same bytes for every reader. So each different
 * one is inflated once, and what is in it compared with what was published, to the byte; of the
 * others the bytes are compared with one that was inflated. Nothing is taken on trust, and the
 * generator does not do the work of a thousand browsers. */
#ifndef UNPACK_H
#define UNPACK_H

#include "payload.h"

#include <stddef.h>
#include <stdint.h>

/* What ends a block that is flushed; a WebSocket leaves it out (RFC 7692 section 7.2.1). */
#define FLUSH_MARK "\0\0\xff\xff"
#define FLUSH_MARK_LEN 4u

#define UNPACKED_EVENTS_MAX 16u

typedef struct unpacked {
    char *packed; /* without the mark */
    size_t packed_len;
    size_t packed_cap;
    uint32_t event_count; /* none in what is the server's own */
    uint64_t counters[UNPACKED_EVENTS_MAX];
} unpacked;

/* The message that the bytes begin with, if it has come before, or NULL; valid until the next
 * unpack. *place is the reader's, 0 at first: readers get the same messages in the same order, so
 * it is most often the one behind the last. */
const unpacked *unpacked_known(uint32_t *place, const char *bytes, size_t len);

/* Inflates a message, without the mark, and keeps it. The program ends if it does not stand by
 * itself, or holds an event that is not what was published. */
const unpacked *unpack(uint32_t *place, const char *bytes, size_t len, const payloads *payloads);

#endif
