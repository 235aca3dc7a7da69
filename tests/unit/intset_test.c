/* Intset: the layout to the byte, a random test against a plain model, hostile bytes. */
#include "splitring/data/intset.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

#include "splitring/base/mem.h"
#include "splitring/base/rng.h"

static struct lp empty(void)
{
    struct lp block = {mem_alloc(INTSET_EMPTY_LEN), lp_resize_heap};
    intset_init(block.bytes);
    return block;
}

static void expect_bytes(const struct lp *block, const char *bytes, size_t len)
{
    cr_assert_eq(intset_len(block->bytes), len);
    cr_assert_arr_eq(block->bytes, bytes, len);
}
#define EXPECT_BYTES(block, literal) expect_bytes(block, literal, sizeof(literal) - 1)

Test(intset, layout)
{
    struct lp block = empty();
    EXPECT_BYTES(&block, "\x02\0\0\0\0\0\0\0");
    cr_assert_eq(intset_add(&block, 5), 1);
    cr_assert_eq(intset_add(&block, -1), 1);
    cr_assert_eq(intset_add(&block, 5), 0);
    EXPECT_BYTES(&block, "\x02\0\0\0\x02\0\0\0\xff\xff\x05\0");
    cr_assert_eq(intset_add(&block, 65535), 1);
    EXPECT_BYTES(&block, "\x04\0\0\0\x03\0\0\0\xff\xff\xff\xff\x05\0\0\0\xff\xff\0\0");
    cr_assert_eq(intset_add(&block, INT64_MIN), 1);
    EXPECT_BYTES(&block, "\x08\0\0\0\x04\0\0\0"
                         "\0\0\0\0\0\0\0\x80"
                         "\xff\xff\xff\xff\xff\xff\xff\xff"
                         "\x05\0\0\0\0\0\0\0"
                         "\xff\xff\0\0\0\0\0\0");
    cr_assert(intset_remove(&block, INT64_MIN));
    cr_assert_not(intset_remove(&block, INT64_MIN));
    intset_remove_at(&block, 0, 2);
    /* The width stays. */
    EXPECT_BYTES(&block, "\x08\0\0\0\x01\0\0\0\xff\xff\0\0\0\0\0\0");
    mem_free(block.bytes);
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int64_t some_number(struct rng *rng, unsigned bits)
{
    return (int64_t)(rng_next(rng) << (64 - bits)) >> (64 - bits);
}

/* The model is a sorted array. */
static void against_model(uint64_t seed)
{
    struct lp block = empty();
    int64_t model[400];
    uint32_t count = 0;
    struct rng rng;
    rng_seed(&rng, seed);
    for (int step = 0; step < 3000; step++) {
        unsigned bits = 4 + (unsigned)rng_below(&rng, 4) * ((unsigned)step / 600 + 1) * 3;
        int64_t value = some_number(&rng, bits);
        int64_t *found = bsearch(&value, model, count, sizeof(value), compare);
        uint32_t index;
        cr_assert_eq(intset_find(block.bytes, value, &index), found != NULL);
        if (found) cr_assert_eq(index, found - model);
        bool full = count == ARRAY_COUNT(model);
        if (rng_below(&rng, 3) && !(full && !found)) {
            cr_assert_eq(intset_add(&block, value), !found);
            if (!found) {
                model[count++] = value;
                qsort(model, count, sizeof(*model), compare);
            }
        } else {
            if (count && rng_below(&rng, 2)) value = model[rng_below(&rng, count)];
            found = bsearch(&value, model, count, sizeof(value), compare);
            cr_assert_eq(intset_remove(&block, value), found != NULL);
            if (found) {
                count--;
                memmove(found, found + 1, (size_t)(model + count - found) * sizeof(*model));
            }
        }
        cr_assert_eq(intset_count(block.bytes), count);
        for (uint32_t i = 0; i < count; i++) cr_assert_eq(intset_get(block.bytes, i), model[i]);
        cr_assert_eq(intset_valid(slice_of(block.bytes, intset_len(block.bytes))), count > 0);
    }
    mem_free(block.bytes);
}

Test(intset, random_against_a_model)
{
    for (uint64_t seed = 0; seed < 20; seed++) against_model(seed);
}

Test(intset, edges_of_widths)
{
    static const int64_t edges[] = {
        INT64_MIN, INT32_MIN - 1LL, INT32_MIN, INT16_MIN - 1,   INT16_MIN, 0,
        INT16_MAX, INT16_MAX + 1,   INT32_MAX, INT32_MAX + 1LL, INT64_MAX};
    for (size_t from = 0; from < ARRAY_COUNT(edges); from++) {
        struct lp block = empty();
        for (size_t i = 0; i < ARRAY_COUNT(edges); i++) {
            cr_assert_eq(intset_add(&block, edges[(from + i) % ARRAY_COUNT(edges)]), 1);
        }
        for (uint32_t i = 0; i < ARRAY_COUNT(edges); i++) {
            cr_assert_eq(intset_get(block.bytes, i), edges[i]);
        }
        mem_free(block.bytes);
    }
}

static char *no_room(struct lp *block, size_t len)
{
    (void)block;
    (void)len;
    return NULL;
}

Test(intset, no_memory)
{
    struct lp block = empty();
    cr_assert_eq(intset_add(&block, 1), 1);
    cr_assert_eq(intset_add(&block, 3), 1);
    block.resize = no_room;
    cr_assert_eq(intset_add(&block, 2), -ENOMEM);
    cr_assert_eq(intset_add(&block, 1 << 20), -ENOMEM);
    cr_assert_eq(intset_add(&block, 3), 0);
    EXPECT_BYTES(&block, "\x02\0\0\0\x02\0\0\0\x01\0\x03\0");
    cr_assert(intset_remove(&block, 1));
    EXPECT_BYTES(&block, "\x02\0\0\0\x01\0\0\0\x03\0");
    mem_free(block.bytes);
}

Test(intset, hostile_bytes)
{
    cr_assert(intset_valid(SLICE("\x02\0\0\0\x02\0\0\0\x01\0\x03\0")));
    cr_assert(intset_valid(SLICE("\x08\0\0\0\x01\0\0\0\x01\0\0\0\0\0\0\0")), "wider than needed");
    const struct slice bad[] = {
        SLICE(""),
        SLICE("\x02\0\0\0\x00\0\0"),
        SLICE("\x02\0\0\0\x00\0\0\0"),
        SLICE("\x03\0\0\0\x01\0\0\0\x01\0\0"),
        SLICE("\x00\0\0\0\x01\0\0\0\x01\0"),
        SLICE("\x02\0\0\0\x02\0\0\0\x01\0\x03"),
        SLICE("\x02\0\0\0\x01\0\0\0\x01\0\x03\0"),
        SLICE("\x02\0\0\0\x02\0\0\0\x03\0\x01\0"),
        SLICE("\x02\0\0\0\x02\0\0\0\x03\0\x03\0"),
        SLICE("\x02\0\0\0\xff\xff\xff\xff\x03\0\x03\0"),
        SLICE("\x08\0\0\0\xff\xff\xff\x1f\x03\0\x03\0\0\0\0\0"),
    };
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) cr_assert_not(intset_valid(bad[i]), "%zu", i);
}
