/* The coroutine library, for scripts that are coroutines themselves.
 *
 * A script must not see that: at its top level coroutine.running() is nil and coroutine.yield()
 * an error. Below that, a coroutine of the script may be the one that runs when the host wants a
 * pause, a stop or a kill. It yields to whoever resumed it, which is a Lua function (a C function
 * could not go on after a yield of its own): it sees the wish and yields in turn, outwards to the
 * run's own coroutine, and when that is resumed everything is resumed again inwards.
 * Thread: owner. */
#include "vm_impl.h"

static int coroutine_yield(lua_State *L)
{
    struct world *w = world_of(L);
    if (!w->current || L == w->current->co || !lua_isyieldable(L)) {
        lua_pushliteral(L, "attempt to yield across metamethod/C-call boundary");
        return lua_error(L);
    }
    return lua_yield(L, lua_gettop(L));
}

static int coroutine_running(lua_State *L)
{
    struct world *w = world_of(L);
    if (!w->current || L == w->current->co || lua_pushthread(L)) lua_pushnil(L);
    return 1;
}

static const char *cannot_resume(lua_State *L, lua_State *co)
{
    lua_Debug at;
    if (co == L) return "cannot resume running coroutine";
    if (lua_status(co) == LUA_YIELD) return NULL;
    if (lua_status(co) != 0) return "cannot resume dead coroutine";
    if (lua_getstack(co, 0, &at)) return "cannot resume normal coroutine";
    return lua_gettop(co) == 0 ? "cannot resume dead coroutine" : NULL;
}

/* Each coroutine in a coroutine takes some of C's stack. */
static int coroutine_resume(lua_State *L)
{
    lua_State *co = lua_tothread(L, 1);
    if (co == NULL) {
        luaL_where(L, 2); /* above the library's own function */
        lua_pushliteral(L, "bad argument #1 to 'resume' (coroutine expected)");
        lua_concat(L, 2);
        return lua_error(L);
    }
    int args = lua_gettop(L) - 1;
    if (!lua_checkstack(co, args)) return luaL_error(L, "too many arguments to resume");
    const char *refusal = guard_is_deep(L) ? "C stack overflow" : cannot_resume(L, co);
    if (refusal) {
        lua_pushboolean(L, 0);
        lua_pushstring(L, refusal);
        return 2;
    }
    lua_xmove(L, co, args);
    int status = lua_resume(co, args);
    struct script_run *run = world_of(L)->current;
    if (run && run->wish != WISH_NONE && status == LUA_YIELD) return 0;
    int results = status == 0 || status == LUA_YIELD ? lua_gettop(co) : 1;
    lua_settop(L, 1);
    lua_pushboolean(L, status == 0 || status == LUA_YIELD);
    if (!lua_checkstack(L, results + 1)) return luaL_error(L, "too many results to resume");
    lua_xmove(co, L, results);
    return results + 1;
}

/* Whether what has just been resumed came back because the host wishes something. */
static int parked(lua_State *L)
{
    struct script_run *run = world_of(L)->current;
    lua_pushboolean(L, run && run->wish != WISH_NONE);
    return 1;
}

/* Yields outwards; comes back when the pause is over, never from anything else. Under a C function
 * that called back a pause cannot be taken: then it is over at once. */
static int park(lua_State *L)
{
    struct script_run *run = world_of(L)->current;
    if (run->wish != WISH_PAUSE) return run_leave(L);
    if (lua_isyieldable(L)) return lua_yield(L, 0);
    run->wish = WISH_NONE;
    return 0;
}

static const char library[] =
    "local resume, create, parked, park, error, type = ...\n"
    "local function settle(co, ...)\n"
    "  if parked() then park() return settle(co, resume(co)) end\n"
    "  return ...\n"
    "end\n"
    "local function unwrap(ok, ...)\n"
    "  if ok then return ... end\n"
    "  local e = ...\n"
    "  if type(e) == 'string' then error(e, 2) end\n"
    "  error(e, 0)\n"
    "end\n"
    "return function(co, ...) return settle(co, resume(co, ...)) end,\n"
    "  function(f)\n"
    "    local co = create(f)\n"
    "    return function(...) return unwrap(settle(co, resume(co, ...))) end\n"
    "  end\n";

void lib_coroutine_push(lua_State *L, int original)
{
    lua_newtable(L);
    int table = lua_gettop(L);
    lua_getfield(L, original, "coroutine");
    int from = lua_gettop(L);
    lua_getfield(L, from, "create");
    lua_setfield(L, table, "create");
    lua_getfield(L, from, "status");
    lua_setfield(L, table, "status");
    lua_pushcfunction(L, coroutine_yield);
    lua_setfield(L, table, "yield");
    lua_pushcfunction(L, coroutine_running);
    lua_setfield(L, table, "running");

    if (luaL_loadbufferx(L, library, sizeof(library) - 1, GUARD_SOURCE, "t") != 0) lua_error(L);
    lua_pushcfunction(L, coroutine_resume);
    lua_getfield(L, from, "create");
    lua_pushcfunction(L, parked);
    lua_pushcfunction(L, park);
    lua_getfield(L, original, "error");
    lua_getfield(L, original, "type");
    lua_call(L, 6, 2);
    lua_setfield(L, table, "wrap");
    lua_setfield(L, table, "resume");
    lua_settop(L, table);
}
