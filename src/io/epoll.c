/* The epoll engine: the body for machines that refuse io_uring, and no poor relation.
 *
 * Level-triggered, so that a pass may leave bytes and sockets for the next one without remembering
 * them: every socket gets one receive per pass, of at most READ_MAX bytes. Received bytes are
 * packed one after another into one arena (pass_arena.c), which starts anew each pass.
 *
 * `pending` holds the interest that epoll was told, 0: it does not know the socket. What is not to
 * be received is watched with EPOLLET: HUP and ERR cannot be masked, and by level they would be
 * reported for ever.
 *
 * Waiting for a batch is not imitated: sleeping min_wait and looking again was measured and gains
 * nothing here, since receives are system calls of their own whatever the wait brings.
 *
 * Listeners use EPOLLEXCLUSIVE (one worker wakes per connection), which cannot be modified; they
 * are taken out and put back.
 * Thread: owner. */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "pass_arena.h"
#include "engine.h"
#include "splitring/base/mem.h"

#define EVENTS_MAX 512
#define READ_MAX 32768u
#define ACCEPTS_MAX 64u /* per listener and pass */
#define WAKE_TAG UINT64_MAX

struct epoll_io {
    struct io io;
    /* constant after start */
    int fd;
    unsigned events_max;
    size_t read_max;
    /* owner only */
    struct pass_arena arena;
    bool no_pwait2;
    struct epoll_event ready[EVENTS_MAX];
};

static struct epoll_io *epoll_of(struct io *io)
{
    return CONTAINER_OF(io, struct epoll_io, io);
}

/* --- interest --------------------------------------------------------------------------------- */

static uint32_t interest_of(const struct io_sock *sock)
{
    uint32_t flags = sock->flags;
    if (flags & SOCK_LEAVING) return 0;
    if (flags & SOCK_LISTENER) return flags & SOCK_ACCEPT_PAUSED ? 0 : EPOLLIN | EPOLLEXCLUSIVE;
    uint32_t in = flags & (SOCK_PAUSED | SOCK_ENDED) ? EPOLLET : EPOLLIN;
    return flags & SOCK_WANT_WRITE ? in | EPOLLOUT : in;
}

static int tell(struct epoll_io *e, struct io_sock *sock)
{
    uint32_t interest = interest_of(sock);
    if (interest == sock->pending) return 0;
    /* close(2) takes the socket out by itself */
    bool told = interest == 0 && (sock->flags & SOCK_CLOSING) && !(sock->flags & SOCK_LISTENER);
    if (!told) {
        int op = sock->pending == 0 ? EPOLL_CTL_ADD : interest ? EPOLL_CTL_MOD : EPOLL_CTL_DEL;
        struct epoll_event event = {.events = interest};
        event.data.u64 = (uint64_t)e->io.slots[sock->slot].generation << 32 | sock->slot;
        e->io.syscalls++;
        if (epoll_ctl(e->fd, op, sock->fd, &event) < 0) return -errno;
    }
    sock->pending = interest;
    return 0;
}

static int epoll_add(struct io *io, struct io_sock *sock)
{
    return tell(epoll_of(io), sock);
}

static bool epoll_settle(struct io *io, struct io_sock *sock)
{
    return tell(epoll_of(io), sock) == 0;
}

static void epoll_recycle(struct io *io)
{
    pass_arena_reset(&epoll_of(io)->arena);
}

/* --- events ----------------------------------------------------------------------------------- */

/* Room for read_max is certain: a pass takes no more ready sockets than the arena has room for. */
static unsigned receive(struct epoll_io *e, struct io_sock *sock, struct io_event *event)
{
    char *ptr = pass_arena_room(&e->arena);
    e->io.syscalls++;
    ssize_t len = recv(sock->fd, ptr, e->read_max, MSG_DONTWAIT);
    if (len > 0) {
        pass_arena_take(&e->arena, (size_t)len);
        *event = io_event_of(IO_EV_RECEIVED, sock);
        event->ptr = ptr;
        event->len = (size_t)len;
        return 1;
    }
    int error = len < 0 ? errno : 0;
    if (error == EAGAIN || error == EINTR) return 0;
    sock->flags |= SOCK_ENDED;
    io_mark_dirty(&e->io, sock);
    *event = io_event_of(IO_EV_CLOSED, sock);
    event->error = error;
    return 1;
}

static unsigned accept_some(struct epoll_io *e, struct io_sock *sock, struct io_event *events,
                            unsigned room)
{
    unsigned n = 0;
    while (n < room && n < ACCEPTS_MAX) {
        e->io.syscalls++;
        int fd = accept4(sock->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            events[n] = io_event_of(IO_EV_ACCEPTED, sock);
            events[n++].fd = fd;
        } else if (errno == EAGAIN) {
            break;
        } else if (errno != EINTR && errno != ECONNABORTED) {
            io_accept_failed(&e->io, sock, errno, &events[n++]);
            break;
        }
    }
    return n;
}

/* At most two events, but for a listener. */
static unsigned on_ready(struct epoll_io *e, const struct epoll_event *ready,
                         struct io_event *events, unsigned room)
{
    uint64_t tag = ready->data.u64;
    if (tag == WAKE_TAG) {
        io_wake_seen(&e->io);
        return 0;
    }
    struct io_sock *sock = io_slot_find(&e->io, (uint32_t)tag, (uint32_t)(tag >> 32));
    if (!sock) return 0;
    if (sock->flags & SOCK_LISTENER) return accept_some(e, sock, events, room);
    unsigned n = 0;
    uint32_t hung = ready->events & (EPOLLHUP | EPOLLERR);
    if (!(sock->flags & SOCK_ENDED)) {
        if (!(sock->flags & SOCK_PAUSED) && (hung || (ready->events & EPOLLIN))) {
            n += receive(e, sock, &events[n]);
        } else if ((sock->flags & SOCK_PAUSED) && hung) {
            n += io_hung_up(sock, hung & EPOLLERR, &events[n]);
            io_mark_dirty(&e->io, sock);
        }
    }
    if ((sock->flags & SOCK_WANT_WRITE) && (hung || (ready->events & EPOLLOUT))) {
        sock->flags &= ~(uint32_t)SOCK_WANT_WRITE;
        io_mark_dirty(&e->io, sock);
        events[n++] = io_event_of(IO_EV_WRITABLE, sock);
    }
    return n;
}

/* epoll_wait counts milliseconds; only shorter waits need its younger sister. */
static int wait_ready(struct epoll_io *e, int max, int64_t timeout_us)
{
    e->io.syscalls++;
    if (timeout_us > 0 && timeout_us < 10000 && timeout_us % 1000 && !e->no_pwait2) {
        struct timespec ts = {0, (long)timeout_us * 1000};
        int rc = epoll_pwait2(e->fd, e->ready, max, &ts, NULL);
        if (rc >= 0 || (errno != ENOSYS && errno != EPERM)) return rc < 0 ? -errno : rc;
        e->no_pwait2 = true;
    }
    int64_t timeout_ms = timeout_us < 0 ? -1 : (timeout_us + 999) / 1000;
    int rc = epoll_wait(e->fd, e->ready, max, timeout_ms > 1000000 ? 1000000 : (int)timeout_ms);
    return rc < 0 ? -errno : rc;
}

static int epoll_wait_events(struct io *io, struct io_event *events, unsigned cap,
                             const struct io_wait *wait)
{
    struct epoll_io *e = epoll_of(io);
    unsigned max = cap / 2 < e->events_max ? cap / 2 : e->events_max;
    if (wait->before) wait->before(wait->ctx);
    int count = wait_ready(e, (int)max, wait->timeout_us);
    if (wait->after) wait->after(wait->ctx);
    if (count < 0) return count == -EINTR ? 0 : count;
    unsigned n = 0;
    for (unsigned i = 0; i < (unsigned)count; i++) {
        unsigned reserved = 2 * ((unsigned)count - i - 1);
        n += on_ready(e, &e->ready[i], &events[n], cap - n - reserved);
    }
    return (int)n;
}

/* --- start and end ---------------------------------------------------------------------------- */

static void epoll_free(struct io *io)
{
    struct epoll_io *e = epoll_of(io);
    if (e->fd >= 0) close(e->fd);
    pass_arena_deinit(&e->arena);
    io_deinit(io);
    mem_free(e);
}

static const struct io_ops epoll_ops = {
    .engine = IO_ENGINE_EPOLL,
    .free = epoll_free,
    .add = epoll_add,
    .recycle = epoll_recycle,
    .settle = epoll_settle,
    .wait = epoll_wait_events,
};

int epoll_new(struct io **out, unsigned recv_bufs)
{
    struct epoll_io *e = mem_alloc_aligned(sizeof *e, CACHE_LINE);
    *e = (struct epoll_io){.fd = -1};
    size_t arena_len = (size_t)recv_bufs * IO_BUF_LEN;
    e->read_max = arena_len >= 64 * READ_MAX ? READ_MAX : IO_BUF_LEN;
    e->events_max = (unsigned)(arena_len / e->read_max);
    if (e->events_max > EVENTS_MAX) e->events_max = EVENTS_MAX;
    int rc = io_init(&e->io, &epoll_ops);
    if (!pass_arena_init(&e->arena, arena_len) && rc == 0) rc = -ENOMEM;
    if (rc == 0 && (e->fd = epoll_create1(EPOLL_CLOEXEC)) < 0) rc = -errno;
    struct epoll_event wake = {.events = EPOLLIN | EPOLLET};
    wake.data.u64 = WAKE_TAG;
    if (rc == 0 && epoll_ctl(e->fd, EPOLL_CTL_ADD, e->io.wake_fd, &wake) < 0) rc = -errno;
    if (rc < 0) {
        epoll_free(&e->io);
        return rc;
    }
    *out = &e->io;
    return 0;
}
