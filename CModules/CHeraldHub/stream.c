/* Streams, SSE, NDJSON and WebSocket: their beginning, what is said besides events, their end. */
#include "hub_private.h"

#include <stdlib.h>
#include <string.h>

hr_status hr__id_append(hr_buf *out, uint32_t epoch, uint64_t sequence) {
    char text[HR_ID_TEXT_MAX];
    return hr_buf_append(out, text, hr_id_format(epoch, sequence, text));
}

static uint32_t epoch_of(const hr_home *home) { return hr_log_epoch(home->hub->log); }

/* Outcomes and gaps. --------------------------------------------------------------------------- */

hr__outcome hr__outcome_of(const hr_reader *reader, const hr_gap *gap, hr_slice only_filter) {
    hr__outcome outcome = {.gap = *gap, .topic = only_filter, .reason = HR_GAP_EVICTED};
    if (reader->cohort != NULL && gap->found && gap->filter_index != SIZE_MAX) {
        outcome.topic = hr_interest_filter(reader->cohort->interest, gap->filter_index);
    } else if (reader->cohort != NULL && hr_interest_filter_count(reader->cohort->interest) == 1) {
        outcome.topic = hr_interest_filter(reader->cohort->interest, 0);
    }
    if (outcome.topic.len == 0) {
        outcome.topic = HR_LIT("**");
    }
    if (reader->resume == HR__RESUME_RESET) {
        outcome.name = HR_LIT("reset");
        outcome.reason = HR_GAP_EPOCH;
    } else if (reader->resume == HR__RESUME_CURSOR) {
        outcome.name = gap->found ? HR_LIT("gap") : HR_LIT("resumed");
    }
    return outcome;
}

static hr_slice reason_text(hr_gap_reason reason) {
    switch (reason) {
    case HR_GAP_EVICTED: return HR_LIT("evicted");
    case HR_GAP_EPOCH: return HR_LIT("epoch");
    case HR_GAP_CONFLATED: return HR_LIT("conflated");
    }
    return HR_LIT("");
}

static hr_status append_range(hr_buf *out, const hr_home *home, const hr_reader *reader,
                              const hr__outcome *outcome) {
    uint32_t epoch = epoch_of(home);
    bool is_reset = outcome->reason == HR_GAP_EPOCH;
    hr_status status = hr_buf_append_slice(out, HR_LIT("\"topic\":"));
    if (status == HR_OK) {
        status = hr_json_string_append(out, outcome->topic);
    }
    if (status == HR_OK) {
        status = hr_buf_append_slice(out, HR_LIT(",\"from\":\""));
    }
    if (status == HR_OK) {
        status = is_reset ? hr__id_append(out, reader->resume_epoch, reader->resume_sequence)
                          : hr__id_append(out, epoch, outcome->gap.from);
    }
    if (status == HR_OK) {
        status = hr_buf_append_slice(out, HR_LIT("\",\"to\":\""));
    }
    if (status == HR_OK) {
        status = hr__id_append(out, epoch, outcome->gap.found ? outcome->gap.to : 0);
    }
    if (status == HR_OK) {
        status = hr_buf_append_slice(out, HR_LIT("\",\"reason\":\""));
    }
    if (status == HR_OK) {
        status = hr_buf_append_slice(out, reason_text(outcome->reason));
    }
    return status == HR_OK ? hr_buf_append_slice(out, HR_LIT("\",")) : status;
}

static bool is_resumed(const hr__outcome *outcome) {
    return hr_slice_equal(outcome->name, HR_LIT("resumed"));
}

hr_status hr__outcome_append(hr_buf *out, const hr_home *home, const hr_reader *reader,
                             const hr__outcome *outcome) {
    hr_status status = HR_OK;
    if (outcome->name.len > 0) {
        status =
            hr_buf_appendf(out, "\"resume\":\"%.*s\",", (int)outcome->name.len, outcome->name.data);
    }
    if (status == HR_OK && !is_resumed(outcome)) {
        status = append_range(out, home, reader, outcome);
    }
    if (status == HR_OK) {
        status = hr_buf_append_slice(out, HR_LIT("\"cursor\":\""));
    }
    if (status == HR_OK) {
        status = hr__id_append(out, epoch_of(home), reader->cursor);
    }
    return status == HR_OK ? hr_buf_append(out, "\"", 1) : status;
}

void hr__count_outcome(hr_home *home, const hr_reader *reader, const hr__outcome *outcome) {
    hr_transport_stats *stats = hr__stats_of(home, reader);
    if (outcome->name.len > 0) {
        hr_resume_outcome kind = HR_RESUME_GAP;
        if (outcome->reason == HR_GAP_EPOCH) {
            kind = HR_RESUME_RESET;
        } else if (is_resumed(outcome)) {
            kind = HR_RESUMED;
        }
        hr__count(&stats->resumes[kind], 1);
    }
    if (!is_resumed(outcome)) {
        hr__count(&stats->gaps[outcome->reason], 1);
        hr__count(&stats->missed_max, outcome->gap.missed_max);
    }
}

/* Control messages. ---------------------------------------------------------------------------- */

static bool is_sse(const hr_session *session) {
    return session->mode == HR_MODE_STREAM && session->reader.transport == HR_SSE_STREAM;
}

/* Appends what a stream says besides events, in the stream's coding. */
static hr_status append_text(const hr_session *session, hr_buf *out, const hr_buf *text) {
    if (!hr_encoding_is_gzip((hr_encoding)session->reader.encoding)) {
        return hr_buf_append_slice(out, hr_buf_slice(text));
    }
    hr_status status = hr_buf_reserve(out, hr_deflate_stored_len(text->len));
    if (status == HR_OK) {
        out->len += hr_deflate_store(hr_buf_slice(text), out->data + out->len);
    }
    return status;
}

static void send_text(hr_session *session, const hr_buf *text) {
    hr_buf *out = &session->home->out;
    out->len = 0;
    if (append_text(session, out, text) != HR_OK) {
        hr_conn_close(&session->conn, HR_CLOSE_LIMIT);
        return;
    }
    hr_conn_write(&session->conn, out->data, out->len);
}

/* A WebSocket has its control messages in frames, an NDJSON stream has the same on lines. */
static hr_status append_control(const hr_session *session, hr_buf *out, hr_buf *json) {
    HR_ASSERT(!is_sse(session));
    if (session->mode != HR_MODE_STREAM) {
        return hr_ws_message_append(out, HR_WS_TEXT, hr_buf_slice(json),
                                    session->deflate.window_bits,
                                    hr_log_compressed_len_min(session->home->hub->log));
    }
    hr_status status = hr_buf_append(json, "\n", 1);
    return status == HR_OK ? append_text(session, out, json) : status;
}

void hr__control_send(hr_session *session, hr_buf *json) {
    hr_buf *out = &session->home->out;
    out->len = 0;
    if (append_control(session, out, json) != HR_OK) {
        hr_conn_close(&session->conn, HR_CLOSE_LIMIT);
        return;
    }
    hr_conn_write(&session->conn, out->data, out->len);
}

static void send_outcome(hr_reader *reader, const hr__outcome *outcome) {
    hr_session *session = hr__session_of(reader);
    hr_home *home = session->home;
    hr_buf *body = &home->body;
    hr_slice name = outcome->name.len > 0 ? outcome->name : HR_LIT("gap");
    hr_status status = HR_OK;
    body->len = 0;
    if (is_sse(session)) {
        status = hr_buf_appendf(body, "event: herald.%s\ndata: {",
                                is_resumed(outcome) ? "resumed" : "gap");
    } else {
        status = hr_buf_appendf(body, "{\"control\":\"%.*s\",", (int)name.len, name.data);
    }
    if (status == HR_OK) {
        status = hr__outcome_append(body, home, reader, outcome);
    }
    if (status == HR_OK) {
        status = hr_buf_append_slice(body, is_sse(session) ? HR_LIT("}\n\n") : HR_LIT("}"));
    }
    hr__count_outcome(home, reader, outcome);
    if (status != HR_OK) {
        hr_conn_close(&session->conn, HR_CLOSE_LIMIT);
    } else if (is_sse(session)) {
        send_text(session, body);
    } else {
        hr__control_send(session, body);
    }
}

void hr__stream_gap(hr_reader *reader, const hr_gap *gap, hr_gap_reason reason) {
    hr__outcome outcome = hr__outcome_of(reader, gap, (hr_slice){NULL, 0});
    outcome.reason = reason;
    outcome.name = (hr_slice){NULL, 0};
    send_outcome(reader, &outcome);
}

void hr__stream_resumed(hr_reader *reader, const hr_gap *gap) {
    hr__outcome outcome = hr__outcome_of(reader, gap, (hr_slice){NULL, 0});
    /* A raw WebSocket carries data alone; only what is missing is worth breaking that for. */
    if (hr_encoding_is_raw_ws((hr_encoding)reader->encoding) && is_resumed(&outcome)) {
        hr__count_outcome(hr__session_of(reader)->home, reader, &outcome);
        return;
    }
    send_outcome(reader, &outcome);
}

/* Whether a reader of events can be told something else, too. */
static bool can_be_told(const hr_session *session) {
    bool is_stream = session->mode == HR_MODE_STREAM || session->mode == HR_MODE_WS;
    return is_stream && !hr_encoding_is_raw_ws((hr_encoding)session->reader.encoding);
}

/* What is to be told, with the reader's cursor if with_cursor. */
static hr_status append_told(hr_session *session, hr_buf *body, hr_slice name, hr_slice members,
                             bool with_cursor) {
    const hr_slice parts[] = {is_sse(session) ? HR_LIT("event: herald.")
                                              : HR_LIT("{\"control\":\""),
                              name, is_sse(session) ? HR_LIT("\ndata: {") : HR_LIT("\","), members};
    hr_status status = HR_BUF_APPEND_ALL(body, parts);
    if (status == HR_OK && with_cursor) {
        status = hr_buf_append_slice(body, HR_LIT(",\"cursor\":\""));
        if (status == HR_OK) {
            status =
                hr__id_append(body, epoch_of(session->home), hr__reader_position(&session->reader));
        }
        if (status == HR_OK) {
            status = hr_buf_append(body, "\"", 1);
        }
    }
    return status == HR_OK
               ? hr_buf_append_slice(body, is_sse(session) ? HR_LIT("}\n\n") : HR_LIT("}"))
               : status;
}

static void tell_client(hr_session *session, hr_slice name, hr_slice members, bool with_cursor) {
    hr_buf *body = &session->home->body;
    body->len = 0;
    if (append_told(session, body, name, members, with_cursor) != HR_OK) {
        hr_conn_close(&session->conn, HR_CLOSE_LIMIT);
    } else if (is_sse(session)) {
        send_text(session, body);
    } else {
        hr__control_send(session, body);
    }
}

void hr__stream_tell(hr_session *session, hr_slice name, hr_slice members) {
    if (can_be_told(session)) {
        tell_client(session, name, members, false);
    }
}

/* Beginning and heartbeat. --------------------------------------------------------------------- */

/* A stream that begins at the head says where that is, so that a client whose line is cut before
 * the first event comes back to the right place. */
static void begin_sse(hr_session *session) {
    hr_reader *reader = &session->reader;
    hr_buf *body = &session->home->body;
    body->len = 0;
    hr_status status = hr_buf_appendf(body, "retry: %u\n", session->home->hub->config.sse_retry_ms);
    if (status == HR_OK && reader->resume == HR__RESUME_NONE && reader->cursor > 0) {
        status = hr_buf_append(body, "id: ", 4);
        if (status == HR_OK) {
            status = hr__id_append(body, epoch_of(session->home), reader->cursor);
        }
        if (status == HR_OK) {
            status = hr_buf_append(body, "\n", 1);
        }
    }
    if (status == HR_OK && hr_buf_append(body, "\n", 1) == HR_OK) {
        send_text(session, body);
    }
}

static void send_welcome(hr_session *session) {
    hr_home *home = session->home;
    hr_buf *body = &home->body;
    if (hr_encoding_is_raw_ws((hr_encoding)session->reader.encoding)) {
        return;
    }
    body->len = 0;
    hr_status status = hr_buf_appendf(
        body, "{\"control\":\"welcome\",\"epoch\":\"%08x\",\"cursor\":\"", epoch_of(home));
    if (status == HR_OK) {
        /* Where the reader begins; without filters yet it is where the loop stands. */
        status = hr__id_append(body, epoch_of(home),
                               session->reader.cohort == NULL ? home->live_cursor
                                                              : session->reader.cursor);
    }
    if (status == HR_OK) {
        status = hr_buf_appendf(body, "\",\"heartbeat_ms\":%u}", home->hub->config.heartbeat_ms);
    }
    if (status == HR_OK) {
        hr__control_send(session, body);
    }
}

void hr__stream_begin(hr_session *session) {
    if (is_sse(session)) {
        begin_sse(session);
    } else if (session->mode != HR_MODE_ECHO) {
        send_welcome(session);
    }
    if (hr_conn_is_open(&session->conn)) {
        hr__session_arm(session, hr__session_beat_ms(session));
    }
}

static hr_status append_heartbeat(hr_session *session, hr_buf *out) {
    hr_home *home = session->home;
    hr_buf *body = &home->body;
    body->len = 0;
    hr_status status =
        hr_buf_append_slice(body, HR_LIT("{\"control\":\"heartbeat\",\"cursor\":\""));
    if (status == HR_OK) {
        status = hr__id_append(body, epoch_of(home), hr__reader_position(&session->reader));
    }
    if (status == HR_OK) {
        status = hr_buf_append_slice(body, HR_LIT("\"}"));
    }
    return status == HR_OK ? append_control(session, out, body) : status;
}

static hr_status append_ws_beat(hr_session *session, hr_buf *out) {
    hr_status status = hr_ws_frame_append(out, HR_WS_PING, HR_LIT(""));
    if (status != HR_OK || session->mode == HR_MODE_ECHO ||
        hr_encoding_is_raw_ws((hr_encoding)session->reader.encoding)) {
        return status;
    }
    return append_heartbeat(session, out);
}

/* A comment keeps the line open; a block of only id: moves the browser's last event id without an
 * event (WHATWG HTML §9.2.6), so that a reader of a quiet filter does not come back with an old
 * cursor. */
static hr_status append_sse_beat(hr_session *session, hr_buf *out) {
    hr_buf *body = &session->home->body;
    body->len = 0;
    hr_status status = hr_buf_append_slice(body, HR_LIT(": hb\nid: "));
    if (status == HR_OK) {
        status =
            hr__id_append(body, epoch_of(session->home), hr__reader_position(&session->reader));
    }
    if (status == HR_OK) {
        status = hr_buf_append(body, "\n\n", 2);
    }
    return status == HR_OK ? append_text(session, out, body) : status;
}

static hr_status append_beat(hr_session *session, hr_buf *out) {
    if (session->mode != HR_MODE_STREAM) {
        return append_ws_beat(session, out);
    }
    return is_sse(session) ? append_sse_beat(session, out) : append_heartbeat(session, out);
}

void hr__stream_beat(hr_session *session) {
    hr_home *home = session->home;
    hr_buf *out = &home->out;
    bool is_stream = session->mode == HR_MODE_STREAM;
    hr__session_arm(session, hr__session_beat_ms(session));
    /* Behind a full socket one ping waits behind at most one unfinished frame; a second would tell
     * nothing more. */
    if (session->conn.waiting != NULL) {
        return;
    }
    if (!is_stream) {
        if (session->missed_beats >= 2) {
            hr_conn_close(&session->conn, HR_CLOSE_UNRESPONSIVE);
            return;
        }
        session->missed_beats++;
    }
    out->len = 0;
    if (append_beat(session, out) == HR_OK) {
        /* An echo's connection has been no reader yet, or one of another transport. */
        uint8_t transport = is_stream ? session->reader.transport : HR_WEBSOCKET;
        hr__count(&home->stats.transports[transport].heartbeats, 1);
        hr_conn_write(&session->conn, out->data, out->len);
    }
}

/* End. ----------------------------------------------------------------------------------------- */

static void count_close_code(hr_home *home, uint16_t code) {
    static const uint16_t codes[] = {1000, 1001, 1002, 1007, 1008, 1009, 1011, 1013};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        if (codes[i] == code) {
            hr__count(&home->stats.ws_closes_sent[i], 1);
        }
    }
}

/* Those who come back must not all come back at once. */
static uint32_t spread_retry_ms(hr_home *home) {
    uint32_t retry_ms = home->hub->config.sse_retry_ms;
    return retry_ms + (uint32_t)(hr__random(home) % ((uint64_t)retry_ms + 1));
}

/* {"control":"end","cursor":…,"retry_ms":…} */
static hr_status append_end(hr_session *session, hr_buf *out) {
    hr_home *home = session->home;
    hr_buf *body = &home->body;
    body->len = 0;
    hr_status status = hr_buf_append_slice(body, HR_LIT("{\"control\":\"end\",\"cursor\":\""));
    if (status == HR_OK) {
        status = hr__id_append(body, epoch_of(home), hr__reader_position(&session->reader));
    }
    if (status == HR_OK) {
        status = hr_buf_appendf(body, "\",\"retry_ms\":%u}", spread_retry_ms(home));
    }
    return status == HR_OK ? append_control(session, out, body) : status;
}

void hr__stream_end(hr_session *session, hr_close_reason reason, uint16_t code, hr_slice text) {
    hr_home *home = session->home;
    hr_buf *out = &home->out;
    out->len = 0;
    hr_status status = HR_OK;
    if (is_sse(session)) {
        home->body.len = 0;
        status = hr_buf_appendf(&home->body, "retry: %u\n\n", spread_retry_ms(home));
        if (status == HR_OK) {
            status = append_text(session, out, &home->body);
        }
    } else if (session->mode == HR_MODE_STREAM) {
        status = append_end(session, out);
    } else if (!session->close_sent) {
        session->close_sent = true;
        count_close_code(home, code);
        status = hr_ws_close_append(out, code, text);
    }
    if (status == HR_OK && out->len > 0) {
        hr_conn_write(&session->conn, out->data, out->len);
    }
    hr__session_finish(session, reason);
}

void hr__stream_end_lease(hr_session *session, const hr_lease_end *end) {
    if (can_be_told(session)) {
        tell_client(session, HR_LIT("end"), end->members, true);
    }
    if (!hr_conn_is_open(&session->conn)) {
        return;
    }
    if (session->mode == HR_MODE_WS) {
        hr__stream_end(session, HR_CLOSE_RIGHTS, end->code, end->text);
    } else if (session->mode == HR_MODE_STREAM) {
        hr__session_finish(session, HR_CLOSE_RIGHTS);
    }
}
