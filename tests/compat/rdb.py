#!/usr/bin/python3
"""Dumps between servers: what redis-server 7.0 and Valkey 9 save, Splitring loads at start, and the
other way round; data sets of every type and encoding, compared key by key. And damaged files: cut,
zeroed, flipped, none is loaded as if it were whole.

    SPLITRING_RDB_DAMAGE=2000 tests/compat/rdb.py     # more damaged files than in CI
"""
# matrix: once

import os
import random
import shutil
import sys
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]
from integration import support  # noqa: E402
import dump_values as dv  # noqa: E402

VALKEY = HERE.parent.parent / "bench" / "peers" / ".cache" / "valkey-server"
if not VALKEY.exists():
    VALKEY = Path("/work/main/bench/peers/.cache/valkey-server")
DAMAGE = int(os.environ.get("SPLITRING_RDB_DAMAGE", "60"))
DEBUG = ("--enable-debug-command", "yes")
FAR = 4_000_000_000_000


def content(client, key):
    """All that can be asked about a key, whatever its encoding."""
    kind = client.ok("TYPE", key).decode()
    ttl = client.ok("PEXPIRETIME", key)
    if kind == "string":
        return kind, ttl, client.ok("GET", key)
    if kind == "list":
        return kind, ttl, client.ok("LRANGE", key, 0, -1)
    if kind == "set":
        return kind, ttl, sorted(client.ok("SMEMBERS", key))
    if kind == "zset":
        flat = client.ok("ZRANGE", key, 0, -1, "WITHSCORES")
        return kind, ttl, list(zip(flat[::2], map(float, flat[1::2])))
    if kind == "hash":
        flat = client.ok("HGETALL", key)
        return kind, ttl, sorted(zip(flat[::2], flat[1::2]))
    full = support.Map(client.ok("XINFO", "STREAM", key, "FULL", "COUNT", 0))
    groups = [[support.Map(group).get(name) for name in
               (b"name", b"last-delivered-id", b"entries-read", b"pel-count")]
              + [[support.Map(c).get(n) for n in (b"name", b"seen-time", b"pel-count", b"pending")]
                 for c in support.Map(group).get(b"consumers")]
              for group in full.get(b"groups")]
    return kind, ttl, [full.get(name) for name in
                       (b"length", b"last-generated-id", b"max-deleted-entry-id", b"entries-added",
                        b"recorded-first-entry-id", b"entries")], groups


def everything(server):
    found = {}
    with server.client() as client:
        for db in range(16):
            client.ok("SELECT", db)
            for key in client.ok("KEYS", "*"):
                found[db, key] = content(client, key)
    return found


class Dumps(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="splitring-rdb-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.dump = self.folder / "dump.rdb"
        self.rng = random.Random(int(os.environ.get("SPLITRING_SEED", "20261122")))

    def options(self):
        return ["--dir", str(self.folder)]

    def ours(self, *options):
        return self.with_care(support.server(*self.options(), *DEBUG, *options))

    def redis(self, *options):
        return self.with_care(support.oracle(*self.options(), *DEBUG, *options))

    def valkey(self, *options):
        return self.with_care(support.Server(
            [str(VALKEY), "--bind", support.HOST, "--save", "", "--dir", str(self.folder), *DEBUG,
             *options], "valkey"))

    def with_care(self, server):
        self.addCleanup(lambda: server in support.running and server.kill())
        return server

    def fill(self, server, rounds, old=False, streams=True):
        with server.client() as client:
            for i in range(rounds):
                client.ok("SELECT", self.rng.choice([0, 0, 0, 3, 15]))
                for kind, maker in dv.MAKERS.items():
                    if kind == "stream" and not streams:
                        continue
                    name = b"%s:%d" % (kind.encode(), i)
                    for command in maker(self.rng):
                        at = command.index(b"STREAMS") + 1 if b"STREAMS" in command else \
                            command.index(b"k")
                        client.call(*command[:at], name, *command[at + 1:])
                    if self.rng.random() < 0.3:
                        client.call("PEXPIREAT", name, FAR + i)
                if old:
                    client.ok("RESTORE", b"old:%d" % i, 0,
                              dv.payload(dv.old_value(self.rng)[1], 9), "REPLACE")
            client.ok("SELECT", 0)

    def save(self, server):
        with server.client() as client:
            client.ok("SAVE")
        found = everything(server)
        digest = self.digest(server)
        server.stop()
        return found, digest

    def digest(self, server):
        with server.client() as client:
            return client.ok("DEBUG", "DIGEST")

    def compare(self, server, found, digest):
        here = everything(server)
        self.assertEqual(sorted(here), sorted(found))
        for key, value in found.items():
            if here[key] != value:
                self.fail(f"{key}: {str(here[key])[:300]} != {str(value)[:300]}")
        if digest:
            self.assertEqual(self.digest(server), digest)

    def test_from_redis(self):
        """All encodings of 7.0, and those it still reads."""
        for options in ((), ("--rdbcompression", "no"), ("--rdbchecksum", "no"),
                        ("--hash-max-listpack-entries", "0", "--zset-max-listpack-entries", "0",
                         "--set-max-intset-entries", "0", "--list-max-listpack-size", "1")):
            with self.subTest(options=options):
                server = self.redis(*options)
                self.fill(server, 12, old=True)
                found, digest = self.save(server)
                self.assertGreater(len(found), 60)
                ours = self.ours()
                # A score of -0 is 0 in a listpack since 7.2, which the digest shows.
                self.compare(ours, found, None if "--zset-max-listpack-entries" in options
                             else digest)
                ours.stop()

    def test_to_redis(self):
        """And back again: three servers, one data set."""
        for options in ((), ("--rdbcompression", "no"), ("--rdbchecksum", "no"),
                        ("--threads", "3")):
            with self.subTest(options=options):
                self.dump.unlink(missing_ok=True)
                server = self.ours(*options)
                self.fill(server, 12, old=True, streams=False)
                found, digest = self.save(server)
                self.assertEqual(self.dump.read_bytes()[:9], b"REDIS0010")
                redis = self.redis()
                self.compare(redis, found, digest)
                again = self.save(redis)
                self.assertEqual(again, (found, digest))
                ours = self.ours()
                self.compare(ours, found, digest)
                ours.stop()

    @unittest.skipUnless(VALKEY.exists(), "no Valkey in bench/peers/.cache")
    def test_valkey(self):
        """Streams with consumers (version 11), fields with TTLs, functions."""
        server = self.valkey()
        self.fill(server, 12)
        with server.client() as client:
            for count in (3, 700):
                for i in range(count):
                    client.ok("HSET", f"ttl:{count}", f"field{i}", f"value{i}")
                for i in range(0, count, 2):
                    client.ok("HPEXPIREAT", f"ttl:{count}", FAR - i, "FIELDS", 1, f"field{i}")
            times = [client.ok("HPEXPIRETIME", "ttl:700", "FIELDS", 700,
                               *[f"field{i}" for i in range(700)])]
            client.ok("FUNCTION", "LOAD", "#!lua name=l\nserver.register_function('f', "
                                          "function() return 1 end)")
        found, digest = self.save(server)
        self.assertEqual(self.dump.read_bytes()[:6], b"VALKEY")
        ours = self.ours()
        self.compare(ours, found, None)
        with ours.client() as client:
            self.assertEqual(client.ok("FCALL", "f", 0), 1)
            self.assertEqual(client.ok("HPEXPIRETIME", "ttl:700", "FIELDS", 700,
                                       *[f"field{i}" for i in range(700)]), times[0])
            client.ok("DEL", "ttl:700", "ttl:3")
        found, _ = self.save(ours)
        self.assertEqual(self.dump.read_bytes()[:9], b"REDIS0011")
        valkey = self.valkey()
        self.compare(valkey, found, None)
        valkey.stop()

    def test_field_ttl_survives(self):
        server = self.ours()
        with server.client() as client:
            client.ok("HSET", "h", "a", 1, "b", 2)
            client.ok("HPEXPIREAT", "h", FAR, "FIELDS", 1, "a")
        found, digest = self.save(server)
        self.assertEqual(self.dump.read_bytes()[:9], b"REDIS0012")
        ours = self.ours()
        self.compare(ours, found, digest)
        with ours.client() as client:
            self.assertEqual(client.ok("HPEXPIRETIME", "h", "FIELDS", 2, "a", "b"), [FAR, -1])
        ours.stop()

    def test_damage(self):
        """Files of redis-server, so that their checksums are not of our making."""
        server = self.redis()
        self.fill(server, 4, old=True)
        found, digest = self.save(server)
        whole = self.dump.read_bytes()
        refused = 0
        for i in range(DAMAGE):
            bad = bytearray(whole)
            at = self.rng.randrange(len(bad) - 8)
            what = self.rng.choice(["flip", "cut", "zero"])
            if what == "flip":
                bad[at] ^= 1 << self.rng.randrange(8)
            elif what == "cut":
                del bad[at:]
            else:
                size = self.rng.choice([1, 16, 512, 4096])
                end = min(at + size, len(bad) - 8)
                bad[at:end] = b"\0" * (end - at)
            if bad == whole:
                continue
            self.dump.write_bytes(bad)
            server = support.server("--dir", str(self.folder), ready=False)
            self.with_care(server)
            with self.subTest(i=i, what=what, at=at):
                self.assertEqual(server.wait(), 1, server.log())
                self.assertRegex(server.log(), r"\(offset \d+\)")
                self.assertEqual(self.dump.read_bytes(), bytes(bad))
            server.forget()
            refused += 1
        print(f"rdb: {refused} damaged files were refused")
        self.assertGreater(refused, DAMAGE // 2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
