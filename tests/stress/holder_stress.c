/* One shard word, its owner and three borrowers.
 *
 * Whoever holds the shard does a read-modify-write on plain memory: a lost update, or a report of
 * TSan, means two holders at once or a transition that does not order memory. The owner mixes every
 * call it has (take, try_own, offer, offers of what it does not hold), over several rounds, and
 * pauses; one phase has borrowers that hold long, so that WANTED and the hand-over are common.
 * Thread: main, owner, borrowers. */
#include "splitring/base/rng.h"
#include "splitring/io/os.h"
#include "splitring/tx/holder.h"
#include "stress.h"

#define BORROWERS 3u

struct shard_like {
    uint64_t count, copy, sum; /* plain: the word is all that guards them */
    uint64_t by_owner, by_borrower[BORROWERS];
};

static struct world {
    struct holder word;
    struct shard_like data;
    _Atomic bool stop;
    unsigned long_hold; /* rounds of a borrower per holding */
    /* each thread its own */
    _Alignas(64) uint64_t owner_rounds, owner_waits;
    _Alignas(64) uint64_t rounds[BORROWERS * 8], refused[BORROWERS * 8];
} world;

static void touch(uint64_t *mine)
{
    struct shard_like *d = &world.data;
    if (d->count != d->copy || d->sum != d->count * 3)
        EXPECT(false, "somebody else is writing: %llu %llu", (unsigned long long)d->count,
               (unsigned long long)d->copy);
    uint64_t next = d->count + 1;
    d->count = next;
    d->sum += 3;
    (*mine)++;
    d->copy = next;
}

static void pause_owner(unsigned spins)
{
    if (spins == 0) world.owner_waits++;
    if (spins > 50) os_yield();
}

static void own(void *arg)
{
    struct rng rng;
    (void)arg;
    rng_seed(&rng, 1);
    while (!atomic_load_explicit(&world.stop, memory_order_relaxed)) {
        bool held;
        if (rng_below(&rng, 3)) {
            holder_take(&world.word, pause_owner);
            held = true;
        } else {
            held = holder_try_own(&world.word);
        }
        for (uint64_t n = held ? rng_below(&rng, 4) : 0; n > 0; n--) {
            touch(&world.data.by_owner);
            world.owner_rounds++;
            holder_take(&world.word, pause_owner); /* again: harmless */
        }
        if (rng_below(&rng, 4)) holder_offer(&world.word);
        if (rng_below(&rng, 4) == 0) {
            holder_offer(&world.word);
            holder_offer(&world.word); /* not held any more: must do nothing */
            os_yield();
        }
    }
    holder_take(&world.word, pause_owner);
    holder_offer(&world.word);
}

static void borrow(void *arg)
{
    unsigned who = (unsigned)(uintptr_t)arg;
    struct rng rng;
    rng_seed(&rng, 100 + who);
    while (!atomic_load_explicit(&world.stop, memory_order_relaxed)) {
        if (!holder_try(&world.word)) {
            world.refused[who * 8]++;
            os_yield();
            continue;
        }
        for (uint64_t n = 1 + rng_below(&rng, world.long_hold); n > 0; n--) {
            touch(&world.data.by_borrower[who]);
            world.rounds[who * 8]++;
            if (rng_below(&rng, 64) == 0) os_yield(); /* on one CPU too it is met BORROWED */
        }
        holder_return(&world.word);
        if (rng_below(&rng, 4) == 0) os_yield();
    }
}

static void run(unsigned long_hold)
{
    struct os_thread *threads[BORROWERS + 1];
    world = (struct world){.long_hold = long_hold};
    holder_init(&world.word);
    if (os_thread_start(&threads[0], "owner", -1, NULL, own, NULL) < 0) exit(2);
    for (unsigned i = 0; i < BORROWERS; i++)
        if (os_thread_start(&threads[i + 1], "borrower", -1, NULL, borrow, (void *)(uintptr_t)i))
            exit(2);
    os_sleep_us((int64_t)(stress_seconds(2.0) * 1e6));
    atomic_store(&world.stop, true);
    for (unsigned i = 0; i <= BORROWERS; i++) os_thread_join(threads[i]);
    uint64_t total = world.owner_rounds, refused = 0, borrowed = 0;
    for (unsigned i = 0; i < BORROWERS; i++) {
        borrowed += world.rounds[i * 8];
        refused += world.refused[i * 8];
        EXPECT(world.rounds[i * 8] == world.data.by_borrower[i], "borrower %u lost updates", i);
    }
    total += borrowed;
    EXPECT(world.owner_rounds == world.data.by_owner, "the owner lost updates");
    EXPECT(total == world.data.count, "%llu rounds, %llu counted", (unsigned long long)total,
           (unsigned long long)world.data.count);
    EXPECT(world.owner_rounds > 100 && borrowed > 100 && world.owner_waits > 0,
           "too little happened: %llu %llu %llu", (unsigned long long)world.owner_rounds,
           (unsigned long long)borrowed, (unsigned long long)world.owner_waits);
    EXPECT(atomic_load(&world.word.word) == HOLDER_FREE, "offered at the end");
    printf("holding up to %2u: owner %llu (waited %llu times), borrowed %llu, refused %llu\n",
           long_hold, (unsigned long long)world.owner_rounds, (unsigned long long)world.owner_waits,
           (unsigned long long)borrowed, (unsigned long long)refused);
}

int main(void)
{
    stress_begin("holder", 90);
    run(1);
    run(8);
    run(64);
    return stress_end();
}
