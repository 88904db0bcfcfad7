/* Topics by the time at which something is to be done with them: a binary heap.
 *
 * It is lazy. A deadline that moves away (the common case: the oldest event was
 * evicted for another reason) leaves its key as it is, and is put right when it
 * comes up. Only a deadline that comes nearer is told to the heap. With a wall clock
 * that stepped back, events may stay longer by that step: none goes too early. */
#include "log_private.h"

#include <stdlib.h>

hr_status hr__deadline_reserve(hr_log *log, size_t topic_count) {
    if (topic_count <= log->heap_cap) {
        return HR_OK;
    }
    size_t cap = log->heap_cap == 0 ? 64 : log->heap_cap * 2;
    hr__topic **heap = realloc(log->heap, cap * sizeof *heap);
    if (heap == NULL) {
        return HR_ENOMEM;
    }
    log->heap = heap;
    log->heap_cap = cap;
    return HR_OK;
}

static int64_t add_ms(int64_t from_ms, uint64_t ms) {
    int64_t sum;
    if (ms > INT64_MAX || __builtin_add_overflow(from_ms, (int64_t)ms, &sum)) {
        return HR__NEVER;
    }
    return sum;
}

int64_t hr__deadline_of(const hr_log *log, const hr__topic *topic) {
    if (topic->ring.count == 0) {
        return add_ms(topic->touched_ms, log->config.topic_idle_ms);
    }
    if (topic->retention->age_ms_max == 0) {
        return HR__NEVER;
    }
    return add_ms(hr__ring_at(&topic->ring, 0)->time_ms, topic->retention->age_ms_max);
}

static void put(hr_log *log, uint32_t place, hr__topic *topic) {
    log->heap[place] = topic;
    topic->heap_place = place;
}

static void sift_up(hr_log *log, hr__topic *topic) {
    uint32_t place = topic->heap_place;
    while (place > 0) {
        uint32_t parent = (place - 1) / 2;
        if (log->heap[parent]->deadline_ms <= topic->deadline_ms) {
            break;
        }
        put(log, place, log->heap[parent]);
        place = parent;
    }
    put(log, place, topic);
}

static void sift_down(hr_log *log, hr__topic *topic) {
    uint32_t place = topic->heap_place;
    for (;;) {
        uint32_t child = place * 2 + 1;
        if (child >= log->heap_count) {
            break;
        }
        if (child + 1 < log->heap_count &&
            log->heap[child + 1]->deadline_ms < log->heap[child]->deadline_ms) {
            child++;
        }
        if (topic->deadline_ms <= log->heap[child]->deadline_ms) {
            break;
        }
        put(log, place, log->heap[child]);
        place = child;
    }
    put(log, place, topic);
}

void hr__deadline_update(hr_log *log, hr__topic *topic) {
    int64_t deadline_ms = hr__deadline_of(log, topic);
    if (deadline_ms == HR__NEVER) {
        return;
    }
    if (topic->heap_place == HR__NO_PLACE) {
        HR_ASSERT(log->heap_count < log->heap_cap);
        topic->heap_place = (uint32_t)log->heap_count++;
    } else if (topic->deadline_ms <= deadline_ms) {
        return;
    }
    topic->deadline_ms = deadline_ms;
    sift_up(log, topic);
}

void hr__deadline_remove(hr_log *log, hr__topic *topic) {
    uint32_t place = topic->heap_place;
    if (place == HR__NO_PLACE) {
        return;
    }
    topic->heap_place = HR__NO_PLACE;
    hr__topic *last = log->heap[--log->heap_count];
    if (last != topic) {
        put(log, place, last);
        sift_up(log, last);
        sift_down(log, last);
    }
}

hr__topic *hr__deadline_due(hr_log *log, size_t *work) {
    int64_t now_ms = log->clock_ms;
    while (*work > 0 && log->heap_count > 0 && log->heap[0]->deadline_ms <= now_ms) {
        hr__topic *topic = log->heap[0];
        int64_t deadline_ms = hr__deadline_of(log, topic);
        if (deadline_ms <= now_ms) {
            return topic;
        }
        --*work;
        if (deadline_ms == HR__NEVER) {
            hr__deadline_remove(log, topic);
        } else {
            topic->deadline_ms = deadline_ms;
            sift_down(log, topic);
        }
    }
    return NULL;
}
