/* hr_bytes: borrowed slices and growable buffers of bytes. */
#ifndef HR_BYTES_H
#define HR_BYTES_H

#include "hr_check.h"
#include "hr_status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A borrowed slice; never ended with a NUL. data may be NULL when len is 0. */
typedef struct hr_slice {
    const char *data;
    size_t len;
} hr_slice;

#define HR_LIT(literal) ((hr_slice){(literal), sizeof(literal) - 1})

static inline bool hr_slice_equal(hr_slice a, hr_slice b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}
/* ASCII letters compare without case; other bytes as they are. */
bool hr_slice_equal_nocase(hr_slice a, hr_slice b);
/* Without the spaces and tabs at either end (RFC 9110 §5.6.3). */
static inline hr_slice hr_slice_trim(hr_slice slice) {
    while (slice.len > 0 && (slice.data[0] == ' ' || slice.data[0] == '\t')) {
        slice = (hr_slice){slice.data + 1, slice.len - 1};
    }
    while (slice.len > 0 &&
           (slice.data[slice.len - 1] == ' ' || slice.data[slice.len - 1] == '\t')) {
        slice.len--;
    }
    return slice;
}
static inline bool hr_slice_has_prefix(hr_slice slice, hr_slice prefix) {
    return slice.len >= prefix.len &&
           (prefix.len == 0 || memcmp(slice.data, prefix.data, prefix.len) == 0);
}
/* Bytewise order, a shorter prefix first: <0, 0, >0. */
int hr_slice_compare(hr_slice a, hr_slice b);

/* A growable buffer. Zeroed memory is a valid empty one. Single thread. */
typedef struct hr_buf {
    char *data;
    size_t len;
    size_t cap;
} hr_buf;

HR_MUST_CHECK hr_status hr__buf_grow(hr_buf *buf, size_t extra);
/* Makes room for extra more bytes. On HR_ENOMEM buf is unchanged. */
HR_MUST_CHECK static inline hr_status hr_buf_reserve(hr_buf *buf, size_t extra) {
    HR_ASSERT(buf->len <= buf->cap);
    return extra <= buf->cap - buf->len ? HR_OK : hr__buf_grow(buf, extra);
}
HR_MUST_CHECK static inline hr_status hr_buf_append(hr_buf *buf, const void *bytes, size_t len) {
    hr_status status = hr_buf_reserve(buf, len);
    if (status == HR_OK && len > 0) {
        memcpy(buf->data + buf->len, bytes, len);
        buf->len += len;
    }
    return status;
}
HR_MUST_CHECK static inline hr_status hr_buf_append_slice(hr_buf *buf, hr_slice slice) {
    return hr_buf_append(buf, slice.data, slice.len);
}
/* Appends count slices one behind the other, all or none. */
HR_MUST_CHECK hr_status hr_buf_append_parts(hr_buf *buf, const hr_slice *parts, size_t count);
/* The same for an array whose length the compiler knows. */
#define HR_BUF_APPEND_ALL(buf, parts)                                                              \
    hr_buf_append_parts((buf), (parts), sizeof(parts) / sizeof *(parts))
HR_MUST_CHECK hr_status hr_buf_append_u64(hr_buf *buf, uint64_t value);
/* printf into buf; format must be a literal. */
HR_MUST_CHECK hr_status hr_buf_appendf(hr_buf *buf, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Drops the first len bytes and moves the rest down. Precondition: len <= buf->len. */
void hr_buf_consume(hr_buf *buf, size_t len);
/* Frees the memory and leaves an empty buffer. */
void hr_buf_fini(hr_buf *buf);
static inline hr_slice hr_buf_slice(const hr_buf *buf) { return (hr_slice){buf->data, buf->len}; }

/* Writes value in decimal to out (at least 20 bytes, no NUL); returns its length. */
size_t hr_u64_format(uint64_t value, char *out);
/* Reads all of text as decimal without sign or leading zeros. HR_EINVAL also on overflow. */
HR_MUST_CHECK hr_status hr_u64_parse(hr_slice text, uint64_t *out);

#endif
