/* What the scanner accepts can be walked to its end, and each string comes back from its text. */
#include "CHeraldWire.h"

static void check_string(hr_slice raw) {
    hr_buf text = {0}, again = {0};
    HR_ASSERT(hr_json_string_decode(raw, &text) == HR_OK && hr_utf8_valid(hr_buf_slice(&text)));
    HR_ASSERT(hr_json_string_is(raw, hr_buf_slice(&text)));
    HR_ASSERT(hr_json_string_append(&again, hr_buf_slice(&text)) == HR_OK);
    HR_ASSERT(hr_json_valid(hr_buf_slice(&again)));
    HR_ASSERT(hr_json_string_is(hr_buf_slice(&again), hr_buf_slice(&text)));
    hr_buf_fini(&text);
    hr_buf_fini(&again);
}
static void walk(hr_json_value value) {
    hr_json_value item;
    hr_slice key;
    if (value.kind == HR_JSON_STRING)
        check_string(value.raw);
    if (value.kind == HR_JSON_OBJECT)
        for (size_t at = 0; hr_json_object_next(value, &at, &key, &item); walk(item))
            check_string(key);
    if (value.kind == HR_JSON_ARRAY)
        for (size_t at = 0; hr_json_array_next(value, &at, &item);)
            walk(item);
}
int LLVMFuzzerTestOneInput(const char *bytes, size_t len) {
    hr_json_cursor cursor = {.text = {bytes, len}};
    hr_json_value value;
    if (hr_json_value_read(&cursor, &value) == HR_OK)
        walk(value);
    else
        HR_ASSERT(cursor.error.what != NULL && cursor.error.line > 0 && cursor.error.offset <= len);
    return 0;
}
