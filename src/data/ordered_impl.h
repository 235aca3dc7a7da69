/* Nodes of the sorted sequence (ordered.c), for its own files and tests.
 * Thread: holder of the shard. */
#ifndef SPLITRING_SRC_DATA_ORDERED_IMPL_H
#define SPLITRING_SRC_DATA_ORDERED_IMPL_H

#include "splitring/base/check.h"
#include "splitring/data/ordered.h"

#ifndef ORDERED_LEAF_MAX
#define ORDERED_LEAF_MAX 62u /* with its header 512 bytes */
#endif
#define LEAF_STEP 4u         /* slots by which a leaf grows */
#define INNER_MAX 31u

/* Slots in order: member's address below, tag of its score above. */
struct leaf {
    uint64_t base; /* tag = (rank of the score - base) >> shift, within 0..TAG_MAX */
    uint16_t count, cap;
    uint8_t shift;
    uint64_t slots[];
};
static_assert(sizeof(struct leaf) + 8 * ORDERED_LEAF_MAX <= SLAB_BLOCK_MAX, "slab blocks");

/* Child i: its members, and the least of them. */
struct inner {
    uint32_t count;
    double score[INNER_MAX];
    struct ordered_member *first[INNER_MAX];
    uint64_t items[INNER_MAX];
    void *child[INNER_MAX];
};
static_assert(sizeof(struct inner) <= SLAB_BLOCK_MAX, "slab blocks");

#define TAG_MAX 0xffffu
#define TAG_SHIFT 48u
#define SLOT_ADDRESS (((uint64_t)1 << TAG_SHIFT) - 1)

static inline struct ordered_member *slot_member(uint64_t slot)
{
    return (struct ordered_member *)(uintptr_t)(slot & SLOT_ADDRESS);
}
static inline uint64_t slot_tag(uint64_t slot) { return slot >> TAG_SHIFT; }
static inline size_t leaf_bytes(uint32_t cap) { return sizeof(struct leaf) + 8 * (size_t)cap; }

/* Doubles in the order of 64-bit numbers; -0 is 0. */
static inline uint64_t score_rank(double score)
{
    uint64_t bits;
    score += 0.0;
    memcpy(&bits, &score, sizeof(bits));
    return bits >> 63 ? ~bits : bits | (uint64_t)1 << 63;
}
static inline uint64_t leaf_tag(const struct leaf *leaf, double score)
{
    uint64_t rank = score_rank(score);
    if (rank <= leaf->base) return 0;
    uint64_t tag = (rank - leaf->base) >> leaf->shift;
    return tag < TAG_MAX ? tag : TAG_MAX;
}
static inline uint64_t leaf_slot(const struct leaf *leaf, const struct ordered_member *m)
{
    return leaf_tag(leaf, m->score) << TAG_SHIFT | (uint64_t)(uintptr_t)m;
}

/* The place of a bound: path, leaf, position; the number of members left of it where rank is not
 * NULL. A position behind the last slot stays there: inserting goes to this leaf. */
void ordered_descend(const struct ordered *o, const struct ordered_bound *bound,
                     struct ordered_cursor *c, uint64_t *rank);

#endif
