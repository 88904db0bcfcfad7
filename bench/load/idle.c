/* Memory is compared before and after the readers come. A few have come and gone before, so that
 * what a server makes once for all is not counted as theirs.
 *
 * Then nothing is published, and the server's processor time is that of its heartbeats; then a few
 * events, a second apart, each with the time until the last reader has it. */
#include "audience.h"
#include "base.h"
#include "flow.h"
#include "kernel_memory.h"
#include "modes.h"
#include "publisher.h"
#include "snapshot.h"

#include <stdio.h>
#include <stdlib.h>

#define REHEARSAL_COUNT 16u
#define EVENT_INTERVAL_S 1.0

typedef struct memory {
    uint64_t resident_bytes;
    kernel_memory kernel;
} memory;

static memory memory_of(const options *options) {
    return (memory){.resident_bytes = usage_of_tree((pid_t)options->pid).resident_bytes,
                    .kernel = kernel_memory_take()};
}

/* The loop has to run, too, while nothing is published: pings want answers. */
static void wait_for(publisher *publisher, double seconds) {
    uint64_t end = now_ns() + (uint64_t)(seconds * 1e9);
    while (now_ns() < end) {
        publisher_turn(publisher, end, false);
    }
}

/* Publishes one event; returns how long it took to reach the last reader. */
static double publish_one(publisher *publisher) {
    const flow *flow = publisher->audience->flow;
    uint64_t begin = now_ns();
    publisher_publish(publisher, begin);
    while (flow_outstanding(flow) > 0) {
        publisher_turn(publisher, UINT64_MAX, false);
    }
    return (double)(now_ns() - begin) / 1e6;
}

/* A flow that leaves it to publisher_publish when an event goes out. */
static flow *flow_by_hand(void) {
    flow *flow = flow_new(0, 0);
    flow_start(flow, now_ns());
    return flow;
}

static void rehearse(const options *options, const loop *loop) {
    static audience audience;
    static publisher publisher;
    flow *flow = flow_by_hand();
    audience_open(&audience, options, loop, flow, REHEARSAL_COUNT, 0, 1);
    publisher_open(&publisher, options, loop, &audience, 1);
    settle((pid_t)options->pid);
    (void)publish_one(&publisher);
    publisher_drain(&publisher);
    if (audience.tally.lost > 0) {
        die("the first event did not come");
    }
    publisher_close(&publisher);
    audience_close(&audience);
    free(flow);
    settle((pid_t)options->pid);
}

static int compare(const void *a, const void *b) {
    double left = *(const double *)a;
    double right = *(const double *)b;
    return (left > right) - (left < right);
}

static void print_times(double *times_ms, uint32_t count) {
    printf("\"events\":%u,\"last_reader_each_ms\":[", count);
    for (uint32_t i = 0; i < count; i++) {
        printf("%s%.3f", i > 0 ? "," : "", times_ms[i]);
    }
    printf("],");
    qsort(times_ms, count, sizeof *times_ms, compare);
    if (count > 0) {
        printf("\"last_reader_ms\":%.3f,\"last_reader_max_ms\":%.3f,", times_ms[count / 2],
               times_ms[count - 1]);
    }
}

static void print_memory(const options *options, const memory *before, const memory *after) {
    double count = (double)options->subscriber_count;
    double user = (double)after->resident_bytes - (double)before->resident_bytes;
    double tcp = (double)(after->kernel.tcp_bytes - before->kernel.tcp_bytes);
    double slab = (double)(after->kernel.slab_bytes - before->kernel.slab_bytes);
    printf("\"subscribers\":%u,\"payload_bytes\":%u,"
           "\"user_bytes_per_reader\":%.1f,\"kernel_bytes_per_reader\":%.1f,"
           "\"tcp_bytes_per_reader\":%.1f,\"slab_bytes_per_reader\":%.1f,"
           "\"user_bytes_before\":%.0f,\"user_bytes_after\":%.0f,",
           options->subscriber_count, options->payload_len, per(user, count),
           per(tcp + slab, count), per(tcp, count), per(slab, count),
           (double)before->resident_bytes, (double)after->resident_bytes);
}

void run_idle(const options *options) {
    static audience audience;
    static publisher publisher;
    loop loop;
    loop_init(&loop, options->wait == WAIT_SPIN);
    rehearse(options, &loop);
    flow *flow = flow_by_hand();
    memory before = memory_of(options);
    audience_open(&audience, options, &loop, flow, options->subscriber_count, 0, 1);
    publisher_open(&publisher, options, &loop, &audience, 1);
    settle((pid_t)options->pid);
    wait_for(&publisher, options->settle_s);
    memory after = memory_of(options);
    snapshot begin = snapshot_take((pid_t)options->pid);
    wait_for(&publisher, options->measured_s);
    snapshot end = snapshot_take((pid_t)options->pid);
    cost cost = cost_between(&begin, &end);
    double *times_ms = must_alloc_zeroed(options->event_count + 1, sizeof *times_ms);
    for (uint32_t i = 0; i < options->event_count; i++) {
        times_ms[i] = publish_one(&publisher);
        wait_for(&publisher, i + 1 < options->event_count ? EVENT_INTERVAL_S : 0);
    }
    publisher_drain(&publisher);
    printf("{\"mode\":\"idle\",");
    stream_print_transport(&audience.members[0].stream);
    print_memory(options, &before, &after);
    printf("\"idle_cpu_share\":%.5f,", per(cost.core_s, cost.wall_s));
    print_times(times_ms, options->event_count);
    cost_print(&cost);
    tally_print_faults(&audience.tally);
    puts("}");
    free(times_ms);
}
