/* Bodies that hold several publications, and the places their mistakes are told at. */
#include "codec_private.h"

#include <stdlib.h>

#define BATCH_MAGIC 0x48524254u /* HRBT */

struct hr_batch {
    HR_MAGIC_FIELD;
    bool cloud;
    size_t count;
    size_t cap;
    size_t count_max;
    hr_publication *items;
    uint32_t *lines;
    hr_buf scratch;
    hr__decoder decoder;
};

static hr_status grow(hr_batch *batch) {
    size_t cap = batch->cap == 0 ? 4 : batch->cap * 2;
    hr_publication *items = reallocarray(batch->items, cap, sizeof *items);
    if (items == NULL) {
        return HR_ENOMEM;
    }
    batch->items = items;
    uint32_t *lines = reallocarray(batch->lines, cap, sizeof *lines);
    if (lines == NULL) {
        return HR_ENOMEM;
    }
    batch->lines = lines;
    batch->cap = cap;
    return HR_OK;
}

/* Whether one more item may come; error knows its place from here on. */
static hr_status admit(hr_batch *batch) {
    hr_batch_error *error = batch->decoder.error;
    error->index = (uint32_t)batch->count;
    if (batch->count < batch->count_max) {
        return batch->count < batch->cap ? HR_OK : grow(batch);
    }
    hr_status refused = hr__refuse(error, "more than %zu events", batch->count_max);
    (void)refused;
    return HR_ELIMIT;
}

static hr_status add(hr_batch *batch, hr_json_value value, uint32_t line) {
    hr_publication *item = &batch->items[batch->count];
    hr_status status = batch->cloud ? hr__cloudevent_read(&batch->decoder, value, item)
                                    : hr__publication_read(&batch->decoder, value, NULL, 0, item);
    if (status == HR_OK) {
        batch->lines[batch->count++] = line;
    }
    return status;
}

static bool is_blank(hr_slice text) {
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] != ' ' && text.data[i] != '\t' && text.data[i] != '\r') {
            return false;
        }
    }
    return true;
}

/* Reads text, which must be one value. */
static hr_status read_whole(hr_slice text, hr_json_value *out, hr_batch_error *error) {
    hr_json_cursor cursor;
    hr_json_begin(&cursor, text);
    if (hr_json_value_read(&cursor, out) != HR_OK || hr_json_end(&cursor) != HR_OK) {
        return hr__refuse_syntax(error, &cursor.error);
    }
    return HR_OK;
}

static hr_status parse_lines(hr_batch *batch, hr_slice body) {
    hr_batch_error *error = batch->decoder.error;
    hr_status status = HR_OK;
    uint32_t line = 0;
    for (size_t at = 0; at < body.len && status == HR_OK;) {
        const char *feed = memchr(body.data + at, '\n', body.len - at);
        size_t end = feed != NULL ? (size_t)(feed - body.data) : body.len;
        hr_slice text = {body.data + at, end - at};
        at = end + 1;
        line++;
        if (is_blank(text)) {
            continue;
        }
        hr_json_value value;
        status = admit(batch);
        if (status == HR_OK) {
            status = read_whole(text, &value, error);
        }
        if (status == HR_OK) {
            status = add(batch, value, line);
        }
        error->line = line;
    }
    return status;
}

static hr_status parse_array(hr_batch *batch, hr_slice body) {
    hr_batch_error *error = batch->decoder.error;
    hr_json_value array;
    hr_status status = read_whole(body, &array, error);
    if (status != HR_OK) {
        return status;
    }
    if (array.kind != HR_JSON_ARRAY) {
        return hr__refuse(error, "expected an array of events");
    }
    hr_json_value item;
    for (size_t place = 0; status == HR_OK && hr_json_array_next(array, &place, &item);) {
        status = admit(batch);
        if (status == HR_OK) {
            status = add(batch, item, 0);
        }
        if (status != HR_OK) {
            uint32_t column;
            hr_json_position(body, (size_t)(item.raw.data - body.data), &error->line, &column);
        }
    }
    return status;
}

static hr_status parse_one(hr_batch *batch, hr_slice body) {
    hr_json_value value;
    hr_status status = read_whole(body, &value, batch->decoder.error);
    if (status == HR_OK) {
        status = admit(batch);
    }
    return status != HR_OK ? status : add(batch, value, 0);
}

static hr_status parse(hr_batch *batch, hr_slice body, hr_batch_format format) {
    switch (format) {
    case HR_BATCH_NDJSON: return parse_lines(batch, body);
    case HR_BATCH_JSON_ARRAY:
    case HR_BATCH_CLOUDEVENTS: return parse_array(batch, body);
    case HR_BATCH_CLOUDEVENT: return parse_one(batch, body);
    }
    hr_panic(__FILE__, __LINE__, "no such format");
}

hr_status hr_batch_parse(hr_slice body, hr_batch_format format, size_t count_max, hr_batch **out,
                         hr_batch_error *error) {
    HR_ASSERT(count_max <= UINT32_MAX);
    *error = (hr_batch_error){.line = 1};
    hr_batch *batch = calloc(1, sizeof *batch);
    if (batch == NULL) {
        return HR_ENOMEM;
    }
    HR_MAGIC_SET(batch, BATCH_MAGIC);
    batch->cloud = format == HR_BATCH_CLOUDEVENT || format == HR_BATCH_CLOUDEVENTS;
    batch->count_max = count_max;
    batch->decoder = (hr__decoder){&batch->scratch, body.len, error};
    hr_status status = parse(batch, body, format);
    if (status == HR_OK && batch->count == 0) {
        status = hr__refuse(error, "the batch is empty");
    }
    /* The caller's error does not outlive this call. */
    batch->decoder.error = NULL;
    if (status != HR_OK) {
        hr_batch_free(&batch);
        return status;
    }
    *out = batch;
    return HR_OK;
}

size_t hr_batch_count(const hr_batch *batch) {
    HR_CHECK(batch, BATCH_MAGIC);
    return batch->count;
}

const hr_publication *hr_batch_item(const hr_batch *batch, size_t index) {
    HR_CHECK(batch, BATCH_MAGIC);
    HR_ASSERT(index < batch->count);
    return &batch->items[index];
}

uint32_t hr_batch_line(const hr_batch *batch, size_t index) {
    HR_CHECK(batch, BATCH_MAGIC);
    HR_ASSERT(index < batch->count);
    return batch->lines[index];
}

void hr_batch_free(hr_batch **batch) {
    if (*batch == NULL) {
        return;
    }
    HR_CHECK(*batch, BATCH_MAGIC);
    HR_MAGIC_CLEAR(*batch);
    free((*batch)->items);
    free((*batch)->lines);
    hr_buf_fini(&(*batch)->scratch);
    free(*batch);
    *batch = NULL;
}
