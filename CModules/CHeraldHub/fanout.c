/* Live fan-out: what is new in the log, to the readers that stand at its head.
 *
 * Work per event is per cohort, not per reader: frames are gathered once for a cohort, and each
 * member costs one write of the same memory. Nothing shared with other loops is written here but an
 * event's reference count, once per event and loop. */
#include "hub_private.h"

#include <stdlib.h>
#include <string.h>

/* How many readers ahead of the one that is written to: a write takes longer than memory does. */
#define HR_PREFETCH_AHEAD 2u

/* A batch as bytes to write, and where each event ends in them. */
typedef struct fan_batch {
    struct iovec parts[HR_BATCH_MAX];
    int part_count;
    size_t total;
    size_t plain_total; /* before compression */
    size_t ends[HR_BATCH_MAX];
    const hr_frame *frames[HR_BATCH_MAX];
    uint64_t sequences[HR_BATCH_MAX];
    uint64_t appended_ns[HR_BATCH_MAX];
    uint64_t payload;
    uint32_t count;
} fan_batch;

static hr_status cohort_push(hr_cohort *cohort, hr_event *event) {
    if (cohort->batch_count == cohort->batch_cap) {
        uint32_t cap = cohort->batch_cap == 0 ? 4 : cohort->batch_cap * 2;
        hr_event **batch = realloc(cohort->batch, cap * sizeof(hr_event *));
        if (batch == NULL) {
            return HR_ENOMEM;
        }
        cohort->batch = batch;
        cohort->batch_cap = cap;
    }
    cohort->batch[cohort->batch_count++] = event;
    return HR_OK;
}

/* Sends all live members back to reading from a cursor. */
static void scatter(hr_cohort *cohort, uint64_t position) {
    while (cohort->live_count > 0) {
        hr_reader *reader = cohort->live[cohort->live_count - 1];
        hr__reader_leave_live(reader);
        reader->cursor = position;
        hr__reader_set_state(reader, HR_READER_CATCHING_UP);
        hr_list_push_back(&cohort->home->catching, &reader->link);
    }
    hr_loop_wake(cohort->home->loop);
}

/* Small frames are put one behind the other, large ones are written from where they are. */
static hr_status gather(hr_cohort *cohort, fan_batch *batch) {
    hr_buf *scratch = &cohort->home->scratch;
    scratch->len = 0;
    *batch = (fan_batch){.count = cohort->batch_count};
    size_t small_len = 0;
    for (uint32_t i = 0; i < batch->count; i++) {
        hr_event *event = cohort->batch[i];
        const hr_frame *frame = hr_event_frame(event, (hr_encoding)cohort->encoding);
        if (frame == NULL) {
            return HR_ENOMEM;
        }
        batch->frames[i] = frame;
        batch->sequences[i] = event->sequence;
        batch->appended_ns[i] = event->appended_ns;
        batch->payload += event->data.len;
        batch->total += frame->len;
        batch->plain_total += frame->plain_len;
        batch->ends[i] = batch->total;
        small_len += frame->len <= HR_COALESCE_LEN_MAX ? frame->len : 0;
    }
    /* Reserved before the first pointer into it is taken. */
    if (batch->count > 1 && hr_buf_reserve(scratch, small_len) != HR_OK) {
        return HR_ENOMEM;
    }
    bool in_scratch = false;
    for (uint32_t i = 0; i < batch->count; i++) {
        const hr_frame *frame = batch->frames[i];
        bool is_small = batch->count > 1 && frame->len <= HR_COALESCE_LEN_MAX;
        struct iovec *part = &batch->parts[batch->part_count];
        if (is_small && in_scratch) {
            part[-1].iov_len += frame->len;
        } else {
            part->iov_base =
                is_small ? scratch->data + scratch->len : (void *)(uintptr_t)frame->bytes;
            part->iov_len = frame->len;
            batch->part_count++;
        }
        if (is_small) {
            memcpy(scratch->data + scratch->len, frame->bytes, frame->len);
            scratch->len += frame->len;
        }
        in_scratch = is_small;
    }
    return HR_OK;
}

/* The socket took sent bytes: keeps the rest of the frame that was cut and stalls the reader.
 * Returns how many events were begun. */
static uint32_t cut(hr_reader *reader, const fan_batch *batch, size_t sent, uint64_t position) {
    hr_session *session = hr__session_of(reader);
    uint32_t index = 0;
    while (batch->ends[index] <= sent) {
        index++;
    }
    size_t start = index == 0 ? 0 : batch->ends[index - 1];
    uint64_t before = index == 0 ? position : batch->sequences[index - 1];
    if (sent == start) {
        if (hr_conn_keep(&session->conn, NULL, 0) == HR_OK) {
            hr__reader_stall(reader, before);
        }
        return index;
    }
    const hr_frame *frame = batch->frames[index];
    size_t at = sent - start;
    if (hr_conn_keep(&session->conn, frame->bytes + at, frame->len - at) == HR_OK) {
        hr__reader_stall(reader, batch->sequences[index]);
    }
    return index + 1;
}

/* Whether reader may be written to now; one that may not is stalled or gone. */
static bool is_writable(hr_reader *reader, uint64_t position) {
    hr_session *session = hr__session_of(reader);
    hr_conn_uncork(&session->conn);
    if (!hr_conn_is_open(&session->conn)) {
        return false;
    }
    if (session->conn.waiting != NULL) {
        hr__reader_stall(reader, position);
        return false;
    }
    return true;
}

/* Counts events [0, begun) of the batch for a reader that did not take all. */
static void count_partial(hr_transport_stats *stats, const hr_cohort *cohort,
                          const fan_batch *batch, uint32_t begun) {
    bool compresses = hr_encoding_is_compressed((hr_encoding)cohort->encoding);
    for (uint32_t i = 0; i < begun; i++) {
        hr__count(&stats->deliveries, 1);
        hr__count_sent(stats, compresses, cohort->batch[i]->data.len, batch->frames[i]->plain_len,
                       batch->frames[i]->len);
    }
}

static void count_latency(hr_transport_stats *stats, const fan_batch *batch, uint64_t readers) {
    if (readers == 0) {
        return;
    }
    uint64_t now = hr_time_mono_ns();
    for (uint32_t i = 0; i < batch->count; i++) {
        hr__latency_add(stats, now, batch->appended_ns[i], readers);
    }
}

/* Has the memory that a write to reader needs brought near while others are written to. */
static void prefetch(const hr_reader *reader) {
    const hr_session *session = HR_CONTAINER_OF(reader, const hr_session, reader);
    __builtin_prefetch(session);
    __builtin_prefetch(&session->conn.progress_ms);
}

/* Writes the batch to count readers; returns how many took all of it. */
static uint64_t deliver(hr_cohort *cohort, hr_send *sends, hr_reader **readers, unsigned count,
                        const fan_batch *batch, uint64_t position) {
    hr_transport_stats *stats = &cohort->home->stats.transports[cohort->transport];
    uint64_t whole = 0;
    hr_conn_write_many(cohort->home->loop, sends, count, batch->parts, batch->part_count);
    for (unsigned i = 0; i < count; i++) {
        if (sends[i].status == HR_OK && sends[i].sent == batch->total) {
            whole++; /* if sealed records wait, is_writable sees them before the next batch */
        } else if (sends[i].status == HR_OK) {
            count_partial(stats, cohort, batch, cut(readers[i], batch, sends[i].sent, position));
        }
    }
    count_latency(stats, batch, whole);
    return whole;
}

static void flush_streams(hr_cohort *cohort, uint64_t position) {
    fan_batch batch;
    if (gather(cohort, &batch) != HR_OK) {
        scatter(cohort, position); /* they try again one by one, with less memory */
        return;
    }
    hr_transport_stats *stats = &cohort->home->stats.transports[cohort->transport];
    hr_send sends[HR_SEND_COUNT_MAX];
    hr_reader *readers[HR_SEND_COUNT_MAX];
    uint64_t whole = 0;
    cohort->unwritten = cohort->live_count;
    while (cohort->unwritten > 0) {
        unsigned count = 0;
        while (cohort->unwritten > 0 && count < HR_SEND_COUNT_MAX) {
            hr_reader *reader = cohort->live[--cohort->unwritten];
            if (cohort->unwritten >= HR_PREFETCH_AHEAD) {
                prefetch(cohort->live[cohort->unwritten - HR_PREFETCH_AHEAD]);
            }
            if (is_writable(reader, position)) {
                readers[count] = reader;
                sends[count++].conn = &hr__session_of(reader)->conn;
            }
        }
        whole += deliver(cohort, sends, readers, count, &batch, position);
    }
    hr__count(&stats->deliveries, whole * batch.count);
    hr__count_sent(stats, hr_encoding_is_compressed((hr_encoding)cohort->encoding),
                   whole * batch.payload, whole * batch.plain_total, whole * batch.total);
}

/* Writes the answer in home->out to some of the cohort's readers, which have been answered then. */
static void answer_polls(hr_cohort *cohort) {
    hr_home *home = cohort->home;
    struct iovec part = {.iov_base = home->out.data, .iov_len = home->out.len};
    hr_send sends[HR_SEND_COUNT_MAX];
    unsigned count = 0;
    while (cohort->live_count > 0 && count < HR_SEND_COUNT_MAX) {
        hr_reader *reader = cohort->live[cohort->live_count - 1];
        hr_session *session = hr__session_of(reader);
        hr__reader_close(reader);
        hr_conn_uncork(&session->conn);
        if (session->conn.waiting != NULL) {
            hr_conn_write(&session->conn, home->out.data, home->out.len);
            hr__http_done(session);
        } else {
            sends[count++].conn = &session->conn;
        }
    }
    hr_conn_write_many(home->loop, sends, count, &part, 1);
    for (unsigned i = 0; i < count; i++) {
        size_t sent = sends[i].sent;
        if (sends[i].status == HR_OK && sent < home->out.len) {
            (void)hr_conn_keep(sends[i].conn, home->out.data + sent, home->out.len - sent);
        }
        hr__http_done(HR_CONTAINER_OF(sends[i].conn, hr_session, conn));
    }
}

/* Held polls: one answer, made once, for all; then they are requests no more. */
static void flush_polls(hr_cohort *cohort, uint64_t position) {
    hr_home *home = cohort->home;
    hr_transport_stats *stats = &home->stats.transports[cohort->transport];
    uint32_t count = 0;
    size_t bytes = 0;
    while (count < cohort->batch_count && count < cohort->poll_max &&
           (count == 0 || bytes + cohort->batch[count]->data.len <= HR_POLL_BYTES_MAX)) {
        bytes += cohort->batch[count]->data.len;
        count++;
    }
    uint64_t next = cohort->batch[count - 1]->sequence;
    hr__page_len len = {0};
    if (hr__poll_build(home, cohort->style, cohort->batch, count, next,
                       cohort->resumed ? HR_LIT(",\"resume\":\"resumed\"") : HR_LIT(""),
                       (hr_slice){NULL, 0}, &len) != HR_OK) {
        scatter(cohort, position);
        return;
    }
    uint64_t readers = cohort->live_count;
    while (cohort->live_count > 0) {
        answer_polls(cohort);
    }
    uint64_t now = hr_time_mono_ns();
    for (uint32_t i = 0; i < count; i++) {
        hr__latency_add(stats, now, cohort->batch[i]->appended_ns, readers);
    }
    hr__count(&stats->polls[HR_POLL_DATA], readers);
    hr__count(&stats->deliveries, readers * count);
    size_t plain_len = home->out.len - len.sent + len.plain;
    hr__count_sent(stats, cohort->style.coding != HR_CODING_IDENTITY, readers * len.payload,
                   readers * plain_len, readers * home->out.len);
}

static void flush_dirty(hr_home *home, uint64_t position) {
    while (!hr_list_empty(&home->dirty)) {
        hr_cohort *cohort = HR_CONTAINER_OF(home->dirty.next, hr_cohort, dirty);
        HR_CHECK(cohort, HR_COHORT_MAGIC);
        hr_link_remove(&cohort->dirty);
        if (cohort->live_count > 0 && cohort->transport == HR_LONGPOLL) {
            flush_polls(cohort, position);
        } else if (cohort->live_count > 0) {
            flush_streams(cohort, position);
        }
        cohort->batch_count = 0;
        if (cohort->batch_cap > 64) {
            free(cohort->batch);
            cohort->batch = NULL;
            cohort->batch_cap = 0;
        }
    }
}

static void route_to(hr_cohort *cohort, hr_event *event, uint64_t position) {
    if (cohort->is_probe) {
        atomic_store_explicit(&cohort->home->probed_ns, hr_time_mono_ns(), memory_order_relaxed);
        return;
    }
    if (cohort->live_count == 0 || cohort->last_sequence >= event->sequence) {
        return;
    }
    cohort->last_sequence = event->sequence;
    if (cohort_push(cohort, event) != HR_OK) {
        cohort->batch_count = 0;
        scatter(cohort, position);
        return;
    }
    if (!hr_link_linked(&cohort->dirty)) {
        hr_list_push_back(&cohort->home->dirty, &cohort->dirty);
    }
}

static void route(hr_home *home, hr_event *event, uint64_t position) {
    const hr_matches *matches = event->matches;
    for (uint32_t i = 0; matches != NULL && i < matches->count; i++) {
        uint32_t id = matches->filter_ids[i];
        if (id >= home->subs_cap) {
            continue; /* a filter that this loop never held */
        }
        const hr__subs *subs = &home->subs[id];
        for (uint32_t j = 0; j < subs->count; j++) {
            route_to(subs->items[j], event, position);
        }
    }
}

/* The window has passed this loop: its live readers read on from where they stand. */
static void overrun(hr_home *home, uint64_t position) {
    hr__count(&home->stats.overruns, 1);
    size_t place = 0;
    hr_map_entry entry;
    while (hr_map_next(&home->cohorts, &place, &entry)) {
        scatter(entry.value, position);
    }
}

void hr__live_sync(hr_home *home) {
    HR_CHECK(home, HR_HOME_MAGIC);
    HR_ASSERT(!home->in_live);
    home->in_live = true;
    hr_event *events[HR_BATCH_MAX];
    hr_live live = {.cursor = home->live_cursor};
    unsigned rounds = 0;
    do {
        uint64_t position = live.cursor;
        hr_live_read(home->hub->log, home->index, &live, events, HR_BATCH_MAX);
        if (live.overrun) {
            overrun(home, position);
        }
        for (size_t i = 0; i < live.count; i++) {
            route(home, events[i], position);
        }
        flush_dirty(home, position);
        for (size_t i = 0; i < live.count; i++) {
            hr_event_unref(&events[i]);
        }
        home->live_cursor = live.cursor;
    } while (live.more && ++rounds < HR_LIVE_ROUND_MAX);
    home->in_live = false;
    if (live.more) {
        hr_loop_wake(home->loop);
    }
}
