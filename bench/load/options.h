/* The command line: a mode, and flags of which each mode knows some. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <stdint.h>
#include <sys/types.h>

#define WINDOW_MAX 32768u
#define PAYLOAD_MAX 65536u

/* The order is that of the names in options.c. */
typedef enum mode {
    MODE_FANOUT,
    MODE_PUBLISH,
    MODE_POLL,
    MODE_CHURN,
    MODE_IDLE,
    MODE_CATCHUP,
    MODE_STORM
} mode;
typedef enum transport { TRANSPORT_WS, TRANSPORT_SSE, TRANSPORT_LONGPOLL } transport;
typedef enum wait { WAIT_SPIN, WAIT_SLEEP } wait_kind;
typedef enum body { BODY_TEXT, BODY_JSON } body;
typedef enum dialect { DIALECT_HERALD, DIALECT_NCHAN, DIALECT_FLOOR } dialect;

typedef struct options {
    mode mode;
    uint32_t port;
    uint32_t tls_port; /* where the readers come by TLS; 0: at port, and plain */
    uint32_t pid;      /* the server, whose processor time is counted with that of its children */
    uint32_t transport;
    uint32_t dialect;
    uint32_t compresses; /* the readers ask for compression, and insist */
    uint32_t wait;       /* how the generator waits: see loop.h */
    uint32_t subscriber_count;
    uint32_t topic_count;
    uint32_t window;
    uint32_t publisher_count; /* connections that publish; 0 leaves it to the mode */
    uint32_t payload_len;
    uint32_t body;
    uint32_t connection_count;
    uint32_t pipeline;
    uint32_t event_count;
    uint32_t live_count;
    double rate_per_s; /* 0: by the window */
    double warm_up_s;
    double measured_s;
    double settle_s;
    /* May hold %u, the topic's number. */
    const char *subscribe_path;
    const char *publish_path;
    const char *poll_path;
} options;

/* Ends the program with status 2 and the usage if the command line is not understood. */
options options_parse(int count, char **arguments);

const char *mode_name(mode mode);
const char *transport_name(uint32_t transport);

#endif
