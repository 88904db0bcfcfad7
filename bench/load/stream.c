#define _GNU_SOURCE
#include "stream.h"

#include "base.h"
#include "counter.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define POSITION_MAX 256u

static void send_all(const stream *stream, const char *bytes, size_t len) {
    if (stream->inbox.tls != NULL) {
        tls_send(stream->inbox.tls, bytes, len);
    } else if (send(stream->fd, bytes, len, MSG_NOSIGNAL) != (ssize_t)len) {
        die("asking for a stream: %s", strerror(errno));
    }
}

/* --- WebSocket --- */

/* Answers a ping (RFC 6455 section 5.5.3), with a mask of zeros. */
static void send_pong(const stream *stream, const char *payload, size_t len) {
    char frame[6 + 125] = {(char)0x8a, (char)(0x80 | len)};
    memcpy(frame + 6, payload, len);
    if (stream->inbox.tls != NULL) {
        tls_send(stream->inbox.tls, frame, 6 + len);
    } else {
        (void)send(stream->fd, frame, 6 + len, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
}

static void on_message(stream *stream, const char *text, size_t len) {
    uint64_t counter = 0;
    /* What has no counter is the server's own. */
    if (counter_find(text, len, &counter) != NULL) {
        stream->kind->on_event(stream->kind->context, stream, counter);
    }
}

static void on_unpacked(stream *stream, const unpacked *message) {
    stream_kind *kind = stream->kind;
    for (uint32_t i = 0; i < message->event_count; i++) {
        kind->on_event(kind->context, stream, message->counters[i]);
    }
    kind->unpacked_count += message->event_count;
}

static void on_packed(stream *stream, const char *bytes, size_t len) {
    const unpacked *message = unpacked_known(&stream->place, bytes, len);
    if (message == NULL || message->packed_len != len) {
        message = unpack(&stream->place, bytes, len, stream->kind->payloads);
    }
    on_unpacked(stream, message);
}

/* Takes one frame off the front. Returns its length, or 0 if it is not whole. */
static size_t take_frame(stream *stream, const char *bytes, size_t len) {
    if (len < 2) {
        return 0;
    }
    const unsigned char *head = (const unsigned char *)bytes;
    size_t payload_len = head[1] & 0x7f;
    size_t head_len = payload_len < 126 ? 2 : payload_len == 126 ? 4 : 10;
    bool is_packed = stream->kind->compresses && (head[0] & 0xf8) == 0xc0;
    if (((head[0] & 0xf0) != 0x80 && !is_packed) || (head[1] & 0x80) != 0) {
        die("a frame that is masked, fragmented or extended");
    }
    if (len < head_len) {
        return 0;
    }
    if (head_len > 2) {
        payload_len = 0;
        for (size_t i = 2; i < head_len; i++) {
            payload_len = (payload_len << 8) | head[i];
        }
    }
    if (payload_len > MESSAGE_MAX - head_len) {
        die("a frame of %zu bytes", payload_len);
    }
    if (len < head_len + payload_len) {
        return 0;
    }
    unsigned opcode = head[0] & 0x0f;
    if (opcode == 0x8) {
        die("the server closed a WebSocket");
    } else if (opcode == 0x9 && payload_len <= 125) {
        send_pong(stream, bytes + head_len, payload_len);
    } else if (is_packed) {
        on_packed(stream, bytes + head_len, payload_len);
    } else if (opcode == 0x1 || opcode == 0x2) {
        on_message(stream, bytes + head_len, payload_len);
    }
    return head_len + payload_len;
}

/* --- Server-Sent Events --- */

/* Takes one block off the front: what ends in an empty line. */
static size_t take_block(stream *stream, const char *bytes, size_t len) {
    const char *end = bytes + len;
    const char *at = bytes;
    while ((at = memchr(at, '\n', (size_t)(end - at))) != NULL && ++at < end) {
        if (*at == '\n') {
            size_t block_len = (size_t)(at + 1 - bytes);
            on_message(stream, bytes, block_len);
            return block_len;
        }
    }
    return 0;
}

/* --- The same, compressed --- */

#define GZIP_HEAD_LEN 10u

/* Takes the head off the front, one that has nothing in it (RFC 1952 section 2.3). */
static size_t take_gzip_head(stream *stream, const char *bytes, size_t len) {
    if (len < GZIP_HEAD_LEN) {
        return 0;
    }
    if (memcmp(bytes, "\x1f\x8b\x08\0", 4) != 0) {
        die("a stream that is not gzip, or has names in its head");
    }
    stream->is_past_gzip_head = true;
    return GZIP_HEAD_LEN;
}

/* Takes off the front what lies before the mark of a flush, and the mark. */
static size_t take_packed_block(stream *stream, const char *bytes, size_t len) {
    if (!stream->is_past_gzip_head) {
        return take_gzip_head(stream, bytes, len);
    }
    const unpacked *message = unpacked_known(&stream->place, bytes, len);
    if (message == NULL || len < message->packed_len + FLUSH_MARK_LEN ||
        memcmp(bytes + message->packed_len, FLUSH_MARK, FLUSH_MARK_LEN) != 0) {
        const char *end = memmem(bytes, len, FLUSH_MARK, FLUSH_MARK_LEN);
        if (end == NULL) {
            return 0;
        }
        message = unpack(&stream->place, bytes, (size_t)(end - bytes), stream->kind->payloads);
    }
    on_unpacked(stream, message);
    return message->packed_len + FLUSH_MARK_LEN;
}

/* --- Long-poll --- */

/* Writes the request that follows on the position; of Herald a query, of Nchan header fields. */
static void write_poll(stream_kind *kind, uint32_t topic, const char *position, bool waits) {
    char path[REQUEST_MAX / 2];
    int len = 0;
    path_write(path, sizeof path, kind->path, topic);
    if (kind->dialect == DIALECT_NCHAN) {
        len =
            snprintf(kind->poll, sizeof kind->poll,
                     "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n%s\r\n", path, kind->port, position);
    } else {
        len = snprintf(kind->poll, sizeof kind->poll,
                       "GET %s%cafter=%s%s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n\r\n", path,
                       strchr(path, '?') == NULL ? '?' : '&', position,
                       waits ? "&wait=60&max=1000" : "", kind->port);
    }
    kind->poll_len = (size_t)len;
    kind->poll_topic = topic;
}

/* What the last answer's head says of the position, in the words of the next request. */
static void read_position(const stream_kind *kind, char *position, size_t cap) {
    if (kind->dialect != DIALECT_NCHAN) {
        const char *cursor = answer_field(&kind->head, "Herald-Cursor");
        if (cursor == NULL) {
            die("a long-poll's answer without Herald-Cursor");
        }
        snprintf(position, cap, "%.*s", (int)strcspn(cursor, "\r"), cursor);
        return;
    }
    const char *modified = answer_field(&kind->head, "Last-Modified");
    const char *etag = answer_field(&kind->head, "Etag");
    if (modified == NULL || etag == NULL) {
        die("a long-poll's answer without Last-Modified or Etag");
    }
    snprintf(position, cap, "If-Modified-Since: %.*s\r\nIf-None-Match: %.*s\r\n",
             (int)strcspn(modified, "\r"), modified, (int)strcspn(etag, "\r"), etag);
}

/* Takes one answer off the front and asks for the next. */
static size_t take_page(stream *stream, const char *bytes, size_t len) {
    stream_kind *kind = stream->kind;
    taken taken = answer_head_take(&kind->head, bytes, len);
    if (taken == TAKEN_NOTHING) {
        return 0;
    }
    if (taken == TAKEN_OTHER) {
        kind->poll_len = 0;
    }
    if ((kind->head.status != 200 && kind->head.status != 304) ||
        kind->head.body_len > MESSAGE_MAX - HEAD_MAX) {
        die("a long-poll was answered: %.*s", (int)strcspn(kind->head.text, "\r"), kind->head.text);
    }
    size_t page_len = kind->head.len + kind->head.body_len;
    if (len < page_len) {
        return 0;
    }
    const char *end = bytes + page_len;
    const char *at = bytes + kind->head.len;
    uint64_t counter = 0;
    while ((at = counter_find(at, (size_t)(end - at), &counter)) != NULL) {
        kind->on_event(kind->context, stream, counter);
    }
    /* The same answer has the same next request, which most readers of a topic then share. */
    if (kind->poll_len == 0 || kind->poll_topic != stream->topic) {
        char position[POSITION_MAX];
        read_position(kind, position, sizeof position);
        write_poll(kind, stream->topic, position, true);
    }
    send_all(stream, kind->poll, kind->poll_len);
    return page_len;
}

/* --- Any of them --- */

stream_kind stream_kind_of(const options *options, stream_on_event_fn *on_event, void *context) {
    bool is_encrypted = options->tls_port > 0;
    return (stream_kind){.transport = options->transport,
                         .dialect = options->dialect,
                         .port = is_encrypted ? options->tls_port : options->port,
                         .is_encrypted = is_encrypted,
                         .path = options->subscribe_path,
                         .compresses = options->compresses,
                         .payloads = options->compresses ? payloads_of(options) : NULL,
                         .on_event = on_event,
                         .context = context};
}

size_t stream_request(const stream_kind *kind, uint32_t topic, char *out, size_t cap) {
    char path[REQUEST_MAX / 2];
    path_write(path, sizeof path, kind->path, topic);
    const char *after = !kind->is_from_earliest     ? ""
                        : strchr(path, '?') == NULL ? "?after=earliest"
                                                    : "&after=earliest";
    const char *fields = kind->transport == TRANSPORT_SSE
                             ? "Accept: text/event-stream\r\n"
                             : "Connection: Upgrade\r\nUpgrade: websocket\r\n"
                               "Sec-WebSocket-Version: 13\r\n"
                               "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    const char *offer =
        kind->transport == TRANSPORT_SSE
            ? "Accept-Encoding: gzip\r\n"
            : "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
    int len = snprintf(out, cap, "GET %s%s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n%s%s\r\n", path, after,
                       kind->port, fields, kind->compresses ? offer : "");
    return (size_t)len;
}

uint32_t stream_status(const stream_kind *kind) {
    return kind->transport == TRANSPORT_WS ? 101 : 200;
}

static bool has_agreed_to(const answer_head *head, const char *name, const char *word) {
    const char *value = answer_field(head, name);
    return value != NULL && memmem(value, strcspn(value, "\r"), word, strlen(word)) != NULL;
}

/* That each message stands by itself is not asked here: one that does not cannot be unpacked. */
static void check_compression(const stream_kind *kind) {
    bool has_agreed =
        kind->transport == TRANSPORT_SSE
            ? has_agreed_to(&kind->head, "Content-Encoding", "gzip")
            : has_agreed_to(&kind->head, "Sec-WebSocket-Extensions", "permessage-deflate");
    if (!has_agreed) {
        die("the server did not agree to compress");
    }
}

static size_t take_opening(stream *stream, const char *bytes, size_t len) {
    answer_head *head = &stream->kind->head;
    if (answer_head_take(head, bytes, len) == TAKEN_NOTHING) {
        return 0;
    }
    if (head->status != stream_status(stream->kind)) {
        die("subscribing was answered: %.*s", (int)strcspn(head->text, "\r"), head->text);
    }
    if (stream->kind->compresses) {
        check_compression(stream->kind);
    }
    stream->is_open = true;
    return head->len;
}

static size_t take(stream *stream, const char *bytes, size_t len) {
    if (stream->kind->transport == TRANSPORT_LONGPOLL) {
        size_t page_len = take_page(stream, bytes, len);
        stream->is_open = stream->is_open || page_len > 0;
        return page_len;
    }
    if (!stream->is_open) {
        return take_opening(stream, bytes, len);
    }
    if (stream->kind->transport == TRANSPORT_WS) {
        return take_frame(stream, bytes, len);
    }
    return stream->kind->compresses ? take_packed_block(stream, bytes, len)
                                    : take_block(stream, bytes, len);
}

bool stream_read(stream *stream) {
    char *bytes = NULL;
    size_t len = 0;
    if (!inbox_read(&stream->inbox, stream->fd, "subscriber", &bytes, &len)) {
        return false;
    }
    stream->kind->received_bytes += stream->inbox.got_len;
    size_t done = 0;
    size_t taken;
    do {
        taken = take(stream, bytes + done, len - done);
        done += taken;
    } while (taken > 0);
    inbox_keep(&stream->inbox, bytes + done, len - done);
    return true;
}

static void on_ready(source *source, uint32_t events) {
    stream *stream = (struct stream *)source;
    while (stream_read(stream) && inbox_has_more(&stream->inbox, events)) {
    }
}

void stream_begin(stream *stream, stream_kind *kind, uint32_t topic) {
    *stream = (struct stream){.source = {.on_ready = on_ready},
                              .fd = connect_to((uint16_t)kind->port, 0),
                              .topic = topic,
                              .kind = kind};
    if (kind->is_encrypted) {
        stream->inbox.tls = tls_open(stream->fd);
    }
    if (kind->transport != TRANSPORT_LONGPOLL) {
        char text[REQUEST_MAX];
        send_all(stream, text, stream_request(kind, topic, text, sizeof text));
        return;
    }
    bool knows_position = kind->dialect != DIALECT_NCHAN;
    stream->is_open = !knows_position;
    write_poll(kind, topic, knows_position ? "latest" : "", !knows_position);
    send_all(stream, kind->poll, kind->poll_len);
    kind->poll_len = 0;
}

void stream_open(stream *stream, stream_kind *kind, uint32_t topic, const loop *loop) {
    stream_begin(stream, kind, topic);
    while (!stream->is_open) {
        if (!stream_read(stream)) {
            die("subscribing: no answer");
        }
    }
    loop_watch(loop, stream->fd, EDGES, &stream->source);
}

void stream_print_transport(const stream *stream) {
    printf("\"transport\":\"%s\",", transport_name(stream->kind->transport));
    if (stream->inbox.tls != NULL) {
        printf("\"tls\":\"%s\",", tls_agreed(stream->inbox.tls));
    }
}

void stream_close(stream *stream) {
    close(stream->fd);
    inbox_free(&stream->inbox);
}
