/* Inside the parser: commands that are cut by the end of the caller's bytes, and whatever else is
 * not the common case (partial.c); splitting of inline commands (inline.c).
 * Thread: owner. */
#ifndef SPLITRING_SRC_RESP_PARTIAL_H
#define SPLITRING_SRC_RESP_PARTIAL_H

#include "splitring/resp/errors.h"
#include "splitring/resp/parse.h"
#include "splitring/resp/words.h"

enum partial_stage {
    PARTIAL_HEADER, /* in "*3\r\n" */
    PARTIAL_INLINE, /* in "PING\r\n" */
    PARTIAL_LEN,    /* in "$5\r\n" */
    PARTIAL_BODY,   /* in the argument's bytes */
    PARTIAL_END     /* in the two bytes after them */
};

struct partial {
    struct partial *next; /* in parser.done or parse_pool.spare */
    struct arg *argv;     /* ptr is set when the command is complete */
    int argc;
    int argv_cap;
    int64_t args_left; /* arguments that are still to be completed */
    size_t bulk_left;  /* bytes of the current one, then of its line end, still to come */
    size_t bulk_len;
    size_t line_len;  /* how many bytes at the end of held are a cut line */
    struct buf held;  /* the arguments' bytes one after the other, then the cut line */
    struct blob *big; /* the current argument, if it is a large one */
    enum partial_stage stage;
};

enum partial_status {
    PARTIAL_COMMAND,
    PARTIAL_MORE,
    PARTIAL_ERROR,
    PARTIAL_NOTHING /* complete, but there is no command in it */
};

/* Starts a command in p->partial; false: no memory (the error is set). */
bool partial_begin(struct parser *p, enum partial_stage stage);
/* Takes over arguments that were found complete in the caller's bytes; left: those still
 * missing. */
bool partial_adopt(struct parser *p, const struct arg *argv, int argc, int64_t left);
/* Goes on with p->partial. */
enum partial_status partial_feed(struct parser *p, const struct parse_limits *limits,
                                 const char *data, size_t len, size_t *used);
/* p->partial back to the pool, or freed. */
void partial_drop(struct parser *p);
void partial_drop_done(struct parser *p);
void partial_free_spare(struct parse_pool *pool);
size_t partial_bytes(const struct partial *part);
/* Room for count entries; false: no memory. */
bool partial_argv_room(struct arg **argv, int *cap, int64_t count);
enum partial_status partial_fail(struct parser *p, enum error_id error);

bool inline_has_quotes(struct slice line);
/* Splits a line without quotes; arguments point into it. */
int inline_split(struct slice line, struct arg *argv);

#endif
