/* Inside DEBUG: the subcommands that all workers, or the owner of a key, must have a part in.
 * Thread: the connection's worker. */
#ifndef SPLITRING_SRC_WORKER_LOCAL_DEBUG_H
#define SPLITRING_SRC_WORKER_LOCAL_DEBUG_H

#include "internal.h"

void debug_sleep(struct call *c);
void debug_set_active_expire(struct call *c);
void debug_pause_cron(struct call *c);
void debug_object(struct call *c);
void debug_sdslen(struct call *c);
void debug_populate(struct call *c);
void debug_reload(struct call *c); /* save.c */
void debug_digest(struct call *c);
void debug_digest_value(struct call *c);
void debug_listpack(struct call *c);
void debug_quicklist(struct call *c);
void debug_htstats_key(struct call *c);

/* The worker's shard, as DEBUG looks at it: nothing is touched or counted. */
struct ks debug_own_view(const struct worker *w, db_id db);
/* Asks the owner of argument 2 to describe it; "no such key" is answered here. */
void debug_ask_owner(struct call *c, void (*show)(const struct ks *ks, const struct entry *e,
                                                  struct reply *reply));

#endif
