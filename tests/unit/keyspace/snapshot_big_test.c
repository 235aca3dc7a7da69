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
    unsigned last_id; /* of any stream */
};

static void scene_init(struct scene *s, uint32_t shards, uint64_t seed, unsigned fields)
{
    handler_init(&s->w, shards, seed);
    snapshot_watch_init(&s->watch, s->w.shards, shards, 16, seed);
    rng_seed(&s->rng, seed);
    s->w.env.list_max_listpack_size = 16;
    s->w.env.stream_node_max_entries = 20;
    s->last_id = 1;
    if (seed % 2 || fields > 300) return;
    /* Packed, however large. */
    s->w.env.hash_max_listpack_entries = s->w.env.zset_max_listpack_entries = 100000;
    s->w.env.set_max_listpack_entries = s->w.env.set_max_intset_entries = 100000;
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
    (void)handler_runf(&s->w, pick(s, 3) ? "SADD set%u %u" : "SREM set%u %u", key + KEYS, f);
    switch (pick(s, 4)) {
    case 0: (void)handler_runf(&s->w, "SREM set%u member%u", key, f); break;
    case 1: (void)handler_runf(&s->w, "SPOP set%u 2", key); break;
    default: (void)handler_runf(&s->w, "SADD set%u member%u", key, f);
    }
}

/* An id that is, or was, or could have been there. */
static unsigned id(struct scene *s) { return 1 + pick(s, s->last_id); }

static void write_pending(struct scene *s, unsigned key, unsigned g)
{
    unsigned c = pick(s, 4);
    switch (pick(s, 11)) {
    case 0:
        (void)handler_runf(&s->w, "XACK stream%u g%u %u %u-1", key, g, id(s), id(s));
        break;
    case 1:
        (void)handler_runf(&s->w, "XCLAIM stream%u g%u c%u 0 %u %u", key, g, c, id(s), id(s));
        break;
    case 2:
        (void)handler_runf(&s->w, "XCLAIM stream%u g%u c%u 0 %u FORCE RETRYCOUNT 9 LASTID %u", key,
                           g, c, id(s), id(s));
        break;
    case 3:
        (void)handler_runf(&s->w, "XAUTOCLAIM stream%u g%u c%u 0 %u COUNT 9", key, g, c, id(s));
        break;
    case 4:
        (void)handler_runf(&s->w, "XREADGROUP GROUP g%u c%u COUNT 3 STREAMS stream%u %u", g, c,
                           key, id(s));
        break;
    case 5:
        (void)handler_runf(&s->w, "XREADGROUP GROUP g%u c%u NOACK STREAMS stream%u >", g, c, key);
        break;
    default:
        (void)handler_runf(&s->w, "XREADGROUP GROUP g%u c%u COUNT %u STREAMS stream%u >", g, c,
                           1 + pick(s, 40), key);
    }
}

static void write_groups(struct scene *s, unsigned key, unsigned g)
{
    unsigned c = pick(s, 4);
    switch (pick(s, 7)) {
    case 0: (void)handler_runf(&s->w, "XGROUP DESTROY stream%u g%u", key, g); break;
    case 1: (void)handler_runf(&s->w, "XGROUP SETID stream%u g%u %u", key, g, id(s)); break;
    case 2: (void)handler_runf(&s->w, "XGROUP DELCONSUMER stream%u g%u c%u", key, g, c); break;
    case 3:
        (void)handler_runf(&s->w, "XGROUP CREATECONSUMER stream%u g%u c%u", key, g, c);
        break;
    default:
        (void)handler_runf(&s->w, "XGROUP CREATE stream%u g%u %u MKSTREAM ENTRIESREAD 3", key, g,
                           id(s));
    }
}

static void write_stream(struct scene *s, unsigned key)
{
    unsigned g = pick(s, 3);
    s->w.now += pick(s, 2);
    switch (pick(s, 15)) {
    case 0: (void)handler_runf(&s->w, "XDEL stream%u %u %u-1", key, id(s), id(s)); break;
    case 1: (void)handler_runf(&s->w, "XTRIM stream%u MINID ~ %u", key, id(s) / 4); break;
    case 2: (void)handler_runf(&s->w, "XTRIM stream%u MINID %u", key, id(s) / 4); break;
    case 3:
        if (pick(s, 15) == 0) (void)handler_runf(&s->w, "XTRIM stream%u MAXLEN %u", key, id(s) / 9);
        break;
    case 4: (void)handler_runf(&s->w, "XSETID stream%u %u-9", key, s->last_id); break;
    case 5:
        if (pick(s, 3) == 0) write_groups(s, key, g);
        break;
    case 6: (void)handler_runf(&s->w, "XDELEX stream%u DELREF IDS 1 %u", key, id(s)); break;
    case 7: (void)handler_runf(&s->w, "XACKDEL stream%u g%u ACKED IDS 1 %u", key, g, id(s)); break;
    case 8:
    case 9:
    case 10:
        (void)handler_runf(&s->w, "XADD stream%u %u-%u f %u g text", key, ++s->last_id, pick(s, 2),
                           pick(s, 1000));
        break;
    default: write_pending(s, key, g);
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

static const char *const types[] = {"hash", "zset", "list", "set", "string", "stream"};

/* The whole value. */
static void write_key(struct scene *s, unsigned key)
{
    const char *type = types[pick(s, 6)];
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
        write_stream(s, key);
        write_stream(s, key);
        f = pick(s, fields);
    }
    if (pick(s, 8) == 0) write_string(s, key, fields < 500 ? 4000 : 90000);
    if (pick(s, 6) == 0) write_key(s, key);
}

static void fill_stream(struct scene *s, unsigned key, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        (void)handler_runf(&s->w, "XADD stream%u %u-%u f %u", key, ++s->last_id, i % 2, i);
    for (unsigned g = 0; g < 2; g++) {
        (void)handler_runf(&s->w, "XGROUP CREATE stream%u g%u 0", key, g);
        for (unsigned c = 0; c < 3; c++)
            (void)handler_runf(&s->w, "XREADGROUP GROUP g%u c%u COUNT %u STREAMS stream%u >", g, c,
                               count / 4, key);
    }
}

static void fill(struct scene *s, unsigned count)
{
    s->w.db = 0;
    for (unsigned key = 0; key < KEYS; key++) {
        (void)handler_runf(&s->w, "DEL hash%u zset%u list%u set%u stream%u", key, key, key, key,
                           key);
        for (unsigned i = 0; i < count; i++) {
            (void)handler_runf(&s->w, "HSET hash%u field%u %u", key, i, i * 7);
            (void)handler_runf(&s->w, "ZADD zset%u %u member%u", key, i % 50, i);
            (void)handler_runf(&s->w, "RPUSH list%u element%u", key, i);
            (void)handler_runf(&s->w, "SADD set%u member%u", key, i);
            (void)handler_runf(&s->w, "SADD set%u %u", key + KEYS, i);
        }
        fill_stream(s, key, count);
    }
}

/* Streams alone, and more of each; without renaming and flushing they grow and shrink. */
static void run_streams(uint64_t seed, unsigned count, unsigned rounds, size_t budget)
{
    struct scene *s = calloc(1, sizeof(*s));
    scene_init(s, 1, seed, count);
    for (unsigned round = 0; round < rounds; round++) {
        for (unsigned key = 0; round % 4 == 0 && key < 3; key++) {
            (void)handler_runf(&s->w, "DEL stream%u", key);
            fill_stream(s, key, count);
        }
        snapshot_watch_cut(&s->watch);
        bool aborted = false;
        do {
            for (unsigned i = pick(s, 40); i > 0; i--) write_stream(s, pick(s, 3));
            if (pick(s, 100) == 0) write_groups(s, pick(s, 3), pick(s, 3));
            aborted = pick(s, 300) == 0;
            if (aborted) snapshot_watch_abort(&s->watch);
            (void)shard_free_step(s->w.shards[0], 50);
        } while (!aborted && snapshot_watch_step(&s->watch, budget + pick(s, 300)));
    }
    cr_expect_gt(s->watch.bigs, rounds / 2);
    cr_expect_gt(s->watch.finished, rounds / 2);
    scene_deinit(s);
    free(s);
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
            aborted = pick(s, 600) == 0;
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

Test(snapshot_big, streams, .timeout = 120)
{
    for (unsigned seed = 30; seed < 40; seed++) run_streams(seed, 100 + 60 * (seed % 4), 24, 9);
}

Test(snapshot_big, large_streams, .timeout = 120) { run_streams(40, 5000, 6, 300); }

Test(snapshot_big, many_seeds, .timeout = 120)
{
    for (uint64_t seed = 10; seed < 18; seed++) run(1 + (uint32_t)seed % 3, seed, 200, 12, 5);
}
