/* Publishes the events of a flow to an audience, over one connection or several. Events of one
 * topic stay on one connection, so that they stay in order. */
#ifndef PUBLISHER_H
#define PUBLISHER_H

#include "audience.h"
#include "client.h"
#include "options.h"

#include <stdint.h>

typedef struct publisher {
    client_kind kind;
    client *clients;
    uint32_t count;
    request request;
    audience *audience;
} publisher;

/* count is that of connections. */
void publisher_open(publisher *publisher, const options *options, const loop *loop,
                    audience *audience, uint32_t count);

/* Publishes one, whatever the flow allows. */
void publisher_publish(publisher *publisher, uint64_t now);

/* One turn of the loop, in which events are published unless the run is coming to its end. until_ns
 * is when the turn has to end at the latest. */
void publisher_turn(publisher *publisher, uint64_t until_ns, bool may_publish);

/* Turns until so many seconds from now. */
void publisher_run(publisher *publisher, double seconds);

/* Waits for what is outstanding; what then has not come is lost. */
void publisher_drain(publisher *publisher);

void publisher_close(publisher *publisher);

#endif
