/* A decoder that works out each code point, and judges that, agrees wherever text is cut. */
#include "fuzz.h"

/* Length of the character at bytes; 0 when there is none. */
static size_t character_len(const unsigned char *bytes, size_t len) {
    static const unsigned least[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned lead = bytes[0];
    size_t count = lead >> 5 == 6 ? 2 : lead >> 4 == 14 ? 3 : lead >> 3 == 30 ? 4 : lead < 0x80;
    unsigned point = count < 2 ? lead : lead & (0x7Fu >> count);
    for (size_t i = 1; i < count; i++) {
        if (i >= len || bytes[i] >> 6 != 2)
            return 0;
        point = point << 6 | (bytes[i] & 0x3Fu);
    }
    return point < least[count] || point > 0x10FFFF || point >> 11 == 0x1B ? 0 : count;
}
static hr_buf fuzz_read(const char *bytes, size_t len, size_t step) {
    size_t next = 1;
    for (size_t at = 0; at < len && next > 0; at += next)
        next = character_len((const unsigned char *)bytes + at, len - at);
    hr_utf8 utf8 = {0};
    bool taken = true;
    for (size_t at = 0; at < len && taken; at += step)
        taken = hr_utf8_feed(&utf8, bytes + at, len - at < step ? len - at : step);
    HR_ASSERT((taken && hr_utf8_complete(&utf8)) == (next > 0));
    HR_ASSERT(hr_utf8_valid((hr_slice){bytes, len}) == (next > 0));
    return (hr_buf){0};
}
