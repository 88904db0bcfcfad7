/* RFC 4648 §4. Decoding takes only what encoding writes: an end with other spare bits would
 * give one value two texts (§3.5). */
#include "codec_private.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#define NOT_A_DIGIT 0x80u

/* The value of each byte plus one; 0: not in the alphabet. */
static const uint8_t places[256] = {
    ['A'] = 1,  ['B'] = 2,  ['C'] = 3,  ['D'] = 4,  ['E'] = 5,  ['F'] = 6,  ['G'] = 7,  ['H'] = 8,
    ['I'] = 9,  ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16,
    ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24,
    ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32,
    ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40,
    ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48,
    ['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
    ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['+'] = 63, ['/'] = 64,
};

/* The 6 bits of a digit; NOT_A_DIGIT and more for any other byte. */
static uint32_t digit(char c) { return (uint32_t)places[(unsigned char)c] - 1u; }

char *hr__base64_put(char *out, hr_slice bytes) {
    const unsigned char *in = (const unsigned char *)bytes.data;
    size_t left = bytes.len;
    for (; left >= 3; left -= 3, in += 3, out += 4) {
        uint32_t group = (uint32_t)in[0] << 16 | (uint32_t)in[1] << 8 | in[2];
        out[0] = alphabet[group >> 18];
        out[1] = alphabet[group >> 12 & 63];
        out[2] = alphabet[group >> 6 & 63];
        out[3] = alphabet[group & 63];
    }
    if (left > 0) {
        uint32_t group = (uint32_t)in[0] << 16 | (left == 2 ? (uint32_t)in[1] << 8 : 0);
        out[0] = alphabet[group >> 18];
        out[1] = alphabet[group >> 12 & 63];
        out[2] = left == 2 ? alphabet[group >> 6 & 63] : '=';
        out[3] = '=';
        out += 4;
    }
    return out;
}

hr_status hr_base64_append(hr_buf *out, hr_slice bytes) {
    if (bytes.len > SIZE_MAX / 2) {
        return HR_ENOMEM;
    }
    size_t len = hr__base64_len(bytes.len);
    hr_status status = hr_buf_reserve(out, len);
    if (status != HR_OK || len == 0) {
        return status;
    }
    hr__base64_put(out->data + out->len, bytes);
    out->len += len;
    return HR_OK;
}

/* The last group, with its padding. Writes 1 to 3 bytes; returns 0 when it is bad. */
static size_t last_group(const char *in, char *out) {
    size_t digits = in[3] != '=' ? 4 : in[2] != '=' ? 3 : 2;
    uint32_t group = 0;
    for (size_t i = 0; i < 4; i++) {
        uint32_t bits = i < digits ? digit(in[i]) : 0;
        if (bits >= NOT_A_DIGIT) {
            return 0;
        }
        group = group << 6 | bits;
    }
    uint32_t spare = digits == 4 ? 0 : digits == 3 ? 0xFF : 0xFFFF;
    if ((group & spare) != 0) {
        return 0;
    }
    for (size_t i = 0; i + 1 < digits; i++) {
        out[i] = (char)(group >> (16 - 8 * i));
    }
    return digits - 1;
}

/* Each group is read before its place is written, and writes never pass reads: out may be text. */
hr_status hr__base64_get(hr_slice text, char *out, size_t *out_len) {
    *out_len = 0;
    if (text.len % 4 != 0) {
        return HR_EINVAL;
    }
    if (text.len == 0) {
        return HR_OK;
    }
    const char *in = text.data;
    char *at = out;
    for (size_t left = text.len; left > 4; left -= 4, in += 4, at += 3) {
        uint32_t a = digit(in[0]), b = digit(in[1]), c = digit(in[2]), d = digit(in[3]);
        if ((a | b | c | d) >= NOT_A_DIGIT) {
            return HR_EINVAL;
        }
        uint32_t group = a << 18 | b << 12 | c << 6 | d;
        at[0] = (char)(group >> 16);
        at[1] = (char)(group >> 8);
        at[2] = (char)group;
    }
    size_t last = last_group(in, at);
    *out_len = last == 0 ? 0 : (size_t)(at - out) + last;
    return last == 0 ? HR_EINVAL : HR_OK;
}

hr_status hr_base64_decode(hr_slice text, hr_buf *out) {
    /* The room is asked for before the text is judged, so that one writer does both. */
    hr_status status = hr_buf_reserve(out, text.len);
    if (status != HR_OK || text.len == 0) {
        return status;
    }
    size_t len;
    status = hr__base64_get(text, out->data + out->len, &len);
    out->len += len;
    return status;
}
