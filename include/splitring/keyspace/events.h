/* What the keyspace tells others of: keyspace events (pub/sub), modified keys (WATCH, tracking),
 * keys that blocked clients wait for. Nothing here writes, and with nobody listening each costs one
 * branch.
 * Source: https://redis.io/docs/latest/develop/pubsub/keyspace-notifications/
 * Thread: holder of the shard. */
#ifndef SPLITRING_KEYSPACE_EVENTS_H
#define SPLITRING_KEYSPACE_EVENTS_H

#include "splitring/keyspace/keyspace.h"

/* Classes of notify-keyspace-events; the bits are those of config's enum config_event. */
enum event_class {
    EVENT_GENERIC = 1u << 2, /* g: del, expire, rename_from, … */
    EVENT_STRING = 1u << 3,  /* $ */
    EVENT_LIST = 1u << 4,    /* l */
    EVENT_SET = 1u << 5,     /* s */
    EVENT_HASH = 1u << 6,    /* h */
    EVENT_ZSET = 1u << 7,    /* z */
    EVENT_EXPIRED = 1u << 8, /* x */
    EVENT_EVICTED = 1u << 9, /* e */
    EVENT_STREAM = 1u << 10, /* t */
    EVENT_MISS = 1u << 11,   /* m: keymiss */
    EVENT_NEW = 1u << 14     /* n: a key came into being (the keyspace says so itself) */
};

struct event_sink {
    void (*event)(void *ctx, struct shard *shard, db_id db, uint32_t class, const char *event,
                  struct slice key);
    void *ctx;
};
/* Which classes are wanted, and by whom. 0: none. */
void shard_set_events(struct shard *shard, uint32_t classes, const struct event_sink *sink);
uint32_t shard_event_classes(const struct shard *shard);

/* Redis' notifyKeyspaceEvent. event: "hset", … a constant. */
void ks_notify(struct ks *ks, enum event_class class, const char *event, struct slice key);
/* Redis' signalModifiedKey, for values written in place (ks_put, ks_delete and so on do it). */
void ks_touched(struct ks *ks, struct slice key);

/* Blocked clients. The hook is called when a list, sorted set or stream comes into being under a
 * key, when a stream has grown (ks_ready by XADD), and when a stream goes; without a key: the whole
 * database was flushed or swapped. Only while shard_waiters() is not 0. */
void shard_set_ready_hook(struct shard *shard,
                          void (*ready)(void *ctx, struct shard *shard, db_id db, struct slice key),
                          void *ctx);
void shard_add_waiters(struct shard *shard, int32_t more);
uint32_t shard_waiters(const struct shard *shard);
void ks_ready(struct ks *ks, struct slice key);

#endif
