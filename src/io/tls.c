/* TLS between an engine and the owner of a socket: the owner sees decrypted bytes and sends plain
 * ones, the engine knows only encrypted ones.
 *
 *   engine ── IO_EV_RECEIVED ──▶ decrypt into the pass' arena ──▶ IO_EV_RECEIVED of the owner
 *   owner ── io_send ──▶ records of 16 KiB, four at a time, in `stage` ──▶ send(2)
 *                                                    └ what the kernel refuses ──▶ tls.pending
 *
 * Backwards: everything received is decrypted at once (it is never more than was received), and the
 * owner's pause stops the engine as for any socket. Forwards: bytes count as sent when the kernel
 * has taken their records. Until then io_send says -EAGAIN and remembers what it owes, so an owner
 * never takes for sent what lies here, and closing, limits and migration need to know nothing of
 * TLS. At most 64 KiB per connection wait in that way.
 *
 * Handshakes cost up to a millisecond of computing. A pass spends HANDSHAKE_US on them (one at
 * least); bytes of others wait in a queue, their sockets paused. So a storm of them slows down
 * those who wait, not those who are served. A handshake has HANDSHAKE_BYTES_MAX; its time is
 * bounded by the owner.
 *
 * Events that come from here and not from the engine (a close_notify behind data, a failed write)
 * are reported by the next io_wait.
 * Thread: owner. */
#include "tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <sys/socket.h>

#include "pass_arena.h"
#include "splitring/base/mem.h"
#include "splitring/io/log.h"
#include "splitring/io/net.h"
#include "splitring/io/os.h"
#include "tls_sock.h"

#define RECORD_MAX 16384u
#define RECORD_ROOM (RECORD_MAX + 1024u) /* with what encryption adds, generously */
#define SEND_MAX (4u * RECORD_MAX)       /* plain bytes per send(2) */
#define PENDING_MAX (2u * SEND_MAX)
#define HANDSHAKE_US 1000
#define HANDSHAKE_BYTES_MAX (128u * 1024u)
#define EVENT_BYTES_MAX 32768u /* of one IO_EV_RECEIVED (epoll.c) */

struct io_tls {
    struct pass_arena plain;  /* decrypted bytes of this pass */
    struct buf stage;    /* encrypted bytes on their way to the kernel */
    struct list queue;   /* tls.link: handshakes that wait, with bytes held */
    struct list due;     /* tls.link: IO_EV_CLOSED is to be reported */
    int64_t spent_us;    /* on handshakes in this pass */
};

/* ---- to the kernel ---- */

static ssize_t send_raw(struct io *io, struct io_sock *sock, const char *ptr, size_t len)
{
    size_t sent = 0;
    while (sent < len) {
        io->syscalls++;
        ssize_t n = send(sock->fd, ptr + sent, len - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0) {
            sent += (size_t)n;
        } else if (errno == EAGAIN) {
            break;
        } else if (errno != EINTR) {
            return -errno;
        }
    }
    return (ssize_t)sent;
}

static void want_write(struct io *io, struct io_sock *sock)
{
    if (sock->flags & (SOCK_WANT_WRITE | SOCK_LEAVING)) return;
    sock->flags |= SOCK_WANT_WRITE;
    io_mark_dirty(io, sock);
}

/* 0: nothing is left; -EAGAIN; or the connection's error. */
static int send_pending(struct io *io, struct io_sock *sock)
{
    struct tls *tls = sock->tls;
    if (!tls->pending.len) return 0;
    ssize_t n = send_raw(io, sock, tls->pending.ptr + tls->pending_sent,
                         tls->pending.len - tls->pending_sent);
    if (n < 0) return (int)n;
    tls->pending_sent += (size_t)n;
    if (tls->pending_sent < tls->pending.len) return -EAGAIN;
    buf_deinit(&tls->pending);
    tls->pending_sent = 0;
    return 0;
}

/* What OpenSSL has just written goes out, as far as it can. */
static int send_stage(struct io *io, struct io_sock *sock)
{
    struct tls *tls = sock->tls;
    struct buf *stage = &io->tls->stage;
    ssize_t n = 0;
    tls->out = NULL;
    if (!stage->len && !stage->failed) return 0;
    int rc = stage->failed ? -ENOMEM : send_pending(io, sock);
    if (rc == 0) n = send_raw(io, sock, stage->ptr, stage->len);
    if (n < 0) rc = (int)n;
    if (rc == 0 || rc == -EAGAIN) {
        buf_append(&tls->pending, stage->ptr + n, stage->len - (size_t)n);
        bool much = tls->pending.len > PENDING_MAX || tls->pending.failed;
        rc = much ? -ENOMEM : 0;
        if (tls->pending.len) want_write(io, sock);
    }
    stage->len = 0;
    stage->failed = false;
    return rc;
}

/* ---- ends ---- */

/* Nothing more is received; IO_EV_CLOSED follows. */
static void end(struct io *io, struct io_sock *sock, int error)
{
    struct tls *tls = sock->tls;
    if (error) tls->failed = true;
    if (tls->ended) return;
    tls->ended = tls->close_due = true;
    tls->close_error = error;
    list_remove(&tls->link);
    if (sock->flags & SOCK_ENDED) tls->close_due = false; /* the engine has said it already */
    if (tls->close_due && !(sock->flags & SOCK_LEAVING))
        list_push_back(&io->tls->due, &tls->link);
    sock->flags |= SOCK_ENDED;
    io_mark_dirty(io, sock);
}

/* The alert that OpenSSL has written goes out before. */
static void fail(struct io *io, struct io_sock *sock)
{
    char reason[256], peer[128];
    tls_error_text(reason, sizeof reason);
    net_peer_name(sock->fd, peer, sizeof peer);
    log_line(LOG_LEVEL_VERBOSE, "%s: %s (addr=%s)",
             sock->tls->open ? "TLS failed" : "Error accepting a client connection", reason, peer);
    (void)send_stage(io, sock);
    end(io, sock, EPROTO);
}

/* ---- received ---- */

/* True once the connection is open. */
static bool shake_hands(struct io *io, struct io_sock *sock)
{
    struct tls *tls = sock->tls;
    int64_t start_us = os_mono_us();
    tls->handshake_bytes += tls->in_len;
    int rc = SSL_do_handshake(tls->ssl);
    io->tls->spent_us += os_mono_us() - start_us;
    if (rc == 1) {
        ERR_clear_error(); /* a success may leave complaints behind */
        tls->open = true;
        if (!(sock->flags & SOCK_LEAVING)) io->handshakes--;
        if (tls->owner_waits) want_write(io, sock);
        return true;
    }
    if (SSL_get_error(tls->ssl, rc) != SSL_ERROR_WANT_READ ||
        tls->handshake_bytes > HANDSHAKE_BYTES_MAX)
        fail(io, sock);
    return false;
}

/* Decrypts what came; the plain bytes' length, which are in the arena. A record may have begun in
 * an earlier pass, hence the room for one more. */
static size_t decrypt(struct io *io, struct io_sock *sock, const char *ptr, size_t len)
{
    struct tls *tls = sock->tls;
    struct pass_arena *plain = &io->tls->plain;
    size_t room = len + RECORD_ROOM, used = 0, got;
    check(plain->len - plain->used >= room);
    tls->in = ptr;
    tls->in_len = len;
    tls->out = &io->tls->stage;
    if (tls->open || shake_hands(io, sock)) {
        char *to = pass_arena_room(plain);
        while (SSL_read_ex(tls->ssl, to + used, room - used, &got) == 1) used += got;
        int error = SSL_get_error(tls->ssl, 0);
        if (error == SSL_ERROR_ZERO_RETURN)
            end(io, sock, 0);
        else if (error != SSL_ERROR_WANT_READ)
            fail(io, sock);
        pass_arena_take(plain, used);
    }
    int rc = send_stage(io, sock);
    if (rc < 0) end(io, sock, -rc);
    return used;
}

/* A handshake whose turn has not come. */
static void hold(struct io *io, struct io_sock *sock, const struct io_event *event)
{
    struct tls *tls = sock->tls;
    buf_append(&tls->held, event->ptr, event->len);
    if (tls->held.failed || tls->held.len > HANDSHAKE_BYTES_MAX) {
        end(io, sock, ENOMEM);
        return;
    }
    if (sock->flags & SOCK_LEAVING) return; /* it goes along */
    list_remove(&tls->link);
    list_push_back(&io->tls->queue, &tls->link);
    io_pause(io, sock);
}

/* An end behind bytes that still wait is met again when they have had their turn. */
static bool on_closed(struct io_sock *sock, const struct io_event *event)
{
    if (!sock->tls->held.len || event->error) return true;
    sock->flags &= ~(uint32_t)SOCK_ENDED;
    return false;
}

/* Whether the owner is to see the event. */
static bool on_received(struct io *io, struct io_sock *sock, struct io_event *event)
{
    struct tls *tls = sock->tls;
    if (tls->ended) return false;
    if (!tls->open && (tls->held.len || io->tls->spent_us >= HANDSHAKE_US)) {
        hold(io, sock, event);
        return false;
    }
    const char *to = pass_arena_room(&io->tls->plain);
    event->len = decrypt(io, sock, event->ptr, event->len);
    event->ptr = to;
    return event->len > 0;
}

static bool on_writable(struct io *io, struct io_sock *sock)
{
    struct tls *tls = sock->tls;
    int rc = send_pending(io, sock);
    if (rc == -EAGAIN) {
        want_write(io, sock);
        return false;
    }
    if (rc < 0) end(io, sock, -rc);
    bool report = tls->owner_waits && tls->open;
    if (report) tls->owner_waits = false;
    return report;
}

unsigned tls_sock_events(struct io *io, struct io_event *events, unsigned count)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < count; i++) {
        struct io_sock *sock = events[i].sock;
        bool keep = true;
        if (!sock || !sock->tls)
            keep = true;
        else if (events[i].kind == IO_EV_RECEIVED)
            keep = on_received(io, sock, &events[i]);
        else if (events[i].kind == IO_EV_WRITABLE)
            keep = on_writable(io, sock);
        else if (events[i].kind == IO_EV_CLOSED)
            keep = on_closed(sock, &events[i]);
        if (keep) events[kept++] = events[i];
    }
    return kept;
}

/* ---- what waits from earlier passes ---- */

bool tls_sock_pass(struct io *io, struct io_event *events, unsigned cap, unsigned *count)
{
    struct io_tls *all = io->tls;
    unsigned n = *count;
    struct list *link;
    pass_arena_reset(&all->plain);
    all->spent_us = 0;
    while (n < cap && (link = list_pop_front(&all->due)) != NULL) {
        struct tls *tls = CONTAINER_OF(link, struct tls, link);
        tls->close_due = false;
        events[n] = io_event_of(IO_EV_CLOSED, tls->sock);
        events[n++].error = tls->close_error;
    }
    while (n < cap && all->spent_us < HANDSHAKE_US && (link = list_pop_front(&all->queue))) {
        struct tls *tls = CONTAINER_OF(link, struct tls, link);
        struct buf held = tls->held;
        tls->held = (struct buf){0};
        io_resume(io, tls->sock);
        events[n] = io_event_of(IO_EV_RECEIVED, tls->sock);
        events[n].ptr = pass_arena_room(&all->plain);
        events[n].len = decrypt(io, tls->sock, held.ptr, held.len);
        n += events[n].len > 0;
        buf_deinit(&held);
    }
    *count = n;
    return !list_empty(&all->queue) || !list_empty(&all->due);
}

/* ---- what the owner asks for ---- */

int io_attach_tls(struct io *io, struct io_sock *sock, struct tls *tls, void *owner)
{
    if (!io->tls) {
        struct io_tls *all = mem_zalloc(sizeof *all);
        size_t pages = IO_TLS_EVENTS_MAX * (EVENT_BYTES_MAX + RECORD_ROOM + HANDSHAKE_BYTES_MAX);
        if (!pass_arena_init(&all->plain, pages & ~(size_t)4095u)) {
            mem_free(all);
            return -ENOMEM;
        }
        list_init(&all->queue);
        list_init(&all->due);
        io->tls = all;
    }
    int rc = io_attach(io, sock, tls->fd, owner);
    if (rc < 0) return rc;
    sock->tls = tls;
    tls->sock = sock;
    io->handshakes += !tls->open;
    if (tls->held.len) { /* it came over from another worker with what it had */
        list_push_back(&io->tls->queue, &tls->link);
        io_pause(io, sock);
    }
    if (tls->close_due) list_push_back(&io->tls->due, &tls->link);
    if (tls->ended) sock->flags |= SOCK_ENDED;
    if (tls->pending.len) want_write(io, sock);
    return 0;
}

bool io_handshaking(const struct io_sock *sock)
{
    return sock->tls && !sock->tls->open;
}

unsigned io_handshakes(const struct io *io)
{
    return io->handshakes;
}

ssize_t tls_sock_send(struct io *io, struct io_sock *sock, const char *ptr, size_t len)
{
    struct tls *tls = sock->tls;
    if (tls->failed) return -EPIPE;
    if (!tls->open) return -EAGAIN;
    int rc = send_pending(io, sock);
    if (rc < 0) return rc;
    if (tls->owed) {
        size_t owed = tls->owed;
        check(owed <= len); /* the same bytes again: io.h */
        tls->owed = 0;
        return (ssize_t)owed;
    }
    size_t done = 0;
    if (len > SEND_MAX) len = SEND_MAX;
    tls->out = &io->tls->stage;
    while (done < len) {
        size_t piece = len - done < RECORD_MAX ? len - done : RECORD_MAX, written = 0;
        if (SSL_write_ex(tls->ssl, ptr + done, piece, &written) != 1) {
            fail(io, sock);
            return -EPIPE;
        }
        done += written;
    }
    rc = send_stage(io, sock);
    if (rc < 0) return rc;
    if (!tls->pending.len) return (ssize_t)done;
    tls->owed = done;
    return -EAGAIN;
}

void tls_sock_want_write(struct io *io, struct io_sock *sock)
{
    sock->tls->owner_waits = true;
    if (sock->tls->open) want_write(io, sock);
}

void tls_sock_leave(struct io *io, struct io_sock *sock, bool closing)
{
    struct tls *tls = sock->tls;
    list_remove(&tls->link);
    io->handshakes -= !tls->open;
    if (!closing || !tls->open || tls->failed) return;
    tls->out = &io->tls->stage;
    (void)SSL_shutdown(tls->ssl); /* our close_notify; nobody waits for theirs */
    ERR_clear_error();
    (void)send_stage(io, sock);
}

void tls_sock_free_all(struct io *io)
{
    if (!io->tls) return;
    pass_arena_deinit(&io->tls->plain);
    buf_deinit(&io->tls->stage);
    mem_free(io->tls);
    io->tls = NULL;
}
