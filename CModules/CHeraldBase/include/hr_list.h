/* hr_list: an intrusive circular doubly linked list. Not thread-safe. */
#ifndef HR_LIST_H
#define HR_LIST_H

#include <stdbool.h>
#include <stddef.h>

/* A list head and a link have the same shape; a link in no list points to itself. */
typedef struct hr_link {
    struct hr_link *next;
    struct hr_link *prev;
} hr_link;

static inline void hr_link_init(hr_link *link) {
    link->next = link;
    link->prev = link;
}
static inline bool hr_list_empty(const hr_link *head) { return head->next == head; }
static inline void hr_list_push_back(hr_link *head, hr_link *link) {
    link->prev = head->prev;
    link->next = head;
    head->prev->next = link;
    head->prev = link;
}
/* Takes link out of its list, if it is in one. */
static inline void hr_link_remove(hr_link *link) {
    link->prev->next = link->next;
    link->next->prev = link->prev;
    hr_link_init(link);
}
static inline bool hr_link_linked(const hr_link *link) { return link->next != link; }
/* Moves all of from to the end of to and leaves from empty. */
static inline void hr_list_splice(hr_link *to, hr_link *from) {
    if (hr_list_empty(from)) {
        return;
    }
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    hr_link_init(from);
}

#endif
