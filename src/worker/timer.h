/* What time brings: expiry, idle clients, soft output limits, rates, the end of a pause.
 * Thread: owner. */
#ifndef SPLITRING_SRC_WORKER_TIMER_H
#define SPLITRING_SRC_WORKER_TIMER_H

#include "internal.h"

/* True if there is background work left that should go on without sleeping. */
bool timer_run(struct worker *w);
/* CLIENT UNPAUSE. */
void timer_unpause(struct worker *w);
/* Microseconds until the timer has something to do; < 0: nothing that it knows of. */
int64_t timer_next_us(struct worker *w);

#endif
