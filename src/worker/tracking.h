/* Client-side caching: which clients may hold which keys, and telling them (tracking.c: the
 * shard's side; tracking_home.c: the connections' side; local_tracking.c: the commands).
 * Thread: as each function says. */
#ifndef SPLITRING_SRC_WORKER_TRACKING_H
#define SPLITRING_SRC_WORKER_TRACKING_H

#include "exec.h"
#include "internal.h"

struct fanout;
struct push_record;

/* What CLIENT TRACKING has set. */
struct tracking_state {
    bool on, broadcast, optin, optout, noloop;
    uint8_t proto;     /* of the client, when it was set */
    uint64_t redirect; /* the client that hears of it; 0: itself */
    worker_id at;      /* whose worker that one's is */
    struct slice *prefixes; /* of BCAST, ascending; one block with their bytes */
    size_t prefix_count;
};

/* A connection that tracks, or that others redirect to. It stays with its worker. */
struct conn_track {
    uint64_t id;
    struct conn *conn;
    struct tracking_state state;
    bool caching;     /* CLIENT CACHING was given, for the next command */
    bool broken;      /* its redirection's client has gone */
    struct buf held;  /* pushes that wait behind the reply that is being made */
    struct list link; /* tracking_home.holding */
};

/* A change of one client's state, for every worker: its shard's register, its own connections.
 * Constant while parts run. */
struct tracking_act {
    struct list link; /* tracking_home.begun */
    struct conn *conn; /* NULL: nobody waits */
    uint64_t id;
    worker_id home;
    struct tracking_state before, after;
};

/* One who is told, in a PUSH_INVALIDATE record. */
struct push_target {
    uint64_t client, source; /* who is told, and who has read it */
    worker_id at, home;      /* their workers */
    uint8_t proto;           /* of source, if another one is told */
};

/* ---- at a shard (tracking.c). Thread: its holder ---- */

struct tracking *tracking_new(uint64_t seed);
void tracking_free(struct tracking *t);
/* The state of a client, as this worker's own shard, which is held, has to know it. False: no
 * memory. */
bool tracking_register(struct worker *w, const struct tracking_act *act);
/* Something changed and somebody may want to know: the modified hook. key without ptr: all. */
bool tracking_listens(const struct hub *hub, shard_id s);
void tracking_on_modified(struct worker *w, shard_id s, struct slice key);
/* After x has read: its keys in shards that are held are remembered for its client. */
void tracking_remember_slow(struct worker *w, const struct exec *x);
void tracking_remember_key(struct worker *w, const struct exec *x, shard_id s, struct slice key);
static inline void tracking_remember(struct worker *w, const struct exec *x)
{
    if (unlikely(x->track)) tracking_remember_slow(w, x);
}
/* Around whatever writes in the name of x's client. end: what it told its own client goes behind
 * its reply, unless it is a part of something larger (outer). */
static inline const struct exec *tracking_begin(struct worker *w, const struct exec *x)
{
    const struct exec *outer = w->writer;
    w->writer = x;
    return outer;
}
void tracking_end_slow(struct worker *w, const struct exec *x);
static inline void tracking_end(struct worker *w, const struct exec *x, const struct exec *outer)
{
    w->writer = outer;
    if (unlikely(w->tracking_due)) tracking_end_slow(w, x);
}
/* Evicts what is above tracking-table-max-keys, frees what was dropped; true while there is more.
 * Thread: owner. */
bool tracking_step(struct worker *w);

/* ---- at the clients' worker (tracking_home.c). Thread: owner ---- */

struct tracking_home *tracking_home_new(struct worker *w);
void tracking_home_free(struct tracking_home *h);
/* Where the shard's side puts what it tells the writer's own client: RESP3 pushes. */
struct buf *tracking_own(struct worker *w);
size_t tracking_conn_memory(const struct conn_track *t);
/* NULL: no memory. */
struct conn_track *tracking_take(struct conn *c);
void tracking_conn_closed(struct conn *c);
void tracking_conn_free(struct conn *c);
/* Puts a state into place (it is taken) and tells all shards; the connection waits, then gets "OK",
 * if `waits`. False: no memory. */
bool tracking_change(struct conn *c, struct tracking_state *after, bool waits) WARN_UNUSED;
void tracking_off(struct conn *c); /* nobody waits */
/* Starts what was put off; holding nothing, between replies. */
void tracking_start(struct worker *w);
/* A client in BCAST mode is told by its worker, or that of its redirection: the part of an act. */
bool tracking_listen(struct worker *w, const struct tracking_act *act);
void tracking_deliver(struct worker *w, const struct push_record *r);
/* The end of a pass: what the clients in BCAST mode hear. */
void tracking_broadcast(struct worker *w);
bool tracking_idle(const struct worker *w);
/* Pushes wait for a blocked client that seems to be served: to be looked at again soon. */
bool tracking_claimed(const struct worker *w);
void tracking_on_broken(struct worker *w, uint64_t id); /* MSG_TRACKING_BROKEN */
/* All clients' caches of this worker are void: something could not be told. */
void tracking_lost(struct worker *w);
/* What x has to know of its client. */
void tracking_exec_slow(const struct conn *c, struct exec *x);
/* CLIENT CACHING is for one command. */
void tracking_ran_slow(struct conn *c, const struct command *cmd);
/* Where a push to this connection goes: not before a reply that is being made elsewhere. */
struct buf *tracking_out(struct conn *c);
/* The reply has been appended: so is what waited for it. */
void tracking_release(struct conn *c);

/* ---- states (tracking_home.c). Thread: any ---- */

/* A state like `from`, with the prefixes of `more` as well. False: no memory. */
bool tracking_state_copy(struct tracking_state *to, const struct tracking_state *from,
                         const struct tracking_state *more) WARN_UNUSED;
void tracking_state_free(struct tracking_state *state);

#endif
