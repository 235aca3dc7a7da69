"""MONITOR.

  lines     what each command looks like, to the byte beside Debian's redis-server; what is not
            shown; secrets; MULTI; who monitors may not touch keys; RESET, QUIT, CLIENT LIST
  order     with many clients on all workers: all monitors see one order, and replaying it gives
            the values that are stored and the replies that were given
  limits    a monitor that does not read is cut, and stalls nobody
With borrowed shards and with messages only.
"""

import os
import re
import sys
import threading
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import support  # noqa: E402

SCRIPT = [
    ("SET", "k", "v\r\n\t\a\b\0\"\\\x7f\xff é'"), ("get", "k"), ("PING",), ("ECHO", ""),
    ("NOSUCH", "x"), ("GET",), ("AUTH", "secret"), ("AUTH", "user", "secret"),
    ("HELLO", "2", "AUTH", "user", "secret", "SETNAME", "x"), ("CONFIG", "GET", "port"),
    ("CONFIG", "SET", "masterauth", "x"), ("DEBUG", "JMAP"), ("SLOWLOG", "LEN"),
    ("MIGRATE", "127.0.0.1", "1", "nokey", "0", "10", "AUTH2", "user", "secret"),
    ("MULTI",), ("SET", "a", "b"), ("PING",), ("GET", "a"), ("EXEC",), ("Exec",),
    ("MULTI",), ("GET",), ("EXEC",), ("MULTI",), ("DISCARD",), ("MULTI",), ("MONITOR",), ("EXEC",),
    ("SELECT", "3"), ("GET", "k"), ("BLPOP", "nolist", "0.02"), ("LPUSH", "l", "x"),
    ("BLPOP", "l", "0"), ("SELECT", "0"), ("MSET", *"a1b2c3d4e5f6"), ("MGET", *"abcdef"),
    ("DEL", *"abcdef"), ("RENAME", "k", "k2"), ("SINTERSTORE", "d", "x", "y", "z"), ("DBSIZE",),
    ("INFO", "server"), ("CLIENT", "ID"), ("CLIENT", "LIST"), ("TIME",), ("PUBLISH", "c", "m"),
    ("WATCH", "k"), ("UNWATCH",), ("COMMAND", "COUNT"), ("SCAN", "0"), ("FLUSHALL",), ("RESET",),
    ("SET", "last", "x" * 70_000),
]
AS_MONITOR = [("PING",), ("GET", "a"), ("SET", "a", "b"), ("PUBLISH", "a", "b"), ("INFO", "x"),
              ("MULTI",), ("PING",), ("EXEC",), ("RESET",), ("GET", "a")]
LINE = re.compile(rb"^(\d{10})\.(\d{6}) \[(\d+) ([^]]*)\](( \"([^\"\\]|\\.)*\")+)$", re.S)
ARG = re.compile(rb' "((?:[^"\\]|\\.)*)"', re.S)


def shape(line, me):
    """A line without time and port."""
    match = LINE.match(line)
    assert match, line
    who = b"me" if match[4] == b"%s:%d" % (me[0].encode(), me[1]) else match[4]
    return match[3], who, match[5]


def monitor(server):
    client = server.client()
    client.ok("MONITOR")
    return client


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


class Lines(Setting, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.peer = support.oracle("--enable-debug-command", "yes")
        cls.addClassCleanup(cls.peer.stop)

    def seen(self, server):
        with server.client() as client, monitor(server) as watching:
            for command in SCRIPT:
                client.send(*(a.encode("latin-1") for a in command))
                client.read()
            lines = []
            me = client.sock.getsockname()
            while not lines or b'"last"' not in lines[-1]:
                lines.append(bytes(watching.read()))
            return [shape(line, me) for line in lines]

    def test_every_line(self):
        ours, theirs = self.seen(self.server), self.seen(self.peer)
        for mine, other in zip(ours, theirs):
            self.assertEqual(mine, other)
        self.assertEqual(len(ours), len(theirs))

    def test_as_monitor(self):
        replies = []
        for server in (self.server, self.peer):
            with monitor(server) as watching:
                got = []
                for command in AS_MONITOR:
                    watching.send(*command)
                    reply = watching.read()
                    while LINE.match(bytes(reply)) if isinstance(reply, support.Status) else False:
                        reply = watching.read()
                    got.append((command, reply))
                replies.append([r for r in got if r[0][0] != "INFO"])
        self.assertEqual(*replies)

    def test_twice_is_not_answered(self):
        for server in (self.server, self.peer):
            with monitor(server) as watching:
                watching.send("MONITOR")
                self.assertEqual(watching.call("PING"), support.PONG)

    def test_client_list_and_end(self):
        watching = monitor(self.server)
        self.assertIn(b" flags=O ", self.c.ok("CLIENT", "LIST"))
        watching.ok("RESET")
        self.assertNotIn(b" flags=O ", self.c.ok("CLIENT", "LIST"))
        watching.ok("MONITOR")
        watching.send("QUIT")
        self.assertTrue(watching.closed_by_server())
        self.c.ok("SET", "k", "v")

    def test_scripts(self):
        """The script before its commands, and where it does nothing."""
        library = "#!lua name=m\nredis.register_function('f', function() return " \
                  "redis.call('SET', 'foo', 'bar') end)"
        script = "redis.call('SET', KEYS[1], ARGV[1]); return redis.call('GET', KEYS[2])"
        seen = []
        for server in (self.server, self.peer):
            with server.client() as client, monitor(server) as watching:
                me = client.sock.getsockname()
                for command in (("EVAL", script, 2, "foo", "k2", "v"), ("EVALSHA", "f" * 40, 0),
                                ("EVAL", "return 1", "x"), ("EVAL", "syntax", 0),
                                ("MULTI",), ("EVAL", script, 2, "foo", "k3", "w"), ("EXEC",),
                                ("FUNCTION", "LOAD", "REPLACE", library), ("FCALL", "f", 0),
                                ("FCALL", "none", 0), ("SET", "last", "1")):
                    client.call(*command)
                lines = []
                while not lines or b'"last"' not in lines[-1]:
                    lines.append(bytes(watching.read()))
                seen.append([shape(line, me) for line in lines])
        self.assertEqual(*seen)

    def test_come_and_go(self):
        """Whenever MONITOR has been answered the next command is seen."""
        for n in range(100):
            with monitor(self.server) as watching:
                self.c.ok("SET", f"key:{n}", n)
                self.assertIn(b'"key:%d"' % n, watching.read())


class Order(Setting, unittest.TestCase):
    clients, rounds = 8, 60

    def work(self, number, errors, replies):
        try:
            with self.server.client() as client:
                name = b"%s:%d" % (support.HOST.encode(), client.sock.getsockname()[1])
                mine = replies[name] = []
                for n in range(self.rounds):
                    tag = f"{number}.{n}"
                    mine += client.pipeline([
                        ("APPEND", f"k{n % 7}", tag + ";"), ("INCR", f"n{n % 5}"),
                        ("MSET", "m1", tag, "m2", tag, "m3", tag), ("MGET", "m1", "m2", "m3"),
                        ("INCR", f"n{number}"), ("GETSET", f"g{n % 3}", tag)])
        except Exception as error:  # noqa: BLE001 — told by the main thread
            errors.append(error)

    def test_replay(self):
        first, second = monitor(self.server), monitor(self.server)
        errors, replies = [], {}
        threads = [threading.Thread(target=self.work, args=(n, errors, replies))
                   for n in range(self.clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(errors, [])
        self.c.ok("SET", "end", "x")
        lines = []
        while not lines or b'"end"' not in lines[-1]:
            lines.append(bytes(first.read()))
        self.assertEqual(lines, [bytes(second.read()) for _ in lines])
        self.assertEqual(len(lines), self.clients * self.rounds * 6 + 1)
        self.replay(lines[:-1], {name: iter(mine) for name, mine in replies.items()})
        first.close()
        second.close()

    def replay(self, lines, replies):
        data = {}
        for line in lines:
            match = LINE.match(line)
            name, *args = ARG.findall(match[5])
            if name == b"APPEND":
                data[args[0]] = data.get(args[0], b"") + args[1]
                expected = len(data[args[0]])
            elif name == b"INCR":
                data[args[0]] = expected = data.get(args[0], 0) + 1
            elif name == b"MSET":
                data.update(zip(args[0::2], args[1::2]))
                expected = support.OK
            elif name == b"MGET":
                expected = [data[key] for key in args]
            else:
                expected, data[args[0]] = data.get(args[0]), args[1]
            self.assertEqual(next(replies[match[4]]), expected, line)
        for key, value in data.items():
            value = b"%d" % value if isinstance(value, int) else value
            self.assertEqual(self.c.ok("GET", key), value)


class OrderOfMessages(Order):
    lending = "no"


class Limits(Setting, unittest.TestCase):
    def test_slow_one_is_cut(self):
        for limit in ("normal 1000000 0 0", "normal 0 0 0 pubsub 2000000 0 0"):
            self.c.ok("CONFIG", "SET", "client-output-buffer-limit", limit)
            deaf, fine = monitor(self.server), monitor(self.server)
            for n in range(600):
                self.c.ok("SET", f"k{n}", "v" * 20_000)
                self.assertIn(b'"k%d"' % n, fine.read())
            while self.is_known(deaf):
                self.c.ok("SET", "more", "v" * 20_000)
                fine.read()
            self.assertTrue(self.is_known(fine))
            deaf.close()
            fine.close()

    def is_known(self, client):
        name = "addr=%s:%d" % client.sock.getsockname()
        return name in self.c.ok("CLIENT", "LIST").decode().split()


if __name__ == "__main__":
    os.environ.setdefault("TEST_THREADS", "2")
    unittest.main()
