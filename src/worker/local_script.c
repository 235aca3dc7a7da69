/* EVAL and its like, SCRIPT and its subcommands.
 *
 * EVAL runs where its keys are (script.c). SCRIPT LOAD, EXISTS, FLUSH and SHOW speak to the store
 * that all workers share, so they are answered at once; SCRIPT KILL asks every worker.
 * Source: https://redis.io/docs/latest/commands/?group=scripting
 * Thread: EVAL: holder of the shards; the rest: the connection's worker. */
#include <string.h>

#include "conn.h"
#include "fanout.h"
#include "script.h"
#include "splitring/base/mem.h"

/* ---- EVAL ---- */

static void eval(struct call *c, bool read_only)
{
    int key_count;
    script_begin(c);
    if (!script_count_keys(c, 2, &key_count)) return;
    struct script *script = script_of_text(c, c->argv[1], false);
    if (script) script_invoke(c, script, 2, key_count, read_only, false);
}

static void evalsha(struct call *c, bool read_only)
{
    int key_count;
    script_begin(c);
    if (c->argv[1].len != SCRIPT_SHA_LEN) {
        reply_error(&c->reply, ERR_NOSCRIPT);
        return;
    }
    if (!script_count_keys(c, 2, &key_count)) return;
    struct script *script = script_of_sha(c->worker, c->argv[1]);
    if (script)
        script_invoke(c, script, 2, key_count, read_only, false);
    else
        reply_error(&c->reply, ERR_NOSCRIPT);
}

void cmd_eval(struct call *c) { eval(c, false); }

void cmd_eval_ro(struct call *c) { eval(c, true); }

void cmd_evalsha(struct call *c) { evalsha(c, false); }

void cmd_evalsha_ro(struct call *c) { evalsha(c, true); }

/* ---- SCRIPT ---- */

void cmd_script_load(struct call *c)
{
    const struct script *script = script_of_text(c, c->argv[2], true);
    if (script) reply_bulk(&c->reply, script->sha, SCRIPT_SHA_LEN);
}

void cmd_script_exists(struct call *c)
{
    struct hub *hub = c->worker->hub;
    reply_array(&c->reply, (size_t)c->argc - 2);
    script_store_lock(hub);
    for (int i = 2; i < c->argc; i++)
        reply_int(&c->reply, script_store_find(hub->scripts, c->argv[i]) != NULL);
    script_store_unlock(hub);
}

void cmd_script_show(struct call *c)
{
    struct hub *hub = c->worker->hub;
    script_store_lock(hub);
    const struct slice *text = script_store_find(hub->scripts, c->argv[2]);
    if (text)
        reply_bulk_slice(&c->reply, *text);
    else
        reply_error(&c->reply, ERR_SCRIPT_NO_SUCH);
    script_store_unlock(hub);
}

void cmd_script_flush(struct call *c)
{
    struct hub *hub = c->worker->hub;
    if (c->argc > 3 || (c->argc == 3 && !call_is(c, 2, "sync") && !call_is(c, 2, "async"))) {
        reply_error(&c->reply, ERR_SCRIPT_FLUSH_MODE);
        return;
    }
    script_store_lock(hub);
    script_store_flush(hub->scripts);
    script_store_unlock(hub);
    reply_ok(&c->reply);
}

void cmd_script_debug(struct call *c)
{
    if (call_is(c, 2, "no"))
        reply_ok(&c->reply);
    else if (call_is(c, 2, "yes") || call_is(c, 2, "sync"))
        reply_error(&c->reply, ERR_SCRIPT_NO_DEBUGGER);
    else
        reply_error(&c->reply, ERR_SCRIPT_DEBUG_MODE);
}

/* ---- KILL ---- */

static void kill_part(struct worker *w, struct fanout *f)
{
    f->number[w->id] = script_kill(w, f->arg != NULL);
}

static void kill_done(struct worker *w, struct fanout *f, struct conn *c, struct reply *reply)
{
    int64_t what = SCRIPT_NONE;
    (void)c;
    for (unsigned i = 0; i < w->hub->count; i++) what |= f->number[i];
    if (!reply) return;
    if (what & SCRIPT_KILLED)
        reply_ok(reply);
    else if (what & SCRIPT_UNKILLABLE)
        reply_error(reply, ERR_SCRIPT_UNKILLABLE);
    else if (what & SCRIPT_OF_OTHER_KIND)
        reply_error(reply, f->arg ? ERR_BUSY : ERR_SCRIPT_BUSY_FUNCTION);
    else
        reply_error(reply, ERR_SCRIPT_NOT_BUSY);
}

void script_kill_start(struct call *c, bool functions)
{
    void *arg = functions ? mem_zalloc(1) : NULL;
    fanout_start(fanout_new(c->worker, c->conn, kill_part, kill_done, arg), false);
}

void cmd_script_kill(struct call *c) { script_kill_start(c, false); }

void cmd_script_help(struct call *c)
{
    static const char *const lines[] = {
        "DEBUG (YES|SYNC|NO)",
        "    Set the debug mode for subsequent scripts executed.",
        "EXISTS <sha1> [<sha1> ...]",
        "    Return information about the existence of the scripts in the script cache.",
        "FLUSH [ASYNC|SYNC]",
        "    Flush the Lua scripts cache. Very dangerous on replicas.",
        "    When called without the optional mode argument, the behavior is determined by the",
        "    lazyfree-lazy-user-flush configuration directive. Valid modes are:",
        "    * ASYNC: Asynchronously flush the scripts cache.",
        "    * SYNC: Synchronously flush the scripts cache.",
        "KILL",
        "    Kill the currently executing Lua script.",
        "LOAD <script>",
        "    Load a script into the scripts cache without executing it.",
        "SHOW <sha1>",
        "    Show a script from the scripts cache.",
        NULL};
    call_help(c, lines);
}
