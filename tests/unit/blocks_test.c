/* Sequences of blocks against a plain array: random changes with and without a frozen root, memory
 * that runs out at every point, exact books. */
#include <criterion/criterion.h>

#include "blocks_fixture.h"

struct world {
    struct blocks b;
    struct model m, frozen;
    struct rng rng;
    uint64_t next_id;
};

static void world_init(struct world *w, uint64_t seed)
{
    *w = (struct world){.next_id = 1};
    blocks_init(&w->b);
    rng_seed(&w->rng, seed);
}

static void world_deinit(struct world *w)
{
    blocks_deinit(&w->b);
    cr_assert_eq(fixture_live_bytes(), 0);
    model_free(&w->m);
    model_free(&w->frozen);
}

static size_t below(struct world *w, size_t limit) { return (size_t)rng_below(&w->rng, limit); }

/* A block whose key fits between its neighbours to be. */
static bool draw_block(struct world *w, size_t at, struct model_block *block)
{
    uint64_t low = at ? w->m.blocks[at - 1].key.high : 0;
    uint64_t high = at < w->m.len ? w->m.blocks[at].key.high : low + (1u << 20);
    if (w->m.len == 0) low = 1ull << 61, high = 1ull << 62;
    else if (at == 0) low = high - (1u << 20);
    if (high - low < 2) return false;
    *block = (struct model_block){.id = w->next_id++,
                                  .len = 1 + (uint32_t)below(w, 50),
                                  .count = (uint32_t)below(w, 5),
                                  .key = {low + 1 + below(w, high - low - 1), below(w, 9)}};
    return true;
}

/* A cursor at the block, by one of the ways that lead there. */
static void go_to(struct world *w, size_t at, struct blocks_cursor *c)
{
    const struct model_block *block = &w->m.blocks[at];
    uint32_t in_block;
    switch (below(w, 3)) {
    case 0:
        if (block->count) {
            uint64_t index = model_rank(&w->m, at) + below(w, block->count);
            blocks_at(&w->b, index, c, &in_block);
            cr_assert_eq(in_block, index - model_rank(&w->m, at));
            break;
        }
        __attribute__((fallthrough));
    case 1: {
        struct blocks_key key = {block->key.high, block->key.low + below(w, 3)};
        blocks_seek(&w->b, key, c);
        break;
    }
    default:
        if (at < w->m.len / 2) {
            blocks_first(&w->b, c);
            for (size_t i = 0; i < at; i++) blocks_next(&w->b, c);
        } else {
            blocks_last(&w->b, c);
            for (size_t i = w->m.len - 1; i > at; i--) blocks_prev(&w->b, c);
        }
    }
    model_check_block(c->block, block);
    cr_assert_eq(blocks_rank(&w->b, c), model_rank(&w->m, at));
}

static void insert(struct world *w, size_t at, bool ends)
{
    struct blocks_cursor c;
    struct model_block block;
    if (!draw_block(w, at, &block)) return;
    struct block_init init = model_block_init(&block);
    if (!init.bytes) return;
    int rc;
    bool after = false;
    size_t stands = at;
    if (at == 0 && (ends || w->m.len == 0)) {
        rc = blocks_prepend(&w->b, &init, &c);
    } else if (at == w->m.len && ends) {
        rc = blocks_append(&w->b, &init, &c);
    } else {
        after = at == w->m.len || (at > 0 && below(w, 2));
        stands = after ? at - 1 : at;
        go_to(w, stands, &c);
        rc = after ? blocks_insert_after(&w->b, &c, &init)
                   : blocks_insert_before(&w->b, &c, &init);
    }
    if (rc) {
        cr_assert(fixture_has_failed());
        fixture_free(init.bytes);
        if (stands < w->m.len && !ends) model_check_block(c.block, &w->m.blocks[stands]);
        return;
    }
    model_insert(&w->m, at, block);
    model_check_block(c.block, &block);
    cr_assert_eq(blocks_rank(&w->b, &c), model_rank(&w->m, at));
}

static void remove_at(struct world *w, size_t at)
{
    struct blocks_cursor c;
    go_to(w, at, &c);
    if (blocks_remove(&w->b, &c)) {
        cr_assert(fixture_has_failed() && w->b.frozen);
        model_check_block(c.block, &w->m.blocks[at]);
        return;
    }
    model_remove(&w->m, at);
    if (at == w->m.len) {
        cr_assert_null(c.block);
    } else {
        model_check_block(c.block, &w->m.blocks[at]);
        cr_assert_eq(blocks_rank(&w->b, &c), model_rank(&w->m, at));
        blocks_next(&w->b, &c);
        if (at + 1 < w->m.len) model_check_block(c.block, &w->m.blocks[at + 1]);
        else cr_assert_null(c.block);
    }
}

/* Grows or shrinks where it begins; the rest stays where it was in relation to the end. */
static void change_front(struct world *w, struct blocks_cursor *c, struct model_block *block)
{
    uint32_t n = (uint32_t)below(w, 60);
    if (below(w, 2)) {
        char last = c->block->bytes[block->len - 1];
        if (!block_front_grow(&w->b, c->block, n)) {
            cr_assert(fixture_has_failed());
            return;
        }
        cr_assert_eq(c->block->bytes[n + block->len - 1], last);
        block->len += n;
    } else if (n < block->len) {
        block_front_shrink(c->block, n);
        block->len -= n;
    }
    blocks_changed(&w->b, c, block->len, c->block->count);
    model_fill(c->block->bytes, block);
}

static void change(struct world *w, size_t at)
{
    struct blocks_cursor c;
    struct model_block *block = &w->m.blocks[at];
    go_to(w, at, &c);
    if (blocks_own(&w->b, &c)) {
        cr_assert(fixture_has_failed() && w->b.frozen);
        model_check_block(c.block, block);
        return;
    }
    struct model_block wanted = *block;
    wanted.len = 1 + (uint32_t)below(w, 200);
    wanted.count = (uint32_t)below(w, 6);
    if (below(w, 2)) {
        change_front(w, &c, block);
        wanted.len = block->len;
    }
    char *bytes = block_resize(&w->b, c.block, wanted.len);
    if (!bytes) {
        cr_assert(fixture_has_failed() && wanted.len > c.block->room);
        return;
    }
    if (below(w, 3) == 0) {
        c.block->len = wanted.len;
        block_fit(&w->b, c.block);
        bytes = c.block->bytes;
    }
    *block = wanted;
    model_fill(bytes, block);
    blocks_changed(&w->b, &c, block->len, block->count);
    model_check_block(c.block, block);
}

static void freeze_or_thaw(struct world *w)
{
    if (w->b.frozen) {
        blocks_thaw(&w->b);
        model_free(&w->frozen);
    } else {
        blocks_freeze(&w->b);
        model_copy(&w->frozen, &w->m);
    }
    if (!w->b.frozen) model_free(&w->frozen);
}

/* One random change; `growth` in percent: how likely it is an insertion. */
static void step(struct world *w, unsigned growth, bool ends)
{
    size_t len = w->m.len;
    size_t at = below(w, len + 1);
    if (ends) at = below(w, 2) ? 0 : len;
    if (below(w, 100) < growth || len == 0) insert(w, at, ends);
    else if (below(w, 3) == 0) change(w, at == len ? at - 1 : at);
    else remove_at(w, at == len ? at - 1 : at);
}

static void run(uint64_t seed, size_t steps, bool ends, bool freezing, bool failing)
{
    struct world w;
    world_init(&w, seed);
    unsigned growth = 60;
    for (size_t i = 0; i < steps; i++) {
        if (below(&w, 400) == 0) growth = growth > 50 ? 20 : 75;
        if (freezing && below(&w, 60) == 0) freeze_or_thaw(&w);
        if (failing && below(&w, 2)) fixture_fail_after((int)below(&w, 6));
        step(&w, growth, ends);
        fixture_fail_after(-1);
        if (i % 64 == 0) model_verify(&w.b, &w.m, &w.frozen);
    }
    model_verify(&w.b, &w.m, &w.frozen);
    if (failing) {
        while (w.m.len) remove_at(&w, below(&w, w.m.len));
        cr_assert_eq(w.b.bytes, 0);
        if (w.b.frozen) model_verify(&w.b, &w.m, &w.frozen);
    }
    world_deinit(&w);
}

Test(blocks, anywhere)
{
    for (uint64_t seed = 0; seed < 6; seed++) run(seed, 6000, false, false, false);
}

Test(blocks, at_the_ends)
{
    for (uint64_t seed = 0; seed < 6; seed++) run(seed + 100, 6000, true, false, false);
}

Test(blocks, with_frozen_roots)
{
    for (uint64_t seed = 0; seed < 12; seed++) run(seed + 200, 4000, seed % 3 == 0, true, false);
}

/* Walks on, checks what it meets, and gives it up. */
static void leave(struct world *w, struct blocks_cursor *at, size_t *left, size_t count)
{
    if (!w->b.frozen) return;
    for (; count > 0 && w->b.frozen; count--) {
        model_check_block(at->block, &w->frozen.blocks[(*left)++]);
        blocks_frozen_leave(&w->b, at);
        cr_assert_eq(at->block == NULL, w->b.frozen == NULL);
    }
    if (w->b.frozen) return;
    cr_assert_eq(*left, w->frozen.len);
    model_free(&w->frozen);
}

static void run_leaving(uint64_t seed, size_t steps, bool failing)
{
    struct world w;
    struct blocks_cursor at;
    size_t left = 0, walks = 0;
    world_init(&w, seed);
    for (size_t i = 0; i < 500 + seed % 7 * 300; i++) insert(&w, w.m.len, true);
    unsigned growth = 50;
    for (size_t i = 0; i < steps; i++) {
        if (below(&w, 400) == 0) growth = growth > 50 ? 20 : 75;
        if (!w.b.frozen && below(&w, 30) == 0) {
            freeze_or_thaw(&w);
            if (w.b.frozen) blocks_frozen_first(&w.b, &at);
            left = 0;
            walks++;
        }
        if (below(&w, 3) == 0) leave(&w, &at, &left, below(&w, 40));
        if (failing && below(&w, 2)) fixture_fail_after((int)below(&w, 6));
        step(&w, growth, seed % 3 == 0);
        fixture_fail_after(-1);
        if (i % 64 == 0) model_verify(&w.b, &w.m, &w.frozen);
    }
    cr_assert_gt(walks, 5);
    leave(&w, &at, &left, SIZE_MAX);
    model_verify(&w.b, &w.m, NULL);
    world_deinit(&w);
}

Test(blocks, frozen_roots_that_are_left)
{
    for (uint64_t seed = 0; seed < 12; seed++) run_leaving(seed + 400, 4000, seed % 2);
}

Test(blocks, without_memory)
{
    for (uint64_t seed = 0; seed < 12; seed++)
        run(seed + 300, 4000, seed % 3 == 0, seed % 2 == 0, true);
}

/* Sizes at which the root splits, and splits again. */
Test(blocks, three_levels)
{
    for (int front = 0; front < 2; front++) {
        struct world w;
        world_init(&w, 7);
        for (size_t i = 0; i < 9000; i++) insert(&w, front ? 0 : w.m.len, true);
        model_verify(&w.b, &w.m, NULL);
        cr_assert_eq(w.b.height, 3);
        cr_assert_lt(w.b.bytes, 9000 * (48 + 64 + 33 + 2), "nodes of a growing sequence are full");
        while (w.m.len > 2) {
            remove_at(&w, below(&w, w.m.len));
            if (w.m.len % 1000 == 0) model_verify(&w.b, &w.m, NULL);
        }
        cr_assert_eq(w.b.height, 1);
        world_deinit(&w);
    }
}

Test(blocks, one_block_has_no_node)
{
    struct world w;
    struct blocks_cursor c;
    uint32_t in_block;
    world_init(&w, 9);
    blocks_first(&w.b, &c);
    cr_assert_null(c.block);
    blocks_seek(&w.b, (struct blocks_key){5, 5}, &c);
    cr_assert_null(c.block);
    blocks_at(&w.b, 0, &c, &in_block);
    cr_assert_null(c.block);
    insert(&w, 0, true);
    cr_assert_eq(w.b.height, 0);
    cr_assert_leq(w.b.bytes, sizeof(struct block) + 64);
    model_verify(&w.b, &w.m, NULL);
    blocks_seek(&w.b, (struct blocks_key){0, 0}, &c);
    cr_assert_null(c.block);
    remove_at(&w, 0);
    cr_assert_eq(w.b.bytes, 0);
    world_deinit(&w);
}

Test(blocks, freed_in_slices)
{
    struct world w;
    world_init(&w, 11);
    for (size_t i = 0; i < 3000; i++) insert(&w, w.m.len, true);
    bool over = false;
    while (!over) {
        size_t done = 0;
        uint64_t before = w.b.count;
        over = blocks_free_step(&w.b, 50, &done);
        cr_assert(done >= 50 || over);
        cr_assert_lt(done, 50 + 5);
        cr_assert_leq(before - w.b.count, done);
        cr_assert_eq(fixture_live_bytes(), w.b.bytes);
    }
    cr_assert_null(w.b.root);
    model_free(&w.m);
}

/* What one write costs while a root is frozen: a path and a block, then nothing more. */
Test(blocks, a_write_copies_one_path)
{
    struct world w;
    struct blocks_cursor c;
    world_init(&w, 13);
    for (size_t i = 0; i < 5000; i++) insert(&w, w.m.len, true);
    freeze_or_thaw(&w);
    cr_assert_eq(w.b.frozen_bytes, 0);
    go_to(&w, 2500, &c);
    cr_assert_eq(blocks_own(&w.b, &c), 0);
    size_t cost = w.b.frozen_bytes;
    cr_assert(cost > 0 && cost <= 3 * 2048 + 200);
    go_to(&w, 2500, &c);
    cr_assert_eq(blocks_own(&w.b, &c), 0);
    cr_assert_eq(w.b.frozen_bytes, cost);
    model_verify(&w.b, &w.m, &w.frozen);
    freeze_or_thaw(&w);
    cr_assert_eq(w.b.frozen_bytes, 0);
    model_verify(&w.b, &w.m, NULL);
    world_deinit(&w);
}

Test(blocks, a_block_as_listpack)
{
    struct blocks b;
    struct blocks_cursor c;
    struct block_lp e;
    struct block_init init = {.bytes = fixture_alloc(LP_EMPTY_LEN), .len = LP_EMPTY_LEN};
    lp_init(init.bytes);
    blocks_init(&b);
    cr_assert_eq(blocks_append(&b, &init, &c), 0);
    for (int i = 0; i < 1000; i++) {
        block_lp_open(&e, &b, c.block);
        cr_assert_eq(lp_append_number(&e.lp, i * 1000), 0);
        blocks_changed(&b, &c, (uint32_t)lp_len(e.lp.bytes), lp_count(e.lp.bytes));
    }
    cr_assert_eq(b.count, 1000);
    cr_assert_eq(lp_get(c.block->bytes, lp_seek(c.block->bytes, 500)).number, 500000);
    cr_assert_eq(b.bytes, fixture_live_bytes());
    blocks_deinit(&b);
    cr_assert_eq(fixture_live_bytes(), 0);
}
