/* A script's text on its way to LuaJIT: two things are looked for in its tokens.
 *
 * Numbers such as 1LL or 2i are LuaJIT's (boxed 64-bit integers, complex numbers) and malformed in
 * Lua 5.1. They would load the FFI, so they are refused here with Lua's own words.
 *
 * "return redis.call(…)" is a tail call, for which LuaJIT gives up the caller's frame even where a
 * C function is called. An error would not know its line any more, nor a "bad argument" the name of
 * its function. So tail calls of the libraries' functions are wrapped into something that changes
 * nothing else: "return (redis.call(…))" where there is exactly one result (or none ever), else
 * "return select(1,string.find(…))". Where a text declares a name of its own like one of those,
 * nothing is done.
 *
 * One pass, a stack of open parentheses, no judgement of the grammar: that is Lua's. If the new
 * text does not compile, the old one is compiled for its error.
 * Thread: any (pure). */
#include <ctype.h>
#include <stdio.h>

#include "splitring/base/mem.h"
#include "vm_impl.h"

/* With a dot at the end: all functions of that library. */
static const char *const single_result[] = {
    "redis.", "server.", "cjson.", "bit.", "error", "tonumber", "tostring", "type", "setmetatable",
    "getmetatable", "rawset", "rawget", "rawequal", "collectgarbage",
};
static const char *const many_results[] = {
    "string.", "table.", "math.", "struct.", "cmsgpack.", "coroutine.", "assert", "select", "next",
    "pairs", "ipairs", "unpack", "load", "loadstring",
};
#define SINGLE_COUNT ARRAY_COUNT(single_result)
#define KNOWN_COUNT (SINGLE_COUNT + ARRAY_COUNT(many_results))
static_assert(KNOWN_COUNT < 32, "bits");

#define CHAIN_MAX 32u

struct token {
    struct slice text;
    char kind; /* 'a' name or keyword, '0' number, '"' string, else the character itself; 0: end */
};

struct scan {
    const char *begin, *at, *end;
    int line;
};

static bool is_name(char c) { return isalnum((unsigned char)c) || c == '_'; }

/* At "[", "[=" …: the level of a long bracket, or -1. */
static int long_level(const char *at, const char *end)
{
    const char *from = ++at;
    while (at < end && *at == '=') at++;
    return at < end && *at == '[' ? (int)(at - from) : -1;
}

static void skip_long(struct scan *s, int level)
{
    for (s->at += level + 2; s->at < s->end; s->at++) {
        if (*s->at == '\n') s->line++;
        if (*s->at != ']') continue;
        const char *at = s->at + 1;
        int seen = 0;
        while (at < s->end && *at == '=' && seen < level) at++, seen++;
        if (seen == level && at < s->end && *at == ']') {
            s->at = at + 1;
            return;
        }
    }
}

static void skip_blanks(struct scan *s)
{
    while (s->at < s->end) {
        if (*s->at == '\n') s->line++;
        if (isspace((unsigned char)*s->at)) {
            s->at++;
        } else if (s->end - s->at >= 2 && s->at[0] == '-' && s->at[1] == '-') {
            s->at += 2;
            int level = s->at < s->end && *s->at == '[' ? long_level(s->at, s->end) : -1;
            if (level >= 0) {
                skip_long(s, level);
            } else {
                while (s->at < s->end && *s->at != '\n') s->at++;
            }
        } else {
            return;
        }
    }
}

static void skip_string(struct scan *s)
{
    char quote = *s->at++;
    while (s->at < s->end && *s->at != quote) {
        if (*s->at == '\\' && s->end - s->at >= 2) s->at++;
        if (*s->at == '\n') s->line++;
        s->at++;
    }
    if (s->at < s->end) s->at++;
}

static void skip_number(struct scan *s)
{
    const char *from = s->at;
    while (s->at < s->end && (is_name(*s->at) || *s->at == '.')) {
        char c = *s->at++;
        bool hex = s->at - from >= 2 && (from[1] == 'x' || from[1] == 'X');
        char exponent = hex ? 'p' : 'e';
        if ((c | 0x20) == exponent && s->at < s->end && (*s->at == '-' || *s->at == '+')) s->at++;
    }
}

static struct token next_token(struct scan *s)
{
    skip_blanks(s);
    const char *from = s->at;
    if (from == s->end) return (struct token){.kind = 0};
    char kind = *from;
    if (isdigit((unsigned char)kind) ||
        (kind == '.' && s->end - from >= 2 && isdigit((unsigned char)from[1]))) {
        kind = '0';
        skip_number(s);
    } else if (is_name(kind)) {
        kind = 'a';
        while (s->at < s->end && is_name(*s->at)) s->at++;
    } else if (kind == '"' || kind == '\'') {
        kind = '"';
        skip_string(s);
    } else if (kind == '[' && long_level(from, s->end) >= 0) {
        kind = '"';
        skip_long(s, long_level(from, s->end));
    } else {
        s->at++;
    }
    return (struct token){slice_of(from, (size_t)(s->at - from)), kind};
}

static bool is_word(struct token t, const char *word)
{
    return t.kind == 'a' && slice_equal(t.text, slice_str(word));
}

/* 1LL, 1ull, 2i: by their last letters. (A hexadecimal number cannot end in l or i.) */
static bool is_boxed_number(struct token t)
{
    char last = (char)(t.text.ptr[t.text.len - 1] | 0x20);
    return t.kind == '0' && (last == 'l' || last == 'i');
}

static bool source_check(struct slice text, struct slice *number, int *line)
{
    struct scan s = {text.ptr, text.ptr, text.ptr + text.len, 1};
    for (struct token t = next_token(&s); t.kind; t = next_token(&s)) {
        if (!is_boxed_number(t)) continue;
        *number = t.text;
        *line = s.line;
        return false;
    }
    return true;
}

/* ---- tail calls ---- */

struct rewrite {
    struct scan scan;
    struct buf out;
    const char *copied;  /* the text up to here is in out */
    struct buf parens;   /* a byte per open one: 1 if another is to be closed behind it */
    uint32_t used;       /* bits of known(): what was wrapped */
    uint32_t declared;   /* what the text declares itself */
};

static const char *known(size_t i)
{
    return i < SINGLE_COUNT ? single_result[i] : many_results[i - SINGLE_COUNT];
}

static void insert(struct rewrite *r, const char *at, const char *text)
{
    buf_append(&r->out, r->copied, (size_t)(at - r->copied));
    buf_append(&r->out, text, strlen(text));
    r->copied = at;
}

static size_t find_known(struct slice chain)
{
    for (size_t i = 0; i < KNOWN_COUNT; i++) {
        struct slice name = slice_str(known(i));
        bool whole = name.ptr[name.len - 1] != '.';
        if (whole ? slice_equal(chain, name)
                  : chain.len > name.len && memcmp(chain.ptr, name.ptr, name.len) == 0) {
            return i;
        }
    }
    return KNOWN_COUNT;
}

static void note_declared(struct rewrite *r, struct slice name)
{
    for (size_t i = 0; i < KNOWN_COUNT; i++) {
        size_t len = strcspn(known(i), ".");
        if (slice_equal(name, slice_of(known(i), len))) r->declared |= 1u << i;
    }
    /* What wraps must be the real one, too. */
    if (slice_equal(name, SLICE("select"))) r->declared = UINT32_MAX;
}

/* Behind "return": name.name( of the list is wrapped. The next token to be looked at. */
static struct token after_return(struct rewrite *r)
{
    char chain[CHAIN_MAX];
    size_t len = 0;
    struct scan behind_return = r->scan;
    struct token t = next_token(&r->scan);
    const char *from = t.text.ptr;
    for (char wanted = 'a'; t.kind == wanted; wanted = wanted == 'a' ? '.' : 'a') {
        if (len + t.text.len > sizeof(chain)) break;
        memcpy(chain + len, t.text.ptr, t.text.len);
        len += t.text.len;
        t = next_token(&r->scan);
    }
    size_t found = t.kind == '(' ? find_known(slice_of(chain, len)) : KNOWN_COUNT;
    if (found == KNOWN_COUNT) {
        r->scan = behind_return;
        return next_token(&r->scan);
    }
    r->used |= 1u << found;
    insert(r, from, found < SINGLE_COUNT ? "(" : "select(1,");
    buf_append_char(&r->parens, 1);
    return next_token(&r->scan);
}

static bool close_paren(struct rewrite *r)
{
    if (r->parens.len == 0) return false;
    if (r->parens.ptr[--r->parens.len]) insert(r, r->scan.at, ")");
    return true;
}

/* The names behind "local", "for", and from "function" to its ")" are declared. */
static bool rewrite_tokens(struct rewrite *r)
{
    bool naming = false;
    struct token t = next_token(&r->scan);
    while (t.kind) {
        if (is_word(t, "return")) {
            naming = false;
            t = after_return(r);
            continue;
        }
        if (is_word(t, "local") || is_word(t, "for") || is_word(t, "function")) {
            naming = true;
        } else if (naming && t.kind == 'a') {
            note_declared(r, t.text);
        } else if (t.kind != ',' && t.kind != '(' && t.kind != '.' && t.kind != ':') {
            naming = false;
        }
        if (t.kind == '(') buf_append_char(&r->parens, 0);
        if (t.kind == ')' && !close_paren(r)) return false;
        t = next_token(&r->scan);
    }
    return r->parens.len == 0;
}

bool source_rewrite(struct slice text, struct buf *out)
{
    struct rewrite r = {
        .scan = {text.ptr, text.ptr, text.ptr + text.len, 1},
        .copied = text.ptr,
    };
    bool good = rewrite_tokens(&r) && r.used && !(r.used & r.declared);
    buf_append(&r.out, r.copied, (size_t)(text.ptr + text.len - r.copied));
    good = good && !r.out.failed && !r.parens.failed;
    buf_deinit(&r.parens);
    if (!good) buf_deinit(&r.out);
    *out = r.out;
    return good;
}

static int malformed(lua_State *L, const char *name, int line, struct slice number)
{
    char place[64];
    const char *end = name + strcspn(name, "\n");
    if (*name == '@' || *name == '=') {
        snprintf(place, sizeof(place), "%s", name + 1);
    } else {
        bool cut = *end || end - name > 40;
        int shown = end - name > 40 ? 40 : (int)(end - name);
        snprintf(place, sizeof(place), "[string \"%.*s%s\"]", shown, name, cut ? "..." : "");
    }
    lua_pushlstring(L, number.ptr, number.len);
    lua_pushfstring(L, "%s:%d: malformed number near '%s'", place, line, lua_tostring(L, -1));
    lua_remove(L, -2);
    return LUA_ERRSYNTAX;
}

int source_load(lua_State *L, struct slice text, struct slice rewritten, const char *name)
{
    struct slice number;
    int line;
    if (!source_check(text, &number, &line)) return malformed(L, name, line, number);
    if (rewritten.len) {
        if (luaL_loadbufferx(L, rewritten.ptr, rewritten.len, name, "t") == 0) return 0;
        lua_pop(L, 1);
    }
    return luaL_loadbufferx(L, text.ptr, text.len, name, "t");
}
