/* The table against a plain array of who is present: inserting, removing, finding, and the worst
 * that hashes can do. Walking and expiry are in table_walk_test.c. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

#include "table_fixture.h"

Test(table, empty)
{
    struct table *t = table_new(&item_ops, SEED);
    uint64_t key = 1;
    cr_assert_eq(table_count(t), 0);
    cr_assert_null(table_find(t, item_hash(key), item_slice(&key)));
    cr_assert_null(table_random(t, 12345));
    cr_assert_eq(table_scan(t, 0, 10, 10, NULL, NULL), 0);
    cr_assert_eq(table_expiry_min(t), INT64_MAX);
    cr_assert_not(table_drain(t, 10, NULL, NULL));
    cr_assert_lt(table_bytes(t), 1024);
    table_prefetch_slot(t, 7);
    cr_assert_null(table_prefetch_entry(t, 7).slot);
    table_verify(t);
    table_free(t);
}

Test(table, few_keys_take_less_than_a_page)
{
    struct table *t = table_new(&item_ops, SEED);
    struct item *items = items_new(100);
    for (size_t i = 0; i < 100; i++) {
        item_add(t, &items[i]);
        table_verify(t);
    }
    cr_assert_lt(table_bytes(t), 4096);
    items_verify(t, items, 100);
    table_free(t);
    free(items);
}

Test(table, bits_and_replacing)
{
    struct table *t = table_new(&item_ops, SEED);
    struct item *items = items_new(2);
    items[1].key = 0; /* the same key, another block */
    items[0].expiry = 5;
    item_add(t, &items[0]);
    uint64_t hash = item_hash(0), *slot = table_find_slot(t, hash, item_slice(&items[0].key));
    cr_assert_eq(table_slot_bits(slot), TABLE_BIT_TTL);
    table_slot_set_bits(slot, TABLE_BIT_TTL | TABLE_BIT_SAVED);
    table_slot_replace(slot, &items[1]);
    cr_assert_eq(table_slot_entry(slot), &items[1]);
    cr_assert_eq(table_slot_bits(slot), TABLE_BIT_TTL | TABLE_BIT_SAVED);
    table_slot_set_bits(slot, 0);
    cr_assert_eq(table_slot_entry(slot), &items[1]);
    cr_assert_eq(table_find(t, hash, item_slice(&items[0].key)), &items[1]);
    table_free(t);
    free(items);
}

/* Random inserts and removals with a wandering goal, so that everything grows and shrinks often. */
static void play(uint64_t seed, size_t count, size_t steps, size_t verify_every)
{
    struct table *t = table_new(&item_ops, SEED);
    struct item *items = items_new(count);
    struct rng rng;
    rng_seed(&rng, seed);
    uint64_t goal = 500;
    for (size_t step = 0; step < steps; step++) {
        if (step % (steps / 24 + 1) == 0) goal = rng_below(&rng, 1001);
        struct item *item = &items[rng_below(&rng, count)];
        bool wanted = rng_below(&rng, 1000) < goal;
        if (wanted && !item->present) item_add(t, item);
        if (!wanted && item->present) item_remove(t, item);
        if (step % verify_every == 0) {
            table_verify(t);
            items_verify(t, items, count);
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (items[i].present) item_remove(t, &items[i]);
    }
    table_verify(t);
    cr_assert_eq(table_count(t), 0);
    cr_assert_lt(table_bytes(t), 2048, "memory returns: %zu", table_bytes(t));
    table_free(t);
    free(items);
}

Test(table, model_small) { play(1, 300, 20000, 37); }
Test(table, model_page) { play(2, 3000, 60000, 997); }
Test(table, model_segments) { play(3, 20000, 400000, 9973); }
Test(table, model_large) { play(4, 200000, 3000000, 299993); }

Test(table, memory_follows_the_count)
{
    const size_t count = 300000;
    struct table *t = table_new(&item_ops, SEED);
    struct item *items = items_new(count);
    for (size_t i = 0; i < count; i++) item_add(t, &items[i]);
    cr_assert_lt(table_bytes(t), count * 11, "%zu", table_bytes(t));
    for (size_t left = count; left > 1000; left /= 2) {
        for (size_t i = left / 2; i < left; i++) item_remove(t, &items[i]);
        table_verify(t);
        cr_assert_lt(table_bytes(t), left / 2 * 20 + 8192, "%zu for %zu", table_bytes(t), left / 2);
    }
    table_free(t);
    free(items);
}

/* With room for as many as come, for far fewer and for far more; a second time it does nothing. */
Test(table, reserved)
{
    static const size_t expected[] = {1, 100, 3000, 100000, 1000000};
    const size_t count = 100000;
    for (size_t i = 0; i < ARRAY_COUNT(expected); i++) {
        struct table *t = table_new(&item_ops, SEED);
        struct item *items = items_new(count);
        table_reserve(t, expected[i]);
        table_verify(t);
        size_t bytes = table_bytes(t);
        cr_assert_lt(bytes, expected[i] * 14 + 2048, "%zu for %zu", bytes, expected[i]);
        for (size_t k = 0; k < count; k++) item_add(t, &items[k]);
        if (expected[i] == count) cr_assert_eq(table_bytes(t), bytes, "it has not grown");
        bytes = table_bytes(t);
        table_reserve(t, 10 * count);
        cr_assert_eq(table_bytes(t), bytes);
        table_verify(t);
        items_verify(t, items, count);
        for (size_t k = 0; k < count; k++) item_remove(t, &items[k]);
        table_verify(t);
        cr_assert_lt(table_bytes(t), 2048, "memory returns: %zu", table_bytes(t));
        table_free(t);
        free(items);
    }
}

/* One key many times: all hashes equal. The table does not look for duplicates. */
Test(table, equal_hashes_fill_a_segment_and_then_fail)
{
    const size_t others = 20000;
    struct table *t = table_new(&item_ops, SEED);
    struct item *items = items_new(5000), *normal = items_new(others);
    for (size_t i = 0; i < 5000; i++) items[i].key = 1000000007;
    for (size_t i = 0; i < others / 2; i++) item_add(t, &normal[i]);
    uint64_t hash = item_hash(items[0].key);
    size_t fit = 0;
    while (fit < 5000 && table_insert(t, hash, &items[fit], 0) == 0) fit++;
    cr_assert_geq(fit, 4000, "%zu", fit);
    cr_assert_lt(fit, 5000);
    cr_assert_eq(table_insert(t, hash, &items[fit], 0), -ENOMEM);
    table_verify(t);
    cr_assert_lt(table_bytes(t), 1000000, "%zu", table_bytes(t));
    for (size_t i = others / 2; i < others; i++) {
        /* One may share the full segment. */
        if (table_insert(t, item_hash(normal[i].key), &normal[i], 0) == 0) normal[i].present = true;
    }
    table_verify(t);
    while (fit--) {
        uint64_t *slot = table_find_slot(t, hash, item_slice(&items[0].key));
        cr_assert_not_null(slot);
        table_slot_remove(t, hash, slot);
    }
    table_verify(t);
    items_verify(t, normal, others);
    table_free(t);
    free(items);
    free(normal);
}

/* Tags crowd at the very end of a segment, where there is only the slack. */
Test(table, crowded_tags)
{
    enum { wanted = 1500, bits = 13 };
    struct table *t = table_new(&item_ops, SEED);
    struct item *items = items_new(wanted + 3000);
    size_t found = 0;
    for (uint64_t key = 1; found < wanted; key++) {
        if (item_hash(key) >> (64 - bits) == (1u << bits) - 1) items[found++].key = key;
    }
    for (size_t i = 0; i < wanted; i++) {
        item_add(t, &items[i]);
        if (i % 50 == 0) table_verify(t);
    }
    for (size_t i = wanted; i < wanted + 3000; i++) {
        items[i].key = (1ull << 40) + i;
        item_add(t, &items[i]);
    }
    table_verify(t);
    items_verify(t, items, wanted + 3000);
    for (size_t i = 0; i < wanted + 3000; i++) {
        item_remove(t, &items[i]);
        if (i % 50 == 0) table_verify(t);
    }
    table_verify(t);
    cr_assert_lt(table_bytes(t), 2048);
    table_free(t);
    free(items);
}

/* The same in small segments, at every size, until they end up exactly full. */
Test(table, crowded_small_segments)
{
    enum { count = 250 };
    struct item *items = items_new(count);
    uint64_t key = 1;
    for (unsigned round = 0; round < 100; round++) {
        struct table *t = table_new(&item_ops, SEED);
        unsigned bits = 2 + round % 6;
        for (size_t i = 0; i < count; i++) {
            while (item_hash(key) >> (64 - bits) != (1u << bits) - 1) key++;
            items[i] = (struct item){.key = key++, .expiry = INT64_MAX};
            item_add(t, &items[i]);
            table_verify(t);
        }
        items_verify(t, items, count);
        table_free(t);
    }
    free(items);
}

Test(table, hints_survive_changes)
{
    const size_t count = 30000;
    struct table *t = table_new(&item_ops, SEED);
    struct item *items = items_new(count);
    struct rng rng;
    rng_seed(&rng, 5);
    for (size_t i = 0; i < count / 2; i++) item_add(t, &items[i]);
    for (size_t round = 0; round < 3000; round++) {
        enum { batch = 16 };
        struct item *wanted[batch];
        struct table_hint hints[batch];
        for (size_t i = 0; i < batch; i++) {
            wanted[i] = &items[rng_below(&rng, count)];
            table_prefetch_slot(t, item_hash(wanted[i]->key));
        }
        for (size_t i = 0; i < batch; i++) {
            hints[i] = table_prefetch_entry(t, item_hash(wanted[i]->key));
        }
        for (size_t i = 0; i < batch; i++) {
            struct item *changed = &items[rng_below(&rng, count)];
            if (round % 2 && changed->present) item_remove(t, changed);
            else if (round % 2) item_add(t, changed);
            uint64_t *slot = table_find_slot_hinted(t, item_hash(wanted[i]->key),
                                                    item_slice(&wanted[i]->key), hints[i]);
            cr_assert_eq(slot ? table_slot_entry(slot) : NULL,
                         wanted[i]->present ? wanted[i] : NULL);
        }
    }
    table_free(t);
    free(items);
}
