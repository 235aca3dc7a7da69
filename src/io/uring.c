/* The io_uring engine: one ring per worker, one io_uring_enter per pass.
 *
 * Every socket has at most one operation of each kind armed; `pending` has a bit per armed kind and
 * a bit per cancel under way. Settling compares the kinds wanted with the kinds armed:
 *
 *   kind     wanted when                                armed as
 *   ACCEPT   listener, not short of descriptors         multishot accept
 *   RECV     not paused, not ended                      multishot receive into provided buffers
 *   HANGUP   paused, not ended, not already hung up     poll for HUP and ERR only
 *   OUT      the owner waits for room to write          poll for OUT
 *
 * A kind that ends by itself (no CQE_F_MORE: buffers out, completion queue full, one-shot poll)
 * makes its socket dirty if it is still wanted, which re-arms it. A leaving socket wants nothing:
 * all is cancelled, and when the last bit is gone the descriptor is closed. Closing it with a
 * receive still armed would send no FIN, because the request holds the file.
 *
 * A completion's tag is kind | generation | slot; cancels carry a tag that nobody looks at. Sends
 * are plain send(2): measured equal to SQEs, and one at a time by nature.
 *
 * Needs Linux 6.0 (multishot receive, SINGLE_ISSUER appeared together); DEFER_TASKRUN is 6.1,
 * waiting for a batch 6.12.
 * Thread: owner. */
#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine.h"
#include "splitring/base/mem.h"
#include "uring_bufs.h"

#ifndef IORING_FEAT_MIN_TIMEOUT
#define IORING_FEAT_MIN_TIMEOUT (1U << 15) /* Linux 6.12 */
#endif

#define SQ_ENTRIES 1024u
#define CQ_ENTRIES 8192u /* overflow loses nothing but costs: room for a burst of connections */

/* The kernel runs about so many deferred receives per call (IO_LOCAL_TW_DEFAULT_MAX), and no flag
 * says that more are left: where so many came it is asked again, because small passes are dear. */
#define TASKS_PER_CALL 20u

enum { OP_ACCEPT, OP_RECV, OP_HANGUP, OP_OUT, OP_KINDS, OP_WAKE, OP_NOBODY };

#define BIT(kind) (1u << (kind))
#define CANCEL_BIT(kind) (1u << ((kind) + 8u))

/* struct io_uring_getevents_arg as of Linux 6.12; min_wait_us was padding before. */
struct enter_arg {
    uint64_t sigmask;
    uint32_t sigmask_len;
    uint32_t min_wait_us;
    uint64_t timeout;
};
static_assert(sizeof(struct enter_arg) == sizeof(struct io_uring_getevents_arg), "same argument");

struct uring {
    struct io io;
    /* constant after start */
    int enter_fd;
    unsigned enter_flags;
    bool can_batch;
    /* owner only */
    bool wake_armed;
    struct io_uring ring;
    struct uring_bufs bufs;
};

static struct uring *uring_of(struct io *io)
{
    return CONTAINER_OF(io, struct uring, io);
}

/* --- submission ------------------------------------------------------------------------------- */

/* The submission array is the identity since start, so publishing is one store. */
static unsigned publish(struct uring *u)
{
    struct io_uring_sq *sq = &u->ring.sq;
    sq->sqe_head = sq->sqe_tail;
    __atomic_store_n(sq->ktail, sq->sqe_tail, __ATOMIC_RELEASE);
    return sq->sqe_tail - __atomic_load_n(sq->khead, __ATOMIC_ACQUIRE);
}

static int enter(struct uring *u, unsigned submit, unsigned min_complete, unsigned flags,
                 const struct enter_arg *arg)
{
    u->io.syscalls++;
    long rc = syscall(__NR_io_uring_enter, u->enter_fd, submit, min_complete,
                      flags | u->enter_flags, arg, arg ? sizeof *arg : 0);
    return rc < 0 ? -errno : (int)rc;
}

static struct io_uring_sqe *take_sqe(struct uring *u)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
    if (likely(sqe)) return sqe;
    (void)enter(u, publish(u), 0, 0, NULL);
    return io_uring_get_sqe(&u->ring); /* still none: the caller asks again in the next pass */
}

static uint64_t tag_of(const struct uring *u, const struct io_sock *sock, unsigned kind)
{
    uint64_t generation = u->io.slots[sock->slot].generation;
    return (uint64_t)kind << 56 | generation << 32 | sock->slot;
}

static unsigned kinds_wanted(const struct io_sock *sock)
{
    uint32_t flags = sock->flags;
    if (flags & SOCK_LEAVING) return 0;
    if (flags & SOCK_LISTENER) return flags & SOCK_ACCEPT_PAUSED ? 0 : BIT(OP_ACCEPT);
    unsigned out = flags & SOCK_WANT_WRITE ? BIT(OP_OUT) : 0;
    if (flags & SOCK_ENDED) return out;
    if (flags & SOCK_PAUSED) return flags & SOCK_HUNG ? out : out | BIT(OP_HANGUP);
    return out | BIT(OP_RECV);
}

static bool arm(struct uring *u, struct io_sock *sock, unsigned kind)
{
    struct io_uring_sqe *sqe = take_sqe(u);
    if (!sqe) return false;
    switch (kind) {
    case OP_ACCEPT:
        io_uring_prep_multishot_accept(sqe, sock->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        break;
    case OP_RECV:
        io_uring_prep_recv_multishot(sqe, sock->fd, NULL, 0, 0);
        sqe->flags |= IOSQE_BUFFER_SELECT;
        sqe->buf_group = URING_BUF_GROUP;
        break;
    case OP_HANGUP: io_uring_prep_poll_add(sqe, sock->fd, POLLHUP | POLLERR); break;
    default: io_uring_prep_poll_add(sqe, sock->fd, POLLOUT); break;
    }
    io_uring_sqe_set_data64(sqe, tag_of(u, sock, kind));
    sock->pending |= BIT(kind);
    return true;
}

static bool cancel(struct uring *u, struct io_sock *sock, unsigned kind)
{
    struct io_uring_sqe *sqe = take_sqe(u);
    if (!sqe) return false;
    io_uring_prep_cancel64(sqe, tag_of(u, sock, kind), 0);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS; /* the cancelled operation's own completion tells */
    io_uring_sqe_set_data64(sqe, (uint64_t)OP_NOBODY << 56);
    sock->pending |= CANCEL_BIT(kind);
    return true;
}

static bool uring_settle(struct io *io, struct io_sock *sock)
{
    struct uring *u = uring_of(io);
    unsigned wanted = kinds_wanted(sock);
    for (unsigned kind = 0; kind < OP_KINDS; kind++) {
        bool armed = sock->pending & BIT(kind);
        bool cancelled = sock->pending & CANCEL_BIT(kind);
        if (wanted & BIT(kind)) {
            if (!armed && !arm(u, sock, kind)) return false;
        } else if (armed && !cancelled && !cancel(u, sock, kind)) {
            return false;
        }
    }
    return true;
}

static int uring_add(struct io *io, struct io_sock *sock)
{
    io_mark_dirty(io, sock);
    return 0;
}

static void uring_recycle(struct io *io)
{
    uring_bufs_recycle(&uring_of(io)->bufs);
}

/* Each write to the wake descriptor is one edge and one completion; nobody reads it. */
static void arm_wake(struct uring *u)
{
    struct io_uring_sqe *sqe = take_sqe(u);
    if (!sqe) return;
    io_uring_prep_poll_multishot(sqe, u->io.wake_fd, POLLIN);
    io_uring_sqe_set_data64(sqe, (uint64_t)OP_WAKE << 56);
    u->wake_armed = true;
}

/* --- completion ------------------------------------------------------------------------------- */

/* Each returns whether *event was filled. */
static bool on_accept(struct uring *u, struct io_sock *sock, int res, struct io_event *event)
{
    if (res >= 0) {
        if (sock->flags & SOCK_LEAVING) {
            close(res);
            return false;
        }
        *event = io_event_of(IO_EV_ACCEPTED, sock);
        event->fd = res;
        return true;
    }
    if (res == -ECANCELED || res == -ECONNABORTED || res == -EINTR || res == -EAGAIN) return false;
    if (sock->flags & SOCK_LEAVING) return false;
    io_accept_failed(&u->io, sock, -res, event);
    return true;
}

static bool on_recv(struct uring *u, struct io_sock *sock, int res, const char *ptr,
                    struct io_event *event)
{
    if (sock->flags & SOCK_CLOSING) return false;
    if (res > 0) {
        *event = io_event_of(IO_EV_RECEIVED, sock);
        event->ptr = ptr;
        event->len = (size_t)res;
        return true;
    }
    if (res == -ENOBUFS) u->bufs.starved = 1;
    if (res == -ENOBUFS || res == -ECANCELED || res == -EINTR || res == -EAGAIN) return false;
    if (sock->flags & (SOCK_DETACHING | SOCK_ENDED)) return false; /* the next io meets it again */
    sock->flags |= SOCK_ENDED;
    *event = io_event_of(IO_EV_CLOSED, sock);
    event->error = -res;
    return true;
}

static bool on_poll(struct io_sock *sock, unsigned kind, int res, struct io_event *event)
{
    if (res == -ECANCELED || (sock->flags & SOCK_LEAVING)) return false;
    if (kind == OP_OUT) {
        sock->flags &= ~(uint32_t)SOCK_WANT_WRITE;
        *event = io_event_of(IO_EV_WRITABLE, sock);
        return true;
    }
    if (!(sock->flags & SOCK_PAUSED) || (sock->flags & SOCK_ENDED)) return false;
    return io_hung_up(sock, res < 0 || (res & POLLERR), event);
}

static bool on_completion(struct uring *u, const struct io_uring_cqe *cqe, struct io_event *event)
{
    uint64_t tag = cqe->user_data;
    unsigned kind = (unsigned)(tag >> 56);
    const char *ptr = NULL;
    if (cqe->flags & IORING_CQE_F_BUFFER)
        ptr = uring_bufs_take(&u->bufs, (uint16_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT));
    if (kind == OP_WAKE) {
        io_wake_seen(&u->io);
        if (!(cqe->flags & IORING_CQE_F_MORE)) u->wake_armed = false;
        return false;
    }
    if (kind >= OP_KINDS) return false;
    struct io_sock *sock = io_slot_find(&u->io, (uint32_t)tag, (uint32_t)(tag >> 32) & 0xffffffu);
    if (!sock) return false;
    bool filled;
    switch (kind) {
    case OP_ACCEPT: filled = on_accept(u, sock, cqe->res, event); break;
    case OP_RECV: filled = on_recv(u, sock, cqe->res, ptr, event); break;
    default: filled = on_poll(sock, kind, cqe->res, event); break;
    }
    if (!(cqe->flags & IORING_CQE_F_MORE)) {
        sock->pending &= ~(BIT(kind) | CANCEL_BIT(kind));
        if ((sock->flags & SOCK_LEAVING) || (kinds_wanted(sock) & BIT(kind)))
            io_mark_dirty(&u->io, sock);
    }
    return filled;
}

static unsigned reap(struct uring *u, struct io_event *events, unsigned cap)
{
    struct io_uring_cq *cq = &u->ring.cq;
    unsigned head = *cq->khead;
    unsigned tail = __atomic_load_n(cq->ktail, __ATOMIC_ACQUIRE);
    unsigned n = 0;
    for (; head != tail && n < cap; head++)
        n += on_completion(u, &cq->cqes[head & cq->ring_mask], &events[n]);
    __atomic_store_n(cq->khead, head, __ATOMIC_RELEASE);
    return n;
}

/* --- waiting ---------------------------------------------------------------------------------- */

static int uring_wait(struct io *io, struct io_event *events, unsigned cap,
                      const struct io_wait *wait)
{
    struct uring *u = uring_of(io);
    if (unlikely(!u->wake_armed)) arm_wake(u);
    unsigned submit = publish(u);
    bool ready = __atomic_load_n(u->ring.cq.ktail, __ATOMIC_ACQUIRE) != *u->ring.cq.khead;
    bool sleep = !ready && wait->timeout_us != 0;
    unsigned todo = __atomic_load_n(u->ring.sq.kflags, __ATOMIC_RELAXED);
    int rc = 0;

    if (submit || sleep || (todo & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW))) {
        struct __kernel_timespec ts = {wait->timeout_us / 1000000,
                                       wait->timeout_us % 1000000 * 1000};
        struct enter_arg arg = {.timeout = wait->timeout_us > 0 ? (uint64_t)(uintptr_t)&ts : 0};
        unsigned min_complete = sleep;
        if (sleep && wait->batch > 1 && wait->min_wait_us > 0 && u->can_batch) {
            min_complete = wait->batch;
            arg.min_wait_us = wait->min_wait_us;
        }
        if (wait->before) wait->before(wait->ctx);
        if (sleep)
            rc = enter(u, submit, min_complete, IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG,
                       &arg);
        else
            rc = enter(u, submit, 0, IORING_ENTER_GETEVENTS, NULL);
        if (wait->after) wait->after(wait->ctx);
    }
    unsigned n = reap(u, events, cap);
    for (unsigned last = n; last >= TASKS_PER_CALL && n < cap; n += last) {
        if (enter(u, 0, 0, IORING_ENTER_GETEVENTS, NULL) < 0) break;
        last = reap(u, events + n, cap - n);
    }
    if (rc < 0 && n == 0 && rc != -EINTR && rc != -ETIME && rc != -EBUSY && rc != -EAGAIN)
        return rc;
    return (int)n;
}

/* --- start and end ---------------------------------------------------------------------------- */

static int setup_ring(struct io_uring *ring)
{
    static const unsigned tries[] = {
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
    };
    int rc = -EINVAL;
    for (unsigned i = 0; i < ARRAY_COUNT(tries) && rc == -EINVAL; i++) {
        struct io_uring_params params = {
            .flags = tries[i] | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP | IORING_SETUP_SUBMIT_ALL,
            .cq_entries = CQ_ENTRIES,
        };
        rc = io_uring_queue_init_params(SQ_ENTRIES, ring, &params);
    }
    if (rc < 0) return rc;
    if (!(ring->features & IORING_FEAT_NODROP) || !(ring->features & IORING_FEAT_EXT_ARG)) {
        io_uring_queue_exit(ring);
        return -ENOSYS;
    }
    for (unsigned i = 0; i < ring->sq.ring_entries; i++) ring->sq.array[i] = i;
    return 0;
}

/* Cancels everything before the ring goes: its teardown is asynchronous, and a listener's port
 * would stay taken until it is through. */
static void uring_free(struct io *io)
{
    struct uring *u = uring_of(io);
    struct io_uring_sync_cancel_reg all = {
        .fd = -1,
        .flags = IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL,
        .timeout = {.tv_sec = 1},
    };
    (void)io_uring_register_sync_cancel(&u->ring, &all);
    (void)enter(u, 0, 0, IORING_ENTER_GETEVENTS, NULL);
    io_uring_queue_exit(&u->ring);
    uring_bufs_deinit(&u->bufs);
    io_deinit(io);
    mem_free(u);
}

static const struct io_ops uring_ops = {
    .engine = IO_ENGINE_URING,
    .free = uring_free,
    .add = uring_add,
    .recycle = uring_recycle,
    .settle = uring_settle,
    .wait = uring_wait,
};

int uring_new(struct io **out, unsigned recv_bufs)
{
    struct uring *u = mem_alloc_aligned(sizeof *u, CACHE_LINE);
    *u = (struct uring){0};
    int rc = setup_ring(&u->ring);
    if (rc < 0) {
        mem_free(u);
        return rc;
    }
    rc = uring_bufs_init(&u->bufs, &u->ring, recv_bufs);
    if (rc == 0) rc = io_init(&u->io, &uring_ops);
    if (rc < 0) {
        io_uring_queue_exit(&u->ring);
        uring_bufs_deinit(&u->bufs);
        mem_free(u);
        return rc;
    }
    u->can_batch = u->ring.features & IORING_FEAT_MIN_TIMEOUT;
    u->enter_fd = u->ring.ring_fd;
    if (io_uring_register_ring_fd(&u->ring) == 1) {
        u->enter_fd = u->ring.enter_ring_fd;
        u->enter_flags = IORING_ENTER_REGISTERED_RING;
    }
    arm_wake(u);
    *out = &u->io;
    return 0;
}
