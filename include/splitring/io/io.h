/* One worker's view of the sockets: accept, receive, send, wake, wait. Two bodies behind it,
 * io_uring and epoll, chosen at start; the simulator is a third (tests/sim). Nothing here blocks
 * but io_wait().
 *
 * Lifetimes: a struct io_sock sits inside its connection. From io_attach() to the event
 * IO_EV_RELEASED (or io_free) the io refers to it, so its memory stays. io_close() and io_detach()
 * both end with exactly one IO_EV_RELEASED. No other event of that socket is reported by a later
 * io_wait, except that a detached socket may still get IO_EV_RECEIVED: bytes that were on their
 * way, which go along with the connection. (Events of the running pass that the caller has not
 * looked at yet are the caller's to skip.)
 *
 * Calls only note what is wanted; the next io_wait tells the kernel, FIN included. A pause that is
 * resumed within the pass costs nothing.
 * Thread: owner, except io_wake_shared (any). */
#ifndef SPLITRING_IO_IO_H
#define SPLITRING_IO_IO_H

#include <sys/types.h>

#include "splitring/base/slice.h"

struct io;
struct tls;

enum io_engine { IO_ENGINE_AUTO, IO_ENGINE_URING, IO_ENGINE_EPOLL };

enum io_event_kind {
    IO_EV_ACCEPTED, /* fd: the new non-blocking, close-on-exec socket; owner: of the listener */
    IO_EV_RECEIVED, /* ptr, len: bytes, valid until the next io_wait */
    IO_EV_CLOSED,   /* peer closed its side (error 0) or reset / failed (error: positive errno) */
    IO_EV_WRITABLE, /* after io_want_write */
    IO_EV_RELEASED, /* after io_close / io_detach: the kernel has let go; fd: the descriptor given
                     * back (io_detach, listeners), else -1 */
    IO_EV_ACCEPT_FAILED, /* error: EMFILE …; accepting goes on by itself after a pause */
};

struct io_event {
    enum io_event_kind kind;
    int error;
    int fd;
    const char *ptr;
    size_t len;
    void *owner;
    struct io_sock *sock; /* private */
};

/* Engine-private state of one socket; users touch only `fd`, `owner` and, when the socket has been
 * given back, `tls`. */
struct io_sock {
    int fd;
    uint32_t flags;   /* what the owner wants */
    uint32_t pending; /* what the kernel knows of */
    uint32_t slot;
    void *owner;
    struct io_sock *next;
    struct tls *tls;  /* NULL: none */
};

struct io_options {
    enum io_engine engine;
    unsigned recv_bufs;    /* most 16 KiB receive buffers of a pass (power of two), 0: default
                            * 1024; address space: memory comes with use and goes when idle */
};

/* Negative errno; with IO_ENGINE_AUTO a refused io_uring (EPERM, ENOSYS, EACCES, ENOMEM…) falls
 * back to epoll and `*refused` tells the errno (0: not refused). Must be called on the thread that
 * will use it (IORING_SETUP_SINGLE_ISSUER). */
int io_new(struct io **out, const struct io_options *options, int *refused) WARN_UNUSED;
void io_free(struct io *io); /* closes what is still attached; its memory must still be there */
enum io_engine io_engine_of(const struct io *io); /* never AUTO */

/* Listener: the caller owns the descriptor (io_close and io_detach both leave it open); accepted
 * sockets come as events. Several ios may listen on one descriptor. */
int io_listen(struct io *io, struct io_sock *listener, int fd, void *owner) WARN_UNUSED;

/* Starts to receive on fd, which from now on belongs to the io until io_close (closed) or
 * io_detach (given back: the caller reads sock->fd at IO_EV_RELEASED). */
int io_attach(struct io *io, struct io_sock *sock, int fd, void *owner) WARN_UNUSED;
/* The same with TLS (tls.h) on tls's descriptor, and tls belongs to the io like that one: what is
 * received and sent is the plain text. Nothing can be sent until the handshake is done. */
int io_attach_tls(struct io *io, struct io_sock *sock, struct tls *tls, void *owner) WARN_UNUSED;
bool io_handshaking(const struct io_sock *sock);
unsigned io_handshakes(const struct io *io); /* of how many sockets it is not done */
void io_detach(struct io *io, struct io_sock *sock);
/* Bytes already handed to the kernel by io_send are still delivered (FIN after them, no RST if the
 * input was drained). */
void io_close(struct io *io, struct io_sock *sock);

/* Sends now, inline, without blocking: bytes taken (may be short), or negative errno; -EAGAIN: call
 * io_want_write and wait for IO_EV_WRITABLE; what is offered next begins with the same bytes (with
 * TLS they are on their way). Never raises SIGPIPE. */
ssize_t io_send(struct io *io, struct io_sock *sock, const char *ptr, size_t len) WARN_UNUSED;
void io_want_write(struct io *io, struct io_sock *sock);

/* Back-pressure: no IO_EV_RECEIVED between pause and resume but for what is in flight (at most what
 * was already received). While paused a hang-up (RST/HUP) is still reported as IO_EV_CLOSED, but a
 * FIN is not (it would hide behind unread bytes): do not pause who only waits (BLPOP). */
void io_pause(struct io *io, struct io_sock *sock);
void io_resume(struct io *io, struct io_sock *sock);

/* Reports up to cap events (cap >= 2). timeout_us: < 0 for ever, 0 only look. batch > 1: wait until
 * that many events or min_wait_us since the call, whichever is first (FIGURES section 2, adaptive
 * wait), a wake counting as one event; engines that cannot do it ignore it. Returns the number of
 * events, which may be 0 early (a wake, a cancel), or a negative errno (-EINTR counts as 0). Calls
 * before(ctx) / after(ctx), if set, around the system call that may sleep (the worker offers its
 * shard there); not at all where no system call is needed. */
struct io_wait {
    int64_t timeout_us;
    unsigned batch;
    unsigned min_wait_us;
    void (*before)(void *ctx);
    void (*after)(void *ctx);
    void *ctx;
};
int io_wait(struct io *io, struct io_event *events, unsigned cap,
            const struct io_wait *wait) WARN_UNUSED;

/* Makes the current or next io_wait of that io return at once. Thread: any. */
void io_wake_shared(struct io *io);

/* System calls made so far (INFO, benches). */
uint64_t io_syscalls(const struct io *io);

#endif
