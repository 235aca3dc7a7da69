"""Append logs at start: what is loaded and in which order, what is cut, what is refused."""

import os
import shutil
import sys
import tempfile
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import logs, support  # noqa: E402

DEBUG = ("--enable-debug-command", "yes")
LOADING = support.Error(b"LOADING Redis is loading the dataset in memory")
SELECT = ("SELECT", 0)


class Folder(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="splitring-log-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.dir = self.folder / "appendonlydir"

    def start(self, *options, **more):
        server = support.server("--dir", str(self.folder), *DEBUG, "--appendonly", "yes", *options,
                                **more)
        self.addCleanup(server.forget)
        self.addCleanup(lambda: server.alive() and server.kill())
        return server

    def loaded(self, *options):
        """A server that has loaded, and a client."""
        server = self.start(*options)
        client = server.client()
        self.addCleanup(client.close)
        deadline = time.monotonic() + 30
        while client.call("DBSIZE") == LOADING:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        return server, client

    def refused(self, *options):
        """The log of a server that does not start; no file has changed."""
        def files():
            return {path: path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}
        before = files()
        server = self.start(*options, ready=False)
        self.assertEqual(server.wait(), 1, server.log())
        self.assertEqual(files(), before)
        return server.log()

    def check_tool(self, *args):
        import subprocess
        program = Path(os.environ.get("SPLITRING_CHECK") or
                       Path(support.program()).resolve().parent / "splitring-check")
        done = subprocess.run([program, *map(str, args)], capture_output=True, timeout=60,
                              stdin=subprocess.DEVNULL)
        return done.returncode, done.stdout.decode() + done.stderr.decode()


class Loads(Folder):
    def test_order_over_shards(self):
        """Commands over several shards stand where they stood."""
        rows, model = [SELECT], {}
        for i in range(2000):
            a, b = f"k{i * 7 % 40}", f"k{i * 13 % 40}"
            rows.append(("SET", a, i))
            model[a] = b"%d" % i
            if i % 3 == 0 and a != b:
                rows.append(("RENAME", a, b))
                model[b] = model.pop(a)
            if i % 5 == 0:
                rows.append(("MSET", a, "m", b, i, "third", i))
                model.update({a: b"m"})
                model.update({b: b"%d" % i, "third": b"%d" % i})
            if i % 7 == 0:
                rows.append(("DEL", a, b))
                model.pop(a, None)
                model.pop(b, None)
            if i % 500 == 499:
                rows.append(("FLUSHALL",))
                model.clear()
        rows.append(("SET", "last", 1))
        model["last"] = b"1"
        for log in (logs.commands(*rows), logs.summed(logs.commands(*rows[:900]),
                                                      logs.commands(*rows[900:]))):
            shutil.rmtree(self.dir, ignore_errors=True)
            logs.write(self.folder, log)
            server, client = self.loaded()
            self.assertEqual(client.ok("DBSIZE"), len(model))
            for key, value in model.items():
                self.assertEqual(client.ok("GET", key), value)
            server.stop()

    def test_all_kinds_of_commands(self):
        logs.write(self.folder, logs.commands(
            SELECT, ("SADD", "s1", 1, 2, 3), ("SADD", "s2", 3, 4),
            ("SUNIONSTORE", "s3", "s1", "s2"), ("SMOVE", "s1", "s2", 1), ("MULTI",),
            ("INCR", "n"), ("LPUSH", "l", "a", "b"),
            ("EXEC",), ("RPOPLPUSH", "l", "l2"), ("SELECT", 1), ("SET", "one", 1),
            ("COPY", "one", "two", "DB", 0), ("SELECT", 0), ("SWAPDB", 0, 2), ("SELECT", 2),
            ("EVAL", "for i = 1, 30 do redis.call('SET', 'e' .. i, i) end", 0),
            ("FUNCTION", "LOAD", "#!lua name=x\nredis.register_function('f', "
             "function() return 'it' end)"), ("PING",), ("PUBLISH", "c", "m")))
        _, client = self.loaded()
        client.ok("SELECT", 2)
        self.assertEqual(sorted(client.ok("SMEMBERS", "s3")), [b"1", b"2", b"3", b"4"])
        self.assertEqual(sorted(client.ok("SMEMBERS", "s1")), [b"2", b"3"])
        self.assertEqual(sorted(client.ok("SMEMBERS", "s2")), [b"1", b"3", b"4"])
        self.assertEqual(client.ok("LRANGE", "l2", 0, -1), [b"a"])
        self.assertEqual(client.ok("MGET", "n", "two", "e30"), [b"1", b"1", b"30"])
        self.assertEqual(client.ok("FCALL", "f", 0), b"it")

    def test_nothing_expires_in_the_log(self):
        """What had expired is in the log as DEL; what was given a new time in time lives."""
        past, far = 1_600_000_000_000, 4_000_000_000_000
        logs.write(self.folder, logs.commands(
            SELECT, ("SET", "saved", "v", "PXAT", past), ("PEXPIREAT", "saved", far),
            ("SET", "kept", 5, "PXAT", past), ("INCR", "kept"), ("PERSIST", "kept"),
            ("SET", "dead", 1), ("PEXPIREAT", "dead", past),
            ("HSET", "h", "f", 1, "g", 2), ("HPEXPIREAT", "h", past, "FIELDS", 1, "f"),
            ("HPERSIST", "h", "FIELDS", 1, "f"), ("SET", "soon", 1), ("EXPIRE", "soon", 1000)))
        _, client = self.loaded()
        self.assertEqual(client.ok("GET", "saved"), b"v")
        self.assertEqual(client.ok("PEXPIRETIME", "saved"), far)
        self.assertEqual(client.ok("GET", "kept"), b"6")
        self.assertIsNone(client.ok("GET", "dead"))
        self.assertEqual(client.ok("HGET", "h", "f"), b"1")
        self.assertGreater(client.ok("TTL", "soon"), 900)

    def test_base_and_files_in_order(self):
        logs.write(self.folder, logs.summed(logs.commands(SELECT, ("APPEND", "k", "b"))),
                   logs.commands(SELECT, ("APPEND", "k", "c")), b"",
                   logs.summed(logs.commands(SELECT, ("APPEND", "k", "d"))),
                   base=logs.commands(("SELECT", 0), ("SET", "k", "a")))
        _, client = self.loaded()
        self.assertEqual(client.ok("GET", "k"), b"abcd")

    def test_one_old_file_is_moved(self):
        (self.folder / "appendonly.aof").write_bytes(logs.commands(SELECT, ("SET", "k", "v")))
        server, client = self.loaded()
        self.assertEqual(client.ok("GET", "k"), b"v")
        self.assertIn("Successfully migrated an old-style AOF file (appendonly.aof)", server.log())
        self.assertFalse((self.folder / "appendonly.aof").exists())
        self.assertTrue((self.dir / "appendonly.aof").exists())
        server.stop()
        _, client = self.loaded()
        self.assertEqual(client.ok("GET", "k"), b"v")

    def test_dump_before_commands(self):
        """A log of Redis 4 to 6: one file, a dump and then commands."""
        with support.server("--dir", str(self.folder)) as server, server.client() as client:
            client.ok("SET", "from dump", 1)
            client.ok("SAVE")
        dump = self.folder / "dump.rdb"
        (self.folder / "appendonly.aof").write_bytes(
            dump.read_bytes() + logs.commands(SELECT, ("INCR", "from dump")) + b"*2\r\n$4\r\nINC")
        dump.unlink()
        server, client = self.loaded()
        self.assertEqual(client.ok("GET", "from dump"), b"2")
        self.assertIn("Truncating the AOF appendonly.aof", server.log())

    def test_a_dump_becomes_the_first_base(self):
        """Redis would start empty, and overwrite the dump later."""
        with support.server("--dir", str(self.folder)) as server, server.client() as client:
            client.ok("SET", "k", "v")
            client.ok("SAVE")
        server, client = self.loaded()
        self.assertEqual(client.ok("GET", "k"), b"v")
        server.stop()
        (self.folder / "dump.rdb").unlink()
        _, client = self.loaded()
        self.assertEqual(client.ok("GET", "k"), b"v")

    def test_nothing_there(self):
        _, client = self.loaded()
        self.assertEqual(client.ok("DBSIZE"), 0)

    def test_loading_is_shown(self):
        rows = [SELECT] + [("LPUSH", f"l{i % 50}", *range(60)) for i in range(3000)]
        logs.write(self.folder, logs.commands(*rows) * 15)
        server = self.start(ready=False)
        deadline = time.monotonic() + 60
        while True:
            try:
                client = server.client()
                break
            except OSError:
                self.assertLess(time.monotonic(), deadline)
        with client:
            shown = {}
            while client.call("DBSIZE") == LOADING and time.monotonic() < deadline:
                lines = client.ok("INFO", "persistence").decode().split("\r\n")
                shown = dict(line.split(":", 1) for line in lines if ":" in line)
                if shown["loading"] == "1":
                    self.assertLessEqual(float(shown["loading_loaded_perc"]), 100.0)
                    self.assertGreater(int(shown["loading_total_bytes"]), 10_000_000)
            self.assertIn("loading", shown)
            self.assertEqual(client.ok("LLEN", "l0"), 60 * 60 * 15)


class Torn(Folder):
    LOG = logs.commands(SELECT, ("SET", "a", 1), ("SET", "b", 2))

    def test_tail_is_cut(self):
        for summed in (False, True):
            for tail in (b"*3\r\n$3\r\nSET\r\n$1\r\nc\r\n$3\r\n12", b"*", b"*3\r\n$3\r\nSET\r\n",
                         logs.commands(("MULTI",), ("SET", "c", 1), ("SET", "d", 1))):
                shutil.rmtree(self.dir, ignore_errors=True)
                whole = logs.summed(self.LOG) if summed else self.LOG
                path = logs.write(self.folder, whole + tail)
                text = self.refused("--aof-load-truncated", "no")
                self.assertIn("Unexpected end of file reading the append only file", text)
                server, client = self.loaded()
                self.assertEqual(client.ok("MGET", "a", "b", "c"), [b"1", b"2", None])
                self.assertIn("!!! Warning: short read while loading the AOF file "
                              "appendonly.aof.1.incr.aof!!!", server.log())
                self.assertIn(f"Truncating the AOF appendonly.aof.1.incr.aof at offset "
                              f"{len(whole)}", server.log())
                if b"MULTI" in tail:
                    self.assertIn("Revert incomplete MULTI/EXEC transaction", server.log())
                self.assertEqual(path.read_bytes(), whole)
                server.stop()

    def test_whole_commands_behind_the_last_sum(self):
        """Another server may have added them; they get their checksum."""
        extra = logs.commands(("SET", "c", 3))
        path = logs.write(self.folder, logs.summed(self.LOG) + extra + b"*3\r\n")
        server, client = self.loaded()
        self.assertEqual(client.ok("MGET", "a", "b", "c"), [b"1", b"2", b"3"])
        self.assertEqual(path.read_bytes(), logs.summed(self.LOG, extra))
        server.stop()
        self.assertEqual(self.check_tool(self.dir)[0], 0)
        _, client = self.loaded()
        self.assertEqual(client.ok("MGET", "a", "b", "c"), [b"1", b"2", b"3"])

    def test_only_the_last_file(self):
        logs.write(self.folder, self.LOG + b"*3\r\n", logs.commands(SELECT, ("SET", "c", 1)))
        self.assertIn("the truncated file is not the last file", self.refused())
        logs.write(self.folder, self.LOG + b"*3\r\n", b"", logs.MARK)
        _, client = self.loaded()
        self.assertEqual(client.ok("DBSIZE"), 2)

    def test_sector_that_was_never_written(self):
        big = logs.commands(("SET", "big", "v" * 3000))
        whole = logs.summed(self.LOG)
        data = bytearray(logs.summed(self.LOG, big))
        data[1024:1536] = bytes(512)
        path = logs.write(self.folder, bytes(data))
        server, client = self.loaded()
        self.assertEqual(client.ok("MGET", "a", "b", "big"), [b"1", b"2", None])
        self.assertIn("a sector was never written", server.log())
        self.assertEqual(path.read_bytes(), whole)


class Refused(Folder):
    BLOCKS = [logs.commands(SELECT, ("SET", "a", "hello")), logs.commands(("SET", "b", "world"))]

    def test_damage(self):
        whole = logs.summed(*self.BLOCKS)
        for at in (30, 60, whole.index(b"hello"), whole.index(b"world"), len(whole) - 5):
            data = bytearray(whole)
            data[at] ^= 1
            logs.write(self.folder, bytes(data))
            self.assertRegex(self.refused(), r"Damaged at offset \d+")
        data = self.BLOCKS[0] + b"hello\r\n" + self.BLOCKS[1]
        logs.write(self.folder, data)
        self.assertIn(f"Damaged at offset {len(self.BLOCKS[0])}", self.refused())

    def test_commands_that_are_none(self):
        for row, text in ((("NOSUCH", 1), "Unknown command 'NOSUCH'"),
                          (("GET",), "Wrong number of arguments for 'GET'"),
                          (("SELECT", 99), "DB index is out of range: '99'"),
                          (("SHUTDOWN",), "A log cannot hold the command 'SHUTDOWN'")):
            logs.write(self.folder, logs.commands(SELECT, row))
            self.assertIn(text, self.refused())

    def test_base(self):
        with support.server("--dir", str(self.folder)) as server, server.client() as client:
            client.ok("SET", "k", "v" * 50)
            client.ok("SAVE")
        dump = bytearray((self.folder / "dump.rdb").read_bytes())
        (self.folder / "dump.rdb").unlink()
        logs.write(self.folder, base=bytes(dump) + b"more")
        self.assertIn("4 bytes are behind its end", self.refused())
        dump[-20] ^= 1
        logs.write(self.folder, base=bytes(dump))
        self.assertIn("Error reading the RDB base file appendonly.aof.1.base.rdb", self.refused())

    def test_manifest(self):
        path = logs.write(self.folder, *self.BLOCKS)
        manifest = self.dir / "appendonly.aof.manifest"
        good = manifest.read_bytes()
        for text, why in ((b"", "Found an empty AOF manifest"),
                          (b"file x seq 1\n", "Invalid AOF manifest file format"),
                          (b"file a/x seq 1 type i\n", "File can't be a path, just a filename"),
                          (good.replace(b"2 type i", b"2 type h"), "does not fit its checksum"),
                          (good[:-1], "does not fit its checksum")):
            manifest.write_bytes(text)
            log = self.refused()
            self.assertIn("*** FATAL AOF MANIFEST FILE ERROR ***", log)
            self.assertIn(why, log)
        manifest.write_bytes(good)
        path.unlink()
        self.assertIn("The append log file appendonly.aof.2.incr.aof doesn't exist", self.refused())
        path.mkdir()
        self.assertIn("can't open the append log file appendonly.aof.2.incr.aof for reading: "
                      "Is a directory", self.refused())

    def test_strange_places(self):
        self.dir.write_text("")
        self.refused()
        self.dir.unlink()
        elsewhere = self.folder / "elsewhere"
        elsewhere.write_bytes(self.BLOCKS[0])
        (self.folder / "appendonly.aof").symlink_to(elsewhere)
        self.assertIn("it is a symbolic link", self.refused())
        (self.folder / "appendonly.aof").unlink()
        self.dir.symlink_to(self.folder / "real")
        (self.folder / "real").mkdir()
        logs.write(self.folder, self.BLOCKS[0])
        _, client = self.loaded()
        self.assertEqual(client.ok("GET", "a"), b"hello")

    @unittest.skipIf(os.geteuid() == 0, "root may read everything")
    def test_permissions(self):
        path = logs.write(self.folder, *self.BLOCKS)
        path.chmod(0)
        self.assertIn("for reading: Permission denied", self.start(ready=False).log())


if __name__ == "__main__":
    unittest.main(verbosity=2)
