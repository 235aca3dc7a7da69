/* The outside world of a simulated worker: the io face, and what the worker uses of net, os and
 * log. (Threads and clocks: sim_thread.c; files: sim_disk.c.)
 *
 * A wait gives the processor to the scheduler, which resumes the worker when it has an event, was
 * woken, or its time is over: so a lost wake-up is a schedule that never ends. Sends are short at
 * random, refuse at random, and are points where another worker may run.
 * Thread: one. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "sim.h"
#include "splitring/base/check.h"
#include "splitring/io/log.h"
#include "splitring/io/net.h"
#include "splitring/io/notify.h"
#include "splitring/io/os.h"
#include "splitring/io/tls.h"

static struct sim_client *client_of(struct io *io, int fd)
{
    return &io->sim->clients[fd - 100];
}

void sim_event(struct io *io, struct io_event event, char *buffer)
{
    check(io->event_count < ARRAY_COUNT(io->events));
    io->buffers[io->event_count] = buffer;
    io->events[io->event_count++] = event;
}

bool sim_deliver(struct sim *sim, struct sim_client *client)
{
    size_t left = client->out.len - client->out_taken;
    if (!left || !client->io || client->io->event_count > 200) return false;
    size_t len = rng_below(&sim->rng, 3) ? left : 1 + rng_below(&sim->rng, left);
    char *copy = malloc(len);
    memcpy(copy, client->out.ptr + client->out_taken, len);
    client->out_taken += len;
    sim_event(client->io, (struct io_event){.kind = IO_EV_RECEIVED, .ptr = copy, .len = len,
                                            .owner = client->sock->owner}, copy);
    return true;
}

/* ---- io.h ---- */

int io_listen(struct io *io, struct io_sock *listener, int fd, void *owner)
{
    (void)io;
    listener->fd = fd;
    listener->owner = owner;
    return 0;
}

int io_attach(struct io *io, struct io_sock *sock, int fd, void *owner)
{
    struct sim_client *client = client_of(io, fd);
    sock->fd = fd;
    sock->owner = owner;
    client->io = io;
    client->sock = sock;
    return 0;
}

/* Simulated clients have no TLS. */
int io_attach_tls(struct io *io, struct io_sock *sock, struct tls *tls, void *owner)
{
    (void)tls;
    (void)owner;
    check(!io && !sock);
    return 0;
}

bool io_handshaking(const struct io_sock *sock)
{
    (void)sock;
    return false;
}

unsigned io_handshakes(const struct io *io)
{
    (void)io;
    return 0;
}

struct tls_context *tls_context_new(const struct tls_options *options, struct buf *why)
{
    (void)options;
    (void)why;
    return NULL;
}

void tls_context_free(struct tls_context *context) { (void)context; }

struct tls *tls_new(struct tls_context *context, int fd)
{
    (void)context;
    (void)fd;
    return NULL;
}

void tls_free(struct tls *tls) { (void)tls; }

int tls_fd(const struct tls *tls)
{
    (void)tls;
    return -1;
}

static void let_go(struct io *io, struct io_sock *sock)
{
    if (sock->fd >= 100) client_of(io, sock->fd)->io = NULL;
    for (unsigned i = 0; i < io->event_count;) { /* no event of it follows */
        if (io->events[i].owner != sock->owner) {
            i++;
            continue;
        }
        free(io->buffers[i]);
        io->event_count--;
        memmove(&io->events[i], &io->events[i + 1], (io->event_count - i) * sizeof io->events[0]);
        memmove(&io->buffers[i], &io->buffers[i + 1],
                (io->event_count - i) * sizeof io->buffers[0]);
    }
    sim_event(io, (struct io_event){.kind = IO_EV_RELEASED, .owner = sock->owner}, NULL);
}

/* What has arrived goes along with the connection. */
void io_detach(struct io *io, struct io_sock *sock)
{
    if (sock->fd < 100) {
        let_go(io, sock);
        return;
    }
    client_of(io, sock->fd)->io = NULL;
    sim_event(io, (struct io_event){.kind = IO_EV_RELEASED, .fd = sock->fd, .owner = sock->owner},
              NULL);
}

void io_close(struct io *io, struct io_sock *sock)
{
    let_go(io, sock);
}

ssize_t io_send(struct io *io, struct io_sock *sock, const char *ptr, size_t len)
{
    struct sim *sim = io->sim;
    struct sim_client *client = client_of(io, sock->fd);
    if (rng_below(&sim->rng, 100) < sim->preempt_percent) sim_yield(sim);
    if (rng_below(&sim->rng, 16) == 0) return -EAGAIN;
    if (rng_below(&sim->rng, 8) == 0) len = 1 + rng_below(&sim->rng, len);
    buf_append(&client->replies, ptr, len);
    return (ssize_t)len;
}

void io_want_write(struct io *io, struct io_sock *sock)
{
    client_of(io, sock->fd)->want_write = true;
}

void io_pause(struct io *io, struct io_sock *sock)
{
    (void)io;
    (void)sock;
}

void io_resume(struct io *io, struct io_sock *sock)
{
    (void)io;
    (void)sock;
}

int io_wait(struct io *io, struct io_event *events, unsigned cap, const struct io_wait *wait)
{
    struct sim *sim = io->sim;
    for (unsigned i = 0; i < io->given_count; i++) free(io->given[i]);
    io->given_count = 0;
    sim_wait(sim, &io->fiber, wait->timeout_us);
    unsigned n = io->event_count < cap ? io->event_count : cap;
    memcpy(events, io->events, n * sizeof *events);
    memcpy(io->given, io->buffers, n * sizeof io->given[0]);
    io->given_count = n;
    io->event_count -= n;
    memmove(io->events, io->events + n, io->event_count * sizeof io->events[0]);
    memmove(io->buffers, io->buffers + n, io->event_count * sizeof io->buffers[0]);
    return (int)n;
}

void io_wake_shared(struct io *io)
{
    io->fiber.woken = true;
}

enum io_engine io_engine_of(const struct io *io)
{
    (void)io;
    return IO_ENGINE_EPOLL;
}

/* ---- net.h, os.h, log.h: as far as the worker uses them ---- */

int net_prepare(int fd, unsigned keepalive_s)
{
    (void)fd;
    (void)keepalive_s;
    return 0;
}

int net_connect_start(const char *host, uint16_t port)
{
    (void)host;
    (void)port;
    return -ENOSYS;
}

void net_close(int fd) { (void)fd; }
void net_refuse(int fd, struct slice why)
{
    (void)fd;
    (void)why;
}

void net_peer_name(int fd, char *out, size_t cap) { snprintf(out, cap, "127.0.0.1:%d", fd); }
void net_local_name(int fd, char *out, size_t cap)
{
    (void)fd;
    snprintf(out, cap, "127.0.0.1:1");
}

bool net_peer_is_loopback(int fd)
{
    (void)fd;
    return true;
}

long os_pid(void) { return 1; }
uint64_t os_rss_bytes(void) { return 0; }
uint64_t os_rss_anon_bytes(void) { return 0; }
uint64_t os_memory_total(void) { return 0; }
void os_entropy(void *out, size_t len) { memset(out, 7, len); } /* nobody asks for a password */
void os_usage_get(struct os_usage *out) { *out = (struct os_usage){0}; }
void os_thread_usage_get(struct os_usage *out) { *out = (struct os_usage){0}; }
void os_exe_path(char *out, size_t cap) { snprintf(out, cap, "sim"); }
void os_uname(char *out, size_t cap) { snprintf(out, cap, "sim"); }
void os_cwd(char *out, size_t cap) { snprintf(out, cap, "/"); }
int os_nofile_raise(unsigned want, unsigned *got)
{
    *got = want;
    return 0;
}
void notify_tell(const char *lines) { (void)lines; }

const char *notify_manager_name(void) { return "no"; }

const char *os_error_text(int rc)
{
    (void)rc;
    return "error";
}

int os_chdir(const char *path)
{
    (void)path;
    return 0;
}

void log_set_level(enum log_level level) { (void)level; }
void log_set_format(enum log_format format, enum log_time time) { (void)format, (void)time; }
/* With SPLITRING_SIM_LOG set in the environment, what the server says is shown. */
static bool shown(void)
{
    static int wanted = -1;
    if (wanted < 0) wanted = getenv("SPLITRING_SIM_LOG") != NULL;
    return wanted;
}

bool log_wants(enum log_level level) { return level > LOG_LEVEL_WARNING || shown(); }

void log_line(enum log_level level, const char *fmt, ...)
{
    va_list args;
    (void)level;
    if (!shown()) return;
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
}
