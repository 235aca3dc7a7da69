/* Work in the background: the sweep of expired keys and freeing in slices. */
#include <criterion/criterion.h>

#include "world.h"

static void fill(struct world *w, int count, instant_ms step)
{
    char key[32];
    for (int i = 0; i < count; i++) {
        snprintf(key, sizeof(key), "key:%d", i);
        world_set(w, key, "0123456789", step ? w->ks.now + step * (i + 1) : EXPIRE_NONE);
    }
}

static size_t sweep_all(struct world *w, size_t budget, const struct expire_sink *sink)
{
    size_t calls = 0;
    while (shard_sweep(w->shards[0], w->ks.now, budget, sink) > 0) {
        calls++;
        cr_assert_lt(calls, 100000);
    }
    return calls;
}

Test(sweep, finds_all_that_is_due_and_nothing_else)
{
    struct world w;
    world_init(&w, 1);
    fill(&w, 20000, 1);
    cr_assert_eq(shard_expiry_min(w.shards[0]), w.ks.now + 2);
    cr_assert_eq(shard_sweep(w.shards[0], w.ks.now, 1000, NULL), 0);
    instant_ms start = w.ks.now;
    for (int i = 1; i <= 20; i++) {
        w.ks.now = start + 1000 * i;
        sweep_all(&w, 5000, NULL);
        cr_assert_eq(ks_db_keys(&w.ks, 0), 20000u - 1000u * (unsigned)i + 1u);
        cr_assert_eq(shard_db_expires(w.shards[0], 0), ks_db_keys(&w.ks, 0));
    }
    cr_assert_eq(shard_stats_of(w.shards[0])->expired, 19999);
    world_deinit(&w);
}

Test(sweep, is_bounded)
{
    struct world w;
    world_init(&w, 1);
    fill(&w, 100000, 1);
    w.ks.now += 200000;
    size_t largest = 0, total = 0, work;
    while ((work = shard_sweep(w.shards[0], w.ks.now, 1000, NULL)) > 0) {
        size_t gone = 100000 - ks_db_keys(&w.ks, 0) - total;
        total += gone;
        if (gone > largest) largest = gone;
    }
    cr_assert_eq(total, 100000);
    cr_assert_leq(largest, 1024);
    cr_assert_eq(shard_expiry_min(w.shards[0]), EXPIRE_NONE);
    world_deinit(&w);
}

static bool odd_is_locked(void *ctx, struct shard *shard, db_id db, struct slice key, uint64_t hash)
{
    cr_assert_eq(hash, hash_key(key, shard_seed(shard)));
    cr_assert_eq(db, 2);
    (void)ctx;
    return key.ptr[key.len - 1] % 2 == 1;
}

Test(sweep, passes_over_locked_keys)
{
    struct world w;
    world_init(&w, 1);
    w.ks.db = 2;
    fill(&w, 1000, 1);
    w.ks.now += 5000;
    struct expire_sink sink = {.expired = world_expired, .locked = odd_is_locked, .ctx = &w};
    for (int i = 0; i < 20; i++) (void)shard_sweep(w.shards[0], w.ks.now, 10000, &sink);
    cr_assert_eq(ks_db_keys(&w.ks, 2), 500);
    cr_assert_eq(w.expired_told, 500);
    sink.locked = NULL;
    sweep_all(&w, 10000, &sink);
    cr_assert_eq(ks_db_keys(&w.ks, 2), 0);
    world_deinit(&w);
}

Test(flush, gives_memory_back_in_slices)
{
    struct world w;
    world_init(&w, 1);
    fill(&w, 50000, 7);
    cr_assert_eq(ks_flush_db(&w.ks, 0, true), 50000);
    cr_assert_eq(ks_db_keys(&w.ks, 0), 0);
    cr_assert_eq(shard_db_expires(w.shards[0], 0), 0);
    cr_assert_eq(shard_stats_of(w.shards[0])->lazyfree_pending, 50000);
    uint64_t full = world_bytes(&w);
    cr_assert_gt(full, 50000u * 32u);
    world_set(&w, "key:1", "new", EXPIRE_NONE);
    cr_assert_gt(shard_free_step(w.shards[0], 1000), 0);
    cr_assert_geq(shard_stats_of(w.shards[0])->lazyfree_pending, 48000);
    world_free_pending(&w);
    cr_assert_str_eq(world_get(&w, "key:1"), "new");
    cr_assert(ks_delete(&w.ks, SLICE("key:1"), false));
    cr_assert_eq(shard_stats_of(w.shards[0])->lazyfree_pending, 0);
    cr_assert_eq(shard_stats_of(w.shards[0])->lazyfreed, 50000);
    cr_assert_eq(ks_flush_db(&w.ks, 0, false), 0);
    cr_assert_eq(world_bytes(&w), 0);
    world_deinit(&w);
}

Test(flush, sync_frees_small_databases_at_once)
{
    struct world w;
    world_init(&w, 4);
    fill(&w, 3000, 0);
    cr_assert_eq(ks_flush_db(&w.ks, 0, false), 3000);
    cr_assert_eq(world_bytes(&w), 0);
    world_deinit(&w);
}

Test(flush, big_values_go_in_pieces)
{
    struct world w;
    world_init(&w, 1);
    int rc = ks_set_blob(&w.ks, SLICE("k"), world_blob(20u << 20, 'x'), EXPIRE_NONE);
    cr_assert_eq(rc, 0);
    cr_assert(ks_delete(&w.ks, SLICE("k"), false));
    cr_assert_eq(shard_stats_of(w.shards[0])->lazyfree_pending, 1);
    int steps = 0;
    while (shard_free_step(w.shards[0], 100) > 0) steps++;
    cr_assert_geq(steps, 9);
    cr_assert_eq(shard_stats_of(w.shards[0])->lazyfree_pending, 0);
    cr_assert_eq(ks_flush_db(&w.ks, 0, false), 0);
    cr_assert_eq(world_bytes(&w), 0);
    world_deinit(&w);
}

Test(flush, swap_takes_tables_with_their_counters)
{
    struct world w;
    world_init(&w, 3);
    fill(&w, 300, 100);
    ks_swap_db(&w.ks, 0, 9);
    cr_assert_eq(ks_db_keys(&w.ks, 0), 0);
    cr_assert_eq(ks_db_keys(&w.ks, 9), 300);
    size_t expires = 0;
    for (uint32_t i = 0; i < 3; i++) expires += shard_db_expires(w.shards[i], 9);
    cr_assert_eq(expires, 300);
    w.ks.now += 1000000;
    for (uint32_t i = 0; i < 3; i++) {
        while (shard_sweep(w.shards[i], w.ks.now, 1000, NULL) > 0) {}
    }
    cr_assert_eq(ks_db_keys(&w.ks, 9), 0);
    world_deinit(&w);
}
