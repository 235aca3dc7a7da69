/* Values that are more than a string: lists, sets, sorted sets, hashes, streams.
 *
 * A small collection lies inside its entry as bytes (a listpack, an intset); a large one hangs on
 * the entry by a pointer to a struct that starts with struct object, through which the keyspace
 * frees, measures, copies and moves it without knowing what it is. Strings need none of this.
 * Thread: holder of the shard. */
#ifndef SPLITRING_KEYSPACE_OBJECT_H
#define SPLITRING_KEYSPACE_OBJECT_H

#include "splitring/keyspace/keyspace.h"

struct object;

struct object_ops {
    /* Frees up to `budget` elements and reports how many in *done; true when nothing is left, the
     * object itself included. Called once with a huge budget where slices are not wanted. */
    bool (*free_step)(struct shard *shard, struct object *object, size_t budget, size_t *done);
    size_t (*count)(const struct object *object); /* elements: large ones are freed in slices */
    size_t (*bytes)(const struct object *object); /* memory, counted into shard_stats.bytes */
    /* The object as bytes that object_ops.load of any shard understands. */
    void (*save)(const struct object *object, struct buf *out);
    struct object *(*load)(struct shard *shard, struct slice image); /* NULL: no memory */
};

/* First member of every such struct. */
struct object {
    const struct object_ops *ops;
};

/* Told at start, once per type and shard; images carry the type only. */
void shard_set_object_ops(struct shard *shard, enum value_type type, const struct object_ops *ops);
/* An object that has grown or shrunk by itself says so (shard_stats.bytes). */
void shard_count_bytes(struct shard *shard, ptrdiff_t more);

#endif
