/* What the handlers of sorted sets share.
 * Thread: holder of the call's shards. */
#ifndef SPLITRING_SRC_CMD_ZSET_IMPL_H
#define SPLITRING_SRC_CMD_ZSET_IMPL_H

#include "splitring/cmd/call.h"
#include "splitring/keyspace/zset.h"

static inline struct zset_limits zset_limits_of(const struct call *c)
{
    return (struct zset_limits){c->env->zset_max_listpack_entries,
                                c->env->zset_max_listpack_value};
}

/* The key's sorted set, or NULL where it is absent; false: another type, the error is written. */
bool zset_read(struct call *c, struct slice key, struct entry **e);
bool zset_open(struct call *c, struct slice key, struct zset_edit *edit);

/* ZADD's rules: what one pair does. */
enum zadd_flag {
    ZADD_INCR = 1u << 0,
    ZADD_NX = 1u << 1,
    ZADD_XX = 1u << 2,
    ZADD_GT = 1u << 3,
    ZADD_LT = 1u << 4,
    ZADD_CH = 1u << 5
};
enum zadd_result { ZADD_SKIPPED, ZADD_SAME, ZADD_ADDED, ZADD_UPDATED, ZADD_NAN, ZADD_NO_MEMORY };
enum zadd_result zset_add_member(struct zset_edit *edit, unsigned flags, struct slice member,
                                 double *score);

/* "(1.5", "-inf", "[abc", "+" … False: not such a thing; nothing is written. */
bool zset_parse_score_range(struct slice min, struct slice max, struct zset_score_range *range);
bool zset_parse_lex_range(struct slice min, struct slice max, struct zset_lex_range *range);

/* A member of a reply; with its score: two elements, or in RESP3 a pair. */
void zset_reply_begin(struct call *c, uint64_t count, bool scores);
void zset_reply_item(struct call *c, const struct zset_item *item, bool scores);

/* Stores z, or deletes the key where it is empty; replies with the number of members. Takes z. */
void zset_store_result(struct call *c, struct slice key, struct zset *z, const char *event);

#endif
