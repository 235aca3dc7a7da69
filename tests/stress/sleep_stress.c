/* The announcement of a sleeper: announce, fence, look once more, sleep; publish, fence, look at
 * the flag, wake. One of the two must see the other.
 *
 * First the two halves alone, started at the same moment again and again: in no round may both be
 * blind (without the fences some rounds in a thousand are, on x86 too). Then with sleep in earnest:
 * a wake that is lost leaves the sleeper on its condition with work, and a limit of some seconds,
 * which no wake that came would reach, ends the program. Two kinds of work are waited for, as a
 * worker does: a message in a mailbox, and a counter that somebody advanced (a batch's progress).
 * Wakers wait for their answers, so the sleeper is nearly always about to sleep.
 * Thread: main, sleeper, wakers. */
#include <errno.h>
#include <pthread.h>
#include <time.h>

#include "splitring/base/counters.h"
#include "splitring/base/mailbox.h"
#include "splitring/base/rng.h"
#include "splitring/io/os.h"
#include "stress.h"

#define WAKERS 3u
#define STUCK_S 20

static struct waker_state {
    _Alignas(CACHE_LINE) struct mailbox box;
    _Alignas(CACHE_LINE) progress_word asked;    /* by the waker */
    _Alignas(CACHE_LINE) progress_word answered; /* by the sleeper */
    uint64_t payload;                            /* plain: guarded by asked / answered */
    uint64_t rounds, wakes;
} wakers[WAKERS];

static sleep_flag flag;
static _Atomic bool stop;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static bool woken; /* under mutex */
static uint64_t slept, looked_again;

/* ---- the two halves ---- */

static struct {
    _Alignas(CACHE_LINE) progress_word start[2]; /* round that each side is ready for */
    _Alignas(CACHE_LINE) progress_word work;
    _Alignas(CACHE_LINE) sleep_flag flag;
    _Alignas(CACHE_LINE) uint32_t rounds;
} halves;
static uint8_t *saw_work, *saw_sleeper; /* by round */

static void meet(unsigned side, uint32_t round, struct rng *rng)
{
    progress_set(&halves.start[side], round);
    for (unsigned spins = 0; progress_get_shared(&halves.start[1 - side]) < round; spins++)
        if (spins > 2000) os_yield();
    for (uint64_t n = rng_below(rng, 40); n > 0; n--) __asm__ volatile("" ::: "memory");
}

static void half(void *arg)
{
    unsigned side = (unsigned)(uintptr_t)arg;
    struct rng rng;
    rng_seed(&rng, side);
    for (uint32_t round = 1; round < halves.rounds; round++) {
        meet(side, round * 2, &rng);
        if (side == 0) {
            sleep_announce(&halves.flag);
            saw_work[round] = progress_get_shared(&halves.work) == round;
        } else {
            progress_set(&halves.work, round);
            saw_sleeper[round] = sleep_wants_wake_shared(&halves.flag);
        }
        meet(side, round * 2 + 1, &rng); /* both have looked */
        if (side == 0) sleep_over(&halves.flag);
    }
}

static void run_halves(uint32_t rounds)
{
    struct os_thread *threads[2];
    uint32_t blind = 0, both = 0;
    halves.rounds = rounds;
    saw_work = calloc(rounds, 1);
    saw_sleeper = calloc(rounds, 1);
    for (unsigned side = 0; side < 2; side++)
        if (os_thread_start(&threads[side], "half", -1, NULL, half, (void *)(uintptr_t)side) != 0)
            exit(2);
    for (unsigned side = 0; side < 2; side++) os_thread_join(threads[side]);
    for (uint32_t i = 1; i < rounds; i++) {
        blind += !saw_work[i] && !saw_sleeper[i];
        both += saw_work[i] && saw_sleeper[i];
    }
    EXPECT(blind == 0, "%u of %u rounds: neither saw the other", blind, rounds);
    printf("%u rounds of the two halves, in %u both saw the other\n", rounds, both);
    free(saw_work);
    free(saw_sleeper);
}

/* ---- in earnest ---- */

static void wake(void)
{
    pthread_mutex_lock(&mutex);
    woken = true;
    pthread_cond_signal(&cond);
    pthread_mutex_unlock(&mutex);
}

static void sleep_until_woken(void)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += STUCK_S;
    pthread_mutex_lock(&mutex);
    int rc = 0;
    while (!woken && rc == 0) rc = pthread_cond_timedwait(&cond, &mutex, &until);
    woken = false;
    pthread_mutex_unlock(&mutex);
    if (rc == 0) return;
    EXPECT(false, "a wake-up was lost");
    exit(stress_end());
}

static void waker(void *arg)
{
    struct waker_state *me = arg;
    struct rng rng;
    rng_seed(&rng, (uint64_t)(me - wakers));
    uint32_t turn = 0;
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        me->payload = me->rounds * 7;
        if (rng_below(&rng, 2)) {
            mailbox_send(&me->box, (struct message){++turn, 0, me});
            mailbox_publish(&me->box);
        } else {
            progress_set(&me->asked, ++turn);
        }
        if (sleep_wants_wake_shared(&flag)) {
            me->wakes++;
            wake();
        }
        for (unsigned spins = 0; progress_get_shared(&me->answered) != turn; spins++)
            if (spins > 20) os_yield();
        if (me->payload != me->rounds * 7 + 1)
            EXPECT(false, "round %llu: the answer is not there", (unsigned long long)me->rounds);
        me->rounds++;
        for (uint64_t n = rng_below(&rng, 200); n > 0; n--) __asm__ volatile("" ::: "memory");
    }
}

static bool serve(struct waker_state *w, uint32_t turn)
{
    if (turn == progress_get_shared(&w->answered)) return false;
    w->payload++;
    progress_set(&w->answered, turn);
    return true;
}

static bool look(void)
{
    bool any = false;
    for (unsigned i = 0; i < WAKERS; i++) {
        struct message m;
        while (mailbox_receive(&wakers[i].box, &m)) any |= serve(m.ptr, m.kind);
        uint32_t asked = progress_get_shared(&wakers[i].asked);
        if (asked > progress_get_shared(&wakers[i].answered)) any |= serve(&wakers[i], asked);
    }
    return any;
}

static bool must_not_sleep(void)
{
    for (unsigned i = 0; i < WAKERS; i++)
        if (!mailbox_empty(&wakers[i].box) ||
            progress_get_shared(&wakers[i].asked) > progress_get_shared(&wakers[i].answered))
            return true;
    return atomic_load_explicit(&stop, memory_order_relaxed);
}

static void sleeper(void *arg)
{
    (void)arg;
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        if (look()) continue;
        sleep_announce(&flag);
        if (must_not_sleep()) {
            looked_again++;
        } else {
            sleep_until_woken();
            slept++;
        }
        sleep_over(&flag);
    }
    for (unsigned i = 0; i < 1000; i++) { /* wakers end on an answer */
        look();
        os_sleep_us(100);
    }
}

int main(void)
{
    struct os_thread *threads[WAKERS + 1];
    stress_begin("sleep", 120);
    run_halves((uint32_t)(stress_seconds(4.0) * 500000));
    for (unsigned i = 0; i < WAKERS; i++) mailbox_init(&wakers[i].box, 0);
    if (os_thread_start(&threads[0], "sleeper", -1, NULL, sleeper, NULL) < 0) return 2;
    for (unsigned i = 0; i < WAKERS; i++)
        if (os_thread_start(&threads[i + 1], "waker", -1, NULL, waker, &wakers[i]) < 0) return 2;
    os_sleep_us((int64_t)(stress_seconds(4.0) * 1e6));
    atomic_store(&stop, true);
    wake();
    for (unsigned i = 0; i <= WAKERS; i++) os_thread_join(threads[i]);
    uint64_t rounds = 0, wakes = 0;
    for (unsigned i = 0; i < WAKERS; i++) {
        rounds += wakers[i].rounds;
        wakes += wakers[i].wakes;
        mailbox_deinit(&wakers[i].box);
    }
    printf("%llu rounds: slept %llu times, woken %llu, looked again in time %llu\n",
           (unsigned long long)rounds, (unsigned long long)slept, (unsigned long long)wakes,
           (unsigned long long)looked_again);
    EXPECT(rounds > 1000 && slept > 100, "too little happened");
    return stress_end();
}
