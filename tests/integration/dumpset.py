"""Snapshots of several files (snapshot-layout shards): what is written, what is loaded by how many
workers, what is refused, and what becomes of a whole dump beside them."""

import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import logs, shards, support  # noqa: E402

SHARDS = ("--snapshot-layout", "shards")
LIBRARY = "#!lua name=lib\nredis.register_function('f', function() return 'made' end)"
PART = re.compile(r"part (\d+) slots (\d+)-(\d+) size (\d+) crc ([0-9a-f]{16})\n")


def info(client):
    lines = client.ok("INFO", "persistence").decode().split("\r\n")
    return dict(line.split(":", 1) for line in lines if ":" in line)


class Folder(unittest.TestCase):
    """Servers that share a folder, one after the other."""

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="splitring-set-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.dump = self.folder / "dump.rdb"
        self.manifest = self.folder / "dump.rdb.manifest"

    def start(self, *options, **more):
        server = support.server("--dir", str(self.folder), "--enable-debug-command", "yes",
                                *options, **more)
        self.addCleanup(server.forget)
        self.addCleanup(lambda: server.alive() and server.kill())
        return server

    def refused(self, *options):
        """The log of a server that does not start; it has left everything as it was."""
        before = {path.name: path.read_bytes() for path in self.folder.iterdir()}
        server = self.start("--save", "3600 1", *options, ready=False)
        self.assertEqual(server.wait(), 1, server.log())
        after = {path.name: path.read_bytes() for path in self.folder.iterdir()}
        self.assertEqual(before, after)
        return server.log()

    def names(self):
        return sorted(path.name for path in self.folder.iterdir())

    def parts(self):
        return sorted(self.folder.glob("dump.rdb.*.*.rdb"), key=lambda p: int(p.name.split(".")[3]))

    def bgsave(self, client):
        client.ok("BGSAVE")
        end = time.monotonic() + 30
        while info(client)["rdb_bgsave_in_progress"] != "0":
            self.assertLess(time.monotonic(), end)
            time.sleep(0.01)
        self.assertEqual(info(client)["rdb_last_bgsave_status"], "ok")

    def fill(self, client, keys=300):
        commands = []
        for i in range(keys):
            commands += [("SET", f"string:{i}", "v" * (i % 90)), ("HSET", f"h:{i}", "f", i),
                         ("RPUSH", f"l:{i}", i, "x"), ("SADD", f"s:{i}", i, i + 1),
                         ("ZADD", f"z:{i}", i, "m"), ("XADD", f"x:{i}", "1-1", "a", "b")]
        commands += [("SELECT", 7), ("SET", "other db", 1, "EX", 10000), ("SELECT", 0),
                     ("FUNCTION", "LOAD", "REPLACE", LIBRARY)]
        for start in range(0, len(commands), 200):
            for reply in client.pipeline(commands[start:start + 200]):
                self.assertNotIsInstance(reply, support.Error)


class Files(Folder):
    def test_what_is_written(self):
        """By SAVE and BGSAVE: a part per worker, the manifest, and nothing of the set before."""
        with self.start(*SHARDS) as server, server.client() as client:
            self.fill(client)
            for seq, save in enumerate((lambda: client.ok("SAVE"), lambda: self.bgsave(client),
                                        lambda: client.ok("SAVE")), 1):
                save()
                found = PART.findall(self.manifest.read_text())
                self.assertEqual(self.names(), sorted(
                    ["dump.rdb.manifest"] + [f"dump.rdb.{seq}.{i}.rdb" for i in range(len(found))]))
                self.assertEqual([int(f[3]) for f in found],
                                 [path.stat().st_size for path in self.parts()])
                self.assertEqual([int(f[4], 16) for f in found],
                                 [int.from_bytes(path.read_bytes()[-8:], "little")
                                  for path in self.parts()])
                if support.threads():
                    self.assertEqual(len(found), support.threads())
                self.assertEqual(info(client)["rdb_changes_since_last_save"], "0")
            self.assertEqual(info(client)["rdb_saves"], "3")

    def test_any_number_of_workers(self):
        with self.start(*SHARDS) as server, server.client() as client:
            self.fill(client)
            digest = client.ok("DEBUG", "DIGEST")
            self.bgsave(client)
        for threads in ("1", "2", "3", "4", "8"):
            for layout in ("shards", "single"):
                with self.start("--threads", threads, "--snapshot-layout", layout) as server, \
                        server.client() as client:
                    self.assertEqual(client.ok("DEBUG", "DIGEST"), digest, threads)
                    self.assertEqual(client.ok("FCALL", "f", 0), b"made")
                    shown = info(client)
                    self.assertEqual(shown["loading"], "0")
                    self.assertEqual(shown["rdb_last_load_keys_loaded"], "1801")
                    self.assertEqual(server.log().count("Loading RDB produced by"), 1)
                    self.assertRegex(server.log(), r"The snapshot is a set of \d+ files")
        with self.start("--threads", "4", *SHARDS) as server, server.client() as client:
            client.ok("SAVE")
            self.assertEqual(len(self.parts()), 4)
            self.assertEqual(client.ok("DEBUG", "RELOAD"), support.OK)
            self.assertEqual(client.ok("DEBUG", "DIGEST"), digest)
            self.assertEqual(client.ok("FCALL", "f", 0), b"made")
            client.ok("SET", "new", 1)
            client.ok("DEBUG", "RELOAD", "NOSAVE")
            self.assertEqual(client.ok("DEBUG", "DIGEST"), digest)

    def test_redis_reads_each_part(self):
        count = support.threads() or 3
        with self.start("--threads", str(count), *SHARDS) as server, server.client() as client:
            self.fill(client)
            expected = {key: client.ok("DUMP", key) for key in client.ok("KEYS", "*")}
            self.bgsave(client)
        found, functions = {}, []
        for number, path in enumerate(self.parts()):
            with support.oracle("--dir", str(self.folder), "--dbfilename", path.name) as redis, \
                    redis.client() as client:
                for key in client.ok("KEYS", "*"):
                    self.assertNotIn(key, found)
                    self.assertEqual(shards.shard(key, count), number)
                    found[key] = client.ok("DUMP", key)
                functions.append(client.call("FCALL", "f", 0))
        self.assertEqual(found.keys(), expected.keys())
        self.assertEqual({k: v for k, v in found.items() if not k.startswith((b"x:", b"s:"))},
                         {k: v for k, v in expected.items() if not k.startswith((b"x:", b"s:"))})
        self.assertEqual(functions[0], b"made")
        self.assertTrue(all(isinstance(reply, support.Error) for reply in functions[1:]))

    def test_every_way_to_save(self):
        for options, way in ((("--save", "3600 1"), ["SHUTDOWN"]), ((), ["SHUTDOWN", "SAVE"]),
                             (("--save", "1 1"), None)):
            server = self.start(*SHARDS, *options)
            with server.client() as client:
                client.ok("SET", "way", str(way))
                if way:
                    client.send(*way)
                    self.assertTrue(client.closed_by_server())
                    self.assertEqual(server.wait(), 0)
                else:
                    end = time.monotonic() + 20
                    while info(client)["rdb_saves"] == "0":
                        self.assertLess(time.monotonic(), end)
                        time.sleep(0.02)
                    server.kill()
            self.assertFalse(self.dump.exists())
            with self.start() as server, server.client() as client:
                self.assertEqual(client.ok("GET", "way"), str(way).encode())

    def test_big_values_beside_writers(self):
        """Values that are told in pieces, several at a time; MSETs over all shards are in the set
        whole or not at all."""
        stop = threading.Event()
        with self.start(*SHARDS) as server, server.client() as client:
            for i in range(12):
                client.ok("HSET", f"big:{i}", *[w for f in range(4000) for w in (f, f"{i}:" * 20)])
                client.ok("RPUSH", f"list:{i}", *[f"{i}:{n}" for n in range(20000)])

            def write(number):
                with server.client() as other:
                    i = 0
                    while not stop.is_set():
                        i += 1
                        other.ok("MSET", *[w for k in range(16) for w in (f"{number}:{k}", i)])
                        other.ok("HSET", f"big:{i % 12}", i % 4000, f"new {i}")
                        other.ok("RPUSH", f"list:{i % 12}", i)

            writers = [threading.Thread(target=write, args=(n,)) for n in range(3)]
            for writer in writers:
                writer.start()
            try:
                for _ in range(4):
                    self.bgsave(client)
            finally:
                stop.set()
                for writer in writers:
                    writer.join()
            server.kill()
        with self.start() as server, server.client() as client:
            for n in range(3):
                self.assertEqual(len(set(client.ok("MGET", *[f"{n}:{k}" for k in range(16)]))), 1)
            for i in range(12):
                self.assertEqual(client.ok("HLEN", f"big:{i}"), 4000)
                self.assertEqual(client.ok("LRANGE", f"list:{i}", 0, 19999),
                                 [b"%d:%d" % (i, n) for n in range(20000)])

    def test_given_up(self):
        """By CANCEL, by SHUTDOWN and by kill -9 in the middle: the set of before counts, and
        nothing of the other stays once a save has succeeded."""
        with self.start(*SHARDS) as server, server.client() as client:
            client.ok("SET", "k", "before")
            client.ok("SAVE")
            before = {path.name: path.read_bytes() for path in self.folder.iterdir()}
            value = random.Random(1).randbytes(1 << 20)
            for i in range(48):
                client.ok("SET", f"big:{i}", value)
            client.pipeline([("BGSAVE",), ("BGSAVE", "CANCEL")])
            end = time.monotonic() + 30
            while info(client)["rdb_bgsave_in_progress"] != "0":
                self.assertLess(time.monotonic(), end)
                time.sleep(0.01)
            self.assertEqual({p.name: p.read_bytes() for p in self.folder.iterdir()}, before)
            client.ok("BGSAVE")
            server.kill()
        if self.manifest.read_bytes() == before[self.manifest.name]:  # it was not done yet
            self.assertTrue(set(before) <= set(self.names()), self.names())
        server = self.start(*SHARDS)
        with server.client() as client:
            self.assertEqual(client.ok("GET", "k"), b"before")
            self.assertIn(client.ok("DBSIZE"), (1, 49))
            for i in range(48):
                client.ok("SET", f"big:{i}", value)
            client.ok("BGSAVE")
            client.ok("SET", "k", "last")
            client.send("SHUTDOWN", "SAVE")
            self.assertTrue(client.closed_by_server())
        self.assertEqual(server.wait(), 0)
        self.assertEqual(len(self.names()), 1 + len(PART.findall(self.manifest.read_text())))
        with self.start() as server, server.client() as client:
            self.assertEqual(client.ok("GET", "k"), b"last")

    def test_settings(self):
        config = self.folder / "redis.conf"
        config.write_text(f"dir {self.folder}\nsnapshot-layout shards\n")
        with self.start() as server, server.client() as client:
            self.assertEqual(client.ok("CONFIG", "GET", "snapshot-layout"),
                             [b"snapshot-layout", b"single"])
            self.assertIsInstance(client.call("CONFIG", "SET", "snapshot-layout", "else"),
                                  support.Error)
        with support.Server([support.program(), str(config)], "splitring") as server, \
                server.client() as client:
            self.assertEqual(client.ok("CONFIG", "GET", "snapshot-layout")[1], b"shards")
            client.ok("CONFIG", "SET", "snapshot-layout", "single")
            client.ok("CONFIG", "REWRITE")
            self.assertNotIn("shards", config.read_text())
            client.ok("CONFIG", "SET", "snapshot-layout", "shards")
            client.ok("CONFIG", "REWRITE")
            self.assertIn("snapshot-layout shards\n", config.read_text())
        done = subprocess.run([support.program(), "--check-config", "--snapshot-layout", "shards"],
                              capture_output=True, check=False)
        self.assertEqual(done.returncode, 0)

    def test_without_checksums(self):
        with self.start(*SHARDS, "--rdbchecksum", "no") as server, server.client() as client:
            self.fill(client, 50)
            digest = client.ok("DEBUG", "DIGEST")
            self.bgsave(client)
        self.assertIn("crc 0000000000000000\n", self.manifest.read_text())
        with self.start() as server, server.client() as client:
            self.assertEqual(client.ok("DEBUG", "DIGEST"), digest)

    def test_flushall(self):
        with self.start(*SHARDS, "--save", "3600 100000") as server, server.client() as client:
            self.fill(client, 20)
            client.ok("SAVE")
            client.ok("FLUSHALL")
            end = time.monotonic() + 20
            while info(client)["rdb_saves"] != "2":
                self.assertLess(time.monotonic(), end)
                time.sleep(0.02)
            server.kill()
        with self.start() as server, server.client() as client:
            self.assertEqual(client.ok("DBSIZE"), 0)


class Loading(Folder):
    def test_progress(self):
        with self.start(*SHARDS, "--threads", "4") as server, server.client() as client:
            client.ok("DEBUG", "POPULATE", 300000, "key", 40)
            client.ok("SAVE")
        total = sum(path.stat().st_size for path in self.parts())
        server = self.start("--threads", "2", ready=False)
        shares = []
        while not shares or shares[-1] is not None:
            try:
                with server.client() as client:
                    while not shares or shares[-1] is not None:
                        shown = info(client)
                        if shown["loading"] == "0":
                            shares.append(None)
                            break
                        self.assertEqual(int(shown["loading_total_bytes"]), total)
                        self.assertLessEqual(int(shown["loading_loaded_bytes"]), total)
                        shares.append(float(shown["loading_loaded_perc"]))
            except (OSError, support.Closed):
                time.sleep(0.001)
        self.assertEqual(shares[:-1], sorted(shares[:-1]))
        self.assertTrue(any(0 < share < 100 for share in shares[:-1]), shares)
        with server.client() as client:
            self.assertEqual(client.ok("DBSIZE"), 300000)
        server.stop()


class Refused(Folder):
    def setUp(self):
        super().setUp()
        with self.start(*SHARDS, "--threads", "3") as server, server.client() as client:
            self.fill(client, 100)
            client.ok("SAVE")
        self.whole = {path: path.read_bytes() for path in self.folder.iterdir()}

    def restore(self):
        for path in self.folder.iterdir():
            path.unlink()
        for path, data in self.whole.items():
            path.write_bytes(data)

    def test_parts(self):
        middle = self.parts()[1]
        data = middle.read_bytes()
        middle.unlink()
        self.assertIn(f"{middle.name} of the snapshot cannot be opened: No such file",
                      self.refused())
        middle.write_bytes(data[:-10])
        self.assertIn(f"{middle.name} of the snapshot has {len(data) - 10} bytes", self.refused())
        middle.write_bytes(data + b"x")
        self.assertIn(f"{middle.name} of the snapshot has", self.refused())
        middle.write_bytes(data[:-8] + b"x" * 8)
        self.assertIn("it is damaged, or of another snapshot", self.refused())
        middle.write_bytes(data[:-8] + bytes(8))
        self.assertIn("it is damaged, or of another snapshot", self.refused())
        for at in random.Random(3).sample(range(len(data) - 8), 12):
            middle.write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1:])
            log = self.refused(*SHARDS)
            self.assertRegex(log, f"Error loading the RDB file .*/{middle.name}: .*offset ", at)
            self.assertIn("Fatal error loading the DB, check server logs. Exiting.", log)
        self.restore()
        with self.start() as server, server.client() as client:
            self.assertEqual(client.ok("DBSIZE"), 600)

    def test_a_part_of_other_keys(self):
        """Parts that changed their places are whole, but not what the manifest says; and one that
        claims the right checksum for keys of other slots is found by its keys."""
        first, second, _ = self.parts()
        a, b = first.read_bytes(), second.read_bytes()
        first.write_bytes(b)
        second.write_bytes(a)
        self.assertIn("of the snapshot", self.refused())
        lines = self.manifest.read_bytes().split(b"\n", 1)[1]
        lines = lines.replace(b"-5461 ", b"-4000 ").replace(b"slots 5462", b"slots 4001")
        self.manifest.write_bytes(b"#CRC:%016x:%d\n" % (logs.crc64(lines), len(lines)) + lines)
        first.write_bytes(a)
        second.write_bytes(b)
        self.assertIn("A key that does not belong into this part", self.refused())

    def test_manifest(self):
        data = self.manifest.read_bytes()
        self.manifest.unlink()
        self.assertIn("dump.rdb.manifest that belongs to them has gone", self.refused())
        self.dump.write_bytes(b"whatever")
        self.assertIn("dump.rdb.manifest that belongs to them has gone", self.refused())
        self.dump.unlink()
        self.manifest.mkdir()
        server = self.start(ready=False)
        self.assertEqual(server.wait(), 1)
        self.assertIn("manifest dump.rdb.manifest cannot be read", server.log())
        self.manifest.rmdir()
        for bad in (b"", data[:-1], data[:60], bytes(len(data)), data.replace(b"seq 1", b"seq 2"),
                    data + b"part 3 slots 0-1 size 1 crc 0000000000000000\n"):
            self.manifest.write_bytes(bad)
            self.assertIn("manifest dump.rdb.manifest is damaged in line", self.refused())

    def test_a_log_needs_one_file(self):
        log = self.refused("--appendonly", "yes")
        self.assertIn("splitring-rdb merge dump.rdb.manifest -o dump.rdb", log)
        tool = Path(support.program()).resolve().parent / "splitring-rdb"
        subprocess.run([tool, "merge", self.manifest, "-o", self.dump], check=True,
                       capture_output=True)
        with self.start("--appendonly", "yes") as server, server.client() as client:
            self.assertEqual(client.ok("DBSIZE"), 600)
            self.assertEqual(client.ok("FCALL", "f", 0), b"made")
            client.ok("SET", "later", 1)
        with self.start("--appendonly", "yes") as server, server.client() as client:
            self.assertEqual(client.ok("DBSIZE"), 601)


class Both(Folder):
    """A whole dump and a set in one folder."""

    def save(self, value, *options):
        with self.start(*options) as server, server.client() as client:
            client.ok("SET", "k", value)
            client.ok("SAVE")

    def loaded(self, *options):
        with self.start(*options) as server, server.client() as client:
            return client.ok("GET", "k"), server.log()

    def test_one_takes_the_place_of_the_other(self):
        self.save("one")
        self.assertEqual(self.names(), ["dump.rdb"])
        self.save("two", *SHARDS)
        self.assertNotIn("dump.rdb", self.names())
        self.assertEqual(self.loaded()[0], b"two")
        self.save("three")
        self.assertEqual(self.names(), ["dump.rdb"])
        with self.start(*SHARDS) as server, server.client() as client:
            self.bgsave(client)
            self.assertNotIn("dump.rdb", self.names())
            client.ok("CONFIG", "SET", "snapshot-layout", "single")
            client.ok("SET", "k", "four")
            self.bgsave(client)
            self.assertEqual(self.names(), ["dump.rdb"])
        self.assertEqual(self.loaded(*SHARDS)[0], b"four")

    def test_what_was_there_before_is_known_again(self):
        """As after a crash before it was removed."""
        self.save("old")
        old = self.dump.read_bytes()
        self.save("new", *SHARDS)
        self.dump.write_bytes(old)
        value, log = self.loaded()
        self.assertEqual(value, b"new")
        self.assertIn("dump.rdb is older than that set, and is not loaded", log)
        self.save("newer", *SHARDS)
        self.assertNotIn("dump.rdb", self.names())

    def test_strangers_are_refused(self):
        """Made elsewhere: it may be newer or older, and nobody can know."""
        self.save("set", *SHARDS)
        with support.oracle("--dir", str(self.folder)) as redis, redis.client() as client:
            client.ok("SET", "k", "redis")
            client.ok("SAVE")
        self.assertIn("nobody can know which is newer", self.refused())
        self.assertIn("nobody can know which is newer", self.refused(*SHARDS))
        self.manifest.rename(self.folder / "m")
        self.assertIn("has gone", self.refused())
        for path in self.parts():
            path.unlink()
        self.assertEqual(self.loaded()[0], b"redis")

    def test_an_empty_folder_again(self):
        """Leftovers of a set that never counted are none, and go with the next one."""
        with self.start(*SHARDS) as server, server.client() as client:
            client.ok("SET", "k", 1)
            client.ok("SAVE")
            (self.folder / "dump.rdb.77.5.rdb").write_bytes(b"half")
            client.ok("SAVE")
            self.assertIn("seq 78\n", self.manifest.read_text())
            self.assertFalse((self.folder / "dump.rdb.77.5.rdb").exists())
            (self.folder / "dump.rdb.x.5.rdb").write_bytes(b"another's")
            (self.folder / "dump.rdb.1.5.rdb.bak").write_bytes(b"another's")
            client.ok("SAVE")
            self.assertIn("dump.rdb.x.5.rdb", self.names())
            self.assertIn("dump.rdb.1.5.rdb.bak", self.names())


if __name__ == "__main__":
    unittest.main(verbosity=2)
