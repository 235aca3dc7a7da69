/* The whole ring under random clients: four workers on real sockets, both engines, with and without
 * lending. What the clients check is in actor.c; what is left to this file is starting, stopping,
 * and the sums. In a storm the server is stopped while everything is in flight, and must still come
 * to a clean end: every worker's thread ends and nothing is locked or lost.
 * Thread: main. */
#include <string.h>

#include "actor.h"
#include "splitring/base/mem.h"
#include "stress.h"

#define WORKERS 4u

struct phase {
    const char *name;
    enum io_engine engine;
    bool lending;
    enum mode mode;
    double seconds;
};

static const struct phase phases[] = {
    {"io_uring, lending", IO_ENGINE_URING, true, MODE_EXACT, 1.6},
    {"io_uring, messages only", IO_ENGINE_URING, false, MODE_EXACT, 1.2},
    {"epoll, lending", IO_ENGINE_EPOLL, true, MODE_EXACT, 1.6},
    {"epoll, messages only, flushes", IO_ENGINE_EPOLL, false, MODE_FLUSH, 1.0},
    {"io_uring, lending, flushes", IO_ENGINE_URING, true, MODE_FLUSH, 1.0},
    {"io_uring, lending, stopped in a storm", IO_ENGINE_URING, true, MODE_STORM, 0.3},
    {"epoll, messages only, stopped in a storm", IO_ENGINE_EPOLL, false, MODE_STORM, 0.3},
    {"epoll, lending, stopped in a storm", IO_ENGINE_EPOLL, true, MODE_STORM, 0.3},
};

static void run(const struct phase *phase)
{
    static struct names names;
    static struct actor actors[ACTORS];
    struct os_thread *threads[ACTORS];
    struct ring ring;
    double seconds = stress_seconds(phase->seconds);
    uint64_t requests = 0, kills = 0, visits = 0;
    stress_begin(phase->name, 60 + 4 * (unsigned)seconds);
    names_init(&names, WORKERS);
    if (!ring_start(&ring, phase->engine, WORKERS, phase->lending)) return;
    names_prepare(&names, ring.port);
    for (unsigned i = 0; i < ACTORS; i++) {
        actors[i] = (struct actor){.names = &names, .mode = phase->mode, .id = i, .port = ring.port,
                                   .until_us = stress_now_us() + (int64_t)(seconds * 1e6)};
        if (phase->mode == MODE_STORM) actors[i].until_us += 30000000;
        rng_seed(&actors[i].rng, (uint64_t)(phase - phases) * ACTORS + i);
        if (os_thread_start(&threads[i], "actor", -1, NULL, actor_run, &actors[i]) < 0) exit(2);
    }
    if (phase->mode == MODE_STORM) {
        os_sleep_us((int64_t)(seconds * 1e6));
        ring_stop(&ring);
    }
    for (unsigned i = 0; i < ACTORS; i++) {
        os_thread_join(threads[i]);
        requests += actors[i].requests;
        kills += actors[i].kills;
        visits += actors[i].visits;
    }
    if (phase->mode == MODE_EXACT) names_check(&names, ring.port, actors);
    if (phase->mode != MODE_STORM) ring_stop(&ring);
    EXPECT(requests > 20, "%s: only %llu requests", phase->name, (unsigned long long)requests);
    printf("%-42s %8llu requests, %llu visitors, %llu killed\n", phase->name,
           (unsigned long long)requests, (unsigned long long)visits, (unsigned long long)kills);
}

/* server_stress [N]: only phase N. */
int main(int argc, char **argv)
{
    size_t only = argc > 1 ? strtoul(argv[1], NULL, 10) : ARRAY_COUNT(phases);
    for (size_t i = 0; i < ARRAY_COUNT(phases); i++)
        if (only >= ARRAY_COUNT(phases) || only == i) run(&phases[i]);
    return stress_end();
}
