#!/usr/bin/python3
"""The same generated commands go to Splitring, with one worker and with two, and to a redis-server;
replies must be the same bytes.

    tests/compat/differential.py [--commands 2000000] [--seed N] [--round N] [--types hash,list]
                                 [--oracle redis|valkey] [--threads 1,2] [--mismatches 10]

Commands come from the generators beside this file (gen_*.py): a function `commands(rng)` yields
argument vectors, `commands(rng, met)` also sees the keys that others used lately, and
`commands(rng, oracle)` may leave out what an oracle does not know. A generator may have
DIFFERENCES (explained.py) and WEIGHT (default 1).

A run is made of rounds. Each starts with empty servers, random encoding thresholds and a generator
of its own, seeded with (seed, round), mixes some of the modules, and ends with a look at all data.
Commands go out in pipelines over a RESP2 and a RESP3 connection in turn. A pipeline ends with an
ECHO; while all servers have sent the same bytes until there, nothing is parsed. Where they have
not, the replies are compared one by one, and those that may differ have a reason in explained.py.

What is not explained ends the round. The commands up to there are repeated from the start, with
fewer and fewer of them, as long as the last one still differs; what remains is printed.

Time must not matter: TTLs lie far in the future and are unique (words.py), and timeouts of blocking
commands are cut short. What chance picks (chance_key) is deleted right behind. Commands that the
oracle does not know are not sent.

--oracle valkey takes $VALKEY_SERVER, or what bench/peers has built.

As a test it runs for SPLITRING_DIFF_SECONDS (default 45) with a random seed, which is printed.
"""
# matrix: once

import argparse
import collections
import importlib
import inspect
import os
import random
import select
import sys
import time
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]
import explained  # noqa: E402
from integration import support  # noqa: E402
from words import DATABASES  # noqa: E402

VALKEY = os.environ.get("VALKEY_SERVER") or str(
    HERE.parent.parent / "bench" / "peers" / ".cache" / "valkey-server")
BATCH_BYTES = 48 << 10
REPLY_SECONDS = 60
REPLAYS_MAX = 400
BLOCKING_TAIL = {b"blpop", b"brpop", b"blmove", b"brpoplpush", b"bzpopmin", b"bzpopmax"}
PICKS = {b"srandmember", b"hrandfield", b"zrandmember"}
ENDLESS = {b"-2147483648", b"-1000000000"}
THRESHOLDS = {
    "hash-max-listpack-entries": (128, 2, 8, 0), "hash-max-listpack-value": (64, 4, 0),
    "set-max-intset-entries": (512, 2, 8), "set-max-listpack-entries": (128, 2, 8),
    "set-max-listpack-value": (64, 4), "zset-max-listpack-entries": (128, 2, 8, 0),
    "zset-max-listpack-value": (64, 4), "list-max-listpack-size": (-2, 2, 8, -1),
    "list-compress-depth": (0, 1), "hll-sparse-max-bytes": (3000, 100, 0, 12000),
    "stream-node-max-entries": (100, 2, 10), "stream-node-max-bytes": (4096, 60),
}
# What shows a value whole, by type; with unordered ones compared as such.
READS = {
    b"string": [[b"GET"]], b"list": [[b"LRANGE", None, b"0", b"-1"]], b"set": [[b"SMEMBERS"]],
    b"zset": [[b"ZRANGE", None, b"0", b"-1", b"WITHSCORES"]], b"hash": [[b"HGETALL"]],
    b"stream": [[b"XRANGE", None, b"-", b"+"], [b"XLEN"]],
}


def encode(command):
    parts = [b"*%d\r\n" % len(command)]
    for word in command:
        parts.append(b"$%d\r\n%b\r\n" % (len(word), word))
    return b"".join(parts)


def show(command):
    return " ".join(repr(word[:80])[1:] for word in command)


def words(command):
    return [word if isinstance(word, bytes) else str(word).encode() for word in command]


def is_lex(command):
    """Lex ranges mean something where all scores are equal: generators keep such keys, which others
    than their own would rename or add to. (Redis' answer then hangs on its skiplist's dice.)"""
    return b"lex" in command[0].lower() or any(word.lower() == b"bylex" for word in command)


def cut_timeout(name, command):
    """Nobody waits for ever, or for long. (What is refused as too large stays as it is.)"""
    at, most, refused = None, 0.01, 1e16
    if name in BLOCKING_TAIL:
        at = len(command) - 1
    elif name in (b"blmpop", b"bzmpop"):
        at = 1
    elif name in (b"xread", b"xreadgroup"):
        lower = [word.lower() for word in command]
        at = lower.index(b"block") + 1 if b"block" in lower else None
        most, refused = 2, 1e19
    if at is None or not 0 < at < len(command):
        return
    try:
        seconds = float(command[at])
    except ValueError:
        return
    if seconds == 0 or most < seconds < refused:
        command[at] = b"%g" % most


def chance_key(name, command):
    """The key whose value now hangs on chance: SPOP picks at random, and of places equally far
    COUNT takes some."""
    lower = [word.lower() for word in command]
    if name == b"spop" and len(command) > 1:
        return command[1]
    if name.startswith(b"geo") and b"count" in lower:
        if name == b"geosearchstore":
            return command[1]
        for option in (b"store", b"storedist"):
            if option in lower[:-1]:
                return command[lower.index(option) + 1]
    return None


class Link:
    """A connection that sends and receives at once."""

    def __init__(self, server, resp):
        client = server.client(resp)
        self.sock = client.sock
        self.sock.setblocking(False)
        self.out = memoryview(b"")
        self.end = b""
        self.received = bytearray()

    def start(self, data, end):
        self.out = memoryview(data)
        self.end = end
        self.received = bytearray()

    def done(self):
        return not self.out and self.received.endswith(self.end)

    def step(self, readable, writable):
        if writable:
            self.out = self.out[self.sock.send(self.out):]
        if readable:
            data = self.sock.recv(1 << 20)
            if not data:
                raise support.Closed("end of stream")
            self.received += data


class Mismatch(Exception):
    def __init__(self, position, side, ours, theirs):
        super().__init__(position)
        self.position, self.side, self.ours, self.theirs = position, side, ours, theirs


class Servers:
    """Splitring in several settings and the oracle, with the same connections to each."""

    def __init__(self, ours, oracle, differences):
        self.ours, self.oracle = ours, oracle
        self.all = [server for _, server in ours] + [oracle]
        self.names = [name for name, _ in ours]
        self.links = {resp: [Link(server, resp) for server in self.all] for resp in (2, 3)}
        self.differences = differences
        self.used = collections.Counter()
        self.marks = 0
        with oracle.client() as client:
            self.known = set(client.ok("COMMAND", "LIST"))

    def knows(self, command):
        name = command[0].lower()
        if name not in self.known:
            return name == b"nosuchcommand"
        sub = b"%b|%b" % (name, command[1].lower()) if len(command) > 1 else b""
        return name not in (b"xgroup", b"xinfo", b"object") or sub in self.known \
            or sub.endswith(b"|foo")

    def exchange(self, resp, commands):
        """Replies of each server as bytes, the final ECHO included."""
        self.marks += 1
        mark = b"mark-%010d-of-batch" % self.marks
        data = b"".join(map(encode, commands)) + encode([b"ECHO", mark])
        links = self.links[resp]
        for link in links:
            link.start(data, b"$%d\r\n%b\r\n" % (len(mark), mark))
        open_links = list(links)
        while open_links:
            sending = [link.sock for link in open_links if link.out]
            readable, writable, _ = select.select([link.sock for link in open_links], sending, [],
                                                  REPLY_SECONDS)
            if not readable and not writable:
                stuck = [(self.names + ["oracle"])[links.index(link)] for link in open_links]
                raise AssertionError(f"no reply from {stuck} to one of: "
                                     + "; ".join(map(show, commands[-20:])))
            for link in open_links:
                link.step(link.sock in readable, link.sock in writable)
            open_links = [link for link in open_links if not link.done()]
        return [link.received for link in links]

    def run(self, resp, commands):
        """Raises Mismatch for the first reply that is not explained."""
        replies = self.exchange(resp, commands)
        theirs = replies[-1]
        for side, ours in enumerate(replies[:-1]):
            if ours != theirs:
                self.compare(side, commands, bytes(ours), bytes(theirs))

    def compare(self, side, commands, ours, theirs):
        here = there = 0
        for position, command in enumerate(commands):
            mine, here_end = explained.value(ours, here)
            other, there_end = explained.value(theirs, there)
            a, b = ours[here:here_end], theirs[there:there_end]
            here, there = here_end, there_end
            if a != b and not self.explain(command, mine, other):
                raise Mismatch(position, side, a, b)

    def explain(self, command, ours, theirs):
        for name, _, test in self.differences:
            try:
                alike = test(command, ours, theirs)
            except IndexError:
                continue
            if alike:
                self.used[name] += 1
                return True
        return False

    def reset(self, settings):
        """Empty servers; settings that the oracle does not know are left out for it."""
        self.exchange(2, [[b"SELECT", b"0"], [b"FLUSHALL"]]
                      + [[b"CONFIG", b"SET", name.encode(), b"%d" % value]
                         for name, value in settings.items()])
        self.exchange(3, [[b"SELECT", b"0"]])

    def look(self):
        """All data, read back in pipelines."""
        for db in range(DATABASES):
            self.run(2, [[b"SELECT", b"%d" % db], [b"KEYS", b"*"], [b"DBSIZE"]])
            keys = explained.value(bytes(self.exchange(2, [[b"KEYS", b"*"]])[-1]), 0)[0]
            types, at = [], 0
            replies = bytes(self.exchange(2, [[b"TYPE", key] for key in keys])[-1])
            for _ in keys:
                kind, at = explained.value(replies, at)
                types.append(kind)
            for key, kind in zip(keys, types):
                batch = [[b"TYPE", key], [b"PEXPIRETIME", key], [b"OBJECT", b"ENCODING", key]]
                for read in READS.get(kind, []):
                    batch.append([read[0], key] + read[2:])
                try:
                    self.run(2, batch)
                except Mismatch as mismatch:
                    mismatch.probe = batch[mismatch.position]
                    mismatch.db = db
                    raise


# ---- Rounds -------------------------------------------------------------------------------------


def load_generators(types):
    out = []
    for path in sorted(HERE.glob("gen_*.py")):
        name = path.stem[4:]
        if not types or name in types:
            out.append((name, importlib.import_module(path.stem)))
    return out


def endless(module, rng, met, oracle):
    have = {"met": met, "oracle": oracle}
    parameters = list(inspect.signature(module.commands).parameters)[1:]
    while True:
        for command in module.commands(rng, *[have[name] for name in parameters if name in have]):
            yield words(command)


class Round:
    """The commands of one round, made in batches."""

    def __init__(self, servers, modules, seed, number, oracle):
        self.servers = servers
        self.rng = rng = random.Random(f"{seed}/{number}")
        some = [m for m in modules if m[0] not in ("generic",)]
        chosen = rng.sample(some, min(len(some), rng.choice((1, 1, 2, 3))))
        if not chosen or rng.random() < 0.75:
            chosen += [m for m in modules if m[0] == "generic"]
        self.mixed = len(chosen) > 1
        met = []
        self.met = met
        self.makers = []
        for name, module in chosen:
            weight = getattr(module, "WEIGHT", 1) * (0.35 if name == "generic" else 1)
            self.makers.append((weight, endless(module, random.Random(rng.random()), met, oracle)))
        self.names = [name for name, _ in chosen]
        self.settings = {name: rng.choice(values) if rng.random() < 0.6 else values[0]
                         for name, values in THRESHOLDS.items()}
        self.length = rng.choice((300, 1000, 3000, 3000, 10000))
        self.sent = []  # (resp, command)

    def next_batch(self):
        size = self.rng.choice((1, 20, 400, 400, 600, 600))
        makers = [maker for _, maker in self.makers]
        weights = [weight for weight, _ in self.makers]
        batch, length = [], 0
        for maker in self.rng.choices(makers, weights, k=size):
            command = next(maker)
            if not command or not self.servers.knows(command):
                continue
            name = command[0].lower()
            if self.mixed and is_lex(command):
                continue
            if name == b"lrem" and b"-9223372036854775808" in command:
                continue  # refused since 7.2: what 7.0 removes would be missing
            if name in PICKS and len(command) > 2 and command[2] in ENDLESS:
                continue  # nobody waits for billions of members
            cut_timeout(name, command)
            batch.append(command)
            if len(command) > 1 and len(command[1]) < 100 and self.rng.random() < 0.1:
                self.met.append(command[1])
                del self.met[:-24]
            chance = chance_key(name, command)
            if chance is not None:
                batch.append([b"DEL", chance])
            length += sum(map(len, command))
            if length > BATCH_BYTES:
                break
        return self.rng.choice((2, 3)), batch

    def run(self):
        """None, or the Mismatch."""
        self.servers.reset(self.settings)
        while len(self.sent) < self.length:
            resp, batch = self.next_batch()
            try:
                self.servers.run(resp, batch)
            except Mismatch as mismatch:
                self.sent += [(resp, command) for command in batch[:mismatch.position + 1]]
                return mismatch
            self.sent += [(resp, command) for command in batch]
        try:
            self.servers.look()
        except Mismatch as mismatch:
            probe = getattr(mismatch, "probe", [b"KEYS", b"*"])
            self.sent += [(2, [b"SELECT", b"%d" % getattr(mismatch, "db", 0)]), (2, probe)]
            return mismatch
        return None

    # shrinking

    def differs(self, sent):
        """Whether the last command still differs when only these are sent."""
        self.servers.reset(self.settings)
        runs = []
        for resp, command in sent:
            if not runs or runs[-1][0] != resp or len(runs[-1][1]) > 400:
                runs.append((resp, []))
            runs[-1][1].append(command)
        try:
            for i, (resp, batch) in enumerate(runs):
                try:
                    self.servers.run(resp, batch)
                except Mismatch as mismatch:
                    last = i == len(runs) - 1 and mismatch.position == len(batch) - 1
                    return mismatch if last else None
        except AssertionError:
            return None
        return None

    def shrunk(self):
        """(commands, mismatch) with as few commands as could be found, or None."""
        sent, mismatch = self.sent, self.differs(self.sent)
        if not mismatch:
            return None
        replays, size = 0, max(1, len(sent) // 2)
        while replays < REPLAYS_MAX:
            at, less = 0, False
            while at < len(sent) - 1 and replays < REPLAYS_MAX:
                fewer = sent[:at] + sent[min(at + size, len(sent) - 1):]
                replays += 1
                found = self.differs(fewer)
                if found:
                    sent, mismatch, less = fewer, found, True
                else:
                    at += size
            if size == 1 and not less:
                break
            size = max(1, size // 2)
        return sent, mismatch


def report(round_, mismatch, names):
    small = round_.shrunk()
    lines = []
    if small:
        sent, mismatch = small
        lines.append(f"  {len(sent)} commands are enough:")
    else:
        sent = round_.sent[-12:]
        lines.append("  not to be repeated; the last commands:")
    settings = {k: v for k, v in round_.settings.items() if v != THRESHOLDS[k][0]}
    lines += [f"    RESP{resp} {show(command)}" for resp, command in sent[-40:]]
    lines.append(f"  ours ({names[mismatch.side]}): {mismatch.ours[:400]!r}")
    lines.append(f"  theirs: {mismatch.theirs[:400]!r}")
    lines.append(f"  settings: {settings}")
    return "\n".join(lines)


def start(options):
    """Servers and generators of a run, and the function that stops them."""
    modules = load_generators(options.types)
    differences = list(explained.ALIKE)
    for _, module in load_generators(None):
        differences += getattr(module, "DIFFERENCES", [])
    ours = [(f"{n} workers", support.server("--threads", str(n), "--databases", "16",
                                            "--enable-debug-command", "yes"))
            for n in options.threads]
    if options.oracle == "valkey":
        oracle = support.Server([VALKEY, "--bind", support.HOST, "--save", "", "--appendonly",
                                 "no", "--enable-debug-command", "yes"], "valkey")
    else:
        oracle = support.oracle("--enable-debug-command", "yes")

    def stop():
        for _, server in ours:
            server.stop()
        oracle.stop()

    return Servers(ours, oracle, differences), modules, stop


def run(options):
    """The mismatches, as text."""
    print(f"seed {options.seed}, oracle {options.oracle}", file=sys.stderr, flush=True)
    servers, modules, stop = start(options)
    began = time.monotonic()
    found, sent, number = [], 0, options.round or 0
    try:
        while len(found) < options.mismatches:
            round_ = Round(servers, modules, options.seed, number, options.oracle)
            mismatch = round_.run()
            sent += len(round_.sent)
            if mismatch:
                text = f"seed {options.seed} round {number} ({', '.join(round_.names)}):\n"
                found.append(text + report(round_, mismatch, servers.names))
                print(found[-1], file=sys.stderr, flush=True)
            number += 1
            seconds = time.monotonic() - began
            over = options.seconds and seconds > options.seconds
            if options.round is not None or over or sent >= options.commands:
                break
        stop()
    except Exception:
        print(f"seed {options.seed} round {number}", file=sys.stderr, flush=True)
        raise
    seconds = time.monotonic() - began
    print(f"{sent} commands in {number} rounds, {sent / seconds:.0f}/s; {len(found)} mismatches; "
          f"explained: {dict(servers.used)}", file=sys.stderr)
    return found


def parse(arguments):
    parser = argparse.ArgumentParser()
    parser.add_argument("--commands", type=int, default=10**12)
    parser.add_argument("--seconds", type=float, default=0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31))
    parser.add_argument("--round", type=int)
    parser.add_argument("--types", type=lambda text: text.split(","))
    parser.add_argument("--oracle", choices=("redis", "valkey"), default="redis")
    parser.add_argument("--threads", type=lambda text: [int(n) for n in text.split(",")],
                        default=[1, 2])
    parser.add_argument("--mismatches", type=int, default=5)
    return parser.parse_args(arguments)


class Differential(unittest.TestCase):
    def test_generated_commands(self):
        # As a test it repeats what is known to agree; by hand it looks for what is not.
        options = parse(["--seconds", os.environ.get("SPLITRING_DIFF_SECONDS", "45"),
                         "--commands", "150000",
                         "--seed", os.environ.get("SPLITRING_DIFF_SEED", "20261122")])
        found = run(options)
        if found:
            self.fail(f"{len(found)} differences:\n" + "\n".join(found))


if __name__ == "__main__":
    sys.exit(1 if run(parse(sys.argv[1:])) else 0)
