/* Snapshots of a shard: what is told is what was there at the cut, whatever is written meanwhile.
 * (The tests of effects run all write handlers beside snapshots, with few keys; here are many.) */
#include <criterion/criterion.h>

#include <stdio.h>

#include "../handler_watch.h"
#include "splitring/base/mem.h"
#include "world.h"

struct scene {
    struct world w;
    struct snapshot_watch watch;
    struct rng rng;
    unsigned keys; /* names that there are */
};

static void scene_init(struct scene *s, uint32_t shards, unsigned keys, uint64_t seed)
{
    world_init(&s->w, shards);
    snapshot_watch_init(&s->watch, s->w.shards, shards, 16, seed);
    rng_seed(&s->rng, seed);
    s->keys = keys;
}

static void scene_deinit(struct scene *s)
{
    snapshot_watch_deinit(&s->watch);
    for (db_id db = 0; db < 16; db++) (void)ks_flush_db(&s->w.ks, db, true);
    world_free_pending(&s->w);
    cr_expect_eq(world_bytes(&s->w), 0);
    world_deinit(&s->w);
}

static struct slice draw_key(struct scene *s, char name[24])
{
    int len = snprintf(name, 24, "key:%u", (unsigned)rng_below(&s->rng, s->keys));
    return slice_of(name, (size_t)len);
}

static void set(struct scene *s)
{
    char name[24], value[400];
    size_t len = (size_t)rng_below(&s->rng, rng_below(&s->rng, 20) == 0 ? sizeof(value) : 40);
    for (size_t i = 0; i < len; i++) value[i] = (char)('a' + rng_below(&s->rng, 26));
    instant_ms expire = rng_below(&s->rng, 4) ? EXPIRE_NONE : s->w.ks.now + 100;
    struct slice key = draw_key(s, name);
    cr_assert_eq(ks_set_string(&s->w.ks, key, slice_of(value, len), expire), 0);
}

static void write_something(struct scene *s)
{
    char name[24], other[24];
    struct slice key = draw_key(s, name), to = draw_key(s, other);
    switch (rng_below(&s->rng, 12)) {
    case 0:
    case 1: (void)ks_delete(&s->w.ks, key, false); break;
    case 2:
        if (ks_find(&s->w.ks, key) && !slice_equal(key, to))
            cr_assert_eq(ks_move(&s->w.ks, key, s->w.ks.db, to), 0);
        break;
    case 3:
        if (ks_find(&s->w.ks, key)) cr_assert_eq(ks_copy(&s->w.ks, key, 1, to), 0);
        break;
    case 4:
        if (ks_find(&s->w.ks, key)) cr_assert_eq(ks_set_expiry(&s->w.ks, key, s->w.ks.now + 5), 0);
        break;
    case 5: {
        char *room = ks_string_room(&s->w.ks, key, 50);
        cr_assert(room);
        room[49] = 'x';
        break;
    }
    case 6: s->w.ks.now++; break;
    case 7:
        for (uint32_t i = 0; i < s->w.count; i++)
            (void)shard_sweep(s->w.shards[i], s->w.ks.now, 100, NULL);
        break;
    default: set(s);
    }
}

static void fill(struct scene *s, unsigned count)
{
    for (unsigned i = 0; i < count; i++) set(s);
}

static void run_one(struct scene *s, size_t budget, int writes)
{
    snapshot_watch_cut(&s->watch);
    do {
        for (int i = 0; i < writes; i++) write_something(s);
    } while (snapshot_watch_step(&s->watch, budget));
}

Test(snapshot, of_an_empty_shard)
{
    struct scene s;
    scene_init(&s, 2, 10, 1);
    run_one(&s, 10, 0);
    run_one(&s, 10, 3);
    cr_assert_eq(s.watch.finished, 2);
    scene_deinit(&s);
}

Test(snapshot, tells_the_cut_beside_writes, .timeout = 60)
{
    struct scene s;
    scene_init(&s, 2, 40000, 2);
    fill(&s, 30000);
    for (int i = 0; i < 6; i++) run_one(&s, 300 + 700u * (unsigned)i, 20 + 40 * i);
    cr_assert_eq(s.watch.finished, 6);
    scene_deinit(&s);
}

/* Tables split and merge under the walk. */
Test(snapshot, beside_growth_and_shrinking, .timeout = 60)
{
    struct scene s;
    char name[24];
    scene_init(&s, 1, 60000, 3);
    fill(&s, 1000);
    snapshot_watch_cut(&s.watch);
    do fill(&s, 2000);
    while (snapshot_watch_step(&s.watch, 60));
    fill(&s, 40000);
    snapshot_watch_cut(&s.watch);
    do {
        for (int i = 0; i < 4000; i++) (void)ks_delete(&s.w.ks, draw_key(&s, name), false);
    } while (snapshot_watch_step(&s.watch, 1000));
    cr_assert_eq(s.watch.finished, 2);
    scene_deinit(&s);
}

Test(snapshot, beside_flushes_and_swaps, .timeout = 60)
{
    struct scene s;
    scene_init(&s, 2, 3000, 4);
    for (int round = 0; round < 40; round++) {
        s.w.ks.db = (db_id)rng_below(&s.rng, 4);
        fill(&s, 1500);
        snapshot_watch_cut(&s.watch);
        do {
            s.w.ks.db = (db_id)rng_below(&s.rng, 4);
            for (int i = 0; i < 20; i++) write_something(&s);
            if (rng_below(&s.rng, 6) == 0)
                (void)ks_flush_db(&s.w.ks, s.w.ks.db, rng_below(&s.rng, 2) == 0);
            if (rng_below(&s.rng, 6) == 0)
                ks_swap_db(&s.w.ks, s.w.ks.db, (db_id)rng_below(&s.rng, 6));
        } while (snapshot_watch_step(&s.watch, 50));
    }
    cr_assert_eq(s.watch.finished, 40);
    scene_deinit(&s);
}

/* Bits of both senses are left behind, and brought into line, in slices or at the next cut. */
Test(snapshot, after_aborts, .timeout = 60)
{
    struct scene s;
    scene_init(&s, 2, 9000, 5);
    fill(&s, 9000);
    for (int round = 0; round < 30; round++) {
        snapshot_watch_cut(&s.watch);
        for (int i = 0; i < 10; i++) {
            for (int k = 0; k < 20; k++) write_something(&s);
            if (rng_below(&s.rng, 30) == 0) (void)ks_flush_db(&s.w.ks, 0, true);
            cr_assert(snapshot_watch_step(&s.watch, 100));
        }
        snapshot_watch_abort(&s.watch);
        cr_assert(!shard_snapshot_ready(s.w.shards[0]));
        for (int k = 0; k < 20; k++) write_something(&s);
        if (round % 3 == 0) (void)ks_flush_db(&s.w.ks, 0, true);
        if (round % 2) world_free_pending(&s.w);
        else (void)shard_free_step(s.w.shards[0], 1000);
        if (round % 2) cr_assert(shard_snapshot_ready(s.w.shards[0]));
        for (int k = 0; k < 50; k++) write_something(&s);
        fill(&s, 3000);
        run_one(&s, 900, 10);
    }
    cr_assert_eq(s.watch.finished, 30);
    scene_deinit(&s);
}
