/* See fixture.h. Every event is judged here, whatever the test is about: none for a socket that was
 * closed, none but bytes for one that was detached, none after its release.
 * Thread: owner. */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "splitring/io/net.h"

struct io *fixture_io(enum io_engine engine, unsigned recv_bufs)
{
    struct io *io = NULL;
    struct io_options options = {.engine = engine, .recv_bufs = recv_bufs};
    int refused = 0;
    int rc = io_new(&io, &options, &refused);
    if (engine == IO_ENGINE_URING && (rc == -EPERM || rc == -ENOSYS)) cr_skip_test("no io_uring");
    cr_assert_eq(rc, 0);
    cr_assert_eq(io_engine_of(io), engine);
    return io;
}

static void on_event(const struct io_event *event)
{
    struct conn *conn = event->owner;
    cr_assert_eq(conn->released, 0, "event %d after the release", event->kind);
    if (conn->leaving) cr_assert_eq(event->kind, IO_EV_RELEASED);
    switch (event->kind) {
    case IO_EV_RECEIVED:
        cr_assert_gt(event->len, 0);
        buf_append(&conn->got, event->ptr, event->len);
        conn->received++;
        cr_assert_eq(conn->closed, 0, "bytes after the end");
        break;
    case IO_EV_CLOSED:
        conn->error = event->error;
        conn->closed++;
        cr_assert_eq(conn->closed, 1);
        break;
    case IO_EV_WRITABLE: conn->writable++; break;
    case IO_EV_RELEASED:
        conn->released++;
        conn->released_fd = event->fd;
        break;
    case IO_EV_ACCEPTED: conn->accepted_fds[conn->accepted++] = event->fd; break;
    case IO_EV_ACCEPT_FAILED:
        conn->error = event->error;
        conn->accept_failed++;
        break;
    }
}

int fixture_pump_some(struct io *io, int64_t timeout_us, unsigned cap)
{
    struct io_event events[256];
    struct io_wait wait = {.timeout_us = timeout_us};
    int n = io_wait(io, events, cap, &wait);
    cr_assert_geq(n, 0, "io_wait: %d", n);
    cr_assert_leq((unsigned)n, cap);
    for (int i = 0; i < n; i++) on_event(&events[i]);
    return n;
}

int fixture_pump(struct io *io, int64_t timeout_us)
{
    return fixture_pump_some(io, timeout_us, 256);
}

void fixture_unix_pair(int fds[2])
{
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    cr_assert_eq(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
}

void fixture_tcp_pair(int fds[2])
{
    int listener = net_listen_tcp("127.0.0.1", 0, 16);
    cr_assert_geq(listener, 0);
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    cr_assert_eq(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    fds[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(connect(fds[1], (struct sockaddr *)&address, len), 0);
    struct pollfd pfd = {.fd = listener, .events = POLLIN};
    cr_assert_eq(poll(&pfd, 1, 5000), 1);
    fds[0] = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    cr_assert_geq(fds[0], 0);
    cr_assert_eq(net_prepare(fds[0], 300), 0);
    close(listener);
}

void fixture_reset(int fd)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger), 0);
    close(fd);
}

struct conn *fixture_conn(struct io *io, int fd)
{
    struct conn *conn = calloc(1, sizeof *conn);
    cr_assert_eq(io_attach(io, &conn->sock, fd, conn), 0);
    return conn;
}

void fixture_close(struct io *io, struct conn *conn)
{
    conn->leaving = true;
    io_close(io, &conn->sock);
    PUMP_UNTIL(io, conn->released);
    buf_deinit(&conn->got);
    free(conn);
}

void fixture_write_all(int fd, const void *ptr, size_t len)
{
    const char *at = ptr;
    while (len > 0) {
        ssize_t put = write(fd, at, len);
        cr_assert_gt(put, 0, "write: %d", errno);
        at += put;
        len -= (size_t)put;
    }
}

void fixture_fill(char *out, size_t len, size_t at)
{
    for (size_t i = 0; i < len; i++) out[i] = fixture_byte(at + i);
}

void fixture_check_stream(const struct buf *got, size_t len)
{
    cr_assert_eq(got->len, len, "%zu of %zu bytes", got->len, len);
    for (size_t i = 0; i < len; i++) {
        if (got->ptr[i] != fixture_byte(i)) cr_assert_fail("byte %zu differs", i);
    }
}
