/* maxmemory: admission and eviction over all shards.
 *
 *   a group begins ──▶ sum over all shards (published) ──▶ room / (4 × shards) is leased to each
 *   a growing command at its turn:
 *     its shards are within their leases ──▶ it runs              (one comparison for each shard)
 *     else the exact sum ──▶ below the limit: it runs
 *                        └─▶ above: evict until it is not, or the slice is over ──▶ it runs
 *                                    └─▶ nothing can be evicted anywhere: OOM
 *
 * The sum is of what shards' holders publish when they give them back, of the live counters of the
 * shards this worker holds itself, and of what the workers publish about clients, scripts and the
 * like. Leases get smaller with the room that is left and end LEASE_MIN before the limit, where
 * every growing command looks at the sum. They bound what a group may add between two looks, so a
 * pipeline of SETBITs cannot run far ahead of the limit.
 *
 * Who evicts is not who grew: the shard whose best candidate is the best of all, by the scores that
 * holders publish (evict.h). It can nearly always be borrowed at once, or after some microseconds.
 * While it is in use for longer, its holder is running and looks at the budget itself in this very
 * pass; only when who grows has an excess beyond SLACK_… the next best shard evicts instead. At the
 * end of a pass every worker looks once
 * more and does not sleep for long while there is an excess that somebody could remove: at rest
 * `used <= limit`.
 *
 * Evictions come before a command, EXEC, script or transaction, never inside. A command over
 * several shards is admitted once, by its coordinator; parts that run elsewhere are not asked.
 *
 * What is unlinked and only waits to be freed counts for used_memory but not here: evicting more
 * would not free it sooner.
 *
 * Thread: owner. */
#include "budget.h"

#include "block.h"
#include "conn.h"
#include "exec.h"
#include "latency.h"
#include "multi.h"
#include "script.h"
#include "splitring/io/os.h"
#include "stats.h"

#define LEASE_MIN ((uint64_t)256 << 10)  /* less room than this: every growing command is judged */
#define SLACK_MIN ((uint64_t)128 << 10)  /* excess that is left to the best shard's holder: */
#define SLACK_SHARE 64u                  /* … this, and this share of the limit */
#define LOOK_ONLY (EVICT_UNKNOWN - 1)    /* a score that no candidate has */
#define CLOCK_EVERY 8u                   /* evictions between two looks at the clock */

uint64_t budget_limit(const struct hub *hub, const struct config *c)
{
    if (c->maxmemory >= 0) return (uint64_t)c->maxmemory;
    return hub->memory_total / 100 * (uint64_t)-c->maxmemory;
}

void budget_config(struct worker *w)
{
    static const struct {
        enum evict_order order;
        bool volatile_only;
    } policies[] = {
        [CONFIG_POLICY_VOLATILE_LRU] = {EVICT_LRU, true},
        [CONFIG_POLICY_VOLATILE_LFU] = {EVICT_LFU, true},
        [CONFIG_POLICY_VOLATILE_TTL] = {EVICT_TTL, true},
        [CONFIG_POLICY_VOLATILE_RANDOM] = {EVICT_RANDOM, true},
        [CONFIG_POLICY_ALLKEYS_LRU] = {EVICT_LRU, false},
        [CONFIG_POLICY_ALLKEYS_LFU] = {EVICT_LFU, false},
        [CONFIG_POLICY_ALLKEYS_RANDOM] = {EVICT_RANDOM, false},
    };
    const struct config *c = w->config;
    struct budget *b = &w->budget;
    b->limit = budget_limit(w->hub, c);
    counter_set(&w->pub->memory_limit, b->limit);
    b->evicts = c->maxmemory_policy != CONFIG_POLICY_NOEVICTION;
    b->lease = 0;
    b->policy = (struct evict_policy){.lazy = c->lazyfree_eviction,
                                      .samples = (unsigned)c->maxmemory_samples,
                                      .order = policies[c->maxmemory_policy].order,
                                      .volatile_only = policies[c->maxmemory_policy].volatile_only};
    /* As Redis: 500 µs at 10, 2 minutes at 99, and no end at 100. */
    int tenacity = c->maxmemory_eviction_tenacity;
    double slice_us = 50.0 * tenacity;
    if (tenacity > 10) slice_us = 500;
    for (int i = 10; i < tenacity; i++) slice_us *= 1.15;
    b->slice_us = tenacity >= 100 ? INT64_MAX : (int64_t)slice_us;
}

/* ---- the sum ---- */

uint64_t budget_used(const struct hub *hub)
{
    struct stats_memory memory;
    stats_memory_now(hub, &memory);
    return memory.used - memory.not_counted;
}

/* With the live counters of the shards that are held. */
static uint64_t used_exactly(const struct worker *w)
{
    uint64_t used = budget_used(w->hub);
    for (uint32_t m = w->held & w->touched_shards; m; m &= m - 1) {
        unsigned s = (unsigned)__builtin_ctz(m);
        const struct shard_published *pub = &w->hub->shard_published[s];
        used += shard_bytes_counted(w->hub->shards[s]);
        used -= counter_get(&pub->bytes) - counter_get(&pub->unlinked);
    }
    return used;
}

static void lease(struct worker *w, uint64_t used)
{
    struct budget *b = &w->budget;
    uint64_t room = used < b->limit ? b->limit - used : 0;
    b->lease = room > LEASE_MIN ? (room - LEASE_MIN) / (4 * w->hub->count) : 0;
    if (!b->lease) return;
    for (shard_id s = 0; s < w->hub->count; s++) {
        const struct shard_published *pub = &w->hub->shard_published[s];
        uint64_t counted = counter_get(&pub->bytes) - counter_get(&pub->unlinked);
        if (worker_holds(w, s)) counted = shard_bytes_counted(w->hub->shards[s]);
        b->leases[s] = counted + b->lease;
    }
}

void budget_begin_slow(struct worker *w) { lease(w, used_exactly(w)); }

static bool within_leases(const struct worker *w, uint32_t mask)
{
    if (!w->budget.lease) return false;
    for (uint32_t m = mask & w->held; m; m &= m - 1) {
        unsigned s = (unsigned)__builtin_ctz(m);
        if (shard_bytes_counted(w->hub->shards[s]) > w->budget.leases[s]) return false;
    }
    return true;
}

/* ---- who evicts ---- */

static uint64_t eligible(const struct worker *w, shard_id s)
{
    const struct shard_published *pub = &w->hub->shard_published[s];
    if (worker_holds(w, s)) return shard_evict_eligible(w->hub->shards[s], &w->budget.policy);
    counter *by_db = w->budget.policy.volatile_only ? pub->expires : pub->keys;
    uint64_t sum = 0;
    for (uint32_t db = 0; db < w->hub->databases; db++) sum += counter_get(&by_db[db]);
    return sum;
}

static uint64_t score(const struct worker *w, shard_id s)
{
    if (worker_holds(w, s)) return shard_evict_score(w->hub->shards[s], &w->budget.policy);
    const struct shard_published *pub = &w->hub->shard_published[s];
    /* Its holder has not learnt of maxmemory, or of this policy, yet. */
    if (counter_get(&pub->evict_order) != evict_order_of(&w->budget.policy)) return EVICT_UNKNOWN;
    return counter_get(&pub->evict_score);
}

/* Random policies: shards are drawn by how many keys they could give. */
static int draw(struct worker *w, uint32_t untried)
{
    uint64_t all = 0;
    for (uint32_t m = untried; m; m &= m - 1) all += eligible(w, (shard_id)__builtin_ctz(m));
    if (!all) return -1;
    uint64_t nth = rng_below(&w->rng, all);
    for (uint32_t m = untried; m; m &= m - 1) {
        uint64_t here = eligible(w, (shard_id)__builtin_ctz(m));
        if (nth < here) return __builtin_ctz(m);
        nth -= here;
    }
    return __builtin_ctz(untried);
}

/* The shard with the best candidate, -1: none has any. A shard that has not looked yet comes first.
 * *next: the score of the second best. */
static int best_shard(struct worker *w, uint32_t untried, uint64_t *next)
{
    int best = -1;
    uint64_t best_score = 0, tied = 0;
    *next = 0;
    if (w->budget.policy.order == EVICT_RANDOM) return draw(w, untried);
    for (uint32_t m = untried; m; m &= m - 1) {
        shard_id s = (shard_id)__builtin_ctz(m);
        uint64_t keys = eligible(w, s), here = keys ? score(w, s) : 0;
        if (here > best_score) {
            *next = best_score;
            best = s;
            best_score = here;
            tied = keys;
        } else if (here > *next) {
            *next = here;
        }
        if (here && here == best_score && best != s) { /* as if they were one shard's */
            tied += keys;
            if (rng_below(&w->rng, tied) < keys) best = s;
        }
    }
    return best;
}

enum evicted { EVICTED, EVICTED_NOTHING, EVICTED_ELSEWHERE };

/* Waits a little while others are held, as scripts do (script.c, reach_out): bounded. */
static bool can_have(struct worker *w, shard_id s)
{
    if (worker_holds(w, s)) return true;
    if (s != w->id && !w->hub->lending) return false;
    for (unsigned spins = 0; !worker_hold_try(w, s);) {
        if (spins >= w->hold_spins) return false;
        spins = worker_wait_free(w, s, spins);
    }
    return true;
}

/* Each eviction also samples in one other shard, in turn: a shard whose pool has not been looked at
 * for long would seem to have worse candidates than it has. */
static void look_elsewhere(struct worker *w)
{
    shard_id s = w->budget.turn = (shard_id)((w->budget.turn + 1) % w->hub->count);
    bool may = worker_holds(w, s) || s == w->id || w->hub->lending;
    if (w->budget.policy.order == EVICT_RANDOM || !may || !worker_hold_try(w, s)) return;
    worker_touched(w, s, 0);
    (void)shard_evict(w->hub->shards[s], &w->budget.policy, LOOK_ONLY, w->now, &w->expire_sink);
}

/* One key of the best shard; where that cannot be had, its holder is at it, or will be (ELSEWHERE),
 * unless the excess is too large to wait: then one of the next best. */
static enum evicted evict_one(struct worker *w, uint64_t excess, uint64_t slack)
{
    uint32_t untried = hub_all_shards(w->hub);
    bool others = false;
    if (w->hub->count > 1) look_elsewhere(w);
    for (unsigned tries = 0;; tries++) {
        uint64_t next;
        int best = untried ? best_shard(w, untried, &next) : -1;
        if (best < 0) return others ? EVICTED_ELSEWHERE : EVICTED_NOTHING;
        shard_id s = (shard_id)best;
        if (!can_have(w, s)) {
            others = true;
            untried &= ~(1u << s);
            if (s != w->id) worker_wake(w, s);
            if (excess <= slack) return EVICTED_ELSEWHERE;
            continue;
        }
        worker_touched(w, s, DBS_ALL);
        uint64_t least = tries < 2 * w->hub->count ? next : 0;
        if (least == EVICT_UNKNOWN) least = LOOK_ONLY; /* look there first */
        enum evict_outcome outcome =
            shard_evict(w->hub->shards[s], &w->budget.policy, least, w->now, &w->expire_sink);
        if (outcome == EVICT_DONE) return EVICTED;
        if (outcome == EVICT_NOTHING || outcome == EVICT_LOCKED) untried &= ~(1u << s);
        others |= outcome == EVICT_LOCKED; /* who has the locks is about to run */
    }
}

/* Until enough is free, or the slice is over. What was borrowed for it goes back. */
static enum evicted evict_slice(struct worker *w, uint64_t slack)
{
    struct budget *b = &w->budget;
    uint32_t before = w->held;
    int64_t start_us = os_mono_us();
    enum evicted outcome = EVICTED;
    for (unsigned n = 1;; n++) {
        uint64_t used = used_exactly(w);
        if (used <= b->limit) break;
        outcome = evict_one(w, used - b->limit, slack);
        if (outcome != EVICTED) break;
        if (n % CLOCK_EVERY == 0 && os_mono_us() - start_us >= b->slice_us) break;
    }
    latency_note(w, LATENCY_EVICTION_CYCLE, (uint64_t)(os_mono_us() - start_us) * 1000);
    for (uint32_t extra = w->held & ~before; extra; extra &= extra - 1) {
        shard_id s = (shard_id)__builtin_ctz(extra);
        block_serve(w, s);
        worker_unhold(w, s);
    }
    for (uint32_t m = w->held; m; m &= m - 1) block_serve(w, (shard_id)__builtin_ctz(m));
    return outcome;
}

/* ---- admission ---- */

static bool asleep(const struct worker *w)
{
    return w->pause.until > w->now || w->loading;
}

/* There is room now, or will be. */
static bool make_room(struct worker *w)
{
    uint64_t used = used_exactly(w);
    if (used > w->budget.limit && asleep(w)) return true;
    enum evicted outcome = EVICTED;
    if (used > w->budget.limit) {
        if (!w->budget.evicts) return false;
        outcome = evict_slice(w, SLACK_MIN + w->budget.limit / SLACK_SHARE);
        used = used_exactly(w);
    }
    lease(w, used);
    return used <= w->budget.limit || outcome != EVICTED_NOTHING;
}

/* What Redis calls CMD_DENYOOM: of scripts, their flags say it; what is queued takes memory. */
static bool denied_without(struct worker *w, const struct op *op)
{
    if (op->shard == OP_QUEUE) return true;
    if (op->shard == OP_EXEC) return op->conn->multi->grows;
    if (script_may(op)) return script_may_not_without_memory(w, op);
    return op->cmd->flags & CMD_DENYOOM;
}

bool budget_admits_slow(struct worker *w, struct op *op)
{
    op->oom = false;
    if (op->shard == OP_ERROR) return true;
    bool denied = denied_without(w, op);
    if (!denied && op->shard != OP_EXEC && !script_may(op)) return true;
    if (within_leases(w, op->mask) || make_room(w)) return true;
    op->oom = true;
    return !denied;
}

bool budget_admits_exec_slow(struct worker *w, const struct exec *x, shard_id s)
{
    if (!(x->cmd->flags & CMD_DENYOOM)) return true;
    /* Whose leases these are depends on when this worker last made some: only their lack counts. */
    if (w->budget.lease && shard_bytes_counted(w->hub->shards[s]) <= w->budget.leases[s])
        return true;
    return make_room(w);
}

/* ---- in the background ---- */

bool budget_step_slow(struct worker *w)
{
    struct budget *b = &w->budget;
    b->again = false;
    uint64_t used = b->limit ? used_exactly(w) : 0;
    if (used <= b->limit) {
        if (b->over_since_us) {
            counter_add(&w->pub->evict_over_us, (uint64_t)(w->mono_us - b->over_since_us));
            b->over_since_us = 0;
            counter_set(&w->pub->evict_over_since_us, 0);
        }
        return false;
    }
    if (!b->evicts || asleep(w)) return false;
    if (!b->over_since_us) {
        b->over_since_us = w->mono_us;
        counter_set(&w->pub->evict_over_since_us, (uint64_t)w->mono_us);
    }
    enum evicted outcome = evict_slice(w, UINT64_MAX);
    b->again = outcome == EVICTED_ELSEWHERE;
    return outcome == EVICTED;
}
