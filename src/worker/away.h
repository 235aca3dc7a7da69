/* Asking another server on behalf of a transaction (MIGRATE).
 * Thread: the coordinator. */
#ifndef SPLITRING_SRC_WORKER_AWAY_H
#define SPLITRING_SRC_WORKER_AWAY_H

#include "txn.h"

/* A command that asks another server, and has keys: it always runs as a transaction on copies. */
static inline bool away_may(const struct op *op)
{
    return op->cmd && unlikely(op->cmd->split == SPLIT_AWAY) && op->key;
}
/* Begins what t->away wants; txn_resume() follows. False: it cannot be reached, t->away says so. */
bool away_start(struct txn *t);
/* False: the event is of no such socket. */
bool away_on_event(struct worker *w, const struct io_event *ev);
void away_tick(struct worker *w);        /* those that have waited too long */
instant_ms away_next(struct worker *w);  /* when that will be; EXPIRE_NONE */

#endif
