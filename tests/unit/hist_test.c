/* base/hist.h: bins, percentiles and cumulative counts, against a plain sorted array. */
#include "splitring/base/hist.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "splitring/base/mem.h"
#include "splitring/base/rng.h"

#define COUNT 20000u

Test(hist, bins_are_ordered_and_narrow)
{
    static const unsigned each[] = {HIST_COARSE_BITS, HIST_BITS};
    for (unsigned i = 0; i < ARRAY_COUNT(each); i++) {
        unsigned bits = each[i];
        size_t last = 0;
        for (uint64_t v = 0; v < 1u << 20; v++) {
            size_t bin = hist_bin_of(v, bits);
            cr_assert(bin == last || bin == last + 1, "%zu after %zu", bin, last);
            cr_assert_lt(bin, hist_bins(bits));
            uint64_t top = hist_equivalent_max(v, bits);
            cr_assert(top >= v && top - v <= v >> bits);
            cr_assert_eq(hist_bin_of(top, bits), bin);
            cr_assert_eq(hist_bin_of(top + 1, bits), bin + 1);
            last = bin;
        }
        cr_assert_eq(hist_bin_of(UINT64_MAX, bits), hist_bins(bits) - 1);
        cr_assert_eq(hist_bin_of((1ull << HIST_VALUE_BITS_MAX) - 1, bits), hist_bins(bits) - 1);
    }
}

/* The bounds that LATENCY HISTOGRAM shows, as redis-server prints them. */
Test(hist, bounds_in_microseconds)
{
    static const uint64_t shown[] = {1,   2,   4,    8,    16,   33,   66,    132,
                                     264, 528, 1056, 2113, 4227, 8454, 16908, 33816};
    for (unsigned i = 0; i < ARRAY_COUNT(shown); i++)
        cr_assert_eq(hist_equivalent_max(1024ull << i, HIST_BITS) / 1000, shown[i]);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

Test(hist, percentiles_and_merging)
{
    static uint64_t values[COUNT];
    struct hist *one = hist_try_new(HIST_BITS), *two = hist_try_new(HIST_BITS);
    struct rng rng;
    uint64_t sum = 0;
    rng_seed(&rng, 7);
    for (unsigned i = 0; i < COUNT; i++) {
        values[i] = rng_below(&rng, 1u << (1 + rng_below(&rng, 31)));
        hist_record(i % 3 ? one : two, values[i], HIST_BITS);
        sum += values[i];
    }
    hist_merge(one, two);
    qsort(values, COUNT, sizeof values[0], by_value);
    cr_assert_eq(counter_get(&one->count), COUNT);
    cr_assert_eq(counter_get(&one->sum), sum);
    for (double p = 0.5; p <= 100; p += 0.5) {
        uint64_t rank = (uint64_t)(p / 100 * COUNT + 0.5);
        uint64_t right = values[rank ? rank - 1 : 0];
        cr_assert_eq(hist_percentile(one, p), hist_equivalent_max(right, HIST_BITS));
    }
    for (uint64_t level = 1; level < 1ull << 33; level *= 2) {
        uint64_t below = 0, top = hist_equivalent_max(level, HIST_BITS);
        for (unsigned i = 0; i < COUNT; i++) below += values[i] <= top;
        cr_assert_eq(hist_count_to(one, level), below);
    }
    hist_reset(one);
    cr_assert_eq(counter_get(&one->count), 0);
    cr_assert_eq(hist_count_to(one, UINT64_MAX), 0);
    cr_assert_eq(hist_percentile(one, 50), 0);
    mem_free(one);
    mem_free(two);
}
