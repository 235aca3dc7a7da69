/* Changing the sorted sequence: see ordered.c for nodes and invariants.
 *
 * An insert takes every block it needs before it changes anything; a removal that could save memory
 * by moving a leaf does without where there is none. A leaf that is full and is being filled from
 * one end (scores that only grow) is left full and a new one begun; else it is cut in half.
 * Thread: holder of the shard. */
#include <errno.h>

#include "ordered_impl.h"

/* ---- leaves ---- */

static struct leaf *leaf_new(struct ordered *o, uint32_t count)
{
    uint32_t cap = (count + LEAF_STEP - 1) / LEAF_STEP * LEAF_STEP;
    if (cap > ORDERED_LEAF_MAX) cap = ORDERED_LEAF_MAX;
    struct leaf *leaf = slab_alloc(o->slab, leaf_bytes(cap));
    if (!leaf) return NULL;
    o->bytes += leaf_bytes(cap);
    leaf->base = 0;
    leaf->shift = 48;
    leaf->count = 0;
    leaf->cap = (uint16_t)cap;
    return leaf;
}

static void leaf_free(struct ordered *o, struct leaf *leaf)
{
    o->bytes -= leaf_bytes(leaf->cap);
    slab_free(o->slab, leaf, leaf_bytes(leaf->cap));
}

/* Spreads the leaf's scores over the middle half of the tags: room on both sides. */
static void leaf_retag(struct leaf *leaf)
{
    uint64_t first = score_rank(slot_member(leaf->slots[0])->score);
    uint64_t last = score_rank(slot_member(leaf->slots[leaf->count - 1])->score);
    uint64_t span = (last - first) >> 15;
    leaf->shift = span ? (uint8_t)(64 - __builtin_clzll(span)) : 0;
    uint64_t room = (uint64_t)0x4000 << leaf->shift;
    leaf->base = first > room ? first - room : 0;
    for (uint32_t i = 0; i < leaf->count; i++) {
        leaf->slots[i] = leaf_slot(leaf, slot_member(leaf->slots[i]));
    }
}

/* Tags no longer tell its members apart, but others would. */
static bool leaf_cut_off(const struct leaf *leaf)
{
    uint64_t first = leaf->slots[0], last = leaf->slots[leaf->count - 1];
    if (slot_tag(first) != 0 && slot_tag(last) != TAG_MAX && slot_tag(first) != slot_tag(last))
        return false;
    return slot_member(first)->score < slot_member(last)->score;
}

/* Makes the node at this place of the path another one (the root where level is 0). */
static void set_child(struct ordered *o, const struct ordered_cursor *c, uint32_t level, void *node)
{
    if (level == 0) {
        o->root = node;
    } else {
        struct inner *parent = c->path[level - 1];
        parent->child[c->index[level - 1]] = node;
    }
}

/* The same leaf with room for `count` slots. False: no memory. */
static bool leaf_resize(struct ordered *o, struct ordered_cursor *c, uint32_t count)
{
    struct leaf *old = c->leaf, *leaf = leaf_new(o, count);
    if (!leaf) return false;
    leaf->base = old->base;
    leaf->shift = old->shift;
    leaf->count = old->count;
    memcpy(leaf->slots, old->slots, 8 * (size_t)old->count);
    leaf_free(o, old);
    set_child(o, c, o->height, leaf);
    c->leaf = leaf;
    return true;
}

/* ---- inner nodes ---- */

static struct ordered_member *node_first(const void *node, bool is_leaf)
{
    if (is_leaf) return slot_member(((const struct leaf *)node)->slots[0]);
    return ((const struct inner *)node)->first[0];
}

static uint64_t node_items(const void *node, bool is_leaf)
{
    if (is_leaf) return ((const struct leaf *)node)->count;
    const struct inner *inner = node;
    uint64_t items = 0;
    for (uint32_t i = 0; i < inner->count; i++) items += inner->items[i];
    return items;
}

static void inner_move(struct inner *to, uint32_t at, const struct inner *from, uint32_t begin,
                       uint32_t count)
{
    memmove(to->score + at, from->score + begin, count * sizeof(to->score[0]));
    memmove(to->first + at, from->first + begin, count * sizeof(to->first[0]));
    memmove(to->items + at, from->items + begin, count * sizeof(to->items[0]));
    memmove(to->child + at, from->child + begin, count * sizeof(to->child[0]));
}

/* Writes what entry i says about its child. */
static void inner_describe(struct inner *inner, uint32_t i, void *child, bool is_leaf)
{
    struct ordered_member *first = node_first(child, is_leaf);
    inner->child[i] = child;
    inner->first[i] = first;
    inner->score[i] = first->score;
    inner->items[i] = node_items(child, is_leaf);
}

static void inner_insert(struct inner *inner, uint32_t at, void *child, bool is_leaf)
{
    dcheck(inner->count < INNER_MAX);
    inner_move(inner, at + 1, inner, at, inner->count - at);
    inner->count++;
    inner_describe(inner, at, child, is_leaf);
}

static void inner_remove(struct inner *inner, uint32_t at)
{
    inner->count--;
    inner_move(inner, at, inner, at + 1, inner->count - at);
}

/* The leaf's least member may be another: entries along the path name it. */
static void path_refirst(const struct ordered *o, const struct ordered_cursor *c,
                         struct ordered_member *first)
{
    for (uint32_t level = o->height; level > 0; level--) {
        struct inner *inner = c->path[level - 1];
        uint32_t i = c->index[level - 1];
        inner->first[i] = first;
        inner->score[i] = first->score;
        if (i > 0) break;
    }
}

static void path_count(const struct ordered *o, const struct ordered_cursor *c, int64_t more)
{
    for (uint32_t level = 0; level < o->height; level++) {
        struct inner *inner = c->path[level];
        inner->items[c->index[level]] += (uint64_t)more;
    }
}

/* ---- inserting ---- */

static void leaf_put(struct leaf *leaf, uint32_t at, struct ordered_member *m)
{
    dcheck(leaf->count < leaf->cap);
    memmove(leaf->slots + at + 1, leaf->slots + at, 8 * (size_t)(leaf->count - at));
    leaf->slots[at] = leaf_slot(leaf, m);
    leaf->count++;
}

/* Blocks that a split takes: two leaves, an inner node per full level, and a root. */
struct spare {
    struct leaf *left, *right;
    struct inner *inner[ORDERED_HEIGHT_MAX + 1];
    uint32_t inners, used;
};

static void spare_free(struct ordered *o, struct spare *s)
{
    if (s->left) leaf_free(o, s->left);
    if (s->right) leaf_free(o, s->right);
    for (uint32_t i = s->used; i < s->inners; i++) {
        o->bytes -= sizeof(struct inner);
        slab_free(o->slab, s->inner[i], sizeof(struct inner));
    }
}

static struct inner *spare_inner(struct spare *s) { return s->inner[s->used++]; }

/* `left` slots stay, the rest and one more go right. All of them left: that leaf is not copied. */
static bool spare_take(struct ordered *o, const struct ordered_cursor *c, uint32_t left,
                       struct spare *s)
{
    *s = (struct spare){0};
    uint32_t count = ((const struct leaf *)c->leaf)->count, level = o->height;
    while (level > 0 && ((const struct inner *)c->path[level - 1])->count == INNER_MAX) level--;
    uint32_t inners = o->height - level + (level == 0);
    if (o->height + 1 >= ORDERED_HEIGHT_MAX && level == 0) return false;
    s->right = leaf_new(o, count - left + 1);
    bool ok = s->right != NULL;
    if (ok && left > 0 && left < count) ok = (s->left = leaf_new(o, left + 1)) != NULL;
    for (uint32_t i = 0; ok && i < inners; i++) {
        struct inner *inner = slab_alloc(o->slab, sizeof(*inner));
        if (!inner) {
            ok = false;
            break;
        }
        o->bytes += sizeof(*inner);
        s->inner[s->inners++] = inner;
    }
    if (!ok) spare_free(o, s);
    return ok;
}

/* `node` comes to stand right of the path's node at `level` (counted from the root; o->height: the
 * leaves), whose own entry is brought up to date. */
static void put_right_of(struct ordered *o, struct ordered_cursor *c, uint32_t level, void *node,
                         struct spare *s)
{
    bool is_leaf = level == o->height;
    while (level > 0) {
        struct inner *parent = c->path[level - 1];
        uint32_t i = c->index[level - 1];
        inner_describe(parent, i, parent->child[i], is_leaf);
        if (parent->count < INNER_MAX) {
            inner_insert(parent, i + 1, node, is_leaf);
            for (uint32_t up = level - 1; up > 0; up--) {
                struct inner *above = c->path[up - 1];
                inner_describe(above, c->index[up - 1], c->path[up], false);
            }
            return;
        }
        /* Filled from the right: what is there stays together. */
        struct inner *right = spare_inner(s);
        uint32_t keep = i + 1 == INNER_MAX ? INNER_MAX : INNER_MAX / 2 + 1;
        right->count = INNER_MAX - keep;
        inner_move(right, 0, parent, keep, right->count);
        parent->count = keep;
        if (i + 1 <= keep && keep < INNER_MAX) inner_insert(parent, i + 1, node, is_leaf);
        else inner_insert(right, i + 1 - keep, node, is_leaf);
        node = right;
        is_leaf = false;
        level--;
    }
    struct inner *root = spare_inner(s);
    root->count = 2;
    inner_describe(root, 0, o->root, is_leaf);
    inner_describe(root, 1, node, is_leaf);
    o->root = root;
    o->height++;
}

static bool at_edge(const struct ordered *o, const struct ordered_cursor *c, bool right)
{
    for (uint32_t level = 0; level < o->height; level++) {
        const struct inner *inner = c->path[level];
        if (c->index[level] != (right ? inner->count - 1 : 0)) return false;
    }
    return c->at == (right ? ((const struct leaf *)c->leaf)->count : 0u);
}

/* Cuts the full leaf and puts the member into one of the parts. */
static int leaf_split(struct ordered *o, struct ordered_cursor *c, struct ordered_member *m)
{
    struct leaf *old = c->leaf, *leaf = old;
    uint32_t keep = old->count / 2;
    if (at_edge(o, c, true)) keep = old->count;
    else if (at_edge(o, c, false)) keep = 1;
    struct spare s;
    if (!spare_take(o, c, keep, &s)) return -ENOMEM;
    struct leaf *right = s.right;
    right->count = (uint16_t)(old->count - keep);
    memcpy(right->slots, old->slots + keep, 8 * (size_t)right->count);
    right->base = old->base;
    right->shift = old->shift;
    if (s.left) {
        leaf = s.left;
        leaf->base = old->base;
        leaf->shift = old->shift;
        leaf->count = (uint16_t)keep;
        memcpy(leaf->slots, old->slots, 8 * (size_t)keep);
        leaf_free(o, old);
        set_child(o, c, o->height, leaf);
    }
    if (s.left && c->at <= keep) leaf_put(leaf, c->at, m);
    else leaf_put(right, c->at - keep, m);
    leaf_retag(right);
    if (s.left) leaf_retag(leaf);
    s.left = s.right = NULL;
    put_right_of(o, c, o->height, right, &s);
    dcheck(s.used == s.inners);
    o->count++;
    return 0;
}

static int insert_at(struct ordered *o, struct ordered_cursor *c, struct ordered_member *m)
{
    struct leaf *leaf = c->leaf;
    if (unlikely(leaf->count == ORDERED_LEAF_MAX)) return leaf_split(o, c, m);
    if (leaf->count == leaf->cap) {
        if (!leaf_resize(o, c, leaf->count + 1u)) return -ENOMEM;
        leaf = c->leaf;
        if (leaf_cut_off(leaf)) leaf_retag(leaf);
    }
    leaf_put(leaf, c->at, m);
    path_count(o, c, 1);
    if (c->at == 0) path_refirst(o, c, m);
    o->count++;
    return 0;
}

static int insert_only(struct ordered *o, struct ordered_member *m)
{
    struct leaf *leaf = leaf_new(o, 1);
    if (!leaf) return -ENOMEM;
    leaf_put(leaf, 0, m);
    leaf_retag(leaf);
    o->root = leaf;
    o->count = 1;
    return 0;
}

int ordered_insert(struct ordered *o, struct ordered_member *m)
{
    if (unlikely(!o->root)) return insert_only(o, m);
    struct ordered_bound bound = {
        .by = ORDERED_BY_BOTH, .score = m->score, .text = ordered_text(m)};
    struct ordered_cursor c;
    ordered_descend(o, &bound, &c, NULL);
    return insert_at(o, &c, m);
}

int ordered_append(struct ordered *o, struct ordered_member *m)
{
    if (unlikely(!o->root)) return insert_only(o, m);
    struct ordered_cursor c;
    (void)ordered_at(o, o->count - 1, &c);
    c.at++;
    return insert_at(o, &c, m);
}

static bool sorts_before(const struct ordered_member *m, double score, struct slice text)
{
    if (m->score < score) return true;
    return !(m->score > score) && slice_compare(ordered_text(m), text) < 0;
}

bool ordered_rescore(struct ordered *o, struct ordered_member *m, double score)
{
    struct slice text = ordered_text(m);
    struct ordered_bound bound = {.by = ORDERED_BY_BOTH, .score = m->score, .text = text};
    struct ordered_cursor c, beside;
    ordered_descend(o, &bound, &c, NULL);
    struct leaf *leaf = c.leaf;
    dcheck(c.at < leaf->count && slot_member(leaf->slots[c.at]) == m);
    beside = c;
    const struct ordered_member *other = ordered_prev(o, &beside);
    if (other && !sorts_before(other, score, text)) return false;
    beside = c;
    other = ordered_next(o, &beside);
    if (other && sorts_before(other, score, text)) return false;
    m->score = score;
    leaf->slots[c.at] = leaf_slot(leaf, m);
    if (c.at == 0) path_refirst(o, &c, m);
    return true;
}

/* ---- moving ---- */

void ordered_replace(struct ordered *o, const struct ordered_member *m,
                     struct ordered_member *copy)
{
    struct ordered_bound bound = {
        .by = ORDERED_BY_BOTH, .score = m->score, .text = ordered_text(m)};
    struct ordered_cursor c;
    ordered_descend(o, &bound, &c, NULL);
    struct leaf *leaf = c.leaf;
    check(c.at < leaf->count && slot_member(leaf->slots[c.at]) == m);
    leaf->slots[c.at] = leaf_slot(leaf, copy);
    if (c.at == 0) path_refirst(o, &c, copy);
}

size_t ordered_evacuate(struct ordered *o, uint64_t *rank)
{
    struct ordered_cursor c;
    (void)ordered_at(o, *rank, &c);
    struct leaf *leaf = c.leaf;
    size_t passed = leaf->count - c.at;
    if (slab_evacuates(o->slab, leaf)) (void)leaf_resize(o, &c, leaf->count);
    *rank += passed;
    return passed;
}

/* ---- removing ---- */

/* The two leaves become one. False: no memory. */
static bool merge_leaves(struct ordered *o, struct inner *parent, uint32_t i)
{
    struct leaf *left = parent->child[i], *right = parent->child[i + 1];
    struct leaf *leaf = leaf_new(o, (uint32_t)left->count + right->count);
    if (!leaf) return false;
    leaf->count = (uint16_t)(left->count + right->count);
    memcpy(leaf->slots, left->slots, 8 * (size_t)left->count);
    memcpy(leaf->slots + left->count, right->slots, 8 * (size_t)right->count);
    leaf_retag(leaf);
    leaf_free(o, left);
    leaf_free(o, right);
    inner_describe(parent, i, leaf, true);
    inner_remove(parent, i + 1);
    return true;
}

static void inner_free(struct ordered *o, struct inner *inner)
{
    o->bytes -= sizeof(*inner);
    slab_free(o->slab, inner, sizeof(*inner));
}

static void merge_inners(struct ordered *o, struct inner *parent, uint32_t i)
{
    struct inner *left = parent->child[i], *right = parent->child[i + 1];
    inner_move(left, left->count, right, 0, right->count);
    left->count += right->count;
    inner_free(o, right);
    inner_describe(parent, i, left, false);
    inner_remove(parent, i + 1);
}

static uint32_t node_len(const void *node, bool is_leaf)
{
    return is_leaf ? ((const struct leaf *)node)->count : ((const struct inner *)node)->count;
}

/* Child i of the parent has become sparse: it joins a neighbour that has room. */
static void join(struct ordered *o, struct inner *parent, uint32_t i, bool is_leaf)
{
    uint32_t max = is_leaf ? ORDERED_LEAF_MAX : INNER_MAX;
    uint32_t len = node_len(parent->child[i], is_leaf);
    if (len >= max / 4) return;
    for (int side = 0; side < 2; side++) {
        if (side == 0 ? i == 0 : i + 1 >= parent->count) continue;
        uint32_t left = side == 0 ? i - 1 : i, other = side == 0 ? i - 1 : i + 1;
        if (len + node_len(parent->child[other], is_leaf) > max * 3 / 4) continue;
        if (is_leaf) (void)merge_leaves(o, parent, left);
        else merge_inners(o, parent, left);
        return;
    }
}

/* Puts the path in order from the given level up, after its node has lost something or has gone. */
static void path_shrink(struct ordered *o, struct ordered_cursor *c, bool gone)
{
    for (uint32_t level = o->height; level > 0; level--) {
        struct inner *parent = c->path[level - 1];
        uint32_t i = c->index[level - 1];
        bool is_leaf = level == o->height;
        if (gone) inner_remove(parent, i);
        else join(o, parent, i, is_leaf);
        gone = parent->count == 0;
        if (gone) {
            inner_free(o, parent);
        } else if (level > 1) {
            struct inner *above = c->path[level - 2];
            inner_describe(above, c->index[level - 2], parent, false);
        }
    }
    if (gone) {
        ordered_init(o, o->slab);
        return;
    }
    while (o->height > 0 && ((struct inner *)o->root)->count == 1) {
        struct inner *root = o->root;
        o->root = root->child[0];
        o->height--;
        inner_free(o, root);
    }
}

static void remove_at(struct ordered *o, struct ordered_cursor *c)
{
    struct leaf *leaf = c->leaf;
    leaf->count--;
    memmove(leaf->slots + c->at, leaf->slots + c->at + 1, 8 * (size_t)(leaf->count - c->at));
    o->count--;
    if (unlikely(leaf->count == 0)) {
        leaf_free(o, leaf);
        path_shrink(o, c, true);
        return;
    }
    if (leaf->cap >= leaf->count + 2 * LEAF_STEP && leaf_resize(o, c, leaf->count)) leaf = c->leaf;
    if (unlikely(leaf->count < ORDERED_LEAF_MAX / 4) && o->height > 0) {
        struct inner *parent = c->path[o->height - 1];
        inner_describe(parent, c->index[o->height - 1], leaf, true);
        path_shrink(o, c, false);
        return;
    }
    path_count(o, c, -1);
    if (c->at == 0) path_refirst(o, c, slot_member(leaf->slots[0]));
}

void ordered_remove(struct ordered *o, const struct ordered_member *m)
{
    struct ordered_bound bound = {
        .by = ORDERED_BY_BOTH, .score = m->score, .text = ordered_text(m)};
    struct ordered_cursor c;
    ordered_descend(o, &bound, &c, NULL);
    dcheck(slot_member(((struct leaf *)c.leaf)->slots[c.at]) == m);
    remove_at(o, &c);
}

struct ordered_member *ordered_take_at(struct ordered *o, uint64_t rank)
{
    struct ordered_cursor c;
    struct ordered_member *m = ordered_at(o, rank, &c);
    remove_at(o, &c);
    return m;
}

/* ---- freeing ---- */

bool ordered_free_step(struct ordered *o, size_t budget, size_t *done)
{
    *done = 0;
    while (o->root && *done < budget) {
        struct inner *path[ORDERED_HEIGHT_MAX];
        void *node = o->root;
        for (uint32_t level = 0; level < o->height; level++) {
            path[level] = node;
            node = path[level]->child[path[level]->count - 1];
        }
        *done += ((struct leaf *)node)->count;
        leaf_free(o, node);
        uint32_t level = o->height;
        for (; level > 0 && --path[level - 1]->count == 0; level--) inner_free(o, path[level - 1]);
        if (level == 0) o->root = NULL;
    }
    if (!o->root) o->count = 0;
    return o->root == NULL;
}
