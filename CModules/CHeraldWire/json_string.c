/* JSON strings and the texts they stand for. Both directions move runs and stop only at what
 * has another form on the other side. */
#include "codec_private.h"

static size_t utf8_put(uint32_t code, char *out) {
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xC0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xE0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3F));
        out[2] = (char)(0x80 | (code & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3F));
    out[2] = (char)(0x80 | (code >> 6 & 0x3F));
    out[3] = (char)(0x80 | (code & 0x3F));
    return 4;
}

static uint32_t hex_value(const char *digits) {
    uint32_t value = 0;
    for (unsigned i = 0; i < 4; i++) {
        char c = digits[i];
        value = value << 4 | (uint32_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return value;
}

/* Writes what the validated escape at text stands for, at most 4 bytes; *used: its length. */
static size_t unescape(const char *text, size_t *used, char *out) {
    static const char names[] = "bfnrt";
    static const char values[] = "\b\f\n\r\t";
    if (text[1] != 'u') {
        const char *found = memchr(names, text[1], sizeof names - 1);
        out[0] = found != NULL ? values[found - names] : text[1];
        *used = 2;
        return 1;
    }
    uint32_t code = hex_value(text + 2);
    *used = 6;
    if (code >= 0xD800 && code <= 0xDBFF) {
        code = 0x10000 + ((code - 0xD800) << 10) + (hex_value(text + 8) - 0xDC00);
        *used = 12;
    }
    return utf8_put(code, out);
}

/* What is between the quotes. */
static hr_slice inside(hr_slice raw) {
    HR_ASSERT(raw.len >= 2 && raw.data[0] == '"' && raw.data[raw.len - 1] == '"');
    return (hr_slice){raw.data + 1, raw.len - 2};
}

/* The run before the next backslash. */
static hr_slice run_at(hr_slice text, size_t at) {
    const char *slash = at < text.len ? memchr(text.data + at, '\\', text.len - at) : NULL;
    size_t end = slash != NULL ? (size_t)(slash - text.data) : text.len;
    return (hr_slice){text.data + at, end - at};
}

hr_status hr_json_string_decode(hr_slice raw, hr_buf *out) {
    hr_slice text = inside(raw);
    /* No escape is shorter than what it stands for. */
    hr_status status = hr_buf_reserve(out, text.len);
    if (status != HR_OK) {
        return status;
    }
    for (size_t at = 0; at < text.len;) {
        hr_slice run = run_at(text, at);
        hr__put(out->data + out->len, run);
        out->len += run.len;
        at += run.len;
        if (at < text.len) {
            size_t used;
            out->len += unescape(text.data + at, &used, out->data + out->len);
            at += used;
        }
    }
    HR_ASSERT(out->len <= out->cap);
    return HR_OK;
}

bool hr_json_string_is(hr_slice raw, hr_slice wanted) {
    hr_slice text = inside(raw);
    for (size_t at = 0; at < text.len;) {
        hr_slice run = run_at(text, at);
        char decoded[4];
        size_t used = run.len;
        if (run.len == 0) {
            run = (hr_slice){decoded, unescape(text.data + at, &used, decoded)};
        }
        if (!hr_slice_has_prefix(wanted, run)) {
            return false;
        }
        wanted = (hr_slice){wanted.data + run.len, wanted.len - run.len};
        at += used;
    }
    return wanted.len == 0;
}

/* 0xE2 begins U+2028 and U+2029, among others. */
#define SEPARATOR_LEAD 0xE2

static bool must_look(unsigned char c) {
    return c < 0x20 || c == '"' || c == '\\' || c == SEPARATOR_LEAD;
}

/* How many bytes from text on are the same inside a JSON string. */
static size_t same_len(const char *text, size_t len) {
    size_t at = 0;
    for (; len - at >= 8; at += 8) {
        uint64_t word = hr__word(text + at);
        uint64_t stops = hr__marks_of(word, '"') | hr__marks_of(word, '\\') |
                         hr__marks_of_controls(word) | hr__marks_of(word, SEPARATOR_LEAD);
        if (stops != 0) {
            return at + hr__first_mark(stops);
        }
    }
    while (at < len && !must_look((unsigned char)text[at])) {
        at++;
    }
    return at;
}

/* Writes the JSON form of what stands at text, at most 6 bytes; *used: bytes of text. */
static size_t escape(const char *text, size_t left, size_t *used, char *out) {
    static const char hex[] = "0123456789abcdef";
    unsigned char c = (unsigned char)text[0];
    *used = 1;
    if (c == SEPARATOR_LEAD) {
        if (left < 3 || text[1] != '\x80' || (text[2] != '\xA8' && text[2] != '\xA9')) {
            out[0] = text[0];
            return 1;
        }
        *used = 3;
        memcpy(out, text[2] == '\xA8' ? "\\u2028" : "\\u2029", 6);
        return 6;
    }
    out[0] = '\\';
    switch (c) {
    case '\b': out[1] = 'b'; return 2;
    case '\f': out[1] = 'f'; return 2;
    case '\n': out[1] = 'n'; return 2;
    case '\r': out[1] = 'r'; return 2;
    case '\t': out[1] = 't'; return 2;
    case '"':
    case '\\': out[1] = text[0]; return 2;
    default: break;
    }
    memcpy(out + 1, "u00", 3);
    out[4] = hex[c >> 4];
    out[5] = hex[c & 15];
    return 6;
}

size_t hr__json_string_len(hr_slice text) {
    size_t len = 2;
    for (size_t at = 0; at < text.len;) {
        size_t run = same_len(text.data + at, text.len - at);
        len += run;
        at += run;
        if (at < text.len) {
            char escaped[6];
            size_t used;
            len += escape(text.data + at, text.len - at, &used, escaped);
            at += used;
        }
    }
    return len;
}

char *hr__json_string_put(char *out, hr_slice text) {
    *out++ = '"';
    for (size_t at = 0; at < text.len;) {
        hr_slice run = {text.data + at, same_len(text.data + at, text.len - at)};
        out = hr__put(out, run);
        at += run.len;
        if (at < text.len) {
            size_t used;
            out += escape(text.data + at, text.len - at, &used, out);
            at += used;
        }
    }
    *out++ = '"';
    return out;
}

hr_status hr_json_string_append(hr_buf *out, hr_slice text) {
    size_t len = hr__json_string_len(text);
    hr_status status = hr_buf_reserve(out, len);
    if (status != HR_OK) {
        return status;
    }
    char *end = hr__json_string_put(out->data + out->len, text);
    HR_ASSERT(end == out->data + out->len + len);
    out->len += len;
    return HR_OK;
}
