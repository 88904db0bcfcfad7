#define _GNU_SOURCE
#include "loop.h"

#include "base.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#define READY_COUNT_MAX 512
#define PATIENCE_S 10

/* Of the program's one loop. */
static uint64_t spun_ns;

void loop_init(loop *loop, bool spins) {
    struct rlimit files;
    loop->spins = spins;
    loop->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll < 0 || getrlimit(RLIMIT_NOFILE, &files) != 0) {
        die("opening: %s", strerror(errno));
    }
    files.rlim_cur = files.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &files);
    /* Events are due to the microsecond; the kernel's usual slack is 50. */
    (void)prctl(PR_SET_TIMERSLACK, 1UL);
}

static void control(const loop *loop, int operation, int fd, uint32_t events, source *source) {
    struct epoll_event event = {.events = events, .data = {.ptr = source}};
    if (epoll_ctl(loop->epoll, operation, fd, &event) != 0) {
        die("watching a socket: %s", strerror(errno));
    }
}

void loop_watch(const loop *loop, int fd, uint32_t events, source *source) {
    if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0) {
        die("watching a socket: %s", strerror(errno));
    }
    control(loop, EPOLL_CTL_ADD, fd, events, source);
}

void loop_change(const loop *loop, int fd, uint32_t events, source *source) {
    control(loop, EPOLL_CTL_MOD, fd, events, source);
}

uint64_t loop_spun_ns(void) { return spun_ns; }

/* What was ready at once did not have to be waited for, and costs no look at the clock. */
static int spin(const loop *loop, struct epoll_event *ready, uint64_t until_ns) {
    int count = epoll_wait(loop->epoll, ready, READY_COUNT_MAX, 0);
    if (count != 0) {
        return count;
    }
    uint64_t begin = now_ns();
    uint64_t now = begin;
    while (count == 0 && now < until_ns) {
        count = epoll_wait(loop->epoll, ready, READY_COUNT_MAX, 0);
        now = now_ns();
    }
    spun_ns += now - begin;
    return count;
}

static int sleep_for(const loop *loop, struct epoll_event *ready, uint64_t until_ns) {
    uint64_t now = now_ns();
    uint64_t wait = until_ns > now ? until_ns - now : 0;
    struct timespec timeout = {.tv_sec = (time_t)(wait / NS_PER_S),
                               .tv_nsec = (long)(wait % NS_PER_S)};
    return epoll_pwait2(loop->epoll, ready, READY_COUNT_MAX, &timeout, NULL);
}

void loop_turn(const loop *loop, uint64_t until_ns) {
    struct epoll_event ready[READY_COUNT_MAX];
    int count = loop->spins ? spin(loop, ready, until_ns) : sleep_for(loop, ready, until_ns);
    if (count < 0 && errno != EINTR) {
        die("waiting: %s", strerror(errno));
    }
    for (int i = 0; i < count; i++) {
        source *source = ready[i].data.ptr;
        source->on_ready(source, ready[i].events);
    }
}

/* A socket to connect, from an address of its own if from is not 0. */
static int open_socket(int flags, uint32_t from) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    int one = 1;
    struct sockaddr_in own = {.sin_family = AF_INET,
                              .sin_addr = {htonl((127u << 24 | 1u << 8) + from)}};
    if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0) {
        die("opening a socket: %s", strerror(errno));
    }
    if (from > 0 && (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one) != 0 ||
                     bind(fd, (const struct sockaddr *)&own, sizeof own) != 0)) {
        die("binding a socket: %s", strerror(errno));
    }
    return fd;
}

static int connect_socket(int fd, uint16_t port) {
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    return connect(fd, (const struct sockaddr *)&address, sizeof address);
}

int connect_to(uint16_t port, uint32_t from) {
    int fd = open_socket(0, from);
    struct timeval patience = {.tv_sec = PATIENCE_S};
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) != 0) {
        die("opening a socket: %s", strerror(errno));
    }
    if (connect_socket(fd, port) != 0) {
        die("connecting to port %u: %s", port, strerror(errno));
    }
    return fd;
}

int connect_begin(uint16_t port, uint32_t from) {
    int fd = open_socket(SOCK_NONBLOCK, from);
    if (connect_socket(fd, port) != 0 && errno != EINPROGRESS) {
        die("connecting to port %u: %s", port, strerror(errno));
    }
    return fd;
}
