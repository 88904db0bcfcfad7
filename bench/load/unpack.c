/* zlib's input is const only if asked for. */
#define ZLIB_CONST
#include "unpack.h"

#include "base.h"
#include "counter.h"
#include "inbox.h"

#include <inttypes.h>
#include <string.h>
#include <zlib.h>

/* Many times the events that are outstanding. */
#define UNPACKED_COUNT 256u

static unpacked kept[UNPACKED_COUNT];
static uint32_t next;

static bool begins_with(const unpacked *message, const char *bytes, size_t len) {
    return message->packed_len > 0 && message->packed_len <= len &&
           memcmp(message->packed, bytes, message->packed_len) == 0;
}

const unpacked *unpacked_known(uint32_t *place, const char *bytes, size_t len) {
    for (uint32_t i = 1; i <= UNPACKED_COUNT; i++) {
        uint32_t at = (*place + i) % UNPACKED_COUNT;
        if (begins_with(&kept[at], bytes, len)) {
            *place = at;
            return &kept[at];
        }
    }
    return NULL;
}

/* Shows the text until the next call. */
static size_t inflate_all(const char *bytes, size_t len, const char **text) {
    static char out[MESSAGE_MAX];
    static z_stream stream;
    static bool is_made;
    if (is_made ? inflateReset(&stream) != Z_OK : inflateInit2(&stream, -MAX_WBITS) != Z_OK) {
        die("out of memory");
    }
    is_made = true;
    stream.next_out = (Bytef *)out;
    stream.avail_out = sizeof out;
    const char *const parts[] = {bytes, FLUSH_MARK};
    const size_t lengths[] = {len, FLUSH_MARK_LEN};
    int status = Z_OK;
    for (size_t i = 0; i < 2 && status == Z_OK; i++) {
        stream.next_in = (const Bytef *)parts[i];
        stream.avail_in = (uInt)lengths[i];
        status = inflate(&stream, Z_SYNC_FLUSH);
    }
    if (status != Z_OK || stream.avail_in > 0) {
        die("a compressed message does not stand by itself: %s",
            stream.msg != NULL ? stream.msg : zError(status));
    }
    *text = out;
    return sizeof out - stream.avail_out;
}

static void find_events(unpacked *message, const char *text, size_t len, const payloads *payloads) {
    const char *end = text + len;
    const char *at = text;
    uint64_t counter = 0;
    message->event_count = 0;
    while ((at = counter_find(at, (size_t)(end - at), &counter)) != NULL) {
        if (message->event_count == UNPACKED_EVENTS_MAX) {
            die("a compressed message of more than %u events", UNPACKED_EVENTS_MAX);
        }
        if (!payload_is_around(payloads, text, len, at, counter)) {
            die("event %" PRIu64 " came compressed, and is not what was published", counter);
        }
        message->counters[message->event_count++] = counter;
    }
}

const unpacked *unpack(uint32_t *place, const char *bytes, size_t len, const payloads *payloads) {
    unpacked *message = &kept[next];
    const char *text = NULL;
    size_t text_len = inflate_all(bytes, len, &text);
    find_events(message, text, text_len, payloads);
    if (message->packed_cap < len) {
        message->packed = must_alloc(message->packed, len);
        message->packed_cap = len;
    }
    memcpy(message->packed, bytes, len);
    message->packed_len = len;
    *place = next;
    next = (next + 1) % UNPACKED_COUNT;
    return message;
}
