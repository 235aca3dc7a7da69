/* What all workers share: built before the first starts, freed after the last has gone.
 *
 * Two kinds of fields: what never changes after start (the shards, the map of slots, the mailboxes'
 * places), and words made for sharing (holders, sleep flags, published counters), each kind of
 * writer on cache lines of its own. There is no other state between workers.
 * Thread: main, except hub_stop_shared / hub_stopping_shared (any). */
#include <stdlib.h>

#include "acl.h"
#include "batch.h"
#include "block.h"
#include "functions.h"
#include "internal.h"
#include "journal.h"
#include "meter.h"
#include "script.h"
#include "snapshot.h"
#include "topics.h"
#include "tracking.h"
#include "splitring/base/check.h"
#include "splitring/base/mem.h"
#include "splitring/io/os.h"

/* An owner waits for its shard: some microseconds until its borrower gives it back. Where that
 * takes longer the borrower has been descheduled. Yielding helps only if it is on this CPU, and a
 * loop of yields cost a fifth of two busy workers' time (50 connections, 64 deep): it sleeps. */
static void pause_default(unsigned spins)
{
    if (spins < 200)
        __builtin_ia32_pause();
    else if (spins < 216)
        os_yield();
    else
        os_sleep_us(30);
}

static void published_init(struct hub *hub)
{
    hub->published = mem_alloc_aligned(hub->count * sizeof *hub->published, CACHE_LINE);
    size_t shards_len = hub->count * sizeof *hub->shard_published;
    hub->shard_published = mem_alloc_aligned(shards_len, CACHE_LINE);
    memset((void *)hub->shard_published, 0, shards_len);
    memset((void *)hub->published, 0, hub->count * sizeof *hub->published);
    for (unsigned i = 0; i < hub->count; i++) {
        struct worker_published *p = &hub->published[i];
        p->calls = mem_zalloc(command_count() * sizeof(counter));
        p->calls_failed = mem_zalloc(command_count() * sizeof(counter));
        p->calls_rejected = mem_zalloc(command_count() * sizeof(counter));
        p->nsec = mem_zalloc(command_count() * sizeof(counter));
        for (unsigned kind = 0; kind < ARRAY_COUNT(p->hists); kind++)
            p->hists[kind] = mem_zalloc(command_count() * sizeof(counter));
        hub->shard_published[i].keys = mem_zalloc(hub->databases * sizeof(counter));
        hub->shard_published[i].expires = mem_zalloc(hub->databases * sizeof(counter));
        hub->shard_published[i].table_bytes = mem_zalloc(hub->databases * sizeof(counter));
        hub->shard_published[i].expiry_avg = mem_zalloc(hub->databases * sizeof(counter));
    }
}

static void shards_init(struct hub *hub, const struct hub_options *options)
{
    uint32_t n = hub->count;
    const struct config *config = options->config;
    hub->shards = mem_zalloc(n * sizeof *hub->shards);
    hub->topics = mem_zalloc(n * sizeof(struct topics *));
    hub->tracking = mem_zalloc(n * sizeof(struct tracking *));
    hub->locks = mem_zalloc(n * sizeof(struct locks *));
    hub->watched = mem_zalloc(n * sizeof *hub->watched);
    hub->waiting = mem_alloc_aligned(n * sizeof *hub->waiting, CACHE_LINE);
    hub->active = mem_alloc_aligned(n * sizeof *hub->active, CACHE_LINE);
    hub->holders = mem_alloc_aligned(n * sizeof *hub->holders, CACHE_LINE);
    for (shard_id s = 0; s < n; s++) {
        struct shard_options shard = {
            .id = s, .databases = hub->databases, .seed = hub->seed,
            .lfu_log_factor = (uint32_t)config->lfu_log_factor,
            .lfu_decay_time = (uint32_t)config->lfu_decay_time_min,
            .lfu = config->maxmemory_policy == CONFIG_POLICY_ALLKEYS_LFU ||
                   config->maxmemory_policy == CONFIG_POLICY_VOLATILE_LFU,
        };
        hub->shards[s] = shard_new(&shard);
        hub->locks[s] = locks_new();
        locks_set_faults(hub->locks[s], options->faults >> FAULT_LOCKS_SHIFT);
        list_init(&hub->active[s].parts);
        counter_set(&hub->active[s].count, 0);
        waiting_init(&hub->waiting[s]);
        keyed_init(&hub->watched[s]);
        shard_set_ready_hook(hub->shards[s], waiting_on_ready, &hub->waiting[s]);
        holder_init(&hub->holders[s]);
        hub->holders[s].by = s;
        hub->topics[s] = topics_new(n, hub->seed);
        hub->tracking[s] = tracking_new(hub->seed);
    }
    hub->shard_of_slot = mem_alloc(SLOT_COUNT * sizeof *hub->shard_of_slot);
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++)
        hub->shard_of_slot[slot] = (shard_id)(slot * n / SLOT_COUNT);
}

static void pushes_init(struct hub *hub, uint32_t mailbox_cap)
{
    uint32_t n = hub->count;
    hub->push_mail = mem_alloc_aligned((size_t)n * n * sizeof *hub->push_mail, CACHE_LINE);
    hub->push_late = mem_alloc((size_t)n * n * sizeof *hub->push_late);
    hub->push_open = mem_alloc_aligned(n * sizeof *hub->push_open, CACHE_LINE);
    for (uint32_t i = 0; i < n * n; i++) {
        mailbox_init(&hub->push_mail[i], mailbox_cap);
        counter_set(&hub->push_late[i], UINT64_MAX);
    }
    for (uint32_t i = 0; i < n; i++) {
        counter_set(&hub->push_open[i].ticket, UINT64_MAX);
        counter_set(&hub->push_open[i].done_bytes, 0);
    }
}

struct hub *hub_new(const struct hub_options *options)
{
    check(options->workers >= 1 && options->workers <= SHARDS_MAX);
    struct hub *hub = mem_zalloc(sizeof *hub);
    uint32_t n = hub->count = options->workers;
    hub->lending = options->lending;
    hub->faults = options->faults;
    hub->preempt = options->preempt;
    hub->preempt_ctx = options->preempt_ctx;
    hub->lend_percent = options->lend_percent ? options->lend_percent : 100;
    hub->seed = options->seed;
    hub->start_ms = options->start_ms;
    hub->tick_scale = options->tick_scale;
    hub->memory_total = options->memory_total;
    hub->pause = options->pause ? options->pause : pause_default;
    hub->databases = (uint32_t)options->config->databases;
    counter_set(&hub->persist.last_save_s, (uint64_t)(options->start_ms / 1000));
    hub->config_start = mem_alloc(sizeof *hub->config_start);
    config_clone(hub->config_start, options->config);
    const struct config_words *renamed = &hub->config_start->rename_command;
    size_t bad;
    const char *why = command_names_new(&hub->names, renamed->words, renamed->count, &bad);
    check(why == NULL); /* main has looked at it */
    shards_init(hub, options);
    published_init(hub);
    hub->mail = mem_alloc_aligned((size_t)n * n * sizeof *hub->mail, CACHE_LINE);
    for (uint32_t i = 0; i < n * n; i++) mailbox_init(&hub->mail[i], options->mailbox_cap);
    pushes_init(hub, options->mailbox_cap);
    persister_init(&hub->persister, hub);
    hub->journal = journal_new(n);
    hub->shard_tickets = mem_alloc_aligned(n * sizeof *hub->shard_tickets, CACHE_LINE);
    memset(hub->shard_tickets, 0, n * sizeof *hub->shard_tickets);
    hub->snapshots = snapshots_new(hub);
    counter_set(&hub->persist.bgsave_last_s, (uint64_t)-1);
    hub->scripts = script_store_new();
    hub->functions = function_store_new();
    hub->acl = acl_store_new(options->config);
    hub->workers = mem_zalloc(n * sizeof(struct worker *));
    hub->sleeping = mem_alloc_aligned((size_t)n * CACHE_LINE, CACHE_LINE);
    memset((void *)hub->sleeping, 0, (size_t)n * CACHE_LINE);
    struct rng rng;
    rng_seed(&rng, options->seed ^ (uint64_t)options->start_ms);
    for (unsigned i = 0; i < 40; i++)
        hub->run_id[i] = "0123456789abcdef"[rng_below(&rng, 16)];
    return hub;
}

void hub_free(struct hub *hub)
{
    snapshots_free(hub->snapshots);
    persister_deinit(&hub->persister);
    load_log_free(hub->persist.plan);
    load_set_free(hub->persist.set);
    script_store_free(hub->scripts);
    function_store_free(hub->functions);
    acl_store_free(hub->acl);
    for (unsigned i = 0; i < hub->count; i++) {
        mem_free(hub->published[i].calls);
        mem_free(hub->published[i].calls_failed);
        mem_free(hub->published[i].calls_rejected);
        mem_free(hub->published[i].nsec);
        meter_free_published(&hub->published[i]);
        mem_free(hub->shard_published[i].keys);
        mem_free(hub->shard_published[i].expires);
        mem_free(hub->shard_published[i].expiry_avg);
        mem_free(hub->shard_published[i].table_bytes);
        shard_free(hub->shards[i]);
        locks_free(hub->locks[i]);
        waiting_deinit(&hub->waiting[i]);
        topics_free(hub->topics[i]);
        tracking_free(hub->tracking[i]);
        keyed_deinit(&hub->watched[i]);
    }
    for (uint32_t i = 0; i < hub->count * hub->count; i++) {
        mailbox_deinit(&hub->mail[i]);
        mailbox_deinit(&hub->push_mail[i]);
    }
    journal_free(hub->journal, hub->count);
    mem_free(hub->shard_tickets);
    mem_free(hub->push_mail);
    mem_free(hub->push_late);
    mem_free(hub->push_open);
    mem_free(hub->topics);
    mem_free(hub->tracking);
    mem_free((void *)hub->sleeping);
    mem_free(hub->workers);
    mem_free(hub->mail);
    mem_free(hub->published);
    mem_free(hub->shard_published);
    mem_free(hub->shards);
    mem_free(hub->locks);
    mem_free(hub->active);
    mem_free(hub->waiting);
    mem_free(hub->watched);
    mem_free(hub->holders);
    mem_free(hub->shard_of_slot);
    buf_deinit(&hub->observe.answer);
    command_names_free(hub->names);
    config_deinit(hub->config_start);
    mem_free(hub->config_start);
    mem_free(hub);
}

bool hub_locks_audit(const struct hub *hub)
{
    bool fine = true;
    for (unsigned s = 0; s < hub->count; s++) fine &= locks_audit(hub->locks[s]);
    return fine;
}

bool hub_quiet(const struct hub *hub)
{
    bool quiet = true;
    for (unsigned s = 0; s < hub->count; s++)
        quiet &= !locks_active(hub->locks[s]) && list_empty(&hub->active[s].parts) &&
                 waiting_empty(&hub->waiting[s]);
    return quiet;
}

void hub_note_io(struct hub *hub, const struct io *io, int refused)
{
    counter_set(&hub->io_engine, (uint64_t)io_engine_of(io));
    counter_set(&hub->io_refused, (uint64_t)refused);
}

void hub_stop_shared(struct hub *hub)
{
    counter_next_shared(&hub->waking); /* no worker goes while this is not zero */
    if (!hub_stopping_shared(hub)) {
        progress_set(&hub->stop, 1);
        for (worker_id i = 0; i < hub->count; i++)
            if (hub->workers[i]) io_wake_shared(hub->workers[i]->io);
    }
    counter_drop_shared(&hub->waking);
}

bool hub_signal_shared(struct hub *hub, int sig)
{
    bool again = counter_get(&hub->persist.signal) != 0;
    counter_next_shared(&hub->waking);
    counter_set(&hub->persist.signal, (uint64_t)sig);
    if (hub->workers[0]) io_wake_shared(hub->workers[0]->io);
    counter_drop_shared(&hub->waking);
    return again;
}

bool hub_stopping_shared(const struct hub *hub)
{
    return progress_get_shared(&hub->stop) != 0;
}
