"""Dumps on disk: SAVE, loading at start, SHUTDOWN and signals, what is damaged or not allowed."""

import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import support  # noqa: E402

SHUTDOWN_FAILED = support.Error(b"ERR Errors trying to SHUTDOWN. Check logs.")
LOADING = support.Error(b"LOADING Redis is loading the dataset in memory")
DEBUG = ("--enable-debug-command", "yes")


def info(client, section="persistence"):
    lines = client.ok("INFO", section).decode().split("\r\n")
    return dict(line.split(":", 1) for line in lines if ":" in line)


class Folder(unittest.TestCase):
    """Servers that share a folder, one after the other."""

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="splitring-rdb-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.addCleanup(self.writable)
        self.dump = self.folder / "dump.rdb"

    def writable(self):
        for path in [self.folder, *self.folder.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)

    def start(self, *options, **more):
        server = support.server("--dir", str(self.folder), *DEBUG, *options, **more)
        self.addCleanup(server.forget)
        self.addCleanup(lambda: server.alive() and server.kill())
        return server

    def fails_to_start(self, *options):
        server = self.start(*options, ready=False)
        self.assertEqual(server.wait(), 1)
        return server.log()

    def fill(self, client, keys=300):
        commands = []
        for i in range(keys):
            commands += [("SET", f"string:{i}", "v" * (i % 90)), ("HSET", f"h:{i}", "f", i),
                         ("RPUSH", f"l:{i}", i, "x"), ("SADD", f"s:{i}", i, i + 1),
                         ("ZADD", f"z:{i}", i, "m"), ("XADD", f"x:{i}", "1-1", "a", "b")]
        commands += [("SELECT", 7), ("SET", "other db", 1), ("EXPIRE", "other db", 10000),
                     ("SELECT", 0)]
        for start in range(0, len(commands), 200):
            for reply in client.pipeline(commands[start:start + 200]):
                self.assertNotIsInstance(reply, support.Error)


class Restart(Folder):
    def test_save_and_start(self):
        with self.start() as server, server.client() as client:
            self.fill(client)
            digest = client.ok("DEBUG", "DIGEST")
            self.assertGreater(int(info(client)["rdb_changes_since_last_save"]), 1800)
            before = int(time.time()) - 1
            self.assertEqual(client.ok("SAVE"), support.OK)
            self.assertGreaterEqual(client.ok("LASTSAVE"), before)
            shown = info(client)
            self.assertEqual(shown["rdb_changes_since_last_save"], "0")
            self.assertEqual(shown["rdb_saves"], "1")
            self.assertEqual(shown["rdb_last_bgsave_status"], "ok")
        self.assertEqual([p.name for p in self.folder.iterdir()], ["dump.rdb"])
        for threads in ("1", "3", "4"):
            with self.start("--threads", threads) as server, server.client() as client:
                self.assertEqual(client.ok("DEBUG", "DIGEST"), digest, threads)
                self.assertEqual(client.ok("DBSIZE"), 1800)
                shown = info(client)
                self.assertEqual(shown["loading"], "0")
                self.assertEqual(shown["rdb_last_load_keys_loaded"], "1801")
                self.assertIn("DB loaded from disk", server.log())

    def test_every_way_to_stop(self):
        """Save points decide, unless the command says it."""
        ways = [
            (("--save", "3600 1"), "SIGTERM", True), (("--save", "3600 1"), "SIGINT", True),
            (("--save", ""), "SIGTERM", False), (("--save", ""), ["SHUTDOWN"], False),
            (("--save", "3600 1"), ["SHUTDOWN"], True),
            (("--save", ""), ["SHUTDOWN", "SAVE"], True),
            (("--save", "3600 1"), ["SHUTDOWN", "NOSAVE"], False),
            (("--save", "3600 1"), ["SHUTDOWN", "NOW"], True),
            (("--save", "", "--shutdown-on-sigterm", "save"), "SIGTERM", True),
            (("--save", "3600 1", "--shutdown-on-sigterm", "nosave"), "SIGTERM", False),
        ]
        for options, way, saves in ways:
            with self.subTest(options=options, way=way):
                self.dump.unlink(missing_ok=True)
                server = self.start(*options)
                with server.client() as client:
                    client.ok("SET", "k", "v")
                    if isinstance(way, str):
                        server.process.send_signal(getattr(signal, way))
                    else:
                        client.send(*way)
                    self.assertTrue(client.closed_by_server())
                self.assertEqual(server.wait(), 0)
                self.assertEqual(self.dump.exists(), saves, server.log())
                self.assertIn("bye bye", server.log())

    def test_save_points_at_run_time(self):
        server = self.start()
        with server.client() as client:
            client.ok("SET", "k", "v")
            client.ok("CONFIG", "SET", "save", "100 1")
            client.send("SHUTDOWN")
            self.assertTrue(client.closed_by_server())
        self.assertEqual(server.wait(), 0)
        self.assertTrue(self.dump.exists())

    def test_expired_keys_are_not_loaded(self):
        with self.start() as server, server.client() as client:
            client.ok("SET", "stays", "v", "PX", 100000000)
            client.ok("DEBUG", "SET-ACTIVE-EXPIRE", 0)
            client.ok("SET", "goes", "v", "PX", 40)
            client.ok("SAVE")
        time.sleep(0.05)
        with self.start() as server, server.client() as client:
            self.assertEqual(client.ok("KEYS", "*"), [b"stays"])
            self.assertGreater(client.ok("PTTL", "stays"), 90000000)

    def test_idle_time_and_frequency(self):
        with self.start("--maxmemory-policy", "allkeys-lru") as server, server.client() as client:
            client.ok("SET", "k", "v")
            payload = client.ok("DUMP", "k")
            client.ok("RESTORE", "old", 0, payload, "IDLETIME", 5000)
            client.ok("SAVE")
        with self.start("--maxmemory-policy", "allkeys-lru") as server, server.client() as client:
            self.assertGreaterEqual(client.ok("OBJECT", "IDLETIME", "old"), 5000)
            self.assertLess(client.ok("OBJECT", "IDLETIME", "k"), 1000)
        with self.start("--maxmemory-policy", "allkeys-lfu") as server, server.client() as client:
            client.ok("RESTORE", "often", 0, payload, "FREQ", 200)
            client.ok("SAVE")
        with self.start("--maxmemory-policy", "allkeys-lfu") as server, server.client() as client:
            self.assertGreaterEqual(client.ok("OBJECT", "FREQ", "often"), 199)

    def test_more_databases_than_there_are(self):
        with self.start("--databases", "20") as server, server.client() as client:
            client.ok("SELECT", 19)
            client.ok("SET", "k", "v")
            client.ok("SAVE")
        self.assertIn("more than 16 databases", self.fails_to_start())

    def test_names(self):
        with self.start("--dbfilename", "other.rdb") as server, server.client() as client:
            client.ok("SET", "k", "v")
            client.ok("SAVE")
        self.assertTrue((self.folder / "other.rdb").exists())
        with self.start("--dbfilename", "other.rdb") as server, server.client() as client:
            self.assertEqual(client.ok("GET", "k"), b"v")


class Reload(Folder):
    def test_reload(self):
        with self.start() as server, server.client() as client:
            self.fill(client)
            digest = client.ok("DEBUG", "DIGEST")
            self.assertEqual(client.ok("DEBUG", "RELOAD"), support.OK)
            self.assertEqual(client.ok("DEBUG", "DIGEST"), digest)
            client.ok("SET", "string:1", "changed")
            client.ok("SET", "new", "v")
            self.assertEqual(client.ok("DEBUG", "RELOAD", "NOSAVE", "NOFLUSH", "MERGE"),
                             support.OK)
            self.assertEqual(client.ok("GET", "string:1"), b"v")
            self.assertEqual(client.ok("GET", "new"), b"v")
            self.assertEqual(client.ok("DEBUG", "RELOAD", "NOSAVE"), support.OK)
            self.assertEqual(client.ok("DEBUG", "DIGEST"), digest)
            self.assertIsInstance(client.call("DEBUG", "RELOAD", "NOSAVE", "NOFLUSH"),
                                  support.Error)
            self.assertIsInstance(client.call("DEBUG", "RELOAD", "ELSE"), support.Error)

    def test_one_moment(self):
        """Beside writers: MSETs over all shards are in a dump whole or not at all."""
        with self.start() as server:
            stop = threading.Event()

            def write(number):
                with server.client() as client:
                    for i in range(1000000):
                        if stop.is_set():
                            return
                        keys = [f"{number}:{k}" for k in range(8)]
                        client.ok("MSET", *[word for key in keys for word in (key, i)])

            writers = [threading.Thread(target=write, args=(n,)) for n in range(4)]
            for writer in writers:
                writer.start()
            try:
                with server.client() as client:
                    for i in range(10):
                        client.ok("SAVE")
                        shutil.copy(self.dump, self.folder / f"{i}.rdb")
                    for _ in range(5):
                        client.ok("DEBUG", "RELOAD")
            finally:
                stop.set()
                for writer in writers:
                    writer.join()
        for i in range(10):
            with self.start("--dbfilename", f"{i}.rdb") as server, server.client() as client:
                for n in range(4):
                    values = client.ok("MGET", *[f"{n}:{k}" for k in range(8)])
                    self.assertEqual(len(set(values)), 1, values)

    def test_nothing_answered_is_missing(self):
        """SHUTDOWN SAVE beside a writer: what it was told of is there."""
        for _ in range(3):
            self.dump.unlink(missing_ok=True)
            server = self.start()
            told = {}

            def write(number):
                try:
                    with server.client() as client:
                        for i in range(1000000):
                            client.ok("SET", f"{number}:{i % 40}", i)
                            told[f"{number}:{i % 40}"] = b"%d" % i
                except (support.Closed, OSError):
                    pass

            writers = [threading.Thread(target=write, args=(n,)) for n in range(4)]
            for writer in writers:
                writer.start()
            time.sleep(0.3)
            with server.client() as client:
                client.send("SHUTDOWN", "SAVE")
                self.assertTrue(client.closed_by_server())
            self.assertEqual(server.wait(), 0)
            for writer in writers:
                writer.join()
            with self.start() as server, server.client() as client:
                for key, value in told.items():
                    found = client.ok("GET", key)
                    self.assertGreaterEqual(int(found), int(value), key)


class Functions(Folder):
    LIBRARY = ("#!lua name=lib\nredis.register_function('f', function(keys, args) "
               "return 'it ' .. args[1] end)")

    def test_functions(self):
        with self.start() as server, server.client() as client:
            client.ok("FUNCTION", "LOAD", self.LIBRARY)
            client.ok("SET", "k", "v")
            client.ok("SAVE")
            client.ok("FUNCTION", "FLUSH")
            client.ok("DEBUG", "RELOAD", "NOSAVE")
            self.assertEqual(client.ok("FCALL", "f", 0, "works"), b"it works")
            client.ok("DEBUG", "RELOAD")
            client.ok("DEBUG", "RELOAD", "NOFLUSH", "MERGE")
            self.assertEqual(client.ok("FCALL", "f", 0, "works"), b"it works")
        with self.start("--threads", "3") as server:
            for _ in range(6):
                with server.client() as client:
                    self.assertEqual(client.ok("FCALL", "f", 0, "works"), b"it works")

    def test_from_redis(self):
        with support.oracle("--dir", str(self.folder)) as redis, redis.client() as client:
            client.ok("FUNCTION", "LOAD", self.LIBRARY)
            client.ok("SAVE")
        with self.start() as server, server.client() as client:
            self.assertEqual(client.ok("FCALL", "f", 0, "works"), b"it works")
            client.ok("SAVE")
        with support.oracle("--dir", str(self.folder)) as redis, redis.client() as client:
            self.assertEqual(client.ok("FCALL", "f", 0, "works"), b"it works")


class Refused(Folder):
    def test_save_that_fails(self):
        try:
            if os.geteuid() != 0:
                self.folder.chmod(0o555)
            server = self.start("--dbfilename", "a.rdb", "--save", "3600 1")
            with server.client() as client:
                client.ok("SET", "k", "v")
                client.ok("CONFIG", "SET", "save", "3600 1")
                if os.geteuid() == 0:  # root may write anywhere, but not over a folder
                    (self.folder / "a.rdb").mkdir()
                    (self.folder / "a.rdb" / "x").touch()
                self.assertEqual(client.call("SAVE"), support.Error(b"ERR"))
                self.assertEqual(client.call("SHUTDOWN"), SHUTDOWN_FAILED)
                self.assertEqual(client.ok("GET", "k"), b"v")
                server.process.send_signal(signal.SIGTERM)
                time.sleep(0.3)
                self.assertTrue(server.alive())
                client.ok("SET", "k", "w")
                self.assertIn("can't exit", server.log())
                client.send("SHUTDOWN", "FORCE")
                self.assertTrue(client.closed_by_server())
            self.assertEqual(server.wait(), 0)
            self.assertFalse(list(self.folder.glob("temp-*")))
        finally:
            self.folder.chmod(0o755)

    def test_arguments(self):
        with self.start() as server, server.client() as client:
            for words in (["SAVE", "NOSAVE"], ["ABORT", "NOW"], ["ELSE"]):
                self.assertEqual(client.call("SHUTDOWN", *words),
                                 support.Error(b"ERR syntax error"))
            self.assertEqual(client.call("SHUTDOWN", "ABORT"),
                             support.Error(b"ERR No shutdown in progress."))
            client.ok("MULTI")
            self.assertIsInstance(client.call("SAVE"), support.Error)

    @unittest.skipIf(os.geteuid() == 0, "root may read everything")
    def test_unreadable(self):
        self.dump.write_bytes(b"REDIS0011")
        self.dump.chmod(0)
        self.assertIn("Permission denied", self.fails_to_start())

    def test_strange_files(self):
        self.dump.mkdir()
        self.assertIn("Is a directory", self.fails_to_start())
        self.dump.rmdir()
        self.dump.write_bytes(b"")
        self.assertIn("Unexpected end of file in the header", self.fails_to_start())
        self.dump.write_bytes(b"not a dump, but text\n")
        self.assertIn("Wrong signature", self.fails_to_start())
        self.dump.unlink()
        os.mkfifo(self.dump)
        self.assertIn("Invalid argument", self.fails_to_start())

    def test_missing_folder(self):
        server = support.Server([support.program(), "--dir", str(self.folder / "no")], "none",
                                ready=False)
        self.addCleanup(server.forget)
        self.assertEqual(server.wait(), 1)
        self.assertIn("Can't chdir", server.log())

    def test_damaged_files(self):
        """Refused with an offset; not a byte of the file is touched."""
        with self.start() as server, server.client() as client:
            self.fill(client, 40)
            client.ok("SAVE")
        whole = self.dump.read_bytes()
        rng = random.Random(7)
        for _ in range(25):
            bad = bytearray(whole)
            at = rng.randrange(9, len(bad) - 8)
            if rng.random() < 0.3:
                del bad[at:]
            else:
                bad[at] ^= 1 << rng.randrange(8)
            self.dump.write_bytes(bad)
            log = self.fails_to_start("--save", "3600 1")
            self.assertRegex(log, r"Error loading the RDB file .*\(offset \d+\)")
            self.assertIn("Fatal error loading the DB, check server logs. Exiting.", log)
            self.assertEqual(self.dump.read_bytes(), bytes(bad))


class Loading(Folder):
    def test_loading(self):
        """While a dump is read: LOADING for data, answers for what needs none, and progress."""
        with self.start() as server, server.client() as client:
            client.ok("DEBUG", "POPULATE", 400000, "key", 40)
            client.ok("SAVE")
        server = self.start(ready=False)
        seen = set()
        for _ in range(20000):
            try:
                with server.client() as client:
                    while len(seen) < 4:
                        shown = info(client)
                        if shown["loading"] == "0":
                            break
                        seen.add("info")
                        self.assertGreater(int(shown["loading_total_bytes"]), 1000000)
                        self.assertLessEqual(float(shown["loading_loaded_perc"]), 100)
                        self.assertIn("loading_eta_seconds", shown)
                        self.assertIn("loading_start_time", shown)
                        if client.call("GET", "key:1") == LOADING:
                            seen.add("get")
                        if client.call("PING") == LOADING:
                            seen.add("ping")
                        client.ok("CONFIG", "GET", "dir")
                        client.ok("MULTI")
                        if client.call("SET", "a", 1) == LOADING:
                            seen.add("multi")
                        client.call("DISCARD")
                break
            except (OSError, support.Closed, socket.timeout):
                time.sleep(0.001)
        server.wait_ready()
        with server.client() as client:
            self.assertEqual(client.ok("DBSIZE"), 400000)
        server.stop()
        self.assertIn("get", seen)
        self.assertIn("info", seen)

    def test_stopped_while_loading(self):
        with self.start() as server, server.client() as client:
            client.ok("DEBUG", "POPULATE", 200000, "key", 40)
            client.ok("SAVE")
        before = self.dump.read_bytes()
        server = self.start("--save", "3600 1", ready=False)
        while "started" not in server.log():
            time.sleep(0.001)
        server.process.send_signal(signal.SIGTERM)
        self.assertEqual(server.wait(), 0)
        self.assertTrue("during loading" in server.log() or "DB saved" in server.log())
        if "during loading" in server.log():
            self.assertEqual(self.dump.read_bytes(), before)


if __name__ == "__main__":
    unittest.main(verbosity=2)
