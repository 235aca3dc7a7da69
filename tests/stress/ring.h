/* A whole server inside the test: hub, workers on threads, real io, a loopback port.
 * Thread: main. */
#ifndef SPLITRING_TESTS_RING_H
#define SPLITRING_TESTS_RING_H

#include "splitring/io/io.h"
#include "splitring/io/os.h"
#include "splitring/worker/worker.h"

struct ring {
    struct hub *hub;
    uint32_t workers;
    enum io_engine engine;
    int listener, port;
    struct os_thread *threads[SHARDS_MAX];
};

/* False: this engine is refused here (said on stdout). */
bool ring_start(struct ring *ring, enum io_engine engine, uint32_t workers, bool lending);
/* Asks to stop, waits for every worker, frees everything. */
void ring_stop(struct ring *ring);

#endif
