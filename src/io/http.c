/* The HTTP server's loop: one thread, poll(2), non-blocking sockets.
 *
 *   accept ──▶ READING ──(a whole request)──▶ handler ──▶ WRITING ──▶ READING … or close
 *
 * It has a thread of its own, below the workers in priority, because making a page takes up to
 * milliseconds and no client of the data may wait for one. poll() and at most 32 connections: there
 * is nothing here worth a ring.
 *
 * Who is slow loses: a request must be whole within REQUEST_MS of its first byte, however it
 * trickles, its answer taken within ANSWER_MS, and a connection that asks nothing goes after
 * IDLE_MS. When all places are taken the one that has made no progress for longest is given to the
 * newcomer, so holding 32 connections open keeps no probe out.
 * Thread: the caller's of http_run(). */
#include "splitring/io/http.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "splitring/base/mem.h"
#include "splitring/io/os.h"

#define LISTENERS_MAX 16u
#define REQUESTS_MAX 1000u /* per connection */
#define REQUEST_MS 5000
#define ANSWER_MS 10000
#define IDLE_MS 60000
#define NICENESS 5

struct http_conn {
    int fd;            /* -1: this place is free */
    bool writing, close_after;
    unsigned requests;
    int64_t due_ms;    /* it is closed then */
    int64_t since_ms;  /* when it last went on */
    struct buf out;
    size_t sent, in_len;
    char in[HTTP_HEAD_LEN_MAX + 1];
};

struct http_server {
    int fds[LISTENERS_MAX];
    unsigned fd_count;
    int wake;
    http_handler *handler;
    void *ctx;
    int64_t now_ms;
    struct http_conn conns[HTTP_CONNECTIONS_MAX];
};

int http_new(struct http_server **out, const int *fds, unsigned count, http_handler *handler,
             void *ctx)
{
    int wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wake < 0) return -errno;
    struct http_server *s = mem_zalloc(sizeof *s);
    s->wake = wake;
    s->handler = handler;
    s->ctx = ctx;
    for (unsigned i = 0; i < count && i < LISTENERS_MAX; i++) s->fds[s->fd_count++] = fds[i];
    for (unsigned i = 0; i < HTTP_CONNECTIONS_MAX; i++) s->conns[i].fd = -1;
    *out = s;
    return 0;
}

void http_free(struct http_server *s)
{
    close(s->wake);
    mem_free(s);
}

void http_stop_shared(struct http_server *s)
{
    uint64_t one = 1;
    ssize_t n = write(s->wake, &one, sizeof one);
    (void)n;
}

/* ---- connections ---- */

static void drop(struct http_conn *c)
{
    close(c->fd);
    c->fd = -1;
    buf_deinit(&c->out);
}

static void go_on(struct http_server *s, struct http_conn *c, int64_t within_ms)
{
    c->since_ms = s->now_ms;
    c->due_ms = s->now_ms + within_ms;
}

static struct http_conn *place_for_newcomer(struct http_server *s)
{
    struct http_conn *longest = &s->conns[0];
    for (unsigned i = 0; i < HTTP_CONNECTIONS_MAX; i++) {
        struct http_conn *c = &s->conns[i];
        if (c->fd < 0) return c;
        if (c->since_ms < longest->since_ms) longest = c;
    }
    drop(longest);
    return longest;
}

static void accept_one(struct http_server *s, int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        /* No descriptors left: the listener stays readable, and this must not become a loop. */
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM) os_sleep_us(20000);
        return;
    }
    struct http_conn *c = place_for_newcomer(s);
    *c = (struct http_conn){.fd = fd};
    go_on(s, c, REQUEST_MS);
}

/* ---- answers ---- */

static const char *reason(unsigned status)
{
    switch (status) {
    case 200: return "OK";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 413: return "Content Too Large";
    case 414: return "URI Too Long";
    case 431: return "Request Header Fields Too Large";
    case 503: return "Service Unavailable";
    case 505: return "HTTP Version Not Supported";
    default: return "Bad Request";
    }
}

/* The page may load nothing but what this server says, and nobody may frame it. */
#define HEADERS                                                                                    \
    "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\n"      \
    "Referrer-Policy: no-referrer\r\nContent-Security-Policy: default-src 'none'; "                \
    "style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; "   \
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"

static void answer(struct http_server *s, struct http_conn *c, const struct http_request *r)
{
    struct http_answer a = {.status = r->status, .type = "text/plain; charset=utf-8"};
    if (r->status == 200) s->handler(s->ctx, r->path, &a);
    if (a.body.failed) {
        buf_deinit(&a.body);
        a.status = 503;
    }
    if (a.status != 200 && !a.body.len)
        buf_printf(&a.body, "%u %s\n", a.status, reason(a.status));
    if (++c->requests >= REQUESTS_MAX) c->close_after = true;
    buf_printf(&c->out, "HTTP/1.1 %u %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%s%s%s\r\n",
               a.status, reason(a.status), a.type, a.body.len,
               a.status == 405 ? "Allow: GET, HEAD\r\n" : "",
               c->close_after ? "Connection: close\r\n" : "", HEADERS);
    if (!r->head_only) buf_append_slice(&c->out, buf_slice(&a.body));
    buf_deinit(&a.body);
    c->sent = 0;
    c->writing = true;
    go_on(s, c, ANSWER_MS);
}

/* Answers the next request that is whole, if there is one. */
static void look_at_input(struct http_server *s, struct http_conn *c)
{
    struct http_request r;
    int outcome = http_parse(slice_of(c->in, c->in_len), &r);
    if (outcome == HTTP_MORE) return;
    c->close_after = outcome == HTTP_CLOSE;
    answer(s, c, &r);
    if (c->out.failed) {
        drop(c);
        return;
    }
    memmove(c->in, c->in + r.len, c->in_len - r.len);
    c->in_len -= r.len;
}

/* ---- events ---- */

static void on_readable(struct http_server *s, struct http_conn *c)
{
    ssize_t n = recv(c->fd, c->in + c->in_len, sizeof c->in - c->in_len, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) {
        drop(c);
        return;
    }
    if (c->in_len == 0) go_on(s, c, REQUEST_MS); /* more bytes of it do not make it longer */
    c->in_len += (size_t)n;
    look_at_input(s, c);
}

static void on_writable(struct http_server *s, struct http_conn *c)
{
    ssize_t n = send(c->fd, c->out.ptr + c->sent, c->out.len - c->sent, MSG_NOSIGNAL);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n < 0) {
        drop(c);
        return;
    }
    c->sent += (size_t)n;
    if (c->sent < c->out.len) return;
    buf_deinit(&c->out);
    c->writing = false;
    if (c->close_after) {
        /* Its unread input would turn the close into a reset that may overtake the answer. */
        shutdown(c->fd, SHUT_WR);
        for (int i = 0; i < 16 && recv(c->fd, c->in, sizeof c->in, 0) > 0; i++) continue;
        drop(c);
        return;
    }
    go_on(s, c, c->in_len ? REQUEST_MS : IDLE_MS);
    if (c->in_len) look_at_input(s, c);
}

static void on_event(struct http_server *s, struct http_conn *c, short events)
{
    if (!events) return;
    if (!c->writing && events & (POLLIN | POLLHUP | POLLERR)) on_readable(s, c);
    else if (c->writing && events & (POLLHUP | POLLERR)) drop(c);
    if (c->fd >= 0 && c->writing) on_writable(s, c);
}

/* Closes who is late; returns the milliseconds until the next one is, -1: nobody. */
static int next_due(struct http_server *s)
{
    int64_t nearest = INT64_MAX;
    for (unsigned i = 0; i < HTTP_CONNECTIONS_MAX; i++) {
        struct http_conn *c = &s->conns[i];
        if (c->fd >= 0 && c->due_ms <= s->now_ms) drop(c);
        if (c->fd >= 0 && c->due_ms < nearest) nearest = c->due_ms;
    }
    return nearest == INT64_MAX ? -1 : (int)(nearest - s->now_ms);
}

void http_run(struct http_server *s)
{
    struct pollfd polls[1 + LISTENERS_MAX + HTTP_CONNECTIONS_MAX];
    setpriority(PRIO_PROCESS, 0, NICENESS); /* of the calling thread, on Linux */
    for (;;) {
        unsigned n = 0;
        s->now_ms = os_mono_us() / 1000;
        int timeout_ms = next_due(s);
        polls[n++] = (struct pollfd){.fd = s->wake, .events = POLLIN};
        for (unsigned i = 0; i < s->fd_count; i++)
            polls[n++] = (struct pollfd){.fd = s->fds[i], .events = POLLIN};
        unsigned first = n;
        for (unsigned i = 0; i < HTTP_CONNECTIONS_MAX; i++)
            polls[n++] = (struct pollfd){.fd = s->conns[i].fd,
                                         .events = s->conns[i].writing ? POLLOUT : POLLIN};
        if (poll(polls, n, timeout_ms) < 0 && errno != EINTR) break;
        s->now_ms = os_mono_us() / 1000;
        if (polls[0].revents) break;
        for (unsigned i = 0; i < HTTP_CONNECTIONS_MAX; i++)
            if (s->conns[i].fd >= 0) on_event(s, &s->conns[i], polls[first + i].revents);
        for (unsigned i = 0; i < s->fd_count; i++)
            if (polls[1 + i].revents) accept_one(s, s->fds[i]);
    }
    for (unsigned i = 0; i < HTTP_CONNECTIONS_MAX; i++)
        if (s->conns[i].fd >= 0) drop(&s->conns[i]);
}
