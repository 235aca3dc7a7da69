/* Large sorted sets: a tree in order and an index by member, over the same blocks.
 *
 *   order: (score, text) → member block     ranks, ranges, walks in order (data/ordered.h)
 *   index: text → member block              ZSCORE, updates, ZSCAN, random members (data/dict.h)
 *
 * A member is in both or in neither: an insert that finds no memory for the second takes itself
 * out of the first. A score that moves its member gets a new block, put in before the old one goes,
 * so that running out of memory changes nothing. One exception: while a set is built for STORE or
 * by loading, members are in the index alone; zset_sort then makes the tree in one go, every leaf
 * full.
 *
 * A 16-byte member costs 53 bytes of memory when a million come in random order: block 32, tree
 * 9.8, index 10.5 (bench/micro/zset.c).
 * Thread: holder of the shard. */
#include <stdlib.h>

#include "splitring/base/hash.h"
#include "splitring/base/mem.h"
#include "splitring/keyspace/snapshot.h"
#include "zset.h"

static struct slice member_text(const void *member) { return ordered_text(member); }

const struct table_ops zset_member_ops = {member_text};

/* ---- members ---- */

struct ordered_member *zset_member_new(struct zset *z, double score, struct slice text)
{
    size_t len = ordered_member_len(text.len);
    struct ordered_member *m = shard_alloc(z->shard, len);
    if (!m) return NULL;
    ordered_member_init(m, score, text);
    z->member_bytes += slab_class_len(len);
    return m;
}

void zset_member_free(struct zset *z, struct ordered_member *m)
{
    size_t len = ordered_member_len(ordered_text(m).len);
    z->member_bytes -= slab_class_len(len);
    shard_release(z->shard, m, len);
}

/* What the index takes from the allocator shows in the shard's bytes. */
static int index_insert(struct zset *z, uint64_t hash, struct ordered_member *m)
{
    size_t before = dict_bytes(&z->index);
    int rc = dict_insert(&z->index, hash, m, 0);
    shard_count_bytes(z->shard, (ptrdiff_t)(dict_bytes(&z->index) - before));
    return rc;
}

static void index_remove(struct zset *z, uint64_t hash, struct slice text)
{
    if (unlikely(z->object.duty != NULL))
        object_before_write(z->shard, &z->object, dict_find_slot(&z->index, hash, text));
    size_t before = dict_bytes(&z->index);
    (void)dict_remove(&z->index, hash, text);
    shard_count_bytes(z->shard, (ptrdiff_t)(dict_bytes(&z->index) - before));
}

int zset_insert(struct zset *z, uint64_t hash, struct slice text, double score)
{
    struct ordered_member *m = zset_member_new(z, score, text);
    if (!m) return -ENOMEM;
    int rc = ordered_insert(&z->order, m);
    if (rc == 0) {
        rc = index_insert(z, hash, m);
        if (rc == 0) return 0;
        ordered_remove(&z->order, m);
    }
    zset_member_free(z, m);
    return rc;
}

int zset_rescore(struct zset *z, uint64_t *slot, double score)
{
    struct ordered_member *m = table_slot_entry(slot);
    object_before_write(z->shard, &z->object, slot);
    if (ordered_rescore(&z->order, m, score)) return 0;
    struct ordered_member *moved = zset_member_new(z, score, ordered_text(m));
    if (!moved) return -ENOMEM;
    int rc = ordered_insert(&z->order, moved);
    if (rc < 0) {
        zset_member_free(z, moved);
        return rc;
    }
    ordered_remove(&z->order, m);
    table_slot_replace(slot, moved);
    zset_member_free(z, m);
    return 0;
}

void zset_remove(struct zset *z, uint64_t hash, struct ordered_member *m)
{
    ordered_remove(&z->order, m);
    index_remove(z, hash, ordered_text(m));
    zset_member_free(z, m);
}

void zset_remove_at(struct zset *z, uint64_t rank)
{
    struct ordered_member *m = ordered_take_at(&z->order, rank);
    struct slice text = ordered_text(m);
    index_remove(z, hash_key(text, z->index.seed), text);
    zset_member_free(z, m);
}

/* ---- ranges ---- */

struct zset_ranks zset_object_by_score(const struct zset *z, const struct zset_score_range *range)
{
    struct ordered_bound min = {
        .by = ORDERED_BY_SCORE, .score = range->min, .after = range->min_ex};
    struct ordered_bound max = {
        .by = ORDERED_BY_SCORE, .score = range->max, .after = !range->max_ex};
    struct zset_ranks ranks = {ordered_rank(&z->order, &min), ordered_rank(&z->order, &max)};
    if (ranks.end < ranks.begin) ranks.end = ranks.begin;
    return ranks;
}

static uint64_t lex_rank(const struct zset *z, const struct zset_lex_end *end, bool after)
{
    if (end->kind == ZSET_LEX_MIN) return 0;
    if (end->kind == ZSET_LEX_MAX) return z->order.count;
    struct ordered_bound bound = {.by = ORDERED_BY_TEXT, .text = end->text, .after = after};
    return ordered_rank(&z->order, &bound);
}

struct zset_ranks zset_object_by_lex(const struct zset *z, const struct zset_lex_range *range)
{
    struct zset_ranks ranks = {lex_rank(z, &range->min, range->min.ex),
                               lex_rank(z, &range->max, !range->max.ex)};
    if (ranks.end < ranks.begin) ranks.end = ranks.begin;
    return ranks;
}

/* ---- whole sets ---- */

struct zset *zset_new(struct shard *shard)
{
    struct zset *z = shard_alloc(shard, sizeof(*z));
    if (!z) return NULL;
    *z = (struct zset){.object.ops = &zset_object_ops, .shard = shard};
    ordered_init(&z->order, shard->slab);
    dict_init(&z->index, &zset_member_ops, shard->options.seed);
    return z;
}

struct ordered_member *zset_member(const struct zset *z, struct slice text)
{
    return dict_find(&z->index, hash_key(text, z->index.seed), text);
}

void zset_take_out(struct zset *z, struct ordered_member *m)
{
    index_remove(z, hash_key(ordered_text(m), z->index.seed), ordered_text(m));
    zset_member_free(z, m);
}

int zset_add(struct zset *z, struct slice text, double score)
{
    struct ordered_member *m = zset_member_new(z, score, text);
    if (!m) return -ENOMEM;
    int rc = index_insert(z, hash_key(text, z->index.seed), m);
    if (rc < 0) zset_member_free(z, m);
    return rc;
}

struct sorted {
    double score;
    struct ordered_member *m;
};
struct sorting {
    struct sorted *all;
    size_t count, longest;
};

static int compare_sorted(const void *a, const void *b)
{
    const struct sorted *x = a, *y = b;
    if (x->score < y->score) return -1;
    if (x->score > y->score) return 1;
    return slice_compare(ordered_text(x->m), ordered_text(y->m));
}

static void collect(void *ctx, void *entry, unsigned bits)
{
    (void)bits;
    struct sorting *s = ctx;
    struct ordered_member *m = entry;
    s->all[s->count++] = (struct sorted){m->score, m};
    if (ordered_text(m).len > s->longest) s->longest = ordered_text(m).len;
}

int zset_sort(struct zset *z)
{
    dcheck(z->order.count == 0);
    size_t count = dict_count(&z->index);
    if (count == 0) return 0;
    struct sorting s = {.all = mem_try_alloc(count * sizeof(*s.all))};
    if (!s.all) return -ENOMEM;
    dict_each(&z->index, collect, &s);
    z->longest = s.longest;
    qsort(s.all, count, sizeof(*s.all), compare_sorted);
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++) rc = ordered_append(&z->order, s.all[i].m);
    mem_free(s.all);
    return rc;
}

/* ---- as an object ---- */

static void free_taken(void *ctx, void *entry) { zset_member_free(ctx, entry); }

static bool object_free_step(struct shard *shard, struct object *object, size_t budget,
                             size_t *done)
{
    struct zset *z = CONTAINER_OF(object, struct zset, object);
    size_t before = dict_bytes(&z->index), count = dict_count(&z->index);
    bool more = dict_drain(&z->index, budget, free_taken, z);
    shard_count_bytes(shard, (ptrdiff_t)(dict_bytes(&z->index) - before));
    *done = count - dict_count(&z->index);
    if (more) return false;
    /* Leaves cost a sixtieth of a member each, but the count they return is in members. */
    size_t nodes = 0, left = budget - *done;
    if (!ordered_free_step(&z->order, left < SIZE_MAX / 16 ? left * 16 : left, &nodes)) {
        *done += nodes / 16;
        return false;
    }
    before = dict_bytes(&z->index);
    dict_deinit(&z->index);
    shard_count_bytes(shard, -(ptrdiff_t)before);
    shard_release(shard, z, sizeof(*z));
    return true;
}

void zset_free(struct zset *z)
{
    size_t done;
    (void)object_free_step(z->shard, &z->object, SIZE_MAX, &done);
}

static size_t object_count(const struct object *object)
{
    const struct zset *z = CONTAINER_OF(object, const struct zset, object);
    return dict_count(&z->index);
}

static size_t object_bytes(const struct object *object)
{
    const struct zset *z = CONTAINER_OF(object, const struct zset, object);
    return slab_class_len(sizeof(*z)) + z->order.bytes + z->member_bytes + dict_bytes(&z->index);
}

/* Image: count, then score, length and text of every member in order. */
static void object_save(const struct object *object, struct buf *out)
{
    const struct zset *z = CONTAINER_OF(object, const struct zset, object);
    struct ordered_cursor c;
    uint64_t count = z->order.count;
    buf_append(out, &count, sizeof(count));
    if (count == 0) return;
    const struct ordered_member *m = ordered_at(&z->order, 0, &c);
    for (; m; m = ordered_next(&z->order, &c)) {
        struct slice text = ordered_text(m);
        uint64_t len = text.len;
        buf_append(out, &m->score, sizeof(m->score));
        buf_append(out, &len, sizeof(len));
        buf_append_slice(out, text);
    }
}

static bool load_member(struct zset *z, const char **at)
{
    double score;
    uint64_t len;
    memcpy(&score, *at, sizeof(score));
    memcpy(&len, *at + sizeof(score), sizeof(len));
    struct slice text = slice_of(*at + sizeof(score) + sizeof(len), len);
    *at = text.ptr + len;
    struct ordered_member *m = zset_member_new(z, score, text);
    if (!m) return false;
    if (index_insert(z, hash_key(text, z->index.seed), m) < 0) {
        zset_member_free(z, m);
        return false;
    }
    return ordered_append(&z->order, m) == 0;
}

static struct object *object_load(struct shard *shard, struct slice image)
{
    uint64_t count;
    const char *at = image.ptr + sizeof(count);
    memcpy(&count, image.ptr, sizeof(count));
    struct zset *z = zset_new(shard);
    if (!z) return NULL;
    size_t before = dict_bytes(&z->index);
    dict_reserve(&z->index, count);
    shard_count_bytes(shard, (ptrdiff_t)(dict_bytes(&z->index) - before));
    for (uint64_t i = 0; i < count; i++) {
        if (load_member(z, &at)) continue;
        zset_free(z);
        return NULL;
    }
    return &z->object;
}

static struct dict *object_members(struct object *object)
{
    return &CONTAINER_OF(object, struct zset, object)->index;
}

static void object_part(const void *piece, struct snapshot_part *part)
{
    const struct ordered_member *m = piece;
    part->text = ordered_text(m);
    part->score = m->score;
}

static void *move_member(void *ctx, void *member)
{
    struct zset *z = ctx;
    struct ordered_member *m = member;
    /* The sequence finds the old block by its score and text; it is freed when the new one is in
     * its place, so it is copied here and not by shard_moved. */
    size_t len = ordered_member_len(ordered_text(m).len);
    void *moved = shard_copied(z->shard, m, len);
    if (moved == m) return m;
    ordered_replace(&z->order, m, moved);
    shard_release(z->shard, m, len);
    return moved;
}

/* First the members by hash, then the leaves by rank. */
#define LEAVES ((uint64_t)1 << 48)

static uint64_t object_evacuate(struct shard *shard, struct object *object, uint64_t cursor,
                                size_t slots_max, size_t *looked)
{
    struct zset *z = CONTAINER_OF(object, struct zset, object);
    (void)shard;
    *looked = 0;
    if (cursor < LEAVES) {
        cursor = dict_move(&z->index, cursor, slots_max, move_member, z, looked);
        if (cursor) return cursor;
    }
    uint64_t rank = cursor < LEAVES ? 0 : cursor - LEAVES;
    while (rank < z->order.count && *looked < slots_max)
        *looked += ordered_evacuate(&z->order, &rank);
    return rank < z->order.count ? LEAVES + rank : 0;
}

const struct object_ops zset_object_ops = {
    .type = TYPE_ZSET,
    .encoding = "skiplist",
    .free_step = object_free_step,
    .count = object_count,
    .bytes = object_bytes,
    .save = object_save,
    .load = object_load,
    .members = object_members,
    .part = object_part,
    .evacuate = object_evacuate,
};
