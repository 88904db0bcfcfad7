#include "addresses.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define ADDRESSES_MAGIC 0x4B0B0007u
#define SHARD_BITS 6u
#define SHARD_COUNT (1u << SHARD_BITS)
/* A shard that is empty keeps so many places for who comes next. */
#define SPARE_COUNT 64u
#define NOWHERE UINT32_MAX

typedef struct place {
    hr_address address;
    uint32_t count; /* 0: free */
    uint32_t next;  /* in its chain, or in the free list */
} place;

/* Places keep their index while they are used, so that a ticket is one. Each of heads, as many as
 * places, begins a chain of those whose hash ends alike. */
typedef struct shard {
    pthread_mutex_t lock;
    place *places;
    uint32_t *heads;
    uint32_t cap; /* a power of two, or 0 */
    uint32_t used;
    uint32_t free;
} __attribute__((aligned(64))) shard;

struct hr__addresses {
    HR_MAGIC_FIELD;
    shard shards[SHARD_COUNT];
};

hr_status hr__addresses_new(hr__addresses **out) {
    hr__addresses *addresses = NULL;
    if (posix_memalign((void **)&addresses, _Alignof(hr__addresses), sizeof *addresses) != 0) {
        return HR_ENOMEM;
    }
    memset(addresses, 0, sizeof *addresses);
    HR_MAGIC_SET(addresses, ADDRESSES_MAGIC);
    for (unsigned i = 0; i < SHARD_COUNT; i++) {
        HR_ASSERT(pthread_mutex_init(&addresses->shards[i].lock, NULL) == 0);
        addresses->shards[i].free = NOWHERE;
    }
    *out = addresses;
    return HR_OK;
}

static void drop_places(shard *shard) {
    free(shard->places);
    free(shard->heads);
    shard->places = NULL;
    shard->heads = NULL;
    shard->cap = 0;
    shard->free = NOWHERE;
}

void hr__addresses_free(hr__addresses **handle) {
    hr__addresses *addresses = *handle;
    HR_CHECK(addresses, ADDRESSES_MAGIC);
    *handle = NULL;
    for (unsigned i = 0; i < SHARD_COUNT; i++) {
        HR_ASSERT(addresses->shards[i].used == 0);
        drop_places(&addresses->shards[i]);
        pthread_mutex_destroy(&addresses->shards[i].lock);
    }
    HR_MAGIC_CLEAR(addresses);
    free(addresses);
}

static uint64_t hash_of(const hr_address *address) {
    return hr_hash((hr_slice){(const char *)address->bytes, sizeof address->bytes});
}

static uint32_t *head_of(const shard *shard, uint64_t hash) {
    return &shard->heads[(hash >> SHARD_BITS) & (shard->cap - 1)];
}

/* Doubles the shard, whose places are all used. */
static hr_status grow(shard *shard) {
    uint32_t cap = shard->cap == 0 ? 4 : shard->cap * 2;
    if (cap > 1u << (31 - SHARD_BITS)) {
        return HR_ENOMEM;
    }
    uint32_t *heads = malloc(cap * sizeof *heads);
    place *places = heads == NULL ? NULL : realloc(shard->places, cap * sizeof *places);
    if (places == NULL) {
        free(heads);
        return HR_ENOMEM;
    }
    free(shard->heads);
    shard->heads = heads;
    shard->places = places;
    for (uint32_t i = 0; i < cap; i++) {
        heads[i] = NOWHERE;
    }
    uint32_t old = shard->cap;
    shard->cap = cap;
    for (uint32_t i = 0; i < old; i++) {
        uint32_t *head = head_of(shard, hash_of(&places[i].address));
        places[i].next = *head;
        *head = i;
    }
    for (uint32_t i = cap; i > old; i--) {
        places[i - 1] = (place){.next = shard->free};
        shard->free = i - 1;
    }
    return HR_OK;
}

static uint32_t find(const shard *shard, const hr_address *address, uint64_t hash) {
    uint32_t at = shard->cap == 0 ? NOWHERE : *head_of(shard, hash);
    while (at != NOWHERE && !hr_address_equal(&shard->places[at].address, address)) {
        at = shard->places[at].next;
    }
    return at;
}

static hr_status enter(shard *shard, const hr_address *address, uint64_t hash, uint32_t most,
                       uint32_t *index) {
    uint32_t at = find(shard, address, hash);
    if (at != NOWHERE) {
        place *found = &shard->places[at];
        if (found->count == UINT32_MAX || (most != 0 && found->count >= most)) {
            return HR_EPEERS;
        }
        found->count++;
        *index = at;
        return HR_OK;
    }
    hr_status status = shard->free == NOWHERE ? grow(shard) : HR_OK;
    if (status != HR_OK) {
        return status;
    }
    at = shard->free;
    uint32_t *head = head_of(shard, hash);
    shard->free = shard->places[at].next;
    shard->places[at] = (place){.address = *address, .count = 1, .next = *head};
    *head = at;
    shard->used++;
    *index = at;
    return HR_OK;
}

hr_status hr__addresses_enter(hr__addresses *addresses, const hr_address *address, uint32_t most,
                              uint32_t *ticket) {
    HR_CHECK(addresses, ADDRESSES_MAGIC);
    uint64_t hash = hash_of(address);
    uint32_t number = (uint32_t)(hash & (SHARD_COUNT - 1));
    shard *shard = &addresses->shards[number];
    uint32_t index = 0;
    pthread_mutex_lock(&shard->lock);
    hr_status status = enter(shard, address, hash, most, &index);
    pthread_mutex_unlock(&shard->lock);
    if (status == HR_OK) {
        *ticket = ((index << SHARD_BITS) | number) + 1;
    }
    return status;
}

static void leave(shard *shard, uint32_t index) {
    HR_ASSERT(index < shard->cap && shard->places[index].count > 0);
    place *left = &shard->places[index];
    if (--left->count > 0) {
        return;
    }
    uint32_t *at = head_of(shard, hash_of(&left->address));
    while (*at != index) {
        at = &shard->places[*at].next;
    }
    *at = left->next;
    left->next = shard->free;
    shard->free = index;
    shard->used--;
    if (shard->used == 0 && shard->cap > SPARE_COUNT) {
        drop_places(shard);
    }
}

void hr__addresses_leave(hr__addresses *addresses, uint32_t ticket) {
    HR_CHECK(addresses, ADDRESSES_MAGIC);
    HR_ASSERT(ticket != 0);
    shard *shard = &addresses->shards[(ticket - 1) & (SHARD_COUNT - 1)];
    pthread_mutex_lock(&shard->lock);
    leave(shard, (ticket - 1) >> SHARD_BITS);
    pthread_mutex_unlock(&shard->lock);
}

hr_address hr__addresses_of(hr__addresses *addresses, uint32_t ticket) {
    HR_CHECK(addresses, ADDRESSES_MAGIC);
    HR_ASSERT(ticket != 0);
    shard *shard = &addresses->shards[(ticket - 1) & (SHARD_COUNT - 1)];
    uint32_t index = (ticket - 1) >> SHARD_BITS;
    pthread_mutex_lock(&shard->lock);
    HR_ASSERT(index < shard->cap && shard->places[index].count > 0);
    hr_address address = shard->places[index].address;
    pthread_mutex_unlock(&shard->lock);
    return address;
}
