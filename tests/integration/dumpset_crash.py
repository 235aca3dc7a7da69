"""Snapshots of several files on a disk that fails, and in a process that dies between any two of
its acts: the old set (or dump) counts, or the new one, never a mix.

    tests/integration/dumpset_crash.py [--threads 2]
"""
# matrix: once

import argparse
import os
import re
import shutil
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import shards, support  # noqa: E402
from integration.log_faults import preload, until  # noqa: E402

arguments = argparse.ArgumentParser()
arguments.add_argument("--threads", type=int, default=2)
options, rest = arguments.parse_known_args()

KEYS = 40
ACTS_MAX = 200
SHARDS, SINGLE = ("--snapshot-layout", "shards"), ("--snapshot-layout", "single")


class Disk(unittest.TestCase):
    def setUp(self):
        library = preload()
        if shards.sanitized():
            self.skipTest("a sanitizer wants to be loaded first")
        self.outside = Path(tempfile.mkdtemp(prefix="splitring-outside-"))
        self.folder = Path(tempfile.mkdtemp(prefix="splitring-acts-"))
        self.switch, self.trace = self.outside / "switch", self.outside / "trace"
        for folder in (self.outside, self.folder):
            self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        self.env = {"LD_PRELOAD": str(library), "FAULT_FILE": self.folder.name,
                    "FAULT_SWITCH": str(self.switch), "FAULT_TRACE": str(self.trace)}

    def start(self, *more, env=None, **how):
        server = support.server("--dir", str(self.folder), "--threads", str(options.threads), *more,
                                env=env, **how)
        self.addCleanup(server.forget)
        self.addCleanup(lambda: server.alive() and server.kill())
        return server

    def fail(self, what):  # pylint: disable=arguments-renamed
        aside = self.outside / "aside"
        aside.write_text(what)
        os.replace(aside, self.switch)

    def put(self, client, value):
        client.ok("MSET", *[word for i in range(KEYS) for word in (f"k{i}", value)])
        client.ok("SET", "long", value.encode() * 100000)

    def found(self):
        """The one value that all keys have; None: there is no key."""
        with self.start() as server, server.client() as client:
            values = set(client.ok("MGET", *[f"k{i}" for i in range(KEYS)]))
            self.assertEqual(len(values), 1, server.log())
            value = values.pop()
            self.assertEqual(client.ok("DBSIZE"), KEYS + 1 if value else 0)
            self.assertEqual(client.ok("GET", "long"), value * 100000 if value else None)
            return value

    def names(self):
        return sorted(path.name for path in self.folder.iterdir())

    def saved(self, layout, value):
        with self.start(*layout) as server, server.client() as client:
            self.put(client, value)
            client.ok("SAVE")

    def bgsave(self, client):
        client.ok("BGSAVE")
        until(lambda: b"rdb_bgsave_in_progress:0" in client.ok("INFO", "persistence"))
        return b"rdb_last_bgsave_status:ok" in client.ok("INFO", "persistence")


class Dies(Disk):
    def die_at(self, number, base, layout, command):
        """True: it saved and was still alive."""
        shutil.rmtree(self.folder)
        shutil.copytree(base, self.folder)
        self.fail("")
        server = self.start(*layout, env=self.env)
        with server.client() as client:
            self.put(client, "new")
            self.fail(f"kill {number}")
            try:
                if command == "BGSAVE":
                    self.assertTrue(self.bgsave(client))
                else:
                    client.ok(command)
            except (support.Closed, OSError):
                self.assertEqual(server.wait(), -9)
                server.forget()
                return False
            self.fail("")
        server.kill()
        return True

    def every_act(self, before, layout, command="BGSAVE", left=0):
        """before: a layout, or None: nothing was saved yet."""
        base = self.outside / "base"
        shutil.rmtree(base, ignore_errors=True)
        if before:
            self.saved(before, "old")
        shutil.copytree(self.folder, base)
        seen = []
        for number in range(1, ACTS_MAX):
            alive = self.die_at(number, base, layout, command)
            seen.append(self.found())
            if alive:
                break
            with self.start(*layout) as server, server.client() as client:
                client.ok("SAVE")  # whatever was left behind is in nobody's way
            self.assertLessEqual(len(self.names()), 1 + left, self.names())
        self.assertTrue(alive)
        old = b"old" if before else None
        turn = seen.index(b"new")
        self.assertEqual(seen, [old] * turn + [b"new"] * (len(seen) - turn))
        self.assertGreater(turn, 2)
        self.assertLessEqual(len(self.names()), 1 + left, self.names())
        return len(seen)

    def test_first_set(self):
        self.assertGreater(self.every_act(None, SHARDS, left=options.threads), 12)

    def test_set_after_set(self):
        self.assertGreater(self.every_act(SHARDS, SHARDS, left=options.threads), 12)

    def test_set_after_set_by_save(self):
        self.assertGreater(self.every_act(SHARDS, SHARDS, "SAVE", left=options.threads), 12)

    def test_set_after_dump(self):
        self.assertGreater(self.every_act(SINGLE, SHARDS, left=options.threads), 12)

    def test_dump_after_set(self):
        self.assertGreater(self.every_act(SHARDS, SINGLE), 8)

    def test_dump_after_set_by_save(self):
        self.assertGreater(self.every_act(SHARDS, SINGLE, "SAVE"), 8)


class Order(Disk):
    """What is on the disk when: the page cache hides it from a process that dies."""

    def acts(self, before, layout):
        self.saved(before, "old")
        server = self.start(*layout, env=self.env)
        with server.client() as client:
            self.put(client, "new")
            self.trace.unlink(missing_ok=True)
            self.assertTrue(self.bgsave(client))
        lines = [line.split(" ", 1) for line in self.trace.read_text().splitlines()]
        server.kill()
        return [(what, "." if path == str(self.folder) else Path(path).name)
                for what, path in lines]

    def places(self, acts, what, name):
        found = [i for i, act in enumerate(acts) if act[0] == what and re.fullmatch(name, act[1])]
        self.assertTrue(found, (what, name, acts))
        return found

    def test_set(self):
        for before in (SHARDS, SINGLE):
            acts = self.acts(before, SHARDS)
            seq = 2 if before == SHARDS else 1
            commit = self.places(acts, "rename", r"dump\.rdb\.manifest")
            folder = self.places(acts, "fsync", r"\.")
            synced = []
            for part in range(options.threads):
                name = rf"dump\.rdb\.{seq}\.{part}\.rdb"
                synced += self.places(acts, "fsync", name)[-1:]
                self.assertGreater(synced[-1], self.places(acts, "write", name)[-1])
            manifest = self.places(acts, "fsync", r"dump\.rdb\.manifest\..*")
            gone = self.places(acts, "unlink", r"dump\.rdb(\.1\.\d\.rdb)?")
            self.assertTrue(any(max(synced) < i < manifest[-1] for i in folder), acts)
            self.assertLess(manifest[-1], commit[-1])
            self.assertTrue(any(commit[-1] < i < min(gone) for i in folder), acts)
            for path in self.folder.iterdir():
                path.unlink()

    def test_dump(self):
        """The set hears of the dump before that takes its name, and goes after it."""
        acts = self.acts(SHARDS, SINGLE)
        told = self.places(acts, "rename", r"dump\.rdb\.manifest")[0]
        commit = self.places(acts, "rename", r"dump\.rdb")[0]
        synced = self.places(acts, "fsync", r"temp-bgsave-.*")[0]
        parts = self.places(acts, "unlink", r"dump\.rdb\.1\.\d\.rdb")
        manifest = self.places(acts, "unlink", r"dump\.rdb\.manifest")
        folder = self.places(acts, "fsync", r"\.")
        self.assertLess(synced, told)
        self.assertTrue(any(told < i < commit for i in folder), acts)
        self.assertTrue(any(commit < i < min(parts) for i in folder), acts)
        self.assertTrue(any(max(parts) < i < manifest[0] for i in folder), acts)


class Fails(Disk):
    def fails(self, part, what):
        """The save fails, the old set is as it was; when the fault has gone, it works."""
        self.saved(SHARDS, "old")
        before = {path.name: path.read_bytes() for path in self.folder.iterdir()}
        server = self.start(*SHARDS, "--save", "3600 1000000", env={**self.env, "FAULT_FILE": part})
        with server.client() as client:
            self.put(client, "new")
            self.fail(what)
            self.assertFalse(self.bgsave(client))
            self.assertEqual(client.call("SET", "x", 1).code, "MISCONF")
            self.assertEqual(client.call("SAVE"), support.Error(b"ERR"))
            self.assertEqual({p.name: p.read_bytes() for p in self.folder.iterdir()}, before)
            self.assertIn("Write error saving DB on disk", server.log())
            self.fail("")
            self.assertTrue(self.bgsave(client))
        server.kill()
        self.assertEqual(self.found(), b"new")
        self.assertEqual(len(self.names()), 1 + options.threads)

    def test_no_space_in_a_part(self):
        self.fails(".1.rdb", "write ENOSPC")

    def test_a_part_cannot_be_synced(self):
        self.fails(".0.rdb", "fsync EIO")

    def test_no_space_for_the_manifest(self):
        self.fails(".manifest.", "write ENOSPC")

    def test_the_manifest_cannot_be_renamed(self):
        self.fails("dump.rdb.manifest", "rename EIO")

    def test_the_old_set_cannot_be_removed(self):
        """It counts no more all the same, and goes the next time."""
        self.saved(SHARDS, "old")
        server = self.start(*SHARDS, env=self.env)
        with server.client() as client:
            self.put(client, "new")
            self.fail("unlink EIO")
            self.assertTrue(self.bgsave(client))
            self.assertEqual(len(self.names()), 1 + 2 * options.threads)
            shutil.copytree(self.folder, self.outside / "copy")
            self.fail("")
            self.assertTrue(self.bgsave(client))
            self.assertEqual(len(self.names()), 1 + options.threads)
        server.kill()
        self.assertEqual(self.found(), b"new")
        shutil.rmtree(self.folder)
        shutil.copytree(self.outside / "copy", self.folder)
        self.assertEqual(self.found(), b"new")

    def test_the_folder_cannot_be_synced(self):
        """Behind the rename: it is not known which manifest a power loss would leave, so both sets
        stay until a save succeeds."""
        self.saved(SHARDS, "old")
        server = self.start(*SHARDS, env=self.env)
        with server.client() as client:
            self.put(client, "new")
            self.fail("resync")
            self.assertFalse(self.bgsave(client))
            self.assertEqual(len(self.names()), 1 + 2 * options.threads)
            self.fail("")
            self.assertTrue(self.bgsave(client))
            self.assertEqual(len(self.names()), 1 + options.threads)
        server.kill()
        self.assertEqual(self.found(), b"new")


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *rest], verbosity=2)
