/* The first line of a script: "#!lua flags=no-writes,allow-stale".
 *
 * It is split into words as Redis splits a command typed by a person (quotes allowed), and cut off
 * before Lua sees the text; its line end stays, so that line numbers are the user's.
 * Source: https://redis.io/docs/latest/develop/programmability/eval-intro/#eval-flags
 * Thread: any (pure). */
#include "splitring/base/mem.h"
#include "vm_impl.h"

static const struct {
    const char *name;
    uint32_t flag;
} flag_names[] = {
    {"no-writes", SCRIPT_NO_WRITES},
    {"allow-oom", SCRIPT_ALLOW_OOM},
    {"allow-stale", SCRIPT_ALLOW_STALE},
    {"no-cluster", SCRIPT_NO_CLUSTER},
    {"allow-cross-slot-keys", SCRIPT_CROSS_SLOT},
};

struct words {
    struct slice rest;
    char *word; /* as long as the line */
    size_t len;
};

static bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* 1: a word; 0: the end; -1: quotes that do not match. */
static int next_word(struct words *w)
{
    const char *at = w->rest.ptr, *end = at + w->rest.len;
    while (at < end && is_blank(*at)) at++;
    if (at == end) return 0;
    w->len = 0;
    while (at < end && !is_blank(*at)) {
        char quote = *at;
        if (quote != '"' && quote != '\'') {
            w->word[w->len++] = *at++;
            continue;
        }
        for (at++; at < end && *at != quote; at++) {
            if (*at == '\\' && end - at >= 2) at++;
            w->word[w->len++] = *at;
        }
        if (at == end || (end - at >= 2 && !is_blank(at[1]))) return -1;
        at++;
    }
    w->rest = slice_of(at, (size_t)(end - at));
    return 1;
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
static bool refuse(struct buf *error, enum error_id id, struct slice what)
{
    int len = what.len > 4096 ? 4096 : (int)what.len;
    buf_printf(error, error_text(id), len, what.ptr);
    return false;
}
#pragma GCC diagnostic pop

static bool take_flag(struct slice name, uint32_t *flags, struct buf *error)
{
    for (size_t i = 0; i < ARRAY_COUNT(flag_names); i++) {
        if (slice_equal(name, slice_str(flag_names[i].name))) {
            *flags |= flag_names[i].flag;
            return true;
        }
    }
    return refuse(error, ERR_SCRIPT_SHEBANG_FLAG, name);
}

static bool take_option(struct slice word, uint32_t *flags, struct buf *error)
{
    struct slice prefix = SLICE("flags=");
    if (word.len < prefix.len || memcmp(word.ptr, prefix.ptr, prefix.len) != 0) {
        return refuse(error, ERR_SCRIPT_SHEBANG_OPTION, word);
    }
    const char *at = word.ptr + prefix.len, *end = word.ptr + word.len;
    if (at == end) return true;
    for (;;) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        const char *stop = comma ? comma : end;
        if (!take_flag(slice_of(at, (size_t)(stop - at)), flags, error)) return false;
        if (comma == NULL) return true;
        at = comma + 1;
    }
}

static bool parse_words(struct words *w, uint32_t *flags, struct buf *error)
{
    int got = next_word(w);
    if (got <= 0) return refuse(error, ERR_SCRIPT_SHEBANG_ENGINE, SLICE(""));
    /* Quotes are judged for the whole line before anything else is. */
    struct words ahead = *w;
    struct slice engine = slice_of(w->word, w->len);
    ahead.word = w->word + w->len;
    while ((got = next_word(&ahead)) > 0) {}
    if (got < 0) return refuse(error, ERR_SCRIPT_SHEBANG_ENGINE, SLICE(""));
    if (!slice_equal(engine, SLICE("#!lua"))) {
        return refuse(error, ERR_SCRIPT_SHEBANG_UNEXPECTED, engine);
    }
    while (next_word(w) > 0) {
        if (!take_option(slice_of(w->word, w->len), flags, error)) return false;
    }
    return true;
}

bool shebang_parse(struct slice text, uint32_t *flags, size_t *len, struct buf *error)
{
    *flags = SCRIPT_COMPAT;
    *len = 0;
    if (text.len < 2 || memcmp(text.ptr, "#!", 2) != 0) return true;
    const char *end = memchr(text.ptr, '\n', text.len);
    if (end == NULL) return refuse(error, ERR_SCRIPT_SHEBANG, SLICE(""));
    *len = (size_t)(end - text.ptr);
    *flags = 0;
    /* Twice: the look ahead writes behind the first word. */
    char *room = mem_try_alloc(2 * *len);
    if (room == NULL) return refuse(error, ERR_NO_MEMORY, SLICE(""));
    struct words words = {.rest = slice_of(text.ptr, *len), .word = room};
    bool good = parse_words(&words, flags, error);
    mem_free(room);
    return good;
}
