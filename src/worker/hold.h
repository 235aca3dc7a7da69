/* Replies that wait for the disk (appendfsync always).
 * Thread: owner. */
#ifndef SPLITRING_SRC_WORKER_HOLD_H
#define SPLITRING_SRC_WORKER_HOLD_H

#include "conn.h"
#include "journal.h"

/* How far its output may be sent now; the rest waits. */
size_t hold_limit_slow(struct conn *c);
static inline size_t hold_limit(struct conn *c)
{
    return likely(!journal_on(c->worker->hub) && !c->holding) ? c->out.len : hold_limit_slow(c);
}
/* Something of its output waits: it goes on when the disk has it. */
void hold_wait(struct conn *c);
/* len bytes have gone from the front of its output. */
void hold_shift(struct conn *c, size_t len);
void hold_free(struct conn *c);
/* Connections whose output may go on; clients in WAITAOF. */
void hold_step_slow(struct worker *w);
static inline void hold_step(struct worker *w)
{
    if (unlikely(!list_empty(&w->holding) || !list_empty(&w->log_waits))) hold_step_slow(w);
}
/* There is something for hold_step to do. */
bool hold_due(const struct worker *w);
/* When a client in WAIT or WAITAOF is to be answered; µs, -1: none. */
int64_t hold_next_us(const struct worker *w);

/* The client waits until the log has what it may have seen, or until a time is over; then `done`
 * replies. */
struct log_wait {
    struct list link; /* worker.log_waits */
    struct conn *conn;
    uint64_t ticket;
    bool for_ever;    /* what it asks for never comes: replicas */
    int64_t until_us; /* monotonic; INT64_MAX: no end */
    bool aof;         /* WAITAOF: two numbers */
};
void hold_start_wait(struct conn *c, const struct log_wait *what);

#endif
