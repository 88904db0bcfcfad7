/* A value that is found lies within the header, and one put before all others is the one found. */
#include "CHeraldWire.h"

int LLVMFuzzerTestOneInput(const char *bytes, size_t len) {
    hr_slice value, header = {bytes, len};
    if (hr_cookie_find(header, HR_LIT("a"), &value)) {
        HR_ASSERT(value.data >= bytes && value.data + value.len <= bytes + len);
        HR_ASSERT(value.len == 0 || memchr(value.data, ';', value.len) == NULL);
    }
    hr_buf all = {0};
    const hr_slice parts[] = {HR_LIT("a=\"first\"; "), header};
    HR_ASSERT(HR_BUF_APPEND_ALL(&all, parts) == HR_OK);
    HR_ASSERT(hr_cookie_find(hr_buf_slice(&all), HR_LIT("a"), &value));
    HR_ASSERT(hr_slice_equal(value, HR_LIT("first")));
    hr_buf_fini(&all);
    return 0;
}
