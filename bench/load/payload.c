#include "payload.h"

#include "base.h"
#include "counter.h"

#include <stdio.h>
#include <string.h>

/* Of 1 KiB each they are eight times deflate's window of 32 KiB. */
#define JSON_COUNT 256u
#define SEED UINT64_C(0x9e3779b97f4a7c15)
/* Longer than any item, with a NUL. */
#define ITEM_CAP 192u

static const char *const words[] = {
    "amber",  "anchor", "basket", "birch",  "bolt",    "canvas", "cedar",   "clay",
    "copper", "cotton", "delta",  "ember",  "fabric",  "flint",  "garden",  "granite",
    "harbor", "hazel",  "indigo", "ivory",  "juniper", "kettle", "lantern", "linen",
    "maple",  "marble", "meadow", "nickel", "oak",     "olive",  "paper",   "pebble",
    "pine",   "quartz", "ribbon", "river",  "saddle",  "silver", "slate",   "spruce",
    "stone",  "timber", "velvet", "walnut", "willow",  "wool",   "zinc",    "yarn"};
static const char *const states[] = {"ordered", "packed", "shipped", "delivered"};
static const char *const currencies[] = {"EUR", "USD", "GBP"};

#define COUNT_OF(array) ((uint32_t)(sizeof(array) / sizeof *(array)))

/* xorshift64*: the same numbers on every machine. */
static uint32_t draw(uint64_t *state, uint32_t below) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (uint32_t)((*state * UINT64_C(0x2545f4914f6cdd1d)) >> 32) % below;
}

#define DRAWN(state, array) (array)[draw(state, COUNT_OF(array))]

/* Drawn one after the other: the order in which a call's arguments are worked out is not fixed. */
static size_t write_item(char *out, uint64_t *random, bool is_first) {
    uint32_t sku = draw(random, 26 * 26 * 100000);
    const char *first = DRAWN(random, words);
    const char *second = DRAWN(random, words);
    uint32_t quantity = 1 + draw(random, 20);
    uint32_t cents = draw(random, 50000);
    const char *currency = DRAWN(random, currencies);
    const char *state = DRAWN(random, states);
    int len =
        snprintf(out, ITEM_CAP,
                 "%s{\"sku\":\"%c%c-%05u\",\"name\":\"%s %s\",\"quantity\":%u,"
                 "\"price\":%u.%02u,\"currency\":\"%s\",\"state\":\"%s\"}",
                 is_first ? "" : ",", 'A' + (int)(sku % 26), 'A' + (int)(sku / 26 % 26),
                 sku / 26 / 26, first, second, quantity, cents / 100, cents % 100, currency, state);
    return (size_t)len;
}

/* Words up to cap, which may cut the last. */
static void write_words(char *out, size_t cap, uint64_t *random) {
    for (size_t len = 0; len < cap;) {
        const char *word = DRAWN(random, words);
        size_t word_len = strlen(word);
        size_t fitting = word_len < cap - len ? word_len : cap - len;
        memcpy(out + len, word, fitting);
        len += fitting;
        if (len < cap) {
            out[len++] = ' ';
        }
    }
}

/* An order of as many items as fit; its note has what is left of the length. */
static void write_json(char *out, size_t len, size_t *counter_at, uint64_t *random) {
    static const char opening[] = "{\"order\":\"#000000000#\",\"items\":[";
    static const char middle[] = "],\"note\":\"";
    static const char end[] = "\"}";
    const size_t around = sizeof middle - 1 + sizeof end - 1;
    char item[ITEM_CAP];
    size_t done = sizeof opening - 1;
    memcpy(out, opening, done);
    *counter_at = (size_t)(strchr(opening, '#') - opening);
    for (bool is_first = true;; is_first = false) {
        size_t item_len = write_item(item, random, is_first);
        if (done + item_len + around > len) {
            break;
        }
        memcpy(out + done, item, item_len);
        done += item_len;
    }
    memcpy(out + done, middle, sizeof middle - 1);
    done += sizeof middle - 1;
    write_words(out + done, len - done - (sizeof end - 1), random);
    memcpy(out + len - (sizeof end - 1), end, sizeof end - 1);
}

static payloads make(const options *options) {
    bool is_json = options->body == BODY_JSON;
    uint32_t len = options->payload_len;
    payloads made = {.count = is_json ? JSON_COUNT : 1,
                     .len = len,
                     .type = is_json ? "application/json" : "text/plain"};
    uint64_t random = SEED;
    size_t counter_at = 0;
    made.bytes = must_alloc(NULL, (size_t)made.count * len);
    if (!is_json) {
        memset(made.bytes, 'x', len);
        return made;
    }
    for (size_t i = 0; i < made.count; i++) {
        write_json(made.bytes + i * len, len, &counter_at, &random);
    }
    made.counter_at = (uint32_t)counter_at;
    return made;
}

const payloads *payloads_of(const options *options) {
    static payloads made;
    if (made.bytes == NULL) {
        made = make(options);
    }
    return &made;
}

static const char *body_of(const payloads *payloads, uint64_t counter) {
    return payloads->bytes + (size_t)(counter % payloads->count) * payloads->len;
}

void payload_write(const payloads *payloads, char *out, uint64_t counter) {
    memcpy(out, body_of(payloads, counter), payloads->len);
    counter_write(out + payloads->counter_at, counter);
}

bool payload_is_around(const payloads *payloads, const char *text, size_t len,
                       const char *counter_end, uint64_t counter) {
    const char *body = body_of(payloads, counter);
    size_t behind_at = payloads->counter_at + COUNTER_LEN;
    size_t before_len = (size_t)(counter_end - text);
    return before_len >= behind_at && len - before_len >= payloads->len - behind_at &&
           memcmp(counter_end - behind_at, body, payloads->counter_at) == 0 &&
           memcmp(counter_end, body + behind_at, payloads->len - behind_at) == 0;
}
