"""Power is cut while snapshots are made, of one file and of several in turn: what is loaded
afterwards is one whole snapshot, and none that is older than the last one that was reported done.

    tests/integration/dumpset_power.py [--rounds 8] [--seed N]     (root)

The disk is that of power_loss.py: an ext4 of its own that ends where it stands, so what was not
synced, or was renamed before it was synced, is lost.
"""
# matrix: once

import argparse
import os
import random
import shutil
import sys
import threading
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import power_loss, support  # noqa: E402

arguments = argparse.ArgumentParser()
arguments.add_argument("--rounds", type=int, default=8)
arguments.add_argument("--seed", type=int, default=None)
options, rest = arguments.parse_known_args()

KEYS = 40
LAYOUTS = (b"single", b"shards")


class Rounds(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.disk = power_loss.Disk()
        cls.addClassCleanup(cls.disk.close)
        why = cls.disk.make()
        if why:
            print(f"dumpset_power: skipped: {why}")
            raise unittest.SkipTest(why)

    def start(self, *more):
        server = support.server("--dir", str(self.folder), "--threads", "3", *more)
        self.addCleanup(server.forget)
        self.addCleanup(lambda: server.alive() and server.kill())
        return server

    def save_for_ever(self, server, rng, first):
        """Round after round: all keys get its number, then a snapshot is made."""
        try:
            with server.client() as client:
                for number in range(first, 1 << 30):
                    client.ok("CONFIG", "SET", "snapshot-layout", rng.choice(LAYOUTS))
                    client.ok("MSET", *[w for i in range(KEYS) for w in (f"k{i}", number)])
                    client.ok("SET", "long", b"%d " % number * rng.randrange(1, 100000))
                    if rng.random() < 0.3:
                        client.ok("SAVE")
                    else:
                        client.ok("BGSAVE")
                        while b"bgsave_in_progress:1" in client.ok("INFO", "persistence"):
                            time.sleep(0.001)
                        if b"bgsave_status:err" in client.ok("INFO", "persistence"):
                            return
                    self.done = number
        except (AssertionError, support.Closed, OSError):
            pass  # the power has gone

    def test_cuts(self):
        seed = options.seed if options.seed is not None else random.randrange(1 << 32)
        rng = random.Random(seed)
        self.folder = self.disk.root / "data"
        self.folder.mkdir()
        os.sync()
        self.done, layouts = 0, set()
        for cut in range(options.rounds):
            server = self.start()
            saver = threading.Thread(target=self.save_for_ever,
                                     args=(server, random.Random(rng.random()), self.done + 1))
            saver.start()
            time.sleep(rng.uniform(0.05, 0.8))
            self.disk.cut_power()
            saver.join(30)
            server.kill()
            saver.join()
            self.disk.power_again()
            note = f"seed {seed}, cut {cut}, {sorted(p.name for p in self.folder.iterdir())}"
            with self.start() as server, server.client() as client:
                values = set(client.ok("MGET", *[f"k{i}" for i in range(KEYS)]))
                self.assertEqual(len(values), 1, note)
                value = int(values.pop() or 0)
                self.assertGreaterEqual(value, self.done, note)
                long = client.ok("GET", "long")
                self.assertEqual(set((long or b"0").split()), {b"%d" % value}, note)
                layouts.add("set of" in server.log())
            self.done = value
        self.assertGreater(self.done, 0)
        if options.rounds >= 20:
            self.assertEqual(layouts, {True, False})
        print(f"seed {seed}: {options.rounds} cuts, {self.done} snapshots")
        shutil.rmtree(self.folder)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *rest], verbosity=2)
