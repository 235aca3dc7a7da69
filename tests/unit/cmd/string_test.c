/* Strings: the commands that are newer than the redis-server of the differential test (its replies
 * cover the rest), and the effect that every write states.
 * Expectations: https://redis.io/docs/latest/commands/ (8.4), https://valkey.io/commands/ (9.1). */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "script.h"
#include "splitring/base/mem.h"
#include "splitring/resp/parse.h"

#define OK "+OK\r\n"
#define NIL "$-1\r\n"
#define ONE ":1\r\n"
#define ZERO ":0\r\n"
#define SYNTAX "-ERR syntax error\r\n"
#define WRONGTYPE "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"
#define NOT_INT "-ERR value is not an integer or out of range\r\n"

/* The world's clock stands at 1700000000000. */

/* clang-format off */

Test(string, set_compares)
{
    SCRIPT({"SET k v IFEQ x", NIL, NULL},
           {"EXISTS k", ZERO, NULL},
           {"SET k v IFNE x", OK, "SET k v"},
           {"SET k w IFNE v", NIL, NULL},
           {"SET k w ifeq v PX 500", OK, "SET k w PXAT 1700000000500"},
           {"SET k x IFEQ w KEEPTTL GET", "$1\r\nw\r\n", "SET k x KEEPTTL"},
           {"PEXPIRETIME k", ":1700000000500\r\n", NULL},
           {"SET k y IFEQ w GET", "$1\r\nx\r\n", NULL},
           {"SET k 10", OK, SAME},
           {"SET k 11 IFEQ 10", OK, "SET k 11"},
           {"SET k 12 IFEQ 011", NIL, NULL},
           {"SET none v IFEQ x GET", NIL, NULL},
           {"SET none v IFNE x GET", NIL, "SET none v"},
           {"SET k v NX IFEQ 11", SYNTAX, NULL},
           {"SET k v IFEQ 11 NX", SYNTAX, NULL},
           {"SET k v IFEQ 11 XX", SYNTAX, NULL},
           {"SET k v IFEQ 11 IFNE 12", SYNTAX, NULL},
           {"SET k v IFEQ", SYNTAX, NULL},
           {"GET k", "$2\r\n11\r\n", NULL});
}

/* XXH3-64 of "" and of "hello", as xxhsum -H3 prints them. */
#define DIGEST_EMPTY "2d06800538d394c2"
#define DIGEST_HELLO "9555e8555c62dcfd"
#define DIGEST_BAD "-ERR must be exactly 16 hexadecimal characters\r\n"

Test(string, digests)
{
    SCRIPT({"DIGEST k", NIL, NULL},
           {"SET k hello", OK, SAME},
           {"DIGEST k", "$16\r\n" DIGEST_HELLO "\r\n", NULL},
           {"SET e ''", OK, "SET e "},
           {"DIGEST e", "$16\r\n" DIGEST_EMPTY "\r\n", NULL},
           {"SET k v IFDEQ " DIGEST_EMPTY, NIL, NULL},
           {"SET k v IFDNE " DIGEST_HELLO, NIL, NULL},
           {"SET k v IFDEQ 9555", DIGEST_BAD, NULL},
           {"SET k v IFDEQ 9555 GET", DIGEST_BAD, NULL},
           {"SET none v IFDEQ 9555", NIL, NULL},
           {"SET k v IFDEQ 9555E8555C62DCFD", OK, "SET k v"},
           {"SET k w IFDNE " DIGEST_HELLO, OK, "SET k w"},
           {"SET none w IFDNE " DIGEST_HELLO, OK, "SET none w"});
}

Test(string, delete_if)
{
    SCRIPT({"SET k abc123", OK, SAME},
           {"DELIFEQ k abc", ZERO, NULL},
           {"DELIFEQ k abc123", ONE, "DEL k"},
           {"DELIFEQ k abc123", ZERO, NULL},
           {"MSET a 1 b 2 c hello d x", OK, SAME},
           {"DELEX a", ONE, "DEL a"},
           {"DELEX a", ZERO, NULL},
           {"DELEX b IFEQ 3", ZERO, NULL},
           {"DELEX b IFNE 2", ZERO, NULL},
           {"DELEX b ifeq 2", ONE, "DEL b"},
           {"DELEX c IFDNE " DIGEST_HELLO, ZERO, NULL},
           {"DELEX c IFDEQ abc", DIGEST_BAD, NULL},
           {"DELEX c IFDEQ " DIGEST_HELLO, ONE, "DEL c"},
           {"DELEX d IFNE y", ONE, "DEL d"},
           {"DELEX none IFNE y", ZERO, NULL},
           {"DELEX none FOO y", ZERO, NULL},
           {"SET d x", OK, SAME},
           {"DELEX d FOO y", "-ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE\r\n", NULL},
           {"DELEX d IFEQ", "-ERR wrong number of arguments for 'delex' command\r\n", NULL},
           {"DELEX d IFEQ x y", "-ERR wrong number of arguments for 'delex' command\r\n", NULL});
}

#define PAIRS "-ERR wrong number of key-value pairs\r\n"
#define NUMKEYS "-ERR invalid numkeys value\r\n"

Test(string, msetex)
{
    SCRIPT({"MSETEX 2 a 1 b 2", ONE, "SET a 1; SET b 2"},
           {"MSETEX 2 b 3 c 4 NX", ZERO, NULL},
           {"MSETEX 2 b 3 c 4 XX", ZERO, NULL},
           {"MSETEX 2 a 3 b 4 XX EX 10", ONE,
            "SET a 3 PXAT 1700000010000; SET b 4 PXAT 1700000010000"},
           {"MSETEX 2 c 5 a 6 KEEPTTL", ONE, "SET c 5 KEEPTTL; SET a 6 KEEPTTL"},
           {"PEXPIRETIME a", ":1700000010000\r\n", NULL},
           {"PEXPIRETIME c", ":-1\r\n", NULL},
           {"MSETEX 1 a 7 PXAT 1800000000001", ONE, "SET a 7 PXAT 1800000000001"},
           {"MSETEX 2 d 1 d 2 nx px 5", ONE,
            "SET d 1 PXAT 1700000000005; SET d 2 PXAT 1700000000005"},
           {"GET d", "$1\r\n2\r\n", NULL},
           {"MSETEX 0 a 1", NUMKEYS, NULL},
           {"MSETEX x a 1", NUMKEYS, NULL},
           {"MSETEX 2147483648 a 1", NUMKEYS, NULL},
           {"MSETEX 2 a 1", PAIRS, NULL},
           {"MSETEX 2 a 1 b", PAIRS, NULL},
           {"MSETEX 2147483647 a 1", PAIRS, NULL},
           {"MSETEX 1 a 1 b 2", SYNTAX, NULL},
           {"MSETEX 1 a 1 NX XX", SYNTAX, NULL},
           {"MSETEX 1 a 1 GET", SYNTAX, NULL},
           {"MSETEX 1 a 1 EX 1 KEEPTTL", SYNTAX, NULL},
           {"MSETEX 1 a 1 EX 0", "-ERR invalid expire time in 'msetex' command\r\n", NULL},
           {"MSETEX 1 a 1 EX x", NOT_INT, NULL},
           {"MGET a b c", "*3\r\n$1\r\n7\r\n$1\r\n4\r\n$1\r\n5\r\n", NULL});
}

Test(string, effects_of_set)
{
    SCRIPT({"SET k 1", OK, SAME},
           {"set k 2 EX 10", OK, "SET k 2 PXAT 1700000010000"},
           {"SET k 3 PX 7 XX", OK, "SET k 3 PXAT 1700000000007"},
           {"SET k 4 EXAT 1800000000", OK, "SET k 4 PXAT 1800000000000"},
           {"SET k 5 PXAT 1800000000001", OK, SAME},
           {"SET k 6 KEEPTTL", OK, SAME},
           {"SET k 7 XX GET", "$1\r\n6\r\n", "SET k 7"},
           {"SET k 8 NX", NIL, NULL},
           {"SET k 8 NX GET", "$1\r\n7\r\n", NULL},
           {"SET n 8 NX GET", NIL, "SET n 8"},
           {"SETNX k 9", ZERO, NULL},
           {"SETNX m 9", ONE, "SET m 9"},
           {"SETEX k 5 a", OK, "SET k a PXAT 1700000005000"},
           {"PSETEX k 5 b", OK, "SET k b PXAT 1700000000005"},
           {"GETSET k c", "$1\r\nb\r\n", "SET k c"},
           {"GETSET new c", NIL, "SET new c"},
           {"MSETNX k 1 z 2", ZERO, NULL},
           {"MSETNX y 1 z 2", ONE, SAME},
           {"MSET y 3 y 4 z 5", OK, SAME},
           {"GET y", "$1\r\n4\r\n", NULL},
           {"SET k v PXAT 9223372036854775807", OK, SAME},
           {"SET k v EX 9223372036854775", "-ERR invalid expire time in 'set' command\r\n", NULL});
}

Test(string, effects_of_changes)
{
    SCRIPT({"GETDEL k", NIL, NULL},
           {"SET k 1", OK, SAME},
           {"GETEX k", "$1\r\n1\r\n", NULL},
           {"GETEX k PERSIST", "$1\r\n1\r\n", NULL},
           {"GETEX k EX 5", "$1\r\n1\r\n", "PEXPIREAT k 1700000005000"},
           {"GETEX k PERSIST", "$1\r\n1\r\n", "PERSIST k"},
           {"GETEX k PXAT 1699999999999", "$1\r\n1\r\n", "DEL k"},
           {"GETEX k PXAT 1800000000000", NIL, NULL},
           {"APPEND k ab", ":2\r\n", SAME},
           {"APPEND k c", ":3\r\n", SAME},
           {"SETRANGE k 5 x", ":6\r\n", SAME},
           {"SETRANGE k 5 ''", ":6\r\n", NULL},
           {"SETRANGE none 5 ''", ZERO, NULL},
           {"GETDEL k", "$6\r\nabc\0\0x\r\n", "DEL k"},
           {"INCR k", ONE, SAME},
           {"DECRBY k 3", ":-2\r\n", SAME},
           {"INCRBYFLOAT k 1e2", "$2\r\n98\r\n", "SET k 98 KEEPTTL"},
           {"INCRBYFLOAT k x", "-ERR value is not a valid float\r\n", NULL},
           {"SET k 9223372036854775807", OK, SAME},
           {"INCR k", "-ERR increment or decrement would overflow\r\n", NULL});
}

/* clang-format on */

/* ---- what needs more than a line ---- */

static struct handler_world w;

static void setup(void) { handler_init(&w, 1, 9); }
static void teardown(void) { handler_deinit(&w); }

TestSuite(string_world, .init = setup, .fini = teardown);

Test(string_world, null_is_a_null_in_resp3)
{
    w.proto = 3;
    cr_assert_str_eq(handler_run_line(&w, "SET k v IFEQ x"), "_\r\n");
    cr_assert_str_eq(handler_run_line(&w, "DIGEST k"), "_\r\n");
    cr_assert_str_eq(handler_run_line(&w, "MGET a b"), "*2\r\n_\r\n_\r\n");
}

/* As Redis' ld2string in its human form prints them (checked against redis-server 7.0). */
Test(string_world, incrbyfloat_formats)
{
    static const struct {
        const char *value, *by, *sum;
    } cases[] = {
        {"10.50", "0.1", "10.6"},
        {"5.0e3", "2.0e2", "5200"},
        {"0", "1e-17", "0.00000000000000001"},
        {"0", "1e-18", "0"},
        {"3", "-3", "0"},
        {"1", "-1.5", "-0.5"},
        {"0.1", "0.2", "0.3"},
        {"1e15", "0.5", "1000000000000000.5"},
        {"0", "-0", "0"},
        {"123456789012345678", "1", "123456789012345679"},
        {"1.0000000000000001", "0", "1.0000000000000001"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char expected[64];
        snprintf(expected, sizeof(expected), "$%zu\r\n%s\r\n", strlen(cases[i].sum), cases[i].sum);
        handler_runf(&w, "SET k %s", cases[i].value);
        cr_assert_str_eq(handler_runf(&w, "INCRBYFLOAT k %s", cases[i].by), expected, "%s + %s",
                         cases[i].value, cases[i].by);
    }
}

Test(string_world, strings_stay_below_the_limit)
{
    w.env.proto_max_bulk_len = 1000;
    const char *too_long = "-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n";
    handler_run_line(&w, "SETRANGE k 989 0123456789");
    cr_assert_str_eq(handler_run_line(&w, "APPEND k x"), ":1000\r\n");
    cr_assert_str_eq(handler_run_line(&w, "APPEND k x"), too_long);
    cr_assert_str_eq(handler_run_line(&w, "SETRANGE k 1000 x"), too_long);
    cr_assert_str_eq(handler_run_line(&w, "SETRANGE k 9223372036854775807 x"), too_long);
    cr_assert_str_eq(handler_run_line(&w, "STRLEN k"), ":1000\r\n");
}

/* A large argument as the parser hands it over. */
static struct slice big_argument(struct arg *arg, char fill)
{
    struct blob *blob = mem_alloc(sizeof(*blob) + PARSE_BIG_LEN);
    blob->len = blob->cap = PARSE_BIG_LEN;
    memset(blob->data, fill, blob->len);
    *arg = (struct arg){.ptr = blob->data, .len = blob->len, .blob = blob};
    return slice_of(arg->ptr, arg->len);
}

/* Runs with owned blocks; frees those that were not taken. */
static void run_with_blobs(struct slice *argv, struct arg *args, int argc)
{
    bool missing;
    const struct command *cmd = command_find(argv, argc, &missing);
    w.out.len = 0;
    struct call c = {.cmd = cmd,
                     .argv = argv,
                     .argc = argc,
                     .args = args,
                     .env = &w.env,
                     .rng = &w.rng,
                     .reply = {.out = &w.out, .proto = 2},
                     .ks = {.shard = w.shards[0], .shard_count = 1, .now = w.now}};
    cmd->handler(&c);
    for (int i = 0; i < argc; i++) mem_free(args[i].blob);
}

static char first_byte(const char *key)
{
    struct ks ks = {.shard = w.shards[0], .shard_count = 1, .now = w.now};
    char scratch[ENTRY_SCRATCH];
    const struct entry *e = ks_peek(&ks, slice_str(key));
    struct slice value = entry_string(e, scratch);
    cr_assert_eq(value.len, PARSE_BIG_LEN);
    cr_assert_eq(value.ptr[0], value.ptr[value.len - 1]);
    return value.ptr[0];
}

Test(string_world, large_values_are_taken_not_copied)
{
    struct arg args[7] = {0};
    struct slice set[3] = {SLICE("SET"), SLICE("k"), big_argument(&args[2], 'x')};
    const char *block = set[2].ptr;
    run_with_blobs(set, args, 3);
    struct ks ks = {.shard = w.shards[0], .shard_count = 1, .now = w.now};
    char scratch[ENTRY_SCRATCH];
    cr_assert_eq(entry_string(ks_peek(&ks, SLICE("k")), scratch).ptr, block);
    cr_assert_null(args[2].blob);

    /* The first value of m is overwritten by the same command: copied, its block stays ours. */
    struct slice mset[7] = {SLICE("MSET"),
                            SLICE("m"),
                            big_argument(&args[2], '1'),
                            SLICE("n"),
                            big_argument(&args[4], '2'),
                            SLICE("m"),
                            big_argument(&args[6], '3')};
    run_with_blobs(mset, args, 7);
    cr_assert_eq(first_byte("m"), '3');
    cr_assert_eq(first_byte("n"), '2');
    args[2] = args[4] = args[6] = (struct arg){0};
    struct slice getset[3] = {SLICE("GETSET"), SLICE("m"), big_argument(&args[2], '4')};
    run_with_blobs(getset, args, 3);
    cr_assert_eq(first_byte("m"), '4');
    cr_assert_eq(w.out.len, PARSE_BIG_LEN + 10); /* "$65536\r\n" and the last CRLF */
}
