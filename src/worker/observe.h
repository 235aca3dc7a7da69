/* Inside the onlookers' part: asking the workers for what only they know, and JSON.
 * Thread: as each function says. */
#ifndef SPLITRING_SRC_WORKER_OBSERVE_H
#define SPLITRING_SRC_WORKER_OBSERVE_H

#include "internal.h"
#include "splitring/worker/observe.h"

/* A question to all workers, one at a time: onlooker → worker 0 → fan-out → onlooker. */
enum observe_state { OBSERVE_NONE, OBSERVE_ASKED, OBSERVE_RUNS, OBSERVE_TOLD };

/* The workers' own words (observe_workers.c): true, *out holds a JSON array with an object for each
 * worker. False: it took too long, or there is no memory. Thread: the onlooker. */
bool observe_ask(struct hub *hub, struct buf *out, int64_t timeout_us);
/* Worker 0, once a pass: has anybody asked? */
void observe_step_slow(struct worker *w);
static inline void observe_step(struct worker *w)
{
    if (w->id == 0 && unlikely(claim_get_shared(&w->hub->observe.state) == OBSERVE_ASKED))
        observe_step_slow(w);
}

/* Text in quotes; bytes that are no UTF-8 come as U+FFFD. */
void json_text(struct buf *out, struct slice text);
static inline void json_name(struct buf *out, const char *name)
{
    buf_printf(out, "\"%s\":", name);
}
void json_number(struct buf *out, const char *name, uint64_t value); /* "name":1, */
void json_end(struct buf *out, char bracket); /* a comma before it goes */

/* All of /metrics. Thread: an onlooker. */
void observe_hub_metrics(const struct hub *hub, struct buf *out);

/* Sums over all workers of one command's counters. Thread: any. */
struct observe_command {
    uint64_t calls, failed, rejected, ns;
};
struct observe_command observe_command(const struct hub *hub, size_t id);
unsigned observe_inbox(const struct hub *hub, worker_id to);

#endif
