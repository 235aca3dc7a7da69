/* Small hashes: a listpack of pairs, or, once a field has had an expiry, of triples ordered by it.
 *
 *   LISTPACK      name value name value …
 *   LISTPACK_EX   name value 1700000000000 name value 1700000009000 name value 0
 *
 * The order makes the next expiry a look at the first triple, and all that is due a prefix that
 * goes in one splice. Fields without expiry stand at the end. A hash that has no expiry left keeps
 * its triples, as in Redis: what had one will have one again.
 *
 * A field that moves within the order is inserted at its new place first and deleted at the old one
 * afterwards, because only inserting can fail.
 * Thread: holder of the shard. */
#include "hash_impl.h"
#include "splitring/base/num.h"

#define NO_EXPIRY 0 /* in a triple */

/* ---- reading ---- */

size_t hash_packed_find(const struct entry *e, struct slice name)
{
    const char *bytes = entry_packed(e).ptr;
    size_t first = lp_first(bytes);
    return first == LP_NONE ? LP_NONE : lp_find(bytes, first, name, packed_width(e) - 1);
}

static instant_ms expiry_at(const char *bytes, size_t at)
{
    int64_t expire = lp_get(bytes, at).number;
    return expire == NO_EXPIRY ? EXPIRE_NONE : expire;
}

size_t hash_packed_item(const struct entry *e, size_t at, struct hash_item *item)
{
    const char *bytes = entry_packed(e).ptr;
    item->field = lp_text(bytes, at, item->field_text);
    at = lp_next(bytes, at);
    item->value = lp_text(bytes, at, item->value_text);
    item->expire = EXPIRE_NONE;
    if (unlikely(entry_form(e) == FORM_LISTPACK_EX)) {
        at = lp_next(bytes, at);
        item->expire = expiry_at(bytes, at);
    }
    return lp_next(bytes, at);
}

instant_ms hash_packed_next_expiry(const struct entry *e)
{
    if (entry_form(e) != FORM_LISTPACK_EX) return EXPIRE_NONE;
    const char *bytes = entry_packed(e).ptr;
    size_t at = lp_first(bytes);
    if (at == LP_NONE) return EXPIRE_NONE;
    return expiry_at(bytes, lp_next(bytes, lp_next(bytes, at)));
}

/* ---- writing ---- */

/* Where a triple with this expiry belongs: behind all that expire no later. */
static size_t place_for(const char *bytes, instant_ms expire)
{
    if (expire == EXPIRE_NONE) return LP_NONE;
    size_t at = lp_first(bytes);
    while (at != LP_NONE) {
        size_t last = lp_next(bytes, lp_next(bytes, at));
        if (expiry_at(bytes, last) > expire) return at;
        at = lp_next(bytes, last);
    }
    return LP_NONE;
}

static int insert_triple(struct packed *p, size_t at, struct slice name, struct slice value,
                         instant_ms expire)
{
    char digits[NUM_I64_LEN_MAX];
    int64_t number = expire == EXPIRE_NONE ? NO_EXPIRY : expire;
    struct slice texts[] = {name, value, slice_of(digits, num_format_i64(digits, number))};
    return lp_insert_many(&p->lp, at, texts, ARRAY_COUNT(texts));
}

/* The triple at `at` gets another expiry, and so another place. name and value lie outside. */
static int move_triple(struct packed *p, size_t at, struct slice name, struct slice value,
                       instant_ms expire)
{
    size_t to = place_for(p->lp.bytes, expire), before = lp_len(p->lp.bytes);
    int error = insert_triple(p, to, name, value, expire);
    if (error) return error;
    if (to != LP_NONE && to <= at) at += lp_len(p->lp.bytes) - before;
    lp_delete(&p->lp, at, 3);
    return 0;
}

static int update(struct packed *p, size_t at, struct slice name, struct slice value,
                  instant_ms expire)
{
    size_t value_at = lp_next(p->lp.bytes, at);
    if (entry_form(p->entry) == FORM_LISTPACK) return lp_replace(&p->lp, value_at, value);
    instant_ms present = expiry_at(p->lp.bytes, lp_next(p->lp.bytes, value_at));
    if (expire == EXPIRE_KEEP || expire == present) return lp_replace(&p->lp, value_at, value);
    return move_triple(p, at, name, value, expire);
}

int hash_packed_set(struct hash *h, struct slice name, struct slice value, instant_ms expire)
{
    struct packed p;
    packed_open(&p, h->ks, h->key, h->entry);
    size_t at = hash_packed_find(h->entry, name);
    int error;
    if (at != LP_NONE) {
        error = update(&p, at, name, value, expire);
    } else if (entry_form(h->entry) == FORM_LISTPACK) {
        error = lp_insert_many(&p.lp, LP_NONE, (struct slice[]){name, value}, 2);
    } else {
        if (expire == EXPIRE_KEEP) expire = EXPIRE_NONE;
        error = insert_triple(&p, place_for(p.lp.bytes, expire), name, value, expire);
    }
    h->entry = p.entry;
    if (error) return error;
    return at != LP_NONE ? HASH_SET_UPDATED : HASH_SET_CREATED;
}

bool hash_packed_remove(struct hash *h, struct slice name)
{
    size_t at = hash_packed_find(h->entry, name);
    if (at == LP_NONE) return false;
    struct packed p;
    packed_open(&p, h->ks, h->key, h->entry);
    lp_delete(&p.lp, at, packed_width(h->entry));
    h->entry = p.entry;
    return true;
}

/* Copies of a field's texts, which must not lie in the block while it is edited. */
struct copy {
    struct slice name, value;
    char *heap;
    char small[256];
};

static bool copy_item(struct copy *copy, const struct hash_item *item)
{
    size_t len = item->field.len + item->value.len;
    copy->heap = len <= sizeof(copy->small) ? NULL : mem_try_alloc(len);
    if (len > sizeof(copy->small) && !copy->heap) return false;
    char *at = copy->heap ? copy->heap : copy->small;
    if (item->field.len) memcpy(at, item->field.ptr, item->field.len);
    copy->name = slice_of(at, item->field.len);
    if (item->value.len) memcpy(at + item->field.len, item->value.ptr, item->value.len);
    copy->value = slice_of(at + item->field.len, item->value.len);
    return true;
}

int hash_packed_set_expiry(struct hash *h, size_t at, instant_ms expire)
{
    struct hash_item item;
    struct copy copy;
    (void)hash_packed_item(h->entry, at, &item);
    if (item.expire == expire) return 0;
    if (!copy_item(&copy, &item)) return -ENOMEM;
    struct packed p;
    packed_open(&p, h->ks, h->key, h->entry);
    int error = move_triple(&p, at, copy.name, copy.value, expire);
    h->entry = p.entry;
    mem_free(copy.heap);
    return error;
}

/* ---- making and changing the form ---- */

int hash_packed_widen(struct hash *h)
{
    struct buf out = {0};
    struct hash_item item;
    const char *bytes = entry_packed(h->entry).ptr;
    lp_build_begin(&out);
    for (size_t at = lp_first(bytes); at != LP_NONE;) {
        at = hash_packed_item(h->entry, at, &item);
        lp_build_add(&out, item.field);
        lp_build_add(&out, item.value);
        lp_build_add_number(&out, NO_EXPIRY);
    }
    lp_build_end(&out, 0);
    struct entry *e = out.failed ? NULL
                                 : ks_put_packed(h->ks, h->key, TYPE_HASH, FORM_LISTPACK_EX,
                                                 buf_slice(&out), EXPIRE_KEEP);
    buf_deinit(&out);
    if (!e) return -ENOMEM;
    h->entry = e;
    return 0;
}

/* A listpack that grows on the stack first: most new hashes never leave it. */
struct growing {
    struct lp lp;
    char *heap;
    size_t cap;
    char small[768];
};

static char *growing_resize(struct lp *lp, size_t len)
{
    struct growing *g = CONTAINER_OF(lp, struct growing, lp);
    if (len <= g->cap) return lp->bytes;
    bool first = !g->heap;
    size_t cap = len + len / 2;
    char *bytes = mem_try_realloc(g->heap, cap);
    if (!bytes) return NULL;
    if (first) memcpy(bytes, g->small, lp_len(g->small));
    g->heap = bytes;
    g->cap = cap;
    return lp->bytes = bytes;
}

int hash_packed_create(struct hash *h, const struct slice *pairs, size_t count, size_t *created)
{
    struct growing g;
    g.heap = NULL;
    g.cap = sizeof(g.small);
    g.lp = (struct lp){.bytes = g.small, .resize = growing_resize};
    lp_init(g.small);
    *created = 0;
    int error = 0;
    for (size_t i = 0; i < count && !error; i++) {
        size_t at = LP_NONE;
        if (i > 0) at = lp_find(g.lp.bytes, LP_HEADER, pairs[2 * i], 1);
        if (at != LP_NONE) {
            error = lp_replace(&g.lp, lp_next(g.lp.bytes, at), pairs[2 * i + 1]);
        } else {
            error = lp_insert_many(&g.lp, LP_NONE, pairs + 2 * i, 2);
            ++*created;
        }
    }
    if (!error) {
        struct slice bytes = slice_of(g.lp.bytes, lp_len(g.lp.bytes));
        h->entry = ks_put_packed(h->ks, h->key, TYPE_HASH, FORM_LISTPACK, bytes, EXPIRE_NONE);
        if (!h->entry) error = -ENOMEM;
    }
    mem_free(g.heap);
    return error;
}

int hash_to_object(struct hash *h, size_t more)
{
    struct shard *shard = ks_shard_of(h->ks, h->key);
    struct object *object = hash_object_new(shard);
    if (!object) return -ENOMEM;
    int error = 0;
    hash_object_reserve(object, (h->entry ? hash_count(h->entry) : 0) + more);
    if (h->entry) {
        const char *bytes = entry_packed(h->entry).ptr;
        for (size_t at = lp_first(bytes); at != LP_NONE && !error;) {
            struct hash_item item;
            at = hash_packed_item(h->entry, at, &item);
            error = hash_object_add(shard, object, item.field, item.value, item.expire);
        }
    }
    struct entry *e = error ? NULL : ks_put_object(h->ks, h->key, object, EXPIRE_KEEP);
    if (e) {
        h->entry = e;
        return 0;
    }
    hash_object_free(shard, object);
    return -ENOMEM;
}
