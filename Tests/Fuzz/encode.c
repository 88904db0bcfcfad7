/* The JSON is valid and one line; an SSE block ends where its blank line is, not before. */
#define _GNU_SOURCE /* memmem */
#include "CHeraldWire.h"
#include <string.h>

static hr_slice cut(hr_slice *from, unsigned char len) {
    hr_slice part = {from->data, len < from->len ? len : from->len};
    *from = (hr_slice){from->data + part.len, from->len - part.len};
    return part;
}
int LLVMFuzzerTestOneInput(const char *bytes, size_t len) {
    if (len < 3)
        return 0;
    hr_slice rest = {bytes + 3, len - 3};
    hr_buf out = {0};
    hr_event_view view = {.sequence = len, .topic = HR_LIT("a/b"), .time_ms = bytes[0] & 127};
    view.type = cut(&rest, (unsigned char)bytes[1]);
    view.type = hr_type_valid(view.type) ? view.type : (hr_slice){0};
    view.content_type = cut(&rest, (unsigned char)bytes[2]);
    view.data = rest;
    hr_encoding encoding = (hr_encoding)((unsigned char)bytes[0] % HR_ENCODING_COUNT);
    size_t plain_len = 0;
    view.compressed_len_min = len % 64;
    HR_ASSERT(hr_event_encode(&view, encoding, &out, &plain_len) == HR_OK);
    HR_ASSERT(hr_encoding_is_compressed(encoding) || out.len == plain_len);
    HR_ASSERT(hr_encoding_is_gzip(encoding) || out.len <= plain_len);
    bool json = encoding == HR_ENCODING_JSON, block = encoding <= HR_ENCODING_SSE_RAW && !json;
    bool line = encoding == HR_ENCODING_NDJSON;
    HR_ASSERT(!line || memchr(out.data, '\n', out.len) == out.data + out.len - 1);
    HR_ASSERT(!json || (hr_json_valid(hr_buf_slice(&out)) && !memchr(out.data, '\n', out.len)));
    HR_ASSERT(!(json || block) || !memchr(out.data, '\r', out.len));
    HR_ASSERT(!block || memmem(out.data, out.len, "\n\n", 2) == out.data + out.len - 2);
    hr_buf_fini(&out);
    return 0;
}
