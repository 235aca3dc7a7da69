/* The append log, as the persistence thread writes it; and what others may know of it.
 * Thread: P, but for the counters (any) and what says otherwise. */
#ifndef SPLITRING_SRC_WORKER_JOURNAL_LOG_H
#define SPLITRING_SRC_WORKER_JOURNAL_LOG_H

#include "journal.h"
#include "splitring/persist/aof_file.h"

enum journal_base {
    JOURNAL_BASE_NONE,
    JOURNAL_BASE_WRITING,
    JOURNAL_BASE_WRITTEN, /* the dump lies aside, on the disk */
    JOURNAL_BASE_FAILED
};

/* A thread that only syncs, so that merging goes on meanwhile. */
struct journal_sync {
    struct os_thread *thread; /* NULL: none, P syncs itself */
    struct os_bell *bell;
    claim_word state;         /* SYNC_… */
    progress_word stop;
    struct hub *hub;
    /* whoever has the state's turn */
    int fd, rc;
    uint64_t ticket;
};
enum { SYNC_IDLE, SYNC_ASKED, SYNC_DONE };

struct journal_log {
    /* any thread */
    counter ready;    /* the files are open */
    counter fsync;    /* enum config_fsync */
    counter stamps, lazy_in_rewrite; /* aof-timestamp-enabled, no-appendfsync-on-rewrite */
    counter rewrite_percentage, rewrite_min_size;
    counter base;     /* enum journal_base: worker → P */
    counter begins;   /* the log begins with the running rewrite; its worker */
    claim_word rewriting; /* 1: from its start until P is done with it */
    counter enabled;  /* 1: the log is on; 2: it will be when its base is written */
    counter size, base_size, rewrites, rewrite_failed, failures, last_s, start_ms;
    counter buffered, fsyncs, delayed_fsyncs, write_failed;
    /* P only */
    struct journal_sync sync;
    struct aof_manifest manifest;
    const char *dir, *name;   /* appenddirname, appendfilename: constant after start */
    int fd;                   /* of the last incr; -1 */
    int64_t seq;              /* its number */
    bool waits_for_base;      /* the manifest does not name it yet */
    bool cut_seen, cut_failed; /* of the running rewrite */
    bool sealed;              /* out ends with its sum: a write that failed */
    bool broken;              /* what was synced may be lost: only a new base helps */
    struct buf out;           /* not yet written */
    uint64_t file_size;       /* of the incr, whole blocks */
    uint64_t synced_size, asked_size; /* of it, on the disk; when the running sync was asked for */
    uint64_t others_size;     /* of the other files of the manifest */
    uint64_t merged, written; /* the last tickets in out, in the file */
    bool db_known;
    db_id db;
    int64_t stamp_s, told_error_us, retry_us, synced_us, next_rewrite_us;
    unsigned idle_looks;
    /* groups, under always */
    uint64_t group, last_group, expected; /* records not yet synced; of the last sync; worth one */
    int64_t gather_until_us;
    bool synced_just_now;
};

/* The bounded step of P; true: there is more. When it looks again by itself: µs, or -1. */
bool journal_step(struct hub *hub, instant_us now_us, int64_t mono_us);
int64_t journal_next_us(const struct hub *hub, int64_t mono_us);
/* The workers have gone: everything is written and synced. */
void journal_end(struct hub *hub);

/* ---- files (journal_files.c) ---- */

/* Opens the log at start; before P may touch it. 0, or it has been logged why not. */
int journal_files_start(struct hub *hub, const struct config *config);
/* A new incr file takes what follows, and the manifest names it (or not: a planted fault). False:
 * it could not be made, the old one goes on. */
bool journal_files_cut(struct journal_log *l, bool names);
/* The base has been written aside: it takes the place of what was before the cut. */
bool journal_files_base(struct journal_log *l);
void journal_files_aside(char out[64]); /* the name of the base while it is written */

/* ---- syncing (journal_sync.c) ---- */

void journal_sync_start(struct hub *hub, struct journal_sync *s);
void journal_sync_end(struct journal_sync *s);
/* False: it is busy. */
bool journal_sync_ask(struct journal_sync *s, int fd, uint64_t ticket);
/* Has it ended? Then what came of it. */
bool journal_sync_over(struct journal_sync *s, int *rc, uint64_t *ticket);
void journal_sync_wait(struct journal_sync *s);

#endif
