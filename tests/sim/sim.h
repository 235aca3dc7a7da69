/* The deterministic simulator (DESIGN section 9): the real workers, mailboxes, locks and commands
 * in one thread, with sockets, clock and scheduling made up from one seed.
 *
 *   sim_io.c      the io, net and os faces: clients' bytes in, replies out, sleeping, waking
 *   sim_thread.c  threads as coroutines, and the clock
 *   sim_disk.c    the file face: a disk, and what a power loss leaves of it
 *   sim_run.c     one schedule: workers as coroutines, clients
 *   sim_program.c what the clients do, at random
 *   sim_wire.c    what is sent, and how it reads
 *   sim_model.c   is there an order of the commands that explains every reply?
 *   sim_pubsub.c  instead: publishers and listeners, and what may be heard in which order
 *   sim_crash.c   crashes: the log is loaded by another server; was anything lost?
 *   sim_main.c    many seeds; planted faults
 *
 * Thread: one. */
#ifndef SPLITRING_TESTS_SIM_H
#define SPLITRING_TESTS_SIM_H

#include <ucontext.h>

#include "splitring/base/buf.h"
#include "splitring/base/rng.h"
#include "splitring/config/config.h"
#include "splitring/io/io.h"
#include "splitring/worker/worker.h"
#include "sim_disk.h"

#define SIM_WORKERS_MAX 4
#define SIM_CLIENTS_MAX 5
#define SIM_OPS_MAX 12 /* per client */
#define SIM_KEYS 6  /* strings */
#define SIM_ACCOUNTS 3 /* of them, where money is moved */
#define SIM_LISTS 3 /* keys SIM_KEYS … */
#define SIM_LIST_LEN_MAX 64
#define SIM_RESCUE_MAX 60 /* commands of the client that ends everybody's waiting */
#define SIM_HEARD_MAX 256
#define SIM_CRASHES_MAX 400
#define SIM_THREADS_MAX 2 /* beside the workers: P and the log's sync */
#define SIM_STACK (512 * 1024) /* LuaJIT's frames, too; sim_run.c looks if that was enough */

/* ---- programs ---- */

enum op_kind {
    SIM_GET, SIM_SET, SIM_SETGET, SIM_INCR, SIM_DEL, SIM_MGET, SIM_MSET, SIM_MSETNX, SIM_EXISTS,
    SIM_RENAME, SIM_COPY, SIM_DBSIZE, SIM_FLUSHALL, SIM_PING,
    SIM_MULTI, /* MULTI, INCR k0, GET k1, SET k2, EXEC */
    SIM_CAS,   /* WATCH k0 k1, GET k0, MULTI, SET k0, INCR k1, EXEC */
    SIM_TRANSFER, /* MULTI, DECRBY k0 v0, INCRBY k1 v0, EXEC */
    SIM_LOOK,  /* MULTI, GET k0, GET k1, GET k2, EXEC */
    SIM_MLIST, /* MULTI, RPUSH k0 v0, LPOP k1, RPUSH k2 v1, EXEC */
    SIM_RPUSH, SIM_LPOP, SIM_LLEN, SIM_LMOVE, SIM_LMPOP, SIM_BLPOP, SIM_BLMOVE, SIM_BLMPOP,
    SIM_PUBLISH, SIM_SUBSCRIBE, SIM_UNSUBSCRIBE, /* sim_pubsub.c */
    SIM_WAITAOF, SIM_SAVE, SIM_BGSAVE, SIM_REWRITE, /* any reply is right */
    SIM_KINDS
};

/* The kinds that are a MULTI (but for CAS) may be a script instead, which does the same; most other
 * ones a script that does nothing else. */
enum sim_wrap { WRAP_MULTI, WRAP_SCRIPT, WRAP_SCRIPT_IN_MULTI };

struct sim_op {
    enum op_kind kind;
    enum sim_wrap wrap;
    int declared; /* of a script's keys; it finds the others in its arguments */
    int variant;  /* of its text */
    int turns_at, turns; /* it turns round so often after so many commands */
    int keys[3], key_count;
    int64_t values[3];
    int value_count; /* RPUSH */
    int timeout_ms;  /* of one that waits; 0: for ever */
    uint64_t invoked, completed; /* ticks; completed 0: no reply yet */
    struct slice reply;          /* into the client's replies */
};

struct sim_client {
    struct sim_op ops[SIM_RESCUE_MAX];
    int op_count;
    int sent, answered;
    int depth;            /* commands in flight at most */
    struct buf out;       /* written by the client, not yet delivered */
    size_t out_taken;
    struct buf replies;
    size_t replies_used;
    struct io *io;        /* where its connection lives; NULL: not attached */
    struct io_sock *sock;
    bool want_write;
};

/* What a client heard that subscribed to something. */
struct sim_listener {
    struct sim_heard {
        int64_t value;
        uint64_t tick;
    } heard[SIM_HEARD_MAX];
    int count;
    int confirmed; /* of the channels of its current command */
    bool open[8];  /* by channel: subscribed, as far as it knows */
};

/* ---- the world ---- */

/* A coroutine that stands for a thread. */
struct sim_fiber {
    ucontext_t context;
    char *stack;
    void (*run)(void *arg);
    void *arg;
    bool waiting, woken, finished;
    int64_t wait_until_us; /* < 0: no timeout */
};

struct io {
    struct sim *sim;
    int id;
    struct io_event events[256];
    char *buffers[256]; /* receive buffers of the events, freed at the next wait */
    char *given[256];
    unsigned event_count, given_count;
    struct sim_fiber fiber;
};

struct os_thread {
    struct sim_fiber fiber;
};

/* What runs: commands alone, or a server that writes to a disk, in three ways. */
enum sim_mode { SIM_MEMORY, SIM_DISK, SIM_DISK_FAILS, SIM_DISK_EACH };

/* A moment at which the server may have died. */
struct sim_crash {
    struct sim_disk *disk; /* what is found afterwards */
    int sent[SIM_CLIENTS_MAX + 1], answered[SIM_CLIENTS_MAX + 1];
    int durable[SIM_CLIENTS_MAX + 1]; /* of each client's commands, so many must be there */
    uint64_t step;
    unsigned kept_percent;
};

/* All that a keyspace of the programs holds. */
struct sim_state {
    uint8_t lens[SIM_LISTS];
    uint8_t lists[SIM_LISTS][SIM_LIST_LEN_MAX];
    int64_t values[SIM_KEYS]; /* SIM_ABSENT */
};
#define SIM_ABSENT INT64_MIN

struct sim {
    uint64_t seed;
    struct rng rng;
    struct hub *hub;
    unsigned workers;
    struct io ios[SIM_WORKERS_MAX];
    struct worker *worker[SIM_WORKERS_MAX];
    struct sim_client clients[SIM_CLIENTS_MAX + 1];
    unsigned client_count;   /* the last one is the rescuer */
    int64_t next_value;      /* of list elements: unique */
    char keys[SIM_KEYS + SIM_LISTS][16];
    uint64_t tick;
    int64_t clock_us;
    ucontext_t scheduler;
    const void *stack; /* the scheduler's, for AddressSanitizer */
    size_t stack_size;
    struct sim_fiber *running; /* NULL: the scheduler */
    struct os_thread *threads[SIM_THREADS_MAX];
    unsigned thread_count;
    enum sim_mode mode;
    uint32_t faults;
    struct sim_disk *disk;   /* NULL: none, every file operation fails */
    enum config_fsync fsync;
    bool log;                /* appendonly yes; else there are only dumps */
    bool died;               /* the server ended itself */
    unsigned crash_percent;  /* of the moments in which the disk changes */
    unsigned crash_count;
    struct sim_crash crashes[SIM_CRASHES_MAX];
    unsigned preempt_percent, lend_percent;
    bool pubsub;   /* publishers and listeners, nothing else */
    unsigned listeners; /* the first clients */
    struct sim_listener listener[SIM_CLIENTS_MAX];
    int64_t published;  /* the sum of PUBLISH's answers */
    bool bank;     /* programs with transfers and looks; all money together is 0 */
    bool scripts;  /* transactions may be scripts */
    bool lists;    /* programs with lists, and clients that wait for them */
    bool lockstep; /* workers in turn instead of at random: symmetrical conflicts */
    uint64_t turn; /* lockstep: whose it is */
    uint64_t steps, stop_at; /* stop_at: the hub is stopped in the middle; 0: at the end */
    char failure[160]; /* empty: fine */
};

/* One schedule from a seed, with planted faults (0: none). False: failure says why. */
bool sim_run(struct sim *sim, uint64_t seed, enum sim_mode mode, uint32_t faults);

/* ---- coroutines (sim_thread.c) ---- */

/* The world that runs on this thread. */
struct sim *sim_current(void);
void sim_set_current(struct sim *sim);
/* Gives the processor back to the scheduler; nothing outside of a coroutine. */
void sim_yield(struct sim *sim);
/* The same, until it is woken or the time is over (< 0: never). */
void sim_wait(struct sim *sim, struct sim_fiber *fiber, int64_t timeout_us);
bool sim_runnable(const struct sim *sim, const struct sim_fiber *fiber);
void sim_fiber_start(struct sim_fiber *fiber, void (*run)(void *arg), void *arg);
void sim_fiber_resume(struct sim *sim, struct sim_fiber *fiber);
void sim_fiber_free(struct sim_fiber *fiber);

/* ---- worlds (sim_run.c) ---- */

/* A server: hub, workers, and with a disk the persistence thread. False: it does not start. */
bool sim_server_start(struct sim *sim, const struct hub_options *options);
/* A worker or thread goes on; false: none can. */
bool sim_server_step(struct sim *sim);
bool sim_advance_clock(struct sim *sim);
void sim_connect(struct sim *sim, unsigned client);
void sim_server_stop(struct sim *sim);
void sim_server_free(struct sim *sim);
/* What hub_options are drawn for every world. */
void sim_server_config(struct sim *sim, struct config *config);
/* Clients look at what they were sent. */
void sim_clients_read(struct sim *sim);

void sim_programs(struct sim *sim); /* sim_program.c */

/* ---- crashes (sim_crash.c) ---- */

/* The disk is about to change: perhaps the server dies here. */
void sim_crash_here(void *sim);
/* The server ends, by itself or because it was told to: what is found then? */
void sim_crash_at_end(struct sim *sim, bool clean);
/* Each of the crashes: a new server loads what there is. Was anything lost, torn or made up? */
void sim_crashes_judge(struct sim *sim);
/* Is there an order of the commands, with each client's own and real time, that explains every
 * reply, and in which the keyspace is `found` at a moment when all durable ones are over? */
bool sim_crash_explained(const struct sim *sim, const struct sim_crash *crash,
                         const struct sim_state *found);

/* ---- clients ---- */

/* Puts an event into a worker's io (sim_io.c). */
void sim_event(struct io *io, struct io_event event, char *buffer);
/* Delivers some of the client's bytes; false: nothing to deliver or nowhere to. */
bool sim_deliver(struct sim *sim, struct sim_client *client);
void sim_fail(struct sim *sim, const char *why);

/* An order of all commands that keeps each client's order and real time, and in which a plain
 * sequential keyspace gives exactly these replies? (sim_model.c) */
bool sim_serializable(const struct sim *sim);
/* May wait for a list: its reply comes when there is something. */
static inline bool sim_op_blocks(const struct sim_op *op)
{
    return op->kind == SIM_BLPOP || op->kind == SIM_BLMOVE || op->kind == SIM_BLMPOP;
}
void sim_pubsub_programs(struct sim *sim);
void sim_pubsub_write(const struct sim *sim, const struct sim_op *op, struct buf *out);
/* Takes what client c was sent; true if it was anything. */
bool sim_pubsub_reads(struct sim *sim, unsigned c);
/* When all has arrived: were order and numbers right? */
void sim_pubsub_judge(struct sim *sim);
/* Every command with its times and its reply, to stderr. */
void sim_history_print(const struct sim *sim);
/* Every look at all accounts found the same sum? (sim_model.c) */
bool sim_sums_right(const struct sim *sim);
/* The request of an op, and how many bytes its replies have (0: incomplete). */
void sim_op_write(const struct sim *sim, const struct sim_op *op, struct buf *out);
size_t sim_reply_len(const char *ptr, size_t len); /* one reply */
size_t sim_op_reply_len(const struct sim_op *op, const char *ptr, size_t len);

#endif
