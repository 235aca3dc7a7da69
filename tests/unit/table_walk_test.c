/* Walking a table: SCAN's promise while it grows and shrinks, expiry sweeps, sampling, draining. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "table_fixture.h"

static void see(void *ctx, void *entry, unsigned bits)
{
    struct item *item = entry;
    (void)bits;
    item->seen++;
    ++*(size_t *)ctx;
}

Test(walk, a_still_table_is_seen_once)
{
    for (size_t count = 1; count < 100000; count = count * 3 + 1) {
        struct table *t = table_new(&item_ops, SEED);
        struct item *items = items_new(count);
        for (size_t i = 0; i < count; i++) item_add(t, &items[i]);
        uint64_t cursor = 0;
        size_t total = 0, calls = 0;
        do {
            size_t seen = 0;
            uint64_t before = cursor;
            cursor = table_scan(t, cursor, 10, 500, see, &seen);
            cr_assert(cursor == 0 || cursor > before, "forward");
            cr_assert_lt(cursor, 1ull << 48);
            cr_assert_leq(seen, 16);
            total += seen;
            calls++;
        } while (cursor);
        cr_assert_eq(total, count);
        cr_assert_leq(calls, count / 8 + 2);
        for (size_t i = 0; i < count; i++) cr_assert_eq(items[i].seen, 1);
        table_free(t);
        free(items);
    }
}

/* A third of the items stays; the others come and go between the steps of one walk. */
static void walk_while_changing(uint64_t seed, size_t count, size_t changes, int direction)
{
    struct table *t = table_new(&item_ops, SEED);
    struct item *items = items_new(count);
    struct rng rng;
    rng_seed(&rng, seed);
    for (size_t i = 0; i < count; i += 3) item_add(t, &items[i]);
    for (size_t i = 0; i < count && direction < 0; i++) {
        if (i % 3) item_add(t, &items[i]);
    }
    uint64_t cursor = 0;
    size_t seen = 0, steps = 0;
    do {
        cursor = table_scan(t, cursor, 1 + rng_below(&rng, 40), 2000, see, &seen);
        for (size_t i = 0; i < changes; i++) {
            size_t at = rng_below(&rng, count);
            if (at % 3 == 0) continue;
            bool wanted = direction == 0 ? rng_below(&rng, 2) : direction > 0;
            if (wanted && !items[at].present) item_add(t, &items[at]);
            if (!wanted && items[at].present) item_remove(t, &items[at]);
        }
        cr_assert_lt(++steps, count * 4 + 100);
    } while (cursor);
    for (size_t i = 0; i < count; i += 3) cr_assert_geq(items[i].seen, 1);
    table_verify(t);
    table_free(t);
    free(items);
}

Test(walk, nothing_is_missed_while_growing)
{
    for (uint64_t seed = 0; seed < 8; seed++) walk_while_changing(seed, 30000 + seed * 999, 300, 1);
}

Test(walk, nothing_is_missed_while_shrinking)
{
    for (uint64_t seed = 0; seed < 8; seed++)
        walk_while_changing(seed, 30000 + seed * 999, 300, -1);
}

Test(walk, nothing_is_missed_while_changing)
{
    for (uint64_t seed = 0; seed < 8; seed++) walk_while_changing(seed, 20000, 500, 0);
}

/* The cursor comes from a client and may be anything. */
Test(walk, any_cursor)
{
    struct table *t = table_new(&item_ops, SEED);
    struct item *items = items_new(50000);
    struct rng rng;
    rng_seed(&rng, 3);
    for (size_t i = 0; i < 50000; i++) item_add(t, &items[i]);
    for (size_t i = 0; i < 20000; i++) {
        size_t seen = 0;
        uint64_t cursor = rng_next(&rng) >> rng_below(&rng, 64);
        uint64_t next = table_scan(t, cursor, 10, 100, see, &seen);
        cr_assert(next == 0 || (next > cursor && next < 1ull << 48));
    }
    cr_assert_eq(table_scan(t, UINT64_MAX, 10, 10, see, NULL), 0);
    table_free(t);
    free(items);
}

Test(walk, random_reaches_everybody)
{
    for (size_t count = 1; count < 5000; count = count * 4 + 1) {
        struct table *t = table_new(&item_ops, SEED);
        struct item *items = items_new(count);
        struct rng rng;
        rng_seed(&rng, count);
        for (size_t i = 0; i < count; i++) item_add(t, &items[i]);
        for (size_t i = 0; i < count * 100; i++) {
            struct item *item = table_random(t, rng_next(&rng));
            cr_assert_not_null(item);
            item->seen++;
        }
        for (size_t i = 0; i < count; i++) {
            cr_assert(items[i].seen > 20 && items[i].seen < 300, "%u", items[i].seen);
        }
        table_free(t);
        free(items);
    }
}

/* Chi-square of draws against "all alike": about as large as there are entries, give or take some
 * roots of it. Where segments differ in size (after a split) a bias of two would show as a third
 * more. */
Test(walk, random_is_uniform)
{
    static const size_t counts[] = {100, 3000, 3600, 4000, 5000, 7500, 9000, 20000, 60000};
    for (size_t c = 0; c < sizeof(counts) / sizeof(*counts); c++) {
        size_t count = counts[c], draws = 100 * count;
        struct table *t = table_new(&item_ops, SEED);
        struct item *items = items_new(count);
        struct rng rng;
        rng_seed(&rng, count);
        for (size_t i = 0; i < count; i++) item_add(t, &items[i]);
        for (size_t i = 0; i < draws; i++) {
            struct item *item = table_random(t, rng_next(&rng));
            item->seen++;
        }
        double chi = 0, slack = 5 * sqrt(2.0 * (double)count);
        for (size_t i = 0; i < count; i++) {
            double off = (double)items[i].seen - 100;
            chi += off * off / 100;
        }
        cr_expect(fabs(chi - (double)(count - 1)) < slack, "%zu: %.0f", count, chi);
        table_free(t);
        free(items);
    }
}

struct sweep {
    int64_t now;
    struct item *due[100000];
    size_t count;
};

static int64_t collect(void *ctx, void *entry)
{
    struct sweep *sweep = ctx;
    struct item *item = entry;
    if (item->expiry > sweep->now) return item->expiry;
    sweep->due[sweep->count++] = item;
    return INT64_MAX;
}

Test(walk, sweeps_find_what_is_due)
{
    const size_t count = 60000;
    static struct sweep sweep;
    struct table *t = table_new(&item_ops, SEED);
    struct item *items = items_new(count);
    struct rng rng;
    rng_seed(&rng, 17);
    for (size_t i = 0; i < count; i++) {
        if (i % 4) items[i].expiry = 1 + (int64_t)rng_below(&rng, 1000);
        item_add(t, &items[i]);
    }
    for (sweep.now = 1; sweep.now <= 1001; sweep.now += 20) {
        uint64_t cursor = 0;
        do {
            size_t visited;
            sweep.count = 0;
            cursor = table_sweep(t, cursor, sweep.now, 2, collect, &sweep, &visited);
            cr_assert_leq(visited, 2 * 4096);
            for (size_t i = 0; i < sweep.count; i++) item_remove(t, sweep.due[i]);
            /* Something else happens meanwhile. */
            struct item *other = &items[rng_below(&rng, count)];
            if (!other->present) {
                other->expiry = sweep.now + (int64_t)rng_below(&rng, 50);
                item_add(t, other);
            }
        } while (cursor);
        if (sweep.now % 100 == 1) table_verify(t);
        for (size_t i = 0; i < count; i++) {
            if (items[i].expiry < sweep.now - 1) cr_assert_not(items[i].present);
        }
        cr_assert_geq(table_expiry_min(t), sweep.now, "a whole pass raises the lowest");
    }
    cr_assert_geq(table_count(t), count / 4);
    table_free(t);
    free(items);
}

Test(walk, sweeping_nothing)
{
    static struct sweep sweep;
    struct table *t = table_new(&item_ops, SEED);
    struct item item = {.key = 4, .expiry = 100};
    size_t visited;
    item_add(t, &item);
    cr_assert_eq(table_sweep(t, 0, 0, 9, collect, &sweep, &visited), 0);
    cr_assert_eq(visited, 0);
    cr_assert_eq(table_sweep(t, 0, 99, 9, collect, &sweep, &visited), 0);
    cr_assert_eq(visited, 0);
    cr_assert_eq(table_expiry_min(t), 100);
    item_remove(t, &item);
    cr_assert_eq(table_sweep(t, 0, 100, 9, collect, &sweep, &visited), 0);
    cr_assert_eq(table_expiry_min(t), INT64_MAX);
    table_free(t);
}

/* What is noted behind the cursor while a pass is on its way must not be forgotten at its end. */
Test(walk, noted_behind_a_sweep)
{
    const size_t count = 20000;
    static struct sweep sweep = {.now = 50};
    struct table *t = table_new(&item_ops, SEED);
    struct item *items = items_new(count + 1);
    struct item *late = &items[count];
    size_t visited;
    for (size_t i = 0; i < count; i++) {
        items[i].expiry = i % 2 ? 50 : 1000;
        item_add(t, &items[i]);
    }
    uint64_t cursor = table_sweep(t, 0, sweep.now, 1, collect, &sweep, &visited);
    cr_assert_neq(cursor, 0);
    while (item_hash(late->key) >> 16 >= cursor) late->key++;
    late->expiry = 500;
    item_add(t, late);
    while (cursor) cursor = table_sweep(t, cursor, sweep.now, 1, collect, &sweep, &visited);
    cr_assert_eq(table_expiry_min(t), 500);
    table_free(t);
    free(items);
}

static void take(void *ctx, void *entry)
{
    struct item *item = entry;
    cr_assert(item->present);
    item->present = false;
    ++*(size_t *)ctx;
}

Test(walk, draining_in_slices)
{
    for (size_t count = 0; count < 60000; count = count * 5 + 1) {
        struct table *t = table_new(&item_ops, SEED);
        struct item *items = items_new(count + 1);
        for (size_t i = 0; i < count; i++) item_add(t, &items[i]);
        size_t taken = 0, slices = 0;
        bool more;
        do {
            size_t before = taken;
            more = table_drain(t, 100, take, &taken);
            cr_assert(taken - before <= 100 && (taken - before == 100 || !more));
            if (slices++ % 50 == 0) {
                table_verify(t);
                items_verify(t, items, count);
            }
        } while (more);
        cr_assert_eq(taken, count);
        cr_assert_eq(table_count(t), 0);
        table_verify(t);
        item_add(t, &items[count]);
        items_verify(t, items, count + 1);
        table_free(t);
        free(items);
    }
}
