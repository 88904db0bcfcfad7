#include "hub_private.h"

#include <string.h>

const uint64_t hr_bucket_bounds_ns[HR_BUCKET_COUNT] = {
    50000,    100000,   250000,    500000,    1000000,   2500000,    5000000,    10000000,
    25000000, 50000000, 100000000, 250000000, 500000000, 1000000000, 2500000000, 10000000000,
};

void hr__histogram_add(hr_histogram *histogram, uint64_t value_ns, uint64_t times) {
    size_t bucket = 0;
    while (bucket < HR_BUCKET_COUNT && value_ns > hr_bucket_bounds_ns[bucket]) {
        bucket++;
    }
    hr__count(&histogram->buckets[bucket], times);
    hr__count(&histogram->sum_ns, value_ns * times);
}

/* hr_stats is nothing but 64-bit counters, so that the loops' can be added word by word. */
_Static_assert(sizeof(hr_stats) % sizeof(uint64_t) == 0, "hr_stats holds counters only");

void hr_hub_stats_get(hr_hub *hub, hr_stats *out) {
    HR_CHECK(hub, HR_HUB_MAGIC);
    memset(out, 0, sizeof *out);
    uint64_t *sums = (uint64_t *)(void *)out;
    for (unsigned i = 0; i < hub->home_count; i++) {
        const uint64_t *words = (const uint64_t *)(const void *)&hub->homes[i]->stats;
        for (size_t word = 0; word < sizeof *out / sizeof *sums; word++) {
            sums[word] += __atomic_load_n(&words[word], __ATOMIC_RELAXED);
        }
    }
    out->published_events += atomic_load_explicit(&hub->outside_events, memory_order_relaxed);
    out->published_bytes += atomic_load_explicit(&hub->outside_bytes, memory_order_relaxed);
}
