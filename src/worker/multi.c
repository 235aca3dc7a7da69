/* Transactions of a client.
 *
 * After MULTI a connection's commands are judged and queued with copies of their arguments. EXEC
 * needs the shards of all their keys and of all watched keys at once: held (own or borrowed), with
 * none of the keys locked, it runs at once; otherwise it is a transaction like any other (txn.c)
 * that locks the union of its keys, and runs when it has borrowed all the shards. Either way the
 * commands run here, one after the other, on shards that nobody else can touch meanwhile.
 *
 * Commands without keys that speak to other workers (PUBLISH, CONFIG SET, CLIENT LIST …) cannot
 * wait for answers while shards are held. They are made after the others, in their order; their
 * replies come in their places. What they do is not part of the data, so nobody can tell.
 *
 * Whoever waits for a key is served after the last command (DESIGN section 4, Serving).
 * Thread: owner. */
#include "multi.h"

#include "acl.h"
#include "block.h"
#include "conn.h"
#include "group.h"
#include "journal.h"
#include "local.h"
#include "meter.h"
#include "push.h"
#include "script.h"
#include "splitring/base/mem.h"
#include "splitring/cmd/route.h"
#include "tracking.h"
#include "watch.h"

void multi_free(struct multi *m)
{
    if (!m) return;
    for (size_t i = 0; i < m->count; i++) {
        if (m->slots) buf_deinit(&m->slots[i]);
        mem_free(m->cmds[i]);
    }
    mem_free(m->slots);
    buf_deinit(&m->own);
    if (m->cmds != m->few) mem_free(m->cmds);
    mem_free(m);
}

void multi_end(struct conn *c)
{
    multi_free(c->multi);
    c->multi = NULL;
    c->flags &= ~(uint32_t)CONN_MULTI;
    if (unlikely(c->track)) tracking_ran_slow(c, NULL);
}

/* ---- queueing ---- */

void multi_judge(struct worker *w, struct op *op)
{
    const struct command *cmd = op->cmd;
    struct multi *m = op->conn->multi;
    if (cmd->handler == cmd_exec && !m->broken) {
        if (unlikely(w->misconf) && m->writes) {
            op->shard = OP_ERROR;
            op->error = OP_MISCONF;
            return;
        }
        op->shard = OP_EXEC;
        op->mask = m->mask | (op->conn->watch ? op->conn->watch->mask : 0);
        if (m->whole) op->mask = hub_all_shards(w->hub);
        return;
    }
    if (cmd->handler == cmd_exec || cmd->handler == cmd_discard || cmd->handler == cmd_multi ||
        cmd->handler == cmd_quit || cmd->handler == cmd_reset)
        return;
    if (cmd->handler == cmd_watch) {
        op->shard = OP_ERROR;
        op->error = OP_WATCH_IN_MULTI;
    } else if (cmd->flags & CMD_NO_MULTI) {
        op->shard = OP_ERROR;
        op->error = OP_NO_MULTI;
    } else {
        /* EXEC may be judged in this same group: what it needs is noted now, not when this is
         * queued. Noting twice (a connection that was put off) adds nothing. */
        enum route route = command_route(cmd, op->argv, op->argc);
        m->whole |= route == ROUTE_ALL || route == ROUTE_SHARD || cmd->flags & CMD_SCRIPT;
        m->writes |= cmd->flags & CMD_WRITE ||
                     (cmd->flags & CMD_SCRIPT && !(cmd->flags & CMD_READONLY));
        m->replicates |= group_may_replicate(cmd) || (script_may(op) && script_may_write(w, op));
        m->grows |= script_may(op) ? script_may_not_without_memory(w, op)
                                   : (cmd->flags & CMD_DENYOOM) != 0;
        m->mask |= op->mask;
        op->shard = OP_QUEUE;
        op->mask = 0;
        op->key = NULL;
    }
}

void multi_break(struct conn *c)
{
    if (c->multi) c->multi->broken = true;
}

static struct queued *copy_command(const struct op *op, size_t *len)
{
    *len = sizeof(struct queued) + (size_t)op->argc * sizeof(struct slice);
    for (int a = 0; a < op->argc; a++) *len += op->argv[a].len;
    struct queued *q = mem_try_alloc(*len);
    if (!q) return NULL;
    q->cmd = op->cmd;
    q->argc = op->argc;
    char *at = (char *)&q->argv[op->argc];
    for (int a = 0; a < op->argc; a++) {
        q->argv[a] = slice_of(at, op->argv[a].len);
        if (op->argv[a].len) memcpy(at, op->argv[a].ptr, op->argv[a].len);
        at += op->argv[a].len;
    }
    /* op->key is not: it stands for a key that is about to be used. */
    bool known = op->hash && !(op->cmd->flags & CMD_MOVABLE_KEYS) && op->cmd->key_first > 0;
    q->key = known && q->argv[op->cmd->key_first].len ? q->argv[op->cmd->key_first].ptr : NULL;
    q->hash = op->hash;
    return q;
}

void multi_queue(struct op *op)
{
    struct conn *c = op->conn;
    struct multi *m = c->multi;
    size_t len;
    if (m->count == m->cap) {
        size_t cap = m->cap * 2;
        bool few = m->cmds == m->few;
        struct queued **more = mem_try_realloc(few ? NULL : m->cmds, cap * sizeof *more);
        if (!more) {
            conn_close(c);
            return;
        }
        if (few) memcpy(more, m->few, sizeof m->few);
        m->cmds = more;
        m->cap = cap;
    }
    struct queued *q = copy_command(op, &len);
    if (!q) {
        conn_close(c);
        return;
    }
    m->cmds[m->count++] = q;
    m->bytes += len + sizeof(struct queued *);
    m->keys += (size_t)q->argc;
    buf_append(&c->out, "+QUEUED\r\n", 9);
}

/* ---- commands ---- */

void cmd_multi(struct call *c)
{
    struct conn *conn = c->conn;
    if (conn->flags & CONN_MULTI) {
        reply_error(&c->reply, ERR_NESTED_MULTI);
        return;
    }
    conn->multi = mem_zalloc(sizeof *conn->multi);
    conn->multi->cmds = conn->multi->few;
    conn->multi->cap = MULTI_FEW;
    conn->flags |= CONN_MULTI;
    reply_ok(&c->reply);
}

void cmd_discard(struct call *c)
{
    if (!(c->conn->flags & CONN_MULTI)) {
        reply_error(&c->reply, ERR_DISCARD_WITHOUT_MULTI);
        return;
    }
    multi_end(c->conn);
    watch_end(c->conn);
    reply_ok(&c->reply);
}

void cmd_unwatch(struct call *c)
{
    watch_end(c->conn);
    reply_ok(&c->reply);
}

/* Only what cannot run: a queue that can is an op of its own kind (OP_EXEC). */
void cmd_exec(struct call *c)
{
    if (!(c->conn->flags & CONN_MULTI)) {
        reply_error(&c->reply, ERR_EXEC_WITHOUT_MULTI);
        return;
    }
    multi_end(c->conn);
    watch_end(c->conn);
    reply_error(&c->reply, ERR_EXECABORT);
}

/* ---- running ---- */

static void exec_of(struct worker *w, struct conn *c, const struct queued *q, struct buf *out,
                    struct exec *x)
{
    *x = (struct exec){.cmd = q->cmd, .argv = q->argv, .argc = q->argc, .db = c->db,
                       .proto = c->proto, .now = w->now, .out = out, .client = c,
                       .client_id = c->id, .own_out = &c->multi->own,
                       .key = q->key, .hash = q->hash,
                       .oom = c->multi->oom,
                       .large_request = c->multi->bytes >= w->meter.request_limit,
                       .keys_limited = unlikely(!(c->flags & CONN_FREE)) &&
                                       acl_keys_limited(c, q->cmd, q->argv, q->argc),
                       .ks_flags = c->flags & CONN_NO_TOUCH ? KS_NO_TOUCH : 0};
    if (unlikely(c->track)) tracking_exec_slow(c, x);
}

bool multi_is_free(struct worker *w, struct conn *c)
{
    const struct multi *m = c->multi;
    if (unlikely(w->hub->faults & FAULT_EXEC_UNLOCKED)) return true;
    for (uint32_t held = w->held; held; held &= held - 1) {
        shard_id s = (shard_id)__builtin_ctz(held);
        if (likely(!locks_active(w->hub->locks[s]))) continue;
        if (m->whole) return false; /* somebody locks something there: wait for all of it */
        for (size_t i = 0; i < m->count; i++) {
            struct exec x;
            exec_of(w, c, m->cmds[i], NULL, &x);
            if (x.cmd->route == ROUTE_KEYS && !exec_free(w, &x, s)) return false;
        }
    }
    return watch_is_free(w, c->watch);
}

struct locking {
    struct lock_request *req;
    shard_id shard;
};

static void lock_watched(void *ctx, shard_id s, uint64_t hash)
{
    struct locking *locking = ctx;
    if (s == locking->shard) lock_request_add(locking->req, lock_key_id(0, hash), LOCK_SHARED);
}

size_t multi_key_count(const struct conn *c)
{
    return c->multi->keys + watch_count(c->watch);
}

void multi_lock_keys(struct worker *w, struct conn *c, shard_id s, struct lock_request *req)
{
    const struct multi *m = c->multi;
    struct locking locking = {req, s};
    if (m->whole) {
        lock_request_whole(req, m->writes ? LOCK_EXCLUSIVE : LOCK_SHARED);
        return;
    }
    for (size_t i = 0; i < m->count; i++) {
        struct exec x;
        exec_of(w, c, m->cmds[i], NULL, &x);
        if (x.cmd->route == ROUTE_KEYS) exec_lock_keys(w, &x, s, req);
    }
    watch_each(c->watch, lock_watched, &locking);
}

static bool is_later(const struct command *cmd)
{
    return cmd->route == ROUTE_HERE && !local_at_once(cmd) && cmd->handler != cmd_select &&
           cmd->handler != cmd_unwatch && cmd->handler != cmd_client_caching;
}

static void run_one(struct worker *w, struct conn *c, const struct queued *q, struct buf *out)
{
    struct exec x;
    exec_of(w, c, q, out, &x);
    enum route route = command_route(q->cmd, q->argv, q->argc);
    uint32_t mask = c->multi->mask;
    if (route == ROUTE_HERE) {
        exec_local(w, c, &x);
    } else if (route == ROUTE_SHARD) {
        int s = cmd_scan_shard(q->argv, q->argc, w->hub->count);
        exec_one(w, &x, (shard_id)(s < 0 ? 0 : s));
    } else if (route == ROUTE_CHANNEL) {
        exec_one(w, &x, hub_shard_of(w->hub, q->argv[1]));
    } else if (route == ROUTE_KEYS && mask && !(mask & (mask - 1))) { /* every key lives there */
        exec_one(w, &x, (shard_id)__builtin_ctz(mask));
    } else {
        exec_many(w, &x);
    }
}

/* What its commands told their own client of goes behind the whole reply. */
static void append_own(struct multi *m, struct buf *out)
{
    buf_append_slice(out, buf_slice(&m->own));
    out->failed |= m->own.failed;
}

/* All shards are held (multi_judge). False: it has paused. */
static bool run_script(struct worker *w, struct conn *c, const struct queued *q, struct buf *out)
{
    struct exec x;
    struct script_call call = {.mask = w->held, .conn = c, .may_wait = true, .oom = c->multi->oom,
                               .since = &c->multi->pushed, .stated = &c->multi->stated};
    exec_of(w, c, q, out, &x);
    x.script = &call;
    exec_many(w, &x);
    c->multi->script = call.paused;
    return !call.paused;
}

/* Its user may have lost the right since it was queued. */
static bool refused(struct conn *c, const struct queued *q, struct buf *out)
{
    struct reply reply = {.out = out, .proto = c->proto};
    return acl_refuses_now(c, q->cmd, q->argv, q->argc, &reply);
}

/* From the command `at` on, those that are not made later. */
static enum multi_outcome run_rest(struct worker *w, struct conn *c, struct buf *out)
{
    struct multi *m = c->multi;
    bool over = true;
    w->serve_later = true;
    for (; m->at < m->count && over; m->at++) {
        const struct queued *q = m->cmds[m->at];
        struct buf *to = m->slots ? &m->slots[m->at] : out;
        if (is_later(q->cmd) || refused(c, q, to)) continue;
        if (unlikely(q->cmd->flags & CMD_SCRIPT))
            over = run_script(w, c, q, to);
        else
            run_one(w, c, q, to);
    }
    w->serve_later = false;
    journal_close(w, m->stated); /* if it has paused, they have been taken aside */
    if (!over) return MULTI_PAUSED;
    for (uint32_t held = w->held; held; held &= held - 1)
        block_serve(w, (shard_id)__builtin_ctz(held));
    if (m->slots) {
        m->running = true;
        return MULTI_LATER;
    }
    append_own(m, out);
    multi_end(c);
    return MULTI_DONE;
}

enum multi_outcome multi_run(struct worker *w, struct conn *c, const struct command *exec,
                             struct buf *out)
{
    struct multi *m = c->multi;
    struct reply reply = {.out = out, .proto = c->proto};
    uint64_t start = meter_ticks(w);
    bool later = false;
    bool dirty = watch_is_dirty(w, c->watch, w->now) &&
                 !(w->hub->faults & FAULT_WATCH_IGNORED);
    counter_add(&w->pub->commands, 1);
    counter_add(&w->pub->calls[exec->id], 1);
    watch_end(c);
    c->flags &= ~(uint32_t)CONN_MULTI;
    if (m->broken || dirty) { /* broken: by a command of the same group */
        if (m->broken)
            reply_error(&reply, ERR_EXECABORT);
        else
            reply_null_array(&reply);
        multi_end(c);
        return MULTI_DONE;
    }
    for (size_t i = 0; i < m->count; i++) later |= is_later(m->cmds[i]->cmd);
    if (later)
        m->slots = mem_zalloc(m->count * sizeof *m->slots);
    else
        reply_array(&reply, m->count);
    m->pushed = push_mark(w);
    m->stated = journal_count(w);
    journal_open(w);
    w->ready_turns = 0;
    enum multi_outcome outcome = run_rest(w, c, out);
    meter_record(w, exec, meter_ns(w, start, meter_ticks(w)));
    return outcome;
}

enum multi_outcome multi_go_on(struct worker *w, struct conn *c, struct buf *out)
{
    c->multi->script = NULL;
    return run_rest(w, c, out);
}

struct buf *multi_script_out(struct conn *c, struct buf *out)
{
    struct multi *m = c->multi;
    return m->slots ? &m->slots[m->at - 1] : out;
}

static void reply_slots(struct conn *c, struct multi *m)
{
    struct buf out = {0};
    struct reply reply = {.out = &out, .proto = c->proto};
    reply_array(&reply, m->count);
    for (size_t i = 0; i < m->count; i++) {
        buf_append(&out, m->slots[i].ptr, m->slots[i].len);
        out.failed |= m->slots[i].failed;
    }
    append_own(m, &out);
    c->multi = NULL; /* what is appended from here on is a reply again */
    if (unlikely(c->track)) tracking_ran_slow(c, NULL);
    conn_append_reply(c, &out);
    buf_deinit(&out);
    multi_free(m);
}

void multi_continue(struct conn *c)
{
    struct multi *m = c->multi;
    struct worker *w = c->worker;
    if (m->calling) { /* answered before the handler returned */
        c->flags &= ~(uint32_t)CONN_WAITING;
        return;
    }
    c->flags |= CONN_WAITING;
    while (m->next < m->count) {
        const struct queued *q = m->cmds[m->next++];
        if (!is_later(q->cmd) || c->flags & CONN_CLOSING) continue;
        if (refused(c, q, &m->slots[m->next - 1])) continue;
        c->flags &= ~(uint32_t)CONN_WAITING;
        c->last_cmd = q->cmd;
        m->calling = true;
        run_one(w, c, q, &m->slots[m->next - 1]);
        m->calling = false;
        if (c->flags & CONN_WAITING) return; /* goes on when that is answered */
        c->flags |= CONN_WAITING;
    }
    reply_slots(c, m);
    conn_resume(c);
}
