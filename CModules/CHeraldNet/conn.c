#include "loop_private.h"

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

/* Asks libuv for what is wanted now. A connection that neither reads nor waits still hears of a
 * hang-up, but for one whose peer has closed its half: that would be reported for ever. */
static void update_poll(hr_conn *conn) {
    int wanted = 0;
    if (!conn->paused && !conn->eof) {
        wanted |= UV_READABLE;
    } else if (!conn->eof) {
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

static void drop_waiting(hr_conn *conn) {
    if (conn->waiting != NULL) {
        hr_buf_fini(conn->waiting);
        free(conn->waiting);
        conn->waiting = NULL;
    }
}

static void on_poll_closed(uv_handle_t *handle) {
    hr_conn *conn;
    HR_CAST(hr_conn, conn, handle->data, HR_CONN_MAGIC);
    HR_MAGIC_CLEAR(conn);
    conn->ops->on_free(conn);
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
    uv_poll_stop(&conn->poll);
    drop_waiting(conn);
    if (conn->loop->corked == conn) {
        conn->loop->cork.len = conn->loop->cork_from;
    }
    conn->ops->on_close(conn, reason);
    /* After uv_close has taken the handle out of epoll the number may be used again by anyone. */
    uv_close((uv_handle_t *)&conn->poll, on_poll_closed);
    close(conn->fd);
    conn->fd = -1;
}

static ssize_t send_parts(hr_conn *conn, const struct iovec *parts, int count) {
    ssize_t sent;
    do {
        if (count == 1) {
            sent = send(conn->fd, parts->iov_base, parts->iov_len, MSG_NOSIGNAL);
        } else {
            struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)parts,
                                     .msg_iovlen = (size_t)count};
            sent = sendmsg(conn->fd, &message, MSG_NOSIGNAL);
        }
    } while (sent < 0 && errno == EINTR);
    return sent;
}

/* taken: bytes, or a negative errno. */
static hr_status judge_sent(hr_conn *conn, ssize_t taken, size_t *sent) {
    if (taken >= 0) {
        *sent = (size_t)taken;
        return HR_OK;
    }
    if (taken == -EAGAIN || taken == -EWOULDBLOCK) {
        return HR_OK;
    }
    if (hr_conn_is_open(conn)) {
        hr_conn_close(conn, HR_CLOSE_RESET);
    }
    return HR_ECLOSED;
}

hr_status hr_conn_write_some(hr_conn *conn, const struct iovec *parts, int count, size_t *sent) {
    HR_CHECK(conn, HR_CONN_MAGIC);
    HR_ASSERT(conn->waiting == NULL && count > 0);
    *sent = 0;
    if (!hr_conn_is_open(conn)) {
        return HR_ECLOSED;
    }
    ssize_t taken = send_parts(conn, parts, count);
    return judge_sent(conn, taken >= 0 ? taken : -errno, sent);
}

/* Below this a system call each is as good. */
#define RING_COUNT_MIN 4u

/* Makes what it can of sends by the loop's ring; returns how many, from the first. */
static unsigned send_by_ring(hr_loop *loop, hr__ring_send *sends, unsigned count) {
    if (loop->ring == NULL || count < RING_COUNT_MIN) {
        return 0;
    }
    unsigned done = hr__ring_send_all(loop->ring, sends, count);
    if (done < count) {
        hr__loop_close_ring(loop);
    }
    return done;
}

void hr_conn_write_many(hr_loop *loop, hr_send *sends, unsigned count, const struct iovec *parts,
                        int part_count) {
    const struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)parts,
                                   .msg_iovlen = (size_t)part_count};
    hr__ring_send ring_sends[HR_SEND_COUNT_MAX];
    HR_ASSERT(count <= HR_SEND_COUNT_MAX && part_count > 0);
    for (unsigned i = 0; i < count; i++) {
        const hr_conn *conn = sends[i].conn;
        HR_CHECK(conn, HR_CONN_MAGIC);
        HR_ASSERT(conn->waiting == NULL && !conn->is_gathered && conn->loop == loop);
        /* A closed one's fd is -1, which is an error like any other. */
        ring_sends[i] = (hr__ring_send){.fd = conn->fd,
                                        .bytes = parts->iov_base,
                                        .len = parts->iov_len,
                                        .message = part_count > 1 ? &message : NULL};
    }
    unsigned done = send_by_ring(loop, ring_sends, count);
    for (unsigned i = 0; i < count; i++) {
        hr_send *send = &sends[i];
        send->sent = 0;
        send->status = i < done ? judge_sent(send->conn, ring_sends[i].result, &send->sent)
                                : hr_conn_write_some(send->conn, parts, part_count, &send->sent);
    }
}

hr_status hr_conn_keep(hr_conn *conn, const char *bytes, size_t len) {
    HR_CHECK(conn, HR_CONN_MAGIC);
    if (!hr_conn_is_open(conn)) {
        return HR_ECLOSED;
    }
    if (conn->waiting == NULL) {
        conn->waiting = calloc(1, sizeof *conn->waiting);
        conn->progress_ms = hr_loop_now_ms(conn->loop);
    }
    if (conn->waiting == NULL || hr_buf_append(conn->waiting, bytes, len) != HR_OK) {
        hr_conn_close(conn, HR_CLOSE_LIMIT);
        return HR_ECLOSED;
    }
    update_poll(conn);
    return HR_OK;
}

static hr_status write_now(hr_conn *conn, const char *bytes, size_t len) {
    size_t sent = 0;
    if (conn->waiting == NULL) {
        struct iovec part = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = len};
        hr_status status = hr_conn_write_some(conn, &part, 1, &sent);
        if (status != HR_OK || sent == len) {
            return status;
        }
    }
    return hr_conn_keep(conn, bytes + sent, len - sent);
}

/* What of the cork is the output of the connection whose input is being handled. */
static size_t corked_len(const hr_loop *loop) { return loop->cork.len - loop->cork_from; }

hr_status hr_conn_write(hr_conn *conn, const char *bytes, size_t len) {
    HR_CHECK(conn, HR_CONN_MAGIC);
    if (!hr_conn_is_open(conn)) {
        return HR_ECLOSED;
    }
    if (len == 0) {
        return HR_OK;
    }
    hr_loop *loop = conn->loop;
    if (loop->corked == conn && len < HR_LOOP_READ_LEN) {
        if (corked_len(loop) >= HR_LOOP_READ_LEN) {
            hr_conn_uncork(conn);
        }
        if (hr_conn_is_open(conn) && hr_buf_append(&loop->cork, bytes, len) == HR_OK) {
            return HR_OK;
        }
    }
    hr_conn_uncork(conn);
    return hr_conn_is_open(conn) ? write_now(conn, bytes, len) : HR_ECLOSED;
}

void hr_conn_uncork(hr_conn *conn) {
    HR_CHECK(conn, HR_CONN_MAGIC);
    hr_loop *loop = conn->loop;
    if (conn->is_gathered) {
        hr__conn_flush(loop);
    }
    if (loop->corked == conn && corked_len(loop) > 0 && hr_conn_is_open(conn)) {
        size_t len = corked_len(loop);
        loop->cork.len = loop->cork_from;
        (void)write_now(conn, loop->cork.data + loop->cork_from, len);
    }
}

/* What is gathered is copied out first: a connection that ends by it may have more ended. */
void hr__conn_flush(hr_loop *loop) {
    hr__gathered gathered[HR_SEND_COUNT_MAX];
    hr__ring_send sends[HR_SEND_COUNT_MAX];
    unsigned count = loop->gathered_count;
    loop->gathered_count = 0;
    for (unsigned i = 0; i < count; i++) {
        gathered[i] = loop->gathered[i];
        gathered[i].conn->is_gathered = false;
        sends[i] = (hr__ring_send){.fd = gathered[i].conn->fd,
                                   .bytes = loop->cork.data + gathered[i].at,
                                   .len = gathered[i].len};
    }
    unsigned done = send_by_ring(loop, sends, count);
    for (unsigned i = 0; i < count; i++) {
        hr_conn *conn = gathered[i].conn;
        const char *bytes = loop->cork.data + gathered[i].at;
        size_t sent = 0;
        if (i >= done) {
            (void)write_now(conn, bytes, gathered[i].len);
        } else if (judge_sent(conn, sends[i].result, &sent) == HR_OK && sent < gathered[i].len) {
            (void)hr_conn_keep(conn, bytes + sent, gathered[i].len - sent);
        }
    }
    if (loop->corked == NULL) {
        loop->cork.len = 0;
        loop->cork_from = 0;
    }
}

/* Begins to gather conn's output. If the last that was gathered is its own, that goes on. */
static void begin_cork(hr_conn *conn) {
    hr_loop *loop = conn->loop;
    HR_ASSERT(loop->corked == NULL);
    if (conn->is_gathered && loop->gathered[loop->gathered_count - 1].conn != conn) {
        hr__conn_flush(loop); /* a socket must not be sent to twice at once */
    }
    loop->cork_from = loop->cork.len;
    if (conn->is_gathered) {
        loop->cork_from = loop->gathered[--loop->gathered_count].at;
        conn->is_gathered = false;
    }
    loop->corked = conn;
}

/* With a ring the output waits for that of others, to be sent with it when all input of this turn
 * has been handled. */
static void end_cork(hr_conn *conn) {
    hr_loop *loop = conn->loop;
    size_t len = corked_len(loop);
    bool is_gathered = loop->ring != NULL && len > 0 && len <= HR_LOOP_READ_LEN &&
                       hr_conn_is_open(conn) && conn->waiting == NULL;
    if (!is_gathered) {
        hr_conn_uncork(conn);
        loop->cork.len = loop->cork_from;
    } else {
        loop->gathered[loop->gathered_count++] = (hr__gathered){conn, loop->cork_from, len};
        conn->is_gathered = true;
    }
    loop->corked = NULL;
    if (loop->gathered_count == 0 || loop->gathered_count == HR_SEND_COUNT_MAX ||
        loop->cork.len >= HR_GATHER_LEN_MAX) {
        hr__conn_flush(loop);
    }
}

void hr_conn_pause(hr_conn *conn) {
    conn->paused = true;
    if (hr_conn_is_open(conn)) {
        update_poll(conn);
    }
}

void hr_conn_resume(hr_conn *conn) {
    conn->paused = false;
    if (hr_conn_is_open(conn)) {
        update_poll(conn);
    }
}

/* Our half is closed when nothing of our output is left with us. */
static void begin_linger(hr_conn *conn) {
    conn->lingering = true;
    if (shutdown(conn->fd, SHUT_WR) != 0 || conn->eof) {
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

static void flush_waiting(hr_conn *conn) {
    hr_buf *waiting = conn->waiting;
    if (waiting->len > 0) {
        struct iovec part = {.iov_base = waiting->data, .iov_len = waiting->len};
        ssize_t sent = send_parts(conn, &part, 1);
        if (sent < 0) {
            if (errno != EAGAIN && errno != EWOULDBLOCK) {
                hr_conn_close(conn, HR_CLOSE_RESET);
            }
            return;
        }
        if (sent > 0) {
            conn->progress_ms = hr_loop_now_ms(conn->loop);
        }
        hr_buf_consume(waiting, (size_t)sent);
        if (waiting->len > 0) {
            return;
        }
    }
    drop_waiting(conn);
    update_poll(conn);
    if (conn->finishing != HR_CLOSE_NONE) {
        begin_linger(conn);
        return;
    }
    conn->ops->on_drained(conn);
}

static void handle_input(hr_conn *conn, ssize_t got) {
    hr_loop *loop = conn->loop;
    if (conn->lingering) {
        return;
    }
    begin_cork(conn);
    conn->ops->on_read(conn, loop->read_buffer, (size_t)got);
    end_cork(conn);
}

static void read_input(hr_conn *conn) {
    unsigned count_max = conn->lingering ? HR_LINGER_READ_COUNT_MAX : HR_READ_COUNT_MAX;
    for (unsigned i = 0; i < count_max && hr_conn_is_open(conn) && !conn->paused; i++) {
        ssize_t got = recv(conn->fd, conn->loop->read_buffer, HR_LOOP_READ_LEN, 0);
        if (got > 0) {
            handle_input(conn, got);
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
            return;
        }
        conn->eof = true;
        update_poll(conn);
        if (conn->lingering) {
            hr_conn_close(conn, (hr_close_reason)conn->finishing);
        } else if (conn->finishing == HR_CLOSE_NONE) {
            conn->ops->on_eof(conn);
        }
        return;
    }
}

static void on_ready(uv_poll_t *handle, int status, int events) {
    hr_conn *conn;
    HR_CAST(hr_conn, conn, handle->data, HR_CONN_MAGIC);
    if (status != 0) {
        hr_conn_close(conn, HR_CLOSE_RESET);
        return;
    }
    if ((events & UV_WRITABLE) != 0 && conn->waiting != NULL) {
        flush_waiting(conn);
    }
    if (hr_conn_is_open(conn) && (events & UV_READABLE) != 0 && !conn->paused) {
        read_input(conn);
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
