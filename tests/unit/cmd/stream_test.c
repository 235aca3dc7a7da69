/* Streams: the effect that every write states, what is newer than the redis-server of the
 * differential test (references of 8.2, "+" of 7.4), ids in odd forms, waiting, arguments for one
 * shard.
 * Expectations: https://redis.io/docs/latest/commands/ (8.4), redis-server 7.0, Valkey 9.1 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "cmd/stream_impl.h"
#include "script.h"
#include "splitring/base/mem.h"
#include "splitring/cmd/block_args.h"

#define OK "+OK\r\n"
#define NIL "$-1\r\n"
#define NONE "*-1\r\n"
#define EMPTY "*0\r\n"
#define N(n) ":" #n "\r\n"
#define ID(id, len) "$" #len "\r\n" id "\r\n"
#define LIST1(a) "*1\r\n" a
#define LIST2(a, b) "*2\r\n" a b
#define LIST3(a, b, c) "*3\r\n" a b c
#define LIST4(a, b, c, d) "*4\r\n" a b c d
#define FV LIST2("$1\r\nf\r\n", "$1\r\nv\r\n")
#define ENTRY(id) LIST2(ID(id, 3), FV)
#define ENTRY_NOW(id) LIST2(ID(id, 15), FV)
#define SYNTAX "-ERR syntax error\r\n"
#define SMALL \
    "-ERR The ID specified in XADD is equal or smaller than the target stream top item\r\n"
#define BAD_ID "-ERR Invalid stream ID specified as stream command argument\r\n"
#define WRONGTYPE "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"
#define ADD(id) {"XADD s " id " f v", ID(id, 3), SAME}
#define CLAIMED(id, time, count, last) \
    "XCLAIM s g c 0 " id " TIME " time " RETRYCOUNT " count " FORCE JUSTID LASTID " last
#define NOW "1700000000000"

/* The world's clock stands at NOW. */

/* clang-format off */

Test(stream, effects_of_adding)
{
    SCRIPT({"XADD s NOMKSTREAM * f v", NIL, NULL},
           {"XADD s * f v", ID(NOW "-0", 15), "XADD s " NOW "-0 f v"},
           {"XADD s * f v", ID(NOW "-1", 15), "XADD s " NOW "-1 f v"},
           {"XADD s 5-5 f v", SMALL, NULL},
           {"XADD s 1700000000001-* f v", ID("1700000000001-0", 15), "XADD s 1700000000001-0 f v"},
           {"XADD s NOMKSTREAM MAXLEN ~ 2 LIMIT 5 * f v", ID("1700000000001-1", 15),
            "XADD s NOMKSTREAM MAXLEN = 4 1700000000001-1 f v"},
           {"XADD s MAXLEN 2 1700000000002-7 f v", ID("1700000000002-7", 15), SAME},
           {"XADD s MINID = 1700000000002 1700000000003-7 f v", ID("1700000000003-7", 15), SAME},
           {"XLEN s", N(2), NULL},
           {"XTRIM s MAXLEN ~ 0", N(2), "XTRIM s MAXLEN = 0"},
           {"XTRIM s MAXLEN 0", N(0), NULL},
           {"XADD s 18446744073709551615-18446744073709551615 f v",
            "$41\r\n18446744073709551615-18446744073709551615\r\n", SAME},
           {"XADD s * f v",
            "-ERR The stream has exhausted the last possible ID, unable to add more items\r\n",
            NULL},
           {"XADD t 0-* f v", ID("0-1", 3), "XADD t 0-1 f v"});
}

Test(stream, effects_of_deleting)
{
    SCRIPT(ADD("1-1"), ADD("1-2"), ADD("1-3"),
           {"XDEL s 1-2 7-7", N(1), SAME},
           {"XDEL s 1-2", N(0), NULL},
           {"XDEL s 1-1 x", BAD_ID, NULL},
           {"XRANGE s - +", LIST2(ENTRY("1-1"), ENTRY("1-3")), NULL},
           {"XSETID s 9-9 ENTRIESADDED 7 MAXDELETEDID 5-5", OK, SAME},
           {"XSETID s 1-2", "-ERR The ID specified in XSETID is smaller than current "
            "max_deleted_entry_id\r\n", NULL},
           {"XSETID s 9-9 FOO", SYNTAX, NULL},
           {"XDEL s 1-1 1-3", N(2), SAME},
           {"EXISTS s", N(1), NULL},
           {"XLEN s", N(0), NULL});
}

Test(stream, effects_of_groups)
{
    SCRIPT({"XGROUP CREATE s g $ MKSTREAM", OK, SAME},
           {"XGROUP CREATE s g 0", "-BUSYGROUP Consumer Group name already exists\r\n", NULL},
           ADD("1-1"), ADD("1-2"), ADD("1-3"),
           {"XREADGROUP GROUP g c COUNT 2 STREAMS s >",
            LIST1(LIST2("$1\r\ns\r\n", LIST2(ENTRY("1-1"), ENTRY("1-2")))),
            "XGROUP CREATECONSUMER s g c; XCLAIM s g c 0 1-1 1-2 TIME " NOW
            " RETRYCOUNT 1 FORCE JUSTID LASTID 1-2; XGROUP SETID s g 1-2 ENTRIESREAD 2"},
           {"XREADGROUP GROUP g c COUNT 1 STREAMS s 0",
            LIST1(LIST2("$1\r\ns\r\n", LIST1(ENTRY("1-1")))), CLAIMED("1-1", NOW, "2", "1-2")},
           {"XREADGROUP GROUP g d NOACK STREAMS s >",
            LIST1(LIST2("$1\r\ns\r\n", LIST1(ENTRY("1-3")))),
            "XGROUP CREATECONSUMER s g d; XGROUP SETID s g 1-3 ENTRIESREAD 3"},
           {"XREADGROUP GROUP g d STREAMS s >", NONE, NULL},
           {"XPENDING s g", LIST4(N(2), ID("1-1", 3), ID("1-2", 3),
                                  LIST1(LIST2("$1\r\nc\r\n", "$1\r\n2\r\n"))), NULL},
           {"XCLAIM s g c 0 1-2 TIME 7 JUSTID", LIST1(ID("1-2", 3)),
            CLAIMED("1-2", "7", "1", "1-3")},
           {"XPENDING s g IDLE 1 - + 9", LIST1(LIST4(ID("1-2", 3), "$1\r\nc\r\n",
            ":1699999999993\r\n", N(1))), NULL},
           {"XCLAIM s g c 0 1-3 LASTID 2-2", EMPTY, "XGROUP SETID s g 2-2 ENTRIESREAD 3"},
           {"XCLAIM s g c 0 1-3 FORCE RETRYCOUNT 0", LIST1(ENTRY("1-3")),
            CLAIMED("1-3", NOW, "0", "2-2")},
           {"XDEL s 1-2", N(1), SAME},
           {"XAUTOCLAIM s g c 0 - COUNT 2", LIST3(ID("1-3", 3), LIST1(ENTRY("1-1")),
                                                  LIST1(ID("1-2", 3))),
            CLAIMED("1-1", NOW, "3", "2-2") "; " CLAIMED("1-2", "7", "1", "2-2")},
           {"XACK s g 1-1 1-2", N(1), SAME},
           {"XACK s g 1-1", N(0), NULL},
           {"XGROUP SETID s g 0 ENTRIESREAD 1", OK, SAME},
           {"XGROUP CREATECONSUMER s g c", N(0), NULL},
           {"XGROUP DELCONSUMER s g c", N(1), SAME},
           {"XGROUP DELCONSUMER s g c", N(0), NULL},
           {"XGROUP DESTROY s g", N(1), SAME},
           {"XGROUP DESTROY s g", N(0), NULL});
}

/* Redis 8.2: what becomes of references. */
Test(stream, references)
{
    SCRIPT({"XDELEX none IDS 2 1 2", LIST2(N(-1), N(-1)), NULL},
           {"XACKDEL none g IDS 1 1-1", LIST1(N(-1)), NULL},
           ADD("1-1"), ADD("1-2"), ADD("1-3"), ADD("1-4"), ADD("1-5"),
           {"XGROUP CREATE s g 0", OK, SAME},
           {"XGROUP CREATE s h 1-5", OK, SAME},
           {"XCLAIM s g c 0 1-1 1-2 1-3 1-4 FORCE JUSTID LASTID 1-4 TIME 5",
            LIST4(ID("1-1", 3), ID("1-2", 3), ID("1-3", 3), ID("1-4", 3)),
            "XGROUP CREATECONSUMER s g c; " CLAIMED("1-1", "5", "1", "1-4") "; "
            CLAIMED("1-2", "5", "1", "1-4") "; " CLAIMED("1-3", "5", "1", "1-4") "; "
            CLAIMED("1-4", "5", "1", "1-4")},
           {"XDELEX s ACKED IDS 3 1-1 1-5 9-9", LIST3(N(2), N(2), N(2)), NULL},
           {"XDELEX s KEEPREF IDS 1 1-1", LIST1(N(1)), SAME},
           {"XDELEX s DELREF IDS 2 1-1 1-2", LIST2(N(-1), N(1)), SAME},
           {"XPENDING s g", LIST4(N(2), ID("1-3", 3), ID("1-4", 3),
                                  LIST1(LIST2("$1\r\nc\r\n", "$1\r\n2\r\n"))), NULL},
           {"XACKDEL s g ACKED IDS 3 1-3 1-5 1-1", LIST3(N(1), N(-1), N(-1)), SAME},
           {"XGROUP SETID s h 0", OK, SAME},
           {"XACKDEL s g IDS 1 1-4 ACKED", LIST1(N(2)), SAME},
           {"XACKDEL s g IDS 1 1-4", LIST1(N(-1)), NULL},
           {"XRANGE s - +", LIST2(ENTRY("1-4"), ENTRY("1-5")), NULL},
           {"XTRIM s MAXLEN 0 ACKED", N(0), NULL},
           {"XGROUP SETID s h 1-4", OK, SAME},
           {"XTRIM s ACKED MAXLEN 0", N(1), SAME},
           {"XGROUP SETID s g 1-5", OK, SAME},
           {"XCLAIM s h c 0 1-5 FORCE JUSTID TIME 5", LIST1(ID("1-5", 3)),
            "XGROUP CREATECONSUMER s h c; XCLAIM s h c 0 1-5 TIME 5 RETRYCOUNT 1 FORCE JUSTID "
            "LASTID 1-4"},
           {"XADD s DELREF MAXLEN 1 1-6 f v", ID("1-6", 3), SAME},
           {"XPENDING s h", LIST4(N(0), NIL, NIL, NONE), NULL});
}

Test(stream, references_refused)
{
    SCRIPT(ADD("1-1"),
           {"XDELEX s IDS 0 1-1", "-ERR Number of IDs must be a positive integer\r\n", NULL},
           {"XDELEX s IDS 2 1-1", "-ERR The `numids` parameter must match the number of "
            "arguments\r\n", NULL},
           {"XDELEX s IDS 1 1-1 1-2", SYNTAX, NULL},
           {"XDELEX s KEEPREF FOO 1", SYNTAX, NULL},
           {"XDELEX s IDS 1 x", BAD_ID, NULL},
           {"SET str v", OK, SAME},
           {"XDELEX str IDS 1 x", BAD_ID, NULL},
           {"XDELEX str IDS 1 1", WRONGTYPE, NULL},
           {"XACKDEL str g IDS 1 1", WRONGTYPE, NULL},
           {"XTRIM s MAXLEN 1 FOO", SYNTAX, NULL});
}

Test(stream, last_entry)
{
    SCRIPT(ADD("1-1"), ADD("1-2"),
           {"XREAD STREAMS s +", LIST1(LIST2("$1\r\ns\r\n", LIST1(ENTRY("1-2")))), NULL},
           {"XDEL s 1-2", N(1), SAME},
           {"XREAD STREAMS none s + +", LIST1(LIST2("$1\r\ns\r\n", LIST1(ENTRY("1-1")))), NULL},
           {"XDEL s 1-1", N(1), SAME},
           {"XREAD STREAMS s +", NONE, NULL},
           {"XREAD BLOCK 0 STREAMS s $", NONE, NULL},
           {"XGROUP CREATE s g 0", OK, SAME},
           {"XREADGROUP GROUP g c STREAMS s +", "-ERR The + ID is meaningless in the context of "
            "XREADGROUP: you want to read the history of this consumer by specifying a proper ID, "
            "or use the > ID to get new messages. The + ID would just return an empty result "
            "set.\r\n", NULL});
}

/* clang-format on */

static void parse(const char *text, bool good, uint64_t ms, uint64_t seq)
{
    struct stream_id id;
    cr_assert_eq(stream_id_parse(slice_str(text), 9, true, &id, NULL), good, "%s", text);
    if (good) cr_assert(id.ms == ms && id.seq == seq, "%s", text);
}

Test(stream, ids)
{
    parse("5", true, 5, 9);
    parse("5-7", true, 5, 7);
    parse(" 5-+07", true, 5, 7);
    parse("007", true, 7, 9);
    parse("5--3", false, 0, 0);
    parse("5--03", true, 5, UINT64_MAX - 2);
    parse("5-\t-0", true, 5, 0);
    parse("18446744073709551615-18446744073709551615", true, UINT64_MAX, UINT64_MAX);
    parse("18446744073709551616", false, 0, 0);
    parse("-", true, 0, 0);
    parse("+", true, UINT64_MAX, UINT64_MAX);
    parse("", false, 0, 0);
    parse("5-", false, 0, 0);
    parse("-5", false, 0, 0);
    parse("5-*", false, 0, 0);
    parse("5 ", false, 0, 0);
    parse("0x5", false, 0, 0);
}

/* ---- waiting ---- */

/* Runs a line that may wait; the reply, or "waits: " with the replaced arguments. */
static const char *waits(struct handler_world *w, const char *line)
{
    static char text[256];
    static struct buf out;
    struct slice argv[16];
    struct call_block block = {0};
    int argc = 0;
    out.len = 0;
    for (const char *at = line; *at; at += strspn(at, " ")) {
        size_t len = strcspn(at, " ");
        argv[argc++] = slice_of(at, len);
        at += len;
    }
    struct call c = {.cmd = command_by_name(argv[0]),
                     .argv = argv,
                     .argc = argc,
                     .ks = {.shard = w->shards[0], .now = w->now},
                     .reply = {.out = &out, .proto = 2},
                     .rng = &w->rng,
                     .env = &w->env,
                     .may_block = true,
                     .block = &block};
    c.cmd->handler(&c);
    if (!block.wanted) {
        buf_append_char(&out, '\0');
        snprintf(text, sizeof(text), "%s", out.ptr);
    } else {
        cr_assert_eq(out.len, 0);
        int len = snprintf(text, sizeof(text), "waits %lld", (long long)block.timeout_ms);
        for (int i = 0; i < block.replaced_count; i++) {
            const struct call_block_arg *r = &block.replaced[i];
            len += snprintf(text + len, sizeof(text) - (size_t)len, " %d=%.*s", r->index,
                            (int)r->len, block.args.ptr + r->begin);
        }
    }
    mem_free(block.replaced);
    buf_deinit(&block.args);
    buf_deinit(&out);
    return text;
}

Test(stream, waiting)
{
    struct handler_world w;
    handler_init(&w, 1, 1);
    handler_run_line(&w, "XADD s 1-1 f v");
    cr_assert_str_eq(waits(&w, "XREAD BLOCK 5 STREAMS s none $ $"), "waits 5 6=1-1 7=0-0");
    cr_assert_str_eq(waits(&w, "XREAD BLOCK 0 STREAMS none +"), "waits 0");
    cr_assert_str_eq(waits(&w, "XREAD BLOCK 5 STREAMS s none 0 $"),
                     LIST1(LIST2("$1\r\ns\r\n", LIST1(ENTRY("1-1")))));
    cr_assert_str_eq(waits(&w, "XREAD BLOCK x STREAMS s 0"),
                     "-ERR timeout is not an integer or out of range\r\n");
    cr_assert_str_eq(waits(&w, "XREAD BLOCK 9223372036854775807 STREAMS s 0"),
                     "-ERR timeout is out of range\r\n");
    handler_run_line(&w, "XGROUP CREATE s g $");
    cr_assert_str_eq(waits(&w, "XREADGROUP GROUP g c BLOCK 7 STREAMS s >"), "waits 7");
    cr_assert_str_eq(waits(&w, "XREADGROUP GROUP g c BLOCK 7 STREAMS s 0"),
                     "*1\r\n*2\r\n$1\r\ns\r\n*0\r\n");
    handler_run_line(&w, "XGROUP DESTROY s g");
    cr_assert_str_eq(waits(&w, "XREADGROUP GROUP g c BLOCK 7 STREAMS s >"),
                     "-NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP "
                     "option\r\n");
    handler_deinit(&w);
}

/* What is run for a waiter whose stream "b" is ready; a group and a consumer may bear any name. */
Test(stream, arguments_of_a_waiter)
{
    struct slice argv[] = {SLICE("XREADGROUP"), SLICE("GROUP"), SLICE("streams"), SLICE("block"),
                           SLICE("COUNT"), SLICE("2"), SLICE("NOACK"), SLICE("Streams"), SLICE("a"),
                           SLICE("b"), SLICE("STREAMS"), SLICE(">"), SLICE("0"), SLICE("1")};
    const char *expected[] = {"Streams", "b", "0"};
    int argc = (int)ARRAY_COUNT(argv);
    bool missing, block;
    struct block_args args;
    cr_assert_eq(block_streams_at(argv, argc, &block), 7);
    cr_assert_not(block);
    block_args_init(&args, command_find(argv, argc, &missing), argv, argc, 9);
    cr_assert_eq(args.argc, 10);
    for (int i = 0; i < 3; i++) cr_assert(slice_equal(args.argv[7 + i], slice_str(expected[i])));
    block_args_deinit(&args);
    argv[4] = SLICE("BLOCK");
    cr_assert_eq(block_streams_at(argv, argc, &block), 7);
    cr_assert(block);
    cr_assert_eq(block_streams_at(argv, 7, &block), 7);
}
