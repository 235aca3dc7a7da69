/* A dict against a plain model (an array of flags), through both forms and the changes between. */
#include "splitring/data/dict.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "table_fixture.h"
#include "table_impl.h"

static int insert(struct dict *d, struct item *item)
{
    unsigned bits = item->expiry == INT64_MAX ? 0 : TABLE_BIT_TTL;
    int status = dict_insert(d, item_hash(item->key), item, bits);
    if (bits) dict_note_expiry(d, item_hash(item->key), item->expiry);
    item->present = true;
    return status;
}

static void take_out(struct dict *d, struct item *item)
{
    cr_assert_eq(dict_remove(d, item_hash(item->key), item_slice(&item->key)), item);
    item->present = false;
}

static void verify_flat(const struct dict *d)
{
    const uint64_t *slots = d->body;
    size_t count = 0, gap = 0;
    unsigned tag_before = 0;
    int64_t lowest = INT64_MAX;
    for (size_t i = 0; i < d->slots; i++) {
        if (slots[i] == 0) {
            gap = i + 1;
            continue;
        }
        const struct item *item = slot_entry(slots[i]);
        unsigned tag = slot_tag(slots[i]);
        size_t home = slot_home(tag, d->homes);
        cr_assert_eq(tag, (unsigned)(item_hash(item->key) >> 48));
        cr_assert(tag >= tag_before && home <= i && home >= gap);
        if (slots[i] & TABLE_BIT_TTL && item->expiry < lowest) lowest = item->expiry;
        tag_before = tag;
        count++;
    }
    cr_assert_eq(count, d->count);
    cr_assert(d->slots == 0 || slots[d->slots - 1] == 0);
    cr_assert(dict_expiry_min(d) <= lowest);
}

static void count_visit(void *ctx, void *entry, unsigned bits)
{
    struct item *item = entry;
    cr_assert_eq(bits & TABLE_BIT_TTL, item->expiry == INT64_MAX ? 0 : TABLE_BIT_TTL);
    item->seen++;
    ++*(size_t *)ctx;
}

static void verify(const struct dict *d, struct item *items, size_t count)
{
    if (d->is_table) {
        table_verify(d->body);
    } else {
        verify_flat(d);
    }
    size_t present = 0, seen = 0;
    for (size_t i = 0; i < count; i++) {
        items[i].seen = 0;
        present += items[i].present;
        void *found = dict_find(d, item_hash(items[i].key), item_slice(&items[i].key));
        cr_assert_eq(found, items[i].present ? &items[i] : NULL);
    }
    cr_assert_eq(dict_count(d), present);
    dict_each(d, count_visit, &seen);
    cr_assert_eq(seen, present);
    for (size_t i = 0; i < count; i++) cr_assert_eq(items[i].seen, items[i].present);
}

static void come_and_go(size_t count, uint64_t seed)
{
    struct dict d;
    struct item *items = items_new(count);
    struct rng rng;
    rng_seed(&rng, seed);
    for (size_t i = 0; i < count; i += 3) items[i].expiry = (int64_t)i + 1;
    dict_init(&d, &item_ops, SEED);
    bool tables = false;
    for (int wave = 0; wave < 6; wave++) {
        /* Towards full, then towards empty, with some going the other way. */
        for (size_t step = 0; step < count * 2; step++) {
            struct item *item = &items[rng_below(&rng, count)];
            bool add = rng_below(&rng, 8) ? wave % 2 == 0 : wave % 2;
            if (add && !item->present) cr_assert_eq(insert(&d, item), 0);
            if (!add && item->present) take_out(&d, item);
            if (!add && !item->present) {
                struct slice key = item_slice(&item->key);
                cr_assert_null(dict_remove(&d, item_hash(item->key), key));
            }
            tables |= d.is_table;
            if (count > 200 ? step % 2999 == 0 : step % 7 == 0) verify(&d, items, count);
        }
        verify(&d, items, count);
    }
    cr_assert_eq(tables, count > 4000);
    for (size_t i = 0; i < count; i++) {
        if (items[i].present) take_out(&d, &items[i]);
    }
    verify(&d, items, count);
    cr_assert_eq(dict_bytes(&d), 0);
    dict_deinit(&d);
    free(items);
}

Test(dict, small_against_a_model)
{
    for (size_t count = 1; count < 200; count = count * 3 / 2 + 1) come_and_go(count, count);
}

Test(dict, large_against_a_model)
{
    come_and_go(1200, 1);
    come_and_go(3000, 2);
    come_and_go(9000, 3);
    come_and_go(30000, 4);
}

Test(dict, bytes_per_member)
{
    struct dict d;
    struct item *items = items_new(60000);
    dict_init(&d, &item_ops, SEED);
    for (size_t i = 0; i < 60000; i++) {
        cr_assert_eq(insert(&d, &items[i]), 0);
        if (i >= 128) cr_assert_leq(dict_bytes(&d), 14 * (i + 1), "%zu", i);
    }
    dict_deinit(&d);
    free(items);
}

/* A third stays and must be seen, whatever form the dict takes between two steps. */
static void scan_while_changing(uint64_t seed, size_t count, int direction)
{
    struct dict d;
    struct item *items = items_new(count);
    struct rng rng;
    rng_seed(&rng, seed);
    dict_init(&d, &item_ops, SEED);
    for (size_t i = 0; i < count; i += direction < 0 ? 1 : 9) {
        cr_assert_eq(insert(&d, &items[i]), 0);
    }
    uint64_t cursor = 0;
    size_t seen = 0, steps = 0, forms = 0;
    bool table = d.is_table;
    do {
        uint64_t next = dict_scan(&d, cursor, 1 + rng_below(&rng, 20), count_visit, &seen);
        cr_assert_lt(next, 1ull << 48);
        cursor = next;
        for (size_t i = 0; i < count / 40; i++) {
            struct item *item = &items[rng_below(&rng, count)];
            if (item->key % 9 == 0) continue;
            bool add = direction ? direction > 0 : rng_below(&rng, 2);
            if (add && !item->present) cr_assert_eq(insert(&d, item), 0);
            if (!add && item->present) take_out(&d, item);
        }
        forms += d.is_table != table;
        table = d.is_table;
        cr_assert_lt(++steps, count * 4 + 100);
    } while (cursor);
    for (size_t i = 0; i < count; i += 9) cr_assert_geq(items[i].seen, 1);
    if (direction && count > 5000 && count < 8000) cr_assert_geq(forms, 1);
    dict_deinit(&d);
    free(items);
}

Test(dict, scan_misses_nothing)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        for (int direction = -1; direction <= 1; direction++) {
            scan_while_changing(seed, 100 + seed * 37, direction);
            scan_while_changing(seed, 5200 + seed * 99, direction);
        }
    }
    scan_while_changing(99, 20000, 1);
    scan_while_changing(98, 20000, -1);
}

Test(dict, any_cursor)
{
    struct dict d;
    struct item *items = items_new(1000);
    struct rng rng;
    rng_seed(&rng, 1);
    dict_init(&d, &item_ops, SEED);
    size_t seen = 0;
    cr_assert_eq(dict_scan(&d, 0, 10, count_visit, &seen), 0);
    for (size_t i = 0; i < 1000; i++) cr_assert_eq(insert(&d, &items[i]), 0);
    for (size_t i = 0; i < 10000; i++) {
        uint64_t cursor = rng_next(&rng) >> rng_below(&rng, 64);
        uint64_t next = dict_scan(&d, cursor, 10, count_visit, &seen);
        cr_assert(next == 0 || (next > cursor && next < 1ull << 48));
    }
    cr_assert_eq(dict_scan(&d, 0, SIZE_MAX, count_visit, &seen), 0);
    dict_deinit(&d);
    free(items);
}

Test(dict, random_is_uniform)
{
    struct dict d;
    struct item *items = items_new(3000);
    struct rng rng;
    rng_seed(&rng, 5);
    for (size_t count = 2; count <= 3000; count = count * 3 + 1) {
        dict_init(&d, &item_ops, SEED);
        for (size_t i = 0; i < count; i++) {
            items[i].seen = 0;
            cr_assert_eq(insert(&d, &items[i]), 0);
        }
        for (size_t i = 0; i < count * 400; i++) {
            struct item *item = dict_random(&d, rng_next(&rng));
            item->seen++;
        }
        double chi = 0;
        for (size_t i = 0; i < count; i++) {
            double off = items[i].seen - 400.0;
            chi += off * off / 400;
        }
        /* Chi square with n degrees of freedom: n + 5 standard deviations of sqrt(2n). */
        double n = (double)count, over = chi - n;
        cr_assert(over < 0 || over * over < 25 * 2 * n + 100, "%zu: %f", count, chi);
        dict_deinit(&d);
    }
    cr_assert_null(dict_random(&d, 1));
    free(items);
}

struct due {
    int64_t now;
    struct item *items[20000];
    size_t count;
};

static int64_t collect(void *ctx, void *entry)
{
    struct due *due = ctx;
    struct item *item = entry;
    if (item->expiry > due->now) return item->expiry;
    due->items[due->count++] = item;
    return INT64_MAX;
}

static void sweep_all(size_t count)
{
    static struct due due;
    struct dict d;
    struct item *items = items_new(count);
    struct rng rng;
    rng_seed(&rng, count);
    dict_init(&d, &item_ops, SEED);
    for (size_t i = 0; i < count; i++) {
        if (i % 5) items[i].expiry = 1 + (int64_t)rng_below(&rng, 1000);
        cr_assert_eq(insert(&d, &items[i]), 0);
    }
    for (due.now = 1; due.now <= 1000; due.now += 37) {
        uint64_t cursor = 0;
        do {
            size_t visited;
            due.count = 0;
            cursor = dict_sweep(&d, cursor, due.now, 2, collect, &due, &visited);
            for (size_t i = 0; i < due.count; i++) take_out(&d, due.items[i]);
        } while (cursor);
        for (size_t i = 0; i < count; i++) {
            cr_assert_eq(items[i].present, items[i].expiry > due.now);
        }
        /* What became flat on the way was swept in part only: its lowest may be too low. */
        cr_assert(dict_expiry_min(&d) > 0);
        verify(&d, items, count);
    }
    dict_deinit(&d);
    free(items);
}

Test(dict, sweeps)
{
    sweep_all(3);
    sweep_all(500);
    sweep_all(15000);
}

static void take(void *ctx, void *entry)
{
    ((struct item *)entry)->present = false;
    ++*(size_t *)ctx;
}

Test(dict, drains_in_slices)
{
    for (size_t count = 1; count < 30000; count = count * 5 + 2) {
        struct dict d;
        struct item *items = items_new(count);
        dict_init(&d, &item_ops, SEED);
        for (size_t i = 0; i < count; i++) cr_assert_eq(insert(&d, &items[i]), 0);
        size_t taken = 0, slice = count / 7 + 1;
        bool more = true;
        for (size_t step = 1; more; step++) {
            more = dict_drain(&d, slice, take, &taken);
            if (more) {
                cr_assert_eq(taken, step * slice);
                verify(&d, items, count);
            }
        }
        cr_assert_eq(taken, count);
        cr_assert_eq(dict_count(&d), 0);
        /* And it can be used again. */
        cr_assert_eq(insert(&d, &items[0]), 0);
        verify(&d, items, count);
        dict_deinit(&d);
        free(items);
    }
}

/* Hashes that agree more than chance allows: slow, but right up to the last slot of the form. */
Test(dict, crowded_tags)
{
    for (unsigned tag = 0; tag <= 0xffff; tag += 0x5555) {
        struct dict d;
        struct item *items = items_new(700);
        uint64_t hash = (uint64_t)tag << 48;
        dict_init(&d, &item_ops, SEED);
        for (size_t i = 0; i < 700; i++) cr_assert_eq(dict_insert(&d, hash, &items[i], 0), 0);
        for (size_t i = 0; i < 700; i++) {
            cr_assert_eq(dict_find(&d, hash, item_slice(&items[i].key)), &items[i]);
        }
        size_t seen = 0;
        cr_assert_eq(dict_scan(&d, 0, 1, count_visit, &seen), 0);
        cr_assert_eq(seen, 700, "equal tags are visited together");
        for (size_t i = 0; i < 700; i++) {
            cr_assert_eq(dict_remove(&d, hash, item_slice(&items[i].key)), &items[i]);
        }
        dict_deinit(&d);
        free(items);
    }
}

Test(dict, reserved_room_does_not_grow)
{
    struct dict d;
    struct item *items = items_new(3000);
    dict_init(&d, &item_ops, SEED);
    dict_reserve(&d, 3000);
    const void *body = d.body;
    for (size_t i = 0; i < 3000; i++) cr_assert_eq(insert(&d, &items[i]), 0);
    cr_assert_eq(d.body, body);
    cr_assert_eq(table_slot_bits(dict_find_slot(&d, item_hash(7), item_slice(&items[7].key))), 0);
    dict_deinit(&d);
    free(items);
}

static int by_hash(const void *a, const void *b)
{
    uint64_t x = item_hash(((const struct item *)a)->key);
    uint64_t y = item_hash(((const struct item *)b)->key);
    return (x > y) - (x < y);
}

/* Copies of another dict come in hash order, from either end. */
Test(dict, in_hash_order)
{
    for (int direction = 0; direction < 2; direction++) {
        for (size_t count = 100; count <= 400000; count *= count < 10000 ? 9 : 50) {
            struct dict d;
            struct item *items = items_new(count);
            qsort(items, count, sizeof(*items), by_hash);
            dict_init(&d, &item_ops, SEED);
            for (size_t i = 0; i < count; i++) {
                cr_assert_eq(insert(&d, &items[direction ? count - 1 - i : i]), 0, "%zu", i);
            }
            verify(&d, items, count);
            cr_assert_lt(dict_bytes(&d), count * 14 + 512);
            for (size_t i = 0; i < count; i++) {
                if (i % 5) take_out(&d, &items[i]);
            }
            verify(&d, items, count);
            dict_deinit(&d);
            free(items);
        }
    }
}
