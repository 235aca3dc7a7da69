/* Sets in RDB.
 *
 *   2   count, members
 *   11  an intset, as it lies in memory
 *   20  a listpack of members (version 11)
 *
 * For a reader of version 10 a set of texts is type 2 whatever its form: servers since Redis 7.2
 * make a listpack of it again while they load it.
 * What is read is added member by member, so that duplicates are found and the limits are kept.
 * Thread: holder of the shard. */
#include "types.h"

/* ---- writing ---- */

static bool put_member(void *ctx, struct set_member *m)
{
    struct rdb_writer *w = ctx;
    if (set_member_is_number(m)) {
        rdb_put_int(w, m->number);
    } else {
        rdb_put_text(w, set_member_get(m));
    }
    return true;
}

void save_set(struct rdb_writer *w, const struct entry *e)
{
    enum form form = entry_form(e);
    if (form == FORM_INTSET) {
        rdb_put_type(w, RDB_SET_INTSET, RDB_VERSION_LEAST);
        rdb_put_text(w, entry_packed(e));
    } else if (form == FORM_LISTPACK && w->version >= 11) {
        rdb_put_type(w, RDB_SET_LISTPACK, 11);
        rdb_put_text(w, entry_packed(e));
    } else {
        rdb_put_type(w, RDB_SET, RDB_VERSION_LEAST);
        rdb_put_len(w, set_count(e));
        (void)set_each(e, put_member, w);
    }
}

/* ---- reading ---- */

static bool begin(struct loading *l, enum form form, uint64_t count)
{
    if (count == 0) return rdb_empty(&l->r);
    int rc = set_begin(&l->value->set, l->ks, l->key, form, count, &l->limits->set);
    if (rc < 0) return rdb_no_memory(&l->r);
    l->value->held = RDB_SET_EDIT;
    return true;
}

static bool add(struct loading *l, struct set_member *m)
{
    int rc = set_add(&l->value->set, m);
    if (rc < 0) return rdb_no_memory(&l->r);
    return rc == 1 ? true : rdb_bad(&l->r);
}

static bool load_elements(struct loading *l, struct elements *el, enum form form)
{
    if (!begin(l, form, el->count)) return false;
    struct rdb_text text = {0};
    struct set_member m;
    bool ok = true;
    while (ok && elements_next(el, &text)) {
        set_member_text(&m, text.s);
        ok = add(l, &m);
    }
    rdb_text_deinit(&text);
    return ok && !l->r.error;
}

static bool load_plain(struct loading *l)
{
    const struct set_limits *limits = &l->limits->set;
    uint64_t count;
    if (!rdb_get_count(&l->r, 1, &count)) return false;
    struct elements el;
    elements_texts(&el, &l->r, count);
    bool small = count <= limits->intset_entries || count <= limits->listpack_entries;
    return load_elements(l, &el, small ? FORM_INTSET : FORM_OBJECT);
}

static bool load_listpack(struct loading *l)
{
    struct elements el;
    bool ok = elements_block(&el, &l->r, ELEMENTS_LISTPACK);
    bool small = ok && el.count <= l->limits->set.listpack_entries;
    ok = ok && load_elements(l, &el, small ? FORM_LISTPACK : FORM_OBJECT);
    elements_deinit(&el);
    return ok;
}

static bool load_intset(struct loading *l)
{
    struct rdb_text text = {0};
    bool ok = rdb_get_text(&l->r, &text);
    if (ok && !intset_valid(text.s)) ok = rdb_bad(&l->r);
    if (!ok) {
        rdb_text_deinit(&text);
        return false;
    }
    uint32_t count = intset_count(text.s.ptr);
    if (count <= l->limits->set.intset_entries) {
        l->value->held = RDB_BYTES;
        l->value->form = FORM_INTSET;
        buf_append_slice(&l->value->bytes, text.s);
        if (l->value->bytes.failed) ok = rdb_no_memory(&l->r);
    } else {
        ok = begin(l, FORM_OBJECT, count);
        struct set_member m;
        for (uint32_t i = 0; ok && i < count; i++) {
            set_member_number(&m, intset_get(text.s.ptr, i));
            ok = add(l, &m);
        }
    }
    rdb_text_deinit(&text);
    return ok;
}

bool load_set(struct loading *l, unsigned type)
{
    l->value->type = TYPE_SET;
    if (type == RDB_SET_INTSET) return load_intset(l);
    return type == RDB_SET_LISTPACK ? load_listpack(l) : load_plain(l);
}
