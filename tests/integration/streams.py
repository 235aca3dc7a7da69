"""Clients that wait for entries of a stream, alone or in a group, over any mix of shards; what they
are told when the stream, its type or the group goes (as Redis 7.2 and later); effects of waiting.

A client is known to wait when CLIENT LIST shows it; a reply that must not come is one that another
command's reply overtakes.
"""

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import shards, support  # noqa: E402

NOGROUP = b"NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option"
WRONGTYPE = b"WRONGTYPE Operation against a key holding the wrong kind of value"


def entry(ident, field="f", value="v"):
    return [ident.encode(), [field.encode(), value.encode()]]


class Streams(support.ServerTest):
    def blocked(self, count):
        """Waits until so many clients wait for a key."""
        def ready():
            lines = self.control.ok("CLIENT", "LIST").decode().splitlines()
            return sum("b" in dict(f.split("=", 1) for f in line.split(" "))["flags"]
                       for line in lines if line) == count
        self.assertTrue(shards.until(ready))

    def waits(self, line, resp=2):
        client = self.client(resp)
        client.send_bytes(support.encode(*line.split()))
        self.waiting = getattr(self, "waiting", 0) + 1
        self.blocked(self.waiting)
        return client

    def run_lines(self, *lines):
        for line in lines:
            self.control.ok(*line.split())

    def setUp(self):
        super().setUp()
        self.control = self.client()
        self.control.ok("FLUSHALL")

    def test_new_entries_wake_every_reader(self):
        readers = [self.waits("XREAD BLOCK 0 STREAMS s t u $ $ $") for _ in range(3)]
        self.run_lines("XADD t 1-1 f v")
        for reader in readers:
            self.assertEqual(reader.value(), [[b"t", [entry("1-1")]]])
        self.waiting = 0
        late = self.waits("XREAD BLOCK 0 STREAMS t $")
        self.run_lines("XADD t 1-2 f v")
        self.assertEqual(late.value(), [[b"t", [entry("1-2")]]])

    def test_dollar_means_what_it_was_when_the_wait_began(self):
        self.run_lines("XADD s 1-1 f v")
        reader = self.waits("XREAD COUNT 5 BLOCK 0 STREAMS s $")
        self.run_lines("MULTI", "XADD s 1-2 f v", "XADD s 1-3 f v", "EXEC")
        self.assertEqual(reader.value(), [[b"s", [entry("1-2"), entry("1-3")]]])

    def test_the_last_entry(self):
        reader = self.waits("XREAD BLOCK 0 STREAMS s +")
        self.run_lines("MULTI", "XADD s 1-2 f v", "XADD s 1-3 f v", "EXEC")
        self.assertEqual(reader.value(), [[b"s", [entry("1-3")]]])

    def test_a_reader_outlives_its_stream(self):
        self.run_lines("XADD s 1-1 f v")
        reader = self.waits("XREAD BLOCK 0 STREAMS s $")
        self.run_lines("DEL s", "SET s text", "DEL s", "LPUSH s x", "DEL s", "XADD s 0-1 f v")
        self.blocked(1)
        self.run_lines("XADD s 1-2 f v")
        self.assertEqual(reader.value(), [[b"s", [entry("1-2")]]])

    def test_one_entry_goes_to_one_consumer(self):
        self.run_lines("XGROUP CREATE s g $ MKSTREAM")
        first = self.waits("XREADGROUP GROUP g one BLOCK 0 STREAMS s >")
        second = self.waits("XREADGROUP GROUP g two BLOCK 0 STREAMS s >", resp=3)
        self.run_lines("XADD s 1-1 f v")
        self.assertEqual(first.value(), [[b"s", [entry("1-1")]]])
        self.blocked(1)
        self.run_lines("XADD s 1-2 f v")
        self.assertEqual(second.value(), [b"s", [entry("1-2")]])  # a map
        self.assertEqual([row[:2] for row in self.control.ok("XPENDING", "s", "g", "-", "+", "9")],
                         [[b"1-1", b"one"], [b"1-2", b"two"]])

    def test_what_is_told_when_the_group_goes(self):
        for last, told in (("DEL s", NOGROUP), ("XGROUP DESTROY s g", NOGROUP),
                           ("FLUSHALL", NOGROUP), ("SET s text", WRONGTYPE),
                           ("RENAME list s", WRONGTYPE), ("PEXPIRE s 1", NOGROUP)):
            with self.subTest(last):
                self.waiting = 0
                self.run_lines("DEL s", "XGROUP CREATE s g $ MKSTREAM", "RPUSH list x")
                reader = self.waits("XREADGROUP GROUP g c BLOCK 0 STREAMS s >")
                self.run_lines(last)
                self.assertEqual(reader.value(), told)

    def test_nothing_comes(self):
        self.run_lines("XGROUP CREATE s g $ MKSTREAM")
        for resp in (2, 3):
            client = self.client(resp)
            self.assertIsNone(client.ok("XREAD", "BLOCK", "20", "STREAMS", "s", "none", "$", "$"))
            self.assertIsNone(client.ok("XREADGROUP", "GROUP", "g", "c", "BLOCK", "20", "STREAMS",
                                        "s", ">"))
        self.assertEqual(len(self.control.ok("XINFO", "CONSUMERS", "s", "g")), 1)
        self.run_lines("MULTI", "XREAD BLOCK 0 STREAMS s $")
        self.assertEqual(self.control.ok("EXEC"), [None])


if __name__ == "__main__":
    unittest.main()
