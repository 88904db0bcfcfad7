/* hr_interest: what readers want. An interest stands for the readers of one loop that
 * have the same filters and transport; the log knows no single reader.
 *
 * Thread: ANY, but for what is marked LOOP: the owner's loop.
 * Invariant: an event that was appended while an interest is open, and that one of its
 *   filters matches, has that filter's id in its matches. */
#ifndef HR_INTEREST_H
#define HR_INTEREST_H

#include "hr_log.h"

typedef struct hr_interest hr_interest;

typedef enum HR_CLOSED_ENUM hr_transport {
    HR_WEBSOCKET,
    HR_SSE_STREAM,
    HR_NDJSON_STREAM,
    HR_LONGPOLL,
    HR_SHORTPOLL,
} hr_transport;
#define HR_TRANSPORT_COUNT 5

/* Registers a set of filters (checked, no repeats, at least one) for loop. Gives *out.
 * Events appended after this returns carry the filters' ids in matches and wake the loop.
 * HR_ELIMIT: filter_count_max or link_count_max. */
HR_MUST_CHECK hr_status hr_interest_open(hr_log *log, unsigned loop, hr_transport transport,
                                         const hr_slice *filters, size_t count, hr_interest **out);
void hr_interest_close(hr_interest **interest); /* LOOP */
size_t hr_interest_filter_count(const hr_interest *interest);
uint32_t hr_interest_filter_id(const hr_interest *interest, size_t index); /* as in hr_matches */
hr_slice hr_interest_filter(const hr_interest *interest, size_t index);    /* borrowed while open */
/* That of the rules, when all filters agree; else HR_SLOW_GAP. */
hr_slow_policy hr_interest_slow_policy(const hr_interest *interest);
/* Head when it was registered: a reader may go live only when its loop has read at least
 * this far. Events before may name its filters' ids and mean others, which had them once. */
uint64_t hr_interest_since(const hr_interest *interest);
/* Says how many readers it stands for (for receivers and topic states); 0 at first. A
 * relaxed store. LOOP */
void hr_interest_members_set(hr_interest *interest, uint32_t members);
/* The dense array of filter ids is below this; for sizing tables. */
uint32_t hr_log_filter_id_limit(hr_log *log);

#endif
