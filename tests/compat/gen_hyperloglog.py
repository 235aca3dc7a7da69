"""HyperLogLogs: their bytes (GET), their insides (PFDEBUG), and now and then a string that is none.
Corrupt values are looked at and replaced: what Redis added before it noticed stays in them."""

from words import Words

EMPTY = b"HYLL\x01" + bytes(11) + b"\x7f\xff"


class HyperLogLogs(Words):
    def table(self):
        return {
            "pfadd": (10, self.pfadd), "pfcount": (4, lambda: self.some_keys()[:3]),
            "pfmerge": (2, lambda: [self.key()] + self.some_keys()[:3]),
            "pfdebug": (0.4, self.pfdebug), "get": (2, lambda: [self.key()]),
            "strlen": (1, lambda: [self.key()]), "object": (1, lambda: [b"encoding", self.key()]),
            "del": (0.7, lambda: [self.key()]), "set": (0.5, self.set),
            "copy": (0.5, lambda: [self.key(), self.key(), b"replace"]),
            "setrange": (0.1, self.header),
        }

    def elements(self, count):
        spread = self.one((10, 1000, 100000, 10**9))
        return [b"%d" % self.below(spread) for _ in range(count)]

    def pfadd(self):
        if self.chance(10):
            return [self.key(), self.value()]
        return [self.key()] + self.elements(self.one((0, 1, 1, 1, 2, 5, 20, 100)))

    def pfdebug(self):
        sub = self.one(("decode", "encoding", "encoding", "todense", "foo"))
        sub = "getreg" if self.chance(2) else sub
        return [self.case(sub), self.key()]

    def set(self):
        return [self.key(), self.one((EMPTY, EMPTY, self.value(), EMPTY[:15], EMPTY + b"\0"))]

    def header(self):
        return [self.key(), b"%d" % (8 + self.below(8)), self.rng.randbytes(1)]


def commands(rng):
    words = HyperLogLogs(rng, [b"h%d" % i for i in range(6)])
    while True:
        command = words.next()
        yield command
        if command[0].lower() == b"set" and len(command) == 3:
            yield [b"PFCOUNT", command[1]]
            yield [b"PFADD", command[1], b"x"]
            yield [b"DEL", command[1]]
