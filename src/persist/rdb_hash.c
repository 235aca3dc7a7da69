/* Hashes in RDB.
 *
 *   4        count, (field, value)
 *   9        a zipmap               13  a ziplist             16  a listpack
 *   24       lowest expiry u64, count, (ttl, field, value): ttl 0 is none, else expiry - lowest + 1
 *   25       lowest expiry u64, a listpack of field, value, expiry (0: none)
 *   22, 23   the same without the lowest expiry, absolute: Redis 7.4 before its release
 *   Valkey's 22   count, (field, value, expiry i64; -1: none)
 *
 * A hash of few fields is built as a listpack, element by element, so that it is canonical whatever
 * its encoding was; with the first field that is too long for that, or beyond the limit of fields,
 * it is a dict. Fields with TTLs are put in the order of their expiry at the end.
 * Thread: holder of the shard. */
#include <errno.h>
#include <stdlib.h>

#include "splitring/base/mem.h"
#include "splitring/base/num.h"
#include "types.h"

/* ---- writing ---- */

struct field_writer {
    struct rdb_writer *w;
    instant_ms lowest; /* EXPIRE_NONE: no field has a TTL */
};

static void put_field(void *ctx, const struct hash_item *item)
{
    struct field_writer *fw = ctx;
    if (fw->lowest != EXPIRE_NONE) {
        bool lives = item->expire == EXPIRE_NONE;
        rdb_put_len(fw->w, lives ? 0 : (uint64_t)(item->expire - fw->lowest) + 1);
    }
    rdb_put_text(fw->w, item->field);
    rdb_put_text(fw->w, item->value);
}

static void find_lowest(void *ctx, const struct hash_item *item)
{
    instant_ms *lowest = ctx;
    if (item->expire < *lowest) *lowest = item->expire;
}

void save_hash(struct rdb_writer *w, const struct entry *e)
{
    enum form form = entry_form(e);
    if (form == FORM_LISTPACK) {
        rdb_put_type(w, RDB_HASH_LISTPACK, RDB_VERSION_LEAST);
        rdb_put_text(w, entry_packed(e));
        return;
    }
    struct field_writer fw = {.w = w, .lowest = EXPIRE_NONE};
    /* What the hash itself knows may be less than the true lowest. */
    if (hash_next_expiry(e) != EXPIRE_NONE) hash_each(e, find_lowest, &fw.lowest);
    uint64_t lowest = fw.lowest == EXPIRE_NONE ? 0 : (uint64_t)fw.lowest;
    if (form == FORM_LISTPACK_EX) {
        rdb_put_type(w, RDB_HASH_LISTPACK_EX, 12);
        rdb_put_u64(w, lowest);
        rdb_put_text(w, entry_packed(e));
        return;
    }
    if (fw.lowest == EXPIRE_NONE) {
        rdb_put_type(w, RDB_HASH, RDB_VERSION_LEAST);
    } else {
        rdb_put_type(w, RDB_HASH_METADATA, 12);
        rdb_put_u64(w, lowest);
    }
    rdb_put_len(w, hash_count(e));
    hash_each(e, put_field, &fw);
}

/* ---- building ---- */

struct build {
    struct loading *l;
    struct seen seen;     /* fields of the packed form */
    bool packed;
    bool expiries;        /* the packed form has triples */
    bool lengths;         /* a long text ends the packed form, as for Redis */
    struct triple {       /* of the packed form with expiries */
        int64_t expire;   /* 0: none */
        size_t begin, end;
    } *triples;
    size_t count, room;
};

static bool to_object(struct build *b)
{
    struct rdb_value *v = b->l->value;
    v->object = hash_object_new(b->l->shard);
    if (!v->object) return rdb_no_memory(&b->l->r);
    v->held = RDB_OBJECT;
    b->packed = false;
    return true;
}

static bool object_add(struct build *b, struct slice field, struct slice value, int64_t expire)
{
    struct loading *l = b->l;
    instant_ms at = expire == 0 ? EXPIRE_NONE : expire;
    switch (hash_object_add(l->shard, l->value->object, field, value, at)) {
    case 0: return true;
    case -ENOMEM: return rdb_no_memory(&l->r);
    default: return rdb_bad(&l->r);
    }
}

/* What is packed so far becomes a dict. */
static bool unpack(struct build *b)
{
    struct buf *bytes = &b->l->value->bytes;
    char field_room[LP_NUMBER_LEN], value_room[LP_NUMBER_LEN];
    bool ok = to_object(b);
    for (size_t at = LP_HEADER; ok && at < bytes->len;) {
        struct slice field = lp_text(bytes->ptr, at, field_room);
        at += lp_element_len(bytes->ptr, at);
        struct slice value = lp_text(bytes->ptr, at, value_room);
        at += lp_element_len(bytes->ptr, at);
        int64_t expire = 0;
        if (b->expiries) {
            expire = lp_get(bytes->ptr, at).number;
            at += lp_element_len(bytes->ptr, at);
        }
        ok = object_add(b, field, value, expire);
    }
    buf_deinit(bytes);
    return ok;
}

static bool begin(struct build *b, struct loading *l, uint64_t count, bool expiries)
{
    *b = (struct build){.l = l, .packed = true, .expiries = expiries};
    b->seen.seed = shard_seed(l->shard);
    if (count == 0) return rdb_empty(&l->r);
    if (count > l->limits->hash.entries) return to_object(b);
    l->value->held = RDB_BYTES;
    l->value->form = expiries ? FORM_LISTPACK_EX : FORM_LISTPACK;
    lp_build_begin(&l->value->bytes);
    return true;
}

static bool note_triple(struct build *b, int64_t expire, size_t from)
{
    if (b->count == b->room) {
        size_t room = b->room ? b->room * 2 : 32;
        struct triple *more = mem_try_realloc(b->triples, room * sizeof(*more));
        if (!more) return rdb_no_memory(&b->l->r);
        b->triples = more;
        b->room = room;
    }
    b->triples[b->count++] = (struct triple){expire, from, b->l->value->bytes.len};
    return true;
}

static bool add(struct build *b, struct slice field, struct slice value, int64_t expire)
{
    struct loading *l = b->l;
    uint64_t most = l->limits->hash.value;
    if (expire < 0 || expire > HASH_EXPIRE_MAX) return rdb_bad(&l->r);
    bool too_long = b->packed && b->lengths && (field.len > most || value.len > most);
    if (too_long && !unpack(b)) return false;
    if (!b->packed) return object_add(b, field, value, expire);

    struct buf *bytes = &l->value->bytes;
    size_t from = bytes->len;
    if (!seen_add(&b->seen, &l->r, field)) return false;
    lp_build_add(bytes, field);
    lp_build_add(bytes, value);
    if (b->expiries) lp_build_add_number(bytes, expire);
    if (bytes->failed) return rdb_no_memory(&l->r);
    return b->expiries ? note_triple(b, expire, from) : true;
}

static int by_expiry(const void *left, const void *right)
{
    const struct triple *a = left, *b = right;
    /* As unsigned numbers one below, so that 0, "never", is the greatest; the first come first. */
    uint64_t x = (uint64_t)a->expire - 1, y = (uint64_t)b->expire - 1;
    if (x != y) return x < y ? -1 : 1;
    return a->begin < b->begin ? -1 : 1;
}

static bool sort_triples(struct build *b)
{
    struct buf sorted = {0}, *bytes = &b->l->value->bytes;
    qsort(b->triples, b->count, sizeof(*b->triples), by_expiry);
    if (!buf_reserve(&sorted, bytes->len + 1)) return rdb_no_memory(&b->l->r);
    lp_build_begin(&sorted);
    for (size_t i = 0; i < b->count; i++) {
        const struct triple *t = &b->triples[i];
        buf_append(&sorted, bytes->ptr + t->begin, t->end - t->begin);
    }
    buf_deinit(bytes);
    *bytes = sorted;
    return true;
}

/* ok: everything was read. */
static bool finish(struct build *b, bool ok)
{
    if (ok && b->packed) {
        if (b->expiries) ok = sort_triples(b);
        lp_build_end(&b->l->value->bytes, 0);
        if (ok && b->l->value->bytes.failed) ok = rdb_no_memory(&b->l->r);
    }
    mem_free(b->triples);
    seen_deinit(&b->seen);
    return ok;
}

/* ---- reading ---- */

/* Fields and values of any encoding without TTLs. */
static bool load_pairs(struct loading *l, struct elements *el, bool lengths)
{
    struct build b;
    struct rdb_text field = {0}, value = {0};
    bool ok = el->count % 2 == 0 ? begin(&b, l, el->count / 2, false) : rdb_bad(&l->r);
    if (!ok) return false;
    b.lengths = lengths;
    while (ok && elements_next(el, &field)) {
        ok = elements_next(el, &value) && add(&b, field.s, value.s, 0);
    }
    rdb_text_deinit(&field);
    rdb_text_deinit(&value);
    return finish(&b, ok && !l->r.error);
}

static bool load_plain(struct loading *l)
{
    uint64_t count;
    if (!rdb_get_count(&l->r, 2, &count)) return false;
    struct elements el;
    elements_texts(&el, &l->r, count * 2);
    return load_pairs(l, &el, true);
}

/* A listpack that needs no other form, and is what would be built of it. */
static bool is_built(const struct loading *l, const struct elements *el)
{
    return el->kind == ELEMENTS_LISTPACK && el->count > 0 && el->count % 2 == 0 &&
           el->count / 2 <= l->limits->hash.entries && lp_is_canonical(el->block.s.ptr);
}

/* The bytes are taken as they are, if no field is there twice. */
static bool take_block(struct loading *l, struct elements *el)
{
    struct seen seen = {.seed = shard_seed(l->shard)};
    struct rdb_text field = {0}, value = {0};
    bool ok = true;
    while (ok && elements_next(el, &field))
        ok = seen_add(&seen, &l->r, field.s) && elements_next(el, &value);
    seen_deinit(&seen);
    rdb_text_deinit(&field);
    rdb_text_deinit(&value);
    if (!ok || l->r.error) return false;
    struct buf *bytes = &l->value->bytes;
    l->value->held = RDB_BYTES;
    l->value->form = FORM_LISTPACK;
    if (el->block.s.ptr == el->block.room) { /* they are ours already */
        *bytes = (struct buf){.ptr = el->block.room, .len = el->block.s.len,
                              .cap = el->block.room_len};
        el->block.room = NULL;
    } else {
        buf_append_slice(bytes, el->block.s);
    }
    return bytes->failed ? rdb_no_memory(&l->r) : true;
}

static bool load_packed(struct loading *l, enum elements_kind kind)
{
    struct elements el;
    bool ok = elements_block(&el, &l->r, kind);
    if (ok && is_built(l, &el)) ok = take_block(l, &el);
    else if (ok) ok = load_pairs(l, &el, kind == ELEMENTS_ZIPMAP);
    elements_deinit(&el);
    return ok;
}

/* One field with its TTL, of the types that spell them out. */
static bool load_field(struct loading *l, struct build *b, unsigned type, uint64_t lowest,
                       struct rdb_text *field, struct rdb_text *value)
{
    uint64_t ttl = 0;
    if (type != RDB_HASH_2 && !rdb_get_len(&l->r, &ttl)) return false;
    if (!rdb_get_text(&l->r, field) || !rdb_get_text(&l->r, value)) return false;
    if (type == RDB_HASH_2) {
        if (!rdb_get_u64(&l->r, &ttl)) return false;
        if (ttl == UINT64_MAX) ttl = 0;
    }
    if (ttl > (uint64_t)HASH_EXPIRE_MAX + 1) return rdb_bad(&l->r);
    if (type == RDB_HASH_METADATA && ttl != 0) ttl += lowest - 1;
    return add(b, field->s, value->s, (int64_t)ttl);
}

static bool get_lowest(struct loading *l, uint64_t *lowest)
{
    if (!rdb_get_u64(&l->r, lowest)) return false;
    return *lowest <= (uint64_t)HASH_EXPIRE_MAX ? true : rdb_bad(&l->r);
}

static bool load_fields(struct loading *l, unsigned type)
{
    uint64_t lowest = 0, count;
    if (type == RDB_HASH_METADATA && !get_lowest(l, &lowest)) return false;
    if (!rdb_get_count(&l->r, type == RDB_HASH_2 ? 10 : 3, &count)) return false;
    struct build b;
    struct rdb_text field = {0}, value = {0};
    if (!begin(&b, l, count, true)) return false;
    b.lengths = true;
    bool ok = true;
    while (ok && count-- > 0) ok = load_field(l, &b, type, lowest, &field, &value);
    rdb_text_deinit(&field);
    rdb_text_deinit(&value);
    return finish(&b, ok);
}

static bool load_triples(struct loading *l, unsigned type)
{
    uint64_t lowest;
    if (type == RDB_HASH_LISTPACK_EX && !get_lowest(l, &lowest)) return false;
    struct elements el;
    struct build b;
    struct rdb_text field = {0}, value = {0}, ttl = {0};
    bool ok = elements_block(&el, &l->r, ELEMENTS_LISTPACK);
    if (ok && el.count % 3 != 0) ok = rdb_bad(&l->r);
    ok = ok && begin(&b, l, el.count / 3, true);
    if (ok) {
        while (ok && elements_next(&el, &field)) {
            int64_t expire = 0;
            ok = elements_next(&el, &value) && elements_next(&el, &ttl);
            if (ok && !num_parse_i64(ttl.s, &expire)) ok = rdb_bad(&l->r);
            ok = ok && add(&b, field.s, value.s, expire);
        }
        ok = finish(&b, ok && !l->r.error);
    }
    rdb_text_deinit(&field);
    rdb_text_deinit(&value);
    rdb_text_deinit(&ttl);
    elements_deinit(&el);
    return ok;
}

bool load_hash(struct loading *l, unsigned type)
{
    l->value->type = TYPE_HASH;
    switch (type) {
    case RDB_HASH: return load_plain(l);
    case RDB_HASH_ZIPMAP: return load_packed(l, ELEMENTS_ZIPMAP);
    case RDB_HASH_ZIPLIST: return load_packed(l, ELEMENTS_ZIPLIST);
    case RDB_HASH_LISTPACK: return load_packed(l, ELEMENTS_LISTPACK);
    case RDB_HASH_LISTPACK_EX:
    case RDB_HASH_LISTPACK_EX_PRE_GA: return load_triples(l, type);
    default: return load_fields(l, type);
    }
}
