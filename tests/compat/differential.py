"""The same generated commands go to Splitring and to Debian's redis-server 7.0; replies must be the
same bytes.

Commands come from a seeded generator: strings, bitmaps, generic keys, the expire family, with valid
and invalid options, wrong arities, binary data, integers at the edges, and so few keys that
everything collides with everything. They are sent on a RESP2 and a RESP3 connection in turn, in
pipelines of 1 to 60, and both servers' whole data is compared from time to time and at the end.

Time must not matter. Every TTL lies far in the future and is unique, so that comparisons between
TTLs (GT, LT) never hang on a millisecond; replies that hold times may differ by a few seconds. A
key that is set into the past is looked at right behind, so that both servers have deleted it.

What differs on purpose is in DIFFERENCES, with the reason.

    SPLITRING_DIFF_COMMANDS  how many (default 20000)
    SPLITRING_DIFF_SEED      which (default: random; printed)
"""

import os
import random
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import support  # noqa: E402

COMMANDS = int(os.environ.get("SPLITRING_DIFF_COMMANDS", 20000))
SEED = int(os.environ.get("SPLITRING_DIFF_SEED") or random.SystemRandom().randrange(1 << 31))
DATABASES = 3
TIME_SLACK_MS = 20000
CHECK_EVERY = 4000   # commands between two comparisons of all data
SHOWN = 12           # mismatches that are printed

FAR = 4_000_000_000  # absolute times, in seconds: the year 2096

KEYS = [b"k%d" % i for i in range(10)] + [
    b"{t}1", b"{t}2", b"{t}3", b"a{t}b", b"{}x", b"{{t}y", b"", b"k\x00\xff\r\n", b"K" * 300]
TEXTS = [b"", b"a", b"hello", b"0", b"00", b"-0", b"+1", b" 1", b"1 ", b"1.5", b"-3.25e2", b"inf",
         b"nan", b"1e400", b"0x10", b"\x00", b"\xff\xfe", b"\r\n", b"$5\r\nhello\r\n", b"abcabcab",
         b"x" * 44, b"y" * 45, b"z" * 300]
EDGES = [0, 1, -1, 2, 7, 8, 9, 10, 63, 64, 100, 255, 9999, 10000, 32767, -32768, 65536,
         2**31 - 1, 2**31, -2**31, 2**32, 2**53 + 1, 2**63 - 2, 2**63 - 1, -2**63]
NOT_INTS = [b"", b"abc", b"1.0", b"01", b"+5", b" 7", b"7 ", b"-", b"--1", b"0x1", b"1e3",
            b"9223372036854775808", b"-9223372036854775809", b"99999999999999999999999"]


class Generator:
    """Command lines (lists of bytes) from a seed."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.times = 0
        table = {
            # strings
            "set": (12, self.set), "get": (6, lambda: [self.key()]),
            "append": (3, lambda: [self.key(), self.value()]),
            "incr": (2, lambda: [self.key()]), "decr": (2, lambda: [self.key()]),
            "incrby": (3, lambda: [self.key(), self.integer()]),
            "decrby": (2, lambda: [self.key(), self.integer()]),
            "incrbyfloat": (3, lambda: [self.key(), self.floating()]),
            "getdel": (2, lambda: [self.key()]), "getex": (4, self.getex),
            "getset": (2, lambda: [self.key(), self.value()]),
            "getrange": (3, lambda: [self.key(), self.index(), self.index()]),
            "substr": (1, lambda: [self.key(), self.index(), self.index()]),
            "setrange": (3, lambda: [self.key(), self.position(5000), self.value()]),
            "strlen": (2, lambda: [self.key()]), "lcs": (3, self.lcs),
            "mget": (3, lambda: self.some_keys()), "mset": (3, self.pairs),
            "msetnx": (3, self.pairs), "setnx": (2, lambda: [self.key(), self.value()]),
            "setex": (2, lambda: [self.key(), self.seconds(), self.value()]),
            "psetex": (2, lambda: [self.key(), self.millis(), self.value()]),
            # bitmaps
            "setbit": (4, lambda: [self.key(), self.position(40000), self.bit()]),
            "getbit": (3, lambda: [self.key(), self.position(40000)]),
            "bitcount": (4, self.bitcount), "bitpos": (4, self.bitpos),
            "bitop": (4, self.bitop), "bitfield": (6, lambda: self.bitfield(False)),
            "bitfield_ro": (2, lambda: self.bitfield(True)),
            # keys
            "del": (3, lambda: self.some_keys()), "unlink": (2, lambda: self.some_keys()),
            "exists": (3, lambda: self.some_keys()), "touch": (2, lambda: self.some_keys()),
            "type": (2, lambda: [self.key()]), "rename": (3, lambda: [self.key(), self.key()]),
            "renamenx": (2, lambda: [self.key(), self.key()]), "copy": (4, self.copy),
            "move": (2, lambda: [self.key(), self.database()]),
            "dbsize": (1, lambda: []), "keys": (1, self.keys), "randomkey": (1, lambda: []),
            "object": (4, self.object), "select": (1, lambda: [self.database()]),
            "swapdb": (0.3, lambda: [self.database(), self.database()]),
            "flushdb": (0.15, lambda: self.rng.choice([[], [b"SYNC"], [b"async"], [b"x"]])),
            "flushall": (0.05, lambda: self.rng.choice([[], [b"SYNC"], [b"async"], [b"x", b"y"]])),
            "scan": (1, self.scan),
            # expiry
            "expire": (3, lambda: self.expire(self.seconds())),
            "pexpire": (2, lambda: self.expire(self.millis())),
            "expireat": (2, lambda: self.expire(self.seconds_at())),
            "pexpireat": (2, lambda: self.expire(self.millis_at())),
            "persist": (2, lambda: [self.key()]), "ttl": (2, lambda: [self.key()]),
            "pttl": (2, lambda: [self.key()]), "expiretime": (2, lambda: [self.key()]),
            "pexpiretime": (2, lambda: [self.key()]),
            # others
            "ping": (0.3, lambda: self.rng.choice([[], [self.value()], [b"a", b"b"]])),
            "echo": (0.3, lambda: [self.value()]),
            "nosuchcommand": (0.2, lambda: self.some_keys()),
        }
        self.names = list(table)
        self.weights = [weight for weight, _ in table.values()]
        self.makers = [make for _, make in table.values()]

    # words

    def chance(self, percent):
        return self.rng.random() * 100 < percent

    def key(self):
        return self.rng.choice(KEYS)

    def some_keys(self):
        return [self.key() for _ in range(self.rng.choice([1, 1, 2, 3, 5, 8]))]

    def case(self, word):
        """Some spelling of an option."""
        return self.rng.choice([word.upper(), word.lower(), word.title()]).encode()

    def value(self):
        pick = self.rng.random()
        if pick < 0.35:
            return b"%d" % self.number()
        if pick < 0.6:
            return self.rng.choice(TEXTS)
        if pick < 0.7:
            return b"%.6g" % self.rng.uniform(-1000, 1000)
        if pick < 0.995:
            return self.rng.randbytes(self.rng.choice([1, 3, 8, 20, 31, 32, 33, 100, 200, 1000]))
        return self.rng.randbytes(self.rng.choice([5000, 65535, 65536, 70000]))

    def number(self):
        return self.rng.choice(EDGES) if self.chance(40) else self.rng.randrange(-200, 200)

    def integer(self):
        return self.rng.choice(NOT_INTS) if self.chance(8) else b"%d" % self.number()

    def index(self):
        """Into a value, from either end."""
        return self.integer() if self.chance(20) else b"%d" % self.rng.randrange(-40, 40)

    def floating(self):
        return self.rng.choice([
            self.integer(), b"%.3f" % self.rng.uniform(-99, 99), b"%.17g" % self.rng.random(),
            b"3.0e3", b"-1.5e-5", b"1e17", b"inf", b"-inf", b"nan", b"1e5000", b"0.1", b" 1",
            b"1 "])

    def position(self, limit):
        """A place to write at; never one that takes hundreds of megabytes."""
        if self.chance(10):
            return self.rng.choice(NOT_INTS + [b"-1", b"-9223372036854775808", b"4294967296",
                                               b"9223372036854775807", b"99999999999"])
        top = self.rng.choice([16, 64, 300, limit])
        return b"%d" % self.rng.randrange(top)

    def bit(self):
        return self.rng.choice([b"0", b"1", b"0", b"1", b"0", b"1", b"2", b"-1", b"x"])

    def database(self):
        if self.chance(10):
            return self.rng.choice(NOT_INTS + [b"-1", b"16", b"2147483648"])
        return b"%d" % self.rng.randrange(DATABASES)

    # times: unique, so that no two TTLs are ever nearly equal

    def unique(self):
        self.times += 1
        return self.times * 7919 % 100_003 * 100 + 1_000_000

    def bad_time(self, past):
        return self.rng.choice(NOT_INTS + [b"0", b"-1", b"9223372036854775807",
                                           b"-9223372036854775808"] + past)

    def seconds(self):
        return self.bad_time([]) if self.chance(10) else b"%d" % self.unique()

    def millis(self):
        return self.bad_time([]) if self.chance(10) else b"%d" % (self.unique() * 1000)

    def seconds_at(self):
        if self.chance(10):
            return self.bad_time([b"1", b"1000000000"])
        return b"%d" % (FAR + self.unique())

    def millis_at(self):
        if self.chance(10):
            return self.bad_time([b"1", b"1000000000000"])
        return b"%d" % ((FAR + self.unique()) * 1000)

    def time_option(self):
        name, make = self.rng.choice([("ex", self.seconds), ("px", self.millis),
                                      ("exat", self.seconds_at), ("pxat", self.millis_at)])
        return [self.case(name), make()]

    # commands

    def set(self):
        out = [self.key(), self.value()]
        if self.chance(35):
            return out
        for _ in range(self.rng.choice([1, 1, 1, 2, 2, 3])):
            out += self.rng.choice([
                lambda: [self.case("nx")], lambda: [self.case("xx")], lambda: [self.case("get")],
                lambda: [self.case("keepttl")], self.time_option, self.time_option])()
        return self.spoiled(out, ["ex", "px", "persist", "foo", "gt", "nx"])

    def spoiled(self, args, words):
        """Sometimes with an option that does not belong or has no argument."""
        if self.chance(4):
            args.append(self.case(self.rng.choice(words)))
        return args

    def getex(self):
        out = [self.key()]
        if self.chance(70):
            out += self.rng.choice([lambda: [self.case("persist")], self.time_option,
                                    self.time_option])()
        return self.spoiled(out, ["ex", "keepttl", "persist", "nx"])

    def lcs(self):
        out = [self.key(), self.key()]
        for _ in range(self.rng.choice([0, 1, 1, 2, 3])):
            out += self.rng.choice([
                lambda: [self.case("len")], lambda: [self.case("idx")],
                lambda: [self.case("idx"), self.case("withmatchlen")],
                lambda: [self.case("idx"), self.case("minmatchlen"), self.index()]])()
        return self.spoiled(out, ["minmatchlen", "foo"])

    def pairs(self):
        out = []
        for _ in range(self.rng.choice([1, 1, 2, 3, 6])):
            out += [self.key(), self.value()]
        if self.chance(5):
            out.append(self.key())
        return out

    def unit(self):
        return self.case(self.rng.choice(["bit", "byte", "bit", "byte", "bits"]))

    def bitcount(self):
        out = [self.key()]
        if self.chance(80):
            out += [self.index(), self.index()]
            if self.chance(60):
                out.append(self.unit())
        return self.spoiled(out, ["bit", "1"])

    def bitpos(self):
        out = [self.key(), self.bit()]
        for make in (self.index, self.index, self.unit):
            if self.chance(25):
                break
            out.append(make())
        return self.spoiled(out, ["bit", "1"])

    def bitop(self):
        op = self.rng.choice(["and", "or", "xor", "not", "and", "or", "xor", "foo"])
        sources = [self.key()] if op == "not" and self.chance(80) else self.some_keys()
        return [self.case(op), self.key()] + sources

    def field_type(self):
        if self.chance(8):
            return self.rng.choice([b"u64", b"i65", b"u0", b"i0", b"x8", b"u", b"", b"I8", b"i-1",
                                    b"u08", b"i9999999999999999999"])
        sign, top = self.rng.choice([("i", 64), ("u", 63)])
        width = self.rng.choice([1, 2, 7, 8, 16, 31, 32, top, self.rng.randint(1, top)])
        return b"%s%d" % (sign.encode(), width)

    def field_at(self):
        if self.chance(10):
            return self.rng.choice(NOT_INTS + [b"#", b"#-1", b"#x", b"-1", b"4294967296", b"##1"])
        return self.rng.choice([b"%d", b"#%d"]) % self.rng.randrange(self.rng.choice([8, 64, 200]))

    def bitfield(self, readonly):
        out = [self.key()]
        for _ in range(self.rng.choice([0, 1, 1, 2, 3, 6])):
            op = self.rng.choice(["get", "set", "incrby", "overflow"])
            if readonly and not self.chance(10):
                op = "get"
            out.append(self.case(op))
            if op == "overflow":
                out.append(self.case(self.rng.choice(["wrap", "sat", "fail", "sat", "foo"])))
                continue
            out += [self.field_type(), self.field_at()]
            if op != "get":
                # Redis takes -2^63 into a narrower signed field for an overflow and saturates at
                # the largest number; its documentation and Splitring say the smallest.
                number = self.integer()
                out.append(b"-4611686018427387904" if number == b"%d" % -2**63 else number)
        return self.spoiled(out, ["get", "set", "incrby", "overflow", "foo"])

    def copy(self):
        out = [self.key(), self.key()]
        if self.chance(40):
            out += [self.case("db"), self.database()]
        if self.chance(40):
            out.append(self.case("replace"))
        return self.spoiled(out, ["db", "foo"])

    def keys(self):
        return [self.rng.choice([b"*", b"k*", b"k?", b"k[1-3]", b"[^k]*", b"{t}*", b"", b"\\k1",
                                 b"k1", b"*t*", b"[", b"k[", b"*\xff*"])]

    def object(self):
        sub = self.rng.choice(["encoding", "encoding", "encoding", "freq", "idletime", "foo"])
        return [self.case(sub), self.key()][:1 if self.chance(5) else 2]

    def expire(self, when):
        out = [self.key(), when]
        for _ in range(self.rng.choice([0, 0, 1, 1, 2])):
            out.append(self.case(self.rng.choice(["nx", "xx", "gt", "lt", "nx", "xx", "gt", "lt",
                                                  "foo"])))
        return out

    def scan(self):
        return self.rng.choice([[b"x"], [b"0", b"COUNT", b"0"], [b"0", b"COUNT", b"x"],
                                [b"0", b"FOO"], [b"0", b"MATCH"], [b"0", b"COUNT"]])

    def next(self):
        """One or two commands."""
        i = self.rng.choices(range(len(self.names)), self.weights)[0]
        name = self.names[i]
        args = [self.case(name)] + self.makers[i]()
        if self.chance(1.5):
            args = args[:self.rng.randint(1, len(args))]
        elif self.chance(1):
            args.append(self.value())
        out = [args]
        if name == "set" and len(args) > 3:
            out.append([b"EXISTS", args[1]])
        return out


# ---- Comparing -----------------------------------------------------------------------------------


def is_sorted_reply(command):
    return command[0].lower() == b"keys"


def near(a, b, slack):
    return isinstance(a, int) and isinstance(b, int) and a > 0 and b > 0 and abs(a - b) <= slack


def time_unit(command):
    """Slack of a reply that is a time, else None."""
    return {b"ttl": TIME_SLACK_MS // 1000, b"expiretime": TIME_SLACK_MS // 1000,
            b"pttl": TIME_SLACK_MS, b"pexpiretime": TIME_SLACK_MS}.get(command[0].lower())


def times_alike(command, ours, theirs):
    slack = time_unit(command)
    return slack is not None and near(ours, theirs, slack)


def keys_alike(command, ours, theirs):
    return (is_sorted_reply(command) and isinstance(ours, list) and isinstance(theirs, list)
            and sorted(ours) == sorted(theirs))


def random_alike(command, ours, theirs):
    return command[0].lower() == b"randomkey" and (ours is None) == (theirs is None)


def idle_alike(command, ours, theirs):
    return (command[0].lower() == b"object" and command[1].lower() == b"idletime"
            and isinstance(ours, int) and isinstance(theirs, int) and abs(ours - theirs) < 60)


def absent_with_bad_range(command, ours, theirs):
    """BITCOUNT and BITPOS of an absent key with bad arguments."""
    return (command[0].lower() in (b"bitcount", b"bitpos") and isinstance(ours, support.Error)
            and theirs in (0, -1))


def pages_alike(command, ours, theirs):
    return command[0].lower() == b"scan" and isinstance(ours, list) and isinstance(theirs, list)


def unwritten_encoding(command, ours, theirs):
    """OBJECT ENCODING behind a SETBIT that changed nothing."""
    return (command[0].lower() == b"object" and command[1].lower() == b"encoding"
            and ours in (b"int", b"embstr") and theirs == b"raw")


# Replies that may differ: (name, reason, test). Each use is counted and printed.
ALIKE = [
    ("time", "both servers have clocks", times_alike),
    ("keys", "KEYS has no order", keys_alike),
    ("pages", "SCAN has cursors and an order of its own", pages_alike),
    ("random", "RANDOMKEY is random", random_alike),
    ("idle", "OBJECT IDLETIME is a time", idle_alike),
]
DIFFERENCES = [
    ("absent-range", "since 7.2 BITCOUNT and BITPOS read their arguments before the key; 7.0 "
     "answers for an absent key without looking at them", absent_with_bad_range),
    ("unwritten", "a SETBIT that changes nothing leaves the value as it is; Redis makes it raw",
     unwritten_encoding),
]


class Pair:
    """Both servers, with the same connections to each."""

    def __init__(self, ours, theirs):
        self.servers = (ours, theirs)
        self.connections = {resp: (ours.client(resp), theirs.client(resp)) for resp in (2, 3)}
        self.used = {}
        self.recent = []
        self.mismatches = []

    def close(self):
        for connection in sum(self.connections.values(), ()):
            connection.close()

    def run(self, resp, commands):
        data = b"".join(support.encode(*command) for command in commands)
        ours, theirs = self.connections[resp]
        theirs.send_bytes(data)
        ours.send_bytes(data)
        for command in commands:
            expected = theirs.reply()
            self.compare(resp, command, ours.reply(), expected)

    def compare(self, resp, command, ours, theirs):
        self.recent = self.recent[-400:] + [command]
        if ours[1] == theirs[1]:
            return
        for name, _, test in ALIKE + DIFFERENCES:
            if test(command, ours[0], theirs[0]):
                self.used[name] = self.used.get(name, 0) + 1
                return
        self.mismatches.append(
            f"RESP{resp} {show(command)}\n     ours:   {ours[1][:300]!r}\n"
            f"     theirs: {theirs[1][:300]!r}\n     before: "
            + "\n             ".join(show(c) for c in self.history(command)))

    def history(self, command):
        """The last commands that share a key with this one."""
        words = set(command[1:]) & set(KEYS)
        broad = {b"swapdb", b"select", b"flushdb", b"flushall"}
        return [c for c in self.recent[:-1]
                if words & set(c[1:]) or c[0].lower() in broad][-8:]

    def dump(self, side):
        """All data of one server."""
        out = {}
        with self.servers[side].client() as client:
            for db in range(DATABASES):
                client.ok("SELECT", db)
                for key in client.ok("KEYS", "*"):
                    out[db, key] = (client.call("TYPE", key), client.call("GET", key),
                                    client.call("PEXPIRETIME", key))
        return out

    def compare_data(self, where):
        ours, theirs = self.dump(0), self.dump(1)
        for place in sorted(set(ours) | set(theirs)):
            a, b = ours.get(place), theirs.get(place)
            same = a and b and a[:2] == b[:2] and (a[2] == b[2] or near(a[2], b[2], TIME_SLACK_MS))
            if not same:
                self.mismatches.append(f"data {where}, db {place[0]} key {place[1]!r}:\n"
                                       f"     ours:   {str(a)[:300]}\n     theirs: {str(b)[:300]}")


def show(command):
    return " ".join(repr(word[:60])[1:] for word in command)


class Differential(unittest.TestCase):
    def setUp(self):
        ours = support.server()
        self.addCleanup(ours.stop)
        theirs = support.oracle()
        self.addCleanup(theirs.stop)
        self.pair = Pair(ours, theirs)
        self.addCleanup(self.pair.close)

    def test_generated_commands(self):
        print(f"SPLITRING_DIFF_SEED={SEED} SPLITRING_DIFF_COMMANDS={COMMANDS}", file=sys.stderr)
        generator, pair = Generator(SEED), self.pair
        sent, next_check = 0, CHECK_EVERY
        while sent < COMMANDS and len(pair.mismatches) < SHOWN:
            batch = []
            for _ in range(generator.rng.choice([1, 1, 2, 5, 20, 60])):
                batch += generator.next()
            pair.run(generator.rng.choice([2, 3]), batch)
            sent += len(batch)
            if sent >= next_check:
                pair.compare_data(f"after {sent} commands")
                next_check += CHECK_EVERY
        pair.compare_data("at the end")
        print(f"{sent} commands; allowed differences: {pair.used}", file=sys.stderr)
        if pair.mismatches:
            text = "\n".join(pair.mismatches[:SHOWN])
            self.fail(f"{len(pair.mismatches)} differences (SPLITRING_DIFF_SEED={SEED}):\n{text}")


if __name__ == "__main__":
    unittest.main()
