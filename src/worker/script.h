/* Scripts on shards: which shards a script gets, what its commands may touch, how it pauses, how it
 * is ended (DESIGN section 4, "Scripts"). The Lua side is splitring/script/vm.h.
 * Thread: owner, unless a function says otherwise. */
#ifndef SPLITRING_SRC_WORKER_SCRIPT_H
#define SPLITRING_SRC_WORKER_SCRIPT_H

#include "internal.h"
#include "push.h"
#include "splitring/script/vm.h"

struct exec;
struct script_job;
struct txn;

/* What a run may do, and what came of it. Between who executes EVAL and its handler. */
struct script_call {
    uint32_t mask;   /* shards that are held for it; no lock of others is on any of their keys */
    struct conn *conn; /* for whom */
    const struct push_mark *since; /* where its pushes begin: with EXEC's; NULL: with the script */
    struct push_mark begun;        /* … if it is not EXEC's */
    const size_t *stated;          /* EXEC: where its effects begin; NULL: with the script */
    bool oom;        /* memory is out: nothing that grows may be its first write */
    bool may_borrow; /* more shards may be held, as long as nobody has locks there */
    bool may_wait;   /* it may pause, or be undone and asked for again */
    bool wide;       /* out: it needs all shards, and has done nothing */
    struct script_job *paused; /* out: it has not ended */
};

/* It has not ended, or will begin again. */
static inline bool script_call_goes_on(const struct script_call *sc)
{
    return sc->paused || sc->wide;
}

/* ---- routing (group.c, multi.c) ---- */

/* op runs a script and has been routed by the keys it names: one that is known to touch others gets
 * all shards. */
void script_judge_slow(struct worker *w, struct op *op);
static inline bool script_may(const struct op *op)
{
    return unlikely(op->cmd && op->cmd->flags & CMD_SCRIPT);
}
/* op runs a script that has not promised to read only. */
bool script_may_write(struct worker *w, const struct op *op);
/* op runs a script that may not begin while memory is out (its first line says so). */
bool script_may_not_without_memory(struct worker *w, const struct op *op);
/* All shards of the op are held. False: it has to wait for locks, or for more shards. */
bool script_run_op(struct worker *w, struct op *op, struct exec *x);

/* EXEC has paused in one of its scripts, out of a group; what it has replied so far lies behind
 * out_before in the connection's output. */
void script_park_exec(struct worker *w, const struct op *op, size_t out_before);

/* What a script's handler does first: MONITOR shows it before its commands, sound or not. */
void script_begin(struct call *c);

/* ---- transactions (txn_held.c) ---- */

/* t, an EXEC, has paused in one of its scripts. */
void script_pause_exec(struct worker *w, struct txn *t);

/* As script_run_op, for a transaction that has locked every key of its shards. True: it is over,
 * the reply is in t->reply. False: it goes on later by itself, or has been started anew. */
bool script_run_held(struct worker *w, struct txn *t);
/* One slice of each script that has paused; true while there are any. */
bool script_step(struct worker *w);

/* ---- what a VM knows (script_known.c) ---- */

/* Bits of script.host_state. */
enum script_state {
    SCRIPT_STATE_WIDE = 1u << 0,   /* it was seen to touch keys of shards it did not declare */
    SCRIPT_STATE_STORED = 1u << 1, /* the store knew it when host_count scripts were forgotten */
    SCRIPT_STATE_COUNTED = 1u << 2 /* among worker.vm_scripts */
};
/* The script that op runs, if the VM can tell; an error in its text is told when it runs. */
const struct script *script_of_op(struct worker *w, const struct op *op);

/* ---- for handlers that run scripts (EVAL, FCALL) ---- */

/* The VM, with everything known to it that all workers know. NULL: no memory. */
struct script_vm *script_vm(struct worker *w);
/* numkeys at argv[first], against the arguments behind it. False: the error is written. */
bool script_count_keys(struct call *c, int first, int *key_count);
/* Runs it with the keys and arguments behind argv[first], which is numkeys. The handler's last
 * act. */
void script_log(enum script_log_level level, struct slice text);
void script_invoke(struct call *c, struct script *script, int first, int key_count, bool read_only,
                   bool is_function);
/* A script in this worker's VM, and known to all. NULL: not known, or (of_text) the error is
 * written. pinned: not to be forgotten by itself. */
struct script *script_of_text(struct call *c, struct slice text, bool pinned);
struct script *script_of_sha(struct worker *w, struct slice sha);

/* ---- scripts that do not end ---- */

/* Who stands in the way on these shards: none; a script that has paused; or one that has run for
 * longer than busy-reply-threshold. Thread: any. */
enum script_way { SCRIPT_WAY_FREE, SCRIPT_WAY_PAUSED, SCRIPT_WAY_BUSY };
enum script_way script_in_the_way(const struct hub *hub, uint32_t mask);
/* The connection, which is held back, is tried again soon. */
void script_wait(struct conn *c);
#define SCRIPT_WAIT_US 1000
bool script_waits_over_slow(struct worker *w);
/* Tries those that wait, once a millisecond; true while there are any. */
static inline bool script_waits_over(struct worker *w)
{
    return unlikely(!list_empty(&w->script_waits)) && script_waits_over_slow(w);
}
/* SCRIPT KILL, FUNCTION KILL: ends this worker's paused runs. Returns what there was. */
enum script_killed {
    SCRIPT_NONE,
    SCRIPT_KILLED = 1,
    SCRIPT_UNKILLABLE = 2, /* it has written */
    SCRIPT_OF_OTHER_KIND = 4 /* a function; or a script, for FUNCTION KILL */
};
uint32_t script_kill(struct worker *w, bool functions); /* bits */
/* FUNCTION STATS: the function of this worker that has run for longest, as a map of its name, its
 * command and its time; nothing if there is none. True: a script runs for too long. */
bool script_describe(struct worker *w, struct reply *reply);
/* The command: asks every worker, then replies. */
void script_kill_start(struct call *c, bool functions);

/* ---- what all workers know (script_store.c). Thread: any ---- */

struct script_store;
struct script_store *script_store_new(void);
void script_store_free(struct script_store *store);
/* Every access but the generation goes between these two: short, and never a wait inside. */
void script_store_lock(struct hub *hub);
void script_store_unlock(struct hub *hub);
/* The text of a script; NULL: not known. Valid until unlocked. */
const struct slice *script_store_find(struct script_store *store, struct slice sha);
/* False: no memory. pinned: by SCRIPT LOAD; others are forgotten when there are many. */
bool script_store_add(struct script_store *store, struct slice sha, struct slice text, bool pinned);
void script_store_flush(struct script_store *store);
size_t script_store_count(const struct script_store *store);
size_t script_store_bytes(const struct script_store *store);
uint64_t script_texts_bytes(const struct hub *hub); /* the same, without the lock. Thread: any */
/* How many it has forgotten, because there were others. */
uint64_t script_store_forgotten(const struct script_store *store);
/* Changes with every SCRIPT FLUSH: VMs that know an older one forget their scripts. */
uint64_t script_store_generation(const struct script_store *store);

void scripts_free(struct worker *w);

#endif
