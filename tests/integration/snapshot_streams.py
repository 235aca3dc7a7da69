"""Snapshots of big streams: what is told in pieces is what was there at the cut."""

import random
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import snapshot, support  # noqa: E402


class BigStreams(snapshot.Folder):
    """Streams with groups and much that is pending, written while they are told."""
    ENTRIES = 20000
    PENDING = 3000  # for each consumer

    def fill_stream(self, client, name, consumers=True):
        for start in range(0, self.ENTRIES, 2000):
            client.pipeline([("XADD", name, f"{i}-1", "sensor", i % 9, "value", f"v{i * 7}")
                             for i in range(start + 1, start + 2001)])
        client.pipeline([("XDEL", name, *[f"{i}-1" for i in range(5, self.ENTRIES, 77)])])
        for g in range(3):
            client.ok("XGROUP", "CREATE", name, f"group{g}", 0 if consumers else f"{g + 100}")
            for c in range(4 if consumers and g < 2 else 0):
                client.ok("XREADGROUP", "GROUP", f"group{g}", f"consumer{c}", "COUNT",
                          self.PENDING, "STREAMS", name, ">")

    def state(self, client, name):
        """All that is known of it, but how it lies in memory."""
        full = client.ok("XINFO", "STREAM", name, "FULL", "COUNT", 0)
        fields = dict(zip(full[::2], full[1::2]))
        return {k: v for k, v in fields.items() if not k.startswith(b"radix-tree")}

    def writes(self, name, rng):
        def i():
            return rng.randrange(1, self.ENTRIES)

        def g():
            return f"group{rng.randrange(3)}"

        def c():
            return f"consumer{rng.randrange(5)}"
        often = [x for _ in range(20) for x in [
            ("XADD", name, "*", "sensor", "new"), ("XDEL", name, f"{i()}-1"),
            ("XACK", name, g(), f"{i()}-1", f"{i()}-1"),
            ("XCLAIM", name, g(), c(), 0, f"{i()}-1", f"{i()}-1", "JUSTID"),
            ("XAUTOCLAIM", name, g(), c(), 0, f"{i()}-1", "COUNT", 20, "JUSTID"),
            ("XREADGROUP", "GROUP", g(), c(), "COUNT", 20, "STREAMS", name, ">")]]
        rare = [("XTRIM", name, "MINID", "~", f"{i() // 20}-1"),
                ("XGROUP", "SETID", name, g(), f"{i()}-1"),
                ("XGROUP", "CREATECONSUMER", name, g(), f"new{i()}"),
                ("XGROUP", "DELCONSUMER", name, g(), c()),
                ("XGROUP", "CREATE", name, f"new{i()}", "$"),
                ("XGROUP", "DESTROY", name, g())]
        return often + rare[rng.randrange(6):]

    def run_all(self, client, commands):
        replies = client.pipeline(commands)
        self.assertFalse(any(isinstance(r, support.Error) and b"NOGROUP" not in r and
                             b"BUSYGROUP" not in r and b"no such key" not in r and
                             b"requires the key" not in r for r in replies), replies)

    def during(self, act, rng):
        """Follows BGSAVE in one pipeline: the walk has hardly begun."""
        first = self.writes("stream", rng)[:4]
        if act == "delete":
            return [*first, ("DEL", "stream", "plain")]
        if act == "rename":
            return [*first, ("RENAME", "stream", "other"), ("RENAME", "plain", "{other}2"),
                    *self.writes("other", rng), *self.writes("{other}2", rng)]
        if act == "overwrite":
            return [*first, ("SET", "stream", "x"), ("SET", "plain", "x")]
        if act == "flush":
            return [*first, ("FLUSHDB",)]
        return [x for _ in range(12) for name in ("stream", "plain")
                for x in self.writes(name, rng)]

    def state_of_both(self, client):
        return [self.state(client, name) for name in ("stream", "plain")]

    def save_while_written(self, act):
        self.dump.unlink(missing_ok=True)
        rng = random.Random(f"stream {act}")
        with self.start() as server, server.client() as client:
            self.fill_stream(client, "stream")
            self.fill_stream(client, "plain", consumers=False)
            before = self.state_of_both(client)
            self.run_all(client, [("BGSAVE",), *self.during(act, rng)])
            self.assertEqual(self.saved(client)["rdb_last_bgsave_status"], "ok")
            server.kill()
        return before

    def test_they_are_those_of_the_cut(self):
        for act in ("write", "delete", "rename", "overwrite", "flush"):
            with self.subTest(act=act):
                before = self.save_while_written(act)
                with self.start() as server, server.client() as client:
                    self.assertEqual(self.state_of_both(client), before)

    def test_others_load_them(self):
        """Consumers' times need RDB 11, which Debian's redis-server does not read."""
        before = self.save_while_written("write")
        valkey = support.ROOT / "bench/peers/.cache/valkey-server"
        if valkey.exists():
            with support.Server([valkey, "--save", "", "--dir", str(self.folder)],
                                "valkey") as server, server.client() as client:
                self.assertEqual(self.state_of_both(client), before)
        with self.start() as server, server.client() as client:
            client.ok("DEL", "stream")
            self.run_all(client, [("BGSAVE",), *self.writes("plain", random.Random(1))])
            self.saved(client)
            server.kill()
        with support.oracle("--dir", str(self.folder)) as server, server.client() as client:
            self.assertEqual(self.state(client, "plain"), before[1])

    def test_base_of_the_log(self):
        """A rewrite's base comes the same way, and the log goes on from the cut."""
        rng = random.Random(5)
        options = ("--appendonly", "yes", "--auto-aof-rewrite-percentage", "0")
        with self.start(*options) as server, server.client() as client:
            self.fill_stream(client, "stream")
            self.fill_stream(client, "plain", consumers=False)
            self.run_all(client, [("BGREWRITEAOF",), *self.during("write", rng)])
            self.until(lambda: snapshot.info(client)["aof_rewrite_in_progress"] == "0",
                       "the rewrite is over")
            self.assertEqual(snapshot.info(client)["aof_last_bgrewrite_status"], "ok")
            digest = client.ok("DEBUG", "DIGEST")
            entries = [client.ok("XRANGE", name, "-", "+") for name in ("stream", "plain")]
            client.send("SHUTDOWN")
            self.assertEqual(server.wait(), 0)
        with self.start(*options) as server, server.client() as client:
            self.assertEqual(client.ok("DEBUG", "DIGEST"), digest)
            self.assertEqual([client.ok("XRANGE", name, "-", "+")
                              for name in ("stream", "plain")], entries)


if __name__ == "__main__":
    unittest.main()
