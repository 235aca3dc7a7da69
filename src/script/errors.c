/* Errors between Lua and RESP.
 *
 * Since Redis 7 an error inside a script is a table {err = "CODE text"}, with source, line and
 * ignore_error_stats_update beside it where they are known. What ends a run becomes an error reply
 * that tells where: "… script: SHA, on @user_script:LINE.": the function that raised it, or the
 * caller if that is a C function. A handler around every run looks at the stack while it is there.
 * Thread: owner. */
#include <stdio.h>

#include "vm_impl.h"

void error_push(lua_State *L, struct slice text)
{
    while (text.len && (text.ptr[text.len - 1] == '\n' || text.ptr[text.len - 1] == '\r')) {
        text.len--;
    }
    bool coded = text.len && text.ptr[0] == '-';
    if (coded) text = slice_of(text.ptr + 1, text.len - 1);
    /* "-TEXT" without a blank has no code either. */
    bool whole = coded && memchr(text.ptr, ' ', text.len) != NULL;
    lua_createtable(L, 0, 2);
    lua_pushliteral(L, "err");
    if (whole) {
        lua_pushlstring(L, text.ptr, text.len);
    } else {
        lua_pushliteral(L, "ERR ");
        lua_pushlstring(L, text.ptr, text.len);
        lua_concat(L, 2);
    }
    lua_rawset(L, -3);
}

int error_raise(lua_State *L, const char *text)
{
    error_push(L, slice_str(text));
    return lua_error(L);
}

static bool is_users(const lua_Debug *at) { return strcmp(at->source, GUARD_SOURCE) != 0; }

void error_note_place(struct script_run *run, lua_State *L, int level)
{
    lua_Debug at, below;
    bool c_seen = false;
    for (; lua_getstack(L, level, &at); level++) {
        lua_getinfo(L, "Sl", &at);
        if (!is_users(&at)) continue;
        bool in_c = strcmp(at.what, "C") == 0;
        /* The outermost frame is our xpcall. */
        if (in_c && !lua_getstack(L, level + 1, &below)) break;
        if (!in_c || c_seen) {
            run->line = at.currentline;
            snprintf(run->source, sizeof(run->source), "%s", at.source);
            return;
        }
        c_seen = true;
    }
    /* "return redis.call(…)": LuaJIT leaves the caller's frame before the call. */
    run->line = 1;
    snprintf(run->source, sizeof(run->source), "%s",
             run->program && !run->program->is_function ? "@user_script" : "@user_function");
}

static int error_handler(lua_State *L)
{
    struct script_run *run = world_of(L)->current;
    if (run) error_note_place(run, L, 1);
    if (lua_istable(L, 1)) return 1;
    lua_pushvalue(L, lua_upvalueindex(1)); /* tostring */
    lua_pushvalue(L, 1);
    lua_call(L, 1, 1);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "err");
    lua_pushliteral(L, "ERR ");
    if (run && strcmp(lua_tostring(L, -4), "stack overflow") == 0) {
        /* LuaJIT does not say where. */
        lua_pushfstring(L, "%s:%d: stack overflow", run->source + 1, run->line);
    } else {
        lua_pushvalue(L, -4);
    }
    lua_concat(L, 2);
    lua_rawset(L, -3);
    return 1;
}

static void write_place(struct buf *text, const struct script_run *run)
{
    if (run->line == 0) return;
    buf_printf(text, " script: %s, on %s:%d.", run->program->name, run->source, run->line);
}

struct ending {
    const struct script_run *run;
    struct buf text;
    bool counted;
};

/* Protected: the error; world.arg is a struct ending. */
static int read_ending(lua_State *L)
{
    struct ending *e = world_of(L)->arg;
    size_t len;
    const char *text = NULL;
    if (lua_istable(L, 1)) {
        lua_pushliteral(L, "ignore_error_stats_update");
        lua_rawget(L, 1);
        e->counted = lua_toboolean(L, -1);
        lua_pushliteral(L, "err");
        lua_rawget(L, 1);
        text = lua_tolstring(L, -1, &len);
        if (text == NULL) {
            text = error_text(ERR_SCRIPT_UNKNOWN_ERROR);
            len = strlen(text);
        }
    } else {
        /* Out of memory, or an error in the handler: Lua's own text. */
        text = lua_tolstring(L, 1, &len);
        buf_append(&e->text, "ERR ", 4);
    }
    if (text) buf_append(&e->text, text, len);
    write_place(&e->text, e->run);
    return 0;
}

void error_reply_run(const struct script_run *run, lua_State *co, struct reply *out)
{
    struct ending e = {.run = run};
    lua_State *L = run->world->L;
    lua_pushvalue(L, SLOT_ENDING);
    lua_xmove(co, L, 1);
    run->world->arg = &e;
    if (lua_pcall(L, 1, 0, 0) != 0) lua_settop(L, SLOT_LAST);
    uint32_t errors = out->errors;
    if (e.text.len) {
        reply_error_text(out, e.text.ptr, e.text.len);
        if (e.counted) out->errors = errors;
    } else {
        reply_error(out, ERR_NO_MEMORY);
    }
    buf_deinit(&e.text);
}

void error_push_handlers(lua_State *L, int original)
{
    lua_pushcfunction(L, read_ending);
    lua_getfield(L, original, "tostring");
    lua_pushcclosure(L, error_handler, 1);
}

void error_reply_killed(const struct script_run *run, struct reply *out)
{
    struct buf text = {0};
    const char *killed = error_text(ERR_SCRIPT_KILLED);
    buf_append(&text, killed, strlen(killed));
    write_place(&text, run);
    if (text.failed) {
        reply_error(out, ERR_SCRIPT_KILLED);
    } else {
        reply_error_text(out, text.ptr, text.len);
    }
    buf_deinit(&text);
}
