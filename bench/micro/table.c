/* Times the keyspace's table against a plain chained one: insert (mean and worst), lookups one
 * after another, lookups in batches of 16 with prefetch, and resident memory per key.
 *
 *   bench_table [keys] [segments|chained|both]       10M keys, both
 *
 * An entry is what a short string costs: 8 bytes of header, 16 of key, 32 of value; 56 in all. The
 * table takes it from a slab, the chained one from the allocator with a link in front, as a plain
 * dictionary would. Each variant runs in a child of its own, so that memory is counted clean. Keys
 * are visited in random order; "serialized" makes each lookup wait for the one before, as the
 * dependent loads of single commands do. Times drift on a shared machine: compare ratios. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "splitring/base/check.h"
#include "splitring/base/hash.h"
#include "splitring/base/mem.h"
#include "splitring/base/rng.h"
#include "splitring/base/slab.h"
#include "splitring/data/table.h"

#define KEY_LEN 16u
#define VALUE_LEN 32u
#define BATCH 16u
#define SEED 42u

struct entry {
    uint32_t key_len, value_len;
    char bytes[KEY_LEN + VALUE_LEN];
};

static uint64_t now_ns(clockid_t clock)
{
    struct timespec ts;
    clock_gettime(clock, &ts);
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

static void make_key(char key[KEY_LEN], uint64_t i)
{
    uint64_t mixed = i * 0x9e3779b97f4a7c15u;
    memcpy(key, &i, 8);
    memcpy(key + 8, &mixed, 8);
}

static void fill_entry(struct entry *entry, uint64_t i)
{
    entry->key_len = KEY_LEN;
    entry->value_len = VALUE_LEN;
    make_key(entry->bytes, i);
    memset(entry->bytes + KEY_LEN, 'v', VALUE_LEN);
}

static struct slice entry_key(const void *entry)
{
    const struct entry *e = entry;
    return slice_of(e->bytes, e->key_len);
}

/* ---- the reference: an array of chains that doubles at load 1 ---- */

struct node {
    struct node *next;
    uint64_t hash;
    struct entry entry;
};

struct chained {
    struct node **buckets;
    size_t mask, count;
};

static void chained_grow(struct chained *c)
{
    size_t buckets = c->buckets ? (c->mask + 1) * 2 : 16;
    struct node **fresh = mem_zalloc(buckets * sizeof(*fresh));
    for (size_t i = 0; c->buckets && i <= c->mask; i++) {
        for (struct node *n = c->buckets[i], *next; n; n = next) {
            next = n->next;
            n->next = fresh[n->hash & (buckets - 1)];
            fresh[n->hash & (buckets - 1)] = n;
        }
    }
    mem_free(c->buckets);
    c->buckets = fresh;
    c->mask = buckets - 1;
}

static void chained_insert(struct chained *c, uint64_t hash, struct node *n)
{
    if (c->buckets == NULL || c->count > c->mask) chained_grow(c);
    n->hash = hash;
    n->next = c->buckets[hash & c->mask];
    c->buckets[hash & c->mask] = n;
    c->count++;
}

static struct entry *chained_find(const struct chained *c, uint64_t hash, struct slice key)
{
    for (struct node *n = c->buckets[hash & c->mask]; n; n = n->next) {
        if (slice_equal(entry_key(&n->entry), key)) return &n->entry;
    }
    return NULL;
}

/* ---- one face for both ---- */

struct subject {
    struct table *table; /* NULL: the chained one */
    struct slab *slab;
    struct chained chained;
};

static void put(struct subject *s, uint64_t i)
{
    char key[KEY_LEN];
    make_key(key, i);
    uint64_t hash = hash_key(slice_of(key, KEY_LEN), SEED);
    if (s->table) {
        struct entry *entry = slab_alloc(s->slab, sizeof(*entry));
        check(entry);
        fill_entry(entry, i);
        int status = table_insert(s->table, hash, entry, 0);
        check(status == 0);
    } else {
        struct node *n = mem_alloc(sizeof(*n));
        fill_entry(&n->entry, i);
        chained_insert(&s->chained, hash, n);
    }
}

static struct entry *get(const struct subject *s, uint64_t i)
{
    char key[KEY_LEN];
    make_key(key, i);
    struct slice k = slice_of(key, KEY_LEN);
    uint64_t hash = hash_key(k, SEED);
    return s->table ? table_find(s->table, hash, k) : chained_find(&s->chained, hash, k);
}

static void drop(struct subject *s, uint64_t i)
{
    char key[KEY_LEN];
    make_key(key, i);
    struct slice k = slice_of(key, KEY_LEN);
    uint64_t hash = hash_key(k, SEED);
    uint64_t *slot = table_find_slot(s->table, hash, k);
    slab_free(s->slab, table_slot_entry(slot), sizeof(struct entry));
    table_slot_remove(s->table, hash, slot);
}

static uint64_t get_batch(const struct subject *s, const uint64_t *numbers)
{
    char keys[BATCH][KEY_LEN];
    uint64_t hashes[BATCH], sum = 0;
    struct table_hint hints[BATCH];
    for (size_t i = 0; i < BATCH; i++) {
        make_key(keys[i], numbers[i]);
        hashes[i] = hash_key(slice_of(keys[i], KEY_LEN), SEED);
        if (s->table) {
            table_prefetch_slot(s->table, hashes[i]);
        } else {
            __builtin_prefetch(&s->chained.buckets[hashes[i] & s->chained.mask]);
        }
    }
    for (size_t i = 0; i < BATCH; i++) {
        if (s->table) {
            hints[i] = table_prefetch_entry(s->table, hashes[i]);
        } else {
            const char *n = (const char *)s->chained.buckets[hashes[i] & s->chained.mask];
            __builtin_prefetch(n);
            __builtin_prefetch(n + 64);
        }
    }
    for (size_t i = 0; i < BATCH; i++) {
        struct slice key = slice_of(keys[i], KEY_LEN);
        const struct entry *e;
        if (s->table) {
            e = table_slot_entry(table_find_slot_hinted(s->table, hashes[i], key, hints[i]));
        } else {
            e = chained_find(&s->chained, hashes[i], key);
        }
        sum += (uint64_t)e->bytes[KEY_LEN + VALUE_LEN - 1];
    }
    return sum;
}

/* Steps are timed one by one by the thread's processor time, which is blind to other programs but
 * costs a system call: so the mean comes from another run. */
struct steps {
    uint64_t before, worst, over_100us, over_300us;
};

static void steps_start(struct steps *steps)
{
    *steps = (struct steps){.before = now_ns(CLOCK_THREAD_CPUTIME_ID)};
}

static void steps_note(struct steps *steps)
{
    uint64_t after = now_ns(CLOCK_THREAD_CPUTIME_ID), took = after - steps->before;
    if (took > steps->worst) steps->worst = took;
    steps->over_100us += took > 100000;
    steps->over_300us += took > 300000;
    steps->before = after;
}

static void steps_print(const struct steps *steps, const char *name)
{
    printf("  %-18s worst %.0f us, %" PRIu64 " over 100 us, %" PRIu64 " over 300 us\n", name,
           (double)steps->worst / 1000, steps->over_100us, steps->over_300us);
}

/* All but every hundredth are removed again. */
static void time_steps(struct subject *s, uint64_t keys)
{
    struct steps steps;
    steps_start(&steps);
    for (uint64_t i = 0; i < keys; i++) {
        put(s, i);
        steps_note(&steps);
    }
    steps_print(&steps, "insert");
    if (s->table == NULL) return;
    steps_start(&steps);
    for (uint64_t i = 0; i < keys; i++) {
        if (i % 100 == 0) continue;
        drop(s, i);
        steps_note(&steps);
    }
    steps_print(&steps, "remove");
}

static void time_lookups(const struct subject *s, uint64_t keys)
{
    uint64_t lookups = keys < 2000000 ? keys : 2000000, sum = 0, missing = 0;
    struct rng rng;
    rng_seed(&rng, 7);
    uint64_t *numbers = mem_alloc(lookups * sizeof(*numbers));
    for (uint64_t i = 0; i < lookups; i++) numbers[i] = rng_below(&rng, keys);

    for (int round = 0; round < 3; round++) {
        uint64_t start = now_ns(CLOCK_MONOTONIC), last = 0;
        for (uint64_t i = 0; i < lookups; i++) {
            /* 'v' - 'v', which the processor does not know before the entry is there. */
            const struct entry *e = get(s, numbers[i] + last);
            last = (uint64_t)(e->bytes[KEY_LEN + VALUE_LEN - 1] - 'v');
        }
        uint64_t serialized = now_ns(CLOCK_MONOTONIC) - start;
        start = now_ns(CLOCK_MONOTONIC);
        for (uint64_t i = 0; i + BATCH <= lookups; i += BATCH) sum += get_batch(s, numbers + i);
        uint64_t batched = now_ns(CLOCK_MONOTONIC) - start;
        start = now_ns(CLOCK_MONOTONIC);
        for (uint64_t i = 0; i < lookups; i++) missing += get(s, keys + numbers[i]) == NULL;
        uint64_t absent = now_ns(CLOCK_MONOTONIC) - start;
        printf("  lookup serialized  %8.1f ns   batches of 16  %6.1f ns   absent %6.1f ns\n",
               (double)serialized / (double)lookups, (double)batched / (double)lookups,
               (double)absent / (double)lookups);
    }
    check(sum && missing == 3 * lookups);
    mem_free(numbers);
}

static void time_all(struct subject *s, uint64_t keys)
{
    double base = resident_bytes();
    uint64_t start = now_ns(CLOCK_MONOTONIC);
    for (uint64_t i = 0; i < keys; i++) put(s, i);
    printf("  insert             %8.1f ns\n",
           (double)(now_ns(CLOCK_MONOTONIC) - start) / (double)keys);
    printf("  resident           %8.2f bytes per key", (resident_bytes() - base) / (double)keys);
    if (s->table) {
        printf(" (table %.2f, slab %.2f)", (double)table_bytes(s->table) / (double)keys,
               (double)slab_bytes_held(s->slab) / (double)keys);
    }
    printf("\n");
    time_lookups(s, keys);
    if (s->table == NULL) return;
    start = now_ns(CLOCK_MONOTONIC);
    for (uint64_t i = 0; i < keys; i++) {
        if (i % 100) drop(s, i);
    }
    printf("  remove 99 of 100   %8.1f ns, then table %.2f MB, slab %.2f MB, resident %.2f MB\n",
           (double)(now_ns(CLOCK_MONOTONIC) - start) / (double)keys,
           (double)table_bytes(s->table) / 1e6, (double)slab_bytes_held(s->slab) / 1e6,
           (resident_bytes() - base) / 1e6);
}

static void run(bool chained, bool steps, uint64_t keys)
{
    static const struct table_ops ops = {entry_key};
    struct subject s = {0};
    if (!chained) {
        s.slab = slab_new();
        s.table = table_new(&ops, SEED);
    }
    if (!steps) {
        printf("%s, %" PRIu64 " keys\n", chained ? "chained" : "segments", keys);
        time_all(&s, keys);
    } else {
        time_steps(&s, keys);
    }
    fflush(stdout);
}

int main(int argc, char **argv)
{
    uint64_t keys = argc > 1 ? strtoull(argv[1], NULL, 10) : 10000000;
    const char *which = argc > 2 ? argv[2] : "both";
    for (int part = 0; part < 4; part++) {
        bool chained = part >= 2, steps = part % 2;
        if (strcmp(which, chained ? "segments" : "chained") == 0) continue;
        pid_t child = fork();
        check(child >= 0);
        if (child == 0) {
            run(chained, steps, keys);
            _exit(0);
        }
        int status;
        waitpid(child, &status, 0);
        if (status != 0) return 1;
    }
    return 0;
}
