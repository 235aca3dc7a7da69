/* Loading: files, standard input, environment and command-line options, in this order, later lines
 * over earlier.
 *
 * The text of each is read as lines; `include` reads further files in place, found by wildcards if
 * need be. The first mistake ends it with Redis' message, so that a typing error never starts a
 * server with half of its settings; --check-config goes on instead and notes every line.
 *
 * Nothing is opened here: struct config_files reads. A relative include is looked for in `dir` once
 * that was set, because Redis changes into it at that line and we change later.
 *
 * Thread: owner of the struct config (the main thread, before workers start). */
#include <errno.h>

#include "notes.h"
#include "splitring/base/mem.h"

#define INCLUDE_DEPTH_MAX 16u
#define NAME_SHOWN_MAX 128u

struct loader {
    struct config *cfg;
    const struct config_files *files;
    struct config_notes *notes;
    bool go_on;         /* after a mistake */
    bool save_seen;     /* the first `save` replaces the default points, others add */
    unsigned depth;     /* of includes */
    const char *source; /* of the lines being read; NULL: the command line */
};

/* One line while it is read. */
struct line {
    size_t number;
    struct slice text; /* trimmed */
    struct slice name;
    char *where;
};

static const char environment[] = "environment"; /* as loader.source */

static bool load_file(struct loader *loader, const char *path);

static char *line_where(const struct loader *loader, size_t number)
{
    struct buf text = {0};
    if (loader->source == environment) buf_append_slice(&text, slice_str(environment));
    else if (loader->source) buf_printf(&text, "%s:%zu", loader->source, number);
    else buf_append_slice(&text, SLICE("command line"));
    char *where = value_text(buf_slice(&text));
    buf_deinit(&text);
    return where;
}

/* The fatal text, of the first mistake only. Returns whether to go on. */
static bool mistake(struct loader *loader, const struct line *line, struct slice why)
{
    struct buf *error = &loader->notes->error;
    note_add(loader->notes, NOTE_REFUSED, line->where, line->name.len ? line->name : line->text,
             directive_find(line->name, NULL), why);
    if (error->len) return loader->go_on;
    buf_append_slice(
        error, SLICE("\n*** FATAL CONFIG FILE ERROR (Splitring " SPLITRING_VERSION ") ***\n"));
    if (!loader->source) buf_printf(error, "Reading the command line, option %zu\n", line->number);
    else if (loader->source == environment)
        buf_append_slice(error, SLICE("Reading the environment, SPLITRING_<DIRECTIVE>\n"));
    else if (loader->depth == 0)
        buf_printf(error, "Reading the configuration file, at line %zu\n", line->number);
    else
        buf_printf(error, "Reading the configuration file, at line %zu of %s\n", line->number,
                   loader->source);
    buf_append_slice(error, SLICE(">>> '"));
    buf_append_slice(error, line->text);
    buf_append_slice(error, SLICE("'\n"));
    buf_append_slice(error, why);
    buf_append_char(error, '\n');
    return loader->go_on;
}

/* ---- include ---- */

static bool has_wildcard(const char *path) { return strpbrk(path, "*?[") != NULL; }

/* An owned path; relative ones are taken from `dir`. */
static char *include_path(const struct config *cfg, struct slice name)
{
    struct buf path = {0};
    bool relative = name.len == 0 || name.ptr[0] != '/';
    if (relative && strcmp(cfg->dir, ".") != 0 && *cfg->dir) buf_printf(&path, "%s/", cfg->dir);
    buf_append_slice(&path, name);
    char *text = value_text(buf_slice(&path));
    buf_deinit(&path);
    return text;
}

static bool include_wildcard(struct loader *loader, const char *pattern, const char **why)
{
    struct buf paths = {0};
    bool fine = true;
    if (!loader->files->glob || loader->files->glob(loader->files->ctx, pattern, &paths) < 0) {
        *why = "the pattern of the include cannot be searched for";
        fine = false;
    }
    for (size_t at = 0; fine && at < paths.len; at += strlen(paths.ptr + at) + 1)
        fine = load_file(loader, paths.ptr + at);
    buf_deinit(&paths);
    return fine;
}

/* False: the mistake is noted already, or *why has it. */
static bool include(struct loader *loader, const struct slice *args, size_t count, const char **why)
{
    if (count != 1) {
        *why = "Bad directive or wrong number of arguments";
        return false;
    }
    if (loader->depth == INCLUDE_DEPTH_MAX) {
        *why = "include is nested too deeply";
        return false;
    }
    char *path = include_path(loader->cfg, args[0]);
    const char *source = loader->source;
    loader->depth++;
    bool fine = has_wildcard(path) ? include_wildcard(loader, path, why) : load_file(loader, path);
    loader->depth--;
    loader->source = source;
    mem_free(path);
    return fine;
}

/* ---- lines ---- */

static void note_accepted(struct loader *loader, const struct line *line, const struct directive *d)
{
    bool ignored = d->class == CLASS_IGNORED;
    note_add(loader->notes, ignored ? NOTE_IGNORED : NOTE_HONOURED, line->where, line->name, d,
             ignored ? slice_str(d->why) : SLICE(""));
}

static bool load_directive(struct loader *loader, struct line *line, const struct line_args *split)
{
    const struct slice *args = split->args + 1;
    size_t count = split->count - 1;
    line->name = split->args[0];
    if (line->name.len > NAME_SHOWN_MAX) line->name.len = NAME_SHOWN_MAX;
    const struct directive *d = directive_find(line->name, NULL);
    if (!d) return mistake(loader, line, SLICE("Bad directive or wrong number of arguments"));
    if (d->type == DIRECTIVE_INCLUDE) {
        const char *why = NULL;
        if (include(loader, args, count, &why)) {
            note_accepted(loader, line, d);
            return true;
        }
        return why ? mistake(loader, line, slice_str(why)) : loader->go_on;
    }
    struct buf why = {0};
    bool more = d->type == DIRECTIVE_SAVE && loader->save_seen;
    bool fine = directive_set_line(loader->cfg, d, args, count, more, &why);
    if (fine) {
        size_t index = directive_index(d);
        uint64_t *included = &loader->cfg->included[index / 64], bit = UINT64_C(1) << (index % 64);
        if (loader->depth) *included |= bit;
        if (d->type == DIRECTIVE_SAVE) loader->save_seen = true;
        note_accepted(loader, line, d);
    } else {
        fine = mistake(loader, line, buf_slice(&why));
    }
    buf_deinit(&why);
    return fine;
}

static bool load_line(struct loader *loader, size_t number, struct slice text)
{
    struct line line = {.number = number, .text = line_trim(text)};
    if (line.text.len == 0 || line.text.ptr[0] == '#') return true;
    struct line_args split;
    line.where = line_where(loader, number);
    bool fine;
    if (!line_split(&split, line.text)) {
        fine = mistake(loader, &line, SLICE("Unbalanced quotes in configuration line"));
    } else {
        fine = split.count == 0 || load_directive(loader, &line, &split);
        line_args_deinit(&split);
    }
    mem_free(line.where);
    return fine;
}

static bool load_text(struct loader *loader, const char *source, struct slice text)
{
    bool fine = true;
    for (size_t number = 1; fine && text.len; number++) {
        loader->source = source; /* an include has its own in between */
        fine = load_line(loader, number, line_next(&text));
    }
    return fine;
}

/* ---- sources ---- */

static bool load_file(struct loader *loader, const char *path)
{
    struct buf text = {0};
    const char *source = strcmp(path, "-") ? path : "standard input";
    int error = loader->files->read(loader->files->ctx, path, &text);
    bool fine = false;
    if (error < 0 || text.failed) {
        const char *why = error < 0 ? strerror(-error) : strerror(ENOMEM);
        struct buf *out = &loader->notes->error;
        note_add(loader->notes, NOTE_REFUSED, source, SLICE("cannot be read"), NULL,
                 slice_str(why));
        if (out->len == 0)
            buf_printf(out, "Fatal error, can't open config file '%s': %s\n", source, why);
    } else {
        fine = load_text(loader, source, buf_slice(&text));
    }
    buf_deinit(&text);
    return fine || loader->go_on;
}

bool config_load(struct config *cfg, const struct config_args *args,
                 const struct config_files *files, struct config_notes *notes)
{
    struct loader loader = {
        .cfg = cfg, .files = files, .notes = notes, .go_on = args->action == CONFIG_CHECK};
    *notes = (struct config_notes){0};
    if (args->file) config_string_set(&cfg->config_file, args->file);
    bool go_on = true;
    if (args->file) go_on = load_file(&loader, args->file);
    if (go_on && args->from_stdin) go_on = load_file(&loader, "-");
    if (go_on) go_on = load_text(&loader, environment, buf_slice(&args->environment));
    if (go_on) go_on = load_text(&loader, NULL, buf_slice(&args->options));
    return go_on && notes->error.len == 0;
}
