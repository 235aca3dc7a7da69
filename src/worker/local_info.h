/* Inside INFO: one writer per section, all given the same sums.
 * Thread: owner (of the buffer); what they read are published counters. */
#ifndef SPLITRING_SRC_WORKER_LOCAL_INFO_H
#define SPLITRING_SRC_WORKER_LOCAL_INFO_H

#include "stats.h"

/* Counters of all workers and all shards, added up once per INFO. */
struct info {
    const struct worker *w;
    const struct hub *hub;
    struct buf *out;
    struct worker_published sum; /* its pointers are not used */
    struct shard_published shards; /* likewise */
    struct stats_memory memory;
};

/* local_info_stats.c */
void info_stats(struct info *i);
void info_commandstats(struct info *i);
void info_errorstats(struct info *i);
/* local_latency.c */
void info_latencystats(struct info *i);
void info_splitring(struct info *i);

/* Every shard has published what has been done in it so far, if its holder does not take long.
 * Holding nothing afterwards. */
void info_await_publishing(struct worker *w);
/* "967.52K", as Redis writes sizes for people. */
void info_human(char out[32], uint64_t bytes);
/* What scripts take (local_info_script.c). */
void info_scripts(struct info *i);

#endif
