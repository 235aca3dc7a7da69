/* Runs tables of steps in every kind of view that a dispatcher gives a handler: see script.h.
 * Thread: the test's. */
#include "script.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* The effects in w as text, without the SELECTs. */
static void effects_text(const struct handler_world *w, char *out, size_t cap)
{
    const char *at = w->effects.ptr, *end = at + w->effects.len;
    size_t len = 0;
    out[0] = '\0';
    while (at < end) {
        char *after;
        unsigned long argc = strtoul(at + 1, &after, 10);
        bool skipped = false;
        at = after + 2;
        for (unsigned long i = 0; i < argc; i++) {
            unsigned long arg_len = strtoul(at + 1, &after, 10);
            at = after + 2;
            skipped = skipped || (i == 0 && slice_is_word(slice_of(at, arg_len), "select"));
            cr_assert(len + arg_len + 4 < cap);
            if (!skipped) {
                const char *between = i ? " " : len ? "; " : "";
                memcpy(out + len, between, strlen(between));
                len += strlen(between);
                memcpy(out + len, at, arg_len);
                len += arg_len;
            }
            at += arg_len + 2;
        }
        out[len] = '\0';
    }
}

static void run_in(struct handler_world *w, const char *name, const struct step *steps,
                   size_t count)
{
    char effects[2000];
    for (size_t i = 0; i < count; i++) {
        const struct step *step = &steps[i];
        const char *reply = handler_run_line(w, step->line);
        cr_assert_str_eq(reply, step->reply, "%s, step %zu: %s\nreply: %s", name, i, step->line,
                         reply);
        const char *expected = step->effect ? step->effect : "";
        if (strcmp(expected, SAME) == 0) expected = step->line;
        effects_text(w, effects, sizeof(effects));
        cr_assert_str_eq(effects, expected, "%s, step %zu: %s\neffects: %s", name, i, step->line,
                         effects);
        handler_forget_effects(w);
    }
}

void script_run(const char *name, const struct step *steps, size_t count)
{
    for (int kind = 0; kind < 3; kind++) {
        struct handler_world w;
        handler_init(&w, kind ? 3 : 1, 77);
        w.scratch = kind == 2;
        run_in(&w, name, steps, count);
        handler_deinit(&w);
    }
}
