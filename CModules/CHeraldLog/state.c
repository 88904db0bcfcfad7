/* States of topics and of the log, for pages and metrics. */
#include "log_private.h"

#include <stdlib.h>

/* Members of each interest once, however many of its filters match. */
static void state_of(hr_log *log, const hr__topic *topic, hr_topic_state *out) {
    HR_CHECK(topic, HR__TOPIC_MAGIC);
    *out = (hr_topic_state){
        .retained_count = topic->ring.count,
        .retained_bytes = topic->retained_bytes,
        .floor = topic->floor,
        .head = topic->head,
        .published_count = topic->published_count,
    };
    log->mark++;
    for (uint32_t i = 0; i < topic->matches->count; i++) {
        const hr__filter *filter = log->filters[topic->matches->filter_ids[i]];
        for (uint32_t n = 0; n < filter->user_count; n++) {
            hr_interest *interest = filter->users[n].interest;
            if (interest->mark != log->mark) {
                interest->mark = log->mark;
                out->subscribers[interest->transport] +=
                    atomic_load_explicit(&interest->members, memory_order_relaxed);
            }
        }
    }
}

hr_status hr_log_topic_state(hr_log *log, hr_slice name, hr_topic_state *out) {
    hr__log_lock(log);
    const hr__topic *topic = hr__topic_find(log, name);
    if (topic != NULL) {
        state_of(log, topic, out);
    }
    hr__log_unlock(log);
    return topic == NULL ? HR_ENOTFOUND : HR_OK;
}

/* The bytewise smallest names seen so far: a binary max-heap, so that a page of many
 * topics costs no sorting of all. */
typedef struct selection {
    hr_topic_choice choice;
    hr__topic **heap;
    size_t count;
    size_t max;
} selection;

static bool is_less(const hr__topic *a, const hr__topic *b) {
    return hr_slice_compare(hr__topic_name(a), hr__topic_name(b)) < 0;
}

static void sift_down(hr__topic **heap, size_t count, size_t place) {
    hr__topic *moved = heap[place];
    for (size_t child; (child = place * 2 + 1) < count; place = child) {
        if (child + 1 < count && is_less(heap[child], heap[child + 1])) {
            child++;
        }
        if (!is_less(moved, heap[child])) {
            break;
        }
        heap[place] = heap[child];
    }
    heap[place] = moved;
}

static void sift_up(hr__topic **heap, size_t place) {
    hr__topic *moved = heap[place];
    while (place > 0 && is_less(heap[(place - 1) / 2], moved)) {
        heap[place] = heap[(place - 1) / 2];
        place = (place - 1) / 2;
    }
    heap[place] = moved;
}

static bool is_matched(const hr_topic_choice *choice, hr_slice name) {
    if (choice->filter_count == 0) {
        return true;
    }
    for (size_t i = 0; i < choice->filter_count; i++) {
        if (hr_filter_matches(choice->filters[i], name)) {
            return true;
        }
    }
    return false;
}

static void select_topic(void *item, void *context) {
    hr__topic *topic = item;
    selection *into = context;
    hr_slice name = hr__topic_name(topic);
    if (!hr_slice_has_prefix(name, into->choice.prefix) ||
        hr_slice_compare(name, into->choice.after) <= 0) {
        return;
    }
    bool is_last_chosen = into->count == into->max && !is_less(topic, into->heap[0]);
    if (is_last_chosen || !is_matched(&into->choice, name)) {
        return;
    }
    if (into->count < into->max) {
        into->heap[into->count] = topic;
        sift_up(into->heap, into->count++);
    } else {
        into->heap[0] = topic;
        sift_down(into->heap, into->count, 0);
    }
}

/* The node below which all names with prefix lie, or NULL. */
static const hr__node *node_of_prefix(const hr_log *log, hr_slice prefix) {
    size_t len = prefix.len;
    while (len > 0 && prefix.data[len - 1] != '/') {
        len--;
    }
    return len == 0 ? log->topic_trie
                    : hr__trie_find(log->topic_trie, (hr_slice){prefix.data, len - 1});
}

/* Turns the max-heap into ascending order, in place. */
static void sort_selection(selection *chosen) {
    for (size_t count = chosen->count; count > 1; count--) {
        hr__topic *largest = chosen->heap[0];
        chosen->heap[0] = chosen->heap[count - 1];
        sift_down(chosen->heap, count - 1, 0);
        chosen->heap[count - 1] = largest;
    }
}

size_t hr_log_topic_list(hr_log *log, const hr_topic_choice *choice, size_t max, hr_buf *names,
                         size_t *lens, hr_topic_state *states, bool *more) {
    HR_ASSERT(max > 0 && max < SIZE_MAX / sizeof(hr__topic *) - 1);
    *more = true;
    /* One more than asked for tells whether there is more. */
    selection chosen = {.choice = *choice, .max = max + 1};
    chosen.heap = malloc(chosen.max * sizeof *chosen.heap);
    if (chosen.heap == NULL) {
        return 0;
    }
    hr__log_lock(log);
    const hr__node *node = node_of_prefix(log, choice->prefix);
    if (node != NULL) {
        hr__trie_each(node, select_topic, &chosen);
    }
    sort_selection(&chosen);
    size_t listed = 0;
    while (listed < chosen.count && listed < max &&
           hr_buf_append_slice(names, hr__topic_name(chosen.heap[listed])) == HR_OK) {
        lens[listed] = chosen.heap[listed]->name_len;
        state_of(log, chosen.heap[listed], &states[listed]);
        listed++;
    }
    *more = listed < chosen.count;
    hr__log_unlock(log);
    free(chosen.heap);
    return listed;
}

void hr_log_stats_get(hr_log *log, hr_log_stats *out) {
    hr__log_lock(log);
    *out = (hr_log_stats){
        .head = hr__log_head(log),
        .published_count = log->published_count,
        .published_bytes = log->published_bytes,
        .retained_count = log->index.count,
        .retained_bytes = log->retained_bytes,
        .frame_bytes = atomic_load_explicit(&log->charges.frame_bytes, memory_order_relaxed),
        .window_count = log->window.count,
        .window_bytes = log->window.bytes,
        .topic_count = log->topics.count,
        .filter_count = log->filter_count,
        .link_count = log->link_count,
    };
    for (int i = 0; i < HR_EVICT_REASON_COUNT; i++) {
        out->evicted_count[i] = log->evicted_count[i];
    }
    hr__log_unlock(log);
}
