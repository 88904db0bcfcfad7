/* trie: names by their segments; one for topics, one for filters.
 *
 * In the filters' trie * and ** are segments like others. Two walks join the two
 * tries: all filters that match a topic, and all topics that match a filter.
 * Neither visits names that share no beginning with what is looked for.
 *
 * Thread: under the log's lock. Recursion: HR_SEGMENT_COUNT_MAX deep at most. */
#ifndef HR_TRIE_H
#define HR_TRIE_H

#include "names_private.h"

typedef struct hr__node {
    HR_MAGIC_FIELD;
    uint8_t segment_len;
    struct hr__node *parent; /* NULL: the root, or not in a trie */
    struct hr__node *only;   /* the child when there has been one at most: most nodes need no map */
    hr_map children;         /* by segment, when only is NULL */
    void *item;              /* what the name that ends here stands for, or NULL */
    char segment[];
} hr__node;

/* A list of items that a walk found; reused from walk to walk. */
typedef struct hr__found {
    void **items;
    size_t count;
    size_t cap;
} hr__found;

/* Makes an empty root. NULL: out of memory. */
hr__node *hr__trie_new(void);
/* Precondition: no item is left. */
void hr__trie_free(hr__node **root);
/* The node of name, made if need be, without an item yet. NULL: out of memory, nothing changed. */
hr__node *hr__trie_add(hr__node *root, hr_slice name);
/* The node of name, or NULL. */
hr__node *hr__trie_find(const hr__node *root, hr_slice name);
/* Clears node's item and frees the nodes that nothing needs any more. */
void hr__trie_remove(hr__node *node);

/* The walks fill *found anew. HR_ENOMEM: *found is not complete. */
HR_MUST_CHECK hr_status hr__trie_filters_of(const hr__node *filters, hr_slice topic,
                                            hr__found *found);
HR_MUST_CHECK hr_status hr__trie_topics_of(const hr__node *topics, hr_slice filter,
                                           hr__found *found);

typedef void hr__trie_visit_fn(void *item, void *context);
/* Visits every item at and below node. */
void hr__trie_each(const hr__node *node, hr__trie_visit_fn *visit, void *context);
/* Visits every item that matches filter. */
void hr__trie_each_topic_of(const hr__node *topics, hr_slice filter, hr__trie_visit_fn *visit,
                            void *context);

#endif
