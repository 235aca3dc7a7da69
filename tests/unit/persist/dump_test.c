/* DUMP and RESTORE through their handlers: payloads of redis-server, every damage to them, options,
 * errors, effects. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "crc64.h"
#include "dump_rows.h"
#include "handler.h"
#include "splitring/base/mem.h"
#include "splitring/base/num.h"

static struct handler_world world;

static void begin(void) { handler_init(&world, 1, 7); }
static void end(void) { handler_deinit(&world); }
TestSuite(dump, .init = begin, .fini = end);

/* A value, given without its footer, as a payload of this version. */
static struct buf payload_of(const char *value, size_t len, uint16_t version)
{
    struct buf out = {0};
    buf_append(&out, value, len);
    buf_append(&out, &version, sizeof(version));
    uint64_t crc = crc64(0, out.ptr, out.len);
    buf_append(&out, &crc, sizeof(crc));
    return out;
}

static const char *restore(const char *key, struct slice payload, const char *option)
{
    struct slice argv[] = {SLICE("RESTORE"), slice_str(key), SLICE("0"), payload,
                           slice_str(option)};
    return handler_run(&world, option[0] ? 5 : 4, argv);
}

/* The payload that DUMP replies; the caller frees it. */
static struct buf dump(const char *key)
{
    const char *reply = handler_runf(&world, "DUMP %s", key);
    struct buf out = {0};
    cr_assert_eq(reply[0], '$', "%s", reply);
    size_t len = strtoul(reply + 1, NULL, 10);
    buf_append(&out, strchr(reply, '\n') + 1, len);
    return out;
}

Test(dump, strings)
{
    /* Of redis-server 7.0. */
    static const struct {
        const char *set, *payload;
        size_t len;
    } rows[] = {
        {"SET k hello", "\0\5hello\n\0", 9},
        {"SET k 12", "\0\xc0\xc\n\0", 5},
        {"SET k -1000", "\0\xc1\x18\xfc\n\0", 6},
        {"SET k 2147483647", "\0\xc2\xff\xff\xff\x7f\n\0", 8},
        {"SET k 2147483648", "\0\xa" "2147483648\n\0", 14},
        {"SET k ''", "\0\0\n\0", 4},
        {"SET k aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "\0\xc3\x9\x1e\1aa\xe0\x11\0\1aa\n\0", 15},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        (void)handler_run_line(&world, rows[i].set);
        struct buf payload = dump("k");
        cr_assert_eq(payload.len, rows[i].len + 8, "%s", rows[i].set);
        cr_assert(memcmp(payload.ptr, rows[i].payload, rows[i].len) == 0, "%s", rows[i].set);
        cr_assert_str_eq(restore("copy", buf_slice(&payload), "REPLACE"), "+OK\r\n");
        const char *got = handler_run_line(&world, "GET copy");
        char *copy = strdup(got);
        cr_assert_str_eq(handler_run_line(&world, "GET k"), copy);
        free(copy);
        buf_deinit(&payload);
    }
    cr_assert_str_eq(handler_run_line(&world, "DUMP nothing"), "$-1\r\n");
}

Test(dump, checksum_and_version)
{
    (void)handler_run_line(&world, "SET k hello");
    struct buf payload = dump("k");
    static const char bad[] = "-ERR DUMP payload version or checksum are wrong\r\n";
    for (size_t i = 0; i < payload.len; i++) {
        payload.ptr[i] ^= 1;
        cr_assert_str_eq(restore("copy", buf_slice(&payload), ""), bad, "byte %zu", i);
        payload.ptr[i] ^= 1;
        cr_assert_str_eq(restore("copy", slice_of(payload.ptr, i), ""), bad, "%zu bytes", i);
    }
    buf_deinit(&payload);
    static const struct {
        uint16_t version;
        bool ok;
    } rows[] = {{0, false}, {1, true}, {9, true}, {11, true}, {12, true}, {13, false},
                {79, false}, {80, true}, {65535, false}};
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        payload = payload_of("\0\1a", 3, rows[i].version);
        cr_expect_str_eq(restore("copy", buf_slice(&payload), "REPLACE"),
                         rows[i].ok ? "+OK\r\n" : bad, "version %u", rows[i].version);
        buf_deinit(&payload);
    }
    /* A checksum of zero means that there is none. */
    cr_assert_str_eq(restore("copy", slice_of("\0\1a\n\0\0\0\0\0\0\0\0\0", 13), "REPLACE"),
                     "+OK\r\n");
}

Test(dump, options_and_their_errors)
{
    struct buf payload = payload_of("\0\1a", 3, 10);
    struct slice p = buf_slice(&payload);
    static const struct {
        const char *options, *reply;
    } rows[] = {
        {"k 0", "-BUSYKEY Target key name already exists.\r\n"},
        {"k x", "-BUSYKEY Target key name already exists.\r\n"},
        {"new x", "-ERR value is not an integer or out of range\r\n"},
        {"new -1", "-ERR Invalid TTL value, must be >= 0\r\n"},
        {"k 0 FOO", "-ERR syntax error\r\n"},
        {"k 0 FREQ", "-ERR syntax error\r\n"},
        {"k 0 IDLETIME 5 FREQ 5", "-ERR syntax error\r\n"},
        {"k 0 IDLETIME -1", "-ERR Invalid IDLETIME value, must be >= 0\r\n"},
        {"k 0 FREQ 256", "-ERR Invalid FREQ value, must be >= 0 and <= 255\r\n"},
        {"k 0 FREQ x", "-ERR value is not an integer or out of range\r\n"},
        {"k 0 REPLACE IDLETIME 1000", "+OK\r\n"},
        {"new 5000", "+OK\r\n"},
        {"past 5 ABSTTL", "+OK\r\n"},
        {"k 5 ABSTTL REPLACE", "+OK\r\n"},
        {"wrap 9223372036854775807", "+OK\r\n"},
        {"late 9223372036854775807 ABSTTL", "+OK\r\n"},
    };
    (void)handler_run_line(&world, "SET k v");
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct slice argv[8] = {SLICE("restore")};
        int argc = 1;
        char text[64];
        snprintf(text, sizeof(text), "%s", rows[i].options);
        for (char *word = strtok(text, " "); word; word = strtok(NULL, " ")) {
            if (argc == 3) argv[argc++] = p;
            argv[argc++] = slice_str(word);
        }
        if (argc == 3) argv[argc++] = p;
        cr_expect_str_eq(handler_run(&world, argc, argv), rows[i].reply, "%s", rows[i].options);
        if (i == 10) cr_assert_str_eq(handler_run_line(&world, "OBJECT IDLETIME k"), ":1000\r\n");
    }
    cr_assert_str_eq(handler_run_line(&world, "PTTL new"), ":5000\r\n");
    cr_assert_str_eq(handler_run_line(&world, "EXISTS k past wrap late"), ":1\r\n");
    buf_deinit(&payload);
    struct handler_world replica;
    handler_init(&replica, 3, 8);
    handler_replay(&world, &replica);
    struct buf ours = {0}, theirs = {0};
    handler_dump(&world, &ours);
    handler_dump(&replica, &theirs);
    cr_assert(slice_equal(buf_slice(&ours), buf_slice(&theirs)));
    buf_deinit(&ours);
    buf_deinit(&theirs);
    handler_deinit(&replica);
}

/* ---- values of every type ---- */

static const char *expected(const char *command)
{
    static const struct {
        const char *command, *reply;
    } replies[] = {
        {"LRANGE", "*3\r\n$1\r\na\r\n$2\r\n12\r\n$5\r\nhello\r\n"},
        {"SMISMEMBER", "*4\r\n:1\r\n:1\r\n:1\r\n:0\r\n"},
        {"ZRANGE", "*6\r\n$1\r\na\r\n$4\r\n-1.5\r\n$2\r\n12\r\n$1\r\n2\r\n$5\r\nhello\r\n"
                   "$1\r\n2\r\n"},
        {"HMGET", "*3\r\n$2\r\n12\r\n$3\r\nxxx\r\n$-1\r\n"},
        {"HPEXPIRETIME", "*3\r\n:-1\r\n:2000000000000\r\n:2000000000005\r\n"},
        {"XRANGE", "*3\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n"
                   "*2\r\n$3\r\n1-2\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n"
                   "*2\r\n$3\r\n5-0\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(replies); i++) {
        if (strncmp(command, replies[i].command, strlen(replies[i].command)) == 0)
            return replies[i].reply;
    }
    return "";
}

/* Limits that make everything large, or everything small. */
static void set_limits(bool small)
{
    uint64_t entries = small ? 512 : 1;
    world.env.hash_max_listpack_entries = world.env.zset_max_listpack_entries = entries;
    world.env.set_max_intset_entries = world.env.set_max_listpack_entries = entries;
    world.env.list_max_listpack_size = small ? -2 : 1;
}

static void one_good_row(const struct value_row *row)
{
    struct buf payload = payload_of(row->bytes, row->len, row->version);
    cr_expect_str_eq(restore("k", buf_slice(&payload), "REPLACE"), "+OK\r\n", "%s", row->name);
    cr_expect_str_eq(handler_run_line(&world, row->command), expected(row->command), "%s",
                     row->name);
    buf_deinit(&payload);

    struct buf first = dump("k");
    cr_expect_str_eq(restore("k", buf_slice(&first), "REPLACE"), "+OK\r\n", "%s", row->name);
    struct buf second = dump("k");
    cr_expect(slice_equal(buf_slice(&first), buf_slice(&second)), "%s", row->name);
    cr_expect_str_eq(handler_run_line(&world, row->command), expected(row->command), "%s",
                     row->name);
    buf_deinit(&first);
    buf_deinit(&second);
}

Test(dump, every_encoding)
{
    for (size_t i = 0; i < ARRAY_COUNT(good_rows); i++) {
        for (int small = 0; small < 2; small++) {
            set_limits(small);
            one_good_row(&good_rows[i]);
        }
    }
}

Test(dump, every_encoding_cut_off)
{
    for (size_t i = 0; i < ARRAY_COUNT(good_rows); i++) {
        const struct value_row *row = &good_rows[i];
        for (size_t len = 0; len < row->len; len++) {
            struct buf payload = payload_of(row->bytes, len, row->version);
            set_limits(len & 1);
            const char *reply = restore("k", buf_slice(&payload), "REPLACE");
            cr_expect_str_eq(reply, "-ERR Bad data format\r\n", "%s, %zu bytes", row->name, len);
            buf_deinit(&payload);
        }
    }
    cr_assert_str_eq(handler_run_line(&world, "DBSIZE"), ":0\r\n");
}

Test(dump, damaged_values)
{
    for (size_t i = 0; i < ARRAY_COUNT(bad_rows); i++) {
        const struct value_row *row = &bad_rows[i];
        /* What becomes a tree is sorted there, in whatever order it came. */
        bool sorts = strncmp(row->name, "zset", 4) == 0 && strstr(row->name, "unordered");
        for (int small = sorts; small < 2; small++) {
            struct buf payload = payload_of(row->bytes, row->len, row->version);
            set_limits(small);
            const char *reply = restore("k", buf_slice(&payload), "REPLACE");
            cr_expect_str_eq(reply, "-ERR Bad data format\r\n", "%s", row->name);
            buf_deinit(&payload);
        }
    }
    cr_assert_str_eq(handler_run_line(&world, "DBSIZE"), ":0\r\n");
}

/* RESTORE states an effect that makes the same value elsewhere, in views and on copies. */
Test(dump, effects_of_every_encoding)
{
    for (size_t i = 0; i < ARRAY_COUNT(good_rows); i++) {
        char key[16];
        struct buf payload = payload_of(good_rows[i].bytes, good_rows[i].len,
                                        good_rows[i].version);
        snprintf(key, sizeof(key), "key%zu", i % 16);
        world.scratch = i & 1;
        (void)restore(key, buf_slice(&payload), i % 3 ? "REPLACE" : "");
        buf_deinit(&payload);
    }
    struct handler_world replica;
    handler_init(&replica, 3, 8);
    handler_replay(&world, &replica);
    struct buf ours = {0}, theirs = {0};
    handler_dump(&world, &ours);
    handler_dump(&replica, &theirs);
    cr_assert(slice_equal(buf_slice(&ours), buf_slice(&theirs)));
    buf_deinit(&ours);
    buf_deinit(&theirs);
    handler_deinit(&replica);
}

Test(dump, hostile_values)
{
    static const struct {
        const char *value;
        size_t len;
    } rows[] = {
        {"", 0},
        {"\0", 1},
        {"\0\5ab", 4},
        {"\0\1ab", 4}, /* something follows */
        {"\6\1", 2},   /* modules */
        {"\7\1", 2},
        {"\x1a\1", 2},
        {"\xff\1", 2},
        {"\0\xc3\5\x80\x7f\xff\xff\xff\1ab\x20\0", 14},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct buf payload = payload_of(rows[i].value, rows[i].len, 11);
        cr_expect_str_eq(restore("k", buf_slice(&payload), "REPLACE"), "-ERR Bad data format\r\n",
                         "row %zu", i);
        buf_deinit(&payload);
    }
    cr_assert_str_eq(handler_run_line(&world, "DBSIZE"), ":0\r\n");
}
