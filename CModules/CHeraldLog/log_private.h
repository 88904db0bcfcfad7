/* log_private: what the files of the log share. Everything here is under log->lock
 * unless it says otherwise.
 *
 * Who points to whom: a topic has a snapshot of the ids of all filters that match
 * it (replaced, never changed while shared); log->filters turns an id into a filter;
 * a filter has the interests that name it. So a publish finds its readers without
 * a walk. A filter does not know its topics: the few times that it must (it comes,
 * it goes) it finds them through the trie. */
#ifndef HR_LOG_PRIVATE_H
#define HR_LOG_PRIVATE_H

#include "event_private.h"
#include "hr_read.h"
#include "hr_state.h"
#include "index.h"
#include "ring.h"
#include "trie.h"

#include <pthread.h>

#define HR__LOG_MAGIC 0x4C6F4748u
#define HR__TOPIC_MAGIC 0x546F7063u
#define HR__FILTER_MAGIC 0x466C7472u
#define HR__INTEREST_MAGIC 0x496E7472u

#define HR__FORGOTTEN_COUNT 65536u
/* Filters kept without readers, so that the next poll of a wildcard finds it linked. */
#define HR__UNUSED_COUNT_MAX 1024u
#define HR__UNUSED_MS_MAX 60000
#define HR__NO_PLACE UINT32_MAX
#define HR__NEVER INT64_MAX

typedef struct hr__topic {
    HR_MAGIC_FIELD;
    uint32_t heap_place; /* HR__NO_PLACE: nothing to do at any time */
    uint32_t pending;    /* events of the append under way */
    bool is_wanted;      /* valid while scan == log->scan */
    uint8_t is_new;      /* made by the append under way */
    hr__ring ring;
    uint64_t retained_bytes;
    uint64_t floor;       /* the newest sequence that is lost; below all in the ring */
    uint64_t first_floor; /* what the topic was made with: of a forgotten one, perhaps itself */
    uint64_t head;
    uint64_t published_count;
    uint64_t scan;
    int64_t deadline_ms; /* its key in the heap: never later than the true one */
    int64_t touched_ms;  /* when it was last published to or fell empty */
    const hr_retention *retention;
    hr_matches *matches;
    hr__node *node;
    size_t name_len;
    char name[];
} hr__topic;

/* An interest and which of its filters this is. */
typedef struct hr__filter_user {
    hr_interest *interest;
    size_t slot;
} hr__filter_user;

typedef struct hr__filter {
    HR_MAGIC_FIELD;
    uint32_t id;
    uint64_t floor; /* the newest sequence that is lost to this filter, or later */
    hr__filter_user *users;
    uint32_t user_count;
    uint32_t user_cap;
    uint32_t hold_count; /* interests, and reads under way */
    hr_link unused_link; /* in log->unused while nobody holds it */
    int64_t unused_ms;   /* since when */
    hr__node *node;
    size_t text_len;
    char text[];
} hr__filter;

/* A filter of an interest and where the filter has it in users. */
typedef struct hr__interest_filter {
    hr__filter *filter;
    uint32_t place;
} hr__interest_filter;

struct hr_interest {
    HR_MAGIC_FIELD;
    unsigned loop;
    hr_transport transport;
    hr_slow_policy slow;
    hr_log *log;
    uint64_t since;
    uint64_t mark;            /* == log->mark: counted already */
    _Atomic uint32_t members; /* written by its loop, read under the lock */
    size_t filter_count;
    hr__interest_filter filters[];
};

typedef struct hr__window_entry {
    hr_event *event;
    uint64_t mask; /* loops that it concerns */
} hr__window_entry;

/* The newest events, without a hole: the place of a sequence is a subtraction. */
typedef struct hr__window {
    hr__window_entry *entries; /* window_count of them; by sequence modulo that */
    uint64_t first;            /* sequence; head + 1 when empty */
    uint64_t count;
    uint64_t bytes;
} hr__window;

/* Events whose last reference went while the lock was held; freed after it. */
typedef struct hr__garbage {
    hr_event *first; /* linked by home */
    uint64_t frame_bytes;
} hr__garbage;

struct hr_log {
    HR_MAGIC_FIELD;
    pthread_mutex_t lock;
    hr_log_config config; /* rules: the log's own copy */
    hr_rule *rules;
    char *rule_text;
    hr_log_wake_fn *wake; /* set before any append, then constant */
    void *wake_context;

    _Atomic(uint64_t) head;    /* written under the lock, read by ANY thread */
    _Atomic(uint64_t) version; /* the same */
    hr__charges charges;       /* ANY thread */
    uint64_t retained_bytes;
    uint64_t published_count;
    uint64_t published_bytes;
    uint64_t evicted_count[HR_EVICT_REASON_COUNT];
    int64_t clock_ms; /* the wall clock as last heard of */
    uint64_t mark;
    uint64_t scan;

    hr_map topics;         /* by name */
    hr__topic *found_last; /* by hr__topic_find; NULL: none */
    hr__node *topic_trie;
    hr__index index;
    hr__window window;
    uint64_t wanted[HR_LOOP_COUNT_MAX]; /* first event that concerns the loop since it read all;
                                           0: none */

    hr__topic **heap; /* topics by deadline_ms; room for every topic */
    size_t heap_count;
    size_t heap_cap;

    uint64_t *forgotten; /* floors of forgotten topics by hash of their names */
    uint64_t forgotten_max;

    hr__node *filter_trie;
    hr__filter **filters; /* by id; NULL: free */
    uint32_t *free_ids;   /* a stack */
    uint32_t free_id_count;
    uint32_t filter_limit; /* ids ever used are below this */
    uint32_t filter_cap;
    uint32_t filter_count; /* with users */
    uint32_t unused_count;
    hr_link unused; /* filters that nobody holds, the longest unused first */
    uint64_t link_count;
    hr__found found;   /* scratch of the walks */
    hr__found changed; /* scratch: new snapshots before they are installed */
};

static inline uint64_t hr__log_head(const hr_log *log) {
    return atomic_load_explicit(&log->head, memory_order_relaxed);
}
static inline void hr__log_changed(hr_log *log) {
    uint64_t before = atomic_load_explicit(&log->version, memory_order_relaxed);
    atomic_store_explicit(&log->version, before + 1, memory_order_release);
}
static inline hr_slice hr__topic_name(const hr__topic *topic) {
    return (hr_slice){topic->name, topic->name_len};
}
static inline hr_slice hr__filter_text(const hr__filter *filter) {
    return (hr_slice){filter->text, filter->text_len};
}
hr_log *hr__log_lock(hr_log *log);
void hr__log_unlock(hr_log *log);

/* topic.c -------------------------------------------------------------------------------------- */

hr__topic *hr__topic_find(hr_log *log, hr_slice name);
/* Makes topic name, links it to its filters and gives it the floor of its bucket.
 * HR_ELIMIT, HR_ENOMEM: nothing changed. */
HR_MUST_CHECK hr_status hr__topic_new(hr_log *log, hr_slice name, hr__topic **out);
/* Takes an empty topic out and keeps its floor in its bucket. */
void hr__topic_forget(hr_log *log, hr__topic *topic);
/* Frees an empty topic that is no more in log->topics. */
void hr__topic_free(hr_log *log, hr__topic *topic);
/* The highest sequence that a topic of this name may have lost before it was forgotten. */
uint64_t hr__forgotten_floor(const hr_log *log, hr_slice name);
/* Raises topic's floor, and that of each filter that matches it, to sequence. */
void hr__topic_raise_floor(hr_log *log, hr__topic *topic, uint64_t sequence);
/* Evicts topic's oldest event. */
void hr__topic_evict(hr_log *log, hr__topic *topic, hr_evict_reason reason, hr__garbage *garbage);
/* Gives a reference up; the last one puts event on garbage. */
void hr__garbage_drop(hr__garbage *garbage, hr_event *event);
/* Without the lock. */
void hr__garbage_free(hr__garbage *garbage);

/* deadline.c ----------------------------------------------------------------------------------- */

/* Makes room for one more topic, so that hr__deadline_update cannot fail. */
HR_MUST_CHECK hr_status hr__deadline_reserve(hr_log *log, size_t topic_count);
/* When something is to be done with topic: its oldest event expires, or it has been
 * empty long enough. HR__NEVER: at no time. */
int64_t hr__deadline_of(const hr_log *log, const hr__topic *topic);
/* Makes sure that the heap knows of topic no later than its deadline. */
void hr__deadline_update(hr_log *log, hr__topic *topic);
/* A topic whose deadline has come; NULL: none by log->clock_ms, or putting right the
 * keys of others used up *work, which counts that down. */
hr__topic *hr__deadline_due(hr_log *log, size_t *work);
void hr__deadline_remove(hr_log *log, hr__topic *topic);

/* filter.c ------------------------------------------------------------------------------------- */

/* Finds or makes the filter of text, linked to its topics, and holds it: it stays
 * until hr__filter_release. HR_ELIMIT: link_count_max. HR_ENOMEM. Nothing changed then. */
HR_MUST_CHECK hr_status hr__filter_hold(hr_log *log, hr_slice text, hr__filter **out);
/* Gives a hold up. A filter that nobody holds lingers for the next who wants it. */
void hr__filter_release(hr_log *log, hr__filter *filter);
/* Makes interest, which holds filter, known to it as a reader. */
HR_MUST_CHECK hr_status hr__filter_add_user(hr_log *log, hr_interest *interest, size_t slot);
void hr__filter_remove_user(hr_log *log, hr_interest *interest, size_t slot);
/* Ends filters that nobody has held for HR__UNUSED_MS_MAX, at most count_max of them. */
void hr__filters_expire(hr_log *log, size_t count_max);
/* Ends filters that nobody holds until extra more links fit, or none is left. */
void hr__filters_make_room(hr_log *log, uint64_t extra);
/* Ends all. Precondition: nobody holds any; no topic is left. */
void hr__filters_fini(hr_log *log);

/* window.c ------------------------------------------------------------------------------------- */

/* Puts event, just given the head's sequence, in; takes over a reference. */
void hr__window_push(hr_log *log, hr_event *event, uint64_t mask, hr__garbage *garbage);

/* append.c ------------------------------------------------------------------------------------- */

/* Evicts the oldest of all, at most count_max, until memory_bytes_max is kept to. */
void hr__log_fit_memory(hr_log *log, size_t count_max, hr__garbage *garbage);

#endif
