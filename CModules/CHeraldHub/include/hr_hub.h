/* hr_hub: the loops, their listeners and sessions, joined to one log.
 *
 * Thread: the owner's, unless marked ANY or LOOP.
 * What is C's: everything done once per delivery. What is the handler's (Swift's): everything
 *   done once per request. No C here knows permissions, routes or configuration files.
 * Life: new, listen, start, drain, stop, free. */
#ifndef HR_HUB_H
#define HR_HUB_H

#include "CHeraldLog.h"
#include "CHeraldNet.h"

typedef struct hr_hub hr_hub;
typedef struct hr_request hr_request;
typedef struct hr_lease hr_lease;

#define HR_HEADER_BLOCKS_MAX 65535u

typedef struct hr_hub_config {
    unsigned loop_count;           /* 1 to HR_LOOP_COUNT_MAX */
    uint32_t connection_count_max; /* over all loops; one more is answered 503 */
    uint32_t head_len_max;         /* request line and headers, bytes */
    uint64_t body_len_max;
    uint64_t message_len_max; /* of a WebSocket message from a client */
    uint32_t filters_per_reader_max;
    uint32_t request_timeout_ms; /* for a request's head to arrive, and then for its body */
    uint32_t idle_timeout_ms;    /* between requests of a connection */
    uint32_t write_timeout_ms;   /* a connection that takes nothing for so long is closed */
    uint32_t heartbeat_ms;       /* of streams, jittered by a fifth either way */
    uint32_t sse_retry_ms;       /* sent as retry: */
    uint32_t drain_timeout_ms;   /* over which a drain spreads the ends */
    bool uses_io_uring;          /* for the fan-out, where the kernel has it to give */
    uint32_t
        handshakes_per_turn; /* of TLS, of one loop, before others have their turn; at least 1 */
    uint32_t h2_streams_max; /* of one connection at a time */
    /* Frames of an HTTP/2 client that only make work (resets, pings, settings, priorities, empty
     * DATA); a tenth of them is allowed again each second. Beyond: GOAWAY ENHANCE_YOUR_CALM. */
    uint32_t h2_allowance;
    bool compresses; /* for clients that ask for it */
    /* Proxies whose word about their clients is taken, in the header that forwarded names. Copied. */
    const hr_address_range *trusted_proxies;
    size_t trusted_proxy_count;
    hr_forwarded_form forwarded;
    /* Over all loops, of one address (of IPv6 a /64): connections and streams; behind a trusted proxy
     * readers instead, streams and held polls, by the client's address. One more is answered 429. 0:
     * no bound. */
    uint32_t connections_per_address_max;
    /* Over all loops: streams and WebSockets that begin in a second; one more is HR_EBUSY. 0: no
     * bound. */
    uint32_t readers_per_second_max;
    uint32_t retry_after_s_max; /* Retry-After of 429 and 503: 1 to so many seconds, at random */
    hr_slice server_name;       /* for the Server header; copied */
    /* Header lines, each with its CRLF, that heads of answers are given by hr_request_set_headers;
     * the first until something else is said. Copied. */
    const hr_slice *header_blocks;
    size_t header_block_count; /* up to HR_HEADER_BLOCKS_MAX; 0: heads are given none */
    hr_slice fault_headers;    /* the same for problems that the core answers by itself; copied */
} hr_hub_config;

/* The one table of callbacks out of the core. Each is called on a loop's thread. */
typedef struct hr_hub_handler {
    /* A request has arrived whole: an HTTP request, or a WebSocket client's command. Takes
     * request, and ends it by exactly one of the
     * functions of hr_request.h that take it, now or later on the same thread. */
    void (*on_request)(hr_request *request, void *context);
    /* The readers that had these leases have gone; each lease is told of once. */
    void (*on_leases_gone)(void *const *lease_contexts, size_t count, void *context);
    /* The last connection of a drain has gone. */
    void (*on_drained)(void *context);
    void *context;
} hr_hub_handler;

/* The log is borrowed and must outlive the hub, which sets its wake function. Gives *out. */
HR_MUST_CHECK hr_status hr_hub_new(const hr_hub_config *config, const hr_hub_handler *handler,
                                   hr_log *log, hr_hub **out);
/* What a listener's clients begin with. */
typedef enum HR_CLOSED_ENUM hr_listener_kind {
    HR_LISTEN_PLAIN,
    HR_LISTEN_TLS, /* precondition: hr_hub_set_tls */
} hr_listener_kind;
#define HR_LISTENER_KIND_COUNT 2

/* Binds each loop's listener of that kind, of which there is one, to host (numeric) and port; port 0:
 * one that the system chooses, the same for all. */
HR_MUST_CHECK hr_status hr_hub_listen(hr_hub *hub, hr_listener_kind kind, const char *host,
                                      uint16_t port, uint16_t *bound_port);
/* What connections begin TLS with from now on; those that are there keep what they have. Keeps tls.
 * HR_ENOMEM: some loops may go on with what they had. ANY once started */
HR_MUST_CHECK hr_status hr_hub_set_tls(hr_hub *hub, hr_tls *tls);
/* Starts the loops and begins to accept. */
HR_MUST_CHECK hr_status hr_hub_start(hr_hub *hub);
/* Stops accepting and ends every session in order, spread over drain_timeout_ms; what is left then
 * is cut. on_drained follows. Once. ANY */
void hr_hub_drain(hr_hub *hub);
bool hr_hub_is_draining(const hr_hub *hub); /* ANY */
/* Ends what is left at once, stops the loops and waits for them. Not on a loop's thread. */
void hr_hub_stop(hr_hub *hub);
void hr_hub_free(hr_hub **hub); /* precondition: stopped or never started */

/* Whether every loop has an io_uring, once it has proved that it runs (hr_hub_probe_age_ms). ANY */
bool hr_hub_has_io_uring(const hr_hub *hub);
hr_log *hr_hub_log(hr_hub *hub); /* ANY */
/* Milliseconds since the loop that is furthest behind last read back an event that was published
 * to it, as a proof that it lives;
 * UINT64_MAX before the first. ANY */
uint64_t hr_hub_probe_age_ms(hr_hub *hub);

#endif
