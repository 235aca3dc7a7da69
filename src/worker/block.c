/* Blocking commands, from the key's side.
 *
 *   waiting[shard]: (db, key) → FIFO of nodes ──▶ waiter ──▶ txn: the command, its client
 *
 *   WAITING ──claim──▶ CLAIMED ──served──▶ the reply goes to the client's worker
 *      │ ▲               │ └── found nothing after all ──▶ WAITING, or LEFT if the client left
 *      │ └───────────────┘          (LEAVING)
 *      └─ timeout, UNBLOCK, close ──▶ GONE
 *
 * A unit that makes a key ready (the keyspace's ready hook says so) serves its waiters as its last
 * act, before any other unit can see the key: in the order in which they came to this key, the keys
 * in the order in which they became ready. Serving is the waiter's own command once more, cut down
 * to that one key, on the shard that is held anyway. Who pops for a waiter claims it first: of
 * several shards, a timeout, and the death of the client exactly one wins, and a loser has touched
 * nothing. A claim that won is a pop that happened, as in Redis, even if the client dies before the
 * reply.
 *
 * A command that also needs another key (BLMOVE) is served at once if that key's shard can be had
 * and nobody has locked it. Else it is woken: it leaves the queue and runs as an ordinary
 * transaction from its worker; if the element has gone by then, it registers again. Every release
 * of a key's lock serves that key's waiters first, so who was woken and takes one element, or
 * leaves, passes the wake on.
 *
 * A waiter belongs to one registration; a second one makes a new waiter. It lives until its worker
 * and every shard where it was registered have let go of it (refs).
 *
 * Why not as Redis, which blocks on keys in one table and re-executes the command later? There is
 * no "later" between shards: between push and pop another worker's command would see the element.
 * Thread: holder of the shard. */
#include "block.h"

#include "block_impl.h"
#include "conn.h"
#include "splitring/base/check.h"
#include "splitring/base/mem.h"
#include "splitring/cmd/block_args.h"

#define BUCKETS_MIN 64u

struct waiting_key {
    struct list fifo;
    struct list ready_link;
    struct waiting_key *next;
    uint64_t hash;
    db_id db;
    bool busy; /* its FIFO is being walked */
    size_t key_len;
    char key[];
};

/* ---- keys that somebody waits for ---- */

void waiting_init(struct waiting *waiting)
{
    waiting->bucket_count = BUCKETS_MIN;
    waiting->count = 0;
    waiting->buckets = mem_zalloc(BUCKETS_MIN * sizeof(struct waiting_key *));
    list_init(&waiting->ready);
}

void waiting_deinit(struct waiting *waiting)
{
    check(waiting->count == 0);
    mem_free(waiting->buckets);
}

bool waiting_empty(const struct waiting *waiting) { return waiting->count == 0; }

static struct waiting_key **key_place(const struct waiting *waiting, uint64_t hash, db_id db,
                                      struct slice key)
{
    struct waiting_key **at = &waiting->buckets[hash & (waiting->bucket_count - 1)];
    while (*at && !((*at)->hash == hash && (*at)->db == db &&
                    slice_equal(slice_of((*at)->key, (*at)->key_len), key)))
        at = &(*at)->next;
    return at;
}

static void resize(struct waiting *waiting, uint32_t bucket_count)
{
    struct waiting_key **old = waiting->buckets;
    uint32_t old_count = waiting->bucket_count;
    waiting->buckets = mem_zalloc(bucket_count * sizeof *waiting->buckets);
    waiting->bucket_count = bucket_count;
    for (uint32_t i = 0; i < old_count; i++)
        for (struct waiting_key *k = old[i], *next; k; k = next) {
            struct waiting_key **at = &waiting->buckets[k->hash & (bucket_count - 1)];
            next = k->next;
            k->next = *at;
            *at = k;
        }
    mem_free(old);
}

static struct waiting_key *key_take(struct waiting *waiting, uint64_t hash, db_id db,
                                    struct slice key)
{
    struct waiting_key **at = key_place(waiting, hash, db, key);
    if (*at) return *at;
    struct waiting_key *k = mem_alloc(sizeof *k + key.len);
    *k = (struct waiting_key){.hash = hash, .db = db, .key_len = key.len};
    if (key.len) memcpy(k->key, key.ptr, key.len);
    list_init(&k->fifo);
    list_init(&k->ready_link);
    *at = k;
    if (++waiting->count > waiting->bucket_count) resize(waiting, waiting->bucket_count * 2);
    return k;
}

static void key_drop_if_empty(struct waiting *waiting, struct waiting_key *k)
{
    if (k->busy || !list_empty(&k->fifo)) return;
    struct waiting_key **at =
        key_place(waiting, k->hash, k->db, slice_of(k->key, k->key_len));
    *at = k->next;
    list_remove(&k->ready_link);
    mem_free(k);
    waiting->count--;
    if (waiting->count == 0 && waiting->bucket_count > BUCKETS_MIN) resize(waiting, BUCKETS_MIN);
}

static void key_ready(struct waiting *waiting, struct waiting_key *k)
{
    if (list_empty(&k->ready_link)) list_push_back(&waiting->ready, &k->ready_link);
}

void waiting_on_ready(void *ctx, struct shard *shard, db_id db, struct slice key)
{
    struct waiting *waiting = ctx;
    if (key.ptr) {
        struct waiting_key *k = *key_place(waiting, hash_key(key, shard_seed(shard)), db, key);
        if (k) key_ready(waiting, k);
        return;
    }
    for (uint32_t i = 0; i < waiting->bucket_count; i++)
        for (struct waiting_key *k = waiting->buckets[i]; k; k = k->next)
            if (k->db == db) key_ready(waiting, k);
}

void block_mark(struct worker *w, shard_id s, db_id db, struct slice key)
{
    waiting_on_ready(&w->hub->waiting[s], w->hub->shards[s], db, key);
}

/* ---- registering ---- */

static bool waits_twice(const struct waiter *v, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (v->nodes[i].key == v->nodes[n].key) return true;
    return false;
}

void block_register(struct worker *w, struct waiter *v, shard_id s)
{
    struct txn *t = v->txn;
    struct waiting *waiting = &w->hub->waiting[s];
    check(worker_holds(w, s));
    for (unsigned i = 0; i < v->node_count; i++) {
        struct waiter_node *node = &v->nodes[i];
        struct slice key = t->argv[node->pos];
        if (hub_shard_of(w->hub, key) != s) continue;
        node->key = key_take(waiting, hash_key(key, w->hub->seed), t->x.db, key);
        if (waits_twice(v, i)) node->key = NULL;
        else list_push_back(&node->key->fifo, &node->link);
    }
    shard_add_waiters(w->hub->shards[s], 1);
}

/* Not in any queue of this shard any more. */
static void unregister(struct worker *w, struct waiter *v, shard_id s)
{
    for (unsigned i = 0; i < v->node_count; i++) {
        struct waiter_node *node = &v->nodes[i];
        if (!node->key || hub_shard_of(w->hub, v->txn->argv[node->pos]) != s) continue;
        list_remove(&node->link);
        key_drop_if_empty(&w->hub->waiting[s], node->key);
        node->key = NULL;
    }
    shard_add_waiters(w->hub->shards[s], -1);
}

void block_on_forget(struct worker *w, struct waiter *v)
{
    unregister(w, v, w->id);
    waiter_drop(v);
}

/* ---- serving ---- */

/* Whether it makes sense to try: the key has what this command takes. XREADGROUP is told whatever
 * happens to its stream. */
static bool may_serve(struct worker *w, const struct txn *t, shard_id s, struct slice key)
{
    struct ks ks = {.shard = w->hub->shards[s], .shard_count = 1, .now = w->now, .db = t->x.db,
                    .flags = KS_NO_STATS | KS_NO_TOUCH | KS_LOGICAL};
    const struct entry *e = ks_peek(&ks, key);
    enum value_type type = t->x.cmd->acl & ACL_STREAM      ? TYPE_STREAM
                           : t->x.cmd->acl & ACL_SORTEDSET ? TYPE_ZSET
                                                           : TYPE_LIST;
    if (e && entry_type(e) == type) return true;
    return type == TYPE_STREAM && t->x.cmd->flags & CMD_WRITE;
}

static bool key_free(struct worker *w, shard_id s, struct slice key)
{
    const struct locks *locks = w->hub->locks[s];
    if (likely(!locks_active(locks))) return true;
    return locks_key_free(locks, lock_key_id(0, hash_key(key, w->hub->seed)), LOCK_EXCLUSIVE);
}

/* The other key of a move can be written right now; *view is what the handler then sees. */
static bool other_key_at_hand(struct worker *w, const struct txn *t, shard_id s, int *view)
{
    struct slice other = t->argv[t->refs[1].pos];
    shard_id at = hub_shard_of(w->hub, other);
    *view = s;
    if (at != s) {
        bool lent = at == w->id || w->hub->lending;
        if (!worker_holds(w, at) && !(lent && worker_hold_try(w, at))) return false;
        *view = -1;
    }
    return key_free(w, at, other);
}

/* The waiter has won, or has been told to go and get it: its worker is told. */
static void tell_home(struct worker *w, struct waiter *v, shard_id s, uint32_t kind)
{
    struct worker *home = v->txn->home;
    if (kind != MSG_WAITER_LEFT) {
        v->served_shard = s;
        unregister(w, v, s);
        waiter_drop(v); /* the shard's part of it */
    }
    if (home != w)
        worker_send(w, home->id, kind, v);
    else if (kind == MSG_WAITER_SERVED)
        block_on_served(w, v);
    else
        worker_send(w, w->id, kind, v);
}

enum outcome { SERVED, NOTHING, WOKEN };

/* Runs the claimed waiter's command on the key that is ready. */
static enum outcome serve(struct worker *w, struct waiter *v, int pos, shard_id s)
{
    struct txn *t = v->txn;
    int view = s;
    if (t->x.cmd->split == SPLIT_MOVE && !other_key_at_hand(w, t, s, &view)) return WOKEN;
    struct block_args args;
    block_args_init(&args, t->x.cmd, t->argv, t->x.argc, pos);
    struct call_block again = {0};
    struct exec x = t->x;
    x.argv = args.argv;
    x.argc = args.argc;
    x.args = NULL;
    x.key = NULL;
    x.hint = NULL;
    x.now = w->now;
    x.out = &v->reply;
    x.block = &again;
    exec_waiter(w, &x, view);
    block_args_deinit(&args);
    buf_deinit(&again.args);
    mem_free(again.replaced);
    return again.wanted ? NOTHING : SERVED;
}

/* False: the rest of this queue has to wait for what this one does. */
static bool serve_node(struct worker *w, struct waiter_node *node, shard_id s)
{
    struct waiter *v = node->waiter;
    if (!may_serve(w, v->txn, s, v->txn->argv[node->pos])) return true;
    if (!claim_try_shared(&v->state, WAITER_WAITING, WAITER_CLAIMED)) return true;
    switch (serve(w, v, node->pos, s)) {
    case SERVED: tell_home(w, v, s, MSG_WAITER_SERVED); return true;
    case WOKEN: tell_home(w, v, s, MSG_WAITER_WOKEN); return false;
    case NOTHING: break;
    }
    if (!claim_try_shared(&v->state, WAITER_CLAIMED, WAITER_WAITING))
        tell_home(w, v, s, MSG_WAITER_LEFT);
    return true;
}

static void serve_key(struct worker *w, struct waiting_key *k, shard_id s)
{
    bool go_on = true;
    k->busy = true;
    for (struct list *l = k->fifo.next, *next; go_on && l != &k->fifo; l = next) {
        next = l->next;
        go_on = serve_node(w, CONTAINER_OF(l, struct waiter_node, link), s);
    }
    k->busy = false;
    key_drop_if_empty(&w->hub->waiting[s], k);
}

void block_serve_slow(struct worker *w)
{
    for (uint32_t m = w->held; m;) {
        shard_id s = (shard_id)__builtin_ctz(m);
        struct list *link = list_pop_front(&w->hub->waiting[s].ready);
        if (!link) {
            m &= m - 1;
            continue;
        }
        serve_key(w, CONTAINER_OF(link, struct waiting_key, ready_link), s);
        m = w->held; /* a move may have made keys of any of them ready */
    }
}
