/* Whole runs: results, errors, the sandbox, pauses, stops, kills. Expected replies are those of
 * redis-server 7.0.15 for the same scripts (SHA cut out: "…script: SHA, on…" is matched by %). */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "fake_host.h"

struct sample {
    const char *script, *reply;
};

/* The reply with every "script: 40 digits," as "script: %,". */
static const char *without_sha(char *text)
{
    for (char *at = text; (at = strstr(at, "script: ")) != NULL;) {
        at += 8;
        if (strspn(at, "0123456789abcdef") < 40) continue;
        *at = '%';
        memmove(at + 1, at + 40, strlen(at + 40) + 1);
    }
    return text;
}

static void check_all(struct fake_host *h, const struct sample *samples, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *got = fake_host_eval(h, samples[i].script);
        got = without_sha((char *)(uintptr_t)got);
        cr_expect_str_eq(got, samples[i].reply, "%s: got %s", samples[i].script, got);
    }
}

#define CHECK_ALL(proto_, ...) \
    do { \
        static const struct sample samples[] = {__VA_ARGS__}; \
        struct fake_host host; \
        fake_host_init(&host); \
        host.proto = (proto_); \
        host.give_up_at = 100000; \
        check_all(&host, samples, ARRAY_COUNT(samples)); \
        fake_host_deinit(&host); \
    } while (0)

#define AT1 " script: %, on @user_script:1.\r\n"

Test(script, results)
{
    CHECK_ALL(2,
        {"return 1", ":1\r\n"},
        {"", "$-1\r\n"},
        {"return 3.99", ":3\r\n"},
        {"return -3.99", ":-3\r\n"},
        {"return 'x'", "$1\r\nx\r\n"},
        {"return true", ":1\r\n"},
        {"return false", "$-1\r\n"},
        {"return nil", "$-1\r\n"},
        {"return {1,2,nil,4}", "*2\r\n:1\r\n:2\r\n"},
        {"return {ok='fine'}", "+fine\r\n"},
        {"return {err='My Err'}", "-My Err\r\n"},
        {"return {{{}},{}}", "*2\r\n*1\r\n*0\r\n*0\r\n"},
        {"return {double=3.5}", "$3\r\n3.5\r\n"},
        {"return function() end", "$-1\r\n"},
        {"return ...", "$-1\r\n"},
        {"return redis.call('ping')", "+PONG\r\n"},
        {"return redis.call('echo', 0.1)", "$3\r\n0.1\r\n"},
        {"return redis.call('echo', 1e15)", "$16\r\n1000000000000000\r\n"},
        {"return redis.error_reply('x')", "-ERR x\r\n"},
        {"return redis.error_reply('-x y')", "-x y\r\n"},
        {"return redis.status_reply(1)", "-ERR wrong number or type of arguments\r\n"},
        {"return {1/0, 0/0, 1e19}", "*3\r\n:-9223372036854775808\r\n:-9223372036854775808\r\n"
                                    ":-9223372036854775808\r\n"},
        {"return redis.sha1hex('')", "$40\r\nda39a3ee5e6b4b0d3255bfef95601890afd80709\r\n"},
        {"return tostring(math.random())", "$16\r\n0.39646477363839\r\n"});
}

Test(script, errors)
{
    CHECK_ALL(2,
        {"return foo", "-ERR user_script:1: Script attempted to access nonexistent global variable "
                       "'foo'" AT1},
        {"redis.foo=1", "-ERR user_script:1: Attempt to modify a readonly table" AT1},
        {"foo=1", "-ERR user_script:1: Attempt to modify a readonly table" AT1},
        {"KEYS=1", "-ERR user_script:1: Attempt to modify a readonly table" AT1},
        {"return 1 1", "-ERR Error compiling script (new function): user_script:1: '<eof>' "
                       "expected near '1'"},
        {"error('x')", "-ERR user_script:1: x" AT1},
        {"error({err='FOO bar'})", "-FOO bar" AT1},
        {"error()", "-ERR nil" AT1},
        {"return redis.call()", "-ERR Please specify at least one argument for this redis lib "
                                "call" AT1},
        {"return redis.call('error','WRONGTYPE no')", "-WRONGTYPE no" AT1},
        {"return redis.pcall('error','WRONGTYPE no')", "-WRONGTYPE no\r\n"},
        {"local a = nil; return a.b",
         "-ERR user_script:1: attempt to index local 'a' (a nil value)" AT1},
        {"\n\nlocal x = {}\nx.y.z = 1", "-ERR user_script:4: attempt to index field 'y' (a nil "
                                        "value) script: %, on @user_script:4.\r\n"},
        {"local function f() error('deep') end\nf()", "-ERR user_script:1: deep" AT1},
        {"rawset(_G,'a',1)", "-ERR Attempt to modify a readonly table" AT1},
        {"setmetatable(_G,{})", "-ERR Attempt to modify a readonly table" AT1},
        {"return coroutine.yield(1)",
         "-ERR attempt to yield across metamethod/C-call boundary" AT1});
}

Test(script, pauses_and_goes_on)
{
    struct fake_host h;
    fake_host_init(&h);
    h.pause_every = 1;
    const char *got = fake_host_eval(&h,
        "local n = 0\n"
        "local co = coroutine.wrap(function(a) for i = 1, 1e5 do n = n + 1 end\n"
        "  local b = coroutine.yield(a + 1) for i = 1, 1e5 do n = n + 1 end return b * 2 end)\n"
        "local r = {pcall(function() for i = 1, 1e5 do n = n + 1 end error('x', 0) end)}\n"
        "return {n, tostring(r[1]), r[2], co(1), co(5), n}");
    cr_expect_str_eq(got,
                     "*6\r\n:100000\r\n$5\r\nfalse\r\n$1\r\nx\r\n:2\r\n:10\r\n:300000\r\n", "%s",
                     got);
    cr_expect_gt(h.pauses, 60);
    fake_host_deinit(&h);
}

Test(script, stops_and_kills)
{
    static const char *const loops[] = {
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "pcall(function() while true do end end) while true do end",
        "while true do xpcall(function() error('a') end,\n"
        "  function() while true do end end) end",
        "table.sort({3,2,1}, function() while true do end end) return 1",
        "string.gsub('aaa', 'a', function() while true do pcall(error) end end) return 1",
        "coroutine.wrap(function() while true do end end)() return 1",
        "pcall(coroutine.wrap(function() pcall(function() while true do end end) end)) return 1",
        "while true do pcall(string.gsub, 'aaa', 'a', function() while true do end end) end",
        "load(function() while true do end end) return 1",
        "local function f() pcall(f) return f() end return f()",
    };
    for (size_t i = 0; i < ARRAY_COUNT(loops); i++) {
        struct fake_host h;
        fake_host_init(&h);
        h.kill_at = 3;
        const char *got = without_sha((char *)(uintptr_t)fake_host_eval(&h, loops[i]));
        cr_expect(strncmp(got, "-ERR Script killed by user with SCRIPT KILL. script: %,", 55) == 0,
                  "%s: %s", loops[i], got);
        got = fake_host_eval(&h, "return 1");
        cr_expect_str_eq(got, ":1\r\n");
        fake_host_deinit(&h);
    }
    static const char *const stops[] = {
        "redis.call('stop') redis.call('ping')",
        "pcall(redis.call, 'stop') redis.call('ping')",
        "redis.pcall('stop') redis.call('ping')",
        "table.sort({3,2,1}, function() redis.call('stop') end) redis.call('ping')",
        "pcall(table.sort, {3,2,1}, function() redis.call('stop') end) redis.call('ping')",
        "pcall(string.gsub, 'aaa', 'a', redis.call) redis.call('stop') redis.call('ping')",
        "coroutine.wrap(function() redis.call('stop') end)() redis.call('ping')",
        "xpcall(redis.call, redis.call, 'stop') redis.call('stop') redis.call('ping')",
    };
    for (size_t i = 0; i < ARRAY_COUNT(stops); i++) {
        struct fake_host h;
        fake_host_init(&h);
        const char *got = fake_host_eval(&h, stops[i]);
        cr_expect_str_eq(got, "STOPPED", "%s: %s", stops[i], got);
        cr_expect(strstr(h.calls.ptr, "ping") == NULL, "%s: %s", stops[i], h.calls.ptr);
        fake_host_deinit(&h);
    }
}
