/* Random requests against an oracle that knows only the rule: "a request is held when nothing that
 * arrived before it, and is still there, conflicts with it". It scans all that arrived earlier. */
#include <criterion/criterion.h>

#include "splitring/base/list.h"
#include "splitring/base/rng.h"
#include "splitring/tx/locks.h"

#define LIVE_MAX 24u
#define KEYS 6u
#define KEYS_OF_ONE 8u /* added, doubles included */

struct entry {
    struct lock_request request;
    struct lock_node nodes[KEYS_OF_ONE + 1];
    /* as the oracle sees it */
    bool reads[KEYS], writes[KEYS];
    bool all_read, all_write;
    bool here, held;
    uint64_t arrival;
};

struct world {
    struct locks *locks;
    struct rng rng;
    struct entry live[LIVE_MAX];
    uint64_t arrivals, grants;
    bool releasing_callbacks;
};

static uint64_t id_of(unsigned key)
{
    return 1000 + key * 1024u; /* one bucket: chains are searched too */
}

static bool writes_any(const struct entry *e)
{
    for (unsigned k = 0; k < KEYS; k++)
        if (e->writes[k]) return true;
    return false;
}

static bool conflict(const struct entry *a, const struct entry *b)
{
    if (a->all_write || b->all_write) return true; /* with a request of no keys (SCAN) too */
    if ((a->all_read && writes_any(b)) || (b->all_read && writes_any(a))) return true;
    for (unsigned k = 0; k < KEYS; k++)
        if ((a->writes[k] && (b->writes[k] || b->reads[k])) || (b->writes[k] && a->reads[k]))
            return true;
    return false;
}

/* Free to be held now: nothing before it (everything, for a newcomer) is in its way. */
static bool oracle(const struct world *w, const struct entry *e)
{
    for (unsigned i = 0; i < LIVE_MAX; i++) {
        const struct entry *other = &w->live[i];
        if (other != e && other->here && (!e->here || other->arrival < e->arrival) &&
            conflict(other, e))
            return false;
    }
    return true;
}

static void on_granted(void *ctx, struct lock_request *request)
{
    struct world *w = ctx;
    struct entry *e = CONTAINER_OF(request, struct entry, request);
    cr_assert(e->here && !e->held && request->state == LOCK_HELD && oracle(w, e));
    e->held = true;
    w->grants++;
    if (!w->releasing_callbacks || rng_below(&w->rng, 3)) return;
    e->here = e->held = false;
    locks_release(w->locks, request);
}

static void draw(struct world *w, struct entry *e)
{
    *e = (struct entry){.here = false};
    lock_request_init(&e->request, e->nodes);
    e->request.on_granted = on_granted;
    uint64_t dice = rng_below(&w->rng, 12);
    if (dice == 0) {
        e->all_write = rng_below(&w->rng, 2);
        e->all_read = !e->all_write;
        lock_request_whole(&e->request, e->all_write ? LOCK_EXCLUSIVE : LOCK_SHARED);
        return;
    }
    for (uint64_t n = rng_below(&w->rng, dice < 9 ? 3 : KEYS_OF_ONE) + (dice != 1); n > 0; n--) {
        unsigned k = (unsigned)rng_below(&w->rng, KEYS);
        bool write = rng_below(&w->rng, 3) == 0;
        e->writes[k] |= write;
        e->reads[k] |= !write;
        lock_request_add(&e->request, id_of(k), write ? LOCK_EXCLUSIVE : LOCK_SHARED);
    }
}

/* Units that hold nothing ask the same question. */
static void check_units(struct world *w)
{
    unsigned k = (unsigned)rng_below(&w->rng, KEYS);
    for (unsigned write = 0; write < 2; write++) {
        struct entry unit = {.here = false};
        unit.writes[k] = write;
        unit.reads[k] = !write;
        cr_assert_eq(locks_key_free(w->locks, id_of(k), write ? LOCK_EXCLUSIVE : LOCK_SHARED),
                     oracle(w, &unit));
    }
    bool flush = false;
    for (unsigned i = 0; i < LIVE_MAX; i++) flush |= w->live[i].here && w->live[i].all_write;
    cr_assert_eq(locks_key_free(w->locks, 0, LOCK_SHARED), !flush);
}

static void check_all(struct world *w)
{
    uint32_t here = 0;
    for (unsigned i = 0; i < LIVE_MAX; i++) {
        struct entry *e = &w->live[i];
        here += e->here;
        if (e->here) cr_assert_eq(e->held, oracle(w, e), "arrival %lu", (unsigned long)e->arrival);
        else cr_assert_eq(e->request.state, LOCK_IDLE);
    }
    cr_assert_eq(locks_stats_of(w->locks)->active, here);
    cr_assert(locks_audit(w->locks));
}

static void step(struct world *w)
{
    struct entry *e = &w->live[rng_below(&w->rng, LIVE_MAX)];
    if (e->here) {
        e->here = e->held = false;
        locks_release(w->locks, &e->request);
        if (rng_below(&w->rng, 4) == 0) return; /* several releases, then one run */
        locks_run_granted(w->locks, w);
        check_all(w);
        return;
    }
    locks_run_granted(w->locks, w);
    draw(w, e);
    bool free = oracle(w, e);
    cr_assert_eq(locks_free_for(w->locks, &e->request), free);
    if (rng_below(&w->rng, 2)) {
        cr_assert_eq(locks_try(w->locks, &e->request), free);
        if (!free) return;
    } else {
        cr_assert_eq(locks_acquire(w->locks, &e->request), free);
    }
    e->arrival = ++w->arrivals;
    e->here = true;
    e->held = free;
    check_units(w);
    check_all(w);
}

Test(locks_model, random_requests, .timeout = 120)
{
    static struct world w;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        w = (struct world){.locks = locks_new(), .releasing_callbacks = seed % 2};
        rng_seed(&w.rng, seed);
        for (unsigned i = 0; i < LIVE_MAX; i++) draw(&w, &w.live[i]);
        for (unsigned n = 0; n < 4000; n++) step(&w);
        for (unsigned i = 0; i < LIVE_MAX; i++) {
            if (!w.live[i].here) continue;
            w.live[i].here = w.live[i].held = false;
            locks_release(w.locks, &w.live[i].request);
            locks_run_granted(w.locks, &w);
        }
        check_all(&w);
        cr_assert_gt(w.grants, 100);
        locks_free(w.locks);
    }
}
