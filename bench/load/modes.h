/* The modes: each runs, prints one JSON object, and returns. */
#ifndef MODES_H
#define MODES_H

#include "options.h"

/* One publisher, many subscribers: what a delivery costs, and by the clock how long it takes. */
void run_fanout(const options *options);

/* The same short request over many connections: events to publish, or a poll of an empty topic. */
void run_requests(const options *options);

/* Connections that are opened, subscribed and closed, over and over. */
void run_churn(const options *options);

/* Subscribers to whom nothing is sent: memory, processor time, then a few events. */
void run_idle(const options *options);

/* A subscriber that resumes from the earliest event, beside others that are live. */
void run_catchup(const options *options);

/* Subscribers who are cut off all at once and come back, beside others that are live. */
void run_storm(const options *options);

#endif
