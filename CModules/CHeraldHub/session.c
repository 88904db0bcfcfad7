/* A session: one connection, from accept to end, whatever it becomes in between. */
#include "hub_private.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void on_handshake(hr_conn *conn, hr_tls_outcome outcome);
static void on_read(hr_conn *conn, char *bytes, size_t len);
static void on_eof(hr_conn *conn);
static void on_drained(hr_conn *conn);
static void on_close(hr_conn *conn, hr_close_reason reason);
static void on_free(hr_conn *conn);
static void on_timer(hr_timer *timer);

static const hr_conn_ops session_ops = {
    .on_handshake = on_handshake,
    .on_read = on_read,
    .on_eof = on_eof,
    .on_drained = on_drained,
    .on_close = on_close,
    .on_free = on_free,
};

static hr_session *session_of(hr_conn *conn) {
    hr_session *session = HR_CONTAINER_OF(conn, hr_session, conn);
    HR_CHECK(session, HR_SESSION_MAGIC);
    return session;
}

void hr__session_arm(hr_session *session, uint64_t after_ms) {
    hr_loop *loop = session->home->loop;
    hr_timer_arm(hr_loop_wheel(loop), &session->timer, hr_loop_now_ms(loop), after_ms);
}

void hr__session_set_protocol(hr_session *session, hr_protocol protocol) {
    uint64_t *gauges = session->home->stats.protocols;
    if (session->protocol != HR_PROTOCOL_NONE) {
        hr__uncount(&gauges[session->protocol], 1);
    }
    session->protocol = (uint8_t)protocol;
    if (protocol != HR_PROTOCOL_NONE) {
        hr__count(&gauges[protocol], 1);
    }
}

static void refuse(hr_session *session) {
    if (session->refusal == HR__OVER_ADDRESS) {
        hr__http_refuse(session, 429, "too-many-connections", "Too many connections",
                        "your address has as many connections as it may");
        return;
    }
    hr__http_refuse(session, 503, "too-many-connections", "Too many connections",
                    "the server has as many connections as it may");
}

static void init(hr_session *session, hr_home *home) {
    HR_MAGIC_SET(session, HR_SESSION_MAGIC);
    session->home = home;
    session->style = (hr__answer_style){.keep_alive = true};
    session->protocol = HR_PROTOCOL_NONE;
    hr_timer_init(&session->timer, on_timer);
    hr_link_init(&session->link);
    hr_link_init(&session->requests);
    hr_link_init(&session->reader.link);
}

/* Counts it among the hub's, and sees whether it may stay. */
static void enter(hr_session *session) {
    hr_home *home = session->home;
    hr_list_push_back(&home->sessions, &session->link);
    home->session_count++;
    uint32_t before =
        atomic_fetch_add_explicit(&home->hub->connection_count, 1, memory_order_relaxed);
    if (before >= home->hub->config.connection_count_max) {
        hr__count(&home->stats.accept_failures[HR_ACCEPT_LIMIT], 1);
        session->refusal = HR__OVER_CONNECTIONS;
    } else {
        session->refusal = (uint8_t)hr__admit_session(session);
    }
}

void hr__session_open(hr_home *home, int fd, hr_tls *tls) {
    hr_session *session = calloc(1, sizeof *session);
    if (session == NULL) {
        hr__count(&home->stats.accept_failures[HR_ACCEPT_OTHER], 1);
        close(fd);
        return;
    }
    init(session, home);
    if (hr_conn_open(&session->conn, home->loop, fd, &session_ops) != HR_OK) {
        hr__count(&home->stats.accept_failures[HR_ACCEPT_OTHER], 1);
        HR_MAGIC_CLEAR(session);
        free(session);
        return;
    }
    hr__count(&home->stats.accepted, 1);
    hr__count(&home->stats.connections, 1);
    enter(session);
    if (session->refusal == HR__OVER_ADDRESS && home->refused_count > HR_REFUSED_COUNT_MAX) {
        hr_conn_close(&session->conn, HR_CLOSE_LIMIT);
        return;
    }
    if (tls != NULL && hr_conn_start_tls(&session->conn, tls) != HR_OK) {
        hr_conn_close(&session->conn, HR_CLOSE_LIMIT);
        return;
    }
    if (tls != NULL) {
        hr__session_arm(session, home->hub->config.request_timeout_ms);
        return;
    }
    hr__session_set_protocol(session, HR_PROTOCOL_HTTP1);
    if (session->refusal != HR__ADMITTED) {
        refuse(session);
    } else {
        hr__session_arm(session, home->hub->config.idle_timeout_ms);
    }
}

bool hr__session_open_stream(hr_home *home, hr_session *session, const hr_carrier *carrier) {
    uint32_t count = atomic_load_explicit(&home->hub->connection_count, memory_order_relaxed);
    if (count >= home->hub->config.connection_count_max) {
        hr__count(&home->stats.accept_failures[HR_ACCEPT_LIMIT], 1);
        return false;
    }
    init(session, home);
    hr_conn_open_stream(&session->conn, home->loop, carrier, &session_ops);
    enter(session);
    hr__count(&home->stats.h2_streams, 1);
    hr__count(&home->stats.h2_streams_opened, 1);
    hr__session_arm(session, home->hub->config.request_timeout_ms);
    return true;
}

/* TLS. ----------------------------------------------------------------------------------------- */

static void count_handshake(hr_session *session, hr_tls_outcome outcome) {
    hr_stats *stats = &session->home->stats;
    hr_tls_version version =
        outcome == HR_TLS_COMPLETED ? hr_conn_tls_version(&session->conn) : HR_TLS_NO_VERSION;
    hr__count(&stats->handshakes[version][outcome], 1);
    if (outcome == HR_TLS_COMPLETED && hr_conn_tls_resumed(&session->conn)) {
        hr__count(&stats->handshakes_resumed[version], 1);
    }
}

static void on_handshake(hr_conn *conn, hr_tls_outcome outcome) {
    hr_session *session = session_of(conn);
    count_handshake(session, outcome);
    if (outcome == HR_TLS_PLAIN_TEXT) {
        hr__session_set_protocol(session, HR_PROTOCOL_HTTP1);
        hr__http_refuse(session, 400, "tls-required", "TLS required",
                        "this port speaks TLS only; use https:// or wss://");
    } else if (outcome != HR_TLS_COMPLETED) {
        hr__session_finish(session, HR_CLOSE_HANDSHAKE);
    } else if (session->refusal != HR__ADMITTED) {
        hr__session_set_protocol(session, HR_PROTOCOL_HTTP1_TLS);
        refuse(session);
    } else if (hr_conn_is_h2(conn)) {
        (void)hr__h2_begin(session);
    } else {
        hr__session_set_protocol(session, HR_PROTOCOL_HTTP1_TLS);
        hr__session_arm(session, session->home->hub->config.idle_timeout_ms);
    }
}

/* Input. --------------------------------------------------------------------------------------- */

void hr__session_stash(hr_session *session, const char *bytes, size_t len) {
    if (len > 0) {
        if (session->input == NULL) {
            session->input = calloc(1, sizeof *session->input);
        }
        if (session->input == NULL || hr_buf_append(session->input, bytes, len) != HR_OK) {
            hr_conn_close(&session->conn, HR_CLOSE_LIMIT);
            return;
        }
    }
    if (session->input != NULL) {
        hr_conn_pause(&session->conn);
    }
}

static void drop_input(hr_session *session) {
    if (session->input != NULL) {
        hr_buf_fini(session->input);
        free(session->input);
        session->input = NULL;
    }
}

void hr__session_ready(hr_session *session) {
    /* A reader that catches up goes on with its input when it is live again: hr__reader_go_live. */
    if (session->input == NULL || session->in_input || hr_link_linked(&session->reader.link)) {
        return;
    }
    hr_list_push_back(&session->home->ready, &session->reader.link);
    hr_loop_wake(session->home->loop);
}

void hr__session_unstash(hr_session *session) {
    if (!hr_conn_is_open(&session->conn)) {
        return;
    }
    hr_buf *input = session->input;
    session->input = NULL;
    if (input != NULL) {
        hr__session_input(session, input->data, input->len);
        hr_buf_fini(input);
        free(input);
    }
    if (session->input == NULL && hr_conn_is_open(&session->conn)) {
        hr_conn_resume(&session->conn);
    }
}

/* Whether the connection takes so little of what it is sent that it must not ask for more. */
static bool is_backed_up(hr_session *session) {
    return hr_conn_waiting_len(&session->conn) > HR_BACKLOG_MAX;
}

void hr__session_input(hr_session *session, char *bytes, size_t len) {
    session->in_input = true;
    switch ((hr_mode)session->mode) {
    case HR_MODE_HTTP: hr__http_input(session, bytes, len); break;
    case HR_MODE_WS:
    case HR_MODE_ECHO: hr__ws_input(session, bytes, len); break;
    case HR_MODE_REQUEST:
    case HR_MODE_POLL: hr__session_stash(session, bytes, len); break;
    case HR_MODE_H2: hr__h2_input(session, bytes, len); break;
    case HR_MODE_STREAM: /* a stream's client has nothing more to say */
    case HR_MODE_ENDING: break;
    }
    session->in_input = false;
    if (session->input != NULL && !is_backed_up(session) &&
        (session->mode == HR_MODE_HTTP || session->mode == HR_MODE_WS ||
         session->mode == HR_MODE_ECHO)) {
        hr__session_ready(session);
    }
}

static void on_read(hr_conn *conn, char *bytes, size_t len) {
    hr_session *session = session_of(conn);
    session->missed_beats = 0;
    if (session->refusal != HR__ADMITTED && session->mode == HR_MODE_HTTP) {
        refuse(session); /* a stream: connections have been told before */
        return;
    }
    if (session->input != NULL) {
        hr__session_stash(session, bytes, len);
        return;
    }
    hr__session_input(session, bytes, len);
}

/* The peer sends no more. A request in hand is answered all the same; whoever only waits for events
 * has gone. */
static void on_eof(hr_conn *conn) {
    hr_session *session = session_of(conn);
    switch ((hr_mode)session->mode) {
    case HR_MODE_REQUEST: session->style.keep_alive = false; return;
    case HR_MODE_HTTP:
        if (session->input != NULL) {
            return; /* requests put aside come first; the end is met again behind them */
        }
        hr__session_finish(session, HR_CLOSE_PEER);
        return;
    case HR_MODE_ENDING: return;
    case HR_MODE_POLL:
    case HR_MODE_STREAM:
    case HR_MODE_WS:
    case HR_MODE_H2:
    case HR_MODE_ECHO: hr_conn_close(conn, HR_CLOSE_PEER); return;
    }
}

static void on_drained(hr_conn *conn) {
    hr_session *session = session_of(conn);
    if (session->mode == HR_MODE_H2) {
        hr__h2_drained(session);
        return;
    }
    if (session->reader.counted && session->reader.state == HR_READER_STALLED) {
        hr__reader_drained(&session->reader);
    }
    if (hr_conn_is_open(conn) && session->mode != HR_MODE_REQUEST &&
        session->mode != HR_MODE_POLL) {
        hr__session_ready(session);
    }
}

/* Ends. ---------------------------------------------------------------------------------------- */

static void leave_reader(hr_session *session) {
    if (session->reader.counted) {
        hr__reader_close(&session->reader);
    }
    hr_link_remove(&session->reader.link);
}

void hr__session_finish(hr_session *session, hr_close_reason reason) {
    if (!hr_conn_is_open(&session->conn)) {
        return;
    }
    leave_reader(session);
    if (session->mode == HR_MODE_H2) {
        hr__h2_close(session, reason);
    }
    session->mode = HR_MODE_ENDING;
    drop_input(session);
    hr__session_arm(session, HR_LINGER_MS);
    hr_conn_finish(&session->conn, reason);
}

static void on_close(hr_conn *conn, hr_close_reason reason) {
    hr_session *session = session_of(conn);
    hr_home *home = session->home;
    leave_reader(session);
    if (session->mode == HR_MODE_H2) {
        hr__h2_close(session, reason);
    }
    session->mode = HR_MODE_ENDING;
    hr_timer_cancel(hr_loop_wheel(home->loop), &session->timer);
    hr_link_remove(&session->link);
    while (!hr_list_empty(&session->requests)) {
        hr_request *request = HR_CONTAINER_OF(session->requests.next, hr_request, link);
        hr_link_remove(&request->link);
        request->session = NULL;
    }
    if (hr_conn_is_shaking(conn)) {
        count_handshake(session, reason == HR_CLOSE_HANDSHAKE ? HR_TLS_TIMEOUT : HR_TLS_LEFT);
    }
    hr__session_set_protocol(session, HR_PROTOCOL_NONE);
    hr__dismiss_session(session);
    if (conn->kind == HR_CONN_STREAM) {
        hr__uncount(&home->stats.h2_streams, 1);
    } else {
        hr__count(&home->stats.closed[reason], 1);
        hr__uncount(&home->stats.connections, 1);
    }
    atomic_fetch_sub_explicit(&home->hub->connection_count, 1, memory_order_relaxed);
}

static void on_free(hr_conn *conn) {
    hr_session *session = HR_CONTAINER_OF(conn, hr_session, conn);
    HR_CHECK(session, HR_SESSION_MAGIC);
    hr_home *home = session->home;
    drop_input(session);
    if (session->http != NULL) {
        hr__home_http_give(home, session->http);
    }
    if (session->is_h2) {
        hr__h2_free(&session->h2);
    } else if (session->ws != NULL) {
        hr_ws_parser_fini(session->ws);
        free(session->ws);
    }
    HR_MAGIC_CLEAR(session);
    free(session);
    hr__home_session_gone(home);
}

void hr__session_end_in_order(hr_session *session) {
    session->drain_due = false;
    switch ((hr_mode)session->mode) {
    case HR_MODE_POLL:
        session->style.keep_alive = false;
        hr__poll_timeout(session);
        return;
    case HR_MODE_STREAM:
    case HR_MODE_WS:
    case HR_MODE_ECHO:
        hr__stream_end(session, HR_CLOSE_DRAIN, 1001, HR_LIT("server is going away"));
        return;
    case HR_MODE_HTTP:
    case HR_MODE_REQUEST:
    case HR_MODE_H2:
    case HR_MODE_ENDING: return;
    }
}

/* Time. ---------------------------------------------------------------------------------------- */

/* Whether output waits that nobody takes. */
static bool is_stuck(const hr_session *session) {
    uint64_t now = hr_loop_now_ms(session->home->loop);
    return session->conn.waiting != NULL &&
           now - session->conn.progress_ms >= session->home->hub->config.write_timeout_ms;
}

static void on_http_timer(hr_session *session) {
    const hr_hub_config *config = &session->home->hub->config;
    if (hr_conn_is_shaking(&session->conn)) {
        hr_conn_close(&session->conn, HR_CLOSE_HANDSHAKE);
    } else if (session->http != NULL && hr_http1_begun(session->http)) {
        hr__count(&session->home->stats.request_timeouts, 1);
        hr__http_refuse(session, 408, "request-timeout", "Request timeout",
                        "the request did not arrive whole in time");
    } else if (session->conn.waiting != NULL) {
        if (is_stuck(session)) {
            hr_conn_close(&session->conn, HR_CLOSE_SLOW);
        } else {
            hr__session_arm(session, config->idle_timeout_ms);
        }
    } else {
        hr__session_finish(session, HR_CLOSE_IDLE);
    }
}

static void on_ending_timer(hr_session *session) {
    bool sending = session->conn.waiting != NULL && !is_stuck(session);
    if (sending && !session->home->draining) {
        hr__session_arm(session, HR_LINGER_MS);
    } else {
        hr_conn_close(&session->conn, session->conn.waiting != NULL
                                          ? HR_CLOSE_SLOW
                                          : (hr_close_reason)session->conn.finishing);
    }
}

static void on_timer(hr_timer *timer) {
    hr_session *session = HR_CONTAINER_OF(timer, hr_session, timer);
    HR_CHECK(session, HR_SESSION_MAGIC);
    if (session->mode != HR_MODE_ENDING && session->drain_due) {
        hr__session_end_in_order(session);
        return;
    }
    switch ((hr_mode)session->mode) {
    case HR_MODE_HTTP: on_http_timer(session); return;
    case HR_MODE_REQUEST: return; /* armed again when it is answered */
    case HR_MODE_POLL: hr__poll_timeout(session); return;
    case HR_MODE_STREAM:
    case HR_MODE_WS:
    case HR_MODE_ECHO:
        if (is_stuck(session)) {
            hr_conn_close(&session->conn, HR_CLOSE_SLOW);
        } else {
            hr__stream_beat(session);
        }
        return;
    case HR_MODE_H2: hr__h2_timer(session, is_stuck(session)); return;
    case HR_MODE_ENDING: on_ending_timer(session); return;
    }
}

/* A fifth either way, so that streams opened together do not beat together. */
uint64_t hr__session_beat_ms(hr_session *session) {
    uint64_t beat_ms = session->home->hub->config.heartbeat_ms;
    return beat_ms - beat_ms / 5 + hr__random(session->home) % (beat_ms * 2 / 5 + 1);
}
