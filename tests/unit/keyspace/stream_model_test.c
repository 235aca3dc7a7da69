/* Streams against a plain model: an array of entries, and for each group an array of pending ones.
 * Random appends, deletions, trims, reading in both directions, claims and copies, with nodes of a
 * few entries and now and then a frozen root, under which everything must look the same. */
#include <criterion/criterion.h>

#include <stdlib.h>

#include "splitring/keyspace/stream.h"
#include "world.h"

#define ENTRIES 400
#define PENDING 600
#define CONSUMERS 3

struct model_entry {
    struct stream_id id;
    char texts[6][12];
    int fields;
};
struct model_nack {
    struct stream_id id;
    instant_ms delivered;
    uint64_t deliveries;
    int consumer;
};
struct model {
    struct world world;
    struct rng rng;
    struct shard *shard;
    struct stream *s;
    struct stream_group *g;
    struct stream_consumer *consumers[CONSUMERS];
    struct model_entry entries[ENTRIES];
    int count;
    struct model_nack pending[PENDING];
    int pending_count;
    struct stream_id last;
    bool late; /* half of a run is over: ages are asked for from here on */
};

static unsigned pick(struct model *m, unsigned limit)
{
    return (unsigned)rng_below(&m->rng, limit);
}

/* ---- entries ---- */

static void append(struct model *m, struct stream_limits limits)
{
    static const char *const names[] = {"f", "field", "12", "-7"};
    if (m->count == ENTRIES) return;
    struct model_entry *e = &m->entries[m->count];
    struct slice pairs[6];
    e->id = m->last;
    if (pick(m, 3)) e->id.seq += 1 + pick(m, 200);
    else e->id = (struct stream_id){e->id.ms + 1 + pick(m, 5000), pick(m, 9)};
    e->fields = 1 + (int)pick(m, 3);
    for (int i = 0; i < e->fields; i++) {
        const char *name = pick(m, 6) ? names[i] : names[pick(m, 4)];
        snprintf(e->texts[2 * i], sizeof(e->texts[0]), "%s", name);
        snprintf(e->texts[2 * i + 1], sizeof(e->texts[0]), pick(m, 2) ? "%d" : "v%d",
                 (int)pick(m, 100000) - 5000);
        pairs[2 * i] = slice_str(e->texts[2 * i]);
        pairs[2 * i + 1] = slice_str(e->texts[2 * i + 1]);
    }
    cr_assert_eq(stream_append(m->s, limits, e->id, pairs, (size_t)e->fields), 0);
    m->last = e->id;
    m->count++;
}

static void forget(struct model *m, int at)
{
    memmove(m->entries + at, m->entries + at + 1,
            (size_t)(m->count - at - 1) * sizeof(m->entries[0]));
    m->count--;
}

static void delete(struct model *m)
{
    if (m->count == 0) return;
    int at = (int)pick(m, (unsigned)m->count);
    struct stream_id id = m->entries[at].id, none = id;
    none.seq += 100000;
    cr_assert_eq(stream_delete(m->s, none), 0);
    cr_assert_eq(stream_delete(m->s, id), 1);
    cr_assert_eq(stream_delete(m->s, id), 0);
    stream_deleted(m->s, id);
    stream_settle(m->s);
    forget(m, at);
}

static void trim(struct model *m)
{
    struct stream_trim t = {.by = pick(m, 2) ? STREAM_TRIM_MAXLEN : STREAM_TRIM_MINID,
                            .approx = pick(m, 2) != 0};
    t.maxlen = pick(m, (unsigned)m->count + 5);
    if (m->count) t.minid = m->entries[pick(m, (unsigned)m->count)].id;
    uint64_t removed = stream_trim(m->s, &t), most = 0;
    while (most < (uint64_t)m->count &&
           (t.by == STREAM_TRIM_MAXLEN ? (uint64_t)m->count - most > t.maxlen
                                       : stream_id_compare(m->entries[most].id, t.minid) < 0)) {
        most++;
    }
    if (t.approx) cr_assert_leq(removed, most);
    else cr_assert_eq(removed, most);
    for (; removed > 0; removed--) forget(m, 0);
}

static void expect_text(struct lp_value value, const char *text)
{
    char number[32];
    struct slice s = value.text;
    if (!s.ptr) s = slice_of(number, num_format_i64(number, value.number));
    cr_assert(slice_equal(s, slice_str(text)), "%.*s is not %s", (int)s.len, s.ptr, text);
}

static void expect_entry(struct stream_iter *it, const struct model_entry *e)
{
    cr_assert_eq(stream_id_compare(it->id, e->id), 0);
    cr_assert_eq((int)it->fields, e->fields);
    int read = (int)(e->id.seq % 4); /* sometimes not all of them */
    for (int i = 0; i < e->fields && i < read; i++) {
        struct lp_value field, value;
        stream_iter_pair(it, &field, &value);
        expect_text(field, e->texts[2 * i]);
        expect_text(value, e->texts[2 * i + 1]);
    }
}

static void range(struct model *m, struct stream_id start, struct stream_id end, bool reverse)
{
    struct stream_iter it;
    stream_iter_init(&it, m->s, start, end, reverse);
    for (int i = 0; i < m->count; i++) {
        const struct model_entry *e = &m->entries[reverse ? m->count - 1 - i : i];
        if (stream_id_compare(e->id, start) < 0 || stream_id_compare(e->id, end) > 0) continue;
        cr_assert(stream_iter_next(&it));
        expect_entry(&it, e);
    }
    cr_assert(!stream_iter_next(&it));
}

static struct stream_id some_id(struct model *m)
{
    if (m->count == 0) return m->last;
    struct stream_id id = m->entries[pick(m, (unsigned)m->count)].id;
    if (pick(m, 3) == 0) id.seq += pick(m, 3);
    return id;
}

static void look(struct model *m)
{
    struct stream_id first = STREAM_ID_MIN;
    cr_assert_eq(stream_len(m->s), (uint64_t)m->count);
    if (m->count) first = m->entries[0].id;
    cr_assert_eq(stream_id_compare(m->s->first_id, first), 0);
    cr_assert_eq(stream_id_compare(m->s->last_id, m->last), 0);
    range(m, STREAM_ID_MIN, STREAM_ID_MAX, false);
    range(m, STREAM_ID_MIN, STREAM_ID_MAX, true);
    range(m, some_id(m), some_id(m), pick(m, 2) != 0);
    struct stream_id id = some_id(m);
    bool there = false;
    for (int i = 0; i < m->count; i++) there |= !stream_id_compare(m->entries[i].id, id);
    cr_assert_eq(stream_exists(m->s, id), there);
}

/* ---- pending ---- */

static int find_pending(const struct model *m, struct stream_id id)
{
    for (int i = 0; i < m->pending_count; i++) {
        if (stream_id_compare(m->pending[i].id, id) == 0) return i;
    }
    return -1;
}

static int compare_pending(const void *a, const void *b)
{
    const struct model_nack *x = a, *y = b;
    return stream_id_compare(x->id, y->id);
}

static void put(struct model *m)
{
    struct model_nack n = {.id = {pick(m, 900), 0}, .delivered = pick(m, 999),
                           .deliveries = pick(m, 9), .consumer = (int)pick(m, CONSUMERS)};
    int at = find_pending(m, n.id);
    if (at < 0 && m->pending_count == PENDING) return;
    struct stream_nack nack = {n.id, n.delivered, n.deliveries, m->consumers[n.consumer]};
    cr_assert_eq(stream_nack_put(m->s, m->g, &nack), 0);
    m->pending[at < 0 ? m->pending_count++ : at] = n;
    qsort(m->pending, (size_t)m->pending_count, sizeof(n), compare_pending);
}

static void acknowledge(struct model *m)
{
    struct stream_id id = {pick(m, 900), 0};
    int at = find_pending(m, id);
    cr_assert_eq(stream_nack_remove(m->s, m->g, id), at < 0 ? 0 : 1);
    if (at < 0) return;
    m->pending_count--;
    memmove(m->pending + at, m->pending + at + 1,
            (size_t)(m->pending_count - at) * sizeof(m->pending[0]));
}

static void look_at_pending(struct model *m, const struct stream *s, const struct stream_group *g)
{
    struct stream_pending p;
    struct stream_id from = {pick(m, 900), 0};
    (void)s;
    stream_pending_seek(&p, g, NULL, from);
    for (int i = 0; i < m->pending_count; i++) {
        const struct model_nack *n = &m->pending[i];
        if (stream_id_compare(n->id, from) < 0) continue;
        const struct stream_nack *nack = stream_pending_next(&p);
        cr_assert(nack && stream_id_compare(nack->id, n->id) == 0);
        cr_assert_eq(nack->delivered, n->delivered);
        cr_assert_eq(nack->deliveries, n->deliveries);
        cr_assert_eq(nack->consumer, g->consumers[n->consumer]);
    }
    cr_assert(!stream_pending_next(&p));
    for (int c = 0; c < CONSUMERS; c++) {
        stream_pending_seek(&p, g, g->consumers[c], STREAM_ID_MIN);
        for (int i = 0; i < m->pending_count; i++) {
            if (m->pending[i].consumer != c) continue;
            const struct stream_id *id = stream_pending_next(&p);
            cr_assert(id && stream_id_compare(*id, m->pending[i].id) == 0);
        }
        cr_assert(!stream_pending_next(&p));
    }
}

static int by_age(const void *a, const void *b)
{
    const struct model_nack *x = a, *y = b;
    if (x->delivered != y->delivered) return x->delivered < y->delivered ? -1 : 1;
    return stream_id_compare(x->id, y->id);
}

/* What was delivered long ago, in the stream or gone from it, and when the next one was. */
static void look_at_ages(struct model *m)
{
    static struct model_nack sorted[PENDING];
    struct buf ids = {0}, gone = {0};
    instant_ms next, until = (instant_ms)pick(m, 2000);
    uint64_t count = pick(m, 3) ? 0 : 1 + pick(m, 20);
    memcpy(sorted, m->pending, (size_t)m->pending_count * sizeof(*sorted));
    qsort(sorted, (size_t)m->pending_count, sizeof(*sorted), by_age);
    cr_assert_eq(stream_oldest(m->s, m->g, until, count, &ids, &gone, &next), 0);
    size_t id_at = 0, gone_at = 0;
    int i = 0;
    for (; i < m->pending_count && sorted[i].delivered <= until; i++) {
        if (count && id_at == count * sizeof(struct stream_id)) break;
        bool there = stream_exists(m->s, sorted[i].id);
        struct stream_id id;
        size_t *at = there ? &id_at : &gone_at;
        cr_assert_leq(*at + sizeof(id), there ? ids.len : gone.len);
        memcpy(&id, (there ? ids.ptr : gone.ptr) + *at, sizeof(id));
        cr_assert_eq(stream_id_compare(id, sorted[i].id), 0);
        *at += sizeof(id);
    }
    cr_assert(id_at == ids.len && gone_at == gone.len);
    cr_assert_eq(next, i < m->pending_count ? sorted[i].delivered : EXPIRE_NONE);
    buf_deinit(&ids);
    buf_deinit(&gone);
}

/* ---- runs ---- */

static struct stream *copy(struct model *m, struct stream *s)
{
    struct buf image = {0};
    s->object.ops->save(&s->object, &image);
    struct object *object = s->object.ops->load(m->shard, buf_slice(&image));
    cr_assert(object && object->ops->count(object) == s->object.ops->count(&s->object));
    buf_deinit(&image);
    return (struct stream *)(void *)object;
}

/* The same stream once more, by the functions that take outside data. */
static void rebuild(struct model *m)
{
    struct stream *s = stream_new(m->shard);
    struct blocks_cursor c;
    for (blocks_first(&m->s->nodes, &c); c.block; blocks_next(&m->s->nodes, &c)) {
        struct stream_id master = {c.block->key.high, c.block->key.low};
        struct slice bytes = slice_of(c.block->bytes, c.block->len);
        cr_assert_eq(stream_build_node(s, master, bytes), 0);
    }
    s->last_id = m->s->last_id;
    cr_assert(stream_build_finish(s, true));
    cr_assert_eq(stream_id_compare(s->first_id, m->s->first_id), 0);
    cr_assert_eq(stream_len(s), stream_len(m->s));
    stream_account(m->shard, s);
    stream_free(m->shard, s);
}

static void become(struct model *m, struct stream *s)
{
    stream_free(m->shard, m->s);
    m->s = s;
    m->g = s->groups[0];
    for (int i = 0; i < CONSUMERS; i++) m->consumers[i] = m->g->consumers[i];
}

static void step(struct model *m, struct stream_limits limits)
{
    switch (pick(m, 12)) {
    case 0: delete (m); break;
    case 1:
        if (pick(m, 20) == 0) trim(m);
        break;
    case 2:
        if (pick(m, 10) == 0) look(m);
        break;
    case 3:
        if (pick(m, 10) == 0) look_at_pending(m, m->s, m->g);
        if (pick(m, 10) == 0 && m->late) look_at_ages(m);
        break;
    case 4:
    case 5:
    case 6: put(m); break;
    case 7:
    case 8: acknowledge(m); break;
    case 9:
        if (pick(m, 40) == 0 && !m->s->nodes.frozen) blocks_freeze(&m->s->nodes);
        if (pick(m, 40) == 0 && !m->g->pending.frozen) blocks_freeze(&m->g->pending);
        if (pick(m, 40) == 0) blocks_thaw(&m->s->nodes);
        if (pick(m, 40) == 0) blocks_thaw(&m->g->pending);
        break;
    default: append(m, limits);
    }
}

static void run(uint64_t seed, int steps)
{
    struct model *m = mem_zalloc(sizeof(*m));
    world_init(&m->world, 1);
    m->shard = m->world.shards[0];
    rng_seed(&m->rng, seed);
    uint64_t before = shard_stats_of(m->shard)->bytes;
    struct stream_limits limits = {pick(&(struct model){.rng = m->rng}, 2) ? 0 : 120,
                                   seed % 4 ? 2 + seed % 7 : 200};
    m->s = stream_new(m->shard);
    m->g = stream_group_add(m->s, SLICE("g"), STREAM_ID_MIN, 0);
    m->consumers[0] = stream_consumer_add(m->s, m->g, SLICE("a"), 1);
    m->consumers[2] = stream_consumer_add(m->s, m->g, SLICE("c"), 1);
    m->consumers[1] = stream_consumer_add(m->s, m->g, SLICE("b"), 1);
    for (int i = 0; i < steps; i++) {
        m->late = i > steps / 2;
        step(m, limits);
        if (i % 997 != 500) continue;
        blocks_thaw(&m->s->nodes);
        blocks_thaw(&m->g->pending);
        rebuild(m);
        become(m, copy(m, m->s));
    }
    look(m);
    look_at_pending(m, m->s, m->g);
    blocks_thaw(&m->s->nodes);
    blocks_thaw(&m->g->pending);
    cr_assert_eq(stream_consumer_remove(m->s, m->g, m->consumers[1]), 0);
    stream_account(m->shard, m->s);
    size_t done, slices = 1;
    while (!m->s->object.ops->free_step(m->shard, &m->s->object, 7, &done)) {
        cr_assert_leq(done, 300);
        slices++;
    }
    cr_assert_eq(shard_stats_of(m->shard)->bytes, before, "after %zu slices", slices);
    world_deinit(&m->world);
    mem_free(m);
}

Test(stream_model, many_runs, .timeout = 120)
{
    for (uint64_t seed = 1; seed <= 60; seed++) run(seed, 3000);
}

Test(stream_model, long_run, .timeout = 120) { run(1000, 60000); }

/* A group of thousands leaves the stream at once, and its memory follows in slices; so does a
 * stream that has nothing but groups. */
Test(stream_model, large_groups_are_freed_in_slices)
{
    struct world world;
    world_init(&world, 1);
    struct shard *shard = world.shards[0];
    uint64_t before = shard_stats_of(shard)->bytes, slices = 0;
    struct stream *s = stream_new(shard);
    struct stream_group *g = stream_group_add(s, SLICE("g"), STREAM_ID_MIN, 0);
    struct stream_consumer *c = stream_consumer_add(s, g, SLICE("c"), 1);
    struct buf ids = {0}, gone = {0};
    instant_ms next;
    for (uint64_t i = 1; i <= 5000; i++) {
        struct stream_nack nack = {{i, 0}, (instant_ms)(i * 7919 % 5003), 1, c};
        cr_assert_eq(stream_nack_put(s, g, &nack), 0);
        if (i == 2500) cr_assert_eq(stream_oldest(s, g, 0, 0, &ids, &gone, &next), 0);
    }
    stream_account(shard, s);
    uint64_t full = shard_stats_of(shard)->bytes;
    stream_group_remove(shard, s, g);
    stream_account(shard, s);
    cr_assert_eq(shard_stats_of(shard)->lazyfree_pending, 1);
    cr_assert_geq(shard_stats_of(shard)->bytes, full);
    for (; shard_free_step(shard, 100) > 0; slices++) {}
    cr_assert_geq(slices, 100);
    for (int i = 0; i < 5000; i++) {
        char name[16];
        int len = snprintf(name, sizeof(name), "%d", i);
        cr_assert(stream_group_add(s, slice_of(name, (size_t)len), STREAM_ID_MIN, 0));
    }
    stream_account(shard, s);
    cr_assert_eq(s->object.ops->count(&s->object), 5000);
    size_t done;
    for (slices = 1; !s->object.ops->free_step(shard, &s->object, 100, &done); slices++)
        cr_assert_leq(done, 110);
    cr_assert_geq(slices, 40);
    cr_assert_eq(shard_stats_of(shard)->bytes, before);
    buf_deinit(&ids);
    buf_deinit(&gone);
    world_deinit(&world);
}

/* Every single byte of a node is changed to others: what is taken can be walked. */
Test(stream_model, hostile_nodes)
{
    struct world world;
    struct blocks_cursor c;
    char bytes[512];
    world_init(&world, 1);
    struct stream *s = stream_new(world.shards[0]);
    struct stream_limits limits = {4096, 100};
    struct slice pairs[] = {SLICE("field"), SLICE("value"), SLICE("12"), SLICE("x")};
    for (uint64_t i = 1; i < 6; i++)
        cr_assert_eq(stream_append(s, limits, (struct stream_id){i * 77, i}, pairs, 1 + i % 2), 0);
    cr_assert_eq(stream_delete(s, (struct stream_id){154, 2}), 1);
    blocks_first(&s->nodes, &c);
    size_t len = c.block->len, taken = 0;
    cr_assert_lt(len, sizeof(bytes));
    for (size_t at = 0; at < len; at++) {
        for (unsigned value = 0; value < 256; value++) {
            memcpy(bytes, c.block->bytes, len);
            bytes[at] = (char)value;
            struct stream *other = stream_new(world.shards[0]);
            struct slice node = slice_of(bytes, len);
            if (stream_build_node(other, (struct stream_id){77, 1}, node) == 0) {
                struct stream_iter it;
                other->last_id = STREAM_ID_MAX;
                cr_assert(stream_build_finish(other, true));
                for (int reverse = 0; reverse < 2; reverse++) {
                    stream_iter_init(&it, other, STREAM_ID_MIN, STREAM_ID_MAX, reverse);
                    while (stream_iter_next(&it)) taken++;
                }
            }
            stream_free(world.shards[0], other);
        }
    }
    cr_assert_gt(taken, len);
    stream_account(world.shards[0], s);
    stream_free(world.shards[0], s);
    world_deinit(&world);
}
