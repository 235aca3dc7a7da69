/* Lists against a plain array: every operation at random, with limits so tiny that nodes split and
 * merge all the time, with frozen roots, and with memory that runs out. */
#include <criterion/criterion.h>

#include <stdlib.h>

#include "list_fixture.h"
#include "list_impl.h"
#include "world.h"

#define KEY SLICE("list")
#define TEXT_MAX 10000u

struct flat {
    char **at; /* with a terminator: texts have no zero bytes here */
    size_t count, cap;
};

static void flat_insert(struct flat *f, size_t at, const char *text)
{
    if (f->count == f->cap) {
        f->cap = f->cap ? f->cap * 2 : 16;
        f->at = realloc(f->at, f->cap * sizeof(*f->at));
    }
    memmove(f->at + at + 1, f->at + at, (f->count - at) * sizeof(*f->at));
    f->at[at] = strdup(text);
    f->count++;
}

static void flat_remove(struct flat *f, size_t at)
{
    free(f->at[at]);
    f->count--;
    memmove(f->at + at, f->at + at + 1, (f->count - at) * sizeof(*f->at));
}

static void flat_clear(struct flat *f)
{
    while (f->count) flat_remove(f, f->count - 1);
    free(f->at);
    *f = (struct flat){0};
}

struct run {
    struct world w;
    struct rng rng;
    struct flat model, frozen;
    int32_t fill;
    bool failing, freezing;
    char text[TEXT_MAX];
};

static size_t below(struct run *r, size_t limit) { return (size_t)rng_below(&r->rng, limit); }

/* Few different ones, numbers among them, some above the limit of a node. */
static const char *draw(struct run *r)
{
    static const char *const few[] = {"a", "b", "7", "-300", "70000", "", "0", "00"};
    size_t pick = below(r, 40);
    if (pick < 34) return few[pick % ARRAY_COUNT(few)];
    size_t len = 1 + below(r, pick < 39 ? 300 : TEXT_MAX - 1);
    memset(r->text, (int)('c' + below(r, 3)), len);
    r->text[len] = '\0';
    return r->text;
}

static struct list_key open_list(struct run *r)
{
    return (struct list_key){
        .ks = &r->w.ks, .key = KEY, .entry = ks_edit(&r->w.ks, KEY), .fill = r->fill};
}

static void check_text(const struct lp_value *value, const char *text)
{
    char digits[NUM_I64_LEN_MAX];
    struct slice s = value->text;
    if (!s.ptr) s = slice_of(digits, num_format_i64(digits, value->number));
    cr_assert(slice_equal(s, slice_str(text)), "'%.*s' is not '%s'", (int)s.len, s.ptr, text);
}

static void verify_iteration(struct run *r, const struct entry *e)
{
    struct list_iter it;
    struct lp_value value;
    size_t from = below(r, r->model.count);
    list_iter_at(&it, e, from, LIST_TAIL);
    for (size_t i = from; i < r->model.count; i++) {
        cr_assert(list_next(&it, &value));
        check_text(&value, r->model.at[i]);
    }
    cr_assert_not(list_next(&it, &value));
    list_iter_at(&it, e, from, LIST_HEAD);
    for (size_t i = from + 1; i-- > 0;) {
        cr_assert(list_next(&it, &value));
        check_text(&value, r->model.at[i]);
    }
    cr_assert_not(list_next(&it, &value));
}

struct nodes {
    struct run *r;
    size_t elements;
};

static void check_node(void *ctx, const struct list_node *node)
{
    struct nodes *n = ctx;
    uint32_t count = 1;
    cr_assert_gt(node->count, 0);
    if (!node->plain) cr_assert(lp_valid(node->bytes, &count));
    cr_assert_eq(count, node->count);
    if (node->plain) cr_assert(list_is_large(n->r->fill, node->bytes.len));
    n->elements += node->count;
}

static void verify(struct run *r)
{
    const struct entry *e = ks_peek(&r->w.ks, KEY);
    if (!e) {
        cr_assert_eq(r->model.count, 0);
        return;
    }
    cr_assert_eq(list_count(e), r->model.count);
    verify_iteration(r, e);
    struct nodes nodes = {.r = r};
    list_each_node(e, check_node, &nodes);
    cr_assert_eq(nodes.elements, r->model.count);
    const struct list *list = list_of(e);
    cr_assert_eq(list_node_count(e), list ? list->blocks.blocks : 1);
}

/* ---- frozen roots ---- */

static void verify_frozen(struct run *r, const struct list *list)
{
    struct blocks_cursor c;
    size_t i = 0;
    for (blocks_frozen_first(&list->blocks, &c); c.block;
         blocks_frozen_next(&list->blocks, &c)) {
        if (node_is_plain(c.block)) {
            struct lp_value value = {.text = slice_of(c.block->bytes, c.block->len)};
            check_text(&value, r->frozen.at[i++]);
            continue;
        }
        const char *bytes = c.block->bytes;
        for (size_t at = lp_first(bytes); at != LP_NONE; at = lp_next(bytes, at)) {
            struct lp_value value = lp_get(bytes, at);
            check_text(&value, r->frozen.at[i++]);
        }
    }
    cr_assert_eq(i, r->frozen.count);
}

static void freeze_or_thaw(struct run *r)
{
    const struct entry *e = ks_peek(&r->w.ks, KEY);
    struct list *list = e ? list_of(e) : NULL;
    if (!list) return;
    if (list->blocks.frozen) {
        verify_frozen(r, list);
        blocks_thaw(&list->blocks);
    } else {
        flat_clear(&r->frozen);
        for (size_t i = 0; i < r->model.count; i++)
            flat_insert(&r->frozen, i, r->model.at[i]);
        blocks_freeze(&list->blocks);
    }
}

/* ---- operations ---- */

/* True where the model is to follow. */
static bool went(struct run *r, int rc)
{
    if (rc == 0) return true;
    cr_assert(rc == -ENOMEM && r->failing && fixture_has_failed());
    return false;
}

static void op_push(struct run *r)
{
    struct slice values[12];
    char *texts[12];
    size_t count = 1 + below(r, below(r, 8) ? 2 : 12);
    for (size_t i = 0; i < count; i++) {
        texts[i] = strdup(draw(r));
        values[i] = slice_str(texts[i]);
    }
    enum list_end end = below(r, 2) ? LIST_TAIL : LIST_HEAD;
    struct list_key l = open_list(r);
    bool ok = went(r, list_push(&l, values, count, end));
    for (size_t i = 0; i < count; i++) {
        if (ok) flat_insert(&r->model, end == LIST_HEAD ? 0 : r->model.count, texts[i]);
        free(texts[i]);
    }
    if (ok) cr_assert_eq(l.entry, ks_peek(&r->w.ks, KEY));
}

static void op_delete(struct run *r)
{
    struct list_key l = open_list(r);
    size_t start = below(r, r->model.count), count = 1 + below(r, below(r, 4) ? 2 : 40);
    if (below(r, 3) == 0) start = 0;
    if (below(r, 3) == 0) start = r->model.count - 1;
    if (count > r->model.count - start) count = r->model.count - start;
    if (count == r->model.count) return;
    if (!went(r, list_delete(&l, start, count))) return;
    while (count-- > 0) flat_remove(&r->model, start);
    list_shrink(&l);
}

static void op_trim(struct run *r)
{
    struct list_key l = open_list(r);
    size_t start = below(r, 4) % r->model.count;
    size_t count = r->model.count - start - below(r, 5) % (r->model.count - start);
    if (!went(r, list_trim(&l, start, count))) return;
    while (start-- > 0) flat_remove(&r->model, 0);
    while (r->model.count > count) flat_remove(&r->model, r->model.count - 1);
    list_shrink(&l);
}

static void op_insert(struct run *r)
{
    char *value = strdup(draw(r)), *pivot = strdup(draw(r));
    bool after = below(r, 2);
    size_t at = 0;
    while (at < r->model.count && strcmp(r->model.at[at], pivot)) at++;
    struct list_key l = open_list(r);
    int rc = list_insert(&l, slice_str(pivot), after, slice_str(value));
    if (rc == LIST_E_MISSING) cr_assert_eq(at, r->model.count);
    else if (went(r, rc)) flat_insert(&r->model, at + (after ? 1 : 0), value);
    free(value);
    free(pivot);
}

static void op_set(struct run *r)
{
    const char *text = draw(r);
    size_t at = below(r, r->model.count);
    struct list_key l = open_list(r);
    if (!went(r, list_grow(&l, strlen(text), 1))) return;
    if (!went(r, list_set(&l, at, slice_str(text)))) return;
    flat_remove(&r->model, at);
    flat_insert(&r->model, at, text);
    list_shrink(&l);
}

static void op_remove(struct run *r)
{
    char *text = strdup(draw(r));
    size_t count_max = below(r, 4), removed = 0;
    bool back = below(r, 2), stopped;
    struct list_key l = open_list(r);
    uint64_t count = list_remove_value(&l, slice_str(text), count_max, back ? LIST_TAIL : LIST_HEAD,
                                 &stopped);
    if (stopped) {
        cr_assert(r->failing && fixture_has_failed());
        count_max = count;
    }
    for (size_t i = 0; i < r->model.count && (removed < count || !stopped);) {
        size_t at = back ? r->model.count - 1 - i : i;
        if (count_max && removed == count_max) break;
        if (strcmp(r->model.at[at], text)) {
            i++;
        } else {
            flat_remove(&r->model, at);
            removed++;
        }
    }
    cr_assert_eq(count, removed);
    if (r->model.count == 0) (void)ks_delete(&r->w.ks, KEY, false);
    else if (removed) list_shrink(&l);
    free(text);
}

static void op_rotate(struct run *r)
{
    enum list_end from = below(r, 2) ? LIST_TAIL : LIST_HEAD;
    enum list_end to = below(r, 8) ? (enum list_end)!from : from;
    struct list_key l = open_list(r);
    if (!went(r, list_rotate(&l, from, to))) return;
    size_t at = from == LIST_HEAD ? 0 : r->model.count - 1;
    char *text = strdup(r->model.at[at]);
    flat_remove(&r->model, at);
    flat_insert(&r->model, to == LIST_HEAD ? 0 : r->model.count, text);
    free(text);
    list_shrink(&l);
}

static void op_prepare_pop(struct run *r)
{
    enum list_end end = below(r, 2) ? LIST_TAIL : LIST_HEAD;
    struct list_key l = open_list(r);
    if (r->model.count < 2 || !went(r, list_prepare_pop(&l, end))) return;
    if (r->failing) fixture_fail_after(0);
    size_t at = end == LIST_HEAD ? 0 : r->model.count - 1;
    cr_assert_eq(list_delete(&l, at, 1), 0);
    fixture_fail_after(-1);
    flat_remove(&r->model, at);
}

struct search_check {
    struct run *r;
    const char *text;
    size_t next, looked; /* both count from the end that the search comes from */
    enum list_end from;
};

static bool check_found(void *ctx, uint64_t index)
{
    struct search_check *s = ctx;
    size_t count = s->r->model.count;
    for (;; s->next++) {
        cr_assert_lt(s->next, count);
        size_t at = s->from == LIST_HEAD ? s->next : count - 1 - s->next;
        if (strcmp(s->r->model.at[at], s->text)) continue;
        cr_assert_eq(at, index);
        s->next++;
        return true;
    }
}

static void op_search(struct run *r)
{
    struct search_check s = {.r = r, .from = below(r, 2) ? LIST_TAIL : LIST_HEAD};
    char *text = strdup(draw(r));
    s.text = text;
    size_t look_max = below(r, 2) ? SIZE_MAX : below(r, r->model.count + 3);
    list_search(ks_peek(&r->w.ks, KEY), slice_str(text), s.from, look_max, check_found, &s);
    for (; s.next < r->model.count && s.next < look_max; s.next++) {
        size_t at = s.from == LIST_HEAD ? s.next : r->model.count - 1 - s.next;
        cr_assert_str_neq(r->model.at[at], text);
    }
    cr_assert(s.next <= look_max || r->model.count < s.next);
    free(text);
}

static void op_copy(struct run *r)
{
    cr_assert_eq(ks_copy(&r->w.ks, KEY, 0, SLICE("copy")), 0);
    struct buf a = {0}, b = {0};
    ks_image_write(&r->w.ks, KEY, &a);
    ks_image_write(&r->w.ks, SLICE("copy"), &b);
    cr_assert(slice_equal(buf_slice(&a), buf_slice(&b)));
    buf_deinit(&a);
    buf_deinit(&b);
    (void)ks_delete(&r->w.ks, SLICE("copy"), false);
}

static void step(struct run *r, unsigned growth)
{
    static void (*const ops[])(struct run *) = {op_delete, op_delete, op_trim,   op_insert,
                                                op_set,    op_set,    op_remove, op_rotate,
                                                op_search, op_insert, op_prepare_pop};
    if (r->freezing && below(r, 30) == 0) freeze_or_thaw(r);
    if (r->model.count && below(r, 200) == 0) op_copy(r);
    if (r->failing && below(r, 2)) fixture_fail_after((int)below(r, 5));
    if (r->model.count == 0 || below(r, 100) < growth) op_push(r);
    else ops[below(r, ARRAY_COUNT(ops))](r);
    fixture_fail_after(-1);
}

static void run(uint64_t seed, int32_t fill, bool freezing, bool failing)
{
    struct run *r = calloc(1, sizeof(*r));
    world_init(&r->w, 1);
    uint64_t at_first = world_bytes(&r->w);
    rng_seed(&r->rng, seed);
    r->fill = fill;
    r->freezing = freezing;
    r->failing = failing;
    unsigned growth = 50;
    for (int i = 0; i < 1500; i++) {
        if (i % 300 == 0) growth = growth > 40 ? 20 : 50;
        step(r, growth);
        if (i % 8 == 0 || i < 50) verify(r);
    }
    verify(r);
    (void)ks_delete(&r->w.ks, KEY, false);
    world_free_pending(&r->w);
    /* A set table stays behind: what a key takes and gives back is the same. */
    world_set(&r->w, "other", "value", EXPIRE_NONE);
    (void)ks_delete(&r->w.ks, SLICE("other"), false);
    struct world fresh;
    world_init(&fresh, 1);
    world_set(&fresh, "other", "value", EXPIRE_NONE);
    (void)ks_delete(&fresh.ks, SLICE("other"), false);
    cr_assert_eq(world_bytes(&r->w), world_bytes(&fresh), "%llu bytes stay, seed %llu",
                 (unsigned long long)(world_bytes(&r->w) - at_first), (unsigned long long)seed);
    world_deinit(&fresh);
    flat_clear(&r->model);
    flat_clear(&r->frozen);
    world_deinit(&r->w);
    free(r);
}

static const int32_t fills[] = {1, 2, 3, 8, 0, -1, -2, 128};

Test(list, against_an_array)
{
    for (uint64_t seed = 0; seed < 32; seed++)
        run(seed, fills[seed % ARRAY_COUNT(fills)], false, false);
}

Test(list, with_frozen_roots)
{
    for (uint64_t seed = 100; seed < 132; seed++)
        run(seed, fills[seed % ARRAY_COUNT(fills)], true, false);
}

Test(list, without_memory)
{
    for (uint64_t seed = 200; seed < 248; seed++)
        run(seed, fills[seed % ARRAY_COUNT(fills)], seed % 16 < 8, true);
}
