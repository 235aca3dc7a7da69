/* Watched keys.
 *
 *   hub.watched[shard]: (db, key) → nodes ──▶ watch_set of a connection ──▶ its nodes by shard
 *
 * A node lies at its key's shard and becomes dirty with the write, by the keyspace's modified hook
 * (changes.c). EXEC looks at the nodes when it
 * holds all their shards, so that nothing can come between the look and the transaction. A key that
 * has expired by then counts as changed; one that was gone or expired when it was watched does not,
 * as long as it stays so.
 *
 * UNWATCH and the end of a connection wait for nobody: shards that are not held get a message, and
 * the set lives until the last has let go.
 * Thread: holder of the shard, except where the face says otherwise. */
#include "watch.h"

#include "changes.h"
#include "conn.h"
#include "splitring/base/check.h"
#include "splitring/base/mem.h"

struct watch_node {
    struct list link; /* in the key's list */
    struct list set_link;
    struct keyed_list *list;
    bool dirty;
    bool absent; /* it did not exist, or had expired, when it was watched */
};

/* ---- the set. Thread: the connection's owner ---- */

struct watch_set *watch_take(struct conn *c, uint32_t mask)
{
    struct hub *hub = c->worker->hub;
    if (!c->watch) {
        c->watch = mem_zalloc(sizeof *c->watch + hub->count * sizeof(struct list));
        c->watch->hub = hub;
        refs_init(&c->watch->refs, 1);
        counter_add(&c->worker->pub->watching, 1);
        for (unsigned s = 0; s < hub->count; s++) list_init(&c->watch->nodes[s]);
    }
    for (uint32_t more = mask & ~c->watch->mask; more; more &= more - 1)
        counter_next_shared(&c->watch->refs);
    c->watch->mask |= mask;
    return c->watch;
}

static void drop(struct watch_set *set)
{
    if (refs_drop_shared(&set->refs)) mem_free(set);
}

static void forget(struct hub *hub, struct watch_set *set, shard_id s)
{
    struct keyed *watched = &hub->watched[s];
    struct list *link;
    while ((link = list_pop_front(&set->nodes[s])) != NULL) {
        struct watch_node *node = CONTAINER_OF(link, struct watch_node, set_link);
        list_remove(&node->link);
        keyed_drop_if_empty(watched, node->list);
        mem_free(node);
    }
    if (watched->count == 0) changes_follow(hub, s);
    drop(set);
}

void watch_end(struct conn *c)
{
    struct watch_set *set = c->watch;
    struct worker *w = c->worker;
    if (!set) return;
    c->watch = NULL;
    counter_sub(&w->pub->watching, 1);
    for (uint32_t m = set->mask; m; m &= m - 1) {
        shard_id s = (shard_id)__builtin_ctz(m);
        if (worker_holds(w, s))
            forget(w->hub, set, s);
        else
            worker_send(w, s, MSG_UNWATCH, set);
    }
    drop(set);
}

void watch_on_forget(struct worker *w, struct watch_set *set) { forget(w->hub, set, w->id); }

/* ---- registering ---- */

static struct ks key_view(struct shard *shard, db_id db, instant_ms now, uint8_t more_flags)
{
    return (struct ks){.shard = shard, .shard_count = 1, .db = db, .now = now,
                       .flags = (uint8_t)(KS_NO_STATS | KS_NO_TOUCH | more_flags)};
}

static bool exists(struct shard *shard, const struct keyed_list *list, instant_ms now)
{
    struct ks ks = key_view(shard, list->db, now, KS_LOGICAL);
    return ks_peek(&ks, slice_of(list->key, list->key_len)) != NULL;
}

struct change {
    struct shard *shard;
    bool all; /* of the database */
};

static void touch_list(void *ctx, struct keyed_list *list)
{
    const struct change *change = ctx;
    bool there = exists(change->shard, list, shard_clock(change->shard));
    for (struct list *l = list->nodes.next; l != &list->nodes; l = l->next) {
        struct watch_node *node = CONTAINER_OF(l, struct watch_node, link);
        /* A key that was not there may be flushed, or finally deleted: nothing has changed. */
        if (there || (!change->all && !node->absent)) node->dirty = true;
    }
}

/* A whole database is told of before it goes, and before and after a swap: keys that are there
 * change. */
void watch_on_modified(struct hub *hub, struct shard *shard, db_id db, struct slice key)
{
    const struct keyed *watched = &hub->watched[shard_id_of(shard)];
    struct change change = {.shard = shard, .all = !key.ptr};
    if (change.all) {
        keyed_each(watched, db, touch_list, &change);
        return;
    }
    struct keyed_list *list = keyed_find(watched, hash_key(key, shard_seed(shard)), db, key);
    if (list) touch_list(&change, list);
}

static bool watches_already(const struct watch_set *set, shard_id s, const struct keyed_list *list)
{
    for (const struct list *l = set->nodes[s].next; l != &set->nodes[s]; l = l->next)
        if (CONTAINER_OF(l, struct watch_node, set_link)->list == list) return true;
    return false;
}

void cmd_watch(struct call *c)
{
    struct watch_set *set = c->watch;
    for (int i = 1; i < c->argc; i++) {
        struct shard *shard = ks_shard_of(&c->ks, c->argv[i]);
        shard_id s = shard_id_of(shard);
        struct keyed *watched = &set->hub->watched[s];
        struct keyed_list *list =
            keyed_take(watched, hash_key(c->argv[i], shard_seed(shard)), c->ks.db, c->argv[i]);
        if (watches_already(set, s, list)) continue;
        struct watch_node *node = mem_zalloc(sizeof *node);
        node->list = list;
        node->absent = !exists(shard, list, c->ks.now);
        list_push_back(&list->nodes, &node->link);
        list_push_back(&set->nodes[s], &node->set_link);
        counter_add_shared(&set->count, 1);
        counter_add_shared(&set->bytes, sizeof *node + sizeof *list + list->key_len);
        changes_follow(set->hub, s);
    }
    reply_ok(&c->reply);
}

/* ---- EXEC ---- */

static bool node_is_dirty(const struct hub *hub, struct watch_node *node, shard_id s,
                          instant_ms now)
{
    if (node->dirty || node->absent) return node->dirty;
    return !exists(hub->shards[s], node->list, now);
}

bool watch_is_dirty(struct worker *w, struct watch_set *set, instant_ms now)
{
    bool dirty = false;
    for (uint32_t m = set ? set->mask : 0; m; m &= m - 1) {
        shard_id s = (shard_id)__builtin_ctz(m);
        check(worker_holds(w, s));
        for (struct list *l = set->nodes[s].next; l != &set->nodes[s]; l = l->next)
            dirty |= node_is_dirty(w->hub, CONTAINER_OF(l, struct watch_node, set_link), s, now);
    }
    return dirty;
}

bool watch_is_free(struct worker *w, const struct watch_set *set)
{
    for (uint32_t m = set ? set->mask : 0; m; m &= m - 1) {
        shard_id s = (shard_id)__builtin_ctz(m);
        const struct locks *locks = w->hub->locks[s];
        if (likely(!locks_active(locks))) continue;
        for (const struct list *l = set->nodes[s].next; l != &set->nodes[s]; l = l->next) {
            const struct keyed_list *list = CONTAINER_OF(l, struct watch_node, set_link)->list;
            if (!locks_key_free(locks, lock_key_id(0, list->hash), LOCK_SHARED)) return false;
        }
    }
    return true;
}

void watch_each(const struct watch_set *set,
                void (*visit)(void *ctx, shard_id s, uint64_t hash), void *ctx)
{
    for (uint32_t m = set ? set->mask : 0; m; m &= m - 1) {
        shard_id s = (shard_id)__builtin_ctz(m);
        for (const struct list *l = set->nodes[s].next; l != &set->nodes[s]; l = l->next) {
            const struct keyed_list *list = CONTAINER_OF(l, struct watch_node, set_link)->list;
            visit(ctx, s, list->hash);
        }
    }
}

unsigned watch_count(const struct watch_set *set)
{
    return set ? (unsigned)counter_get(&set->count) : 0;
}

/* The key's name counts for everybody who watches it: that is what each would take alone. */
size_t watch_memory(const struct watch_set *set)
{
    if (!set) return 0;
    return sizeof *set + set->hub->count * sizeof(struct list) + counter_get(&set->bytes);
}
