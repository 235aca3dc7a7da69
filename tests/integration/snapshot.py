"""Snapshots beside running commands: BGSAVE, save points, what they hold, what can go wrong."""

import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import support  # noqa: E402

STARTED = support.Status(b"Background saving started")
RUNNING = support.Error(b"ERR Background save already in progress")
MISCONF = support.Error(
    b"MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to "
    b"disk. Commands that may modify the data set are disabled, because this instance is "
    b"configured to report errors during writes if RDB snapshotting fails "
    b"(stop-writes-on-bgsave-error option). Please check the Redis logs for details about the RDB "
    b"error.")
BIG = 4 << 20  # bytes of values that take a moment to write


def info(client):
    lines = client.ok("INFO", "persistence").decode().split("\r\n")
    return dict(line.split(":", 1) for line in lines if ":" in line)


class Folder(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="splitring-snap-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.dump = self.folder / "dump.rdb"

    def start(self, *options, **more):
        server = support.server("--dir", str(self.folder), "--enable-debug-command", "yes",
                                *options, **more)
        self.addCleanup(server.forget)
        self.addCleanup(lambda: server.alive() and server.kill())
        return server

    def until(self, condition, what, seconds=20):
        end = time.monotonic() + seconds
        while not condition():
            self.assertLess(time.monotonic(), end, what)
            time.sleep(0.01)

    def saved(self, client):
        self.until(lambda: info(client)["rdb_bgsave_in_progress"] == "0", "the snapshot ends")
        return info(client)

    def bgsave(self, client):
        self.assertEqual(client.ok("BGSAVE"), STARTED)
        return self.saved(client)

    def fill(self, client, keys=2000):
        for start in range(0, keys, 250):
            commands = []
            for i in range(start, start + 250):
                commands += [("SET", f"string:{i}", "v" * (i % 90)), ("HSET", f"h:{i}", "f", i),
                             ("RPUSH", f"l:{i}", i, "x"), ("SADD", f"s:{i}", i, i + 1),
                             ("ZADD", f"z:{i}", i, "m"), ("XADD", f"x:{i}", "1-1", "a", "b")]
            client.pipeline(commands)
        client.pipeline([("SELECT", 7), ("SET", "other", 1, "EX", 10000), ("SELECT", 0)])

    def slow_disk(self, client):
        """Much to write: a snapshot takes long enough to be met."""
        value = random.Random(1).randbytes(1 << 20)
        for i in range(64):
            client.ok("SET", f"big:{i}", value)


class Command(Folder):
    def test_the_file(self):
        with self.start() as server, server.client() as client:
            self.fill(client)
            client.ok("FUNCTION", "LOAD", "#!lua name=lib\nredis.register_function('f', "
                                          "function() return 1 end)")
            digest = client.ok("DEBUG", "DIGEST")
            self.assertEqual(client.ok("BGSAVE"), STARTED)
            client.pipeline([("SET", f"string:{i}", "later") for i in range(2000)])
            client.ok("SET", "new", 1)
            self.assertEqual(self.saved(client)["rdb_last_bgsave_status"], "ok")
        self.assertEqual([p.name for p in self.folder.iterdir()], ["dump.rdb"])
        for threads in ("1", "3"):
            with self.start("--threads", threads) as server, server.client() as client:
                self.assertEqual(client.ok("DEBUG", "DIGEST"), digest)
                self.assertEqual(client.ok("FCALL", "f", 0), 1)
        with support.oracle("--dir", str(self.folder), "--enable-debug-command",
                            "yes") as server, server.client() as client:
            self.assertEqual(client.ok("DBSIZE"), 12000)
            self.assertEqual(client.ok("HGET", "h:7", "f"), b"7")

    def test_answers(self):
        with self.start() as server, server.client() as client, server.client() as other:
            for wrong in (("x",), ("SCHEDULE", "x"), ("CANCEL", "x")):
                self.assertEqual(client.call("BGSAVE", *wrong), support.Error(b"ERR syntax error"))
            self.assertEqual(client.call("BGSAVE", "CANCEL"), support.Error(
                b"ERR Background saving is currently not in progress or scheduled"))
            self.assertEqual(client.ok("BGSAVE", "schedule"), STARTED)
            self.saved(client)
            self.slow_disk(client)
            replies = client.pipeline([("BGSAVE",), ("BGSAVE",), ("BGSAVE", "SCHEDULE"),
                                       ("SAVE",), ("BGSAVE", "CANCEL")])
            self.assertEqual(replies[:4], [STARTED, RUNNING, RUNNING, RUNNING])
            self.assertEqual(replies[4], support.Status(b"Background saving cancelled"))
            self.assertEqual(self.saved(other)["rdb_last_bgsave_status"], "ok")
            self.assertEqual([p.name for p in self.folder.iterdir()], ["dump.rdb"])
            self.assertLess(self.dump.stat().st_size, BIG, "the file of before")

    def test_in_multi_it_comes_later(self):
        with self.start() as server, server.client() as client:
            client.ok("SET", "k", 1)
            replies = client.pipeline([("MULTI",), ("BGSAVE",), ("EXEC",)])
            self.assertEqual(replies[2], [support.Status(b"Background saving scheduled")])
            self.until(self.dump.exists, "the scheduled one")

    def test_lastsave_and_info(self):
        with self.start() as server, server.client() as client:
            before = info(client)
            self.assertEqual(before["rdb_last_bgsave_time_sec"], "-1")
            self.assertEqual(before["rdb_current_bgsave_time_sec"], "-1")
            self.slow_disk(client)
            self.assertEqual(info(client)["rdb_changes_since_last_save"], "64")
            self.assertEqual(client.ok("BGSAVE"), STARTED)
            client.ok("SET", "later", 1)
            during = info(client)
            if during["rdb_bgsave_in_progress"] == "1":
                self.assertEqual(during["current_save_keys_total"], "64")
                self.assertNotEqual(during["rdb_current_bgsave_time_sec"], "-1")
            after = self.saved(client)
            self.assertEqual(after["rdb_changes_since_last_save"], "1")
            self.assertEqual(after["rdb_saves"], "1")
            self.assertEqual(after["rdb_last_bgsave_time_sec"], "0" if int(
                after["rdb_last_bgsave_time_sec"]) < 1 else after["rdb_last_bgsave_time_sec"])
            self.assertEqual(after["rdb_last_save_time"], str(client.ok("LASTSAVE")))

    def test_expiry_is_that_of_the_cut(self):
        with self.start() as server, server.client() as client:
            client.ok("SET", "k", 1, "EX", 1000)
            at = client.ok("EXPIRETIME", "k")
            client.pipeline([("BGSAVE",), ("PERSIST", "k")])
            self.saved(client)
        with self.start() as server, server.client() as client:
            self.assertEqual(client.ok("EXPIRETIME", "k"), at)

    def test_uncompressed(self):
        sizes = []
        for compress in ("yes", "no"):
            with self.start("--rdbcompression", compress) as server, server.client() as client:
                client.ok("SET", "k", "a" * 5000)
                self.bgsave(client)
                sizes.append(self.dump.stat().st_size)
            self.dump.unlink()
        self.assertLess(sizes[0], 500)
        self.assertGreater(sizes[1], 5000)

    def test_dir_and_name_are_changed(self):
        other = self.folder / "other"
        other.mkdir()
        options = ("--enable-protected-configs", "yes")
        with self.start(*options) as server, server.client() as client:
            client.ok("SET", "k", 1)
            client.ok("CONFIG", "SET", "dir", str(other), "dbfilename", "x.rdb")
            self.bgsave(client)
            self.assertTrue((other / "x.rdb").exists())


class Points(Folder):
    def test_a_point_is_reached(self):
        with self.start("--save", "1 3") as server, server.client() as client:
            client.pipeline([("SET", "a", 1), ("SET", "b", 1)])
            time.sleep(2.5)
            self.assertFalse(self.dump.exists())
            client.ok("SET", "c", 1)
            self.until(self.dump.exists, "three changes in a second")
            self.until(lambda: info(client)["rdb_changes_since_last_save"] == "0", "all saved")
            self.assertIn("3 changes in 1 seconds. Saving...", server.log())

    def test_a_quiet_server_reaches_it_too(self):
        with self.start("--save", "5 1") as server:
            with server.client() as client:
                client.ok("SET", "a", 1)
            self.until(self.dump.exists, "nobody is connected any more", 15)

    def test_points_set_at_run_time(self):
        with self.start() as server, server.client() as client:
            client.ok("SET", "a", 1)
            client.ok("CONFIG", "SET", "save", "1 1")
            self.until(self.dump.exists, "the new point")

    def test_flushall(self):
        """The dump in progress is given up; with save points the empty set is written."""
        with self.start("--save", "3600 1000000") as server, server.client() as client:
            self.slow_disk(client)
            self.assertEqual(client.ok("BGSAVE"), STARTED)
            client.ok("FLUSHALL")
            self.until(lambda: self.dump.exists() and self.dump.stat().st_size < 1000,
                       "the empty set")
            client.ok("SET", "k", 1)
            replies = client.pipeline([("FLUSHALL",), ("SET", "k", 2), ("BGSAVE",)])
            self.assertEqual(replies[2], STARTED)
            self.saved(client)
            server.kill()
        with self.start() as server, server.client() as client:
            self.assertEqual(client.ok("GET", "k"), b"2")


class OnePointInTime(Folder):
    KEYS = 40

    def load_and_judge(self, written):
        """Round robin: key i of round n has the value n; what is loaded is a prefix."""
        with self.start() as server, server.client() as client:
            values = [int(v or 0) for v in client.ok("MGET", *[f"r{i}" for i in range(self.KEYS)])]
            total = sum(int(client.ok("GET", f"account:{i}")) for i in range(10))
        top = values[0]
        step = next((i for i, v in enumerate(values) if v != top), self.KEYS)
        self.assertEqual(values, [top] * step + [top - 1] * (self.KEYS - step))
        self.assertLessEqual(top, written)
        self.assertEqual(total, 1000)
        return top

    def test_cut(self):
        rounds, stop = [0], threading.Event()

        def writes():
            with server.client() as client:
                while not stop.is_set():
                    rounds[0] += 1
                    for i in range(self.KEYS):
                        client.ok("SET", f"r{i}", rounds[0])

        def transfers():
            rng = random.Random(5)
            with server.client() as client:
                while not stop.is_set():
                    a, b = rng.sample(range(10), 2)
                    client.pipeline([("MULTI",), ("DECRBY", f"account:{a}", 1),
                                     ("INCRBY", f"account:{b}", 1), ("EXEC",)])

        loaded = []
        for _ in range(4):
            self.dump.unlink(missing_ok=True)
            stop.clear()
            rounds[0] = 0
            server = self.start()
            with server.client() as client:
                client.pipeline([("SET", f"account:{i}", 100) for i in range(10)])
                self.fill(client)
                clients = [threading.Thread(target=f) for f in (writes, transfers, transfers)]
                for thread in clients:
                    thread.start()
                for _ in range(3):
                    self.bgsave(client)
                    self.until(lambda at=rounds[0]: rounds[0] > at + 2, "writers go on")
                stop.set()
                for thread in clients:
                    thread.join()
            server.kill()
            loaded.append(self.load_and_judge(rounds[0]))
        self.assertGreater(max(loaded), 0)

    def test_scripts_and_msets(self):
        stop = threading.Event()
        names = [f"m{i}" for i in range(16)]

        def sets(client, number):
            args = [arg for name in names for arg in (name, number)]
            client.ok("MSET", *args)

        def script(client, number):
            client.ok("EVAL", "for i, k in ipairs(KEYS) do redis.call('SET', k, ARGV[1]) end",
                      len(names), *names, number)

        def writes(act):
            number = 0
            with server.client() as client:
                while not stop.is_set():
                    number += 1
                    act(client, number)

        server = self.start()
        with server.client() as client:
            sets(client, 0)
            clients = [threading.Thread(target=writes, args=(act,)) for act in (sets, script)]
            for thread in clients:
                thread.start()
            try:
                for _ in range(6):
                    self.bgsave(client)
                    shutil.copy(self.dump, self.folder / "copy.rdb")
                    with self.start("--dbfilename", "copy.rdb") as copy, copy.client() as reader:
                        self.assertEqual(len(set(reader.ok("MGET", *names))), 1)
            finally:
                stop.set()
                for thread in clients:
                    thread.join()
        server.kill()


class Faults(Folder):
    def test_kill_leaves_the_old_file(self):
        with self.start() as server, server.client() as client:
            client.ok("SET", "old", 1)
            self.bgsave(client)
            before = self.dump.read_bytes()
            self.slow_disk(client)
            self.assertEqual(client.ok("BGSAVE"), STARTED)
            server.process.send_signal(signal.SIGKILL)
            server.kill()
        after = self.dump.read_bytes()
        if after != before:  # it was whole before the signal came
            self.assertGreater(len(after), BIG)
        with self.start() as server, server.client() as client:
            self.assertEqual(client.ok("GET", "old"), b"1")

    def test_shutdown_gives_it_up(self):
        with self.start("--save", "3600 1000") as server, server.client() as client:
            self.slow_disk(client)
            self.assertEqual(client.ok("BGSAVE"), STARTED)
            client.ok("SET", "last", 1)
            client.send("SHUTDOWN")
            self.assertTrue(client.closed_by_server())
            self.assertEqual(server.wait(), 0)
        self.assertEqual([p.name for p in self.folder.iterdir()], ["dump.rdb"])
        with self.start() as server, server.client() as client:
            self.assertEqual(client.ok("DBSIZE"), 65)

    def test_nosave_gives_it_up(self):
        with self.start() as server, server.client() as client:
            self.slow_disk(client)
            self.assertEqual(client.ok("BGSAVE"), STARTED)
            client.send("SHUTDOWN", "NOSAVE")
            self.assertTrue(client.closed_by_server())
            self.assertEqual(server.wait(), 0)
        self.assertLessEqual({p.name for p in self.folder.iterdir()}, {"dump.rdb"})

    def test_reload_while_it_runs(self):
        with self.start() as server, server.client() as client:
            self.slow_disk(client)
            digest = client.ok("DEBUG", "DIGEST")
            self.assertEqual(client.ok("BGSAVE"), STARTED)
            self.assertEqual(client.ok("DEBUG", "RELOAD"), support.OK)
            self.assertEqual(client.ok("DEBUG", "DIGEST"), digest)
            self.bgsave(client)

    def missing_dir(self):
        gone = self.folder / "gone"
        gone.mkdir()
        server = support.server("--dir", str(gone), "--save", "3600 100000")
        self.addCleanup(server.forget)
        self.addCleanup(lambda: server.alive() and server.kill())
        gone.rmdir()
        return server, gone

    def test_misconf(self):
        server, gone = self.missing_dir()
        with server.client() as client:
            client.ok("SET", "k", 1)
            self.assertEqual(client.ok("BGSAVE"), STARTED)
            self.assertEqual(self.saved(client)["rdb_last_bgsave_status"], "err")
            self.assertIn("Failed opening the temp RDB file", server.log())
            self.assertIn("Background saving error", server.log())
            for write in (("SET", "k", 2), ("DEL", "k"), ("PING",)):
                self.assertEqual(client.call(*write), MISCONF)
            self.assertEqual(client.ok("GET", "k"), b"1")
            self.assertEqual(client.pipeline([("MULTI",), ("SET", "k", 2), ("EXEC",)])[1:], [
                MISCONF,
                support.Error(b"EXECABORT Transaction discarded because of previous errors.")])
            reply = client.call("EVAL", "return redis.pcall('SET', 'k', 2)", 0)
            self.assertEqual(reply, MISCONF)
            self.assertEqual(client.ok("EVAL", "return redis.call('GET', 'k')", 1, "k"), b"1")
            client.ok("CONFIG", "SET", "stop-writes-on-bgsave-error", "no")
            client.ok("SET", "k", 3)
            client.ok("CONFIG", "SET", "stop-writes-on-bgsave-error", "yes", "save", "")
            client.ok("SET", "k", 4)
            client.ok("CONFIG", "SET", "save", "3600 100000")
            self.assertEqual(client.call("SET", "k", 5), MISCONF)
            gone.mkdir()
            self.assertEqual(self.bgsave(client)["rdb_last_bgsave_status"], "ok")
            client.ok("SET", "k", 6)
            client.send("SHUTDOWN", "NOSAVE")
            self.assertTrue(client.closed_by_server())

    def test_exec_of_what_was_queued_before(self):
        server, gone = self.missing_dir()
        with server.client() as client, server.client() as other:
            client.pipeline([("MULTI",), ("SET", "k", 2)])
            self.assertEqual(other.ok("BGSAVE"), STARTED)
            self.saved(other)
            self.assertEqual(client.call("EXEC"), support.Error(
                b"EXECABORT Transaction discarded because of: " + MISCONF))
            client.send("SHUTDOWN", "NOSAVE")
            self.assertTrue(client.closed_by_server())

    @unittest.skipUnless(os.geteuid() == 0, "mounts a small disk")
    def test_full_disk(self):
        small = self.folder / "small"
        small.mkdir()
        if os.system(f"mount -t tmpfs -o size=2m tmpfs {small} 2>/dev/null"):
            self.skipTest("no mounts here")
        self.addCleanup(os.system, f"umount {small}")
        with self.start("--dir", str(small)) as server, server.client() as client:
            client.ok("SET", "k", 1)
            self.bgsave(client)
            before = (small / "dump.rdb").read_bytes()
            self.slow_disk(client)
            self.assertEqual(client.ok("BGSAVE"), STARTED)
            self.assertEqual(self.saved(client)["rdb_last_bgsave_status"], "err")
            self.assertIn("No space left on device", server.log())
            self.assertEqual([p.name for p in small.iterdir()], ["dump.rdb"])
            self.assertEqual((small / "dump.rdb").read_bytes(), before)
            client.ok("FLUSHALL")
            self.assertEqual(self.bgsave(client)["rdb_last_bgsave_status"], "ok")


class BigValues(Folder):
    """Values that come in pieces, written while they are told."""
    FIELDS = 60000

    def fill_big(self, client):
        for start in range(0, self.FIELDS, 2000):
            numbers = range(start, start + 2000)
            client.pipeline([
                ("HSET", "hash", *[x for i in numbers for x in (f"field:{i}", f"value:{i}")]),
                ("SADD", "set", *[f"member:{i}" for i in numbers]),
                ("ZADD", "zset", *[x for i in numbers for x in (i, f"member:{i}")]),
                ("RPUSH", "list", *[f"element:{i}" for i in numbers]),
                ("APPEND", "string", "0123456789" * 2000),
                *[("XADD", "stream", f"{i + 1}-1", "f", i) for i in numbers[::20]]])
        client.ok("SETBIT", "string", 5000000, 1)

    def test_they_are_those_of_the_cut(self):
        for act in ("write", "delete", "rename"):
            with self.subTest(act=act):
                self.dump.unlink(missing_ok=True)
                with self.start() as server, server.client() as client:
                    self.fill_big(client)
                    self.fill(client, 1000)
                    names = ("hash", "set", "zset", "list", "string", "stream")
                    digest = client.ok("DEBUG", "DIGEST")
                    self.assertEqual(client.ok("BGSAVE"), STARTED)
                    if act == "delete":
                        client.ok("DEL", *names)
                    elif act == "rename":
                        for name in names:
                            client.ok("RENAME", name, f"{{{name}}}2")
                    rng = random.Random(3)
                    for _ in range(40):
                        i = rng.randrange(self.FIELDS)
                        client.pipeline([
                            ("HSET", "hash", f"field:{i}", "new"),
                            ("HDEL", "hash", f"field:{i + 1}"),
                            ("SREM", "set", f"member:{i}"), ("SADD", "set", f"new:{i}"),
                            ("ZADD", "zset", 0, f"member:{i}"), ("ZREM", "zset", f"member:{i + 1}"),
                            ("LPUSH", "list", "new"), ("RPOP", "list"),
                            ("SETRANGE", "string", i * 10, "new"),
                            ("XADD", "stream", "*", "new", 1),
                            ("XTRIM", "stream", "MAXLEN", 2000),
                            ("SET", f"string:{i % 1000}", "new")])
                    self.assertEqual(self.saved(client)["rdb_last_bgsave_status"], "ok")
                    server.kill()
                with self.start() as server, server.client() as client:
                    self.assertEqual(client.ok("DEBUG", "DIGEST"), digest)

    def test_given_up_in_the_middle(self):
        with self.start() as server, server.client() as client:
            self.fill_big(client)
            for _ in range(5):
                replies = client.pipeline([("BGSAVE",), ("HSET", "hash", "f", 1),
                                           ("BGSAVE", "CANCEL")])
                self.assertEqual(replies[0], STARTED)
                self.saved(client)
            digest = client.ok("DEBUG", "DIGEST")
            self.bgsave(client)
            client.ok("FLUSHALL")
            server.kill()
        with self.start() as server, server.client() as client:
            self.assertEqual(client.ok("DEBUG", "DIGEST"), digest)

    def test_no_room_to_keep_what_is_overwritten(self):
        with self.start("--snapshot-memory-limit", "1") as server, server.client() as client:
            self.slow_disk(client)
            self.fill_big(client)
            before = self.bgsave(client)
            commands = [("BGSAVE",)] + [("SET", f"big:{i}", "x") for i in range(64)]
            client.pipeline(commands)
            after = self.saved(client)
            if after["rdb_last_bgsave_status"] == "err":
                self.assertIn("snapshot-memory-limit", server.log())
                self.assertEqual(after["rdb_saves"], before["rdb_saves"])
            client.ok("CONFIG", "SET", "snapshot-memory-limit", "0")
            self.assertEqual(self.bgsave(client)["rdb_last_bgsave_status"], "ok")


if __name__ == "__main__":
    unittest.main()
