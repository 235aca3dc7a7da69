/* Sorted sets: members with scores, in the order (score, bytes).
 *
 * Small ones are packed: a listpack of member, score, member, score … in that order, as Redis lays
 * them out. Large ones are a struct zset: a sorted tree (data/ordered.h) and an index by member.
 * Ranks count from 0 in ascending order; ranges are ranks [begin, end), and what is called reverse
 * walks from the end. Scores are never NaN.
 * Thread: holder of the shard. */
#ifndef SPLITRING_KEYSPACE_ZSET_H
#define SPLITRING_KEYSPACE_ZSET_H

#include "splitring/data/dict.h"
#include "splitring/data/ordered.h"
#include "splitring/keyspace/object.h"

struct zset {
    struct object object;
    struct shard *shard; /* that its memory belongs to */
    struct ordered order;
    struct dict index;   /* of struct ordered_member */
    size_t member_bytes;
    size_t longest;      /* bytes of the longest member, as zset_sort saw it */
};
extern const struct object_ops zset_object_ops;
extern const struct table_ops zset_member_ops;

struct zset_limits { /* packed up to these: zset-max-listpack-entries, -value */
    uint64_t entries, value;
};

/* ---- reading: e is a sorted set ---- */

struct zset_item {
    struct slice text; /* valid until the next write, or the next item */
    double score;
    char scratch[LP_NUMBER_LEN];
};
uint64_t zset_count(const struct entry *e);
bool zset_score(const struct entry *e, struct slice member, double *score);
bool zset_rank(const struct entry *e, struct slice member, uint64_t *rank, double *score);
void zset_at(const struct entry *e, uint64_t rank, struct zset_item *item); /* rank < count */

struct zset_iter {
    const char *packed; /* NULL: a struct zset */
    size_t at;          /* offset of the next member; LP_NONE: at the end */
    const struct ordered *order;
    const struct ordered_member *next;
    struct ordered_cursor cursor;
    bool reverse;
};
/* From the member of this rank on, upwards or downwards; a rank beyond the end gives nothing. */
void zset_iter_init(struct zset_iter *it, const struct entry *e, uint64_t rank, bool reverse);
bool zset_iter_next(struct zset_iter *it, struct zset_item *item);

struct zset_score_range {
    double min, max;
    bool min_ex, max_ex;
};
struct zset_lex_end {
    enum { ZSET_LEX_MIN, ZSET_LEX_TEXT, ZSET_LEX_MAX } kind; /* '-', text, '+' */
    bool ex;
    struct slice text;
};
struct zset_lex_range {
    struct zset_lex_end min, max;
};
struct zset_ranks {
    uint64_t begin, end; /* begin <= end */
};
struct zset_ranks zset_by_score(const struct entry *e, const struct zset_score_range *range);
/* Means something where all scores are equal. In a packed set of different scores the range is,
 * as in Redis, what a walk from one end would find: reverse says which. */
struct zset_ranks zset_by_lex(const struct entry *e, const struct zset_lex_range *range,
                              bool reverse);

/* ---- writing ---- */

/* A sorted set that is being changed. e: from ks_edit, or NULL where the key is absent (the first
 * put creates it). e follows the value when it moves. */
struct zset_edit {
    struct ks *ks;
    struct slice key;
    struct entry *e;
    struct zset_limits limits;
    /* What find found. */
    struct slice member;
    uint64_t hash;
    uint64_t *slot;
    size_t at;
    double score;
    bool found;
};
/* The member that put and drop then act on; true if it is there, with ->score. */
bool zset_find(struct zset_edit *edit, struct slice member);
/* Adds the member or gives it another score. 0 or -ENOMEM (nothing has changed). */
int zset_put(struct zset_edit *edit, double score) WARN_UNUSED;
void zset_drop(struct zset_edit *edit);
/* The last one leaves an empty set behind: the caller deletes the key. */
void zset_drop_ranks(struct zset_edit *edit, struct zset_ranks ranks);

/* ---- whole sets: for STORE, and for loading ---- */

/* Members come in in any order, are found and rescored, and are sorted once by zset_sort. Until
 * then the tree is empty. */
struct zset *zset_new(struct shard *shard) WARN_UNUSED; /* NULL: no memory */
void zset_free(struct zset *z);
struct ordered_member *zset_member(const struct zset *z, struct slice text); /* NULL: absent */
int zset_add(struct zset *z, struct slice text, double score) WARN_UNUSED; /* must be absent */
void zset_take_out(struct zset *z, struct ordered_member *m); /* before it is sorted */
int zset_sort(struct zset *z) WARN_UNUSED;
static inline uint64_t zset_members(const struct zset *z) { return dict_count(&z->index); }
/* The key's value is this set from now on: packed if limits allow. z is taken in any case; it is
 * sorted and not empty. z's shard is the key's. */
int zset_store(struct ks *ks, struct slice key, struct zset *z, const struct zset_limits *limits,
               instant_ms expire) WARN_UNUSED;

#endif
