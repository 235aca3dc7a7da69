/* Looking at many keys: SCAN, KEYS, RANDOMKEY.
 *
 * Walks are the table's, in hash order. Expired keys are passed over; those that SCAN met are
 * deleted when its step is over, because a walk must not change what it walks on. Locked keys stay:
 * nobody has asked for them by name.
 * Thread: holder of the shard(s). */
#include "shard.h"

#define DEAD_MAX 64u /* expired keys that one step of SCAN deletes; the sweep gets the others */

struct walk {
    struct shard *shard;
    instant_ms now;
    ks_visit *visit;
    void *ctx;
    size_t dead_count;
    struct entry *dead[DEAD_MAX];
};

static void walk_init(struct walk *walk, struct shard *shard, instant_ms now, ks_visit *visit,
                      void *ctx)
{
    walk->shard = shard;
    walk->now = now;
    walk->visit = visit;
    walk->ctx = ctx;
    walk->dead_count = 0;
}

static void walk_visit(void *ctx, void *entry, unsigned bits)
{
    (void)bits;
    struct walk *walk = ctx;
    if (!entry_expired(walk->shard, entry, walk->now)) {
        walk->visit(walk->ctx, entry);
    } else if (walk->dead_count < DEAD_MAX) {
        walk->dead[walk->dead_count++] = entry;
    }
}

/* False: the key is locked, or expired keys are only hidden. */
static bool expire_met(struct ks *one, struct entry *e)
{
    struct shard *shard = one->shard;
    const struct expire_sink *sink = &shard->lazy_sink;
    struct slice key = entry_key(e);
    if (one->flags & KS_LOGICAL) return false;
    if (shard->lazy_sink_set && sink->locked) {
        uint64_t hash = hash_key(key, shard->options.seed);
        if (sink->locked(sink->ctx, shard, one->db, key, hash)) return false;
    }
    bool stale;
    (void)ks_place(one, key, &stale);
    return true;
}

/* Empty stretches are bounded too: a sparse table must not hold the shard for one SCAN. */
#define SCAN_SLOTS_PER_KEY 64u
#define SCAN_SLOTS_MIN 4096u

uint64_t ks_scan(struct ks *ks, uint64_t cursor, size_t count, ks_visit *visit, void *ctx)
{
    const struct table *table = shard_db(ks->shard, ks->db)->table;
    if (!table) return 0;
    struct walk walk;
    walk_init(&walk, ks->shard, ks->now, visit, ctx);
    size_t slots = count > SIZE_MAX / SCAN_SLOTS_PER_KEY ? SIZE_MAX : count * SCAN_SLOTS_PER_KEY;
    if (slots < SCAN_SLOTS_MIN) slots = SCAN_SLOTS_MIN;
    cursor = table_scan(table, cursor, count, slots, walk_visit, &walk);
    for (size_t i = 0; i < walk.dead_count; i++) (void)expire_met(ks, walk.dead[i]);
    return cursor;
}

void ks_each(struct ks *ks, ks_visit *visit, void *ctx)
{
    uint32_t count = ks->shard ? 1 : ks->shard_count;
    for (uint32_t i = 0; i < count; i++) {
        struct shard *shard = ks->shard ? ks->shard : ks->shards[i];
        const struct table *table = shard_db(shard, ks->db)->table;
        if (!table) continue;
        struct walk walk;
        walk_init(&walk, shard, ks->now, visit, ctx);
        uint64_t cursor = 0;
        do {
            cursor = table_scan(table, cursor, SIZE_MAX, SIZE_MAX, walk_visit, &walk);
        } while (cursor != 0);
    }
}

/* ---- a random key ---- */

static void take_first(void *ctx, const struct entry *e)
{
    const struct entry **first = ctx;
    if (!*first) *first = e;
}

/* Where nearly all keys are dead but must stay (KS_LOGICAL), drawing would go on for ever. */
static struct entry *first_live(struct ks *one)
{
    const struct entry *first = NULL;
    uint64_t cursor = 0;
    do {
        cursor = ks_scan(one, cursor, 16, take_first, &first);
    } while (!first && cursor != 0);
    return (struct entry *)(uintptr_t)first;
}

#define RANDOM_TRIES 100
static struct entry *random_in(struct ks *one, struct rng *rng)
{
    struct shard *shard = one->shard;
    for (int i = 0; i < RANDOM_TRIES; i++) {
        const struct table *table = shard_db(shard, one->db)->table;
        struct entry *e = table ? table_random(table, rng_next(rng)) : NULL;
        if (!e || !entry_expired(shard, e, one->now)) return e;
        (void)expire_met(one, e);
    }
    return first_live(one);
}

struct entry *ks_random(struct ks *ks, struct rng *rng)
{
    struct ks one = *ks;
    if (ks->shard) return random_in(&one, rng);
    size_t keys = ks_db_keys(ks, ks->db);
    if (keys == 0) return NULL;
    /* Shards are drawn by their number of keys; then the others in turn, should it be all dead. */
    uint64_t nth = rng_below(rng, keys);
    uint32_t first = 0;
    while (nth >= shard_db_keys(ks->shards[first], ks->db)) {
        nth -= shard_db_keys(ks->shards[first++], ks->db);
    }
    for (uint32_t i = 0; i < ks->shard_count; i++) {
        one.shard = ks->shards[(first + i) % ks->shard_count];
        struct entry *e = random_in(&one, rng);
        if (e) return e;
    }
    return NULL;
}
