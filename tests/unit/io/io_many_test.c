/* Many connections at once, listeners, short buffers, waiting and waking. Each test runs for
 * io_uring and for epoll. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fixture.h"
#include "splitring/base/rng.h"
#include "splitring/io/net.h"
#include "splitring/io/os.h"

static int connect_to(int listener)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    cr_assert_eq(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_geq(fd, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, len), 0);
    return fd;
}

static struct conn *listen_on(struct io *io, int fd)
{
    struct conn *listener = calloc(1, sizeof *listener);
    cr_assert_eq(io_listen(io, &listener->sock, fd, listener), 0);
    return listener;
}

ENGINE_TEST(accepts_a_flood)
{
    enum { COUNT = 400 };
    struct io *io = fixture_io(engine, 0);
    int fd = net_listen_tcp("127.0.0.1", 0, 511);
    struct conn *listener = listen_on(io, fd);
    int clients[COUNT];
    for (int i = 0; i < COUNT; i++) clients[i] = connect_to(fd);
    PUMP_UNTIL(io, listener->accepted == COUNT);
    for (int i = 0; i < COUNT; i++) {
        int accepted = listener->accepted_fds[i];
        cr_assert(fcntl(accepted, F_GETFL) & O_NONBLOCK);
        cr_assert(fcntl(accepted, F_GETFD) & FD_CLOEXEC);
        close(accepted);
        close(clients[i]);
    }
    listener->leaving = true;
    io_close(io, &listener->sock);
    PUMP_UNTIL(io, listener->released);
    cr_assert_eq(listener->released_fd, fd);
    close(connect_to(fd)); /* it is still open, but nobody accepts for this io */
    fixture_pump(io, 1000);
    net_close(fd);
    free(listener);
    io_free(io);
}

ENGINE_TEST(survives_lack_of_descriptors)
{
    struct io *io = fixture_io(engine, 0);
    int fd = net_listen_tcp("127.0.0.1", 0, 511);
    struct conn *listener = listen_on(io, fd);
    fixture_pump(io, 0);
    int client = connect_to(fd);
    struct rlimit old, low = {0};
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
    low = (struct rlimit){(rlim_t)client + 1, old.rlim_max};
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
    int filler = dup(0);
    while (filler >= 0) filler = dup(0);
    int64_t start = os_mono_us();
    PUMP_UNTIL(io, listener->accept_failed || listener->accepted);
    if (!listener->accepted) { /* else it came in before the limit fell */
        cr_assert_eq(listener->error, EMFILE);
        cr_assert_eq(fixture_pump(io, 30000), 0, "a pause, not a storm");
        cr_assert_gt(os_mono_us() - start, 20000);
        cr_assert_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
        int64_t longest = os_mono_us() + 500000;
        while (!listener->accepted && os_mono_us() < longest) fixture_pump(io, -1);
        cr_assert_eq(listener->accepted, 1);
    }
    io_free(io);
    free(listener);
}

ENGINE_TEST(port_is_free_after_free)
{
    struct io *io = fixture_io(engine, 0);
    int fd = net_listen_tcp("127.0.0.1", 0, 16);
    int port = net_port_of(fd);
    struct conn *listener = listen_on(io, fd);
    fixture_pump(io, 0);
    int64_t start = os_mono_us();
    io_free(io);
    net_close(fd);
    fd = net_listen_tcp("127.0.0.1", (uint16_t)port, 16);
    cr_assert_geq(fd, 0);
    cr_assert_lt(os_mono_us() - start, 500000);
    net_close(fd);
    free(listener);
}

/* More bytes than there are buffers for: io_uring meets ENOBUFS, epoll a full arena. */
ENGINE_TEST(few_buffers_many_bytes)
{
    enum { COUNT = 64 };
    struct io *io = fixture_io(engine, 2);
    struct conn *conns[COUNT];
    int peers[COUNT];
    size_t len = 100000;
    char *bytes = malloc(len);
    fixture_fill(bytes, len, 0);
    for (int i = 0; i < COUNT; i++) {
        int fds[2];
        fixture_unix_pair(fds);
        conns[i] = fixture_conn(io, fds[0]);
        peers[i] = fds[1];
        fixture_write_all(peers[i], bytes, len);
    }
    for (int i = 0; i < COUNT; i++) {
        PUMP_UNTIL(io, conns[i]->got.len == len);
        fixture_check_stream(&conns[i]->got, len);
    }
    for (int i = 0; i < COUNT; i++) {
        fixture_close(io, conns[i]);
        close(peers[i]);
    }
    free(bytes);
    io_free(io);
}

/* A burst takes memory; when it is long over, most of it has gone back. */
ENGINE_TEST(idle_buffers_go_back)
{
    enum { COUNT = 300 };
    struct io *io = fixture_io(engine, 0);
    static struct io_sock socks[COUNT];
    static char bytes[16384];
    int peers[COUNT];
    struct io_event events[512];
    struct io_wait wait = {.timeout_us = 1000};
    uint64_t before = os_rss_bytes();
    for (int i = 0; i < COUNT; i++) {
        int fds[2];
        fixture_unix_pair(fds);
        cr_assert_eq(io_attach(io, &socks[i], fds[0], &socks[i]), 0);
        peers[i] = fds[1];
    }
    for (int round = 0; round < 8; round++) {
        for (int i = 0; i < COUNT; i++) fixture_write_all(peers[i], bytes, sizeof bytes);
        for (size_t got = 0; got < COUNT * sizeof bytes;) {
            int n = io_wait(io, events, 512, &wait);
            cr_assert_geq(n, 0);
            for (int i = 0; i < n; i++) got += events[i].len;
        }
    }
    uint64_t burst = os_rss_bytes();
    for (int i = 0; i < 40000; i++) {
        fixture_write_all(peers[0], "x", 1);
        int n = io_wait(io, events, 512, &wait);
        cr_assert_eq(n, 1);
    }
    uint64_t idle = os_rss_bytes();
    io_free(io);
    for (int i = 0; i < COUNT; i++) close(peers[i]);
#ifdef SPLITRING_LIBC_MALLOC
    (void)idle; /* a sanitizer's own memory moves more than the buffers do */
    (void)before;
    (void)burst;
#else
    cr_assert_gt(burst, before + (1u << 20));
    cr_assert_lt(idle, before + (burst - before) / 2, "%lu kB, burst %lu kB, idle %lu kB",
                 before >> 10, burst >> 10, idle >> 10);
#endif
}

/* As a container's seccomp profile does it. */
Test(io_auto, refused_uring_falls_back)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EACCES),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = 4, .filter = filter};
    cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    cr_assert_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0), 0);
    struct io *io;
    int refused = 0;
    cr_assert_eq(io_new(&io, &(struct io_options){.engine = IO_ENGINE_URING}, &refused), -EACCES);
    cr_assert_eq(io_new(&io, &(struct io_options){.engine = IO_ENGINE_AUTO}, &refused), 0);
    cr_assert_eq(refused, EACCES);
    cr_assert_eq(io_engine_of(io), IO_ENGINE_EPOLL);
    io_free(io);
    cr_assert_eq(io_new(&io, &(struct io_options){.recv_bufs = 3}, &refused), -EINVAL);
}

ENGINE_TEST(small_event_arrays_lose_nothing)
{
    enum { COUNT = 100 };
    struct io *io = fixture_io(engine, 0);
    struct conn *conns[COUNT];
    int peers[COUNT];
    for (int i = 0; i < COUNT; i++) {
        int fds[2];
        fixture_unix_pair(fds);
        conns[i] = fixture_conn(io, fds[0]);
        peers[i] = fds[1];
        fixture_write_all(peers[i], "ping", 4);
        io_want_write(io, &conns[i]->sock);
    }
    for (int i = 0; i < 2000; i++) fixture_pump_some(io, 0, 2);
    for (int i = 0; i < COUNT; i++) {
        cr_assert_eq(conns[i]->got.len, 4);
        cr_assert_eq(conns[i]->writable, 1);
        conns[i]->leaving = true;
        io_close(io, &conns[i]->sock);
    }
    for (int i = 0; i < 2000; i++) fixture_pump_some(io, 0, 3);
    for (int i = 0; i < COUNT; i++) {
        cr_assert_eq(conns[i]->released, 1);
        buf_deinit(&conns[i]->got);
        free(conns[i]);
        close(peers[i]);
    }
    io_free(io);
}

ENGINE_TEST(waits_as_long_as_told)
{
    struct io *io = fixture_io(engine, 0);
    fixture_pump(io, 0);
    int64_t start = os_mono_us();
    cr_assert_eq(fixture_pump(io, 0), 0);
    cr_assert_lt(os_mono_us() - start, 20000);
    start = os_mono_us();
    cr_assert_eq(fixture_pump(io, 30000), 0);
    int64_t took = os_mono_us() - start;
    cr_assert_geq(took, 29000);
    cr_assert_lt(took, 200000);
    start = os_mono_us();
    cr_assert_eq(fixture_pump(io, 1500), 0);
    took = os_mono_us() - start;
    cr_assert_geq(took, 1400);
    cr_assert_lt(took, 100000);
    io_free(io);
}

/* A batch that never fills must not hold back what is there. */
ENGINE_TEST(batch_waits_shortly)
{
    struct io *io = fixture_io(engine, 0);
    int fds[2];
    fixture_unix_pair(fds);
    struct conn *conn = fixture_conn(io, fds[0]);
    fixture_pump(io, 0);
    for (int i = 0; i < 20; i++) {
        struct io_event events[64];
        struct io_wait wait = {.timeout_us = 5000000, .batch = 32, .min_wait_us = 2000};
        fixture_write_all(fds[1], "x", 1);
        int64_t start = os_mono_us();
        cr_assert_eq(io_wait(io, events, 64, &wait), 1);
        cr_assert_eq(events[0].kind, IO_EV_RECEIVED);
        cr_assert_lt(os_mono_us() - start, 1000000);
    }
    fixture_close(io, conn);
    close(fds[1]);
    io_free(io);
}

static void count_call(void *ctx)
{
    ++*(unsigned *)ctx;
}

ENGINE_TEST(wake_ends_the_wait)
{
    struct io *io = fixture_io(engine, 0);
    struct io_event events[8];
    unsigned calls = 0;
    struct io_wait wait = {.timeout_us = 10000000, .before = count_call, .after = count_call,
                           .ctx = &calls};
    for (int i = 0; i < 1000; i++) {
        int64_t start = os_mono_us();
        uint64_t before = io_syscalls(io);
        for (int k = 0; k <= i % 3; k++) io_wake_shared(io);
        cr_assert_eq(io_wait(io, events, 8, &wait), 0);
        cr_assert_lt(os_mono_us() - start, 1000000);
        cr_assert_leq(io_syscalls(io) - before, 2);
    }
    cr_assert_gt(calls, 0);
    cr_assert_eq(calls % 2, 0);
    int64_t start = os_mono_us();
    while (os_mono_us() - start < 20000) fixture_pump(io, 20000);
    cr_assert_leq(os_mono_us() - start, 500000, "no wake is left over for ever");
    io_free(io);
}

/* --- random life ------------------------------------------------------------------------------ */

enum { LIVES = 40 };

struct life {
    struct conn *conn;
    int peer;
    size_t sent;
    bool peer_gone, reset, ended;
};

static void begin_life(struct io *io, struct life *life, struct rng *rng)
{
    int fds[2];
    if (rng_below(rng, 4)) fixture_unix_pair(fds);
    else fixture_tcp_pair(fds);
    cr_assert_eq(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
    *life = (struct life){.conn = fixture_conn(io, fds[0]), .peer = fds[1]};
}

/* What came is a prefix of what was sent; all of it if the end was clean. */
static void end_life(struct life *life)
{
    struct conn *conn = life->conn;
    if (conn->closed && conn->error == 0 && !life->reset)
        cr_assert_eq(conn->got.len, life->sent);
    cr_assert_leq(conn->got.len, life->sent);
    fixture_check_stream(&conn->got, conn->got.len);
    if (!life->peer_gone) close(life->peer);
    buf_deinit(&conn->got);
    free(conn);
}

static void peer_acts(struct life *life, struct rng *rng)
{
    char bytes[20000];
    if (life->peer_gone) return;
    size_t len = rng_below(rng, 3) ? rng_below(rng, 100) + 1 : rng_below(rng, sizeof bytes) + 1;
    switch (rng_below(rng, 40)) {
    case 0:
        fixture_reset(life->peer);
        life->peer_gone = life->reset = true;
        break;
    case 1:
        close(life->peer);
        life->peer_gone = true;
        break;
    default:
        fixture_fill(bytes, len, life->sent);
        ssize_t put = send(life->peer, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (put > 0) life->sent += (size_t)put;
        break;
    }
}

static void owner_acts(struct io *io, struct life *life, struct rng *rng)
{
    struct io_sock *sock = &life->conn->sock;
    switch (rng_below(rng, 30)) {
    case 0:
        io_close(io, sock);
        life->conn->leaving = life->ended = true;
        break;
    case 1:
        io_detach(io, sock);
        life->ended = true;
        break;
    case 2: case 3: case 4: case 5: io_pause(io, sock); break;
    case 6: io_want_write(io, sock); break;
    default: io_resume(io, sock); break;
    }
}

ENGINE_TEST(random_life)
{
    struct io *io = fixture_io(engine, 8);
    struct rng rng;
    static struct life lives[LIVES];
    rng_seed(&rng, 42);
    for (int i = 0; i < LIVES; i++) begin_life(io, &lives[i], &rng);
    for (int step = 0; step < 60000; step++) {
        struct life *life = &lives[rng_below(&rng, LIVES)];
        if (life->conn->released) {
            if (life->conn->released_fd >= 0) close(life->conn->released_fd);
            end_life(life);
            begin_life(io, life, &rng);
        } else if (rng_below(&rng, 2)) {
            peer_acts(life, &rng);
        } else if (!life->ended) {
            owner_acts(io, life, &rng);
        }
        if (rng_below(&rng, 3) == 0)
            fixture_pump_some(io, 0, 2 + (unsigned)rng_below(&rng, 100));
    }
    for (int i = 0; i < LIVES; i++) {
        struct conn *conn = lives[i].conn;
        if (!lives[i].ended) {
            io_resume(io, &conn->sock);
            if (!lives[i].peer_gone) shutdown(lives[i].peer, SHUT_WR);
            PUMP_UNTIL(io, conn->closed);
            io_close(io, &conn->sock);
        }
        PUMP_UNTIL(io, conn->released);
        if (conn->released_fd >= 0) close(conn->released_fd);
        end_life(&lives[i]);
    }
    io_free(io);
}
