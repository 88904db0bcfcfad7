/* Latencies by log-linear buckets: three significant digits from a nanosecond to an hour.
 *
 * Below 2048 each value has a bucket of its own; above, each doubling is cut in 1024 equal ones, so
 * that a bucket is never wider than a thousandth of its value. A quantile is told as the highest
 * value of its bucket, and never above the greatest that came. */
#ifndef HISTOGRAM_H
#define HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_HALF_BITS 10u
#define HISTOGRAM_HALF (1u << HISTOGRAM_HALF_BITS)
#define HISTOGRAM_DOUBLINGS 32u
#define HISTOGRAM_COUNT (HISTOGRAM_HALF * (HISTOGRAM_DOUBLINGS + 1))

typedef struct histogram {
    uint64_t counts[HISTOGRAM_COUNT];
    uint64_t total;
    uint64_t max;
} histogram;

/* Values past the last bucket are counted in it. */
void histogram_add(histogram *histogram, uint64_t value);

/* The value that so many of a thousand do not exceed; 0 if there is none. */
uint64_t histogram_quantile(const histogram *histogram, uint32_t per_mille);

/* Prints JSON members PREFIX_p50_us … PREFIX_max_us, each with a comma behind. */
void histogram_print(const histogram *histogram, const char *prefix);

#endif
