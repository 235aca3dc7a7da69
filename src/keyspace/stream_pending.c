/* Pending entries: records of one size that begin with a stream id, sorted by it.
 *
 *   struct blocks ─▶ block ─▶ record, record, …      at most BLOCK_BYTES, never empty
 *                    key: no greater than its first id, greater than all ids before it
 *
 * A group has one such sequence (struct stream_nack), each of its consumers another (ids only), so
 * that XACK, XCLAIM and XREADGROUP find and move one record in O(log n) and a consumer's history is
 * a plain walk. 40 + 16 bytes per pending entry; Redis' two radix trees and a block of its own for
 * every entry take about three times that.
 *
 * The first block's key is 0-0 whenever it was made for an id smaller than all others, so that ids
 * that come in falling order fill a block instead of making one each. Sparse blocks join their
 * neighbour: entries that are acknowledged at random leave no half-empty sequence behind.
 *
 * A third kind of sequence, by the time of delivery, is there for groups that are read with CLAIM
 * (stream_age.c). Its 24-byte keys do not fit a block's: places are found by halving ranks.
 *
 * Why not a rax, as Redis? Snapshots need epoch copies (DESIGN section 6), which blocks have, and
 * 16-byte keys that differ in their last bytes are what a radix tree is worst at.
 * Thread: holder of the shard. */
#include "stream_impl.h"

#define BLOCK_BYTES 2560u
static_assert(sizeof(struct stream_nack) == 40, "64 records are one block");

static inline uint32_t cap_of(unsigned record) { return BLOCK_BYTES / record; }

static inline struct stream_id record_id(const void *record)
{
    struct stream_id id;
    memcpy(&id, record, sizeof(id));
    return id;
}

static inline int compare(unsigned record, const void *a, const void *b)
{
    if (record != RECORD_AGED) return stream_id_compare(record_id(a), record_id(b));
    struct stream_aged x, y;
    memcpy(&x, a, sizeof(x));
    memcpy(&y, b, sizeof(y));
    return stream_aged_compare(x, y);
}

/* True: *index is the record's; else where it would go. */
static bool search(const struct block *block, unsigned record, const void *what, uint32_t *index)
{
    uint32_t low = 0, high = block->count;
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        int order = compare(record, block->bytes + (size_t)mid * record, what);
        if (order == 0) {
            *index = mid;
            return true;
        }
        if (order < 0) low = mid + 1;
        else high = mid;
    }
    *index = low;
    return false;
}

/* The block where a record of ages is or goes; c->block NULL: there is none at all. What is newer
 * than all others, and what is older, is found at once. */
static void seek_aged(const struct blocks *b, const void *what, struct blocks_cursor *c)
{
    uint64_t low = 0, high = b->count; /* its rank */
    blocks_last(b, c);
    if (!c->block || compare(RECORD_AGED, c->block->bytes, what) <= 0) return;
    blocks_first(b, c);
    while (compare(RECORD_AGED, c->block->bytes, what) > 0 ||
           compare(RECORD_AGED, c->block->bytes + (size_t)(c->block->count - 1) * RECORD_AGED,
                   what) < 0) {
        uint64_t rank = blocks_rank(b, c);
        if (compare(RECORD_AGED, c->block->bytes, what) > 0) high = rank;
        else low = rank + c->block->count;
        if (low >= high) break; /* between two blocks: either will do */
        uint32_t in_block;
        blocks_at(b, low + (high - low) / 2, c, &in_block);
    }
}

/* False with c->block NULL: smaller than every block's key. */
static bool locate(const struct blocks *b, unsigned record, const void *what,
                   struct blocks_cursor *c, uint32_t *index)
{
    *index = 0;
    if (record == RECORD_AGED) seek_aged(b, what, c);
    else blocks_seek(b, key_of_id(record_id(what)), c);
    return c->block && search(c->block, record, what, index);
}

const void *pending_find(const struct blocks *b, unsigned record, struct stream_id id)
{
    struct blocks_cursor c;
    uint32_t index;
    if (!locate(b, record, &id, &c, &index)) return NULL;
    return c.block->bytes + (size_t)index * record;
}

void *pending_edit(struct blocks *b, unsigned record, struct stream_id id, int *rc)
{
    struct blocks_cursor c;
    uint32_t index;
    *rc = 0;
    if (!locate(b, record, &id, &c, &index)) return NULL;
    *rc = blocks_own(b, &c);
    return *rc ? NULL : c.block->bytes + (size_t)index * record;
}

/* ---- inserting ---- */

/* The records' copy as a new block. NULL bytes: no memory. */
static struct block_init block_of(unsigned record, const void *records, uint32_t count,
                                  struct stream_id key)
{
    size_t len = (size_t)record * count;
    struct block_init init = {.bytes = mem_try_alloc(count == 1 ? len * 2 : len),
                              .len = (uint32_t)len,
                              .count = count,
                              .key = key_of_id(key)};
    if (init.bytes) memcpy(init.bytes, records, len);
    return init;
}

static int add_block(struct blocks *b, unsigned record, const void *what, struct stream_id key,
                     bool front)
{
    struct blocks_cursor c;
    struct block_init init = block_of(record, what, 1, key);
    if (!init.bytes) return -ENOMEM;
    int rc = front ? blocks_prepend(b, &init, &c) : blocks_append(b, &init, &c);
    if (rc) mem_free(init.bytes);
    return rc;
}

/* The upper half becomes a block behind it. */
static int split(struct blocks *b, unsigned record, struct blocks_cursor *c)
{
    if (blocks_own(b, c)) return -ENOMEM;
    uint32_t keep = c->block->count / 2;
    const char *upper = c->block->bytes + (size_t)keep * record;
    struct block_init init = block_of(record, upper, c->block->count - keep, record_id(upper));
    if (!init.bytes) return -ENOMEM;
    if (blocks_insert_after(b, c, &init)) {
        mem_free(init.bytes);
        return -ENOMEM;
    }
    blocks_prev(b, c);
    blocks_changed(b, c, keep * record, keep);
    return 0;
}

int pending_insert(struct blocks *b, unsigned record, const void *what)
{
    struct stream_id id = record_id(what);
    struct blocks_cursor c;
    uint32_t index;
    bool found = locate(b, record, what, &c, &index);
    dcheck(!found);
    (void)found;
    if (!c.block) return add_block(b, record, what, STREAM_ID_MIN, true);
    if (c.block->count >= cap_of(record)) {
        struct blocks_cursor next = c;
        blocks_next(b, &next);
        if (!next.block && index == c.block->count) return add_block(b, record, what, id, false);
        if (split(b, record, &c)) return -ENOMEM;
        (void)locate(b, record, what, &c, &index);
    }
    if (blocks_own(b, &c)) return -ENOMEM;
    uint32_t count = c.block->count, len = count * record;
    char *bytes = block_resize(b, c.block, len + record);
    if (!bytes) return -ENOMEM;
    char *at = bytes + (size_t)index * record;
    memmove(at + record, at, len - (size_t)index * record);
    memcpy(at, what, record);
    blocks_changed(b, &c, len + record, count + 1);
    return 0;
}

/* ---- removing ---- */

/* What follows the cursor's owned block goes into it, if the two are sparse. */
static void join_next(struct blocks *b, unsigned record, struct blocks_cursor *c)
{
    struct blocks_cursor next = *c;
    blocks_next(b, &next);
    if (b->frozen || !next.block) return;
    uint32_t count = c->block->count, more = next.block->count;
    if (count + more > cap_of(record) * 3 / 4) return;
    char *bytes = block_resize(b, c->block, (size_t)(count + more) * record);
    if (!bytes) return;
    memcpy(bytes + (size_t)count * record, next.block->bytes, (size_t)more * record);
    blocks_changed(b, c, (count + more) * record, count + more);
    int rc = blocks_remove(b, &next);
    check(rc == 0); /* nothing is frozen */
}

int pending_remove(struct blocks *b, unsigned record, const void *what)
{
    struct blocks_cursor c;
    uint32_t index;
    if (!locate(b, record, what, &c, &index)) return 0;
    if (blocks_own(b, &c)) return -ENOMEM;
    uint32_t count = c.block->count - 1, len = count * record;
    if (count == 0) return blocks_remove(b, &c) ? -ENOMEM : 1;
    char *at = c.block->bytes + (size_t)index * record;
    memmove(at, at + record, len - (size_t)index * record);
    blocks_changed(b, &c, len, count);
    if (count < cap_of(record) / 4) {
        join_next(b, record, &c);
        if (c.block->room > 2 * c.block->len) block_fit(b, c.block);
    }
    return 1;
}

/* ---- walking ---- */

void stream_pending_seek(struct stream_pending *p, const struct stream_group *g,
                         const struct stream_consumer *consumer, struct stream_id from)
{
    p->blocks = consumer ? &consumer->pending : &g->pending;
    p->record = consumer ? RECORD_ID : RECORD_NACK;
    (void)locate(p->blocks, p->record, &from, &p->at, &p->index);
    if (!p->at.block) blocks_first(p->blocks, &p->at);
}

const void *stream_pending_next(struct stream_pending *p)
{
    while (p->at.block && p->index >= p->at.block->count) {
        blocks_next(p->blocks, &p->at);
        p->index = 0;
    }
    if (!p->at.block) return NULL;
    return p->at.block->bytes + (size_t)p->index++ * p->record;
}
