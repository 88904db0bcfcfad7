#include "histogram.h"

#include <stdio.h>

/* How far a value is shifted to have HISTOGRAM_HALF_BITS + 1 bits, or less if it is small. */
static uint32_t shift_of(uint64_t value) {
    uint32_t bits = 64 - (uint32_t)__builtin_clzll(value | 1);
    return bits > HISTOGRAM_HALF_BITS + 1 ? bits - HISTOGRAM_HALF_BITS - 1 : 0;
}

void histogram_add(histogram *histogram, uint64_t value) {
    uint32_t shift = shift_of(value);
    uint64_t index = shift * HISTOGRAM_HALF + (value >> shift);
    histogram->counts[index < HISTOGRAM_COUNT ? index : HISTOGRAM_COUNT - 1]++;
    histogram->total++;
    if (value > histogram->max) {
        histogram->max = value;
    }
}

static uint64_t highest_in(uint32_t index) {
    if (index < 2 * HISTOGRAM_HALF) {
        return index;
    }
    uint32_t shift = index / HISTOGRAM_HALF - 1;
    uint64_t top = index - shift * HISTOGRAM_HALF;
    return ((top + 1) << shift) - 1;
}

uint64_t histogram_quantile(const histogram *histogram, uint32_t per_mille) {
    uint64_t rank = (histogram->total * per_mille + 999) / 1000;
    uint64_t seen = 0;
    for (uint32_t i = 0; i < HISTOGRAM_COUNT; i++) {
        seen += histogram->counts[i];
        if (seen > 0 && seen >= rank) {
            uint64_t highest = highest_in(i);
            return highest < histogram->max ? highest : histogram->max;
        }
    }
    return 0;
}

void histogram_print(const histogram *histogram, const char *prefix) {
    static const struct {
        const char *name;
        uint32_t per_mille;
    } quantiles[] = {{"p50", 500}, {"p90", 900}, {"p99", 990}, {"p99_9", 999}};
    for (uint32_t i = 0; i < sizeof quantiles / sizeof *quantiles; i++) {
        printf("\"%s_%s_us\":%.3f,", prefix, quantiles[i].name,
               (double)histogram_quantile(histogram, quantiles[i].per_mille) / 1e3);
    }
    printf("\"%s_max_us\":%.3f,", prefix, (double)histogram->max / 1e3);
}
