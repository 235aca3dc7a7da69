/* Everything stands still while one act runs: SAVE, SHUTDOWN with its save, DEBUG RELOAD.
 *
 *   (a patient one: tries the act for a while without any of the following)
 *   one at a time (hub.persist.still)
 *   every worker holds back writes, or all commands      fanout
 *   (SHUTDOWN: what was admitted before is answered)     fanout, again and again
 *   all shards are held, no transaction is half done     tried once a pass
 *   the act
 *   every worker goes on                                 fanout
 *
 * Holding all shards is what makes the act exclusive. It is not enough for a consistent view: a
 * transaction that has written at one shard and not yet at another holds no shard in between, but
 * its locks, so there must be none that the act would break. And holding back is what makes sure
 * that such a moment comes, however busy the server is.
 *
 * Why not as a transaction with all shards locked whole (SORT BY)? A signal has no connection, and
 * SHUTDOWN must wait for answers, not only for locks.
 * Thread: home; the parts: each worker. */
#include "splitring/base/mem.h"

#include "conn.h"
#include "fanout.h"
#include "journal_start.h"
#include "stats.h"
#include "timer.h"

#define DRAIN_US_MAX 10000000 /* then what is still unanswered is not waited for */
#define UNTIL_TOLD INT64_MAX
/* Of a patient act: so long it looks without stopping anybody; so long writes are then held back at
 * first, twice as long the next time, and at most. */
#define LOOK_US 20000
#define PATIENCE_US 5000
#define PATIENCE_US_MAX 80000

enum {
    PHASE_WAIT, PHASE_LOOK, PHASE_STOPPING, PHASE_DRAIN, PHASE_DRAINING, PHASE_ACT, PHASE_GOING_ON
};

void still_start(struct worker *w, struct conn *c, const struct still *what)
{
    struct still *s = mem_alloc(sizeof *s);
    *s = *what;
    s->home = w;
    s->conn = c;
    s->phase = PHASE_WAIT;
    s->wait_us = PATIENCE_US;
    list_push_back(&w->stills, &s->link);
    if (!c) return;
    c->flags |= CONN_WAITING;
    c->in_flight = s;
}

/* ---- each worker ---- */

static void stop_part(struct worker *w, struct fanout *f)
{
    const struct still *s = f->arg;
    w->pause_before.until = w->pause.until;
    w->pause_before.writes_only = w->pause.writes_only;
    w->pause.until = UNTIL_TOLD;
    w->pause.writes_only = !s->exclusive && (w->pause_before.until <= w->now ||
                                             w->pause_before.writes_only);
    w->quiet = false;
}

static void go_on_part(struct worker *w, struct fanout *f)
{
    (void)f;
    if (w->pause.until != UNTIL_TOLD) return; /* CLIENT UNPAUSE came in between */
    w->pause.until = w->pause_before.until;
    w->pause.writes_only = w->pause_before.writes_only;
    if (w->pause.until <= w->now) {
        w->pause.until = w->now;
        timer_unpause(w);
    }
}

/* Connections whose command is on its way. Those that wait for a key, or for a standstill, are
 * not: nothing of theirs can happen any more. */
static void drain_part(struct worker *w, struct fanout *f)
{
    int64_t busy = 0;
    LIST_FOREACH_SAFE(link, next, &w->conns) {
        const struct conn *c = CONTAINER_OF(link, struct conn, link);
        busy += c->flags & CONN_WAITING && !(c->flags & CONN_BLOCKED);
    }
    LIST_FOREACH_SAFE(link, next, &w->stills)
        busy -= CONTAINER_OF(link, struct still, link)->conn != NULL;
    f->number[w->id] = busy;
}

/* ---- home ---- */

static void stopped(struct worker *w, struct fanout *f, struct conn *c, struct reply *reply)
{
    struct still *s = f->arg;
    (void)c;
    (void)reply;
    s->since_us = w->mono_us;
    s->phase = s->drain ? PHASE_DRAIN : PHASE_ACT;
}

static void drained(struct worker *w, struct fanout *f, struct conn *c, struct reply *reply)
{
    struct still *s = f->arg;
    int64_t busy = 0;
    (void)c;
    (void)reply;
    for (uint32_t i = 0; i < w->hub->count; i++) busy += f->number[i];
    bool enough = busy <= 0 || w->mono_us - s->since_us > DRAIN_US_MAX;
    s->phase = enough ? PHASE_ACT : PHASE_DRAIN;
}

static void ask(struct worker *w, struct still *s, uint8_t phase,
                void (*part)(struct worker *, struct fanout *),
                void (*done)(struct worker *, struct fanout *, struct conn *, struct reply *))
{
    struct fanout *f = fanout_new(w, NULL, part, done, s);
    f->free_arg = NULL;
    s->phase = phase;
    fanout_start(f, true);
}

static void over(struct worker *w, struct still *s)
{
    struct conn *c = s->conn;
    list_remove(&s->link);
    if (s->claimed) (void)claim_try_shared(&w->hub->persist.still, 1, 0);
    mem_free(s);
    if (c) conn_resume(c);
}

static void gone_on(struct worker *w, struct fanout *f, struct conn *c, struct reply *reply)
{
    (void)c;
    (void)reply;
    over(w, f->arg);
}

/* It was not quiet for long enough: everything goes on, and it looks again. */
static void looks_again(struct worker *w, struct fanout *f, struct conn *c, struct reply *reply)
{
    struct still *s = f->arg;
    (void)c;
    (void)reply;
    s->claimed = false;
    (void)claim_try_shared(&w->hub->persist.still, 1, 0);
    if (s->wait_us < PATIENCE_US_MAX) s->wait_us *= 2;
    s->since_us = w->mono_us;
    s->phase = PHASE_LOOK;
}

/* Would the act see, or break, half a transaction? */
static bool half_done(const struct worker *w, const struct still *s)
{
    struct lock_node node;
    struct lock_request whole;
    for (uint32_t i = 0; i < w->hub->count; i++) {
        const struct locks *locks = w->hub->locks[i];
        if (!locks_active(locks)) continue;
        lock_request_init(&whole, &node);
        lock_request_whole(&whole, s->exclusive ? LOCK_EXCLUSIVE : LOCK_SHARED);
        if (!locks_free_for(locks, &whole)) return true;
    }
    return false;
}

static void run_act(struct worker *w, struct still *s)
{
    struct conn *c = s->conn;
    struct buf out = {0};
    struct reply reply = {.out = &out, .proto = c ? c->proto : 2};
    s->act(w, s, &reply);
    worker_unhold_all(w);
    if (c && !(c->flags & CONN_CLOSING)) {
        stats_note_reply(w, c->last_cmd, &reply);
        conn_append_reply(c, &out);
        if (s->keep) c->flags |= CONN_CLOSE_AFTER;
    }
    buf_deinit(&out);
    if (s->keep || !s->claimed)
        over(w, s);
    else
        ask(w, s, PHASE_GOING_ON, go_on_part, gone_on);
}

/* True: it has acted, and s may be gone. */
static bool try_act(struct worker *w, struct still *s)
{
    uint32_t all = hub_all_shards(w->hub);
    bool now = worker_hold_all(w, all, true) && !half_done(w, s) && (!s->may || s->may(w, s));
    if (now) run_act(w, s);
    worker_unhold_all(w);
    return now;
}

/* Somebody else's SHUTDOWN was first. */
static void drop(struct worker *w, struct still *s)
{
    if (s->dropped) s->dropped(w, s);
    if (s->conn) s->conn->flags |= CONN_CLOSE_AFTER;
    over(w, s);
}

static void claim_and_stop(struct worker *w, struct still *s)
{
    s->claimed = claim_try_shared(&w->hub->persist.still, 0, 1);
    if (s->claimed) ask(w, s, PHASE_STOPPING, stop_part, stopped);
}

void still_step(struct worker *w)
{
    struct still *s = CONTAINER_OF(w->stills.next, struct still, link);
    switch (s->phase) {
    case PHASE_WAIT:
        s->since_us = w->mono_us;
        if (hub_stopping_shared(w->hub))
            drop(w, s);
        else if (s->patient)
            s->phase = PHASE_LOOK;
        else
            claim_and_stop(w, s);
        break;
    case PHASE_LOOK:
        if (hub_stopping_shared(w->hub))
            drop(w, s);
        else if (!try_act(w, s) && w->mono_us - s->since_us > LOOK_US)
            claim_and_stop(w, s);
        break;
    case PHASE_DRAIN: ask(w, s, PHASE_DRAINING, drain_part, drained); break;
    case PHASE_ACT:
        if (!try_act(w, s) && s->patient && w->mono_us - s->since_us > s->wait_us)
            ask(w, s, PHASE_GOING_ON, go_on_part, looks_again);
        break;
    default: break;
    }
}

bool persist_step_slow(struct worker *w)
{
    if (w->loading) load_step(w);
    if (w->id == 0 && counter_get(&w->hub->persist.log_wanted)) (void)journal_wanted_slow(w);
    bool signal = w->id == 0 && counter_get(&w->hub->persist.signal);
    bool ours = false;
    LIST_FOREACH_SAFE(link, next, &w->stills)
        ours |= CONTAINER_OF(link, struct still, link)->conn == NULL;
    if (signal && !ours && !hub_stopping_shared(w->hub)) shutdown_on_signal(w);
    if (!list_empty(&w->stills)) still_step(w);
    return w->loader != NULL && !load_waits(w) && !hub_stopping_shared(w->hub);
}
