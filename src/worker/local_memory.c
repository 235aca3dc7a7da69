/* MEMORY STATS, DOCTOR, PURGE, MALLOC-STATS (USAGE is the keyspace's, in cmd/generic.c).
 *
 * STATS and DOCTOR read what shards and workers publish (stats.c), as INFO does; the fields and
 * their order are those of Redis 7.0. What cannot be here (replicas, a cluster's links) is 0. A
 * TTL lies in its entry, so there is no table of expires.
 *
 * PURGE and MALLOC-STATS ask every worker: the allocator's memory belongs to the thread that asked
 * for it, and small blocks to the shard.
 * Source: https://redis.io/docs/latest/commands/memory-stats/ and its neighbours.
 * Thread: parts: each worker; the rest: the connection's worker. */
#include <stdio.h>

#include "conn.h"
#include "fanout.h"
#include "local.h"
#include "local_info.h"
#include "script.h"
#include "splitring/base/mem.h"
#include "splitring/base/slab.h"
#include "splitring/cmd/handlers.h"

/* What DOCTOR finds worth telling. */
#define EMPTY_BYTES (5u << 20)
#define PEAK_RATIO 1.5
#define FRAGMENTED_RATIO 1.4
#define GAPS_RATIO 1.1
#define RESIDENT_RATIO 1.1
#define WASTE_BYTES (10u << 20) /* less is not worth a word */
#define CLIENT_BYTES (200u << 10)
#define SCRIPTS_MANY 1000u

static double ratio(uint64_t a, uint64_t b) { return b ? (double)a / (double)b : 0; }

/* ---- STATS ---- */

static void number(struct reply *r, const char *name, uint64_t value)
{
    reply_bulk_str(r, name);
    reply_int(r, (int64_t)value);
}

/* Redis computes most of them as floats. */
static void fraction(struct reply *r, const char *name, double value)
{
    reply_bulk_str(r, name);
    reply_double(r, value);
}

static uint64_t keys_of(const struct hub *hub, db_id db)
{
    uint64_t keys = 0;
    for (unsigned s = 0; s < hub->count; s++)
        keys += counter_get(&hub->shard_published[s].keys[db]);
    return keys;
}

static void reply_database(struct reply *r, const struct hub *hub, db_id db)
{
    char name[16];
    uint64_t bytes = 0;
    for (unsigned s = 0; s < hub->count; s++)
        bytes += counter_get(&hub->shard_published[s].table_bytes[db]);
    snprintf(name, sizeof name, "db.%u", (unsigned)db);
    reply_bulk_str(r, name);
    reply_map(r, 3);
    number(r, "overhead.hashtable.main", bytes);
    number(r, "overhead.hashtable.expires", 0);
    number(r, "overhead.hashtable.slot-to-keys", 0);
}

static void reply_allocator(struct reply *r, const struct stats_memory *m)
{
    number(r, "allocator.allocated", m->used);
    number(r, "allocator.active", m->active);
    number(r, "allocator.resident", m->resident);
    fraction(r, "allocator-fragmentation.ratio", ratio(m->active, m->used));
    number(r, "allocator-fragmentation.bytes", m->active - m->used);
    fraction(r, "allocator-rss.ratio", ratio(m->resident, m->active));
    number(r, "allocator-rss.bytes", m->resident - m->active);
    fraction(r, "rss-overhead.ratio", ratio(m->rss, m->resident));
    number(r, "rss-overhead.bytes", m->rss - m->resident);
    fraction(r, "fragmentation", ratio(m->rss, m->used));
    number(r, "fragmentation.bytes", m->rss - m->used);
}

void cmd_memory_stats(struct call *c)
{
    const struct hub *hub = c->conn->worker->hub;
    struct reply *r = &c->reply;
    struct stats_memory m;
    uint64_t keys = 0;
    unsigned databases = 0;
    info_await_publishing(c->conn->worker);
    stats_memory(hub, &m);
    for (db_id db = 0; db < hub->databases; db++) {
        databases += keys_of(hub, db) != 0;
        keys += keys_of(hub, db);
    }
    reply_map(r, 27 + databases);
    number(r, "peak.allocated", m.peak);
    number(r, "total.allocated", m.used);
    number(r, "startup.allocated", m.startup);
    number(r, "replication.backlog", 0);
    number(r, "clients.slaves", 0);
    number(r, "clients.normal", m.clients);
    number(r, "cluster.links", 0);
    number(r, "aof.buffer", m.journal);
    number(r, "lua.caches", m.texts);
    number(r, "functions.caches", m.functions);
    for (db_id db = 0; db < hub->databases; db++)
        if (keys_of(hub, db)) reply_database(r, hub, db);
    number(r, "overhead.total", m.overhead);
    number(r, "keys.count", keys);
    number(r, "keys.bytes-per-key", keys ? (m.used - m.startup) / keys : 0);
    number(r, "dataset.bytes", m.used - m.overhead);
    fraction(r, "dataset.percentage", ratio(m.used - m.overhead, m.used - m.startup) * 100);
    fraction(r, "peak.percentage", ratio(m.used, m.peak) * 100);
    reply_allocator(r, &m);
}

/* ---- DOCTOR ---- */

struct finding {
    const char *title, *advice;
    double value;
    bool found;
};

static void reply_findings(struct call *c, const struct finding *findings, size_t count)
{
    struct buf text = {0};
    size_t found = 0;
    for (size_t i = 0; i < count; i++) found += findings[i].found;
    if (!found) {
        reply_verbatim(&c->reply, "txt",
                       SLICE("Hi Sam, I can't find any memory issue in your instance. "
                             "I can only account for what occurs on this base.\n"));
        return;
    }
    buf_printf(&text, "Sam, I detected a few issues in this Splitring instance memory implants:\n"
                      "\n");
    for (size_t i = 0; i < count; i++)
        if (findings[i].found)
            buf_printf(&text, " * %s (%.2f): %s\n\n", findings[i].title, findings[i].value,
                       findings[i].advice);
    buf_printf(&text, "I'm here to keep you safe, Sam. I want to help you.\n");
    reply_verbatim(&c->reply, "txt", buf_slice(&text));
    buf_deinit(&text);
}

void cmd_memory_doctor(struct call *c)
{
    struct worker *w = c->conn->worker;
    struct stats_memory m;
    info_await_publishing(w);
    stats_memory(w->hub, &m);
    if (m.used < EMPTY_BYTES) {
        reply_verbatim(&c->reply, "txt",
                       SLICE("Hi Sam, this instance is empty or is using very little memory, my "
                             "issues detector can't be used in these conditions. Please, leave "
                             "for your mission on Earth and fill it with some data. The new Sam "
                             "and I will be back to our programming as soon as I finished "
                             "rebooting.\n"));
        return;
    }
    script_store_lock(w->hub);
    size_t scripts = script_store_count(w->hub->scripts);
    script_store_unlock(w->hub);
    uint64_t clients = counter_get(&w->hub->clients);
    double peak = ratio(m.peak, m.used), gaps = ratio(m.active, m.used);
    double resident = ratio(m.resident, m.active), rss = ratio(m.rss, m.used);
    double client = clients ? (double)m.clients / (double)clients : 0;
    const struct finding findings[] = {
        {"Peak memory", "much more was in use once than is now. What was given back to the system "
         "is not lost; what was not will be used again. MEMORY PURGE gives back what it can.",
         peak, peak > PEAK_RATIO},
        {"High total RSS", "the process has more memory than its data needs. The next lines say "
         "where; if there are none, it was in use a moment ago.",
         rss, rss > FRAGMENTED_RATIO && m.rss > m.used + WASTE_BYTES},
        {"High allocator fragmentation", "pages of small blocks have gaps where keys were deleted. "
         "CONFIG SET activedefrag yes moves what is left together.",
         gaps, gaps > GAPS_RATIO && m.active > m.used + WASTE_BYTES},
        {"High allocator RSS overhead", "the allocator keeps pages that it does not use. "
         "MEMORY PURGE gives them back.",
         resident, resident > RESIDENT_RATIO && m.resident > m.active + WASTE_BYTES},
        {"Big client buffers", "connections take this many bytes each, on average. Clients that do "
         "not read their replies show in CLIENT LIST by omem; maxmemory-clients bounds them all.",
         client, client > CLIENT_BYTES},
        {"Many scripts", "so many scripts are cached. EVAL of generated texts does that: give "
         "what changes as arguments.",
         (double)scripts, scripts > SCRIPTS_MANY},
    };
    reply_findings(c, findings, ARRAY_COUNT(findings));
}

/* ---- PURGE ---- */

static void purge_part(struct worker *w, struct fanout *f)
{
    (void)f;
    worker_hold(w, w->id);
    shard_slab_trim(w->shard);
    mem_purge();
}

static void purge_done(struct worker *w, struct fanout *f, struct conn *c, struct reply *reply)
{
    (void)w, (void)f, (void)c;
    if (reply) reply_ok(reply);
}

void cmd_memory_purge(struct call *c)
{
    fanout_start(fanout_new(c->conn->worker, c->conn, purge_part, purge_done, NULL), false);
}

/* ---- MALLOC-STATS ---- */

static void small_blocks(const struct worker *w, struct buf *out)
{
    struct slab_class classes[SLAB_CLASSES];
    const struct slab *slab = shard_slab(w->shard);
    slab_look(slab, classes);
    buf_printf(out, "small blocks of shard %u: used %zu, held %zu\n", w->id, slab_bytes_used(slab),
               slab_bytes_held(slab));
    for (size_t i = 0; i < SLAB_CLASSES; i++) {
        const struct slab_class *k = &classes[i];
        if (!k->pages) continue;
        if (i == 0)
            buf_printf(out, "  empty: pages %zu, held %zu\n", k->pages, k->held);
        else
            buf_printf(out,
                       "  %zu bytes: blocks %zu, pages %zu (%zu with room), used %zu, held %zu\n",
                       i * 8, k->used / (i * 8), k->pages, k->pages_with_room, k->used, k->held);
    }
}

static void other_blocks(const struct worker *w, struct buf *out)
{
    struct mem_class classes[MEM_CLASSES];
    buf_printf(out, "%s, blocks of worker %u\n", mem_allocator(), w->id);
    if (!mem_look(classes)) return;
    for (unsigned i = 0; i < MEM_CLASSES; i++)
        if (classes[i].pages)
            buf_printf(out, "  up to %zu bytes: blocks %zu, pages %zu, used %zu, held %zu\n",
                       (size_t)1 << i, classes[i].blocks, classes[i].pages, classes[i].used,
                       classes[i].held);
}

static void malloc_part(struct worker *w, struct fanout *f)
{
    struct buf *out = &f->out[w->id];
    worker_hold(w, w->id);
    small_blocks(w, out);
    other_blocks(w, out);
}

static void malloc_done(struct worker *w, struct fanout *f, struct conn *c, struct reply *reply)
{
    struct buf all = {0};
    (void)c;
    if (!reply) return;
    for (unsigned i = 0; i < w->hub->count; i++) buf_append_slice(&all, buf_slice(&f->out[i]));
    reply_verbatim(reply, "txt", buf_slice(&all));
    buf_deinit(&all);
}

void cmd_memory_malloc_stats(struct call *c)
{
    fanout_start(fanout_new(c->conn->worker, c->conn, malloc_part, malloc_done, NULL), false);
}

/* ---- HELP ---- */

void cmd_memory_help(struct call *c)
{
    static const char *const lines[] = {
        "DOCTOR",
        "    Return memory problems reports.",
        "MALLOC-STATS",
        "    Return internal statistics report from the memory allocator.",
        "PURGE",
        "    Attempt to purge dirty pages for reclamation by the allocator.",
        "STATS",
        "    Return information about the memory usage of the server.",
        "USAGE <key> [SAMPLES <count>]",
        "    Return memory in bytes used by <key> and its value. Nested values are",
        "    sampled up to <count> times (default: 5, 0 means sample all).",
        NULL};
    call_help(c, lines);
}
