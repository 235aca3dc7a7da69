/* Reading requests: RESP arrays of bulk strings and inline commands, incrementally.
 *
 * The caller has bytes in a receive buffer. parse_next() gives the complete commands in them one by
 * one, in place: their arguments are slices into the caller's bytes. A command that is cut by the
 * end of the bytes is kept by the parser, with the work done so far: nothing is parsed twice,
 * however small the pieces. An argument of PARSE_BIG_LEN or more of such a command is collected in
 * a block of its own that a handler may keep (struct blob).
 * Memory grows with bytes that have arrived, never with what a length claims.
 *
 * How long things live, so that a batch may be parsed before it is executed:
 *   argument bytes and blobs   until the first parse_next() after PARSE_MORE, parse_trim() or
 *                              parse_deinit(); the caller's own bytes as long as the caller keeps
 * them
 *   the argv array itself      until the next parse_next() of any parser of the same pool
 * Source: https://redis.io/docs/latest/develop/reference/protocol-spec/ ; redis src/networking.c
 * (processMultibulkBuffer, processInlineBuffer) for limits and error texts.
 * Thread: owner. */
#ifndef SPLITRING_RESP_PARSE_H
#define SPLITRING_RESP_PARSE_H

#include "splitring/base/buf.h"

#define PARSE_BIG_LEN (64u * 1024u)
#define PARSE_LINE_MAX (64u * 1024u) /* inline commands and length lines, without their end */
#define PARSE_UNAUTH_ARGC_MAX 10
#define PARSE_UNAUTH_BULK_MAX 16384

/* An owned run of bytes; the string value of large keys has this form too. */
struct blob {
    size_t len;
    size_t cap;
    char data[];
};

struct arg {
    const char *ptr;
    size_t len;
    struct blob *blob; /* NULL, or the block that holds ptr; set argv[i].blob to NULL to take it */
};

struct parse_limits {
    int64_t bulk_len_max; /* proto-max-bulk-len */
    bool authenticated;   /* false: at most 10 arguments of 16 KiB each, as Redis */
};

enum parse_status {
    PARSE_COMMAND, /* argv/argc hold a command; more bytes may follow */
    PARSE_MORE,    /* all bytes consumed, no complete command left */
    PARSE_ERROR    /* protocol error (parse_reply_error); every later call says so too */
};

struct partial;
struct reply;

/* Memory that all parsers of one worker share: idle connections then have none of their own. */
struct parse_pool {
    struct arg *argv;      /* of a command that lies in the caller's bytes */
    int argv_cap;
    int spare_count;
    struct partial *spare; /* for commands that are cut */
};

struct parser {
    struct arg *argv; /* after PARSE_COMMAND; never empty */
    int argc;
    uint16_t error;   /* enum error_id, after PARSE_ERROR */
    char error_byte;  /* the offending byte where the text shows one */
    uint8_t stage;    /* the next parse_next has something to do first (parse.c) */
    struct parse_pool *pool;
    struct partial *partial; /* the unfinished command, or NULL */
    struct partial *done;    /* finished ones that arguments still point into */
};

void parse_pool_init(struct parse_pool *pool);
void parse_pool_deinit(struct parse_pool *pool); /* after all its parsers */

void parse_init(struct parser *p, struct parse_pool *pool);
void parse_deinit(struct parser *p);
/* Parses the next command out of data[*used..len); advances *used. Call again until PARSE_MORE.
 * Input without a command (empty inline line, "*0") is skipped. The limits may change between two
 * commands (AUTH). */
enum parse_status parse_next(struct parser *p, const struct parse_limits *limits, const char *data,
                             size_t len, size_t *used);
/* The fast half alone: an array at data[*used] that lies there whole, of at most `room` arguments.
 * They go to args, *used moves behind it, and their number is returned. 0: nothing has been done,
 * it takes parse_next(). bulk_max: of the limits, parse_bulk_max(). */
int parse_whole(const struct parser *p, uint64_t bulk_max, const char *data, size_t len,
                size_t *used, struct slice *args, size_t room);
static inline uint64_t parse_bulk_max(const struct parse_limits *limits)
{
    uint64_t most = (uint64_t)limits->bulk_len_max;
    bool cut = !limits->authenticated && most > PARSE_UNAUTH_BULK_MAX;
    return cut ? PARSE_UNAUTH_BULK_MAX : most;
}
/* Writes the error reply after PARSE_ERROR; the connection is to be closed behind it. */
void parse_reply_error(const struct parser *p, struct reply *r);
/* Forgets an unfinished command (its bytes will be fed again). */
void parse_reset(struct parser *p);
/* Memory held for an unfinished command (client-query-buffer-limit, INFO, CLIENT LIST qbuf). */
size_t parse_held(const struct parser *p);
/* Frees what finished commands held and spare room of the pool (idle connections). Only between the
 * last use of argv and the next parse_next. */
void parse_trim(struct parser *p);

#endif
