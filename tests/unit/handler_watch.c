/* Snapshots beside a test: see handler_watch.h. Keys are compared as text lines: database, key,
 * expiry, value, sorted. A stream's value is its bytes in RDB: all that is known of it, in order.
 * What is packed counts by its bytes, too.
 * Thread: the test's. */
#include "handler_watch.h"

#include <stdio.h>
#include <stdlib.h>

#include "handler.h"
#include "splitring/base/check.h"
#include "splitring/base/mem.h"
#include "splitring/keyspace/stream.h"

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

/* ---- streams ---- */

static int into_buf(void *ctx, const char *ptr, size_t len)
{
    buf_append(ctx, ptr, len);
    return 0;
}

static struct rdb_out *stream_out(struct buf *to)
{
    struct rdb_out_options options = {
        .write = into_buf, .ctx = to, .version = 10, .exact = true, .piece = true};
    return rdb_out_new(&options);
}

static void stream_end(struct buf *line, struct rdb_out *out, struct buf *bytes)
{
    check(rdb_out_flush(out) == 0);
    rdb_out_free(out);
    handler_dump_text(line, buf_slice(bytes));
    buf_deinit(bytes);
}

static void add_stream(struct buf *line, const struct entry *e)
{
    struct buf bytes = {0};
    struct rdb_out *out = stream_out(&bytes);
    rdb_out_key_as(out, e, entry_expiry(e), -1, -1);
    stream_end(line, out, &bytes);
}

/* Packed, and told by its bytes. */
static bool is_packed(const struct entry *e)
{
    enum value_type type = entry_type(e);
    bool may = type == TYPE_HASH || type == TYPE_SET || type == TYPE_ZSET;
    return may && entry_form(e) != FORM_OBJECT;
}

static void add_line(struct watch_shard *of, struct watch_lines *l, db_id db,
                     const struct entry *e)
{
    if (entry_expiry(e) < of->clock) return;
    struct buf *line = lines_add(l);
    buf_printf(line, "%u \"", db);
    handler_dump_text(line, entry_key(e));
    buf_printf(line, "\" %lld %s ", (long long)entry_expiry(e), type_name(entry_type(e)));
    if (entry_type(e) == TYPE_STREAM) add_stream(line, e);
    else if (is_packed(e)) handler_dump_text(line, entry_packed(e));
    else handler_dump_value(line, e);
}

struct visit {
    struct watch_shard *of;
    db_id db;
};

static void expect_entry(void *ctx, const struct entry *e)
{
    struct visit *visit = ctx;
    add_line(visit->of, &visit->of->watch->expected, visit->db, e);
}

static void tell_entry(void *ctx, db_id db, const struct entry *e)
{
    struct watch_shard *of = ctx;
    add_line(of, &of->watch->told, db, e);
}

/* ---- values in pieces ---- */

static void big_begin(void *ctx, db_id db, const struct entry *e, uint64_t count, instant_ms lowest)
{
    struct watch_shard *of = ctx;
    struct watch_big *big = &of->big;
    check(!big->open);
    *big = (struct watch_big){
        .open = true, .type = entry_type(e), .expected = count, .lowest = lowest};
    big->wanted = entry_expiry(e) >= of->clock;
    buf_printf(&big->head, "%u \"", db);
    handler_dump_text(&big->head, entry_key(e));
    buf_printf(&big->head, "\" %lld %s ", (long long)entry_expiry(e), type_name(entry_type(e)));
    of->watch->bigs++;
    big->packed = is_packed(e);
    if (big->type != TYPE_STREAM) return;
    big->stream = stream_out(&big->stream_bytes);
    rdb_out_big(big->stream, e, -1, -1, count, lowest);
}

static void big_part(void *ctx, enum value_type type, const struct snapshot_part *part)
{
    struct watch_shard *of = ctx;
    struct watch_big *big = &of->big;
    check(big->open && type == big->type);
    if (type == TYPE_STREAM) {
        big->told += part->stream->kind == STREAM_PIECE_NODE;
        rdb_out_part(big->stream, type, part);
        return;
    }
    if (big->count == big->cap) {
        big->cap = big->cap ? big->cap * 2 : 64;
        big->parts = mem_realloc(big->parts, big->cap * sizeof(*big->parts));
    }
    struct watch_part *to = &big->parts[big->count++];
    *to = (struct watch_part){.score = part->score};
    check(part->packed == big->packed);
    if (big->packed) {
        big->told += part->text.len;
        handler_dump_text(&to->text, part->text);
        return;
    }
    if (type == TYPE_LIST) {
        big->told++;
        handler_dump_node(&to->text, part->text, part->plain);
        return;
    }
    big->told += type == TYPE_STRING ? part->text.len : 1;
    if (type == TYPE_ZSET) {
        buf_append_slice(&to->text, part->text);
        return;
    }
    handler_dump_text(&to->text, part->text);
    if (type != TYPE_HASH) return;
    buf_append_char(&to->text, '=');
    handler_dump_text(&to->text, part->value);
    check(part->expire == EXPIRE_NONE || part->expire >= big->lowest);
    if (part->expire != EXPIRE_NONE) buf_printf(&to->text, " until %lld", (long long)part->expire);
}

static int compare_parts(const void *a, const void *b)
{
    const struct watch_part *x = a, *y = b;
    if (x->score < y->score) return -1;
    if (x->score > y->score) return 1;
    return slice_compare(buf_slice(&x->text), buf_slice(&y->text));
}

static void big_end(void *ctx)
{
    struct watch_shard *of = ctx;
    struct watch_big *big = &of->big;
    struct buf *line = &big->head;
    check(big->open && big->told == big->expected);
    bool ordered = big->type == TYPE_LIST || big->type == TYPE_STRING || big->packed;
    if (!ordered && big->count)
        qsort(big->parts, big->count, sizeof(*big->parts), compare_parts);
    for (uint64_t i = 0; i < big->count; i++) {
        struct watch_part *part = &big->parts[i];
        if (big->type == TYPE_ZSET && !big->packed) {
            handler_dump_text(line, buf_slice(&part->text));
            buf_printf(line, "=%.17g,", part->score);
        } else {
            if (i && !ordered) buf_append_char(line, ',');
            buf_append_slice(line, buf_slice(&part->text));
        }
        buf_deinit(&part->text);
    }
    mem_free(big->parts);
    if (big->stream) stream_end(line, big->stream, &big->stream_bytes);
    if (big->wanted) *lines_add(&of->watch->told) = *line;
    else buf_deinit(line);
    *big = (struct watch_big){0};
}

static void big_forget(struct watch_big *big)
{
    for (uint64_t i = 0; i < big->count; i++) buf_deinit(&big->parts[i].text);
    mem_free(big->parts);
    rdb_out_free(big->stream);
    buf_deinit(&big->stream_bytes);
    buf_deinit(&big->head);
    *big = (struct watch_big){0};
}

static bool sometimes_full(void *ctx)
{
    struct watch_shard *of = ctx;
    return rng_below(&of->watch->rng, of->watch->full_one_in) == 0;
}

void snapshot_watch_init(struct snapshot_watch *w, struct shard *const *shards, uint32_t count,
                         uint32_t databases, uint64_t seed)
{
    *w = (struct snapshot_watch){.shards = shards, .count = count, .databases = databases,
                                 .full_one_in = 9};
    check(count <= ARRAY_COUNT(w->of));
    rng_seed(&w->rng, seed);
}

void snapshot_watch_cut(struct snapshot_watch *w)
{
    struct snapshot_sink sink = {.entry = tell_entry, .full = sometimes_full};
    if (rng_below(&w->rng, 4) != 0) {
        sink.big_begin = big_begin;
        sink.big_part = big_part;
        sink.big_end = big_end;
        sink.big = 1 + (size_t)rng_below(&w->rng, 2000);
    }
    for (uint32_t i = 0; i < w->count; i++) {
        struct shard *shard = w->shards[i];
        struct watch_shard *of = sink.ctx = &w->of[i];
        of->watch = w;
        of->clock = shard_clock(shard);
        struct visit visit = {.of = of};
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
    for (uint32_t i = 0; i < w->count; i++) big_forget(&w->of[i].big);
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
