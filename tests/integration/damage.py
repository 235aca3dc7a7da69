"""Damaged files: dumps, sets of them, logs and manifests, cut, zeroed and flipped at many places.
Never a crash, never data that was not there: either it is refused, or what is loaded is what was
written up to a place that is told.

    tests/integration/damage.py [--rounds 80] [--servers 12] [--seed N]

Most rounds ask splitring-check, which reads with the server's own code; some start the server.
"""
# matrix: once

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import logs, support  # noqa: E402

arguments = argparse.ArgumentParser()
arguments.add_argument("--rounds", type=int, default=80)
arguments.add_argument("--servers", type=int, default=12)
arguments.add_argument("--seed", type=int, default=20261122)
options, rest = arguments.parse_known_args()

DEBUG = ("--enable-debug-command", "yes")
BLOCKS, ROWS = 30, 20  # of the log; rows of each block


def rows(block):
    """What a block of the log does: key n gets value n, so that a prefix shows."""
    made = []
    for i in range(ROWS):
        n = block * ROWS + i
        made.append(("SET", f"key:{n}", f"value:{n}:" + "x" * (n % 70)))
    made[3:3] = [("MULTI",)]
    made[6:6] = [("EXEC",)]
    return made


def damaged(rng, data):
    """The same bytes, but for one damage; and what it was."""
    data = bytearray(data)
    kind = rng.choice(["cut", "zero", "flip", "sector", "lose", "double"])
    at = rng.randrange(len(data))
    length = rng.choice([1, 2, 8, 100, 600])
    if kind == "cut":
        del data[at:]
    elif kind == "zero":
        data[at:at + length] = bytes(len(data[at:at + length]))
    elif kind == "flip":
        data[at] ^= 1 << rng.randrange(8)
    elif kind == "sector":
        at = at // 512 * 512
        data[at:at + 512] = bytes(len(data[at:at + 512]))
    elif kind == "lose":
        del data[at:at + length]
    else:
        data[at:at] = data[at:at + length]
    return bytes(data), f"{kind} at {at}, {length}"


class Damage(unittest.TestCase):
    def setUp(self):
        self.rng = random.Random(options.seed)
        self.folder = Path(tempfile.mkdtemp(prefix="splitring-damage-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.tool = os.environ.get("SPLITRING_CHECK") or \
            Path(support.program()).resolve().parent / "splitring-check"

    def check(self, path, *more):
        done = subprocess.run([self.tool, *more, path], capture_output=True, timeout=120,
                              stdin=subprocess.DEVNULL)
        self.assertIn(done.returncode, (0, 1, 3) if Path(path).is_dir() else (0, 1), done)
        return done.returncode, done.stdout.decode()

    def load(self, appendonly="yes"):
        """What a server has after its start: a dict, or None if it does not start."""
        with_log = ("--dir", str(self.folder), "--appendonly", appendonly, *DEBUG)
        server = support.server(*with_log, ready=False)
        try:
            server.wait_ready()
        except AssertionError:
            self.assertEqual(server.process.poll(), 1, server.log())
            server.forget()
            return None, ""
        with server.client() as client:
            while isinstance(client.call("DBSIZE"), support.Error):
                if not server.alive():
                    break
            try:
                keys = sorted(client.ok("KEYS", "*"))
                found = dict(zip(keys, client.ok("MGET", *keys))) if keys else {}
            except (support.Closed, OSError):
                self.assertEqual(server.wait(), 1, server.log())
                server.forget()
                return None, ""
        text = server.log()
        server.stop()
        return found, text

    def blocks(self):
        first = logs.commands(("SELECT", 0))
        return [(first if b == 0 else b"") + logs.commands(*rows(b)) for b in range(BLOCKS)]

    def is_prefix(self, found, note):
        """Exactly the first n rows, where MULTI is never torn."""
        n = len(found)
        for i in range(n):
            value = found.get(b"key:%d" % i)
            self.assertIsNotNone(value, f"{note}: {i} is missing of {n}")
            self.assertEqual(value, b"value:%d:" % i + b"x" * (i % 70), note)
        self.assertNotEqual(n % ROWS, 4, note)  # between the two of a MULTI
        return n

    def test_log_by_tool(self):
        """Of a log with checksums every damage is told; what is repaired is a prefix."""
        whole = logs.summed(*self.blocks())
        path = self.folder / "log.aof"
        repaired = 0
        for _ in range(options.rounds):
            data, note = damaged(self.rng, whole)
            path.write_bytes(data)
            code, text = self.check(path)
            if code == 0:  # nothing but a cut between two commands can look whole
                self.assertTrue(whole.startswith(data), f"{note}: {text}")
            elif self.rng.random() < 0.3:
                code, text = self.check(path, "--fix", "-y", "-q")
                self.assertEqual(code, 0, text)
                fixed = path.read_bytes()
                end = fixed.rfind(b"#CRC:")
                if data.startswith(logs.MARK):
                    self.assertTrue(whole.startswith(fixed) or whole.startswith(fixed[:end]),
                                    f"{note}: {text}")
                self.assertEqual(self.check(path)[0], 0)
                repaired += 1
        self.assertGreater(repaired, options.rounds // 20)

    def test_log_by_server(self):
        whole = logs.summed(*self.blocks())
        for round_number in range(options.servers):
            data, note = damaged(self.rng, whole) if round_number else (whole, "nothing")
            shutil.rmtree(self.folder / "appendonlydir", ignore_errors=True)
            logs.write(self.folder, data)
            found, text = self.load()
            if found is None:
                self.assertNotEqual(data, whole)
                continue
            n = self.is_prefix(found, note)
            if n < BLOCKS * ROWS and not whole.startswith(data):
                self.assertIn("Truncating the AOF", text, note)
            if data == whole:
                self.assertEqual(n, BLOCKS * ROWS)

    def test_manifest(self):
        """One flipped bit must not make a log history."""
        blocks = self.blocks()
        logs.write(self.folder, logs.summed(*blocks[:10]), logs.summed(*blocks[10:20]),
                   logs.summed(*blocks[20:]))
        path = self.folder / "appendonlydir" / "appendonly.aof.manifest"
        whole = path.read_bytes()
        for _ in range(options.rounds):
            data, note = damaged(self.rng, whole)
            path.write_bytes(data)
            code, text = self.check(path)
            if code == 0:  # a comment was changed
                self.assertIn(whole[whole.index(b"file"):], data, f"{note}: {text}")
                self.assertEqual(text.count(": log, 2"), 3, text)

    def save(self, *more):
        with support.server("--dir", str(self.folder), *more) as server, server.client() as client:
            for i in range(200):
                client.ok("SET", f"s:{i}", "v" * i)
                client.ok("HSET", f"h:{i % 20}", f"f{i}", "w" * i)
                client.ok("ZADD", f"z:{i % 7}", i / 3, f"m{i}")
                client.ok("RPUSH", f"l:{i % 5}", "y" * i)
                client.ok("SADD", f"t:{i % 9}", i)
                client.ok("XADD", f"x:{i % 3}", "*", "f", i)
            client.ok("SAVE")

    def test_set(self):
        """A snapshot of several files: whatever is damaged in it, all of it is refused, by the tool
        and by a server, which changes nothing."""
        self.save("--snapshot-layout", "shards", "--threads", "3")
        manifest = self.folder / "dump.rdb.manifest"
        files = {path: path.read_bytes() for path in self.folder.iterdir()}
        self.assertEqual(len(files), 4)
        self.assertEqual(self.check(manifest)[0], 0)
        for round_number in range(options.rounds * 2):
            path = manifest if round_number % 2 else self.rng.choice(sorted(files))
            data, note = damaged(self.rng, files[path])
            if data == files[path]:
                continue
            path.write_bytes(data)
            note = f"{path.name}: {note}"
            code, text = self.check(manifest)
            self.assertEqual(code, 1, f"{note}: {text}")
            if round_number < options.servers * 2:
                self.assertIsNone(self.load(appendonly="no")[0], note)
                self.assertEqual({p: p.read_bytes() for p in self.folder.iterdir()},
                                 {**files, path: data})
            path.write_bytes(files[path])
        for path in files:
            path.unlink()
            self.assertNotEqual(self.check(self.folder)[0], 0)
            self.assertIsNone(self.load(appendonly="no")[0], path)
            path.write_bytes(files[path])
        self.assertEqual(len(self.load(appendonly="no")[0]), 244)

    def test_dump(self):
        self.save()
        path = self.folder / "dump.rdb"
        whole = path.read_bytes()
        self.assertEqual(self.check(path)[0], 0)
        for round_number in range(options.rounds):
            data, note = damaged(self.rng, whole)
            if data == whole:
                continue
            path.write_bytes(data)
            code, text = self.check(path)
            if data[:len(whole)] != whole:
                self.assertEqual(code, 1, f"{note}: {text}")
            if round_number < options.servers and data[:len(whole)] != whole:
                self.assertIsNone(self.load(appendonly="no")[0], note)
                self.assertEqual(path.read_bytes(), data)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *rest], verbosity=2)
