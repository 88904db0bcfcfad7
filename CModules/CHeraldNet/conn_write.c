/* A connection's output: at once what is taken at once, a copy of the rest. */
#include "conn_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* Below this a system call each is as good. */
#define RING_COUNT_MIN 4u
/* So much is sealed before it is seen whether the kernel takes it: what it does not is kept. */
#define SEAL_LEN_MAX 65536u
/* What a loop's wire keeps of its memory. */
#define WIRE_KEPT_MAX (512u << 10)

static ssize_t send_parts(const hr_conn *conn, const struct iovec *parts, int count) {
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
    return sent >= 0 ? sent : -errno;
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

/* What waits. ---------------------------------------------------------------------------------- */

void hr__conn_drop_waiting(hr_conn *conn) {
    if (conn->waiting != NULL) {
        hr_buf_fini(conn->waiting);
        free(conn->waiting);
        conn->waiting = NULL;
    }
}

/* Keeps bytes as they are to be sent. */
static hr_status keep(hr_conn *conn, const char *bytes, size_t len) {
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
    hr__conn_update(conn);
    return HR_OK;
}

bool hr__conn_send_waiting(hr_conn *conn) {
    hr_buf *waiting = conn->waiting;
    if (waiting->len == 0) {
        return true;
    }
    struct iovec part = {.iov_base = waiting->data, .iov_len = waiting->len};
    size_t sent = 0;
    ssize_t taken = conn->kind == HR_CONN_STREAM ? conn->carrier->write(conn, &part, 1)
                                                 : send_parts(conn, &part, 1);
    if (judge_sent(conn, taken, &sent) != HR_OK || !hr_conn_is_open(conn)) {
        return false;
    }
    if (sent > 0) {
        conn->progress_ms = hr_loop_now_ms(conn->loop);
    }
    hr_buf_consume(waiting, sent);
    return waiting->len == 0;
}

/* TLS. ----------------------------------------------------------------------------------------- */

/* Takes away what stands in the wire from there on. */
static void cut_wire(hr_loop *loop, size_t from) {
    loop->wire.out.len = from;
    if (from == 0 && loop->wire.out.cap > WIRE_KEPT_MAX) {
        hr_buf_fini(&loop->wire.out);
    }
}

hr_status hr__conn_send_sealed(hr_conn *conn, size_t from) {
    const hr_buf *out = &conn->loop->wire.out;
    size_t len = out->len - from;
    size_t sent = 0;
    hr_status status = HR_OK;
    if (len > 0 && conn->waiting == NULL) {
        struct iovec part = {.iov_base = out->data + from, .iov_len = len};
        status = judge_sent(conn, send_parts(conn, &part, 1), &sent);
    }
    if (status == HR_OK && sent < len) {
        status = keep(conn, out->data + from + sent, len - sent);
    }
    cut_wire(conn->loop, from);
    return status;
}

/* Seals of parts what begins at byte at, SEAL_LEN_MAX of it at most; *taken: how much. Closes a
 * connection that is of no more use. */
static hr_status seal_some(hr_conn *conn, const struct iovec *parts, int count, size_t at,
                           size_t *taken) {
    size_t left = SEAL_LEN_MAX;
    *taken = 0;
    for (int i = 0; i < count && left > 0; i++) {
        size_t len = parts[i].iov_len;
        if (at >= len) {
            at -= len;
            continue;
        }
        len = len - at < left ? len - at : left;
        if (hr__tls_seal(conn->tls, &conn->loop->wire, (const char *)parts[i].iov_base + at, len) !=
            HR_OK) {
            hr_conn_close(conn, HR_CLOSE_RESET);
            return HR_ECLOSED;
        }
        *taken += len;
        left -= len;
        at = 0;
    }
    return HR_OK;
}

/* From byte *sent of parts on, as long as the kernel takes all. */
static hr_status write_sealed(hr_conn *conn, const struct iovec *parts, int count, size_t *sent) {
    size_t from = conn->loop->wire.out.len;
    size_t taken = 0;
    do {
        hr_status status = seal_some(conn, parts, count, *sent, &taken);
        if (status == HR_OK) {
            status = hr__conn_send_sealed(conn, from);
        }
        if (status != HR_OK) {
            cut_wire(conn->loop, from);
            return status;
        }
        *sent += taken;
    } while (taken == SEAL_LEN_MAX && conn->waiting == NULL);
    return HR_OK;
}

/* Writing. ------------------------------------------------------------------------------------- */

hr_status hr_conn_write_some(hr_conn *conn, const struct iovec *parts, int count, size_t *sent) {
    HR_CHECK(conn, HR_CONN_MAGIC);
    HR_ASSERT(conn->waiting == NULL && count > 0);
    *sent = 0;
    if (!hr_conn_is_open(conn)) {
        return HR_ECLOSED;
    }
    switch ((hr_conn_kind)conn->kind) {
    case HR_CONN_TLS: return write_sealed(conn, parts, count, sent);
    case HR_CONN_STREAM: return judge_sent(conn, conn->carrier->write(conn, parts, count), sent);
    case HR_CONN_SOCKET: break;
    }
    return judge_sent(conn, send_parts(conn, parts, count), sent);
}

hr_status hr_conn_keep(hr_conn *conn, const char *bytes, size_t len) {
    HR_CHECK(conn, HR_CONN_MAGIC);
    if (!hr_conn_is_open(conn)) {
        return HR_ECLOSED;
    }
    if (conn->kind != HR_CONN_TLS || len == 0) {
        return keep(conn, bytes, len);
    }
    hr__wire *wire = &conn->loop->wire;
    size_t from = wire->out.len;
    if (hr__tls_seal(conn->tls, wire, bytes, len) != HR_OK) {
        hr_conn_close(conn, HR_CLOSE_RESET);
        cut_wire(conn->loop, from);
        return HR_ECLOSED;
    }
    hr_status status = keep(conn, wire->out.data + from, wire->out.len - from);
    cut_wire(conn->loop, from);
    return status;
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

/* Writing to many. ----------------------------------------------------------------------------- */

/* Sends to be made together. */
typedef struct batch {
    hr_loop *loop;
    size_t wire_from; /* where in the wire what is sealed for it begins */
    unsigned count;
    hr__ring_send sends[HR_SEND_COUNT_MAX];
    hr_conn *conns[HR_SEND_COUNT_MAX];
    size_t from[HR_SEND_COUNT_MAX]; /* TLS: where in the wire its bytes begin */
} batch;

/* The wire may move until all is sealed: only then is it known where bytes are. */
static void add_sealed(batch *batch, hr_conn *conn, size_t from) {
    batch->from[batch->count] = from;
    batch->conns[batch->count] = conn;
    batch->sends[batch->count++] =
        (hr__ring_send){.fd = conn->fd, .len = batch->loop->wire.out.len - from};
}

static void add_plain(batch *batch, hr_conn *conn, hr__ring_send send) {
    batch->conns[batch->count] = conn;
    batch->sends[batch->count++] = send;
}

static ssize_t send_one(const hr__ring_send *send) {
    const hr_conn conn = {.fd = send->fd};
    struct iovec part = {.iov_base = (void *)(uintptr_t)send->bytes, .iov_len = send->len};
    return send->message == NULL
               ? send_parts(&conn, &part, 1)
               : send_parts(&conn, send->message->msg_iov, (int)send->message->msg_iovlen);
}

/* Makes the sends: by the ring, and by themselves what it cannot make. */
static void send_batch(batch *batch) {
    hr_loop *loop = batch->loop;
    for (unsigned i = 0; i < batch->count; i++) {
        if (batch->conns[i]->kind == HR_CONN_TLS) {
            batch->sends[i].bytes = loop->wire.out.data + batch->from[i];
        }
    }
    unsigned done = 0;
    if (loop->ring != NULL && batch->count >= RING_COUNT_MIN) {
        done = hr__ring_send_all(loop->ring, batch->sends, batch->count);
        if (done < batch->count) {
            hr__loop_close_ring(loop);
        }
    }
    for (unsigned i = done; i < batch->count; i++) {
        batch->sends[i].result = (int)send_one(&batch->sends[i]);
    }
}

/* What became of send i of those made; of sealed bytes the rest is kept. *sent: of the bytes as they
 * were sent. */
static hr_status settle(batch *batch, unsigned i, size_t *sent) {
    hr_conn *conn = batch->conns[i];
    const hr__ring_send *send = &batch->sends[i];
    *sent = 0;
    hr_status status = judge_sent(conn, send->result, sent);
    if (status == HR_OK && conn->kind == HR_CONN_TLS && *sent < send->len) {
        const char *sealed = batch->loop->wire.out.data + batch->from[i];
        status = keep(conn, sealed + *sent, send->len - *sent);
    }
    return status;
}

/* Settles the same parts for all; what was sealed says in sends how much of them it was. */
static void settle_many(batch *batch, hr_send *const *sends, const struct iovec *parts, int count,
                        size_t total) {
    for (unsigned i = 0; i < batch->count; i++) {
        hr_send *send = sends[i];
        size_t sent = 0;
        send->status = settle(batch, i, &sent);
        if (send->conn->kind != HR_CONN_TLS) {
            send->sent = sent;
        }
    }
    cut_wire(batch->loop, batch->wire_from);
    for (unsigned i = 0; i < batch->count; i++) {
        hr_send *send = sends[i];
        if (send->status == HR_OK && send->conn->kind == HR_CONN_TLS && send->sent < total &&
            send->conn->waiting == NULL) {
            send->status = write_sealed(send->conn, parts, count, &send->sent);
        }
    }
}

/* Makes the first of count sends, as many as are sealed without the wire growing beyond bounds;
 * returns how many. */
static unsigned write_first(hr_loop *loop, hr_send *sends, unsigned count,
                            const struct msghdr *message, size_t total) {
    const struct iovec *parts = message->msg_iov;
    int part_count = (int)message->msg_iovlen;
    batch batch = {.loop = loop, .wire_from = loop->wire.out.len};
    hr_send *settled[HR_SEND_COUNT_MAX];
    unsigned done = 0;
    for (; done < count && loop->wire.out.len - batch.wire_from < HR_GATHER_LEN_MAX; done++) {
        hr_send *send = &sends[done];
        hr_conn *conn = send->conn;
        size_t from = loop->wire.out.len;
        HR_CHECK(conn, HR_CONN_MAGIC);
        HR_ASSERT(conn->waiting == NULL && !conn->is_gathered && conn->loop == loop);
        send->sent = 0;
        if (conn->kind == HR_CONN_STREAM || !hr_conn_is_open(conn)) {
            send->status = hr_conn_write_some(conn, parts, part_count, &send->sent);
            continue;
        }
        settled[batch.count] = send;
        if (conn->kind == HR_CONN_SOCKET) {
            add_plain(&batch, conn,
                      (hr__ring_send){.fd = conn->fd,
                                      .bytes = parts->iov_base,
                                      .len = parts->iov_len,
                                      .message = part_count > 1 ? message : NULL});
            continue;
        }
        send->status = seal_some(conn, parts, part_count, 0, &send->sent);
        if (send->status == HR_OK) {
            add_sealed(&batch, conn, from);
        }
    }
    send_batch(&batch);
    settle_many(&batch, settled, parts, part_count, total);
    return done;
}

void hr_conn_write_many(hr_loop *loop, hr_send *sends, unsigned count, const struct iovec *parts,
                        int part_count) {
    const struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)parts,
                                   .msg_iovlen = (size_t)part_count};
    HR_ASSERT(count <= HR_SEND_COUNT_MAX && part_count > 0);
    size_t total = 0;
    for (int i = 0; i < part_count; i++) {
        total += parts[i].iov_len;
    }
    for (unsigned done = 0; done < count;) {
        done += write_first(loop, sends + done, count - done, &message, total);
    }
}

/* What is gathered is copied out first: a connection that ends by it may have more ended. */
void hr__conn_flush(hr_loop *loop) {
    hr__gathered gathered[HR_SEND_COUNT_MAX];
    batch batch = {.loop = loop, .wire_from = loop->wire.out.len};
    unsigned count = loop->gathered_count;
    loop->gathered_count = 0;
    for (unsigned i = 0; i < count; i++) {
        gathered[i] = loop->gathered[i];
        gathered[i].conn->is_gathered = false;
    }
    for (unsigned i = 0; i < count; i++) {
        hr_conn *conn = gathered[i].conn;
        const char *bytes = loop->cork.data + gathered[i].at;
        size_t from = loop->wire.out.len;
        if (conn->kind == HR_CONN_SOCKET) {
            add_plain(&batch, conn,
                      (hr__ring_send){.fd = conn->fd, .bytes = bytes, .len = gathered[i].len});
        } else if (hr__tls_seal(conn->tls, &loop->wire, bytes, gathered[i].len) == HR_OK) {
            add_sealed(&batch, conn, from);
        } else {
            hr_conn_close(conn, HR_CLOSE_RESET);
        }
    }
    send_batch(&batch);
    for (unsigned i = 0; i < batch.count; i++) {
        const hr__ring_send *send = &batch.sends[i];
        size_t sent = 0;
        if (settle(&batch, i, &sent) == HR_OK && batch.conns[i]->kind == HR_CONN_SOCKET &&
            sent < send->len) {
            (void)keep(batch.conns[i], send->bytes + sent, send->len - sent);
        }
    }
    cut_wire(loop, batch.wire_from);
    if (loop->corked == NULL) {
        loop->cork.len = 0;
        loop->cork_from = 0;
    }
}

/* Gathering. ----------------------------------------------------------------------------------- */

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

/* Begins to gather conn's output. If the last that was gathered is its own, that goes on. */
void hr__conn_begin_cork(hr_conn *conn) {
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
void hr__conn_end_cork(hr_conn *conn) {
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
