/* The admin port: /metrics, /livez, /readyz, and a live page with its figures (/stats.json). It
 * only tells, and asks for no password: who may see it is a matter of admin-bind.
 * Thread: main. */
#ifndef SPLITRING_ADMIN_ADMIN_H
#define SPLITRING_ADMIN_ADMIN_H

#include "splitring/base/types.h"

struct admin;
struct config;
struct hub;

/* If the configuration asks for it: listens, and serves by a thread of its own until admin_stop(),
 * which comes before the hub is freed. Negative errno, and the log says why. */
int admin_start(struct admin **out, struct hub *hub, const struct config *config) WARN_UNUSED;
void admin_stop(struct admin *admin); /* NULL: nothing */

#endif
