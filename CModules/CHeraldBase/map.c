/* Open addressing with linear probing and backward-shift deletion: no
 * tombstones, so that a table under churn stays as fast as a fresh one. */
#include "CHeraldBase.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static uint64_t hash_key[2];
static pthread_once_t hash_key_once = PTHREAD_ONCE_INIT;

static void draw_hash_key(void) { hr_random_bytes(hash_key, sizeof hash_key); }

static uint64_t rotate(uint64_t x, unsigned by) { return (x << by) | (x >> (64 - by)); }

static void sip_round(uint64_t v[4]) {
    v[0] += v[1];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[0] = rotate(v[0], 32);
    v[2] += v[3];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}

uint64_t hr_hash(hr_slice bytes) {
    pthread_once(&hash_key_once, draw_hash_key);
    uint64_t v[4] = {hash_key[0] ^ 0x736f6d6570736575u, hash_key[1] ^ 0x646f72616e646f6du,
                     hash_key[0] ^ 0x6c7967656e657261u, hash_key[1] ^ 0x7465646279746573u};
    size_t whole = bytes.len & ~(size_t)7;
    for (size_t i = 0; i < whole; i += 8) {
        uint64_t word;
        memcpy(&word, bytes.data + i, 8);
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    uint64_t last = (uint64_t)bytes.len << 56;
    if (bytes.len > whole) {
        memcpy(&last, bytes.data + whole, bytes.len - whole);
        last |= (uint64_t)bytes.len << 56;
    }
    v[3] ^= last;
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    sip_round(v);
    sip_round(v);
    sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* The place of key, or of the free place where it would go. */
static size_t find_place(const hr_map *map, hr_slice key, uint64_t hash) {
    size_t mask = map->cap - 1;
    size_t place = (size_t)hash & mask;
    while (map->entries[place].value != NULL &&
           !(map->entries[place].hash == hash && hr_slice_equal(map->entries[place].key, key))) {
        place = (place + 1) & mask;
    }
    return place;
}

void *hr_map_get(const hr_map *map, hr_slice key) {
    if (map->count == 0) {
        return NULL;
    }
    return map->entries[find_place(map, key, hr_hash(key))].value;
}

static hr_status resize(hr_map *map, size_t cap) {
    hr_map_entry *entries = calloc(cap, sizeof *entries);
    if (entries == NULL) {
        return HR_ENOMEM;
    }
    hr_map resized = {.entries = entries, .count = map->count, .cap = cap};
    for (size_t i = 0; i < map->cap; i++) {
        if (map->entries[i].value != NULL) {
            entries[find_place(&resized, map->entries[i].key, map->entries[i].hash)] =
                map->entries[i];
        }
    }
    free(map->entries);
    *map = resized;
    return HR_OK;
}

hr_status hr_map_insert(hr_map *map, hr_slice key, void *value) {
    HR_ASSERT(value != NULL);
    if ((map->count + 1) * 4 > map->cap * 3) {
        hr_status status = resize(map, map->cap == 0 ? 8 : map->cap * 2);
        if (status != HR_OK) {
            return status;
        }
    }
    uint64_t hash = hr_hash(key);
    size_t place = find_place(map, key, hash);
    HR_ASSERT(map->entries[place].value == NULL);
    map->entries[place] = (hr_map_entry){.key = key, .hash = hash, .value = value};
    map->count++;
    return HR_OK;
}

void *hr_map_remove(hr_map *map, hr_slice key) {
    if (map->count == 0) {
        return NULL;
    }
    size_t mask = map->cap - 1;
    size_t hole = find_place(map, key, hr_hash(key));
    void *value = map->entries[hole].value;
    if (value == NULL) {
        return NULL;
    }
    /* Pull back each follower whose own place does not lie after the hole. */
    for (size_t next = (hole + 1) & mask; map->entries[next].value != NULL;
         next = (next + 1) & mask) {
        size_t home = (size_t)map->entries[next].hash & mask;
        if (((next - home) & mask) >= ((next - hole) & mask)) {
            map->entries[hole] = map->entries[next];
            hole = next;
        }
    }
    map->entries[hole] = (hr_map_entry){0};
    map->count--;
    if (map->cap > 64 && map->count * 8 < map->cap) {
        /* Staying large is no error. */
        hr_status ignored = resize(map, map->cap / 2);
        (void)ignored;
    }
    return value;
}

bool hr_map_next(const hr_map *map, size_t *place, hr_map_entry *out) {
    while (*place < map->cap) {
        const hr_map_entry *entry = &map->entries[(*place)++];
        if (entry->value != NULL) {
            *out = *entry;
            return true;
        }
    }
    return false;
}

void hr_map_fini(hr_map *map) {
    free(map->entries);
    *map = (hr_map){0};
}
