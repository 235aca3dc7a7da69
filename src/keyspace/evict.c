/* Eviction: sampling, and the pool of the best candidates.
 *
 *   sample: a random place in hash order, `samples` entries from there  ──▶  pool of 16, by score
 *   evict:  the best of the pool, if the table still knows that very block, not used since then
 *
 * Hash order owes nothing to use, so neighbours in it are as good a sample as entries drawn one by
 * one, and cost one miss for the slots instead of one for each. The pool is Redis' idea (since
 * 3.0): what was seen and not taken is remembered, so few samples come near the exact order. Unlike
 * Redis' pool this one looks again before it evicts: a candidate that was used after it was sampled
 * goes back with its new score.
 *
 * A candidate is a hash and the address of a block, without a copy of the key. Blocks are freed and
 * moved by anybody at any time; so the address is only ever compared with the slots of that hash's
 * run. If it is there, it is a live entry (perhaps another key's at the same place, which is then
 * judged by its own score).
 *
 * Scores do not age, so that a score published by a shard that sleeps stays comparable: LRU is the
 * time of the last use, not how long it was ago.
 *
 * With volatile-* the slots' TTL bit is looked at first, not the entries. Where keys with a TTL are
 * few among many, one call looks at some thousand slots and the next one goes on elsewhere.
 * Thread: holder of the shard. */
#include "splitring/keyspace/evict.h"

#include "shard.h"

#define SLOTS_FIRST 64u
#define SLOTS_MAX 4096u  /* looked at in one search for keys with a TTL */
#define SAMPLES_MAX 64u  /* maxmemory-samples above this gains nothing */
#define TRIES_MAX 32u    /* candidates that turn out to be gone, or locked, in one call */
#define ROUNDS_MAX 4u    /* of sampling in one call */
#define SCORE_BASE ((uint64_t)1 << 62)

static size_t eligible(const struct db *db, const struct evict_policy *policy)
{
    if (!db->table) return 0;
    return policy->volatile_only ? db->expires : table_count(db->table);
}

size_t shard_evict_eligible(const struct shard *shard, const struct evict_policy *policy)
{
    size_t count = 0;
    for (uint32_t i = 0; i < shard->dbs_used; i++) count += eligible(&shard->dbs[i], policy);
    return count;
}

size_t shard_bytes_counted(struct shard *shard)
{
    const struct shard_stats *stats = shard_stats_of(shard);
    return stats->bytes - stats->unlinked;
}

/* ---- scores ---- */

static uint64_t score_of(struct shard *shard, const struct evict_policy *policy,
                         const struct entry *e, instant_ms now)
{
    struct ks view = {.shard = shard, .now = now};
    switch (policy->order) {
    case EVICT_LRU: return SCORE_BASE - (uint64_t)(now / 1000 - entry_idle_s(&view, e));
    case EVICT_LFU: return 256u - entry_freq(&view, e);
    case EVICT_TTL: {
        instant_ms expire = entry_expiry_of(e);
        return expire < 0 ? SCORE_BASE : SCORE_BASE - (uint64_t)(expire >> 1);
    }
    case EVICT_RANDOM: return 1;
    }
    return 1;
}

/* ---- the pool ---- */

static void pool_drop(struct evict_pool *pool, unsigned i)
{
    pool->count--;
    memmove(&pool->at[i], &pool->at[i + 1], (pool->count - i) * sizeof(pool->at[0]));
}

/* Keeps the best EVICT_POOL of what it has and this one. */
static void pool_add(struct evict_pool *pool, const struct evict_candidate *c)
{
    unsigned i = 0;
    for (unsigned n = 0; n < pool->count; n++)
        if (pool->at[n].entry == c->entry && pool->at[n].hash == c->hash) return;
    while (i < pool->count && pool->at[i].score < c->score) i++;
    if (pool->count == EVICT_POOL) {
        if (i == 0) return;
        memmove(&pool->at[0], &pool->at[1], (i - 1) * sizeof(pool->at[0]));
        pool->at[i - 1] = *c;
        return;
    }
    memmove(&pool->at[i + 1], &pool->at[i], (pool->count - i) * sizeof(pool->at[0]));
    pool->at[i] = *c;
    pool->count++;
}

static struct evict_pool *pool_for(struct shard *shard, const struct evict_policy *policy)
{
    struct evict_pool *pool = &shard->candidates;
    unsigned order = evict_order_of(policy);
    if (pool->order != order) *pool = (struct evict_pool){.order = order};
    return pool;
}

uint64_t shard_evict_score(struct shard *shard, const struct evict_policy *policy)
{
    const struct evict_pool *pool = pool_for(shard, policy);
    if (pool->count) return pool->at[pool->count - 1].score;
    return shard_evict_eligible(shard, policy) ? EVICT_UNKNOWN : 0;
}

/* ---- sampling ---- */

struct sampling {
    size_t want, found;
    bool volatile_only;
    struct entry *entries[SAMPLES_MAX];
};

static void sample_visit(void *ctx, void *entry, unsigned bits)
{
    struct sampling *s = ctx;
    if (s->found == s->want) return;
    if (s->volatile_only && !(bits & TABLE_BIT_TTL)) return;
    /* A hash whose fields have expiries is marked, too. */
    if (s->volatile_only && !entry_has_ttl(entry)) return;
    s->entries[s->found++] = entry;
}

static void sample(struct shard *shard, const struct evict_policy *policy,
                   const struct table *table, struct sampling *s)
{
    size_t looked = 0, slots = SLOTS_FIRST;
    uint64_t cursor = rng_next(&shard->rng) >> 16;
    s->want = policy->samples < SAMPLES_MAX ? policy->samples : SAMPLES_MAX;
    if (policy->order == EVICT_RANDOM) s->want = 1;
    s->found = 0;
    s->volatile_only = policy->volatile_only;
    if (policy->order == EVICT_RANDOM && !policy->volatile_only) {
        s->entries[0] = table_random(table, cursor << 16 ^ rng_next(&shard->rng));
        s->found = s->entries[0] != NULL;
        return;
    }
    while (s->found < s->want && looked < SLOTS_MAX) {
        size_t count = s->volatile_only ? SIZE_MAX : s->want - s->found;
        cursor = table_scan(table, cursor, count, slots, sample_visit, s);
        looked += slots;
        slots *= 2;
    }
}

static void sample_db(struct shard *shard, const struct evict_policy *policy, db_id id,
                      instant_ms now, const struct expire_sink *sink)
{
    struct db *db = shard_db(shard, id);
    struct sampling s;
    sample(shard, policy, db->table, &s);
    for (size_t i = 0; i < s.found; i++) {
        struct slice key = entry_key(s.entries[i]);
        uint64_t hash = hash_key(key, shard->options.seed);
        if (sink && sink->locked && sink->locked(sink->ctx, shard, id, key, hash)) {
            shard->candidates.met_lock = true;
            continue;
        }
        struct evict_candidate c = {.score = score_of(shard, policy, s.entries[i], now),
                                    .hash = hash,
                                    .entry = s.entries[i],
                                    .db = id};
        pool_add(&shard->candidates, &c);
    }
}

/* ---- evicting ---- */

static void evict(struct place *p, db_id db, const struct evict_policy *policy,
                  const struct expire_sink *sink)
{
    struct shard *shard = p->shard;
    struct slice key = entry_key(p->entry);
    if (sink && sink->evicted) sink->evicted(sink->ctx, shard, db, key);
    shard->stats.evicted++;
    shard_touched(shard, db, key);
    shard_event(shard, db, EVENT_EVICTED, "evicted", key);
    entry_free(shard, place_unlink(p), policy->lazy);
}

/* The candidate at the pool's end, as it is now. False: it was gone, or has another score (and its
 * place); the next one is to be looked at. */
static bool confirm(struct shard *shard, const struct evict_policy *policy, instant_ms now,
                    const struct expire_sink *sink, struct place *p)
{
    struct evict_pool *pool = &shard->candidates;
    struct evict_candidate c = pool->at[pool->count - 1];
    struct db *db = shard_db(shard, c.db);
    *p = (struct place){.shard = shard, .db = db, .table = db->table, .hash = c.hash};
    p->slot = db->table ? table_slot_of(db->table, c.hash, c.entry) : NULL;
    p->entry = c.entry;
    bool may = p->slot && (!policy->volatile_only || entry_has_ttl(c.entry));
    if (may && sink && sink->locked &&
        sink->locked(sink->ctx, shard, c.db, entry_key(c.entry), c.hash)) {
        pool->met_lock = true;
        may = false;
    }
    uint64_t score = may ? score_of(shard, policy, c.entry, now) : 0;
    if (may && score >= c.score) return true;
    pool_drop(pool, pool->count - 1);
    c.score = score;
    if (may) pool_add(pool, &c); /* it was used meanwhile */
    return false;
}

static enum evict_outcome evict_best(struct shard *shard, const struct evict_policy *policy,
                                     uint64_t score_min, instant_ms now,
                                     const struct expire_sink *sink)
{
    struct evict_pool *pool = &shard->candidates;
    for (unsigned tries = 0; pool->count && tries < TRIES_MAX; tries++) {
        struct place p;
        if (!confirm(shard, policy, now, sink, &p)) continue;
        struct evict_candidate c = pool->at[pool->count - 1];
        if (c.score < score_min) return EVICT_WORSE;
        pool_drop(pool, pool->count - 1);
        evict(&p, c.db, policy, sink);
        return EVICT_DONE;
    }
    return pool->met_lock ? EVICT_LOCKED : EVICT_NOTHING;
}

enum evict_outcome shard_evict(struct shard *shard, const struct evict_policy *policy,
                               uint64_t score_min, instant_ms now, const struct expire_sink *sink)
{
    struct evict_pool *pool = pool_for(shard, policy);
    pool->met_lock = false;
    if (policy->order != EVICT_RANDOM) {
        unsigned rounds = 0; /* a pool that is not full has seen little */
        do {
            for (uint32_t i = 0; i < shard->dbs_used; i++)
                if (eligible(&shard->dbs[i], policy)) sample_db(shard, policy, (db_id)i, now, sink);
        } while (pool->count < EVICT_POOL && ++rounds < ROUNDS_MAX);
        return evict_best(shard, policy, score_min, now, sink);
    }
    /* Databases in turn, as in Redis. */
    for (uint32_t i = 0; i < shard->dbs_used; i++) {
        db_id id = (db_id)(pool->next_db++ % shard->dbs_used);
        if (!eligible(&shard->dbs[id], policy)) continue;
        pool->count = 0;
        sample_db(shard, policy, id, now, sink);
        if (evict_best(shard, policy, 0, now, sink) == EVICT_DONE) return EVICT_DONE;
    }
    return pool->met_lock ? EVICT_LOCKED : EVICT_NOTHING;
}
