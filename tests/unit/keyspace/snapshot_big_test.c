/* Big values in snapshots: told in pieces while they are written, renamed, removed, flushed. */
#include <criterion/criterion.h>

#include <stdlib.h>

#include "../handler.h"
#include "../handler_watch.h"

#define KEYS 6u

struct scene {
    struct handler_world w;
    struct snapshot_watch watch;
    struct rng rng;
};

static void scene_init(struct scene *s, uint32_t shards, uint64_t seed, unsigned fields)
{
    handler_init(&s->w, shards, seed);
    snapshot_watch_init(&s->watch, s->w.shards, shards, 16, seed);
    rng_seed(&s->rng, seed);
    s->w.env.list_max_listpack_size = 16;
    s->watch.full_one_in = fields < 1000 ? 9 : 900;
}

static void scene_deinit(struct scene *s)
{
    snapshot_watch_deinit(&s->watch);
    (void)handler_run_line(&s->w, "FLUSHALL");
    for (uint32_t i = 0; i < s->w.shard_count; i++) {
        while (shard_free_step(s->w.shards[i], 1000) > 0) {}
        cr_expect_eq(shard_stats_of(s->w.shards[i])->bytes, 0);
    }
    handler_deinit(&s->w);
}

static unsigned pick(struct scene *s, unsigned limit)
{
    return (unsigned)rng_below(&s->rng, limit);
}

static void write_hash(struct scene *s, unsigned key, unsigned f)
{
    switch (pick(s, 8)) {
    case 0: (void)handler_runf(&s->w, "HDEL hash%u field%u", key, f); break;
    case 1: (void)handler_runf(&s->w, "HINCRBY hash%u field%u 3", key, f); break;
    case 2: (void)handler_runf(&s->w, "HPEXPIRE hash%u 50 FIELDS 1 field%u", key, f); break;
    case 3: (void)handler_runf(&s->w, "HPERSIST hash%u FIELDS 1 field%u", key, f); break;
    case 4: (void)handler_runf(&s->w, "HGET hash%u field%u", key, f); break;
    default: (void)handler_runf(&s->w, "HSET hash%u field%u %u", key, f, pick(s, 100000));
    }
}

static void write_zset(struct scene *s, unsigned key, unsigned f)
{
    switch (pick(s, 6)) {
    case 0: (void)handler_runf(&s->w, "ZREM zset%u member%u", key, f); break;
    case 1: (void)handler_runf(&s->w, "ZPOPMIN zset%u 3", key); break;
    case 2: (void)handler_runf(&s->w, "ZREMRANGEBYRANK zset%u 7 9", key); break;
    case 3: (void)handler_runf(&s->w, "ZINCRBY zset%u 1.5 member%u", key, f); break;
    default: (void)handler_runf(&s->w, "ZADD zset%u %u member%u", key, pick(s, 1000), f);
    }
}

static void write_list(struct scene *s, unsigned key, unsigned f)
{
    switch (pick(s, 9)) {
    case 0: (void)handler_runf(&s->w, "LPOP list%u 2", key); break;
    case 1: (void)handler_runf(&s->w, "RPOP list%u", key); break;
    case 2: (void)handler_runf(&s->w, "LSET list%u %u other%u", key, f, f); break;
    case 3: (void)handler_runf(&s->w, "LREM list%u 1 element%u", key, f); break;
    case 4: (void)handler_runf(&s->w, "LINSERT list%u BEFORE element%u new", key, f); break;
    case 5: (void)handler_runf(&s->w, "LTRIM list%u 5 -5", key); break;
    case 6: (void)handler_runf(&s->w, "LPUSH list%u element%u", key, f); break;
    default: (void)handler_runf(&s->w, "RPUSH list%u element%u x y", key, f);
    }
}

static void write_set(struct scene *s, unsigned key, unsigned f)
{
    switch (pick(s, 4)) {
    case 0: (void)handler_runf(&s->w, "SREM set%u member%u", key, f); break;
    case 1: (void)handler_runf(&s->w, "SPOP set%u 2", key); break;
    default: (void)handler_runf(&s->w, "SADD set%u member%u", key, f);
    }
}

/* Up to some pages. */
static void write_string(struct scene *s, unsigned key, unsigned len)
{
    unsigned at = pick(s, len);
    switch (pick(s, 7)) {
    case 0: (void)handler_runf(&s->w, "APPEND string%u %0*d", key, (int)pick(s, 2000), 7); break;
    case 1: (void)handler_runf(&s->w, "SETRANGE string%u %u changed", key, at); break;
    case 2: (void)handler_runf(&s->w, "SETBIT string%u %u 1", key, at * 8); break;
    case 3: (void)handler_runf(&s->w, "BITFIELD string%u SET u20 %u 7", key, at * 8); break;
    case 4: (void)handler_runf(&s->w, "SETRANGE string%u %u far", key, at * 2); break;
    case 5: (void)handler_runf(&s->w, "GETRANGE string%u 0 10", key); break;
    default: (void)handler_runf(&s->w, "COPY string%u string%u REPLACE", key, pick(s, KEYS));
    }
}

static const char *const types[] = {"hash", "zset", "list", "set", "string"};

/* The whole value. */
static void write_key(struct scene *s, unsigned key)
{
    const char *type = types[pick(s, 5)];
    switch (pick(s, 12)) {
    case 0: (void)handler_runf(&s->w, "DEL %s%u", type, key); break;
    case 1: (void)handler_runf(&s->w, "RENAME %s%u %s%u", type, key, type, pick(s, KEYS)); break;
    case 2:
        (void)handler_runf(&s->w, "COPY %s%u %s%u REPLACE", type, key, type, pick(s, KEYS));
        break;
    case 3: (void)handler_runf(&s->w, "SET %s%u gone", type, key); break;
    case 4: (void)handler_runf(&s->w, "PEXPIRE %s%u %u", type, key, pick(s, 60)); break;
    case 5: (void)handler_runf(&s->w, "MOVE %s%u 1", type, key); break;
    case 6:
        if (pick(s, 10) == 0) (void)handler_run_line(&s->w, "FLUSHDB");
        break;
    case 7: (void)handler_runf(&s->w, "SWAPDB 0 %u", pick(s, 3)); break;
    case 8: (void)handler_runf(&s->w, "SUNIONSTORE set%u set%u set1", key, pick(s, KEYS)); break;
    default: s->w.now += pick(s, 20);
    }
}

static void write_something(struct scene *s, unsigned fields)
{
    unsigned key = pick(s, KEYS), f = pick(s, fields);
    for (int again = 0; again < 5; again++) {
        /* Errors of type are fine; SET makes them. */
        write_hash(s, key, f);
        write_zset(s, key, f);
        write_list(s, key, f);
        write_set(s, key, f);
        f = pick(s, fields);
    }
    if (pick(s, 8) == 0) write_string(s, key, fields < 500 ? 4000 : 90000);
    if (pick(s, 6) == 0) write_key(s, key);
}

static void fill(struct scene *s, unsigned count)
{
    s->w.db = 0;
    for (unsigned key = 0; key < KEYS; key++) {
        (void)handler_runf(&s->w, "DEL hash%u zset%u list%u set%u", key, key, key, key);
        for (unsigned i = 0; i < count; i++) {
            (void)handler_runf(&s->w, "HSET hash%u field%u %u", key, i, i * 7);
            (void)handler_runf(&s->w, "ZADD zset%u %u member%u", key, i % 50, i);
            (void)handler_runf(&s->w, "RPUSH list%u element%u", key, i);
            (void)handler_runf(&s->w, "SADD set%u member%u", key, i);
        }
    }
}

static void run(uint32_t shards, uint64_t seed, unsigned fields, unsigned rounds, size_t budget)
{
    struct scene *s = calloc(1, sizeof(*s));
    scene_init(s, shards, seed, fields);
    for (unsigned round = 0; round < rounds; round++) {
        if (round % 4 == 0) fill(s, fields);
        snapshot_watch_cut(&s->watch);
        bool aborted = false;
        do {
            for (unsigned i = pick(s, 6); i > 0; i--) write_something(s, fields + fields / 2);
            aborted = pick(s, 300) == 0;
            if (aborted) snapshot_watch_abort(&s->watch);
            for (uint32_t i = 0; i < shards; i++) (void)shard_free_step(s->w.shards[i], 50);
        } while (!aborted && snapshot_watch_step(&s->watch, budget + pick(s, 300)));
    }
    cr_expect_gt(s->watch.bigs, KEYS);
    cr_expect_gt(s->watch.finished, rounds / 4);
    scene_deinit(s);
    free(s);
}

Test(snapshot_big, small_dicts, .timeout = 120) { run(1, 1, 700, 24, 20); }

Test(snapshot_big, dicts_with_tables, .timeout = 120) { run(1, 2, 4500, 4, 3000); }

Test(snapshot_big, several_shards, .timeout = 120) { run(3, 3, 600, 24, 30); }

Test(snapshot_big, many_seeds, .timeout = 120)
{
    for (uint64_t seed = 10; seed < 18; seed++) run(1 + (uint32_t)seed % 3, seed, 200, 12, 5);
}
