/* Commands on keys whatever their values: DEL, EXISTS, RENAME, COPY, MOVE, TYPE, OBJECT and MEMORY
 * USAGE.
 *
 * Nobody here asks where a key lives. A handler sees one shard, or all of them, or a scratch shard
 * with copies of its keys; DEL and its like run once per shard with that shard's keys only.
 * RENAME and COPY replace what is at the destination in one step, so that a lack of memory leaves
 * both keys as they were.
 * Source: https://redis.io/docs/latest/commands/?group=generic ; redis src/db.c, src/object.c
 * Thread: holder of the call's shards. */
#include "splitring/base/mem.h"
#include "splitring/cmd/call.h"
#include "splitring/cmd/handlers.h"

/* Keys that a lookup shall not make younger (EXISTS, TYPE, TTL, OBJECT). */
static struct entry *read_quietly(struct call *c, int i)
{
    struct ks ks = c->ks;
    ks.flags |= KS_NO_TOUCH;
    return ks_read(&ks, c->argv[i]);
}

/* ---- DEL, UNLINK, EXISTS, TOUCH ---- */

#define FEW_KEYS 32

/* States the removal of those keys that were there: `gone` of them, in argument order. */
struct removed {
    struct slice few[FEW_KEYS + 1];
    struct slice *argv; /* NULL: memory is out, every key is stated by itself */
    int count;          /* with the command's name */
};

static void removed_begin(struct call *c, struct removed *r)
{
    r->argv = r->few;
    if (c->argc > FEW_KEYS + 1) r->argv = mem_try_alloc((size_t)c->argc * sizeof(*r->argv));
    r->count = 1;
    if (r->argv) r->argv[0] = c->argv[0];
}

static void removed_add(struct call *c, struct removed *r, struct slice key)
{
    if (r->argv) r->argv[r->count] = key;
    else EFFECT(c, c->argv[0], key);
    r->count++;
}

static void removed_end(struct call *c, struct removed *r)
{
    if (r->argv && r->count > 1) {
        if (r->count == c->argc) effect_verbatim(c);
        else effect_args(c, r->count, r->argv);
    }
    if (r->argv != r->few) mem_free(r->argv);
}

static void delete_keys(struct call *c, bool async)
{
    struct removed removed;
    removed_begin(c, &removed);
    for (int i = 1; i < c->argc; i++) {
        if (!ks_delete(&c->ks, c->argv[i], async)) continue;
        c->dirty++;
        call_event(c, c->argv[i], EVENT_GENERIC, "del");
        removed_add(c, &removed, c->argv[i]);
    }
    int64_t count = removed.count - 1;
    removed_end(c, &removed);
    reply_int(&c->reply, count);
}

void cmd_del(struct call *c) { delete_keys(c, c->env->lazyfree_user_del); }

void cmd_unlink(struct call *c) { delete_keys(c, true); }

void cmd_exists(struct call *c)
{
    int64_t count = 0;
    for (int i = 1; i < c->argc; i++) count += read_quietly(c, i) != NULL;
    reply_int(&c->reply, count);
}

void cmd_touch(struct call *c)
{
    struct ks ks = c->ks;
    ks.flags &= (uint8_t)~KS_NO_TOUCH; /* also for a client that asked for NO-TOUCH */
    int64_t count = 0;
    for (int i = 1; i < c->argc; i++) count += ks_read(&ks, c->argv[i]) != NULL;
    reply_int(&c->reply, count);
}

void cmd_type(struct call *c)
{
    const struct entry *e = read_quietly(c, 1);
    reply_simple(&c->reply, e ? type_name(entry_type(e)) : "none");
}

/* ---- RENAME, COPY, MOVE ---- */

/* True: done, the effect is stated. False: memory is out, the error is written. */
static bool written(struct call *c, int rc)
{
    if (rc < 0) {
        reply_error(&c->reply, ERR_NO_MEMORY);
        return false;
    }
    c->dirty++;
    effect_verbatim(c);
    return true;
}

static void rename_key(struct call *c, bool only_if_free)
{
    struct slice from = c->argv[1], to = c->argv[2];
    if (!ks_find(&c->ks, from)) {
        reply_error(&c->reply, ERR_NO_SUCH_KEY);
        return;
    }
    bool free = !slice_equal(from, to) && !ks_find(&c->ks, to);
    if (only_if_free && !free) {
        reply_int(&c->reply, 0);
        return;
    }
    if (!slice_equal(from, to)) {
        if (!written(c, ks_move(&c->ks, from, c->ks.db, to))) return;
        call_event(c, from, EVENT_GENERIC, "rename_from");
        call_event(c, to, EVENT_GENERIC, "rename_to");
    }
    if (only_if_free) reply_int(&c->reply, 1);
    else reply_ok(&c->reply);
}

void cmd_rename(struct call *c) { rename_key(c, false); }

void cmd_renamenx(struct call *c) { rename_key(c, true); }

/* Argument i as the number of a database. False: the error is written. */
static bool arg_db(struct call *c, int i, db_id *db)
{
    int64_t number;
    if (!call_int(c, i, &number)) return false;
    if (number < INT32_MIN || number > INT32_MAX) {
        reply_errorf(&c->reply, ERR_OUT_OF_RANGE_BETWEEN, (long long)INT32_MIN,
                     (long long)INT32_MAX);
        return false;
    }
    if (number < 0 || number >= (int64_t)c->env->databases) {
        reply_error(&c->reply, ERR_DB_INDEX);
        return false;
    }
    *db = (db_id)number;
    return true;
}

void cmd_copy(struct call *c)
{
    struct slice from = c->argv[1], to = c->argv[2];
    bool replace = false;
    db_id db = c->ks.db;
    for (int i = 3; i < c->argc; i++) {
        if (call_is(c, i, "replace")) {
            replace = true;
        } else if (call_is(c, i, "db") && i + 1 < c->argc) {
            if (!arg_db(c, ++i, &db)) return;
        } else {
            reply_error(&c->reply, ERR_SYNTAX);
            return;
        }
    }
    if (db == c->ks.db && slice_equal(from, to)) {
        reply_error(&c->reply, ERR_SAME_OBJECT);
        return;
    }
    struct ks target = ks_in_db(&c->ks, db);
    if (!ks_read(&c->ks, from) || (ks_find(&target, to) && !replace)) {
        reply_int(&c->reply, 0);
        return;
    }
    if (!written(c, ks_copy(&c->ks, from, db, to))) return;
    ks_notify(&target, EVENT_GENERIC, "copy_to", to);
    reply_int(&c->reply, 1);
}

void cmd_move(struct call *c)
{
    struct slice key = c->argv[1];
    db_id db;
    if (!arg_db(c, 2, &db)) return;
    if (db == c->ks.db) {
        reply_error(&c->reply, ERR_SAME_OBJECT);
        return;
    }
    struct ks target = ks_in_db(&c->ks, db);
    if (!ks_find(&c->ks, key) || ks_find(&target, key)) {
        reply_int(&c->reply, 0);
        return;
    }
    if (!written(c, ks_move(&c->ks, key, db, key))) return;
    call_event(c, key, EVENT_GENERIC, "move_from");
    ks_notify(&target, EVENT_GENERIC, "move_to", key);
    reply_int(&c->reply, 1);
}

/* ---- OBJECT, MEMORY USAGE ---- */

/* NULL: absent, the reply is written. */
static const struct entry *object_entry(struct call *c)
{
    struct ks ks = c->ks;
    ks.flags |= KS_NO_TOUCH | KS_SILENT;
    const struct entry *e = ks_read(&ks, c->argv[2]);
    if (!e) reply_null(&c->reply);
    return e;
}

void cmd_object_encoding(struct call *c)
{
    const struct entry *e = object_entry(c);
    if (e) reply_bulk_str(&c->reply, entry_encoding(e));
}

void cmd_object_freq(struct call *c)
{
    const struct entry *e = object_entry(c);
    if (!e) return;
    if (ks_lfu(&c->ks)) reply_int(&c->reply, entry_freq(&c->ks, e));
    else reply_error(&c->reply, ERR_LFU_NOT_SELECTED);
}

void cmd_object_idletime(struct call *c)
{
    const struct entry *e = object_entry(c);
    if (!e) return;
    if (ks_lfu(&c->ks)) reply_error(&c->reply, ERR_LFU_SELECTED);
    else reply_int(&c->reply, entry_idle_s(&c->ks, e));
}

/* Redis keeps the numbers below 10000 as shared objects and shows so. */
#define SHARED_INTEGERS 10000
void cmd_object_refcount(struct call *c)
{
    const struct entry *e = object_entry(c);
    int64_t number;
    if (!e) return;
    bool shared = entry_is_int(e, &number) && number >= 0 && number < SHARED_INTEGERS;
    reply_int(&c->reply, shared ? INT32_MAX : 1);
}

void cmd_object_help(struct call *c)
{
    static const char *const lines[] = {
        "ENCODING <key>",
        "    Return the kind of internal representation used in order to store the value",
        "    associated with a <key>.",
        "FREQ <key>",
        "    Return the access frequency index of the <key>. The returned integer is",
        "    proportional to the logarithm of the recent access frequency of the key.",
        "IDLETIME <key>",
        "    Return the idle time of the <key>, that is the approximated number of",
        "    seconds elapsed since the last access to the key.",
        "REFCOUNT <key>",
        "    Return the number of references of the value associated with the specified",
        "    <key>.",
        NULL,
    };
    call_help(c, lines);
}

void cmd_memory_usage(struct call *c)
{
    int64_t samples;
    for (int i = 3; i < c->argc; i += 2) {
        if (!call_is(c, i, "samples") || i + 1 == c->argc) {
            reply_error(&c->reply, ERR_SYNTAX);
            return;
        }
        if (!call_int(c, i + 1, &samples)) return;
        if (samples < 0) {
            reply_error(&c->reply, ERR_SYNTAX);
            return;
        }
    }
    const struct entry *e = ks_peek(&c->ks, c->argv[2]);
    if (e) reply_int(&c->reply, (int64_t)entry_bytes(e));
    else reply_null(&c->reply);
}
