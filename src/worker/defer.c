/* Connections put off for a shard that somebody else touches.
 *
 * A group waits some microseconds for the shards it needs, which is longer than a holder that runs
 * needs them. Where that was in vain, the holder has most likely been descheduled in the middle of
 * its hold, and nobody gets that shard for milliseconds. So its worker stops asking: connections
 * whose next command needs such a shard lie aside, unparsed, and the worker sleeps, serves others,
 * and looks at the shard's word from time to time. Parsing them again and again, or waiting on the
 * CPU, costs more than everything else that borrowing costs; messages would not help before the
 * holder runs again, and would have to be handled by it on top.
 *
 *   put off ──shard looks free──▶ ready ──in vain──▶ put off … at most DEFER_TURNS times
 *      └────────── DEFER_LOOKS looks at one and the same hold ──────────▶ ready ──▶ messages
 *
 * A shard's word tells a hold that lasts from many short ones by the count of its holds: the latter
 * is contention, and there messages, which take their turn in a queue, are what ends it. They also
 * are what ends the former if its holder is busy with something slow, though hardly sooner.
 *
 * Connections that were not put off yet are parsed while a shard is missing, but only FEW commands
 * of each (group.c): they may not need it.
 *
 * Thread: owner. */
#include "defer.h"

#include "conn.h"

#define DEFER_US 50        /* between two looks; the kernel adds as much again */
#define DEFER_STUCK_US 150 /* …, at a hold that lasts */
#define DEFER_COST 8u
#define DEFER_LOOK_COST 3u

void defer_missed(struct worker *w, uint32_t mask)
{
    w->missed |= mask;
    for (uint32_t m = mask; m; m &= m - 1) {
        unsigned s = (unsigned)__builtin_ctz(m);
        w->missed_turns[s] = holder_turns(&w->hub->holders[s]);
    }
}

uint32_t defer_missing_slow(struct worker *w)
{
    for (uint32_t m = w->missed; m; m &= m - 1) {
        unsigned s = (unsigned)__builtin_ctz(m);
        if (worker_holds(w, (shard_id)s) || holder_is_free(&w->hub->holders[s]))
            w->missed &= ~(1u << s);
    }
    return w->missed;
}

static void lay_aside(struct worker *w, struct conn *c)
{
    if (list_empty(&w->deferred)) w->defer_due_us = w->mono_us + DEFER_US;
    c->flags |= CONN_READY;
    list_push_back(&w->deferred, &c->ready_link);
}

bool defer_conn(struct worker *w, struct conn *c, uint32_t mask)
{
    if (c->deferred >= w->defer_budget) return false;
    c->deferred = (uint8_t)(c->deferred + DEFER_COST);
    c->deferred_for = mask;
    lay_aside(w, c);
    return true;
}

bool defer_again(struct worker *w, struct conn *c)
{
    if (!c->deferred || c->deferred >= w->defer_budget) return false;
    if (!(c->deferred_for & defer_missing(w))) return false;
    conn_keep_input(c);
    if (c->flags & CONN_CLOSING) return true;
    lay_aside(w, c);
    return true;
}

/* The holds that were missed are still the same ones. */
static bool stuck(struct worker *w)
{
    bool same = true;
    for (uint32_t m = w->missed; m; m &= m - 1) {
        unsigned s = (unsigned)__builtin_ctz(m);
        uint32_t turns = holder_turns(&w->hub->holders[s]);
        same &= turns == w->missed_turns[s];
        w->missed_turns[s] = turns;
    }
    return same;
}

void defer_step(struct worker *w)
{
    uint32_t missing = defer_missing(w);
    unsigned cost = 0;
    if (missing && w->mono_us >= w->defer_due_us) {
        bool lasts = stuck(w);
        cost = lasts ? DEFER_LOOK_COST : DEFER_COST;
        w->defer_due_us = w->mono_us + (lasts ? DEFER_STUCK_US : DEFER_US);
    }
    LIST_FOREACH_SAFE(link, next, &w->deferred) {
        struct conn *c = CONTAINER_OF(link, struct conn, ready_link);
        if (c->deferred_for & missing) {
            if (c->deferred < w->defer_budget) c->deferred = (uint8_t)(c->deferred + cost);
            if (c->deferred < w->defer_budget) continue;
        }
        list_remove(link);
        list_push_back(&w->ready, link);
    }
}

int64_t defer_next_us(const struct worker *w)
{
    if (likely(list_empty(&w->deferred))) return -1;
    int64_t left = w->defer_due_us - w->mono_us;
    return left > 0 ? left : 1;
}
