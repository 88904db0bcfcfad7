/* The floor: what the kernel's share of a pub/sub server costs, and next to nothing else.
 *
 * It answers the same requests as Herald with the same bytes, but looks at no more of a request
 * than tells its kind and its end. There are no topics: every event goes to every reader. No
 * filters, no limits, no errors, and of a log only what a long-poll needs that comes too late.
 *
 * One thread. A wake-up reads each socket that is ready once, answers all requests of that read in
 * one send, and in the end sends what was published in the wake-up: to each reader in one send. */
#ifndef FLOOR_H
#define FLOOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* --- buffer.c: bytes that grow, zeroed memory is an empty one --- */

typedef struct buffer {
    char *bytes;
    size_t len;
    size_t cap;
} buffer;

__attribute__((noreturn)) void die(const char *what);
/* Makes room for len more bytes and shows where they go. */
char *buffer_room(buffer *buffer, size_t len);
void buffer_add(buffer *buffer, const void *bytes, size_t len);
void buffer_add_number(buffer *buffer, uint64_t number);
#define buffer_add_text(buffer, literal) buffer_add(buffer, literal, sizeof(literal) - 1)

/* --- clock.c: the time as text --- */

#define DATE_LEN 29u
#define STAMP_LEN 24u

extern char clock_date[DATE_LEN + 1];   /* Sat, 21 Nov 2026 15:19:09 GMT */
extern char clock_stamp[STAMP_LEN + 1]; /* 2026-11-21T15:19:09.543Z */

/* Reads it; once a wake-up is enough. */
void clock_read(void);

/* --- handshake.c --- */

#define ACCEPT_LEN 28u

/* Writes the Sec-WebSocket-Accept that belongs to a key (RFC 6455 section 4.2.2). */
void accept_of(const char *key, size_t key_len, char out[ACCEPT_LEN]);

/* --- requests.c: what is asked --- */

typedef enum ask { ASK_PUBLISH, ASK_POLL, ASK_WAIT, ASK_STREAM, ASK_SOCKET } ask;

#define POSITION_LATEST UINT64_MAX

typedef struct question {
    ask ask;
    size_t head_len;
    const char *topic; /* what follows on /v1/events/ */
    size_t topic_len;
    const char *payload;
    size_t payload_len;
    const char *key; /* of ASK_SOCKET */
    size_t key_len;
    uint64_t position; /* of ASK_WAIT, or POSITION_LATEST */
} question;

/* Takes one request off the front. Returns its length, or 0 if it is not whole. The question is
 * good until the next call. */
size_t question_take(const char *bytes, size_t len, question *question);

/* --- events.c: what was published --- */

#define EPOCH "0f100f10"
#define PAGE_COUNT_MAX 1000u

typedef struct events {
    uint64_t sequence; /* of the newest */
    bool is_kept;      /* somebody long-polls */
    bool is_framed;    /* somebody has a WebSocket */
    bool is_streamed;  /* somebody reads Server-Sent Events */
    buffer frames;     /* of this wake-up, for WebSockets */
    buffer blocks;     /* the same, for Server-Sent Events */
} events;

extern events events_all;

/* Makes an event, in the forms that somebody waits for. */
void events_publish(const question *question);
/* Adds the events behind a position, with commas between; returns how many. */
uint64_t events_add_since(buffer *out, uint64_t position);
void events_add_id(buffer *out, uint64_t sequence);

/* --- answers.c: what Herald would say --- */

void answer_receipt(buffer *out, const question *question, uint64_t receivers);
void answer_empty_page(buffer *out);
/* The events behind position; was_held tells whether the request has waited for them. */
void answer_page(buffer *out, uint64_t position, bool was_held);
void answer_stream(buffer *out);
void answer_socket(buffer *out, const question *question);

#endif
