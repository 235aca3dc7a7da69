/* Sequences of blocks: what changes the tree.
 *
 * An insertion first makes room from the root down to the leaf: shared nodes are copied, full ones
 * split, small ones grown. Each of these steps leaves a whole tree that shows the same sequence and
 * a cursor that stands at the same block, so memory may run out between any two of them. Only then
 * is the block put in, which cannot fail.
 *
 * A full node that is appended to gives away its last child only, one that is prepended to keeps
 * its first only: sequences that grow at an end have full nodes.
 *
 * A removal may fail only while copying the path (a frozen root shows it); joining a sparse node
 * with its neighbour is left out where memory does not allow the copy.
 * Thread: holder of the shard. */
#include "blocks_impl.h"

/* What leads to the path's node (or, at level == height, to the block). */
static void set_child(struct blocks *b, struct blocks_cursor *c, unsigned level, void *child)
{
    if (level == 0) b->root = child;
    else node_children(c->path[level - 1])[c->index[level - 1]] = child;
    if (level < b->height) c->path[level] = child;
    else c->block = child;
}

/* The path's node is replaced by a copy with room for cap; those above are owned. */
static int move_node(struct blocks *b, struct blocks_cursor *c, unsigned level, unsigned cap)
{
    struct blocks_node *old = c->path[level];
    struct blocks_node *n = node_copy(b, old, cap);
    if (!n) return -ENOMEM;
    set_child(b, c, level, n);
    node_drop(b, old);
    return 0;
}

int blocks_own_path(struct blocks *b, struct blocks_cursor *c)
{
    if (likely(!b->frozen)) return 0;
    for (unsigned level = 0; level < b->height; level++) {
        struct blocks_node *n = c->path[level];
        if (blocks_shared(b, n->epoch) && move_node(b, c, level, n->cap)) return -ENOMEM;
    }
    return 0;
}

int blocks_own(struct blocks *b, struct blocks_cursor *c)
{
    if (blocks_own_path(b, c)) return -ENOMEM;
    struct block *old = c->block;
    if (likely(!blocks_shared(b, old->epoch))) return 0;
    struct block *copy = block_copy(b, old);
    if (!copy) return -ENOMEM;
    set_child(b, c, b->height, copy);
    block_drop(b, old);
    return 0;
}

static void path_add_weight(struct blocks *b, struct blocks_cursor *c, uint64_t more)
{
    b->count += more;
    for (unsigned level = 0; level < b->height; level++)
        node_weights(c->path[level])[c->index[level]] += more;
}

void blocks_changed(struct blocks *b, struct blocks_cursor *c, uint32_t len, uint32_t count)
{
    dcheck(!blocks_shared(b, c->block->epoch) && c->block->front + len <= c->block->room);
    uint32_t before = c->block->count;
    c->block->len = len;
    if (before == count) return;
    c->block->count = count;
    path_add_weight(b, c, (uint64_t)count - before);
}

/* First keys of the nodes along the path, as their parents know them. */
static void path_set_keys(struct blocks_cursor *c, unsigned level)
{
    for (; level > 0; level--)
        node_keys(c->path[level - 1])[c->index[level - 1]] = node_keys(c->path[level])[0];
}

/* ---- children of one node ---- */

static void child_insert(struct blocks_node *n, unsigned at, void *child, uint64_t weight,
                         struct blocks_key key)
{
    dcheck(n->count < n->cap && at <= n->count);
    size_t tail = n->count - at;
    memmove(node_children(n) + at + 1, node_children(n) + at, tail * sizeof(void *));
    memmove(node_weights(n) + at + 1, node_weights(n) + at, tail * sizeof(uint64_t));
    memmove(node_keys(n) + at + 1, node_keys(n) + at, tail * sizeof(struct blocks_key));
    node_children(n)[at] = child;
    node_weights(n)[at] = weight;
    node_keys(n)[at] = key;
    n->count++;
}

static void child_remove(struct blocks_node *n, unsigned at)
{
    size_t tail = n->count - at - 1u;
    memmove(node_children(n) + at, node_children(n) + at + 1, tail * sizeof(void *));
    memmove(node_weights(n) + at, node_weights(n) + at + 1, tail * sizeof(uint64_t));
    memmove(node_keys(n) + at, node_keys(n) + at + 1, tail * sizeof(struct blocks_key));
    n->count--;
}

/* Children from `at` on go to the end of `to`, which has room. */
static void children_move(struct blocks_node *to, struct blocks_node *from, unsigned at)
{
    size_t count = from->count - at;
    dcheck(to->count + count <= to->cap);
    memcpy(node_children(to) + to->count, node_children(from) + at, count * sizeof(void *));
    memcpy(node_weights(to) + to->count, node_weights(from) + at, count * sizeof(uint64_t));
    memcpy(node_keys(to) + to->count, node_keys(from) + at, count * sizeof(struct blocks_key));
    to->count = (uint8_t)(to->count + count);
    from->count = (uint8_t)at;
}

static uint64_t node_weight(const struct blocks_node *n)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < n->count; i++) sum += node_weights(n)[i];
    return sum;
}

/* ---- room ---- */

static unsigned cap_above(unsigned count)
{
    unsigned cap = NODE_CAP_MIN;
    while (cap < count) cap = cap * 2 + 1;
    return cap;
}

/* A node above the root with the root as its only child. It gets a second one at once. */
static int add_level(struct blocks *b, struct blocks_cursor *c)
{
    check(b->height < BLOCKS_HEIGHT_MAX);
    struct blocks_node *n = node_new(b, NODE_CAP_MIN);
    if (!n) return -ENOMEM;
    struct blocks_key key = b->height ? node_keys(b->root)[0] : c->block->key;
    child_insert(n, 0, b->root, b->count, key);
    b->root = n;
    b->height++;
    memmove(c->path + 1, c->path, (b->height - 1u) * sizeof(c->path[0]));
    memmove(c->index + 1, c->index, (b->height - 1u) * sizeof(c->index[0]));
    c->path[0] = n;
    c->index[0] = 0;
    return 0;
}

/* Splits the full node at this level; its parent has room. Where the cursor goes on depends on its
 * index, and what it inserts behind the last child goes to the right. */
static int split_node(struct blocks *b, struct blocks_cursor *c, unsigned level, bool after)
{
    struct blocks_node *left = c->path[level], *parent = c->path[level - 1];
    unsigned count = left->count, index = c->index[level];
    unsigned at = count / 2;
    if (index == 0 && !after) at = 1;
    if (index == count - 1 && after) at = count - 1;
    struct blocks_node *right = node_new(b, cap_above(count - at + 1));
    if (!right) return -ENOMEM;
    children_move(right, left, at);
    uint64_t weight = node_weight(right);
    node_weights(parent)[c->index[level - 1]] -= weight;
    child_insert(parent, c->index[level - 1] + 1u, right, weight, node_keys(right)[0]);
    if (index >= at) {
        c->path[level] = right;
        c->index[level] = (uint8_t)(index - at);
        c->index[level - 1]++;
    }
    return 0;
}

/* A root that got a parent but no sibling, because memory ran out between the two. */
static void drop_level(struct blocks *b, struct blocks_cursor *c)
{
    struct blocks_node *old = b->root;
    b->root = node_children(old)[0];
    b->height--;
    memmove(c->path, c->path + 1, b->height * sizeof(c->path[0]));
    memmove(c->index, c->index + 1, b->height * sizeof(c->index[0]));
    node_drop(b, old);
}

/* Owns the path and makes room for one more child in every node of it. */
static int make_room(struct blocks *b, struct blocks_cursor *c, bool after)
{
    if (blocks_own_path(b, c)) return -ENOMEM;
    if (b->height == 0 || c->path[0]->count == NODE_CAP_MAX) {
        if (add_level(b, c)) return -ENOMEM;
    }
    for (unsigned level = 0; level < b->height; level++) {
        struct blocks_node *n = c->path[level];
        int rc = 0;
        if (n->count == NODE_CAP_MAX) rc = split_node(b, c, level, after);
        else if (n->count == n->cap) rc = move_node(b, c, level, cap_above(n->count + 1u));
        if (rc) {
            if (c->path[0]->count == 1) drop_level(b, c);
            return -ENOMEM;
        }
    }
    return 0;
}

/* ---- inserting ---- */

static int insert_beside(struct blocks *b, struct blocks_cursor *c, const struct block_init *init,
                         bool after)
{
    struct block *block = block_new(b, init);
    if (!block) return -ENOMEM;
    if (make_room(b, c, after)) {
        /* The bytes stay the caller's. */
        b->bytes -= mem_usable(block) + block->room;
        mem_free(block);
        return -ENOMEM;
    }
    unsigned leaf = b->height - 1u;
    unsigned at = c->index[leaf] + (after ? 1u : 0u);
    child_insert(c->path[leaf], at, block, 0, block->key);
    c->index[leaf] = (uint8_t)at;
    c->block = block;
    path_add_weight(b, c, block->count);
    if (at == 0) path_set_keys(c, leaf);
    b->blocks++;
    return 0;
}

static int insert_first(struct blocks *b, struct blocks_cursor *c, const struct block_init *init)
{
    struct block *block = block_new(b, init);
    if (!block) return -ENOMEM;
    b->root = block;
    b->height = 0;
    b->blocks = 1;
    b->count = block->count;
    c->block = block;
    return 0;
}

int blocks_append(struct blocks *b, const struct block_init *block, struct blocks_cursor *c)
{
    if (!b->root) return insert_first(b, c, block);
    blocks_last(b, c);
    return insert_beside(b, c, block, true);
}

int blocks_prepend(struct blocks *b, const struct block_init *block, struct blocks_cursor *c)
{
    if (!b->root) return insert_first(b, c, block);
    blocks_first(b, c);
    return insert_beside(b, c, block, false);
}

int blocks_insert_before(struct blocks *b, struct blocks_cursor *c, const struct block_init *block)
{
    return insert_beside(b, c, block, false);
}

int blocks_insert_after(struct blocks *b, struct blocks_cursor *c, const struct block_init *block)
{
    return insert_beside(b, c, block, true);
}

/* ---- removing ---- */

/* The right one of two siblings goes into the left one. False: there is no memory for it. */
static bool join(struct blocks *b, struct blocks_node *parent, unsigned left_at)
{
    void **children = node_children(parent);
    struct blocks_node *left = children[left_at], *right = children[left_at + 1];
    unsigned count = (unsigned)left->count + right->count;
    if (blocks_shared(b, left->epoch) || left->cap < count) {
        struct blocks_node *n = node_copy(b, left, cap_above(count));
        if (!n) return false;
        children[left_at] = n;
        node_drop(b, left);
        left = n;
    }
    /* A shared node keeps what it has: the frozen root shows it. */
    unsigned keep = right->count;
    children_move(left, right, 0);
    if (blocks_shared(b, right->epoch)) right->count = (uint8_t)keep;
    node_weights(parent)[left_at] += node_weights(parent)[left_at + 1];
    child_remove(parent, left_at + 1);
    node_drop(b, right);
    return true;
}

/* Joins the path's node with a neighbour if the two are sparse. Its index may be past its end. */
static void join_sparse(struct blocks *b, struct blocks_cursor *c, unsigned level)
{
    struct blocks_node *n = c->path[level], *parent = c->path[level - 1];
    unsigned at = c->index[level - 1];
    if (n->count >= NODE_SPARSE) return;
    struct blocks_node *next = at + 1u < parent->count ? node_children(parent)[at + 1] : NULL;
    struct blocks_node *prev = at > 0 ? node_children(parent)[at - 1] : NULL;
    if (next && (unsigned)next->count + n->count <= NODE_JOINED) {
        (void)join(b, parent, at);
        c->path[level] = node_children(parent)[at];
    } else if (prev && (unsigned)prev->count + n->count <= NODE_JOINED) {
        unsigned before = prev->count;
        if (!join(b, parent, at - 1)) return;
        c->index[level - 1]--;
        c->path[level] = node_children(parent)[at - 1];
        c->index[level] = (uint8_t)(c->index[level] + before);
    }
}

static void remove_last_block(struct blocks *b, struct blocks_cursor *c)
{
    block_drop(b, c->block);
    b->root = NULL;
    b->blocks = b->count = 0;
    b->height = 0;
    c->block = NULL;
}

int blocks_remove(struct blocks *b, struct blocks_cursor *c)
{
    if (blocks_own_path(b, c)) return -ENOMEM;
    if (b->height == 0) {
        remove_last_block(b, c);
        return 0;
    }
    path_add_weight(b, c, (uint64_t)0 - c->block->count);
    block_drop(b, c->block);
    b->blocks--;
    unsigned level = b->height - 1u;
    child_remove(c->path[level], c->index[level]);
    /* The root has two children or more, so this ends above it at the latest. */
    while (c->path[level]->count == 0) {
        node_drop(b, c->path[level]);
        level--;
        child_remove(c->path[level], c->index[level]);
    }
    if (c->index[level] == 0) path_set_keys(c, level);
    for (unsigned l = level; l > 0; l--) join_sparse(b, c, l);
    blocks_settle(c, level, b->height);
    while (b->height > 0 && ((struct blocks_node *)b->root)->count == 1) drop_level(b, c);
    return 0;
}
