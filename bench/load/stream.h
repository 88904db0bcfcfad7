/* A subscriber's connection: opens it by WebSocket, Server-Sent Events or long-poll, and takes the
 * events out of what comes.
 *
 * A long-poll is asked again as soon as its answer has been read, from the position that the answer
 * told. Herald and the floor are asked once for their position before, so that no event is missed
 * from the moment in which the stream is open; Nchan has no such request. */
#ifndef STREAM_H
#define STREAM_H

#include "http.h"
#include "inbox.h"
#include "loop.h"
#include "options.h"
#include "unpack.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REQUEST_MAX 2048u

typedef struct stream stream;

typedef void stream_on_event_fn(void *context, stream *stream, uint64_t counter);

/* What streams that differ only in their topic have in common. */
typedef struct stream_kind {
    uint32_t transport;
    uint32_t dialect;
    uint32_t port;
    bool is_encrypted;
    const char *path;
    bool is_from_earliest;
    bool compresses;
    const payloads *payloads; /* what is in the events, to compare; only if it compresses */
    stream_on_event_fn *on_event;
    void *context;
    uint64_t received_bytes; /* over their sockets, all that came */
    uint64_t unpacked_count; /* events that came compressed */
    answer_head head;        /* of the answer that came last */
    char poll[REQUEST_MAX];
    size_t poll_len; /* of the long-poll that follows on that answer; 0 if it is not written */
    uint32_t poll_topic;
} stream_kind;

struct stream {
    source source; /* first: the loop knows no more of it */
    int fd;
    bool is_open; /* the server has agreed */
    bool is_past_gzip_head;
    uint32_t topic;
    uint32_t place; /* of the last compressed message: see unpack.h */
    stream_kind *kind;
    inbox inbox;
};

stream_kind stream_kind_of(const options *options, stream_on_event_fn *on_event, void *context);

/* Connects and asks, without waiting for the answer. */
void stream_begin(stream *stream, stream_kind *kind, uint32_t topic);

/* Reads once and hands on what is whole. False if nothing came. */
bool stream_read(stream *stream);

/* Begins, waits until the stream is open and puts it into the loop. */
void stream_open(stream *stream, stream_kind *kind, uint32_t topic, const loop *loop);

/* Prints the JSON members that say how it came, with a comma behind. */
void stream_print_transport(const stream *stream);

void stream_close(stream *stream);

/* Writes the request that opens a WebSocket or a stream of events; returns its length. */
size_t stream_request(const stream_kind *kind, uint32_t topic, char *out, size_t cap);

/* The status by which the server agrees to it. */
uint32_t stream_status(const stream_kind *kind);

#endif
