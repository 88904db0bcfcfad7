#include "CHeraldBase.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned char lower(char c) {
    unsigned char u = (unsigned char)c;
    return (u >= 'A' && u <= 'Z') ? (unsigned char)(u | 0x20u) : u;
}

bool hr_slice_equal_nocase(hr_slice a, hr_slice b) {
    if (a.len != b.len) {
        return false;
    }
    for (size_t i = 0; i < a.len; i++) {
        if (a.data[i] != b.data[i] && lower(a.data[i]) != lower(b.data[i])) {
            return false;
        }
    }
    return true;
}

int hr_slice_compare(hr_slice a, hr_slice b) {
    size_t shorter = a.len < b.len ? a.len : b.len;
    int order = shorter == 0 ? 0 : memcmp(a.data, b.data, shorter);
    if (order != 0) {
        return order;
    }
    return a.len < b.len ? -1 : a.len > b.len;
}

hr_status hr__buf_grow(hr_buf *buf, size_t extra) {
    if (extra > SIZE_MAX / 2 - buf->len) {
        return HR_ENOMEM;
    }
    size_t needed = buf->len + extra;
    size_t cap = buf->cap < 64 ? 64 : buf->cap;
    while (cap < needed) {
        cap += cap / 2;
    }
    char *data = realloc(buf->data, cap);
    if (data == NULL) {
        return HR_ENOMEM;
    }
    buf->data = data;
    buf->cap = cap;
    return HR_OK;
}

hr_status hr_buf_append_parts(hr_buf *buf, const hr_slice *parts, size_t count) {
    size_t len = 0;
    for (size_t i = 0; i < count; i++) {
        len += parts[i].len;
    }
    hr_status status = hr_buf_reserve(buf, len);
    if (status != HR_OK) {
        return status;
    }
    for (size_t i = 0; i < count; i++) {
        if (parts[i].len > 0) {
            memcpy(buf->data + buf->len, parts[i].data, parts[i].len);
            buf->len += parts[i].len;
        }
    }
    return HR_OK;
}

hr_status hr_buf_append_u64(hr_buf *buf, uint64_t value) {
    char digits[20];
    return hr_buf_append(buf, digits, hr_u64_format(value, digits));
}

hr_status hr_buf_appendf(hr_buf *buf, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int needed = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    HR_ASSERT(needed >= 0);
    hr_status status = hr_buf_reserve(buf, (size_t)needed + 1);
    if (status != HR_OK) {
        return status;
    }
    va_start(arguments, format);
    vsnprintf(buf->data + buf->len, (size_t)needed + 1, format, arguments);
    va_end(arguments);
    buf->len += (size_t)needed;
    return HR_OK;
}

void hr_buf_consume(hr_buf *buf, size_t len) {
    HR_ASSERT(len <= buf->len);
    buf->len -= len;
    if (buf->len > 0 && len > 0) {
        memmove(buf->data, buf->data + len, buf->len);
    }
}

void hr_buf_fini(hr_buf *buf) {
    free(buf->data);
    *buf = (hr_buf){0};
}

size_t hr_u64_format(uint64_t value, char *out) {
    static const char pairs[] = "00010203040506070809101112131415161718192021222324"
                                "25262728293031323334353637383940414243444546474849"
                                "50515253545556575859606162636465666768697071727374"
                                "75767778798081828384858687888990919293949596979899";
    char digits[20];
    size_t at = sizeof digits;
    while (value >= 100) {
        at -= 2;
        memcpy(digits + at, pairs + value % 100 * 2, 2);
        value /= 100;
    }
    if (value >= 10) {
        at -= 2;
        memcpy(digits + at, pairs + value * 2, 2);
    } else {
        digits[--at] = (char)('0' + value);
    }
    memcpy(out, digits + at, sizeof digits - at);
    return sizeof digits - at;
}

hr_status hr_u64_parse(hr_slice text, uint64_t *out) {
    if (text.len == 0 || text.len > 20 || (text.len > 1 && text.data[0] == '0')) {
        return HR_EINVAL;
    }
    uint64_t value = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return HR_EINVAL;
        }
        uint64_t digit = (uint64_t)(text.data[i] - '0');
        if (__builtin_mul_overflow(value, (uint64_t)10, &value) ||
            __builtin_add_overflow(value, digit, &value)) {
            return HR_EINVAL;
        }
    }
    *out = value;
    return HR_OK;
}
