"""rename-command: what clients, scripts, users' rules, COMMAND and the log make of it, compared
with redis-server where that can be asked."""

import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import support  # noqa: E402

CONFIG = """
rename-command CONFIG "xconfig"
rename-command FLUSHALL ""
rename-command GET Fetch
rename-command SET get
rename-command unlink gone
"""
OTHER = [
    "CONFIG GET port", "xconfig GET maxmemory", "XCONFIG foo", "XCONFIG", "FLUSHALL",
    "flushall a b",
    "SET a b", "get a b", "get a", "FETCH a", "fetch", "xconfig get", "COMMAND INFO get",
    "COMMAND INFO set fetch config flushall gone", "COMMAND INFO xconfig|get config|get",
    "COMMAND LIST FILTERBY PATTERN confi[g]*", "COMMAND LIST FILTERBY PATTERN fetch",
    "COMMAND LIST FILTERBY PATTERN flushal?", "COMMAND GETKEYS fetch a", "COMMAND GETKEYS get a",
    "COMMAND GETKEYS get a b", "COMMAND GETKEYS set a b", "COMMAND DOCS set",
    "ACL SETUSER x +get", "ACL SETUSER x +fetch", "ACL SETUSER x +config|get",
    "ACL SETUSER x +xconfig|get", "ACL SETUSER x +flushall",
    "ACL DRYRUN default set a b",
    "ACL DRYRUN default get a b", "ACL DRYRUN default config get a",
    "ACL DRYRUN default xconfig get a", "xconfig SET rename-command x",
    "MULTI", "get a 1", "SET a 2", "EXEC", "MULTI", "get a 1", "Fetch a", "EXEC",
    "gone a nosuch", "unlink a",
]
SCRIPTS = ["return redis.call('get', 'k', 'v')", "return redis.call('fetch', 'k')",
           "return redis.pcall('set', 'k', 'v')", "return redis.acl_check_cmd('fetch', 'k')",
           "return redis.acl_check_cmd('set', 'k', 'v')", "return redis.call('flushall')"]


class Renamed(unittest.TestCase):
    def start(self, which, *options):
        files = {"redis.conf": CONFIG}
        if which == "ours":
            command = [support.program(), "redis.conf", "--bind", support.HOST, "--save", ""]
            if support.threads():
                command += ["--threads", str(support.threads())]
        else:
            command = ["redis-server", "redis.conf", "--bind", support.HOST, "--save", ""]
        server = support.Server(command + list(options), which, files=files)
        self.addCleanup(server.stop)
        return server

    def test_as_redis(self):
        with self.start("ours").client() as ours, self.start("theirs").client() as theirs:
            for line in OTHER:
                mine, other = ours.call(*line.split()), theirs.call(*line.split())
                if " LIST" in line or "INFO" in line:
                    mine, other = shape(mine), shape(other)
                self.assertEqual(mine, other, line)
            for text in SCRIPTS:
                mine, other = ours.call("EVAL", text, 0), theirs.call("EVAL", text, 0)
                self.assertEqual(type(mine), type(other), text)
                self.assertEqual(bytes(mine)[:20] if isinstance(mine, bytes) else mine,
                                 bytes(other)[:20] if isinstance(other, bytes) else other, text)

    def test_count(self):
        """One command less; nobody sees which."""
        with self.start("ours").client() as c, support.server() as plain, plain.client() as p:
            self.assertEqual(c.ok("COMMAND", "COUNT"), p.ok("COMMAND", "COUNT") - 1)
            self.assertEqual(len(c.ok("COMMAND")), p.ok("COMMAND", "COUNT") - 1)
            names = c.ok("COMMAND", "LIST")
            self.assertNotIn(b"flushall", names)
            self.assertIn(b"flushdb", names)
            self.assertEqual(c.ok("COMMAND", "DOCS", "fetch")[0], b"get")

    def test_the_log_is_of_commands(self):
        """It is the same, whatever they are called; and so it can be read when they are not."""
        server = self.start("ours", "--appendonly", "yes", "--appendfsync", "always")
        with server.client() as c:
            c.ok("get", "kept", "v" * 100_000)
            c.ok("MULTI")
            c.ok("get", "gone", "v")
            c.ok("EXEC")
            c.ok("gone", "gone")
            c.ok("EVAL", "redis.call('get', 'scripted', '1') redis.call('gone', 'kept2')", 0)
            text = b"".join(path.read_bytes() for path in
                            (server.folder / "appendonlydir").glob("*.incr.aof"))
        names = set(re.findall(rb"\*\d+\r\n\$\d+\r\n(\w+)\r", text.lower()))
        self.assertLessEqual({b"set"}, names)
        self.assertLessEqual(names, {b"select", b"set", b"multi", b"exec", b"unlink", b"del"})
        server.process.kill()
        server.wait()
        log = {f"appendonlydir/{p.name}": p for p in (server.folder / "appendonlydir").iterdir()}
        with tempfile.TemporaryDirectory() as folder:
            for name, path in log.items():
                target = Path(folder) / name
                target.parent.mkdir(exist_ok=True)
                target.write_bytes(path.read_bytes())
            with support.server("--appendonly", "yes", "--dir", folder) as plain, \
                    plain.client() as c:
                self.assertEqual(c.ok("STRLEN", "kept"), 100_000)
                self.assertEqual(c.ok("GET", "scripted"), b"1")
                self.assertEqual(c.ok("DBSIZE"), 2)
        server.forget()

    def test_mistakes(self):
        for line, why in (("rename-command nosuch x", "No such command in rename-command"),
                          ("rename-command get set", "Target command name already exists"),
                          ("rename-command get a\nrename-command get b",
                           "No such command in rename-command"),
                          ("rename-command get", "Bad directive or wrong number of arguments")):
            for more in ([], ["--check-config"]):
                done = subprocess.run([support.program(), "-", *more], input=line, text=True,
                                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
                self.assertEqual(done.returncode, 1, line)
                self.assertIn(why, done.stdout)
                self.assertIn(">>> 'rename-command ", done.stdout)


def shape(reply):
    """Of lists of names, the names in any order; of COMMAND INFO, names and arities."""
    if isinstance(reply, list) and reply and isinstance(reply[0], (list, type(None))):
        return [entry and entry[:2] for entry in reply]
    return sorted(reply) if isinstance(reply, list) else reply


if __name__ == "__main__":
    unittest.main()
