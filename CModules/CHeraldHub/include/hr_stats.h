/* hr_stats: what a scrape reads.
 *
 * Each loop counts in memory of its own with plain (relaxed, unlocked) additions; hr_hub_stats_get
 * adds the loops up. Durations are nanoseconds, sizes bytes. */
#ifndef HR_STATS_H
#define HR_STATS_H

#include "hr_hub.h"

typedef enum HR_CLOSED_ENUM hr_poll_outcome {
    HR_POLL_DATA,
    HR_POLL_EMPTY,
    HR_POLL_NOT_MODIFIED,
    HR_POLL_TIMEOUT
} hr_poll_outcome;
#define HR_POLL_OUTCOME_COUNT 4
typedef enum HR_CLOSED_ENUM hr_resume_outcome {
    HR_RESUMED,
    HR_RESUME_GAP,
    HR_RESUME_RESET
} hr_resume_outcome;
#define HR_RESUME_OUTCOME_COUNT 3
typedef enum HR_CLOSED_ENUM hr_gap_reason {
    HR_GAP_EVICTED,
    HR_GAP_EPOCH,
    HR_GAP_CONFLATED
} hr_gap_reason;
#define HR_GAP_REASON_COUNT 3
typedef enum HR_CLOSED_ENUM hr_reader_state {
    HR_READER_LIVE,
    HR_READER_CATCHING_UP,
    HR_READER_STALLED
} hr_reader_state;
#define HR_READER_STATE_COUNT 3
typedef enum HR_CLOSED_ENUM hr_accept_failure {
    HR_ACCEPT_DESCRIPTORS,
    HR_ACCEPT_LIMIT,
    HR_ACCEPT_OTHER
} hr_accept_failure;
#define HR_ACCEPT_FAILURE_COUNT 3
#define HR_FAULT_COUNT 13 /* of hr_http_fault */
/* What a connection speaks. */
typedef enum HR_CLOSED_ENUM hr_protocol {
    HR_PROTOCOL_HTTP1,
    HR_PROTOCOL_H2,
    HR_PROTOCOL_HTTP1_TLS,
    HR_PROTOCOL_H2_TLS,
    HR_PROTOCOL_NONE, /* a handshake is going on; not counted */
} hr_protocol;
#define HR_PROTOCOL_COUNT 4

/* Upper bounds of the histograms' buckets in nanoseconds; one more bucket has none. */
#define HR_BUCKET_COUNT 16
extern const uint64_t hr_bucket_bounds_ns[HR_BUCKET_COUNT];
typedef struct hr_histogram {
    uint64_t buckets[HR_BUCKET_COUNT + 1]; /* not cumulative */
    uint64_t sum_ns;
} hr_histogram;

/* What is counted for each transport. Gauges are marked. */
typedef struct hr_transport_stats {
    uint64_t readers[HR_READER_STATE_COUNT]; /* gauge */
    uint64_t subscriptions;                  /* gauge: filters of readers */
    uint64_t readers_opened;
    uint64_t deliveries;
    uint64_t payload_bytes; /* the events' data */
    /* All else that was sent to deliver them, envelope, framing, heads; before compression. */
    uint64_t overhead_bytes;
    /* Deliveries to readers with compression: what they would have been without, and what they
     * were. */
    uint64_t compression_input_bytes;
    uint64_t compression_output_bytes;
    uint64_t stalls;
    uint64_t gaps[HR_GAP_REASON_COUNT];
    uint64_t missed_max; /* events covered by gaps, at most */
    uint64_t resumes[HR_RESUME_OUTCOME_COUNT];
    uint64_t polls[HR_POLL_OUTCOME_COUNT];
    uint64_t heartbeats;
    hr_histogram latency; /* publish to write */
} hr_transport_stats;

typedef struct hr_stats {
    uint64_t connections; /* gauge */
    uint64_t accepted;
    uint64_t accept_failures[HR_ACCEPT_FAILURE_COUNT];
    uint64_t closed[HR_CLOSE_REASON_COUNT];
    uint64_t protocols[HR_PROTOCOL_COUNT]; /* gauge: connections by what they speak */
    uint64_t handshakes[HR_TLS_VERSION_COUNT][HR_TLS_OUTCOME_COUNT];
    uint64_t handshakes_resumed[HR_TLS_VERSION_COUNT];
    uint64_t h2_streams; /* gauge */
    uint64_t h2_streams_opened;
    uint64_t h2_streams_refused;
    uint64_t h2_streams_reset; /* by the client */
    uint64_t h2_floods;        /* connections that were cut for frames that only make work */
    uint64_t held_requests;    /* gauge */
    uint64_t answers[5];       /* by the status code's first digit, 1xx first */
    uint64_t faults[HR_FAULT_COUNT];
    uint64_t request_timeouts;
    uint64_t address_refusals; /* connections, streams and readers beyond the bound of an address */
    uint64_t busy_refusals;    /* readers beyond the bound on those that begin in a second */
    uint64_t published_events;
    uint64_t published_bytes;
    uint64_t ws_messages_received;
    uint64_t ws_closes_sent[8]; /* 1000 1001 1002 1007 1008 1009 1011 1013 */
    uint64_t turns;
    uint64_t overruns; /* times a loop was passed by the live window */
    hr_histogram lag;  /* lateness of the timer tick */
    hr_transport_stats transports[HR_TRANSPORT_COUNT];
} hr_stats;

/* The sum over all loops. ANY */
void hr_hub_stats_get(hr_hub *hub, hr_stats *out);

#endif
