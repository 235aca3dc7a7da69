/* The face of the sockets: choice of engine, slots, and everything in which the engines agree.
 *
 *   io_attach ─▶ slot ─▶ dirty ─┐        io_wait: recycle buffers
 *   io_pause, io_close … ─▶ dirty ─▶ settle  ─▶ released sockets
 *                                            ─▶ the engine's wait ─▶ events
 *
 * A socket that leaves goes dirty, its operations are cancelled, and when the kernel knows of none
 * any more it moves to the released list, whose members become IO_EV_RELEASED. A socket is on one
 * list at most, so one link is enough.
 *
 * Waking: the flag makes many wakes one system call. The waker sets it after it has published its
 * message; who finds it set already may rely on the write of the one before. The owner clears it
 * only after the descriptor has fired and before io_wait returns, so what was published before the
 * clearing is found by the drain that follows it. The descriptor is never read: both engines watch
 * for its edges.
 *
 * Thread: owner, except io_wake_shared. */
#include "splitring/io/io.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine.h"
#include "splitring/base/mem.h"
#include "splitring/io/os.h"
#include "splitring/io/tls.h"
#include "tls_sock.h"

#define SLOTS_FIRST 64u
#define GENERATION_MASK 0xffffffu /* what a completion's tag has room for */

int io_new(struct io **out, const struct io_options *options, int *refused)
{
    unsigned bufs = options->recv_bufs ? options->recv_bufs : IO_RECV_BUFS_DEFAULT;
    if (refused) *refused = 0;
    if (bufs > IO_RECV_BUFS_MAX || (bufs & (bufs - 1))) return -EINVAL;
    if (options->engine != IO_ENGINE_EPOLL) {
        int rc = uring_new(out, bufs);
        if (rc == 0 || options->engine == IO_ENGINE_URING) return rc;
        if (refused) *refused = -rc;
    }
    return epoll_new(out, bufs);
}

void io_free(struct io *io)
{
    if (io) io->ops->free(io);
}

enum io_engine io_engine_of(const struct io *io)
{
    return io->ops->engine;
}

uint64_t io_syscalls(const struct io *io)
{
    return io->syscalls;
}

int io_init(struct io *io, const struct io_ops *ops)
{
    *io = (struct io){.ops = ops, .slot_free = IO_SLOT_NONE};
    atomic_init(&io->wake_flag, 0u);
    io->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return io->wake_fd < 0 ? -errno : 0;
}

void io_deinit(struct io *io)
{
    for (uint32_t i = 0; i < io->slot_cap; i++) {
        struct io_sock *sock = io->slots[i].sock;
        if (!sock || (sock->flags & SOCK_LISTENER)) continue;
        close(sock->fd);
        sock->fd = -1;
        tls_free(sock->tls);
        sock->tls = NULL;
    }
    tls_sock_free_all(io);
    mem_free(io->slots);
    if (io->wake_fd >= 0) close(io->wake_fd);
}

/* --- slots ------------------------------------------------------------------------------------ */

static int slots_grow(struct io *io)
{
    uint32_t cap = io->slot_cap ? io->slot_cap * 2u : SLOTS_FIRST;
    struct io_slot *slots = mem_try_realloc(io->slots, cap * sizeof *slots);
    if (!slots) return -ENOMEM;
    for (uint32_t i = cap; i-- > io->slot_cap;) {
        slots[i] = (struct io_slot){.next_free = io->slot_free};
        io->slot_free = i;
    }
    io->slots = slots;
    io->slot_cap = cap;
    return 0;
}

static void slot_give(struct io *io, uint32_t slot)
{
    struct io_slot *s = &io->slots[slot];
    s->sock = NULL;
    s->generation = (s->generation + 1u) & GENERATION_MASK;
    s->next_free = io->slot_free;
    io->slot_free = slot;
}

static int sock_add(struct io *io, struct io_sock *sock, int fd, uint32_t flags, void *owner)
{
    if (io->slot_free == IO_SLOT_NONE) {
        int rc = slots_grow(io);
        if (rc < 0) return rc;
    }
    uint32_t slot = io->slot_free;
    io->slot_free = io->slots[slot].next_free;
    io->slots[slot].sock = sock;
    *sock = (struct io_sock){.fd = fd, .flags = flags, .slot = slot, .owner = owner};
    int rc = io->ops->add(io, sock);
    if (rc < 0) slot_give(io, slot);
    return rc;
}

/* --- what the owner asks for ------------------------------------------------------------------ */

int io_listen(struct io *io, struct io_sock *listener, int fd, void *owner)
{
    return sock_add(io, listener, fd, SOCK_LISTENER, owner);
}

int io_attach(struct io *io, struct io_sock *sock, int fd, void *owner)
{
    return sock_add(io, sock, fd, 0, owner);
}

void io_close(struct io *io, struct io_sock *sock)
{
    check(!(sock->flags & SOCK_LEAVING));
    if (sock->tls) tls_sock_leave(io, sock, true);
    sock->flags |= SOCK_CLOSING;
    io_mark_dirty(io, sock);
}

void io_detach(struct io *io, struct io_sock *sock)
{
    check(!(sock->flags & SOCK_LEAVING));
    if (sock->tls) tls_sock_leave(io, sock, false);
    sock->flags |= SOCK_DETACHING;
    io_mark_dirty(io, sock);
}

void io_pause(struct io *io, struct io_sock *sock)
{
    if (sock->flags & (SOCK_PAUSED | SOCK_LEAVING)) return;
    sock->flags |= SOCK_PAUSED;
    io_mark_dirty(io, sock);
}

void io_resume(struct io *io, struct io_sock *sock)
{
    if (!(sock->flags & SOCK_PAUSED) || (sock->flags & SOCK_LEAVING)) return;
    sock->flags &= ~(uint32_t)(SOCK_PAUSED | SOCK_HUNG);
    io_mark_dirty(io, sock);
}

void io_want_write(struct io *io, struct io_sock *sock)
{
    if (unlikely(sock->tls)) {
        tls_sock_want_write(io, sock);
        return;
    }
    if (sock->flags & (SOCK_WANT_WRITE | SOCK_LEAVING)) return;
    sock->flags |= SOCK_WANT_WRITE;
    io_mark_dirty(io, sock);
}

ssize_t io_send(struct io *io, struct io_sock *sock, const char *ptr, size_t len)
{
    ssize_t sent;
    if (unlikely(sock->tls)) return tls_sock_send(io, sock, ptr, len);
    do {
        io->syscalls++;
        /* Not send(): a cancellation point, which costs two locked instructions per call. */
        sent = syscall(SYS_sendto, sock->fd, ptr, len, MSG_NOSIGNAL | MSG_DONTWAIT, NULL, 0);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : sent;
}

void io_wake_shared(struct io *io)
{
    if (atomic_exchange_explicit(&io->wake_flag, 1u, memory_order_acq_rel)) return;
    uint64_t one = 1;
    ssize_t rc;
    do rc = write(io->wake_fd, &one, sizeof one);
    while (rc < 0 && errno == EINTR);
    check(rc == (ssize_t)sizeof one); /* 2^64 wakes would be needed to fill it */
}

void io_wake_seen(struct io *io)
{
    (void)atomic_exchange_explicit(&io->wake_flag, 0u, memory_order_acq_rel);
}

/* --- shared answers of the engines ------------------------------------------------------------ */

int io_sock_error(int fd)
{
    int error = 0;
    socklen_t len = sizeof error;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0) return errno;
    return error;
}

/* A Unix socket hangs up as soon as its peer is closed, with bytes still unread, and those belong
 * to the owner: then the end waits for the resume, whose receive meets it after the bytes. */
bool io_hung_up(struct io_sock *sock, bool failed, struct io_event *event)
{
    int unread = 0;
    if (!failed && ioctl(sock->fd, FIONREAD, &unread) == 0 && unread > 0) {
        sock->flags |= SOCK_HUNG;
        return false;
    }
    sock->flags |= SOCK_ENDED;
    *event = io_event_of(IO_EV_CLOSED, sock);
    if (failed) event->error = io_sock_error(sock->fd);
    return true;
}

void io_accept_failed(struct io *io, struct io_sock *listener, int error, struct io_event *event)
{
    listener->flags |= SOCK_ACCEPT_PAUSED;
    io_mark_dirty(io, listener);
    io->accept_retry_us = os_mono_us() + IO_ACCEPT_PAUSE_US;
    *event = io_event_of(IO_EV_ACCEPT_FAILED, listener);
    event->error = error;
}

/* --- the pass --------------------------------------------------------------------------------- */

static void let_go(struct io *io, struct io_sock *sock)
{
    if ((sock->flags & SOCK_CLOSING) && !(sock->flags & SOCK_LISTENER)) {
        io->syscalls++;
        close(sock->fd);
        sock->fd = -1;
        tls_free(sock->tls);
        sock->tls = NULL;
    }
    slot_give(io, sock->slot);
    sock->next = NULL;
    if (io->released.tail) io->released.tail->next = sock;
    else io->released.head = sock;
    io->released.tail = sock;
}

static void settle_all(struct io *io)
{
    struct io_sock *sock = io->dirty.head;
    io->dirty = (struct io_sock_list){0};
    while (sock) {
        struct io_sock *next = sock->next;
        sock->flags &= ~(uint32_t)SOCK_DIRTY;
        if (!io->ops->settle(io, sock)) io_mark_dirty(io, sock);
        else if ((sock->flags & SOCK_LEAVING) && sock->pending == 0) let_go(io, sock);
        sock = next;
    }
}

static unsigned report_released(struct io *io, struct io_event *events, unsigned cap)
{
    unsigned n = 0;
    while (n < cap && io->released.head) {
        struct io_sock *sock = io->released.head;
        io->released.head = sock->next;
        if (!sock->next) io->released.tail = NULL;
        sock->flags = 0;
        events[n] = io_event_of(IO_EV_RELEASED, sock);
        events[n++].fd = sock->fd;
    }
    return n;
}

/* Listeners are few, but only the slots know them; this runs ten times a second at most, and only
 * while descriptors are short. Returns the microseconds until the next look, -1: none is due. */
static int64_t accept_again(struct io *io)
{
    int64_t left = io->accept_retry_us - os_mono_us();
    if (left > 0) return left;
    io->accept_retry_us = 0;
    for (uint32_t i = 0; i < io->slot_cap; i++) {
        struct io_sock *sock = io->slots[i].sock;
        if (!sock || !(sock->flags & SOCK_ACCEPT_PAUSED)) continue;
        sock->flags &= ~(uint32_t)SOCK_ACCEPT_PAUSED;
        io_mark_dirty(io, sock);
    }
    return -1;
}

int io_wait(struct io *io, struct io_event *events, unsigned cap, const struct io_wait *wait)
{
    struct io_wait now = *wait;
    dcheck(cap >= 2);
    io->ops->recycle(io);
    if (unlikely(io->accept_retry_us)) {
        int64_t left = accept_again(io);
        if (left >= 0 && (now.timeout_us < 0 || now.timeout_us > left)) now.timeout_us = left;
    }
    settle_all(io);
    unsigned n = report_released(io, events, cap);
    if (unlikely(io->tls)) {
        if (cap > IO_TLS_EVENTS_MAX) cap = IO_TLS_EVENTS_MAX;
        if (n < cap && tls_sock_pass(io, events, cap, &n)) now.timeout_us = 0;
    }
    if (n > 0 || io->dirty.head) now.timeout_us = 0;
    if (cap < n + 2) return (int)n;

    int rc = io->ops->wait(io, events + n, cap - n, &now);
    if (rc < 0) return n > 0 ? (int)n : rc;
    if (unlikely(io->tls)) rc = (int)tls_sock_events(io, events + n, (unsigned)rc);
    return (int)n + rc;
}
