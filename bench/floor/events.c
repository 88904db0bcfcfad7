#include "floor.h"

#define KEPT_COUNT 1024u

events events_all;

static buffer kept[KEPT_COUNT];

void events_add_id(buffer *out, uint64_t sequence) {
    buffer_add_text(out, EPOCH "-");
    buffer_add_number(out, sequence);
}

static void write_event(buffer *out, const question *question, uint64_t sequence) {
    buffer_add_text(out, "{\"id\":\"");
    events_add_id(out, sequence);
    buffer_add_text(out, "\",\"topic\":\"");
    buffer_add(out, question->topic, question->topic_len);
    buffer_add_text(out, "\",\"time\":\"");
    buffer_add(out, clock_stamp, STAMP_LEN);
    buffer_add_text(out, "\",\"datacontenttype\":\"text/plain\",\"data\":\"");
    buffer_add(out, question->payload, question->payload_len);
    buffer_add_text(out, "\"}");
}

/* A frame's head (RFC 6455 section 5.2): a whole text message. */
static void write_frame_head(buffer *out, size_t len) {
    unsigned char head[10] = {0x81, (unsigned char)len};
    size_t head_len = 2;
    if (len > 125) {
        head_len = len > UINT16_MAX ? 10 : 4;
        head[1] = head_len == 10 ? 127 : 126;
        for (size_t i = head_len - 1; i > 1; i--) {
            head[i] = (unsigned char)len;
            len >>= 8;
        }
    }
    buffer_add(out, head, head_len);
}

void events_publish(const question *question) {
    events *all = &events_all;
    all->sequence++;
    if (!all->is_kept && !all->is_framed && !all->is_streamed) {
        return;
    }
    buffer *event = &kept[all->sequence % KEPT_COUNT];
    event->len = 0;
    write_event(event, question, all->sequence);
    if (all->is_framed) {
        write_frame_head(&all->frames, event->len);
        buffer_add(&all->frames, event->bytes, event->len);
    }
    if (all->is_streamed) {
        buffer_add_text(&all->blocks, "id: ");
        events_add_id(&all->blocks, all->sequence);
        buffer_add_text(&all->blocks, "\ndata: ");
        buffer_add(&all->blocks, event->bytes, event->len);
        buffer_add_text(&all->blocks, "\n\n");
    }
}

uint64_t events_add_since(buffer *out, uint64_t position) {
    uint64_t last = events_all.sequence;
    uint64_t count = last - position < PAGE_COUNT_MAX ? last - position : PAGE_COUNT_MAX;
    for (uint64_t i = last - count + 1; i <= last; i++) {
        const buffer *event = &kept[i % KEPT_COUNT];
        buffer_add(out, event->bytes, event->len);
        buffer_add(out, ",", i < last ? 1 : 0);
    }
    return count;
}
