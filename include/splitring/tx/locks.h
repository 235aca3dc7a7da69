/* The lock table and waiting queue of one shard (DESIGN section 4): strict two-phase locks on keys,
 * shared or exclusive, and on the whole shard.
 *
 * A request is a set of (key, mode), granted whole or not at all. It conflicts with a holder, or
 * with any earlier waiter that wants one of its keys in a conflicting mode, even where that key is
 * free now; so a waiter waits only for what came before it.
 *
 * Keys are known by a 64-bit identity of (db, key): a false match only makes a request wait. Every
 * request also takes the shard itself in an intention mode (Gray et al. 1976, "Granularity of
 * Locks"), which is how a whole-shard request meets the others in O(1).
 * Thread: holder of the shard. */
#ifndef SPLITRING_TX_LOCKS_H
#define SPLITRING_TX_LOCKS_H

#include "splitring/base/list.h"
#include "splitring/base/types.h"

enum lock_mode {
    LOCK_INTENT_SHARED, /* on the shard, for a request of shared keys */
    LOCK_INTENT_EXCLUSIVE,
    LOCK_SHARED,
    LOCK_EXCLUSIVE,
    LOCK_MODES
};

struct lock_entry;
struct lock_request;

struct lock_node {
    struct list link; /* in the entry's FIFO */
    struct lock_entry *entry;
    struct lock_request *request;
    uint64_t id;
    uint8_t mode;
    uint8_t ready;
};

enum lock_state { LOCK_IDLE, LOCK_WAITING, LOCK_HELD };

/* Embedded in the owner's descriptor. nodes[0] is the shard itself; keys follow: as they were added
 * until the request first enters the table, then each id once, in any order. */
struct lock_request {
    struct list granted_link;
    struct list audit_link; /* arrival order, for locks_audit */
    struct lock_node *nodes;
    uint32_t count;
    uint32_t not_ready;
    uint8_t state; /* enum lock_state */
    /* Called from locks_run_granted() when a waiting request has been granted. */
    void (*on_granted)(void *ctx, struct lock_request *request);
    /* Called from locks_cancel_waiting(): it is out of the table. NULL: it waits on. */
    void (*on_cancelled)(void *ctx, struct lock_request *request);
};

struct locks;
struct locks *locks_new(void) WARN_UNUSED;
void locks_free(struct locks *locks); /* must be empty */

/* Bytes for the nodes of a request of `keys` keys. */
static inline size_t lock_nodes_bytes(size_t keys) { return (keys + 1) * sizeof(struct lock_node); }
/* nodes: room for keys + 1. Then add every key; doubles are merged to the stronger mode when the
 * request enters the table. */
void lock_request_init(struct lock_request *request, struct lock_node *nodes);
void lock_request_add(struct lock_request *request, uint64_t id, enum lock_mode mode);
/* Every key of the shard. */
void lock_request_whole(struct lock_request *request, enum lock_mode mode);

struct locks_stats {
    uint32_t active; /* requests held or waiting */
    uint64_t granted, refused, waited;
};
/* The stats come first in struct locks, so that the one branch other units pay is one load. */
static inline const struct locks_stats *locks_stats_of(const struct locks *locks)
{
    return (const struct locks_stats *)(const void *)locks;
}
static inline bool locks_active(const struct locks *locks)
{
    return locks_stats_of(locks)->active != 0;
}

/* Whether one key may be touched now by a unit that holds nothing: no holder and no waiter
 * conflicts. id 0: a unit of no particular key (SCAN), stopped by whole-shard locks only. */
bool locks_key_free(const struct locks *locks, uint64_t id, enum lock_mode mode);
/* The same for a whole request that is not in the table. */
bool locks_free_for(const struct locks *locks, const struct lock_request *request);
/* Granted whole and now held, or refused and not in the table: never queues. */
bool locks_try(struct locks *locks, struct lock_request *request);
/* True: held now. False: waits; on_granted will follow from a later locks_run_granted(). */
bool locks_acquire(struct locks *locks, struct lock_request *request);
/* Gives up a held or a waiting request. What it lets go is granted by the next
 * locks_run_granted(). */
void locks_release(struct locks *locks, struct lock_request *request);
/* Calls on_granted for what has been granted; callbacks may release more. In order of arrival
 * among requests that conflict; others may come in any order. */
void locks_run_granted(struct locks *locks, void *ctx);

/* Takes everything that waits, and may be told so, out of the table. */
void locks_cancel_waiting(struct locks *locks, void *ctx);

/* Independent, slow check of the rules above over all requests (simulator): who waits is blocked by
 * something earlier, who holds is not. Not between a release and locks_run_granted(). */
bool locks_audit(const struct locks *locks) WARN_UNUSED;

/* Planted faults: rules left out, for tests of the simulator (0 in production). */
enum lock_fault {
    LOCK_FAULT_IGNORE_WAITERS = 1u << 0, /* tries and units look at holders only */
    LOCK_FAULT_FREE_KEYS_PASS = 1u << 1, /* a waiter reserves only keys that are held now */
    LOCK_FAULT_KEY_BY_KEY = 1u << 2      /* keys are taken one by one while waiting */
};
void locks_set_faults(struct locks *locks, uint32_t faults);

/* Identity of a key for the lock table. */
static inline uint64_t lock_key_id(db_id db, uint64_t hash)
{
    uint64_t id = hash ^ ((uint64_t)db + 1) * 0x9E3779B97F4A7C15u;
    return id ? id : 1; /* 0 is the shard itself */
}

#endif
