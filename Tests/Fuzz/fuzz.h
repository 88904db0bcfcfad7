/* What the targets of parsers fed in pieces share: the same bytes, cut in several ways, must leave
 * the same record. */
#ifndef FUZZ_H
#define FUZZ_H

#include "CHeraldWire.h"

#include <stdlib.h>
#include <string.h>

/* Feeds one piece, which it may change, to the parser and records what comes out. */
typedef void fuzz_feed_fn(hr_buf *out, char *bytes, size_t len, void *parser);

static inline void fuzz_record(hr_buf *out, unsigned what, hr_slice slice) {
    HR_ASSERT(hr_buf_appendf(out, "\n%u %zu:", what, slice.len) == HR_OK);
    HR_ASSERT(hr_buf_append_slice(out, slice) == HR_OK);
}

/* The same of text in which no control byte may stand. */
static inline void fuzz_record_line(hr_buf *out, unsigned what, hr_slice line) {
    for (size_t i = 0; i < line.len; i++) {
        HR_ASSERT(((unsigned char)line.data[i] >= ' ' && line.data[i] != 0x7F) ||
                  line.data[i] == '\t');
    }
    fuzz_record(out, what, line);
}

/* Feeds bytes in pieces of step, each in memory of its own size, so that reading past it is seen.
 */
static inline void fuzz_feed(hr_buf *out, const char *bytes, size_t len, size_t step, void *parser,
                             fuzz_feed_fn *feed) {
    for (size_t at = 0; at < len; at += step) {
        size_t piece = len - at < step ? len - at : step;
        char *copy = malloc(piece);
        HR_ASSERT(copy != NULL);
        memcpy(copy, bytes + at, piece);
        feed(out, copy, piece, parser);
        free(copy);
    }
}

/* The target's: reads bytes in pieces of step with a new parser and gives the record. */
static hr_buf fuzz_read(const char *bytes, size_t len, size_t step);

int LLVMFuzzerTestOneInput(const char *bytes, size_t len) {
    hr_buf whole = fuzz_read(bytes, len, len + 1);
    for (size_t step = 1; step < 16 && step < len; step += step) {
        hr_buf cut = fuzz_read(bytes, len, step);
        HR_ASSERT(hr_slice_equal(hr_buf_slice(&whole), hr_buf_slice(&cut)));
        hr_buf_fini(&cut);
    }
    hr_buf_fini(&whole);
    return 0;
}

#endif
