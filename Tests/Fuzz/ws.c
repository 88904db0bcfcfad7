/* Messages come out the same however their bytes are cut; the first byte chooses the
 * limit, and whether messages may be compressed. */
#include "fuzz.h"

typedef struct reading {
    hr_ws_parser parser;
    uint64_t limit;
    bool deflates;
    hr_ws_result result;
} reading;

static void feed(hr_buf *out, char *bytes, size_t len, void *state) {
    reading *from = state;
    for (size_t used = 0; len > 0 && from->result != HR_WS_FAIL; bytes += used, len -= used) {
        hr_ws_item item;
        from->parser.deflates = from->deflates;
        from->result = hr_ws_parse(&from->parser, from->limit, bytes, len, &used, &item);
        HR_ASSERT(from->result == HR_WS_MORE ? used == len : used <= len);
        HR_ASSERT(from->result != HR_WS_MESSAGE || item.payload.len <= from->limit);
        HR_ASSERT(item.opcode != HR_WS_TEXT || hr_utf8_valid(item.payload));
        if (from->result)
            fuzz_record(out, from->result * 65536u + item.code, item.payload);
    }
    /* The server keeps no parser that says so. */
    if (from->result != HR_WS_FAIL && hr_ws_parser_rest(&from->parser))
        hr_ws_parser_fini(&from->parser);
}
static hr_buf fuzz_read(const char *bytes, size_t len, size_t step) {
    unsigned char choice = len > 0 ? (unsigned char)bytes[0] : 0;
    reading from = {.limit = choice, .deflates = (choice & 1) != 0};
    hr_buf out = {0};
    fuzz_feed(&out, bytes + 1, len > 0 ? len - 1 : 0, step, &from, feed);
    hr_ws_parser_fini(&from.parser);
    return out;
}
