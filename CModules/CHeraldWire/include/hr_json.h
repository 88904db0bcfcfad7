/* hr_json: a strict pull scanner of JSON (RFC 8259) that hands out slices of its input.
 *
 * It copies nothing and keeps no tree. Strict: refused are malformed UTF-8, lone
 * surrogate escapes, leading zeros, a byte order mark, and what is nested more than
 * HR_JSON_DEPTH_MAX deep. Not here: members given twice are the caller's to judge.
 * Thread: ANY; a cursor is one thread's. */
#ifndef HR_JSON_H
#define HR_JSON_H

#include "CHeraldBase.h"

#define HR_JSON_DEPTH_MAX 64

typedef enum HR_CLOSED_ENUM hr_json_kind {
    HR_JSON_NULL,
    HR_JSON_BOOL,
    HR_JSON_NUMBER,
    HR_JSON_STRING, /* raw includes the quotes and escapes */
    HR_JSON_ARRAY,
    HR_JSON_OBJECT,
} hr_json_kind;

typedef struct hr_json_value {
    hr_json_kind kind;
    hr_slice raw; /* the value's own bytes, without white space around it */
} hr_json_value;

/* What is wrong and where. line and column count from 1; column in bytes; a line feed ends a line.
 */
typedef struct hr_json_error {
    const char *what; /* static printable ASCII, e.g. "expected a colon" */
    size_t offset;
    uint32_t line;
    uint32_t column;
} hr_json_error;

/* A place inside a text. In place; no memory to free. */
typedef struct hr_json_cursor {
    hr_slice text;
    size_t at;
    hr_json_error error;
} hr_json_cursor;

void hr_json_begin(hr_json_cursor *cursor, hr_slice text);
/* Reads and validates one whole value with the white space before it. HR_EINVAL fills
 * cursor->error. */
HR_MUST_CHECK hr_status hr_json_value_read(hr_json_cursor *cursor, hr_json_value *out);
/* HR_OK when only white space is left; HR_EINVAL fills cursor->error. */
HR_MUST_CHECK hr_status hr_json_end(hr_json_cursor *cursor);
/* Whether text is exactly one valid value, white space around it allowed. */
bool hr_json_valid(hr_slice text);

/* Walks an object or array that hr_json_value_read has validated. *place begins at 0; false at the
 * end. key gives a member's name as a raw string with quotes. */
bool hr_json_object_next(hr_json_value object, size_t *place, hr_slice *key, hr_json_value *out);
bool hr_json_array_next(hr_json_value array, size_t *place, hr_json_value *out);

/* Appends the text that a validated raw string stands for to out: never longer than raw. */
HR_MUST_CHECK hr_status hr_json_string_decode(hr_slice raw, hr_buf *out);
/* Whether a validated raw string stands for exactly text. */
bool hr_json_string_is(hr_slice raw, hr_slice text);
/* Appends text (valid UTF-8) as a JSON string with its quotes. Escapes the quote, the backslash,
 * controls and, for safety in HTML and line protocols, U+2028 and U+2029. */
HR_MUST_CHECK hr_status hr_json_string_append(hr_buf *out, hr_slice text);
/* Line and column of offset in text. */
void hr_json_position(hr_slice text, size_t offset, uint32_t *line, uint32_t *column);

/* RFC 4648 §4 with padding. Decoding refuses anything that encoding would not have written with
 * HR_EINVAL; out is then as long as before. */
HR_MUST_CHECK hr_status hr_base64_append(hr_buf *out, hr_slice bytes);
HR_MUST_CHECK hr_status hr_base64_decode(hr_slice text, hr_buf *out);

#endif
