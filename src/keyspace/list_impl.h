/* The large form of a list (private to the list files).
 * Thread: holder of the shard. */
#ifndef SPLITRING_KEYSPACE_LIST_IMPL_H
#define SPLITRING_KEYSPACE_LIST_IMPL_H

#include "shard.h"
#include "splitring/keyspace/list.h"

struct list {
    struct object object;
    struct blocks blocks;
    int32_t fill; /* list-max-listpack-size when it became large: it stays, as in Redis */
};

enum { NODE_PLAIN = 1 }; /* block.flags: one element, as it is */

static inline struct list *list_of(const struct entry *e)
{
    return (struct list *)(void *)entry_object_of(e);
}
static inline bool node_is_plain(const struct block *node) { return node->flags & NODE_PLAIN; }

/* The limits of one node (list.c). */
bool list_node_exceeds(int32_t fill, size_t bytes, uint64_t count);
bool list_is_large(int32_t fill, size_t len); /* an element that becomes a plain node */
/* May an element of `len` bytes come into this node? NULL: no. */
bool list_node_allows(const struct list *list, const struct block *node, size_t len);
/* Is one node small enough for a packed list? part: 1, or 2 for one that has shrunk. */
bool list_fits_packed(int32_t fill, size_t bytes, uint64_t count, unsigned part);

struct list *list_new(struct shard *shard, int32_t fill) WARN_UNUSED;
void list_free(struct shard *shard, struct list *list);

/* What follows works on the large form alone (list_node.c); memory is not yet counted into the
 * shard. All return 0 or -ENOMEM (nothing changed). */
int list_push_one(struct list *list, struct slice text, enum list_end end) WARN_UNUSED;
/* Beside the element at `at` of the cursor's node (plain: any). The cursor may then stand anywhere,
 * but an error leaves it where it was. */
int list_insert_at(struct list *list, struct blocks_cursor *c, size_t at, bool after,
                   struct slice text) WARN_UNUSED;
int list_replace_at(struct list *list, struct blocks_cursor *c, size_t at,
                    struct slice text) WARN_UNUSED;
/* The element at one end goes and is pushed there again, which may take it to another node. */
int list_push_again(struct list *list, enum list_end end) WARN_UNUSED;
/* The element at one end of a node, and its offset. */
struct slice list_end_text(const struct block *node, enum list_end end, size_t *at,
                           char scratch[LP_NUMBER_LEN]);
/* Elements of one node from `at` on go; the node too when none is left (the cursor then stands at
 * what follows). The block is owned, or where it goes, its path. */
void list_node_delete(struct list *list, struct blocks_cursor *c, size_t at, uint32_t count);

#endif
