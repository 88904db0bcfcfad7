/* hr_deflate: deflate (RFC 1951) and gzip (RFC 1952), a text at a time, over zlib.
 *
 * Every text is compressed by itself, with no memory of those before it, so that all readers can be
 * sent the same bytes and no connection holds a state.
 * Thread: ANY. A thread has one zlib state each way, made on first use (about 160 KiB to compress,
 *   40 KiB to inflate), used again for every text, and freed with the thread. */
#ifndef HR_DEFLATE_H
#define HR_DEFLATE_H

#include "CHeraldBase.h"

/* Base-2 logarithms of how far back a text may refer. zlib has no 8 without its own framing. */
#define HR_WINDOW_BITS_MIN 9
#define HR_WINDOW_BITS_MAX 15

/* Every run of blocks ends in these bytes: the empty block that fills up the last byte. */
#define HR_DEFLATE_TAIL_LEN 4

/* Writes input as deflate blocks that begin and end on a byte, none of them the final one, to out,
 * which holds out_len_max bytes. Returns their length; 0 when they would not leave a byte of
 * out_len_max over, or there is no memory: then out holds nothing of use, and input is best sent as
 * it is. */
size_t hr_deflate(hr_slice input, unsigned window_bits, char *out, size_t out_len_max);

/* The length of input of len bytes as stored blocks. */
size_t hr_deflate_stored_len(size_t len);
/* Writes input as stored blocks, hr_deflate_stored_len bytes; the same kind of blocks as those of
 * hr_deflate, uncompressed. Returns the length. */
size_t hr_deflate_store(hr_slice input, char *out);

/* How much longer a peer's deflate of len bytes may be than they are, at most. */
uint64_t hr_deflate_len_max(uint64_t len);

/* Inflates one text whose blocks' tail has been cut off (RFC 7692 §7.2.2) and appends it. Final
 * blocks may stand in it (§7.2.3.4). HR_ETOOBIG: it is longer than len_max; no more than a byte
 * beyond that has been inflated. HR_EPROTO: not deflate, or not whole. On an error out is as long as
 * before. */
HR_MUST_CHECK hr_status hr_inflate_append(hr_buf *out, hr_slice input, uint64_t len_max);

#define HR_GZIP_HEAD_LEN 10
/* What a gzip member begins with; the blocks of hr_deflate and hr_deflate_store may follow. */
hr_slice hr_gzip_head(void);
/* Appends input as a whole gzip member, compressed if that makes it shorter. On HR_ENOMEM out is as
 * long as before. */
HR_MUST_CHECK hr_status hr_gzip_append(hr_buf *out, hr_slice input);

typedef enum HR_CLOSED_ENUM hr_coding {
    HR_CODING_IDENTITY,
    HR_CODING_GZIP,      /* where it saves something */
    HR_CODING_GZIP_ONLY, /* identity was refused */
} hr_coding;
/* What an Accept-Encoding header, its lines joined by commas, asks for (RFC 9110 §12.5.3). gzip must
 * be named, as such, as x-gzip or by a *, with a weight above 0 that is no less than identity's.
 * Without the header, or where none of both may be sent, it is identity. */
hr_coding hr_coding_choose(hr_slice accept_encoding);

#endif
