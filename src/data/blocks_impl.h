/* Nodes of a sequence of blocks (private to blocks.c and blocks_edit.c).
 *
 *   epoch | gone count cap | child 0 … cap-1 | weight 0 … cap-1 | first key 0 … cap-1
 *
 * Weights lie side by side, so that the n-th element is found in eight cache lines per node.
 * Thread: holder of the shard. */
#ifndef SPLITRING_DATA_BLOCKS_IMPL_H
#define SPLITRING_DATA_BLOCKS_IMPL_H

#include <errno.h>

#include "splitring/base/check.h"
#include "splitring/base/mem.h"
#include "splitring/data/blocks.h"

/* A full node is 2032 bytes, just below one of the allocator's sizes; so are those on the way. */
#define NODE_CAP_MAX 63u
#define NODE_CAP_MIN 3u
#define NODE_SPARSE 15u  /* nodes with fewer children look for a neighbour to join … */
#define NODE_JOINED 47u  /* … with which they have at most so many */

struct blocks_node {
    uint32_t epoch;
    bool gone; /* only the frozen root still shows it */
    uint8_t count, cap;
    uint64_t body[];
};

static inline void **node_children(const struct blocks_node *n)
{
    return (void **)(void *)(uintptr_t)n->body;
}
static inline uint64_t *node_weights(const struct blocks_node *n)
{
    return (uint64_t *)(uintptr_t)n->body + n->cap;
}
static inline struct blocks_key *node_keys(const struct blocks_node *n)
{
    return (struct blocks_key *)(void *)((uint64_t *)(uintptr_t)n->body + 2u * n->cap);
}
static inline size_t node_len(unsigned cap)
{
    return sizeof(struct blocks_node) + (size_t)cap * (16u + sizeof(struct blocks_key));
}
/* Does the frozen root show it too? */
static inline bool blocks_shared(const struct blocks *b, uint32_t epoch)
{
    return unlikely(b->frozen != NULL) && epoch != b->epoch;
}

/* What the allocator gave. */
static inline char *block_start(const struct block *block) { return block->bytes - block->front; }

/* An empty node; NULL: no memory. */
struct blocks_node *node_new(struct blocks *b, unsigned cap) WARN_UNUSED;
/* It has left the present tree: freed, or left to the frozen root. Children are the caller's. */
void node_drop(struct blocks *b, struct blocks_node *n);
void block_drop(struct blocks *b, struct block *block);
struct block *block_new(struct blocks *b, const struct block_init *init) WARN_UNUSED;
struct block *block_copy(struct blocks *b, const struct block *block) WARN_UNUSED;
/* A node with the same children and room for `cap`, of the present epoch. */
struct blocks_node *node_copy(struct blocks *b, const struct blocks_node *n,
                              unsigned cap) WARN_UNUSED;
/* From c->path[level], c->index[level] on down to the first or last block below. */
void blocks_descend(struct blocks_cursor *c, unsigned level, unsigned height, bool last);
/* Steps to the block at or after the position at `level`, whose index may be past the end. */
void blocks_settle(struct blocks_cursor *c, unsigned level, unsigned height);

#endif
