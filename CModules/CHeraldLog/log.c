/* The log's life, its clock and what is done to it from outside. */
#include "log_private.h"

#include <stdlib.h>
#include <string.h>

/* What a call of hr_log_tick does at most, in rounds; between them the lock is free:
 * a quiet log that expires all at once must not stall its publishers. */
#define TICK_ROUND_COUNT_MAX 64u
#define TICK_ROUND_MAX 512u /* evictions and topics forgotten */
/* Ending a filter may touch every topic. */
#define TICK_FILTERS_MAX 16u

hr_log *hr__log_lock(hr_log *log) {
    HR_CHECK(log, HR__LOG_MAGIC);
    int failed = pthread_mutex_lock(&log->lock);
    HR_ASSERT(failed == 0);
    return log;
}

void hr__log_unlock(hr_log *log) {
    int failed = pthread_mutex_unlock(&log->lock);
    HR_ASSERT(failed == 0);
}

/* The caller's rules are copied with their text. */
static hr_status copy_rules(hr_log *log, const hr_log_config *config) {
    size_t text_len = 0;
    for (size_t i = 0; i < config->rule_count; i++) {
        text_len += config->rules[i].filter.len;
    }
    if (config->rule_count == 0) {
        return HR_OK;
    }
    log->rules = calloc(config->rule_count, sizeof *log->rules);
    log->rule_text = malloc(text_len);
    if (log->rules == NULL || log->rule_text == NULL) {
        return HR_ENOMEM;
    }
    char *at = log->rule_text;
    for (size_t i = 0; i < config->rule_count; i++) {
        hr_slice filter = config->rules[i].filter;
        HR_ASSERT(hr_filter_check(filter, NULL));
        log->rules[i] = config->rules[i];
        log->rules[i].filter.data = memcpy(at, filter.data, filter.len);
        at += filter.len;
    }
    log->config.rules = log->rules;
    return HR_OK;
}

static hr_status allocate_parts(hr_log *log, const hr_log_config *config) {
    log->topic_trie = hr__trie_new();
    log->filter_trie = hr__trie_new();
    log->forgotten = calloc(HR__FORGOTTEN_COUNT, sizeof *log->forgotten);
    log->window.entries = calloc(config->window_count, sizeof *log->window.entries);
    if (log->topic_trie == NULL || log->filter_trie == NULL || log->forgotten == NULL ||
        log->window.entries == NULL) {
        return HR_ENOMEM;
    }
    return copy_rules(log, config);
}

static void free_parts(hr_log *log) {
    if (log->topic_trie != NULL) {
        hr__trie_free(&log->topic_trie);
    }
    if (log->filter_trie != NULL) {
        hr__trie_free(&log->filter_trie);
    }
    free(log->forgotten);
    free(log->window.entries);
    free(log->rules);
    free(log->rule_text);
    HR_MAGIC_CLEAR(log);
    free(log);
}

hr_status hr_log_new(const hr_log_config *config, hr_log **out) {
    HR_ASSERT(config->window_count > 0 && (config->window_count & (config->window_count - 1)) == 0);
    hr_log *log = calloc(1, sizeof *log);
    if (log == NULL) {
        return HR_ENOMEM;
    }
    HR_MAGIC_SET(log, HR__LOG_MAGIC);
    log->config = *config;
    log->charges.compressed_len_min = config->compressed_len_min;
    hr_status status = allocate_parts(log, config);
    if (status != HR_OK || pthread_mutex_init(&log->lock, NULL) != 0) {
        free_parts(log);
        return HR_ENOMEM;
    }
    log->window.first = 1;
    hr_link_init(&log->unused);
    *out = log;
    return HR_OK;
}

/* Unlinks everything as eviction would, but leaves no floors. */
static void free_topics(hr_log *log) {
    hr__garbage garbage = {0};
    for (hr_event *oldest; (oldest = hr__index_oldest(&log->index)) != NULL;) {
        hr__topic_evict(log, oldest->home, HR_EVICT_PURGE, &garbage);
    }
    while (log->window.count > 0) {
        hr__window_entry *entry =
            &log->window.entries[log->window.first++ & (log->config.window_count - 1)];
        hr__garbage_drop(&garbage, entry->event);
        log->window.count--;
    }
    hr__garbage_free(&garbage);
    size_t place = 0;
    hr_map_entry entry;
    while (hr_map_next(&log->topics, &place, &entry)) {
        hr__topic_free(log, entry.value);
    }
    hr_map_fini(&log->topics);
}

void hr_log_free(hr_log **log_place) {
    hr_log *log = *log_place;
    HR_CHECK(log, HR__LOG_MAGIC);
    HR_ASSERT(log->filter_count == 0);
    free_topics(log);
    hr__filters_fini(log);
    hr__index_fini(&log->index);
    free(log->heap);
    pthread_mutex_destroy(&log->lock);
    free_parts(log);
    *log_place = NULL;
}

void hr_log_set_wake(hr_log *log, hr_log_wake_fn *wake, void *context) {
    HR_CHECK(log, HR__LOG_MAGIC);
    log->wake = wake;
    log->wake_context = context;
}

uint32_t hr_log_epoch(const hr_log *log) {
    HR_CHECK(log, HR__LOG_MAGIC);
    return log->config.epoch;
}

size_t hr_log_compressed_len_min(const hr_log *log) {
    HR_CHECK(log, HR__LOG_MAGIC);
    return log->config.compressed_len_min;
}

uint64_t hr_log_head(hr_log *log) {
    HR_CHECK(log, HR__LOG_MAGIC);
    return atomic_load_explicit(&log->head, memory_order_acquire);
}

uint64_t hr_log_version(const hr_log *log) {
    HR_CHECK(log, HR__LOG_MAGIC);
    return atomic_load_explicit(&log->version, memory_order_acquire);
}

/* Does up to TICK_ROUND_MAX things that are due; returns whether that was not enough. */
static bool tick_round(hr_log *log, hr__garbage *garbage) {
    size_t work = TICK_ROUND_MAX;
    for (hr__topic *topic; (topic = hr__deadline_due(log, &work)) != NULL; work--) {
        if (topic->ring.count > 0) {
            hr__topic_evict(log, topic, HR_EVICT_AGE, garbage);
        } else {
            hr__topic_forget(log, topic);
        }
    }
    return work == 0;
}

/* Freed between the rounds, not at the end: what a round evicts may be much. */
void hr_log_tick(hr_log *log, int64_t wall_ms) {
    bool is_more = true;
    for (size_t round = 0; round < TICK_ROUND_COUNT_MAX && is_more; round++) {
        hr__garbage garbage = {0};
        hr__log_lock(log);
        log->clock_ms = wall_ms;
        is_more = tick_round(log, &garbage);
        hr__log_unlock(log);
        hr__garbage_free(&garbage);
    }
    hr__garbage garbage = {0};
    hr__log_lock(log);
    hr__filters_expire(log, TICK_FILTERS_MAX);
    /* Frames are made between appends. */
    hr__log_fit_memory(log, TICK_ROUND_MAX, &garbage);
    hr__index_trim(&log->index);
    hr__log_unlock(log);
    hr__garbage_free(&garbage);
}

/* In one go, unlike a tick: its floor must be the head when it returns. */
hr_status hr_log_purge(hr_log *log, hr_slice name) {
    hr__garbage garbage = {0};
    hr__log_lock(log);
    hr__topic *topic = hr__topic_find(log, name);
    while (topic != NULL && topic->ring.count > 0) {
        hr__topic_evict(log, topic, HR_EVICT_PURGE, &garbage);
    }
    hr__index_trim(&log->index);
    hr__log_unlock(log);
    hr__garbage_free(&garbage);
    return topic == NULL ? HR_ENOTFOUND : HR_OK;
}
