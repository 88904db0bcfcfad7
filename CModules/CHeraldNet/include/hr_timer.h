/* hr_timer: a coarse timer wheel; one a loop, so that a connection's deadline costs a link and no
 * system call.
 *
 * Thread: LOOP. Resolution: one tick of HR_TICK_MS; a timer fires at the first tick at or after
 * its deadline.
 * The clock is passed in. */
#ifndef HR_TIMER_H
#define HR_TIMER_H

#include "CHeraldBase.h"

#define HR_TICK_MS 100u
#define HR_WHEEL_SLOT_COUNT                                                                        \
    512u /* 51.2 s a turn; later deadlines stay in their slot for more turns */

typedef struct hr_timer hr_timer;
typedef void hr_timer_fn(hr_timer *timer);

/* In place, inside what it belongs to. */
struct hr_timer {
    hr_link link;
    uint64_t due_tick;
    hr_timer_fn *fire;
};

typedef struct hr_wheel {
    hr_link slots[HR_WHEEL_SLOT_COUNT];
    uint64_t now_tick; /* every timer due at or before this has fired */
    size_t count;
} hr_wheel;

void hr_wheel_init(hr_wheel *wheel, uint64_t now_ms);
/* Fires all that is due at now_ms. A timer that fires is out of the wheel and may be armed again
 * by its function. */
void hr_wheel_advance(hr_wheel *wheel, uint64_t now_ms);

void hr_timer_init(hr_timer *timer, hr_timer_fn *fire);
/* Arms timer for now_ms + after_ms, whether or not it was armed. */
void hr_timer_arm(hr_wheel *wheel, hr_timer *timer, uint64_t now_ms, uint64_t after_ms);
void hr_timer_cancel(hr_wheel *wheel, hr_timer *timer);
static inline bool hr_timer_armed(const hr_timer *timer) { return hr_link_linked(&timer->link); }

#endif
