/* Whatever a client wrote, what the trusted proxy appended to it names the client. */
#include "CHeraldWire.h"

static void check(const char *bytes, size_t len, hr_forwarded_form form, hr_slice appended) {
    const uint8_t proxy_v4[] = {10, 0, 0, 1}, client_v4[] = {192, 0, 2, 7};
    hr_address proxy = hr_address_from_v4(proxy_v4), client = hr_address_from_v4(client_v4);
    hr_address_range range;
    hr_buf list = {0};
    HR_ASSERT(hr_address_range_parse(HR_LIT("10.0.0.0/8"), &range) == HR_OK);
    const hr_slice parts[] = {{bytes, len}, HR_LIT(", "), appended};
    HR_ASSERT(HR_BUF_APPEND_ALL(&list, parts) == HR_OK);
    hr_address alone = hr_forwarded_client((hr_slice){bytes, len}, form, &range, 1, &proxy);
    HR_ASSERT(!hr_address_is_none(&alone) || len > 0);
    hr_address found = hr_forwarded_client(hr_buf_slice(&list), form, &range, 1, &proxy);
    HR_ASSERT(hr_address_equal(&found, &client));
    found = hr_forwarded_client(hr_buf_slice(&list), form, &range, 1, &client);
    HR_ASSERT(hr_address_equal(&found, &client));
    hr_buf_fini(&list);
}
int LLVMFuzzerTestOneInput(const char *bytes, size_t len) {
    check(bytes, len, HR_FORWARDED_RFC7239, HR_LIT("for=192.0.2.7, for=10.0.0.2"));
    check(bytes, len, HR_FORWARDED_RFC7239, HR_LIT("by=\"a\\\",b\";for=\"192.0.2.7:80\""));
    check(bytes, len, HR_FORWARDED_X_FOR, HR_LIT("192.0.2.7, 10.0.0.2"));
    return 0;
}
