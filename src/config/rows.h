/* Short forms for the rows of the two directive tables, so that a row is a line.
 * Thread: any (constant). */
#ifndef SPLITRING_CONFIG_ROWS_H
#define SPLITRING_CONFIG_ROWS_H

#include "directive.h"

/* A row with a field of struct config. */
#define ROW(kind, name_, alias_, flags_, field_, ...) /* …: the preset, then LIMITS, WORDS etc. */ \
    {.name = (name_), .alias = (alias_), .type = DIRECTIVE_##kind, .flags = (flags_),              \
     .width = sizeof(((struct config *)0)->field_) == 4 ? 4 : 8,                                   \
     .offset = offsetof(struct config, field_), .preset = __VA_ARGS__}
/* A row that is kept as text: accepted without effect, or refused if it is not the preset. */
#define TEXT(kind, why_, name_, alias_, flags_, ...)                                               \
    {.name = (name_), .alias = (alias_), .type = DIRECTIVE_##kind, .flags = (flags_),              \
     .class = CLASS_IGNORED, .why = (why_), .preset = __VA_ARGS__}
#define ONLY(kind, why_, name_, alias_, flags_, ...)                                               \
    {.name = (name_), .alias = (alias_), .type = DIRECTIVE_##kind, .flags = (flags_),              \
     .class = CLASS_FIXED, .why = (why_), .preset = __VA_ARGS__}
#define LIMITS(min_, max_) .min = (min_), .max = (max_)
#define WORDS(list) .words = (list)
#define IGNORED(why_) .class = CLASS_IGNORED, .why = (why_)
#define FIXED(why_) .class = CLASS_FIXED, .why = (why_)
#define OBJECTION(function) .objection = (function)

#define MUTABLE 0
#define IMMUTABLE FLAG_IMMUTABLE
#define SENSITIVE FLAG_SENSITIVE
#define MULTI FLAG_MULTI
#define PROTECTED FLAG_PROTECTED
#define HIDDEN FLAG_HIDDEN
#define FILE_ONLY FLAG_FILE_ONLY

#endif
