/* One command on shards that are held: the only place where handlers are called.
 * Thread: holder of the shards named. */
#ifndef SPLITRING_SRC_WORKER_EXEC_H
#define SPLITRING_SRC_WORKER_EXEC_H

#include "internal.h"

/* What to run, wherever it came from: a connection's op, a batch, a part of a transaction. */
struct exec {
    const struct command *cmd;
    const struct slice *argv;
    struct arg *args; /* owned blocks, or NULL */
    int argc;
    db_id db;
    uint8_t proto;
    uint8_t ks_flags;
    bool is_part; /* of a multi-shard command: its coordinator counts the call */
    bool oom;        /* memory is out: its script may run, but not call what grows first */
    bool large_request; /* its bytes may be as many as commandlog-request-larger-than */
    /* Client-side caching (tracking.h). A script's calls inherit all four from its own exec. */
    bool track;      /* what it reads is remembered for its client */
    bool own;        /* invalidations it causes to its own client follow its reply */
    uint64_t client_id; /* who gave the command */
    struct buf *own_out; /* where those go; NULL: to out */
    instant_ms now;
    const char *key; /* first key and its hash, or NULL */
    uint64_t hash;
    const struct key_hint *hint; /* NULL: none; only for the shard it was made for, at once */
    struct buf *out;
    /* Who sent it; only conn_peer() and its name may be looked at elsewhere than at its worker.
     * NULL: nobody did. */
    struct conn *client;
    uint64_t begun;     /* ticks, when its message was sent; 0: it runs where it came from */
    uint64_t queued_ns; /* …, and how long it had been queued then */
    uint64_t *part_ns;  /* a part's time is added here; NULL: it is a whole command */
    struct watch_set *watch;  /* WATCH registers with it */
    struct call_away *away;   /* another server may be asked; NULL: it may not */
    struct call_block *block; /* the client may be made to wait; NULL: it may not */
    struct script_call *script; /* CMD_SCRIPT only: what it may do (script.h) */
    bool keys_limited;        /* it may not go to keys that it does not name (SORT BY, GET) */
    bool in_script;           /* called by one: no entry of its own in the command log */
};

/* shard: all keys live there. Returns the number of error replies written. */
uint32_t exec_one(struct worker *w, const struct exec *x, shard_id shard);
/* All shards of the hub are at hand (their keys' are held). */
uint32_t exec_many(struct worker *w, const struct exec *x);
/* A waiter's command, served by the unit that made its key ready: all keys in `shard`, or -1: all
 * shards are at hand. Serves nobody itself. */
void exec_waiter(struct worker *w, const struct exec *x, int shard);
/* On the coordinator's scratch shard. */
uint32_t exec_scratch(struct worker *w, const struct exec *x);
/* No keys: the connection's own commands. */
void exec_local(struct worker *w, struct conn *c, const struct exec *x);

/* No lock of that shard stops the keys of x that live there (whole: every key of the shard). */
bool exec_free_slow(struct worker *w, const struct exec *x, shard_id shard);
static inline bool exec_free(struct worker *w, const struct exec *x, shard_id shard)
{
    return likely(!locks_active(w->hub->locks[shard])) || exec_free_slow(w, x, shard);
}
/* Adds the keys of x that live in `shard` to a lock request. */
void exec_lock_keys(struct worker *w, const struct exec *x, shard_id shard,
                    struct lock_request *req);
/* Upper bound of keys, for the request's nodes. */
size_t exec_key_count(const struct exec *x);

#endif
