/* The redis.* functions.
 *
 * redis.call hands its arguments to the host as slices of Lua's own strings (they stay on the stack
 * for as long as the call takes) and reads the reply from one buffer of the world: with up to
 * ARGS_NEAR arguments nothing is allocated but the values that the script gets.
 * Numbers are printed as Redis 7.2 does it: integers as such, the rest with the fewest digits that
 * read back as the same number.
 * Source: https://redis.io/docs/latest/develop/programmability/lua-api/
 * Thread: owner. */
#include "splitring/base/mem.h"
#include "splitring/base/num.h"
#include "splitring/base/sha1.h"
#include "splitring/base/version.h"
#include "vm_impl.h"

#define ARGS_NEAR 16
#define NUMBERS_NEAR 8
#define REPLY_KEEP (64u * 1024u)

struct args {
    struct slice near[ARGS_NEAR];
    char numbers[NUMBERS_NEAR][NUM_DOUBLE_LEN_MAX];
    struct slice *argv;
    int argc;
};

static struct slice number_slice(lua_State *L, struct args *a, int *numbers, int index)
{
    char text[NUM_DOUBLE_LEN_MAX], *to = *numbers < NUMBERS_NEAR ? a->numbers[*numbers] : text;
    size_t len = num_format_double(to, lua_tonumber(L, index));
    if (to != text) {
        ++*numbers;
        return slice_of(to, len);
    }
    lua_pushlstring(L, text, len);
    lua_replace(L, index);
    return slice_of(lua_tostring(L, index), len);
}

/* False: an error table has been pushed. */
static bool read_args(lua_State *L, struct args *a)
{
    a->argc = lua_gettop(L);
    if (a->argc == 0) {
        error_push(L, SLICE("Please specify at least one argument for this redis lib call"));
        return false;
    }
    struct slice *argv = a->near;
    if (a->argc > ARGS_NEAR) {
        struct world *w = world_of(L);
        if ((size_t)a->argc > w->argv_cap) {
            struct slice *more = mem_try_realloc(w->argv, (size_t)a->argc * sizeof(*more));
            if (more == NULL) luaL_error(L, "not enough memory");
            w->argv = more;
            w->argv_cap = (size_t)a->argc;
        }
        argv = w->argv;
    }
    int numbers = 0;
    for (int i = 0; i < a->argc; i++) {
        int type = lua_type(L, i + 1);
        if (type == LUA_TSTRING) {
            argv[i].ptr = lua_tolstring(L, i + 1, &argv[i].len);
        } else if (type == LUA_TNUMBER) {
            argv[i] = number_slice(L, a, &numbers, i + 1);
        } else {
            error_push(L, SLICE("Lua redis lib command arguments must be strings or integers"));
            return false;
        }
    }
    a->argv = argv;
    return true;
}

static int call_command(lua_State *L, bool raise)
{
    struct world *w = world_of(L);
    struct script_run *run = w->current;
    struct args a;
    if (run == NULL) {
        return error_raise(L, "redis.call/pcall can only be called inside a script invocation");
    }
    if (unlikely(run->wish != WISH_NONE)) return run_leave(L);
    if (!read_args(L, &a)) return raise ? lua_error(L) : 1;

    buf_shrink(&w->reply, REPLY_KEEP);
    if (!run->host->call(run->ctx, a.argv, a.argc, run->proto, &w->reply)) {
        w->reply.len = 0;
        run->wish = WISH_STOP;
        return run_leave(L);
    }
    struct slice text = buf_slice(&w->reply);
    bool failed = w->reply.failed;
    w->reply.len = 0;
    w->reply.failed = false;
    lua_settop(L, 0); /* thousands of arguments leave little room below LuaJIT's limit */
    if (failed || !lua_checkstack(L, LUA_MINSTACK)) return error_raise(L, "not enough memory");
    if (!value_push_reply(L, text)) return error_raise(L, "malformed reply");
    return raise && text.ptr[0] == '-' ? lua_error(L) : 1;
}

static int redis_call(lua_State *L) { return call_command(L, true); }

static int redis_pcall(lua_State *L) { return call_command(L, false); }

static int redis_error_reply(lua_State *L)
{
    if (lua_gettop(L) != 1 || lua_type(L, 1) != LUA_TSTRING) {
        error_push(L, SLICE("wrong number or type of arguments"));
        return 1;
    }
    size_t len;
    const char *text = lua_tolstring(L, 1, &len);
    if (len == 0 || text[0] != '-') {
        lua_pushliteral(L, "-");
        lua_insert(L, 1);
        lua_concat(L, 2);
        text = lua_tolstring(L, 1, &len);
    }
    error_push(L, slice_of(text, strlen(text)));
    return 1;
}

static int redis_status_reply(lua_State *L)
{
    if (lua_gettop(L) != 1 || lua_type(L, 1) != LUA_TSTRING) {
        error_push(L, SLICE("wrong number or type of arguments"));
        return 1;
    }
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "ok");
    lua_pushvalue(L, 1);
    lua_rawset(L, -3);
    return 1;
}

static int redis_sha1hex(lua_State *L)
{
    if (lua_gettop(L) != 1) return error_raise(L, "wrong number of arguments");
    size_t len;
    const char *text = lua_tolstring(L, 1, &len);
    char sha[SCRIPT_SHA_LEN + 1];
    script_sha(text ? slice_of(text, len) : SLICE(""), sha);
    lua_pushlstring(L, sha, SCRIPT_SHA_LEN);
    return 1;
}

static int redis_log(lua_State *L)
{
    int argc = lua_gettop(L);
    if (argc < 2) return error_raise(L, "redis.log() requires two arguments or more.");
    if (!lua_isnumber(L, 1)) {
        return error_raise(L, "First argument must be a number (log level).");
    }
    lua_Number level = lua_tonumber(L, 1);
    if (!(level > -1 && level < SCRIPT_LOG_WARNING + 1)) {
        return error_raise(L, "Invalid debug level.");
    }
    struct world *w = world_of(L);
    struct buf *text = &w->reply;
    text->len = 0;
    for (int i = 2; i <= argc; i++) {
        size_t len;
        const char *part = lua_tolstring(L, i, &len);
        if (part == NULL) continue;
        if (i > 2) buf_append_char(text, ' ');
        buf_append(text, part, len);
    }
    struct slice line = buf_slice(text);
    bool failed = text->failed;
    text->len = 0;
    text->failed = false;
    if (w->current && !failed) {
        w->current->host->log(w->current->ctx, (enum script_log_level)(int)level, line);
    }
    return 0;
}

static int redis_setresp(lua_State *L)
{
    if (lua_gettop(L) != 1) return error_raise(L, "redis.setresp() requires one argument.");
    lua_Number version = lua_tonumber(L, 1);
    if (!(version >= 2 && version < 4)) {
        return error_raise(L, "RESP version must be 2 or 3.");
    }
    struct world *w = world_of(L);
    if (w->current) w->current->proto = (uint8_t)version;
    return 0;
}

static int redis_acl_check_cmd(lua_State *L)
{
    struct script_run *run = world_of(L)->current;
    struct args a;
    if (run == NULL) {
        return error_raise(L, "redis.acl_check_cmd can only be called inside a script invocation");
    }
    if (!read_args(L, &a)) return lua_error(L);
    int may = run->host->acl_check(run->ctx, a.argv, a.argc);
    if (may < 0) return error_raise(L, "Invalid command passed to redis.acl_check_cmd()");
    lua_pushboolean(L, may);
    return 1;
}

/* Effects are always replicated as the commands that were run; there is nothing to choose. */
static int redis_set_repl(lua_State *L)
{
    if (lua_gettop(L) != 1) return error_raise(L, "redis.set_repl() requires two arguments.");
    lua_Number flags = lua_tonumber(L, 1);
    if (!(flags > -1 && flags < 4)) {
        return error_raise(L, "Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or "
                              "REPL_NONE.");
    }
    return 0;
}

static int redis_replicate_commands(lua_State *L)
{
    lua_pushboolean(L, 1);
    return 1;
}

static int redis_breakpoint(lua_State *L)
{
    lua_pushboolean(L, 0);
    return 1;
}

static int redis_debug(lua_State *L)
{
    (void)L;
    return 0;
}

static const luaL_Reg functions[] = {
    {"call", redis_call},
    {"pcall", redis_pcall},
    {"error_reply", redis_error_reply},
    {"status_reply", redis_status_reply},
    {"sha1hex", redis_sha1hex},
    {"log", redis_log},
    {"setresp", redis_setresp},
    {"acl_check_cmd", redis_acl_check_cmd},
    {"set_repl", redis_set_repl},
    {"replicate_commands", redis_replicate_commands},
    {"breakpoint", redis_breakpoint},
    {"debug", redis_debug},
};
static const struct {
    const char *name;
    lua_Number value;
} numbers[] = {
    {"LOG_DEBUG", SCRIPT_LOG_DEBUG},
    {"LOG_VERBOSE", SCRIPT_LOG_VERBOSE},
    {"LOG_NOTICE", SCRIPT_LOG_NOTICE},
    {"LOG_WARNING", SCRIPT_LOG_WARNING},
    {"REPL_NONE", 0},
    {"REPL_AOF", 1},
    {"REPL_REPLICA", 2},
    {"REPL_SLAVE", 2},
    {"REPL_ALL", 3},
    {"REDIS_VERSION_NUM", REDIS_VERSION_SHOWN_NUM},
};

void lib_redis_push(lua_State *L)
{
    lua_newtable(L);
    for (size_t i = 0; i < ARRAY_COUNT(functions); i++) {
        lua_pushcfunction(L, functions[i].func);
        lua_setfield(L, -2, functions[i].name);
    }
    for (size_t i = 0; i < ARRAY_COUNT(numbers); i++) {
        lua_pushnumber(L, numbers[i].value);
        lua_setfield(L, -2, numbers[i].name);
    }
    lua_pushliteral(L, REDIS_VERSION_SHOWN);
    lua_setfield(L, -2, "REDIS_VERSION");
}
