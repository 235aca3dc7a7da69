/* Who is subscribed to what, and how that becomes true at one moment.
 *
 *   conn ── subs ──▶ topic ◀── subs ── conn            this worker: struct pubsub
 *                      │ one count per worker
 *                      ▼
 *                   topics of the topic's shard(s)      holder of the shard: topics.c
 *
 * (UN)SUBSCRIBE is an *act*: one part per shard concerned, run where the shard is held: here, if it
 * can be had at once, else by its owner after a message. A part changes the shard's register and
 * appends a PUSH_SUBSCRIPTION record for the connection's worker. That record comes back in the
 * order of all pushes (push.c), and with it the subscription counts here (`active`, a bit per
 * shard). So a message that was published before was not counted and is not delivered, one that was
 * published after was and is: PUBLISH's number is exact. The reply comes when all parts are back.
 *
 * With several parts a message can arrive between them: its subscription counts at one shard, the
 * confirmation has not been sent because of another. Such messages wait behind it (`held`).
 *
 * A connection that closes leaves its subscriptions to an act that nobody waits for.
 *
 * Patterns are matched at every publish by the holder (who gets it?) and here (which connections?).
 * Thread: the connections' worker; pubsub_part_run: holder of the shard. */
#include "pubsub.h"

#include "acl.h"
#include "conn.h"
#include "monitor.h"
#include "splitring/base/check.h"
#include "splitring/base/mem.h"
#include "splitring/data/table.h"
#include "tracking.h"

/* More than so many changes are not made on a borrowed shard. */
#define NEAR_MAX 512u
#define TEXT_MAX 4096u /* of a message that is put together before it is copied */

struct topic {
    struct list subs;
    struct list link; /* pubsub.patterns */
    struct slice name;
    uint64_t hash;
    uint8_t kind;
    bool everywhere;
    shard_id shard; /* where it lives, unless everywhere */
};

struct sub {
    const void *key[2]; /* connection and topic */
    struct list topic_link, conn_link;
    struct topic *topic;
    struct conn *conn; /* NULL: it is gone */
    uint32_t active;   /* shards from which messages count */
    bool confirmed;
};

struct act_part {
    struct act *act;
    shard_id shard;
    size_t first, count; /* act.by_shard */
    size_t done;         /* fewer than count: the shard's holder had no memory */
};

struct act {
    struct list link; /* pubsub.begun or .ended */
    struct worker *home;
    struct conn *conn; /* NULL: nobody waits */
    bool adds, failed;
    unsigned pending, part_count;
    struct sub **subs;
    size_t count, cap;
    struct sub **by_shard; /* those of part 0, of part 1, … */
    struct act_part *parts;
    struct buf reply;
    struct buf held;
};

struct pubsub {
    struct table *topics[TOPIC_KINDS];
    struct table *subs;
    struct list patterns;
    struct list begun, ended; /* acts to start, acts without parts to end */
    unsigned acts;
    struct buf head; /* of a message */
    struct buf text; /* all of a short one */
};

/* ---- tables ---- */

static struct slice topic_key(const void *entry) { return ((const struct topic *)entry)->name; }

static struct slice sub_key(const void *entry)
{
    const struct sub *sub = entry;
    return slice_of((const char *)sub->key, sizeof sub->key);
}

static const struct table_ops topic_ops = {.key = topic_key};
static const struct table_ops sub_ops = {.key = sub_key};

struct pubsub *pubsub_new(struct worker *w)
{
    struct pubsub *p = mem_zalloc(sizeof *p);
    for (unsigned kind = 0; kind < TOPIC_KINDS; kind++)
        p->topics[kind] = table_new(&topic_ops, w->hub->seed);
    p->subs = table_new(&sub_ops, w->hub->seed);
    list_init(&p->patterns);
    list_init(&p->begun);
    list_init(&p->ended);
    return p;
}

void pubsub_free(struct pubsub *p)
{
    for (unsigned kind = 0; kind < TOPIC_KINDS; kind++) table_free(p->topics[kind]);
    table_free(p->subs);
    buf_deinit(&p->head);
    buf_deinit(&p->text);
    mem_free(p);
}

static struct topic *topic_new(struct worker *w, enum topic_kind kind, struct slice name,
                               uint64_t hash)
{
    struct topic *t = mem_try_zalloc(sizeof *t + name.len);
    if (!t) return NULL;
    char *copy = (char *)(t + 1);
    if (name.len) memcpy(copy, name.ptr, name.len);
    t->name = slice_of(copy, name.len);
    t->hash = hash;
    t->kind = (uint8_t)kind;
    t->everywhere = topic_is_everywhere(kind, name);
    t->shard = hub_shard_of(w->hub, name);
    list_init(&t->subs);
    list_init(&t->link);
    if (table_insert(w->pubsub->topics[kind], hash, t, 0) < 0) {
        mem_free(t);
        return NULL;
    }
    if (kind == TOPIC_PATTERN) list_push_back(&w->pubsub->patterns, &t->link);
    return t;
}

static void topic_drop_if_unused(struct worker *w, struct topic *t)
{
    if (!list_empty(&t->subs)) return;
    struct table *table = w->pubsub->topics[t->kind];
    uint64_t *slot = table_find_slot(table, t->hash, t->name);
    check(slot && table_slot_entry(slot) == t);
    table_slot_remove(table, t->hash, slot);
    list_remove(&t->link);
    mem_free(t);
}

static uint64_t *sub_slot(const struct worker *w, const struct conn *c, const struct topic *t,
                          uint64_t *hash)
{
    const void *key[2] = {c, t};
    struct slice bytes = slice_of((const char *)key, sizeof key);
    *hash = hash_key(bytes, w->hub->seed);
    return table_find_slot(w->pubsub->subs, *hash, bytes);
}

static struct sub *sub_find(const struct worker *w, const struct conn *c, enum topic_kind kind,
                            struct slice name)
{
    uint64_t hash = hash_key(name, w->hub->seed);
    const struct topic *t = table_find(w->pubsub->topics[kind], hash, name);
    const uint64_t *slot = t ? sub_slot(w, c, t, &hash) : NULL;
    return slot ? table_slot_entry(slot) : NULL;
}

static void sub_free(struct worker *w, struct sub *sub)
{
    list_remove(&sub->topic_link);
    list_remove(&sub->conn_link);
    topic_drop_if_unused(w, sub->topic);
    mem_free(sub);
}

/* With its slot, and with its topic as if nobody else listened to that: see watch_memory. */
static size_t sub_bytes(const struct sub *sub)
{
    return sizeof *sub + 2 * sizeof(uint64_t) + sizeof *sub->topic + sub->topic->name.len;
}

/* NULL: no memory. */
static struct sub *sub_new(struct worker *w, struct conn *c, enum topic_kind kind,
                           struct slice name)
{
    uint64_t hash = hash_key(name, w->hub->seed);
    struct topic *t = table_find(w->pubsub->topics[kind], hash, name);
    if (!t) t = topic_new(w, kind, name, hash);
    if (!t) return NULL;
    struct sub *sub = mem_try_zalloc(sizeof *sub);
    if (sub) {
        *sub = (struct sub){.key = {c, t}, .topic = t, .conn = c};
        list_push_back(&t->subs, &sub->topic_link);
        list_push_back(&c->subs, &sub->conn_link);
        sub_slot(w, c, t, &hash);
        if (table_insert(w->pubsub->subs, hash, sub, 0) == 0) {
            c->sub_count[kind]++;
            c->subs_bytes += sub_bytes(sub);
            return sub;
        }
        sub_free(w, sub);
        return NULL;
    }
    topic_drop_if_unused(w, t);
    return NULL;
}

bool pubsub_allowed(const struct conn *c, const struct acl_user *user)
{
    for (const struct list *l = c->subs.next; l != &c->subs; l = l->next) {
        const struct topic *t = CONTAINER_OF(l, struct sub, conn_link)->topic;
        if (!acl_may_hear(user, t->name, t->kind == TOPIC_PATTERN)) return false;
    }
    return true;
}

/* The connection's no more; until its act is over it stays with its topic. */
static void sub_detach(struct worker *w, struct sub *sub)
{
    uint64_t hash;
    uint64_t *slot = sub_slot(w, sub->conn, sub->topic, &hash);
    check(slot);
    table_slot_remove(w->pubsub->subs, hash, slot);
    list_remove(&sub->conn_link);
    sub->conn->sub_count[sub->topic->kind]--;
    sub->conn->subs_bytes -= sub_bytes(sub);
}

/* ---- acts ---- */

static struct act *act_new(struct worker *w, struct conn *c, bool adds)
{
    struct act *a = mem_zalloc(sizeof *a);
    a->home = w;
    a->conn = c;
    a->adds = adds;
    list_init(&a->link);
    w->pubsub->acts++;
    return a;
}

/* Their number is bounded by what the client has sent. */
static void act_add(struct act *a, struct sub *sub)
{
    if (a->count == a->cap) {
        a->cap = a->cap ? a->cap * 2 : 4;
        a->subs = mem_realloc(a->subs, a->cap * sizeof(struct sub *));
    }
    a->subs[a->count++] = sub;
}

static void act_free(struct act *a)
{
    a->home->pubsub->acts--;
    mem_free(a->subs);
    mem_free(a->by_shard);
    mem_free(a->parts);
    buf_deinit(&a->reply);
    buf_deinit(&a->held);
    mem_free(a);
}

/* Leaving goes where the subscription counts: a shard without memory may not have taken it. */
static bool concerns(const struct act *a, const struct sub *sub, shard_id s)
{
    if (!a->adds) return sub->active >> s & 1u;
    return sub->topic->everywhere || sub->topic->shard == s;
}

static void act_split(struct act *a)
{
    uint32_t shards = a->home->hub->count;
    size_t counts[SHARDS_MAX] = {0}, total = 0;
    for (size_t i = 0; i < a->count; i++)
        for (shard_id s = 0; s < shards; s++)
            counts[s] += concerns(a, a->subs[i], s);
    for (shard_id s = 0; s < shards; s++) {
        total += counts[s];
        a->part_count += counts[s] != 0;
    }
    a->parts = mem_zalloc((a->part_count + 1) * sizeof *a->parts);
    a->by_shard = mem_alloc((total + 1) * sizeof(struct sub *));
    size_t n = 0;
    struct act_part *part = a->parts;
    for (shard_id s = 0; s < shards; s++) {
        if (!counts[s]) continue;
        *part++ = (struct act_part){.act = a, .shard = s, .first = n, .count = counts[s]};
        for (size_t i = 0; i < a->count; i++)
            if (concerns(a, a->subs[i], s)) a->by_shard[n++] = a->subs[i];
    }
    a->pending = a->part_count;
}

static void act_end(struct worker *w, struct act *a);

/* Holding nothing; the act may be over, and gone, with the next delivery. */
static void act_start(struct worker *w, struct act *a)
{
    act_split(a);
    if (!a->part_count) {
        list_push_back(&w->pubsub->ended, &a->link);
        return;
    }
    for (unsigned i = 0, parts = a->part_count; i < parts; i++) {
        struct act_part *part = &a->parts[i];
        bool near = part->shard == w->id || (w->hub->lending && part->count <= NEAR_MAX);
        if (near && part->shard != w->id) near = worker_hold_try(w, part->shard);
        if (part->shard == w->id) worker_hold(w, w->id);
        if (near)
            pubsub_part_run(w, part);
        else
            worker_send(w, part->shard, MSG_SUBSCRIPTION, part);
    }
    worker_unhold_all(w);
}

void pubsub_part_run(struct worker *w, struct act_part *part)
{
    struct act *a = part->act;
    struct topics *topics = w->hub->topics[part->shard];
    worker_id home = a->home->id;
    dcheck(worker_holds(w, part->shard));
    for (; part->done < part->count; part->done++) {
        const struct topic *t = a->by_shard[part->first + part->done]->topic;
        enum topic_kind kind = (enum topic_kind)t->kind;
        if (!a->adds)
            topics_remove(topics, kind, t->name, t->hash, home);
        else if (!topics_add(topics, kind, t->name, t->hash, home, t->shard == part->shard))
            break;
    }
    struct shard_published *pub = &w->hub->shard_published[part->shard];
    for (unsigned kind = 0; kind < TOPIC_KINDS; kind++)
        counter_set(&pub->topics[kind], topics_count(topics, (enum topic_kind)kind));
    struct push_record *r = push_append(w, PUSH_SUBSCRIPTION, part->shard, 1u << home, 0);
    check(r); /* small: without it the connection would wait for ever */
    r->ptr = part;
}

static void part_ended(struct worker *w, struct act_part *part)
{
    struct act *a = part->act;
    for (size_t i = 0; i < part->done; i++) {
        struct sub *sub = a->by_shard[part->first + i];
        if (a->adds)
            sub->active |= 1u << part->shard;
        else
            sub->active &= ~(1u << part->shard);
    }
    a->failed |= part->done < part->count;
    if (--a->pending == 0) act_end(w, a);
}

static void limits_follow(struct conn *c)
{
    uint8_t class = conn_subscribed(c) ? CONFIG_CLIENT_PUBSUB : CONFIG_CLIENT_NORMAL;
    if (class == c->limit_class) return;
    c->limit_class = class;
    counter_add(&c->worker->pub->pubsub_clients, class == CONFIG_CLIENT_PUBSUB ? 1 : UINT64_MAX);
}

static void conn_put(struct conn *c, const struct buf *bytes)
{
    if (!c->out.ptr) worker_take_buf(c->worker, &c->out);
    buf_append_slice(&c->out, buf_slice(bytes));
    if (bytes->failed) c->out.failed = true;
}

static void act_end(struct worker *w, struct act *a)
{
    struct conn *c = a->conn;
    for (size_t i = 0; i < a->count; i++) {
        if (a->adds)
            a->subs[i]->confirmed = true;
        else
            sub_free(w, a->subs[i]);
    }
    if (c) {
        c->act = NULL;
        limits_follow(c);
        if (a->failed) conn_close(c);
        if (c->flags & CONN_CLOSING) {
            pubsub_conn_closed(c);
        } else {
            conn_put(c, &a->reply);
            conn_put(c, &a->held);
            conn_dirty(c);
            conn_check_output(c);
        }
        conn_resume(c);
    }
    act_free(a);
}

void pubsub_step(struct worker *w)
{
    struct list *link;
    struct pubsub *p = w->pubsub;
    while ((link = list_pop_front(&p->begun)) != NULL)
        act_start(w, CONTAINER_OF(link, struct act, link));
    while ((link = list_pop_front(&p->ended)) != NULL)
        act_end(w, CONTAINER_OF(link, struct act, link));
}

bool pubsub_idle(const struct worker *w) { return w->pubsub->acts == 0; }

/* ---- commands ---- */

static void conn_waits(struct act *a)
{
    struct conn *c = a->conn;
    c->flags |= CONN_WAITING;
    c->in_flight = a;
    c->act = a;
    limits_follow(c);
    list_push_back(&a->home->pubsub->begun, &a->link);
}

static uint64_t counted(const struct conn *c, enum topic_kind kind)
{
    if (kind == TOPIC_SHARD) return c->sub_count[TOPIC_SHARD];
    return (uint64_t)c->sub_count[TOPIC_CHANNEL] + c->sub_count[TOPIC_PATTERN];
}

/* One confirmation; name NULL: there was nothing to leave. */
static void confirm(struct act *a, bool adds, enum topic_kind kind, const struct slice *name)
{
    static const char *const words[2][TOPIC_KINDS] = {
        {"unsubscribe", "sunsubscribe", "punsubscribe"}, {"subscribe", "ssubscribe", "psubscribe"}};
    struct reply r = {.out = &a->reply, .proto = a->conn->proto};
    reply_push(&r, 3);
    reply_bulk_str(&r, words[adds][kind]);
    if (name)
        reply_bulk_slice(&r, *name);
    else
        reply_null(&r);
    reply_int(&r, (int64_t)counted(a->conn, kind));
}

void pubsub_subscribe(struct call *c, enum topic_kind kind)
{
    struct conn *conn = c->conn;
    struct worker *w = conn->worker;
    struct act *a = act_new(w, conn, true);
    for (int i = 1; i < c->argc && !a->failed; i++) {
        if (!sub_find(w, conn, kind, c->argv[i])) {
            struct sub *sub = sub_new(w, conn, kind, c->argv[i]);
            if (sub)
                act_add(a, sub);
            else
                a->failed = true;
        }
        confirm(a, true, kind, &c->argv[i]);
    }
    conn_waits(a);
}

static void leave(struct worker *w, struct act *a, struct sub *sub)
{
    sub_detach(w, sub);
    act_add(a, sub);
}

/* All of one kind, or of every kind (TOPIC_KINDS), oldest first. */
static void leave_all(struct worker *w, struct act *a, struct conn *c, enum topic_kind kind,
                      bool confirmed)
{
    LIST_FOREACH_SAFE(link, next, &c->subs) {
        struct sub *sub = CONTAINER_OF(link, struct sub, conn_link);
        if (kind != TOPIC_KINDS && sub->topic->kind != kind) continue;
        leave(w, a, sub);
        if (confirmed) confirm(a, false, kind, &sub->topic->name);
    }
}

void pubsub_unsubscribe(struct call *c, enum topic_kind kind)
{
    struct conn *conn = c->conn;
    struct worker *w = conn->worker;
    struct act *a = act_new(w, conn, false);
    for (int i = 1; i < c->argc; i++) {
        struct sub *sub = sub_find(w, conn, kind, c->argv[i]);
        if (sub) leave(w, a, sub);
        confirm(a, false, kind, &c->argv[i]);
    }
    if (c->argc == 1) {
        leave_all(w, a, conn, kind, true);
        if (!a->count) confirm(a, false, kind, NULL);
    }
    conn_waits(a);
}

bool pubsub_reset(struct worker *w, struct conn *c, struct slice reply)
{
    if (list_empty(&c->subs)) return false;
    struct act *a = act_new(w, c, false);
    leave_all(w, a, c, TOPIC_KINDS, false);
    for (size_t i = 0; i < a->count; i++) a->subs[i]->conn = NULL; /* it hears no more */
    buf_append_slice(&a->reply, reply);
    conn_waits(a);
    return true;
}

void pubsub_conn_closed(struct conn *c)
{
    struct worker *w = c->worker;
    if (c->act || list_empty(&c->subs)) return; /* act_end() comes back to it */
    struct act *a = act_new(w, NULL, false);
    leave_all(w, a, c, TOPIC_KINDS, false);
    for (size_t i = 0; i < a->count; i++) a->subs[i]->conn = NULL;
    limits_follow(c);
    list_push_back(&w->pubsub->begun, &a->link);
}

/* ---- delivering ---- */

static void put(struct buf *out, uint8_t proto, struct slice head, const struct push_record *r)
{
    if (!buf_reserve(out, head.len + r->wire_len + 1)) return;
    buf_append_char(out, proto == 2 ? '*' : '>');
    buf_append_slice(out, head);
    buf_append(out, r->wire, r->wire_len);
}

/* A short message is put together once, and then copied as one. */
static struct slice text_of(struct worker *w, struct slice head, const struct push_record *r)
{
    struct buf *text = &w->pubsub->text;
    text->len = 0;
    text->failed = false;
    if (head.len + r->wire_len <= TEXT_MAX) put(text, 2, head, r);
    return buf_slice(text);
}

/* head: what comes before channel and payload, without its first byte. */
static void deliver_to(struct worker *w, const struct topic *t, struct slice head,
                       const struct push_record *r)
{
    struct slice text = text_of(w, head, r);
    LIST_FOREACH_SAFE(link, next, &t->subs) {
        struct sub *sub = CONTAINER_OF(link, struct sub, topic_link);
        struct conn *c = sub->conn;
        if (!(sub->active >> r->shard & 1u) || !c || c->flags & CONN_CLOSING) continue;
        if (c->act && (!sub->confirmed || c->act->held.len)) {
            put(&c->act->held, c->proto, head, r);
            continue;
        }
        struct buf *out = &c->out;
        if (unlikely(c->track || !out->ptr)) out = tracking_out(c);
        if (likely(text.len && c->proto == 2))
            buf_append(out, text.ptr, text.len);
        else
            put(out, c->proto, head, r);
        if (out == &c->out) conn_dirty(c);
        conn_check_output(c);
    }
}

static void deliver_patterns(struct worker *w, const struct push_record *r)
{
    struct pubsub *p = w->pubsub;
    LIST_FOREACH_SAFE(link, next, &p->patterns) {
        const struct topic *t = CONTAINER_OF(link, struct topic, link);
        if (!slice_glob(t->name, push_channel(r), false)) continue;
        p->head.len = 0;
        buf_printf(&p->head, "4\r\n$8\r\npmessage\r\n$%zu\r\n", t->name.len);
        buf_append_slice(&p->head, t->name);
        buf_append(&p->head, "\r\n", 2);
        deliver_to(w, t, buf_slice(&p->head), r);
    }
}

void pubsub_deliver(struct worker *w, const struct push_record *r)
{
    if (r->kind == PUSH_SUBSCRIPTION) {
        part_ended(w, r->ptr);
        return;
    }
    if (r->kind == PUSH_MONITOR) {
        monitor_deliver(w, r);
        return;
    }
    bool sharded = r->kind == PUSH_SHARD_MESSAGE;
    struct table *table = w->pubsub->topics[sharded ? TOPIC_SHARD : TOPIC_CHANNEL];
    const struct topic *t = table_find(table, r->hash, push_channel(r));
    struct slice head = SLICE("3\r\n$7\r\nmessage\r\n");
    if (sharded) head = SLICE("3\r\n$8\r\nsmessage\r\n");
    if (t) deliver_to(w, t, head, r);
    if (!sharded && !list_empty(&w->pubsub->patterns)) deliver_patterns(w, r);
}
