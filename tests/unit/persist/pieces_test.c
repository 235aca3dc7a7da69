/* Snapshots written as RDB while big values are written to: what the file loads to is what was
 * there at the cut. Entries that writers tell while a value is open go to a second file. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "handler.h"
#include "splitring/keyspace/snapshot.h"
#include "splitring/persist/rdb_file.h"

#define FIELDS 3000u

struct file {
    struct rdb_out *out;
    struct buf bytes;
};

struct snap {
    struct file main, side;
    bool open;
    unsigned bigs, aside;
};

static int append(void *ctx, const char *ptr, size_t len)
{
    buf_append(ctx, ptr, len);
    return 0;
}

static void file_begin(struct file *f)
{
    struct rdb_out_options options = {.write = append, .ctx = &f->bytes, .version = 10,
                                      .exact = true, .compress = true, .checksum = true};
    f->out = rdb_out_new(&options);
    rdb_out_db(f->out, 0, 0, 0);
}

static void file_end(struct file *f)
{
    char header[RDB_HEADER_LEN + 1];
    bool changed;
    cr_assert_eq(rdb_out_end(f->out, header, &changed), 0);
    if (changed) memcpy(f->bytes.ptr, header, RDB_HEADER_LEN);
    rdb_out_free(f->out);
}

static void on_entry(void *ctx, db_id db, const struct entry *e)
{
    struct snap *s = ctx;
    cr_assert_eq(db, 0);
    s->aside += s->open;
    cr_assert(rdb_out_key_as(s->open ? s->side.out : s->main.out, e, entry_expiry(e), -1, -1));
}

static void on_begin(void *ctx, db_id db, const struct entry *e, uint64_t count, instant_ms lowest)
{
    struct snap *s = ctx;
    cr_assert_eq(db, 0);
    cr_assert_not(s->open);
    s->open = true;
    s->bigs++;
    rdb_out_big(s->main.out, e, -1, -1, count, lowest);
}

static void on_part(void *ctx, enum value_type type, const struct snapshot_part *part)
{
    struct snap *s = ctx;
    cr_assert(s->open);
    rdb_out_part(s->main.out, type, part);
}

static void on_end(void *ctx) { ((struct snap *)ctx)->open = false; }

static ssize_t give(void *ctx, char *ptr, size_t len)
{
    struct slice *left = ctx;
    if (len > left->len) len = left->len;
    memcpy(ptr, left->ptr, len);
    *left = slice_of(left->ptr + len, left->len - len);
    return (ssize_t)len;
}

static const struct rdb_limits limits = {
    .hash = {128, 64}, .set = {512, 128, 64}, .zset = {128, 64}, .list_fill = -2};

static void load(struct handler_world *w, struct file *f)
{
    struct slice left = buf_slice(&f->bytes);
    struct rdb_in_options options = {.read = give, .ctx = &left, .databases = 16,
                                     .size = left.len};
    struct rdb_in *in = rdb_in_new(&options);
    struct rdb_item item = {.kind = RDB_ITEM_AUX};
    int rc;
    while ((rc = rdb_in_next(in, &item)) == 0 && item.kind != RDB_ITEM_END) {
        if (item.kind != RDB_ITEM_KEY) continue;
        struct ks ks = {.shard = w->shards[0], .now = w->now};
        rc = rdb_in_put(in, &ks, &limits, &item);
        if (rc != 0) break;
    }
    cr_assert_eq(rc, 0, "%s", rdb_in_error(in));
    rdb_in_free(in);
    buf_deinit(&f->bytes);
}

static void fill(struct handler_world *w)
{
    for (unsigned i = 0; i < FIELDS; i++) {
        handler_runf(w, "HSET hash f%u value:%u:of:some:length", i, i);
        handler_runf(w, "HSET ttls f%u %u", i, i);
        handler_runf(w, "ZADD zset %u.25 member%u", i % 99, i);
        handler_runf(w, "SADD set member%u %u", i, i * 3);
        handler_runf(w, "RPUSH list element%u %u", i, i * 5);
        handler_runf(w, "SET small%u %u", i, i);
    }
    w->env.hash_max_listpack_entries = w->env.zset_max_listpack_entries = FIELDS;
    w->env.set_max_listpack_entries = w->env.set_max_intset_entries = FIELDS;
    for (unsigned i = 0; i < FIELDS / 3; i++) {
        handler_runf(w, "HSET packed f%u value:%u", i, i);
        handler_runf(w, "HSET packedttls f%u value:%u", i, i);
        if (i % 5 == 0)
            handler_runf(w, "HPEXPIREAT packedttls %lld FIELDS 1 f%u", 1800000000000LL - i, i);
        handler_runf(w, "ZADD packedzset %u member%u", i % 99, i);
        handler_runf(w, "SADD packedset member%u", i);
        handler_runf(w, "SADD intset %u", i * 70000);
    }
    handler_runf(w, "SETRANGE string 300000 end");
    handler_runf(w, "SETRANGE string 100000 middle");
    for (unsigned i = 0; i < FIELDS; i += 7)
        handler_runf(w, "HPEXPIREAT ttls %lld FIELDS 1 f%u", 1800000000000LL - i, i);
    handler_runf(w, "PEXPIREAT zset 1900000000000");
}

static void write_something(struct handler_world *w, struct rng *rng)
{
    unsigned i = (unsigned)rng_below(rng, FIELDS + 100);
    handler_runf(w, "HSET hash f%u changed", i);
    handler_runf(w, "HDEL hash f%u", i + 1);
    handler_runf(w, "HSET ttls f%u changed", i);
    handler_runf(w, "HPERSIST ttls FIELDS 1 f%u", i + 3);
    handler_runf(w, "ZADD zset 3 member%u", i);
    handler_runf(w, "ZREM zset member%u", i + 1);
    handler_runf(w, "SREM set member%u", i);
    handler_runf(w, "SADD set other%u", i);
    handler_runf(w, "LSET list %u changed", i);
    handler_runf(w, "LPOP list");
    handler_runf(w, "RPUSH list more");
    handler_runf(w, "SET small%u changed", i);
    handler_runf(w, "HSET packed f%u changed", i / 3);
    handler_runf(w, "HDEL packedttls f%u", i / 3);
    handler_runf(w, "ZADD packedzset 0 member%u", i / 3);
    handler_runf(w, "SREM packedset member%u", i / 3);
    handler_runf(w, "SADD intset %u", i * 3);
    handler_runf(w, "SETRANGE string %u changed", i * 90);
    handler_runf(w, "APPEND string more");
}

static void run(uint64_t seed, bool remove)
{
    struct handler_world w, loaded;
    struct snap s = {0};
    struct rng rng;
    struct buf before = {0}, after = {0};
    rng_seed(&rng, seed);
    handler_init(&w, 1, 5);
    handler_init(&loaded, 1, 5);
    fill(&w);
    handler_dump(&w, &before);
    file_begin(&s.main);
    file_begin(&s.side);
    struct snapshot_sink sink = {.entry = on_entry, .big_begin = on_begin, .big_part = on_part,
                                 .big_end = on_end, .big = 1000, .ctx = &s};
    shard_snapshot_begin(w.shards[0], &sink);
    write_something(&w, &rng);
    if (remove) handler_run_line(&w, "DEL hash ttls zset set list string packed "
                                           "packedttls packedzset packedset intset");
    while (shard_snapshot_step(w.shards[0], 100)) write_something(&w, &rng);
    cr_assert_eq(s.bigs, 11);
    cr_assert_gt(s.aside, 0);
    file_end(&s.main);
    file_end(&s.side);
    load(&loaded, &s.main);
    load(&loaded, &s.side);
    handler_dump(&loaded, &after);
    cr_assert(slice_equal(buf_slice(&before), buf_slice(&after)));
    buf_deinit(&before);
    buf_deinit(&after);
    handler_deinit(&w);
    handler_deinit(&loaded);
}

Test(pieces, load_to_the_cut, .timeout = 60)
{
    for (uint64_t seed = 1; seed < 4; seed++) run(seed, false);
}

Test(pieces, of_values_that_have_left, .timeout = 60) { run(9, true); }
