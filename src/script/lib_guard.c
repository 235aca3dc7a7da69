/* Guards before the functions of libraries that call Lua back from C.
 *
 * LuaJIT bounds Lua's stack, not C's: string.gsub with a function that calls string.gsub again
 * takes 9 KiB of it per level and would end the process after a thousand. So whatever calls back
 * (gsub, sort, load, and coroutine.resume) first looks how far the C stack has grown since the run
 * began. That needs no counters, which an error would have to unwind.
 *
 * The guards are Lua functions that end in a tail call, so that error texts still find the caller's
 * name for the function and the caller's line.
 *
 * Others are here because LuaJIT does more than Lua 5.1: %s of string.format calls __tostring,
 * string.rep takes a separator, math.log a base. pcall is Redis': an error table comes as its text.
 * Thread: owner. */
#include "vm_impl.h"

/* A thread has 2 MiB at least. */
#define C_STACK_MAX ((size_t)1 << 20)

bool guard_is_deep(lua_State *L)
{
    uintptr_t base = world_of(L)->stack_base, here = (uintptr_t)__builtin_frame_address(0);
    size_t grown = here > base ? here - base : base - here;
    return base && grown > C_STACK_MAX;
}

int guard_stack(lua_State *L)
{
    if (guard_is_deep(L)) return luaL_error(L, "C stack overflow");
    return 0;
}

/* The caller's place, which is above the guard. */
static int guard_deep(lua_State *L)
{
    if (!guard_is_deep(L)) return 0;
    luaL_where(L, 2);
    lua_pushliteral(L, "C stack overflow");
    lua_concat(L, 2);
    return lua_error(L);
}

/* The arguments of string.format: those that its conversions take are texts or numbers. */
static int guard_format(lua_State *L)
{
    int last = lua_gettop(L);
    int other = 2;
    while (other <= last && lua_isstring(L, other)) other++;
    if (other > last || !lua_isstring(L, 1)) return 0;
    int wanted = 1;
    for (const char *at = lua_tostring(L, 1); *at; at++) {
        if (*at != '%') continue;
        if (*++at == '\0') break;
        if (*at != '%') wanted++;
    }
    if (other > wanted) return 0;
    luaL_where(L, 2);
    lua_pushfstring(L, "bad argument #%d to 'format' (string expected, got %s)", other,
                    luaL_typename(L, other));
    lua_concat(L, 2);
    return lua_error(L);
}

static const char guards[] =
    "local type, rawget, deep, plain, gsub, sort, format, rep, log, pcall = ...\n"
    "local function settle(ok, ...)\n"
    "  if ok then return ok, ... end\n"
    "  local e = ...\n"
    "  if type(e) == 'table' then\n"
    "    local text = rawget(e, 'err')\n"
    "    if type(text) == 'string' then return false, text end\n"
    "  end\n"
    "  return false, e\n"
    "end\n"
    "return function(s, pattern, by, n)\n"
    "    if type(by) ~= 'string' then deep() end\n"
    "    return gsub(s, pattern, by, n)\n"
    "  end,\n"
    "  function(t, f) deep() return sort(t, f) end,\n"
    "  function(...) plain(...) return format(...) end,\n"
    "  function(s, n) return rep(s, n) end,\n"
    "  function(x) return log(x) end,\n"
    "  function(...) return settle(pcall(...)) end\n";

void lib_guard_fill(lua_State *L, const struct guarded *g)
{
    if (luaL_loadbufferx(L, guards, sizeof(guards) - 1, GUARD_SOURCE, "t") != 0) lua_error(L);
    lua_getfield(L, g->original, "type");
    lua_getfield(L, g->original, "rawget");
    lua_pushcfunction(L, guard_deep);
    lua_pushcfunction(L, guard_format);
    lua_getfield(L, g->string, "gsub");
    lua_getfield(L, g->table, "sort");
    lua_getfield(L, g->string, "format");
    lua_getfield(L, g->string, "rep");
    lua_getfield(L, g->math, "log");
    lua_getfield(L, g->original, "pcall");
    lua_call(L, 10, 6);
    lua_setfield(L, g->globals, "pcall");
    lua_setfield(L, g->math, "log");
    lua_setfield(L, g->string, "rep");
    lua_setfield(L, g->string, "format");
    lua_setfield(L, g->table, "sort");
    lua_setfield(L, g->string, "gsub");
}
