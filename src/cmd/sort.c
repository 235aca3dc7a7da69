/* SORT and SORT_RO: the elements of a list, a set or a sorted set, in an order given by themselves
 * or by other keys, answered or stored as a list.
 *
 * The elements are copied into one block first (`text`), because looking up other keys may delete
 * some that have expired, and every read is only good until the next write. Texts to sort by follow
 * them there; positions are offsets, the block grows. What is returned is a range of that order,
 * each element as itself or as what its GET patterns lead to.
 *
 * The order is Redis': by number with ties broken by the element's bytes, or by text; merge sort,
 * so that elements that compare equal (BY with ALPHA) stay as they lie in the value, whatever the
 * LIMIT. Text compares by bytes, also behind a NUL.
 *
 * Which shards are held is decided before: sort_args.c.
 * Thread: holder of the call's shards. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "cmd/sort_impl.h"
#include "splitring/base/mem.h"
#include "splitring/base/num.h"
#include "splitring/keyspace/hash.h"
#include "splitring/keyspace/list.h"
#include "splitring/keyspace/set.h"
#include "splitring/keyspace/zset.h"

struct item {
    size_t at, len;       /* the element, in sort->text */
    size_t by_at, by_len; /* what it is sorted by, with ALPHA and BY */
    double score;
    bool has_by;
};

struct sort {
    struct call *c;
    struct sort_options options;
    struct sort_pattern by;
    struct buf text;
    struct item *items;
    size_t count, cap;
    int64_t start, end; /* of the items, end inclusive; empty: end < start */
    bool sorts;         /* else in the order of the value */
    bool by_pattern;
};

/* ---- loading ---- */

static bool add_item(struct sort *s, struct slice text)
{
    if (s->count == s->cap) return false; /* cannot be: cap is the value's count */
    s->items[s->count++] = (struct item){.at = s->text.len, .len = text.len};
    buf_append_slice(&s->text, text);
    return !s->text.failed;
}

static void load_list(struct sort *s, const struct entry *e, size_t first, size_t count)
{
    struct list_iter it;
    struct lp_value value;
    char digits[NUM_I64_LEN_MAX];
    bool back = !s->sorts && s->options.desc;
    uint64_t from = back ? list_count(e) - first - 1 : first;
    if (count == 0) return;
    list_iter_at(&it, e, from, back ? LIST_HEAD : LIST_TAIL);
    for (size_t i = 0; i < count; i++) {
        (void)list_next(&it, &value);
        struct slice text = value.text;
        if (!text.ptr) text = slice_of(digits, num_format_i64(digits, value.number));
        if (!add_item(s, text)) return;
    }
}

static void load_zset(struct sort *s, const struct entry *e, size_t first, size_t count)
{
    struct zset_iter it;
    struct zset_item item;
    bool back = !s->sorts && s->options.desc;
    zset_iter_init(&it, e, back ? zset_count(e) - first - 1 : first, back);
    while (count-- > 0 && zset_iter_next(&it, &item) && add_item(s, item.text)) {}
}

static bool load_member(void *ctx, struct set_member *m)
{
    return add_item(ctx, set_member_get(m));
}

/* LIMIT against so many elements, as Redis computes it. */
static void limit(struct sort *s, int64_t total)
{
    const struct sort_options *o = &s->options;
    int64_t offset = o->offset < 0 ? 0 : o->offset, count = o->count < 0 ? -1 : o->count;
    if (offset > total) offset = total;
    if (count > total) count = total;
    s->start = offset;
    s->end = count < 0 ? total - 1 : offset + count - 1;
    if (s->start >= total) {
        s->start = total - 1;
        s->end = total - 2;
    }
    if (s->end >= total) s->end = total - 1;
}

static int64_t count_of(const struct entry *e)
{
    if (!e) return 0;
    switch (entry_type(e)) {
    case TYPE_LIST: return (int64_t)list_count(e);
    case TYPE_SET: return (int64_t)set_count(e);
    default: return (int64_t)zset_count(e);
    }
}

/* Copies the elements; of what is not sorted, only the range that is asked for. False: the error is
 * written. */
static bool load(struct sort *s, const struct entry *e)
{
    int64_t total = count_of(e);
    limit(s, total);
    size_t first = 0, count = (size_t)total;
    bool ranged = !s->sorts && e && entry_type(e) != TYPE_SET;
    if (ranged) {
        first = s->start < 0 ? 0 : (size_t)s->start;
        count = s->end >= s->start ? (size_t)(s->end - s->start + 1) : 0;
        s->end -= s->start;
        s->start = 0;
    }
    s->cap = count;
    s->items = mem_try_alloc(count * sizeof(*s->items) + 1);
    if (s->items && e) {
        if (entry_type(e) == TYPE_LIST) load_list(s, e, first, count);
        else if (entry_type(e) == TYPE_SET) set_each(e, load_member, s);
        else load_zset(s, e, first, count);
    }
    if (s->items && !s->text.failed) return true;
    reply_error(&s->c->reply, ERR_NO_MEMORY);
    return false;
}

static struct slice item_text(const struct sort *s, const struct item *item)
{
    return slice_of(s->text.ptr + item->at, item->len);
}

/* ---- other keys ---- */

struct found {
    struct slice text; /* valid until the next lookup */
    bool is;
    char scratch[ENTRY_SCRATCH];
    struct hash_item field;
};

static void find_field(struct sort *s, struct slice key, struct entry *e, struct slice field,
                       struct found *found)
{
    struct call *c = s->c;
    struct hash_limits limits = {.entries = c->env->hash_max_listpack_entries,
                                 .value = c->env->hash_max_listpack_value};
    struct hash h = hash_open(&c->ks, key, e, limits);
    found->is = hash_find(&h, field, &found->field);
    found->text = found->field.value;
}

/* What a pattern leads to for an element; `key` is room for the name. False: no memory. */
static bool follow(struct sort *s, const struct sort_pattern *p, struct slice element,
                   struct buf *key, struct found *found)
{
    found->is = p->itself;
    found->text = element;
    if (p->itself || p->constant) return true;
    key->len = 0;
    buf_append_slice(key, p->before);
    buf_append_slice(key, element);
    buf_append_slice(key, p->after);
    if (key->failed) return false;
    struct slice name = buf_slice(key);
    struct entry *e = ks_read(&s->c->ks, name);
    if (!e) return true;
    if (p->has_field) {
        if (entry_type(e) == TYPE_HASH) find_field(s, name, e, p->field, found);
    } else if (entry_type(e) == TYPE_STRING) {
        found->is = true;
        found->text = entry_string(e, found->scratch);
    }
    return true;
}

/* As strtod reads it, to the end or to a NUL. False: it is no number, or out of range. */
static bool score_of(struct slice text, double *score)
{
    char small[128];
    if (num_parse_double(text, score)) return true;
    char *copy = text.len < sizeof(small) ? small : mem_try_alloc(text.len + 1);
    if (!copy) return false;
    if (text.len) memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    char *end;
    errno = 0;
    *score = strtod(copy, &end);
    bool ok = *end == '\0' && errno != ERANGE && !isnan(*score);
    if (copy != small) mem_free(copy);
    return ok;
}

/* What each item is sorted by. False: the error is written. */
static bool weigh(struct sort *s)
{
    struct buf key = {0};
    struct found found;
    enum error_id error = ERR_NO_MEMORY;
    bool ok = true, numbers = true;
    for (size_t i = 0; i < s->count && ok; i++) {
        struct item *item = &s->items[i];
        found.is = true;
        found.text = item_text(s, item);
        if (s->by_pattern) ok = follow(s, &s->by, found.text, &key, &found);
        if (!ok || !found.is) continue;
        item->has_by = true;
        if (!s->options.alpha) {
            numbers &= score_of(found.text, &item->score);
        } else if (s->by_pattern) {
            item->by_at = s->text.len;
            item->by_len = found.text.len;
            buf_append_slice(&s->text, found.text);
            ok = !s->text.failed;
        }
    }
    buf_deinit(&key);
    if (ok && !numbers) error = ERR_SORT_NOT_DOUBLE;
    if (ok && numbers) return true;
    reply_error(&s->c->reply, error);
    return false;
}

/* ---- the order ---- */

static int compare(const struct sort *s, const struct item *a, const struct item *b)
{
    int order;
    if (!s->options.alpha) {
        order = (a->score > b->score) - (a->score < b->score);
        if (order == 0) order = slice_compare(item_text(s, a), item_text(s, b));
    } else if (!s->by_pattern) {
        order = slice_compare(item_text(s, a), item_text(s, b));
    } else if (a->has_by && b->has_by) {
        order = slice_compare(slice_of(s->text.ptr + a->by_at, a->by_len),
                              slice_of(s->text.ptr + b->by_at, b->by_len));
    } else {
        order = a->has_by - b->has_by;
    }
    return s->options.desc ? -order : order;
}

/* Merges the sorted runs [lo, mid) and [mid, hi) of `from` into `to`. */
static void merge(const struct sort *s, const struct item *from, struct item *to, size_t lo,
                  size_t mid, size_t hi)
{
    size_t a = lo, b = mid;
    for (size_t i = lo; i < hi; i++) {
        bool first = a < mid && (b >= hi || compare(s, &from[a], &from[b]) <= 0);
        to[i] = first ? from[a++] : from[b++];
    }
}

/* False: the error is written. */
static bool arrange(struct sort *s)
{
    struct item *from = s->items, *to;
    if (s->count < 2) return true;
    to = mem_try_alloc(s->count * sizeof(*to));
    if (!to) {
        reply_error(&s->c->reply, ERR_NO_MEMORY);
        return false;
    }
    for (size_t width = 1; width < s->count; width *= 2) {
        for (size_t lo = 0; lo < s->count; lo += 2 * width) {
            size_t mid = lo + width < s->count ? lo + width : s->count;
            size_t hi = mid + width < s->count ? mid + width : s->count;
            merge(s, from, to, lo, mid, hi);
        }
        struct item *swap = from;
        from = to;
        to = swap;
    }
    s->items = from;
    mem_free(to);
    return true;
}

/* ---- the result ---- */

static size_t result_len(const struct sort *s)
{
    size_t range = s->end >= s->start ? (size_t)(s->end - s->start + 1) : 0;
    return s->options.gets ? range * (size_t)s->options.gets : range;
}

/* Gives every text of the result to visit, in order; NULL text: nothing was found. False: memory
 * ran out, or visit said so. */
static bool each_result(struct sort *s, bool (*visit)(void *ctx, const struct slice *text),
                        void *ctx)
{
    struct buf key = {0};
    struct found found;
    bool ok = true;
    for (int64_t i = s->start; i <= s->end && ok; i++) {
        struct slice element = item_text(s, &s->items[i]);
        if (!s->options.gets) ok = visit(ctx, &element);
        for (int get = sort_next_get(s->c, 1); get && ok; get = sort_next_get(s->c, get)) {
            struct sort_pattern p = sort_pattern_of(s->c->argv[get]);
            ok = follow(s, &p, element, &key, &found) &&
                 visit(ctx, found.is ? &found.text : NULL);
        }
    }
    buf_deinit(&key);
    return ok;
}

static bool reply_text(void *ctx, const struct slice *text)
{
    struct call *c = ctx;
    if (text) reply_bulk_slice(&c->reply, *text);
    else reply_null(&c->reply);
    return true;
}

static void reply_result(struct sort *s)
{
    struct buf *out = s->c->reply.out;
    size_t mark = out->len;
    reply_array(&s->c->reply, result_len(s));
    if (each_result(s, reply_text, s->c)) return;
    out->len = mark;
    reply_error(&s->c->reply, ERR_NO_MEMORY);
}

/* ---- STORE ---- */

static bool build_text(void *ctx, const struct slice *text)
{
    return list_build_push(ctx, text ? *text : SLICE("")) == 0;
}

#define EFFECT_ELEMENTS 128u

/* What was stored, as DEL and RPUSH: SORT itself would read keys that another order of effects may
 * have changed. */
static void store_effects(struct call *c, struct slice key)
{
    struct slice argv[2 + EFFECT_ELEMENTS] = {SLICE("RPUSH"), key};
    char digits[EFFECT_ELEMENTS][NUM_I64_LEN_MAX];
    const struct entry *e = ks_peek(&c->ks, key);
    EFFECT(c, SLICE("DEL"), key);
    struct list_iter it;
    uint64_t left = list_count(e);
    list_iter_at(&it, e, 0, LIST_TAIL);
    while (left > 0) {
        uint32_t n = left < EFFECT_ELEMENTS ? (uint32_t)left : EFFECT_ELEMENTS;
        for (uint32_t i = 0; i < n; i++) {
            struct lp_value value;
            (void)list_next(&it, &value);
            argv[2 + i] = value.text;
            if (!value.text.ptr)
                argv[2 + i] = slice_of(digits[i], num_format_i64(digits[i], value.number));
        }
        effect_args(c, (int)n + 2, argv);
        left -= n;
    }
}

static int store_list(struct sort *s, struct slice key)
{
    struct call *c = s->c;
    struct list_build build;
    int32_t fill = list_fill(c->env->list_max_listpack_size);
    int rc = list_build_begin(&build, ks_shard_of(&c->ks, key), fill);
    if (rc) return rc;
    if (!each_result(s, build_text, &build)) {
        list_build_cancel(&build);
        return -ENOMEM;
    }
    return list_build_end(&build, &c->ks, key, EXPIRE_NONE);
}

static void store_result(struct sort *s)
{
    struct call *c = s->c;
    struct slice key = c->argv[s->options.store];
    size_t len = result_len(s);
    if (len == 0) {
        if (ks_delete(&c->ks, key, false)) {
            ks_notify(&c->ks, EVENT_GENERIC, "del", key);
            c->dirty++;
            EFFECT(c, SLICE("DEL"), key);
        }
    } else if (store_list(s, key)) {
        reply_error(&c->reply, ERR_NO_MEMORY);
        return;
    } else {
        ks_notify(&c->ks, EVENT_LIST, "sortstore", key);
        c->dirty += len;
        if (c->effects) store_effects(c, key);
    }
    reply_int(&c->reply, (int64_t)len);
}

/* ---- the commands ---- */

static void run(struct sort *s)
{
    struct call *c = s->c;
    const struct entry *e = ks_read(&c->ks, c->argv[1]);
    if (e && entry_type(e) != TYPE_LIST && entry_type(e) != TYPE_SET &&
        entry_type(e) != TYPE_ZSET) {
        reply_error(&c->reply, ERR_WRONGTYPE);
        return;
    }
    s->sorts = !s->options.unsorted;
    s->by_pattern = s->sorts && s->options.by;
    if (s->by_pattern) s->by = sort_pattern_of(c->argv[s->options.by]);
    if (e && entry_type(e) == TYPE_SET && !s->sorts && (s->options.store || c->in_script)) {
        /* A set has no order of its own to be kept: the same members make the same list. */
        s->sorts = s->options.alpha = true;
    }
    if (!load(s, e)) return;
    if (s->sorts && (!weigh(s) || !arrange(s))) return;
    if (s->options.store) store_result(s);
    else reply_result(s);
}

static void sort_with(struct call *c, bool readonly)
{
    struct sort s = {.c = c};
    if (!sort_parse(c, readonly, &s.options)) return;
    run(&s);
    mem_free(s.items);
    buf_deinit(&s.text);
}

void cmd_sort(struct call *c) { sort_with(c, false); }
void cmd_sort_ro(struct call *c) { sort_with(c, true); }
