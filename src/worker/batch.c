/* Runs with one progress counter.
 *
 *   batch    [ run 0: shard 2 ][ run 1: shard 0 ][ run 2: shard 2 ] …     progress = j: run j is
 * due
 *   parts    shard 0, shard 2: each got one message with all its runs
 *
 * Run j executes when progress == j, by whoever holds its shard: its owner, or a worker that
 * borrowed it (help). The holder of the shard of run j is the only one who may advance progress to
 * j + 1, and does so after the run's effects; then it tries to go on with the next run itself, and
 * where it cannot, it wakes the next shard's owner if that sleeps. A run that meets a locked key
 * waits in that shard's lock queue like any one-shard message.
 *
 * Lifetime: one reference for the connection's worker, one per part. A part's reference is dropped
 * once its message has been received *and* its last run is over, both judged under the shard. Who
 * drops the last one frees the batch, wherever that is (mimalloc frees across threads).
 *
 * Thread: holder of the shard concerned; conn and replies' use: the home worker. */
#include "batch.h"

#include "block.h"
#include "conn.h"
#include "exec.h"
#include "group.h"
#include "meter.h"
#include "push.h"
#include "script.h"
#include "stats.h"
#include "splitring/base/check.h"
#include "splitring/base/mem.h"
#include "tracking.h"

#define BATCH_FIRST 8u /* commands in a connection's first batch */

struct batch_run {
    struct batch *batch;
    shard_id shard;
    uint16_t first, count; /* commands */
    bool slow;             /* only its owner runs it */
    bool done;             /* planted fault only */
    struct buf reply;
    struct lock_request lock; /* while it waits for a key */
};

struct batch_part {
    struct list link; /* hub.active[shard] */
    struct batch *batch;
    shard_id shard;
    uint16_t last_run;
    bool linked; /* received, runs are left */
    bool queued; /* its due run waits in the lock queue */
};

struct batch {
    /* constant after start */
    struct conn *conn;
    struct worker *home;
    unsigned cmd_count, run_count, part_count;
    struct exec *cmds;
    struct batch_run *runs;
    struct batch_part *parts;
    struct buf bytes; /* copied arguments */
    struct slice *argv;
    struct arg *args;
    counter refs;
    /* the holder of run j's shard writes */
    _Alignas(CACHE_LINE) progress_word progress;
};

/* ---- building ---- */

static bool batchable(const struct op *op, const struct conn *c)
{
    return op->conn == c && op->shard >= 0 && !block_may(op) && !script_may(op);
}

struct size_of_batch {
    unsigned cmds, runs, args;
    size_t bytes;
    bool blobs;
};

static struct size_of_batch measure(const struct group *g, unsigned i, unsigned limit)
{
    struct size_of_batch size = {0};
    const struct conn *c = g->ops[i].conn;
    int last_shard = -1;
    for (; i < g->count && size.cmds < limit && batchable(&g->ops[i], c); i++) {
        const struct op *op = &g->ops[i];
        size.cmds++;
        size.runs += op->shard != last_shard;
        last_shard = op->shard;
        size.args += (unsigned)op->argc;
        size.blobs |= op->args != NULL;
        for (int a = 0; a < op->argc; a++) size.bytes += op->argv[a].len;
    }
    return size;
}

/* One block for all arrays; arguments' bytes in one more. */
static struct batch *batch_new(const struct size_of_batch *size)
{
    size_t parts = size->runs < SHARDS_MAX ? size->runs : SHARDS_MAX;
    size_t len = sizeof(struct batch) + size->cmds * sizeof(struct exec) +
                 size->runs * sizeof(struct batch_run) + parts * sizeof(struct batch_part) +
                 size->args * (sizeof(struct slice) + (size->blobs ? sizeof(struct arg) : 0));
    char *at = mem_alloc_aligned(len, CACHE_LINE);
    struct batch *b = (struct batch *)(void *)at;
    memset(at, 0, len);
    at += sizeof *b;
    b->cmds = (struct exec *)(void *)at;
    at += size->cmds * sizeof *b->cmds;
    b->runs = (struct batch_run *)(void *)at;
    at += size->runs * sizeof *b->runs;
    b->parts = (struct batch_part *)(void *)at;
    at += parts * sizeof *b->parts;
    b->argv = (struct slice *)(void *)at;
    at += size->args * sizeof *b->argv;
    b->args = size->blobs ? (struct arg *)(void *)at : NULL;
    return b;
}

static void batch_free(struct batch *b)
{
    for (unsigned i = 0; i < b->run_count; i++) buf_deinit(&b->runs[i].reply);
    for (unsigned i = 0; i < b->cmd_count; i++)
        for (int a = 0; b->cmds[i].args && a < b->cmds[i].argc; a++)
            mem_free(b->cmds[i].args[a].blob);
    buf_deinit(&b->bytes);
    mem_free(b);
}

static void batch_drop(struct batch *b)
{
    if (refs_drop_shared(&b->refs)) batch_free(b);
}

static void copy_command(struct worker *w, struct batch *b, const struct op *op,
                         unsigned *args_used)
{
    struct exec *x = &b->cmds[b->cmd_count];
    group_exec_of(w, op, x);
    meter_begin(w, x);
    if (unlikely(op->conn->track)) tracking_ran_slow(op->conn, op->cmd);
    x->argv = &b->argv[*args_used];
    x->hint = NULL;
    x->args = op->args ? &b->args[*args_used] : NULL;
    for (int a = 0; a < op->argc; a++) {
        struct slice *to = &b->argv[*args_used + (unsigned)a];
        if (op->args && op->args[a].blob) {
            b->args[*args_used + (unsigned)a] = op->args[a];
            *to = op->argv[a];
            op->args[a].blob = NULL;
        } else {
            *to = slice_of(b->bytes.ptr + b->bytes.len, op->argv[a].len);
            buf_append_slice(&b->bytes, op->argv[a]);
        }
        if (op->argv[a].ptr == op->key) x->key = to->ptr;
    }
    *args_used += (unsigned)op->argc;
    b->cmd_count++;
}

static struct batch_part *part_of(struct batch *b, shard_id s)
{
    for (unsigned i = 0; i < b->part_count; i++)
        if (b->parts[i].shard == s) return &b->parts[i];
    struct batch_part *part = &b->parts[b->part_count++];
    part->batch = b;
    part->shard = s;
    list_init(&part->link);
    return part;
}

static void append_command(struct batch *b, const struct op *op)
{
    struct batch_run *run = b->run_count ? &b->runs[b->run_count - 1] : NULL;
    if (!run || run->shard != op->shard) {
        run = &b->runs[b->run_count++];
        run->batch = b;
        run->shard = (shard_id)op->shard;
        run->first = (uint16_t)(b->cmd_count - 1);
        part_of(b, run->shard)->last_run = (uint16_t)(b->run_count - 1);
    }
    run->count++;
    run->slow |= (op->cmd->flags & CMD_SLOW) != 0;
}

/* Nobody can stop a batch whose replies grow large; so it has few commands where those of the last
 * one were large, and where nothing is known yet. */
static unsigned batch_limit(const struct conn *c)
{
    return c->batch_limit ? c->batch_limit : BATCH_FIRST;
}

static void batch_note_replies(struct conn *c, const struct batch *b)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < b->run_count; i++) bytes += b->runs[i].reply.len;
    size_t fits = OUTPUT_PAUSE / (bytes / b->cmd_count + 1);
    c->batch_limit = (uint8_t)(fits < 1 ? 1 : fits > GROUP_OPS ? GROUP_OPS : fits);
}

static void batch_advance(struct worker *w, struct batch *b);
static void part_link(struct worker *w, struct batch_part *part);

unsigned batch_start(struct worker *w, struct group *g, unsigned i)
{
    struct conn *c = g->ops[i].conn;
    bool skip = c->flags & CONN_REPLY_SKIP_NEXT;
    struct size_of_batch size = measure(g, i, skip ? 1 : batch_limit(c));
    struct batch *b = batch_new(&size);
    if (size.bytes && !buf_reserve(&b->bytes, size.bytes)) {
        batch_free(b);
        conn_close(c); /* out of memory for the client's own bytes */
        return i + 1;
    }
    b->conn = c;
    b->home = w;
    unsigned args_used = 0;
    for (unsigned n = 0; n < size.cmds; n++) {
        copy_command(w, b, &g->ops[i + n], &args_used);
        append_command(b, &g->ops[i + n]);
    }
    if (skip) c->flags = (c->flags & ~(uint32_t)CONN_REPLY_SKIP_NEXT) | CONN_REPLY_SKIP;
    c->flags |= CONN_WAITING;
    c->in_flight = b;
    refs_init(&b->refs, b->part_count + 1);
    counter_add(&w->pub->batches, 1);
    counter_add(&w->pub->batch_runs, b->run_count);
    /* Part count is fixed before anything is sent: whoever gets a part may finish the batch. */
    for (unsigned n = 0, parts = b->part_count; n < parts; n++) {
        if (b->parts[n].shard == w->id)
            part_link(w, &b->parts[n]);
        else
            worker_send(w, b->parts[n].shard, MSG_BATCH, &b->parts[n]);
    }
    batch_advance(w, b);
    return i + size.cmds;
}

/* ---- running ---- */

/* Thread: holder of the part's shard, both. */
static void part_link(struct worker *w, struct batch_part *part)
{
    check(worker_holds(w, part->shard));
    part->linked = true;
    list_push_back(&w->hub->active[part->shard].parts, &part->link);
    counter_add(&w->hub->active[part->shard].count, 1);
}

static void part_unlink(struct worker *w, struct batch_part *part)
{
    part->linked = false;
    list_remove(&part->link);
    counter_sub(&w->hub->active[part->shard].count, 1);
}

static void refuse(struct worker *w, const struct exec *x, enum error_id error)
{
    struct reply reply = {.out = x->out, .proto = x->proto};
    reply_error(&reply, error);
    stats_note_refusal(w, x->cmd, x->out);
}

static void run_execute(struct worker *w, struct batch *b, struct batch_run *run)
{
    for (unsigned n = run->first; n < (unsigned)run->first + run->count; n++) {
        b->cmds[n].out = &run->reply;
        if (unlikely(w->budget.limit) && !budget_admits_exec_slow(w, &b->cmds[n], run->shard)) {
            refuse(w, &b->cmds[n], ERR_OOM);
            continue;
        }
        exec_one(w, &b->cmds[n], run->shard);
    }
    counter_add(run->shard == w->id ? &w->pub->ran_local : &w->pub->ran_borrowed, run->count);
}

/* Run j is over: its part may be done with, and the next run is due. Afterwards b may be gone for
 * everyone but those who hold a reference; `last` tells that this was the last run. */
static bool run_finish(struct worker *w, struct batch *b, unsigned j)
{
    struct batch_part *part = part_of(b, b->runs[j].shard);
    bool last = j + 1 == b->run_count;
    bool drop_part = part->last_run == j && part->linked;
    struct worker *home = b->home;
    if (drop_part) part_unlink(w, part);
    push_flush(w); /* what the run tells comes before what the next one tells */
    progress_set(&b->progress, j + 1);
    if (last) {
        if (home == w)
            batch_done(w, b);
        else
            worker_send(w, home->id, MSG_BATCH_DONE, b);
    }
    if (drop_part) batch_drop(b);
    return last;
}

/* The key a run waited for is free: it runs under the lock it was given, then gives it up. As in
 * batch_advance a reference of its own keeps b: the part's may go with this run, and whoever sees
 * the progress may end the batch. */
static void run_granted(void *ctx, struct lock_request *request)
{
    struct worker *w = ctx;
    struct batch_run *run = CONTAINER_OF(request, struct batch_run, lock);
    struct batch *b = run->batch;
    unsigned j = (unsigned)(run - b->runs);
    check(worker_holds(w, run->shard) && progress_get_shared(&b->progress) == j);
    counter_next_shared(&b->refs);
    part_of(b, run->shard)->queued = false;
    run_execute(w, b, run);
    locks_release(w->hub->locks[run->shard], request);
    mem_free(request->nodes);
    if (!run_finish(w, b, j)) batch_advance(w, b);
    batch_drop(b);
}

/* A script keeps the key for too long: the run's commands are answered BUSY. */
static void run_cancelled(void *ctx, struct lock_request *request)
{
    struct worker *w = ctx;
    struct batch_run *run = CONTAINER_OF(request, struct batch_run, lock);
    struct batch *b = run->batch;
    unsigned j = (unsigned)(run - b->runs);
    counter_next_shared(&b->refs);
    part_of(b, run->shard)->queued = false;
    for (unsigned n = run->first; n < (unsigned)run->first + run->count; n++) {
        b->cmds[n].out = &run->reply;
        refuse(w, &b->cmds[n], ERR_BUSY);
    }
    mem_free(request->nodes);
    if (!run_finish(w, b, j)) batch_advance(w, b);
    batch_drop(b);
}

static bool run_free(struct worker *w, struct batch *b, const struct batch_run *run)
{
    if (likely(!locks_active(w->hub->locks[run->shard]))) return true;
    for (unsigned n = run->first; n < (unsigned)run->first + run->count; n++)
        if (!exec_free(w, &b->cmds[n], run->shard)) return false;
    return true;
}

static void run_enqueue(struct worker *w, struct batch *b, struct batch_run *run)
{
    size_t keys = 0;
    for (unsigned n = run->first; n < (unsigned)run->first + run->count; n++)
        keys += exec_key_count(&b->cmds[n]);
    struct lock_node *nodes = mem_alloc(lock_nodes_bytes(keys));
    lock_request_init(&run->lock, nodes);
    for (unsigned n = run->first; n < (unsigned)run->first + run->count; n++)
        exec_lock_keys(w, &b->cmds[n], run->shard, &run->lock);
    run->lock.on_granted = run_granted;
    run->lock.on_cancelled = run_cancelled;
    part_of(b, run->shard)->queued = true;
    check(!locks_acquire(w->hub->locks[run->shard], &run->lock));
}

/* Holds the shard of run j for helping; false: somebody else will run it (woken if asleep). */
static bool hold_for_run(struct worker *w, const struct batch_run *run)
{
    bool may = run->shard == w->id || (w->hub->lending && !run->slow);
    if (may && worker_hold_try(w, run->shard)) return true;
    if (run->shard != w->id) worker_wake(w, run->shard);
    return false;
}

/* Planted fault: every run of this shard at once, whatever the counter says. */
static void advance_unordered(struct worker *w, struct batch *b)
{
    for (unsigned j = 0; j < b->run_count; j++) {
        struct batch_run *run = &b->runs[j];
        if (run->done || !worker_holds(w, run->shard) || !run_free(w, b, run)) continue;
        run->done = true;
        run_execute(w, b, run);
        if (progress_get_shared(&b->progress) + 1 == b->run_count)
            for (unsigned i = 0; i < b->part_count; i++)
                if (b->parts[i].linked) part_unlink(w, &b->parts[i]);
        progress_set(&b->progress, progress_get_shared(&b->progress) + 1);
        if (progress_get_shared(&b->progress) == b->run_count)
            worker_send(w, b->home->id, MSG_BATCH_DONE, b);
    }
}

/* Runs whatever is due of b, on shards that are held or can be had. The caller has a reference (its
 * part's, under the shard, or the home's); one more is taken for the time of this call, since the
 * part's may go with its last run. */
static void batch_advance(struct worker *w, struct batch *b)
{
    uint32_t held_before = w->held;
    if (unlikely(w->hub->faults & FAULT_UNORDERED_RUNS)) {
        advance_unordered(w, b);
        return;
    }
    counter_next_shared(&b->refs);
    for (;;) {
        unsigned j = progress_get_shared(&b->progress);
        if (j == b->run_count) break;
        struct batch_run *run = &b->runs[j];
        if (!worker_holds(w, run->shard)) {
            if (!hold_for_run(w, run)) break;
            continue; /* it may have been run meanwhile: look again, under the shard */
        }
        if (run->slow && run->shard != w->id) {
            worker_wake(w, run->shard);
            break;
        }
        if (part_of(b, run->shard)->queued) break;
        if (!run_free(w, b, run)) {
            run_enqueue(w, b, run);
            break;
        }
        run_execute(w, b, run);
        if (run_finish(w, b, j)) break;
    }
    for (uint32_t extra = w->held & ~held_before; extra; extra &= extra - 1)
        worker_unhold(w, (shard_id)__builtin_ctz(extra));
    batch_drop(b);
}

/* ---- arrival and end ---- */

void batch_arrived(struct worker *w, struct batch_part *part)
{
    struct batch *b = part->batch;
    worker_hold(w, w->id);
    if (progress_get_shared(&b->progress) > part->last_run) {
        batch_drop(b);
        return;
    }
    part_link(w, part);
    batch_advance(w, b);
}

void batch_done(struct worker *w, struct batch *b)
{
    struct conn *c = b->conn;
    (void)w;
    batch_note_replies(c, b);
    for (unsigned i = 0; i < b->run_count; i++) conn_append_reply(c, &b->runs[i].reply);
    batch_drop(b);
    conn_resume(c);
}

static bool part_due(const struct worker *w, const struct batch_part *part)
{
    const struct batch *b = part->batch;
    if (unlikely(w->hub->faults & FAULT_UNORDERED_RUNS)) {
        for (unsigned j = 0; j < b->run_count; j++)
            if (!b->runs[j].done && b->runs[j].shard == part->shard) return true;
        return false;
    }
    unsigned j = progress_get_shared(&b->progress);
    return !part->queued && j < b->run_count && b->runs[j].shard == part->shard;
}

/* Each part once, always from the head of the list: running one may unlink any other. */
bool batch_poll(struct worker *w)
{
    uint64_t count = counter_get(&w->hub->active[w->id].count);
    if (!count) return false;
    struct list *active = &w->hub->active[w->id].parts;
    bool ran = false;
    worker_hold(w, w->id);
    for (; count && !list_empty(active); count--) {
        struct list *link = list_pop_front(active);
        list_push_back(active, link);
        struct batch_part *part = CONTAINER_OF(link, struct batch_part, link);
        if (!part_due(w, part)) continue;
        batch_advance(w, part->batch);
        ran = true;
    }
    return ran;
}

bool batch_due(struct worker *w)
{
    if (!counter_get(&w->hub->active[w->id].count)) return false;
    worker_hold(w, w->id);
    bool due = false;
    const struct list *active = &w->hub->active[w->id].parts;
    for (struct list *l = active->next; l != active; l = l->next)
        due |= part_due(w, CONTAINER_OF(l, struct batch_part, link));
    return due;
}
