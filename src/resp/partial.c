/* The slow half of the parser: commands that arrive in pieces, and all errors.
 *
 * parse.c handles what lies complete in the caller's bytes. Everything else lands here, as a small
 * state machine that eats any number of bytes and remembers where it is:
 *
 *     HEADER ──"*n\r\n"──▶ LEN ──"$n\r\n"──▶ BODY ──n bytes──▶ END ──2 bytes──▶ LEN … complete
 *     INLINE ──line──▶ complete
 *
 * `held` has the bytes of small arguments one after the other, without framing, so that an
 * argument's place follows from the lengths before it; behind them, while a line is cut, its
 * beginning. A large argument fills a blob. Both grow by doubling as bytes come in, never to what a
 * length claims.
 *
 * Oddities of Redis that are kept: the two bytes behind an argument and the byte after a line's
 * '\r' are skipped unseen; '$' is looked at when the line is complete; "*0" and "*-3" are skipped.
 * Different here: a NUL byte is a byte like any other (Redis looks for line ends with strchr() and
 * then waits for a line that never ends), and a line is too long when its text has more than 64
 * KiB, not when some read happened to leave that much in the buffer.
 * Thread: owner. */
#include "partial.h"

#include <limits.h>

#include "splitring/base/mem.h"
#include "splitring/base/num.h"

#define SPARE_MAX 16          /* partials a pool keeps */
#define SPARE_HELD_MAX 32768u /* with buffers up to this size */
#define SPARE_ARGV_MAX 256

enum line_status { LINE_READY, LINE_MORE, LINE_LONG, LINE_NO_MEMORY };

enum partial_status partial_fail(struct parser *p, enum error_id error)
{
    p->error = (uint16_t)error;
    return PARTIAL_ERROR;
}

bool partial_argv_room(struct arg **argv, int *cap, int64_t count)
{
    if (count <= *cap) return true;
    int64_t want = *cap ? *cap : 8;
    while (want < count) want *= 2;
    if (want > INT_MAX) return false;
    struct arg *grown = mem_try_realloc(*argv, (size_t)want * sizeof(struct arg));
    if (!grown) return false;
    *argv = grown;
    *cap = (int)want;
    return true;
}

/* ---- life ---- */

bool partial_begin(struct parser *p, enum partial_stage stage)
{
    struct partial *part = p->pool->spare;
    if (part) {
        p->pool->spare = part->next;
        p->pool->spare_count--;
    } else {
        part = mem_try_alloc(sizeof(*part));
        if (!part) {
            partial_fail(p, ERR_PROTOCOL_MEMORY);
            return false;
        }
        *part = (struct partial){.next = NULL};
    }
    part->next = NULL;
    part->stage = stage;
    p->partial = part;
    return true;
}

static void free_partial(struct partial *part)
{
    buf_deinit(&part->held);
    mem_free(part->argv);
    mem_free(part);
}

/* Back to the pool with what it owns, unless that is much. */
static void put_back(struct parse_pool *pool, struct partial *part)
{
    for (int i = 0; i < part->argc; i++) mem_free(part->argv[i].blob);
    mem_free(part->big);
    if (pool->spare_count >= SPARE_MAX || part->held.failed || part->held.cap > SPARE_HELD_MAX ||
        part->argv_cap > SPARE_ARGV_MAX) {
        free_partial(part);
        return;
    }
    part->held.len = 0;
    *part = (struct partial){
        .next = pool->spare, .argv = part->argv, .argv_cap = part->argv_cap, .held = part->held};
    pool->spare = part;
    pool->spare_count++;
}

void partial_drop(struct parser *p)
{
    if (!p->partial) return;
    put_back(p->pool, p->partial);
    p->partial = NULL;
}

void partial_drop_done(struct parser *p)
{
    while (p->done) {
        struct partial *part = p->done;
        p->done = part->next;
        put_back(p->pool, part);
    }
}

void partial_free_spare(struct parse_pool *pool)
{
    while (pool->spare) {
        struct partial *part = pool->spare;
        pool->spare = part->next;
        free_partial(part);
    }
    pool->spare_count = 0;
}

size_t partial_bytes(const struct partial *part)
{
    size_t bytes = sizeof(*part) + part->held.cap + (size_t)part->argv_cap * sizeof(struct arg);
    if (part->big) bytes += sizeof(struct blob) + part->big->cap;
    for (int i = 0; i < part->argc; i++) {
        if (part->argv[i].blob) bytes += sizeof(struct blob) + part->argv[i].blob->cap;
    }
    return bytes;
}

/* ---- bytes ---- */

static bool hold(struct partial *part, const char *ptr, size_t len)
{
    buf_append(&part->held, ptr, len);
    return !part->held.failed;
}

/* Appends to the current large argument; its room doubles, up to the announced length. */
static bool grow_big(struct partial *part, const char *ptr, size_t len)
{
    size_t have = part->big ? part->big->len : 0;
    size_t cap = part->big ? part->big->cap : 0;
    if (have + len > cap) {
        cap = cap * 2 > PARSE_BIG_LEN ? cap * 2 : PARSE_BIG_LEN;
        if (cap < have + len) cap = have + len;
        if (cap > part->bulk_len) cap = part->bulk_len;
        struct blob *grown = mem_try_realloc(part->big, sizeof(struct blob) + cap);
        if (!grown) return false;
        grown->len = have;
        grown->cap = cap;
        part->big = grown;
    }
    memcpy(part->big->data + have, ptr, len);
    part->big->len = have + len;
    return true;
}

static bool add_arg(struct partial *part, size_t len, struct blob *blob)
{
    if (!partial_argv_room(&part->argv, &part->argv_cap, (int64_t)part->argc + 1)) return false;
    part->argv[part->argc++] = (struct arg){NULL, len, blob};
    return true;
}

bool partial_adopt(struct parser *p, const struct arg *argv, int argc, int64_t left)
{
    struct partial *part = p->partial;
    part->args_left = left;
    for (int i = 0; i < argc; i++) {
        bool ok = true;
        part->bulk_len = argv[i].len;
        if (argv[i].len >= PARSE_BIG_LEN) {
            ok = grow_big(part, argv[i].ptr, argv[i].len);
        } else {
            ok = hold(part, argv[i].ptr, argv[i].len);
        }
        if (!ok || !add_arg(part, argv[i].len, part->big)) {
            partial_fail(p, ERR_PROTOCOL_MEMORY);
            return false;
        }
        part->big = NULL;
    }
    return true;
}

/* A line up to `last`, of which `behind` more bytes are skipped. Ready: *line is its text, in the
 * caller's bytes or at the end of held; end_line() lets go of it. */
static enum line_status read_line(struct partial *part, char last, size_t behind, const char *data,
                                  size_t len, size_t *used, struct slice *line)
{
    const char *at = data + *used;
    size_t left = len - *used, had = part->line_len;
    if (had && behind && part->held.ptr[part->held.len - 1] == last) {
        if (left == 0) return LINE_MORE;
        *used += behind;
        *line = slice_of(part->held.ptr + part->held.len - had, had - 1);
        return line->len > PARSE_LINE_MAX ? LINE_LONG : LINE_READY;
    }
    size_t room = had > PARSE_LINE_MAX ? 0 : PARSE_LINE_MAX + 1 - had;
    const char *found = left ? memchr(at, last, left < room ? left : room) : NULL;
    size_t text = found ? (size_t)(found - at) : left;
    if (!found && had + left > PARSE_LINE_MAX) return LINE_LONG;
    if (found && left - text > behind && had == 0) {
        *used += text + 1 + behind;
        *line = slice_of(at, text);
        return LINE_READY;
    }
    bool ready = found && left - text > behind;
    size_t take = found ? text + 1 : left;
    if (!hold(part, at, take)) return LINE_NO_MEMORY;
    part->line_len += take;
    *used += take;
    if (!ready) return LINE_MORE;
    *used += behind;
    *line = slice_of(part->held.ptr + part->held.len - part->line_len, part->line_len - 1);
    return LINE_READY;
}

static void end_line(struct partial *part)
{
    part->held.len -= part->line_len;
    part->line_len = 0;
}

/* ---- completion ---- */

static enum partial_status complete(struct parser *p)
{
    struct partial *part = p->partial;
    p->partial = NULL;
    part->next = p->done;
    p->done = part;
    p->argv = part->argv;
    p->argc = part->argc;
    return PARTIAL_COMMAND;
}

static enum partial_status complete_array(struct parser *p)
{
    struct partial *part = p->partial;
    const char *at = part->held.ptr;
    for (int i = 0; i < part->argc; i++) {
        struct arg *arg = &part->argv[i];
        arg->ptr = arg->blob ? arg->blob->data : at;
        if (!arg->blob && arg->len) at += arg->len;
        if (!arg->ptr) arg->ptr = ""; /* nothing but empty arguments */
    }
    return complete(p);
}

/* The line must stay: arguments point into it. It is copied unless it is held already. */
static enum partial_status complete_inline(struct parser *p, struct slice line)
{
    struct partial *part = p->partial;
    if (line.len && line.ptr[line.len - 1] == '\r') line.len--;
    if (part->line_len == 0) {
        if (!hold(part, line.ptr, line.len)) return partial_fail(p, ERR_PROTOCOL_MEMORY);
        line.ptr = part->held.ptr;
    }
    if (!partial_argv_room(&part->argv, &part->argv_cap, inline_argc_max(line))) {
        return partial_fail(p, ERR_PROTOCOL_MEMORY);
    }
    part->argc = line.len ? inline_split_quoted(part->held.ptr, line.len, part->argv) : 0;
    if (part->argc < 0) {
        part->argc = 0;
        return partial_fail(p, ERR_PROTOCOL_QUOTES);
    }
    if (part->argc > 0) return complete(p);
    partial_drop(p);
    return PARTIAL_NOTHING;
}

/* ---- stages ---- */

/* "*n": PARTIAL_MORE means go on. */
static enum partial_status on_header(struct parser *p, const struct parse_limits *limits,
                                     struct slice line)
{
    struct partial *part = p->partial;
    int64_t count;
    bool ok = num_parse_i64(slice_of(line.ptr + 1, line.len - 1), &count);
    end_line(part);
    if (!ok || count > INT_MAX) return partial_fail(p, ERR_PROTOCOL_MULTIBULK_LEN);
    if (count > PARSE_UNAUTH_ARGC_MAX && !limits->authenticated) {
        return partial_fail(p, ERR_PROTOCOL_MULTIBULK_UNAUTH);
    }
    if (count <= 0) {
        partial_drop(p);
        return PARTIAL_NOTHING;
    }
    part->args_left = count;
    part->stage = PARTIAL_LEN;
    return PARTIAL_MORE;
}

/* "$n": PARTIAL_MORE means go on. */
static enum partial_status on_len(struct parser *p, const struct parse_limits *limits,
                                  struct slice line)
{
    struct partial *part = p->partial;
    int64_t count = 0;
    char first = line.len ? line.ptr[0] : '\r';
    bool ok = line.len && num_parse_i64(slice_of(line.ptr + 1, line.len - 1), &count);
    end_line(part);
    if (first != '$') {
        p->error_byte = first;
        return partial_fail(p, ERR_PROTOCOL_EXPECTED_DOLLAR);
    }
    if (!ok || count < 0 || count > limits->bulk_len_max) {
        return partial_fail(p, ERR_PROTOCOL_BULK_LEN);
    }
    if (count > PARSE_UNAUTH_BULK_MAX && !limits->authenticated) {
        return partial_fail(p, ERR_PROTOCOL_BULK_UNAUTH);
    }
    part->bulk_len = part->bulk_left = (size_t)count;
    part->stage = PARTIAL_BODY;
    return PARTIAL_MORE;
}

static enum partial_status line_error(struct parser *p, enum line_status status)
{
    if (status == LINE_NO_MEMORY) return partial_fail(p, ERR_PROTOCOL_MEMORY);
    switch (p->partial->stage) {
    case PARTIAL_HEADER: return partial_fail(p, ERR_PROTOCOL_MULTIBULK_LINE);
    case PARTIAL_INLINE: return partial_fail(p, ERR_PROTOCOL_INLINE_LINE);
    default: return partial_fail(p, ERR_PROTOCOL_BULK_LINE);
    }
}

/* The argument's bytes, then the two bytes behind it. PARTIAL_NOTHING: the argument is complete. */
static enum partial_status on_body(struct parser *p, const char *data, size_t len, size_t *used)
{
    struct partial *part = p->partial;
    size_t left = len - *used;
    if (part->stage == PARTIAL_BODY) {
        size_t take = left < part->bulk_left ? left : part->bulk_left;
        if (take) {
            bool ok = part->bulk_len >= PARSE_BIG_LEN ? grow_big(part, data + *used, take)
                                                      : hold(part, data + *used, take);
            if (!ok) return partial_fail(p, ERR_PROTOCOL_MEMORY);
        }
        *used += take;
        left -= take;
        part->bulk_left -= take;
        if (part->bulk_left) return PARTIAL_MORE;
        if (!add_arg(part, part->bulk_len, part->big)) return partial_fail(p, ERR_PROTOCOL_MEMORY);
        part->big = NULL;
        part->bulk_left = 2;
        part->stage = PARTIAL_END;
    }
    size_t skip = left < part->bulk_left ? left : part->bulk_left;
    *used += skip;
    part->bulk_left -= skip;
    if (part->bulk_left) return PARTIAL_MORE;
    part->stage = PARTIAL_LEN;
    part->args_left--;
    return PARTIAL_NOTHING;
}

enum partial_status partial_feed(struct parser *p, const struct parse_limits *limits,
                                 const char *data, size_t len, size_t *used)
{
    struct partial *part = p->partial;
    for (;;) {
        enum partial_status status;
        if (part->stage == PARTIAL_BODY || part->stage == PARTIAL_END) {
            status = on_body(p, data, len, used);
            if (status != PARTIAL_NOTHING) return status;
            if (part->args_left == 0) return complete_array(p);
            continue;
        }
        bool is_inline = part->stage == PARTIAL_INLINE;
        struct slice line = {0};
        enum line_status ready =
            read_line(part, is_inline ? '\n' : '\r', is_inline ? 0 : 1, data, len, used, &line);
        if (ready == LINE_MORE) return PARTIAL_MORE;
        if (ready != LINE_READY) return line_error(p, ready);
        if (is_inline) return complete_inline(p, line);
        status =
            part->stage == PARTIAL_HEADER ? on_header(p, limits, line) : on_len(p, limits, line);
        if (status != PARTIAL_MORE) return status;
    }
}
