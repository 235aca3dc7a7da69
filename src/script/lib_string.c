/* Functions that are assembler in LuaJIT and make strings: there, running out of memory would be
 * fatal (see world.c). Behaviour is that of Lua 5.1; tostring also prints a NaN with its sign, as
 * Redis' Lua does through printf.
 * Thread: owner. */
#include <ctype.h>
#include <math.h>

#include "vm_impl.h"

static ptrdiff_t position(ptrdiff_t at, size_t len)
{
    return at < 0 ? at + (ptrdiff_t)len + 1 : at;
}

static int string_sub(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    ptrdiff_t from = position(luaL_checkinteger(L, 2), len);
    ptrdiff_t to = position(luaL_optinteger(L, 3, -1), len);
    if (from < 1) from = 1;
    if (to > (ptrdiff_t)len) to = (ptrdiff_t)len;
    if (from <= to) {
        lua_pushlstring(L, text + from - 1, (size_t)(to - from + 1));
    } else {
        lua_pushliteral(L, "");
    }
    return 1;
}

/* Each byte through change, in order or from the end. */
static int map_bytes(lua_State *L, int (*change)(int), bool backwards)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[backwards ? len - 1 - i : i];
        luaL_addchar(&b, (char)(change ? change(c) : c));
    }
    luaL_pushresult(&b);
    return 1;
}

static int string_lower(lua_State *L) { return map_bytes(L, tolower, false); }

static int string_upper(lua_State *L) { return map_bytes(L, toupper, false); }

static int string_reverse(lua_State *L) { return map_bytes(L, NULL, true); }

static int string_char(lua_State *L)
{
    int count = lua_gettop(L);
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (int i = 1; i <= count; i++) {
        int c = luaL_checkint(L, i);
        luaL_argcheck(L, (unsigned char)c == c, i, "invalid value");
        luaL_addchar(&b, (char)c);
    }
    luaL_pushresult(&b);
    return 1;
}

static int base_tostring(lua_State *L)
{
    luaL_checkany(L, 1);
    if (lua_type(L, 1) != LUA_TSTRING && luaL_getmetafield(L, 1, "__tostring")) {
        guard_stack(L);
        lua_pushvalue(L, 1);
        lua_call(L, 1, 1);
        return 1;
    }
    switch (lua_type(L, 1)) {
    case LUA_TNUMBER:
        if (isnan(lua_tonumber(L, 1))) {
            lua_pushstring(L, signbit(lua_tonumber(L, 1)) ? "-nan" : "nan");
            break;
        }
        lua_pushvalue(L, 1);
        lua_tostring(L, -1);
        break;
    case LUA_TSTRING: lua_pushvalue(L, 1); break;
    case LUA_TBOOLEAN: lua_pushstring(L, lua_toboolean(L, 1) ? "true" : "false"); break;
    case LUA_TNIL: lua_pushliteral(L, "nil"); break;
    default: lua_pushfstring(L, "%s: %p", luaL_typename(L, 1), lua_topointer(L, 1)); break;
    }
    return 1;
}

void lib_string_fill(lua_State *L, int library, int globals)
{
    static const luaL_Reg functions[] = {
        {"sub", string_sub},         {"lower", string_lower}, {"upper", string_upper},
        {"reverse", string_reverse}, {"char", string_char},
    };
    for (size_t i = 0; i < ARRAY_COUNT(functions); i++) {
        lua_pushcfunction(L, functions[i].func);
        lua_setfield(L, library, functions[i].name);
    }
    lua_pushcfunction(L, base_tostring);
    lua_setfield(L, globals, "tostring");
}
