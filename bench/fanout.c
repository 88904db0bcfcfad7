/* A load generator for fan-out: one publisher, many subscribers of one topic, one thread.
 *
 * Every event carries a counter, written #000000123# at the head of its payload, which is looked
 * for in whatever a server makes of the event. So the same program measures any server that is
 * published to by POST and subscribed to by WebSocket or Server-Sent Events, and what each
 * subscriber lost, got twice or got late is known from the counters alone.
 *
 * Flow: at most a window of events is outstanding. Event k goes out when all subscribers have event
 * k - window, so no server is driven into its policy for slow readers. Requests within the window
 * are pipelined on the one connection: answers are checked, but not waited for.
 *
 * What is compared is deliveries per second of the server's own processor time, which a shared
 * machine disturbs less than it does deliveries per second.
 *
 * Any fault of the generator or refusal by the server ends the program with status 1: a run that
 * did not do what it says prints no numbers. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define COUNTER_DIGITS 9u
#define COUNTER_LEN (COUNTER_DIGITS + 2u)
#define COUNTER_END 1000000000u
/* Counters below the newest for which it is known whether they came: one bit each. */
#define HISTORY_COUNT 64u
#define WINDOW_MAX HISTORY_COUNT
#define PAYLOAD_MAX 65536u
#define FRAME_MAX (1u << 20)
#define READ_LEN (256u << 10)
#define READY_COUNT_MAX 512
#define SETTLE_MS 200u
/* Outstanding events are given up as lost when nothing moves for so long. */
#define STALL_NS UINT64_C(2000000000)
#define SATURATED_SHARE 0.95

typedef struct options {
    uint16_t port;
    const char *subscribe_path;
    const char *publish_path;
    bool is_sse;
    uint32_t subscriber_count;
    uint32_t payload_len;
    uint32_t window;
    double warm_up_s;
    double measured_s;
    pid_t server;
} options;

typedef struct subscriber {
    int fd;
    char *partial; /* the beginning of a frame whose end has not come */
    size_t partial_len;
    size_t partial_cap;
    uint64_t next;    /* one above the greatest counter that came */
    uint64_t missing; /* bit i: counter next - 1 - i has not come */
} subscriber;

typedef struct publisher {
    int fd;
    char *out;
    size_t out_len;
    size_t out_done;
    char in[16384];
    size_t in_len;
    char *request; /* all of one request; the counter is overwritten */
    size_t request_len;
    size_t counter_at;
    uint64_t published;
    uint64_t completed; /* events below this have reached everyone, or were given up */
    uint64_t answered;
    uint64_t progress_ns;
    uint32_t arrived[WINDOW_MAX]; /* of event k, at k % WINDOW_MAX */
} publisher;

typedef struct tally {
    uint64_t deliveries;
    uint64_t bytes;
    uint64_t lost;
    uint64_t repeated;
    uint64_t disordered;
    uint64_t stalls;
} tally;

typedef struct cpu_time {
    double user_s;
    double system_s;
} cpu_time;

typedef struct snapshot {
    uint64_t at_ns;
    uint64_t deliveries;
    uint64_t bytes;
    uint64_t completed;
    cpu_time server;
    cpu_time generator;
    double generator_waited_s; /* ready to run, but others ran */
} snapshot;

typedef struct bench {
    options options;
    int epoll;
    subscriber *subscribers;
    publisher publisher;
    tally tally;
    char *read_buffer; /* FRAME_MAX for what was partial, READ_LEN behind it */
} bench;

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("fanout: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

static void *must_alloc(void *old, size_t len) {
    void *memory = realloc(old, len);
    if (memory == NULL) {
        die("out of memory");
    }
    return memory;
}

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* --- Processor time --- */

/* Adds a process's time. False if it has ended: a child may, after it was listed. */
static bool cpu_add_process(pid_t pid, cpu_time *sum) {
    char path[64];
    char line[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return false;
    }
    char *read = fgets(line, sizeof line, file);
    fclose(file);
    /* The name in the second field may hold anything, also parentheses. */
    char *rest = read != NULL ? strrchr(line, ')') : NULL;
    unsigned long user = 0;
    unsigned long system = 0;
    if (rest == NULL || sscanf(rest + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
                               &user, &system) != 2) {
        return false;
    }
    double ticks_per_s = (double)sysconf(_SC_CLK_TCK);
    sum->user_s += (double)user / ticks_per_s;
    sum->system_s += (double)system / ticks_per_s;
    return true;
}

static bool cpu_add_tree(pid_t pid, cpu_time *sum);

static void cpu_add_children(pid_t pid, const char *thread, cpu_time *sum) {
    char path[320];
    snprintf(path, sizeof path, "/proc/%d/task/%s/children", (int)pid, thread);
    FILE *file = fopen(path, "re");
    int child = 0;
    while (file != NULL && fscanf(file, "%d", &child) == 1) {
        (void)cpu_add_tree(child, sum);
    }
    if (file != NULL) {
        fclose(file);
    }
}

/* Adds a process and all below it, so that a master and its workers count as one server. */
static bool cpu_add_tree(pid_t pid, cpu_time *sum) {
    char path[64];
    if (!cpu_add_process(pid, sum)) {
        return false;
    }
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *threads = opendir(path);
    const struct dirent *thread;
    while (threads != NULL && (thread = readdir(threads)) != NULL) {
        if (thread->d_name[0] != '.') {
            cpu_add_children(pid, thread->d_name, sum);
        }
    }
    if (threads != NULL) {
        closedir(threads);
    }
    return true;
}

static double timeval_s(struct timeval time) {
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

/* How long this process has waited for its processor; 0 where the kernel does not tell. */
static double waited_s(void) {
    unsigned long long waited_ns = 0;
    FILE *file = fopen("/proc/self/schedstat", "re");
    if (file != NULL && fscanf(file, "%*u %llu", &waited_ns) != 1) {
        waited_ns = 0;
    }
    if (file != NULL) {
        fclose(file);
    }
    return (double)waited_ns / 1e9;
}

static snapshot take_snapshot(const bench *bench) {
    snapshot taken = {.deliveries = bench->tally.deliveries,
                      .bytes = bench->tally.bytes,
                      .completed = bench->publisher.completed,
                      .at_ns = now_ns()};
    if (!cpu_add_tree(bench->options.server, &taken.server)) {
        die("process %d has gone", (int)bench->options.server);
    }
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    taken.generator.user_s = timeval_s(usage.ru_utime);
    taken.generator.system_s = timeval_s(usage.ru_stime);
    taken.generator_waited_s = waited_s();
    return taken;
}

/* --- What a subscriber gets --- */

static bool find_counter(const char *text, size_t len, uint64_t *counter) {
    const char *end = text + len;
    const char *at = text;
    while ((at = memchr(at, '#', (size_t)(end - at))) != NULL && end - at >= (int)COUNTER_LEN) {
        uint64_t value = 0;
        uint32_t i = 1;
        for (; i <= COUNTER_DIGITS && at[i] >= '0' && at[i] <= '9'; i++) {
            value = value * 10 + (uint64_t)(at[i] - '0');
        }
        if (i > COUNTER_DIGITS && at[i] == '#') {
            *counter = value;
            return true;
        }
        at++;
    }
    return false;
}

/* Shifts the history by the counters that were passed over, which count as lost until they come,
 * and by the one that came. */
static void pass_over(subscriber *sub, uint64_t counter, tally *tally) {
    uint64_t skipped = counter - sub->next;
    tally->lost += skipped;
    if (skipped + 1 >= HISTORY_COUNT) {
        sub->missing = ~UINT64_C(1);
    } else {
        sub->missing = (sub->missing << (skipped + 1)) | (((UINT64_C(1) << skipped) - 1) << 1);
    }
    sub->next = counter + 1;
}

/* False if the subscriber had this event before. */
static bool accept_counter(subscriber *sub, uint64_t counter, tally *tally) {
    if (counter >= sub->next) {
        pass_over(sub, counter, tally);
        return true;
    }
    uint64_t back = sub->next - 1 - counter;
    if (back >= HISTORY_COUNT || ((sub->missing >> back) & 1) == 0) {
        tally->repeated++;
        return false;
    }
    sub->missing &= ~(UINT64_C(1) << back);
    tally->lost--;
    tally->disordered++;
    return true;
}

/* Frames without a counter are the server's own messages. */
static void on_message(bench *bench, subscriber *sub, const char *text, size_t len,
                       size_t wire_len) {
    uint64_t counter = 0;
    publisher *publisher = &bench->publisher;
    if (!find_counter(text, len, &counter)) {
        return;
    }
    if (counter >= publisher->published) {
        die("an event came that was not published: %" PRIu64, counter);
    }
    if (!accept_counter(sub, counter, &bench->tally)) {
        return;
    }
    bench->tally.deliveries++;
    bench->tally.bytes += wire_len;
    if (counter >= publisher->completed) {
        publisher->arrived[counter % WINDOW_MAX]++;
    }
}

/* Answers a ping (RFC 6455 section 5.5.3), with a mask of zeros. */
static void send_pong(const subscriber *sub, const char *payload, size_t len) {
    char frame[6 + 125] = {(char)0x8a, (char)(0x80 | len)};
    memcpy(frame + 6, payload, len);
    (void)send(sub->fd, frame, 6 + len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Takes one WebSocket frame off the front. Returns its length, or 0 if it is not whole. */
static size_t take_frame(bench *bench, subscriber *sub, const char *bytes, size_t len) {
    if (len < 2) {
        return 0;
    }
    const unsigned char *head = (const unsigned char *)bytes;
    size_t payload_len = head[1] & 0x7f;
    size_t head_len = payload_len < 126 ? 2 : payload_len == 126 ? 4 : 10;
    if ((head[0] & 0xf0) != 0x80 || (head[1] & 0x80) != 0) {
        die("a frame that is masked, fragmented or extended");
    }
    if (len < head_len) {
        return 0;
    }
    if (head_len > 2) {
        payload_len = 0;
        for (size_t i = 2; i < head_len; i++) {
            payload_len = (payload_len << 8) | head[i];
        }
    }
    if (payload_len > FRAME_MAX - head_len) {
        die("a frame of %zu bytes", payload_len);
    }
    if (len < head_len + payload_len) {
        return 0;
    }
    unsigned opcode = head[0] & 0x0f;
    if (opcode == 0x8) {
        die("the server closed a WebSocket");
    } else if (opcode == 0x9 && payload_len <= 125) {
        send_pong(sub, bytes + head_len, payload_len);
    } else if (opcode == 0x1 || opcode == 0x2) {
        on_message(bench, sub, bytes + head_len, payload_len, head_len + payload_len);
    }
    return head_len + payload_len;
}

/* Takes one block of an event stream off the front: what ends in an empty line. */
static size_t take_block(bench *bench, subscriber *sub, const char *bytes, size_t len) {
    const char *end = memmem(bytes, len, "\n\n", 2);
    if (end == NULL) {
        return 0;
    }
    size_t block_len = (size_t)(end - bytes) + 2;
    on_message(bench, sub, bytes, block_len, block_len);
    return block_len;
}

/* Takes what is whole and keeps the rest with the subscriber. */
static void on_bytes(bench *bench, subscriber *sub, const char *bytes, size_t len) {
    size_t done = 0;
    size_t taken;
    do {
        taken = bench->options.is_sse ? take_block(bench, sub, bytes + done, len - done)
                                      : take_frame(bench, sub, bytes + done, len - done);
        done += taken;
    } while (taken > 0);
    size_t rest = len - done;
    if (rest > FRAME_MAX) {
        die("an event without an end");
    }
    if (rest > sub->partial_cap) {
        sub->partial = must_alloc(sub->partial, rest);
        sub->partial_cap = rest;
    }
    if (rest > 0) {
        memcpy(sub->partial, bytes + done, rest);
    }
    sub->partial_len = rest;
}

/* One read a turn: what is left is reported again, cheaper than a read that finds nothing. */
static void on_subscriber_ready(bench *bench, subscriber *sub) {
    if (sub->partial_len > 0) {
        memcpy(bench->read_buffer, sub->partial, sub->partial_len);
    }
    ssize_t got = recv(sub->fd, bench->read_buffer + sub->partial_len, READ_LEN, 0);
    if (got > 0) {
        on_bytes(bench, sub, bench->read_buffer, sub->partial_len + (size_t)got);
    } else if (got == 0) {
        die("the server closed a subscriber's connection");
    } else if (errno != EAGAIN && errno != EINTR) {
        die("reading of a subscriber: %s", strerror(errno));
    }
}

/* --- The publisher --- */

static void publisher_init(publisher *publisher, const options *options) {
    const char *format = "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nContent-Type: text/plain\r\n"
                         "Content-Length: %u\r\n\r\n";
    int head_len =
        snprintf(NULL, 0, format, options->publish_path, options->port, options->payload_len);
    publisher->counter_at = (size_t)head_len;
    publisher->request_len = (size_t)head_len + options->payload_len;
    publisher->request = must_alloc(NULL, publisher->request_len + 1);
    snprintf(publisher->request, publisher->request_len + 1, format, options->publish_path,
             options->port, options->payload_len);
    memset(publisher->request + head_len, 'x', options->payload_len);
    publisher->out = must_alloc(NULL, publisher->request_len * options->window);
}

/* Writes one request for the next event behind those that have not been sent. */
static void publish_next(publisher *publisher) {
    char counter[COUNTER_LEN + 1];
    if (publisher->published >= COUNTER_END) {
        die("the counter has no more digits");
    }
    snprintf(counter, sizeof counter, "#%09u#", (unsigned)publisher->published);
    memcpy(publisher->request + publisher->counter_at, counter, COUNTER_LEN);
    memcpy(publisher->out + publisher->out_len, publisher->request, publisher->request_len);
    publisher->out_len += publisher->request_len;
    publisher->arrived[publisher->published % WINDOW_MAX] = 0;
    publisher->published++;
}

static void publisher_flush(publisher *publisher) {
    while (publisher->out_done < publisher->out_len) {
        ssize_t sent = send(publisher->fd, publisher->out + publisher->out_done,
                            publisher->out_len - publisher->out_done, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) {
            return;
        }
        if (sent < 0 && errno != EINTR) {
            die("publishing: %s", strerror(errno));
        }
        publisher->out_done += sent > 0 ? (size_t)sent : 0;
    }
    publisher->out_done = 0;
    publisher->out_len = 0;
}

/* Sees which events have reached everyone, and publishes as many as the window then allows. */
static void publisher_advance(bench *bench, uint64_t now, bool may_publish) {
    publisher *publisher = &bench->publisher;
    uint64_t before = publisher->completed;
    while (publisher->completed < publisher->published &&
           publisher->arrived[publisher->completed % WINDOW_MAX] ==
               bench->options.subscriber_count) {
        publisher->completed++;
    }
    if (publisher->completed > before || publisher->completed == publisher->published) {
        publisher->progress_ns = now;
    } else if (now - publisher->progress_ns > STALL_NS) {
        bench->tally.stalls++;
        publisher->completed = publisher->published;
        publisher->progress_ns = now;
    }
    /* After a stall more than one window may wait to be sent; the buffer holds one. */
    size_t out_max = publisher->request_len * bench->options.window;
    while (may_publish && publisher->out_len + publisher->request_len <= out_max &&
           publisher->published - publisher->completed < bench->options.window) {
        publish_next(publisher);
    }
    publisher_flush(publisher);
}

/* Takes one answer off the front; returns its length, or 0 if it is not whole. */
static size_t take_answer(const char *text, size_t len) {
    const char *head_end = memmem(text, len, "\r\n\r\n", 4);
    if (head_end == NULL) {
        return 0;
    }
    size_t head_len = (size_t)(head_end - text) + 4;
    if (strncmp(text, "HTTP/1.1 2", 10) != 0) {
        die("publishing was answered: %.*s", (int)strcspn(text, "\r"), text);
    }
    const char *field = strcasestr(text, "\r\nContent-Length:");
    if (field == NULL || field > head_end) {
        die("an answer without Content-Length");
    }
    size_t answer_len = head_len + strtoul(field + strlen("\r\nContent-Length:"), NULL, 10);
    return len < answer_len ? 0 : answer_len;
}

static void on_publisher_ready(publisher *publisher) {
    for (;;) {
        size_t room = sizeof publisher->in - 1 - publisher->in_len;
        ssize_t got = recv(publisher->fd, publisher->in + publisher->in_len, room, 0);
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }
        if (got <= 0) {
            die("the publisher's connection ended");
        }
        publisher->in_len += (size_t)got;
        publisher->in[publisher->in_len] = '\0';
        size_t done = 0;
        size_t taken;
        while ((taken = take_answer(publisher->in + done, publisher->in_len - done)) > 0) {
            done += taken;
            publisher->answered++;
        }
        memmove(publisher->in, publisher->in + done, publisher->in_len - done);
        publisher->in_len -= done;
        if (publisher->in_len == sizeof publisher->in - 1) {
            die("an answer that is too long");
        }
    }
}

/* --- Connections --- */

static int connect_to(uint16_t port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int one = 1;
    struct timeval patience = {.tv_sec = 10};
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0 ||
        connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        die("connecting to port %u: %s", port, strerror(errno));
    }
    return fd;
}

/* From here on the socket does not block. data is what epoll reports for it. */
static void watch(const bench *bench, int fd, uint32_t events, subscriber *data) {
    struct epoll_event event = {.events = events, .data = {.ptr = data}};
    if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0 ||
        epoll_ctl(bench->epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
        die("watching a socket: %s", strerror(errno));
    }
}

static void subscriber_open(bench *bench, subscriber *sub) {
    const options *options = &bench->options;
    const char *kind = options->is_sse ? "Accept: text/event-stream\r\n"
                                       : "Connection: Upgrade\r\nUpgrade: websocket\r\n"
                                         "Sec-WebSocket-Version: 13\r\n"
                                         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    const char *status = options->is_sse ? "HTTP/1.1 200 " : "HTTP/1.1 101 ";
    char text[8192];
    sub->fd = connect_to(options->port);
    int request_len = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n%s\r\n",
                               options->subscribe_path, options->port, kind);
    if (send(sub->fd, text, (size_t)request_len, MSG_NOSIGNAL) != request_len) {
        die("subscribing: %s", strerror(errno));
    }
    size_t len = 0;
    const char *head_end = NULL;
    while (head_end == NULL) {
        ssize_t got = recv(sub->fd, text + len, sizeof text - 1 - len, 0);
        if (got <= 0) {
            die("subscribing: no answer");
        }
        len += (size_t)got;
        text[len] = '\0';
        head_end = strstr(text, "\r\n\r\n");
    }
    if (strncmp(text, status, strlen(status)) != 0) {
        die("subscribing was answered: %.*s", (int)strcspn(text, "\r"), text);
    }
    on_bytes(bench, sub, head_end + 4, len - (size_t)(head_end + 4 - text));
    watch(bench, sub->fd, EPOLLIN, sub);
}

static void bench_open(bench *bench) {
    const options *options = &bench->options;
    bench->epoll = epoll_create1(EPOLL_CLOEXEC);
    bench->read_buffer = must_alloc(NULL, FRAME_MAX + READ_LEN);
    bench->subscribers = calloc(options->subscriber_count, sizeof(subscriber));
    if (bench->epoll < 0 || bench->subscribers == NULL) {
        die("opening: %s", strerror(errno));
    }
    for (uint32_t i = 0; i < options->subscriber_count; i++) {
        subscriber_open(bench, &bench->subscribers[i]);
    }
    publisher_init(&bench->publisher, options);
    bench->publisher.fd = connect_to(options->port);
    watch(bench, bench->publisher.fd, EPOLLIN | EPOLLOUT | EPOLLET, NULL);
    /* A server may say yes before it has entered the last subscribers. */
    usleep(SETTLE_MS * 1000);
}

/* --- The run --- */

static void turn(bench *bench, bool may_publish) {
    struct epoll_event ready[READY_COUNT_MAX];
    int count = epoll_wait(bench->epoll, ready, READY_COUNT_MAX, 20);
    if (count < 0 && errno != EINTR) {
        die("waiting: %s", strerror(errno));
    }
    for (int i = 0; i < count; i++) {
        if (ready[i].data.ptr == NULL) {
            on_publisher_ready(&bench->publisher);
        } else {
            on_subscriber_ready(bench, ready[i].data.ptr);
        }
    }
    publisher_advance(bench, now_ns(), may_publish);
}

static void run_for(bench *bench, double seconds) {
    uint64_t end = now_ns() + (uint64_t)(seconds * 1e9);
    while (now_ns() < end) {
        turn(bench, true);
    }
}

/* Waits for what is outstanding; what then has not come is lost. */
static void drain(bench *bench) {
    publisher *publisher = &bench->publisher;
    while (publisher->completed < publisher->published) {
        turn(bench, false);
    }
    uint64_t end = now_ns() + STALL_NS;
    while (publisher->answered < publisher->published && now_ns() < end) {
        turn(bench, false);
    }
    if (publisher->answered != publisher->published) {
        die("%" PRIu64 " of %" PRIu64 " requests were answered", publisher->answered,
            publisher->published);
    }
    for (uint32_t i = 0; i < bench->options.subscriber_count; i++) {
        bench->tally.lost += publisher->published - bench->subscribers[i].next;
    }
}

static double per(double amount, double of) { return of > 0 ? amount / of : 0; }

static void report(const bench *bench, const snapshot *begin, const snapshot *end) {
    const options *options = &bench->options;
    const tally *tally = &bench->tally;
    double wall = (double)(end->at_ns - begin->at_ns) / 1e9;
    double deliveries = (double)(end->deliveries - begin->deliveries);
    double user = end->server.user_s - begin->server.user_s;
    double system = end->server.system_s - begin->server.system_s;
    double share = per(end->generator.user_s - begin->generator.user_s + end->generator.system_s -
                           begin->generator.system_s,
                       wall);
    printf("{\"transport\":\"%s\",\"subscribers\":%u,\"payload_bytes\":%u,\"window\":%u,"
           "\"seconds\":%.3f,\"events\":%" PRIu64 ",\"deliveries\":%.0f,",
           options->is_sse ? "sse" : "ws", options->subscriber_count, options->payload_len,
           options->window, wall, end->completed - begin->completed, deliveries);
    printf("\"deliveries_per_core_second\":%.0f,\"deliveries_per_second\":%.0f,"
           "\"bytes_per_delivery\":%.1f,",
           per(deliveries, user + system), per(deliveries, wall),
           per((double)(end->bytes - begin->bytes), deliveries));
    printf("\"server_user_seconds\":%.2f,\"server_system_seconds\":%.2f,"
           "\"server_cpu_share\":%.3f,\"generator_cpu_share\":%.3f,"
           "\"generator_wait_share\":%.3f,\"saturated\":%s,",
           user, system, per(user + system, wall), share,
           per(end->generator_waited_s - begin->generator_waited_s, wall),
           share > SATURATED_SHARE ? "true" : "false");
    printf("\"lost\":%" PRIu64 ",\"repeated\":%" PRIu64 ",\"disordered\":%" PRIu64
           ",\"stalls\":%" PRIu64 "}\n",
           tally->lost, tally->repeated, tally->disordered, tally->stalls);
}

/* --- The command line --- */

__attribute__((noreturn)) static void usage(void) {
    fputs("usage: fanout --port PORT --pid PID [--transport ws|sse] [--subscribe-path PATH]\n"
          "    [--publish-path PATH] [--subscribers N] [--payload BYTES] [--window W]\n"
          "    [--warm-up SECONDS] [--seconds SECONDS]\n"
          "PID: the server, whose processor time is counted with that of its children.\n",
          stderr);
    exit(2);
}

static uint32_t whole_number(const char *text, uint32_t min, uint32_t max) {
    char *end = NULL;
    unsigned long long value = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || value < min || value > max) {
        die("%s is not a whole number from %u to %u", text, min, max);
    }
    return (uint32_t)value;
}

static double seconds_of(const char *text) {
    char *end = NULL;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !(value >= 0 && value <= 3600)) {
        die("%s is not a number of seconds up to 3600", text);
    }
    return value;
}

static void set_option(options *options, int letter, const char *text) {
    switch (letter) {
    case 'p': options->port = (uint16_t)whole_number(text, 1, UINT16_MAX); break;
    case 'i': options->server = (pid_t)whole_number(text, 1, INT32_MAX); break;
    case 't':
        options->is_sse = strcmp(text, "sse") == 0;
        if (!options->is_sse && strcmp(text, "ws") != 0) {
            usage();
        }
        break;
    case 's': options->subscribe_path = text; break;
    case 'u': options->publish_path = text; break;
    case 'n': options->subscriber_count = whole_number(text, 1, 1000000); break;
    case 'b': options->payload_len = whole_number(text, COUNTER_LEN, PAYLOAD_MAX); break;
    case 'w': options->window = whole_number(text, 1, WINDOW_MAX); break;
    case 'a': options->warm_up_s = seconds_of(text); break;
    case 'm': options->measured_s = seconds_of(text); break;
    default: usage();
    }
}

static options parse_options(int count, char **arguments) {
    static const struct option names[] = {
        {"port", required_argument, NULL, 'p'},
        {"pid", required_argument, NULL, 'i'},
        {"transport", required_argument, NULL, 't'},
        {"subscribe-path", required_argument, NULL, 's'},
        {"publish-path", required_argument, NULL, 'u'},
        {"subscribers", required_argument, NULL, 'n'},
        {"payload", required_argument, NULL, 'b'},
        {"window", required_argument, NULL, 'w'},
        {"warm-up", required_argument, NULL, 'a'},
        {"seconds", required_argument, NULL, 'm'},
        {NULL, 0, NULL, 0},
    };
    options parsed = {.subscribe_path = "/v1/events/bench/fanout",
                      .publish_path = "/v1/events/bench/fanout",
                      .subscriber_count = 1000,
                      .payload_len = 128,
                      .window = 1,
                      .warm_up_s = 1,
                      .measured_s = 5};
    int letter;
    while ((letter = getopt_long(count, arguments, "", names, NULL)) != -1) {
        set_option(&parsed, letter, optarg);
    }
    if (optind != count || parsed.port == 0 || parsed.server == 0) {
        usage();
    }
    return parsed;
}

int main(int argc, char **argv) {
    static bench bench;
    bench.options = parse_options(argc, argv);
    bench_open(&bench);
    bench.publisher.progress_ns = now_ns();
    run_for(&bench, bench.options.warm_up_s);
    snapshot begin = take_snapshot(&bench);
    run_for(&bench, bench.options.measured_s);
    snapshot end = take_snapshot(&bench);
    drain(&bench);
    report(&bench, &begin, &end);
    return 0;
}
