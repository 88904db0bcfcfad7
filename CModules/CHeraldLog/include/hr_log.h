/* hr_log: the one log. Every event has one place in one order.
 *
 * Thread: every function may be called by any thread; the log has one lock and
 *   holds it for bounded work only.
 * Invariants: sequences rise by one; an event is in its topic's ring, in the index and
 *   in the live window before its sequence can be seen; floor(topic) < first retained;
 *   a forgotten topic's floor lives on in its hash bucket.
 * Not here: sockets, readers' states, permissions. Readers: hr_interest.h; reading:
 * hr_read.h; numbers: hr_state.h. */
#ifndef HR_LOG_H
#define HR_LOG_H

#include "hr_event.h"
#include "hr_names.h"

typedef struct hr_log hr_log;

#define HR_LOOP_COUNT_MAX 64

typedef enum HR_CLOSED_ENUM hr_slow_policy {
    HR_SLOW_GAP,
    HR_SLOW_DISCONNECT,
    HR_SLOW_LATEST,
} hr_slow_policy;

typedef struct hr_retention {
    uint32_t count_max;  /* events a topic keeps; 0 keeps none: they are delivered live only */
    uint64_t bytes_max;  /* charged bytes a topic keeps */
    uint64_t age_ms_max; /* 0: for ever */
} hr_retention;

/* The first rule whose filter matches a topic, or covers a reader's filter, wins. */
typedef struct hr_rule {
    hr_slice filter;
    hr_retention retention;
    hr_slow_policy slow;
} hr_rule;

typedef struct hr_log_config {
    uint32_t epoch;
    hr_retention retention; /* when no rule matches */
    const hr_rule *rules;   /* copied */
    size_t rule_count;
    uint64_t memory_bytes_max; /* events, frames and snapshots over all topics */
    uint32_t topic_count_max;
    uint32_t filter_count_max; /* distinct filters of open interests */
    uint32_t link_count_max;   /* pairs of topic and matching filter, unused filters too */
    uint32_t window_count;     /* events the live window holds; a power of two */
    uint64_t window_bytes_max; /* the newest event stays, however big */
    uint64_t topic_idle_ms;    /* an empty topic is forgotten after this */
    size_t compressed_len_min; /* shorter events are not compressed */
} hr_log_config;

/* Called without the lock, after an append: loops named in mask (bit n: loop n) have
 * something to read. */
typedef void hr_log_wake_fn(uint64_t mask, void *context);

HR_MUST_CHECK hr_status hr_log_new(const hr_log_config *config, hr_log **out);
/* Precondition: no interest is open and nobody holds an event any more. */
void hr_log_free(hr_log **log);
/* Before any append. */
void hr_log_set_wake(hr_log *log, hr_log_wake_fn *wake, void *context);
uint32_t hr_log_epoch(const hr_log *log);
size_t hr_log_compressed_len_min(const hr_log *log); /* as configured */
uint64_t hr_log_head(hr_log *log);                   /* the newest sequence; 0 when none yet */
/* Moves with every event that comes or goes: while it stands still, the same read has the same
 * outcome. */
uint64_t hr_log_version(const hr_log *log);

typedef struct hr_receipt {
    uint64_t sequence;
    int64_t time_ms;
    uint32_t receivers; /* open readers whose filters match, each counted once */
} hr_receipt;

/* Appends all or none of publications (at least one; topics already checked, not reserved
 * unless the server's own), in order, under one lock. receipts has count places.
 * HR_ELIMIT: a new topic would pass topic_count_max or link_count_max. HR_ETOOBIG: one
 * event alone exceeds memory_bytes_max or its topic's bytes_max. *failed_index (may be
 * NULL) says which. */
HR_MUST_CHECK hr_status hr_log_append(hr_log *log, const hr_publication *publications, size_t count,
                                      int64_t wall_ms, uint64_t mono_ns, hr_receipt *receipts,
                                      size_t *failed_index);

/* Evicts by age, forgets idle topics and filters unused for a minute. Bounded work a
 * call; what is left, the next one does. Call it about once a second. */
void hr_log_tick(hr_log *log, int64_t wall_ms);
/* Evicts all that topic keeps; its floor becomes the head of the topic.
 * HR_ENOTFOUND: no such topic. */
HR_MUST_CHECK hr_status hr_log_purge(hr_log *log, hr_slice topic);

#endif
