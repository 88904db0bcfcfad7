/* A batch that is accepted can be encoded; one that is refused says why in printable ASCII. */
#include "CHeraldWire.h"

int LLVMFuzzerTestOneInput(const char *bytes, size_t len) {
    if (len == 0)
        return 0;
    hr_batch *batch = NULL;
    hr_batch_error error;
    hr_status status = hr_batch_parse((hr_slice){bytes + 1, len - 1},
                                      (hr_batch_format)(bytes[0] & 3), 8, &batch, &error);
    HR_ASSERT((status == HR_OK) == (batch != NULL));
    for (size_t i = 0; batch != NULL && i < hr_batch_count(batch); i++) {
        const hr_publication *item = hr_batch_item(batch, i);
        hr_event_view view = {.topic = item->topic, .type = item->type, .data = item->data};
        hr_buf out = {0};
        size_t plain_len = 0;
        view.content_type = item->content_type;
        HR_ASSERT(item->content_type.len > 0 &&
                  hr_event_encode(&view, HR_ENCODING_JSON, &out, &plain_len) == HR_OK);
        HR_ASSERT(hr_json_valid(hr_buf_slice(&out)));
        hr_buf_fini(&out);
    }
    if (status == HR_OK)
        hr_batch_free(&batch);
    else
        HR_ASSERT(error.what[0] != 0 && error.line > 0 && (error.column > 0) == error.is_syntax);
    for (const char *at = error.what; *at != 0; at++)
        HR_ASSERT(*at >= ' ' && *at <= '~');
    return 0;
}
