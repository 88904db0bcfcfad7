/* Many subscribers, and what each of them got. Reader i has topic i modulo the number of topics,
 * or all topics if the path that it subscribes to holds no number. */
#ifndef AUDIENCE_H
#define AUDIENCE_H

#include "flow.h"
#include "loop.h"
#include "options.h"
#include "stream.h"
#include "tally.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct member {
    stream stream; /* first: the stream's events lead back to it */
    history history;
} member;

typedef struct audience {
    stream_kind kind;
    member *members;
    uint32_t count;
    uint32_t topic_first;
    uint32_t topic_count;
    bool is_divided; /* each reader has one topic only */
    flow *flow;
    tally tally;
    uint64_t now_ns; /* of the turn; where latency is measured, of the read */
} audience;

/* Opens count subscribers of so many topics, whose numbers begin at topic_first. flow stays the
 * caller's. */
void audience_open(audience *audience, const options *options, const loop *loop, flow *flow,
                   uint32_t count, uint32_t topic_first, uint32_t topic_count);

/* The topic of an event, and how many readers it has. */
uint32_t audience_topic(const audience *audience, uint64_t number);
uint32_t audience_reader_count(const audience *audience, uint64_t number);

/* Counts what was published and has not come as lost. */
void audience_count_lost(audience *audience);

void audience_close(audience *audience);

#endif
