/* Transactions that run at their coordinator on all their shards at once (TXN_HELD).
 *
 * At the lock point every key is locked, so nobody can change what the handler will see; what is
 * missing is the right to touch the shards. Each is held by somebody for some microseconds at a
 * time, so the coordinator tries in every pass until it can have them all (ascending, waiting for
 * none of them while it holds another longer than a spin), then runs the ordinary handler, or a
 * whole EXEC, and gives the locks up on the spot: no second hop, no copies of values.
 * Thread: the coordinator. */
#include "block.h"
#include "conn.h"
#include "monitor.h"
#include "multi.h"
#include "script.h"
#include "txn.h"

static void release_all(struct worker *w, struct txn *t)
{
    for (unsigned i = 0; i < t->part_count; i++) {
        t->parts[i].granted = false;
        txn_release_part(w, &t->parts[i]);
    }
}

void txn_exec_ran(struct worker *w, struct txn *t, enum multi_outcome outcome)
{
    struct conn *c = t->conn;
    if (outcome == MULTI_PAUSED) {
        script_pause_exec(w, t);
        return;
    }
    release_all(w, t);
    if (outcome == MULTI_DONE) {
        txn_written(t);
        return;
    }
    worker_unhold_all(w);
    txn_drop(t);
    conn_resume(c);
}

static void run_held(struct worker *w, struct txn *t)
{
    t->x.out = &t->reply;
    if (t->is_exec) {
        enum multi_outcome outcome = multi_run(w, t->conn, t->x.cmd, &t->reply);
        if (unlikely(w->monitor_mask)) monitor_show(w, &t->x);
        txn_exec_ran(w, t, outcome);
        return;
    }
    if (t->x.cmd->flags & CMD_SCRIPT) {
        if (script_run_held(w, t)) txn_held_done(w, t);
        return;
    }
    t->x.block = t->x.cmd->flags & CMD_BLOCKING ? &t->block : NULL;
    counter_next_shared(&t->refs_left); /* a waiter may be served before this ends */
    exec_many(w, &t->x);
    bool waits = t->block.wanted && block_start_here(t);
    release_all(w, t);
    if (!waits) txn_written(t);
    txn_drop(t);
}

void txn_held_done(struct worker *w, struct txn *t)
{
    release_all(w, t);
    txn_written(t);
}

bool txn_run_held(struct worker *w)
{
    struct list *link, again;
    list_init(&again);
    while ((link = list_pop_front(&w->possess)) != NULL) {
        struct txn *t = CONTAINER_OF(link, struct txn, held_link);
        uint32_t mask = 0;
        for (unsigned i = 0; i < t->part_count; i++) mask |= 1u << t->parts[i].shard;
        if (worker_hold_all(w, mask, false))
            run_held(w, t);
        else
            list_push_back(&again, &t->held_link);
        worker_unhold_all(w);
    }
    while ((link = list_pop_front(&again)) != NULL) list_push_back(&w->possess, link);
    return !list_empty(&w->possess);
}
