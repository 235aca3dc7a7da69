/* A struct config as a whole, and the CONFIG command on it.
 *
 * CONFIG SET is all or nothing: the new values are set on a copy, which replaces the original when
 * the last one was accepted. The caller does the same once more with the outside world: it keeps
 * the old copy until chdir, listening sockets and so on have worked. Replies' texts are those of
 * Redis 7.
 *
 * Names are searched one by one in a table of some 250 rows: CONFIG is rare, and a hash would be
 * one more thing to keep right.
 *
 * Thread: owner of the struct config. */
#include "directive.h"
#include "splitring/base/check.h"
#include "splitring/base/mem.h"

#define NAME_SHOWN_MAX 256u

void config_init(struct config *cfg)
{
    check(directive_count() <= DIRECTIVES_MAX && ARRAY_COUNT(cfg->included) * 64 >= DIRECTIVES_MAX);
    *cfg = (struct config){0};
    cfg->config_file = value_text(SLICE(""));
    for (size_t i = 0; i < directive_count(); i++) directive_init(cfg, directive_at(i));
}

void config_deinit(struct config *cfg)
{
    for (size_t i = 0; i < directive_count(); i++) directive_deinit(cfg, directive_at(i));
    mem_free(cfg->config_file);
    *cfg = (struct config){0};
}

void config_clone(struct config *out, const struct config *from)
{
    *out = *from;
    out->config_file = value_text(slice_str(from->config_file));
    for (size_t i = 0; i < directive_count(); i++) directive_copy(out, from, directive_at(i));
}

void config_string_set(char **field, const char *text)
{
    char *copy = value_text(slice_str(text));
    mem_free(*field);
    *field = copy;
}

/* ---- CONFIG GET ---- */

struct get {
    const struct config *cfg;
    void (*pair)(void *ctx, struct slice name, struct slice value);
    void *ctx;
    size_t count;
    bool shown[DIRECTIVES_MAX][2]; /* under its name, under its alias */
};

static void get_one(struct get *get, const struct directive *d, bool by_alias, struct slice name)
{
    bool *shown = &get->shown[directive_index(d)][by_alias];
    if (*shown) return;
    *shown = true;
    get->count++;
    if (!get->pair) return;
    struct buf value = {0};
    directive_format(get->cfg, d, &value);
    get->pair(get->ctx, name, buf_slice(&value));
    buf_deinit(&value);
}

static void get_matching(struct get *get, struct slice pattern)
{
    for (size_t i = 0; i < directive_count(); i++) {
        const struct directive *d = directive_at(i);
        if (d->flags & (FLAG_HIDDEN | FLAG_FILE_ONLY)) continue;
        struct slice name = slice_str(d->name);
        if (slice_glob(pattern, name, true)) get_one(get, d, false, name);
        if (!d->alias) continue;
        name = slice_str(d->alias);
        if (slice_glob(pattern, name, true)) get_one(get, d, true, name);
    }
}

static bool has_glob(struct slice pattern)
{
    for (size_t i = 0; i < pattern.len; i++)
        if (pattern.ptr[i] == '*' || pattern.ptr[i] == '?' || pattern.ptr[i] == '[') return true;
    return false;
}

size_t config_get(const struct config *cfg, const struct slice *patterns, size_t count,
                  void (*pair)(void *ctx, struct slice name, struct slice value), void *ctx)
{
    struct get get = {.cfg = cfg, .pair = pair, .ctx = ctx};
    for (size_t i = 0; i < count; i++) {
        if (has_glob(patterns[i])) {
            get_matching(&get, patterns[i]);
            continue;
        }
        bool by_alias = false;
        const struct directive *d = directive_find(patterns[i], &by_alias);
        if (d && !(d->flags & FLAG_FILE_ONLY)) get_one(&get, d, by_alias, patterns[i]);
    }
    return get.count;
}

/* ---- CONFIG SET ---- */

/* A client's own words inside an error line: bounded, and without line ends. */
static void append_name(struct buf *error, struct slice name)
{
    for (size_t i = 0; i < name.len && i < NAME_SHOWN_MAX; i++) {
        bool line_end = name.ptr[i] == '\r' || name.ptr[i] == '\n';
        buf_append_char(error, line_end ? ' ' : name.ptr[i]);
    }
}

static void set_failed(struct buf *error, struct slice name, struct slice reason)
{
    error->len = 0;
    buf_append_slice(error, SLICE("ERR CONFIG SET failed (possibly related to argument '"));
    append_name(error, name);
    buf_append_slice(error, SLICE("') - "));
    buf_append_slice(error, reason);
}

void config_set_failed(struct buf *error, const char *name, const char *reason)
{
    set_failed(error, slice_str(name), slice_str(reason));
}

/* Two arguments name the same directive in the same way (an alias beside its name is accepted, as
 * in Redis; the last one wins). */
static bool named_before(const struct slice *args, size_t at)
{
    for (size_t i = 0; i < at; i += 2) {
        bool by_alias_a = false, by_alias_b = false;
        const struct directive *a = directive_find(args[i], &by_alias_a);
        const struct directive *b = directive_find(args[at], &by_alias_b);
        if (a == b && by_alias_a == by_alias_b) return true;
    }
    return false;
}

/* Every name is known, may be set, and comes once; the first that does not is reported. */
static bool set_allowed(const struct config *cfg, const struct slice *args, size_t count,
                        bool client_is_local, struct buf *error)
{
    enum config_guard guard = cfg->enable_protected_configs;
    bool unlocked = guard == CONFIG_GUARD_YES || (guard == CONFIG_GUARD_LOCAL && client_is_local);
    for (size_t i = 0; i < count; i += 2) {
        const struct directive *d = directive_find(args[i], NULL);
        const char *reason = NULL;
        if (!d || (d->flags & FLAG_FILE_ONLY)) {
            buf_append_slice(error,
                             SLICE("ERR Unknown option or number of arguments for CONFIG SET - '"));
            append_name(error, args[i]);
            buf_append_char(error, '\'');
            return false;
        }
        if (d->flags & FLAG_IMMUTABLE) reason = "can't set immutable config";
        else if ((d->flags & FLAG_PROTECTED) && !unlocked) reason = "can't set protected config";
        else if (named_before(args, i)) reason = "duplicate parameter";
        if (!reason) continue;
        set_failed(error, args[i], slice_str(reason));
        return false;
    }
    return true;
}

/* One value; a directive of several arguments is cut at each single blank, as Redis does. */
static bool set_value(struct config *cfg, const struct directive *d, struct slice value,
                      struct buf *why)
{
    if (!(d->flags & FLAG_MULTI)) return directive_set(cfg, d, &value, 1, false, why);
    if (value.len == 0) return directive_set(cfg, d, NULL, 0, false, why);
    if (value.len > ARGUMENT_LEN_MAX) return directive_set(cfg, d, &value, 1, false, why);
    size_t count = 1;
    for (size_t i = 0; i < value.len; i++) count += value.ptr[i] == ' ';
    struct slice *args = mem_try_alloc(count * sizeof *args);
    if (!args) {
        buf_append_slice(why, SLICE("out of memory"));
        return false;
    }
    struct slice word = {value.ptr, 0};
    count = 0;
    for (size_t i = 0; i < value.len; i++) {
        if (value.ptr[i] == ' ') {
            args[count++] = word;
            word = slice_of(value.ptr + i + 1, 0);
        } else {
            word.len++;
        }
    }
    args[count++] = word;
    bool fine = directive_set(cfg, d, args, count, false, why);
    mem_free(args);
    return fine;
}

bool config_set(struct config *cfg, const struct slice *args, size_t count, bool client_is_local,
                struct buf *error)
{
    error->len = 0;
    if (count == 0 || count % 2) {
        buf_append_slice(error, SLICE("ERR syntax error"));
        return false;
    }
    if (!set_allowed(cfg, args, count, client_is_local, error)) return false;
    struct config next;
    struct buf why = {0};
    config_clone(&next, cfg);
    bool fine = true;
    for (size_t i = 0; i < count && fine; i += 2) {
        bool by_alias = false;
        const struct directive *d = directive_find(args[i], &by_alias);
        fine = set_value(&next, d, args[i + 1], &why);
        if (!fine) set_failed(error, slice_str(by_alias ? d->alias : d->name), buf_slice(&why));
    }
    if (fine) {
        struct config old = *cfg;
        *cfg = next;
        next = old;
    }
    config_deinit(&next);
    buf_deinit(&why);
    return fine;
}

size_t config_changes(const struct config *before, const struct config *after,
                      void (*changed)(void *ctx, const char *name), void *ctx)
{
    size_t count = 0;
    for (size_t i = 0; i < directive_count(); i++) {
        const struct directive *d = directive_at(i);
        if (directive_equal(before, after, d)) continue;
        count++;
        if (changed) changed(ctx, d->name);
    }
    return count;
}

const char *config_without_effect(struct slice name)
{
    const struct directive *d = directive_find(name, NULL);
    return d && d->class == CLASS_IGNORED ? d->why : NULL;
}

bool config_is_sensitive(struct slice name)
{
    const struct directive *d = directive_find(name, NULL);
    return d && (d->flags & FLAG_SENSITIVE);
}
