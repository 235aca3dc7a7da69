/* Lists. Small ones are packed (FORM_LISTPACK), large ones are a sequence of nodes, each a listpack
 * or, for an element above the size limit, its plain bytes: cut exactly where Redis 7.2 and later
 * cut a quicklist under the same list-max-listpack-size, so that DUMP writes the same bytes.
 * Source: https://redis.io/docs/latest/operate/oss_and_stack/management/config-file/
 * Thread: holder of the shard. */
#ifndef SPLITRING_KEYSPACE_LIST_H
#define SPLITRING_KEYSPACE_LIST_H

#include "splitring/data/blocks.h"
#include "splitring/keyspace/object.h"

enum list_end { LIST_HEAD, LIST_TAIL };

extern const struct object_ops list_object_ops;

/* ---- reading: e is a list ---- */

uint64_t list_count(const struct entry *e);

/* Walks elements. Valid until the list changes. */
struct list_iter {
    const char *bytes; /* of the present node; NULL: at the end */
    size_t at;         /* in there; LP_NONE: before the first or past the last of the node */
    uint32_t plain_len; /* the node is one plain element: its length + 1; else 0 */
    enum list_end towards;
    const struct blocks *blocks; /* NULL: packed */
    struct blocks_cursor cursor;
};
/* At element `index` (< list_count), going towards an end. */
void list_iter_at(struct list_iter *it, const struct entry *e, uint64_t index,
                  enum list_end towards);
/* The element it stands at, then one step. A number's text.ptr is NULL. False: it was the last. */
bool list_next(struct list_iter *it, struct lp_value *value);
/* The first or last element. */
struct lp_value list_peek(const struct entry *e, enum list_end end);
/* Tells the position of every element equal to text, going from an end, until told enough or
 * `look_max` elements have been looked at. */
typedef bool list_found(void *ctx, uint64_t index); /* false: enough */
void list_search(const struct entry *e, struct slice text, enum list_end from, uint64_t look_max,
                 list_found *found, void *ctx);

/* ---- writing ---- */

/* A list that is being written; entry follows the moves. NULL: the key is absent (push only).
 * Handlers delete the key (call_emptied) instead of removing the last element. */
struct list_key {
    struct ks *ks;
    struct slice key;    /* as the command got it */
    struct entry *entry; /* from ks_edit */
    int32_t fill;        /* list_fill(list-max-listpack-size) */
};
static inline int32_t list_fill(int64_t max_listpack_size)
{
    if (max_listpack_size > INT32_MAX) return INT32_MAX;
    return max_listpack_size < INT32_MIN ? INT32_MIN : (int32_t)max_listpack_size;
}

/* All return 0 or -ENOMEM (nothing changed) unless told otherwise. Texts may not be of the list. */

/* Pushes one after the other, as LPUSH and RPUSH do. Creates the list. */
int list_push(struct list_key *l, const struct slice *values, size_t count,
              enum list_end end) WARN_UNUSED;
/* `count` elements from `start` on go; not all of them. */
int list_delete(struct list_key *l, uint64_t start, uint64_t count) WARN_UNUSED;
/* Only `count` (at least one) elements from `start` on stay. */
int list_trim(struct list_key *l, uint64_t start, uint64_t count) WARN_UNUSED;
/* The first element equal to pivot, from the head. */
enum { LIST_E_MISSING = 1 };
int list_insert(struct list_key *l, struct slice pivot, bool after,
                struct slice value) WARN_UNUSED; /* or LIST_E_MISSING */
int list_set(struct list_key *l, uint64_t index, struct slice value) WARN_UNUSED;
/* Removes elements equal to text, `count_max` at most (0: all), going from an end, and tells how
 * many. Where all are equal to it, all go, and the list is empty: to be deleted. *stopped: memory
 * ran out, more are there. */
uint64_t list_remove_value(struct list_key *l, struct slice text, uint64_t count_max,
                           enum list_end from, bool *stopped);
/* From one end to the other, or off and on again at the same. */
int list_rotate(struct list_key *l, enum list_end from, enum list_end to) WARN_UNUSED;
/* Nothing can fail in a list_delete() of one element at this end, next. */
int list_prepare_pop(struct list_key *l, enum list_end end) WARN_UNUSED;

/* Becomes an object where values of so many bytes in all would outgrow a node (which pushing does
 * by itself, but Redis also before it knows whether LSET or LINSERT finds its place). */
int list_grow(struct list_key *l, size_t bytes, size_t count) WARN_UNUSED;
/* After elements went: packed again if it is one node of at most half the limit. */
void list_shrink(struct list_key *l);

/* ---- nodes: for DUMP, RESTORE and persistence ---- */

struct list_node {
    struct slice bytes; /* a listpack, or the text of one element */
    bool plain;
    uint32_t count;
};
/* A packed list is one node. */
uint64_t list_node_count(const struct entry *e);
void list_each_node(const struct entry *e, void (*visit)(void *ctx, const struct list_node *node),
                    void *ctx);

/* Builds a list outside the keyspace, by nodes as they are or by elements. */
struct list_build {
    struct shard *shard;
    struct object *object;
};
int list_build_begin(struct list_build *b, struct shard *shard, int32_t fill) WARN_UNUSED;
/* Not empty; a listpack must be valid. */
int list_build_node(struct list_build *b, struct slice bytes, bool plain) WARN_UNUSED;
int list_build_push(struct list_build *b, struct slice text) WARN_UNUSED;
void list_build_cancel(struct list_build *b);
/* Puts it under the key, packed if it fits, and ends the building (also where it fails). */
int list_build_end(struct list_build *b, struct ks *ks, struct slice key, instant_ms expire)
    WARN_UNUSED;

#endif
