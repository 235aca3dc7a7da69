/* One connection at a time: bytes there and back, room to write, pause, the ways a connection ends.
 * Each test runs for io_uring and for epoll. */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fixture.h"
#include "splitring/io/net.h"
#include "splitring/io/os.h"

static char read_byte(int fd)
{
    char c = 0;
    cr_assert_eq(read(fd, &c, 1), 1);
    return c;
}

static void check_eof(int fd)
{
    char c;
    cr_assert_eq(read(fd, &c, 1), 0);
}

ENGINE_TEST(echoes)
{
    struct io *io = fixture_io(engine, 0);
    for (int tcp = 0; tcp < 2; tcp++) {
        int fds[2];
        if (tcp) fixture_tcp_pair(fds);
        else fixture_unix_pair(fds);
        struct conn *conn = fixture_conn(io, fds[0]);
        for (int i = 0; i < 500; i++) {
            size_t before = conn->got.len;
            fixture_write_all(fds[1], "abc", 3);
            PUMP_UNTIL(io, conn->got.len == before + 3);
            cr_assert_eq(io_send(io, &conn->sock, conn->got.ptr + before, 3), 3);
            cr_assert_eq(read_byte(fds[1]), 'a');
            cr_assert_eq(read_byte(fds[1]), 'b');
            cr_assert_eq(read_byte(fds[1]), 'c');
        }
        fixture_close(io, conn);
        check_eof(fds[1]);
        close(fds[1]);
    }
    cr_assert_gt(io_syscalls(io), 0);
    io_free(io);
}

ENGINE_TEST(full_socket_becomes_writable)
{
    struct io *io = fixture_io(engine, 0);
    int fds[2];
    fixture_tcp_pair(fds);
    struct conn *conn = fixture_conn(io, fds[0]);
    size_t len = 32u << 20, sent = 0, got = 0;
    char *bytes = malloc(len), *copy = malloc(len);
    fixture_fill(bytes, len, 0);
    unsigned refusals = 0;
    while (sent < len) {
        ssize_t put = io_send(io, &conn->sock, bytes + sent, len - sent);
        if (put > 0) {
            sent += (size_t)put;
            continue;
        }
        cr_assert_eq(put, -EAGAIN);
        refusals++;
        unsigned writable = conn->writable;
        io_want_write(io, &conn->sock);
        io_want_write(io, &conn->sock);
        fixture_pump(io, 0);
        cr_assert_eq(conn->writable, writable, "nobody has read yet");
        while (got < sent) {
            ssize_t part = read(fds[1], copy + got, sent - got);
            cr_assert_gt(part, 0);
            got += (size_t)part;
        }
        PUMP_UNTIL(io, conn->writable == writable + 1);
    }
    cr_assert_gt(refusals, 1);
    while (got < len) {
        ssize_t part = read(fds[1], copy + got, len - got);
        cr_assert_gt(part, 0);
        got += (size_t)part;
    }
    cr_assert_arr_eq(copy, bytes, len);
    fixture_pump(io, 0);
    cr_assert_eq(conn->writable, refusals);
    fixture_close(io, conn);
    close(fds[1]);
    free(bytes);
    free(copy);
    io_free(io);
}

ENGINE_TEST(paused_socket_receives_nothing)
{
    struct io *io = fixture_io(engine, 0);
    int fds[2];
    fixture_tcp_pair(fds);
    struct conn *conn = fixture_conn(io, fds[0]);
    char bytes[1000];
    size_t len = 0;
    for (int i = 0; i < 100; i++) {
        io_pause(io, &conn->sock);
        for (int k = 0; k < 3; k++) fixture_pump(io, 0);
        size_t before = conn->got.len;
        fixture_fill(bytes, sizeof bytes, len);
        fixture_write_all(fds[1], bytes, sizeof bytes);
        len += sizeof bytes;
        for (int k = 0; k < 3; k++) fixture_pump(io, 200);
        cr_assert_eq(conn->got.len, before);
        io_resume(io, &conn->sock);
        PUMP_UNTIL(io, conn->got.len == len);
    }
    fixture_check_stream(&conn->got, len);
    fixture_close(io, conn);
    close(fds[1]);
    io_free(io);
}

struct writer {
    int fd;
    size_t len;
};

static void write_stream(void *arg)
{
    struct writer *writer = arg;
    char bytes[7777];
    for (size_t at = 0; at < writer->len;) {
        size_t len = writer->len - at < sizeof bytes ? writer->len - at : sizeof bytes;
        fixture_fill(bytes, len, at);
        fixture_write_all(writer->fd, bytes, len);
        at += len;
    }
    shutdown(writer->fd, SHUT_WR);
}

ENGINE_TEST(pausing_loses_nothing)
{
    struct io *io = fixture_io(engine, 16);
    int fds[2];
    fixture_tcp_pair(fds);
    struct conn *conn = fixture_conn(io, fds[0]);
    struct writer writer = {fds[1], 20u << 20};
    struct os_thread *thread;
    cr_assert_eq(os_thread_start(&thread, "writer", -1, NULL, write_stream, &writer), 0);
    for (unsigned i = 0; !conn->closed && i < 1000000; i++) {
        if (i % 5 == 0) io_pause(io, &conn->sock);
        if (i % 7 == 0) fixture_pump(io, 0);
        if (i % 11 == 0) io_resume(io, &conn->sock);
        if (i % 5 == 0) io_resume(io, &conn->sock);
        fixture_pump(io, 100);
    }
    cr_assert_eq(conn->error, 0);
    fixture_check_stream(&conn->got, writer.len);
    os_thread_join(thread);
    fixture_close(io, conn);
    close(fds[1]);
    io_free(io);
}

ENGINE_TEST(reset_is_reported)
{
    struct io *io = fixture_io(engine, 0);
    for (int paused = 0; paused < 2; paused++) {
        int fds[2];
        fixture_tcp_pair(fds);
        struct conn *conn = fixture_conn(io, fds[0]);
        if (paused) io_pause(io, &conn->sock);
        fixture_pump(io, 0);
        fixture_reset(fds[1]);
        PUMP_UNTIL(io, conn->closed);
        cr_assert_eq(conn->error, ECONNRESET);
        cr_assert_lt(io_send(io, &conn->sock, "x", 1), 0);
        fixture_close(io, conn);
    }
    io_free(io);
}

/* The end may not overtake bytes: neither a FIN, nor the hang-up of a closed Unix peer. */
ENGINE_TEST(end_waits_behind_unread_bytes)
{
    struct io *io = fixture_io(engine, 0);
    for (int kind = 0; kind < 3; kind++) {
        int fds[2];
        if (kind == 0) fixture_unix_pair(fds);
        else fixture_tcp_pair(fds);
        struct conn *conn = fixture_conn(io, fds[0]);
        fixture_pump(io, 0);
        io_pause(io, &conn->sock);
        fixture_pump(io, 0);
        fixture_pump(io, 0);
        fixture_write_all(fds[1], "last words", 10);
        if (kind == 1) shutdown(fds[1], SHUT_WR);
        else close(fds[1]);
        for (int i = 0; i < 10; i++) fixture_pump(io, 500);
        cr_assert_eq(conn->closed, 0);
        cr_assert_eq(conn->got.len, 0);
        io_resume(io, &conn->sock);
        PUMP_UNTIL(io, conn->closed);
        cr_assert_eq(conn->error, 0);
        cr_assert_eq(conn->got.len, 10);
        if (kind == 1) { /* the other direction still works */
            cr_assert_eq(io_send(io, &conn->sock, "!", 1), 1);
            cr_assert_eq(read_byte(fds[1]), '!');
            close(fds[1]);
        }
        fixture_close(io, conn);
    }
    io_free(io);
}

ENGINE_TEST(hang_up_while_paused)
{
    struct io *io = fixture_io(engine, 0);
    int fds[2];
    fixture_unix_pair(fds);
    struct conn *conn = fixture_conn(io, fds[0]);
    io_pause(io, &conn->sock);
    fixture_pump(io, 0);
    close(fds[1]);
    PUMP_UNTIL(io, conn->closed);
    cr_assert_eq(conn->error, 0);
    uint64_t before = io_syscalls(io);
    int64_t start = os_mono_us();
    fixture_pump(io, 20000);
    cr_assert_gt(os_mono_us() - start, 15000, "an ended socket must not keep the loop awake");
    cr_assert_lt(io_syscalls(io) - before, 5);
    fixture_close(io, conn);
    io_free(io);
}

/* FIN, after all that was sent: armed, paused, and never pumped. */
ENGINE_TEST(close_sends_fin_behind_bytes)
{
    struct io *io = fixture_io(engine, 0);
    for (int kind = 0; kind < 3; kind++) {
        int fds[2];
        fixture_tcp_pair(fds);
        struct conn *conn = fixture_conn(io, fds[0]);
        if (kind > 0) fixture_pump(io, 0);
        if (kind > 1) {
            io_pause(io, &conn->sock);
            fixture_pump(io, 0);
        }
        size_t len = 200000;
        char *bytes = malloc(len), *copy = malloc(len);
        fixture_fill(bytes, len, 0);
        cr_assert_eq(io_send(io, &conn->sock, bytes, len), (ssize_t)len);
        fixture_close(io, conn);
        for (size_t got = 0; got < len;) {
            ssize_t part = read(fds[1], copy + got, len - got);
            cr_assert_gt(part, 0);
            got += (size_t)part;
        }
        cr_assert_arr_eq(copy, bytes, len);
        check_eof(fds[1]);
        close(fds[1]);
        free(bytes);
        free(copy);
    }
    io_free(io);
}

/* The memory of a connection is used again at once; what was on its way to the old one is gone. */
ENGINE_TEST(released_memory_can_be_reused)
{
    struct io *io = fixture_io(engine, 0);
    struct conn *conn = calloc(1, sizeof *conn);
    for (int i = 0; i < 2000; i++) {
        int fds[2];
        fixture_unix_pair(fds);
        struct buf kept = conn->got;
        *conn = (struct conn){.got = kept};
        conn->got.len = 0;
        cr_assert_eq(io_attach(io, &conn->sock, fds[0], conn), 0);
        if (i % 3) fixture_pump(io, 0);
        fixture_write_all(fds[1], &(char){(char)i}, 1);
        if (i % 2) {
            PUMP_UNTIL(io, conn->received);
            cr_assert_eq(conn->got.ptr[0], (char)i);
        }
        if (i % 5 == 0) fixture_write_all(fds[1], "stale", 5);
        if (i % 7 == 0) io_want_write(io, &conn->sock);
        if (i % 11 == 0) io_pause(io, &conn->sock);
        conn->leaving = true;
        io_close(io, &conn->sock);
        PUMP_UNTIL(io, conn->released);
        cr_assert_eq(conn->released_fd, -1);
        close(fds[1]);
    }
    cr_assert_eq(fixture_pump(io, 0), 0);
    buf_deinit(&conn->got);
    free(conn);
    io_free(io);
}

/* A connection moves between two ios while its peer keeps writing. */
ENGINE_TEST(migration_loses_nothing)
{
    struct io *ios[2] = {fixture_io(engine, 16), fixture_io(engine, 16)};
    int fds[2];
    fixture_tcp_pair(fds);
    struct writer writer = {fds[1], 10u << 20};
    struct os_thread *thread;
    cr_assert_eq(os_thread_start(&thread, "writer", -1, NULL, write_stream, &writer), 0);
    struct conn *conn = fixture_conn(ios[0], fds[0]);
    unsigned at = 0;
    for (unsigned i = 0; !conn->closed && i < 1000000; i++) {
        fixture_pump(ios[at], 1000);
        if (i % 3 || conn->closed) continue;
        if (i % 2) io_pause(ios[at], &conn->sock);
        io_detach(ios[at], &conn->sock);
        PUMP_UNTIL(ios[at], conn->released);
        cr_assert_eq(conn->released_fd, fds[0]);
        cr_assert_eq(fixture_pump(ios[at], 0), 0);
        conn->released = 0;
        at = !at;
        cr_assert_eq(io_attach(ios[at], &conn->sock, fds[0], conn), 0);
    }
    cr_assert_eq(conn->error, 0);
    fixture_check_stream(&conn->got, writer.len);
    os_thread_join(thread);
    fixture_close(ios[at], conn);
    close(fds[1]);
    io_free(ios[0]);
    io_free(ios[1]);
}

ENGINE_TEST(free_closes_what_is_attached)
{
    struct io *io = fixture_io(engine, 0);
    int fds[2];
    fixture_tcp_pair(fds);
    struct conn *conn = fixture_conn(io, fds[0]);
    fixture_pump(io, 0);
    io_free(io);
    check_eof(fds[1]);
    close(fds[1]);
    free(conn);
}
