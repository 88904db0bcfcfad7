/* index: every retained event by sequence, ascending, over all topics.
 *
 * A directory of chunks: appending and removing the oldest cost a few writes,
 * removing in the middle moves less than a chunk, and seeking is two binary
 * searches. Not an array by sequence: one old event of a quiet topic would keep
 * all places between it and the head.
 *
 * Thread: under the log's lock. Invariant: no chunk is empty; neighbours that
 * would fit half a chunk together are merged. */
#ifndef HR_INDEX_H
#define HR_INDEX_H

#include "hr_event.h"

#define HR__INDEX_CHUNK_COUNT 256u

typedef struct hr__index_entry {
    uint64_t sequence;
    hr_event *event;
} hr__index_entry;

typedef struct hr__index_chunk {
    HR_MAGIC_FIELD;
    uint32_t first; /* entries[first] to entries[first + count - 1] are in use */
    uint32_t count;
    struct hr__index_chunk *next_spare;
    hr__index_entry entries[HR__INDEX_CHUNK_COUNT];
} hr__index_chunk;

/* A chunk in the directory. What the search needs stands here: looking into each
 * chunk on its way would be a cache miss a step. */
typedef struct hr__index_slot {
    uint64_t from; /* no sequence in chunk is smaller, all before it are */
    hr__index_chunk *chunk;
} hr__index_slot;

/* Zeroed memory is a valid empty index. */
typedef struct hr__index {
    hr__index_slot *chunks; /* chunks[first] to chunks[first + chunk_count - 1] */
    size_t first;
    size_t chunk_count;
    size_t chunk_cap;
    hr__index_chunk *spare;
    size_t spare_count;
    uint64_t count;
} hr__index;

/* A place to walk from. Any change of the index spoils it. */
typedef struct hr__index_place {
    size_t chunk;
    uint32_t entry;
} hr__index_place;

/* Makes sure that the next count appends cannot fail, whatever is removed between them. */
HR_MUST_CHECK hr_status hr__index_reserve(hr__index *index, size_t count);
/* Precondition: reserved; event's sequence is greater than all in the index. */
void hr__index_append(hr__index *index, hr_event *event);
/* Precondition: sequence is in the index. */
void hr__index_remove(hr__index *index, uint64_t sequence);
/* Frees spare chunks but for one. */
void hr__index_trim(hr__index *index);
/* The oldest event, or NULL. */
hr_event *hr__index_oldest(const hr__index *index);
/* The place of the first event after sequence. */
hr__index_place hr__index_seek(const hr__index *index, uint64_t sequence);
/* The event at *place, which moves on; NULL at the end. */
hr_event *hr__index_next(const hr__index *index, hr__index_place *place);
void hr__index_fini(hr__index *index);

#endif
