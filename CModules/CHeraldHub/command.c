/* Commands of WebSocket clients: what changes what a reader reads, and the answers. */
#include "hub_private.h"

#include <stdlib.h>
#include <string.h>

static hr_status append_ref(hr_buf *out, const hr_request *request) {
    hr_slice ref = request->command.ref;
    return ref.len == 0 ? HR_OK : hr_buf_appendf(out, ",\"ref\":%.*s", (int)ref.len, ref.data);
}

static hr_status append_filters(hr_buf *out, const hr_cohort *cohort) {
    hr_status status = hr_buf_append_slice(out, HR_LIT(",\"filters\":["));
    size_t count = cohort == NULL ? 0 : hr_interest_filter_count(cohort->interest);
    for (size_t i = 0; status == HR_OK && i < count; i++) {
        if (i > 0) {
            status = hr_buf_append(out, ",", 1);
        }
        if (status == HR_OK) {
            status = hr_json_string_append(out, hr_interest_filter(cohort->interest, i));
        }
    }
    return status == HR_OK ? hr_buf_append(out, "]", 1) : status;
}

/* {"control":NAME,"ref"?,"filters"?,"cursor"} */
static void send_state(hr_request *request, hr_slice name, bool with_filters) {
    hr_session *session = request->session;
    hr_home *home = session->home;
    hr_buf *body = &home->body;
    body->len = 0;
    hr_status status = hr_buf_appendf(body, "{\"control\":\"%.*s\"", (int)name.len, name.data);
    if (status == HR_OK) {
        status = append_ref(body, request);
    }
    if (status == HR_OK && with_filters) {
        status = append_filters(body, session->reader.cohort);
    }
    if (status == HR_OK) {
        status = hr_buf_append_slice(body, HR_LIT(",\"cursor\":\""));
    }
    if (status == HR_OK) {
        status = hr__id_append(body, hr_log_epoch(home->hub->log),
                               hr__reader_position(&session->reader));
    }
    if (status == HR_OK) {
        status = hr_buf_append_slice(body, HR_LIT("\"}"));
    }
    if (status == HR_OK) {
        hr__control_send(session, body);
    }
}

/* Moves a reader from its cohort to another (NULL: none) without moving it in the log. */
static void move(hr_reader *reader, hr_cohort *cohort) {
    hr_home *home = hr__session_of(reader)->home;
    if (reader->state == HR_READER_LIVE) {
        reader->cursor = home->live_cursor;
        hr__reader_leave_live(reader);
        hr__reader_set_state(reader, HR_READER_CATCHING_UP);
    }
    if (reader->cohort != NULL) {
        hr__cohort_leave(reader);
    }
    if (cohort != NULL) {
        hr__cohort_join(cohort, reader);
    }
}

/* The set of the reader's filters and more, or without less. Borrowed from the cohort and the
 * arguments. */
static size_t merge(const hr_reader *reader, const hr_slice *more, size_t more_count,
                    const hr_slice *less, size_t less_count, hr_slice *out) {
    size_t count = 0;
    size_t held = reader->cohort == NULL ? 0 : hr_interest_filter_count(reader->cohort->interest);
    for (size_t i = 0; i < held; i++) {
        hr_slice filter = hr_interest_filter(reader->cohort->interest, i);
        bool goes = false;
        for (size_t j = 0; j < less_count; j++) {
            goes = goes || hr_slice_equal(less[j], filter);
        }
        if (!goes) {
            out[count++] = filter;
        }
    }
    for (size_t i = 0; i < more_count; i++) {
        out[count++] = more[i];
    }
    return count;
}

/* Finds the cohort for the changed set and moves the reader there, then answers. */
static hr_status change(hr_request **handle, const hr_slice *filters, size_t count, hr_slice name) {
    hr_request *request = *handle;
    hr_session *session = request->session;
    hr_home *home = session->home;
    hr_reader *reader = &session->reader;
    hr_cohort *cohort = NULL;
    hr_status status = HR_OK;
    if (count > 0) {
        status = hr__cohort_find(home, reader, filters, count, session->style, &cohort);
    }
    if (status != HR_OK) {
        return status;
    }
    move(reader, cohort);
    send_state(request, name, true);
    hr__request_end(handle);
    if (hr_conn_is_open(&session->conn) && reader->state == HR_READER_CATCHING_UP) {
        hr_link_remove(&reader->link);
        hr__reader_step(reader);
    }
    return HR_OK;
}

/* The session of a command that may change its reader now, brought to the head of the log; NULL
 * when the connection has gone (the request has ended then). */
static hr_session *prepare(hr_request **handle) {
    hr_request *request = *handle;
    HR_CHECK(request, HR_REQUEST_MAGIC);
    HR_ASSERT(request->kind == HR_REQUEST_COMMAND);
    if (request->session != NULL) {
        hr__live_sync(request->home);
    }
    if (request->session == NULL || !request->session->reader.counted) {
        hr__request_end(handle);
        return NULL;
    }
    return request->session;
}

hr_status hr_request_add_filters(hr_request **handle, const hr_subscription *subscription) {
    hr_session *session = prepare(handle);
    if (session == NULL) {
        return HR_OK;
    }
    hr_reader *reader = &session->reader;
    size_t held = reader->cohort == NULL ? 0 : hr_interest_filter_count(reader->cohort->interest);
    if (reader->had_filters && subscription->position != HR_POSITION_LATEST) {
        return HR_EINVAL;
    }
    hr_slice *filters = malloc((held + subscription->filter_count + 1) * sizeof *filters);
    if (filters == NULL) {
        return HR_ENOMEM;
    }
    size_t count =
        merge(reader, subscription->filters, subscription->filter_count, NULL, 0, filters);
    hr_reader before = *reader;
    hr_status status = HR_OK;
    if (!reader->had_filters) {
        /* It has been at the loop's position; from now on it is where it asks to be. */
        hr__reader_set_state(reader, HR_READER_CATCHING_UP);
        status = hr__reader_place(reader, session->home->hub->log, subscription);
    }
    if (status == HR_OK) {
        status = change(handle, filters, count, HR_LIT("subscribed"));
    }
    free(filters);
    if (status != HR_OK && !before.had_filters) {
        hr__reader_set_state(reader, (hr_reader_state)before.state);
        reader->cursor = before.cursor;
        reader->gap_seen = before.gap_seen;
        reader->resume = before.resume;
    } else if (status == HR_OK) {
        reader->had_filters = true;
    }
    return status;
}

hr_status hr_request_remove_filters(hr_request **handle, const hr_slice *filters, size_t count) {
    hr_session *session = prepare(handle);
    if (session == NULL) {
        return HR_OK;
    }
    hr_reader *reader = &session->reader;
    size_t held = reader->cohort == NULL ? 0 : hr_interest_filter_count(reader->cohort->interest);
    for (size_t i = 0; i < count; i++) {
        bool found = false;
        for (size_t j = 0; j < held; j++) {
            found = found ||
                    hr_slice_equal(filters[i], hr_interest_filter(reader->cohort->interest, j));
        }
        if (!found) {
            return HR_ENOTFOUND;
        }
    }
    hr_slice *left = malloc((held + 1) * sizeof *left);
    if (left == NULL) {
        return HR_ENOMEM;
    }
    size_t left_count = merge(reader, NULL, 0, filters, count, left);
    hr_status status = change(handle, left, left_count, HR_LIT("unsubscribed"));
    free(left);
    return status;
}

void hr_request_pong(hr_request **handle) {
    hr_request *request = *handle;
    HR_CHECK(request, HR_REQUEST_MAGIC);
    HR_ASSERT(request->kind == HR_REQUEST_COMMAND);
    if (request->session != NULL) {
        send_state(request, HR_LIT("pong"), false);
    }
    hr__request_end(handle);
}

void hr_request_say(hr_request **handle, hr_slice name, hr_slice members) {
    hr_request *request = *handle;
    HR_CHECK(request, HR_REQUEST_MAGIC);
    HR_ASSERT(request->kind == HR_REQUEST_COMMAND);
    if (request->session != NULL) {
        hr_buf *body = &request->home->body;
        body->len = 0;
        hr_status status = hr_buf_appendf(body, "{\"control\":\"%.*s\"", (int)name.len, name.data);
        if (status == HR_OK) {
            status = append_ref(body, request);
        }
        const hr_slice parts[] = {HR_LIT(","), members, HR_LIT("}")};
        if (status == HR_OK && HR_BUF_APPEND_ALL(body, parts) == HR_OK) {
            hr__control_send(request->session, body);
        }
    }
    hr__request_end(handle);
}

static hr_status append_member(hr_buf *out, hr_slice name, hr_slice text) {
    hr_status status = hr_buf_appendf(out, ",\"%.*s\":", (int)name.len, name.data);
    return status == HR_OK ? hr_json_string_append(out, text) : status;
}

void hr_request_refuse(hr_request **handle, hr_slice type, hr_slice title, unsigned code,
                       hr_slice detail) {
    hr_request *request = *handle;
    HR_CHECK(request, HR_REQUEST_MAGIC);
    HR_ASSERT(request->kind == HR_REQUEST_COMMAND);
    hr_session *session = request->session;
    if (session != NULL) {
        hr_buf *body = &session->home->body;
        body->len = 0;
        hr_status status = hr_buf_append_slice(body, HR_LIT("{\"control\":\"error\""));
        if (status == HR_OK) {
            status = append_ref(body, request);
        }
        if (status == HR_OK) {
            status = append_member(body, HR_LIT("type"), type);
        }
        if (status == HR_OK) {
            status = append_member(body, HR_LIT("title"), title);
        }
        if (status == HR_OK) {
            status = hr_buf_appendf(body, ",\"status\":%u", code);
        }
        if (status == HR_OK) {
            status = append_member(body, HR_LIT("detail"), detail);
        }
        if (status == HR_OK) {
            status = hr_buf_append(body, "}", 1);
        }
        if (status == HR_OK) {
            hr__control_send(session, body);
        }
    }
    hr__request_end(handle);
}
