/* hr_listener: one listening socket of one loop (SO_REUSEPORT: each loop has its own on the same
 * address).
 *
 * Thread: LOOP, but for hr_listener_bind, which may be called before the loop runs.
 * Out of descriptors: it stops listening for HR_ACCEPT_PAUSE_MS and tries again; nothing else is
 * touched. */
#ifndef HR_LISTENER_H
#define HR_LISTENER_H

#include "hr_loop.h"

#define HR_ACCEPT_PAUSE_MS 200u
/* At most so many connections a turn: a storm of new ones must not starve those that are here. */
#define HR_ACCEPT_COUNT_MAX 64u

typedef struct hr_listener hr_listener;

/* fd is the new connection's, not blocking, close-on-exec; takes it. */
typedef void hr_listener_accept_fn(hr_listener *listener, int fd, void *context);
/* accept(2) failed for reason: HR_EFILES, or another that did not end the listener. */
typedef void hr_listener_error_fn(hr_listener *listener, hr_status reason, void *context);

/* Whether nobody holds port on host yet. SO_REUSEPORT would let a second server of the same user
 * join in unasked and take a
 * share of the connections. HR_EINUSE, or as hr_listener_bind. ANY */
HR_MUST_CHECK hr_status hr_listener_probe(const char *host, uint16_t port);
/* Binds and listens on host (numeric, IPv4 or IPv6) and port (0: the system chooses). Gives *out.
 * HR_EADDRESS, HR_EINUSE, HR_EACCESS. */
HR_MUST_CHECK hr_status hr_listener_bind(hr_loop *loop, const char *host, uint16_t port,
                                         int backlog, hr_listener **out);
/* The port it is bound to. */
uint16_t hr_listener_port(const hr_listener *listener);
void hr_listener_start(hr_listener *listener, hr_listener_accept_fn *accept,
                       hr_listener_error_fn *error, void *context);
/* Stops accepting, closes the socket, frees the listener later and clears *listener. */
void hr_listener_close(hr_listener **listener);

#endif
