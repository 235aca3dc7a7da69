/* Threads: started with a name and, if asked, on one CPU from their first instruction on, so that
 * the memory they touch first lies near it.
 *
 * A CPU that may not be used (a cpuset changed under us) is no reason to fail: the thread then runs
 * where the scheduler likes, and the caller logs it.
 * Thread: any. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <time.h>

#include "splitring/base/check.h"
#include "splitring/base/mem.h"
#include "splitring/io/os.h"

struct os_thread {
    pthread_t id;
    void (*run)(void *arg);
    void *arg;
    char name[16]; /* the kernel's limit, terminator included */
};

static void *start(void *ptr)
{
    struct os_thread *thread = ptr;
    (void)pthread_setname_np(pthread_self(), thread->name);
    thread->run(thread->arg);
    return NULL;
}

static bool set_of(int cpu, cpu_set_t *set)
{
    CPU_ZERO(set);
    if (cpu < 0 || cpu >= CPU_SETSIZE) return false;
    CPU_SET((size_t)cpu, set);
    return true;
}

static int create(struct os_thread *thread, int cpu)
{
    pthread_attr_t attr;
    cpu_set_t set;
    int rc = pthread_attr_init(&attr);
    if (rc) return rc;
    if (cpu >= 0)
        rc = set_of(cpu, &set) ? pthread_attr_setaffinity_np(&attr, sizeof set, &set) : EINVAL;
    if (rc == 0) rc = pthread_create(&thread->id, &attr, start, thread);
    pthread_attr_destroy(&attr);
    return rc;
}

int os_thread_start(struct os_thread **out, const char *name, int cpu, int *pin_error,
                    void (*run)(void *arg), void *arg)
{
    struct os_thread *thread = mem_alloc(sizeof *thread);
    *thread = (struct os_thread){.run = run, .arg = arg};
    snprintf(thread->name, sizeof thread->name, "%s", name);
    int rc = create(thread, cpu), pin = 0;
    if (rc && cpu >= 0) {
        pin = rc;
        rc = create(thread, -1);
    }
    if (pin_error) *pin_error = pin;
    if (rc) {
        mem_free(thread);
        return -rc;
    }
    *out = thread;
    return 0;
}

void os_thread_join(struct os_thread *thread)
{
    check(pthread_join(thread->id, NULL) == 0);
    mem_free(thread);
}

void os_thread_pin(int cpu, int *pin_error)
{
    cpu_set_t set;
    int rc = EINVAL;
    if (set_of(cpu, &set)) rc = pthread_setaffinity_np(pthread_self(), sizeof set, &set);
    if (pin_error) *pin_error = rc;
}

/* ---- bells ---- */

struct os_bell {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool rung;
};

struct os_bell *os_bell_new(void)
{
    struct os_bell *bell = mem_zalloc(sizeof *bell);
    pthread_condattr_t attr;
    check(pthread_condattr_init(&attr) == 0);
    check(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
    check(pthread_mutex_init(&bell->mutex, NULL) == 0);
    check(pthread_cond_init(&bell->cond, &attr) == 0);
    pthread_condattr_destroy(&attr);
    return bell;
}

void os_bell_free(struct os_bell *bell)
{
    if (!bell) return;
    pthread_cond_destroy(&bell->cond);
    pthread_mutex_destroy(&bell->mutex);
    mem_free(bell);
}

void os_bell_wait(struct os_bell *bell, int64_t timeout_us)
{
    int64_t until_us = os_mono_us() + timeout_us;
    struct timespec until = {.tv_sec = until_us / 1000000, .tv_nsec = until_us % 1000000 * 1000};
    pthread_mutex_lock(&bell->mutex);
    int rc = 0;
    while (!bell->rung && rc == 0)
        rc = timeout_us < 0 ? pthread_cond_wait(&bell->cond, &bell->mutex)
                            : pthread_cond_timedwait(&bell->cond, &bell->mutex, &until);
    bell->rung = false;
    pthread_mutex_unlock(&bell->mutex);
}

void os_bell_ring_shared(struct os_bell *bell)
{
    pthread_mutex_lock(&bell->mutex);
    bell->rung = true;
    pthread_cond_signal(&bell->cond);
    pthread_mutex_unlock(&bell->mutex);
}
