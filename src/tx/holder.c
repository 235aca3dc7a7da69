/* The slow halves of the shard word: an owner that finds its shard lent, and a borrower giving it
 * back. The model behind it is in tx/holder.h; the first version of this offered a shard it did not
 * hold, which made two borrowers at once (FIGURES section 3): hence `owner_holds`. */
#include "splitring/tx/holder.h"

#include "splitring/base/check.h"

void holder_init(struct holder *h)
{
    atomic_init(&h->word, HOLDER_HELD);
    atomic_init(&h->turns, 0);
    h->owner_holds = 1;
}

void holder_take_slow(struct holder *h, void (*pause)(unsigned spins))
{
    for (unsigned spins = 0;; spins++) {
        uint32_t seen = atomic_load_explicit(&h->word, memory_order_acquire);
        if (seen == HOLDER_HELD) break; /* handed over by a borrower that saw WANTED */
        if (seen == HOLDER_FREE) {
            if (atomic_compare_exchange_strong_explicit(&h->word, &seen, HOLDER_HELD,
                                                        memory_order_acquire,
                                                        memory_order_relaxed))
                break;
        } else if (seen == HOLDER_BORROWED) {
            atomic_compare_exchange_strong_explicit(&h->word, &seen, HOLDER_WANTED,
                                                    memory_order_relaxed, memory_order_relaxed);
        }
        pause(spins);
    }
    h->owner_holds = 1;
}

void holder_return(struct holder *h)
{
    uint32_t expected = HOLDER_BORROWED;
    if (atomic_compare_exchange_strong_explicit(&h->word, &expected, HOLDER_FREE,
                                                memory_order_release, memory_order_relaxed))
        return;
    check(expected == HOLDER_WANTED);
    atomic_store_explicit(&h->word, HOLDER_HELD, memory_order_release);
}

void holder_offer_unheld(struct holder *h)
{
    h->owner_holds = 0;
    atomic_store_explicit(&h->word, HOLDER_FREE, memory_order_release);
}
