/* Fuzz target of RESTORE and of all that works on restored values. Byte 0 chooses encoding limits
 * and the version, the rest is a value of RDB: type, then what belongs to it. Its footer is made
 * here, with a checksum of 0, which stands for "none".
 *
 * A value that is taken is dumped, restored from that and dumped again: both dumps must be as long
 * (tables have no order). Then the commands of its type read all of it and write into it. In the
 * end everything goes, and the shard must count as many bytes as before. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "handler.h"
#include "splitring/base/check.h"

static struct handler_world world;
static uint64_t bytes_at_rest;

static const char *const string_uses[] = {
    "STRLEN k", "APPEND k xyz", "INCR k", "SETRANGE k 5 abc", "GET k", NULL};
static const char *const list_uses[] = {
    "LRANGE k 0 -1", "LPOS k a RANK -1", "LPUSH k 5 abc", "RPUSH k 12345678901 z",
    "LINSERT k AFTER abc y", "LSET k 0 changed", "LINDEX k -3", "LREM k 1 z", "LTRIM k 1 -2",
    "LMOVE k k LEFT RIGHT", "RPOP k 3", "LLEN k", NULL};
static const char *const set_uses[] = {
    "SMEMBERS k", "SADD k 5 abc", "SADD k 1234567890123456789012345678901234567890123456789012345x",
    "SISMEMBER k 7", "SRANDMEMBER k -5", "SINTERSTORE k2 k k", "SREM k 5 0 a", "SSCAN k 0",
    "SPOP k 2", "SCARD k", NULL};
static const char *const zset_uses[] = {
    "ZRANGE k 0 -1 WITHSCORES", "ZADD k 5 five -1 abc 3.5 zz", "ZINCRBY k 2 abc", "ZRANK k abc",
    "ZRANGEBYSCORE k -inf (7", "ZRANGEBYLEX k - +", "ZREVRANGE k 0 3", "ZSCORE k zz",
    "ZUNIONSTORE k2 2 k k WEIGHTS 1 2", "ZREM k five", "ZREMRANGEBYRANK k 1 2", "ZSCAN k 0",
    "ZPOPMIN k 2", "ZPOPMAX k", "ZCARD k", NULL};
static const char *const hash_uses[] = {
    "HGETALL k", "HSET k f 1 g 22222222222", "HINCRBY k f 5", "HRANDFIELD k -4 WITHVALUES",
    "HPEXPIRE k 100000 FIELDS 2 f g", "HPTTL k FIELDS 2 f a", "HSCAN k 0", "HPERSIST k FIELDS 1 g",
    "HDEL k f a field", "HSTRLEN k g", "HLEN k", NULL};
static const char *const stream_uses[] = {
    "XRANGE k - +", "XREVRANGE k + - COUNT 5", "XINFO STREAM k FULL COUNT 0", "XLEN k",
    "XADD k * a 1 b 2", "XGROUP CREATE k new 0", "XREADGROUP GROUP new c COUNT 3 STREAMS k >",
    "XREADGROUP GROUP g c COUNT 3 STREAMS k >", "XREADGROUP GROUP g c COUNT 3 STREAMS k 0",
    "XPENDING k g", "XPENDING k g - + 10", "XAUTOCLAIM k g d 0 0 COUNT 5", "XACK k g 1-1",
    "XCLAIM k g d 0 1-1 2-2 FORCE", "XGROUP DELCONSUMER k g c", "XDEL k 1-1 1-2",
    "XTRIM k MAXLEN ~ 2", "XTRIM k MAXLEN 1", "XGROUP DESTROY k g", "XSETID k 99999999999999-1",
    NULL};
static const char *const any_uses[] = {
    "OBJECT ENCODING k", "MEMORY USAGE k", "COPY k k3", "RENAME k3 k4", NULL};

static void run(const char *line)
{
    bool missing;
    struct slice name = slice_of(line, strcspn(line, " "));
    if (command_find(&name, 1, &missing)) (void)handler_run_line(&world, line);
}

static void run_all(const char *const *lines)
{
    for (; *lines; lines++) run(*lines);
}

static void use(void)
{
    static const struct {
        const char *type;
        const char *const *lines;
    } uses[] = {{"+string", string_uses}, {"+list", list_uses}, {"+set", set_uses},
                {"+zset", zset_uses},     {"+hash", hash_uses}, {"+stream", stream_uses}};
    char type[32];
    run_all(any_uses);
    snprintf(type, sizeof(type), "%s", handler_run_line(&world, "TYPE k"));
    for (size_t i = 0; i < ARRAY_COUNT(uses); i++) {
        if (strncmp(type, uses[i].type, strlen(uses[i].type)) == 0) run_all(uses[i].lines);
    }
    run_all(any_uses);
}

/* What DUMP replies, without header; the caller frees it. */
static struct buf dumped(const char *line)
{
    struct buf out = {0};
    const char *reply = handler_run_line(&world, line);
    check(reply[0] == '$' && reply[1] != '-');
    size_t len = strtoul(reply + 1, NULL, 10);
    buf_append(&out, strchr(reply, '\n') + 1, len);
    return out;
}

static const char *restore(const char *key, struct slice payload)
{
    struct slice argv[] = {SLICE("RESTORE"), slice_str(key), SLICE("0"), payload,
                           SLICE("REPLACE")};
    return handler_run(&world, 5, argv);
}

static void choose_limits(unsigned choice)
{
    struct env *env = &world.env;
    bool small = choice & 1;
    env->hash_max_listpack_entries = small ? 2 : 512;
    env->set_max_intset_entries = small ? 2 : 512;
    env->set_max_listpack_entries = small ? 2 : 128;
    env->zset_max_listpack_entries = small ? 2 : 128;
    env->list_max_listpack_size = small ? 3 : -2;
    env->stream_node_max_entries = small ? 2 : 100;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const uint16_t versions[] = {10, 11, 12, 80};
    if (len < 2) return 0;
    if (world.shard_count == 0) {
        handler_init(&world, 1, 5);
        run("SET k v"); /* the table is there from now on */
        run("FLUSHALL");
        bytes_at_rest = shard_stats_of(world.shards[0])->bytes;
    }
    choose_limits(data[0]);
    uint16_t version = versions[data[0] >> 1 & 3];
    struct buf payload = {0};
    buf_append(&payload, data + 1, len - 1);
    buf_append(&payload, &version, sizeof(version));
    buf_append(&payload, "\0\0\0\0\0\0\0", 8);

    if (strcmp(restore("k", buf_slice(&payload)), "+OK\r\n") == 0) {
        struct buf first = dumped("DUMP k");
        check(strcmp(restore("k2", buf_slice(&first)), "+OK\r\n") == 0);
        struct buf second = dumped("DUMP k2");
        check(first.len == second.len);
        buf_deinit(&first);
        buf_deinit(&second);
        use();
    }
    buf_deinit(&payload);
    run("FLUSHALL");
    while (shard_free_step(world.shards[0], 1000) > 0) continue;
    handler_forget_effects(&world);
    check(shard_stats_of(world.shards[0])->bytes == bytes_at_rest);
    return 0;
}
