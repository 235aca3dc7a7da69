/* Client-side caching, the clients' side: what each has set, and what it is sent.
 *
 *   CLIENT TRACKING ──act──▶ every worker: its shard's register; BCAST: who listens here
 *   record ──by ticket──▶ tracking_deliver ──▶ connection, or held behind the reply being made
 *                              └─ BCAST: keys by prefix ──end of pass──▶ one message per prefix
 *
 * An act changes one client's state everywhere; the client waits for the last worker. Mailboxes are
 * FIFO, so two acts of one client take effect in their order, also where nobody waits (RESET, the
 * end of a connection). What was told before a client ceased to track is dropped here, unless it
 * goes to another client: that one may hear a last invalidation.
 *
 * A redirection names a client, and its worker is fixed when it is set: connections that track, or
 * that others redirect to, do not change their worker. When that client has gone, the one who
 * redirects is told so, at every invalidation, as in Redis.
 *
 * BCAST: all that changes in one pass of this worker is one message per prefix, keys in ascending
 * order, each once, as Redis does at the end of its event loop; the last who changed a key is the
 * one who does not hear of it with NOLOOP.
 * Thread: owner. */
#include <stdio.h>
#include <stdlib.h>

#include "block.h"
#include "conn.h"
#include "fanout.h"
#include "push.h"
#include "splitring/base/check.h"
#include "splitring/base/hash.h"
#include "splitring/base/mem.h"
#include "splitring/data/table.h"
#include "tracking.h"

struct listener {
    uint64_t source, target;
    worker_id home;
    bool noloop;
    uint8_t proto;
};

struct change {
    struct slice key; /* while it is collected, ptr is an offset in `bytes` */
    size_t at;
    uint64_t writer;
    uint32_t order;
};

struct heard_prefix {
    struct slice name;
    struct listener *listeners; /* ascending by source */
    size_t count, cap;
    struct change *changes; /* of this pass */
    size_t change_count, change_cap;
    struct buf bytes; /* their keys */
    char text[];
};

struct tracking_home {
    struct table *conns; /* struct conn_track */
    struct heard_prefix **prefixes; /* ascending */
    size_t prefix_count, prefix_cap;
    struct list begun;   /* acts to start */
    struct list holding; /* connections with pushes that wait */
    unsigned acts;
    uint64_t lost_seen;  /* hub.tracking_lost */
    bool broadcast_due;
    struct buf own, message;
};

static struct slice conn_key(const void *entry)
{
    const struct conn_track *t = entry;
    return slice_of((const char *)&t->id, sizeof t->id);
}

static const struct table_ops conn_ops = {.key = conn_key};

struct tracking_home *tracking_home_new(struct worker *w)
{
    struct tracking_home *h = mem_zalloc(sizeof *h);
    h->conns = table_new(&conn_ops, w->hub->seed);
    list_init(&h->begun);
    list_init(&h->holding);
    return h;
}

static void prefix_free(struct heard_prefix *p)
{
    mem_free(p->listeners);
    mem_free(p->changes);
    buf_deinit(&p->bytes);
    mem_free(p);
}

void tracking_home_free(struct tracking_home *h)
{
    for (size_t i = 0; i < h->prefix_count; i++) prefix_free(h->prefixes[i]);
    mem_free(h->prefixes);
    table_free(h->conns);
    buf_deinit(&h->own);
    buf_deinit(&h->message);
    mem_free(h);
}

struct buf *tracking_own(struct worker *w) { return &w->tracking->own; }

bool tracking_idle(const struct worker *w)
{
    return w->tracking->acts == 0 && !w->tracking->broadcast_due;
}

/* ---- states ---- */

static int slice_order(const void *a, const void *b)
{
    return slice_compare(*(const struct slice *)a, *(const struct slice *)b);
}

bool tracking_state_copy(struct tracking_state *to, const struct tracking_state *from,
                         const struct tracking_state *more)
{
    size_t count = from->prefix_count + (more ? more->prefix_count : 0), len = 0, n = 0;
    *to = *from;
    to->prefixes = NULL;
    to->prefix_count = 0;
    if (count == 0) return true;
    for (size_t i = 0; i < count; i++)
        len += i < from->prefix_count ? from->prefixes[i].len
                                      : more->prefixes[i - from->prefix_count].len;
    struct slice *block = mem_try_alloc(count * sizeof *block + len);
    if (!block) return false;
    for (size_t i = 0; i < count; i++)
        block[i] = i < from->prefix_count ? from->prefixes[i]
                                          : more->prefixes[i - from->prefix_count];
    qsort(block, count, sizeof *block, slice_order);
    char *at = (char *)&block[count];
    for (size_t i = 0; i < count; i++) {
        if (n && slice_equal(block[n - 1], block[i])) continue;
        struct slice text = block[i];
        if (text.len) memcpy(at, text.ptr, text.len);
        block[n++] = slice_of(at, text.len);
        at += text.len;
    }
    to->prefixes = block;
    to->prefix_count = n;
    return true;
}

size_t tracking_conn_memory(const struct conn_track *t)
{
    size_t bytes = sizeof *t + t->held.cap + t->state.prefix_count * sizeof(struct slice);
    for (size_t i = 0; i < t->state.prefix_count; i++) bytes += t->state.prefixes[i].len;
    return bytes;
}

void tracking_state_free(struct tracking_state *state)
{
    mem_free(state->prefixes);
    *state = (struct tracking_state){0};
}

/* ---- connections ---- */

static uint64_t hash_of(const struct worker *w, uint64_t id)
{
    return hash_key(slice_of((const char *)&id, sizeof id), w->hub->seed);
}

static struct conn_track *find(const struct worker *w, uint64_t id)
{
    struct slice key = slice_of((const char *)&id, sizeof id);
    return table_find(w->tracking->conns, hash_of(w, id), key);
}

struct conn_track *tracking_take(struct conn *c)
{
    struct worker *w = c->worker;
    if (c->track) return c->track;
    struct conn_track *t = mem_try_zalloc(sizeof *t);
    if (!t) return NULL;
    t->id = c->id;
    t->conn = c;
    list_init(&t->link);
    if (table_insert(w->tracking->conns, hash_of(w, t->id), t, 0) < 0) {
        mem_free(t);
        return NULL;
    }
    return c->track = t;
}

void tracking_conn_closed(struct conn *c)
{
    struct worker *w = c->worker;
    struct conn_track *t = c->track;
    if (!t) return;
    uint64_t hash = hash_of(w, t->id);
    uint64_t *slot = table_find_slot(w->tracking->conns, hash, conn_key(t));
    if (slot) table_slot_remove(w->tracking->conns, hash, slot);
    list_remove(&t->link);
    tracking_off(c);
}

void tracking_conn_free(struct conn *c)
{
    if (!c->track) return;
    list_remove(&c->track->link);
    tracking_state_free(&c->track->state);
    buf_deinit(&c->track->held);
    mem_free(c->track);
}

/* ---- acts ---- */

static void act_free(void *arg)
{
    struct tracking_act *act = arg;
    tracking_state_free(&act->before);
    tracking_state_free(&act->after);
    mem_free(act);
}

static void act_part(struct worker *w, struct fanout *f)
{
    worker_hold(w, w->id);
    bool ok = tracking_register(w, f->arg);
    ok &= tracking_listen(w, f->arg);
    f->number[w->id] = !ok;
}

static void act_done(struct worker *w, struct fanout *f, struct conn *c, struct reply *reply)
{
    bool failed = false;
    w->tracking->acts--;
    for (unsigned i = 0; i < w->hub->count; i++) failed |= f->number[i] != 0;
    if (failed && c) conn_close(c); /* out of memory for what it asked for */
    else if (reply) reply_ok(reply);
}

bool tracking_change(struct conn *c, struct tracking_state *after, bool waits)
{
    struct worker *w = c->worker;
    struct conn_track *t = c->track;
    struct tracking_state kept;
    if (!tracking_state_copy(&kept, after, NULL)) return false;
    struct tracking_act *act = mem_zalloc(sizeof *act);
    *act = (struct tracking_act){.conn = waits ? c : NULL, .id = c->id, .home = w->id,
                                 .before = t->state, .after = *after};
    counter_add(&w->pub->tracking_clients, (uint64_t)after->on - (uint64_t)t->state.on);
    *after = (struct tracking_state){0};
    t->state = kept;
    t->broken = false;
    if (!kept.on) t->caching = false;
    w->tracking->acts++;
    list_push_back(&w->tracking->begun, &act->link);
    if (waits) {
        c->flags |= CONN_WAITING;
        c->in_flight = act;
    }
    return true;
}

void tracking_off(struct conn *c)
{
    struct tracking_state none = {0};
    bool on = c->track && c->track->state.on;
    check(!on || tracking_change(c, &none, false)); /* nothing to be copied */
}

void tracking_start(struct worker *w)
{
    struct list *link;
    while ((link = list_pop_front(&w->tracking->begun)) != NULL) {
        struct tracking_act *act = CONTAINER_OF(link, struct tracking_act, link);
        struct fanout *f = fanout_new(w, act->conn, act_part, act_done, act);
        f->free_arg = act_free;
        fanout_start(f, false);
        worker_unhold_all(w);
    }
}

/* ---- who listens to a prefix ---- */

static size_t prefix_at(const struct tracking_home *h, struct slice name, bool *found)
{
    size_t low = 0, high = h->prefix_count;
    *found = false;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = slice_compare(h->prefixes[middle]->name, name);
        if (order == 0) *found = true;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool more_room(void **items, size_t *cap, size_t count, size_t size)
{
    if (count < *cap) return true;
    size_t more = *cap ? *cap * 2 : 4;
    void *grown = mem_try_realloc(*items, more * size);
    if (!grown) return false;
    *items = grown;
    *cap = more;
    return true;
}

static struct heard_prefix *prefix_take(struct tracking_home *h, struct slice name)
{
    bool found;
    size_t at = prefix_at(h, name, &found);
    if (found) return h->prefixes[at];
    struct heard_prefix *p = mem_try_zalloc(sizeof *p + name.len);
    void *items = h->prefixes;
    bool room = p && more_room(&items, &h->prefix_cap, h->prefix_count, sizeof *h->prefixes);
    h->prefixes = items;
    if (!room) {
        mem_free(p);
        return NULL;
    }
    if (name.len) memcpy(p->text, name.ptr, name.len);
    p->name = slice_of(p->text, name.len);
    memmove(&h->prefixes[at + 1], &h->prefixes[at], (h->prefix_count++ - at) * sizeof p);
    h->prefixes[at] = p;
    return p;
}

static size_t listener_at(const struct heard_prefix *p, uint64_t source)
{
    size_t low = 0, high = p->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (p->listeners[middle].source < source)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void drop_if_unheard(struct tracking_home *h, struct slice name)
{
    bool found;
    size_t at = prefix_at(h, name, &found);
    if (!found || h->prefixes[at]->count) return;
    prefix_free(h->prefixes[at]);
    memmove(&h->prefixes[at], &h->prefixes[at + 1],
            (--h->prefix_count - at) * sizeof *h->prefixes);
}

static void unlisten(struct tracking_home *h, uint64_t source, struct slice name)
{
    bool found;
    size_t at = prefix_at(h, name, &found);
    if (!found) return;
    struct heard_prefix *p = h->prefixes[at];
    size_t n = listener_at(p, source);
    if (n < p->count && p->listeners[n].source == source)
        memmove(&p->listeners[n], &p->listeners[n + 1], (--p->count - n) * sizeof *p->listeners);
    drop_if_unheard(h, name);
}

static bool listen_one(struct tracking_home *h, const struct tracking_act *act, struct slice name)
{
    struct heard_prefix *p = prefix_take(h, name);
    if (!p) return false;
    void *items = p->listeners;
    bool room = more_room(&items, &p->cap, p->count, sizeof *p->listeners);
    p->listeners = items;
    if (!room) {
        drop_if_unheard(h, name);
        return false;
    }
    size_t n = listener_at(p, act->id);
    memmove(&p->listeners[n + 1], &p->listeners[n], (p->count++ - n) * sizeof *p->listeners);
    p->listeners[n] = (struct listener){
        .source = act->id, .home = act->home, .noloop = act->after.noloop,
        .target = act->after.redirect ? act->after.redirect : act->id,
        .proto = act->after.proto};
    return true;
}

bool tracking_listen(struct worker *w, const struct tracking_act *act)
{
    struct tracking_home *h = w->tracking;
    const struct tracking_state *before = &act->before, *after = &act->after;
    bool leaves = before->at == w->id, enters = after->at == w->id;
    bool same = leaves && enters && before->redirect == after->redirect &&
                before->noloop == after->noloop && before->proto == after->proto;
    /* Both are in order: a client that adds one prefix to thousands moves only that one. */
    for (size_t b = 0, a = 0; b < before->prefix_count || a < after->prefix_count;) {
        int order = b == before->prefix_count  ? 1
                    : a == after->prefix_count ? -1
                                               : slice_compare(before->prefixes[b],
                                                               after->prefixes[a]);
        bool kept = order == 0 && same;
        if (order <= 0 && leaves && !kept) unlisten(h, act->id, before->prefixes[b]);
        if (order >= 0 && enters && !kept && !listen_one(h, act, after->prefixes[a])) return false;
        b += order <= 0;
        a += order >= 0;
    }
    return true;
}

/* ---- sending ---- */

struct buf *tracking_out(struct conn *c)
{
    struct conn_track *t = c->track;
    bool waits = t && c->flags & CONN_WAITING && !c->act && !block_is_unclaimed(c) &&
                 !(c->worker->hub->faults & FAULT_TRACKING_EARLY);
    if (waits) {
        if (list_empty(&t->link)) list_push_back(&c->worker->tracking->holding, &t->link);
        return &t->held;
    }
    if (t && t->held.len) tracking_release(c);
    if (!c->out.ptr) worker_take_buf(c->worker, &c->out);
    return &c->out;
}

void tracking_release(struct conn *c)
{
    struct conn_track *t = c->track;
    list_remove(&t->link);
    if (!t->held.len && !t->held.failed) return;
    if (!c->out.ptr) worker_take_buf(c->worker, &c->out);
    buf_append_slice(&c->out, buf_slice(&t->held));
    c->out.failed |= t->held.failed;
    buf_deinit(&t->held);
    conn_dirty(c);
    conn_check_output(c);
}

static void send(struct conn *c, struct slice head, struct slice body)
{
    struct buf *out = tracking_out(c);
    if (buf_reserve(out, head.len + body.len)) {
        buf_append_slice(out, head);
        buf_append_slice(out, body);
    }
    if (out == &c->out) conn_dirty(c);
    conn_check_output(c);
}

static void tell_broken(struct worker *w, uint64_t source, worker_id home)
{
    if (home == w->id)
        tracking_on_broken(w, source);
    else
        worker_send(w, home, MSG_TRACKING_BROKEN, (void *)(uintptr_t)source);
}

void tracking_on_broken(struct worker *w, uint64_t id)
{
    struct conn_track *t = find(w, id);
    char text[96];
    if (!t || !t->state.on || !t->state.redirect) return;
    t->broken = true;
    if (t->conn->proto != 3) return;
    int len = snprintf(text, sizeof text, ">2\r\n$21\r\ntracking-redir-broken\r\n:%llu\r\n",
                       (unsigned long long)t->state.redirect);
    send(t->conn, slice_of(text, (size_t)len), SLICE(""));
}

/* keys: an array of them; without ptr: everything. */
static void tell(struct worker *w, const struct push_target *to, struct slice keys)
{
    struct conn_track *t = find(w, to->client);
    bool itself = to->client == to->source;
    if (!t) {
        if (!itself) tell_broken(w, to->source, to->home);
        return;
    }
    struct conn *c = t->conn;
    if (itself && !t->state.on) return;
    if (c->flags & (CONN_CLOSING | CONN_CLOSE_AFTER)) return;
    struct slice head = SLICE(">2\r\n$10\r\ninvalidate\r\n");
    if (c->proto == 2) {
        if (!(conn_subscribed(c) && (!itself || t->state.redirect))) return;
        head = SLICE("*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n");
    }
    uint8_t proto = itself ? c->proto : to->proto;
    if (!keys.ptr) keys = proto == 3 ? SLICE("_\r\n") : SLICE("$-1\r\n");
    send(c, head, keys);
}

void tracking_lost(struct worker *w)
{
    for (struct list *l = w->conns.next, *next; l != &w->conns; l = next) {
        struct conn *c = CONTAINER_OF(l, struct conn, link);
        next = l->next;
        if (!c->track || !c->track->state.on) continue;
        if (c->track->state.redirect) {
            conn_close(c); /* who is told is somebody else's connection: this much is certain */
            continue;
        }
        struct push_target to = {.client = c->id, .source = c->id};
        tell(w, &to, slice_of(NULL, 0));
    }
}

/* ---- delivering ---- */

static void collect(struct heard_prefix *p, struct slice key, uint64_t writer)
{
    void *items = p->changes;
    bool room = more_room(&items, &p->change_cap, p->change_count, sizeof *p->changes);
    p->changes = items;
    size_t at = p->bytes.len;
    buf_append_slice(&p->bytes, key);
    if (!room) p->bytes.failed = true;
    if (p->bytes.failed) return;
    p->changes[p->change_count] = (struct change){.key = slice_of(NULL, key.len), .at = at,
                                                  .writer = writer,
                                                  .order = (uint32_t)p->change_count};
    p->change_count++;
}

static void deliver_change(struct worker *w, const struct push_record *r)
{
    struct tracking_home *h = w->tracking;
    struct slice key = slice_of(r->wire, r->channel_len);
    for (size_t i = 0; i < h->prefix_count; i++) {
        struct heard_prefix *p = h->prefixes[i];
        if (key.len < p->name.len || !slice_equal(slice_of(key.ptr, p->name.len), p->name))
            continue;
        collect(p, key, r->hash);
        h->broadcast_due = true;
    }
}

void tracking_deliver(struct worker *w, const struct push_record *r)
{
    if (r->kind == PUSH_BROADCAST) {
        deliver_change(w, r);
        return;
    }
    struct slice keys = slice_of(r->channel_len ? r->wire + r->channel_at : NULL, r->channel_len);
    for (uint64_t i = 0; i < r->hash; i++) {
        struct push_target to;
        memcpy(&to, r->wire + i * sizeof to, sizeof to);
        if (to.at == w->id) tell(w, &to, keys);
    }
}

static int change_order(const void *a, const void *b)
{
    const struct change *x = a, *y = b;
    int order = slice_compare(x->key, y->key);
    return order ? order : x->order < y->order ? -1 : 1;
}

/* Sorted; of the changes of a key the last one. */
static void settle(struct heard_prefix *p)
{
    size_t n = 0;
    for (size_t i = 0; i < p->change_count; i++)
        p->changes[i].key.ptr = p->bytes.ptr + p->changes[i].at;
    qsort(p->changes, p->change_count, sizeof *p->changes, change_order);
    for (size_t i = 0; i < p->change_count; i++) {
        if (n && slice_equal(p->changes[n - 1].key, p->changes[i].key)) n--;
        p->changes[n++] = p->changes[i];
    }
    p->change_count = n;
}

/* All changes but those by `except`; false: none. */
static bool message_of(struct buf *out, const struct heard_prefix *p, uint64_t except)
{
    size_t count = 0;
    for (size_t i = 0; i < p->change_count; i++)
        count += !except || p->changes[i].writer != except;
    if (!count) return false;
    out->len = 0;
    buf_printf(out, "*%zu\r\n", count);
    for (size_t i = 0; i < p->change_count; i++) {
        const struct change *change = &p->changes[i];
        if (except && change->writer == except) continue;
        buf_printf(out, "$%zu\r\n", change->key.len);
        buf_append_slice(out, change->key);
        buf_append(out, "\r\n", 2);
    }
    return true;
}

static void broadcast_prefix(struct worker *w, struct heard_prefix *p)
{
    struct buf common = {0};
    bool failed = p->bytes.failed;
    if (!failed) settle(p);
    for (size_t i = 0; i < p->count; i++) {
        const struct listener *l = &p->listeners[i];
        struct push_target to = {.client = l->target, .source = l->source, .at = w->id,
                                 .home = l->home, .proto = l->proto};
        struct buf *message = l->noloop ? &w->tracking->message : &common;
        if (!failed && (l->noloop || !common.len) &&
            !message_of(message, p, l->noloop ? l->source : 0))
            continue;
        bool lost = failed || message->failed;
        tell(w, &to, lost ? slice_of(NULL, 0) : buf_slice(message));
        message->failed = false;
    }
    buf_deinit(&common);
    buf_shrink(&w->tracking->message, 64u * 1024u);
    buf_deinit(&p->bytes);
    p->change_count = 0;
}

/* Blocked clients: what was held while somebody seemed to serve them. */
static void release_unclaimed(struct worker *w)
{
    LIST_FOREACH_SAFE(link, next, &w->tracking->holding) {
        struct conn_track *t = CONTAINER_OF(link, struct conn_track, link);
        if (block_is_unclaimed(t->conn)) tracking_release(t->conn);
    }
}

void tracking_broadcast(struct worker *w)
{
    struct tracking_home *h = w->tracking;
    if (unlikely(!list_empty(&h->holding))) release_unclaimed(w);
    uint64_t lost = counter_get_acquire_shared(&w->hub->tracking_lost);
    if (unlikely(lost != h->lost_seen)) {
        h->lost_seen = lost;
        tracking_lost(w);
    }
    if (likely(!h->broadcast_due)) return;
    h->broadcast_due = false;
    /* Nobody comes or goes meanwhile: a connection that is closed leaves by an act. */
    for (size_t i = 0; i < h->prefix_count; i++)
        if (h->prefixes[i]->change_count || h->prefixes[i]->bytes.failed)
            broadcast_prefix(w, h->prefixes[i]);
}

bool tracking_claimed(const struct worker *w)
{
    const struct list *holding = &w->tracking->holding;
    for (const struct list *l = holding->next; l != holding; l = l->next)
        if (CONTAINER_OF(l, struct conn_track, link)->conn->flags & CONN_BLOCKED) return true;
    return false;
}

/* ---- commands ---- */

void tracking_exec_slow(const struct conn *c, struct exec *x)
{
    const struct conn_track *t = c->track;
    if (!t->state.on) return;
    uint32_t unheard = CONN_REPLY_OFF | CONN_REPLY_SKIP_NEXT | CONN_REPLY_SKIP;
    x->own = c->proto == 3 && !(c->flags & unheard);
    if (t->state.broadcast) return;
    x->track = t->state.optin ? t->caching : !(t->state.optout && t->caching);
}

void tracking_ran_slow(struct conn *c, const struct command *cmd)
{
    bool client = cmd && cmd->parent && strcmp(cmd->parent->name, "client") == 0;
    if (!client && !(c->flags & CONN_MULTI)) c->track->caching = false;
}
