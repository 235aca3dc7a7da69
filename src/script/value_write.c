/* A script's result becomes a reply.
 *
 * Strings, numbers (cut to integers), booleans and nil are written straight from the coroutine. A
 * table goes through value_convert(), a protected C function on the main state, because walking
 * deep ones needs Lua's stack to grow, which may fail.
 *
 * The walk is a loop with frames of its own, not a recursion: tables may contain themselves, and
 * then Redis goes on to the limit of Lua's stack (about 8000 levels) before it says so. `slots`
 * counts what Redis would have on its Lua stack, so that the limit is met at the same level.
 * Lists end at the first nil. A table is, in this order, an error, a status, a double, a big
 * number, a verbatim string, a map, a set, or a list.
 * Source: https://redis.io/docs/latest/develop/programmability/lua-api/#data-type-conversion
 * Thread: owner. */
#include "splitring/base/mem.h"
#include "vm_impl.h"

#define SLOTS_MAX 8000u /* LUAI_MAXCSTACK */

enum frame_kind { FRAME_LIST, FRAME_MAP, FRAME_MAP_VALUE, FRAME_SET };

/* Names that are looked for, as upvalues of value_convert: pushing those allocates nothing. */
enum name {
    NAME_ERR = 1, NAME_OK, NAME_DOUBLE, NAME_BIG_NUMBER, NAME_VERBATIM, NAME_FORMAT, NAME_STRING,
    NAME_MAP, NAME_SET, NAME_IGNORE, NAME_LAST = NAME_IGNORE
};
static const char *const names[] = {
    "err", "ok", "double", "big_number", "verbatim_string", "format", "string", "map", "set",
    "ignore_error_stats_update",
};

struct writer {
    struct world *w;
    lua_State *L;
    struct reply *out;
    uint32_t depth;
    uint8_t proto; /* redis.setresp */
};

void value_push_convert(lua_State *L)
{
    for (int i = 0; i < NAME_LAST; i++) lua_pushstring(L, names[i]);
    lua_pushcclosure(L, value_convert, NAME_LAST);
}

/* As the cast of x86-64 does it, which Redis uses: outside of the range the smallest integer. */
static int64_t to_integer(double value)
{
    if (value >= -9223372036854775808.0 && value < 9223372036854775808.0) return (int64_t)value;
    return INT64_MIN;
}

/* Neither table nor unknown: written, not popped. */
static void write_scalar(lua_State *L, uint8_t proto, struct reply *out)
{
    size_t len;
    const char *text;
    switch (lua_type(L, -1)) {
    case LUA_TSTRING:
        text = lua_tolstring(L, -1, &len);
        reply_bulk(out, text, len);
        break;
    case LUA_TNUMBER: reply_int(out, to_integer(lua_tonumber(L, -1))); break;
    case LUA_TBOOLEAN:
        if (proto >= 3) {
            reply_bool(out, lua_toboolean(L, -1));
        } else if (lua_toboolean(L, -1)) {
            reply_int(out, 1);
        } else {
            reply_null(out);
        }
        break;
    default: reply_null(out); break;
    }
}

/* ---- tables that stand for one value ---- */

/* Pushes the field of the table at the top; its type. */
static int field(lua_State *L, enum name name)
{
    lua_pushvalue(L, lua_upvalueindex((int)name));
    lua_rawget(L, -2);
    return lua_type(L, -1);
}

/* "+text", line ends as blanks; big numbers likewise. */
static void write_line(struct reply *out, char type, const char *text, size_t len)
{
    struct buf *b = out->out;
    if (!buf_reserve(b, len + 3)) return;
    char *to = b->ptr + b->len;
    *to++ = type;
    for (size_t i = 0; i < len; i++) *to++ = text[i] == '\r' || text[i] == '\n' ? ' ' : text[i];
    memcpy(to, "\r\n", 2);
    b->len += len + 3;
}

static void write_error(struct writer *v)
{
    const char *text = lua_tostring(v->L, -1); /* as Redis: up to the first NUL */
    uint32_t errors = v->out->errors;
    reply_error_text(v->out, text, strlen(text));
    lua_pop(v->L, 1);
    /* Counted by the command that said it. */
    if (field(v->L, NAME_IGNORE) == LUA_TBOOLEAN && lua_toboolean(v->L, -1)) {
        v->out->errors = errors;
    }
    lua_pop(v->L, 1);
}

/* A big number goes to RESP2 as a bulk string. */
static void write_big_number(struct writer *v)
{
    size_t len;
    const char *text = lua_tolstring(v->L, -1, &len);
    if (v->out->proto >= 3) {
        write_line(v->out, '(', text, len);
        return;
    }
    struct buf *b = v->out->out;
    size_t end = b->len + len + 2;
    reply_bulk(v->out, text, len);
    if (b->failed) return;
    end = b->len - 2;
    for (size_t i = end - len; i < end; i++) {
        if (b->ptr[i] == '\r' || b->ptr[i] == '\n') b->ptr[i] = ' ';
    }
}

/* {format = "txt", string = …} is at the top. */
static bool write_verbatim(struct writer *v)
{
    lua_State *L = v->L;
    bool good = false;
    if (field(L, NAME_FORMAT) == LUA_TSTRING) {
        lua_insert(L, -2);
        if (field(L, NAME_STRING) == LUA_TSTRING) {
            size_t len;
            const char *format = lua_tostring(L, -3);
            const char *text = lua_tolstring(L, -1, &len);
            char ext[3];
            for (size_t i = 0; i < 3; i++) ext[i] = *format ? *format++ : ' ';
            reply_verbatim(v->out, ext, slice_of(text, len));
            good = true;
        }
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return good;
}

/* The table at the top is one value: written, true. The stack is as before. */
static bool write_single(struct writer *v)
{
    lua_State *L = v->L;
    size_t len;
    if (field(L, NAME_ERR) == LUA_TSTRING) {
        write_error(v);
        return true;
    }
    lua_pop(L, 1);
    bool good = true;
    if (field(L, NAME_OK) == LUA_TSTRING) {
        const char *text = lua_tolstring(L, -1, &len);
        write_line(v->out, '+', text, strlen(text));
    } else if (lua_pop(L, 1), field(L, NAME_DOUBLE) == LUA_TNUMBER) {
        reply_double(v->out, lua_tonumber(L, -1));
    } else if (lua_pop(L, 1), field(L, NAME_BIG_NUMBER) == LUA_TSTRING) {
        write_big_number(v);
    } else if (lua_pop(L, 1), field(L, NAME_VERBATIM) == LUA_TTABLE) {
        good = write_verbatim(v);
    } else {
        good = false;
    }
    lua_pop(L, 1);
    return good;
}

/* ---- tables that hold others ---- */

static struct reply_frame *frame_push(struct writer *v, uint8_t kind, uint32_t slots)
{
    struct world *w = v->w;
    if (v->depth == w->frame_cap) {
        size_t cap = w->frame_cap ? 2 * w->frame_cap : 16;
        struct reply_frame *frames = mem_try_realloc(w->frames, cap * sizeof(*frames));
        if (frames == NULL) luaL_error(v->L, "not enough memory");
        w->frames = frames;
        w->frame_cap = cap;
    }
    struct reply_frame *f = &w->frames[v->depth++];
    *f = (struct reply_frame){.kind = kind, .slots = slots};
    return f;
}

static uint32_t count_pairs(lua_State *L)
{
    uint32_t count = 0;
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        lua_pop(L, 1);
        count++;
    }
    return count;
}

static uint32_t count_list(lua_State *L)
{
    uint32_t count = 0;
    for (;;) {
        lua_rawgeti(L, -1, (int)count + 1);
        bool end = lua_isnil(L, -1);
        lua_pop(L, 1);
        if (end) return count;
        count++;
    }
}

/* The table at the top stays there, or the one inside it takes its place; its header is written. */
static void open_table(struct writer *v, uint32_t slots)
{
    lua_State *L = v->L;
    bool map = field(L, NAME_MAP) == LUA_TTABLE;
    if (!map) lua_pop(L, 1);
    if (map || field(L, NAME_SET) == LUA_TTABLE) {
        lua_replace(L, -2);
        uint32_t count = count_pairs(L);
        if (map) {
            reply_map(v->out, count);
        } else {
            reply_set(v->out, count);
        }
        frame_push(v, map ? FRAME_MAP : FRAME_SET, slots);
        lua_pushnil(L);
        return;
    }
    lua_pop(L, 1);
    struct reply_frame *f = frame_push(v, FRAME_LIST, slots);
    f->count = count_list(L);
    reply_array(v->out, f->count);
}

/* The value at the top, at that depth of Redis' stack: written and popped, or opened. */
static void write_value(struct writer *v, uint32_t slots)
{
    if (slots + 4 > SLOTS_MAX || !lua_checkstack(v->L, 4)) {
        reply_error(v->out, ERR_SCRIPT_STACK);
    } else if (lua_type(v->L, -1) != LUA_TTABLE) {
        write_scalar(v->L, v->proto, v->out);
    } else if (!write_single(v)) {
        open_table(v, slots);
        return;
    }
    lua_pop(v->L, 1);
}

/* One step of the innermost open table. A map has on the stack itself and the last key, and while
 * a key is written its value and then that key again. */
static void step(struct writer *v)
{
    lua_State *L = v->L;
    struct reply_frame *f = &v->w->frames[v->depth - 1];
    switch ((enum frame_kind)f->kind) {
    case FRAME_LIST:
        if (f->next < f->count) {
            lua_rawgeti(L, -1, (int)++f->next);
            write_value(v, f->slots + 1);
            return;
        }
        break;
    case FRAME_MAP:
        if (lua_next(L, -2)) {
            f->kind = FRAME_MAP_VALUE;
            lua_pushvalue(L, -2);
            write_value(v, f->slots + 4);
            return;
        }
        break;
    case FRAME_MAP_VALUE:
        f->kind = FRAME_MAP;
        write_value(v, f->slots + 3);
        return;
    case FRAME_SET:
        if (lua_next(L, -2)) {
            lua_pop(L, 1);
            lua_pushvalue(L, -1);
            write_value(v, f->slots + 3);
            return;
        }
        break;
    }
    lua_pop(L, 1);
    v->depth--;
}

/* Protected: the value; world.arg is a struct writer. */
int value_convert(lua_State *L)
{
    struct writer *v = world_of(L)->arg;
    v->L = L;
    write_value(v, 2);
    while (v->depth) step(v);
    return 0;
}

void value_write(struct world *w, lua_State *co, uint8_t run_proto, struct reply *out)
{
    if (lua_type(co, -1) != LUA_TTABLE) {
        write_scalar(co, run_proto, out);
        return;
    }
    struct writer v = {.w = w, .out = out, .proto = run_proto};
    size_t mark = out->out->len;
    lua_State *L = w->L;
    lua_pushvalue(L, SLOT_CONVERT);
    lua_xmove(co, L, 1);
    w->arg = &v;
    if (lua_pcall(L, 1, 0, 0) != 0) {
        lua_settop(L, SLOT_LAST);
        if (!out->out->failed) out->out->len = mark;
        reply_error(out, ERR_NO_MEMORY);
    }
}
