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

#include "acl.h"
#include "block_impl.h"
#include "conn.h"
#include "splitring/base/check.h"
#include "splitring/base/mem.h"
#include "splitring/cmd/block_args.h"

void waiting_init(struct waiting *waiting)
{
    keyed_init(&waiting->keys);
    list_init(&waiting->ready);
    list_init(&waiting->aside);
    waiting->nokey = 0;
}

void waiting_deinit(struct waiting *waiting) { keyed_deinit(&waiting->keys); }

bool waiting_empty(const struct waiting *waiting) { return waiting->keys.count == 0; }

static void mark_ready(void *ctx, struct keyed_list *list)
{
    struct waiting *waiting = ctx;
    if (list_empty(&list->mark)) list_push_back(&waiting->ready, &list->mark);
}

void waiting_on_ready(void *ctx, struct shard *shard, db_id db, struct slice key)
{
    struct waiting *waiting = ctx;
    if (!key.ptr) {
        keyed_each(&waiting->keys, db, mark_ready, waiting);
        return;
    }
    struct keyed_list *list =
        keyed_find(&waiting->keys, hash_key(key, shard_seed(shard)), db, key);
    if (list) mark_ready(waiting, list);
}

void block_mark(struct worker *w, shard_id s, db_id db, struct slice key)
{
    waiting_on_ready(&w->hub->waiting[s], w->hub->shards[s], db, key);
}

void block_aside(struct worker *w, shard_id s, bool aside)
{
    struct waiting *waiting = &w->hub->waiting[s];
    struct list *from = aside ? &waiting->ready : &waiting->aside, *link;
    struct list *to = aside ? &waiting->aside : &waiting->ready;
    while ((link = list_pop_front(from)) != NULL) list_push_back(to, link);
}

/* ---- registering ---- */

static bool waits_twice(const struct waiter *v, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (v->nodes[i].shard == v->nodes[n].shard && v->nodes[i].key == v->nodes[n].key)
            return true;
    return false;
}

/* XREADGROUP is told whatever happens to its stream. */
static bool told_of_end(const struct command *cmd)
{
    return cmd->acl & ACL_STREAM && cmd->flags & CMD_WRITE;
}

void block_register(struct worker *w, struct waiter *v, shard_id s)
{
    struct txn *t = v->txn;
    struct waiting *waiting = &w->hub->waiting[s];
    check(worker_holds(w, s));
    for (unsigned i = 0; i < v->node_count; i++) {
        struct waiter_node *node = &v->nodes[i];
        struct slice key = t->argv[node->pos];
        if (node->shard != s) continue;
        node->key = keyed_take(&waiting->keys, hash_key(key, w->hub->seed), t->x.db, key);
        if (waits_twice(v, i)) {
            node->key = NULL;
            continue;
        }
        list_push_back(&node->key->nodes, &node->link);
        if (told_of_end(t->x.cmd) && node->key->nokey++ == 0) waiting->nokey++;
    }
    shard_add_waiters(w->hub->shards[s], 1);
}

/* Not in any queue of this shard any more. */
static void unregister(struct worker *w, struct waiter *v, shard_id s)
{
    for (unsigned i = 0; i < v->node_count; i++) {
        struct waiter_node *node = &v->nodes[i];
        if (node->shard != s || !node->key) continue;
        list_remove(&node->link);
        if (told_of_end(v->txn->x.cmd) && --node->key->nokey == 0) w->hub->waiting[s].nokey--;
        keyed_drop_if_empty(&w->hub->waiting[s].keys, node->key);
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

/* Whether it makes sense to try: the key has what this command takes. */
static bool may_serve(struct worker *w, const struct txn *t, shard_id s, struct slice key)
{
    struct ks ks = {.shard = w->hub->shards[s], .shard_count = 1, .now = w->now, .db = t->x.db,
                    .flags = KS_NO_STATS | KS_NO_TOUCH | KS_LOGICAL};
    const struct entry *e = ks_peek(&ks, key);
    enum value_type type = t->x.cmd->acl & ACL_STREAM      ? TYPE_STREAM
                           : t->x.cmd->acl & ACL_SORTEDSET ? TYPE_ZSET
                                                           : TYPE_LIST;
    if (e && entry_type(e) == type) return true;
    return told_of_end(t->x.cmd);
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
    if (unlikely(t->acl_generation != acl_generation(w->hub))) return WOKEN; /* to be judged */
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
    x.part_ns = &v->ran_ns; /* judged at its end, with the arguments as they came */
    exec_waiter(w, &x, view);
    block_args_deinit(&args);
    buf_deinit(&again.args);
    mem_free(again.replaced);
    if (!again.wanted) return SERVED;
    /* Its worker has to know the earlier time: it runs there once more, and waits again. */
    bool sooner = again.retry_at && (!v->retry_at || again.retry_at < v->retry_at);
    return sooner ? WOKEN : NOTHING;
}

/* False: the rest of this queue has to wait for what this one does (it will take the element). */
static bool serve_node(struct worker *w, struct waiter_node *node, shard_id s)
{
    struct waiter *v = node->waiter;
    if (!may_serve(w, v->txn, s, v->txn->argv[node->pos])) return true;
    bool won = claim_try_shared(&v->state, WAITER_WAITING, WAITER_CLAIMED);
    if (!won && !(w->hub->faults & FAULT_NO_CLAIM)) return true;
    bool move = v->txn->x.cmd->split == SPLIT_MOVE;
    switch (serve(w, v, node->pos, s)) {
    case SERVED: tell_home(w, v, s, MSG_WAITER_SERVED); return true;
    case WOKEN: tell_home(w, v, s, MSG_WAITER_WOKEN); return !move;
    case NOTHING: break;
    }
    if (!claim_try_shared(&v->state, WAITER_CLAIMED, WAITER_WAITING))
        tell_home(w, v, s, MSG_WAITER_LEFT);
    return true;
}

static void serve_key(struct worker *w, struct keyed_list *k, shard_id s)
{
    bool go_on = true;
    k->busy = true;
    for (struct list *l = k->nodes.next, *next; go_on && l != &k->nodes; l = next) {
        next = l->next;
        go_on = serve_node(w, CONTAINER_OF(l, struct waiter_node, link), s);
    }
    k->busy = false;
    keyed_drop_if_empty(&w->hub->waiting[s].keys, k);
}

/* A command of EXEC has made keys ready: they come after those of the commands before it. */
static void note_turns(struct worker *w)
{
    for (uint32_t m = w->held; m; m &= m - 1) {
        struct list *ready = &w->hub->waiting[__builtin_ctz(m)].ready, *l = ready->prev;
        while (l != ready && !CONTAINER_OF(l, struct keyed_list, mark)->turn) l = l->prev;
        for (l = l->next; l != ready; l = l->next)
            CONTAINER_OF(l, struct keyed_list, mark)->turn = ++w->ready_turns;
    }
}

/* Of all held shards, the key that became ready first. A client that waits for several keys gets
 * the one Redis would give it. */
static struct keyed_list *take_ready(struct worker *w, shard_id *shard)
{
    struct keyed_list *first = NULL;
    for (uint32_t m = w->held; m; m &= m - 1) {
        shard_id s = (shard_id)__builtin_ctz(m);
        struct list *ready = &w->hub->waiting[s].ready;
        if (list_empty(ready)) continue;
        struct keyed_list *k = CONTAINER_OF(ready->next, struct keyed_list, mark);
        if (first && k->turn - 1 >= first->turn - 1) continue; /* 0 is the last of all */
        first = k;
        *shard = s;
    }
    if (!first) return NULL;
    list_remove(&first->mark);
    first->turn = 0;
    return first;
}

void block_serve_slow(struct worker *w)
{
    struct keyed_list *k;
    shard_id s = 0;
    if (w->serve_later) {
        note_turns(w);
        return;
    }
    while ((k = take_ready(w, &s)) != NULL) serve_key(w, k, s); /* a move may make more ready */
}
