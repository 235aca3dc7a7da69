/* Moving small blocks together, so that pages which deletes have left nearly empty go back to the
 * system. A round chooses pages, walks all keys and ends; it is begun and driven by the shard's
 * owner, in slices.
 * Thread: holder of the shard. */
#ifndef SPLITRING_KEYSPACE_DEFRAG_H
#define SPLITRING_KEYSPACE_DEFRAG_H

#include "splitring/keyspace/keyspace.h"

/* Begins a round. False: one runs, or no memory. */
bool shard_defrag_start(struct shard *shard);
/* A slice: looks at about `budget` slots and blocks. False: the round is over, or none runs. */
bool shard_defrag_step(struct shard *shard, size_t budget);
/* No further keys are looked at: the next steps end the round. */
void shard_defrag_stop(struct shard *shard);
bool shard_defrag_runs(const struct shard *shard);

/* Since the start: blocks that were moved, blocks that could stay; keys with any, and without. */
struct defrag_counts {
    uint64_t hits, misses, key_hits, key_misses;
    uint64_t freed; /* bytes of pages */
};
struct defrag_counts shard_defrag_counts(const struct shard *shard);

#endif
