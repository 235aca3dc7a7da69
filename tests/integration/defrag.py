"""activedefrag: small blocks move together beside commands, and nothing of the data changes.

Under sanitizers every block of every round moves (see src/base/slab.c), so a pointer that was left
behind is found there.
"""

import random
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import support  # noqa: E402

PATIENCE_S = 60
EAGER = {"active-defrag-ignore-bytes": "1", "active-defrag-threshold-lower": "0",
         "active-defrag-cycle-min": "80", "active-defrag-cycle-max": "90"}


def fields(client, section):
    return dict(line.split(":", 1) for line in client.ok("INFO", section).decode().split("\r\n")
                if ":" in line)


def batches(client, commands, size=500):
    commands = list(commands)
    for at in range(0, len(commands), size):
        for reply in client.pipeline(commands[at:at + size]):
            if isinstance(reply, Exception):
                raise reply


class Defrag(unittest.TestCase):
    def setUp(self):
        self.server = support.server("--enable-debug-command", "yes")
        self.addCleanup(self.server.stop)
        self.c = self.server.client()
        self.addCleanup(self.c.close)
        self.dice = random.Random(5)
        allocator = fields(self.c, "memory")["mem_allocator"]
        self.own_pages = "mimalloc" in allocator
        self.scale = 20000 if self.own_pages else 3000

    def text(self, lengths=(10, 60, 110)):
        """Of few lengths: gaps are in pages of one length of blocks."""
        return "x" * self.dice.choice(lengths)

    def fill(self):
        n = self.scale
        batches(self.c, (["SET", f"s{i}", self.text(), *(["EX", "10000"] if i % 5 == 0 else [])]
                         for i in range(n)))
        batches(self.c, (["HSET", f"h{i % (n // 20)}", f"f{i}", self.text()] for i in range(n)))
        for large in range(2):
            for at in range(0, n, 500):
                self.c.ok("HSET", f"H{large}", *(w for i in range(at, at + 500)
                                                 for w in (f"f{i}", self.text())))
                self.c.ok("SADD", f"S{large}", *(f"m{i}:{self.text()}"
                                                 for i in range(at, at + 500)))
                self.c.ok("ZADD", f"Z{large}", *(w for i in range(at, at + 500)
                                                 for w in (str(i * 7919 % 10007), f"m{i}")))
        batches(self.c, (["RPUSH", f"l{i % 100}", self.text()] for i in range(n)))
        batches(self.c, (["XADD", f"x{i % 50}", "*", "f", self.text()] for i in range(n // 4)))
        self.c.ok("SELECT", "3")
        batches(self.c, (["SET", f"s{i}", self.text((100, 400, 900))] for i in range(n)))
        self.c.ok("SELECT", "0")

    def thin_out(self):
        n = self.scale
        gone = [i for i in range(n) if self.dice.random() < 0.8]
        batches(self.c, (["DEL", f"s{i}"] for i in gone))
        for large in range(2):
            for at in range(0, len(gone), 500):
                part = gone[at:at + 500]
                self.c.ok("HDEL", f"H{large}", *(f"f{i}" for i in part))
                self.c.ok("ZREM", f"Z{large}", *(f"m{i}" for i in part))
            self.c.ok("SPOP", f"S{large}", str(n * 8 // 10))
        self.c.ok("SELECT", "3")
        batches(self.c, (["DEL", f"s{i}"] for i in gone))
        self.c.ok("SELECT", "0")

    def start(self, **more):
        for name, value in {**EAGER, **more}.items():
            self.c.ok("CONFIG", "SET", name, value)
        self.c.ok("CONFIG", "RESETSTAT")
        self.c.ok("CONFIG", "SET", "activedefrag", "yes")

    def until(self, condition, what):
        end = time.monotonic() + PATIENCE_S
        while not condition():
            self.assertLess(time.monotonic(), end, what)
            time.sleep(0.02)

    def hits(self):
        return int(fields(self.c, "stats")["active_defrag_hits"])

    def over(self):
        """Every worker has begun a round, if its shard is worth one, and none runs."""
        hits = self.hits()
        if not hits or fields(self.c, "memory")["active_defrag_running"] != "0":
            return False
        time.sleep(1.5)
        return self.hits() == hits

    def small(self):
        """(used, held) of all shards."""
        lines = [line.split() for line in self.c.ok("MEMORY", "MALLOC-STATS").decode().splitlines()
                 if line.startswith("small blocks")]
        return tuple(sum(int(line[at].rstrip(",")) for line in lines) for at in (6, 8))

    def orders(self):
        return [self.c.ok("ZRANGE", f"Z{n}", "0", "-1", "WITHSCORES") for n in range(2)]

    def test_data_stays_and_gaps_go(self):
        self.fill()
        self.thin_out()
        digest, orders = self.c.ok("DEBUG", "DIGEST"), self.orders()
        before = self.small()
        self.start()
        self.until(self.over, "no round ended")
        stats = fields(self.c, "stats")
        self.assertEqual(self.c.ok("DEBUG", "DIGEST"), digest)
        self.assertEqual(self.orders(), orders)
        self.assertGreater(int(stats["active_defrag_key_hits"]), self.scale // 10)
        self.assertGreater(int(stats["active_defrag_key_misses"]), -1)
        self.assertGreater(int(stats["total_active_defrag_time"]), -1)
        if self.own_pages:
            used, held = self.small()
            self.assertLess(held - used, (before[1] - before[0]) // 2, (before, used, held))
        # Ranks, random members, and members by name of what has moved.
        for n in range(2):
            members = self.c.ok("ZRANGE", f"Z{n}", "0", "-1")
            for at in range(0, len(members), 97):
                self.assertEqual(self.c.ok("ZRANK", f"Z{n}", members[at]), at)
            for at in range(0, len(members), 97):
                self.c.ok("ZINCRBY", f"Z{n}", "100000", members[at])
            self.assertEqual(self.c.ok("ZCARD", f"Z{n}"), len(members))
        self.c.ok("DEBUG", "RELOAD")

    def test_snapshot_and_writes_beside_it(self):
        self.fill()
        self.thin_out()
        self.start(**{"active-defrag-cycle-us": "100"})
        model = {}
        other = self.server.client()
        self.addCleanup(other.close)
        for turn in range(40):
            if turn % 10 == 0:
                self.until(lambda: fields(self.c, "persistence")["rdb_bgsave_in_progress"] == "0",
                           "the snapshot before")
                other.call("BGSAVE")
            names = [f"w{self.dice.randrange(2000)}" for _ in range(300)]
            for name in names:
                model[name] = self.text((100, 300))
            batches(self.c, [["SET", name, model[name]] for name in names])
            gone = self.dice.sample(sorted(model), len(model) // 3)
            batches(self.c, [["DEL", name] for name in gone])
            for name in gone:
                del model[name]
            self.c.ok("ZADD", "Z0", *(w for i in range(200)
                                      for w in (str(turn), f"w{self.dice.randrange(9999)}")))
            self.c.ok("SADD", "S0", *(f"w{self.dice.randrange(9999)}" for _ in range(200)))
            self.c.ok("HSET", "H0", *(w for i in range(200)
                                      for w in (f"w{self.dice.randrange(9999)}", self.text())))
            self.c.ok("ZREMRANGEBYRANK", "Z1", "0", "20")
            if turn == 20:
                self.c.ok("SELECT", "3")
                self.c.ok("FLUSHDB")
                self.c.ok("SELECT", "0")
        self.until(self.hits, "nothing was moved")
        for name, value in model.items():
            self.assertEqual(self.c.ok("GET", name).decode(), value)
        self.until(lambda: fields(self.c, "persistence")["rdb_bgsave_in_progress"] == "0", "save")
        self.assertEqual(fields(self.c, "persistence")["rdb_last_bgsave_status"], "ok")
        digest = self.c.ok("DEBUG", "DIGEST")
        self.c.ok("DEBUG", "RELOAD")
        self.assertEqual(self.c.ok("DEBUG", "DIGEST"), digest)

    def test_off_is_off_and_a_round_can_be_stopped(self):
        self.fill()
        self.thin_out()
        self.assertEqual(fields(self.c, "memory")["active_defrag_running"], "0")
        self.start(**{"active-defrag-cycle-min": "1", "active-defrag-cycle-max": "1",
                      "active-defrag-cycle-us": "1"})
        self.until(lambda: fields(self.c, "memory")["active_defrag_running"] != "0", "no round")
        self.c.ok("CONFIG", "SET", "activedefrag", "no")
        self.until(lambda: fields(self.c, "memory")["active_defrag_running"] == "0", "goes on")
        hits = self.hits()
        time.sleep(1.2)
        self.assertEqual(self.hits(), hits)
        self.assertEqual(self.c.ok("CONFIG", "GET", "activedefrag"), [b"activedefrag", b"no"])


if __name__ == "__main__":
    unittest.main()
