/* Sets being changed: adding, removing, and the changes of form (rules of Redis 7.2).
 *
 *   intset ──a member that is no number──▶ listpack, if that holds the integers and it; else dict
 *     └─more than set-max-intset-entries─▶ dict
 *   listpack ──more than set-max-listpack-entries, or a member longer than -value──▶ dict
 *
 * Nothing ever goes back by itself; results of set operations may be narrowed to an intset.
 *
 * The same code works on a set under a key, whose bytes lie in the entry, and on one without a key
 * yet: the result of a set operation, or a new key's members. The latter begins in a small room of
 * the edit itself, so that a new small set costs one allocation, its entry.
 *
 * A change of form builds the new one aside and then swaps, so want of memory leaves the old one.
 * Thread: holder of the shard. */
#include "entry.h"
#include "set_impl.h"

#include "splitring/base/check.h"
#include "splitring/base/hash.h"
#include "splitring/base/mem.h"

#define LISTPACK_LEN_MAX ((size_t)1 << 30)

static bool on_heap(const struct set_edit *edit) { return edit->packed.entry == NULL; }

static struct set_view view_of(const struct set_edit *edit)
{
    return (struct set_view){edit->form, edit->packed.lp.bytes, edit->object};
}

/* ---- bytes without a key ---- */

static char *resize_heap(struct lp *lp, size_t len)
{
    struct set_edit *edit = CONTAINER_OF(lp, struct set_edit, packed.lp);
    if (lp->bytes != edit->room) return lp_resize_heap(lp, len);
    if (len <= SET_EDIT_ROOM) return lp->bytes;
    char *bytes = mem_try_alloc(len * 2);
    if (!bytes) return NULL;
    memcpy(bytes, edit->room, SET_EDIT_ROOM);
    lp->bytes = bytes;
    return bytes;
}

static void drop_heap_bytes(struct set_edit *edit)
{
    if (edit->packed.lp.bytes != edit->room) mem_free(edit->packed.lp.bytes);
    edit->packed.lp.bytes = NULL;
}

/* ---- open, begin, close ---- */

void set_open(struct set_edit *edit, struct ks *ks, struct slice key, struct entry *e,
              const struct set_limits *limits)
{
    edit->form = entry_form(e);
    edit->shard = ks_shard_of(ks, key);
    edit->limits = limits;
    edit->object = NULL;
    if (edit->form == FORM_OBJECT) {
        edit->packed = (struct packed){.ks = ks, .key = key, .entry = e};
        edit->object = (struct set_object *)entry_object(e);
    } else {
        packed_open(&edit->packed, ks, key, e);
    }
}

int set_begin(struct set_edit *edit, struct ks *ks, struct slice key, enum form form, size_t hint,
              const struct set_limits *limits)
{
    edit->packed = (struct packed){.lp.resize = resize_heap};
    edit->form = form;
    edit->shard = ks_shard_of(ks, key);
    edit->limits = limits;
    edit->object = NULL;
    if (form == FORM_OBJECT) {
        edit->object = set_object_new(edit->shard, hint);
        return edit->object ? 0 : -ENOMEM;
    }
    edit->packed.lp.bytes = edit->room;
    if (form == FORM_INTSET) intset_init(edit->room);
    else lp_init(edit->room);
    return 0;
}

void set_close(struct set_edit *edit)
{
    if (!on_heap(edit)) return;
    if (edit->object) {
        /* In slices if it is large. */
        struct value v = {.kind = ENTRY_KIND(TYPE_SET, FORM_OBJECT),
                          .flags = ENTRY_WORD | ENTRY_POINTER,
                          .word = (int64_t)(uintptr_t)edit->object};
        value_free(edit->shard, &v, true);
    }
    edit->object = NULL;
    drop_heap_bytes(edit);
}

enum form set_form_for(struct set_member *first, size_t hint, const struct set_limits *limits)
{
    if (hint <= limits->intset_entries && set_member_is_number(first)) return FORM_INTSET;
    return hint <= limits->listpack_entries ? FORM_LISTPACK : FORM_OBJECT;
}

uint64_t set_edit_count(const struct set_edit *edit)
{
    struct set_view v = view_of(edit);
    return set_view_count(&v);
}

bool set_edit_contains(const struct set_edit *edit, struct set_member *m)
{
    struct set_view v = view_of(edit);
    return set_view_contains(&v, m);
}

bool set_edit_each(const struct set_edit *edit, set_visit *visit, void *ctx)
{
    struct set_view v = view_of(edit);
    return set_view_each(&v, visit, ctx);
}

/* ---- changes of form ---- */

/* The bytes become the set's. */
static int swap_packed(struct set_edit *edit, enum form form, struct slice bytes)
{
    if (!on_heap(edit)) {
        struct packed *p = &edit->packed;
        struct entry *e = ks_put_packed(p->ks, p->key, TYPE_SET, form, bytes, EXPIRE_KEEP);
        if (!e) return -ENOMEM;
        packed_open(p, p->ks, p->key, e);
    } else {
        char *copy = bytes.len > SET_EDIT_ROOM ? mem_try_alloc(bytes.len) : edit->room;
        if (!copy) return -ENOMEM;
        if (edit->object) set_object_free(edit->shard, edit->object);
        else drop_heap_bytes(edit);
        memcpy(copy, bytes.ptr, bytes.len);
        edit->packed.lp.bytes = copy;
    }
    edit->object = NULL;
    edit->form = form;
    return 0;
}

static int become_listpack(struct set_edit *edit)
{
    const char *bytes = edit->packed.lp.bytes;
    struct buf out = {0};
    lp_build_begin(&out);
    for (uint32_t i = 0; i < intset_count(bytes); i++) {
        lp_build_add_number(&out, intset_get(bytes, i));
    }
    lp_build_end(&out, 0);
    int rc = out.failed ? -ENOMEM : swap_packed(edit, FORM_LISTPACK, buf_slice(&out));
    buf_deinit(&out);
    return rc;
}

struct copying {
    struct shard *shard;
    struct set_object *to;
};

static bool copy_member(void *ctx, struct set_member *m)
{
    struct copying *c = ctx;
    uint64_t hash = set_member_hash(m, c->to);
    return set_object_add(c->shard, c->to, set_member_get(m), hash) == 0;
}

static int become_object(struct set_edit *edit, size_t hint)
{
    struct copying c = {edit->shard, set_object_new(edit->shard, hint)};
    if (!c.to) return -ENOMEM;
    struct entry *e = NULL;
    bool all = set_edit_each(edit, copy_member, &c);
    if (all && !on_heap(edit)) {
        e = ks_put_object(edit->packed.ks, edit->packed.key, &c.to->base, EXPIRE_KEEP);
    }
    if (!all || (!on_heap(edit) && !e)) {
        set_object_free(edit->shard, c.to);
        return -ENOMEM;
    }
    if (on_heap(edit)) drop_heap_bytes(edit);
    edit->packed.entry = e;
    edit->object = c.to;
    edit->form = FORM_OBJECT;
    return 0;
}

static bool beyond(const struct set_edit *edit, uint64_t count)
{
    uint64_t intset_max = edit->limits->intset_entries;
    if (edit->form == FORM_LISTPACK) return count > edit->limits->listpack_entries;
    return edit->form == FORM_INTSET &&
           count > (intset_max < INTSET_COUNT_MAX ? intset_max : INTSET_COUNT_MAX);
}

int set_expect(struct set_edit *edit, size_t hint)
{
    return beyond(edit, hint) ? become_object(edit, hint) : 0;
}

struct digest {
    struct lp block;
    bool failed;
};

static bool add_number(void *ctx, struct set_member *m)
{
    struct digest *digest = ctx;
    if (!set_member_is_number(m)) return false;
    digest->failed = intset_add(&digest->block, m->number) < 0;
    return !digest->failed;
}

void set_narrow(struct set_edit *edit)
{
    uint64_t count = set_edit_count(edit);
    if (edit->form == FORM_INTSET || count > edit->limits->intset_entries) return;
    struct digest digest = {{mem_try_alloc(INTSET_EMPTY_LEN), lp_resize_heap}, false};
    if (!digest.block.bytes) return;
    intset_init(digest.block.bytes);
    if (set_edit_each(edit, add_number, &digest)) {
        struct slice bytes = slice_of(digest.block.bytes, intset_len(digest.block.bytes));
        (void)swap_packed(edit, FORM_INTSET, bytes);
    }
    mem_free(digest.block.bytes);
}

/* ---- adding ---- */

static int add_to_object(struct set_edit *edit, struct set_member *m)
{
    struct set_object *set = edit->object;
    struct slice text = set_member_get(m);
    uint64_t hash = set_member_hash(m, set);
    if (dict_find_slot(&set->dict, hash, text)) return 0;
    int rc = set_object_add(edit->shard, set, text, hash);
    return rc == 0 ? 1 : rc;
}

static int add_to_intset(struct set_edit *edit, int64_t number)
{
    int rc = intset_add(&edit->packed.lp, number);
    if (rc != 1) return rc;
    uint32_t count = intset_count(edit->packed.lp.bytes);
    if (likely(!beyond(edit, count)) || become_object(edit, count) == 0) return 1;
    (void)intset_remove(&edit->packed.lp, number);
    return -ENOMEM;
}

static size_t digits(int64_t number)
{
    char text[NUM_I64_LEN_MAX];
    return num_format_i64(text, number);
}

/* An intset gets its first member that is no integer. */
static int leave_intset(struct set_edit *edit, size_t text_len)
{
    const char *bytes = edit->packed.lp.bytes;
    const struct set_limits *limits = edit->limits;
    uint32_t count = intset_count(bytes);
    size_t longest = text_len;
    if (count) {
        size_t first = digits(intset_get(bytes, 0)), last = digits(intset_get(bytes, count - 1));
        if (first > longest) longest = first;
        if (last > longest) longest = last;
    }
    if (count < limits->listpack_entries && longest <= limits->listpack_value) {
        return become_listpack(edit);
    }
    return become_object(edit, count + 1);
}

static int add_to_listpack(struct set_edit *edit, struct set_member *m)
{
    const char *bytes = edit->packed.lp.bytes;
    struct slice text = set_member_get(m);
    if (lp_find(bytes, lp_first(bytes), text, 0) != LP_NONE) return 0;
    uint32_t count = lp_count(bytes);
    if (count < edit->limits->listpack_entries && text.len <= edit->limits->listpack_value &&
        lp_len(bytes) + text.len < LISTPACK_LEN_MAX / 2) {
        return lp_append(&edit->packed.lp, text) == 0 ? 1 : -ENOMEM;
    }
    if (become_object(edit, count + 1) != 0) return -ENOMEM;
    return add_to_object(edit, m);
}

int set_add(struct set_edit *edit, struct set_member *m)
{
    if (likely(edit->form == FORM_OBJECT)) return add_to_object(edit, m);
    if (edit->form == FORM_INTSET) {
        if (set_member_is_number(m)) return add_to_intset(edit, m->number);
        if (leave_intset(edit, set_member_get(m).len) != 0) return -ENOMEM;
        return set_add(edit, m);
    }
    return add_to_listpack(edit, m);
}

/* ---- removing ---- */

bool set_remove(struct set_edit *edit, struct set_member *m)
{
    struct lp *lp = &edit->packed.lp;
    if (edit->form == FORM_OBJECT) {
        uint64_t hash = set_member_hash(m, edit->object);
        return set_object_remove(edit->shard, edit->object, set_member_get(m), hash);
    }
    if (edit->form == FORM_INTSET) {
        return set_member_is_number(m) && intset_remove(lp, m->number);
    }
    size_t at = lp_find(lp->bytes, lp_first(lp->bytes), set_member_get(m), 0);
    if (at == LP_NONE) return false;
    lp_delete(lp, at, 1);
    return true;
}

/* ---- storing ---- */

int set_store(struct set_edit *edit, struct ks *ks, struct slice key, instant_ms expire)
{
    check(on_heap(edit));
    struct entry *e;
    if (edit->form == FORM_OBJECT) {
        e = ks_put_object(ks, key, &edit->object->base, expire);
        if (e) edit->object = NULL;
    } else {
        const char *bytes = edit->packed.lp.bytes;
        size_t len = edit->form == FORM_INTSET ? intset_len(bytes) : lp_len(bytes);
        e = ks_put_packed(ks, key, TYPE_SET, edit->form, slice_of(bytes, len), expire);
    }
    if (!e) return -ENOMEM;
    set_close(edit);
    return 0;
}
