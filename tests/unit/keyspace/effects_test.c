/* What every write handler must keep: its effects, replayed into an empty keyspace, make the same
 * data. Random commands with random options (many of them errors) run in a world of one or several
 * shards, in views and on scratch copies, while time passes and keys expire; then the effects run
 * in another world, and all keys, values and TTLs are compared. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>

#include "replay.h"
#include "splitring/base/mem.h"

#define KEYS 12u

struct gen {
    struct handler_world w;
    struct rng rng;
    char line[8192];
};

static unsigned pick(struct gen *g, unsigned limit) { return (unsigned)rng_below(&g->rng, limit); }

static void add(struct gen *g, const char *word)
{
    size_t len = strlen(g->line);
    int more = snprintf(g->line + len, sizeof(g->line) - len, "%s%s", len ? " " : "", word);
    cr_assert(more >= 0 && (size_t)more < sizeof(g->line) - len);
}

static void add_number(struct gen *g, long long number)
{
    char text[32];
    snprintf(text, sizeof(text), "%lld", number);
    add(g, text);
}

static void add_value(struct gen *g)
{
    static const char *const values[] = {"0",
                                         "7",
                                         "-12",
                                         "9223372036854775800",
                                         "3.25",
                                         "abc",
                                         "''",
                                         "0123456789012345678901234567890123456789abcdefgh",
                                         "\"\\x00\\xff\\x10b\""};
    unsigned n = pick(g, (unsigned)ARRAY_COUNT(values) + 1);
    char text[1200];
    if (n < ARRAY_COUNT(values)) {
        add(g, values[n]);
        return;
    }
    size_t len = 1 + pick(g, 1150);
    memset(text, (int)('a' + pick(g, 26)), len);
    text[len] = '\0';
    add(g, text);
}

/* One placeholder of a pattern: %k key, %v value, %n small number, %b bit offset, %d database,
 * %s seconds, %m milliseconds, %S and %M the same as instants, %f field or member. */
static void add_placeholder(struct gen *g, char kind)
{
    char key[16];
    instant_ms now = g->w.now;
    switch (kind) {
    case 'k':
        snprintf(key, sizeof(key), "key%u", pick(g, KEYS));
        add(g, key);
        break;
    case 'v': add_value(g); break;
    case 'n': add_number(g, (long long)pick(g, 40) - 8); break;
    case 'b': add_number(g, pick(g, 900)); break;
    case 'd': add_number(g, pick(g, 3)); break;
    case 's': add_number(g, (long long)pick(g, 5) - (pick(g, 8) == 0 ? 3 : 0)); break;
    case 'm': add_number(g, (long long)pick(g, 3000) - (pick(g, 8) == 0 ? 3000 : 0)); break;
    case 'S': add_number(g, now / 1000 + pick(g, 5) - (pick(g, 8) == 0 ? 9 : 0)); break;
    case 'M': add_number(g, now + pick(g, 3000) - (pick(g, 8) == 0 ? 3000 : 0)); break;
    case 'f': /* field or member */
        snprintf(key, sizeof(key), "f%u", pick(g, 9));
        add(g, key);
        break;
    default: abort();
    }
}

/* Words are separated by blanks; [a|b|c] takes one of the alternatives, which may be empty. */
static void add_pattern(struct gen *g, const char *pattern, size_t len)
{
    for (size_t i = 0; i < len;) {
        if (pattern[i] == ' ') {
            i++;
        } else if (pattern[i] == '%') {
            add_placeholder(g, pattern[i + 1]);
            i += 2;
        } else if (pattern[i] == '[') {
            const char *end = strchr(pattern + i, ']');
            unsigned count = 1;
            for (const char *at = pattern + i; at < end; at++) count += *at == '|';
            const char *begin = pattern + i + 1;
            for (unsigned n = pick(g, count); n > 0; n--) begin = strchr(begin, '|') + 1;
            add_pattern(g, begin, strcspn(begin, "|]"));
            i = (size_t)(end - pattern) + 1;
        } else {
            char word[64];
            size_t n = strcspn(pattern + i, " %[]|");
            cr_assert_lt(n, sizeof(word));
            memcpy(word, pattern + i, n);
            word[n] = '\0';
            add(g, word);
            i += n;
        }
    }
}

static const char *const patterns[] = {
    /* strings */
    "SET %k %v",
    "SET %k %v [|NX|XX|GET|IFEQ %v|IFNE %v] [|EX %s|PX %m|EXAT %S|PXAT %M|KEEPTTL] [|GET]",
    "SETNX %k %v",
    "SETEX %k %s %v",
    "PSETEX %k %m %v",
    "GETSET %k %v",
    "GETDEL %k",
    "GETEX %k [|EX %s|PX %m|EXAT %S|PXAT %M|PERSIST]",
    "APPEND %k %v",
    "SETRANGE %k %n %v",
    "INCR %k",
    "DECR %k",
    "INCRBY %k %n",
    "DECRBY %k %n",
    "INCRBYFLOAT %k [0.5|-3|1e2]",
    "MSET %k %v %k %v %k %v",
    "MSETNX %k %v %k %v",
    "MSETEX 2 %k %v %k %v [|EX %s|PXAT %M|NX|XX|KEEPTTL]",
    "DELIFEQ %k %v",
    "DELEX %k [|IFEQ %v|IFNE %v]",
    /* bitmaps */
    "SETBIT %k %b [0|1]",
    "BITOP [AND|OR|XOR|DIFF|DIFF1|ANDOR|ONE] %k %k %k",
    "BITOP NOT %k %k",
    "BITFIELD %k SET u8 %b %b",
    "BITFIELD %k [OVERFLOW FAIL|OVERFLOW SAT|] INCRBY i5 %b %n GET u4 %b",
    /* HyperLogLog */
    "PFADD %k [|%v|%v %v %v|%n %n]",
    "PFADD h [%n|%v|%b|%b %b %b]",
    "PFADD h [%n|%v|%b|%b %b %b]",
    "PFCOUNT [h|%k|h %k]",
    "PFMERGE [h|%k] [|h|%k] [|h|%k]",
    "PFDEBUG [TODENSE|GETREG] [h|%k]",
    /* hashes */
    "HSET %k %f %v",
    "HSET %k %f %n %f %v %f %v",
    "HMSET %k %f %v %f %v",
    "HSETNX %k %f %v",
    "HDEL %k %f",
    "HDEL %k %f %f %f",
    "HINCRBY %k %f %n",
    "HINCRBYFLOAT %k %f [0.5|-3|1e2]",
    "HEXPIRE %k %s [|NX|XX|GT|LT] FIELDS 2 %f %f",
    "HPEXPIRE %k %m [|NX|XX|GT|LT] FIELDS 3 %f %f %f",
    "HEXPIREAT %k %S [|NX|XX|GT|LT] FIELDS 1 %f",
    "HPEXPIREAT %k %M FIELDS 2 %f %f",
    "HPERSIST %k FIELDS 2 %f %f",
    "HPERSIST %k FIELDS 9 f0 f1 f2 f3 f4 f5 f6 f7 f8",
    "HGETEX %k [|EX %s|PX %m|EXAT %S|PXAT %M|PERSIST] FIELDS 2 %f %f",
    "HSETEX %k [|FNX|FXX|NX|XX] [|EX %s|PX %m|EXAT %S|PXAT %M|KEEPTTL] FIELDS 2 %f %v %f %v",
    "HGETDEL %k FIELDS 2 %f %f",
    "HGET %k %f",
    "HMGET %k %f %f",
    "HRANDFIELD %k 2",
    /* sets */
    "SADD %k %v [|%v %n %n|%n %n %n %n %n]",
    "SREM %k %v %n %n",
    "SREM %k %n 7 0 abc",
    "SPOP %k [|%n]",
    "SMOVE %k %k [%v|%n]",
    "SMOVE %k %k [%n|7|0|abc]",
    "[SINTERSTORE|SUNIONSTORE|SDIFFSTORE] %k %k [|%k] [|%k]",
    "SUNIONSTORE %k %k %k",
    /* lists */
    "[LPUSH|RPUSH] %k %v [|%v|%v %n %v %v %n]",
    "[LPUSH|RPUSH] %k %n %n %v",
    "[LPUSHX|RPUSHX] %k %v %n",
    "[LPOP|RPOP] %k [|%n]",
    "LINSERT %k [BEFORE|AFTER] %n [%v|%n]",
    "LINSERT %k [BEFORE|AFTER] [7|0] %n",
    "LSET %k %n [%v|%n]",
    "LREM %k [0|1|-2] [%v|%n]",
    "LTRIM %k [0|1|2] [-1|-2|5]",
    "LMOVE %k %k [LEFT|RIGHT] [LEFT|RIGHT]",
    "RPOPLPUSH %k %k",
    "LMPOP 2 %k %k [LEFT|RIGHT] [|COUNT 3]",
    "[BLPOP|BRPOP] %k %k 0",
    "BLMPOP 0 2 %k %k LEFT COUNT 2",
    "BLMOVE %k %k [LEFT|RIGHT] LEFT 0",
    "BRPOPLPUSH %k %k 1",
    /* sorted sets, places */
    "ZADD %k [|NX|XX|GT|LT] [|CH|INCR] %n %v",
    "ZADD %k %n %v 0.5 %n -0 a inf b %n %n",
    "ZADD %k %n %n %n %n %n %n %n %n %n %n %n %n",
    "ZINCRBY %k [%n|1.5|-inf|inf] [a|b|%v]",
    "ZREM %k %v %n a",
    "[ZPOPMIN|ZPOPMAX] %k [|%n]",
    "[BZPOPMIN|BZPOPMAX] %k %k 1",
    "ZMPOP 2 %k %k [MIN|MAX] [|COUNT 3]",
    "BZMPOP 1 3 %k %k %k [MIN|MAX] [|COUNT 2]",
    "ZREMRANGEBYRANK %k %n %n",
    "ZREMRANGEBYSCORE %k %n %n",
    "ZREMRANGEBYLEX %k - [(b|+]",
    "ZRANGESTORE %k %k %n %n [|REV|BYSCORE|BYSCORE LIMIT 1 2]",
    "[ZUNIONSTORE|ZINTERSTORE] %k 2 %k %k [|WEIGHTS 2 %n] [|AGGREGATE MIN|AGGREGATE MAX]",
    "[ZUNIONSTORE|ZDIFFSTORE] %k 3 %k %k %k",
    "GEOADD %k [|NX|XX] [|CH] 13.4 52.5 %n 13.5 [52.1|-3] %n",
    "GEOSEARCHSTORE %k %k FROMLONLAT 13.4 52.5 BYRADIUS %b km [|COUNT 2|STOREDIST]",
    "GEORADIUS %k 13.4 52.5 50 km [|STORE %k|STOREDIST %k]",
    "GEORADIUSBYMEMBER %k %n 50 km [|STORE %k]",
    /* SORT */
    "SORT %k [|DESC] [|LIMIT %n %n] [|ALPHA] STORE %k",
    "SORT %k BY [nosort|w_*|%k] [|GET #|GET key*] [|ALPHA] STORE %k",
    "RPUSH %k %n %n %n",
    "SADD %k %n %n",
    /* keys */
    "DEL %k %k",
    "UNLINK %k %k %k",
    "RENAME %k %k",
    "RENAMENX %k %k",
    "MOVE %k %d",
    "COPY %k %k [|DB %d] [|REPLACE]",
    "EXPIRE %k %s [|NX|XX|GT|LT]",
    "PEXPIRE %k %m [|NX|XX|GT|LT]",
    "EXPIREAT %k %S [|XX|GT|LT]",
    "PEXPIREAT %k %M",
    "PERSIST %k",
    "GET %k",
    "TTL %k",
    "EXISTS %k %k",
};

/* Commands that the table does not have (yet) are left out. */
static bool known(const char *line)
{
    bool missing;
    line += *line == '[';
    struct slice name = slice_of(line, strcspn(line, " |"));
    return command_find(&name, 1, &missing) != NULL;
}

static void step(struct gen *g)
{
    if (pick(g, 10) == 0) g->w.now += pick(g, 400);
    if (pick(g, 20) == 0) g->w.db = (db_id)pick(g, 3);
    g->w.scratch = pick(g, 2) != 0;
    g->line[0] = '\0';
    if (pick(g, 400) == 0) {
        add_pattern(g, "[FLUSHDB|SWAPDB %d %d|FLUSHALL ASYNC]",
                    strlen("[FLUSHDB|SWAPDB %d %d|FLUSHALL ASYNC]"));
    } else {
        const char *pattern = patterns[pick(g, (unsigned)ARRAY_COUNT(patterns))];
        if (!known(pattern)) return;
        add_pattern(g, pattern, strlen(pattern));
    }
    (void)handler_run_line(&g->w, g->line);
}

/* RESTORE takes what DUMP gave: another key gets a copy. */
static void restore(struct gen *g)
{
    static const char *const options[] = {"", "", "REPLACE", "ABSTTL"};
    char from[16], to[16];
    snprintf(from, sizeof(from), "key%u", pick(g, KEYS));
    snprintf(to, sizeof(to), "key%u", pick(g, KEYS));
    const char *reply = handler_runf(&g->w, "DUMP %s", from), *text = strchr(reply, '\n');
    if (reply[0] != '$' || reply[1] == '-') return;
    size_t len = strtoull(reply + 1, NULL, 10), argc = 4;
    char *payload = mem_alloc(len);
    memcpy(payload, text + 1, len);
    struct slice name = pick(g, 2) ? SLICE("RESTORE") : SLICE("RESTORE-ASKING");
    struct slice argv[] = {name, slice_str(to), SLICE("0"), slice_of(payload, len),
                           slice_str(options[pick(g, ARRAY_COUNT(options))])};
    (void)handler_run(&g->w, (int)(argc + (argv[4].len > 0)), argv);
    mem_free(payload);
}

static void run(uint64_t seed, uint32_t shards, int steps)
{
    struct gen *g = mem_zalloc(sizeof(*g));
    replay_init(&g->w, shards, seed);
    rng_seed(&g->rng, seed);
    /* Some see every form of a collection with few members. */
    if (seed % 3 == 0) g->w.env.set_max_intset_entries = g->w.env.set_max_listpack_entries = 4;
    if (seed % 4 < 2) g->w.env.list_max_listpack_size = seed % 4 ? 3 : -1;
    for (int i = 0; i < steps; i++) {
        step(g);
        if (pick(g, 60) == 0) restore(g);
    }
    replay_check(&g->w, seed, 0);
    mem_free(g);
}

/* What only a server has: MIGRATE speaks to another one. */
static const char *const not_here[] = {"migrate", "function|delete", "function|flush",
                                          "function|load", "function|restore", NULL};

Test(effects, replay_in_one_shard, .timeout = 120)
{
    for (uint64_t seed = 1; seed <= 300; seed++) run(seed, 1, 200);
    run(700, 1, 15000); /* what is rare in short ones */
    replay_covers(ACL_STREAM, false, not_here);
}

Test(effects, replay_of_several_shards, .timeout = 120)
{
    for (uint64_t seed = 301; seed <= 600; seed++) run(seed, 2 + (uint32_t)(seed % 6), 200);
    run(701, 3, 15000);
    replay_covers(ACL_STREAM, false, not_here);
}

/* A long run: more keys that have expired, been renamed, been copied. */
Test(effects, replay_of_long_runs, .timeout = 120)
{
    for (uint64_t seed = 601; seed <= 606; seed++) run(seed, 1 + (uint32_t)(seed % 4), 8000);
}
