/* The page's figures, as one JSON object:
 *
 *   {"version", "now", "uptime", "ready", "cpu":{…}, "memory":{…}, "totals":{…},
 *    "workers":[{counters, "keys", "bytes", …}], "commands":[{"name", "calls", …, "p50", "p99",
 *    "max"}], "dbs":[…], "errors":{…}, "told":[what each worker says (observe_workers.c)]}
 *
 * Counters are totals, the page takes differences. Percentiles cannot be taken from differences of
 * percentiles, so the histograms of a second ago are kept here: p50 and p99 are of what has run
 * since the object before. What is told is kept for a second, so many who look cost no more than
 * one.
 * Thread: an onlooker. */
#include "meter.h"
#include "observe.h"
#include "splitring/base/mem.h"
#include "splitring/io/os.h"
#include "stats.h"

#define FRESH_US 900000
#define FORGET_US 15000000 /* nobody looks: the next one begins anew */
#define ASK_US 250000

struct observer {
    struct hub *hub;
    struct buf last;       /* what was told last, at last_us */
    int64_t last_us;
    struct hist **before;  /* by command; NULL: it had not been called */
};

struct observer *observer_new(struct hub *hub)
{
    struct observer *o = mem_zalloc(sizeof *o);
    o->hub = hub;
    o->before = mem_zalloc(command_count() * sizeof *o->before);
    return o;
}

static void forget(struct observer *o)
{
    for (size_t id = 0; id < command_count(); id++) {
        mem_free(o->before[id]);
        o->before[id] = NULL;
    }
}

void observer_free(struct observer *o)
{
    forget(o);
    mem_free(o->before);
    buf_deinit(&o->last);
    mem_free(o);
}

void observe_metrics(struct observer *o, struct buf *out) { observe_hub_metrics(o->hub, out); }

/* ---- commands ---- */

/* *h becomes what was recorded since `before`; a reset in between leaves all there is. */
static void since(struct hist *h, const struct hist *before)
{
    uint64_t count = 0;
    size_t bins = hist_bins(h->bits);
    for (size_t i = 0; i < bins; i++)
        if (counter_get(&h->bins[i]) < counter_get(&before->bins[i])) return;
    for (size_t i = 0; i < bins; i++) {
        counter_sub(&h->bins[i], counter_get(&before->bins[i]));
        count += counter_get(&h->bins[i]);
    }
    counter_set(&h->count, count);
}

static void command(struct observer *o, struct buf *out, size_t id)
{
    struct observe_command c = observe_command(o->hub, id);
    if (!(c.calls | c.rejected)) return;
    struct hist *now = meter_merged(o->hub, id, METER_RAN);
    struct hist *recent = meter_merged(o->hub, id, METER_RAN);
    if (recent && o->before[id]) since(recent, o->before[id]);
    buf_append_char(out, '{');
    json_name(out, "name");
    json_text(out, slice_str(command_at(id)->name));
    buf_append_char(out, ',');
    json_number(out, "calls", c.calls);
    json_number(out, "failed", c.failed);
    json_number(out, "rejected", c.rejected);
    json_number(out, "ns", c.ns);
    if (recent && counter_get(&recent->count)) {
        json_number(out, "p50", hist_percentile(recent, 50));
        json_number(out, "p99", hist_percentile(recent, 99));
        json_number(out, "max", hist_percentile(recent, 100));
    }
    json_end(out, '}');
    mem_free(recent);
    mem_free(o->before[id]);
    o->before[id] = now;
}

/* ---- sums ---- */

static void worker(const struct hub *hub, struct buf *out, worker_id id)
{
    const struct worker_published *p = &hub->published[id];
    const struct shard_published *s = &hub->shard_published[id];
    uint64_t keys = 0;
    for (uint32_t db = 0; db < hub->databases; db++) keys += counter_get(&s->keys[db]);
    buf_append_char(out, '{');
    json_number(out, "commands", counter_get(&p->commands));
    json_number(out, "load", counter_get(&p->load_permille));
    json_number(out, "clients", counter_get(&p->clients));
    json_number(out, "cpu_us", counter_get(&p->cpu_user_us) + counter_get(&p->cpu_system_us));
    json_number(out, "sent", counter_get(&p->messages_out));
    json_number(out, "received", counter_get(&p->messages_in));
    json_number(out, "depth", observe_inbox(hub, id));
    json_number(out, "deepest", counter_get(&p->inbox_max));
    json_number(out, "borrowed", counter_get(&p->ran_borrowed));
    json_number(out, "txns", counter_get(&p->txns));
    json_number(out, "keys", keys);
    json_number(out, "bytes", counter_get(&s->bytes));
    json_number(out, "lock_waits", counter_get(&s->lock_waits));
    json_end(out, '}');
}

static void totals(const struct hub *hub, struct buf *out)
{
    uint64_t commands = 0, in = 0, bytes_out = 0, hits = 0, misses = 0, expired = 0, errors = 0;
    uint64_t blocked = 0, pubsub = 0;
    for (unsigned n = 0; n < hub->count; n++) {
        const struct worker_published *p = &hub->published[n];
        const struct shard_published *s = &hub->shard_published[n];
        commands += counter_get(&p->commands), errors += counter_get(&p->error_replies);
        in += counter_get(&p->bytes_in), bytes_out += counter_get(&p->bytes_out);
        blocked += counter_get(&p->blocked), pubsub += counter_get(&p->pubsub_clients);
        hits += counter_get(&s->hits), misses += counter_get(&s->misses);
        expired += counter_get(&s->expired);
    }
    json_name(out, "totals");
    buf_append_char(out, '{');
    json_number(out, "commands", commands);
    json_number(out, "in", in);
    json_number(out, "out", bytes_out);
    json_number(out, "hits", hits);
    json_number(out, "misses", misses);
    json_number(out, "expired", expired);
    json_number(out, "errors", errors);
    json_number(out, "clients", counter_get(&hub->clients));
    json_number(out, "blocked", blocked);
    json_number(out, "pubsub", pubsub);
    json_end(out, '}');
}

static void memory(const struct hub *hub, struct buf *out)
{
    struct stats_memory m;
    stats_memory(hub, &m);
    json_name(out, "memory");
    buf_append_char(out, '{');
    json_number(out, "data", m.shards);
    json_number(out, "clients", m.clients);
    json_number(out, "tracking", m.tracking);
    json_number(out, "startup", m.startup);
    json_number(out, "scripts", m.scripts);
    json_number(out, "used", m.used);
    json_number(out, "peak", m.peak);
    json_number(out, "resident", os_rss_bytes());
    json_number(out, "limit", counter_get(&hub->published[0].memory_limit));
    json_end(out, '}');
}

static void lists(struct observer *o, struct buf *out)
{
    const struct hub *hub = o->hub;
    json_name(out, "workers");
    buf_append_char(out, '[');
    for (worker_id id = 0; id < hub->count; id++) worker(hub, out, id);
    json_end(out, ']');
    json_name(out, "commands");
    buf_append_char(out, '[');
    for (size_t id = 0; id < command_count(); id++) command(o, out, id);
    json_end(out, ']');
    json_name(out, "dbs");
    buf_append_char(out, '[');
    for (uint32_t db = 0; db < hub->databases; db++) {
        uint64_t keys = 0, expires = 0;
        for (unsigned s = 0; s < hub->count; s++) {
            keys += counter_get(&hub->shard_published[s].keys[db]);
            expires += counter_get(&hub->shard_published[s].expires[db]);
        }
        if (keys) buf_printf(out, "{\"db\":%u,\"keys\":%llu,\"expires\":%llu},", db,
                             (unsigned long long)keys, (unsigned long long)expires);
    }
    json_end(out, ']');
}

static void told_by_workers(struct observer *o, struct buf *out)
{
    struct buf told = {0};
    json_name(out, "told");
    if (observe_ask(o->hub, &told, ASK_US) && !told.failed)
        buf_append_slice(out, buf_slice(&told));
    else
        buf_append_slice(out, SLICE("null")); /* a worker is busy: the page says so */
    buf_deinit(&told);
}

void observe_json(struct observer *o, struct buf *out)
{
    int64_t now_us = os_mono_us();
    const char *why;
    if (o->last.len && now_us - o->last_us < FRESH_US) {
        buf_append_slice(out, buf_slice(&o->last));
        return;
    }
    if (now_us - o->last_us > FORGET_US) forget(o);
    struct buf *b = &o->last;
    b->len = 0;
    buf_printf(b, "{\"version\":\"" SPLITRING_VERSION "\",\"now\":%lld,\"uptime\":%lld,"
                  "\"pid\":%ld,\"port\":%d,\"ready\":%s,",
               (long long)(os_unix_us() / 1000),
               (long long)(os_unix_us() / 1000 - o->hub->start_ms) / 1000, os_pid(),
               o->hub->config_start->port, observe_ready(o->hub, &why) ? "true" : "false");
    memory(o->hub, b);
    totals(o->hub, b);
    lists(o, b);
    told_by_workers(o, b);
    buf_append_char(b, '}');
    o->last_us = os_mono_us();
    buf_append_slice(out, buf_slice(b));
    if (!b->failed) return;
    out->failed = true;
    buf_deinit(b);
}
