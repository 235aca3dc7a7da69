/* Times what a large sorted set is made of: the sorted tree (data/ordered.h) and the index by
 * member (data/dict.h), over members from a slab, as the keyspace has them.
 *
 *   bench_zset [members] [random|rising|same]        1M members, random scores
 *
 * Members have 16 bytes. Inserted in random order: into index and tree; then ranks of random
 * members, walks of 100 from random ranks, new scores for random members, removals. Bytes are those
 * of the process, and what tree and index say of themselves. To choose the leaf's size it was built
 * with -DORDERED_LEAF_MAX=30, 62, 94, 124. Times drift on a shared machine: compare ratios. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "splitring/base/check.h"
#include "splitring/base/hash.h"
#include "splitring/base/mem.h"
#include "splitring/base/rng.h"
#include "splitring/data/dict.h"
#include "splitring/data/ordered.h"

#define TEXT_LEN 16u
#define SEED 42u

static struct slice member_text(const void *m) { return ordered_text(m); }
static const struct table_ops ops = {member_text};

struct bench {
    struct ordered order;
    struct dict index;
    struct slab *slab;
    struct ordered_member **members; /* by number */
    size_t count;
    struct rng rng;
    const char *shape;
    uint64_t started;
};

static uint64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static double resident_bytes(void)
{
    long pages = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    check(file && fscanf(file, "%ld %ld", &pages, &resident) == 2);
    fclose(file);
    return (double)resident * 4096;
}

static void report(struct bench *b, const char *what, size_t operations)
{
    uint64_t now = now_ns();
    printf("  %-22s %7.0f ns\n", what, (double)(now - b->started) / (double)operations);
    b->started = now_ns();
}

static double score(struct bench *b, size_t i)
{
    if (strcmp(b->shape, "rising") == 0) return (double)i;
    if (strcmp(b->shape, "same") == 0) return 0;
    return (double)(rng_next(&b->rng) >> 24);
}

static struct ordered_member *member_new(struct bench *b, size_t i, double value)
{
    char text[TEXT_LEN + 1];
    snprintf(text, sizeof(text), "mem:%012zu", i * 2654435761u % 1000000000000u);
    struct ordered_member *m = slab_alloc(b->slab, ordered_member_len(TEXT_LEN));
    check(m != NULL);
    ordered_member_init(m, value, slice_of(text, TEXT_LEN));
    return m;
}

static uint64_t hash_of(const struct ordered_member *m) { return hash_key(ordered_text(m), SEED); }

static void fill(struct bench *b)
{
    double before = resident_bytes();
    b->started = now_ns();
    for (size_t i = 0; i < b->count; i++) {
        struct ordered_member *m = b->members[i] = member_new(b, i, score(b, i));
        uint64_t hash = hash_of(m);
        check(dict_find(&b->index, hash, ordered_text(m)) == NULL);
        check(ordered_insert(&b->order, m) == 0 && dict_insert(&b->index, hash, m, 0) == 0);
    }
    report(b, "insert", b->count);
    double n = (double)b->count;
    printf("  bytes: process %.1f, tree %.2f, index %.2f, member %zu; height %u\n",
           (resident_bytes() - before) / n, (double)b->order.bytes / n,
           (double)dict_bytes(&b->index) / n, slab_class_len(ordered_member_len(TEXT_LEN)),
           b->order.height);
}

static struct ordered_member *pick(struct bench *b)
{
    return b->members[rng_below(&b->rng, b->count)];
}

static void look(struct bench *b)
{
    size_t operations = b->count / 2;
    uint64_t sum = 0;
    b->started = now_ns();
    for (size_t i = 0; i < operations; i++) sum += ordered_rank_of(&b->order, pick(b));
    report(b, "rank of a member", operations);
    for (size_t i = 0; i < operations; i++) {
        struct ordered_bound bound = {.by = ORDERED_BY_SCORE, .score = pick(b)->score};
        sum += ordered_rank(&b->order, &bound);
    }
    report(b, "rank of a score", operations);
    for (size_t i = 0; i < operations / 10; i++) {
        struct ordered_cursor c;
        const struct ordered_member *m =
            ordered_at(&b->order, rng_below(&b->rng, b->order.count), &c);
        for (int k = 0; k < 100 && m; k++, m = ordered_next(&b->order, &c)) sum += m->bytes[1];
    }
    report(b, "walk of 100", operations / 10);
    if (sum == 1) printf("\n");
}

static void change(struct bench *b)
{
    size_t operations = b->count / 2;
    b->started = now_ns();
    for (size_t i = 0; i < operations; i++) {
        size_t at = rng_below(&b->rng, b->count);
        struct ordered_member *m = b->members[at], *moved = member_new(b, at, score(b, i));
        uint64_t hash = hash_of(m);
        if (ordered_rescore(&b->order, m, moved->score)) {
            slab_free(b->slab, moved, ordered_member_len(TEXT_LEN));
            continue;
        }
        check(ordered_insert(&b->order, moved) == 0);
        ordered_remove(&b->order, m);
        table_slot_replace(dict_find_slot(&b->index, hash, ordered_text(m)), moved);
        slab_free(b->slab, m, ordered_member_len(TEXT_LEN));
        b->members[at] = moved;
    }
    report(b, "new score", operations);
    for (size_t i = 0; i < operations; i++) {
        struct ordered_member *m = ordered_take_at(&b->order, rng_below(&b->rng, b->order.count));
        check(dict_remove(&b->index, hash_of(m), ordered_text(m)) == m);
        slab_free(b->slab, m, ordered_member_len(TEXT_LEN));
    }
    report(b, "removal", operations);
    printf("  tree after removals: %.2f bytes per member\n",
           (double)b->order.bytes / (double)b->order.count);
}

int main(int argc, char **argv)
{
    struct bench b = {.count = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000,
                      .shape = argc > 2 ? argv[2] : "random"};
    if (b.count < 100) b.count = 100;
    rng_seed(&b.rng, SEED);
    b.slab = slab_new();
    b.members = mem_alloc(b.count * sizeof(struct ordered_member *));
    memset(b.members, 1, b.count * sizeof(struct ordered_member *));
    ordered_init(&b.order, b.slab);
    dict_init(&b.index, &ops, SEED);
    printf("%zu members, %s scores\n", b.count, b.shape);
    fill(&b);
    look(&b);
    change(&b);
    return 0;
}
