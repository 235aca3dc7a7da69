/* The persistence thread's loop.
 *
 *   look at what the workers have given → write → tell how far → sleep until woken
 *
 * It announces its sleep as a worker does: flag, fence, one more look; who gives it something
 * publishes first and then looks at the flag. In the simulator nobody sleeps and the scheduler
 * calls the step.
 * It ends after the workers: what they gave in their last pass is still written.
 * Why one thread for all files? Syncs of one disk do not get faster by being asked for twice, and
 * the log must have one writer anyway.
 * Thread: P, but for persister_wake_shared and hub_persister_stop_shared (any). */
#include "internal.h"
#include "journal_log.h"
#include "snapshot.h"
#include "splitring/io/os.h"

void persister_init(struct persister *p, struct hub *hub)
{
    *p = (struct persister){.hub = hub, .bell = os_bell_new()};
}

void persister_deinit(struct persister *p)
{
    os_bell_free(p->bell);
}

void persister_wake_shared(struct persister *p)
{
    if (p->bell && sleep_wants_wake_shared(&p->sleeping)) os_bell_ring_shared(p->bell);
}

bool persister_step(struct persister *p, instant_us now_us, int64_t mono_us)
{
    p->now_us = now_us;
    p->mono_us = mono_us;
    bool more = journal_step(p->hub, now_us, mono_us);
    return dumper_step(p) || more;
}

int64_t persister_next_us(const struct persister *p)
{
    return journal_next_us(p->hub, p->mono_us);
}

/* ---- the thread ---- */

bool hub_persister_step(struct hub *hub, instant_us now_us, int64_t mono_us)
{
    return persister_step(&hub->persister, now_us, mono_us);
}

void hub_persister_run(struct hub *hub)
{
    struct persister *p = &hub->persister;
    for (;;) {
        if (persister_step(p, os_unix_us(), os_mono_us())) continue;
        bool stop = progress_get_shared(&p->stop);
        sleep_announce(&p->sleeping);
        bool more = persister_step(p, os_unix_us(), os_mono_us());
        if (stop && !more) break; /* it was asked before this look */
        if (!more && !progress_get_shared(&p->stop)) os_bell_wait(p->bell, persister_next_us(p));
        sleep_over(&p->sleeping);
    }
    dumper_stop(p);
    journal_end(hub);
}

void hub_persister_stop_shared(struct hub *hub)
{
    progress_set(&hub->persister.stop, 1);
    persister_wake_shared(&hub->persister);
}
