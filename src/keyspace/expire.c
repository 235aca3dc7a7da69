/* Expiry in the background: finds keys whose time has come though nobody asks for them.
 *
 * The table keeps, per segment, the lowest expiry it was told of. The sweep looks only into
 * segments that are due, so a keyspace full of TTLs in the far future costs nothing, and a storm of
 * keys that expire together is worked off in bounded steps: one segment is read, its dead are
 * collected (SWEEP_BATCH at most), then deleted. What was not collected keeps the segment due.
 *
 * Redis draws random samples instead and repeats while many of them are dead; that leaves up to a
 * quarter of dead keys in memory and reads many that live.
 *
 * Hashes whose fields have expiries of their own are found in the same way, by the lowest of them;
 * SWEEP_FIELDS go in one step, and a hash that has more stays due.
 *
 * A key is expired once `now` has passed its instant: at the instant itself it is still there.
 * Locked keys are passed over; they keep their segment due until they are free.
 * Thread: holder of the shard. */
#include "hash_impl.h"

#define SWEEP_BATCH 512u
#define SWEEP_FIELDS 512u

struct sweep {
    struct shard *shard;
    const struct expire_sink *sink;
    db_id db;
    instant_ms now;
    size_t count;
    struct {
        struct entry *entry;
        uint64_t hash;
    } dead[SWEEP_BATCH];
};

static int64_t sweep_visit(void *ctx, void *entry)
{
    struct sweep *s = ctx;
    struct entry *e = entry;
    instant_ms expire = entry_expiry_of(e), due = expire;
    if (unlikely(kind_has_fields(e->kind))) {
        instant_ms fields = hash_next_expiry(e);
        if (fields < due) due = fields;
    }
    if (due >= s->now || s->count == SWEEP_BATCH) return due;
    struct slice key = entry_key(e);
    uint64_t hash = hash_key(key, s->shard->options.seed);
    const struct expire_sink *sink = s->sink;
    if (sink && sink->locked && sink->locked(sink->ctx, s->shard, s->db, key, hash)) return due;
    s->dead[s->count].entry = e;
    s->dead[s->count++].hash = hash;
    return expire < s->now ? EXPIRE_NONE : expire;
}

/* A hash that is due: some of its fields go, and the table learns when it is due again. */
static size_t sweep_fields(struct sweep *s, struct entry *e, uint64_t hash, size_t *fields_left)
{
    struct slice key = entry_key(e);
    struct ks ks = {.shard = s->shard,
                    .db = s->db,
                    .flags = KS_NO_TOUCH | KS_NO_STATS,
                    .now = s->now,
                    .hash_key = key.ptr,
                    .hash = hash};
    struct hash h = hash_open(&ks, key, e, (struct hash_limits){0});
    size_t work = 1;
    if (*fields_left > 0) *fields_left -= hash_sweep(&h, *fields_left, s->sink, &work);
    instant_ms next = h.entry ? hash_next_expiry(h.entry) : EXPIRE_NONE;
    if (next != EXPIRE_NONE) table_note_expiry(shard_db(s->shard, s->db)->table, hash, next);
    return work;
}

static size_t bury(struct sweep *s)
{
    struct db *db = shard_db(s->shard, s->db);
    size_t work = s->count, fields_left = SWEEP_FIELDS;
    for (size_t i = 0; i < s->count; i++) {
        struct place p = {.shard = s->shard,
                          .db = db,
                          .table = db->table,
                          .hash = s->dead[i].hash,
                          .entry = s->dead[i].entry};
        if (entry_expiry_of(p.entry) >= s->now) {
            work += sweep_fields(s, p.entry, p.hash, &fields_left);
            continue;
        }
        p.slot = table_find_slot(p.table, p.hash, entry_key(p.entry));
        check(p.slot != NULL);
        place_expire(&p, s->db, s->sink);
    }
    return work;
}

/* One database, from where the last sweep stopped; false: it has been walked to its end. */
static bool sweep_db(struct sweep *s, size_t budget, size_t *work)
{
    struct db *db = shard_db(s->shard, s->db);
    while (db->table && table_expiry_min(db->table) < s->now) {
        size_t visited = 0;
        s->count = 0;
        db->sweep_cursor =
            table_sweep(db->table, db->sweep_cursor, s->now - 1, 1, sweep_visit, s, &visited);
        *work += visited + bury(s) + 1;
        if (db->sweep_cursor == 0) return false;
        if (*work >= budget) return true;
    }
    return false;
}

size_t shard_sweep(struct shard *shard, instant_ms now, size_t budget,
                   const struct expire_sink *sink)
{
    now = shard_now(shard, now);
    if (shard_expiry_min(shard) > now) return 0;
    struct sweep s = {.shard = shard, .sink = sink, .now = now};
    size_t work = 0;
    for (uint32_t i = 0; i < shard->dbs_used; i++) {
        if (shard->sweep_db >= shard->dbs_used) shard->sweep_db = 0;
        s.db = (db_id)shard->sweep_db;
        if (sweep_db(&s, budget, &work)) return work;
        shard->sweep_db++;
        if (work >= budget) return work;
    }
    return work;
}

instant_ms shard_expiry_min(const struct shard *shard)
{
    instant_ms min = EXPIRE_NONE;
    for (uint32_t i = 0; i < shard->dbs_used; i++) {
        if (!shard->dbs[i].table) continue;
        instant_ms lowest = table_expiry_min(shard->dbs[i].table);
        if (lowest < min) min = lowest;
    }
    return min == EXPIRE_NONE ? min : min + 1;
}
