/* Sorted sets in RDB.
 *
 *   3   count, (member, score as text)       before Redis 4
 *   5   count, (member, score as 8 bytes)    from the highest down
 *   12  a ziplist: member, score, …          rising
 *   17  a listpack: member, score, …
 *
 * A packed set is taken over if it is in order and short enough: built anew element by element, so
 * that it is canonical whatever its encoding was. Everything else goes through a tree, which finds
 * duplicates, sorts, and packs itself when it is stored.
 * Thread: holder of the shard. */
#include <math.h>

#include "splitring/base/num.h"
#include "types.h"

/* ---- writing ---- */

void save_zset(struct rdb_writer *w, const struct entry *e)
{
    if (entry_form(e) == FORM_LISTPACK) {
        rdb_put_type(w, RDB_ZSET_LISTPACK, RDB_VERSION_LEAST);
        rdb_put_text(w, entry_packed(e));
        return;
    }
    rdb_put_type(w, RDB_ZSET_2, RDB_VERSION_LEAST);
    rdb_put_len(w, zset_count(e));
    struct zset_iter it;
    struct zset_item item;
    zset_iter_init(&it, e, zset_count(e) - 1, true);
    while (zset_iter_next(&it, &item)) {
        uint64_t bits;
        memcpy(&bits, &item.score, sizeof(bits));
        rdb_put_text(w, item.text);
        rdb_put_u64(w, bits);
    }
}

/* ---- reading: a tree ---- */

static bool tree_begin(struct loading *l)
{
    l->value->zset = zset_new(l->shard);
    if (!l->value->zset) return rdb_no_memory(&l->r);
    l->value->held = RDB_ZSET_TREE;
    return true;
}

static bool tree_add(struct loading *l, struct slice member, double score)
{
    if (zset_member(l->value->zset, member)) return rdb_bad(&l->r);
    return zset_add(l->value->zset, member, score) == 0 ? true : rdb_no_memory(&l->r);
}

static bool tree_end(struct loading *l)
{
    return zset_sort(l->value->zset) == 0 ? true : rdb_no_memory(&l->r);
}

static bool load_plain(struct loading *l, bool binary)
{
    uint64_t count;
    /* A member takes a byte at least, a score eight or one. */
    if (!rdb_get_count(&l->r, binary ? 9 : 2, &count)) return false;
    if (count == 0) return rdb_empty(&l->r);
    if (!tree_begin(l)) return false;
    struct rdb_text member = {0};
    bool ok = true;
    while (ok && count-- > 0) {
        double score;
        ok = rdb_get_text(&l->r, &member) &&
             (binary ? rdb_get_double(&l->r, &score) : rdb_get_old_double(&l->r, &score)) &&
             tree_add(l, member.s, score);
    }
    rdb_text_deinit(&member);
    return ok && tree_end(l);
}

/* ---- reading: packed ---- */

struct pairs {
    struct elements el;
    struct rdb_text member, text;
    double score;
};

static bool next_pair(struct loading *l, struct pairs *p)
{
    if (!elements_next(&p->el, &p->member) || !elements_next(&p->el, &p->text)) return false;
    return num_parse_double(p->text.s, &p->score) && !isnan(p->score) ? true : rdb_bad(&l->r);
}

/* The order of members: by score, then by bytes. Equal ones are duplicates. */
static bool rises(double score_a, struct slice a, double score_b, struct slice b)
{
    return score_a != score_b ? score_a < score_b : slice_compare(a, b) < 0;
}

static bool take_packed(struct loading *l, struct pairs *p)
{
    struct buf *out = &l->value->bytes;
    struct seen seen = {.seed = shard_seed(l->shard)};
    struct slice before = {0};
    double score_before = 0;
    bool ok = true, first = true;
    char scratch[LP_NUMBER_LEN];
    l->value->held = RDB_BYTES;
    l->value->form = FORM_LISTPACK;
    lp_build_begin(out);
    while (ok && next_pair(l, p)) {
        if (!first && !rises(score_before, before, p->score, p->member.s)) ok = rdb_bad(&l->r);
        ok = ok && seen_add(&seen, &l->r, p->member.s);
        size_t at = out->len;
        lp_build_add(out, p->member.s);
        lp_build_add(out, p->text.s);
        if (out->failed) ok = rdb_no_memory(&l->r);
        /* The member as it lies in the output, which the next pair does not move: read again. */
        if (ok) before = lp_text(out->ptr, at, scratch);
        score_before = p->score;
        first = false;
    }
    seen_deinit(&seen);
    lp_build_end(out, 0);
    if (ok && !l->r.error && out->failed) ok = rdb_no_memory(&l->r);
    return ok && !l->r.error;
}

static bool load_packed(struct loading *l, enum elements_kind kind)
{
    struct pairs p = {.score = 0};
    bool ok = elements_block(&p.el, &l->r, kind);
    if (ok && p.el.count == 0) ok = rdb_empty(&l->r);
    if (ok && p.el.count % 2 != 0) ok = rdb_bad(&l->r);
    if (ok && p.el.count / 2 <= l->limits->zset.entries) {
        ok = take_packed(l, &p);
    } else if (ok) {
        ok = tree_begin(l);
        while (ok && next_pair(l, &p)) ok = tree_add(l, p.member.s, p.score);
        ok = ok && !l->r.error && tree_end(l);
    }
    rdb_text_deinit(&p.member);
    rdb_text_deinit(&p.text);
    elements_deinit(&p.el);
    return ok;
}

bool load_zset(struct loading *l, unsigned type)
{
    l->value->type = TYPE_ZSET;
    if (type == RDB_ZSET_LISTPACK) return load_packed(l, ELEMENTS_LISTPACK);
    if (type == RDB_ZSET_ZIPLIST) return load_packed(l, ELEMENTS_ZIPLIST);
    return load_plain(l, type == RDB_ZSET_2);
}
