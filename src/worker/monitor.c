/* MONITOR.
 *
 * A line is a push like any other (push.c): appended by whoever runs the command, while its shards
 * are held, so lines of one key come in the order in which its commands ran, whichever workers ran
 * them, and all monitors see one order. A command over several shards is shown when it holds all
 * its locks. Which workers have monitors is a mask of which each worker has its own copy, set
 * before MONITOR is answered; a worker without one pays a branch per command.
 *
 * Lines are made where the command runs. The client's address is found before its commands leave
 * its worker (conn_peer). Commands marked admin or skip_monitor are not shown, secrets are hidden
 * (redact.c), refused commands never ran.
 *
 * Who reads too slowly is cut by client-output-buffer-limit's class normal, as in Redis; where that
 * class has no limit (the default) the limit of pubsub counts (conn.c), since a forgotten MONITOR
 * must not eat the memory.
 * Source: https://redis.io/docs/latest/commands/monitor/
 * Thread: the worker. */
#include "monitor.h"

#include <stdio.h>

#include "conn.h"
#include "fanout.h"
#include "redact.h"
#include "splitring/base/check.h"
#include "splitring/base/mem.h"
#include "splitring/cmd/handlers.h"
#include "splitring/io/os.h"

/* ---- the line ---- */

/* What stands for byte b between quotes: its length, and the bytes at `to` if it is not NULL. */
static size_t put_byte(char *to, unsigned char b)
{
    static const char plain[] = "\n\r\t\a\b\\\"", letter[] = "nrtab\\\"";
    static const char hex[] = "0123456789abcdef";
    const char *found = b ? strchr(plain, b) : NULL;
    if (found) {
        if (to) to[0] = '\\', to[1] = letter[found - plain];
        return 2;
    }
    if (b >= ' ' && b <= '~') {
        if (to) to[0] = (char)b;
        return 1;
    }
    if (to) to[0] = '\\', to[1] = 'x', to[2] = hex[b >> 4], to[3] = hex[b & 15];
    return 4;
}

/* ` "argument"`: likewise. */
static size_t put_arg(char *to, struct slice arg)
{
    size_t len = 0;
    if (to) to[0] = ' ', to[1] = '"';
    len += 2;
    for (size_t i = 0; i < arg.len; i++)
        len += put_byte(to ? to + len : NULL, (unsigned char)arg.ptr[i]);
    if (to) to[len] = '"';
    return len + 1;
}

static size_t put_args(char *to, const struct command *cmd, const struct slice *argv, int argc)
{
    size_t len = 0;
    bool hides = redact_may(cmd);
    for (int i = 0; i < argc; i++) {
        struct slice arg = hides ? redact_arg(cmd, argv, argc, i) : argv[i];
        len += put_arg(to ? to + len : NULL, arg);
    }
    return len;
}

/* A shard that is held, for the ticket; *taken: it was not, and is to be given back. */
static shard_id held_shard(struct worker *w, bool *taken)
{
    *taken = !w->held;
    if (*taken) worker_hold(w, w->id);
    return (shard_id)__builtin_ctz(w->held);
}

static void show(struct worker *w, const char *who, db_id db, const struct command *cmd,
                 const struct slice *argv, int argc)
{
    char head[256];
    bool taken;
    instant_us now = os_unix_us();
    int head_len = snprintf(head, sizeof head, "+%lld.%06lld [%u %s]", (long long)now / 1000000,
                            (long long)now % 1000000, db, who);
    if (head_len < 0 || (size_t)head_len >= sizeof head) return;
    size_t len = (size_t)head_len + put_args(NULL, cmd, argv, argc);
    shard_id shard = held_shard(w, &taken);
    struct push_record *r = push_append(w, PUSH_MONITOR, shard, w->monitor_mask, len + 2);
    if (r) {
        memcpy(r->wire, head, (size_t)head_len);
        put_args(r->wire + head_len, cmd, argv, argc);
        memcpy(r->wire + len, "\r\n", 2);
    }
    if (taken) worker_unhold(w, w->id);
}

static bool is_shown(const struct command *cmd)
{
    return !(cmd->flags & (CMD_SKIP_MONITOR | CMD_ADMIN));
}

static void show_client(struct worker *w, struct conn *client, db_id db,
                        const struct command *cmd, const struct slice *argv, int argc)
{
    char path[200];
    const char *who = conn_peer(client);
    if (who[0] == '/') { /* a socket's path, and ":0" */
        snprintf(path, sizeof path, "unix:%.*s", (int)strlen(who) - 2, who);
        who = path;
    }
    show(w, who, db, cmd, argv, argc);
}

void monitor_show(struct worker *w, const struct exec *x)
{
    if (!is_shown(x->cmd) || !x->client) return;
    db_id db = w->meter.local ? x->client->db : x->db; /* SELECT: where it has gone */
    show_client(w, x->client, db, x->cmd, x->argv, x->argc);
}

void monitor_show_call(struct worker *w, struct conn *client, const struct call *c)
{
    if (client) show_client(w, client, c->ks.db, c->cmd, c->argv, c->argc);
}

void monitor_show_lua(struct worker *w, db_id db, const struct command *cmd,
                      const struct slice *argv, int argc)
{
    if (is_shown(cmd)) show(w, "lua", db, cmd, argv, argc);
}

/* ---- who sees it ---- */

/* arg: NULL: the home has none any more. */
static void mask_part(struct worker *w, struct fanout *f)
{
    uint32_t bit = 1u << f->home->id;
    if (f->arg)
        w->monitor_mask |= bit;
    else
        w->monitor_mask &= ~bit;
}

static void nothing_done(struct worker *w, struct fanout *f, struct conn *c, struct reply *reply)
{
    (void)w;
    (void)f;
    (void)c;
    (void)reply;
}

static void leave_if_last(struct worker *w)
{
    if (w->monitors_joining || !list_empty(&w->monitors)) return;
    fanout_start(fanout_new(w, NULL, mask_part, nothing_done, NULL), true);
}

static void join_done(struct worker *w, struct fanout *f, struct conn *c, struct reply *reply)
{
    (void)f;
    w->monitors_joining--;
    if (!c) {
        leave_if_last(w);
        return;
    }
    c->flags |= CONN_MONITOR;
    list_push_back(&w->monitors, &c->monitor_link);
    reply_ok(reply);
}

void monitor_leave(struct conn *c)
{
    if (!(c->flags & CONN_MONITOR)) return;
    c->flags &= ~(uint32_t)CONN_MONITOR;
    list_remove(&c->monitor_link);
    leave_if_last(c->worker);
}

void cmd_monitor(struct call *c)
{
    struct conn *conn = c->conn;
    if (conn->flags & CONN_MULTI || conn->multi) {
        reply_error(&c->reply, ERR_MONITOR_DENIED);
        return;
    }
    if (conn->flags & CONN_MONITOR) return; /* without an answer, as in Redis */
    void *on = mem_alloc(1);
    conn->worker->monitors_joining++;
    fanout_start(fanout_new(conn->worker, conn, mask_part, join_done, on), true);
}

void monitor_deliver(struct worker *w, const struct push_record *r)
{
    LIST_FOREACH_SAFE(link, next, &w->monitors) {
        struct conn *c = CONTAINER_OF(link, struct conn, monitor_link);
        if (!c->out.ptr) worker_take_buf(w, &c->out);
        buf_append(&c->out, r->wire, r->wire_len);
        conn_dirty(c);
        conn_check_output(c);
    }
}
