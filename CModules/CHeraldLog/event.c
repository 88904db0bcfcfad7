/* Events are immutable once they have a sequence, but for two things that many
 * threads may touch: the count of references and the frames, both atomic. */
#include "event_private.h"

#include <stdlib.h>
#include <string.h>

static hr_matches no_matches = {.refs = 1, .count = 0};

hr_matches *hr__matches_none(void) { return &no_matches; }

static size_t matches_size(uint32_t count) {
    return sizeof(hr_matches) + (size_t)count * sizeof(uint32_t);
}

/* Snapshots are charged because events keep old ones: without a bound, filters that
 * come and go would leave a snapshot of their own with every retained event. */
hr_matches *hr__matches_new(uint32_t count, hr__charges *charges) {
    HR_ASSERT(count > 0);
    hr_matches *matches = malloc(matches_size(count));
    if (matches == NULL) {
        return NULL;
    }
    atomic_init(&matches->refs, 1);
    matches->count = count;
    atomic_fetch_add_explicit(&charges->matches_bytes, matches_size(count), memory_order_relaxed);
    return matches;
}

/* no_matches is not counted: it would be one cache line that all publishers write. */
hr_matches *hr__matches_ref(hr_matches *matches) {
    if (matches != &no_matches) {
        atomic_fetch_add_explicit(&matches->refs, 1, memory_order_relaxed);
    }
    return matches;
}

void hr__matches_unref(hr_matches *matches, hr__charges *charges) {
    if (matches == &no_matches) {
        return;
    }
    uint32_t before = atomic_fetch_sub_explicit(&matches->refs, 1, memory_order_acq_rel);
    HR_ASSERT(before > 0);
    if (before == 1) {
        atomic_fetch_sub_explicit(&charges->matches_bytes, matches_size(matches->count),
                                  memory_order_relaxed);
        free(matches);
    }
}

bool hr__matches_contain(const hr_matches *matches, uint32_t id) {
    uint32_t low = 0;
    uint32_t high = matches->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (matches->filter_ids[middle] < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < matches->count && matches->filter_ids[low] == id;
}

uint64_t hr__event_charge(const hr_publication *publication) {
    return sizeof(hr_event) + HR__EVENT_OVERHEAD + (uint64_t)publication->topic.len +
           publication->type.len + publication->content_type.len + publication->data.len;
}

/* Copies slice to *at and moves *at behind it. */
static hr_slice place_slice(char **at, hr_slice slice) {
    hr_slice placed = {*at, slice.len};
    if (slice.len > 0) {
        memcpy(*at, slice.data, slice.len);
    }
    *at += slice.len;
    return placed;
}

hr_event *hr__event_new(const hr_publication *publication, hr__charges *charges) {
    uint64_t charged = hr__event_charge(publication);
    HR_ASSERT(charged <= UINT32_MAX);
    hr_event *event = malloc((size_t)charged - HR__EVENT_OVERHEAD);
    if (event == NULL) {
        return NULL;
    }
    *event = (hr_event){.charged_len = (uint32_t)charged, .frame_bytes = &charges->frame_bytes};
    HR_MAGIC_SET(event, HR__EVENT_MAGIC);
    atomic_init(&event->refs, 1);
    for (int i = 0; i < HR_ENCODING_COUNT; i++) {
        atomic_init(&event->frames[i], NULL);
    }
    event->matches = hr__matches_none();
    char *at = (char *)(event + 1);
    event->topic = place_slice(&at, publication->topic);
    event->type = place_slice(&at, publication->type);
    event->content_type = place_slice(&at, publication->content_type);
    event->data = place_slice(&at, publication->data);
    return event;
}

hr_event *hr_event_ref(hr_event *event) {
    HR_CHECK(event, HR__EVENT_MAGIC);
    uint32_t before = atomic_fetch_add_explicit(&event->refs, 1, memory_order_relaxed);
    HR_ASSERT(before > 0 && before < UINT32_MAX);
    return event;
}

bool hr__event_release(hr_event *event) {
    HR_CHECK(event, HR__EVENT_MAGIC);
    uint32_t before = atomic_fetch_sub_explicit(&event->refs, 1, memory_order_acq_rel);
    HR_ASSERT(before > 0);
    return before == 1;
}

static uint64_t frame_size(const hr_frame *frame) { return sizeof(hr_frame) + frame->len; }

uint64_t hr__event_frame_bytes(hr_event *event) {
    uint64_t bytes = 0;
    for (int i = 0; i < HR_ENCODING_COUNT; i++) {
        const hr_frame *frame = atomic_load_explicit(&event->frames[i], memory_order_acquire);
        bytes += frame == NULL ? 0 : frame_size(frame);
    }
    return bytes;
}

void hr__event_free(hr_event *event) {
    HR_CHECK(event, HR__EVENT_MAGIC);
    uint64_t charged = hr__event_frame_bytes(event);
    if (charged > 0) {
        atomic_fetch_sub_explicit(event->frame_bytes, charged, memory_order_relaxed);
    }
    for (int i = 0; i < HR_ENCODING_COUNT; i++) {
        free(atomic_load_explicit(&event->frames[i], memory_order_relaxed));
    }
    hr__matches_unref(event->matches,
                      HR_CONTAINER_OF(event->frame_bytes, hr__charges, frame_bytes));
    HR_MAGIC_CLEAR(event);
    free(event);
}

void hr_event_unref(hr_event **event) {
    hr_event *given = *event;
    *event = NULL;
    if (hr__event_release(given)) {
        hr__event_free(given);
    }
}

static const hr__charges *charges_of(const hr_event *event) {
    return HR_CONTAINER_OF(event->frame_bytes, const hr__charges, frame_bytes);
}

static hr_event_view view_of(const hr_event *event) {
    return (hr_event_view){
        .epoch = event->epoch,
        .sequence = event->sequence,
        .time_ms = event->time_ms,
        .topic = event->topic,
        .type = event->type,
        .content_type = event->content_type,
        .data = event->data,
        .compressed_len_min = charges_of(event)->compressed_len_min,
    };
}

/* Encodes behind room for the header, so that the buffer becomes the frame without
 * a copy. NULL: out of memory. */
static hr_frame *encode_frame(const hr_event *event, hr_encoding encoding) {
    hr_buf buf = {0};
    static const hr_frame no_frame = {.len = 0};
    hr_event_view view = view_of(event);
    size_t plain_len = 0;
    if (hr_buf_append(&buf, &no_frame, sizeof no_frame) != HR_OK ||
        hr_event_encode(&view, encoding, &buf, &plain_len) != HR_OK ||
        buf.len - sizeof no_frame > UINT32_MAX || plain_len > UINT32_MAX) {
        hr_buf_fini(&buf);
        return NULL;
    }
    /* Frames live long: give back what the buffer grew too far. Staying large is no error. */
    void *exact = realloc(buf.data, buf.len);
    hr_frame *frame = exact == NULL ? (void *)buf.data : exact;
    frame->len = (uint32_t)(buf.len - sizeof no_frame);
    frame->plain_len = (uint32_t)plain_len;
    return frame;
}

const hr_frame *hr_event_frame(hr_event *event, hr_encoding encoding) {
    HR_CHECK(event, HR__EVENT_MAGIC);
    _Atomic(hr_frame *) *place = &event->frames[encoding];
    hr_frame *frame = atomic_load_explicit(place, memory_order_acquire);
    if (frame != NULL) {
        return frame;
    }
    hr_frame *made = encode_frame(event, encoding);
    if (made == NULL) {
        return NULL;
    }
    /* Charged before it can be seen: freeing the event must never give back more
     * than was charged. */
    uint64_t size = frame_size(made);
    atomic_fetch_add_explicit(event->frame_bytes, size, memory_order_relaxed);
    if (!atomic_compare_exchange_strong_explicit(place, &frame, made, memory_order_acq_rel,
                                                 memory_order_acquire)) {
        atomic_fetch_sub_explicit(event->frame_bytes, size, memory_order_relaxed);
        free(made);
        return frame;
    }
    return made;
}

hr_status hr_event_append_to(hr_event *event, hr_encoding encoding, hr_buf *out,
                             size_t *plain_len) {
    HR_CHECK(event, HR__EVENT_MAGIC);
    const hr_frame *frame = atomic_load_explicit(&event->frames[encoding], memory_order_acquire);
    if (frame != NULL) {
        *plain_len = frame->plain_len;
        return hr_buf_append(out, frame->bytes, frame->len);
    }
    hr_event_view view = view_of(event);
    return hr_event_encode(&view, encoding, out, plain_len);
}
