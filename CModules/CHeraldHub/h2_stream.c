#define _GNU_SOURCE /* memmem */
/* A stream of HTTP/2 as a session: its request into the form of HTTP/1.1, its answer out of it. */
#include "h2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Fields of an answer, all of which are ours. */
#define ANSWER_FIELDS_MAX 32
#define ANSWER_NAMES_MAX 1024

static ssize_t carry_write(hr_conn *conn, const struct iovec *parts, int count);
static void carry_want(hr_conn *conn);
static void carry_end(hr_conn *conn);
static void carry_close(hr_conn *conn, hr_close_reason reason);

static const hr_carrier carrier = {
    .write = carry_write,
    .want = carry_want,
    .end = carry_end,
    .close = carry_close,
};

/* The request. --------------------------------------------------------------------------------- */

hr__h2_stream *hr__h2_stream_open(hr__h2 *h2, int32_t id) {
    hr_home *home = h2->parent->home;
    hr__h2_stream *stream = calloc(1, sizeof *stream);
    if (stream == NULL) {
        return NULL;
    }
    stream->h2 = h2;
    stream->id = id;
    stream->body_left = UINT64_MAX;
    hr_link_init(&stream->link);
    hr_link_init(&stream->ready);
    hr_link_init(&stream->blocked);
    if (!hr__session_open_stream(home, &stream->session, &carrier)) {
        free(stream);
        return NULL;
    }
    hr_list_push_back(&h2->streams, &stream->link);
    h2->stream_count++;
    return stream;
}

static void put_ready(hr__h2_stream *stream) {
    if (!hr_link_linked(&stream->ready)) {
        hr_list_push_back(&stream->h2->ready, &stream->ready);
    }
}

/* Without memory the request cannot be told any more. */
static void check(hr__h2_stream *stream, hr_status status) {
    if (status != HR_OK) {
        hr_conn_close(&stream->session.conn, HR_CLOSE_LIMIT);
    }
}

/* What stands in a request line or in Host; other bytes could begin something else there. */
static bool is_visible(hr_slice text) {
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] <= ' ' || text.data[i] > '~') {
            return false;
        }
    }
    return true;
}

/* RFC 8441 §5: a WebSocket's CONNECT is what a GET with Upgrade is in HTTP/1.1. A head beyond the
 * bound is made long enough to be refused as such. */
static hr_status append_head(hr__h2_stream *stream, hr__h2_head *head, bool ends) {
    hr_slice method = hr_buf_slice(&head->pseudo[HR__H2_METHOD]);
    hr_slice path = hr_buf_slice(&head->pseudo[HR__H2_PATH]);
    hr_slice authority = hr_buf_slice(&head->pseudo[HR__H2_AUTHORITY]);
    hr_slice protocol = hr_buf_slice(&head->pseudo[HR__H2_PROTOCOL]);
    hr_slice cookie = hr_buf_slice(&head->cookie);
    bool is_good = is_visible(method) && is_visible(path) && is_visible(authority);
    stream->is_tunnel = hr_slice_equal(protocol, HR_LIT("websocket"));
    stream->is_chunked = !ends && !stream->is_tunnel && !head->has_length;
    const hr_slice parts[] = {
        stream->is_tunnel ? HR_LIT("GET") : (is_good ? method : HR_LIT("")),
        HR_LIT(" "),
        is_good ? (path.len > 0 ? path : authority) : HR_LIT(""),
        HR_LIT(" HTTP/1.1\r\n"),
        head->has_authority && is_good ? HR_LIT("Host: ") : HR_LIT(""),
        head->has_authority && is_good ? authority : HR_LIT(""),
        head->has_authority && is_good ? HR_LIT("\r\n") : HR_LIT(""),
        stream->is_tunnel ? HR_LIT("Connection: Upgrade\r\nUpgrade: websocket\r\n") : HR_LIT(""),
        stream->is_chunked ? HR_LIT("Transfer-Encoding: chunked\r\n") : HR_LIT(""),
        hr_buf_slice(&head->lines),
        cookie.len > 0 ? HR_LIT("Cookie: ") : HR_LIT(""),
        cookie,
        cookie.len > 0 ? HR_LIT("\r\n\r\n") : HR_LIT("\r\n"),
    };
    return HR_BUF_APPEND_ALL(&stream->input, parts);
}

/* The bound holds for what came, also if it was not kept. */
static hr_status append_excess(hr__h2_stream *stream, const hr__h2_head *head) {
    uint32_t most = stream->session.home->hub->config.head_len_max;
    hr_status status = HR_OK;
    if (head->len > most) {
        stream->input.len = 0;
        status = hr_buf_append_slice(&stream->input, HR_LIT("GET / HTTP/1.1\r\nx: "));
        for (size_t i = 0; status == HR_OK && i < most; i += 16) {
            status = hr_buf_append(&stream->input, "................", 16);
        }
    }
    return status;
}

void hr__h2_stream_head(hr__h2_stream *stream, hr__h2_head *head, bool ends) {
    if (!hr_conn_is_open(&stream->session.conn)) {
        return;
    }
    hr_status status = append_head(stream, head, ends);
    if (status == HR_OK) {
        status = append_excess(stream, head);
    }
    stream->end_came = ends;
    put_ready(stream);
    check(stream, status);
}

static void give_back(hr__h2_stream *stream, size_t len) {
    if (len > 0 && stream->h2 != NULL) {
        (void)nghttp2_session_consume_stream(stream->h2->frames, stream->id, len);
    }
}

void hr__h2_stream_data(hr__h2_stream *stream, const char *bytes, size_t len) {
    const hr_conn *conn = &stream->session.conn;
    if (!hr_conn_is_open(conn) || conn->finishing != HR_CLOSE_NONE) {
        give_back(stream, len); /* nobody is interested any more */
        return;
    }
    stream->held += len;
    put_ready(stream);
    hr_status status = HR_OK;
    if (stream->is_chunked) {
        status = hr_buf_appendf(&stream->input, "%zx\r\n", len);
    }
    if (status == HR_OK) {
        status = hr_buf_append(&stream->input, bytes, len);
    }
    if (status == HR_OK && stream->is_chunked) {
        status = hr_buf_append(&stream->input, "\r\n", 2);
    }
    check(stream, status);
}

void hr__h2_stream_end(hr__h2_stream *stream) {
    if (!hr_conn_is_open(&stream->session.conn)) {
        return;
    }
    stream->end_came = true;
    put_ready(stream);
    if (stream->is_chunked && stream->session.conn.finishing == HR_CLOSE_NONE) {
        check(stream, hr_buf_append(&stream->input, "0\r\n\r\n", 5));
    }
}

/* That the client's half is over is what every request ends with; only a tunnel's reader minds. */
static void tell_end(hr__h2_stream *stream) {
    hr_conn *conn = &stream->session.conn;
    stream->end_came = false;
    conn->eof = true;
    if (conn->lingering) {
        hr_conn_close(conn, (hr_close_reason)conn->finishing);
    } else if (stream->is_tunnel && conn->finishing == HR_CLOSE_NONE) {
        conn->ops->on_eof(conn);
    }
}

void hr__h2_stream_handle(hr__h2_stream *stream) {
    hr_conn *conn = &stream->session.conn;
    hr_buf input = stream->input;
    stream->input = (hr_buf){0};
    if (input.len > 0 && hr_conn_is_open(conn) && conn->finishing == HR_CLOSE_NONE) {
        conn->ops->on_read(conn, input.data, input.len);
    }
    hr_buf_fini(&input);
    if (hr_conn_is_open(conn)) {
        carry_want(conn);
    }
    if (hr_conn_is_open(conn) && stream->end_came) {
        tell_end(stream);
    }
}

void hr__h2_stream_gone(hr__h2_stream *stream, uint32_t code) {
    hr_conn *conn = &stream->session.conn;
    hr__h2 *h2 = stream->h2;
    bool is_done = conn->finishing != HR_CLOSE_NONE && code == NGHTTP2_NO_ERROR;
    hr__h2_stream_orphan(stream, is_done ? (hr_close_reason)conn->finishing : HR_CLOSE_PEER);
    if (h2->stream_count == 0 && hr_conn_is_open(&h2->parent->conn)) {
        hr__session_arm(h2->parent, h2->parent->home->hub->config.idle_timeout_ms);
        hr__h2_soon(h2);
    }
}

void hr__h2_stream_orphan(hr__h2_stream *stream, hr_close_reason reason) {
    hr_home *home = stream->session.home;
    stream->h2->stream_count--;
    stream->h2 = NULL;
    stream->orphan_reason = (uint8_t)reason;
    hr_link_remove(&stream->link);
    hr_link_remove(&stream->ready);
    hr_link_remove(&stream->blocked);
    hr_list_push_back(&home->h2_orphans, &stream->link);
    hr_loop_wake(home->loop);
}

void hr__h2_close_orphans(hr_home *home) {
    while (!hr_list_empty(&home->h2_orphans)) {
        hr__h2_stream *stream = HR_CONTAINER_OF(home->h2_orphans.next, hr__h2_stream, link);
        hr_conn_close(&stream->session.conn, (hr_close_reason)stream->orphan_reason);
    }
}

hr_session *hr__h2_parent(hr_session *session) {
    if (session->conn.kind != HR_CONN_STREAM) {
        return NULL;
    }
    const hr__h2_stream *stream = HR_CONTAINER_OF(session, const hr__h2_stream, session);
    return stream->h2 == NULL ? NULL : stream->h2->parent;
}

bool hr__h2_is_tunnel(const hr_session *session) {
    return session->conn.kind == HR_CONN_STREAM &&
           HR_CONTAINER_OF(session, const hr__h2_stream, session)->is_tunnel;
}

bool hr__h2_is_secure(const hr_session *session) {
    const hr__h2 *h2 = HR_CONTAINER_OF(session, const hr__h2_stream, session)->h2;
    return h2 != NULL && h2->parent->conn.kind == HR_CONN_TLS;
}

/* The answer. ---------------------------------------------------------------------------------- */

/* Fields of an answer as nghttp2 wants them. */
typedef struct answer {
    unsigned status;
    char status_text[3];
    nghttp2_nv fields[ANSWER_FIELDS_MAX];
    size_t count;
    char names[ANSWER_NAMES_MAX];
    size_t names_len;
    uint64_t length; /* of the body; UINT64_MAX: not known */
} answer;

static void add_field(answer *answer, hr_slice name, hr_slice value) {
    HR_ASSERT(answer->count < ANSWER_FIELDS_MAX &&
              answer->names_len + name.len <= ANSWER_NAMES_MAX);
    char *lower = answer->names + answer->names_len;
    for (size_t i = 0; i < name.len; i++) {
        bool is_upper = name.data[i] >= 'A' && name.data[i] <= 'Z';
        lower[i] = (char)(name.data[i] + (is_upper ? 'a' - 'A' : 0));
    }
    answer->names_len += name.len;
    answer->fields[answer->count++] = (nghttp2_nv){.name = (uint8_t *)lower,
                                                   .value = (uint8_t *)(uintptr_t)value.data,
                                                   .namelen = name.len,
                                                   .valuelen = value.len};
}

/* What concerns the connection in HTTP/1.1 has no place here (RFC 9113 §8.2.2). */
static bool is_of_connection(hr_slice name) {
    static const hr_slice names[] = {
        {"Connection", 10}, {"Upgrade", 7}, {"Sec-WebSocket-Accept", 20}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (hr_slice_equal(name, names[i])) {
            return true;
        }
    }
    return false;
}

static void read_line(answer *answer, hr_slice line) {
    const char *colon = memchr(line.data, ':', line.len);
    HR_ASSERT(colon != NULL && line.data + line.len - colon >= 2);
    hr_slice name = {line.data, (size_t)(colon - line.data)};
    hr_slice value = {colon + 2, line.len - name.len - 2};
    if (is_of_connection(name)) {
        return;
    }
    add_field(answer, name, value);
    if (hr_slice_equal(name, HR_LIT("Content-Length"))) {
        HR_ASSERT(hr_u64_parse(value, &answer->length) == HR_OK);
    }
}

/* text: a head as hr__head_begin begins it, with its empty line. */
static void read_head(answer *answer, hr_slice text) {
    HR_ASSERT(text.len > 13 && hr_slice_has_prefix(text, HR_LIT("HTTP/1.1 ")));
    memcpy(answer->status_text, text.data + 9, 3);
    answer->count = 0;
    answer->names_len = 0;
    answer->length = UINT64_MAX;
    answer->status = (unsigned)(text.data[9] - '0') * 100 + (unsigned)(text.data[10] - '0') * 10 +
                     (unsigned)(text.data[11] - '0');
    if (answer->status == 101) {
        answer->status = 200; /* RFC 8441 §5 */
        memcpy(answer->status_text, "200", 3);
    }
    add_field(answer, HR_LIT(":status"), (hr_slice){answer->status_text, 3});
    const char *at = (const char *)memchr(text.data, '\n', text.len) + 1;
    while (*at != '\r') {
        const char *end = memchr(at, '\r', text.len - (size_t)(at - text.data));
        read_line(answer, (hr_slice){at, (size_t)(end - at)});
        at = end + 2;
    }
}

/* Submits the head that bytes begin with; returns its length, or a negative errno. */
static ssize_t submit_head(hr__h2_stream *stream, const char *bytes, size_t len) {
    const char *end = memmem(bytes, len, "\r\n\r\n", 4);
    HR_ASSERT(end != NULL); /* a head is written whole */
    size_t head_len = (size_t)(end + 4 - bytes);
    nghttp2_session *frames = stream->h2->frames;
    answer answer;
    read_head(&answer, (hr_slice){bytes, head_len});
    int result = 0;
    if (answer.status < 200) {
        result = nghttp2_submit_headers(frames, NGHTTP2_FLAG_NONE, stream->id, NULL, answer.fields,
                                        answer.count, NULL);
    } else {
        bool has_body = !stream->session.style.head_only && answer.status != 204 &&
                        answer.status != 304 && answer.length != 0;
        nghttp2_data_provider body = {.source = {.ptr = stream},
                                      .read_callback = hr__h2_stream_read};
        result = nghttp2_submit_response(frames, stream->id, answer.fields, answer.count,
                                         has_body ? &body : NULL);
        stream->head_sent = true;
        stream->is_ending = !has_body;
        stream->end_sent = !has_body;
        stream->body_left = answer.length;
    }
    hr__h2_soon(stream->h2);
    return result == 0 ? (ssize_t)head_len : -EPIPE;
}

ssize_t hr__h2_stream_read(nghttp2_session *frames, int32_t id, uint8_t *bytes, size_t len,
                           uint32_t *flags, nghttp2_data_source *source, void *context) {
    (void)frames;
    (void)id;
    (void)bytes;
    (void)context;
    hr__h2_stream *stream = source->ptr;
    size_t left = stream->taking - stream->at;
    size_t count = len < left ? len : left;
    if (count == 0 && !stream->is_ending) {
        return NGHTTP2_ERR_DEFERRED;
    }
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (count == 0 || count == stream->body_left) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        stream->end_sent = true;
    }
    return (ssize_t)count;
}

void hr__h2_stream_take(hr__h2_stream *stream, size_t len, struct iovec *parts, int *count) {
    size_t at = stream->at;
    int most = *count;
    *count = 0;
    stream->at += len;
    if (stream->body_left != UINT64_MAX) {
        stream->body_left -= len;
    }
    for (const struct iovec *part = stream->parts; len > 0; part++) {
        if (at >= part->iov_len) {
            at -= part->iov_len;
            continue;
        }
        size_t piece = part->iov_len - at < len ? part->iov_len - at : len;
        HR_ASSERT(*count < most);
        parts[(*count)++] =
            (struct iovec){.iov_base = (char *)part->iov_base + at, .iov_len = piece};
        at = 0;
        len -= piece;
    }
}

/* How much may go out at once: by the windows of stream and connection, and by the socket. */
static size_t room_of(const hr__h2_stream *stream) {
    hr__h2 *h2 = stream->h2;
    if (hr__h2_room(h2) == 0 && h2->parent->conn.waiting == NULL) {
        hr__h2_write_out(h2);
    }
    if (!hr_conn_is_open(&h2->parent->conn)) {
        return 0;
    }
    int32_t own = nghttp2_session_get_stream_remote_window_size(h2->frames, stream->id);
    int32_t shared = nghttp2_session_get_remote_window_size(h2->frames);
    int32_t window = own < shared ? own : shared;
    size_t room = hr__h2_room(h2);
    if (window <= 0) {
        return 0;
    }
    return (size_t)window < room ? (size_t)window : room;
}

static ssize_t carry_write(hr_conn *conn, const struct iovec *parts, int count) {
    hr__h2_stream *stream = hr__h2_stream_of(conn);
    hr__h2 *h2 = stream->h2;
    size_t total = 0;
    if (h2 == NULL || stream->end_sent) {
        return -EPIPE;
    }
    HR_ASSERT(!h2->is_inside && stream->parts == NULL);
    for (int i = 0; i < count; i++) {
        total += parts[i].iov_len;
    }
    stream->at = 0;
    if (!stream->head_sent) {
        ssize_t used = submit_head(stream, parts[0].iov_base, parts[0].iov_len);
        if (used < 0) {
            return used;
        }
        stream->at = (size_t)used;
    }
    stream->parts = parts;
    while (stream->at < total && stream->h2 != NULL) {
        size_t room = room_of(stream);
        size_t before = stream->at;
        stream->taking = total - before < room ? total : before + room;
        if (room > 0) {
            (void)nghttp2_session_resume_data(h2->frames, stream->id);
            hr__h2_pump(h2);
        }
        if (stream->at == before) {
            break;
        }
    }
    size_t taken = stream->at;
    stream->parts = NULL;
    stream->taking = stream->at = 0;
    if (stream->h2 != NULL && hr_conn_is_open(&h2->parent->conn)) {
        if (taken < total && !hr_link_linked(&stream->blocked)) {
            hr_list_push_back(&h2->blocked, &stream->blocked);
        }
        hr__h2_soon(h2);
    }
    return (ssize_t)taken;
}

static void carry_want(hr_conn *conn) {
    hr__h2_stream *stream = hr__h2_stream_of(conn);
    if (!conn->paused && stream->held > 0 && stream->h2 != NULL) {
        give_back(stream, stream->held);
        stream->held = 0;
        hr__h2_soon(stream->h2);
    }
}

static void carry_end(hr_conn *conn) {
    hr__h2_stream *stream = hr__h2_stream_of(conn);
    hr__h2 *h2 = stream->h2;
    if (h2 == NULL || !stream->head_sent) {
        return;
    }
    if (!stream->end_sent) {
        stream->is_ending = true;
        (void)nghttp2_session_resume_data(h2->frames, stream->id);
    }
    hr__h2_soon(h2);
    /* Also a head alone: what is still with nghttp2 when the stream is closed would never go out. */
    hr__h2_pump(h2);
}

static uint32_t code_of(hr_close_reason reason, bool is_complete) {
    if (is_complete) {
        return NGHTTP2_NO_ERROR; /* RFC 9113 §8.1: the client may stop sending */
    }
    switch (reason) {
    case HR_CLOSE_PROTOCOL: return NGHTTP2_PROTOCOL_ERROR;
    case HR_CLOSE_SLOW:
    case HR_CLOSE_LIMIT: return NGHTTP2_ENHANCE_YOUR_CALM;
    default: return NGHTTP2_CANCEL;
    }
}

static void carry_close(hr_conn *conn, hr_close_reason reason) {
    hr__h2_stream *stream = hr__h2_stream_of(conn);
    hr__h2 *h2 = stream->h2;
    hr_buf_fini(&stream->input);
    hr_link_remove(&stream->link);
    if (h2 == NULL) {
        return;
    }
    stream->h2 = NULL;
    hr_link_remove(&stream->ready);
    hr_link_remove(&stream->blocked);
    h2->stream_count--;
    (void)nghttp2_session_set_stream_user_data(h2->frames, stream->id, NULL);
    (void)nghttp2_submit_rst_stream(h2->frames, NGHTTP2_FLAG_NONE, stream->id,
                                    code_of(reason, stream->end_sent));
    if (h2->stream_count == 0) {
        hr__session_arm(h2->parent, h2->parent->home->hub->config.idle_timeout_ms);
    }
    hr__h2_soon(h2);
}
