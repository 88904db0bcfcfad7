#include "options.h"

#include "base.h"
#include "counter.h"
#include "payload.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SUBSCRIBERS_MAX 1000000u
#define TOPICS_MAX 1000000u
#define EVENTS_MAX 100000000u
#define SECONDS_MAX 3600.0
#define RATE_MAX 1e6

static const char *const mode_names[] = {"fanout", "publish", "poll",  "churn",
                                         "idle",   "catchup", "storm", NULL};
static const char *const transport_names[] = {"ws", "sse", "longpoll", NULL};
static const char *const wait_names[] = {"spin", "sleep", NULL};
static const char *const body_names[] = {"text", "json", NULL};
static const char *const switch_names[] = {"no", "yes", NULL};
static const char *const dialect_names[] = {"herald", "nchan", "floor", NULL};

typedef enum kind { KIND_WHOLE, KIND_REAL, KIND_TEXT, KIND_NAME } kind;

enum {
    FANOUT = 1 << MODE_FANOUT,
    PUBLISH = 1 << MODE_PUBLISH,
    POLL = 1 << MODE_POLL,
    CHURN = 1 << MODE_CHURN,
    IDLE = 1 << MODE_IDLE,
    CATCHUP = 1 << MODE_CATCHUP,
    STORM = 1 << MODE_STORM,
    ALL = FANOUT | PUBLISH | POLL | CHURN | IDLE | CATCHUP | STORM,
    READING = FANOUT | CHURN | IDLE | CATCHUP | STORM,
    PUBLISHING = FANOUT | PUBLISH | IDLE | CATCHUP | STORM,
};

typedef struct flag {
    const char *name;
    const char *value;
    size_t offset;
    kind kind;
    int modes;
    double min;
    double max;
    const char *const *names;
} flag;

#define AT(member) offsetof(options, member)

static const flag flags[] = {
    {"port", "PORT", AT(port), KIND_WHOLE, ALL, 1, UINT16_MAX, NULL},
    {"pid", "PID", AT(pid), KIND_WHOLE, ALL, 1, INT32_MAX, NULL},
    {"tls-port", "PORT", AT(tls_port), KIND_WHOLE, FANOUT | IDLE | STORM, 1, UINT16_MAX, NULL},
    {"dialect", "herald|nchan|floor", AT(dialect), KIND_NAME, ALL, 0, 0, dialect_names},
    {"transport", "ws|sse|longpoll", AT(transport), KIND_NAME, READING, 0, 0, transport_names},
    {"compress", "no|yes", AT(compresses), KIND_NAME, FANOUT | IDLE, 0, 0, switch_names},
    {"wait", "spin|sleep", AT(wait), KIND_NAME, ALL, 0, 0, wait_names},
    {"subscribers", "N", AT(subscriber_count), KIND_WHOLE, FANOUT | IDLE | STORM, 1,
     SUBSCRIBERS_MAX, NULL},
    {"topics", "N", AT(topic_count), KIND_WHOLE, FANOUT | PUBLISH | POLL, 1, TOPICS_MAX, NULL},
    {"window", "EVENTS", AT(window), KIND_WHOLE, FANOUT, 1, WINDOW_MAX, NULL},
    {"rate", "EVENTS-PER-SECOND", AT(rate_per_s), KIND_REAL, FANOUT | CATCHUP | STORM, 0.01,
     RATE_MAX, NULL},
    {"publishers", "N", AT(publisher_count), KIND_WHOLE, FANOUT, 1, 1024, NULL},
    {"connections", "N", AT(connection_count), KIND_WHOLE, PUBLISH | POLL | CHURN, 1, 10000, NULL},
    {"pipeline", "REQUESTS", AT(pipeline), KIND_WHOLE, PUBLISH | POLL, 1, 1024, NULL},
    {"events", "N", AT(event_count), KIND_WHOLE, IDLE | CATCHUP, 0, EVENTS_MAX, NULL},
    {"live", "SUBSCRIBERS", AT(live_count), KIND_WHOLE, CATCHUP | STORM, 0, SUBSCRIBERS_MAX, NULL},
    {"payload", "BYTES", AT(payload_len), KIND_WHOLE, PUBLISHING, COUNTER_LEN, PAYLOAD_MAX, NULL},
    {"body", "text|json", AT(body), KIND_NAME, PUBLISHING, 0, 0, body_names},
    {"settle", "SECONDS", AT(settle_s), KIND_REAL, IDLE, 0, SECONDS_MAX, NULL},
    {"warm-up", "SECONDS", AT(warm_up_s), KIND_REAL, ALL & ~IDLE, 0, SECONDS_MAX, NULL},
    {"seconds", "SECONDS", AT(measured_s), KIND_REAL, ALL, 0, SECONDS_MAX, NULL},
    {"subscribe-path", "PATH", AT(subscribe_path), KIND_TEXT, READING, 0, 0, NULL},
    {"publish-path", "PATH", AT(publish_path), KIND_TEXT, PUBLISHING, 0, 0, NULL},
    {"poll-path", "PATH", AT(poll_path), KIND_TEXT, POLL, 0, 0, NULL},
};

#define FLAG_COUNT (sizeof flags / sizeof *flags)

__attribute__((noreturn)) static void usage(void) {
    fputs("usage: load MODE --port PORT --pid PID [FLAGS]\n"
          "PID: the server, whose processor time is counted with that of its children.\n"
          "A path may hold %u, the topic's number.\n"
          "At the TLS port the readers come by TLS; what publishes stays plain.\n",
          stderr);
    for (int mode = 0; mode_names[mode] != NULL; mode++) {
        fprintf(stderr, "  %s", mode_names[mode]);
        for (size_t i = 2; i < FLAG_COUNT; i++) {
            if ((flags[i].modes & 1 << mode) != 0) {
                fprintf(stderr, " [--%s %s]", flags[i].name, flags[i].value);
            }
        }
        fputc('\n', stderr);
    }
    exit(2);
}

static int index_of(const char *const *names, const char *text, size_t len) {
    for (int i = 0; names[i] != NULL; i++) {
        if (strlen(names[i]) == len && memcmp(names[i], text, len) == 0) {
            return i;
        }
    }
    return -1;
}

static double number_of(const flag *flag, const char *text) {
    char *end = NULL;
    double value = strtod(text, &end);
    bool is_number = end != text && *end == '\0' && value >= flag->min && value <= flag->max;
    if (!is_number || (flag->kind == KIND_WHOLE && value != (double)(uint32_t)value)) {
        die("--%s takes a %snumber from %.9g to %.9g, not %s", flag->name,
            flag->kind == KIND_WHOLE ? "whole " : "", flag->min, flag->max, text);
    }
    return value;
}

static void set(options *options, const flag *flag, const char *text) {
    char *member = (char *)options + flag->offset;
    uint32_t whole = 0;
    double real = 0;
    int name = 0;
    switch (flag->kind) {
    case KIND_WHOLE:
        whole = (uint32_t)number_of(flag, text);
        memcpy(member, &whole, sizeof whole);
        break;
    case KIND_REAL:
        real = number_of(flag, text);
        memcpy(member, &real, sizeof real);
        break;
    case KIND_TEXT:
        if (*text != '/') {
            die("--%s takes a path, not %s", flag->name, text);
        }
        memcpy(member, &text, sizeof text);
        break;
    case KIND_NAME:
        name = index_of(flag->names, text, strlen(text));
        if (name < 0) {
            die("--%s takes %s, not %s", flag->name, flag->value, text);
        }
        whole = (uint32_t)name;
        memcpy(member, &whole, sizeof whole);
        break;
    }
}

static const flag *flag_of(const char *name, size_t len, mode mode) {
    for (size_t i = 0; i < FLAG_COUNT; i++) {
        if (strlen(flags[i].name) == len && memcmp(flags[i].name, name, len) == 0) {
            if ((flags[i].modes & 1 << mode) == 0) {
                die("%s does not take --%s", mode_names[mode], flags[i].name);
            }
            return &flags[i];
        }
    }
    usage();
}

static void check(const options *options) {
    if (options->port == 0 || options->pid == 0) {
        usage();
    }
    if ((options->mode == MODE_CHURN || options->mode == MODE_CATCHUP ||
         options->mode == MODE_STORM) &&
        options->transport == TRANSPORT_LONGPOLL) {
        die("%s takes --transport ws or sse", mode_names[options->mode]);
    }
    if (options->compresses && options->transport == TRANSPORT_LONGPOLL) {
        die("--compress takes --transport ws or sse");
    }
    if (options->body == BODY_JSON && options->payload_len < PAYLOAD_JSON_MIN) {
        die("JSON takes a --payload of at least %u", PAYLOAD_JSON_MIN);
    }
    if (options->mode == MODE_CATCHUP && options->event_count == 0) {
        die("a catch-up takes --events of at least 1");
    }
    if (options->mode == MODE_STORM && options->live_count == 0) {
        die("a storm takes --live of at least 1");
    }
    if (options->mode == MODE_FANOUT && options->window > 0 && options->rate_per_s > 0) {
        die("--window and --rate exclude each other");
    }
}

options options_parse(int count, char **arguments) {
    options parsed = {.subscriber_count = 1000,
                      .topic_count = 1,
                      .payload_len = 128,
                      .connection_count = 64,
                      .pipeline = 1,
                      .warm_up_s = 1,
                      .measured_s = 5,
                      .settle_s = 1,
                      .subscribe_path = "/v1/events/bench/%u",
                      .publish_path = "/v1/events/bench/%u",
                      .poll_path = "/v1/events/bench/%u"};
    int mode = count > 1 ? index_of(mode_names, arguments[1], strlen(arguments[1])) : -1;
    if (mode < 0) {
        usage();
    }
    parsed.mode = (enum mode)mode;
    parsed.event_count = parsed.mode == MODE_CATCHUP ? 100000 : 3;
    parsed.rate_per_s = parsed.mode == MODE_CATCHUP ? 20 : parsed.mode == MODE_STORM ? 100 : 0;
    parsed.live_count = parsed.mode == MODE_STORM ? 100 : 0;
    for (int i = 2; i < count; i++) {
        const char *text = arguments[i];
        if (strncmp(text, "--", 2) != 0) {
            usage();
        }
        size_t len = strcspn(text + 2, "=");
        const flag *flag = flag_of(text + 2, len, parsed.mode);
        if (text[2 + len] == '\0' && ++i == count) {
            usage();
        }
        set(&parsed, flag, text[2 + len] == '=' ? text + 3 + len : arguments[i]);
    }
    check(&parsed);
    if (parsed.mode == MODE_FANOUT && parsed.window == 0 && parsed.rate_per_s == 0) {
        parsed.window = 1;
    }
    return parsed;
}

const char *mode_name(mode mode) { return mode_names[mode]; }
const char *transport_name(uint32_t transport) { return transport_names[transport]; }
