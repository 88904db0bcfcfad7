/* names_private: walking a name by segments, for the files of this module. */
#ifndef HR_NAMES_PRIVATE_H
#define HR_NAMES_PRIVATE_H

#include "hr_names.h"
#include <string.h>

/* Takes the next segment off *rest; false when none is left. A slash at the end
 * leaves one empty segment. *rest with data NULL is used up. */
static inline bool hr__segment_next(hr_slice *rest, hr_slice *segment) {
    if (rest->data == NULL) {
        return false;
    }
    const char *slash = rest->len == 0 ? NULL : memchr(rest->data, '/', rest->len);
    if (slash == NULL) {
        *segment = *rest;
        *rest = (hr_slice){NULL, 0};
        return true;
    }
    size_t len = (size_t)(slash - rest->data);
    *segment = (hr_slice){rest->data, len};
    *rest = (hr_slice){slash + 1, rest->len - len - 1};
    return true;
}

static inline bool hr__segment_is_star(hr_slice segment) {
    return segment.len == 1 && segment.data[0] == '*';
}

static inline bool hr__segment_is_stars(hr_slice segment) {
    return segment.len == 2 && segment.data[0] == '*' && segment.data[1] == '*';
}

/* Wildcards in the first place pass over such a segment. */
static inline bool hr__segment_is_reserved(hr_slice segment) {
    return segment.len > 0 && segment.data[0] == '~';
}

#endif
