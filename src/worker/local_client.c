/* CLIENT LIST, INFO, KILL, PAUSE, UNPAUSE, UNBLOCK: what concerns connections of every worker. They
 * are asked of all workers and answered after the last (fanout.c).
 * Source: https://redis.io/docs/latest/commands/client-list/ and its neighbours.
 * Thread: parts: each worker; the rest: the connection's worker. */
#include <stdlib.h>

#include "acl.h"
#include "block.h"
#include "client_filter.h"
#include "conn.h"
#include "multi.h"
#include "watch.h"
#include "fanout.h"
#include "local.h"
#include "splitring/base/mem.h"
#include "splitring/base/num.h"
#include "splitring/cmd/handlers.h"
#include "splitring/io/net.h"
#include "timer.h"
#include "tracking.h"

/* ---- one line per client ---- */

void client_describe(const struct conn *c, struct buf *out)
{
    char peer[128], local[128], flags[CLIENT_FLAGS_MAX];
    const struct worker *w = c->worker;
    const struct conn_track *t = c->track && c->track->state.on ? c->track : NULL;
    net_peer_name(c->sock.fd, peer, sizeof peer);
    net_local_name(c->sock.fd, local, sizeof local);
    client_flags(c, flags);
    size_t held = parse_held(&c->parser);
    buf_printf(out,
               "id=%llu addr=%s laddr=%s fd=%d name=%s age=%lld idle=%lld flags=%s db=%u "
               "sub=%u psub=%u ssub=%u multi=%d watch=%u qbuf=%zu qbuf-free=%zu argv-mem=%zu "
               "multi-mem=%zu rbs=%zu rbp=%zu obl=%zu oll=0 omem=%zu tot-mem=%zu events=r cmd=%s "
               "user=%.*s redir=%lld resp=%u lib-name=%s lib-ver=%s tot-net-in=%llu "
               "tot-net-out=%llu tot-cmds=%llu worker=%u",
               (unsigned long long)c->id, peer, local, c->sock.fd, c->name ? c->name : "",
               (long long)((w->now - c->created_ms) / 1000),
               (long long)((w->now - c->active_ms) / 1000), flags, c->db, c->sub_count[0],
               c->sub_count[2], c->sub_count[1], c->multi ? (int)c->multi->count : -1,
               watch_count(c->watch), conn_unread(c) + held, c->in.cap - c->in.len, held,
               c->multi ? c->multi->bytes : 0, c->out.cap, c->out.cap, c->out.len - c->out_sent,
               c->out.cap, conn_memory(c), c->last_cmd ? c->last_cmd->name : "NULL",
               (int)acl_user_name(c->user).len, acl_user_name(c->user).ptr,
               t ? (long long)t->state.redirect : -1LL, c->proto,
               c->lib_name ? c->lib_name : "", c->lib_ver ? c->lib_ver : "",
               (unsigned long long)c->bytes_in, (unsigned long long)c->bytes_out,
               (unsigned long long)c->commands, w->id);
}

void cmd_client_info(struct call *c)
{
    struct buf line = {0};
    client_describe(c->conn, &line);
    buf_append_char(&line, '\n');
    reply_verbatim(&c->reply, "txt", buf_slice(&line));
    buf_deinit(&line);
}

/* ---- LIST ---- */

struct line {
    uint64_t id;
    struct slice text;
};

static void list_part(struct worker *w, struct fanout *f)
{
    for (struct list *l = w->conns.next; l != &w->conns; l = l->next) {
        const struct conn *c = CONTAINER_OF(l, struct conn, link);
        if (!client_filter_matches(f->arg, c)) continue;
        client_describe(c, &f->out[w->id]);
        buf_append_char(&f->out[w->id], '\n');
        f->number[w->id]++;
    }
}

static int line_order(const void *a, const void *b)
{
    const struct line *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* Lines of all workers, by id, as one Redis would list them. */
static void list_done(struct worker *w, struct fanout *f, struct conn *c, struct reply *reply)
{
    size_t count = 0, n = 0;
    (void)c;
    if (!reply) return;
    for (unsigned i = 0; i < w->hub->count; i++) count += (size_t)f->number[i];
    struct line *lines = mem_alloc((count + 1) * sizeof *lines);
    for (unsigned i = 0; i < w->hub->count; i++) {
        const char *at = f->out[i].ptr, *end = at + f->out[i].len;
        while (at && at < end && n < count) {
            const char *nl = memchr(at, '\n', (size_t)(end - at));
            lines[n++] =
                (struct line){strtoull(at + 3, NULL, 10), slice_of(at, (size_t)(nl - at) + 1)};
            at = nl + 1;
        }
    }
    qsort(lines, n, sizeof *lines, line_order);
    struct buf all = {0};
    for (size_t i = 0; i < n; i++) buf_append_slice(&all, lines[i].text);
    reply_verbatim(reply, "txt", buf_slice(&all));
    buf_deinit(&all);
    mem_free(lines);
}

void cmd_client_list(struct call *c)
{
    struct client_filter *filter = client_filter_new(c->conn, false);
    if (!client_filter_parse(filter, c, 2, true)) {
        client_filter_free(filter);
        return;
    }
    struct fanout *fan = fanout_new(c->conn->worker, c->conn, list_part, list_done, filter);
    fan->free_arg = client_filter_free;
    fanout_start(fan, false);
}

/* ---- KILL ---- */

/* A client's kill of itself acts after its reply (DESIGN 6a). */
static void kill_part(struct worker *w, struct fanout *f)
{
    const struct client_filter *filter = f->arg;
    LIST_FOREACH_SAFE(l, next, &w->conns) {
        struct conn *c = CONTAINER_OF(l, struct conn, link);
        if (!client_filter_matches(filter, c)) continue;
        f->number[w->id]++;
        if (client_filter_is_self(filter, c))
            c->flags |= CONN_CLOSE_AFTER;
        else
            conn_close(c);
    }
}

static int64_t killed(const struct worker *w, const struct fanout *f)
{
    int64_t count = 0;
    for (unsigned i = 0; i < w->hub->count; i++) count += f->number[i];
    return count;
}

static void kill_done(struct worker *w, struct fanout *f, struct conn *c, struct reply *reply)
{
    (void)c;
    if (reply) reply_int(reply, killed(w, f));
}

/* CLIENT KILL ip:port */
static void kill_one_done(struct worker *w, struct fanout *f, struct conn *c, struct reply *reply)
{
    (void)c;
    if (!reply) return;
    if (killed(w, f))
        reply_ok(reply);
    else
        reply_error(reply, ERR_CLIENT_NO_SUCH);
}

void cmd_client_kill(struct call *c)
{
    bool one = c->argc == 3;
    struct client_filter *filter = client_filter_new(c->conn, !one);
    if (one) {
        client_filter_by_address(filter, c->argv[2]);
    } else if (!client_filter_parse(filter, c, 2, false)) {
        client_filter_free(filter);
        return;
    }
    struct fanout *fan = fanout_new(c->conn->worker, c->conn, kill_part,
                                    one ? kill_one_done : kill_done, filter);
    fan->free_arg = client_filter_free;
    fanout_start(fan, false);
}

/* ---- PAUSE ---- */

struct pause_request {
    instant_ms until;
    bool writes_only;
};

/* As in Redis the later end and the stricter mode win while one is in force. */
static void pause_part(struct worker *w, struct fanout *f)
{
    const struct pause_request *request = f->arg;
    bool in_force = w->pause.until > w->now;
    if (!in_force || request->until > w->pause.until) w->pause.until = request->until;
    w->pause.writes_only = in_force ? w->pause.writes_only && request->writes_only
                                    : request->writes_only;
    counter_set(&w->pub->paused, 1);
    w->quiet = false;
}

static void unpause_part(struct worker *w, struct fanout *f)
{
    (void)f;
    timer_unpause(w);
}

static void ok_done(struct worker *w, struct fanout *f, struct conn *c, struct reply *reply)
{
    (void)w;
    (void)f;
    (void)c;
    if (reply) reply_ok(reply);
}

void cmd_client_pause(struct call *c)
{
    int64_t timeout_ms;
    bool writes_only = false;
    if (c->argc > 4) {
        reply_error(&c->reply, ERR_SYNTAX);
        return;
    }
    if (c->argc == 4) {
        writes_only = call_is(c, 3, "write");
        if (!writes_only && !call_is(c, 3, "all")) {
            reply_error(&c->reply, ERR_CLIENT_PAUSE_MODE);
            return;
        }
    }
    if (!num_parse_i64(c->argv[2], &timeout_ms)) {
        reply_error(&c->reply, ERR_TIMEOUT_NOT_INT);
        return;
    }
    if (timeout_ms < 0) {
        reply_error(&c->reply, ERR_TIMEOUT_NEGATIVE);
        return;
    }
    struct pause_request *request = mem_alloc(sizeof *request);
    instant_ms now = c->conn->worker->now;
    *request = (struct pause_request){.writes_only = writes_only,
                                      .until = timeout_ms > INT64_MAX - now ? INT64_MAX
                                                                            : now + timeout_ms};
    fanout_start(fanout_new(c->conn->worker, c->conn, pause_part, ok_done, request), true);
}

void cmd_client_unpause(struct call *c)
{
    fanout_start(fanout_new(c->conn->worker, c->conn, unpause_part, ok_done, NULL), true);
}

struct unblock_request {
    uint64_t id;
    enum block_leave why;
};

static void unblock_part(struct worker *w, struct fanout *f)
{
    const struct unblock_request *request = f->arg;
    LIST_FOREACH_SAFE(l, next, &w->conns) {
        struct conn *c = CONTAINER_OF(l, struct conn, link);
        if (c->id == request->id) f->number[w->id] = block_leave(c, request->why);
    }
}

static void unblock_done(struct worker *w, struct fanout *f, struct conn *c, struct reply *reply)
{
    int64_t count = 0;
    (void)c;
    for (unsigned i = 0; i < w->hub->count; i++) count += f->number[i];
    if (reply) reply_int(reply, count);
}

void cmd_client_unblock(struct call *c)
{
    int64_t id;
    struct unblock_request *request;
    if (c->argc > 4) {
        reply_error(&c->reply, ERR_SYNTAX);
        return;
    }
    if (c->argc == 4 && !call_is(c, 3, "timeout") && !call_is(c, 3, "error")) {
        reply_error(&c->reply, ERR_CLIENT_UNBLOCK_OPTION);
        return;
    }
    if (!call_int(c, 2, &id)) return;
    request = mem_alloc(sizeof *request);
    request->id = (uint64_t)id;
    request->why = c->argc == 4 && call_is(c, 3, "error") ? BLOCK_ERROR : BLOCK_TIMEOUT;
    fanout_start(fanout_new(c->conn->worker, c->conn, unblock_part, unblock_done, request), false);
}
