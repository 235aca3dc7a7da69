/* The persistence thread P: what lies on the disk is written by it, never by a worker.
 *
 * It has no shard, no connection and no io of its own. It is given bytes: chunks of dumps
 * (dumper.c) and records of effects (journal.c), and tells by counters how far it has come. A step
 * is bounded, so that neither of the two waits long for the other; only the disk is waited for.
 * Thread: as each function says. */
#ifndef SPLITRING_SRC_WORKER_PERSISTER_H
#define SPLITRING_SRC_WORKER_PERSISTER_H

#include "splitring/base/counters.h"
#include "splitring/base/types.h"

struct hub;
struct os_bell;

struct persister {
    /* constant after start */
    struct hub *hub;
    struct os_bell *bell; /* NULL: nobody sleeps (simulator) */
    /* any thread */
    _Alignas(CACHE_LINE) sleep_flag sleeping;
    progress_word stop; /* 1: the workers have gone; end when nothing is left to do */
    /* P only */
    instant_us now_us; /* of this step */
    int64_t mono_us;
};

void persister_init(struct persister *p, struct hub *hub);
void persister_deinit(struct persister *p);

/* There is work: P looks as soon as it can. Thread: any. */
void persister_wake_shared(struct persister *p);

/* A bounded piece of everything there is to do; true: there is more that waits for nothing.
 * Thread: P. */
bool persister_step(struct persister *p, instant_us now_us, int64_t mono_us);
/* When the next step is due though nobody wakes it, in microseconds; -1: never. Thread: P. */
int64_t persister_next_us(const struct persister *p);

#endif
