/* A connection's life and input. */
#include "conn_private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* At most so many reads a turn: one fast sender must not starve the loop's others. */
#define HR_READ_COUNT_MAX 4
/* What is discarded of a peer that goes on sending after our half was closed. */
#define HR_LINGER_READ_COUNT_MAX 64

static void on_ready(uv_poll_t *handle, int status, int events);

/* Whether conn's handshake waits for its turn. */
static bool is_in_line(const hr_conn *conn) {
    return conn->kind == HR_CONN_TLS && hr_link_linked(&conn->tls->line);
}

/* A connection that neither reads nor waits still hears of a hang-up, but for one whose peer has
 * closed its half: that would be reported for ever. */
static void update_poll(hr_conn *conn) {
    int wanted = 0;
    bool is_heard = !conn->eof && !is_in_line(conn);
    if (!conn->paused && is_heard) {
        wanted |= UV_READABLE;
    } else if (is_heard) {
        wanted |= UV_DISCONNECT;
    }
    if (conn->waiting != NULL) {
        wanted |= UV_WRITABLE;
    }
    if (wanted == conn->polled) {
        return;
    }
    conn->polled = (uint8_t)wanted;
    if (wanted == 0) {
        HR_ASSERT(uv_poll_stop(&conn->poll) == 0);
    } else {
        HR_ASSERT(uv_poll_start(&conn->poll, wanted, on_ready) == 0);
    }
}

void hr__conn_update(hr_conn *conn) {
    if (conn->kind == HR_CONN_STREAM) {
        conn->carrier->want(conn);
    } else {
        update_poll(conn);
    }
}

/* Beginnings. ---------------------------------------------------------------------------------- */

hr_status hr_conn_open(hr_conn *conn, hr_loop *loop, int fd, const hr_conn_ops *ops) {
    HR_CHECK(loop, HR_LOOP_MAGIC);
    *conn = (hr_conn){.loop = loop, .ops = ops, .fd = fd};
    int code = uv_poll_init(&loop->uv, &conn->poll, fd);
    if (code != 0) {
        close(fd);
        return hr__status_from_uv(code);
    }
    HR_MAGIC_SET(conn, HR_CONN_MAGIC);
    conn->poll.data = conn;
    update_poll(conn);
    return HR_OK;
}

hr_status hr_conn_start_tls(hr_conn *conn, hr_tls *tls) {
    HR_CHECK(conn, HR_CONN_MAGIC);
    HR_ASSERT(conn->kind == HR_CONN_SOCKET);
    hr_loop *loop = conn->loop;
    hr__tls *made = NULL;
    hr_status status = loop->wire.bio == NULL ? hr__wire_init(&loop->wire) : HR_OK;
    if (status == HR_OK) {
        status = hr__tls_new(&loop->wire, tls, &made);
    }
    if (status == HR_OK) {
        conn->kind = HR_CONN_TLS;
        conn->tls = made;
        made->conn = conn;
    }
    return status;
}

void hr_conn_open_stream(hr_conn *conn, hr_loop *loop, const hr_carrier *carrier,
                         const hr_conn_ops *ops) {
    HR_CHECK(loop, HR_LOOP_MAGIC);
    *conn =
        (hr_conn){.loop = loop, .ops = ops, .fd = -1, .kind = HR_CONN_STREAM, .carrier = carrier};
    HR_MAGIC_SET(conn, HR_CONN_MAGIC);
    hr_link_init(&conn->gone);
}

bool hr_conn_is_shaking(const hr_conn *conn) {
    return conn->kind == HR_CONN_TLS && conn->tls->is_shaking;
}

hr_tls_version hr_conn_tls_version(const hr_conn *conn) {
    return conn->kind == HR_CONN_TLS ? hr__tls_version(conn->tls) : HR_TLS_NO_VERSION;
}

bool hr_conn_tls_resumed(const hr_conn *conn) {
    return conn->kind == HR_CONN_TLS && hr__tls_is_resumed(conn->tls);
}

bool hr_conn_is_h2(const hr_conn *conn) {
    return conn->kind == HR_CONN_TLS && hr__tls_is_h2(conn->tls);
}

/* The peer is not kept: most connections are never asked for it. */
size_t hr_conn_peer(const hr_conn *conn, uint8_t out[16]) {
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof address;
    if (conn->fd < 0 || getpeername(conn->fd, (struct sockaddr *)&address, &len) != 0) {
        return 0;
    }
    if (address.ss_family == AF_INET) {
        memcpy(out, &((const struct sockaddr_in *)(const void *)&address)->sin_addr, 4);
        return 4;
    }
    if (address.ss_family == AF_INET6) {
        memcpy(out, &((const struct sockaddr_in6 *)(const void *)&address)->sin6_addr, 16);
        return 16;
    }
    return 0;
}

/* Ends. ---------------------------------------------------------------------------------------- */

static void free_conn(hr_conn *conn) {
    HR_MAGIC_CLEAR(conn);
    conn->ops->on_free(conn);
}

static void on_poll_closed(uv_handle_t *handle) {
    hr_conn *conn;
    HR_CAST(hr_conn, conn, handle->data, HR_CONN_MAGIC);
    free_conn(conn);
}

void hr__conn_free_gone(hr_loop *loop) {
    while (!hr_list_empty(&loop->gone)) {
        hr_conn *conn = HR_CONTAINER_OF(loop->gone.next, hr_conn, gone);
        HR_CHECK(conn, HR_CONN_MAGIC);
        hr_link_remove(&conn->gone);
        free_conn(conn);
    }
}

static void close_socket(hr_conn *conn) {
    uv_poll_stop(&conn->poll);
    /* After uv_close has taken the handle out of epoll the number may be used again by anyone. */
    uv_close((uv_handle_t *)&conn->poll, on_poll_closed);
    close(conn->fd);
    conn->fd = -1;
}

void hr_conn_close(hr_conn *conn, hr_close_reason reason) {
    HR_CHECK(conn, HR_CONN_MAGIC);
    HR_ASSERT(reason != HR_CLOSE_NONE);
    if (!hr_conn_is_open(conn)) {
        return;
    }
    if (conn->is_gathered) {
        /* What was answered before the end is sent. */
        hr__conn_flush(conn->loop);
        if (!hr_conn_is_open(conn)) {
            return;
        }
    }
    conn->reason = (uint8_t)reason;
    hr__conn_drop_waiting(conn);
    if (conn->loop->corked == conn) {
        conn->loop->cork.len = conn->loop->cork_from;
    }
    conn->ops->on_close(conn, reason);
    switch ((hr_conn_kind)conn->kind) {
    case HR_CONN_TLS:
        hr_link_remove(&conn->tls->line);
        hr__tls_free(&conn->tls);
        close_socket(conn);
        return;
    case HR_CONN_SOCKET: close_socket(conn); return;
    case HR_CONN_STREAM:
        conn->carrier->close(conn, reason);
        hr_list_push_back(&conn->loop->gone, &conn->gone);
        return;
    }
}

void hr_conn_pause(hr_conn *conn) {
    conn->paused = true;
    if (hr_conn_is_open(conn)) {
        hr__conn_update(conn);
    }
}

void hr_conn_resume(hr_conn *conn) {
    conn->paused = false;
    if (hr_conn_is_open(conn)) {
        hr__conn_update(conn);
    }
}

/* Says goodbye in TLS's own words. False: they wait for the kernel, or the connection is gone. */
static bool is_tls_over(hr_conn *conn) {
    size_t from = conn->loop->wire.out.len;
    hr__tls_bye(conn->tls);
    return hr__conn_send_sealed(conn, from) == HR_OK && conn->waiting == NULL;
}

/* Our half is closed when nothing of our output is left with us. */
static void begin_linger(hr_conn *conn) {
    if (conn->kind == HR_CONN_TLS && !is_tls_over(conn)) {
        return; /* it goes on when they have been taken */
    }
    conn->lingering = true;
    if (conn->kind == HR_CONN_STREAM) {
        conn->carrier->end(conn);
    } else if (shutdown(conn->fd, SHUT_WR) != 0) {
        conn->eof = true;
    }
    if (conn->eof) {
        hr_conn_close(conn, (hr_close_reason)conn->finishing);
        return;
    }
    hr_conn_resume(conn);
}

void hr_conn_finish(hr_conn *conn, hr_close_reason reason) {
    HR_CHECK(conn, HR_CONN_MAGIC);
    if (!hr_conn_is_open(conn) || conn->finishing != HR_CLOSE_NONE) {
        return;
    }
    conn->finishing = (uint8_t)reason;
    hr_conn_uncork(conn);
    if (hr_conn_is_open(conn) && conn->waiting == NULL) {
        begin_linger(conn);
    }
}

void hr_conn_has_room(hr_conn *conn) {
    HR_CHECK(conn, HR_CONN_MAGIC);
    if (!hr_conn_is_open(conn) || conn->waiting == NULL || !hr__conn_send_waiting(conn)) {
        return;
    }
    hr__conn_drop_waiting(conn);
    hr__conn_update(conn);
    if (conn->finishing != HR_CLOSE_NONE) {
        begin_linger(conn);
        return;
    }
    conn->ops->on_drained(conn);
}

/* Input. --------------------------------------------------------------------------------------- */

static void hand_over(hr_conn *conn, char *bytes, size_t len) {
    hr__conn_begin_cork(conn);
    conn->ops->on_read(conn, bytes, len);
    hr__conn_end_cork(conn);
}

/* The peer has closed its half. */
static void end_input(hr_conn *conn) {
    conn->eof = true;
    update_poll(conn);
    if (conn->lingering) {
        hr_conn_close(conn, (hr_close_reason)conn->finishing);
    } else if (conn->finishing == HR_CLOSE_NONE) {
        conn->ops->on_eof(conn);
    }
}

/* Sends what OpenSSL has to say by itself: its part of a handshake, an alert, a new key. */
static void send_own(hr_conn *conn, size_t from) {
    if (hr_conn_is_open(conn)) {
        (void)hr__conn_send_sealed(conn, from);
    }
}

/* A peer that speaks no TLS is answered in the clear. */
static void go_plain(hr_conn *conn, char *bytes, size_t len) {
    hr__tls_free(&conn->tls);
    conn->kind = HR_CONN_SOCKET;
    conn->ops->on_handshake(conn, HR_TLS_PLAIN_TEXT);
    if (hr_conn_is_open(conn) && conn->finishing == HR_CLOSE_NONE) {
        hand_over(conn, bytes, len);
    }
}

/* Goes on with the handshake; true when the connection is open for data. */
static bool shake(hr_conn *conn) {
    hr_loop *loop = conn->loop;
    size_t from = loop->wire.out.len;
    bool is_over = hr__tls_shake(conn->tls, &loop->wire);
    send_own(conn, from);
    if (!is_over || !hr_conn_is_open(conn)) {
        return false;
    }
    /* Not before: one whose end reached nobody is told of as left behind. */
    conn->tls->is_shaking = false;
    hr_tls_outcome outcome = (hr_tls_outcome)conn->tls->outcome;
    conn->ops->on_handshake(conn, outcome);
    return hr_conn_is_open(conn) && outcome == HR_TLS_COMPLETED;
}

/* Opens record by record what has come. What it answers on the way is gathered as one. */
static void open_records(hr_conn *conn) {
    hr_loop *loop = conn->loop;
    size_t from = loop->wire.out.len;
    hr__tls_opened opened = HR__TLS_EMPTY;
    hr__conn_begin_cork(conn);
    do {
        hr_slice plain = {NULL, 0};
        opened = hr__tls_open(conn->tls, &loop->wire, &plain);
        if (loop->wire.out.len > from) {
            send_own(conn, from);
        }
        if (opened == HR__TLS_OPENED && hr_conn_is_open(conn) && !conn->lingering) {
            conn->ops->on_read(conn, loop->wire.plain, plain.len);
        }
    } while (opened == HR__TLS_OPENED && hr_conn_is_open(conn));
    hr__conn_end_cork(conn);
    if (!hr_conn_is_open(conn)) {
        return;
    }
    if (opened == HR__TLS_END && !conn->eof) {
        end_input(conn);
    } else if (opened == HR__TLS_BROKEN) {
        hr_conn_close(conn, HR_CLOSE_RESET);
    }
}

static void handle_sealed(hr_conn *conn, char *bytes, size_t len) {
    hr__tls *tls = conn->tls;
    hr_loop *loop = conn->loop;
    if (!tls->is_begun && !hr__tls_is_hello(bytes, len)) {
        go_plain(conn, bytes, len);
        return;
    }
    tls->is_begun = true;
    loop->wire.in = (hr_slice){bytes, len};
    if (tls->is_shaking) {
        loop->shaken_count++;
    }
    if (!tls->is_shaking || shake(conn)) {
        open_records(conn);
    }
    loop->wire.in = (hr_slice){NULL, 0};
}

static void handle_input(hr_conn *conn, size_t got) {
    char *bytes = conn->loop->read_buffer;
    if (conn->lingering) {
        return;
    }
    if (conn->kind == HR_CONN_TLS) {
        handle_sealed(conn, bytes, got);
    } else {
        hand_over(conn, bytes, got);
    }
}

static void read_input(hr_conn *conn) {
    unsigned count_max = conn->lingering ? HR_LINGER_READ_COUNT_MAX : HR_READ_COUNT_MAX;
    for (unsigned i = 0; i < count_max && hr_conn_is_open(conn) && !conn->paused; i++) {
        ssize_t got = recv(conn->fd, conn->loop->read_buffer, HR_LOOP_READ_LEN, 0);
        if (got > 0) {
            handle_input(conn, (size_t)got);
            if ((size_t)got < HR_LOOP_READ_LEN) {
                return; /* the socket is empty; what comes later is reported again */
            }
            continue;
        }
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            return;
        }
        if (got < 0) {
            hr_conn_close(conn, HR_CLOSE_RESET);
        } else {
            end_input(conn);
        }
        return;
    }
}

/* Handshakes in line. -------------------------------------------------------------------------- */

/* One that has begun does not wait behind those that have not: its end is cheap, and without it what
 * was done for it is lost. */
static bool must_wait(const hr_conn *conn) {
    const hr_loop *loop = conn->loop;
    return hr_conn_is_shaking(conn) && (loop->shaken_count >= loop->shaken_count_max ||
                                        (!conn->tls->is_begun && !hr_list_empty(&loop->line)));
}

/* The kernel is not asked about one in line. It would report all of them in each turn, and with
 * thousands of them that is more work than the few that can go on: none would be over in time. */
static void stand_in_line(hr_conn *conn) {
    hr_link *line = &conn->loop->line;
    hr_list_push_back(conn->tls->is_begun ? line->next : line, &conn->tls->line);
    update_poll(conn);
}

void hr__conn_shake_next(hr_loop *loop) {
    while (!hr_list_empty(&loop->line) && loop->shaken_count < loop->shaken_count_max) {
        hr__tls *tls = HR_CONTAINER_OF(loop->line.next, hr__tls, line);
        hr_conn *conn = tls->conn;
        HR_CHECK(conn, HR_CONN_MAGIC);
        unsigned count = loop->shaken_count;
        hr_link_remove(&tls->line);
        update_poll(conn);
        if (!conn->paused) {
            read_input(conn);
        }
        if (loop->shaken_count == count) {
            loop->shaken_count++; /* it had left: that was work, too */
        }
    }
    loop->shaken_count = 0;
}

/* The socket's error, such as a reset: libuv polls it no longer. What the peer sent before is still
 * there. A client that does not take our certificate says so and leaves by a reset, as it has read
 * no further; a handshake is over only by what it said. */
static void on_error(hr_conn *conn) {
    conn->polled = 0;
    if (hr_conn_is_shaking(conn) && conn->tls->is_begun) {
        read_input(conn);
    }
    hr_conn_close(conn, HR_CLOSE_RESET);
}

static void on_ready(uv_poll_t *handle, int status, int events) {
    hr_conn *conn;
    HR_CAST(hr_conn, conn, handle->data, HR_CONN_MAGIC);
    hr__loop_note_event(conn->loop);
    if (!hr_conn_is_open(conn)) {
        return;
    }
    if (status != 0) {
        on_error(conn);
        return;
    }
    if ((events & UV_WRITABLE) != 0 && conn->waiting != NULL) {
        hr_conn_has_room(conn);
    }
    if (hr_conn_is_open(conn) && (events & UV_READABLE) != 0 && !conn->paused) {
        if (must_wait(conn)) {
            stand_in_line(conn);
        } else {
            read_input(conn);
        }
    }
    if (hr_conn_is_open(conn) && (events & UV_DISCONNECT) != 0 && conn->paused && !conn->eof) {
        /* The peer has closed at least its half while an answer is due. Input that it sent before
         * stays in the kernel until reading is taken up; the end is met again there. */
        conn->polled = 0;
        conn->ops->on_eof(conn);
        if (hr_conn_is_open(conn) && conn->paused) {
            HR_ASSERT(uv_poll_stop(&conn->poll) == 0);
            if (conn->waiting != NULL) {
                conn->polled = UV_WRITABLE;
                HR_ASSERT(uv_poll_start(&conn->poll, UV_WRITABLE, on_ready) == 0);
            }
        }
    }
}
