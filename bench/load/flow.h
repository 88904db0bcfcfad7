/* Which events have been published, which of them have not reached all their readers, and whether
 * the next may go out: by a window of events that are outstanding, or by the clock.
 *
 * By a window, a server is never driven into its policy for slow readers. By the clock, event k is
 * due at start + k / rate whatever the server does: a latency that counts from there has in it what
 * the events waited for that could not be sent in time. */
#ifndef FLOW_H
#define FLOW_H

#include "histogram.h"

#include <stdbool.h>
#include <stdint.h>

/* Events between the oldest outstanding and the newest; past it the clock, too, has to wait. */
#define FLOW_COUNT 65536u

typedef struct pending {
    uint64_t due_ns;
    uint32_t waiting_count; /* readers that have not got it */
} pending;

typedef struct flow {
    uint32_t window;    /* 0: by the clock */
    double interval_ns; /* 0: by the window */
    uint64_t start_ns;
    uint64_t published; /* events below this number */
    uint64_t completed; /* how many have reached everyone, or were given up */
    uint64_t oldest;    /* events below this are not outstanding */
    uint64_t progress_ns;
    uint64_t measured_from; /* the events whose latency counts */
    uint64_t measured_to;
    histogram latency;
    histogram delay; /* how long after it was due an event was published */
    pending pending[FLOW_COUNT];
} flow;

/* Gives a flow without events, and without measuring. */
flow *flow_new(uint32_t window, double rate_per_s);

/* The moment from which event 0 is due. */
void flow_start(flow *flow, uint64_t now);

bool flow_may_publish(const flow *flow, uint64_t now);

/* When the next event is due; what is far away if no clock says. */
uint64_t flow_next_due(const flow *flow, uint64_t now);

/* Notes the next event as published to so many readers; returns its number. */
uint64_t flow_publish(flow *flow, uint32_t reader_count, uint64_t now);

/* Notes that a reader has got an event. */
void flow_arrive(flow *flow, uint64_t number, uint64_t now);

/* Gives up what is outstanding when nothing has moved for STALL_NS; true if it did. */
bool flow_give_up(flow *flow, uint64_t now);

/* From now on, or until now, events that are published by the clock count for the latency. */
void flow_measure_begin(flow *flow);
void flow_measure_end(flow *flow);

static inline uint64_t flow_outstanding(const flow *flow) {
    return flow->published - flow->completed;
}

#endif
