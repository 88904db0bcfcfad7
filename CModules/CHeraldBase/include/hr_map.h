/* hr_map: a hash map from bytes to pointers, keyed against flooding.
 *
 * Keys are borrowed: they must live as long as their entry (usually inside the
 * value). Not thread-safe. Insertion may move entries; values do not move. */
#ifndef HR_MAP_H
#define HR_MAP_H

#include "hr_bytes.h"

typedef struct hr_map_entry {
    hr_slice key;
    uint64_t hash;
    void *value; /* NULL: free place */
} hr_map_entry;

/* Zeroed memory is a valid empty map. */
typedef struct hr_map {
    hr_map_entry *entries;
    size_t count;
    size_t cap; /* power of two, or 0 */
} hr_map;

/* SipHash-1-3 of bytes under a key drawn once a process (Aumasson & Bernstein 2012). ANY thread. */
uint64_t hr_hash(hr_slice bytes);

/* The value at key, or NULL. */
void *hr_map_get(const hr_map *map, hr_slice key);
/* Puts value (not NULL) at key, which must not be in the map. */
HR_MUST_CHECK hr_status hr_map_insert(hr_map *map, hr_slice key, void *value);
/* Takes key out and gives its value back; NULL when it was not there. Shrinks when sparse. */
void *hr_map_remove(hr_map *map, hr_slice key);
/* Walks: *place begins at 0; false at the end. The map must not change meanwhile. */
bool hr_map_next(const hr_map *map, size_t *place, hr_map_entry *out);
/* Frees the table, not the values. */
void hr_map_fini(hr_map *map);

#endif
