/* Freeing without stalling: whole databases and big values leave the keyspace at once and their
 * memory follows in slices, between commands.
 *
 * A flushed table is detached and its entries handed out a few at a time (table_drain). A blob of
 * many pages gives them back in pieces from its end, because the kernel's time to take 512 MiB at
 * once would be a stall of tens of milliseconds; then the block itself is freed. Objects free
 * themselves in steps. The queue is first in, first out.
 *
 * SYNC differs from ASYNC in that small things are freed on the spot; a table of millions is freed
 * in slices in both cases, and its keys are gone in both cases when the command answers.
 * Thread: holder of the shard. */
#include "shard.h"

#define SYNC_ENTRIES 4096u              /* freed on the spot by FLUSHALL SYNC */
#define BLOB_SLICE (2u * 1024u * 1024u) /* pages given back per step */
#define BLOB_SLICE_COST 256u            /* what that is worth in entries */

/* A table's entries are not walked for this: they are taken to be as large as the shard's
 * others. */
static size_t worth_of(const struct shard *shard, const struct doomed *d)
{
    if (d->kind == DOOMED_BLOB) return mem_usable(d->what);
    if (d->kind == DOOMED_OBJECT) {
        const struct object *object = d->what;
        return object->ops->bytes(object);
    }
    size_t data = slab_bytes_used(shard->slab) + shard->big_bytes, live = 0;
    data -= data > shard->doomed_worth ? shard->doomed_worth : data;
    for (uint32_t i = 0; i < shard->dbs_used; i++) live += shard_db_keys(shard, (db_id)i);
    return d->bytes + (size_t)((double)data * (double)d->left / (double)(live + d->left + 1));
}

static size_t worth_left(const struct doomed *d)
{
    if (d->kind == DOOMED_BLOB || d->left >= d->all) return d->worth;
    return (size_t)((double)d->worth * (double)d->left / (double)d->all);
}

void shard_doom(struct shard *shard, enum doomed_kind kind, void *what, size_t left)
{
    struct doomed *d = slab_alloc(shard->slab, sizeof(*d));
    *d = (struct doomed){.what = what, .left = left, .all = left, .kind = kind};
    if (kind == DOOMED_TABLE) d->bytes = table_bytes(what);
    d->worth = worth_of(shard, d);
    shard->doomed_bytes += d->bytes;
    shard->doomed_worth += d->worth;
    if (shard->doomed_last) shard->doomed_last->next = d;
    else shard->doomed_first = d;
    shard->doomed_last = d;
    shard->stats.lazyfree_pending += kind == DOOMED_TABLE ? left : 1;
}

static void finished(struct shard *shard, uint64_t count)
{
    shard->stats.lazyfree_pending -= count;
    shard->stats.lazyfreed += count;
}

struct drain {
    struct shard *shard;
    size_t count;
};

static void drain_entry(void *ctx, void *entry)
{
    struct drain *drain = ctx;
    entry_free(drain->shard, entry, true);
    drain->count++;
}

/* True when nothing is left of it. */
static bool table_step(struct shard *shard, struct doomed *d, size_t budget, size_t *done)
{
    struct drain drain = {.shard = shard};
    bool more = table_drain(d->what, budget, drain_entry, &drain);
    finished(shard, drain.count);
    d->left -= drain.count < d->left ? drain.count : d->left;
    *done = drain.count + 1;
    if (more) return false;
    table_free(d->what);
    return true;
}

static bool blob_step(struct shard *shard, struct doomed *d, size_t budget, size_t *done)
{
    size_t slices = budget / BLOB_SLICE_COST + 1;
    const uintptr_t base = (uintptr_t)d->what, page = 4096;
    *done = BLOB_SLICE_COST;
    if (budget != SIZE_MAX) {
        for (; slices > 0 && d->left > BLOB_SLICE; slices--) {
            uintptr_t end = (base + d->left) & ~(page - 1);
            d->left -= BLOB_SLICE;
            uintptr_t start = (base + d->left + page - 1) & ~(page - 1);
            mem_discard((char *)d->what + (start - base), end - start);
            *done += BLOB_SLICE_COST;
        }
        if (slices == 0) return false;
    }
    shard->big_bytes -= mem_usable(d->what);
    mem_free(d->what);
    finished(shard, 1);
    return true;
}

static bool object_step(struct shard *shard, struct doomed *d, size_t budget, size_t *done)
{
    struct object *object = d->what;
    bool all = object->ops->free_step(shard, object, budget, done);
    d->left -= *done < d->left ? *done : d->left;
    if (!all) return false;
    *done += 1;
    finished(shard, 1);
    return true;
}

static bool doomed_step(struct shard *shard, struct doomed *d, size_t budget, size_t *done)
{
    switch (d->kind) {
    case DOOMED_TABLE: return table_step(shard, d, budget, done);
    case DOOMED_BLOB: return blob_step(shard, d, budget, done);
    case DOOMED_OBJECT: return object_step(shard, d, budget, done);
    }
    return true;
}

size_t shard_free_step(struct shard *shard, size_t budget)
{
    size_t total = 0;
    while (shard->doomed_first && total < budget) {
        struct doomed *d = shard->doomed_first;
        size_t done = 0, worth = worth_left(d);
        bool all = doomed_step(shard, d, budget == SIZE_MAX ? SIZE_MAX : budget - total, &done);
        total += done;
        shard->doomed_worth -= worth;
        if (!all) {
            shard->doomed_worth += worth_left(d);
            continue;
        }
        shard->doomed_bytes -= d->bytes;
        shard->doomed_first = d->next;
        if (!d->next) shard->doomed_last = NULL;
        slab_free(shard->slab, d, sizeof(*d));
    }
    /* What a snapshot left behind that was given up. */
    if (unlikely(shard->snapshot != NULL) && !shard->snapshot_on && total < budget) {
        (void)snapshot_level(shard, budget - total);
        total = budget;
    }
    return total;
}

/* ---- whole databases ---- */

static size_t flush_shard_db(struct shard *shard, db_id id, bool async)
{
    struct db *db = shard_db(shard, id);
    struct table *table = db->table;
    shard_touched(shard, id, slice_of(NULL, 0));
    if (unlikely(shard->waiters) && shard->ready)
        shard->ready(shard->ready_ctx, shard, id, slice_of(NULL, 0));
    if (!table) return 0;
    size_t count = table_count(table);
    *db = (struct db){0};
    shard->epoch++;
    if (snapshot_takes_table(shard, table)) return count;
    struct drain drain = {.shard = shard};
    if (!async && !table_drain(table, SYNC_ENTRIES, drain_entry, &drain)) {
        table_free(table);
        return count;
    }
    shard_doom(shard, DOOMED_TABLE, table, count - drain.count);
    return count;
}

/* The shard's clock goes first: who watches a key is told whether it was there, by that time. */
size_t ks_flush_db(struct ks *ks, db_id db, bool async)
{
    size_t count = 0;
    for (uint32_t i = 0; i < (ks->shard ? 1 : ks->shard_count); i++) {
        struct shard *shard = ks->shard ? ks->shard : ks->shards[i];
        (void)shard_now(shard, ks->now);
        count += flush_shard_db(shard, db, async);
    }
    return count;
}

static void swap_shard_db(struct shard *shard, db_id a, db_id b)
{
    struct db *x = shard_db(shard, a), *y = shard_db(shard, b), held = *x;
    shard_touched(shard, a, slice_of(NULL, 0));
    shard_touched(shard, b, slice_of(NULL, 0));
    *x = *y;
    *y = held;
    snapshot_swapped(shard, a, b);
    shard->epoch++;
    uint32_t used = (a > b ? a : b) + 1u;
    if (used > shard->dbs_used) shard->dbs_used = used;
    shard_touched(shard, a, slice_of(NULL, 0));
    shard_touched(shard, b, slice_of(NULL, 0));
    if (unlikely(shard->waiters) && shard->ready) {
        shard->ready(shard->ready_ctx, shard, a, slice_of(NULL, 0));
        shard->ready(shard->ready_ctx, shard, b, slice_of(NULL, 0));
    }
}

void ks_swap_db(struct ks *ks, db_id a, db_id b)
{
    if (a == b) return;
    for (uint32_t i = 0; i < (ks->shard ? 1 : ks->shard_count); i++) {
        struct shard *shard = ks->shard ? ks->shard : ks->shards[i];
        (void)shard_now(shard, ks->now);
        swap_shard_db(shard, a, b);
    }
}

size_t ks_db_keys(const struct ks *ks, db_id db)
{
    if (ks->shard) return shard_db_keys(ks->shard, db);
    size_t count = 0;
    for (uint32_t i = 0; i < ks->shard_count; i++) count += shard_db_keys(ks->shards[i], db);
    return count;
}
