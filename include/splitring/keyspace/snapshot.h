/* A shard's data as it was at one moment, told key by key while the shard goes on being written
 * (DESIGN section 6): no fork, no copy of the whole.
 *
 * At the cut nothing is copied. A walk in hash order then tells every key in bounded slices, and a
 * writer that is about to change or remove a key which the walk has not reached tells it first. One
 * bit per slot of the keyspace's table says who has been told; its sense flips at each cut, and new
 * keys are born told. Reads tell nothing.
 * Thread: holder of the shard. */
#ifndef SPLITRING_KEYSPACE_SNAPSHOT_H
#define SPLITRING_KEYSPACE_SNAPSHOT_H

#include "splitring/keyspace/object.h"

/* A big value is told in pieces, so that neither the walk nor a writer ever takes long. */
struct snapshot_part {
    struct slice text;  /* member, field; a list's node; up to 64 KiB of a string */
    struct slice value; /* of a field */
    instant_ms expire;  /* of a field: EXPIRE_NONE or an instant */
    double score;       /* of a sorted set's member */
    bool plain;         /* of a node: one element as it is, and no listpack */
    bool packed;        /* text: up to 64 KiB of a collection's packed bytes */
    const struct stream_piece *stream; /* of a stream: this, and nothing above */
};

/* Who is told. Each key that was there at the cut is told once, expired ones too. The functions
 * must not write to the keyspace, and they cannot refuse: a writer is waiting. */
struct snapshot_sink {
    /* A whole entry as it was at the cut, with its expiry; db: by the numbers of the cut. */
    void (*entry)(void *ctx, db_id db, const struct entry *e);
    /* The same for a value that is told in pieces: begin, `count` of them, end. One at a time, but
     * whole entries (of writers) come in between; they must not be mixed with the pieces. e: name,
     * type, expiry and access times at the cut, not the value. Count: members, fields, nodes (a
     * stream has other pieces besides); of a string, or where parts are packed, the bytes
     * that their texts are together; e has the form of the packed value.
     * lowest: no field expires before; EXPIRE_NONE: none of them does. All or none NULL: then every
     * value comes whole. */
    void (*big_begin)(void *ctx, db_id db, const struct entry *e, uint64_t count,
                      instant_ms lowest);
    void (*big_part)(void *ctx, enum value_type type, const struct snapshot_part *part);
    void (*big_end)(void *ctx);
    /* Asked between keys of the walk: true ends the slice (no room for more). NULL: never. Writers
     * do not ask. */
    bool (*full)(void *ctx);
    size_t big; /* the size from which a value comes in pieces; 0: SNAPSHOT_BIG */
    void *ctx;
};

/* The cut, O(databases). All shards that belong to it must be held. Not while one is running. */
void shard_snapshot_begin(struct shard *shard, const struct snapshot_sink *sink);
/* From this size on (MEMORY USAGE) a value is big. */
#define SNAPSHOT_BIG 65536u
/* A slice of the walk; budget: about the slots looked at, a key counts for some of them. False:
 * everything has been told, the sink is not used any more. */
bool shard_snapshot_step(struct shard *shard, size_t budget);
/* Gives up; the sink is not used any more. */
void shard_snapshot_abort(struct shard *shard);
bool shard_snapshot_running(const struct shard *shard);
/* There was no memory for something that had to be kept: it must be given up. */
bool shard_snapshot_failed(const struct shard *shard);
/* After an abort shard_free_step brings the bits into line again. False: that is not over, and a
 * cut would have to do it at once (some ms per million keys). */
bool shard_snapshot_ready(const struct shard *shard);
/* Memory that is kept only for the snapshot: values that have left the keyspace, images of what was
 * overwritten. Not charged to eviction. */
size_t shard_snapshot_held_bytes(const struct shard *shard);
/* Keys at the cut, and how many of them the walk has passed or writers have told. */
uint64_t shard_snapshot_keys(const struct shard *shard);
uint64_t shard_snapshot_told(const struct shard *shard);

#endif
