/* A blocking client over a real socket: requests from a format, replies as raw bytes.
 * Thread: owner. */
#ifndef SPLITRING_TESTS_CLIENT_H
#define SPLITRING_TESTS_CLIENT_H

#include "splitring/base/buf.h"

struct client {
    int fd;          /* -1: closed */
    struct buf out;  /* not yet sent */
    struct buf in;
    size_t used;     /* of in, by replies that were given out */
};

void client_init(struct client *c);
bool client_open(struct client *c, int port); /* false: refused */
void client_close(struct client *c);          /* at once, whatever is in flight */
void client_deinit(struct client *c);
/* Adds a request; the words of the formatted text are its arguments. */
void client_ask(struct client *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Sends what was added. False: the server has closed. */
bool client_send(struct client *c);
/* The next whole reply, valid until the next call. False: the server has closed. */
bool client_reply(struct client *c, struct slice *reply);
/* Ask, send, reply in one. */
bool client_call(struct client *c, struct slice *reply, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Reading replies. */
bool reply_is(struct slice reply, const char *text);  /* "+OK" and the like, without the CRLF */
bool reply_failed(struct slice reply);                /* an error */
int64_t reply_number(struct slice reply);             /* ":n" or "$…" with one; INT64_MIN: nil */
int64_t reply_count(struct slice reply);              /* of an array */
struct slice reply_element(struct slice reply, int n);

#endif
