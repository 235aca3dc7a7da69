/* A worker's beginning and end, and connections changing hands.
 *
 * Stopping: no new connections, replies that are ready go out, then sockets are closed; the worker
 * has stopped when the kernel has let go of all of them and nothing is in flight.
 * Thread: the worker's own. */
#include <errno.h>

#include "acl.h"
#include "conn.h"
#include "defer.h"
#include "events.h"
#include "group.h"
#include "journal.h"
#include "meter.h"
#include "pubsub.h"
#include "script.h"
#include "snapshot.h"
#include "splitring/base/check.h"
#include "splitring/base/mem.h"
#include "splitring/io/net.h"
#include "splitring/io/tls.h"
#include "tracking.h"

static bool sink_locked(void *ctx, struct shard *shard, db_id db, struct slice key, uint64_t hash)
{
    struct hub *hub = ctx;
    const struct locks *locks = hub->locks[shard_id_of(shard)];
    (void)db;
    (void)key;
    return locks_active(locks) && !locks_key_free(locks, lock_key_id(0, hash), LOCK_EXCLUSIVE);
}

struct expire_sink worker_expire_sink(struct hub *hub)
{
    return (struct expire_sink){.expired = journal_expired,
                                .field_expired = journal_field_expired,
                                .evicted = journal_expired,
                                .locked = sink_locked, .ctx = hub};
}

static void lists_init(struct worker *w)
{
    list_init(&w->conns);
    list_init(&w->ready);
    list_init(&w->stalled);
    list_init(&w->deferred);
    list_init(&w->dirty);
    list_init(&w->paused);
    list_init(&w->local_hops);
    list_init(&w->local_answers);
    list_init(&w->local_releases);
    list_init(&w->aways);
    list_init(&w->possess);
    list_init(&w->monitors);
    list_init(&w->stills);
    list_init(&w->script_jobs);
    list_init(&w->script_waits);
    list_init(&w->holding);
    list_init(&w->log_waits);
    client_memory_init(&w->client_memory);
}

void worker_config_changed(struct worker *w)
{
    const struct config *c = w->config;
    meter_config(w);
    budget_config(w);
    client_memory_config(w);
    w->env = (struct env){
        .proto_max_bulk_len = c->proto_max_bulk_len,
        .databases = (uint32_t)c->databases,
        .lazyfree_user_del = c->lazyfree_user_del,
        .lazyfree_user_flush = c->lazyfree_user_flush,
        .shard_count = w->hub->count,
        .loading = w->env.loading,
        .names = w->hub->names,
        .hash_max_listpack_entries = (uint64_t)c->hash_max_listpack_entries,
        .hash_max_listpack_value = (uint64_t)c->hash_max_listpack_value,
        .set_max_intset_entries = (uint64_t)c->set_max_intset_entries,
        .set_max_listpack_entries = (uint64_t)c->set_max_listpack_entries,
        .set_max_listpack_value = (uint64_t)c->set_max_listpack_value,
        .zset_max_listpack_entries = (uint64_t)c->zset_max_listpack_entries,
        .zset_max_listpack_value = (uint64_t)c->zset_max_listpack_value,
        .list_max_listpack_size = c->list_max_listpack_size,
        .list_compress_depth = (uint64_t)c->list_compress_depth,
        .hll_sparse_max_bytes = (uint64_t)c->hll_sparse_max_bytes,
        .stream_node_max_bytes = (uint64_t)c->stream_node_max_bytes,
        .stream_node_max_entries = (uint64_t)c->stream_node_max_entries,
    };
}

struct worker *worker_new(struct hub *hub, worker_id id, struct io *io)
{
    struct worker *w = mem_alloc_aligned(sizeof *w, CACHE_LINE);
    memset(w, 0, sizeof *w);
    w->hub = hub;
    w->io = io;
    w->id = id;
    w->shard = hub->shards[id];
    w->locks = hub->locks[id];
    w->holder = &hub->holders[id];
    w->pub = &hub->published[id];
    w->snapshot_running = &hub->snapshots->shares[id].running;
    w->held = 1u << id; /* holder_init: HELD */
    w->config = mem_alloc(sizeof *w->config);
    config_clone(w->config, hub->config_start);
    meter_init(w);
    lists_init(w);
    worker_config_changed(w);
    rng_seed(&w->rng, hub->seed + id * 0x9E3779B97F4A7C15u);
    w->expire_sink = worker_expire_sink(hub);
    w->active_expire = true;
    w->hold_spins = HOLD_SPINS_MAX;
    w->defer_budget = hub->lend_percent < 100 ? 1 : DEFER_BUDGET;
    struct shard_options scratch = {.id = id, .databases = hub->databases, .seed = hub->seed};
    w->scratch = shard_new(&scratch);
    w->group = group_new();
    w->pushes = pushes_new(hub->count);
    w->pubsub = pubsub_new(w);
    w->tracking = tracking_home_new(w);
    parse_pool_init(&w->parse_pool);
    acl_refresh_slow(w, NULL);
    w->touched_dbs = DBS_ALL;
    worker_publish_shard(w, id);
    events_config(w);
    if (counter_get_acquire_shared(&hub->persist.loading)) load_begin(w);
    hub->workers[id] = w;
    return w;
}

void worker_free(struct worker *w)
{
    while (w->spare_count) buf_deinit(&w->spare_bufs[--w->spare_count]);
    scripts_free(w);
    group_free(w->group);
    pubsub_free(w->pubsub);
    meter_deinit(w);
    tracking_home_free(w->tracking);
    pushes_free(w->pushes);
    parse_pool_deinit(&w->parse_pool);
    shard_free(w->scratch);
    load_free(w->loader);
    tls_context_free(w->tls);
    acl_free(w);
    config_deinit(w->config);
    mem_free(w->config);
    mem_free(w->deadlines);
    effects_deinit(&w->effects);
    mem_free(w);
}

int worker_listen(struct worker *w, int fd, enum listen_kind kind)
{
    if (w->listener_count == ARRAY_COUNT(w->listeners)) return -ENOSPC;
    struct io_sock *listener = &w->listeners[w->listener_count];
    w->listener_kinds[w->listener_count++] = kind;
    return io_listen(w->io, listener, fd, listener);
}

void *worker_listener(struct worker *w, unsigned n)
{
    return &w->listeners[n];
}

uint32_t worker_held(const struct worker *w)
{
    return w->held;
}

enum listen_kind worker_listener_kind(const struct worker *w, const void *owner)
{
    const struct io_sock *listener = owner;
    return w->listener_kinds[listener - w->listeners];
}

/* Replies that were made still go out; who does not read them is waited for a little only. */
static void close_what_may_go(struct worker *w)
{
    bool patient = w->mono_us - w->stop_since_us < STOP_GRACE_US;
    LIST_FOREACH_SAFE(link, next, &w->conns) {
        struct conn *c = CONTAINER_OF(link, struct conn, link);
        bool busy = c->flags & CONN_WAITING && !(c->flags & CONN_BLOCKED);
        bool unsent = c->out.len != 0 && (patient || !(c->flags & CONN_WANT_WRITE));
        if (!busy && !unsent) conn_close(c);
    }
}

/* A worker that has nothing left still serves the others until they too have nothing left: their
 * transactions, releases and sockets may be on their way to it. */
bool worker_stop_step(struct worker *w)
{
    struct hub *hub = w->hub;
    if (!w->stopping) {
        w->stopping = true;
        w->stop_since_us = w->mono_us;
        for (unsigned i = 0; i < w->listener_count; i++) io_detach(w->io, &w->listeners[i]);
        w->stop_listeners = w->listener_count;
    }
    close_what_may_go(w);
    if (!w->drained) {
        if (w->conn_count || w->stop_listeners || counter_get_acquire_shared(&hub->clients) ||
            !worker_idle(w))
            return false;
        w->drained = true;
        counter_next_shared(&hub->drained);
    }
    /* Seen by all: everything was published before, so this pass' drain was the last. */
    if (!w->drain_last) {
        w->drain_last = counter_get_acquire_shared(&hub->drained) == hub->count;
        return false;
    }
    if (!worker_idle(w) || counter_get_acquire_shared(&hub->waking)) return false;
    w->stopped = true;
    worker_unhold_all(w);
    return true;
}
