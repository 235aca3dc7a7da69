/* Listeners on every kind of address, names as Redis prints them, options, the one-shot client. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "splitring/io/net.h"
#include "splitring/io/os.h"

static int dial(int listener)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    cr_assert_eq(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    int fd = socket(address.ss_family, SOCK_STREAM, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, len), 0);
    return fd;
}

static int take(int listener)
{
    struct pollfd pfd = {.fd = listener, .events = POLLIN};
    cr_assert_eq(poll(&pfd, 1, 5000), 1);
    int fd = accept(listener, NULL, NULL);
    cr_assert_geq(fd, 0);
    return fd;
}

static int option_of(int fd, int level, int name)
{
    int value = -1;
    socklen_t len = sizeof value;
    cr_assert_eq(getsockopt(fd, level, name, &value, &len), 0);
    return value;
}

static void check_host(const char *host, const char *prefix)
{
    char name[100], expected[100];
    int listener = net_listen_tcp(host, 0, 16);
    if (listener == -EAFNOSUPPORT || listener == -EADDRNOTAVAIL) cr_skip_test("no such network");
    cr_assert_geq(listener, 0, "%s: %d", host, listener);
    cr_assert(fcntl(listener, F_GETFL) & O_NONBLOCK);
    int port = net_port_of(listener);
    cr_assert_gt(port, 0);
    int client = dial(listener), fd = take(listener);
    cr_assert_eq(net_prepare(fd, 300), 0);
    cr_assert(fcntl(fd, F_GETFL) & O_NONBLOCK);
    cr_assert_eq(option_of(fd, IPPROTO_TCP, TCP_NODELAY), 1);
    cr_assert_eq(option_of(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
    cr_assert_eq(option_of(fd, IPPROTO_TCP, TCP_KEEPIDLE), 300);
    cr_assert_eq(option_of(fd, IPPROTO_TCP, TCP_KEEPINTVL), 100);
    net_local_name(fd, name, sizeof name);
    snprintf(expected, sizeof expected, "%s:%d", prefix, port);
    cr_assert_str_eq(name, expected);
    net_peer_name(client, name, sizeof name);
    cr_assert_str_eq(name, expected);
    net_peer_name(fd, name, sizeof name);
    cr_assert_eq(strncmp(name, prefix, strlen(prefix)), 0);
    cr_assert(net_peer_is_loopback(fd));
    net_close(fd);
    net_close(client);
    net_close(listener);
}

Test(net, ipv4)
{
    check_host("127.0.0.1", "127.0.0.1");
    check_host("*", "127.0.0.1");
    check_host("", "127.0.0.1");
    check_host("localhost", "127.0.0.1");
}

Test(net, ipv6)
{
    check_host("::1", "[::1]");
    check_host("::*", "[::1]");
    check_host("::", "[::1]");
}

Test(net, several_on_one_port)
{
    int first = net_listen_tcp("127.0.0.1", 0, 16);
    cr_assert_geq(first, 0);
    uint16_t port = (uint16_t)net_port_of(first);
    int second = net_listen_tcp("::1", port, 16);
    if (second == -EAFNOSUPPORT || second == -EADDRNOTAVAIL) cr_skip_test("no IPv6");
    int third = net_listen_tcp("127.0.0.2", port, 16);
    cr_assert_geq(second, 0);
    cr_assert_geq(third, 0);
    int64_t start = os_mono_us();
    cr_assert_eq(net_listen_tcp("127.0.0.1", port, 16), -EADDRINUSE);
    cr_assert_geq(os_mono_us() - start, 1900000);
    net_close(first);
    net_close(second);
    net_close(third);
}

Test(net, missing_addresses)
{
    cr_assert_eq(net_listen_tcp("192.0.2.77", 0, 16), -EADDRNOTAVAIL);
    cr_assert_eq(net_listen_tcp("no such name", 0, 16), -EADDRNOTAVAIL);
    cr_assert_eq(net_port_of(-1), -EBADF);
    char name[20];
    net_peer_name(-1, name, sizeof name);
    cr_assert_str_eq(name, "?:0");
    cr_assert_not(net_peer_is_loopback(-1));
    net_close(-1);
}

Test(net, unix_socket)
{
    char path[100], name[120], expected[120];
    struct stat st;
    snprintf(path, sizeof path, "/tmp/splitring-net-test-%ld", os_pid());
    int listener = net_listen_unix(path, 0700, 16);
    cr_assert_geq(listener, 0);
    cr_assert_eq(stat(path, &st), 0);
    cr_assert_eq(st.st_mode & 0777, 0700);
    cr_assert_eq(net_listen_unix(path, 0, 16), -EADDRINUSE, "somebody listens");
    int client = dial(listener), fd = take(listener);
    cr_assert_eq(net_prepare(fd, 300), 0);
    cr_assert(fcntl(fd, F_GETFL) & O_NONBLOCK);
    snprintf(expected, sizeof expected, "%s:0", path);
    net_peer_name(fd, name, sizeof name);
    cr_assert_str_eq(name, expected);
    net_local_name(fd, name, sizeof name);
    cr_assert_str_eq(name, expected);
    cr_assert(net_peer_is_loopback(fd));
    cr_assert_eq(net_port_of(fd), -EAFNOSUPPORT);
    net_close(fd);
    net_close(client);
    net_close(listener);
    listener = net_listen_unix(path, 0, 16); /* the file is stale now */
    cr_assert_geq(listener, 0);
    net_close(listener);
    unlink(path);
    fd = open(path, O_CREAT | O_WRONLY, 0600);
    close(fd);
    cr_assert_eq(net_listen_unix(path, 0, 16), -EADDRINUSE, "a file is not ours to remove");
    unlink(path);
    char longest[200];
    memset(longest, 'x', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    cr_assert_eq(net_listen_unix(longest, 0, 16), -ENAMETOOLONG);
}

static void answer_once(void *arg)
{
    char request[16];
    int fd = take(*(int *)arg);
    cr_assert_eq(read(fd, request, 6), 6);
    cr_assert_eq(write(fd, "+PO", 3), 3);
    os_sleep_us(20000);
    cr_assert_eq(write(fd, "NG\r\n", 4), 4);
    close(fd);
}

Test(net, ask)
{
    struct buf answer = {0};
    struct os_thread *thread;
    int listener = net_listen_tcp("127.0.0.1", 0, 16);
    uint16_t port = (uint16_t)net_port_of(listener);
    cr_assert_eq(os_thread_start(&thread, "server", -1, NULL, answer_once, &listener), 0);
    cr_assert_eq(net_ask("127.0.0.1", port, NULL, SLICE("PING\r\n"), &answer, 2000), 0);
    cr_assert(slice_equal(buf_slice(&answer), SLICE("+PONG\r\n")));
    os_thread_join(thread);
    answer.len = 0;
    int64_t start = os_mono_us();
    cr_assert_eq(net_ask("127.0.0.1", port, NULL, SLICE("x"), &answer, 50), -ETIMEDOUT);
    cr_assert_lt(os_mono_us() - start, 1000000);
    net_close(listener);
    cr_assert_eq(net_ask("127.0.0.1", port, NULL, SLICE("x"), &answer, 500), -ECONNREFUSED);
    cr_assert_eq(net_ask(NULL, 0, "/nonexistent", SLICE("x"), &answer, 500), -ENOENT);
    buf_deinit(&answer);
}
