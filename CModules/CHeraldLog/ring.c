/* A circular array. Sequences ascend from first on, so that it can be searched. */
#include "ring.h"

#include <stdlib.h>

static hr_event **place_of(const hr__ring *ring, uint32_t place) {
    return &ring->events[(ring->first + place) & (ring->cap - 1)];
}

/* Precondition: cap >= count; cap is a power of two. */
static hr_status resize(hr__ring *ring, uint32_t cap) {
    hr_event **events = malloc((size_t)cap * sizeof *events);
    if (events == NULL) {
        return HR_ENOMEM;
    }
    for (uint32_t i = 0; i < ring->count; i++) {
        events[i] = *place_of(ring, i);
    }
    free(ring->events);
    ring->events = events;
    ring->first = 0;
    ring->cap = cap;
    return HR_OK;
}

hr_status hr__ring_reserve(hr__ring *ring, uint32_t count) {
    if (count <= ring->cap) {
        return HR_OK;
    }
    if (count > UINT32_C(1) << 31) {
        return HR_ENOMEM;
    }
    uint32_t cap = ring->cap == 0 ? 2 : ring->cap;
    while (cap < count) {
        cap *= 2;
    }
    return resize(ring, cap);
}

/* That sequences ascend is checked by the index, which sees them all. */
void hr__ring_push(hr__ring *ring, hr_event *event) {
    HR_ASSERT(ring->count < ring->cap);
    ring->count++;
    *place_of(ring, ring->count - 1) = event;
}

hr_event *hr__ring_pop(hr__ring *ring) {
    HR_ASSERT(ring->count > 0);
    hr_event *event = *place_of(ring, 0);
    ring->first = (ring->first + 1) & (ring->cap - 1);
    ring->count--;
    return event;
}

hr_event *hr__ring_at(const hr__ring *ring, uint32_t place) {
    HR_ASSERT(place < ring->count);
    return *place_of(ring, place);
}

uint32_t hr__ring_seek(const hr__ring *ring, uint64_t sequence) {
    uint32_t low = 0;
    uint32_t high = ring->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if ((*place_of(ring, middle))->sequence <= sequence) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* A quarter, not a half: a ring around a power of two must not be copied to and fro. */
void hr__ring_shrink(hr__ring *ring, uint32_t needed) {
    uint32_t used = needed > ring->count ? needed : ring->count;
    if (used == 0) {
        hr__ring_fini(ring);
        return;
    }
    uint32_t cap = ring->cap;
    while (cap > 2 && used < cap / 4) {
        cap /= 2;
    }
    if (cap < ring->cap) {
        /* Staying large is no error. */
        hr_status ignored = resize(ring, cap);
        (void)ignored;
    }
}

void hr__ring_fini(hr__ring *ring) {
    free(ring->events);
    *ring = (hr__ring){0};
}
