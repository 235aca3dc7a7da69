/* Times writes to one big value while a snapshot runs, and the slices of the snapshot's walk.
 *
 *   bench_snapshot [elements]                        1M
 *
 * One value of each type: a hash (16-byte fields, 32-byte values), a sorted set, a list, and a
 * string of 100 bytes per element. A round is 2000 writes at random places, each timed by the
 * thread's CPU clock (its own cost, some 300 ns, is in every figure): without a snapshot; after a
 * cut, while the value waits to be told; while it is being told, with a slice of the walk after
 * each write. The value is told as RDB that nobody keeps. "first": the first of the round. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "splitring/base/check.h"
#include "splitring/base/mem.h"
#include "splitring/base/rng.h"
#include "splitring/keyspace/snapshot.h"
#include "splitring/persist/rdb_file.h"

#define WRITES 2000u

struct bench {
    struct shard *shard;
    struct ks ks;
    struct rng rng;
    uint64_t count, next;
    struct rdb_out *out;
    uint64_t took[WRITES];
};

static uint64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* ---- the snapshot ---- */

static int discard(void *ctx, const char *ptr, size_t len)
{
    (void)ctx, (void)ptr, (void)len;
    return 0;
}

static void on_entry(void *ctx, db_id db, const struct entry *e)
{
    (void)db;
    (void)rdb_out_key_as(((struct bench *)ctx)->out, e, entry_expiry(e), -1, -1);
}

static void on_begin(void *ctx, db_id db, const struct entry *e, uint64_t count, instant_ms lowest)
{
    (void)db;
    rdb_out_big(((struct bench *)ctx)->out, e, -1, -1, count, lowest);
}

static void on_part(void *ctx, enum value_type type, const struct snapshot_part *part)
{
    rdb_out_part(((struct bench *)ctx)->out, type, part);
}

static void on_end(void *ctx) { (void)ctx; }

/* ---- values ---- */

static void put_field(struct bench *b, uint64_t i, const char *value)
{
    char field[32];
    struct hash h = hash_open(&b->ks, SLICE("key"), ks_edit(&b->ks, SLICE("key")),
                              (struct hash_limits){128, 64});
    snprintf(field, sizeof(field), "field:%010" PRIu64, i);
    check(hash_set(&h, slice_str(field), slice_str(value), EXPIRE_NONE) >= 0);
}

static void put_score(struct bench *b, uint64_t i, double score)
{
    char member[32];
    struct zset_edit edit = {.ks = &b->ks, .key = SLICE("key"), .limits = {128, 64}};
    edit.e = ks_edit(&b->ks, edit.key);
    snprintf(member, sizeof(member), "mem:%012" PRIu64, i);
    (void)zset_find(&edit, slice_str(member));
    check(zset_put(&edit, score) == 0);
}

static void put_element(struct bench *b, bool set, uint64_t i)
{
    struct slice value = SLICE("an-element-of-20-b..");
    struct list_key l = {.ks = &b->ks, .key = SLICE("key"), .fill = -2};
    l.entry = ks_edit(&b->ks, l.key);
    check((set ? list_set(&l, i, value) : list_push(&l, &value, 1, LIST_TAIL)) == 0);
}

static void put_bytes(struct bench *b, uint64_t i)
{
    char *bytes = ks_string_room_for(&b->ks, SLICE("key"), (size_t)(b->count * 100),
                                     (size_t)i * 100, 5);
    check(bytes != NULL);
    memcpy(bytes + i * 100, "hello", 5);
}

static void build(struct bench *b, enum value_type type)
{
    for (uint64_t i = 0; i < b->count; i++) {
        if (type == TYPE_HASH) put_field(b, i, "a value of thirty-two bytes.....");
        else if (type == TYPE_ZSET) put_score(b, i, (double)(rng_next(&b->rng) >> 24));
        else if (type == TYPE_LIST) put_element(b, false, 0);
    }
    if (type == TYPE_STRING) put_bytes(b, 0);
}

static void write_one(struct bench *b, enum value_type type)
{
    uint64_t i = rng_below(&b->rng, b->count);
    if (type == TYPE_HASH) put_field(b, i, "another one of thirty-two bytes.");
    else if (type == TYPE_ZSET) put_score(b, i, (double)(rng_next(&b->rng) >> 24));
    else if (type == TYPE_LIST) put_element(b, true, i);
    else put_bytes(b, i);
}

/* ---- rounds ---- */

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void report(uint64_t *took, size_t count, const char *what)
{
    uint64_t first = took[0];
    qsort(took, count, sizeof(*took), compare);
    printf("  %-26s median %7.2f  p99.9 %7.2f  most %8.2f  first %7.2f us\n", what,
           (double)took[count / 2] / 1e3, (double)took[count - 1 - count / 1000] / 1e3,
           (double)took[count - 1] / 1e3, (double)first / 1e3);
}

static void round_of(struct bench *b, enum value_type type, const char *what, bool step)
{
    static uint64_t slices[WRITES];
    size_t steps = 0;
    for (size_t i = 0; i < WRITES; i++) {
        uint64_t begun = now_ns();
        write_one(b, type);
        b->took[i] = now_ns() - begun;
        if (!step || !shard_snapshot_running(b->shard)) continue;
        begun = now_ns();
        (void)shard_snapshot_step(b->shard, 256);
        slices[steps++] = now_ns() - begun;
    }
    report(b->took, WRITES, what);
    if (steps) report(slices, steps, "  a slice of 256");
}

static void run(uint64_t count, enum value_type type)
{
    struct shard_options options = {.databases = 1, .seed = 7};
    struct rdb_out_options out = {.write = discard, .version = 10, .exact = true};
    struct bench *b = mem_zalloc(sizeof(*b));
    struct snapshot_sink sink = {.entry = on_entry, .big_begin = on_begin, .big_part = on_part,
                                 .big_end = on_end, .ctx = b};
    b->count = count;
    b->shard = shard_new(&options);
    b->ks = (struct ks){.shard = b->shard, .now = 1};
    rng_seed(&b->rng, 3);
    b->out = rdb_out_new(&out);
    printf("%s of %" PRIu64 "\n", type_name(type), count);
    build(b, type);
    round_of(b, type, "without a snapshot", false);
    shard_snapshot_begin(b->shard, &sink);
    round_of(b, type, "waiting to be told", false);
    printf("  images of what was overwritten: %zu KiB\n",
           shard_snapshot_held_bytes(b->shard) / 1024);
    round_of(b, type, "being told", true);
    while (shard_snapshot_step(b->shard, 1000)) {}
    rdb_out_free(b->out);
    shard_free(b->shard);
    mem_free(b);
}

int main(int argc, char **argv)
{
    uint64_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
    run(count, TYPE_HASH);
    run(count, TYPE_ZSET);
    run(count, TYPE_LIST);
    run(count, TYPE_STRING);
    return 0;
}
