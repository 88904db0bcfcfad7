#define _GNU_SOURCE /* accept4 */
#include "loop_private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct hr_listener {
    HR_MAGIC_FIELD;
    uint16_t port;
    int fd;
    hr_loop *loop;
    uv_poll_t poll;
    hr_timer pause;
    hr_listener_accept_fn *accept;
    hr_listener_error_fn *error;
    void *context;
};

static hr_status parse_address(const char *host, uint16_t port, struct sockaddr_storage *out,
                               socklen_t *out_len) {
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET, host, &v4.sin_addr) == 1) {
        memcpy(out, &v4, sizeof v4);
        *out_len = sizeof v4;
        return HR_OK;
    }
    if (inet_pton(AF_INET6, host, &v6.sin6_addr) == 1) {
        memcpy(out, &v6, sizeof v6);
        *out_len = sizeof v6;
        return HR_OK;
    }
    return HR_EADDRESS;
}

hr_status hr_listener_probe(const char *host, uint16_t port) {
    struct sockaddr_storage address;
    socklen_t address_len = 0;
    hr_status status = parse_address(host, port, &address, &address_len);
    if (status != HR_OK) {
        return status;
    }
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return hr__status_from_errno(errno);
    }
    /* Past connections in TIME_WAIT do not matter; a listener without or with SO_REUSEPORT does. */
    int on = 1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(fd, (const struct sockaddr *)&address, address_len) != 0) {
        status = hr__status_from_errno(errno);
    }
    close(fd);
    return status;
}

static hr_status open_socket(const char *host, uint16_t port, int backlog, int *out,
                             uint16_t *out_port) {
    struct sockaddr_storage address;
    socklen_t address_len = 0;
    hr_status status = parse_address(host, port, &address, &address_len);
    if (status != HR_OK) {
        return status;
    }
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return hr__status_from_errno(errno);
    }
    int on = 1;
    socklen_t len = address_len;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0 ||
        (address.ss_family == AF_INET6 &&
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0) ||
        bind(fd, (const struct sockaddr *)&address, address_len) != 0 || listen(fd, backlog) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) != 0) {
        status = hr__status_from_errno(errno);
        close(fd);
        return status;
    }
    *out_port = ntohs(address.ss_family == AF_INET6
                          ? ((const struct sockaddr_in6 *)(const void *)&address)->sin6_port
                          : ((const struct sockaddr_in *)(const void *)&address)->sin_port);
    *out = fd;
    return HR_OK;
}

static void on_pause_end(hr_timer *timer);

hr_status hr_listener_bind(hr_loop *loop, const char *host, uint16_t port, int backlog,
                           hr_listener **out) {
    HR_CHECK(loop, HR_LOOP_MAGIC);
    hr_listener *listener = calloc(1, sizeof *listener);
    if (listener == NULL) {
        return HR_ENOMEM;
    }
    hr_status status = open_socket(host, port, backlog, &listener->fd, &listener->port);
    if (status != HR_OK) {
        free(listener);
        return status;
    }
    int code = uv_poll_init(&loop->uv, &listener->poll, listener->fd);
    if (code != 0) {
        close(listener->fd);
        free(listener);
        return hr__status_from_uv(code);
    }
    HR_MAGIC_SET(listener, HR_LISTENER_MAGIC);
    listener->loop = loop;
    listener->poll.data = listener;
    hr_timer_init(&listener->pause, on_pause_end);
    *out = listener;
    return HR_OK;
}

uint16_t hr_listener_port(const hr_listener *listener) {
    HR_CHECK(listener, HR_LISTENER_MAGIC);
    return listener->port;
}

/* Failures of one connection, which the next may not share (accept(2), "Error handling"). */
static bool is_passing(int code) {
    return code == ECONNABORTED || code == EINTR || code == EPROTO || code == EPERM ||
           code == ENETDOWN || code == ENOPROTOOPT || code == EHOSTDOWN || code == ENONET ||
           code == EHOSTUNREACH || code == EOPNOTSUPP || code == ENETUNREACH;
}

static void on_acceptable(uv_poll_t *handle, int status, int events) {
    (void)status;
    (void)events;
    hr_listener *listener;
    HR_CAST(hr_listener, listener, handle->data, HR_LISTENER_MAGIC);
    hr__loop_note_event(listener->loop);
    for (unsigned i = 0; i < HR_ACCEPT_COUNT_MAX; i++) {
        int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            int on = 1;
            /* Frames are gathered here already; Nagle's delay would only add to it. A failure costs
             * latency and nothing else. */
            (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            listener->accept(listener, fd, listener->context);
            continue;
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return;
        }
        int code = errno;
        listener->error(listener, hr__status_from_errno(code), listener->context);
        if (!is_passing(code)) {
            /* Level-triggered readiness would spin until a descriptor is free. */
            uv_poll_stop(&listener->poll);
            hr_timer_arm(&listener->loop->wheel, &listener->pause, uv_now(&listener->loop->uv),
                         HR_ACCEPT_PAUSE_MS);
            return;
        }
    }
}

static void on_pause_end(hr_timer *timer) {
    hr_listener *listener = HR_CONTAINER_OF(timer, hr_listener, pause);
    HR_CHECK(listener, HR_LISTENER_MAGIC);
    HR_ASSERT(uv_poll_start(&listener->poll, UV_READABLE, on_acceptable) == 0);
}

void hr_listener_start(hr_listener *listener, hr_listener_accept_fn *accept,
                       hr_listener_error_fn *error, void *context) {
    HR_CHECK(listener, HR_LISTENER_MAGIC);
    listener->accept = accept;
    listener->error = error;
    listener->context = context;
    HR_ASSERT(uv_poll_start(&listener->poll, UV_READABLE, on_acceptable) == 0);
}

static void on_closed(uv_handle_t *handle) {
    hr_listener *listener;
    HR_CAST(hr_listener, listener, handle->data, HR_LISTENER_MAGIC);
    close(listener->fd);
    HR_MAGIC_CLEAR(listener);
    free(listener);
}

void hr_listener_close(hr_listener **handle) {
    hr_listener *listener = *handle;
    HR_CHECK(listener, HR_LISTENER_MAGIC);
    *handle = NULL;
    hr_timer_cancel(&listener->loop->wheel, &listener->pause);
    uv_poll_stop(&listener->poll);
    uv_close((uv_handle_t *)&listener->poll, on_closed);
}
