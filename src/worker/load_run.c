/* Commands of a log, run in order by all workers at once.
 *
 * Every worker reads the whole log and runs what is about keys of its own shard; what is not, it
 * passes over. So each shard sees its commands in the log's order, and nothing is handed between
 * threads. What concerns several shards:
 *
 *   each key by itself (MSET, DEL, FLUSHALL)  every worker does its own part, and nobody waits
 *   keys together (RENAME, SMOVE, SUNIONSTORE, EVAL)   the lowest of the shards runs it, when the
 *       workers of the others have come to the same place; these go on when it has
 *
 * They all wait for the earliest such command, which can always be run: no circle. Between two
 * commands nobody looks at the data, so nothing has to happen at once, and MULTI and EXEC say only
 * where the log may end (aof_scan.c has seen to that).
 *
 * Handlers are the ordinary ones, without a client: replies are dropped, nothing expires or is past
 * (that a key had gone is in the log), nothing is counted. Why not one thread that holds all
 * shards? It is what all would wait for; here each command is parsed by all (some 100 ns) but run
 * by one (300 ns and up).
 * Thread: owner. */
#include <stdio.h>
#include <stdlib.h>

#include "exec.h"
#include "load.h"
#include "local.h"
#include "script.h"
#include "splitring/base/mem.h"
#include "splitring/base/num.h"
#include "splitring/io/log.h"

#define ERRORS_TOLD 20u

static int refuse(struct loader *l, const char *what, struct slice name)
{
    snprintf(l->why, sizeof l->why, "%s '%.*s' at offset %llu", what,
             (int)(name.len < 64 ? name.len : 64), name.ptr, (unsigned long long)l->item.offset);
    return -1;
}

/* Room for the arguments, as handlers take them. */
static bool take_args(struct loader *l)
{
    const struct aof_item *item = &l->item;
    if (item->argc > l->args_cap) {
        int cap = item->argc < 64 ? 64 : item->argc;
        struct slice *argv = mem_try_realloc(l->argv, (size_t)cap * sizeof *argv);
        if (!argv) return false;
        l->argv = argv;
        struct key_ref *refs = mem_try_realloc(l->refs, (size_t)cap * sizeof *refs);
        if (!refs) return false;
        l->refs = refs;
        l->args_cap = cap;
    }
    for (int i = 0; i < item->argc; i++)
        l->argv[i] = slice_of(item->argv[i].ptr, item->argv[i].len);
    return true;
}

static struct exec exec_of(struct worker *w, struct loader *l, const struct command *cmd,
                           uint64_t *ns)
{
    l->out.len = 0;
    return (struct exec){.cmd = cmd, .argv = l->argv, .argc = l->item.argc, .db = l->db, .proto = 2,
                         .ks_flags = KS_NO_STATS | KS_SILENT, .is_part = true, .part_ns = ns,
                         .now = w->now, .out = &l->out};
}

/* Redis says so, too; what the log holds had an effect once. */
static void tell_error(struct loader *l, const struct command *cmd)
{
    if (l->errors++ >= ERRORS_TOLD) return;
    size_t len = l->out.len > 2 ? l->out.len - 2 : 0;
    const char *end = len ? memchr(l->out.ptr, '\r', len) : NULL;
    if (end) len = (size_t)(end - l->out.ptr);
    log_line(LOG_LEVEL_WARNING,
             "== CRITICAL == This server is sending an error to its AOF-loading-client: '%.*s' "
             "after processing the command '%s'", (int)(len < 4096 ? len : 4096), l->out.ptr,
             cmd->name);
}

static void run_own(struct worker *w, struct loader *l, const struct command *cmd,
                    const struct slice *argv, int argc)
{
    uint64_t ns = 0;
    struct exec x = exec_of(w, l, cmd, &ns);
    x.argv = argv;
    x.argc = argc;
    if (exec_one(w, &x, w->id)) tell_error(l, cmd);
}

/* ---- several shards ---- */

static counter *place_of(const struct worker *w, worker_id id)
{
    return &w->hub->persist.plan->places[id].at;
}

static uint64_t here(const struct worker *w, const struct loader *l)
{
    return w->hub->persist.plan->files[l->file].start + l->item.offset + 1;
}

/* All the workers of these shards have run what comes before. */
static bool all_are_here(const struct worker *w, const struct loader *l, uint32_t mask)
{
    for (uint32_t m = mask & ~(1u << w->id); m; m &= m - 1)
        if (counter_get_acquire_shared(place_of(w, (worker_id)__builtin_ctz(m))) < here(w, l))
            return false;
    return true;
}

static worker_id leader_of(uint32_t mask) { return (worker_id)__builtin_ctz(mask); }

/* Its keys are of several shards, this worker's among them. LOAD_WAITS: its time has not come. */
static int run_together(struct worker *w, struct loader *l, const struct command *cmd,
                        uint32_t mask)
{
    worker_id leader = leader_of(mask);
    l->waits_mask = mask;
    if (leader != w->id) {
        counter_set_release(place_of(w, w->id), here(w, l));
        return counter_get_acquire_shared(place_of(w, leader)) > here(w, l) ? 0 : LOAD_WAITS;
    }
    if (!all_are_here(w, l, mask)) return LOAD_WAITS;
    for (uint32_t m = mask & ~w->held; m; m &= m - 1)
        if (!worker_hold_try(w, (shard_id)__builtin_ctz(m))) return LOAD_WAITS;
    uint64_t ns = 0;
    struct exec x = exec_of(w, l, cmd, &ns);
    struct script_call script = {.mask = mask};
    if (cmd->flags & CMD_SCRIPT) x.script = &script;
    if (exec_many(w, &x)) tell_error(l, cmd);
    for (uint32_t m = mask & ~(1u << w->id); m; m &= m - 1)
        worker_unhold(w, (shard_id)__builtin_ctz(m));
    counter_set_release(place_of(w, w->id), here(w, l) + 1);
    return 0;
}

bool load_run_waits(const struct worker *w, const struct loader *l)
{
    if (!l->has_item) return false;
    worker_id leader = leader_of(l->waits_mask);
    if (leader == w->id) return !all_are_here(w, l, l->waits_mask);
    return counter_get_acquire_shared(place_of(w, leader)) <= here(w, l);
}

void load_run_end(struct worker *w)
{
    counter_set_release(place_of(w, w->id), UINT64_MAX);
}

/* Each key by itself: those of this shard, with what belongs to each. */
static void run_part(struct worker *w, struct loader *l, const struct command *cmd, int keys)
{
    int step = cmd->key_step > 0 ? cmd->key_step : 1, n = 1;
    for (int k = 0; k < keys; k++) {
        int pos = l->refs[k].pos;
        if (hub_shard_of(w->hub, l->argv[pos]) != w->id) continue;
        for (int i = 0; i < step && pos + i < l->item.argc; i++) l->argv[n++] = l->argv[pos + i];
    }
    run_own(w, l, cmd, l->argv, n);
}

static bool splits(const struct command *cmd)
{
    return cmd->split == SPLIT_SUM || cmd->split == SPLIT_OK || cmd->split == SPLIT_ARRAY;
}

/* ---- one command ---- */

static int run_keys(struct worker *w, struct loader *l, const struct command *cmd)
{
    if (likely(!cmd->keys && cmd->key_first == cmd->key_last)) {
        if (hub_shard_of(w->hub, l->argv[cmd->key_first]) == w->id)
            run_own(w, l, cmd, l->argv, l->item.argc);
        return 0;
    }
    uint32_t mask = 0;
    int keys = command_keys(cmd, l->argv, l->item.argc, l->refs);
    for (int k = 0; k < keys; k++)
        mask |= 1u << hub_shard_of(w->hub, l->argv[l->refs[k].pos]);
    if (keys <= 0) mask = 1; /* malformed: the handler says why */
    if (cmd->flags & CMD_SCRIPT && w->hub->count > 1) /* it may touch others */
        mask = (uint32_t)(((uint64_t)1 << w->hub->count) - 1);
    if (!(mask >> w->id & 1)) return 0;
    if (!(cmd->flags & CMD_SCRIPT)) {
        if (mask == 1u << w->id) {
            run_own(w, l, cmd, l->argv, l->item.argc);
            return 0;
        }
        if (splits(cmd)) {
            run_part(w, l, cmd, keys);
            return 0;
        }
    }
    return run_together(w, l, cmd, mask);
}

static int select_db(struct worker *w, struct loader *l)
{
    int64_t db;
    if (!num_parse_i64(l->argv[1], &db) || db < 0 || db >= (int64_t)w->hub->databases)
        return refuse(l, "DB index is out of range:", l->argv[1]);
    l->db = (db_id)db;
    return 0;
}

/* Commands without keys: of those that change something, the first worker runs them. */
static int run_here(struct worker *w, struct loader *l, const struct command *cmd)
{
    if (cmd->handler == cmd_select) return select_db(w, l);
    if (cmd->handler == cmd_multi || cmd->handler == cmd_exec) return 0; /* only units end there */
    if (!local_at_once(cmd)) return refuse(l, "A log cannot hold the command", l->argv[0]);
    if (w->id != 0 || local_is_stateless(cmd)) return 0;
    uint64_t ns = 0;
    struct exec x = exec_of(w, l, cmd, &ns);
    exec_local(w, NULL, &x);
    if (l->out.len && l->out.ptr[0] == '-') tell_error(l, cmd);
    return 0;
}

static int run_item(struct worker *w, struct loader *l)
{
    bool sub_missing;
    const struct command *cmd = command_find(l->argv, l->item.argc, &sub_missing);
    /* Redis writes what a client called it. */
    if (unlikely(!cmd && w->hub->names))
        cmd = command_find_named(w->hub->names, l->argv, l->item.argc, &sub_missing);
    if (unlikely(!cmd)) return refuse(l, "Unknown command", l->argv[0]);
    if (unlikely(!command_arity_ok(cmd, l->item.argc)))
        return refuse(l, "Wrong number of arguments for", l->argv[0]);
    switch (command_route(cmd, l->argv, l->item.argc)) {
    case ROUTE_KEYS: return run_keys(w, l, cmd);
    case ROUTE_ALL:
        if (splits(cmd)) {
            run_own(w, l, cmd, l->argv, l->item.argc);
            return 0;
        }
        return run_together(w, l, cmd, (uint32_t)(((uint64_t)1 << w->hub->count) - 1));
    case ROUTE_HERE: return run_here(w, l, cmd);
    default: return 0; /* SCAN, PUBLISH: nobody to hear it */
    }
}

/* The next command; false: the log's end, or *rc says what went wrong. */
static bool next_command(struct loader *l, const struct load_file *f, int *rc)
{
    *rc = 0;
    while (!l->has_item) {
        if (aof_in_offset(l->log) >= f->valid) return false;
        *rc = aof_in_next(l->log, &l->item);
        if (*rc > 0) *rc = refuse(l, "The file has changed:", slice_str(f->name));
        if (*rc != 0 || l->item.kind == AOF_ITEM_END) return false;
        if (l->item.kind != AOF_ITEM_COMMAND) continue;
        if (!take_args(l)) {
            *rc = refuse(l, "Out of memory for", slice_of(l->item.argv[0].ptr, 0));
            return false;
        }
        l->has_item = true;
    }
    return true;
}

int load_run_bytes(struct worker *w, struct loader *l, const struct load_file *f, uint64_t bytes)
{
    int rc;
    uint64_t until = aof_in_offset(l->log) + bytes;
    while (aof_in_offset(l->log) < until) {
        if (!next_command(l, f, &rc)) return rc < 0 ? rc : LOAD_DONE;
        rc = run_item(w, l);
        if (rc != 0) return rc;
        l->has_item = false;
    }
    return 0;
}
