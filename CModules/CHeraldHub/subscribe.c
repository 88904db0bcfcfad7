/* Requests that become readers. */
#include "hub_private.h"

#include <stdlib.h>
#include <string.h>

hr_status hr__reader_place(hr_reader *reader, hr_log *log, const hr_subscription *subscription) {
    uint64_t head = hr_log_head(log);
    reader->resume = HR__RESUME_NONE;
    reader->gap_seen = 0;
    switch (subscription->position) {
    case HR_POSITION_LATEST: reader->cursor = head; break;
    case HR_POSITION_EARLIEST:
        /* Whoever asks for all that is kept misses nothing of it. */
        reader->cursor = 0;
        reader->gap_seen = head;
        break;
    case HR_POSITION_CURSOR:
        if (subscription->epoch != hr_log_epoch(log)) {
            reader->cursor = 0;
            reader->resume = HR__RESUME_RESET;
            reader->resume_epoch = subscription->epoch;
            reader->resume_sequence = subscription->sequence;
        } else if (subscription->sequence > head) {
            return HR_EFUTURE;
        } else {
            reader->cursor = subscription->sequence;
            reader->resume = HR__RESUME_CURSOR;
        }
        break;
    }
    return HR_OK;
}

static bool is_poll(hr_transport transport) {
    return transport == HR_LONGPOLL || transport == HR_SHORTPOLL;
}

static hr_encoding encoding_of(const hr_subscription *subscription) {
    switch (subscription->transport) {
    case HR_WEBSOCKET: return subscription->raw ? HR_ENCODING_WS_RAW : HR_ENCODING_WS;
    case HR_SSE_STREAM: return subscription->raw ? HR_ENCODING_SSE_RAW : HR_ENCODING_SSE;
    case HR_NDJSON_STREAM: return HR_ENCODING_NDJSON;
    case HR_LONGPOLL:
    case HR_SHORTPOLL: return HR_ENCODING_JSON;
    }
    return HR_ENCODING_JSON;
}

/* Handshake. ----------------------------------------------------------------------------------- */

/* Whether request came by a stream of HTTP/2, which becomes the WebSocket. */
static bool is_tunnel(const hr_request *request) {
    return request->session != NULL && hr__h2_is_tunnel(request->session);
}

/* What the handshake's offers of compression come to. */
static hr_status choose_deflate(const hr_request *request, unsigned window_bits_min,
                                hr_ws_deflate_terms *out) {
    hr_buf *offers = &request->home->body;
    offers->len = 0;
    *out = (hr_ws_deflate_terms){0};
    hr_status status = hr_http1_known_joined(request->http, HR_NAME_WS_EXTENSIONS, offers);
    if (status == HR_OK && offers->len > 0) {
        status = hr_ws_deflate_choose(hr_buf_slice(offers), window_bits_min, out);
    }
    if (!request->home->hub->config.compresses) {
        *out = (hr_ws_deflate_terms){0};
    }
    return status;
}

const char *hr_request_handshake_fault(const hr_request *request, bool *wrong_version) {
    hr_slice value;
    char accept[HR_WS_ACCEPT_LEN];
    *wrong_version = false;
    if (hr_request_method(request) != HR_HTTP_GET) {
        return "the method of a WebSocket handshake is GET";
    }
    if (hr_http1_minor(request->http) != 1) {
        return "a WebSocket handshake needs HTTP/1.1";
    }
    if (!hr_request_wants_upgrade(request)) {
        return "a WebSocket handshake needs Connection: Upgrade and Upgrade: websocket";
    }
    if (!hr_request_header(request, HR_NAME_WS_VERSION, &value) ||
        !hr_slice_equal(value, HR_LIT("13"))) {
        *wrong_version = true;
        return "Sec-WebSocket-Version must be 13";
    }
    /* RFC 8441 §5: a stream has no key and no accept. */
    if (!is_tunnel(request) && (!hr_request_header(request, HR_NAME_WS_KEY, &value) ||
                                hr_ws_accept(value, accept) != HR_OK)) {
        return "Sec-WebSocket-Key must be 16 bytes in base64";
    }
    hr_ws_deflate_terms terms;
    if (choose_deflate(request, HR_WINDOW_BITS_MAX, &terms) == HR_EINVAL) {
        return "Sec-WebSocket-Extensions is not a list of extensions";
    }
    return NULL;
}

static hr_status append_upgrade(hr_request *request, hr_buf *out, bool offer_protocol) {
    hr_slice key;
    char accept[HR_WS_ACCEPT_LEN];
    hr_status status = hr__head_begin(request->home, out, 101, request->session->style);
    if (status == HR_OK && !is_tunnel(request)) {
        HR_ASSERT(hr_request_header(request, HR_NAME_WS_KEY, &key));
        HR_ASSERT(hr_ws_accept(key, accept) == HR_OK);
        status = hr_buf_appendf(out,
                                "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                                "Sec-WebSocket-Accept: %.*s\r\n",
                                HR_WS_ACCEPT_LEN, accept);
    }
    if (status == HR_OK && offer_protocol &&
        hr_http1_header_has_token(request->http, HR_LIT("Sec-WebSocket-Protocol"),
                                  HR_LIT("herald.v1"))) {
        status = hr_buf_append_slice(out, HR_LIT("Sec-WebSocket-Protocol: herald.v1\r\n"));
    }
    if (status == HR_OK && request->session->deflate.window_bits != 0) {
        status = hr_buf_append_slice(out, HR_LIT("Sec-WebSocket-Extensions: "));
        if (status == HR_OK) {
            status = hr_ws_deflate_answer(out, &request->session->deflate);
        }
        if (status == HR_OK) {
            status = hr_buf_append(out, "\r\n", 2);
        }
    }
    return status == HR_OK ? hr_buf_append(out, "\r\n", 2) : status;
}

static hr_status append_stream_head(hr_request *request, hr_buf *out) {
    hr_session *session = request->session;
    /* The stream has no length: it ends with its connection (RFC 9112 §6.3). */
    session->style.keep_alive = false;
    bool is_gzip = hr_encoding_is_gzip((hr_encoding)session->reader.encoding);
    const hr_slice parts[] = {
        HR_LIT("Content-Type: "),
        session->reader.transport == HR_SSE_STREAM ? HR_LIT("text/event-stream")
                                                   : HR_LIT("application/x-ndjson"),
        is_gzip ? HR_LIT("\r\nContent-Encoding: gzip") : HR_LIT(""),
        HR_LIT("\r\nVary: Accept-Encoding"),
        HR_LIT("\r\nCache-Control: no-cache, no-transform\r\nX-Accel-Buffering: no\r\n\r\n"),
        is_gzip ? hr_gzip_head() : HR_LIT("")};
    hr_status status = hr__head_begin(request->home, out, 200, session->style);
    return status == HR_OK ? HR_BUF_APPEND_ALL(out, parts) : status;
}

/* Becoming a stream. --------------------------------------------------------------------------- */

/* Writes the head and turns the session into mode. On failure nothing has been written. */
static hr_status begin_stream(hr_request *request, hr_mode mode) {
    hr_session *session = request->session;
    hr_buf *out = &session->home->out;
    out->len = 0;
    hr_status status = mode == HR_MODE_STREAM ? append_stream_head(request, out)
                                              : append_upgrade(request, out, mode == HR_MODE_WS);
    if (status != HR_OK) {
        return status;
    }
    session->mode = (uint8_t)mode;
    session->missed_beats = 0;
    hr_conn_write(&session->conn, out->data, out->len);
    if (hr_conn_is_open(&session->conn)) {
        hr__stream_begin(session);
    }
    return HR_OK;
}

static hr_status subscribe_stream(hr_request **handle, const hr_subscription *subscription) {
    hr_request *request = *handle;
    hr_session *session = request->session;
    hr_home *home = session->home;
    hr_reader *reader = &session->reader;
    hr_cohort *cohort = NULL;
    hr_status status = HR_OK;
    if (subscription->filter_count == 0 && subscription->position != HR_POSITION_LATEST) {
        return HR_EINVAL; /* a position is a position in something */
    }
    if (subscription->filter_count > 0) {
        status = hr__cohort_find(home, reader, subscription->filters, subscription->filter_count,
                                 session->style, &cohort);
    }
    if (status != HR_OK) {
        return status;
    }
    hr__reader_open(reader);
    if (cohort != NULL) {
        hr__cohort_join(cohort, reader);
        reader->had_filters = true;
    }
    hr__live_sync(home);
    hr_mode mode = subscription->transport == HR_WEBSOCKET ? HR_MODE_WS : HR_MODE_STREAM;
    status = begin_stream(request, mode);
    if (status != HR_OK) {
        hr__reader_close(reader);
        return status;
    }
    hr__request_end(handle);
    hr__lease_join(home, subscription->lease, session);
    if (!hr_conn_is_open(&session->conn)) {
        return HR_OK;
    }
    /* Also without filters: a step then makes it live at once. */
    hr__reader_step(reader);
    return HR_OK;
}

static hr_status subscribe_poll(hr_request **handle, const hr_subscription *subscription) {
    hr_request *request = *handle;
    hr_session *session = request->session;
    hr_home *home = session->home;
    hr_reader *reader = &session->reader;
    hr_cohort *cohort = NULL;
    hr_status status = hr__cohort_find(home, reader, subscription->filters,
                                       subscription->filter_count, session->style, &cohort);
    if (status != HR_OK) {
        return status;
    }
    hr__reader_open(reader);
    hr__cohort_join(cohort, reader);
    session->mode = HR_MODE_POLL;
    hr__request_end(handle);
    hr__lease_join(home, subscription->lease, session);
    hr__session_arm(session, subscription->wait_ms);
    hr__live_sync(home);
    hr__reader_step(reader);
    return HR_OK;
}

/* Which coding the client takes. */
static hr_status choose_coding(const hr_request *request, uint8_t *out) {
    hr_buf *accepted = &request->home->body;
    accepted->len = 0;
    *out = HR_CODING_IDENTITY;
    if (!request->home->hub->config.compresses) {
        return HR_OK;
    }
    hr_status status = hr_http1_known_joined(request->http, HR_NAME_ACCEPT_ENCODING, accepted);
    if (status == HR_OK) {
        *out = (uint8_t)hr_coding_choose(hr_buf_slice(accepted));
    }
    return status;
}

/* Frames are shared by readers, so theirs are all made with the largest window. */
static hr_status choose_encoding(hr_request *request, const hr_subscription *subscription) {
    hr_session *session = request->session;
    hr_encoding encoding = encoding_of(subscription);
    hr_status status = HR_OK;
    session->deflate = (hr_ws_deflate_terms){0};
    if (subscription->transport == HR_WEBSOCKET) {
        status = choose_deflate(request, HR_WINDOW_BITS_MAX, &session->deflate);
    } else {
        status = choose_coding(request, &session->style.coding);
    }
    bool is_coded =
        session->style.coding != HR_CODING_IDENTITY && !is_poll(subscription->transport);
    if (session->deflate.window_bits != 0 || is_coded) {
        encoding = hr_encoding_compressed(encoding);
    }
    session->reader.encoding = (uint8_t)encoding;
    return status;
}

static hr_status begin_reader(hr_request **handle, const hr_subscription *subscription) {
    hr_request *request = *handle;
    switch (subscription->transport) {
    case HR_WEBSOCKET:
    case HR_SSE_STREAM:
    case HR_NDJSON_STREAM: return subscribe_stream(handle, subscription);
    case HR_LONGPOLL: return subscribe_poll(handle, subscription);
    case HR_SHORTPOLL:
        *handle = NULL;
        hr__poll_short(request->session, request, subscription);
        return HR_OK;
    }
    return HR_EINVAL;
}

hr_status hr_request_subscribe(hr_request **handle, const hr_subscription *subscription) {
    hr_request *request = *handle;
    HR_CHECK(request, HR_REQUEST_MAGIC);
    HR_ASSERT(request->kind == HR_REQUEST_HTTP);
    HR_ASSERT(subscription->max >= 1 || !is_poll(subscription->transport));
    hr_session *session = request->session;
    HR_ASSERT(subscription->lease == NULL || subscription->transport != HR_SHORTPOLL);
    if (session == NULL) {
        hr__lease_join(request->home, subscription->lease, NULL);
        hr__request_end(handle);
        return HR_OK;
    }
    bool wrong_version = false;
    if (subscription->transport == HR_WEBSOCKET &&
        hr_request_handshake_fault(request, &wrong_version) != NULL) {
        return HR_EINVAL;
    }
    if (subscription->filter_count > session->home->hub->config.filters_per_reader_max) {
        return HR_ELIMIT;
    }
    hr_reader *reader = &session->reader;
    HR_ASSERT(!reader->counted && !hr_link_linked(&reader->link));
    reader->transport = (uint8_t)subscription->transport;
    hr_status status = choose_encoding(request, subscription);
    if (status != HR_OK) {
        return status;
    }
    reader->poll_max =
        subscription->max < HR_POLL_COUNT_MAX ? subscription->max : HR_POLL_COUNT_MAX;
    reader->newest_only = false;
    reader->had_filters = false;
    status = hr__reader_place(reader, session->home->hub->log, subscription);
    if (status != HR_OK) {
        return status;
    }
    status = hr__admit_reader(session, request, subscription->transport);
    if (status != HR_OK) {
        return status;
    }
    status = begin_reader(handle, subscription);
    if (status != HR_OK) {
        hr__dismiss_reader(session);
    }
    return status;
}

hr_status hr_request_echo(hr_request **handle) {
    hr_request *request = *handle;
    HR_CHECK(request, HR_REQUEST_MAGIC);
    hr_session *session = request->session;
    if (session == NULL) {
        hr__request_end(handle);
        return HR_OK;
    }
    bool wrong_version = false;
    if (hr_request_handshake_fault(request, &wrong_version) != NULL) {
        return HR_EINVAL;
    }
    /* Echoes are compressed one by one, with whatever window was asked for. */
    hr_status status = choose_deflate(request, HR_WINDOW_BITS_MIN, &session->deflate);
    if (status == HR_OK) {
        status = begin_stream(request, HR_MODE_ECHO);
    }
    if (status != HR_OK) {
        return status;
    }
    hr__request_end(handle);
    hr__session_ready(session);
    return HR_OK;
}
