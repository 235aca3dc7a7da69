/* Dumps as streams: what a writer wrote, a reader reads; whatever is done to the bytes in between
 * is an error or nothing. Data sets are random, of all types and several databases. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "codec.h"
#include "crc64.h"
#include "handler.h"
#include "splitring/persist/rdb_file.h"

#define DATABASES 4u

/* ---- a data set ---- */

static void word(struct rng *rng, char out[400])
{
    static const unsigned lens[] = {1, 3, 12, 25, 63, 70, 300};
    unsigned len = lens[rng_below(rng, ARRAY_COUNT(lens))];
    if (rng_below(rng, 4) == 0) {
        snprintf(out, 400, "%lld", (long long)rng_next(rng) >> rng_below(rng, 63));
        return;
    }
    bool flat = rng_below(rng, 3) == 0;
    for (unsigned i = 0; i < len; i++) {
        out[i] = flat ? 'x' : "abcdefghijklmnopqrstuvwxyz0123456789"[rng_below(rng, 36)];
    }
    out[len] = '\0';
}

static void add_elements(struct handler_world *w, struct rng *rng, unsigned key)
{
    static const unsigned counts[] = {1, 5, 40, 200, 700};
    unsigned kind = (unsigned)rng_below(rng, 7), count = counts[rng_below(rng, 5)];
    char a[400], b[400];
    for (unsigned i = 0; i < count; i++) {
        word(rng, a);
        word(rng, b);
        switch (kind) {
        case 0: handler_runf(w, "SET k%u %s", key, a); break;
        case 1: handler_runf(w, "RPUSH l%u %s %s", key, a, b); break;
        case 2: handler_runf(w, "SADD s%u %s", key, a); break;
        case 3: handler_runf(w, "SADD n%u %u", key, (unsigned)rng_below(rng, 100000)); break;
        case 4: handler_runf(w, "ZADD z%u %d.5 %s", key, (int)rng_below(rng, 1000) - 500, a); break;
        case 5: handler_runf(w, "HSET h%u %s %s", key, a, b); break;
        default: handler_runf(w, "XADD x%u %u-%u %s %s", key, i + 1, i, a, b); break;
        }
    }
    if (kind == 5 && rng_below(rng, 2)) {
        handler_runf(w, "HPEXPIREAT h%u %lld FIELDS 1 %s", key, 1800000000000LL + key, a);
    }
    if (kind == 6 && rng_below(rng, 2)) {
        handler_runf(w, "XGROUP CREATE x%u g 0", key);
        handler_runf(w, "XREADGROUP GROUP g c COUNT 7 STREAMS x%u >", key);
        handler_runf(w, "XDEL x%u 1-0 3-2", key);
    }
}

static void fill(struct handler_world *w, struct rng *rng, unsigned keys)
{
    for (unsigned key = 0; key < keys; key++) {
        w->db = (db_id)rng_below(rng, DATABASES);
        add_elements(w, rng, key);
        if (rng_below(rng, 4) == 0) {
            handler_runf(w, "PEXPIREAT k%u %lld", key, 1800000000000LL + key);
            handler_runf(w, "PEXPIREAT l%u %lld", key, 1800000000000LL + key);
        }
    }
    w->db = 0;
}

/* ---- to bytes and back ---- */

static int append(void *ctx, const char *ptr, size_t len)
{
    struct buf *out = ctx;
    buf_append(out, ptr, len);
    return 0;
}

static struct ks view_of(const struct handler_world *w, uint32_t db)
{
    return (struct ks){.shards = w->shards, .shard_count = w->shard_count, .db = (db_id)db,
                       .now = w->now};
}

struct put {
    struct rdb_out *out;
    struct ks *ks;
};

static void put_key(void *ctx, const struct entry *e)
{
    struct put *put = ctx;
    cr_assert(rdb_out_key(put->out, put->ks, e));
}

static void save(const struct handler_world *w, bool compress, struct buf *file)
{
    struct rdb_out_options options = {.write = append, .ctx = file, .version = 10, .exact = true,
                                      .compress = compress, .checksum = true};
    struct rdb_out *out = rdb_out_new(&options);
    rdb_out_aux(out, "redis-ver", SLICE("7.2.0"));
    rdb_out_function(out, SLICE("#!lua name=lib\nredis.register_function('f', function() end)"));
    for (uint32_t db = 0; db < DATABASES; db++) {
        struct ks ks = view_of(w, db);
        struct put put = {out, &ks};
        if (!ks_db_keys(&ks, (db_id)db)) continue;
        rdb_out_db(out, db, ks_db_keys(&ks, (db_id)db), 0);
        ks_each(&ks, put_key, &put);
    }
    char header[RDB_HEADER_LEN + 1];
    bool changed;
    cr_assert_eq(rdb_out_end(out, header, &changed), 0);
    if (changed) memcpy(file->ptr, header, RDB_HEADER_LEN);
    rdb_out_free(out);
    cr_assert_not(file->failed);
}

struct bytes {
    struct slice left;
    struct rng *rng; /* NULL: as much as is asked for */
};

static ssize_t give(void *ctx, char *ptr, size_t len)
{
    struct bytes *b = ctx;
    size_t most = b->rng ? 1 + rng_below(b->rng, rng_below(b->rng, 8) ? 7 : 100000) : SIZE_MAX;
    if (len > b->left.len) len = b->left.len;
    if (len > most) len = most;
    if (len) memcpy(ptr, b->left.ptr, len);
    b->left = slice_of(b->left.ptr + len, b->left.len - len);
    return (ssize_t)len;
}

static const struct rdb_limits limits = {
    .hash = {128, 64}, .set = {512, 128, 64}, .zset = {128, 64}, .list_fill = -2};

/* Up to `most` records that lie in memory are found, then put. */
static int load_plain(struct handler_world *w, struct rdb_in *in, unsigned most)
{
    struct rdb_plain found[16];
    unsigned count = 0;
    int rc = 0;
    rdb_in_plain_begin(in);
    while (count < most && rdb_in_plain(in, &found[count])) count++;
    for (unsigned i = 0; w && rc == 0 && i < count; i++) {
        struct ks ks = view_of(w, found[i].db);
        rc = rdb_in_put_plain(in, &ks, &limits, &found[i]);
        if (rc == RDB_E_EMPTY) rc = 0;
        struct rdb_item item = {.kind = RDB_ITEM_KEY, .key = found[i].key, .db = found[i].db,
                                .offset = found[i].offset};
        if (rc == RDB_E_TWICE) rc = rdb_in_refuse(in, &item, "Duplicate");
    }
    return rc;
}

/* How a reading ended; every key is put into the world, or passed over if there is none. With
 * pieces, some are read ahead. */
static int load(struct handler_world *w, struct slice file, struct rng *pieces, bool sized,
                char error[400])
{
    struct bytes bytes = {file, pieces};
    struct rdb_in_options options = {.read = give, .ctx = &bytes, .databases = DATABASES,
                                     .size = sized ? file.len : UINT64_MAX};
    struct rdb_in *in = rdb_in_new(&options);
    struct rdb_item item = {.kind = RDB_ITEM_AUX};
    int rc;
    while ((rc = rdb_in_next(in, &item)) == 0 && item.kind != RDB_ITEM_END) {
        if (item.kind != RDB_ITEM_KEY) {
            rc = pieces ? load_plain(w, in, (unsigned)rng_below(pieces, 17)) : 0;
        } else if (w) {
            struct ks ks = view_of(w, item.db);
            rc = rdb_in_put(in, &ks, &limits, &item);
            if (rc == 0 && pieces) rc = load_plain(w, in, (unsigned)rng_below(pieces, 17));
            if (rc == RDB_E_EMPTY) rc = 0;
            if (rc == RDB_E_TWICE) rc = rdb_in_refuse(in, &item, "Duplicate");
        } else {
            rc = rdb_in_skip(in);
        }
        if (rc != 0) break;
    }
    snprintf(error, 400, "%s", rdb_in_error(in));
    rdb_in_free(in);
    return rc;
}

static void same_data(struct handler_world *a, struct handler_world *b)
{
    struct buf left = {0}, right = {0};
    handler_dump(a, &left);
    handler_dump(b, &right);
    cr_assert(slice_equal(buf_slice(&left), buf_slice(&right)));
    buf_deinit(&left);
    buf_deinit(&right);
}

Test(file, what_is_written_is_read)
{
    char error[400];
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct handler_world from, to;
        struct buf file = {0};
        struct rng rng;
        rng_seed(&rng, seed);
        handler_init(&from, 1 + (uint32_t)(seed % 3), seed);
        handler_init(&to, 1 + (uint32_t)(seed % 4), seed + 100);
        from.expect_effects = false;
        fill(&from, &rng, 30);
        save(&from, seed & 1, &file);
        int rc = load(&to, buf_slice(&file), seed & 2 ? &rng : NULL, seed & 4, error);
        cr_assert_eq(rc, 0, "seed %d: %s", (int)seed, error);
        same_data(&from, &to);
        rc = load(NULL, buf_slice(&file), &rng, true, error);
        cr_assert_eq(rc, 0, "skipping, seed %d: %s", (int)seed, error);
        buf_deinit(&file);
        handler_deinit(&from);
        handler_deinit(&to);
    }
}

/* The version is the lowest that can tell the data; the header is part of the checksum. */
Test(file, version_follows_the_data)
{
    static const struct {
        const char *lines[4], *header;
    } rows[] = {
        {{"SET k v", "XADD x 1-1 a b", "XGROUP CREATE x g 0"}, "REDIS0010"},
        {{"XADD x 1-1 a b", "XGROUP CREATE x g 0", "XREADGROUP GROUP g c STREAMS x >"},
         "REDIS0011"},
        {{"HSET h f v", "HPEXPIREAT h 1800000000000 FIELDS 1 f"}, "REDIS0012"},
    };
    char error[400];
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct handler_world w, to;
        struct buf file = {0};
        handler_init(&w, 2, 7);
        handler_init(&to, 1, 8);
        w.expect_effects = false;
        for (const char *const *line = rows[i].lines; *line; line++) handler_run_line(&w, *line);
        save(&w, true, &file);
        cr_assert_eq(memcmp(file.ptr, rows[i].header, RDB_HEADER_LEN), 0, "%.9s", file.ptr);
        cr_assert_eq(load(&to, buf_slice(&file), NULL, true, error), 0, "%s", error);
        same_data(&w, &to);
        buf_deinit(&file);
        handler_deinit(&w);
        handler_deinit(&to);
    }
}

/* Every flipped bit, every cut and every zeroed run is found, and its offset lies in the file. */
Test(file, damage_is_found)
{
    char error[400];
    struct handler_world from, to;
    struct buf file = {0};
    struct rng rng;
    rng_seed(&rng, 5);
    handler_init(&from, 2, 1);
    from.expect_effects = false;
    fill(&from, &rng, 12);
    save(&from, true, &file);
    for (unsigned round = 0; round < 3000; round++) {
        struct buf bad = {0};
        size_t at = rng_below(&rng, file.len), run = 1 + rng_below(&rng, 64), len = file.len;
        buf_append_slice(&bad, buf_slice(&file));
        bool zeros = true;
        switch (round % 3) {
        case 0: bad.ptr[at] ^= (char)(1 << rng_below(&rng, 8)); break;
        case 1: len = at; break;
        default:
            for (size_t i = at; i < at + run && i < file.len; i++) {
                zeros &= bad.ptr[i] == 0;
                bad.ptr[i] = 0;
            }
            if (zeros) bad.ptr[at] = 1;
        }
        /* A checksum of zero stands for none: only the data before it can be damaged then. */
        uint64_t crc = 1;
        if (len == file.len) memcpy(&crc, bad.ptr + len - sizeof(crc), sizeof(crc));
        handler_init(&to, 1, round);
        int rc = load(&to, slice_of(bad.ptr, len), round & 1 ? &rng : NULL, round & 4, error);
        if (crc != 0) {
            unsigned long long offset = UINT64_MAX;
            const char *told = strstr(error, "(offset ");
            cr_assert_neq(rc, 0, "round %u: damage at %zu was not found", round, at);
            cr_assert(told && sscanf(told, "(offset %llu)", &offset) == 1, "%s", error);
            cr_assert_leq(offset, file.len);
        }
        handler_deinit(&to);
        buf_deinit(&bad);
    }
    buf_deinit(&file);
    handler_deinit(&from);
}

static int load_bytes(const char *bytes, size_t len, char error[400])
{
    struct handler_world w;
    handler_init(&w, 1, 1);
    int rc = load(&w, slice_of(bytes, len), NULL, true, error);
    handler_deinit(&w);
    return rc;
}

#define LOAD(text, error) load_bytes(text, sizeof(text) - 1, error)
#define END "\xff\0\0\0\0\0\0\0\0"

Test(file, headers_and_opcodes)
{
    char error[400];
    cr_expect_eq(LOAD("REDIS0011" END, error), 0, "%s", error);
    cr_expect_eq(LOAD("VALKEY080" END, error), 0, "%s", error);
    cr_expect_eq(LOAD("REDIS0004\xff", error), 0, "%s", error); /* no checksum yet */
    cr_expect_neq(LOAD("REDIS0013" END, error), 0);
    cr_expect(strstr(error, "Can't handle RDB format version 13"), "%s", error);
    cr_expect_neq(LOAD("RUDIS0011" END, error), 0);
    cr_expect(strstr(error, "Wrong signature"), "%s", error);
    cr_expect_neq(LOAD("REDIS0011\xfe\x40\xff" END, error), 0);
    cr_expect(strstr(error, "more than 4 databases"), "%s", error);
    cr_expect_neq(LOAD("REDIS0011\xf6" END, error), 0);
    cr_expect(strstr(error, "Pre-release function format"), "%s", error);
    cr_expect_neq(LOAD("REDIS0011\6\1k\5" END, error), 0);
    cr_expect(strstr(error, "module"), "%s", error);
    /* slot info, slot import, an empty record of a module, sizes, then a key with a frequency */
    cr_expect_eq(LOAD("REDIS0012\xf4\1\2\3\xf3\1j\1\2\3\xf7\5\2\1\0\xfb\1\0\xf9\x7f\0\1k\1v" END,
                      error), 0, "%s", error);
    /* … and one that holds something */
    cr_expect_neq(LOAD("REDIS0012\xf7\5\2\1\2\7\0" END, error), 0);
    cr_expect(strstr(error, "AUX module data"), "%s", error);
    /* a collection without elements is no damage */
    cr_expect_eq(LOAD("REDIS0012\4\1h\0\0\1k\1v" END, error), 0, "%s", error);
    /* the same key twice */
    cr_expect_neq(LOAD("REDIS0012\0\1k\1v\0\1k\1w" END, error), 0);
    cr_expect(strstr(error, "Duplicate: key 'k' in db 0 (offset 14)"), "%s", error);
    /* a length that is a lie */
    cr_expect_neq(LOAD("REDIS0012\0\1k\x81\x7f\xff\xff\xff\xff\xff\xff\xffv" END, error), 0);
    cr_expect(strstr(error, "Unexpected end of file in value of key 'k' in db 0 (offset 9)"), "%s",
              error);
}

Test(file, crc_over_zeros)
{
    static const char zeros[1000];
    for (size_t len = 0; len < sizeof(zeros); len += 1 + len / 3) {
        cr_assert_eq(crc64_zeros(0x123456789abcdef0, len), crc64(0x123456789abcdef0, zeros, len));
    }
}

/* A value that is longer than many blocks leaves in blocks. */
struct longest {
    size_t piece, total;
};

static int measure(void *ctx, const char *ptr, size_t len)
{
    struct longest *l = ctx;
    (void)ptr;
    if (len > l->piece) l->piece = len;
    l->total += len;
    return 0;
}

Test(file, big_values_leave_in_blocks)
{
    struct handler_world w;
    struct longest l = {0};
    handler_init(&w, 1, 3);
    w.expect_effects = false;
    for (unsigned i = 0; i < 20000; i++) {
        handler_runf(&w, "HSET h field:%u value-of-some-length-%u", i, i * 7919);
        handler_runf(&w, "ZADD z %u member:%u", i, i);
    }
    struct rdb_out_options options = {.write = measure, .ctx = &l, .version = 10, .checksum = true};
    struct rdb_out *out = rdb_out_new(&options);
    struct ks ks = view_of(&w, 0);
    struct put put = {out, &ks};
    ks_each(&ks, put_key, &put);
    char header[RDB_HEADER_LEN + 1];
    bool changed;
    cr_assert_eq(rdb_out_end(out, header, &changed), 0);
    rdb_out_free(out);
    cr_assert_gt(l.total, 8 * RDB_BLOCK);
    cr_assert_leq(l.piece, 2 * RDB_BLOCK);
    handler_deinit(&w);
}
