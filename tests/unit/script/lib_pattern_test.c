/* Lua's patterns: every result and error of find, match, gmatch and gsub against those of LuaJIT's
 * own library, over random patterns; and what that library cannot do, being interrupted. */
#include <criterion/criterion.h>

#include "fake_host.h"
#include "plain_lua.h"
#include "vm_impl.h"

static int open_ours(lua_State *L)
{
    lua_newtable(L);
    lib_pattern_fill(L, lua_gettop(L));
    return 1;
}

/* Pieces that make many kinds of valid patterns and some malformed ones. */
static const char *const differential =
    "math.randomseed(20261122)\n"
    "local random, char = math.random, string.char\n"
    "local pieces = {'a', 'b', 'c', '.', '%a', '%d', '%s', '%W', '%x', '%p', '%u', '%z', '%C',\n"
    "  '[ab]', '[^ab]', '[a-c]', '[%a_]', '[]]', '[^]]', '[a-]', '[%d-z]', '%%', '%.', '-', ']',\n"
    "  '*', '+', '?', '(', ')', '(a)', '()', '(.-)', '(%w+)', '(a*(.)%w(%s*))', '%1', '%2', '%0',\n"
    "  '%b()', '%bab', '%b', '%f[%w]', '%f[^a]', '%fa', '$', '^', '%', '[', '[^', '[a', '%9'}\n"
    "local letters = {'a', 'b', 'c', '(', ')', ' ', '1', 'Z', '_', '-', '%', '\\0', '\\200', ']'}\n"
    "local function some(from, most) local t = {}\n"
    "  for i = 1, random(0, most) do t[i] = from[random(#from)] end return table.concat(t) end\n"
    "local function pattern() local t = {}\n"
    "  for i = 1, random(0, 5) do t[#t + 1] = pieces[random(#pieces)]\n"
    "    if random(3) == 1 then t[#t + 1] = ({'*', '+', '-', '?'})[random(4)] end end\n"
    "  return (random(5) == 1 and '^' or '') .. table.concat(t) .. (random(6) == 1 and '$' or '')\n"
    "end\n"
    "local function show(...) local t = {n = select('#', ...), ...}\n"
    "  for i = 1, t.n do t[i] = type(t[i]) .. ':' .. tostring(t[i]) end\n"
    "  return table.concat(t, ' | ') end\n"
    "local function all(lib, s, p) local t = {}\n"
    "  for a, b, c in lib.gmatch(s, p) do t[#t + 1] = show(a, b, c) if #t > 40 then break end end\n"
    "  return table.concat(t, ' ; ') end\n"
    "local bys = {'<%0>', '%1', '%2%1', '%%', 'x', '%', '%x', {a = 'A', b = false, ab = 7},\n"
    "  function(x, y) if x == 'a' then return nil end return tostring(x) .. tostring(y) end, 5}\n"
    "local seen, errors, matches = {}, 0, 0\n"
    "for round = 1, 60000 do\n"
    "  local s, p = some(letters, 12), pattern()\n"
    "  local init, by = random(-3, 4), bys[random(#bys)]\n"
    "  for _, call in ipairs{{'find', s, p, init}, {'match', s, p, init}, {'gsub', s, p, by},\n"
    "                        {'gsub', s, p, by, random(0, 2)}, {'find', s, p, 1, true}} do\n"
    "    local name = call[1]\n"
    "    local got = show(pcall(ours[name], unpack(call, 2, 5)))\n"
    "    local expected = show(pcall(string[name], unpack(call, 2, 5)))\n"
    "    if got ~= expected then error(('%s %q %q %s: %s, expected %s'):format(name, s, p,\n"
    "      tostring(call[4]), got, expected)) end\n"
    "    if got:find('boolean:false', 1, true) == 1 then errors = errors + 1\n"
    "      seen[got] = true else matches = matches + 1 end\n"
    "  end\n"
    "  local got, expected = show(pcall(all, ours, s, p)), show(pcall(all, string, s, p))\n"
    "  got, expected = got:gsub('%b[]:%d+: ', ''), expected:gsub('%b[]:%d+: ', '')\n"
    "  if got ~= expected then error(('gmatch %q %q: %s, expected %s'):format(s, p, got,\n"
    "    expected)) end\n"
    "end\n"
    "assert(errors > 10000 and matches > 100000, errors)\n"
    "local kinds = 0 for _ in pairs(seen) do kinds = kinds + 1 end assert(kinds >= 7, kinds)\n";

Test(lib_pattern, as_luajits_own)
{
    lua_State *L = plain_lua("ours", open_ours);
    plain_run(L, differential);
    lua_close(L);
}

Test(lib_pattern, bad_arguments)
{
    lua_State *L = plain_lua("ours", open_ours);
    plain_run(L,
        "fails(\"bad argument #1 to 'find' (string expected, got nil)\", "
        "  function() ours.find(nil, 'a') end)\n"
        "fails(\"bad argument #2 to 'match' (string expected, got table)\", "
        "  function() ours.match('a', {}) end)\n"
        "fails(\"bad argument #3 to 'gsub' (string/function/table expected)\", "
        "  function() ours.gsub('a', 'a') end)\n"
        "fails('invalid replacement value (a table)', "
        "  function() ours.gsub('a', 'a', function() return {} end) end)\n"
        "fails('too many captures', function() ours.find('a', ('()'):rep(33)) end)\n"
        "same(select('#', ours.find('a', ('()'):rep(32))), 34)\n"
        "same(ours.find(12, 2), 2)\n");
    lua_close(L);
}

Test(lib_pattern, deep_patterns_are_no_recursion)
{
    lua_State *L = plain_lua("ours", open_ours);
    plain_run(L,
        "local n = 3000\n"
        "same(ours.find(('a'):rep(n), ('a?'):rep(n) .. ('a'):rep(5)), 1)\n"
        "same(ours.match(('ab'):rep(n), '^' .. ('a*b-'):rep(20) .. '.*$'), ('ab'):rep(n))\n"
        "same(select(2, ours.gsub(('x '):rep(n), '%s+', '')), n)\n");
    lua_close(L);
}

/* Each of these would take longer than the sun lasts. */
Test(lib_pattern, a_kill_ends_a_match)
{
    static const char *const loops[] = {
        "return string.find(('a'):rep(60), ('a-'):rep(40)..'b')",
        "return pcall(string.match, ('a'):rep(60), ('a*'):rep(40)..'b')",
        "return {(string.gsub(('a'):rep(60), ('a?'):rep(60)..('a'):rep(60)..'b', ''))}",
        "for x in string.gmatch(('a'):rep(60), ('a+'):rep(40)..'b') do end",
        "return ('a'):rep(100000):find(('.-'):rep(9)..'b')",
    };
    for (size_t i = 0; i < ARRAY_COUNT(loops); i++) {
        struct fake_host h;
        fake_host_init(&h);
        h.kill_at = 20;
        const char *got = fake_host_eval(&h, loops[i]);
        cr_expect(strncmp(got, "-ERR Script killed by user with SCRIPT KILL. script: ", 53) == 0,
                  "%s: %s", loops[i], got);
        cr_expect_str_eq(fake_host_eval(&h, "return string.match('abc', 'b')"), "$1\r\nb\r\n");
        fake_host_deinit(&h);
    }
}
