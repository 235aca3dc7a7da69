/* A Lua state with the standard libraries, one of our modules as a global, and `hex`, `bytes` and
 * `fails` for the tests' own texts. */
#include "plain_lua.h"

#include <criterion/criterion.h>
#include <lauxlib.h>
#include <lualib.h>

static const char *const helpers =
    "function hex(s) return (s:gsub('.', function(c) return ('%02x'):format(c:byte()) end)) end\n"
    "function bytes(s) return (s:gsub('%s', ''):gsub('..', function(h)"
    "  return string.char(tonumber(h, 16)) end)) end\n"
    "function same(got, expected) if got ~= expected then error(("
    "  'got %s, expected %s'):format(tostring(got), tostring(expected)), 2) end end\n"
    "function fails(text, f, ...) local ok, message = pcall(f, ...)"
    "  if ok then error('no error, expected ' .. text, 2) end"
    "  if not message:find(text, 1, true) then error(message .. ', expected ' .. text, 2) end"
    " end\n";

lua_State *plain_lua(const char *name, lua_CFunction open)
{
    lua_State *L = luaL_newstate();
    cr_assert_not_null(L);
    luaL_openlibs(L);
    cr_assert_eq(open(L), 1);
    lua_setglobal(L, name);
    cr_assert_eq(lua_gettop(L), 0);
    plain_run(L, helpers);
    return L;
}

void plain_run(lua_State *L, const char *text)
{
    int status = luaL_loadstring(L, text);
    if (status == 0) status = lua_pcall(L, 0, 0, 0);
    cr_assert_eq(status, 0, "%s", lua_tostring(L, -1));
    cr_assert_eq(lua_gettop(L), 0);
}
