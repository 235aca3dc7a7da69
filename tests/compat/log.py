#!/usr/bin/python3
"""Append logs between servers: what redis-server 7.0 logs, Splitring loads at start, and the other
way round; data sets of every type and encoding, compared key by key, with and without a rewrite in
between. And three times there and back: each server goes on with the other's files.
"""
# matrix: once

import shutil
import sys
import tempfile
import time
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]
from integration import support  # noqa: E402
import rdb  # noqa: E402


class Logs(unittest.TestCase):
    # What rdb.py has for dumps.
    fill = rdb.Dumps.fill
    digest = rdb.Dumps.digest
    with_care = rdb.Dumps.with_care

    def setUp(self):
        rdb.Dumps.setUp(self)
        self.check = Path(support.program()).resolve().parent / "splitring-check"

    def compare(self, server, found, digest):
        """But for the time at which a consumer was last seen: that is when the log was run."""
        here, there = self.unseen(rdb.everything(server)), self.unseen(found)
        self.assertEqual(sorted(here), sorted(there))
        for key, value in there.items():
            if here[key] != value:
                self.fail(f"{key}: {str(here[key])[-600:]} != {str(value)[-600:]}")

    @staticmethod
    def unseen(found):
        for value in found.values():
            if value[0] == "stream":
                for group in value[3]:
                    for consumer in group[4:]:
                        consumer[1] = None
        return found

    def ours(self, *options):
        return self.start(support.server, *options)

    def redis(self, *options):
        return self.start(support.oracle, *options)

    def start(self, make, *options):
        server = self.with_care(make("--dir", str(self.folder), *rdb.DEBUG, "--appendonly", "yes",
                                     *options))
        deadline = time.monotonic() + 60
        with server.client() as client:
            while isinstance(client.call("DBSIZE"), support.Error):
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.01)
        return server

    def end(self, server, make, rewrite):
        """Stops it. Everything that is in its log then, as it reads it itself: what a group has
        read (entries-read), and when, is not always what it was, with redis-server either."""
        if rewrite:
            with server.client() as client:
                client.ok("BGREWRITEAOF")
                deadline = time.monotonic() + 60
                while b"aof_rewrite_in_progress:1" in client.ok("INFO", "persistence") or \
                        b"aof_rewrite_scheduled:1" in client.ok("INFO", "persistence"):
                    self.assertLess(time.monotonic(), deadline)
                    time.sleep(0.05)
        live = self.unseen(rdb.everything(server))
        server.stop()
        kept = self.folder
        self.folder = Path(tempfile.mkdtemp(prefix="splitring-rdb-"))
        shutil.copytree(kept, self.folder, dirs_exist_ok=True)
        server = self.start(make)
        found = rdb.everything(server), self.digest(server)
        server.stop()
        shutil.rmtree(self.folder)
        self.folder = kept
        self.assertEqual(self.uncounted(live), self.uncounted(self.unseen(found[0])))
        return found

    @staticmethod
    def uncounted(found):
        """Without what groups have read."""
        return {key: [*value[:3], [[group[:2] + [0] + group[3:] for group in value[3]]]]
                if value[0] == "stream" else value for key, value in found.items()}

    def forget(self):
        shutil.rmtree(self.folder)
        self.folder = Path(tempfile.mkdtemp(prefix="splitring-rdb-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def test_from_redis(self):
        for options, rewrite in (((), False), ((), True), (("--aof-use-rdb-preamble", "no"), True),
                                 (("--aof-timestamp-enabled", "yes"), False)):
            with self.subTest(options=options, rewrite=rewrite):
                server = self.redis(*options)
                self.fill(server, 8, old=True)
                found, digest = self.end(server, support.oracle, rewrite)
                server = self.ours()
                self.compare(server, found, digest)
                server.stop()
                self.forget()

    def test_from_ours(self):
        """Without a rewrite: the base would be of Redis 7.2's version, which 7.0 does not read."""
        server = self.ours()
        self.fill(server, 8)
        found, digest = self.end(server, support.server, False)
        server = self.redis()
        self.compare(server, found, digest)
        server.stop()

    def test_there_and_back(self):
        found, digest = {}, b"0" * 40
        for make, rewrite in ((self.redis, False), (self.ours, False), (self.redis, False),
                              (self.ours, False), (self.redis, True), (self.ours, False),
                              (self.redis, False)):
            server = make()
            self.compare(server, found, digest)
            self.fill(server, 3)
            peer = support.oracle if make == self.redis else support.server
            found, digest = self.end(server, peer, rewrite)


if __name__ == "__main__":
    unittest.main(verbosity=2)
