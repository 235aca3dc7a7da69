"""Sets: few members, so that sets overlap; integers, texts and long ones, so that every encoding
and every change of it occurs. What 7.0 called a small set differs (hashtable): encodings are
compared with newer servers only."""

from words import Words

BIG = [b"%d" % n for n in (2**15 - 1, 2**15, -2**15 - 1, 2**31 - 1, 2**31, -2**31 - 1, 2**63 - 1,
                           -2**63)]
ODD = [b"", b"01", b"-0", b"+1", b"1.0", b" 1", b"9223372036854775808", b"x" * 64, b"y" * 65,
       b"z" * 300, b"\x00\xff\r\n", b"w" * 70000]


def by_order(command, ours, theirs):
    return command[0].lower() == b"object" and command[1].lower() == b"encoding" and \
        {ours, theirs} == {b"listpack", b"hashtable"}


DIFFERENCES = [
    ("union", "where set-max-intset-entries is below set-max-listpack-entries, the encoding of a "
     "union or difference depends on the order in which integers and texts come out of a table",
     by_order),
]


class Sets(Words):
    newer = True  # the oracle has listpacks for sets

    def table(self):
        key, keys = self.key, self.some_keys
        return {
            "sadd": (14, lambda: [key()] + self.members()),
            "srem": (7, lambda: [key()] + self.members()),
            "sismember": (2, lambda: [key(), self.member()]),
            "smismember": (2, lambda: [key()] + self.members()),
            "scard": (2, lambda: [key()]), "smembers": (3, lambda: [key()]),
            "smove": (4, lambda: [key(), key(), self.member()]),
            "sinter": (3, keys), "sunion": (3, keys), "sdiff": (3, keys),
            "sinterstore": (2, lambda: [key()] + keys()),
            "sunionstore": (2, lambda: [key()] + keys()),
            "sdiffstore": (2, lambda: [key()] + keys()),
            "sintercard": (2, self.sintercard),
            "spop": (2, lambda: [key()] + self.count()),
            "srandmember": (2, lambda: [key()] + self.count()),
            "sscan": (1, self.sscan), "object": (3 if self.newer else 0, self.encoding),
            "del": (1, lambda: [key()]), "type": (0.3, lambda: [key()]),
            "copy": (0.5, lambda: [key(), key(), b"replace"]),
            "rename": (0.3, lambda: [key(), key()]), "set": (0.3, lambda: [key(), b"text"]),
            "pexpire": (0.3, lambda: [key(), self.millis()]),
            "pexpiretime": (0.3, lambda: [key()]),
        }

    def encoding(self):
        return [b"encoding", self.key()]

    def member(self):
        pick = self.random()
        if pick < 0.6:
            return b"%d" % (self.below(40) - 10)
        if pick < 0.7:
            return self.one(BIG)
        if pick < 0.95:
            return b"m%d" % self.below(30)
        return self.one(ODD)

    def members(self):
        count = self.one((1, 1, 1, 2, 3, 5, 10))
        if self.chance(3):
            first, prefix = self.below(1000), self.one((b"", b"", b"m"))
            return [b"%b%d" % (prefix, first + i) for i in range(self.one((100, 300, 600)))]
        if self.chance(50):  # of one kind
            return [b"%d" % (self.below(400) - 100) for _ in range(count)]
        return [self.member() for _ in range(count)]

    def count(self):
        if self.chance(40):
            return []
        if self.chance(10):
            return [self.one((b"x", b"-1", b"1.5", b"-9223372036854775808", b"10000"))]
        return [b"%d" % (self.below(14) - 2)]

    def sintercard(self):
        keys = self.some_keys()
        number = self.integer() if self.chance(8) else b"%d" % (len(keys) + self.chance(5))
        args = [number] + keys
        if self.chance(40):
            args += [self.case("limit"), self.integer() if self.chance(15) else b"%d" %
                     self.below(8)]
        return self.spoiled(args, ("limit", "foo"))

    def sscan(self):
        cursor = self.one((b"x", b"0x")) if self.chance(5) else b"0"
        args = [self.key(), cursor, self.case("count"), b"100000"]
        if self.chance(30):
            args += [self.case("match"), self.one((b"*", b"m*", b"[0-9]", b"-?"))]
        return self.spoiled(args, ("count", "match") + ("novalues",) * self.newer)


def commands(rng, oracle):
    words = type("Those", (Sets,), {"newer": oracle != "redis"})(rng)
    while True:
        command = words.next()
        yield command
        # Which members are left is random.
        if command[0].lower() == b"spop" and len(command) > 1:
            yield [b"DEL", command[1]]
