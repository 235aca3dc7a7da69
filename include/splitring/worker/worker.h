/* The workers as main and the simulator see them.
 *
 * A hub holds what all workers share and nobody changes after start: the shards and their words,
 * the mailboxes, the map of slots. A worker owns one io, the connections it accepted and one shard.
 * Thread: as each function says. */
#ifndef SPLITRING_WORKER_WORKER_H
#define SPLITRING_WORKER_WORKER_H

#include "splitring/base/types.h"

struct hub;
struct worker;
struct io;
struct config;
struct tls_context;
struct tls_options;

enum listen_kind { LISTEN_TCP, LISTEN_UNIX, LISTEN_TLS };

struct hub_options {
    uint32_t workers;         /* 1..SHARDS_MAX */
    const struct config *config; /* copied */
    uint64_t seed;            /* hash seed and generators */
    bool lending;             /* shard-lending */
    instant_ms start_ms;      /* uptime */
    uint64_t memory_total;    /* what `maxmemory 60%` is a share of; 0: not known */
    uint64_t tick_scale;      /* os_tick_scale(); 0: commands are timed by os_mono_ns() */
    /* An owner waits for a borrower; NULL: the CPU's pause, after a while a yield. */
    void (*pause)(unsigned spins);
    void (*preempt)(void *ctx); /* simulator: called while shards are held; NULL in production */
    void *preempt_ctx;
    uint32_t faults;          /* planted faults (enum fault); 0 in production */
    uint32_t mailbox_cap;     /* simulator: small ones fill up; 0: the usual */
    uint32_t lend_percent;    /* simulator: chance that a try is attempted at all; production 100 */
};

/* Rules left out, for tests of the simulator: each must be caught (DESIGN section 9). The names of
 * the lock table's own faults are in tx/locks.h, shifted by 16 here. */
enum fault {
    FAULT_ORDERED_UNSORTED = 1u << 0,  /* ordered path in argument order instead of shard order */
    FAULT_KEEP_HIGHER = 1u << 1,       /* a refusal keeps granted shards above it */
    FAULT_RETRY_TRY = 1u << 2,         /* refused tries simply try again */
    FAULT_READS_RELEASE = 1u << 3,     /* reads give their locks up in the granting hop */
    FAULT_UNORDERED_RUNS = 1u << 4,    /* runs of a batch do not wait for the progress counter */
    FAULT_READ_NO_LOCK = 1u << 7,      /* multi-shard reads without locks */
    FAULT_OFFER_UNHELD = 1u << 8,      /* an owner offers its shard without holding it */
    FAULT_FULL_BLOCKS = 1u << 9,       /* a full mailbox stops its worker until there is room */
    FAULT_NO_WAKE_CHECK = 1u << 10,    /* a sleeper does not look at its inboxes once more */
    FAULT_PUSH_NO_BOUND = 1u << 11,    /* pushes do not wait for tickets that others have open */
    FAULT_PUSH_ONE_LOOK = 1u << 12,    /* … nor for what came in while they looked */
    FAULT_PUSH_UNHELD = 1u << 13,      /* they get their ticket when the shard is another's */
    FAULTS_PUSH = FAULT_PUSH_NO_BOUND | FAULT_PUSH_ONE_LOOK | FAULT_PUSH_UNHELD,
    FAULT_REGISTER_LATE = 1u << 5,    /* a blocked client registers after its locks are released */
    FAULT_NO_CLAIM = 1u << 6,         /* popping for a waiter without claiming it first */
    FAULT_WATCH_IGNORED = 1u << 14,    /* EXEC does not look at what it watched */
    FAULT_EXEC_UNLOCKED = 1u << 15,    /* EXEC on held shards does not look at locks */
    FAULT_LOCKS_SHIFT = 16,            /* three bits: enum lock_fault */
    FAULT_SCRIPT_NO_UNDO = 1u << 19,   /* a script that starts again leaves what it wrote */
    FAULT_SCRIPT_UNLOCKED = 1u << 20,  /* a script on held shards does not look at locks */
    FAULT_REPLY_EARLY = 1u << 21,      /* replies do not wait for the disk */
    FAULT_MERGE_NO_BOUND = 1u << 22,   /* the log does not wait for tickets that are open */
    FAULT_SYNC_IGNORED = 1u << 23,     /* a sync that failed counts as one */
    FAULT_TRACKING_EARLY = 1u << 24,   /* invalidations overtake replies that are being made */
    FAULT_TORN_KEPT = 1u << 25,        /* a torn end stays in its file */
    FAULT_UNIT_UNWRAPPED = 1u << 26,   /* no MULTI … EXEC around what happened as one */
    FAULT_LOG_SPLITS = 1u << 27,       /* each shard's worker states its part of a command */
    FAULT_CUT_UNSYNCED = 1u << 28,     /* a file of the log ends, and the next begins, unsynced */
    FAULT_HOLD_OWN = 1u << 29,         /* only who wrote waits for the disk, readers do not */
    FAULT_MANIFEST_LATE = 1u << 30     /* an incr file is written to, and never named */
};

struct hub *hub_new(const struct hub_options *options) WARN_UNUSED;
void hub_free(struct hub *hub); /* after every worker */

/* Thread: the worker's own, from new to free. io stays the caller's. */
struct worker *worker_new(struct hub *hub, worker_id id, struct io *io) WARN_UNUSED;
void worker_free(struct worker *worker);
/* Sockets that this worker accepts on; the descriptor stays the caller's. */
int worker_listen(struct worker *worker, int fd, enum listen_kind kind) WARN_UNUSED;
/* A configuration's TLS settings; strings stay the configuration's. Thread: any. */
void hub_tls_options(const struct config *config, struct tls_options *out);
/* What a configuration's TLS settings make; NULL: it has been logged why that is nothing. Thread:
 * any. */
struct tls_context *hub_tls_make(const struct config *config) WARN_UNUSED;
/* For connections that this worker accepts from now on; it belongs to the worker then. */
void worker_use_tls(struct worker *worker, struct tls_context *context);
/* The owner of accept events of its n-th listener (simulator). */
void *worker_listener(struct worker *worker, unsigned n);

/* One pass: takes what has happened, does bounded work, sends, and sleeps in the io until something
 * happens or `sleep_us_max` is over (0: only look). Returns false once the worker has stopped. */
bool worker_step(struct worker *worker, instant_us unix_us, int64_t mono_us, int64_t sleep_us_max);

/* What the io turned out to be, for INFO: engine, and the errno that refused io_uring (0). */
void hub_note_io(struct hub *hub, const struct io *io, int refused);
/* Asks every worker to stop: connections are closed after their replies. Thread: any,
 * async-signal-safe. */
void hub_stop_shared(struct hub *hub);
/* SIGTERM or SIGINT: worker 0 saves if that is configured, then stops the hub. True: an earlier one
 * is still being acted upon. Thread: any, async-signal-safe. */
bool hub_signal_shared(struct hub *hub, int sig);
/* The users of the configuration and of its ACL file, before any worker is made. Not 0: it has been
 * logged why the server must not start. */
int hub_load_users(struct hub *hub) WARN_UNUSED;
/* Looks for the configured dump; before any worker is made. 0: it will be loaded by the workers, or
 * there is none; else it has been logged why the server must not start. */
int hub_load(struct hub *hub) WARN_UNUSED;
/* Loading goes on; it has failed. Thread: any. */
bool hub_loading_shared(const struct hub *hub);
bool hub_load_failed_shared(const struct hub *hub);
/* Why the hub stopped: SHUTDOWN given by a client, or a signal. */
bool hub_stopping_shared(const struct hub *hub);

/* The persistence thread's whole life: to be run in a thread of its own, beside the workers, and
 * ended after them. Thread: that one. */
void hub_persister_run(struct hub *hub);
/* One bounded step of it (simulator); true: there is more to do. */
bool hub_persister_step(struct hub *hub, instant_us now_us, int64_t mono_us);
/* The workers have gone. Thread: any. */
void hub_persister_stop_shared(struct hub *hub);

/* Shards this worker holds, by bit (simulator: no two workers may hold one). */
uint32_t worker_held(const struct worker *worker);
/* The lock tables' own audit over all shards (simulator; nobody may be running). */
bool hub_locks_audit(const struct hub *hub);
/* Nothing locked, queued or active any more (simulator: the end of a schedule). */
bool hub_quiet(const struct hub *hub);

/* Work that waits for nothing but CPU: the simulator asks before it calls a schedule finished. */
bool worker_idle(const struct worker *worker);

#endif
