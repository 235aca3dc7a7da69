/* What the published counters do not say by themselves.
 *
 * The rule of this file is that nothing of it is paid for by a command that goes well:
 *   - errors are counted by their first word only where there was an error, from the reply's text.
 *     That word is looked for in the last line of the output, which is the error's own: error lines
 *     hold no line ends. Distinct words are few and known, so a table of counters is enough, and
 *     readers need no lock.
 *   - average TTLs, locks waited for, the thread's CPU time and the memory's peak are taken by the
 *     tick, once a second. An average TTL is published as an instant, so it does not age.
 *
 * Gauges of a shard are written by its holder. An active worker does so for its own shard, and for
 * others that it can borrow, since their owners may be asleep.
 *
 * "Used memory" is what the shards count plus connections plus what stands there from the start,
 * computed from the sizes of its parts; the allocator is not asked.
 * Thread: owner, but for what reads counters (any). */
#include "stats.h"

#include "conn.h"
#include "functions.h"
#include "journal_log.h"
#include "script.h"
#include "splitring/base/slab.h"
#include "splitring/base/check.h"
#include "splitring/io/os.h"

/* ---- errors ---- */

static const char *const error_codes[] = {
    "ERR",       "WRONGTYPE",  "NOAUTH",     "WRONGPASS",   "NOPERM",     "NOPROTO",
    "OOM",       "MISCONF",    "LOADING",    "BUSY",        "READONLY",   "NOREPLICAS",
    "MASTERDOWN", "EXECABORT", "NOSCRIPT",   "BUSYKEY",     "UNBLOCKED",  "DENIED",
    "NOGROUP",   "BUSYGROUP",  "CROSSSLOT",  "IOERR",       "INVALIDOBJ", "NOTBUSY",
    "UNKILLABLE", "OTHER",
};
#define CODE_OTHER (ARRAY_COUNT(error_codes) - 1)
static_assert(ARRAY_COUNT(error_codes) <= ERROR_CODES, "internal.h: ERROR_CODES");

const char *stats_error_code(unsigned i)
{
    return i < ARRAY_COUNT(error_codes) ? error_codes[i] : NULL;
}

static unsigned code_of(struct slice line)
{
    const char *blank = memchr(line.ptr, ' ', line.len);
    struct slice word = slice_of(line.ptr, blank ? (size_t)(blank - line.ptr) : line.len);
    for (unsigned i = 0; i < CODE_OTHER; i++)
        if (slice_equal(word, slice_str(error_codes[i]))) return i;
    return CODE_OTHER;
}

void stats_note_error(struct worker *w, const struct buf *out)
{
    if (out->failed || out->len < 3) return;
    size_t end = out->len - 2, begin = end;
    while (begin && out->ptr[begin - 1] != '\n') begin--;
    bool plain = out->ptr[begin] == '-'; /* else an error among the elements of an array */
    counter_add(&w->pub->errors[plain ? code_of(slice_of(out->ptr + begin + 1, end - begin - 1))
                                      : CODE_OTHER], 1);
}

void stats_note_refusal(struct worker *w, const struct command *cmd, const struct buf *out)
{
    if (cmd) counter_add(&w->pub->calls_rejected[cmd->id], 1);
    counter_add(&w->pub->error_replies, 1);
    stats_note_error(w, out);
}

void stats_note_reply(struct worker *w, const struct command *cmd, const struct reply *reply)
{
    if (!reply->errors) return;
    counter_add(&w->pub->error_replies, reply->errors);
    if (cmd) counter_add(&w->pub->calls_failed[cmd->id], 1);
    stats_note_error(w, reply->out);
}

/* ---- memory ---- */

static uint64_t startup_bytes(const struct hub *hub)
{
    uint64_t n = hub->count;
    uint64_t per_worker = sizeof(struct worker) + sizeof(struct group) +
                          sizeof(struct worker_published) + sizeof(struct shard_published) +
                          4 * command_count() * sizeof(counter) +
                          3 * hub->databases * sizeof(counter);
    return sizeof *hub + n * per_worker + n * n * sizeof(struct mailbox) +
           SLOT_COUNT * sizeof(shard_id);
}

void stats_memory_now(const struct hub *hub, struct stats_memory *out)
{
    *out = (struct stats_memory){.startup = startup_bytes(hub)};
    for (unsigned i = 0; i < hub->count; i++) {
        const struct worker_published *p = &hub->published[i];
        out->shards += counter_get(&hub->shard_published[i].bytes);
        out->not_counted += counter_get(&hub->shard_published[i].unlinked);
        out->vms += counter_get(&p->vm_bytes);
        out->tracking += counter_get(&hub->shard_published[i].tracking_bytes);
        out->clients += counter_get(&p->clients_bytes);
    }
    out->texts = script_texts_bytes(hub);
    out->functions = functions_bytes(hub);
    out->scripts = out->vms + out->texts + out->functions;
    out->journal = counter_get(&hub->journal->log->buffered);
    out->not_counted += out->journal;
    out->used = out->peak = out->startup + out->shards + out->clients + out->tracking +
                            out->scripts + out->journal;
}

void stats_memory(const struct hub *hub, struct stats_memory *out)
{
    uint64_t slab_used = 0;
    stats_memory_now(hub, out);
    for (unsigned i = 0; i < hub->count; i++) {
        const struct shard_published *s = &hub->shard_published[i];
        uint64_t seen = counter_get(&hub->published[i].peak_bytes);
        if (seen > out->peak) out->peak = seen;
        slab_used += counter_get(&s->slab_used);
        out->slab_held += counter_get(&s->slab_held);
        for (db_id db = 0; db < hub->databases; db++)
            out->tables += counter_get(&s->table_bytes[db]);
    }
    out->overhead = out->used - out->shards + out->tables;
    out->active = out->used + out->slab_held - slab_used;
    out->rss = os_rss_bytes();
    out->resident = os_rss_anon_bytes();
}

/* ---- once a second ---- */

void stats_publish_shard(struct worker *w, shard_id s)
{
    const struct locks_stats *locks = locks_stats_of(w->hub->locks[s]);
    struct shard_published *pub = &w->hub->shard_published[s];
    dcheck(worker_holds(w, s));
    counter_set(&pub->lock_waits, locks->waited);
    counter_set(&pub->lock_active, locks->active);
    counter_set(&pub->watched_keys, w->hub->watched[s].count);
    counter_set(&pub->blocking_keys, w->hub->waiting[s].keys.count);
    counter_set(&pub->nokey_keys, w->hub->waiting[s].nokey);
    const struct shard *shard = w->hub->shards[s];
    counter_set(&pub->slab_used, slab_bytes_used(shard_slab(shard)));
    counter_set(&pub->slab_held, slab_bytes_held(shard_slab(shard)));
    for (db_id db = 0; db < w->hub->databases; db++)
        counter_set(&pub->table_bytes[db], shard_db_table_bytes(shard, db));
}

static void publish_gauges(struct worker *w, shard_id s)
{
    const struct shard *shard = w->hub->shards[s];
    struct shard_published *pub = &w->hub->shard_published[s];
    stats_publish_shard(w, s);
    for (db_id db = 0; db < w->hub->databases; db++) {
        instant_ms left = counter_get(&pub->expires[db]) ? shard_db_avg_ttl(shard, db) : 0;
        counter_set(&pub->expiry_avg[db], left ? (uint64_t)(shard_clock(shard) + left) : 0);
    }
}

static void tell_cpu_time(struct worker *w)
{
    struct os_usage usage;
    os_thread_usage_get(&usage);
    counter_set(&w->pub->cpu_user_us, (uint64_t)(usage.user_s * 1e6));
    counter_set(&w->pub->cpu_system_us, (uint64_t)(usage.system_s * 1e6));
}

void stats_tick(struct worker *w)
{
    struct stats_memory memory;
    stats_memory_now(w->hub, &memory);
    if (memory.used > counter_get(&w->pub->peak_bytes))
        counter_set(&w->pub->peak_bytes, memory.used);
    tell_cpu_time(w);
    worker_hold(w, w->id);
    publish_gauges(w, w->id);
    for (shard_id s = 0; s < w->hub->count; s++)
        if (s != w->id && worker_hold(w, s)) publish_gauges(w, s);
}
