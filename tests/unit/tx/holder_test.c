/* The shard word, transition by transition (real threads meet in tests/stress/holder_stress.c). */
#include <criterion/criterion.h>

#include "splitring/tx/holder.h"

static struct holder word; /* pause() has no context */
static unsigned pauses;

static uint32_t now(void)
{
    return atomic_load(&word.word);
}

static void never(unsigned spins)
{
    cr_assert_fail("waits at spin %u", spins);
}

Test(holder, owner_takes_and_offers)
{
    holder_init(&word);
    cr_assert_eq(now(), HOLDER_HELD);
    cr_assert(!holder_try(&word), "the owner touches it");
    holder_take(&word, never);
    cr_assert(holder_try_own(&word), "it has it already");
    holder_offer(&word);
    cr_assert_eq(now(), HOLDER_FREE);
    holder_offer(&word);
    cr_assert_eq(now(), HOLDER_FREE);
    holder_take(&word, never);
    cr_assert_eq(now(), HOLDER_HELD);
    holder_offer(&word);
    cr_assert(holder_try_own(&word));
    cr_assert_eq(now(), HOLDER_HELD);
}

Test(holder, one_borrower_at_a_time)
{
    holder_init(&word);
    holder_offer(&word);
    cr_assert(holder_try(&word));
    cr_assert_eq(now(), HOLDER_BORROWED);
    cr_assert(!holder_try(&word));
    cr_assert(!holder_try_own(&word), "never waits");
    holder_offer(&word);
    cr_assert_eq(now(), HOLDER_BORROWED, "offers only what it holds");
    holder_return(&word);
    cr_assert_eq(now(), HOLDER_FREE);
    cr_assert(holder_try(&word));
    holder_return(&word);
}

/* The borrower's side of a hand-over, seen from the owner's pause. */
static void hand_over(unsigned spins)
{
    cr_assert_eq(spins, pauses++);
    if (spins == 0) cr_assert_eq(now(), HOLDER_WANTED);
    cr_assert(!holder_try(&word), "nobody gets between");
    if (spins < 3) return;
    holder_return(&word);
    cr_assert_eq(now(), HOLDER_HELD, "straight to the owner");
    cr_assert(!holder_try(&word));
}

Test(holder, wanted_goes_straight_to_the_owner)
{
    holder_init(&word);
    holder_offer(&word);
    cr_assert(holder_try(&word));
    pauses = 0;
    holder_take(&word, hand_over);
    cr_assert_eq(pauses, 4);
    cr_assert_eq(now(), HOLDER_HELD);
    cr_assert(holder_try_own(&word));
    holder_offer(&word);
    cr_assert_eq(now(), HOLDER_FREE);
}

/* Lent when the owner first looked, returned before it could ask for it. */
Test(holder, returned_while_the_owner_comes)
{
    holder_init(&word);
    holder_offer(&word);
    cr_assert(holder_is_free(&word));
    holder_take_slow(&word, never);
    cr_assert_eq(now(), HOLDER_HELD);
    cr_assert(!holder_is_free(&word));
    cr_assert(holder_try_own(&word));
}
