/* The sorted sequence against a sorted array: random inserts, rescoring, removals by member and by
 * rank, ranks and walks, with scores that collide, grow, fall, or are spread over all doubles;
 * after each burst every invariant at the top of src/data/ordered.c is checked from outside. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "ordered_impl.h"
#include "splitring/base/rng.h"

#define MODEL_MAX 6000u

struct model {
    struct ordered o;
    struct slab *slab;
    struct rng rng;
    struct ordered_member *all[MODEL_MAX];
    size_t count;
    uint64_t serial;
};

static int compare(const struct ordered_member *a, double score, struct slice text)
{
    if (a->score < score) return -1;
    if (a->score > score) return 1;
    return slice_compare(ordered_text(a), text);
}

static size_t model_find(const struct model *m, double score, struct slice text)
{
    size_t low = 0, high = m->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (compare(m->all[middle], score, text) < 0) low = middle + 1;
        else high = middle;
    }
    return low;
}

/* ---- invariants ---- */

struct walk {
    const struct model *m;
    size_t seen;
    size_t bytes;
};

static void verify_leaf(struct walk *w, const struct leaf *leaf)
{
    cr_assert(leaf->count > 0 && leaf->count <= leaf->cap && leaf->cap <= ORDERED_LEAF_MAX);
    w->bytes += leaf_bytes(leaf->cap);
    uint64_t before = 0;
    for (uint32_t i = 0; i < leaf->count; i++) {
        const struct ordered_member *member = slot_member(leaf->slots[i]);
        cr_assert_lt(w->seen, w->m->count);
        cr_assert_eq(member, w->m->all[w->seen], "member %zu", w->seen);
        cr_assert_eq(slot_tag(leaf->slots[i]), leaf_tag(leaf, member->score), "tag");
        cr_assert(slot_tag(leaf->slots[i]) >= before, "tags grow");
        before = slot_tag(leaf->slots[i]);
        w->seen++;
    }
}

static void verify_node(struct walk *w, const void *node, uint32_t height)
{
    if (height == 0) {
        verify_leaf(w, node);
        return;
    }
    const struct inner *inner = node;
    w->bytes += sizeof(*inner);
    cr_assert(inner->count > 0 && inner->count <= INNER_MAX);
    for (uint32_t i = 0; i < inner->count; i++) {
        size_t begin = w->seen;
        cr_assert_eq(inner->first[i], w->m->all[begin]);
        cr_assert(ordered_equal_score(inner->score[i], w->m->all[begin]->score));
        verify_node(w, inner->child[i], height - 1);
        cr_assert_eq(inner->items[i], w->seen - begin);
    }
}

static void verify(const struct model *m)
{
    struct walk w = {.m = m};
    if (m->o.root) verify_node(&w, m->o.root, m->o.height);
    cr_assert_eq(w.seen, m->count);
    cr_assert_eq(m->o.count, m->count);
    cr_assert_eq(m->o.bytes, w.bytes);
    if (m->o.height > 0) cr_assert(((struct inner *)m->o.root)->count > 1);
}

static void verify_walks(struct model *m)
{
    if (m->count == 0) return;
    struct ordered_cursor c;
    size_t at = rng_below(&m->rng, m->count);
    struct ordered_member *member = ordered_at(&m->o, at, &c);
    for (size_t i = at; i < m->count; i++, member = ordered_next(&m->o, &c)) {
        cr_assert_eq(member, m->all[i]);
    }
    cr_assert_null(member);
    member = ordered_at(&m->o, at, &c);
    for (size_t i = at + 1; i-- > 0; member = ordered_prev(&m->o, &c)) {
        cr_assert_eq(member, m->all[i]);
    }
    cr_assert_null(member);
}

static void verify_ranks(struct model *m)
{
    for (int i = 0; i < 50 && m->count; i++) {
        size_t at = rng_below(&m->rng, m->count);
        const struct ordered_member *member = m->all[at];
        cr_assert_eq(ordered_rank_of(&m->o, member), at);
        struct ordered_bound bound = {.by = ORDERED_BY_SCORE, .score = member->score};
        size_t first = at, end = at;
        while (first > 0 && !(m->all[first - 1]->score < member->score)) first--;
        while (end < m->count && !(m->all[end]->score > member->score)) end++;
        cr_assert_eq(ordered_rank(&m->o, &bound), first);
        bound.after = true;
        cr_assert_eq(ordered_rank(&m->o, &bound), end);
        bound = (struct ordered_bound){.by = ORDERED_BY_BOTH, .score = member->score,
                                       .text = SLICE("m5"), .after = true};
        size_t expected = model_find(m, member->score, SLICE("m5"));
        if (expected < m->count && compare(m->all[expected], member->score, SLICE("m5")) == 0)
            expected++;
        cr_assert_eq(ordered_rank(&m->o, &bound), expected);
    }
}

/* ---- steps ---- */

enum shape { SHAPE_FEW, SHAPE_SPREAD, SHAPE_UP, SHAPE_DOWN, SHAPE_SAME, SHAPE_COUNT };

static double new_score(struct model *m, enum shape shape)
{
    switch (shape) {
    case SHAPE_FEW: return (double)rng_below(&m->rng, 40) - 20;
    case SHAPE_UP: return (double)m->serial;
    case SHAPE_DOWN: return -(double)m->serial / 8;
    case SHAPE_SAME: return rng_below(&m->rng, 2) ? 0.0 : -0.0;
    default: break;
    }
    if (rng_below(&m->rng, 50) == 0) return rng_below(&m->rng, 2) ? INFINITY : -INFINITY;
    uint64_t bits = rng_next(&m->rng);
    double score;
    memcpy(&score, &bits, sizeof(score));
    return isnan(score) ? 1e300 : score;
}

static struct ordered_member *new_member(struct model *m, double score)
{
    char text[320];
    memset(text, 'x', sizeof(text));
    size_t len = (size_t)snprintf(text, 32, "m%llx",
                                  (unsigned long long)(rng_next(&m->rng) & 0xffffff));
    if (rng_below(&m->rng, 100) == 0) len = 250 + rng_below(&m->rng, 20);
    struct slice s = slice_of(text, len);
    size_t at = model_find(m, score, s);
    if (at < m->count && compare(m->all[at], score, s) == 0) return NULL;
    struct ordered_member *member = slab_alloc(m->slab, ordered_member_len(len));
    ordered_member_init(member, score, s);
    cr_assert(slice_equal(ordered_text(member), s));
    return member;
}

static void add(struct model *m, enum shape shape)
{
    m->serial++;
    struct ordered_member *member = new_member(m, new_score(m, shape));
    if (!member || m->count == MODEL_MAX) return;
    size_t at = model_find(m, member->score, ordered_text(member));
    bool append = at == m->count && rng_below(&m->rng, 2) == 0;
    cr_assert_eq(append ? ordered_append(&m->o, member) : ordered_insert(&m->o, member), 0);
    memmove(m->all + at + 1, m->all + at, (m->count - at) * sizeof(m->all[0]));
    m->all[at] = member;
    m->count++;
}

static void drop(struct model *m, size_t at)
{
    struct ordered_member *member = m->all[at];
    if (rng_below(&m->rng, 2)) ordered_remove(&m->o, member);
    else cr_assert_eq(ordered_take_at(&m->o, at), member);
    slab_free(m->slab, member, ordered_member_len(ordered_text(member).len));
    memmove(m->all + at, m->all + at + 1, (m->count - at - 1) * sizeof(m->all[0]));
    m->count--;
}

static void rescore(struct model *m, enum shape shape)
{
    if (m->count == 0) return;
    size_t at = rng_below(&m->rng, m->count);
    struct ordered_member *member = m->all[at];
    double score = new_score(m, shape);
    struct slice text = ordered_text(member);
    bool stays = (at == 0 || compare(m->all[at - 1], score, text) < 0) &&
                 (at + 1 == m->count || compare(m->all[at + 1], score, text) > 0);
    double old = member->score;
    cr_assert_eq(ordered_rescore(&m->o, member, score), stays);
    cr_assert(ordered_equal_score(member->score, stays ? score : old));
}

static void burst(struct model *m, enum shape shape)
{
    unsigned kind = (unsigned)rng_below(&m->rng, 6);
    size_t steps = rng_below(&m->rng, 700);
    if (kind < 3) {
        for (size_t i = 0; i < steps; i++) add(m, shape);
    } else if (kind == 3) {
        for (size_t i = 0; i < steps && m->count; i++) drop(m, rng_below(&m->rng, m->count));
    } else if (kind == 4 && m->count) {
        size_t at = rng_below(&m->rng, m->count);
        for (size_t i = 0; i < steps && at < m->count; i++) drop(m, at);
    } else {
        for (size_t i = 0; i < steps; i++) rescore(m, shape);
    }
}

static void run(uint64_t seed)
{
    struct model *m = calloc(1, sizeof(*m));
    m->slab = slab_new();
    ordered_init(&m->o, m->slab);
    rng_seed(&m->rng, seed);
    enum shape shape = (enum shape)(seed % SHAPE_COUNT);
    for (int i = 0; i < 60; i++) {
        burst(m, shape);
        if (rng_below(&m->rng, 10) == 0) shape = (enum shape)rng_below(&m->rng, SHAPE_COUNT);
        verify(m);
        verify_walks(m);
        verify_ranks(m);
    }
    while (m->count > 100) drop(m, rng_below(&m->rng, m->count));
    verify(m);
    if (seed % 2) {
        while (m->count) drop(m, m->count - 1);
        verify(m);
        cr_assert_null(m->o.root);
    }
    size_t done;
    while (!ordered_free_step(&m->o, 30, &done)) {}
    cr_assert_eq(m->o.bytes, 0);
    slab_free_all(m->slab);
    free(m);
}

Test(ordered, follows_a_sorted_array, .timeout = 240)
{
    for (uint64_t seed = 1; seed <= 40; seed++) run(seed);
}

Test(ordered, by_text)
{
    struct model *m = calloc(1, sizeof(*m));
    m->slab = slab_new();
    ordered_init(&m->o, m->slab);
    rng_seed(&m->rng, 5);
    for (int i = 0; i < 3000; i++) add(m, SHAPE_SAME);
    for (int i = 0; i < 300; i++) {
        char text[16];
        int len = snprintf(text, sizeof(text), "m%llx",
                           (unsigned long long)(rng_next(&m->rng) & 0xfffff));
        struct slice s = slice_of(text, (size_t)len);
        struct ordered_bound bound = {.by = ORDERED_BY_TEXT, .text = s};
        size_t at = model_find(m, 0, s);
        cr_assert_eq(ordered_rank(&m->o, &bound), at);
        bound.after = true;
        bool equal = at < m->count && slice_equal(ordered_text(m->all[at]), s);
        cr_assert_eq(ordered_rank(&m->o, &bound), at + equal);
    }
    slab_free_all(m->slab);
    free(m);
}
