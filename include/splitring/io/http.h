/* A small HTTP/1.1 server for pages that only tell: GET and HEAD, no bodies, no files. Everything a
 * stranger can make it hold is bounded: connections, bytes of a request, time until it is whole,
 * time until its answer is taken, requests per connection.
 * Thread: the one that calls http_run(), unless said. */
#ifndef SPLITRING_IO_HTTP_H
#define SPLITRING_IO_HTTP_H

#include "splitring/base/buf.h"

#define HTTP_CONNECTIONS_MAX 32u
#define HTTP_HEAD_LEN_MAX 8192u /* request line and headers */

struct http_answer {
    unsigned status;  /* 200 */
    const char *type; /* of the body; constant */
    struct buf body;  /* freed by the server */
};

/* path: without query. What it does not know it answers with status 404. */
typedef void http_handler(void *ctx, struct slice path, struct http_answer *answer);

struct http_server;

/* fds: listening sockets; they stay the caller's. Negative errno. */
int http_new(struct http_server **out, const int *fds, unsigned count, http_handler *handler,
             void *ctx) WARN_UNUSED;
/* Serves until http_stop_shared(); then open connections are closed. */
void http_run(struct http_server *server);
void http_stop_shared(struct http_server *server); /* Thread: any. */
void http_free(struct http_server *server);        /* when http_run() has returned */

/* ---- for its tests: one request ---- */

enum { HTTP_MORE = 0, HTTP_KEEP = 1, HTTP_CLOSE = 2 };
struct http_request {
    struct slice path; /* in the input */
    bool head_only;    /* HEAD */
    size_t len;        /* of the request in the input */
    unsigned status;   /* 200: ask the handler; else the answer is this */
};
/* HTTP_MORE: it is not whole yet. Else what happens to the connection after the answer. */
int http_parse(struct slice input, struct http_request *out);

#endif
