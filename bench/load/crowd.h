/* Many readers in a process of their own, who are cut off all at once and come back as fast as they can.
 *
 * It yields to the process that made it: what that one measures is the server's doing, not that of
 * a generator which is busy with ten thousand connections. Nothing is sent to these readers but
 * what the server sends by itself. */
#ifndef CROWD_H
#define CROWD_H

#include "options.h"

#include <stdbool.h>
#include <stdint.h>

/* How a crowd came back. */
typedef struct comeback {
    double cut_s; /* until all had been cut */
    double all_s; /* from the cut until the last was back */
    double p50_s; /* until half of them were */
    double p99_s;
    uint64_t tries;
    uint64_t refused; /* answered 429 or 503, and waited for as long as was told */
    uint64_t broken;  /* ended by the server, or by TCP, before an answer */
} comeback;

/* The end of a channel to a crowd that is there: all its readers of topic are open. Made before
 * anything else that a fork would double. */
int crowd_gather(const options *options, uint32_t topic);

/* Cuts them off. Its channel is then readable when all are back. */
void crowd_cut(int channel);

/* Takes what became of it. */
comeback crowd_result(int channel);

#endif
