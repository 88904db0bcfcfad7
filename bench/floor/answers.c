#include "floor.h"

#include <string.h>

static void add_head(buffer *out, const char *status, size_t status_len) {
    buffer_add_text(out, "HTTP/1.1 ");
    buffer_add(out, status, status_len);
    buffer_add_text(out, "\r\nServer: ground\r\nDate: ");
    buffer_add(out, clock_date, DATE_LEN);
    buffer_add_text(out, "\r\n");
}

#define add_head_text(out, status) add_head(out, status, sizeof(status) - 1)

static void add_body(buffer *out, const buffer *body) {
    buffer_add_text(out, "\r\n");
    buffer_add(out, body->bytes, body->len);
}

static void add_lengths(buffer *out, const buffer *body) {
    buffer_add_text(out, "Content-Type: application/json\r\nContent-Length: ");
    buffer_add_number(out, body->len);
    buffer_add_text(out, "\r\n");
}

/* --- Receipts --- */

/* The receipt that was given last. The next one differs in its number, most often in that only. */
static struct {
    buffer text;
    size_t number_at;
    size_t number_len;
    char stamp[STAMP_LEN + 1];
    char topic[256];
    size_t topic_len;
    uint64_t receivers;
} receipt;

static size_t digits_of(uint64_t number) {
    size_t count = 1;
    for (; number > 9; number /= 10) {
        count++;
    }
    return count;
}

static bool receipt_fits(const question *question, uint64_t receivers) {
    return receipt.receivers == receivers && receipt.topic_len == question->topic_len &&
           receipt.number_len == digits_of(events_all.sequence) &&
           memcmp(receipt.topic, question->topic, question->topic_len) == 0 &&
           memcmp(receipt.stamp, clock_stamp, STAMP_LEN) == 0;
}

static void write_receipt(const question *question, uint64_t receivers) {
    static buffer body;
    body.len = 0;
    buffer_add_text(&body, "{\"id\":\"");
    events_add_id(&body, events_all.sequence);
    buffer_add_text(&body, "\",\"topic\":\"");
    buffer_add(&body, question->topic, question->topic_len);
    buffer_add_text(&body, "\",\"time\":\"");
    buffer_add(&body, clock_stamp, STAMP_LEN);
    buffer_add_text(&body, "\",\"receivers\":");
    buffer_add_number(&body, receivers);
    buffer_add_text(&body, "}");
    receipt.text.len = 0;
    add_head_text(&receipt.text, "201 Created");
    add_lengths(&receipt.text, &body);
    receipt.number_at = receipt.text.len + sizeof("\r\n{\"id\":\"" EPOCH "-") - 1;
    add_body(&receipt.text, &body);
    receipt.number_len = digits_of(events_all.sequence);
    receipt.receivers = receivers;
    receipt.topic_len = question->topic_len;
    if (question->topic_len > sizeof receipt.topic) {
        die("a topic that is too long");
    }
    memcpy(receipt.topic, question->topic, question->topic_len);
    memcpy(receipt.stamp, clock_stamp, STAMP_LEN);
}

void answer_receipt(buffer *out, const question *question, uint64_t receivers) {
    if (!receipt_fits(question, receivers)) {
        write_receipt(question, receivers);
    }
    char *digit = receipt.text.bytes + receipt.number_at + receipt.number_len;
    for (uint64_t number = events_all.sequence; number > 0; number /= 10) {
        *--digit = (char)('0' + number % 10);
    }
    buffer_add(out, receipt.text.bytes, receipt.text.len);
}

/* --- Pages --- */

static void add_page(buffer *out, const buffer *body, uint64_t count, bool has_etag) {
    add_head_text(out, "200 OK");
    add_lengths(out, body);
    if (has_etag) {
        buffer_add_text(out, "ETag: W/\"");
        events_add_id(out, events_all.sequence);
        buffer_add_text(out, "-");
        buffer_add_number(out, count);
        buffer_add_text(out, "\"\r\n");
    }
    buffer_add_text(out, "Cache-Control: private, no-cache\r\nHerald-Cursor: ");
    events_add_id(out, events_all.sequence);
    buffer_add_text(out, "\r\n");
    add_body(out, body);
}

void answer_empty_page(buffer *out) {
    static buffer page;
    static buffer body;
    static uint64_t sequence;
    static char date[DATE_LEN + 1];
    if (page.len == 0 || sequence != events_all.sequence ||
        memcmp(date, clock_date, DATE_LEN) != 0) {
        page.len = 0;
        body.len = 0;
        buffer_add_text(&body, "{\"events\":[],\"next\":\"");
        events_add_id(&body, events_all.sequence);
        buffer_add_text(&body, "\",\"gap\":null}");
        add_page(&page, &body, 0, true);
        sequence = events_all.sequence;
        memcpy(date, clock_date, DATE_LEN);
    }
    buffer_add(out, page.bytes, page.len);
}

/* Readers that wait at the same position are given the same bytes. */
void answer_page(buffer *out, uint64_t position, bool was_held) {
    static buffer page;
    static buffer body;
    static uint64_t from;
    static uint64_t sequence;
    static bool held;
    if (page.len == 0 || from != position || sequence != events_all.sequence || held != was_held) {
        page.len = 0;
        body.len = 0;
        buffer_add_text(&body, "{\"events\":[");
        uint64_t count = events_add_since(&body, position);
        buffer_add_text(&body, "],\"next\":\"");
        events_add_id(&body, events_all.sequence);
        buffer_add_text(&body, "\",\"gap\":null,\"resume\":\"resumed\"}");
        add_page(&page, &body, count, !was_held);
        from = position;
        sequence = events_all.sequence;
        held = was_held;
    }
    buffer_add(out, page.bytes, page.len);
}

/* --- Streams --- */

void answer_stream(buffer *out) {
    add_head_text(out, "200 OK");
    buffer_add_text(out, "Connection: close\r\nContent-Type: text/event-stream\r\n"
                         "Cache-Control: no-cache, no-transform\r\nX-Accel-Buffering: no\r\n\r\n"
                         "retry: 2000\nid: ");
    events_add_id(out, events_all.sequence);
    buffer_add_text(out, "\n\n");
}

void answer_socket(buffer *out, const question *question) {
    static buffer welcome;
    char accept[ACCEPT_LEN];
    accept_of(question->key, question->key_len, accept);
    add_head_text(out, "101 Switching Protocols");
    buffer_add_text(out, "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ");
    buffer_add(out, accept, ACCEPT_LEN);
    buffer_add_text(out, "\r\n\r\n");
    welcome.len = 0;
    buffer_add_text(&welcome, "{\"control\":\"welcome\",\"epoch\":\"" EPOCH "\",\"cursor\":\"");
    events_add_id(&welcome, events_all.sequence);
    buffer_add_text(&welcome, "\",\"heartbeat_ms\":25000}");
    char head[2] = {(char)0x81, (char)welcome.len};
    buffer_add(out, head, sizeof head);
    buffer_add(out, welcome.bytes, welcome.len);
}
