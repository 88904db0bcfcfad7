/* ring: sends to many connections by one system call, through io_uring.
 *
 * Used as a vector of sends, nothing else: each is submitted, done and judged before the call
 * returns, so that no buffer and no connection is lent to the kernel for longer.
 * Thread: that which made it, for all of its life. */
#ifndef HR_RING_H
#define HR_RING_H

#include "CHeraldNet.h"

#include <sys/uio.h>

typedef struct hr__ring hr__ring;

/* NULL: the kernel, or a container's rules, have none to give. */
hr__ring *hr__ring_new(void);
void hr__ring_free(hr__ring **ring);
/* Sends parts to each of count sockets (at most HR_SEND_COUNT_MAX) without waiting for any.
 * results: bytes taken, or a negative errno. Returns how many were sent to; fewer than count: the
 * ring is broken, and the rest is for the caller to send. */
HR_MUST_CHECK unsigned hr__ring_send(hr__ring *ring, const int *fds, unsigned count,
                                     const struct iovec *parts, int part_count, int *results);

#endif
