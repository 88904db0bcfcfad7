/* What a WebSocket's client sends: commands, echoes, control frames. */
#include "hub_private.h"

#include <stdlib.h>
#include <string.h>

/* Writes what is in home->out, if status says that it is whole. */
static void write_out(hr_session *session, hr_status status) {
    hr_buf *out = &session->home->out;
    if (status != HR_OK) {
        hr_conn_close(&session->conn, HR_CLOSE_LIMIT);
        return;
    }
    hr_conn_write(&session->conn, out->data, out->len);
    if (out->cap > HR_BACKLOG_MAX) {
        hr_buf_fini(out);
    }
}

/* A message goes back as it came, compressed or not: conformance suites want to see their own
 * handling of compression, of what is short and of what does not shrink too. */
static void echo(hr_session *session, const hr_ws_item *item) {
    hr_buf *out = &session->home->out;
    out->len = 0;
    hr_status status = item->compressed ? hr_ws_compressed_append(out, item->opcode, item->payload,
                                                                  session->deflate.window_bits)
                                        : hr_ws_frame_append(out, item->opcode, item->payload);
    write_out(session, status);
}

static hr_request *new_command(hr_session *session, hr_slice message) {
    hr_request *request = calloc(1, sizeof *request);
    if (request == NULL || hr_buf_append_slice(&request->message, message) != HR_OK) {
        free(request);
        return NULL;
    }
    HR_MAGIC_SET(request, HR_REQUEST_MAGIC);
    request->kind = HR_REQUEST_COMMAND;
    request->home = session->home;
    request->session = session;
    hr_list_push_back(&session->requests, &request->link);
    session->request_count++;
    return request;
}

static void on_command(hr_session *session, const hr_ws_item *item) {
    hr_home *home = session->home;
    hr_batch_error error = {0};
    hr_request *request =
        new_command(session, item->opcode == HR_WS_TEXT ? item->payload : HR_LIT(""));
    if (request == NULL) {
        hr__stream_end(session, HR_CLOSE_LIMIT, 1013, HR_LIT("out of memory"));
        return;
    }
    hr_status status = hr_command_parse(hr_buf_slice(&request->message), &request->command, &error);
    if (item->opcode == HR_WS_BINARY) {
        hr_request_refuse(&request, HR_LIT("/problems/bad-command"), HR_LIT("Bad command"), 400,
                          HR_LIT("commands are JSON in text messages; this one was binary"));
    } else if (status != HR_OK) {
        hr_request_refuse(&request, HR_LIT("/problems/bad-command"), HR_LIT("Bad command"), 400,
                          (hr_slice){error.what, strlen(error.what)});
    } else {
        home->hub->handler.on_request(request, home->hub->handler.context);
    }
}

static void on_message(hr_session *session, const hr_ws_item *item) {
    hr__count(&session->home->stats.ws_messages_received, 1);
    if (session->mode == HR_MODE_ECHO) {
        echo(session, item);
    } else {
        on_command(session, item);
    }
}

static void on_control(hr_session *session, const hr_ws_item *item) {
    switch (item->opcode) {
    case HR_WS_PING:
        /* Behind a full socket the newest ping's answer is enough (RFC 6455 §5.5.3), and there is
         * room for it until the backlog is full. */
        session->home->out.len = 0;
        write_out(session, hr_ws_frame_append(&session->home->out, HR_WS_PONG, item->payload));
        return;
    case HR_WS_CLOSE: {
        uint16_t code = item->code == 1005 ? 0 : item->code;
        hr__stream_end(session, HR_CLOSE_PEER, code, HR_LIT(""));
        return;
    }
    case HR_WS_PONG:
    case HR_WS_CONTINUATION:
    case HR_WS_TEXT:
    case HR_WS_BINARY: return;
    }
}

static void parse(hr_session *session, hr_ws_parser *parser, char *bytes, size_t len) {
    size_t at = 0;
    while (at < len && hr_conn_is_open(&session->conn) && session->mode != HR_MODE_ENDING) {
        /* A client that does not read its answers must not make more of them. */
        if (hr_conn_waiting_len(&session->conn) > HR_BACKLOG_MAX ||
            session->request_count >= HR_COMMANDS_OPEN_MAX) {
            hr__session_stash(session, bytes + at, len - at);
            return;
        }
        size_t used = 0;
        hr_ws_item item = {0};
        hr_ws_result result = hr_ws_parse(parser, session->home->hub->config.message_len_max,
                                          bytes + at, len - at, &used, &item);
        at += used;
        switch (result) {
        case HR_WS_MORE: break;
        case HR_WS_MESSAGE: on_message(session, &item); break;
        case HR_WS_CONTROL: on_control(session, &item); break;
        case HR_WS_FAIL:
            hr__stream_end(session, HR_CLOSE_PROTOCOL, item.code,
                           (hr_slice){item.what, strlen(item.what)});
            return;
        }
    }
}

/* Between messages no parser is kept. */
void hr__ws_input(hr_session *session, char *bytes, size_t len) {
    hr_ws_parser fresh = {.deflates = session->deflate.window_bits != 0};
    hr_ws_parser *parser = session->ws != NULL ? session->ws : &fresh;
    parse(session, parser, bytes, len);
    bool is_over = !hr_conn_is_open(&session->conn) || session->mode == HR_MODE_ENDING;
    if (is_over || hr_ws_parser_rest(parser)) {
        hr_ws_parser_fini(parser);
        free(session->ws);
        session->ws = NULL;
    } else if (session->ws == NULL) {
        session->ws = malloc(sizeof *session->ws);
        if (session->ws == NULL) {
            hr_ws_parser_fini(&fresh);
            hr__stream_end(session, HR_CLOSE_LIMIT, 1013, HR_LIT("out of memory"));
            return;
        }
        *session->ws = fresh;
    }
}
