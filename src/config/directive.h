/* Inside the config layer: one row per directive, and how its value is read, written and kept.
 * Thread: any (the rows are constant); functions on a struct config: its owner. */
#ifndef SPLITRING_CONFIG_DIRECTIVE_H
#define SPLITRING_CONFIG_DIRECTIVE_H

#include "splitring/config/config.h"

#define DIRECTIVES_MAX 320u              /* bits of config.included */
#define ARGUMENT_LEN_MAX (1024u * 1024u) /* a client's CONFIG SET may not ask for more memory */

enum directive_type {
    DIRECTIVE_BOOL,
    DIRECTIVE_INT,
    DIRECTIVE_MEMORY,  /* bytes: 100, 1k, 1kb, 1gb */
    DIRECTIVE_PERCENT, /* bytes or "5%", kept as -5 */
    DIRECTIVE_SHARE,   /* the same, but mistakes are told as if there were bytes only */
    DIRECTIVE_OCTAL,
    DIRECTIVE_AUTO, /* "auto", kept as 0, or a number */
    DIRECTIVE_ENUM,
    DIRECTIVE_FLAGS, /* several words of an enum; the first one stands for none */
    DIRECTIVE_STRING,
    DIRECTIVE_BIND,        /* struct config_words */
    DIRECTIVE_SAVE,        /* struct config_save */
    DIRECTIVE_LIMITS,      /* struct config_output_limit[CONFIG_CLIENT_CLASSES] */
    DIRECTIVE_EVENTS,      /* letters of notify-keyspace-events */
    DIRECTIVE_PERCENTILES, /* struct config_percentiles */
    DIRECTIVE_RENAME,      /* struct config_words, pairs */
    DIRECTIVE_USER,        /* struct config_words: lines add up */
    DIRECTIVE_OOM_VALUES,  /* three numbers, kept as text */
    DIRECTIVE_REPLICAOF,   /* "host port" or "no one", kept as text */
    DIRECTIVE_INCLUDE,
    DIRECTIVE_NEVER /* no value is accepted: `why` says the reason */
};

enum directive_class {
    CLASS_HONOURED,
    CLASS_IGNORED, /* accepted without effect, because of `why` */
    CLASS_FIXED    /* only the preset is accepted, because of `why` */
};

enum directive_flag {
    FLAG_IMMUTABLE = 1 << 0, /* not by CONFIG SET */
    FLAG_SENSITIVE = 1 << 1, /* never shown in logs */
    FLAG_MULTI = 1 << 2,     /* several arguments on a line, blanks inside one in CONFIG SET */
    FLAG_PROTECTED = 1 << 3, /* CONFIG SET needs enable-protected-configs */
    FLAG_HIDDEN = 1 << 4,    /* CONFIG GET shows it under its full name only */
    FLAG_FILE_ONLY = 1 << 5  /* CONFIG GET and SET do not know it */
};

struct directive_word {
    const char *name; /* NULL ends the list */
    int value;
};

struct directive {
    const char *name, *alias; /* alias may be NULL */
    uint8_t type, class, flags;
    uint8_t width;      /* bytes of a number field; 0: no field, kept in cfg->plain */
    uint16_t offset;    /* of the field in struct config */
    const char *preset; /* the default, as CONFIG SET would be given it */
    int64_t min, max;
    const struct directive_word *words;
    const char *why;
    /* A further condition on a string; returns what is wrong, or NULL. */
    const char *(*objection)(struct slice text);
};

/* The table: rows with a field (directives.c), then rows kept as text (directives_plain.c). */
extern const struct directive directives_honoured[], directives_plain[];
extern const size_t directives_honoured_count, directives_plain_count;
size_t directive_count(void);
const struct directive *directive_at(size_t index);
size_t directive_index(const struct directive *d);
/* By name or alias, ignoring case; NULL if there is none. *by_alias may be NULL. */
const struct directive *directive_find(struct slice name, bool *by_alias);

/* Sets from a line's arguments. `more`: a second `save` line of a file adds to the first. False:
 * *why gets the reason, the value is as before. */
bool directive_set(struct config *cfg, const struct directive *d, const struct slice *args,
                   size_t count, bool more, struct buf *why) WARN_UNUSED;
/* The value as CONFIG GET gives it. */
void directive_format(const struct config *cfg, const struct directive *d, struct buf *out);
/* The same value in both; file-only directives are always equal. */
bool directive_equal(const struct config *a, const struct config *b, const struct directive *d);
/* The value as lines of a configuration file, each with its newline. */
void directive_write(const struct config *cfg, const struct directive *d, struct buf *out);
/* Gives `to`, a bytewise copy of `from`, memory of its own. */
/* Sets the preset to a field that holds nothing yet. */
void directive_init(struct config *cfg, const struct directive *d);
void directive_copy(struct config *to, const struct config *from, const struct directive *d);
void directive_deinit(struct config *cfg, const struct directive *d);

/* A value outside of a struct config (value.c). */
union directive_value {
    bool boolean;
    int64_t number;
    char *text;
    struct config_words words;
    struct config_save save;
    struct config_output_limit limits[CONFIG_CLIENT_CLASSES];
    struct config_percentiles percentiles;
};
/* width: of number fields, 4 or 8. On failure *why has the reason and the field is untouched. */
bool value_parse(const struct directive *d, void *field, size_t width, const struct slice *args,
                 size_t count, bool more, struct buf *why) WARN_UNUSED;
void value_format(const struct directive *d, const void *field, size_t width, struct buf *out);
void value_copy(const struct directive *d, void *field);
void value_deinit(const struct directive *d, void *field);
char *value_text(struct slice text); /* an owned, terminated copy */

/* Arguments of one line, unquoted (split.c). */
struct line_args {
    struct slice *args;
    size_t count;
    char *bytes;
};
/* Redis' rules for quotes and escapes. False: unbalanced quotes, nothing to free. */
bool line_split(struct line_args *out, struct slice line) WARN_UNUSED;
void line_args_deinit(struct line_args *args);
struct slice line_trim(struct slice line);  /* without blanks at both ends */
struct slice line_next(struct slice *rest); /* cuts the next line off, without its \n */
void line_append_quoted(struct buf *out, struct slice text); /* the inverse: "…" with escapes */

/* Sets from one line that is not an `include`; d and args are of that line. A multi-argument
 * directive given one argument splits it ("save '60 1 30 2'"). */
bool directive_set_line(struct config *cfg, const struct directive *d, const struct slice *args,
                        size_t count, bool more, struct buf *why) WARN_UNUSED;

#endif
