/* hr_time: clocks and RFC 3339 text. ANY thread. */
#ifndef HR_TIME_H
#define HR_TIME_H

#include <stddef.h>
#include <stdint.h>

#define HR_TIME_TEXT_LEN 24 /* 2026-01-02T03:04:05.678Z */

/* Milliseconds since 1970, UTC. */
int64_t hr_time_wall_ms(void);
/* Nanoseconds of a clock that never steps back. */
uint64_t hr_time_mono_ns(void);
/* Writes wall_ms as RFC 3339 §5.6 in UTC, HR_TIME_TEXT_LEN bytes without a NUL. Years 1970-9999. */
void hr_time_format(int64_t wall_ms, char *out);
/* Fills out with len unpredictable bytes of the kernel's; panics if there are none. */
void hr_random_bytes(void *out, size_t len);

#endif
