/* The server's threads: listening sockets, one thread per worker, the stop.
 *
 * Nothing here serves clients. Each worker's thread makes its own io (a ring has one issuer), waits
 * until all workers exist, and then steps until the hub stops; it frees what is its own only when
 * no other worker can wake it any more.
 * Thread: main, but for worker_main (one per worker) and on_signal (signal handler). */
#include "server.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "splitring/admin/admin.h"
#include "splitring/base/check.h"
#include "splitring/base/counters.h"
#include "splitring/io/io.h"
#include "splitring/io/log.h"
#include "splitring/io/net.h"
#include "splitring/io/notify.h"
#include "splitring/io/os.h"
#include "splitring/worker/worker.h"

#define BINDS_MAX 16u /* addresses */

struct listeners {
    int fds[2 * BINDS_MAX + 1];
    enum listen_kind kinds[2 * BINDS_MAX + 1];
    unsigned count;
};
/* Of a pod's memory, in percent: the rest is for what is not counted, such as the gaps between
 * blocks, pages of files, the kernel's socket buffers; and for what a thousand clients can have on
 * its way within one pass, which does not shrink with the pod (tests/integration/pressure.py). */
#define POD_SHARE 60
#define POD_SHARE_MIN 40
#define POD_RESERVE ((uint64_t)102 << 20)
/* Of maxmemory, what clients' buffers may take before the largest are closed (maxmemory-clients).
 * Data makes room for them only where keys can be evicted, and for values that have arrived by half
 * there is no other bound. */
#define POD_CLIENTS 8

struct start {
    struct hub *hub;
    const struct config *config;
    worker_id id;
    int cpu;
    counter *ready, *failed, *gone; /* workers that … */
    uint32_t workers;
    const struct listeners *listeners; /* worker 0 only: it accepts */
    struct tls_context *tls;           /* likewise; NULL: none */
    struct os_thread *thread;
};

static struct hub *signal_hub;

static void on_signal(int sig)
{
    if (!signal_hub) return;
    if (hub_signal_shared(signal_hub, sig) && sig == SIGINT) _exit(1); /* insists */
}

/* ---- a worker's thread ---- */

static const char *const engine_names[] = {"auto", "io_uring", "epoll"};

static struct io *open_io(const struct start *s)
{
    struct io *io;
    int refused = 0;
    struct io_options options = {.engine = (enum io_engine)s->config->io_engine};
    int rc = io_new(&io, &options, &refused);
    if (rc != 0) {
        log_line(LOG_LEVEL_WARNING, "Could not start the I/O engine %s: %s",
                 engine_names[s->config->io_engine], strerror(-rc));
        return NULL;
    }
    if (s->id == 0 && refused)
        log_line(LOG_LEVEL_NOTICE, "io_uring is refused here (%s), using epoll", strerror(refused));
    hub_note_io(s->hub, io, refused);
    return io;
}

static void worker_main(void *arg)
{
    struct start *s = arg;
    struct io *io = open_io(s);
    struct worker *w = io ? worker_new(s->hub, s->id, io) : NULL;
    if (w && s->tls) worker_use_tls(w, s->tls);
    for (unsigned i = 0; w && s->listeners && i < s->listeners->count; i++) {
        int rc = worker_listen(w, s->listeners->fds[i], s->listeners->kinds[i]);
        if (rc != 0) log_line(LOG_LEVEL_WARNING, "Could not listen: %s", strerror(-rc));
    }
    if (!w) counter_next_shared(s->failed);
    counter_next_shared(s->ready);
    while (counter_get_acquire_shared(s->ready) < s->workers) os_sleep_us(200);
    if (counter_get(s->failed)) return;
    while (worker_step(w, os_unix_us(), os_mono_us(), -1)) continue;
    counter_next_shared(s->gone);
    /* The others may still wake this io. */
    while (counter_get_acquire_shared(s->gone) < s->workers) os_sleep_us(200);
    worker_free(w);
    io_free(io);
}

static void persister_main(void *arg)
{
    hub_persister_run(arg);
}

/* ---- sockets ---- */

/* TCP or TLS on all addresses of `bind`. */
static bool listen_port(const struct config *c, int port, enum listen_kind kind,
                        struct listeners *l)
{
    for (size_t i = 0; port > 0 && i < c->bind.count && i < BINDS_MAX; i++) {
        const char *host = c->bind.words[i];
        bool optional = host[0] == '-';
        int fd = net_listen_tcp(host + optional, (uint16_t)port, c->tcp_backlog);
        if (fd >= 0) {
            l->kinds[l->count] = kind;
            l->fds[l->count++] = fd;
        } else if (!(optional && (fd == -EADDRNOTAVAIL || fd == -EAFNOSUPPORT))) {
            log_line(LOG_LEVEL_WARNING, "Could not create server %s listening socket %s:%d: %s",
                     kind == LISTEN_TLS ? "TLS" : "TCP", host, port, strerror(-fd));
            return false;
        }
    }
    return true;
}

static bool listen_all(const struct config *c, struct listeners *l)
{
    l->count = 0;
    if (!listen_port(c, c->port, LISTEN_TCP, l) || !listen_port(c, c->tls_port, LISTEN_TLS, l))
        return false;
    if (c->unixsocket[0]) {
        int fd = net_listen_unix(c->unixsocket, (unsigned)c->unixsocketperm, c->tcp_backlog);
        if (fd < 0) {
            log_line(LOG_LEVEL_WARNING, "Failed opening Unix socket %s: %s", c->unixsocket,
                     strerror(-fd));
            return false;
        }
        l->kinds[l->count] = LISTEN_UNIX;
        l->fds[l->count++] = fd;
    }
    if (!l->count) log_line(LOG_LEVEL_WARNING, "Configured to not listen anywhere, exiting.");
    return l->count > 0;
}

static void close_all(const struct config *config, const struct listeners *l)
{
    for (unsigned i = 0; i < l->count; i++) net_close(l->fds[i]);
    if (config->unixsocket[0]) remove(config->unixsocket);
    if (config->pidfile[0]) remove(config->pidfile);
}

/* ---- the server ---- */

/* Redis' texts, but for the name. */
static void tell_manager(const struct config *config)
{
    bool automatic = config->supervised == CONFIG_SUPERVISED_AUTO;
    bool systemd = config->supervised == CONFIG_SUPERVISED_SYSTEMD;
    bool upstart = config->supervised == CONFIG_SUPERVISED_UPSTART;
    int error;
    enum notify_manager found = notify_begin(systemd || automatic, upstart || automatic, &error);
    if (found == NOTIFY_SYSTEMD)
        notify_tell("STATUS=Starting\n");
    else if (error)
        log_line(LOG_LEVEL_WARNING, "Can't connect to systemd socket %s", strerror(-error));
    else if (systemd)
        log_line(LOG_LEVEL_WARNING, "systemd supervision requested or auto-detected, but "
                                    "NOTIFY_SOCKET not found");
    else if (upstart && found == NOTIFY_NOBODY)
        log_line(LOG_LEVEL_WARNING, "upstart supervision requested, but UPSTART_JOB not found!");
}

/* All workers run: waits until the data is loaded, and says so. */
static void tell_ready(struct hub *hub, const struct config *config, uint32_t workers)
{
    log_line(LOG_LEVEL_NOTICE,
             "Splitring " SPLITRING_VERSION " started: %u workers, port %d, pid %ld", workers,
             config->port ? config->port : config->tls_port, os_pid());
    while (hub_loading_shared(hub) && !hub_stopping_shared(hub)) os_sleep_us(500);
    if (hub_stopping_shared(hub)) return;
    log_line(LOG_LEVEL_NOTICE, "Ready to accept connections");
    notify_tell("READY=1\nSTATUS=Ready to accept connections\n");
}

/* What there is for this process: the machine's memory, or its cgroup's where that has a limit. */
static uint64_t server_memory(bool *limited)
{
    uint64_t machine = os_memory_total(), limit = os_cgroup_memory_max("", "");
    bool pod = limit && limit < machine;
    if (limited) *limited = pod;
    return pod ? limit : machine;
}

void server_limit_memory(struct config *config, bool clients_given)
{
    bool limited;
    uint64_t memory = server_memory(&limited);
    if (!limited) return;
    int share = memory > POD_RESERVE ? (int)((memory - POD_RESERVE) * 100 / memory) : 0;
    if (share > POD_SHARE) share = POD_SHARE;
    if (share < POD_SHARE_MIN) share = POD_SHARE_MIN;
    config->maxmemory = -share;
    if (!clients_given) config->maxmemory_clients = -POD_CLIENTS;
    log_line(LOG_LEVEL_NOTICE,
             "maxmemory is %d%% of this cgroup's %llu bytes, because no setting says otherwise "
             "(`maxmemory 0`: no limit). At the limit maxmemory-policy decides.",
             share, (unsigned long long)memory);
}

int server_run(const struct config *config)
{
    struct listeners listeners;
    struct tls_context *tls = NULL;
    unsigned nofile;
    counter ready = 0, failed = 0, gone = 0;
    struct os_cpus cpus;
    os_cpus_find(&cpus, "", "");
    uint32_t workers = config->threads > 0 ? (uint32_t)config->threads : cpus.count;
    if (workers > SHARDS_MAX) workers = SHARDS_MAX;
    os_nofile_raise((unsigned)config->maxclients + 32 + 8 * workers, &nofile);
    if (config->tls_port && !(tls = hub_tls_make(config))) {
        log_line(LOG_LEVEL_WARNING, "Failed to configure TLS. Check logs for more info.");
        return 1;
    }
    if (!listen_all(config, &listeners)) return 1;
    if (config->pidfile[0]) os_pidfile_write(config->pidfile); /* only now is the place ours */
    struct hub_options options = {.workers = workers,
                                  .config = config,
                                  .seed = os_entropy64(),
                                  .lending = config->shard_lending,
                                  .start_ms = os_unix_us() / 1000,
                                  .memory_total = server_memory(NULL),
                                  .tick_scale = os_tick_scale()};
    struct hub *hub = signal_hub = hub_new(&options);
    struct admin *admin = NULL;
    if (hub_load_users(hub) != 0 || hub_load(hub) != 0 ||
        admin_start(&admin, hub, config) != 0) { /* they have said why */
        signal_hub = NULL;
        close_all(config, &listeners);
        hub_free(hub);
        return 1;
    }
    os_signals_install(on_signal);
    tell_manager(config);
    struct os_thread *persister;
    int started = os_thread_start(&persister, "persister", -1, NULL, persister_main, hub);
    check(started == 0);
    struct start starts[SHARDS_MAX];
    for (uint32_t i = 0; i < workers; i++) {
        char name[24];
        int pin_error;
        bool pin = config->cpu_pinning && cpus.usable >= workers;
        snprintf(name, sizeof name, "worker-%u", i);
        starts[i] = (struct start){.hub = hub, .config = config, .id = (worker_id)i,
                                   .cpu = pin ? cpus.cpus[i] : -1, .ready = &ready,
                                   .failed = &failed, .gone = &gone, .workers = workers,
                                   .listeners = i == 0 ? &listeners : NULL,
                                   .tls = i == 0 ? tls : NULL};
        int rc = os_thread_start(&starts[i].thread, name, starts[i].cpu, &pin_error, worker_main,
                                 &starts[i]);
        check(rc == 0);
    }
    while (counter_get_acquire_shared(&ready) < workers) os_sleep_us(200);
    if (!counter_get(&failed)) tell_ready(hub, config, workers);
    for (uint32_t i = 0; i < workers; i++) os_thread_join(starts[i].thread);
    hub_persister_stop_shared(hub);
    os_thread_join(persister);
    signal_hub = NULL;
    bool bad = counter_get(&failed) || hub_load_failed_shared(hub);
    admin_stop(admin);
    close_all(config, &listeners);
    hub_free(hub);
    log_line(LOG_LEVEL_NOTICE, "Splitring is now ready to exit, bye bye...");
    return bad ? 1 : 0;
}
