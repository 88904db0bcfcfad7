/* Each connection has so many requests under way. For each answer it sends the next request: all
 * that are due after one read go out together. */
#include "base.h"
#include "client.h"
#include "counter.h"
#include "modes.h"
#include "snapshot.h"

#include <inttypes.h>
#include <stdio.h>

#define TURN_NS UINT64_C(20000000)

typedef struct run {
    const options *options;
    loop loop;
    client_kind kind;
    request request;
    client *clients;
    uint64_t asked;
    uint64_t answered;
    uint64_t progress_ns;
    bool is_ending;
} run;

static void ask(run *run, client *client, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        uint32_t topic = (uint32_t)(run->asked % run->options->topic_count);
        client_ask(client, &run->request, topic, run->asked % COUNTER_END);
        run->asked++;
    }
    client_flush(client);
}

static void on_answers(client *client, uint32_t count) {
    run *run = client->kind->context;
    run->answered += count;
    if (!run->is_ending) {
        ask(run, client, count);
    }
}

static void turn(run *run) {
    uint64_t before = run->answered;
    loop_turn(&run->loop, now_ns() + TURN_NS);
    uint64_t now = now_ns();
    if (run->answered > before) {
        run->progress_ns = now;
    } else if (now > run->progress_ns + STALL_NS) {
        die("%" PRIu64 " requests were not answered", run->asked - run->answered);
    }
}

static void run_for(run *run, double seconds) {
    uint64_t end = now_ns() + (uint64_t)(seconds * 1e9);
    while (now_ns() < end) {
        turn(run);
    }
}

static void begin_all(run *run) {
    const options *options = run->options;
    size_t cap = request_len_max(&run->request) * options->pipeline;
    run->clients = must_alloc_zeroed(options->connection_count, sizeof(client));
    run->progress_ns = now_ns();
    for (uint32_t i = 0; i < options->connection_count; i++) {
        client_open(&run->clients[i], &run->kind, cap);
    }
    for (uint32_t i = 0; i < options->connection_count; i++) {
        ask(run, &run->clients[i], options->pipeline);
    }
}

static void report(const run *run, double requests, const cost *cost) {
    const options *options = run->options;
    printf("{\"mode\":\"%s\",\"connections\":%u,\"pipeline\":%u,\"topics\":%u,",
           mode_name(options->mode), options->connection_count, options->pipeline,
           options->topic_count);
    if (options->mode == MODE_PUBLISH) {
        printf("\"payload_bytes\":%u,", options->payload_len);
    }
    printf("\"requests\":%.0f,\"requests_per_core_second\":%.0f,\"requests_per_second\":%.0f,"
           "\"bytes_per_answer\":%.1f,",
           requests, per(requests, cost->core_s), per(requests, cost->wall_s),
           per((double)run->kind.answer_bytes, (double)run->answered));
    cost_print(cost);
    puts("\"stalls\":0}");
}

void run_requests(const options *options) {
    static run run;
    run.options = options;
    loop_init(&run.loop, options->wait == WAIT_SPIN);
    run.kind = (client_kind){.loop = &run.loop,
                             .port = options->port,
                             .may_be_unchanged = options->mode == MODE_POLL,
                             .on_answers = on_answers,
                             .context = &run};
    if (options->mode == MODE_PUBLISH) {
        request_init_publish(&run.request, options->port, options->publish_path,
                             payloads_of(options));
    } else {
        request_init_get(&run.request, options->port, options->poll_path);
    }
    begin_all(&run);
    run_for(&run, options->warm_up_s);
    snapshot begin = snapshot_take((pid_t)options->pid);
    uint64_t answered = run.answered;
    run_for(&run, options->measured_s);
    snapshot end = snapshot_take((pid_t)options->pid);
    double requests = (double)(run.answered - answered);
    run.is_ending = true;
    while (run.answered < run.asked) {
        turn(&run);
    }
    cost cost = cost_between(&begin, &end);
    report(&run, requests, &cost);
}
