/* Inside DEBUG: the subcommands that all workers, or the owner of a key, must have a part in.
 * Thread: the connection's worker. */
#ifndef SPLITRING_SRC_WORKER_LOCAL_DEBUG_H
#define SPLITRING_SRC_WORKER_LOCAL_DEBUG_H

#include "internal.h"

void debug_sleep(struct call *c);
void debug_set_active_expire(struct call *c);
void debug_object(struct call *c);
void debug_sdslen(struct call *c);
void debug_populate(struct call *c);

#endif
