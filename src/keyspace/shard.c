/* A shard: databases, each a table that comes into being with its first key; one slab for all their
 * entries; counters; the hooks through which journal, WATCH and transactions look on.
 *
 * Nothing here belongs to a thread: whoever holds the shard may do everything (DESIGN section 3.6).
 * Memory outside the slab is counted block by block as it comes and goes, so that the figure INFO
 * shows is a sum of counters and not a walk.
 * Thread: holder of the shard. */
#include "shard.h"
#include "splitring/keyspace/hash.h"
#include "splitring/keyspace/list.h"
#include "splitring/keyspace/set.h"
#include "splitring/keyspace/stream.h"
#include "splitring/keyspace/zset.h"

struct shard *shard_new(const struct shard_options *options)
{
    check(options->databases > 0 && options->databases <= UINT16_MAX);
    struct shard *shard = mem_zalloc(sizeof(*shard));
    shard->options = *options;
    shard->slab = slab_new();
    shard->dbs = mem_zalloc(options->databases * sizeof(*shard->dbs));
    shard->lru_at = -1;
    shard->epoch = 1;
    rng_seed(&shard->rng, options->seed ^ options->id);
    shard->objects[TYPE_HASH] = &hash_object_ops;
    shard->objects[TYPE_SET] = &set_object_ops;
    shard->objects[TYPE_LIST] = &list_object_ops;
    shard->objects[TYPE_ZSET] = &zset_object_ops;
    shard->objects[TYPE_STREAM] = &stream_object_ops;
    return shard;
}

static void free_taken(void *ctx, void *entry) { entry_free(ctx, entry, false); }

void shard_free(struct shard *shard)
{
    if (!shard) return;
    snapshot_drop(shard);
    for (uint32_t i = 0; i < shard->dbs_used; i++) {
        struct table *table = shard->dbs[i].table;
        if (!table) continue;
        while (table_drain(table, 1024, free_taken, shard)) {}
        table_free(table);
    }
    while (shard_free_step(shard, SIZE_MAX) > 0) {}
    defrag_drop(shard);
    slab_free_all(shard->slab);
    mem_free(shard->dbs);
    mem_free(shard);
}

struct table *shard_table(struct shard *shard, db_id id)
{
    struct db *db = shard_db(shard, id);
    if (likely(db->table != NULL)) return db->table;
    db->table = table_new(&entry_table_ops, shard->options.seed);
    if (id >= shard->dbs_used) shard->dbs_used = id + 1u;
    return db->table;
}

/* ---- settings and hooks ---- */

shard_id shard_id_of(const struct shard *shard) { return shard->options.id; }

uint64_t shard_seed(const struct shard *shard) { return shard->options.seed; }

uint32_t shard_databases(const struct shard *shard) { return shard->options.databases; }

void shard_set_policy(struct shard *shard, bool lfu, uint32_t log_factor, uint32_t decay_time)
{
    shard->options.lfu = lfu;
    shard->options.lfu_log_factor = log_factor;
    shard->options.lfu_decay_time = decay_time;
}

void shard_set_expire_sink(struct shard *shard, const struct expire_sink *sink)
{
    shard->lazy_sink_set = sink != NULL;
    if (sink) shard->lazy_sink = *sink;
}

void shard_set_modified_hook(struct shard *shard,
                             void (*modified)(void *ctx, struct shard *, db_id, struct slice key),
                             void *ctx)
{
    shard->modified = modified;
    shard->modified_ctx = ctx;
}

void shard_set_events(struct shard *shard, uint32_t classes, const struct event_sink *sink)
{
    shard->event_classes = sink ? classes : 0;
    if (sink) shard->events = *sink;
}

uint32_t shard_event_classes(const struct shard *shard) { return shard->event_classes; }

void shard_set_ready_hook(struct shard *shard,
                          void (*ready)(void *ctx, struct shard *shard, db_id db, struct slice key),
                          void *ctx)
{
    shard->ready = ready;
    shard->ready_ctx = ctx;
}

void shard_add_waiters(struct shard *shard, int32_t more) { shard->waiters += (uint32_t)more; }

uint32_t shard_waiters(const struct shard *shard) { return shard->waiters; }

void shard_wake_waiters(struct shard *shard, db_id db, const struct entry *e)
{
    unsigned type = entry_type_of(e);
    if (shard->ready && (type == TYPE_LIST || type == TYPE_ZSET || type == TYPE_STREAM))
        shard->ready(shard->ready_ctx, shard, db, entry_key(e));
}

void ks_ready(struct ks *ks, struct slice key)
{
    struct shard *shard = ks_shard_of(ks, key);
    if (unlikely(shard->waiters) && shard->ready)
        shard->ready(shard->ready_ctx, shard, ks->db, key);
}

void ks_notify(struct ks *ks, enum event_class class, const char *event, struct slice key)
{
    shard_event(ks_shard_of(ks, key), ks->db, class, event, key);
}

bool shard_is_expiring(const struct shard *shard) { return shard->expiring; }

void ks_touched(struct ks *ks, struct slice key)
{
    shard_touched(ks_shard_of(ks, key), ks->db, key);
}

/* ---- memory ---- */

void *shard_alloc(struct shard *shard, size_t len)
{
    if (likely(len <= SLAB_BLOCK_MAX)) return slab_alloc(shard->slab, len);
    void *block = mem_try_alloc(len);
    shard->big_bytes += mem_usable(block);
    return block;
}

void shard_release(struct shard *shard, void *ptr, size_t len)
{
    if (likely(len <= SLAB_BLOCK_MAX)) {
        slab_free(shard->slab, ptr, len);
        return;
    }
    shard->big_bytes -= mem_usable(ptr);
    mem_free(ptr);
}

void shard_count_bytes(struct shard *shard, ptrdiff_t more) { shard->big_bytes += (size_t)more; }

void **shard_tx_slot(struct shard *shard) { return &shard->tx; }

instant_ms shard_clock(const struct shard *shard) { return shard->clock; }

void shard_set_timeless(struct shard *shard, bool timeless) { shard->timeless = timeless; }

/* ---- counters ---- */

const struct shard_stats *shard_stats_of(struct shard *shard)
{
    size_t bytes = slab_bytes_used(shard->slab) + shard->big_bytes + shard->doomed_bytes;
    for (uint32_t i = 0; i < shard->dbs_used; i++) {
        if (shard->dbs[i].table) bytes += table_bytes(shard->dbs[i].table);
    }
    bytes += snapshot_own_bytes(shard);
    shard->stats.bytes = bytes;
    shard->stats.unlinked = shard->doomed_worth < bytes ? shard->doomed_worth : bytes;
    return &shard->stats;
}

void shard_stats_reset(struct shard *shard)
{
    uint64_t pending = shard->stats.lazyfree_pending;
    shard->stats = (struct shard_stats){.lazyfree_pending = pending};
}

size_t shard_db_keys(const struct shard *shard, db_id db)
{
    const struct table *table = shard_db(shard, db)->table;
    return table ? table_count(table) : 0;
}

size_t shard_db_table_bytes(const struct shard *shard, db_id db)
{
    const struct table *table = shard_db(shard, db)->table;
    return table ? table_bytes(table) : 0;
}

const struct slab *shard_slab(const struct shard *shard) { return shard->slab; }

void shard_slab_trim(struct shard *shard) { slab_trim(shard->slab); }

size_t shard_db_expires(const struct shard *shard, db_id db)
{
    return shard_db(shard, db)->expires;
}

instant_ms shard_db_avg_ttl(const struct shard *shard, db_id id)
{
    const struct db *db = shard_db(shard, id);
    if (db->expires == 0) return 0;
    instant_ms left = (instant_ms)(db->expiry_sum / (instant_sum)db->expires) - shard->clock;
    return left > 0 ? left : 0;
}

/* ---- prefetch ---- */

void shard_prefetch_slot(const struct shard *shard, db_id db, uint64_t hash)
{
    const struct table *table = shard_db(shard, db)->table;
    if (likely(table != NULL)) table_prefetch_slot(table, hash);
}

struct key_hint shard_prefetch_entry(const struct shard *shard, db_id db, uint64_t hash)
{
    const struct table *table = shard_db(shard, db)->table;
    if (unlikely(!table)) return (struct key_hint){0};
    return (struct key_hint){table_prefetch_entry(table, hash), table, shard->epoch};
}

void shard_expect(struct shard *shard, db_id db, size_t keys)
{
    struct table *table = keys ? shard_table(shard, db) : NULL;
    if (table) table_reserve(table, keys);
}
