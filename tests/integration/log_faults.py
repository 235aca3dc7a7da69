"""The append log on a disk that fails: full, broken, writing half; under always and everysec."""

import os
import shutil
import sys
import tempfile
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import shards, support  # noqa: E402

FULL = support.Error(b"MISCONF Errors writing to the AOF file: No space left on device")


def preload():
    folders = [Path(support.program()).resolve().parent]
    if os.environ.get("SPLITRING_BUILD"):
        folders.insert(0, Path(os.environ["SPLITRING_BUILD"]))
    for folder in folders:
        for name in ("libfault_preload.so", "fault_preload.so"):
            path = folder / "tests/integration" / name
            if path.exists():
                return path
    raise unittest.SkipTest("fault_preload is not built")


def until(what, seconds=20):
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            raise AssertionError("does not come about")
        time.sleep(0.02)


class Faults(unittest.TestCase):
    def setUp(self):
        library = preload()
        if shards.sanitized():
            self.skipTest("a sanitizer wants to be loaded first")
        self.folder = Path(tempfile.mkdtemp(prefix="splitring-faults-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.switch = self.folder / "switch"
        self.env = {"LD_PRELOAD": str(library), "FAULT_FILE": ".incr.aof",
                    "FAULT_SWITCH": str(self.switch)}

    def start(self, fsync):
        server = support.server("--dir", str(self.folder), "--appendonly", "yes",
                                "--appendfsync", fsync, env=self.env)
        self.addCleanup(server.forget)
        self.addCleanup(lambda: server.alive() and server.kill())
        return server

    def fail(self, what):  # pylint: disable=arguments-renamed
        aside = self.folder / "aside"
        aside.write_text(what)
        os.replace(aside, self.switch)

    def log(self):
        return b"".join(path.read_bytes() for path in self.folder.rglob("*.incr.aof"))

    def refused(self, client):
        reply = client.call("SET", "probe", 1)
        return isinstance(reply, support.Error) and reply.code == "MISCONF"

    def redis_has(self, **expected):
        copy = tempfile.mkdtemp(prefix="splitring-faults-")
        self.addCleanup(shutil.rmtree, copy, ignore_errors=True)
        shutil.copytree(self.folder, copy, dirs_exist_ok=True)
        with support.oracle("--dir", copy, "--appendonly", "yes") as other, \
                other.client() as client:
            for key, value in expected.items():
                self.assertEqual(client.ok("GET", key), value, key)

    def full_and_free_again(self, what):
        with self.start("everysec") as server, server.client() as c:
            c.ok("SET", "before", 1)
            until(lambda: b"before" in self.log())
            self.fail(what)
            c.ok("SET", "during", 1)  # it is not known yet
            until(lambda: self.refused(c))
            self.assertEqual(c.call("SET", "k", 1), FULL)
            self.assertEqual(c.call("PING"), FULL)
            self.assertEqual(c.ok("GET", "during"), b"1")
            self.assertEqual(c.call("EVAL", "return redis.call('set', KEYS[1], 1)", 1, "k").code,
                             "MISCONF")
            c.ok("MULTI")
            self.assertEqual(c.call("SET", "k", 1), FULL)
            self.assertEqual(c.call("EXEC").code, "EXECABORT")
            self.assertIn(b"aof_last_write_status:err", c.ok("INFO", "persistence"))
            self.fail("")
            until(lambda: not self.refused(c))
            c.ok("SET", "after", 1)
            c.ok("CONFIG", "SET", "appendfsync", "always")
            self.assertEqual(c.ok("WAITAOF", 1, 0, 0), [1, 0])
            self.assertIn(b"aof_last_write_status:ok", c.ok("INFO", "persistence"))
            self.redis_has(before=b"1", during=b"1", after=b"1", k=None)

    def test_full(self):
        self.full_and_free_again("write ENOSPC")

    def test_half_a_write(self):
        self.full_and_free_again("short ENOSPC")

    def test_sync_fails(self):
        """What was synced in vain is not believed: a new base comes."""
        with self.start("everysec") as server, server.client() as c:
            c.ok("SET", "before", 1)
            time.sleep(1.2)
            self.fail("fsync EIO")
            c.ok("SET", "during", 1)
            until(lambda: self.refused(c))
            self.fail("")
            until(lambda: not self.refused(c))
            c.ok("SET", "after", 1)
            self.assertGreater(int(c.ok("INFO", "persistence").split(b"aof_rewrites:")[1]
                                   .split(b"\r\n")[0]), 0)
            c.ok("CONFIG", "SET", "appendfsync", "always")
            self.assertEqual(c.ok("WAITAOF", 1, 0, 0), [1, 0])
            self.redis_has(before=b"1", during=b"1", after=b"1")

    def ends_unanswered(self, what, words):
        server = self.start("always")
        with server.client() as c:
            c.ok("SET", "before", 1)
            self.fail(what)
            c.send("SET", "lost", 1)
            with self.assertRaises(support.Closed):
                c.read()
        self.assertEqual(server.wait(), 1)
        self.assertIn(words, server.log())
        self.fail("")
        self.redis_has(before=b"1")

    def test_always_write(self):
        self.ends_unanswered("write ENOSPC", "Can't recover from AOF write error when the AOF "
                             "fsync policy is 'always'. Exiting...")

    def test_always_sync(self):
        self.ends_unanswered("fsync EIO", "Can't persist AOF for fsync error when the AOF fsync "
                             "policy is 'always': Input/output error. Exiting...")


if __name__ == "__main__":
    unittest.main()
