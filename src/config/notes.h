/* What loading a configuration found, line by line (inside the config layer).
 * Thread: owner of the struct config_notes. */
#ifndef SPLITRING_CONFIG_NOTES_H
#define SPLITRING_CONFIG_NOTES_H

#include "directive.h"

enum note_kind { NOTE_HONOURED, NOTE_IGNORED, NOTE_REFUSED };

struct config_note {
    enum note_kind kind;
    char *where;                       /* "redis.conf:12", "command line" */
    char *name;                        /* as written, or the whole line if it has no name */
    char *why;                         /* "" when honoured */
    const struct directive *directive; /* NULL: unknown */
};

void note_add(struct config_notes *notes, enum note_kind kind, const char *where, struct slice name,
              const struct directive *d, struct slice why);

#endif
