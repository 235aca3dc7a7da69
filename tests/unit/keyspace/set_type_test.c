/* Sets under keys and aside, against a plain model: an array of flags over a few hundred members,
 * integers of every width and texts, with limits so small that every form is left and entered. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "splitring/base/hash.h"
#include "splitring/keyspace/set.h"

#define MEMBERS_MAX 6000u

struct world {
    struct shard *shard;
    struct ks ks;
    struct rng rng;
    struct set_limits limits;
    size_t members;
    char texts[MEMBERS_MAX][96];
    struct slice names[MEMBERS_MAX];
    bool there[MEMBERS_MAX];
    unsigned seen[MEMBERS_MAX];
    size_t count;
};

static void make_members(struct world *w, size_t members)
{
    w->members = members;
    for (size_t i = 0; i < members; i++) {
        long long number = (long long)i - (long long)members / 2;
        size_t kind = i % 8;
        char *text = w->texts[i];
        size_t cap = sizeof(w->texts[i]);
        if (kind < 3) snprintf(text, cap, "%lld", number);
        else if (kind == 3) snprintf(text, cap, "%lld", number * 100003);
        else if (kind == 4) snprintf(text, cap, "%lld", number * 1000000000039);
        else if (kind == 5) snprintf(text, cap, "0%zu", i);
        else if (kind == 6) snprintf(text, cap, "%0*zu", 70, i);
        else snprintf(text, cap, "member %zu", i);
        w->names[i] = slice_of(text, strlen(text));
    }
}

static struct world *world_new(uint64_t seed, size_t members)
{
    struct world *w = calloc(1, sizeof(*w));
    struct shard_options options = {.databases = 2, .seed = 5};
    w->shard = shard_new(&options);
    w->ks = (struct ks){.shard = w->shard, .shard_count = 1, .now = 1000};
    rng_seed(&w->rng, seed);
    static const uint64_t limits[] = {512, 128, 20, 4, 0};
    w->limits.intset_entries = limits[rng_below(&w->rng, ARRAY_COUNT(limits))];
    w->limits.listpack_entries = limits[rng_below(&w->rng, ARRAY_COUNT(limits))];
    w->limits.listpack_value = rng_below(&w->rng, 3) ? 80 : 6;
    make_members(w, members);
    return w;
}

static void world_free(struct world *w)
{
    (void)ks_flush_db(&w->ks, 0, false);
    while (shard_free_step(w->shard, SIZE_MAX)) {}
    shard_free(w->shard);
    free(w);
}

static size_t index_of(const struct world *w, struct slice text)
{
    for (size_t i = 0; i < w->members; i++) {
        if (slice_equal(w->names[i], text)) return i;
    }
    cr_assert_fail("a member that nobody added");
    return 0;
}

static bool see(void *ctx, struct set_member *m)
{
    struct world *w = ctx;
    w->seen[index_of(w, set_member_get(m))]++;
    return true;
}

static void expect_seen_once(struct world *w)
{
    for (size_t i = 0; i < w->members; i++) {
        cr_assert_eq(w->seen[i], w->there[i]);
        w->seen[i] = 0;
    }
}

static void verify(struct world *w, const struct entry *e)
{
    cr_assert_eq(e == NULL, w->count == 0);
    if (!e) return;
    cr_assert_eq(set_count(e), w->count);
    for (size_t i = 0; i < w->members; i++) {
        struct set_member m;
        set_member_text(&m, w->names[i]);
        cr_assert_eq(set_contains(e, &m), w->there[i]);
    }
    cr_assert(set_each(e, see, w));
    expect_seen_once(w);
    if (entry_form(e) == FORM_INTSET) cr_assert(intset_valid(entry_packed(e)));
    if (entry_form(e) == FORM_LISTPACK) cr_assert(lp_valid(entry_packed(e), NULL));
    for (int i = 0; i < 10; i++) {
        struct set_member m;
        set_random(e, &w->rng, &m);
        cr_assert(w->there[index_of(w, set_member_get(&m))]);
    }
}

static void add(struct world *w, struct slice key, size_t i)
{
    struct entry *e = ks_edit(&w->ks, key);
    struct set_edit edit;
    struct set_member m;
    set_member_text(&m, w->names[i]);
    if (e) {
        set_open(&edit, &w->ks, key, e, &w->limits);
        if (rng_below(&w->rng, 50) == 0) cr_assert_eq(set_expect(&edit, 30), 0);
    } else {
        enum form form = set_form_for(&m, 1 + rng_below(&w->rng, 30), &w->limits);
        cr_assert_eq(set_begin(&edit, &w->ks, key, form, 1, &w->limits), 0);
    }
    cr_assert_eq(set_add(&edit, &m), !w->there[i]);
    cr_assert(set_edit_contains(&edit, &m));
    w->count += !w->there[i];
    w->there[i] = true;
    cr_assert_eq(set_edit_count(&edit), w->count);
    if (!e) cr_assert_eq(set_store(&edit, &w->ks, key, 5000), 0);
}

static void take_out(struct world *w, struct slice key, size_t i)
{
    struct entry *e = ks_edit(&w->ks, key);
    if (!e) return;
    struct set_edit edit;
    struct set_member m;
    set_member_text(&m, w->names[i]);
    set_open(&edit, &w->ks, key, e, &w->limits);
    cr_assert_eq(set_remove(&edit, &m), w->there[i]);
    w->count -= w->there[i];
    w->there[i] = false;
    if (set_edit_count(&edit) == 0) (void)ks_delete(&w->ks, key, false);
}

/* Through images and back: another block, the same members. */
static void copy_around(struct world *w, struct slice key)
{
    struct buf image = {0};
    ks_image_write(&w->ks, key, &image);
    cr_assert_eq(ks_image_put(&w->ks, key, buf_slice(&image)), 0);
    buf_deinit(&image);
    struct ks other = ks_in_db(&w->ks, 1);
    cr_assert_eq(ks_copy(&w->ks, key, 1, SLICE("copy")), 0);
    verify(w, ks_find(&other, SLICE("copy")));
    (void)ks_delete(&other, SLICE("copy"), true);
}

static void come_and_go(uint64_t seed, size_t members, int steps)
{
    struct world *w = world_new(seed, members);
    struct slice key = SLICE("key");
    for (int wave = 0; wave < 4; wave++) {
        for (int step = 0; step < steps; step++) {
            size_t i = rng_below(&w->rng, members);
            /* Some waves know integers only. */
            if (seed % 2 && wave % 2 == 0) i -= i % 8;
            if ((rng_below(&w->rng, 5) == 0) == (wave % 2 == 0)) take_out(w, key, i);
            else add(w, key, i);
            if (members < 100 || step % 997 == 0) verify(w, ks_find(&w->ks, key));
        }
        if (w->count) copy_around(w, key);
        verify(w, ks_find(&w->ks, key));
    }
    const struct entry *e = ks_find(&w->ks, key);
    if (e) cr_assert_eq(entry_expiry(e), 5000, "changes of form keep the TTL");
    world_free(w);
}

Test(set, under_a_key_against_a_model)
{
    for (uint64_t seed = 1; seed <= 60; seed++) come_and_go(seed, 8 + seed, 200);
    for (uint64_t seed = 61; seed <= 70; seed++) come_and_go(seed, 700, 2000);
    come_and_go(71, MEMBERS_MAX, 9000);
}

static bool is_there(void *ctx, struct set_member *m)
{
    struct world *w = ctx;
    return w->there[index_of(w, set_member_get(m))];
}

/* Aside, as results of set operations are made: begun in any form, narrowed, stored over others. */
static void build(uint64_t seed)
{
    struct world *w = world_new(seed, 300);
    struct slice key = SLICE("key");
    static const enum form forms[] = {FORM_INTSET, FORM_LISTPACK, FORM_OBJECT};
    for (int round = 0; round < 30; round++) {
        struct set_edit edit;
        enum form form = forms[rng_below(&w->rng, 3)];
        cr_assert_eq(set_begin(&edit, &w->ks, key, form, rng_below(&w->rng, 400), &w->limits), 0);
        memset(w->there, 0, sizeof(w->there));
        w->count = 0;
        size_t steps = rng_below(&w->rng, 500);
        bool ints = rng_below(&w->rng, 2);
        for (size_t step = 0; step < steps; step++) {
            struct set_member m;
            size_t i = rng_below(&w->rng, w->members);
            if (ints) i -= i % 8;
            set_member_text(&m, w->names[i]);
            if (rng_below(&w->rng, 4)) {
                cr_assert_eq(set_add(&edit, &m), !w->there[i]);
                w->count += !w->there[i];
                w->there[i] = true;
            } else {
                cr_assert_eq(set_remove(&edit, &m), w->there[i]);
                w->count -= w->there[i];
                w->there[i] = false;
            }
        }
        if (rng_below(&w->rng, 2)) set_narrow(&edit);
        bool narrow = ints && w->count <= w->limits.intset_entries;
        cr_assert_eq(set_edit_count(&edit), w->count);
        cr_assert(set_edit_each(&edit, is_there, w));
        if (w->count && rng_below(&w->rng, 4)) {
            set_narrow(&edit);
            cr_assert(!narrow || edit.form == FORM_INTSET);
            cr_assert_eq(set_store(&edit, &w->ks, key, EXPIRE_NONE), 0);
            verify(w, ks_find(&w->ks, key));
        } else {
            set_close(&edit);
        }
    }
    world_free(w);
}

Test(set, aside_against_a_model)
{
    for (uint64_t seed = 1; seed <= 40; seed++) build(seed);
}

static bool stop_at_three(void *ctx, struct set_member *m)
{
    (void)m;
    return ++*(int *)ctx < 3;
}

Test(set, walks_can_be_stopped)
{
    static const enum form forms[] = {FORM_INTSET, FORM_LISTPACK, FORM_OBJECT};
    struct world *w = world_new(1, 100);
    w->limits = (struct set_limits){512, 128, 64};
    for (size_t f = 0; f < ARRAY_COUNT(forms); f++) {
        struct set_edit edit;
        cr_assert_eq(set_begin(&edit, &w->ks, SLICE("k"), forms[f], 0, &w->limits), 0);
        for (int i = 0; i < 10; i++) {
            struct set_member m;
            set_member_number(&m, i);
            cr_assert_eq(set_add(&edit, &m), 1);
        }
        int visited = 0;
        cr_assert_not(set_edit_each(&edit, stop_at_three, &visited));
        cr_assert_eq(visited, 3);
        cr_assert_eq(edit.form, forms[f]);
        set_close(&edit);
    }
    world_free(w);
}

/* Members of every length that the block's head tells apart. */
Test(set, lengths_of_members)
{
    static const size_t lens[] = {0,   1,    7,    64,    65,    252,   253,   254,
                                  255, 1020, 1024, 65534, 65535, 65536, 100000};
    struct world *w = world_new(1, 1);
    w->limits = (struct set_limits){0, 0, 0};
    struct slice key = SLICE("k");
    char *text = malloc(100000);
    memset(text, 'x', 100000);
    struct set_edit edit;
    cr_assert_eq(set_begin(&edit, &w->ks, key, FORM_OBJECT, 0, &w->limits), 0);
    for (size_t i = 0; i < ARRAY_COUNT(lens); i++) {
        struct set_member m;
        set_member_text(&m, slice_of(text, lens[i]));
        cr_assert_eq(set_add(&edit, &m), 1);
        cr_assert_eq(set_add(&edit, &m), 0);
    }
    cr_assert_eq(set_store(&edit, &w->ks, key, EXPIRE_NONE), 0);
    struct buf image = {0};
    ks_image_write(&w->ks, key, &image);
    cr_assert_eq(ks_image_put(&w->ks, SLICE("other"), buf_slice(&image)), 0);
    buf_deinit(&image);
    struct slice other = SLICE("other");
    set_open(&edit, &w->ks, other, ks_edit(&w->ks, other), &w->limits);
    for (size_t i = 0; i < ARRAY_COUNT(lens); i++) {
        struct set_member m;
        set_member_text(&m, slice_of(text, lens[i]));
        cr_assert(set_remove(&edit, &m));
    }
    cr_assert_eq(set_edit_count(&edit), 0);
    free(text);
    world_free(w);
}
