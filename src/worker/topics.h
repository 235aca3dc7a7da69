/* Which workers have subscribers of what: the part of pub/sub that belongs to a shard.
 * Thread: holder of the shard. */
#ifndef SPLITRING_SRC_WORKER_TOPICS_H
#define SPLITRING_SRC_WORKER_TOPICS_H

#include "splitring/base/list.h"
#include "splitring/base/buf.h"

struct table;

enum topic_kind { TOPIC_CHANNEL, TOPIC_SHARD, TOPIC_PATTERN, TOPIC_KINDS };

/* One shard's. */
struct topics {
    uint32_t workers;
    uint64_t seed;
    struct table *tables[TOPIC_KINDS];
    struct list patterns;  /* struct topic_route.link, oldest first */
    size_t at_home[TOPIC_KINDS];
    size_t everywhere;     /* patterns and channels of events: who may want events */
    unsigned notify;       /* of enum config_event: KEYSPACE, KEYEVENT */
    struct buf name;       /* the channel of an event */
};

/* Patterns, and channels that keyspace events go to, are known to every shard. */
bool topic_is_everywhere(enum topic_kind kind, struct slice name);

struct topics *topics_new(uint32_t workers, uint64_t seed);
void topics_free(struct topics *t);
/* One more subscription of that worker. at_home: of the shards that know this name, this is the one
 * that speaks of it (topics_count, topics_each). False: no memory. */
bool topics_add(struct topics *t, enum topic_kind kind, struct slice name, uint64_t hash,
                worker_id worker, bool at_home);
void topics_remove(struct topics *t, enum topic_kind kind, struct slice name, uint64_t hash,
                   worker_id worker);
/* How many subscriptions a message to the channel reaches, patterns included (not for
 * TOPIC_SHARD), and at which workers. */
uint64_t topics_receivers(const struct topics *t, enum topic_kind kind, struct slice channel,
                          uint64_t hash, uint32_t *mask);
/* Subscriptions of the channel itself. */
uint64_t topics_subscribers(const struct topics *t, enum topic_kind kind, struct slice channel,
                            uint64_t hash);
size_t topics_count(const struct topics *t, enum topic_kind kind);
void topics_each(const struct topics *t, enum topic_kind kind,
                 void (*visit)(void *ctx, struct slice name), void *ctx);

#endif
