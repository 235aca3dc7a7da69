/* The inside of struct io, shared by its bodies (uring.c, epoll.c) and by io.c, which drives them.
 *
 * Every call on the face only notes what is wanted (a flag) and puts the socket on the dirty list.
 * The next io_wait settles each dirty socket once: it compares what is wanted with what the kernel
 * was told and issues the difference. So a pause and a resume within one pass cost nothing, and
 * close, detach, re-arming after a refusal are one code path.
 *
 * Thread: owner, but for the fields under *any thread*. */
#ifndef SPLITRING_SRC_IO_ENGINE_H
#define SPLITRING_SRC_IO_ENGINE_H

#include <stdalign.h>
#include <stdatomic.h>

#include "splitring/base/check.h"
#include "splitring/io/io.h"

#define IO_BUF_LEN 16384u
#define IO_RECV_BUFS_DEFAULT 1024u
#define IO_RECV_BUFS_MAX 32768u
#define IO_ACCEPT_PAUSE_US 100000

/* io_sock.flags: what the owner wants and what has been reported. */
enum {
    SOCK_LISTENER = 1u << 0,
    SOCK_PAUSED = 1u << 1,
    SOCK_WANT_WRITE = 1u << 2,
    SOCK_CLOSING = 1u << 3,
    SOCK_DETACHING = 1u << 4,
    SOCK_ENDED = 1u << 5,        /* IO_EV_CLOSED was reported: nothing more to receive */
    SOCK_HUNG = 1u << 6,         /* hung up while paused, unread bytes are left for the resume */
    SOCK_ACCEPT_PAUSED = 1u << 7,/* out of descriptors: waits for io->accept_retry_us */
    SOCK_DIRTY = 1u << 8,        /* linked in io->dirty */
    SOCK_LEAVING = SOCK_CLOSING | SOCK_DETACHING,
};

struct io_sock_list {
    struct io_sock *head, *tail;
};

/* What a completion's tag points at. The generation moves with every release, so that a late
 * completion of an earlier socket finds nobody. */
struct io_slot {
    struct io_sock *sock;
    uint32_t generation;
    uint32_t next_free;
};

struct io_ops {
    enum io_engine engine;
    void (*free)(struct io *io);
    /* Tells the kernel of a new socket; may leave it to settle. Negative errno. */
    int (*add)(struct io *io, struct io_sock *sock);
    /* The buffers of the last events come back. */
    void (*recycle)(struct io *io);
    /* Makes the kernel's view agree with flags; false: no room now, ask again. A leaving socket is
     * let go when `pending` is 0 afterwards. */
    bool (*settle)(struct io *io, struct io_sock *sock);
    int (*wait)(struct io *io, struct io_event *events, unsigned cap, const struct io_wait *wait);
};

struct io {
    /* constant after start */
    const struct io_ops *ops;
    int wake_fd;
    /* owner only */
    struct io_slot *slots;
    uint32_t slot_cap;
    uint32_t slot_free; /* head of the free list, IO_SLOT_NONE: empty */
    struct io_sock_list dirty;
    struct io_sock_list released;
    int64_t accept_retry_us; /* monotonic; 0: no listener is paused */
    uint64_t syscalls;
    struct io_tls *tls;      /* NULL: it has had no TLS (tls.c) */
    unsigned handshakes;     /* sockets that are not through yet */
    /* any thread: 1 from a wake until the owner has seen it */
    alignas(CACHE_LINE) atomic_uint wake_flag;
};

#define IO_SLOT_NONE UINT32_MAX

int uring_new(struct io **out, unsigned recv_bufs) WARN_UNUSED;
int epoll_new(struct io **out, unsigned recv_bufs) WARN_UNUSED;

/* Common parts of both bodies (io.c). */
int io_init(struct io *io, const struct io_ops *ops) WARN_UNUSED;
void io_deinit(struct io *io); /* closes what is still attached */
void io_accept_failed(struct io *io, struct io_sock *listener, int error, struct io_event *event);
int io_sock_error(int fd); /* SO_ERROR, positive errno */
/* A hang-up was seen on a paused socket: fills the event and says true if it is to be reported. */
bool io_hung_up(struct io_sock *sock, bool failed, struct io_event *event);
/* Takes the wake flag back; call it once the wake descriptor has fired. */
void io_wake_seen(struct io *io);

static inline void io_mark_dirty(struct io *io, struct io_sock *sock)
{
    if (sock->flags & SOCK_DIRTY) return;
    sock->flags |= SOCK_DIRTY;
    sock->next = NULL;
    if (io->dirty.tail) io->dirty.tail->next = sock;
    else io->dirty.head = sock;
    io->dirty.tail = sock;
}

static inline struct io_sock *io_slot_find(struct io *io, uint32_t slot, uint32_t generation)
{
    if (slot >= io->slot_cap || io->slots[slot].generation != generation) return NULL;
    return io->slots[slot].sock;
}

static inline struct io_event io_event_of(enum io_event_kind kind, struct io_sock *sock)
{
    return (struct io_event){.kind = kind, .fd = -1, .owner = sock->owner, .sock = sock};
}

#endif
