"""Hashes, and expiries of their fields (which Valkey knows, and redis-server 7.0 does not)."""

from explained import Error
from words import Words

# Few, so that they meet; one that is longer than a listpack takes, numbers, odd bytes.
FIELDS = [b"f%d" % i for i in range(12)] + [
    b"", b"7", b"-1", b"007", b"9223372036854775807", b"\x00\xff", b"x" * 64, b"y" * 65, b"z" * 300]
HASHES = [b"h%d" % i for i in range(6)]
TIMED = {b"hexpire", b"hpexpire", b"hexpireat", b"hpexpireat", b"httl", b"hpttl", b"hexpiretime",
         b"hpexpiretime", b"hpersist", b"hgetex", b"hsetex", b"hgetdel"}


class Hashes(Words):
    def table(self):
        one, some = (lambda: [self.key(), self.field()]), (lambda: [self.key()] + self.fields())
        whole = (lambda: [self.key()])
        return {
            "hset": (14, lambda: [self.key()] + self.pairs()),
            "hmset": (3, lambda: [self.key()] + self.pairs()),
            "hsetnx": (4, lambda: one() + [self.value()]),
            "hget": (5, one), "hmget": (4, some), "hdel": (4, some), "hexists": (3, one),
            "hstrlen": (3, one), "hlen": (3, whole), "hgetall": (3, whole), "hkeys": (2, whole),
            "hvals": (2, whole),
            "hincrby": (5, lambda: one() + [self.integer()]),
            "hincrbyfloat": (4, lambda: one() + [self.floating()]),
            "hrandfield": (4, self.hrandfield), "hscan": (4, self.hscan),
            "object": (3, lambda: [self.case("encoding"), self.key()]),
            "del": (0.3, whole), "copy": (1, lambda: [self.key(), self.key()]),
            "rename": (0.5, lambda: [self.key(), self.key()]),
            "hexpire": (3, lambda: self.expire(self.seconds)),
            "hpexpire": (3, lambda: self.expire(self.millis)),
            "hexpireat": (3, lambda: self.expire(self.seconds_at)),
            "hpexpireat": (3, lambda: self.expire(self.millis_at)),
            "httl": (2, self.named), "hpttl": (1, self.named), "hexpiretime": (2, self.named),
            "hpexpiretime": (2, self.named), "hpersist": (3, self.named),
            "hgetex": (5, self.hgetex), "hsetex": (6, self.hsetex), "hgetdel": (3, self.named),
        }

    def key(self):
        return self.one(self.keys) if self.chance(8) else self.one(HASHES)

    def field(self):
        return self.one(FIELDS)

    def fields(self):
        return [self.field() for _ in range(self.one((1, 1, 2, 3, 6)))]

    def pairs(self):
        out = []
        for _ in range(self.one((1, 1, 2, 3, 6, 12))):
            out += [self.field(), self.value()]
        if self.chance(2):
            out.append(self.field())
        return out

    def hrandfield(self):
        out = [self.key()]
        if self.chance(80):
            count = b"%d" % self.one((0, 1, 2, 3, 5, 30, -1, -2, -7, -40))
            out.append(self.one((count, count, count, count, self.integer_small())))
            if self.chance(50):
                out.append(self.case("withvalues"))
        return self.spoiled(out, ["withvalues", "foo"])

    def integer_small(self):
        """A count; never one that asks for gigabytes."""
        return self.one((b"", b"x", b"1.5", b"-9223372036854775808", b"9223372036854775807",
                         b"4611686018427387904", b"01"))

    def hscan(self):
        # A listpack is answered whole; what a table answers is compared loosely.
        out = [self.key(), b"x" if self.chance(5) else b"0"]
        for _ in range(self.below(3)):
            out += self.one((
                lambda: [self.case("match"), self.one((b"f*", b"*", b"f[0-4]", b"?", b"z*"))],
                lambda: [self.case("count"), self.one((b"1", b"10", b"1000", b"0", b"x"))],
                lambda: [self.case("match"), self.field()]))()
        return self.spoiled(out, ["match", "foo", "type"])

    def named_fields(self, fields):
        count = len(fields) if self.chance(96) else self.below(5)
        return [self.case("fields"), b"%d" % count] + fields

    def named(self):
        return [self.key()] + self.named_fields(self.fields())

    # Fields end at 2^46 ms here and in Redis; the edges of words.py lie beyond, where Valkey goes.
    def bad_time(self, past):
        return self.one([b"", b"abc", b"1.0", b"01", b"0", b"-1"] + past)

    def expire(self, when):
        out = [self.key(), when()]
        if self.chance(40):
            out.append(self.case(self.one(("nx", "xx", "gt", "lt"))))
        return self.spoiled(out + self.named_fields(self.fields()), ["nx", "fields"])

    def hgetex(self):
        out = [self.key()]
        if self.chance(75):
            out += self.time_option() if self.chance(70) else [self.case("persist")]
        return out + self.named_fields(self.fields())

    def hsetex(self):
        out = [self.key()]
        if self.chance(30):
            out.append(self.case(self.one(("fnx", "fxx", "nx", "xx"))))
        if self.chance(70):
            out += self.time_option() if self.chance(70) else [self.case("keepttl")]
        if self.chance(4):
            out.append(self.case(self.one(("foo", "persist", "lt"))))
        pairs = self.pairs()
        count = len(pairs) // 2 if self.chance(96) else self.below(5)
        return out + [self.case("fields"), b"%d" % count] + pairs


def asks_for_gigabytes(command):
    try:
        return command[0].lower() == b"hrandfield" and -2**63 < int(command[2]) < -1000
    except (IndexError, ValueError):
        return False


def commands(rng, oracle):
    hashes = Hashes(rng)
    while True:
        command = hashes.next()
        if asks_for_gigabytes(command) or command[0].lower() in TIMED and oracle == "redis":
            continue
        yield command


def timed_errors(command, ours, theirs):
    return command[0].lower() in TIMED and isinstance(ours, Error) and isinstance(theirs, Error)


def condition_first(command, ours, theirs):
    return command[0].lower() == b"hsetex" and isinstance(ours, Error) and theirs == 0


def triples(command, ours, theirs):
    return command[0].lower() == b"object" and command[1].lower() == b"encoding" \
        and (ours, theirs) == (b"listpackex", b"hashtable")


def many_pairs(command, ours, theirs):
    return command[0].lower() == b"object" and command[1].lower() == b"encoding" \
        and (ours, theirs) == (b"hashtable", b"listpack")


DIFFERENCES = [
    ("field-errors", "texts and order of the errors of field expiry are those of Redis 8.0; "
     "Valkey has its own", timed_errors),
    ("condition-first", "Valkey looks at the conditions of HSETEX before it reads the time; Redis "
     "8.0 reads all arguments first", condition_first),
    ("triples", "small hashes with expiries are listpacks of triples, as in Redis 8.0; Valkey "
     "makes them tables", triples),
    ("many-pairs", "since 7.2 more pairs in one command than the limit make a table at once, even "
     "if they repeat each other", many_pairs),
]
