/* Handlers of keys, expiry and whole databases: replies to the byte (Redis 7.0's, checked side by
 * side), effects, and the same answers whether a view has one shard or eight. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>

#include "handler.h"

static struct handler_world w;

static void setup(void) { handler_init(&w, 1, 7); }

static void teardown(void) { handler_deinit(&w); }

TestSuite(generic, .init = setup, .fini = teardown);

#define IS(line, reply) \
    cr_assert_str_eq(handler_run_line(&w, line), reply, "%s: %s", line, w.out.ptr)

/* All effects since the last look, as RESP without SELECT: blanks between words. */
static const char *effects(void)
{
    static char text[1024];
    size_t len = 0;
    buf_append_char(&w.effects, '\0');
    for (char *at = w.effects.ptr; *at; at = strstr(at, "\r\n") + 2) {
        size_t n = strcspn(at, "\r");
        if (*at == '*') len += (size_t)snprintf(text + len, sizeof(text) - len, len ? "; " : "");
        if (*at == '*' || *at == '$') continue;
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%.*s ", (int)n, at);
    }
    text[len] = '\0';
    handler_forget_effects(&w);
    return text;
}

Test(generic, del_unlink_exists_touch)
{
    IS("MSET a 1 b 2 c 3", "+OK\r\n");
    IS("EXISTS a b nope a", ":3\r\n");
    IS("TOUCH a nope", ":1\r\n");
    handler_forget_effects(&w);
    IS("DEL a nope a b", ":2\r\n");
    cr_assert_str_eq(effects(), "SELECT 0 ; DEL a b ");
    IS("UNLINK c", ":1\r\n");
    cr_assert_str_eq(effects(), "SELECT 0 ; UNLINK c ");
    IS("DEL c", ":0\r\n");
    cr_assert_str_eq(effects(), "");
    cr_assert_eq(w.dirty, 0);
}

Test(generic, del_of_many)
{
    struct slice argv[201];
    char names[201][16];
    argv[0] = SLICE("DEL");
    for (int i = 1; i <= 200; i++) {
        snprintf(names[i], sizeof(names[i]), "k%d", i);
        argv[i] = slice_str(names[i]);
        if (i % 2) handler_runf(&w, "SET k%d v", i);
    }
    handler_forget_effects(&w);
    cr_assert_str_eq(handler_run(&w, 201, argv), ":100\r\n");
    cr_assert_eq(strncmp(w.effects.ptr, "*2\r\n$6\r\nSELECT", 14), 0);
    cr_assert_not_null(strstr(w.effects.ptr, "*101\r\n$3\r\nDEL"));
}

Test(generic, rename)
{
    IS("RENAME a b", "-ERR no such key\r\n");
    IS("RENAMENX a b", "-ERR no such key\r\n");
    IS("SET a 1 PX 5000", "+OK\r\n");
    IS("RENAME a a", "+OK\r\n");
    IS("RENAMENX a a", ":0\r\n");
    IS("SET b 2", "+OK\r\n");
    IS("RENAMENX a b", ":0\r\n");
    handler_forget_effects(&w);
    IS("RENAME a b", "+OK\r\n");
    cr_assert_str_eq(effects(), "SELECT 0 ; RENAME a b ");
    IS("GET b", "$1\r\n1\r\n");
    IS("PTTL b", ":5000\r\n");
    IS("RENAMENX b a", ":1\r\n");
    IS("EXISTS b", ":0\r\n");
}

Test(generic, copy_and_move)
{
    IS("COPY a b", ":0\r\n");
    IS("SET a value EX 100", "+OK\r\n");
    IS("COPY a a", "-ERR source and destination objects are the same\r\n");
    IS("COPY a b DB 16", "-ERR DB index is out of range\r\n");
    IS("COPY a b DB 99999999999",
       "-ERR value is out of range, value must between -2147483648 and 2147483647\r\n");
    IS("COPY a b DB x", "-ERR value is not an integer or out of range\r\n");
    IS("COPY a b WHAT", "-ERR syntax error\r\n");
    IS("COPY a b", ":1\r\n");
    IS("COPY a b", ":0\r\n");
    IS("COPY a b REPLACE", ":1\r\n");
    IS("COPY a a DB 1", ":1\r\n");
    IS("TTL b", ":100\r\n");
    IS("MOVE a 1", ":0\r\n");
    IS("MOVE a 0", "-ERR source and destination objects are the same\r\n");
    IS("MOVE a -1", "-ERR DB index is out of range\r\n");
    IS("MOVE a 2", ":1\r\n");
    IS("EXISTS a", ":0\r\n");
    w.db = 2;
    IS("GET a", "$5\r\nvalue\r\n");
    IS("TTL a", ":100\r\n");
    IS("DBSIZE", ":1\r\n");
}

Test(generic, type_and_object)
{
    IS("TYPE a", "+none\r\n");
    IS("OBJECT ENCODING a", "$-1\r\n");
    IS("SET a 10", "+OK\r\n");
    IS("TYPE a", "+string\r\n");
    IS("OBJECT ENCODING a", "$3\r\nint\r\n");
    IS("OBJECT REFCOUNT a", ":2147483647\r\n");
    IS("APPEND a x", ":3\r\n");
    IS("OBJECT ENCODING a", "$3\r\nraw\r\n");
    IS("OBJECT REFCOUNT a", ":1\r\n");
    w.now += 7000;
    IS("EXISTS a", ":1\r\n");
    IS("OBJECT IDLETIME a", ":7\r\n");
    w.ks_flags = KS_NO_TOUCH;
    IS("GET a", "$3\r\n10x\r\n");
    IS("OBJECT IDLETIME a", ":7\r\n");
    IS("TOUCH a", ":1\r\n");
    IS("OBJECT IDLETIME a", ":0\r\n");
    cr_assert_eq(strncmp(handler_run_line(&w, "OBJECT FREQ a"), "-ERR An LFU maxmemory", 21), 0);
    shard_set_policy(w.shards[0], true, 10, 1);
    cr_assert_eq(strncmp(handler_run_line(&w, "OBJECT IDLETIME a"), "-ERR An LFU maxmemory", 21),
                 0);
    IS("SET f 1", "+OK\r\n");
    IS("OBJECT FREQ f", ":5\r\n");
    IS("MEMORY USAGE nope", "$-1\r\n");
    IS("MEMORY USAGE f SAMPLES -1", "-ERR syntax error\r\n");
    IS("MEMORY USAGE f SAMPLES 5", ":24\r\n");
    w.proto = 3;
    IS("OBJECT FREQ nope", "_\r\n");
}

Test(generic, expire_replies_and_effects)
{
    IS("EXPIRE a 10", ":0\r\n");
    IS("SET a 1", "+OK\r\n");
    handler_forget_effects(&w);
    IS("EXPIRE a 10", ":1\r\n");
    cr_assert_str_eq(effects(), "SELECT 0 ; PEXPIREAT a 1700000010000 ");
    IS("TTL a", ":10\r\n");
    w.now += 501;
    IS("TTL a", ":9\r\n");
    IS("PTTL a", ":9499\r\n");
    IS("EXPIRETIME a", ":1700000010\r\n");
    IS("PEXPIRETIME a", ":1700000010000\r\n");
    IS("PERSIST a", ":1\r\n");
    IS("PERSIST a", ":0\r\n");
    cr_assert_str_eq(effects(), "SELECT 0 ; PERSIST a ");
    IS("TTL a", ":-1\r\n");
    IS("TTL nope", ":-2\r\n");
    IS("PEXPIREAT a 1", ":1\r\n");
    cr_assert_str_eq(effects(), "SELECT 0 ; DEL a ");
    IS("EXISTS a", ":0\r\n");
    IS("SET a 1", "+OK\r\n");
    IS("EXPIRE a -1", ":1\r\n");
    IS("EXISTS a", ":0\r\n");
}

Test(generic, expire_conditions)
{
    IS("SET a 1", "+OK\r\n");
    IS("EXPIRE a 10 XX", ":0\r\n");
    IS("EXPIRE a 10 GT", ":0\r\n");
    IS("EXPIRE a 10 LT", ":1\r\n");
    IS("EXPIRE a 20 NX", ":0\r\n");
    IS("EXPIRE a 20 LT", ":0\r\n");
    IS("EXPIRE a 20 gt xx", ":1\r\n");
    IS("EXPIRE a 20 GT", ":0\r\n");
    IS("PERSIST a", ":1\r\n");
    IS("EXPIRE a 5 NX", ":1\r\n");
    IS("EXPIRE a 10 NX GT",
       "-ERR NX and XX, GT or LT options at the same time are not compatible\r\n");
    IS("EXPIRE a 10 GT LT", "-ERR GT and LT options at the same time are not compatible\r\n");
    IS("EXPIRE a 10 AB", "-ERR Unsupported option AB\r\n");
    IS("EXPIRE a x AB", "-ERR Unsupported option AB\r\n");
}

Test(generic, expire_overflows)
{
    IS("SET a 1", "+OK\r\n");
    IS("EXPIRE a 9223372036854775807", "-ERR invalid expire time in 'expire' command\r\n");
    IS("EXPIRE a 9223372036854775", "-ERR invalid expire time in 'expire' command\r\n");
    IS("PEXPIRE a 9223372036854775807", "-ERR invalid expire time in 'pexpire' command\r\n");
    IS("EXPIREAT a 9223372036854776", "-ERR invalid expire time in 'expireat' command\r\n");
    IS("EXPIRE a x", "-ERR value is not an integer or out of range\r\n");
    IS("EXPIREAT a 9223372036854775", ":1\r\n");
    IS("PEXPIRETIME a", ":9223372036854775000\r\n");
    IS("PEXPIREAT a 9223372036854775807", ":1\r\n");
    IS("PERSIST a", ":1\r\n");
    IS("PEXPIRE a -9223372036854775808", ":1\r\n");
    IS("EXISTS a", ":0\r\n");
}

Test(generic, lazily_expired_keys_are_stated)
{
    IS("SET a 1 PX 10", "+OK\r\n");
    handler_forget_effects(&w);
    w.now += 11;
    IS("GET a", "$-1\r\n");
    cr_assert_str_eq(effects(), "SELECT 0 ; DEL a ");
    IS("SET a 1 PX 10", "+OK\r\n");
    handler_forget_effects(&w);
    w.now += 11;
    IS("SCAN 0", "*2\r\n$1\r\n0\r\n*0\r\n");
    cr_assert_str_eq(effects(), "SELECT 0 ; DEL a ");
    IS("DBSIZE", ":0\r\n");
}

Test(generic, flush_and_swap)
{
    IS("SET a 1", "+OK\r\n");
    IS("SWAPDB 0 3", "+OK\r\n");
    IS("DBSIZE", ":0\r\n");
    IS("SWAPDB x 3", "-ERR invalid first DB index\r\n");
    IS("SWAPDB 0 99999999999", "-ERR invalid second DB index\r\n");
    IS("SWAPDB 0 16", "-ERR DB index is out of range\r\n");
    IS("FLUSHDB WHAT", "-ERR syntax error\r\n");
    IS("FLUSHALL SYNC x", "-ERR syntax error\r\n");
    IS("FLUSHDB", "+OK\r\n");
    w.db = 3;
    IS("DBSIZE", ":1\r\n");
    handler_forget_effects(&w);
    IS("FLUSHDB async", "+OK\r\n");
    cr_assert_str_eq(effects(), "SELECT 3 ; FLUSHDB async ");
    IS("DBSIZE", ":0\r\n");
    IS("FLUSHALL", "+OK\r\n");
    cr_assert_str_eq(effects(), "SELECT 3 ; FLUSHALL ");
}

Test(generic, scan_errors_and_options)
{
    IS("SCAN x", "-ERR invalid cursor\r\n");
    IS("SCAN -1", "-ERR invalid cursor\r\n");
    IS("SCAN 99999999999999999999", "-ERR invalid cursor\r\n");
    IS("SCAN 0 COUNT 0", "-ERR syntax error\r\n");
    IS("SCAN 0 COUNT x", "-ERR value is not an integer or out of range\r\n");
    IS("SCAN 0 MATCH", "-ERR syntax error\r\n");
    IS("SCAN 0 NOVALUES", "-ERR syntax error\r\n");
    IS("MSET abc 1 abd 2 xyz 3", "+OK\r\n");
    IS("SCAN 0 COUNT 100 MATCH x*", "*2\r\n$1\r\n0\r\n*1\r\n$3\r\nxyz\r\n");
    IS("SCAN 00 TYPE hash", "*2\r\n$1\r\n0\r\n*0\r\n");
    IS("SCAN 0 TYPE nonsense", "*2\r\n$1\r\n0\r\n*0\r\n");
    IS("SCAN 0 TYPE STRING MATCH ab[d]", "*2\r\n$1\r\n0\r\n*1\r\n$3\r\nabd\r\n");
    IS("KEYS x?z", "*1\r\n$3\r\nxyz\r\n");
    IS("KEYS nope", "*0\r\n");
    IS("RANDOMKEY", w.out.ptr);
    IS("SCAN 18446744073709551615", "*2\r\n$1\r\n0\r\n*0\r\n");
}

/* Every key that stays is seen while the keyspace grows and shrinks, on any number of shards. */
static void scan_all(uint32_t shards)
{
    struct handler_world many;
    handler_init(&many, shards, 3);
    for (int i = 0; i < 3000; i++) handler_runf(&many, "SET stays:%d v", i);
    bool seen[3000] = {false};
    char cursor[32] = "0";
    int pages = 0;
    do {
        const char *at = handler_runf(&many, "SCAN %s COUNT 50", cursor);
        cr_assert_eq(sscanf(at, "*2\r\n$%*d\r\n%31[0-9]", cursor), 1);
        while ((at = strstr(at, "stays:")) != NULL) {
            at += 6;
            seen[atoi(at)] = true;
        }
        cr_assert_lt(++pages, 10000);
        for (int i = 0; i < 60; i++) {
            handler_runf(&many, pages % 40 < 20 ? "SET other:%d v" : "DEL other:%d",
                         pages % 20 * 60 + i);
        }
    } while (strcmp(cursor, "0") != 0);
    for (int i = 0; i < 3000; i++) cr_assert(seen[i], "key %d, %u shards", i, shards);
    handler_deinit(&many);
}

Test(generic, scan_sees_all_that_stays)
{
    scan_all(1);
    scan_all(2);
    scan_all(8);
}

Test(generic, random_key_of_every_shard)
{
    struct handler_world many;
    handler_init(&many, 8, 3);
    cr_assert_str_eq(handler_run_line(&many, "RANDOMKEY"), "$-1\r\n");
    for (int i = 0; i < 64; i++) handler_runf(&many, "SET %d v PX %d", i + 10, 1000 + i);
    bool seen[64] = {false};
    int distinct = 0;
    for (int i = 0; i < 2000; i++) {
        int key = atoi(handler_run_line(&many, "RANDOMKEY") + 4) - 10;
        distinct += !seen[key];
        seen[key] = true;
    }
    cr_assert_geq(distinct, 60);
    many.now += 1063;
    many.ks_flags = KS_LOGICAL;
    cr_assert_str_eq(handler_run_line(&many, "RANDOMKEY"), "$2\r\n73\r\n");
    many.ks_flags = 0;
    cr_assert_str_eq(handler_run_line(&many, "RANDOMKEY"), "$2\r\n73\r\n");
    handler_deinit(&many);
}
