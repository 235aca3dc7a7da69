/* activedefrag: when a worker's shard is defragmented, and how much of the worker that may take.
 * Thread: owner. */
#ifndef SPLITRING_SRC_WORKER_DEFRAGGER_H
#define SPLITRING_SRC_WORKER_DEFRAGGER_H

#include "splitring/base/types.h"

struct worker;

/* Inside struct worker. */
struct defragger {
    bool runs;
    unsigned percent;    /* of a CPU, of this round */
    int64_t next_us;     /* the next slice, or the next look at whether to begin */
    uint64_t freed;      /* bytes, by all rounds before */
    uint64_t gaps_left;  /* … that a round could not mend: more must come before the next one */
    int64_t begun_us;
    uint64_t commands;   /* of the worker, at its last slice */
    uint64_t counted[4]; /* of the shard's counts, as published */
};

/* Once in a pass: a slice, if one is due. Holds the own shard; the caller
 * gives it back. */
void defragger_step(struct worker *w);
/* When the next slice is due, as monotonic time; INT64_MAX: none is. */
int64_t defragger_next_us(const struct worker *w);

#endif
