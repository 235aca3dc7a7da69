/* MIGRATE's talk with another server, without waiting for it.
 *
 *   connect ──▶ send the request ──▶ collect lines ──▶ txn_resume()
 *      │               │                  │
 *      └───────────────┴── refused, closed, or no progress within the timeout: the same, with what
 *                          came so far and where it ended
 *
 * The socket is one more of the worker's own ring, so everything else goes on meanwhile; only the
 * keys stay locked. A socket is used once. What is left of it after txn_resume() is its memory,
 * which the ring refers to until IO_EV_RELEASED.
 *
 * Why no thread with a blocking socket? It would need a way to wake a worker that is no mailbox,
 * and a bound on their number.
 * Thread: the coordinator. */
#include "away.h"

#include <errno.h>

#include "splitring/base/mem.h"
#include "splitring/io/net.h"

struct away {
    struct io_sock sock;
    struct list link; /* worker.aways */
    struct worker *worker;
    struct txn *txn;  /* NULL: it is over */
    size_t sent, lines;
    instant_ms deadline;
    bool connected;
};

static void progress(struct away *a)
{
    int64_t timeout = a->txn->away.timeout_ms;
    bool ends = timeout < EXPIRE_NONE - a->worker->now;
    a->deadline = ends ? a->worker->now + timeout : EXPIRE_NONE;
}

/* complete: all lines are there. */
static void finish(struct away *a, bool complete)
{
    struct txn *t = a->txn;
    struct call_away *want = &t->away;
    a->txn = NULL;
    a->deadline = EXPIRE_NONE;
    want->wanted = false;
    want->done = true;
    want->outcome = AWAY_NOT_ANSWERED;
    if (complete) {
        want->outcome = AWAY_DONE;
    } else if (!a->connected) {
        want->outcome = AWAY_NOT_CONNECTED;
    } else if (a->sent < want->request.len) {
        want->outcome = AWAY_NOT_SENT;
    }
    io_close(a->worker->io, &a->sock);
    txn_resume(t);
}

bool away_start(struct txn *t)
{
    struct worker *w = t->home;
    struct away *a = mem_zalloc(sizeof(*a));
    t->x.is_part = true; /* counted by its first run */
    t->reply.len = 0;
    int fd = net_connect_start(t->away.host, t->away.port);
    if (fd >= 0 && io_attach(w->io, &a->sock, fd, a) < 0) {
        net_close(fd);
        fd = -ENOMEM;
    }
    if (fd < 0) {
        mem_free(a);
        t->away.wanted = false;
        t->away.done = true;
        t->away.outcome = AWAY_NOT_CONNECTED;
        return false;
    }
    a->worker = w;
    a->txn = t;
    progress(a);
    list_push_back(&w->aways, &a->link);
    io_want_write(w->io, &a->sock);
    return true;
}

static void on_writable(struct away *a)
{
    const struct buf *request = &a->txn->away.request;
    while (a->sent < request->len) {
        ssize_t sent = io_send(a->worker->io, &a->sock, request->ptr + a->sent,
                               request->len - a->sent);
        if (sent == -EAGAIN) {
            io_want_write(a->worker->io, &a->sock);
            return;
        }
        if (sent < 0) {
            finish(a, false);
            return;
        }
        a->connected = true;
        a->sent += (size_t)sent;
        progress(a);
    }
}

static void on_received(struct away *a, const char *ptr, size_t len)
{
    struct call_away *want = &a->txn->away;
    const char *end = ptr + len;
    a->connected = true;
    buf_append(&want->answer, ptr, len);
    while (ptr < end && (ptr = memchr(ptr, '\n', (size_t)(end - ptr))) != NULL) {
        a->lines++;
        ptr++;
    }
    progress(a);
    if (want->answer.failed || a->lines >= want->lines_wanted) finish(a, !want->answer.failed);
}

bool away_on_event(struct worker *w, const struct io_event *ev)
{
    struct away *a = NULL;
    LIST_FOREACH_SAFE(link, next, &w->aways) {
        struct away *one = CONTAINER_OF(link, struct away, link);
        if (one == ev->owner) a = one;
    }
    if (!a) return false;
    if (ev->kind == IO_EV_RELEASED) {
        list_remove(&a->link);
        mem_free(a);
    } else if (a->txn && ev->kind == IO_EV_RECEIVED) {
        on_received(a, ev->ptr, ev->len);
    } else if (a->txn && ev->kind == IO_EV_WRITABLE) {
        on_writable(a);
    } else if (a->txn && ev->kind == IO_EV_CLOSED) {
        finish(a, false);
    }
    return true;
}

void away_tick(struct worker *w)
{
    LIST_FOREACH_SAFE(link, next, &w->aways) {
        struct away *a = CONTAINER_OF(link, struct away, link);
        if (a->txn && a->deadline <= w->now) finish(a, false);
    }
}

instant_ms away_next(struct worker *w)
{
    instant_ms next_ms = EXPIRE_NONE;
    LIST_FOREACH_SAFE(link, next, &w->aways) {
        const struct away *a = CONTAINER_OF(link, struct away, link);
        if (a->deadline < next_ms) next_ms = a->deadline;
    }
    return next_ms;
}
