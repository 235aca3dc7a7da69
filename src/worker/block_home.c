/* Blocking commands, from the client's side: starting to wait, and the four ways it ends (served,
 * timeout, CLIENT UNBLOCK, the connection's end).
 *
 * While it waits the connection is CONN_WAITING | CONN_BLOCKED with its transaction in flight, so
 * nothing more of its input runs. Timeouts lie in a heap of the worker. Whoever ends the wait from
 * here must win the waiter's state (WAITING → GONE); if a server has claimed it, its message is
 * waited for, and decides. Then the shards where it is still registered are told to forget it, by
 * mail even to the own one: the mailbox keeps a registration before its end.
 * Thread: owner. */
#include <string.h>

#include "acl.h"
#include "block_impl.h"
#include "conn.h"
#include "meter.h"
#include "splitring/base/check.h"
#include "splitring/base/mem.h"
#include "splitring/cmd/block_args.h"
#include "stats.h"

void waiter_drop(struct waiter *v)
{
    if (!refs_drop_shared(&v->refs)) return;
    buf_deinit(&v->reply);
    txn_drop(v->txn);
    mem_free(v);
}

/* ---- timeouts: a binary heap by deadline ---- */

static void heap_put(struct worker *w, size_t at, struct waiter *v)
{
    w->deadlines[at] = v;
    v->heap_at = at + 1;
}

static void heap_sift(struct worker *w, size_t at)
{
    struct waiter *v = w->deadlines[at];
    while (at && w->deadlines[(at - 1) / 2]->deadline > v->deadline) {
        heap_put(w, at, w->deadlines[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    for (size_t child; (child = at * 2 + 1) < w->deadline_count; at = child) {
        if (child + 1 < w->deadline_count &&
            w->deadlines[child + 1]->deadline < w->deadlines[child]->deadline)
            child++;
        if (w->deadlines[child]->deadline >= v->deadline) break;
        heap_put(w, at, w->deadlines[child]);
    }
    heap_put(w, at, v);
}

static void heap_add(struct worker *w, struct waiter *v)
{
    if (v->deadline == EXPIRE_NONE) return;
    if (w->deadline_count == w->deadline_cap) {
        w->deadline_cap = w->deadline_cap ? w->deadline_cap * 2 : 16;
        w->deadlines = mem_realloc(w->deadlines, w->deadline_cap * sizeof *w->deadlines);
    }
    heap_put(w, w->deadline_count++, v);
    heap_sift(w, w->deadline_count - 1);
    counter_set(&w->pub->timeouts, w->deadline_count);
}

static void heap_remove(struct worker *w, struct waiter *v)
{
    if (!v->heap_at) return;
    size_t at = v->heap_at - 1;
    v->heap_at = 0;
    struct waiter *last = w->deadlines[--w->deadline_count];
    counter_set(&w->pub->timeouts, w->deadline_count);
    if (last == v) return;
    heap_put(w, at, last);
    heap_sift(w, at);
}

instant_ms block_next(const struct worker *w)
{
    return w->deadline_count ? w->deadlines[0]->deadline : EXPIRE_NONE;
}

/* ---- waiting ---- */

bool block_may_slow(const struct op *op)
{
    bool block = true;
    if (op->cmd->acl & ACL_STREAM) (void)block_streams_at(op->argv, op->argc, &block);
    return block;
}

void block_replace_args(struct txn *t)
{
    if (t->block.args.failed) return; /* no memory: `$` is then what it is when it is served */
    for (int i = 0; i < t->block.replaced_count; i++) {
        const struct call_block_arg *arg = &t->block.replaced[i];
        t->argv[arg->index] = slice_of(t->block.args.ptr + arg->begin, arg->len);
    }
}

struct waiter *block_prepare(struct txn *t)
{
    unsigned count = (unsigned)t->ref_count;
    size_t len = sizeof(struct waiter) + count * sizeof(struct waiter_node);
    struct waiter *v = mem_alloc(len);
    memset((void *)v, 0, len);
    v->txn = t;
    v->retry_at = t->block.wanted ? t->block.retry_at : 0;
    counter_next_shared(&t->refs_left);
    v->node_count = count;
    refs_init(&v->refs, t->part_count + 1);
    for (unsigned i = 0; i < t->part_count; i++) v->mask |= 1u << t->parts[i].shard;
    for (unsigned i = 0; i < count; i++) {
        list_init(&v->nodes[i].link);
        v->nodes[i].waiter = v;
        v->nodes[i].pos = t->refs[i].pos;
        v->nodes[i].shard = hub_shard_of(t->home->hub, t->argv[t->refs[i].pos]);
        if (t->x.cmd->split == SPLIT_MOVE && i > 0) v->node_count = 1; /* the source's only */
    }
    return v;
}

/* The connection now waits, and this worker knows it. */
static void settle(struct txn *t, struct waiter *v)
{
    struct worker *w = t->home;
    if (!t->has_deadline) {
        t->has_deadline = true;
        int64_t timeout = t->block.timeout_ms;
        t->deadline = timeout && timeout < EXPIRE_NONE - t->x.now ? t->x.now + timeout
                                                                  : EXPIRE_NONE;
    }
    v->deadline = t->deadline;
    if (t->block.retry_at && t->block.retry_at < v->deadline) v->deadline = t->block.retry_at;
    v->settled = true;
    heap_add(w, v);
    t->conn->flags |= CONN_WAITING | CONN_BLOCKED;
    t->conn->in_flight = t;
    counter_add(&w->pub->blocked, 1);
}

void block_run(struct worker *w, const struct op *op, struct exec *x)
{
    struct call_block wish = {0};
    struct conn *c = op->conn;
    x->block = &wish;
    if (op->shard >= 0)
        exec_one(w, x, (shard_id)op->shard);
    else
        exec_many(w, x);
    if (!wish.wanted || wish.args.failed) {
        buf_deinit(&wish.args);
        mem_free(wish.replaced);
        if (wish.args.failed) conn_close(c);
        return;
    }
    struct txn *t = txn_new(w, op);
    if (!t) {
        conn_close(c);
        return;
    }
    t->block = wish;
    block_start_here(t);
}

/* False: its client has gone. */
static bool begin(struct txn *t)
{
    if (t->conn->flags & CONN_CLOSING) return t->block.wanted = false;
    block_replace_args(t);
    t->waiter = block_prepare(t);
    settle(t, t->waiter);
    return true;
}

bool block_start_here(struct txn *t)
{
    if (!begin(t)) return false;
    for (unsigned i = 0; i < t->part_count; i++)
        block_register(t->home, t->waiter, t->parts[i].shard);
    return true;
}

bool block_start(struct txn *t)
{
    if (!begin(t)) return false;
    for (unsigned i = 0; i < t->part_count; i++) {
        t->parts[i].granted = false;
        t->parts[i].waiter = t->waiter;
        txn_part_send(t, &t->parts[i], MSG_TXN_REGISTER);
    }
    return true;
}

bool block_settled(struct txn *t)
{
    struct waiter *v = t->waiter;
    if (!t->block.wanted) { /* it found something: nobody else knows the waiter */
        t->waiter = NULL;
        waiter_drop(v);
        waiter_drop(v);
        return false;
    }
    settle(t, v);
    if (v->early == MSG_WAITER_SERVED)
        block_on_served(t->home, v);
    else if (v->early)
        block_on_woken(t->home, v);
    else if (t->conn->flags & CONN_CLOSING)
        block_leave(t->conn, BLOCK_CLOSE);
    return true;
}

/* ---- ending ---- */

/* The wait is over; `except` has let go of the waiter already, -1: nobody has. */
static void unsettle(struct worker *w, struct waiter *v, int except)
{
    struct txn *t = v->txn;
    heap_remove(w, v);
    t->conn->flags &= ~(uint32_t)CONN_BLOCKED;
    t->waiter = NULL;
    counter_sub(&w->pub->blocked, 1);
    for (uint32_t m = v->mask; m; m &= m - 1) {
        worker_id to = (worker_id)__builtin_ctz(m);
        if ((int)to != except) worker_send(w, to, MSG_WAITER_FORGET, v);
    }
}

void block_on_served(struct worker *w, struct waiter *v)
{
    struct txn *t = v->txn;
    if (!v->settled) {
        v->early = MSG_WAITER_SERVED;
        return;
    }
    struct buf out = v->reply;
    v->reply = (struct buf){0};
    unsettle(w, v, v->served_shard);
    meter_wait_ended(w, &t->x, v->ran_ns);
    waiter_drop(v);
    txn_finish(t, &out);
}

/* What the client is told that stops waiting. */
static void finish_left(struct txn *t, enum block_leave why)
{
    struct buf out = {0};
    struct reply reply = {.out = &out, .proto = t->x.proto};
    if (why == BLOCK_TIMEOUT) reply_null_array(&reply);
    if (why == BLOCK_ERROR) reply_error(&reply, ERR_UNBLOCKED);
    stats_note_reply(t->home, t->x.cmd, &reply);
    txn_finish(t, &out);
}

/* Users have changed since the command was judged, and its own may not do this any more, or is gone
 * and so is the client. */
static bool refused(struct txn *t, struct buf *out)
{
    struct worker *w = t->home;
    struct reply reply = {.out = out, .proto = t->x.proto};
    acl_refresh(w);
    if (t->acl_generation == w->acl_generation) return false;
    t->acl_generation = w->acl_generation;
    if (t->conn->flags & CONN_CLOSING) return true;
    if (!acl_refuses_now(t->conn, t->x.cmd, t->argv, t->x.argc, &reply)) return false;
    stats_note_refusal(w, t->x.cmd, out);
    return true;
}

/* `from` has woken it, and may have something for the next one. */
static void pass_on(struct txn *t, shard_id from)
{
    for (unsigned i = 0; i < t->part_count; i++)
        if (t->parts[i].shard == from) txn_part_send(t, &t->parts[i], MSG_TXN_RELEASE);
}

/* Its key is ready, but it needs another one too, or is to be judged again: it runs as a
 * transaction. A client that does not want it any more passes the wake on. */
void block_on_woken(struct worker *w, struct waiter *v)
{
    struct txn *t = v->txn;
    if (!v->settled) {
        v->early = MSG_WAITER_WOKEN;
        return;
    }
    enum block_leave leaving = t->conn->flags & CONN_CLOSING ? BLOCK_CLOSE : v->leaving;
    shard_id from = v->served_shard;
    unsettle(w, v, from);
    waiter_drop(v);
    struct buf out = {0};
    bool may_not = leaving <= BLOCK_RETRY && refused(t, &out);
    if (leaving <= BLOCK_RETRY && !may_not) {
        txn_restart(t);
        return;
    }
    pass_on(t, from);
    if (may_not) txn_finish(t, &out);
    else finish_left(t, leaving);
}

void block_on_left(struct worker *w, struct waiter *v)
{
    struct txn *t = v->txn;
    enum block_leave why = v->leaving;
    unsettle(w, v, -1);
    waiter_drop(v);
    struct buf out = {0};
    if (why != BLOCK_RETRY) finish_left(t, why);
    else if (refused(t, &out)) txn_finish(t, &out);
    else txn_restart(t);
}

bool block_leave(struct conn *c, enum block_leave why)
{
    if (!(c->flags & CONN_BLOCKED)) return false;
    struct txn *t = c->in_flight;
    struct waiter *v = t->waiter;
    while (!claim_try_shared(&v->state, WAITER_WAITING, WAITER_GONE)) {
        /* Being served: that decides. It may also be unclaimed between the two looks. */
        bool leaving = v->leaving || claim_try_shared(&v->state, WAITER_CLAIMED, WAITER_LEAVING);
        if (!leaving) continue;
        if (why > v->leaving) v->leaving = (uint8_t)why;
        heap_remove(c->worker, v);
        return true;
    }
    v->leaving = (uint8_t)why;
    block_on_left(c->worker, v);
    return true;
}

bool block_is_unclaimed(const struct conn *c)
{
    if (!(c->flags & CONN_BLOCKED)) return false;
    const struct txn *t = c->in_flight;
    return claim_get_shared(&t->waiter->state) == WAITER_WAITING;
}

void block_tick(struct worker *w)
{
    while (w->deadline_count && w->deadlines[0]->deadline <= w->now) {
        const struct txn *t = w->deadlines[0]->txn;
        block_leave(t->conn, t->deadline <= w->now ? BLOCK_TIMEOUT : BLOCK_RETRY);
    }
}
