/* The one thread's loop over epoll: sockets are told that they are ready, by level or by edge. */
#ifndef LOOP_H
#define LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

/* What begins a struct that waits for a socket. on_ready may close its own socket, no other. */
typedef struct source source;
struct source {
    void (*on_ready)(source *source, uint32_t events);
};

/* For loop_watch: tell once of what comes, and of its end. */
#define EDGES (EPOLLIN | EPOLLRDHUP | EPOLLET)

/* A loop that spins asks again and again instead of sleeping. A generator that sleeps must be woken,
 * and the server pays for that, in a virtual machine dearly: the slower the server, the more often,
 * which is no cost of its own. */
typedef struct loop {
    int epoll;
    bool spins;
} loop;

/* Raises the limit of open files as far as it goes, too. */
void loop_init(loop *loop, bool spins);

/* How long it has spun: processor time in which the generator had nothing to do. */
uint64_t loop_spun_ns(void);

/* Makes fd non-blocking and has source told of events. Closing fd ends it. */
void loop_watch(const loop *loop, int fd, uint32_t events, source *source);

/* Changes the events of which source is told. */
void loop_change(const loop *loop, int fd, uint32_t events, source *source);

/* Waits for sockets until some are ready, or until the time until_ns, and tells their sources. */
void loop_turn(const loop *loop, uint64_t until_ns);

/* Connects to 127.0.0.1, blocking, with a patience of 10 s for connecting and each read. from is
 * the last part of the address 127.0.1.x to come from, so that ports do not run out; 0 is any. */
int connect_to(uint16_t port, uint32_t from);

/* Begins to connect without blocking. The socket can be written when it is connected, or has failed
 * to be. */
int connect_begin(uint16_t port, uint32_t from);

#endif
