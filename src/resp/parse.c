/* The fast half of the parser: commands that lie complete in the caller's bytes.
 *
 *     *2\r\n$3\r\nGET\r\n$5\r\nhello\r\n
 *            └ ptr,len    └ ptr,len        arguments are slices of the input, nothing is copied
 *
 * A request is nearly always whole: clients send it with one write, and receive buffers hold
 * hundreds. So this file only knows the good case. Where anything is unusual (the bytes end too
 * early, a length is malformed or beyond a limit, a line has quotes) it hands the command over to
 * the state machine of partial.c, which starts at the current line and is the only place that
 * decides between "wait" and "error".
 *
 * Lengths of one and two digits are read by comparing single bytes: that beats memchr, SWAR and SSE
 * searches for the line end by a factor of two to three (FIGURES section 4).
 *
 * Invariant: when a call returns PARSE_MORE, *used == len.
 * Thread: owner. */
#include "splitring/resp/parse.h"

#include <limits.h>

#include "splitring/base/check.h"
#include "splitring/base/mem.h"
#include "splitring/resp/reply.h"
#include "partial.h"

/* parser.stage, in the order of how often they occur */
enum { STAGE_GO, STAGE_FRESH /* new bytes: finished commands may go */, STAGE_FAILED };

#define ARG_WIRE_MIN 6     /* "$0\r\n\r\n": no argument is shorter */
#define POOL_ARGV_MAX 1024 /* what parse_trim leaves */

void parse_pool_init(struct parse_pool *pool) { *pool = (struct parse_pool){.argv = NULL}; }

void parse_pool_deinit(struct parse_pool *pool)
{
    partial_free_spare(pool);
    mem_free(pool->argv);
    *pool = (struct parse_pool){.argv = NULL};
}

void parse_init(struct parser *p, struct parse_pool *pool) { *p = (struct parser){.pool = pool}; }

void parse_deinit(struct parser *p)
{
    partial_drop(p);
    partial_drop_done(p);
}

/* Reads "<byte>digits\r\n" at q. Returns its length; 0 if that takes a closer look. */
static inline size_t read_length(const char *q, const char *end, uint64_t *value)
{
    if (unlikely(end - q < 5)) return 0;
    unsigned a = (unsigned)(unsigned char)q[1] - '0';
    if (unlikely(a > 9)) return 0;
    if (q[2] == '\r') {
        *value = a;
        return 4;
    }
    unsigned b = (unsigned)(unsigned char)q[2] - '0';
    if (unlikely(b > 9 || a == 0)) return 0;
    if (q[3] == '\r') {
        *value = a * 10 + b;
        return 5;
    }
    uint64_t n = a * 10 + b;
    size_t i = 3;
    for (; i < 11 && q + i + 1 < end; i++) { /* ten digits hold any length that fits in memory */
        unsigned c = (unsigned)(unsigned char)q[i] - '0';
        if (c > 9) break;
        n = n * 10 + c;
    }
    if (q + i + 1 >= end || q[i] != '\r') return 0;
    *value = n;
    return i + 2;
}

/* An array that begins at data[*used]. PARTIAL_COMMAND: *used is behind it. PARTIAL_MORE:
 * p->partial has what was understood, *used stands at what was not. PARTIAL_ERROR: no memory. */
static enum partial_status parse_array(struct parser *p, uint64_t bulk_max, const char *data,
                                       size_t len, size_t *used)
{
    struct parse_pool *pool = p->pool;
    const char *q = data + *used, *end = data + len;
    uint64_t count, bulk;
    size_t line = read_length(q, end, &count);
    if (unlikely(line == 0 || count == 0 || count > INT_MAX)) {
        return partial_begin(p, PARTIAL_HEADER) ? PARTIAL_MORE : PARTIAL_ERROR;
    }
    /* The limit for unauthenticated clients; partial.c has the words for it. */
    if (unlikely(bulk_max <= PARSE_UNAUTH_BULK_MAX && count > PARSE_UNAUTH_ARGC_MAX)) {
        return partial_begin(p, PARTIAL_HEADER) ? PARTIAL_MORE : PARTIAL_ERROR;
    }
    q += line;
    uint64_t i = 0;
    if (likely(count <= (uint64_t)pool->argv_cap ||
               (count <= (uint64_t)(end - q) / ARG_WIRE_MIN &&
                partial_argv_room(&pool->argv, &pool->argv_cap, (int64_t)count)))) {
        struct arg *argv = pool->argv;
        for (; i < count; i++) {
            line = read_length(q, end, &bulk);
            if (unlikely(line == 0 || *q != '$' || bulk > bulk_max)) break;
            if (unlikely((uint64_t)(end - q) < line + bulk + 2)) break;
            argv[i] = (struct arg){q + line, (size_t)bulk, NULL};
            q += line + bulk + 2;
        }
    }
    *used = (size_t)(q - data);
    p->argc = (int)i;
    p->argv = pool->argv;
    if (likely(i == count)) return PARTIAL_COMMAND;
    if (!partial_begin(p, PARTIAL_LEN)) return PARTIAL_ERROR;
    return partial_adopt(p, pool->argv, (int)i, (int64_t)(count - i)) ? PARTIAL_MORE
                                                                      : PARTIAL_ERROR;
}

int parse_whole(const struct parser *p, uint64_t bulk_max, const char *data, size_t len,
                size_t *used, struct slice *args, size_t room)
{
    const char *q = data + *used, *end = data + len;
    uint64_t count, bulk;
    bool busy = p->partial || p->done || p->stage == STAGE_FAILED;
    if (unlikely(busy || q == end || *q != '*')) return 0;
    size_t line = read_length(q, end, &count);
    /* What is limited before somebody has signed in is parse_next()'s to say. */
    if (unlikely(line == 0 || count == 0 || count > room || bulk_max <= PARSE_UNAUTH_BULK_MAX))
        return 0;
    q += line;
    for (uint64_t i = 0; i < count; i++) {
        line = read_length(q, end, &bulk);
        if (unlikely(line == 0 || *q != '$' || bulk > bulk_max)) return 0;
        if (unlikely((uint64_t)(end - q) < line + bulk + 2)) return 0;
        args[i] = slice_of(q + line, (size_t)bulk);
        q += line + bulk + 2;
    }
    *used = (size_t)(q - data);
    return (int)count;
}

/* An inline command that begins at data[*used]; results as parse_array. */
static enum partial_status parse_inline(struct parser *p, const char *data, size_t len,
                                        size_t *used)
{
    const char *at = data + *used;
    size_t left = len - *used;
    const char *found = memchr(at, '\n', left < PARSE_LINE_MAX ? left : PARSE_LINE_MAX);
    struct slice line = slice_of(at, found ? (size_t)(found - at) : 0);
    if (found && line.len && line.ptr[line.len - 1] == '\r') line.len--;
    if (!found || inline_has_quotes(line)) {
        return partial_begin(p, PARTIAL_INLINE) ? PARTIAL_MORE : PARTIAL_ERROR;
    }
    if (!partial_argv_room(&p->pool->argv, &p->pool->argv_cap, inline_argc_max(line))) {
        return partial_fail(p, ERR_PROTOCOL_MEMORY);
    }
    p->argv = p->pool->argv;
    p->argc = inline_split(line, p->argv);
    *used += (size_t)(found - at) + 1;
    return p->argc ? PARTIAL_COMMAND : PARTIAL_NOTHING;
}

static enum parse_status failed(struct parser *p)
{
    partial_drop(p);
    p->stage = STAGE_FAILED;
    return PARSE_ERROR;
}

enum parse_status parse_next(struct parser *p, const struct parse_limits *limits, const char *data,
                             size_t len, size_t *used)
{
    if (unlikely(p->stage != STAGE_GO)) {
        if (p->stage == STAGE_FAILED) return PARSE_ERROR;
        partial_drop_done(p);
        p->stage = STAGE_GO;
    }
    uint64_t bulk_max = parse_bulk_max(limits);
    while (*used < len) {
        enum partial_status status = PARTIAL_MORE;
        if (likely(!p->partial)) {
            status = likely(data[*used] == '*') ? parse_array(p, bulk_max, data, len, used)
                                                : parse_inline(p, data, len, used);
        }
        if (likely(status == PARTIAL_COMMAND)) return PARSE_COMMAND;
        if (status == PARTIAL_MORE) status = partial_feed(p, limits, data, len, used);
        if (status == PARTIAL_COMMAND) return PARSE_COMMAND;
        if (status == PARTIAL_ERROR) return failed(p);
        if (status == PARTIAL_MORE) dcheck(*used == len);
    }
    p->stage = STAGE_FRESH;
    return PARSE_MORE;
}

void parse_reply_error(const struct parser *p, struct reply *r)
{
    reply_errorf(r, (enum error_id)p->error, p->error_byte);
}

void parse_reset(struct parser *p)
{
    partial_drop(p);
    if (p->stage == STAGE_FAILED) p->stage = STAGE_GO;
}

size_t parse_held(const struct parser *p)
{
    size_t bytes = p->partial ? partial_bytes(p->partial) : 0;
    for (const struct partial *part = p->done; part; part = part->next)
        bytes += partial_bytes(part);
    return bytes;
}

void parse_trim(struct parser *p)
{
    partial_drop_done(p);
    partial_free_spare(p->pool);
    if (p->pool->argv_cap > POOL_ARGV_MAX) {
        mem_free(p->pool->argv);
        p->pool->argv = NULL;
        p->pool->argv_cap = 0;
    }
}
