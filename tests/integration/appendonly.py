"""The append log: what lies in it, that redis-server starts on it, switching, rewriting."""

import importlib
import inspect
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "compat")]
from integration import support  # noqa: E402

DEBUG = ("--enable-debug-command", "yes")
GENERATORS = ("string", "hash", "list", "set", "zset", "stream", "generic", "hyperloglog", "geo")
COMMANDS = int(os.environ.get("SPLITRING_AOF_COMMANDS", 6000))  # of each client
WAITS = {b"wait", b"waitaof", b"blpop", b"brpop", b"blmove", b"brpoplpush", b"bzpopmin",
         b"bzpopmax", b"blmpop", b"bzmpop", b"xread", b"xreadgroup"}
UNWANTED = WAITS | {b"flushall", b"swapdb", b"debug", b"script", b"select", b"object", b"dump"}


def info(client):
    lines = client.ok("INFO", "persistence").decode().split("\r\n")
    return dict(line.split(":", 1) for line in lines if ":" in line)


def until(what, seconds=20):
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            raise AssertionError("does not come about")
        time.sleep(0.01)


def parse(data):
    """The commands of a log, without lines that begin with '#'."""
    commands, at = [], 0
    while at < len(data):
        end = data.index(b"\r\n", at)
        if data[at:at + 1] == b"#":
            at = end + 2
            continue
        count, at, words = int(data[at + 1:end]), end + 2, []
        for _ in range(count):
            end = data.index(b"\r\n", at)
            size = int(data[at + 1:end])
            words.append(data[end + 2:end + 2 + size])
            at = end + 4 + size
        commands.append(words)
    return commands


READS = {b"string": ["GET"], b"list": ["LRANGE", 0, -1], b"set": ["SMEMBERS"],
         b"zset": ["ZRANGE", 0, -1, "WITHSCORES"], b"hash": ["HGETALL"], b"stream": ["XRANGE"]}


def contents(client, databases=16):
    """Everything, as it can be read: {(db, key): (type, expiry, value)}."""
    found = {}
    for db in range(databases):
        client.ok("SELECT", db)
        for key in client.ok("KEYS", "*"):
            kind = client.ok("TYPE", key)
            name, *rest = READS[bytes(kind)]
            value = client.ok(name, key, *(rest if kind != b"stream" else ["-", "+"]))
            if kind in (b"set", b"hash"):
                value = sorted(value) if kind == b"set" else sorted(zip(value[::2], value[1::2]))
            if kind == b"zset":  # Redis 7.0 prints them in another way
                value = [(m, float(score)) for m, score in zip(value[::2], value[1::2])]
            if kind == b"stream":
                groups = client.ok("XINFO", "GROUPS", key)
                for group in groups:  # versions guess the lag in different ways
                    del group[group.index(b"lag"):]
                value = [value, groups]
            found[db, key] = (kind, client.ok("PEXPIRETIME", key), value)
    client.ok("SELECT", 0)
    return found


class Log(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="splitring-aof-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def start(self, *options, appendonly="yes", **more):
        server = support.server("--dir", str(self.folder), "--appendonly", appendonly, *DEBUG,
                                *options, **more)
        self.addCleanup(server.forget)
        self.addCleanup(lambda: server.alive() and server.kill())
        return server

    def redis(self):
        """Debian's redis-server on a copy of the folder."""
        copy = Path(tempfile.mkdtemp(prefix="splitring-aof-"))
        self.addCleanup(shutil.rmtree, copy, ignore_errors=True)
        shutil.copytree(self.folder, copy, dirs_exist_ok=True)
        server = support.oracle("--dir", str(copy), "--appendonly", "yes")
        self.addCleanup(server.forget)
        return server

    def logs(self):
        return sorted((self.folder / "appendonlydir").glob("*.incr.aof"),
                      key=lambda path: int(path.name.split(".")[-3]))

    def commands(self):
        """Of all incr files; a SELECT is left out."""
        found = [c for path in self.logs() for c in parse(path.read_bytes())]
        return [c for c in found if c[0] != b"SELECT"]

    def written(self, client):
        """Waits until what was done is in the file."""
        client.ok("CONFIG", "SET", "appendfsync", "always")
        self.assertEqual(client.ok("WAITAOF", 1, 0, 0), [1, 0])

    def check_files(self):
        manifest = next((self.folder / "appendonlydir").glob("*.manifest"))
        done = subprocess.run(["redis-check-aof", str(manifest)], capture_output=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def same_in_redis(self, ours):
        self.check_files()
        with self.redis() as other, other.client() as client:
            theirs = contents(client)
        self.assertEqual(len(ours), len(theirs))
        for key, value in ours.items():
            self.assertEqual(value, theirs.get(key), key)


class Records(Log):
    def test_one_command_one_record(self):
        with self.start() as server, server.client() as c:
            c.ok("SET", "a", 1)
            c.ok("SET", "a", 2, "EX", 1000)
            c.ok("GET", "a")
            c.ok("DEL", "none")
            c.ok("INCRBYFLOAT", "f", "1.5")
            c.ok("SADD", "s", 1)
            c.ok("SPOP", "s")
            c.ok("MSET", *(w for i in range(40) for w in (f"m{i}", i)))
            self.written(c)
        found = self.commands()
        self.assertEqual([c[0].upper() for c in found],
                         [b"SET", b"SET", b"SET", b"SADD", b"SREM", b"MSET"])
        self.assertEqual(found[1][3], b"PXAT")
        self.assertEqual(found[2][:3], [b"SET", b"f", b"1.5"])
        self.assertEqual(len(found[5]), 81)

    def test_databases(self):
        with self.start() as server, server.client() as c, server.client() as d:
            d.ok("SELECT", 3)
            for i in range(3):
                c.ok("SET", f"c{i}", i)
                d.ok("SET", f"d{i}", i)
            self.written(c)
            ours = contents(c)
        self.assertEqual(len(ours), 6)
        self.same_in_redis(ours)

    def test_units_are_wrapped(self):
        with self.start() as server, server.client() as c:
            c.ok("MULTI")
            for i in range(10):
                c.ok("SET", f"k{i}", i)
            c.ok("GET", "k1")
            c.ok("EXEC")
            c.ok("EVAL", "for i=1,5 do redis.call('incr', KEYS[1]) end", 1, "e")
            c.ok("EVAL", "redis.call('set', KEYS[1], 1) redis.call('set', 'other', 2) "
                 "redis.call('set', 'third', 3)", 1, "first")
            c.ok("MULTI")
            c.ok("SET", "one", 1)
            c.ok("EXEC")
            self.written(c)
        names = [c[0].upper() for c in self.commands()]
        self.assertEqual(names, [b"MULTI"] + [b"SET"] * 10 + [b"EXEC", b"MULTI"] + [b"INCR"] * 5 +
                         [b"EXEC", b"MULTI"] + [b"SET"] * 3 + [b"EXEC", b"SET"])

    def test_long_scripts(self):
        """They pause, and what others write meanwhile is not between their commands."""
        script = ("for i=1,30 do redis.call('rpush', KEYS[1], i) "
                  "for j=1,30000 do local x = j * j end end")
        with self.start() as server, server.client() as c, server.client() as d:
            for turn in range(3):
                c.send("EVAL", script, 1, f"list{turn}")
                for i in range(50):
                    d.ok("SET", f"other{i}", i)
                c.read()
            c.ok("MULTI")
            c.ok("SET", "before", 1)
            c.ok("EVAL", script, 1, "in exec")
            c.ok("EVAL", script, 1, "again in exec")
            c.ok("SET", "after", 1)
            c.send("EXEC")
            for i in range(50):
                d.ok("SET", f"other{i}", i)
            c.read()
            self.written(c)
            ours = contents(c)
        inside, sizes = None, []
        for command in self.commands():
            if command[0] == b"MULTI":
                inside = []
            elif command[0] == b"EXEC":
                sizes.append(len(inside))
                inside = None
            elif inside is not None:
                inside.append(command)
                self.assertFalse(command[1].startswith(b"other"))
        self.assertEqual(sizes, [30, 30, 30, 62])
        self.same_in_redis(ours)

    def test_expired(self):
        with self.start() as server, server.client() as c:
            c.ok("DEBUG", "SET-ACTIVE-EXPIRE", 0)
            c.ok("SET", "k", 5, "PX", 1)
            c.ok("SET", "lazy", 5, "PX", 1)
            time.sleep(0.01)
            self.assertEqual(c.ok("INCR", "k"), 1)
            self.assertIsNone(c.ok("GET", "lazy"))
            c.ok("SET", "swept", 1, "PX", 1)
            c.ok("DEBUG", "SET-ACTIVE-EXPIRE", 1)
            until(lambda: c.ok("DBSIZE") == 1)
            self.written(c)
            ours = contents(c)
        words = [b" ".join(c[:2]) for c in self.commands()]
        self.assertEqual(words, [b"SET k", b"SET lazy", b"MULTI", b"DEL k", b"INCR k", b"EXEC",
                                 b"DEL lazy", b"SET swept", b"DEL swept"])
        self.same_in_redis(ours)

    def test_served(self):
        """Who was waiting pops after the push, in a record of its own."""
        with self.start() as server, server.client() as c, server.client() as d:
            for key in ("l", "l2", "l3"):
                d.send("BLPOP", key, 0)
                until(lambda: b"blocked_clients:1" in c.ok("INFO", "clients"))
                c.ok("RPUSH", key, 1, 2)
                self.assertEqual(d.read()[1], b"1")
            d.send("BLMOVE", "l4", "l5", "LEFT", "LEFT", 0)
            until(lambda: b"blocked_clients:1" in c.ok("INFO", "clients"))
            c.ok("RPUSH", "l4", 1, 2)
            d.read()
            self.written(c)
            ours = contents(c)
        names = [c[0].upper() for c in self.commands()]
        self.assertEqual(names[:6], [b"RPUSH", b"LPOP"] * 3)
        self.same_in_redis(ours)

    def test_functions(self):
        code = "#!lua name=%s\nredis.register_function('%s', function() return 1 end)"
        with self.start() as server, server.client() as c:
            c.ok("FUNCTION", "LOAD", code % ("a", "f"))
            c.ok("FUNCTION", "LOAD", "REPLACE", code % ("a", "g"))
            c.ok("FUNCTION", "LOAD", code % ("b", "h"))
            c.ok("FUNCTION", "DELETE", "b")
            dump = c.ok("FUNCTION", "DUMP")
            c.ok("FUNCTION", "FLUSH")
            c.ok("FUNCTION", "RESTORE", dump)
            self.written(c)
        with self.redis() as other, other.client() as c:
            self.assertEqual(c.ok("FCALL", "g", 0), 1)
            self.assertEqual(len(c.ok("FUNCTION", "LIST")), 1)


class Generated(Log):
    """Commands of all kinds from several clients: redis-server has the same data afterwards."""

    def run_client(self, server, seed, known, failures, kinds):
        rng = random.Random(seed)
        makers = []
        for name in kinds:
            module = importlib.import_module("gen_" + name)
            taken = inspect.signature(module.commands).parameters
            more = {"met": [], "oracle": "redis"}
            kind = [more[p] for p in list(taken)[1:]]
            makers.append(module.commands(rng, *kind))
        try:
            with server.client() as client:
                self.drive(client, rng, makers, known)
        except Exception as error:  # pylint: disable=broad-except
            failures.append(error)

    def drive(self, client, rng, makers, known):
        done = 0
        while done < COMMANDS:
            batch = []
            while len(batch) < 50:
                words = [w if isinstance(w, bytes) else str(w).encode()
                         for w in next(rng.choice(makers))]
                name = words[0].lower()
                if name in known and name not in UNWANTED:
                    batch.append(words)
            if rng.random() < 0.3:
                batch = [[b"MULTI"]] + batch[:rng.randrange(2, 20)] + [[b"EXEC"]]
            done += len(batch)
            client.pipeline(batch)

    def test_streams(self):
        """Redis 7.0 does not read the dumps of streams of later versions: no rewrite."""
        self.compare(("stream", "generic"), rewrite=False)

    def test_with_rewrites(self):
        self.compare(tuple(k for k in GENERATORS if k != "stream"), rewrite=True)

    def compare(self, kinds, rewrite):
        seed = random.randrange(1 << 32)
        with support.oracle() as other, other.client() as c:
            known = {w.lower() for w in c.ok("COMMAND", "LIST")}
        size = "300kb" if rewrite else "1gb"
        with self.start("--auto-aof-rewrite-min-size", size) as server, \
                server.client() as control:
            failures = []
            clients = [threading.Thread(target=self.run_client,
                                        args=(server, f"{seed}:{n}", known, failures, kinds))
                       for n in range(4)]
            for client in clients:
                client.start()
            for turn in range(4 if rewrite else 0):
                time.sleep(0.2)
                reply = control.call("BGREWRITEAOF")
                self.assertIn(reply[:30], (b"Background append only file re",
                                           b"ERR Background append only fil"), turn)
            for client in clients:
                client.join()
            self.assertEqual(failures, [], f"seed {seed}")
            until(lambda: info(control)["aof_rewrite_in_progress"] == "0")
            self.assertEqual(info(control)["aof_last_bgrewrite_status"], "ok")
            ours = contents(control)
        try:
            self.same_in_redis(ours)
        except AssertionError as error:
            keep = tempfile.mkdtemp(prefix="splitring-aof-failed-")
            shutil.copytree(self.folder, keep, dirs_exist_ok=True)
            raise AssertionError(f"seed {seed}, files in {keep}") from error


class Switching(Log):
    def test_on_and_off(self):
        with self.start(appendonly="no") as server, server.client() as c:
            for i in range(500):
                c.ok("SET", f"old{i}", i)
            self.assertFalse((self.folder / "appendonlydir").exists())
            self.assertEqual(c.call("WAITAOF", 1, 0, 0), support.Error(
                b"ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled."))
            c.ok("CONFIG", "SET", "appendonly", "yes")
            for i in range(500):
                c.ok("INCR", f"old{i}")
                c.ok("SET", f"new{i}", i)
            until(lambda: info(c)["aof_rewrite_in_progress"] == "0")
            self.assertEqual(info(c)["aof_enabled"], "1")
            self.written(c)
            self.same_in_redis(contents(c))
            c.ok("CONFIG", "SET", "appendonly", "no")
            until(lambda: info(c)["aof_enabled"] == "0")
            before = self.logs()[-1].stat().st_size
            c.ok("SET", "unseen", 1)
            time.sleep(0.1)
            self.assertEqual(self.logs()[-1].stat().st_size, before)
            c.ok("CONFIG", "SET", "appendonly", "yes")
            until(lambda: info(c)["aof_enabled"] == "1" and
                  info(c)["aof_rewrite_in_progress"] == "0")
            c.ok("SET", "seen", 1)
            self.written(c)
            ours = contents(c)
            self.assertTrue((0, b"unseen") in ours)
            self.same_in_redis(ours)

    def test_rewrites(self):
        with self.start() as server, server.client() as c:
            for turn in range(3):
                for i in range(100):
                    c.ok("APPEND", f"k{i}", "x")
                self.assertEqual(c.ok("BGREWRITEAOF"),
                                 b"Background append only file rewriting started")
                until(lambda: info(c)["aof_rewrites"] == str(turn + 1))
            files = sorted(p.name for p in (self.folder / "appendonlydir").iterdir())
            self.assertEqual(files, ["appendonly.aof.4.base.rdb", "appendonly.aof.4.incr.aof",
                                     "appendonly.aof.manifest"])
            self.written(c)
            self.same_in_redis(contents(c))
        self.assertEqual([p.name for p in self.folder.iterdir()], ["appendonlydir"])

    def test_writers_go_on(self):
        """The base is written beside commands; a snapshot waits for it, and it for a snapshot."""
        with self.start() as server, server.client() as c:
            c.ok("DEBUG", "POPULATE", 300000)
            c.ok("BGREWRITEAOF")
            meanwhile, refused = 0, None
            while info(c)["aof_rewrite_in_progress"] == "1":
                meanwhile = c.ok("INCR", "meanwhile")
                if refused is None:
                    refused = c.call("BGSAVE"), info(c)["aof_rewrite_in_progress"] == "1"
            self.assertGreater(meanwhile, 1)
            if refused[1]:
                error = b"ERR Another child process is active (AOF?)"
                self.assertTrue(refused[0].startswith(error))
            until(lambda: info(c)["rdb_bgsave_in_progress"] == "0")
            c.ok("BGSAVE")
            told = c.ok("BGREWRITEAOF")
            until(lambda: info(c)["aof_rewrites"] == "2")
            self.assertIn(told, (b"Background append only file rewriting scheduled",
                                 b"Background append only file rewriting started"))
            c.ok("INCR", "meanwhile")
            self.written(c)
            digest = c.ok("DEBUG", "DIGEST")
            server.kill()
        with self.start() as server, server.client() as c:
            self.assertEqual(c.ok("DEBUG", "DIGEST"), digest)
            self.assertEqual(int(c.ok("GET", "meanwhile")), meanwhile + 1)
        self.check_files()

    def test_automatic_rewrite(self):
        with self.start("--auto-aof-rewrite-min-size", "100kb") as server, server.client() as c:
            for turn in range(10):
                c.pipeline([("SET", "k", "x" * 1000)] * 50)
                time.sleep(0.05)
            until(lambda: int(info(c)["aof_rewrites"]) > 0)
            self.assertIn("Starting automatic rewriting of AOF on", server.log())
            self.same_in_redis(contents(c))

    def test_stamps(self):
        with self.start("--aof-timestamp-enabled", "yes") as server, server.client() as c:
            c.ok("SET", "a", 1)
            self.written(c)
        self.assertIn(b"\n#TS:", self.logs()[-1].read_bytes())
        self.check_files()

    def test_names(self):
        with self.start("--appendfilename", "log", "--appenddirname", "some where") as server, \
                server.client() as c:
            c.ok("SET", "a", 1)
        files = sorted(p.name for p in (self.folder / "some where").iterdir())
        self.assertEqual(files, ["log.1.base.rdb", "log.1.incr.aof", "log.manifest"])


class Waiting(Log):
    def test_replies(self):
        calls = [("WAITAOF", 2, 0, 0), ("WAITAOF", -1, 0, 0), ("WAITAOF", 0, -1, 0),
                 ("WAITAOF", 0, 0, -1), ("WAITAOF", "x", 0, 0), ("WAITAOF", 0, "x", 0),
                 ("WAITAOF", 0, 0, "x"), ("WAIT", "x", 0), ("WAIT", 0, -1), ("WAIT", -1, 0),
                 ("WAIT", 0, 0), ("WAIT", 1, 20)]
        expected = [b"ERR value is out of range, value must between 0 and 1"] * 2 + [
            b"ERR value is out of range, must be positive", b"ERR timeout is negative",
            b"ERR value is not an integer or out of range",
            b"ERR value is out of range, must be positive",
            b"ERR timeout is not an integer or out of range",
            b"ERR value is not an integer or out of range", b"ERR timeout is negative", 0, 0, 0]
        with self.start() as server, server.client() as c:
            for call, reply in zip(calls, expected):
                self.assertEqual(c.call(*call), reply, call)
            c.ok("SET", "a", 1)
            self.assertEqual(c.ok("WAITAOF", 1, 0, 0), [1, 0])
            self.assertEqual(c.ok("WAITAOF", 0, 1, 20), [1, 0])
            c.ok("MULTI")
            c.ok("WAIT", 1, 0)
            self.assertEqual(c.ok("EXEC"), [0])

    def test_always(self):
        """What was answered is in the file at that moment."""
        with self.start("--appendfsync", "always") as server, server.client() as c, \
                server.client() as d:
            for i in range(30):
                c.ok("SET", "key", f"value-{i}")
                self.assertIn(f"value-{i}\r\n".encode(), self.logs()[-1].read_bytes())
                self.assertEqual(d.ok("GET", "key"), f"value-{i}".encode())
            replies = c.pipeline([("SET", f"k{i}", i) for i in range(500)])
            self.assertEqual(set(replies), {support.OK})
            self.assertIn(b"k499\r\n", self.logs()[-1].read_bytes())
            d.ok("SUBSCRIBE", "ch")
            c.ok("MULTI")
            c.ok("SET", "published", 1)
            c.ok("PUBLISH", "ch", "m")
            c.send("EXEC")
            self.assertEqual(d.read()[2], b"m")
            self.assertIn(b"published\r\n", self.logs()[-1].read_bytes())


if __name__ == "__main__":
    unittest.main()
