/* zlib's states are kept by thread, not by connection: a state has 160 KiB, an idle connection may
 * have none. Level 1: for 1 KiB of JSON, level 6 takes a quarter longer and saves two bytes in a
 * hundred; for 1 MiB it takes six times as long (docs/decisions/0012). */
#include "CHeraldWire.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define LEVEL 1
/* A hash table of 16 KiB instead of 64: it is cleared for every text, and shares the cache with the
 * fan-out. */
#define MEMORY_LEVEL 6
#define STORED_LEN_MAX 65535u
#define STORED_HEAD_LEN 5u
#define GZIP_TAIL_LEN 8u

typedef struct states {
    z_stream deflater;
    z_stream inflater;
    unsigned window_bits; /* of the deflater; 0: there is none yet */
    bool has_inflater;
} states;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static bool has_key;

static void free_states(void *given) {
    states *mine = given;
    if (mine->window_bits != 0) {
        (void)deflateEnd(&mine->deflater);
    }
    if (mine->has_inflater) {
        (void)inflateEnd(&mine->inflater);
    }
    free(mine);
}

static void make_key(void) { has_key = pthread_key_create(&key, free_states) == 0; }

/* The calling thread's, or NULL. */
static states *states_of_thread(void) {
    (void)pthread_once(&once, make_key);
    states *mine = has_key ? pthread_getspecific(key) : NULL;
    if (mine == NULL && has_key) {
        mine = calloc(1, sizeof *mine);
        if (mine != NULL && pthread_setspecific(key, mine) != 0) {
            free(mine);
            mine = NULL;
        }
    }
    return mine;
}

/* As new. */
static z_stream *deflater_of_thread(unsigned window_bits) {
    HR_ASSERT(window_bits >= HR_WINDOW_BITS_MIN && window_bits <= HR_WINDOW_BITS_MAX);
    states *mine = states_of_thread();
    if (mine == NULL) {
        return NULL;
    }
    if (mine->window_bits == window_bits) {
        HR_ASSERT(deflateReset(&mine->deflater) == Z_OK);
        return &mine->deflater;
    }
    if (mine->window_bits != 0) {
        (void)deflateEnd(&mine->deflater);
        mine->window_bits = 0;
    }
    mine->deflater = (z_stream){0};
    if (deflateInit2(&mine->deflater, LEVEL, Z_DEFLATED, -(int)window_bits, MEMORY_LEVEL,
                     Z_DEFAULT_STRATEGY) != Z_OK) {
        return NULL;
    }
    mine->window_bits = window_bits;
    return &mine->deflater;
}

static z_stream *inflater_of_thread(void) {
    states *mine = states_of_thread();
    if (mine == NULL) {
        return NULL;
    }
    if (mine->has_inflater) {
        HR_ASSERT(inflateReset(&mine->inflater) == Z_OK);
        return &mine->inflater;
    }
    mine->inflater = (z_stream){0};
    /* The largest window inflates what was made with any. */
    mine->has_inflater = inflateInit2(&mine->inflater, -HR_WINDOW_BITS_MAX) == Z_OK;
    return mine->has_inflater ? &mine->inflater : NULL;
}

/* zlib asks for input by a pointer to what it does not change. */
static void set_input(z_stream *stream, hr_slice input) {
    stream->next_in = (Bytef *)(uintptr_t)input.data;
    stream->avail_in = (uInt)input.len;
}

static uInt clamped(size_t len) { return len < UINT32_MAX ? (uInt)len : UINT32_MAX; }

/* Compresses input into out. 0: no memory, or out_len_max is not more than what comes out. */
static size_t run(hr_slice input, unsigned window_bits, int flush, char *out, size_t out_len_max) {
    z_stream *stream = deflater_of_thread(window_bits);
    if (stream == NULL || input.len > UINT32_MAX) {
        return 0;
    }
    uInt room = clamped(out_len_max);
    set_input(stream, input);
    stream->next_out = (Bytef *)out;
    stream->avail_out = room;
    int result = deflate(stream, flush);
    HR_ASSERT(result == Z_OK || result == Z_STREAM_END || result == Z_BUF_ERROR);
    /* With no room left over nobody can say whether all has come out. */
    return stream->avail_in == 0 && stream->avail_out > 0 ? room - stream->avail_out : 0;
}

size_t hr_deflate(hr_slice input, unsigned window_bits, char *out, size_t out_len_max) {
    return run(input, window_bits, Z_SYNC_FLUSH, out, out_len_max);
}

/* Stored. -------------------------------------------------------------------------------------- */

size_t hr_deflate_stored_len(size_t len) {
    size_t blocks = (len + STORED_LEN_MAX - 1) / STORED_LEN_MAX;
    return len + blocks * STORED_HEAD_LEN;
}

/* RFC 1951 §3.2.4. A block that begins on a byte has its three bits in one of its own. */
size_t hr_deflate_store(hr_slice input, char *out) {
    char *at = out;
    while (input.len > 0) {
        size_t len = input.len < STORED_LEN_MAX ? input.len : STORED_LEN_MAX;
        const uint8_t head[STORED_HEAD_LEN] = {0, (uint8_t)len, (uint8_t)(len >> 8), (uint8_t)~len,
                                               (uint8_t)(~len >> 8)};
        memcpy(at, head, sizeof head);
        memcpy(at + sizeof head, input.data, len);
        at += sizeof head + len;
        input = (hr_slice){input.data + len, input.len - len};
    }
    return (size_t)(at - out);
}

/* Inflating. ----------------------------------------------------------------------------------- */

/* What cannot be compressed comes as stored blocks, zlib's of 16 KiB, others' down to 5 KiB. */
uint64_t hr_deflate_len_max(uint64_t len) {
    uint64_t more = len / 1024 + 64;
    return len > UINT64_MAX - more ? UINT64_MAX : len + more;
}

typedef struct inflation {
    z_stream *stream;
    hr_buf *out;
    size_t begin;
    uint64_t len_max;
} inflation;

static hr_status status_of(int result) {
    switch (result) {
    case Z_OK:
    case Z_STREAM_END:
    case Z_BUF_ERROR: return HR_OK; /* no input left */
    case Z_MEM_ERROR: return HR_ENOMEM;
    default: return HR_EPROTO;
    }
}

/* Inflates into the room that the bound leaves; *ended: at the end of a final block. */
static hr_status inflate_some(inflation *into, bool *ended) {
    hr_buf *out = into->out;
    z_stream *stream = into->stream;
    uint64_t left = into->len_max - (out->len - into->begin);
    /* One byte more than may be, to see that there is more. */
    uint64_t wanted = (uint64_t)stream->avail_in * 4 + 256;
    size_t room = left < wanted ? (size_t)left + 1 : (size_t)wanted;
    hr_status status = hr_buf_reserve(out, room);
    if (status != HR_OK) {
        return status;
    }
    stream->next_out = (Bytef *)(out->data + out->len);
    stream->avail_out = clamped(room);
    uInt given = stream->avail_out;
    int result = inflate(stream, Z_SYNC_FLUSH);
    size_t made = given - stream->avail_out;
    *ended = result == Z_STREAM_END;
    if (made > left) {
        return HR_ETOOBIG;
    }
    out->len += made;
    return status_of(result);
}

/* Inflates all of input; *ended: it ends with a final block, and needs no tail. */
static hr_status inflate_all(inflation *into, hr_slice input, bool *ended) {
    z_stream *stream = into->stream;
    hr_status status = HR_OK;
    *ended = false;
    set_input(stream, input);
    while (status == HR_OK) {
        status = inflate_some(into, ended);
        if (status == HR_OK && stream->avail_in == 0 && (*ended || stream->avail_out > 0)) {
            return HR_OK;
        }
        if (status == HR_OK && *ended && inflateReset(stream) != Z_OK) {
            return HR_ENOMEM;
        }
    }
    return status;
}

hr_status hr_inflate_append(hr_buf *out, hr_slice input, uint64_t len_max) {
    static const uint8_t tail[HR_DEFLATE_TAIL_LEN] = {0x00, 0x00, 0xFF, 0xFF};
    inflation into = {
        .stream = inflater_of_thread(), .out = out, .begin = out->len, .len_max = len_max};
    bool ended = false;
    if (into.stream == NULL) {
        return HR_ENOMEM;
    }
    if (input.len > UINT32_MAX) {
        return HR_ETOOBIG;
    }
    /* Not even the rest of an empty block; some send an empty message so. */
    if (input.len == 0) {
        return HR_OK;
    }
    hr_status status = inflate_all(&into, input, &ended);
    size_t len = out->len;
    if (status == HR_OK && !ended) {
        status = inflate_all(&into, (hr_slice){(const char *)tail, sizeof tail}, &ended);
        /* An empty block is all that the tail may be: 128 says that the next one may begin. */
        if (status == HR_OK && (ended || out->len != len || (into.stream->data_type & 128) == 0)) {
            status = HR_EPROTO;
        }
    }
    if (status != HR_OK) {
        out->len = into.begin;
    }
    return status;
}

/* gzip. ---------------------------------------------------------------------------------------- */

hr_slice hr_gzip_head(void) {
    /* No name, no time, an unknown system (RFC 1952 §2.3). */
    static const uint8_t head[HR_GZIP_HEAD_LEN] = {0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 0xFF};
    return (hr_slice){(const char *)head, sizeof head};
}

hr_status hr_gzip_append(hr_buf *out, hr_slice input) {
    static const char last[] = "\x03"; /* an empty final block, its second byte the NUL */
    if (input.len > UINT32_MAX) {
        return HR_ENOMEM;
    }
    size_t stored_len = hr_deflate_stored_len(input.len) + sizeof last;
    hr_status status = hr_buf_reserve(out, HR_GZIP_HEAD_LEN + stored_len + GZIP_TAIL_LEN);
    if (status != HR_OK) {
        return status;
    }
    char *at = out->data + out->len;
    memcpy(at, hr_gzip_head().data, HR_GZIP_HEAD_LEN);
    at += HR_GZIP_HEAD_LEN;
    size_t len = run(input, HR_WINDOW_BITS_MAX, Z_FINISH, at, stored_len);
    if (len == 0) {
        len = hr_deflate_store(input, at);
        memcpy(at + len, last, sizeof last);
        len += sizeof last;
    }
    at += len;
    uint32_t check = (uint32_t)crc32(0, (const Bytef *)input.data, (uInt)input.len);
    for (unsigned i = 0; i < 4; i++) {
        at[i] = (char)(uint8_t)(check >> (8 * i));
        at[4 + i] = (char)(uint8_t)(input.len >> (8 * i));
    }
    out->len += HR_GZIP_HEAD_LEN + len + GZIP_TAIL_LEN;
    return HR_OK;
}
