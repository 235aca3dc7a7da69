/* One order for everything that is written down.
 *
 *   handler ──effect──▶ the unit's list ──flush: ticket──▶ the worker's lane ──▶ P: merge ──▶ log
 *                       (shards still held)
 *
 * The rules are those of pushes (push.c): a unit's effects are collected and get one ticket of a
 * shared counter *while its shards are still held*, so tickets of one key are in the order of its
 * holders, and who learns of a write, by message or by reply, takes a later one. Around taking a
 * ticket and appending the worker's `open` word is at most that ticket, so P can tell which tickets
 * are still to come (journal_merge.c).
 *
 * A lane is a linked list without an end: appending never fails and never waits, so nothing that
 * holds a shard or a lock ever waits for the disk. What bounds it is that no write is *started*
 * while many bytes are on their way (journal_crowded).
 *
 * One command is one record; one that states several effects, EXEC, and a script are several
 * records that are marked as belonging together and are wrapped in MULTI … EXEC. A script that has
 * paused keeps its own aside; one that is undone leaves nothing. Commands over several shards do
 * not split while there is a journal (txn.c), so each unit is stated by one worker.
 *
 * Keys that expire state DEL where they are met: before the command that met them, as one with it.
 *
 * Thread: as the face says. */
#include "journal_log.h"

#include "splitring/base/check.h"
#include "splitring/base/mem.h"

#define WAY_BYTES_MAX ((uint64_t)64 << 20) /* of one worker, not yet written */

struct journal *journal_new(uint32_t workers)
{
    struct journal *j = mem_alloc_aligned(sizeof *j, CACHE_LINE);
    size_t len = workers * sizeof *j->lanes;
    memset((void *)j, 0, sizeof *j);
    j->lanes = mem_alloc_aligned(len, CACHE_LINE);
    j->log = mem_zalloc(sizeof *j->log);
    j->log->fd = -1;
    memset((void *)j->lanes, 0, len);
    for (uint32_t i = 0; i < workers; i++) {
        struct journal_lane *lane = &j->lanes[i];
        lane->head = lane->tail = mem_zalloc(sizeof *lane->tail);
        counter_set(&lane->open, JOURNAL_IDLE);
    }
    return j;
}

static struct journal_blob *next_of(const struct journal_blob *b)
{
    return (struct journal_blob *)(uintptr_t)counter_get_acquire_shared(&b->next);
}

void journal_free(struct journal *j, uint32_t workers)
{
    for (uint32_t i = 0; i < workers; i++)
        for (struct journal_blob *b = j->lanes[i].head, *next; b; b = next) {
            next = next_of(b);
            effects_deinit(&b->effects);
            mem_free(b);
        }
    mem_free(j->lanes);
    mem_free(j->log);
    mem_free(j);
}

/* ---- a unit's effects ---- */

void journal_close(struct worker *w, size_t from)
{
    struct effects *e = &w->effects;
    check(w->effects_depth > 0);
    w->effects_depth--;
    if (effects_failed(e)) w->effects_stated = true;
    if (w->effects_depth || e->count <= from) return;
    w->effects_stated = true;
    if (e->count - from < 2) return;
    e->ends[from].opens = true;
    e->ends[e->count - 1].closes = true;
}

/* What has expired stays gone: that is stated whatever becomes of the unit. */
void journal_rewind(struct worker *w, size_t from)
{
    struct effects *e = &w->effects, undone;
    effects_init(&undone);
    for (size_t i = from; i < e->count; i++)
        if (e->ends[i].stays) w->effects_stated = true;
    if (!w->effects_stated) {
        effects_cut(e, from);
        return;
    }
    effects_move(e, from, &undone);
    for (size_t i = 0; i < undone.count; i++)
        if (undone.ends[i].stays) effects_copy(&undone, i, e);
    e->failed |= effects_failed(&undone);
    effects_deinit(&undone);
}

void journal_take(struct worker *w, size_t from, struct effects *kept)
{
    if (w->effects.count > from) effects_move(&w->effects, from, kept);
}

void journal_put(struct worker *w, struct effects *kept)
{
    if (!kept->count && !kept->failed) return;
    effects_move(kept, 0, &w->effects);
    effects_deinit(kept);
}

/* The worker in whose hands the shard is. NULL: nobody wants to know. */
static struct worker *stating(struct hub *hub, const struct shard *shard)
{
    struct worker *w = hub->workers[hub->holders[shard_id_of(shard)].by];
    return journal_on(hub) && !w->effects_mute ? w : NULL;
}

static void state(struct worker *w, db_id db, size_t argc, const struct slice *argv)
{
    db_id before = w->effects.db;
    w->effects.db = db;
    size_t at = w->effects.count;
    effects_add(&w->effects, argc, argv);
    if (w->effects.count > at) w->effects.ends[at].stays = true;
    w->effects.db = before;
    w->effects_stated = true; /* also where no command runs: the sweep */
}

void journal_expired(void *ctx, struct shard *shard, db_id db, struct slice key)
{
    struct worker *w = stating(ctx, shard);
    if (w) state(w, db, 2, (struct slice[]){SLICE("DEL"), key});
}

void journal_field_expired(void *ctx, struct shard *shard, db_id db, struct slice key,
                           struct slice field)
{
    struct worker *w = stating(ctx, shard);
    if (w) state(w, db, 3, (struct slice[]){SLICE("HDEL"), key, field});
}

/* ---- tickets ---- */

/* Thread: the lane's worker. */
static uint64_t append(struct worker *w, struct journal_blob *b)
{
    struct hub *hub = w->hub;
    struct journal_lane *lane = &hub->journal->lanes[w->id];
    uint64_t bytes = b->effects.bytes.len;
    counter_set(&lane->open, lane->last_ticket + 1);
    uint64_t ticket = b->ticket = lane->last_ticket = counter_next_shared(&hub->journal->tickets);
    if (unlikely(hub->preempt)) hub->preempt(hub->preempt_ctx);
    counter_add(&lane->given_bytes, bytes);
    counter_set_release(&lane->tail->next, (uintptr_t)b);
    lane->tail = b; /* P frees it only when there is a next one */
    counter_set_release(&lane->open, JOURNAL_IDLE);
    w->journal_given = true;
    w->hold = ticket;
    return ticket;
}

void journal_flush(struct worker *w)
{
    bool failed = effects_failed(&w->effects);
    w->effects_stated = false;
    dcheck(w->effects_depth == 0);
    if (!w->effects.count && !failed) return;
    struct journal_blob *b = mem_zalloc(sizeof *b);
    b->kind = failed ? JOURNAL_LOST : JOURNAL_EFFECTS;
    b->effects = w->effects;
    effects_init(&w->effects);
    uint64_t ticket = append(w, b);
    for (uint32_t held = w->held; held; held &= held - 1)
        w->hub->shard_tickets[__builtin_ctz(held)].ticket = ticket;
}

void journal_state_now(struct worker *w)
{
    unsigned depth = w->effects_depth;
    w->effects_depth = 0;
    journal_flush(w);
    w->effects_depth = depth;
}

void journal_turn_take(struct hub *hub)
{
    for (unsigned spins = 0; !claim_try_shared(&hub->journal->turn, 0, 1); spins++)
        hub->pause(spins);
}

void journal_turn_give(struct hub *hub)
{
    check(claim_try_shared(&hub->journal->turn, 1, 0));
}

uint64_t journal_mark(struct worker *w, enum journal_kind kind)
{
    if (w->effects_stated) journal_flush(w);
    struct journal_blob *b = mem_zalloc(sizeof *b);
    b->kind = kind;
    return append(w, b);
}

void journal_publish(struct worker *w)
{
    struct hub *hub = w->hub;
    w->journal_given = false;
    w->journal_crowded = journal_crowded(w);
    if (!counter_get(&hub->journal->dozing)) persister_wake_shared(&hub->persister);
}

bool journal_crowded(const struct worker *w)
{
    const struct journal_lane *lane = &w->hub->journal->lanes[w->id];
    return counter_get(&lane->given_bytes) - counter_get(&lane->taken_bytes) > WAY_BYTES_MAX;
}

uint64_t journal_lag_bytes(const struct hub *hub)
{
    uint64_t sum = counter_get(&hub->journal->log->buffered);
    for (worker_id w = 0; w < hub->count; w++) {
        const struct journal_lane *lane = &hub->journal->lanes[w];
        uint64_t taken = counter_get(&lane->taken_bytes), given = counter_get(&lane->given_bytes);
        if (given > taken) sum += given - taken; /* they are read one after the other */
    }
    return sum;
}

void journal_saw_all(struct worker *w)
{
    uint64_t ticket = counter_get_acquire_shared(&w->hub->journal->tickets);
    if (unlikely(w->hub->faults & FAULT_HOLD_OWN)) return;
    if (ticket > w->hold) w->hold = ticket;
}

void journal_switch(struct hub *hub, bool on)
{
    struct expire_sink sink = worker_expire_sink(hub);
    counter_set(&hub->journaling, on);
    for (shard_id s = 0; s < hub->count; s++)
        shard_set_expire_sink(hub->shards[s], on ? &sink : NULL);
}

/* ---- merging ---- */

void journal_look(struct hub *hub, struct journal_view *view)
{
    struct journal *j = hub->journal;
    view->below = JOURNAL_IDLE;
    view->last = counter_get_acquire_shared(&j->tickets);
    for (worker_id i = 0; i < hub->count; i++) {
        if (unlikely(hub->preempt)) hub->preempt(hub->preempt_ctx);
        uint64_t open = counter_get_acquire_shared(&j->lanes[i].open);
        if (open < view->below) view->below = open;
    }
    if (view->last < view->below) view->below = view->last + 1;
    if (unlikely(hub->faults & FAULT_MERGE_NO_BOUND)) view->below = JOURNAL_IDLE;
    if (unlikely(hub->preempt)) hub->preempt(hub->preempt_ctx);
    for (worker_id i = 0; i < hub->count; i++) view->heads[i] = next_of(j->lanes[i].head);
}

struct journal_blob *journal_next(struct hub *hub, struct journal_view *view)
{
    struct journal_blob *first = NULL;
    for (worker_id i = 0; i < hub->count; i++) {
        struct journal_blob *b = view->heads[i];
        if (!b || (first && first->ticket < b->ticket)) continue;
        first = b;
        view->from = i;
    }
    return first && first->ticket < view->below ? first : NULL;
}

void journal_taken(struct hub *hub, struct journal_view *view)
{
    struct journal_lane *lane = &hub->journal->lanes[view->from];
    struct journal_blob *b = view->heads[view->from];
    counter_add(&lane->taken_bytes, b->effects.bytes.len);
    effects_deinit(&b->effects);
    mem_free(lane->head);
    lane->head = b;
    view->heads[view->from] = next_of(b);
}
