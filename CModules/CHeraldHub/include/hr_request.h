/* hr_request: one request of a client, until it is answered.
 *
 * Thread: LOOP: the loop on which on_request gave it. Functions that take a request end it;
 * afterwards it must
 *   not be touched. Its connection may have gone meanwhile: answering is then harmless.
 * Slices are borrowed until the request ends. */
#ifndef HR_REQUEST_H
#define HR_REQUEST_H

#include "hr_hub.h"

typedef enum HR_CLOSED_ENUM hr_request_kind {
    HR_REQUEST_HTTP,
    HR_REQUEST_COMMAND, /* a message of a WebSocket client */
} hr_request_kind;

hr_request_kind hr_request_kind_of(const hr_request *request);
/* The loop whose thread may touch it. */
hr_loop *hr_request_loop(const hr_request *request);

/* HTTP. ---------------------------------------------------------------------------------------- */
hr_http_method hr_request_method(const hr_request *request);
hr_slice hr_request_method_text(const hr_request *request);
/* The path with escapes undone, and the query as it came. An unusable target is refused before the
 * handler sees it. */
hr_slice hr_request_path(const hr_request *request);
hr_slice hr_request_query(const hr_request *request);
bool hr_request_header(const hr_request *request, hr_http_name name, hr_slice *value);
/* The first header of any name (any case), by looking at all. */
bool hr_request_find_header(const hr_request *request, hr_slice name, hr_slice *value);
hr_slice hr_request_body(const hr_request *request);
/* Whose request it is: the connection's peer, or what trusted proxies say of it. Of a command behind a
 * proxy it may be the address that is counted (hr_address_counted). :: when the connection has gone. */
hr_address hr_request_client(const hr_request *request);
/* The connection's peer. :: as above. */
hr_address hr_request_peer(const hr_request *request);
bool hr_request_wants_upgrade(
    const hr_request *request); /* Connection: upgrade, Upgrade: websocket */

/* Whether it came by TLS. */
bool hr_request_is_secure(const hr_request *request);
/* Has the head of its answer, whatever that will be, hold the hub's header block of that index. */
void hr_request_set_headers(hr_request *request, size_t index);

typedef struct hr_header {
    hr_slice name;
    hr_slice value;
} hr_header;

/* Answers with a whole body. Content-Length, Date, Server and Connection are added; HEAD gets no
 * body. 429 and 503 get a Retry-After if headers have none. Takes *request. */
void hr_request_answer(hr_request **request, unsigned status, const hr_header *headers,
                       size_t header_count, hr_slice body);
/* Answers receipts of publications (topics as appended) with status 201 and the published JSON
 * (docs/protocol.md); single: the object alone, else {"events":[…]}. For a command: a published
 * control message. Takes *request. */
void hr_request_answer_published(hr_request **request, const hr_publication *publications,
                                 const hr_receipt *receipts, size_t count, bool single);
/* Drops it: an HTTP request is answered 500. Takes *request. */
void hr_request_drop(hr_request **request);

/* Becoming a reader. --------------------------------------------------------------------------- */

typedef enum HR_CLOSED_ENUM hr_position {
    HR_POSITION_EARLIEST,
    HR_POSITION_LATEST,
    HR_POSITION_CURSOR
} hr_position;

typedef struct hr_subscription {
    hr_transport transport;
    const hr_slice *filters; /* checked; repeats are dropped; may be none for a WebSocket only */
    size_t filter_count;
    hr_position position;
    uint32_t epoch; /* of the cursor, when position is HR_POSITION_CURSOR */
    uint64_t sequence;
    bool raw;         /* format=raw: SSE and WebSocket only */
    uint32_t wait_ms; /* long-poll */
    uint32_t max;     /* polls: events in one answer */
    /* Kept on HR_OK, and told of when the reader has gone; NULL: none. Not for a short-poll. */
    hr_lease *lease;
} hr_subscription;

/* Turns request into a reader of subscription->transport: answers the head, replays, goes live; or
 * answers the poll. On HR_OK takes
 * *request. Otherwise request is as before and must still be answered: HR_EFUTURE (cursor beyond
 * the head), HR_ELIMIT (filters), HR_EINVAL (bad
 * WebSocket handshake: hr_request_handshake_fault says what), HR_EPEERS (readers of the client's
 * address), HR_EBUSY (readers that begin in a second), HR_ENOMEM. */
HR_MUST_CHECK hr_status hr_request_subscribe(hr_request **request,
                                             const hr_subscription *subscription);
/* What is wrong with request as a WebSocket handshake (RFC 6455 §4.2.1), static text; NULL when it
 * is good. *wrong_version: answer 426. */
const char *hr_request_handshake_fault(const hr_request *request, bool *wrong_version);
/* Turns request into a WebSocket that echoes messages, for conformance suites. As
 * hr_request_subscribe. */
HR_MUST_CHECK hr_status hr_request_echo(hr_request **request);

/* WebSocket commands. -------------------------------------------------------------------------- */
const hr_command *
hr_request_command(const hr_request *request); /* precondition: HR_REQUEST_COMMAND */
/* Adds filters to the connection's reader; answers with a subscribed control message. Only the
 * connection's first filters may come
 * with a position; HR_EINVAL otherwise. HR_ELIMIT, HR_EFUTURE as hr_request_subscribe. */
HR_MUST_CHECK hr_status hr_request_add_filters(hr_request **request,
                                               const hr_subscription *subscription);
/* Takes filters away; answers with unsubscribed. HR_ENOTFOUND: one of them is not subscribed;
 * nothing changed. */
HR_MUST_CHECK hr_status hr_request_remove_filters(hr_request **request, const hr_slice *filters,
                                                  size_t count);
void hr_request_pong(hr_request **request);
/* Answers {"control":NAME,"ref"?,MEMBERS}; members is JSON without line breaks and braces, not empty. */
void hr_request_say(hr_request **request, hr_slice name, hr_slice members);
/* Answers an error control message; the connection stays. Takes *request. */
void hr_request_refuse(hr_request **request, hr_slice type, hr_slice title, unsigned status,
                       hr_slice detail);

/* Publishing. ---------------------------------------------------------------------------------- */
/* hr_log_append on this hub's log, with the clock read here and what is published counted. ANY */
HR_MUST_CHECK hr_status hr_hub_publish(hr_hub *hub, const hr_publication *publications,
                                       size_t count, hr_receipt *receipts, size_t *failed_index);

#endif
