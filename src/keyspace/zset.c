/* Sorted sets: one face over the two forms, and the way from the small one to the large one.
 *
 * A set becomes large when a member is added that its listpack may not hold (too many, or too long)
 * and never small again; only a set that is stored whole (ZUNIONSTORE …) chooses anew. These are
 * Redis' rules, and OBJECT ENCODING shows them.
 *
 * Ranges are found as ranks: both ends by a search, what lies between by a walk, whatever the range
 * is by. Counting is then a subtraction, LIMIT an addition, and removing needs no bounds.
 * Thread: holder of the shard. */
#include "splitring/base/hash.h"
#include "splitring/base/num.h"
#include "zset.h"

static bool is_packed(const struct entry *e) { return entry_form(e) == FORM_LISTPACK; }

/* ---- reading ---- */

uint64_t zset_count(const struct entry *e)
{
    return is_packed(e) ? lp_count(entry_packed(e).ptr) / 2 : zset_of(e)->order.count;
}

bool zset_score(const struct entry *e, struct slice member, double *score)
{
    if (is_packed(e)) {
        const char *bytes = entry_packed(e).ptr;
        size_t at = lp_find(bytes, lp_first(bytes), member, 1);
        if (at == LP_NONE) return false;
        *score = zpacked_score(bytes, at);
        return true;
    }
    const struct ordered_member *m = zset_member(zset_of(e), member);
    if (m) *score = m->score;
    return m != NULL;
}

bool zset_rank(const struct entry *e, struct slice member, uint64_t *rank, double *score)
{
    if (is_packed(e)) {
        const char *bytes = entry_packed(e).ptr;
        *rank = 0;
        for (size_t at = lp_first(bytes); at != LP_NONE; at = zpacked_step(bytes, at, false)) {
            if (lp_equal(bytes, at, member)) {
                *score = zpacked_score(bytes, at);
                return true;
            }
            ++*rank;
        }
        return false;
    }
    const struct zset *z = zset_of(e);
    const struct ordered_member *m = zset_member(z, member);
    if (!m) return false;
    *rank = ordered_rank_of(&z->order, m);
    *score = m->score;
    return true;
}

void zset_at(const struct entry *e, uint64_t rank, struct zset_item *item)
{
    struct zset_iter it;
    zset_iter_init(&it, e, rank, false);
    bool there = zset_iter_next(&it, item);
    check(there);
}

void zset_iter_init(struct zset_iter *it, const struct entry *e, uint64_t rank, bool reverse)
{
    uint64_t count = zset_count(e);
    it->reverse = reverse;
    it->at = LP_NONE;
    it->next = NULL;
    it->packed = NULL;
    if (is_packed(e)) {
        it->packed = entry_packed(e).ptr;
        if (rank < count) it->at = lp_seek(it->packed, (int64_t)rank * 2);
        return;
    }
    it->order = &zset_of(e)->order;
    if (rank < count) it->next = ordered_at(it->order, rank, &it->cursor);
}

bool zset_iter_next(struct zset_iter *it, struct zset_item *item)
{
    if (it->packed) {
        if (it->at == LP_NONE) return false;
        zpacked_item(it->packed, it->at, item);
        it->at = zpacked_step(it->packed, it->at, it->reverse);
        return true;
    }
    const struct ordered_member *m = it->next;
    if (!m) return false;
    item->text = ordered_text(m);
    item->score = m->score;
    it->next = it->reverse ? ordered_prev(it->order, &it->cursor)
                           : ordered_next(it->order, &it->cursor);
    return true;
}

struct zset_ranks zset_by_score(const struct entry *e, const struct zset_score_range *range)
{
    if (range->min > range->max) return (struct zset_ranks){0, 0};
    if (is_packed(e)) {
        struct zset_ranks ranks = zpacked_by_score(entry_packed(e).ptr, range);
        if (ranks.begin > ranks.end) ranks.begin = ranks.end;
        return ranks;
    }
    return zset_object_by_score(zset_of(e), range);
}

struct zset_ranks zset_by_lex(const struct entry *e, const struct zset_lex_range *range,
                              bool reverse)
{
    if (is_packed(e)) return zpacked_by_lex(entry_packed(e).ptr, range, reverse);
    return zset_object_by_lex(zset_of(e), range);
}

/* ---- writing ---- */

bool zset_find(struct zset_edit *edit, struct slice member)
{
    edit->member = member;
    edit->found = false;
    if (!edit->e) return false;
    if (is_packed(edit->e)) {
        const char *bytes = entry_packed(edit->e).ptr;
        edit->at = lp_find(bytes, lp_first(bytes), member, 1);
        if (edit->at == LP_NONE) return false;
        edit->score = zpacked_score(bytes, edit->at);
        return edit->found = true;
    }
    const struct zset *z = zset_of(edit->e);
    edit->hash = hash_key(member, z->index.seed);
    edit->slot = dict_find_slot(&z->index, edit->hash, member);
    if (!edit->slot) return false;
    edit->score = ((const struct ordered_member *)table_slot_entry(edit->slot))->score;
    return edit->found = true;
}

static bool fits(const struct zset_edit *edit, uint64_t count, size_t len)
{
    return count <= edit->limits.entries && len <= edit->limits.value;
}

/* The key comes into being. A limit of no entries at all means that nothing is packed. */
static int create(struct zset_edit *edit, double score)
{
    if (fits(edit, 1, edit->member.len)) {
        char number[NUM_DOUBLE_LEN_MAX];
        struct buf bytes = {0};
        lp_build_begin(&bytes);
        lp_build_add(&bytes, edit->member);
        lp_build_add(&bytes, zpacked_text(number, score));
        lp_build_end(&bytes, 0);
        if (!bytes.failed) {
            edit->e = ks_put_packed(edit->ks, edit->key, TYPE_ZSET, FORM_LISTPACK,
                                    buf_slice(&bytes), EXPIRE_NONE);
        }
        buf_deinit(&bytes);
        return edit->e ? 0 : -ENOMEM;
    }
    struct zset *z = zset_new(ks_shard_of(edit->ks, edit->key));
    if (!z) return -ENOMEM;
    if (zset_insert(z, hash_key(edit->member, z->index.seed), edit->member, score) == 0)
        edit->e = ks_put_object(edit->ks, edit->key, &z->object, EXPIRE_NONE);
    if (!edit->e) zset_free(z);
    return edit->e ? 0 : -ENOMEM;
}

/* The packed set with one member more, as an object. */
static int make_large(struct zset_edit *edit, double score)
{
    struct zset *z = zset_new(ks_shard_of(edit->ks, edit->key));
    if (!z) return -ENOMEM;
    const char *bytes = entry_packed(edit->e).ptr;
    struct zset_item item;
    int rc = zset_add(z, edit->member, score);
    for (size_t at = lp_first(bytes); at != LP_NONE && rc == 0;
         at = zpacked_step(bytes, at, false)) {
        zpacked_item(bytes, at, &item);
        rc = zset_add(z, item.text, item.score);
    }
    if (rc == 0) rc = zset_sort(z);
    struct entry *e = NULL;
    if (rc == 0) e = ks_put_object(edit->ks, edit->key, &z->object, EXPIRE_KEEP);
    if (!e) {
        zset_free(z);
        return -ENOMEM;
    }
    edit->e = e;
    return 0;
}

/* The pair goes in where it belongs; it is not in the set. */
static int packed_insert(struct packed *p, struct slice member, double score)
{
    char number[NUM_DOUBLE_LEN_MAX];
    struct slice pair[] = {member, zpacked_text(number, score)};
    return lp_insert_many(&p->lp, zpacked_place(p->lp.bytes, score, member), pair, 2);
}

/* Another score for the pair at `old`. In first, then out: a set that cannot grow is left as it
 * was. */
static int packed_rescore(struct packed *p, size_t old, struct slice member, double score)
{
    const char *bytes = p->lp.bytes;
    size_t place = zpacked_place(bytes, score, member);
    if (place == old || place == zpacked_step(bytes, old, false)) {
        char number[NUM_DOUBLE_LEN_MAX];
        return lp_replace(&p->lp, lp_next(bytes, old), zpacked_text(number, score));
    }
    size_t len = lp_len(bytes);
    int rc = packed_insert(p, member, score);
    if (rc < 0) return rc;
    if (place != LP_NONE && place <= old) old += lp_len(p->lp.bytes) - len;
    lp_delete(&p->lp, old, 2);
    return 0;
}

static int packed_put(struct zset_edit *edit, double score)
{
    struct packed p;
    packed_open(&p, edit->ks, edit->key, edit->e);
    int rc;
    if (edit->found) rc = packed_rescore(&p, edit->at, edit->member, score);
    else if (fits(edit, lp_count(p.lp.bytes) / 2 + 1, edit->member.len))
        rc = packed_insert(&p, edit->member, score);
    else return make_large(edit, score);
    edit->e = p.entry;
    return rc;
}

int zset_put(struct zset_edit *edit, double score)
{
    if (unlikely(!edit->e)) return create(edit, score);
    if (is_packed(edit->e)) return packed_put(edit, score);
    struct zset *z = zset_of(edit->e);
    if (!edit->found) return zset_insert(z, edit->hash, edit->member, score);
    return zset_rescore(z, edit->slot, score);
}

void zset_drop(struct zset_edit *edit)
{
    dcheck(edit->found);
    if (is_packed(edit->e)) {
        struct packed p;
        packed_open(&p, edit->ks, edit->key, edit->e);
        lp_delete(&p.lp, edit->at, 2);
        edit->e = p.entry;
        return;
    }
    zset_remove(zset_of(edit->e), edit->hash, table_slot_entry(edit->slot));
}

void zset_drop_ranks(struct zset_edit *edit, struct zset_ranks ranks)
{
    dcheck(ranks.begin <= ranks.end && ranks.end <= zset_count(edit->e));
    if (ranks.begin == ranks.end) return;
    if (is_packed(edit->e)) {
        struct packed p;
        packed_open(&p, edit->ks, edit->key, edit->e);
        size_t at = lp_seek(p.lp.bytes, (int64_t)ranks.begin * 2);
        lp_delete(&p.lp, at, (size_t)(ranks.end - ranks.begin) * 2);
        edit->e = p.entry;
        return;
    }
    struct zset *z = zset_of(edit->e);
    for (uint64_t i = ranks.begin; i < ranks.end; i++) zset_remove_at(z, ranks.begin);
}

/* ---- whole sets ---- */

static int store_packed(struct ks *ks, struct slice key, const struct zset *z, instant_ms expire)
{
    struct buf bytes = {0};
    struct ordered_cursor c;
    char number[NUM_DOUBLE_LEN_MAX];
    lp_build_begin(&bytes);
    const struct ordered_member *m = ordered_at(&z->order, 0, &c);
    for (; m; m = ordered_next(&z->order, &c)) {
        lp_build_add(&bytes, ordered_text(m));
        lp_build_add(&bytes, zpacked_text(number, m->score));
    }
    lp_build_end(&bytes, 0);
    int rc = -ENOMEM;
    if (!bytes.failed &&
        ks_put_packed(ks, key, TYPE_ZSET, FORM_LISTPACK, buf_slice(&bytes), expire))
        rc = 0;
    buf_deinit(&bytes);
    return rc;
}

int zset_store(struct ks *ks, struct slice key, struct zset *z, const struct zset_limits *limits,
               instant_ms expire)
{
    if (z->order.count <= limits->entries && z->longest <= limits->value) {
        int rc = store_packed(ks, key, z, expire);
        zset_free(z);
        return rc;
    }
    if (ks_put_object(ks, key, &z->object, expire)) return 0;
    zset_free(z);
    return -ENOMEM;
}
