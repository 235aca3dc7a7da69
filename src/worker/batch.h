/* The order rule (DESIGN section 3.7): what one connection pipelines over several shards takes
 * effect in the order sent.
 * Thread: as each function says. */
#ifndef SPLITRING_SRC_WORKER_BATCH_H
#define SPLITRING_SRC_WORKER_BATCH_H

#include "internal.h"

/* Turns the ops of one connection from i on, as far as they are one-shard commands, into a batch.
 * Returns the index of the first op that is not in it. Thread: the connection's owner. */
unsigned batch_start(struct worker *w, struct group *g, unsigned i);
/* A part arrived for this worker's shard. Thread: that shard's owner. */
struct batch_part;
void batch_arrived(struct worker *w, struct batch_part *part);
/* The last run is over. Thread: the connection's owner. */
void batch_done(struct worker *w, struct batch *b);
/* Runs what is due of the batches waiting at the own shard; true if anything ran. */
bool batch_poll(struct worker *w);
/* Anything due now at the own shard? Holds it to look. */
bool batch_due(struct worker *w);

#endif
