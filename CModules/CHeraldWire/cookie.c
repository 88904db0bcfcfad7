#include "CHeraldWire.h"

/* What stands before the first separator; *rest: what stands behind it, nothing without one. */
static hr_slice cut(hr_slice text, char separator, hr_slice *rest) {
    const char *at = text.len == 0 ? NULL : memchr(text.data, separator, text.len);
    size_t len = at == NULL ? text.len : (size_t)(at - text.data);
    *rest = at == NULL ? (hr_slice){NULL, 0} : (hr_slice){at + 1, text.len - len - 1};
    return (hr_slice){text.data, len};
}

bool hr_cookie_find(hr_slice header, hr_slice name, hr_slice *value) {
    while (header.len > 0) {
        hr_slice text;
        hr_slice pair = cut(header, ';', &header);
        hr_slice found = hr_slice_trim(cut(pair, '=', &text));
        /* A semicolon ends a pair, also in quotes: the quotes are the value's own (RFC 6265 §4.1.1
         * has none in what they enclose). */
        if (text.data == NULL || found.len == 0 || !hr_slice_equal(found, name)) {
            continue;
        }
        text = hr_slice_trim(text);
        if (text.len >= 2 && text.data[0] == '"' && text.data[text.len - 1] == '"') {
            text = (hr_slice){text.data + 1, text.len - 2};
        }
        *value = text;
        return true;
    }
    return false;
}
