/* What src/main.c does, without configuration files and signals.
 * Thread: main; ring_worker: one per worker. */
#include "ring.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "splitring/base/counters.h"
#include "splitring/config/config.h"
#include "splitring/io/log.h"
#include "splitring/io/net.h"

struct start {
    struct ring *ring;
    worker_id id;
};

static struct start starts[SHARDS_MAX];
static counter ready, left, refused;

static void ring_worker(void *arg)
{
    struct start *s = arg;
    struct ring *ring = s->ring;
    struct io *io = NULL;
    struct worker *w = NULL;
    int why, rc = io_new(&io, &(struct io_options){.engine = ring->engine}, &why);
    if (rc == 0) {
        w = worker_new(ring->hub, s->id, io);
        if (s->id == 0) rc = worker_listen(w, ring->listener, LISTEN_TCP);
    }
    if (rc != 0) {
        if (s->id == 0) printf("engine %d: %s\n", ring->engine, strerror(-rc));
        counter_next_shared(&refused);
    }
    counter_next_shared(&ready);
    while (counter_get_acquire_shared(&ready) < ring->workers) os_sleep_us(200);
    if (!counter_get_acquire_shared(&refused))
        while (worker_step(w, os_unix_us(), os_mono_us(), -1)) continue;
    counter_next_shared(&left);
    while (counter_get_acquire_shared(&left) < ring->workers + 1) os_sleep_us(200);
    if (w) worker_free(w);
    if (io) io_free(io);
}

bool ring_start(struct ring *ring, enum io_engine engine, uint32_t workers, bool lending)
{
    struct config config;
    config_init(&config);
    config.loglevel = CONFIG_LOG_WARNING;
    log_set_level(LOG_LEVEL_WARNING);
    struct hub_options options = {.workers = workers, .config = &config, .seed = 4711,
                                  .lending = lending, .start_ms = os_unix_us() / 1000};
    *ring = (struct ring){.hub = hub_new(&options), .workers = workers, .engine = engine};
    config_deinit(&config);
    counter_set(&ready, 0);
    counter_set(&left, 0);
    counter_set(&refused, 0);
    ring->listener = net_listen_tcp("127.0.0.1", 0, 128);
    if (ring->listener < 0) exit(2);
    ring->port = net_port_of(ring->listener);
    for (uint32_t i = 0; i < workers; i++) {
        starts[i] = (struct start){ring, (worker_id)i};
        if (os_thread_start(&ring->threads[i], "worker", -1, NULL, ring_worker, &starts[i]) < 0)
            exit(2);
    }
    while (counter_get_acquire_shared(&ready) < workers) os_sleep_us(200);
    if (!counter_get_acquire_shared(&refused)) return true;
    ring_stop(ring);
    return false;
}

void ring_stop(struct ring *ring)
{
    if (!counter_get_acquire_shared(&refused)) hub_stop_shared(ring->hub);
    counter_next_shared(&left); /* it may still have been waking workers that had seen the flag */
    for (uint32_t i = 0; i < ring->workers; i++) os_thread_join(ring->threads[i]);
    net_close(ring->listener);
    hub_free(ring->hub);
}
