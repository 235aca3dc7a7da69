/* A made-up folder of configuration files, and short ways to load and ask.
 * Thread: any (a test runs alone in its process). */
#ifndef TESTS_UNIT_CONFIG_FIXTURE_H
#define TESTS_UNIT_CONFIG_FIXTURE_H

#include "splitring/config/config.h"

struct fake_file {
    const char *path, *text; /* text NULL: ends the list */
};

/* Loads the main file (path NULL: none) and the words of a command line, space-separated words in
 * `options` (NULL: none). Returns config_load's answer; the caller frees *cfg and *notes. */
bool fixture_load(struct config *cfg, struct config_notes *notes, const struct fake_file *files,
                  const char *main_file, int argc, const char *const *argv);
/* The same for a text alone. */
bool fixture_load_text(struct config *cfg, struct config_notes *notes, const char *text);

/* The value that CONFIG GET shows, in a static buffer; "(none)" if it shows nothing. */
const char *fixture_get(const struct config *cfg, const char *name);
/* CONFIG SET of NULL-terminated words; the error text, or "OK", in a static buffer. */
const char *fixture_set(struct config *cfg, const char *name, ...);
/* Terminates and returns the text of a buffer. */
const char *fixture_text(struct buf *buf);

#endif
