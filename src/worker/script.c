/* Scripts on shards.
 *
 *   direct: the shards of the declared keys are held, nothing is locked there ──▶ it runs
 *     │ wants a key of another shard: that is borrowed as well, if it can be had at once; else what
 *     │ it wrote is undone, it gets all shards, and is remembered as one that wants them
 *     │ runs for longer than a slice: it pauses, as a transaction that has locked its shards
 *     ▼
 *   transaction (txn.c): every key of its shards is locked, it runs in slices, whenever all of them
 *   can be borrowed at once (txn_held.c)
 *
 * So undeclared keys need no flag, one-shard scripts need no lock, and a script that never ends
 * keeps only its own shards busy: between slices this worker serves everybody else, and those who
 * want locked shards are told BUSY after a while.
 *
 * Undoing (script_undo.c) is possible because nobody can have seen anything: shards are held from
 * the first write to the last, or locked. It needs an image of every key before it is first
 * written; a script that is about to write a large value gets all shards instead. With all shards
 * at hand nothing has to be undone, and nothing is copied. Why not a hop to the other shard
 * for each redis.call, under locks taken one by one (DESIGN section 4)? Waiting for locks in the
 * middle needs the same undoing, and every call would wait for another core; a borrowed shard costs
 * nothing per call.
 *
 * Waiters are served when the script has ended, as after EXEC. What it publishes goes out with the
 * rest of the unit; of a script that is undone, never. PUBLISH counts at once: who unsubscribes
 * while the script pauses is counted, and hears nothing.
 *
 * Thread: owner. */
#include "script.h"

#include "block.h"
#include "conn.h"
#include "exec.h"
#include "functions.h"
#include "journal.h"
#include "meter.h"
#include "monitor.h"
#include "multi.h"
#include "script_job.h"
#include "splitring/base/check.h"
#include "splitring/base/mem.h"
#include "splitring/io/os.h"
#include "stats.h"
#include "txn.h"

#define SLICE_US 2000     /* of its first run, and of each pass afterwards */

/* ---- routing ---- */

static const struct script *script_named(struct worker *w, const struct op *op)
{
    if (op->cmd->handler == cmd_evalsha || op->cmd->handler == cmd_evalsha_ro)
        return script_of_sha(w, op->argv[1]);
    if (op->cmd->handler == cmd_eval || op->cmd->handler == cmd_eval_ro)
        return script_of_op(w, op);
    return functions_of_name(w, op->argv[1]);
}

bool script_may_not_without_memory(struct worker *w, const struct op *op)
{
    const struct script *script = script_named(w, op);
    return script && !(script->flags & (SCRIPT_COMPAT | SCRIPT_ALLOW_OOM | SCRIPT_NO_WRITES));
}

bool script_may_write(struct worker *w, const struct op *op)
{
    if (op->cmd->flags & CMD_READONLY) return false;
    const struct script *script = script_named(w, op);
    return !script || !(script->flags & SCRIPT_NO_WRITES);
}

void script_judge_slow(struct worker *w, struct op *op)
{
    if (w->hub->count == 1 || !w->vm) return;
    const struct script *script = script_of_op(w, op);
    if (!script || !(script->host_state & SCRIPT_STATE_WIDE)) return;
    op->mask = hub_all_shards(w->hub);
    op->shard = OP_ALL;
}

static bool unlocked(const struct worker *w, uint32_t mask)
{
    for (; mask; mask &= mask - 1)
        if (locks_active(w->hub->locks[__builtin_ctz(mask)])) return false;
    return true;
}

/* It has been called once, however often it had to begin. */
static void uncount(struct worker *w, const struct exec *x)
{
    counter_sub(&w->pub->calls[x->cmd->id], 1);
    counter_sub(&w->pub->commands, 1);
}

/* The script has paused in the middle of a group: from here on it is a transaction that holds its
 * locks. Nobody else can have any, so they are granted at once. */
static void park(struct worker *w, struct txn *t, struct script_job *job)
{
    job->txn = t;
    list_push_back(&w->script_jobs, &job->link);
    counter_set(&w->pub->script_paused, counter_get(&w->pub->script_paused) | job->mask);
}

void script_pause_exec(struct worker *w, struct txn *t) { park(w, t, t->conn->multi->script); }

void script_park_exec(struct worker *w, const struct op *op, size_t out_before)
{
    struct conn *c = op->conn;
    struct txn *t = txn_new_granted(w, op);
    buf_append(&t->reply, c->out.ptr + out_before, c->out.len - out_before);
    c->out.len = out_before;
    script_pause_exec(w, t);
}

bool script_run_op(struct worker *w, struct op *op, struct exec *x)
{
    if (!unlocked(w, op->mask) && !(w->hub->faults & FAULT_SCRIPT_UNLOCKED)) return false;
    struct script_call sc = {.mask = op->mask, .conn = op->conn, .may_wait = true,
                             .may_borrow = true, .oom = op->oom};
    x->script = &sc;
    exec_many(w, x);
    if (unlikely(sc.wide)) {
        uncount(w, x);
        op->mask = hub_all_shards(w->hub);
        op->shard = OP_ALL;
        return false;
    }
    if (unlikely(sc.paused)) {
        op->mask = sc.paused->mask;
        sc.paused->may_borrow = false;
        park(w, txn_new_granted(w, op), sc.paused);
    }
    return true;
}

/* ---- a run ---- */

static void job_free(struct script_job *job)
{
    script_undo_deinit(&job->undo);
    buf_deinit(&job->untold);
    effects_deinit(&job->unstated);
    buf_deinit(&job->described);
    list_remove(&job->link);
    mem_free(job);
}

/* Everything it did is taken back, as long as it is the only one who knows. */
static void take_back(struct script_job *job)
{
    struct worker *w = job->worker;
    push_rewind(w, job->pushed);
    journal_rewind(w, job->stated);
    w->effects_mute = true; /* what is put back was as it is in the log */
    if (!(w->hub->faults & FAULT_SCRIPT_NO_UNDO)) script_undo(&job->undo, w, job->now);
    w->effects_mute = false;
}

static void serve(struct worker *w)
{
    w->serve_later = false;
    for (uint32_t held = w->held; held; held &= held - 1)
        block_serve(w, (shard_id)__builtin_ctz(held));
}

/* Whoever waits for what a script that pauses has made ready may not be served by the next unit
 * that happens to hold its shards. */
static void ready_aside(struct script_job *job, bool aside)
{
    struct worker *w = job->worker;
    for (uint32_t m = job->mask; m; m &= m - 1)
        block_aside(w, (shard_id)__builtin_ctz(m), aside);
    if (aside)
        job->ready_turns = w->ready_turns;
    else
        w->ready_turns = job->ready_turns;
}

/* From the beginning, or on; what has come of it is in *call. True: it is over. */
static bool run_slice(struct script_job *job, struct call *c, struct script_call *sc,
                      const struct slice *keys, int key_count, const struct slice *args,
                      int arg_count, struct reply *reply)
{
    struct worker *w = job->worker;
    bool nested = w->serve_later; /* inside EXEC */
    int64_t begun_us = os_mono_us();
    w->serve_later = true;
    if (c && !nested) w->ready_turns = 0;
    if (!c) ready_aside(job, false);
    job->slice_end_us = begun_us + SLICE_US;
    job->unheard = 0;
    job->pushed = sc->since ? *sc->since : push_mark(w);
    push_put(w, &job->untold, job->untold_mask);
    job->untold.len = 0;
    job->stated = sc->stated ? *sc->stated : journal_count(w);
    journal_open(w);
    journal_put(w, &job->unstated);
    enum script_outcome outcome =
        c ? script_start(w->vm, job->script, keys, key_count, args, arg_count,
                         &script_job_host, job, reply, &job->run)
          : script_resume(job->run, reply);
    if (outcome == SCRIPT_STOPPED) {
        check(job->may_wait); /* who may not wait has all shards */
        take_back(job);
        sc->wide = true;
    }
    if (outcome == SCRIPT_PAUSED) { /* nobody is served from its shards, nor told of anything */
        push_take(w, job->pushed, &job->untold, &job->untold_mask);
        journal_take(w, job->stated, &job->unstated);
        journal_close(w, job->stated);
        ready_aside(job, true);
        job->ran_us += os_mono_us() - begun_us;
        w->serve_later = nested;
        return false;
    }
    if (job->killed && job->wrote) journal_rewind(w, job->stated); /* the server stops */
    journal_close(w, job->stated);
    if (!nested) serve(w);
    counter_set(&w->pub->vm_bytes, script_vm_bytes(w->vm));
    return true;
}

void script_begin(struct call *c)
{
    struct script_call *sc = c->script;
    if (likely(!c->worker->monitor_mask)) return;
    if (!sc->since) { /* what is undone is shown anew */
        sc->begun = push_mark(c->worker);
        sc->since = &sc->begun;
    }
    monitor_show_call(c->worker, sc->conn, c);
}

bool script_count_keys(struct call *c, int first, int *key_count)
{
    int64_t count;
    if (!call_int(c, first, &count)) return false;
    *key_count = (int)count;
    if (count > c->argc - first - 1)
        reply_error(&c->reply, ERR_NUMKEYS_TOO_MANY);
    else if (count < 0)
        reply_error(&c->reply, ERR_NUMKEYS_NEGATIVE);
    else
        return true;
    return false;
}

static void on_pause(struct script_job *job, const struct call *c, struct script_call *sc)
{
    struct reply described = {.out = &job->described, .proto = 2};
    sc->paused = job;
    if (!job->is_function) return;
    reply_bulk_slice(&described, c->argv[1]);
    reply_bulk_str(&described, "command");
    reply_array(&described, (size_t)c->argc);
    for (int i = 0; i < c->argc; i++) reply_bulk_slice(&described, c->argv[i]);
}

void script_invoke(struct call *c, struct script *script, int first, int key_count, bool read_only,
                   bool is_function)
{
    struct worker *w = c->worker;
    struct script_call *sc = c->script;
    if (read_only && !(script->flags & (SCRIPT_NO_WRITES | SCRIPT_COMPAT))) {
        reply_error(&c->reply, ERR_SCRIPT_RO_FLAG);
        return;
    }
    struct script_job *job = mem_zalloc(sizeof *job);
    list_init(&job->link);
    job->worker = w;
    job->conn = sc->conn;
    job->script = script;
    job->mask = sc->mask;
    job->may_wait = sc->may_wait;
    job->oom = sc->oom && !(script->flags & SCRIPT_ALLOW_OOM);
    job->may_borrow = sc->may_borrow;
    job->db = c->ks.db;
    job->ks_flags = c->ks.flags & KS_NO_TOUCH;
    job->read_only = read_only || script->flags & SCRIPT_NO_WRITES;
    job->is_function = is_function;
    job->now = c->ks.now;
    job->start_us = os_mono_us();
    const struct slice *keys = c->argv + first + 1;
    if (run_slice(job, c, sc, keys, key_count, keys + key_count,
                  c->argc - first - 1 - key_count, &c->reply))
        job_free(job);
    else
        on_pause(job, c, sc);
}

/* ---- transactions ---- */

/* All its shards are locked, and held just now. */
bool script_run_held(struct worker *w, struct txn *t)
{
    struct script_call sc = {.mask = w->held, .conn = t->conn, .may_wait = true, .oom = t->x.oom};
    t->x.script = &sc;
    exec_many(w, &t->x);
    t->x.script = NULL;
    if (sc.wide) {
        uncount(w, &t->x);
        txn_widen(t, hub_all_shards(w->hub));
        return false;
    }
    if (!sc.paused) return true;
    park(w, t, sc.paused);
    return false;
}

static bool is_busy(const struct worker *w, const struct script_job *job)
{
    return os_mono_us() - job->start_us > w->config->busy_reply_threshold_ms * 1000;
}

static void publish_jobs(struct worker *w)
{
    uint32_t paused = 0, busy = 0;
    LIST_FOREACH_SAFE(link, next, &w->script_jobs) {
        const struct script_job *job = CONTAINER_OF(link, struct script_job, link);
        paused |= job->mask;
        if (is_busy(w, job)) busy |= job->mask;
    }
    counter_set(&w->pub->script_paused, paused);
    counter_set(&w->pub->script_busy, busy);
}

static void step_job(struct worker *w, struct script_job *job)
{
    struct script_call sc = {0};
    struct txn *t = job->txn;
    if (!worker_hold_all(w, job->mask, false)) return;
    struct buf *out = t->is_exec ? multi_script_out(t->conn, &t->reply) : &t->reply;
    struct reply reply = {.out = out, .proto = t->x.proto};
    /* What has written goes on: half of it must be neither seen nor logged. */
    bool grace = w->mono_us - w->stop_since_us < STOP_GRACE_US;
    if (w->stopping && !(job->wrote && grace)) job->killed = true;
    if (is_busy(w, job))
        for (uint32_t m = job->mask; m; m &= m - 1)
            locks_cancel_waiting(w->hub->locks[__builtin_ctz(m)], w);
    w->serve_later = t->is_exec;
    if (t->is_exec) { /* what the script states and the rest of EXEC are one */
        t->conn->multi->pushed = push_mark(w);
        t->conn->multi->stated = journal_count(w);
        journal_open(w);
    }
    bool over = run_slice(job, NULL, &sc, NULL, 0, NULL, 0, &reply);
    w->serve_later = false;
    if (t->is_exec && (!over || sc.wide)) journal_close(w, t->conn->multi->stated);
    w->touched_shards |= w->held;
    w->touched_dbs = DBS_ALL;
    if (!over) return;
    if (reply.errors) stats_note_error(w, out);
    if (!t->is_exec && !sc.wide)
        meter_script_ended(w, &t->x, (uint64_t)job->ran_us * 1000, out->len);
    job_free(job);
    if (sc.wide)
        txn_widen(t, hub_all_shards(w->hub));
    else if (t->is_exec)
        txn_exec_ran(w, t, multi_go_on(w, t->conn, &t->reply));
    else
        txn_held_done(w, t);
}

bool script_step(struct worker *w)
{
    LIST_FOREACH_SAFE(link, next, &w->script_jobs) {
        step_job(w, CONTAINER_OF(link, struct script_job, link));
        worker_unhold_all(w);
    }
    publish_jobs(w);
    return !list_empty(&w->script_jobs);
}

/* ---- scripts that do not end ---- */

enum script_way script_in_the_way(const struct hub *hub, uint32_t mask)
{
    enum script_way way = SCRIPT_WAY_FREE;
    for (worker_id id = 0; id < hub->count; id++) {
        const struct worker_published *pub = &hub->published[id];
        if (likely(!(counter_get(&pub->script_paused) & mask))) continue;
        if (counter_get(&pub->script_busy) & mask) return SCRIPT_WAY_BUSY;
        way = SCRIPT_WAY_PAUSED;
    }
    return way;
}

/* Not in the lock's queue: there it could not be told BUSY later. */
void script_wait(struct conn *c)
{
    conn_park(c, &c->worker->script_waits);
}

bool script_waits_over_slow(struct worker *w)
{
    struct list *link;
    if (w->mono_us - w->script_looked_us < SCRIPT_WAIT_US) return true;
    w->script_looked_us = w->mono_us;
    while ((link = list_pop_front(&w->script_waits)) != NULL) {
        struct conn *c = CONTAINER_OF(link, struct conn, ready_link);
        conn_unpark(c);
        conn_ready(c);
    }
    return false;
}

uint32_t script_kill(struct worker *w, bool functions)
{
    uint32_t what = SCRIPT_NONE;
    LIST_FOREACH_SAFE(link, next, &w->script_jobs) {
        struct script_job *job = CONTAINER_OF(link, struct script_job, link);
        if (job->wrote) {
            what |= SCRIPT_UNKILLABLE;
        } else if (job->is_function != functions) {
            what |= SCRIPT_OF_OTHER_KIND;
        } else {
            job->killed = true;
            what |= SCRIPT_KILLED;
        }
    }
    return what;
}

bool script_describe(struct worker *w, struct reply *reply)
{
    const struct script_job *longest = NULL;
    bool busy = false;
    LIST_FOREACH_SAFE(link, next, &w->script_jobs) {
        const struct script_job *job = CONTAINER_OF(link, struct script_job, link);
        if (!job->is_function)
            busy |= os_mono_us() - job->start_us > w->config->busy_reply_threshold_ms * 1000;
        else if (!longest || job->start_us < longest->start_us)
            longest = job;
    }
    if (!longest || longest->described.failed) return busy;
    reply_map(reply, 3);
    reply_bulk_str(reply, "name");
    reply_raw(reply, longest->described.ptr, longest->described.len);
    reply_bulk_str(reply, "duration_ms");
    reply_int(reply, (os_mono_us() - longest->start_us) / 1000);
    return busy;
}
