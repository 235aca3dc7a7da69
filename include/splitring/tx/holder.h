/* Who may touch a shard: one word per shard (DESIGN section 3.6).
 *
 *   FREE      nobody touches it: any worker may borrow it
 *   HELD      its owner touches it
 *   BORROWED  another worker holds it, for one batch
 *   WANTED    borrowed, and the owner waits for it: the borrower hands it straight to the owner
 *
 *   owner:     take: FREE → HELD, or BORROWED → WANTED and wait for HELD      offer: HELD → FREE
 *   borrower:  try:  FREE → BORROWED                 return: BORROWED → FREE, WANTED → HELD
 *
 * Every transition that gives is a release, every one that takes an acquire: what one holder wrote
 * the next one sees. Offer only what you hold; hold other shards by try only.
 * Thread: owner / borrower, as each function says. */
#ifndef SPLITRING_TX_HOLDER_H
#define SPLITRING_TX_HOLDER_H

#include <stdatomic.h>

#include "splitring/base/types.h"

enum { HOLDER_FREE, HOLDER_HELD, HOLDER_BORROWED, HOLDER_WANTED };

struct holder {
    _Alignas(CACHE_LINE) _Atomic uint32_t word;
    uint32_t owner_holds; /* owner only: take and offer may be called in any order by its code */
    uint32_t by;          /* holder only: which worker that is; noted by it, read by hooks */
    _Atomic uint32_t turns; /* holder writes: how often it was taken */
};

void holder_init(struct holder *h); /* starts HELD by its owner */
void holder_take_slow(struct holder *h, void (*pause)(unsigned spins));
/* Thread: owner. Waits at most one batch of a borrower. pause(n) is called while waiting. */
static inline void holder_take(struct holder *h, void (*pause)(unsigned spins))
{
    if (h->owner_holds) return;
    uint32_t expected = HOLDER_FREE;
    if (likely(atomic_compare_exchange_strong_explicit(&h->word, &expected, HOLDER_HELD,
                                                       memory_order_acquire, memory_order_relaxed)))
        h->owner_holds = 1;
    else
        holder_take_slow(h, pause);
}
/* Thread: owner. Never waits. */
static inline bool holder_try_own(struct holder *h)
{
    uint32_t expected = HOLDER_FREE;
    if (!h->owner_holds &&
        atomic_compare_exchange_strong_explicit(&h->word, &expected, HOLDER_HELD,
                                                memory_order_acquire, memory_order_relaxed))
        h->owner_holds = 1;
    return h->owner_holds;
}
/* Thread: owner. Only what it holds; harmless otherwise. */
static inline void holder_offer(struct holder *h)
{
    if (!h->owner_holds) return;
    h->owner_holds = 0;
    atomic_store_explicit(&h->word, HOLDER_FREE, memory_order_release);
}
/* A look, nothing more. Thread: any. */
static inline bool holder_is_free(const struct holder *h)
{
    return atomic_load_explicit(&h->word, memory_order_relaxed) == HOLDER_FREE;
}
/* Thread: holder, as soon as it is that. */
static inline void holder_note(struct holder *h, uint32_t by)
{
    h->by = by;
    uint32_t turns = atomic_load_explicit(&h->turns, memory_order_relaxed);
    atomic_store_explicit(&h->turns, turns + 1, memory_order_relaxed);
}
/* Two looks that see the same number and a shard that is not free saw one hold that lasts.
 * Thread: any. */
static inline uint32_t holder_turns(const struct holder *h)
{
    return atomic_load_explicit(&h->turns, memory_order_relaxed);
}
/* Thread: borrower. Never waits. */
static inline bool holder_try(struct holder *h)
{
    uint32_t expected = HOLDER_FREE;
    if (atomic_load_explicit(&h->word, memory_order_relaxed) != HOLDER_FREE) return false;
    return atomic_compare_exchange_strong_explicit(&h->word, &expected, HOLDER_BORROWED,
                                                   memory_order_acquire, memory_order_relaxed);
}
/* Planted fault of the simulator: never in production. */
void holder_offer_unheld(struct holder *h);
void holder_return(struct holder *h); /* Thread: borrower, after a successful try */

#endif
