/* The thread that syncs the log under appendfsync everysec. A sync takes as long as the disk likes;
 * meanwhile P goes on merging and writing, so that the workers' lanes do not fill.
 *
 * One request at a time, whose words belong to whoever has the turn. (Under `always` P syncs by
 * itself: nothing can be told to anybody before the sync is over, and what comes in meanwhile is
 * the next group.)
 * Thread: P, but for sync_main. */
#include "journal_log.h"
#include "splitring/base/check.h"
#include "splitring/io/file.h"
#include "splitring/io/os.h"

static void sync_main(void *arg)
{
    struct journal_sync *s = arg;
    while (!progress_get_shared(&s->stop)) {
        if (claim_get_shared(&s->state) != SYNC_ASKED) {
            os_bell_wait(s->bell, -1);
            continue;
        }
        s->rc = file_sync_data(s->fd);
        check(claim_try_shared(&s->state, SYNC_ASKED, SYNC_DONE));
        persister_wake_shared(&s->hub->persister);
    }
}

void journal_sync_start(struct hub *hub, struct journal_sync *s)
{
    s->hub = hub;
    if (!hub->persister.bell) return; /* the simulator has no threads */
    s->bell = os_bell_new();
    if (os_thread_start(&s->thread, "log-sync", -1, NULL, sync_main, s) != 0) s->thread = NULL;
}

void journal_sync_end(struct journal_sync *s)
{
    if (!s->thread) return;
    progress_set(&s->stop, 1);
    os_bell_ring_shared(s->bell);
    os_thread_join(s->thread);
    os_bell_free(s->bell);
    s->thread = NULL;
}

bool journal_sync_ask(struct journal_sync *s, int fd, uint64_t ticket)
{
    if (claim_get_shared(&s->state) != SYNC_IDLE) return false;
    s->fd = fd;
    s->ticket = ticket;
    if (s->thread) {
        check(claim_try_shared(&s->state, SYNC_IDLE, SYNC_ASKED));
        os_bell_ring_shared(s->bell);
    } else {
        s->rc = file_sync_data(fd);
        check(claim_try_shared(&s->state, SYNC_IDLE, SYNC_DONE));
    }
    return true;
}

bool journal_sync_over(struct journal_sync *s, int *rc, uint64_t *ticket)
{
    if (claim_get_shared(&s->state) != SYNC_DONE) return false;
    *rc = s->rc;
    *ticket = s->ticket;
    check(claim_try_shared(&s->state, SYNC_DONE, SYNC_IDLE));
    return true;
}

void journal_sync_wait(struct journal_sync *s)
{
    while (claim_get_shared(&s->state) == SYNC_ASKED) os_sleep_us(100);
}
