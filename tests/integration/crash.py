"""kill -9 at random moments under load: what was answered is there afterwards.

    tests/integration/crash.py [--rounds 3] [--writers 20] [--fsync always|everysec] [--seed N]

Writers count up keys of their own with SET, pairs of keys with MSET, and pairs with MULTI, over
many shards. After the kill the data is read by the server itself, started on the files, and by
redis-server on a copy. `always`: nothing that was answered is lost. `everysec`: nothing that was
answered two seconds before the kill. Pairs are never torn.
"""
# matrix: once

import argparse
import random
import shutil
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import support  # noqa: E402

KEYS = 4  # of each writer and kind
EVERYSEC_LOSS = 2.0


class Writer(threading.Thread):
    """Sends numbers that go up; knows what was answered, and when."""

    def __init__(self, number, address, first):
        super().__init__(daemon=True)
        self.number, self.address, self.next = number, address, first
        self.sent, self.answered = {}, {}
        self.rng = random.Random(f"{number}:{first}")
        self.errors = []

    def commands(self):
        kind = self.rng.choice("spm")
        names = [f"{kind}:{self.number}:{self.rng.randrange(KEYS)}"]
        if kind == "s":
            return names, [("SET", names[0], self.next)]
        names.append(names[0] + ":twin")
        if kind == "p":
            return names, [("MSET", names[0], self.next, names[1], self.next)]
        return names, [("MULTI",), ("SET", names[0], self.next), ("SET", names[1], self.next),
                       ("EXEC",)]

    def run(self):
        try:
            with support.Client(self.address) as client:
                while True:
                    self.next += 1
                    names, commands = self.commands()
                    for name in names:
                        self.sent[name] = self.next
                    replies = client.pipeline(commands)
                    if isinstance(replies[-1], support.Error):
                        self.errors.append(replies[-1])
                        return
                    now = time.monotonic()
                    for name in names:
                        self.answered.setdefault(name, []).append((now, self.next))
        except (support.Closed, OSError):
            pass


def read_all(client):
    keys = client.ok("KEYS", "*")
    values = client.ok("MGET", *keys) if keys else []
    return {k.decode(): int(v) for k, v in zip(keys, values)}


def judge(writers, data, killed, fsync):
    """What is wrong with it."""
    wrong = []
    for writer in writers:
        for name, answers in writer.answered.items():
            due = [n for at, n in answers if fsync == "always" or at < killed - EVERYSEC_LOSS]
            found = data.get(name, 0)
            if due and found < due[-1]:
                wrong.append(f"{name}: {found} found, {due[-1]} was answered")
            if found > writer.sent[name]:
                wrong.append(f"{name}: {found} found, {writer.sent[name]} was the last one sent")
    for name, value in data.items():
        if name[0] in "pm" and not name.endswith(":twin") and data.get(name + ":twin") != value:
            wrong.append(f"{name}: {value}, its twin {data.get(name + ':twin')}")
    return wrong


class Crash:
    def __init__(self, fsync, writers):
        self.fsync, self.count = fsync, writers
        self.folder = Path(tempfile.mkdtemp(prefix="splitring-crash-"))
        self.first = 0

    def start(self):
        return support.server("--dir", str(self.folder), "--appendonly", "yes", "--appendfsync",
                              self.fsync, "--auto-aof-rewrite-min-size", "200kb")

    def redis_reads(self):
        copy = tempfile.mkdtemp(prefix="splitring-crash-")
        try:
            shutil.copytree(self.folder, copy, dirs_exist_ok=True)
            with support.oracle("--dir", copy, "--appendonly", "yes") as other, \
                    other.client() as client:
                return read_all(client)
        finally:
            shutil.rmtree(copy, ignore_errors=True)

    def kill(self, server):
        server.kill()

    def killed_at(self, writers, killed):
        pass

    def round(self, rng):
        """Problems found."""
        server = self.start()
        with server.client() as client:
            before = read_all(client)
        writers = [Writer(n, server.address, self.first) for n in range(self.count)]
        for writer in writers:
            writer.start()
        time.sleep(rng.uniform(0.1, 1.5) if self.fsync == "always" else rng.uniform(2.5, 4))
        killed = time.monotonic()
        self.kill(server)
        for writer in writers:
            writer.join()
        self.killed_at(writers, killed)
        self.first = max([self.first] + [w.next for w in writers])
        for writer in writers:
            for name in writer.sent:
                if name not in writer.answered and name in before:
                    writer.answered[name] = [(0, before[name])]
        theirs = self.redis_reads()
        with self.start() as again, again.client() as client:
            ours = read_all(client)
        wrong = judge(writers, ours, killed, self.fsync)
        wrong += [str(e) for w in writers for e in w.errors]
        if ours != theirs:
            keys = [k for k in ours.keys() | theirs.keys() if ours.get(k) != theirs.get(k)]
            wrong.append(f"redis-server reads other values for {len(keys)} keys: {keys[:3]}")
        acked = sum(len(a) for w in writers for a in w.answered.values())
        return wrong, acked

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)


def run(fsync, rounds, writers, seed, tell=lambda *_: None):
    rng = random.Random(seed)
    crash = Crash(fsync, writers)
    total = 0
    for n in range(rounds):
        wrong, acked = crash.round(rng)
        total += acked
        tell(f"round {n + 1}: {acked} writes answered, {len(wrong)} problems")
        if wrong:
            raise AssertionError(f"seed {seed}, round {n + 1}, files in {crash.folder}:\n" +
                                 "\n".join(wrong[:10]))
    crash.close()
    return total


class Rounds(unittest.TestCase):
    def test_always(self):
        self.assertGreater(run("always", 3, 20, random.randrange(1 << 32)), 0)

    def test_everysec(self):
        self.assertGreater(run("everysec", 1, 20, random.randrange(1 << 32)), 0)

    def test_the_judge(self):
        """It sees what is lost, torn, or from nowhere."""
        writer = Writer(0, None, 0)
        writer.sent = {"s:0:1": 5, "p:0:1": 7, "p:0:1:twin": 7}
        writer.answered = {"s:0:1": [(1.0, 4), (9.0, 5)], "p:0:1": [(1.0, 7)]}
        fine = {"s:0:1": 5, "p:0:1": 7, "p:0:1:twin": 7}
        self.assertEqual(judge([writer], fine, 10, "always"), [])
        self.assertEqual(len(judge([writer], {**fine, "s:0:1": 4}, 10, "always")), 1)
        self.assertEqual(judge([writer], {**fine, "s:0:1": 4}, 10, "everysec"), [])
        self.assertEqual(len(judge([writer], {**fine, "s:0:1": 3}, 10, "everysec")), 1)
        self.assertEqual(len(judge([writer], {**fine, "s:0:1": 6}, 10, "everysec")), 1)
        self.assertEqual(len(judge([writer], {**fine, "p:0:1:twin": 6}, 10, "everysec")), 1)


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1].startswith("--"):
        parser = argparse.ArgumentParser(description=__doc__)
        parser.add_argument("--rounds", type=int, default=3)
        parser.add_argument("--writers", type=int, default=20)
        parser.add_argument("--fsync", default="always")
        parser.add_argument("--seed", type=int, default=None)
        given = parser.parse_args()
        start = given.seed if given.seed is not None else random.randrange(1 << 32)
        answered = run(given.fsync, given.rounds, given.writers, start, print)
        print(f"{given.rounds} rounds, {answered} writes answered, none lost, nothing torn")
    else:
        unittest.main()
