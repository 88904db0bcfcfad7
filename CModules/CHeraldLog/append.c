/* Appending. Events are made before the lock is taken and freed after it is given
 * up; what happens under it is checks, then links that cannot fail. */
#include "log_private.h"

#include <stdlib.h>

/* Arrays up to this long live on the stack: most publishes are of one event. */
#define SMALL_COUNT 16u

typedef struct append {
    const hr_publication *publications;
    hr_event **events;
    hr_receipt *receipts;
    size_t count;
    size_t failed; /* index */
    uint64_t mask; /* loops to wake */
    hr__garbage garbage;
} append;

static hr_status make_events(hr_log *log, append *work, int64_t wall_ms, uint64_t mono_ns) {
    for (size_t i = 0; i < work->count; i++) {
        uint64_t charge = hr__event_charge(&work->publications[i]);
        hr_event *event = NULL;
        if (charge <= log->config.memory_bytes_max && charge <= UINT32_MAX) {
            event = hr__event_new(&work->publications[i], &log->charges);
        }
        if (event == NULL) {
            work->failed = i;
            bool is_too_big = charge > log->config.memory_bytes_max || charge > UINT32_MAX;
            return is_too_big ? HR_ETOOBIG : HR_ENOMEM;
        }
        event->epoch = log->config.epoch;
        event->time_ms = wall_ms;
        event->appended_ns = mono_ns;
        work->events[i] = event;
    }
    return HR_OK;
}

/* Admits one event: finds or makes its topic and room for it there. What it has made is
 * known by event->home, topic->pending and topic->is_new, so that it can be undone. */
static hr_status admit(hr_log *log, hr_event *event) {
    hr__topic *topic = hr__topic_find(log, event->topic);
    if (topic == NULL) {
        hr_status status = hr__topic_new(log, event->topic, &topic);
        if (status != HR_OK) {
            return status;
        }
        topic->is_new = true;
    }
    HR_CHECK(topic, HR__TOPIC_MAGIC);
    event->home = topic;
    topic->pending++;
    const hr_retention *retention = topic->retention;
    if (retention->count_max == 0) {
        return HR_OK;
    }
    if (event->charged_len > retention->bytes_max) {
        return HR_ETOOBIG;
    }
    uint64_t needed = (uint64_t)topic->ring.count + topic->pending;
    return hr__ring_reserve(&topic->ring, needed < retention->count_max ? (uint32_t)needed
                                                                        : retention->count_max);
}

/* Undoes the admission of what was admitted; topics made for it go again. */
static void withdraw(hr_log *log, append *work) {
    for (size_t i = 0; i < work->count; i++) {
        hr__topic *topic = work->events[i]->home;
        work->events[i]->home = NULL;
        if (topic != NULL && --topic->pending == 0) {
            if (topic->is_new) {
                hr__topic_forget(log, topic);
            } else {
                hr__ring_shrink(&topic->ring, 0);
            }
        }
    }
}

static hr_status admit_all(hr_log *log, append *work) {
    hr_status status = HR_OK;
    for (size_t i = 0; i < work->count && status == HR_OK; i++) {
        work->failed = i;
        status = admit(log, work->events[i]);
    }
    if (status == HR_OK) {
        status = hr__index_reserve(&log->index, work->count);
    }
    if (status != HR_OK) {
        withdraw(log, work);
    }
    return status;
}

/* Takes what topic keeps, with event, within its limits, and event in. */
static void retain(hr_log *log, hr__topic *topic, hr_event *event, hr__garbage *garbage) {
    const hr_retention *retention = topic->retention;
    while (topic->ring.count >= retention->count_max) {
        hr__topic_evict(log, topic, HR_EVICT_COUNT, garbage);
    }
    while (topic->retained_bytes > retention->bytes_max - event->charged_len) {
        hr__topic_evict(log, topic, HR_EVICT_BYTES, garbage);
    }
    hr__ring_push(&topic->ring, hr_event_ref(event));
    hr__index_append(&log->index, event);
    topic->retained_bytes += event->charged_len;
    log->retained_bytes += event->charged_len;
}

/* Counts the readers of topic, each interest once; *mask gets their loops. */
static uint32_t count_receivers(hr_log *log, const hr__topic *topic, uint64_t *mask) {
    uint32_t receivers = 0;
    log->mark++;
    for (uint32_t i = 0; i < topic->matches->count; i++) {
        const hr__filter *filter = log->filters[topic->matches->filter_ids[i]];
        for (uint32_t n = 0; n < filter->user_count; n++) {
            hr_interest *interest = filter->users[n].interest;
            if (interest->mark == log->mark) {
                continue;
            }
            interest->mark = log->mark;
            *mask |= UINT64_C(1) << interest->loop;
            receivers += atomic_load_explicit(&interest->members, memory_order_relaxed);
        }
    }
    return receivers;
}

/* A loop that has nothing to read is spared looking through the window; one that has
 * something begins there. */
static void note_wanted(hr_log *log, uint64_t mask, uint64_t sequence) {
    while (mask != 0) {
        int loop = __builtin_ctzll(mask);
        mask &= mask - 1;
        if (log->wanted[loop] == 0) {
            log->wanted[loop] = sequence;
        }
    }
}

/* Not exact on purpose: an event that leaves its ring may live on in the window or with a
 * reader, and its frames count until it is freed. So a bit more than needed may go, but
 * memory that is held counts as held. */
void hr__log_fit_memory(hr_log *log, size_t count_max, hr__garbage *garbage) {
    for (; count_max > 0 && log->index.count > 0; count_max--) {
        /* Frames of events on the garbage are as good as freed. */
        uint64_t held = log->retained_bytes +
                        atomic_load_explicit(&log->charges.frame_bytes, memory_order_relaxed) +
                        atomic_load_explicit(&log->charges.matches_bytes, memory_order_relaxed);
        if (held <= log->config.memory_bytes_max + garbage->frame_bytes) {
            return;
        }
        hr__topic *oldest = hr__index_oldest(&log->index)->home;
        hr__topic_evict(log, oldest, HR_EVICT_MEMORY, garbage);
    }
}

/* Appends one admitted event; takes its reference. Cannot fail. */
static void commit(hr_log *log, append *work, size_t index) {
    hr_event *event = work->events[index];
    hr__topic *topic = event->home;
    HR_CHECK(topic, HR__TOPIC_MAGIC);
    uint64_t sequence = hr__log_head(log) + 1;
    event->sequence = sequence;
    event->matches = hr__matches_ref(topic->matches);
    topic->is_new = false;
    topic->head = sequence;
    topic->published_count++;
    topic->touched_ms = log->clock_ms;
    log->published_count++;
    log->published_bytes += event->data.len;
    if (topic->retention->count_max > 0) {
        retain(log, topic, event, &work->garbage);
    } else {
        event->home = NULL;
        hr__topic_raise_floor(log, topic, sequence);
    }
    topic->pending--; /* not sooner: until now it kept the ring from shrinking */
    if (topic->ring.count <= 1) {
        hr__deadline_update(log, topic);
    }
    uint64_t mask = 0;
    uint32_t receivers = count_receivers(log, topic, &mask);
    hr__window_push(log, event, mask, &work->garbage);
    atomic_store_explicit(&log->head, sequence, memory_order_release);
    hr__log_changed(log);
    note_wanted(log, mask, sequence);
    work->mask |= mask;
    work->receipts[index] =
        (hr_receipt){.sequence = sequence, .time_ms = event->time_ms, .receivers = receivers};
    hr__log_fit_memory(log, SIZE_MAX, &work->garbage);
}

static hr_status append_locked(hr_log *log, append *work, int64_t wall_ms) {
    hr__log_lock(log);
    log->clock_ms = wall_ms;
    hr_status status = admit_all(log, work);
    if (status == HR_OK) {
        for (size_t i = 0; i < work->count; i++) {
            commit(log, work, i);
        }
        hr__index_trim(&log->index);
    }
    hr__log_unlock(log);
    return status;
}

hr_status hr_log_append(hr_log *log, const hr_publication *publications, size_t count,
                        int64_t wall_ms, uint64_t mono_ns, hr_receipt *receipts,
                        size_t *failed_index) {
    HR_CHECK(log, HR__LOG_MAGIC);
    HR_ASSERT(count > 0);
    hr_event *small[SMALL_COUNT] = {NULL};
    append work = {
        .publications = publications, .events = small, .receipts = receipts, .count = count};
    if (count > SMALL_COUNT) {
        work.events = calloc(count, sizeof *work.events);
    }
    hr_status status = HR_ENOMEM;
    if (work.events != NULL) {
        status = make_events(log, &work, wall_ms, mono_ns);
    }
    if (status == HR_OK) {
        status = append_locked(log, &work, wall_ms);
    }
    if (status != HR_OK && failed_index != NULL) {
        *failed_index = work.failed;
    }
    for (size_t i = 0; status != HR_OK && work.events != NULL && i < count; i++) {
        if (work.events[i] != NULL) {
            hr_event_unref(&work.events[i]);
        }
    }
    if (work.mask != 0 && log->wake != NULL) {
        log->wake(work.mask, log->wake_context);
    }
    hr__garbage_free(&work.garbage);
    if (work.events != small) {
        free(work.events);
    }
    return status;
}
