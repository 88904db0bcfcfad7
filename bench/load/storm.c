/* Readers who are there get events by the clock, first in calm and then while many others, who were
 * cut off at once, come back: what the storm does to them is the difference. The others read a
 * topic to which nothing is published. */
#include "audience.h"
#include "base.h"
#include "crowd.h"
#include "flow.h"
#include "modes.h"
#include "publisher.h"
#include "snapshot.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define QUIET_TOPIC 0u
#define LIVE_TOPIC 1u
#define TURN_NS UINT64_C(20000000)
/* Between the phases, so that what was published in one is not read in the other. */
#define PAUSE_S 0.3

typedef struct phase {
    snapshot begin;
    snapshot end;
    histogram latency;
    histogram delay;
} phase;

typedef struct run {
    const options *options;
    loop loop;
    audience audience;
    publisher publisher;
    flow *flow;
    int crowd;
    comeback comeback;
    phase calm;
    phase storm;
} run;

static bool is_readable(int channel) {
    char byte;
    ssize_t got = recv(channel, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (got == 0) {
        die("the readers that were cut did not come back");
    }
    return got > 0;
}

static void begin(run *run, phase *phase) {
    flow_measure_begin(run->flow);
    phase->begin = snapshot_take((pid_t)run->options->pid);
}

static void end(run *run, phase *phase) {
    phase->end = snapshot_take((pid_t)run->options->pid);
    flow_measure_end(run->flow);
    publisher_run(&run->publisher, PAUSE_S);
    phase->latency = run->flow->latency;
    phase->delay = run->flow->delay;
    run->flow->latency = (histogram){0};
    run->flow->delay = (histogram){0};
}

static void print_comeback(const run *run) {
    const comeback *comeback = &run->comeback;
    cost storm = cost_between(&run->storm.begin, &run->storm.end);
    cost calm = cost_between(&run->calm.begin, &run->calm.end);
    double core_s = storm.core_s - per(calm.core_s, calm.wall_s) * storm.wall_s;
    printf("\"cut_s\":%.3f,\"all_back_s\":%.3f,\"back_p50_s\":%.3f,\"back_p99_s\":%.3f,"
           "\"tries\":%" PRIu64 ",\"refused\":%" PRIu64 ",\"broken\":%" PRIu64
           ",\"core_us_per_return\":%.1f,",
           comeback->cut_s, comeback->all_s, comeback->p50_s, comeback->p99_s, comeback->tries,
           comeback->refused, comeback->broken,
           per(core_s * 1e6, (double)run->options->subscriber_count));
}

static void report(const run *run) {
    const options *options = run->options;
    cost cost = cost_between(&run->storm.begin, &run->storm.end);
    double calm = (double)histogram_quantile(&run->calm.latency, 990);
    double storm = (double)histogram_quantile(&run->storm.latency, 990);
    printf("{\"mode\":\"storm\",");
    stream_print_transport(&run->audience.members[0].stream);
    printf("\"subscribers\":%u,\"live_subscribers\":%u,\"rate_per_second\":%.9g,"
           "\"payload_bytes\":%u,\"live_deliveries\":%" PRIu64 ",\"live_p99_ratio\":%.4f,",
           options->subscriber_count, options->live_count, options->rate_per_s,
           options->payload_len, run->audience.tally.deliveries, per(storm, calm));
    print_comeback(run);
    histogram_print(&run->calm.latency, "live_before");
    histogram_print(&run->storm.latency, "live_during");
    histogram_print(&run->calm.delay, "live_before_publish_delay");
    histogram_print(&run->storm.delay, "live_during_publish_delay");
    cost_print(&cost);
    tally_print_faults(&run->audience.tally);
    puts("}");
}

void run_storm(const options *options) {
    static run run;
    run.options = options;
    if (!path_is_numbered(options->subscribe_path) || !path_is_numbered(options->publish_path)) {
        die("live readers need a topic of their own: %%u in the paths");
    }
    run.crowd = crowd_gather(options, QUIET_TOPIC);
    /* It has to leave the processor to the readers that come back. */
    loop_init(&run.loop, false);
    run.flow = flow_new(0, options->rate_per_s);
    audience_open(&run.audience, options, &run.loop, run.flow, options->live_count, LIVE_TOPIC, 1);
    publisher_open(&run.publisher, options, &run.loop, &run.audience, 1);
    settle((pid_t)options->pid);
    flow_start(run.flow, now_ns());
    publisher_run(&run.publisher, options->warm_up_s);
    begin(&run, &run.calm);
    publisher_run(&run.publisher, options->measured_s);
    end(&run, &run.calm);
    begin(&run, &run.storm);
    crowd_cut(run.crowd);
    while (!is_readable(run.crowd)) {
        publisher_turn(&run.publisher, now_ns() + TURN_NS, true);
    }
    run.comeback = crowd_result(run.crowd);
    end(&run, &run.storm);
    publisher_drain(&run.publisher);
    report(&run);
}
