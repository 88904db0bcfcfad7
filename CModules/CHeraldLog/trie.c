/* Nodes own their segment, which is the key of their entry in the parent's map. */
#include "trie.h"

#include <stdlib.h>

#define NODE_MAGIC 0x4E6F6465u

static hr__node *node_new(hr_slice segment) {
    HR_ASSERT(segment.len <= HR_SEGMENT_LEN_MAX);
    hr__node *node = malloc(sizeof *node + segment.len);
    if (node == NULL) {
        return NULL;
    }
    *node = (hr__node){.segment_len = (uint8_t)segment.len};
    HR_MAGIC_SET(node, NODE_MAGIC);
    if (segment.len > 0) {
        memcpy(node->segment, segment.data, segment.len);
    }
    return node;
}

static hr_slice segment_of(const hr__node *node) {
    return (hr_slice){node->segment, node->segment_len};
}

static hr__node *child_of(const hr__node *node, hr_slice segment) {
    HR_CHECK(node, NODE_MAGIC);
    if (node->only != NULL) {
        return hr_slice_equal(segment_of(node->only), segment) ? node->only : NULL;
    }
    return hr_map_get(&node->children, segment);
}

static bool has_children(const hr__node *node) {
    return node->only != NULL || node->children.count > 0;
}

static hr_status attach(hr__node *parent, hr__node *child) {
    if (!has_children(parent)) {
        parent->only = child;
        child->parent = parent;
        return HR_OK;
    }
    if (parent->only != NULL) {
        hr_status status = hr_map_insert(&parent->children, segment_of(parent->only), parent->only);
        if (status != HR_OK) {
            return status;
        }
        parent->only = NULL;
    }
    hr_status status = hr_map_insert(&parent->children, segment_of(child), child);
    if (status == HR_OK) {
        child->parent = parent;
    }
    return status;
}

static void detach(hr__node *child) {
    hr__node *parent = child->parent;
    if (parent->only == child) {
        parent->only = NULL;
    } else {
        HR_ASSERT(hr_map_remove(&parent->children, segment_of(child)) == child);
        if (parent->children.count == 0) {
            hr_map_fini(&parent->children);
        }
    }
    child->parent = NULL;
}

static void node_free(hr__node *node) {
    HR_CHECK(node, NODE_MAGIC);
    HR_ASSERT(node->item == NULL && !has_children(node));
    hr_map_fini(&node->children);
    HR_MAGIC_CLEAR(node);
    free(node);
}

hr__node *hr__trie_new(void) { return node_new((hr_slice){NULL, 0}); }

void hr__trie_free(hr__node **root) {
    node_free(*root);
    *root = NULL;
}

/* Frees node and its ancestors as far as nothing needs them. */
static void prune(hr__node *node) {
    while (node->parent != NULL && node->item == NULL && !has_children(node)) {
        hr__node *parent = node->parent;
        detach(node);
        node_free(node);
        node = parent;
    }
}

hr__node *hr__trie_add(hr__node *root, hr_slice name) {
    hr__node *node = root;
    hr_slice segment;
    while (hr__segment_next(&name, &segment)) {
        hr__node *child = child_of(node, segment);
        if (child == NULL) {
            child = node_new(segment);
            if (child == NULL || attach(node, child) != HR_OK) {
                if (child != NULL) {
                    node_free(child);
                }
                prune(node);
                return NULL;
            }
        }
        node = child;
    }
    return node;
}

hr__node *hr__trie_find(const hr__node *root, hr_slice name) {
    const hr__node *node = root;
    hr_slice segment;
    while (node != NULL && hr__segment_next(&name, &segment)) {
        node = child_of(node, segment);
    }
    return (hr__node *)node;
}

void hr__trie_remove(hr__node *node) {
    HR_CHECK(node, NODE_MAGIC);
    node->item = NULL;
    prune(node);
}

/* Calls visit for each child of node with a segment that a wildcard may stand for. */
static void each_child(const hr__node *node, void (*visit)(const hr__node *child, void *walk),
                       void *walk) {
    bool is_root = node->parent == NULL;
    if (node->only != NULL) {
        if (!is_root || !hr__segment_is_reserved(segment_of(node->only))) {
            visit(node->only, walk);
        }
        return;
    }
    size_t place = 0;
    hr_map_entry entry;
    while (hr_map_next(&node->children, &place, &entry)) {
        if (!is_root || !hr__segment_is_reserved(entry.key)) {
            visit(entry.value, walk);
        }
    }
}

typedef struct topic_walk {
    hr_slice rest; /* of the filter */
    hr__trie_visit_fn *visit;
    void *context;
} topic_walk;

static void visit_below(const hr__node *node, void *walk_pointer) {
    topic_walk *walk = walk_pointer;
    if (node->item != NULL) {
        walk->visit(node->item, walk->context);
    }
    each_child(node, visit_below, walk);
}

/* Visits what lies under node by walk's rest, which is as before when it returns. */
static void visit_matching(const hr__node *node, void *walk_pointer) {
    topic_walk *walk = walk_pointer;
    hr_slice rest = walk->rest;
    hr_slice segment;
    if (!hr__segment_next(&walk->rest, &segment)) {
        if (node->item != NULL) {
            walk->visit(node->item, walk->context);
        }
    } else if (hr__segment_is_stars(segment)) {
        each_child(node, visit_below, walk);
    } else if (hr__segment_is_star(segment)) {
        each_child(node, visit_matching, walk);
    } else {
        const hr__node *child = child_of(node, segment);
        if (child != NULL) {
            visit_matching(child, walk);
        }
    }
    walk->rest = rest;
}

void hr__trie_each_topic_of(const hr__node *topics, hr_slice filter, hr__trie_visit_fn *visit,
                            void *context) {
    topic_walk walk = {.rest = filter, .visit = visit, .context = context};
    visit_matching(topics, &walk);
}

static void visit_all(const hr__node *node, hr__trie_visit_fn *visit, void *context) {
    if (node->item != NULL) {
        visit(node->item, context);
    }
    if (node->only != NULL) {
        visit_all(node->only, visit, context);
    }
    size_t place = 0;
    hr_map_entry entry;
    while (hr_map_next(&node->children, &place, &entry)) {
        visit_all(entry.value, visit, context);
    }
}

void hr__trie_each(const hr__node *node, hr__trie_visit_fn *visit, void *context) {
    visit_all(node, visit, context);
}

typedef struct collection {
    hr__found *found;
    hr_status status;
} collection;

static void collect(void *item, void *context) {
    collection *into = context;
    hr__found *found = into->found;
    if (found->count == found->cap) {
        size_t cap = found->cap == 0 ? 64 : found->cap * 2;
        void **items = realloc(found->items, cap * sizeof *items);
        if (items == NULL) {
            into->status = HR_ENOMEM;
            return;
        }
        found->items = items;
        found->cap = cap;
    }
    found->items[found->count++] = item;
}

hr_status hr__trie_topics_of(const hr__node *topics, hr_slice filter, hr__found *found) {
    collection into = {.found = found, .status = HR_OK};
    found->count = 0;
    hr__trie_each_topic_of(topics, filter, collect, &into);
    return into.status;
}

/* Each level has three ways to go at most: the segment itself, * and **. */
static void collect_filters(const hr__node *node, hr_slice rest, bool is_hidden, collection *into) {
    hr_slice segment;
    if (!hr__segment_next(&rest, &segment)) {
        if (node->item != NULL) {
            collect(node->item, into);
        }
        return;
    }
    const hr__node *child = child_of(node, segment);
    if (child != NULL) {
        collect_filters(child, rest, false, into);
    }
    if (is_hidden) {
        return;
    }
    child = child_of(node, HR_LIT("*"));
    if (child != NULL) {
        collect_filters(child, rest, false, into);
    }
    child = child_of(node, HR_LIT("**"));
    if (child != NULL && child->item != NULL) {
        collect(child->item, into);
    }
}

hr_status hr__trie_filters_of(const hr__node *filters, hr_slice topic, hr__found *found) {
    collection into = {.found = found, .status = HR_OK};
    found->count = 0;
    collect_filters(filters, topic, hr_topic_is_reserved(topic), &into);
    return into.status;
}
