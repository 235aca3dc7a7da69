/* The load threads: each drives its share of the connections with an epoll loop.
 *
 * Thread: main creates, starts and sums up; each thread owns its connections and histogram. */
#ifndef BENCH_LOAD_CLIENT_H
#define BENCH_LOAD_CLIENT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "histogram.h"
#include "keys.h"
#include "options.h"
#include "reply.h"
#include "request.h"
#include "server_cpu.h"

/* What main tells the threads. */
enum phase { PHASE_WAIT, PHASE_WARMUP, PHASE_MEASURE, PHASE_STOP };

/* Constant once the threads run, but for the last two. */
struct load {
    const struct options *options;
    struct request_shapes *shapes; /* one, or one per tag */
    unsigned shape_count;
    char (*shard_tags)[SHARD_TAG_LEN];
    uint64_t range; /* a connection draws its indices below this */
    struct zipf zipf;
    struct shuffle shuffle;

    atomic_int phase;            /* main writes */
    atomic_uint threads_at_work; /* each thread counts itself out */
};

struct client_totals {
    uint64_t requests;
    uint64_t sets;
};

struct conn;

struct client_thread {
    /* constant after start */
    const struct load *load;
    atomic_int *phase;
    atomic_uint *threads_at_work;
    unsigned index;
    pthread_t thread;

    /* the thread only; main reads after it has ended */
    struct conn *conns;
    unsigned conn_count;
    unsigned conns_alive;
    unsigned conns_broken; /* closed by the server, or what came was not RESP */
    int epoll_fd;
    char *out;
    char *in;
    struct conn **due; /* a heap by due_ns: connections that wait for their time */
    unsigned due_count;
    struct reply_counts counts;
    struct histogram latency;
    struct histogram server_time;
    struct server_clock server_clock; /* of --server-time */
    uint64_t server_clock_ns;         /* its last reading */

    /* the thread writes, main reads while it runs */
    _Atomic uint64_t requests_done;
    _Atomic uint64_t sets_sent;
};

/* Fills what all threads share. Returns 0 or -1 with a message on stderr. */
int load_init(struct load *load, const struct options *options) __attribute__((warn_unused_result));
void load_deinit(struct load *load);

/* Opens the connections first … first + count - 1 of the load, with a message if that fails. The
 * thread starts at once and waits for the phase to leave PHASE_WAIT. Returns 0 or -1. */
int client_thread_start(struct client_thread *thread, struct load *load, unsigned index,
                        unsigned first, unsigned count) __attribute__((warn_unused_result));
void client_thread_join(struct client_thread *thread);
void client_thread_deinit(struct client_thread *thread);

/* Connections per worker as CLIENT INFO told; false: some connection was not told. */
bool client_thread_workers_add(const struct client_thread *thread, unsigned *per_worker,
                               unsigned worker_count);

struct client_totals client_thread_totals(const struct client_thread *thread);
uint64_t clock_ns(void);

#endif
