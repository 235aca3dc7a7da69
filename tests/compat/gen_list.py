"""Lists, also those that wait: timeouts are cut short, most keys hold something."""

from explained import Error
from words import Words

# Few, so that LREM, LPOS and LINSERT find them; the last are above the limits of a node.
ELEMENTS = [b"a", b"b", b"7", b"-300", b"70000", b"", b"e" * 70, b"f" * 700, b"g" * 4500,
            b"h" * 9000]


class Lists(Words):
    def table(self):
        return {
            "lpush": (5, self.push), "rpush": (8, self.push),
            "lpushx": (2, self.push), "rpushx": (2, self.push),
            "lpop": (3, self.pop), "rpop": (3, self.pop), "llen": (2, lambda: [self.key()]),
            "lindex": (3, lambda: [self.key(), self.index()]),
            "linsert": (6, lambda: self.spoiled(
                [self.key(), self.word("before", "after"), self.element(), self.element()],
                ["x"])),
            "lrange": (4, lambda: [self.key(), self.index(), self.index()]),
            "lrem": (3, lambda: [self.key(), self.small(), self.element()]),
            "lset": (6, lambda: [self.key(), self.narrow_index(), self.element()]),
            "ltrim": (1.5, self.trim), "lpos": (4, self.pos),
            "lmove": (4, lambda: self.spoiled(
                [self.key(), self.key(), self.end(), self.end()], ["left"])),
            "rpoplpush": (3, lambda: [self.key(), self.key()]),
            "lmpop": (3, self.mpop),
            "blpop": (0.7, lambda: self.some_keys() + [self.timeout()]),
            "brpop": (0.7, lambda: self.some_keys() + [self.timeout()]),
            "blmove": (0.7, lambda: self.spoiled(
                [self.key(), self.key(), self.end(), self.end(), self.timeout()],
                ["left"])),
            "brpoplpush": (0.7, lambda: [self.key(), self.key(), self.timeout()]),
            "blmpop": (0.7, lambda: [self.timeout()] + self.mpop()),
            "del": (0.5, lambda: [self.key()]),
            "object": (2, lambda: ["encoding", self.key()]),
            "type": (0.5, lambda: [self.key()]),
        }

    def element(self):
        return self.value() if self.chance(15) else self.one(ELEMENTS)

    def narrow_index(self):
        """Redis since 7.2 and Valkey take LSET's index modulo 2^32 where the list is packed."""
        index = self.index()
        return index if len(index) < 10 else b"2147483647"

    def push(self):
        count = self.one((1, 1, 1, 2, 3, 10, 40))
        if self.chance(2):
            count = 400
        return [self.key()] + [self.element() for _ in range(count)]

    def small(self):
        return self.integer() if self.chance(15) else b"%d" % (self.below(7) - 3)

    def pop(self):
        return [self.key()] if self.chance(60) else self.spoiled([self.key(), self.small()], ["1"])

    def trim(self):
        if self.chance(30):
            return [self.key(), self.index(), self.index()]
        return [self.key(), b"%d" % self.below(4), b"%d" % -self.below(4)]

    def word(self, *words):
        return self.case(self.one(words)) if not self.chance(5) else b"foo"

    def end(self):
        return self.word("left", "right")

    def timeout(self):
        return self.one((b"0.001", b"0.01", b"-1", b"x", b"0.002", b"1e-3"))

    def pos(self):
        out = [self.key(), self.element()]
        for _ in range(self.one((0, 0, 1, 1, 2, 3))):
            option = self.one(("rank", "count", "maxlen"))
            out += [self.case(option), self.small()]
        return self.spoiled(out, ["rank", "count", "foo"])

    def mpop(self):
        keys = self.some_keys()
        count = b"%d" % len(keys) if not self.chance(5) else self.small()
        out = [count] + keys + [self.end()]
        if self.chance(40):
            out += [self.case("count"), self.small()]
        return self.spoiled(out, ["count", "foo", "left"])


def commands(rng):
    lists = Lists(rng)
    while True:
        yield lists.next()


def small_encoding(command, ours, theirs):
    return command[0].lower() == b"object" and ours == b"listpack" and theirs == b"quicklist"


def lowest_number(command, ours, theirs):
    return command[0].lower() in (b"lpos", b"lrem") and b"%d" % -2**63 in command \
        and isinstance(ours, Error)


DIFFERENCES = [
    ("lowest-number", "since 7.2 LPOS and LREM refuse the rank and the count -2^63, which have no "
     "positive twin", lowest_number),
    ("list-encoding", "since 7.2 a small list is a listpack; 7.0 has quicklists only",
     small_encoding),
]
