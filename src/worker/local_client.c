/* CLIENT LIST, INFO, KILL, PAUSE, UNPAUSE, UNBLOCK: what concerns connections of every worker. They
 * are asked of all workers and answered after the last (fanout.c).
 * Source: https://redis.io/docs/latest/commands/client-list/ and its neighbours.
 * Thread: parts: each worker; the rest: the connection's worker. */
#include <stdlib.h>

#include "acl.h"
#include "block.h"
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
    char peer[128], local[128], flags[16] = "N";
    const struct worker *w = c->worker;
    net_peer_name(c->sock.fd, peer, sizeof peer);
    net_local_name(c->sock.fd, local, sizeof local);
    size_t n = 0;
    if (c->flags & CONN_MONITOR) flags[n++] = 'O';
    if (conn_subscribed(c)) flags[n++] = 'P';
    if (c->flags & CONN_MULTI) flags[n++] = 'x';
    if (c->flags & (CONN_BLOCKED | CONN_PAUSED)) flags[n++] = 'b';
    const struct conn_track *t = c->track && c->track->state.on ? c->track : NULL;
    if (t) flags[n++] = 't';
    if (t && t->broken) flags[n++] = 'R';
    if (t && t->state.broadcast) flags[n++] = 'B';
    if (c->flags & CONN_CLOSE_AFTER) flags[n++] = 'c';
    if (c->flags & CONN_UNIX) flags[n++] = 'U';
    if (c->flags & CONN_NO_EVICT) flags[n++] = 'e';
    if (c->flags & CONN_NO_TOUCH) flags[n++] = 'T';
    flags[n ? n : 1] = '\0';
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

/* ---- which clients ---- */

struct filter {
    uint64_t *ids;
    size_t id_count;
    uint64_t self;
    bool by_id, by_type, by_user, skip_me, legacy;
    bool type_normal, type_pubsub;
    struct acl_user *user; /* a reference */
    char *addr, *laddr;
    int64_t max_age_s; /* < 0: any */
};

static void filter_free(void *arg)
{
    struct filter *f = arg;
    mem_free(f->ids);
    mem_free(f->addr);
    mem_free(f->laddr);
    acl_user_unref(f->user);
    mem_free(f);
}

static bool matches(const struct filter *f, const struct conn *c)
{
    char name[128];
    if (c->flags & CONN_CLOSING) return false;
    if (f->by_id) {
        bool found = false;
        for (size_t i = 0; i < f->id_count; i++) found |= f->ids[i] == c->id;
        if (!found) return false;
    }
    if (f->by_type && !(conn_subscribed(c) ? f->type_pubsub : f->type_normal)) return false;
    if (f->by_user && !acl_user_is(f->user, c->user)) return false;
    if (f->skip_me && c->id == f->self) return false;
    if (f->max_age_s >= 0 && (c->worker->now - c->created_ms) / 1000 < f->max_age_s) return false;
    if (f->addr) {
        net_peer_name(c->sock.fd, name, sizeof name);
        if (strcmp(name, f->addr) != 0) return false;
    }
    if (f->laddr) {
        net_local_name(c->sock.fd, name, sizeof name);
        if (strcmp(name, f->laddr) != 0) return false;
    }
    return true;
}

static char *copy_text(struct slice s)
{
    char *text = mem_alloc(s.len + 1);
    memcpy(text, s.ptr, s.len);
    text[s.len] = '\0';
    return text;
}

static bool parse_type(struct call *c, int i, struct filter *f)
{
    f->by_type = true;
    f->type_normal = call_is(c, i, "normal");
    f->type_pubsub = call_is(c, i, "pubsub");
    if (f->type_normal || call_is(c, i, "master") || call_is(c, i, "replica") ||
        call_is(c, i, "slave") || call_is(c, i, "pubsub"))
        return true;
    reply_errorf(&c->reply, ERR_CLIENT_TYPE, (int)c->argv[i].len, c->argv[i].ptr);
    return false;
}

static struct filter *filter_new(struct call *c)
{
    struct filter *f = mem_zalloc(sizeof *f);
    f->self = c->conn->id;
    f->max_age_s = -1;
    return f;
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
        if (!matches(f->arg, c)) continue;
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
    struct filter *f = filter_new(c);
    bool ok = true;
    if (c->argc == 4 && call_is(c, 2, "type")) {
        ok = parse_type(c, 3, f);
    } else if (c->argc > 3 && call_is(c, 2, "id")) {
        f->by_id = true;
        f->ids = mem_alloc((size_t)c->argc * sizeof *f->ids);
        for (int i = 3; i < c->argc && ok; i++) {
            int64_t id;
            ok = num_parse_i64(c->argv[i], &id) && id > 0;
            if (ok)
                f->ids[f->id_count++] = (uint64_t)id;
            else
                reply_error(&c->reply, ERR_CLIENT_ID);
        }
    } else if (c->argc != 2) {
        ok = false;
        reply_error(&c->reply, ERR_SYNTAX);
    }
    if (!ok) {
        filter_free(f);
        return;
    }
    struct fanout *fan = fanout_new(c->conn->worker, c->conn, list_part, list_done, f);
    fan->free_arg = filter_free;
    fanout_start(fan, false);
}

/* ---- KILL ---- */

/* A client's kill of itself acts after its reply (DESIGN 6a). */
static void kill_part(struct worker *w, struct fanout *f)
{
    const struct filter *filter = f->arg;
    LIST_FOREACH_SAFE(l, next, &w->conns) {
        struct conn *c = CONTAINER_OF(l, struct conn, link);
        if (!matches(filter, c)) continue;
        f->number[w->id]++;
        if (c->id == filter->self)
            c->flags |= CONN_CLOSE_AFTER;
        else
            conn_close(c);
    }
}

static void kill_done(struct worker *w, struct fanout *f, struct conn *c, struct reply *reply)
{
    int64_t killed = 0;
    const struct filter *filter = f->arg;
    (void)c;
    for (unsigned i = 0; i < w->hub->count; i++) killed += f->number[i];
    if (!reply) return;
    if (!filter->legacy)
        reply_int(reply, killed);
    else if (killed)
        reply_ok(reply);
    else
        reply_error(reply, ERR_CLIENT_NO_SUCH);
}

static bool kill_id(struct call *c, int i, struct filter *f)
{
    int64_t id;
    if (!num_parse_i64(c->argv[i], &id) || id <= 0) {
        reply_error(&c->reply, ERR_CLIENT_ID_POSITIVE);
        return false;
    }
    if (!f->ids) f->ids = mem_alloc((size_t)c->argc * sizeof *f->ids);
    f->by_id = true;
    f->ids[f->id_count++] = (uint64_t)id;
    return true;
}

static bool kill_skipme(struct call *c, int i, struct filter *f)
{
    if (!call_is(c, i, "yes") && !call_is(c, i, "no")) {
        reply_error(&c->reply, ERR_SYNTAX);
        return false;
    }
    f->skip_me = call_is(c, i, "yes");
    return true;
}

static bool kill_option(struct call *c, int i, struct filter *f)
{
    struct slice value = c->argv[i + 1];
    if (call_is(c, i, "id")) return kill_id(c, i + 1, f);
    if (call_is(c, i, "type")) return parse_type(c, i + 1, f);
    if (call_is(c, i, "skipme")) return kill_skipme(c, i + 1, f);
    if (call_is(c, i, "addr") && !f->addr) {
        f->addr = copy_text(value);
    } else if (call_is(c, i, "laddr") && !f->laddr) {
        f->laddr = copy_text(value);
    } else if (call_is(c, i, "maxage")) {
        if (!num_parse_i64(value, &f->max_age_s)) {
            reply_error(&c->reply, ERR_CLIENT_MAXAGE);
            return false;
        }
        if (f->max_age_s <= 0) {
            reply_error(&c->reply, ERR_CLIENT_MAXAGE_POSITIVE);
            return false;
        }
    } else if (call_is(c, i, "user")) {
        struct acl_user *user = acl_set_find(c->conn->worker->acl, value);
        if (!user) {
            reply_errorf(&c->reply, ERR_CLIENT_NO_USER, (int)value.len, value.ptr);
            return false;
        }
        acl_user_unref(f->user);
        f->user = acl_user_ref(user);
        f->by_user = true;
    } else {
        reply_error(&c->reply, ERR_SYNTAX);
        return false;
    }
    return true;
}

void cmd_client_kill(struct call *c)
{
    struct filter *f = filter_new(c);
    bool ok = true;
    if (c->argc == 3) {
        f->addr = copy_text(c->argv[2]);
        f->legacy = true;
    } else {
        f->skip_me = true;
        ok = c->argc % 2 == 0;
        if (!ok) reply_error(&c->reply, ERR_SYNTAX);
        for (int i = 2; i + 1 < c->argc && ok; i += 2) ok = kill_option(c, i, f);
    }
    if (!ok) {
        filter_free(f);
        return;
    }
    struct fanout *fan = fanout_new(c->conn->worker, c->conn, kill_part, kill_done, f);
    fan->free_arg = filter_free;
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
