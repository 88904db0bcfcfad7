/* ring: sends to many connections by one system call, through io_uring.
 *
 * Used as a vector of sends, nothing else: each is submitted, done and judged before the call
 * returns, so that no buffer and no connection is lent to the kernel for longer.
 * Thread: that which made it, for all of its life. */
#ifndef HR_RING_H
#define HR_RING_H

#include "CHeraldNet.h"

#include <sys/socket.h>

typedef struct hr__ring hr__ring;

/* NULL: the kernel, or a container's rules, have none to give. */
hr__ring *hr__ring_new(void);
void hr__ring_free(hr__ring **ring);
/* A send to be made: of message if there is one, else of bytes. result: bytes taken, or a negative
 * errno. */
typedef struct hr__ring_send {
    int fd;
    int result;
    const char *bytes;
    size_t len;
    const struct msghdr *message;
} hr__ring_send;

/* Makes count sends (at most HR_SEND_COUNT_MAX, no socket twice) without waiting for any. Returns
 * how many were made; fewer than count: the ring is broken, and the rest is for the caller. */
HR_MUST_CHECK unsigned hr__ring_send_all(hr__ring *ring, hr__ring_send *sends, unsigned count);

#endif
