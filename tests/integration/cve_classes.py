"""Classes of holes that Redis has had, each with what would find it here: nothing crashes, hangs,
balloons or leaves a mark, and the answer is an ordinary one. Classes are named as their CVEs say
them; limits that TLS, the parser and slow readers have are in tls.py and bad_input.py.
"""

import random
import struct
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from compat.dump_values import crc64  # noqa: E402
from integration import support  # noqa: E402

SECONDS = 60  # until a reply must be there, also under ASan; the holes took for ever
MAX, MIN = 2**63 - 1, -2**63
NUMBERS = [MAX, MIN, -MAX, 2**64 - 1, 2**62, -2**62, 2**31, -2**31 - 1, 2**32, 2**32 - 1]
MB = 1 << 20

VALUES = [
    ("RPUSH", "list", *"abcde"), ("SADD", "set", *"abcde"), ("HSET", "hash", *"a1b2c3"),
    ("ZADD", "zset", 1, "a", 2, "b", 3, "c"), ("SET", "string", "hello"), ("SET", "number", 5),
    ("XADD", "stream", "1-1", "f", "v"), ("XADD", "stream", "2-1", "f", "v"),
    ("XGROUP", "CREATE", "stream", "g", 0),
    ("XREADGROUP", "GROUP", "g", "c", "STREAMS", "stream", ">"), ("GEOADD", "geo", 1, 1, "p"),
]


def rss_bytes(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


class Classes(unittest.TestCase):
    options = []

    @classmethod
    def setUpClass(cls):
        cls.server = support.server(*cls.options)
        cls.addClassCleanup(cls.server.stop)

    def setUp(self):
        self.open = self.server.client(timeout=SECONDS)
        self.addCleanup(self.open.close)
        self.open.ok("FLUSHALL")

    def tearDown(self):
        self.assertTrue(self.server.alive(), self.server.log()[-4000:])
        with self.server.client(timeout=SECONDS) as client:
            self.assertEqual(client.call("PING"), support.PONG)

    def call(self, *args):
        return self.open.call(*args)

    def values(self):
        for command in VALUES:
            self.open.ok(*command)

    def all_answered(self, commands):
        """Each gets a reply, and afterwards the values can be read."""
        for command in commands:
            with self.subTest(command=command):
                self.call(*command)
        for command in (("LRANGE", "list", 0, -1), ("SMEMBERS", "set"), ("HGETALL", "hash"),
                        ("ZRANGE", "zset", 0, -1), ("GET", "string"), ("XRANGE", "stream", "-",
                                                                       "+"),
                        ("XPENDING", "stream", "g")):
            self.open.ok(*command)

    def refused(self, *args):
        reply = self.call(*args)
        self.assertIsInstance(reply, support.Error, args)
        return reply


# ---- numbers -------------------------------------------------------------------------------------


class IntegerOverflow(Classes):
    def setUp(self):
        super().setUp()
        self.values()
        self.rss = rss_bytes(self.server.pid)

    def tearDown(self):
        super().tearDown()
        self.assertLess(rss_bytes(self.server.pid) - self.rss, 2000 * MB)

    def test_bitfield_and_bits(self):
        """CVE-2015-8080's kin, CVE-2021-32761: offsets and widths."""
        commands = []
        for n in NUMBERS:
            for at in (n, f"#{n}"):
                if at in (2**31, 2**32 - 1, "#268435456"):
                    continue  # legal, and half a gigabyte
                commands += [("BITFIELD", "b", "SET", "u8", at, 1), ("BITFIELD", "b", "GET",
                                                                     "i64", at)]
            commands += [("BITFIELD", "b", "INCRBY", "i64", 0, n),
                         ("BITFIELD", "b", "OVERFLOW", "SAT", "INCRBY", "i8", 0, n),
                         ("BITFIELD", "b", "OVERFLOW", "FAIL", "INCRBY", "u63", 0, n),
                         ("BITFIELD", "b", "GET", f"u{n}", 0), ("GETBIT", "string", n),
                         ("BITPOS", "string", 1, n, n), ("BITCOUNT", "string", n, n, "BIT"),
                         ("BITCOUNT", "string", 0, n)]
        self.all_answered(commands)
        for at in (MAX, "#9223372036854775807", "#4611686018427387904", 2**32, -1):
            self.refused("BITFIELD", "b", "SET", "u8", at, 1)
        self.refused("SETBIT", "b", 2**32, 1)
        self.refused("BITFIELD", "b", "GET", "u64", 0)
        self.assertEqual(self.call("BITFIELD", "i", "OVERFLOW", "SAT", "SET", "i64", 0, MAX,
                                   "INCRBY", "i64", 0, MAX), [0, MAX])
        self.assertEqual(self.call("BITFIELD", "i", "INCRBY", "i64", 0, 1), [MIN])

    def test_setrange_getrange_append(self):
        """CVE-2022-35977 and CVE-2021-32761: offset plus length."""
        for n in NUMBERS:
            self.refused("SETRANGE", "new", n, "x")
            for command in (("GETRANGE", "string", n, n), ("GETRANGE", "string", 0, n),
                            ("GETRANGE", "string", n, -1), ("SUBSTR", "string", n, 3)):
                reply = self.call(*command)
                self.assertTrue(n >= 2**63 or reply in (b"", b"h", b"hell", b"hello"), command)
        self.refused("SETRANGE", "new", 512 * MB, "x")
        self.refused("SETRANGE", "new", 512 * MB - 1, "xy")
        self.assertEqual(self.call("SETRANGE", "new", MAX, ""), 0)
        self.assertEqual(self.call("EXISTS", "new"), 0)

    def test_list_counts(self):
        """LRANGE, LPOS, LREM, LMPOP."""
        commands = [("LPOP", "nolist", n) for n in NUMBERS]
        for n in NUMBERS:
            commands += [("LRANGE", "list", n, n), ("LRANGE", "list", 0, n), ("LINDEX", "list", n),
                         ("LSET", "list", n, "v"), ("LREM", "list", n, "no"),
                         ("LPOS", "list", "a", "RANK", n), ("LPOS", "list", "a", "COUNT", n),
                         ("LPOS", "list", "a", "MAXLEN", n), ("LMPOP", n, "list", "LEFT"),
                         ("LMPOP", 1, "no", "LEFT", "COUNT", n), ("LTRIM", "no", n, n)]
        self.all_answered(commands)
        self.assertEqual(self.call("LRANGE", "list", MIN, MAX), [b"a", b"b", b"c", b"d", b"e"])
        self.assertEqual(self.call("LRANGE", "list", MAX, MIN), [])

    def test_stream_counts(self):
        """CVE-2022-35951: XAUTOCLAIM COUNT."""
        commands = []
        for n in NUMBERS:
            commands += [("XAUTOCLAIM", "stream", "g", "d", 0, "0-0", "COUNT", n),
                         ("XAUTOCLAIM", "stream", "g", "d", n, "0-0"),
                         ("XCLAIM", "stream", "g", "c", n, "1-1"),
                         ("XCLAIM", "stream", "g", "c", 0, "1-1", "IDLE", n),
                         ("XCLAIM", "stream", "g", "c", 0, "1-1", "RETRYCOUNT", n),
                         ("XRANGE", "stream", "-", "+", "COUNT", n), ("XSETID", "stream",
                                                                      f"{n}-{n}"),
                         ("XREAD", "COUNT", n, "STREAMS", "stream", 0),
                         ("XREADGROUP", "GROUP", "g", "c", "COUNT", n, "STREAMS", "stream", 0),
                         ("XPENDING", "stream", "g", "-", "+", n),
                         ("XPENDING", "stream", "g", "IDLE", n, "-", "+", 1),
                         ("XADD", "s2", "MAXLEN", "~", n, "*", "f", "v"),
                         ("XTRIM", "stream", "MAXLEN", "~", 1000, "LIMIT", n)]
        self.all_answered(commands)
        for n in (0, -1, MIN, 2**62, MAX, 2**59):
            self.refused("XAUTOCLAIM", "stream", "g", "d", 0, "0-0", "COUNT", n)

    def test_random_members(self):
        """CVE-2022-35977, CVE-2023-22458, CVE-2023-25155: counts below zero repeat themselves, and
        too many are refused before anything is made."""
        for n in (MIN, -MAX, -2**62, -2**62 - 1, -2**40, -2**31, -2**28):
            for command in (("SRANDMEMBER", "set", n), ("HRANDFIELD", "hash", n),
                            ("HRANDFIELD", "hash", n, "WITHVALUES"), ("ZRANDMEMBER", "zset", n),
                            ("ZRANDMEMBER", "zset", n, "WITHSCORES")):
                self.assertIn(b"out of range", self.refused(*command))
        for n in (MAX, 2**62 - 1, 2**40):
            for command in (("SRANDMEMBER", "set", n), ("HRANDFIELD", "hash", n),
                            ("ZRANDMEMBER", "zset", n)):
                self.assertLessEqual(len(self.open.ok(*command)), 5)
        self.assertEqual(len(self.call("SRANDMEMBER", "set", -100_000)), 100_000)
        self.assertEqual(len(self.call("HRANDFIELD", "hash", -1000, "WITHVALUES")), 2000)

    def test_limits_and_numbers_of_keys(self):
        """SORT LIMIT (CVE-2022-35977), numkeys of ZUNION, LMPOP, EVAL, SINTERCARD, sizes of LCS."""
        commands = []
        for n in NUMBERS:
            commands += [("SORT", "list", "ALPHA", "LIMIT", n, n), ("SORT", "list", "ALPHA",
                                                                    "LIMIT", 0, n),
                         ("SORT_RO", "list", "ALPHA", "LIMIT", n, 1), ("ZUNION", n, "zset"),
                         ("ZUNIONSTORE", "d", n, "zset"), ("ZINTER", n, "zset"), ("ZDIFF",
                                                                                  n, "zset"),
                         ("ZMPOP", n, "zset", "MIN"), ("SINTERCARD", n, "set"),
                         ("SINTERCARD", 1, "set", "LIMIT", n), ("EVAL", "return 1", n, "a"),
                         ("ZRANGEBYSCORE", "zset", "-inf", "+inf", "LIMIT", n, n),
                         ("ZRANGE", "zset", n, n), ("ZRANGEBYLEX", "zset", "-", "+", "LIMIT", n, 1),
                         ("SCAN", 0, "COUNT", n), ("SSCAN", "set", 0, "COUNT", n), ("SCAN", n),
                         ("LCS", "string", "number", "IDX", "MINMATCHLEN", n),
                         ("GEOSEARCH", "geo", "FROMLONLAT", 1, 1, "BYRADIUS", 1, "m", "COUNT", n),
                         ("GEORADIUS", "geo", 1, 1, n, "m"), ("SELECT", n), ("SWAPDB", n, n),
                         ("SELECT", 0), ("COPY", "string", "copy", "DB", n), ("SLOWLOG", "GET", n),
                         ("RESTORE", "r", n, "x"), ("EXPIRE", "nokey", n), ("EXPIREAT", "nokey", n),
                         ("SET", "e", "v", "EX", n), ("SET", "e", "v", "PXAT", n),
                         ("INCRBY", "number", n), ("DECRBY", "number", n), ("HINCRBY", "hash",
                                                                            "a", n),
                         ("MEMORY", "USAGE", "string", "SAMPLES", n), ("SPOP", "noset", n),
                         ("CONFIG", "SET", "maxclients", n) if n < 0 else ("PING",)]
        self.all_answered(commands)

    def test_sizes_that_multiply(self):
        """CVE-2021-29477, CVE-2021-32625: LCS needs a table of its arguments' product."""
        self.open.ok("SET", "x", "a" * 200_000)
        self.open.ok("SET", "y", "b" * 200_000)
        for more in ((), ("LEN",), ("IDX",)):
            self.assertIsInstance(self.call("LCS", "x", "y", *more), support.Error)
        self.open.ok("SETRANGE", "far", 10 * MB, "x")
        self.assertEqual(self.call("BITOP", "OR", "d", "far", "string", "none"), 10 * MB + 1)

    def test_floats_that_are_none(self):
        """CVE-2023-28856: HINCRBYFLOAT of what is no number leaves no value that breaks later."""
        for n in ("nan", "inf", "-inf", "1e4932", "0x", "1e-5000"):
            self.call("HINCRBYFLOAT", "hash", "f", n)
            self.call("INCRBYFLOAT", "number", n)
            self.call("ZINCRBY", "zset", n, "a")
        self.assertIsInstance(self.call("HINCRBYFLOAT", "hash", "new", "nan"), support.Error)
        self.assertIsInstance(self.call("ZADD", "zset", "nan", "m"), support.Error)
        self.open.ok("ZUNION", 2, "zset", "zset", "WEIGHTS", "inf", "-inf", "WITHSCORES")
        self.open.ok("HGETALL", "hash")
        self.open.ok("DUMP", "hash")

    def test_a_key_twice(self):
        """CVE-2023-28425: MSETNX with a key that comes twice."""
        self.assertEqual(self.call("MSETNX", "q", 1, "q", 2), 1)
        self.assertEqual(self.call("GET", "q"), b"2")


# ---- scripts -------------------------------------------------------------------------------------


class LuaSandbox(Classes):
    def run_text(self, text):
        return self.call("EVAL", text, 0)

    def test_nothing_that_leads_out(self):
        """CVE-2022-0543: what Debian's Lua left in reach."""
        for name in ("package", "require", "module", "io", "debug", "dofile", "loadfile",
                     "newproxy",
                     "jit", "ffi", "getfenv", "setfenv", "print", "os.execute", "os.exit",
                     "os.getenv", "os.remove", "package.loadlib"):
            reply = self.run_text(f"return type({name})")
            self.assertTrue(reply == b"nil" or isinstance(reply, support.Error), (name, reply))

    def test_no_bytecode(self):
        """CVE-2015-4335."""
        for head in (r"\27Lua", r"\27LJ\2\0", r"\27LJ\1", r"\27"):
            self.assertEqual(self.run_text(f"return type(loadstring('{head}x'))"), b"nil")
            self.assertEqual(self.run_text(
                "local n=0 return type(load(function() n=n+1 "
                f"if n==1 then return '{head}x' end end))"),
                b"nil")

    def test_no_marks_are_left(self):
        """CVE-2022-24735, CVE-2025-46818: tables and metatables that all scripts share."""
        attempts = [
            "x=1", "_G.x=1", "rawset(_G,'x',1)", "setmetatable(_G,{})", "string.x=1",
            "rawset(string,'x',1)", "redis.call=nil", "redis.x=1", "cjson.encode=nil",
            "cmsgpack.pack=1", "struct.x=1", "bit.x=1", "math.x=1", "table.x=1", "coroutine.x=1",
            "os.x=1", "getmetatable('').__index=function() return 1 end",
            "getmetatable('').x=1", "getmetatable(_G).__index=nil",
            "getmetatable(_G).__newindex=nil",
            "getmetatable(redis).__newindex=nil", "for k in pairs(_G) do _G[k]=nil end",
            "table.insert(_G,1)", "table.sort(string)", "next(_G,nil).x=1",
            "setmetatable(string,nil)", "setmetatable('',{})", "setmetatable(redis,{})",
        ]
        for text in attempts:
            self.run_text(text + " return 1")
        probe = ("local r={} for _,n in ipairs({'x','foo'}) do "
                 "r[#r+1]=tostring(rawget(_G,n)) .. tostring(string[n]) .. tostring(redis.x) .. "
                 "tostring(bit.x) .. tostring(('a').x) end "
                 "return table.concat(r) .. type(redis.call) .. type(cjson.encode) .. "
                 "type(cmsgpack.pack) .. ('a'):upper()")
        self.assertEqual(self.run_text(probe), b"nil" * 10 + b"functionfunctionfunctionA")

    def test_stack_of_libraries(self):
        """CVE-2018-11218, CVE-2020-14147, CVE-2024-31449, CVE-2022-24834, CVE-2015-8080."""
        texts = [
            "return bit.tohex(65535,-2147483648)", "return bit.tohex(1,2147483647)",
            "return bit.tohex(1,2^53)", "return bit.lshift(1,-2147483648)",
            "return #cjson.encode(string.rep('\\\"',5000000))",
            "local t={} t.t=t return cjson.encode(t)",
            "return cjson.decode(string.rep('[',1000000))",
            "local t={} for i=1,100000 do t={t} end return #cjson.encode(t)",
            "return cjson.encode({[2^53]=1})", "return cjson.encode({[1]=1,[100000000]=2})",
            "return cjson.encode_max_depth(2147483648)", "return cjson.decode('\"\\\\ud800\"')",
            "return cmsgpack.unpack(string.rep('\\145',1000000))",
            "return cmsgpack.unpack('\\221\\255\\255\\255\\255')",
            "return cmsgpack.unpack('\\223\\255\\255\\255\\255')",
            "return cmsgpack.unpack('\\219\\255\\255\\255\\255')",
            "return cmsgpack.unpack_limit('\\1\\2',-1,0)",
            "return cmsgpack.unpack_limit('\\1\\2',1,-5)",
            "return cmsgpack.unpack_limit('\\1\\2',2147483647,0)",
            "return cmsgpack.unpack_limit('\\1\\2',1,9007199254740993)",
            "return cmsgpack.unpack_one('\\1\\2',9007199254740993)",
            "return #cmsgpack.pack(unpack({},1,7990))", "local t={} t.t=t return #cmsgpack.pack(t)",
            "return cmsgpack.unpack(string.rep('\\1',100000))",
            "return struct.pack('>I2147483648',1)", "return struct.pack('i33',1)",
            "return struct.unpack('I99999999999999999999',string.rep('x',50))",
            "return struct.unpack('c2147483647','x')", "return struct.unpack('Bc0','\\255x')",
            "return struct.unpack('s','no zero')", "return struct.unpack('i4','abcd',2147483647)",
            "return struct.unpack('i4','abcd',-2147483648)",
            "return struct.unpack('i4','abcd',2^53)",
            "return struct.pack('!99999i8',1)", "return struct.size('c2147483647c2147483647')",
            "return struct.size('i'..string.rep('9',100000))", "return struct.pack('c10','abc')",
            "return struct.unpack(string.rep('i1',100000),string.rep('x',100000))",
        ]
        for text in texts:
            with self.subTest(text=text):
                self.run_text(text)
        self.assertEqual(self.run_text(texts[0]), b"0000FFFF")
        self.assertEqual(self.run_text(texts[1]), b"00000001")

    def test_numbers_of_base_functions(self):
        """CVE-2025-46817: unpack and its kin with the ends of int."""
        for call in ("unpack({},%s,%s)", "string.sub('abc',%s,%s)", "string.byte('abc',%s,%s)",
                     "table.concat({},'',%s,%s)", "math.random(%s,%s)", "select(%s,%s)",
                     "table.insert({},%s,%s)", "table.remove({},%s,%s)", "string.rep('ab',%s,%s)",
                     "string.find('abc','b',%s,%s)", "string.char(%s,%s)",
                     "string.format('%%d',%s,%s)",
                     "redis.setresp(%s,%s)", "redis.replicate_commands(%s,%s)",
                     "redis.set_repl(%s,%s)", "redis.log(%s,%s)"):
            for a in ("-2147483648", "2147483647", "0", "1e308", "-1e308", "2^53", "0/0"):
                for b in ("-2147483648", "2147483647", "1e7"):
                    self.run_text("return " + call % (a, b))
        for text in ("return {unpack({},0,2147483647)}",
                     "return {unpack({},-2147483648,2147483647)}",
                     "return {unpack({},1,1e7)}"):
            self.assertIsInstance(self.run_text(text), support.Error)

    def test_texts_for_the_compiler(self):
        """CVE-2025-46819, CVE-2025-49844: long brackets, deep nesting, chunks collected early."""
        texts = ["return [" + "=" * 100_000, "return [==[abc", "--[==[", "return '\\999'", "\\",
                 "return " + "(" * 100_000, "return " + "{" * 50_000 + "}" * 50_000, "x=" * 10_000,
                 "local a=" + "-" * 100_000 + "1 return a", "return " + "not " * 100_000 + "1",
                 "return 0x", "return 1e", "return 0x" + "f" * 100_000, "goto a",
                 "local " + ",".join(f"a{i}" for i in range(300)) + "=1 return 1",
                 "return " + "..".join(["'a'"] * 5000), "return " + "+".join(["1"] * 50_000),
                 "if 1 then " * 5000 + " end" * 5000, "return function() " * 300 + " end" * 300,
                 "return \0", "\xff\xfe", "#!lua", "#!lua " + "x" * 100_000, "#!" + "\n" * 100]
        for text in texts:
            with self.subTest(text=text[:40]):
                self.run_text(text)
        churn = ("for i=1,300 do local n=string.rep('n',i*50) .. i "
                 "loadstring('return '..i..string.rep(' ',i*30), n) collectgarbage() end "
                 "return 'ok'")
        self.assertEqual(self.run_text(churn), b"ok")

    def test_collected_objects(self):
        """CVE-2024-46981: finalizers."""
        self.run_text("local t=setmetatable({},{__gc=function() while true do end end}) t=nil "
                      "collectgarbage() collectgarbage() return 1")
        for option in ("stop", "restart", "collect", "count", "step", "setpause", "setstepmul",
                       "x"):
            self.run_text(f"return collectgarbage('{option}', -2147483648)")
        self.assertEqual(self.run_text("return 1"), 1)

    def test_errors_of_all_kinds(self):
        """CVE-2022-24736: what a script raises or returns."""
        for text in ("error(nil)", "error({})", "error({err=1})", "error({err={}})", "error(error)",
                     "error(setmetatable({},{__tostring=function() error('x') end}))",
                     "return setmetatable({},{__index=function() error('x') end})",
                     "return {err={}}", "return {ok={}}", "return {double='x'}", "return {map=1}",
                     "return {set={1,{}}}", "return {big_number={}}", "return {verbatim_string={}}",
                     "return {verbatim_string={string=1,format={}}}", "return redis.call()",
                     "return redis.call({})", "return redis.pcall()", "return redis.sha1hex()",
                     "return redis.error_reply()", "return redis.status_reply({})",
                     "local function f() return 1+f() end return f()", "return pcall(error)",
                     "return xpcall(error,error)", "return xpcall(error,xpcall)",
                     "return coroutine.wrap(function() redis.call('BLPOP','x',0) end)()",
                     "return redis.call('EVAL','return 1',0)", "return redis.acl_check_cmd()",
                     "return redis.breakpoint()", "return redis.debug('x')",
                     "return redis.call('MULTI')",
                     "return redis.call('SUBSCRIBE','x')", "return redis.call('MONITOR')"):
            with self.subTest(text=text):
                self.run_text(text)

    def test_a_reply_without_end(self):
        self.open.send("EVAL", "local t={} t[1]=t return t", 0)
        self.open.send("ECHO", "behind it")
        while b"behind it" not in self.open.buffer:
            self.open.fill()
        self.assertLess(len(self.open.buffer), MB)
        self.open.buffer.clear()

    def test_stuck_in_c(self):
        """Where Lua is called back by a function of C, a script cannot pause: it ends after seconds
        (here even with one worker, where nobody could kill it)."""
        server = support.server("--threads", "1")
        self.addCleanup(server.stop)
        clients = []
        for text in ("return load(function() return ' ' end)",
                     "redis.call('SET','a','b') "
                     "table.sort({3,2,1},function() while true do end end)",
                     "return tostring(setmetatable({},{__tostring=function() "
                     "while true do end end}))"):
            client = server.client(timeout=SECONDS)
            self.addCleanup(client.close)
            client.send("EVAL", text, 0)
            clients.append(client)
        for client in clients:
            self.assertIsInstance(client.read(), support.Error)
        with server.client(timeout=SECONDS) as client:
            self.assertEqual(client.call("PING"), support.PONG)


# ---- corrupt values ------------------------------------------------------------------------------


class CorruptValues(Classes):
    def test_restore_of_damaged_dumps(self):
        """CVE-2021-32627, -32628, -32687, -32762, -41099: lengths inside of packed values. The sum
        at the end is right, so that the damage itself is met; then everything reads the value."""
        rng = random.Random(7)
        self.values()
        self.open.ok("SADD", "ints", *range(50))
        self.open.ok("RPUSH", "long", *(b"x" * n for n in range(1, 200)))
        self.open.ok("HSET", "wide", *range(2000))
        reads = [("LRANGE", "r", 0, -1), ("SMEMBERS", "r"), ("HGETALL", "r"), ("ZRANGE", "r",
                                                                               0, -1),
                 ("GET", "r"), ("XRANGE", "r", "-", "+"), ("XINFO", "STREAM", "r", "FULL"),
                 ("DUMP", "r"), ("LPOP", "r"), ("SPOP", "r"), ("HDEL", "r", "a"), ("ZPOPMIN", "r"),
                 ("XDEL", "r", "1-1"), ("COPY", "r", "r2", "REPLACE"), ("DEBUG", "DIGEST-VALUE",
                                                                        "r")]
        for key in ("list", "set", "hash", "zset", "string", "number", "stream", "geo", "ints",
                    "long",
                    "wide"):
            whole = self.open.ok("DUMP", key)[:-8]
            for _ in range(150):
                body = bytearray(whole)
                for _ in range(rng.choice((1, 1, 2, 5))):
                    at = rng.randrange(len(body) - 2)
                    body[at] = rng.choice((0, 0xff, 0x7f, 0x80, 0x81, 0xc3, rng.randrange(256)))
                if rng.random() < 0.2:
                    del body[rng.randrange(1, len(body) - 2):-2]
                payload = bytes(body) + struct.pack("<Q", crc64(bytes(body)))
                reply = self.call("RESTORE", "r", 0, payload, "REPLACE")
                if not isinstance(reply, support.Error):
                    for command in reads:
                        self.call(*command)

    def test_hyperloglog(self):
        """CVE-2019-10192, CVE-2019-10193, CVE-2025-32023: sparse forms whose runs go too far."""
        head = b"HYLL\x01\0\0\0" + b"\0" * 7 + b"\x80"
        bodies = [b"", b"\x7f\xff" * 100, b"\x7f\xff\x80", b"\x40", b"\x7f", b"\xff" * 20_000,
                  b"\x3f" * 300, b"\x3f" * 10_000, b"\x00" * 16384, b"\x7f\xff" + b"\x9f" * 100,
                  b"\x7f\xf0" + b"\xfb" * 5, b"\x7f\xff" * 200_000]
        for encoding in (0, 1, 2, 255):
            for body in bodies:
                value = head[:4] + bytes([encoding]) + head[5:] + body
                self.open.ok("SET", "h", value)
                for command in (("PFCOUNT", "h"), ("PFADD", "h", "a"), ("PFMERGE", "d", "h"),
                                ("PFCOUNT", "h", "d"), ("PFMERGE", "h", "h"),
                                ("PFDEBUG", "DECODE", "h"), ("PFDEBUG", "GETREG", "h"),
                                ("PFDEBUG", "TODENSE", "h"), ("PFCOUNT", "d")):
                    self.call(*command)
                self.open.ok("DEL", "d")
        rng = random.Random(3)
        self.open.ok("PFADD", "good", *range(300))
        good = self.open.ok("GET", "good")
        for _ in range(500):
            value = bytearray(good)
            for _ in range(rng.randrange(1, 6)):
                value[rng.randrange(len(value))] = rng.randrange(256)
            self.open.ok("SET", "h", bytes(value))
            for command in (("PFCOUNT", "h"), ("PFADD", "h", "new"), ("PFMERGE", "d", "h", "good")):
                self.call(*command)


# ---- patterns ------------------------------------------------------------------------------------


class GlobBlowUp(Classes):
    """CVE-2022-36021, CVE-2024-31228: patterns of many stars, whose matching was exponential, and
    brackets, whose recursion had no end."""

    patterns = ["a*" * 5000 + "b", "*a" * 5000 + "b", "*?" * 2000 + "b", "*" * 100_000 + "b",
                "a*?[a-b]" * 1000 + "c", "[" * 50_000, "[^" * 20_000, "\\" * 20_001, "*[a" * 5000,
                "[a-" * 5000]

    def setUp(self):
        super().setUp()
        self.open.ok("SET", "a" * 5000, "v")
        self.open.ok("SADD", "set", "a" * 5000)
        self.open.ok("HSET", "hash", "a" * 5000, "v")

    def test_keys_and_scans(self):
        for pattern in self.patterns:
            found = {len(self.open.ok("KEYS", pattern)),
                     len(self.open.ok("SCAN", 0, "MATCH", pattern, "COUNT", 1000)[1]),
                     len(self.open.ok("SSCAN", "set", 0, "MATCH", pattern)[1]),
                     len(self.open.ok("HSCAN", "hash", 0, "MATCH", pattern)[1]) // 2}
            if pattern.endswith(("b", "c")):
                self.assertEqual(found, {0})

    def test_channels(self):
        with self.server.client(timeout=SECONDS) as sub:
            for pattern in self.patterns:
                sub.ok("PSUBSCRIBE", pattern)
            self.assertLess(self.call("PUBLISH", "a" * 5000, "m"), len(self.patterns))
            self.open.ok("PUBSUB", "CHANNELS", self.patterns[0])

    def test_names(self):
        for pattern in self.patterns:
            self.open.ok("CONFIG", "GET", pattern)
            self.open.ok("COMMAND", "LIST", "FILTERBY", "PATTERN", pattern)
            self.open.ok("FUNCTION", "LIST", "LIBRARYNAME", pattern)


class LuaPatternBlowUp(Classes):
    """string.find and its like, whose backtracking is exponential and could not be interrupted."""

    def test_a_match_that_never_ends(self):
        script = "return string.find(('a'):rep(60), ('a-'):rep(40) .. 'b')"
        with self.server.client(timeout=SECONDS) as runner:
            runner.send("EVAL", script, 0)
            answer = runner.read()
        self.assertIn(b"Script killed by user with SCRIPT KILL", answer)
        self.assertEqual(self.open.call("EVAL", "return string.find('abc', 'b-c')", 0), 2)


# ---- before AUTH ---------------------------------------------------------------------------------


class BeforeAuth(Classes):
    """CVE-2021-32675 and CVE-2025-21605: memory for those who have not said who they are."""

    options = ["--requirepass", "secret"]

    def setUp(self):
        self.open = self.server.client(timeout=SECONDS)
        self.addCleanup(self.open.close)
        self.open.ok("AUTH", "secret")

    def tearDown(self):
        self.assertEqual(self.open.call("PING"), support.PONG)

    def test_requests(self):
        for claim in (b"*11\r\n", b"*2\r\n$16385\r\n", b"*1000000000\r\n", b"*1\r\n$500000000\r\n"):
            with self.server.client() as client:
                client.send_bytes(claim)
                self.assertIn(b"unauthenticated", client.read())
                self.assertTrue(client.closed_by_server())

    def test_replies_that_are_not_read(self):
        """Refusals pile up behind a client that does not read: it is closed with little unsent."""
        commands = support.encode("GET", "k") * 2000
        before = rss_bytes(self.server.pid)
        clients = [self.server.client() for _ in range(8)]
        for client in clients:
            client.sock.settimeout(0.2)
            self.addCleanup(client.close)
        sent = dict.fromkeys(clients, 0)
        deadline = time.monotonic() + SECONDS
        while sent and time.monotonic() < deadline:
            for client in list(sent):
                try:
                    client.sock.sendall(commands)
                    sent[client] += len(commands)
                except TimeoutError:
                    pass
                except OSError:
                    del sent[client]
            for line in self.open.ok("CLIENT", "LIST").decode().splitlines():
                fields = dict(part.split("=", 1) for part in line.split(" ") if "=" in part)
                self.assertLess(int(fields["omem"]), 256 * 1024)
        self.assertFalse(sent, "some were never closed")
        # A sanitizer keeps what was freed for a while.
        most = 256 * MB if "asan" in support.program() else 64 * MB
        self.assertLess(rss_bytes(self.server.pid) - before, most)


# ---- introspection -------------------------------------------------------------------------------


class CommandGetKeys(Classes):
    def test_odd_arguments(self):
        """Numbers of keys that are not there, keywords without a value."""
        commands = [("GET",), ("PING",), ("NOSUCH", "a"), (), ("EVAL", "x", 0), ("EVAL", "x",
                                                                                 3, "a"),
                    ("XREAD", "STREAMS"), ("XREAD", "STREAMS", "a"), ("XREAD", "COUNT",
                                                                      1, "STREAMS"),
                    ("XREAD", "COUNT", 1, "STREAMS", "a", "b", "c"), ("SORT", "a", "STORE"),
                    ("SORT", "a", "BY", "STORE", "STORE", "b"), ("MSET", "a", "b", "c"),
                    ("MIGRATE", "h", 1, "", 0, 1, "KEYS"), ("MIGRATE", "h", 1, "", 0, 1, "KEYS",
                                                            "a"),
                    ("GEORADIUS", "a", 1, 1, 1, "m", "STORE"), ("OBJECT", "HELP"), ("MEMORY",
                                                                                    "USAGE"),
                    ("ZMPOP", 2, "a", "b", "MIN"), ("BLMPOP", 1, 2, "a", "b", "LEFT"),
                    ("COMMAND", "GETKEYS", "GET", "a"), ("STRALGO", "LCS", "KEYS", "a", "b")]
        for n in NUMBERS + ["", "x", "1x", " 1", "-1", "0"]:
            for name in ("EVAL", "EVALSHA", "FCALL", "FCALL_RO", "ZUNIONSTORE", "BLMPOP"):
                commands += [(name, "x", n, "a", "b"), (name, "x", n), (name, "x", n, "a")]
            for name in ("LMPOP", "ZMPOP", "ZUNION", "ZDIFF", "SINTERCARD"):
                commands += [(name, n, "a", "LEFT"), (name, n)]
        for command in commands:
            for form in ("GETKEYS", "GETKEYSANDFLAGS"):
                reply = self.call("COMMAND", form, *command)
                if not isinstance(reply, support.Error):
                    self.assertLessEqual(len(reply), len(command))


if __name__ == "__main__":
    unittest.main()
