/* CPU time of the server under load, read from /proc.
 *
 * Thread: any for server_cpu_get; a `struct server_clock` belongs to one thread. */
#ifndef BENCH_LOAD_SERVER_CPU_H
#define BENCH_LOAD_SERVER_CPU_H

#include <stdint.h>
#include <sys/types.h>

#define SERVER_CLOCK_THREADS_MAX 64

struct cpu_time {
    double user_s;
    double system_s;
};

/* User and system time of all threads, the ended ones too, in ticks of 10 ms; 0 if there is no
 * such process. */
struct cpu_time server_cpu_get(pid_t pid);

/* The time that the server's threads have spent on a CPU, in nanoseconds, cheap enough to be read
 * for each request. Covers the threads that exist at init. */
struct server_clock {
    int fds[SERVER_CLOCK_THREADS_MAX];
    unsigned count;
};

/* Returns 0, or a negative errno if the kernel does not tell. */
int server_clock_init(struct server_clock *clock, pid_t pid) __attribute__((warn_unused_result));
void server_clock_deinit(struct server_clock *clock);
uint64_t server_clock_ns(const struct server_clock *clock);

#endif
