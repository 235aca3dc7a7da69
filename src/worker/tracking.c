/* Client-side caching, the shard's side: who may hold a key, and what happens when it changes.
 *
 *   tracking[shard]:  key (of any database) → ids of clients, ascending
 *                     clients: id → who is told, and at which worker     (every shard knows all)
 *                     prefixes of BCAST → workers with clients that listen (every shard)
 *
 * A read registers its keys at their shards while these are held, in the same unit. A change takes
 * the key's clients away and puts one record into the unit's log of pushes (push.c), so it gets
 * its ticket before anybody else can touch the shard, and lies in the mailboxes of the clients'
 * workers before the writer's reply leaves. Hence what DESIGN 6a asks for: whoever has read a key
 * and holds its value is told of the first change after that read, in the order of all pushes.
 *
 * The order on the connection: an invalidation must not be shown before the reply of a read that
 * saw the old value, else the client would cache that value for good. A reply made here is in the
 * output already. One that is being made elsewhere (a batch, a transaction, a fan-out) is not: so
 * pushes to a connection that waits are held back until it has been answered (tracking_home.c:
 * tracking_out). An invalidation may thus come later than it could, behind the reply of a read that
 * has seen the new value; that costs a miss and breaks nothing.
 *
 * What a command tells its own client goes directly behind its reply, as in Redis, and behind that
 * of EXEC for the commands in it: it does not go by way of the log but beside the reply (`own`),
 * wherever the command runs; exec.h says how its client's id travels. Only where a reply is not
 * wanted (CLIENT REPLY OFF) it is pushed like those of others.
 *
 * As in Redis: the database does not count; ids of clients that are gone are removed when their key
 * changes; FLUSHALL and FLUSHDB say "everything" (a null) to all who track, once: shard 0 says it,
 * under the lock of all keys.
 *
 * Other than in Redis: SWAPDB says "everything", too; Redis says nothing and leaves clients with
 * values of the other database. Two prefixes of one command that overlap are an error; Redis, but
 * if the first of them does, replies with the error and with OK. A client that is served while it
 * is blocked gets its reply before what the push that serves it makes invalid. Who hears of others'
 * keys by REDIRECT and changes such a key is told after its reply instead of before it.
 *
 * A change whose record finds no memory makes all caches void (tracking_lost); a read that cannot
 * be remembered is followed by an invalidation of what it read.
 *
 * Why not one table for all, or the client's worker as the place where it is known what it holds:
 * both would make each read and each write a matter of two workers.
 * Thread: holder of the shard; tracking_register, tracking_step: its owner. */
#include "tracking.h"

#include "changes.h"
#include "conn.h"
#include "push.h"
#include "splitring/base/check.h"
#include "splitring/base/hash.h"
#include "splitring/base/mem.h"
#include "splitring/base/num.h"
#include "splitring/data/table.h"

#define STEP_KEYS 500u /* evicted or freed in a step */

struct tracked_key {
    size_t key_len;
    uint32_t count, cap;
    uint64_t ids[]; /* ascending; the key's bytes follow */
};

struct prefix_route {
    struct list link;
    struct slice name;
    uint64_t hash;
    uint32_t mask;
    uint32_t counts[]; /* by worker; the name's bytes follow */
};

struct tracker {
    uint64_t id, target;
    worker_id home, at;
    bool broadcast, noloop;
    uint8_t proto;
    size_t route_count;
    struct prefix_route *routes[];
};

struct doomed_keys {
    struct list link;
    struct table *keys;
};

struct tracking {
    uint64_t seed;
    struct table *keys;
    struct table *clients;
    struct list prefixes; /* prefix_route.link */
    struct table *routes; /* the same by name */
    size_t prefix_count;
    size_t items;  /* ids in keys */
    size_t key_bytes; /* of the entries of keys */
    size_t bytes;     /* of clients and prefixes */
    struct list doomed; /* tables of keys that are forgotten, not yet freed */
    struct buf targets; /* of the record that is being made */
};

/* ---- tables ---- */

static struct slice tracked_name(const struct tracked_key *k)
{
    return slice_of((const char *)&k->ids[k->cap], k->key_len);
}

static struct slice key_of(const void *entry) { return tracked_name(entry); }

static struct slice id_slice(const uint64_t *id) { return slice_of((const char *)id, sizeof *id); }

static struct slice client_of(const void *entry)
{
    return id_slice(&((const struct tracker *)entry)->id);
}

static struct slice route_name(const void *entry)
{
    return ((const struct prefix_route *)entry)->name;
}

static const struct table_ops key_ops = {.key = key_of};
static const struct table_ops route_ops = {.key = route_name};
static const struct table_ops client_ops = {.key = client_of};

struct tracking *tracking_new(uint64_t seed)
{
    struct tracking *t = mem_zalloc(sizeof *t);
    t->seed = seed;
    t->keys = table_new(&key_ops, seed);
    t->routes = table_new(&route_ops, seed);
    t->clients = table_new(&client_ops, seed);
    list_init(&t->prefixes);
    list_init(&t->doomed);
    return t;
}

static void drop_entry(void *ctx, void *entry)
{
    (void)ctx;
    mem_free(entry);
}

static void free_table(struct table *table)
{
    while (table_drain(table, 1024, drop_entry, NULL)) {}
    table_free(table);
}

void tracking_free(struct tracking *t)
{
    struct list *link;
    while ((link = list_pop_front(&t->doomed)) != NULL) {
        struct doomed_keys *d = CONTAINER_OF(link, struct doomed_keys, link);
        free_table(d->keys);
        mem_free(d);
    }
    while ((link = list_pop_front(&t->prefixes)) != NULL)
        mem_free(CONTAINER_OF(link, struct prefix_route, link));
    table_free(t->routes);
    free_table(t->keys);
    free_table(t->clients);
    buf_deinit(&t->targets);
    mem_free(t);
}

static void publish(struct worker *w, shard_id s)
{
    const struct tracking *t = w->hub->tracking[s];
    struct shard_published *pub = &w->hub->shard_published[s];
    counter_set(&pub->tracking_keys, table_count(t->keys));
    counter_set(&pub->tracking_items, t->items);
    counter_set(&pub->tracking_prefixes, s == 0 ? t->prefix_count : 0);
    counter_set(&pub->tracking_bytes, t->bytes + t->key_bytes + table_bytes(t->keys) +
                                          table_bytes(t->clients));
    counter_set(&pub->tracking_doomed, !list_empty(&t->doomed));
}

/* All keys are forgotten. Their memory goes in slices (tracking_step). */
static void forget_keys(struct tracking *t)
{
    if (table_count(t->keys) == 0) return;
    struct doomed_keys *d = mem_alloc(sizeof *d);
    d->keys = t->keys;
    list_push_back(&t->doomed, &d->link);
    t->keys = table_new(&key_ops, t->seed);
    t->items = t->key_bytes = 0;
}

/* ---- the register ---- */

static struct tracker *find_client(const struct tracking *t, uint64_t id)
{
    return table_find(t->clients, hash_key(id_slice(&id), t->seed), id_slice(&id));
}

static void route_leave(struct tracking *t, struct prefix_route *r, worker_id at)
{
    check(r->counts[at]);
    if (--r->counts[at] == 0) r->mask &= ~(1u << at);
    if (r->mask) return;
    table_slot_remove(t->routes, r->hash, table_find_slot(t->routes, r->hash, r->name));
    list_remove(&r->link);
    t->prefix_count--;
    t->bytes -= mem_usable(r);
    mem_free(r);
}

static struct prefix_route *route_take(struct tracking *t, struct slice name, uint32_t workers)
{
    uint64_t hash = hash_key(name, t->seed);
    struct prefix_route *r = table_find(t->routes, hash, name);
    if (r) return r;
    size_t head = sizeof(struct prefix_route) + workers * sizeof(uint32_t);
    r = mem_try_zalloc(head + name.len);
    if (!r) return NULL;
    char *copy = (char *)r + head;
    if (name.len) memcpy(copy, name.ptr, name.len);
    r->name = slice_of(copy, name.len);
    r->hash = hash;
    if (table_insert(t->routes, hash, r, 0) < 0) {
        mem_free(r);
        return NULL;
    }
    list_push_back(&t->prefixes, &r->link);
    t->prefix_count++;
    t->bytes += mem_usable(r);
    return r;
}

static void client_leave(struct tracking *t, uint64_t id)
{
    uint64_t hash = hash_key(id_slice(&id), t->seed);
    uint64_t *slot = table_find_slot(t->clients, hash, id_slice(&id));
    if (!slot) return;
    struct tracker *c = table_slot_entry(slot);
    for (size_t i = 0; i < c->route_count; i++) route_leave(t, c->routes[i], c->at);
    table_slot_remove(t->clients, hash, slot);
    t->bytes -= mem_usable(c);
    mem_free(c);
}

static bool client_enter(struct tracking *t, const struct tracking_act *act, uint32_t workers)
{
    const struct tracking_state *state = &act->after;
    struct tracker *c =
        mem_try_zalloc(sizeof *c + state->prefix_count * sizeof(struct prefix_route *));
    if (!c) return false;
    *c = (struct tracker){.id = act->id, .target = state->redirect ? state->redirect : act->id,
                          .home = act->home, .at = state->at, .broadcast = state->broadcast,
                          .noloop = state->noloop, .proto = state->proto};
    if (table_insert(t->clients, hash_key(id_slice(&c->id), t->seed), c, 0) < 0) {
        mem_free(c);
        return false;
    }
    t->bytes += mem_usable(c);
    for (size_t i = 0; i < state->prefix_count; i++) {
        struct prefix_route *r = route_take(t, state->prefixes[i], workers);
        if (!r) return false; /* what there is of it goes with the client */
        r->counts[c->at]++;
        r->mask |= 1u << c->at;
        c->routes[c->route_count++] = r;
    }
    return true;
}

bool tracking_register(struct worker *w, const struct tracking_act *act)
{
    struct tracking *t = w->hub->tracking[w->id];
    dcheck(worker_holds(w, w->id));
    client_leave(t, act->id);
    bool ok = !act->after.on || client_enter(t, act, w->hub->count);
    if (table_count(t->clients) == 0) forget_keys(t); /* nobody is left who could be meant */
    changes_follow(w->hub, w->id);
    publish(w, w->id);
    return ok;
}

bool tracking_listens(const struct hub *hub, shard_id s)
{
    return table_count(hub->tracking[s]->clients) != 0;
}

/* ---- telling ---- */

static void put_key(struct buf *out, struct slice key)
{
    buf_printf(out, "*1\r\n$%zu\r\n", key.len);
    buf_append_slice(out, key);
    buf_append(out, "\r\n", 2);
}

/* To the writer itself, behind its reply. key without ptr: everything. */
static void tell_own(struct worker *w, struct slice key)
{
    struct buf *own = tracking_own(w);
    buf_append_slice(own, SLICE(">2\r\n$10\r\ninvalidate\r\n"));
    if (key.ptr)
        put_key(own, key);
    else
        buf_append(own, "_\r\n", 3);
    w->tracking_due = true;
}

/* The record begins with whom it is for. */
struct telling {
    struct worker *w;
    struct tracking *t;
    const struct exec *writer; /* NULL: no client */
    struct slice key;          /* without ptr: everything */
    uint32_t mask;
    uint64_t count;
};

static void tell_client(struct telling *tell, const struct tracker *c)
{
    bool own = tell->writer && tell->writer->client_id == c->id;
    if (own && c->noloop && tell->key.ptr) return;
    if (own && tell->writer->own && c->target == c->id) {
        tell_own(tell->w, tell->key);
        return;
    }
    struct push_target target = {.client = c->target, .source = c->id, .at = c->at,
                                 .home = c->home, .proto = c->proto};
    buf_append(&tell->t->targets, &target, sizeof target);
    tell->mask |= 1u << c->at;
    tell->count++;
}

static void lose(struct worker *w)
{
    counter_next_shared(&w->hub->tracking_lost);
    for (worker_id to = 0; to < w->hub->count; to++)
        if (to != w->id) worker_wake(w, to);
}

/* Whoever was collected is told. */
static void tell_end(struct telling *tell, shard_id s)
{
    struct buf *targets = &tell->t->targets;
    if (tell->mask) {
        struct slice key = tell->key;
        char head[NUM_I64_LEN_MAX + 8] = "*1\r\n$";
        size_t head_len = 5;
        head_len += num_format_u64(head + head_len, key.len);
        memcpy(head + head_len, "\r\n", 2);
        head_len += 2;
        size_t wire_len = key.ptr ? head_len + key.len + 2 : 0;
        struct push_record *r =
            targets->failed ? NULL : push_append(tell->w, PUSH_INVALIDATE, s, tell->mask,
                                                 targets->len + wire_len);
        if (r) {
            char *at = r->wire + targets->len;
            memcpy(r->wire, targets->ptr, targets->len);
            r->hash = tell->count;
            r->channel_at = targets->len;
            r->channel_len = wire_len;
            if (wire_len) {
                memcpy(at, head, head_len);
                if (key.len) memcpy(at + head_len, key.ptr, key.len);
                memcpy(at + head_len + key.len, "\r\n", 2);
            }
        } else {
            lose(tell->w);
        }
    }
    targets->len = 0;
    targets->failed = false;
    buf_shrink(targets, 64u * 1024u);
}

/* The key's clients; they are not registered for it any more. */
static void tell_key(struct worker *w, shard_id s, const struct exec *writer, uint64_t hash,
                     uint64_t *slot)
{
    struct tracking *t = w->hub->tracking[s];
    struct tracked_key *k = table_slot_entry(slot);
    struct telling tell = {.w = w, .t = t, .writer = writer, .key = tracked_name(k)};
    for (uint32_t i = 0; i < k->count; i++) {
        const struct tracker *c = find_client(t, k->ids[i]);
        if (c && !c->broadcast) tell_client(&tell, c);
    }
    tell_end(&tell, s);
    t->items -= k->count;
    t->key_bytes -= mem_usable(k);
    table_slot_remove(t->keys, hash, slot);
    mem_free(k);
    publish(w, s);
}

static void tell_each(void *ctx, void *entry, unsigned bits)
{
    (void)bits;
    tell_client(ctx, entry);
}

/* Everybody, of everything. The shard is 0. */
static void tell_all(struct worker *w, const struct exec *writer)
{
    struct tracking *t = w->hub->tracking[0];
    struct telling tell = {.w = w, .t = t, .writer = writer};
    uint64_t cursor = 0;
    do {
        cursor = table_scan(t->clients, cursor, SIZE_MAX, SIZE_MAX, tell_each, &tell);
    } while (cursor != 0);
    tell_end(&tell, 0);
}

static bool begins_with(struct slice key, struct slice prefix)
{
    return key.len >= prefix.len &&
           (prefix.len == 0 || memcmp(key.ptr, prefix.ptr, prefix.len) == 0);
}

/* One record for all workers with clients that listen to a prefix of the key. */
static void broadcast(struct worker *w, shard_id s, struct slice key)
{
    const struct tracking *t = w->hub->tracking[s];
    uint32_t mask = 0;
    for (const struct list *l = t->prefixes.next; l != &t->prefixes; l = l->next) {
        const struct prefix_route *r = CONTAINER_OF(l, struct prefix_route, link);
        if (begins_with(key, r->name)) mask |= r->mask;
    }
    if (!mask) return;
    struct push_record *r = push_append(w, PUSH_BROADCAST, s, mask, key.len);
    if (!r) {
        lose(w);
        return;
    }
    bool expires = shard_is_expiring(w->hub->shards[s]); /* not the reader's doing */
    r->hash = w->writer && !expires ? w->writer->client_id : 0;
    r->channel_len = key.len;
    if (key.len) memcpy(r->wire, key.ptr, key.len);
}

void tracking_on_modified(struct worker *w, shard_id s, struct slice key)
{
    struct tracking *t = w->hub->tracking[s];
    dcheck(worker_holds(w, s));
    if (!key.ptr) {
        forget_keys(t);
        publish(w, s);
        if (s != 0) return;
        if (w->writer) /* it may be told of several databases */
            w->tracking_flushed = w->tracking_due = true;
        else
            tell_all(w, NULL);
        return;
    }
    if (t->prefix_count) broadcast(w, s, key);
    if (table_count(t->keys) == 0) return;
    uint64_t hash = hash_key(key, t->seed);
    uint64_t *slot = table_find_slot(t->keys, hash, key);
    if (slot) tell_key(w, s, w->writer, hash, slot);
}

void tracking_end_slow(struct worker *w, const struct exec *x)
{
    if (w->tracking_flushed) {
        w->tracking_flushed = false;
        tell_all(w, x);
    }
    if (w->writer) return; /* x is a part: the whole has not replied yet */
    struct buf *own = tracking_own(w), *out = x->own_out ? x->own_out : x->out;
    buf_append_slice(out, buf_slice(own));
    out->failed |= own->failed;
    own->len = 0;
    own->failed = false;
    buf_shrink(own, 64u * 1024u);
    w->tracking_due = false;
}

/* ---- remembering ---- */

static uint32_t place_of(const struct tracked_key *k, uint64_t id)
{
    uint32_t low = 0, high = k->count;
    if (high && k->ids[high - 1] < id) return high; /* young clients come last */
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (k->ids[middle] < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct tracked_key *key_new(struct slice key, uint32_t cap)
{
    size_t head = sizeof(struct tracked_key) + cap * sizeof(uint64_t);
    if (key.len > SIZE_MAX - head) return NULL;
    struct tracked_key *k = mem_try_alloc(head + key.len);
    if (!k) return NULL;
    *k = (struct tracked_key){.key_len = key.len, .cap = cap};
    if (key.len) memcpy((char *)&k->ids[cap], key.ptr, key.len);
    return k;
}

/* Room for one more client. */
static struct tracked_key *key_grow(struct tracking *t, uint64_t *slot, struct tracked_key *k)
{
    struct tracked_key *more =
        k->cap > UINT32_MAX / 2 ? NULL : key_new(tracked_name(k), k->cap * 2);
    if (!more) return NULL;
    more->count = k->count;
    memcpy(more->ids, k->ids, k->count * sizeof *k->ids);
    t->key_bytes += mem_usable(more);
    t->key_bytes -= mem_usable(k);
    table_slot_replace(slot, more);
    mem_free(k);
    return more;
}

/* False: no memory. */
static bool enter(struct tracking *t, uint64_t hash, struct slice key, uint64_t id)
{
    uint64_t *slot = table_find_slot(t->keys, hash, key);
    struct tracked_key *k;
    if (slot) {
        k = table_slot_entry(slot);
    } else {
        if (!(k = key_new(key, 1))) return false;
        if (table_insert(t->keys, hash, k, 0) < 0) {
            mem_free(k);
            return false;
        }
        t->key_bytes += mem_usable(k);
    }
    uint32_t at = place_of(k, id);
    if (at < k->count && k->ids[at] == id) return true;
    if (k->count == k->cap && !(k = key_grow(t, slot, k))) return false;
    memmove(&k->ids[at + 1], &k->ids[at], (k->count - at) * sizeof *k->ids);
    k->ids[at] = id;
    k->count++;
    t->items++;
    return true;
}

/* How many keys are registered above the limit, by what all shards have published. */
static uint64_t excess(const struct worker *w)
{
    uint64_t total = 0, limit = (uint64_t)w->config->tracking_table_max_keys;
    for (shard_id s = 0; s < w->hub->count; s++)
        total += counter_get(&w->hub->shard_published[s].tracking_keys);
    return limit && total > limit ? total - limit : 0;
}

/* A key that has to go although it has not changed. */
static void evict(struct worker *w, shard_id s)
{
    struct tracking *t = w->hub->tracking[s];
    const struct tracked_key *k = table_random(t->keys, rng_next(&w->rng));
    if (!k) return;
    uint64_t hash = hash_key(tracked_name(k), t->seed);
    tell_key(w, s, NULL, hash, table_find_slot(t->keys, hash, tracked_name(k)));
}

void tracking_remember_key(struct worker *w, const struct exec *x, shard_id s, struct slice key)
{
    struct tracking *t = w->hub->tracking[s];
    uint64_t hash = key.ptr == x->key && key.ptr ? x->hash : hash_key(key, t->seed);
    size_t keys = table_count(t->keys), items = t->items;
    dcheck(worker_holds(w, s));
    if (!enter(t, hash, key, x->client_id)) {
        struct telling tell = {.w = w, .t = t, .key = key};
        const struct tracker *c = find_client(t, x->client_id);
        if (c) tell_client(&tell, c);
        tell_end(&tell, s);
        return;
    }
    if (t->items == items) return;
    publish(w, s);
    if (table_count(t->keys) != keys && unlikely(excess(w))) evict(w, s);
}

void tracking_remember_slow(struct worker *w, const struct exec *x)
{
    const struct command *cmd = x->cmd;
    if (!(cmd->flags & CMD_READONLY) || cmd->flags & CMD_PUBSUB || cmd->acl & ACL_SCRIPTING) return;
    if (cmd->key_first > 0 && cmd->key_first == cmd->key_last && !cmd->keys) {
        shard_id s = hub_shard_of(w->hub, x->argv[cmd->key_first]);
        if (worker_holds(w, s)) tracking_remember_key(w, x, s, x->argv[cmd->key_first]);
        return;
    }
    struct key_ref *refs = mem_alloc((size_t)x->argc * sizeof *refs);
    int count = command_keys(cmd, x->argv, x->argc, refs);
    for (int i = 0; i < count; i++) {
        shard_id s = hub_shard_of(w->hub, x->argv[refs[i].pos]);
        if (worker_holds(w, s)) tracking_remember_key(w, x, s, x->argv[refs[i].pos]);
    }
    mem_free(refs);
}

/* ---- in the background ---- */

/* Each shard evicts down to its share of the limit, and no longer than there is too much in all. */
static bool has_too_many(const struct worker *w)
{
    uint64_t limit = (uint64_t)w->config->tracking_table_max_keys, n = w->hub->count;
    uint64_t own = counter_get(&w->hub->shard_published[w->id].tracking_keys);
    return own > limit / n + (w->id < limit % n) && excess(w);
}

static void free_some(struct tracking *t)
{
    struct doomed_keys *d = CONTAINER_OF(t->doomed.next, struct doomed_keys, link);
    size_t bytes = 0;
    if (table_drain(d->keys, STEP_KEYS, drop_entry, &bytes)) return;
    table_free(d->keys);
    list_remove(&d->link);
    mem_free(d);
}

bool tracking_step(struct worker *w)
{
    const struct shard_published *pub = &w->hub->shard_published[w->id];
    bool over = counter_get(&pub->tracking_keys) && has_too_many(w);
    if (likely(!over && !counter_get(&pub->tracking_doomed))) return false;
    struct tracking *t = w->hub->tracking[w->id];
    worker_hold(w, w->id);
    for (unsigned n = 0; n < STEP_KEYS && has_too_many(w); n++) evict(w, w->id);
    if (!list_empty(&t->doomed)) free_some(t);
    publish(w, w->id);
    return !list_empty(&t->doomed) || has_too_many(w);
}
