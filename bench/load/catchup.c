/* A topic is filled, then one reader resumes from its earliest event, reads to its end, and begins
 * anew, for as long as is measured. Live readers of another topic get events by the clock, first
 * alone and then beside it: what the catch-up costs is the difference. */
#include "audience.h"
#include "base.h"
#include "client.h"
#include "flow.h"
#include "modes.h"
#include "publisher.h"
#include "snapshot.h"
#include "stream.h"
#include "tally.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define TURN_NS UINT64_C(20000000)
#define FILL_COUNT 64u
#define FULL_TOPIC 0u
#define LIVE_TOPIC 1u
/* Between the phases, so that what was published in one is not read in the other. */
#define PAUSE_S 0.3

typedef struct catcher {
    stream stream; /* first: its socket's readiness leads back to it */
    stream_kind kind;
    const loop *loop;
    history history;
    tally tally;
    uint64_t event_count;
    uint64_t passes;
    uint64_t progress_ns;
    bool is_reading;
    bool is_at_end;
    bool is_last;
} catcher;

typedef struct phase {
    snapshot begin;
    snapshot end;
    histogram latency;
    histogram delay;
} phase;

typedef struct run {
    const options *options;
    loop loop;
    catcher catcher;
    audience audience;
    publisher publisher;
    flow *flow;
    phase before;
    phase during;
} run;

/* --- The topic --- */

static void fill(run *run) {
    static client_kind kind;
    static client client;
    request request;
    const options *options = run->options;
    kind = (client_kind){.loop = &run->loop, .port = options->port};
    request_init_publish(&request, options->port, options->publish_path, payloads_of(options));
    client_open(&client, &kind, request_len_max(&request) * FILL_COUNT);
    uint64_t progress = now_ns();
    while (client.answered < options->event_count) {
        while (client.asked < options->event_count && client.asked < client.answered + FILL_COUNT &&
               client_has_room(&client, request_len_max(&request))) {
            client_ask(&client, &request, FULL_TOPIC, client.asked);
        }
        client_flush(&client);
        uint64_t answered = client.answered;
        loop_turn(&run->loop, now_ns() + TURN_NS);
        if (client.answered > answered) {
            progress = now_ns();
        } else if (now_ns() > progress + STALL_NS) {
            die("%" PRIu64 " requests were not answered", client.asked - client.answered);
        }
    }
    client_close(&client);
    request_free(&request);
}

/* --- The reader that resumes --- */

static void catcher_begin(catcher *catcher);

static void on_event(void *context, stream *stream, uint64_t counter) {
    catcher *catcher = context;
    (void)stream;
    if (history_accept(&catcher->history, counter, &catcher->tally)) {
        catcher->tally.deliveries++;
    }
    catcher->is_at_end = catcher->history.next == catcher->event_count;
}

static void on_ready(source *source, uint32_t events) {
    catcher *catcher = (struct catcher *)source;
    (void)events;
    if (stream_read(&catcher->stream)) {
        catcher->progress_ns = now_ns();
    }
    if (!catcher->is_at_end) {
        return;
    }
    stream_close(&catcher->stream);
    catcher->is_reading = false;
    catcher->passes++;
    if (!catcher->is_last) {
        catcher_begin(catcher);
    }
}

static void catcher_begin(catcher *catcher) {
    catcher->history = (history){0};
    catcher->is_at_end = false;
    catcher->is_reading = true;
    catcher->progress_ns = now_ns();
    stream_begin(&catcher->stream, &catcher->kind, FULL_TOPIC);
    catcher->stream.source.on_ready = on_ready;
    loop_watch(catcher->loop, catcher->stream.fd, EPOLLIN, &catcher->stream.source);
}

static void catcher_check(const catcher *catcher) {
    if (catcher->is_reading && now_ns() > catcher->progress_ns + STALL_NS) {
        die("a catch-up stands still after event %" PRIu64 " of %" PRIu64, catcher->history.next,
            catcher->event_count);
    }
}

/* --- The phases --- */

static void turn(run *run, uint64_t end) {
    if (run->options->live_count > 0) {
        publisher_turn(&run->publisher, end, true);
    } else {
        loop_turn(&run->loop, end < now_ns() + TURN_NS ? end : now_ns() + TURN_NS);
    }
    catcher_check(&run->catcher);
}

static void run_for(run *run, double seconds) {
    uint64_t end = now_ns() + (uint64_t)(seconds * 1e9);
    while (now_ns() < end) {
        turn(run, end);
    }
}

static void measure(run *run, phase *phase, bool catches_up) {
    run->catcher.is_last = false;
    flow_measure_begin(run->flow);
    phase->begin = snapshot_take((pid_t)run->options->pid);
    if (catches_up) {
        catcher_begin(&run->catcher);
    }
    run_for(run, run->options->measured_s);
    run->catcher.is_last = true;
    while (run->catcher.is_reading) {
        turn(run, now_ns() + TURN_NS);
    }
    phase->end = snapshot_take((pid_t)run->options->pid);
    flow_measure_end(run->flow);
    if (run->options->live_count > 0) {
        run_for(run, PAUSE_S);
    }
    phase->latency = run->flow->latency;
    phase->delay = run->flow->delay;
    run->flow->latency = (histogram){0};
    run->flow->delay = (histogram){0};
}

/* --- The report --- */

static void add(tally *sum, const tally *other) {
    sum->lost += other->lost;
    sum->repeated += other->repeated;
    sum->disordered += other->disordered;
    sum->stalls += other->stalls;
}

static void report(const run *run) {
    const options *options = run->options;
    const catcher *catcher = &run->catcher;
    cost alone = cost_between(&run->before.begin, &run->before.end);
    cost both = cost_between(&run->during.begin, &run->during.end);
    double live_core_s = per(alone.core_s, alone.wall_s) * both.wall_s;
    double events = (double)catcher->tally.deliveries;
    tally faults = catcher->tally;
    add(&faults, &run->audience.tally);
    printf("{\"mode\":\"catchup\",\"transport\":\"%s\",\"events\":%u,\"payload_bytes\":%u,"
           "\"live_subscribers\":%u,\"passes\":%" PRIu64 ",\"catchup_events\":%.0f,",
           transport_name(options->transport), options->event_count, options->payload_len,
           options->live_count, catcher->passes, events);
    printf("\"catchup_events_per_core_second\":%.0f,\"catchup_events_per_second\":%.0f,"
           "\"catchup_core_seconds\":%.2f,\"bytes_per_delivery\":%.1f,",
           per(events, both.core_s - live_core_s), per(events, both.wall_s),
           both.core_s - live_core_s, per((double)catcher->kind.received_bytes, events));
    if (options->live_count > 0) {
        double before = (double)histogram_quantile(&run->before.latency, 990);
        double during = (double)histogram_quantile(&run->during.latency, 990);
        printf("\"rate_per_second\":%.9g,\"live_deliveries\":%" PRIu64 ",\"live_p99_ratio\":%.4f,"
               "\"live_core_seconds\":%.2f,",
               options->rate_per_s, run->audience.tally.deliveries, per(during, before),
               live_core_s);
        histogram_print(&run->before.latency, "live_before");
        histogram_print(&run->during.latency, "live_during");
        histogram_print(&run->before.delay, "live_before_publish_delay");
        histogram_print(&run->during.delay, "live_during_publish_delay");
    }
    cost_print(&both);
    tally_print_faults(&faults);
    puts("}");
}

void run_catchup(const options *options) {
    static run run;
    run.options = options;
    if (options->live_count > 0 &&
        (!path_is_numbered(options->subscribe_path) || !path_is_numbered(options->publish_path))) {
        die("live readers need a topic of their own: %%u in the paths");
    }
    loop_init(&run.loop, options->wait == WAIT_SPIN);
    fill(&run);
    run.catcher.kind = stream_kind_of(options, on_event, &run.catcher);
    run.catcher.kind.is_from_earliest = true;
    run.catcher.loop = &run.loop;
    run.catcher.event_count = options->event_count;
    run.flow = flow_new(0, options->rate_per_s);
    if (options->live_count > 0) {
        audience_open(&run.audience, options, &run.loop, run.flow, options->live_count, LIVE_TOPIC,
                      1);
        publisher_open(&run.publisher, options, &run.loop, &run.audience, 1);
    }
    settle((pid_t)options->pid);
    flow_start(run.flow, now_ns());
    if (options->live_count > 0) {
        run_for(&run, options->warm_up_s);
        measure(&run, &run.before, false);
    }
    measure(&run, &run.during, true);
    if (options->live_count > 0) {
        publisher_drain(&run.publisher);
    }
    report(&run);
}
