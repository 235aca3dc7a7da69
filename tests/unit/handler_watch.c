/* Snapshots beside a test: see handler_watch.h. Keys are compared as text lines: database, key,
 * expiry, value, sorted.
 * Thread: the test's. */
#include "handler_watch.h"

#include <stdio.h>
#include <stdlib.h>

#include "handler.h"
#include "splitring/base/check.h"
#include "splitring/base/hash.h"
#include "splitring/base/mem.h"

static struct buf *lines_add(struct watch_lines *l)
{
    if (l->count == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 64;
        l->at = mem_realloc(l->at, l->cap * sizeof(*l->at));
    }
    l->at[l->count] = (struct buf){0};
    return &l->at[l->count++];
}

static void lines_clear(struct watch_lines *l)
{
    for (size_t i = 0; i < l->count; i++) buf_deinit(&l->at[i]);
    mem_free(l->at);
    *l = (struct watch_lines){0};
}

static int compare_lines(const void *a, const void *b)
{
    return slice_compare(buf_slice(a), buf_slice(b));
}

static void add_line(struct snapshot_watch *w, struct watch_lines *l, db_id db,
                     const struct entry *e)
{
    if (entry_expiry(e) < w->clocks[w->at]) return;
    struct buf *line = lines_add(l);
    buf_printf(line, "%u \"", db);
    handler_dump_text(line, entry_key(e));
    buf_printf(line, "\" %lld %s ", (long long)entry_expiry(e), type_name(entry_type(e)));
    handler_dump_value(line, e);
}

struct visit {
    struct snapshot_watch *watch;
    db_id db;
};

static void expect_entry(void *ctx, const struct entry *e)
{
    struct visit *visit = ctx;
    add_line(visit->watch, &visit->watch->expected, visit->db, e);
}

/* Which shard it is shows in no line, but its clock matters. */
static void tell_entry(void *ctx, db_id db, const struct entry *e)
{
    struct snapshot_watch *w = ctx;
    struct slice key = entry_key(e);
    w->at = w->count > 1 ? shard_of_slot(hash_slot(key), w->count) : 0;
    add_line(w, &w->told, db, e);
}

static bool sometimes_full(void *ctx)
{
    struct snapshot_watch *w = ctx;
    return rng_below(&w->rng, 9) == 0;
}

void snapshot_watch_init(struct snapshot_watch *w, struct shard *const *shards, uint32_t count,
                         uint32_t databases, uint64_t seed)
{
    *w = (struct snapshot_watch){.shards = shards, .count = count, .databases = databases};
    check(count <= ARRAY_COUNT(w->clocks));
    rng_seed(&w->rng, seed);
}

void snapshot_watch_cut(struct snapshot_watch *w)
{
    struct snapshot_sink sink = {.entry = tell_entry, .full = sometimes_full, .ctx = w};
    for (w->at = 0; w->at < w->count; w->at++) {
        struct shard *shard = w->shards[w->at];
        w->clocks[w->at] = shard_clock(shard);
        struct visit visit = {.watch = w};
        for (; visit.db < w->databases; visit.db++) {
            struct ks ks = {.shard = shard, .db = visit.db};
            ks_each(&ks, expect_entry, &visit);
        }
        shard_snapshot_begin(shard, &sink);
    }
    w->running = true;
    w->cuts++;
}

static void forget(struct snapshot_watch *w)
{
    lines_clear(&w->expected);
    lines_clear(&w->told);
    w->running = false;
}

void snapshot_watch_abort(struct snapshot_watch *w)
{
    for (uint32_t i = 0; i < w->count; i++) {
        shard_snapshot_abort(w->shards[i]);
        check(!shard_snapshot_running(w->shards[i]));
    }
    forget(w);
}

static void refuse(const char *why, const struct buf *line)
{
    fprintf(stderr, "snapshot: %s: %.*s\n", why, (int)line->len, line->ptr);
    abort();
}

static void compare(struct snapshot_watch *w)
{
    struct watch_lines *a = &w->expected, *b = &w->told;
    if (a->count) qsort(a->at, a->count, sizeof(*a->at), compare_lines);
    if (b->count) qsort(b->at, b->count, sizeof(*b->at), compare_lines);
    size_t i = 0, k = 0;
    while (i < a->count || k < b->count) {
        int order = i == a->count ? 1 : k == b->count ? -1 : compare_lines(&a->at[i], &b->at[k]);
        if (order < 0) refuse("not told", &a->at[i]);
        if (order > 0) refuse("told, but it was not there", &b->at[k]);
        i++;
        k++;
    }
    w->finished++;
}

bool snapshot_watch_step(struct snapshot_watch *w, size_t budget)
{
    bool more = false;
    for (uint32_t i = 0; i < w->count; i++) {
        if (shard_snapshot_step(w->shards[i], budget)) more = true;
    }
    if (more) return true;
    compare(w);
    forget(w);
    for (uint32_t i = 0; i < w->count; i++) {
        check(!shard_snapshot_running(w->shards[i]));
        check(shard_snapshot_held_bytes(w->shards[i]) == 0);
    }
    return false;
}

void snapshot_watch_tick(struct snapshot_watch *w)
{
    if (!w->running) {
        if (rng_below(&w->rng, 10) == 0) snapshot_watch_cut(w);
        return;
    }
    if (rng_below(&w->rng, 200) == 0) {
        snapshot_watch_abort(w);
        return;
    }
    if (rng_below(&w->rng, 4) == 0) {
        uint32_t i = (uint32_t)rng_below(&w->rng, w->count);
        (void)shard_snapshot_step(w->shards[i], rng_below(&w->rng, 40));
    }
    bool running = false;
    for (uint32_t i = 0; i < w->count; i++) {
        if (rng_below(&w->rng, 3) == 0) (void)shard_free_step(w->shards[i], 3);
        if (shard_snapshot_running(w->shards[i])) running = true;
    }
    if (!running) (void)snapshot_watch_step(w, 1);
}

void snapshot_watch_deinit(struct snapshot_watch *w)
{
    while (w->running && snapshot_watch_step(w, 100)) {}
    forget(w);
}
