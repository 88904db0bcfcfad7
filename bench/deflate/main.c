/* What it costs and saves to compress an event once, by its length (bench/README.md says how to run
 * it). Events are JSON objects of words and numbers, as an order or a reading might be. */
#include "CHeraldWire.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define EVENT_COUNT 64u
#define ROUND_MIN 5
#define NS_MIN 200000000.0

static double now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static unsigned draw(unsigned *seed, unsigned below) { return (unsigned)rand_r(seed) % below; }

/* Appends JSON of about len bytes. */
static void make_data(hr_buf *out, size_t len, unsigned *seed) {
    static const char *const words[] = {
        "amount", "currency", "EUR",  "customer", "street",  "city",        "Berlin", "status",
        "paid",   "items",    "sku",  "quantity", "price",   "description", "notes",  "delivery",
        "true",   "false",    "null", "created",  "updated", "version",     "ref",    "unit"};
    size_t begin = out->len;
    HR_ASSERT(hr_buf_append(out, "{\"n\":1", 6) == HR_OK);
    while (out->len - begin + 40 < len) {
        HR_ASSERT(hr_buf_appendf(out, ",\"%s_%u\":{\"%s\":%u.%02u,\"%s\":\"%s\"}",
                                 words[draw(seed, 24)], draw(seed, 100), words[draw(seed, 24)],
                                 draw(seed, 1000), draw(seed, 100), words[draw(seed, 24)],
                                 words[draw(seed, 24)]) == HR_OK);
    }
    HR_ASSERT(hr_buf_append(out, "}", 1) == HR_OK);
}

/* Encodes all events again and again; prints time and length for each. */
static void measure(const hr_buf *data, hr_encoding encoding, const char *name) {
    hr_buf out = {0};
    size_t plain = 0;
    size_t sent = 0;
    unsigned count = 0;
    double begin = now_ns();
    for (int round = 0; round < ROUND_MIN || now_ns() - begin < NS_MIN; round++) {
        for (unsigned i = 0; i < EVENT_COUNT; i++, count++) {
            size_t plain_len = 0;
            hr_event_view view = {.epoch = 0x5f3a9c1e,
                                  .sequence = i,
                                  .time_ms = 1767323045678,
                                  .topic = HR_LIT("orders/42"),
                                  .type = HR_LIT("order.paid"),
                                  .content_type = HR_LIT("application/json"),
                                  .data = hr_buf_slice(&data[i])};
            out.len = 0;
            HR_ASSERT(hr_event_encode(&view, encoding, &out, &plain_len) == HR_OK);
            plain += plain_len;
            sent += out.len;
        }
    }
    double spent = now_ns() - begin;
    printf("| %s | %zu | %zu | %.1f %% | %.2f |\n", name, plain / count, sent / count,
           100.0 * (double)sent / (double)plain, spent / count / 1000);
    hr_buf_fini(&out);
}

int main(void) {
    static const size_t lens[] = {32, 128, 256, 1024, 4096, 16384, 65536};
    unsigned seed = 1;
    puts(
        "| encoding | bytes | compressed | of it | µs an event |\n| --- | --- | --- | --- | --- |");
    for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
        hr_buf data[EVENT_COUNT] = {0};
        for (unsigned event = 0; event < EVENT_COUNT; event++) {
            make_data(&data[event], lens[i], &seed);
        }
        measure(data, HR_ENCODING_WS, "WebSocket, plain");
        measure(data, HR_ENCODING_WS_DEFLATE, "WebSocket, deflate");
        measure(data, HR_ENCODING_SSE_GZIP, "SSE, gzip");
        for (unsigned event = 0; event < EVENT_COUNT; event++) {
            hr_buf_fini(&data[event]);
        }
    }
    return 0;
}
