/* Requests: what the handler sees of them, and plain answers. */
#include "hub_private.h"

#include <stdlib.h>
#include <string.h>

static const hr_request *checked(const hr_request *request) {
    HR_CHECK(request, HR_REQUEST_MAGIC);
    return request;
}

hr_request_kind hr_request_kind_of(const hr_request *request) {
    return (hr_request_kind)checked(request)->kind;
}
hr_loop *hr_request_loop(const hr_request *request) { return checked(request)->home->loop; }

static const hr_http1 *http_of(const hr_request *request) {
    HR_ASSERT(checked(request)->kind == HR_REQUEST_HTTP);
    return request->http;
}

hr_http_method hr_request_method(const hr_request *request) {
    return hr_http1_method(http_of(request));
}
hr_slice hr_request_method_text(const hr_request *request) {
    return hr_http1_method_text(http_of(request));
}
hr_slice hr_request_path(const hr_request *request) {
    return hr_buf_slice(&checked(request)->path);
}
hr_slice hr_request_query(const hr_request *request) { return checked(request)->query; }
bool hr_request_header(const hr_request *request, hr_http_name name, hr_slice *value) {
    return hr_http1_known(http_of(request), name, value);
}
bool hr_request_find_header(const hr_request *request, hr_slice name, hr_slice *value) {
    return hr_http1_header(http_of(request), name, value);
}
bool hr_request_is_secure(const hr_request *request) {
    const hr_session *session = checked(request)->session;
    if (session == NULL) {
        return false;
    }
    return session->conn.kind == HR_CONN_STREAM ? hr__h2_is_secure(session)
                                                : session->conn.kind == HR_CONN_TLS;
}
hr_slice hr_request_body(const hr_request *request) { return hr_http1_body(http_of(request)); }
bool hr_request_wants_upgrade(const hr_request *request) {
    const hr_http1 *http = http_of(request);
    return hr_http1_upgrades(http) &&
           hr_http1_header_has_token(http, HR_LIT("Upgrade"), HR_LIT("websocket"));
}
const hr_command *hr_request_command(const hr_request *request) {
    HR_ASSERT(checked(request)->kind == HR_REQUEST_COMMAND);
    return &request->command;
}

void hr_request_set_headers(hr_request *request, size_t index) {
    HR_ASSERT(checked(request)->kind == HR_REQUEST_HTTP);
    HR_ASSERT(index < request->home->hub->config.header_block_count);
    if (request->session != NULL) {
        request->session->style.headers = (uint16_t)index;
    }
}

/* Ends the request's own life; its session goes on. */
void hr__request_end(hr_request **handle) {
    hr_request *request = *handle;
    HR_CHECK(request, HR_REQUEST_MAGIC);
    HR_ASSERT(hr_loop_is_current(request->home->loop));
    *handle = NULL;
    hr_home *home = request->home;
    if (request->session != NULL) {
        hr_link_remove(&request->link);
        request->session->request_count--;
        request->session = NULL;
    }
    if (request->http != NULL) {
        hr__home_http_give(home, request->http);
        request->http = NULL;
    }
    if (request->kind == HR_REQUEST_COMMAND) {
        hr_command_fini(&request->command);
        hr_buf_fini(&request->message);
    }
    HR_MAGIC_CLEAR(request);
    if (home->spare_request == NULL && request->path.cap <= 4096) {
        home->spare_request = request;
        return;
    }
    hr_buf_fini(&request->path);
    free(request);
}

static hr_status append_header(hr_buf *out, hr_slice name, hr_slice value) {
    const hr_slice parts[] = {name, HR_LIT(": "), value, HR_LIT("\r\n")};
    return HR_BUF_APPEND_ALL(out, parts);
}

/* RFC 9110 §8.6: no length for 1xx and 204; a 304 has none either, for its body is not this
 * one's. */
static bool has_length(unsigned status) { return status >= 200 && status != 204 && status != 304; }

/* When to come back, where the status says later and nobody has said when. */
static hr_status append_retry(hr_home *home, unsigned status, const hr_header *headers,
                              size_t header_count) {
    bool is_told = status != 429 && status != 503;
    for (size_t i = 0; i < header_count; i++) {
        is_told = is_told || hr_slice_equal_nocase(headers[i].name, HR_LIT("Retry-After"));
    }
    return is_told ? HR_OK
                   : hr_buf_appendf(&home->out, "Retry-After: %u\r\n", hr__retry_after_s(home));
}

static hr_status build_answer(hr_session *session, unsigned status, const hr_header *headers,
                              size_t header_count, hr_slice body) {
    hr_home *home = session->home;
    hr_buf *out = &home->out;
    out->len = 0;
    hr_status result = hr__head_begin(home, out, status, session->style);
    for (size_t i = 0; result == HR_OK && i < header_count; i++) {
        result = append_header(out, headers[i].name, headers[i].value);
    }
    if (result == HR_OK) {
        result = append_retry(home, status, headers, header_count);
    }
    if (result == HR_OK && has_length(status)) {
        char digits[20];
        result = append_header(out, HR_LIT("Content-Length"),
                               (hr_slice){digits, hr_u64_format(body.len, digits)});
    }
    if (result == HR_OK) {
        result = hr_buf_append(out, "\r\n", 2);
    }
    if (result == HR_OK && has_length(status) && !session->style.head_only) {
        result = hr_buf_append_slice(out, body);
    }
    return result;
}

/* Writes what is in home->out, if status says that it is whole; then the session goes on. */
static void answer_with_out(hr_request **handle, hr_status status) {
    hr_session *session = (*handle)->session;
    HR_ASSERT(session->mode == HR_MODE_REQUEST);
    if (status == HR_OK) {
        hr_buf *out = &session->home->out;
        hr_conn_write(&session->conn, out->data, out->len);
        if (out->cap > HR_BACKLOG_MAX) {
            hr_buf_fini(out);
        }
    } else {
        hr_conn_close(&session->conn, HR_CLOSE_LIMIT);
    }
    hr__request_end(handle);
    hr__http_done(session);
}

void hr__request_fault(hr_request **handle, unsigned status, hr_slice body) {
    hr_session *session = (*handle)->session;
    if (session == NULL) {
        hr__request_end(handle);
        return;
    }
    hr_buf *out = &session->home->out;
    out->len = 0;
    answer_with_out(handle,
                    hr__fault_append(session->home, out, status, session->style, HR_LIT(""), body));
}

/* RFC 8441 §5: success would say that the stream is a WebSocket now. In HTTP/1.1 a request to upgrade
 * may be passed over, here it may not. */
static void refuse_tunnel(hr_request **handle) {
    hr_slice body = HR_LIT("{\"type\":\"/problems/not-implemented\",\"title\":\"Not Implemented\","
                           "\"status\":501,\"detail\":\"there is no WebSocket here\"}");
    hr__request_fault(handle, 501, body);
}

void hr_request_answer(hr_request **handle, unsigned status, const hr_header *headers,
                       size_t header_count, hr_slice body) {
    hr_request *request = *handle;
    HR_CHECK(request, HR_REQUEST_MAGIC);
    HR_ASSERT(request->kind == HR_REQUEST_HTTP);
    if (request->session == NULL) {
        hr__request_end(handle);
        return;
    }
    if (status < 300 && hr__h2_is_tunnel(request->session)) {
        refuse_tunnel(handle);
        return;
    }
    answer_with_out(handle, build_answer(request->session, status, headers, header_count, body));
}

/* 201 with JSON: the answer that is made most often, put together at once. */
static void answer_created(hr_request **handle, hr_slice body) {
    hr_session *session = (*handle)->session;
    if (session == NULL) {
        hr__request_end(handle);
        return;
    }
    hr_home *home = session->home;
    char digits[20];
    const hr_slice parts[] = {HR_LIT("Content-Type: application/json\r\nContent-Length: "),
                              {digits, hr_u64_format(body.len, digits)},
                              HR_LIT("\r\n\r\n"),
                              body};
    home->out.len = 0;
    hr_status status = hr__head_begin(home, &home->out, 201, session->style);
    if (status == HR_OK) {
        status = HR_BUF_APPEND_ALL(&home->out, parts);
    }
    answer_with_out(handle, status);
}

void hr_request_drop(hr_request **handle) {
    hr_request *request = *handle;
    HR_CHECK(request, HR_REQUEST_MAGIC);
    if (request->kind == HR_REQUEST_COMMAND) {
        hr_request_refuse(handle, HR_LIT("/problems/internal"), HR_LIT("Internal Server Error"),
                          500, HR_LIT("the command was not handled"));
        return;
    }
    hr__request_fault(handle, 500,
                      HR_LIT("{\"type\":\"/problems/internal\",\"title\":\"Internal Server Error\","
                             "\"status\":500,\"detail\":\"the request was not handled\"}"));
}

/* Receipts as JSON. ---------------------------------------------------------------------------- */

static hr_status append_receipt(hr_home *home, hr_buf *out, const hr_publication *publication,
                                const hr_receipt *receipt, bool braces) {
    char id[HR_ID_TEXT_MAX];
    char receivers[20];
    if (receipt->time_ms != home->receipt_ms) {
        hr_time_format(receipt->time_ms, home->receipt_time);
        home->receipt_ms = receipt->time_ms;
    }
    /* A topic's alphabet needs no escapes. */
    const hr_slice parts[] = {
        braces ? HR_LIT("{\"id\":\"") : HR_LIT("\"id\":\""),
        {id, hr_id_format(hr_log_epoch(home->hub->log), receipt->sequence, id)},
        HR_LIT("\",\"topic\":\""),
        publication->topic,
        HR_LIT("\",\"time\":\""),
        {home->receipt_time, sizeof home->receipt_time},
        HR_LIT("\",\"receivers\":"),
        {receivers, hr_u64_format(receipt->receivers, receivers)},
        braces ? HR_LIT("}") : HR_LIT(""),
    };
    return HR_BUF_APPEND_ALL(out, parts);
}

static hr_status append_receipts(hr_home *home, hr_buf *out, const hr_publication *publications,
                                 const hr_receipt *receipts, size_t count, bool single) {
    if (single) {
        HR_ASSERT(count == 1);
        return append_receipt(home, out, publications, receipts, true);
    }
    hr_status status = hr_buf_append_slice(out, HR_LIT("{\"events\":["));
    for (size_t i = 0; status == HR_OK && i < count; i++) {
        if (i > 0) {
            status = hr_buf_append(out, ",", 1);
        }
        if (status == HR_OK) {
            status = append_receipt(home, out, &publications[i], &receipts[i], true);
        }
    }
    return status == HR_OK ? hr_buf_append(out, "]}", 2) : status;
}

static hr_status append_published_control(hr_request *request, hr_buf *out,
                                          const hr_publication *publication,
                                          const hr_receipt *receipt) {
    hr_status status = hr_buf_append_slice(out, HR_LIT("{\"control\":\"published\","));
    if (status == HR_OK && request->command.ref.len > 0) {
        status = hr_buf_append_slice(out, HR_LIT("\"ref\":"));
        if (status == HR_OK) {
            status = hr_buf_append_slice(out, request->command.ref);
        }
        if (status == HR_OK) {
            status = hr_buf_append(out, ",", 1);
        }
    }
    if (status == HR_OK) {
        status = append_receipt(request->home, out, publication, receipt, false);
    }
    return status == HR_OK ? hr_buf_append(out, "}", 1) : status;
}

void hr_request_answer_published(hr_request **handle, const hr_publication *publications,
                                 const hr_receipt *receipts, size_t count, bool single) {
    hr_request *request = *handle;
    HR_CHECK(request, HR_REQUEST_MAGIC);
    hr_home *home = request->home;
    hr_buf *body = &home->body;
    body->len = 0;
    if (request->kind == HR_REQUEST_COMMAND) {
        HR_ASSERT(count == 1);
        hr_session *session = request->session;
        if (session != NULL &&
            append_published_control(request, body, publications, receipts) == HR_OK) {
            hr__control_send(session, body);
        }
        hr__request_end(handle);
        return;
    }
    if (append_receipts(home, body, publications, receipts, count, single) != HR_OK) {
        hr_request_drop(handle);
        return;
    }
    answer_created(handle, hr_buf_slice(body));
}
