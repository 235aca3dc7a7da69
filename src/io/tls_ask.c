/* One question over TLS, blocking: --healthcheck of a server that has no plain port.
 *
 * The server asked is this machine's own, reached by an address that its certificate need not name,
 * so nothing is verified. Where clients must show a certificate, it is the server's own one, as
 * Redis does between servers.
 * Thread: any; it waits. */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>

#include "splitring/io/net.h"
#include "splitring/io/os.h"
#include "splitring/io/tls.h"

/* OpenSSL wants to go on when the socket is ready. */
static int wait_for(SSL *ssl, int fd, int rc, int64_t deadline_us)
{
    int error = SSL_get_error(ssl, rc);
    struct pollfd pfd = {.fd = fd, .events = error == SSL_ERROR_WANT_WRITE ? POLLOUT : POLLIN};
    int64_t left_ms = (deadline_us - os_mono_us() + 999) / 1000;
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) return -EPROTO;
    if (left_ms <= 0) return -ETIMEDOUT;
    return poll(&pfd, 1, (int)left_ms) < 0 && errno != EINTR ? -errno : 0;
}

static int talk(SSL *ssl, int fd, struct slice request, struct buf *answer, int64_t deadline_us)
{
    int rc = 0, done;
    while (rc == 0 && (done = SSL_connect(ssl)) != 1) rc = wait_for(ssl, fd, done, deadline_us);
    while (rc == 0 && (done = SSL_write(ssl, request.ptr, (int)request.len)) <= 0)
        rc = wait_for(ssl, fd, done, deadline_us);
    while (rc == 0 && (answer->len < 2 || !memmem(answer->ptr, answer->len, "\r\n", 2))) {
        if (!buf_reserve(answer, 4096)) return -ENOMEM;
        done = SSL_read(ssl, answer->ptr + answer->len, 4096);
        if (done > 0)
            answer->len += (size_t)done;
        else
            rc = wait_for(ssl, fd, done, deadline_us);
    }
    return rc;
}

int tls_ask(const struct tls_options *o, const char *host, uint16_t port, struct slice request,
            struct buf *answer, int timeout_ms)
{
    int64_t deadline_us = os_mono_us() + (int64_t)timeout_ms * 1000;
    int fd = net_connect_start(host, port), rc = -EPROTO;
    if (fd < 0) return fd;
    struct pollfd connected = {.fd = fd, .events = POLLOUT};
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl = NULL;
    if (ctx && o->auth == TLS_AUTH_YES) {
        (void)SSL_CTX_use_certificate_chain_file(ctx, o->cert_file);
        (void)SSL_CTX_use_PrivateKey_file(ctx, o->key_file, SSL_FILETYPE_PEM);
    }
    if (ctx) ssl = SSL_new(ctx);
    if (ssl && SSL_set_fd(ssl, fd) && poll(&connected, 1, timeout_ms) == 1)
        rc = talk(ssl, fd, request, answer, deadline_us);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    net_close(fd);
    return rc;
}
