/* Snapshots beside whatever a test does to its shards: cuts, slices, aborts at random moments, and
 * a comparison of what was told with what was there at the cut. For worlds of handler.h and others.
 * Thread: the test's. */
#ifndef SPLITRING_TESTS_UNIT_HANDLER_WATCH_H
#define SPLITRING_TESTS_UNIT_HANDLER_WATCH_H

#include "splitring/base/rng.h"
#include "splitring/keyspace/snapshot.h"
#include "splitring/persist/rdb_file.h"

struct watch_lines {
    struct buf *at; /* one per key */
    size_t count, cap;
};

struct watch_part {
    struct buf text;
    double score;
};
/* A value that comes in pieces. */
struct watch_big {
    bool open, wanted, packed;
    struct buf head; /* its line up to the value */
    enum value_type type;
    uint64_t count, told, expected; /* parts, what they hold, what was announced */
    size_t cap;
    struct watch_part *parts;
    instant_ms lowest;
    struct rdb_out *stream; /* of a stream: its pieces as RDB, instead of parts */
    struct buf stream_bytes;
};

/* The sink's ctx. */
struct watch_shard {
    struct snapshot_watch *watch;
    struct watch_big big;
    instant_ms clock; /* at the cut: what had expired by then is nobody's matter */
};

struct snapshot_watch {
    /* constant after start */
    struct shard *const *shards;
    uint32_t count, databases;
    struct rng rng;
    unsigned full_one_in; /* of the times that the walk asks; at will */
    /* of the snapshot that runs */
    bool running;
    struct watch_lines expected, told;
    struct watch_shard of[8]; /* by shard */
    uint64_t bigs; /* values that came in pieces, in the watch's life */
    uint64_t cuts, finished; /* in the watch's life */
};

void snapshot_watch_init(struct snapshot_watch *w, struct shard *const *shards, uint32_t count,
                         uint32_t databases, uint64_t seed);
/* Between two commands: perhaps a cut, perhaps slices, perhaps an abort. */
void snapshot_watch_tick(struct snapshot_watch *w);
void snapshot_watch_cut(struct snapshot_watch *w);
void snapshot_watch_abort(struct snapshot_watch *w);
/* One slice in every shard; false: all has been told, and it was right. */
bool snapshot_watch_step(struct snapshot_watch *w, size_t budget);
/* The rest of a snapshot that runs, and the end of the watch. */
void snapshot_watch_deinit(struct snapshot_watch *w);

#endif
