/* maxmemory: one budget for all shards. Who may grow, and who has to make room for it.
 * Thread: owner. */
#ifndef SPLITRING_SRC_WORKER_BUDGET_H
#define SPLITRING_SRC_WORKER_BUDGET_H

#include "splitring/base/types.h"
#include "splitring/keyspace/evict.h"

struct config;
struct worker;
struct hub;
struct op;
struct exec;

/* Inside struct worker. */
struct budget {
    uint64_t limit;      /* bytes; 0: none */
    bool evicts;         /* else writes are refused */
    struct evict_policy policy;
    int64_t slice_us;    /* how long one step may evict */
    uint64_t lease;      /* what each shard may grow by until the sum is looked at again */
    uint64_t leases[SHARDS_MAX]; /* … as counted bytes of the shard */
    shard_id turn;       /* the shard that is sampled beside the one that evicts */
    bool again;          /* too much is in use, and others are (or were) at it */
    int64_t over_since_us; /* 0: it is not */
};

/* maxmemory in bytes, whatever it was given in; 0: none. Thread: any. */
uint64_t budget_limit(const struct hub *hub, const struct config *config);
/* The settings have changed. */
void budget_config(struct worker *w);
/* Bytes in use that count against maxmemory, as published. Thread: any. */
uint64_t budget_used(const struct hub *hub);
/* A group begins: what its shards may grow by before anybody has to be asked. */
void budget_begin_slow(struct worker *w);
/* False: op is to be refused with OOM. May evict, also on shards that are not held. Notes for
 * scripts whether memory is out (op->oom). */
bool budget_admits_slow(struct worker *w, struct op *op);
/* The same for a command of a batch, at its turn. */
bool budget_admits_exec_slow(struct worker *w, const struct exec *x, shard_id s);
/* Evicts while too much is in use, one slice; true if it goes on at once. Holds shards; the caller
 * gives them back. */
bool budget_step_slow(struct worker *w);

#endif
