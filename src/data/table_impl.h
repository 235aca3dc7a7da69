/* The table's own struct, shared by table.c (use) and table_grow.c (growth). Inner header of
 * src/data.
 * Thread: holder of the shard. */
#ifndef SPLITRING_DATA_TABLE_IMPL_H
#define SPLITRING_DATA_TABLE_IMPL_H

#include "splitring/data/table.h"
#include "table_segment.h"

/* A position in hash order is the hash's leading 48 bits. A segment of depth d knows d + 16 of a
 * hash, so this is as deep as positions stay exact. */
#define DEPTH_MAX 32u
#define POSITION_BITS 48u
#define POSITION_END ((uint64_t)1 << POSITION_BITS)

/* Directory word: homes (16) | slots, 64-byte aligned (42) | depth (6). All that a search needs. */
#define WORD_SLOTS ((uint64_t)0x0000ffffffffffc0)
#define WORD_DEPTH ((uint64_t)63)
#define WORD_HOMES_SHIFT 48

struct table {
    /* constant after start */
    const struct table_ops *ops;
    uint64_t seed;

    /* The directory: three arrays in one block, 2^depth items each. A segment of depth d fills
     * 2^(depth - d) words in a row; the first of them is the one that `expiry` counts at. */
    uint64_t *words;
    struct segment **segments; /* NULL: no entries there, the word leads to an empty slot */
    int64_t *expiry;           /* lowest expiry of the segment; INT64_MAX: none */
    unsigned depth;

    size_t count;
    uint64_t version; /* of the places of slots; changes with every insert and remove */
    size_t segments_count;
    size_t segments_bytes;
    size_t depths[DEPTH_MAX + 1]; /* parts of the directory by depth, those without segment too */
    struct arena arena;

    /* Expiry: see table_sweep. */
    int64_t expiry_min;
    int64_t sweep_min;
    uint64_t sweep_next;

    size_t drained; /* words at the directory's end known to have no segment */
};

static inline size_t table_words(const struct table *t) { return (size_t)1 << t->depth; }
static inline size_t table_index(const struct table *t, uint64_t hash)
{
    /* Two shifts: one by 64 would be undefined. */
    return (size_t)(hash >> 1 >> (63 - t->depth));
}
static inline unsigned word_depth(uint64_t word) { return (unsigned)(word & WORD_DEPTH); }
static inline uint64_t *word_slots(uint64_t word)
{
    return (uint64_t *)(uintptr_t)(word & WORD_SLOTS);
}
static inline uint32_t word_homes(uint64_t word) { return (uint32_t)(word >> WORD_HOMES_SHIFT); }
static inline unsigned word_tag(uint64_t word, uint64_t hash)
{
    return (unsigned)((hash << word_depth(word)) >> 48);
}
/* The first of the words that share index's segment. */
static inline size_t table_first(const struct table *t, size_t index)
{
    size_t span = (size_t)1 << (t->depth - word_depth(t->words[index]));
    return index & ~(span - 1);
}

int table_directory_init(struct table *t);
/* Makes it possible, or more likely, that an entry with this hash fits. -ENOMEM: it never will. */
int table_make_room(struct table *t, uint64_t hash) WARN_UNUSED;
/* After removals around this hash: merges and shrinks what has become sparse. */
void table_tidy(struct table *t, uint64_t hash);
/* Forgets the segment at index, which has no entries any more. */
void table_drop_segment(struct table *t, size_t index);
/* Back to a directory of one word; no segments are left. */
void table_directory_reset(struct table *t);

/* ---- between a table and one ordered array of slots of depth 0 (dict.c) ---- */

/* A table of these, fewer than SEGMENT_SLOTS_MAX; expiry: the lowest of them. NULL: no memory. */
struct table *table_of_slots(const struct table_ops *ops, uint64_t seed, const uint64_t *slots,
                             uint32_t count, int64_t expiry);
/* Copies all slots, in hash order and with the hash's leading 16 bits as tags. */
void table_gather(const struct table *t, uint64_t *out);

#endif
