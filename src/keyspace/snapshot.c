/* A snapshot of one shard: the walk, and what writers owe it.
 *
 * Told or not is one bit in the slot, beside the tag, so it follows its key through growth, splits
 * and another block, and costs no memory. `saved_bit` is the sense in which it counts as told; the
 * cut flips the sense, and all keys are untold at once. A key that is stored for the first time
 * bears the present sense: it did not exist at the cut, or its earlier self was told when it went.
 *
 * The walk holds the tables of the cut with their numbers of then: SWAPDB changes who reaches a
 * table, not what it was, and a table that is flushed while it has not been told leaves the
 * keyspace, is walked on, and only then freed (the old FLUSHALL cost no time either).
 *
 * An abort leaves bits of both senses behind. The same walk then goes on without telling anybody,
 * as a part of shard_free_step, until all agree; keys that are made meanwhile agree already.
 *
 * Why not epochs in the entries? Eight bytes per key that nobody needs between snapshots. Why not
 * "position behind the cursor" as the bit? A key that is written before the walk gets there must
 * be remembered all the same.
 * Thread: holder of the shard. */
#include "snapshot_impl.h"

#define TOLD_COST 8u /* a key that is told, in slots looked at */

/* ---- begin and end ---- */

bool shard_snapshot_running(const struct shard *shard) { return shard->snapshot_on; }

bool shard_snapshot_failed(const struct shard *shard)
{
    return shard->snapshot_on && shard->snapshot->failed;
}

bool shard_snapshot_ready(const struct shard *shard) { return shard->snapshot == NULL; }

void shard_snapshot_begin(struct shard *shard, const struct snapshot_sink *sink)
{
    check(!shard->snapshot_on);
    while (shard->snapshot) (void)snapshot_level(shard, SIZE_MAX);
    struct snapshot *s = mem_zalloc(sizeof(*s));
    uint32_t databases = shard->options.databases;
    s->sink = *sink;
    s->db_of_cut = mem_alloc(databases * sizeof(*s->db_of_cut));
    for (uint32_t i = 0; i < databases; i++) s->db_of_cut[i] = (db_id)i;
    s->held = mem_zalloc((shard->dbs_used + 1u) * sizeof(*s->held));
    for (uint32_t i = 0; i < shard->dbs_used; i++) {
        struct table *table = shard->dbs[i].table;
        if (!table) continue;
        s->held[s->held_count++] = (struct held_table){.table = table, .db = (db_id)i};
        s->keys += table_count(table);
    }
    shard->snapshot = s;
    shard->snapshot_on = true;
    shard->saved_bit ^= TABLE_BIT_SAVED;
}

/* The walk is through this table. */
static void let_go(struct shard *shard, struct held_table *held)
{
    struct snapshot *s = shard->snapshot;
    if (!held->detached) return;
    s->table_bytes -= table_bytes(held->table);
    shard_doom(shard, DOOMED_TABLE, held->table, table_count(held->table));
}

static void finish(struct shard *shard)
{
    struct snapshot *s = shard->snapshot;
    shard->snapshot = NULL;
    shard->snapshot_on = false;
    mem_free(s->db_of_cut);
    mem_free(s->held);
    mem_free(s);
}

void shard_snapshot_abort(struct shard *shard)
{
    struct snapshot *s = shard->snapshot;
    if (!shard->snapshot_on) return;
    uint32_t kept = 0;
    for (uint32_t i = s->held_at; i < s->held_count; i++) {
        if (s->held[i].detached) let_go(shard, &s->held[i]);
        else s->held[kept++] = s->held[i];
    }
    s->held_at = 0;
    s->held_count = kept;
    snapshot_big_abort(shard);
    s->levelling = true;
    shard->snapshot_on = false;
}

/* ---- the walk ---- */

struct slice_walk {
    struct shard *shard;
    const struct held_table *held;
};

static void tell(struct shard *shard, db_id db, const struct entry *e)
{
    struct snapshot *s = shard->snapshot;
    s->told++;
    if (!snapshot_big_begin(shard, db, e)) s->sink.entry(s->sink.ctx, db, e);
}

static bool tell_walked(void *ctx, void *entry)
{
    const struct slice_walk *walk = ctx;
    struct snapshot *s = walk->shard->snapshot;
    tell(walk->shard, walk->held->db, entry);
    snapshot_spend(s, TOLD_COST);
    return !s->bigs && snapshot_goes_on(s);
}

static bool pass_over(void *ctx, void *entry)
{
    (void)ctx, (void)entry;
    return true;
}

/* One table as far as the budget goes; false: there is no more of it. */
static bool walk_table(struct shard *shard, struct held_table *held)
{
    struct snapshot *s = shard->snapshot;
    struct slice_walk walk = {shard, held};
    size_t looked = 0;
    held->cursor = table_mark(held->table, held->cursor, TABLE_BIT_SAVED, shard->saved_bit,
                              s->budget, s->levelling ? pass_over : tell_walked, &walk, &looked);
    snapshot_spend(s, looked);
    return held->cursor != 0;
}

static bool walk(struct shard *shard, size_t budget)
{
    struct snapshot *s = shard->snapshot;
    s->budget = budget > 0 ? budget : 1;
    while ((s->bigs || s->held_at < s->held_count) && s->budget > 0) {
        if (!s->levelling && !snapshot_goes_on(s)) return true;
        if (s->bigs) {
            snapshot_big_step(shard);
            continue;
        }
        struct held_table *held = &s->held[s->held_at];
        if (walk_table(shard, held)) continue;
        let_go(shard, held);
        s->held_at++;
    }
    if (s->bigs || s->held_at < s->held_count) return true;
    finish(shard);
    return false;
}

bool shard_snapshot_step(struct shard *shard, size_t budget)
{
    return shard->snapshot_on && walk(shard, budget);
}

bool snapshot_level(struct shard *shard, size_t budget)
{
    return shard->snapshot && shard->snapshot->levelling && walk(shard, budget);
}

/* ---- what writers owe ---- */

void snapshot_tell(struct place *p)
{
    struct shard *shard = p->shard;
    struct snapshot *s = shard->snapshot;
    unsigned bits = table_slot_bits(p->slot);
    if ((bits & TABLE_BIT_SAVED) == shard->saved_bit) return;
    table_slot_set_bits(p->slot, bits ^ TABLE_BIT_SAVED);
    tell(shard, s->db_of_cut[p->db - shard->dbs], p->entry);
}

void snapshot_tell_key(struct ks *ks, struct slice key)
{
    struct place p = {.shard = ks_shard_of(ks, key)};
    if (!p.shard->snapshot_on) return;
    p.db = shard_db(p.shard, ks->db);
    p.table = p.db->table;
    if (!p.table) return;
    p.slot = ks_slot(ks, p.shard, p.table, key, &p.hash);
    if (!p.slot) return;
    p.entry = table_slot_entry(p.slot);
    snapshot_tell(&p);
    snapshot_keep_packed(p.shard, p.entry);
}

bool snapshot_takes_table(struct shard *shard, struct table *table)
{
    struct snapshot *s = shard->snapshot;
    if (!s) return false;
    for (uint32_t i = s->held_at; i < s->held_count; i++) {
        struct held_table *held = &s->held[i];
        if (held->table != table) continue;
        /* Nobody has to bring the bits of keys into line that are gone. */
        if (s->levelling) {
            *held = s->held[--s->held_count];
            return false;
        }
        held->detached = true;
        s->table_bytes += table_bytes(table);
        return true;
    }
    return false;
}

void snapshot_swapped(struct shard *shard, db_id a, db_id b)
{
    struct snapshot *s = shard->snapshot;
    if (!s) return;
    db_id other = s->db_of_cut[a];
    s->db_of_cut[a] = s->db_of_cut[b];
    s->db_of_cut[b] = other;
}

void snapshot_drop(struct shard *shard)
{
    struct snapshot *s = shard->snapshot;
    if (!s) return;
    shard_snapshot_abort(shard);
    snapshot_big_drop(shard);
    s->held_count = 0;
    finish(shard);
}

/* ---- figures ---- */

size_t shard_snapshot_held_bytes(const struct shard *shard)
{
    const struct snapshot *s = shard->snapshot;
    return s ? s->table_bytes + s->image_bytes + s->kept_bytes + s->value_bytes : 0;
}

size_t snapshot_own_bytes(const struct shard *shard)
{
    const struct snapshot *s = shard->snapshot;
    return s ? s->table_bytes + s->image_bytes + s->kept_bytes : 0;
}

uint64_t shard_snapshot_keys(const struct shard *shard)
{
    return shard->snapshot_on ? shard->snapshot->keys : 0;
}

uint64_t shard_snapshot_told(const struct shard *shard)
{
    return shard->snapshot_on ? shard->snapshot->told : 0;
}
