/* hr_utf8: UTF-8 validation that fails at the first impossible byte (RFC 3629, Unicode 15 table
 * 3-7). */
#ifndef HR_UTF8_H
#define HR_UTF8_H

#include "CHeraldBase.h"

/* The state between pieces of one text. Zeroed memory begins a text. */
typedef struct hr_utf8 {
    uint8_t need;  /* continuation bytes still due */
    uint8_t lower; /* bounds of the next continuation byte */
    uint8_t upper;
} hr_utf8;

/* Feeds the next piece; false as soon as no continuation could make the text valid. */
bool hr_utf8_feed(hr_utf8 *utf8, const char *bytes, size_t len);
/* Whether the text may end here. */
static inline bool hr_utf8_complete(const hr_utf8 *utf8) { return utf8->need == 0; }
/* Whether all of text is valid. ASCII runs are checked words at a time. */
bool hr_utf8_valid(hr_slice text);

#endif
