"""Debian's prometheus-redis-exporter reads Splitring as it reads redis-server: the same metrics,
with the same labels, from INFO, CONFIG, SLOWLOG, LATENCY, CLIENT LIST, SCAN and XINFO.

What it yields from redis-server must come from us, too; a difference that is right is in ABSENT or
LABELS_DIFFER, with its reason.
"""

import re
import shutil
import subprocess
import sys
import time
import unittest
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import support  # noqa: E402

EXPORTER = "prometheus-redis-exporter"
OPTIONS = ["-include-system-metrics", "-include-config-metrics", "-export-client-list",
           "-check-keys", "*", "-check-streams", "s*", "-count-keys", "db0=*"]
ABSENT = {}
HIDDEN_SETTINGS = {"aof-disable-auto-gc"}  # as in Redis 7.2, where 7.0 still shows it
# Metrics whose labels say which server it is, or what its clients did a moment ago.
LABELS_DIFFER = {"redis_instance_info", "redis_connected_clients_details"}
SAMPLE = re.compile(r"(\w+)(\{.*\})? (\S+)$")


def scrape(server):
    """What the exporter yields from a server: {(name, labels): value}."""
    port = support.free_port()
    exporter = subprocess.Popen(
        [EXPORTER, "-redis.addr", f"redis://{support.HOST}:{server.port}",
         "-web.listen-address", f"{support.HOST}:{port}", "-redis-only-metrics", *OPTIONS],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                with urllib.request.urlopen(f"http://{support.HOST}:{port}/metrics",
                                            timeout=30) as answer:
                    text = answer.read().decode()
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
    finally:
        exporter.kill()
        exporter.wait()
    return {(m[1], m[2] or ""): float(m[3]) for m in map(SAMPLE.match, text.splitlines()) if m}


def use(client):
    """The same life for both servers: every section of INFO has something to show."""
    client.ok("CONFIG", "SET", "slowlog-log-slower-than", 0)
    client.ok("CONFIG", "SET", "latency-monitor-threshold", 1)
    client.ok("SET", "k", "v", "EX", 1000)
    client.ok("GET", "k")
    client.call("GET", "missing")
    client.ok("RPUSH", "list", *range(10))
    client.ok("HSET", "hash", "f", "v")
    client.ok("SADD", "set", 1, 2, 3)
    client.ok("ZADD", "zset", 1, "a")
    client.ok("XADD", "stream", "1-1", "f", "v")
    client.ok("XGROUP", "CREATE", "stream", "group", "0")
    client.ok("XREADGROUP", "GROUP", "group", "me", "STREAMS", "stream", ">")
    client.ok("PFADD", "log", "x")
    client.call("NOSUCHCOMMAND")
    client.call("LPUSH", "k", "v")
    client.ok("EVAL", "local t = 0 for i = 1, 2000000 do t = t + i end return 1", 0)
    client.ok("INFO")


@unittest.skipUnless(shutil.which(EXPORTER), f"{EXPORTER} is not installed")
class Exporter(support.ServerTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.peer = support.oracle()
        cls.addClassCleanup(cls.peer.stop)
        with cls.peer.client() as client:
            use(client)
        cls.theirs = scrape(cls.peer)

    def setUp(self):
        super().setUp()
        with self.server.client() as client:
            client.ok("FLUSHALL")
            use(client)
        self.ours = scrape(self.server)

    def test_nothing_is_missing(self):
        self.assertGreater(len({name for name, _ in self.theirs}), 130)
        missing = {sample for sample in self.theirs if sample[0] not in LABELS_DIFFER
                   and sample not in self.ours and sample[0] not in ABSENT}
        settings = {s for s in missing if s[0] == "redis_config_key_value"}
        ours = {key for name, labels in self.ours for key in re.findall(r'key="([^"]*)"', labels)}
        for _, labels in settings:  # with a value of its own is not missing
            key = re.search(r'key="([^"]*)"', labels)[1]
            self.assertTrue(key in ours or key in HIDDEN_SETTINGS, key)
        missing -= settings
        self.assertEqual(missing, set())
        names = {name for name, _ in self.ours}
        self.assertEqual(LABELS_DIFFER - names, set())

    def test_figures(self):
        ours, theirs = self.ours, self.theirs
        self.assertEqual(ours["redis_up", ""], 1)
        self.assertEqual(ours["redis_exporter_last_scrape_error", '{err=""}'], 0)
        for name, labels in (("redis_db_keys", '{db="db0"}'), ("redis_slowlog_length", None),
                             ("redis_db_keys_expiring", '{db="db0"}'),
                             ("redis_stream_length", None), ("redis_key_size", None),
                             ("redis_stream_groups", None),
                             ("redis_stream_group_messages_pending", None),
                             ("redis_commands_total", '{cmd="lpush"}'),
                             ("redis_commands_failed_calls_total", '{cmd="lpush"}'),
                             ("redis_commands_total", '{cmd="set"}')):
            of_both = [{k[1]: v for k, v in samples.items()
                        if k[0] == name and labels in (None, k[1])} for samples in (ours, theirs)]
            with self.subTest(name=name):
                self.assertTrue(of_both[0])
                if name == "redis_slowlog_length":
                    self.assertGreater(of_both[0][""], 10)
                else:
                    self.assertEqual(of_both[0], of_both[1])
        hist = ("redis_latency_percentiles_usec", '{cmd="eval",quantile="99"}')
        self.assertGreater(ours[hist], 1000)
        spike = ("redis_latency_spike_last", '{event_name="command"}')
        self.assertGreaterEqual(ours[spike], 0.001)


if __name__ == "__main__":
    unittest.main()
