"""Hot and big keys: HOTKEYS, the samples that the admin page shows, and redis-cli's own ways
(--hotkeys, --bigkeys, --memkeys), which take nothing but ordinary commands.
"""

import json
import random
import subprocess
import sys
import time
import unittest
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import support  # noqa: E402


def pairs(flat):
    return dict(zip(flat[0::2], flat[1::2]))


class Sessions(support.ServerTest):
    def setUp(self):
        super().setUp()
        self.c = self.client()
        self.addCleanup(self.c.call, "HOTKEYS", "RESET")
        self.addCleanup(self.c.call, "HOTKEYS", "STOP")

    def get(self):
        return pairs(self.c.ok("HOTKEYS", "GET")[0])

    def test_errors(self):
        for args, text in (
                ((), "METRICS parameter is required"),
                (("COUNT", 3), "METRICS parameter is required"),
                (("METRICS", 0, "CPU"), "METRICS count"), (("METRICS", -1), "METRICS count"),
                (("METRICS", 3, "CPU", "NET"), "METRICS count"),
                (("METRICS", 2, "CPU"), "METRICS count does not match number of metric types"),
                (("METRICS", 1, "CPU", "NET"), "syntax error"),
                (("METRICS", 1, "GPU"), "METRICS no valid metrics"),
                (("METRICS", 2, "CPU", "CPU"), "METRICS CPU"),
                (("METRICS", 1, "CPU", "COUNT", 0), "COUNT must be between 1 and 64"),
                (("METRICS", 1, "CPU", "COUNT", 100), "COUNT must be between 1 and 64"),
                (("METRICS", 1, "CPU", "SAMPLE", 0), "SAMPLE ratio must be positive"),
                (("METRICS", 1, "CPU", "SAMPLE"), "syntax error"),
                (("METRICS", 1, "CPU", "SLOTS", 2, 0, 5), "SLOTS parameter cannot be used")):
            with self.subTest(args=args):
                reply = self.c.call("HOTKEYS", "START", *args)
                self.assertIsInstance(reply, support.Error)
                self.assertIn(text, reply.decode())
        self.assertIsNone(self.c.ok("HOTKEYS", "GET"))
        self.assertIsNone(self.c.ok("HOTKEYS", "STOP"))
        self.c.ok("HOTKEYS", "START", "METRICS", 2, "GPU", "CPU")
        self.assertIn(b"already in progress", self.c.call("HOTKEYS", "START", "METRICS", 1, "NET"))
        self.assertIn(b"stop tracking first", self.c.call("HOTKEYS", "RESET"))
        self.assertEqual(self.c.ok("HOTKEYS", "STOP"), support.OK)
        self.assertEqual(self.c.ok("HOTKEYS", "RESET"), support.OK)
        self.assertIsNone(self.c.ok("HOTKEYS", "GET"))

    def test_what_it_counts(self):
        """By hand: every command is counted, with all its keys, whichever shard they are on."""
        self.c.ok("HOTKEYS", "START", "METRICS", 2, "CPU", "NET", "COUNT", 20)
        with self.server.client() as other:
            for n in range(100):
                other.ok("SET", "often", "v")
                self.c.ok("GET", "often")
                if n % 2:
                    self.c.ok("MSET", "a", "1", "b", "2", "c", "3")
            self.c.ok("EVAL", "for i = 1, 30 do redis.call('INCR', KEYS[1]) end", 1, "scripted")
            self.c.ok("MULTI")
            for _ in range(40):
                self.c.ok("LPUSH", "queued", "x")
            self.c.ok("EXEC")
        got = self.get()
        self.assertEqual(got[b"tracking-active"], 1)
        self.assertEqual(got[b"sample-ratio"], 1)
        net = pairs(got[b"by-net-bytes"])
        cpu = pairs(got[b"by-cpu-time-us"])
        for key in (b"often", b"a", b"b", b"c", b"scripted", b"queued"):
            self.assertIn(key, net)
        one = len(support.encode("SET", "often", "v")) + 5 + \
            len(support.encode("GET", "often")) + 7
        self.assertEqual(net[b"often"], 100 * one)
        self.assertEqual(net[b"a"], 50 * (len(support.encode(
            "MSET", "a", "1", "b", "2", "c", "3")) + 5))
        self.assertEqual(got[b"by-net-bytes"][0], b"often")
        self.assertEqual(list(cpu.values()), sorted(cpu.values(), reverse=True))
        self.assertLessEqual(sum(cpu.values()), 3 * got[b"all-commands-all-slots-us"] + 100)
        self.assertGreaterEqual(got[b"net-bytes-all-commands-all-slots"], net[b"often"])
        self.c.ok("HOTKEYS", "STOP")
        stopped = self.get()
        self.c.ok("SET", "often", "v")
        self.assertEqual(self.get(), stopped)
        self.assertEqual(stopped[b"tracking-active"], 0)

    def test_metrics_and_resp3(self):
        with self.server.client(resp=3) as c:
            c.ok("HOTKEYS", "START", "METRICS", 1, "NET", "SAMPLE", 5)
            c.ok("SET", "k", "v")
            reply = c.ok("HOTKEYS", "GET")
            self.assertIsInstance(reply[0], support.Map)
            names = [k.decode() for k, _ in reply[0].pairs()]
            self.assertIn("total-net-bytes", names)
            self.assertIn("by-net-bytes", names)
            self.assertNotIn("by-cpu-time-us", names)
            self.assertNotIn("total-cpu-time-user-ms", names)
            self.assertEqual(reply[0].get(b"sample-ratio"), 5)

    def test_duration(self):
        self.c.ok("HOTKEYS", "START", "METRICS", 1, "CPU", "DURATION", 1)
        self.assertEqual(self.get()[b"tracking-active"], 1)
        deadline = time.monotonic() + 20
        while self.get()[b"tracking-active"]:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.1)
        self.assertEqual(self.get()[b"collection-duration-ms"], 1000)

    def test_hot_among_many(self):
        """80 % of the commands go to 20 of 2000 keys: those are found, with one in ten sampled."""
        dice = random.Random(3)
        self.c.ok("HOTKEYS", "START", "METRICS", 2, "CPU", "NET", "SAMPLE", 10)
        for _ in range(200):
            self.c.pipeline([("SET", f"hot{dice.randrange(20)}" if dice.random() < 0.8 else
                              f"cold{dice.randrange(2000)}", "v" * 20) for _ in range(100)])
        got = self.get()
        # A command during which its worker was descheduled is a hot one by time.
        for name, least in ((b"by-cpu-time-us", 4), (b"by-net-bytes", 8)):
            keys = list(pairs(got[name]))
            self.assertEqual(len(keys), 10)
            self.assertGreaterEqual(sum(key.startswith(b"hot") for key in keys), least, keys)


class Page(unittest.TestCase):
    """What the admin port's figures say of hot and big keys."""

    def setUp(self):
        self.port = support.free_port()
        self.server = support.server("--admin-port", str(self.port))
        self.addCleanup(self.server.stop)
        self.c = self.server.client()
        self.addCleanup(self.c.close)

    def told(self):
        with urllib.request.urlopen(f"http://{support.HOST}:{self.port}/stats.json",
                                    timeout=30) as answer:
            return json.load(answer)["told"]

    def hot(self):
        found = {}
        for told in self.told():
            for entry in told["hot"]:
                found[entry["key"]] = found.get(entry["key"], 0) + entry["samples"]
        return found

    def load(self):
        """One command in four is for the same key, always at the same places of a pipeline."""
        dice = random.Random(1)
        for _ in range(100):
            self.c.pipeline([("GET", "hot" if n % 4 == 0 else f"key{dice.randrange(100000)}")
                             for n in range(128)])

    def test_hot(self):
        self.load()
        found = self.hot()
        self.assertIn("hot", found)
        samples = 100 * 128 / 64
        self.assertGreater(found["hot"], samples / 4 * 0.5)
        self.assertLess(found["hot"], samples / 4 * 1.5)
        self.assertLess(len(found), 30)

    def test_off(self):
        self.c.ok("CONFIG", "SET", "hot-keys", "no")
        self.load()
        self.assertEqual(self.hot(), {})

    def test_big(self):
        self.c.ok("RPUSH", "list", *["v" * 50] * 5000)
        self.c.ok("SADD", "set", *range(3000))
        self.c.ok("HSET", "hash", *range(4000))
        self.c.ok("SELECT", 3)
        self.c.ok("SET", "string\"", "v" * 1_000_000)
        self.c.ok("SET", "small", "v" * 100)
        deadline = time.monotonic() + 60
        while True:
            big = {(e["db"], e["key"]): e for told in self.told() for e in told["big"]}
            if len(big) >= 4:
                break
            self.assertLess(time.monotonic(), deadline, big)
            time.sleep(1)
        self.assertEqual(set(big), {(0, "list"), (0, "set"), (0, "hash"), (3, 'string"')})
        self.assertGreater(big[3, 'string"']["bytes"], 1_000_000)
        self.assertEqual({e["type"] for e in big.values()}, {"list", "set", "hash", "string"})


class RedisCli(support.ServerTest):
    def cli(self, *args):
        done = subprocess.run(["redis-cli", "-p", str(self.server.port), *args], timeout=120,
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout.replace("'", '"').replace('""', '"')  # 7.0 quotes, and quotes again

    def setUp(self):
        super().setUp()
        self.c = self.client()
        self.c.ok("FLUSHALL")
        self.c.ok("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
        self.addCleanup(self.c.call, "CONFIG", "SET", "maxmemory-policy", "noeviction")
        for n in range(300):
            self.c.ok("SET", f"k{n}", "v" * n)
        self.c.ok("RPUSH", "thelist", *range(1000))
        self.c.ok("SADD", "theset", *range(500))
        self.c.ok("ZADD", "thezset", *range(200))
        self.c.ok("HSET", "thehash", *range(600))
        self.c.ok("XADD", "thestream", "*", "f", "v")

    def test_bigkeys(self):
        text = self.cli("--bigkeys")
        self.assertIn("Sampled 305 keys in the keyspace!", text)
        for line in ('Biggest   list found "thelist" has 1000 items',
                     'Biggest    set found "theset" has 500 members',
                     'Biggest   hash found "thehash" has 300 fields',
                     'Biggest   zset found "thezset" has 100 members',
                     'Biggest string found "k299" has 299 bytes',
                     'Biggest stream found "thestream" has 1 entries'):
            self.assertIn(line, text)

    def test_memkeys(self):
        text = self.cli("--memkeys")
        self.assertIn("Sampled 305 keys in the keyspace!", text)
        size = self.c.ok("MEMORY", "USAGE", "thelist", "SAMPLES", 0)
        self.assertRegex(text, rf'Biggest   list found "thelist" has {size} bytes')

    def test_hotkeys(self):
        for _ in range(200):
            self.c.pipeline([("GET", "k7")] * 50)
        text = self.cli("--hotkeys")
        first = [line for line in text.splitlines() if line.startswith("hot key found")][0]
        self.assertIn('"k7"', first)
        self.c.ok("CONFIG", "SET", "maxmemory-policy", "noeviction")
        done = subprocess.run(["redis-cli", "-p", str(self.server.port), "--hotkeys"],
                              timeout=120, capture_output=True, text=True)
        self.assertIn("An LFU maxmemory policy is not selected", done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
