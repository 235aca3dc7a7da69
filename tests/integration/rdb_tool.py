"""splitring-rdb: check, stats, json, merge, split."""
# matrix: once

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import support  # noqa: E402

DEBUG = ("--enable-debug-command", "yes")


def tool(*args):
    program = Path(os.environ.get("SPLITRING_RDB") or
                   Path(support.program()).resolve().parent / "splitring-rdb")
    done = subprocess.run([program, *map(str, args)], capture_output=True, timeout=120)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


class Tool(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp(prefix="splitring-rdb-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.dump = cls.folder / "dump.rdb"
        with support.server("--dir", str(cls.folder), *DEBUG) as server, server.client() as client:
            client.ok("SET", "user:1", "x" * 1000)
            client.ok("SET", "user:2", b"\xff\x00 bytes")
            client.ok("SET", "plain", 'quotes " and \\ and ümlaut\n', "PXAT", 4000000000000)
            client.ok("RPUSH", "list:1", *range(50))
            client.ok("SADD", "set:1", "a", "b", 3)
            client.ok("ZADD", "zset:1", 1.5, "a", "-inf", "b")
            client.ok("HSET", "hash:1", "f", "v", "g", 2)
            client.ok("XADD", "stream:1", "1-1", "a", "b")
            client.ok("XGROUP", "CREATE", "stream:1", "g", 0)
            client.ok("XREADGROUP", "GROUP", "g", "c", "STREAMS", "stream:1", ">")
            client.ok("SELECT", 5)
            client.ok("MSET", *[word for i in range(500) for word in (f"many:{i}", i)])
            client.ok("SAVE")
            cls.digest = client.ok("DEBUG", "DIGEST")

    def digest_of(self, path):
        with support.server("--dir", str(path.parent), "--dbfilename", path.name, *DEBUG) as server:
            with server.client() as client:
                return client.ok("DEBUG", "DIGEST")

    def test_check(self):
        code, out, err = tool("check", self.dump)
        self.assertEqual((code, err), (0, ""))
        self.assertIn("fine, version 11, 508 keys (1 with a TTL)", out)
        whole = self.dump.read_bytes()
        bad = self.folder / "bad.rdb"
        for at in range(9, len(whole), 97):
            bad.write_bytes(whole[:at] + bytes([whole[at] ^ 8]) + whole[at + 1:])
            code, out, err = tool("check", bad)
            self.assertEqual((code, out), (1, ""), at)
            self.assertIn("(offset ", err)
            bad.write_bytes(whole[:at])
            self.assertEqual(tool("check", bad)[0], 1)

    def test_stats(self):
        code, out, err = tool("stats", self.dump, "-t", 3)
        self.assertEqual((code, err), (0, ""))
        self.assertRegex(out, r"508 keys, \d+ bytes")
        self.assertRegex(out, r"string +503 +1 ")
        self.assertRegex(out, r"many:\* +500 +0 ")
        self.assertRegex(out, r"biggest keys[^\n]*\n +(list:1|user:1|stream:1) ")

    def test_json(self):
        code, out, err = tool("json", self.dump)
        self.assertEqual((code, err), (0, ""))
        keys = {(k["db"], k["key"]): k for k in map(json.loads, out.splitlines())}
        self.assertEqual(len(keys), 508)
        self.assertEqual(keys[0, "plain"]["value"], 'quotes " and \\ and ümlaut\n')
        self.assertEqual(keys[0, "plain"]["expire_ms"], 4000000000000)
        self.assertEqual(base64.b64decode(keys[0, "user:2"]["value"]["base64"]), b"\xff\x00 bytes")
        self.assertEqual(keys[0, "list:1"]["value"], [str(i) for i in range(50)])
        self.assertEqual(sorted(keys[0, "set:1"]["value"]), ["3", "a", "b"])
        self.assertEqual(keys[0, "zset:1"]["value"], [["b", "-inf"], ["a", 1.5]])
        self.assertEqual(sorted(keys[0, "hash:1"]["value"]), [["f", "v"], ["g", "2"]])
        stream = keys[0, "stream:1"]["value"]
        self.assertEqual(stream["entries"], [["1-1", ["a", "b"]]])
        self.assertEqual(stream["groups"][0]["consumers"], [{"name": "c", "pending": ["1-1"]}])
        self.assertEqual(keys[5, "many:7"]["value"], "7")

    def test_split_and_merge(self):
        out = self.folder / "part"
        code, text, err = tool("split", self.dump, "-n", 3, "-o", out)
        self.assertEqual((code, err), (0, ""))
        parts = [self.folder / f"part.{i}" for i in range(3)]
        counts = [int(line.split(": ")[1].split()[0]) for line in text.splitlines()]
        self.assertEqual(sum(counts), 508)
        self.assertTrue(all(counts))
        whole = self.folder / "whole.rdb"
        self.assertEqual(tool("merge", *parts, "-o", whole)[0], 0)
        self.assertEqual(self.digest_of(whole), self.digest)
        code, _, err = tool("merge", parts[0], self.dump, "-o", self.folder / "twice.rdb")
        self.assertEqual(code, 1)
        self.assertIn("A key that was there before", err)
        self.assertFalse(list(self.folder.glob("twice*")))
        self.assertFalse(list(self.folder.glob("*.part")))

    def test_sets(self):
        """A snapshot of several files is made, looked into, and made one file again."""
        folder = self.folder / "set"
        folder.mkdir()
        out = folder / "dump.rdb"
        manifest = folder / "dump.rdb.manifest"
        with support.server("--dir", str(self.folder), "--enable-protected-configs", "yes",
                            *DEBUG) as server, server.client() as client:
            client.ok("FUNCTION", "LOAD", "#!lua name=lib\nredis.register_function('f', "
                                          "function() return 1 end)")
            client.ok("CONFIG", "SET", "dbfilename", "with functions.rdb")
            client.ok("SAVE")
        code, text, err = tool("split", self.folder / "with functions.rdb", "-n", 3, "-o", out,
                               "--set")
        self.assertEqual((code, err), (0, ""))
        self.assertEqual(sorted(p.name for p in folder.iterdir()),
                         [f"dump.rdb.1.{i}.rdb" for i in range(3)] + ["dump.rdb.manifest"])
        self.assertEqual(len(text.splitlines()), 3)
        self.assertEqual(self.digest_of(out), self.digest)  # the server loads the set
        self.assertEqual(tool("check", manifest)[0], 0)
        self.assertIn("508 keys", tool("stats", manifest)[1])
        self.assertEqual(len(tool("json", manifest)[1].splitlines()), 509)
        code, text, err = tool("merge", manifest, "-o", out)
        self.assertEqual((code, err), (0, ""))
        self.assertIn("newer size", manifest.read_text())
        self.assertEqual(self.digest_of(out), self.digest)  # … and now the dump
        with support.server("--dir", str(folder), *DEBUG) as server, server.client() as client:
            self.assertIn("dump.rdb is newer than the set", server.log())
            self.assertEqual(client.ok("FCALL", "f", 0), 1)
        self.assertEqual(tool("split", out, "-n", 2, "-o", out, "--set")[0], 0)
        with support.server("--dir", str(folder), *DEBUG) as server, server.client() as client:
            self.assertIn("dump.rdb is older than that set", server.log())
            self.assertEqual(client.ok("DEBUG", "DIGEST"), self.digest)
            self.assertEqual(client.ok("FCALL", "f", 0), 1)
        part = folder / "dump.rdb.2.1.rdb"
        part.write_bytes(part.read_bytes()[:-1])
        for words in (["check"], ["stats"], ["json"], ["merge", "-o", out]):
            code, text, err = tool(words[0], manifest, *words[1:])
            self.assertEqual((code, text), (1, ""))
            self.assertIn("dump.rdb.2.1.rdb of the snapshot has", err)
        self.assertEqual(tool("check", folder / "none.manifest")[0], 3)

    def test_functions_once(self):
        """A split puts libraries into each file; merged again, each is there once."""
        source = self.folder / "library.rdb"
        with support.server("--dir", str(self.folder), "--enable-protected-configs", "yes",
                            *DEBUG) as server, server.client() as client:
            client.ok("FUNCTION", "LOAD", "#!lua name=lib\nredis.register_function('f', "
                                          "function() return 1 end)")
            client.ok("CONFIG", "SET", "dbfilename", source.name)
            client.ok("SAVE")
        self.assertEqual(tool("split", source, "-n", 2, "-o", self.folder / "half")[0], 0)
        halves = [self.folder / f"half.{i}" for i in range(2)]
        self.assertEqual(tool("merge", *halves, "-o", source)[0], 0)
        self.assertEqual(self.digest_of(source), self.digest)

    def test_for_an_older_server(self):
        old = self.folder / "old.rdb"
        self.assertEqual(tool("merge", self.dump, "-o", old, "--for-7.0")[0], 0)
        self.assertEqual(old.read_bytes()[:9], b"REDIS0010")
        with support.oracle("--dir", str(self.folder), "--dbfilename", "old.rdb",
                            *DEBUG) as server, server.client() as client:
            self.assertEqual(client.ok("DEBUG", "DIGEST"), self.digest)
            self.assertEqual(client.ok("XPENDING", "stream:1", "g")[0], 1)

    def test_usage(self):
        code, out, _ = tool("--help")
        self.assertEqual(code, 0)
        self.assertIn("merge FILE...", out)
        self.assertEqual(tool("--version")[0], 0)
        for words in ([], ["check"], ["else", "x"], ["check", "x", "-o", "y"], ["merge", "x"],
                      ["split", "x", "-o", "y"], ["split", "x", "-o", "y", "-n", "0"],
                      ["json", "x", "y"], ["merge", "x", "-o", "y", "--set"],
                      ["check", "-z", "x"], ["check", "x", "-n", "3"]):
            self.assertEqual(tool(*words)[0], 2, words)
        self.assertEqual(tool("check", self.folder / "none")[0], 3)
        self.assertEqual(tool("check", self.folder)[0], 3)
        self.assertEqual(tool("merge", self.dump, "-o", self.folder / "no" / "x")[0], 3)


if __name__ == "__main__":
    unittest.main(verbosity=2)
