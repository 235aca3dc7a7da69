"""CONFIG GET, SET and REWRITE, the command line and --check-config, beside Debian's redis-server.

What both servers know must read the same: every default, every refusal's text. What is ours alone
(threads, honest refusals of what is not built yet) is tested without the oracle, and skipped when
$SPLITRING is a redis-server, so that this file can be checked against the original itself.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import support  # noqa: E402

# Named by the tests' own start options, by the release, or by the place.
DIFFERENT = {
    "port", "dir", "logfile", "pidfile", "bind", "aof-disable-auto-gc", "ignore-warnings",
    "sanitize-dump-payload", "shutdown-timeout",
}
ORIGINAL = "redis-server" in support.program()
FATAL = "*** FATAL CONFIG FILE ERROR"


def config(client, *patterns):
    reply = client.ok("CONFIG", "GET", *patterns)
    return dict(zip((k.decode() for k in reply[0::2]), (v.decode() for v in reply[1::2])))


class WithOracle(support.ServerTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.peer = support.oracle()
        cls.addClassCleanup(cls.peer.stop)

    def setUp(self):
        self.ours = self.client()
        self.theirs = self.peer.client()
        self.addCleanup(self.theirs.close)

    def same(self, *args):
        ours, theirs = self.ours.call(*args), self.theirs.call(*args)
        self.assertEqual(ours, theirs, args)
        return ours


class Defaults(WithOracle):
    def test_every_default(self):
        ours, theirs = config(self.ours, "*"), config(self.theirs, "*")
        self.assertEqual(set(theirs) - set(ours) - DIFFERENT, set(), "unknown here")
        for name in sorted(set(ours) & set(theirs) - DIFFERENT):
            with self.subTest(name=name):
                self.assertEqual(ours[name], theirs[name])

    def test_dir_is_absolute(self):
        self.assertTrue(os.path.isabs(config(self.ours, "dir")["dir"]))


class Get(WithOracle):
    def same_set(self, *patterns):
        ours, theirs = config(self.ours, *patterns), config(self.theirs, *patterns)
        self.assertEqual(ours, theirs, patterns)
        return ours

    def test_names(self):
        self.same_set("maxmemory")
        self.same_set("MaxMemory")
        self.same_set("slave-priority", "replica-priority", "slave-priority")
        self.same_set("no-such-thing")
        self.same_set("include", "rename-command", "user", "loadmodule")

    def test_patterns(self):
        self.same_set("maxmemor?")
        self.same_set("[m]axmemory", "maxmemory")
        self.same_set("MAXMEMORY*")
        self.same_set("max\\memory")
        self.same_set("hash-max-*", "zset-max-*")
        self.same_set("client-*")
        self.same_set("*-priority", "slave-priority")

    def test_map_in_resp3(self):
        reply = self.client(resp=3).call("CONFIG", "GET", "maxmemory-policy")
        self.assertIsInstance(reply, support.Map)
        self.assertEqual(reply.get(b"maxmemory-policy"), b"noeviction")

    def test_arity(self):
        self.same("CONFIG", "GET")
        self.same("CONFIG", "SET", "maxmemory")
        self.same("CONFIG", "SET", "maxmemory", "1", "timeout")
        self.same("CONFIG", "NOPE")


class Set(WithOracle):
    def tearDown(self):
        reset = ["timeout", "0", "maxmemory", "0", "maxmemory-clients", "0", "requirepass", "",
                 "notify-keyspace-events", "", "save", "", "loglevel", "notice"]
        self.same("CONFIG", "SET", *reset)

    def try_values(self, name, *values):
        for value in values:
            with self.subTest(name=name, value=value):
                self.same("CONFIG", "SET", name, value)
                self.same("CONFIG", "GET", name)

    def test_numbers(self):
        self.try_values("timeout", "5", "0", "-1", "abc", "", "007", "+5", " 5", "0x10", "1kb",
                        "99999999999", "99999999999999999999")
        self.try_values("maxmemory", "100mb", "1k", "1kb", "1GB", "100b", "", "-1", "abc", "1.5gb",
                        "1 gb", "0")
        self.try_values("maxmemory-clients", "5%", "100%", "101%", "-5", "5 %", "1mb", "abc", "0")
        self.try_values("slowlog-log-slower-than", "-1", "-2", "10000")
        self.try_values("hll-sparse-max-bytes", "1k", "3000")
        self.try_values("proto-max-bulk-len", "1", "536870912")
        self.try_values("maxmemory-samples", "0", "65", "5")
        self.try_values("list-max-listpack-size", "-5", "x", "-2")

    def test_words(self):
        self.try_values("maxmemory-policy", "ALLKEYS-lru", "x", "", "noeviction")
        self.try_values("appendfsync", "always", "x", "everysec")
        self.try_values("protected-mode", "maybe", "", "YES")
        self.try_values("shutdown-on-sigterm", "now SAVE", "save nosave", "x", "", "default now",
                        "default")
        self.try_values("oom-score-adj", "x", "no")
        self.try_values("acl-pubsub-default", "x", "allchannels", "resetchannels")
        self.try_values("repl-diskless-load", "disabled", "swapdb")

    def test_lists(self):
        self.try_values("save", "10 2 30 5", "1 2 3", "0 1", "-1 1", "a b", "10 2  30 5", "10 0",
                        "")
        self.try_values("client-output-buffer-limit", "normal 1mb 2kb 3 slave 1 1 1",
                        "replica 0 0 0", "normal 1 2", "master 1 2 3", "x 1 2 3", "normal -1 2 3",
                        "normal 1 1 -1", "", "normal 0 0 0 slave 256mb 64mb 60 pubsub 32mb 8mb 60")
        self.try_values("latency-tracking-info-percentiles", "50.5 99.99 33", "101", "x", "-1", "",
                        "50 99 99.9")
        self.try_values("oom-score-adj-values", "1 2", "5 2 1", "1 2 5000", "a b c", "0 200 800")

    def test_events(self):
        self.try_values("notify-keyspace-events", "KEA", "gKE", "Kg", "g$lshzxetd", "m", "Kx", "q",
                        "AKE", "nK", "")

    def test_templates(self):
        self.try_values("proc-title-template", "{x}", "{title", "{title} {port}",
                        "{title} {listen-addr} {server-mode}")

    def test_refusals(self):
        self.same("CONFIG", "SET", "foo", "bar")
        self.same("CONFIG", "SET", "timeout", "1", "foo", "bar", "daemonize", "yes")
        self.same("CONFIG", "SET", "daemonize", "yes")
        self.same("CONFIG", "SET", "databases", "1")
        self.same("CONFIG", "SET", "dir", "/tmp")
        self.same("CONFIG", "SET", "dbfilename", "x")
        self.same("CONFIG", "SET", "rename-command", "x")
        self.same("CONFIG", "SET", "maxmemory", "1", "MAXMEMORY", "2")
        self.same("CONFIG", "SET", "slave-priority", "x")
        self.same("CONFIG", "SET", "timeout", "1", "timeout", "1", "foo", "2")

    def test_atomic(self):
        reply = self.same("CONFIG", "SET", "timeout", "7", "requirepass", "x", "maxmemory", "abc")
        self.assertIn(b"argument 'maxmemory'", reply)
        self.assertEqual(config(self.ours, "timeout", "requirepass"),
                         {"timeout": "0", "requirepass": ""})
        self.same("CONFIG", "SET", "timeout", "7", "maxmemory", "1gb", "loglevel", "warning")
        self.same("CONFIG", "GET", "maxmemory")

    def test_seen_by_all(self):
        """A change is seen on every connection once OK is there."""
        clients = [self.client() for _ in range(16)]
        for value in ("11", "12", "13"):
            clients[0].ok("CONFIG", "SET", "slowlog-max-len", value)
            seen = {config(c, "slowlog-max-len")["slowlog-max-len"] for c in clients}
            self.assertEqual(seen, {value})
        self.ours.ok("CONFIG", "SET", "slowlog-max-len", "128")


class Ours(support.ServerTest):
    """What Redis does not know or can do already."""

    def setUp(self):
        if ORIGINAL:
            self.skipTest("a Redis")

    def test_own_directives(self):
        values = config(self.client(), "threads", "io-engine", "shard-lending", "cpu-pinning")
        self.assertEqual(len(values), 4)
        if support.threads():
            self.assertEqual(values["threads"], str(support.threads()))

    def test_not_built_yet(self):
        client = self.client()
        for name, value, old in (("min-replicas-to-write", "1", "0"),):
            reply = client.call("CONFIG", "SET", name, value)
            self.assertIsInstance(reply, support.Error)
            self.assertIn(b"not available yet", reply)
            self.assertEqual(config(client, name)[name], old)


class Honesty(unittest.TestCase):
    def test_honoured_settings_are_read(self):
        """A row that is neither SOON, IGNORED nor FIXED has a reader outside of config."""
        table = (support.ROOT / "src/config/directives.c").read_text()
        table = table[table.index("directives_honoured[] = {"):]
        outside = "".join(path.read_text() for path in (support.ROOT / "src").rglob("*.[ch]")
                          if path.parent.name != "config")
        rows = re.split(r"^    ROW\(", table, flags=re.M)[1:]
        self.assertGreater(len(rows), 60)
        for row in rows:
            name, field = re.match(r'\w+, "([^"]+)",\s*[^,]+,\s*[^,]+,\s*(\w+)', row).groups()
            if re.search(r"\b(SOON|IGNORED|FIXED)\b", row) or name == "enable-protected-configs":
                continue
            with self.subTest(name=name):
                self.assertRegex(outside, r"(->|\.)" + field + r"\b", "mark the row SOON")


class Files(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="splitring-config-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def write(self, text, name="redis.conf"):
        path = self.folder / name
        path.write_text(text)
        return path

    def start(self, path, *options):
        server = support.Server([support.program(), path, "--bind", support.HOST, *options], "file")
        self.addCleanup(server.stop)
        client = server.client()
        self.addCleanup(client.close)
        return client

    def fails(self, *arguments):
        """What a start with these arguments prints; it must end with an error."""
        done = subprocess.run([support.program(), *map(str, arguments)], cwd=self.folder,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=support.START_SECONDS,
                              text=True, errors="replace")
        self.assertEqual(done.returncode, 1, done.stdout)
        return done.stdout

    def test_file_include_and_options(self):
        self.write("timeout 5\nmaxmemory-samples 7\n", "one.conf")
        self.write("hash-max-ziplist-entries 99\n", "two.conf")
        path = self.write(f"# mine\nport 1\nsave \"\"\ninclude {self.folder}/one.conf\n"
                          f"include {self.folder}/t*.conf\ninclude {self.folder}/none*.conf\n"
                          "maxmemory-samples 8\nproc-title-template 'x {port}'\n")
        client = self.start(path, "--timeout", "6", "--notify-keyspace-events", "KEA")
        self.assertEqual(
            config(client, "timeout", "maxmemory-samples", "hash-max-listpack-entries",
                   "proc-title-template", "notify-keyspace-events", "save"),
            {"timeout": "6", "maxmemory-samples": "8", "hash-max-listpack-entries": "99",
             "proc-title-template": "x {port}", "notify-keyspace-events": "AKE", "save": ""})

    def test_standard_input(self):
        command = [support.program(), "-", "--bind", support.HOST]
        port = support.free_port()
        process = subprocess.Popen(command + ["--port", str(port)], cwd=self.folder, text=True,
                                   stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        self.addCleanup(process.wait, support.STOP_SECONDS)
        self.addCleanup(process.terminate)
        process.stdin.write("timeout 77\nsave \"\"\n")
        process.stdin.close()
        for _ in range(support.START_SECONDS * 20):
            try:
                with support.Client((support.HOST, port)) as client:
                    self.assertEqual(config(client, "timeout"), {"timeout": "77"})
                    return
            except OSError:
                time.sleep(0.05)
        self.fail("the server does not answer")

    def test_mistakes_end_the_start(self):
        text = self.fails(self.write("port 0\ntimeout a b\n"))
        self.assertIn(FATAL, text)
        self.assertIn("Reading the configuration file, at line 2\n>>> 'timeout a b'\n"
                      "wrong number of arguments", text)
        text = self.fails("--port", "0", "--nonsense", "x y")
        self.assertIn(">>> 'nonsense \"x y\"'\nBad directive or wrong number of arguments", text)
        text = self.fails("--port", "--bla")
        self.assertIn("'port \"--bla\"'", text)
        text = self.fails(self.folder / "missing.conf")
        self.assertIn("can't open config file", text)
        self.assertIn("No such file or directory", text)

    def test_rewrite(self):
        path = self.write("# keep me\nport 1\ntimeout 5\n\nsave 60 1\nsave 30 2\n# end\n")
        client = self.start(path)
        client.ok("CONFIG", "SET", "timeout", "9", "maxmemory", "1gb", "save", "10 1")
        client.ok("CONFIG", "REWRITE")
        lines = path.read_text().splitlines()
        self.assertEqual(lines[0], "# keep me")
        self.assertIn("timeout 9", lines)
        self.assertIn("maxmemory 1gb", lines)
        self.assertIn("save 10 1", lines)
        self.assertNotIn("save 30 2", lines)
        self.assertIn("# end", lines)
        self.assertEqual(lines.count("# Generated by CONFIG REWRITE"), 1)
        before = path.read_text()
        client.ok("CONFIG", "REWRITE")
        self.assertEqual(path.read_text().rstrip(), before.rstrip())  # Redis adds a line end
        values = config(client, "*")
        again = config(self.start(path), "*")
        for name in ("port", "dir", "pidfile"):
            values.pop(name), again.pop(name)
        self.assertEqual(again, values)

    def test_rewrite_without_file(self):
        with support.server() as server, server.client() as client:
            reply = client.call("CONFIG", "REWRITE")
            self.assertEqual(reply, b"ERR The server is running without a config file")

    def run_once(self, *arguments):
        return subprocess.run([support.program(), *map(str, arguments)], cwd=self.folder, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=support.START_SECONDS)

    @unittest.skipIf(ORIGINAL, "a Redis")
    def test_check_config(self):
        path = self.write("port 0\nhz 50\n")
        done = self.run_once(path, "--check-config")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn(":1: port: honoured\n", done.stdout)
        self.assertIn(":2: hz: ignored (", done.stdout)
        self.assertTrue(done.stdout.endswith("2 directives: 1 honoured, 1 ignored, 0 refused\n"))
        done = self.run_once("--check-config", self.write("bogus 1\nport x\nreplicaof a 1\n"))
        self.assertEqual(done.returncode, 1)
        self.assertTrue(done.stdout.endswith("3 directives: 0 honoured, 0 ignored, 3 refused\n"))

    @unittest.skipIf(ORIGINAL, "a Redis")
    def test_debians_own_file(self):
        path = Path("/etc/redis/redis.conf")
        if not os.access(path, os.R_OK):
            self.skipTest(f"{path} cannot be read")
        done = self.run_once(path, "--check-config")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn(" 0 refused\n", done.stdout)

    def test_version_and_help(self):
        for flag in ("-v", "--version", "-h", "--help"):
            done = self.run_once(flag)
            self.assertTrue(done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
