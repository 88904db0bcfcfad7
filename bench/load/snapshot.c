#include "snapshot.h"

#include "base.h"
#include "loop.h"

#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

/* Who runs for more of the time than this waits for nobody. */
#define BUSY_SHARE 0.95
#define SETTLE_MS 200u
#define SETTLE_COUNT_MAX 25
/* The kernel accounts in ticks of 10 ms: one of them may be a heartbeat's. */
#define REST_S 0.015

snapshot snapshot_take(pid_t server) {
    return (snapshot){.at_ns = now_ns(),
                      .server = usage_of_tree(server),
                      .generator = usage_of_self(),
                      .generator_spun_ns = loop_spun_ns(),
                      .generator_waited_s = waited_of_self_s()};
}

cost cost_between(const snapshot *begin, const snapshot *end) {
    cost cost = {.wall_s = (double)(end->at_ns - begin->at_ns) / 1e9,
                 .user_s = end->server.user_s - begin->server.user_s,
                 .system_s = end->server.system_s - begin->server.system_s};
    double own = end->generator.user_s - begin->generator.user_s + end->generator.system_s -
                 begin->generator.system_s -
                 (double)(end->generator_spun_ns - begin->generator_spun_ns) / 1e9;
    cost.core_s = cost.user_s + cost.system_s;
    /* One that shares its processor spins by the clock longer than it runs. */
    cost.generator_share = own > 0 ? per(own, cost.wall_s) : 0;
    cost.generator_wait_share =
        per(end->generator_waited_s - begin->generator_waited_s, cost.wall_s);
    return cost;
}

void cost_print(const cost *cost) {
    double server_share = per(cost->core_s, cost->wall_s);
    bool is_saturated = cost->generator_share > BUSY_SHARE && server_share < BUSY_SHARE;
    printf("\"seconds\":%.3f,\"server_user_seconds\":%.2f,\"server_system_seconds\":%.2f,"
           "\"server_cpu_share\":%.3f,",
           cost->wall_s, cost->user_s, cost->system_s, server_share);
    printf("\"generator_cpu_share\":%.3f,\"generator_wait_share\":%.3f,\"saturated\":%s,",
           cost->generator_share, cost->generator_wait_share, is_saturated ? "true" : "false");
}

void settle(pid_t server) {
    usage before = usage_of_tree(server);
    for (int i = 0; i < SETTLE_COUNT_MAX; i++) {
        usleep(SETTLE_MS * 1000);
        usage now = usage_of_tree(server);
        if (now.user_s + now.system_s - before.user_s - before.system_s < REST_S) {
            return;
        }
        before = now;
    }
}
