/* ring: the events that one topic keeps, oldest first. Borrowed pointers: who
 * pushes keeps the reference. Thread: under the log's lock.
 * Most topics hold one event or none, so the array begins with nothing. */
#ifndef HR_RING_H
#define HR_RING_H

#include "hr_event.h"

/* Zeroed memory is a valid empty ring. */
typedef struct hr__ring {
    hr_event **events;
    uint32_t first;
    uint32_t count;
    uint32_t cap; /* power of two, or 0 */
} hr__ring;

/* Makes room for count events in all. */
HR_MUST_CHECK hr_status hr__ring_reserve(hr__ring *ring, uint32_t count);
/* Precondition: there is room; event is newer than all in the ring. */
void hr__ring_push(hr__ring *ring, hr_event *event);
/* Takes the oldest out. Precondition: the ring is not empty. */
hr_event *hr__ring_pop(hr__ring *ring);
/* The event at place, from 0 for the oldest. Precondition: place < count. */
hr_event *hr__ring_at(const hr__ring *ring, uint32_t place);
/* The place of the first event after sequence; count when there is none. */
uint32_t hr__ring_seek(const hr__ring *ring, uint64_t sequence);
/* Gives memory back when less than a quarter is in use or needed soon. */
void hr__ring_shrink(hr__ring *ring, uint32_t needed);
void hr__ring_fini(hr__ring *ring);

#endif
