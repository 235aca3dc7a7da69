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
#include "txn.h"

static void run_held(struct worker *w, struct txn *t)
{
    t->x.out = &t->reply;
    t->x.block = t->x.cmd->flags & CMD_BLOCKING ? &t->block : NULL;
    counter_next_shared(&t->refs_left); /* a waiter may be served before this ends */
    bool later = false;
    if (t->is_exec) {
        later = !multi_run(w, t->conn, t->x.cmd, &t->reply);
        if (unlikely(w->monitor_mask)) monitor_show(w, &t->x);
    } else {
        exec_many(w, &t->x);
    }
    bool waits = t->block.wanted && block_start_here(t);
    for (unsigned i = 0; i < t->part_count; i++) {
        t->parts[i].granted = false;
        txn_release_part(w, &t->parts[i]);
    }
    if (later) {
        struct conn *c = t->conn;
        worker_unhold_all(w);
        txn_drop(t); /* the coordinator's own */
        conn_resume(c);
    } else if (!waits) {
        txn_written(t);
    }
    txn_drop(t);
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
