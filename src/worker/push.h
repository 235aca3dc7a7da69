/* What is told to connections that did not ask for it just now: pub/sub messages, keyspace events,
 * and the moments from which a subscription counts. All of it is in one total order (push.c).
 * Thread: the worker that runs, unless a function says otherwise. */
#ifndef SPLITRING_SRC_WORKER_PUSH_H
#define SPLITRING_SRC_WORKER_PUSH_H

#include "internal.h"

enum push_kind {
    PUSH_MESSAGE,       /* wire: channel and payload, two bulk strings */
    PUSH_SHARD_MESSAGE, /* …: of SPUBLISH */
    PUSH_MONITOR,       /* wire: a line for those who MONITOR */
    PUSH_INVALIDATE,    /* wire: `hash` times a struct push_target, then an array of keys; none:
                           everything (tracking.h) */
    PUSH_BROADCAST,     /* wire: a key; hash: the client that changed it, 0: none */
    PUSH_SUBSCRIPTION   /* ptr: struct act_part, changed at its shard just now */
};

/* One thing told; `wire` follows it. */
struct push_record {
    size_t len;      /* of all, a multiple of 8 */
    uint16_t kind;
    shard_id shard;  /* where it happened: that shard was held */
    uint32_t mask;   /* the workers it is for */
    uint64_t hash;   /* of the channel */
    void *ptr;
    size_t channel_at, channel_len; /* in wire */
    size_t wire_len;
    char wire[];
};

static inline struct slice push_channel(const struct push_record *r)
{
    return slice_of(r->wire + r->channel_at, r->channel_len);
}

struct pushes *pushes_new(uint32_t workers);
void pushes_free(struct pushes *p);

/* Adds a record to what this unit tells; the shard is held, mask is not 0. NULL: no memory. */
struct push_record *push_append(struct worker *w, enum push_kind kind, shard_id shard,
                                uint32_t mask, size_t wire_len);
/* The same for a message: channel and payload. False: no memory. */
bool push_message(struct worker *w, enum push_kind kind, shard_id shard, uint32_t mask,
                  struct slice channel, uint64_t hash, struct slice payload);
/* Where the unit's log ends; and back to there: what was told since then is not. Nothing must have
 * been flushed between the two. */
struct push_mark {
    size_t len;
    uint32_t mask;
    uint64_t ticket;
};
struct push_mark push_mark(const struct worker *w);
void push_rewind(struct worker *w, struct push_mark mark);
/* The same, but kept: appended to `kept`, to be told later by push_put, when the shards concerned
 * are held again. What finds no memory is lost, as an event that finds none. */
void push_take(struct worker *w, struct push_mark mark, struct buf *kept, uint32_t *mask);
void push_put(struct worker *w, const struct buf *kept, uint32_t mask);
void push_flush_slow(struct worker *w);
/* The unit's effects get their ticket, and its pushes are told. Before anybody can learn what it
 * did: before a shard is given back, a batch's counter goes on, a transaction's locks are
 * released. */
static inline void push_flush(struct worker *w)
{
    if (unlikely(w->push_logged | w->effects_stated)) push_flush_slow(w);
}
/* Delivers what is due to this worker's connections, in order; true while something is left that
 * waits for another worker. Never inside a reply. */
bool push_deliver(struct worker *w);
/* Nothing has arrived, nothing waits. */
bool push_idle(const struct worker *w);
/* Messages that found a mailbox full: true while some are left. Wakes whom the last ones were
 * for. */
bool push_publish(struct worker *w);

#endif
