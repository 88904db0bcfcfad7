/* Each connection is opened, subscribes, is closed when the server has agreed, and begins anew.
 * They come from many addresses of the loopback network: one address has ports for 28,000
 * connections, and a connection that was closed holds its port for a while. */
#include "base.h"
#include "http.h"
#include "inbox.h"
#include "modes.h"
#include "snapshot.h"
#include "stream.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TURN_NS UINT64_C(20000000)
#define ADDRESS_COUNT 250u

typedef struct run run;

typedef struct visitor {
    source source; /* first: the loop knows no more of it */
    int fd;
    inbox inbox;
    run *run;
} visitor;

struct run {
    loop loop;
    stream_kind kind;
    char request[REQUEST_MAX];
    size_t request_len;
    uint64_t opened;
    uint64_t cycles;
    uint64_t progress_ns;
};

static void on_ready(source *source, uint32_t events);

static void come(visitor *visitor) {
    run *run = visitor->run;
    uint32_t from = 1 + (uint32_t)(run->opened++ % ADDRESS_COUNT);
    visitor->source.on_ready = on_ready;
    visitor->fd = connect_to((uint16_t)run->kind.port, from);
    if (send(visitor->fd, run->request, run->request_len, MSG_NOSIGNAL) !=
        (ssize_t)run->request_len) {
        die("subscribing: %s", strerror(errno));
    }
    loop_watch(&run->loop, visitor->fd, EPOLLIN, &visitor->source);
}

static void on_ready(source *source, uint32_t events) {
    visitor *visitor = (struct visitor *)source;
    run *run = visitor->run;
    answer_head *head = &run->kind.head;
    char *bytes = NULL;
    size_t len = 0;
    (void)events;
    if (!inbox_read(&visitor->inbox, visitor->fd, "visitor", &bytes, &len)) {
        return;
    }
    if (answer_head_take(head, bytes, len) == TAKEN_NOTHING) {
        inbox_keep(&visitor->inbox, bytes, len);
        return;
    }
    if (head->status != stream_status(&run->kind)) {
        die("subscribing was answered: %.*s", (int)strcspn(head->text, "\r"), head->text);
    }
    inbox_keep(&visitor->inbox, bytes, 0);
    close(visitor->fd);
    run->cycles++;
    come(visitor);
}

static void run_for(run *run, double seconds) {
    uint64_t now = now_ns();
    uint64_t end = now + (uint64_t)(seconds * 1e9);
    run->progress_ns = now;
    while (now < end) {
        uint64_t before = run->cycles;
        loop_turn(&run->loop, now + TURN_NS);
        now = now_ns();
        if (run->cycles > before) {
            run->progress_ns = now;
        } else if (now > run->progress_ns + STALL_NS) {
            die("no subscription was answered for two seconds");
        }
    }
}

static void report(const options *options, double cycles, const cost *cost) {
    printf("{\"mode\":\"churn\",\"transport\":\"%s\",\"connections\":%u,\"cycles\":%.0f,"
           "\"cycles_per_core_second\":%.0f,\"cycles_per_second\":%.0f,",
           transport_name(options->transport), options->connection_count, cycles,
           per(cycles, cost->core_s), per(cycles, cost->wall_s));
    cost_print(cost);
    puts("\"stalls\":0}");
}

void run_churn(const options *options) {
    static run run;
    loop_init(&run.loop, options->wait == WAIT_SPIN);
    run.kind = stream_kind_of(options, NULL, NULL);
    run.request_len = stream_request(&run.kind, 0, run.request, sizeof run.request);
    visitor *visitors = must_alloc_zeroed(options->connection_count, sizeof(visitor));
    for (uint32_t i = 0; i < options->connection_count; i++) {
        visitors[i].run = &run;
        come(&visitors[i]);
    }
    run_for(&run, options->warm_up_s);
    snapshot begin = snapshot_take((pid_t)options->pid);
    uint64_t cycles = run.cycles;
    run_for(&run, options->measured_s);
    snapshot end = snapshot_take((pid_t)options->pid);
    cost cost = cost_between(&begin, &end);
    report(options, (double)(run.cycles - cycles), &cost);
    for (uint32_t i = 0; i < options->connection_count; i++) {
        close(visitors[i].fd);
        inbox_free(&visitors[i].inbox);
    }
    free(visitors);
}
