/* The bit functions against a model that goes bit by bit: every operation, every range, lengths
 * around the sizes that the fast code treats specially (words, 32 bytes, counting and BITOP
 * blocks), at every alignment. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "cmd/bitops.h"
#include "splitring/base/rng.h"

#define TEXT_MAX 9000u

static bool bit_at(struct slice s, uint64_t i)
{
    if (i >> 3 >= s.len) return false;
    return ((uint8_t)s.ptr[i >> 3] >> (7 - (i & 7))) & 1;
}

static uint64_t model_count(struct slice s, uint64_t from, uint64_t to)
{
    uint64_t count = 0;
    for (; from < to; from++) count += bit_at(s, from);
    return count;
}

static int64_t model_find(struct slice s, uint64_t from, uint64_t to, bool value)
{
    for (; from < to; from++) {
        if (bit_at(s, from) == value) return (int64_t)from;
    }
    return -1;
}

static bool model_combine(enum bits_op op, const struct slice *sources, size_t count, uint64_t i)
{
    bool first = bit_at(sources[0], i), all = first, others = false;
    size_t ones = first;
    for (size_t k = 1; k < count; k++) {
        bool bit = bit_at(sources[k], i);
        all = all && bit;
        others = others || bit;
        ones += bit;
    }
    switch (op) {
    case BITS_AND: return all;
    case BITS_OR: return ones > 0;
    case BITS_XOR: return ones % 2;
    case BITS_NOT: return !first;
    case BITS_DIFF: return first && !others;
    case BITS_DIFF1: return !first && others;
    case BITS_ANDOR: return first && others;
    case BITS_ONE: return ones == 1;
    }
    abort();
}

/* Random bytes with long runs of 00 and ff, in a block of exactly that size (for ASan). */
static struct slice random_text(struct rng *rng, size_t len)
{
    char *text = malloc(len ? len : 1);
    for (size_t i = 0; i < len;) {
        size_t run = 1 + rng_below(rng, 40);
        uint64_t kind = rng_below(rng, 4);
        for (; run && i < len; run--, i++) {
            text[i] = (char)(kind == 0 ? 0 : kind == 1 ? 0xff : rng_next(rng));
        }
    }
    return slice_of(text, len);
}

static size_t random_len(struct rng *rng)
{
    static const size_t special[] = {0,   1,   7,   8,    9,    31,   32,  33,
                                     991, 992, 993, 4095, 4096, 4097, 8192};
    if (rng_below(rng, 2)) return special[rng_below(rng, ARRAY_COUNT(special))];
    return rng_below(rng, rng_below(rng, 8) ? 100 : TEXT_MAX);
}

Test(bitops, count_and_find_in_ranges)
{
    struct rng rng;
    rng_seed(&rng, 11);
    for (int round = 0; round < 3000; round++) {
        struct slice s = random_text(&rng, random_len(&rng));
        uint64_t bits = (uint64_t)s.len * 8;
        uint64_t to = rng_below(&rng, bits + 1), from = rng_below(&rng, to + 1);
        cr_assert_eq(bits_count(s, from, to), model_count(s, from, to));
        cr_assert_eq(bits_find(s, from, to, true), model_find(s, from, to, true));
        cr_assert_eq(bits_find(s, from, to, false), model_find(s, from, to, false));
        cr_assert_eq(bits_count(s, 0, bits), model_count(s, 0, bits));
        free((char *)(uintptr_t)s.ptr);
    }
}

Test(bitops, find_the_only_bit)
{
    char text[200];
    for (int value = 0; value < 2; value++) {
        for (size_t i = 0; i < sizeof(text) * 8; i++) {
            memset(text, value ? 0 : 0xff, sizeof(text));
            bits_set(text, i, 1, (uint64_t)value);
            struct slice s = slice_of(text, sizeof(text));
            cr_assert_eq(bits_find(s, 0, sizeof(text) * 8, value), (int64_t)i);
            cr_assert_eq(bits_find(s, i, i + 1, value), (int64_t)i);
            cr_assert_eq(bits_find(s, 0, i, value), -1);
            cr_assert_eq(bits_find(s, i + 1, sizeof(text) * 8, value), -1);
        }
    }
}

Test(bitops, fields_of_every_width)
{
    struct rng rng;
    rng_seed(&rng, 12);
    for (int round = 0; round < 20000; round++) {
        struct slice s = random_text(&rng, 1 + rng_below(&rng, 24));
        char copy[24];
        memcpy(copy, s.ptr, s.len);
        unsigned width = 1 + (unsigned)rng_below(&rng, 64);
        uint64_t at = rng_below(&rng, s.len * 8 + 20), expected = 0;
        for (unsigned i = 0; i < width; i++) expected = expected << 1 | bit_at(s, at + i);
        cr_assert_eq(bits_get(s, at, width), expected, "u%u at %lu", width, at);
        if (at + width <= s.len * 8) {
            uint64_t value = rng_next(&rng);
            bits_set(copy, at, width, value);
            for (uint64_t i = 0; i < s.len * 8; i++) {
                bool inside = i >= at && i < at + width;
                bool bit = inside ? (value >> (width - 1 - (i - at))) & 1 : bit_at(s, i);
                cr_assert_eq(bit_at(slice_of(copy, s.len), i), bit);
            }
        }
        free((char *)(uintptr_t)s.ptr);
    }
}

static void check_combine(struct rng *rng, enum bits_op op)
{
    struct slice sources[9];
    size_t count = op == BITS_NOT ? 1 : 1 + rng_below(rng, ARRAY_COUNT(sources)), len = 0;
    if (op >= BITS_DIFF && op <= BITS_ANDOR && count < 2) count = 2;
    for (size_t i = 0; i < count; i++) {
        sources[i] = random_text(rng, random_len(rng));
        if (sources[i].len > len) len = sources[i].len;
    }
    char *out = malloc(len ? len : 1);
    bits_combine(op, out, len, sources, count);
    for (uint64_t i = 0; i < (uint64_t)len * 8; i++) {
        cr_assert_eq(bit_at(slice_of(out, len), i), model_combine(op, sources, count, i),
                     "op %d, bit %lu of %zu bytes", (int)op, i, len);
    }
    for (size_t i = 0; i < count; i++) free((char *)(uintptr_t)sources[i].ptr);
    free(out);
}

Test(bitops, combine_against_the_model)
{
    struct rng rng;
    rng_seed(&rng, 13);
    for (int op = BITS_AND; op <= BITS_ONE; op++) {
        for (int round = 0; round < 60; round++) check_combine(&rng, (enum bits_op)op);
    }
}
