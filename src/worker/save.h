/* What a dump holds beside the keys, and what is noted when one is on the disk (save.c).
 * Thread: as each function says. */
#ifndef SPLITRING_SRC_WORKER_SAVE_H
#define SPLITRING_SRC_WORKER_SAVE_H

#include "splitring/persist/rdb_file.h"

struct hub;
struct worker;

#define SAVE_ALL (-1) /* in place of a shard: all of them are in the dump */

/* Facts about the server, libraries of functions, the sizes of the databases; where the dump is a
 * shard's, those of that shard, and libraries in the first one alone. All shards are held. */
void save_put_head(struct worker *w, struct rdb_out *out, int shard, bool aof_base);
/* The dump holds all writes up to that sum of `dirty`. Thread: who wrote it. */
void save_note_saved(struct hub *hub, uint64_t dirty, int64_t now_s);

/* All shards are held: a snapshot that is under way is given up; false: P has not let go of it. */
bool save_may(struct worker *w);
/* A BGSAVE that somebody asked for, or a save point, is in progress. Thread: any. */
bool bgsave_in_the_way(const struct hub *hub);
/* FLUSHALL has run. Thread: owner. */
void bgsave_after_flush(struct worker *w);
/* Begins what is due (bgsave.c); when it will be, in microseconds. Thread: owner. */
void save_points_tick(struct worker *w);
int64_t save_points_next_us(const struct worker *w);

#endif
