/* Lua's own functions that a sandbox must not leave as they are, and those in which LuaJIT differs
 * from the Lua of Redis.
 *
 * The ones that go past metatables know the proxies of sandbox.c: they read the real table and
 * refuse to write. load and loadstring take texts only (bytecode can break the interpreter).
 * collectgarbage cannot stop the collector, which belongs to all scripts. math.random is the
 * generator of Redis (drand48's), with one state per VM that goes on from run to run.
 * Thread: owner. */
#include <math.h>

#include "vm_impl.h"

#define PIECES_PER_PULSE 1000u /* of load */
#define INSERT_BELOW_MAX 1000000 /* table.insert moves all from there on, nil or not */

/* As Redis says it from C functions: without a position. */
static int refuse_write(lua_State *L)
{
    lua_pushliteral(L, "Attempt to modify a readonly table");
    return lua_error(L);
}

static int base_rawset(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checkany(L, 2);
    luaL_checkany(L, 3);
    lua_settop(L, 3);
    if (sandbox_real(L, 1)) return refuse_write(L);
    if (lua_isnil(L, 2)) return luaL_error(L, "table index is nil");
    if (lua_type(L, 2) == LUA_TNUMBER && isnan(lua_tonumber(L, 2))) {
        return luaL_error(L, "table index is NaN");
    }
    lua_rawset(L, 1);
    return 1;
}

static int base_rawget(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checkany(L, 2);
    lua_settop(L, 2);
    if (sandbox_real(L, 1)) lua_replace(L, 1);
    lua_rawget(L, 1);
    return 1;
}

static int base_next(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 2);
    if (sandbox_real(L, 1)) lua_replace(L, 1);
    if (lua_next(L, 1)) return 2;
    lua_pushnil(L);
    return 1;
}

/* Lua's own next goes with the table, which loops know; of a protected table goes a copy. */
static int base_pairs(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    if (sandbox_real(L, 1)) {
        lua_newtable(L);
        lua_pushnil(L);
        while (lua_next(L, 2)) {
            lua_pushvalue(L, -2);
            lua_insert(L, -2);
            lua_rawset(L, 3);
        }
        lua_replace(L, 1);
        lua_settop(L, 1);
    }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_pushnil(L);
    return 3;
}

static int base_setmetatable(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    int type = lua_type(L, 2);
    luaL_argcheck(L, type == LUA_TNIL || type == LUA_TTABLE, 2, "nil or table expected");
    if (sandbox_real(L, 1)) return refuse_write(L);
    if (luaL_getmetafield(L, 1, "__metatable")) {
        return luaL_error(L, "cannot change a protected metatable");
    }
    lua_settop(L, 2);
    lua_setmetatable(L, 1);
    return 1;
}

/* What scripts see of metatables that they must not touch: of strings, of the environment.
 * Upvalues: a table in place of strings' metatable, the environment, and a table in place of its
 * metatable. */
static int base_getmetatable(lua_State *L)
{
    luaL_checkany(L, 1);
    if (lua_type(L, 1) == LUA_TSTRING) {
        lua_pushvalue(L, lua_upvalueindex(1));
        return 1;
    }
    if (lua_rawequal(L, 1, lua_upvalueindex(2))) {
        lua_pushvalue(L, lua_upvalueindex(3));
        return 1;
    }
    if (sandbox_real(L, 1) || !lua_getmetatable(L, 1)) {
        lua_pushnil(L);
        return 1;
    }
    luaL_getmetafield(L, 1, "__metatable");
    return 1;
}

void lib_metatable_fill(lua_State *L, int globals)
{
    lua_createtable(L, 0, 1);
    lua_insert(L, -2);
    lua_setfield(L, -2, "__index");
    sandbox_protect(L);
    lua_pushvalue(L, -3);
    lua_pushvalue(L, -3);
    lua_pushcclosure(L, base_getmetatable, 3);
    lua_setfield(L, globals, "getmetatable");
    lua_pop(L, 1);
}

/* As in Lua 5.1: the message is a text, with the caller's place. */
static int base_assert(lua_State *L)
{
    luaL_checkany(L, 1);
    if (lua_toboolean(L, 1)) return lua_gettop(L);
    return luaL_error(L, "%s", luaL_optstring(L, 2, "assertion failed!"));
}

/* The message is at the top. */
static int load_failed(lua_State *L)
{
    run_check(L);
    lua_pushnil(L);
    lua_insert(L, -2);
    return 2;
}

static int load_text(lua_State *L, struct slice text, const char *name)
{
    return source_load(L, text, SLICE(""), name) == 0 ? 1 : load_failed(L);
}

/* The pieces are put together first: those on the stack get longer downwards, as a binary counter,
 * so that no byte is copied often. As with Lua's reader nil or an empty text is the end. The reader
 * may be a C function that never ends and never comes to a hook, so the host is asked here. */
static int base_load(lua_State *L)
{
    const char *name = luaL_optstring(L, 2, "=(load)");
    luaL_checktype(L, 1, LUA_TFUNCTION);
    guard_stack(L);
    lua_settop(L, 2);
    for (unsigned calls = 1;; calls++) {
        if (calls % PIECES_PER_PULSE == 0) run_poll(L);
        lua_pushvalue(L, 1);
        if (lua_pcall(L, 0, 1, 0) != 0) return load_failed(L);
        if (lua_isnil(L, -1)) break;
        if (!lua_isstring(L, -1)) {
            lua_pushliteral(L, "reader function must return a string");
            return load_failed(L);
        }
        lua_tostring(L, -1);
        if (lua_objlen(L, -1) == 0) break;
        while (lua_gettop(L) > 3 && lua_objlen(L, -2) <= lua_objlen(L, -1)) lua_concat(L, 2);
    }
    lua_pop(L, 1);
    lua_concat(L, lua_gettop(L) - 2);
    size_t len;
    const char *text = lua_tolstring(L, 3, &len);
    return load_text(L, slice_of(text, len), name);
}

static int base_loadstring(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    return load_text(L, slice_of(text, len), luaL_optstring(L, 2, text));
}

static int base_collectgarbage(lua_State *L)
{
    static const char *const names[] = {"collect", "count", "step", "stop", "restart", "setpause",
                                        "setstepmul", NULL};
    int what = luaL_checkoption(L, 1, "collect", names);
    lua_Number result = 0;
    switch (what) {
    case 0: lua_gc(L, LUA_GCCOLLECT, 0); break;
    case 1: result = lua_gc(L, LUA_GCCOUNT, 0) + lua_gc(L, LUA_GCCOUNTB, 0) / 1024.0; break;
    case 2: lua_pushboolean(L, lua_gc(L, LUA_GCSTEP, (int)luaL_optinteger(L, 2, 0))); return 1;
    case 5:
    case 6: result = 200; break; /* Lua's defaults */
    default: break;
    }
    lua_pushnumber(L, result);
    return 1;
}

static int base_gcinfo(lua_State *L)
{
    lua_pushinteger(L, lua_gc(L, LUA_GCCOUNT, 0));
    return 1;
}

static void set_function(lua_State *L, int table, const char *name, lua_CFunction fn)
{
    lua_pushcfunction(L, fn);
    lua_setfield(L, table, name);
}

void lib_base_fill(lua_State *L, int globals, int original)
{
    set_function(L, globals, "rawset", base_rawset);
    set_function(L, globals, "rawget", base_rawget);
    set_function(L, globals, "next", base_next);
    set_function(L, globals, "setmetatable", base_setmetatable);
    set_function(L, globals, "loadstring", base_loadstring);
    set_function(L, globals, "collectgarbage", base_collectgarbage);
    set_function(L, globals, "gcinfo", base_gcinfo);
    lua_getfield(L, original, "next");
    lua_pushcclosure(L, base_pairs, 1);
    lua_setfield(L, globals, "pairs");
    set_function(L, globals, "load", base_load);
    set_function(L, globals, "assert", base_assert);
}

/* ---- table ---- */

static int table_insert(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    if (sandbox_real(L, 1)) return refuse_write(L);
    int last = (int)lua_objlen(L, 1) + 1;
    switch (lua_gettop(L)) {
    case 2: lua_rawseti(L, 1, last); return 0;
    case 3: {
        int at = luaL_checkint(L, 2);
        luaL_argcheck(L, at > -INSERT_BELOW_MAX, 2, "position out of bounds");
        if (at > last) last = at;
        for (int i = last; i > at; i--) {
            lua_rawgeti(L, 1, i - 1);
            lua_rawseti(L, 1, i);
        }
        lua_rawseti(L, 1, at);
        return 0;
    }
    default: return luaL_error(L, "wrong number of arguments to 'insert'");
    }
}

static int table_setn(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    return luaL_error(L, "'setn' is obsolete");
}

void lib_table_fill(lua_State *L, int library)
{
    set_function(L, library, "insert", table_insert);
    set_function(L, library, "setn", table_setn);
}

/* ---- bit ---- */

/* LuaJIT's own knows no bound for the number of digits, and none at all for -2^31 of them. */
static int bit_tohex(lua_State *L)
{
    char digits[8];
    double number = luaL_checknumber(L, 1);
    int wanted = luaL_optint(L, 2, 8);
    lua_getfield(L, lua_upvalueindex(1), "tobit");
    lua_pushnumber(L, number);
    lua_call(L, 1, 1);
    uint32_t bits = (uint32_t)(int32_t)lua_tonumber(L, -1);
    const char *set = wanted < 0 ? "0123456789ABCDEF" : "0123456789abcdef";
    unsigned count = wanted < 0 ? 0u - (unsigned)wanted : (unsigned)wanted;
    if (count > sizeof digits) count = sizeof digits;
    for (unsigned i = count; i-- > 0; bits >>= 4) digits[i] = set[bits & 15];
    lua_pushlstring(L, digits, count);
    return 1;
}

void lib_bit_fill(lua_State *L, int library)
{
    lua_pushvalue(L, library);
    lua_pushcclosure(L, bit_tohex, 1);
    lua_setfield(L, library, "tohex");
}

/* ---- math ---- */

#define RANDOM_MAX INT32_MAX

/* lrand48() of POSIX: 48 bits of state, 31 of result. */
static int32_t random_next(uint16_t state[3])
{
    uint64_t x = (uint64_t)state[2] << 32 | (uint64_t)state[1] << 16 | state[0];
    x = x * 0x5deece66du + 0xb;
    state[0] = (uint16_t)x;
    state[1] = (uint16_t)(x >> 16);
    state[2] = (uint16_t)(x >> 32);
    return (int32_t)(x >> 17 & 0x7fffffff);
}

void random_seed(uint16_t state[3], uint32_t seed)
{
    state[0] = 0x330e;
    state[1] = (uint16_t)seed;
    state[2] = (uint16_t)(seed >> 16);
}

static int math_random(lua_State *L)
{
    lua_Number r = random_next(world_of(L)->random) % RANDOM_MAX / (lua_Number)RANDOM_MAX;
    int low = 1, high;
    switch (lua_gettop(L)) {
    case 0: lua_pushnumber(L, r); return 1;
    case 1:
        high = luaL_checkint(L, 1);
        luaL_argcheck(L, 1 <= high, 1, "interval is empty");
        break;
    case 2:
        low = luaL_checkint(L, 1);
        high = luaL_checkint(L, 2);
        luaL_argcheck(L, low <= high, 2, "interval is empty");
        break;
    default: return luaL_error(L, "wrong number of arguments");
    }
    lua_pushnumber(L, floor(r * ((lua_Number)high - low + 1)) + low);
    return 1;
}

static int math_randomseed(lua_State *L)
{
    uint32_t seed = (uint32_t)luaL_checkint(L, 1);
    random_seed(world_of(L)->random, seed);
    return 0;
}

void lib_math_fill(lua_State *L, int library)
{
    set_function(L, library, "random", math_random);
    set_function(L, library, "randomseed", math_randomseed);
}
