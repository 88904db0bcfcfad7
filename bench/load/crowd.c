#define _GNU_SOURCE
#include "crowd.h"

#include "base.h"
#include "histogram.h"
#include "loop.h"
#include "stream.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define TURN_NS UINT64_C(10000000)
/* One address has ports for 28,000 connections. */
#define ADDRESS_COUNT 250u
/* So many at a time when they first come: that is not what is measured. */
#define GATHERING_COUNT 64u
/* Who is not answered comes back after a wait that doubles, of which half is drawn. */
#define WAIT_MIN_NS (NS_PER_S / 20)
#define WAIT_MAX_NS (2 * NS_PER_S)
#define PATIENCE_NS (120 * NS_PER_S)
#define NICENESS 5

typedef enum state { AWAY, CONNECTING, SHAKING, ASKING, OPEN } state;

typedef struct crowd crowd;

typedef struct returner {
    stream stream; /* first: its socket's readiness leads back to it */
    crowd *crowd;
    state state;
    uint32_t fails;    /* in a row */
    uint64_t begin_ns; /* when an AWAY one may try */
} returner;

struct crowd {
    loop loop;
    stream_kind kind;
    returner *returners;
    uint32_t count;
    uint32_t topic;
    uint32_t trying_max;
    uint32_t trying;
    uint32_t open;
    uint64_t cut_ns;
    histogram back;
    comeback result;
};

static void on_ready(source *source, uint32_t events);

/* --- One of them --- */

static void leave(returner *returner, uint64_t begin_ns) {
    static const struct linger reset = {.l_onoff = 1, .l_linger = 0};
    crowd *crowd = returner->crowd;
    crowd->open -= returner->state == OPEN;
    crowd->trying -= returner->state != OPEN && returner->state != AWAY;
    (void)setsockopt(returner->stream.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    stream_close(&returner->stream);
    returner->state = AWAY;
    returner->begin_ns = begin_ns;
}

static void fail(returner *returner) {
    uint32_t doublings = returner->fails < 6 ? returner->fails : 6;
    uint64_t wait = WAIT_MIN_NS << doublings;
    wait = wait < WAIT_MAX_NS ? wait : WAIT_MAX_NS;
    returner->fails++;
    returner->crowd->result.broken++;
    leave(returner, now_ns() + wait / 2 + (uint64_t)random() % (wait / 2));
}

static void begin(returner *returner, uint32_t index) {
    crowd *crowd = returner->crowd;
    returner->stream =
        (stream){.source = {.on_ready = on_ready},
                 .fd = connect_begin((uint16_t)crowd->kind.port, 1 + index % ADDRESS_COUNT),
                 .topic = crowd->topic,
                 .kind = &crowd->kind};
    returner->state = CONNECTING;
    crowd->trying++;
    crowd->result.tries++;
    loop_watch(&crowd->loop, returner->stream.fd, EPOLLOUT, &returner->stream.source);
}

static void ask(returner *returner) {
    const stream *stream = &returner->stream;
    char text[REQUEST_MAX];
    size_t len = stream_request(stream->kind, stream->topic, text, sizeof text);
    bool is_sent = stream->inbox.tls != NULL
                       ? tls_try_send(stream->inbox.tls, text, len)
                       : send(stream->fd, text, len, MSG_NOSIGNAL) == (ssize_t)len;
    returner->state = ASKING;
    if (!is_sent) {
        fail(returner);
    }
}

static void shake(returner *returner) {
    switch (tls_advance(returner->stream.inbox.tls)) {
    case TLS_WAITING: break;
    case TLS_READY: ask(returner); break;
    case TLS_BROKEN: fail(returner); break;
    }
}

static void connected(returner *returner) {
    int error = 0;
    socklen_t len = sizeof error;
    stream *stream = &returner->stream;
    if (getsockopt(stream->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0 || error != 0) {
        fail(returner);
        return;
    }
    loop_change(&returner->crowd->loop, stream->fd, EPOLLIN, &stream->source);
    if (stream->kind->is_encrypted) {
        stream->inbox.tls = tls_begin(stream->fd);
        returner->state = SHAKING;
        shake(returner);
    } else {
        ask(returner);
    }
}

static void refused(returner *returner) {
    const answer_head *head = &returner->crowd->kind.head;
    const char *after = answer_field(head, "Retry-After");
    if (head->status != 429 && head->status != 503) {
        die("subscribing was answered: %.*s", (int)strcspn(head->text, "\r"), head->text);
    }
    returner->crowd->result.refused++;
    leave(returner, now_ns() + (after != NULL ? strtoul(after, NULL, 10) : 1) * NS_PER_S);
}

static void opened(returner *returner) {
    crowd *crowd = returner->crowd;
    returner->state = OPEN;
    returner->fails = 0;
    crowd->trying--;
    crowd->open++;
    histogram_add(&crowd->back, now_ns() - crowd->cut_ns);
}

static void hear(returner *returner) {
    crowd *crowd = returner->crowd;
    inbox *inbox = &returner->stream.inbox;
    char *bytes = NULL;
    size_t len = 0;
    switch (inbox_try_read(inbox, returner->stream.fd, &bytes, &len)) {
    case INBOX_NOTHING: return;
    case INBOX_ENDED: fail(returner); return;
    case INBOX_SOME: break;
    }
    answer_head *head = &crowd->kind.head;
    if (answer_head_take(head, bytes, len) == TAKEN_NOTHING) {
        inbox_keep(inbox, bytes, len);
    } else if (head->status != stream_status(&crowd->kind)) {
        refused(returner);
    } else {
        inbox_keep(inbox, bytes + head->len, len - head->len);
        returner->stream.is_open = true;
        opened(returner);
    }
}

static void on_ready(source *source, uint32_t events) {
    returner *returner = (struct returner *)source;
    (void)events;
    switch (returner->state) {
    case AWAY: break;
    case CONNECTING: connected(returner); break;
    case SHAKING: shake(returner); break;
    case ASKING: hear(returner); break;
    case OPEN: (void)stream_read(&returner->stream); break;
    }
}

/* --- All of them --- */

static void on_event(void *context, stream *stream, uint64_t counter) {
    (void)context;
    (void)stream;
    die("an event came to a reader to whom none was published: %llu", (unsigned long long)counter);
}

/* Turns until all are open. */
static void gather(crowd *crowd) {
    uint64_t end = now_ns() + PATIENCE_NS;
    crowd->back = (histogram){0};
    while (crowd->open < crowd->count) {
        uint64_t now = now_ns();
        if (now > end) {
            die("%u of %u readers did not come back", crowd->count - crowd->open, crowd->count);
        }
        for (uint32_t i = 0; i < crowd->count && crowd->trying < crowd->trying_max; i++) {
            if (crowd->returners[i].state == AWAY && crowd->returners[i].begin_ns <= now) {
                begin(&crowd->returners[i], i);
            }
        }
        loop_turn(&crowd->loop, now + TURN_NS);
    }
}

static void storm(crowd *crowd) {
    crowd->result = (comeback){0};
    crowd->trying_max = crowd->count;
    crowd->cut_ns = now_ns();
    for (uint32_t i = 0; i < crowd->count; i++) {
        leave(&crowd->returners[i], 0);
    }
    crowd->result.cut_s = (double)(now_ns() - crowd->cut_ns) / 1e9;
    gather(crowd);
    crowd->result.all_s = (double)crowd->back.max / 1e9;
    crowd->result.p50_s = (double)histogram_quantile(&crowd->back, 500) / 1e9;
    crowd->result.p99_s = (double)histogram_quantile(&crowd->back, 990) / 1e9;
}

typedef struct order {
    source source; /* first: the loop knows no more of it */
    bool is_there;
} order;

static void on_order(source *source, uint32_t events) {
    (void)events;
    ((order *)source)->is_there = true;
}

static void tell(int channel, const void *bytes, size_t len) {
    if (send(channel, bytes, len, MSG_NOSIGNAL) != (ssize_t)len) {
        exit(1);
    }
}

/* Stays until the other end is closed: its readers are then still there for as long. */
static void stay(crowd *crowd, int channel) {
    order order = {.source = {.on_ready = on_order}};
    char byte;
    loop_watch(&crowd->loop, channel, EPOLLIN, &order.source);
    for (;;) {
        loop_turn(&crowd->loop, now_ns() + TURN_NS);
        if (!order.is_there) {
            continue;
        }
        order.is_there = false;
        ssize_t got = recv(channel, &byte, 1, MSG_DONTWAIT);
        if (got == 0) {
            exit(0);
        }
        if (got > 0) {
            storm(crowd);
            tell(channel, &crowd->result, sizeof crowd->result);
        }
    }
}

__attribute__((noreturn)) static void run(const options *options, uint32_t topic, int channel) {
    static crowd crowd;
    crowd.count = options->subscriber_count;
    crowd.topic = topic;
    crowd.trying_max = GATHERING_COUNT;
    crowd.kind = stream_kind_of(options, on_event, &crowd);
    crowd.returners = must_alloc_zeroed(crowd.count, sizeof(returner));
    for (uint32_t i = 0; i < crowd.count; i++) {
        crowd.returners[i].crowd = &crowd;
    }
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (setpriority(PRIO_PROCESS, 0, NICENESS) != 0) {
        die("yielding: %s", strerror(errno));
    }
    loop_init(&crowd.loop, false);
    gather(&crowd);
    tell(channel, "", 1);
    stay(&crowd, channel);
    exit(0);
}

int crowd_gather(const options *options, uint32_t topic) {
    int ends[2];
    char byte;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
        die("opening: %s", strerror(errno));
    }
    pid_t child = fork();
    if (child < 0) {
        die("forking: %s", strerror(errno));
    }
    if (child == 0) {
        close(ends[0]);
        run(options, topic, ends[1]);
    }
    close(ends[1]);
    if (recv(ends[0], &byte, 1, 0) != 1) {
        die("the readers that are to be cut did not come");
    }
    return ends[0];
}

void crowd_cut(int channel) { tell(channel, "", 1); }

comeback crowd_result(int channel) {
    comeback result;
    if (recv(channel, &result, sizeof result, MSG_WAITALL) != sizeof result) {
        die("the readers that were cut did not come back");
    }
    return result;
}
