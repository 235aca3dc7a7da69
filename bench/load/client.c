/* The load threads.
 *
 * A connection sends a batch of `pipeline` requests with one send, waits for all replies, sends the
 * next batch: what a client library's pipeline does. A thread sleeps in epoll (edge-triggered, so
 * that a quiet socket costs nothing), takes what has come with one recv, counts replies, and goes
 * on. Two system calls per batch and no memory traffic but the requests themselves: the server
 * does more for each batch, so it saturates first.
 *
 * With --rate a connection's batches arrive at random (exponential gaps), whether or not the server
 * keeps up. A batch that had to wait for the one before it counts its latency from the time it was
 * due, otherwise a server that stalls would hide its stall (coordinated omission); a batch that was
 * late because this thread woke late counts from when it was sent.
 *
 * Each thread owns its connections; main only reads two counters and sets the phase. */
#include "client.h"

#include <errno.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "connect.h"

#define IN_LEN (256u << 10)
#define EVENTS_MAX 256
#define WORKER_TRIES 200
#define SERVER_SLEEPS_NS 50000
#define PHASE_LOOK_NS 20000000u /* how often a thread without events looks at the phase */

struct conn {
    int fd;
    int worker; /* -1: the server did not tell */
    unsigned shard;
    const struct request_shapes *shapes;
    struct rng rng;

    /* the batch under way */
    unsigned outstanding;
    uint64_t start_ns;
    struct reply_parser parser;

    /* what the socket has not taken yet; NULL: nothing */
    char *rest;
    size_t rest_len;
    size_t rest_at;

    /* what comes next */
    uint64_t due_ns;
    uint64_t left; /* requests */
    uint64_t next; /* index of a walk or a sequence */
    unsigned cycle_at;
};

uint64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Which key: its index, and the shard whose tag it bears. */
static uint64_t key_draw(const struct load *load, struct conn *c, unsigned *shard)
{
    const struct options *o = load->options;
    uint64_t index;

    if (o->walk != WALK_NONE || o->pattern == PATTERN_SEQUENTIAL) {
        index = c->next++;
        if (c->next == load->range) {
            c->next = 0;
        }
    } else if (o->pattern == PATTERN_ZIPF) {
        index = shuffle_apply(&load->shuffle, zipf_draw(&load->zipf, &c->rng) - 1);
    } else {
        index = rng_below(&c->rng, load->range);
    }
    *shard = 0;
    if (o->shards != 0) {
        if (o->walk != WALK_NONE || o->locality == LOCALITY_ANY) {
            *shard = (unsigned)(index % o->shards);
            return index / o->shards;
        }
        if (o->locality == LOCALITY_OTHER) {
            *shard = (c->shard + 1 + (unsigned)(index % (o->shards - 1))) % o->shards;
            return index / (o->shards - 1);
        }
        *shard = c->shard;
    }
    return index;
}

static enum verb verb_draw(const struct options *o, struct conn *c)
{
    switch (o->walk) {
    case WALK_SET: return VERB_SET;
    case WALK_GET: return VERB_GET;
    case WALK_DEL: return VERB_DEL;
    default: break;
    }
    enum verb verb = c->cycle_at < o->sets ? VERB_SET : VERB_GET;
    c->cycle_at++;
    if (c->cycle_at == o->sets + o->gets) {
        c->cycle_at = 0;
    }
    return verb;
}

static void conn_watch(struct client_thread *t, struct conn *c, bool for_room)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET | (for_room ? (uint32_t)EPOLLOUT : 0),
                                .data.ptr = c};
    epoll_ctl(t->epoll_fd, EPOLL_CTL_MOD, c->fd, &event);
}

static void conn_end(struct client_thread *t, struct conn *c, bool broken)
{
    if (c->fd < 0) {
        return;
    }
    close(c->fd);
    c->fd = -1;
    t->conns_alive--;
    t->conns_broken += broken;
}

/* Hands bytes to the socket. Returns how many it took, -1 if the connection is gone. */
static ssize_t conn_write(struct client_thread *t, struct conn *c, const char *bytes, size_t len)
{
    ssize_t sent = send(c->fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
        return sent;
    }
    if (errno == EAGAIN || errno == EINTR) {
        return 0;
    }
    conn_end(t, c, true);
    return -1;
}

static void conn_write_rest(struct client_thread *t, struct conn *c)
{
    ssize_t sent = conn_write(t, c, c->rest + c->rest_at, c->rest_len - c->rest_at);
    if (sent < 0) {
        return;
    }
    c->rest_at += (size_t)sent;
    if (c->rest_at == c->rest_len) {
        free(c->rest);
        c->rest = NULL;
        conn_watch(t, c, false);
    }
}

static void conn_send_batch(struct client_thread *t, struct conn *c, uint64_t start_ns)
{
    const struct options *o = t->load->options;
    unsigned count = c->left < o->pipeline ? (unsigned)c->left : o->pipeline;
    uint64_t sets = 0;
    size_t len = 0;

    for (unsigned i = 0; i < count; i++) {
        unsigned shard;
        uint64_t index = key_draw(t->load, c, &shard);
        enum verb verb = verb_draw(o, c);
        sets += verb == VERB_SET;
        len += request_render(c->shapes, verb, shard, index, t->out + len);
    }
    c->left -= count;
    c->outstanding = count;
    c->start_ns = start_ns;
    uint64_t before = atomic_load_explicit(&t->sets_sent, memory_order_relaxed);
    atomic_store_explicit(&t->sets_sent, before + sets, memory_order_relaxed);

    ssize_t sent = conn_write(t, c, t->out, len);
    if (sent < 0 || (size_t)sent == len) {
        return;
    }
    c->rest_len = len - (size_t)sent;
    c->rest_at = 0;
    c->rest = malloc(c->rest_len);
    if (c->rest == NULL) {
        conn_end(t, c, true);
        return;
    }
    memcpy(c->rest, t->out + sent, c->rest_len);
    conn_watch(t, c, true);
}

static void due_push(struct client_thread *t, struct conn *c)
{
    unsigned i = t->due_count++;
    while (i > 0 && t->due[(i - 1) / 2]->due_ns > c->due_ns) {
        t->due[i] = t->due[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    t->due[i] = c;
}

static struct conn *due_pop(struct client_thread *t)
{
    struct conn *first = t->due[0];
    struct conn *last = t->due[--t->due_count];
    unsigned i = 0;
    for (;;) {
        unsigned child = 2 * i + 1;
        if (child >= t->due_count) {
            break;
        }
        if (child + 1 < t->due_count && t->due[child + 1]->due_ns < t->due[child]->due_ns) {
            child++;
        }
        if (t->due[child]->due_ns >= last->due_ns) {
            break;
        }
        t->due[i] = t->due[child];
        i = child;
    }
    t->due[i] = last;
    return first;
}

/* The mean gap between two batches of one connection. */
static uint64_t gap_draw_ns(const struct options *o, struct rng *rng)
{
    double mean = 1e9 * o->pipeline * o->clients / o->rate;
    return (uint64_t)(-log(1 - rng_unit(rng)) * mean);
}

/* The connection has no request under way: what now? */
static void conn_next(struct client_thread *t, struct conn *c, uint64_t now_ns)
{
    const struct options *o = t->load->options;

    if (c->left == 0) {
        conn_end(t, c, false);
        return;
    }
    if (o->rate <= 0) {
        conn_send_batch(t, c, now_ns);
        return;
    }
    c->due_ns += gap_draw_ns(o, &c->rng);
    if (c->due_ns <= now_ns) {
        conn_send_batch(t, c, c->due_ns);
    } else {
        due_push(t, c);
    }
}

/* What the server worked since the last batch. Its clock stands still while it runs, so it gets a
 * moment to fall asleep; should it work on, the rest counts for the next batch: nothing is lost. */
static void server_time_add(struct client_thread *t, uint64_t done, bool measure)
{
    struct timespec moment = {.tv_nsec = SERVER_SLEEPS_NS};
    nanosleep(&moment, NULL);
    uint64_t reading_ns = server_clock_ns(&t->server_clock);
    if (measure) {
        histogram_add(&t->server_time, reading_ns - t->server_clock_ns, 1, done);
    }
    t->server_clock_ns = reading_ns;
}

static void conn_on_replies(struct client_thread *t, struct conn *c, uint64_t replies,
                            uint64_t now_ns, bool measure)
{
    if (replies > c->outstanding) {
        fprintf(stderr, "loadgen: more replies than requests\n");
        conn_end(t, c, true);
        return;
    }
    uint64_t done = atomic_load_explicit(&t->requests_done, memory_order_relaxed);
    atomic_store_explicit(&t->requests_done, done + replies, memory_order_relaxed);
    c->outstanding -= (unsigned)replies;
    if (measure && replies != 0) {
        histogram_add(&t->latency, now_ns - c->start_ns, replies, done);
    }
    if (c->outstanding == 0 && t->server_clock.count != 0) {
        server_time_add(t, done + replies, measure);
    }
    if (c->outstanding == 0 && c->rest == NULL) {
        conn_next(t, c, now_ns);
    }
}

static void conn_read(struct client_thread *t, struct conn *c, bool measure)
{
    for (;;) {
        ssize_t got = recv(c->fd, t->in, IN_LEN, MSG_DONTWAIT);
        if (got <= 0) {
            if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
                conn_end(t, c, true);
            }
            return;
        }
        uint64_t before = t->counts.replies;
        if (reply_parse(&c->parser, t->in, (size_t)got, &t->counts) != 0) {
            fprintf(stderr, "loadgen: the server sent something that is not RESP\n");
            conn_end(t, c, true);
            return;
        }
        conn_on_replies(t, c, t->counts.replies - before, clock_ns(), measure);
        if (got < (ssize_t)IN_LEN || c->fd < 0) {
            return; /* a short read emptied the socket; later bytes make a new edge */
        }
    }
}

static void wait_and_read(struct client_thread *t, bool measure)
{
    struct epoll_event events[EVENTS_MAX];
    uint64_t wait_ns = PHASE_LOOK_NS;

    if (t->due_count > 0) {
        uint64_t now_ns = clock_ns();
        uint64_t due_ns = t->due[0]->due_ns;
        uint64_t until = due_ns > now_ns ? due_ns - now_ns : 0;
        wait_ns = until < wait_ns ? until : wait_ns;
    }
    struct timespec wait = {.tv_nsec = (long)wait_ns};
    int count = epoll_pwait2(t->epoll_fd, events, EVENTS_MAX, &wait, NULL);
    for (int i = 0; i < count; i++) {
        struct conn *c = events[i].data.ptr;
        if (c->fd >= 0 && c->rest != NULL && (events[i].events & EPOLLOUT) != 0) {
            conn_write_rest(t, c);
        }
        if (c->fd >= 0 && (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
            conn_read(t, c, measure);
        }
    }
}

static void due_send(struct client_thread *t)
{
    while (t->due_count > 0) {
        uint64_t now_ns = clock_ns();
        if (t->due[0]->due_ns > now_ns) {
            return;
        }
        conn_send_batch(t, due_pop(t), now_ns);
    }
}

static void *thread_main(void *argument)
{
    struct client_thread *t = argument;
    const struct options *o = t->load->options;

    if (o->cpu_count != 0) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(o->cpus[t->index % o->cpu_count], &set);
        sched_setaffinity(0, sizeof set, &set);
    }
    prctl(PR_SET_TIMERSLACK, 1ul, 0ul, 0ul, 0ul);
    while (atomic_load_explicit(t->phase, memory_order_acquire) == PHASE_WAIT) {
        struct timespec moment = {.tv_nsec = 1000000};
        nanosleep(&moment, NULL);
    }
    uint64_t start_ns = clock_ns();
    for (unsigned i = 0; i < t->conn_count; i++) {
        t->conns[i].due_ns = start_ns;
        conn_next(t, &t->conns[i], start_ns);
    }
    for (;;) {
        int phase = atomic_load_explicit(t->phase, memory_order_acquire);
        if (phase == PHASE_STOP || t->conns_alive == 0) {
            break;
        }
        wait_and_read(t, phase == PHASE_MEASURE);
        due_send(t);
    }
    atomic_fetch_sub(t->threads_at_work, 1);
    return NULL;
}

static void conn_plan(struct conn *c, const struct load *load, unsigned number)
{
    const struct options *o = load->options;
    uint64_t clients = o->clients;

    rng_init(&c->rng, o->seed * 0x9e3779b97f4a7c15u + number);
    c->cycle_at = (unsigned)rng_below(&c->rng, o->sets + o->gets);
    c->shapes = &load->shapes[number % load->shape_count];
    c->next = load->range * number / clients;
    c->left = UINT64_MAX;
    if (o->requests != 0) {
        c->left = o->requests / clients + (number < o->requests % clients);
    }
    if (o->walk == WALK_NONE) {
        return;
    }
    /* With tags each of them has the whole range, divided among the connections that bear it. */
    uint64_t tags = o->tag_count != 0 ? o->tag_count : 1;
    uint64_t bearers = clients / tags + (number % tags < clients % tags);
    uint64_t place = number / tags;
    c->next = load->range * place / bearers;
    c->left = load->range * (place + 1) / bearers - c->next;
}

static int conn_open(struct client_thread *t, struct conn *c, unsigned number)
{
    const struct options *o = t->load->options;

    conn_plan(c, t->load, number);
    c->worker = -1;
    for (unsigned i = 0; i < WORKER_TRIES; i++) {
        c->fd = connect_open(o);
        if (c->fd < 0) {
            fprintf(stderr, "loadgen: connection %u: %s\n", number, strerror(-c->fd));
            return -1;
        }
        if (o->shards != 0 || o->worker >= 0) {
            c->worker = connect_worker_get(c->fd);
        }
        if (c->worker < 0 || o->worker < 0 || c->worker == o->worker) {
            break;
        }
        close(c->fd);
        c->fd = -1;
    }
    if (c->fd < 0) {
        fprintf(stderr, "loadgen: no connection comes to worker %d\n", o->worker);
        return -1;
    }
    if (o->shards != 0) {
        c->shard = (c->worker >= 0 ? (unsigned)c->worker : number) % o->shards;
    }
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.ptr = c};
    if (epoll_ctl(t->epoll_fd, EPOLL_CTL_ADD, c->fd, &event) != 0) {
        perror("loadgen: epoll_ctl");
        return -1;
    }
    t->conns_alive++;
    return 0;
}

int client_thread_start(struct client_thread *thread, struct load *load, unsigned index,
                        unsigned first, unsigned count)
{
    const struct options *o = load->options;

    memset(thread, 0, sizeof *thread);
    thread->load = load;
    thread->phase = &load->phase;
    thread->threads_at_work = &load->threads_at_work;
    thread->index = index;
    histogram_init(&thread->latency, o->slowest);
    histogram_init(&thread->server_time, o->slowest);
    thread->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    thread->conns = calloc(count, sizeof *thread->conns);
    thread->due = calloc(count, sizeof *thread->due);
    thread->in = malloc(IN_LEN);
    thread->out = malloc(request_len_max(&load->shapes[0]) * o->pipeline);
    if (thread->epoll_fd < 0 || thread->conns == NULL || thread->due == NULL ||
        thread->in == NULL || thread->out == NULL) {
        fprintf(stderr, "loadgen: not enough memory for the connections\n");
        return -1;
    }
    for (unsigned i = 0; i < count; i++) {
        thread->conns[i].fd = -1;
        thread->conn_count = i + 1;
        if (conn_open(thread, &thread->conns[i], first + i) != 0) {
            return -1;
        }
    }
    if (o->server_time) {
        if (server_clock_init(&thread->server_clock, o->server_pid) != 0) {
            fprintf(stderr, "loadgen: the kernel keeps no schedstat of process %d\n",
                    (int)o->server_pid);
            return -1;
        }
        thread->server_clock_ns = server_clock_ns(&thread->server_clock);
    }
    atomic_fetch_add(&load->threads_at_work, 1);
    if (pthread_create(&thread->thread, NULL, thread_main, thread) != 0) {
        fprintf(stderr, "loadgen: no thread\n");
        return -1;
    }
    return 0;
}

void client_thread_join(struct client_thread *thread) { pthread_join(thread->thread, NULL); }

void client_thread_deinit(struct client_thread *thread)
{
    for (unsigned i = 0; i < thread->conn_count; i++) {
        if (thread->conns[i].fd >= 0) {
            close(thread->conns[i].fd);
        }
        free(thread->conns[i].rest);
    }
    if (thread->epoll_fd >= 0) {
        close(thread->epoll_fd);
    }
    server_clock_deinit(&thread->server_clock);
    free(thread->conns);
    free(thread->due);
    free(thread->in);
    free(thread->out);
}

bool client_thread_workers_add(const struct client_thread *thread, unsigned *per_worker,
                               unsigned worker_count)
{
    bool all_told = true;
    for (unsigned i = 0; i < thread->conn_count; i++) {
        all_told = all_told && thread->conns[i].worker >= 0;
        if (worker_count != 0) {
            per_worker[thread->conns[i].shard % worker_count]++;
        }
    }
    return all_told;
}

struct client_totals client_thread_totals(const struct client_thread *thread)
{
    return (struct client_totals){
        .requests = atomic_load_explicit(&thread->requests_done, memory_order_relaxed),
        .sets = atomic_load_explicit(&thread->sets_sent, memory_order_relaxed),
    };
}

int load_init(struct load *load, const struct options *options)
{
    memset(load, 0, sizeof *load);
    load->options = options;
    load->range = options->keys;
    if (options->shards != 0) {
        load->shard_tags = malloc(options->shards * SHARD_TAG_COUNT * sizeof *load->shard_tags);
        if (load->shard_tags == NULL) {
            return -1;
        }
        shard_tags_fill(load->shard_tags, options->shards);
        uint64_t per_shard = options->keys / options->shards;
        load->range = per_shard * options->shards;
        if (options->walk == WALK_NONE && options->locality == LOCALITY_OWN) {
            load->range = per_shard;
        } else if (options->walk == WALK_NONE && options->locality == LOCALITY_OTHER) {
            load->range = per_shard * (options->shards - 1);
        }
    }
    if (options->pattern == PATTERN_ZIPF) {
        zipf_init(&load->zipf, load->range, options->zipf_exponent);
        shuffle_init(&load->shuffle, load->range);
    }
    load->shape_count = options->tag_count != 0 ? options->tag_count : 1;
    load->shapes = calloc(load->shape_count, sizeof *load->shapes);
    if (load->shapes == NULL) {
        return -1;
    }
    for (unsigned i = 0; i < load->shape_count; i++) {
        const char *tag = options->tag_count != 0 ? options->tags[i] : NULL;
        if (request_shapes_init(&load->shapes[i], options, tag, load->shard_tags, load->range)) {
            fprintf(stderr, "loadgen: --key-size %u has no room for tag, prefix and number\n",
                    options->key_len);
            return -1;
        }
    }
    return 0;
}

void load_deinit(struct load *load)
{
    for (unsigned i = 0; load->shapes != NULL && i < load->shape_count; i++) {
        request_shapes_deinit(&load->shapes[i]);
    }
    free(load->shapes);
    free(load->shard_tags);
}
