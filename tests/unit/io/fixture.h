/* What the I/O tests share: connections that collect their events, and pumps that run an io until
 * something holds.
 * Thread: owner. */
#ifndef SPLITRING_TESTS_UNIT_IO_FIXTURE_H
#define SPLITRING_TESTS_UNIT_IO_FIXTURE_H

#include <criterion/criterion.h>
#include <criterion/parameterized.h>

#include "splitring/base/buf.h"
#include "splitring/io/io.h"

struct conn {
    struct io_sock sock;
    struct buf got;
    unsigned received, closed, writable, released;
    unsigned accepted, accept_failed;
    int error;      /* of the last IO_EV_CLOSED or IO_EV_ACCEPT_FAILED */
    int released_fd;
    int accepted_fds[4096];
    bool leaving; /* io_close was called: only IO_EV_RELEASED may follow */
};

struct io *fixture_io(enum io_engine engine, unsigned recv_bufs);
/* One io_wait; checks what holds for every event; returns the number of events. */
int fixture_pump_some(struct io *io, int64_t timeout_us, unsigned cap);
int fixture_pump(struct io *io, int64_t timeout_us);
void fixture_unix_pair(int fds[2]);
void fixture_tcp_pair(int fds[2]); /* through a listener on loopback */
void fixture_reset(int fd);        /* closes with RST */
struct conn *fixture_conn(struct io *io, int fd);
void fixture_close(struct io *io, struct conn *conn); /* until released; frees */
void fixture_write_all(int fd, const void *ptr, size_t len); /* blocking */
/* Byte `at` of a stream that is unlike its neighbours. */
static inline char fixture_byte(size_t at) { return (char)(at * 2654435761u >> 13); }
void fixture_fill(char *out, size_t len, size_t at);
void fixture_check_stream(const struct buf *got, size_t len);

#define PUMP_UNTIL(io, cond) \
    do { \
        for (int pump_i = 0; !(cond) && pump_i < 5000; pump_i++) fixture_pump(io, 1000); \
        cr_assert(cond, "never held: %s", #cond); \
    } while (0)

/* Runs the body for both engines, each in a process of its own. */
#define ENGINE_TEST(name) \
    static void name##_body(enum io_engine engine); \
    Test(io_uring, name, .timeout = 60) { name##_body(IO_ENGINE_URING); } \
    Test(io_epoll, name, .timeout = 60) { name##_body(IO_ENGINE_EPOLL); } \
    static void name##_body(enum io_engine engine)

#endif
