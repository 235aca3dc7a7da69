/* Sets: replies, effects, encodings, and what is random about them. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "script.h"
#include "splitring/base/mem.h"

#define ONE ":1\r\n"
#define ZERO ":0\r\n"
#define EMPTY "*0\r\n"
#define WRONGTYPE "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"
#define SYNTAX "-ERR syntax error\r\n"
#define INTSET "$6\r\nintset\r\n"
#define LISTPACK "$8\r\nlistpack\r\n"
#define HASHTABLE "$9\r\nhashtable\r\n"

/* clang-format off */
Test(set, members_come_and_go)
{
    SCRIPT({"SADD s c b a", ":3\r\n", SAME},
           {"SADD s a d", ONE, SAME},
           {"SADD s a d", ZERO, NULL},
           {"SMEMBERS s", "*4\r\n$1\r\nc\r\n$1\r\nb\r\n$1\r\na\r\n$1\r\nd\r\n", NULL},
           {"SISMEMBER s d", ONE, NULL},
           {"SISMEMBER s e", ZERO, NULL},
           {"SMISMEMBER s e d", "*2\r\n:0\r\n:1\r\n", NULL},
           {"SCARD s", ":4\r\n", NULL},
           {"SREM s x", ZERO, NULL},
           {"SREM s c x b", ":2\r\n", SAME},
           {"EXPIRE s 100", ONE, "PEXPIREAT s 1700000100000"},
           {"SADD s e", ONE, SAME},
           {"TTL s", ":100\r\n", NULL},
           {"SREM s a d e a", ":3\r\n", SAME},
           {"EXISTS s", ZERO, NULL},
           {"SREM s a", ZERO, NULL},
           {"SCARD s", ZERO, NULL},
           {"SMEMBERS s", EMPTY, NULL},
           {"SMISMEMBER s e d", "*2\r\n:0\r\n:0\r\n", NULL},
           {"SADD s ''", ONE, "SADD s "},
           {"SMEMBERS s", "*1\r\n$0\r\n\r\n", NULL});
}

Test(set, wrong_types)
{
    SCRIPT({"SET x 1", "+OK\r\n", SAME},
           {"SADD t a", ONE, SAME},
           {"SADD x a", WRONGTYPE, NULL},
           {"SREM x a", WRONGTYPE, NULL},
           {"SCARD x", WRONGTYPE, NULL},
           {"SISMEMBER x a", WRONGTYPE, NULL},
           {"SMISMEMBER x a", WRONGTYPE, NULL},
           {"SMEMBERS x", WRONGTYPE, NULL},
           {"SPOP x", WRONGTYPE, NULL},
           {"SPOP x 0", WRONGTYPE, NULL},
           {"SRANDMEMBER x", WRONGTYPE, NULL},
           {"SRANDMEMBER x 0", WRONGTYPE, NULL},
           {"SSCAN x 0", WRONGTYPE, NULL},
           {"SINTER none x", WRONGTYPE, NULL},
           {"SUNION t x", WRONGTYPE, NULL},
           {"SDIFF none x", WRONGTYPE, NULL},
           {"SINTERSTORE d none x", WRONGTYPE, NULL},
           {"SINTERCARD 2 none x", WRONGTYPE, NULL},
           {"SMOVE x t a", WRONGTYPE, NULL},
           {"SMOVE t x a", WRONGTYPE, NULL},
           {"SMOVE none x a", ZERO, NULL},
           {"GET t", WRONGTYPE, NULL},
           {"TYPE t", "+set\r\n", NULL});
}

Test(set, encodings)
{
    SCRIPT({"SADD i 3 1 2", ":3\r\n", SAME},
           {"OBJECT ENCODING i", INTSET, NULL},
           {"SMEMBERS i", "*3\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n", NULL},
           {"SADD i 01", ONE, SAME},
           {"OBJECT ENCODING i", LISTPACK, NULL},
           {"SMEMBERS i", "*4\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n$2\r\n01\r\n", NULL},
           {"SREM i 01", ONE, SAME},
           {"OBJECT ENCODING i", LISTPACK, NULL},
           {"SADD i 0123456789012345678901234567890123456789012345678901234567890123", ONE, SAME},
           {"OBJECT ENCODING i", LISTPACK, NULL},
           {"SADD i x0123456789012345678901234567890123456789012345678901234567890123", ONE, SAME},
           {"OBJECT ENCODING i", HASHTABLE, NULL},
           {"SCARD i", ":5\r\n", NULL},
           {"SISMEMBER i 2", ONE, NULL},
           {"SADD j 5", ONE, SAME},
           {"SADD j x0123456789012345678901234567890123456789012345678901234567890123", ONE, SAME},
           {"OBJECT ENCODING j", HASHTABLE, NULL},
           {"COPY i k", ONE, SAME},
           {"SCARD k", ":5\r\n", NULL},
           {"SISMEMBER k 2", ONE, NULL},
           {"RENAME k l", "+OK\r\n", SAME},
           {"OBJECT ENCODING l", HASHTABLE, NULL},
           {"DEL i j l", ":3\r\n", SAME});
}

Test(set, several_sets)
{
    SCRIPT({"SADD a 1 2 3 4 5", ":5\r\n", SAME},
           {"SADD b 3 4 5 6", ":4\r\n", SAME},
           {"SADD c x 4 5", ":3\r\n", SAME},
           {"SINTER a b", "*3\r\n$1\r\n3\r\n$1\r\n4\r\n$1\r\n5\r\n", NULL},
           {"SINTER a b c", "*2\r\n$1\r\n4\r\n$1\r\n5\r\n", NULL},
           {"SINTER a none", EMPTY, NULL},
           {"SINTER a a", "*5\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n$1\r\n4\r\n$1\r\n5\r\n", NULL},
           {"SINTERCARD 3 a b c", ":2\r\n", NULL},
           {"SINTERCARD 2 a b LIMIT 0", ":3\r\n", NULL},
           {"SINTERCARD 2 a b LIMIT 2", ":2\r\n", NULL},
           {"SINTERCARD 2 a none", ZERO, NULL},
           {"SUNION a b none", "*6\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n$1\r\n4\r\n$1\r\n5\r\n"
                               "$1\r\n6\r\n", NULL},
           {"SUNION none none", EMPTY, NULL},
           {"SUNION none c", "*3\r\n$1\r\nx\r\n$1\r\n4\r\n$1\r\n5\r\n", NULL},
           {"SDIFF a b", "*2\r\n$1\r\n1\r\n$1\r\n2\r\n", NULL},
           {"SDIFF c a b", "*1\r\n$1\r\nx\r\n", NULL},
           {"SDIFF a c a", EMPTY, NULL},
           {"SDIFF none a", EMPTY, NULL},
           {"SINTERSTORE d c a", ":2\r\n", SAME},
           {"OBJECT ENCODING d", INTSET, NULL},
           {"SUNIONSTORE d c a", ":6\r\n", SAME},
           {"OBJECT ENCODING d", LISTPACK, NULL},
           {"SDIFFSTORE d c a", ONE, SAME},
           {"SMEMBERS d", "*1\r\n$1\r\nx\r\n", NULL},
           {"SUNIONSTORE d d a", ":6\r\n", SAME},
           {"SINTERSTORE d d none", ZERO, "DEL d"},
           {"SINTERSTORE d d none", ZERO, NULL},
           {"SET d text", "+OK\r\n", SAME},
           {"SDIFFSTORE d none", ZERO, "DEL d"},
           {"SET d text", "+OK\r\n", SAME},
           {"SUNIONSTORE d a", ":5\r\n", SAME});
}

Test(set, wrong_arguments)
{
    SCRIPT({"SINTERCARD 0 a", "-ERR numkeys should be greater than 0\r\n", NULL},
           {"SINTERCARD x a", "-ERR numkeys should be greater than 0\r\n", NULL},
           {"SINTERCARD 3 a b", "-ERR Number of keys can't be greater than number of args\r\n",
            NULL},
           {"SINTERCARD 1 a LIMIT -1", "-ERR LIMIT can't be negative\r\n", NULL},
           {"SINTERCARD 1 a LIMIT", SYNTAX, NULL},
           {"SINTERCARD 1 a b", SYNTAX, NULL},
           {"SPOP a -1", "-ERR value is out of range, must be positive\r\n", NULL},
           {"SPOP a x", "-ERR value is out of range, must be positive\r\n", NULL},
           {"SPOP a 1 2", SYNTAX, NULL},
           {"SRANDMEMBER a 1 2", SYNTAX, NULL},
           {"SRANDMEMBER a x", "-ERR value is not an integer or out of range\r\n", NULL},
           {"SRANDMEMBER a -9223372036854775808", "-ERR value is out of range, value must between "
            "-9223372036854775807 and 9223372036854775807\r\n", NULL},
           {"SADD a 1", ONE, SAME},
           {"SRANDMEMBER a -9223372036854775807", "-ERR value is out of range\r\n", NULL},
           {"SRANDMEMBER a 9223372036854775807", "*1\r\n$1\r\n1\r\n", NULL},
           {"SRANDMEMBER a -3", "*3\r\n$1\r\n1\r\n$1\r\n1\r\n$1\r\n1\r\n", NULL});
}

Test(set, popping)
{
    SCRIPT({"SPOP s", "$-1\r\n", NULL},
           {"SPOP s 3", EMPTY, NULL},
           {"SRANDMEMBER s", "$-1\r\n", NULL},
           {"SRANDMEMBER s 3", EMPTY, NULL},
           {"SADD s a", ONE, SAME},
           {"SPOP s 0", EMPTY, NULL},
           {"SPOP s", "$1\r\na\r\n", "SREM s a"},
           {"EXISTS s", ZERO, NULL},
           {"SADD s a b", ":2\r\n", SAME},
           {"SPOP s 9", "*2\r\n$1\r\na\r\n$1\r\nb\r\n", "DEL s"},
           {"EXISTS s", ZERO, NULL});
}

Test(set, moving)
{
    SCRIPT({"SADD a 1 2", ":2\r\n", SAME},
           {"SMOVE a b 3", ZERO, NULL},
           {"SMOVE a b 1", ONE, SAME},
           {"SMEMBERS b", "*1\r\n$1\r\n1\r\n", NULL},
           {"SMOVE a a 2", ONE, NULL},
           {"SMOVE a a 3", ZERO, NULL},
           {"SADD b 2", ONE, SAME},
           {"SMOVE a b 2", ONE, SAME},
           {"EXISTS a", ZERO, NULL},
           {"SMOVE a b 2", ZERO, NULL},
           {"SCARD b", ":2\r\n", NULL});
}

Test(set, scanning_packed)
{
    SCRIPT({"SADD s 1 2 x", ":3\r\n", SAME},
           {"SSCAN s 5 COUNT 1", "*2\r\n$1\r\n0\r\n*3\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\nx\r\n", NULL},
           {"SSCAN s 0 MATCH [0-9]", "*2\r\n$1\r\n0\r\n*2\r\n$1\r\n1\r\n$1\r\n2\r\n", NULL},
           {"SSCAN none 0", "*2\r\n$1\r\n0\r\n*0\r\n", NULL});
}
/* clang-format on */

static void add_numbered(struct handler_world *w, const char *key, int from, int to,
                         const char *prefix)
{
    for (int i = from; i < to; i++) (void)handler_runf(w, "SADD %s %s%d", key, prefix, i);
}

static int64_t integer(const char *reply)
{
    cr_assert_eq(reply[0], ':');
    return atoll(reply + 1);
}

/* The three forms, with sizes around every threshold. */
Test(set, large_sets)
{
    struct handler_world w;
    handler_init(&w, 2, 7);
    for (int numbers = 0; numbers < 2; numbers++) {
        const char *prefix = numbers ? "" : "m";
        add_numbered(&w, "a", 0, 128, prefix);
        cr_assert_str_eq(handler_run_line(&w, "OBJECT ENCODING a"), numbers ? INTSET : LISTPACK);
        add_numbered(&w, "a", 128, 5000, prefix);
        cr_assert_str_eq(handler_run_line(&w, "OBJECT ENCODING a"), HASHTABLE);
        add_numbered(&w, "b", 4000, 7000, prefix);
        cr_assert_eq(integer(handler_run_line(&w, "SINTERSTORE d a b")), 1000);
        cr_assert_eq(integer(handler_run_line(&w, "SUNIONSTORE d a b")), 7000);
        cr_assert_eq(integer(handler_run_line(&w, "SDIFFSTORE d a b")), 4000);
        cr_assert_eq(integer(handler_run_line(&w, "SDIFFSTORE e d a")), 0);
        cr_assert_eq(integer(handler_run_line(&w, "SINTERCARD 2 a b LIMIT 77")), 77);
        add_numbered(&w, "c", 0, 50, prefix);
        cr_assert_eq(integer(handler_run_line(&w, "SDIFFSTORE e c a b d")), 0);
        cr_assert_eq(integer(handler_run_line(&w, "SINTERSTORE e c a")), 50);
        cr_assert_str_eq(handler_run_line(&w, "OBJECT ENCODING e"), numbers ? INTSET : LISTPACK);
        cr_assert_eq(integer(handler_run_line(&w, "SUNIONSTORE e a c b")), 7000);
        for (int i = 0; i < 5000; i++) {
            cr_assert_eq(integer(handler_runf(&w, "SREM a %s%d", prefix, i)), 1);
        }
        cr_assert_str_eq(handler_run_line(&w, "EXISTS a"), ZERO);
        handler_run_line(&w, "FLUSHALL");
    }
    handler_deinit(&w);
}

/* Bulk strings of a flat reply, sorted and counted. */
static size_t members_of(const char *reply, char out[][24], size_t max)
{
    size_t count = (size_t)atoll(reply + 1);
    cr_assert((reply[0] == '*' || reply[0] == '~') && count <= max);
    const char *at = strchr(reply, '\n') + 1;
    for (size_t i = 0; i < count; i++) {
        size_t len = (size_t)atoll(at + 1);
        at = strchr(at, '\n') + 1;
        memcpy(out[i], at, len);
        out[i][len] = '\0';
        at += len + 2;
    }
    return count;
}

static int compare_texts(const void *a, const void *b) { return strcmp(a, b); }

/* Whatever is popped or drawn: distinct members of the set, and the rest stays. */
static void pop_and_draw(uint64_t seed, int size, int count, bool numbers)
{
    static char members[3000][24];
    struct handler_world w, replica;
    handler_init(&w, 1, seed);
    handler_init(&replica, 1, seed + 1);
    w.proto = seed % 2 ? 3 : 2;
    add_numbered(&w, "s", 0, size, numbers ? "" : "member-");
    handler_run_line(&w, "PEXPIREAT s 1800000000000");
    for (int round = 0; round < 3; round++) {
        size_t drawn = members_of(handler_runf(&w, "SRANDMEMBER s %d", count), members, 3000);
        cr_assert_eq(drawn, (size_t)(count < size ? count : size));
        qsort(members, drawn, sizeof(*members), compare_texts);
        for (size_t i = 0; i < drawn; i++) {
            if (i) cr_assert_str_neq(members[i - 1], members[i]);
            cr_assert_str_eq(handler_runf(&w, "SISMEMBER s %s", members[i]), ONE);
        }
        if (drawn == 0) break;
        drawn = members_of(handler_runf(&w, "SPOP s %d", count), members, 3000);
        cr_assert_eq(drawn, (size_t)(count < size ? count : size));
        qsort(members, drawn, sizeof(*members), compare_texts);
        for (size_t i = 0; i < drawn; i++) {
            if (i) cr_assert_str_neq(members[i - 1], members[i]);
            cr_assert_str_eq(handler_runf(&w, "SISMEMBER s %s", members[i]), ZERO);
        }
        size -= (int)drawn;
        cr_assert_eq(integer(handler_run_line(&w, "SCARD s")), size);
    }
    struct buf ours = {0}, theirs = {0};
    handler_replay(&w, &replica);
    handler_dump(&w, &ours);
    handler_dump(&replica, &theirs);
    cr_assert(slice_equal(buf_slice(&ours), buf_slice(&theirs)));
    buf_deinit(&ours);
    buf_deinit(&theirs);
    handler_deinit(&w);
    handler_deinit(&replica);
}

Test(set, popping_and_drawing_many, .timeout = 120)
{
    static const int sizes[] = {1, 5, 100, 129, 400, 513, 3000};
    uint64_t seed = 1;
    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        for (int part = 1; part <= 10; part++) {
            int count = sizes[i] * part / 10;
            if (count == 0) continue;
            pop_and_draw(seed++, sizes[i], count, false);
            pop_and_draw(seed++, sizes[i], count, true);
        }
        pop_and_draw(seed++, sizes[i], sizes[i] + 5, true);
    }
}

/* Every member of a small set of any form is drawn about equally often. */
Test(set, random_is_fair)
{
    static char members[100][24];
    struct handler_world w;
    handler_init(&w, 1, 11);
    static const char *const lines[] = {"SRANDMEMBER s", "SRANDMEMBER s 1", "SRANDMEMBER s -1",
                                        "SRANDMEMBER s 40"};
    for (int form = 0; form < 3; form++) {
        w.env.set_max_listpack_entries = form == 2 ? 0 : 128;
        add_numbered(&w, "s", 0, 64, form == 0 ? "" : "m");
        for (size_t kind = 0; kind < ARRAY_COUNT(lines); kind++) {
            int seen[64] = {0}, draws = 0;
            while (draws < 64 * 500) {
                const char *reply = handler_run_line(&w, lines[kind]);
                size_t count = 1;
                if (reply[0] == '*') count = members_of(reply, members, 100);
                else snprintf(members[0], sizeof(members[0]), "%s", strchr(reply, '\n') + 1);
                for (size_t i = 0; i < count; i++) {
                    seen[atoi(members[i] + (members[i][0] == 'm'))]++;
                    draws++;
                }
            }
            double chi = 0;
            for (int i = 0; i < 64; i++) chi += (seen[i] - 500.0) * (seen[i] - 500.0) / 500.0;
            cr_assert_lt(chi, 130, "form %d, %s: %f", form, lines[kind], chi);
        }
        handler_run_line(&w, "DEL s");
    }
    handler_deinit(&w);
}

static void scan_all(struct handler_world *w, int size, int growth)
{
    static char members[3000][24];
    static bool seen[20000];
    memset(seen, 0, sizeof(seen));
    unsigned long long cursor = 0;
    int at = size, steps = 0;
    do {
        const char *reply = handler_runf(w, "SSCAN s %llu COUNT 20", cursor);
        cursor = strtoull(strchr(strchr(reply, '\n') + 1, '\n') + 1, NULL, 10);
        const char *list = strchr(strchr(strchr(reply, '\n') + 1, '\n') + 1, '\n') + 1;
        size_t count = members_of(list, members, 3000);
        for (size_t i = 0; i < count; i++) seen[atoi(members[i] + 1)] = true;
        for (int i = 0; i < 50 && growth > 0 && at < 19000; i++) {
            (void)handler_runf(w, "SADD s m%d", at++);
        }
        for (int i = 0; i < 10 && growth < 0 && at > 300; i++) {
            (void)handler_runf(w, "SREM s m%d", --at);
        }
        cr_assert_lt(steps++, 5000);
    } while (cursor);
    for (int i = 0; i < (growth < 0 ? 300 : size); i++) cr_assert(seen[i], "m%d", i);
}

Test(set, scanning_while_it_grows_and_shrinks)
{
    struct handler_world w;
    handler_init(&w, 1, 3);
    add_numbered(&w, "s", 0, 3000, "m");
    scan_all(&w, 3000, 1);
    scan_all(&w, 3000, -1);
    handler_deinit(&w);
}

Test(set, resp3)
{
    struct handler_world w;
    handler_init(&w, 1, 3);
    w.proto = 3;
    handler_run_line(&w, "SADD s a b");
    cr_assert_str_eq(handler_run_line(&w, "SMEMBERS s"), "~2\r\n$1\r\na\r\n$1\r\nb\r\n");
    cr_assert_str_eq(handler_run_line(&w, "SINTER s s"), "~2\r\n$1\r\na\r\n$1\r\nb\r\n");
    cr_assert_str_eq(handler_run_line(&w, "SUNION s"), "~2\r\n$1\r\na\r\n$1\r\nb\r\n");
    cr_assert_str_eq(handler_run_line(&w, "SDIFF s none"), "~2\r\n$1\r\na\r\n$1\r\nb\r\n");
    cr_assert_str_eq(handler_run_line(&w, "SDIFF none s"), "~0\r\n");
    cr_assert_str_eq(handler_run_line(&w, "SRANDMEMBER s 2"), "*2\r\n$1\r\na\r\n$1\r\nb\r\n");
    cr_assert_str_eq(handler_run_line(&w, "SMISMEMBER s a"), "*1\r\n:1\r\n");
    cr_assert_str_eq(handler_run_line(&w, "SPOP s 2"), "~2\r\n$1\r\na\r\n$1\r\nb\r\n");
    cr_assert_str_eq(handler_run_line(&w, "SPOP s 2"), "~0\r\n");
    cr_assert_str_eq(handler_run_line(&w, "SPOP s"), "_\r\n");
    handler_deinit(&w);
}

struct seen_events {
    char text[400];
};

static void saw(void *ctx, struct shard *shard, db_id db, uint32_t class, const char *event,
                struct slice key)
{
    (void)shard;
    (void)db;
    struct seen_events *seen = ctx;
    size_t len = strlen(seen->text);
    char type = class == EVENT_SET ? 's' : class == EVENT_GENERIC ? 'g' : 'n';
    snprintf(seen->text + len, sizeof(seen->text) - len, "%c:%s:%.*s ", type, event, (int)key.len,
             key.ptr);
}

Test(set, events)
{
    struct handler_world w;
    struct seen_events seen = {{0}};
    struct event_sink sink = {.event = saw, .ctx = &seen};
    handler_init(&w, 1, 3);
    shard_set_events(w.shards[0], EVENT_SET | EVENT_GENERIC, &sink);
    static const char *const steps[][2] = {
        {"SADD s a b", "s:sadd:s "},
        {"SADD s a b", ""},
        {"SREM s a x", "s:srem:s "},
        {"SMOVE s t b", "s:srem:s g:del:s s:sadd:t "},
        {"SREM t b", "s:srem:t g:del:t "},
        {"SADD s a b c d", "s:sadd:s "},
        {"SPOP s", "s:spop:s "},
        {"SPOP s 2", "s:spop:s "},
        {"SPOP s 2", "s:spop:s g:del:s "},
        {"SADD s a", "s:sadd:s "},
        {"SUNIONSTORE d s", "s:sunionstore:d "},
        {"SINTERSTORE d s", "s:sinterstore:d "},
        {"SDIFFSTORE d s none", "s:sdiffstore:d "},
        {"SDIFFSTORE d none", "g:del:d "},
        {"SDIFFSTORE d none", ""},
    };
    for (size_t i = 0; i < ARRAY_COUNT(steps); i++) {
        seen.text[0] = '\0';
        (void)handler_run_line(&w, steps[i][0]);
        cr_assert_str_eq(seen.text, steps[i][1], "%s: %s", steps[i][0], seen.text);
    }
    handler_deinit(&w);
}

/* A destination of 100,000 members is freed behind the command, not in it. */
Test(set, what_was_stored_over_is_freed_in_slices)
{
    struct handler_world w;
    handler_init(&w, 1, 3);
    add_numbered(&w, "s", 0, 20000, "m");
    cr_assert_eq(integer(handler_run_line(&w, "SUNIONSTORE d s")), 20000);
    uint64_t before = shard_stats_of(w.shards[0])->lazyfree_pending;
    cr_assert_str_eq(handler_run_line(&w, "SUNIONSTORE d none"), ZERO);
    cr_assert_eq(shard_stats_of(w.shards[0])->lazyfree_pending, before + 1);
    size_t steps = 0;
    while (shard_free_step(w.shards[0], 1000)) steps++;
    cr_assert_geq(steps, 20);
    handler_run_line(&w, "DEL s");
    while (shard_free_step(w.shards[0], 1000)) steps++;
    handler_deinit(&w);
}

/* The bytes that the shard counts come back when a set goes. */
Test(set, memory_is_counted)
{
    struct handler_world w;
    handler_init(&w, 1, 3);
    handler_run_line(&w, "SET x 1");
    uint64_t before = shard_stats_of(w.shards[0])->bytes;
    add_numbered(&w, "s", 0, 9000, "member-with-name-");
    uint64_t full = shard_stats_of(w.shards[0])->bytes - before;
    cr_assert(full > 9000 * 30 && full < 9000 * 50, "%llu", (unsigned long long)full);
    int64_t usage = integer(handler_run_line(&w, "MEMORY USAGE s"));
    cr_assert((uint64_t)usage > full * 95 / 100 && (uint64_t)usage < full * 105 / 100);
    for (int i = 0; i < 8990; i++) (void)handler_runf(&w, "SREM s member-with-name-%d", i);
    cr_assert_lt(shard_stats_of(w.shards[0])->bytes - before, 2000);
    handler_run_line(&w, "DEL s");
    cr_assert_eq(shard_stats_of(w.shards[0])->bytes, before);
    handler_deinit(&w);
}
