/* Cohorts: readers that receive the same bytes, found by what they asked for. */
#include "hub_private.h"

#include <stdlib.h>
#include <string.h>

/* So many are sorted on the stack. */
#define HR_FEW_FILTERS 8u

static int order_of(const void *a, const void *b) {
    return hr_slice_compare(*(const hr_slice *)a, *(const hr_slice *)b);
}

hr_status hr__cohort_key(hr_buf *out, const hr_reader *reader, hr__answer_style style,
                         const hr_slice *sorted, size_t count) {
    bool is_poll = reader->transport == HR_LONGPOLL || reader->transport == HR_SHORTPOLL;
    const char kind[] = {
        (char)reader->transport,
        (char)reader->encoding,
        (char)(is_poll && reader->resume != HR__RESUME_NONE),
        (char)(is_poll && style.http10),
        (char)(is_poll && style.keep_alive),
        (char)(is_poll ? style.coding : 0),
    };
    uint32_t numbers[] = {is_poll ? reader->poll_max : 0, is_poll ? style.headers : 0};
    hr_status status = hr_buf_append(out, kind, sizeof kind);
    if (status == HR_OK) {
        status = hr_buf_append(out, numbers, sizeof numbers);
    }
    for (size_t i = 0; status == HR_OK && i < count; i++) {
        status = hr_buf_append_slice(out, sorted[i]);
        if (status == HR_OK) {
            status = hr_buf_append(out, "\n", 1);
        }
    }
    return status;
}

static hr_status grow_subs(hr_home *home) {
    uint32_t limit = hr_log_filter_id_limit(home->hub->log);
    if (limit <= home->subs_cap) {
        return HR_OK;
    }
    uint32_t cap = limit + limit / 2 + 16;
    hr__subs *subs = realloc(home->subs, cap * sizeof *subs);
    if (subs == NULL) {
        return HR_ENOMEM;
    }
    memset(subs + home->subs_cap, 0, (cap - home->subs_cap) * sizeof *subs);
    home->subs = subs;
    home->subs_cap = cap;
    return HR_OK;
}

static hr_status subs_add(hr__subs *subs, hr_cohort *cohort) {
    if (subs->count == subs->cap) {
        uint32_t cap = subs->cap == 0 ? 2 : subs->cap * 2;
        hr_cohort **items = realloc(subs->items, cap * sizeof(hr_cohort *));
        if (items == NULL) {
            return HR_ENOMEM;
        }
        subs->items = items;
        subs->cap = cap;
    }
    subs->items[subs->count++] = cohort;
    return HR_OK;
}

static void subs_remove(hr__subs *subs, const hr_cohort *cohort) {
    for (uint32_t i = 0; i < subs->count; i++) {
        if (subs->items[i] == cohort) {
            subs->items[i] = subs->items[--subs->count];
            break;
        }
    }
    if (subs->count == 0) {
        free(subs->items);
        *subs = (hr__subs){0};
    }
}

/* From here on events that match are told to this loop under the filters' ids. */
static hr_status register_filters(hr_cohort *cohort) {
    hr_home *home = cohort->home;
    hr_status status = grow_subs(home);
    size_t count = hr_interest_filter_count(cohort->interest);
    for (size_t i = 0; status == HR_OK && i < count; i++) {
        status = subs_add(&home->subs[hr_interest_filter_id(cohort->interest, i)], cohort);
    }
    return status;
}

void hr__cohort_close(hr_cohort *cohort) {
    HR_CHECK(cohort, HR_COHORT_MAGIC);
    HR_ASSERT(cohort->member_count == 0 && cohort->live_count == 0 && cohort->batch_count == 0);
    hr_home *home = cohort->home;
    if (hr_link_linked(&cohort->idle)) {
        hr_link_remove(&cohort->idle);
        home->idle_cohort_count--;
    }
    size_t count = hr_interest_filter_count(cohort->interest);
    for (size_t i = 0; i < count; i++) {
        uint32_t id = hr_interest_filter_id(cohort->interest, i);
        if (id < home->subs_cap) {
            subs_remove(&home->subs[id], cohort);
        }
    }
    hr_interest_close(&cohort->interest);
    if (hr_map_get(&home->cohorts, cohort->key) == cohort) {
        (void)hr_map_remove(&home->cohorts, cohort->key);
    }
    HR_MAGIC_CLEAR(cohort);
    free(cohort->live);
    free(cohort->batch);
    free(cohort);
}

static hr_status open_cohort(hr_home *home, hr_slice key, hr_transport transport,
                             const hr_slice *filters, size_t count, hr_cohort **out) {
    hr_cohort *cohort = calloc(1, sizeof *cohort + key.len);
    if (cohort == NULL) {
        return HR_ENOMEM;
    }
    hr_status status =
        hr_interest_open(home->hub->log, home->index, transport, filters, count, &cohort->interest);
    if (status != HR_OK) {
        free(cohort);
        return status;
    }
    HR_MAGIC_SET(cohort, HR_COHORT_MAGIC);
    cohort->home = home;
    cohort->transport = (uint8_t)transport;
    hr_link_init(&cohort->dirty);
    hr_link_init(&cohort->idle);
    char *copy = (char *)(cohort + 1);
    if (key.len > 0) {
        memcpy(copy, key.data, key.len);
    }
    cohort->key = (hr_slice){copy, key.len};
    status = register_filters(cohort);
    if (status == HR_OK) {
        status = hr_map_insert(&home->cohorts, cohort->key, cohort);
    }
    if (status != HR_OK) {
        hr__cohort_close(cohort);
        return status;
    }
    *out = cohort;
    return HR_OK;
}

/* Empty cohorts hold filters; when there are too many of those, they go first. */
static hr_status open_or_make_room(hr_home *home, hr_slice key, hr_transport transport,
                                   const hr_slice *filters, size_t count, hr_cohort **out) {
    hr_status status = open_cohort(home, key, transport, filters, count, out);
    if (status == HR_ELIMIT && home->idle_cohort_count > 0) {
        hr__cohorts_sweep(home, true);
        status = open_cohort(home, key, transport, filters, count, out);
    }
    return status;
}

hr_status hr__cohort_find(hr_home *home, const hr_reader *reader, const hr_slice *filters,
                          size_t count, hr__answer_style style, hr_cohort **out) {
    hr_slice few[HR_FEW_FILTERS];
    hr_slice *sorted = count <= HR_FEW_FILTERS ? few : malloc(count * sizeof *sorted);
    if (sorted == NULL) {
        return HR_ENOMEM;
    }
    size_t distinct = 0;
    memcpy(sorted, filters, count * sizeof *sorted);
    if (count > 1) {
        qsort(sorted, count, sizeof *sorted, order_of);
    }
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || !hr_slice_equal(sorted[i], sorted[distinct - 1])) {
            sorted[distinct++] = sorted[i];
        }
    }
    hr_buf *key = &home->key;
    hr_cohort *cohort = NULL;
    key->len = 0;
    hr_status status = distinct > home->hub->config.filters_per_reader_max ? HR_ELIMIT : HR_OK;
    if (status == HR_OK) {
        status = hr__cohort_key(key, reader, style, sorted, distinct);
    }
    if (status == HR_OK) {
        cohort = hr_map_get(&home->cohorts, hr_buf_slice(key));
    }
    if (status == HR_OK && cohort == NULL) {
        status = open_or_make_room(home, hr_buf_slice(key), (hr_transport)reader->transport, sorted,
                                   distinct, &cohort);
        if (status == HR_OK) {
            cohort->encoding = reader->encoding;
            cohort->resumed = reader->resume != HR__RESUME_NONE;
            cohort->style = style;
            cohort->poll_max = reader->poll_max;
        }
    }
    if (sorted != few) {
        free(sorted);
    }
    if (status == HR_OK) {
        *out = cohort;
    }
    return status;
}

hr_status hr__cohort_probe_open(hr_home *home) {
    hr_slice filter = HR_LIT("~herald/probe");
    hr_status status = open_cohort(home, HR_LIT("probe"), HR_SHORTPOLL, &filter, 1, &home->probe);
    if (status == HR_OK) {
        home->probe->is_probe = true;
    }
    return status;
}

void hr__cohort_join(hr_cohort *cohort, hr_reader *reader) {
    HR_CHECK(cohort, HR_COHORT_MAGIC);
    HR_ASSERT(reader->cohort == NULL);
    if (hr_link_linked(&cohort->idle)) {
        hr_link_remove(&cohort->idle);
        cohort->home->idle_cohort_count--;
    }
    reader->cohort = cohort;
    cohort->member_count++;
    hr_interest_members_set(cohort->interest, cohort->member_count);
    hr__count(&hr__stats_of(cohort->home, reader)->subscriptions,
              hr_interest_filter_count(cohort->interest));
}

void hr__cohort_leave(hr_reader *reader) {
    hr_cohort *cohort = reader->cohort;
    HR_CHECK(cohort, HR_COHORT_MAGIC);
    hr_home *home = cohort->home;
    reader->cohort = NULL;
    cohort->member_count--;
    hr_interest_members_set(cohort->interest, cohort->member_count);
    hr__uncount(&hr__stats_of(home, reader)->subscriptions,
                hr_interest_filter_count(cohort->interest));
    if (cohort->member_count == 0) {
        /* A poll's next request usually comes at once; registering its filters anew would take the
         * log's lock for nothing. */
        cohort->idle_tick = home->tick_count;
        hr_list_push_back(&home->idle_cohorts, &cohort->idle);
        home->idle_cohort_count++;
    }
}

void hr__cohorts_sweep(hr_home *home, bool all) {
    hr_link *link = home->idle_cohorts.next;
    while (link != &home->idle_cohorts) {
        hr_cohort *cohort = HR_CONTAINER_OF(link, hr_cohort, idle);
        link = link->next;
        bool is_old = home->tick_count - cohort->idle_tick >= HR_COHORT_LINGER_TICKS;
        if (!all && !is_old && home->idle_cohort_count <= HR_COHORT_LINGER_MAX) {
            return; /* the list is in the order of idling: the rest is younger */
        }
        /* One in a batch that is being written goes at the next sweep. */
        if (cohort->batch_count == 0) {
            hr__cohort_close(cohort);
        }
    }
}
