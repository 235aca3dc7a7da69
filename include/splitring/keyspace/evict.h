/* Making room: which key of a shard goes next when memory is short (maxmemory-policy).
 *
 * Candidates are sampled as Redis does, into a pool of the best ones seen. Scores can be compared
 * between shards of one server: higher means gone sooner, 0 that there is no candidate.
 * Source: https://redis.io/docs/latest/develop/reference/eviction/
 * Thread: holder of the shard. */
#ifndef SPLITRING_KEYSPACE_EVICT_H
#define SPLITRING_KEYSPACE_EVICT_H

#include "splitring/keyspace/keyspace.h"

enum evict_order { EVICT_LRU, EVICT_LFU, EVICT_TTL, EVICT_RANDOM };

struct evict_policy {
    enum evict_order order;
    bool volatile_only; /* only keys with a TTL */
    bool lazy;          /* lazyfree-lazy-eviction: large values are freed in slices */
    unsigned samples;   /* maxmemory-samples */
};

/* Which scores can be compared: never 0. */
static inline unsigned evict_order_of(const struct evict_policy *policy)
{
    return (unsigned)policy->order << 2 | (unsigned)policy->volatile_only << 1 | 1u;
}
/* Keys that the policy may take, over all databases. */
size_t shard_evict_eligible(const struct shard *shard, const struct evict_policy *policy);
/* The best candidate known now, without looking for more; 0: none, EVICT_UNKNOWN: not yet
 * looked. */
#define EVICT_UNKNOWN UINT64_MAX
uint64_t shard_evict_score(struct shard *shard, const struct evict_policy *policy);
/* Samples once per database, then evicts the best candidate there is, if its score is at least
 * this: counters, the event "evicted", sink->evicted. Locked keys (sink->locked) stay. Bounded
 * work. */
enum evict_outcome {
    EVICT_DONE,
    EVICT_WORSE,  /* the best one has a lower score (shard_evict_score() says which) */
    EVICT_LOCKED, /* what was found is locked: it may go when that is over */
    EVICT_NOTHING /* nothing was found that may go */
};
enum evict_outcome shard_evict(struct shard *shard, const struct evict_policy *policy,
                               uint64_t score_min, instant_ms now, const struct expire_sink *sink);
/* Bytes in use that count against maxmemory: without what is only waiting to be freed. */
size_t shard_bytes_counted(struct shard *shard);

#endif
