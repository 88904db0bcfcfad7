/* A connection for short requests: they are pipelined, answers are counted and checked. */
#ifndef CLIENT_H
#define CLIENT_H

#include "http.h"
#include "inbox.h"
#include "loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct client client;

/* Called after each read with the number of answers in it. */
typedef void client_on_answers_fn(client *client, uint32_t count);

/* What connections that ask for the same have in common. */
typedef struct client_kind {
    const loop *loop;
    uint32_t port;
    bool may_be_unchanged;            /* 304 is as good an answer as 2xx */
    client_on_answers_fn *on_answers; /* may be NULL */
    void *context;
    uint64_t answer_bytes;
    answer_head head;
} client_kind;

struct client {
    source source; /* first: the loop knows no more of it */
    int fd;
    bool is_blocked; /* the socket takes no more for now */
    client_kind *kind;
    inbox inbox;
    char *out;
    size_t out_len;
    size_t out_done;
    size_t out_cap;
    uint64_t asked;
    uint64_t answered;
};

/* Opens a connection that holds up to out_cap bytes of requests that wait to be sent. */
void client_open(client *client, client_kind *kind, size_t out_cap);

/* Whether len more bytes can wait to be sent. */
bool client_has_room(const client *client, size_t len);

/* Puts a request behind those that wait. Precondition: room for its longest form. */
void client_ask(client *client, const request *request, uint32_t number, uint64_t counter);

/* Sends what waits, as far as the socket takes it. */
void client_flush(client *client);

void client_close(client *client);

#endif
