/* The workers' side of a snapshot: the cut, each shard's walk, chunks on their way to P.
 *
 * The cut is one moment in which one worker holds all shards and no transaction is half done
 * (still.c, a patient one: it looks for such a moment while everything goes on, and holds writes
 * back for some milliseconds only where none comes by itself). There every shard begins to tell its
 * keys as they are then, which costs nothing by the number of keys.
 *
 * From then on every owner spends a slice of each pass on its shard's walk, also when it would
 * sleep. Whoever holds the shard and is about to change a key that has not been told tells it
 * first. Both write into the shard's open chunk, as plain RDB; a chunk begins with its database and
 * ends with an entry, so chunks of all shards may follow each other in one file. P takes at most
 * SNAPSHOT_IN_FLIGHT chunks of a stream; the walk stops while there are full ones left, writers do
 * not: what they tell then is the memory that `snapshot-memory-limit` bounds.
 *
 * A big value comes in pieces, over many slices, and whole entries that writers tell come in
 * between: hence a second stream per shard. In the file a value is one piece, so P, once it has
 * begun with one, takes nothing else for that file until it has its end; other shards' walks wait
 * meanwhile, unless each shard has a file of its own (snapshot-layout shards).
 *
 * Giving up is the same way shorter: a shard stops telling, throws its chunks away and sends a last
 * one, empty. So P always sees one end per shard, whatever happened.
 * Thread: owner, or holder of the shard whose part it is. */
#include "snapshot.h"

#include <errno.h>
#include <stdio.h>

#include "conn.h"
#include "save.h"
#include "splitring/base/check.h"
#include "splitring/base/mem.h"
#include "splitring/io/log.h"
#include "splitring/io/os.h"
#include "splitring/keyspace/snapshot.h"

#define STEP_SLOTS 64u      /* between two looks at the clock */
#define LEVEL_BUDGET 2000u  /* of what follows a snapshot that was given up */
#define SLICE_PART 6        /* of the time since the last slice, beside commands … */
#define SLICE_LEAST_US 10
#define SLICE_IDLE_US 200   /* … and at most: a command that comes now waits for it */

static struct snapshots *of(const struct hub *hub) { return hub->snapshots; }

/* ---- chunks. Thread: holder ---- */

static void chunk_free(struct snapshot_share *share, struct snapshot_chunk *chunk)
{
    share->chunk_bytes -= chunk->bytes.cap;
    buf_deinit(&chunk->bytes);
    mem_free(chunk);
}

/* What P is done with is room for more; those that one big value has made large go. */
static void take_home(struct snapshot_share *share)
{
    struct message m;
    while (mailbox_receive(&share->home, &m)) {
        struct snapshot_chunk *chunk = m.ptr;
        (chunk->big ? &share->big : &share->plain)->in_flight--;
        if (chunk->bytes.cap > 2 * SNAPSHOT_CHUNK)
            chunk_free(share, chunk);
        else
            list_push_back(&share->spare, &chunk->link);
    }
}

static void free_spare(struct snapshot_share *share)
{
    struct list *link;
    while ((link = list_pop_front(&share->spare)) != NULL)
        chunk_free(share, CONTAINER_OF(link, struct snapshot_chunk, link));
}

static struct snapshot_chunk *chunk_new(struct snapshot_share *share)
{
    struct list *link = list_pop_front(&share->spare);
    if (!link) return mem_zalloc(sizeof(struct snapshot_chunk));
    struct snapshot_chunk *chunk = CONTAINER_OF(link, struct snapshot_chunk, link);
    *chunk = (struct snapshot_chunk){.bytes = chunk->bytes};
    chunk->bytes.len = 0;
    return chunk;
}

static int into_chunk(void *ctx, const char *ptr, size_t len)
{
    struct snapshot_stream *stream = ctx;
    struct buf *bytes = &stream->open->bytes;
    size_t before = bytes->cap;
    if (!bytes->cap) buf_reserve(bytes, SNAPSHOT_CHUNK + SNAPSHOT_CHUNK / 4);
    buf_append(bytes, ptr, len);
    stream->share->chunk_bytes += bytes->cap - before;
    return bytes->failed ? -ENOMEM : 0;
}

static void flow_send(struct snapshot_stream *stream)
{
    struct list *link;
    bool any = false;
    while (stream->in_flight < SNAPSHOT_IN_FLIGHT) {
        link = list_pop_front(&stream->ready);
        if (!link) break;
        struct snapshot_chunk *chunk = CONTAINER_OF(link, struct snapshot_chunk, link);
        mailbox_send(&stream->to_p, (struct message){0, stream->share->id, chunk});
        stream->in_flight++;
        any = true;
    }
    if (any && mailbox_publish(&stream->to_p))
        persister_wake_shared(&stream->share->hub->persister);
}

static void send_ready(struct snapshot_share *share)
{
    take_home(share);
    flow_send(&share->big);
    flow_send(&share->plain);
}

static void end_chunk(struct snapshot_stream *stream, bool last, bool ends_value)
{
    struct snapshot_share *share = stream->share;
    if (rdb_out_flush(stream->writer) != 0)
        snapshot_give_up_shared(share->hub, SNAPSHOT_CROWDED); /* no memory */
    struct snapshot_chunk *chunk = stream->open;
    chunk->version = rdb_out_version(stream->writer);
    chunk->last = last;
    chunk->big = stream->big;
    chunk->ends_value = ends_value;
    list_push_back(&stream->ready, &chunk->link);
    stream->open = last ? NULL : chunk_new(share);
    stream->cut_at = rdb_out_bytes(stream->writer);
    if (!stream->big) share->db = UINT32_MAX;
    send_ready(share);
}

static bool chunk_is_full(const struct snapshot_stream *stream)
{
    return rdb_out_bytes(stream->writer) - stream->cut_at >= SNAPSHOT_CHUNK;
}

/* ---- what a shard tells ---- */

static bool is_full(void *ctx)
{
    struct snapshot_share *share = ctx;
    return !list_empty(&share->plain.ready) || !list_empty(&share->big.ready);
}

static void access_of(const struct snapshot_share *share, const struct entry *e, int64_t *idle_s,
                      int *freq)
{
    const struct rdb_out_options *options = &of(share->hub)->options;
    *idle_s = -1;
    *freq = -1;
    if (likely(!options->idle && !options->freq)) return;
    struct ks ks = {.shard = share->hub->shards[share->id], .flags = KS_NO_TOUCH,
                    .now = shard_clock(share->hub->shards[share->id])};
    if (options->idle) *idle_s = (int64_t)entry_idle_s(&ks, e);
    if (options->freq) *freq = (int)entry_freq(&ks, e);
}

static void on_entry(void *ctx, db_id db, const struct entry *e)
{
    struct snapshot_share *share = ctx;
    int64_t idle_s;
    int freq;
    access_of(share, e, &idle_s, &freq);
    if (db != share->db) {
        rdb_out_select(share->plain.writer, db);
        share->db = db;
    }
    (void)rdb_out_key_as(share->plain.writer, e, entry_expiry(e), idle_s, freq);
    if (chunk_is_full(&share->plain)) end_chunk(&share->plain, false, false);
}

static void on_big_begin(void *ctx, db_id db, const struct entry *e, uint64_t count,
                         instant_ms lowest)
{
    struct snapshot_share *share = ctx;
    int64_t idle_s;
    int freq;
    access_of(share, e, &idle_s, &freq);
    share->value_open = true;
    rdb_out_select(share->big.writer, db);
    rdb_out_big(share->big.writer, e, idle_s, freq, count, lowest);
}

static void on_big_part(void *ctx, enum value_type type, const struct snapshot_part *part)
{
    struct snapshot_share *share = ctx;
    rdb_out_part(share->big.writer, type, part);
    if (chunk_is_full(&share->big)) end_chunk(&share->big, false, false);
}

static void on_big_end(void *ctx)
{
    struct snapshot_share *share = ctx;
    share->value_open = false;
    end_chunk(&share->big, false, true);
}

static uint64_t bytes_of(const struct list *chunks)
{
    uint64_t sum = 0;
    for (const struct list *at = chunks->next; at != chunks; at = at->next)
        sum += CONTAINER_OF(at, const struct snapshot_chunk, link)->bytes.len;
    return sum;
}

static void publish(struct snapshot_share *share)
{
    const struct shard *shard = share->hub->shards[share->id];
    uint64_t held = shard_snapshot_held_bytes(shard);
    uint64_t waiting = held + bytes_of(&share->plain.ready) + bytes_of(&share->big.ready);
    counter_set(&share->waiting_bytes, waiting);
    counter_set(&share->bytes, held + share->chunk_bytes);
    if (!shard_snapshot_running(shard)) return;
    counter_set(&share->keys, shard_snapshot_keys(shard));
    counter_set(&share->told, shard_snapshot_told(shard));
}

static void flow_begin(struct snapshot_stream *stream, const struct rdb_out_options *like)
{
    struct rdb_out_options options = *like;
    options.piece = true;
    options.checksum = false; /* P makes it, over the whole */
    options.write = into_chunk;
    options.ctx = stream;
    stream->writer = rdb_out_new(&options);
    stream->open = chunk_new(stream->share);
    stream->cut_at = 0;
}

static void share_begin(struct snapshot_share *share)
{
    struct snapshot_sink sink = {.entry = on_entry, .big_begin = on_big_begin,
                                 .big_part = on_big_part, .big_end = on_big_end,
                                 .full = is_full, .ctx = share};
    flow_begin(&share->plain, &of(share->hub)->options);
    flow_begin(&share->big, &of(share->hub)->options);
    share->db = UINT32_MAX;
    share->value_open = false;
    shard_snapshot_begin(share->hub->shards[share->id], &sink);
    publish(share);
    counter_set_release(&share->running, 1);
}

/* The last chunk is to be the last that P sees: pieces have a way of their own. */
static bool may_end(const struct snapshot_share *share)
{
    return share->plain.writer && !shard_snapshot_running(share->hub->shards[share->id]) &&
           list_empty(&share->big.ready) && share->big.in_flight == 0;
}

static void share_end(struct snapshot_share *share)
{
    end_chunk(&share->plain, true, false);
    rdb_out_free(share->plain.writer);
    rdb_out_free(share->big.writer);
    share->plain.writer = share->big.writer = NULL;
    chunk_free(share, share->big.open);
    share->big.open = NULL;
    counter_set(&share->told, counter_get(&share->keys));
}

static void throw_away(struct snapshot_stream *stream)
{
    struct list *link;
    while ((link = list_pop_front(&stream->ready)) != NULL)
        chunk_free(stream->share, CONTAINER_OF(link, struct snapshot_chunk, link));
    stream->open->bytes.len = 0;
}

/* Stops telling; its owner sends the last chunk. P may be in the middle of a value: that ends. */
static void share_give_up(struct snapshot_share *share)
{
    if (!shard_snapshot_running(share->hub->shards[share->id])) return;
    shard_snapshot_abort(share->hub->shards[share->id]);
    throw_away(&share->plain);
    throw_away(&share->big);
    share->value_open = false;
    end_chunk(&share->big, false, true);
}

/* ---- the owner's slices ---- */

static bool crowded(const struct snapshots *s, uint32_t count)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < count; i++) sum += counter_get(&s->shares[i].waiting_bytes);
    /* One chunk per shard beyond what P takes is the walk's own. */
    return s->memory_limit && sum > s->memory_limit + (uint64_t)count * 2 * SNAPSHOT_CHUNK;
}

/* A share of a busy worker's time, so that the CPU time per command rises by as much and no more,
 * whether its passes are short or long. */
static int64_t slice_us(const struct worker *w, int64_t mono_us)
{
    if (counter_get(&w->pub->commands) == w->snapshot_commands) return SLICE_IDLE_US;
    int64_t part = (mono_us - w->snapshot_left_us) / SLICE_PART;
    if (part < SLICE_LEAST_US) return SLICE_LEAST_US;
    return part < SLICE_IDLE_US ? part : SLICE_IDLE_US;
}

static void walk(struct worker *w, struct snapshot_share *share)
{
    int64_t mono_us = os_mono_us(), until_us = mono_us + slice_us(w, mono_us);
    bool more = shard_snapshot_running(w->shard);
    w->snapshot_commands = counter_get(&w->pub->commands);
    while (more && !is_full(share)) {
        more = shard_snapshot_step(w->shard, STEP_SLOTS);
        mono_us = os_mono_us();
        if (mono_us >= until_us) break;
    }
    w->snapshot_left_us = mono_us;
}

bool snapshot_step(struct worker *w)
{
    struct snapshots *s = of(w->hub);
    struct snapshot_share *share = &s->shares[w->id];
    worker_hold(w, w->id);
    bool given_up = counter_get_acquire_shared(&s->end) != SNAPSHOT_GOES_ON;
    if (share->plain.writer && given_up) share_give_up(share);
    send_ready(share);
    if (share->plain.writer) walk(w, share);
    if (may_end(share)) share_end(share);
    publish(share);
    bool ready = share->plain.writer || shard_snapshot_ready(w->shard);
    if (!ready) (void)shard_free_step(w->shard, LEVEL_BUDGET);
    if (!share->plain.writer) free_spare(share);
    if (!share->plain.writer && ready && !share->plain.in_flight && !is_full(share))
        counter_set(&share->running, 0);
    if (crowded(s, w->hub->count) || shard_snapshot_failed(w->shard))
        snapshot_give_up_shared(w->hub, SNAPSHOT_CROWDED);
    return (shard_snapshot_running(w->shard) && !is_full(share)) || !ready;
}

/* ---- the cut ---- */

static bool is_lru(const struct config *c)
{
    return c->maxmemory_policy == CONFIG_POLICY_ALLKEYS_LRU ||
           c->maxmemory_policy == CONFIG_POLICY_VOLATILE_LRU;
}

static bool is_lfu(const struct config *c)
{
    return c->maxmemory_policy == CONFIG_POLICY_ALLKEYS_LFU ||
           c->maxmemory_policy == CONFIG_POLICY_VOLATILE_LFU;
}

static int into_head(void *ctx, const char *ptr, size_t len)
{
    struct buf *head = ctx;
    buf_append(head, ptr, len);
    return head->failed ? -ENOMEM : 0;
}

static void make_head(struct worker *w, struct snapshots *s, struct buf *head, int shard)
{
    struct rdb_out_options options = {.write = into_head, .ctx = head, .version = 10,
                                      .exact = true, .compress = s->options.compress,
                                      .piece = true};
    struct rdb_out *out = rdb_out_new(&options);
    head->len = 0;
    head->failed = false;
    save_put_head(w, out, shard, s->request.purpose == SNAPSHOT_REWRITE);
    if (rdb_out_flush(out) != 0) snapshot_give_up_shared(w->hub, SNAPSHOT_CROWDED);
    rdb_out_free(out);
}

static void make_heads(struct worker *w, struct snapshots *s)
{
    if (!s->request.set) make_head(w, s, &s->files[0].head, SAVE_ALL);
    for (uint32_t i = 0; s->request.set && i < w->hub->count; i++)
        make_head(w, s, &s->files[i].head, (int)i);
}

static void wake_all(struct worker *w)
{
    for (worker_id i = 0; i < w->hub->count; i++)
        if (i != w->id) worker_wake(w, i);
}

static void back_to_idle(struct snapshots *s)
{
    mem_free(s->path);
    mem_free(s->aside);
    s->path = s->aside = NULL;
    counter_set(&s->purpose, SNAPSHOT_NONE);
}

/* No cut: the server stops, or it was cancelled before. */
static void never_cut(struct snapshots *s)
{
    void (*done)(void *ctx, int rc) = s->request.done;
    void *ctx = s->request.ctx;
    back_to_idle(s);
    (void)claim_try_shared(&s->state, SNAPSHOT_CUTTING, SNAPSHOT_IDLE);
    if (done) done(ctx, -ECANCELED);
}

static void act_cut(struct worker *w, struct still *still, struct reply *reply)
{
    struct hub *hub = w->hub;
    struct snapshots *s = of(hub);
    (void)still;
    if (counter_get_acquire_shared(&s->end) != SNAPSHOT_GOES_ON) {
        never_cut(s);
        reply_error(reply, ERR_PLAIN_ERROR);
        return;
    }
    s->start_s = w->now / 1000;
    s->dirty = 0;
    for (uint32_t i = 0; i < hub->count; i++) s->dirty += counter_get(&hub->published[i].dirty);
    make_heads(w, s);
    for (uint32_t i = 0; i < hub->count; i++) share_begin(&s->shares[i]);
    if (s->request.at_cut) s->request.at_cut(w, s->request.ctx);
    check(claim_try_shared(&s->state, SNAPSHOT_CUTTING, SNAPSHOT_RUNNING));
    persister_wake_shared(&hub->persister);
    wake_all(w);
    if (s->request.told) reply_simple(reply, s->request.told);
}

static void cut_dropped(struct worker *w, struct still *still)
{
    (void)still;
    never_cut(of(w->hub));
}

/* Bits of a snapshot that was given up must be in line first; that goes on in the background. */
static bool cut_may(struct worker *w, struct still *still)
{
    (void)still;
    for (uint32_t i = 0; i < w->hub->count; i++)
        if (!shard_snapshot_ready(w->hub->shards[i])) return false;
    return true;
}

/* CONFIG SET dir may change what a relative name means. */
static char *path_in(const char *dir, const char *name)
{
    size_t cap = strlen(dir) + strlen(name) + 2;
    char *path = mem_alloc(cap);
    snprintf(path, cap, name[0] == '/' ? "%s%s" : "%s/%s", name[0] == '/' ? "" : dir, name);
    return path;
}

int snapshot_start(struct worker *w, const struct snapshot_request *r)
{
    struct snapshots *s = of(w->hub);
    const struct config *config = w->config;
    char aside[64];
    if (!claim_try_shared(&s->state, SNAPSHOT_IDLE, SNAPSHOT_CUTTING)) return -EBUSY;
    counter_set(&s->end, SNAPSHOT_GOES_ON);
    counter_set(&s->purpose, r->purpose);
    bool save = r->purpose == SNAPSHOT_SAVE;
    snprintf(aside, sizeof aside, save ? "temp-bgsave-%ld.rdb" : "temp-rewriteaof-%ld.aof",
             os_pid());
    s->request = *r;
    s->path = path_in(config->dir, r->path);
    s->aside = path_in(config->dir, aside);
    s->memory_limit = (uint64_t)config->snapshot_memory_limit;
    s->late_flush = !config->rdb_save_incremental_fsync;
    s->options = (struct rdb_out_options){.version = 10, .exact = true,
                                          .compress = config->rdb_compression,
                                          .checksum = config->rdb_checksum,
                                          .idle = is_lru(config), .freq = is_lfu(config)};
    struct still what = {.act = act_cut, .patient = true, .may = cut_may, .dropped = cut_dropped};
    still_start(w, r->conn, &what);
    return 0;
}

enum snapshot_purpose snapshot_purpose_shared(const struct hub *hub)
{
    return (enum snapshot_purpose)counter_get(&of(hub)->purpose);
}

void snapshot_give_up_shared(struct hub *hub, enum snapshot_end why)
{
    struct snapshots *s = of(hub);
    if (claim_get_shared(&s->state) == SNAPSHOT_IDLE) return;
    if (counter_get(&s->end) == SNAPSHOT_GOES_ON) counter_set_release(&s->end, why);
}

void snapshot_give_up_held(struct worker *w, enum snapshot_end why)
{
    struct snapshots *s = of(w->hub);
    snapshot_give_up_shared(w->hub, why);
    for (uint32_t i = 0; i < w->hub->count; i++)
        if (s->shares[i].plain.writer) share_give_up(&s->shares[i]);
}

uint64_t snapshot_bytes(const struct hub *hub)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < hub->count; i++) sum += counter_get(&of(hub)->shares[i].bytes);
    return sum;
}

uint64_t snapshot_keys(const struct hub *hub, uint64_t *told)
{
    uint64_t keys = 0;
    *told = 0;
    for (uint32_t i = 0; i < hub->count; i++) {
        keys += counter_get(&of(hub)->shares[i].keys);
        *told += counter_get(&of(hub)->shares[i].told);
    }
    return keys;
}

/* ---- the hub's ---- */

static void flow_init(struct snapshot_stream *stream, struct snapshot_share *share, bool big)
{
    stream->share = share;
    stream->big = big;
    list_init(&stream->ready);
    mailbox_init(&stream->to_p, 0);
}

struct snapshots *snapshots_new(struct hub *hub)
{
    struct snapshots *s = mem_zalloc(sizeof *s);
    s->disk.fd = -1;
    s->files = mem_zalloc(hub->count * sizeof *s->files);
    s->shares = mem_alloc_aligned(hub->count * sizeof *s->shares, CACHE_LINE);
    memset((void *)s->shares, 0, hub->count * sizeof *s->shares);
    for (uint32_t i = 0; i < hub->count; i++) {
        struct snapshot_share *share = &s->shares[i];
        share->hub = hub;
        share->id = i;
        flow_init(&share->plain, share, false);
        flow_init(&share->big, share, true);
        list_init(&share->spare);
        mailbox_init(&share->home, 0);
    }
    return s;
}

static void flow_free(struct snapshot_stream *stream)
{
    struct message m;
    rdb_out_free(stream->writer);
    if (stream->open) list_push_back(&stream->share->spare, &stream->open->link);
    while (mailbox_receive(&stream->to_p, &m))
        list_push_back(&stream->share->spare, &((struct snapshot_chunk *)m.ptr)->link);
    struct list *link;
    while ((link = list_pop_front(&stream->ready)) != NULL)
        list_push_back(&stream->share->spare, link);
    mailbox_deinit(&stream->to_p);
}

static void share_free(struct snapshot_share *share)
{
    flow_free(&share->plain);
    flow_free(&share->big);
    take_home(share);
    free_spare(share);
    mailbox_deinit(&share->home);
}

void snapshots_free(struct snapshots *s)
{
    struct hub *hub = s->shares[0].hub;
    for (uint32_t i = 0; i < hub->count; i++) {
        share_free(&s->shares[i]);
        rdb_out_free(s->files[i].out);
        buf_deinit(&s->files[i].head);
    }
    dumpset_cancel(&s->set);
    mem_free(s->files);
    mem_free(s->path);
    mem_free(s->aside);
    mem_free(s->shares);
    mem_free(s);
}
