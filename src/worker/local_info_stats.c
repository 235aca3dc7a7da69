/* INFO's figures of what was done: Stats, Commandstats, Errorstats, and the section Splitring,
 * which shows how the load lies on workers and shards.
 *
 * Calls are counted and timed one by one (meter.h).
 * Source: https://redis.io/docs/latest/commands/info/
 * Thread: owner. */
#include "acl.h"
#include "local_info.h"
#include "observe.h"
#include "splitring/cmd/command.h"

static unsigned long long get(const counter *c) { return counter_get(c); }

/* ---- Stats ---- */

static void traffic(struct info *i)
{
    const struct worker_published *p = &i->sum;
    buf_printf(i->out,
               "total_connections_received:%llu\r\ntotal_commands_processed:%llu\r\n"
               "instantaneous_ops_per_sec:%llu\r\ntotal_net_input_bytes:%llu\r\n"
               "total_net_output_bytes:%llu\r\ntotal_net_repl_input_bytes:0\r\n"
               "total_net_repl_output_bytes:0\r\ninstantaneous_input_kbps:%.2f\r\n"
               "instantaneous_output_kbps:%.2f\r\ninstantaneous_input_repl_kbps:0.00\r\n"
               "instantaneous_output_repl_kbps:0.00\r\nrejected_connections:%llu\r\n"
               "sync_full:0\r\nsync_partial_ok:0\r\nsync_partial_err:0\r\n",
               get(&p->connections), get(&p->commands), get(&p->ops_per_s), get(&p->bytes_in),
               get(&p->bytes_out), (double)get(&p->in_per_s) / 1024,
               (double)get(&p->out_per_s) / 1024, get(&p->rejected));
}

/* How long more was in use than maxmemory: workers see it one by one; the one that saw most
 * tells. */
static unsigned long long exceeded_us(const struct info *i, bool with_past)
{
    unsigned long long most = 0;
    for (unsigned n = 0; n < i->hub->count; n++) {
        const struct worker_published *p = &i->hub->published[n];
        uint64_t since = counter_get(&p->evict_over_since_us), us = 0;
        if (since && (uint64_t)i->w->mono_us > since) us = (uint64_t)i->w->mono_us - since;
        if (with_past) us += counter_get(&p->evict_over_us);
        if (us > most) most = us;
    }
    return most;
}

/* Times in ms; of the round that has run longest, where several workers run one. */
static void defrag(struct info *i)
{
    const struct worker_published *p = &i->sum;
    unsigned long long current_us = 0;
    for (unsigned n = 0; n < i->hub->count; n++) {
        uint64_t since = counter_get(&i->hub->published[n].defrag_since_us);
        uint64_t now = (uint64_t)i->w->mono_us;
        if (since && now > since && now - since > current_us) current_us = now - since;
    }
    buf_printf(i->out,
               "active_defrag_hits:%llu\r\nactive_defrag_misses:%llu\r\n"
               "active_defrag_key_hits:%llu\r\nactive_defrag_key_misses:%llu\r\n"
               "total_active_defrag_time:%llu\r\ncurrent_active_defrag_time:%llu\r\n",
               get(&p->defrag[0]), get(&p->defrag[1]), get(&p->defrag[2]), get(&p->defrag[3]),
               (get(&p->defrag_us) + current_us) / 1000, current_us / 1000);
}

void info_stats(struct info *i)
{
    const struct worker_published *p = &i->sum;
    traffic(i);
    buf_printf(i->out,
               "expired_subkeys:%llu\r\nexpired_keys:%llu\r\nexpired_stale_perc:0.00\r\n"
               "expired_time_cap_reached_count:0\r\nexpire_cycle_cpu_milliseconds:%llu\r\n"
               "evicted_keys:%llu\r\nevicted_clients:%llu\r\n"
               "total_eviction_exceeded_time:%llu\r\n"
               "current_eviction_exceeded_time:%llu\r\nkeyspace_hits:%llu\r\n"
               "keyspace_misses:%llu\r\n",
               get(&i->shards.expired_fields), get(&i->shards.expired),
               get(&p->sweep_us) / 1000, get(&i->shards.evicted), get(&p->evicted_clients),
               exceeded_us(i, true) / 1000, exceeded_us(i, false) / 1000,
               get(&i->shards.hits), get(&i->shards.misses));
    buf_printf(i->out, "pubsub_channels:%llu\r\npubsub_patterns:%llu\r\n"
                       "pubsubshard_channels:%llu\r\n",
               get(&i->shards.topics[0]), get(&i->shards.topics[2]), get(&i->shards.topics[1]));
    buf_append_slice(i->out, SLICE("latest_fork_usec:0\r\n"
                                   "total_forks:0\r\nmigrate_cached_sockets:0\r\n"
                                   "slave_expires_tracked_keys:0\r\n"));
    defrag(i);
    buf_printf(i->out, "tracking_total_keys:%llu\r\ntracking_total_items:%llu\r\n"
                       "tracking_total_prefixes:%llu\r\nunexpected_error_replies:0\r\n",
               get(&i->shards.tracking_keys), get(&i->shards.tracking_items),
               get(&i->shards.tracking_prefixes));
    buf_printf(i->out,
               "total_error_replies:%llu\r\ndump_payload_sanitizations:0\r\n"
               "total_reads_processed:%llu\r\ntotal_writes_processed:%llu\r\n"
               "io_threaded_reads_processed:0\r\nio_threaded_writes_processed:0\r\n"
               "reply_buffer_shrinks:0\r\nreply_buffer_expands:0\r\n"
               "client_query_buffer_limit_disconnections:%llu\r\n"
               "client_output_buffer_limit_disconnections:%llu\r\n"
               "acl_access_denied_auth:%llu\r\nacl_access_denied_cmd:%llu\r\n"
               "acl_access_denied_key:%llu\r\nacl_access_denied_channel:%llu\r\n",
               get(&p->error_replies), get(&p->reads), get(&p->writes), get(&p->query_kills),
               get(&p->output_kills), get(&p->acl_denied[ACL_DENIED_AUTH]),
               get(&p->acl_denied[ACL_DENIED_COMMAND]), get(&p->acl_denied[ACL_DENIED_KEY]),
               get(&p->acl_denied[ACL_DENIED_CHANNEL]));
}

/* ---- Commandstats, Errorstats ---- */

void info_commandstats(struct info *i)
{
    for (size_t id = 0; id < command_count(); id++) {
        uint64_t calls = 0, failed = 0, rejected = 0, nsec = 0;
        for (unsigned n = 0; n < i->hub->count; n++) {
            const struct worker_published *p = &i->hub->published[n];
            calls += counter_get(&p->calls[id]);
            failed += counter_get(&p->calls_failed[id]);
            rejected += counter_get(&p->calls_rejected[id]);
            nsec += counter_get(&p->nsec[id]);
        }
        if (!(calls | failed | rejected)) continue;
        buf_printf(i->out,
                   "cmdstat_%s:calls=%llu,usec=%llu,usec_per_call=%.2f,rejected_calls=%llu,"
                   "failed_calls=%llu\r\n",
                   command_at(id)->name, (unsigned long long)calls,
                   (unsigned long long)(nsec / 1000),
                   calls ? (double)nsec / 1000 / (double)calls : 0, (unsigned long long)rejected,
                   (unsigned long long)failed);
    }
}

void info_errorstats(struct info *i)
{
    for (unsigned e = 0; stats_error_code(e); e++)
        if (counter_get(&i->sum.errors[e]))
            buf_printf(i->out, "errorstat_%s:count=%llu\r\n", stats_error_code(e),
                       get(&i->sum.errors[e]));
}

/* ---- Splitring ---- */

static void worker_line(struct info *i, worker_id n)
{
    const struct worker_published *p = &i->hub->published[n];
    buf_printf(i->out,
               "worker%u:commands=%llu,ops_per_sec=%llu,clients=%llu,load_permille=%llu,"
               "cpu_user=%.3f,cpu_sys=%.3f,passes=%llu,groups=%llu,sleeps=%llu,wakes=%llu,"
               "messages=%llu,ran_local=%llu,ran_borrowed=%llu,batches=%llu,batch_runs=%llu,"
               "txns=%llu,txns_direct=%llu,txns_refused=%llu,migrated=%llu,messages_in=%llu,"
               "mailbox_depth=%u,mailbox_deepest=%llu\r\n",
               n, get(&p->commands), get(&p->ops_per_s), get(&p->clients), get(&p->load_permille),
               (double)get(&p->cpu_user_us) / 1e6, (double)get(&p->cpu_system_us) / 1e6,
               get(&p->passes), get(&p->groups), get(&p->sleeps), get(&p->wakes),
               get(&p->messages_out), get(&p->ran_local), get(&p->ran_borrowed), get(&p->batches),
               get(&p->batch_runs), get(&p->txns), get(&p->txns_direct), get(&p->txns_refused),
               get(&p->migrated), get(&p->messages_in), observe_inbox(i->hub, n),
               get(&p->inbox_max));
}

static void shard_line(struct info *i, unsigned n)
{
    const struct shard_published *s = &i->hub->shard_published[n];
    uint64_t keys = 0, expires = 0;
    for (uint32_t db = 0; db < i->hub->databases; db++) {
        keys += counter_get(&s->keys[db]);
        expires += counter_get(&s->expires[db]);
    }
    buf_printf(i->out,
               "shard%u:keys=%llu,expires=%llu,bytes=%llu,hits=%llu,misses=%llu,expired=%llu,"
               "lock_waits=%llu,locks_active=%llu\r\n",
               n, (unsigned long long)keys, (unsigned long long)expires, get(&s->bytes),
               get(&s->hits), get(&s->misses), get(&s->expired), get(&s->lock_waits),
               get(&s->lock_active));
}

void info_splitring(struct info *i)
{
    for (worker_id n = 0; n < i->hub->count; n++) worker_line(i, n);
    for (unsigned n = 0; n < i->hub->count; n++) shard_line(i, n);
}
