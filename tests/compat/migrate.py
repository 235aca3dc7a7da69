#!/usr/bin/python3
"""MIGRATE to a live redis-server 7.0, in every form, with one worker and with two: keys arrive and
go, options, errors, a target that refuses, is not there, or never answers; other connections and
keys go on meanwhile.
"""
# matrix: once

import socket
import sys
import threading
import time
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]
from integration import support  # noqa: E402

VALUES = [
    ["SET", "string", "hello"], ["SET", "number", "12"], ["RPUSH", "list", "a", "b", "1"],
    ["SADD", "set", "a", "b", "c"], ["SADD", "numbers", "1", "2"],
    ["ZADD", "zset", "1", "a", "2.5", "b"], ["HSET", "hash", "f", "v", "g", "1"],
    ["SADD", "large set"] + [f"member{i}" for i in range(1000)],
    ["HSET", "large hash"] + [f"{word}{i}" for i in range(1000) for word in ("field", "value")],
    ["ZADD", "large zset"] + [word for i in range(1000) for word in (str(i), f"m{i}")],
    ["RPUSH", "large list"] + [f"element {i}" * 5 for i in range(2000)],
    ["XADD", "stream", "1-1", "field", "value"],
    ["SET", "large string", "x" * 3_000_000],
]
PASSWORD = "secret KEYS"


class Migrate(unittest.TestCase):
    threads = "1"

    @classmethod
    def setUpClass(cls):
        cls.server = support.server("--threads", cls.threads)
        cls.addClassCleanup(cls.server.stop)
        cls.oracle = support.oracle()
        cls.addClassCleanup(cls.oracle.stop)

    def setUp(self):
        self.ours, self.theirs = self.server.client(), self.oracle.client()
        for client in (self.ours, self.theirs):
            self.addCleanup(client.close)
            client.ok("FLUSHALL")

    def migrate(self, *args, port=None, timeout=5000, db=0):
        return self.ours.call("MIGRATE", support.HOST, port or self.oracle.port, args[0], db,
                              timeout, *args[1:])

    def test_every_value(self):
        for command in VALUES:
            self.ours.call(*command)
            key = command[1]
            dump = self.ours.call("DUMP", key)
            self.assertEqual(self.migrate(key, "COPY"), b"OK", key)
            self.assertEqual(self.ours.call("EXISTS", key), 1)
            self.assertEqual(len(self.theirs.call("DUMP", key)), len(dump))
            self.assertEqual(bytes(self.migrate(key))[:38],
                             b"ERR Target instance replied with error")
            self.assertEqual(self.migrate(key, "REPLACE"), b"OK", key)
            self.assertEqual(self.ours.call("EXISTS", key), 0, key)
        self.assertEqual(self.theirs.call("DBSIZE"), len(VALUES))
        self.assertEqual(self.theirs.call("GET", "string"), b"hello")

    def test_many_keys(self):
        keys = [f"key:{i}" for i in range(300)]
        for key in keys:
            self.ours.call("SET", key, key, "PX", 100000)
        # A key that was named twice comes twice, and the second is refused, as in Redis.
        self.assertEqual(self.migrate("", "KEYS", *keys, "absent", "key:1", db=3),
                         b"ERR Target instance replied with error: "
                         b"BUSYKEY Target key name already exists.")
        self.assertEqual(self.ours.call("DBSIZE"), 0)
        self.theirs.ok("SELECT", 3)
        self.assertEqual(self.theirs.call("DBSIZE"), 300)
        ttl = self.theirs.call("PTTL", "key:7")
        self.assertTrue(90000 < ttl <= 100000, ttl)

    def test_errors(self):
        self.ours.call("SET", "k", "v")
        rows = [
            (["k", "FOO"], b"ERR syntax error"), (["k", "AUTH"], b"ERR syntax error"),
            (["k", "AUTH2", "user"], b"ERR syntax error"), (["none"], b"NOKEY"),
            (["", "KEYS", "none", "nor this"], b"NOKEY"),
            (["k", "KEYS", "k"], b"ERR When using MIGRATE KEYS option, the key argument must be "
                                 b"set to the empty string"),
        ]
        for args, reply in rows:
            self.assertEqual(self.migrate(*args), reply, args)
            there = self.theirs.call("MIGRATE", support.HOST, self.server.port, args[0], 0, 1000,
                                     *args[1:])
            if args[0] != "k" or not there.startswith(b"NOKEY"):
                self.assertEqual(there, reply, args)
        self.assertEqual(self.migrate("k", db="x"),
                         b"ERR value is not an integer or out of range")
        self.assertEqual(self.migrate("k", timeout="x"),
                         b"ERR value is not an integer or out of range")
        self.assertEqual(self.migrate("k", db=99),
                         b"ERR Target instance replied with error: ERR DB index is out of range")
        self.assertEqual(self.ours.call("GET", "k"), b"v")

    def test_password(self):
        self.theirs.ok("CONFIG", "SET", "requirepass", PASSWORD)
        self.addCleanup(self.theirs.ok, "CONFIG", "SET", "requirepass", "")
        self.ours.call("SET", "k", "v")
        self.assertIn(b"NOAUTH", self.migrate("k"))
        self.assertIn(b"WRONGPASS", self.migrate("k", "AUTH", "wrong"))
        self.assertEqual(self.migrate("k", "COPY", "AUTH", PASSWORD), b"OK")
        self.assertEqual(self.migrate("", "REPLACE", "AUTH2", "default", PASSWORD, "KEYS", "k"),
                         b"OK")
        self.assertEqual(self.ours.call("EXISTS", "k"), 0)

    def test_in_a_transaction(self):
        """Where the keys of a whole transaction are locked, nobody waits for another server."""
        self.ours.call("SET", "k", "v")
        self.ours.ok("MULTI")
        self.assertEqual(self.migrate("k"), b"QUEUED")
        self.assertEqual(self.ours.call("EXEC"), [b"ERR 'migrate' is not supported by this server"])
        self.assertEqual(self.ours.call("GET", "k"), b"v")

    def test_nobody_there(self):
        self.ours.call("SET", "k", "v")
        port = support.free_port()
        self.assertEqual(self.migrate("k", port=port),
                         b"IOERR error or timeout connecting to the client")
        self.assertEqual(self.ours.call("GET", "k"), b"v")

    def test_silence(self):
        """A target that takes connections and says nothing: a timeout; everything else goes on, and
        who wants the key waits."""
        with socket.create_server((support.HOST, 0)) as silent:
            self.ours.call("SET", "k", "v")
            self.ours.call("SET", "other", "v")
            other, waiter = self.server.client(), self.server.client()
            self.addCleanup(other.close)
            self.addCleanup(waiter.close)
            start = time.monotonic()
            self.ours.send("MIGRATE", support.HOST, silent.getsockname()[1], "k", 0, 1500)
            time.sleep(0.1)
            waiter.send("GET", "k")
            worst = 0
            while time.monotonic() - start < 1.2:
                before = time.monotonic()
                self.assertEqual(other.call("GET", "other"), b"v")
                worst = max(worst, time.monotonic() - before)
                time.sleep(0.01)
            self.assertLess(worst, 0.5)
            self.assertEqual(self.ours.read(), b"IOERR error or timeout reading to target instance")
            took = time.monotonic() - start
            self.assertTrue(1.4 < took < 8, took)
            self.assertEqual(waiter.read(), b"v")

    def test_target_goes_away(self):
        """One that closes after some answers: what it has taken is gone here, the rest stays."""
        with socket.create_server((support.HOST, 0)) as target:
            def half():
                peer, _ = target.accept()
                peer.recv(1 << 16)
                peer.sendall(b"+OK\r\n+OK\r\n-ERR no\r\n")
                time.sleep(0.3)
                peer.close()
            thread = threading.Thread(target=half)
            thread.start()
            for key in "abcd":
                self.ours.call("SET", key, key)
            reply = self.migrate("", "KEYS", *"abcd", port=target.getsockname()[1])
            self.assertEqual(reply, b"ERR Target instance replied with error: ERR no")
            thread.join()
            self.assertEqual(self.ours.call("EXISTS", "a"), 0)
            self.assertEqual(self.ours.call("EXISTS", "b", "c", "d"), 3)

    def test_client_goes_away(self):
        self.ours.call("SET", "k", "x" * 2_000_000)
        client = self.server.client()
        client.send("MIGRATE", support.HOST, self.oracle.port, "k", 0, 5000)
        client.close()
        for _ in range(500):
            if self.theirs.call("EXISTS", "k") and not self.ours.call("EXISTS", "k"):
                return
            time.sleep(0.01)
        self.fail("the key has not moved")


class MigrateTwoWorkers(Migrate):
    threads = "2"


if __name__ == "__main__":
    unittest.main(verbosity=2)
