#include "publisher.h"

#include "base.h"

#include <inttypes.h>
#include <stdlib.h>

#define TURN_NS UINT64_C(20000000)
/* Requests that may wait to be sent, if no window says. */
#define WAITING_COUNT 1024u
#define WAITING_LEN_MAX (8u << 20)

void publisher_open(publisher *publisher, const options *options, const loop *loop,
                    audience *audience, uint32_t count) {
    *publisher = (struct publisher){
        .kind = {.loop = loop, .port = options->port},
        .clients = must_alloc_zeroed(count, sizeof(client)),
        .count = count,
        .audience = audience,
    };
    request_init_publish(&publisher->request, options->port, options->publish_path,
                         payloads_of(options));
    size_t len = request_len_max(&publisher->request);
    size_t waiting = options->window > 0 ? options->window : WAITING_COUNT;
    if (len * waiting > WAITING_LEN_MAX) {
        waiting = WAITING_LEN_MAX / len;
    }
    for (uint32_t i = 0; i < count; i++) {
        client_open(&publisher->clients[i], &publisher->kind, len * waiting);
    }
}

static client *client_of(publisher *publisher, uint64_t number) {
    return &publisher->clients[number % publisher->audience->topic_count % publisher->count];
}

static void flush(publisher *publisher) {
    for (uint32_t i = 0; i < publisher->count; i++) {
        if (publisher->clients[i].out_len > 0 && !publisher->clients[i].is_blocked) {
            client_flush(&publisher->clients[i]);
        }
    }
}

static void publish_next(publisher *publisher, uint64_t now) {
    audience *audience = publisher->audience;
    uint64_t number = audience->flow->published;
    (void)flow_publish(audience->flow, audience_reader_count(audience, number), now);
    client_ask(client_of(publisher, number), &publisher->request, audience_topic(audience, number),
               number);
}

void publisher_publish(publisher *publisher, uint64_t now) {
    publish_next(publisher, now);
    flush(publisher);
}

/* Publishes as many events as the flow allows now. */
static void pump(publisher *publisher, uint64_t now) {
    flow *flow = publisher->audience->flow;
    size_t len = request_len_max(&publisher->request);
    while (flow_may_publish(flow, now) &&
           client_has_room(client_of(publisher, flow->published), len)) {
        publish_next(publisher, now);
    }
    flush(publisher);
}

void publisher_turn(publisher *publisher, uint64_t until_ns, bool may_publish) {
    audience *audience = publisher->audience;
    uint64_t now = now_ns();
    uint64_t until = now + TURN_NS < until_ns ? now + TURN_NS : until_ns;
    if (may_publish) {
        uint64_t due = flow_next_due(audience->flow, now);
        until = due < until ? due : until;
    }
    audience->now_ns = now;
    loop_turn(publisher->kind.loop, until);
    now = now_ns();
    if (flow_give_up(audience->flow, now)) {
        audience->tally.stalls++;
    }
    if (may_publish) {
        pump(publisher, now);
    }
}

void publisher_run(publisher *publisher, double seconds) {
    uint64_t end = now_ns() + (uint64_t)(seconds * 1e9);
    while (now_ns() < end) {
        publisher_turn(publisher, end, true);
    }
}

static uint64_t unanswered(const publisher *publisher) {
    uint64_t count = 0;
    for (uint32_t i = 0; i < publisher->count; i++) {
        count += publisher->clients[i].asked - publisher->clients[i].answered;
    }
    return count;
}

void publisher_drain(publisher *publisher) {
    while (flow_outstanding(publisher->audience->flow) > 0) {
        publisher_turn(publisher, UINT64_MAX, false);
    }
    uint64_t end = now_ns() + STALL_NS;
    while (unanswered(publisher) > 0 && now_ns() < end) {
        publisher_turn(publisher, end, false);
    }
    if (unanswered(publisher) > 0) {
        die("%" PRIu64 " requests were not answered", unanswered(publisher));
    }
    audience_count_lost(publisher->audience);
}

void publisher_close(publisher *publisher) {
    for (uint32_t i = 0; i < publisher->count; i++) {
        client_close(&publisher->clients[i]);
    }
    free(publisher->clients);
    request_free(&publisher->request);
}
