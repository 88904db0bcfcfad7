/* Flow: by a window, event k goes out when no more than window - 1 events are outstanding. Requests
 * within the window are pipelined: answers are checked, but not waited for.
 *
 * What is compared is deliveries per second of the server's own processor time, which a shared
 * machine disturbs less than it does deliveries per second. */
#include "audience.h"
#include "base.h"
#include "flow.h"
#include "modes.h"
#include "publisher.h"
#include "snapshot.h"

#include <inttypes.h>
#include <stdio.h>

/* One connection is one publisher; many topics have many. */
#define PUBLISHERS_MAX 8u

typedef struct moment {
    snapshot used;
    tally tally;
    uint64_t received_bytes;
    uint64_t completed;
} moment;

static moment moment_of(const options *options, const audience *audience) {
    return (moment){.used = snapshot_take((pid_t)options->pid),
                    .tally = audience->tally,
                    .received_bytes = audience->kind.received_bytes,
                    .completed = audience->flow->completed};
}

/* Readers of all topics know an order only of events that came over one connection. */
static uint32_t publisher_count_of(const options *options, const audience *audience) {
    if (options->publisher_count > 0) {
        return options->publisher_count;
    }
    uint32_t most = audience->is_divided ? PUBLISHERS_MAX : 1;
    return options->topic_count < most ? options->topic_count : most;
}

static void report(const options *options, const audience *audience, uint32_t publisher_count,
                   const moment *begin, const moment *end) {
    cost cost = cost_between(&begin->used, &end->used);
    double deliveries = (double)(end->tally.deliveries - begin->tally.deliveries);
    double bytes = (double)(end->received_bytes - begin->received_bytes);
    printf("{\"mode\":\"fanout\",");
    stream_print_transport(&audience->members[0].stream);
    printf("\"subscribers\":%u,\"topics\":%u,\"publishers\":%u,\"payload_bytes\":%u,",
           options->subscriber_count, options->topic_count, publisher_count, options->payload_len);
    if (options->rate_per_s > 0) {
        printf("\"rate_per_second\":%.9g,", options->rate_per_s);
        histogram_print(&audience->flow->latency, "latency");
        histogram_print(&audience->flow->delay, "publish_delay");
    } else {
        printf("\"window\":%u,", options->window);
    }
    printf("\"events\":%" PRIu64 ",\"deliveries\":%.0f,\"deliveries_per_core_second\":%.0f,"
           "\"deliveries_per_second\":%.0f,\"core_us_per_delivery\":%.4f,"
           "\"bytes_per_delivery\":%.1f,",
           end->completed - begin->completed, deliveries, per(deliveries, cost.core_s),
           per(deliveries, cost.wall_s), per(cost.core_s * 1e6, deliveries),
           per(bytes, deliveries));
    if (options->compresses) {
        printf("\"compressed_share\":%.4f,",
               per((double)audience->kind.unpacked_count, (double)audience->tally.deliveries));
    }
    cost_print(&cost);
    tally_print_faults(&audience->tally);
    puts("}");
}

void run_fanout(const options *options) {
    static audience audience;
    static publisher publisher;
    loop loop;
    flow *flow = flow_new(options->window, options->rate_per_s);
    loop_init(&loop, options->wait == WAIT_SPIN);
    audience_open(&audience, options, &loop, flow, options->subscriber_count, 0,
                  options->topic_count);
    uint32_t publisher_count = publisher_count_of(options, &audience);
    publisher_open(&publisher, options, &loop, &audience, publisher_count);
    settle((pid_t)options->pid);
    flow_start(flow, now_ns());
    publisher_run(&publisher, options->warm_up_s);
    moment begin = moment_of(options, &audience);
    flow_measure_begin(flow);
    publisher_run(&publisher, options->measured_s);
    flow_measure_end(flow);
    moment end = moment_of(options, &audience);
    publisher_drain(&publisher);
    if (options->compresses && audience.kind.unpacked_count == 0) {
        die("no event came compressed");
    }
    report(options, &audience, publisher_count, &begin, &end);
}
