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
    uint64_t scripts; /* of the next three */
    uint64_t vms, texts, functions; /* Lua; texts of scripts; libraries of functions */
    uint64_t journal; /* the append log's, not yet written */
    uint64_t not_counted; /* for maxmemory: waits to be freed, or to be written */
    uint64_t used;    /* all of it */
    uint64_t peak;    /* highest `used` seen */
    /* Of stats_memory() only: */
    uint64_t tables;   /* of `shards`: tables of keys */
    uint64_t overhead; /* all but keys and values */
    uint64_t slab_held; /* pages of small blocks, as far as they were ever touched */
    uint64_t active;   /* `used` with the gaps between small blocks */
    uint64_t rss, resident; /* of the process; … that is not of files */
};
void stats_memory(const struct hub *hub, struct stats_memory *out);
/* Without the peak and what follows it. */
void stats_memory_now(const struct hub *hub, struct stats_memory *out);

#endif
