/* A connection: bytes in, replies out, and its end.
 *
 *   receive buffer ──▶ window (data, data_used) ──▶ parser ──▶ group.c
 *                        │ what is left when the pass ends, or while something is in flight
 *                        ▼
 *                        in  ── becomes the window later
 *
 * A client that does not read its replies gets no more of them made: with OUTPUT_PAUSE bytes unsent
 * (or up to its client-output-buffer-limit, if it has one) its commands wait, so that small
 * requests cannot fill memory with large replies. Its requests are still received, up to
 * client-query-buffer-limit as in Redis: client libraries write a whole pipeline before they read.
 * For any other busy connection input beyond INPUT_HELD_MAX stops the socket being read: TCP holds
 * the sender back. Output buffers come from a pool of the worker while there is something to send:
 * an idle connection owns none.
 *
 * The struct lives until both the kernel (IO_EV_RELEASED) and what is in flight have let go of it.
 * Thread: owner. */
#include "conn.h"

#include <errno.h>

#include "acl.h"
#include "block.h"
#include "hold.h"
#include "local.h"
#include "monitor.h"
#include "pubsub.h"
#include "multi.h"
#include "splitring/base/mem.h"
#include "splitring/io/log.h"
#include "splitring/io/net.h"
#include "splitring/io/tls.h"
#include "tracking.h"
#include "watch.h"

#define OUT_KEEP (16u * 1024u)
#define OUTPUT_UNAUTH_MAX 1024u /* as Redis */

struct conn *conn_new(struct worker *w, int fd, bool unix_socket, struct tls *tls)
{
    struct conn *c = mem_try_alloc(sizeof *c);
    if (!c) return NULL;
    memset(c, 0, sizeof *c);
    c->worker = w;
    c->proto = 2;
    c->id = counter_next_shared(&w->hub->client_ids);
    c->created_ms = c->active_ms = w->now;
    if (unix_socket) c->flags |= CONN_UNIX;
    acl_conn_init(c);
    parse_init(&c->parser, &w->parse_pool);
    list_init(&c->link);
    list_init(&c->ready_link);
    list_init(&c->dirty_link);
    list_init(&c->subs);
    list_init(&c->monitor_link);
    list_init(&c->class_link);
    list_init(&c->grown_link);
    int rc = unlikely(tls != NULL) ? io_attach_tls(w->io, &c->sock, tls, c)
                                   : io_attach(w->io, &c->sock, fd, c);
    if (rc != 0) {
        parse_deinit(&c->parser);
        acl_conn_deinit(c);
        mem_free(c);
        return NULL;
    }
    list_push_back(&w->conns, &c->link);
    w->conn_count++;
    counter_set(&w->pub->clients, w->conn_count);
    client_memory_count(c);
    if (unlikely(log_wants(LOG_LEVEL_VERBOSE)))
        log_line(LOG_LEVEL_VERBOSE, "Accepted %s", conn_peer(c));
    return c;
}

static void conn_free(struct conn *c)
{
    struct worker *w = c->worker;
    list_remove(&c->link);
    list_remove(&c->ready_link);
    list_remove(&c->dirty_link);
    parse_deinit(&c->parser);
    hold_free(c);
    buf_deinit(&c->in);
    buf_deinit(&c->out);
    mem_free(c->name);
    mem_free(c->peer);
    mem_free(c->lib_name);
    mem_free(c->lib_ver);
    multi_free(c->multi);
    acl_conn_deinit(c);
    tracking_conn_free(c);
    watch_end(c);
    w->conn_count--;
    counter_set(&w->pub->clients, w->conn_count);
    counter_drop_shared(&w->hub->clients);
    mem_free(c);
}

void conn_maybe_free(struct conn *c)
{
    if ((c->flags & CONN_RELEASED) && !c->in_flight) conn_free(c);
}

void conn_park(struct conn *c, struct list *where)
{
    c->flags |= CONN_PAUSED;
    counter_add(&c->worker->pub->blocked, 1);
    list_push_back(where, &c->ready_link);
}

void conn_unpark(struct conn *c)
{
    if (!(c->flags & CONN_PAUSED)) return;
    c->flags &= ~(uint32_t)CONN_PAUSED;
    counter_sub(&c->worker->pub->blocked, 1);
}

void conn_close(struct conn *c)
{
    if (c->flags & CONN_CLOSING) return;
    c->flags |= CONN_CLOSING;
    client_memory_drop(c);
    conn_unpark(c);
    list_remove(&c->ready_link);
    list_remove(&c->dirty_link);
    hold_free(c);
    c->flags &= ~(uint32_t)(CONN_READY | CONN_DIRTY | CONN_HAS_INPUT);
    c->data = NULL;
    block_leave(c, BLOCK_CLOSE);
    pubsub_conn_closed(c);
    monitor_leave(c);
    tracking_conn_closed(c);
    if (!(c->flags & CONN_MIGRATING)) io_close(c->worker->io, &c->sock); /* else when it has left */
}

void conn_on_released(struct conn *c, int fd)
{
    if (c->flags & CONN_MIGRATING && !(c->flags & CONN_CLOSING)) {
        conn_migrate_send(c, fd);
        return;
    }
    if (c->flags & CONN_MIGRATING) {
        net_close(fd);
        tls_free(c->sock.tls);
    }
    c->flags |= CONN_RELEASED;
    conn_maybe_free(c);
}

/* ---- input ---- */

static bool input_over_limit(struct conn *c)
{
    size_t held = conn_unread(c) + parse_held(&c->parser) + (c->multi ? c->multi->bytes : 0);
    if (held <= (size_t)c->worker->config->client_query_buffer_limit && !c->in.failed) return false;
    counter_add(&c->worker->pub->query_kills, 1);
    conn_close(c);
    return true;
}

/* Whether the socket is read. Who is full and has not proved who he is may not send more either. */
static void input_pause_or_resume(struct conn *c)
{
    bool paused = c->flags & CONN_READ_PAUSED;
    bool much = conn_unread(c) > (paused ? INPUT_HELD_MAX / 2 : INPUT_HELD_MAX);
    bool want = much && !(conn_is_in(c) && conn_output_full(c));
    if (want == paused || c->flags & (CONN_CLOSING | CONN_MIGRATING)) return;
    c->flags ^= CONN_READ_PAUSED;
    if (want)
        io_pause(c->worker->io, &c->sock);
    else
        io_resume(c->worker->io, &c->sock);
}

static void input_append(struct conn *c, const char *ptr, size_t len)
{
    buf_append(&c->in, ptr, len);
    input_pause_or_resume(c);
}

void conn_on_received(struct conn *c, const char *ptr, size_t len)
{
    if (c->flags & (CONN_CLOSING | CONN_CLOSE_AFTER)) return;
    c->bytes_in += len;
    c->active_ms = c->worker->now;
    conn_resized(c);
    counter_add(&c->worker->pub->bytes_in, len);
    if (unlikely(!(c->flags & CONN_AUTHED) && c->flags & CONN_WANT_WRITE)) {
        conn_check_output(c);
        if (c->flags & CONN_CLOSING) return;
    }
    if (c->data) conn_keep_input(c); /* a second buffer in one pass */
    bool busy = c->flags & (CONN_WAITING | CONN_PAUSED | CONN_HAS_INPUT | CONN_MIGRATING) ||
                conn_output_full(c);
    if (busy || c->in.len) {
        input_append(c, ptr, len);
        if (input_over_limit(c) || busy) return;
    } else {
        c->data = ptr;
        c->data_len = len;
        c->data_used = 0;
    }
    conn_ready(c);
}

void conn_keep_input(struct conn *c)
{
    if (!c->data) return;
    if (c->data == c->in.ptr + c->in_used) {
        c->in_used += c->data_used;
        if (c->in_used > c->in.len / 2) { /* moving costs no more than what has been used up */
            buf_consume(&c->in, c->in_used);
            c->in_used = 0;
            buf_shrink(&c->in, 0);
        }
    } else if (c->data_used < c->data_len) {
        input_append(c, c->data + c->data_used, c->data_len - c->data_used);
    }
    c->data = NULL;
    if (parse_held(&c->parser) || c->in.len) input_over_limit(c);
    input_pause_or_resume(c);
}

void conn_ready(struct conn *c)
{
    if (c->flags & (CONN_READY | CONN_WAITING | CONN_CLOSING | CONN_PAUSED | CONN_MIGRATING))
        return;
    if (conn_output_full(c)) return;
    c->flags |= CONN_READY;
    c->ready_ticks = c->worker->meter.pass;
    list_push_back(&c->worker->ready, &c->ready_link);
}

void conn_resume(struct conn *c)
{
    c->in_flight = NULL;
    if (unlikely(c->multi && c->multi->running)) {
        multi_continue(c);
        return;
    }
    c->flags &= ~(uint32_t)(CONN_WAITING | CONN_REPLY_SKIP);
    if (c->flags & CONN_CLOSING) {
        conn_maybe_free(c);
        return;
    }
    if (unlikely(c->track)) tracking_release(c);
    if (c->in.len || c->flags & (CONN_HAS_INPUT | CONN_PEER_CLOSED)) conn_ready(c);
    if (c->out.len || c->flags & CONN_CLOSE_AFTER) conn_dirty(c);
}

void conn_on_closed(struct conn *c, int error)
{
    if (c->flags & CONN_CLOSING) return;
    /* Half-closed: what was sent still runs and is answered, as in Redis' event order. */
    c->flags |= CONN_PEER_CLOSED;
    if (unlikely(log_wants(LOG_LEVEL_VERBOSE)))
        log_line(LOG_LEVEL_VERBOSE, "Client closed connection id=%llu addr=%s",
                 (unsigned long long)c->id, conn_peer(c));
    bool busy = c->in.len || c->data || c->out.len ||
                c->flags & (CONN_WAITING | CONN_HAS_INPUT | CONN_READY);
    if (error || !busy || c->flags & CONN_BLOCKED) conn_close(c);
}

/* ---- output ---- */

void conn_dirty(struct conn *c)
{
    conn_resized(c);
    if (c->flags & (CONN_DIRTY | CONN_CLOSING | CONN_WANT_WRITE)) return;
    c->flags |= CONN_DIRTY;
    list_push_back(&c->worker->dirty, &c->dirty_link);
}

static void output_done(struct conn *c)
{
    c->out.len = 0;
    c->out_sent = 0;
    c->over_soft_ms = 0;
    worker_give_buf(c->worker, &c->out);
    if (c->flags & CONN_CLOSE_AFTER && !(c->flags & CONN_WAITING)) {
        conn_close(c);
        return;
    }
    if (c->flags & CONN_PEER_CLOSED &&
        !(c->in.len || c->data || c->flags & (CONN_WAITING | CONN_HAS_INPUT | CONN_READY)))
        conn_close(c);
}

/* Some output has gone: what it held back goes on. */
static void go_on(struct conn *c)
{
    if (c->flags & CONN_CLOSING) return;
    input_pause_or_resume(c);
    if (c->in.len || c->flags & CONN_HAS_INPUT) conn_ready(c);
}

void conn_flush(struct conn *c)
{
    if (c->flags & (CONN_CLOSING | CONN_WANT_WRITE)) return;
    if (c->out.failed) {
        counter_add(&c->worker->pub->output_kills, 1);
        conn_close(c);
        return;
    }
    size_t limit = hold_limit(c);
    while (c->out_sent < limit) {
        ssize_t n = io_send(c->worker->io, &c->sock, c->out.ptr + c->out_sent,
                            limit - c->out_sent);
        if (n == -EAGAIN) {
            c->flags |= CONN_WANT_WRITE;
            io_want_write(c->worker->io, &c->sock);
            conn_check_output(c);
            go_on(c);
            return;
        }
        if (n < 0) {
            conn_close(c);
            return;
        }
        c->out_sent += (size_t)n;
        c->bytes_out += (uint64_t)n;
        counter_add(&c->worker->pub->bytes_out, (uint64_t)n);
    }
    if (likely(c->out_sent == c->out.len))
        output_done(c);
    else
        hold_wait(c);
    go_on(c);
}

void conn_on_writable(struct conn *c)
{
    if (c->flags & CONN_CLOSING) return;
    c->flags &= ~(uint32_t)CONN_WANT_WRITE;
    conn_resized(c);
    conn_flush(c);
}

/* Who MONITORs is limited as its class is, or, where that has no limit, as pubsub is. */
static const struct config_output_limit *output_limit(const struct conn *c)
{
    const struct config_output_limit *limits = c->worker->config->output_limits;
    const struct config_output_limit *own = &limits[c->limit_class];
    bool none = !own->hard_bytes && !own->soft_bytes;
    return unlikely(c->flags & CONN_MONITOR) && none ? &limits[CONFIG_CLIENT_PUBSUB] : own;
}

/* With a limit of its own a client that does not read is closed, as in Redis: it must be able to
 * get there. */
bool conn_output_full_slow(const struct conn *c)
{
    const struct config_output_limit *limit = output_limit(c);
    size_t unsent = c->out.len - c->out_sent;
    return unsent > (size_t)limit->hard_bytes &&
           unsent > (size_t)limit->soft_bytes + OUTPUT_PAUSE;
}

/* A client that does not read: past its limits it is closed. */
void conn_check_output_slow(struct conn *c)
{
    struct worker *w = c->worker;
    size_t unsent = c->out.len - c->out_sent + (c->track ? c->track->held.len : 0);
    if (c->out_sent > OUT_KEEP && c->out_sent > unsent) {
        buf_consume(&c->out, c->out_sent);
        hold_shift(c, c->out_sent);
        c->out_sent = 0;
    }
    const struct config_output_limit *limit = output_limit(c);
    bool over = limit->hard_bytes && unsent > (size_t)limit->hard_bytes;
    if (limit->soft_bytes && unsent > (size_t)limit->soft_bytes) {
        if (!c->over_soft_ms)
            c->over_soft_ms = w->now;
        else if (w->now - c->over_soft_ms > limit->soft_s * 1000)
            over = true;
    } else {
        c->over_soft_ms = 0;
    }
    /* Who has not proved who he is gets refusals only, and should read them. */
    if (!(c->flags & CONN_AUTHED) && unsent > OUTPUT_UNAUTH_MAX) over = true;
    if (over) {
        counter_add(&w->pub->output_kills, 1);
        conn_close(c);
    }
}

void conn_append_reply(struct conn *c, struct buf *reply)
{
    if (unlikely(c->multi && c->multi->running)) {
        struct buf *slot = &c->multi->slots[c->multi->next - 1];
        buf_append(slot, reply->ptr, reply->len);
        slot->failed |= reply->failed;
        return;
    }
    if (c->flags & (CONN_REPLY_OFF | CONN_REPLY_SKIP | CONN_CLOSING)) return;
    if (reply->failed) {
        c->out.failed = true;
    } else if (c->out.len == 0 && reply->len > OUT_KEEP) {
        struct buf old = c->out;
        c->out = *reply; /* large replies change hands instead of being copied */
        *reply = (struct buf){0};
        worker_give_buf(c->worker, &old);
    } else {
        if (!c->out.ptr) worker_take_buf(c->worker, &c->out);
        buf_append(&c->out, reply->ptr, reply->len);
    }
    conn_dirty(c);
}

const char *conn_peer(struct conn *c)
{
    char text[128];
    if (c->peer) return c->peer;
    net_peer_name(c->sock.fd, text, sizeof text);
    size_t len = strlen(text);
    c->peer = mem_alloc(len + 1);
    memcpy(c->peer, text, len + 1);
    return c->peer;
}

size_t conn_memory(const struct conn *c)
{
    size_t bytes = sizeof *c + c->in.cap + c->out.cap + parse_held(&c->parser) + c->subs_bytes;
    if (c->multi) bytes += sizeof *c->multi + c->multi->bytes;
    if (c->track) bytes += tracking_conn_memory(c->track);
    return bytes + watch_memory(c->watch);
}
