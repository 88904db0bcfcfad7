/* llhttp finds the pieces of a request; this file feeds it within the limits and gathers them.
 *
 * Whatever decides the outcome is tied to a place in the byte stream, never to where the input was
 * cut: limits are enforced by how much llhttp is given, and counts are taken when a part ends. */
#include "http1_private.h"

#include <stdlib.h>
#include <string.h>

#define EMPTY_LINES_MAX 8      /* RFC 9112 §2.2 asks for one; a peer must not send them forever */
#define PREFACE_LEN 24         /* PRI * HTTP/2.0 CRLF CRLF SM CRLF CRLF */
#define CHUNK_LINE_FREE 18     /* 16 hex digits and CRLF; a longer size line counts as head */
#define BODY_RESERVE_MAX 16384 /* what a claimed length alone is worth in memory */

/* What reset keeps; 4 KiB together. */
#define KEPT_HEAD_MAX 2048
#define KEPT_FIELDS_MAX (1024 / sizeof(http1_field))
#define KEPT_BODY_MAX 1024

static hr_http1 *http_of(llhttp_t *parser) {
    hr_http1 *http;
    HR_CAST(hr_http1, http, parser->data, HTTP1_MAGIC);
    return http;
}

/* Where in head a place of the input is going to lie. */
static uint32_t head_offset(const hr_http1 *http, const char *at) {
    return (uint32_t)(http->head.len + (size_t)(at - http->input));
}

/* Adds a piece to span, which must adjoin. */
static void span_extend(hr_http1 *http, http1_span *span, const char *at, size_t len) {
    uint32_t offset = head_offset(http, at);
    if (span->len == 0) {
        span->at = offset;
    } else if (offset != span->at + span->len) {
        http->torn = true;
    }
    span->len += (uint32_t)len;
}

static int on_method(llhttp_t *parser, const char *at, size_t len) {
    hr_http1 *http = http_of(parser);
    span_extend(http, &http->said.method, at, len);
    return 0;
}

static int on_url(llhttp_t *parser, const char *at, size_t len) {
    hr_http1 *http = http_of(parser);
    span_extend(http, &http->said.target, at, len);
    return 0;
}

static int on_url_complete(llhttp_t *parser) {
    hr_http1 *http = http_of(parser);
    if (http->said.target.len > http->limits.target_len_max) {
        hr__http1_fail(http, HR_FAULT_TARGET_LEN, "request target is too long");
        return HPE_USER;
    }
    return 0;
}

static bool begin_field(hr_http1 *http) {
    if (http->said.field_count == http->field_cap) {
        uint32_t cap = http->field_cap == 0 ? 16 : http->field_cap * 2;
        http1_field *fields = realloc(http->fields, cap * sizeof *fields);
        if (fields == NULL) {
            return false;
        }
        http->fields = fields;
        http->field_cap = cap;
    }
    http->fields[http->said.field_count++] = (http1_field){0};
    http->in_name = true;
    return true;
}

static int on_header_field(llhttp_t *parser, const char *at, size_t len) {
    hr_http1 *http = http_of(parser);
    if (http->state != HTTP1_IN_HEAD) {
        return 0; /* a trailer: counted, not kept */
    }
    if (!http->in_name && !begin_field(http)) {
        hr__http1_fail(http, HR_FAULT_MEMORY, "out of memory");
        return HPE_USER;
    }
    span_extend(http, &http->fields[http->said.field_count - 1].name, at, len);
    return 0;
}

static int on_header_value(llhttp_t *parser, const char *at, size_t len) {
    hr_http1 *http = http_of(parser);
    if (http->state == HTTP1_IN_HEAD && len > 0) {
        HR_ASSERT(http->said.field_count > 0);
        span_extend(http, &http->fields[http->said.field_count - 1].value, at, len);
    }
    return 0;
}

static int on_header_value_complete(llhttp_t *parser) {
    hr_http1 *http = http_of(parser);
    http->in_name = false;
    http->fields_complete++;
    if (http->fields_complete > http->limits.header_count_max) {
        hr__http1_fail(http, HR_FAULT_HEAD_LEN, "too many header fields");
        return HPE_USER;
    }
    return 0;
}

static int on_body(llhttp_t *parser, const char *at, size_t len) {
    hr_http1 *http = http_of(parser);
    HR_ASSERT(len <= http->limits.body_len_max - http->body.len);
    if (hr_buf_append(&http->body, at, len) != HR_OK) {
        hr__http1_fail(http, HR_FAULT_MEMORY, "out of memory");
        return HPE_USER;
    }
    return 0;
}

static int pause_for(llhttp_t *parser, http1_pause paused) {
    http_of(parser)->paused = paused;
    return HPE_PAUSED;
}

static int on_headers_complete(llhttp_t *parser) { return pause_for(parser, HTTP1_PAUSE_HEAD); }
static int on_chunk_header(llhttp_t *parser) { return pause_for(parser, HTTP1_PAUSE_CHUNK_BEGIN); }
static int on_chunk_complete(llhttp_t *parser) { return pause_for(parser, HTTP1_PAUSE_CHUNK_END); }

static const llhttp_settings_t settings = {
    .on_method = on_method,
    .on_url = on_url,
    .on_url_complete = on_url_complete,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_header_value_complete = on_header_value_complete,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_chunk_header = on_chunk_header,
    .on_chunk_complete = on_chunk_complete,
};

hr_status hr_http1_new(const hr_http1_limits *limits, hr_http1 **out) {
    HR_ASSERT(limits != NULL && limits->head_len_max < UINT32_MAX / 2);
    hr_http1 *http = calloc(1, sizeof *http);
    if (http == NULL) {
        return HR_ENOMEM;
    }
    _Static_assert(sizeof *http < 1024, "one stands in every HTTP/1 connection");
    HR_MAGIC_SET(http, HTTP1_MAGIC);
    http->limits = *limits;
    hr_http1_reset(http);
    *out = http;
    return HR_OK;
}

void hr_http1_free(hr_http1 **http) {
    if (*http == NULL) {
        return;
    }
    HR_CHECK(*http, HTTP1_MAGIC);
    hr_buf_fini(&(*http)->head);
    hr_buf_fini(&(*http)->body);
    free((*http)->fields);
    HR_MAGIC_CLEAR(*http);
    free(*http);
    *http = NULL;
}

static hr_buf emptied(hr_buf buf, size_t kept_max) {
    if (buf.cap > kept_max) {
        hr_buf_fini(&buf);
    }
    buf.len = 0;
    return buf;
}

void hr_http1_reset(hr_http1 *http) {
    HR_CHECK(http, HTTP1_MAGIC);
    if (http->field_cap > KEPT_FIELDS_MAX) {
        free(http->fields);
        http->fields = NULL;
        http->field_cap = 0;
    }
    *http = (hr_http1){
        .magic = HTTP1_MAGIC,
        .limits = http->limits,
        .state = HTTP1_IN_HEAD,
        .head = emptied(http->head, KEPT_HEAD_MAX),
        .body = emptied(http->body, KEPT_BODY_MAX),
        .fields = http->fields,
        .field_cap = http->field_cap,
        .said = http->said,
    };
    if (http->head.data == NULL || http->fields == NULL || http->said.len == 0) {
        http->said = (http1_said){0};
    }
    c_nio_llhttp_init(&http->parser, HTTP_REQUEST, &settings);
    http->parser.data = http;
}

hr_http1_result hr__http1_fail(hr_http1 *http, hr_http_fault fault, const char *text) {
    http->state = HTTP1_FAILED;
    http->fault = fault;
    http->fault_text = text;
    return HR_HTTP1_FAIL;
}

/* Gives llhttp len bytes. *taken: how many of them lie before the place where it stopped. */
static llhttp_errno_t run(hr_http1 *http, const char *bytes, size_t len, size_t *taken) {
    http->input = bytes;
    llhttp_errno_t error = c_nio_llhttp_execute(&http->parser, bytes, len);
    http->input = NULL;
    *taken = len;
    if (error != HPE_OK) {
        const char *stop = c_nio_llhttp_get_error_pos(&http->parser);
        HR_ASSERT(stop >= bytes && stop <= bytes + len);
        *taken = (size_t)(stop - bytes);
    }
    if (error == HPE_PAUSED) {
        c_nio_llhttp_resume(&http->parser);
    }
    return error;
}

/* RFC 9110 §5.6.2 */
static bool is_token_char(char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

/* llhttp stops at the first byte that fits no method it knows: another method's letter, the space
 * after a shorter one, or no method at all. */
static hr_http1_result fail_method(hr_http1 *http, const char *stop, size_t left) {
    bool token = left > 0 && (is_token_char(*stop) || (*stop == ' ' && http->head.len > 0));
    return token ? hr__http1_fail(http, HR_FAULT_METHOD, "method is not implemented")
                 : hr__http1_fail(http, HR_FAULT_REQUEST_LINE, "request line is malformed");
}

/* Whether the head goes as far as a well-formed version other than 1.0 and 1.1. */
static bool has_other_version(const hr_http1 *http) {
    size_t at = (size_t)http->said.target.at + http->said.target.len + 1;
    if (http->head.len < at + 8) {
        return false;
    }
    const char *version = http->head.data + at;
    return memcmp(version, "HTTP/", 5) == 0 && memcmp(version + 5, "1.0", 3) != 0 &&
           memcmp(version + 5, "1.1", 3) != 0;
}

/* Translates llhttp's error; stop is where it stood, with left bytes from there on. */
static hr_http1_result fail_as(hr_http1 *http, llhttp_errno_t error, const char *stop,
                               size_t left) {
    if (http->state == HTTP1_FAILED) {
        return HR_HTTP1_FAIL; /* a callback's verdict */
    }
    switch (error) {
    case HPE_INVALID_METHOD: return fail_method(http, stop, left);
    case HPE_INVALID_CONSTANT:
        /* RTSP's methods end here too when the version is HTTP's. */
        return hr_http1_method(http) == HR_HTTP_OTHER
                   ? hr__http1_fail(http, HR_FAULT_METHOD, "method is not implemented")
                   : hr__http1_fail(http, HR_FAULT_REQUEST_LINE, "request line is malformed");
    case HPE_INVALID_VERSION:
        if (has_other_version(http)) {
            return hr__http1_fail(http, HR_FAULT_VERSION, "HTTP version is not 1.0 or 1.1");
        }
        return hr__http1_fail(http, HR_FAULT_REQUEST_LINE, "request line is malformed");
    case HPE_INVALID_URL:
        return hr__http1_fail(http, HR_FAULT_REQUEST_LINE, "request target is malformed");
    case HPE_INVALID_CONTENT_LENGTH:
        return hr__http1_fail(http, HR_FAULT_LENGTH, "Content-Length is not a number");
    case HPE_UNEXPECTED_CONTENT_LENGTH:
        return hr__http1_fail(http, HR_FAULT_LENGTH,
                              "more than one Content-Length, or one with Transfer-Encoding");
    case HPE_INVALID_TRANSFER_ENCODING:
        return hr__http1_fail(http, HR_FAULT_LENGTH, "Transfer-Encoding does not end in chunked");
    default: break;
    }
    if (http->state == HTTP1_IN_CHUNKED) {
        return hr__http1_fail(http, HR_FAULT_CHUNK, "chunk or trailer is malformed");
    }
    if (http->parser.http_major == 0) { /* no version yet, or none at all (HTTP/0.9) */
        return hr__http1_fail(http, HR_FAULT_REQUEST_LINE, "request line is malformed");
    }
    return hr__http1_fail(http, HR_FAULT_HEADER, "header field is malformed");
}

/* Passes empty lines before a request (RFC 9112 §2.2). */
static bool skip_empty_lines(hr_http1 *http, const char *bytes, size_t len, size_t *at) {
    for (; *at < len && !http->begun; (*at)++) {
        char c = bytes[*at];
        if (http->empty_line_cr ? c != '\n' : c == '\n') {
            hr__http1_fail(http, HR_FAULT_REQUEST_LINE, "line does not end in CRLF");
            return false;
        }
        if (c != '\r' && c != '\n') {
            http->begun = true;
            break;
        }
        http->empty_line_cr = c == '\r';
        if (c == '\n' && ++http->empty_lines > EMPTY_LINES_MAX) {
            hr__http1_fail(http, HR_FAULT_REQUEST_LINE, "too many empty lines before a request");
            return false;
        }
    }
    return true;
}

/* After the head: what the body is, if any. */
static hr_http1_result begin_body(hr_http1 *http) {
    http->head_used = (uint32_t)http->head.len;
    if (http->said.chunked) {
        http->state = HTTP1_IN_CHUNKED;
        return HR_HTTP1_HEAD;
    }
    http->body_left = http->said.has_length ? http->said.length : 0;
    if (http->body_left > http->limits.body_len_max) {
        return hr__http1_fail(http, HR_FAULT_BODY_LEN, "body is too big");
    }
    http->state = http->body_left > 0 ? HTTP1_IN_LENGTH : HTTP1_COMPLETE;
    return http->body_left > 0 ? HR_HTTP1_HEAD : HR_HTTP1_DONE;
}

/* A client that asks again mostly asks in the same words. A head that is the one before it, byte for
 * byte, says the same and needs no parser. */
static bool repeats_head(hr_http1 *http, const char *input, size_t left) {
    size_t len = http->said.len;
    if (http->head.len > 0 || len == 0) {
        return false;
    }
    if (left < len || memcmp(input, http->head.data, len) != 0) {
        http->said = (http1_said){0};
        return false;
    }
    http->head.len = len;
    http->parser.method = http->said.verb;
    http->parser.http_minor = http->said.minor;
    return true;
}

static hr_http1_result feed_head(hr_http1 *http, const char *bytes, size_t len, size_t *used) {
    if (!skip_empty_lines(http, bytes, len, used)) {
        return HR_HTTP1_FAIL;
    }
    const char *input = bytes + *used;
    size_t left = len - *used;
    if (left == 0) {
        return HR_HTTP1_MORE;
    }
    if (repeats_head(http, input, left)) {
        *used += http->head.len;
        return begin_body(http);
    }
    size_t room = http->limits.head_len_max - http->head.len;
    size_t taken = 0;
    llhttp_errno_t error = run(http, input, left < room ? left : room, &taken);
    *used += taken;
    if (hr_buf_append(&http->head, input, taken) != HR_OK) {
        return hr__http1_fail(http, HR_FAULT_MEMORY, "out of memory");
    }
    if (error == HPE_PAUSED) {
        HR_ASSERT(http->paused == HTTP1_PAUSE_HEAD);
        return hr__http1_judge_head(http) ? begin_body(http) : HR_HTTP1_FAIL;
    }
    if (error == HPE_PAUSED_H2_UPGRADE) {
        /* llhttp has seen the whole preface; whether it stands on its last byte or behind it is
         * llhttp's own affair. */
        *used += PREFACE_LEN - http->head.len;
        return HR_HTTP1_H2;
    }
    if (error != HPE_OK) {
        return fail_as(http, error, input + taken, left - taken);
    }
    if (left == taken) {
        return HR_HTTP1_MORE;
    }
    return http->said.target.len > http->limits.target_len_max
               ? hr__http1_fail(http, HR_FAULT_TARGET_LEN, "request target is too long")
               : hr__http1_fail(http, HR_FAULT_HEAD_LEN, "request head is too long");
}

static hr_http1_result feed_length(hr_http1 *http, const char *bytes, size_t len, size_t *used) {
    size_t taken = len < http->body_left ? len : (size_t)http->body_left;
    size_t claimed =
        http->body_left < BODY_RESERVE_MAX ? (size_t)http->body_left : BODY_RESERVE_MAX;
    if ((http->body.len == 0 && taken > 0 && hr_buf_reserve(&http->body, claimed) != HR_OK) ||
        hr_buf_append(&http->body, bytes, taken) != HR_OK) {
        return hr__http1_fail(http, HR_FAULT_MEMORY, "out of memory");
    }
    *used = taken;
    http->body_left -= taken;
    if (http->body_left > 0) {
        return HR_HTTP1_MORE;
    }
    http->state = HTTP1_COMPLETE;
    return HR_HTTP1_DONE;
}

/* How long a chunk's size line, or the trailers, may be without counting as head. */
static uint64_t line_free(const hr_http1 *http) { return http->last_chunk ? 2 : CHUNK_LINE_FREE; }

/* A size line has ended: its extensions count as head, its size against the body's limit. */
static bool begin_chunk(hr_http1 *http) {
    if (http->line_len > line_free(http)) {
        http->head_used += (uint32_t)(http->line_len - line_free(http));
    }
    http->line_len = 0;
    uint64_t size = http->parser.content_length;
    if (size > http->limits.body_len_max - http->body.len) {
        hr__http1_fail(http, HR_FAULT_BODY_LEN, "body is too big");
        return false;
    }
    http->in_chunk = size > 0;
    http->last_chunk = size == 0;
    return true;
}

static hr_http1_result feed_chunked(hr_http1 *http, const char *bytes, size_t len, size_t *used) {
    while (*used < len) {
        bool in_chunk = http->in_chunk;
        size_t window = len - *used;
        uint64_t room =
            http->limits.head_len_max - http->head_used + line_free(http) - http->line_len;
        if (!in_chunk && room == 0) {
            return hr__http1_fail(http, HR_FAULT_HEAD_LEN,
                                  "trailers or chunk extensions are too long");
        }
        if (!in_chunk && window > room) {
            window = (size_t)room;
        }
        const char *input = bytes + *used;
        size_t taken = 0;
        llhttp_errno_t error = run(http, input, window, &taken);
        *used += taken;
        http->line_len += in_chunk ? 0 : taken;
        if (error == HPE_OK) {
            continue;
        }
        if (error != HPE_PAUSED) {
            return fail_as(http, error, input + taken, window - taken);
        }
        if (http->paused == HTTP1_PAUSE_CHUNK_BEGIN) {
            if (!begin_chunk(http)) {
                return HR_HTTP1_FAIL;
            }
        } else if (http->last_chunk) {
            http->state = HTTP1_COMPLETE;
            return HR_HTTP1_DONE;
        } else {
            http->in_chunk = false;
        }
    }
    return HR_HTTP1_MORE;
}

hr_http1_result hr_http1_feed(hr_http1 *http, const char *bytes, size_t len, size_t *used) {
    HR_CHECK(http, HTTP1_MAGIC);
    HR_ASSERT(bytes != NULL || len == 0);
    HR_ASSERT(http->state != HTTP1_COMPLETE);
    *used = 0;
    if (http->state == HTTP1_FAILED) {
        return HR_HTTP1_FAIL;
    }
    if (len == 0) {
        return HR_HTTP1_MORE;
    }
    switch (http->state) {
    case HTTP1_IN_HEAD: return feed_head(http, bytes, len, used);
    case HTTP1_IN_LENGTH: return feed_length(http, bytes, len, used);
    case HTTP1_IN_CHUNKED: return feed_chunked(http, bytes, len, used);
    case HTTP1_COMPLETE:
    case HTTP1_FAILED: break;
    }
    HR_ASSERT(false);
}
