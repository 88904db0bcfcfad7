/* Requests come out the same however their bytes are cut, and no control byte is in a field. */
#include "fuzz.h"

static void record(hr_buf *out, const hr_http1 *http) {
    hr_slice name = hr_http1_method_text(http), value = hr_http1_target(http);
    for (size_t i = 0; i <= hr_http1_header_count(http); i++) {
        fuzz_record_line(out, hr_http1_keep_alive(http), name);
        fuzz_record_line(out, hr_http1_upgrades(http), value);
        if (i < hr_http1_header_count(http))
            hr_http1_header_at(http, i, &name, &value);
    }
    fuzz_record(out, hr_http1_expects_continue(http), hr_http1_body(http));
}
static void feed(hr_buf *out, char *bytes, size_t len, void *http) {
    for (size_t used = 0; len > 0 && !hr_http1_fault(http); bytes += used, len -= used) {
        hr_http1_result result = hr_http1_feed(http, bytes, len, &used);
        HR_ASSERT(result == HR_HTTP1_MORE ? used == len : used <= len);
        if (result == HR_HTTP1_HEAD || result == HR_HTTP1_DONE)
            record(out, http);
        if (result == HR_HTTP1_H2)
            fuzz_record(out, 2, HR_LIT("preface"));
        if (result == HR_HTTP1_DONE || result == HR_HTTP1_H2)
            hr_http1_reset(http);
    }
}
static hr_buf fuzz_read(const char *bytes, size_t len, size_t step) {
    hr_buf out = {0};
    hr_http1 *http;
    HR_ASSERT(hr_http1_new(&(hr_http1_limits){256, 8, 64, 64}, &http) == HR_OK);
    fuzz_feed(&out, bytes, len, step, http, feed);
    fuzz_record(&out, hr_http1_fault(http), HR_LIT("at the end"));
    hr_http1_free(&http);
    return out;
}
