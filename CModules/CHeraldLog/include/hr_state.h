/* hr_state: what topics and the log hold, in numbers. Thread: ANY. */
#ifndef HR_STATE_H
#define HR_STATE_H

#include "hr_interest.h"

typedef struct hr_topic_state {
    uint64_t retained_count, retained_bytes;
    uint64_t floor; /* the newest sequence that is lost, here or by a forgotten topic; 0: none */
    uint64_t head;  /* the newest sequence published here */
    uint64_t published_count;
    uint32_t subscribers[HR_TRANSPORT_COUNT];
} hr_topic_state;
HR_MUST_CHECK hr_status hr_log_topic_state(hr_log *log, hr_slice topic, hr_topic_state *out);
/* Which topics are listed; borrowed. */
typedef struct hr_topic_choice {
    hr_slice prefix;
    hr_slice after;          /* those after this name; empty: from the start */
    const hr_slice *filters; /* those that one of these matches */
    size_t filter_count;     /* 0: no matter which */
} hr_topic_choice;
/* Up to max (> 0) of the chosen topics in bytewise order. Names are appended to names one after the other, lens and states
 * filled. Cost: all topics under the longest whole segments of prefix. Returns the count;
 * *more: there are further ones. Short of memory: fewer, with *more. */
size_t hr_log_topic_list(hr_log *log, const hr_topic_choice *choice, size_t max, hr_buf *names,
                         size_t *lens, hr_topic_state *states, bool *more);

typedef enum HR_CLOSED_ENUM hr_evict_reason {
    HR_EVICT_COUNT,
    HR_EVICT_BYTES,
    HR_EVICT_AGE,
    HR_EVICT_MEMORY,
    HR_EVICT_PURGE,
} hr_evict_reason;
#define HR_EVICT_REASON_COUNT 5
typedef struct hr_log_stats {
    uint64_t head, published_count;
    uint64_t published_bytes; /* of data alone */
    uint64_t retained_count, retained_bytes;
    uint64_t frame_bytes; /* of all events that live, retained or not */
    uint64_t window_count, window_bytes;
    uint64_t evicted_count[HR_EVICT_REASON_COUNT];
    uint64_t topic_count;
    uint64_t filter_count; /* distinct filters of open interests */
    uint64_t link_count;   /* as for link_count_max */
} hr_log_stats;
void hr_log_stats_get(hr_log *log, hr_log_stats *out);

#endif
