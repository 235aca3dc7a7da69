/* Threads as coroutines, what they sleep on, and the clock.
 *
 * Workers always are; with a disk the persistence thread runs its real loop here, too, and so does
 * whatever thread that starts. A sleeper is resumed when it is woken or its time is over, so a bell
 * that nobody rings is a schedule that never ends.
 *
 * The clock stands still while anybody runs, unless there is a disk: then every look at it takes a
 * little time, so that slices end and syncs last.
 *
 * AddressSanitizer is told of every change of stacks: Lua leaves C frames behind when it throws or
 * yields, whose marks are wiped only from a stack whose bounds are known.
 * Thread: one. */
#include <errno.h>
#include <stdlib.h>

#include "sim.h"
#include "splitring/base/check.h"
#include "splitring/base/mem.h"
#include "splitring/io/os.h"

#define STACK_SPARE (32 * 1024) /* of each coroutine's stack nobody may ever have touched */
#define STACK_PAINT 0x5A

static struct sim *current;

struct sim *sim_current(void) { return current; }
void sim_set_current(struct sim *sim) { current = sim; }

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#define leave_stack(fake, to, size) __sanitizer_start_switch_fiber(fake, to, size)
#define enter_stack(fake, from, size) __sanitizer_finish_switch_fiber(fake, from, size)
#else
#define leave_stack(fake, to, size) ((void)(fake))
#define enter_stack(fake, from, size) ((void)(fake))
#endif

/* ---- coroutines ---- */

void sim_yield(struct sim *sim)
{
    struct sim_fiber *self = sim->running;
    void *fake = NULL;
    if (!self) return;
    leave_stack(&fake, sim->stack, sim->stack_size);
    swapcontext(&self->context, &sim->scheduler);
    enter_stack(fake, &sim->stack, &sim->stack_size);
}

void sim_wait(struct sim *sim, struct sim_fiber *fiber, int64_t timeout_us)
{
    fiber->wait_until_us = timeout_us < 0 ? -1 : sim->clock_us + timeout_us;
    fiber->waiting = true;
    sim_yield(sim);
    fiber->waiting = false;
    fiber->woken = false;
}

bool sim_runnable(const struct sim *sim, const struct sim_fiber *fiber)
{
    if (fiber->finished) return false;
    if (!fiber->waiting || fiber->woken) return true;
    return fiber->wait_until_us >= 0 && fiber->wait_until_us <= sim->clock_us;
}

static void fiber_main(unsigned lo, unsigned hi)
{
    struct sim_fiber *fiber = (struct sim_fiber *)((uintptr_t)lo | (uintptr_t)hi << 32);
    enter_stack(NULL, &current->stack, &current->stack_size);
    fiber->run(fiber->arg);
    fiber->finished = true;
    sim_yield(current);
}

void sim_fiber_start(struct sim_fiber *fiber, void (*run)(void *arg), void *arg)
{
    uintptr_t at = (uintptr_t)fiber;
    fiber->run = run;
    fiber->arg = arg;
    fiber->stack = mem_alloc(SIM_STACK);
    memset(fiber->stack, STACK_PAINT, STACK_SPARE);
    getcontext(&fiber->context);
    fiber->context.uc_stack.ss_sp = fiber->stack;
    fiber->context.uc_stack.ss_size = SIM_STACK;
    fiber->context.uc_link = NULL;
    makecontext(&fiber->context, (void (*)(void))fiber_main, 2, (unsigned)at,
                (unsigned)(at >> 32));
}

void sim_fiber_resume(struct sim *sim, struct sim_fiber *fiber)
{
    void *fake = NULL;
    sim->running = fiber;
    leave_stack(&fake, fiber->stack, SIM_STACK);
    swapcontext(&sim->scheduler, &fiber->context);
    enter_stack(fake, NULL, NULL);
    sim->running = NULL;
}

void sim_fiber_free(struct sim_fiber *fiber)
{
    for (int n = 0; n < STACK_SPARE; n++) check(fiber->stack[n] == STACK_PAINT);
    mem_free(fiber->stack);
}

/* ---- os.h: threads ---- */

int os_thread_start(struct os_thread **out, const char *name, int cpu, int *pin_error,
                    void (*run)(void *arg), void *arg)
{
    struct sim *sim = current;
    (void)name;
    (void)cpu;
    (void)pin_error;
    if (!sim->disk) return -EAGAIN;
    check(sim->thread_count < SIM_THREADS_MAX);
    *out = calloc(1, sizeof **out);
    sim_fiber_start(&(*out)->fiber, run, arg);
    sim->threads[sim->thread_count++] = *out;
    return 0;
}

void os_thread_join(struct os_thread *thread) /* sim_server_free() frees it */
{
    while (!thread->fiber.finished) sim_yield(current);
}

struct os_bell {
    bool rung;
    struct sim_fiber *waiter;
};

struct os_bell *os_bell_new(void)
{
    return current && current->disk ? calloc(1, sizeof(struct os_bell)) : NULL;
}

void os_bell_free(struct os_bell *bell) { free(bell); }

void os_bell_ring_shared(struct os_bell *bell)
{
    bell->rung = true;
    if (bell->waiter) bell->waiter->woken = true;
}

void os_bell_wait(struct os_bell *bell, int64_t timeout_us)
{
    bell->waiter = current->running;
    if (!bell->rung) sim_wait(current, current->running, timeout_us);
    bell->rung = false;
    bell->waiter = NULL;
}

void os_sleep_us(int64_t us)
{
    if (current->running) sim_wait(current, current->running, us);
}

void os_yield(void) {}

/* The server's end; what runs it never goes on. */
void os_end_now(int code)
{
    (void)code;
    current->died = true;
    for (;;) sim_yield(current);
}

/* ---- os.h: clocks ---- */

static int64_t now_us(void)
{
    struct sim *sim = current;
    if (!sim || !sim->disk) return 1;
    sim->clock_us += rng_below(&sim->rng, 16) ? (int64_t)rng_below(&sim->rng, 4) : 200;
    return sim->clock_us;
}

int64_t os_mono_us(void) { return now_us(); }
int64_t os_mono_ns(void) { return 1; }
instant_us os_unix_us(void) { return now_us(); }
