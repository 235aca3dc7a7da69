/* xoshiro256**: 32 bytes of state, passes the known batteries, a few instructions per number.
 * Source: D. Blackman, S. Vigna, "Scrambled linear pseudorandom number generators", 2018; the seed
 * is spread over the state by splitmix64, as its authors advise (an all-zero state is a fixed
 * point). State is the caller's, so a run of the simulator is repeated from one number.
 * Thread: owner. */
#include "splitring/base/rng.h"

static inline uint64_t rotate(uint64_t x, unsigned by) { return (x << by) | (x >> (64 - by)); }

void rng_seed(struct rng *rng, uint64_t seed)
{
    for (size_t i = 0; i < ARRAY_COUNT(rng->s); i++) {
        seed += 0x9e3779b97f4a7c15u;
        uint64_t z = seed;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        rng->s[i] = z ^ (z >> 31);
    }
}

uint64_t rng_next(struct rng *rng)
{
    uint64_t *s = rng->s;
    uint64_t result = rotate(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

/* Multiply and take the high half; the few low products that would favour some results are drawn
 * again. Source: D. Lemire, "Fast random integer generation in an interval", 2019. */
uint64_t rng_below(struct rng *rng, uint64_t limit)
{
    __extension__ typedef unsigned __int128 u128;
    u128 product = (u128)rng_next(rng) * limit;
    if ((uint64_t)product < limit) {
        uint64_t unfair = (0 - limit) % limit;
        while ((uint64_t)product < unfair) product = (u128)rng_next(rng) * limit;
    }
    return (uint64_t)(product >> 64);
}
