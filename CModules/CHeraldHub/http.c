/* HTTP requests in, heads of answers out. */
#include "hub_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const char *hr__status_phrase(unsigned status) {
    switch (status) {
    case 100: return "Continue";
    case 101: return "Switching Protocols";
    case 200: return "OK";
    case 201: return "Created";
    case 204: return "No Content";
    case 304: return "Not Modified";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 406: return "Not Acceptable";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 413: return "Content Too Large";
    case 414: return "URI Too Long";
    case 415: return "Unsupported Media Type";
    case 417: return "Expectation Failed";
    case 422: return "Unprocessable Content";
    case 426: return "Upgrade Required";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 503: return "Service Unavailable";
    case 505: return "HTTP Version Not Supported";
    default: return "Status";
    }
}

/* The Date header's value (RFC 9110 §5.6.7), made once a second. */
hr_slice hr__date(hr_home *home) {
    int64_t now_s = hr_loop_time_now(home->loop).wall_ms / 1000;
    if (now_s != home->date_s || home->date_len == 0) {
        static const char days[] = "SunMonTueWedThuFriSat";
        static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
        time_t seconds = (time_t)now_s;
        struct tm utc;
        gmtime_r(&seconds, &utc);
        hr_buf text = {0};
        if (hr_buf_appendf(&text, "%.3s, %02d %.3s %04d %02d:%02d:%02d GMT", days + 3 * utc.tm_wday,
                           utc.tm_mday, months + 3 * utc.tm_mon, utc.tm_year + 1900, utc.tm_hour,
                           utc.tm_min, utc.tm_sec) == HR_OK &&
            text.len <= sizeof home->date) {
            memcpy(home->date, text.data, text.len);
            home->date_len = text.len;
            home->date_s = now_s;
        }
        hr_buf_fini(&text);
    }
    return (hr_slice){home->date, home->date_len};
}

static hr_status make_head(hr_home *home, hr_buf *out, unsigned status, hr__answer_style style,
                           hr_slice date) {
    const char *phrase = hr__status_phrase(status);
    const char code[] = {(char)('0' + status / 100), (char)('0' + status / 10 % 10),
                         (char)('0' + status % 10), ' '};
    hr_slice connection = HR_LIT("");
    if (status != 101 && !style.keep_alive) {
        connection = HR_LIT("\r\nConnection: close");
    } else if (style.http10) {
        connection = HR_LIT("\r\nConnection: keep-alive");
    }
    const hr_slice parts[] = {HR_LIT("HTTP/1.1 "),
                              {code, sizeof code},
                              {phrase, strlen(phrase)},
                              HR_LIT("\r\nServer: "),
                              home->hub->config.server_name,
                              HR_LIT("\r\nDate: "),
                              date,
                              connection,
                              HR_LIT("\r\n")};
    return HR_BUF_APPEND_ALL(out, parts);
}

static hr_slice header_block(const hr_home *home, hr__answer_style style) {
    const hr_hub_config *config = &home->hub->config;
    return config->header_block_count == 0 ? HR_LIT("") : config->header_blocks[style.headers];
}

/* Most answers of a second begin alike, but for the header block. */
hr_status hr__head_begin(hr_home *home, hr_buf *out, unsigned status, hr__answer_style style) {
    HR_ASSERT(status >= 100 && status <= 599);
    hr__count_status(home, status);
    hr_slice date = hr__date(home);
    hr__head *head = &home->heads[status % HR_HEAD_COUNT];
    if (head->status != status || head->date_s != home->date_s ||
        head->style.http10 != style.http10 || head->style.keep_alive != style.keep_alive) {
        head->status = 0;
        head->text.len = 0;
        hr_status made = make_head(home, &head->text, status, style, date);
        if (made != HR_OK) {
            return made;
        }
        head->status = status;
        head->style = style;
        head->date_s = home->date_s;
    }
    const hr_slice parts[] = {hr_buf_slice(&head->text), header_block(home, style)};
    return HR_BUF_APPEND_ALL(out, parts);
}

hr_status hr__fault_append(hr_home *home, hr_buf *out, unsigned status, hr__answer_style style,
                           hr_slice challenge, hr_slice body) {
    char digits[20];
    const hr_slice parts[] = {HR_LIT("Content-Type: application/problem+json\r\n"),
                              home->hub->config.fault_headers,
                              challenge.len > 0 ? HR_LIT("WWW-Authenticate: ") : HR_LIT(""),
                              challenge,
                              challenge.len > 0 ? HR_LIT("\r\n") : HR_LIT(""),
                              HR_LIT("Content-Length: "),
                              {digits, hr_u64_format(body.len, digits)},
                              HR_LIT("\r\n\r\n"),
                              style.head_only ? HR_LIT("") : body};
    hr_status result = hr__head_begin(home, out, status, style);
    if (result == HR_OK && (status == 429 || status == 503)) {
        result = hr_buf_appendf(out, "Retry-After: %u\r\n", hr__retry_after_s(home));
    }
    return result == HR_OK ? HR_BUF_APPEND_ALL(out, parts) : result;
}

/* Answers what cannot be handed to the handler, and ends the connection: after a fault of the
 * framing nobody can say where the next request begins. */
void hr__http_refuse(hr_session *session, unsigned status, const char *slug, const char *title,
                     const char *detail) {
    hr_home *home = session->home;
    hr__answer_style style = {.keep_alive = false};
    home->out.len = 0;
    home->body.len = 0;
    hr_status result = hr_buf_appendf(
        &home->body, "{\"type\":\"/problems/%s\",\"title\":\"%s\",\"status\":%u,\"detail\":\"%s\"}",
        slug, title, status, detail);
    if (result == HR_OK) {
        result = hr__fault_append(home, &home->out, status, style, HR_LIT(""),
                                  hr_buf_slice(&home->body));
    }
    if (result == HR_OK) {
        hr_conn_write(&session->conn, home->out.data, home->out.len);
    }
    hr_close_reason reason = HR_CLOSE_PROTOCOL;
    if (status == 408) {
        reason = HR_CLOSE_TIMEOUT;
    } else if (status == 429 || status == 503) {
        reason = HR_CLOSE_LIMIT;
    }
    hr__session_finish(session, reason);
}

static const char *const fault_slugs[HR_FAULT_COUNT] = {
    [HR_FAULT_NONE] = "internal",           [HR_FAULT_REQUEST_LINE] = "bad-request",
    [HR_FAULT_METHOD] = "not-implemented",  [HR_FAULT_VERSION] = "http-version",
    [HR_FAULT_HEADER] = "bad-request",      [HR_FAULT_HOST] = "bad-request",
    [HR_FAULT_LENGTH] = "bad-request",      [HR_FAULT_TRANSFER_ENCODING] = "bad-request",
    [HR_FAULT_CHUNK] = "bad-request",       [HR_FAULT_TARGET_LEN] = "target-too-long",
    [HR_FAULT_HEAD_LEN] = "head-too-large", [HR_FAULT_BODY_LEN] = "body-too-large",
    [HR_FAULT_MEMORY] = "memory-limit",
};

/* The bound that fault names; 0: none. */
static uint64_t fault_limit(const hr_http1_limits *limits, hr_http_fault fault) {
    switch (fault) {
    case HR_FAULT_TARGET_LEN: return limits->target_len_max;
    case HR_FAULT_HEAD_LEN: return limits->head_len_max;
    case HR_FAULT_BODY_LEN: return limits->body_len_max;
    default: return 0;
    }
}

static void refuse_fault(hr_session *session) {
    hr_http_fault fault = hr_http1_fault(session->http);
    unsigned status = hr_http_fault_status(fault);
    const char *slug = fault_slugs[fault];
    uint64_t limit = fault_limit(&session->home->hub->http_limits, fault);
    char detail[200];
    if (fault == HR_FAULT_TRANSFER_ENCODING && status == 501) {
        slug = "not-implemented";
    }
    if (limit > 0) {
        snprintf(detail, sizeof detail, "%s; the limit is %llu bytes",
                 hr_http1_fault_text(session->http), (unsigned long long)limit);
    } else {
        snprintf(detail, sizeof detail, "%s", hr_http1_fault_text(session->http));
    }
    hr__count(&session->home->stats.faults[fault], 1);
    hr__http_refuse(session, status, slug, hr__status_phrase(status), detail);
}

/* A TLS client on the plain port understands an alert and nothing else (RFC 8446 §6.2: fatal
 * handshake_failure), and does not report "wrong version number" for our text. */
static void refuse_tls(hr_session *session) {
    static const char alert[] = {0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x28};
    hr__count(&session->home->stats.faults[HR_FAULT_REQUEST_LINE], 1);
    hr_conn_write(&session->conn, alert, sizeof alert);
    hr__session_finish(session, HR_CLOSE_PROTOCOL);
}

static bool is_tls_hello(const hr_session *session, const char *bytes, size_t len) {
    return session->conn.kind == HR_CONN_SOCKET && len > 0 && bytes[0] == 0x16;
}

static hr_request *take_request(hr_home *home) {
    hr_request *request = home->spare_request;
    home->spare_request = NULL;
    return request != NULL ? request : calloc(1, sizeof *request);
}

/* The framing is sound, so the connection goes on. */
static void refuse_target(hr_request *request) {
    hr__count(&request->home->stats.faults[HR_FAULT_REQUEST_LINE], 1);
    hr__request_fault(&request, 400,
                      HR_LIT("{\"type\":\"/problems/bad-request\",\"title\":\"Bad Request\","
                             "\"status\":400,\"detail\":\"the request target has a malformed "
                             "escape, a NUL byte or a fragment\"}"));
}

/* The request stands whole in session->http, which goes over to it. */
static void dispatch(hr_session *session) {
    hr_home *home = session->home;
    hr_http1 *http = session->http;
    hr_slice path = {0};
    hr_request *request = take_request(home);
    if (request == NULL) {
        hr__http_refuse(session, 503, "memory-limit", "Service Unavailable", "out of memory");
        return;
    }
    HR_MAGIC_SET(request, HR_REQUEST_MAGIC);
    request->kind = HR_REQUEST_HTTP;
    request->home = home;
    request->path.len = 0;
    session->http = NULL;
    request->http = http;
    request->session = session;
    hr_list_push_back(&session->requests, &request->link);
    session->request_count++;
    session->style = (hr__answer_style){
        .http10 = hr_http1_minor(http) == 0,
        .keep_alive = hr_http1_keep_alive(http) && !home->draining,
        .head_only = hr_http1_method(http) == HR_HTTP_HEAD,
    };
    session->mode = HR_MODE_REQUEST; /* its timer does nothing */
    if (hr_target_split(hr_http1_target(http), &path, &request->query) != HR_OK ||
        hr_percent_decode(path, false, &request->path) != HR_OK) {
        refuse_target(request);
        return;
    }
    home->hub->handler.on_request(request, home->hub->handler.context);
}

/* A client that knows us to speak HTTP/2 begins with it (RFC 9113 §3.3). With TLS that is for ALPN
 * to say, and behind other requests there is no place for it. */
static bool begin_h2(hr_session *session) {
    if (session->conn.kind != HR_CONN_SOCKET || session->is_used) {
        hr__count(&session->home->stats.faults[HR_FAULT_VERSION], 1);
        hr__http_refuse(session, 505, "http-version", "HTTP Version Not Supported",
                        "HTTP/2 begins a connection; with TLS it is asked for by ALPN");
        return false;
    }
    hr__home_http_give(session->home, session->http);
    session->http = NULL;
    return hr__h2_begin_known(session) == HR_OK;
}

/* Feeds one request's worth; false when the rest of the input must wait or is of no use. */
static bool feed(hr_session *session, char *bytes, size_t len, size_t *used) {
    hr_home *home = session->home;
    *used = 0;
    if (session->http == NULL) {
        session->http = hr__home_http_take(home);
        if (session->http == NULL) {
            hr_conn_close(&session->conn, HR_CLOSE_LIMIT);
            return false;
        }
    }
    bool begun = hr_http1_begun(session->http);
    switch (hr_http1_feed(session->http, bytes, len, used)) {
    case HR_HTTP1_MORE:
        if (!begun && hr_http1_begun(session->http)) {
            hr__session_arm(session, home->hub->config.request_timeout_ms);
        }
        return true;
    case HR_HTTP1_HEAD:
        /* The body has a time of its own, however slowly it comes. */
        hr__session_arm(session, home->hub->config.request_timeout_ms);
        /* RFC 9110 §10.1.1: only before any of the body has come, and never to HTTP/1.0. */
        if (hr_http1_expects_continue(session->http) && *used == len &&
            hr_http1_minor(session->http) == 1) {
            hr__count_status(home, 100);
            hr_conn_write(&session->conn, "HTTP/1.1 100 Continue\r\n\r\n", 25);
        }
        return true;
    case HR_HTTP1_DONE:
        session->is_used = true;
        dispatch(session);
        return true;
    case HR_HTTP1_H2: return begin_h2(session);
    case HR_HTTP1_FAIL:
        if (!begun && is_tls_hello(session, bytes, len)) {
            refuse_tls(session);
        } else {
            refuse_fault(session);
        }
        return false;
    }
    return false;
}

void hr__http_input(hr_session *session, char *bytes, size_t len) {
    size_t at = 0;
    while (at < len && hr_conn_is_open(&session->conn)) {
        if (session->mode == HR_MODE_WS || session->mode == HR_MODE_ECHO) {
            hr__ws_input(session, bytes + at, len - at);
            return;
        }
        if (session->mode == HR_MODE_H2) {
            hr__h2_input(session, bytes + at, len - at);
            return;
        }
        if (session->mode == HR_MODE_STREAM || session->mode == HR_MODE_ENDING) {
            return;
        }
        if (session->mode != HR_MODE_HTTP || hr_conn_waiting_len(&session->conn) > HR_BACKLOG_MAX) {
            hr__session_stash(session, bytes + at, len - at);
            return;
        }
        size_t used = 0;
        if (!feed(session, bytes + at, len - at, &used)) {
            return;
        }
        at += used;
    }
    /* Between requests the parser goes back: an idle connection holds none. */
    if (session->http != NULL && !hr_http1_begun(session->http)) {
        hr__home_http_give(session->home, session->http);
        session->http = NULL;
    }
}

void hr__http_done(hr_session *session) {
    if (!hr_conn_is_open(&session->conn)) {
        return;
    }
    bool is_stream = session->conn.kind == HR_CONN_STREAM; /* of one request */
    if (is_stream || !session->style.keep_alive || session->home->draining) {
        hr__session_finish(session, session->home->draining ? HR_CLOSE_DRAIN : HR_CLOSE_DONE);
        return;
    }
    session->mode = HR_MODE_HTTP;
    hr__session_arm(session, session->home->hub->config.idle_timeout_ms);
    hr__session_ready(session);
}
