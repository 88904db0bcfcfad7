/* h2: what h2.c (a connection of HTTP/2, over nghttp2) and h2_stream.c (its streams) share.
 *
 * A stream is a session like any other, whose connection is carried here: what it receives is
 * brought into the form of HTTP/1.1, what it sends is brought out of it. So there is one judge of
 * requests, one way to answer and one kind of reader. Thread: LOOP.
 * nghttp2 may not be entered from its own callbacks: what they bring is put aside (ready) and
 * handled when nghttp2 has returned. */
#ifndef HR_H2_H
#define HR_H2_H

#include "hub_private.h"

#include <nghttp2/nghttp2.h>

#define HR_H2_MAGIC 0x4B0B0006u
/* What is gathered for the socket before it is written, and so what a connection's streams may have
 * pending in it beyond the kernel's. */
#define HR_H2_OUT_MAX 65536u

/* Pieces of a request's head as they come. */
typedef enum hr__h2_pseudo {
    HR__H2_METHOD,
    HR__H2_PATH,
    HR__H2_AUTHORITY,
    HR__H2_PROTOCOL,
    HR__H2_PSEUDO_COUNT,
} hr__h2_pseudo;

typedef struct hr__h2_head {
    hr_buf pseudo[HR__H2_PSEUDO_COUNT];
    hr_buf lines;  /* name: value CRLF */
    hr_buf cookie; /* the pieces of it, joined */
    size_t len;    /* of all names and values */
    bool has_length;
    bool has_authority;
} hr__h2_head;

struct hr__h2 {
    HR_MAGIC_FIELD;
    hr_session *parent;
    nghttp2_session *frames;
    hr_buf out;      /* frames for the socket */
    hr_link dirty;   /* in home->h2_dirty: out, or nghttp2, holds something */
    hr_link streams; /* all of them */
    hr_link ready;   /* streams with input or an end to be handled */
    hr_link blocked; /* streams that wait for room */
    uint32_t stream_count;
    bool has_new_room; /* for any stream */
    bool is_inside;    /* nghttp2 is at work: it must not be entered */
    bool is_ending;    /* no new streams */
    bool is_flooded;
    uint8_t end_reason; /* hr_close_reason with which it ends when all is said */
    hr__h2_head *head;  /* while one arrives */
    double allowance;   /* frames that only make work, which the client may still send */
    uint64_t allowed_ns;
};

typedef struct hr__h2_stream {
    hr_session session; /* first: the session's memory is the stream's */
    hr__h2 *h2;         /* NULL once the stream has gone */
    int32_t id;
    hr_link link;    /* in h2->streams, then in home->h2_orphans */
    hr_link ready;   /* in h2->ready */
    hr_link blocked; /* in h2->blocked */
    hr_buf input;    /* what came, in HTTP/1.1's form */
    size_t held;     /* bytes of its window that are not given back while it does not read */
    bool is_chunked; /* the body's length is not known */
    bool is_tunnel;  /* RFC 8441: what comes is handed over as it is */
    bool end_came;   /* the client's half is over, which is still to be told */
    bool head_sent;
    bool is_ending; /* our half ends with what is taken */
    bool end_sent;
    uint8_t orphan_reason; /* hr_close_reason */
    uint64_t body_left;    /* of our answer; UINT64_MAX: not known */
    /* What is being taken: valid inside write. */
    const struct iovec *parts;
    size_t at;     /* in parts */
    size_t taking; /* how far nghttp2 may go now */
} hr__h2_stream;

static inline hr__h2_stream *hr__h2_stream_of(hr_conn *conn) {
    return HR_CONTAINER_OF(HR_CONTAINER_OF(conn, hr_session, conn), hr__h2_stream, session);
}

/* h2.c */
/* Has nghttp2 write what it has to h2->out. */
void hr__h2_pump(hr__h2 *h2);
/* Sees to it that the connection is flushed in this turn. */
void hr__h2_soon(hr__h2 *h2);
/* Writes h2->out to the socket. */
void hr__h2_write_out(hr__h2 *h2);
/* How many bytes of DATA may be pending now. */
size_t hr__h2_room(const hr__h2 *h2);

/* h2_stream.c */
/* NULL: refused. */
hr__h2_stream *hr__h2_stream_open(hr__h2 *h2, int32_t id);
/* The head is whole: brings it into the form of HTTP/1.1. ends: no body follows. */
void hr__h2_stream_head(hr__h2_stream *stream, hr__h2_head *head, bool ends);
void hr__h2_stream_data(hr__h2_stream *stream, const char *bytes, size_t len);
void hr__h2_stream_end(hr__h2_stream *stream);
/* Hands over what was put aside. */
void hr__h2_stream_handle(hr__h2_stream *stream);
/* nghttp2 has done with it. */
void hr__h2_stream_gone(hr__h2_stream *stream, uint32_t code);
/* Nothing carries it any more: its session ends with reason, in this turn but not now. A write to
 * one stream can be what ends all of a connection, and whoever writes (a fan-out, a request that is
 * being answered) must not lose other sessions than the one it writes to. */
void hr__h2_stream_orphan(hr__h2_stream *stream, hr_close_reason reason);
void hr__h2_close_orphans(hr_home *home);
/* nghttp2_data_source_read_callback, and the bytes that it promised. */
ssize_t hr__h2_stream_read(nghttp2_session *frames, int32_t id, uint8_t *bytes, size_t len,
                           uint32_t *flags, nghttp2_data_source *source, void *context);
/* Tells up to *count parts where the next len bytes of stream lie, which are then taken. */
void hr__h2_stream_take(hr__h2_stream *stream, size_t len, struct iovec *parts, int *count);

#endif
