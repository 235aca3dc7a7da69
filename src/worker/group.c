/* Parse → prefetch → run.
 *
 * A group is at most GROUP_OPS commands of the ready connections, in the order sent per connection.
 * Collecting parses and finds each command's shard; nothing is touched yet. Then the shards are
 * held: the own one (waiting if it is lent), the others by try (lending). Two prefetch passes hide
 * the cache misses of the tables. Then everything runs in order, replies going straight into the
 * connections' output.
 *
 * What cannot run here and now cuts its connection: the commands from there on become a batch of
 * messages (batch.c), or a multi-shard transaction (txn.c), and the connection waits. Commands
 * parsed behind it are forgotten: the window is rewound, they are parsed again later. So the parser
 * never runs ahead of what is in flight, and order needs no bookkeeping.
 *
 * Thread: owner. */
#include "group.h"

#include "acl.h"
#include "away.h"
#include "batch.h"
#include "block.h"
#include "conn.h"
#include "defer.h"
#include "exec.h"
#include "journal.h"
#include "local.h"
#include "meter.h"
#include "monitor.h"
#include "pubsub.h"
#include "multi.h"
#include "script.h"
#include "splitring/base/check.h"
#include "splitring/base/mem.h"
#include "splitring/cmd/route.h"
#include "tracking.h"
#include "txn.h"
#include "watch.h"

#define CONN_OPS_MAX 64u /* of one connection in one group: fairness */
#define CONN_OPS_FEW 8u  /* … while a shard is missing: it may have to be parsed again */
#define WIRE_LEN 32u     /* at least what an argument takes on the wire beside its text */

struct group *group_new(void)
{
    return mem_zalloc(sizeof(struct group));
}

void group_free(struct group *g)
{
    mem_free(g->big_args);
    mem_free(g);
}

static inline __attribute__((always_inline)) void exec_of_op(const struct worker *w,
                                                             const struct op *op, struct exec *x)
{
    const struct conn *c = op->conn;
    *x = (struct exec){
        .cmd = op->cmd,
        .argv = op->argv,
        .args = op->args,
        .argc = op->argc,
        .db = c->db,
        .proto = c->proto,
        .ks_flags = c->flags & CONN_NO_TOUCH ? KS_NO_TOUCH : 0,
        .now = w->now,
        .client_id = c->id,
        .key = op->key,
        .hash = op->hash,
        .hint = &op->hint,
        .out = &op->conn->out,
        .client = op->conn,
        .large_request = op->large,
        .keys_limited = op->keys_limited,
        .oom = op->oom,
    };
    if (unlikely(c->track)) tracking_exec_slow(c, x);
    /* CLIENT PAUSE: nothing changes, so what has expired stays, unseen. */
    if (unlikely(op->cmd->handler == cmd_watch)) x->watch = watch_take(op->conn, op->mask);
    if (unlikely(w->pause.until > w->now) && !(op->cmd->flags & CMD_WRITE))
        x->ks_flags |= KS_LOGICAL;
}

void group_exec_of(const struct worker *w, const struct op *op, struct exec *x)
{
    exec_of_op(w, op, x);
}

/* ---- collecting ---- */

/* Room for the argument slices; false: the group is full (big_args serves a group of one). */
static struct slice *group_args(struct group *g, int argc)
{
    size_t need = (size_t)argc;
    if (g->args_used + need <= GROUP_ARGS) {
        struct slice *at = &g->args[g->args_used];
        g->args_used += (unsigned)need;
        return at;
    }
    if (g->count) return NULL;
    if (g->big_args_cap < need) {
        mem_free(g->big_args);
        g->big_args = mem_try_alloc(need * sizeof *g->big_args);
        g->big_args_cap = g->big_args ? need : 0;
    }
    return g->big_args;
}

/* A known hash belongs to a key by its address. An empty key has none of its own: where arguments
 * are copied one behind the other, the next one begins at the same byte. */
static const char *key_hint_of(struct slice key) { return key.len ? key.ptr : NULL; }

static __attribute__((noinline)) void op_keys_slow(struct worker *w, struct op *op)
{
    const struct command *cmd = op->cmd;
    struct key_ref local[64];
    struct key_ref *refs = op->argc <= 64 ? local : mem_alloc((size_t)op->argc * sizeof *refs);
    int count = command_keys(cmd, op->argv, op->argc, refs);
    /* "MSET a 1 b" has no value for b: it must not be split, its handler counts the arguments. */
    if (cmd->key_step > 1 && (op->argc - cmd->key_first) % cmd->key_step != 0) count = -1;
    op->mask = 0;
    for (int i = 0; i < count; i++)
        op->mask |= 1u << hub_shard_of(w->hub, op->argv[refs[i].pos]);
    if (count > 0) {
        op->key = key_hint_of(op->argv[refs[0].pos]);
        op->hash = hash_key(op->argv[refs[0].pos], w->hub->seed);
    }
    if (refs != local) mem_free(refs);
    if (count <= 0) op->mask = 1u << w->id; /* malformed: the handler says why, anywhere */
    op->shard = op->mask & (op->mask - 1) ? OP_MANY : (int16_t)__builtin_ctz(op->mask);
}

static inline void op_keys(struct worker *w, struct op *op)
{
    const struct command *cmd = op->cmd;
    bool fixed = cmd->key_first > 0 && cmd->key_first == cmd->key_last;
    if (likely(fixed && !(cmd->flags & CMD_MOVABLE_KEYS))) {
        struct slice key = op->argv[cmd->key_first];
        op->shard = (int16_t)hub_shard_of(w->hub, key);
        op->key = key_hint_of(key);
        op->hash = hash_key(key, w->hub->seed);
        op->mask = 1u << op->shard;
        return;
    }
    op_keys_slow(w, op);
}

static void op_route(struct worker *w, struct op *op)
{
    const struct command *cmd = op->cmd;
    op->key = NULL;
    op->mask = 0;
    switch (command_route(cmd, op->argv, op->argc)) {
    case ROUTE_HERE: op->shard = OP_LOCAL; break;
    case ROUTE_KEYS: op_keys(w, op); break;
    case ROUTE_CHANNEL:
        op->shard = (int16_t)hub_shard_of(w->hub, op->argv[1]);
        op->mask = 1u << op->shard;
        break;
    case ROUTE_SHARD: {
        int s = cmd_scan_shard(op->argv, op->argc, w->hub->count);
        op->shard = (int16_t)(s < 0 ? w->id : s);
        op->mask = 1u << op->shard;
        break;
    }
    case ROUTE_ALL:
        op->mask = hub_all_shards(w->hub);
        op->shard = w->hub->count == 1 ? 0 : OP_ALL;
        break;
    }
}

/* The append log cannot be written: Redis refuses writes then, and PING says so. */
static bool refused_by_log(const struct command *cmd, const struct conn *c)
{
    if (cmd->handler == cmd_exec) return c->multi && c->multi->writes;
    return cmd->flags & CMD_WRITE || cmd->handler == cmd_ping;
}

/* Everything that Redis' processCommand refuses before it runs. */
static void op_judge(struct worker *w, struct op *op, struct group *g)
{
    bool sub_missing = false;
    const struct conn *c = op->conn;
    op->cmd = unlikely(w->hub->names)
                  ? command_find_named(w->hub->names, op->argv, op->argc, &sub_missing)
                  : command_find_again(&g->found, op->argv, op->argc, &sub_missing);
    op->shard = OP_ERROR;
    if (!op->cmd)
        op->error = sub_missing ? OP_UNKNOWN_SUB : OP_UNKNOWN;
    else if (!command_arity_ok(op->cmd, op->argc))
        op->error = OP_ARITY;
    else if (unlikely(!(c->flags & CONN_FREE)) && acl_refuses(w, op))
        return; /* op->error says why */
    else if (unlikely(conn_subscribed(c)) && c->proto == 2 && !local_while_subscribed(op->cmd))
        op->error = OP_SUBSCRIBED;
    else if (unlikely(c->flags & CONN_MONITOR) &&
             (op->cmd->flags & (CMD_WRITE | CMD_READONLY | CMD_MAY_REPLICATE) ||
              op->cmd->route == ROUTE_CHANNEL))
        op->error = OP_MONITORS;
    else if (unlikely(w->loading) && !(op->cmd->flags & CMD_LOADING))
        op->error = OP_LOADING;
    else if (unlikely(counter_get(&w->hub->log_failed)) && refused_by_log(op->cmd, c))
        op->error = OP_LOG_FAILED;
    else if (unlikely(w->misconf) && (op->cmd->flags & CMD_WRITE || op->cmd->handler == cmd_ping))
        op->error = OP_MISCONF;
    else {
        op_route(w, op);
        if (unlikely(c->flags & CONN_MULTI)) multi_judge(w, op);
        if (script_may(op) && op->shard != OP_QUEUE) script_judge_slow(w, op);
        g->mask |= op->mask;
        if (op->cmd->flags & CMD_SLOW) g->slow_mask |= op->mask;
    }
}

/* Judges an op that has just been added. False: nothing more of its connection for this group. */
static bool collected(struct worker *w, struct op *op, struct group *g)
{
    op_judge(w, op, g);
    if (unlikely(op->from_held)) return false; /* its arguments live until the next parse */
    if (unlikely(op->shard == OP_EXEC || block_may(op) || away_may(op))) return false;
    return op->shard != OP_LOCAL || local_is_stateless(op->cmd);
}

/* What is cut, inline, too large for the group or held from before. */
static __attribute__((noinline)) bool collect_slow(struct worker *w, struct conn *c,
                                                   struct group *g,
                                                   const struct parse_limits *limits, bool first)
{
    size_t start = c->data_used;
    if (c->flags & CONN_HELD_OP) {
        c->flags &= ~(uint32_t)CONN_HELD_OP;
    } else {
        enum parse_status status = PARSE_MORE;
        if (c->flags & CONN_BAD_INPUT)
            status = PARSE_ERROR;
        else if (c->data)
            status = parse_next(&c->parser, limits, c->data, c->data_len, &c->data_used);
        if (status == PARSE_MORE) return false;
        if (status == PARSE_ERROR) { /* its turn comes when all before it has been answered */
            c->flags |= CONN_BAD_INPUT;
            if (first) conn_protocol_error(c);
            return false;
        }
    }
    struct parser *p = &c->parser;
    struct slice *argv = group_args(g, p->argc);
    if (!argv && !g->count) { /* not even alone: out of memory */
        conn_close(c);
        return false;
    }
    if (!argv) { /* the group is full: next time */
        if (p->argv == w->parse_pool.argv)
            c->data_used = start;
        else
            c->flags |= CONN_HELD_OP;
        return false;
    }
    struct op *op = &g->ops[g->count++];
    bool held = p->argv != w->parse_pool.argv;
    bool blobs = false;
    size_t bytes = 0;
    for (int i = 0; i < p->argc; i++) {
        argv[i] = slice_of(p->argv[i].ptr, p->argv[i].len);
        blobs |= p->argv[i].blob != NULL;
        bytes += p->argv[i].len + WIRE_LEN;
    }
    *op = (struct op){.conn = c, .argv = argv, .argc = p->argc, .start = start,
                      .args = blobs ? p->argv : NULL, .from_held = held || blobs,
                      .large = bytes >= w->meter.request_limit};
    return collected(w, op, g);
}

/* Adds one command of c to the group. False: nothing more of c for this group. */
static inline bool collect_one(struct worker *w, struct conn *c, struct group *g,
                               const struct parse_limits *limits, bool first)
{
    size_t start = c->data_used;
    struct slice *argv = &g->args[g->args_used];
    int argc = 0;
    if (likely(c->data && !(c->flags & CONN_HAS_INPUT)))
        argc = parse_whole(&c->parser, parse_bulk_max(limits), c->data, c->data_len,
                           &c->data_used, argv, GROUP_ARGS - g->args_used);
    if (unlikely(argc == 0)) return collect_slow(w, c, g, limits, first);
    struct op *op = &g->ops[g->count++];
    g->args_used += (unsigned)argc;
    size_t bytes = c->data_used - start + (size_t)argc * WIRE_LEN;
    *op = (struct op){.conn = c, .argv = argv, .argc = argc, .start = start,
                      .large = bytes >= w->meter.request_limit};
    return collected(w, op, g);
}

static void collect(struct worker *w, struct group *g)
{
    g->count = g->args_used = 0;
    g->mask = g->slow_mask = 0;
    struct list *link, again; /* each connection once per group */
    unsigned each = likely(!defer_missing(w)) ? CONN_OPS_MAX : CONN_OPS_FEW;
    list_init(&again);
    while (g->count < GROUP_OPS && (link = list_pop_front(&w->ready)) != NULL) {
        struct conn *c = CONTAINER_OF(link, struct conn, ready_link);
        c->flags &= ~(uint32_t)CONN_READY;
        if (unlikely(w->missed) && defer_again(w, c)) continue;
        if (!c->data && c->in.len) {
            c->data = c->in.ptr + c->in_used;
            c->data_len = conn_unread(c);
            c->data_used = 0;
        }
        unsigned before = g->count, end = before + each;
        struct parse_limits limits = {.bulk_len_max = w->config->proto_max_bulk_len,
                                      .authenticated = conn_is_in(c)};
        if (end > GROUP_OPS) end = GROUP_OPS;
        while (g->count < end)
            if (!collect_one(w, c, g, &limits, g->count == before)) break;
        if (c->flags & CONN_CLOSING) continue;
        bool more = c->flags & CONN_HAS_INPUT || (c->data && c->data_used < c->data_len);
        if (more && !(c->flags & CONN_CLOSE_AFTER)) {
            c->flags |= CONN_READY;
            list_push_back(&again, &c->ready_link);
            if (g->count == before) break; /* did not fit */
        } else if (g->count == before) {
            conn_keep_input(c); /* nothing but the start of a command */
            if (c->flags & CONN_PEER_CLOSED && c->out.len == 0) conn_close(c);
        }
        c->ops_recent += g->count - before;
        c->commands += g->count - before;
    }
    while ((link = list_pop_front(&again)) != NULL) list_push_back(&w->ready, link);
}

/* ---- holding and prefetching ---- */

/* All or, after a short while of trying, what can be had. Nothing is borrowed beside slow work. */
static void hold_shards(struct worker *w, struct group *g, bool may_send)
{
    uint32_t own = 1u << w->id;
    if (!(g->mask & ~own) || g->slow_mask || !w->hub->lending) {
        if (g->mask & own) worker_hold(w, w->id);
    } else if (!worker_hold_all(w, g->mask, may_send)) {
        if (g->mask & own) worker_hold_try(w, w->id);
        defer_missed(w, g->mask & ~w->held);
    }
}

/* The op before it has the same key: what is known of that one holds. */
static inline bool same_key(const struct op *op, const struct op *before)
{
    return before && before->hash == op->hash && before->shard == op->shard &&
           before->conn->db == op->conn->db;
}

static void prefetch(struct worker *w, struct group *g)
{
    struct shard *const *shards = w->hub->shards;
    const struct op *before = NULL;
    for (unsigned i = 0; i < g->count; i++) {
        const struct op *op = &g->ops[i];
        if (!op->key || op->shard < 0 || !worker_holds(w, (shard_id)op->shard)) continue;
        if (likely(!same_key(op, before)))
            shard_prefetch_slot(shards[op->shard], op->conn->db, op->hash);
        before = op;
    }
    before = NULL;
    for (unsigned i = 0; i < g->count; i++) {
        struct op *op = &g->ops[i];
        if (!op->key || op->shard < 0 || !worker_holds(w, (shard_id)op->shard)) continue;
        if (likely(!same_key(op, before)))
            op->hint = shard_prefetch_entry(shards[op->shard], op->conn->db, op->hash);
        else
            op->hint = before->hint;
        before = op;
    }
}

/* ---- running ---- */

/* The connection goes on later from op (not run): its window is rewound to it. */
static void rewind_to(struct conn *c, const struct op *op)
{
    if (op->from_held) {
        c->flags |= CONN_HELD_OP;
    } else {
        c->data_used = op->start;
        c->flags &= ~(uint32_t)CONN_BAD_INPUT;
        parse_reset(&c->parser); /* whatever it had begun behind op is parsed again */
    }
}

/* Put off, because a shard is missing that could be borrowed (defer.c). */
static bool put_off(struct worker *w, const struct op *op)
{
    uint32_t missing = op->mask & ~w->held;
    if (!missing || !w->hub->lending || op->cmd->flags & CMD_SLOW) return false;
    return defer_conn(w, op->conn, missing);
}

/* Cuts the connection at op i. */
static void cut(struct worker *w, struct group *g, unsigned i)
{
    struct op *op = &g->ops[i];
    struct conn *c = op->conn;
    unsigned next = i;
    list_remove(&c->ready_link);
    c->flags &= ~(uint32_t)CONN_READY;
    c->cut_group = w->group_seq;
    if (put_off(w, op)) {
        /* its input is kept below */
    } else if (!worker_has_room(w, op->mask)) {
        c->flags |= CONN_READY;
        list_push_back(&w->stalled, &c->ready_link);
    } else if (op->shard >= 0 && !block_may(op) && !away_may(op) && !script_may(op)) {
        if (g->mask >> w->id & 1u) worker_hold(w, w->id); /* its own part is linked there */
        next = batch_start(w, g, i);
    } else {
        next = i + 1;
        txn_start(w, op);
        if (unlikely(c->track)) tracking_ran_slow(c, op->cmd);
    }
    if (c->flags & CONN_CLOSING) return;
    if (next > i) c->deferred = 0;
    if (next < g->count && g->ops[next].conn == c) rewind_to(c, &g->ops[next]);
    conn_keep_input(c);
    /* Already answered? (every run could be had at once) */
    if (!(c->flags & (CONN_WAITING | CONN_READY)) && (c->in.len || c->flags & CONN_HAS_INPUT))
        conn_ready(c);
}

/* The connection stops before op, until conn_ready(): what follows it in this group is skipped. */
static void hold_back(struct worker *w, struct op *op)
{
    struct conn *c = op->conn;
    rewind_to(c, op);
    list_remove(&c->ready_link);
    c->flags &= ~(uint32_t)CONN_READY;
    c->cut_group = w->group_seq;
    conn_keep_input(c);
}

/* It writes, or may speak to replicas: what CLIENT PAUSE … WRITE is about. */
static bool may_replicate(struct worker *w, const struct op *op)
{
    if (op->shard == OP_EXEC) return op->conn->multi->replicates;
    if (script_may(op) && op->shard != OP_QUEUE) return script_may_write(w, op);
    return group_may_replicate(op->cmd);
}

/* CLIENT PAUSE: true if the op must wait; the connection is parked before it. Mistakes are told at
 * once. */
static bool paused(struct worker *w, struct op *op)
{
    if (w->pause.until <= w->now || op->shard == OP_ERROR) return false;
    if (w->pause.writes_only && !may_replicate(w, op)) return false;
    hold_back(w, op);
    conn_park(op->conn, &w->paused);
    return true;
}

static bool run_keys(struct worker *w, struct op *op)
{
    struct exec x;
    if ((op->mask & w->held) != op->mask || unlikely(away_may(op))) return false;
    exec_of_op(w, op, &x);
    if (script_may(op)) return script_run_op(w, op, &x);
    if (likely(op->shard >= 0)) {
        if (!exec_free(w, &x, (shard_id)op->shard)) return false;
        if (unlikely(block_may(op)))
            block_run(w, op, &x);
        else
            exec_one(w, &x, (shard_id)op->shard);
        op->conn->deferred = 0;
        counter_add(op->shard == w->id ? &w->pub->ran_local : &w->pub->ran_borrowed, 1);
        return true;
    }
    for (uint32_t m = op->mask; m; m &= m - 1)
        if (!exec_free(w, &x, (shard_id)__builtin_ctz(m))) return false;
    if (unlikely(block_may(op)))
        block_run(w, op, &x);
    else
        exec_many(w, &x);
    op->conn->deferred = 0;
    counter_add(&w->pub->txns_direct, 1);
    return true;
}

/* A local command may end what CLIENT REPLY SKIP began (ON), so it sees it as begun. */
static void skip_begins(struct conn *c)
{
    if (likely(!(c->flags & CONN_REPLY_SKIP_NEXT))) return;
    c->flags = (c->flags & ~(uint32_t)CONN_REPLY_SKIP_NEXT) | CONN_REPLY_SKIP;
}

/* Whatever the command was, CLIENT REPLY decides if its reply is kept. */
static void reply_rules(struct conn *c, size_t out_before, uint32_t flags_before, bool local)
{
    uint32_t rules = CONN_REPLY_OFF | CONN_REPLY_SKIP_NEXT | CONN_REPLY_SKIP;
    if (likely(!((flags_before | c->flags) & rules))) return;
    bool drop = c->flags & rules || (!local && flags_before & CONN_REPLY_SKIP_NEXT);
    if (!local) c->flags &= ~(uint32_t)CONN_REPLY_SKIP_NEXT;
    if (!(c->flags & CONN_WAITING)) c->flags &= ~(uint32_t)CONN_REPLY_SKIP;
    if (drop) c->out.len = out_before;
}

static bool blocked(const struct worker *w, const struct conn *c)
{
    return c->flags & (CONN_WAITING | CONN_CLOSING | CONN_CLOSE_AFTER | CONN_PAUSED) ||
           c->cut_group == w->group_seq;
}

/* False: its shards or keys cannot be had now. */
static bool run_exec(struct worker *w, struct group *g, struct op *op)
{
    struct conn *c = op->conn;
    size_t before = c->out.len;
    if ((op->mask & w->held) != op->mask || !multi_is_free(w, c)) return false;
    struct exec x;
    c->multi->oom = op->oom;
    group_exec_of(w, op, &x);
    meter_chain_on(w);
    enum multi_outcome outcome = multi_run(w, c, op->cmd, &c->out);
    if (unlikely(w->monitor_mask)) monitor_show(w, &x);
    if (outcome == MULTI_DONE) return true;
    if (outcome == MULTI_PAUSED) {
        script_park_exec(w, op, before);
        return true;
    }
    c->flags |= CONN_WAITING;
    worker_unhold_all(w); /* what is left may take long or call the system */
    meter_chain_off(w);
    multi_continue(c);
    hold_shards(w, g, false);
    meter_chain_on(w);
    return true;
}

/* Receivers of pushes do not keep up: what tells them more waits. */
static bool crowded(struct worker *w, struct op *op)
{
    struct conn *c = op->conn;
    bool tells = op->shard >= 0 && (op->cmd->flags & (CMD_PUBSUB | CMD_WRITE) || w->monitor_mask);
    if (!tells) return false;
    hold_back(w, op);
    c->flags |= CONN_READY;
    list_push_back(&w->stalled, &c->ready_link);
    return true;
}

static void run_op(struct worker *w, struct group *g, unsigned i)
{
    struct op *op = &g->ops[i];
    struct conn *c = op->conn;
    if (unlikely(blocked(w, c))) return;
    if (unlikely(w->pause.until) && paused(w, op)) return;
    if (unlikely(w->push_crowded) && crowded(w, op)) return;
    if (unlikely(w->journal_crowded) && op->shard != OP_QUEUE && may_replicate(w, op)) {
        w->journal_crowded = journal_crowded(w);
        hold_back(w, op);
        c->flags |= CONN_READY;
        list_push_back(&w->stalled, &c->ready_link);
        return;
    }
    if (conn_output_full(c)) { /* it is dirty: goes on when that is sent */
        hold_back(w, op);
        return;
    }
    if (!c->out.ptr) worker_take_buf(w, &c->out);
    size_t out_before = c->out.len;
    uint32_t flags_before = c->flags;
    if (unlikely(w->budget.limit) && !budget_admits_slow(w, op)) {
        op->error = OP_OOM;
        local_refuse(w, op);
        meter_chain_on(w);
    } else if (op->shard == OP_LOCAL) {
        struct exec x;
        group_exec_of(w, op, &x);
        c->last_cmd = op->cmd;
        skip_begins(c);
        bool quick = local_is_quick(op->cmd);
        if (!quick) worker_unhold_all(w); /* it may take long or call the system */
        if (!quick) meter_chain_on(w);
        exec_local(w, c, &x);
        if (!quick) hold_shards(w, g, false); /* its own reply is still being judged */
        if (!quick) meter_chain_on(w);
    } else if (op->shard == OP_ERROR) {
        local_refuse(w, op);
        meter_chain_on(w);
    } else if (op->shard == OP_QUEUE) {
        multi_queue(op);
        if (c->flags & CONN_CLOSING) return;
    } else if (op->shard == OP_EXEC ? run_exec(w, g, op) : likely(run_keys(w, op))) {
        c->last_cmd = op->cmd;
    } else if (unlikely(script_in_the_way(w->hub, op->mask))) {
        if (script_in_the_way(w->hub, op->mask) == SCRIPT_WAY_PAUSED) {
            hold_back(w, op);
            script_wait(c);
            return;
        }
        op->error = OP_BUSY;
        local_refuse(w, op);
    } else {
        c->last_cmd = op->cmd;
        meter_chain_off(w); /* what runs there is timed by itself */
        cut(w, g, i);
        meter_chain_on(w);
        return;
    }
    if (unlikely(c->flags & CONN_WAITING)) { /* asked of others, or blocked: the rest waits */
        list_remove(&c->ready_link);
        c->flags &= ~(uint32_t)CONN_READY;
        if (flags_before & CONN_REPLY_SKIP_NEXT) c->flags |= CONN_REPLY_SKIP;
        if (i + 1 < g->count && g->ops[i + 1].conn == c) rewind_to(c, &g->ops[i + 1]);
    }
    reply_rules(c, out_before, flags_before, op->shard == OP_LOCAL);
    if (unlikely(c->track)) tracking_ran_slow(c, op->shard == OP_ERROR ? NULL : op->cmd);
    conn_dirty(c);
}

/* Connections whose input is used up keep nothing of the receive buffers. */
static void settle(struct group *g)
{
    struct conn *last = NULL;
    for (unsigned i = 0; i < g->count; i++) {
        struct conn *c = g->ops[i].conn;
        if (c == last) continue;
        last = c;
        if (c->flags & (CONN_CLOSING | CONN_READY)) continue;
        conn_keep_input(c);
        bool idle = !(c->in.len || c->flags & (CONN_WAITING | CONN_HAS_INPUT | CONN_PAUSED));
        if (idle && c->flags & CONN_PEER_CLOSED && c->out.len == 0) conn_close(c);
    }
}

bool group_run_all(struct worker *w, unsigned groups_max)
{
    struct group *g = w->group;
    for (unsigned n = 0; n < groups_max && !list_empty(&w->ready); n++) {
        w->group_seq++;
        acl_refresh(w);
        collect(w, g);
        if (unlikely(w->client_memory.limit != 0)) client_memory_step_slow(w);
        if (!g->count) continue;
        hold_shards(w, g, true);
        if (g->count > 1 && w->held) prefetch(w, g);
        if (unlikely(w->budget.limit)) budget_begin_slow(w);
        meter_chain_on(w);
        for (unsigned i = 0; i < g->count; i++) run_op(w, g, i);
        meter_chain_off(w);
        settle(g);
        worker_unhold_all(w);
        pubsub_step(w);
        tracking_start(w);
        push_deliver(w);
        counter_add(&w->pub->groups, 1);
    }
    return !list_empty(&w->ready);
}
