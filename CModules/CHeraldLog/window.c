/* The live window: the newest events of all topics, whole, for loops that keep up.
 * Readers that don't are the rings' business. */
#include "log_private.h"

static hr__window_entry *entry_of(const hr_log *log, uint64_t sequence) {
    return &log->window.entries[sequence & (log->config.window_count - 1)];
}

static void push_out_oldest(hr_log *log, hr__garbage *garbage) {
    hr__window *window = &log->window;
    hr__window_entry *oldest = entry_of(log, window->first);
    HR_ASSERT(window->count > 0 && oldest->event->sequence == window->first);
    window->bytes -= oldest->event->charged_len;
    hr__garbage_drop(garbage, oldest->event);
    *oldest = (hr__window_entry){0};
    window->first++;
    window->count--;
}

void hr__window_push(hr_log *log, hr_event *event, uint64_t mask, hr__garbage *garbage) {
    hr__window *window = &log->window;
    if (window->count == log->config.window_count) {
        push_out_oldest(log, garbage);
    }
    HR_ASSERT(event->sequence == window->first + window->count);
    *entry_of(log, event->sequence) = (hr__window_entry){.event = event, .mask = mask};
    window->count++;
    window->bytes += event->charged_len;
    /* The newest stays, however big: loops that keep up must always find it. */
    while (window->bytes > log->config.window_bytes_max && window->count > 1) {
        push_out_oldest(log, garbage);
    }
}

/* Hands out from sequence start on; see hr_live_read. */
static void read_window(hr_log *log, unsigned loop, uint64_t start, hr_live *live,
                        hr_event **events, size_t max) {
    uint64_t head = hr__log_head(log);
    uint64_t bit = UINT64_C(1) << loop;
    for (uint64_t sequence = start; sequence <= head; sequence++) {
        const hr__window_entry *entry = entry_of(log, sequence);
        if ((entry->mask & bit) == 0) {
            continue;
        }
        if (live->count == max) {
            live->cursor = sequence - 1;
            live->more = true;
            return;
        }
        events[live->count++] = hr_event_ref(entry->event);
    }
    live->cursor = head;
    log->wanted[loop] = 0;
}

/* An overrun is told by the first event that concerns the loop, not by its cursor: a loop
 * of one quiet reader is not overrun by what others publish. */
void hr_live_read(hr_log *log, unsigned loop, hr_live *live, hr_event **events, size_t max) {
    HR_CHECK(log, HR__LOG_MAGIC);
    HR_ASSERT(loop < HR_LOOP_COUNT_MAX && max > 0);
    live->count = 0;
    live->more = false;
    live->overrun = false;
    hr__log_lock(log);
    uint64_t wanted = log->wanted[loop];
    uint64_t start = wanted > live->cursor ? wanted : live->cursor + 1;
    if (wanted == 0) {
        live->cursor = hr__log_head(log);
    } else if (start < log->window.first) {
        live->overrun = true;
        live->cursor = hr__log_head(log);
        log->wanted[loop] = 0;
    } else {
        read_window(log, loop, start, live, events, max);
    }
    hr__log_unlock(log);
}
