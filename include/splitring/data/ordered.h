/* Members sorted by (score, bytes), with order statistics: what a large sorted set is made of.
 *
 * A member is one block: its score, its length, its bytes. Blocks are the caller's; the sequence
 * holds pointers to them (below 2^47, 8-byte aligned) and frees none. Nodes come from the slab.
 * Order: score, then memcmp, then length. -0 and 0 are the same score; NaN must not come in.
 * Thread: holder of the shard. */
#ifndef SPLITRING_DATA_ORDERED_H
#define SPLITRING_DATA_ORDERED_H

#include "splitring/base/slab.h"
#include "splitring/base/slice.h"

struct ordered_member {
    double score;
    uint8_t bytes[]; /* length in one byte, or 255 and eight bytes; then the text */
};

static inline size_t ordered_member_len(size_t text_len) /* of the block */
{
    return sizeof(double) + (text_len < 255 ? 1u : 9u) + text_len;
}
static inline struct slice ordered_text(const struct ordered_member *m)
{
    if (likely(m->bytes[0] < 255)) return slice_of((const char *)m->bytes + 1, m->bytes[0]);
    uint64_t len;
    memcpy(&len, m->bytes + 1, sizeof(len));
    return slice_of((const char *)m->bytes + 9, len);
}
void ordered_member_init(struct ordered_member *m, double score, struct slice text);

struct ordered {
    struct slab *slab;
    void *root;      /* NULL: empty */
    uint64_t count;
    size_t bytes;    /* memory of nodes */
    uint32_t height; /* inner levels above the leaves */
};

/* Where a member is. Valid until the sequence changes. */
#define ORDERED_HEIGHT_MAX 14u
struct ordered_cursor {
    void *leaf;
    uint32_t at; /* == its count: behind the last */
    uint8_t index[ORDERED_HEIGHT_MAX];
    void *path[ORDERED_HEIGHT_MAX]; /* from the root down */
};

void ordered_init(struct ordered *o, struct slab *slab); /* empty */
/* Frees nodes, for about `budget` members; the members themselves are not looked at and may be
 * gone. True when nothing is left. */
bool ordered_free_step(struct ordered *o, size_t budget, size_t *done);

/* ---- looking ---- */

/* A place between two members: everything that sorts before it lies left of it. */
struct ordered_bound {
    enum { ORDERED_BY_SCORE, ORDERED_BY_TEXT, ORDERED_BY_BOTH } by;
    bool after; /* what is equal lies left as well */
    double score;
    struct slice text; /* BY_TEXT asks for members that all have one score */
};
/* Number of members left of the bound. */
uint64_t ordered_rank(const struct ordered *o, const struct ordered_bound *bound);
/* Of a member that is in here (or of one with the same score and text). */
uint64_t ordered_rank_of(const struct ordered *o, const struct ordered_member *m);
/* rank < count. */
struct ordered_member *ordered_at(const struct ordered *o, uint64_t rank, struct ordered_cursor *c);
static inline bool ordered_equal_score(double a, double b) { return !(a < b) && !(b < a); }
/* NULL: past the last, before the first. */
struct ordered_member *ordered_next(const struct ordered *o, struct ordered_cursor *c);
struct ordered_member *ordered_prev(const struct ordered *o, struct ordered_cursor *c);

/* ---- changing ---- */

/* No member with this score and text may be there. 0 or -ENOMEM (nothing has changed). */
int ordered_insert(struct ordered *o, struct ordered_member *m) WARN_UNUSED;
/* The same for one that sorts behind all others, without a search. */
int ordered_append(struct ordered *o, struct ordered_member *m) WARN_UNUSED;
/* Gives a member that is in here another score if it keeps its place; else false, and nothing has
 * changed: insert another block, then remove this one. */
bool ordered_rescore(struct ordered *o, struct ordered_member *m, double score);
void ordered_remove(struct ordered *o, const struct ordered_member *m); /* must be in here */
/* A copy takes the place of a member that is in here. */
void ordered_replace(struct ordered *o, const struct ordered_member *m,
                     struct ordered_member *copy);
/* If the leaf with the member of this rank lies in a page that is being evacuated, it moves; *rank
 * becomes that of the next leaf. Members passed over. */
size_t ordered_evacuate(struct ordered *o, uint64_t *rank);
struct ordered_member *ordered_take_at(struct ordered *o, uint64_t rank); /* rank < count */

#endif
