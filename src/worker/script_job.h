/* A script that runs: script.c starts, pauses and ends it, script_host.c answers its calls.
 * Thread: owner. */
#ifndef SPLITRING_SRC_WORKER_SCRIPT_JOB_H
#define SPLITRING_SRC_WORKER_SCRIPT_JOB_H

#include "internal.h"
#include "push.h"
#include "script_undo.h"
#include "splitring/script/vm.h"

struct script_job {
    struct list link;         /* worker.script_jobs: it has paused */
    struct worker *worker;
    struct conn *conn;
    struct script *script;
    struct script_run *run;   /* it has paused */
    struct txn *txn;          /* …: whose locks keep its shards */
    uint32_t mask;            /* shards it may touch */
    db_id db;
    uint8_t ks_flags;
    bool called_write;        /* a command that writes, whether or not it changed anything */
    bool oom, may_wait, may_borrow, read_only, is_function, wrote, killed;
    instant_ms now;           /* one time for all of it */
    int64_t start_us, slice_end_us, ran_us;
    unsigned unheard;         /* how often this slice was told to pause when it had stuck */
    struct script_undo undo;
    struct push_mark pushed;  /* where this slice's began */
    size_t stated;            /* …, its effects */
    struct effects unstated;  /* those of earlier slices */
    uint32_t ready_turns;     /* of keys that earlier slices have made ready: the last one's */
    struct buf untold;        /* what it has to tell from earlier slices */
    struct buf described;     /* of a function: its name and command, for FUNCTION STATS */
    uint32_t untold_mask;
};

/* Its ctx is the job. */
extern const struct script_host script_job_host;

#endif
