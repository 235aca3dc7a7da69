/* The sandbox: which globals a script sees, and that it can change none of them.
 *
 * Redis marks tables read-only inside its own Lua. LuaJIT has no such mark, so what a script gets
 * hold of is an empty table in front of the real one:
 *
 *   proxy {} ── metatable {marker, real, __index = real, __newindex = sandbox_readonly}
 *
 * That is one more look-up per access (7 ns) and keeps writes out, since the proxy never has the
 * field. Every function of the libraries that reads or writes a table behind its metatable's back
 * (rawset, rawget, next, pairs, table.insert, setmetatable, getmetatable) is replaced by one that
 * knows the marker (lib_base.c); nothing that leads to a real table reaches a script: no debug
 * library, no getfenv, and getmetatable("") gives a proxy, too.
 *
 * What is not in the lists below is not there: no io, os but its clock, package, ffi, newproxy
 * (its __gc would run at any time), loadfile, print.
 *
 * A chunk's environment is the proxy of the globals. Reading a name that is not there comes to the
 * real table's own __index, an error.
 * Thread: owner. */
#include "splitring/base/check.h"
#include "lib.h"
#include "vm_impl.h"

static const char marker; /* its address */

static const char *const base_names[] = {
    "error", "ipairs", "rawequal", "select", "tonumber", "type",
    "unpack", "xpcall", "_VERSION", NULL,
};
static const char *const string_names[] = {
    "byte", "dump", "format", "len", "rep", NULL,
};
static const char *const table_names[] = {
    "concat", "foreach", "foreachi", "getn", "maxn", "remove", "sort", NULL,
};
static const char *const math_names[] = {
    "abs", "acos", "asin", "atan", "atan2", "ceil", "cos", "cosh", "deg", "exp", "floor", "fmod",
    "frexp", "huge", "ldexp", "log", "log10", "max", "min", "modf", "pi", "pow", "rad", "sin",
    "sinh", "sqrt", "tan", "tanh", NULL,
};
static const char *const bit_names[] = {
    "arshift", "band", "bnot", "bor", "bswap", "bxor", "lshift", "rol", "ror", "rshift", "tobit",
    "tohex", NULL,
};
static const char *const os_names[] = {"clock", NULL};

int sandbox_readonly(lua_State *L)
{
    return luaL_error(L, "Attempt to modify a readonly table");
}

void sandbox_protect(lua_State *L)
{
    int real = lua_gettop(L);
    lua_newtable(L);
    lua_createtable(L, 2, 3);
    lua_pushlightuserdata(L, (void *)(uintptr_t)&marker);
    lua_rawseti(L, -2, 1);
    lua_pushvalue(L, real);
    lua_rawseti(L, -2, 2);
    lua_pushvalue(L, real);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, sandbox_readonly);
    lua_setfield(L, -2, "__newindex");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
    lua_replace(L, real);
}

bool sandbox_real(lua_State *L, int index)
{
    if (likely(!lua_getmetatable(L, index))) return false;
    lua_rawgeti(L, -1, 1);
    bool is_proxy = lua_touserdata(L, -1) == (void *)(uintptr_t)&marker;
    lua_pop(L, 1);
    if (is_proxy) {
        lua_rawgeti(L, -1, 2);
        lua_remove(L, -2);
    } else {
        lua_pop(L, 1);
    }
    return is_proxy;
}

static int missing_global(lua_State *L)
{
    const char *name = lua_tostring(L, 2);
    if (name == NULL) {
        return luaL_error(L, "Second argument to luaProtectedTableError must be a string or "
                             "number");
    }
    return luaL_error(L, "Script attempted to access nonexistent global variable '%s'", name);
}

static void push_metatable(lua_State *L)
{
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, missing_global);
    lua_setfield(L, -2, "__index");
}

static void copy_names(lua_State *L, int from, int to, const char *const *wanted)
{
    for (; *wanted; wanted++) {
        lua_getfield(L, from, *wanted);
        dcheck(!lua_isnil(L, -1));
        lua_setfield(L, to, *wanted);
    }
}

/* Pushes a new table with those fields of the original library. */
static int push_library(lua_State *L, int original, const char *name, const char *const *wanted)
{
    lua_newtable(L);
    int library = lua_gettop(L);
    lua_getfield(L, original, name);
    copy_names(L, library + 1, library, wanted);
    lua_pop(L, 1);
    return library;
}

/* The library's table at the top becomes a protected global. */
static void publish(lua_State *L, int globals, const char *name)
{
    sandbox_protect(L);
    lua_setfield(L, globals, name);
}

static void open_originals(lua_State *L)
{
    static const lua_CFunction open[] = {luaopen_base, luaopen_string, luaopen_table, luaopen_math,
                                         luaopen_bit, luaopen_os};
    static const char *const name[] = {"", LUA_STRLIBNAME, LUA_TABLIBNAME, LUA_MATHLIBNAME,
                                       LUA_BITLIBNAME, LUA_OSLIBNAME};
    for (size_t i = 0; i < ARRAY_COUNT(open); i++) {
        lua_pushcfunction(L, open[i]);
        lua_pushstring(L, name[i]);
        lua_call(L, 1, 0);
    }
}

static void alias(lua_State *L, int library, const char *name, const char *of)
{
    lua_getfield(L, library, of);
    lua_setfield(L, library, name);
}

/* The three that need more than a choice of names. */
static void fill_changed(lua_State *L, int globals, int original)
{
    int string = push_library(L, original, LUA_STRLIBNAME, string_names);
    lib_string_fill(L, string, globals);
    lib_pattern_fill(L, string);
    int table = push_library(L, original, LUA_TABLIBNAME, table_names);
    lib_table_fill(L, table);
    int math = push_library(L, original, LUA_MATHLIBNAME, math_names);
    alias(L, math, "mod", "fmod");
    lib_math_fill(L, math);
    struct guarded guarded = {original, globals, string, table, math};
    lib_guard_fill(L, &guarded);
    publish(L, globals, LUA_MATHLIBNAME);
    publish(L, globals, LUA_TABLIBNAME);
    /* "x":rep(2) goes straight to the real table. */
    lua_pushliteral(L, "");
    lua_getmetatable(L, -1);
    lua_pushvalue(L, string);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 2);
    publish(L, globals, LUA_STRLIBNAME);
}

static void fill_libraries(lua_State *L, int globals, int original)
{
    fill_changed(L, globals, original);
    push_library(L, original, LUA_BITLIBNAME, bit_names);
    lib_bit_fill(L, lua_gettop(L));
    publish(L, globals, LUA_BITLIBNAME);
    push_library(L, original, LUA_OSLIBNAME, os_names);
    publish(L, globals, LUA_OSLIBNAME);
    lib_coroutine_push(L, original);
    publish(L, globals, "coroutine");
    luaopen_cjson(L);
    publish(L, globals, "cjson");
    luaopen_splitring_cmsgpack(L);
    publish(L, globals, "cmsgpack");
    luaopen_splitring_struct(L);
    publish(L, globals, "struct");
    lib_redis_push(L);
    sandbox_protect(L);
    lua_pushvalue(L, -1);
    lua_setfield(L, globals, "server"); /* Valkey's name */
    lua_setfield(L, globals, "redis");
}

/* What is pushed later without allocating gets the first places of the registry. */
static void keep(lua_State *L, enum slot slot) { lua_rawseti(L, LUA_REGISTRYINDEX, (int)slot); }

void sandbox_build(lua_State *L)
{
    for (int slot = 1; slot <= SLOT_LAST; slot++) {
        lua_pushboolean(L, 1);
        int ref = luaL_ref(L, LUA_REGISTRYINDEX);
        check(ref == slot);
    }
    lua_settop(L, 0);
    open_originals(L);
    lua_settop(L, 0);
    lua_pushvalue(L, LUA_GLOBALSINDEX); /* 1: what the libraries made */
    lua_newtable(L);                    /* 2: what scripts see */
    copy_names(L, 1, 2, base_names);
    lib_base_fill(L, 2, 1);
    fill_libraries(L, 2, 1);
    lua_pushboolean(L, 0);
    lua_setfield(L, 2, "KEYS");
    lua_pushboolean(L, 0);
    lua_setfield(L, 2, "ARGV");
    push_metatable(L);
    lua_setmetatable(L, 2);

    lua_pushvalue(L, 2);
    sandbox_protect(L); /* 3: the environment */
    push_metatable(L);
    sandbox_protect(L);
    lua_getfield(L, 2, "string");
    lib_metatable_fill(L, 2);
    lua_pushvalue(L, 3);
    lua_setfield(L, 2, "_G");
    lua_pushvalue(L, 3);
    lua_replace(L, LUA_GLOBALSINDEX);
    lua_pushvalue(L, 3);
    lua_replace(world_of(L)->L, LUA_GLOBALSINDEX);

    run_push_setup(L);
    keep(L, SLOT_SETUP);
    value_push_convert(L);
    keep(L, SLOT_CONVERT);
    error_push_handlers(L, 1);
    keep(L, SLOT_HANDLER);
    keep(L, SLOT_ENDING);
    lua_getfield(L, 1, "xpcall");
    keep(L, SLOT_XPCALL);
    lua_pushliteral(L, "KEYS");
    keep(L, SLOT_KEYS);
    lua_pushliteral(L, "ARGV");
    keep(L, SLOT_ARGV);
    lua_pushvalue(L, 2);
    keep(L, SLOT_GLOBALS);
}
