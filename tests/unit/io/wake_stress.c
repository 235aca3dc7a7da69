/* Wakes from other threads: none may be lost. A plain main, because Criterion does not live under
 * TSan.
 *
 *   producers: publish a number, wake        owner: waits for ever, reads the numbers
 *
 * If a wake is lost, the owner sleeps on a published number and the producer waits for it to be
 * seen: the alarm ends it. Most wakes follow each other closely (the flag swallows them), the last
 * ones find the owner asleep or about to sleep. */
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "splitring/io/io.h"
#include "splitring/io/os.h"

enum { PRODUCERS = 3, WAKES = 100000, CLOSE_ONES = 80000 };

static struct line {
    _Alignas(64) atomic_uint published;
    atomic_uint seen;
    struct io *io;
} lines[PRODUCERS];

static void produce(void *arg)
{
    struct line *line = arg;
    for (unsigned i = 1; i <= WAKES; i++) {
        atomic_store_explicit(&line->published, i, memory_order_relaxed);
        io_wake_shared(line->io); /* must itself order the number before the wake */
        if (i < CLOSE_ONES && i % 100) continue;
        while (atomic_load_explicit(&line->seen, memory_order_acquire) != i) sched_yield();
    }
}

static int run(enum io_engine engine)
{
    struct io *io;
    struct os_thread *threads[PRODUCERS];
    struct io_event events[8];
    struct io_wait wait = {.timeout_us = -1};
    int refused, rc = io_new(&io, &(struct io_options){.engine = engine}, &refused);
    if (rc < 0) {
        printf("engine %d: %s\n", engine, strerror(-rc));
        return engine == IO_ENGINE_URING ? 77 : 1;
    }
    for (int i = 0; i < PRODUCERS; i++) {
        atomic_store(&lines[i].published, 0);
        atomic_store(&lines[i].seen, 0);
        lines[i].io = io;
        if (os_thread_start(&threads[i], "producer", -1, NULL, produce, &lines[i]) < 0) return 1;
    }
    unsigned done = 0, passes = 0;
    while (done < PRODUCERS) {
        if (io_wait(io, events, 8, &wait) != 0) return 1;
        passes++;
        done = 0;
        for (int i = 0; i < PRODUCERS; i++) {
            unsigned n = atomic_load_explicit(&lines[i].published, memory_order_relaxed);
            atomic_store_explicit(&lines[i].seen, n, memory_order_release);
            done += n == WAKES;
        }
    }
    for (int i = 0; i < PRODUCERS; i++) os_thread_join(threads[i]);
    printf("engine %d: %d wakes in %u passes\n", engine, PRODUCERS * WAKES, passes);
    io_free(io);
    return 0;
}

int main(void)
{
    alarm(120);
    int uring = run(IO_ENGINE_URING);
    int epoll = run(IO_ENGINE_EPOLL);
    return epoll ? epoll : uring;
}
