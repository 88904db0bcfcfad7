/* event_private: making and ending events and snapshots of matches. ANY thread. */
#ifndef HR_EVENT_PRIVATE_H
#define HR_EVENT_PRIVATE_H

#include "hr_event.h"

#define HR__EVENT_MAGIC 0x68654576u

/* What an event costs beside its own allocation: the allocator's header, its place
 * in a ring that is half full, in the index and in the live window. */
#define HR__EVENT_OVERHEAD 64u

/* Memory that events hold beyond their own, and how their frames are made. An event knows it by the address of
 * frame_bytes, so that frames and snapshots can be given back without the log. */
typedef struct hr__charges {
    _Atomic(uint64_t) frame_bytes; /* first: hr_event.frame_bytes points to it */
    _Atomic(uint64_t) matches_bytes;
    size_t compressed_len_min; /* never changes: hr_log_config */
} hr__charges;

/* The charged bytes of an event made from publication. */
uint64_t hr__event_charge(const hr_publication *publication);
/* Makes an event with one reference and no sequence, home or matches, by one
 * allocation. Precondition: its charge fits uint32_t. NULL: out of memory. */
hr_event *hr__event_new(const hr_publication *publication, hr__charges *charges);
/* Gives a reference up without freeing; true when it was the last, and the caller
 * must call hr__event_free. */
bool hr__event_release(hr_event *event);
void hr__event_free(hr_event *event);
/* Bytes of the frames that event has now. */
uint64_t hr__event_frame_bytes(hr_event *event);

/* The snapshot of no filters: shared by all, never counted nor freed. */
hr_matches *hr__matches_none(void);
/* Makes a snapshot with one reference and room for count (> 0) ids. */
hr_matches *hr__matches_new(uint32_t count, hr__charges *charges);
hr_matches *hr__matches_ref(hr_matches *matches);
void hr__matches_unref(hr_matches *matches, hr__charges *charges);
/* Whether id is in matches. */
bool hr__matches_contain(const hr_matches *matches, uint32_t id);

#endif
