/* The module `struct` of Redis' scripts: values to and from the bytes of C structures.
 *
 *   > < big, little endian      ![n] alignment (n a power of two; 8 without)   ' ' nothing
 *   b B h H l L T i[n] I[n]     integers of 1, 2, 8, 8, n (4 without; 32 at most) bytes
 *   f d   IEEE numbers          x    one byte of padding
 *   s     bytes up to a zero    c[n] n bytes (1 without); n = 0: all bytes when packing, as many
 *                               as the number before says when unpacking
 *
 * Elements are aligned to their size, at most to the alignment that is set (1 at first). All
 * choices below are those of the module inside redis-server, among them odd ones: signs are
 * extended within eight bytes; wider integers carry zeros above; `size` passes over letters it does
 * not know. One walk (`next_item`) reads a format for the three functions, so they cannot disagree
 * about where an element lies.
 *
 * Hostile formats: a size or an alignment beyond int is refused; a position is compared by
 * subtraction (it may be any 64-bit number the caller chose); results are pushed only after room
 * on the Lua stack was asked for. Output grows in Lua's own buffer, so it counts to the VM and its
 * end is a Lua error.
 * Source: https://redis.io/docs/latest/develop/programmability/lua-api/#struct-library
 * Thread: owner. */
#include <ctype.h>
#include <lauxlib.h>
#include <limits.h>

#include "lib.h"
#include "number.h"
#include "splitring/base/slice.h"

#define INT_BYTES_MAX 32
#define ALIGN_DEFAULT 8 /* of `!` alone: what a double needs */

struct format {
    const char *at;
    bool big;
    int align;
};

struct item {
    int option;
    size_t size;
    size_t padding; /* before it */
};

static int number_after(lua_State *L, struct format *f, int otherwise)
{
    if (!isdigit((unsigned char)*f->at)) return otherwise;
    int n = 0;
    while (isdigit((unsigned char)*f->at)) {
        int digit = *f->at++ - '0';
        if (n > (INT_MAX - digit) / 10) luaL_error(L, "integral size overflow");
        n = n * 10 + digit;
    }
    return n;
}

static size_t size_of(lua_State *L, struct format *f, int option)
{
    switch (option) {
    case 'b': case 'B': case 'x': return 1;
    case 'h': case 'H': return 2;
    case 'f': return 4;
    case 'l': case 'L': case 'T': case 'd': return 8;
    case 'c': return (size_t)number_after(L, f, 1);
    case 'i': case 'I': {
        int size = number_after(L, f, 4);
        if (size > INT_BYTES_MAX) {
            luaL_error(L, "integral size %d is larger than limit of %d", size, INT_BYTES_MAX);
        }
        return (size_t)size;
    }
    default: return 0;
    }
}

/* For sizes that are no power of two this is not a multiple, but it is what Redis does. */
static size_t padding_before(const struct format *f, const struct item *item, size_t at)
{
    size_t size = item->size;
    if (size == 0 || item->option == 'c') return 0;
    if (size > (size_t)f->align) size = (size_t)f->align;
    return (size - (at & (size - 1))) & (size - 1);
}

static bool next_item(lua_State *L, struct format *f, size_t at, struct item *item)
{
    if (*f->at == '\0') return false;
    item->option = (unsigned char)*f->at++;
    item->size = size_of(L, f, item->option);
    item->padding = padding_before(f, item, at);
    return true;
}

static void control(lua_State *L, struct format *f, int option)
{
    switch (option) {
    case ' ': return;
    case '>': f->big = true; return;
    case '<': f->big = false; return;
    case '!': {
        int align = number_after(L, f, ALIGN_DEFAULT);
        if (align <= 0 || (align & (align - 1)) != 0) {
            luaL_error(L, "alignment %d is not a power of 2", align);
        }
        f->align = align;
        return;
    }
    default: luaL_argerror(L, 1, lua_pushfstring(L, "invalid format option '%c'", option));
    }
}

static struct format format_of(lua_State *L)
{
    return (struct format){luaL_checkstring(L, 1), false, 1};
}

/* Byte i of `size`, counted from the least significant one, lies here. */
static inline size_t place(size_t i, size_t size, bool big) { return big ? size - 1 - i : i; }

static void add_integer(luaL_Buffer *out, uint64_t value, size_t size, bool big)
{
    char bytes[INT_BYTES_MAX];
    for (size_t i = 0; i < size; i++) {
        bytes[place(i, size, big)] = (char)(i < 8 ? value >> (8 * i) & 0xff : 0);
    }
    luaL_addlstring(out, bytes, size);
}

static uint64_t read_integer(const char *bytes, size_t size, bool big)
{
    uint64_t value = 0;
    for (size_t i = 0; i < size && i < 8; i++) {
        value |= (uint64_t)(uint8_t)bytes[place(i, size, big)] << (8 * i);
    }
    return value;
}

/* The sign bit is looked for at bit size * 8 - 1, counted modulo 64 as x86 shifts do. */
static lua_Number signed_number(uint64_t value, size_t size)
{
    uint64_t mask = UINT64_MAX << ((size * 8 - 1) & 63);
    if (value & mask) value |= mask;
    return (lua_Number)(int64_t)value;
}

static void pack_item(lua_State *L, luaL_Buffer *out, struct format *f, struct item *item, int *arg)
{
    switch (item->option) {
    case 'b': case 'B': case 'h': case 'H': case 'l': case 'L': case 'T': case 'i': case 'I':
        add_integer(out, number_to_u64(luaL_checknumber(L, (*arg)++)), item->size, f->big);
        return;
    case 'x': luaL_addchar(out, '\0'); return;
    case 'f': {
        float value = (float)luaL_checknumber(L, (*arg)++);
        uint32_t bits;
        memcpy(&bits, &value, sizeof(bits));
        add_integer(out, bits, sizeof(bits), f->big);
        return;
    }
    case 'd': {
        double value = luaL_checknumber(L, (*arg)++);
        uint64_t bits;
        memcpy(&bits, &value, sizeof(bits));
        add_integer(out, bits, sizeof(bits), f->big);
        return;
    }
    case 'c': case 's': {
        size_t len;
        const char *bytes = luaL_checklstring(L, (*arg)++, &len);
        if (item->size == 0) item->size = len;
        luaL_argcheck(L, len >= item->size, *arg, "string too short");
        luaL_addlstring(out, bytes, item->size);
        if (item->option == 's') {
            luaL_addchar(out, '\0');
            item->size++;
        }
        return;
    }
    default: control(L, f, item->option);
    }
}

static int struct_pack(lua_State *L)
{
    struct format f = format_of(L);
    struct item item;
    size_t at = 0;
    int arg = 2;
    luaL_Buffer out;
    lua_pushnil(L); /* an argument too few is this, not a piece of the buffer */
    luaL_buffinit(L, &out);
    while (next_item(L, &f, at, &item)) {
        for (size_t i = 0; i < item.padding; i++) luaL_addchar(&out, '\0');
        pack_item(L, &out, &f, &item, &arg);
        at += item.padding + item.size;
    }
    luaL_pushresult(&out);
    return 1;
}

/* What struct.unpack has of its data; pos <= len is checked before anything is read. */
struct source {
    const char *ptr;
    size_t len;
    size_t pos;
    int count; /* results pushed */
};

static void need(lua_State *L, const struct source *src, size_t size)
{
    luaL_argcheck(L, size <= src->len && src->pos <= src->len - size, 2, "data string too short");
}

/* Bytes of 'c': with size 0 as many as the last result says, which is taken back. */
static size_t unpack_bytes(lua_State *L, struct source *src, size_t size)
{
    if (size == 0) {
        if (src->count == 0 || !lua_isnumber(L, -1)) {
            luaL_error(L, "format 'c0' needs a previous size");
        }
        size = (size_t)number_to_u64(lua_tonumber(L, -1));
        lua_pop(L, 1);
        src->count--;
        need(L, src, size);
    }
    lua_pushlstring(L, src->ptr + src->pos, size);
    src->count++;
    return size;
}

static size_t unpack_zero_ended(lua_State *L, struct source *src)
{
    const char *from = src->ptr + src->pos;
    const char *end = memchr(from, '\0', src->len - src->pos);
    if (!end) luaL_error(L, "unfinished string in data");
    size_t len = (size_t)(end - from);
    lua_pushlstring(L, from, len);
    src->count++;
    return len + 1;
}

static void unpack_item(lua_State *L, struct source *src, struct format *f, struct item *item)
{
    const char *from = src->ptr + src->pos;
    uint64_t bits = item->size <= INT_BYTES_MAX ? read_integer(from, item->size, f->big) : 0;
    switch (item->option) {
    case 'b': case 'h': case 'l': case 'i':
        lua_pushnumber(L, signed_number(bits, item->size));
        break;
    case 'B': case 'H': case 'L': case 'T': case 'I':
        lua_pushnumber(L, (lua_Number)bits);
        break;
    case 'f': {
        uint32_t low = (uint32_t)bits;
        float value;
        memcpy(&value, &low, sizeof(value));
        lua_pushnumber(L, value);
        break;
    }
    case 'd': {
        double value;
        memcpy(&value, &bits, sizeof(value));
        lua_pushnumber(L, value);
        break;
    }
    case 'c': item->size = unpack_bytes(L, src, item->size); return;
    case 's': item->size = unpack_zero_ended(L, src); return;
    case 'x': return;
    default: control(L, f, item->option); return;
    }
    src->count++;
}

static int struct_unpack(lua_State *L)
{
    struct format f = format_of(L);
    struct source src = {0};
    struct item item;
    src.ptr = luaL_checklstring(L, 2, &src.len);
    src.pos = (size_t)luaL_optinteger(L, 3, 1);
    luaL_argcheck(L, src.pos > 0, 3, "offset must be 1 or greater");
    src.pos--;
    while (next_item(L, &f, src.pos, &item)) {
        src.pos += item.padding;
        need(L, &src, item.size);
        luaL_checkstack(L, 2, "too many results");
        unpack_item(L, &src, &f, &item);
        src.pos += item.size;
    }
    lua_pushinteger(L, (lua_Integer)(src.pos + 1));
    return src.count + 1;
}

static int struct_size(lua_State *L)
{
    struct format f = format_of(L);
    struct item item;
    size_t at = 0;
    while (next_item(L, &f, at, &item)) {
        if (item.option == 's') luaL_argerror(L, 1, "option 's' has no fixed size");
        if (item.option == 'c' && item.size == 0) {
            luaL_argerror(L, 1, "option 'c0' has no fixed size");
        }
        if (!isalnum(item.option)) control(L, &f, item.option);
        at += item.padding + item.size;
    }
    lua_pushinteger(L, (lua_Integer)at);
    return 1;
}

int luaopen_splitring_struct(lua_State *L)
{
    static const struct luaL_Reg functions[] = {
        {"pack", struct_pack}, {"unpack", struct_unpack}, {"size", struct_size}, {NULL, NULL}};
    lua_newtable(L);
    for (const struct luaL_Reg *f = functions; f->name; f++) {
        lua_pushcfunction(L, f->func);
        lua_setfield(L, -2, f->name);
    }
    return 1;
}
