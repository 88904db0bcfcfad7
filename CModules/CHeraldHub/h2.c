/* A connection of HTTP/2 (RFC 9113): nghttp2's callbacks, what goes to the socket and when, and
 * what a client may make us do for nothing. */
#include "h2.h"

#include <stdlib.h>
#include <string.h>

/* What the whole connection may send us before we give room again; each stream has 64 KiB. */
#define CONNECTION_WINDOW (1 << 20)
/* Frames of DATA of this length and more go out from where they lie. */
#define BY_REFERENCE_LEN HR_COALESCE_LEN_MAX
#define PREFACE HR_LIT("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")

static hr__h2 *h2_of(void *context) {
    hr__h2 *h2;
    HR_CAST(hr__h2, h2, context, HR_H2_MAGIC);
    return h2;
}

static hr__h2_stream *stream_of(const hr__h2 *h2, int32_t id) {
    return nghttp2_session_get_stream_user_data(h2->frames, id);
}

/* What a client makes us do for nothing. ------------------------------------------------------- */

/* Frames that only make work (resets, pings, settings, priorities, empty DATA, trailers) are taken
 * out of an allowance; a tenth of it comes back each second. False: it is used up. */
static bool allow(hr__h2 *h2) {
    double most = h2->parent->home->hub->config.h2_allowance;
    uint64_t now = hr_time_mono_ns();
    h2->allowance += (double)(now - h2->allowed_ns) / 1e9 * most / 10;
    h2->allowance = h2->allowance > most ? most : h2->allowance;
    h2->allowed_ns = now;
    if (h2->allowance < 1) {
        h2->is_flooded = true;
        return false;
    }
    h2->allowance -= 1;
    return true;
}

/* Callbacks: input. ---------------------------------------------------------------------------- */

static void drop_head(hr__h2 *h2) {
    if (h2->head != NULL) {
        for (int i = 0; i < HR__H2_PSEUDO_COUNT; i++) {
            hr_buf_fini(&h2->head->pseudo[i]);
        }
        hr_buf_fini(&h2->head->lines);
        hr_buf_fini(&h2->head->cookie);
        free(h2->head);
        h2->head = NULL;
    }
}

static int on_begin_headers(nghttp2_session *frames, const nghttp2_frame *frame, void *context) {
    hr__h2 *h2 = h2_of(context);
    int32_t id = frame->hd.stream_id;
    drop_head(h2);
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
        return allow(h2) ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    hr__h2_stream *stream = h2->is_ending ? NULL : hr__h2_stream_open(h2, id);
    if (stream == NULL) {
        hr__count(&h2->parent->home->stats.h2_streams_refused, 1);
        return nghttp2_submit_rst_stream(frames, NGHTTP2_FLAG_NONE, id, NGHTTP2_REFUSED_STREAM);
    }
    h2->head = calloc(1, sizeof *h2->head);
    if (h2->head == NULL) {
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    return nghttp2_session_set_stream_user_data(frames, id, stream);
}

static bool is_name(const uint8_t *name, size_t len, hr_slice other) {
    return hr_slice_equal((hr_slice){(const char *)name, len}, other);
}

static hr_buf *pseudo_of(hr__h2_head *head, const uint8_t *name, size_t len) {
    static const hr_slice names[HR__H2_PSEUDO_COUNT] = {
        [HR__H2_METHOD] = {":method", 7},
        [HR__H2_PATH] = {":path", 5},
        [HR__H2_AUTHORITY] = {":authority", 10},
        [HR__H2_PROTOCOL] = {":protocol", 9},
    };
    for (int i = 0; i < HR__H2_PSEUDO_COUNT; i++) {
        if (is_name(name, len, names[i])) {
            return &head->pseudo[i];
        }
    }
    return NULL;
}

/* RFC 9113 §8.2.3: a cookie may come in pieces, one a field, and is one field in HTTP/1.1. */
static hr_status append_cookie(hr__h2_head *head, hr_slice piece) {
    const hr_slice parts[] = {head->cookie.len > 0 ? HR_LIT("; ") : HR_LIT(""), piece};
    return HR_BUF_APPEND_ALL(&head->cookie, parts);
}

/* Keeps a field. What goes beyond the bound on heads is counted and not kept: the parser refuses the
 * head for its length. */
static int on_header(nghttp2_session *frames, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *context) {
    (void)frames;
    (void)frame;
    (void)flags;
    hr__h2 *h2 = h2_of(context);
    hr__h2_head *head = h2->head;
    if (head == NULL) {
        return 0; /* of a stream that was refused, or a trailer */
    }
    head->len += name_len + value_len + 4;
    if (head->len > h2->parent->home->hub->config.head_len_max) {
        return 0;
    }
    hr_slice text = {(const char *)value, value_len};
    if (name_len > 0 && name[0] == ':') {
        hr_buf *pseudo = pseudo_of(head, name, name_len);
        head->has_authority = head->has_authority || pseudo == &head->pseudo[HR__H2_AUTHORITY];
        return pseudo == NULL || hr_buf_append_slice(pseudo, text) == HR_OK
                   ? 0
                   : NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    head->has_length = head->has_length || is_name(name, name_len, HR_LIT("content-length"));
    if (head->has_authority && is_name(name, name_len, HR_LIT("host"))) {
        return 0; /* RFC 9113 §8.3.1: the authority stands for it */
    }
    if (is_name(name, name_len, HR_LIT("cookie"))) {
        return append_cookie(head, text) == HR_OK ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    const hr_slice parts[] = {{(const char *)name, name_len}, HR_LIT(": "), text, HR_LIT("\r\n")};
    return HR_BUF_APPEND_ALL(&head->lines, parts) == HR_OK ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

/* RFC 9113 §8.2.1: a message with a field that cannot be one is malformed; without this nghttp2 would
 * pass over the field alone. */
static int on_bad_header(nghttp2_session *frames, const nghttp2_frame *frame, nghttp2_rcbuf *name,
                         nghttp2_rcbuf *value, uint8_t flags, void *context) {
    (void)frames;
    (void)frame;
    (void)name;
    (void)value;
    (void)flags;
    (void)context;
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static void on_window(hr__h2 *h2, int32_t id) {
    hr__h2_stream *stream = id == 0 ? NULL : stream_of(h2, id);
    if (id == 0) {
        h2->has_new_room = true;
    } else if (stream != NULL && hr_link_linked(&stream->blocked) &&
               !hr_link_linked(&stream->ready)) {
        hr_list_push_back(&h2->ready, &stream->ready);
    }
}

static int on_frame(nghttp2_session *frames, const nghttp2_frame *frame, void *context) {
    (void)frames;
    hr__h2 *h2 = h2_of(context);
    hr__h2_stream *stream = frame->hd.stream_id == 0 ? NULL : stream_of(h2, frame->hd.stream_id);
    bool ends = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    bool is_idle_work = false;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        if (stream != NULL && h2->head != NULL) {
            hr__h2_stream_head(stream, h2->head, ends);
        } else if (stream != NULL && ends) {
            hr__h2_stream_end(stream);
        }
        drop_head(h2);
        break;
    case NGHTTP2_DATA:
        if (stream != NULL && ends) {
            hr__h2_stream_end(stream);
        }
        is_idle_work =
            frame->hd.length == frame->data.padlen && !ends; /* padding is nothing, too */
        break;
    case NGHTTP2_WINDOW_UPDATE: on_window(h2, frame->hd.stream_id); break;
    case NGHTTP2_SETTINGS:
        h2->has_new_room = true;
        is_idle_work = (frame->hd.flags & NGHTTP2_FLAG_ACK) == 0;
        break;
    case NGHTTP2_RST_STREAM:
        hr__count(&h2->parent->home->stats.h2_streams_reset, 1);
        is_idle_work = true;
        break;
    default: is_idle_work = true; break;
    }
    return !is_idle_work || allow(h2) ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_data(nghttp2_session *frames, uint8_t flags, int32_t id, const uint8_t *bytes,
                   size_t len, void *context) {
    (void)flags;
    hr__h2_stream *stream = stream_of(h2_of(context), id);
    nghttp2_session_consume_connection(frames, len);
    if (stream == NULL) {
        nghttp2_session_consume_stream(frames, id, len);
    } else {
        hr__h2_stream_data(stream, (const char *)bytes, len);
    }
    return 0;
}

static int on_stream_close(nghttp2_session *frames, int32_t id, uint32_t code, void *context) {
    (void)frames;
    hr__h2_stream *stream = stream_of(h2_of(context), id);
    if (stream != NULL) {
        hr__h2_stream_gone(stream, code);
    }
    return 0;
}

/* Callbacks: output. --------------------------------------------------------------------------- */

static ssize_t on_send(nghttp2_session *frames, const uint8_t *bytes, size_t len, int flags,
                       void *context) {
    (void)frames;
    (void)flags;
    hr__h2 *h2 = h2_of(context);
    return hr_buf_append(&h2->out, bytes, len) == HR_OK ? (ssize_t)len
                                                        : NGHTTP2_ERR_CALLBACK_FAILURE;
}

/* nghttp2 has found a fault that ends the connection. */
static int on_sent(nghttp2_session *frames, const nghttp2_frame *frame, void *context) {
    (void)frames;
    if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR) {
        h2_of(context)->end_reason = HR_CLOSE_PROTOCOL;
    }
    return 0;
}

/* Writes what was gathered and the parts behind it without a copy of them. */
static bool write_through(hr__h2 *h2, const struct iovec *parts, int count) {
    hr_conn *conn = &h2->parent->conn;
    struct iovec all[1 + HR_BATCH_MAX];
    all[0] = (struct iovec){.iov_base = h2->out.data, .iov_len = h2->out.len};
    memcpy(all + 1, parts, (size_t)count * sizeof *parts);
    size_t sent = 0;
    if (hr_conn_write_some(conn, all, count + 1, &sent) != HR_OK) {
        return false;
    }
    for (int i = 0; i <= count; i++) {
        size_t taken = sent < all[i].iov_len ? sent : all[i].iov_len;
        sent -= taken;
        if (taken < all[i].iov_len && hr_conn_keep(conn, (const char *)all[i].iov_base + taken,
                                                   all[i].iov_len - taken) != HR_OK) {
            return false;
        }
    }
    h2->out.len = 0;
    return true;
}

static int on_send_data(nghttp2_session *frames, nghttp2_frame *frame, const uint8_t *head,
                        size_t len, nghttp2_data_source *source, void *context) {
    (void)frames;
    (void)frame;
    hr__h2 *h2 = h2_of(context);
    hr_conn *conn = &h2->parent->conn;
    struct iovec parts[HR_BATCH_MAX];
    int count = HR_BATCH_MAX;
    if (hr_buf_append(&h2->out, head, 9) != HR_OK) {
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    if (len == 0) {
        return 0;
    }
    hr__h2_stream_take(source->ptr, len, parts, &count);
    if (len >= BY_REFERENCE_LEN) {
        hr_conn_uncork(conn);
        if (!hr_conn_is_open(conn)) {
            return NGHTTP2_ERR_CALLBACK_FAILURE;
        }
        if (conn->waiting == NULL) {
            return write_through(h2, parts, count) ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
        }
    }
    for (int i = 0; i < count; i++) {
        if (hr_buf_append(&h2->out, parts[i].iov_base, parts[i].iov_len) != HR_OK) {
            return NGHTTP2_ERR_CALLBACK_FAILURE;
        }
    }
    return 0;
}

/* Output. -------------------------------------------------------------------------------------- */

void hr__h2_pump(hr__h2 *h2) {
    if (h2->is_inside || !hr_conn_is_open(&h2->parent->conn)) {
        return;
    }
    h2->is_inside = true;
    int result = nghttp2_session_send(h2->frames);
    h2->is_inside = false;
    if (result != 0) {
        hr_conn_close(&h2->parent->conn,
                      result == NGHTTP2_ERR_NOMEM ? HR_CLOSE_LIMIT : HR_CLOSE_RESET);
    }
}

void hr__h2_write_out(hr__h2 *h2) {
    size_t len = h2->out.len;
    h2->out.len = 0;
    if (len > 0) {
        hr_conn_write(&h2->parent->conn, h2->out.data, len);
    }
    if (h2->out.cap > 2 * HR_H2_OUT_MAX || h2->stream_count == 0) {
        hr_buf_fini(&h2->out);
    }
}

/* A socket that does not take what it has gets no more. */
size_t hr__h2_room(const hr__h2 *h2) {
    return h2->parent->conn.waiting != NULL || h2->out.len >= HR_H2_OUT_MAX
               ? 0
               : HR_H2_OUT_MAX - h2->out.len;
}

void hr__h2_soon(hr__h2 *h2) {
    if (!hr_link_linked(&h2->dirty)) {
        hr_list_push_back(&h2->parent->home->h2_dirty, &h2->dirty);
        hr_loop_wake(h2->parent->home->loop);
    }
}

/* Whoever waits for room tries again; who still finds none waits on. */
static void serve_blocked(hr__h2 *h2) {
    hr_link blocked;
    hr_link_init(&blocked);
    hr_list_splice(&blocked, &h2->blocked);
    while (!hr_list_empty(&blocked)) {
        hr__h2_stream *stream = HR_CONTAINER_OF(blocked.next, hr__h2_stream, blocked);
        hr_link_remove(&stream->blocked);
        hr_conn_has_room(&stream->session.conn);
    }
}

/* Whether the socket takes so little of what was answered that nothing more must be asked. */
static bool is_backed_up(const hr__h2 *h2) {
    size_t len = hr_conn_waiting_len(&h2->parent->conn);
    const hr_link *at = h2->blocked.next;
    for (; len > 0 && len <= HR_BACKLOG_MAX && at != &h2->blocked; at = at->next) {
        len += hr_conn_waiting_len(&HR_CONTAINER_OF(at, hr__h2_stream, blocked)->session.conn);
    }
    return len > HR_BACKLOG_MAX;
}

static void serve_ready(hr__h2 *h2) {
    while (!hr_list_empty(&h2->ready) && !is_backed_up(h2)) {
        hr__h2_stream *stream = HR_CONTAINER_OF(h2->ready.next, hr__h2_stream, ready);
        hr_link_remove(&stream->ready);
        if (hr_link_linked(&stream->blocked)) {
            hr_link_remove(&stream->blocked);
            hr_conn_has_room(&stream->session.conn);
        }
        hr__h2_stream_handle(stream);
    }
}

static void flush(hr__h2 *h2) {
    hr_session *parent = h2->parent;
    hr__h2_pump(h2);
    if (!hr_conn_is_open(&parent->conn)) {
        return;
    }
    hr__h2_write_out(h2);
    bool is_over =
        nghttp2_session_want_read(h2->frames) == 0 && nghttp2_session_want_write(h2->frames) == 0;
    if (is_over || (h2->is_ending && h2->stream_count == 0)) {
        hr__session_finish(parent, (hr_close_reason)h2->end_reason);
    }
}

void hr__h2_flush_dirty(hr_home *home) {
    hr__h2_close_orphans(home);
    while (!hr_list_empty(&home->h2_dirty)) {
        hr__h2 *h2 = HR_CONTAINER_OF(home->h2_dirty.next, hr__h2, dirty);
        hr_link_remove(&h2->dirty);
        flush(h2);
    }
}

/* Life. ---------------------------------------------------------------------------------------- */

static nghttp2_session_callbacks *make_callbacks(void) {
    nghttp2_session_callbacks *callbacks = NULL;
    if (nghttp2_session_callbacks_new(&callbacks) == 0) {
        nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
        nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
        nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
        nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
        nghttp2_session_callbacks_set_send_callback(callbacks, on_send);
        nghttp2_session_callbacks_set_send_data_callback(callbacks, on_send_data);
        nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_sent);
        nghttp2_session_callbacks_set_on_invalid_header_callback2(callbacks, on_bad_header);
    }
    return callbacks;
}

static hr_status make_frames(hr__h2 *h2) {
    nghttp2_session_callbacks *callbacks = make_callbacks();
    nghttp2_option *option = NULL;
    int result = callbacks == NULL ? NGHTTP2_ERR_NOMEM : nghttp2_option_new(&option);
    if (result == 0) {
        /* Room is given back when input has been used. */
        nghttp2_option_set_no_auto_window_update(option, 1);
        nghttp2_option_set_no_closed_streams(option, 1);
        result = nghttp2_session_server_new2(&h2->frames, callbacks, h2, option);
    }
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    const hr_hub_config *config = &h2->parent->home->hub->config;
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, config->h2_streams_max},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, config->head_len_max},
        {NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1},
    };
    if (result == 0) {
        result = nghttp2_submit_settings(h2->frames, NGHTTP2_FLAG_NONE, settings,
                                         sizeof settings / sizeof *settings);
    }
    if (result == 0) {
        result = nghttp2_session_set_local_window_size(h2->frames, NGHTTP2_FLAG_NONE, 0,
                                                       CONNECTION_WINDOW);
    }
    return result == 0 ? HR_OK : HR_ENOMEM;
}

hr_status hr__h2_begin(hr_session *session) {
    hr__h2 *h2 = calloc(1, sizeof *h2);
    if (h2 == NULL) {
        hr_conn_close(&session->conn, HR_CLOSE_LIMIT);
        return HR_ENOMEM;
    }
    HR_MAGIC_SET(h2, HR_H2_MAGIC);
    h2->parent = session;
    hr_link_init(&h2->dirty);
    hr_link_init(&h2->streams);
    hr_link_init(&h2->ready);
    hr_link_init(&h2->blocked);
    h2->allowance = session->home->hub->config.h2_allowance;
    h2->allowed_ns = hr_time_mono_ns();
    h2->end_reason = HR_CLOSE_DONE;
    session->mode = HR_MODE_H2;
    session->is_h2 = true;
    session->h2 = h2;
    bool is_tls = session->conn.kind == HR_CONN_TLS;
    hr__session_set_protocol(session, is_tls ? HR_PROTOCOL_H2_TLS : HR_PROTOCOL_H2);
    if (make_frames(h2) != HR_OK) {
        hr_conn_close(&session->conn, HR_CLOSE_LIMIT);
        return HR_ENOMEM;
    }
    hr__session_arm(session, session->home->hub->config.idle_timeout_ms);
    hr__h2_soon(h2);
    return HR_OK;
}

/* Handles what has come. A client that does not read what it asks for must not ask for more: the
 * rest, of this input and of what comes, waits until the socket has taken what there is. */
static void serve(hr__h2 *h2) {
    hr_conn *conn = &h2->parent->conn;
    serve_ready(h2);
    if (hr_conn_is_open(conn)) {
        flush(h2);
    }
    if (hr_conn_is_open(conn) && is_backed_up(h2)) {
        hr_conn_pause(conn);
    }
}

static void fail(hr__h2 *h2, ssize_t result) {
    hr_session *parent = h2->parent;
    h2->is_flooded = h2->is_flooded || result == NGHTTP2_ERR_FLOODED ||
                     result == NGHTTP2_ERR_TOO_MANY_CONTINUATIONS;
    if (h2->is_flooded) {
        hr__count(&parent->home->stats.h2_floods, 1);
        (void)nghttp2_session_terminate_session(h2->frames, NGHTTP2_ENHANCE_YOUR_CALM);
    } else {
        bool is_ours = result == NGHTTP2_ERR_NOMEM || result == NGHTTP2_ERR_CALLBACK_FAILURE;
        (void)nghttp2_session_terminate_session(h2->frames, is_ours ? NGHTTP2_INTERNAL_ERROR
                                                                    : NGHTTP2_PROTOCOL_ERROR);
    }
    hr__h2_pump(h2); /* says why */
    if (hr_conn_is_open(&parent->conn)) {
        hr__h2_write_out(h2);
        hr__session_finish(parent, h2->is_flooded ? HR_CLOSE_LIMIT : HR_CLOSE_PROTOCOL);
    }
}

void hr__h2_input(hr_session *session, const char *bytes, size_t len) {
    hr__h2 *h2 = session->h2;
    HR_ASSERT(!h2->is_inside);
    h2->is_inside = true;
    ssize_t result = nghttp2_session_mem_recv(h2->frames, (const uint8_t *)bytes, len);
    h2->is_inside = false;
    if (result < 0 || h2->is_flooded) {
        fail(h2, result);
        return;
    }
    if (h2->has_new_room) {
        h2->has_new_room = false;
        serve_blocked(h2);
    }
    serve(h2);
}

hr_status hr__h2_begin_known(hr_session *session) {
    hr_status status = hr__h2_begin(session);
    if (status == HR_OK) {
        hr__h2_input(session, PREFACE.data, PREFACE.len);
    }
    return status;
}

void hr__h2_drained(hr_session *session) {
    hr__h2 *h2 = session->h2;
    if (session->conn.paused) {
        hr_conn_resume(&session->conn);
    }
    serve_blocked(h2);
    serve(h2);
}

/* GOAWAY (RFC 9113 §6.8): streams that are there go on. */
void hr__h2_drain(hr_session *session, hr_close_reason reason) {
    hr__h2 *h2 = session->h2;
    h2->is_ending = true;
    h2->end_reason = (uint8_t)reason;
    (void)nghttp2_submit_goaway(h2->frames, NGHTTP2_FLAG_NONE,
                                nghttp2_session_get_last_proc_stream_id(h2->frames),
                                NGHTTP2_NO_ERROR, NULL, 0);
    hr__h2_soon(h2);
}

void hr__h2_timer(hr_session *session, bool is_stuck) {
    if (is_stuck) {
        hr_conn_close(&session->conn, HR_CLOSE_SLOW);
    } else if (session->h2->stream_count == 0 && session->conn.waiting == NULL) {
        hr__h2_drain(session, HR_CLOSE_IDLE);
    } else {
        hr__session_arm(session, session->home->hub->config.idle_timeout_ms);
    }
}

/* The connection ends, and all its streams with it. */
void hr__h2_close(hr_session *session, hr_close_reason reason) {
    hr__h2 *h2 = session->h2;
    h2->is_ending = true;
    while (!hr_list_empty(&h2->streams)) {
        hr__h2_stream_orphan(HR_CONTAINER_OF(h2->streams.next, hr__h2_stream, link), reason);
    }
    hr_link_remove(&h2->dirty);
}

void hr__h2_free(hr__h2 **handle) {
    hr__h2 *h2 = *handle;
    HR_CHECK(h2, HR_H2_MAGIC);
    *handle = NULL;
    HR_ASSERT(hr_list_empty(&h2->streams) && !h2->is_inside);
    drop_head(h2);
    nghttp2_session_del(h2->frames);
    hr_buf_fini(&h2->out);
    HR_MAGIC_CLEAR(h2);
    free(h2);
}
