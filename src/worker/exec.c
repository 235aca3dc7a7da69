/* Running handlers. Everything a handler may see is put into a struct call here; nothing else of
 * the worker leaks into it. Calls are counted and timed one by one (meter.h).
 *
 * Thread: holder of the shards named. */
#include "exec.h"

#include "block.h"
#include "conn.h"
#include "events.h"
#include "journal.h"
#include "meter.h"
#include "monitor.h"
#include "save.h"
#include "splitring/base/check.h"
#include "splitring/base/mem.h"
#include "splitring/cmd/handlers.h"
#include "stats.h"
#include "tracking.h"

/* The three that follow are the way of every command: in exec_one() they become one body. */
#define ONE_BODY static inline __attribute__((always_inline))

ONE_BODY void call_prepare(struct worker *w, struct call *call, const struct exec *x)
{
    call->cmd = x->cmd;
    call->argv = x->argv;
    call->argc = x->argc;
    call->args = x->args;
    call->ks.shard = NULL;
    call->ks.shards = w->hub->shards;
    call->ks.shard_count = w->hub->count;
    call->ks.db = x->db;
    call->ks.flags = x->ks_flags;
    call->ks.now = x->now;
    call->ks.hash_key = x->key;
    call->ks.hash = x->hash;
    call->ks.hint = x->hint ? *x->hint : (struct key_hint){0};
    call->reply = (struct reply){.out = x->out, .proto = x->proto};
    call->rng = &w->rng;
    call->env = &w->env;
    call->effects = journal_on(w->hub) ? &w->effects : NULL;
    call->conn = NULL;
    call->worker = w;
    call->dirty = 0;
    call->away = x->away;
    call->may_block = x->block != NULL;
    call->block = x->block;
    call->script = x->script;
    call->in_script = x->in_script;
    call->keys_limited = x->keys_limited;
    call->watch = x->watch;
}

ONE_BODY void call_run_here(struct worker *w, struct call *call, const struct exec *x,
                            bool counted)
{
    const struct command *cmd = call->cmd;
    struct worker_published *pub = w->pub;
    if (likely(counted)) {
        counter_add(&pub->calls[cmd->id], 1);
        counter_add(&pub->commands, 1);
    }
    if (unlikely(w->hub->preempt)) w->hub->preempt(w->hub->preempt_ctx);
    size_t out_before = x->out->len;
    const struct exec *outer = tracking_begin(w, x);
    size_t stated = 0;
    if (unlikely(call->effects)) {
        stated = journal_count(w);
        call->effects->db = x->db;
        journal_open(w);
    }
    uint64_t start = meter_start(w, x);
    cmd->handler(call);
    meter_end(w, x, start, out_before, counted);
    if (unlikely(w->monitor_mask) && counted) monitor_show(w, x);
    if (unlikely(call->reply.errors) && counted) {
        counter_add(&pub->calls_failed[cmd->id], 1);
        counter_add(&pub->error_replies, call->reply.errors);
        stats_note_error(w, call->reply.out);
    }
    if (call->dirty) counter_add(&pub->dirty, call->dirty);
    if (unlikely(call->effects)) journal_close(w, stated);
    tracking_end(w, x, outer);
}

static __attribute__((noinline)) void call_run(struct worker *w, struct call *call,
                                               const struct exec *x, bool counted)
{
    call_run_here(w, call, x, counted);
}

/* The databases whose counts it may have changed. */
ONE_BODY uint32_t dbs_of(const struct exec *x)
{
    bool other = x->cmd->route == ROUTE_ALL || x->cmd->handler == cmd_copy ||
                 x->cmd->handler == cmd_move;
    return unlikely(other) ? DBS_ALL : 1u << (x->db < 31 ? x->db : 31);
}

uint32_t exec_one(struct worker *w, const struct exec *x, shard_id shard)
{
    struct call call;
    dcheck(worker_holds(w, shard));
    call_prepare(w, &call, x);
    call.ks.shard = w->hub->shards[shard];
    /* Under somebody's shared lock an expired key reads as absent and stays (DESIGN 6a). */
    if (unlikely(locks_active(w->hub->locks[shard])) && !(x->cmd->flags & CMD_WRITE))
        call.ks.flags |= KS_LOGICAL;
    call_run_here(w, &call, x, !x->is_part);
    tracking_remember(w, x);
    worker_touched(w, shard, dbs_of(x));
    if (unlikely(x->cmd->handler == cmd_flushall)) bgsave_after_flush(w);
    /* PUBLISH passes all locks, it must not serve what a paused script has made ready. */
    if (likely(x->cmd->route != ROUTE_CHANNEL)) block_serve(w, shard);
    return call.reply.errors;
}

uint32_t exec_many(struct worker *w, const struct exec *x)
{
    struct call call;
    call_prepare(w, &call, x);
    for (shard_id s = 0; s < w->hub->count; s++) {
        if (!worker_holds(w, s)) continue;
        if (locks_active(w->hub->locks[s]) && !(x->cmd->flags & CMD_WRITE))
            call.ks.flags |= KS_LOGICAL;
        /* one time for all: no key is alive by one shard's clock and dead by another's */
        if (shard_clock(w->hub->shards[s]) > call.ks.now)
            call.ks.now = shard_clock(w->hub->shards[s]);
    }
    call_run(w, &call, x, !x->is_part);
    tracking_remember(w, x);
    if (unlikely(x->cmd->handler == cmd_flushall)) bgsave_after_flush(w);
    w->touched_shards |= w->held;
    w->touched_dbs |= dbs_of(x);
    for (uint32_t held = w->held; held; held &= held - 1)
        block_serve(w, (shard_id)__builtin_ctz(held));
    return call.reply.errors;
}

void exec_waiter(struct worker *w, const struct exec *x, int shard)
{
    struct call call;
    call_prepare(w, &call, x);
    if (shard >= 0) call.ks.shard = w->hub->shards[shard];
    call_run(w, &call, x, false);
    stats_note_reply(w, x->cmd, &call.reply); /* counted was only that it had been called */
    tracking_remember(w, x);
    w->touched_shards |= w->held;
    w->touched_dbs |= dbs_of(x);
}

uint32_t exec_scratch(struct worker *w, const struct exec *x)
{
    struct call call;
    call_prepare(w, &call, x);
    call.ks.shard = w->scratch;
    call.ks.flags |= KS_NO_STATS;
    events_scratch_begin(w);
    call_run(w, &call, x, !x->is_part);
    events_scratch_end(w);
    return call.reply.errors;
}

void exec_local(struct worker *w, struct conn *c, const struct exec *x)
{
    struct call call;
    call_prepare(w, &call, x);
    call.conn = c;
    w->meter.local = true;
    call_run(w, &call, x, !x->is_part);
    w->meter.local = false;
    w->meter.fanout = NULL;
}

/* ---- keys ---- */

static enum lock_mode mode_of(uint32_t key_flags)
{
    return key_flags & KEY_WRITES ? LOCK_EXCLUSIVE : LOCK_SHARED;
}

/* The db is left out on purpose: MOVE and COPY reach one name in two databases, and a false match
 * only makes a request wait. */
static uint64_t id_of(struct worker *w, const struct exec *x, struct slice key)
{
    uint64_t hash = key.ptr == x->key ? x->hash : hash_key(key, w->hub->seed);
    return lock_key_id(0, hash);
}

size_t exec_key_count(const struct exec *x)
{
    return (size_t)x->argc;
}

bool exec_free_slow(struct worker *w, const struct exec *x, shard_id shard)
{
    const struct locks *locks = w->hub->locks[shard];
    if (x->cmd->route == ROUTE_CHANNEL) return true;
    if (x->cmd->route == ROUTE_SHARD) return locks_key_free(locks, 0, LOCK_SHARED);
    if (command_route(x->cmd, x->argv, x->argc) == ROUTE_ALL) {
        struct lock_node node;
        struct lock_request whole;
        lock_request_init(&whole, &node);
        lock_request_whole(&whole, x->cmd->flags & CMD_WRITE ? LOCK_EXCLUSIVE : LOCK_SHARED);
        return locks_free_for(locks, &whole);
    }
    if (!x->cmd->keys && x->cmd->key_first == x->cmd->key_last)
        return locks_key_free(locks, id_of(w, x, x->argv[x->cmd->key_first]),
                              mode_of(x->cmd->key_flags));
    struct key_ref *refs = mem_alloc((size_t)x->argc * sizeof *refs);
    int count = command_keys(x->cmd, x->argv, x->argc, refs);
    bool all_free = true;
    for (int i = 0; i < count && all_free; i++) {
        struct slice key = x->argv[refs[i].pos];
        if (hub_shard_of(w->hub, key) == shard)
            all_free = locks_key_free(locks, id_of(w, x, key), mode_of(refs[i].flags));
    }
    mem_free(refs);
    return all_free;
}

void exec_lock_keys(struct worker *w, const struct exec *x, shard_id shard,
                    struct lock_request *req)
{
    if (command_route(x->cmd, x->argv, x->argc) == ROUTE_ALL) {
        lock_request_whole(req, x->cmd->flags & CMD_WRITE ? LOCK_EXCLUSIVE : LOCK_SHARED);
        return;
    }
    struct key_ref *refs = mem_alloc((size_t)x->argc * sizeof *refs);
    int count = command_keys(x->cmd, x->argv, x->argc, refs);
    for (int i = 0; i < count; i++) {
        struct slice key = x->argv[refs[i].pos];
        if (hub_shard_of(w->hub, key) == shard)
            lock_request_add(req, id_of(w, x, key), mode_of(refs[i].flags));
    }
    mem_free(refs);
}
