#include "flow.h"

#include "base.h"

flow *flow_new(uint32_t window, double rate_per_s) {
    flow *made = must_alloc_zeroed(1, sizeof *made);
    made->window = window;
    made->interval_ns = rate_per_s > 0 ? (double)NS_PER_S / rate_per_s : 0;
    made->measured_from = UINT64_MAX;
    return made;
}

void flow_start(flow *flow, uint64_t now) {
    flow->start_ns = now;
    flow->progress_ns = now;
}

uint64_t flow_next_due(const flow *flow, uint64_t now) {
    if (flow->interval_ns <= 0) {
        return now + NS_PER_S;
    }
    return flow->start_ns + (uint64_t)((double)flow->published * flow->interval_ns);
}

bool flow_may_publish(const flow *flow, uint64_t now) {
    if (flow->published - flow->oldest >= FLOW_COUNT) {
        return false;
    }
    return flow->window > 0 ? flow_outstanding(flow) < flow->window
                            : flow_next_due(flow, now) <= now;
}

static bool is_measured(const flow *flow, uint64_t number) {
    return number >= flow->measured_from && number < flow->measured_to;
}

static void pass_completed(flow *flow) {
    while (flow->oldest < flow->published &&
           flow->pending[flow->oldest % FLOW_COUNT].waiting_count == 0) {
        flow->oldest++;
    }
}

uint64_t flow_publish(flow *flow, uint32_t reader_count, uint64_t now) {
    uint64_t due = flow->interval_ns > 0 ? flow_next_due(flow, now) : now;
    uint64_t number = flow->published;
    if (flow_outstanding(flow) == 0) {
        flow->progress_ns = now;
    }
    flow->published++;
    flow->pending[number % FLOW_COUNT] = (pending){.due_ns = due, .waiting_count = reader_count};
    if (is_measured(flow, number)) {
        histogram_add(&flow->delay, now - due);
    }
    if (reader_count == 0) {
        flow->completed++;
        pass_completed(flow);
    }
    return number;
}

void flow_arrive(flow *flow, uint64_t number, uint64_t now) {
    if (flow->published - number > FLOW_COUNT) {
        return;
    }
    pending *pending = &flow->pending[number % FLOW_COUNT];
    flow->progress_ns = now;
    if (is_measured(flow, number)) {
        histogram_add(&flow->latency, now - pending->due_ns);
    }
    if (number >= flow->oldest && pending->waiting_count > 0 && --pending->waiting_count == 0) {
        flow->completed++;
        pass_completed(flow);
    }
}

bool flow_give_up(flow *flow, uint64_t now) {
    if (flow_outstanding(flow) == 0 || now < flow->progress_ns + STALL_NS) {
        return false;
    }
    flow->oldest = flow->published;
    flow->completed = flow->published;
    flow->progress_ns = now;
    return true;
}

void flow_measure_begin(flow *flow) {
    if (flow->interval_ns <= 0) {
        return;
    }
    flow->measured_from = flow->published;
    flow->measured_to = UINT64_MAX;
}

void flow_measure_end(flow *flow) { flow->measured_to = flow->published; }
