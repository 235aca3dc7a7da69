/* Sockets before and after the ring: making listeners, preparing what was accepted, names.
 *
 * Addresses follow redis.conf: "*" is every IPv4 address and "::*" every IPv6 address, as separate
 * sockets (IPV6_V6ONLY), so that both can be bound beside each other.
 * Thread: any. */
#include "splitring/io/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "splitring/io/os.h"

#define RETRY_MAX_US 2000000
#define RETRY_STEP_US 20000

union address {
    struct sockaddr any;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct sockaddr_un un;
    struct sockaddr_storage room;
};

static int set_option(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof value) < 0 ? -errno : 0;
}

/* --- addresses -------------------------------------------------------------------------------- */

/* A name without a colon is looked up for IPv4 only, as Redis does. */
static int resolve(const char *host, uint16_t port, union address *out, socklen_t *len)
{
    char service[8];
    struct addrinfo hints = {.ai_family = strchr(host, ':') ? AF_INET6 : AF_INET,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *list;
    if (*host == '\0' || strcmp(host, "*") == 0) host = "0.0.0.0";
    else if (strcmp(host, "::*") == 0) host = "::";
    snprintf(service, sizeof service, "%u", (unsigned)port);
    int rc = getaddrinfo(host, service, &hints, &list);
    if (rc == EAI_SYSTEM) return -errno;
    if (rc == EAI_MEMORY) return -ENOMEM;
    if (rc != 0) return -EADDRNOTAVAIL;
    memcpy(out, list->ai_addr, list->ai_addrlen);
    *len = list->ai_addrlen;
    freeaddrinfo(list);
    return 0;
}

static int unix_address(const char *path, union address *out, socklen_t *len)
{
    *out = (union address){.un = {.sun_family = AF_UNIX}};
    if (strlen(path) >= sizeof out->un.sun_path) return -ENAMETOOLONG;
    snprintf(out->un.sun_path, sizeof out->un.sun_path, "%s", path);
    *len = sizeof out->un;
    return 0;
}

static int stream_socket(int family)
{
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return fd < 0 ? -errno : fd;
}

/* --- listening -------------------------------------------------------------------------------- */

static int bind_and_listen(const union address *address, socklen_t len, int backlog)
{
    int fd = stream_socket(address->any.sa_family);
    if (fd < 0) return fd;
    int rc = set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (rc == 0 && address->any.sa_family == AF_INET6)
        rc = set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    if (rc == 0 && bind(fd, &address->any, len) < 0) rc = -errno;
    if (rc == 0 && listen(fd, backlog) < 0) rc = -errno;
    if (rc == 0) return fd;
    close(fd);
    return rc;
}

int net_listen_tcp(const char *host, uint16_t port, int backlog)
{
    union address address;
    socklen_t len;
    int rc = resolve(host, port, &address, &len);
    if (rc < 0) return rc;
    int64_t give_up_us = os_mono_us() + RETRY_MAX_US;
    for (;;) {
        rc = bind_and_listen(&address, len, backlog);
        if (rc != -EADDRINUSE || os_mono_us() >= give_up_us) return rc;
        os_sleep_us(RETRY_STEP_US);
    }
}

/* A file that a dead server left behind refuses connections; one that accepts belongs to somebody,
 * and so does one whose backlog is full (EAGAIN). A server that was killed a moment ago accepts
 * until the kernel has taken its ring apart: the connection then hangs up. */
static void remove_stale(const char *path, const union address *address, socklen_t len)
{
    struct stat st;
    if (lstat(path, &st) < 0 || !S_ISSOCK(st.st_mode)) return;
    int64_t give_up_us = os_mono_us() + RETRY_MAX_US;
    for (int64_t now_us = os_mono_us(); now_us < give_up_us; now_us = os_mono_us()) {
        int fd = stream_socket(AF_UNIX);
        if (fd < 0) return;
        int error = connect(fd, &address->any, len) < 0 ? errno : 0;
        struct pollfd hangup = {.fd = fd};
        if (error == 0) (void)poll(&hangup, 1, (int)((give_up_us - now_us) / 1000));
        close(fd);
        if (error == ECONNREFUSED) unlink(path);
        if (error != 0) return;
        os_sleep_us(RETRY_STEP_US);
    }
}

int net_listen_unix(const char *path, unsigned perm, int backlog)
{
    union address address;
    socklen_t len;
    int rc = unix_address(path, &address, &len);
    if (rc < 0) return rc;
    remove_stale(path, &address, len);
    int fd = stream_socket(AF_UNIX);
    if (fd < 0) return fd;
    if (bind(fd, &address.any, len) < 0) {
        rc = -errno;
        close(fd);
        return rc;
    }
    if (perm && chmod(path, (mode_t)perm) < 0) rc = -errno;
    if (rc == 0 && listen(fd, backlog) < 0) rc = -errno;
    if (rc == 0) return fd;
    close(fd);
    unlink(path);
    return rc;
}

int net_connect_start(const char *host, uint16_t port)
{
    union address address;
    socklen_t len;
    int rc = resolve(host, port, &address, &len);
    if (rc < 0) return rc;
    int fd = stream_socket(address.any.sa_family);
    if (fd < 0) return fd;
    if (connect(fd, &address.any, len) == 0 || errno == EINPROGRESS) return fd;
    rc = -errno;
    close(fd);
    return rc;
}

/* --- accepted sockets ------------------------------------------------------------------------- */

static int address_of(int fd, bool peer, union address *out)
{
    socklen_t len = sizeof *out;
    *out = (union address){0};
    int rc = peer ? getpeername(fd, &out->any, &len) : getsockname(fd, &out->any, &len);
    return rc < 0 ? -errno : 0;
}

int net_port_of(int fd)
{
    union address address;
    int rc = address_of(fd, false, &address);
    if (rc < 0) return rc;
    if (address.any.sa_family == AF_INET) return ntohs(address.in.sin_port);
    if (address.any.sa_family == AF_INET6) return ntohs(address.in6.sin6_port);
    return -EAFNOSUPPORT;
}

int net_prepare(int fd, unsigned keepalive_s)
{
    int domain = AF_UNSPEC;
    socklen_t len = sizeof domain;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0) return -errno;
    if (!(flags & O_NONBLOCK) && fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) return -errno;
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0) return -errno;
    if (domain != AF_INET && domain != AF_INET6) return 0;
    int rc = set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (rc < 0 || keepalive_s == 0) return rc;
    /* as Redis: first probe after the interval, then three at a third of it */
    int idle = keepalive_s > 32767 ? 32767 : (int)keepalive_s;
    rc = set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    if (rc == 0) rc = set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, idle);
    if (rc == 0) rc = set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, idle < 3 ? 1 : idle / 3);
    if (rc == 0) rc = set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
    return rc;
}

static void print_address(const union address *address, char *out, size_t cap)
{
    char host[INET6_ADDRSTRLEN];
    switch (address->any.sa_family) {
    case AF_INET:
        inet_ntop(AF_INET, &address->in.sin_addr, host, sizeof host);
        snprintf(out, cap, "%s:%u", host, ntohs(address->in.sin_port));
        break;
    case AF_INET6:
        inet_ntop(AF_INET6, &address->in6.sin6_addr, host, sizeof host);
        snprintf(out, cap, "[%s]:%u", host, ntohs(address->in6.sin6_port));
        break;
    case AF_UNIX:
        snprintf(out, cap, "%.*s:0", (int)sizeof address->un.sun_path, address->un.sun_path);
        break;
    default: snprintf(out, cap, "?:0"); break;
    }
}

/* A Unix client has no name of its own; Redis prints the listener's path for both sides. */
void net_peer_name(int fd, char *out, size_t cap)
{
    union address address;
    if (address_of(fd, true, &address) == 0 && address.any.sa_family != AF_UNIX)
        print_address(&address, out, cap);
    else
        net_local_name(fd, out, cap);
}

void net_local_name(int fd, char *out, size_t cap)
{
    union address address;
    (void)address_of(fd, false, &address); /* a failure leaves AF_UNSPEC */
    print_address(&address, out, cap);
}

bool net_peer_is_loopback(int fd)
{
    union address address;
    if (address_of(fd, true, &address) < 0) return false;
    switch (address.any.sa_family) {
    case AF_UNIX: return true;
    case AF_INET: return ntohl(address.in.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    case AF_INET6:
        return IN6_IS_ADDR_LOOPBACK(&address.in6.sin6_addr) ||
               (IN6_IS_ADDR_V4MAPPED(&address.in6.sin6_addr) &&
                address.in6.sin6_addr.s6_addr[12] == IN_LOOPBACKNET);
    default: return false;
    }
}

void net_refuse(int fd, struct slice why)
{
    ssize_t sent = send(fd, why.ptr, why.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)sent; /* a courtesy: the connection ends either way */
    net_close(fd);
}

void net_close(int fd)
{
    if (fd >= 0) close(fd);
}

/* --- one question ----------------------------------------------------------------------------- */

static int wait_for(int fd, short events, int64_t deadline_us)
{
    for (;;) {
        int64_t left_ms = (deadline_us - os_mono_us() + 999) / 1000;
        struct pollfd pfd = {.fd = fd, .events = events};
        if (left_ms <= 0) return -ETIMEDOUT;
        int rc = poll(&pfd, 1, (int)left_ms);
        if (rc > 0) return 0;
        if (rc < 0 && errno != EINTR) return -errno;
    }
}

static int connect_until(int fd, const union address *address, socklen_t len, int64_t deadline_us)
{
    if (connect(fd, &address->any, len) == 0) return 0;
    if (errno != EINPROGRESS) return -errno;
    int rc = wait_for(fd, POLLOUT, deadline_us);
    int error = 0;
    socklen_t error_len = sizeof error;
    if (rc < 0) return rc;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &error_len) < 0) return -errno;
    return -error;
}

static int send_until(int fd, struct slice request, int64_t deadline_us)
{
    while (request.len > 0) {
        ssize_t sent = send(fd, request.ptr, request.len, MSG_NOSIGNAL);
        if (sent >= 0) {
            request.ptr += sent;
            request.len -= (size_t)sent;
        } else if (errno == EAGAIN) {
            int rc = wait_for(fd, POLLOUT, deadline_us);
            if (rc < 0) return rc;
        } else if (errno != EINTR) {
            return -errno;
        }
    }
    return 0;
}

static int read_line_until(int fd, struct buf *answer, int64_t deadline_us)
{
    while (answer->len < 2 || !memmem(answer->ptr, answer->len, "\r\n", 2)) {
        int rc = wait_for(fd, POLLIN, deadline_us);
        if (rc < 0) return rc;
        if (!buf_reserve(answer, 4096)) return -ENOMEM;
        ssize_t got = recv(fd, answer->ptr + answer->len, 4096, 0);
        if (got == 0) return -ECONNRESET;
        if (got > 0) answer->len += (size_t)got;
        else if (errno != EAGAIN && errno != EINTR) return -errno;
    }
    return 0;
}

int net_ask(const char *host, uint16_t port, const char *path, struct slice request,
            struct buf *answer, int timeout_ms)
{
    union address address;
    socklen_t len;
    int64_t deadline_us = os_mono_us() + (int64_t)timeout_ms * 1000;
    int rc = host ? resolve(host, port, &address, &len) : unix_address(path, &address, &len);
    if (rc < 0) return rc;
    int fd = stream_socket(address.any.sa_family);
    if (fd < 0) return fd;
    rc = connect_until(fd, &address, len, deadline_us);
    if (rc == 0) rc = send_until(fd, request, deadline_us);
    if (rc == 0) rc = read_line_until(fd, answer, deadline_us);
    close(fd);
    return rc;
}
