#!/usr/bin/python3
"""DUMP and RESTORE beside redis-server 7.0 (and Valkey 9, where bench/peers has built it).

Values of all types come into being on both servers by the same commands, under random encoding
thresholds. Their payloads must be the same bytes; where the order of elements is free (sets and
hashes that are tables) the same length. Payloads then go the other way, old encodings made by hand
go to both, and what was restored must read the same and be dumped again as the same bytes.

Damaged payloads: what this server takes, redis-server (told to look deep) takes as well, as the
same value. It may take more than this one.

    SPLITRING_DUMP_VALUES  values per type (default 60)
    SPLITRING_DUMP_SEED    seed (default: a fixed one: CI judges the change, not the dice)
"""
# matrix: once

import os
import random
import sys
import time
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]
import dump_values as dv  # noqa: E402
from integration import support  # noqa: E402

VALUES = int(os.environ.get("SPLITRING_DUMP_VALUES", 60))
SEED = int(os.environ.get("SPLITRING_DUMP_SEED") or 20261122)
VALKEY = Path(os.environ.get("VALKEY_SERVER") or
              HERE.parent.parent / "bench" / "peers" / ".cache" / "valkey-server")
LIMITS = {
    "hash-max-listpack-entries": (128, 512, 2, 10), "hash-max-listpack-value": (64, 20000, 4),
    "set-max-intset-entries": (512, 2, 600), "zset-max-listpack-entries": (128, 2, 500),
    "zset-max-listpack-value": (64, 20000, 4), "list-max-listpack-size": (-2, -3, -4, 5, 128),
    "stream-node-max-entries": (100, 3), "stream-node-max-bytes": (4096, 100),
}
HOSTILE_SECONDS = 2  # on a busy machine, under a sanitizer; the counts would take minutes
HOSTILE_BYTES = 32 << 20


def content(client, key):
    """A value as any server shows it; unordered ones sorted."""
    kind = bytes(client.call("TYPE", key))
    if kind == b"string":
        return kind, client.call("GET", key)
    if kind == b"list":
        return kind, client.call("LRANGE", key, 0, -1)
    if kind == b"set":
        return kind, sorted(client.call("SMEMBERS", key))
    if kind == b"zset":
        flat = client.call("ZRANGE", key, 0, -1, "WITHSCORES")
        return kind, list(zip(flat[::2], map(float, flat[1::2])))
    if kind == b"hash":
        flat = client.call("HGETALL", key)
        return kind, sorted(zip(flat[::2], flat[1::2]))
    if kind == b"stream":
        full = client.call("XINFO", "STREAM", key, "FULL", "COUNT", 0)
        return kind, client.call("XRANGE", key, "-", "+"), groups_of(full)
    return kind, None


def groups_of(full):
    """XINFO STREAM FULL without what is about memory, or newer than 7.0."""
    if not isinstance(full, list):
        return full
    if full and isinstance(full[0], bytes):
        pairs = zip(full[::2], full[1::2])
        return [(name, groups_of(value)) for name, value in pairs
                if name not in (b"radix-tree-keys", b"radix-tree-nodes", b"active-time", b"lag",
                                b"seen-time", b"entries", b"pending", b"pel")
                or isinstance(value, list)]
    return [groups_of(item) for item in full]


class Dump(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        print(f"dump: SPLITRING_DUMP_SEED={SEED}", flush=True)
        cls.server = support.server()
        cls.addClassCleanup(cls.server.stop)
        cls.oracle = support.oracle("--sanitize-dump-payload", "yes")
        cls.addClassCleanup(cls.oracle.stop)

    def setUp(self):
        self.rng = random.Random(SEED)
        self.ours, self.theirs = self.server.client(), self.oracle.client()
        for client in (self.ours, self.theirs):
            self.addCleanup(client.close)
            client.ok("FLUSHALL")
            for name, choices in LIMITS.items():
                client.ok("CONFIG", "SET", name, choices[0])

    def both(self, *args):
        return self.ours.call(*args), self.theirs.call(*args)

    def limits(self):
        for name, choices in LIMITS.items():
            value = self.rng.choice(choices) if self.rng.random() < 0.3 else choices[0]
            self.both("CONFIG", "SET", name, value)

    def restore(self, client, key, payload):
        reply = client.call("RESTORE", key, 0, payload, "REPLACE")
        self.assertEqual(reply, b"OK", payload[:100])

    def assert_payloads(self, ours, theirs, what):
        """Tables have no order: they agree in length."""
        unordered = theirs[0] in (2, 4)
        if unordered:
            self.assertEqual((ours[0], len(ours)), (theirs[0], len(theirs)), what)
        else:
            self.assertEqual(ours, theirs, what)

    def exchange(self, kind):
        """One value by commands: payloads, and each server reads the other's."""
        commands = dv.MAKERS[kind](self.rng)
        self.both("DEL", "k")
        for command in commands:
            self.both(*command)
        mine, other = self.both("DUMP", "k")
        if mine is None and other is None:
            return
        timed = any(command[0] in (b"XREADGROUP", b"XCLAIM", b"XAUTOCLAIM") or
                    list(command[:2]) == [b"XGROUP", b"CREATECONSUMER"] for command in commands)
        if not timed:
            self.assert_payloads(mine, other, commands[:3])
        self.restore(self.ours, "copy", other)
        self.restore(self.theirs, "copy", mine)
        for client in (self.ours, self.theirs):
            self.assertEqual(content(self.ours, "copy")[:2], content(client, "k")[:2])
        self.assertEqual(content(self.theirs, "copy")[:2], content(self.ours, "k")[:2])
        self.assert_payloads(self.ours.call("DUMP", "copy"), other, "restored and dumped again")
        self.assert_payloads(self.theirs.call("DUMP", "copy"), mine, "theirs, dumped again")

    def test_values_by_commands(self):
        for kind in dv.MAKERS:
            self.both("FLUSHALL")
            if isinstance(self.ours.call(*dv.MAKERS[kind](self.rng)[0]), support.Error):
                print(f"dump: {kind}: not here")
                continue
            self.both("FLUSHALL")
            for i in range(VALUES):
                with self.subTest(kind=kind, i=i):
                    self.limits()
                    self.exchange(kind)

    def test_old_encodings(self):
        for i in range(VALUES * 5):
            self.limits()
            name, value = dv.old_value(self.rng)
            payload = dv.payload(value, self.rng.choice([2, 6, 9, 10]))
            with self.subTest(name=name, i=i):
                theirs = self.theirs.call("RESTORE", "k", 0, payload, "REPLACE")
                self.assertEqual(theirs, b"OK", "redis-server does not take it")
                self.restore(self.ours, "k", payload)
                self.assertEqual(content(self.ours, "k"), content(self.theirs, "k"))
                mine, other = self.both("DUMP", "k")
                self.assert_payloads(mine, other, name)
                self.assertEqual(*self.encodings())

    def encodings(self):
        """Redis 7.0 has neither lists nor sets as listpacks."""
        found = self.both("OBJECT", "ENCODING", "k")
        kind = self.ours.call("TYPE", "k")
        if kind == b"list" or (kind == b"set" and found[0] == b"listpack"):
            return b"", b""
        return found

    def test_damaged(self):
        taken = refused = 0
        for i in range(VALUES * 20):
            if self.rng.random() < 0.6:
                value = dv.old_value(self.rng)[1]
            else:
                self.both("DEL", "k")
                for command in dv.MAKERS[self.rng.choice(list(dv.MAKERS))](self.rng)[:40]:
                    self.theirs.call(*command)
                value = (self.theirs.call("DUMP", "k") or b"\0\0" + b" " * 10)[:-10]
            data = bytearray(value)
            for _ in range(self.rng.choice([1, 1, 2, 5])):
                at = self.rng.randrange(min(len(data), self.rng.choice([12, 60, 1 << 30])))
                data[at] = self.rng.choice([data[at] ^ 1 << self.rng.randrange(8), 0, 1, 255,
                                            self.rng.randrange(256)])
            payload = dv.payload(bytes(data))
            mine = self.ours.call("RESTORE", "d", 0, payload, "REPLACE")
            if mine == b"OK":
                taken += 1
                if data[0] >= 20:  # a type that 7.0 does not know
                    continue
                theirs = self.theirs.call("RESTORE", "d", 0, payload, "REPLACE")
                self.assertEqual(theirs, b"OK", payload[:200])
                self.assertEqual(content(self.ours, "d"), content(self.theirs, "d"))
            else:
                refused += 1
                self.assertEqual(mine, b"ERR Bad data format", payload[:200])
        print(f"dump: {taken} damaged payloads were taken, {refused} refused")
        self.assertTrue(taken and refused)

    def test_hostile_counts(self):
        huge = [dv.length(1 << 31), dv.length((1 << 32) - 1), dv.length((1 << 64) - 1),
                dv.length(1 << 40)]
        values = [bytes([kind]) + count + b"abc" * 5
                  for kind in list(range(32)) + [255] for count in huge]
        values += [b"\0\xc3\x05" + count + b"\1ab\x20\0" for count in huge]
        values += [b"\x0f\0" + count + b"\0\0" + huge[0] for count in huge]
        values += [b"\x13\0\0\0\0\0\0\0\0\0" + count for count in huge]
        before = self.memory()
        for value in values:
            start = time.monotonic()
            for version in (9, 11, 12, 80):
                reply = self.ours.call("RESTORE", "h", 0, dv.payload(value, version))
                self.assertEqual(reply, b"ERR Bad data format", value)
            self.assertLess(time.monotonic() - start, HOSTILE_SECONDS, value)
        self.assertLess(self.memory() - before, HOSTILE_BYTES)
        self.assertEqual(self.ours.call("DBSIZE"), 0)

    def memory(self):
        info = self.ours.call("INFO", "memory").decode()
        return int(info.split("used_memory_peak:")[1].split()[0])

    @unittest.skipUnless(VALKEY.exists(), "no Valkey in bench/peers/.cache")
    def test_valkey(self):
        valkey = support.Server([str(VALKEY), "--bind", support.HOST, "--save", ""], "valkey")
        self.addCleanup(valkey.stop)
        client = valkey.client()
        self.addCleanup(client.close)
        for kind, maker in dv.MAKERS.items():
            for i in range(VALUES // 4):
                with self.subTest(kind=kind, i=i):
                    client.call("DEL", "k")
                    for command in maker(self.rng):
                        client.call(*command)
                    theirs = client.call("DUMP", "k")
                    if theirs is None or isinstance(self.ours.call("TYPE", "k"), support.Error):
                        continue
                    self.restore(self.ours, "k", theirs)
                    self.assertEqual(content(self.ours, "k")[:2], content(client, "k")[:2])
                    mine = self.ours.call("DUMP", "k")
                    if theirs[0] in (0, 11, 16, 17, 18):
                        self.assertEqual(mine[:-10], theirs[:-10])
                    self.restore(client, "back", self.ours.call("DUMP", "k"))
                    self.assertEqual(content(client, "back")[:2], content(client, "k")[:2])
        self.valkey_field_ttl(client)

    def valkey_field_ttl(self, client):
        for count in (3, 700):
            client.call("DEL", "h")
            for i in range(count):
                client.call("HSET", "h", f"field{i}", f"value{i}")
            for i in range(0, count, 2):
                client.call("HPEXPIREAT", "h", 4_000_000_000_000 - i, "FIELDS", 1, f"field{i}")
            self.restore(self.ours, "h", client.call("DUMP", "h"))
            self.assertEqual(content(self.ours, "h"), content(client, "h"))
            for i in range(count):
                args = ("HPEXPIRETIME", "h", "FIELDS", 1, f"field{i}")
                self.assertEqual(self.ours.call(*args), client.call(*args))

    def test_options(self):
        payload = dv.payload(b"\0\1v")
        lines = [
            "RESTORE k 0 P", "RESTORE k 0 P", "RESTORE k x P", "RESTORE new x P",
            "RESTORE new -1 P", "RESTORE new 0 bad", "RESTORE k 0 bad REPLACE", "RESTORE k 0 P NO",
            "RESTORE new 0 P FREQ", "RESTORE new 0 P IDLETIME", "RESTORE new 0 P IDLETIME x",
            "RESTORE new 0 P IDLETIME -1", "RESTORE new 0 P FREQ 256", "RESTORE new 0 P FREQ -1",
            "RESTORE new 0 P FREQ 5 IDLETIME 5", "RESTORE new 0 P IDLETIME 5 FREQ 5",
            "RESTORE new 0 P IDLETIME 500", "OBJECT IDLETIME new", "RESTORE f 0 P FREQ 7",
            "RESTORE past 1 P ABSTTL", "EXISTS past", "RESTORE new 1 P ABSTTL REPLACE",
            "EXISTS new", "RESTORE k 100000000 P REPLACE", "RESTORE far 9223372036854775807 P",
            "EXISTS far", "RESTORE abs 4000000000000 P absttl", "PEXPIRETIME abs",
            "DUMP none", "DUMP", "RESTORE k 0", "RESTORE-ASKING ask 0 P", "GET ask",
        ]
        for line in lines:
            args = [payload if word == "P" else word for word in line.split()]
            self.assertEqual(*self.both(*args), line)


if __name__ == "__main__":
    unittest.main(verbosity=2)
