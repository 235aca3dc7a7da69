"""MEMORY's commands against redis-server's, and maxmemory-clients: who is closed, who is not."""

import re
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import support  # noqa: E402

PATIENCE_S = 10


def info(client, section, field):
    for line in client.ok("INFO", section).decode().split("\r\n"):
        if line.startswith(field + ":"):
            return line[len(field) + 1:]
    raise AssertionError(f"INFO {section} has no {field}")


def pairs(reply):
    return reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2]))


def clients(client):
    """{name: {field: value}} of those that have a name."""
    found = {}
    for line in client.ok("CLIENT", "LIST").decode().splitlines():
        fields = dict(word.split("=", 1) for word in line.split())
        if fields["name"]:
            found[fields["name"]] = fields
    return found


class Commands(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.ours = support.server()
        cls.addClassCleanup(cls.ours.stop)
        cls.redis_server = support.oracle()
        cls.addClassCleanup(cls.redis_server.stop)

    def setUp(self):
        for server in (self.ours, self.redis_server):
            with server.client() as client:
                client.ok("FLUSHALL")

    def both(self, *command, resp=2):
        replies = []
        for server in (self.ours, self.redis_server):
            with server.client(resp) as client:
                replies.append(client.call(*command))
        return replies

    def test_plain_replies(self):
        for resp in (2, 3):
            for line in ("MEMORY HELP", "MEMORY PURGE", "MEMORY PURGE x", "MEMORY STATS x",
                         "MEMORY MALLOC-STATS x", "MEMORY nothing", "MEMORY", "MEMORY DOCTOR",
                         "MEMORY USAGE nothing", "MEMORY USAGE a SAMPLES", "MEMORY USAGE a SAMPLES "
                         "-1", "MEMORY USAGE a b c"):
                ours, theirs = self.both(*line.split(), resp=resp)
                if line == "MEMORY HELP":  # its last line is worded as since 7.2
                    ours, theirs = ours[:-1], theirs[:-1]
                self.assertEqual(ours, theirs, line)

    def test_stats_has_redis_fields_in_its_order_and_types(self):
        for resp in (2, 3):
            for server in (self.ours, self.redis_server):
                with server.client(resp) as client:
                    client.ok("SET", "a", "1")
                    client.ok("SET", "b", "1", "EX", "1000")
                    client.ok("SELECT", "3")
                    client.ok("SET", "c", "1")
            ours, theirs = (pairs(reply) for reply in self.both("MEMORY", "STATS", resp=resp))
            self.assertEqual(list(ours), list(theirs))
            self.assertEqual([type(value) for value in ours.values()],
                             [type(value) for value in theirs.values()])
            self.assertEqual(list(pairs(ours[b"db.3"])), list(pairs(theirs[b"db.3"])))
            self.assertEqual(ours[b"keys.count"], 3)

    def test_stats_and_info_are_sums_that_hold(self):
        with self.ours.client() as client:
            client.ok("FUNCTION", "LOAD", "#!lua name=l\nredis.register_function('f', "
                      "function() return 1 end)")
            client.ok("SCRIPT", "LOAD", "return 1 -- " + "x" * 10000)
            for _ in client.pipeline([["SET", f"k{n}", "x" * 100] for n in range(20000)]):
                pass
            m = {name.decode(): value for name, value in
                 pairs(client.ok("MEMORY", "STATS")).items()}
            self.assertEqual(m["total.allocated"], m["overhead.total"] + m["dataset.bytes"])
            self.assertGreaterEqual(m["dataset.bytes"], 20000 * 100)
            self.assertGreaterEqual(pairs(m["db.0"])[b"overhead.hashtable.main"], 20000 * 8)
            self.assertGreaterEqual(m["lua.caches"], 10000)
            self.assertGreater(m["functions.caches"], 0)
            self.assertGreaterEqual(m["allocator.active"], m["allocator.allocated"])
            self.assertAlmostEqual(float(m["fragmentation"]),
                                   (m["total.allocated"] + m["fragmentation.bytes"]) /
                                   m["total.allocated"], 5)
            self.assertEqual(int(info(client, "memory", "used_memory_functions")),
                             m["functions.caches"])
            self.assertEqual(int(info(client, "memory", "used_memory")) -
                             int(info(client, "memory", "used_memory_overhead")),
                             int(info(client, "memory", "used_memory_dataset")))
            client.ok("FUNCTION", "FLUSH")
            client.ok("SCRIPT", "FLUSH")

    def test_malloc_stats_names_every_shard(self):
        with self.ours.client(3) as client:
            for _ in client.pipeline([["SET", f"k{n}", "x" * 40] for n in range(5000)]):
                pass
            text = client.ok("MEMORY", "MALLOC-STATS").decode()
            workers = int(info(client, "server", "workers"))
        for n in range(workers):
            self.assertIn(f"small blocks of shard {n}:", text)
        used = sum(int(count) for count in re.findall(r"shard \d+: used (\d+)", text))
        self.assertGreater(used, 5000 * 40)

    def test_info_has_every_field_of_redis_memory_section(self):
        names = []
        for server in (self.ours, self.redis_server):
            with server.client() as client:
                text = client.ok("INFO", "memory").decode()
                names.append(re.findall(r"^(\w+):", text, re.M))
        self.assertEqual(names[0], names[1])

    def test_doctor_sees_gaps(self):
        pause_s, text = 0.1, ""
        with self.ours.client() as client:
            allocator = info(client, "memory", "mem_allocator")
            while "Peak memory" not in text and pause_s < 20:
                client.pipeline([["SET", f"k{n}", "x" * 900] for n in range(60000)])
                time.sleep(pause_s)  # the peak is looked at once a second
                client.pipeline([["DEL", f"k{n}"] for n in range(60000) if n % 5])
                text = client.ok("MEMORY", "DOCTOR").decode()
                pause_s *= 2
        self.assertIn("Peak memory", text)
        if "mimalloc" in allocator:  # sanitizers want libc's, which has no pages of ours
            self.assertIn("allocator fragmentation", text)


class Eviction(unittest.TestCase):
    """Redis' own test of it runs in tests/compat/tcl_suite.py; here: several workers."""

    def setUp(self):
        self.server = support.server("--maxmemory-clients", "0")
        self.addCleanup(self.server.stop)
        self.control = self.server.client()
        self.addCleanup(self.control.close)
        self.control.ok("CLIENT", "SETNAME", "control")
        self.control.ok("CLIENT", "NO-EVICT", "on")

    def grown(self, name, size, evictable=True):
        """A client with an argument that never ends."""
        client = self.server.client()
        self.addCleanup(client.close)
        client.ok("CLIENT", "SETNAME", name)
        if not evictable:
            client.ok("CLIENT", "NO-EVICT", "on")
        client.send_bytes(b"*2\r\n$%d\r\n" % (size + 10) + b"x" * size)
        end = time.monotonic() + PATIENCE_S
        while int(clients(self.control)[name]["qbuf"]) < size:
            self.assertLess(time.monotonic(), end, name)
            time.sleep(0.01)
        return client

    def until(self, condition):
        end = time.monotonic() + PATIENCE_S
        while not condition():
            self.assertLess(time.monotonic(), end, self.server.log()[-2000:])
            time.sleep(0.01)

    def test_large_before_small_over_all_workers(self):
        for n in range(4):
            self.grown(f"small{n}", 100_000)
        for n in range(4):
            self.grown(f"middle{n}", 600_000)
        for n in range(4):
            self.grown(f"large{n}", 3_000_000)
        self.control.ok("CONFIG", "SET", "maxmemory-clients", "5mb")
        self.until(lambda: self.total() < 5 << 20)
        left = clients(self.control)
        self.assertEqual(sum(name.startswith("large") for name in left), 0)
        self.assertEqual(sum(name.startswith("middle") for name in left), 4)
        self.assertEqual(sum(name.startswith("small") for name in left), 4)
        self.assertEqual(info(self.control, "stats", "evicted_clients"), "4")
        log = self.server.log()
        self.assertEqual(len(re.findall(r"Evicting client: id=\d+ .*name=large\d .*tot-mem=3\d{6}",
                                        log)), 4)
        self.control.ok("CONFIG", "SET", "maxmemory-clients", "1mb")
        self.until(lambda: self.total() < 1 << 20)
        left = clients(self.control)
        self.assertGreaterEqual(sum(name.startswith("small") for name in left), 4)
        self.assertLess(sum(name.startswith("middle") for name in left), 2)

    def total(self):
        return sum(int(fields["tot-mem"]) for fields in clients(self.control).values())

    def test_no_evict_stays(self):
        self.grown("kept", 2_000_000, evictable=False)
        self.grown("gone", 300_000)
        self.control.ok("CONFIG", "SET", "maxmemory-clients", "1mb")
        self.until(lambda: "gone" not in clients(self.control))
        self.assertIn("kept", clients(self.control))
        self.until(lambda: "Over client maxmemory after evicting all evictable clients" in
                   self.server.log())

    def test_percent_of_maxmemory(self):
        self.grown("one", 400_000)
        self.control.ok("CONFIG", "SET", "maxmemory-clients", "5%")  # of nothing: no limit
        self.assertIn("one", clients(self.control))
        self.control.ok("CONFIG", "SET", "maxmemory", "100mb")
        self.assertIn("one", clients(self.control))
        self.control.ok("CONFIG", "SET", "maxmemory", "5mb")
        self.until(lambda: "one" not in clients(self.control))

    def test_counted_once_and_given_back(self):
        start = int(info(self.control, "memory", "mem_clients_normal"))
        client = self.grown("one", 1_000_000)
        self.control.ok("CONFIG", "SET", "maxmemory-clients", "100mb")
        self.until(lambda: int(info(self.control, "memory", "mem_clients_normal")) >=
                   start + 990_000)
        client.close()
        self.until(lambda: int(info(self.control, "memory", "mem_clients_normal")) <
                   start + 100_000)


class QueryBuffer(unittest.TestCase):
    """client-query-buffer-limit: who sends more than that before it can be run is closed."""

    def closed(self, server):
        with server.client() as control, server.client() as client:
            control.ok("CONFIG", "SET", "client-query-buffer-limit", "1mb")
            client.ok("SET", "k", "x" * 900_000)
            try:
                client.send_bytes(b"*2\r\n$3000000\r\n")
                for _ in range(20):
                    client.send_bytes(b"x" * 100_000)
                    time.sleep(0.01)
                client.read()
            except (ConnectionError, EOFError, OSError):
                pass
            else:
                self.fail("an answer")
            return int(info(control, "clients", "connected_clients"))

    def test_as_redis(self):
        with support.server() as ours, support.oracle() as theirs:
            self.assertEqual(self.closed(ours), self.closed(theirs))
            with ours.client() as client:
                self.assertEqual(
                    info(client, "stats", "client_query_buffer_limit_disconnections"), "1")


if __name__ == "__main__":
    unittest.main()
