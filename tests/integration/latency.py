"""LATENCY and what INFO says of time.

  shapes      replies and mistakes beside Debian's redis-server, RESP2 and RESP3
  events      samples of slow commands, one series over all workers, RESET
  histograms  counts are exact: LATENCY HISTOGRAM, STAGES, INFO latencystats and commandstats
"""

import os
import re
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import support  # noqa: E402

SAME = ["LATENCY", "LATENCY FOO", "LATENCY HISTORY", "LATENCY HISTORY nosuch", "LATENCY LATEST",
        "LATENCY LATEST x", "LATENCY DOCTOR", "LATENCY DOCTOR x", "LATENCY GRAPH",
        "LATENCY GRAPH command", "LATENCY GRAPH nosuch", "LATENCY RESET", "LATENCY RESET a b",
        "LATENCY HISTOGRAM nosuch", "LATENCY HISTOGRAM set nosuch"]
BOUNDS = {1, 2, 4, 8, 16, 33, 66, 132, 264, 528, 1056, 2113, 4227, 8454, 16908, 33816, 67633,
          135266, 270532, 541065, 1082130, 2164260}


def info(client, section):
    text = client.ok("INFO", section).decode()
    return dict(line.split(":", 1) for line in text.split("\r\n")[1:] if line)


class Latency(support.ServerTest):
    options = ["--enable-debug-command", "yes"]

    def setUp(self):
        super().setUp()
        self.c = self.client()
        self.c.ok("CONFIG", "SET", "latency-monitor-threshold", "0", "latency-tracking", "yes",
                  "latency-tracking-info-percentiles", "50 99 99.9")
        self.c.ok("LATENCY", "RESET")
        self.c.ok("CONFIG", "RESETSTAT")

    def test_shapes(self):
        with support.oracle() as peer:
            for resp in (2, 3):
                with peer.client(resp=resp) as theirs, self.server.client(resp=resp) as ours:
                    for threshold in ("0", "100000"):
                        for client in (theirs, ours):
                            client.ok("CONFIG", "RESETSTAT")
                            client.ok("CONFIG", "SET", "latency-monitor-threshold", threshold)
                        for command in SAME:
                            if resp == 3 and "HISTOGRAM set" in command:
                                continue
                            theirs.send(*command.split())
                            ours.send(*command.split())
                            self.assertEqual(ours.raw(), theirs.raw(), command)

    def test_events(self):
        self.c.ok("CONFIG", "SET", "latency-monitor-threshold", "40")
        before = int(time.time())
        clients = [self.client() for _ in range(4)]
        for n in range(3):
            clients[n].ok("DEBUG", "SLEEP", f"0.0{5 + n}")
            time.sleep(1.05)
        self.c.ok("SET", "k", "v")
        history = self.c.ok("LATENCY", "HISTORY", "command")
        self.assertEqual(len(history), 3)
        self.assertEqual([ms >= 50 + 10 * n for n, (_, ms) in enumerate(history)], [True] * 3)
        self.assertTrue(before <= history[0][0] < history[1][0] < history[2][0] <= time.time())
        latest = [e for e in self.c.ok("LATENCY", "LATEST") if e[0] == b"command"]
        self.assertEqual(latest, [[b"command", *history[2], max(ms for _, ms in history)]])
        graph = self.c.ok("LATENCY", "GRAPH", "command").decode().split("\n")
        self.assertRegex(graph[0], r"^command - high \d+ ms, low \d+ ms \(all time high \d+ ms\)$")
        self.assertEqual(graph[1], "-" * 80)
        self.assertIn(b"1. command: 3 latency spikes", self.c.ok("LATENCY", "DOCTOR"))
        self.assertEqual(self.c.ok("LATENCY", "RESET", "command", "nosuch"), 1)
        self.assertEqual(self.c.ok("LATENCY", "HISTORY", "command"), [])

    def test_histogram_is_exact(self):
        for n in range(50):
            self.c.pipeline([("SET", f"k{n}:{i}", i) for i in range(20)])
            self.c.ok("MGET", *(f"k{n}:{i}" for i in range(20)))
            self.c.ok("CONFIG", "GET", "port")
            self.c.ok("CLIENT", "LIST")
            self.c.pipeline([("MULTI",), ("GET", "k1:1"), ("GET", "k2:1"), ("EXEC",)])
        expected = {"set": 1000, "mget": 50, "config|get": 50, "client|list": 50, "get": 100,
                    "exec": 50, "multi": 50}
        names = [name.split("|")[0] for name in expected]
        with self.server.client(resp=3) as c3:
            reply = c3.ok("LATENCY", "HISTOGRAM", *names)
        for name, entry in reply.pairs():
            wanted = expected.pop(name.decode(), None)
            if wanted is None:
                continue
            self.assertEqual(entry.get(b"calls"), wanted, name)
            pairs = entry.get(b"histogram_usec").pairs()
            self.assertLessEqual({bound for bound, _ in pairs}, BOUNDS)
            counts = [count for _, count in pairs]
            self.assertEqual(counts, sorted(set(counts)))
            self.assertEqual(counts[-1], wanted)
        self.assertEqual(expected, {})

    def test_stages(self):
        for n in range(20):
            self.c.pipeline([("SET", f"k{i}", i) for i in range(100)])
        with self.server.client(resp=3) as c3:
            (name, stages), = c3.ok("LATENCY", "STAGES", "set").pairs()
        self.assertEqual(name, b"set")
        self.assertEqual(stages.get(b"ran_usec").get(b"calls"), 2000)
        for stage in (b"queued_usec", b"waited_usec", b"ran_usec"):
            values = stages.get(stage)
            self.assertGreater(values.get(b"calls"), 0)
            self.assertLessEqual(values.get(b"p50"), values.get(b"p99"))

    def test_info(self):
        for n in range(100):
            self.c.ok("SET", f"k{n}", n)
        line = info(self.c, "latencystats")["latency_percentiles_usec_set"]
        self.assertRegex(line, r"^p50=\d+\.\d{3},p99=\d+\.\d{3},p99\.9=\d+\.\d{3}$")
        self.c.ok("CONFIG", "SET", "latency-tracking-info-percentiles", "0 100 33.25")
        line = info(self.c, "latencystats")["latency_percentiles_usec_set"]
        self.assertEqual(re.findall(r"p([\d.]+)=", line), ["0", "100", "33.25"])
        self.c.ok("CONFIG", "SET", "latency-tracking", "no")
        self.assertEqual(info(self.c, "latencystats"), {})
        self.c.ok("CONFIG", "SET", "latency-tracking", "yes")
        self.c.ok("CONFIG", "RESETSTAT")
        self.assertNotIn("latency_percentiles_usec_set", info(self.c, "latencystats"))

    def test_usec_is_a_sum(self):
        """DEBUG SLEEP takes at least its time, once in each figure."""
        for _ in range(3):
            self.c.ok("DEBUG", "SLEEP", "0.02")
        stats = dict(part.split("=") for part in
                     info(self.c, "commandstats")["cmdstat_debug"].split(","))
        self.assertEqual(stats["calls"], "3")
        self.assertGreaterEqual(int(stats["usec"]), 60_000)


if __name__ == "__main__":
    os.environ.setdefault("TEST_THREADS", "2")
    unittest.main()
