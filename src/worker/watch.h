/* WATCH: keys whose change makes the next EXEC do nothing (DESIGN section 4, and 6a "WATCH").
 * Thread: as each function says. */
#ifndef SPLITRING_SRC_WORKER_WATCH_H
#define SPLITRING_SRC_WORKER_WATCH_H

#include "internal.h"

struct exec;

/* All that one connection watches, from its first WATCH to EXEC, UNWATCH, DISCARD or its end. */
struct watch_set {
    struct hub *hub;    /* constant */
    counter refs;       /* its connection, and every shard in mask */
    counter count, bytes; /* of its nodes, and their memory. Thread: each node's holder / any */
    uint32_t mask;      /* its connection's worker only: shards where keys are registered */
    struct list nodes[]; /* by shard: struct watch_node. Thread: holder of the shard */
};

/* What a WATCH command registers with; keys of the shards in `mask`. Thread: the connection's
 * owner. */
struct watch_set *watch_take(struct conn *c, uint32_t mask);
/* The connection watches nothing any more. Shards that are held forget it now, others are told.
 * Thread: the connection's owner. */
void watch_end(struct conn *c);
/* Has one of the keys changed? Holding all shards of the set. Thread: the connection's owner. */
bool watch_is_dirty(struct worker *w, struct watch_set *set, instant_ms now);
/* No lock stops the watched keys from being read. Holding all shards of the set. */
bool watch_is_free(struct worker *w, const struct watch_set *set);
/* Calls visit for every watched key. Holding nothing; while no WATCH is in flight only the set's
 * own worker adds nodes. Thread: the connection's owner. */
void watch_each(const struct watch_set *set,
                void (*visit)(void *ctx, shard_id s, uint64_t hash), void *ctx);
/* A key of this shard has changed; without ptr: the whole database. Thread: holder of the shard. */
void watch_on_modified(struct hub *hub, struct shard *shard, db_id db, struct slice key);
unsigned watch_count(const struct watch_set *set);
size_t watch_memory(const struct watch_set *set); /* NULL: 0 */
void watch_on_forget(struct worker *w, struct watch_set *set); /* MSG_UNWATCH, holding the shard */

#endif
