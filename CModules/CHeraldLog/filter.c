/* Filters are interned: readers with the same filter share one, under a dense id
 * that a topic's snapshot names. An id is given again after its filter has ended,
 * while events in the live window may still name it in their old snapshots. That
 * is harmless because of hr_interest_since: whoever is behind the new filter does
 * not go live before its loop has read past those events. */
#include "log_private.h"

#include <stdlib.h>
#include <string.h>

/* Makes sure that take_id cannot fail. */
static hr_status reserve_id(hr_log *log) {
    if (log->free_id_count > 0 || log->filter_limit < log->filter_cap) {
        return HR_OK;
    }
    uint32_t cap = log->filter_cap == 0 ? 16 : log->filter_cap * 2;
    hr__filter **filters = realloc(log->filters, cap * sizeof *filters);
    if (filters == NULL) {
        return HR_ENOMEM;
    }
    log->filters = filters;
    uint32_t *free_ids = realloc(log->free_ids, cap * sizeof *free_ids);
    if (free_ids == NULL) {
        return HR_ENOMEM;
    }
    log->free_ids = free_ids;
    log->filter_cap = cap;
    return HR_OK;
}

static void take_id(hr_log *log, hr__filter *filter) {
    filter->id = log->free_id_count > 0 ? log->free_ids[--log->free_id_count] : log->filter_limit++;
    log->filters[filter->id] = filter;
}

static void give_id_back(hr_log *log, uint32_t id) {
    log->filters[id] = NULL;
    log->free_ids[log->free_id_count++] = id;
}

/* A copy of old with id put in, or taken out. NULL: out of memory. */
static hr_matches *changed_matches(hr_log *log, const hr_matches *old, uint32_t id, bool is_added) {
    HR_ASSERT(hr__matches_contain(old, id) != is_added);
    uint32_t count = is_added ? old->count + 1 : old->count - 1;
    if (count == 0) {
        return hr__matches_none();
    }
    hr_matches *matches = hr__matches_new(count, &log->charges);
    if (matches == NULL) {
        return NULL;
    }
    uint32_t from = 0;
    uint32_t to = 0;
    while (from < old->count && old->filter_ids[from] < id) {
        matches->filter_ids[to++] = old->filter_ids[from++];
    }
    if (is_added) {
        matches->filter_ids[to++] = id;
    } else {
        from++;
    }
    while (from < old->count) {
        matches->filter_ids[to++] = old->filter_ids[from++];
    }
    HR_ASSERT(to == count);
    return matches;
}

static hr_status reserve_changed(hr_log *log, size_t count) {
    if (count <= log->changed.cap) {
        return HR_OK;
    }
    void **items = realloc(log->changed.items, count * sizeof *items);
    if (items == NULL) {
        return HR_ENOMEM;
    }
    log->changed.items = items;
    log->changed.cap = count;
    return HR_OK;
}

/* Puts id into the snapshots of the topics in log->found, or takes it out: into all
 * or, on HR_ENOMEM, none. Events keep the snapshots that they came with. */
static hr_status relink(hr_log *log, uint32_t id, bool is_added) {
    size_t count = log->found.count;
    hr_status status = reserve_changed(log, count);
    if (status != HR_OK) {
        return status;
    }
    for (size_t i = 0; i < count; i++) {
        const hr__topic *topic = log->found.items[i];
        hr_matches *matches = changed_matches(log, topic->matches, id, is_added);
        if (matches == NULL) {
            while (i-- > 0) {
                hr__matches_unref(log->changed.items[i], &log->charges);
            }
            return HR_ENOMEM;
        }
        log->changed.items[i] = matches;
    }
    for (size_t i = 0; i < count; i++) {
        hr__topic *topic = log->found.items[i];
        hr__matches_unref(topic->matches, &log->charges);
        topic->matches = log->changed.items[i];
    }
    log->link_count = is_added ? log->link_count + count : log->link_count - count;
    return HR_OK;
}

/* Fills log->found with the topics that text matches, with room made for their links. */
static hr_status find_topics(hr_log *log, hr_slice text) {
    hr_status status = hr__trie_topics_of(log->topic_trie, text, &log->found);
    if (status != HR_OK || log->link_count + log->found.count <= log->config.link_count_max) {
        return status;
    }
    hr__filters_make_room(log, log->found.count);
    status = hr__trie_topics_of(log->topic_trie, text, &log->found);
    if (status == HR_OK && log->link_count + log->found.count > log->config.link_count_max) {
        return HR_ELIMIT;
    }
    return status;
}

/* What the filter may have lost before it was known. Of forgotten topics a wildcard
 * knows only the highest floor: it may report a gap that is none, but misses none. */
static uint64_t first_floor(const hr_log *log, hr_slice text) {
    bool is_exact = hr_filter_is_exact(text);
    if (is_exact && log->found.count == 0) {
        return hr__forgotten_floor(log, text);
    }
    uint64_t floor = is_exact ? 0 : log->forgotten_max;
    for (size_t i = 0; i < log->found.count; i++) {
        const hr__topic *topic = log->found.items[i];
        floor = topic->floor > floor ? topic->floor : floor;
    }
    return floor;
}

static void free_filter(hr__filter *filter) {
    free(filter->users);
    HR_MAGIC_CLEAR(filter);
    free(filter);
}

/* Allocates a filter and places it in the trie, where topics made from now on find it. */
static hr_status place_filter(hr_log *log, hr_slice text, hr__filter **out) {
    hr_status status = reserve_id(log);
    if (status != HR_OK) {
        return status;
    }
    hr__filter *filter = malloc(sizeof *filter + text.len);
    if (filter == NULL) {
        return HR_ENOMEM;
    }
    *filter = (hr__filter){.text_len = text.len};
    HR_MAGIC_SET(filter, HR__FILTER_MAGIC);
    hr_link_init(&filter->unused_link);
    memcpy(filter->text, text.data, text.len);
    filter->node = hr__trie_add(log->filter_trie, text);
    if (filter->node == NULL) {
        free_filter(filter);
        return HR_ENOMEM;
    }
    filter->node->item = filter;
    take_id(log, filter);
    *out = filter;
    return HR_OK;
}

static void take_out_filter(hr_log *log, hr__filter *filter) {
    HR_ASSERT(filter->hold_count == 0 && filter->user_count == 0);
    hr__trie_remove(filter->node);
    give_id_back(log, filter->id);
    free_filter(filter);
}

static hr_status filter_new(hr_log *log, hr_slice text, hr__filter **out) {
    HR_ASSERT(text.len > 0 && text.len <= HR_TOPIC_LEN_MAX);
    hr_status status = find_topics(log, text);
    if (status != HR_OK) {
        return status;
    }
    status = place_filter(log, text, out);
    if (status != HR_OK) {
        return status;
    }
    (*out)->floor = first_floor(log, text);
    status = relink(log, (*out)->id, true);
    if (status != HR_OK) {
        take_out_filter(log, *out);
    }
    return status;
}

hr_status hr__filter_hold(hr_log *log, hr_slice text, hr__filter **out) {
    const hr__node *node = hr__trie_find(log->filter_trie, text);
    hr__filter *filter = node == NULL ? NULL : node->item;
    if (filter == NULL) {
        hr_status status = filter_new(log, text, &filter);
        if (status != HR_OK) {
            return status;
        }
    }
    HR_CHECK(filter, HR__FILTER_MAGIC);
    filter->hold_count++;
    if (hr_link_linked(&filter->unused_link)) {
        hr_link_remove(&filter->unused_link);
        log->unused_count--;
    }
    *out = filter;
    return HR_OK;
}

/* Takes filter out of its topics and frees it. On HR_ENOMEM it goes on lingering. */
static hr_status end_unused(hr_log *log, hr__filter *filter) {
    HR_CHECK(filter, HR__FILTER_MAGIC);
    hr_status status = hr__trie_topics_of(log->topic_trie, hr__filter_text(filter), &log->found);
    if (status == HR_OK) {
        status = relink(log, filter->id, false);
    }
    if (status == HR_OK) {
        hr_link_remove(&filter->unused_link);
        log->unused_count--;
        take_out_filter(log, filter);
    }
    return status;
}

static hr__filter *longest_unused(const hr_log *log) {
    return hr_list_empty(&log->unused) ? NULL
                                       : HR_CONTAINER_OF(log->unused.next, hr__filter, unused_link);
}

void hr__filter_release(hr_log *log, hr__filter *filter) {
    HR_CHECK(filter, HR__FILTER_MAGIC);
    HR_ASSERT(filter->hold_count > 0);
    if (--filter->hold_count > 0) {
        return;
    }
    filter->unused_ms = log->clock_ms;
    hr_list_push_back(&log->unused, &filter->unused_link);
    log->unused_count++;
    if (log->unused_count > HR__UNUSED_COUNT_MAX) {
        /* One too many for want of memory is no error: hr_log_tick tries again. */
        hr_status ignored = end_unused(log, longest_unused(log));
        (void)ignored;
    }
}

void hr__filters_expire(hr_log *log, size_t count_max) {
    for (; count_max > 0; count_max--) {
        hr__filter *filter = longest_unused(log);
        if (filter == NULL || (log->unused_count <= HR__UNUSED_COUNT_MAX &&
                               log->clock_ms - filter->unused_ms < HR__UNUSED_MS_MAX)) {
            return;
        }
        if (end_unused(log, filter) != HR_OK) {
            return;
        }
    }
}

void hr__filters_make_room(hr_log *log, uint64_t extra) {
    while (log->link_count + extra > log->config.link_count_max) {
        hr__filter *filter = longest_unused(log);
        if (filter == NULL || end_unused(log, filter) != HR_OK) {
            return;
        }
    }
}

hr_status hr__filter_add_user(hr_log *log, hr_interest *interest, size_t slot) {
    hr__filter *filter = interest->filters[slot].filter;
    if (filter->user_count == filter->user_cap) {
        uint32_t cap = filter->user_cap == 0 ? 1 : filter->user_cap * 2;
        hr__filter_user *users = realloc(filter->users, cap * sizeof *users);
        if (users == NULL) {
            return HR_ENOMEM;
        }
        filter->users = users;
        filter->user_cap = cap;
    }
    if (filter->user_count == 0) {
        log->filter_count++;
    }
    interest->filters[slot].place = filter->user_count;
    filter->users[filter->user_count++] = (hr__filter_user){.interest = interest, .slot = slot};
    return HR_OK;
}

/* The last user takes the place of the one that goes. */
void hr__filter_remove_user(hr_log *log, hr_interest *interest, size_t slot) {
    hr__filter *filter = interest->filters[slot].filter;
    uint32_t place = interest->filters[slot].place;
    HR_ASSERT(place < filter->user_count && filter->users[place].interest == interest);
    hr__filter_user moved = filter->users[--filter->user_count];
    filter->users[place] = moved;
    moved.interest->filters[moved.slot].place = place;
    if (filter->user_count == 0) {
        log->filter_count--;
        free(filter->users);
        filter->users = NULL;
        filter->user_cap = 0;
    }
}

void hr__filters_fini(hr_log *log) {
    HR_ASSERT(log->topics.count == 0);
    for (hr__filter *filter; (filter = longest_unused(log)) != NULL;) {
        hr_link_remove(&filter->unused_link);
        take_out_filter(log, filter);
    }
    free(log->filters);
    free(log->free_ids);
    free(log->found.items);
    free(log->changed.items);
}
