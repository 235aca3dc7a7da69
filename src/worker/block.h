/* Clients that wait for a key: registering, serving, waking, leaving (DESIGN section 4, Blocking).
 * Thread: as each function says. */
#ifndef SPLITRING_SRC_WORKER_BLOCK_H
#define SPLITRING_SRC_WORKER_BLOCK_H

#include "internal.h"

struct exec;
struct txn;
struct waiter;

void waiting_init(struct waiting *waiting);
void waiting_deinit(struct waiting *waiting);
bool waiting_empty(const struct waiting *waiting);
/* shard_set_ready_hook's, ctx: the struct waiting. */
void waiting_on_ready(void *ctx, struct shard *shard, db_id db, struct slice key);

/* ---- at a shard. Thread: its holder ---- */

/* The key may have something for its waiters. */
void block_mark(struct worker *w, shard_id s, db_id db, struct slice key);
void block_serve_slow(struct worker *w);
/* The last act of every unit: serves those whose keys it made ready. Within EXEC only notes which
 * keys became ready before which. */
static inline void block_serve(struct worker *w, shard_id s)
{
    if (unlikely(!list_empty(&w->hub->waiting[s].ready))) block_serve_slow(w);
}
/* Keys that are ready, but may not be served before a script that pauses here goes on; and back. */
void block_aside(struct worker *w, shard_id s, bool aside);
/* From now on a push to one of its keys here serves it. */
void block_register(struct worker *w, struct waiter *v, shard_id s);

/* ---- at the client's worker ---- */

/* May this command make its client wait? */
bool block_may_slow(const struct op *op);
static inline bool block_may(const struct op *op)
{
    return unlikely(op->cmd && op->cmd->flags & CMD_BLOCKING) && block_may_slow(op);
}
/* Runs a blocking command whose shards are all held; the client waits if it finds nothing. */
void block_run(struct worker *w, const struct op *op, struct exec *x);
/* A transaction that found nothing waits: true, its parts have been told to register; false: its
 * client has gone. */
bool block_start(struct txn *t);
/* The same with all its shards held: registers there itself. */
bool block_start_here(struct txn *t);
/* Arguments that read differently from now on (XREAD's `$`). Thread: who runs t just now; before
 * its waiter is registered. */
void block_replace_args(struct txn *t);
/* One shard only: it registers there by itself if it finds nothing. */
struct waiter *block_prepare(struct txn *t);
/* … and has answered: true, the client waits (or has been served already). */
bool block_settled(struct txn *t);

/* RETRY: not for good, its command runs again. */
enum block_leave { BLOCK_RETRY = 1, BLOCK_TIMEOUT, BLOCK_ERROR, BLOCK_CLOSE };
/* The client stops waiting, unless it is being served just now. False: it was not waiting. */
bool block_leave(struct conn *c, enum block_leave why);
/* It is blocked, and nobody serves it just now. */
bool block_is_unclaimed(const struct conn *c);
/* Timeouts that are over. */
void block_tick(struct worker *w);
instant_ms block_next(const struct worker *w); /* the nearest timeout; EXPIRE_NONE */

/* ---- messages ---- */

void block_on_served(struct worker *w, struct waiter *v);
void block_on_woken(struct worker *w, struct waiter *v);
void block_on_left(struct worker *w, struct waiter *v);
void block_on_forget(struct worker *w, struct waiter *v); /* holding the own shard */

#endif
