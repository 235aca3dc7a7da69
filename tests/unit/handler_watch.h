/* Snapshots beside whatever a test does to its shards: cuts, slices, aborts at random moments, and
 * a comparison of what was told with what was there at the cut. For worlds of handler.h and others.
 * Thread: the test's. */
#ifndef SPLITRING_TESTS_UNIT_HANDLER_WATCH_H
#define SPLITRING_TESTS_UNIT_HANDLER_WATCH_H

#include "splitring/base/rng.h"
#include "splitring/keyspace/snapshot.h"

struct watch_lines {
    struct buf *at; /* one per key */
    size_t count, cap;
};

struct snapshot_watch {
    /* constant after start */
    struct shard *const *shards;
    uint32_t count, databases;
    struct rng rng;
    /* of the snapshot that runs */
    bool running;
    struct watch_lines expected, told;
    instant_ms clocks[8]; /* at the cut: what had expired by then is nobody's matter */
    uint64_t cuts, finished; /* in the watch's life */
    uint32_t at;             /* the shard that is looked at */
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
