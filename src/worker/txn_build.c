/* A transaction's descriptor: made from a parsed command, freed when nothing refers to it.
 *
 * The arguments are copied, since the input window goes on; each shard gets a part with the keys
 * that live there, the locks on them, and (of a split command) arguments of its own. Which way the
 * command will run is decided here, from its row of the command table and from what may be lent.
 *
 * It is referred to by its connection, by a message on its way to each part, and by a waiter; the
 * last one to let go frees it.
 *
 * Thread: the connection's worker; txn_drop: who holds the last reference. */
#include <string.h>

#include "away.h"
#include "conn.h"
#include "group.h"
#include "meter.h"
#include "multi.h"
#include "splitring/base/mem.h"
#include "splitring/base/num.h"
#include "txn.h"

void txn_drop(struct txn *t)
{
    if (!refs_drop_shared(&t->refs_left)) return;
    for (unsigned i = 0; i < t->part_count; i++) {
        struct txn_part *part = &t->parts[i];
        buf_deinit(&part->reply);
        buf_deinit(&part->own);
        buf_deinit(&part->images);
        buf_deinit(&part->writes);
        mem_free(part->lock.nodes);
        mem_free(part->sub_argv);
        mem_free(part->key_pos);
    }
    for (int a = 0; t->x.args && a < t->x.argc; a++) mem_free(t->x.args[a].blob);
    mem_free(t->x.args);
    mem_free(t->parts);
    mem_free(t->refs);
    mem_free(t->argv);
    buf_deinit(&t->bytes);
    buf_deinit(&t->reply);
    buf_deinit(&t->away.request);
    buf_deinit(&t->away.answer);
    buf_deinit(&t->block.args);
    mem_free(t->block.replaced);
    mem_free(t);
}

static bool copy_args(struct txn *t, const struct op *op)
{
    size_t len = 0;
    t->x.args = NULL; /* the parser's; from here on x is what txn_drop frees */
    for (int a = 0; a < op->argc; a++) len += op->argv[a].len;
    t->argv = mem_try_alloc((size_t)op->argc * sizeof *t->argv);
    t->refs = mem_try_alloc((size_t)op->argc * sizeof *t->refs);
    if (!t->argv || !t->refs || (len && !buf_reserve(&t->bytes, len))) return false;
    for (int a = 0; a < op->argc; a++) {
        t->argv[a] = slice_of(t->bytes.ptr + t->bytes.len, op->argv[a].len);
        buf_append_slice(&t->bytes, op->argv[a]);
    }
    t->x.argv = t->argv;
    t->x.hint = NULL;
    t->x.key = NULL;
    t->ref_count = command_route(op->cmd, op->argv, op->argc) == ROUTE_KEYS
                       ? command_keys(op->cmd, t->argv, op->argc, t->refs) : 0;
    return true;
}

/* argv of a split command at one shard: the name, and its own keys with what belongs to each. */
static void part_sub_args(struct txn *t, struct txn_part *part)
{
    const struct command *cmd = t->x.cmd;
    part->sub = t->x;
    part->sub.out = &part->reply;
    part->sub.is_part = t->way == TXN_PARTS;
    part->sub.part_ns = t->way == TXN_PARTS ? &part->ns : NULL;
    if (t->way == TXN_PARTS || t->way == TXN_COPIES) part->sub.own_out = &part->own;
    if (cmd->route == ROUTE_ALL || t->way != TXN_PARTS) return;
    int step = cmd->key_step > 0 ? cmd->key_step : 1;
    part->sub_argv = mem_alloc(((size_t)part->key_count * (size_t)step + 1) * sizeof(struct slice));
    int n = 0;
    part->sub_argv[n++] = t->argv[0];
    for (int k = 0; k < part->key_count; k++)
        for (int i = 0; i < step; i++) part->sub_argv[n++] = t->argv[part->key_pos[k] + i];
    part->sub.argv = part->sub_argv;
    part->sub.argc = n;
}

/* COPY is the one command whose second key may live in another database. */
static int find_copy_db(const struct txn *t)
{
    int64_t db;
    if (strcmp(t->x.cmd->name, "copy") != 0) return -1;
    for (int i = 3; i + 1 < t->x.argc; i++)
        if (slice_is_word(t->argv[i], "db") && num_parse_i64(t->argv[i + 1], &db) && db >= 0 &&
            db < (int64_t)t->home->hub->databases)
            return (int)db;
    return -1;
}

static void part_init(struct worker *w, struct txn *t, struct txn_part *part, shard_id s)
{
    part->txn = t;
    part->shard = s;
    list_init(&part->link);
    list_init(&part->release_link);
    int count = 0;
    for (int i = 0; i < t->ref_count; i++)
        count += hub_shard_of(w->hub, t->argv[t->refs[i].pos]) == s;
    part->key_pos = mem_alloc(((size_t)count + 1) * sizeof(int));
    for (int i = 0; i < t->ref_count; i++)
        if (hub_shard_of(w->hub, t->argv[t->refs[i].pos]) == s)
            part->key_pos[part->key_count++] = t->refs[i].pos;
    if (t->is_exec) {
        struct lock_node *nodes = mem_alloc(lock_nodes_bytes(multi_key_count(t->conn)));
        lock_request_init(&part->lock, nodes);
        multi_lock_keys(w, t->conn, s, &part->lock);
        return;
    }
    if (t->x.cmd->flags & CMD_SCRIPT) { /* it may touch keys that it does not name */
        lock_request_init(&part->lock, mem_alloc(lock_nodes_bytes(0)));
        lock_request_whole(&part->lock,
                           t->x.cmd->flags & CMD_READONLY ? LOCK_SHARED : LOCK_EXCLUSIVE);
        return;
    }
    struct lock_node *nodes = mem_alloc(lock_nodes_bytes((size_t)count));
    lock_request_init(&part->lock, nodes);
    exec_lock_keys(w, &t->x, s, &part->lock);
    part_sub_args(t, part);
}

static enum txn_way way_of(const struct worker *w, const struct op *op)
{
    if (op->shard == OP_EXEC || op->cmd->flags & CMD_SCRIPT) return TXN_HELD;
    if (unlikely(away_may(op))) return TXN_COPIES;
    if (op->shard >= 0) return TXN_ONE;
    switch ((enum split)op->cmd->split) {
    case SPLIT_NONE:
    case SPLIT_MOVE:
        if (command_route(op->cmd, op->argv, op->argc) == ROUTE_ALL) return TXN_HELD;
        return w->hub->lending && !(op->cmd->flags & CMD_SLOW) ? TXN_HELD : TXN_COPIES;
    case SPLIT_FIRST: return TXN_FIRST;
    default: return TXN_PARTS;
    }
}

struct txn *txn_new(struct worker *w, const struct op *op)
{
    struct txn *t = mem_zalloc(sizeof *t);
    t->conn = op->conn;
    t->home = w;
    t->acl_generation = w->acl_generation;
    refs_init(&t->refs_left, 1);
    group_exec_of(w, op, &t->x);
    meter_begin(w, &t->x);
    if (!copy_args(t, op)) {
        txn_drop(t);
        return NULL;
    }
    t->is_exec = op->shard == OP_EXEC;
    t->way = way_of(w, op);
    list_init(&t->held_link);
    t->copy_db = find_copy_db(t);
    t->part_count = (unsigned)__builtin_popcount(op->mask);
    t->parts = mem_zalloc(t->part_count * sizeof *t->parts);
    unsigned n = 0;
    for (uint32_t m = op->mask; m; m &= m - 1)
        part_init(w, t, &t->parts[n++], (shard_id)__builtin_ctz(m));
    return t;
}
