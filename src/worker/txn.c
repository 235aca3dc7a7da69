/* The coordinator of a command over several shards, and of one that may block.
 *
 *        TRY to all shards at once ──▶ all granted? ── yes ──────────────┐
 *                                        │ no: keep what lies below the   │
 *                                        ▼ lowest refusal, release others │
 *        LOCK shard by shard, ascending, waiting in each queue ───────────┤
 *                                                                         ▼  lock point
 *        read-only: RELEASE all, answer     writes: WRITE (and release) to all, answer when done
 *
 * Split commands (MGET, DEL, MSET …) run at each shard on that shard's keys: readers in the
 * granting hop, writers in the write hop. Commands that take the first of their keys that exists
 * (LMPOP, BLPOP …) are told with the grants which of them do; the write hop then goes to that key's
 * shard alone. The others (COPY, RENAME, BITOP, LMOVE …) go on holding their locks until the
 * coordinator has borrowed all their shards at once, which nobody holds for long, and then run as
 * if nothing had been in the way (TXN_HELD); so do those that read keys which no argument names
 * (SORT BY w_*), with a lock on everything. Only slow commands, which must not sit on a borrowed
 * shard, fetch images of all their keys with the grants; the handler then runs on the coordinator's
 * scratch shard, and the keys it changed go home as images with the write hop (txn_image.c).
 *
 * A blocking command that finds nothing REGISTERs in the hop that releases its locks (block.c).
 *
 * Who holds shard s waits only above s, and inside a shard only for what came earlier: no cycle.
 * The rules were explored in shared/model; each fault bit here leaves one out for the simulator.
 *
 * Thread: the connection's worker; parts belong to the shard's holder between request and
 * answer. */
#include "txn.h"

#include "away.h"
#include "block.h"
#include "conn.h"
#include "group.h"
#include "journal.h"
#include "meter.h"
#include "monitor.h"
#include "local.h"
#include "multi.h"
#include "splitring/base/check.h"
#include "splitring/base/mem.h"
#include "splitring/base/num.h"
#include "stats.h"
#include "tracking.h"

#include <limits.h>

/* ---- sending ---- */

void txn_part_send(struct txn *t, struct txn_part *part, uint32_t kind)
{
    struct worker *w = t->home;
    if (kind == MSG_TXN_RELEASE || kind == MSG_TXN_REGISTER)
        counter_next_shared(&t->refs_left); /* no answer: the hop drops it */
    else
        t->pending++;
    if (part->shard == w->id && kind == MSG_TXN_RELEASE) {
        list_push_back(&w->local_releases, &part->release_link);
    } else if (part->shard == w->id) {
        part->kind = kind;
        list_push_back(&w->local_hops, &part->link);
    } else {
        worker_send(w, part->shard, kind, part);
    }
}

static void release_granted(struct txn *t, unsigned from)
{
    for (unsigned i = from; i < t->part_count; i++) {
        if (!t->parts[i].granted) continue;
        t->parts[i].granted = false;
        txn_part_send(t, &t->parts[i], MSG_TXN_RELEASE);
    }
}

static void try_all(struct txn *t)
{
    t->phase = TXN_PHASE_TRY;
    for (unsigned i = 0; i < t->part_count; i++) txn_part_send(t, &t->parts[i], MSG_TXN_TRY);
}

void txn_restart(struct txn *t)
{
    t->reply.len = 0;
    t->block.wanted = false;
    t->x.now = t->home->now;
    for (unsigned i = 0; i < t->part_count; i++) {
        t->parts[i].sub.now = t->x.now;
        t->parts[i].writes.len = 0;
    }
    try_all(t);
}

static void conn_waits_for(struct conn *c, struct txn *t)
{
    if (c->flags & CONN_REPLY_SKIP_NEXT)
        c->flags = (c->flags & ~(uint32_t)CONN_REPLY_SKIP_NEXT) | CONN_REPLY_SKIP;
    c->flags |= CONN_WAITING;
    c->in_flight = t;
    counter_add(&c->worker->pub->txns, 1);
}

void txn_start(struct worker *w, const struct op *op)
{
    struct txn *t = txn_new(w, op);
    if (!t) {
        conn_close(op->conn);
        return;
    }
    conn_waits_for(op->conn, t);
    try_all(t);
}

struct txn *txn_new_granted(struct worker *w, const struct op *op)
{
    struct txn *t = txn_new(w, op);
    check(t != NULL);
    conn_waits_for(op->conn, t);
    t->phase = TXN_PHASE_WRITE;
    for (unsigned i = 0; i < t->part_count; i++) {
        struct txn_part *part = &t->parts[i];
        check(worker_holds(w, part->shard));
        check(locks_try(w->hub->locks[part->shard], &part->lock));
        part->granted = true;
    }
    return t;
}

void txn_widen(struct txn *t, uint32_t mask)
{
    struct worker *w = t->home;
    struct op op = {.conn = t->conn, .cmd = t->x.cmd, .argv = t->argv, .argc = t->x.argc,
                    .shard = OP_ALL, .mask = mask};
    for (unsigned i = 0; i < t->part_count; i++) {
        t->parts[i].granted = false;
        txn_release_part(w, &t->parts[i]);
    }
    worker_unhold_all(w);
    txn_start(w, &op);
    txn_drop(t);
}

/* ---- the lock point and after ---- */

/* The parts were not counted: the command is, once. */
static void count_call(struct txn *t, const struct buf *out)
{
    struct worker_published *pub = t->home->pub;
    uint64_t ns = 0;
    for (unsigned i = 0; i < t->part_count; i++) ns += t->parts[i].ns;
    meter_parts_ended(t->home, &t->x, ns, out->len);
    counter_add(&pub->calls[t->x.cmd->id], 1);
    counter_add(&pub->commands, 1);
    if (!out->len || out->ptr[0] != '-') return;
    counter_add(&pub->calls_failed[t->x.cmd->id], 1);
    counter_add(&pub->error_replies, 1);
    stats_note_error(t->home, out);
}

void txn_finish(struct txn *t, struct buf *out)
{
    struct conn *c = t->conn;
    conn_append_reply(c, out);
    for (unsigned i = 0; unlikely(t->x.own) && i < t->part_count; i++)
        conn_append_reply(c, &t->parts[i].own);
    buf_deinit(out);
    txn_drop(t);
    conn_resume(c);
}

void txn_written(struct txn *t)
{
    struct buf out = {0};
    if (unlikely(t->waiter) && block_settled(t)) return;
    if (t->way == TXN_PARTS) {
        txn_combine(t->x.cmd, t->ref_count, t->parts, t->part_count, &t->home->rng, t->x.proto,
                    &out);
        count_call(t, &out);
    } else {
        struct buf *reply = t->acting ? &t->acting->reply : &t->reply;
        out = *reply;
        *reply = (struct buf){0};
    }
    txn_finish(t, &out);
}

/* ---- the lock point ---- */

/* Shards' clocks differ by a pass or so: a key judged alive by one may be past its time by
 * another's. Then everything is judged again at the later time. It ends: each round lets an expiry
 * pass. */
static bool judged_at_one_time(struct txn *t)
{
    instant_ms latest = t->x.now;
    bool same = true;
    for (unsigned i = 0; i < t->part_count; i++)
        if (t->parts[i].clock > latest) latest = t->parts[i].clock;
    for (unsigned i = 0; i < t->part_count; i++) same &= t->parts[i].next_expiry >= latest;
    if (same) return true;
    release_granted(t, 0);
    t->x.now = latest;
    for (unsigned i = 0; i < t->part_count; i++) t->parts[i].sub.now = latest;
    try_all(t);
    return false;
}

/* The part that has the first key that exists; NULL: none does. */
static struct txn_part *first_part(struct txn *t)
{
    struct txn_part *first = NULL;
    for (unsigned i = 0; i < t->part_count; i++) {
        struct txn_part *part = &t->parts[i];
        if (part->first != INT_MAX && (!first || part->first < first->first)) first = part;
    }
    return first;
}

/* What runs here at the lock point; afterwards it is known which parts have something to write. */
static void run_at_home(struct txn *t)
{
    t->acting = NULL;
    if (t->way == TXN_ONE) {
        t->acting = &t->parts[0];
        if (t->x.cmd->flags & CMD_BLOCKING) t->waiter = block_prepare(t);
    } else if (t->way == TXN_FIRST) {
        t->acting = first_part(t);
        if (!t->acting) txn_run_on_scratch(t); /* nothing there: it says so, or waits */
    } else if (t->way == TXN_COPIES) {
        txn_run_on_scratch(t);
    }
}

static bool part_writes(const struct txn *t, const struct txn_part *part)
{
    if (t->way == TXN_PARTS) return t->x.cmd->flags & CMD_WRITE;
    return t->way == TXN_COPIES ? part->writes.len != 0 : part == t->acting;
}

/* The write hop, which releases the locks; a plain release where nothing is written. */
static void send_writes(struct txn *t)
{
    for (unsigned i = 0; i < t->part_count; i++) {
        struct txn_part *part = &t->parts[i];
        part->granted = false;
        txn_part_send(t, part, part_writes(t, part) ? MSG_TXN_WRITE : MSG_TXN_RELEASE);
    }
    if (t->pending == 0) txn_written(t);
}

/* All locks are held: here the transaction happens. */
static void lock_point(struct txn *t)
{
    /* Each unit's effects are stated by one worker, in one record: with a journal it does not
     * split. */
    bool writes = t->x.cmd->flags & CMD_WRITE;
    bool splits = !journal_on(t->home->hub) || t->home->hub->faults & FAULT_LOG_SPLITS;
    if (!splits && writes && t->way == TXN_PARTS) t->way = TXN_HELD;
    if (t->way == TXN_HELD) { /* one time for all comes with running on all of them at once */
        t->phase = TXN_PHASE_WRITE;
        list_push_back(&t->home->possess, &t->held_link);
        return;
    }
    if (!judged_at_one_time(t)) return;
    t->phase = TXN_PHASE_WRITE;
    if (unlikely(t->home->monitor_mask) && t->way == TXN_PARTS) {
        monitor_show(t->home, &t->x);
        push_flush(t->home); /* its ticket, before a lock goes */
    }
    run_at_home(t);
    push_flush(t->home); /* what it states: before a lock goes */
    if (unlikely(t->block.wanted)) {
        if (block_start(t)) return; /* else the client has gone */
    }
    if (unlikely(t->away.wanted)) {
        if (away_start(t)) return;
        run_at_home(t); /* it says that it cannot be reached */
        push_flush(t->home);
    }
    send_writes(t);
}

void txn_resume(struct txn *t)
{
    run_at_home(t);
    push_flush(t->home);
    send_writes(t);
}

static void lock_next(struct txn *t)
{
    t->phase = TXN_PHASE_ORDERED;
    bool unsorted = t->home->hub->faults & FAULT_ORDERED_UNSORTED;
    for (unsigned n = 0; n < t->part_count; n++) {
        /* argument order: by the first key of the command */
        unsigned i = n;
        if (unsorted && t->ref_count &&
            hub_shard_of(t->home->hub, t->argv[t->refs[0].pos]) != t->parts[0].shard)
            i = t->part_count - 1 - n;
        if (t->parts[i].granted) continue;
        txn_part_send(t, &t->parts[i], MSG_TXN_LOCK);
        return;
    }
    lock_point(t);
}

/* Every try has been answered. */
static void tries_answered(struct txn *t)
{
    unsigned refused = t->part_count;
    for (unsigned i = t->part_count; i-- > 0;)
        if (!t->parts[i].granted) refused = i;
    if (refused == t->part_count) {
        lock_point(t);
        return;
    }
    counter_add(&t->home->pub->txns_refused, 1);
    uint32_t faults = t->home->hub->faults;
    if (faults & FAULT_RETRY_TRY) {
        release_granted(t, 0);
        try_all(t);
        return;
    }
    if (!(faults & FAULT_KEEP_HIGHER)) release_granted(t, refused + 1);
    lock_next(t);
}

/* Before its lock point, because of a script that runs for too long. */
static void give_up(struct txn *t)
{
    struct buf out = {0};
    struct reply reply = {.out = &out, .proto = t->x.proto};
    release_granted(t, 0);
    local_reply_busy(t->conn, t->is_exec, &reply);
    stats_note_refusal(t->home, t->x.cmd, &out);
    txn_finish(t, &out);
}

void txn_answered(struct worker *w, struct txn_part *part)
{
    struct txn *t = part->txn;
    (void)w;
    t->pending--;
    if (part->answer == TXN_GRANTED) part->granted = true;
    switch (t->phase) {
    case TXN_PHASE_TRY:
        if (t->pending == 0) tries_answered(t);
        break;
    case TXN_PHASE_ORDERED:
        if (unlikely(part->answer == TXN_BUSY))
            give_up(t);
        else
            lock_next(t);
        break;
    case TXN_PHASE_WRITE:
        if (t->pending == 0) txn_written(t);
        break;
    }
}

/* ---- at the shard ---- */

static void answer(struct worker *w, struct txn_part *part, enum txn_answer what)
{
    struct worker *home = part->txn->home;
    part->answer = (uint8_t)what;
    if (home == w)
        list_push_back(&w->local_answers, &part->link);
    else
        worker_send(w, home->id, MSG_TXN_ANSWER, part);
}

/* When the part's keys were judged, and until when that judgement holds. */
static void note_times(struct worker *w, struct txn_part *part)
{
    struct txn *t = part->txn;
    struct shard *shard = w->hub->shards[part->shard];
    part->next_expiry = EXPIRE_NONE;
    for (int k = 0; k < part->key_count; k++) {
        struct ks ks = txn_key_view(t, shard, part->key_pos[k]);
        ks.flags |= KS_LOGICAL;
        const struct entry *e = ks_peek(&ks, t->argv[part->key_pos[k]]);
        if (e && entry_expiry(e) < part->next_expiry) part->next_expiry = entry_expiry(e);
    }
    part->clock = shard_clock(shard) > t->x.now ? shard_clock(shard) : t->x.now;
}

static int first_existing(struct worker *w, const struct txn_part *part)
{
    const struct txn *t = part->txn;
    for (int k = 0; k < part->key_count; k++) {
        struct ks ks = txn_key_view(t, w->hub->shards[part->shard], part->key_pos[k]);
        if (ks_peek(&ks, t->argv[part->key_pos[k]])) return part->key_pos[k];
    }
    return INT_MAX;
}

/* What is read from copies, or found missing, by a client that caches it. */
static void remember_part(struct worker *w, const struct txn_part *part)
{
    const struct txn *t = part->txn;
    if (!(t->x.cmd->flags & CMD_READONLY)) return;
    for (int k = 0; k < part->key_count; k++)
        tracking_remember_key(w, &t->x, part->shard, t->argv[part->key_pos[k]]);
}

/* The granting hop: readers read here, under the locks they will hold to the lock point. */
static void grant(struct worker *w, struct txn_part *part)
{
    struct txn *t = part->txn;
    part->reply.len = part->images.len = 0;
    note_times(w, part);
    if (t->way == TXN_COPIES)
        txn_images_fetch(w, part);
    else if (t->way == TXN_FIRST)
        part->first = first_existing(w, part);
    else if (t->way == TXN_PARTS && !(t->x.cmd->flags & CMD_WRITE))
        exec_one(w, &part->sub, part->shard);
    if (unlikely(t->x.track) && t->way != TXN_PARTS) remember_part(w, part);
    if (w->hub->faults & FAULT_READS_RELEASE && !(t->x.cmd->flags & CMD_WRITE) &&
        part->lock.state == LOCK_HELD)
        locks_release(w->hub->locks[part->shard], &part->lock);
    answer(w, part, TXN_GRANTED);
}

static void lock_granted(void *ctx, struct lock_request *request)
{
    grant(ctx, CONTAINER_OF(request, struct txn_part, lock));
}

static void lock_cancelled(void *ctx, struct lock_request *request)
{
    answer(ctx, CONTAINER_OF(request, struct txn_part, lock), TXN_BUSY);
}

static void write_part(struct worker *w, struct txn_part *part)
{
    struct txn *t = part->txn;
    if (t->way == TXN_COPIES) {
        const struct exec *outer = tracking_begin(w, &part->sub);
        txn_images_put(w, part);
        tracking_end(w, &part->sub, outer);
        block_serve(w, part->shard);
        return;
    }
    part->sub.block = t->waiter ? &t->block : NULL;
    exec_one(w, &part->sub, part->shard);
    if (unlikely(t->block.wanted)) {
        block_replace_args(t); /* home waits for this part's answer: the arguments are at rest */
        block_register(w, t->waiter, part->shard);
    }
}

void txn_release_part(struct worker *w, struct txn_part *part)
{
    if (unlikely(shard_waiters(w->hub->shards[part->shard]))) {
        for (int k = 0; k < part->key_count; k++)
            block_mark(w, part->shard, part->txn->x.db, part->txn->argv[part->key_pos[k]]);
        block_serve(w, part->shard);
    }
    if (part->lock.state != LOCK_IDLE) locks_release(w->hub->locks[part->shard], &part->lock);
}

static bool read_no_lock(const struct worker *w, const struct txn_part *part)
{
    return w->hub->faults & FAULT_READ_NO_LOCK && !(part->txn->x.cmd->flags & CMD_WRITE);
}

void txn_hop(struct worker *w, uint32_t kind, struct txn_part *part)
{
    struct locks *locks = w->hub->locks[part->shard];
    check(worker_holds(w, part->shard));
    part->lock.on_granted = lock_granted;
    part->lock.on_cancelled = lock_cancelled;
    switch (kind) {
    case MSG_TXN_TRY:
        if (read_no_lock(w, part) || locks_try(locks, &part->lock))
            grant(w, part);
        else
            answer(w, part, TXN_REFUSED);
        break;
    case MSG_TXN_LOCK:
        if (locks_acquire(locks, &part->lock)) grant(w, part);
        break;
    case MSG_TXN_WRITE:
        write_part(w, part);
        txn_release_part(w, part);
        answer(w, part, TXN_DONE);
        break;
    case MSG_TXN_REGISTER:
        if (unlikely(w->hub->faults & FAULT_REGISTER_LATE) && part->lock.state == LOCK_HELD) {
            txn_release_part(w, part);
            worker_send(w, w->id, MSG_TXN_REGISTER, part);
            break;
        }
        block_register(w, part->waiter, part->shard);
        txn_release_part(w, part);
        txn_drop(part->txn);
        break;
    case MSG_TXN_RELEASE:
        txn_release_part(w, part);
        txn_drop(part->txn);
        break;
    default: check(false);
    }
}

bool txn_run_local(struct worker *w)
{
    bool any = false;
    struct list *link;
    for (;;) {
        if ((link = list_pop_front(&w->local_releases)) != NULL) {
            worker_hold(w, w->id);
            txn_hop(w, MSG_TXN_RELEASE, CONTAINER_OF(link, struct txn_part, release_link));
        } else if ((link = list_pop_front(&w->local_hops)) != NULL) {
            struct txn_part *part = CONTAINER_OF(link, struct txn_part, link);
            worker_hold(w, w->id);
            txn_hop(w, part->kind, part);
        } else if ((link = list_pop_front(&w->local_answers)) != NULL) {
            txn_answered(w, CONTAINER_OF(link, struct txn_part, link));
        } else if (w->held) {
            worker_unhold_all(w); /* may grant, and so answer, what waited here */
            continue;
        } else {
            return any;
        }
        any = true;
    }
}
