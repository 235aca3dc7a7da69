/* Switching the log on and off, rewriting it, and what CONFIG SET changes of it.
 *
 * A rewrite is a snapshot (snapshot.h): at its cut the last ticket of what the base holds is the
 * last one that goes into the old file. P writes the base beside the log, then changes the files
 * (journal_files.c).
 * Thread: as each function says. */
#include "journal_start.h"

#include "conn.h"
#include "push.h"
#include "snapshot.h"
#include "splitring/io/log.h"
#include "splitring/io/os.h"

void journal_configure(struct hub *hub, const struct config *config)
{
    struct journal_log *l = hub->journal->log;
    counter_set(&l->fsync, config->appendfsync);
    counter_set(&l->stamps, config->aof_timestamps);
    counter_set(&l->lazy_in_rewrite, config->aof_no_fsync_on_rewrite);
    counter_set(&l->rewrite_percentage, (uint64_t)config->aof_rewrite_percentage);
    counter_set(&l->rewrite_min_size, (uint64_t)config->aof_rewrite_min_size);
}

int journal_start(struct hub *hub)
{
    struct journal_log *l = hub->journal->log;
    const struct config *config = hub->config_start;
    int rc = journal_files_start(hub, config);
    if (rc < 0) return rc;
    journal_configure(hub, config);
    journal_sync_start(hub, &l->sync);
    if (config->appendonly) {
        counter_set(&l->enabled, 1);
        counter_set(&l->size, l->others_size + l->file_size);
        counter_set(&l->base_size, counter_get(&l->size));
        journal_switch(hub, true);
    }
    counter_set_release(&l->ready, 1);
    return 0;
}

/* ---- acts: all shards are held ---- */

/* The cut of the snapshot that becomes the base. */
static void at_cut(struct worker *w, void *ctx)
{
    struct journal_log *l = ctx;
    bool begin = counter_get(&l->begins) != 0;
    if (begin) {
        counter_set(&l->enabled, 2);
        journal_switch(w->hub, true);
    }
    (void)journal_mark(w, begin ? JOURNAL_BEGIN : JOURNAL_CUT);
    journal_publish(w);
    counter_set(&l->start_ms, (uint64_t)(os_unix_us() / 1000));
    counter_set_release(&l->base, JOURNAL_BASE_WRITING);
}

/* The base is written, or there is none. P goes on with it in its next step. Thread: P; without a
 * cut, a worker. */
static void base_done(void *ctx, int rc)
{
    struct journal_log *l = ctx;
    counter_set_release(&l->base, rc == 0 ? JOURNAL_BASE_WRITTEN : JOURNAL_BASE_FAILED);
}

static void act_stop(struct worker *w, struct still *s, struct reply *reply)
{
    (void)s;
    (void)reply;
    if (!journal_on(w->hub)) return;
    push_flush(w);
    (void)journal_mark(w, JOURNAL_STOP);
    journal_publish(w);
    counter_set(&w->hub->journal->log->enabled, 0);
    journal_switch(w->hub, false);
}

/* ---- beginning ---- */

bool journal_rewriting(const struct hub *hub)
{
    return claim_get_shared(&hub->journal->log->rewriting) != 0;
}

bool journal_rewrite(struct worker *w, bool begin)
{
    struct journal_log *l = w->hub->journal->log;
    char aside[64];
    journal_files_aside(aside);
    struct snapshot_request request = {.purpose = SNAPSHOT_REWRITE, .path = aside,
                                       .at_cut = at_cut, .done = base_done, .ctx = l};
    if (!claim_try_shared(&l->rewriting, 0, 1)) return false;
    counter_set(&l->begins, begin);
    if (snapshot_start(w, &request) < 0) { /* BGSAVE runs */
        (void)claim_try_shared(&l->rewriting, 1, 0);
        return false;
    }
    counter_set(&w->hub->persist.log_wanted, 0);
    return true;
}

void journal_rewrite_later(struct hub *hub)
{
    counter_set(&hub->persist.log_wanted, 1);
    persister_wake_shared(&hub->persister);
}

bool journal_wanted_slow(struct worker *w)
{
    struct journal_log *l = w->hub->journal->log;
    if (w->loading || hub_stopping_shared(w->hub)) return false;
    bool begin = w->config->appendonly && !counter_get(&l->enabled);
    return journal_rewrite(w, begin);
}

void journal_config_changed(struct worker *w)
{
    struct journal_log *l = w->hub->journal->log;
    const struct config *config = w->config;
    journal_configure(w->hub, config);
    persister_wake_shared(&w->hub->persister);
    bool on = counter_get(&l->enabled) != 0;
    if (config->appendonly && !on) {
        if (!journal_rewrite(w, true)) journal_rewrite_later(w->hub);
    } else if (!config->appendonly && on) {
        struct still what = {.act = act_stop};
        still_start(w, NULL, &what);
    }
}
