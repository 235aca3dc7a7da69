"""SLOWLOG and COMMANDLOG.

  scripts   with `slowlog-log-slower-than 0` every command is there once, in order, with arguments
            shortened and secrets hidden as Debian's redis-server does, RESP2 and RESP3
  valkey    COMMANDLOG beside Valkey, where that is to be had: types, sizes to the byte
  workers   one log over all workers: ids without gaps, newest first, bounded, emptied as one;
            commands at other shards, over several shards, in MULTI, blocked, by fan-out
  stages    SLOWLOG STAGES tells queueing and waiting apart from running
Each with as many workers as the runner says, with borrowed shards and with messages only.
"""

import os
import sys
import threading
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import support  # noqa: E402

VALKEY = support.ROOT / "bench/peers/.cache/valkey-server"
ALL = ["CONFIG", "SET", "slowlog-log-slower-than", "0"]

SCRIPT = [
    ("SET", "k", "v"), ("GET", "k"), ("get", "k"), ("PING",), ("NOSUCH", "x"), ("GET",),
    ("MGET", "a", "b", "c", "d", "e", "f"), ("MSET", *"a1b2c3d4e5f6"), ("DEL", *"abcdef"),
    ("AUTH", "secret"), ("AUTH", "user", "secret"), ("HELLO", "2", "AUTH", "user", "secret"),
    ("CONFIG", "SET", "masterauth", "secret", "maxclients", "500"),
    ("CONFIG", "SET", "nosuch", "x"), ("CONFIG", "GET", "maxclients"),
    ("MIGRATE", "127.0.0.1", "1", "nokey", "0", "10", "AUTH", "secret"),
    ("MIGRATE", "127.0.0.1", "1", "nokey", "0", "10", "AUTH2", "user", "secret"),
    ("MIGRATE", "127.0.0.1", "1", "nokey", "0", "10", "COPY", "AUTH2", "u", "s"),
    ("SET", "long", "x" * 128), ("SET", "long", "x" * 129), ("SET", "long", "y" * 5000),
    ("SET", "big", "z" * 200_000), ("GETSET", "big", "q" * 100_000),
    ("APPEND", "big", "r" * 70_000),
    ("SADD", "s", *map(str, range(29))), ("SADD", "s", *map(str, range(30))),
    ("SADD", "s", *map(str, range(31))), ("SADD", "s", *map(str, range(100))),
    ("MULTI",), ("SET", "in", "1"), ("INCR", "in"), ("MGET", "in", "k"), ("EXEC",), ("EXEC",),
    ("MULTI",), ("GET",), ("EXEC",), ("MULTI",), ("DISCARD",), ("WATCH", "k"), ("UNWATCH",),
    ("LPUSH", "list", "a"), ("BLPOP", "list", "1"), ("BLPOP", "nolist", "0.02"),
    ("CLIENT", "SETNAME", "me"), ("GET", "named"), ("CLIENT", "GETNAME"), ("CLIENT", "SETNAME", ""),
    ("RENAME", "k", "k2"), ("RENAME", "nosuch", "k2"), ("COPY", "k2", "k3"), ("DBSIZE",),
    ("RANDOMKEY",), ("KEYS", "k*"), ("SCAN", "0", "COUNT", "1"), ("INFO", "server"),
    ("CLIENT", "LIST"), ("SUBSCRIBE", "c"), ("UNSUBSCRIBE", "c"), ("PUBLISH", "c", "m"),
    ("SELECT", "1"), ("SELECT", "0"), ("FLUSHALL",), ("\xff\n", "x"), ("SET", "", ""),
    ("SLOWLOG", "LEN"), ("SLOWLOG", "GET", "1"), ("SLOWLOG", "HELP"),
]
MISTAKES = [("SLOWLOG", "GET", "-2"), ("SLOWLOG", "GET", "x"), ("SLOWLOG", "GET", "1", "2"),
            ("SLOWLOG", "FOO"), ("SLOWLOG",), ("SLOWLOG", "LEN", "x"), ("SLOWLOG", "RESET", "x"),
            ("SLOWLOG", "GET", "99999999999999999999")]


def plain(entries):
    """Entries without what differs: id, time, duration, address."""
    for entry in entries:
        assert len(entry) == 6, entry
        assert entry[2] >= 0 and abs(entry[1] - time.time()) < 3600, entry
        assert b":" in entry[4], entry
    return [(entry[3], entry[5]) for entry in entries]


class Setting:
    lending = "yes"

    @classmethod
    def setUpClass(cls):
        cls.server = support.server("--shard-lending", cls.lending, "--enable-debug-command", "yes")
        cls.addClassCleanup(cls.server.stop)

    def setUp(self):
        self.c = self.server.client()
        self.addCleanup(self.c.close)
        self.c.ok("FLUSHALL")
        self.c.ok("CONFIG", "SET", "slowlog-max-len", "1000", "commandlog-request-larger-than",
                  "1048576", "commandlog-reply-larger-than", "1048576", *ALL[2:])
        self.c.ok("SLOWLOG", "RESET")
        self.c.ok("SLOWLOG", "RESET")  # the first one is logged after it has emptied the log

    def logged(self, client=None):
        """Arguments of all entries, oldest first, without the commands about the log."""
        entries = (client or self.c).ok("SLOWLOG", "GET", "-1")
        return [b" ".join(e[3]).decode() for e in entries[::-1] if e[3][0] != b"SLOWLOG"]


class Scripts(Setting, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.peer = support.oracle()
        cls.addClassCleanup(cls.peer.stop)

    def run_script(self, server, resp):
        with server.client(resp=resp) as client:
            client.ok(*ALL)
            client.ok("CONFIG", "SET", "slowlog-max-len", "1000")
            client.ok("FLUSHALL")
            client.ok("SLOWLOG", "RESET")
            for command in SCRIPT:
                client.send(*(a.encode("latin-1") for a in command))
                client.read()
            for command in MISTAKES:
                client.send(*command)
                client.read()
            return client.ok("SLOWLOG", "GET", "-1")

    def test_every_command_once(self):
        for resp in (2, 3):
            ours, theirs = (plain(self.run_script(s, resp)) for s in (self.server, self.peer))
            self.assertEqual(len(ours), len(theirs))
            for mine, other in zip(ours, theirs):
                self.assertEqual(mine, other)

    def test_mistakes(self):
        with self.peer.client() as theirs:
            for command in MISTAKES:
                self.c.send(*command)
                theirs.send(*command)
                self.assertEqual(self.c.raw(), theirs.raw(), command)

    def test_off(self):
        self.c.ok("CONFIG", "SET", "slowlog-log-slower-than", "-1")
        self.c.ok("SLOWLOG", "RESET")
        self.c.pipeline([("SET", "k", n) for n in range(100)])
        self.assertEqual(self.c.ok("SLOWLOG", "LEN"), 0)

    def test_aliases(self):
        for old, new in (("slowlog-log-slower-than", "commandlog-execution-slower-than"),
                         ("slowlog-max-len", "commandlog-slow-execution-max-len")):
            self.c.ok("CONFIG", "SET", new, "77")
            self.assertEqual(self.c.ok("CONFIG", "GET", old)[1], b"77")
            self.assertEqual(self.c.ok("CONFIG", "GET", new)[1], b"77")


@unittest.skipUnless(VALKEY.exists(), "Valkey is not here (bench/peers)")
class Valkey(Setting, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = support.tempfile.mkdtemp(prefix="splitring-valkey-")
        cls.peer = support.Server([VALKEY, "--save", "", "--dir", folder], "valkey")
        cls.addClassCleanup(cls.peer.stop)

    def both(self, *command):
        with self.server.client() as ours, self.peer.client() as theirs:
            return ours.call(*command), theirs.call(*command)

    def test_mistakes_and_help(self):
        for command in ("GET 1 foo", "GET 1", "GET -2 slow", "GET x slow", "LEN", "LEN foo",
                        "RESET", "RESET foo", "GET 1 2 3", "FOO", "HELP", "RESET large-reply",
                        "LEN SLOW", "RESET SLOW", "LEN large-request"):
            ours, theirs = self.both("COMMANDLOG", *command.split())
            if command != "LEN SLOW":
                self.assertEqual(ours, theirs, command)

    def test_sizes(self):
        limits = ("CONFIG", "SET", "commandlog-request-larger-than", "60",
                  "commandlog-reply-larger-than", "40")
        found = []
        for server in (self.server, self.peer):
            with server.client() as client:
                client.ok("CONFIG", "SET", "commandlog-execution-slower-than", "-1")
                client.ok(*limits)
                for name in ("large-request", "large-reply"):
                    client.ok("COMMANDLOG", "RESET", name)
                for size in [*range(1, 60), 99, 100, 999, 1000, 70_000, 200_000]:
                    client.ok("SET", "k", "v" * size)
                    client.ok("GET", "k")
                    client.ok("MSET", "k", "v" * (size // 2), "j", "w" * (size // 2))
                    client.ok("MGET", "k", "j")
                client.ok("MULTI")
                client.ok("SET", "in", "v" * 100)
                client.ok("GET", "in")
                client.ok("EXEC")
                found.append([[(e[2], e[3]) for e in client.ok("COMMANDLOG", "GET", "-1", name)]
                              for name in ("large-request", "large-reply")])
        for mine, other in zip(*found):
            self.assertTrue(mine)
            mine, other = ([e for e in log if e[1][0] not in (b"EXEC", b"COMMANDLOG", b"CONFIG")]
                           for log in (mine, other))
            # In MULTI Valkey counts what EXEC had replied before as part of it.
            self.assertEqual([e for e in mine if e[1][1:2] != [b"in"]],
                             [e for e in other if e[1][1:2] != [b"in"]])


class Workers(Setting, unittest.TestCase):
    def test_ids_and_order(self):
        clients = [self.server.client() for _ in range(8)]
        for n in range(400):
            clients[n % 8].ok("SET", f"key:{n}", n)
        entries = self.c.ok("SLOWLOG", "GET", "-1")
        ids = [e[0] for e in entries]
        self.assertEqual(ids, list(range(ids[0], ids[0] - len(ids), -1)))
        sets = [e[3][1] for e in entries if e[3][0] == b"SET"]
        self.assertEqual(sets, [b"key:%d" % n for n in range(399, -1, -1)])
        addresses = {e[4] for e in entries if e[3][0] == b"SET"}
        self.assertEqual(addresses, {b"%s:%d" % (h.encode(), p) for h, p in
                                     (c.sock.getsockname() for c in clients)})
        for client in clients:
            client.close()

    def test_pipelines_over_all_shards(self):
        commands = [("SET", f"key:{n}", n) for n in range(300)]
        self.c.pipeline(commands)
        self.assertEqual(self.logged(), [" ".join(map(str, c)) for c in commands])

    def test_multi_shard(self):
        keys = [f"key:{n}" for n in range(20)]
        pairs = [text for key in keys for text in (key, "v")]
        for command in (["MSET", *pairs], ["MGET", *keys], ["DEL", *keys[:15]], ["DBSIZE"],
                        ["SINTERSTORE", "d", "a", "b", "c"], ["FLUSHALL"]):
            self.c.ok(*command)
            seen = self.logged()
            self.assertEqual(len(seen), 1, seen)
            self.assertTrue(seen[0].startswith(" ".join(command)[:60]), seen)
            self.c.ok("SLOWLOG", "RESET")

    def test_bounds(self):
        self.c.ok("CONFIG", "SET", "slowlog-max-len", "10")
        clients = [self.server.client() for _ in range(6)]
        for n in range(60):
            clients[n % 6].ok("SET", f"key:{n}", "x")
        self.assertEqual(self.c.ok("SLOWLOG", "LEN"), 10)
        entries = self.c.ok("SLOWLOG", "GET", "-1")
        self.assertEqual(len(entries), 10)
        self.assertEqual([e[3][1] for e in entries if e[3][0] == b"SET"],
                         [b"key:%d" % n for n in range(59, 50, -1)])
        self.assertEqual(len(self.c.ok("SLOWLOG", "GET", "3")), 3)
        self.assertEqual(self.c.ok("SLOWLOG", "GET", "0"), [])
        self.c.ok("CONFIG", "SET", "slowlog-max-len", "0")
        self.assertEqual(self.c.ok("SLOWLOG", "LEN"), 0)
        for client in clients:
            client.close()

    def test_blocked_only_when_it_ends(self):
        with self.server.client() as blocked:
            blocked.send("BLPOP", "list", "other", "0")
            while b"blocked_clients:1" not in self.c.ok("INFO", "clients"):
                time.sleep(0.005)
            began = time.monotonic()
            self.assertNotIn("BLPOP list other 0", self.logged())
            time.sleep(0.05)
            waited = time.monotonic() - began
            self.c.ok("LPUSH", "list", "x")
            self.assertEqual(blocked.read(), [b"list", b"x"])
            self.assertEqual(self.logged().count("BLPOP list other 0"), 1)
            entry = next(e for e in self.c.ok("SLOWLOG", "GET", "-1")
                         if e[3] == [b"BLPOP", b"list", b"other", b"0"])
            self.assertLess(entry[2], waited * 1e6)  # waiting is not running

    def test_slow_ones_only(self):
        """None is missed, whatever it stands between."""
        self.c.ok("CONFIG", "SET", "slowlog-log-slower-than", "50000")
        self.c.ok("SLOWLOG", "RESET")
        for n in range(5):
            self.c.pipeline([("SET", f"k{i}", i) for i in range(100)] +
                            [("DEBUG", "SLEEP", f"0.0{60 + n}")] + [("GET", "k1")] * 100)
        slow = [e for e in self.c.ok("SLOWLOG", "GET", "-1") if e[3][0] == b"DEBUG"]
        self.assertEqual([e[3][2] for e in slow], [b"0.0%d" % n for n in range(64, 59, -1)])
        for entry in slow:
            self.assertGreaterEqual(entry[2], 60_000)

    def test_many_at_once(self):
        """Emptied and read while others fill it: every entry is whole."""
        stop = threading.Event()
        errors = []

        def fill(number):
            try:
                with self.server.client() as client:
                    while not stop.is_set():
                        client.pipeline([("MSET", f"a{number}", "x" * 300, f"b{number}", n)
                                         for n in range(20)])
            except Exception as error:  # noqa: BLE001 — told by the main thread
                errors.append(error)
        threads = [threading.Thread(target=fill, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        end = time.monotonic() + 1
        while time.monotonic() < end:
            entries = self.c.ok("SLOWLOG", "GET", "200")
            ids = [e[0] for e in entries]
            self.assertEqual(ids, sorted(ids, reverse=True))
            self.assertTrue(all(len(e) == 6 and len(e[3]) in (1, 2, 3, 5) for e in entries))
            self.c.ok("SLOWLOG", "RESET")
        stop.set()
        for thread in threads:
            thread.join()
        self.assertEqual(errors, [])


class WorkersOfMessages(Workers):
    lending = "no"


class Stages(Setting, unittest.TestCase):
    def entry(self, *command):
        want = [str(part).encode() for part in command]
        maps = self.c.ok("SLOWLOG", "STAGES", "-1")
        for entry in (dict(zip(m[0::2], m[1::2])) for m in maps):
            if entry[b"arguments"] == want:
                return entry
        self.fail(f"{command} is not there")

    def test_queued_behind_its_own_pipeline(self):
        self.c.pipeline([("DEBUG", "SLEEP", "0.05"), ("SET", "k", "v")])
        slow, behind = self.entry("DEBUG", "SLEEP", "0.05"), self.entry("SET", "k", "v")
        self.assertGreaterEqual(slow[b"ran-us"], 50_000)
        self.assertLess(behind[b"ran-us"], slow[b"ran-us"])

    def test_shape(self):
        self.c.ok("SET", "k", "v")
        entry = self.entry("SET", "k", "v")
        self.assertEqual(set(entry), {b"id", b"time", b"queued-us", b"waited-us", b"ran-us",
                                      b"worker", b"arguments", b"client"})
        self.assertEqual(self.c.call("SLOWLOG", "STAGES", "-2"),
                         support.Error(b"ERR count should be greater than or equal to -1"))


if __name__ == "__main__":
    os.environ.setdefault("TEST_THREADS", "2")
    unittest.main()
