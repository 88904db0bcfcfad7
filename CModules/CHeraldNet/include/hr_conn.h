/* hr_conn: one connection and what of its output has not been taken: a socket, a socket with TLS,
 * or a stream that something else carries (HTTP/2). Who reads and writes need not know which.
 *
 * Thread: LOOP. It stands inside its session (in place) and holds no buffers while idle: input
 * goes through
 *   the loop's read buffer, output through the caller's memory; only what would block is copied.
 * A connection ends once, with one hr_close_reason.
 * Not here: HTTP, readers. */
#ifndef HR_CONN_H
#define HR_CONN_H

#include "hr_loop.h"
#include "hr_tls.h"
#include <sys/types.h>
#include <sys/uio.h>
#include <uv.h>

typedef enum HR_CLOSED_ENUM hr_close_reason {
    HR_CLOSE_NONE,         /* it is open */
    HR_CLOSE_PEER,         /* the peer ended it in order */
    HR_CLOSE_RESET,        /* the peer or the network broke it */
    HR_CLOSE_DONE,         /* we ended it in order after an answer or a stream's end */
    HR_CLOSE_PROTOCOL,     /* the peer broke the protocol */
    HR_CLOSE_IDLE,         /* nothing to do for too long between requests */
    HR_CLOSE_TIMEOUT,      /* a request that did not arrive in time */
    HR_CLOSE_UNRESPONSIVE, /* no answer to pings */
    HR_CLOSE_SLOW,         /* did not take its output in time, or policy disconnect */
    HR_CLOSE_LIMIT,        /* a bound on connections or memory */
    HR_CLOSE_DRAIN,        /* the server is going */
    HR_CLOSE_HANDSHAKE,    /* TLS did not come about */
    HR_CLOSE_RIGHTS,       /* what gave it the right to be there has ended */
} hr_close_reason;
#define HR_CLOSE_REASON_COUNT 13

typedef struct hr_conn hr_conn;

typedef struct hr_conn_ops {
    /* TLS only: the handshake is over. After HR_TLS_PLAIN_TEXT the connection is one without TLS, to
     * tell the peer so; otherwise, unless it was completed, there is nothing left but to end it. */
    void (*on_handshake)(hr_conn *conn, hr_tls_outcome outcome);
    /* Input has come; bytes is borrowed and may be changed. */
    void (*on_read)(hr_conn *conn, char *bytes, size_t len);
    /* The peer will send no more. */
    void (*on_eof)(hr_conn *conn);
    /* All that was waiting has been taken by the kernel. */
    void (*on_drained)(hr_conn *conn);
    /* The connection has ended: forget it everywhere. Called once, before on_free. */
    void (*on_close)(hr_conn *conn, hr_close_reason reason);
    /* The loop is done with it: the memory may go. */
    void (*on_free)(hr_conn *conn);
} hr_conn_ops;

/* What carries a connection that has no socket of its own. */
typedef struct hr_carrier {
    /* Takes what it can of parts at once: bytes, maybe none, or a negative errno: it is broken.
     * After less than all hr_conn_has_room follows. */
    ssize_t (*write)(hr_conn *conn, const struct iovec *parts, int count);
    /* Whether input is wanted has changed (conn->paused). */
    void (*want)(hr_conn *conn);
    /* Our half is over; nothing waits. The connection may be closed by it. */
    void (*end)(hr_conn *conn);
    /* conn has been closed. */
    void (*close)(hr_conn *conn, hr_close_reason reason);
} hr_carrier;

typedef enum HR_CLOSED_ENUM hr_conn_kind {
    HR_CONN_SOCKET,
    HR_CONN_TLS,
    HR_CONN_STREAM,
} hr_conn_kind;

/* What a write needs comes first: a fan-out touches one or two cache lines of each connection. */
struct hr_conn {
    HR_MAGIC_FIELD;
    int fd;
    hr_buf *waiting; /* output that the kernel has not taken; NULL when none */
    hr_loop *loop;
    uint8_t reason;    /* hr_close_reason */
    uint8_t polled;    /* events asked of libuv */
    uint8_t finishing; /* hr_close_reason with which to end when the output is taken */
    bool lingering;    /* our half is closed; input is discarded until the peer's is */
    bool paused;       /* input is not read */
    bool eof;
    bool is_gathered; /* the loop has output of it that it will send at the turn's end */
    uint8_t kind;     /* hr_conn_kind */
    union {
        struct hr__tls *tls;
        const hr_carrier *carrier;
    };
    const hr_conn_ops *ops;
    uint64_t progress_ms; /* when something was last taken while output was waiting */
    union {
        uv_poll_t poll;
        hr_link gone; /* streams: in the loop's list of those to be freed */
    };
};

/* Takes fd (also on failure) and begins to read. */
HR_MUST_CHECK hr_status hr_conn_open(hr_conn *conn, hr_loop *loop, int fd, const hr_conn_ops *ops);
/* Makes a connection that has just been opened wait for a TLS handshake. Keeps tls. */
HR_MUST_CHECK hr_status hr_conn_start_tls(hr_conn *conn, hr_tls *tls);
/* A connection that carrier carries. */
void hr_conn_open_stream(hr_conn *conn, hr_loop *loop, const hr_carrier *carrier,
                         const hr_conn_ops *ops);
/* Carriers only: there may be room again for what waits. */
void hr_conn_has_room(hr_conn *conn);
/* Whether a TLS handshake is going on. */
bool hr_conn_is_shaking(const hr_conn *conn);
/* What was agreed on; nothing without TLS. */
hr_tls_version hr_conn_tls_version(const hr_conn *conn);
bool hr_conn_tls_resumed(const hr_conn *conn);
/* Whether ALPN chose HTTP/2. */
bool hr_conn_is_h2(const hr_conn *conn);
/* Whether it has not been closed. */
static inline bool hr_conn_is_open(const hr_conn *conn) { return conn->reason == HR_CLOSE_NONE; }
/* The peer's IP address as it stands in packets, asked of the kernel: *out gets 4 or 16 bytes, which is
 * returned. 0: a stream, or the peer has gone already. */
size_t hr_conn_peer(const hr_conn *conn, uint8_t out[16]);
/* Bytes that wait for the kernel. */
static inline size_t hr_conn_waiting_len(const hr_conn *conn) {
    return conn->waiting == NULL ? 0 : conn->waiting->len;
}

/* Writes bytes, or as much as the kernel takes, and keeps a copy of the rest. While a connection's
 * input is being handled (on_read), output is gathered; it is written once at the end, with
 * io_uring together with that of others. A broken connection is closed. HR_ENOMEM closes
 * it too. HR_ECLOSED: it is closed. */
hr_status hr_conn_write(hr_conn *conn, const char *bytes, size_t len);
/* Writes what is taken at once and keeps nothing of the rest. Precondition: nothing waits. On HR_OK
 * *sent says how much. With TLS something may wait afterwards even of what was sent: records that
 * were begun. A broken connection is closed: HR_ECLOSED. */
HR_MUST_CHECK hr_status hr_conn_write_some(hr_conn *conn, const struct iovec *parts, int count,
                                           size_t *sent);
/* What became of a write to conn: as hr_conn_write_some says. */
typedef struct hr_send {
    hr_conn *conn;
    hr_status status;
    size_t sent;
} hr_send;

#define HR_SEND_COUNT_MAX 64u

/* hr_conn_write_some of the same parts to each of count connections of loop, at most
 * HR_SEND_COUNT_MAX: by one system call if the loop has io_uring. Precondition:
 * nothing waits in any; none is there twice. */
void hr_conn_write_many(hr_loop *loop, hr_send *sends, unsigned count, const struct iovec *parts,
                        int part_count);
/* Keeps a copy of the rest of a frame after hr_conn_write_some took less (len may be 0: only wait
 * until the socket is writable; on_drained follows). */
hr_status hr_conn_keep(hr_conn *conn, const char *bytes, size_t len);
/* Writes what was gathered so far; needed before hr_conn_write_some inside on_read. */
void hr_conn_uncork(hr_conn *conn);

/* Stops and takes up reading. */
void hr_conn_pause(hr_conn *conn);
void hr_conn_resume(hr_conn *conn);

/* Ends it now. */
void hr_conn_close(hr_conn *conn, hr_close_reason reason);
/* Ends it when its output is taken: closes our half, then waits a moment for the peer's, so that
 * what we wrote last is not destroyed by a reset (RFC 9112 §9.6). The caller's timer bounds it. */
void hr_conn_finish(hr_conn *conn, hr_close_reason reason);

#endif
