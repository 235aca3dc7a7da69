/* The two forms of a sorted set (zset.c decides between them).
 * Thread: holder of the shard. */
#ifndef SPLITRING_SRC_KEYSPACE_ZSET_H
#define SPLITRING_SRC_KEYSPACE_ZSET_H

#include "shard.h"
#include "splitring/base/num.h"
#include "splitring/keyspace/zset.h"

static inline struct zset *zset_of(const struct entry *e)
{
    return CONTAINER_OF(entry_object(e), struct zset, object);
}

/* ---- packed (zset_packed.c): bytes is a listpack of pairs ---- */

double zpacked_score(const char *bytes, size_t member);
void zpacked_item(const char *bytes, size_t member, struct zset_item *item);
size_t zpacked_step(const char *bytes, size_t member, bool back); /* the next pair or LP_NONE */
/* Where the pair belongs, LP_NONE: at the end. */
size_t zpacked_place(const char *bytes, double score, struct slice text);
struct zset_ranks zpacked_by_score(const char *bytes, const struct zset_score_range *range);
struct zset_ranks zpacked_by_lex(const char *bytes, const struct zset_lex_range *range,
                                 bool reverse);
/* A pair's score as text. */
struct slice zpacked_text(char out[NUM_DOUBLE_LEN_MAX], double score);

/* ---- large (zset_object.c) ---- */

struct ordered_member *zset_member_new(struct zset *z, double score, struct slice text);
void zset_member_free(struct zset *z, struct ordered_member *m);
/* An absent member comes in / a member goes. */
int zset_insert(struct zset *z, uint64_t hash, struct slice text, double score) WARN_UNUSED;
int zset_rescore(struct zset *z, uint64_t *slot, double score) WARN_UNUSED;
void zset_remove(struct zset *z, uint64_t hash, struct ordered_member *m);
void zset_remove_at(struct zset *z, uint64_t rank);
struct zset_ranks zset_object_by_score(const struct zset *z, const struct zset_score_range *range);
struct zset_ranks zset_object_by_lex(const struct zset *z, const struct zset_lex_range *range);

/* How a lex end stands to a text: below 0 when the end lies before it (or is '-'). */
static inline int lex_end_compare(const struct zset_lex_end *end, struct slice text)
{
    if (end->kind != ZSET_LEX_TEXT) return end->kind == ZSET_LEX_MIN ? -1 : 1;
    return slice_compare(end->text, text);
}
static inline bool lex_from_min(const struct zset_lex_range *range, struct slice text)
{
    int order = lex_end_compare(&range->min, text);
    return order < 0 || (order == 0 && !range->min.ex);
}
static inline bool lex_to_max(const struct zset_lex_range *range, struct slice text)
{
    int order = lex_end_compare(&range->max, text);
    return order > 0 || (order == 0 && !range->max.ex);
}

#endif
