/* The inside of TLS: what context.c and the sockets know of each other. OpenSSL is known to
 * tls*.c alone.
 * Thread: owner of the connection. */
#ifndef SPLITRING_SRC_IO_TLS_H
#define SPLITRING_SRC_IO_TLS_H

#include <openssl/ssl.h>

#include "engine.h"
#include "splitring/base/list.h"
#include "splitring/io/tls.h"

struct tls {
    SSL *ssl;
    int fd;
    bool open;         /* the handshake is done */
    bool failed;       /* nothing more can be sent */
    bool ended;        /* nothing more is received: close_notify, or it has failed */
    bool owner_waits;  /* for IO_EV_WRITABLE */
    bool close_due;    /* IO_EV_CLOSED is to be reported, with close_error */
    int close_error;
    struct io_sock *sock;
    struct list link;  /* io_tls.queue or .due */
    /* the window while OpenSSL runs: received bytes, and where its own go */
    const char *in;
    size_t in_len;
    struct buf *out;
    /* between passes */
    struct buf pending; /* encrypted, refused by the kernel for now */
    size_t pending_sent;
    size_t owed;        /* bytes of the owner that are in `pending`: taken when that is sent */
    struct buf held;    /* received, waits for its turn in the handshakes */
    size_t handshake_bytes;
};

/* OpenSSL's view of a connection (tls_context.c). */
BIO *tls_bio_new(struct tls *tls);
/* The first of OpenSSL's complaints, which are forgotten. */
void tls_error_text(char *out, size_t cap);

#endif
