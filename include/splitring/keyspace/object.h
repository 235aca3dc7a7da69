/* Values that are more than a string: lists, sets, sorted sets, hashes, streams.
 *
 * A small collection lies inside its entry as bytes (packed: a listpack, an intset); where the
 * entry would outgrow the slab's classes the same bytes lie in a struct blob. A large one hangs on
 * the entry by a pointer to a struct that starts with struct object, through which the keyspace
 * frees, measures, copies and moves it without knowing what it is.
 *
 * How a type writes in place:
 *     struct entry *e = ks_edit(ks, key);     an entry that may be written from here on
 *     … packed_open() and lp_*, or the object's own functions …
 *     ks_touched() and ks_notify() (events.h); ks_delete() when the last element has gone
 * Thread: holder of the shard. */
#ifndef SPLITRING_KEYSPACE_OBJECT_H
#define SPLITRING_KEYSPACE_OBJECT_H

#include "splitring/data/listpack.h"
#include "splitring/keyspace/keyspace.h"

/* How a collection is held; shares the entry's kind byte with the type. */
enum form {
    FORM_LISTPACK = 0,    /* packed: elements, or pairs, in the layout Redis gives the type */
    FORM_INTSET = 1,      /* packed: sets of integers (data/intset.h) */
    FORM_LISTPACK_EX = 2, /* packed: hash with field TTLs: field, value, expiry in ms or 0 */
    FORM_OBJECT = 3       /* pointer to a struct object */
};

struct object;
struct dict;
struct snapshot_part;

enum snapshot_next {
    SNAPSHOT_PIECE,
    SNAPSHOT_END,   /* there are no more; the cut is freed */
    SNAPSHOT_BROKEN /* a writer found no memory for a copy: the snapshot must be given up */
};

struct object_ops {
    enum value_type type;
    const char *encoding; /* OBJECT ENCODING: "quicklist", "hashtable", "skiplist", "stream" */
    /* Frees up to `budget` elements and reports how many in *done; true when nothing is left, the
     * object itself included. Called once with SIZE_MAX where slices are not wanted. */
    bool (*free_step)(struct shard *shard, struct object *object, size_t budget, size_t *done);
    size_t (*count)(const struct object *object); /* elements: large ones are freed in slices */
    size_t (*bytes)(const struct object *object); /* memory of the whole object (MEMORY USAGE) */
    /* The object as bytes that load of any shard understands: a full and exact copy (COPY, a hop to
     * the coordinator and back). Never leaves the process. */
    void (*save)(const struct object *object, struct buf *out);
    struct object *(*load)(struct shard *shard, struct slice image); /* NULL: no memory */
    /* Hashes: the lowest expiry of a field, EXPIRE_NONE if none. NULL for other types. */
    instant_ms (*next_expiry)(const struct object *object);
    /* How a snapshot tells a big one in pieces. Where order means nothing: a dict whose members it
     * may meet in any order, and such a member as a piece of the sink. NULL for other types. */
    struct dict *(*members)(struct object *object);
    void (*part)(const void *member, struct snapshot_part *part);
    /* Where it does: what there is now is settled, in O(1), and remembered in what is returned,
     * until `next` has come to its end; a writer copies what it changes. NULL: no memory. *count:
     * nodes. */
    void *(*cut)(struct object *object, uint64_t *count);
    /* The next piece, which is valid until the next call. What came before it is given up. NULL for
     * part: nobody wants to know. */
    enum snapshot_next (*next)(struct shard *shard, struct object *object, void *cut,
                               struct snapshot_part *part);
    size_t (*kept)(const struct object *object); /* memory only for that; not in bytes() */
    /* Takes members' blocks out of pages that are being evacuated (defrag.h), from a cursor on that
     * ends with 0; *looked: slots. NULL: it has none in the slab. */
    uint64_t (*evacuate)(struct shard *shard, struct object *object, uint64_t cursor,
                         size_t slots_max, size_t *looked);
};

/* First member of every such struct. */
struct object {
    const struct object_ops *ops;
    struct snapshot_big *duty; /* what a snapshot still has to tell of it, or NULL */
};

/* ---- memory ---- */

/* Blocks that belong to a shard: its slab's 8-byte classes up to SLAB_BLOCK_MAX, else
 * mem_try_alloc. Counted into shard_stats.bytes. NULL: no memory. */
void *shard_alloc(struct shard *shard, size_t len) WARN_UNUSED;
void shard_release(struct shard *shard, void *ptr, size_t len); /* len as allocated; NULL is fine */
/* Memory that an object took or gave back by itself (mem_*, dict, blocks): shard_stats.bytes. */
void shard_count_bytes(struct shard *shard, ptrdiff_t more);

/* ---- what an entry holds ---- */

enum form entry_form(const struct entry *e);           /* not for strings */
struct slice entry_packed(const struct entry *e);      /* the bytes; not for FORM_OBJECT */
struct object *entry_object(const struct entry *e);    /* FORM_OBJECT, else NULL */

/* ---- writing ---- */

/* ks_find for whoever may write the value in place: what a snapshot still needs of the value is
 * taken here. (A lookup that is not followed by a write is harmless.) */
struct entry *ks_edit(struct ks *ks, struct slice key);
/* Create or replace the whole value; expire as ks_set_string (EXPIRE_NONE, an instant,
 * EXPIRE_KEEP). The bytes are copied and may be those of the old value; the object is taken on
 * success. Replacing frees the old value (in slices if it is large). NULL: no memory, nothing has
 * changed. */
struct entry *ks_put_packed(struct ks *ks, struct slice key, enum value_type type, enum form form,
                            struct slice bytes, instant_ms expire) WARN_UNUSED;
struct entry *ks_put_object(struct ks *ks, struct slice key, struct object *object,
                            instant_ms expire) WARN_UNUSED;
/* Makes the packed value `len` bytes long; bytes up to the shorter length stay, new ones are
 * undefined. TTL and LRU stay; *e may move. The bytes, or NULL: no memory, nothing has changed. */
char *ks_packed_resize(struct ks *ks, struct slice key, struct entry **e, size_t len) WARN_UNUSED;

/* A packed listpack to be edited with lp_* (data/listpack.h): lp.bytes and entry follow the moves.
 * key as the command got it (its hash is known by pointer identity), valid as long as p is. */
struct packed {
    struct lp lp; /* give &p.lp to lp_* */
    struct ks *ks;
    struct slice key;
    struct entry *entry;
};
void packed_open(struct packed *p, struct ks *ks, struct slice key, struct entry *e);

#endif
