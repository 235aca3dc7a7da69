/* What the clients of a schedule send, how long the replies to it are, and a history for reading.
 * Thread: one. */
#include <stdio.h>
#include <stdlib.h>

#include "sim.h"

static void put_arg(struct buf *out, const char *text)
{
    buf_printf(out, "$%zu\r\n%s\r\n", strlen(text), text);
}

static void put_number(struct buf *out, int64_t n)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)n);
    put_arg(out, text);
}

static void put_command(struct buf *out, const char *name, const char *key, int64_t value)
{
    buf_printf(out, "*%d\r\n", 1 + (key != NULL) + (value != 0));
    put_arg(out, name);
    if (key) put_arg(out, key);
    if (value) put_number(out, value);
}

static void transaction_write(const struct sim *sim, const struct sim_op *op, struct buf *out)
{
    const char *keys[3];
    for (int i = 0; i < op->key_count; i++) keys[i] = sim->keys[op->keys[i]];
    if (op->kind == SIM_CAS) {
        buf_printf(out, "*3\r\n");
        put_arg(out, "WATCH");
        put_arg(out, keys[0]);
        put_arg(out, keys[1]);
        put_command(out, "GET", keys[0], 0);
        put_command(out, "MULTI", NULL, 0);
        put_command(out, "SET", keys[0], op->values[0]);
        put_command(out, "INCR", keys[1], 0);
    } else if (op->kind == SIM_TRANSFER) {
        put_command(out, "MULTI", NULL, 0);
        put_command(out, "DECRBY", keys[0], op->values[0]);
        put_command(out, "INCRBY", keys[1], op->values[0]);
    } else if (op->kind == SIM_MLIST) {
        put_command(out, "MULTI", NULL, 0);
        put_command(out, "RPUSH", keys[0], op->values[0]);
        put_command(out, "LPOP", keys[1], 0);
        put_command(out, "RPUSH", keys[2], op->values[1]);
    } else if (op->kind == SIM_LOOK) {
        put_command(out, "MULTI", NULL, 0);
        for (int i = 0; i < op->key_count; i++) put_command(out, "GET", keys[i], 0);
    } else {
        put_command(out, "MULTI", NULL, 0);
        put_command(out, "INCR", keys[0], 0);
        put_command(out, "GET", keys[1], 0);
        put_command(out, "SET", keys[2], op->values[2]);
    }
    put_command(out, "EXEC", NULL, 0);
}

/* K: all keys, declared or not; A and B: what is written. After the at-th command it turns round
 * for some time, so that it may pause. */
#define SCRIPT_BEGIN                                                                             \
    "local K, n = {}, tonumber(ARGV[1]) for i = 1, #KEYS do K[i] = KEYS[i] end "                 \
    "for i = 1, n do K[#K + 1] = ARGV[i + 1] end local A, B = ARGV[n + 2], ARGV[n + 3] "         \
    "local at, turns, calls = tonumber(ARGV[n + 4]), tonumber(ARGV[n + 5]), 0 "                  \
    "local function pause() if calls == at then for i = 1, turns do end end "                    \
    "calls = calls + 1 end "                                                                     \
    "local function c(...) local r = redis.call(...) pause() return r end pause() return "

static const char *const scripts[SIM_KINDS] = {
    [SIM_MULTI] = SCRIPT_BEGIN "{c('incr', K[1]), c('get', K[2]), c('set', K[3], A)}",
    [SIM_TRANSFER] = SCRIPT_BEGIN "{c('decrby', K[1], A), c('incrby', K[2], A)}",
    [SIM_LOOK] = SCRIPT_BEGIN "{c('get', K[1]), c('get', K[2]), c('get', K[3])}",
    [SIM_MLIST] = SCRIPT_BEGIN "{c('rpush', K[1], A), c('lpop', K[2]), c('rpush', K[3], B)}"};

/* Every other one is a text of its own: a server that knows a script knows if it wants all
 * shards. */
static void put_script(const struct sim_op *op, const char *text, struct buf *out)
{
    char own[1024];
    bool reads = op->kind == SIM_LOOK && op->variant % 2;
    snprintf(own, sizeof own, op->variant % 4 < 2 ? "%s" : "%s -- %d", text, op->variant);
    put_arg(out, reads ? "EVAL_RO" : "EVAL");
    put_arg(out, own);
    put_number(out, op->declared);
}

static void script_write(const struct sim *sim, const struct sim_op *op, struct buf *out)
{
    buf_printf(out, "*%d\r\n", 3 + 1 + op->key_count + 4);
    put_script(op, scripts[op->kind], out);
    for (int i = 0; i < op->key_count; i++) {
        if (i == op->declared) put_number(out, op->key_count - op->declared);
        put_arg(out, sim->keys[op->keys[i]]);
    }
    if (op->declared == op->key_count) put_number(out, 0);
    put_number(out, op->values[op->kind == SIM_MULTI ? 2 : 0]);
    put_number(out, op->values[1]);
    put_number(out, op->turns_at);
    put_number(out, op->turns);
}

/* One command, whose name and arguments are the script's. */
static void call_write(const struct sim *sim, const struct sim_op *op, struct buf *out)
{
    struct buf inner = {0};
    struct sim_op plain = *op;
    plain.wrap = WRAP_MULTI;
    sim_op_write(sim, &plain, &inner);
    buf_append(&inner, "", 1);
    buf_printf(out, "*%d\r\n", 3 + op->declared + 1 + (int)strtol(inner.ptr + 1, NULL, 10));
    put_script(op, "for i = 1, tonumber(ARGV[1]) do end return redis.call(unpack(ARGV, 2))", out);
    for (int i = 0; i < op->declared; i++) put_arg(out, sim->keys[op->keys[i]]);
    put_number(out, op->turns);
    const char *args = strchr(inner.ptr, '\n') + 1;
    buf_append(out, args, strlen(args));
    buf_deinit(&inner);
}

static void wrapped_write(const struct sim *sim, const struct sim_op *op, struct buf *out)
{
    bool framed = op->wrap == WRAP_SCRIPT_IN_MULTI;
    if (framed) put_command(out, "MULTI", NULL, 0);
    if (scripts[op->kind])
        script_write(sim, op, out);
    else
        call_write(sim, op, out);
    if (framed) put_command(out, "EXEC", NULL, 0);
}

static void list_op_write(const struct sim *sim, const struct sim_op *op, const char *name,
                          struct buf *out)
{
    bool move = op->kind == SIM_LMOVE || op->kind == SIM_BLMOVE;
    bool many = op->kind == SIM_LMPOP || op->kind == SIM_BLMPOP, blocks = sim_op_blocks(op);
    buf_printf(out, "*%d\r\n",
               1 + op->key_count + op->value_count + 2 * move + 2 * many + blocks);
    put_arg(out, name);
    char timeout[24];
    snprintf(timeout, sizeof timeout, "%d.%03d", op->timeout_ms / 1000, op->timeout_ms % 1000);
    if (op->kind == SIM_BLMPOP) put_arg(out, timeout);
    if (many) put_number(out, op->key_count);
    for (int i = 0; i < op->key_count; i++) put_arg(out, sim->keys[op->keys[i]]);
    for (int i = 0; i < op->value_count; i++) put_number(out, op->values[i]);
    if (many) put_arg(out, "LEFT");
    if (move) put_arg(out, "LEFT");
    if (move) put_arg(out, "RIGHT");
    if (blocks && op->kind != SIM_BLMPOP) put_arg(out, timeout);
}

static void disk_op_write(const struct sim_op *op, struct buf *out)
{
    static const char *const names[] = {"SAVE", "BGSAVE", "BGREWRITEAOF"};
    if (op->kind != SIM_WAITAOF) {
        put_command(out, names[op->kind - SIM_SAVE], NULL, 0);
        return;
    }
    buf_printf(out, "*4\r\n$7\r\nWAITAOF\r\n$1\r\n1\r\n$1\r\n0\r\n");
    put_number(out, op->timeout_ms);
}

void sim_op_write(const struct sim *sim, const struct sim_op *op, struct buf *out)
{
    static const char *const names[SIM_KINDS] = {
        "GET",   "SET",  "SET",  "INCR",  "DEL",   "MGET",  "MSET",     "MSETNX",
        "EXISTS", "RENAME", "COPY", "DBSIZE", "FLUSHALL", "PING", "MULTI", "CAS",
        "TRANSFER", "LOOK", "MLIST",
        "RPUSH", "LPOP", "LLEN", "LMOVE", "LMPOP", "BLPOP", "BLMOVE", "BLMPOP"};
    if (op->kind >= SIM_WAITAOF) {
        disk_op_write(op, out);
        return;
    }
    if (op->wrap != WRAP_MULTI) {
        wrapped_write(sim, op, out);
        return;
    }
    if (op->kind >= SIM_MULTI && op->kind <= SIM_MLIST) {
        transaction_write(sim, op, out);
        return;
    }
    if (op->kind >= SIM_RPUSH) {
        list_op_write(sim, op, names[op->kind], out);
        return;
    }
    bool values = op->kind == SIM_SET || op->kind == SIM_SETGET || op->kind == SIM_MSET ||
                  op->kind == SIM_MSETNX;
    int extra = op->kind == SIM_SETGET || op->kind == SIM_COPY;
    buf_printf(out, "*%d\r\n", 1 + op->key_count * (1 + values) + extra);
    put_arg(out, names[op->kind]);
    for (int i = 0; i < op->key_count; i++) {
        put_arg(out, sim->keys[op->keys[i]]);
        if (values) put_number(out, op->values[i]);
    }
    if (op->kind == SIM_SETGET) put_arg(out, "GET");
    if (op->kind == SIM_COPY) put_arg(out, "REPLACE");
}

size_t sim_reply_len(const char *ptr, size_t len)
{
    const char *nl = len ? memchr(ptr, '\n', len) : NULL;
    if (!nl) return 0;
    size_t line = (size_t)(nl - ptr) + 1;
    long n = strtol(ptr + 1, NULL, 10);
    if (*ptr == '$') return n < 0 ? line : line + (size_t)n + 2 <= len ? line + (size_t)n + 2 : 0;
    if (*ptr != '*') return line;
    for (long i = 0; i < n; i++) {
        size_t item = sim_reply_len(ptr + line, len - line);
        if (!item) return 0;
        line += item;
    }
    return line;
}

size_t sim_op_reply_len(const struct sim_op *op, const char *ptr, size_t len)
{
    static const int replies_of[SIM_KINDS] = {
        [SIM_MULTI] = 5, [SIM_CAS] = 6, [SIM_TRANSFER] = 4, [SIM_LOOK] = 5, [SIM_MLIST] = 5};
    int replies = replies_of[op->kind] ? replies_of[op->kind] : 1;
    if (op->wrap != WRAP_MULTI) replies = op->wrap == WRAP_SCRIPT ? 1 : 3;
    size_t all = 0;
    while (replies--) {
        size_t one = sim_reply_len(ptr + all, len - all);
        if (!one) return 0;
        all += one;
    }
    return all;
}

void sim_history_print(const struct sim *sim)
{
    for (unsigned c = 0; c < sim->client_count; c++)
        for (int i = 0; i < sim->clients[c].op_count; i++) {
            const struct sim_op *op = &sim->clients[c].ops[i];
            struct buf text = {0};
            sim_op_write(sim, op, &text);
            fprintf(stderr, "client %u [%llu, %llu]", c, (unsigned long long)op->invoked,
                    (unsigned long long)op->completed);
            for (size_t at = 0; at < text.len; at++)
                if (text.ptr[at] == '\n' || text.ptr[at] == '\r') text.ptr[at] = ' ';
            fprintf(stderr, " %.*s →", (int)text.len, text.ptr);
            for (size_t at = 0; op->completed && at < op->reply.len; at++) {
                char byte = op->reply.ptr[at];
                fputc(byte == '\n' || byte == '\r' ? ' ' : byte, stderr);
            }
            fputc('\n', stderr);
            buf_deinit(&text);
        }
}
