/* What server and generator had used at a moment, and what the time between two moments cost. */
#ifndef SNAPSHOT_H
#define SNAPSHOT_H

#include "process.h"

#include <stdint.h>

typedef struct snapshot {
    uint64_t at_ns;
    usage server;
    usage generator;
    uint64_t generator_spun_ns;
    double generator_waited_s;
} snapshot;

typedef struct cost {
    double wall_s;
    double user_s; /* the server's processor time */
    double system_s;
    double core_s;          /* both */
    double generator_share; /* what it worked; without spinning */
    double generator_wait_share;
} cost;

snapshot snapshot_take(pid_t server);
cost cost_between(const snapshot *begin, const snapshot *end);

/* Prints the JSON members that all modes have in common, with a comma behind: the seconds, the
 * server's processor time, and the generator's with whether it was the bottleneck: it had no time
 * left while the server had. */
void cost_print(const cost *cost);

/* Waits until the server has nothing to do: what has come to it is then taken in. */
void settle(pid_t server);

#endif
