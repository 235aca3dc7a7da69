"""INFO beside Debian's redis-server: the same sections, the same fields, and figures that add up.

Exporters and dashboards look fields up by name, so a field that the original has must be here
unless ABSENT says why not.
"""

import re
import sys
import time
import tomllib
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import support  # noqa: E402

ABSENT = {}  # field of redis-server 7.0 → the reason why it is not here
# Fields whose type a client depends on; the rest are checked to be like the original's.
NUMBER = re.compile(r"-?\d+(\.\d+)?%?$")
TICK_SECONDS = 1.0  # gauges and peaks are taken once a second


def sections(text):
    """INFO's text as {section: {field: value}}."""
    result = {}
    for line in text.split("\r\n"):
        if line.startswith("# "):
            fields = result.setdefault(line[2:], {})
        elif line:
            name, value = line.split(":", 1)
            fields[name] = value
    return result


def info(client, *names):
    return sections(client.ok("INFO", *names).decode())


def field(client, section, name):
    return int(info(client, section)[section.capitalize()][name])


def pairs(value):
    """calls=1,usec=2 as a dictionary."""
    return {k: float(v) for k, v in (part.split("=") for part in value.split(","))}


class Shape(support.ServerTest):
    """What a reader of INFO relies on, compared with the original."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.peer = support.oracle()
        cls.addClassCleanup(cls.peer.stop)

    def setUp(self):
        super().setUp()
        self.ours = self.client()
        self.theirs = self.peer.client()
        self.addCleanup(self.theirs.close)

    def test_every_field(self):
        for client in (self.ours, self.theirs):
            client.ok("SET", "k", "v", "EX", "100")
            client.call("NOSUCHCOMMAND")
        ours, theirs = info(self.ours, "everything"), info(self.theirs, "everything")
        for section, fields in theirs.items():
            self.assertIn(section, ours)
            if section in ("Latencystats", "Commandstats"):
                continue
            missing = set(fields) - set(ours[section]) - set(ABSENT)
            self.assertEqual(missing, set(), section)
        for name in ABSENT:
            self.assertIn(name, {f for fields in theirs.values() for f in fields})

    def test_values_look_alike(self):
        ours, theirs = info(self.ours, "all"), info(self.theirs, "all")
        for section in ("Server", "Clients", "Memory", "Persistence", "Stats", "Replication",
                        "CPU", "Cluster"):
            for name, value in theirs[section].items():
                if name in ABSENT or name in ("redis_git_sha1", "redis_build_id", "run_id",
                                              "master_replid", "executable", "config_file"):
                    continue
                with self.subTest(name=name):
                    self.assertEqual(bool(NUMBER.match(value)),
                                     bool(NUMBER.match(ours[section][name])), ours[section][name])

    def test_sections_in_order(self):
        for names in ([], ["default"], ["all"], ["everything"], ["modules"], ["module_list"],
                      ["cpu", "server"], ["SERVER", "Server"], ["nosuch"], ["nosuch", "keyspace"],
                      ["default", "commandstats"], ["commandstats", "latencystats"], [""]):
            with self.subTest(names=names):
                ours = [s for s in info(self.ours, *names) if s != "Splitring"]
                self.assertEqual(ours, list(info(self.theirs, *names)))

    def test_form(self):
        text = self.ours.ok("INFO", "server", "clients")
        self.assertTrue(text.startswith(b"# Server\r\nredis_version:"))
        self.assertIn(b"\r\n\r\n# Clients\r\nconnected_clients:", text)
        self.assertTrue(text.endswith(b"\r\n"))
        self.assertEqual(self.ours.ok("INFO", "nosuch"), b"")
        with self.server.client(resp=3) as client:
            client.send("INFO", "cluster")
            self.assertEqual(client.raw(), b"=34\r\ntxt:# Cluster\r\ncluster_enabled:0\r\n\r\n")

    def test_redis_py_reads_it(self):
        ours = self.redis().info("everything")
        self.assertEqual(ours["redis_mode"], "standalone")
        self.assertGreaterEqual(ours["worker0"]["clients"], 0)
        self.assertEqual(self.redis().info("commandstats")["cmdstat_info"]["rejected_calls"], 0)

    def test_error_words_are_known(self):
        """INFO errorstats has a counter for each first word in errors.toml."""
        texts = tomllib.loads((support.ROOT / "src/resp/errors.toml").read_text())
        texts.pop("fragments")  # stand inside others
        words = {text.split()[0] for group in texts.values() for text in group.values()}
        source = (support.ROOT / "src/worker/stats.c").read_text()
        known = source[source.index("error_codes[] = {"):source.index("#define CODE_OTHER")]
        self.assertEqual(words - {"NOKEY"} - set(re.findall(r'"(\w+)"', known)), set())


class Figures(support.ServerTest):
    """Numbers add up over workers and shards."""

    options = ["--databases", "4"]

    def setUp(self):
        super().setUp()
        self.c = self.client()
        self.c.ok("CONFIG", "RESETSTAT")

    def keyspace(self, client=None):
        return {name: pairs(value)
                for name, value in info(client or self.c, "keyspace")["Keyspace"].items()}

    def test_server(self):
        server = info(self.c, "server")["Server"]
        self.assertEqual(server["process_id"], str(self.server.pid))
        self.assertEqual(server["tcp_port"], str(self.server.port))
        self.assertEqual(Path(server["executable"]).resolve(), Path(support.program()).resolve())
        self.assertRegex(server["run_id"], r"^[0-9a-f]{40}$")
        self.assertEqual(server["listener0"],
                         f"name=tcp,bind={support.HOST},port={self.server.port}")
        self.assertIn(server["io_engine"], ("io_uring", "epoll"))
        self.assertEqual(server["io_engine"], server["multiplexing_api"])
        if support.threads():
            self.assertEqual(server["workers"], str(support.threads()))
        self.assertLess(abs(int(server["server_time_usec"]) / 1e6 - time.time()), 60)

    def test_own_writes_are_seen_at_once(self):
        """After the reply of a SET, INFO has it: on this connection, in the same pipeline, and on
        any other."""
        others = [self.client() for _ in range(8)]
        for n in range(1, 300):
            self.c.ok("SET", f"key:{n}", "x")
            seen = self.keyspace(others[n % 8])["db0"]["keys"]
            self.assertEqual(seen, n)
        replies = self.c.pipeline([("SET", f"more:{n}", "x") for n in range(50)] +
                                  [("INFO", "keyspace")])
        text = sections(replies[-1].decode())
        self.assertEqual(pairs(text["Keyspace"]["db0"])["keys"], 349)

    def test_keyspace_lines(self):
        self.assertEqual(self.keyspace(), {})
        commands = [("SET", f"k{n}", n) for n in range(100)]
        commands += [("EXPIRE", f"k{n}", 1000) for n in range(40)]
        commands += [("SELECT", 3)] + [("SET", f"k{n}", n) for n in range(7)] + [("SELECT", 0)]
        self.c.pipeline(commands)
        lines = self.keyspace()
        self.assertEqual(set(lines), {"db0", "db3"})
        self.assertEqual((lines["db0"]["keys"], lines["db0"]["expires"]), (100, 40))
        self.assertEqual((lines["db3"]["keys"], lines["db3"]["expires"]), (7, 0))
        deadline = time.monotonic() + 20 * TICK_SECONDS
        while not 900e3 < self.keyspace()["db0"]["avg_ttl"] <= 1000e3:
            self.assertLess(time.monotonic(), deadline, self.keyspace())
            self.c.ok("GET", "k1")  # an idle server takes no gauges
            time.sleep(0.05)

    def test_hits_and_misses(self):
        self.c.ok("MSET", *[text for n in range(200) for text in (f"k{n}", "v")])
        for n in range(300):
            self.c.ok("GET", f"k{n}")
        self.c.ok("MGET", *[f"k{n}" for n in range(150, 250)])
        stats = info(self.c, "stats")["Stats"]
        self.assertEqual(int(stats["keyspace_hits"]), 250)
        self.assertEqual(int(stats["keyspace_misses"]), 150)
        calls = pairs(info(self.c, "commandstats")["Commandstats"]["cmdstat_mget"])["calls"]
        self.assertEqual(calls, 1)
        shards = [pairs(v) for k, v in info(self.c, "splitring")["Splitring"].items()
                  if k.startswith("shard")]
        self.assertEqual(sum(s["hits"] for s in shards), 250)
        self.assertEqual(sum(s["keys"] for s in shards), 200)

    def test_commands_and_traffic_grow(self):
        before = info(self.c, "all")
        for _ in range(10):
            self.c.pipeline([("PING",)] * 20)
        after = info(self.c, "all")

        def grew(name):
            return int(after["Stats"][name]) - int(before["Stats"][name])
        self.assertEqual(grew("total_commands_processed"), 201)
        self.assertGreaterEqual(grew("total_net_input_bytes"), 200 * 14)
        self.assertGreaterEqual(grew("total_net_output_bytes"), 200 * 7)
        self.assertGreaterEqual(grew("total_reads_processed"), 10)
        self.assertGreaterEqual(grew("total_writes_processed"), 10)
        self.assertEqual(pairs(after["Commandstats"]["cmdstat_ping"])["calls"] -
                         pairs(before["Commandstats"].get("cmdstat_ping", "calls=0"))["calls"], 200)
        workers = [pairs(v) for k, v in after["Splitring"].items() if k.startswith("worker")]
        self.assertEqual(sum(w["commands"] for w in workers),
                         int(after["Stats"]["total_commands_processed"]))
        for worker in workers:
            self.assertLessEqual(worker["mailbox_deepest"], worker["messages_in"])
        self.assertGreaterEqual(float(after["CPU"]["used_cpu_user"]),
                                float(before["CPU"]["used_cpu_user"]))

    def test_connections(self):
        received = field(self.c, "stats", "total_connections_received")
        clients = [self.server.client() for _ in range(5)]
        for client in clients:
            client.ok("PING")
        connected = field(self.c, "clients", "connected_clients")
        self.assertEqual(field(self.c, "stats", "total_connections_received"), received + 5)
        for client in clients:
            client.close()
        deadline = time.monotonic() + 10
        while field(self.c, "clients", "connected_clients") != connected - 5:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)

    def test_errors(self):
        self.c.ok("SET", "text", "abc")
        self.c.call("INCR", "text")             # ERR, while it runs
        self.c.call("NOSUCH")                   # ERR, unknown
        self.c.call("GET")                      # ERR, arity
        self.c.call("CLIENT", "KILL", "x:1")    # ERR, by a fan-out
        self.c.call("CONFIG", "SET", "port", "99999999")
        self.c.call("AUTH", "nobody", "x")      # WRONGPASS
        everything = info(self.c, "all")
        self.assertEqual(int(everything["Stats"]["total_error_replies"]), 6)
        self.assertEqual(everything["Errorstats"], {"errorstat_ERR": "count=5",
                                                    "errorstat_WRONGPASS": "count=1"})
        stats = {name[8:]: pairs(value) for name, value in everything["Commandstats"].items()}
        self.assertEqual((stats["incr"]["calls"], stats["incr"]["failed_calls"]), (1, 1))
        self.assertEqual((stats["get"]["calls"], stats["get"]["rejected_calls"]), (0, 1))
        self.assertEqual(stats["client|kill"]["failed_calls"], 1)
        self.c.ok("CONFIG", "RESETSTAT")
        again = info(self.c, "all")
        self.assertEqual(again["Errorstats"], {})
        self.assertLessEqual(set(again["Commandstats"]),
                             {"cmdstat_info", "cmdstat_config|resetstat"})

    def test_errors_of_who_waited(self):
        """The call was counted when the client began to wait; its error is when it ends."""
        waiter = self.client()
        ident = waiter.ok("CLIENT", "ID")
        self.c.ok("CONFIG", "RESETSTAT")
        self.c.ok("XGROUP", "CREATE", "stream", "group", "$", "MKSTREAM")
        read = ("XREADGROUP", "GROUP", "group", "me", "BLOCK", 0, "STREAMS", "stream", ">")
        for wait, end in ((read, ("XGROUP", "DESTROY", "stream", "group")),
                          (("BLPOP", "list", 0), ("CLIENT", "UNBLOCK", ident, "ERROR"))):
            waiter.send(*wait)
            deadline = time.monotonic() + 10
            while field(self.c, "clients", "blocked_clients") != 1:
                self.assertLess(time.monotonic(), deadline)
            self.c.ok(*end)
            self.assertTrue(waiter.raw().startswith((b"-NOGROUP", b"-UNBLOCKED")))
        everything = info(self.c, "all")
        self.assertEqual(everything["Errorstats"], {"errorstat_NOGROUP": "count=1",
                                                    "errorstat_UNBLOCKED": "count=1"})
        self.assertEqual(everything["Stats"]["total_error_replies"], "2")
        for name in ("xreadgroup", "blpop"):
            stats = pairs(everything["Commandstats"][f"cmdstat_{name}"])
            self.assertEqual((stats["calls"], stats["failed_calls"]), (1, 1))

    def test_memory_grows_and_returns(self):
        empty = info(self.c, "memory")["Memory"]
        value = "v" * 1000
        for first in range(0, 20000, 500):
            self.c.ok("MSET", *[text for n in range(500) for text in (f"k{first + n}", value)])
        full = info(self.c, "memory")["Memory"]
        grown = int(full["used_memory"]) - int(empty["used_memory"])
        self.assertGreater(grown, 20000 * 1000)
        self.assertLess(grown, 20000 * 1500)
        self.assertGreaterEqual(int(full["used_memory_peak"]), int(full["used_memory"]))
        self.assertGreater(int(full["used_memory_dataset"]), 20000 * 1000)
        self.assertGreater(float(full["used_memory_dataset_perc"].rstrip("%")), 90)
        self.assertRegex(full["used_memory_human"], r"^\d+\.\d\dM$")
        self.assertGreater(int(full["used_memory_rss"]), grown)
        self.c.ok("FLUSHALL")
        deadline = time.monotonic() + 20
        while field(self.c, "memory", "used_memory") > int(empty["used_memory"]) + 1_000_000:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)

    def test_keys_waited_for_and_watched(self):
        names = ("watching_clients", "total_watched_keys", "total_blocking_keys",
                 "total_blocking_keys_on_nokey", "clients_in_timeout_table", "blocked_clients")

        def wait_for(*expected):
            deadline = time.monotonic() + 10
            while True:
                clients = info(self.c, "clients")["Clients"]
                seen = tuple(int(clients[name]) for name in names)
                if seen == expected:
                    return
                self.assertLess(time.monotonic(), deadline, seen)
                time.sleep(0.01)

        wait_for(0, 0, 0, 0, 0, 0)
        a, b, d, e = (self.client() for _ in range(4))
        a.ok("WATCH", "k1", "k2", "k3")
        b.ok("WATCH", "k1", "k4")
        wait_for(2, 4, 0, 0, 0, 0)
        a.ok("UNWATCH")
        wait_for(1, 2, 0, 0, 0, 0)
        b.ok("MULTI")
        b.ok("EXEC")
        wait_for(0, 0, 0, 0, 0, 0)
        self.c.ok("XGROUP", "CREATE", "stream", "group", "$", "MKSTREAM")
        a.send("BLPOP", "l1", "l2", "l2", 100)
        b.send("BLPOP", "l2", "l3", 0)
        d.send("XREADGROUP", "GROUP", "group", "me", "BLOCK", 0, "STREAMS", "stream", ">")
        e.send("XREAD", "BLOCK", 0, "STREAMS", "stream", "$")
        wait_for(0, 0, 4, 1, 1, 4)
        self.c.ok("RPUSH", "l2", "x", "y")
        self.c.ok("XADD", "stream", "*", "f", "v")
        for client in (a, b, d, e):
            client.read()
        wait_for(0, 0, 0, 0, 0, 0)

    def test_dirty(self):
        before = field(self.c, "persistence", "rdb_changes_since_last_save")
        self.c.pipeline([("SET", f"k{n}", n) for n in range(25)])
        after = field(self.c, "persistence", "rdb_changes_since_last_save")
        self.assertEqual(after - before, 25)


class FiguresOfMessages(Figures):
    """The same where nothing runs on a borrowed shard."""

    options = Figures.options + ["--shard-lending", "no"]


class Load(support.ServerTest):
    def test_rates_and_peak(self):
        """Figures of the last second while something happens, and none when nothing does."""
        c = self.client()
        end = time.monotonic() + 2.5 * TICK_SECONDS
        rate = 0
        while time.monotonic() < end:
            c.pipeline([("PING",)] * 50)
            rate = max(rate, field(c, "stats", "instantaneous_ops_per_sec"))
        self.assertGreater(rate, 100)
        deadline = time.monotonic() + 20 * TICK_SECONDS
        while field(c, "stats", "instantaneous_ops_per_sec") > 20:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.5)


if __name__ == "__main__":
    unittest.main()
