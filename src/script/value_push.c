/* A command's reply becomes a Lua value.
 *
 *   :1 → 1      $ → string    $-1 *-1 → false    + → {ok = …}    - → {err = …}    * → list
 *   RESP3, after redis.setresp(3):   _ → nil    #t → true    , → {double = …}    ( → {big_number}
 *   % → {map = {…}}    ~ → {set = {member = true}}    = → {verbatim_string = {format, string}}
 *
 * The text is our own writer's, so what does not fit its grammar is an error of ours, not of a
 * client; it is looked at all the same, because it is cheap and the alternative is a wild read.
 * Source: https://redis.io/docs/latest/develop/programmability/lua-api/#data-type-conversion
 * Thread: owner. */
#include <math.h>

#include "splitring/base/num.h"
#include "vm_impl.h"

#define DEPTH_MAX 64 /* replies of commands nest a dozen deep */

struct reader {
    lua_State *L;
    const char *at, *end;
    int depth;
};

static bool push_value(struct reader *r);

/* The line after the type, without its end. */
static bool read_line(struct reader *r, struct slice *line)
{
    const char *end = memchr(r->at, '\r', (size_t)(r->end - r->at));
    if (end == NULL || r->end - end < 2) return false;
    *line = slice_of(r->at, (size_t)(end - r->at));
    r->at = end + 2;
    return true;
}

static bool read_int(struct reader *r, int64_t *value)
{
    const char *at = r->at, *end = r->end;
    /* Nearly all are a few digits. */
    int64_t n = 0;
    while (at < end && at - r->at < 18 && *at >= '0' && *at <= '9') n = n * 10 + (*at++ - '0');
    if (at > r->at && end - at >= 2 && *at == '\r') {
        r->at = at + 2;
        *value = n;
        return true;
    }
    struct slice line;
    return read_line(r, &line) && num_parse_i64(line, value);
}

static bool read_bulk(struct reader *r, struct slice *text, bool *null)
{
    int64_t len;
    if (!read_int(r, &len)) return false;
    *null = len < 0;
    if (*null) return true;
    if (r->end - r->at < 2 || len > r->end - r->at - 2) return false;
    *text = slice_of(r->at, (size_t)len);
    r->at += len + 2;
    return true;
}

static bool push_bulk(struct reader *r)
{
    struct slice text;
    bool null;
    if (!read_bulk(r, &text, &null)) return false;
    if (null) {
        lua_pushboolean(r->L, 0);
    } else {
        lua_pushlstring(r->L, text.ptr, text.len);
    }
    return true;
}

/* {name = line} */
static bool push_line(struct reader *r, const char *name, size_t name_len)
{
    struct slice line;
    if (!read_line(r, &line)) return false;
    lua_createtable(r->L, 0, 1);
    lua_pushlstring(r->L, name, name_len);
    lua_pushlstring(r->L, line.ptr, line.len);
    lua_rawset(r->L, -3);
    return true;
}

static bool push_error(struct reader *r)
{
    struct slice line;
    r->at--;
    if (!read_line(r, &line)) return false;
    error_push(r->L, line);
    /* The command counted it. */
    lua_pushliteral(r->L, "ignore_error_stats_update");
    lua_pushboolean(r->L, 1);
    lua_rawset(r->L, -3);
    return true;
}

static bool push_double(struct reader *r)
{
    struct slice line;
    double value;
    if (!read_line(r, &line)) return false;
    if (slice_is_word(line, "nan") || slice_is_word(line, "-nan")) {
        value = NAN;
    } else if (!num_parse_double(line, &value)) {
        return false;
    }
    lua_createtable(r->L, 0, 1);
    lua_pushliteral(r->L, "double");
    lua_pushnumber(r->L, value);
    lua_rawset(r->L, -3);
    return true;
}

static bool push_verbatim(struct reader *r)
{
    struct slice text;
    bool null;
    if (!read_bulk(r, &text, &null) || null || text.len < 4) return false;
    lua_createtable(r->L, 0, 1);
    lua_pushliteral(r->L, "verbatim_string");
    lua_createtable(r->L, 0, 2);
    lua_pushliteral(r->L, "string");
    lua_pushlstring(r->L, text.ptr + 4, text.len - 4);
    lua_rawset(r->L, -3);
    lua_pushliteral(r->L, "format");
    lua_pushlstring(r->L, text.ptr, 3);
    lua_rawset(r->L, -3);
    lua_rawset(r->L, -3);
    return true;
}

/* A count that the rest of the text can hold; -1 for null. */
static bool read_count(struct reader *r, int64_t *count)
{
    return read_int(r, count) && *count <= r->end - r->at;
}

static bool push_array(struct reader *r)
{
    int64_t count;
    if (!read_count(r, &count)) return false;
    if (count < 0) {
        lua_pushboolean(r->L, 0);
        return true;
    }
    lua_createtable(r->L, (int)count, 0);
    for (int i = 1; i <= (int)count; i++) {
        if (!push_value(r)) return false;
        lua_rawseti(r->L, -2, i);
    }
    return true;
}

static bool push_map(struct reader *r)
{
    int64_t count;
    if (!read_count(r, &count) || count < 0) return false;
    lua_createtable(r->L, 0, 1);
    lua_pushliteral(r->L, "map");
    lua_createtable(r->L, 0, (int)count);
    for (int64_t i = 0; i < count; i++) {
        if (!push_value(r) || !push_value(r)) return false;
        if (lua_isnil(r->L, -2)) {
            lua_pop(r->L, 2);
        } else {
            lua_rawset(r->L, -3);
        }
    }
    lua_rawset(r->L, -3);
    return true;
}

static bool push_set(struct reader *r)
{
    int64_t count;
    if (!read_count(r, &count) || count < 0) return false;
    lua_createtable(r->L, 0, 1);
    lua_pushliteral(r->L, "set");
    lua_createtable(r->L, 0, (int)count);
    for (int64_t i = 0; i < count; i++) {
        if (!push_value(r)) return false;
        if (lua_isnil(r->L, -1)) {
            lua_pop(r->L, 1);
        } else {
            lua_pushboolean(r->L, 1);
            lua_rawset(r->L, -3);
        }
    }
    lua_rawset(r->L, -3);
    return true;
}

static bool push_special(struct reader *r, char type)
{
    struct slice line;
    if (type == ',') return push_double(r);
    if (type == '(') return push_line(r, "big_number", 10);
    if (!read_line(r, &line)) return false;
    if (type == '_') {
        lua_pushnil(r->L);
    } else if (type == '#' && line.len == 1) {
        lua_pushboolean(r->L, line.ptr[0] == 't');
    } else {
        return false;
    }
    return true;
}

static bool push_nested(struct reader *r, char type)
{
    if (r->depth >= DEPTH_MAX || !lua_checkstack(r->L, 8)) return false;
    r->depth++;
    bool good = type == '%' ? push_map(r) : type == '~' ? push_set(r) : push_array(r);
    r->depth--;
    return good;
}

static bool push_value(struct reader *r)
{
    if (r->at == r->end) return false;
    char type = *r->at++;
    int64_t value;
    switch (type) {
    case '$': return push_bulk(r);
    case '+': return push_line(r, "ok", 2);
    case '-': return push_error(r);
    case '=': return push_verbatim(r);
    case ':':
        if (!read_int(r, &value)) return false;
        lua_pushnumber(r->L, (lua_Number)value);
        return true;
    case '*':
    case '%':
    case '~':
    case '>': return push_nested(r, type);
    default: return push_special(r, type);
    }
}

bool value_push_reply(lua_State *L, struct slice text)
{
    struct reader r = {L, text.ptr, text.ptr + text.len, 0};
    int top = lua_gettop(L);
    if (push_value(&r)) return true;
    lua_settop(L, top);
    return false;
}
