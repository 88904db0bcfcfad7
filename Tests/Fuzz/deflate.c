/* What is compressed inflates to itself; what a peer sends inflates to no more than the bound, or is
 * refused; headers are read without reading past them. The first byte chooses which. */
#include "CHeraldWire.h"

static void round_trip(hr_slice text, unsigned window_bits) {
    hr_buf out = {0}, back = {0};
    size_t room = text.len + 64;
    HR_ASSERT(hr_buf_reserve(&out, room) == HR_OK);
    out.len = hr_deflate(text, window_bits, out.data, room);
    HR_ASSERT(out.len > HR_DEFLATE_TAIL_LEN || text.len == 0);
    out.len -= text.len == 0 ? out.len : HR_DEFLATE_TAIL_LEN;
    HR_ASSERT(hr_inflate_append(&back, hr_buf_slice(&out), text.len) == HR_OK);
    HR_ASSERT(hr_slice_equal(hr_buf_slice(&back), text));
    hr_buf_fini(&out);
    hr_buf_fini(&back);
}
int LLVMFuzzerTestOneInput(const char *bytes, size_t len) {
    hr_slice rest = {bytes + 1, len > 0 ? len - 1 : 0};
    unsigned choice = len > 0 ? (unsigned char)bytes[0] : 0, bits = 9 + choice % 7;
    hr_ws_deflate_terms terms = {0};
    hr_buf out = {0};
    hr_status status = hr_inflate_append(&out, rest, choice * 16);
    HR_ASSERT(status == HR_OK ? out.len <= choice * 16 : out.len == 0);
    hr_buf_fini(&out);
    if (hr_ws_deflate_choose(rest, bits, &terms) == HR_OK)
        HR_ASSERT(terms.window_bits == 0 || (terms.window_bits >= bits && terms.window_bits <= 15));
    (void)hr_coding_choose(rest);
    round_trip(rest, bits);
    return 0;
}
