/* struct of scripts: layouts by their definition, the choices redis-server makes, hostile formats.
 * tests/compat/lua_libs.py compares far more of it with redis-server. */
#include <criterion/criterion.h>
#include <lua.h>

#include "lib.h"
#include "plain_lua.h"

static void run(const char *text)
{
    lua_State *L = plain_lua("struct", luaopen_splitring_struct);
    plain_run(L, text);
    lua_close(L);
}

Test(struct_module, integers)
{
    run("same(hex(struct.pack('<h', 1)), '0100')\n"
        "same(hex(struct.pack('>h', 1)), '0001')\n"
        "same(hex(struct.pack('>i3', -2)), 'fffffe')\n"
        "same(hex(struct.pack('bB', -1, 255)), 'ffff')\n"
        "same(hex(struct.pack('>I12', 258)), '000000000000000000000102')\n"
        "same(struct.unpack('>i3', bytes('fffffe')), -2)\n"
        "same(struct.unpack('>I3', bytes('fffffe')), 0xfffffe)\n"
        "same(struct.unpack('<l', bytes('ff ff ff ff ff ff ff ff')), -1)\n"
        "same(struct.unpack('<L', bytes('00 00 00 00 00 00 00 80')), 2 ^ 63)\n");
}

Test(struct_module, every_size_comes_back)
{
    run("for size = 1, 32 do for _, endian in ipairs{'<', '>'} do\n"
        "  for _, n in ipairs{0, 1, -1, 100, -100} do\n"
        "    local form = endian .. 'i' .. size\n"
        "    local packed = struct.pack(form, n)\n"
        "    same(#packed, size)\n"
        "    if n >= 0 or size <= 8 then same(struct.unpack(form, packed), n) end\n"
        "  end end end");
}

Test(struct_module, floats_and_strings)
{
    run("same(hex(struct.pack('>d', 1)), '3ff0000000000000')\n"
        "same(hex(struct.pack('<f', -2)), '000000c0')\n"
        "same(struct.unpack('>d', struct.pack('>d', 0.1)), 0.1)\n"
        "same(hex(struct.pack('s', 'ab')), '616200')\n"
        "same(hex(struct.pack('c2', 'abc')), '6162')\n"
        "same(hex(struct.pack('Bc0', 3, 'abc')), '03616263')\n"
        "same(struct.unpack('Bc0', bytes('03616263')), 'abc')\n"
        "local s, n, at = struct.unpack('sB', bytes('61620007'))\n"
        "same(s, 'ab') same(n, 7) same(at, 5)\n"
        "same(select(2, struct.unpack('B', 'abc', 2)), 3)");
}

Test(struct_module, alignment)
{
    run("same(struct.size('!bi'), 8)\n"
        "same(struct.size('bi'), 5)\n"
        "same(struct.size('!2bi'), 6)\n"
        "same(struct.size('!8bd'), 16)\n"
        "same(hex(struct.pack('!<bi', 1, 2)), '0100000002000000')\n"
        "same(struct.unpack('!<xi', bytes('ff 00 00 00 02 00 00 00')), 2)\n"
        "fails('alignment 3 is not a power of 2', struct.pack, '!3')\n"
        "fails('alignment 0 is not a power of 2', struct.size, '!0')");
}

Test(struct_module, hostile)
{
    run("fails('integral size 33 is larger than limit of 32', struct.pack, 'i33', 1)\n"
        "fails('integral size overflow', struct.pack, 'i2147483648', 1)\n"
        "fails('integral size overflow', struct.unpack, '!99999999999999999999', '')\n"
        "fails('data string too short', struct.unpack, 'c2147483647', 'ab')\n"
        "fails('data string too short', struct.unpack, 'i', 'abc')\n"
        "fails('data string too short', struct.unpack, 'b', 'abc', -1)\n"
        "fails('data string too short', struct.unpack, '!16i16', 'abc', -3)\n"
        "fails('data string too short', struct.unpack, 'b', 'abc', 2 ^ 62)\n"
        "fails('offset must be 1 or greater', struct.unpack, 'b', 'abc', 0)\n"
        "fails('data string too short', struct.unpack, 'bc0', bytes('ff6162'))\n"
        "fails('data string too short', struct.unpack, 'dc0', struct.pack('d', 2 ^ 63) .. 'ab')\n"
        "fails(\"format 'c0' needs a previous size\", struct.unpack, 'c0', 'ab')\n"
        "fails('unfinished string in data', struct.unpack, 's', 'ab')\n"
        "fails('too many results', struct.unpack, ('b'):rep(9000), ('x'):rep(9000))\n"
        "fails(\"invalid format option 'z'\", struct.pack, 'z')\n"
        "fails(\"option 's' has no fixed size\", struct.size, 's')\n"
        "fails(\"option 'c0' has no fixed size\", struct.size, 'c0')\n"
        "fails('string too short', struct.pack, 'c9', 'ab')\n"
        "fails('got nil', struct.pack, 'b')\n"
        "fails('got nil', struct.pack, ('x'):rep(100000) .. 'b')\n"
        "for _, n in ipairs{0 / 0, 1 / 0, -1 / 0, 2 ^ 63, 2 ^ 64, -2 ^ 70} do\n"
        "  same(#struct.pack('l', n), 8) end");
}
