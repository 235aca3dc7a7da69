/* Three lists of entries, oldest first: commands that took long, that were large, that were
 * answered at length. An entry is made by the worker that ran the command, with the bytes that
 * SLOWLOG GET will send; readers ask all workers (local_commandlog.c).
 *
 * Ids are one sequence over all workers, so the newest n of all are found by merging, and each
 * worker keeps as many as all together may show. Order of ids is the order in which commands ended.
 *
 * Entries are shortened as in Redis: 32 arguments of 128 bytes. A handler may take a large argument
 * into the keyspace, where it may already be gone when the command turns out slow; of those the
 * heads are kept before it runs (meter_keep_heads_slow).
 * Source: https://redis.io/docs/latest/commands/slowlog-get/,
 * https://valkey.io/commands/commandlog-get/
 * Thread: the worker. */
#include "commandlog.h"

#include <stdio.h>

#include "conn.h"
#include "redact.h"
#include "splitring/base/mem.h"
#include "splitring/base/num.h"

#define ARGS_MAX 32
#define ARG_LEN_MAX 128u

struct commandlog {
    struct {
        struct list entries;
        size_t count;
    } logs[LOG_KINDS];
};

struct log_draft {
    const struct command *cmd;
    size_t request_len;
    struct buf wire;
    size_t arguments_len;
};

struct commandlog *commandlog_new(void)
{
    struct commandlog *log = mem_zalloc(sizeof *log);
    for (unsigned k = 0; k < LOG_KINDS; k++) list_init(&log->logs[k].entries);
    return log;
}

void commandlog_clear(struct commandlog *log, enum log_kind kind)
{
    struct list *link;
    while ((link = list_pop_front(&log->logs[kind].entries)) != NULL)
        mem_free(CONTAINER_OF(link, struct log_entry, link));
    log->logs[kind].count = 0;
}

void commandlog_free(struct commandlog *log)
{
    for (unsigned k = 0; k < LOG_KINDS; k++) commandlog_clear(log, (enum log_kind)k);
    mem_free(log);
}

const struct list *commandlog_entries(const struct commandlog *log, enum log_kind kind)
{
    return &log->logs[kind].entries;
}

size_t commandlog_count(const struct commandlog *log, enum log_kind kind)
{
    return log->logs[kind].count;
}

int64_t commandlog_len_max(const struct config *config, enum log_kind kind)
{
    switch (kind) {
    case LOG_LARGE_REQUEST: return config->log_request_max_len;
    case LOG_LARGE_REPLY: return config->log_reply_max_len;
    default: return config->slowlog_max_len;
    }
}

/* ---- the bytes of an entry ---- */

static size_t digits(size_t n)
{
    size_t count = 1;
    while (n >= 10) n /= 10, count++;
    return count;
}

size_t commandlog_request_len(const struct slice *argv, int argc)
{
    size_t len = 3 + digits((size_t)argc);
    for (int i = 0; i < argc; i++) len += argv[i].len + digits(argv[i].len) + 5;
    return len;
}

/* s: as much of it as there is, at most ARG_LEN_MAX bytes of `whole`. */
static void put_arg(struct reply *r, struct slice s, size_t whole)
{
    char text[ARG_LEN_MAX + 48];
    if (whole <= ARG_LEN_MAX) {
        reply_bulk_slice(r, s);
        return;
    }
    memcpy(text, s.ptr, ARG_LEN_MAX);
    int more = snprintf(text + ARG_LEN_MAX, sizeof text - ARG_LEN_MAX, "... (%zu more bytes)",
                        whole - ARG_LEN_MAX);
    reply_bulk_slice(r, slice_of(text, ARG_LEN_MAX + (size_t)more));
}

/* Returns the length of the arguments. */
static size_t put_entry(const struct worker *w, const struct exec *x, struct buf *out)
{
    struct reply r = {.out = out, .proto = 2};
    int shown = x->argc > ARGS_MAX ? ARGS_MAX : x->argc;
    bool hides = redact_may(x->cmd);
    const char *heads = w->meter.heads.ptr;
    reply_array(&r, (size_t)shown);
    for (int i = 0; i < shown; i++) {
        struct slice arg = hides ? redact_arg(x->cmd, x->argv, x->argc, i) : x->argv[i];
        if (x->argc > ARGS_MAX && i == ARGS_MAX - 1) {
            char text[64];
            int len = snprintf(text, sizeof text, "... (%d more arguments)", x->argc - i);
            reply_bulk_slice(&r, slice_of(text, (size_t)len));
        } else if (x->args && arg.len >= PARSE_BIG_LEN && heads) {
            put_arg(&r, slice_of(heads + (size_t)i * ARG_LEN_MAX, ARG_LEN_MAX), arg.len);
        } else {
            put_arg(&r, arg, arg.len);
        }
    }
    size_t arguments_len = out->len;
    reply_bulk_str(&r, x->client ? conn_peer(x->client) : "");
    reply_bulk_str(&r, x->client && x->client->name ? x->client->name : "");
    return arguments_len;
}

void meter_keep_heads_slow(struct worker *w, const struct exec *x)
{
    struct buf *heads = &w->meter.heads;
    if (!buf_reserve(heads, ARGS_MAX * ARG_LEN_MAX)) {
        heads->failed = false;
        return;
    }
    for (int i = 0; i < x->argc && i < ARGS_MAX; i++)
        if (x->argv[i].len >= ARG_LEN_MAX)
            memcpy(heads->ptr + (size_t)i * ARG_LEN_MAX, x->argv[i].ptr, ARG_LEN_MAX);
}

struct log_draft *commandlog_draft(const struct worker *w, const struct exec *x)
{
    struct log_draft *d = mem_try_zalloc(sizeof *d);
    if (!d) return NULL;
    d->cmd = x->cmd;
    if (x->large_request) d->request_len = commandlog_request_len(x->argv, x->argc);
    d->arguments_len = put_entry(w, x, &d->wire);
    return d;
}

const struct command *commandlog_draft_command(const struct log_draft *d) { return d->cmd; }

void commandlog_draft_free(struct log_draft *d)
{
    if (!d) return;
    buf_deinit(&d->wire);
    mem_free(d);
}

/* ---- logging ---- */

static void add(struct worker *w, enum log_kind kind, struct slice wire, size_t arguments_len,
                uint64_t value, const struct meter_stages *stages)
{
    struct commandlog *log = w->commandlog;
    size_t len_max = (size_t)commandlog_len_max(w->config, kind);
    struct log_entry *e = mem_try_alloc(sizeof *e + wire.len);
    if (e) {
        *e = (struct log_entry){.id = counter_next_shared(&w->hub->log_ids[kind]) - 1,
                                .time_s = os_unix_us() / 1000000,
                                .value = value,
                                .queued_us = stages->queued / 1000,
                                .waited_us = stages->waited / 1000,
                                .ran_at = w->id,
                                .arguments_len = arguments_len,
                                .len = wire.len};
        if (wire.len) memcpy(e->wire, wire.ptr, wire.len);
        list_push_back(&log->logs[kind].entries, &e->link);
        log->logs[kind].count++;
    }
    while (log->logs[kind].count > len_max) {
        struct list *oldest = list_pop_front(&log->logs[kind].entries);
        mem_free(CONTAINER_OF(oldest, struct log_entry, link));
        log->logs[kind].count--;
    }
}

static bool reaches(uint64_t value, int64_t limit)
{
    return limit >= 0 && value >= (uint64_t)limit;
}

void commandlog_note(struct worker *w, const struct exec *x, const struct log_draft *draft,
                     uint64_t ns, const struct meter_stages *stages, size_t reply_len)
{
    const struct config *c = w->config;
    if (x->cmd->flags & CMD_SKIP_SLOWLOG) return;
    size_t request_len = 0;
    if (draft)
        request_len = draft->request_len;
    else if (x->large_request)
        request_len = commandlog_request_len(x->argv, x->argc);
    uint64_t values[LOG_KINDS] = {ns / 1000, request_len, reply_len};
    bool wanted[LOG_KINDS] = {reaches(ns / 1000, c->slowlog_slower_than_us),
                              request_len && reaches(request_len, c->log_request_larger_than),
                              reaches(reply_len, c->log_reply_larger_than)};
    if (!(wanted[0] | wanted[1] | wanted[2])) return;
    struct buf own = {0};
    size_t arguments_len = draft ? draft->arguments_len : put_entry(w, x, &own);
    struct slice wire = buf_slice(draft ? &draft->wire : &own);
    bool failed = draft ? draft->wire.failed : own.failed;
    for (unsigned k = 0; k < LOG_KINDS; k++)
        if (wanted[k] && !failed) add(w, (enum log_kind)k, wire, arguments_len, values[k], stages);
    buf_deinit(&own);
}
