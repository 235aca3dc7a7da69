/* The hop between two workers: nanoseconds per message through a pair of mailboxes, both sides
 * polling.
 *
 * Thread A sends `batch` messages, publishes, and waits until B has sent each of them back; B
 * returns what it receives, a publish per look. The time is wall time of the round trips divided by
 * the messages, both directions; compare rows of one run, not runs (FIGURES section 3 has a
 * prototype's).
 *
 *   bench_mailbox [messages, default 4000000]
 *
 * Thread: main is A; one more. */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "splitring/base/mailbox.h"

static struct mailbox there, back;

static void pin(unsigned cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0) fprintf(stderr, "CPU %u: not pinned\n", cpu);
}

/* A message of kind 1 ends the run. */
static void *echo(void *arg)
{
    (void)arg;
    pin(1);
    for (;;) {
        struct message m;
        bool any = false;
        while (mailbox_receive(&there, &m)) {
            mailbox_send(&back, m);
            any = true;
            if (m.kind == 1) {
                mailbox_publish(&back);
                return NULL;
            }
        }
        if (any) mailbox_publish(&back);
    }
}

static double now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static void receive(unsigned count)
{
    struct message m;
    while (count)
        if (mailbox_receive(&back, &m)) count--;
}

static double round_trips(unsigned long messages, unsigned batch)
{
    double start = now_ns();
    for (unsigned long done = 0; done < messages; done += batch) {
        for (unsigned i = 0; i < batch; i++) mailbox_send(&there, (struct message){.kind = 0});
        mailbox_publish(&there);
        receive(batch);
    }
    return (now_ns() - start) / (double)messages;
}

int main(int argc, char **argv)
{
    static const unsigned batches[] = {1, 4, 16, 64, 128};
    unsigned long messages = argc > 1 ? strtoul(argv[1], NULL, 10) : 4000000;
    pthread_t thread;
    mailbox_init(&there, 0);
    mailbox_init(&back, 0);
    pin(0);
    if (pthread_create(&thread, NULL, echo, NULL) != 0) return 1;
    printf("| batch | ns per message, there and back |\n|---|---|\n");
    for (size_t i = 0; i < sizeof batches / sizeof batches[0]; i++) {
        unsigned long count = batches[i] == 1 ? messages / 16 : messages;
        printf("| %u | %.0f |\n", batches[i], round_trips(count, batches[i]));
    }
    mailbox_send(&there, (struct message){.kind = 1});
    mailbox_publish(&there);
    pthread_join(thread, NULL);
    mailbox_deinit(&there);
    mailbox_deinit(&back);
    return 0;
}
