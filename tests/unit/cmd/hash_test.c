/* Hashes: what is newer than the redis-server of the differential test (expiry of fields, HSETEX,
 * HGETEX, HGETDEL, NOVALUES), the effect that every write states, events, forms.
 * Expectations: https://redis.io/docs/latest/commands/ (8.0), https://valkey.io/commands/hsetex/ */
#include <criterion/criterion.h>
#include <stdio.h>

#include "script.h"

#define OK "+OK\r\n"
#define NIL "$-1\r\n"
#define ONE ":1\r\n"
#define ZERO ":0\r\n"
#define EMPTY "*0\r\n"
#define LIST1(a) "*1\r\n" a
#define LIST2(a, b) "*2\r\n" a b
#define LIST3(a, b, c) "*3\r\n" a b c
#define N(n) ":" #n "\r\n"
#define WRONGTYPE "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"
#define ARITY(name) "-ERR wrong number of arguments for '" name "' command\r\n"

/* The world's clock stands at 1700000000000. */

/* clang-format off */

Test(hash, effects_of_plain_writes)
{
    SCRIPT({"HSET k a 1", ONE, SAME},
           {"HSET k a 2 b 3 c 4", N(2), SAME},
           {"HSET k a 1 b", ARITY("hset"), NULL},
           {"HMSET k d 5 e", ARITY("hmset"), NULL},
           {"HMSET k d 5", OK, SAME},
           {"HSETNX k a 9", ZERO, NULL},
           {"HSETNX k f 9", ONE, SAME},
           {"HGET k a", "$1\r\n2\r\n", NULL},
           {"HINCRBY k a 5", N(7), SAME},
           {"HINCRBY k none -5", N(-5), SAME},
           {"HINCRBYFLOAT k a 0.5", "$3\r\n7.5\r\n", "HSET k a 7.5"},
           {"HINCRBY k a 1", "-ERR hash value is not an integer\r\n", NULL},
           {"HINCRBYFLOAT k a inf", "-ERR value is NaN or Infinity\r\n", NULL},
           {"HSET k t text", ONE, SAME},
           {"HINCRBYFLOAT k t 1", "-ERR hash value is not a float\r\n", NULL},
           {"HINCRBY k a x", "-ERR value is not an integer or out of range\r\n", NULL},
           {"HSET k max 9223372036854775807", ONE, SAME},
           {"HINCRBY k max 1", "-ERR increment or decrement would overflow\r\n", NULL},
           {"HDEL k zz", ZERO, NULL},
           {"HDEL k a b zz", N(2), SAME},
           {"HLEN k", N(6), NULL},
           {"HDEL k c d f t max none", N(6), SAME},
           {"EXISTS k", ZERO, NULL},
           {"SET s 1", OK, SAME},
           {"HSET s a 1", WRONGTYPE, NULL},
           {"HGETALL s", WRONGTYPE, NULL});
}

Test(hash, expire_answers)
{
    SCRIPT({"HSET k a 1 b 2 c 3", N(3), SAME},
           {"HPEXPIRE k 1000 NX FIELDS 1 a", LIST1(ONE),
            "HPEXPIREAT k 1700000001000 FIELDS 1 a"},
           {"OBJECT ENCODING k", "$10\r\nlistpackex\r\n", NULL},
           {"HPEXPIRE k 1000 NX FIELDS 2 a b", LIST2(ZERO, ONE),
            "HPEXPIREAT k 1700000001000 FIELDS 1 b"},
           {"HPEXPIRE k 2000 XX FIELDS 2 a c", LIST2(ONE, ZERO),
            "HPEXPIREAT k 1700000002000 FIELDS 1 a"},
           {"HPEXPIRE k 1500 GT FIELDS 3 a b c", LIST3(ZERO, ONE, ZERO),
            "HPEXPIREAT k 1700000001500 FIELDS 1 b"},
           {"HPEXPIRE k 1800 LT FIELDS 4 a b c zz", "*4\r\n" ONE ZERO ONE N(-2),
            "HPEXPIREAT k 1700000001800 FIELDS 2 a c"},
           {"HPEXPIRETIME k FIELDS 4 a b c zz",
            "*4\r\n" N(1700000001800) N(1700000001500) N(1700000001800) N(-2), NULL},
           {"HEXPIRETIME k FIELDS 1 a", LIST1(N(1700000002)), NULL},
           {"HTTL k FIELDS 1 b", LIST1(N(2)), NULL},
           {"HPTTL k FIELDS 1 b", LIST1(N(1500)), NULL},
           {"HGETALL k", "*6\r\n$1\r\nb\r\n$1\r\n2\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nc\r\n$1\r\n3\r\n",
            NULL},
           {"HPERSIST k FIELDS 3 a zz a", LIST3(ONE, N(-2), N(-1)), "HPERSIST k FIELDS 1 a"},
           {"HTTL k FIELDS 2 a zz", LIST2(N(-1), N(-2)), NULL},
           {"HEXPIREAT k 1699999999 FIELDS 3 a b zz", LIST3(N(2), N(2), N(-2)), "HDEL k a b"},
           {"HEXPIRE k 0 FIELDS 1 c", LIST1(N(2)), "HDEL k c"},
           {"EXISTS k", ZERO, NULL},
           {"HTTL k FIELDS 2 a b", LIST2(N(-2), N(-2)), NULL},
           {"HEXPIRE k 10 FIELDS 2 a b", LIST2(N(-2), N(-2)), NULL},
           {"HPERSIST k FIELDS 1 a", LIST1(N(-2)), NULL});
}

#define FIELDS_MISSING "-ERR Mandatory argument FIELDS is missing or not at the right position\r\n"
#define MISMATCH "-ERR The `numfields` parameter must match the number of arguments\r\n"
#define POSITIVE "-ERR Number of fields must be a positive integer\r\n"
#define ABOVE_ZERO "-ERR Parameter `numFields` should be greater than 0\r\n"

Test(hash, expire_errors)
{
    SCRIPT({"HSET k a 1", ONE, SAME},
           {"HEXPIRE k x FIELDS 1 a", "-ERR value is not an integer or out of range\r\n", NULL},
           {"HEXPIRE k -1 FIELDS 1 a", "-ERR invalid expire time, must be >= 0\r\n", NULL},
           {"HEXPIRE k 70368744178 FIELDS 1 a",
            "-ERR invalid expire time in 'hexpire' command\r\n", NULL},
           {"HPEXPIREAT k 70368744177664 FIELDS 1 a",
            "-ERR invalid expire time in 'hpexpireat' command\r\n", NULL},
           {"HPEXPIREAT k 70368744177663 FIELDS 1 a", LIST1(ONE), SAME},
           {"HPEXPIRE k 68668744177664 FIELDS 1 a",
            "-ERR invalid expire time in 'hpexpire' command\r\n", NULL},
           {"HEXPIRE k 10 FIELD 1 a", FIELDS_MISSING, NULL},
           {"HEXPIRE k 10 NX 1 a b", FIELDS_MISSING, NULL},
           {"HEXPIRE k 10 FIELDS 0 a", ABOVE_ZERO, NULL},
           {"HEXPIRE k 10 FIELDS x a", ABOVE_ZERO, NULL},
           {"HEXPIRE k 10 FIELDS 2 a", MISMATCH, NULL},
           {"HEXPIRE k 10 FIELDS 1 a b", MISMATCH, NULL},
           {"HEXPIRE k 10 NX FIELDS 1", MISMATCH, NULL},
           {"HTTL k FIELDS 0 a", POSITIVE, NULL},
           {"HTTL k FIELDS 2 a", MISMATCH, NULL},
           {"HTTL k FOO 1 a", FIELDS_MISSING, NULL},
           {"HPERSIST k FIELDS -1 a", POSITIVE, NULL},
           {"HGETDEL k FIELDS 0 a", POSITIVE, NULL},
           {"HGETDEL k FIELDS 1 a b", MISMATCH, NULL},
           {"HGETDEL none FIELDS 2 a", MISMATCH, NULL},
           {"HGETEX k EX 10 FIELDS", ARITY("hgetex"), NULL},
           {"HGETEX k EX 10 20 FIELDS", FIELDS_MISSING, NULL},
           {"HGETEX k PERSIST FIELDS 3 a", MISMATCH, NULL},
           {"HGETEX k EX x FIELDS 1 a", "-ERR value is not an integer or out of range\r\n", NULL},
           {"SET s 1", OK, SAME},
           {"HEXPIRE s x FIELDS 1 a", WRONGTYPE, NULL},
           {"HTTL s FOO 1 a", WRONGTYPE, NULL},
           {"HGETEX s FOO 1 a", WRONGTYPE, NULL});
}

Test(hash, getex_and_getdel)
{
    SCRIPT({"HSET k a 1 b 2 c 3", N(3), SAME},
           {"HGETEX k FIELDS 2 a zz", LIST2("$1\r\n1\r\n", NIL), NULL},
           {"HGETEX k EX 10 FIELDS 2 a zz", LIST2("$1\r\n1\r\n", NIL),
            "HPEXPIREAT k 1700000010000 FIELDS 1 a"},
           {"HGETEX k PX 10 FIELDS 1 b", LIST1("$1\r\n2\r\n"),
            "HPEXPIREAT k 1700000000010 FIELDS 1 b"},
           {"HGETEX k EXAT 1700000020 FIELDS 1 b", LIST1("$1\r\n2\r\n"),
            "HPEXPIREAT k 1700000020000 FIELDS 1 b"},
           {"HGETEX k PXAT 1700000030000 FIELDS 1 b", LIST1("$1\r\n2\r\n"),
            "HPEXPIREAT k 1700000030000 FIELDS 1 b"},
           {"HGETEX k PERSIST FIELDS 3 a b c",
            LIST3("$1\r\n1\r\n", "$1\r\n2\r\n", "$1\r\n3\r\n"), "HPERSIST k FIELDS 2 a b"},
           {"HGETEX k PERSIST FIELDS 1 a", LIST1("$1\r\n1\r\n"), NULL},
           {"HGETEX k PXAT 1 FIELDS 2 a a", LIST2("$1\r\n1\r\n", NIL), "HDEL k a"},
           {"HGETEX none EX 10 FIELDS 2 a b", LIST2(NIL, NIL), NULL},
           {"HGETDEL none FIELDS 2 a b", LIST2(NIL, NIL), NULL},
           {"HGETDEL k FIELDS 3 b zz b", LIST3("$1\r\n2\r\n", NIL, NIL), "HDEL k b"},
           {"HGETDEL k FIELDS 2 c c", LIST2("$1\r\n3\r\n", NIL), "HDEL k c"},
           {"EXISTS k", ZERO, NULL});
}

Test(hash, setex)
{
    SCRIPT({"HSETEX k FIELDS 2 a 1 b 2", ONE, SAME},
           {"HSETEX k FNX FIELDS 2 b 3 c 3", ZERO, NULL},
           {"HSETEX k FXX FIELDS 2 b 3 c 3", ZERO, NULL},
           {"HSETEX none FXX FIELDS 1 b 3", ZERO, NULL},
           {"HSETEX k NX FIELDS 1 c 3", ZERO, NULL},
           {"HSETEX none XX FIELDS 1 c 3", ZERO, NULL},
           {"HSETEX k FXX EX 10 FIELDS 1 b 3", ONE, "HSETEX k PXAT 1700000010000 FIELDS 1 b 3"},
           {"HSETEX k FNX PX 10 FIELDS 1 c 4", ONE, "HSETEX k PXAT 1700000000010 FIELDS 1 c 4"},
           {"HPTTL k FIELDS 3 a b c", LIST3(N(-1), N(10000), N(10)), NULL},
           {"HSETEX k KEEPTTL FIELDS 3 a 5 b 5 d 5", ONE, SAME},
           {"HPTTL k FIELDS 3 a b d", LIST3(N(-1), N(10000), N(-1)), NULL},
           {"HINCRBY k b 1", N(6), SAME},
           {"HINCRBYFLOAT k b 0.5", "$3\r\n6.5\r\n", "HSETEX k KEEPTTL FIELDS 1 b 6.5"},
           {"HPTTL k FIELDS 1 b", LIST1(N(10000)), NULL},
           {"HSETEX k FIELDS 1 b 7", ONE, SAME},
           {"HPTTL k FIELDS 1 b", LIST1(N(-1)), NULL},
           {"HPEXPIRE k 50 FIELDS 1 b", LIST1(ONE), "HPEXPIREAT k 1700000000050 FIELDS 1 b"},
           {"HSET k b 8", ZERO, SAME},
           {"HPTTL k FIELDS 1 b", LIST1(N(-1)), NULL},
           {"HSETEX k EXAT 1 FIELDS 2 b 9 new 9", ONE, "HDEL k b"},
           {"HSETEX none PXAT 1 FIELDS 1 b 9", ONE, NULL},
           {"EXISTS none", ZERO, NULL},
           {"HMGET k a b c", LIST3("$1\r\n5\r\n", NIL, "$1\r\n4\r\n"), NULL});
}

Test(hash, setex_errors)
{
    SCRIPT({"HSETEX k FIELDS 2 a 1", ARITY("hsetex"), NULL},
           {"HSETEX k FIELDS 1 a 1 b", ARITY("hsetex"), NULL},
           {"HSETEX k FIELDS 0 a 1", "-ERR invalid number of fields\r\n", NULL},
           {"HSETEX k FNX FXX FIELDS 1 a 1",
            "-ERR Only one of FXX or FNX arguments can be specified\r\n", NULL},
           {"HSETEX k EX 10 KEEPTTL FIELDS 1 a 1",
            "-ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified\r\n", NULL},
           {"HSETEX k a b c d", "-ERR unknown argument: a\r\n", NULL},
           {"HSETEX k FNX KEEPTTL FXX x",
            "-ERR Only one of FXX or FNX arguments can be specified\r\n", NULL},
           {"HSETEX k FNX KEEPTTL NX EX", "-ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL"
            " arguments can be specified\r\n", NULL},
           {"HSETEX k FNX NX XX EX", "-ERR Only one of NX or XX arguments can be specified\r\n",
            NULL},
           {"HSETEX k FNX NX FIELDS EX", ARITY("hsetex"), NULL},
           {"HSETEX k FNX NX NX EX", "-ERR Only one of NX or XX arguments can be specified\r\n",
            NULL},
           {"HSETEX k EX x FIELDS 1 a 1", "-ERR value is not an integer or out of range\r\n", NULL},
           {"HSETEX k PX -1 FIELDS 1 a 1", "-ERR invalid expire time, must be >= 0\r\n", NULL},
           {"SET s 1", OK, SAME},
           {"HSETEX s FIELDS 1 a 1", WRONGTYPE, NULL});
}

Test(hash, scan)
{
    SCRIPT({"HSCAN k x", "-ERR invalid cursor\r\n", NULL},
           {"HSCAN k 0 FOO", "*2\r\n$1\r\n0\r\n*0\r\n", NULL},
           {"HSET k a 1 b 2", N(2), SAME},
           {"HSCAN k 0", "*2\r\n$1\r\n0\r\n*4\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n$1\r\n2\r\n",
            NULL},
           {"HSCAN k 0 MATCH a*", "*2\r\n$1\r\n0\r\n*2\r\n$1\r\na\r\n$1\r\n1\r\n", NULL},
           {"HSCAN k 0 NOVALUES", "*2\r\n$1\r\n0\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n", NULL},
           {"HSCAN k 0 NOVALUES COUNT 1 MATCH b", "*2\r\n$1\r\n0\r\n*1\r\n$1\r\nb\r\n", NULL},
           {"HSCAN k 0 COUNT 0", "-ERR syntax error\r\n", NULL},
           {"HSCAN k 0 NOSCORES", "-ERR NOSCORES option can only be used in ZSCAN\r\n", NULL});
}

/* clang-format on */

/* ---- time ---- */

static void expect(struct handler_world *w, const char *line, const char *reply)
{
    const char *real = handler_run_line(w, line);
    cr_assert_str_eq(real, reply, "%s: %s", line, real);
}

static void fields_expire(uint64_t entries_max)
{
    struct handler_world w;
    handler_init(&w, 1, 5);
    w.env.hash_max_listpack_entries = entries_max;
    expect(&w, "HSET k a 1 b 2 c 3 d 4", N(4));
    expect(&w, "HPEXPIRE k 100 FIELDS 2 a b", LIST2(ONE, ONE));
    expect(&w, "HPEXPIRE k 200 FIELDS 1 c", LIST1(ONE));
    w.now += 100;
    expect(&w, "HEXISTS k a", ONE); /* at its very instant it is still there */
    w.now += 1;
    w.ks_flags = KS_LOGICAL;
    expect(&w, "HGET k a", NIL);
    expect(&w, "HLEN k", N(4));
    w.ks_flags = 0;
    handler_forget_effects(&w);
    expect(&w, "HGET k a", NIL);
    cr_assert(strstr(w.effects.ptr, "HDEL\r\n$1\r\nk\r\n$1\r\na\r\n"));
    expect(&w, "HLEN k", N(3)); /* b is gone and counted, as in Redis */
    expect(&w, "HKEYS k", entries_max ? LIST2("$1\r\nc\r\n", "$1\r\nd\r\n") : w.out.ptr);
    cr_assert(strncmp(w.out.ptr, "*2\r\n", 4) == 0);
    expect(&w, "HRANDFIELD k 10", w.out.ptr);
    cr_assert(strncmp(w.out.ptr, "*2\r\n", 4) == 0);
    expect(&w, "HLEN k", N(2)); /* HRANDFIELD has removed b */
    expect(&w, "HINCRBY k c 1", N(4));
    expect(&w, "HPTTL k FIELDS 1 c", LIST1(N(99)));
    w.now += 100;
    expect(&w, "HSETNX k c 7", ONE);
    expect(&w, "HPTTL k FIELDS 1 c", LIST1(N(-1)));
    expect(&w, "HPEXPIRE k 100 FIELDS 2 c d", LIST2(ONE, ONE));
    w.now += 101;
    expect(&w, "HINCRBYFLOAT k c 1", "$1\r\n1\r\n");
    expect(&w, "HDEL k d", ZERO);
    expect(&w, "HPEXPIRE k 100 FIELDS 1 c", LIST1(ONE));
    w.now += 101;
    expect(&w, "HMGET k c d", LIST2(NIL, NIL));
    expect(&w, "EXISTS k", ZERO);
    handler_deinit(&w);
}

Test(hash, fields_expire_packed) { fields_expire(512); }
Test(hash, fields_expire_large) { fields_expire(0); }

Test(hash, resp3)
{
    struct handler_world w;
    handler_init(&w, 1, 5);
    w.proto = 3;
    expect(&w, "HGETALL k", "%0\r\n");
    expect(&w, "HSET k a 1", ONE);
    expect(&w, "HGETALL k", "%1\r\n$1\r\na\r\n$1\r\n1\r\n");
    expect(&w, "HKEYS k", LIST1("$1\r\na\r\n"));
    expect(&w, "HGET k zz", "_\r\n");
    expect(&w, "HRANDFIELD k 1 WITHVALUES", "*1\r\n*2\r\n$1\r\na\r\n$1\r\n1\r\n");
    expect(&w, "HRANDFIELD k -2 WITHVALUES",
           "*2\r\n*2\r\n$1\r\na\r\n$1\r\n1\r\n*2\r\n$1\r\na\r\n$1\r\n1\r\n");
    expect(&w, "HRANDFIELD none", "_\r\n");
    expect(&w, "HRANDFIELD none 3", "*0\r\n");
    expect(&w, "HRANDFIELD k -9223372036854775808",
           "-ERR value is out of range, value must between -9223372036854775807 and"
           " 9223372036854775807\r\n");
    expect(&w, "HRANDFIELD k 4611686018427387904 WITHVALUES", "-ERR value is out of range\r\n");
    handler_deinit(&w);
}

Test(hash, forms)
{
    struct handler_world w;
    handler_init(&w, 1, 5);
    w.env.hash_max_listpack_entries = 2;
    w.env.hash_max_listpack_value = 4;
    expect(&w, "HSET k a 1 b 2", N(2));
    expect(&w, "OBJECT ENCODING k", "$8\r\nlistpack\r\n");
    expect(&w, "HSET k a 1 b 12345", ZERO);
    expect(&w, "OBJECT ENCODING k", "$9\r\nhashtable\r\n");
    expect(&w, "HDEL k b", ONE);
    expect(&w, "OBJECT ENCODING k", "$9\r\nhashtable\r\n");
    expect(&w, "HSET l a 1 b 2", N(2));
    expect(&w, "HPEXPIRE l 10 FIELDS 1 a", LIST1(ONE));
    expect(&w, "OBJECT ENCODING l", "$10\r\nlistpackex\r\n");
    expect(&w, "HSETNX l c 3", ONE);
    expect(&w, "OBJECT ENCODING l", "$9\r\nhashtable\r\n");
    expect(&w, "HPTTL l FIELDS 1 a", LIST1(N(10)));
    expect(&w, "HSET m longer 1", ONE);
    expect(&w, "OBJECT ENCODING m", "$9\r\nhashtable\r\n");
    expect(&w, "COPY l n", ONE);
    expect(&w, "HPTTL n FIELDS 2 a b", LIST2(N(10), N(-1)));
    expect(&w, "PEXPIRE n 1000", ONE);
    expect(&w, "PERSIST n", ONE);
    w.now += 11;
    expect(&w, "HLEN n", N(3));
    expect(&w, "HGET n a", NIL);
    expect(&w, "HLEN n", N(2));
    handler_deinit(&w);
}
