/* BGSAVE and the save points: who begins a snapshot, and when.
 *
 * A client that gives BGSAVE is answered when the cut has been made, so what it wrote before is in
 * the dump and what it writes after is not, as with redis-server's fork.
 *
 * Save points are looked at in every worker's tick; whoever finds one due first begins. A quiet
 * worker has no ticks, but it has a time at which the next point will be due (save_points_next_us).
 *
 * After FLUSHALL redis-server writes the empty dump before it answers; here a snapshot follows at
 * the next tick. It is of no data, and nobody is to find it in the way: a BGSAVE meanwhile is begun
 * right after it and answered as if it had begun.
 * Thread: owner. */
#include <errno.h>

#include "conn.h"
#include "save.h"
#include "snapshot.h"
#include "splitring/cmd/call.h"
#include "splitring/cmd/handlers.h"
#include "splitring/io/log.h"

#define RETRY_S 5 /* after one that failed */
#define TICK_US 100000
#define SECOND_US 1000000

static int begin(struct worker *w, struct conn *c)
{
    struct snapshot_request request = {.purpose = SNAPSHOT_SAVE, .path = w->config->dbfilename,
                                       .set = w->config->snapshot_layout == CONFIG_LAYOUT_SHARDS,
                                       .conn = c, .told = "Background saving started"};
    int rc = snapshot_start(w, &request);
    if (rc == 0) {
        counter_set(&w->hub->persist.bgsave_try_s, (uint64_t)(w->now / 1000));
        counter_set(&w->hub->persist.bgsave_scheduled, 0);
        counter_set(&w->hub->persist.bgsave_flush, 0);
        counter_set(&w->hub->persist.flushed, 0);
    }
    return rc;
}

bool bgsave_in_the_way(const struct hub *hub)
{
    return snapshot_purpose_shared(hub) == SNAPSHOT_SAVE &&
           !counter_get(&hub->persist.bgsave_flush);
}

/* ---- the command ---- */

static void cancel(struct hub *hub, struct reply *reply)
{
    if (snapshot_purpose_shared(hub) == SNAPSHOT_SAVE) {
        log_line(LOG_LEVEL_NOTICE, "Background saving will be aborted due to user request");
        snapshot_give_up_shared(hub, SNAPSHOT_CANCELLED);
        reply_simple(reply, "Background saving cancelled");
    } else if (counter_get(&hub->persist.bgsave_scheduled)) {
        log_line(LOG_LEVEL_NOTICE,
                 "Scheduled background saving will be cancelled due to user request");
        counter_set(&hub->persist.bgsave_scheduled, 0);
        reply_simple(reply, "Scheduled background saving cancelled");
    } else {
        reply_error(reply, ERR_BGSAVE_NONE);
    }
}

void cmd_bgsave(struct call *c)
{
    struct hub *hub = c->worker->hub;
    bool schedule = c->argc == 2 && call_is(c, 1, "schedule");
    if (c->argc == 2 && call_is(c, 1, "cancel")) {
        cancel(hub, &c->reply);
        return;
    }
    if (c->argc > 1 && !schedule) {
        reply_error(&c->reply, ERR_SYNTAX);
        return;
    }
    bool multi = c->conn->multi != NULL;
    enum snapshot_purpose runs = snapshot_purpose_shared(hub);
    if (bgsave_in_the_way(hub)) {
        reply_error(&c->reply, ERR_BGSAVE_RUNNING);
    } else if (runs == SNAPSHOT_SAVE && !multi) {
        counter_set(&hub->persist.bgsave_scheduled, 2);
        reply_simple(&c->reply, "Background saving started");
    } else if (runs == SNAPSHOT_REWRITE || multi) {
        if (schedule || multi) {
            counter_set(&hub->persist.bgsave_scheduled, 1);
            reply_simple(&c->reply, "Background saving scheduled");
        } else {
            reply_error(&c->reply, ERR_BGSAVE_OTHER);
        }
    } else if (begin(c->worker, c->conn) < 0) {
        reply_error(&c->reply, ERR_BGSAVE_RUNNING);
    }
}

/* ---- save points ---- */

static uint64_t unsaved(const struct hub *hub)
{
    uint64_t dirty = 0;
    for (uint32_t i = 0; i < hub->count; i++) dirty += counter_get(&hub->published[i].dirty);
    return dirty - counter_get(&hub->persist.dirty_saved);
}

/* Unix time before which nothing is tried again. */
static int64_t tried_until_s(const struct hub *hub)
{
    const struct hub_persist *p = &hub->persist;
    return counter_get(&p->save_failed) ? (int64_t)counter_get(&p->bgsave_try_s) + RETRY_S : 0;
}

static const struct config_save_point *due_point(const struct worker *w, int64_t now_s)
{
    const struct config_save *save = &w->config->save;
    uint64_t changes = unsaved(w->hub);
    int64_t past_s = now_s - (int64_t)counter_get(&w->hub->persist.last_save_s);
    for (size_t i = 0; i < save->count; i++) {
        const struct config_save_point *point = &save->points[i];
        if (changes >= (uint64_t)point->changes && past_s > point->period_s) return point;
    }
    return NULL;
}

void save_points_tick(struct worker *w)
{
    struct hub *hub = w->hub;
    int64_t now_s = w->now / 1000;
    if (w->loading || hub_stopping_shared(hub)) return;
    if (snapshot_purpose_shared(hub) != SNAPSHOT_NONE) return;
    if (counter_get(&hub->persist.flushed) && !w->config->save.count)
        counter_set(&hub->persist.flushed, 0);
    if (counter_get(&hub->persist.flushed)) {
        if (begin(w, NULL) == 0) counter_set(&hub->persist.bgsave_flush, 1);
        return;
    }
    if (now_s <= tried_until_s(hub)) return;
    if (counter_get(&hub->persist.bgsave_scheduled)) {
        (void)begin(w, NULL);
        return;
    }
    const struct config_save_point *point = due_point(w, now_s);
    if (point && begin(w, NULL) == 0)
        log_line(LOG_LEVEL_NOTICE, "%lld changes in %lld seconds. Saving...",
                 (long long)point->changes, (long long)point->period_s);
}

int64_t save_points_next_us(const struct worker *w)
{
    const struct hub *hub = w->hub;
    const struct config_save *save = &w->config->save;
    int64_t next = INT64_MAX, now_s = w->now / 1000, tried_s = tried_until_s(hub);
    if (counter_get(&hub->persist.bgsave_scheduled) || counter_get(&hub->persist.flushed))
        return SECOND_US;
    uint64_t changes = save->count ? unsaved(hub) : 0;
    for (size_t i = 0; i < save->count; i++) {
        const struct config_save_point *point = &save->points[i];
        if (changes < (uint64_t)point->changes) continue;
        int64_t at_s = (int64_t)counter_get(&hub->persist.last_save_s) + point->period_s;
        if (at_s < tried_s) at_s = tried_s;
        int64_t left = (at_s + 1 - now_s) * SECOND_US;
        if (left < next) next = left;
    }
    bool busy = snapshot_purpose_shared(hub) != SNAPSHOT_NONE;
    int64_t least = busy ? SECOND_US : TICK_US;
    return next < least ? least : next;
}

void bgsave_after_flush(struct worker *w)
{
    struct hub *hub = w->hub;
    if (snapshot_purpose_shared(hub) == SNAPSHOT_SAVE) {
        log_line(LOG_LEVEL_NOTICE, "FLUSHALL: the snapshot in progress is given up");
        snapshot_give_up_shared(hub, SNAPSHOT_CANCELLED);
    }
    counter_set(&hub->persist.flushed, 1);
}
