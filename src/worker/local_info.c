/* INFO. Everything is read from counters that their writers publish: no worker is asked, and what
 * is in another's shard is not looked at.
 *
 *   section table ──▶ which are wanted (names, default, all, everything)
 *                 ──▶ sums over workers and shards, once
 *                 ──▶ one writer per section
 *
 * Names of sections and fields are those of Redis 7.2, because exporters, dashboards and client
 * libraries look for them; a field that can only be idle here (replicas, forks, scripts) has the
 * value that an idle Redis shows. What is ours is in the section Splitring and in a few more fields
 * of Server.
 * Source: https://redis.io/docs/latest/commands/info/
 * Thread: owner. */
#include "local_info.h"

#include <stdio.h>

#include "conn.h"
#include "journal_start.h"
#include "local.h"
#include "snapshot.h"
#include "splitring/base/mem.h"
#include "splitring/cmd/handlers.h"
#include "splitring/io/io.h"
#include "splitring/io/notify.h"
#include "splitring/io/os.h"

#define TICKS_PER_S 10 /* timer.c */
#define WAIT_US_MAX 10000
#define SPINS_MAX 1000000u

/* ---- Server ---- */

/* The sockets' addresses in the form of Redis 7.2: listener0:name=tcp,bind=…,port=… */
static void listeners(struct info *i)
{
    const struct config *c = i->w->config;
    unsigned n = 0;
    if (c->port) {
        buf_printf(i->out, "listener%u:name=tcp", n++);
        for (size_t a = 0; a < c->bind.count; a++) buf_printf(i->out, ",bind=%s", c->bind.words[a]);
        buf_printf(i->out, ",port=%d\r\n", c->port);
    }
    if (c->unixsocket[0])
        buf_printf(i->out, "listener%u:name=unix,bind=%s\r\n", n++, c->unixsocket);
    if (c->tls_port) {
        buf_printf(i->out, "listener%u:name=tls", n);
        for (size_t a = 0; a < c->bind.count; a++) buf_printf(i->out, ",bind=%s", c->bind.words[a]);
        buf_printf(i->out, ",port=%d\r\n", c->tls_port);
    }
}

static void info_server(struct info *i)
{
    const struct hub *hub = i->hub;
    const struct config *c = i->w->config;
    char os[256], exe[4096];
    os_uname(os, sizeof os);
    os_exe_path(exe, sizeof exe);
    bool uring = counter_get(&hub->io_engine) == IO_ENGINE_URING;
    int refused = (int)counter_get(&hub->io_refused);
    instant_us now_us = os_unix_us();
    int64_t up_s = (now_us / 1000 - hub->start_ms) / 1000;
    buf_printf(i->out,
               "redis_version:" REDIS_VERSION_SHOWN "\r\nredis_git_sha1:00000000\r\n"
               "redis_git_dirty:0\r\nredis_build_id:0\r\nredis_mode:standalone\r\n"
               "splitring_version:" SPLITRING_VERSION "\r\n"
               "os:%s\r\narch_bits:%zu\r\nmonotonic_clock:POSIX clock_gettime\r\n"
               "multiplexing_api:%s\r\natomicvar_api:c11-builtin\r\ngcc_version:%d.%d.%d\r\n"
               "process_id:%ld\r\nprocess_supervised:%s\r\nrun_id:%s\r\ntcp_port:%d\r\n"
               "server_time_usec:%lld\r\nuptime_in_seconds:%lld\r\nuptime_in_days:%lld\r\n"
               "hz:%d\r\nconfigured_hz:%d\r\nlru_clock:%u\r\nexecutable:%s\r\nconfig_file:%s\r\n"
               "io_threads_active:0\r\n",
               os, sizeof(void *) * 8, uring ? "io_uring" : "epoll", __GNUC__, __GNUC_MINOR__,
               __GNUC_PATCHLEVEL__, os_pid(), notify_manager_name(), hub->run_id,
               c->port ? c->port : c->tls_port, (long long)now_us, (long long)up_s,
               (long long)(up_s / 86400), TICKS_PER_S, TICKS_PER_S,
               (unsigned)(now_us / 1000000) & 0xffffffu, exe, c->config_file);
    listeners(i);
    buf_printf(i->out, "workers:%u\r\nshard_lending:%s\r\nio_engine:%s\r\nio_uring_refused:%s\r\n"
               "tls_in_kernel:no\r\n",
               hub->count, hub->lending ? "yes" : "no", uring ? "io_uring" : "epoll",
               refused ? os_error_text(-refused) : "no");
}

/* ---- Clients ---- */

static void info_clients(struct info *i)
{
    buf_printf(i->out,
               "connected_clients:%llu\r\ncluster_connections:0\r\nmaxclients:%lld\r\n"
               "client_recent_max_input_buffer:%llu\r\nclient_recent_max_output_buffer:%llu\r\n"
               "blocked_clients:%llu\r\ntracking_clients:%llu\r\npubsub_clients:%llu\r\n"
               "watching_clients:%llu\r\nclients_in_timeout_table:%llu\r\n"
               "total_watched_keys:%llu\r\ntotal_blocking_keys:%llu\r\n"
               "total_blocking_keys_on_nokey:%llu\r\n",
               (unsigned long long)counter_get(&i->hub->clients),
               (long long)i->w->config->maxclients, (unsigned long long)i->sum.in_max,
               (unsigned long long)i->sum.out_max, (unsigned long long)i->sum.blocked,
               (unsigned long long)i->sum.tracking_clients,
               (unsigned long long)i->sum.pubsub_clients, (unsigned long long)i->sum.watching,
               (unsigned long long)i->sum.timeouts, (unsigned long long)i->shards.watched_keys,
               (unsigned long long)i->shards.blocking_keys,
               (unsigned long long)i->shards.nokey_keys);
}

/* ---- Memory ---- */

void info_human(char out[32], uint64_t bytes)
{
    static const char units[] = "BKMGTP";
    double n = (double)bytes;
    unsigned u = 0;
    for (; n >= 1024 && units[u + 1]; u++) n /= 1024;
    if (u == 0)
        snprintf(out, 32, "%lluB", (unsigned long long)bytes);
    else
        snprintf(out, 32, "%.2f%c", n, units[u]);
}

/* name:bytes and name_human:… */
static void sized(struct info *i, const char *name, uint64_t bytes)
{
    char human[32];
    info_human(human, bytes);
    buf_printf(i->out, "%s:%llu\r\n%s_human:%s\r\n", name, (unsigned long long)bytes, name, human);
}

static double ratio(uint64_t a, uint64_t b) { return b ? (double)a / (double)b : 0; }

static void policy_line(void *ctx, struct slice name, struct slice value)
{
    struct info *i = ctx;
    (void)name;
    buf_printf(i->out, "maxmemory_policy:%.*s\r\n", (int)value.len, value.ptr);
}

/* "Active" is what is in use with the gaps between small blocks, "resident" the process' own
 * memory without what is of files; the rest of what is resident is code and libraries. */
static void allocator(struct info *i)
{
    const struct stats_memory *m = &i->memory;
    buf_printf(i->out,
               "allocator_frag_ratio:%.2f\r\nallocator_frag_bytes:%lld\r\n"
               "allocator_rss_ratio:%.2f\r\nallocator_rss_bytes:%lld\r\n"
               "rss_overhead_ratio:%.2f\r\nrss_overhead_bytes:%lld\r\n"
               "mem_fragmentation_ratio:%.2f\r\nmem_fragmentation_bytes:%lld\r\n",
               ratio(m->active, m->used), (long long)(m->active - m->used),
               ratio(m->resident, m->active), (long long)(m->resident - m->active),
               ratio(m->rss, m->resident), (long long)(m->rss - m->resident),
               ratio(m->rss, m->used), (long long)(m->rss - m->used));
}

static void info_memory(struct info *i)
{
    const struct stats_memory *m = &i->memory;
    uint64_t dataset = m->used - m->overhead;
    sized(i, "used_memory", m->used);
    sized(i, "used_memory_rss", m->rss);
    sized(i, "used_memory_peak", m->peak);
    buf_printf(i->out,
               "used_memory_peak_perc:%.2f%%\r\nused_memory_overhead:%llu\r\n"
               "used_memory_startup:%llu\r\nused_memory_dataset:%llu\r\n"
               "used_memory_dataset_perc:%.2f%%\r\nallocator_allocated:%llu\r\n"
               "allocator_active:%llu\r\nallocator_resident:%llu\r\n",
               ratio(m->used, m->peak) * 100, (unsigned long long)m->overhead,
               (unsigned long long)m->startup, (unsigned long long)dataset,
               ratio(dataset, m->used - m->startup) * 100, (unsigned long long)m->used,
               (unsigned long long)m->active, (unsigned long long)m->resident);
    sized(i, "total_system_memory", os_memory_total());
    info_scripts(i);
    sized(i, "maxmemory", budget_limit(i->hub, i->w->config));
    struct slice policy = SLICE("maxmemory-policy");
    config_get(i->w->config, &policy, 1, policy_line, i);
    allocator(i);
    buf_printf(i->out,
               "mem_not_counted_for_evict:%llu\r\nmem_replication_backlog:0\r\n"
               "mem_total_replication_buffers:0\r\nmem_clients_slaves:0\r\n"
               "mem_clients_normal:%llu\r\nmem_cluster_links:0\r\nmem_aof_buffer:%llu\r\n"
               "mem_allocator:%s\r\nactive_defrag_running:%llu\r\n"
               "lazyfree_pending_objects:%llu\r\n"
               "lazyfreed_objects:%llu\r\n",
               (unsigned long long)m->not_counted, (unsigned long long)m->clients,
               (unsigned long long)m->journal, mem_allocator(),
               (unsigned long long)counter_get(&i->sum.defrag_percent),
               (unsigned long long)i->shards.lazyfree_pending,
               (unsigned long long)i->shards.lazyfreed);
}

/* ---- Persistence, Replication, CPU, Cluster, Keyspace ---- */

/* While something is loaded; how far all workers are together. */
static void loading_lines(struct info *i)
{
    const struct hub_persist *p = &i->hub->persist;
    uint64_t total = counter_get(&p->load_total_bytes);
    double part = ratio(counter_get(&p->load_bytes), counter_get(&p->load_work_bytes));
    uint64_t done = part < 1 ? (uint64_t)(part * (double)total) : total;
    int64_t start_ms = (int64_t)counter_get(&p->load_start_ms);
    double perc = ratio(done, total) * 100, elapsed_s = (double)(i->w->now - start_ms) / 1000;
    double eta_s = done ? elapsed_s * (double)(total - done) / (double)done : 1;
    buf_printf(i->out,
               "loading_start_time:%lld\r\nloading_total_bytes:%llu\r\n"
               "loading_rdb_used_mem:%llu\r\nloading_loaded_bytes:%llu\r\n"
               "loading_loaded_perc:%.2f\r\nloading_eta_seconds:%.0f\r\n",
               (long long)(start_ms / 1000), (unsigned long long)total,
               (unsigned long long)counter_get(&p->load_used_mem), (unsigned long long)done, perc,
               eta_s);
}

static long long seconds_since(uint64_t start_ms)
{
    return (os_unix_us() / 1000 - (int64_t)start_ms) / 1000;
}

static void info_log(struct info *i)
{
    const struct journal_log *l = i->hub->journal->log;
    bool on = counter_get(&l->enabled) != 0, rewriting = journal_rewriting(i->hub);
    uint64_t rewrites = counter_get(&l->rewrites);
    bool done = rewrites || counter_get(&l->failures);
    buf_printf(i->out,
               "aof_enabled:%d\r\naof_rewrite_in_progress:%d\r\naof_rewrite_scheduled:%d\r\n"
               "aof_last_rewrite_time_sec:%lld\r\naof_current_rewrite_time_sec:%lld\r\n"
               "aof_last_bgrewrite_status:%s\r\naof_rewrites:%llu\r\n"
               "aof_rewrites_consecutive_failures:%llu\r\naof_last_write_status:%s\r\n"
               "aof_last_cow_size:0\r\nmodule_fork_in_progress:0\r\n"
               "module_fork_last_cow_size:0\r\n",
               on, rewriting, (int)counter_get(&i->hub->persist.log_wanted),
               done ? (long long)counter_get(&l->last_s) : -1,
               rewriting ? seconds_since(counter_get(&l->start_ms)) : -1,
               counter_get(&l->rewrite_failed) ? "err" : "ok", (unsigned long long)rewrites,
               (unsigned long long)counter_get(&l->failures),
               counter_get(&i->hub->log_failed) ? "err" : "ok");
    if (!on) return;
    buf_printf(i->out,
               "aof_current_size:%llu\r\naof_base_size:%llu\r\naof_pending_rewrite:0\r\n"
               "aof_buffer_length:%llu\r\naof_pending_bio_fsync:%d\r\n"
               "aof_delayed_fsync:%llu\r\naof_lag_bytes:%llu\r\n",
               (unsigned long long)counter_get(&l->size),
               (unsigned long long)counter_get(&l->base_size),
               (unsigned long long)counter_get(&l->buffered),
               claim_get_shared(&l->sync.state) == SYNC_ASKED,
               (unsigned long long)counter_get(&l->delayed_fsyncs),
               (unsigned long long)journal_lag_bytes(i->hub));
}

/* What a snapshot takes in memory stands where Redis tells what its fork copied. */
static void snapshot_lines(struct info *i)
{
    const struct hub_persist *p = &i->hub->persist;
    bool saves = snapshot_purpose_shared(i->hub) == SNAPSHOT_SAVE;
    bool runs = saves || counter_get(&p->bgsave_scheduled) == 2;
    bool any = snapshot_purpose_shared(i->hub) != SNAPSHOT_NONE;
    uint64_t told = 0, keys = any ? snapshot_keys(i->hub, &told) : 0;
    uint64_t bytes = any ? snapshot_bytes(i->hub) : 0;
    int64_t since_us = i->w->mono_us - (int64_t)counter_get(&p->bgsave_start_us);
    buf_printf(i->out,
               "current_cow_peak:%llu\r\ncurrent_cow_size:%llu\r\ncurrent_cow_size_age:0\r\n"
               "current_fork_perc:%.2f\r\ncurrent_save_keys_processed:%llu\r\n"
               "current_save_keys_total:%llu\r\nrdb_changes_since_last_save:%llu\r\n"
               "rdb_bgsave_in_progress:%d\r\nrdb_last_save_time:%lld\r\n"
               "rdb_last_bgsave_status:%s\r\nrdb_last_bgsave_time_sec:%lld\r\n"
               "rdb_current_bgsave_time_sec:%lld\r\nrdb_saves:%llu\r\nrdb_last_cow_size:%llu\r\n",
               (unsigned long long)bytes, (unsigned long long)bytes, ratio(told, keys) * 100,
               (unsigned long long)told, (unsigned long long)keys,
               (unsigned long long)(i->sum.dirty - counter_get(&p->dirty_saved)), runs,
               (long long)counter_get(&p->last_save_s),
               counter_get(&p->save_failed) ? "err" : "ok",
               (long long)counter_get(&p->bgsave_last_s),
               saves ? (long long)(since_us / 1000000) : -1LL,
               (unsigned long long)counter_get(&p->saves),
               (unsigned long long)counter_get(&p->bgsave_peak));
}

static void info_persistence(struct info *i)
{
    const struct hub_persist *p = &i->hub->persist;
    bool loading = counter_get(&p->loading) != 0;
    buf_printf(i->out, "loading:%d\r\nasync_loading:0\r\n", loading);
    snapshot_lines(i);
    buf_printf(i->out,
               "rdb_last_load_keys_expired:%llu\r\nrdb_last_load_keys_loaded:%llu\r\n",
               (unsigned long long)counter_get(&p->keys_expired),
               (unsigned long long)counter_get(&p->keys_loaded));
    info_log(i);
    if (loading) loading_lines(i);
}

static void backlog_line(void *ctx, struct slice name, struct slice value)
{
    struct info *i = ctx;
    (void)name;
    buf_printf(i->out, "repl_backlog_size:%.*s\r\n", (int)value.len, value.ptr);
}

static void info_replication(struct info *i)
{
    buf_printf(i->out,
               "role:master\r\nconnected_slaves:0\r\nmaster_failover_state:no-failover\r\n"
               "master_replid:%s\r\nmaster_replid2:0000000000000000000000000000000000000000\r\n"
               "master_repl_offset:0\r\nsecond_repl_offset:-1\r\nrepl_backlog_active:0\r\n",
               i->hub->run_id);
    struct slice size = SLICE("repl-backlog-size");
    config_get(i->w->config, &size, 1, backlog_line, i);
    buf_append_slice(i->out, SLICE("repl_backlog_first_byte_offset:0\r\n"
                                   "repl_backlog_histlen:0\r\n"));
}

/* The main thread is worker 0, as of its last tick. */
static void info_cpu(struct info *i)
{
    struct os_usage u;
    const struct worker_published *first = &i->hub->published[0];
    os_usage_get(&u);
    buf_printf(i->out,
               "used_cpu_sys:%.6f\r\nused_cpu_user:%.6f\r\nused_cpu_sys_children:%.6f\r\n"
               "used_cpu_user_children:%.6f\r\nused_cpu_sys_main_thread:%.6f\r\n"
               "used_cpu_user_main_thread:%.6f\r\n",
               u.system_s, u.user_s, u.system_children_s, u.user_children_s,
               (double)counter_get(&first->cpu_system_us) / 1e6,
               (double)counter_get(&first->cpu_user_us) / 1e6);
}

static void info_nothing(struct info *i) { (void)i; }

static void info_cluster(struct info *i)
{
    buf_append_slice(i->out, SLICE("cluster_enabled:0\r\n"));
}

static void info_keyspace(struct info *i)
{
    for (uint32_t db = 0; db < i->hub->databases; db++) {
        uint64_t keys = 0, expires = 0;
        double left = 0;
        for (unsigned s = 0; s < i->hub->count; s++) {
            const struct shard_published *p = &i->hub->shard_published[s];
            uint64_t n = counter_get(&p->expires[db]);
            instant_ms at = (instant_ms)counter_get(&p->expiry_avg[db]);
            keys += counter_get(&p->keys[db]);
            expires += n;
            if (at > i->w->now) left += (double)n * (double)(at - i->w->now);
        }
        if (keys)
            buf_printf(i->out, "db%u:keys=%llu,expires=%llu,avg_ttl=%.0f,subexpiry=0\r\n", db,
                       (unsigned long long)keys, (unsigned long long)expires,
                       expires ? left / (double)expires : 0);
    }
}

/* ---- sections ---- */

enum wanted { DEFAULT = 1, ALL = 2, EVERYTHING = 4 };

static const struct section {
    const char *title, *name, *alias;
    unsigned part_of;
    void (*write)(struct info *i);
} sections[] = {
    {"Server", "server", NULL, DEFAULT | ALL | EVERYTHING, info_server},
    {"Clients", "clients", NULL, DEFAULT | ALL | EVERYTHING, info_clients},
    {"Memory", "memory", NULL, DEFAULT | ALL | EVERYTHING, info_memory},
    {"Persistence", "persistence", NULL, DEFAULT | ALL | EVERYTHING, info_persistence},
    {"Stats", "stats", NULL, DEFAULT | ALL | EVERYTHING, info_stats},
    {"Replication", "replication", NULL, DEFAULT | ALL | EVERYTHING, info_replication},
    {"CPU", "cpu", NULL, DEFAULT | ALL | EVERYTHING, info_cpu},
    {"Modules", "modules", "module_list", DEFAULT | ALL | EVERYTHING, info_nothing},
    {"Commandstats", "commandstats", NULL, ALL | EVERYTHING, info_commandstats},
    {"Errorstats", "errorstats", NULL, DEFAULT | ALL | EVERYTHING, info_errorstats},
    {"Latencystats", "latencystats", NULL, ALL | EVERYTHING, info_latencystats},
    {"Cluster", "cluster", NULL, DEFAULT | ALL | EVERYTHING, info_cluster},
    {"Keyspace", "keyspace", NULL, DEFAULT | ALL | EVERYTHING, info_keyspace},
    {"Splitring", "splitring", NULL, ALL | EVERYTHING, info_splitring},
};

/* Which sections were asked for, by bit. Unknown names ask for nothing, as in Redis. */
static uint32_t chosen(const struct call *c)
{
    uint32_t mask = 0;
    unsigned groups = c->argc == 1 ? DEFAULT : 0;
    for (int a = 1; a < c->argc; a++) {
        if (call_is(c, a, "default")) groups |= DEFAULT;
        if (call_is(c, a, "all")) groups |= ALL;
        if (call_is(c, a, "everything")) groups |= EVERYTHING;
        for (unsigned s = 0; s < ARRAY_COUNT(sections); s++)
            if (call_is(c, a, sections[s].name) ||
                (sections[s].alias && call_is(c, a, sections[s].alias)))
                mask |= 1u << s;
    }
    for (unsigned s = 0; s < ARRAY_COUNT(sections); s++)
        if (sections[s].part_of & groups) mask |= 1u << s;
    return mask;
}

static void take_max(counter *to, const counter *from)
{
    if (counter_get(from) > counter_get(to)) counter_set(to, counter_get(from));
}

#define ADD(to, from, field) counter_add(&(to).field, counter_get(&(from)->field))

static void add_worker(struct info *i, const struct worker_published *p)
{
    struct worker_published *sum = &i->sum;
    ADD(*sum, p, commands), ADD(*sum, p, connections), ADD(*sum, p, rejected);
    ADD(*sum, p, clients), ADD(*sum, p, bytes_in), ADD(*sum, p, bytes_out);
    ADD(*sum, p, reads), ADD(*sum, p, writes), ADD(*sum, p, error_replies);
    for (unsigned why = 0; why < ARRAY_COUNT(p->acl_denied); why++)
        ADD(*sum, p, acl_denied[why]);
    ADD(*sum, p, protocol_errors), ADD(*sum, p, output_kills), ADD(*sum, p, query_kills);
    ADD(*sum, p, evicted_clients), ADD(*sum, p, dirty), ADD(*sum, p, sweep_us);
    for (unsigned kind = 0; kind < 4; kind++) ADD(*sum, p, defrag[kind]);
    ADD(*sum, p, defrag_us), ADD(*sum, p, defrag_percent);
    ADD(*sum, p, watching), ADD(*sum, p, timeouts), ADD(*sum, p, blocked);
    ADD(*sum, p, pubsub_clients), ADD(*sum, p, tracking_clients);
    ADD(*sum, p, ops_per_s), ADD(*sum, p, in_per_s), ADD(*sum, p, out_per_s);
    take_max(&sum->in_max, &p->in_max);
    take_max(&sum->out_max, &p->out_max);
    for (unsigned e = 0; e < ERROR_CODES; e++) ADD(*sum, p, errors[e]);
}

static void add_up(struct info *i)
{
    for (unsigned n = 0; n < i->hub->count; n++) {
        const struct shard_published *s = &i->hub->shard_published[n];
        add_worker(i, &i->hub->published[n]);
        ADD(i->shards, s, hits), ADD(i->shards, s, misses), ADD(i->shards, s, expired);
        ADD(i->shards, s, expired_fields), ADD(i->shards, s, evicted);
        ADD(i->shards, s, lazyfreed), ADD(i->shards, s, lazyfree_pending);
        for (unsigned kind = 0; kind < 3; kind++) ADD(i->shards, s, topics[kind]);
        ADD(i->shards, s, tracking_keys), ADD(i->shards, s, tracking_items);
        ADD(i->shards, s, tracking_prefixes);
        ADD(i->shards, s, watched_keys), ADD(i->shards, s, blocking_keys);
        ADD(i->shards, s, nokey_keys);
    }
    stats_memory(i->hub, &i->memory);
}

/* A shard's counters are published when its holder gives it back. What this client was told has
 * been done may have been done a moment ago, by this worker in this pass, or by one that still
 * holds the shard: so each shard is taken once, for nothing. A holder that takes long (a slow
 * command) is not waited for. */
void info_await_publishing(struct worker *w)
{
    int64_t until_us = os_mono_us() + WAIT_US_MAX;
    bool late = false;
    worker_unhold_all(w); /* two of these must not wait for each other */
    for (shard_id s = 0; s < w->hub->count && !late; s++) {
        for (unsigned spins = 0; !worker_hold_try(w, s) && !late; spins++) {
            late = os_mono_us() >= until_us || spins > SPINS_MAX;
            w->hub->pause(spins);
        }
        if (worker_holds(w, s)) stats_publish_shard(w, s);
        worker_unhold(w, s);
    }
}

void cmd_info(struct call *c)
{
    struct worker *w = c->conn->worker;
    struct buf text = {0};
    struct info info = {.w = w, .hub = w->hub, .out = &text};
    info_await_publishing(w);
    add_up(&info);
    uint32_t mask = chosen(c);
    for (unsigned s = 0; s < ARRAY_COUNT(sections); s++) {
        if (!(mask >> s & 1u)) continue;
        buf_printf(&text, "%s# %s\r\n", text.len ? "\r\n" : "", sections[s].title);
        sections[s].write(&info);
    }
    reply_verbatim(&c->reply, "txt", buf_slice(&text));
    buf_deinit(&text);
}
