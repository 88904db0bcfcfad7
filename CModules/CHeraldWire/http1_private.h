/* http1_private: what http1.c (feeding llhttp) and http1_head.c (judging a head) share.
 *
 * Invariant: head holds the bytes of the head as they came, from the method on; all else about it
 * is offsets into them, so that the buffer may move. While said.len > 0, head's memory still holds
 * so many bytes of the request before, and said and fields what they say. */
#ifndef HTTP1_PRIVATE_H
#define HTTP1_PRIVATE_H

#include "CHeraldWire.h"

#include <c_nio_llhttp.h>

#define HTTP1_MAGIC 0x48545031u /* HTP1 */

/* A piece of head. */
typedef struct http1_span {
    uint32_t at;
    uint32_t len;
} http1_span;

typedef struct http1_field {
    http1_span name;
    http1_span value;
} http1_field;

/* What a head says: a function of its bytes alone. */
typedef struct http1_said {
    size_t len; /* of the head, while the next request may be answered for by it; else 0 */
    http1_span method;
    http1_span target;
    uint64_t length; /* Content-Length */
    uint32_t field_count;
    uint32_t known[HR_NAME_COUNT]; /* first field of that name, counted from one; 0: none */
    uint8_t verb;                  /* llhttp's */
    uint8_t minor;
    bool has_host;
    bool has_length;
    bool chunked;
    bool keep_alive;
    bool expects_continue;
    bool upgrades;
} http1_said;

typedef enum http1_state {
    HTTP1_IN_HEAD,
    HTTP1_IN_LENGTH,  /* a body of body_left more bytes */
    HTTP1_IN_CHUNKED, /* a body that llhttp unwraps */
    HTTP1_COMPLETE,
    HTTP1_FAILED,
} http1_state;

/* What made llhttp pause. */
typedef enum http1_pause {
    HTTP1_PAUSE_HEAD,
    HTTP1_PAUSE_CHUNK_BEGIN,
    HTTP1_PAUSE_CHUNK_END,
} http1_pause;

struct hr_http1 {
    HR_MAGIC_FIELD;
    hr_http1_limits limits;
    c_nio_llhttp__internal_t parser;

    http1_state state;
    hr_http_fault fault;
    const char *fault_text;

    hr_buf head;
    http1_said said;
    http1_field *fields;
    uint32_t field_cap;
    uint32_t fields_complete; /* trailers included */
    bool in_name;             /* the last field's name may go on */
    bool torn;                /* a field came in pieces that do not adjoin */

    bool begun;
    bool empty_line_cr;  /* the CR of an empty line before the request has come */
    uint8_t empty_lines; /* before the request */

    const char *input; /* what llhttp is being fed */
    http1_pause paused;
    bool in_chunk; /* inside a chunk's data, not its size line or the trailers */
    bool last_chunk;
    uint32_t head_used; /* of head_len_max */
    uint64_t line_len;  /* of the chunk's size line, or of the trailers, so far */
    uint64_t body_left;
    hr_buf body;
};

/* Ends the request with a fault. text is static. Always HR_HTTP1_FAIL. */
hr_http1_result hr__http1_fail(hr_http1 *http, hr_http_fault fault, const char *text);

/* Judges a whole head that llhttp has taken, and works out what the accessors answer: said. False:
 * the fault is set. */
bool hr__http1_judge_head(hr_http1 *http);

static inline hr_slice hr__http1_slice(const hr_http1 *http, http1_span span) {
    return (hr_slice){http->head.data + span.at, span.len};
}

#endif
