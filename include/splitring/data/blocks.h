/* A sequence of byte blocks under a small tree: what lists and streams (and a group's pending
 * entries) are made of.
 *
 * A block is a listpack, or any bytes, of some kilobytes. It has a weight (its elements), so that
 * the n-th element is found in O(log n), and an order key of 128 bits for sequences that are sorted
 * (a stream's entry ids); lists leave it 0. Inner nodes know weights and first keys of their
 * children.
 *
 * Snapshots (DESIGN section 6): every node and block bears the epoch it was made in.
 * blocks_freeze() hands out the present root and begins a new epoch: from then on the first write
 * to a node or block copies it, and the frozen root still shows what was. One frozen root at most.
 * Thread: holder of the shard. */
#ifndef SPLITRING_DATA_BLOCKS_H
#define SPLITRING_DATA_BLOCKS_H

#include "splitring/data/listpack.h"

struct blocks_key {
    uint64_t high, low; /* a stream id: milliseconds, sequence */
};

struct block {
    char *bytes;      /* mem_try_alloc'ed; read through it, write only after blocks_own() */
    uint32_t len;
    uint32_t count;   /* weight */
    uint32_t epoch;
    uint32_t flags;   /* the caller's */
    struct blocks_key key;
};

struct blocks_node;
struct blocks {
    struct blocks_node *root; /* NULL: empty */
    uint64_t count;           /* sum of weights */
    uint64_t blocks;
    size_t bytes;             /* memory of nodes, blocks and their bytes */
    uint32_t epoch;
    uint32_t height;
    struct blocks_node *frozen;
};

/* Where a block is. Valid until the next call that changes the sequence, unless that call was given
 * the cursor: it then follows. */
#define BLOCKS_HEIGHT_MAX 12u
struct blocks_cursor {
    struct block *block; /* NULL: before the first or past the last */
    struct blocks_node *path[BLOCKS_HEIGHT_MAX];
    uint16_t index[BLOCKS_HEIGHT_MAX];
};

void blocks_init(struct blocks *b);
void blocks_deinit(struct blocks *b);
/* Frees from the end, about `budget` weight; true when nothing is left. */
bool blocks_free_step(struct blocks *b, size_t budget, size_t *done);

void blocks_first(const struct blocks *b, struct blocks_cursor *c);
void blocks_last(const struct blocks *b, struct blocks_cursor *c);
void blocks_next(const struct blocks *b, struct blocks_cursor *c);
void blocks_prev(const struct blocks *b, struct blocks_cursor *c);
/* The block that holds element `index` (0-based, < count); *in_block: its place in there. */
void blocks_at(const struct blocks *b, uint64_t index, struct blocks_cursor *c, uint32_t *in_block);
/* Number of elements before the block. */
uint64_t blocks_rank(const struct blocks *b, const struct blocks_cursor *c);
/* The last block whose key is <= key; c->block NULL: all are greater (or none is there). */
void blocks_seek(const struct blocks *b, struct blocks_key key, struct blocks_cursor *c);

/* All return 0 or -ENOMEM (nothing changed). A new block's bytes are taken on success. */
int blocks_append(struct blocks *b, const struct block *block, struct blocks_cursor *c) WARN_UNUSED;
int blocks_prepend(struct blocks *b, const struct block *block,
                   struct blocks_cursor *c) WARN_UNUSED;
/* Beside the cursor's block; the cursor then stands at the new one. */
int blocks_insert_before(struct blocks *b, struct blocks_cursor *c,
                         const struct block *block) WARN_UNUSED;
int blocks_insert_after(struct blocks *b, struct blocks_cursor *c,
                        const struct block *block) WARN_UNUSED;
/* The cursor's block may be written now: copied first where a frozen root still shows it. After
 * writing tell blocks_changed() the new len and count. */
int blocks_own(struct blocks *b, struct blocks_cursor *c) WARN_UNUSED;
void blocks_changed(struct blocks *b, struct blocks_cursor *c, uint32_t len, uint32_t count);
/* The cursor then stands at what followed (NULL: nothing). */
int blocks_remove(struct blocks *b, struct blocks_cursor *c) WARN_UNUSED;

/* ---- snapshots ---- */

struct blocks_node *blocks_freeze(struct blocks *b);  /* NULL: empty; nothing is copied */
/* Walks the frozen root: *index counts blocks from 0; NULL at the end. */
const struct block *blocks_frozen_at(const struct blocks *b, uint64_t index);
void blocks_thaw(struct blocks *b); /* frees what only the frozen root still showed */

#endif
