#include "CHeraldWire.h"

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};

hr_address hr_address_from_v4(const uint8_t bytes[4]) {
    hr_address address;
    memcpy(address.bytes, mapped, sizeof mapped);
    memcpy(address.bytes + sizeof mapped, bytes, 4);
    return address;
}

hr_address hr_address_from_v6(const uint8_t bytes[16]) {
    hr_address address;
    memcpy(address.bytes, bytes, sizeof address.bytes);
    return address;
}

bool hr_address_is_v4(const hr_address *address) {
    return memcmp(address->bytes, mapped, sizeof mapped) == 0;
}

bool hr_address_is_none(const hr_address *address) {
    static const hr_address none;
    return hr_address_equal(address, &none);
}

/* Reading. ------------------------------------------------------------------------------------- */

/* A decimal number of at most most, without leading zeros; false: text is none. */
static bool read_number(hr_slice text, unsigned most, unsigned *out) {
    unsigned number = 0;
    if (text.len == 0 || text.len > 5 || (text.len > 1 && text.data[0] == '0')) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        number = number * 10 + (unsigned)(text.data[i] - '0');
    }
    *out = number;
    return number <= most;
}

/* Splits text at the first separator; *rest: what is behind it. False: there is none. */
static bool split(hr_slice text, char separator, hr_slice *first, hr_slice *rest) {
    const char *at = text.len == 0 ? NULL : memchr(text.data, separator, text.len);
    if (at == NULL) {
        return false;
    }
    size_t len = (size_t)(at - text.data);
    *first = (hr_slice){text.data, len};
    *rest = (hr_slice){at + 1, text.len - len - 1};
    return true;
}

static bool read_v4(hr_slice text, uint8_t out[4]) {
    for (int i = 0; i < 4; i++) {
        hr_slice part = text;
        unsigned number = 0;
        if (i < 3 && !split(text, '.', &part, &text)) {
            return false;
        }
        if (!read_number(part, 255, &number)) {
            return false;
        }
        out[i] = (uint8_t)number;
    }
    return true;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* One to four hexadecimal digits. */
static bool read_group(hr_slice text, uint8_t out[2]) {
    unsigned group = 0;
    if (text.len == 0 || text.len > 4) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        int digit = hex_digit(text.data[i]);
        if (digit < 0) {
            return false;
        }
        group = group << 4 | (unsigned)digit;
    }
    out[0] = (uint8_t)(group >> 8);
    out[1] = (uint8_t)(group & 0xFF);
    return true;
}

/* Groups joined by single colons, the last maybe an IPv4 address; *len: the bytes they are. Empty
 * text has none. */
static bool read_groups(hr_slice text, uint8_t out[16], size_t *len) {
    *len = 0;
    bool more = text.len > 0;
    while (more) {
        hr_slice part = text;
        more = split(text, ':', &part, &text);
        if (!more && *len <= 12 && read_v4(part, out + *len)) {
            *len += 4;
            return true;
        }
        if (*len > 14 || !read_group(part, out + *len)) {
            return false;
        }
        *len += 2;
    }
    return true;
}

/* Where :: stands; text.len when it does not. */
static size_t find_gap(hr_slice text) {
    for (size_t i = 0; i + 1 < text.len; i++) {
        if (text.data[i] == ':' && text.data[i + 1] == ':') {
            return i;
        }
    }
    return text.len;
}

static bool read_v6(hr_slice text, uint8_t out[16]) {
    uint8_t tail[16];
    size_t head_len = 0;
    size_t tail_len = 0;
    size_t gap = find_gap(text);
    memset(out, 0, 16);
    if (gap == text.len) {
        return read_groups(text, out, &head_len) && head_len == 16;
    }
    /* An IPv4 address ends the whole, so that none may stand before the gap. */
    hr_slice head = {text.data, gap};
    if ((gap > 0 && memchr(head.data, '.', head.len) != NULL) ||
        !read_groups(head, out, &head_len) ||
        !read_groups((hr_slice){text.data + gap + 2, text.len - gap - 2}, tail, &tail_len) ||
        head_len + tail_len > 14) {
        return false;
    }
    memcpy(out + 16 - tail_len, tail, tail_len);
    return true;
}

hr_status hr_address_parse(hr_slice text, hr_address *out) {
    uint8_t bytes[16];
    if (read_v4(text, bytes)) {
        *out = hr_address_from_v4(bytes);
        return HR_OK;
    }
    if (read_v6(text, bytes)) {
        *out = hr_address_from_v6(bytes);
        return HR_OK;
    }
    return HR_EINVAL;
}

/* RFC 7239 §6.3: a number, or a name of the proxy's own that begins with an underscore. */
static bool is_port(hr_slice text) {
    unsigned port = 0;
    if (text.len < 2 || text.data[0] != '_') {
        return read_number(text, 65535, &port);
    }
    for (size_t i = 1; i < text.len; i++) {
        char c = text.data[i];
        char lower = (char)(c | 0x20);
        bool is_ok = (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') || c == '.' ||
                     c == '_' || c == '-';
        if (!is_ok) {
            return false;
        }
    }
    return true;
}

hr_status hr_address_parse_node(hr_slice text, hr_address *out) {
    uint8_t bytes[16];
    hr_slice host = text;
    hr_slice port = {NULL, 0};
    if (text.len > 0 && text.data[0] == '[') {
        hr_slice rest;
        text = (hr_slice){text.data + 1, text.len - 1};
        if (!split(text, ']', &host, &rest) || !read_v6(host, bytes) ||
            (rest.len > 0 &&
             (rest.data[0] != ':' || !is_port((hr_slice){rest.data + 1, rest.len - 1})))) {
            return HR_EINVAL;
        }
        *out = hr_address_from_v6(bytes);
        return HR_OK;
    }
    if (split(text, ':', &host, &port) && read_v4(host, bytes)) {
        if (!is_port(port)) {
            return HR_EINVAL;
        }
        *out = hr_address_from_v4(bytes);
        return HR_OK;
    }
    return hr_address_parse(text, out);
}

/* Writing. ------------------------------------------------------------------------------------- */

static size_t format_v4(const uint8_t bytes[4], char *out) {
    size_t len = 0;
    for (int i = 0; i < 4; i++) {
        char digits[20];
        size_t digit_count = hr_u64_format(bytes[i], digits);
        if (i > 0) {
            out[len++] = '.';
        }
        memcpy(out + len, digits, digit_count);
        len += digit_count;
    }
    return len;
}

/* The longest run of two or more groups of zero, the first of several; *count 0: none. */
static int find_zeros(const uint8_t bytes[16], int *count) {
    int best = 0;
    *count = 0;
    for (int i = 0; i < 8; i++) {
        int end = i;
        while (end < 8 && bytes[2 * end] == 0 && bytes[2 * end + 1] == 0) {
            end++;
        }
        if (end - i > *count && end - i > 1) {
            best = i;
            *count = end - i;
        }
    }
    return best;
}

static size_t format_group(const uint8_t bytes[2], char *out) {
    static const char digits[] = "0123456789abcdef";
    unsigned group = (unsigned)bytes[0] << 8 | bytes[1];
    size_t len = 0;
    for (int shift = 12; shift >= 0; shift -= 4) {
        if (group >> shift != 0 || shift == 0) {
            out[len++] = digits[group >> shift & 0xF];
        }
    }
    return len;
}

size_t hr_address_format(const hr_address *address, char out[HR_ADDRESS_TEXT_MAX]) {
    if (hr_address_is_v4(address)) {
        return format_v4(address->bytes + sizeof mapped, out);
    }
    int zero_count = 0;
    int zeros = find_zeros(address->bytes, &zero_count);
    size_t len = 0;
    for (int i = 0; i < 8; i++) {
        if (zero_count > 0 && i == zeros) {
            out[len++] = ':';
            out[len++] = ':';
            i += zero_count - 1;
            continue;
        }
        if (i > 0 && out[len - 1] != ':') {
            out[len++] = ':';
        }
        len += format_group(address->bytes + 2 * i, out + len);
    }
    return len;
}

hr_address hr_address_counted(const hr_address *address) {
    hr_address counted = *address;
    if (!hr_address_is_v4(address)) {
        memset(counted.bytes + 8, 0, 8);
    }
    return counted;
}

/* Ranges. -------------------------------------------------------------------------------------- */

/* The byte's bits that count when the first bits of the whole do. */
static uint8_t mask_at(unsigned bits, unsigned byte) {
    unsigned begin = byte * 8;
    if (bits >= begin + 8) {
        return 0xFF;
    }
    return bits <= begin ? 0 : (uint8_t)(0xFF << (8 - (bits - begin)));
}

hr_status hr_address_range_parse(hr_slice text, hr_address_range *out) {
    hr_slice host = text;
    hr_slice bits_text = {NULL, 0};
    uint8_t v4[4];
    unsigned bits = 128;
    bool has_bits = split(text, '/', &host, &bits_text);
    hr_address_range range;
    if (hr_address_parse(host, &range.base) != HR_OK) {
        return HR_EINVAL;
    }
    bool is_v4_text = read_v4(host, v4);
    if (has_bits) {
        if (!read_number(bits_text, is_v4_text ? 32 : 128, &bits)) {
            return HR_EINVAL;
        }
        bits += is_v4_text ? 96 : 0;
    }
    for (unsigned i = 0; i < 16; i++) {
        if ((range.base.bytes[i] & (uint8_t)~mask_at(bits, i)) != 0) {
            return HR_EINVAL;
        }
    }
    range.bits = (uint8_t)bits;
    *out = range;
    return HR_OK;
}

bool hr_address_range_has(const hr_address_range *range, const hr_address *address) {
    /* Of a mapped range, however it was written, all of the mapping is within its bits. */
    bool is_v4_range = range->bits >= 96 && hr_address_is_v4(&range->base);
    if (is_v4_range != hr_address_is_v4(address)) {
        return false;
    }
    for (unsigned i = 0; i < 16; i++) {
        if (((range->base.bytes[i] ^ address->bytes[i]) & mask_at(range->bits, i)) != 0) {
            return false;
        }
    }
    return true;
}

bool hr_address_ranges_have(const hr_address_range *ranges, size_t count,
                            const hr_address *address) {
    for (size_t i = 0; i < count; i++) {
        if (hr_address_range_has(&ranges[i], address)) {
            return true;
        }
    }
    return false;
}
