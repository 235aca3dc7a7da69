/* What a waiter is, for block.c (the key's side) and block_home.c (the client's side).
 * Thread: as each field says. */
#ifndef SPLITRING_SRC_WORKER_BLOCK_IMPL_H
#define SPLITRING_SRC_WORKER_BLOCK_IMPL_H

#include "block.h"
#include "keyed.h"
#include "txn.h"

enum waiter_state {
    WAITER_WAITING,
    WAITER_CLAIMED, /* somebody pops for it, or has told its worker */
    WAITER_LEAVING, /* claimed, and its client wants to go: whoever unclaims it says so */
    WAITER_GONE
};

struct waiter_node {
    /* holder of the key's shard only: holders of other shards are at the other nodes meanwhile */
    struct list link;        /* in the key's FIFO */
    struct keyed_list *key;  /* NULL: in none */
    /* constant */
    struct waiter *waiter;
    int pos;                 /* of the key in argv */
    shard_id shard;          /* where the key lives */
};

struct waiter {
    claim_word state;
    counter refs; /* its worker, and every shard where it is registered */
    /* constant while registered */
    struct txn *txn;
    uint32_t mask; /* shards */
    instant_ms retry_at; /* call_block.retry_at, as far as it was known then */
    /* who has claimed it writes */
    struct buf reply;
    uint64_t ran_ns;     /* that its command took here */
    shard_id served_shard;
    /* its worker only */
    instant_ms deadline; /* of the wait, or retry_at; EXPIRE_NONE: for ever */
    size_t heap_at;      /* place in worker.deadlines + 1; 0: not in there */
    bool settled;        /* its worker knows that it waits */
    uint8_t early;       /* a message kind that came before that */
    uint8_t leaving;     /* enum block_leave, while LEAVING */
    unsigned node_count;
    struct waiter_node nodes[];
};

void waiter_drop(struct waiter *v);

#endif
