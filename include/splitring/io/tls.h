/* TLS: settings made into a context, and a context into the state of one connection, which io.h
 * then takes (io_attach_tls): from there on a TLS connection is like any other.
 * Source: RFC 8446, RFC 5246; settings as in redis.conf.
 * Thread: contexts: any; a struct tls: who has the connection. */
#ifndef SPLITRING_IO_TLS_H
#define SPLITRING_IO_TLS_H

#include "splitring/base/buf.h"

enum tls_auth { TLS_AUTH_NO, TLS_AUTH_YES, TLS_AUTH_OPTIONAL }; /* of clients, by certificate */

struct tls_options { /* strings: "" = not given */
    const char *cert_file, *key_file, *key_file_pass;
    const char *ca_cert_file, *ca_cert_dir, *dh_params_file;
    const char *protocols, *ciphers, *ciphersuites;
    enum tls_auth auth;
    bool prefer_server_ciphers, session_caching;
    int session_cache_size, session_timeout_s;
};

/* Reads the files. NULL: *why says what is wrong, in Redis' words. */
struct tls_context *tls_context_new(const struct tls_options *options, struct buf *why) WARN_UNUSED;
/* Connections made of it live on. NULL is fine. */
void tls_context_free(struct tls_context *context);

/* The server's side of a connection on fd, which stays the caller's. NULL: no memory. */
struct tls *tls_new(struct tls_context *context, int fd) WARN_UNUSED;
void tls_free(struct tls *tls); /* not while it is attached; NULL is fine */
int tls_fd(const struct tls *tls);

/* As net_ask (net.h), over TLS, verifying nothing: --healthcheck. Shows options' certificate if
 * clients must have one. */
int tls_ask(const struct tls_options *options, const char *host, uint16_t port,
            struct slice request, struct buf *answer, int timeout_ms) WARN_UNUSED;

#endif
