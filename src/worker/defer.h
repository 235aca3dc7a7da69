/* Connections put off for a shard that somebody else touches (defer.c).
 * Thread: owner. */
#ifndef SPLITRING_SRC_WORKER_DEFER_H
#define SPLITRING_SRC_WORKER_DEFER_H

#include "internal.h"

#define DEFER_BUDGET 80u /* what a connection has in hand: being put off and looks take of it */

/* A group could not get these shards in spite of waiting for them. */
void defer_missed(struct worker *w, uint32_t mask);
/* Which of those missed are still touched by somebody; 0: none is known to be. */
static inline uint32_t defer_missing(struct worker *w);
/* The connection, in no list, is cut before an op that needs `mask`: it is put off until those
 * shards look free. False: it has been often enough, messages are to be sent. */
bool defer_conn(struct worker *w, struct conn *c, uint32_t mask);
/* It was put off for a shard that is still touched: there is no use in parsing it again now. */
bool defer_again(struct worker *w, struct conn *c);
/* Connections whose shards look free, or that have waited for long, become ready. */
void defer_step(struct worker *w);
/* Microseconds until the next look; -1: nobody waits. */
int64_t defer_next_us(const struct worker *w);

uint32_t defer_missing_slow(struct worker *w);
static inline uint32_t defer_missing(struct worker *w)
{
    return likely(!w->missed) ? 0 : defer_missing_slow(w);
}

#endif
