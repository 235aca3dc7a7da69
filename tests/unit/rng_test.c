/* The generator repeats from its seed, and its bounded numbers are fair. */
#include <criterion/criterion.h>

#include "splitring/base/rng.h"

Test(rng, repeats)
{
    struct rng a, b, c;
    rng_seed(&a, 7);
    rng_seed(&b, 7);
    rng_seed(&c, 8);
    bool differs = false;
    for (int i = 0; i < 100; i++) {
        uint64_t x = rng_next(&a);
        cr_assert_eq(x, rng_next(&b));
        differs |= x != rng_next(&c);
    }
    cr_assert(differs);
}

/* Reference: splitmix64 and xoshiro256** as published, seed 0. */
Test(rng, known_values)
{
    struct rng rng;
    rng_seed(&rng, 0);
    cr_assert_eq(rng.s[0], 0xe220a8397b1dcdafu);
    cr_assert_eq(rng.s[1], 0x6e789e6aa1b965f4u);
    cr_assert_eq(rng_next(&rng), 0x99ec5f36cb75f2b4u);
}

Test(rng, below_is_fair)
{
    struct rng rng;
    rng_seed(&rng, 3);
    unsigned counts[10] = {0};
    for (int i = 0; i < 100000; i++) {
        uint64_t x = rng_below(&rng, 10);
        cr_assert_lt(x, 10);
        counts[x]++;
    }
    for (int i = 0; i < 10; i++) cr_assert(counts[i] > 9500 && counts[i] < 10500);
    for (int i = 0; i < 1000; i++) {
        cr_assert_eq(rng_below(&rng, 1), 0);
        cr_assert_lt(rng_below(&rng, (UINT64_MAX / 3) * 2), (UINT64_MAX / 3) * 2);
    }
}
