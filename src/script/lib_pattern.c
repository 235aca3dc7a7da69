/* find, match, gmatch and gsub of Lua's string library.
 *
 * LuaJIT's own cannot be interrupted, and a pattern of a few dozen bytes can keep them busy for
 * longer than the machine will last. These ask the host as often as the hook would (run_poll): a
 * SCRIPT KILL ends them, and so does the limit for scripts that cannot pause. They cannot pause
 * themselves: Lua 5.1 does not come back into a C function.
 *
 * The frames of a match (pattern.h) lie on the C stack, or in a userdata of the script if they are
 * many; nothing here owns anything when an error is thrown.
 * Behaviour and error texts: Lua 5.1, https://www.lua.org/manual/5.1/manual.html#5.4
 * Thread: owner. */
#include "pattern.h"
#include "vm_impl.h"

#define POLL_STEPS 50000u
#define OWN_FRAMES 16u

struct search {
    struct pattern_match m;
    lua_State *L;
    struct pattern_frame own[OWN_FRAMES];
};

static void search_init(struct search *s, lua_State *L, struct slice subject, const char *pattern)
{
    struct pattern_frame *frames = s->own;
    size_t count = pattern_frames(pattern);
    if (count > OWN_FRAMES) frames = lua_newuserdata(L, count * sizeof *frames);
    s->L = L;
    pattern_init(&s->m, subject, pattern, frames);
    s->m.steps = POLL_STEPS;
}

/* Where a match that begins at this place ends, or NULL. */
static const char *search_at(struct search *s, const char *at)
{
    enum pattern_result result;
    pattern_begin(&s->m, at);
    while ((result = pattern_step(&s->m)) == PATTERN_MORE) {
        run_poll(s->L);
        s->m.steps = POLL_STEPS;
    }
    if (result == PATTERN_ERROR) luaL_error(s->L, "%s", s->m.error);
    return result == PATTERN_MATCHED ? s->m.at : NULL;
}

static struct slice arg_slice(lua_State *L, int index)
{
    struct slice text;
    text.ptr = luaL_checklstring(L, index, &text.len);
    return text;
}

/* The capture, or for the first one of a pattern that has none, the whole match. */
static void push_capture(struct search *s, unsigned i, const char *from, const char *to)
{
    lua_State *L = s->L;
    if (i >= s->m.level) {
        if (i != 0) luaL_error(L, "invalid capture index");
        lua_pushlstring(L, from, (size_t)(to - from));
        return;
    }
    const struct pattern_capture *c = &s->m.captures[i];
    if (c->len == PATTERN_OPEN) luaL_error(L, "unfinished capture");
    if (c->len == PATTERN_POSITION)
        lua_pushinteger(L, c->at - s->m.subject + 1);
    else
        lua_pushlstring(L, c->at, (size_t)c->len);
}

static int push_captures(struct search *s, const char *from, const char *to)
{
    unsigned count = s->m.level == 0 && from ? 1 : s->m.level;
    luaL_checkstack(s->L, (int)count, "too many captures");
    for (unsigned i = 0; i < count; i++) push_capture(s, i, from, to);
    return (int)count;
}

static int push_found(lua_State *L, size_t at, size_t len)
{
    lua_pushinteger(L, (lua_Integer)at + 1);
    lua_pushinteger(L, (lua_Integer)(at + len));
    return 2;
}

/* The third argument of find and match, as an offset. */
static size_t first_offset(lua_State *L, size_t len)
{
    ptrdiff_t at = luaL_optinteger(L, 3, 1);
    if (at < 0) at += (ptrdiff_t)len + 1;
    if (at < 1) return 0;
    return (size_t)at - 1 > len ? len : (size_t)at - 1;
}

static int search_from(lua_State *L, struct slice text, struct slice pattern, size_t first,
                       bool find)
{
    struct search s;
    bool anchored = pattern.ptr[0] == '^';
    search_init(&s, L, text, pattern.ptr + anchored);
    const char *end = text.ptr + text.len;
    for (const char *at = text.ptr + first; at <= end; at++) {
        const char *to = search_at(&s, at);
        if (to) {
            if (!find) return push_captures(&s, at, to);
            push_found(L, (size_t)(at - text.ptr), (size_t)(to - at));
            return 2 + push_captures(&s, NULL, NULL);
        }
        if (anchored) break;
    }
    lua_pushnil(L);
    return 1;
}

static int string_find(lua_State *L)
{
    struct slice text = arg_slice(L, 1), pattern = arg_slice(L, 2);
    size_t first = first_offset(L, text.len);
    if (!lua_toboolean(L, 4) && strpbrk(pattern.ptr, "^$*+?.([%-"))
        return search_from(L, text, pattern, first, true);
    const char *at = memmem(text.ptr + first, text.len - first, pattern.ptr, pattern.len);
    if (at) return push_found(L, (size_t)(at - text.ptr), pattern.len);
    lua_pushnil(L);
    return 1;
}

static int string_match(lua_State *L)
{
    struct slice text = arg_slice(L, 1), pattern = arg_slice(L, 2);
    return search_from(L, text, pattern, first_offset(L, text.len), false);
}

static int gmatch_next(lua_State *L)
{
    struct search s;
    struct slice text;
    text.ptr = lua_tolstring(L, lua_upvalueindex(1), &text.len);
    search_init(&s, L, text, lua_tostring(L, lua_upvalueindex(2)));
    const char *end = text.ptr + text.len;
    for (const char *at = text.ptr + lua_tointeger(L, lua_upvalueindex(3)); at <= end; at++) {
        const char *to = search_at(&s, at);
        if (!to) continue;
        lua_pushinteger(L, to - text.ptr + (to == at));
        lua_replace(L, lua_upvalueindex(3));
        return push_captures(&s, at, to);
    }
    return 0;
}

static int string_gmatch(lua_State *L)
{
    arg_slice(L, 1);
    arg_slice(L, 2);
    lua_settop(L, 2);
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, gmatch_next, 3);
    return 1;
}

/* ---- gsub ---- */

static void add_text(struct search *s, luaL_Buffer *b, const char *from, const char *to)
{
    struct slice by;
    by.ptr = lua_tolstring(s->L, 3, &by.len);
    for (size_t i = 0; i < by.len; i++) {
        if (by.ptr[i] != '%') {
            luaL_addchar(b, by.ptr[i]);
            continue;
        }
        char c = by.ptr[++i]; /* a NUL, at the end */
        if (c == '0') {
            luaL_addlstring(b, from, (size_t)(to - from));
        } else if (c >= '1' && c <= '9') {
            push_capture(s, (unsigned)(c - '1'), from, to);
            luaL_addvalue(b);
        } else {
            luaL_addchar(b, c);
        }
    }
}

static void add_value(struct search *s, luaL_Buffer *b, const char *from, const char *to)
{
    lua_State *L = s->L;
    switch (lua_type(L, 3)) {
    case LUA_TFUNCTION:
        lua_pushvalue(L, 3);
        lua_call(L, push_captures(s, from, to), 1);
        break;
    case LUA_TTABLE:
        push_capture(s, 0, from, to);
        lua_gettable(L, 3);
        break;
    default: add_text(s, b, from, to); return;
    }
    if (!lua_toboolean(L, -1)) {
        lua_pop(L, 1);
        lua_pushlstring(L, from, (size_t)(to - from));
    } else if (!lua_isstring(L, -1)) {
        luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
    }
    luaL_addvalue(b);
}

static int string_gsub(lua_State *L)
{
    struct slice text = arg_slice(L, 1), pattern = arg_slice(L, 2);
    int type = lua_type(L, 3);
    luaL_argcheck(L, type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TFUNCTION ||
                         type == LUA_TTABLE, 3, "string/function/table expected");
    if (type == LUA_TNUMBER) lua_tostring(L, 3); /* before the buffer, which owns the stack's top */
    int most = luaL_optint(L, 4, (int)text.len + 1), count = 0;
    struct search s;
    luaL_Buffer b;
    bool anchored = pattern.ptr[0] == '^';
    search_init(&s, L, text, pattern.ptr + anchored);
    luaL_buffinit(L, &b);
    const char *at = text.ptr, *end = text.ptr + text.len;
    while (count < most) {
        const char *to = search_at(&s, at);
        if (to) {
            count++;
            add_value(&s, &b, at, to);
        }
        if (to && to > at)
            at = to;
        else if (at < end)
            luaL_addchar(&b, *at++);
        else
            break;
        if (anchored) break;
    }
    luaL_addlstring(&b, at, (size_t)(end - at));
    luaL_pushresult(&b);
    lua_pushinteger(L, count);
    return 2;
}

void lib_pattern_fill(lua_State *L, int library)
{
    static const luaL_Reg functions[] = {
        {"find", string_find}, {"match", string_match},
        {"gmatch", string_gmatch}, {"gfind", string_gmatch}, {"gsub", string_gsub},
    };
    for (size_t i = 0; i < ARRAY_COUNT(functions); i++) {
        lua_pushcfunction(L, functions[i].func);
        lua_setfield(L, library, functions[i].name);
    }
}
