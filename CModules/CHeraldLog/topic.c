/* Topics come with their first event and go when they have been empty for a while.
 * What they lost stays known: a reader that comes back later must learn of it. */
#include "log_private.h"

#include <stdlib.h>
#include <string.h>

/* Publishers and pollers ask for the same topic again and again. */
hr__topic *hr__topic_find(hr_log *log, hr_slice name) {
    if (log->found_last == NULL || !hr_slice_equal(hr__topic_name(log->found_last), name)) {
        log->found_last = hr_map_get(&log->topics, name);
    }
    return log->found_last;
}

static uint64_t *bucket_of(const hr_log *log, hr_slice name) {
    return &log->forgotten[hr_hash(name) % HR__FORGOTTEN_COUNT];
}

uint64_t hr__forgotten_floor(const hr_log *log, hr_slice name) { return *bucket_of(log, name); }

/* The first rule that matches wins; asked once a topic, so a list will do. */
static const hr_retention *retention_of(const hr_log *log, hr_slice name) {
    for (size_t i = 0; i < log->config.rule_count; i++) {
        if (hr_filter_matches(log->rules[i].filter, name)) {
            return &log->rules[i].retention;
        }
    }
    return &log->config.retention;
}

static int compare_ids(const void *a, const void *b) {
    uint32_t left = *(const uint32_t *)a;
    uint32_t right = *(const uint32_t *)b;
    return left < right ? -1 : left > right;
}

/* The snapshot of the filters that match name. */
static hr_status matches_of(hr_log *log, hr_slice name, hr_matches **out) {
    hr_status status = hr__trie_filters_of(log->filter_trie, name, &log->found);
    if (status != HR_OK) {
        return status;
    }
    size_t count = log->found.count;
    if (count == 0) {
        *out = hr__matches_none();
        return HR_OK;
    }
    hr_matches *matches = hr__matches_new((uint32_t)count, &log->charges);
    if (matches == NULL) {
        return HR_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        const hr__filter *filter = log->found.items[i];
        matches->filter_ids[i] = filter->id;
    }
    qsort(matches->filter_ids, count, sizeof *matches->filter_ids, compare_ids);
    *out = matches;
    return HR_OK;
}

/* The filters' snapshot, with room made for their links. */
static hr_status link_topic(hr_log *log, hr_slice name, hr_matches **out) {
    hr_status status = matches_of(log, name, out);
    if (status != HR_OK || log->link_count + (*out)->count <= log->config.link_count_max) {
        return status;
    }
    /* What matched may be among the filters that end now: look again. */
    uint32_t needed = (*out)->count;
    hr__matches_unref(*out, &log->charges);
    hr__filters_make_room(log, needed);
    status = matches_of(log, name, out);
    if (status == HR_OK && log->link_count + (*out)->count > log->config.link_count_max) {
        hr__matches_unref(*out, &log->charges);
        status = HR_ELIMIT;
    }
    return status;
}

/* Allocates and places topic in the map and the trie; not yet linked. */
static hr_status place_topic(hr_log *log, hr_slice name, hr__topic **out) {
    hr_status status = hr__deadline_reserve(log, log->topics.count + 1);
    if (status != HR_OK) {
        return status;
    }
    hr__topic *topic = malloc(sizeof *topic + name.len);
    if (topic == NULL) {
        return HR_ENOMEM;
    }
    *topic = (hr__topic){.heap_place = HR__NO_PLACE, .name_len = name.len};
    HR_MAGIC_SET(topic, HR__TOPIC_MAGIC);
    memcpy(topic->name, name.data, name.len);
    topic->node = hr__trie_add(log->topic_trie, hr__topic_name(topic));
    if (topic->node == NULL) {
        free(topic);
        return HR_ENOMEM;
    }
    status = hr_map_insert(&log->topics, hr__topic_name(topic), topic);
    if (status != HR_OK) {
        hr__trie_remove(topic->node);
        free(topic);
        return status;
    }
    topic->node->item = topic;
    *out = topic;
    return HR_OK;
}

/* The floor of its bucket may be another topic's: a false gap, which is allowed. */
hr_status hr__topic_new(hr_log *log, hr_slice name, hr__topic **out) {
    HR_ASSERT(name.len > 0 && name.len <= HR_TOPIC_LEN_MAX);
    if (log->topics.count >= log->config.topic_count_max) {
        return HR_ELIMIT;
    }
    hr_matches *matches;
    hr_status status = link_topic(log, name, &matches);
    if (status != HR_OK) {
        return status;
    }
    status = place_topic(log, name, out);
    if (status != HR_OK) {
        hr__matches_unref(matches, &log->charges);
        return status;
    }
    hr__topic *topic = *out;
    topic->matches = matches;
    log->link_count += matches->count;
    topic->retention = retention_of(log, name);
    topic->floor = hr__forgotten_floor(log, name);
    topic->first_floor = topic->floor;
    topic->head = topic->floor;
    topic->touched_ms = log->clock_ms;
    return HR_OK;
}

void hr__topic_forget(hr_log *log, hr__topic *topic) {
    uint64_t *bucket = bucket_of(log, hr__topic_name(topic));
    if (*bucket < topic->floor) {
        *bucket = topic->floor;
    }
    if (log->forgotten_max < topic->floor) {
        log->forgotten_max = topic->floor;
    }
    hr__log_changed(log);
    void *removed = hr_map_remove(&log->topics, hr__topic_name(topic));
    HR_ASSERT(removed == topic);
    hr__topic_free(log, topic);
}

void hr__topic_free(hr_log *log, hr__topic *topic) {
    HR_CHECK(topic, HR__TOPIC_MAGIC);
    HR_ASSERT(topic->ring.count == 0 && topic->pending == 0);
    log->found_last = NULL;
    hr__deadline_remove(log, topic);
    HR_ASSERT(log->link_count >= topic->matches->count);
    log->link_count -= topic->matches->count;
    hr__matches_unref(topic->matches, &log->charges);
    hr__trie_remove(topic->node);
    hr__ring_fini(&topic->ring);
    HR_MAGIC_CLEAR(topic);
    free(topic);
}

/* Each filter has a floor of its own because asking all of its topics on every read would
 * be a walk, and a wildcard may match them all. */
void hr__topic_raise_floor(hr_log *log, hr__topic *topic, uint64_t sequence) {
    HR_ASSERT(topic->floor < sequence);
    topic->floor = sequence;
    hr__log_changed(log);
    const hr_matches *matches = topic->matches;
    for (uint32_t i = 0; i < matches->count; i++) {
        hr__filter *filter = log->filters[matches->filter_ids[i]];
        HR_CHECK(filter, HR__FILTER_MAGIC);
        if (filter->floor < sequence) {
            filter->floor = sequence;
        }
    }
}

void hr__topic_evict(hr_log *log, hr__topic *topic, hr_evict_reason reason, hr__garbage *garbage) {
    HR_CHECK(topic, HR__TOPIC_MAGIC);
    hr_event *event = hr__ring_pop(&topic->ring);
    HR_ASSERT(event->home == topic && topic->retained_bytes >= event->charged_len);
    hr__index_remove(&log->index, event->sequence);
    topic->retained_bytes -= event->charged_len;
    log->retained_bytes -= event->charged_len;
    log->evicted_count[reason]++;
    hr__topic_raise_floor(log, topic, event->sequence);
    if (topic->ring.count == 0) {
        topic->touched_ms = log->clock_ms;
        hr__deadline_update(log, topic);
    }
    hr__ring_shrink(&topic->ring, topic->ring.count + topic->pending);
    event->home = NULL;
    hr__garbage_drop(garbage, event);
}

/* An event whose last reference is gone is nobody's: its home is free to be the link. */
void hr__garbage_drop(hr__garbage *garbage, hr_event *event) {
    if (hr__event_release(event)) {
        garbage->frame_bytes += hr__event_frame_bytes(event);
        event->home = garbage->first;
        garbage->first = event;
    }
}

void hr__garbage_free(hr__garbage *garbage) {
    while (garbage->first != NULL) {
        hr_event *event = garbage->first;
        garbage->first = event->home;
        hr__event_free(event);
    }
    garbage->frame_bytes = 0;
}
