/* A directive's place in a struct config.
 *
 *   row with a field:   cfg + offset  →  typed value, read by the server
 *   row without one:    cfg->plain[n] →  canonical text, or NULL for the preset
 *
 * The text form is common to both, so CONFIG GET, the comparison with the preset and CONFIG REWRITE
 * do not care which it is. A FIXED row is parsed like any other, for the right error text, but then
 * accepts nothing save its preset.
 *
 * Thread: owner of the struct config. */
#include "directive.h"
#include "splitring/base/check.h"
#include "splitring/base/mem.h"

size_t directive_count(void) { return directives_honoured_count + directives_plain_count; }

const struct directive *directive_at(size_t index)
{
    if (index < directives_honoured_count) return &directives_honoured[index];
    return &directives_plain[index - directives_honoured_count];
}

size_t directive_index(const struct directive *d)
{
    if (d->width) return (size_t)(d - directives_honoured);
    return directives_honoured_count + (size_t)(d - directives_plain);
}

const struct directive *directive_find(struct slice name, bool *by_alias)
{
    for (size_t i = 0; i < directive_count(); i++) {
        const struct directive *d = directive_at(i);
        bool alias = d->alias && slice_is_word(name, d->alias);
        if (!alias && !slice_is_word(name, d->name)) continue;
        if (by_alias) *by_alias = alias;
        return d;
    }
    return NULL;
}

static void *field_of(struct config *cfg, const struct directive *d)
{
    return (char *)cfg + d->offset;
}

static const void *field_of_const(const struct config *cfg, const struct directive *d)
{
    return (const char *)cfg + d->offset;
}

static char **plain_of(struct config *cfg, const struct directive *d)
{
    return &cfg->plain[d - directives_plain];
}

/* Canonical text of what the arguments mean, for rows that have no field or are fixed. */
static bool canonical(const struct directive *d, const struct slice *args, size_t count,
                      struct buf *text, struct buf *why)
{
    union directive_value value = {0};
    bool fine = value_parse(d, &value, sizeof(int64_t), args, count, false, why);
    if (fine) value_format(d, &value, sizeof(int64_t), text);
    value_deinit(d, &value);
    return fine;
}

/* The preset as CONFIG GET shows it ("1gb" as bytes). */
static void append_preset(const struct directive *d, struct buf *out)
{
    struct slice preset = slice_str(d->preset);
    struct buf why = {0};
    if (preset.len == 0) return;
    if (d->flags & FLAG_MULTI) {
        struct line_args split;
        check(line_split(&split, preset) && canonical(d, split.args, split.count, out, &why));
        line_args_deinit(&split);
    } else {
        check(canonical(d, &preset, 1, out, &why));
    }
}

static bool set_text(struct config *cfg, const struct directive *d, const struct slice *args,
                     size_t count, struct buf *why)
{
    struct buf text = {0}, preset = {0};
    bool fine = canonical(d, args, count, &text, why);
    if (fine) {
        append_preset(d, &preset);
        bool same = slice_equal(buf_slice(&text), buf_slice(&preset));
        if (d->class == CLASS_FIXED) {
            fine = same;
            if (!same) buf_append_slice(why, slice_str(d->why));
        } else {
            mem_free(*plain_of(cfg, d));
            *plain_of(cfg, d) = same ? NULL : value_text(buf_slice(&text));
        }
    }
    buf_deinit(&text);
    buf_deinit(&preset);
    return fine;
}

bool directive_set(struct config *cfg, const struct directive *d, const struct slice *args,
                   size_t count, bool more, struct buf *why)
{
    for (size_t i = 0; i < count; i++) {
        if (args[i].len <= ARGUMENT_LEN_MAX) continue;
        buf_append_slice(why, SLICE("argument is too long"));
        return false;
    }
    if (d->width && d->class != CLASS_FIXED)
        return value_parse(d, field_of(cfg, d), d->width, args, count, more, why);
    if (d->preset) return set_text(cfg, d, args, count, why);
    if (d->type == DIRECTIVE_STRING && count == 1) return true; /* deprecated, without a value */
    bool refused = d->class == CLASS_FIXED && count > 0;
    buf_append_slice(why, refused ? slice_str(d->why)
                                  : SLICE("Bad directive or wrong number of arguments"));
    return false;
}

bool directive_set_line(struct config *cfg, const struct directive *d, const struct slice *args,
                        size_t count, bool more, struct buf *why)
{
    bool splits = (d->flags & FLAG_MULTI) && !(d->flags & FLAG_FILE_ONLY);
    if (!splits || count != 1 || args[0].len == 0)
        return directive_set(cfg, d, args, count, more, why);
    struct line_args split;
    if (!line_split(&split, args[0])) {
        buf_append_slice(why, SLICE("Unbalanced quotes in configuration line"));
        return false;
    }
    bool fine = directive_set(cfg, d, split.args, split.count, more, why);
    line_args_deinit(&split);
    return fine;
}

void directive_format(const struct config *cfg, const struct directive *d, struct buf *out)
{
    if (d->width) {
        value_format(d, field_of_const(cfg, d), d->width, out);
        return;
    }
    if (!d->preset) return;
    const char *plain = cfg->plain[d - directives_plain];
    if (plain) buf_append_slice(out, slice_str(plain));
    else append_preset(d, out);
}

bool directive_equal(const struct config *a, const struct config *b, const struct directive *d)
{
    if (d->flags & FLAG_FILE_ONLY) return true;
    struct buf text_a = {0}, text_b = {0};
    directive_format(a, d, &text_a);
    directive_format(b, d, &text_b);
    bool equal = slice_equal(buf_slice(&text_a), buf_slice(&text_b));
    buf_deinit(&text_a);
    buf_deinit(&text_b);
    return equal;
}

/* ---- as lines of a file ---- */

static void write_bytes(int64_t bytes, struct buf *out)
{
    static const struct {
        const char *name;
        int64_t bytes;
    } units[] = {{"gb", 1 << 30}, {"mb", 1 << 20}, {"kb", 1 << 10}};
    for (size_t i = 0; i < ARRAY_COUNT(units); i++) {
        if (bytes <= 0 || bytes % units[i].bytes) continue;
        buf_printf(out, "%lld%s", (long long)(bytes / units[i].bytes), units[i].name);
        return;
    }
    buf_printf(out, "%lld", (long long)bytes);
}

static void write_limits(const struct directive *d, const struct config *cfg, struct buf *out)
{
    static const char *const names[CONFIG_CLIENT_CLASSES] = {"normal", "replica", "pubsub"};
    for (size_t i = 0; i < CONFIG_CLIENT_CLASSES; i++) {
        const struct config_output_limit *limit = &cfg->output_limits[i];
        buf_printf(out, "%s %s ", d->name, names[i]);
        write_bytes(limit->hard_bytes, out);
        buf_append_char(out, ' ');
        write_bytes(limit->soft_bytes, out);
        buf_printf(out, " %lld\n", (long long)limit->soft_s);
    }
}

void directive_write(const struct config *cfg, const struct directive *d, struct buf *out)
{
    if (d->type == DIRECTIVE_LIMITS) {
        write_limits(d, cfg, out);
        return;
    }
    struct buf text = {0};
    directive_format(cfg, d, &text);
    buf_printf(out, "%s ", d->name);
    bool quoted = d->type == DIRECTIVE_STRING || d->type == DIRECTIVE_EVENTS || text.len == 0;
    if (quoted) {
        line_append_quoted(out, buf_slice(&text));
    } else if (d->type == DIRECTIVE_BIND) {
        for (size_t i = 0; i < cfg->bind.count; i++) {
            if (i) buf_append_char(out, ' ');
            line_append_quoted(out, slice_str(cfg->bind.words[i]));
        }
    } else if (d->width && (d->type == DIRECTIVE_MEMORY || d->type == DIRECTIVE_SHARE)) {
        int64_t bytes;
        memcpy(&bytes, field_of_const(cfg, d), sizeof bytes);
        if (bytes < 0)
            buf_append_slice(out, buf_slice(&text)); /* a percentage */
        else
            write_bytes(bytes, out);
    } else {
        buf_append_slice(out, buf_slice(&text));
    }
    buf_append_char(out, '\n');
    buf_deinit(&text);
}

/* ---- memory ---- */

void directive_init(struct config *cfg, const struct directive *d)
{
    if (!d->width || !d->preset) return;
    struct slice preset = slice_str(d->preset);
    struct line_args split = {.args = &preset, .count = 1};
    struct buf why = {0};
    bool multi = d->flags & FLAG_MULTI;
    if (multi) check(line_split(&split, preset));
    check(value_parse(d, field_of(cfg, d), d->width, split.args, split.count, false, &why));
    if (multi) line_args_deinit(&split);
}

void directive_copy(struct config *to, const struct config *from, const struct directive *d)
{
    if (d->width) {
        value_copy(d, field_of(to, d));
        return;
    }
    const char *plain = from->plain[d - directives_plain];
    if (plain) *plain_of(to, d) = value_text(slice_str(plain));
}

void directive_deinit(struct config *cfg, const struct directive *d)
{
    if (d->width) value_deinit(d, field_of(cfg, d));
    else mem_free(*plain_of(cfg, d));
}
