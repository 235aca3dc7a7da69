/* One pass of a worker:
 *
 *   events (bytes into windows) → inboxes → batches due → groups of commands → timers
 *   → replies out → mailboxes published, sleepers woken → sleep
 *
 * Shards are held only between "inboxes" and "timers", never across a system call: while this
 * worker sends or sleeps, others may borrow its shard. Before it sleeps it says so, and then looks
 * at its inboxes and batches once more; a sender publishes first and then looks at the
 * announcement. One of the two sees the other.
 *
 * Thread: owner. */
#include <errno.h>

#include "away.h"
#include "batch.h"
#include "block.h"
#include "conn.h"
#include "defer.h"
#include "fanout.h"
#include "group.h"
#include "hold.h"
#include "journal.h"
#include "local.h"
#include "meter.h"
#include "observe.h"
#include "pubsub.h"
#include "script.h"
#include "snapshot.h"
#include "splitring/base/check.h"
#include "splitring/base/mem.h"
#include "splitring/io/os.h"
#include "timer.h"
#include "tracking.h"
#include "txn.h"
#include "watch.h"

#define GROUPS_PER_PASS 8u
#define MESSAGES_PER_LOOK 64u
#define FLUSH_GATHER (16u * 1024u) /* unsent bytes that may wait for more of them */
#define SPARE_CAP_MAX (32u * 1024u)
#define SNAPSHOT_LOOK_US 1000 /* for room for its chunks */
#define OUT_CAP_MIN (4u * 1024u)

/* ---- buffers ---- */

void worker_take_buf(struct worker *w, struct buf *out)
{
    if (w->spare_count)
        *out = w->spare_bufs[--w->spare_count];
    else
        buf_reserve(out, OUT_CAP_MIN);
}

void worker_give_buf(struct worker *w, struct buf *buf)
{
    buf->len = 0;
    if (buf->cap && buf->cap <= SPARE_CAP_MAX && w->spare_count < ARRAY_COUNT(w->spare_bufs)) {
        w->spare_bufs[w->spare_count++] = *buf;
        *buf = (struct buf){0};
    } else {
        buf_deinit(buf);
    }
}

/* ---- shards ---- */

bool worker_lend_dice(struct worker *w)
{
    return likely(w->hub->lend_percent >= 100) || rng_below(&w->rng, 100) < w->hub->lend_percent;
}

static void holds_now(struct worker *w, shard_id s)
{
    holder_note(&w->hub->holders[s], w->id);
    w->held |= 1u << s;
    journal_saw_shard(w, s);
}

bool worker_hold_try(struct worker *w, shard_id s)
{
    if (worker_holds(w, s)) return true;
    struct holder *h = &w->hub->holders[s];
    if (s == w->id ? !holder_try_own(h) : !(worker_lend_dice(w) && holder_try(h))) return false;
    holds_now(w, s);
    return true;
}

bool worker_hold(struct worker *w, shard_id s)
{
    if (worker_holds(w, s)) return true;
    if (s != w->id) return w->hub->lending && worker_hold_try(w, s);
    if (w->held) { /* others are held: waiting could close a circle */
        if (holder_try_own(w->holder)) {
            holds_now(w, s);
            return true;
        }
        worker_unhold_all(w);
    }
    holder_take(w->holder, w->hub->pause);
    holds_now(w, s);
    return true;
}

unsigned worker_wait_free(struct worker *w, shard_id s, unsigned spins)
{
    const struct holder *h = &w->hub->holders[s];
    for (; spins < w->hold_spins && !holder_is_free(h); spins++) w->hub->pause(0);
    /* Waiting in vain (its holder was descheduled) makes the next wait shorter. */
    if (spins < w->hold_spins)
        w->hold_spins += w->hold_spins < HOLD_SPINS_MAX;
    else if (w->hold_spins > HOLD_SPINS_MIN)
        w->hold_spins /= 2;
    return spins + 1;
}

/* In ascending order, so that of two workers that want the same shards one gets them all. False:
 * gave up at one that somebody touches (*busy). */
static bool hold_ascending(struct worker *w, uint32_t mask, shard_id *busy)
{
    for (; mask; mask &= mask - 1) {
        *busy = (shard_id)__builtin_ctz(mask);
        if (!worker_hold_try(w, *busy)) return false;
    }
    return true;
}

/* Somebody else's hold lasts for one batch, some microseconds: waiting so long, holding nothing, is
 * cheaper than messages (which cost both sides a run for each change of shard). A holder that was
 * descheduled is not waited for. */
bool worker_hold_all(struct worker *w, uint32_t mask, bool may_send)
{
    shard_id busy = 0;
    for (unsigned spins = 0; !hold_ascending(w, mask, &busy);) {
        if (spins >= w->hold_spins || defer_missing(w) >> busy & 1u) return false;
        worker_unhold_all(w);
        bool sent = false;
        if (may_send && !list_empty(&w->dirty)) { /* replies of earlier groups: time well spent */
            worker_publish_mail(w);
            sent = worker_flush(w);
        }
        if (!sent) spins = worker_wait_free(w, busy, spins);
    }
    return true;
}

/* What others have to know who look for a shard that can give memory back. */
static void publish_candidate(struct worker *w, struct shard *shard, struct shard_published *pub)
{
    counter_set(&pub->evict_score, shard_evict_score(shard, &w->budget.policy));
    counter_set(&pub->evict_order, evict_order_of(&w->budget.policy));
}

void worker_publish_shard(struct worker *w, shard_id s)
{
    struct shard *shard = w->hub->shards[s];
    struct shard_published *pub = &w->hub->shard_published[s];
    const struct shard_stats *stats = shard_stats_of(shard);
    counter_set(&pub->bytes, stats->bytes);
    counter_set(&pub->unlinked, stats->unlinked);
    counter_set(&pub->evicted, stats->evicted);
    if (unlikely(w->budget.limit)) publish_candidate(w, shard, pub);
    counter_set(&pub->hits, stats->hits);
    counter_set(&pub->misses, stats->misses);
    counter_set(&pub->expired, stats->expired);
    counter_set(&pub->expired_fields, stats->expired_fields);
    counter_set(&pub->lazyfreed, stats->lazyfreed);
    counter_set(&pub->lazyfree_pending, stats->lazyfree_pending);
    uint64_t expiry_before = counter_get(&pub->expiry_min);
    counter_set(&pub->expiry_min, (uint64_t)shard_expiry_min(shard));
    uint64_t expiry = counter_get(&pub->expiry_min);
    /* Work that only the owner does, and for which it may sleep too long. */
    bool sooner = expiry < expiry_before && expiry < counter_get(&pub->owner_wakes_at);
    if (s != w->id && (sooner || stats->lazyfree_pending)) worker_wake(w, s);
    for (db_id db = 0; db < w->hub->databases; db++) {
        if (!(w->touched_dbs >> (db < 31 ? db : 31))) break; /* none of the rest */
        if (!(w->touched_dbs >> (db < 31 ? db : 31) & 1u)) continue;
        counter_set(&pub->keys[db], shard_db_keys(shard, db));
        counter_set(&pub->expires[db], shard_db_expires(shard, db));
    }
}

void worker_unhold(struct worker *w, shard_id s)
{
    if (!worker_holds(w, s)) return;
    struct locks *locks = w->hub->locks[s];
    if (unlikely(locks_active(locks))) locks_run_granted(locks, w);
    if (likely(!(w->hub->faults & FAULT_PUSH_UNHELD))) push_flush(w);
    if (w->touched_shards >> s & 1u) {
        worker_publish_shard(w, s);
        w->touched_shards &= ~(1u << s);
        if (!w->touched_shards) w->touched_dbs = 0;
    }
    w->held &= ~(1u << s);
    if (s == w->id)
        holder_offer(w->holder);
    else
        holder_return(&w->hub->holders[s]);
    if (unlikely(w->hub->faults & FAULT_PUSH_UNHELD)) {
        if (w->hub->preempt) w->hub->preempt(w->hub->preempt_ctx);
        push_flush(w);
    }
}

void worker_unhold_all(struct worker *w)
{
    if (unlikely(w->hub->faults & FAULT_OFFER_UNHELD)) holder_offer_unheld(w->holder);
    while (w->held) worker_unhold(w, (shard_id)__builtin_ctz(w->held));
}

/* ---- messages ---- */

void worker_send(struct worker *w, worker_id to, uint32_t kind, void *ptr)
{
    mailbox_send(hub_mail(w->hub, w->id, to), (struct message){kind, w->id, ptr});
    counter_add(&w->pub->messages_out, 1);
}

bool worker_has_room(struct worker *w, uint32_t mask)
{
    if (unlikely(w->hub->faults & FAULT_FULL_BLOCKS)) return true;
    for (mask &= ~(1u << w->id); mask; mask &= mask - 1)
        if (!mailbox_has_room(hub_mail(w->hub, w->id, (worker_id)__builtin_ctz(mask))))
            return false;
    return true;
}

void worker_wake(struct worker *w, worker_id to)
{
    if (!sleep_wants_wake_shared(hub_sleeping(w->hub, to))) return;
    counter_add(&w->pub->wakes, 1);
    io_wake_shared(w->hub->workers[to]->io);
}

static void handle(struct worker *w, struct message m)
{
    switch ((enum message_kind)m.kind) {
    case MSG_BATCH: batch_arrived(w, m.ptr); break;
    case MSG_BATCH_DONE: batch_done(w, m.ptr); break;
    case MSG_TXN_TRY:
    case MSG_TXN_LOCK:
    case MSG_TXN_WRITE:
    case MSG_TXN_RELEASE:
    case MSG_TXN_REGISTER:
        worker_hold(w, w->id);
        txn_hop(w, m.kind, m.ptr);
        break;
    case MSG_WAITER_SERVED: block_on_served(w, m.ptr); break;
    case MSG_WAITER_WOKEN: block_on_woken(w, m.ptr); break;
    case MSG_WAITER_LEFT: block_on_left(w, m.ptr); break;
    case MSG_WAITER_FORGET:
        worker_hold(w, w->id);
        block_on_forget(w, m.ptr);
        break;
    case MSG_TXN_ANSWER: txn_answered(w, m.ptr); break;
    case MSG_UNWATCH:
        worker_hold(w, w->id);
        watch_on_forget(w, m.ptr);
        break;
    case MSG_FANOUT_ORDER: fanout_order(w, m.ptr); break;
    case MSG_FANOUT: fanout_part(w, m.ptr); break;
    case MSG_FANOUT_DONE: fanout_part_done(w, m.ptr); break;
    case MSG_TRACKING_BROKEN: tracking_on_broken(w, (uintptr_t)m.ptr); break;
    case MSG_SUBSCRIPTION:
        worker_hold(w, w->id);
        pubsub_part_run(w, m.ptr);
        break;
    case MSG_SOCKET: local_adopt_socket(w, (uintptr_t)m.ptr); break;
    case MSG_SOCKET_TLS: local_adopt_tls(w, m.ptr); break;
    case MSG_CONN: conn_adopt(w, m.ptr); break;
    default: check(false);
    }
}

/* Lock traffic and answers are taken as they come: inboxes are FIFO, one after another. */
static bool drain(struct worker *w)
{
    unsigned taken = 0;
    for (worker_id from = 0; from < w->hub->count; from++) {
        struct message m;
        struct mailbox *box = hub_mail(w->hub, from, w->id);
        for (unsigned n = 0; n < MESSAGES_PER_LOOK && mailbox_receive(box, &m); n++) {
            handle(w, m);
            taken++;
        }
    }
    if (!taken) return false;
    counter_add(&w->pub->messages_in, taken);
    if (taken > counter_get(&w->pub->inbox_max)) counter_set(&w->pub->inbox_max, taken);
    if (journal_on(w->hub)) journal_saw_all(w);
    return true;
}

static bool inbox_empty(const struct worker *w)
{
    for (worker_id from = 0; from < w->hub->count; from++)
        if (!mailbox_empty(hub_mail(w->hub, from, w->id))) return false;
    return push_idle(w);
}

/* True while something could not be published yet. */
bool worker_publish_mail(struct worker *w)
{
    bool pending = push_publish(w);
    if (unlikely(w->journal_given)) journal_publish(w);
    for (worker_id to = 0; to < w->hub->count; to++) {
        struct mailbox *box = hub_mail(w->hub, w->id, to);
        if (mailbox_publish(box)) worker_wake(w, to);
        pending |= mailbox_pending(box);
    }
    return pending;
}

/* ---- events ---- */

static void on_event(struct worker *w, const struct io_event *ev)
{
    if (unlikely(!list_empty(&w->aways)) && away_on_event(w, ev)) return;
    switch (ev->kind) {
    case IO_EV_ACCEPTED: local_accept(w, ev->fd, worker_listener_kind(w, ev->owner)); break;
    case IO_EV_RECEIVED: conn_on_received(ev->owner, ev->ptr, ev->len); break;
    case IO_EV_CLOSED: conn_on_closed(ev->owner, ev->error); break;
    case IO_EV_WRITABLE: conn_on_writable(ev->owner); break;
    case IO_EV_RELEASED:
        if (worker_owns_listener(w, ev->owner))
            w->stop_listeners--;
        else
            conn_on_released(ev->owner, ev->fd);
        break;
    case IO_EV_ACCEPT_FAILED: break;
    }
}

static void unstall(struct worker *w)
{
    struct list *link;
    while ((link = list_pop_front(&w->stalled)) != NULL) list_push_back(&w->ready, link);
}

/* What is left of receive buffers when the pass ends. */
static void keep_inputs(struct worker *w)
{
    LIST_FOREACH_SAFE(link, next, &w->ready)
        conn_keep_input(CONTAINER_OF(link, struct conn, ready_link));
}

/* A connection that has more to run in the next pass will have more to send then. */
static bool worth_gathering(const struct conn *c)
{
    return c->flags & CONN_READY && c->out.len - c->out_sent < FLUSH_GATHER;
}

bool worker_flush(struct worker *w)
{
    struct list *link, later;
    uint64_t writes = 0;
    list_init(&later);
    while ((link = list_pop_front(&w->dirty)) != NULL) {
        struct conn *c = CONTAINER_OF(link, struct conn, dirty_link);
        if (worth_gathering(c)) {
            list_push_back(&later, link);
            continue;
        }
        c->flags &= ~(uint32_t)CONN_DIRTY;
        conn_flush(c);
        writes++;
    }
    while ((link = list_pop_front(&later)) != NULL) list_push_back(&w->dirty, link);
    counter_add(&w->pub->writes, writes);
    return writes != 0;
}

/* ---- the pass ---- */

/* Work of a pass; true if there is more that waits for nothing. */
static bool work(struct worker *w)
{
    bool more = unlikely(persist_due(w)) && persist_step_slow(w);
    observe_step(w);
    hold_step(w);
    more |= drain(w);
    more |= push_deliver(w); /* before this pass' replies */
    more |= batch_poll(w);
    more |= txn_run_local(w);
    worker_unhold_all(w);
    if (!list_empty(&w->stalled)) unstall(w);
    if (!list_empty(&w->deferred)) defer_step(w);
    script_waits_over(w);
    more |= group_run_all(w, GROUPS_PER_PASS);
    more |= txn_run_local(w);
    worker_unhold_all(w);
    if (unlikely(!list_empty(&w->possess))) more |= !txn_run_held(w);
    if (unlikely(!list_empty(&w->script_jobs))) more |= script_step(w);
    more |= timer_run(w);
    if (unlikely(snapshot_due(w))) more |= snapshot_step(w);
    worker_unhold_all(w);
    pubsub_step(w);
    tracking_start(w);
    more |= push_deliver(w);
    tracking_broadcast(w);
    keep_inputs(w);
    more |= worker_publish_mail(w); /* remote work starts before this worker's sends */
    worker_flush(w);
    if (unlikely(w->client_memory.limit != 0)) more |= client_memory_step_slow(w);
    if (unlikely(w->balance_due)) worker_balance(w);
    more |= !list_empty(&w->local_answers) || !list_empty(&w->local_hops) || !list_empty(&w->ready);
    return worker_publish_mail(w) || more;
}

/* A borrower lowered the shard's expiry after the time to sleep was fixed. */
static bool expiry_is_nearer(const struct worker *w)
{
    const struct shard_published *pub = &w->hub->shard_published[w->id];
    return counter_get(&pub->expiry_min) < w->expiry_seen;
}

/* The time to sleep was fixed before: a snapshot has begun since. */
static bool cut_was_made(const struct worker *w)
{
    return unlikely(snapshot_due(w)) && !w->snapshot_seen;
}

/* After announcing: is there anything after all? */
static bool must_not_sleep(struct worker *w)
{
    if (w->hub->faults & FAULT_NO_WAKE_CHECK) return false;
    bool due = !inbox_empty(w) || batch_due(w) || expiry_is_nearer(w) || hold_due(w) ||
               cut_was_made(w) ||
               (hub_stopping_shared(w->hub) && !w->stopping);
    worker_unhold_all(w);
    return due;
}

static int64_t sleep_us(struct worker *w, int64_t sleep_us_max)
{
    int64_t until = timer_next_us(w);
    if (w->stopping && (until < 0 || until > 1000)) until = 1000;
    bool soon = !list_empty(&w->stalled) || !list_empty(&w->possess) || !list_empty(&w->stills) ||
                (w->loader && load_waits(w));
    bool waits = !list_empty(&w->script_waits);
    if (waits && (until < 0 || until > SCRIPT_WAIT_US)) until = SCRIPT_WAIT_US;
    if (soon && (until < 0 || until > STALL_US)) until = STALL_US;
    int64_t look = defer_next_us(w);
    if (look >= 0 && (until < 0 || until > look)) until = look;
    int64_t wait = hold_next_us(w);
    if (unlikely(wait >= 0) && (until < 0 || until > wait)) until = wait;
    w->snapshot_seen = snapshot_due(w);
    if (unlikely(w->snapshot_seen) && (until < 0 || until > SNAPSHOT_LOOK_US))
        until = SNAPSHOT_LOOK_US;
    bool again = w->budget.again || w->client_memory.again;
    if (unlikely(again) && (until < 0 || until > 1000)) until = 1000;
    if (unlikely(tracking_claimed(w)) && (until < 0 || until > 1000)) until = 1000;
    if (sleep_us_max >= 0 && (until < 0 || until > sleep_us_max)) until = sleep_us_max;
    return until;
}

/* Many connections at pipeline 1: waiting a little for more of them saves passes (FIGURES section
 * 2). Only when recent passes carried many; one or few connections never wait. */
static void batch_wait(struct worker *w, struct io_wait *wait)
{
    if (w->recent_ready < 8 * 16) return;
    wait->batch = w->recent_ready / 16 < 64 ? w->recent_ready / 16 : 64;
    wait->min_wait_us = 50;
}

bool worker_step(struct worker *w, instant_us unix_us, int64_t mono_us, int64_t sleep_us_max)
{
    if (w->stopped) return false;
    if (unlikely(w->hub->faults & FAULT_FULL_BLOCKS) && worker_publish_mail(w)) return true;
    w->now_us = unix_us;
    w->now = unix_us / 1000;
    w->mono_us = mono_us;
    w->misconf = unlikely(counter_get(&w->hub->persist.save_failed)) &&
                 w->config->stop_writes_on_bgsave_error && w->config->save.count;
    if (work(w)) sleep_us_max = 0;
    if (hub_stopping_shared(w->hub) && worker_stop_step(w)) return false;
    struct io_wait wait = {.timeout_us = sleep_us_max == 0 ? 0 : sleep_us(w, sleep_us_max)};
    bool announced = false;
    bool others = w->hub->count > 1 || journal_on(w->hub); /* who may wake it */
    if (wait.timeout_us != 0 && others) {
        if (unlikely(w->hub->preempt)) w->hub->preempt(w->hub->preempt_ctx);
        announced = true;
        sleep_announce(hub_sleeping(w->hub, w->id));
        if (must_not_sleep(w)) wait.timeout_us = 0;
    } else if (w->hub->count == 1 && !inbox_empty(w)) {
        wait.timeout_us = 0; /* nobody else sends, but it may have sent itself something */
    }
    if (wait.timeout_us != 0) {
        batch_wait(w, &wait);
        counter_add(&w->pub->sleeps, 1);
    }
    w->busy_us += os_mono_us() - mono_us;
    int count = io_wait(w->io, w->events, EVENTS_MAX, &wait);
    if (announced) sleep_over(hub_sleeping(w->hub, w->id));
    check(count >= 0);
    uint64_t reads = 0;
    w->meter.pass = meter_ticks(w);
    for (int i = 0; i < count; i++) {
        reads += w->events[i].kind == IO_EV_RECEIVED;
        on_event(w, &w->events[i]);
    }
    counter_add(&w->pub->reads, reads);
    w->recent_ready = (w->recent_ready * 7 + (unsigned)count * 16) / 8;
    counter_add(&w->pub->passes, 1);
    return true;
}

bool worker_idle(const struct worker *w)
{
    for (worker_id to = 0; to < w->hub->count; to++)
        if (mailbox_pending(hub_mail(w->hub, w->id, to))) return false;
    return inbox_empty(w) && pubsub_idle(w) && tracking_idle(w) && list_empty(&w->ready) &&
           list_empty(&w->stalled) && list_empty(&w->deferred) && list_empty(&w->dirty) &&
           list_empty(&w->local_hops) && list_empty(&w->local_answers) &&
           list_empty(&w->local_releases) && list_empty(&w->possess) && list_empty(&w->stills) &&
           list_empty(&w->script_jobs) && list_empty(&w->script_waits) &&
           list_empty(&w->holding) && list_empty(&w->log_waits);
}
