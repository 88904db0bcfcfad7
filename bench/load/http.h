/* HTTP/1.1 as far as it is needed: a path with a topic's number in it, requests that are made from
 * a pattern, and answers taken off a connection one after the other. */
#ifndef HTTP_H
#define HTTP_H

#include "payload.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEAD_MAX 4096u
#define BODY_UNBOUNDED SIZE_MAX

/* Writes the path with the number in place of %u, and a NUL. */
void path_write(char *out, size_t cap, const char *path, uint32_t number);
bool path_is_numbered(const char *path);

/* A request of which only the topic's number and the body change. */
typedef struct request {
    char *before; /* up to the number */
    size_t before_len;
    char *behind;
    size_t behind_len;
    const payloads *payloads; /* NULL: no body */
    bool is_numbered;
} request;

void request_init_get(request *request, uint32_t port, const char *path);
void request_init_publish(request *request, uint32_t port, const char *path,
                          const payloads *payloads);
void request_free(request *request);
size_t request_len_max(const request *request);
/* Writes the request; returns its length. */
size_t request_write(const request *request, char *out, uint32_t number, uint64_t counter);

/* The head of the answer that came last. The next is most often the same to the byte, and is then
 * known without being parsed. Zeroed memory is a valid one. */
typedef struct answer_head {
    char text[HEAD_MAX + 1];
    size_t len;
    size_t body_len; /* or BODY_UNBOUNDED: no length is told, as of a stream */
    uint32_t status;
} answer_head;

typedef enum taken { TAKEN_NOTHING, TAKEN_SAME, TAKEN_OTHER } taken;

/* Looks at the head of the answer that the bytes begin with. Nothing if it is not whole; the body
 * need not be there. */
taken answer_head_take(answer_head *head, const char *bytes, size_t len);

/* The value of a header field, which ends in CR, or NULL. */
const char *answer_field(const answer_head *head, const char *name);

#endif
