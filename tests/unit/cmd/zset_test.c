/* Sorted sets: replies, effects, forms, and what only handlers decide. The differential test
 * (tests/compat/gen_zset.py) goes through the options; here is what it cannot see: effects, events,
 * lexicographical ranges of packed sets with different scores, newer commands' options, limits.
 * Expectations: https://redis.io/docs/latest/commands/zadd/ and its neighbours. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "script.h"
#include "splitring/base/mem.h"
#include "splitring/base/num.h"

#define OK "+OK\r\n"
#define ONE ":1\r\n"
#define ZERO ":0\r\n"
#define NIL "$-1\r\n"
#define EMPTY "*0\r\n"
#define NONE "*-1\r\n"
#define SYNTAX "-ERR syntax error\r\n"
#define WRONGTYPE "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"
#define NOT_INT "-ERR value is not an integer or out of range\r\n"
#define NOT_FLOAT "-ERR value is not a valid float\r\n"

/* clang-format off */
Test(zset, zadd)
{
    SCRIPT({"ZADD z 1 a 2 b", ":2\r\n", SAME},
           {"ZADD z 1 a 2 b", ZERO, NULL},
           {"ZADD z CH 1 a 3 b 4 c", ":2\r\n", SAME},
           {"ZADD z NX 9 a 9 d", ONE, SAME},
           {"ZADD z XX 9 a 9 e", ZERO, SAME},
           {"ZADD z GT 8 a 10 d", ZERO, SAME},
           {"ZADD z LT 100 a", ZERO, NULL},
           {"ZSCORE z a", "$1\r\n9\r\n", NULL},
           {"ZADD z INCR 2 a", "$2\r\n11\r\n", SAME},
           {"ZADD z NX INCR 2 a", NIL, NULL},
           {"ZADD z GT INCR -2 a", NIL, NULL},
           {"ZADD z INCR 0 a", "$2\r\n11\r\n", NULL},
           {"ZINCRBY z 1.5 a", "$4\r\n12.5\r\n", SAME},
           {"ZADD z inf i", ONE, SAME},
           {"ZINCRBY z -inf i", "-ERR resulting score is not a number (NaN)\r\n", NULL},
           {"ZADD z XX NX 1 a",
            "-ERR XX and NX options at the same time are not compatible\r\n", NULL},
           {"ZADD z GT LT 1 a",
            "-ERR GT, LT, and/or NX options at the same time are not compatible\r\n", NULL},
           {"ZADD z INCR 1 a 2 b",
            "-ERR INCR option supports a single increment-element pair\r\n", NULL},
           {"ZADD z 1 a x b", NOT_FLOAT, NULL},
           {"ZADD z nan b", NOT_FLOAT, NULL},
           {"ZADD z NX XX", SYNTAX, NULL},
           {"ZADD none XX 1 a", ZERO, NULL},
           {"EXISTS none", ZERO, NULL},
           {"SET s x", OK, SAME},
           {"ZADD s 1 a", WRONGTYPE, NULL},
           {"ZADD s 1 x", WRONGTYPE, NULL},
           {"ZADD s x a", NOT_FLOAT, NULL},
           {"ZCARD z", ":5\r\n", NULL});
}

Test(zset, removing)
{
    SCRIPT({"ZADD z 1 a 2 b 3 c 4 d 5 e", ":5\r\n", SAME},
           {"ZREM z a x", ONE, SAME},
           {"ZREM z x y", ZERO, NULL},
           {"ZPOPMIN z", "*2\r\n$1\r\nb\r\n$1\r\n2\r\n", SAME},
           {"ZPOPMAX z 0", EMPTY, NULL},
           {"BZPOPMAX none z 1", "*3\r\n$1\r\nz\r\n$1\r\ne\r\n$1\r\n5\r\n", "ZPOPMAX z"},
           {"ZMPOP 2 none z MIN", "*2\r\n$1\r\nz\r\n*1\r\n*2\r\n$1\r\nc\r\n$1\r\n3\r\n",
            "ZPOPMIN z 1"},
           {"BZMPOP 1 1 z MAX COUNT 7", "*2\r\n$1\r\nz\r\n*1\r\n*2\r\n$1\r\nd\r\n$1\r\n4\r\n",
            "ZPOPMAX z 1"},
           {"EXISTS z", ZERO, NULL},
           {"ZPOPMIN z", EMPTY, NULL},
           {"ZPOPMIN z 3", EMPTY, NULL},
           {"ZPOPMIN z -1", "-ERR value is out of range, must be positive\r\n", NULL},
           {"ZMPOP 1 z MIN", NONE, NULL},
           {"BZPOPMIN z 0", NONE, NULL},
           {"BZPOPMIN z -1", "-ERR timeout is negative\r\n", NULL},
           {"BZMPOP 0 1 z MIN", NONE, NULL},
           {"ZMPOP 0 z MIN", "-ERR numkeys should be greater than 0\r\n", NULL},
           {"ZMPOP 2 z MIN", SYNTAX, NULL},
           {"ZMPOP 9223372036854775807 z MIN", SYNTAX, NULL},
           {"ZMPOP 1 z MIN COUNT 0", "-ERR count should be greater than 0\r\n", NULL},
           {"ZADD z 1 a 2 b 3 c", ":3\r\n", SAME},
           {"ZREMRANGEBYRANK z 5 6", ZERO, NULL},
           {"ZREMRANGEBYRANK z -1 -1", ONE, SAME},
           {"ZREMRANGEBYSCORE z (1 2", ONE, SAME},
           {"ZREMRANGEBYLEX z - +", ONE, SAME},
           {"EXISTS z", ZERO, NULL});
}

Test(zset, ranks)
{
    SCRIPT({"ZADD z 1 a 2 b 2 c", ":3\r\n", SAME},
           {"ZRANK z c", ":2\r\n", NULL},
           {"ZREVRANK z c", ZERO, NULL},
           {"ZRANK z b WITHSCORE", "*2\r\n:1\r\n$1\r\n2\r\n", NULL},
           {"ZREVRANK z a withscore", "*2\r\n:2\r\n$1\r\n1\r\n", NULL},
           {"ZRANK z x", NIL, NULL},
           {"ZRANK z x WITHSCORE", NONE, NULL},
           {"ZRANK none x WITHSCORE", NONE, NULL},
           {"ZRANK z b SCORE", SYNTAX, NULL},
           {"ZRANK z b WITHSCORE x",
            "-ERR wrong number of arguments for 'zrank' command\r\n", NULL},
           {"ZMSCORE z a x b", "*3\r\n$1\r\n1\r\n$-1\r\n$1\r\n2\r\n", NULL});
}

Test(zset, ranges)
{
    SCRIPT({"ZADD z 1 a 2 b 3 c 4 d", ":4\r\n", SAME},
           {"ZRANGE z 1 2", "*2\r\n$1\r\nb\r\n$1\r\nc\r\n", NULL},
           {"ZRANGE z (1 3 BYSCORE LIMIT 1 -1", "*1\r\n$1\r\nc\r\n", NULL},
           {"ZRANGE z 3 (1 BYSCORE REV LIMIT 0 1", "*1\r\n$1\r\nc\r\n", NULL},
           {"ZRANGE z + [b BYLEX REV LIMIT 1 1", "*1\r\n$1\r\nc\r\n", NULL},
           {"ZREVRANGEBYSCORE z +inf -inf LIMIT 3 9", "*1\r\n$1\r\na\r\n", NULL},
           {"ZRANGE z 0 1 LIMIT 0 1",
            "-ERR syntax error, LIMIT is only supported in combination with either BYSCORE or "
            "BYLEX\r\n",
            NULL},
           {"ZRANGE z - + BYLEX WITHSCORES",
            "-ERR syntax error, WITHSCORES not supported in combination with BYLEX\r\n", NULL},
           {"ZRANGE z 1 x BYSCORE", "-ERR min or max is not a float\r\n", NULL},
           {"ZRANGE z a + BYLEX", "-ERR min or max not valid string range item\r\n", NULL},
           {"ZRANGE z 1 x", NOT_INT, NULL},
           {"ZCOUNT z -inf (3", ":2\r\n", NULL},
           {"ZCOUNT z ( ' 5'", ":4\r\n", NULL},
           {"ZLEXCOUNT z [b +", ":3\r\n", NULL},
           {"ZRANGESTORE d z 1 2", ":2\r\n", SAME},
           {"ZRANGE d 0 -1 WITHSCORES", "*4\r\n$1\r\nb\r\n$1\r\n2\r\n$1\r\nc\r\n$1\r\n3\r\n", NULL},
           {"ZRANGESTORE d z 9 10", ZERO, SAME},
           {"EXISTS d", ZERO, NULL},
           {"ZRANGESTORE d z 9 10", ZERO, NULL},
           {"ZRANGESTORE d z 0 1 WITHSCORES", SYNTAX, NULL});
}

/* Redis walks a packed set from one end until a member does not fit, whatever the scores. */
Test(zset, lex_ranges_of_different_scores)
{
    SCRIPT({"ZADD z 1 m 2 a 3 p 4 b 5 z", ":5\r\n", SAME},
           {"ZRANGEBYLEX z [m +", "*5\r\n$1\r\nm\r\n$1\r\na\r\n$1\r\np\r\n$1\r\nb\r\n$1\r\nz\r\n",
            NULL},
           {"ZRANGEBYLEX z - [m", "*2\r\n$1\r\nm\r\n$1\r\na\r\n", NULL},
           {"ZREVRANGEBYLEX z [p [b", "*2\r\n$1\r\nb\r\n$1\r\np\r\n", NULL},
           {"ZRANGEBYLEX z + -", EMPTY, NULL},
           {"ZLEXCOUNT z - -", ZERO, NULL});
}

Test(zset, combining)
{
    SCRIPT({"ZADD a 1 x 2 y", ":2\r\n", SAME},
           {"ZADD b 10 y 20 z", ":2\r\n", SAME},
           {"SADD s x y", ":2\r\n", SAME},
           {"ZUNION 2 a b WITHSCORES",
            "*6\r\n$1\r\nx\r\n$1\r\n1\r\n$1\r\ny\r\n$2\r\n12\r\n$1\r\nz\r\n$2\r\n20\r\n", NULL},
           {"ZINTER 3 a b s WEIGHTS 1 2 3 AGGREGATE MAX WITHSCORES",
            "*2\r\n$1\r\ny\r\n$2\r\n20\r\n",
            NULL},
           {"ZDIFF 2 a b", "*1\r\n$1\r\nx\r\n", NULL},
           {"ZINTERCARD 2 a s", ":2\r\n", NULL},
           {"ZINTERCARD 2 a s LIMIT 1", ONE, NULL},
           {"ZINTERCARD 2 a s LIMIT -1", "-ERR LIMIT can't be negative\r\n", NULL},
           {"ZUNIONSTORE d 2 a s", ":2\r\n", SAME},
           {"ZRANGE d 0 -1 WITHSCORES", "*4\r\n$1\r\nx\r\n$1\r\n2\r\n$1\r\ny\r\n$1\r\n3\r\n", NULL},
           {"ZINTERSTORE d 2 a none", ZERO, SAME},
           {"ZDIFFSTORE d 2 a a", ZERO, NULL},
           {"ZADD i inf x", ONE, SAME},
           {"ZUNION 2 i i WEIGHTS 1 -1 WITHSCORES", "*2\r\n$1\r\nx\r\n$1\r\n0\r\n", NULL},
           {"ZUNION 1 i WEIGHTS 0 WITHSCORES", "*2\r\n$1\r\nx\r\n$1\r\n0\r\n", NULL},
           {"ZUNION 0 a", "-ERR at least 1 input key is needed for 'zunion' command\r\n", NULL},
           {"ZUNION 3 a b", SYNTAX, NULL},
           {"ZUNION 2 a b WEIGHTS 1 x", "-ERR weight value is not a float\r\n", NULL},
           {"ZDIFF 2 a b WEIGHTS 1 2", SYNTAX, NULL},
           {"ZUNIONSTORE d 1 a WITHSCORES", SYNTAX, NULL},
           {"SET str x", OK, SAME},
           {"ZUNION 2 a str foo", WRONGTYPE, NULL});
}

Test(zset, random_members)
{
    SCRIPT({"ZADD z 1 a", ONE, SAME},
           {"ZRANDMEMBER z", "$1\r\na\r\n", NULL},
           {"ZRANDMEMBER z 5 WITHSCORES", "*2\r\n$1\r\na\r\n$1\r\n1\r\n", NULL},
           {"ZRANDMEMBER z -3", "*3\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n", NULL},
           {"ZRANDMEMBER none", NIL, NULL},
           {"ZRANDMEMBER none 3", EMPTY, NULL},
           {"ZRANDMEMBER z 0", EMPTY, NULL},
           {"ZRANDMEMBER z -9223372036854775807", "-ERR value is out of range\r\n", NULL},
           {"ZRANDMEMBER z -9223372036854775808",
            "-ERR value is out of range, value must between -9223372036854775807 and "
            "9223372036854775807\r\n", NULL},
           {"ZRANDMEMBER z -9223372036854775807 WITHSCORES",
            "-ERR value is out of range\r\n", NULL},
           {"ZRANDMEMBER z 1 SCORES", SYNTAX, NULL});
}
/* clang-format on */

Test(zset, resp3)
{
    struct handler_world w;
    handler_init(&w, 1, 5);
    w.proto = 3;
    cr_assert_str_eq(handler_run_line(&w, "ZADD z 1 a 2.5 b"), ":2\r\n");
    cr_assert_str_eq(handler_run_line(&w, "ZADD z INCR 1 a"), ",2\r\n");
    cr_assert_str_eq(handler_run_line(&w, "ZRANGE z 0 -1 WITHSCORES"),
                     "*2\r\n*2\r\n$1\r\na\r\n,2\r\n*2\r\n$1\r\nb\r\n,2.5\r\n");
    cr_assert_str_eq(handler_run_line(&w, "ZPOPMIN z"), "*2\r\n$1\r\na\r\n,2\r\n");
    cr_assert_str_eq(handler_run_line(&w, "ZPOPMIN z 1"), "*1\r\n*2\r\n$1\r\nb\r\n,2.5\r\n");
    cr_assert_str_eq(handler_run_line(&w, "ZSCORE z a"), "_\r\n");
    handler_deinit(&w);
}

static const char *encoding(struct handler_world *w, const char *key)
{
    return handler_runf(w, "OBJECT ENCODING %s", key);
}

Test(zset, grows_large_and_stays_so)
{
    struct handler_world w;
    handler_init(&w, 1, 5);
    w.env.zset_max_listpack_entries = 4;
    cr_assert_str_eq(handler_run_line(&w, "ZADD z 1 a 2 b 3 c 4 d"), ":4\r\n");
    cr_assert_str_eq(encoding(&w, "z"), "$8\r\nlistpack\r\n");
    cr_assert_str_eq(handler_run_line(&w, "ZADD z 9 e"), ":1\r\n");
    cr_assert_str_eq(encoding(&w, "z"), "$8\r\nskiplist\r\n");
    cr_assert_str_eq(handler_run_line(&w, "ZREM z e a"), ":2\r\n");
    cr_assert_str_eq(encoding(&w, "z"), "$8\r\nskiplist\r\n");
    cr_assert_str_eq(handler_run_line(&w, "ZUNIONSTORE z 1 z"), ":3\r\n");
    cr_assert_str_eq(encoding(&w, "z"), "$8\r\nlistpack\r\n");
    w.env.zset_max_listpack_value = 2;
    cr_assert_str_eq(handler_run_line(&w, "ZADD y 1 abc"), ":1\r\n");
    cr_assert_str_eq(encoding(&w, "y"), "$8\r\nskiplist\r\n");
    handler_deinit(&w);
}

/* The same random commands on packed and on large sets must give the same replies. */
Test(zset, both_forms_answer_alike, .timeout = 120)
{
    static const char *const lines[] = {
        "ZADD z %d m%d",       "ZADD z GT %d m%d",        "ZINCRBY z %d m%d",
        "ZREM z m%d m%d",      "ZRANGE z %d %d WITHSCORES", "ZCOUNT z (%d %d",
        "ZRANK z m%d",         "ZRANGE z %d %d BYSCORE LIMIT 1 4", "ZPOPMIN z",
        "ZREVRANGE z %d %d",   "ZREMRANGEBYSCORE z %d %d", "ZRANGE z [m%d (m%d BYLEX",
        "ZREMRANGEBYRANK z %d %d", "ZADD z 0.5 m%d -1e300 n%d", "ZMSCORE z m%d m%d",
    };
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct handler_world packed, large;
        handler_init(&packed, 1, seed);
        handler_init(&large, 1, seed);
        packed.env.zset_max_listpack_entries = 1000;
        large.env.zset_max_listpack_entries = 0;
        struct rng rng;
        rng_seed(&rng, seed);
        for (int i = 0; i < 1500; i++) {
            size_t n = rng_below(&rng, ARRAY_COUNT(lines));
            int a = (int)rng_below(&rng, 40), b = (int)rng_below(&rng, 60);
            if (n == 10 || n == 12) b = a + 2;
            /* All scores are equal there, or the answers may differ. */
            if (n == 11) continue;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
            char *reply = NULL;
            const char *text = handler_runf(&packed, lines[n], a, b);
            reply = mem_alloc(strlen(text) + 1);
            memcpy(reply, text, strlen(text) + 1);
            text = handler_runf(&large, lines[n], a, b);
#pragma GCC diagnostic pop
            cr_assert_str_eq(reply, text, "seed %d, step %d: %s %d %d", (int)seed, i, lines[n], a,
                             b);
            mem_free(reply);
        }
        handler_deinit(&packed);
        handler_deinit(&large);
    }
}

/* Different members, the right number of them, whichever way they are drawn. */
Test(zset, random_members_of_large_sets)
{
    struct handler_world w;
    handler_init(&w, 1, 9);
    for (int i = 0; i < 400; i++) (void)handler_runf(&w, "ZADD z %d m%d", i, i);
    for (int count = 1; count < 400; count += 7) {
        const char *at = handler_runf(&w, "ZRANDMEMBER z %d", count);
        bool seen[400] = {false};
        cr_assert_eq(atoi(at + 1), count);
        for (int i = 0; i < count; i++) {
            at = strstr(at, "\r\nm");
            cr_assert_not_null(at);
            int member = atoi(at + 3);
            cr_assert(!seen[member]);
            seen[member] = true;
            at += 3;
        }
        cr_assert_null(strstr(at, "\r\nm"));
    }
    handler_deinit(&w);
}

/* What a set costs is given back when it goes, in slices too. */
Test(zset, memory_is_given_back)
{
    struct handler_world w;
    handler_init(&w, 1, 5);
    (void)handler_run_line(&w, "SET s x");
    uint64_t before = shard_stats_of(w.shards[0])->bytes;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 3000; i++) {
            (void)handler_runf(&w, "ZADD z %d member-%d", i * 7919 % 3000, i);
        }
        for (int i = 0; i < 1000; i++) (void)handler_runf(&w, "ZINCRBY z %d member-%d", i, i * 3);
        for (int i = 0; i < 500; i++) (void)handler_runf(&w, "ZREM z member-%d", i * 5);
        cr_assert_gt(shard_stats_of(w.shards[0])->bytes, before + 80000);
        if (round == 0) (void)handler_run_line(&w, "DEL z");
        if (round == 1) (void)handler_run_line(&w, "UNLINK z");
        if (round == 2) (void)handler_run_line(&w, "ZREMRANGEBYRANK z 0 -1");
        while (shard_free_step(w.shards[0], 100) > 0) {}
        cr_assert_eq(shard_stats_of(w.shards[0])->bytes, before, "round %d: %llu, %llu", round,
                     (unsigned long long)shard_stats_of(w.shards[0])->bytes,
                     (unsigned long long)before);
    }
    handler_deinit(&w);
}
