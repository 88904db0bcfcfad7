/* hr_read: reading the log, live and from a cursor.
 *
 * A loop that keeps up reads the live window, once for all its readers. Everyone else
 * reads what the topics keep, each from a cursor of its own: resumes, catching up and
 * polls are this one path. Thread: ANY. */
#ifndef HR_READ_H
#define HR_READ_H

#include "hr_interest.h"

typedef struct hr_live {
    uint64_t cursor; /* in: the loop's position. out: everything up to here was handed out or
                        does not concern the loop */
    size_t count;    /* events handed out, with a reference each */
    bool more;       /* the window holds more: call again */
    bool overrun;    /* the window has passed the loop: nothing is handed out, cursor stands at
                        the head, live readers must catch up from the old one */
} hr_live;

/* Reads at most max (> 0) events that concern loop, from live->cursor on. An event concerns
 * the loops that had an interest in it when it was appended. */
void hr_live_read(hr_log *log, unsigned loop, hr_live *live, hr_event **events, size_t max);

/* Told when one of the filters has lost something after the cursor and after gap_seen, and
 * not after until: what lies beyond may still come live. */

typedef struct hr_gap {
    bool found;
    size_t filter_index; /* which filter; SIZE_MAX: several */
    uint64_t from;       /* first sequence that may be missing: cursor + 1 */
    uint64_t to;         /* last sequence that may be missing; becomes gap_seen */
    uint64_t missed_max; /* at most so many events are missing */
} hr_gap;

typedef struct hr_read {
    uint64_t cursor;   /* in and out: the reader's position */
    uint64_t until;    /* read no further; UINT64_MAX: to the head */
    uint64_t gap_seen; /* in and out: losses up to here were already reported to this reader.
                             UINT64_MAX: who begins at the earliest misses nothing; no gap now,
                             and out comes what to pass from then on */
    bool newest_only;  /* only the newest event up to until of each topic (policy latest) */
    size_t count_max;  /* > 0 */
    size_t bytes_max;  /* of charged bytes; at least one event is handed out */
    /* out */
    size_t count;
    bool complete; /* cursor == min(until, head): nothing is left to read */
    uint64_t head;
    uint64_t skipped; /* newest_only: matching events passed over for newer ones */
    hr_gap gap;       /* precedes the events handed out */
} hr_read;

/* Hands out, ascending and with a reference each, events after read->cursor that interest's
 * filters match. The work of one call is bounded: it may hand out none and not be complete;
 * cursor has moved then. */
void hr_interest_read(hr_interest *interest, hr_read *read, hr_event **events);
/* The same for filters (checked, at least one) without an interest: short-polls. Wildcards
 * stay linked for a minute, for the next poll. HR_ENOMEM only, with more than 64 filters. */
HR_MUST_CHECK hr_status hr_log_read(hr_log *log, const hr_slice *filters, size_t count,
                                    hr_read *read, hr_event **events);

#endif
