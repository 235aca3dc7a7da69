/* What a script asks of the server: redis.call, whether it may go on, the log, the ACL.
 *
 * A call runs at once on the shards at hand; where another shard is needed and cannot be borrowed,
 * the script is stopped, undone by script.c and begun again with all shards.
 *
 * Every shard a call writes is held by this worker, and every value it is about to write has been
 * copied or all shards are at hand.
 *
 * Thread: owner. */
#include "script_job.h"

#include "acl.h"
#include "conn.h"
#include "exec.h"
#include "group.h"
#include "local.h"
#include "monitor.h"
#include "script.h"
#include "splitring/base/mem.h"
#include "splitring/cmd/route.h"
#include "splitring/io/log.h"
#include "splitring/io/os.h"
#include "stats.h"
#include "tracking.h"

#define STUCK_US 5000000
#define STUCK_PULSES 100u /* so that a worker that was descheduled is not taken for stuck */

enum reach { REACH_HERE, REACH_ONE, REACH_MANY, REACH_OUTSIDE };

/* A shard that nobody has locks in, and that somebody holds for some microseconds at most, can
 * simply be had as well. Waiting for it is bounded: of two scripts that want each other's shard,
 * one gives up, is undone, and waits its turn. */
static bool reach_out(struct script_job *job, uint32_t mask)
{
    struct worker *w = job->worker;
    if (!job->may_borrow || !w->hub->lending || !worker_lend_dice(w)) return false;
    for (uint32_t more = mask & ~job->mask; more; more &= more - 1) {
        shard_id s = (shard_id)__builtin_ctz(more);
        unsigned spins = 0;
        while (!worker_hold_try(w, s) && spins < w->hold_spins)
            spins = worker_wait_free(w, s, spins);
        if (!worker_holds(w, s) || locks_active(w->hub->locks[s])) return false;
        job->mask |= 1u << s;
    }
    return true;
}

/* Which shards the command needs; *shard: the one, for REACH_ONE. */
static enum reach reach_of(struct script_job *job, const struct exec *x, shard_id *shard)
{
    const struct hub *hub = job->worker->hub;
    uint32_t mask = 0;
    switch (command_route(x->cmd, x->argv, x->argc)) {
    case ROUTE_HERE: return REACH_HERE;
    case ROUTE_ALL: mask = hub_all_shards(hub); break;
    case ROUTE_CHANNEL: mask = 1u << hub_shard_of(hub, x->argv[1]); break;
    case ROUTE_SHARD: {
        int s = cmd_scan_shard(x->argv, x->argc, hub->count);
        mask = 1u << (s < 0 ? __builtin_ctz(job->mask) : s);
        break;
    }
    case ROUTE_KEYS: {
        struct key_ref local[64];
        struct key_ref *refs = x->argc <= 64 ? local : mem_alloc((size_t)x->argc * sizeof *refs);
        int count = command_keys(x->cmd, x->argv, x->argc, refs);
        for (int i = 0; i < count; i++) mask |= 1u << hub_shard_of(hub, x->argv[refs[i].pos]);
        if (refs != local) mem_free(refs);
        if (count <= 0) mask = job->mask & -job->mask; /* malformed: the handler says why */
        break;
    }
    }
    if (unlikely(mask & ~job->mask) && !reach_out(job, mask)) return REACH_OUTSIDE;
    *shard = (shard_id)__builtin_ctz(mask);
    return mask & (mask - 1) ? REACH_MANY : REACH_ONE;
}

/* Refusals of Redis' scriptCall, before anything is looked at. False: the reply is written. */
static bool may_call(const struct script_job *job, const struct command *cmd,
                     const struct slice *argv, int argc, struct reply *reply)
{
    bool limited = job->conn && unlikely(!(job->conn->flags & CONN_FREE));
    if (!cmd)
        reply_error(reply, ERR_SCRIPT_UNKNOWN_COMMAND);
    else if (!command_arity_ok(cmd, argc))
        reply_error(reply, ERR_SCRIPT_WRONG_ARITY);
    else if (cmd->flags & CMD_NOSCRIPT)
        reply_error(reply, ERR_SCRIPT_NOT_ALLOWED);
    else if (limited && acl_refuses_script(job->conn, cmd, argv, argc, reply))
        return false;
    else if (job->oom && !job->called_write && cmd->flags & CMD_DENYOOM)
        reply_error(reply, ERR_OOM);
    else if (job->read_only && group_may_replicate(cmd))
        reply_error(reply, ERR_SCRIPT_READ_ONLY);
    else if (unlikely(counter_get(&job->worker->hub->log_failed)) && cmd->flags & CMD_WRITE)
        reply_errorf(reply, ERR_MISCONF_WRITE,
                     os_error_text(-(int)counter_get(&job->worker->hub->log_failed)));
    else if (unlikely(job->worker->misconf) && cmd->flags & CMD_WRITE)
        reply_error(reply, ERR_MISCONF_SNAPSHOT);
    else
        return true;
    return false;
}

static void call_here(struct script_job *job, struct exec *x, struct reply *reply)
{
    struct conn *c = job->conn;
    db_id clients = c->db;
    if (!local_in_scripts(x->cmd)) {
        reply_error(reply, ERR_SCRIPT_NOT_ALLOWED);
        return;
    }
    x->client = c;
    c->db = job->db; /* SELECT: the script's own database, not its client's */
    exec_local(job->worker, c, x);
    job->db = c->db;
    c->db = clients;
}

/* redis.call: the command runs on the shards at hand. False: it needs others. */
static bool host_call(void *ctx, struct slice *argv, int argc, uint8_t proto, struct buf *out)
{
    struct script_job *job = ctx;
    struct worker *w = job->worker;
    struct reply reply = {.out = out, .proto = proto};
    bool sub_missing;
    const struct command *cmd = command_find_named(w->hub->names, argv, argc, &sub_missing);
    if (!may_call(job, cmd, argv, argc, &reply)) {
        stats_note_refusal(w, cmd, out);
        return true;
    }
    struct exec x = {.cmd = cmd, .argv = argv, .argc = argc, .db = job->db, .proto = proto,
                     .ks_flags = job->ks_flags, .now = job->now, .out = out, .in_script = true};
    if (job->conn) x.client_id = job->conn->id;
    if (job->conn && unlikely(!(job->conn->flags & CONN_FREE)))
        x.keys_limited = acl_keys_limited(job->conn, cmd, argv, argc);
    if (job->conn && unlikely(job->conn->track)) tracking_exec_slow(job->conn, &x);
    x.own = false; /* the script's reply is not there yet: they are pushed */
    if (unlikely(w->monitor_mask)) monitor_show_lua(w, job->db, cmd, argv, argc);
    shard_id shard = 0;
    enum reach reach = reach_of(job, &x, &shard);
    if (reach == REACH_HERE) {
        call_here(job, &x, &reply);
        return true;
    }
    bool writes = cmd->flags & CMD_WRITE;
    job->called_write |= writes;
    if (reach == REACH_OUTSIDE ||
        (writes && job->mask != hub_all_shards(w->hub) && !script_undo_note(&job->undo, w, &x))) {
        /* Now: it may be forgotten once it has stopped. */
        job->script->host_state |= SCRIPT_STATE_WIDE;
        return false;
    }
    uint64_t dirty = counter_get(&w->pub->dirty);
    if (reach == REACH_ONE)
        exec_one(w, &x, shard);
    else
        exec_many(w, &x);
    job->wrote |= writes && counter_get(&w->pub->dirty) != dirty;
    return true;
}

/* Where Lua stands in a function of C that calls back (table.sort, string.gsub, load) it cannot
 * pause, and its worker serves nobody, not even SCRIPT KILL: so it does not go on for ever. What it
 * has written stays, as with any error of a script. */
static enum script_pulse host_pulse(void *ctx)
{
    struct script_job *job = ctx;
    struct worker *w = job->worker;
    if (job->killed) return SCRIPT_KILL;
    if (!job->may_wait) return SCRIPT_GO_ON;
    if (unlikely(w->hub->preempt)) return rng_below(&w->rng, 4) ? SCRIPT_GO_ON : SCRIPT_PAUSE;
    int64_t now_us = os_mono_us();
    if (now_us < job->slice_end_us) return SCRIPT_GO_ON;
    if (now_us - job->slice_end_us < STUCK_US || job->unheard++ < STUCK_PULSES) return SCRIPT_PAUSE;
    log_line(LOG_LEVEL_WARNING, "A script was ended that ran for seconds inside a function of C");
    return SCRIPT_KILL;
}

void script_log(enum script_log_level level, struct slice text)
{
    static const enum log_level levels[] = {
        [SCRIPT_LOG_DEBUG] = LOG_LEVEL_DEBUG, [SCRIPT_LOG_VERBOSE] = LOG_LEVEL_VERBOSE,
        [SCRIPT_LOG_NOTICE] = LOG_LEVEL_NOTICE, [SCRIPT_LOG_WARNING] = LOG_LEVEL_WARNING};
    log_line(levels[level], "%.*s", (int)(text.len < 1024 ? text.len : 1024), text.ptr);
}

static void host_log(void *ctx, enum script_log_level level, struct slice text)
{
    (void)ctx;
    script_log(level, text);
}

static int host_acl_check(void *ctx, struct slice *argv, int argc)
{
    const struct script_job *job = ctx;
    bool sub_missing;
    int at;
    const struct command *cmd =
        command_find_named(job->worker->hub->names, argv, argc, &sub_missing);
    if (!cmd) return -1;
    if (!job->conn || job->conn->flags & CONN_FREE) return 1;
    return acl_judge(job->conn->user, cmd, argv, argc, &at) == ACL_ALLOWED;
}

const struct script_host script_job_host = {
    .call = host_call, .pulse = host_pulse, .log = host_log, .acl_check = host_acl_check};
