/* Notes: one per directive that was given, kept while loading.
 *
 * They serve two readers. `--check-config` prints all of them. The log at start gets a line for
 * each *reason* only ("hz, dynamic-hz (has no meaning here …)"), and only where a directive asked
 * for something else than its default, because an ordinary redis.conf carries some thirty
 * directives that mean nothing here and nobody reads thirty lines.
 *
 * Thread: owner. */
#include "notes.h"
#include "splitring/base/mem.h"

void note_add(struct config_notes *notes, enum note_kind kind, const char *where, struct slice name,
              const struct directive *d, struct slice why)
{
    if (notes->count == notes->cap) {
        notes->cap = notes->cap ? notes->cap * 2 : 64;
        notes->notes = mem_realloc(notes->notes, notes->cap * sizeof *notes->notes);
    }
    notes->notes[notes->count++] = (struct config_note){
        .kind = kind,
        .where = value_text(slice_str(where)),
        .name = value_text(name),
        .why = value_text(why),
        .directive = d,
    };
}

bool config_given(const struct config_notes *notes, const char *name)
{
    for (size_t i = 0; i < notes->count; i++) {
        const struct directive *d = notes->notes[i].directive;
        if (d && strcmp(d->name, name) == 0) return true;
    }
    return false;
}

void config_notes_deinit(struct config_notes *notes)
{
    for (size_t i = 0; i < notes->count; i++) {
        mem_free(notes->notes[i].where);
        mem_free(notes->notes[i].name);
        mem_free(notes->notes[i].why);
    }
    mem_free(notes->notes);
    buf_deinit(&notes->error);
    *notes = (struct config_notes){0};
}

void config_report(const struct config_notes *notes, struct buf *out)
{
    static const char *const kinds[] = {"honoured", "ignored", "refused"};
    size_t counts[ARRAY_COUNT(kinds)] = {0};
    for (size_t i = 0; i < notes->count; i++) {
        const struct config_note *note = &notes->notes[i];
        counts[note->kind]++;
        buf_printf(out, "%s: %s: %s", note->where, note->name, kinds[note->kind]);
        if (*note->why) buf_printf(out, " (%s)", note->why);
        buf_append_char(out, '\n');
    }
    buf_printf(out, "%zu directives: %zu honoured, %zu ignored, %zu refused\n", notes->count,
               counts[NOTE_HONOURED], counts[NOTE_IGNORED], counts[NOTE_REFUSED]);
}

/* Worth a word in the log: it was ignored, and asked for something else than what happens anyway.
 * Save points have a line of their own. */
static bool is_loss(const struct config *cfg, const struct config *presets,
                    const struct config_note *note)
{
    const struct directive *d = note->directive;
    if (note->kind != NOTE_IGNORED || d->type == DIRECTIVE_SAVE) return false;
    return !d->preset || !directive_equal(cfg, presets, d);
}

/* The line for notes[at] and all that share its reason; empty if an earlier line was about it. */
static void reason_line(const struct config_notes *notes, const bool *loss, size_t at,
                        struct buf *text)
{
    const struct config_note *note = &notes->notes[at];
    bool listed[DIRECTIVES_MAX] = {false};
    text->len = 0;
    for (size_t i = 0; i < at; i++)
        if (loss[i] && !strcmp(notes->notes[i].why, note->why)) return;
    buf_append_slice(text, SLICE("Configuration accepted without effect: "));
    size_t before = text->len;
    for (size_t i = at; i < notes->count; i++) {
        const struct config_note *other = &notes->notes[i];
        if (!loss[i] || strcmp(other->why, note->why) != 0) continue;
        bool *again = &listed[directive_index(other->directive)];
        if (!*again)
            buf_printf(text, "%s%s", text->len > before ? ", " : "", other->directive->name);
        *again = true;
    }
    buf_printf(text, " (%s)", note->why);
    buf_append_char(text, 0);
}

void config_log_notes(const struct config *cfg, const struct config_notes *notes,
                      void (*line)(void *ctx, const char *text), void *ctx)
{
    struct config presets;
    struct buf text = {0};
    bool *loss = mem_alloc(notes->count + 1);
    config_init(&presets);
    for (size_t i = 0; i < notes->count; i++) loss[i] = is_loss(cfg, &presets, &notes->notes[i]);
    for (size_t i = 0; i < notes->count; i++) {
        if (!loss[i]) continue;
        reason_line(notes, loss, i, &text);
        if (text.len && !text.failed) line(ctx, text.ptr);
    }
    mem_free(loss);
    buf_deinit(&text);
    config_deinit(&presets);
}
