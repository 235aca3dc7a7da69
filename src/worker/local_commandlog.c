/* SLOWLOG and COMMANDLOG: the lists of all workers as one, newest first. A part writes its newest
 * entries with their ids; the asker merges them by id. SLOWLOG is COMMANDLOG's type slow.
 *
 * Where the time went before a command ran is not part of an entry's reply, since clients parse its
 * six fields: SLOWLOG STAGES shows the same entries, as maps, with that.
 * Source: https://redis.io/docs/latest/commands/slowlog/, https://valkey.io/commands/commandlog/
 * Thread: parts: each worker; the rest: the connection's worker. */
#include "commandlog.h"
#include "conn.h"
#include "fanout.h"
#include "splitring/base/mem.h"
#include "splitring/base/num.h"
#include "splitring/cmd/handlers.h"

struct request {
    enum log_kind kind;
    size_t count;
    bool stages;
};

/* What a part writes before an entry's reply. */
struct head {
    uint64_t id;
    size_t len;
};

static void ask(struct call *c, struct request request,
                void (*part)(struct worker *, struct fanout *),
                void (*done)(struct worker *, struct fanout *, struct conn *, struct reply *))
{
    struct request *r = mem_alloc(sizeof *r);
    *r = request;
    fanout_start(fanout_new(c->conn->worker, c->conn, part, done, r), false);
}

/* ---- GET ---- */

static void put_plain(struct reply *r, const struct log_entry *e)
{
    reply_array(r, 6);
    reply_int(r, (int64_t)e->id);
    reply_int(r, e->time_s);
    reply_int(r, (int64_t)e->value);
    reply_raw(r, e->wire, e->len); /* arguments, address, name */
}

static void put_stages(struct reply *r, const struct log_entry *e)
{
    reply_map(r, 8);
    reply_bulk_str(r, "id");
    reply_int(r, (int64_t)e->id);
    reply_bulk_str(r, "time");
    reply_int(r, e->time_s);
    reply_bulk_str(r, "queued-us");
    reply_int(r, (int64_t)e->queued_us);
    reply_bulk_str(r, "waited-us");
    reply_int(r, (int64_t)e->waited_us);
    reply_bulk_str(r, "ran-us");
    reply_int(r, (int64_t)e->value);
    reply_bulk_str(r, "worker");
    reply_int(r, e->ran_at);
    reply_bulk_str(r, "arguments");
    reply_raw(r, e->wire, e->arguments_len);
    reply_bulk_str(r, "client");
    reply_array(r, 2);
    reply_raw(r, e->wire + e->arguments_len, e->len - e->arguments_len);
}

static void get_part(struct worker *w, struct fanout *f)
{
    const struct request *request = f->arg;
    const struct list *entries = commandlog_entries(w->commandlog, request->kind);
    struct buf *out = &f->out[w->id];
    size_t left = request->count;
    for (const struct list *l = entries->prev; l != entries && left; l = l->prev, left--) {
        const struct log_entry *e = CONTAINER_OF(l, struct log_entry, link);
        struct head head = {.id = e->id};
        size_t at = out->len;
        buf_append(out, &head, sizeof head);
        struct reply reply = {.out = out, .proto = f->proto};
        if (request->stages)
            put_stages(&reply, e);
        else
            put_plain(&reply, e);
        if (out->failed) return;
        head.len = out->len - at - sizeof head;
        memcpy(out->ptr + at, &head, sizeof head);
        f->number[w->id]++;
    }
}

static size_t shown(const struct worker *w, const struct fanout *f, const struct request *request)
{
    size_t total = 0, len_max = (size_t)commandlog_len_max(w->config, request->kind);
    for (unsigned i = 0; i < w->hub->count; i++) total += (size_t)f->number[i];
    if (total > len_max) total = len_max;
    return total < request->count ? total : request->count;
}

static void get_done(struct worker *w, struct fanout *f, struct conn *c, struct reply *reply)
{
    const struct request *request = f->arg;
    const char *at[SHARDS_MAX];
    (void)c;
    if (!reply) return;
    size_t count = shown(w, f, request);
    for (unsigned i = 0; i < w->hub->count; i++) at[i] = f->out[i].ptr;
    reply_array(reply, count);
    while (count--) {
        struct head newest = {0};
        int from = -1;
        for (unsigned i = 0; i < w->hub->count; i++) {
            struct head head;
            if (!f->number[i]) continue;
            memcpy(&head, at[i], sizeof head);
            if (from >= 0 && head.id < newest.id) continue;
            newest = head;
            from = (int)i;
        }
        if (from < 0) return;
        reply_raw(reply, at[from] + sizeof newest, newest.len);
        at[from] += sizeof newest + newest.len;
        f->number[from]--;
    }
}

/* -1: all. */
static bool parse_count(struct call *c, int i, size_t *count)
{
    int64_t value;
    if (!call_int_range(c, i, -1, INT64_MAX, &value, ERR_SLOWLOG_COUNT)) return false;
    *count = value < 0 ? SIZE_MAX : (size_t)value;
    return true;
}

static void slowlog_get(struct call *c, bool stages)
{
    size_t count = 10;
    if (c->argc > 3) {
        reply_errorf(&c->reply, ERR_SUBCOMMAND_SYNTAX, (int)c->argv[1].len, c->argv[1].ptr,
                     "SLOWLOG");
        return;
    }
    if (c->argc == 3 && !parse_count(c, 2, &count)) return;
    ask(c, (struct request){LOG_SLOW, count, stages}, get_part, get_done);
}

void cmd_slowlog_get(struct call *c) { slowlog_get(c, false); }

void cmd_slowlog_stages(struct call *c) { slowlog_get(c, true); }

static bool parse_kind(struct call *c, int i, enum log_kind *kind)
{
    static const char *const names[] = {"slow", "large-request", "large-reply"};
    for (unsigned k = 0; k < LOG_KINDS; k++) {
        *kind = (enum log_kind)k;
        if (call_is(c, i, names[k])) return true;
    }
    reply_error(&c->reply, ERR_COMMANDLOG_TYPE);
    return false;
}

void cmd_commandlog_get(struct call *c)
{
    struct request request = {0};
    if (!parse_count(c, 2, &request.count) || !parse_kind(c, 3, &request.kind)) return;
    ask(c, request, get_part, get_done);
}

/* ---- LEN, RESET ---- */

static void len_part(struct worker *w, struct fanout *f)
{
    const struct request *request = f->arg;
    f->number[w->id] = (int64_t)commandlog_count(w->commandlog, request->kind);
}

static void len_done(struct worker *w, struct fanout *f, struct conn *c, struct reply *reply)
{
    (void)c;
    if (reply) reply_int(reply, (int64_t)shown(w, f, f->arg));
}

static void reset_part(struct worker *w, struct fanout *f)
{
    const struct request *request = f->arg;
    commandlog_clear(w->commandlog, request->kind);
}

static void reset_done(struct worker *w, struct fanout *f, struct conn *c, struct reply *reply)
{
    (void)w;
    (void)f;
    (void)c;
    if (reply) reply_ok(reply);
}

void cmd_slowlog_len(struct call *c)
{
    ask(c, (struct request){LOG_SLOW, SIZE_MAX, false}, len_part, len_done);
}

void cmd_slowlog_reset(struct call *c)
{
    ask(c, (struct request){LOG_SLOW, SIZE_MAX, false}, reset_part, reset_done);
}

void cmd_commandlog_len(struct call *c)
{
    struct request request = {.count = SIZE_MAX};
    if (parse_kind(c, 2, &request.kind)) ask(c, request, len_part, len_done);
}

void cmd_commandlog_reset(struct call *c)
{
    struct request request = {.count = SIZE_MAX};
    if (parse_kind(c, 2, &request.kind)) ask(c, request, reset_part, reset_done);
}

/* ---- HELP ---- */

void cmd_slowlog_help(struct call *c)
{
    static const char *const lines[] = {
        "GET [<count>]",
        "    Return top <count> entries from the slowlog (default: 10, -1 mean all).",
        "    Entries are made of:",
        "    id, timestamp, time in microseconds, arguments array, client IP and port,",
        "    client name",
        "STAGES [<count>]",
        "    Return the same entries as maps, with the microseconds that each command was queued",
        "    at its connection, waited for another worker or a lock, and ran.",
        "LEN",
        "    Return the length of the slowlog.",
        "RESET",
        "    Reset the slowlog.",
        NULL};
    call_help(c, lines);
}

void cmd_commandlog_help(struct call *c)
{
    static const char *const lines[] = {
        "GET <count> <type>",
        "    Return top <count> entries of the specified <type> from the commandlog (-1 mean all).",
        "    Entries are made of:",
        "    id, timestamp,",
        "        time in microseconds for type of slow,",
        "        or size in bytes for type of large-request,",
        "        or size in bytes for type of large-reply",
        "    arguments array, client IP and port,",
        "    client name",
        "LEN <type>",
        "    Return the length of the specified type of commandlog.",
        "RESET <type>",
        "    Reset the specified type of commandlog.",
        NULL};
    call_help(c, lines);
}
