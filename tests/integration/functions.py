"""Functions: FUNCTION and FCALL as redis-server has them; payloads that either server loads;
libraries seen by all workers at one point in time, old or new and never half.
"""

import random
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import support  # noqa: E402


def library(name, body):
    return f"#!lua name={name}\n{body}"


def returns(name, value):
    return f"redis.register_function('{name}', function(keys, args) return {value} end)\n"


def named(fields):
    return f"redis.register_function{{{fields}}}"


F = "callback=function() end"

# What FUNCTION LOAD refuses: (a body after "#!lua name=l").
BODIES = [
    "", "return 1", "foo bar", "a = 1", "redis = 1", "redis.x = 1", "KEYS[1] = 1", "x()", "pcall()",
    "local x; x()", "local t = {} t[nil] = 1", "redis.call('ping')", "return redis.sha1hex('')",
    "redis.setresp(3)", "redis.log()", "redis.log(redis.LOG_DEBUG, 'x')", "return _G", "return os",
    "redis.register_function()", "redis.register_function('f')", "redis.register_function(nil)",
    "redis.register_function('f', 1)", "redis.register_function({}, {})",
    "redis.register_function('f', nil)", "redis.register_function('f', function() end, 1)",
    "redis.register_function('f-x', function() end)", "redis.register_function('', function() end)",
    returns("f", 1) + returns("f", 2), named(""), named("function_name='f'"), named(F),
    named("function_name='f', callback=1"), named(f"function_name={{}}, {F}"),
    named(f"function_name='f', {F}, flags='x'"), named(f"function_name='f', {F}, flags={{'x'}}"),
    named(f"function_name='f', {F}, flags={{1}}"), named(f"function_name='f', {F}, foo=1"),
    named(f"function_name='f', {F}, [1]=1"), named(f"function_name='f', {F}, [true]=1"),
    named(f"function_name='f', {F}, description={{}}"), returns("f", 1) + "error('x')",
    "while true do end",
    # and what it takes
    returns("f", 1), "redis.register_function(1, function() end)", named(f"function_name=1, {F}"),
    named(f"function_name='f', {F}, flags={{}}"),
    named("FUNCTION_name='f', CallBack=function() end"),
    named(f"function_name='f', {F}, flags={{'no-writes', 'Allow-OOM', 'allow-stale', "
          "'no-cluster', 'allow-cross-slot-keys'}"),
    named(f"function_name='f', {F}, flags={{nil, 'no-writes'}}, description='text'"),
    named(f"function_name='f', {F}, description=12"), "redis.register_function('f', redis.log)",
    "redis.register_function('f'..('x'):rep(10), function() end)",
]
TEXTS = [
    "", "x", "#!", "#!lua", "#!lua\nreturn", "#!lua name=x", "#!lua name=", "#!lua name=\n",
    "#!lua name=x name=y\nx", "#!lua foo=1\n", "#!lua name=x foo\n", "#!lua2 name=x\n",
    "#!lua name=a-b\n", "#! lua name=x\n", "#!lua name='x y'\n", "#!lua name='x\n",
    "#!lua name=x engine=y\n", "#!lua 'name'=x\n", "#!lua name=x flags=no-writes\n", "#!\nx",
    "#!lua name=x\r\n" + returns("f", 1), "#!lua nAMe=x\n" + returns("f", 1),
    "#!LUA\tname=\"x\"\n" + returns("f", 1), "#!lua name=\"\\x41\"\n" + returns("f", 1),
    "#!lua name=x\nreturn (", "#!lua name=x\n\0", "#!lua na\0me=x\n",
]

RUNS = library("l", """
local kept = redis.register_function
redis.register_function('kept', function() local r = kept('g', function() end) return r end)
redis.register_function('again', function() return redis.register_function('g', kept) end)
redis.register_function('nope', function() return type(redis.nope) end)
redis.register_function('boom', function() error('boom') end)
redis.register_function('table', function() error({err='MY thing'}) end)
redis.register_function('unknown', function() local r = redis.call('nosuch') return r end)
redis.register_function('reply', function() return redis.error_reply('x y') end)
redis.register_function('args', function(k, a, x)
  return {type(k), type(a), type(x), #k, #a, k[1], k[2], a[1], a[2]} end)
redis.register_function('loaded', function() return loadstring('return 5')() end)
redis.register_function('global', function() return _G.KEYS end)
redis.register_function('argv', function() return ARGV end)
redis.register_function('write', function(k) return redis.call('SET', k[1], 'v') end)
redis.register_function('read', function(k) return redis.call('GET', k[1]) end)
redis.register_function{function_name='reader', flags={'no-writes'},
  callback=function(k) return redis.call('GET', k[1]) end}
redis.register_function{function_name='liar', flags={'no-writes'},
  callback=function(k) local r = redis.call('SET', k[1], 'v') return r end}
redis.register_function('change', function() _G.x = 1 end)
redis.register_function('change_redis', function() redis.x = 1 end)
redis.register_function('set_global', function() x = 1 end)
redis.register_function('sum', function() return nil + 1 end)
redis.register_function('map', function() redis.setresp(3) return redis.call('HGETALL', 'h') end)
redis.register_function('map2', function() return redis.call('HGETALL', 'h') end)
redis.register_function('double', function() redis.setresp(3) return {double=0.5} end)
redis.register_function('nested', function() return redis.call('FCALL', 'args', 0) end)
redis.register_function('loading', function() return redis.call('FUNCTION', 'FLUSH') end)
redis.register_function('noscript', function() return redis.pcall('EVAL', 'return 1', 0).err end)
""")
CALLS = [[name, "1", "k", "a", "b"] for name in (
    "kept again nope boom table unknown reply args loaded global argv write read reader liar "
    "change change_redis set_global sum map map2 double nested loading noscript missing"
).split()] + [
    ["args", "2", "a", "b", "c"], ["ARGS", "0"], ["args", "x"], ["args", "-1"], ["args", "1"],
    ["args", "1.5"], ["args", "3", "a", "b"], ["missing", "x"], ["args"], ["reader", "0"],
]

SECONDS = 30


def until(condition, what):
    deadline = time.monotonic() + SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(what)
        time.sleep(0.01)


class Beside(support.ServerTest):
    """The same to both servers."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.oracle = support.oracle()

    @classmethod
    def tearDownClass(cls):
        cls.oracle.stop()
        super().tearDownClass()

    def setUp(self):
        self.ours, self.theirs = self.server.client(), self.oracle.client()
        self.resp(2)
        self.both("FLUSHALL")
        self.both("FUNCTION", "FLUSH")

    def tearDown(self):
        self.ours.close()
        self.theirs.close()

    def resp(self, version):
        for client in (self.ours, self.theirs):
            client.ok("HELLO", version)

    def both(self, *command):
        self.ours.send(*command)
        self.theirs.send(*command)
        ours = self.ours.raw()
        self.assertEqual(ours, self.theirs.raw(), command)
        return ours


class AsRedis(Beside):
    def test_load(self):
        for text in [library("l", body) for body in BODIES] + TEXTS:
            with self.subTest(text):
                self.both("FUNCTION", "LOAD", text)
                self.both("FUNCTION", "LIST", "WITHCODE")
                self.both("FUNCTION", "FLUSH")

    def test_load_and_replace(self):
        for command in [
            ["LOAD", library("a", returns("f", 1))], ["LOAD", library("a", returns("g", 1))],
            ["LOAD", library("b", returns("f", 1))], ["LOAD", library("b", returns("F", 1))],
            ["LOAD", "REPLACE", library("a", returns("g", 1))],
            ["LOAD", "replace", "REPLACE", library("a", returns("g", 2))],
            ["LOAD", library("A", returns("h", 1))], ["LOAD", "REPLACE", library("A", "foo bar")],
            ["LOAD", "REPLACE", library("A", returns("g", 1))],
            ["LOAD", "REPLACE"], ["LOAD", "x", "y"], ["LOAD", "REPLACE", "x", "y"], ["LOAD"],
            ["DELETE", "nope"], ["DELETE", "a"], ["DELETE", "a"], ["DELETE"], ["DELETE", "x", "y"],
        ]:
            with self.subTest(command):
                self.both("FUNCTION", *command)
                for call in ("f", "g", "h"):
                    self.both("FCALL", call, 0)
                self.both("FUNCTION", "STATS")

    def test_other_subcommands(self):
        for resp in (2, 3):
            self.resp(resp)
            self.both("FUNCTION", "FLUSH")
            self.both("FUNCTION", "LOAD", library("lib", named(
                f"function_name='f', {F}, flags={{'no-writes','allow-stale'}}, description='d'")))
            for command in ["FLUSH x", "FLUSH SYNC x", "LIST x", "LIST", "LIST WITHCODE",
                            "LIST LIBRARYNAME", "LIST LIBRARYNAME a LIBRARYNAME b",
                            "LIST WITHCODE WITHCODE", "LIST WITHCODE LIBRARYNAME L?B",
                            "LIST libraryname nope", "STATS", "STATS x", "KILL", "DUMP", "DUMP x",
                            "RESTORE", "RESTORE x", "RESTORE x y z", "RESTORE x y", "nope",
                            "FLUSH async", "FLUSH", "STATS", "DUMP", ""]:
                with self.subTest(command, resp=resp):
                    self.both("FUNCTION", *command.split())

    def test_help(self):
        ours, theirs = self.ours.ok("FUNCTION", "HELP"), self.theirs.ok("FUNCTION", "HELP")
        self.assertEqual(ours[:-1], theirs[:-1])  # the last line is that of Redis 7.2

    def test_calls(self):
        for resp in (2, 3):
            self.resp(resp)
            self.both("FUNCTION", "LOAD", "REPLACE", RUNS)
            for call in CALLS:
                for command in ("FCALL", "FCALL_RO"):
                    with self.subTest(call, command=command, resp=resp):
                        self.both("DEL", "h")
                        self.both("HSET", "h", "f", "v")
                        self.both(command, *call)

    def test_in_transactions(self):
        self.both("MULTI")
        self.both("FUNCTION", "LOAD", library("l", returns("f", "redis.call('INCR', 'n')")))
        self.both("FCALL", "f", 0)
        self.both("FCALL", "nope", 0)
        self.both("FUNCTION", "DELETE", "l")
        self.both("FCALL", "f", 0)
        self.both("EXEC")
        self.both("GET", "n")

    def test_same_name_in_another_case(self):
        self.both("FUNCTION", "LOAD", library("one", returns("Mine", 1)))
        for name in ("mine", "MINE", "Mine"):
            self.both("FCALL", name, 0)
        self.both("FUNCTION", "LOAD", library("two", returns("mINE", 2)))
        self.both("FUNCTION", "LOAD", library("ONE", returns("other", 3)))
        self.both("FCALL", "OTHER", 0)


class Payloads(Beside):
    """DUMP of one is RESTORE of the other."""

    def names(self, client):
        return sorted(bytes(entry.get(b"library_name") if isinstance(entry, support.Map)
                            else entry[1]) for entry in client.ok("FUNCTION", "LIST"))

    def libraries(self, seed):
        rng = random.Random(seed)
        long = "-- " + "".join(rng.choices("abc \n", k=4000)).replace("\n", "\n-- ") + "\n"
        return [library(f"lib{i}", (long if i % 2 else "") + returns(f"f{i}", f"'{i}'"))
                for i in range(rng.randint(2, 9))]

    def test_one_library_is_the_same_bytes(self):
        for text in self.libraries(1):
            self.both("FUNCTION", "FLUSH")
            self.both("FUNCTION", "LOAD", text)
            payload = self.both("FUNCTION", "DUMP")
            self.assertGreater(len(payload), 50)

    def test_both_ways(self):
        for seed in range(5):
            texts = self.libraries(seed)
            for source, target in ((self.ours, self.theirs), (self.theirs, self.ours)):
                for client in (source, target):
                    client.ok("FUNCTION", "FLUSH")
                for text in texts:
                    source.ok("FUNCTION", "LOAD", text)
                self.assertEqual(target.call("FUNCTION", "RESTORE", source.ok("FUNCTION", "DUMP")),
                                 support.OK)
                self.assertEqual(self.names(target), self.names(source))
                for i in range(len(texts)):
                    self.assertEqual(target.call("FCALL", f"f{i}", 0), b"%d" % i)

    def test_policies(self):
        def payload(*texts):
            self.ours.ok("FUNCTION", "FLUSH")
            for text in texts:
                self.ours.ok("FUNCTION", "LOAD", text)
            return self.ours.ok("FUNCTION", "DUMP")

        one = payload(library("x", returns("g", 1)))
        two = payload(library("x", returns("h", 2)), library("n", returns("n", 2)))
        crossed = payload(library("xx", returns("g", 3)))
        none = payload()
        self.ours.ok("FUNCTION", "FLUSH")
        for data in (one, two, crossed, none, one[:-1], one[1:], b"", b"x" * 20):
            for policy in ("", "APPEND", "REPLACE", "replace", "FLUSH", "nope"):
                self.both("FUNCTION", "RESTORE", data, *policy.split())
                self.assertEqual(self.names(self.ours), self.names(self.theirs))
                for call in ("g", "h", "n"):
                    self.both("FCALL", call, 0)


class Dumps(unittest.TestCase):
    """SAVE writes the libraries, the start reads them: ours and redis-server's."""

    TEXTS = [library(f"lib{i}", returns(f"f{i}", i)) for i in range(3)]

    def start(self, make, folder):
        server = make("--dir", folder, "--dbfilename", "functions.rdb", "--save", "")
        self.addCleanup(server.stop, None)
        return server

    def test_each_reads_the_dump_of_each(self):
        for writer in (support.server, support.oracle):
            for reader in (support.server, support.oracle):
                with tempfile.TemporaryDirectory() as folder:
                    with self.start(writer, folder).client() as client:
                        for text in self.TEXTS:
                            client.ok("FUNCTION", "LOAD", text)
                        client.ok("SET", "k", "v")
                        client.ok("SAVE")
                    with self.start(reader, folder).client() as client:
                        client.ok("PING")
                        for i in range(3):
                            self.assertEqual(client.call("FCALL", f"f{i}", 0), i)
                        self.assertEqual(client.call("GET", "k"), b"v")
                        self.assertEqual(len(client.ok("FUNCTION", "LIST")), 3)

    def test_reload(self):
        with tempfile.TemporaryDirectory() as folder:
            server = support.server("--dir", folder, "--enable-debug-command", "yes")
            self.addCleanup(server.stop, None)
            with server.client() as client:
                client.ok("FUNCTION", "LOAD", self.TEXTS[0])
                self.assertEqual(client.call("DEBUG", "RELOAD"), support.OK)
                client.ok("FUNCTION", "LOAD", self.TEXTS[1])
                reply = client.call("DEBUG", "RELOAD", "NOFLUSH")
                self.assertIn(b"Error trying to load the RDB dump", reply)
                self.assertEqual(client.call("DEBUG", "RELOAD", "NOFLUSH", "MERGE"), support.OK)
                self.assertEqual(client.call("FCALL", "f1", 0), 1)
                client.ok("FUNCTION", "LOAD", self.TEXTS[2])
                self.assertEqual(client.call("DEBUG", "RELOAD", "NOSAVE"), support.OK)
                self.assertEqual(client.call("FCALL", "f1", 0), 1)
                self.assertEqual(client.call("FCALL", "f2", 0), b"ERR Function not found")


class Workers(support.ServerTest):
    """Connections of several workers."""

    def setUp(self):
        self.clients = [self.server.client() for _ in range(8)]
        self.clients[0].ok("FUNCTION", "FLUSH")

    def tearDown(self):
        for client in self.clients:
            client.close()

    def test_every_connection_sees_an_answered_change(self):
        rng = random.Random(7)
        for step in range(100):
            writer, reader = rng.sample(self.clients, 2)
            writer.ok("FUNCTION", "LOAD", "REPLACE", library("l", returns("f", step)))
            self.assertEqual(reader.call("FCALL", "f", 0), step)
            if step % 10 == 9:
                writer.ok("FUNCTION", "DELETE", "l")
                for client in self.clients:
                    self.assertEqual(client.call("FCALL", "f", 0), b"ERR Function not found")

    def test_a_failed_load_changes_nothing(self):
        self.clients[0].ok("FUNCTION", "LOAD", library("l", returns("f", "'old'")))
        for bad in (returns("f", "'new'") + "error()", returns("f", "'new'") + "foo bar",
                    returns("f", "'new'") + returns("f-", 1), "", "while true do end"):
            reply = self.clients[1].call("FUNCTION", "LOAD", "REPLACE", library("l", bad))
            self.assertIsInstance(reply, support.Error)
            for client in self.clients:
                self.assertEqual(client.call("FCALL", "f", 0), b"old")
        payload = self.clients[0].ok("FUNCTION", "DUMP")
        reply = self.clients[1].call("FUNCTION", "RESTORE", payload)
        self.assertEqual(reply, b"ERR Library l already exists")

    def test_never_half_of_a_change(self):
        """The two functions of a library change at one moment: who calls now one, now the other,
        only ever sees newer versions."""
        done = threading.Event()
        wrong = []

        def check(client):
            newest = 0
            while not done.is_set():
                for name in ("f", "g"):
                    value = client.call("FCALL", name, 0)
                    if not isinstance(value, int) or value < newest:
                        wrong.append((name, value, newest))
                        return
                    newest = value

        self.clients[0].ok("FUNCTION", "LOAD", library("l", returns("f", 0) + returns("g", 0)))
        threads = [threading.Thread(target=check, args=(c,)) for c in self.clients[1:]]
        for thread in threads:
            thread.start()
        for version in range(1, 200):
            text = library("l", returns("f", version) + returns("g", version))
            self.clients[0].ok("FUNCTION", "LOAD", "REPLACE", text)
        done.set()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])

    def test_keys_anywhere(self):
        """A function that touches keys it did not name, on all shards, is all or nothing."""
        client = self.clients[0]
        client.ok("FLUSHALL")
        client.ok("FUNCTION", "LOAD", library("l", """
redis.register_function('spread', function(keys, args)
  for i = 1, 50 do redis.call('INCR', 'key' .. i) end
  return redis.call('GET', 'key50')
end)"""))
        for step in range(1, 20):
            self.assertEqual(self.clients[step % 8].call("FCALL", "spread", 0), b"%d" % step)
        self.assertEqual(set(client.ok("MGET", *[f"key{i}" for i in range(1, 51)])), {b"19"})

    def test_locals_of_a_library(self):
        """They outlive calls, and changes of other libraries, on each worker."""
        client = self.clients[0]
        client.ok("FUNCTION", "LOAD", library("l", "local n = 0\n"
                                              "redis.register_function('count', function() "
                                              "n = n + 1 return n end)"))
        for step in range(1, 6):
            self.assertEqual(client.call("FCALL", "count", 0), step)
            client.ok("FUNCTION", "LOAD", "REPLACE", library("other", returns("x", step)))


    def test_a_library_may_go_while_its_function_runs(self):
        runner, other, caller = self.clients[:3]
        other.ok("FUNCTION", "LOAD", library("l", """
redis.register_function('slow', function(k)
  for i = 1, 1e8 do end
  return redis.call('GET', k[1])
end)"""))
        other.ok("SET", "k", "v")
        runner.send("FCALL", "slow", 1, "k")
        until(lambda: other.ok("FUNCTION", "STATS")[1], "the function is not seen running")
        for step in range(20):
            other.ok("FUNCTION", "LOAD", "REPLACE", library("l", returns("x", step)))
        caller.send("FCALL", "x", 1, "k")  # looks at the new libraries, then waits for the key
        other.ok("FUNCTION", "FLUSH")
        self.assertEqual(runner.read(), b"v")
        self.assertIn(caller.read(), (19, b"ERR Function not found"))


class Endless(support.ServerTest):
    options = ["--busy-reply-threshold", "50"]

    def test_stats_and_kill(self):
        with self.server.client() as runner, self.server.client(3) as watcher:
            watcher.ok("FUNCTION", "LOAD", library("l", """
redis.register_function('loop', function() while true do end end)
redis.register_function('writer', function(k) redis.call('SET', k[1], 1) return 1 end)"""))
            runner.send("FCALL", "loop", 1, "k", "arg")

            def running():
                return watcher.ok("FUNCTION", "STATS").get(b"running_script")

            until(running, "the function is not seen running")
            script = running()
            self.assertEqual(script.get(b"name"), b"loop")
            self.assertEqual(script.get(b"command"), [b"FCALL", b"loop", b"1", b"k", b"arg"])
            first = script.get(b"duration_ms")
            until(lambda: running().get(b"duration_ms") > first, "time stands still")
            until(lambda: isinstance(watcher.call("GET", "k"), support.Error), "nobody is busy")
            reply = watcher.call("SCRIPT", "KILL")
            self.assertEqual(reply, b"BUSY Redis is busy running a script. You can only call "
                                    b"FUNCTION KILL or SHUTDOWN NOSAVE.")
            self.assertEqual(watcher.call("FUNCTION", "KILL"), support.OK)
            self.assertIn(b"Script killed by user", runner.read())
            self.assertIsNone(running())
            self.assertEqual(runner.call("FCALL", "writer", 1, "k"), 1)


if __name__ == "__main__":
    unittest.main()
