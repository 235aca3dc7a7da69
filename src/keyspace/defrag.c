/* Active defragmentation: survivors of random deletes are moved together.
 *
 *   choose ──▶ walk the tables ──▶ end
 *   slab.c:    whatever lies in a     pages that could not
 *   sparse     chosen page is copied  be emptied take new
 *   pages      to another one         blocks again
 *
 * All small memory of a shard lies in its slab, in pages of one block size. Filling and deleting at
 * random leaves every page with a few blocks, and blocks of another size cannot use the gaps. So
 * these blocks are copied into the fullest pages of their class, and the empty page goes back to
 * the system at once. Blocks above 1 KiB are mimalloc's and stay (bench/memory/run.py churn).
 *
 * Why a walk over keys, and not over the sparse pages? A block does not say what it is, and has no
 * way back to the slot that points to it: that would cost eight bytes in each. The walk is the
 * table's own, in hash order, as the snapshot's: it survives growth, and looks at a page header
 * (hot: 64 of them lie together) for each key that it passes over.
 *
 * Why this is safe:
 *   - It runs between commands, by the shard's owner, who holds it. Nobody keeps a pointer to an
 *     entry beyond its command: waiters, watchers, scripts, locks and the log know keys by name; a
 *     prefetch hint points to a slot, which is read again; eviction's candidates are confirmed by
 *     the table before they are looked at.
 *   - To the table a move is what SET of another length is: the slot's pointer changes, its bits
 *     stay. So a key that a snapshot has told remains told, and nothing has to be told because
 *     nothing has changed: contents, TTLs, access times are copied as they are.
 *   - Members of hashes, sets and sorted sets move under their own dict's slots (and a sorted
 *     set's leaf names the new block); objects themselves do not move, so a snapshot's duty, which
 *     is a pointer to the object, stays good. Values that were handed over to a snapshot or wait to
 *     be freed are in no table, so nobody meets them here.
 *   - A walk over members (HSCAN, the snapshot's) is by hash; no cursor names a block.
 * Lists and streams keep their elements in nodes of their own, which are not of the slab.
 *
 * A large collection is put off and done in slices of its own, found again by its key's name.
 * Thread: holder of the shard. */
#include "splitring/keyspace/defrag.h"

#include "shard.h"
#include "splitring/base/slab.h"

#define CHUNKS_PER_STEP 32u  /* of page headers: 64 KiB */
#define SLOTS_PER_LOOK 16u   /* between two looks at the budget */
#define MEMBERS_AT_ONCE 64u  /* more are put off */
#define PAGES_PER_STEP 512u
#define LATER_MAX 64u
#define MOVE_COST 4u         /* a copy, in slots looked at */

enum phase { IDLE, CHOOSE, WALK, END };

struct later {
    uint64_t hash;
    char *key;
    size_t len;
};

struct defrag {
    enum phase phase;
    uint32_t db;
    uint64_t cursor;
    struct later later[LATER_MAX]; /* large collections of this database that were met */
    unsigned later_count;
    uint64_t member_cursor; /* in the last of them */
    size_t spent;
    struct defrag_counts counts;
};

/* ---- blocks ---- */

void *shard_copied(struct shard *shard, const void *block, size_t len)
{
    struct defrag *d = shard->defrag;
    void *same = (void *)(uintptr_t)block;
    if (len > SLAB_BLOCK_MAX) return same;
    d->spent++;
    if (likely(!slab_evacuates(shard->slab, block))) {
        d->counts.misses++;
        return same;
    }
    void *moved = slab_alloc(shard->slab, len);
    if (!moved) return same;
    memcpy(moved, block, len);
    d->counts.hits++;
    d->spent += MOVE_COST;
    return moved;
}

void *shard_moved(struct shard *shard, void *block, size_t len)
{
    void *moved = shard_copied(shard, block, len);
    if (moved != block) slab_free(shard->slab, block, len);
    return moved;
}

/* ---- keys ---- */

static void put_off(struct shard *shard, const struct entry *e)
{
    struct defrag *d = shard->defrag;
    struct slice key = entry_key(e);
    if (d->later_count == LATER_MAX) return; /* the next round may find it */
    char *copy = mem_try_alloc(key.len);
    if (!copy) return;
    if (key.len) memcpy(copy, key.ptr, key.len);
    d->later[d->later_count++] =
        (struct later){.hash = hash_key(key, shard->options.seed), .key = copy, .len = key.len};
}

static void *visit_entry(void *ctx, void *entry)
{
    struct shard *shard = ctx;
    struct defrag *d = shard->defrag;
    uint64_t before = d->counts.hits;
    struct entry *e = shard_moved(shard, entry, entry_len(entry));
    struct object *object = kind_is_object(e->kind) ? entry_pointer(e) : NULL;
    if (object && object->ops->evacuate) {
        size_t looked;
        if (object->ops->count(object) <= MEMBERS_AT_ONCE)
            (void)object->ops->evacuate(shard, object, 0, SIZE_MAX, &looked);
        else
            put_off(shard, e);
    }
    if (d->counts.hits != before) d->counts.key_hits++;
    else d->counts.key_misses++;
    return e;
}

/* A slice of the large collection that was put off last. */
static void large_step(struct shard *shard)
{
    struct defrag *d = shard->defrag;
    struct later *l = &d->later[d->later_count - 1];
    const struct table *table = d->db < shard->options.databases ? shard->dbs[d->db].table : NULL;
    const struct entry *e =
        table && table_count(table) ? table_find(table, l->hash, slice_of(l->key, l->len)) : NULL;
    struct object *object = e && kind_is_object(e->kind) ? entry_pointer(e) : NULL;
    size_t looked = 0;
    if (object && object->ops->evacuate)
        d->member_cursor =
            object->ops->evacuate(shard, object, d->member_cursor, MEMBERS_AT_ONCE, &looked);
    else
        d->member_cursor = 0; /* it has gone meanwhile */
    d->spent += looked + 1;
    if (d->member_cursor) return;
    mem_free(l->key);
    d->later_count--;
}

static void walk_step(struct shard *shard)
{
    struct defrag *d = shard->defrag;
    size_t looked = 0;
    if (d->later_count) {
        large_step(shard);
        return;
    }
    if (d->db >= shard->dbs_used || !slab_evacuate_any(shard->slab)) {
        d->phase = END;
        return;
    }
    struct table *table = shard->dbs[d->db].table;
    d->cursor = !table ? 0
                       : table_move(table, d->cursor, SLOTS_PER_LOOK, visit_entry, shard, &looked);
    d->spent += looked + 1;
    if (d->cursor == 0) d->db++;
}

/* ---- rounds ---- */

bool shard_defrag_start(struct shard *shard)
{
    if (!shard->defrag) shard->defrag = mem_try_zalloc(sizeof(*shard->defrag));
    struct defrag *d = shard->defrag;
    if (!d || d->phase != IDLE || !slab_evacuate_start(shard->slab)) return false;
    d->phase = CHOOSE;
    d->db = 0;
    d->cursor = d->member_cursor = 0;
    return true;
}

bool shard_defrag_runs(const struct shard *shard)
{
    return shard->defrag && shard->defrag->phase != IDLE;
}

static void forget_later(struct defrag *d)
{
    while (d->later_count) mem_free(d->later[--d->later_count].key);
    d->member_cursor = 0;
}

void shard_defrag_stop(struct shard *shard)
{
    if (!shard_defrag_runs(shard)) return;
    forget_later(shard->defrag);
    shard->defrag->phase = END;
}

bool shard_defrag_step(struct shard *shard, size_t budget)
{
    struct defrag *d = shard->defrag;
    if (!shard_defrag_runs(shard)) return false;
    d->spent = 0;
    while (d->spent < budget && d->phase != IDLE) {
        switch (d->phase) {
        case CHOOSE:
            if (!slab_evacuate_choose(shard->slab, CHUNKS_PER_STEP)) d->phase = WALK;
            d->spent += CHUNKS_PER_STEP * 64u / MOVE_COST;
            break;
        case WALK: walk_step(shard); break;
        case END:
            if (!slab_evacuate_end(shard->slab, PAGES_PER_STEP)) d->phase = IDLE;
            d->spent += PAGES_PER_STEP;
            break;
        case IDLE: break;
        }
    }
    return d->phase != IDLE;
}

struct defrag_counts shard_defrag_counts(const struct shard *shard)
{
    if (!shard->defrag) return (struct defrag_counts){0};
    shard->defrag->counts.freed = slab_evacuated(shard->slab);
    return shard->defrag->counts;
}

void defrag_drop(struct shard *shard)
{
    if (!shard->defrag) return;
    forget_later(shard->defrag);
    mem_free(shard->defrag);
    shard->defrag = NULL;
}
