/* cmsgpack of scripts: forms by MessagePack's specification, the choices redis-server makes,
 * hostile bytes. tests/compat/lua_libs.py compares far more of it with redis-server. */
#include <criterion/criterion.h>
#include <lua.h>

#include "lib.h"
#include "plain_lua.h"

static void run(const char *text)
{
    lua_State *L = plain_lua("cmsgpack", luaopen_splitring_cmsgpack);
    plain_run(L, text);
    lua_close(L);
}

Test(cmsgpack_module, numbers)
{
    run("local p = function(...) return hex(cmsgpack.pack(...)) end\n"
        "same(p(0), '00') same(p(127), '7f') same(p(128), 'cc80') same(p(256), 'cd0100')\n"
        "same(p(65536), 'ce00010000') same(p(2 ^ 32), 'cf0000000100000000')\n"
        "same(p(-1), 'ff') same(p(-32), 'e0') same(p(-33), 'd0df') same(p(-129), 'd1ff7f')\n"
        "same(p(-32769), 'd2ffff7fff') same(p(-2 ^ 31 - 1), 'd3ffffffff7fffffff')\n"
        "same(p(1.5), 'ca3fc00000') same(p(0.1), 'cb3fb999999999999a')\n"
        "same(p(1 / 0), 'ca7f800000') same(p(2 ^ 63), 'ca5f000000')\n"
        "same(p(-2 ^ 63), 'd38000000000000000') same(p(true, false, nil), 'c3c2c0')");
}

Test(cmsgpack_module, strings_and_tables)
{
    run("local p = function(...) return hex(cmsgpack.pack(...)) end\n"
        "same(p('ab'), 'a26162') same(p(''), 'a0')\n"
        "same(p(('x'):rep(32)):sub(1, 4), 'd920') same(p(('x'):rep(256)):sub(1, 6), 'da0100')\n"
        "same(p(('x'):rep(65536)):sub(1, 10), 'db00010000')\n"
        "same(p({}), '90') same(p({1, 2}), '920102') same(p({a = 1}), '81a16101')\n"
        "same(p({[2] = 1}), '810201') same(p({[0] = 1}), '810001') same(p({[1.5] = 1}):sub(1, 2), "
        "'81')\n"
        "local t = {} for i = 1, 16 do t[i] = i end same(p(t):sub(1, 6), 'dc0010')\n"
        "local m = {} for i = 1, 16 do m['k' .. i] = i end same(p(m):sub(1, 6), 'de0010')\n"
        "same(p(print), 'c0')");
}

Test(cmsgpack_module, comes_back)
{
    run("local function text(v) if type(v) ~= 'table' then return tostring(v) end\n"
        "  local parts = {} for k, x in pairs(v) do parts[#parts + 1] = text(k) .. '=' .. text(x) "
        "end\n"
        "  table.sort(parts) return '{' .. table.concat(parts, ',') .. '}' end\n"
        "local big = {} for i = 1, 70000 do big[i] = 'v' .. i end\n"
        "local map = {} for i = 1, 70000 do map['k' .. i] = i end\n"
        "for _, v in ipairs{1, -5, 0.25, 'x', {1, {2, {a = 'b'}}}, {x = {y = {}}}, big, map,\n"
        "                   ('z'):rep(70000)} do\n"
        "  same(text(cmsgpack.unpack(cmsgpack.pack(v))), text(v)) end\n"
        "same(select('#', cmsgpack.unpack(cmsgpack.pack(1, nil, 3))), 3)");
}

Test(cmsgpack_module, parts)
{
    run("local s = cmsgpack.pack(10, 20, 30)\n"
        "local at, a = cmsgpack.unpack_one(s) same(at, 1) same(a, 10)\n"
        "at, a = cmsgpack.unpack_one(s, 2) same(at, -1) same(a, 30)\n"
        "local b at, a, b = cmsgpack.unpack_limit(s, 2) same(at, 2) same(a, 10) same(b, 20)\n"
        "same(cmsgpack.unpack_limit(s, 0, 1), 1)\n"
        "fails('Start offset 9 greater than input length 3.', cmsgpack.unpack_one, s, 9)\n"
        "fails('Invalid request to unpack with offset of -1 and limit of 3.',"
        " cmsgpack.unpack_one, s, -1)");
}

Test(cmsgpack_module, nesting_ends)
{
    run("local t = {} t[1] = t same(hex(cmsgpack.pack(t)), ('91'):rep(16) .. 'c0')\n"
        "local m = {} m.a = m same(hex(cmsgpack.pack(m)), ('81a161'):rep(16) .. 'c0')");
}

Test(cmsgpack_module, hostile)
{
    run("fails('MessagePack pack needs input.', cmsgpack.pack)\n"
        "for _, b in ipairs{'91', '81', '8101', 'd9', 'd905', 'db ff ff ff ff', 'dd ff ff ff ff',\n"
        "                   'df ff ff ff ff 01', 'cf 00', 'ca', 'a1', 'dc', 'de00'} do\n"
        "  fails('Missing bytes in input.', cmsgpack.unpack, bytes(b)) end\n"
        "for _, b in ipairs{'c1', 'c4 00', 'c7', 'd4', 'd8'} do\n"
        "  fails('Bad data format in input.', cmsgpack.unpack, bytes(b)) end\n"
        "fails('index is nil', cmsgpack.unpack, bytes('81 c0 01'))\n"
        "fails('index is NaN', cmsgpack.unpack, bytes('81 cb 7ff8000000000000 01'))\n"
        "for _, b in ipairs{'91', '8101', 'dd00000001'} do\n"
        "  fails('stack overflow', cmsgpack.unpack, bytes(b):rep(100000)) end\n"
        "fails('stack overflow', cmsgpack.unpack, ('x'):rep(100000))\n"
        "fails('Missing bytes', cmsgpack.unpack, bytes('dd ff ff ff ff'):rep(100))");
}
