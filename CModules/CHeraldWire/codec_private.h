/* What the codecs of this module share: words of eight bytes, exact lengths with
 * unchecked writers, and the reading of a publication's members. */
#ifndef HR_CODEC_PRIVATE_H
#define HR_CODEC_PRIVATE_H

#include "CHeraldWire.h"

#include <endian.h>
#include <string.h>

/* The marks below set the high bit of a byte that has the property. Borrows may mark bytes
 * above a true one, never below: the lowest mark is exact, and none means none. */
#define HR__ONES UINT64_C(0x0101010101010101)
#define HR__HIGHS UINT64_C(0x8080808080808080)

/* Eight bytes, the first of them lowest. */
static inline uint64_t hr__word(const char *at) {
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return le64toh(word);
}
static inline uint64_t hr__marks_of(uint64_t word, unsigned char byte) {
    uint64_t zeros = word ^ (HR__ONES * byte);
    return (zeros - HR__ONES) & ~zeros & HR__HIGHS;
}
static inline uint64_t hr__marks_of_controls(uint64_t word) {
    return (word - HR__ONES * 0x20) & ~word & HR__HIGHS;
}
static inline size_t hr__first_mark(uint64_t marks) { return (size_t)__builtin_ctzll(marks) >> 3; }

/* memcpy that takes an empty slice, whose data may be NULL; returns the place behind. */
static inline char *hr__put(char *at, hr_slice bytes) {
    if (bytes.len > 0) {
        memcpy(at, bytes.data, bytes.len);
    }
    return at + bytes.len;
}

/* How long text is as a JSON string with its quotes. */
size_t hr__json_string_len(hr_slice text);
/* Writes text as a JSON string, exactly that long; returns the place behind. */
char *hr__json_string_put(char *at, hr_slice text);

static inline size_t hr__base64_len(size_t len) { return (len + 2) / 3 * 4; }
char *hr__base64_put(char *at, hr_slice bytes);
/* Decodes text to out, which has room for text.len bytes and may be text's own memory. */
HR_MUST_CHECK hr_status hr__base64_get(hr_slice text, char *out, size_t *out_len);

/* Whether content_type is application/json or has the suffix +json (RFC 6839 §3.1). */
bool hr__content_type_is_json(hr_slice content_type);

/* Where decoded text goes. It moves at most once, before anything points into it: the first use
 * makes room for all bytes that may ever come. bound: of scratch->len, at the end. */
typedef struct hr__decoder {
    hr_buf *scratch;
    size_t bound;
    hr_batch_error *error;
} hr__decoder;

/* Fills error's text; returns HR_EINVAL. Line, column and index stay as they are. */
HR_MUST_CHECK hr_status hr__refuse(hr_batch_error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The same for text that is not JSON. */
HR_MUST_CHECK hr_status hr__refuse_syntax(hr_batch_error *error, const hr_json_error *json);

#define HR__EXCERPT_LEN 44 /* 40 bytes, three dots, a NUL */
/* Makes a member's name as it stands in the input fit for an error's text; returns out. */
const char *hr__excerpt(hr_slice raw_string, char out[HR__EXCERPT_LEN]);

/* The text of the string at member name: a slice of the input, or decoded when it has escapes. */
HR_MUST_CHECK hr_status hr__text_read(hr__decoder *decoder, const char *name, hr_json_value value,
                                      hr_slice *out);
/* hr_publication_read over a decoder that is used for more than one object. */
HR_MUST_CHECK hr_status hr__publication_read(hr__decoder *decoder, hr_json_value object,
                                             const hr_slice *ignored, size_t ignored_count,
                                             hr_publication *out);
/* The same for a CloudEvent 1.0 in the JSON event format; topic is its subject, if any. */
HR_MUST_CHECK hr_status hr__cloudevent_read(hr__decoder *decoder, hr_json_value object,
                                            hr_publication *out);

#endif
