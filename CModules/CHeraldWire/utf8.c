#include "CHeraldWire.h"

#include <string.h>

/* Length of the ASCII run that bytes begin with; words at a time. */
static size_t ascii_run(const char *bytes, size_t len) {
    const uint64_t high = UINT64_C(0x8080808080808080);
    size_t i = 0;
    for (; i + 32 <= len; i += 32) {
        uint64_t words[4];
        memcpy(words, bytes + i, sizeof words);
        if (((words[0] | words[1] | words[2] | words[3]) & high) != 0) {
            break;
        }
    }
    for (; i + 8 <= len; i += 8) {
        uint64_t word;
        memcpy(&word, bytes + i, sizeof word);
        if ((word & high) != 0) {
            break;
        }
    }
    while (i < len && ((unsigned char)bytes[i] & 0x80u) == 0) {
        i++;
    }
    return i;
}

/* Sets what must follow a lead byte of 0x80 or more. The narrowed bounds of the second byte keep
 * out overlong forms, surrogates and what lies beyond U+10FFFF (Unicode 15 table 3-7). */
static bool begin_character(hr_utf8 *utf8, uint8_t lead) {
    utf8->lower = 0x80;
    utf8->upper = 0xBF;
    if (lead >= 0xC2 && lead <= 0xDF) {
        utf8->need = 1;
    } else if (lead >= 0xE0 && lead <= 0xEF) {
        utf8->need = 2;
        utf8->lower = lead == 0xE0 ? 0xA0 : 0x80;
        utf8->upper = lead == 0xED ? 0x9F : 0xBF;
    } else if (lead >= 0xF0 && lead <= 0xF4) {
        utf8->need = 3;
        utf8->lower = lead == 0xF0 ? 0x90 : 0x80;
        utf8->upper = lead == 0xF4 ? 0x8F : 0xBF;
    } else {
        return false;
    }
    return true;
}

bool hr_utf8_feed(hr_utf8 *utf8, const char *bytes, size_t len) {
    HR_ASSERT(utf8 != NULL && utf8->need <= 3);
    size_t i = 0;
    while (i < len) {
        if (utf8->need == 0) {
            i += ascii_run(bytes + i, len - i);
            if (i == len) {
                return true;
            }
            if (!begin_character(utf8, (uint8_t)bytes[i++])) {
                return false;
            }
            continue;
        }
        uint8_t byte = (uint8_t)bytes[i++];
        if (byte < utf8->lower || byte > utf8->upper) {
            return false;
        }
        utf8->need--;
        utf8->lower = 0x80;
        utf8->upper = 0xBF;
    }
    return true;
}

bool hr_utf8_valid(hr_slice text) {
    hr_utf8 utf8 = {0};
    return hr_utf8_feed(&utf8, text.data, text.len) && hr_utf8_complete(&utf8);
}
