/* A small seeded generator (xoshiro256**, Blackman and Vigna 2018). Not for secrets.
 * Thread: owner. */
#ifndef SPLITRING_BASE_RNG_H
#define SPLITRING_BASE_RNG_H

#include "splitring/base/types.h"

struct rng {
    uint64_t s[4];
};

void rng_seed(struct rng *rng, uint64_t seed); /* splitmix64 expansion */
uint64_t rng_next(struct rng *rng);
uint64_t rng_below(struct rng *rng, uint64_t limit); /* 0..limit-1, unbiased; limit > 0 */

#endif
