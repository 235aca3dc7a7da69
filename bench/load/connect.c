/* Opening a connection, and asking the server which worker has it.
 *
 * CLIENT INFO answers with one bulk string of name=value fields. Splitring adds worker=N, the
 * worker whose loop reads the connection; other servers do not have the field. */
#include "connect.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

static int unix_open(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        return -ENAMETOOLONG;
    }
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

static int tcp_open(const char *host, const char *port)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    if (getaddrinfo(host, port, &hints, &found) != 0) {
        return -EADDRNOTAVAIL;
    }
    int result = -EADDRNOTAVAIL;
    for (struct addrinfo *one = found; one != NULL; one = one->ai_next) {
        int fd = socket(one->ai_family, one->ai_socktype | SOCK_CLOEXEC, one->ai_protocol);
        if (fd >= 0 && connect(fd, one->ai_addr, one->ai_addrlen) == 0) {
            int on = 1;
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            result = fd;
            break;
        }
        result = -errno;
        if (fd >= 0) {
            close(fd);
        }
    }
    freeaddrinfo(found);
    return result;
}

int connect_open(const struct options *options)
{
    if (options->unix_path != NULL) {
        return unix_open(options->unix_path);
    }
    return tcp_open(options->host, options->port);
}

/* Whether text holds a whole reply: an error line, or a bulk string to its end. */
static int reply_is_whole(const char *text, size_t len)
{
    const char *line_end = strstr(text, "\r\n");
    if (line_end == NULL) {
        return 0;
    }
    if (text[0] != '$' && text[0] != '=') {
        return 1;
    }
    return len >= (size_t)(line_end - text) + 2 + strtoul(text + 1, NULL, 10) + 2;
}

int connect_worker_get(int fd)
{
    static const char request[] = "*2\r\n$6\r\nCLIENT\r\n$4\r\nINFO\r\n";
    char reply[4096];
    size_t len = 0;
    struct timeval patience = {.tv_sec = 2};
    struct timeval forever = {0};

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (send(fd, request, sizeof request - 1, MSG_NOSIGNAL) != (ssize_t)sizeof request - 1) {
        return -1;
    }
    reply[0] = '\0';
    while (len < sizeof reply - 1 && !reply_is_whole(reply, len)) {
        ssize_t got = recv(fd, reply + len, sizeof reply - 1 - len, 0);
        if (got <= 0) {
            return -1;
        }
        len += (size_t)got;
        reply[len] = '\0';
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &forever, sizeof forever);
    const char *field = strstr(reply, " worker=");
    int worker;
    if (field == NULL || sscanf(field, " worker=%d", &worker) != 1 || worker < 0) {
        return -1;
    }
    return worker;
}
