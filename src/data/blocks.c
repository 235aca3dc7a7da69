/* Sequences of blocks: memory, walking, finding, snapshots. (What changes the tree is in
 * blocks_edit.c.)
 *
 *   height 0     root ─▶ block ─▶ bytes
 *   height 1     root ─▶ node ─▶ block, block, …
 *   height 2     root ─▶ node ─▶ node, node, … ─▶ block, block, …
 *
 * A B-tree of nodes with up to 63 children that all blocks lie under at the same depth. Nodes begin
 * small and grow; blocks are structs of their own, so that their addresses stay and a copy of a
 * node does not copy them.
 *
 * What a block holds need not begin where its memory does: a queue that is pushed or popped at its
 * head moves only where it begins (front), not the kilobytes behind.
 *
 * Invariants: no node is empty; a root node has two children or more; a parent knows each child's
 * weight and first key. While there is a frozen root, whatever bears an older epoch than b->epoch
 * belongs to it, and is either shown by the present root too, with all that is below it, or is
 * marked as gone. A write copies the whole path, so what lies below a node that is not gone has not
 * changed since: thawing walks only what was written meanwhile. A walk that leaves what it has read
 * (blocks_frozen_leave) thaws as it goes.
 *
 * No parent pointers (a copied path would have to change every child's): a cursor carries its path.
 * No reference counts: one frozen root is all that is ever needed, and a mark is cheaper.
 * Not a linked list as in Redis: LINDEX in the middle of a million elements, and a snapshot that
 * copies only what is written.
 * Thread: holder of the shard. */
#include "blocks_impl.h"

void blocks_init(struct blocks *b) { *b = (struct blocks){0}; }

/* ---- memory ---- */

struct blocks_node *node_new(struct blocks *b, unsigned cap)
{
    struct blocks_node *n = mem_try_alloc(node_len(cap));
    if (!n) return NULL;
    *n = (struct blocks_node){.epoch = b->epoch, .cap = (uint8_t)cap};
    b->bytes += mem_usable(n);
    return n;
}

struct blocks_node *node_copy(struct blocks *b, const struct blocks_node *n, unsigned cap)
{
    struct blocks_node *copy = node_new(b, cap);
    if (!copy) return NULL;
    copy->count = n->count;
    memcpy(node_children(copy), node_children(n), n->count * sizeof(void *));
    memcpy(node_weights(copy), node_weights(n), n->count * sizeof(uint64_t));
    memcpy(node_keys(copy), node_keys(n), n->count * sizeof(struct blocks_key));
    return copy;
}

void node_drop(struct blocks *b, struct blocks_node *n)
{
    size_t bytes = mem_usable(n);
    b->bytes -= bytes;
    if (blocks_shared(b, n->epoch)) {
        n->gone = true;
        b->frozen_bytes += bytes;
    } else {
        mem_free(n);
    }
}

struct block *block_new(struct blocks *b, const struct block_init *init)
{
    struct block *block = mem_try_alloc(sizeof(*block));
    if (!block) return NULL;
    size_t room = mem_usable(init->bytes);
    *block = (struct block){.bytes = init->bytes,
                            .key = init->key,
                            .len = init->len,
                            .room = room > UINT32_MAX ? UINT32_MAX : (uint32_t)room,
                            .count = init->count,
                            .epoch = b->epoch,
                            .flags = init->flags};
    b->bytes += mem_usable(block) + block->room;
    return block;
}

struct block *block_copy(struct blocks *b, const struct block *block)
{
    /* As much room again: who copies a block is about to write it. */
    struct block_init init = {.bytes = mem_try_alloc(block->room),
                              .len = block->len,
                              .count = block->count,
                              .flags = block->flags,
                              .key = block->key};
    if (!init.bytes) return NULL;
    struct block *copy = block_new(b, &init);
    if (!copy) {
        mem_free(init.bytes);
        return NULL;
    }
    copy->front = block->front;
    copy->bytes += block->front;
    memcpy(copy->bytes, block->bytes, block->len);
    return copy;
}

void block_drop(struct blocks *b, struct block *block)
{
    size_t bytes = mem_usable(block) + block->room;
    b->bytes -= bytes;
    if (blocks_shared(b, block->epoch)) {
        block->gone = true;
        b->frozen_bytes += bytes;
    } else {
        mem_free(block_start(block));
        mem_free(block);
    }
}

bool blocks_free_step(struct blocks *b, size_t budget, size_t *done)
{
    check(!b->frozen);
    size_t freed = 0;
    while (b->root && freed < budget) {
        struct blocks_cursor c;
        blocks_last(b, &c);
        freed += c.block->count ? c.block->count : 1;
        int rc = blocks_remove(b, &c);
        check(rc == 0); /* nothing is frozen, so nothing is copied */
    }
    *done = freed;
    return !b->root;
}

void blocks_deinit(struct blocks *b)
{
    size_t done;
    blocks_thaw(b);
    (void)blocks_free_step(b, SIZE_MAX, &done);
    blocks_init(b);
}

/* ---- a block's bytes ---- */

/* Another piece of memory, with `front` bytes before the `len` that are kept. */
static char *block_move(struct blocks *b, struct block *block, size_t want, size_t front,
                        size_t len)
{
    char *start = mem_try_alloc(want);
    if (!start) return NULL;
    size_t room = mem_usable(start);
    if (room > UINT32_MAX) room = UINT32_MAX;
    memcpy(start + front, block->bytes, len);
    mem_free(block_start(block));
    b->bytes += room - block->room;
    block->bytes = start + front;
    block->front = (uint32_t)front;
    block->room = (uint32_t)room;
    return block->bytes;
}

/* What to ask for where `len` bytes are needed and more will come. */
static size_t block_want(const struct block *block, size_t len)
{
    size_t want = (size_t)block->room * 2;
    if (want > BLOCK_ROOM_STEP) want = BLOCK_ROOM_STEP;
    return len < want ? want : len;
}

char *block_resize(struct blocks *b, struct block *block, size_t len)
{
    dcheck(!blocks_shared(b, block->epoch));
    if (likely(block->front + len <= block->room && len >= block->room / 2)) return block->bytes;
    if (len > UINT32_MAX) return NULL;
    size_t have = block->room - block->front; /* len may not yet tell what is there */
    if (block->front > 0 && (len <= block->room || len >= BLOCK_ROOM_STEP)) {
        block->bytes = memmove(block_start(block), block->bytes, have);
        block->front = 0;
        if (len <= block->room && len >= block->room / 2) return block->bytes;
    }
    size_t want = len > block->room ? block_want(block, len) : len;
    if (block->front > 0) return block_move(b, block, want, 0, have);
    char *bytes = mem_try_realloc(block->bytes, want);
    if (!bytes) return len <= block->room ? block->bytes : NULL;
    size_t room = mem_usable(bytes);
    if (room > UINT32_MAX) room = UINT32_MAX;
    b->bytes += room - block->room;
    block->bytes = bytes;
    block->room = (uint32_t)room;
    return bytes;
}

bool block_front_grow(struct blocks *b, struct block *block, size_t n)
{
    dcheck(!blocks_shared(b, block->epoch));
    if (unlikely(n > block->front)) {
        size_t len = block->len, total = len + n;
        if (total > UINT32_MAX) return false;
        /* Three quarters of what is free lie in front: who grows here will go on. */
        if (total <= block->room && (block->room >= BLOCK_ROOM_STEP ||
                                     block->room - total >= block->room / 8)) {
            size_t front = (block->room - total) / 4 * 3 + n;
            char *start = block_start(block);
            block->bytes = memmove(start + front, block->bytes, len);
            block->front = (uint32_t)front;
        } else {
            size_t want = block_want(block, total);
            if (!block_move(b, block, want, (want - total) / 4 * 3 + n, len)) return false;
        }
    }
    block->bytes -= n;
    block->front -= (uint32_t)n;
    return true;
}

void block_front_shrink(struct block *block, size_t n)
{
    block->bytes += n;
    block->front += (uint32_t)n;
}

void block_fit(struct blocks *b, struct block *block)
{
    dcheck(!blocks_shared(b, block->epoch));
    /* The allocator's sizes are an eighth apart: nothing is won below that. */
    if (block->room - block->len <= block->room / 8) return;
    char *bytes = mem_try_alloc(block->len);
    if (!bytes) return;
    size_t room = mem_usable(bytes);
    if (room >= block->room) {
        mem_free(bytes);
        return;
    }
    memcpy(bytes, block->bytes, block->len);
    mem_free(block_start(block));
    b->bytes -= block->room - room;
    block->bytes = bytes;
    block->front = 0;
    block->room = (uint32_t)room;
}

static char *lp_resize_block(struct lp *lp, size_t len)
{
    struct block_lp *e = CONTAINER_OF(lp, struct block_lp, lp);
    char *bytes = block_resize(e->blocks, e->block, len);
    if (bytes) lp->bytes = bytes;
    return bytes;
}

void block_lp_open(struct block_lp *e, struct blocks *b, struct block *block)
{
    dcheck(!blocks_shared(b, block->epoch));
    *e = (struct block_lp){
        .lp = {.bytes = block->bytes, .resize = lp_resize_block}, .blocks = b, .block = block};
}

/* ---- walking ---- */

void blocks_descend(struct blocks_cursor *c, unsigned level, unsigned height, bool last)
{
    for (;;) {
        void *child = node_children(c->path[level])[c->index[level]];
        if (++level == height) {
            c->block = child;
            return;
        }
        check(level < BLOCKS_HEIGHT_MAX);
        c->path[level] = child;
        c->index[level] = last ? (uint8_t)(c->path[level]->count - 1) : 0;
    }
}

static void from_root(void *root, unsigned height, struct blocks_cursor *c, bool last)
{
    if (height == 0) {
        c->block = root;
        return;
    }
    c->path[0] = root;
    c->index[0] = last ? (uint8_t)(c->path[0]->count - 1) : 0;
    blocks_descend(c, 0, height, last);
}

void blocks_settle(struct blocks_cursor *c, unsigned level, unsigned height)
{
    while (c->index[level] == c->path[level]->count) {
        if (level == 0) {
            c->block = NULL;
            return;
        }
        c->index[--level]++;
    }
    blocks_descend(c, level, height, false);
}

static void step_on(struct blocks_cursor *c, unsigned height)
{
    c->block = NULL;
    if (height == 0) return;
    c->index[height - 1]++;
    blocks_settle(c, height - 1, height);
}

void blocks_first(const struct blocks *b, struct blocks_cursor *c)
{
    from_root(b->root, b->height, c, false);
}

void blocks_last(const struct blocks *b, struct blocks_cursor *c)
{
    from_root(b->root, b->height, c, true);
}

void blocks_next(const struct blocks *b, struct blocks_cursor *c) { step_on(c, b->height); }

void blocks_prev(const struct blocks *b, struct blocks_cursor *c)
{
    c->block = NULL;
    for (unsigned level = b->height; level-- > 0;) {
        if (c->index[level] == 0) continue;
        c->index[level]--;
        blocks_descend(c, level, b->height, true);
        return;
    }
}

/* ---- finding ---- */

void blocks_at(const struct blocks *b, uint64_t index, struct blocks_cursor *c, uint32_t *in_block)
{
    c->block = NULL;
    if (index >= b->count) return;
    void *at = b->root;
    uint64_t total = b->count;
    for (unsigned level = 0; level < b->height; level++) {
        const uint64_t *weights = node_weights(at);
        unsigned i = 0;
        if (index < total / 2) {
            while (index >= weights[i]) index -= weights[i++];
        } else { /* from the nearer end: lists are popped there */
            uint64_t from_end = total - index;
            i = ((const struct blocks_node *)at)->count - 1u;
            while (from_end > weights[i]) from_end -= weights[i--];
            index = weights[i] - from_end;
        }
        total = weights[i];
        c->path[level] = at;
        c->index[level] = (uint8_t)i;
        at = node_children(at)[i];
    }
    c->block = at;
    *in_block = (uint32_t)index;
}

uint64_t blocks_rank(const struct blocks *b, const struct blocks_cursor *c)
{
    uint64_t rank = 0;
    for (unsigned level = 0; level < b->height; level++) {
        const uint64_t *weights = node_weights(c->path[level]);
        for (unsigned i = 0; i < c->index[level]; i++) rank += weights[i];
    }
    return rank;
}

static bool key_after(struct blocks_key a, struct blocks_key b)
{
    return a.high > b.high || (a.high == b.high && a.low > b.low);
}

void blocks_seek(const struct blocks *b, struct blocks_key key, struct blocks_cursor *c)
{
    c->block = NULL;
    void *at = b->root;
    for (unsigned level = 0; level < b->height; level++) {
        const struct blocks_node *n = at;
        const struct blocks_key *keys = node_keys(n);
        unsigned low = 0, high = n->count; /* keys[low - 1] <= key < keys[high] */
        while (low < high) {
            unsigned mid = (low + high) / 2;
            if (key_after(keys[mid], key)) high = mid;
            else low = mid + 1;
        }
        if (low == 0) return;
        c->path[level] = at;
        c->index[level] = (uint8_t)(low - 1);
        at = node_children(n)[low - 1];
    }
    struct block *block = at;
    if (block && !key_after(block->key, key)) c->block = block;
}

/* ---- snapshots ---- */

void blocks_freeze(struct blocks *b)
{
    check(!b->frozen);
    if (!b->root) return;
    b->frozen = b->root;
    b->frozen_height = b->height;
    b->frozen_blocks = b->blocks;
    b->epoch++;
}

void blocks_frozen_first(const struct blocks *b, struct blocks_cursor *c)
{
    from_root(b->frozen, b->frozen_height, c, false);
}

void blocks_frozen_next(const struct blocks *b, struct blocks_cursor *c)
{
    step_on(c, b->frozen_height);
}

static void frozen_end(struct blocks *b)
{
    b->frozen = NULL;
    b->frozen_height = 0;
    b->frozen_blocks = 0;
    b->frozen_bytes = 0;
    b->leaving = false;
}

static void leave_block(struct blocks *b, struct block *block)
{
    if (!block->gone) {
        block->epoch = b->epoch;
        return;
    }
    b->frozen_bytes -= mem_usable(block) + block->room;
    mem_free(block_start(block));
    mem_free(block);
}

static void leave_node(struct blocks *b, struct blocks_node *n)
{
    if (!n->gone) {
        n->epoch = b->epoch;
        return;
    }
    b->frozen_bytes -= mem_usable(n);
    mem_free(n);
}

/* A node that has not been left is shared, so nothing has changed in it, and what stands in it
 * before the cursor is not looked at again: it may be freed by whoever owns it now. */
void blocks_frozen_leave(struct blocks *b, struct blocks_cursor *c)
{
    unsigned level = b->frozen_height;
    b->leaving = true;
    leave_block(b, c->block);
    c->block = NULL;
    for (; level > 0; level--) {
        struct blocks_node *n = c->path[level - 1];
        if (++c->index[level - 1] < n->count) {
            blocks_descend(c, level - 1, b->frozen_height, false);
            return;
        }
        leave_node(b, n);
    }
    check(b->frozen_bytes == 0);
    frozen_end(b);
}

/* Depth is the tree's height, so this recursion is bounded. */
static void thaw_below(void *at, unsigned height)
{
    if (height == 0) {
        struct block *block = at;
        if (!block->gone) return;
        mem_free(block_start(block));
        mem_free(block);
        return;
    }
    struct blocks_node *n = at;
    if (!n->gone) return;
    for (unsigned i = 0; i < n->count; i++) thaw_below(node_children(n)[i], height - 1);
    mem_free(n);
}

void blocks_thaw(struct blocks *b)
{
    if (!b->frozen) return;
    check(!b->leaving);
    thaw_below(b->frozen, b->frozen_height);
    frozen_end(b);
}
