"""Clients that wait for entries of a stream, alone or in a group, over any mix of shards; what they
are told when the stream, its type or the group goes (as Redis 7.2 and later); effects of waiting.

A client is known to wait when CLIENT LIST shows it; a reply that must not come is one that another
command's reply overtakes.
"""

import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import shards, support  # noqa: E402

NOGROUP = b"NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option"
WRONGTYPE = b"WRONGTYPE Operation against a key holding the wrong kind of value"


def entry(ident, field="f", value="v"):
    return [ident.encode(), [field.encode(), value.encode()]]


class Waiting(support.ServerTest):
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


class Streams(Waiting):
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


class Idle:
    """Equal to every number of milliseconds from `least` on."""

    def __init__(self, least):
        self.least = least

    def __eq__(self, other):
        return isinstance(other, int) and self.least <= other < self.least + 600_000

    def __repr__(self):
        return f"{self.least} ms or some more"


def given(ident, idle=0, times=0):
    return entry(ident) + [idle, times]


HOUR, HALF = 3_600_000, 1_800_000
# XREADGROUP … CLAIM as https://redis.io/docs/latest/commands/xreadgroup/ has it (8.4): the command,
# and what it answers. PAST is an hour ago.
CLAIM = """
    XADD s 1-0 f v | XADD s 2-0 f v | XADD s 3-0 f v | XGROUP CREATE s g 0
    XREADGROUP GROUP g one COUNT 2 CLAIM 0 STREAMS s >             new entries: no delivery so far
    XREADGROUP GROUP g one CLAIM 9223372036854775807 STREAMS s >   nothing is as old as that
    XREADGROUP GROUP g two CLAIM 3600000 STREAMS s >               nor this: nothing at all
    XCLAIM s g one 0 2-0 TIME PAST RETRYCOUNT 7 JUSTID
    XADD s 4-0 f v
    XREADGROUP GROUP g two CLAIM 1800000 STREAMS s >               the old one first, then the new
    XPENDING s g - + 9 two
    XCLAIM s g one 0 3-0 TIME PAST JUSTID | XCLAIM s g one 0 1-0 TIME PAST+1 JUSTID
    XADD s 5-0 f v
    XREADGROUP GROUP g two CLAIM 1800000 COUNT 2 STREAMS s >       by age, and COUNT is for all
    XREADGROUP GROUP g two NOACK CLAIM 1800000 STREAMS s >         NOACK: of what is new
    XPENDING s g
    XCLAIM s g one 0 1-0 2-0 TIME PAST JUSTID | XDEL s 1-0
    XREADGROUP GROUP g two COUNT 1 CLAIM 1800000 STREAMS s >       what has gone is not counted
    XPENDING s g - + 9 one
    XREADGROUP GROUP g two CLAIM 0 STREAMS s 3                     history: CLAIM is ignored
    XGROUP SETID s g 3-0 | XACK s g 2-0 3-0
    XREADGROUP GROUP g six CLAIM 0 STREAMS s >                     read once more: pending and new
    XREADGROUP CLAIM 0 GROUP g one CLAIM 1800000 STREAMS s >       the last CLAIM counts
    XREADGROUP GROUP g one CLAIM x STREAMS s > | XREADGROUP GROUP g one CLAIM -0 STREAMS s >
    XREADGROUP GROUP g one CLAIM +1 STREAMS s > | XREADGROUP GROUP g one CLAIM -1 STREAMS s >
    XREADGROUP GROUP g one CLAIM STREAMS s > | XREADGROUP GROUP no one CLAIM 0 STREAMS s >
    XREAD CLAIM 0 STREAMS s 0"""
NOT_INT = b"ERR min-idle-time is not an integer"
ANSWERS = [
    b"1-0", b"2-0", b"3-0", b"OK",
    [[b"s", [given("1-0"), given("2-0")]]],
    [[b"s", [given("3-0")]]],
    None,
    [b"2-0"],
    b"4-0",
    [[b"s", [given("2-0", Idle(HOUR), 7), given("4-0")]]],
    [[b"2-0", b"two", Idle(0), 8], [b"4-0", b"two", Idle(0), 1]],
    [b"3-0"], [b"1-0"],
    b"5-0",
    [[b"s", [given("3-0", Idle(HOUR), 1), given("1-0", Idle(HOUR - 1), 1)]]],
    [[b"s", [given("5-0")]]],
    [4, b"1-0", b"4-0", [[b"two", b"4"]]],
    [b"1-0", b"2-0"], 1,
    [[b"s", [given("2-0", Idle(HOUR), 8)]]],
    [],
    [[b"s", [entry("4-0")]]],
    b"OK", 2,
    [[b"s", [given("4-0", Idle(0), 2), given("4-0"), given("5-0")]]],
    None,
    NOT_INT, NOT_INT, NOT_INT, b"ERR min-idle-time must be a positive integer",
    NOT_INT, NOGROUP.replace(b"'g'", b"'no'"),
    b"ERR The CLAIM option is only supported by XREADGROUP. You called XREAD instead.",
]


class Claim(Waiting):
    """XREADGROUP with CLAIM. (Times are set by XCLAIM, so nothing has to wait.)"""

    def test_as_documented(self):
        now = int(time.time() * 1000)
        lines = [part.split("   ")[0] for line in CLAIM.strip().splitlines()
                 for part in line.strip().split(" | ")]
        self.assertEqual(len(lines), len(ANSWERS))
        for line, answer in zip(lines, ANSWERS):
            words = line.replace("PAST+1", str(now - HOUR + 1)).replace("PAST", str(now - HOUR))
            got = self.control.call(*words.split())
            with self.subTest(line):
                self.assertEqual(bytes(got) if isinstance(got, Exception) else got, answer)

    def test_several_streams(self):
        """COUNT is for each; on RESP3 it is a map."""
        client = self.client(3)
        for key in "st":
            self.run_lines(f"XADD {key} 1-0 f v", f"XADD {key} 2-0 f v",
                           f"XGROUP CREATE {key} g 0")
        self.run_lines("XREADGROUP GROUP g one COUNT 1 STREAMS s t > >")
        self.assertEqual(
            client.call("XREADGROUP", "GROUP", "g", "two", "CLAIM", 0, "STREAMS", "s", "t", ">",
                        ">"),
            [part for key in (b"s", b"t")
             for part in (key, [given("1-0", Idle(0), 1), given("2-0")])])

    def test_waits_until_one_is_old_enough(self):
        self.run_lines("XADD s 1-0 f v", "XGROUP CREATE s g 0", "XGROUP CREATE t g $ MKSTREAM",
                       "XREADGROUP GROUP g one STREAMS s >")
        begun = time.monotonic()
        waiter = self.waits("XREADGROUP GROUP g two BLOCK 0 CLAIM 300 STREAMS t s > >")
        self.assertEqual(waiter.value(), [[b"s", [given("1-0", Idle(300), 1)]]])
        self.assertGreater(time.monotonic() - begun, 0.25)

    def test_two_wait_and_one_gets_it_first(self):
        """The second waits for the entry to grow old: it knows only since the first has got it."""
        self.run_lines("XGROUP CREATE s g $ MKSTREAM")
        waiters = [self.waits(f"XREADGROUP GROUP g {name} BLOCK 0 CLAIM 200 STREAMS s >")
                   for name in ("one", "two")]
        self.run_lines("XADD s 1-0 f v")
        self.assertEqual(waiters[0].value(), [[b"s", [given("1-0")]]])
        self.assertEqual(waiters[1].value(), [[b"s", [given("1-0", Idle(200), 1)]]])

    def test_nothing_grows_old_in_time(self):
        self.run_lines("XADD s 1-0 f v", "XGROUP CREATE s g 0",
                       "XREADGROUP GROUP g one STREAMS s >")
        waiter = self.waits("XREADGROUP GROUP g two BLOCK 400 CLAIM 60000 STREAMS s >")
        self.assertIsNone(waiter.value())
        waiter = self.client()
        waiter.send(*"XREADGROUP GROUP g two BLOCK 0 CLAIM 60000 STREAMS s >".split())
        self.blocked(1)
        self.run_lines("XADD s 2-0 f v")
        self.assertEqual(waiter.value(), [[b"s", [given("2-0")]]])

    def test_many(self):
        """Thousands that are pending, claimed piece by piece from the oldest on, while others are
        acknowledged and delivered again."""
        rng = shards.rng(shards.seed_of("claim"), "many")
        now = int(time.time() * 1000)
        client = self.control
        self.run_lines("XGROUP CREATE s g 0 MKSTREAM")
        ids = [f"{number // 50 + 1}-{number % 50 + 1}" for number in range(3000)]
        client.pipeline([["XADD", "s", ident, "f", "v"] for ident in ids])
        client.call("XREADGROUP", "GROUP", "g", "one", "STREAMS", "s", ">")
        past = {ident: now - HOUR - rng.randrange(500) for ident in ids}

        def backdate(some):
            client.pipeline([["XCLAIM", "s", "g", "one", 0, ident, "TIME", past[ident], "JUSTID"]
                             for ident in some])
        backdate(ids)
        while past:
            order = sorted(past, key=lambda ident: (past[ident], *map(int, ident.split("-"))))
            for ident in rng.sample(order, len(order) // 10):
                del past[ident]
                client.ok("XACK", "s", "g", ident)
            some = rng.sample(sorted(past), len(past) // 10)
            for ident in some:
                past[ident] = now - HOUR - rng.randrange(500)
            backdate(some)
            order = sorted(past, key=lambda ident: (past[ident], *map(int, ident.split("-"))))
            count = min(rng.randrange(1, 700), len(order))
            got = client.ok("XREADGROUP", "GROUP", "g", "two", "COUNT", count, "CLAIM", HALF,
                            "STREAMS", "s", ">")
            self.assertEqual([one[0].decode() for one in got[0][1]], order[:count])
            for ident in order[:count]:
                del past[ident]


if __name__ == "__main__":
    unittest.main()
