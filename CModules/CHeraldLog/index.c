/* The index as index.h says. Chunks that fall empty become spare, and are freed
 * only by hr__index_trim: room that was reserved can't go away under an append. */
#include "index.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK_MAGIC 0x43686E6Bu

static hr__index_chunk *chunk_at(const hr__index *index, size_t number) {
    HR_ASSERT(number < index->chunk_count);
    return index->chunks[index->first + number].chunk;
}

static uint32_t room_at_end(const hr__index_chunk *chunk) {
    return HR__INDEX_CHUNK_COUNT - chunk->first - chunk->count;
}

static uint64_t last_sequence(const hr__index_chunk *chunk) {
    return chunk->entries[chunk->first + chunk->count - 1].sequence;
}

/* Makes room for extra more chunks behind the last. */
static hr_status reserve_directory(hr__index *index, size_t extra) {
    size_t needed = index->chunk_count + extra;
    if (index->first + needed <= index->chunk_cap) {
        return HR_OK;
    }
    /* Moving down at half full only: else a long directory that loses its first
     * chunk as often as it gains one would be moved each time. */
    if (needed > index->chunk_cap / 2) {
        size_t cap = index->chunk_cap < 8 ? 8 : index->chunk_cap * 2;
        while (cap < needed) {
            cap *= 2;
        }
        hr__index_slot *chunks = realloc(index->chunks, cap * sizeof *chunks);
        if (chunks == NULL) {
            return HR_ENOMEM;
        }
        index->chunks = chunks;
        index->chunk_cap = cap;
    }
    memmove(index->chunks, index->chunks + index->first,
            index->chunk_count * sizeof *index->chunks);
    index->first = 0;
    return HR_OK;
}

hr_status hr__index_reserve(hr__index *index, size_t count) {
    size_t room =
        index->chunk_count == 0 ? 0 : room_at_end(chunk_at(index, index->chunk_count - 1));
    if (count <= room) {
        return HR_OK;
    }
    size_t needed = (count - room + HR__INDEX_CHUNK_COUNT - 1) / HR__INDEX_CHUNK_COUNT;
    hr_status status = reserve_directory(index, needed);
    while (status == HR_OK && index->spare_count < needed) {
        hr__index_chunk *chunk = malloc(sizeof *chunk);
        if (chunk == NULL) {
            return HR_ENOMEM;
        }
        HR_MAGIC_SET(chunk, CHUNK_MAGIC);
        chunk->next_spare = index->spare;
        index->spare = chunk;
        index->spare_count++;
    }
    return status;
}

static hr__index_chunk *add_chunk(hr__index *index, uint64_t from) {
    hr__index_chunk *chunk = index->spare;
    HR_CHECK(chunk, CHUNK_MAGIC);
    HR_ASSERT(index->first + index->chunk_count < index->chunk_cap);
    index->spare = chunk->next_spare;
    index->spare_count--;
    chunk->first = 0;
    chunk->count = 0;
    index->chunks[index->first + index->chunk_count++] =
        (hr__index_slot){.from = from, .chunk = chunk};
    return chunk;
}

void hr__index_append(hr__index *index, hr_event *event) {
    hr__index_chunk *last =
        index->chunk_count == 0 ? NULL : chunk_at(index, index->chunk_count - 1);
    HR_ASSERT(last == NULL || last_sequence(last) < event->sequence);
    if (last == NULL || room_at_end(last) == 0) {
        last = add_chunk(index, event->sequence);
    }
    last->entries[last->first + last->count++] =
        (hr__index_entry){.sequence = event->sequence, .event = event};
    index->count++;
}

/* Takes chunk number out of the directory and makes it spare. */
static void drop_chunk(hr__index *index, size_t number) {
    hr__index_chunk *chunk = chunk_at(index, number);
    chunk->next_spare = index->spare;
    index->spare = chunk;
    index->spare_count++;
    if (index->chunk_count == 1) {
        /* The last chunk had room that was reserved: its slot must come free with it. */
        index->first = 0;
    } else if (number == 0) {
        index->first++;
    } else {
        hr__index_slot *at = index->chunks + index->first + number;
        memmove(at, at + 1, (index->chunk_count - number - 1) * sizeof *at);
    }
    index->chunk_count--;
}

/* Joins chunk number with the one after it, if both together fill half of one at most. */
static bool merge_with_next(hr__index *index, size_t number) {
    if (number + 1 >= index->chunk_count) {
        return false;
    }
    hr__index_chunk *into = chunk_at(index, number);
    hr__index_chunk *from = chunk_at(index, number + 1);
    if (into->count + from->count > HR__INDEX_CHUNK_COUNT / 2) {
        return false;
    }
    memmove(into->entries, into->entries + into->first, into->count * sizeof *into->entries);
    memcpy(into->entries + into->count, from->entries + from->first,
           from->count * sizeof *into->entries);
    into->first = 0;
    into->count += from->count;
    drop_chunk(index, number + 1);
    return true;
}

/* Closes the hole at entry by moving the shorter side. */
static void close_hole(hr__index_chunk *chunk, uint32_t entry) {
    uint32_t before = entry - chunk->first;
    uint32_t after = chunk->count - before - 1;
    hr__index_entry *start = chunk->entries + chunk->first;
    if (before < after) {
        memmove(start + 1, start, before * sizeof *start);
        chunk->first++;
    } else {
        memmove(start + before, start + before + 1, after * sizeof *start);
    }
    chunk->count--;
}

void hr__index_remove(hr__index *index, uint64_t sequence) {
    HR_ASSERT(index->count > 0);
    hr__index_chunk *oldest = chunk_at(index, 0);
    hr__index_place place = {.chunk = 0, .entry = oldest->first};
    if (oldest->entries[oldest->first].sequence != sequence) {
        place = hr__index_seek(index, sequence - 1);
    }
    hr__index_chunk *chunk = chunk_at(index, place.chunk);
    HR_ASSERT(chunk->entries[place.entry].sequence == sequence);
    close_hole(chunk, place.entry);
    index->count--;
    if (chunk->count == 0) {
        drop_chunk(index, place.chunk);
    } else if (!merge_with_next(index, place.chunk) && place.chunk > 0) {
        merge_with_next(index, place.chunk - 1);
    }
}

void hr__index_trim(hr__index *index) {
    while (index->spare_count > 1) {
        hr__index_chunk *chunk = index->spare;
        index->spare = chunk->next_spare;
        index->spare_count--;
        free(chunk);
    }
}

hr_event *hr__index_oldest(const hr__index *index) {
    if (index->count == 0) {
        return NULL;
    }
    const hr__index_chunk *chunk = chunk_at(index, 0);
    return chunk->entries[chunk->first].event;
}

/* The place of entry, which may lie just behind the last of its chunk. */
static hr__index_place place_at(const hr__index *index, size_t number, uint32_t entry) {
    const hr__index_chunk *chunk = chunk_at(index, number);
    if (entry < chunk->first + chunk->count) {
        return (hr__index_place){.chunk = number, .entry = entry};
    }
    uint32_t first = number + 1 == index->chunk_count ? 0 : chunk_at(index, number + 1)->first;
    return (hr__index_place){.chunk = number + 1, .entry = first};
}

/* The chunk that holds sequence, if any does: the last that begins no later. */
static size_t seek_chunk(const hr__index *index, uint64_t sequence) {
    const hr__index_slot *slots = index->chunks + index->first;
    size_t low = 0;
    size_t high = index->chunk_count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (slots[middle].from <= sequence) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

hr__index_place hr__index_seek(const hr__index *index, uint64_t sequence) {
    if (index->chunk_count == 0) {
        return (hr__index_place){0};
    }
    size_t number = seek_chunk(index, sequence);
    const hr__index_chunk *chunk = chunk_at(index, number);
    uint32_t low = chunk->first;
    uint32_t high = chunk->first + chunk->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (chunk->entries[middle].sequence <= sequence) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return place_at(index, number, low);
}

hr_event *hr__index_next(const hr__index *index, hr__index_place *place) {
    if (place->chunk == index->chunk_count) {
        return NULL;
    }
    const hr__index_chunk *chunk = chunk_at(index, place->chunk);
    hr_event *event = chunk->entries[place->entry].event;
    *place = place_at(index, place->chunk, place->entry + 1);
    return event;
}

void hr__index_fini(hr__index *index) {
    while (index->chunk_count > 0) {
        drop_chunk(index, 0);
    }
    hr__index_trim(index);
    free(index->spare);
    free(index->chunks);
    *index = (hr__index){0};
}
