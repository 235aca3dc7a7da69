#!/usr/bin/python3
"""Keyspace events beside redis-server: the same generated commands, and after each of them the same
events, of all classes (KEAmn), in the same order.

    tests/compat/events.py [--seconds 30] [--seed N] [--types string,hash] [--threads 1,2,4]

Behind every command a message is published on a channel of the test's, so what comes before it is
what the command told. With several workers the events of one command may be those of its parts in
any order; events of each key keep theirs.

As a test it runs for SPLITRING_DIFF_SECONDS / 2 with a random seed, which is printed.
"""
# matrix: once

import argparse
import collections
import os
import random
import sys
import time
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]
import differential  # noqa: E402
from integration import support  # noqa: E402

CLASSES = "KEAmn"
MARK = b"mark of the test"
# What they do depends on chance, or they wait for others; FLUSHALL and SCRIPT have no events. SORT
# tells of missing keys in the order in which it looks them up.
LEFT_OUT = {b"blpop", b"brpop", b"blmove", b"brpoplpush", b"blmpop", b"bzpopmin", b"bzpopmax",
            b"bzmpop", b"xread", b"xreadgroup", b"spop", b"debug", b"randomkey", b"scan",
            b"sort", b"sort_ro"}


def early_errors(command, ours, theirs):
    """Since 7.2 BITCOUNT and BITPOS read their arguments before the key."""
    return command[0].lower() in (b"bitcount", b"bitpos") and not ours \
        and [text for channel, text in theirs if b"space@" in channel] == [b"keymiss"]


def lowest_count(command, ours, theirs):
    """Since 7.2 LREM's count is above -2^63."""
    return command[0].lower() == b"lrem" and command[2] == b"-9223372036854775808"


KNOWN = [early_errors, lowest_count]


class Side:
    """A server, one connection that sends, one that listens."""

    def __init__(self, name, server):
        self.name = name
        self.server = server
        self.link = differential.Link(server, 2)
        self.ears = server.client(3)
        with server.client() as client:
            client.ok("CONFIG", "SET", "notify-keyspace-events", CLASSES)
            client.call("DEBUG", "SET-ACTIVE-EXPIRE", 0)
        self.ears.send("PSUBSCRIBE", "__key*__:*")
        self.ears.send("SUBSCRIBE", MARK)
        self.ears.read(), self.ears.read()

    def start(self, commands, end):
        data = []
        for command in commands:
            data.append(differential.encode(command))
            data.append(differential.encode([b"PUBLISH", MARK, b"x"]))
        data.append(differential.encode([b"ECHO", end]))
        self.link.start(b"".join(data), b"$%d\r\n%b\r\n" % (len(end), end))

    def events(self):
        """Of the next command: [(channel, text)]."""
        found = []
        while True:
            push = self.ears.read()
            if push[0] == b"message":
                return found
            found.append((push[2], push[3]))


def by_channel(events):
    out = collections.defaultdict(list)
    for channel, text in events:
        if channel.startswith(b"__keyspace"):
            out[channel].append(text)
        else:
            out[channel, text].append(text)
    return out


class Run:
    def __init__(self, options):
        self.rng = random.Random(options.seed)
        self.modules = differential.load_generators(options.types)
        self.sides = [Side(f"{n} workers", support.server(
            "--threads", str(n), "--enable-debug-command", "yes")) for n in options.threads]
        self.workers = options.threads
        self.oracle = Side("redis", support.oracle("--enable-debug-command", "yes"))
        with self.oracle.server.client() as client:
            self.known = set(client.ok("COMMAND", "LIST"))
        with self.sides[0].server.client() as client:
            self.known &= set(client.ok("COMMAND", "LIST"))
        self.met = []
        self.makers = [differential.endless(module, random.Random(self.rng.random()), self.met,
                                            "redis") for _, module in self.modules]
        self.weights = [getattr(module, "WEIGHT", 1) for _, module in self.modules]
        self.marks = 0
        self.seen = collections.Counter()
        self.commands = 0

    def stop(self):
        for side in self.sides + [self.oracle]:
            side.server.stop()

    def batch(self):
        out = []
        for maker in self.rng.choices(self.makers, self.weights, k=200):
            command = next(maker)
            if not command or command[0].lower() in LEFT_OUT \
                    or command[0].lower() not in self.known:
                continue
            out.append(command)
            if len(command) > 1 and len(command[1]) < 100 and self.rng.random() < 0.1:
                self.met.append(command[1])
                del self.met[:-24]
        return out

    def exchange(self, commands):
        self.marks += 1
        end = b"end-%09d" % self.marks
        everyone = self.sides + [self.oracle]
        for side in everyone:
            side.start(commands, end)
        found = []
        for side in everyone:
            while not side.link.done():
                side.link.step(*ready(side.link))
            found.append([side.events() for _ in commands])
        return found

    def alike(self, number, command, ours, theirs):
        if ours == theirs or any(test(command, ours, theirs) for test in KNOWN):
            return True
        return self.workers[number] > 1 and by_channel(ours) == by_channel(theirs)

    def round(self):
        """A text for the first difference, or None."""
        self.exchange([[b"SELECT", b"0"], [b"FLUSHALL"]])
        for _ in range(10):
            commands = self.batch()
            found = self.exchange(commands)
            self.commands += len(commands)
            for at, command in enumerate(commands):
                theirs = found[-1][at]
                for _, text in theirs[::2]:
                    self.seen[text] += 1
                for number, side in enumerate(self.sides):
                    ours = found[number][at]
                    if not self.alike(number, command, ours, theirs):
                        before = "\n".join([
                            "    " + differential.show(c) for c in commands[:at]
                            if set(c[1:]) & set(command[1:]) or c[0].lower() == b"select"][-12:])
                        return (f"{before}\n{differential.show(command)}\n"
                                f"  {side.name}: {str(ours)[:500]}\n  redis: {str(theirs)[:500]}")
        return None


def ready(link):
    import select
    readable, writable, _ = select.select([link.sock], [link.sock] if link.out else [], [],
                                          differential.REPLY_SECONDS)
    if not readable and not writable:
        raise AssertionError("no reply")
    return bool(readable), bool(writable)


def run(options):
    print(f"seed {options.seed}", file=sys.stderr, flush=True)
    this = Run(options)
    found, until = [], time.monotonic() + options.seconds
    while time.monotonic() < until and len(found) < options.mismatches \
            and this.commands < options.commands:
        text = this.round()
        if text:
            found.append(text)
            print(text, file=sys.stderr, flush=True)
    this.stop()
    print(f"{this.commands} commands, events: {dict(this.seen.most_common())}; "
          f"{len(found)} differences", file=sys.stderr)
    return found, this.seen


def parse(arguments):
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--commands", type=int, default=10**12)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 31))
    parser.add_argument("--types", type=lambda text: text.split(","), default=[])
    parser.add_argument("--threads", type=lambda text: [int(n) for n in text.split(",")],
                        default=[1, 2, 4])
    parser.add_argument("--mismatches", type=int, default=5)
    return parser.parse_args(arguments)


class Events(unittest.TestCase):
    def test_events(self):
        # As a test it repeats what is known to agree; by hand it looks for what is not.
        options = parse(["--commands", "25000", "--seed", "20261122"])
        options.seconds = float(os.environ.get("SPLITRING_DIFF_SECONDS", 45)) / 2
        found, seen = run(options)
        self.assertEqual(found, [])
        for name in (b"set", b"del", b"expire", b"rename_to", b"keymiss", b"new"):
            self.assertGreater(seen[name], 0, name)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(bool(run(parse(sys.argv[1:]))[0]))
    unittest.main()
