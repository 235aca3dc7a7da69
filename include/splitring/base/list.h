/* Intrusive doubly linked list with a sentinel head.
 * Thread: owner. */
#ifndef SPLITRING_BASE_LIST_H
#define SPLITRING_BASE_LIST_H

#include "splitring/base/types.h"

struct list {
    struct list *prev, *next;
};

static inline void list_init(struct list *l) { l->prev = l->next = l; }
static inline bool list_empty(const struct list *l) { return l->next == l; }
static inline void list_push_back(struct list *head, struct list *item)
{
    item->prev = head->prev;
    item->next = head;
    head->prev->next = item;
    head->prev = item;
}
static inline void list_push_front(struct list *head, struct list *item)
{
    list_push_back(head->next, item);
}
/* Unlinks and leaves the item pointing at itself, so a second removal is harmless. */
static inline void list_remove(struct list *item)
{
    item->prev->next = item->next;
    item->next->prev = item->prev;
    list_init(item);
}
static inline struct list *list_pop_front(struct list *head)
{
    struct list *item = head->next;
    if (item == head) return NULL;
    list_remove(item);
    return item;
}
#define LIST_FOREACH_SAFE(it, tmp, head) \
    for (struct list *it = (head)->next, *tmp = it->next; it != (head); it = tmp, tmp = it->next)

#endif
