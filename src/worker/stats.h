/* Sums and gauges that INFO and MEMORY read. Counters are kept where things happen; here is what is
 * worth a look only once a second, or only when something went wrong.
 * Thread: as each function says. */
#ifndef SPLITRING_SRC_WORKER_STATS_H
#define SPLITRING_SRC_WORKER_STATS_H

#include "internal.h"

/* An error reply has just been appended to out: counted by its first word (INFO errorstats).
 * Thread: owner. */
void stats_note_error(struct worker *w, const struct buf *out);
/* A command was refused before it ran; the error is the last thing in out. cmd: may be NULL.
 * Thread: owner. */
void stats_note_refusal(struct worker *w, const struct command *cmd, const struct buf *out);
/* A command that was answered by way of a fan-out. Thread: owner. */
void stats_note_reply(struct worker *w, const struct command *cmd, const struct reply *reply);
/* The word that published.errors[i] counts, or NULL. Thread: any. */
const char *stats_error_code(unsigned i);
/* Once a second of an active worker: what nobody needs to know sooner. Holds shards for it; the
 * caller gives them back. Thread: owner. */
void stats_tick(struct worker *w);

/* Gauges of a shard that is held, for whoever is about to read them. Thread: holder. */
void stats_publish_shard(struct worker *w, shard_id s);

/* Memory by what it is used for, in bytes. Thread: any. */
struct stats_memory {
    uint64_t startup; /* what there is before the first client */
    uint64_t shards;  /* keys, values, tables */
    uint64_t clients; /* connections and their buffers */
    uint64_t tracking; /* keys that clients cache (tracking.c) */
    uint64_t scripts; /* VMs and the texts of scripts and functions */
    uint64_t not_counted; /* for maxmemory: waits to be freed */
    uint64_t used;    /* all of it */
    uint64_t peak;    /* highest `used` seen */
};
void stats_memory(const struct hub *hub, struct stats_memory *out);
/* Without the peak. */
void stats_memory_now(const struct hub *hub, struct stats_memory *out);

#endif
