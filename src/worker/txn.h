/* Commands over several shards: locks on keys, two phases (DESIGN section 4).
 * Thread: as each function says. */
#ifndef SPLITRING_SRC_WORKER_TXN_H
#define SPLITRING_SRC_WORKER_TXN_H

#include "exec.h"
#include "internal.h"

struct txn;

enum txn_answer { TXN_GRANTED, TXN_REFUSED, TXN_DONE };

/* What one shard is asked for. Between a request and its answer it belongs to the shard's holder,
 * otherwise to the coordinator. */
struct txn_part {
    struct lock_request lock;
    struct txn *txn;
    shard_id shard;
    uint8_t answer;   /* enum txn_answer */
    bool granted;     /* coordinator's view */
    instant_ms clock; /* of the shard when it granted */
    instant_ms next_expiry; /* lowest expiry of its keys after that; EXPIRE_NONE */
    struct exec sub;  /* the command as this shard runs it (split commands) */
    struct slice *sub_argv;
    int *key_pos;     /* argv positions of this shard's keys, ascending */
    int key_count;
    struct buf reply; /* of sub */
    struct buf images; /* fetched: per key a length and the image */
    struct buf writes; /* to put: the same; length SIZE_MAX: unchanged */
    struct list link;         /* worker.local_hops or .local_answers */
    struct list release_link; /* worker.local_releases */
    uint32_t kind;    /* the act waiting in local_hops */
};

/* Starts op as a transaction; the connection waits. Thread: the connection's owner. */
void txn_start(struct worker *w, const struct op *op);
/* kind: MSG_TXN_TRY … MSG_TXN_RELEASE. Thread: owner of part->shard. */
void txn_hop(struct worker *w, uint32_t kind, struct txn_part *part);
/* Thread: the coordinator. */
void txn_answered(struct worker *w, struct txn_part *part);
/* Acts of the coordinator's own shard; true if there were any. */
bool txn_run_local(struct worker *w);

/* Replies of the parts made into one (txn_reply.c). */
void txn_combine(const struct command *cmd, int key_count, struct txn_part *parts, unsigned count,
                 struct rng *rng, uint8_t proto, struct buf *out);

#endif
