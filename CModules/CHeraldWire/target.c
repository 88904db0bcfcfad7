#include "CHeraldWire.h"

#include <string.h>

hr_status hr_target_split(hr_slice target, hr_slice *path, hr_slice *query) {
    if (memchr(target.data, '#', target.len) != NULL) {
        return HR_EINVAL;
    }
    if (!hr_slice_has_prefix(target, HR_LIT("/"))) {
        /* absolute-form (RFC 9112 §3.2.2); the parser admitted no other scheme. */
        const char *authority = target.len >= 7 ? memchr(target.data, ':', target.len) : NULL;
        if (authority == NULL || (size_t)(target.data + target.len - authority) < 3) {
            return HR_EINVAL;
        }
        authority += 3;
        size_t left = (size_t)(target.data + target.len - authority);
        const char *slash = memchr(authority, '/', left);
        target = slash == NULL ? HR_LIT("/")
                               : (hr_slice){slash, (size_t)(target.data + target.len - slash)};
    }
    const char *mark = memchr(target.data, '?', target.len);
    *path = (hr_slice){target.data, mark == NULL ? target.len : (size_t)(mark - target.data)};
    *query = mark == NULL ? (hr_slice){NULL, 0} : (hr_slice){mark + 1, target.len - path->len - 1};
    return HR_OK;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool has(hr_slice text, char c) {
    return text.len > 0 && memchr(text.data, c, text.len) != NULL;
}

hr_status hr_percent_decode(hr_slice text, bool plus_is_space, hr_buf *out) {
    hr_status status = hr_buf_reserve(out, text.len);
    if (status != HR_OK) {
        return status;
    }
    if (!has(text, '%') && !has(text, 0) && !(plus_is_space && has(text, '+'))) {
        return hr_buf_append_slice(out, text);
    }
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        if (c == '+' && plus_is_space) {
            c = ' ';
        } else if (c == '%') {
            int high = i + 2 < text.len ? hex_digit(text.data[i + 1]) : -1;
            int low = i + 2 < text.len ? hex_digit(text.data[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return HR_EINVAL;
            }
            c = (char)(high * 16 + low);
            i += 2;
        }
        if (c == 0) {
            return HR_EINVAL;
        }
        out->data[out->len++] = c;
    }
    return HR_OK;
}

bool hr_query_next(hr_slice query, size_t *place, hr_slice *name, hr_slice *value) {
    while (*place < query.len) {
        const char *start = query.data + *place;
        size_t left = query.len - *place;
        const char *end = memchr(start, '&', left);
        size_t len = end == NULL ? left : (size_t)(end - start);
        *place += len + 1;
        if (len == 0) {
            continue;
        }
        const char *equals = memchr(start, '=', len);
        size_t name_len = equals == NULL ? len : (size_t)(equals - start);
        *name = (hr_slice){start, name_len};
        *value = equals == NULL ? (hr_slice){NULL, 0} : (hr_slice){equals + 1, len - name_len - 1};
        return true;
    }
    return false;
}
