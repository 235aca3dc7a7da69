/* Counters that one thread writes and any thread reads: relaxed, never a locked instruction. And
 * the few that several threads write: shared counters and flags.
 * Thread: writer / any, as each function says. */
#ifndef SPLITRING_BASE_COUNTERS_H
#define SPLITRING_BASE_COUNTERS_H

#include <stdatomic.h>

#include "splitring/base/types.h"

typedef _Atomic uint64_t counter;

/* Thread: the one writer. */
static inline void counter_add(counter *c, uint64_t n)
{
    atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n,
                          memory_order_relaxed);
}
static inline void counter_sub(counter *c, uint64_t n)
{
    counter_add(c, (uint64_t)0 - n);
}
static inline void counter_set(counter *c, uint64_t n)
{
    atomic_store_explicit(c, n, memory_order_relaxed);
}
/* Thread: any. */
static inline uint64_t counter_get(const counter *c)
{
    return atomic_load_explicit(c, memory_order_relaxed);
}
/* Several writers (ids, maxclients). Returns the new value. Thread: any. */
static inline uint64_t counter_next_shared(counter *c)
{
    return atomic_fetch_add_explicit(c, 1, memory_order_acq_rel) + 1;
}
static inline uint64_t counter_drop_shared(counter *c)
{
    return atomic_fetch_sub_explicit(c, 1, memory_order_acq_rel) - 1;
}
/* Orders what other threads did before they changed it. */
static inline uint64_t counter_get_acquire_shared(const counter *c)
{
    return atomic_load_explicit(c, memory_order_acquire);
}
static inline void counter_add_shared(counter *c, uint64_t n)
{
    atomic_fetch_add_explicit(c, n, memory_order_acq_rel);
}
/* One writer; whoever reads this value by counter_get_acquire_shared sees what was written before.
 * Thread: the one writer. */
static inline void counter_set_release(counter *c, uint64_t n)
{
    atomic_store_explicit(c, n, memory_order_release);
}
/* Between a store of one's own and a look at what others store (they do it the other way round). */
static inline void fence_shared(void) { atomic_thread_fence(memory_order_seq_cst); }
/* A reference count: the last one to drop sees everything the others did. */
static inline void refs_init(counter *c, uint64_t n) { atomic_init(c, n); }
static inline bool refs_drop_shared(counter *c)
{
    return atomic_fetch_sub_explicit(c, 1, memory_order_acq_rel) == 1;
}

/* The announcement of a sleeper (DESIGN section 2): it sets the flag, fences, and looks at its
 * inboxes once more; a sender publishes, fences, and looks at the flag. */
typedef _Atomic uint32_t sleep_flag;
static inline void sleep_announce(sleep_flag *f)
{
    atomic_store_explicit(f, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
}
static inline void sleep_over(sleep_flag *f) { atomic_store_explicit(f, 0, memory_order_relaxed); }
/* Full fence, then: does it sleep? The one who takes the flag does the waking. */
static inline bool sleep_wants_wake_shared(sleep_flag *f)
{
    atomic_thread_fence(memory_order_seq_cst);
    return atomic_load_explicit(f, memory_order_relaxed) &&
           atomic_exchange_explicit(f, 0, memory_order_relaxed);
}

/* A state that several threads try to change; exactly one wins each step, and sees what the winner
 * of the step before did. */
typedef _Atomic uint32_t claim_word;
static inline bool claim_try_shared(claim_word *c, uint32_t from, uint32_t to)
{
    return atomic_compare_exchange_strong_explicit(c, &from, to, memory_order_acq_rel,
                                                   memory_order_acquire);
}

static inline uint32_t claim_get_shared(const claim_word *c)
{
    return atomic_load_explicit(c, memory_order_acquire);
}

/* A word stored by one thread at a time and polled by others (progress of a batch, stop flag). */
typedef _Atomic uint32_t progress_word;
static inline uint32_t progress_get_shared(const progress_word *p)
{
    return atomic_load_explicit(p, memory_order_acquire);
}
static inline void progress_set(progress_word *p, uint32_t value)
{
    atomic_store_explicit(p, value, memory_order_release);
}

#endif
