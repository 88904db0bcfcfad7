/* hr_event: one event, immutable once it is in the log, shared by reference. */
#ifndef HR_EVENT_H
#define HR_EVENT_H

#include "CHeraldWire.h"
#include <stdatomic.h>

/* An event in one encoding. Lives as long as its event. */
typedef struct hr_frame {
    uint32_t len;
    uint32_t plain_len; /* what len would be uncompressed */
    char bytes[];
} hr_frame;

/* The filters that matched a topic when an event was appended: an immutable snapshot,
 * shared by reference. Never NULL in an event: without filters its count is 0. */
typedef struct hr_matches {
    _Atomic uint32_t refs;
    uint32_t count;
    uint32_t filter_ids[]; /* dense, reused ids of interned filters; ascending */
} hr_matches;

typedef struct hr_event {
    HR_MAGIC_FIELD;
    _Atomic uint32_t refs;
    uint64_t sequence;
    int64_t time_ms;      /* wall clock */
    uint64_t appended_ns; /* monotonic clock, for latencies */
    uint32_t epoch;
    uint32_t charged_len; /* bytes this event counts against limits, without frames */
    hr_matches *matches;  /* lives as long as the event */
    hr_slice topic;       /* the slices point behind the struct */
    hr_slice type;
    hr_slice content_type;
    hr_slice data;
    void *home;                     /* the log's own; under its lock */
    _Atomic(uint64_t) *frame_bytes; /* where frames are charged; the log's */
    _Atomic(hr_frame *) frames[HR_ENCODING_COUNT];
} hr_event;

/* ANY thread. */
hr_event *hr_event_ref(hr_event *event);
/* Gives a reference up and clears *event; the last one frees event and its frames. ANY thread. */
void hr_event_unref(hr_event **event);
/* event in encoding, encoded on first use and kept for all; borrowed while the caller
 * holds a reference of event. Two threads may race: one wins, both get the winner's.
 * NULL: out of memory. ANY thread. */
const hr_frame *hr_event_frame(hr_event *event, hr_encoding encoding);
/* Appends event in encoding to out; uses the kept frame if there is one and keeps none:
 * for catch-up, so that replays do not fill memory. *plain_len: as hr_event_encode has it. ANY
 * thread. */
HR_MUST_CHECK hr_status hr_event_append_to(hr_event *event, hr_encoding encoding, hr_buf *out,
                                           size_t *plain_len);

#endif
