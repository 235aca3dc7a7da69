/* echo: the floor. It answers each complete RESP request with a fixed reply of the size that a real
 * server would send, and does nothing else: no lookup, no memory, no command table.
 *
 *     GET → $<data size>…     SET → +OK     PING → +PONG     anything else → +OK
 *
 * What a server's CPU time per request exceeds this program's by is the work of being a database;
 * the rest is the kernel's TCP and the event loop. The loop is the plain one: edge-triggered epoll,
 * one recv and one send per connection and pass, requests parsed in place, only a partial tail is
 * kept. One thread. A client that does not read is waited for: fine here, not in a server. */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define IN_LEN (64u << 10)
#define OUT_LEN (256u << 10)
#define EVENTS_MAX 256
#define BAD SIZE_MAX /* the length of a request that is none */

struct peer {
    int fd;
    char *tail; /* the begin of an incomplete request; NULL: nothing */
    size_t tail_len;
    size_t tail_cap;
};

struct echo {
    int epoll_fd;
    int listen_fd;
    char *get_reply;
    size_t get_reply_len;
    char in[IN_LEN];
    char out[OUT_LEN];
    size_t out_len;
};

/* Reads "<mark><digits>\r\n". Returns the bytes it takes, 0 if incomplete, BAD if malformed. */
static size_t length_parse(const char *data, size_t len, char mark, size_t *number)
{
    if (len == 0) {
        return 0;
    }
    if (data[0] != mark) {
        return BAD;
    }
    size_t n = 0;
    size_t i = 1;
    while (i < len && data[i] >= '0' && data[i] <= '9' && i < 12) {
        n = n * 10 + (size_t)(data[i] - '0');
        i++;
    }
    if (i + 1 >= len) {
        return 0;
    }
    *number = n;
    return i > 1 && data[i] == '\r' && data[i + 1] == '\n' ? i + 2 : BAD;
}

/* Returns the length of the request at data, 0 if incomplete, BAD if malformed. */
static size_t request_parse(const char *data, size_t len, const char **verb, size_t *verb_len)
{
    size_t parts;
    size_t at = length_parse(data, len, '*', &parts);
    if (at == 0 || at == BAD) {
        return at;
    }
    for (size_t i = 0; i < parts; i++) {
        size_t part_len;
        size_t head = length_parse(data + at, len - at, '$', &part_len);
        if (head == 0 || head == BAD) {
            return head;
        }
        at += head;
        if (len - at < part_len + 2) {
            return 0;
        }
        if (i == 0) {
            *verb = data + at;
            *verb_len = part_len;
        }
        at += part_len + 2;
    }
    return at;
}

static void out_flush(struct echo *echo, int fd)
{
    size_t at = 0;
    while (at < echo->out_len) {
        ssize_t sent = send(fd, echo->out + at, echo->out_len - at, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent > 0) {
            at += (size_t)sent;
        } else if (errno == EAGAIN) {
            struct pollfd wait = {.fd = fd, .events = POLLOUT};
            poll(&wait, 1, 1000);
        } else if (errno != EINTR) {
            break; /* the next recv will see that the client is gone */
        }
    }
    echo->out_len = 0;
}

static void reply(struct echo *echo, int fd, const char *verb, size_t verb_len)
{
    const char *text = "+OK\r\n";
    size_t len = 5;
    if (verb_len == 3 && (verb[0] | 0x20) == 'g') {
        text = echo->get_reply;
        len = echo->get_reply_len;
    } else if (verb_len == 4 && (verb[0] | 0x20) == 'p') {
        text = "+PONG\r\n";
        len = 7;
    }
    if (echo->out_len + len > OUT_LEN) {
        out_flush(echo, fd);
    }
    memcpy(echo->out + echo->out_len, text, len);
    echo->out_len += len;
}

/* Answers all whole requests. Returns the bytes they took, or BAD. */
static size_t answer(struct echo *echo, int fd, const char *data, size_t len)
{
    size_t at = 0;
    while (at < len) {
        const char *verb = "";
        size_t verb_len = 0;
        size_t taken = request_parse(data + at, len - at, &verb, &verb_len);
        if (taken == BAD) {
            return BAD;
        }
        if (taken == 0) {
            break;
        }
        reply(echo, fd, verb, verb_len);
        at += taken;
    }
    return at;
}

static void peer_close(struct peer *peer)
{
    close(peer->fd);
    free(peer->tail);
    free(peer);
}

/* Keeps what is left of the input. Returns whether there was memory. */
static bool tail_set(struct peer *peer, const char *data, size_t len)
{
    if (len == 0) {
        free(peer->tail);
        peer->tail = NULL;
        peer->tail_cap = 0;
    } else {
        if (len > peer->tail_cap) {
            char *bigger = realloc(peer->tail, len + IN_LEN);
            if (bigger == NULL) {
                return false;
            }
            peer->tail = bigger;
            peer->tail_cap = len + IN_LEN;
        }
        memmove(peer->tail, data, len);
    }
    peer->tail_len = len;
    return true;
}

/* Takes one read's bytes. Returns whether the client stays. */
static bool peer_take(struct echo *echo, struct peer *peer, size_t got)
{
    if (peer->tail == NULL) {
        size_t taken = answer(echo, peer->fd, echo->in, got);
        return taken != BAD && (taken == got || tail_set(peer, echo->in + taken, got - taken));
    }
    size_t old_len = peer->tail_len;
    if (old_len + got > peer->tail_cap) {
        char *bigger = realloc(peer->tail, old_len + got + IN_LEN);
        if (bigger == NULL) {
            return false;
        }
        peer->tail = bigger;
        peer->tail_cap = old_len + got + IN_LEN;
    }
    memcpy(peer->tail + old_len, echo->in, got);
    size_t whole = old_len + got;
    size_t taken = answer(echo, peer->fd, peer->tail, whole);
    return taken != BAD && tail_set(peer, peer->tail + taken, whole - taken);
}

static void peer_serve(struct echo *echo, struct peer *peer)
{
    for (;;) {
        ssize_t got = recv(peer->fd, echo->in, IN_LEN, MSG_DONTWAIT);
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
            break;
        }
        if (got <= 0 || !peer_take(echo, peer, (size_t)got)) {
            out_flush(echo, peer->fd);
            peer_close(peer);
            return;
        }
        if (got < (ssize_t)IN_LEN) {
            break;
        }
    }
    out_flush(echo, peer->fd);
}

static void peers_accept(struct echo *echo)
{
    for (;;) {
        int fd = accept4(echo->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            return;
        }
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct peer *peer = calloc(1, sizeof *peer);
        if (peer == NULL) {
            close(fd);
            return;
        }
        peer->fd = fd;
        struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.ptr = peer};
        if (epoll_ctl(echo->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
            peer_close(peer);
        }
    }
}

static int listen_open(uint16_t port)
{
    int on = 1;
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 4096) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static int echo_init(struct echo *echo, uint16_t port, size_t data_len)
{
    echo->get_reply = malloc(data_len + 32);
    if (echo->get_reply == NULL) {
        return -1;
    }
    size_t at = (size_t)sprintf(echo->get_reply, "$%zu\r\n", data_len);
    memset(echo->get_reply + at, 'x', data_len);
    memcpy(echo->get_reply + at + data_len, "\r\n", 2);
    echo->get_reply_len = at + data_len + 2;
    echo->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    echo->listen_fd = listen_open(port);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (echo->epoll_fd < 0 || echo->listen_fd < 0) {
        return -1;
    }
    return epoll_ctl(echo->epoll_fd, EPOLL_CTL_ADD, echo->listen_fd, &event);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"port", required_argument, NULL, 'p'},
                                            {"data-size", required_argument, NULL, 'd'},
                                            {NULL, 0, NULL, 0}};
    static struct echo echo;
    unsigned long port = 6379;
    unsigned long data_len = 64;

    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 'p') {
            port = strtoul(optarg, NULL, 10);
        } else if (option == 'd') {
            data_len = strtoul(optarg, NULL, 10);
        } else {
            return 1;
        }
    }
    if (port == 0 || port > 65535 || data_len > OUT_LEN / 2) {
        fputs("usage: echo --port P --data-size N\n", stderr);
        return 1;
    }
    signal(SIGPIPE, SIG_IGN);
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    if (echo_init(&echo, (uint16_t)port, data_len) != 0) {
        perror("echo");
        return 1;
    }
    for (;;) {
        struct epoll_event events[EVENTS_MAX];
        int count = epoll_wait(echo.epoll_fd, events, EVENTS_MAX, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr == NULL) {
                peers_accept(&echo);
            } else {
                peer_serve(&echo, events[i].data.ptr);
            }
        }
    }
}
