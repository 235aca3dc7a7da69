/* A B+-tree over (score, text) whose leaves are as long as what is in them.
 *
 *   inner   31 children: number of members, score and address of the least member, node
 *   leaf    up to 62 slots of 8 bytes: 16-bit tag | 48-bit address of the member's block
 *
 * A member's score lies in its block, where the index by member finds it too. A leaf that holds
 * addresses alone would have to visit six of them for each search; one that repeats the score
 * would cost 8 bytes more per member. The upper 16 bits of an address are free, so each slot has a
 * tag there: the score's place in the leaf's own range, (rank(score) - base) >> shift, cut off at
 * both ends. Tags never decrease along a leaf whatever base and shift are, so a search halves by
 * tags and visits members only where tags are equal. A leaf that splits, merges or grows while its
 * ends are cut off gets a new base and shift.
 *
 * Leaves are slab blocks of just the slots they need (in steps of four), so a leaf split in two
 * wastes nothing, and no siblings have to be kept filled: the tree costs 9.8 bytes per member when
 * a million come in random order, 8.8 when they come sorted. Leaves of at most 30, 62, 94, 124
 * slots take 11.6, 9.8, 9.2, 8.9 bytes; inserts and ranks take the same time within 10 %, walks of
 * 100 go from 2.5 to 1.8 us (bench/micro/zset.c). 62 it is: an insert moves 250 bytes on average.
 *
 * Invariants: no node is empty; inner entries name exactly the least member of their child and how
 * many there are; leaves hang at one depth. Sparse neighbours are merged when they fit into three
 * quarters, so height stays logarithmic without ever having to allocate in a removal.
 *
 * Leaves are not linked: a cursor keeps its path, and a leaf that moves has one pointer to it.
 * Thread: holder of the shard. */
#include "ordered_impl.h"

void ordered_member_init(struct ordered_member *m, double score, struct slice text)
{
    m->score = score;
    size_t head = 1;
    if (likely(text.len < 255)) {
        m->bytes[0] = (uint8_t)text.len;
    } else {
        uint64_t len = text.len;
        m->bytes[0] = 255;
        memcpy(m->bytes + 1, &len, sizeof(len));
        head = 9;
    }
    if (text.len) memcpy(m->bytes + head, text.ptr, text.len);
}

void ordered_init(struct ordered *o, struct slab *slab) { *o = (struct ordered){.slab = slab}; }

/* ---- searching ---- */

/* The member lies left of the bound. Scores of equal tag or separator are compared in full. */
static bool lies_left(const struct ordered_bound *b, double score, const struct ordered_member *m)
{
    if (b->by != ORDERED_BY_TEXT) {
        if (score < b->score) return true;
        if (score > b->score) return false;
        if (b->by == ORDERED_BY_SCORE) return b->after;
    }
    int order = slice_compare(ordered_text(m), b->text);
    return order < 0 || (order == 0 && b->after);
}

/* Number of children whose least member lies left. */
static uint32_t inner_find(const struct inner *node, const struct ordered_bound *b)
{
    uint32_t low = 0, high = node->count;
    if (b->by != ORDERED_BY_TEXT) {
        high = 0;
        for (uint32_t i = 0; i < node->count; i++) {
            low += node->score[i] < b->score;
            high += node->score[i] <= b->score;
        }
        if (b->by == ORDERED_BY_SCORE) return b->after ? high : low;
    }
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (lies_left(b, node->score[middle], node->first[middle])) low = middle + 1;
        else high = middle;
    }
    return low;
}

/* Number of slots below `limit`. */
static uint32_t slots_below(const uint64_t *slots, uint32_t count, uint64_t limit)
{
    const uint64_t *at = slots;
    while (count > 1) {
        uint32_t half = count / 2;
        at += at[half - 1] < limit ? half : 0;
        count -= half;
    }
    return (uint32_t)(at - slots) + (count == 1 && *at < limit);
}

static uint32_t leaf_find(const struct leaf *leaf, const struct ordered_bound *b)
{
    uint32_t low = 0, high = leaf->count;
    if (b->by != ORDERED_BY_TEXT) {
        uint64_t tag = leaf_tag(leaf, b->score);
        low = slots_below(leaf->slots, leaf->count, tag << TAG_SHIFT);
        if (tag < TAG_MAX) {
            high = low + slots_below(leaf->slots + low, leaf->count - low, (tag + 1) << TAG_SHIFT);
        }
    }
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        const struct ordered_member *m = slot_member(leaf->slots[middle]);
        if (lies_left(b, m->score, m)) low = middle + 1;
        else high = middle;
    }
    return low;
}

void ordered_descend(const struct ordered *o, const struct ordered_bound *bound,
                     struct ordered_cursor *c, uint64_t *rank)
{
    void *node = o->root;
    uint64_t before = 0;
    /* A member that is the least of its child is in there, not behind the child before. */
    struct ordered_bound by_first = *bound;
    if (bound->by == ORDERED_BY_BOTH) by_first.after = true;
    for (uint32_t level = 0; level < o->height; level++) {
        struct inner *inner = node;
        uint32_t i = inner_find(inner, &by_first);
        if (i > 0) i--;
        if (rank) {
            for (uint32_t k = 0; k < i; k++) before += inner->items[k];
        }
        c->path[level] = inner;
        c->index[level] = (uint8_t)i;
        node = inner->child[i];
    }
    c->leaf = node;
    c->at = leaf_find(node, bound);
    if (rank) *rank = before + c->at;
}

uint64_t ordered_rank(const struct ordered *o, const struct ordered_bound *bound)
{
    struct ordered_cursor c;
    uint64_t rank = 0;
    if (o->root) ordered_descend(o, bound, &c, &rank);
    return rank;
}

uint64_t ordered_rank_of(const struct ordered *o, const struct ordered_member *m)
{
    struct ordered_bound bound = {
        .by = ORDERED_BY_BOTH, .score = m->score, .text = ordered_text(m)};
    return ordered_rank(o, &bound);
}

/* ---- walking ---- */

/* Members lie anywhere: the ones that a walk will want soon are fetched. */
#define WALK_AHEAD 6u

struct ordered_member *ordered_at(const struct ordered *o, uint64_t rank, struct ordered_cursor *c)
{
    dcheck(rank < o->count);
    void *node = o->root;
    for (uint32_t level = 0; level < o->height; level++) {
        struct inner *inner = node;
        uint32_t i = 0;
        while (rank >= inner->items[i]) rank -= inner->items[i++];
        c->path[level] = inner;
        c->index[level] = (uint8_t)i;
        node = inner->child[i];
    }
    const struct leaf *leaf = c->leaf = node;
    c->at = (uint32_t)rank;
    return slot_member(leaf->slots[rank]);
}

/* The leaf to the right or left; false: there is none. */
static bool move_leaf(const struct ordered *o, struct ordered_cursor *c, bool right)
{
    uint32_t level = o->height;
    for (; level > 0; level--) {
        const struct inner *inner = c->path[level - 1];
        uint32_t i = c->index[level - 1];
        if (right ? i + 1 < inner->count : i > 0) {
            c->index[level - 1] = (uint8_t)(right ? i + 1 : i - 1);
            break;
        }
    }
    if (level == 0) return false;
    const struct inner *inner = c->path[level - 1];
    void *node = inner->child[c->index[level - 1]];
    for (; level < o->height; level++) {
        check(level < ORDERED_HEIGHT_MAX);
        struct inner *below = node;
        c->path[level] = below;
        c->index[level] = (uint8_t)(right ? 0 : below->count - 1);
        node = below->child[c->index[level]];
    }
    const struct leaf *leaf = c->leaf = node;
    c->at = right ? 0 : leaf->count - 1u;
    return true;
}

struct ordered_member *ordered_next(const struct ordered *o, struct ordered_cursor *c)
{
    const struct leaf *leaf = c->leaf;
    if (likely(c->at + 1 < leaf->count)) {
        c->at++;
        if (c->at + WALK_AHEAD < leaf->count) {
            __builtin_prefetch(slot_member(leaf->slots[c->at + WALK_AHEAD]));
        }
        return slot_member(leaf->slots[c->at]);
    }
    if (!move_leaf(o, c, true)) return NULL;
    leaf = c->leaf;
    for (uint32_t i = 1; i <= WALK_AHEAD && i < leaf->count; i++) {
        __builtin_prefetch(slot_member(leaf->slots[i]));
    }
    return slot_member(leaf->slots[0]);
}

struct ordered_member *ordered_prev(const struct ordered *o, struct ordered_cursor *c)
{
    const struct leaf *leaf = c->leaf;
    if (likely(c->at > 0)) {
        c->at--;
        if (c->at >= WALK_AHEAD) __builtin_prefetch(slot_member(leaf->slots[c->at - WALK_AHEAD]));
        return slot_member(leaf->slots[c->at]);
    }
    if (!move_leaf(o, c, false)) return NULL;
    leaf = c->leaf;
    return slot_member(leaf->slots[c->at]);
}
