/* HyperLogLog values against a plain array of registers, and against bytes and estimates that
 * redis-server 7.0.15 gave for the same adds. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "splitring/base/rng.h"
#include "splitring/data/hll.h"

static char room[HLL_ROOM], other_room[HLL_ROOM];

static struct slice bytes_of(const struct hll *h) { return slice_of(h->bytes, h->len); }

static struct hll empty(char *bytes)
{
    struct hll h = {bytes, 0};
    hll_make_empty(&h);
    return h;
}

static void add_numbers(struct hll *h, unsigned from, unsigned to, uint64_t sparse_max)
{
    char text[16];
    for (unsigned i = from; i < to; i++) {
        size_t len = (size_t)snprintf(text, sizeof(text), "%u", i);
        cr_assert_neq(hll_set(h, hll_mark_of(slice_of(text, len)), sparse_max), HLL_CORRUPT);
    }
}

static uint64_t count_of(struct slice value)
{
    uint64_t count = 0;
    cr_assert(hll_count(value, &count));
    return count;
}

Test(hll, empty_value)
{
    struct hll h = empty(room);
    uint64_t cached = 1;
    cr_assert(slice_equal(bytes_of(&h), SLICE("HYLL\1\0\0\0\0\0\0\0\0\0\0\0\x7f\xff")));
    cr_assert(hll_is_valid(bytes_of(&h)) && hll_is_sparse(bytes_of(&h)));
    cr_assert(hll_cached(bytes_of(&h), &cached));
    cr_assert_eq(cached, 0);
    cr_assert_eq(count_of(bytes_of(&h)), 0);
}

/* PFADD h 0 1 2 … n-1, PFCOUNT h */
Test(hll, estimates_of_redis)
{
    static const struct {
        unsigned elements;
        uint64_t count;
        size_t len;
    } known[] = {{1, 1, 21}, {7, 7, 39}, {10, 10, 48},
                          {100, 100, 287}, {500, 503, 1061}, {1000, 1001, 1923},
                          {1500, 1512, 2766}, {2000, 2007, 12304}, {3000, 3004, 12304},
                          {10000, 9987, 12304}, {100000, 99565, 12304}, {1000000, 1009972, 12304}};
    struct hll h = empty(room);
    unsigned done = 0;
    for (size_t i = 0; i < ARRAY_COUNT(known); i++) {
        add_numbers(&h, done, known[i].elements, 3000);
        done = known[i].elements;
        cr_assert_eq(count_of(bytes_of(&h)), known[i].count, "%u", done);
        cr_assert_eq(h.len, known[i].len, "%u", done);
    }
}

/* PFADD h 0 1 2 3 4 */
Test(hll, bytes_of_redis)
{
    struct hll h = empty(room);
    add_numbers(&h, 0, 5, 3000);
    struct slice expected = SLICE("\x41\xee\x84\x5b\x76\x80\x4d\x74\x80"
                                  "\x48\xca\x8c\x48\x60\x8c\x43\xf3");
    cr_assert(slice_equal(slice_of(h.bytes + HLL_HEADER_LEN, h.len - HLL_HEADER_LEN), expected));
}

/* Random ranks at few, neighbouring or far registers: sparse, dense and array agree. */
static void run_model(uint64_t seed, uint64_t sparse_max, uint32_t spread, unsigned rank_max)
{
    struct rng rng;
    uint8_t model[HLL_REGISTERS] = {0};
    struct hll sparse = empty(room), dense = empty(other_room);
    rng_seed(&rng, seed);
    cr_assert(hll_make_dense(&dense));
    cr_assert_eq(dense.len, HLL_DENSE_LEN);
    for (int i = 0; i < 1500; i++) {
        struct hll_mark mark = {(uint16_t)(rng_below(&rng, spread) * 7919 % HLL_REGISTERS),
                                (uint8_t)(1 + rng_below(&rng, rank_max))};
        if (rng_below(&rng, 2)) mark.index = (uint16_t)(rng_below(&rng, spread));
        enum hll_result due = mark.rank > model[mark.index] ? HLL_CHANGED : HLL_SAME;
        cr_assert_eq(hll_check(bytes_of(&sparse), mark), due);
        cr_assert_eq(hll_set(&sparse, mark, sparse_max), due);
        cr_assert_eq(hll_set(&dense, mark, sparse_max), due);
        if (due == HLL_CHANGED) model[mark.index] = mark.rank;
        if (mark.rank > 32) cr_assert(!hll_is_sparse(bytes_of(&sparse)));
        if (hll_is_sparse(bytes_of(&sparse))) cr_assert_leq(sparse.len, sparse_max + 2);
    }
    uint8_t a[HLL_REGISTERS] = {0}, b[HLL_REGISTERS] = {0};
    cr_assert(hll_merge(bytes_of(&sparse), a) && hll_merge(bytes_of(&dense), b));
    cr_assert_eq(memcmp(a, model, sizeof(a)), 0);
    cr_assert_eq(memcmp(b, model, sizeof(b)), 0);
    cr_assert_eq(count_of(bytes_of(&sparse)), hll_count_registers(model));
    cr_assert_eq(count_of(bytes_of(&dense)), hll_count_registers(model));
}

Test(hll, against_a_plain_array, .timeout = 120)
{
    for (uint64_t seed = 1; seed <= 60; seed++) {
        run_model(seed, 3000, 16384, 32);
        run_model(seed, 16384, 40, 3);
        run_model(seed, 300, 2000, 32);
        run_model(seed, 65536, 16384, 51);
    }
}

Test(hll, what_is_none)
{
    static const struct {
        const char *bytes;
        size_t len;
        bool valid, sound;
    } cases[] = {
        {"", 0, false, false},
        {"HYLL\1\0\0\0\0\0\0\0\0\0\0", 15, false, false},
        {"HYLL\1\0\0\0\0\0\0\0\0\0\0\0", 16, true, false},             /* no registers */
        {"HYLL\2\0\0\0\0\0\0\0\0\0\0\0\x7f\xff", 18, false, false},    /* no encoding */
        {"HYLL\0\0\0\0\0\0\0\0\0\0\0\0\x7f\xff", 18, false, false},    /* dense, too short */
        {"HYLM\1\0\0\0\0\0\0\0\0\0\0\0\x7f\xff", 18, false, false},
        {"HYLL\1\0\0\0\0\0\0\0\0\0\0\0\x7f\xff\0", 19, true, false},   /* one too many */
        {"HYLL\1\0\0\0\0\0\0\0\0\0\0\0\x7f\xfe", 18, true, false},     /* one too few */
        {"HYLL\1\0\0\0\0\0\0\0\0\0\0\0\x7f\xfe\x40", 19, true, false}, /* cut off */
        {"HYLL\1\0\0\0\0\0\0\0\0\0\0\0\x7f\xfe\x41", 19, true, false},
        {"HYLL\1\0\0\0\0\0\0\0\0\0\0\0\x7f\xfe\0", 19, true, true},
        {"HYLL\1xyz\0\0\0\0\0\0\0\0\x7f\xfb\xff", 19, true, true},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct slice value = slice_of(cases[i].bytes, cases[i].len);
        uint8_t registers[HLL_REGISTERS] = {0};
        uint64_t count;
        cr_assert_eq(hll_is_valid(value), cases[i].valid, "%zu", i);
        if (!cases[i].valid) continue;
        cr_assert_eq(hll_count(value, &count), cases[i].sound, "%zu", i);
        cr_assert_eq(hll_merge(value, registers), cases[i].sound, "%zu", i);
        struct hll h = {room, value.len};
        memcpy(room, value.ptr, value.len);
        cr_assert_eq(hll_make_dense(&h), cases[i].sound, "%zu", i);
    }
}
