/* Commands on whole databases: SCAN, KEYS, RANDOMKEY, DBSIZE, FLUSHDB, FLUSHALL, SWAPDB.
 *
 * A SCAN cursor is a position in hash order and a shard: position × shards + shard. Every call
 * walks one shard; at its end it answers the start of the next one, and 0 after the last. Positions
 * survive growth and shrinking of the table, so every key that is there from the first call to the
 * last is seen at least once. A page may be empty, as in Redis.
 * The other commands act on the shards of their view, one or all.
 * Source: https://redis.io/docs/latest/commands/scan/ ; redis src/db.c
 * Thread: holder of the call's shards. */
#include "cmd/scan_members.h"
#include "splitring/base/num.h"
#include "splitring/cmd/call.h"
#include "splitring/cmd/route.h"
#include "splitring/cmd/handlers.h"

/* ---- SCAN ---- */

int cmd_scan_shard(const struct slice *argv, int argc, uint32_t shard_count)
{
    uint64_t cursor;
    if (argc < 2 || !scan_parse_cursor(argv[1], &cursor)) return -1;
    return (int)(cursor % shard_count);
}

struct scan {
    struct reply *reply;
    struct slice pattern; /* ptr NULL: all */
    int type;             /* SCAN_TYPE_ANY, SCAN_TYPE_UNKNOWN or enum value_type */
    size_t found;
};
#define SCAN_TYPE_ANY (-1)
#define SCAN_TYPE_UNKNOWN (-2)

static void scan_visit(void *ctx, const struct entry *e)
{
    struct scan *scan = ctx;
    if (scan->type != SCAN_TYPE_ANY && scan->type != (int)entry_type(e)) return;
    struct slice key = entry_key(e);
    if (scan->pattern.ptr && !slice_glob(scan->pattern, key, false)) return;
    reply_bulk_slice(scan->reply, key);
    scan->found++;
}

static int type_by_name(struct slice name)
{
    for (int type = TYPE_STRING; type <= TYPE_STREAM; type++) {
        if (slice_is_word(name, type_name((enum value_type)type))) return type;
    }
    return SCAN_TYPE_UNKNOWN;
}

/* False: the error is written. */
static bool parse_scan_options(struct call *c, struct scan *scan, int64_t *count)
{
    for (int i = 2; i < c->argc; i += 2) {
        bool more = i + 1 < c->argc;
        if (more && call_is(c, i, "count")) {
            if (!call_int(c, i + 1, count)) return false;
            if (*count >= 1) continue;
        } else if (more && call_is(c, i, "match")) {
            scan->pattern = c->argv[i + 1];
            if (slice_equal(scan->pattern, SLICE("*"))) scan->pattern = slice_of(NULL, 0);
            continue;
        } else if (more && call_is(c, i, "type")) {
            scan->type = type_by_name(c->argv[i + 1]);
            continue;
        }
        reply_error(&c->reply, ERR_SYNTAX);
        return false;
    }
    return true;
}

void cmd_scan(struct call *c)
{
    struct scan scan = {.reply = &c->reply, .type = SCAN_TYPE_ANY};
    int64_t count = 10;
    uint64_t cursor;
    if (!scan_parse_cursor(c->argv[1], &cursor)) {
        reply_error(&c->reply, ERR_INVALID_CURSOR);
        return;
    }
    if (!parse_scan_options(c, &scan, &count)) return;
    uint32_t shards = c->env->shard_count, shard = (uint32_t)(cursor % shards);
    struct ks ks = c->ks;
    if (!ks.shard) ks.shard = ks.shards[shard];

    /* The cursor stands before the keys and is known after them. */
    struct buf keys = {0};
    struct reply page = {.out = &keys, .proto = c->reply.proto};
    scan.reply = &page;
    uint64_t next = ks_scan(&ks, cursor / shards, (size_t)count, scan_visit, &scan);
    if (next != 0) next = next * shards + shard;
    else if (shard + 1 < shards) next = shard + 1;
    char text[NUM_I64_LEN_MAX];
    reply_array(&c->reply, 2);
    reply_bulk(&c->reply, text, num_format_u64(text, next));
    reply_array(&c->reply, scan.found);
    reply_raw(&c->reply, keys.ptr, keys.len);
    if (keys.failed) c->reply.out->failed = true;
    buf_deinit(&keys);
}

/* ---- KEYS, RANDOMKEY, DBSIZE ---- */

void cmd_keys(struct call *c)
{
    struct scan scan = {.reply = &c->reply, .type = SCAN_TYPE_ANY, .pattern = c->argv[1]};
    if (slice_equal(scan.pattern, SLICE("*"))) scan.pattern = slice_of(NULL, 0);
    size_t mark = reply_deferred_begin(&c->reply);
    ks_each(&c->ks, scan_visit, &scan);
    reply_deferred_array(&c->reply, mark, scan.found);
}

void cmd_randomkey(struct call *c)
{
    const struct entry *e = ks_random(&c->ks, c->rng);
    if (e) reply_bulk_slice(&c->reply, entry_key(e));
    else reply_null(&c->reply);
}

void cmd_dbsize(struct call *c) { reply_int(&c->reply, (int64_t)ks_db_keys(&c->ks, c->ks.db)); }

/* ---- FLUSHDB, FLUSHALL, SWAPDB ---- */

/* SYNC, ASYNC or the setting. False: the error is written. */
static bool parse_flush(struct call *c, bool *async)
{
    *async = c->env->lazyfree_user_flush;
    if (c->argc == 1) return true;
    if (c->argc == 2 && (call_is(c, 1, "sync") || call_is(c, 1, "async"))) {
        *async = call_is(c, 1, "async");
        return true;
    }
    reply_error(&c->reply, ERR_SYNTAX);
    return false;
}

/* Stated even where nothing was there: replicas may hold keys that have expired here. */
static void flushed(struct call *c, size_t count)
{
    c->dirty += count + 1;
    effect_verbatim(c);
    reply_ok(&c->reply);
}

void cmd_flushdb(struct call *c)
{
    bool async;
    if (!parse_flush(c, &async)) return;
    flushed(c, ks_flush_db(&c->ks, c->ks.db, async));
}

void cmd_flushall(struct call *c)
{
    bool async;
    if (!parse_flush(c, &async)) return;
    size_t count = 0;
    for (uint32_t db = 0; db < c->env->databases; db++) {
        count += ks_flush_db(&c->ks, (db_id)db, async);
    }
    flushed(c, count);
}

void cmd_swapdb(struct call *c)
{
    int64_t a, b;
    if (!call_int_range(c, 1, INT32_MIN, INT32_MAX, &a, ERR_INVALID_FIRST_DB)) return;
    if (!call_int_range(c, 2, INT32_MIN, INT32_MAX, &b, ERR_INVALID_SECOND_DB)) return;
    int64_t databases = c->env->databases;
    if (a < 0 || a >= databases || b < 0 || b >= databases) {
        reply_error(&c->reply, ERR_DB_INDEX);
        return;
    }
    ks_swap_db(&c->ks, (db_id)a, (db_id)b);
    c->dirty++;
    effect_verbatim(c);
    reply_ok(&c->reply);
}
