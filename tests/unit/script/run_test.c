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
        ("while true do xpcall(function() error('a') end,\n"
         "  function() while true do end end) end"),
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

Test(script, conversions_in_resp3)
{
    CHECK_ALL(3,
        {"return true", ":1\r\n"},
        {"return false", "_\r\n"},
        {"redis.setresp(3) return {true, false, nil, 1}", "*2\r\n#t\r\n#f\r\n"},
        {"return {double=3.5}", ",3.5\r\n"},
        {"return {map={a=1}}", "%1\r\n$1\r\na\r\n:1\r\n"},
        {"return {map={[{1}]={2}}}", "%1\r\n*1\r\n:1\r\n*1\r\n:2\r\n"},
        {"return {set={a=true}}", "~1\r\n$1\r\na\r\n"},
        {"return {big_number='12\\r\\n3'}", "(12  3\r\n"},
        {"return {verbatim_string={format='t',string='hello'}}", "=9\r\nt  :hello\r\n"},
        {"return {verbatim_string={format=1,string='hello'}}", "*0\r\n"},
        {"return redis.call('version')", ":2\r\n"},
        {"redis.setresp(3) return redis.call('version')", ":3\r\n"},
        {"redis.setresp(3) return redis.call('nil') == nil", "#t\r\n"},
        {"return redis.call('nil') == false", ":1\r\n"},
        {"return redis.call('resp', ',3.5\\r\\n').double * 2", ":7\r\n"},
        {"return redis.call('resp', ',inf\\r\\n').double == 1/0", ":1\r\n"},
        {"return redis.call('resp', '(123\\r\\n').big_number", "$3\r\n123\r\n"},
        {"return redis.call('resp', '%1\\r\\n+a\\r\\n*2\\r\\n:1\\r\\n:-2\\r\\n')",
         "%1\r\n+a\r\n*2\r\n:1\r\n:-2\r\n"},
        {"return redis.call('resp', '~1\\r\\n$1\\r\\nx\\r\\n').set.x", ":1\r\n"},
        {"return redis.call('resp', '=7\\r\\ntxt:abc\\r\\n')", "=7\r\ntxt:abc\r\n"},
        {"return redis.call('resp', '#f\\r\\n') == false", ":1\r\n"},
        {"return redis.call('resp', '*3\\r\\n$-1\\r\\n*-1\\r\\n_\\r\\n')", "*2\r\n_\r\n_\r\n"},
        {"return redis.call('resp', '$3\\r\\nab')", "-ERR malformed reply" AT1},
        {"return redis.call('resp', '*9\\r\\n')", "-ERR malformed reply" AT1});
}

Test(script, deep_results)
{
    struct fake_host h;
    fake_host_init(&h);
    /* 7995 levels, then the error; as redis-server. */
    const char *got = fake_host_eval(&h, "local t = {} t[1] = t return t");
    cr_expect_eq(h.reply.len - 1, 7995 * 4 + sizeof("-ERR reached lua stack limit\r\n") - 1);
    cr_expect(strstr(got, "\r\n-ERR reached lua stack limit\r\n") != NULL);
    static const char *const deep[] = {
        "local t = {} t.map = {a = t} return t", "local t = {} t.set = {[t] = true} return t",
        "local t = {} t.map = {[t] = 1} return t", "local t = {} t.map = {[t] = t} return 1",
    };
    for (size_t i = 0; i < ARRAY_COUNT(deep); i++) {
        h.proto = 3;
        fake_host_eval(&h, deep[i]);
        cr_expect(h.reply.len < 100000);
    }
    fake_host_deinit(&h);
}

/* Each of these is an error, and afterwards the sandbox is as it was. */
Test(script, escapes)
{
    static const char *const attempts[] = {
        "getmetatable('').__index.rep = 1",
        "getmetatable('').__index = {}",
        "getmetatable(_G).__index = nil",
        "setmetatable(_G, nil)",
        "setmetatable(redis, nil)",
        "setmetatable(string, {__index = {}})",
        "rawset(string, 'rep', 1)",
        "rawset(getmetatable(''), '__index', 1)",
        "table.insert(redis, 1)",
        "table.insert(_G, 1, 1)",
        "string.rep = 1",
        "_G.redis = 1",
        "redis = nil",
        "KEYS = 1",
        ("for _, v in pairs({pairs(redis)}) do if type(v) == 'table' then v.call = 1 end end\n"
         "return redis.call.x"),
        "local _, real = next({pairs(string)}, 1) real.rep = 1 error('x')",
        "return debug",
        "return getfenv(1)",
        "return setfenv(1, {})",
        "return newproxy(true)",
        "return require('ffi')",
        "return package.loaded",
        "return io.open('/etc/passwd')",
        "return os.execute('true')",
        "return dofile('/etc/passwd')",
        "return loadfile('/etc/passwd')()",
        "return print(1)",
        "return jit.on()",
        "return loadstring(string.dump(function() end))()",
        "return load(function() return string.dump(function() end) end)()",
        "return loadstring('return 1LL')()",
        "return coroutine.yield()",
        "return table.move",
        "return string.buffer.new()",
        "local f = loadstring('x = 1') f()",
        "local co = coroutine.wrap(function() redis.call = 1 end) co()",
        "return cjson.encode.x",
        "cjson.encode = nil",
    };
    struct fake_host h;
    fake_host_init(&h);
    for (size_t i = 0; i < ARRAY_COUNT(attempts); i++) {
        const char *got = fake_host_eval(&h, attempts[i]);
        bool absent = strncmp(attempts[i], "return table.move", 17) == 0 && got[0] == '$';
        cr_expect(got[0] == '-' || absent, "%s: %s", attempts[i], got);
        got = fake_host_eval(
            &h, "local n = 0 for _ in pairs(redis) do n = n + 1 end\n"
                "return {('x'):rep(2), redis.call('echo', 'y'), type(cjson.encode),\n"
                "  type(getmetatable('').__index), #KEYS, n > 10 and 1 or 0, #_G,\n"
                "  tostring(rawget(_G, 'x')), string.rep('z', 2)}");
        cr_expect_str_eq(got, "*9\r\n$2\r\nxx\r\n$1\r\ny\r\n$8\r\nfunction\r\n$5\r\ntable\r\n"
                              ":0\r\n:1\r\n:0\r\n$3\r\nnil\r\n$2\r\nzz\r\n",
                         "after %s: %s", attempts[i], got);
    }
    fake_host_deinit(&h);
}

/* Nothing that recurses in C goes on until C's stack is out. */
Test(script, recursion_in_c)
{
    static const char *const loops[] = {
        "local function f() return (string.gsub('a', 'a', f)) end f()",
        "local function f() return 1 + coroutine.wrap(f)() end return f()",
        "local function f() table.sort({1, 2}, f) end f()",
        "local function f() load(f) end f() error('x')",
        "local function f() xpcall(error, f) end f() error('x')",
        "local mt = {} local function o() return setmetatable({}, mt) end\n"
        "mt.__lt = function() table.sort({o(), o()}) return true end return o() < o()",
        "local t = setmetatable({}, {})\n"
        "getmetatable(t).__index = function(s, k) return s[k + 1] end\n"
        "return t[1]",
        "local function f() return f() + 1 end return f()",
        "return cjson.decode(string.rep('[', 100000))",
        "local t = {} t.t = t return cjson.encode(t)",
        "return loadstring(string.rep('(', 1e6))()",
    };
    for (size_t i = 0; i < ARRAY_COUNT(loops); i++) {
        struct fake_host h;
        fake_host_init(&h);
        h.give_up_at = 100000;
        const char *got = fake_host_eval(&h, loops[i]);
        cr_expect(got[0] == '-' && strstr(got, "KILL") == NULL, "%s: %s", loops[i], got);
        cr_expect_str_eq(fake_host_eval(&h, "return 1"), ":1\r\n");
        fake_host_deinit(&h);
    }
}

/* Wherever memory ends, a script ends in an error, and the VM goes on once there is more. */
Test(script, out_of_memory)
{
    static const char *const scripts[] = {
        "local t = {} for i = 1, 1e9 do t[i] = {i} end",
        "local s = 'x' while true do s = s .. s end",
        "return string.rep('x', 1e9)",
        "local t = {} for i = 1, 300 do t[i] = tostring(i) .. 'abc' end return t",
        "local r = {} for i = 1, 20 do r[i] = redis.call('echo', 'v' .. i) end return r",
        "return coroutine.wrap(function() return pcall(error, {err = ('e'):rep(5000)}) end)()",
        "return redis.call('error', 'X y')",
        "return cjson.encode(cjson.decode('[1,2,[3,{\"a\":[4]}]]'))",
        "local f = loadstring('return {1, 2, 3}') return f()",
        "while true do local ok = pcall(string.rep, 'x', 1e6) if not ok then error('oom') end end",
    };
    struct fake_host h;
    fake_host_init(&h);
    size_t floor = script_vm_bytes(h.vm);
    for (size_t i = 0; i < ARRAY_COUNT(scripts); i++) {
        for (size_t room = 0; room < 40000; room += 509) {
            script_vm_limit(h.vm, floor + room);
            h.give_up_at = 3000;
            const char *got = fake_host_eval(&h, scripts[i]);
            cr_expect(got[0] != '\0', "%s", scripts[i]);
        }
        script_vm_limit(h.vm, 64u << 20);
        cr_expect_str_eq(fake_host_eval(&h, "collectgarbage() return 1"), ":1\r\n");
        cr_expect_leq(script_vm_bytes(h.vm), floor + 120000, "%s: %zu", scripts[i],
                      script_vm_bytes(h.vm) - floor);
    }
    fake_host_deinit(&h);
}

/* ---- what lives longer than a run ---- */

static enum script_outcome start(struct fake_host *h, const char *text, struct reply *out,
                                 struct script_run **run)
{
    struct buf error = {0};
    struct script *script = script_load(h->vm, slice_str(text), &error);
    cr_assert(script != NULL);
    struct slice key = slice_str(text);
    return script_start(h->vm, script, &key, 1, NULL, 0, &fake_host_face, h, out, run);
}

Test(script, several_paused)
{
    static const char *const texts[] = {
        "for i = 1, 1e5 do end return {KEYS[1], #KEYS, #ARGV}",
        "local s = KEYS[1] for i = 1, 1e5 do end return {s == KEYS[1] and KEYS[1]}",
        "return {(string.gsub('x', 'x', function() for i = 1, 1e5 do end return KEYS[1] end))}",
    };
    struct fake_host h;
    fake_host_init(&h);
    h.pause_every = 2;
    struct buf bufs[3] = {0};
    struct reply outs[3];
    struct script_run *runs[3];
    bool paused[3];
    for (size_t i = 0; i < 3; i++) {
        outs[i] = (struct reply){.out = &bufs[i], .proto = 2};
        paused[i] = start(&h, texts[i], &outs[i], &runs[i]) == SCRIPT_PAUSED;
    }
    cr_expect(paused[0] && paused[1]);
    script_flush(h.vm); /* the runs go on in the old world */
    cr_expect(script_find(h.vm, SLICE("0000000000000000000000000000000000000000")) == NULL);
    while (paused[0] || paused[1] || paused[2]) {
        for (size_t i = 0; i < 3; i++) {
            if (paused[i]) paused[i] = script_resume(runs[i], &outs[i]) == SCRIPT_PAUSED;
        }
    }
    for (size_t i = 0; i < 3; i++) {
        buf_append_char(&bufs[i], '\0');
        cr_expect(strstr(bufs[i].ptr, texts[i]) != NULL, "%zu: %s", i, bufs[i].ptr);
        buf_deinit(&bufs[i]);
    }
    fake_host_deinit(&h);
}

Test(script, dropped_forgotten_flushed)
{
    struct fake_host h;
    fake_host_init(&h);
    fake_host_eval(&h, "return 1");
    size_t least = script_vm_bytes(h.vm);
    struct buf buf = {0};
    struct reply out = {.out = &buf, .proto = 2};
    for (int i = 0; i < 300; i++) {
        h.pause_every = 1;
        struct script_run *run;
        char text[128];
        snprintf(text, sizeof(text),
                 "local t = {} for i = 1, 2e4 do t[i %% 50] = {i} end return %d", i);
        cr_assert_eq(start(&h, text, &out, &run), SCRIPT_PAUSED);
        char sha[SCRIPT_SHA_LEN + 1];
        script_sha(slice_str(text), sha);
        struct script *script = script_find(h.vm, slice_str(sha));
        cr_expect(slice_equal(script_text(script), slice_str(text)));
        if (i % 3 != 0) script_forget(h.vm, script);
        if (i % 5 == 0) script_flush(h.vm);
        if (i % 2 == 0) {
            script_drop(run);
        } else {
            while (script_resume(run, &out) == SCRIPT_PAUSED) {}
        }
        h.pause_every = 0;
        cr_expect_str_eq(fake_host_eval(&h, "return 1"), ":1\r\n");
    }
    script_flush(h.vm);
    fake_host_eval(&h, "collectgarbage() return 1");
    cr_expect_leq(script_vm_bytes(h.vm), least + 20000);
    buf_deinit(&buf);
    fake_host_deinit(&h);
}

/* Random trees of values: written by the script's own words and by the conversion. */
struct tree {
    struct buf script, reply;
    uint64_t random;
};

static unsigned draw(struct tree *t, unsigned below)
{
    t->random = t->random * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(t->random >> 33) % below;
}

static void grow_tree(struct tree *t, int depth)
{
    struct reply r = {.out = &t->reply, .proto = 3};
    unsigned kind = draw(t, depth > 0 ? 10 : 7);
    int number = (int)draw(t, 2000000) - 1000000;
    unsigned count = draw(t, 5);
    switch (kind) {
    case 0:
        buf_printf(&t->script, "%d.75", number);
        reply_int(&r, number);
        break;
    case 1:
        buf_printf(&t->script, "'s%d'", number);
        buf_printf(&t->reply, "$%d\r\ns%d\r\n", snprintf(NULL, 0, "s%d", number), number);
        break;
    case 2:
        buf_printf(&t->script, "true");
        reply_int(&r, 1);
        break;
    case 3:
        buf_printf(&t->script, "false");
        reply_null(&r);
        break;
    case 4:
        buf_printf(&t->script, "{ok='o%d'}", number);
        buf_printf(&t->reply, "+o%d\r\n", number);
        break;
    case 5:
        buf_printf(&t->script, "{err='E e%d'}", number);
        buf_printf(&t->reply, "-E e%d\r\n", number);
        break;
    case 6:
        buf_printf(&t->script, "{double=%d.5}", number);
        reply_double(&r, number < 0 ? number - 0.5 : number + 0.5);
        break;
    case 7:
        buf_printf(&t->script, "{map={x%d=", number);
        reply_map(&r, 1);
        buf_printf(&t->reply, "$%d\r\nx%d\r\n", snprintf(NULL, 0, "x%d", number), number);
        grow_tree(t, depth - 1);
        buf_printf(&t->script, "}}");
        break;
    default:
        buf_append_char(&t->script, '{');
        reply_array(&r, count);
        for (unsigned i = 0; i < count; i++) {
            grow_tree(t, depth - 1);
            buf_append_char(&t->script, ',');
        }
        buf_printf(&t->script, "nil,9}"); /* lists end at the first nil */
        break;
    }
}

Test(script, random_trees)
{
    struct fake_host h;
    fake_host_init(&h);
    h.proto = 3;
    for (uint64_t seed = 1; seed <= 2000; seed++) {
        struct tree t = {.random = seed};
        buf_printf(&t.script, "return ");
        grow_tree(&t, (int)(seed % 9));
        buf_append_char(&t.script, '\0');
        buf_append_char(&t.reply, '\0');
        /* Names like x-5 are no names of Lua. */
        for (char *at = t.script.ptr; (at = strstr(at, "x-")) != NULL;) at[1] = '_';
        for (char *at = t.reply.ptr; (at = strstr(at, "x-")) != NULL;) at[1] = '_';
        const char *got = fake_host_eval(&h, t.script.ptr);
        cr_expect_str_eq(got, t.reply.ptr, "%s: %s", t.script.ptr, got);
        if (seed % 100 == 0) script_flush(h.vm);
        buf_deinit(&t.script);
        buf_deinit(&t.reply);
    }
    fake_host_deinit(&h);
}

Test(script, shebangs)
{
    CHECK_ALL(2,
        {"#!lua", "-ERR Invalid script shebang"},
        {"#!foo\nreturn 1", "-ERR Unexpected engine in script shebang: #!foo"},
        {"#! lua\nreturn 1", "-ERR Unexpected engine in script shebang: #!"},
        {"#!lua \"\nreturn 1", "-ERR Invalid engine in script shebang"},
        {"#!lua a=b\nreturn 1", "-ERR Unknown lua shebang option: a=b"},
        {"#!lua name=b\nreturn 1", "-ERR Unknown lua shebang option: name=b"},
        {"#!lua flags=a\nreturn 1", "-ERR Unexpected flag in script shebang: a"},
        {"#!lua flags=no-writes,\nreturn 1", "-ERR Unexpected flag in script shebang: "},
        {"#!lua flags=\nreturn 1", ":1\r\n"},
        {"#!lua flags=no-writes,allow-oom flags=allow-stale\nreturn 2", ":2\r\n"},
        {"#!lua\nreturn x", "-ERR user_script:2: Script attempted to access nonexistent global "
                            "variable 'x' script: %, on @user_script:2.\r\n"});
    struct script_vm *vm = script_vm_new();
    struct buf error = {0};
    struct slice text = SLICE("#!lua flags=no-writes,allow-cross-slot-keys\nreturn 1");
    struct script *script = script_load(vm, text, &error);
    cr_assert(script != NULL);
    cr_expect_eq(script->flags, SCRIPT_NO_WRITES | SCRIPT_CROSS_SLOT);
    cr_expect_eq(script_load(vm, SLICE("return 1"), &error)->flags, SCRIPT_COMPAT);
    script_vm_free(vm);
}
