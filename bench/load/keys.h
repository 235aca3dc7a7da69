/* Which key comes next: random numbers, Zipf's law, hash slots and tags of a shard.
 *
 * Thread: any (constant after init); a `struct rng` belongs to one connection. */
#ifndef BENCH_LOAD_KEYS_H
#define BENCH_LOAD_KEYS_H

#include <stddef.h>
#include <stdint.h>

#define SLOT_COUNT 16384u
#define SHARD_TAG_LEN 4u     /* characters between the braces */
#define SHARD_TAG_COUNT 128u /* per shard, so that its keys spread over many of its slots */

struct rng {
    uint64_t state;
};

/* Different seeds give unrelated sequences, neighbouring ones too. */
void rng_init(struct rng *rng, uint64_t seed);
uint64_t rng_next(struct rng *rng);
double rng_unit(struct rng *rng); /* [0, 1) */
/* [0, bound), bound at most 2^32: the bias of 2^-32 is far below what a benchmark can see. */
uint64_t rng_below(struct rng *rng, uint64_t bound);

/* Ranks 1…count with weight rank^-exponent, exponent > 0. Constant after init. */
struct zipf {
    double exponent;
    double count;
    double h_first;
    double h_count;
    double shortcut;
};

void zipf_init(struct zipf *zipf, uint64_t count, double exponent);
uint64_t zipf_draw(const struct zipf *zipf, struct rng *rng);

/* A fixed shuffle of 0…count-1, so that the hot ranks are not neighbours. count at most 2^32. */
struct shuffle {
    uint64_t count;
    uint64_t factor; /* coprime to count */
};

void shuffle_init(struct shuffle *shuffle, uint64_t count);
uint64_t shuffle_apply(const struct shuffle *shuffle, uint64_t index);

/* CRC16 (XMODEM), as Redis Cluster computes slots. */
unsigned slot_of(const char *tag, size_t len);

/* Fills shard_count × SHARD_TAG_COUNT tags of SHARD_TAG_LEN characters, shard by shard. Shards own
 * contiguous ranges of slots: shard = slot × shard_count / SLOT_COUNT. shard_count at most 1024. */
void shard_tags_fill(char (*tags)[SHARD_TAG_LEN], unsigned shard_count);

#endif
