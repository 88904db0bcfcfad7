#define _GNU_SOURCE
#include "floor.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define READY_COUNT_MAX 1024
#define READ_LEN (256u << 10)
#define REST_LEN_MAX (1u << 20)
#define BACKLOG 4096

typedef enum state { STATE_ASKING, STATE_SOCKET, STATE_STREAM, STATE_HELD, STATE_COUNT } state;

typedef struct conn {
    uint64_t position; /* of what it waits for behind */
    char *rest;        /* the beginning of a request whose end has not come */
    uint32_t rest_len;
    uint32_t place; /* in the list of its state */
    state state;
} conn;

typedef struct list {
    int *fds;
    uint32_t count;
} list;

static conn *conns; /* by descriptor */
static list lists[STATE_COUNT];
static bool is_nodelay;

/* --- Connections --- */

static void enter(int fd, state state) {
    conn *conn = &conns[fd];
    list *from = &lists[conn->state];
    list *to = &lists[state];
    from->fds[conn->place] = from->fds[--from->count];
    conns[from->fds[conn->place]].place = conn->place;
    conn->state = state;
    conn->place = to->count;
    to->fds[to->count++] = fd;
    events_all.is_framed = lists[STATE_SOCKET].count > 0;
    events_all.is_streamed = lists[STATE_STREAM].count > 0;
}

static void leave(int fd) {
    enter(fd, STATE_ASKING);
    list *asking = &lists[STATE_ASKING];
    asking->count--;
    free(conns[fd].rest);
    conns[fd] = (conn){0};
    close(fd);
}

static void come(int epoll, int listener) {
    int fd;
    int one = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct epoll_event event = {.events = EPOLLIN, .data = {.fd = fd}};
        list *asking = &lists[STATE_ASKING];
        conns[fd].place = asking->count;
        asking->fds[asking->count++] = fd;
        if (is_nodelay) {
            (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        }
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
            die("watching a socket");
        }
    }
}

/* Waits for a socket that is full: it is the reader's fault, and there is no policy for it. A peer
 * that has gone is noticed when its socket is read. */
static void send_all(int fd, const buffer *buffer) {
    size_t done = 0;
    while (done < buffer->len) {
        ssize_t sent = send(fd, buffer->bytes + done, buffer->len - done, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) {
            struct pollfd full = {.fd = fd, .events = POLLOUT};
            (void)poll(&full, 1, -1);
        } else if (sent < 0 && errno != EINTR) {
            return;
        }
        done += sent > 0 ? (size_t)sent : 0;
    }
}

/* --- Requests --- */

static void answer(int fd, const question *question, buffer *out) {
    switch (question->ask) {
    case ASK_PUBLISH:
        events_publish(question);
        answer_receipt(out, question,
                       (uint64_t)lists[STATE_SOCKET].count + lists[STATE_STREAM].count +
                           lists[STATE_HELD].count);
        break;
    case ASK_POLL: answer_empty_page(out); break;
    case ASK_WAIT:
        events_all.is_kept = true;
        if (question->position < events_all.sequence) {
            answer_page(out, question->position, false);
        } else {
            conns[fd].position = events_all.sequence;
            enter(fd, STATE_HELD);
        }
        break;
    case ASK_STREAM:
        answer_stream(out);
        enter(fd, STATE_STREAM);
        break;
    case ASK_SOCKET:
        answer_socket(out, question);
        enter(fd, STATE_SOCKET);
        break;
    }
}

static void keep(conn *conn, const char *bytes, size_t len) {
    if (len > REST_LEN_MAX) {
        die("a request that is too long");
    }
    if (len > 0) {
        conn->rest = realloc(conn->rest, len);
        if (conn->rest == NULL) {
            die("out of memory");
        }
        memcpy(conn->rest, bytes, len);
    } else if (conn->rest != NULL) {
        free(conn->rest);
        conn->rest = NULL;
    }
    conn->rest_len = (uint32_t)len;
}

static void read_requests(int fd) {
    static char in[REST_LEN_MAX + READ_LEN];
    static buffer out;
    conn *conn = &conns[fd];
    if (conn->rest_len > 0) {
        memcpy(in, conn->rest, conn->rest_len);
    }
    ssize_t got = recv(fd, in + conn->rest_len, READ_LEN, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (got <= 0) {
        leave(fd);
        return;
    }
    if (conn->state == STATE_SOCKET || conn->state == STATE_STREAM) {
        return;
    }
    size_t len = conn->rest_len + (size_t)got;
    size_t done = 0;
    size_t taken;
    question question;
    out.len = 0;
    while ((taken = question_take(in + done, len - done, &question)) > 0) {
        answer(fd, &question, &out);
        done += taken;
    }
    send_all(fd, &out);
    keep(conn, in + done, len - done);
}

/* --- Fan-out --- */

static void send_to_list(const list *list, buffer *buffer) {
    if (buffer->len > 0) {
        for (uint32_t i = 0; i < list->count; i++) {
            send_all(list->fds[i], buffer);
        }
        buffer->len = 0;
    }
}

static void send_pages(void) {
    static buffer page;
    const list *held = &lists[STATE_HELD];
    for (uint32_t i = held->count; i > 0; i--) {
        int fd = held->fds[i - 1];
        if (conns[fd].position < events_all.sequence) {
            page.len = 0;
            answer_page(&page, conns[fd].position, true);
            send_all(fd, &page);
            enter(fd, STATE_ASKING);
        }
    }
}

/* --- The loop --- */

static void run(int epoll, int listener) {
    struct epoll_event ready[READY_COUNT_MAX];
    uint64_t sent = 0;
    for (;;) {
        int count = epoll_wait(epoll, ready, READY_COUNT_MAX, -1);
        clock_read();
        for (int i = 0; i < count; i++) {
            if (ready[i].data.fd == listener) {
                come(epoll, listener);
            } else {
                read_requests(ready[i].data.fd);
            }
        }
        send_to_list(&lists[STATE_SOCKET], &events_all.frames);
        send_to_list(&lists[STATE_STREAM], &events_all.blocks);
        if (sent < events_all.sequence) {
            send_pages();
            sent = events_all.sequence;
        }
    }
}

static int listen_on(uint16_t port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int one = 1;
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
        bind(fd, (const struct sockaddr *)&address, sizeof address) != 0 ||
        listen(fd, BACKLOG) != 0) {
        die("cannot listen on that port");
    }
    return fd;
}

/* Memory for as many connections as there may be; what is not used is never touched. */
static void make_tables(void) {
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0) {
        die("no limit of open files");
    }
    files.rlim_cur = files.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &files);
    conns = calloc(files.rlim_cur, sizeof *conns);
    for (int i = 0; i < STATE_COUNT; i++) {
        lists[i].fds = calloc(files.rlim_cur, sizeof(int));
    }
    if (conns == NULL || lists[0].fds == NULL) {
        die("out of memory");
    }
}

int main(int argc, char **argv) {
    long port = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--nodelay") == 0) {
            is_nodelay = true;
        } else if (strcmp(argv[i], "--port") == 0 && i + 1 < argc) {
            port = strtol(argv[++i], NULL, 10);
        }
    }
    if (port < 1 || port > UINT16_MAX) {
        fputs("usage: floor --port PORT [--nodelay]\n", stderr);
        return 2;
    }
    make_tables();
    int listener = listen_on((uint16_t)port);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data = {.fd = listener}};
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) != 0) {
        die("watching the listener");
    }
    run(epoll, listener);
}
