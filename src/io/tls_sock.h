/* What io.c asks of TLS (tls.c) for sockets that have it: those with sock->tls.
 * Thread: owner. */
#ifndef SPLITRING_SRC_IO_TLS_SOCK_H
#define SPLITRING_SRC_IO_TLS_SOCK_H

#include "engine.h"

#define IO_TLS_EVENTS_MAX 128u /* per io_wait, once an io has had TLS: what its arena is for */

/* Begins a pass: what waits from earlier ones becomes events[*count…]. True: more waits. */
bool tls_sock_pass(struct io *io, struct io_event *events, unsigned cap, unsigned *count);
/* The engine's events become the owner's; returns how many are left. */
unsigned tls_sock_events(struct io *io, struct io_event *events, unsigned count);
ssize_t tls_sock_send(struct io *io, struct io_sock *sock, const char *ptr, size_t len);
void tls_sock_want_write(struct io *io, struct io_sock *sock);
void tls_sock_leave(struct io *io, struct io_sock *sock, bool closing);
void tls_sock_free_all(struct io *io);

#endif
