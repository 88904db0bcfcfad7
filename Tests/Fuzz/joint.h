/* What the targets of joints share: a whole hub with one running loop, to which input comes by a
 * socket. Nothing is compared, for timing has a say in it: what must hold is asserted by the core
 * itself, under the sanitizers, and a connection must end. */
#ifndef JOINT_H
#define JOINT_H

#include "hub_private.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static hr_log *joint_log;
static hr_hub *joint_hub;
static hr_tls *joint_tls; /* of connections that begin with it; NULL: none do */

/* A GET is an SSE stream, a poll or a WebSocket; anything else publishes its body. */
static inline void joint_handle(hr_request *request, void *context) {
    (void)context;
    hr_slice filter = HR_LIT("**");
    hr_subscription subscription = {
        .transport = HR_SSE_STREAM, .filters = &filter, .filter_count = 1, .max = 10};
    if (hr_request_kind_of(request) == HR_REQUEST_COMMAND) {
        hr_request_pong(&request);
        return;
    }
    hr_slice path = hr_request_path(request);
    if (hr_request_method(request) == HR_HTTP_GET) {
        subscription.position = path.len % 3 == 0 ? HR_POSITION_EARLIEST : HR_POSITION_LATEST;
        if (hr_request_wants_upgrade(request)) {
            subscription.transport = HR_WEBSOCKET;
        } else if (path.len % 2 == 0) {
            subscription.transport = HR_SHORTPOLL;
        }
        if (hr_request_subscribe(&request, &subscription) != HR_OK) {
            hr_request_drop(&request);
        }
        return;
    }
    hr_publication publication = {.topic = HR_LIT("a"),
                                  .content_type = HR_LIT("text/plain"),
                                  .data = hr_request_body(request)};
    hr_receipt receipt;
    if (hr_hub_publish(joint_hub, &publication, 1, &receipt, NULL) != HR_OK) {
        hr_request_drop(&request);
        return;
    }
    hr_request_answer_published(&request, &publication, &receipt, 1, true);
}

static inline void joint_drained(void *context) { (void)context; }

static inline void joint_open(void) {
    hr_log_config log = {.epoch = 1,
                         .retention = {.count_max = 16, .bytes_max = 65536},
                         .memory_bytes_max = 1 << 20,
                         .topic_count_max = 16,
                         .filter_count_max = 64,
                         .link_count_max = 1024,
                         .window_count = 64,
                         .window_bytes_max = 1 << 18,
                         .topic_idle_ms = 1000};
    hr_hub_config config = {.loop_count = 1,
                            .connection_count_max = 64,
                            .head_len_max = 1024,
                            .body_len_max = 1024,
                            .message_len_max = 1024,
                            .filters_per_reader_max = 4,
                            .request_timeout_ms = 1000,
                            .idle_timeout_ms = 1000,
                            .write_timeout_ms = 1000,
                            .heartbeat_ms = 1000,
                            .drain_timeout_ms = 100,
                            .handshakes_per_turn = 4,
                            .h2_streams_max = 8,
                            .h2_allowance = 50,
                            .server_name = HR_LIT("fuzz")};
    hr_hub_handler handler = {.on_request = joint_handle, .on_drained = joint_drained};
    HR_ASSERT(hr_log_new(&log, &joint_log) == HR_OK);
    HR_ASSERT(hr_hub_new(&config, &handler, joint_log, &joint_hub) == HR_OK);
    HR_ASSERT(hr_hub_start(joint_hub) == HR_OK);
}

static inline void joint_accept(void *context) {
    hr__session_open(joint_hub->homes[0], (int)(intptr_t)context, joint_tls);
}

/* Whatever it answers is read, until it ends. */
static inline void joint_send(const char *first, size_t first_len, const char *bytes, size_t len) {
    int pair[2];
    char rest[4096];
    if (joint_hub == NULL) {
        joint_open();
    }
    HR_ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    HR_ASSERT(send(pair[0], first, first_len, MSG_NOSIGNAL) == (ssize_t)first_len);
    HR_ASSERT(send(pair[0], bytes, len, MSG_NOSIGNAL) == (ssize_t)len);
    HR_ASSERT(shutdown(pair[0], SHUT_WR) == 0);
    HR_ASSERT(hr_loop_post(joint_hub->homes[0]->loop, joint_accept, (void *)(intptr_t)pair[1]) ==
              HR_OK);
    while (recv(pair[0], rest, sizeof rest, 0) > 0) {
    }
    close(pair[0]);
}

#endif
