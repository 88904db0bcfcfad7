/* What the files of this module share: hub, home (a loop's part of the hub), cohort, reader,
 * session. */
#ifndef HR_HUB_PRIVATE_H
#define HR_HUB_PRIVATE_H

#include "CHeraldHub.h"

#define HR_HUB_MAGIC 0x4B0B0001u
#define HR_HOME_MAGIC 0x4B0B0002u
#define HR_COHORT_MAGIC 0x4B0B0003u
#define HR_SESSION_MAGIC 0x4B0B0004u
#define HR_REQUEST_MAGIC 0x4B0B0005u
#define HR_LEASE_MAGIC 0x4B0B0006u

#define HR_BATCH_MAX 256     /* events read from the log at a time */
#define HR_LIVE_ROUND_MAX 16 /* batches a turn: input must not wait for an endless publisher */
#define HR_CATCH_UP_MAX 32   /* steps of readers that catch up in a turn */
/* A turn's catching up ends after the step in which so much time has passed: publishers and live
 * readers of the loop wait for it. */
#define HR_CATCH_UP_NS 100000u
#define HR_CATCH_UP_BYTES 65536u
/* The same where each event must be compressed, which takes ten times as long. */
#define HR_CATCH_UP_COMPRESSED_BYTES 8192u
#define HR_POLL_BYTES_MAX 1048576u /* of events in one poll answer, but for the first event */
#define HR_POLL_COUNT_MAX 1000u    /* events in one poll answer */
#define HR_COALESCE_LEN_MAX 4096u  /* frames up to this are gathered into one part */
#define HR_BACKLOG_MAX 262144u /* answers that wait before further requests of the connection do */
#define HR_LINGER_MS 2000u
#define HR_COHORT_LINGER_TICKS 100u /* how long an empty cohort is kept for the next poll */
#define HR_COHORT_LINGER_MAX 4096u
#define HR_COMMANDS_OPEN_MAX 32u
#define HR_SPARE_COUNT 8u
#define HR_LEASES_GONE_MAX 256u /* told of in one call */
/* Refusals in hand, of a loop beyond the limit of an address and of the hub beyond that of connections;
 * what comes on top is closed unanswered. */
#define HR_REFUSED_COUNT_MAX 256u

typedef struct hr_home hr_home;
typedef struct hr_cohort hr_cohort;
typedef struct hr_reader hr_reader;
typedef struct hr_session hr_session;
typedef struct hr__h2 hr__h2;
typedef struct hr__addresses hr__addresses;

typedef enum hr__resume { HR__RESUME_NONE, HR__RESUME_CURSOR, HR__RESUME_RESET } hr__resume;

/* How the answer to a held poll begins; part of its cohort's key, so that one body serves all. */
typedef struct hr__answer_style {
    bool http10;
    bool keep_alive;
    bool head_only;
    uint8_t coding;   /* hr_coding: what the client takes */
    uint16_t headers; /* which of the hub's header blocks */
} hr__answer_style;

/* How long an answer's parts are. */
typedef struct hr__page_len {
    size_t payload; /* of the events' data */
    size_t plain;   /* of the body before it was compressed */
    size_t sent;    /* of the body */
} hr__page_len;

/* The beginning of an answer's head, up to and with Connection, as it was made last. */
typedef struct hr__head {
    unsigned status; /* 0: none */
    hr__answer_style style;
    int64_t date_s;
    hr_buf text;
} hr__head;

/* A prime: 200 and 304, a poller's usual answers, have places of their own. */
#define HR_HEAD_COUNT 7u

#define HR_REPEAT_COUNT_MAX 64u
#define HR_REPEAT_LEN_MAX 65536u

/* The last answer to a poll, and what it answered: polls that ask the same of a log that has not
 * moved get the same bytes. Most do, when many readers of a topic come back at once. */
typedef struct hr__repeat {
    bool is_valid;
    uint64_t version; /* of the log */
    uint64_t cursor;
    uint64_t gap_seen;
    uint64_t until;
    int64_t date_s;
    hr_buf key; /* as a cohort's: kind of answer and filters */
    hr_buf answer;
    hr__page_len len;
    size_t count;
    uint64_t appended_ns[HR_REPEAT_COUNT_MAX];
} hr__repeat;

/* A position in the log, and what it is read for. Stands inside its session.
 * Invariant: LIVE readers stand at home->live_cursor; cursor is theirs only in the other states. */
struct hr_reader {
    hr_cohort *cohort; /* NULL: no filters (a WebSocket may have none yet) */
    hr_lease *lease;   /* NULL: none */
    hr_link link;      /* in home->catching or home->ready */
    uint64_t cursor;
    uint64_t gap_seen;
    uint64_t resume_sequence; /* the cursor of another epoch, to be told in the reset */
    uint32_t resume_epoch;
    uint32_t live_at; /* place in cohort->live */
    uint32_t poll_max;
    uint8_t state;     /* hr_reader_state */
    uint8_t transport; /* hr_transport */
    uint8_t encoding;  /* hr_encoding */
    uint8_t resume;    /* hr__resume: an outcome is still to be told */
    bool counted;      /* is in the readers gauge */
    bool newest_only;  /* policy latest, until it is live again */
    bool had_filters;
};

/* The readers of one loop that receive the same bytes: same filters, transport, encoding and, for
 * polls, the same kind of answer. What is read for one of them that is live is read for all. */
struct hr_cohort {
    HR_MAGIC_FIELD;
    uint8_t transport;
    uint8_t encoding;
    bool is_probe;
    bool resumed;           /* polls: the answer says so */
    hr__answer_style style; /* polls */
    uint32_t poll_max;
    hr_home *home;
    hr_interest *interest;
    hr_reader **live;
    uint32_t live_count;
    uint32_t unwritten; /* a fan-out has yet to write to so many at the front of live */
    uint32_t live_cap;
    uint32_t member_count;  /* in every state */
    uint64_t last_sequence; /* newest in batch: an event that matches two filters comes once */
    hr_event **batch;
    uint32_t batch_count;
    uint32_t batch_cap;
    hr_link dirty;
    hr_link idle; /* in home->idle_cohorts while it has no members */
    uint64_t idle_tick;
    hr_slice key; /* points behind the struct */
};

/* Whether a connection was accepted only to be refused. */
typedef enum hr__refusal {
    HR__ADMITTED,
    HR__OVER_CONNECTIONS,
    HR__OVER_ADDRESS,
} hr__refusal;

typedef enum hr_mode {
    HR_MODE_HTTP,    /* between requests, or reading one */
    HR_MODE_REQUEST, /* a request waits for the handler's answer */
    HR_MODE_POLL,    /* a poll is held or catches up */
    HR_MODE_STREAM,  /* SSE or NDJSON; the reader's transport says which */
    HR_MODE_WS,
    HR_MODE_ECHO,
    HR_MODE_H2,     /* HTTP/2: what it carries are sessions of their own */
    HR_MODE_ENDING, /* only output and the end are left */
} hr_mode;

struct hr_session {
    HR_MAGIC_FIELD;
    uint8_t mode;
    uint8_t missed_beats;
    bool in_input;          /* its input is being handled further up the stack */
    bool drain_due;         /* its timer now ends it */
    uint8_t refusal;        /* hr__refusal */
    bool close_sent;        /* WebSocket */
    uint8_t protocol;       /* hr_protocol */
    bool is_h2;             /* h2, not ws, is meant */
    bool is_used;           /* a request has begun on it */
    bool is_reader_counted; /* address_ticket is the reader's and goes with it */
    hr_ws_deflate_terms deflate;
    hr__answer_style style; /* of the request in hand */
    hr_home *home;
    hr_conn conn;
    hr_timer timer;
    hr_link link;     /* in home->sessions */
    hr_link requests; /* the handler's open requests of this session */
    uint32_t request_count;
    uint32_t address_ticket; /* of hub->addresses; 0: not counted there */
    hr_http1 *http;          /* while a request arrives */
    hr_buf *input;           /* what arrived behind a request that is not answered yet */
    union {
        hr_ws_parser *ws; /* while a message arrives */
        hr__h2 *h2;
    };
    hr_reader reader;
};

struct hr_request {
    HR_MAGIC_FIELD;
    uint8_t kind;
    hr_home *home;
    hr_session *session; /* NULL: the connection has gone */
    hr_link link;
    hr_http1 *http; /* owned */
    hr_buf path;
    hr_slice query;
    hr_buf message; /* a command's text */
    hr_command command;
};

typedef struct hr__subs {
    hr_cohort **items;
    uint32_t count;
    uint32_t cap;
} hr__subs;

/* A loop's part of the hub. Touched by its thread alone, but for what is marked. */
struct hr_home {
    HR_MAGIC_FIELD;
    unsigned index;
    hr_hub *hub;
    hr_loop *loop;
    hr_listener *listeners[HR_LISTENER_KIND_COUNT]; /* NULL: none of that kind */
    hr_tls *tls;                                    /* NULL: none */
    uint64_t live_cursor;
    bool in_live;
    hr_map cohorts;
    hr__subs *subs; /* by filter id */
    uint32_t subs_cap;
    hr_link dirty;
    hr_link catching;
    hr_link ready;      /* sessions that may go on with input they hold */
    hr_link h2_dirty;   /* connections of HTTP/2 with output for their sockets */
    hr_link h2_orphans; /* streams of HTTP/2 that are to be closed in this turn */
    hr_link sessions;
    hr_link leases_gone; /* of readers that have gone, to be told of in this turn */
    hr_link idle_cohorts;
    uint32_t idle_cohort_count;
    uint32_t session_count;
    uint32_t refused_count; /* sessions that are being refused for their address */
    uint64_t tick_count;
    hr_cohort *probe;
    _Atomic uint64_t probed_ns; /* read by any thread */
    bool draining;
    bool drained;
    bool stopping;
    hr_timer drain_end;
    hr_buf out;     /* answers are put together here */
    hr_buf scratch; /* batches of frames */
    hr_buf body;
    hr_buf key; /* of the cohort that is looked for */
    hr__repeat repeat;
    hr_http1 *spare_http[HR_SPARE_COUNT];
    unsigned spare_http_count;
    hr_request *spare_request;
    uint64_t random;
    int64_t receipt_ms; /* whose text receipt_time is: mostly the last receipt's, too */
    char receipt_time[HR_TIME_TEXT_LEN];
    int64_t date_s;
    char date[32];
    size_t date_len;
    hr__head heads[HR_HEAD_COUNT]; /* by status */
    hr_stats stats;                /* by hr__count alone; read by any thread */
};

struct hr_hub {
    HR_MAGIC_FIELD;
    hr_hub_config config;
    hr_hub_handler handler;
    hr_log *log;
    hr_buf server_name;
    hr_buf header_text; /* the header blocks, one behind the other, then the fault headers */
    hr_slice *header_blocks;
    hr_http1_limits http_limits;
    hr_home *homes[HR_LOOP_COUNT_MAX];
    unsigned home_count;
    bool started;
    bool stopped;
    _Atomic bool draining;
    _Atomic uint32_t connection_count;
    _Atomic uint32_t drained_count;
    _Atomic uint64_t outside_events; /* published by threads that are no loop's */
    _Atomic uint64_t outside_bytes;
    hr_address_range *trusted_proxies;
    hr__addresses *addresses;
    /* When the reader that begins next could have begun at the earliest, had each kept its distance
     * from the one before; written once by each that begins. */
    _Alignas(64) _Atomic uint64_t reader_due_ns;
};

/* One writer, any reader: a load and a store, no locked instruction. */
static inline void hr__count(uint64_t *counter, uint64_t by) {
    __atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + by, __ATOMIC_RELAXED);
}
static inline void hr__uncount(uint64_t *counter, uint64_t by) {
    __atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) - by, __ATOMIC_RELAXED);
}
/* An answer, by the first digit of its status. */
static inline void hr__count_status(hr_home *home, unsigned status) {
    hr__count(&home->stats.answers[status / 100 - 1], 1);
}
void hr__histogram_add(hr_histogram *histogram, uint64_t value_ns, uint64_t times);
/* From append to write, of an event that was appended at since_ns. */
static inline void hr__latency_add(hr_transport_stats *stats, uint64_t now_ns, uint64_t since_ns,
                                   uint64_t times) {
    hr__histogram_add(&stats->latency, now_ns > since_ns ? now_ns - since_ns : 0, times);
}
/* What was sent of events: their data, and all bytes before and after compression, if compresses. */
static inline void hr__count_sent(hr_transport_stats *stats, bool compresses, uint64_t payload,
                                  uint64_t plain, uint64_t sent) {
    hr__count(&stats->payload_bytes, payload);
    hr__count(&stats->overhead_bytes, plain - payload);
    if (compresses) {
        hr__count(&stats->compression_input_bytes, plain);
        hr__count(&stats->compression_output_bytes, sent);
    }
}
static inline hr_transport_stats *hr__stats_of(hr_home *home, const hr_reader *reader) {
    return &home->stats.transports[reader->transport];
}
static inline hr_session *hr__session_of(hr_reader *reader) {
    return HR_CONTAINER_OF(reader, hr_session, reader);
}
uint64_t hr__random(hr_home *home);

/* home.c */
HR_MUST_CHECK hr_status hr__home_new(hr_hub *hub, unsigned index, hr_home **out);
void hr__home_free(hr_home **home);
void hr__home_turn(void *context);
void hr__home_tick(void *context);
void hr__home_drain(void *context);
void hr__home_stop(void *context);
void hr__home_session_gone(hr_home *home);
void hr__home_accept(hr_listener *listener, int fd, void *context);
void hr__home_accept_tls(hr_listener *listener, int fd, void *context);
void hr__home_set_tls(hr_home *home, hr_tls *tls); /* keeps tls */
void hr__home_accept_error(hr_listener *listener, hr_status reason, void *context);
hr_http1 *hr__home_http_take(hr_home *home);
void hr__home_http_give(hr_home *home, hr_http1 *http);

/* cohort.c */
/* Appends what tells cohorts apart: the kind of reader, then the filters, in order. */
HR_MUST_CHECK hr_status hr__cohort_key(hr_buf *out, const hr_reader *reader, hr__answer_style style,
                                       const hr_slice *sorted, size_t count);
HR_MUST_CHECK hr_status hr__cohort_find(hr_home *home, const hr_reader *reader,
                                        const hr_slice *filters, size_t count,
                                        hr__answer_style style, hr_cohort **out);
void hr__cohort_join(hr_cohort *cohort, hr_reader *reader);
void hr__cohort_leave(hr_reader *reader);
HR_MUST_CHECK hr_status hr__cohort_probe_open(hr_home *home);
void hr__cohort_close(hr_cohort *cohort);
void hr__cohorts_sweep(hr_home *home, bool all);

/* fanout.c */
/* Reads what concerns this loop and writes it to the live readers; home->live_cursor stands at the
 * head afterwards, unless more is left (then the loop is woken again). */
void hr__live_sync(hr_home *home);

/* reader.c */
hr_session *hr__reader_session(hr_reader *reader);
void hr__reader_set_state(hr_reader *reader, hr_reader_state state);
void hr__reader_open(hr_reader *reader); /* into the gauges */
void hr__reader_close(hr_reader *reader);
void hr__reader_go_live(hr_reader *reader);
void hr__reader_leave_live(hr_reader *reader);
/* Has the reader read on from reader->cursor: a step now, the rest in later turns. */
void hr__reader_catch_up(hr_reader *reader);
void hr__reader_step(hr_reader *reader);
/* The socket did not take all: position is where the reader goes on. May close the connection by
 * policy. */
void hr__reader_stall(hr_reader *reader, uint64_t position);
void hr__reader_drained(hr_reader *reader);
uint64_t hr__reader_position(const hr_reader *reader);

/* stream.c */
void hr__stream_begin(hr_session *session);
void hr__stream_gap(hr_reader *reader, const hr_gap *gap, hr_gap_reason reason);
void hr__stream_resumed(hr_reader *reader, const hr_gap *gap);
void hr__stream_beat(hr_session *session);
void hr__stream_end(hr_session *session, hr_close_reason reason, uint16_t code, hr_slice text);
/* Tells {"control":NAME,MEMBERS}, where that can be told. */
void hr__stream_tell(hr_session *session, hr_slice name, hr_slice members);
void hr__stream_end_lease(hr_session *session, const hr_lease_end *end);
/* Appends the members of a gap or resume outcome (docs/protocol.md) without braces. topic: the
 * filter concerned. */
typedef struct hr__outcome {
    hr_slice name; /* resumed, gap or reset; empty in mid-stream */
    hr_slice topic;
    hr_gap gap;
    hr_gap_reason reason;
} hr__outcome;
hr__outcome hr__outcome_of(const hr_reader *reader, const hr_gap *gap, hr_slice only_filter);
HR_MUST_CHECK hr_status hr__outcome_append(hr_buf *out, const hr_home *home,
                                           const hr_reader *reader, const hr__outcome *outcome);
void hr__count_outcome(hr_home *home, const hr_reader *reader, const hr__outcome *outcome);
/* May add to json. */
void hr__control_send(hr_session *session, hr_buf *json);
HR_MUST_CHECK hr_status hr__id_append(hr_buf *out, uint32_t epoch, uint64_t sequence);

/* subscribe.c */
/* Where the reader begins. HR_EFUTURE: its cursor is one that this server has not given out. */
HR_MUST_CHECK hr_status hr__reader_place(hr_reader *reader, hr_log *log,
                                         const hr_subscription *subscription);

/* poll.c */
/* Answers a short-poll at once; the session's reader holds its position and what it resumes. */
void hr__poll_short(hr_session *session, hr_request *request, const hr_subscription *subscription);
/* version: the log's, from before read was read. */
void hr__poll_answer(hr_session *session, hr_event **events, const hr_read *read, uint64_t version);
/* Answers a held poll that catches up as the one before, if it asks the same; false: it does not. */
bool hr__poll_repeat(hr_session *session, uint64_t until);
void hr__poll_timeout(hr_session *session);
/* Answers a held poll with a problem. */
void hr__poll_end(hr_session *session, const hr_lease_end *end);
HR_MUST_CHECK hr_status hr__poll_build(hr_home *home, hr__answer_style style, hr_event **events,
                                       size_t count, uint64_t next, hr_slice outcome, hr_slice etag,
                                       hr__page_len *len);

/* lease.c */
/* Gives the lease, if there is one, to session's reader; if that has gone (session: NULL), the
 * handler is told so. */
void hr__lease_join(hr_home *home, hr_lease *lease, hr_session *session);
void hr__lease_leave(hr_reader *reader);
void hr__leases_tell_gone(hr_home *home);

/* websocket.c */
void hr__ws_input(hr_session *session, char *bytes, size_t len);

/* http.c */
void hr__http_input(hr_session *session, char *bytes, size_t len);
void hr__http_refuse(hr_session *session, unsigned status, const char *slug, const char *title,
                     const char *detail);
/* The Date header's value; home->date_s tells it from others. */
hr_slice hr__date(hr_home *home);
/* Appends status line, the headers every answer has, and style's header block. */
HR_MUST_CHECK hr_status hr__head_begin(hr_home *home, hr_buf *out, unsigned status,
                                       hr__answer_style style);
const char *hr__status_phrase(unsigned status);
/* Appends an answer that the core makes by itself: a problem, as JSON. */
HR_MUST_CHECK hr_status hr__fault_append(hr_home *home, hr_buf *out, unsigned status,
                                         hr__answer_style style, hr_slice challenge, hr_slice body);
/* The request in hand has been answered: go on with the next, or end. */
void hr__http_done(hr_session *session);

/* h2.c: a session that is a connection of HTTP/2. */
/* Whether the connection that carries session, a stream, is one of TLS. */
bool hr__h2_is_secure(const hr_session *session);
/* Turns a session that has just begun into one; on failure it has been closed. */
hr_status hr__h2_begin(hr_session *session);
/* The same after the client's preface has been read. */
hr_status hr__h2_begin_known(hr_session *session);
void hr__h2_input(hr_session *session, const char *bytes, size_t len);
void hr__h2_drained(hr_session *session);
void hr__h2_timer(hr_session *session, bool is_stuck);
void hr__h2_drain(hr_session *session, hr_close_reason reason);
/* The connection that carries a stream; NULL: it has gone, or session is no stream. */
hr_session *hr__h2_parent(hr_session *session);
/* Whether session is a stream that asked to become a WebSocket. */
bool hr__h2_is_tunnel(const hr_session *session);
/* Ends all streams: the connection is at its end. */
void hr__h2_close(hr_session *session, hr_close_reason reason);
void hr__h2_free(hr__h2 **h2);
/* Writes what the turn has made. */
void hr__h2_flush_dirty(hr_home *home);

/* admit.c: who may come in. */
/* Counts a connection, or a stream of HTTP/2, by its peer, unless that is a trusted proxy. */
hr__refusal hr__admit_session(hr_session *session);
/* Counts the reader that request is to become: by its client's address behind a proxy, and among
 * those that begin in a second. HR_EPEERS, HR_EBUSY, HR_ENOMEM: it must not become one. */
HR_MUST_CHECK hr_status hr__admit_reader(hr_session *session, const hr_request *request,
                                         hr_transport transport);
/* The reader has gone, or has not become one after all. */
void hr__dismiss_reader(hr_session *session);
void hr__dismiss_session(hr_session *session);
/* When someone who was refused may come back: not all at once. */
uint32_t hr__retry_after_s(hr_home *home);

/* request.c */
void hr__request_end(hr_request **request);
/* Answers an HTTP request with such a problem. */
void hr__request_fault(hr_request **request, unsigned status, hr_slice body);

/* session.c */
/* tls: NULL without. */
void hr__session_open(hr_home *home, int fd, hr_tls *tls);
/* What the connection speaks, for the gauge. */
void hr__session_set_protocol(hr_session *session, hr_protocol protocol);
/* A stream of HTTP/2. False: without memory, or over the limit on connections. */
bool hr__session_open_stream(hr_home *home, hr_session *session, const hr_carrier *carrier);
void hr__session_input(hr_session *session, char *bytes, size_t len);
/* Puts input aside until the session may go on, and stops reading. */
void hr__session_stash(hr_session *session, const char *bytes, size_t len);
/* Goes on with input put aside, later in this turn. */
void hr__session_ready(hr_session *session);
void hr__session_unstash(hr_session *session);
void hr__session_finish(hr_session *session, hr_close_reason reason);
void hr__session_arm(hr_session *session, uint64_t after_ms);
void hr__session_end_in_order(hr_session *session);
uint64_t hr__session_beat_ms(hr_session *session);

#endif
