/* Reading from a cursor: first what the reader has lost, then what is left.
 *
 * Exact filters are merged from their topics' rings. With a wildcard, or more
 * filters than fit the stack, the index over all topics is walked instead: how
 * many topics match does not matter then, and the walk is in order already. */
#include "log_private.h"

#include <stdlib.h>

#define MERGE_COUNT_MAX 64u
/* Entries of the index looked at in one call, so that the lock is held briefly. */
#define SCAN_COUNT_MAX 4096u

/* What to read: the filters of an interest, or of a caller's. */
typedef struct query {
    const hr_interest *interest; /* or NULL, and then */
    const hr_slice *texts;
    hr__filter **filters; /* NULL: not interned; an item NULL: could not be */
    size_t count;
} query;

static hr_slice text_at(const query *query, size_t index) {
    return query->interest != NULL ? hr__filter_text(query->interest->filters[index].filter)
                                   : query->texts[index];
}

static const hr__filter *filter_at(const query *query, size_t index) {
    if (query->interest != NULL) {
        return query->interest->filters[index].filter;
    }
    return query->filters == NULL ? NULL : query->filters[index];
}

static bool can_merge(const query *query) {
    if (query->count > MERGE_COUNT_MAX) {
        return false;
    }
    for (size_t i = 0; i < query->count; i++) {
        if (!hr_filter_is_exact(text_at(query, i))) {
            return false;
        }
    }
    return true;
}

/* The newest sequence that a reader up to read->until may look for. */
static uint64_t limit_of(const hr_read *read) {
    return read->until < read->head ? read->until : read->head;
}

/* Gaps ----------------------------------------------------------------------------------------- */

typedef struct gap_search {
    uint64_t floor; /* the highest of all filters */
    size_t index;   /* the filter that lost something; SIZE_MAX: several */
    size_t count;   /* filters that lost something unheard of */
} gap_search;

/* What lies beyond read->until is not lost yet: it may still come, live. */
static void consider_floor(gap_search *search, const hr_read *read, size_t index, uint64_t floor) {
    floor = floor < read->until ? floor : read->until;
    search->floor = floor > search->floor ? floor : search->floor;
    if (floor > read->cursor && floor > read->gap_seen) {
        search->index = search->count == 0 ? index : SIZE_MAX;
        search->count++;
    }
}

/* How many events topic can have lost after the cursor: all that are not kept, unless a
 * forgotten topic before it lost some too. */
static uint64_t lost_by(const hr__topic *topic, const hr_read *read) {
    if (topic == NULL || topic->first_floor > read->cursor) {
        return UINT64_MAX;
    }
    return topic->published_count - topic->ring.count;
}

/* UINT64_MAX: the reader asked for whatever there is and has lost nothing. */
static void report_gap(const gap_search *search, uint64_t lost_max, hr_read *read) {
    read->gap = (hr_gap){0};
    if (read->gap_seen == UINT64_MAX) {
        read->gap_seen = search->floor;
        return;
    }
    if (search->count == 0) {
        return;
    }
    uint64_t span = search->floor - read->cursor;
    read->gap = (hr_gap){
        .found = true,
        .filter_index = search->index,
        .from = read->cursor + 1,
        .to = search->floor,
        .missed_max = span < lost_max ? span : lost_max,
    };
    read->gap_seen = search->floor;
}

static void raise_to(void *item, void *context) {
    const hr__topic *topic = item;
    uint64_t *floor = context;
    *floor = topic->floor > *floor ? topic->floor : *floor;
}

/* The floor of a filter that is not interned. */
static uint64_t loose_floor(hr_log *log, hr_slice text) {
    bool is_exact = hr_filter_is_exact(text);
    uint64_t floor = is_exact ? 0 : log->forgotten_max;
    if (is_exact && hr__topic_find(log, text) == NULL) {
        return hr__forgotten_floor(log, text);
    }
    hr__trie_each_topic_of(log->topic_trie, text, raise_to, &floor);
    return floor;
}

/* Merging -------------------------------------------------------------------------------------- */

/* A ring being read; sources form a binary min-heap by sequence. */
typedef struct source {
    uint64_t sequence; /* of the event at place */
    uint32_t place;
    const hr__topic *topic;
} source;

static void sift_down(source *heap, size_t count, size_t place) {
    source moved = heap[place];
    for (size_t child; (child = place * 2 + 1) < count; place = child) {
        if (child + 1 < count && heap[child + 1].sequence < heap[child].sequence) {
            child++;
        }
        if (moved.sequence <= heap[child].sequence) {
            break;
        }
        heap[place] = heap[child];
    }
    heap[place] = moved;
}

/* Moves source to its ring's next place; false at the end or past limit. */
static bool advance(source *source, uint32_t place, uint64_t limit) {
    if (place >= source->topic->ring.count) {
        return false;
    }
    source->place = place;
    source->sequence = hr__ring_at(&source->topic->ring, place)->sequence;
    return source->sequence <= limit;
}

/* Whether event still fits the caller's bounds. */
static bool has_room(const hr_read *read, const hr_event *event, uint64_t bytes) {
    return read->count < read->count_max &&
           (read->count == 0 || bytes + event->charged_len <= read->bytes_max);
}

/* On a full batch the cursor stays at the last event handed out; else it goes to limit. */
static void merge(source *heap, size_t count, hr_read *read, hr_event **events) {
    uint64_t limit = limit_of(read);
    uint64_t bytes = 0;
    for (size_t i = count; i-- > 0;) {
        sift_down(heap, count, i);
    }
    while (count > 0) {
        hr_event *event = hr__ring_at(&heap[0].topic->ring, heap[0].place);
        /* The same filter given twice is two sources of the same events. */
        if (event->sequence > read->cursor) {
            if (!has_room(read, event, bytes)) {
                return;
            }
            bytes += event->charged_len;
            read->cursor = event->sequence;
            events[read->count++] = hr_event_ref(event);
        }
        if (!advance(&heap[0], heap[0].place + 1, limit)) {
            heap[0] = heap[--count];
        }
        if (count > 0) {
            sift_down(heap, count, 0);
        }
    }
    read->cursor = limit > read->cursor ? limit : read->cursor;
}

/* The newest of topic's events that this read may hand out; the ring's count when there is none. */
static uint32_t newest_place(const hr__topic *topic, const hr_read *read) {
    uint32_t after = hr__ring_seek(&topic->ring, limit_of(read));
    return after == 0 ? topic->ring.count : after - 1;
}

/* Where reading of topic begins: the first after the cursor, or its newest alone. */
static uint32_t first_place(const hr__topic *topic, const hr_read *read) {
    const hr__ring *ring = &topic->ring;
    /* The ring's last is the topic's head: looked up without touching the event, which
     * makes a poll that finds nothing cheap. */
    if (ring->count == 0 || topic->head <= read->cursor) {
        return ring->count;
    }
    uint32_t first = hr__ring_seek(ring, read->cursor);
    if (!read->newest_only) {
        return first;
    }
    uint32_t newest = newest_place(topic, read);
    return newest < first ? ring->count : newest;
}

/* What a read of the newest alone, which began after from, passed over on its way to the
 * cursor. A full batch leaves topics for the next call, and what it skips there with them. */
static void count_skipped(hr_log *log, const query *query, uint64_t from, hr_read *read) {
    for (size_t i = 0; i < query->count; i++) {
        const hr__topic *topic = hr__topic_find(log, text_at(query, i));
        if (topic != NULL) {
            read->skipped +=
                hr__ring_seek(&topic->ring, read->cursor) - hr__ring_seek(&topic->ring, from);
        }
    }
    read->skipped -= read->count;
}

static void read_exact(hr_log *log, const query *query, hr_read *read, hr_event **events) {
    source heap[MERGE_COUNT_MAX];
    size_t count = 0;
    gap_search search = {0};
    uint64_t lost_max = UINT64_MAX;
    uint64_t limit = limit_of(read);
    for (size_t i = 0; i < query->count; i++) {
        hr_slice text = text_at(query, i);
        const hr__topic *topic = hr__topic_find(log, text);
        uint64_t floor = topic != NULL ? topic->floor : hr__forgotten_floor(log, text);
        consider_floor(&search, read, i, floor);
        if (query->count == 1) {
            lost_max = lost_by(topic, read);
        }
        if (topic != NULL) {
            heap[count].topic = topic;
            count += advance(&heap[count], first_place(topic, read), limit) ? 1 : 0;
        }
    }
    report_gap(&search, lost_max, read);
    uint64_t from = read->cursor;
    merge(heap, count, read, events);
    if (read->newest_only) {
        count_skipped(log, query, from, read);
    }
}

/* Scanning ------------------------------------------------------------------------------------- */

static bool matches_query(const query *query, const hr__topic *topic) {
    for (size_t i = 0; i < query->count; i++) {
        const hr__filter *filter = filter_at(query, i);
        bool is_match = filter != NULL
                            ? hr__matches_contain(topic->matches, filter->id)
                            : hr_filter_matches(text_at(query, i), hr__topic_name(topic));
        if (is_match) {
            return true;
        }
    }
    return false;
}

/* Decides once a scan and topic. */
static bool is_wanted(const hr_log *log, const query *query, hr__topic *topic) {
    if (topic->scan != log->scan) {
        topic->scan = log->scan;
        topic->is_wanted = matches_query(query, topic);
    }
    return topic->is_wanted;
}

static bool is_newest(const hr__topic *topic, const hr_event *event, const hr_read *read) {
    uint32_t newest = newest_place(topic, read);
    return newest < topic->ring.count && hr__ring_at(&topic->ring, newest) == event;
}

/* What it passes over without a match moves the cursor too: a quiet filter's reader must
 * not look at the same events again. */
static void scan(hr_log *log, const query *query, hr_read *read, hr_event **events) {
    uint64_t limit = limit_of(read);
    uint64_t bytes = 0;
    size_t scanned = 0;
    log->scan++;
    hr__index_place place = hr__index_seek(&log->index, read->cursor);
    for (hr_event *event; (event = hr__index_next(&log->index, &place)) != NULL;) {
        if (event->sequence > limit) {
            break;
        }
        if (scanned++ == SCAN_COUNT_MAX) {
            return;
        }
        hr__topic *topic = event->home;
        HR_CHECK(topic, HR__TOPIC_MAGIC);
        bool is_match = is_wanted(log, query, topic);
        if (is_match && read->newest_only && !is_newest(topic, event, read)) {
            read->skipped++;
        } else if (is_match) {
            if (!has_room(read, event, bytes)) {
                return;
            }
            bytes += event->charged_len;
            events[read->count++] = hr_event_ref(event);
        }
        read->cursor = event->sequence;
    }
    read->cursor = limit > read->cursor ? limit : read->cursor;
}

static void read_scanning(hr_log *log, const query *query, hr_read *read, hr_event **events) {
    gap_search search = {0};
    for (size_t i = 0; i < query->count; i++) {
        const hr__filter *filter = filter_at(query, i);
        uint64_t floor = filter != NULL ? filter->floor : loose_floor(log, text_at(query, i));
        consider_floor(&search, read, i, floor);
    }
    report_gap(&search, UINT64_MAX, read);
    scan(log, query, read, events);
}

/* Entry points --------------------------------------------------------------------------------- */

static void begin(const hr_log *log, hr_read *read) {
    HR_ASSERT(read->count_max > 0);
    read->head = hr__log_head(log);
    read->count = 0;
    read->skipped = 0;
}

static void end(hr_read *read) { read->complete = read->cursor >= limit_of(read); }

void hr_interest_read(hr_interest *interest, hr_read *read, hr_event **events) {
    HR_CHECK(interest, HR__INTEREST_MAGIC);
    query query = {.interest = interest, .count = interest->filter_count};
    bool is_merge = can_merge(&query);
    hr_log *log = hr__log_lock(interest->log);
    begin(log, read);
    if (is_merge) {
        read_exact(log, &query, read, events);
    } else {
        read_scanning(log, &query, read, events);
    }
    end(read);
    hr__log_unlock(log);
}

/* Holds the filters that it can; the others are matched by their text. */
static void hold_filters(hr_log *log, query *query) {
    for (size_t i = 0; i < query->count; i++) {
        if (hr__filter_hold(log, query->texts[i], &query->filters[i]) != HR_OK) {
            query->filters[i] = NULL;
        }
    }
}

static void release_filters(hr_log *log, query *query) {
    for (size_t i = 0; i < query->count; i++) {
        if (query->filters[i] != NULL) {
            hr__filter_release(log, query->filters[i]);
        }
    }
}

/* One exact filter and nothing new is the short-poll that comes most often: a lock, a
 * lookup and two comparisons. */
hr_status hr_log_read(hr_log *log, const hr_slice *filters, size_t count, hr_read *read,
                      hr_event **events) {
    HR_CHECK(log, HR__LOG_MAGIC);
    HR_ASSERT(count > 0);
    query query = {.texts = filters, .count = count};
    bool is_merge = can_merge(&query);
    hr__filter *few[MERGE_COUNT_MAX];
    hr__filter **many = NULL;
    if (!is_merge && count > MERGE_COUNT_MAX) {
        many = malloc(count * sizeof *many);
        if (many == NULL) {
            return HR_ENOMEM;
        }
    }
    hr__log_lock(log);
    begin(log, read);
    if (is_merge) {
        read_exact(log, &query, read, events);
    } else {
        query.filters = many != NULL ? many : few;
        hold_filters(log, &query);
        read_scanning(log, &query, read, events);
        release_filters(log, &query);
    }
    end(read);
    hr__log_unlock(log);
    free(many);
    return HR_OK;
}
