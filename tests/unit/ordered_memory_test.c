/* The sorted sequence when memory runs out: a slab of this file's own fails at random. An insert
 * that fails changes nothing, a removal never fails, and every block comes back in the end. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

#include "ordered_impl.h"
#include "splitring/base/rng.h"

#define MEMBERS 4000u

static struct rng dice;
static unsigned fail_percent;
static size_t blocks, failures;

void *slab_alloc(struct slab *slab, size_t len)
{
    (void)slab;
    if (rng_below(&dice, 100) < fail_percent) {
        failures++;
        return NULL;
    }
    blocks++;
    return malloc(len);
}

void slab_free(struct slab *slab, void *ptr, size_t len)
{
    (void)slab;
    (void)len;
    blocks--;
    free(ptr);
}

bool slab_evacuates(const struct slab *slab, const void *block)
{
    (void)slab;
    (void)block;
    return rng_below(&dice, 4) == 0; /* a move that finds no memory is left for later */
}

static void verify_order(const struct ordered *o, const bool *present)
{
    struct ordered_cursor c;
    uint64_t count = 0;
    const struct ordered_member *m = o->count ? ordered_at(o, 0, &c) : NULL;
    for (size_t i = 0; i < MEMBERS; i++) {
        if (!present[i]) continue;
        cr_assert_not_null(m);
        cr_assert(ordered_equal_score(m->score, (double)i));
        cr_assert_eq(ordered_rank_of(o, m), count);
        m = ordered_next(o, &c);
        count++;
    }
    cr_assert_null(m);
    cr_assert_eq(o->count, count);
}

Test(ordered_memory, failing_inserts_change_nothing, .timeout = 60)
{
    static struct {
        _Alignas(8) char bytes[16];
    } room[MEMBERS];
    static bool present[MEMBERS];
    struct ordered o;
    ordered_init(&o, NULL);
    rng_seed(&dice, 7);
    for (size_t i = 0; i < MEMBERS; i++) {
        struct ordered_member *m = (struct ordered_member *)(void *)room[i].bytes;
        ordered_member_init(m, (double)i, SLICE("abc"));
    }
    for (int step = 0; step < 60000; step++) {
        if (step % 3000 == 0) {
            verify_order(&o, present);
            fail_percent = (unsigned)rng_below(&dice, 4) * 25;
        }
        size_t at = rng_below(&dice, MEMBERS);
        struct ordered_member *m = (struct ordered_member *)(void *)room[at].bytes;
        bool adding = step / 9000 % 2 == 0;
        if (present[at] && (!adding || rng_below(&dice, 4) == 0)) {
            ordered_remove(&o, m);
            present[at] = false;
        } else if (!present[at] && adding) {
            size_t before = blocks, bytes = o.bytes;
            int rc = ordered_insert(&o, m);
            cr_assert(rc == 0 || rc == -ENOMEM);
            present[at] = rc == 0;
            if (rc < 0) cr_assert(blocks == before && o.bytes == bytes);
        }
    }
    verify_order(&o, present);
    cr_assert_gt(failures, 1000);
    size_t done;
    while (!ordered_free_step(&o, 100, &done)) {}
    cr_assert_eq(blocks, 0);
}
