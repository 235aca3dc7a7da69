"""DEBUG beside Debian's redis-server: who may use it, and the subcommands that test suites use."""

import random
import re
import string
import sys
import threading
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import support  # noqa: E402

REFUSED = (b'ERR DEBUG command not allowed. If the enable-debug-command option is set to "local", '
           b"you can run it from a local connection, otherwise you need to set this option in the "
           b"configuration file, and then restart the server.")


class Permission(unittest.TestCase):
    def try_debug(self, *options):
        with support.server(*options) as server, server.client() as client:
            return client.call("DEBUG", "STRINGMATCH-LEN", "a*", "abc")

    def test_who_may(self):
        self.assertEqual(self.try_debug(), REFUSED)
        self.assertEqual(self.try_debug("--enable-debug-command", "no"), REFUSED)
        self.assertEqual(self.try_debug("--enable-debug-command", "yes"), 1)
        self.assertEqual(self.try_debug("--enable-debug-command", "local"), 1)

    def test_strangers(self):
        """`local` means loopback and Unix sockets."""
        address = support.own_address()
        if not address:
            self.skipTest("this machine has no address but the loopback")
        with support.server("--enable-debug-command", "local", "--protected-mode", "no",
                            "--bind", address, support.HOST, "--unixsocket", "s") as server:
            with support.Client((address, server.port)) as client:
                self.assertEqual(client.call("DEBUG", "HELP"), REFUSED)
            with server.client() as client:
                self.assertIsInstance(client.call("DEBUG", "HELP"), list)
            with support.Client(server.folder / "s") as client:
                self.assertIsInstance(client.call("DEBUG", "HELP"), list)


class Debug(support.ServerTest):
    options = ["--enable-debug-command", "yes"]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.peer = support.oracle("--enable-debug-command", "yes")
        cls.addClassCleanup(cls.peer.stop)

    def setUp(self):
        super().setUp()
        self.ours = self.client()
        self.theirs = self.peer.client()
        self.addCleanup(self.theirs.close)
        self.theirs.ok("FLUSHALL")

    def same(self, *args):
        ours, theirs = self.ours.call(*args), self.theirs.call(*args)
        self.assertEqual(ours, theirs, args)
        return ours


class Small(Debug):
    def test_mistakes(self):
        for args in (["NOSUCH"], ["SLEEP"], ["SLEEP", "1", "2"], ["OBJECT"], ["POPULATE"],
                     ["POPULATE", "abc"], ["POPULATE", "-1"], ["POPULATE", "1", "k", "abc"],
                     ["POPULATE", "1", "k", "-2"], ["POPULATE", "1", "k", "1", "1"], ["ERROR"],
                     ["PROTOCOL"], ["PROTOCOL", "nosuch"], ["LOG"], ["SET-ACTIVE-EXPIRE"],
                     ["OBJECT", "missing"], ["SDSLEN", "missing"], ["HTSTATS", "99"],
                     ["HTSTATS", "-1"], ["CHANGE-REPL-ID", "1"]):
            with self.subTest(args=args):
                self.assertIsInstance(self.same("DEBUG", *args), support.Error)
        self.same("DEBUG")

    def test_every_type(self):
        kinds = ("string integer double bignum null array set map attrib push verbatim true false "
                 "NULL").split()
        for resp in (2, 3):
            for kind in kinds:
                with self.subTest(resp=resp, kind=kind):
                    self.assertEqual(self.bytes_of(self.server, resp, kind),
                                     self.bytes_of(self.peer, resp, kind))

    def bytes_of(self, server, resp, kind):
        """All that comes in answer to DEBUG PROTOCOL, up to the PONG behind it."""
        with server.client(resp) as client:
            client.send("DEBUG", "PROTOCOL", kind)
            client.send("PING")
            while not client.buffer.endswith(b"+PONG\r\n"):
                client.fill()
            return bytes(client.buffer)

    def test_error_and_log(self):
        for text in ("ERR my text", "FOO", "two\r\nlines", b"\xff bytes"):
            self.same("DEBUG", "ERROR", text)
        self.assertEqual(self.ours.ok("PING"), support.PONG)
        self.same("DEBUG", "LOG", "a word\r\nfor the log")
        self.assertIn("DEBUG LOG: a word  for the log", self.server.log())

    def test_accepted(self):
        self.same("DEBUG", "CHANGE-REPL-ID")
        self.same("DEBUG", "QUICKLIST-PACKED-THRESHOLD", "100b")
        self.same("DEBUG", "SET-ACTIVE-EXPIRE", "1")
        self.assertEqual(self.ours.call("DEBUG", "DICT-RESIZING", "0"), support.OK)
        self.assertEqual(self.ours.call("DEBUG", "STRINGMATCH-LEN", "a*c", "abbb"), 0)
        self.assertIn(b"number of elements", self.ours.ok("DEBUG", "HTSTATS", "0"))
        self.same("DEBUG", "DIGEST")

    def test_help(self):
        reply = self.ours.ok("DEBUG", "HELP")
        self.assertEqual(reply[0], self.theirs.ok("DEBUG", "HELP")[0])
        self.assertEqual(reply[-2], b"HELP")

    def test_refused(self):
        for args in (["SEGFAULT"], ["PANIC"], ["ASSERT"], ["OOM"], ["RESTART"],
                     ["CRASH-AND-RECOVER", "0"],
                     ["LOADAOF"], ["LEAK", "x"]):
            with self.subTest(args=args):
                self.assertIn(b"not ", self.ours.call("DEBUG", *args))
        self.assertEqual(self.ours.ok("PING"), support.PONG)


class Keys(Debug):
    LINE = re.compile(rb"Value at:0x[0-9a-f]+ (refcount:\d+ encoding:\w+ serializedlength:\d+) "
                      rb"lru:\d+ (lru_seconds_idle:\d+)$")

    def object_line(self, client, key):
        reply = client.ok("DEBUG", "OBJECT", key)
        self.assertIsInstance(reply, support.Status)
        return self.LINE.match(reply).groups()

    def test_object(self):
        values = ["", "x", "hello", string.ascii_letters[:44], "0", "7", "-129", "32767", "9999",
                  "10000", "2147483647", "2147483648", "-9223372036854775808", "1.5",
                  "0123456789ABCDE!?"]
        for n, value in enumerate(values):
            key = f"key:{n}"
            self.ours.ok("SET", key, value)
            self.theirs.ok("SET", key, value)
            with self.subTest(value=value):
                self.assertEqual(self.object_line(self.ours, key),
                                 self.object_line(self.theirs, key))
        self.ours.ok("SET", "long", "z" * 20000)  # Redis compresses it
        self.assertIn(b"encoding:raw serializedlength:20005",
                      self.ours.ok("DEBUG", "OBJECT", "long"))

    def test_object_is_in_order(self):
        """A pipeline's writes to any shard are there when DEBUG OBJECT's turn comes."""
        for n in range(100):
            replies = self.ours.pipeline([("SET", f"k{n}", "v"), ("DEBUG", "OBJECT", f"k{n}"),
                                          ("DEL", f"k{n}"), ("DEBUG", "OBJECT", f"k{n}")])
            self.assertRegex(replies[1], b"encoding:embstr")
            self.assertEqual(replies[3], b"ERR no such key")

    def test_object_leaves_no_trace(self):
        self.ours.ok("SET", "k", "v")
        stats = [self.ours.ok("INFO", "stats")]
        self.ours.ok("DEBUG", "OBJECT", "k")
        self.ours.call("DEBUG", "OBJECT", "missing")
        stats.append(self.ours.ok("INFO", "stats"))
        hits = [re.search(rb"keyspace_hits:\d+\r\nkeyspace_misses:\d+", s).group() for s in stats]
        self.assertEqual(hits[0], hits[1])

    def test_databases(self):
        self.ours.ok("SELECT", "3")
        self.ours.ok("SET", "k", "v")
        self.assertTrue(self.ours.ok("DEBUG", "OBJECT", "k"))
        self.ours.ok("SELECT", "0")
        self.assertEqual(self.ours.call("DEBUG", "OBJECT", "k"), b"ERR no such key")

    def test_sdslen(self):
        for client in (self.ours, self.theirs):
            client.ok("SET", "number", "12")
            client.ok("SET", "text", "hello")
        self.same("DEBUG", "SDSLEN", "number")
        want = rb"key_sds_len:4, key_sds_avail:0, key_zmalloc: \d+, val_sds_len:5, val_sds_avail:0"
        for client in (self.ours, self.theirs):
            self.assertRegex(client.ok("DEBUG", "SDSLEN", "text"), want)


class Populate(Debug):
    def contents(self, client):
        keys = sorted(client.ok("KEYS", "*"))
        return dict(zip(keys, client.ok("MGET", *keys))) if keys else {}

    def test_like_the_original(self):
        for args in (["0"], ["100"], ["20", "prefix"], ["20", "p2", "4"], ["20", "p3", "30"],
                     ["5", ""], ["3", "x" * 200], ["10", "{tag}"], ["30", "prefix", "7"]):
            self.same("DEBUG", "POPULATE", *args)
            self.assertEqual(self.contents(self.ours), self.contents(self.theirs), args)
        self.assertEqual(self.ours.ok("DBSIZE"), self.theirs.ok("DBSIZE"))

    def test_existing_keys_stay(self):
        for client in (self.ours, self.theirs):
            client.ok("SET", "key:5", "mine")
            client.ok("SET", "key:6", "mine", "PX", "1")
        time.sleep(0.05)
        self.same("DEBUG", "POPULATE", "10")
        self.assertEqual(self.contents(self.ours), self.contents(self.theirs))
        self.assertEqual(self.ours.ok("TTL", "key:6"), -1)

    def test_many_over_all_shards(self):
        self.ours.ok("DEBUG", "POPULATE", "50000")
        self.assertEqual(self.ours.ok("DBSIZE"), 50000)
        text = self.ours.ok("INFO", "splitring").decode()
        counts = [int(n) for n in re.findall(r"^shard\d+:keys=(\d+)", text, re.M)]
        self.assertEqual(sum(counts), 50000)
        self.assertGreater(min(counts), 50000 / len(counts) * 0.9)

    def test_other_database(self):
        self.ours.ok("SELECT", "2")
        self.ours.ok("DEBUG", "POPULATE", "10")
        self.assertEqual(self.ours.ok("DBSIZE"), 10)
        self.ours.ok("SELECT", "0")
        self.assertEqual(self.ours.ok("DBSIZE"), 0)

    def test_no_memory(self):
        reply = self.ours.call("DEBUG", "POPULATE", "1", "k", str(1 << 62))
        self.assertIsInstance(reply, support.Error)
        self.assertEqual(self.ours.ok("PING"), support.PONG)


class Sleep(Debug):
    def test_all_stand_still(self):
        """No connection, of whichever worker, is served while the server sleeps."""
        clients = [self.client() for _ in range(12)]
        for client in clients:
            client.ok("PING")
        self.ours.send("DEBUG", "SLEEP", "0.6")
        time.sleep(0.2)
        begun = time.monotonic()
        waited = []

        def ask(client):
            client.ok("PING")
            waited.append(time.monotonic() - begun)
        threads = [threading.Thread(target=ask, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(self.ours.read(), support.OK)
        self.assertGreater(min(waited), 0.25)

    def test_time(self):
        for seconds in (0, 0.3):
            begun = time.monotonic()
            self.assertEqual(self.ours.call("DEBUG", "SLEEP", seconds), support.OK)
            self.assertGreaterEqual(time.monotonic() - begun, seconds)
        self.assertEqual(self.ours.call("DEBUG", "SLEEP", "-1"), support.OK)
        self.assertIsInstance(self.ours.call("DEBUG", "SLEEP", "soon"), support.Error)

    def test_in_a_pipeline(self):
        replies = self.ours.pipeline([("SET", "a", 1), ("DEBUG", "SLEEP", "0.1"), ("GET", "a"),
                                      ("INCR", "a")])
        self.assertEqual(replies, [support.OK, support.OK, b"1", 2])

    def test_from_many(self):
        clients = [self.client() for _ in range(6)]
        for client in clients:
            client.send("DEBUG", "SLEEP", "0.05")
        for client in clients:
            self.assertEqual(client.read(), support.OK)


class ActiveExpire(Debug):
    def keys_left(self):
        text = self.ours.ok("INFO", "keyspace").decode()
        found = re.search(r"db0:keys=(\d+)", text)
        return int(found.group(1)) if found else 0

    def wait_for(self, count, seconds):
        deadline = time.monotonic() + seconds
        while self.keys_left() != count and time.monotonic() < deadline:
            time.sleep(0.05)
        return self.keys_left()

    def test_off_and_on(self):
        self.ours.ok("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        self.ours.pipeline([("SET", f"k{n}", "v", "PX", "20") for n in range(200)])
        time.sleep(0.6)
        self.assertEqual(self.keys_left(), 200)
        self.assertIsNone(self.ours.ok("GET", "k0"))  # lazily, as ever
        self.assertEqual(self.keys_left(), 199)
        self.ours.ok("DEBUG", "SET-ACTIVE-EXPIRE", "1")
        self.assertEqual(self.wait_for(0, 20), 0)


class Mixture(unittest.TestCase):
    """Administration in the midst of pipelines: workers stop, wait and ask each other while batches
    of other connections are on their way, and every reply is still the right one, in order."""

    SECONDS = 2
    CLIENTS = 10

    def commands(self, rng, own, values):
        """A pipeline on this client's own keys, as (command, check of its reply)."""
        for _ in range(rng.randrange(1, 40)):
            key = f"{own}:{rng.randrange(20)}"
            kind = rng.random()
            if kind < 0.35:
                values[key] = b"%f" % rng.random()
                yield ("SET", key, values[key]), support.OK.__eq__
            elif kind < 0.7:
                yield ("GET", key), (lambda reply, want=values.get(key): reply == want)
            elif kind < 0.75:
                there = values.pop(key, None) is not None
                yield ("DEL", key), int(there).__eq__
            elif kind < 0.8:
                keys = [f"{own}:{rng.randrange(20)}" for _ in range(4)]
                yield ("MGET", *keys), [values.get(k) for k in keys].__eq__
            elif kind < 0.85:
                yield ("INFO",), (lambda reply: reply.startswith(b"# Server"))
            elif kind < 0.92:
                want = b"Value at" if key in values else b"ERR no such key"
                yield ("DEBUG", "OBJECT", key), (lambda reply, want=want: reply.startswith(want))
            elif kind < 0.95:
                yield ("DEBUG", "SLEEP", "0"), support.OK.__eq__
            elif kind < 0.97:
                yield ("DEBUG", "POPULATE", "20", f"p{own}"), support.OK.__eq__
            else:
                yield ("CONFIG", "SET", "timeout", "0"), support.OK.__eq__

    def client(self, server, own, deadline, wrong):
        rng, values = random.Random(own), {}
        try:
            with server.client() as client:
                while time.monotonic() < deadline:
                    batch = list(self.commands(rng, own, values))
                    replies = client.pipeline([command for command, _ in batch])
                    wrong += [(command, reply) for (command, fine), reply in zip(batch, replies)
                              if not fine(reply)]
        except OSError as error:
            wrong.append(error)

    def mix(self, *options):
        wrong = []
        with support.server("--enable-debug-command", "yes", *options) as server:
            deadline = time.monotonic() + self.SECONDS
            threads = [threading.Thread(target=self.client, args=(server, own, deadline, wrong))
                       for own in range(self.CLIENTS)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        self.assertEqual(wrong[:5], [])

    def test_lending(self):
        self.mix("--shard-lending", "yes")

    def test_messages(self):
        self.mix("--shard-lending", "no")


if __name__ == "__main__":
    unittest.main()
