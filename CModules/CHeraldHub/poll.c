/* Polls: one answer with what lies after a cursor. */
#include "hub_private.h"

#include <stdlib.h>
#include <string.h>

/* How often a short-poll whose filters match little looks on before it answers an empty page whose
 * cursor has moved: its work on the loop must be bounded. */
#define HR_SHORT_READ_MAX 16

static hr_status append_events(hr_buf *out, hr_event **events, size_t count, hr__page_len *len) {
    hr_status status = hr_buf_append_slice(out, HR_LIT("{\"events\":["));
    for (size_t i = 0; status == HR_OK && i < count; i++) {
        if (i > 0) {
            status = hr_buf_append(out, ",", 1);
        }
        size_t plain_len = 0;
        if (status == HR_OK) {
            status = hr_event_append_to(events[i], HR_ENCODING_JSON, out, &plain_len);
        }
        len->payload += events[i]->data.len;
    }
    return status;
}

static hr_status append_body(hr_home *home, hr_buf *out, hr_event **events, size_t count,
                             uint64_t next, hr_slice outcome, hr__page_len *len) {
    char id[HR_ID_TEXT_MAX];
    /* An outcome that is a gap says so itself. */
    bool has_gap = outcome.len > 0 && hr_slice_has_prefix(outcome, HR_LIT(",\"gap\""));
    const hr_slice parts[] = {HR_LIT("],\"next\":\""),
                              {id, hr_id_format(hr_log_epoch(home->hub->log), next, id)},
                              has_gap ? HR_LIT("\"") : HR_LIT("\",\"gap\":null"),
                              outcome,
                              HR_LIT("}")};
    hr_status status = append_events(out, events, count, len);
    return status == HR_OK ? HR_BUF_APPEND_ALL(out, parts) : status;
}

/* A body as it is sent. */
typedef struct coded_body {
    hr_slice bytes;
    bool is_gzip;
} coded_body;

/* home->body in the coding that style asks for, where that makes it shorter or nothing else may be
 * sent. */
static hr_status code_body(hr_home *home, hr__answer_style style, coded_body *out) {
    *out = (coded_body){.bytes = hr_buf_slice(&home->body)};
    bool must = style.coding == HR_CODING_GZIP_ONLY;
    if (style.coding == HR_CODING_IDENTITY ||
        (!must && out->bytes.len < hr_log_compressed_len_min(home->hub->log))) {
        return HR_OK;
    }
    home->scratch.len = 0;
    hr_status status = hr_gzip_append(&home->scratch, out->bytes);
    if (status == HR_OK && (must || home->scratch.len < out->bytes.len)) {
        *out = (coded_body){.bytes = hr_buf_slice(&home->scratch), .is_gzip = true};
    }
    return status;
}

static hr_status append_head(hr_home *home, hr_buf *out, hr__answer_style style, unsigned code,
                             uint64_t next, hr_slice etag, const coded_body *body) {
    char digits[20];
    char id[HR_ID_TEXT_MAX];
    const hr_slice content[] = {HR_LIT("Content-Type: application/json\r\nContent-Length: "),
                                {digits, hr_u64_format(body->bytes.len, digits)},
                                body->is_gzip ? HR_LIT("\r\nContent-Encoding: gzip\r\n")
                                              : HR_LIT("\r\n")};
    const hr_slice tag[] = {HR_LIT("ETag: "), etag, HR_LIT("\r\n")};
    const hr_slice rest[] = {HR_LIT("Cache-Control: private, no-cache\r\n"
                                    "Vary: Accept-Encoding\r\nHerald-Cursor: "),
                             {id, hr_id_format(hr_log_epoch(home->hub->log), next, id)},
                             HR_LIT("\r\n\r\n")};
    hr_status status = hr__head_begin(home, out, code, style);
    if (status == HR_OK && code == 200) {
        status = HR_BUF_APPEND_ALL(out, content);
    }
    if (status == HR_OK && etag.len > 0) {
        status = HR_BUF_APPEND_ALL(out, tag);
    }
    return status == HR_OK ? HR_BUF_APPEND_ALL(out, rest) : status;
}

hr_status hr__poll_build(hr_home *home, hr__answer_style style, hr_event **events, size_t count,
                         uint64_t next, hr_slice outcome, hr_slice etag, hr__page_len *len) {
    coded_body body = {0};
    *len = (hr__page_len){0};
    home->body.len = 0;
    home->out.len = 0;
    hr_status status = append_body(home, &home->body, events, count, next, outcome, len);
    if (status == HR_OK) {
        status = code_body(home, style, &body);
    }
    if (status == HR_OK) {
        status = append_head(home, &home->out, style, 200, next, etag, &body);
    }
    if (status == HR_OK && !style.head_only) {
        status = hr_buf_append_slice(&home->out, body.bytes);
    }
    len->plain = home->body.len;
    len->sent = body.bytes.len;
    return status;
}

/* `,"gap":{…},"resume":"…"` or `,"resume":"resumed"` or nothing. */
static hr_status build_outcome(hr_home *home, hr_buf *out, const hr_reader *reader,
                               const hr__outcome *outcome) {
    hr_status status = HR_OK;
    if (outcome->gap.found || outcome->reason == HR_GAP_EPOCH) {
        status = hr_buf_append_slice(out, HR_LIT(",\"gap\":{"));
        if (status == HR_OK) {
            status = hr__outcome_append(out, home, reader, outcome);
        }
        if (status == HR_OK) {
            status = hr_buf_append(out, "}", 1);
        }
    }
    if (status == HR_OK && outcome->name.len > 0) {
        const hr_slice resume[] = {HR_LIT(",\"resume\":\""), outcome->name, HR_LIT("\"")};
        status = HR_BUF_APPEND_ALL(out, resume);
    }
    return status;
}

/* Names the answer: where its events end, or for an empty one where it began, and how many there
 * are. `next` is not part of it: it moves with other topics' events, and an answer that differs in
 * nothing else is the same. */
static size_t format_etag(hr_home *home, char *out, uint64_t last, size_t count) {
    size_t len = 0;
    memcpy(out, "W/\"", 3);
    len = 3 + hr_id_format(hr_log_epoch(home->hub->log), last, out + 3);
    out[len++] = '-';
    len += hr_u64_format(count, out + len);
    out[len++] = '"';
    return len;
}

static void count_page(const hr_session *session, size_t count, const hr__page_len *len,
                       size_t answer_len) {
    hr_transport_stats *stats = hr__stats_of(session->home, &session->reader);
    hr__count(&stats->polls[count > 0 ? HR_POLL_DATA : HR_POLL_EMPTY], 1);
    /* The answer to a HEAD delivers nothing. */
    if (count > 0 && !session->style.head_only) {
        hr__count(&stats->deliveries, count);
        hr__count_sent(stats, session->style.coding != HR_CODING_IDENTITY, len->payload,
                       answer_len - len->sent + len->plain, answer_len);
    }
}

/* Counts the answer in home->out. */
static void count_events(const hr_session *session, hr_event **events, size_t count,
                         const hr__page_len *len) {
    hr_home *home = session->home;
    hr_transport_stats *stats = hr__stats_of(home, &session->reader);
    uint64_t now = count > 0 ? hr_time_mono_ns() : 0;
    count_page(session, count, len, home->out.len);
    for (size_t i = 0; i < count; i++) {
        hr__latency_add(stats, now, events[i]->appended_ns, 1);
    }
}

/* Repeats. ------------------------------------------------------------------------------------- */

/* Whether repeat answers what is asked by key. What a reset tells is each reader's own. */
static bool repeats(hr_session *session, hr_slice key, uint64_t until) {
    hr_home *home = session->home;
    const hr__repeat *repeat = &home->repeat;
    const hr_reader *reader = &session->reader;
    (void)hr__date(home);
    return repeat->is_valid && reader->resume != HR__RESUME_RESET &&
           repeat->cursor == reader->cursor && repeat->gap_seen == reader->gap_seen &&
           repeat->until == until && repeat->date_s == home->date_s &&
           repeat->version == hr_log_version(home->hub->log) && !session->style.head_only &&
           hr_slice_equal(hr_buf_slice(&repeat->key), key);
}

static void write_repeat(hr_session *session) {
    hr_home *home = session->home;
    const hr_reader *reader = &session->reader;
    const hr__repeat *repeat = &home->repeat;
    hr_transport_stats *stats = hr__stats_of(home, reader);
    uint64_t now = repeat->count > 0 ? hr_time_mono_ns() : 0;
    hr__count_status(home, 200);
    if (reader->resume == HR__RESUME_CURSOR) {
        hr__count(&stats->resumes[HR_RESUMED], 1);
    }
    count_page(session, repeat->count, &repeat->len, repeat->answer.len);
    for (size_t i = 0; i < repeat->count; i++) {
        hr__latency_add(stats, now, repeat->appended_ns[i], 1);
    }
    hr_conn_write(&session->conn, repeat->answer.data, repeat->answer.len);
}

/* Keeps home->out, which answers the reader by read, unless it is too large or the reader's own;
 * returns where it is then. version: the log's from before the read, so that a change in between
 * makes it useless. */
static hr_slice keep_repeat(hr_session *session, hr_slice key, const hr_read *read,
                            hr_event **events, const hr__page_len *len, uint64_t version) {
    hr_home *home = session->home;
    hr__repeat *repeat = &home->repeat;
    const hr_reader *reader = &session->reader;
    repeat->is_valid = false;
    repeat->key.len = 0;
    if (read->gap.found || reader->resume == HR__RESUME_RESET || session->style.head_only ||
        read->count > HR_REPEAT_COUNT_MAX || home->out.len > HR_REPEAT_LEN_MAX ||
        hr_buf_append_slice(&repeat->key, key) != HR_OK) {
        return hr_buf_slice(&home->out);
    }
    hr_buf spare = repeat->answer;
    repeat->answer = home->out;
    home->out = spare;
    repeat->is_valid = true;
    repeat->version = version;
    repeat->cursor = reader->cursor;
    repeat->gap_seen = reader->gap_seen;
    repeat->until = read->until;
    repeat->date_s = home->date_s;
    repeat->len = *len;
    repeat->count = read->count;
    for (size_t i = 0; i < read->count; i++) {
        repeat->appended_ns[i] = events[i]->appended_ns;
    }
    return hr_buf_slice(&repeat->answer);
}

/* Answers. ------------------------------------------------------------------------------------- */

/* Builds the whole answer into home->out. */
static hr_status build_page(hr_session *session, hr_event **events, size_t count,
                            const hr_read *read, hr_slice only_filter, hr__page_len *len) {
    hr_home *home = session->home;
    hr_reader *reader = &session->reader;
    hr__outcome outcome = hr__outcome_of(reader, &read->gap, only_filter);
    char etag[HR_ID_TEXT_MAX + 32];
    uint64_t last = count > 0 ? events[count - 1]->sequence : reader->cursor;
    hr_slice tag = {etag, format_etag(home, etag, last, count)};
    hr_buf text = {0};
    hr_status status = build_outcome(home, &text, reader, &outcome);
    if (status == HR_OK) {
        status = hr__poll_build(home, session->style, events, count, read->cursor,
                                hr_buf_slice(&text), tag, len);
    }
    hr_buf_fini(&text);
    if (status == HR_OK && (outcome.name.len > 0 || read->gap.found)) {
        hr__count_outcome(home, reader, &outcome);
    }
    return status;
}

void hr__poll_answer(hr_session *session, hr_event **events, const hr_read *read,
                     uint64_t version) {
    hr_reader *reader = &session->reader;
    hr__page_len len;
    hr_status status = build_page(session, events, read->count, read, (hr_slice){NULL, 0}, &len);
    hr_slice answer = {NULL, 0};
    if (status == HR_OK) {
        count_events(session, events, read->count, &len);
        answer = keep_repeat(session, reader->cohort->key, read, events, &len, version);
    }
    hr__reader_close(reader);
    if (status != HR_OK) {
        hr_conn_close(&session->conn, HR_CLOSE_LIMIT);
        return;
    }
    hr_conn_write(&session->conn, answer.data, answer.len);
    hr__http_done(session);
}

bool hr__poll_repeat(hr_session *session, uint64_t until) {
    hr_reader *reader = &session->reader;
    if (!repeats(session, reader->cohort->key, until)) {
        return false;
    }
    hr__reader_close(reader);
    write_repeat(session);
    hr__http_done(session);
    return true;
}

void hr__poll_timeout(hr_session *session) {
    hr_home *home = session->home;
    hr_reader *reader = &session->reader;
    /* A live one is told the loop's position, so that it does not come back with an old cursor. */
    uint64_t next = hr__reader_position(reader);
    hr__page_len len;
    hr_slice outcome =
        reader->resume == HR__RESUME_CURSOR ? HR_LIT(",\"resume\":\"resumed\"") : HR_LIT("");
    hr_status status =
        hr__poll_build(home, session->style, NULL, 0, next, outcome, (hr_slice){NULL, 0}, &len);
    if (reader->resume == HR__RESUME_CURSOR) {
        hr__count(&hr__stats_of(home, reader)->resumes[HR_RESUMED], 1);
    }
    hr__count(&hr__stats_of(home, reader)->polls[HR_POLL_TIMEOUT], 1);
    hr__reader_close(reader);
    if (status != HR_OK) {
        hr_conn_close(&session->conn, HR_CLOSE_LIMIT);
        return;
    }
    hr_conn_write(&session->conn, home->out.data, home->out.len);
    hr__http_done(session);
}

void hr__poll_end(hr_session *session, const hr_lease_end *end) {
    hr_home *home = session->home;
    const hr_slice problem[] = {HR_LIT("{"), end->members, HR_LIT("}")};
    home->out.len = 0;
    home->body.len = 0;
    hr_status status = HR_BUF_APPEND_ALL(&home->body, problem);
    if (status == HR_OK) {
        status = hr__fault_append(home, &home->out, end->status, session->style, end->challenge,
                                  hr_buf_slice(&home->body));
    }
    hr__reader_close(&session->reader);
    if (status != HR_OK) {
        hr_conn_close(&session->conn, HR_CLOSE_LIMIT);
        return;
    }
    hr_conn_write(&session->conn, home->out.data, home->out.len);
    hr__http_done(session);
}

/* Short-polls. --------------------------------------------------------------------------------- */

/* Whether If-None-Match names tag: weak comparison (RFC 9110 §13.1.2). */
static bool is_not_modified(const hr_request *request, hr_slice tag) {
    hr_slice value;
    if (!hr_request_header(request, HR_NAME_IF_NONE_MATCH, &value)) {
        return false;
    }
    hr_slice opaque = {tag.data + 2, tag.len - 2};
    for (size_t i = 0; i + opaque.len <= value.len; i++) {
        if (memcmp(value.data + i, opaque.data, opaque.len) == 0) {
            return true;
        }
    }
    return hr_slice_equal(value, HR_LIT("*"));
}

/* Builds the answer; *answer: where it is, borrowed. */
static hr_status build_short(hr_session *session, hr_request *request,
                             const hr_subscription *subscription, hr_event **events,
                             const hr_read *read, uint64_t version, hr_slice *answer) {
    hr_home *home = session->home;
    hr_reader *reader = &session->reader;
    char etag[HR_ID_TEXT_MAX + 32];
    uint64_t last = read->count > 0 ? events[read->count - 1]->sequence : reader->cursor;
    hr_slice tag = {etag, format_etag(home, etag, last, read->count)};
    bool is_plain = !read->gap.found && reader->resume != HR__RESUME_RESET;
    if (is_plain && is_not_modified(request, tag)) {
        hr__count(&hr__stats_of(home, reader)->polls[HR_POLL_NOT_MODIFIED], 1);
        home->out.len = 0;
        const coded_body none = {0};
        hr_status status =
            append_head(home, &home->out, session->style, 304, read->cursor, tag, &none);
        *answer = hr_buf_slice(&home->out);
        return status;
    }
    hr__page_len len;
    hr_slice only =
        subscription->filter_count == 1 ? subscription->filters[0] : (hr_slice){NULL, 0};
    hr_status status = build_page(session, events, read->count, read, only, &len);
    if (status == HR_OK) {
        count_events(session, events, read->count, &len);
        *answer = keep_repeat(session, hr_buf_slice(&home->key), read, events, &len, version);
    }
    return status;
}

/* Reads, and builds the answer. */
static hr_status answer_short(hr_session *session, hr_request *request,
                              const hr_subscription *subscription, hr_slice *answer) {
    hr_log *log = session->home->hub->log;
    hr_reader *reader = &session->reader;
    hr_event *events[HR_POLL_COUNT_MAX];
    hr_read read = {.cursor = reader->cursor,
                    .until = UINT64_MAX,
                    .gap_seen = reader->gap_seen,
                    .count_max = reader->poll_max,
                    .bytes_max = HR_POLL_BYTES_MAX};
    uint64_t version = hr_log_version(log);
    hr_status status = HR_OK;
    hr_gap gap = {0};
    for (unsigned i = 0; i < HR_SHORT_READ_MAX; i++) {
        status = hr_log_read(log, subscription->filters, subscription->filter_count, &read, events);
        if (status == HR_OK && read.gap.found) {
            gap = read.gap;
        }
        if (status != HR_OK || read.count > 0 || read.complete) {
            break;
        }
    }
    read.gap = gap;
    if (status == HR_OK) {
        status = build_short(session, request, subscription, events, &read, version, answer);
        for (size_t i = 0; i < read.count; i++) {
            hr_event_unref(&events[i]);
        }
    }
    return status;
}

void hr__poll_short(hr_session *session, hr_request *request, const hr_subscription *subscription) {
    hr_home *home = session->home;
    hr_slice tag;
    hr_slice answer = {NULL, 0};
    home->key.len = 0;
    hr__count(&hr__stats_of(home, &session->reader)->readers_opened, 1);
    hr_status status = hr__cohort_key(&home->key, &session->reader, session->style,
                                      subscription->filters, subscription->filter_count);
    bool is_repeat = status == HR_OK && !hr_request_header(request, HR_NAME_IF_NONE_MATCH, &tag) &&
                     repeats(session, hr_buf_slice(&home->key), UINT64_MAX);
    if (status == HR_OK && !is_repeat) {
        status = answer_short(session, request, subscription, &answer);
    }
    hr__request_end(&request);
    if (status != HR_OK) {
        hr_conn_close(&session->conn, HR_CLOSE_LIMIT);
        return;
    }
    if (is_repeat) {
        write_repeat(session);
    } else {
        hr_conn_write(&session->conn, answer.data, answer.len);
    }
    hr__http_done(session);
}
