/* hr_loop: one event loop and its thread.
 *
 * Thread: functions marked ANY may be called by any thread, all others by the
 *   loop's own (or, before hr_loop_start and after hr_loop_join, by its owner).
 * A turn: timers, then input, then the turn hook, once, when a wake asked for it.
 * Invariant: what crosses threads is the mailbox and the wake flag, nothing else. */
#ifndef HR_LOOP_H
#define HR_LOOP_H

#include "hr_timer.h"

typedef struct hr_loop hr_loop;
typedef void hr_loop_fn(void *context);

#define HR_LOOP_READ_LEN 65536u /* of the read buffer that a loop's connections share */

/* Gives *out, not yet running. turn is called on the loop's thread after hr_loop_wake. */
HR_MUST_CHECK hr_status hr_loop_new(unsigned index, hr_loop_fn *turn, void *context, hr_loop **out);
/* Has hr_conn_write_many use io_uring, where the kernel or a container's rules don't refuse it. Before
 * hr_loop_start. */
void hr_loop_use_ring(hr_loop *loop);
/* How many TLS handshakes go on in a turn, at most: others wait for the next, behind whatever else
 * there is to do. Before hr_loop_start; HR_HANDSHAKE_COUNT unless set. */
#define HR_HANDSHAKE_COUNT 4u
void hr_loop_set_handshakes(hr_loop *loop, unsigned count);
/* Whether the running loop has one. ANY */
bool hr_loop_has_ring(const hr_loop *loop);
/* Starts the thread. HR_ELIMIT: the system has no thread to give. */
HR_MUST_CHECK hr_status hr_loop_start(hr_loop *loop);
/* Asks the thread to end when every handle of the loop has been closed by its owner. ANY */
void hr_loop_stop(hr_loop *loop);
/* Waits for the thread. Not by the loop itself. */
void hr_loop_join(hr_loop *loop);
/* Precondition: joined or never started; every handle closed. */
void hr_loop_free(hr_loop **loop);

/* Runs fn(context) on the loop's thread soon, in the order of posting by one thread. HR_ENOMEM:
 * not posted. What is still in the
 * mailbox when the loop ends is run by hr_loop_join's caller, so that no context leaks. ANY */
HR_MUST_CHECK hr_status hr_loop_post(hr_loop *loop, hr_loop_fn *fn, void *context);
/* Has the turn hook run soon; any number of wakes before it make one. ANY */
void hr_loop_wake(hr_loop *loop);
/* Whether the calling thread is the loop's. ANY */
bool hr_loop_is_current(const hr_loop *loop);
/* The loop whose thread this is, or NULL. ANY */
hr_loop *hr_loop_current(void);

unsigned hr_loop_index(const hr_loop *loop);
/* Milliseconds of the monotonic clock as of this turn's beginning. */
uint64_t hr_loop_now_ms(const hr_loop *loop);
/* Both clocks, asked at most once a turn's input and once a turn hook: what comes in together has
 * come at the same time. */
typedef struct hr_loop_time {
    int64_t wall_ms;
    uint64_t mono_ns;
} hr_loop_time;
hr_loop_time hr_loop_time_now(hr_loop *loop);
hr_wheel *hr_loop_wheel(hr_loop *loop);
/* How late the last wheel tick came, in nanoseconds: the loop's lag. */
uint64_t hr_loop_tick_lag_ns(const hr_loop *loop);
/* Called by the wheel on each tick after the timers, for once-a-tick work. */
void hr_loop_set_tick(hr_loop *loop, hr_loop_fn *tick, void *context);

#endif
