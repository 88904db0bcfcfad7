/* What is read agrees with the C library's reader, and comes back from its own text the same. */
#include "CHeraldWire.h"

#include <arpa/inet.h>
#include <stdio.h>

static void check_library(const char *bytes, size_t len, hr_status status, hr_address read) {
    char text[64] = {0};
    uint8_t v4[4], v6[16];
    if (len >= sizeof text || memchr(bytes, 0, len) != NULL)
        return;
    memcpy(text, bytes, len);
    bool is_v4 = inet_pton(AF_INET, text, v4) == 1, is_v6 = inet_pton(AF_INET6, text, v6) == 1;
    HR_ASSERT((is_v4 || is_v6) == (status == HR_OK));
    hr_address other = is_v4 ? hr_address_from_v4(v4) : hr_address_from_v6(v6);
    HR_ASSERT(status != HR_OK || hr_address_equal(&read, &other));
}
int LLVMFuzzerTestOneInput(const char *bytes, size_t len) {
    hr_address read = {{0}}, again;
    hr_address_range range;
    char text[HR_ADDRESS_TEXT_MAX];
    hr_status status = hr_address_parse((hr_slice){bytes, len}, &read);
    if (len > 0)
        check_library(bytes, len, status, read);
    if (status == HR_OK || hr_address_parse_node((hr_slice){bytes, len}, &read) == HR_OK) {
        hr_slice own = {text, hr_address_format(&read, text)};
        HR_ASSERT(hr_address_parse(own, &again) == HR_OK && hr_address_equal(&read, &again));
        HR_ASSERT(hr_address_parse_node(own, &again) == HR_OK && hr_address_equal(&read, &again));
    }
    if (hr_address_range_parse((hr_slice){bytes, len}, &range) == HR_OK)
        HR_ASSERT(range.bits <= 128 && (hr_address_range_has(&range, &range.base) ||
                                        (range.bits < 96 && hr_address_is_v4(&range.base))));
    return 0;
}
