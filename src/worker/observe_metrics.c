/* /metrics: Prometheus' text format, from published counters alone.
 *
 * Names follow Prometheus' rules: base units, counters end with _total, what is counted per worker,
 * shard, database or command is a label. Histograms of commands have bounds that all commands
 * share; commands that were never called have none.
 * Source: https://prometheus.io/docs/instrumenting/exposition_formats/
 * Thread: an onlooker. */
#include <stdio.h>

#include "journal_log.h"
#include "meter.h"
#include "observe.h"
#include "splitring/base/mem.h"
#include "splitring/io/os.h"
#include "stats.h"

static unsigned long long get(const counter *c) { return counter_get(c); }

static void head(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_printf(out, "# HELP splitring_%s %s\n# TYPE splitring_%s %s\n", name, help, name, type);
}

static void plain(struct buf *out, const char *name, const char *type, const char *help, double v)
{
    head(out, name, type, help);
    buf_printf(out, "splitring_%s %.17g\n", name, v);
}

unsigned observe_inbox(const struct hub *hub, worker_id to)
{
    unsigned depth = 0;
    for (worker_id from = 0; from < hub->count; from++)
        depth += mailbox_depth_shared(&hub->mail[(size_t)from * hub->count + to]);
    return depth;
}

/* ---- per worker, per shard ---- */

struct per_worker {
    const char *name, *type, *help;
    size_t offset; /* of the counter in struct worker_published, or shard_published */
    double scale;
};
#define W(field) offsetof(struct worker_published, field)
#define S(field) offsetof(struct shard_published, field)

static const struct per_worker of_workers[] = {
    {"worker_commands_total", "counter", "Commands processed.", W(commands), 1},
    {"worker_ops_per_second", "gauge", "Commands of the last second.", W(ops_per_s), 1},
    {"worker_load_ratio", "gauge", "Share of the last tick spent working.", W(load_permille), 1e-3},
    {"worker_clients", "gauge", "Connections that it serves.", W(clients), 1},
    {"worker_blocked_clients", "gauge", "Clients that wait for a key.", W(blocked), 1},
    {"worker_connections_total", "counter", "Connections accepted.", W(connections), 1},
    {"worker_connections_moved_total", "counter", "Connections given to another worker.",
     W(migrated), 1},
    {"worker_receive_bytes_total", "counter", "Bytes read from clients.", W(bytes_in), 1},
    {"worker_transmit_bytes_total", "counter", "Bytes sent to clients.", W(bytes_out), 1},
    {"worker_messages_sent_total", "counter", "Messages to other workers.", W(messages_out), 1},
    {"worker_messages_received_total", "counter", "Messages from workers.", W(messages_in), 1},
    {"worker_mailbox_deepest", "gauge", "Most messages taken at once.", W(inbox_max), 1},
    {"worker_evicted_clients_total", "counter", "Closed because of maxmemory-clients.",
     W(evicted_clients), 1},
    {"worker_output_limit_closes_total", "counter", "Closed because they did not read.",
     W(output_kills), 1},
    {"worker_passes_total", "counter", "Turns of its loop.", W(passes), 1},
    {"worker_sleeps_total", "counter", "Times it had nothing to do.", W(sleeps), 1},
    {"worker_commands_borrowed_total", "counter", "Commands run on a borrowed shard.",
     W(ran_borrowed), 1},
    {"worker_batches_total", "counter", "Pipelines sent to several shards.", W(batches), 1},
    {"worker_transactions_total", "counter", "Commands over several shards.", W(txns), 1},
    {"worker_transactions_refused_total", "counter", "... that found a key locked.",
     W(txns_refused), 1},
    {"worker_script_memory_bytes", "gauge", "Memory of its Lua VM.", W(vm_bytes), 1},
};
static const struct per_worker of_shards[] = {
    {"shard_memory_bytes", "gauge", "Keys, values and tables.", S(bytes), 1},
    {"shard_keyspace_hits_total", "counter", "Keys looked up and found.", S(hits), 1},
    {"shard_keyspace_misses_total", "counter", "Keys looked up and not found.", S(misses), 1},
    {"shard_expired_keys_total", "counter", "Keys that have expired.", S(expired), 1},
    {"shard_evicted_keys_total", "counter", "Keys removed because of maxmemory.", S(evicted), 1},
    {"shard_lock_waits_total", "counter", "Requests that waited for a key's lock.", S(lock_waits),
     1},
    {"shard_locks_active", "gauge", "Requests that hold or wait for locks.", S(lock_active), 1},
    {"shard_lazyfree_pending", "gauge", "Objects still to be freed.", S(lazyfree_pending), 1},
};

static const counter *counter_in(const void *published, size_t offset)
{
    return (const counter *)((const char *)published + offset);
}

static void each_worker(const struct hub *hub, struct buf *out)
{
    for (size_t m = 0; m < ARRAY_COUNT(of_workers); m++) {
        const struct per_worker *p = &of_workers[m];
        head(out, p->name, p->type, p->help);
        for (unsigned w = 0; w < hub->count; w++)
            buf_printf(out, "splitring_%s{worker=\"%u\"} %.17g\n", p->name, w,
                       (double)counter_get(counter_in(&hub->published[w], p->offset)) * p->scale);
    }
    head(out, "worker_cpu_seconds_total", "counter", "CPU time of its thread.");
    for (unsigned w = 0; w < hub->count; w++) {
        const struct worker_published *p = &hub->published[w];
        buf_printf(out,
                   "splitring_worker_cpu_seconds_total{worker=\"%u\",mode=\"user\"} %.6f\n"
                   "splitring_worker_cpu_seconds_total{worker=\"%u\",mode=\"system\"} %.6f\n",
                   w, (double)counter_get(&p->cpu_user_us) / 1e6, w,
                   (double)counter_get(&p->cpu_system_us) / 1e6);
    }
    head(out, "worker_mailbox_depth", "gauge", "Messages that lie in its inboxes.");
    for (worker_id w = 0; w < hub->count; w++)
        buf_printf(out, "splitring_worker_mailbox_depth{worker=\"%u\"} %u\n", w,
                   observe_inbox(hub, w));
    for (size_t m = 0; m < ARRAY_COUNT(of_shards); m++) {
        const struct per_worker *p = &of_shards[m];
        head(out, p->name, p->type, p->help);
        for (unsigned s = 0; s < hub->count; s++)
            buf_printf(out, "splitring_%s{shard=\"%u\"} %llu\n", p->name, s,
                       get(counter_in(&hub->shard_published[s], p->offset)));
    }
}

static void each_database(const struct hub *hub, struct buf *out)
{
    for (unsigned what = 0; what < 2; what++) {
        const char *name = what ? "db_keys_expiring" : "db_keys";
        head(out, name, "gauge", what ? "Keys with a time to live." : "Keys.");
        for (uint32_t db = 0; db < hub->databases; db++) {
            uint64_t keys = 0, sum = 0;
            for (unsigned s = 0; s < hub->count; s++) {
                const struct shard_published *p = &hub->shard_published[s];
                keys += counter_get(&p->keys[db]);
                sum += counter_get(what ? &p->expires[db] : &p->keys[db]);
            }
            if (keys || db == 0)
                buf_printf(out, "splitring_%s{db=\"%u\"} %llu\n", name, db,
                           (unsigned long long)sum);
        }
    }
}

/* ---- commands ---- */

struct observe_command observe_command(const struct hub *hub, size_t id)
{
    struct observe_command sum = {0};
    for (unsigned n = 0; n < hub->count; n++) {
        const struct worker_published *p = &hub->published[n];
        sum.calls += counter_get(&p->calls[id]);
        sum.failed += counter_get(&p->calls_failed[id]);
        sum.rejected += counter_get(&p->calls_rejected[id]);
        sum.ns += counter_get(&p->nsec[id]);
    }
    return sum;
}

static void command_counters(const struct hub *hub, struct buf *out)
{
    static const char *const names[] = {"commands_total", "commands_failed_total",
                                        "commands_rejected_total"};
    static const char *const helps[] = {"Calls of a command.", "Calls that ended with an error.",
                                        "Calls refused before they ran."};
    for (unsigned what = 0; what < 3; what++) {
        head(out, names[what], "counter", helps[what]);
        for (size_t id = 0; id < command_count(); id++) {
            struct observe_command c = observe_command(hub, id);
            if (!(c.calls | c.failed | c.rejected)) continue;
            uint64_t v = what == 0 ? c.calls : what == 1 ? c.failed : c.rejected;
            buf_printf(out, "splitring_%s{command=\"%s\"} %llu\n", names[what],
                       command_at(id)->name, (unsigned long long)v);
        }
    }
}

static void histogram(struct buf *out, const char *command, const struct hist *h)
{
    static const uint64_t bounds_us[] = {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000,
                                         10000, 20000, 50000, 100000, 500000, 1000000};
    static const char name[] = "splitring_command_duration_seconds";
    for (size_t b = 0; b < ARRAY_COUNT(bounds_us); b++)
        buf_printf(out, "%s_bucket{command=\"%s\",le=\"%g\"} %llu\n", name, command,
                   (double)bounds_us[b] / 1e6,
                   (unsigned long long)hist_count_to(h, bounds_us[b] * 1000));
    uint64_t all = hist_count_to(h, UINT64_MAX); /* of one moment: the sum of its own bins */
    buf_printf(out, "%s_bucket{command=\"%s\",le=\"+Inf\"} %llu\n%s_sum{command=\"%s\"} %.9f\n"
                    "%s_count{command=\"%s\"} %llu\n",
               name, command, (unsigned long long)all, name, command,
               (double)counter_get(&h->sum) / 1e9, name, command, (unsigned long long)all);
}

static void command_histograms(const struct hub *hub, struct buf *out)
{
    head(out, "command_duration_seconds", "histogram", "Execution time of a command.");
    for (size_t id = 0; id < command_count(); id++) {
        struct hist *h = meter_merged(hub, id, METER_RAN);
        if (h) histogram(out, command_at(id)->name, h);
        mem_free(h);
    }
}

/* ---- the server ---- */

static void server(const struct hub *hub, struct buf *out)
{
    struct os_usage usage;
    os_usage_get(&usage);
    head(out, "build_info", "gauge", "Version, as labels.");
    buf_printf(out, "splitring_build_info{version=\"%s\"} 1\n", SPLITRING_VERSION);
    plain(out, "start_time_seconds", "gauge", "When the server was started, unix time.",
          (double)hub->start_ms / 1000);
    plain(out, "ready", "gauge", "1: serves clients (not loading, not stopping).",
          observe_ready(hub, &(const char *){NULL}));
    plain(out, "workers", "gauge", "Threads that serve clients.", hub->count);
    plain(out, "cpu_user_seconds_total", "counter", "CPU time of the process.", usage.user_s);
    plain(out, "cpu_system_seconds_total", "counter", "... in the kernel.", usage.system_s);
    plain(out, "connected_clients", "gauge", "Connections.", (double)get(&hub->clients));
    plain(out, "last_save_timestamp_seconds", "gauge", "When a dump was last written.",
          (double)get(&hub->persist.last_save_s));
    uint64_t dirty = 0, rejected = 0;
    for (unsigned n = 0; n < hub->count; n++) {
        dirty += counter_get(&hub->published[n].dirty);
        rejected += counter_get(&hub->published[n].rejected);
    }
    plain(out, "changes_since_last_save", "gauge", "Writes that no dump holds yet.",
          (double)(dirty - get(&hub->persist.dirty_saved)));
    plain(out, "connections_rejected_total", "counter", "Connections beyond maxclients.",
          (double)rejected);
}

static void memory(const struct hub *hub, struct buf *out)
{
    struct stats_memory m;
    stats_memory(hub, &m);
    head(out, "memory_bytes", "gauge", "Used memory by what it is used for.");
    buf_printf(out,
               "splitring_memory_bytes{kind=\"data\"} %llu\n"
               "splitring_memory_bytes{kind=\"clients\"} %llu\n"
               "splitring_memory_bytes{kind=\"tracking\"} %llu\n"
               "splitring_memory_bytes{kind=\"scripts\"} %llu\n"
               "splitring_memory_bytes{kind=\"startup\"} %llu\n",
               (unsigned long long)m.shards, (unsigned long long)m.clients,
               (unsigned long long)m.tracking, (unsigned long long)m.scripts,
               (unsigned long long)m.startup);
    plain(out, "memory_used_bytes", "gauge", "The sum of splitring_memory_bytes.", (double)m.used);
    plain(out, "memory_peak_bytes", "gauge", "Its highest value.", (double)m.peak);
    plain(out, "memory_limit_bytes", "gauge", "maxmemory; 0: none.",
          (double)get(&hub->published[0].memory_limit));
    plain(out, "memory_resident_bytes", "gauge", "Of the process.", (double)os_rss_bytes());
}

static void persistence(const struct hub *hub, struct buf *out)
{
    const struct journal_log *l = hub->journal->log;
    plain(out, "last_save_failed", "gauge", "1: the last dump could not be written.",
          get(&hub->persist.save_failed) != 0);
    plain(out, "log_enabled", "gauge", "1: there is an append log.", get(&l->enabled) != 0);
    plain(out, "log_write_failed", "gauge", "1: it cannot be written, so writes are refused.",
          get(&hub->log_failed) != 0);
    plain(out, "log_lag_bytes", "gauge", "Of acknowledged or waiting writes, not yet in its file.",
          (double)journal_lag_bytes(hub));
    plain(out, "log_size_bytes", "gauge", "All of its files.", (double)get(&l->size));
    plain(out, "log_delayed_fsyncs_total", "counter", "Writes that waited for a slow disk.",
          (double)get(&l->delayed_fsyncs));
}

static void errors(const struct hub *hub, struct buf *out)
{
    head(out, "error_replies_total", "counter", "Error replies by their first word.");
    for (unsigned e = 0; stats_error_code(e); e++) {
        uint64_t sum = 0;
        for (unsigned n = 0; n < hub->count; n++) sum += counter_get(&hub->published[n].errors[e]);
        if (sum)
            buf_printf(out, "splitring_error_replies_total{code=\"%s\"} %llu\n",
                       stats_error_code(e), (unsigned long long)sum);
    }
}

void observe_hub_metrics(const struct hub *hub, struct buf *out)
{
    server(hub, out);
    memory(hub, out);
    persistence(hub, out);
    each_database(hub, out);
    errors(hub, out);
    command_counters(hub, out);
    command_histograms(hub, out);
    each_worker(hub, out);
}

bool observe_ready(const struct hub *hub, const char **why)
{
    *why = hub_stopping_shared(hub)      ? "stopping"
           : counter_get(&hub->persist.signal) ? "stopping"
           : hub_loading_shared(hub)     ? "loading"
                                         : NULL;
    return *why == NULL;
}
