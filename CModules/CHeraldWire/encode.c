/* An event becomes bytes in two steps: a plan knows every length exactly, then one reservation
 * is filled through a pointer. The exact length is what a WebSocket head needs first, and it
 * spares shared frames the slack of an upper bound. What is to be compressed is so behind that, and
 * moved over it. */
#include "codec_private.h"

size_t hr_id_format(uint32_t epoch, uint64_t sequence, char *out) {
    static const char hex[] = "0123456789abcdef";
    for (unsigned i = 0; i < 8; i++) {
        out[i] = hex[epoch >> (28 - 4 * i) & 15];
    }
    out[8] = '-';
    return 9 + hr_u64_format(sequence, out + 9);
}

hr_status hr_id_parse(hr_slice text, uint32_t *epoch, uint64_t *sequence) {
    if (text.len < 10 || text.data[8] != '-') {
        return HR_EINVAL;
    }
    uint32_t value = 0;
    for (unsigned i = 0; i < 8; i++) {
        char c = text.data[i];
        if ((c < '0' || c > '9') && (c < 'a' || c > 'f')) {
            return HR_EINVAL;
        }
        value = value << 4 | (uint32_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    hr_status status = hr_u64_parse((hr_slice){text.data + 9, text.len - 9}, sequence);
    if (status == HR_OK) {
        *epoch = value;
    }
    return status;
}

bool hr_type_valid(hr_slice type) {
    if (type.len == 0 || type.len > HR_TYPE_LEN_MAX) {
        return false;
    }
    for (size_t i = 0; i < type.len; i++) {
        if (type.data[i] <= ' ' || type.data[i] > '~') {
            return false;
        }
    }
    return true;
}

/* The type and subtype, without parameters and the white space around them. */
static hr_slice media_type(hr_slice content_type) {
    size_t begin = 0;
    size_t end = 0;
    while (end < content_type.len && content_type.data[end] != ';') {
        end++;
    }
    while (begin < end && (content_type.data[begin] == ' ' || content_type.data[begin] == '\t')) {
        begin++;
    }
    while (end > begin &&
           (content_type.data[end - 1] == ' ' || content_type.data[end - 1] == '\t')) {
        end--;
    }
    return (hr_slice){content_type.data + begin, end - begin};
}

static bool begins_with(hr_slice media, hr_slice prefix) {
    return media.len >= prefix.len &&
           hr_slice_equal_nocase((hr_slice){media.data, prefix.len}, prefix);
}

static bool ends_with(hr_slice media, hr_slice suffix) {
    return media.len >= suffix.len &&
           hr_slice_equal_nocase((hr_slice){media.data + media.len - suffix.len, suffix.len},
                                 suffix);
}

bool hr__content_type_is_json(hr_slice content_type) {
    if (content_type.len == 0) {
        return false;
    }
    hr_slice media = media_type(content_type);
    return hr_slice_equal_nocase(media, HR_LIT("application/json")) ||
           ends_with(media, HR_LIT("+json"));
}

static bool is_text_type(hr_slice content_type) {
    hr_slice media = media_type(content_type);
    return begins_with(media, HR_LIT("text/")) ||
           hr_slice_equal_nocase(media, HR_LIT("application/x-www-form-urlencoded")) ||
           hr_slice_equal_nocase(media, HR_LIT("application/xml")) ||
           ends_with(media, HR_LIT("+xml"));
}

hr_data_form hr_data_form_of(hr_slice content_type, hr_slice data) {
    if (content_type.len == 0) {
        return HR_DATA_BINARY;
    }
    if (hr__content_type_is_json(content_type)) {
        /* Broken JSON as a string could not be told from a JSON string. */
        return hr_json_valid(data) ? HR_DATA_JSON : HR_DATA_BINARY;
    }
    return is_text_type(content_type) && hr_utf8_valid(data) ? HR_DATA_TEXT : HR_DATA_BINARY;
}

typedef struct plan {
    const hr_event_view *event;
    hr_slice content_type;
    hr_data_form form;
    size_t object_len;
    size_t id_len;
    char id[HR_ID_TEXT_MAX];
} plan;

/* The object's fixed parts, in their order. */
#define ID "{\"id\":\""
#define TOPIC "\",\"topic\":"
#define TYPE ",\"type\":"
#define TIME ",\"time\":\""
#define CONTENT_TYPE "\",\"datacontenttype\":"
#define DATA ",\"data\":"
#define DATA_BASE64 ",\"data_base64\":\""
#define LEN(literal) (sizeof(literal) - 1)

static size_t data_member_len(const plan *plan) {
    hr_slice data = plan->event->data;
    switch (plan->form) {
    case HR_DATA_JSON: return LEN(DATA) + data.len;
    case HR_DATA_TEXT: return LEN(DATA) + hr__json_string_len(data);
    case HR_DATA_BINARY: break;
    }
    return LEN(DATA_BASE64) + hr__base64_len(data.len) + LEN("\"");
}

static void plan_object(plan *plan) {
    const hr_event_view *event = plan->event;
    plan->object_len = LEN(ID) + plan->id_len + LEN(TOPIC) + hr__json_string_len(event->topic) +
                       LEN(TIME) + HR_TIME_TEXT_LEN + LEN(CONTENT_TYPE) +
                       hr__json_string_len(plan->content_type) + data_member_len(plan) + LEN("}");
    if (event->type.len > 0) {
        plan->object_len += LEN(TYPE) + hr__json_string_len(event->type);
    }
}

#define PUT(at, literal) (memcpy((at), (literal), LEN(literal)), (at) + LEN(literal))

static void blank_breaks(char *text, size_t len, char which) {
    char *end = text + len;
    for (char *at = text; at < end && (at = memchr(at, which, (size_t)(end - at))) != NULL; at++) {
        *at = ' ';
    }
}

static char *put_data_member(char *at, const plan *plan) {
    hr_slice data = plan->event->data;
    if (plan->form == HR_DATA_BINARY) {
        at = hr__base64_put(PUT(at, DATA_BASE64), data);
        return PUT(at, "\"");
    }
    at = PUT(at, DATA);
    if (plan->form == HR_DATA_TEXT) {
        return hr__json_string_put(at, data);
    }
    /* Valid JSON holds these bytes only between tokens, where a space means the same. */
    char *end = hr__put(at, data);
    blank_breaks(at, data.len, '\n');
    blank_breaks(at, data.len, '\r');
    return end;
}

static char *put_object(char *at, const plan *plan) {
    const char *begin = at;
    const hr_event_view *event = plan->event;
    at = hr__put(PUT(at, ID), (hr_slice){plan->id, plan->id_len});
    at = hr__json_string_put(PUT(at, TOPIC), event->topic);
    if (event->type.len > 0) {
        at = hr__json_string_put(PUT(at, TYPE), event->type);
    }
    at = PUT(at, TIME);
    hr_time_format(event->time_ms, at);
    at = hr__json_string_put(PUT(at + HR_TIME_TEXT_LEN, CONTENT_TYPE), plan->content_type);
    at = put_data_member(at, plan);
    at = PUT(at, "}");
    HR_ASSERT((size_t)(at - begin) == plan->object_len);
    return at;
}

/* The length of the line at text; *skip: with the break behind it, which is CRLF, CR or LF. */
static size_t line_len(const char *text, size_t len, size_t *skip) {
    size_t at = 0;
    for (; len - at >= 8; at += 8) {
        uint64_t word = hr__word(text + at);
        uint64_t breaks = hr__marks_of(word, '\n') | hr__marks_of(word, '\r');
        if (breaks != 0) {
            at += hr__first_mark(breaks);
            break;
        }
    }
    while (at < len && text[at] != '\n' && text[at] != '\r') {
        at++;
    }
    size_t over = at == len ? 0 : text[at] == '\r' && at + 1 < len && text[at + 1] == '\n' ? 2 : 1;
    *skip = at + over;
    return at;
}

/* Writes data: lines, or only counts their bytes when at is NULL. A break at the end of the data
 * makes a last empty line: without it the browser would lose the break. */
static size_t put_lines(char *at, hr_slice data) {
    size_t total = 0;
    bool again = true;
    while (again) {
        size_t skip = 0;
        size_t len = data.len == 0 ? 0 : line_len(data.data, data.len, &skip);
        if (at != NULL) {
            at = hr__put(PUT(at, "data: "), (hr_slice){data.data, len});
            at = PUT(at, "\n");
        }
        total += LEN("data: ") + len + LEN("\n");
        again = skip > len;
        if (again) {
            data = (hr_slice){data.data + skip, data.len - skip};
        }
    }
    return total;
}

static size_t raw_lines_len(const plan *plan) {
    if (plan->form == HR_DATA_BINARY) {
        return LEN("data: ") + hr__base64_len(plan->event->data.len) + LEN("\n");
    }
    return put_lines(NULL, plan->event->data);
}

static char *put_raw_lines(char *at, const plan *plan) {
    if (plan->form == HR_DATA_BINARY) {
        at = hr__base64_put(PUT(at, "data: "), plan->event->data);
        return PUT(at, "\n");
    }
    return at + put_lines(at, plan->event->data);
}

/* The field lines before the data. */
static size_t block_head_len(const plan *plan) {
    size_t type_len = plan->event->type.len;
    return LEN("id: \n") + plan->id_len + (type_len > 0 ? LEN("event: \n") + type_len : 0);
}

static char *put_block_head(char *at, const plan *plan) {
    at = hr__put(PUT(at, "id: "), (hr_slice){plan->id, plan->id_len});
    at = PUT(at, "\n");
    if (plan->event->type.len > 0) {
        at = hr__put(PUT(at, "event: "), plan->event->type);
        at = PUT(at, "\n");
    }
    return at;
}

static hr_status encode_json(const plan *plan, bool is_line, hr_buf *out) {
    size_t len = plan->object_len + (is_line ? 1 : 0);
    hr_status status = hr_buf_reserve(out, len);
    if (status == HR_OK) {
        char *end = put_object(out->data + out->len, plan);
        if (is_line) {
            *end = '\n';
        }
        out->len += len;
    }
    return status;
}

static hr_status encode_block(const plan *plan, bool raw, hr_buf *out) {
    size_t len = block_head_len(plan) + LEN("\n") +
                 (raw ? raw_lines_len(plan) : LEN("data: \n") + plan->object_len);
    hr_status status = hr_buf_reserve(out, len);
    if (status != HR_OK) {
        return status;
    }
    char *begin = out->data + out->len;
    char *at = put_block_head(begin, plan);
    if (raw) {
        at = put_raw_lines(at, plan);
    } else {
        at = put_object(PUT(at, "data: "), plan);
        at = PUT(at, "\n");
    }
    at = PUT(at, "\n");
    HR_ASSERT((size_t)(at - begin) == len);
    out->len += len;
    return HR_OK;
}

static hr_status encode_frame(const plan *plan, bool raw, hr_buf *out) {
    bool binary = raw && plan->form == HR_DATA_BINARY;
    size_t payload_len = raw ? plan->event->data.len : plan->object_len;
    char head[HR_WS_HEAD_MAX];
    size_t head_len = hr_ws_head(binary ? HR_WS_BINARY : HR_WS_TEXT, payload_len, head);
    hr_status status = hr_buf_reserve(out, head_len + payload_len);
    if (status != HR_OK) {
        return status;
    }
    char *at = hr__put(out->data + out->len, (hr_slice){head, head_len});
    if (raw) {
        hr__put(at, plan->event->data);
    } else {
        put_object(at, plan);
    }
    out->len += head_len + payload_len;
    return HR_OK;
}

/* What an encoding is made of. */
typedef enum layout { LAYOUT_OBJECT, LAYOUT_LINE, LAYOUT_BLOCK, LAYOUT_FRAME } layout;

typedef struct kind {
    layout layout;
    bool raw;
} kind;

static const kind kinds[HR_ENCODING_COUNT] = {
    [HR_ENCODING_JSON] = {LAYOUT_OBJECT, false},
    [HR_ENCODING_SSE] = {LAYOUT_BLOCK, false},
    [HR_ENCODING_SSE_RAW] = {LAYOUT_BLOCK, true},
    [HR_ENCODING_NDJSON] = {LAYOUT_LINE, false},
    [HR_ENCODING_WS] = {LAYOUT_FRAME, false},
    [HR_ENCODING_WS_RAW] = {LAYOUT_FRAME, true},
    [HR_ENCODING_WS_DEFLATE] = {LAYOUT_FRAME, false},
    [HR_ENCODING_WS_RAW_DEFLATE] = {LAYOUT_FRAME, true},
    [HR_ENCODING_SSE_GZIP] = {LAYOUT_BLOCK, false},
    [HR_ENCODING_SSE_RAW_GZIP] = {LAYOUT_BLOCK, true},
    [HR_ENCODING_NDJSON_GZIP] = {LAYOUT_LINE, false},
};

hr_encoding hr_encoding_compressed(hr_encoding encoding) {
    for (unsigned i = HR_ENCODING_WS_DEFLATE; i < HR_ENCODING_COUNT; i++) {
        if (kinds[i].layout == kinds[encoding].layout && kinds[i].raw == kinds[encoding].raw) {
            return (hr_encoding)i;
        }
    }
    hr_panic(__FILE__, __LINE__, "no such encoding");
}

static hr_status encode_plain(const plan *plan, kind kind, hr_buf *out) {
    switch (kind.layout) {
    case LAYOUT_OBJECT: return encode_json(plan, false, out);
    case LAYOUT_LINE: return encode_json(plan, true, out);
    case LAYOUT_BLOCK: return encode_block(plan, kind.raw, out);
    case LAYOUT_FRAME: return encode_frame(plan, kind.raw, out);
    }
    hr_panic(__FILE__, __LINE__, "no such layout");
}

/* Makes the frame from begin on one of a compressed message, if that is shorter. */
static hr_status compress_frame(hr_buf *out, size_t begin, size_t payload_len, size_t len_min) {
    if (payload_len < len_min) {
        return HR_OK;
    }
    hr_status status = hr_buf_reserve(out, payload_len + HR_DEFLATE_TAIL_LEN);
    if (status != HR_OK) {
        return status;
    }
    char *frame = out->data + begin;
    char *behind = out->data + out->len;
    size_t len =
        hr_ws_deflate((hr_slice){behind - payload_len, payload_len}, HR_WINDOW_BITS_MAX, behind);
    if (len > 0) {
        size_t head_len = hr_ws_head((hr_ws_opcode)(frame[0] & 0x0F), len, frame);
        frame[0] = (char)(frame[0] | HR_WS_COMPRESSED);
        memmove(frame + head_len, behind, len);
        out->len = begin + head_len + len;
    }
    return HR_OK;
}

/* Makes the text from begin on blocks of deflate. */
static hr_status compress_text(hr_buf *out, size_t begin, size_t len_min) {
    size_t text_len = out->len - begin;
    size_t stored_len = hr_deflate_stored_len(text_len);
    hr_status status = hr_buf_reserve(out, stored_len);
    if (status != HR_OK) {
        return status;
    }
    hr_slice text = {out->data + begin, text_len};
    char *behind = out->data + out->len;
    size_t len = text_len < len_min ? 0 : hr_deflate(text, HR_WINDOW_BITS_MAX, behind, stored_len);
    if (len == 0) {
        len = hr_deflate_store(text, behind);
    }
    memmove(out->data + begin, behind, len);
    out->len = begin + len;
    return HR_OK;
}

hr_status hr_event_encode(const hr_event_view *event, hr_encoding encoding, hr_buf *out,
                          size_t *plain_len) {
    /* A control byte in type would forge fields of an SSE block. */
    HR_ASSERT(event->type.len == 0 || hr_type_valid(event->type));
    HR_ASSERT(hr_utf8_valid(event->topic));
    HR_ASSERT(encoding < HR_ENCODING_COUNT);
    kind kind = kinds[encoding];
    plan plan;
    plan.event = event;
    /* HTTP lets any byte above ASCII stand in a header; JSON does not. */
    plan.content_type = hr_utf8_valid(event->content_type) ? event->content_type
                                                           : HR_LIT("application/octet-stream");
    plan.form = hr_data_form_of(plan.content_type, event->data);
    plan.id_len = hr_id_format(event->epoch, event->sequence, plan.id);
    if (!kind.raw) {
        plan_object(&plan);
    }
    size_t begin = out->len;
    hr_status status = encode_plain(&plan, kind, out);
    *plain_len = out->len - begin;
    if (status == HR_OK && hr_encoding_is_gzip(encoding)) {
        status = compress_text(out, begin, event->compressed_len_min);
    } else if (status == HR_OK && hr_encoding_is_compressed(encoding)) {
        size_t payload_len = kind.raw ? event->data.len : plan.object_len;
        status = compress_frame(out, begin, payload_len, event->compressed_len_min);
    }
    if (status != HR_OK) {
        out->len = begin;
    }
    return status;
}
