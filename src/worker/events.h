/* Keyspace notifications: what the shards' event sinks are connected to.
 * Thread: owner, except the sink: holder of the shard. */
#ifndef SPLITRING_SRC_WORKER_EVENTS_H
#define SPLITRING_SRC_WORKER_EVENTS_H

#include "internal.h"

/* notify-keyspace-events as the config has it, for the own shard, which is held. */
void events_config(struct worker *w);
/* Around a command on the scratch shard: its events are those of the keys it has copies of. */
void events_scratch_begin(struct worker *w);
void events_scratch_end(struct worker *w);

#endif
