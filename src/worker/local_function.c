/* FCALL, and FUNCTION with its subcommands.
 *
 * FCALL runs as EVAL does (script.c). FUNCTION's subcommands speak to the store that all workers
 * share (functions.c) and are answered at once, but for KILL and STATS, which ask every worker what
 * it runs. LOAD and RESTORE run the libraries' texts here, before anything changes: within half a
 * second each as in Redis, and the texts of one payload within five.
 * Source: https://redis.io/docs/latest/commands/?group=scripting
 * Thread: FCALL: holder of the shards; STATS' parts: each worker; the rest: the connection's
 * worker. */
#include "conn.h"
#include "fanout.h"
#include "functions.h"
#include "journal.h"
#include "script.h"
#include "splitring/base/mem.h"
#include "splitring/base/num.h"
#include "splitring/io/os.h"
#include "splitring/persist/functions.h"

#define LOAD_US 500000
#define RESTORE_US 5000000

static void reply_text(struct call *c, struct buf *error)
{
    if (error->failed || error->len == 0)
        reply_error(&c->reply, ERR_NO_MEMORY);
    else
        reply_error_text(&c->reply, error->ptr, error->len);
}

/* ---- FCALL ---- */

static bool count_keys(struct call *c, int *key_count)
{
    int64_t count;
    if (!num_parse_i64(c->argv[2], &count)) {
        reply_error(&c->reply, ERR_FUNCTION_KEY_COUNT);
        return false;
    }
    return script_count_keys(c, 2, key_count);
}

static void fcall(struct call *c, bool read_only)
{
    struct buf error = {0};
    int key_count;
    script_begin(c);
    struct script *script = functions_find(c->worker, c->argv[1], &error);
    if (!script)
        reply_text(c, &error);
    else if (count_keys(c, &key_count))
        script_invoke(c, script, 2, key_count, read_only, true);
    buf_deinit(&error);
}

void cmd_fcall(struct call *c) { fcall(c, false); }

void cmd_fcall_ro(struct call *c) { fcall(c, true); }

/* ---- LOAD, RESTORE ---- */

/* Changes and their records are in one order: no shard is held that would see to it. Stated so that
 * a base made in between, which has the change already, takes it once more: replacing. */
static bool put(struct call *c, struct library **items, size_t count, enum functions_change how,
                struct buf *error)
{
    struct hub *hub = c->worker->hub;
    struct slice function = SLICE("FUNCTION"), replace = SLICE("REPLACE");
    bool payload = call_is(c, 1, "restore");
    journal_turn_take(hub);
    bool done = functions_put(hub, items, count, how, error);
    if (done) c->dirty++;
    if (done && how == FUNCTIONS_FLUSH)
        effect_verbatim(c);
    else if (done && payload)
        EFFECT(c, function, c->argv[1], c->argv[2], replace);
    else if (done)
        EFFECT(c, function, c->argv[1], replace, c->argv[c->argc - 1]);
    journal_state_now(c->worker);
    journal_turn_give(hub);
    return done;
}

void cmd_function_load(struct call *c)
{
    struct buf error = {0};
    bool replace = false;
    for (int i = 2; i < c->argc - 1; i++) {
        replace = call_is(c, i, "replace");
        if (replace) continue;
        int len = (int)(c->argv[i].len < 4096 ? c->argv[i].len : 4096);
        reply_errorf(&c->reply, ERR_FUNCTION_LOAD_OPTION, len, c->argv[i].ptr);
        return;
    }
    struct slice text = c->argv[c->argc - 1];
    struct library *library =
        functions_make(c->worker, text, replace, os_mono_us() + LOAD_US, &error);
    if (library) {
        struct buf name = {0};
        buf_append_slice(&name, library->name);
        if (put(c, &library, 1, replace ? FUNCTIONS_REPLACE : FUNCTIONS_APPEND, &error))
            reply_bulk_slice(&c->reply, buf_slice(&name));
        else
            library = NULL;
        buf_deinit(&name);
    }
    if (!library) reply_text(c, &error);
    buf_deinit(&error);
}

struct restoring {
    struct call *call;
    struct library **items;
    size_t count, cap;
    int64_t deadline_us; /* of all together */
    struct buf error;
};

static bool restore_one(void *ctx, struct slice text)
{
    struct restoring *r = ctx;
    if (r->count == r->cap) {
        size_t cap = r->cap ? r->cap * 2 : 16;
        struct library **more = mem_try_realloc(r->items, cap * sizeof *more);
        if (!more) return false;
        r->items = more;
        r->cap = cap;
    }
    int64_t deadline_us = os_mono_us() + LOAD_US;
    if (deadline_us > r->deadline_us) deadline_us = r->deadline_us;
    struct library *library =
        functions_make(r->call->worker, text, true, deadline_us, &r->error);
    if (library) r->items[r->count++] = library;
    return library != NULL;
}

static void restore(struct call *c, enum functions_change how)
{
    struct restoring r = {.call = c, .deadline_us = os_mono_us() + RESTORE_US};
    int rc = rdb_each_function(c->argv[2], restore_one, &r);
    bool done = false;
    if (rc == 0)
        done = put(c, r.items, r.count, how, &r.error);
    else
        for (size_t i = 0; i < r.count; i++) library_unref(r.items[i]);
    if (done)
        reply_ok(&c->reply);
    else if (rc == RDB_E_PAYLOAD)
        reply_error(&c->reply, ERR_FUNCTION_PAYLOAD);
    else if (rc == RDB_E_NO_FUNCTION)
        reply_error(&c->reply, ERR_FUNCTION_PAYLOAD_TYPE);
    else if (rc == RDB_E_FORMAT)
        reply_error(&c->reply, ERR_FUNCTION_PAYLOAD_DAMAGED);
    else
        reply_text(c, &r.error);
    mem_free(r.items);
    buf_deinit(&r.error);
}

void cmd_function_restore(struct call *c)
{
    if (c->argc > 4) {
        int len = (int)(c->argv[1].len < 128 ? c->argv[1].len : 128);
        reply_errorf(&c->reply, ERR_SUBCOMMAND_SYNTAX, len, c->argv[1].ptr, "FUNCTION");
    } else if (c->argc == 3 || call_is(c, 3, "append")) {
        restore(c, FUNCTIONS_APPEND);
    } else if (call_is(c, 3, "replace")) {
        restore(c, FUNCTIONS_REPLACE);
    } else if (call_is(c, 3, "flush")) {
        restore(c, FUNCTIONS_FLUSH);
    } else {
        reply_error(&c->reply, ERR_FUNCTION_RESTORE_POLICY);
    }
}

/* ---- DELETE, FLUSH, DUMP ---- */

void cmd_function_delete(struct call *c)
{
    struct buf error = {0};
    struct hub *hub = c->worker->hub;
    journal_turn_take(hub);
    bool done = functions_remove(hub, c->argv[2], &error);
    if (done) effect_verbatim(c);
    journal_state_now(c->worker);
    journal_turn_give(hub);
    if (done) {
        c->dirty++;
        reply_ok(&c->reply);
    } else if (error.len) {
        reply_text(c, &error);
    } else {
        reply_error(&c->reply, ERR_FUNCTION_NO_LIBRARY);
    }
    buf_deinit(&error);
}

void cmd_function_flush(struct call *c)
{
    struct buf error = {0};
    if (c->argc > 3) {
        int len = (int)(c->argv[1].len < 128 ? c->argv[1].len : 128);
        reply_errorf(&c->reply, ERR_SUBCOMMAND_SYNTAX, len, c->argv[1].ptr, "FUNCTION");
    } else if (c->argc == 3 && !call_is(c, 2, "sync") && !call_is(c, 2, "async")) {
        reply_error(&c->reply, ERR_FUNCTION_FLUSH_MODE);
    } else if (put(c, NULL, 0, FUNCTIONS_FLUSH, &error)) {
        reply_ok(&c->reply);
    } else {
        reply_text(c, &error);
    }
    buf_deinit(&error);
}

void cmd_function_dump(struct call *c)
{
    struct hub *hub = c->worker->hub;
    struct library_set *set = functions_take(hub);
    struct buf payload = {0};
    struct slice *texts = mem_try_alloc((set->count + 1) * sizeof *texts);
    if (texts) {
        for (size_t i = 0; i < set->count; i++) texts[i] = set->items[i]->text;
        rdb_dump_functions(texts, set->count, true, &payload);
    }
    functions_drop(hub, set);
    if (!texts || payload.failed)
        reply_error(&c->reply, ERR_NO_MEMORY);
    else
        reply_bulk_slice(&c->reply, buf_slice(&payload));
    mem_free(texts);
    buf_deinit(&payload);
}

/* ---- LIST ---- */

static void list_function(struct reply *r, const struct library_function *f)
{
    reply_map(r, 3);
    reply_bulk_str(r, "name");
    reply_bulk_slice(r, f->name);
    reply_bulk_str(r, "description");
    if (f->description.ptr)
        reply_bulk_slice(r, f->description);
    else
        reply_null(r);
    reply_bulk_str(r, "flags");
    reply_set(r, (size_t)__builtin_popcount(f->flags));
    for (unsigned bit = 0; library_flag_name(bit); bit++)
        if (f->flags >> bit & 1u) reply_simple(r, library_flag_name(bit));
}

static void list_library(struct reply *r, const struct library *library, bool with_code)
{
    reply_map(r, with_code ? 4 : 3);
    reply_bulk_str(r, "library_name");
    reply_bulk_slice(r, library->name);
    reply_bulk_str(r, "engine");
    reply_bulk_str(r, "LUA");
    reply_bulk_str(r, "functions");
    reply_array(r, library->function_count);
    for (size_t i = 0; i < library->function_count; i++) list_function(r, &library->functions[i]);
    if (!with_code) return;
    reply_bulk_str(r, "library_code");
    reply_bulk_slice(r, library->text);
}

void cmd_function_list(struct call *c)
{
    bool with_code = false, by_name = false;
    struct slice pattern = SLICE("*");
    for (int i = 2; i < c->argc; i++) {
        if (!with_code && call_is(c, i, "withcode")) {
            with_code = true;
        } else if (!by_name && call_is(c, i, "libraryname")) {
            if (++i >= c->argc) {
                reply_error(&c->reply, ERR_FUNCTION_LIST_NAME);
                return;
            }
            by_name = true;
            pattern = c->argv[i];
        } else {
            int len = (int)(c->argv[i].len < 4096 ? c->argv[i].len : 4096);
            reply_errorf(&c->reply, ERR_FUNCTION_LIST_ARGUMENT, len, c->argv[i].ptr);
            return;
        }
    }
    struct library_set *set = functions_take(c->worker->hub);
    size_t mark = reply_deferred_begin(&c->reply), count = 0;
    for (size_t i = 0; i < set->count; i++) {
        const struct library *library = set->items[i];
        if (by_name && !slice_glob(pattern, library->name, true)) continue;
        list_library(&c->reply, library, with_code);
        count++;
    }
    reply_deferred_array(&c->reply, mark, count);
    functions_drop(c->worker->hub, set);
}

/* ---- STATS, KILL, HELP ---- */

static void stats_part(struct worker *w, struct fanout *f)
{
    struct reply reply = {.out = &f->out[w->id], .proto = f->proto};
    f->number[w->id] = script_describe(w, &reply);
}

static void stats_done(struct worker *w, struct fanout *f, struct conn *c, struct reply *reply)
{
    const struct buf *running = NULL;
    bool script = false;
    (void)c;
    if (!reply) return;
    for (unsigned i = 0; i < w->hub->count; i++) {
        if (f->out[i].len) running = &f->out[i];
        script |= f->number[i] != 0;
    }
    if (script && !running) {
        reply_error(reply, ERR_BUSY);
        return;
    }
    struct library_set *set = functions_take(w->hub);
    reply_map(reply, 2);
    reply_bulk_str(reply, "running_script");
    if (running)
        reply_raw(reply, running->ptr, running->len);
    else
        reply_null(reply);
    reply_bulk_str(reply, "engines");
    reply_map(reply, 1);
    reply_bulk_str(reply, "LUA");
    reply_map(reply, 2);
    reply_bulk_str(reply, "libraries_count");
    reply_int(reply, (int64_t)set->count);
    reply_bulk_str(reply, "functions_count");
    reply_int(reply, (int64_t)set->function_count);
    functions_drop(w->hub, set);
}

void cmd_function_stats(struct call *c)
{
    fanout_start(fanout_new(c->worker, c->conn, stats_part, stats_done, NULL), false);
}

void cmd_function_kill(struct call *c) { script_kill_start(c, true); }

void cmd_function_help(struct call *c)
{
    static const char *const lines[] = {
        "LOAD [REPLACE] <FUNCTION CODE>",
        "    Create a new library with the given library name and code.",
        "DELETE <LIBRARY NAME>",
        "    Delete the given library.",
        "LIST [LIBRARYNAME PATTERN] [WITHCODE]",
        "    Return general information on all the libraries:",
        "    * Library name",
        "    * The engine used to run the Library",
        "    * Library description",
        "    * Functions list",
        "    * Library code (if WITHCODE is given)",
        "    It also possible to get only function that matches a pattern using LIBRARYNAME "
        "argument.",
        "STATS",
        "    Return information about the current function running:",
        "    * Function name",
        "    * Command used to run the function",
        "    * Duration in MS that the function is running",
        "    If no function is running, return nil",
        "    In addition, returns a list of available engines.",
        "KILL",
        "    Kill the current running function.",
        "FLUSH [ASYNC|SYNC]",
        "    Delete all the libraries.",
        "    When called without the optional mode argument, the behavior is determined by the",
        "    lazyfree-lazy-user-flush configuration directive. Valid modes are:",
        "    * ASYNC: Asynchronously flush the libraries.",
        "    * SYNC: Synchronously flush the libraries.",
        "DUMP",
        "    Return a serialized payload representing the current libraries, can be restored using "
        "FUNCTION RESTORE command",
        "RESTORE <PAYLOAD> [FLUSH|APPEND|REPLACE]",
        "    Restore the libraries represented by the given payload, it is possible to give a "
        "restore policy to",
        "    control how to handle existing libraries (default APPEND):",
        "    * FLUSH: delete all existing libraries.",
        "    * APPEND: appends the restored libraries to the existing libraries. On collision, "
        "abort.",
        "    * REPLACE: appends the restored libraries to the existing libraries, On collision, "
        "replace the old",
        "      libraries with the new libraries (notice that even on this option there is a chance "
        "of failure",
        "      in case of functions name collision with another library).",
        NULL};
    call_help(c, lines);
}
