"""Strings and bitmaps."""

from explained import Error
from words import NOT_INTS, Words


class Strings(Words):
    def table(self):
        return {
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
            "strlen": (2, lambda: [self.key()]), "lcs": (0.2, self.lcs),
            "mget": (3, lambda: self.some_keys()), "mset": (3, self.pairs),
            "msetnx": (3, self.pairs), "setnx": (2, lambda: [self.key(), self.value()]),
            "setex": (2, lambda: [self.key(), self.seconds(), self.value()]),
            "psetex": (2, lambda: [self.key(), self.millis(), self.value()]),
            "setbit": (4, lambda: [self.key(), self.position(40000), self.bit()]),
            "getbit": (3, lambda: [self.key(), self.position(40000)]),
            "bitcount": (4, self.bitcount), "bitpos": (4, self.bitpos),
            "bitop": (4, self.bitop), "bitfield": (6, lambda: self.bitfield(False)),
            "bitfield_ro": (2, lambda: self.bitfield(True)),
            "del": (3, lambda: self.some_keys()),
        }

    def set(self):
        out = [self.key(), self.value()]
        if self.chance(35):
            return out
        for _ in range(self.one((1, 1, 1, 2, 2, 3))):
            pick = self.below(6)
            if pick < 4:
                out.append(self.case(("nx", "xx", "get", "keepttl")[pick]))
            else:
                out += self.time_option()
        return self.spoiled(out, ["ex", "px", "persist", "foo", "gt", "nx"])

    def getex(self):
        out = [self.key()]
        if self.chance(70):
            out += self.time_option() if self.chance(67) else [self.case("persist")]
        return self.spoiled(out, ["ex", "keepttl", "persist", "nx"])

    def lcs(self):
        out = [self.key(), self.key()]
        for _ in range(self.one((0, 1, 1, 2, 3))):
            out += self.one((
                lambda: [self.case("len")], lambda: [self.case("idx")],
                lambda: [self.case("idx"), self.case("withmatchlen")],
                lambda: [self.case("idx"), self.case("minmatchlen"), self.index()]))()
        return self.spoiled(out, ["minmatchlen", "foo"])

    def pairs(self):
        out = []
        for _ in range(self.one((1, 1, 2, 3, 6))):
            out += [self.key(), self.value()]
        if self.chance(5):
            out.append(self.key())
        return out

    def unit(self):
        return self.case(self.one(("bit", "byte", "bit", "byte", "bits")))

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
        op = self.one(("and", "or", "xor", "not", "and", "or", "xor", "foo"))
        sources = [self.key()] if op == "not" and self.chance(80) else self.some_keys()
        return [self.case(op), self.key()] + sources

    def field_type(self):
        if self.chance(8):
            return self.one((b"u64", b"i65", b"u0", b"i0", b"x8", b"u", b"", b"I8", b"i-1",
                             b"u08", b"i9999999999999999999"))
        sign, top = self.one((("i", 64), ("u", 63)))
        width = self.one((1, 2, 7, 8, 16, 31, 32, top, 1 + self.below(top)))
        return b"%s%d" % (sign.encode(), width)

    def field_at(self):
        if self.chance(10):
            return self.one(NOT_INTS + [b"#", b"#-1", b"#x", b"-1", b"4294967296", b"##1"])
        return self.one((b"%d", b"#%d")) % self.below(self.one((8, 64, 200)))

    def bitfield(self, readonly):
        out = [self.key()]
        for _ in range(self.one((0, 1, 1, 2, 3, 6))):
            op = self.one(("get", "set", "incrby", "overflow"))
            if readonly and not self.chance(10):
                op = "get"
            out.append(self.case(op))
            if op == "overflow":
                out.append(self.case(self.one(("wrap", "sat", "fail", "sat", "foo"))))
                continue
            out += [self.field_type(), self.field_at()]
            if op != "get":
                # Redis takes -2^63 into a narrower signed field for an overflow and saturates at
                # the largest number; its documentation and Splitring say the smallest.
                number = self.integer()
                out.append(b"-4611686018427387904" if number == b"%d" % -2**63 else number)
        return self.spoiled(out, ["get", "set", "incrby", "overflow", "foo"])


def commands(rng):
    strings = Strings(rng)
    while True:
        command = strings.next()
        yield command
        # Both servers have deleted a key that was set into the past once they have looked.
        if len(command) > 3 and command[0].lower() in (b"set", b"getex"):
            yield [b"EXISTS", command[1]]


def absent_with_bad_range(command, ours, theirs):
    return command[0].lower() in (b"bitcount", b"bitpos") and isinstance(ours, Error) \
        and (theirs in (0, -1) or isinstance(theirs, Error))


def unwritten_encoding(command, ours, theirs):
    return command[0].lower() == b"object" and command[1].lower() == b"encoding" \
        and ours in (b"int", b"embstr") and theirs == b"raw"


DIFFERENCES = [
    ("absent-range", "since 7.2 BITCOUNT and BITPOS read their arguments before the key; 7.0 "
     "answers for an absent key, or one of another type, first", absent_with_bad_range),
    ("unwritten", "a SETBIT or PFADD that changes nothing leaves the value as it is; Redis makes "
     "it raw", unwritten_encoding),
]
