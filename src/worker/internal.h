/* The worker's own rooms: what its files know of each other. Private to src/worker.
 *
 *   step.c    one pass: events, inboxes, groups, timers, sends, sleep
 *   conn.c    a connection's life, its input and output
 *   balance.c which worker serves it
 *   group.c   parse → prefetch → run: the hot path
 *   defer.c   connections put off for a shard that somebody touches
 *   exec.c    one command on shards that are held
 *   batch.c   the order rule: runs with one progress counter
 *   txn.c     the coordinator of a multi-shard command, and its acts at a shard
 *   txn_build.c … made; txn_held.c: with all shards at once; txn_image.c: on copies
 *   multi.c   MULTI and EXEC; watch.c: WATCH
 *   script.c  Lua scripts on shards; script_undo.c: taken back; script_known.c: by a VM;
 *   script_store.c: by all; functions.c: libraries of functions
 *   block.c   clients that wait for keys; block_home.c their side
 *   fanout.c  an act of every worker, answered after the last
 *   journal.c one order for all that is written down
 *   journal_*.c the append log; hold.c replies that wait for it
 *   push.c    one order for all that is pushed; pubsub.c, topics.c, events.c: what that is
 *   meter.c   what each command costs; commandlog.c, latency.c: who keeps what of it
 *   monitor.c commands shown to those who MONITOR
 *   tracking.c, tracking_home.c: client-side caching; changes.c: who hears of changed keys
 *   observe*.c  what onlookers are told (the admin port)
 *   acl.c     who a connection is and what it may do; acl_log.c: who was refused
 *   budget.c  maxmemory: who may grow, and who makes room; client_memory.c: maxmemory-clients
 *   defragger.c when small blocks are moved together
 *   hotkeys.c, bigkeys.c: which keys cost most
 *   stats.c   published sums and gauges: what INFO reads
 *   persister.c the thread that writes files
 *   snapshot.c, dumper.c dumps beside running commands: the workers' side, and its
 *   still.c   everything stands still for one act; save.c, load.c, shutdown.c: what those are
 *   tls_settings.c TLS as configured
 *   local_*.c commands of the connection and the server
 *
 * Thread: owner, except what is said to be shared. */
#ifndef SPLITRING_SRC_WORKER_INTERNAL_H
#define SPLITRING_SRC_WORKER_INTERNAL_H

#include "budget.h"
#include "client_memory.h"
#include "defragger.h"
#include "keyed.h"
#include "persist.h"
#include "persister.h"
#include "splitring/base/counters.h"
#include "splitring/base/list.h"
#include "splitring/base/mailbox.h"
#include "splitring/cmd/call.h"
#include "splitring/cmd/effects.h"
#include "splitring/config/config.h"
#include "splitring/io/io.h"
#include "splitring/tx/holder.h"
#include "splitring/tx/locks.h"
#include "splitring/worker/worker.h"

#define GROUP_OPS 128u       /* commands per holding of a shard (DESIGN section 3.6) */
#define GROUP_ARGS 2048u     /* argument slices of a group; a longer command runs alone */
#define EVENTS_MAX 128u
#define INPUT_HELD_MAX \
    (1024u * 1024u) /* unread input kept for a busy connection before its socket is paused */
/* How long to wait for a shard that another holds: about 15 to 50 µs at most, by the processor's
 * `pause`. A holder needs less, unless it was descheduled. */
#define HOLD_SPINS_MAX 1200u
#define HOLD_SPINS_MIN 16u
#define STALL_US 50 /* what has no room is tried again after so long */
#define OUTPUT_PAUSE (1024u * 1024u)   /* unsent output above which its input is not run */
#define ERROR_CODES 32u                /* distinct first words of error replies (stats.c) */

struct conn;
struct batch;
struct txn;
struct fanout;
struct commandlog;
struct latency;
struct hotkeys;
struct bigkeys;

/* ---- shared by all workers ---- */

/* Parts of batches that wait for their turn at a shard. Thread: holder; count: any reader. */
struct shard_active {
    _Alignas(CACHE_LINE) struct list parts; /* batch_part.link */
    counter count;
};

/* What a holder of the shard publishes for any reader. */
struct shard_published {
    _Alignas(CACHE_LINE) counter bytes, unlinked;
    counter slab_used, slab_held; /* small blocks, and the pages they lie in; once a second */
    counter *table_bytes;    /* by db; likewise */
    counter evict_score, evict_order; /* the best candidate, by which policy (budget.c) */
    counter hits, misses, expired, expired_fields, evicted, lazyfreed, lazyfree_pending;
    counter lock_waits, lock_active; /* gauges, once a second (stats.c), and for INFO */
    counter watched_keys, blocking_keys, nokey_keys; /* likewise */
    counter *expiry_avg;     /* by db; unix ms, 0: no TTL; likewise */
    counter expiry_min;      /* unix ms; what a sleeping owner should wake for */
    counter owner_wakes_at;  /* unix ms; when it will, by itself (written by the owner) */
    counter *keys, *expires; /* by db */
    counter topics[3];       /* by enum topic_kind: those that are at home here */
    counter tracking_keys, tracking_items, tracking_prefixes, tracking_bytes;
    counter tracking_doomed; /* forgotten keys are still to be freed */
};

struct worker_published {
    _Alignas(CACHE_LINE) counter commands;
    counter connections, rejected, clients, bytes_in, bytes_out, error_replies;
    counter clients_bytes, out_max, in_max;
    counter client_classes[CLIENT_CLASSES]; /* who may be evicted, by size (client_memory.c) */
    counter reads, writes; /* of sockets */
    counter passes, groups, busy_us, sleeps, wakes;
    counter ran_local, ran_borrowed, batches, batch_runs, txns, txns_direct, txns_refused;
    counter messages_out, messages_in, migrated;
    counter inbox_max; /* most messages taken at once */
    counter acl_denied[5]; /* by enum acl_verdict */
    counter protocol_errors, output_kills, query_kills, evicted_clients;
    counter load_permille; /* of the last tick (balance.c) */
    counter paused; /* CLIENT PAUSE in force */
    counter vm_bytes; /* of its scripts' VM */
    counter script_paused; /* shards whose keys are locked by scripts between slices, by bit */
    counter script_busy;   /* …, where one runs for longer than busy-reply-threshold */
    counter watching, timeouts; /* clients with WATCH; blocked ones with a timeout */
    counter blocked; /* clients that wait for a key, or until CLIENT PAUSE is over */
    counter pubsub_clients, tracking_clients;
    counter dirty;  /* writes done */
    counter *calls, *calls_failed, *calls_rejected, *nsec; /* by command id */
    counter *hists[3]; /* by enum meter_kind, by command id: pointers to struct hist; 0: none yet */
    counter ops_per_s, in_per_s, out_per_s; /* of the last second */
    counter cpu_user_us, cpu_system_us, sweep_us;
    counter defrag[4]; /* hits, misses, keys with hits, keys without */
    counter defrag_us, defrag_since_us, defrag_percent; /* of rounds; of the one that runs, or 0 */
    counter evict_over_us; /* time with more in use than maxmemory, as this worker saw it */
    counter evict_over_since_us; /* … still is; 0: not now */
    counter peak_bytes; /* highest used memory that this worker has seen */
    counter memory_limit; /* maxmemory in bytes, as it goes by it; 0: none */
    counter errors[ERROR_CODES]; /* by first word: stats_error_code() */
};

/* What a command's time is made of: one histogram each (meter.c). */
enum meter_kind { METER_RAN, METER_QUEUED, METER_WAITED };

/* Who waits for keys of one shard (block.c). Thread: holder. */
struct waiting {
    struct keyed keys; /* nodes: struct waiter_node */
    struct list ready; /* marked keys: they may have something for their waiters now */
    uint32_t nokey;    /* keys of which some client waits for the end, too (XREADGROUP) */
    struct list aside; /* … when a script that has paused here ends */
};

/* A worker's word about its pushes (push.c). */
struct push_open {
    _Alignas(CACHE_LINE) counter ticket; /* it may be about to send this one, or later ones */
    _Alignas(CACHE_LINE) counter done_bytes; /* of what it sent; written by the receivers */
};

/* The last ticket of the journal that wrote to a shard. Thread: holder. */
struct shard_ticket {
    _Alignas(CACHE_LINE) uint64_t ticket;
};

struct exec;
struct topics;
struct tracking;
struct tracking_home;

/* What an onlooker asks of the workers (observe_workers.c). */
struct hub_observe {
    claim_word state;  /* enum observe_state: says whose `answer` is */
    struct buf answer;
};

struct hub {
    /* constant after start */
    uint32_t count;
    bool lending;
    uint32_t faults;
    counter log_failed;         /* errno of the append log: writes are refused; 0: fine */
    counter journaling;         /* 1: effects are wanted; changes while all shards are held */
    uint32_t lend_percent;
    void (*preempt)(void *ctx);
    void *preempt_ctx;
    uint64_t seed;
    instant_ms start_ms;
    uint64_t tick_scale; /* os_tick_scale() */
    struct command_names *names; /* rename-command; NULL: none */
    uint64_t memory_total; /* what percentages of memory are of; 0: not known */
    void (*pause)(unsigned spins);
    shard_id *shard_of_slot;
    struct shard **shards;
    struct locks **locks;       /* by shard */
    struct shard_active *active; /* by shard */
    struct waiting *waiting;     /* by shard */
    struct keyed *watched;       /* by shard; nodes: watch.c. Thread: holder */
    struct holder *holders;
    struct mailbox *mail;       /* [from * count + to] */
    struct worker **workers;
    struct worker_published *published;
    struct shard_published *shard_published;
    struct topics **topics;     /* by shard */
    struct script_store *scripts;
    struct function_store *functions;
    struct acl_store *acl;
    struct tracking **tracking; /* by shard */
    struct mailbox *push_mail;  /* [from * count + to] */
    struct push_open *push_open; /* by worker */
    counter *push_late;         /* [from * count + to]: lowest ticket not yet published */
    struct journal *journal;
    struct shard_ticket *shard_tickets;
    uint32_t databases;
    char run_id[41];
    /* shared counters */
    counter client_ids;
    counter push_tickets;
    counter log_ids[3];         /* by enum log_kind: entries of command logs so far */
    counter tracking_lost;      /* how often invalidations could not be told */
    counter clients;            /* against maxclients */
    counter waking;             /* threads inside hub_stop_shared */
    counter drained;            /* workers that have nothing left to stop for */
    progress_word stop;         /* 1: stop asked */
    sleep_flag *sleeping;       /* by worker, own lines: sleeping[id * 16] */
    struct config *config_start;
    counter io_engine, io_refused; /* enum io_engine; errno */
    struct hub_persist persist;
    struct hub_observe observe;
    struct persister persister;
    struct snapshots *snapshots; /* snapshot.h */
};

static inline sleep_flag *hub_sleeping(struct hub *hub, worker_id id)
{
    return &hub->sleeping[(size_t)id * (CACHE_LINE / sizeof(sleep_flag))];
}
static inline struct mailbox *hub_mail(struct hub *hub, worker_id from, worker_id to)
{
    return &hub->mail[(size_t)from * hub->count + to];
}
static inline struct mailbox *hub_push_mail(struct hub *hub, worker_id from, worker_id to)
{
    return &hub->push_mail[(size_t)from * hub->count + to];
}
static inline counter *hub_push_late(struct hub *hub, worker_id from, worker_id to)
{
    return &hub->push_late[(size_t)from * hub->count + to];
}
static inline shard_id hub_shard_of(const struct hub *hub, struct slice key);

static inline uint32_t hub_all_shards(const struct hub *hub)
{
    return hub->count == 32 ? UINT32_MAX : (1u << hub->count) - 1;
}

/* ---- messages ---- */

enum message_kind {
    MSG_BATCH,        /* struct batch_part: runs for this shard */
    MSG_BATCH_DONE,   /* struct batch: its last run is over */
    MSG_TXN_TRY,      /* struct txn_part: grant all its keys now or refuse */
    MSG_TXN_LOCK,     /* …: grant, or wait in the queue */
    MSG_TXN_WRITE,    /* …: do the writes, then release */
    MSG_TXN_RELEASE,  /* …: not answered */
    MSG_TXN_REGISTER, /* …: its client waits for these keys, then release; not answered */
    MSG_WAITER_SERVED, /* struct waiter, to its home: here is its reply */
    MSG_WAITER_WOKEN,  /* …: its key is ready, it runs as a transaction */
    MSG_WAITER_LEFT,   /* …: it was not served after all */
    MSG_WAITER_FORGET, /* …, to a shard's owner: it waits no more */
    MSG_TXN_ANSWER,   /* struct txn_part: part->answer */
    MSG_FANOUT_ORDER, /* struct fanout, to worker 0: send it to all */
    MSG_FANOUT,       /* struct fanout: do your part */
    MSG_FANOUT_DONE,  /* struct fanout: one part is done */
    MSG_TRACKING_BROKEN, /* a client's id: whom it redirects to has gone */
    MSG_SUBSCRIPTION, /* struct act_part: change the shard's register of subscriptions */
    MSG_UNWATCH,      /* struct watch_set: forget it at your shard */
    MSG_SOCKET,       /* an accepted socket, as a number: local_adopt_socket */
    MSG_SOCKET_TLS,   /* …, as its struct tls */
    MSG_CONN          /* struct conn: yours from now on */
};

/* ---- one worker ---- */

/* One parsed command of the running group. */
struct op {
    struct conn *conn;
    const struct command *cmd;
    struct slice *argv;
    struct arg *args;    /* not NULL: some argument is an owned block */
    int argc;
    int16_t shard;       /* >= 0: all keys live there; else enum op_kind */
    uint8_t error;       /* OP_ERROR: enum op_error */
    bool oom;            /* memory is out (budget.c): for scripts, which may run nevertheless */
    bool large;          /* its bytes may be as many as commandlog-request-larger-than */
    bool from_held;      /* arguments lie in the parser, not in the input window */
    bool keys_limited;   /* its user may not read every key (SORT) */
    uint32_t mask;       /* shards it needs */
    size_t start;        /* offset of the command in conn->data */
    uint64_t hash;       /* of the first key */
    const char *key;     /* first key */
    struct key_hint hint; /* of it, from the prefetch */
};
enum op_kind {
    OP_LOCAL = -1, OP_MANY = -2, OP_ALL = -3, OP_ERROR = -4,
    OP_QUEUE = -5, /* after MULTI */
    OP_EXEC = -6   /* of a queue that can run; mask: all its shards */
};
enum op_error {
    OP_UNKNOWN, OP_UNKNOWN_SUB, OP_ARITY, OP_NOAUTH, OP_SUBSCRIBED, OP_NO_MULTI, OP_WATCH_IN_MULTI,
    OP_MONITORS, OP_LOADING, OP_BUSY, OP_NOPERM, OP_LOG_FAILED, OP_OOM, OP_MISCONF
};

struct group {
    unsigned count;
    unsigned args_used;
    uint32_t mask;        /* shards wanted */
    uint32_t slow_mask;   /* shards wanted by a slow command: not to be borrowed */
    struct command_memo found;
    struct op ops[GROUP_OPS];
    struct slice args[GROUP_ARGS];
    struct slice *big_args; /* of a single command that does not fit */
    size_t big_args_cap;
};

#define STOP_GRACE_US 2000000

struct worker {
    /* constant after start */
    struct hub *hub;
    struct io *io;
    worker_id id;
    struct shard *shard;
    struct locks *locks;
    struct holder *holder;
    struct worker_published *pub;
    const counter *snapshot_running; /* snapshot.h */
    /* owner only */
    struct config *config;
    struct env env;
    struct rng rng;
    instant_ms now;       /* read once after the drain of a pass */
    instant_us now_us;
    int64_t mono_us;
    uint32_t held;        /* shards held now, by bit */
    struct list conns;    /* all, oldest first */
    struct list ready;    /* with input to run */
    struct list stalled;  /* ready, but a mailbox had no room */
    struct list deferred; /* …, but somebody touches a shard that they need (defer.c) */
    int64_t defer_due_us; /* when to look at those shards again */
    uint32_t missed;      /* shards that could not be had and have not been seen free since */
    uint32_t missed_turns[SHARDS_MAX]; /* which hold that was */
    struct list dirty;    /* with output to send */
    struct list local_hops; /* txn_part.link: acts for the own shard, done in this pass */
    struct list local_answers; /* …: their answers */
    struct list local_releases; /* txn_part.release_link */
    struct list aways;     /* struct away: other servers that are asked */
    struct list possess;   /* txn.held_link: locks are held, shards are to be borrowed */
    struct list script_jobs; /* scripts that have paused (script.c) */
    struct list script_waits; /* connections that wait for the end of one */
    int64_t script_looked_us; /* when they were last tried */
    struct script_vm *vm;    /* NULL: no script has run yet */
    uint64_t vm_generation;  /* of the store, when its scripts were compiled */
    size_t vm_scripts;
    struct library_set *functions; /* those of the VM (functions.c); NULL: none yet */
    uint64_t functions_generation;
    struct acl_set *acl;     /* the users as this worker knows them (acl.c) */
    uint64_t acl_generation;
    bool acl_open;           /* who has not signed in is the default user */
    struct shard *scratch;  /* copies of keys of a multi-shard command */
    struct group *group;
    struct parse_pool parse_pool;
    uint64_t group_seq;
    uint32_t conn_count;
    uint32_t touched_dbs;  /* since the last publish: bit db, the last one for all from 31 on */
    uint32_t touched_shards;
    int64_t next_cron_mono_us;
    uint32_t cron_ticks;
    uint32_t sweep_credits;   /* steps of expiry left in this tick */
    uint64_t sweep_cursor;
    uint32_t quiet_ticks;
    uint64_t seen_commands;
    bool active_expire;       /* DEBUG SET-ACTIVE-EXPIRE */
    bool cron_paused;         /* DEBUG PAUSE-CRON: no ticks */
    struct expire_sink expire_sink;
    uint64_t expiry_seen;     /* of the own shard, when the time to sleep was fixed */
    unsigned stop_listeners;
    unsigned accept_next;
    unsigned defer_budget;    /* how often a connection is put off before it uses messages */
    unsigned hold_spins;      /* how long to wait for a borrowed shard, in pauses */
    int64_t busy_us;          /* since the last look at the load */
    int64_t load_since_us, load_cpu_us;
    unsigned balance_rest;    /* ticks before it may give connections away again */
    bool balance_due;
    bool quiet;               /* nothing has happened for some ticks: no more of them */
    struct io_sock listeners[40];
    enum listen_kind listener_kinds[40];
    struct tls_context *tls; /* of what it accepts; NULL: no TLS */
    unsigned listener_count;
    struct {
        uint64_t scale;       /* ns per tick, times 2^32; 0: ticks are ns of the clock */
        uint64_t chain;       /* ticks when the last command ended; 0: not known */
        uint64_t pass;        /* … when this pass' events came */
        uint64_t look_ns;     /* a command that takes longer is looked at (meter.c) */
        size_t reply_limit, request_limit; /* …, or whose reply or bytes are as many */
        unsigned sample;      /* commands until the next one that is sampled, */
        unsigned sample_rest; /* then as many until the next stretch of METER_SAMPLE begins */
        uint32_t sample_dice;
        bool local;           /* a handler of the connection runs */
        struct fanout *fanout; /* … and has started this */
        struct buf heads;     /* of arguments that the handler may take (meter.c) */
        bool tracking, hot;
    } meter;
    struct commandlog *commandlog;
    struct latency *latency;
    struct hotkeys *hotkeys;
    struct bigkeys *bigkeys; /* NULL: nobody has asked for any */
    struct list monitors;  /* conn.monitor_link: those who watch here */
    unsigned monitors_joining; /* MONITOR not yet answered */
    uint32_t monitor_mask; /* workers with such connections */
    unsigned recent_ready; /* running average × 16 of connections per pass (adaptive wait) */
    int64_t stop_since_us; /* for STOP_GRACE_US nobody who is at work is cut short */
    bool stopping;
    bool stopped;
    bool drained, drain_last; /* nothing left here; nor anywhere */
    uint64_t last_commands, last_in, last_out;
    struct {
        instant_ms until;  /* CLIENT PAUSE; 0: none */
        bool writes_only;
    } pause;
    bool serve_later;      /* EXEC runs: waiters are served at its end, */
    uint32_t ready_turns;  /* key by key as they became ready, over all shards */
    bool loading;          /* as of the pass' beginning: commands with data are refused */
    bool misconf;          /* … those that write are (stop-writes-on-bgsave-error) */
    bool snapshot_seen;    /* … when the time to sleep was fixed */
    uint64_t snapshot_commands; /* how many there were when its last slice began */
    int64_t snapshot_left_us;   /* when that ended */
    struct loader *loader; /* NULL: this worker's part is loaded */
    struct budget budget;
    struct client_memory client_memory;
    struct defragger defragger;
    struct list stills;    /* struct still: commands for which everything must stand still */
    struct {
        instant_ms until;
        bool writes_only;
    } pause_before;        /* the standstill's: what CLIENT PAUSE was in force */
    struct list paused;    /* connections held back by CLIENT PAUSE */
    struct waiter **deadlines; /* of blocked clients: a heap (block_home.c) */
    size_t deadline_count, deadline_cap;
    struct pushes *pushes;
    struct pubsub *pubsub;
    struct tracking_home *tracking;
    const struct exec *writer; /* the command that runs now; NULL: none (tracking.h) */
    bool tracking_due;     /* it has told its own client something, or everybody everything */
    bool tracking_flushed;
    bool push_logged;      /* this unit has something to tell */
    bool effects_stated;   /* …, something to write down (journal.c) */
    bool effects_mute;     /* what is met as expired now is stated by others */
    bool journal_crowded;  /* the disk does not keep up: no write is started */
    bool journal_given;    /* P has got something since the last publish */
    unsigned effects_depth; /* commands and units that are to be one */
    struct effects effects; /* of the unit */
    struct list holding;   /* connections with output that waits for the disk (hold.c) */
    struct list log_waits; /* clients in WAIT, WAITAOF */
    uint64_t hold_next;    /* the lowest ticket that they wait for, or lower */
    uint64_t hold;         /* the last ticket that anything known here may depend on */
    bool push_crowded;     /* receivers do not keep up: nothing that tells is started */
    struct buf spare_bufs[64];
    unsigned spare_count;
    struct io_event events[EVENTS_MAX];
};

/* Loading, a standstill or a signal to look after. */
static inline bool persist_due(const struct worker *w)
{
    return w->loading || !list_empty(&w->stills) ||
           (w->id == 0 && (counter_get(&w->hub->persist.signal) ||
                           counter_get(&w->hub->persist.log_wanted)));
}

/* Its shard has something to tell a snapshot. */
static inline bool snapshot_due(const struct worker *w)
{
    return counter_get_acquire_shared(w->snapshot_running) != 0;
}

static inline shard_id hub_shard_of_slot(const struct hub *hub, uint16_t slot)
{
    return hub->shard_of_slot[slot];
}

/* Output buffers in use by few connections at a time: last given, first taken (warm, and few). */
void worker_take_buf(struct worker *w, struct buf *out);
void worker_give_buf(struct worker *w, struct buf *buf);
void worker_send(struct worker *w, worker_id to, uint32_t kind, void *ptr);
/* Room in the mailboxes to start work on those shards. */
bool worker_has_room(struct worker *w, uint32_t mask);
/* Makes visible what was sent, and wakes those it is for; true while something is left over. The
 * end of every pass; earlier only where a worker is about to stand still (holding nothing). */
bool worker_publish_mail(struct worker *w);
/* Wakes a worker that has announced its sleep. */
void worker_wake(struct worker *w, worker_id to);
/* Sends what is ready to be sent, and will not be more soon; false: nothing. Holding nothing. */
bool worker_flush(struct worker *w);
/* Own shard: waits for a borrower; another: may refuse. held bits are kept. */
bool worker_hold(struct worker *w, shard_id s);
/* Holding nothing: spins until shard s is FREE or hold_spins are used up; returns the spins so
 * far. */
unsigned worker_wait_free(struct worker *w, shard_id s, unsigned spins);
/* All of them or, after spinning for a while, false: some may then be held. may_send: sends replies
 * meanwhile. */
bool worker_hold_all(struct worker *w, uint32_t mask, bool may_send);
/* The simulator's refusals (hub_options.lend_percent); true in production. */
bool worker_lend_dice(struct worker *w);
/* Never waits, the own shard included: for use while others are held. */
bool worker_hold_try(struct worker *w, shard_id s);
void worker_unhold(struct worker *w, shard_id s); /* publishes its counters first */
void worker_unhold_all(struct worker *w);
/* What worker_unhold() has to publish. */
#define DBS_ALL UINT32_MAX
static inline void worker_touched(struct worker *w, shard_id s, uint32_t dbs)
{
    w->touched_shards |= 1u << s;
    w->touched_dbs |= dbs;
}
static inline bool worker_holds(const struct worker *w, shard_id s) { return w->held >> s & 1u; }
void worker_publish_shard(struct worker *w, shard_id s);
static inline bool worker_owns_listener(const struct worker *w, const void *owner)
{
    return (const char *)owner >= (const char *)w->listeners &&
           (const char *)owner < (const char *)(w->listeners + ARRAY_COUNT(w->listeners));
}
/* The worker for a new connection; and, once a tick, what of this one's traffic goes elsewhere
 * (balance.c). */
worker_id balance_place(struct worker *w);
void worker_balance(struct worker *w);
enum listen_kind worker_listener_kind(const struct worker *w, const void *owner);
/* Who is told of keys that expire, and which of them are locked. */
struct expire_sink worker_expire_sink(struct hub *hub);
/* Stopping: closes connections whose output is out; true once nothing is left. */
bool worker_stop_step(struct worker *w);
/* The config has been replaced (start, CONFIG SET). */
void worker_config_changed(struct worker *w);

#include "splitring/base/hash.h"
static inline shard_id hub_shard_of(const struct hub *hub, struct slice key)
{
    return hub->count == 1 ? 0 : hub->shard_of_slot[hash_slot(key)];
}

#endif
