/* What hangs on the keyspace's modified hook: WATCH and client-side caching.
 * Thread: holder of the shard. */
#ifndef SPLITRING_SRC_WORKER_CHANGES_H
#define SPLITRING_SRC_WORKER_CHANGES_H

#include "internal.h"

/* Somebody has begun, or ceased, to want to know of changes in this shard. */
void changes_follow(struct hub *hub, shard_id s);

#endif
