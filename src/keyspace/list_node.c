/* Lists: writing nodes of large ones, as Redis' quicklist does it.
 *
 * Inserting beside an element of a full node first looks whether the element stands at the node's
 * edge and the neighbour has room; else, at the edge, a new node is made; else the node is split at
 * the element, the new one goes to the new half, and neighbours that together fit one node are
 * merged: the two before, the two after, then the middle with each side. An element above the limit
 * becomes a plain node, between the halves where it falls inside a node.
 *
 * Memory may run out: new nodes are put in first, and what they hold twice is cut off the old node
 * last, which cannot fail. Merging is left out where memory does not allow it.
 * Thread: holder of the shard. */
#include "list_impl.h"

/* A listpack of its own with the elements from offset `from` to `to`, or an empty one. */
static int copy_range(struct lp *lp, const char *bytes, size_t from, size_t to, uint32_t count)
{
    *lp = (struct lp){.bytes = mem_try_alloc(LP_EMPTY_LEN + to - from), .resize = lp_resize_heap};
    if (!lp->bytes) return -ENOMEM;
    lp_copy_range(bytes, from, to, count, lp->bytes);
    return 0;
}

static struct block_init packed_node(const struct lp *lp)
{
    return (struct block_init){
        .bytes = lp->bytes, .len = (uint32_t)lp_len(lp->bytes), .count = lp_count(lp->bytes)};
}

/* A node of one element; bytes is NULL where memory is out. */
static struct block_init node_of(const struct list *list, struct slice text)
{
    if (!list_is_large(list->fill, text.len)) {
        struct lp lp = {.bytes = mem_try_alloc(LP_EMPTY_LEN + lp_encoded_len(text)),
                        .resize = lp_resize_heap};
        if (!lp.bytes) return (struct block_init){0};
        lp_init(lp.bytes);
        if (lp_append(&lp, text) == 0) return packed_node(&lp);
        mem_free(lp.bytes);
        return (struct block_init){0};
    }
    struct block_init init = {.count = 1, .flags = NODE_PLAIN};
    if (text.len >= UINT32_MAX) return init;
    init.len = (uint32_t)text.len;
    init.bytes = mem_try_alloc(text.len);
    if (init.bytes) memcpy(init.bytes, text.ptr, text.len);
    return init;
}

static int put_node_beside(struct list *list, struct blocks_cursor *c, bool after,
                         const struct block_init *init)
{
    if (!init->bytes) return -ENOMEM;
    int rc = after ? blocks_insert_after(&list->blocks, c, init)
                   : blocks_insert_before(&list->blocks, c, init);
    if (rc) mem_free(init->bytes);
    return rc;
}

/* After lp_* on an owned node. */
static void node_changed(struct list *list, struct blocks_cursor *c)
{
    const char *bytes = c->block->bytes;
    blocks_changed(&list->blocks, c, (uint32_t)lp_len(bytes), lp_count(bytes));
}

/* Before the element at `at`, or at the node's end (LP_NONE). */
static int node_insert(struct list *list, struct blocks_cursor *c, size_t at, struct slice text)
{
    struct block_lp e;
    if (blocks_own(&list->blocks, c)) return -ENOMEM;
    block_lp_open(&e, &list->blocks, c->block);
    if (lp_insert(&e.lp, at, text)) return -ENOMEM;
    node_changed(list, c);
    return 0;
}

/* Before the first element, without moving the others. */
static int node_push_front(struct list *list, struct blocks_cursor *c, struct slice text)
{
    if (text.len >= UINT32_MAX / 2 || blocks_own(&list->blocks, c)) return -ENOMEM;
    struct block *node = c->block;
    size_t len = lp_encoded_len(text);
    if (!block_front_grow(&list->blocks, node, len)) return -ENOMEM;
    lp_push_front(node->bytes, len, text);
    blocks_changed(&list->blocks, c, node->len + (uint32_t)len, node->count + 1);
    return 0;
}

static void node_pop_front(struct list *list, struct blocks_cursor *c)
{
    struct block *node = c->block;
    size_t len = lp_element_len(node->bytes, LP_HEADER);
    (void)lp_pop_front(node->bytes);
    block_front_shrink(node, len);
    blocks_changed(&list->blocks, c, node->len - (uint32_t)len, node->count - 1);
    if (node->len < node->room / 4) block_fit(&list->blocks, node);
}

int list_push_one(struct list *list, struct slice text, enum list_end end)
{
    struct blocks_cursor c;
    if (end == LIST_HEAD) blocks_first(&list->blocks, &c);
    else blocks_last(&list->blocks, &c);
    if (likely(list_node_allows(list, c.block, text.len)))
        return end == LIST_HEAD ? node_push_front(list, &c, text)
                                : node_insert(list, &c, LP_NONE, text);
    struct block_init init = node_of(list, text);
    if (!init.bytes) return -ENOMEM;
    int rc = end == LIST_HEAD ? blocks_prepend(&list->blocks, &init, &c)
                              : blocks_append(&list->blocks, &init, &c);
    if (rc) mem_free(init.bytes);
    return rc;
}

void list_node_delete(struct list *list, struct blocks_cursor *c, size_t at, uint32_t count)
{
    struct block *node = c->block;
    if (node_is_plain(node) || (count >= node->count && at == LP_HEADER)) {
        int rc = blocks_remove(&list->blocks, c);
        check(rc == 0);
        return;
    }
    if (at == LP_HEADER && count == 1) {
        node_pop_front(list, c);
        return;
    }
    struct block_lp e;
    block_lp_open(&e, &list->blocks, node);
    lp_delete(&e.lp, at, count);
    node_changed(list, c);
}

/* ---- splitting and merging ---- */

static bool may_merge(const struct list *list, const struct block *left, const struct block *right)
{
    if (!left || !right || node_is_plain(left) || node_is_plain(right)) return false;
    return !list_node_exceeds(list->fill, (size_t)left->len + right->len - LP_EMPTY_LEN,
                              (uint64_t)left->count + right->count);
}

/* The cursor's node and the next become one, if they fit. Cursors are void then. */
static void merge_with_next(struct list *list, const struct blocks_cursor *c)
{
    struct blocks *b = &list->blocks;
    struct blocks_cursor left, right = *c;
    if (!c->block) return;
    blocks_next(b, &right);
    if (!may_merge(list, c->block, right.block)) return;
    if (blocks_own(b, &right)) return;
    /* Owning may have copied nodes that both have above them. */
    left = right;
    blocks_prev(b, &left);
    if (blocks_own_path(b, &left)) return;
    struct block_lp e;
    block_lp_open(&e, b, right.block);
    if (lp_join_front(&e.lp, left.block->bytes)) return;
    node_changed(list, &right);
    int rc = blocks_remove(b, &left);
    check(rc == 0);
}

/* The node that is `steps` nodes after (before) the one with the element of this rank. */
static void node_near(const struct list *list, uint64_t rank, int steps, struct blocks_cursor *c)
{
    uint32_t in_node;
    blocks_at(&list->blocks, rank, c, &in_node);
    for (; steps > 0 && c->block; steps--) blocks_next(&list->blocks, c);
    for (; steps < 0 && c->block; steps++) blocks_prev(&list->blocks, c);
}

/* Around the cursor's node, in Redis' order. Merging does not change the rank of an element, so
 * that is what remembers the place. */
static void merge_around(struct list *list, struct blocks_cursor *c)
{
    static const int lefts[] = {-2, 1, -1, 0}; /* of the two that are tried */
    uint64_t rank = blocks_rank(&list->blocks, c);
    for (unsigned i = 0; i < ARRAY_COUNT(lefts); i++) {
        node_near(list, rank, lefts[i], c);
        merge_with_next(list, c);
    }
}

static size_t node_end(const struct block *node) { return lp_len(node->bytes) - 1; }

/* Elements before offset `cut`. */
static uint32_t count_before(const struct block *node, size_t cut)
{
    uint32_t count = 0;
    for (size_t at = LP_HEADER; at < cut; at += lp_element_len(node->bytes, at)) count++;
    return count;
}

/* The node is cut at an offset and a node of its own comes between: `middle`, or nothing if its
 * bytes are NULL. One of the halves stays, the other is new: the right one if `after`, else the
 * left one; `text`, if given, is pushed onto the new half where it meets the other. The cursor then
 * stands at the half that stays. Takes middle's bytes. */
static int split(struct list *list, struct blocks_cursor *c, size_t cut, bool after,
                 const struct slice *text, const struct block_init *middle)
{
    struct blocks *b = &list->blocks;
    struct lp half = {0};
    uint32_t left = count_before(c->block, cut), right = c->block->count - left;
    size_t from = after ? cut : LP_HEADER, to = after ? node_end(c->block) : cut;
    int rc = blocks_own(b, c);
    if (!rc) rc = copy_range(&half, c->block->bytes, from, to, after ? right : left);
    if (!rc && text) rc = lp_insert(&half, after ? LP_HEADER : LP_NONE, *text);
    if (rc) {
        mem_free(half.bytes);
        mem_free(middle ? middle->bytes : NULL);
        return -ENOMEM;
    }
    struct block_init init = packed_node(&half);
    rc = put_node_beside(list, c, after, &init);
    if (rc) {
        mem_free(middle ? middle->bytes : NULL);
        return rc;
    }
    if (middle) {
        rc = put_node_beside(list, c, !after, middle);
        if (rc) {
            rc = blocks_remove(b, c); /* of what has just been put in */
            check(rc == 0);
            if (after) {
                if (c->block) blocks_prev(b, c);
                else blocks_last(b, c);
            }
            return -ENOMEM;
        }
    }
    if (after) blocks_prev(b, c);
    else blocks_next(b, c);
    if (after) list_node_delete(list, c, cut, UINT32_MAX);
    else list_node_delete(list, c, LP_HEADER, left);
    return 0;
}

/* ---- in the middle ---- */

/* Offset behind the element. */
static size_t element_end(const struct block *node, size_t at)
{
    return at + lp_element_len(node->bytes, at);
}

/* At a full node's edge: into the neighbour, or into a node of its own. */
static int insert_at_edge(struct list *list, struct blocks_cursor *c, bool after, struct slice text)
{
    struct blocks_cursor beside = *c;
    if (after) blocks_next(&list->blocks, &beside);
    else blocks_prev(&list->blocks, &beside);
    if (list_node_allows(list, beside.block, text.len))
        return node_insert(list, &beside, after ? LP_HEADER : LP_NONE, text);
    struct block_init init = node_of(list, text);
    return put_node_beside(list, c, after, &init);
}

int list_insert_at(struct list *list, struct blocks_cursor *c, size_t at, bool after,
                   struct slice text)
{
    const struct block *node = c->block;
    bool edge = node_is_plain(node);
    size_t cut = 0;
    if (!edge) {
        cut = after ? element_end(node, at) : at;
        edge = cut == (after ? node_end(node) : LP_HEADER);
    }
    bool large = list_is_large(list->fill, text.len);
    if (large && edge) {
        struct block_init init = node_of(list, text);
        return put_node_beside(list, c, after, &init);
    }
    if (large) {
        struct block_init middle = node_of(list, text);
        return middle.bytes ? split(list, c, cut, after, NULL, &middle) : -ENOMEM;
    }
    if (list_node_allows(list, node, text.len)) return node_insert(list, c, cut, text);
    if (edge) return insert_at_edge(list, c, after, text);
    int rc = split(list, c, cut, after, &text, NULL);
    if (!rc) merge_around(list, c);
    return rc;
}

static int replace_plain(struct list *list, struct blocks_cursor *c, struct slice text)
{
    struct blocks *b = &list->blocks;
    if (list_is_large(list->fill, text.len)) {
        if (text.len >= UINT32_MAX || blocks_own(b, c)) return -ENOMEM;
        char *bytes = block_resize(b, c->block, text.len);
        if (!bytes) return -ENOMEM;
        memcpy(bytes, text.ptr, text.len);
        blocks_changed(b, c, (uint32_t)text.len, 1);
        return 0;
    }
    uint64_t rank = blocks_rank(b, c);
    if (blocks_own_path(b, c)) return -ENOMEM;
    int rc = insert_at_edge(list, c, true, text);
    if (rc) return rc;
    node_near(list, rank, 0, c);
    list_node_delete(list, c, 0, 1);
    return 0;
}

/* An element inside a node becomes a plain node; what was after it is split off. */
static int replace_by_large(struct list *list, struct blocks_cursor *c, size_t at,
                            struct slice text)
{
    struct block_init middle = node_of(list, text);
    if (!middle.bytes) return -ENOMEM;
    size_t end = element_end(c->block, at);
    int rc = blocks_own(&list->blocks, c);
    if (rc) {
        mem_free(middle.bytes);
    } else if (end == node_end(c->block)) {
        rc = put_node_beside(list, c, true, &middle);
        if (!rc) blocks_prev(&list->blocks, c);
    } else {
        rc = split(list, c, end, true, NULL, &middle);
    }
    if (rc) return rc;
    bool first = at == LP_HEADER;
    list_node_delete(list, c, at, 1);
    if (first) return 0;
    blocks_next(&list->blocks, c);
    merge_around(list, c);
    return 0;
}

int list_replace_at(struct list *list, struct blocks_cursor *c, size_t at, struct slice text)
{
    if (node_is_plain(c->block)) return replace_plain(list, c, text);
    if (list_is_large(list->fill, text.len)) return replace_by_large(list, c, at, text);
    struct block_lp e;
    if (blocks_own(&list->blocks, c)) return -ENOMEM;
    block_lp_open(&e, &list->blocks, c->block);
    if (lp_replace(&e.lp, at, text)) return -ENOMEM;
    node_changed(list, c);
    return 0;
}

/* ---- off and on again ---- */

static void end_cursor(const struct list *list, enum list_end end, struct blocks_cursor *c)
{
    if (end == LIST_HEAD) blocks_first(&list->blocks, c);
    else blocks_last(&list->blocks, c);
}

struct slice list_end_text(const struct block *node, enum list_end end, size_t *at,
                           char scratch[LP_NUMBER_LEN])
{
    *at = LP_HEADER;
    if (node_is_plain(node)) return slice_of(node->bytes, node->len);
    if (end == LIST_TAIL) *at = lp_last(node->bytes);
    return lp_text(node->bytes, *at, scratch);
}

int list_push_again(struct list *list, enum list_end end)
{
    struct blocks *b = &list->blocks;
    struct blocks_cursor c, beside;
    char scratch[LP_NUMBER_LEN];
    size_t at;
    end_cursor(list, end, &c);
    if (blocks_own(b, &c)) return -ENOMEM;
    struct slice text = list_end_text(c.block, end, &at, scratch);
    if (c.block->count == 1) {
        /* Its node goes, and the neighbour takes it if it can. */
        beside = c;
        if (end == LIST_HEAD) blocks_next(b, &beside);
        else blocks_prev(b, &beside);
        if (!list_node_allows(list, beside.block, text.len)) return 0;
        size_t to = end == LIST_HEAD ? LP_HEADER : LP_NONE;
        if (node_insert(list, &beside, to, text)) return -ENOMEM;
        end_cursor(list, end, &c);
    } else {
        struct block rest = *c.block;
        rest.len -= (uint32_t)lp_element_len(rest.bytes, at);
        rest.count--;
        if (list_node_allows(list, &rest, text.len)) return 0;
        struct block_init init = node_of(list, text);
        if (put_node_beside(list, &c, end == LIST_TAIL, &init)) return -ENOMEM;
        if (end == LIST_HEAD) blocks_next(b, &c);
        else blocks_prev(b, &c);
    }
    list_node_delete(list, &c, at, 1);
    return 0;
}
