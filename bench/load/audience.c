#include "audience.h"

#include "base.h"

#include <inttypes.h>
#include <stdlib.h>

static void on_event(void *context, stream *stream, uint64_t counter) {
    audience *audience = context;
    member *member = (struct member *)stream;
    uint64_t number = counter;
    if (counter >= audience->flow->published) {
        die("an event came that was not published: %" PRIu64, counter);
    }
    if (audience->is_divided) {
        if (counter % audience->topic_count != stream->topic - audience->topic_first) {
            die("event %" PRIu64 " came to a reader of topic %u", counter, stream->topic);
        }
        number = counter / audience->topic_count;
    }
    if (history_accept(&member->history, number, &audience->tally)) {
        audience->tally.deliveries++;
        flow_arrive(audience->flow, counter, audience->now_ns);
    }
}

/* By the clock the moment of each read counts; else that of the turn will do. */
static void on_ready(source *source, uint32_t events) {
    stream *stream = (struct stream *)source;
    audience *audience = stream->kind->context;
    do {
        if (audience->flow->interval_ns > 0) {
            audience->now_ns = now_ns();
        }
    } while (stream_read(stream) && inbox_has_more(&stream->inbox, events));
}

void audience_open(audience *audience, const options *options, const loop *loop, flow *flow,
                   uint32_t count, uint32_t topic_first, uint32_t topic_count) {
    *audience = (struct audience){
        .kind = stream_kind_of(options, on_event, audience),
        .members = must_alloc_zeroed(count, sizeof(member)),
        .count = count,
        .topic_first = topic_first,
        .topic_count = topic_count,
        .is_divided = topic_count > 1 && path_is_numbered(options->subscribe_path),
        .flow = flow,
        .now_ns = now_ns(),
    };
    for (uint32_t i = 0; i < count; i++) {
        stream *stream = &audience->members[i].stream;
        stream_open(stream, &audience->kind, topic_first + i % topic_count, loop);
        stream->source.on_ready = on_ready;
    }
}

uint32_t audience_topic(const audience *audience, uint64_t number) {
    return audience->topic_first + (uint32_t)(number % audience->topic_count);
}

uint32_t audience_reader_count(const audience *audience, uint64_t number) {
    if (!audience->is_divided) {
        return audience->count;
    }
    uint32_t place = (uint32_t)(number % audience->topic_count);
    return audience->count / audience->topic_count +
           (place < audience->count % audience->topic_count ? 1 : 0);
}

/* Events of those numbers below published that leave the remainder place. */
static uint64_t events_of(const audience *audience, uint32_t place) {
    uint64_t published = audience->flow->published;
    return published > place ? (published - place - 1) / audience->topic_count + 1 : 0;
}

void audience_count_lost(audience *audience) {
    for (uint32_t i = 0; i < audience->count; i++) {
        const member *member = &audience->members[i];
        uint64_t due = audience->is_divided
                           ? events_of(audience, member->stream.topic - audience->topic_first)
                           : audience->flow->published;
        audience->tally.lost += due - member->history.next;
    }
}

void audience_close(audience *audience) {
    for (uint32_t i = 0; i < audience->count; i++) {
        stream_close(&audience->members[i].stream);
    }
    free(audience->members);
    audience->members = NULL;
    audience->count = 0;
}
