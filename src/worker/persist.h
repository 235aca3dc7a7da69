/* What all workers know of saving and loading, and what persist's commands know of each other.
 * Thread: as each function says. */
#ifndef SPLITRING_SRC_WORKER_PERSIST_H
#define SPLITRING_SRC_WORKER_PERSIST_H

#include "splitring/base/counters.h"
#include "splitring/base/list.h"
#include "splitring/base/slice.h"

struct conn;
struct dumpset_manifest;
struct hub;
struct loader;
struct reply;
struct worker;

/* Of the hub. Shared counters, any thread, unless said. */
struct hub_persist {
    counter loading;      /* workers that have not loaded their part yet; 0: commands run */
    counter load_failed;  /* workers that could not */
    counter load_start_ms, load_total_bytes, load_used_mem;
    counter load_bytes;   /* read so far, summed over the workers, which go side by side */
    counter load_work_bytes; /* what load_bytes will be at the end */
    counter keys_loaded, keys_expired; /* by the last load */
    struct load_plan *plan; /* files of the append log that are loaded; NULL: a dump, or nothing */
    struct dumpset_manifest *set; /* that is loaded; NULL: none */
    counter last_save_s;  /* unix time; the start counts as a save */
    counter dirty_saved;  /* the sum of `dirty` that the last save holds */
    counter saves;
    counter save_failed;  /* 1: the last one */
    counter log_wanted;   /* 1: a rewrite of the append log is to begin as soon as one may */
    counter bgsave_try_s; /* unix time, when one was begun last */
    counter bgsave_start_us, bgsave_last_s, bgsave_peak, bgsave_bytes; /* mono; -1: never */
    counter bgsave_scheduled; /* 1: as soon as nothing else is in the way; 2: … and its client has
                               * been told that it has begun */
    counter flushed;      /* 1: FLUSHALL has run since the last look */
    counter bgsave_flush; /* 1: the snapshot that runs is the one after FLUSHALL */
    counter signal;       /* SIGTERM or SIGINT that worker 0 has not acted upon yet */
    claim_word still;     /* 1: somebody brings all to a standstill (still.c) */
};

/* ---- loading at start (load.c) ---- */

/* Thread: each worker, when it is made; the file was found by hub_load(). */
void load_begin(struct worker *w);
/* A slice of it. Thread: owner, holding nothing. */
void load_step(struct worker *w);
/* It waits for other workers: there is nothing to do just now. */
bool load_waits(const struct worker *w);
void load_free(struct loader *l);
void load_log_free(struct load_plan *plan);
void load_set_free(struct dumpset_manifest *set);
/* All shards are held: DEBUG RELOAD's second half. merge: keys that are there already are replaced
 * instead of being an error. */
bool load_in_place(struct worker *w, bool merge);

/* ---- saving (save.c) ---- */

/* All shards are held: writes dbfilename, or a set; logs, counts. 0 or a negative errno. */
int save_in_place(struct worker *w);

/* ---- everything stands still (still.c) ---- */

/* Runs act when this worker holds all shards, no transaction is half done and nobody waits for one
 * that writes. What act replies is sent when it is over. */
struct still {
    struct list link;    /* worker.stills */
    struct worker *home;
    struct conn *conn;   /* NULL: nobody waits (a signal) */
    void (*act)(struct worker *w, struct still *s, struct reply *reply);
    unsigned options;    /* the act's own */
    bool drain;          /* act only when every admitted command has been answered */
    bool exclusive;      /* act writes: readers must not be half done either */
    bool patient;        /* not worth stopping anybody for: looks for a moment that comes by itself,
                            and holds writes back for a little only if none does */
    bool claimed;        /* still.c's */
    /* All shards are held: may it act now? NULL: it may. */
    bool (*may)(struct worker *w, struct still *s);
    /* The server stops before it has acted. NULL: nothing to do then. */
    void (*dropped)(struct worker *w, struct still *s);
    bool keep;           /* set by act: what was stopped stays so (the server stops) */
    uint8_t phase;       /* still.c's */
    int64_t since_us, wait_us;
};
/* Thread: the connection's worker. */
void still_start(struct worker *w, struct conn *c, const struct still *what);
void still_step(struct worker *w);

/* ---- the end (shutdown.c) ---- */

/* Worker 0 acts upon a signal. Thread: owner, holding nothing. */
void shutdown_on_signal(struct worker *w);

/* ---- the pass ---- */

/* Is there any of this to do? Thread: owner. */
bool persist_step_slow(struct worker *w);

#endif
