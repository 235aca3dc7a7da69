/* A sequence of byte blocks under a small tree: what lists and streams (and a group's pending
 * entries) are made of.
 *
 * A block is a listpack, or any bytes, of some kilobytes. It has a weight (its elements), so that
 * the n-th element is found in O(log n), and an order key of 128 bits for sequences that are sorted
 * (a stream's entry ids); lists leave it 0. Inner nodes know weights and first keys of their
 * children. A sequence of one block has no node at all.
 *
 * Snapshots (DESIGN section 6): every node and block bears the epoch it was made in.
 * blocks_freeze() sets the present root aside and begins a new epoch: from then on the first write
 * to a node or block copies it, and the frozen root still shows what was. One frozen root at most.
 * Thread: holder of the shard. */
#ifndef SPLITRING_DATA_BLOCKS_H
#define SPLITRING_DATA_BLOCKS_H

#include "splitring/data/listpack.h"

struct blocks_key {
    uint64_t high, low; /* a stream id: milliseconds, sequence */
};

/* Read freely. Written only after blocks_own(): bytes by block_resize(), flags as they are, len and
 * count by blocks_changed(). The key stays. The address is stable until the block is removed or
 * owned (a copy has another). */
struct block {
    char *bytes; /* within what was mem_try_alloc'ed: it begins at bytes - front */
    struct blocks_key key;
    uint32_t len;   /* of what is in bytes */
    uint32_t room;  /* in all, as the allocator gave it */
    uint32_t front; /* unused before bytes */
    uint32_t count; /* weight */
    uint32_t epoch;
    uint16_t flags; /* the caller's */
    bool gone;      /* only the frozen root still shows it */
};

struct blocks_node;
struct blocks {
    void *root;       /* NULL: empty; height 0: the only block; else a node */
    uint64_t count;   /* sum of weights */
    uint64_t blocks;
    size_t bytes;     /* memory of nodes, blocks and their bytes */
    void *frozen;     /* NULL: none */
    uint64_t frozen_blocks;
    size_t frozen_bytes; /* what only the frozen root still shows; not in bytes */
    uint32_t epoch;
    uint8_t height, frozen_height;
    bool leaving;     /* blocks_frozen_leave() is on its way through the frozen root */
};

/* Where a block is. Valid until the next call that changes the sequence, unless that call was given
 * the cursor: it then follows. blocks_changed() and block_resize() harm no cursor. */
#define BLOCKS_HEIGHT_MAX 10u
struct blocks_cursor {
    struct block *block; /* NULL: before the first or past the last */
    struct blocks_node *path[BLOCKS_HEIGHT_MAX];
    uint8_t index[BLOCKS_HEIGHT_MAX];
};

void blocks_init(struct blocks *b);
void blocks_deinit(struct blocks *b); /* the frozen root too; back to an empty sequence */
/* Frees from the end, about `budget` weight (reported in *done); true when nothing is left. There
 * may be no frozen root. */
bool blocks_free_step(struct blocks *b, size_t budget, size_t *done);

void blocks_first(const struct blocks *b, struct blocks_cursor *c);
void blocks_last(const struct blocks *b, struct blocks_cursor *c);
void blocks_next(const struct blocks *b, struct blocks_cursor *c); /* c->block is not NULL */
void blocks_prev(const struct blocks *b, struct blocks_cursor *c);
/* The block that holds element `index` (0-based; c->block NULL: index >= count); *in_block: its
 * place in there. */
void blocks_at(const struct blocks *b, uint64_t index, struct blocks_cursor *c, uint32_t *in_block);
/* Number of elements before the block. */
uint64_t blocks_rank(const struct blocks *b, const struct blocks_cursor *c);
/* The last block whose key is <= key; c->block NULL: all are greater (or none is there). */
void blocks_seek(const struct blocks *b, struct blocks_key key, struct blocks_cursor *c);

/* A new block's fields: what block_new() does not know by itself. */
struct block_init {
    char *bytes; /* mem_try_alloc'ed; taken on success */
    uint32_t len, count;
    uint16_t flags;
    struct blocks_key key;
};
/* All return 0 or -ENOMEM (the sequence shows what it showed; the cursor stands where it stood).
 * After success the cursor stands at the new block. */
int blocks_append(struct blocks *b, const struct block_init *block,
                  struct blocks_cursor *c) WARN_UNUSED;
int blocks_prepend(struct blocks *b, const struct block_init *block,
                   struct blocks_cursor *c) WARN_UNUSED;
int blocks_insert_before(struct blocks *b, struct blocks_cursor *c,
                         const struct block_init *block) WARN_UNUSED;
int blocks_insert_after(struct blocks *b, struct blocks_cursor *c,
                        const struct block_init *block) WARN_UNUSED;
/* The cursor's block may be written now: copied first where a frozen root still shows it. Fails
 * only while there is one. */
int blocks_own(struct blocks *b, struct blocks_cursor *c) WARN_UNUSED;
/* After writing an owned block. */
void blocks_changed(struct blocks *b, struct blocks_cursor *c, uint32_t len, uint32_t count);
/* Only what leads to the block: what blocks_remove() needs. */
int blocks_own_path(struct blocks *b, struct blocks_cursor *c) WARN_UNUSED;
/* The cursor then stands at what followed (NULL: nothing). Fails only while there is a frozen root,
 * and never after blocks_own() or blocks_own_path() of this block. */
int blocks_remove(struct blocks *b, struct blocks_cursor *c) WARN_UNUSED;

/* ---- an owned block's bytes ---- */

/* Room for len bytes; contents up to the shorter length stay. Room that exceeds len by less than
 * half is kept, and small blocks grow in doublings up to BLOCK_ROOM_STEP. NULL: no memory, nothing
 * has changed (never when len fits the room). */
#define BLOCK_ROOM_STEP 8192u
char *block_resize(struct blocks *b, struct block *block, size_t len) WARN_UNUSED;
/* n bytes more before the first, which is then bytes[n]: bytes moves down, and most often nothing
 * else does. len must tell what is there. False: no memory, nothing has changed. */
bool block_front_grow(struct blocks *b, struct block *block, size_t n) WARN_UNUSED;
/* The first n bytes go; nothing moves. */
void block_front_shrink(struct block *block, size_t n);
/* Gives back what the block does not use, if the allocator has a smaller size for it. */
void block_fit(struct blocks *b, struct block *block);
/* The owned block as a listpack that can be edited: give &e.lp to lp_*, then blocks_changed(). */
struct block_lp {
    struct lp lp;
    struct blocks *blocks;
    struct block *block;
};
void block_lp_open(struct block_lp *e, struct blocks *b, struct block *block);

/* ---- snapshots ---- */

/* The sequence as it is now is frozen; nothing is copied. There may be no frozen root yet. (An
 * empty one freezes to nothing: b->frozen stays NULL.) */
void blocks_freeze(struct blocks *b);
/* Walks the frozen root: c->block NULL at the end. The cursor stays valid until the thaw, whatever
 * is written meanwhile. */
void blocks_frozen_first(const struct blocks *b, struct blocks_cursor *c);
void blocks_frozen_next(const struct blocks *b, struct blocks_cursor *c);
/* The same, but what lies behind the cursor is given up: freed where only the frozen root showed
 * it, else the present sequence's alone (a write there copies nothing). At the end there is no
 * frozen root any more. So a thaw costs no more at once than a step. One walk per frozen root, by
 * this function alone once it has begun. */
void blocks_frozen_leave(struct blocks *b, struct blocks_cursor *c);
void blocks_thaw(struct blocks *b); /* frees what only the frozen root still showed, at once */

#endif
