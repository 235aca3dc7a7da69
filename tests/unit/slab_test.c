/* Blocks do not overlap, keep their bytes, and their memory returns. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "splitring/base/rng.h"
#include "splitring/base/slab.h"

#ifdef SPLITRING_LIBC_MALLOC
static const bool own_pages = false;
#else
static const bool own_pages = true;
#endif

struct block {
    unsigned char *ptr;
    size_t len;
    unsigned char mark;
};

static void fill(struct block *b) { memset(b->ptr, b->mark, b->len); }

static bool intact(const struct block *b)
{
    for (size_t i = 0; i < b->len; i++) {
        if (b->ptr[i] != b->mark) return false;
    }
    return true;
}

Test(slab, random_blocks)
{
    enum { count = 20000, steps = 600000 };
    struct slab *slab = slab_new();
    struct block *blocks = calloc(count, sizeof(*blocks));
    struct rng rng;
    size_t used = 0;
    rng_seed(&rng, 11);
    for (size_t step = 0; step < steps; step++) {
        struct block *b = &blocks[rng_below(&rng, count)];
        bool wanted = rng_below(&rng, 100) < (step / (steps / 6) % 2 ? 20 : 80);
        if (b->ptr && !wanted) {
            cr_assert(intact(b));
            used -= slab_class_len(b->len);
            slab_free(slab, b->ptr, b->len);
            b->ptr = NULL;
        } else if (!b->ptr && wanted) {
            b->len = 1 + rng_below(&rng, step % 3 ? 100 : SLAB_BLOCK_MAX);
            b->mark = (unsigned char)rng_next(&rng);
            b->ptr = slab_alloc(slab, b->len);
            cr_assert_not_null(b->ptr);
            cr_assert_eq((uintptr_t)b->ptr % 8, 0);
            fill(b);
            used += slab_class_len(b->len);
        }
        cr_assert_eq(slab_bytes_used(slab), used);
        cr_assert_geq(slab_bytes_held(slab), used);
    }
    for (size_t i = 0; i < count; i++) cr_assert(blocks[i].ptr == NULL || intact(&blocks[i]));
    slab_free_all(slab);
    free(blocks);
}

static size_t resident(void)
{
    size_t pages, in_memory;
    FILE *file = fopen("/proc/self/statm", "r");
    cr_assert(file && fscanf(file, "%zu %zu", &pages, &in_memory) == 2);
    fclose(file);
    return in_memory * 4096;
}

Test(slab, memory_is_dense_and_returns)
{
    enum { count = 400000, len = 56 };
    struct slab *slab = slab_new();
    char **blocks = calloc(count, sizeof(*blocks));
    memset(blocks, 1, count * sizeof(*blocks));
    for (int round = 0; round < 3; round++) {
        size_t before = resident();
        for (size_t i = 0; i < count; i++) {
            blocks[i] = slab_alloc(slab, len);
            memset(blocks[i], 1, len);
        }
        size_t dense = (size_t)count * len / 100 * 101 + (1u << 20);
        if (own_pages) cr_assert_lt(slab_bytes_held(slab), dense); /* else: libc's, with headers */
        size_t grown = resident() - before;
        if (own_pages) cr_assert(grown < slab_bytes_held(slab) + (1u << 20), "%zu", grown);
        for (size_t i = 0; i < count; i++) slab_free(slab, blocks[(i * 7919) % count], len);
        cr_assert_eq(slab_bytes_used(slab), 0);
        cr_assert_lt(slab_bytes_held(slab), 1u << 20);
        if (own_pages) cr_assert_lt(resident(), before + (2u << 20));
    }
    slab_free(slab, NULL, 8);
    slab_free_all(slab);
    free(blocks);
}

Test(slab, every_class)
{
    struct slab *slab = slab_new();
    static struct block blocks[SLAB_BLOCK_MAX + 1];
    for (size_t len = 1; len <= SLAB_BLOCK_MAX; len++) {
        blocks[len] = (struct block){slab_alloc(slab, len), len, (unsigned char)len};
        fill(&blocks[len]);
    }
    for (size_t len = 1; len <= SLAB_BLOCK_MAX; len++) {
        cr_assert(intact(&blocks[len]));
        /* Any length of the same class will do. */
        slab_free(slab, blocks[len].ptr, slab_class_len(len));
    }
    cr_assert_eq(slab_bytes_used(slab), 0);
    slab_free_all(slab);
    slab_free_all(NULL);
}

/* What an evacuation chooses goes elsewhere, copied by its owner; nobody else's bytes change, new
 * blocks do not come into chosen pages, and the pages go back. */
Test(slab, evacuation)
{
    enum { count = 120000 };
    struct slab *slab = slab_new();
    struct block *blocks = calloc(count, sizeof(*blocks));
    struct rng rng;
    rng_seed(&rng, 12);
    for (int round = 0; round < 4; round++) {
        for (size_t i = 0; i < count; i++) {
            struct block *b = &blocks[i];
            if (b->ptr) continue;
            b->len = 1 + rng_below(&rng, round % 2 ? 300 : 60);
            b->mark = (unsigned char)rng_next(&rng);
            b->ptr = slab_alloc(slab, b->len);
            fill(b);
        }
        for (size_t i = 0; i < count; i++) {
            if (rng_below(&rng, 100) >= 85) continue;
            slab_free(slab, blocks[i].ptr, blocks[i].len);
            blocks[i].ptr = NULL;
        }
        size_t used = slab_bytes_used(slab), before = slab_bytes_held(slab), moved = 0;
        cr_assert(slab_evacuate_start(slab));
        while (slab_evacuate_choose(slab, 3)) {}
        for (size_t i = 0; i < count; i++) {
            struct block *b = &blocks[i];
            if (!b->ptr || !slab_evacuates(slab, b->ptr)) continue;
            if (round == 3 && i % 7 == 0) continue; /* these cannot be moved */
            unsigned char *copy = slab_alloc(slab, b->len);
            cr_assert(!slab_evacuates(slab, copy));
            memcpy(copy, b->ptr, b->len);
            slab_free(slab, b->ptr, b->len);
            b->ptr = copy;
            moved++;
        }
        if (own_pages) cr_assert_eq(slab_evacuate_any(slab), round == 3);
        while (slab_evacuate_end(slab, 10)) {}
        cr_assert(!slab_evacuate_any(slab));
        cr_assert_gt(moved, 1000);
        cr_assert_eq(slab_bytes_used(slab), used);
        for (size_t i = 0; i < count; i++) cr_assert(blocks[i].ptr == NULL || intact(&blocks[i]));
        slab_trim(slab);
        size_t held = slab_bytes_held(slab);
        /* Three pages of each class in use are not worth more work. */
        if (own_pages && round < 3) cr_assert_lt(held, used + used / 10 + 38 * 3 * 65536);
        if (own_pages && round < 3) cr_assert_lt(held, before);
    }
    for (size_t i = 0; i < count; i++)
        if (blocks[i].ptr) slab_free(slab, blocks[i].ptr, blocks[i].len);
    cr_assert_eq(slab_bytes_used(slab), 0);
    slab_free_all(slab);
    free(blocks);
}

Test(slab, evacuation_can_be_given_up)
{
    struct slab *slab = slab_new();
    void *blocks[5000];
    for (int i = 0; i < 5000; i++) blocks[i] = slab_alloc(slab, 100);
    for (int i = 0; i < 5000; i++)
        if (i % 3) slab_free(slab, blocks[i], 100);
    for (int give_up = 0; give_up < 3; give_up++) {
        cr_assert(slab_evacuate_start(slab));
        for (int n = 0; n < give_up && slab_evacuate_choose(slab, 1); n++) {}
        while (slab_evacuate_end(slab, 1)) {}
    }
    for (int i = 0; i < 5000; i++)
        if (i % 3) blocks[i] = slab_alloc(slab, 100);
    cr_assert_eq(slab_bytes_used(slab), 5000u * 104);
    if (own_pages) cr_assert_lt(slab_bytes_held(slab), 5000u * 104 + 2 * 65536);
    slab_free_all(slab);
}
