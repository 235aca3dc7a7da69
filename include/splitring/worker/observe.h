/* What an onlooker may know of the running workers, as text: for the admin port.
 *
 * Everything here reads counters that the workers publish, or asks them and waits a bounded time;
 * no worker waits for an onlooker.
 * Thread: one that is no worker's, one at a time; observe_ready(): any. */
#ifndef SPLITRING_WORKER_OBSERVE_H
#define SPLITRING_WORKER_OBSERVE_H

#include "splitring/base/buf.h"

struct hub;
struct observer;

/* What was seen last, so that rates and percentiles can be of what happened since. */
struct observer *observer_new(struct hub *hub);
void observer_free(struct observer *o);

/* Prometheus' text format, version 0.0.4. */
void observe_metrics(struct observer *o, struct buf *out);
/* One JSON object, the page's figures (observe_json.c says what is in it). Asking more than about
 * once a second gives what was told last. */
void observe_json(struct observer *o, struct buf *out);
/* Serves clients: it has loaded and is not stopping. *why: a word for people. */
bool observe_ready(const struct hub *hub, const char **why);

#endif
