/* Which clients CLIENT LIST and CLIENT KILL are about.
 * Thread: parsed by the connection's worker, then read by all. */
#ifndef SPLITRING_SRC_WORKER_CLIENT_FILTER_H
#define SPLITRING_SRC_WORKER_CLIENT_FILTER_H

#include "internal.h"
#include "splitring/cmd/call.h"

struct conn;
struct client_filter;

/* The clients that CLIENT KILL ADDR and LIST mean before any option: all, or all but the caller. */
struct client_filter *client_filter_new(const struct conn *self, bool skip_me);
void client_filter_free(void *filter);
/* CLIENT KILL ip:port */
void client_filter_by_address(struct client_filter *f, struct slice address);
/* The options from argv[first] on; the last of a kind counts, IDs add up. listing: CLIENT LIST,
 * whose ID says its own error. False: the error is written. */
bool client_filter_parse(struct client_filter *f, struct call *c, int first, bool listing);
bool client_filter_matches(const struct client_filter *f, const struct conn *c);
bool client_filter_is_self(const struct client_filter *f, const struct conn *c);

#define CLIENT_FLAGS_MAX 16
/* The letters of CLIENT LIST's flags=, NUL-terminated. */
void client_flags(const struct conn *c, char flags[CLIENT_FLAGS_MAX]);

#endif
