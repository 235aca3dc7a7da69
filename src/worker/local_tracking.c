/* CLIENT TRACKING, CACHING, GETREDIR, TRACKINGINFO.
 *
 * REDIRECT names a client of any worker: all are asked for it (fanout.c), and the one that has it
 * keeps it from then on. Only after that is what comes behind REDIRECT judged, in Redis' order of
 * errors; then the new state goes to all workers (tracking_home.c), and the reply is theirs.
 * Source: https://redis.io/docs/latest/commands/client-tracking/ and its neighbours.
 * Thread: the connection's worker; find_part: each worker. */
#include "conn.h"
#include "fanout.h"
#include "splitring/base/mem.h"
#include "splitring/cmd/handlers.h"
#include "tracking.h"

struct request {
    struct tracking_state want; /* prefixes: those given */
    struct slice *given;        /* the same in their order; they lie in bytes */
    struct buf bytes;
    bool has_error;             /* found behind REDIRECT */
    enum error_id error;
};

static void request_free(void *arg)
{
    struct request *r = arg;
    tracking_state_free(&r->want);
    mem_free(r->given);
    buf_deinit(&r->bytes);
    mem_free(r);
}

/* ---- judging ---- */

static bool overlap(struct slice a, struct slice b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    return len == 0 || memcmp(a.ptr, b.ptr, len) == 0;
}

/* Two prefixes of one client must not both match a key. */
static bool prefixes_fit(const struct tracking_state *now, const struct request *r, size_t count,
                         struct reply *reply)
{
    for (size_t i = 0; i < count; i++) {
        struct slice one = r->given[i];
        for (size_t j = 0; j < now->prefix_count; j++) {
            struct slice other = now->prefixes[j];
            if (!overlap(one, other)) continue;
            reply_errorf(reply, ERR_TRACKING_PREFIX_EXISTS, (int)one.len, one.ptr,
                         (int)other.len, other.ptr);
            return false;
        }
        for (size_t j = i + 1; j < count; j++) {
            struct slice other = r->given[j];
            if (!overlap(one, other)) continue;
            reply_errorf(reply, ERR_TRACKING_PREFIX_GIVEN, (int)one.len, one.ptr,
                         (int)other.len, other.ptr);
            return false;
        }
    }
    return true;
}

static bool options_fit(const struct tracking_state *now, const struct request *r,
                        struct reply *reply)
{
    const struct tracking_state *want = &r->want;
    size_t given = want->prefix_count;
    bool fit = false;
    if (!want->broadcast && given)
        reply_error(reply, ERR_TRACKING_PREFIX_BCAST);
    else if (now->on && now->broadcast != want->broadcast)
        reply_error(reply, ERR_TRACKING_SWITCH_BCAST);
    else if (want->broadcast && (want->optin || want->optout))
        reply_error(reply, ERR_TRACKING_OPT_BCAST);
    else if (want->optin && want->optout)
        reply_error(reply, ERR_TRACKING_OPT_BOTH);
    else if ((want->optin && now->optout) || (want->optout && now->optin))
        reply_error(reply, ERR_TRACKING_SWITCH_OPT);
    else
        fit = !want->broadcast || prefixes_fit(now, r, given, reply);
    return fit;
}

/* The request is complete: the connection's state changes, or it gets an error. */
static void settle(struct conn *c, struct request *r, struct reply *reply)
{
    struct tracking_state after = {0};
    struct slice none = SLICE("");
    struct tracking_state all = {.prefixes = &none, .prefix_count = 1};
    struct conn_track *t = tracking_take(c);
    bool ok = t && !r->bytes.failed;
    if (ok && r->want.on) {
        if (!options_fit(&t->state, r, reply)) return;
        struct tracking_state given = {.prefixes = r->given,
                                       .prefix_count = r->want.prefix_count};
        const struct tracking_state *more = given.prefix_count ? &given : &all;
        struct tracking_state now = r->want;
        now.prefixes = t->state.prefixes;
        now.prefix_count = t->state.prefix_count;
        now.proto = c->proto;
        ok = tracking_state_copy(&after, &now, now.broadcast ? more : NULL);
    }
    bool caching = ok && t->caching;
    ok = ok && tracking_change(c, &after, true);
    if (ok && r->want.on) t->caching = caching;
    if (!ok) {
        tracking_state_free(&after);
        reply_error(reply, ERR_OOM);
    }
}

/* ---- REDIRECT ---- */

static void find_part(struct worker *w, struct fanout *f)
{
    const struct request *r = f->arg;
    for (struct list *l = w->conns.next; l != &w->conns; l = l->next) {
        struct conn *c = CONTAINER_OF(l, struct conn, link);
        if (c->id != r->want.redirect || c->flags & (CONN_CLOSING | CONN_MIGRATING)) continue;
        f->number[w->id] = tracking_take(c) != NULL;
    }
}

static void find_done(struct worker *w, struct fanout *f, struct conn *c, struct reply *reply)
{
    struct request *r = f->arg;
    bool found = false;
    if (!reply) return;
    for (worker_id i = 0; i < w->hub->count; i++) {
        if (!f->number[i]) continue;
        r->want.at = i;
        found = true;
    }
    if (!found)
        reply_error(reply, ERR_TRACKING_REDIRECT_GONE);
    else if (r->has_error)
        reply_error(reply, r->error);
    else
        settle(c, r, reply);
}

/* ---- the command ---- */

static void add_prefix(struct request *r, struct slice text)
{
    r->given[r->want.prefix_count++] = slice_of(r->bytes.ptr + r->bytes.len, text.len);
    buf_append_slice(&r->bytes, text);
}

static bool fail(struct request *r, enum error_id error)
{
    r->has_error = true;
    r->error = error;
    return false;
}

static bool parse_redirect(struct call *c, int i, struct request *r)
{
    int64_t id;
    if (r->want.redirect) return fail(r, ERR_TRACKING_REDIRECT_ONCE);
    if (!call_int(c, i, &id)) {
        c->reply.errors = 1; /* it has been written */
        return false;
    }
    if (id <= 0) return fail(r, ERR_TRACKING_REDIRECT_GONE);
    r->want.redirect = (uint64_t)id;
    return true;
}

static bool parse_option(struct call *c, int *i, struct request *r)
{
    bool more = *i + 1 < c->argc;
    struct tracking_state *want = &r->want;
    if (call_is(c, *i, "redirect") && more) return parse_redirect(c, ++*i, r);
    if (call_is(c, *i, "prefix") && more)
        add_prefix(r, c->argv[++*i]);
    else if (call_is(c, *i, "bcast"))
        want->broadcast = true;
    else if (call_is(c, *i, "optin"))
        want->optin = true;
    else if (call_is(c, *i, "optout"))
        want->optout = true;
    else if (call_is(c, *i, "noloop"))
        want->noloop = true;
    else
        return fail(r, ERR_SYNTAX);
    return true;
}

static struct request *request_new(struct call *c)
{
    struct request *r = mem_zalloc(sizeof *r);
    size_t len = 1;
    for (int i = 3; i < c->argc; i++) len += c->argv[i].len;
    r->given = mem_alloc((size_t)c->argc * sizeof *r->given);
    buf_reserve(&r->bytes, len);
    r->want.at = c->conn->worker->id;
    return r;
}

void cmd_client_tracking(struct call *c)
{
    struct request *r = request_new(c);
    bool ok = !r->bytes.failed || fail(r, ERR_OOM);
    for (int i = 3; i < c->argc && ok; i++) ok = parse_option(c, &i, r);
    r->want.on = call_is(c, 2, "on");
    if (ok && !r->want.on && !call_is(c, 2, "off")) fail(r, ERR_SYNTAX);
    if (c->reply.errors) {
        request_free(r);
    } else if (r->want.redirect) {
        struct fanout *f = fanout_new(c->conn->worker, c->conn, find_part, find_done, r);
        f->free_arg = request_free;
        fanout_start(f, false);
    } else {
        if (r->has_error)
            reply_error(&c->reply, r->error);
        else
            settle(c->conn, r, &c->reply);
        request_free(r);
    }
}

void cmd_client_caching(struct call *c)
{
    struct conn_track *t = c->conn->track;
    if (!t || !t->state.on) {
        reply_error(&c->reply, ERR_CACHING_UNTRACKED);
        return;
    }
    bool yes = call_is(c, 2, "yes");
    if (!yes && !call_is(c, 2, "no")) {
        reply_error(&c->reply, ERR_SYNTAX);
    } else if (yes ? !t->state.optin : !t->state.optout) {
        reply_error(&c->reply, yes ? ERR_CACHING_YES : ERR_CACHING_NO);
    } else {
        t->caching = true;
        reply_ok(&c->reply);
    }
}

static int64_t redirection(const struct conn *c)
{
    return c->track && c->track->state.on ? (int64_t)c->track->state.redirect : -1;
}

void cmd_client_getredir(struct call *c)
{
    reply_int(&c->reply, redirection(c->conn));
}

void cmd_client_trackinginfo(struct call *c)
{
    static const struct conn_track nothing;
    const struct conn_track *t = c->conn->track ? c->conn->track : &nothing;
    const struct tracking_state *s = &t->state;
    const char *flags[8];
    size_t n = 0;
    flags[n++] = s->on ? "on" : "off";
    if (s->broadcast) flags[n++] = "bcast";
    if (s->optin) flags[n++] = "optin";
    if (s->optin && t->caching) flags[n++] = "caching-yes";
    if (s->optout) flags[n++] = "optout";
    if (s->optout && t->caching) flags[n++] = "caching-no";
    if (s->noloop) flags[n++] = "noloop";
    if (t->broken) flags[n++] = "broken_redirect";
    reply_map(&c->reply, 3);
    reply_bulk_str(&c->reply, "flags");
    reply_set(&c->reply, n);
    for (size_t i = 0; i < n; i++) reply_bulk_str(&c->reply, flags[i]);
    reply_bulk_str(&c->reply, "redirect");
    reply_int(&c->reply, redirection(c->conn));
    reply_bulk_str(&c->reply, "prefixes");
    reply_array(&c->reply, s->prefix_count);
    for (size_t i = 0; i < s->prefix_count; i++) reply_bulk_slice(&c->reply, s->prefixes[i]);
}
