/* What the walk (snapshot.c) and the values that are told in pieces (snapshot_big.c) share; inner
 * header of src/keyspace.
 * Thread: holder of the shard. */
#ifndef SPLITRING_KEYSPACE_SNAPSHOT_IMPL_H
#define SPLITRING_KEYSPACE_SNAPSHOT_IMPL_H

#include "shard.h"
#include "splitring/data/dict.h"
#include "splitring/keyspace/snapshot.h"

/* A table of the cut. */
struct held_table {
    struct table *table;
    uint64_t cursor;
    db_id db;      /* at the cut */
    bool detached; /* flushed since: it belongs to the walk */
};

/* A value that is told in pieces, from the first write to it, or from when the walk meets it, until
 * its last piece has been told. */
struct snapshot_big {
    struct snapshot_big *next;
    struct entry *shell; /* name, type, expiry and access times of the cut */
    db_id db;            /* of the cut */
    struct object *object; /* or: */
    struct blob *blob;     /* a long string, or packed bytes */
    size_t handed_over;  /* it has left the keyspace and is ours: its memory; else 0 */
    bool begun;          /* its pieces go straight to the sink */
    uint64_t count, told; /* pieces; of a string, bytes */
    instant_ms lowest;
    uint64_t cursor;           /* of members; in a string, the next byte */
    void *cut;                 /* of an object with an order of its own */
    size_t kept;               /* what it keeps */
    /* Members that were overwritten before it began. */
    struct snapshot_image *images, *images_last;
    char **pages; /* of a string: as they were, where written to since; else NULL */
};

struct snapshot {
    struct snapshot_sink sink;
    bool levelling; /* given up: bits are brought into line */
    bool failed;
    uint64_t keys, told;
    db_id *db_of_cut;      /* what a database is called that was flushed or swapped since */
    struct held_table *held;
    uint32_t held_count, held_at; /* those before held_at are done */
    struct snapshot_big *bigs, *bigs_last; /* the first is being told */
    size_t blobs;                          /* those of them that have one */
    size_t table_bytes; /* of detached tables */
    size_t image_bytes; /* of images */
    size_t kept_bytes;  /* what objects keep of what was overwritten */
    size_t value_bytes; /* of values that were handed over */
    size_t budget;      /* of the slice that runs */
};

static inline void snapshot_spend(struct snapshot *s, size_t cost)
{
    s->budget = s->budget > cost ? s->budget - cost : 0;
}
/* After a key or a piece: may the slice go on? */
static inline bool snapshot_goes_on(struct snapshot *s)
{
    return s->budget > 0 && !(s->sink.full && s->sink.full(s->sink.ctx));
}
/* Is the value to be told in pieces? Then it has a place in the queue from now on. */
bool snapshot_big_begin(struct shard *shard, db_id db, const struct entry *e);
/* A part is told. */
void snapshot_tell_part(struct snapshot *s, struct snapshot_big *big,
                        const struct snapshot_part *part);

/* ---- long strings, and what is packed in one (snapshot_text.c) ---- */

/* Is the value a blob of at least so many bytes that can be told by pages? */
bool snapshot_text_fits(const struct entry *e, size_t least);
/* It is about to be edited: all that has not been told of it is copied. */
void snapshot_keep_packed(struct shard *shard, const struct entry *e);

/* False: no memory. */
bool snapshot_text_begin(struct snapshot_big *big);
bool snapshot_text_walk(struct snapshot *s, struct snapshot_big *big); /* false: all is told */
void snapshot_text_end(struct snapshot *s, struct snapshot_big *big);

/* The first of the queue, as far as the budget goes. */
void snapshot_big_step(struct shard *shard);
/* No more is told: the queue keeps only those whose members' bits must be brought into line. */
void snapshot_big_abort(struct shard *shard);
/* The shard's end: forgets the queue. */
void snapshot_big_drop(struct shard *shard);

#endif
