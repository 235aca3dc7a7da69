/* The module `cmsgpack` of Redis' scripts: Lua values to and from MessagePack.
 *
 * MessagePack leaves choices open; these are the ones of the module inside redis-server
 * (lua-cmsgpack 0.4.0), so that packed bytes are the same:
 * - numbers that are whole and fit into 64 bits are integers in their shortest form, others floats
 *   of four bytes where that loses nothing, else of eight;
 * - a table whose keys are exactly 1..n (or that is empty) is an array, any other a map in the
 *   order of `next`, which is the one thing that LuaJIT and Lua 5.1 do not have in common;
 * - strings have the forms of `str` with all four lengths; `bin`, `ext` and `timestamp` are written
 *   by nobody and refused when read;
 * - the 17th table inside another, functions, userdata and threads are nil.
 *
 * Bytes are collected in a userdata on the stack that is replaced by a larger one when it is full:
 * an error that leaves by longjmp loses nothing, and the VM's own limit counts it.
 *
 * Hostile bytes: a length means nothing until as many bytes are there, tables are never made larger
 * ahead of their items, and each step asks for room on the Lua stack, whose limit (8000 slots, two
 * for each open table) also bounds the depth of the recursion on the C stack.
 * Source: https://github.com/msgpack/msgpack/blob/master/spec.md and
 * https://redis.io/docs/latest/develop/programmability/lua-api/#cmsgpack-library
 * Thread: owner. */
#include <lauxlib.h>
#include <limits.h>
#include <math.h>

#include "lib.h"
#include "number.h"
#include "splitring/base/slice.h"

#define NESTING_MAX 16
#define OUT_FIRST 256u

/* ---- writing ---- */

struct out {
    lua_State *L;
    int slot; /* of the userdata that holds the bytes */
    char *ptr;
    size_t len, cap;
};

static void out_init(struct out *out, lua_State *L)
{
    *out = (struct out){.L = L, .cap = OUT_FIRST};
    out->ptr = lua_newuserdata(L, out->cap);
    out->slot = lua_gettop(L);
}

static void put(struct out *out, const void *bytes, size_t len)
{
    if (len > out->cap - out->len) {
        size_t cap = (out->len + len) * 2;
        luaL_checkstack(out->L, 1, "in cmsgpack.pack");
        char *ptr = lua_newuserdata(out->L, cap);
        memcpy(ptr, out->ptr, out->len);
        lua_replace(out->L, out->slot);
        out->ptr = ptr;
        out->cap = cap;
    }
    if (len) memcpy(out->ptr + out->len, bytes, len);
    out->len += len;
}

/* One byte of type and a number of `size` bytes, the highest first. */
static void put_head(struct out *out, uint8_t type, uint64_t n, size_t size)
{
    uint8_t head[9] = {type};
    for (size_t i = 0; i < size; i++) head[1 + i] = (uint8_t)(n >> (8 * (size - 1 - i)));
    put(out, head, 1 + size);
}

static void pack_integer(struct out *out, int64_t n)
{
    uint64_t bits = (uint64_t)n;
    if (n >= -32 && n <= 127) put_head(out, (uint8_t)bits, 0, 0);
    else if (n >= 0 && n <= UINT8_MAX) put_head(out, 0xcc, bits, 1);
    else if (n >= 0 && n <= UINT16_MAX) put_head(out, 0xcd, bits, 2);
    else if (n >= 0 && n <= UINT32_MAX) put_head(out, 0xce, bits, 4);
    else if (n >= 0) put_head(out, 0xcf, bits, 8);
    else if (n >= INT8_MIN) put_head(out, 0xd0, bits, 1);
    else if (n >= INT16_MIN) put_head(out, 0xd1, bits, 2);
    else if (n >= INT32_MIN) put_head(out, 0xd2, bits, 4);
    else put_head(out, 0xd3, bits, 8);
}

static void pack_number(struct out *out, double n)
{
    if (isfinite(n) && (double)number_to_i64(n) == n) {
        pack_integer(out, number_to_i64(n));
        return;
    }
    float narrow = (float)n;
    if ((double)narrow == n) {
        uint32_t bits;
        memcpy(&bits, &narrow, sizeof(bits));
        put_head(out, 0xca, bits, 4);
    } else {
        uint64_t bits;
        memcpy(&bits, &n, sizeof(bits));
        put_head(out, 0xcb, bits, 8);
    }
}

static void pack_string(struct out *out, struct slice s)
{
    if (s.len < 32) put_head(out, (uint8_t)(0xa0 | s.len), 0, 0);
    else if (s.len <= UINT8_MAX) put_head(out, 0xd9, s.len, 1);
    else if (s.len <= UINT16_MAX) put_head(out, 0xda, s.len, 2);
    else put_head(out, 0xdb, s.len, 4);
    put(out, s.ptr, s.len);
}

/* The head of an array or a map: `small` with the count in it, `wide` (16 bits), wide + 1 (32). */
static void put_count(struct out *out, uint8_t small, uint8_t wide, size_t count)
{
    if (count <= 15) put_head(out, (uint8_t)(small | count), 0, 0);
    else if (count <= UINT16_MAX) put_head(out, wide, count, 2);
    else put_head(out, (uint8_t)(wide + 1), count, 4);
}

/* The table on top: how many pairs it has, and whether their keys are 1..count. */
static bool is_array(lua_State *L, size_t *count)
{
    bool whole = true;
    double highest = 0;
    *count = 0;
    luaL_checkstack(L, 3, "in cmsgpack.pack");
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        lua_pop(L, 1);
        (*count)++;
        double key = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : 0;
        whole = whole && key >= 1 && key <= INT_MAX && key == floor(key);
        if (key > highest) highest = key;
    }
    return whole && (double)*count == highest;
}

static void pack_top(struct out *out, int level);

static void pack_table(struct out *out, int level)
{
    lua_State *L = out->L;
    size_t count;
    if (is_array(L, &count)) {
        put_count(out, 0x90, 0xdc, count);
        for (size_t i = 1; i <= count; i++) {
            lua_rawgeti(L, -1, (int)i);
            pack_top(out, level + 1);
        }
        return;
    }
    put_count(out, 0x80, 0xde, count);
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        lua_pushvalue(L, -2);
        pack_top(out, level + 1); /* the key's copy */
        pack_top(out, level + 1); /* the value; the key stays for lua_next */
    }
}

/* Packs the value on top and takes it away. */
static void pack_top(struct out *out, int level)
{
    lua_State *L = out->L;
    switch (lua_type(L, -1)) {
    case LUA_TSTRING: {
        struct slice s;
        s.ptr = lua_tolstring(L, -1, &s.len);
        pack_string(out, s);
        break;
    }
    case LUA_TBOOLEAN: put_head(out, lua_toboolean(L, -1) ? 0xc3 : 0xc2, 0, 0); break;
    case LUA_TNUMBER: pack_number(out, lua_tonumber(L, -1)); break;
    case LUA_TTABLE:
        if (level < NESTING_MAX) pack_table(out, level);
        else put_head(out, 0xc0, 0, 0);
        break;
    default: put_head(out, 0xc0, 0, 0);
    }
    lua_pop(L, 1);
}

static int cmsgpack_pack(lua_State *L)
{
    int count = lua_gettop(L);
    struct out out;
    if (count == 0) return luaL_argerror(L, 0, "MessagePack pack needs input.");
    if (!lua_checkstack(L, count)) {
        return luaL_argerror(L, 0, "Too many arguments for MessagePack pack.");
    }
    luaL_checkstack(L, 2, "in cmsgpack.pack");
    out_init(&out, L);
    for (int i = 1; i <= count; i++) {
        lua_pushvalue(L, i);
        pack_top(&out, 0);
    }
    lua_pushlstring(L, out.ptr, out.len);
    return 1;
}

/* ---- reading ---- */

struct in {
    lua_State *L;
    const uint8_t *at;
    size_t left;
};

static void want(const struct in *in, size_t len)
{
    if (in->left < len) luaL_error(in->L, "Missing bytes in input.");
}
static void skip(struct in *in, size_t len)
{
    in->at += len;
    in->left -= len;
}

/* The big-endian number of `size` bytes behind the type's byte; both are passed. */
static uint64_t take_number(struct in *in, size_t size)
{
    want(in, 1 + size);
    uint64_t n = 0;
    for (size_t i = 0; i < size; i++) n = n << 8 | in->at[1 + i];
    skip(in, 1 + size);
    return n;
}

static void unpack_string(struct in *in, size_t len)
{
    want(in, len);
    lua_pushlstring(in->L, (const char *)in->at, len);
    skip(in, len);
}

static void unpack_value(struct in *in);

static void unpack_array(struct in *in, size_t count)
{
    lua_newtable(in->L);
    luaL_checkstack(in->L, 1, "in function mp_decode_to_lua_array");
    for (size_t i = 1; i <= count; i++) {
        lua_pushnumber(in->L, (lua_Number)i);
        unpack_value(in);
        lua_settable(in->L, -3);
    }
}

static void unpack_map(struct in *in, size_t count)
{
    lua_newtable(in->L);
    for (size_t i = 0; i < count; i++) {
        unpack_value(in);
        unpack_value(in);
        lua_settable(in->L, -3);
    }
}

static void unpack_float(struct in *in)
{
    uint32_t bits = (uint32_t)take_number(in, 4);
    float value;
    memcpy(&value, &bits, sizeof(value));
    lua_pushnumber(in->L, value);
}
static void unpack_double(struct in *in)
{
    uint64_t bits = take_number(in, 8);
    double value;
    memcpy(&value, &bits, sizeof(value));
    lua_pushnumber(in->L, value);
}

/* Forms whose length or value is in the byte itself. */
static void unpack_short(struct in *in, uint8_t type)
{
    skip(in, 1);
    if (type < 0x80 || type >= 0xe0) lua_pushinteger(in->L, (int8_t)type);
    else if (type >= 0xa0 && type < 0xc0) unpack_string(in, type & 0x1f);
    else if (type < 0x90) unpack_map(in, type & 0xf);
    else if (type < 0xa0) unpack_array(in, type & 0xf);
    else luaL_error(in->L, "Bad data format in input.");
}

/* Pushes the next value. */
static void unpack_value(struct in *in)
{
    lua_State *L = in->L;
    want(in, 1);
    luaL_checkstack(L, 1, "too many return values at once; "
                          "use unpack_one or unpack_limit instead.");
    uint8_t type = *in->at;
    switch (type) {
    case 0xc0: skip(in, 1), lua_pushnil(L); return;
    case 0xc2: case 0xc3: skip(in, 1), lua_pushboolean(L, type & 1); return;
    case 0xca: unpack_float(in); return;
    case 0xcb: unpack_double(in); return;
    case 0xcc: lua_pushinteger(L, (uint8_t)take_number(in, 1)); return;
    case 0xcd: lua_pushinteger(L, (uint16_t)take_number(in, 2)); return;
    case 0xce: lua_pushinteger(L, (uint32_t)take_number(in, 4)); return;
    case 0xcf: case 0xd3: lua_pushinteger(L, (int64_t)take_number(in, 8)); return;
    case 0xd0: lua_pushinteger(L, (int8_t)take_number(in, 1)); return;
    case 0xd1: lua_pushinteger(L, (int16_t)take_number(in, 2)); return;
    case 0xd2: lua_pushinteger(L, (int32_t)take_number(in, 4)); return;
    case 0xd9: unpack_string(in, take_number(in, 1)); return;
    case 0xda: unpack_string(in, take_number(in, 2)); return;
    case 0xdb: unpack_string(in, take_number(in, 4)); return;
    case 0xdc: unpack_array(in, take_number(in, 2)); return;
    case 0xdd: unpack_array(in, take_number(in, 4)); return;
    case 0xde: unpack_map(in, take_number(in, 2)); return;
    case 0xdf: unpack_map(in, take_number(in, 4)); return;
    default: unpack_short(in, type);
    }
}

/* unpack has neither limit nor offset and returns the values alone; the others put the offset of
 * what is left, or -1, before them. */
static int unpack_some(lua_State *L, int64_t limit, int64_t offset)
{
    bool all = !limit && !offset;
    struct slice s;
    s.ptr = luaL_checklstring(L, 1, &s.len);
    if (offset < 0 || limit < 0) {
        return luaL_error(L, "Invalid request to unpack with offset of %d and limit of %d.",
                          (int)offset, (int)s.len); /* it names the length, but Redis does */
    }
    if ((size_t)offset > s.len) {
        return luaL_error(L, "Start offset %d greater than input length %d.", (int)offset,
                          (int)s.len);
    }
    if (all) limit = INT_MAX;
    struct in in = {L, (const uint8_t *)s.ptr + offset, s.len - (size_t)offset};
    int count = 0;
    while (in.left > 0 && count < limit) {
        unpack_value(&in);
        count++;
    }
    if (all) return count;
    luaL_checkstack(L, 1, "in function mp_unpack_full");
    lua_pushinteger(L, in.left == 0 ? -1 : (lua_Integer)(s.len - in.left));
    lua_insert(L, 2);
    return count + 1;
}

static int cmsgpack_unpack(lua_State *L) { return unpack_some(L, 0, 0); }

static int cmsgpack_unpack_one(lua_State *L)
{
    int64_t offset = luaL_optinteger(L, 2, 0);
    lua_settop(L, 1);
    return unpack_some(L, 1, offset);
}

static int cmsgpack_unpack_limit(lua_State *L)
{
    int64_t limit = luaL_checkinteger(L, 2);
    int64_t offset = luaL_optinteger(L, 3, 0);
    lua_settop(L, 1);
    return unpack_some(L, limit, offset);
}

int luaopen_splitring_cmsgpack(lua_State *L)
{
    static const struct luaL_Reg functions[] = {
        {"pack", cmsgpack_pack}, {"unpack", cmsgpack_unpack},
        {"unpack_one", cmsgpack_unpack_one}, {"unpack_limit", cmsgpack_unpack_limit},
        {NULL, NULL}};
    static const char *const texts[][2] = {
        {"_NAME", "cmsgpack"}, {"_VERSION", "lua-cmsgpack 0.4.0"},
        {"_COPYRIGHT", "Copyright (C) 2012, Salvatore Sanfilippo"},
        {"_DESCRIPTION", "MessagePack C implementation for Lua"}};
    lua_newtable(L);
    for (const struct luaL_Reg *f = functions; f->name; f++) {
        lua_pushcfunction(L, f->func);
        lua_setfield(L, -2, f->name);
    }
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        lua_pushstring(L, texts[i][1]);
        lua_setfield(L, -2, texts[i][0]);
    }
    return 1;
}
