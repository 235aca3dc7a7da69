/* Lists: writing by key, in both forms.
 *
 * Every change is made by one of two hands: lp_* on the packed bytes in the entry, or list_node.c
 * and blocks_* on the large form; here is what chooses between them, and the change of form. What
 * the large form's memory grew by is counted into the shard at the end of each function.
 *
 * Several elements are pushed, or removed, as one: where memory runs out in between, those pushed
 * before are taken back, which cannot fail. Before a range is deleted while a snapshot looks on,
 * all that must be copied for it is copied.
 * Thread: holder of the shard. */
#include "list_impl.h"

#define BUILD_ON_STACK 512u /* listpacks of new lists up to this are built on the stack */

/* The large form under way, and what it took before. */
struct large {
    struct list *list;
    size_t before;
};

static struct large large_begin(const struct list_key *l)
{
    struct list *list = list_of(l->entry);
    return (struct large){.list = list, .before = list->blocks.bytes};
}

static int large_end(const struct list_key *l, const struct large *large, int rc)
{
    struct list *list = large->list;
    size_t now = list->blocks.bytes;
    if (now != large->before)
        shard_count_bytes(ks_shard_of(l->ks, l->key), (ptrdiff_t)(now - large->before));
    if (unlikely(list->object.duty != NULL))
        snapshot_count_kept(ks_shard_of(l->ks, l->key), &list->object);
    return rc;
}

static bool is_large_form(const struct list_key *l) { return kind_is_object(l->entry->kind); }

/* ---- the change of form ---- */

static int grow_now(struct list_key *l)
{
    struct list_build b;
    if (list_build_begin(&b, ks_shard_of(l->ks, l->key), l->fill)) return -ENOMEM;
    if (list_build_node(&b, entry_packed(l->entry), false) == 0) {
        struct entry *e = ks_put_object(l->ks, l->key, b.object, EXPIRE_KEEP);
        if (e) {
            l->entry = e;
            return 0;
        }
    }
    list_build_cancel(&b);
    return -ENOMEM;
}

int list_grow(struct list_key *l, size_t bytes, size_t count)
{
    if (is_large_form(l)) return 0;
    const char *packed = entry_packed(l->entry).ptr;
    if (!list_node_exceeds(l->fill, lp_len(packed) + bytes, (uint64_t)lp_count(packed) + count))
        return 0;
    return grow_now(l);
}

void list_shrink(struct list_key *l)
{
    if (!is_large_form(l)) return;
    const struct blocks *b = &list_of(l->entry)->blocks;
    if (b->blocks != 1) return;
    const struct block *node = b->root; /* the only one */
    if (node_is_plain(node) || !list_fits_packed(l->fill, node->len, node->count, 2)) return;
    struct slice bytes = slice_of(node->bytes, node->len);
    struct entry *e = ks_put_packed(l->ks, l->key, TYPE_LIST, FORM_LISTPACK, bytes, EXPIRE_KEEP);
    if (e) l->entry = e;
}

/* ---- pushing ---- */

static char *resize_on_stack(struct lp *lp, size_t len)
{
    return len <= BUILD_ON_STACK ? lp->bytes : NULL;
}

static int push_all(struct lp *lp, const struct slice *values, size_t count, enum list_end end)
{
    if (end == LIST_TAIL && count > 1) return lp_insert_many(lp, LP_NONE, values, count);
    size_t pushed = 0;
    while (pushed < count) {
        int rc = end == LIST_HEAD ? lp_prepend(lp, values[pushed]) : lp_append(lp, values[pushed]);
        if (rc) {
            lp_delete(lp, LP_HEADER, pushed);
            return rc;
        }
        pushed++;
    }
    return 0;
}

static int create_large(struct list_key *l, const struct slice *values, size_t count,
                        enum list_end end)
{
    struct list_build b;
    if (list_build_begin(&b, ks_shard_of(l->ks, l->key), l->fill)) return -ENOMEM;
    struct list *list = (struct list *)(void *)b.object;
    int rc = 0;
    for (size_t i = 0; i < count && !rc; i++) rc = list_push_one(list, values[i], end);
    shard_count_bytes(b.shard, (ptrdiff_t)list->blocks.bytes);
    if (!rc) l->entry = ks_put_object(l->ks, l->key, b.object, EXPIRE_NONE);
    if (!rc && l->entry) return 0;
    list_build_cancel(&b);
    return -ENOMEM;
}

static int create(struct list_key *l, const struct slice *values, size_t count, enum list_end end)
{
    size_t bytes = 0, encoded = LP_EMPTY_LEN;
    for (size_t i = 0; i < count; i++) {
        bytes += values[i].len;
        encoded += lp_encoded_len(values[i]);
    }
    if (list_node_exceeds(l->fill, LP_EMPTY_LEN + bytes, count))
        return create_large(l, values, count, end);
    char room[BUILD_ON_STACK];
    bool on_stack = encoded <= sizeof(room);
    struct lp lp = {.bytes = on_stack ? room : mem_try_alloc(encoded),
                    .resize = on_stack ? resize_on_stack : lp_resize_heap};
    if (!lp.bytes) return -ENOMEM;
    lp_init(lp.bytes);
    int rc = push_all(&lp, values, count, end);
    if (!rc) {
        struct slice packed = slice_of(lp.bytes, lp_len(lp.bytes));
        l->entry = ks_put_packed(l->ks, l->key, TYPE_LIST, FORM_LISTPACK, packed, EXPIRE_NONE);
        if (!l->entry) rc = -ENOMEM;
    }
    if (!on_stack) mem_free(lp.bytes);
    return rc;
}

static int large_delete(struct list *list, uint64_t start, uint64_t count);

static int push_large(struct list *list, const struct slice *values, size_t count,
                      enum list_end end)
{
    for (size_t i = 0; i < count; i++) {
        if (likely(list_push_one(list, values[i], end) == 0)) continue;
        /* Those pushed before lie in nodes that are owned: taking them back does not fail. */
        int rc = i ? large_delete(list, end == LIST_HEAD ? 0 : list->blocks.count - i, i) : 0;
        check(rc == 0);
        return -ENOMEM;
    }
    return 0;
}

int list_push(struct list_key *l, const struct slice *values, size_t count, enum list_end end)
{
    if (!l->entry) return create(l, values, count, end);
    if (!is_large_form(l)) {
        size_t bytes = 0;
        for (size_t i = 0; i < count; i++) bytes += values[i].len;
        if (list_grow(l, bytes, count)) return -ENOMEM;
    }
    if (is_large_form(l)) {
        struct large large = large_begin(l);
        return large_end(l, &large, push_large(large.list, values, count, end));
    }
    struct packed p;
    packed_open(&p, l->ks, l->key, l->entry);
    int rc = push_all(&p.lp, values, count, end);
    l->entry = p.entry;
    return rc;
}

/* ---- deleting ---- */

/* Everything that deleting the range needs is copied now, if a frozen root shows it. */
static int own_range(struct list *list, uint64_t start, uint64_t count)
{
    struct blocks *b = &list->blocks;
    if (likely(!b->frozen)) return 0;
    while (count > 0) {
        struct blocks_cursor c;
        uint32_t in_node = 0;
        blocks_at(b, start, &c, &in_node);
        uint64_t part = c.block->count - in_node;
        if (part > count) part = count;
        bool whole = part == c.block->count;
        if (whole ? blocks_own_path(b, &c) : blocks_own(b, &c)) return -ENOMEM;
        start += part;
        count -= part;
    }
    return 0;
}

/* The element at one end. */
static void delete_end(struct list *list, enum list_end end)
{
    struct blocks_cursor c;
    size_t at = LP_HEADER;
    if (end == LIST_HEAD) {
        blocks_first(&list->blocks, &c);
    } else {
        blocks_last(&list->blocks, &c);
        if (!node_is_plain(c.block)) at = lp_last(c.block->bytes);
    }
    list_node_delete(list, &c, at, 1);
}

static int large_delete(struct list *list, uint64_t start, uint64_t count)
{
    if (own_range(list, start, count)) return -ENOMEM;
    if (count == 1 && (start == 0 || start + 1 == list->blocks.count)) {
        delete_end(list, start == 0 ? LIST_HEAD : LIST_TAIL);
        return 0;
    }
    struct blocks_cursor c;
    uint32_t in_node = 0;
    blocks_at(&list->blocks, start, &c, &in_node);
    while (count > 0) {
        uint32_t part = c.block->count - in_node;
        if (part > count) part = (uint32_t)count;
        bool goes = part == c.block->count;
        size_t at = goes ? LP_HEADER : lp_seek(c.block->bytes, in_node);
        list_node_delete(list, &c, at, part);
        count -= part;
        if (!goes && count > 0) blocks_next(&list->blocks, &c);
        in_node = 0;
    }
    return 0;
}

int list_delete(struct list_key *l, uint64_t start, uint64_t count)
{
    if (is_large_form(l)) {
        struct large large = large_begin(l);
        return large_end(l, &large, large_delete(large.list, start, count));
    }
    struct packed p;
    packed_open(&p, l->ks, l->key, l->entry);
    lp_delete(&p.lp, lp_seek(p.lp.bytes, (int64_t)start), (size_t)count);
    l->entry = p.entry;
    return 0;
}

static int large_trim(struct list *list, uint64_t start, uint64_t count)
{
    uint64_t end = start + count, behind = list->blocks.count - end;
    if (own_range(list, 0, start) || own_range(list, end, behind)) return -ENOMEM;
    int rc = behind ? large_delete(list, end, behind) : 0;
    if (!rc && start) rc = large_delete(list, 0, start);
    check(rc == 0);
    return 0;
}

int list_trim(struct list_key *l, uint64_t start, uint64_t count)
{
    if (is_large_form(l)) {
        struct large large = large_begin(l);
        return large_end(l, &large, large_trim(large.list, start, count));
    }
    struct packed p;
    packed_open(&p, l->ks, l->key, l->entry);
    size_t end = lp_seek(p.lp.bytes, (int64_t)(start + count));
    if (end != LP_NONE) lp_delete(&p.lp, end, SIZE_MAX);
    lp_delete(&p.lp, LP_HEADER, (size_t)start);
    l->entry = p.entry;
    return 0;
}

int list_prepare_pop(struct list_key *l, enum list_end end)
{
    if (!is_large_form(l)) return 0;
    struct large large = large_begin(l);
    uint64_t at = end == LIST_HEAD ? 0 : large.list->blocks.count - 1;
    return large_end(l, &large, own_range(large.list, at, 1));
}

/* ---- in the middle ---- */

/* The first element equal to text; false: there is none. */
static bool find(const struct list *list, struct slice text, struct blocks_cursor *c, size_t *at)
{
    for (blocks_first(&list->blocks, c); c->block; blocks_next(&list->blocks, c)) {
        const char *bytes = c->block->bytes;
        *at = LP_HEADER;
        if (node_is_plain(c->block)) {
            if (slice_equal(slice_of(bytes, c->block->len), text)) return true;
        } else {
            *at = lp_find(bytes, lp_first(bytes), text, 0);
            if (*at != LP_NONE) return true;
        }
    }
    return false;
}

int list_insert(struct list_key *l, struct slice pivot, bool after, struct slice value)
{
    if (list_grow(l, value.len, 1)) return -ENOMEM;
    if (is_large_form(l)) {
        struct blocks_cursor c;
        size_t at;
        struct large large = large_begin(l);
        if (!find(large.list, pivot, &c, &at)) return LIST_E_MISSING;
        return large_end(l, &large, list_insert_at(large.list, &c, at, after, value));
    }
    struct packed p;
    packed_open(&p, l->ks, l->key, l->entry);
    size_t at = lp_find(p.lp.bytes, lp_first(p.lp.bytes), pivot, 0);
    if (at == LP_NONE) return LIST_E_MISSING;
    int rc = lp_insert(&p.lp, after ? lp_next(p.lp.bytes, at) : at, value);
    l->entry = p.entry;
    return rc;
}

int list_set(struct list_key *l, uint64_t index, struct slice value)
{
    if (is_large_form(l)) {
        struct blocks_cursor c;
        uint32_t in_node = 0;
        struct large large = large_begin(l);
        blocks_at(&large.list->blocks, index, &c, &in_node);
        size_t at = node_is_plain(c.block) ? LP_HEADER : lp_seek(c.block->bytes, in_node);
        return large_end(l, &large, list_replace_at(large.list, &c, at, value));
    }
    struct packed p;
    packed_open(&p, l->ks, l->key, l->entry);
    int rc = lp_replace(&p.lp, lp_seek(p.lp.bytes, (int64_t)index), value);
    l->entry = p.entry;
    return rc;
}

/* ---- removing equal elements ---- */

struct removal {
    struct slice text;
    uint64_t left; /* that may still go */
    uint64_t removed;
};

/* Of one listpack that may be written; it may be empty afterwards. */
static void remove_in(struct lp *lp, struct removal *r, enum list_end from)
{
    size_t at = from == LIST_HEAD ? lp_first(lp->bytes) : lp_last(lp->bytes);
    while (at != LP_NONE && r->left > 0) {
        if (from == LIST_HEAD) {
            at = lp_find(lp->bytes, at, r->text, 0);
        } else {
            while (at != LP_NONE && !lp_equal(lp->bytes, at, r->text)) at = lp_prev(lp->bytes, at);
        }
        if (at == LP_NONE) return;
        size_t next = from == LIST_HEAD ? at : lp_prev(lp->bytes, at);
        lp_delete(lp, at, 1);
        at = next == lp_len(lp->bytes) - 1 ? LP_NONE : next;
        r->left--;
        r->removed++;
    }
}

static bool node_has(const struct block *node, struct slice text)
{
    if (node_is_plain(node)) return slice_equal(slice_of(node->bytes, node->len), text);
    return lp_find(node->bytes, lp_first(node->bytes), text, 0) != LP_NONE;
}

/* Of the cursor's node. *gone: the node went too, and the cursor stands at what followed. */
static int remove_in_node(struct list *list, struct blocks_cursor *c, struct removal *r,
                          enum list_end from, bool *gone)
{
    struct blocks *b = &list->blocks;
    if (blocks_own(b, c)) return -ENOMEM;
    *gone = node_is_plain(c->block);
    if (*gone) {
        r->left--;
        r->removed++;
    } else {
        struct block_lp e;
        block_lp_open(&e, b, c->block);
        remove_in(&e.lp, r, from);
        blocks_changed(b, c, (uint32_t)lp_len(e.lp.bytes), lp_count(e.lp.bytes));
        *gone = c->block->count == 0;
    }
    if (!*gone) return 0;
    int rc = blocks_remove(b, c);
    check(rc == 0);
    return 0;
}

static int remove_large(struct list *list, struct removal *r, enum list_end from)
{
    struct blocks *b = &list->blocks;
    struct blocks_cursor c;
    if (from == LIST_HEAD) blocks_first(b, &c);
    else blocks_last(b, &c);
    while (c.block && r->left > 0) {
        bool gone = false;
        if (node_has(c.block, r->text) && remove_in_node(list, &c, r, from, &gone)) return -ENOMEM;
        if (from == LIST_HEAD) {
            if (!gone) blocks_next(b, &c);
        } else if (c.block) {
            blocks_prev(b, &c);
        } else {
            blocks_last(b, &c);
        }
    }
    return 0;
}

uint64_t list_remove_value(struct list_key *l, struct slice text, uint64_t count_max,
                           enum list_end from, bool *stopped)
{
    struct removal r = {.text = text, .left = count_max ? count_max : UINT64_MAX};
    *stopped = false;
    if (is_large_form(l)) {
        struct large large = large_begin(l);
        *stopped = remove_large(large.list, &r, from) != 0;
        (void)large_end(l, &large, 0);
        return r.removed;
    }
    struct packed p;
    packed_open(&p, l->ks, l->key, l->entry);
    remove_in(&p.lp, &r, from);
    l->entry = p.entry;
    return r.removed;
}

/* ---- rotating ---- */

static size_t end_offset(const char *bytes, enum list_end end)
{
    return end == LIST_HEAD ? lp_first(bytes) : lp_last(bytes);
}

/* A copy without the element at one end. */
static int copy_without(struct lp *lp, const char *bytes, size_t at)
{
    size_t len = lp_len(bytes);
    *lp = (struct lp){.bytes = mem_try_alloc(len), .resize = lp_resize_heap};
    if (!lp->bytes) return -ENOMEM;
    memcpy(lp->bytes, bytes, len);
    lp_delete(lp, at, 1);
    return 0;
}

static int rotate_packed(struct list_key *l, enum list_end from, enum list_end to, bool *grown)
{
    const char *bytes = entry_packed(l->entry).ptr;
    size_t at = end_offset(bytes, from);
    char scratch[LP_NUMBER_LEN];
    struct slice text = lp_text(bytes, at, scratch);
    struct lp lp;
    if (copy_without(&lp, bytes, at)) return -ENOMEM;
    int rc = 0;
    /* Redis counts nothing for a number here. */
    size_t more = text.ptr == scratch ? 0 : text.len;
    *grown = list_node_exceeds(l->fill, lp_len(lp.bytes) + more, lp_count(lp.bytes) + 1ull);
    if (*grown) {
        rc = grow_now(l);
    } else {
        rc = to == LIST_HEAD ? lp_prepend(&lp, text) : lp_append(&lp, text);
        char *room = rc ? NULL : ks_packed_resize(l->ks, l->key, &l->entry, lp_len(lp.bytes));
        if (room) memcpy(room, lp.bytes, lp_len(lp.bytes));
        else rc = -ENOMEM;
    }
    mem_free(lp.bytes);
    return rc;
}

/* Within the only node, if the element fits in again once it is out. */
static int rotate_node(struct list *list, enum list_end from, enum list_end to, bool *fits)
{
    struct blocks_cursor c;
    blocks_first(&list->blocks, &c);
    const char *bytes = c.block->bytes;
    size_t at = end_offset(bytes, from);
    char scratch[LP_NUMBER_LEN];
    struct slice text = lp_text(bytes, at, scratch);
    struct block rest = *c.block;
    rest.len -= (uint32_t)lp_element_len(bytes, at);
    rest.count--;
    *fits = list_node_allows(list, &rest, text.len);
    if (!*fits) return 0;
    struct lp lp;
    if (copy_without(&lp, bytes, at)) return -ENOMEM;
    int rc = to == LIST_HEAD ? lp_prepend(&lp, text) : lp_append(&lp, text);
    if (!rc) rc = blocks_own(&list->blocks, &c);
    char *room = rc ? NULL : block_resize(&list->blocks, c.block, lp_len(lp.bytes));
    if (room) {
        memcpy(room, lp.bytes, lp_len(lp.bytes));
        blocks_changed(&list->blocks, &c, (uint32_t)lp_len(room), lp_count(room));
    }
    mem_free(lp.bytes);
    return room ? 0 : -ENOMEM;
}

static int rotate_large(struct list *list, enum list_end from, enum list_end to)
{
    if (from == to) return list_push_again(list, from);
    if (list->blocks.blocks == 1) {
        bool fits;
        int rc = rotate_node(list, from, to, &fits);
        if (rc || fits) return rc;
    }
    /* The ends are two nodes, or will be: pushing first leaves nothing that can fail. */
    uint64_t last = list->blocks.count - 1;
    if (own_range(list, from == LIST_HEAD ? 0 : last, 1)) return -ENOMEM;
    struct blocks_cursor c;
    if (from == LIST_HEAD) blocks_first(&list->blocks, &c);
    else blocks_last(&list->blocks, &c);
    char scratch[LP_NUMBER_LEN];
    size_t at;
    struct slice text = list_end_text(c.block, from, &at, scratch);
    if (list_push_one(list, text, to)) return -ENOMEM;
    int rc = large_delete(list, from == LIST_HEAD ? 0 : last + 1, 1);
    check(rc == 0);
    return 0;
}

int list_rotate(struct list_key *l, enum list_end from, enum list_end to)
{
    if (list_count(l->entry) == 1) return 0;
    if (!is_large_form(l)) {
        bool grown = false;
        int rc = rotate_packed(l, from, to, &grown);
        if (rc || !grown) return rc;
    }
    struct large large = large_begin(l);
    return large_end(l, &large, rotate_large(large.list, from, to));
}
