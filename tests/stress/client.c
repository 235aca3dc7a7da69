/* The client's side of RESP2, as plain as it can be.
 * Thread: owner. */
#include "client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

void client_init(struct client *c)
{
    *c = (struct client){.fd = -1};
}

bool client_open(struct client *c, int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;
    c->out.len = c->in.len = c->used = 0;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0) return false;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to) == 0) return true;
    client_close(c);
    return false;
}

void client_close(struct client *c)
{
    if (c->fd >= 0) close(c->fd);
    c->fd = -1;
}

void client_deinit(struct client *c)
{
    client_close(c);
    buf_deinit(&c->out);
    buf_deinit(&c->in);
}

static void ask(struct client *c, char *text)
{
    char *words[64], *save = NULL;
    unsigned count = 0;
    for (char *w = strtok_r(text, " ", &save); w && count < 64; w = strtok_r(NULL, " ", &save))
        words[count++] = w;
    buf_printf(&c->out, "*%u\r\n", count);
    for (unsigned i = 0; i < count; i++)
        buf_printf(&c->out, "$%zu\r\n%s\r\n", strlen(words[i]), words[i]);
}

void client_ask(struct client *c, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    ask(c, text);
}

bool client_send(struct client *c)
{
    size_t sent = 0;
    while (c->fd >= 0 && sent < c->out.len) {
        ssize_t n = send(c->fd, c->out.ptr + sent, c->out.len - sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) client_close(c);
        else sent += (size_t)n;
    }
    c->out.len = 0;
    return c->fd >= 0;
}

/* Bytes of the one reply at ptr; 0: not complete. */
static size_t reply_len(const char *ptr, size_t len)
{
    const char *nl = len ? memchr(ptr, '\n', len) : NULL;
    if (!nl) return 0;
    size_t line = (size_t)(nl - ptr) + 1;
    long long n = strtoll(ptr + 1, NULL, 10);
    if (*ptr == '$') {
        size_t all = n < 0 ? line : line + (size_t)n + 2;
        return all <= len ? all : 0;
    }
    if (*ptr != '*') return line;
    size_t at = line;
    for (long long i = 0; i < n; i++) {
        size_t part = reply_len(ptr + at, len - at);
        if (!part) return 0;
        at += part;
    }
    return at;
}

bool client_reply(struct client *c, struct slice *reply)
{
    for (;;) {
        size_t len = reply_len(c->in.ptr + c->used, c->in.len - c->used);
        if (len) {
            *reply = slice_of(c->in.ptr + c->used, len);
            c->used += len;
            return true;
        }
        if (c->fd < 0) return false;
        buf_consume(&c->in, c->used);
        c->used = 0;
        if (!buf_reserve(&c->in, 16384)) abort();
        ssize_t n = recv(c->fd, c->in.ptr + c->in.len, c->in.cap - c->in.len, 0);
        if (n > 0) c->in.len += (size_t)n;
        else if (n == 0 || errno != EINTR) client_close(c);
    }
}

bool client_call(struct client *c, struct slice *reply, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    ask(c, text);
    return client_send(c) && client_reply(c, reply);
}

bool reply_is(struct slice reply, const char *text)
{
    size_t len = strlen(text);
    return reply.len == len + 2 && memcmp(reply.ptr, text, len) == 0;
}

bool reply_failed(struct slice reply)
{
    return reply.len && reply.ptr[0] == '-';
}

int64_t reply_number(struct slice reply)
{
    if (reply.ptr[0] != '$') return strtoll(reply.ptr + 1, NULL, 10);
    if (reply.ptr[1] == '-') return INT64_MIN;
    const char *nl = memchr(reply.ptr, '\n', reply.len);
    return nl ? strtoll(nl + 1, NULL, 10) : INT64_MIN;
}

int64_t reply_count(struct slice reply)
{
    return reply.ptr[0] == '*' ? strtoll(reply.ptr + 1, NULL, 10) : -1;
}

struct slice reply_element(struct slice reply, int n)
{
    const char *nl = memchr(reply.ptr, '\n', reply.len), *end = reply.ptr + reply.len;
    const char *at = nl ? nl + 1 : end;
    for (; n > 0 && at < end; n--) at += reply_len(at, (size_t)(end - at));
    return slice_of(at, reply_len(at, (size_t)(end - at)));
}
