/* Sockets before and after the ring: listening addresses, options, names.
 * Thread: any. All return negative errno on failure. */
#ifndef SPLITRING_IO_NET_H
#define SPLITRING_IO_NET_H

#include "splitring/base/buf.h"

/* host: numeric or name, "*" and "" = all IPv4, "::*" = all IPv6 (as redis.conf `bind`). A leading
 * '-' is the caller's business (address may be missing: -EADDRNOTAVAIL). port 0: any free port.
 * Retries EADDRINUSE for up to 2 s (a dying ring may still hold the port; FIGURES, pitfalls). */
int net_listen_tcp(const char *host, uint16_t port, int backlog) WARN_UNUSED; /* fd */
/* perm: 0 = as umask says. Removes a stale socket file that nobody listens on. */
int net_listen_unix(const char *path, unsigned perm, int backlog) WARN_UNUSED;
int net_port_of(int fd) WARN_UNUSED; /* bound TCP port */
/* For an accepted socket: non-blocking, TCP_NODELAY, keepalive (0 = off). Unix sockets: no-op. */
int net_prepare(int fd, unsigned keepalive_s) WARN_UNUSED;
/* "ip:port", "[ip6]:port" as Redis prints it, "path:0" for Unix sockets. */
void net_peer_name(int fd, char *out, size_t cap);
void net_local_name(int fd, char *out, size_t cap);
bool net_peer_is_loopback(int fd); /* Unix sockets count as loopback (protected-mode) */
/* Begins to connect, without waiting: it is done when the socket can be written. A name that must
 * be asked of a name server is waited for. */
int net_connect_start(const char *host, uint16_t port) WARN_UNUSED; /* fd */
void net_close(int fd);
void net_refuse(int fd, struct slice why); /* one try to send, then closes */
/* Blocking one-shot client for --healthcheck: connects, sends `request`, reads until a CRLF or
 * timeout; host NULL = unix socket at path. */
int net_ask(const char *host, uint16_t port, const char *path, struct slice request,
            struct buf *answer, int timeout_ms) WARN_UNUSED;

#endif
