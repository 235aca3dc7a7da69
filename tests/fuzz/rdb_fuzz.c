/* Fuzz target of dumps. Byte 0 chooses the size of the pieces that the reader is given, whether it
 * knows the file's size, encoding limits, and whether records are found ahead; the rest is a file.
 * Checksums are not looked at, else no mutation would come far.
 *
 * Every key is put into a shard. What could be read to the end is written as a dump, read again and
 * written once more: both dumps must be as long (tables have no order). Then all goes, and the
 * shard must count as many bytes as before. The same file is also passed over key by key, which
 * must come to the same end where the values are sound. */
#include <string.h>

#include "fuzz.h"
#include "handler.h"
#include "splitring/base/check.h"
#include "splitring/persist/rdb_file.h"

#define DATABASES 16u

static struct handler_world world;
static uint64_t bytes_at_rest;

struct file {
    struct slice left;
    size_t piece;
};

static ssize_t give(void *ctx, char *ptr, size_t len)
{
    struct file *f = ctx;
    if (len > f->left.len) len = f->left.len;
    if (len > f->piece) len = f->piece;
    if (len) memcpy(ptr, f->left.ptr, len);
    f->left = slice_of(f->left.ptr + len, f->left.len - len);
    return (ssize_t)len;
}

static int keep(void *ctx, const char *ptr, size_t len)
{
    buf_append(ctx, ptr, len);
    return 0;
}

static struct ks view(uint32_t db)
{
    return (struct ks){.shard = world.shards[0], .shards = world.shards, .shard_count = 1,
                       .db = (db_id)db, .now = world.now};
}

static void flush(void)
{
    size_t done;
    for (uint32_t db = 0; db < DATABASES; db++) {
        struct ks ks = view(db);
        (void)ks_flush_db(&ks, (db_id)db, false);
    }
    do {
        done = shard_free_step(world.shards[0], SIZE_MAX);
    } while (done);
}

/* Records that lie in memory, found together and put. */
static int load_plain(struct rdb_in *in, const struct rdb_limits *limits, bool put)
{
    struct rdb_plain found[8];
    unsigned count;
    int rc = 0;
    do {
        rdb_in_plain_begin(in);
        for (count = 0; count < ARRAY_COUNT(found) && rdb_in_plain(in, &found[count]);) count++;
        for (unsigned i = 0; put && rc == 0 && i < count; i++) {
            struct ks ks = view(found[i].db);
            rc = rdb_in_put_plain(in, &ks, limits, &found[i]);
            if (rc == RDB_E_EMPTY || rc == RDB_E_TWICE) rc = 0;
        }
    } while (rc == 0 && count > 0);
    return rc;
}

/* How it ended; `put`: values are made, else passed over. */
static int load(struct slice file, unsigned choice, bool put)
{
    static const size_t pieces[] = {SIZE_MAX, 1, 7, 4096};
    struct rdb_limits small = {.hash = {2, 4}, .set = {2, 2, 4}, .zset = {2, 4}, .list_fill = 3};
    struct rdb_limits usual = {.hash = {512, 64}, .set = {512, 128, 64}, .zset = {128, 64},
                               .list_fill = -2};
    struct file f = {file, pieces[choice & 3]};
    struct rdb_in_options options = {.read = give, .ctx = &f, .databases = DATABASES,
                                     .size = choice & 4 ? file.len : UINT64_MAX,
                                     .skip_checksum = true};
    struct rdb_in *in = rdb_in_new(&options);
    struct rdb_item item = {.kind = RDB_ITEM_AUX};
    const struct rdb_limits *limits = choice & 8 ? &small : &usual;
    int rc;
    while ((rc = rdb_in_next(in, &item)) == 0 && item.kind != RDB_ITEM_END) {
        struct ks ks = view(item.db);
        if (item.kind != RDB_ITEM_KEY) rc = choice & 64 ? load_plain(in, limits, put) : 0;
        else rc = put ? rdb_in_put(in, &ks, limits, &item) : rdb_in_skip(in);
        if (rc == RDB_E_EMPTY || rc == RDB_E_TWICE) rc = 0;
        if (rc != 0) break;
    }
    check((rc == 0) == (rdb_in_error(in)[0] == '\0'));
    check(rdb_in_offset(in) <= file.len);
    rdb_in_free(in);
    return rc;
}

struct put {
    struct rdb_out *out;
    struct ks *ks;
};

static void put_key(void *ctx, const struct entry *e)
{
    struct put *p = ctx;
    check(rdb_out_key(p->out, p->ks, e));
}

static void save(unsigned choice, struct buf *file)
{
    char header[RDB_HEADER_LEN + 1];
    bool changed;
    struct rdb_out_options options = {.write = keep, .ctx = file, .version = 10, .exact = true,
                                      .compress = choice & 16, .checksum = choice & 32};
    struct rdb_out *out = rdb_out_new(&options);
    for (uint32_t db = 0; db < DATABASES; db++) {
        struct ks ks = view(db);
        struct put p = {out, &ks};
        ks.flags = KS_LOGICAL;
        rdb_out_db(out, db, ks_db_keys(&ks, (db_id)db), 0);
        ks_each(&ks, put_key, &p);
    }
    check(rdb_out_end(out, header, &changed) == 0);
    if (changed) memcpy(file->ptr, header, RDB_HEADER_LEN);
    rdb_out_free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len < 2) return 0;
    if (world.shard_count == 0) {
        handler_init(&world, 1, 5);
        for (uint32_t db = 0; db < DATABASES; db++) { /* the tables are there from now on */
            struct ks ks = view(db);
            check(ks_set_string(&ks, SLICE("k"), SLICE("v"), EXPIRE_NONE) == 0);
        }
        flush();
        bytes_at_rest = shard_stats_of(world.shards[0])->bytes;
    }
    struct slice file = slice_of((const char *)data + 1, len - 1);
    int rc = load(file, data[0], true);
    if (rc == 0) {
        struct buf first = {0}, second = {0};
        save(data[0], &first);
        flush();
        check(load(buf_slice(&first), data[0] ^ 1, true) == 0);
        save(data[0], &second);
        check(data[0] & 16 || first.len == second.len); /* another order packs differently */
        check(load(buf_slice(&first), data[0], false) == 0);
        buf_deinit(&first);
        buf_deinit(&second);
    }
    flush();
    /* Values that were given up on the way leave nothing behind either. */
    check(shard_stats_of(world.shards[0])->bytes == bytes_at_rest);
    if (rc == 0) check(load(file, data[0], false) == 0);
    return 0;
}
