/* hr_http1: HTTP/1.1 and 1.0 requests (RFC 9112), strict, over llhttp.
 *
 * Fed any pieces, it gathers one request at a time within fixed limits. It holds no socket and
 * answers nothing. The outcome never depends on where the input was cut. What smuggling needs is
 * refused: two lengths, a length with a transfer coding, a coding other than chunked, bare CR or
 * LF, folded lines, white space before the colon, not one Host in HTTP/1.1, two of a single field. */
#ifndef HR_HTTP1_H
#define HR_HTTP1_H

#include "CHeraldBase.h"

typedef struct hr_http1 hr_http1;

typedef struct hr_http1_limits {
    uint32_t head_len_max;     /* request line, headers, chunk extensions and trailers, bytes */
    uint32_t header_count_max; /* trailers included */
    uint32_t target_len_max;
    uint64_t body_len_max;
} hr_http1_limits;

typedef enum HR_CLOSED_ENUM hr_http_method {
    HR_HTTP_GET,
    HR_HTTP_HEAD,
    HR_HTTP_POST,
    HR_HTTP_PUT,
    HR_HTTP_DELETE,
    HR_HTTP_OPTIONS,
    HR_HTTP_PATCH,
    HR_HTTP_OTHER,
} hr_http_method;

/* The headers that are looked for by name. They are found once a head. */
typedef enum HR_CLOSED_ENUM hr_http_name {
    HR_NAME_ACCEPT,
    HR_NAME_ACCEPT_ENCODING,
    HR_NAME_CONTENT_TYPE,
    HR_NAME_HERALD_TYPE,
    HR_NAME_IDEMPOTENCY_KEY,
    HR_NAME_IF_NONE_MATCH,
    HR_NAME_LAST_EVENT_ID,
    HR_NAME_PREFER,
    HR_NAME_WS_EXTENSIONS,
    HR_NAME_WS_KEY,
    HR_NAME_WS_VERSION,
    HR_NAME_CE_ID,
    HR_NAME_CE_SOURCE,
    HR_NAME_CE_SPECVERSION,
    HR_NAME_CE_TYPE,
    HR_NAME_AUTHORIZATION,
    HR_NAME_COOKIE,
    HR_NAME_ORIGIN,
    HR_NAME_FORWARDED,
    HR_NAME_X_FORWARDED_FOR,
} hr_http_name;

#define HR_NAME_COUNT (HR_NAME_X_FORWARDED_FOR + 1)

/* Why a request is refused; each maps to one status and problem type. */
typedef enum HR_CLOSED_ENUM hr_http_fault {
    HR_FAULT_NONE,
    HR_FAULT_REQUEST_LINE,      /* 400 */
    HR_FAULT_METHOD,            /* 501 */
    HR_FAULT_VERSION,           /* 505 */
    HR_FAULT_HEADER,            /* 400 */
    HR_FAULT_HOST,              /* 400 */
    HR_FAULT_LENGTH,            /* 400: the body has no one certain length */
    HR_FAULT_TRANSFER_ENCODING, /* 501: a coding other than chunked */
    HR_FAULT_CHUNK,             /* 400 */
    HR_FAULT_TARGET_LEN,        /* 414 */
    HR_FAULT_HEAD_LEN,          /* 431 */
    HR_FAULT_BODY_LEN,          /* 413 */
    HR_FAULT_MEMORY,            /* 503 */
} hr_http_fault;

typedef enum HR_CLOSED_ENUM hr_http1_result {
    HR_HTTP1_MORE, /* all input used; the request goes on */
    HR_HTTP1_HEAD, /* the head is complete and a body follows; feed again */
    HR_HTTP1_DONE, /* the request is complete; input from *used on belongs to the next, or to the
                      protocol upgraded to. Reset before feeding again */
    HR_HTTP1_H2,   /* the preface of HTTP/2 has come instead (RFC 9113 §3.4); *used: behind it */
    HR_HTTP1_FAIL, /* hr_http1_fault says why; the connection must end */
} hr_http1_result;

/* Gives *out, which is small (<1 KiB) before it is fed. */
HR_MUST_CHECK hr_status hr_http1_new(const hr_http1_limits *limits, hr_http1 **out);
void hr_http1_free(hr_http1 **http);
/* Makes it ready for the next request of the connection; keeps at most 4 KiB of memory for it, so
 * that the usual request allocates nothing. */
void hr_http1_reset(hr_http1 *http);
/* Feeds bytes, which are copied as needed; *used says how many were taken. One result per call. */
HR_MUST_CHECK hr_http1_result hr_http1_feed(hr_http1 *http, const char *bytes, size_t len,
                                            size_t *used);
/* Whether any byte of a request has been seen since new or reset. The few empty lines that may
 * come before it do not count (RFC 9112 §2.2). */
bool hr_http1_begun(const hr_http1 *http);
hr_http_fault hr_http1_fault(const hr_http1 *http);
/* A sentence naming what was wrong; static. */
const char *hr_http1_fault_text(const hr_http1 *http);
/* The status code that answers fault. */
unsigned hr_http_fault_status(hr_http_fault fault);

/* After HR_HTTP1_HEAD or HR_HTTP1_DONE; slices are borrowed until the next feed, reset or free. */
hr_http_method hr_http1_method(const hr_http1 *http);
hr_slice hr_http1_method_text(const hr_http1 *http);
/* A path with its query, or "*" for OPTIONS; never empty. Of http://host/path it is /path. */
hr_slice hr_http1_target(const hr_http1 *http);
unsigned hr_http1_minor(const hr_http1 *http);  /* 0 or 1 */
bool hr_http1_keep_alive(const hr_http1 *http); /* by version and Connection (RFC 9112 §9.3) */
bool hr_http1_expects_continue(const hr_http1 *http);
/* Connection: upgrade with an Upgrade header, in HTTP/1.1. */
bool hr_http1_upgrades(const hr_http1 *http);
size_t hr_http1_header_count(const hr_http1 *http);
void hr_http1_header_at(const hr_http1 *http, size_t index, hr_slice *name, hr_slice *value);
/* The first header of that name; false when there is none. */
bool hr_http1_known(const hr_http1 *http, hr_http_name name, hr_slice *value);
/* Appends the values of all headers of that name, joined by commas: what a list that stands on
 * several lines means (RFC 9110 §5.3). Nothing when there is none. */
HR_MUST_CHECK hr_status hr_http1_known_joined(const hr_http1 *http, hr_http_name name, hr_buf *out);
/* The first header of any name (any case), by looking at all. */
bool hr_http1_header(const hr_http1 *http, hr_slice name, hr_slice *value);
/* Whether a comma-separated header holds token (any case), over all its lines. */
bool hr_http1_header_has_token(const hr_http1 *http, hr_slice name, hr_slice token);
/* After HR_HTTP1_DONE. */
hr_slice hr_http1_body(const hr_http1 *http);

#endif
