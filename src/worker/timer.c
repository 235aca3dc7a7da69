/* Ten ticks a second while something happens; none when nothing does.
 *
 * A quiet worker has no ticks: it sleeps until a client, a message, or the lowest expiry of its
 * shard. A worker that borrows the shard and sets a nearer expiry wakes the owner for it
 * (worker_publish_shard). Background work comes in steps of a pass: expiry may use at most
 * SWEEP_STEPS of them per tick, freeing goes on while there is something to free.
 * Thread: owner. */
#include "timer.h"

#include "away.h"
#include "block.h"
#include "conn.h"
#include "fanout.h"
#include "hotkeys.h"
#include "splitring/io/os.h"
#include "latency.h"
#include "save.h"
#include "stats.h"
#include "tracking.h"

#define TICK_US 100000
#define SWEEP_STEPS 40u
#define SWEEP_BUDGET 2000u /* slots looked at per step */
#define FREE_BUDGET 500u   /* entries freed per step */
#define QUIET_TICKS 30u
#define HANDSHAKE_MS 10000 /* then a TLS client that has not come through is closed */

/* ---- clients ---- */

static void client_ticks(struct worker *w)
{
    int64_t timeout_ms = (int64_t)w->config->timeout_s * 1000;
    uint64_t out_max = 0, in_max = 0;
    LIST_FOREACH_SAFE(link, next, &w->conns) {
        struct conn *c = CONTAINER_OF(link, struct conn, link);
        if (c->flags & CONN_CLOSING) continue;
        client_memory_count(c);
        if (c->out.cap > out_max) out_max = c->out.cap;
        if (c->in.cap > in_max) in_max = c->in.cap;
        bool late = unlikely(io_handshaking(&c->sock)) && w->now - c->created_ms > HANDSHAKE_MS;
        if (late ||
            (timeout_ms && w->now - c->active_ms > timeout_ms && !(c->flags & CONN_WAITING) &&
             !conn_subscribed(c)))
            conn_close(c);
        else if (c->flags & CONN_WANT_WRITE)
            conn_check_output(c);
    }
    counter_set(&w->pub->out_max, out_max);
    counter_set(&w->pub->in_max, in_max);
}

/* Idle memory: parsers' spare room, spare output buffers beyond a few. */
static void trim(struct worker *w)
{
    LIST_FOREACH_SAFE(link, next, &w->conns) {
        struct conn *c = CONTAINER_OF(link, struct conn, link);
        if (w->now - c->active_ms > 2000 && !(c->flags & (CONN_WAITING | CONN_HELD_OP)))
            parse_trim(&c->parser);
    }
    while (w->spare_count > 4) buf_deinit(&w->spare_bufs[--w->spare_count]);
}

static void rates(struct worker *w)
{
    uint64_t commands = counter_get(&w->pub->commands), in = counter_get(&w->pub->bytes_in),
             out = counter_get(&w->pub->bytes_out);
    counter_set(&w->pub->ops_per_s, commands - w->last_commands);
    counter_set(&w->pub->in_per_s, in - w->last_in);
    counter_set(&w->pub->out_per_s, out - w->last_out);
    w->last_commands = commands;
    w->last_in = in;
    w->last_out = out;
}

static void pause_over(struct worker *w)
{
    if (!w->pause.until || w->pause.until > w->now) return;
    w->pause.until = 0;
    counter_set(&w->pub->paused, 0);
    struct list *link;
    while ((link = list_pop_front(&w->paused)) != NULL) {
        struct conn *c = CONTAINER_OF(link, struct conn, ready_link);
        conn_unpark(c);
        conn_ready(c);
    }
}

void timer_unpause(struct worker *w)
{
    if (!w->pause.until) return;
    w->pause.until = w->now;
    pause_over(w);
}

/* ---- the tick ---- */

static void tick(struct worker *w)
{
    w->cron_ticks++;
    w->sweep_credits = SWEEP_STEPS;
    w->balance_due = w->hub->count > 1;
    save_points_tick(w);
    bigkeys_step(w);
    if (w->cron_ticks % 10 == 0) {
        bool was_idle = counter_get(&w->pub->commands) == w->last_commands;
        rates(w);
        client_ticks(w);
        stats_tick(w);
        if (w->cron_ticks % 20 == 0) trim(w);
        w->quiet_ticks = was_idle ? w->quiet_ticks + 10 : 0;
    }
    /* Clients with a timeout need the tick to go on. */
    w->quiet = w->quiet_ticks >= QUIET_TICKS && !(w->config->timeout_s && w->conn_count) &&
               !w->pause.until && !io_handshakes(w->io);
    if (w->quiet) counter_set(&w->pub->load_permille, 0);
}

static bool sweep(struct worker *w)
{
    uint64_t due = counter_get(&w->hub->shard_published[w->id].expiry_min);
    if (due > (uint64_t)w->now || !w->sweep_credits || !w->active_expire) return false;
    if (w->pause.until || w->loading) return false;
    w->sweep_credits--;
    worker_hold(w, w->id);
    int64_t start_us = os_mono_us();
    size_t done = shard_sweep(w->shard, w->now, SWEEP_BUDGET, &w->expire_sink);
    block_serve(w, w->id);
    uint64_t took_us = (uint64_t)(os_mono_us() - start_us);
    counter_add(&w->pub->sweep_us, took_us);
    latency_note(w, LATENCY_EXPIRE_CYCLE, took_us * 1000);
    worker_touched(w, w->id, DBS_ALL);
    return done != 0;
}

static bool free_some(struct worker *w)
{
    /* Copies that commands over several shards have left on the scratch shard. */
    size_t done = shard_free_step(w->scratch, FREE_BUDGET);
    if (!counter_get(&w->hub->shard_published[w->id].lazyfree_pending)) return done != 0;
    worker_hold(w, w->id);
    done += shard_free_step(w->shard, FREE_BUDGET);
    worker_touched(w, w->id, DBS_ALL);
    return done != 0;
}

bool timer_run(struct worker *w)
{
    if (counter_get(&w->pub->commands) != w->seen_commands) {
        w->seen_commands = counter_get(&w->pub->commands);
        w->quiet_ticks = 0;
        if (w->quiet) w->next_cron_mono_us = w->mono_us + TICK_US;
        w->quiet = false;
    }
    if (w->mono_us >= w->next_cron_mono_us) {
        w->next_cron_mono_us = w->mono_us + TICK_US;
        if (likely(!w->cron_paused)) tick(w);
    }
    pause_over(w);
    block_tick(w);
    away_tick(w);
    bool more = sweep(w);
    more |= free_some(w);
    if (unlikely(w->budget.limit)) more |= budget_step_slow(w);
    more |= tracking_step(w);
    if (unlikely(w->config->defrag || w->defragger.runs)) defragger_step(w);
    return more;
}

int64_t timer_next_us(struct worker *w)
{
    uint64_t due = counter_get(&w->hub->shard_published[w->id].expiry_min);
    w->expiry_seen = due;
    int64_t next = w->quiet ? save_points_next_us(w) : w->next_cron_mono_us - w->mono_us;
    if (block_next(w) != EXPIRE_NONE) {
        int64_t left = block_next(w) * 1000 - w->now_us;
        if (left < next) next = left > 0 ? left : 1;
    }
    if (unlikely(!list_empty(&w->aways))) {
        instant_ms at = away_next(w);
        int64_t left = at == EXPIRE_NONE ? INT64_MAX : at * 1000 - w->now_us;
        if (left < next) next = left > 0 ? left : 1;
    }
    if (due < (uint64_t)EXPIRE_NONE && w->active_expire) {
        int64_t left_ms = (int64_t)due - w->now + 1; /* a key may expire at the end of time */
        int64_t left = left_ms < INT64_MAX / 4000 ? left_ms * 1000 : INT64_MAX / 4;
        if (left < TICK_US) left = TICK_US; /* what is due now had its share of this tick */
        if (left < next) next = left;
        if (w->quiet && w->next_cron_mono_us < w->mono_us + left)
            w->next_cron_mono_us = w->mono_us + left;
    }
    if (unlikely(w->defragger.runs)) {
        int64_t left = defragger_next_us(w) - w->mono_us;
        if (left < next) next = left > 0 ? left : 1;
    }
    counter_set(&w->hub->shard_published[w->id].owner_wakes_at,
                next == INT64_MAX ? UINT64_MAX : (uint64_t)(w->now + next / 1000 + 1));
    if (next == INT64_MAX) return -1;
    return next > 0 ? next : 1;
}
