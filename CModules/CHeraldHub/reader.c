/* A reader's states: live, catching up, stalled.
 *
 *   catching up --stands at the loop's position--> live
 *   live, catching up --the socket does not take all--> stalled --it is drained--> catching up
 *
 * A reader goes live only where its cursor equals the loop's: the loop hands out every event after
 * its position to every live
 * reader, so that none is missed and none comes twice. */
#include "hub_private.h"

#include <stdlib.h>
#include <string.h>

hr_session *hr__reader_session(hr_reader *reader) { return hr__session_of(reader); }

static hr_home *home_of(hr_reader *reader) { return hr__session_of(reader)->home; }

void hr__reader_set_state(hr_reader *reader, hr_reader_state state) {
    hr_transport_stats *stats = hr__stats_of(home_of(reader), reader);
    HR_ASSERT(reader->counted);
    hr__uncount(&stats->readers[reader->state], 1);
    hr__count(&stats->readers[state], 1);
    reader->state = (uint8_t)state;
}

void hr__reader_open(hr_reader *reader) {
    hr_home *home = home_of(reader);
    hr_transport_stats *stats = hr__stats_of(home, reader);
    HR_ASSERT(!reader->counted);
    reader->counted = true;
    reader->state = HR_READER_CATCHING_UP;
    hr__count(&stats->readers[HR_READER_CATCHING_UP], 1);
    hr__count(&stats->readers_opened, 1);
    if (reader->transport == HR_LONGPOLL) {
        hr__count(&home->stats.held_requests, 1);
    }
}

void hr__reader_close(hr_reader *reader) {
    hr_home *home = home_of(reader);
    HR_ASSERT(reader->counted);
    if (reader->state == HR_READER_LIVE) {
        hr__reader_leave_live(reader);
    }
    hr_link_remove(&reader->link);
    hr__lease_leave(reader);
    if (reader->cohort != NULL) {
        hr__cohort_leave(reader);
    }
    hr__uncount(&hr__stats_of(home, reader)->readers[reader->state], 1);
    if (reader->transport == HR_LONGPOLL) {
        hr__uncount(&home->stats.held_requests, 1);
    }
    reader->counted = false;
    hr__dismiss_reader(hr__session_of(reader));
}

uint64_t hr__reader_position(const hr_reader *reader) {
    if (reader->state != HR_READER_LIVE) {
        return reader->cursor;
    }
    const hr_session *session = HR_CONTAINER_OF(reader, const hr_session, reader);
    return session->home->live_cursor;
}

static bool live_push(hr_cohort *cohort, hr_reader *reader) {
    if (cohort->live_count == cohort->live_cap) {
        uint32_t cap = cohort->live_cap == 0 ? 1 : cohort->live_cap + cohort->live_cap / 2 + 1;
        hr_reader **live = realloc(cohort->live, cap * sizeof(hr_reader *));
        if (live == NULL) {
            return false;
        }
        cohort->live = live;
        cohort->live_cap = cap;
    }
    reader->live_at = cohort->live_count;
    cohort->live[cohort->live_count++] = reader;
    return true;
}

void hr__reader_go_live(hr_reader *reader) {
    hr_session *session = hr__session_of(reader);
    HR_ASSERT(reader->cursor == session->home->live_cursor);
    hr_link_remove(&reader->link);
    if (reader->cohort != NULL && !live_push(reader->cohort, reader)) {
        hr_conn_close(&session->conn, HR_CLOSE_LIMIT);
        return;
    }
    reader->newest_only = false;
    hr__reader_set_state(reader, HR_READER_LIVE);
    hr__session_ready(session);
}

static void live_put(hr_cohort *cohort, uint32_t at, hr_reader *reader) {
    cohort->live[at] = reader;
    reader->live_at = at;
}

/* The last one takes the place of the one that goes. During a fan-out any may go, not only the one
 * that is written to: those that have not been written to stay at the front, so that none is passed
 * over and none is written to twice. The state stays for the caller to set. */
void hr__reader_leave_live(hr_reader *reader) {
    HR_ASSERT(reader->state == HR_READER_LIVE);
    hr_cohort *cohort = reader->cohort;
    if (cohort == NULL) {
        return;
    }
    HR_ASSERT(reader->live_at < cohort->live_count && cohort->live[reader->live_at] == reader);
    uint32_t at = reader->live_at;
    if (at < cohort->unwritten) {
        cohort->unwritten--;
        live_put(cohort, at, cohort->live[cohort->unwritten]);
        at = cohort->unwritten;
    }
    cohort->live_count--;
    live_put(cohort, at, cohort->live[cohort->live_count]);
    if (cohort->live_count == 0) {
        free(cohort->live);
        cohort->live = NULL;
        cohort->live_cap = 0;
    }
}

void hr__reader_stall(hr_reader *reader, uint64_t position) {
    hr_session *session = hr__session_of(reader);
    if (reader->state == HR_READER_LIVE) {
        hr__reader_leave_live(reader);
    }
    hr_link_remove(&reader->link);
    reader->cursor = position;
    hr__reader_set_state(reader, HR_READER_STALLED);
    hr__count(&hr__stats_of(session->home, reader)->stalls, 1);
    hr_slow_policy policy = hr_interest_slow_policy(reader->cohort->interest);
    if (policy == HR_SLOW_DISCONNECT) {
        hr__stream_end(session, HR_CLOSE_SLOW, 1008, HR_LIT("slow reader"));
    } else if (policy == HR_SLOW_LATEST) {
        reader->newest_only = true;
    }
}

void hr__reader_drained(hr_reader *reader) {
    hr_home *home = home_of(reader);
    HR_ASSERT(reader->state == HR_READER_STALLED);
    hr__reader_set_state(reader, HR_READER_CATCHING_UP);
    hr_link_remove(&reader->link);
    hr_list_push_back(&home->catching, &reader->link);
    hr_loop_wake(home->loop);
}

/* Catching up. --------------------------------------------------------------------------------- */

static void later(hr_reader *reader) {
    hr_home *home = home_of(reader);
    hr_link_remove(&reader->link);
    hr_list_push_back(&home->catching, &reader->link);
    hr_loop_wake(home->loop);
}

/* Tells what precedes the events of this step; false when the connection is gone or full. */
static bool tell(hr_reader *reader, const hr_read *read) {
    hr_session *session = hr__session_of(reader);
    if (reader->resume != HR__RESUME_NONE) {
        hr__stream_resumed(reader, &read->gap);
        reader->resume = HR__RESUME_NONE;
    } else if (read->gap.found) {
        hr__stream_gap(reader, &read->gap, HR_GAP_EVICTED);
    }
    if (read->skipped > 0) {
        hr_gap gap = {.found = true,
                      .filter_index = SIZE_MAX,
                      .from = reader->cursor + 1,
                      .to = read->cursor,
                      .missed_max = read->skipped};
        if (hr_interest_filter_count(reader->cohort->interest) == 1) {
            gap.filter_index = 0;
        }
        hr__stream_gap(reader, &gap, HR_GAP_CONFLATED);
    }
    return hr_conn_is_open(&session->conn);
}

static void count_deliveries(hr_reader *reader, hr_event **events, const size_t *ends,
                             const size_t *plain, size_t begun) {
    hr_transport_stats *stats = hr__stats_of(home_of(reader), reader);
    uint64_t now = hr_time_mono_ns();
    for (size_t i = 0; i < begun; i++) {
        size_t len = ends[i] - (i == 0 ? 0 : ends[i - 1]);
        hr__count(&stats->deliveries, 1);
        hr__count_sent(stats, hr_encoding_is_compressed((hr_encoding)reader->encoding),
                       events[i]->data.len, plain[i], len);
        hr__latency_add(stats, now, events[i]->appended_ns, 1);
    }
}

/* Writes the events of a step; true when all were taken. Otherwise the reader is stalled or
 * gone. */
static bool write_events(hr_reader *reader, hr_event **events, size_t count) {
    hr_session *session = hr__session_of(reader);
    hr_buf *scratch = &session->home->scratch;
    size_t ends[HR_BATCH_MAX];
    size_t plain[HR_BATCH_MAX];
    scratch->len = 0;
    for (size_t i = 0; i < count; i++) {
        if (hr_event_append_to(events[i], (hr_encoding)reader->encoding, scratch, &plain[i]) !=
            HR_OK) {
            hr_conn_close(&session->conn, HR_CLOSE_LIMIT);
            return false;
        }
        ends[i] = scratch->len;
    }
    size_t sent = 0;
    hr_conn_uncork(&session->conn);
    if (!hr_conn_is_open(&session->conn)) {
        return false;
    }
    if (session->conn.waiting == NULL) {
        struct iovec part = {.iov_base = scratch->data, .iov_len = scratch->len};
        if (hr_conn_write_some(&session->conn, &part, 1, &sent) != HR_OK) {
            return false;
        }
    }
    size_t index = 0;
    while (index < count && ends[index] <= sent) {
        index++;
    }
    if (index == count) {
        count_deliveries(reader, events, ends, plain, count);
        return true;
    }
    size_t start = index == 0 ? 0 : ends[index - 1];
    bool is_cut = sent > start;
    uint64_t position = index == 0 ? reader->cursor : events[index - 1]->sequence;
    count_deliveries(reader, events, ends, plain, is_cut ? index + 1 : index);
    if (hr_conn_keep(&session->conn, scratch->data + sent, is_cut ? ends[index] - sent : 0) ==
        HR_OK) {
        hr__reader_stall(reader, is_cut ? events[index]->sequence : position);
    }
    return false;
}

static void step_stream(hr_reader *reader, hr_event **events, const hr_read *read) {
    hr_home *home = home_of(reader);
    hr_session *session = hr__session_of(reader);
    if (!tell(reader, read)) {
        return;
    }
    reader->gap_seen = read->gap_seen;
    if (read->count > 0 && !write_events(reader, events, read->count)) {
        return;
    }
    reader->cursor = read->cursor;
    hr_conn_uncork(&session->conn);
    if (!hr_conn_is_open(&session->conn)) {
        return;
    }
    if (session->conn.waiting != NULL) {
        /* Only a control message, or records of TLS, stand there; what follows waits its turn. */
        hr__reader_stall(reader, reader->cursor);
    } else if (read->complete && reader->cursor == home->live_cursor &&
               home->live_cursor >= hr_interest_since(reader->cohort->interest)) {
        hr__reader_go_live(reader);
    } else {
        later(reader);
    }
}

static void step_poll(hr_reader *reader, hr_event **events, const hr_read *read, uint64_t version) {
    hr_home *home = home_of(reader);
    if (read->count > 0 || read->gap.found || reader->resume == HR__RESUME_RESET) {
        hr__poll_answer(hr__session_of(reader), events, read, version);
        return;
    }
    reader->cursor = read->cursor;
    reader->gap_seen = read->gap_seen;
    if (read->complete && reader->cursor == home->live_cursor &&
        home->live_cursor >= hr_interest_since(reader->cohort->interest)) {
        hr__reader_go_live(reader);
    } else {
        later(reader);
    }
}

static size_t step_bytes_max(const hr_reader *reader) {
    return hr_encoding_is_compressed((hr_encoding)reader->encoding) ? HR_CATCH_UP_COMPRESSED_BYTES
                                                                    : HR_CATCH_UP_BYTES;
}

void hr__reader_step(hr_reader *reader) {
    hr_home *home = home_of(reader);
    HR_ASSERT(reader->state == HR_READER_CATCHING_UP);
    if (reader->cohort == NULL) {
        /* A WebSocket that gave up its last filter while it was stalled. */
        reader->cursor = home->live_cursor;
        hr__reader_go_live(reader);
        return;
    }
    hr_event *events[HR_POLL_COUNT_MAX];
    bool is_poll = reader->transport == HR_LONGPOLL;
    if (is_poll && hr__poll_repeat(hr__session_of(reader), home->live_cursor)) {
        return;
    }
    uint64_t version = hr_log_version(home->hub->log);
    hr_read read = {
        .cursor = reader->cursor,
        .until = home->live_cursor,
        .gap_seen = reader->gap_seen,
        .newest_only = reader->newest_only,
        .count_max = is_poll ? reader->poll_max : HR_BATCH_MAX,
        .bytes_max = is_poll ? HR_POLL_BYTES_MAX : step_bytes_max(reader),
    };
    hr_interest_read(reader->cohort->interest, &read, events);
    if (is_poll) {
        step_poll(reader, events, &read, version);
    } else {
        step_stream(reader, events, &read);
    }
    for (size_t i = 0; i < read.count; i++) {
        hr_event_unref(&events[i]);
    }
}

void hr__reader_catch_up(hr_reader *reader) {
    hr_home *home = home_of(reader);
    hr_link_remove(&reader->link);
    if (reader->state == HR_READER_LIVE) {
        reader->cursor = home->live_cursor;
        hr__reader_leave_live(reader);
    }
    hr__reader_set_state(reader, HR_READER_CATCHING_UP);
    hr__reader_step(reader);
}
