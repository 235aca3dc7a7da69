"""Keys of every type: the generic group, expiry, OBJECT, the connection's commands."""

from words import KEYS, Words


class Keys(Words):
    def __init__(self, rng, keys):
        self.met = keys  # keys that other generators named lately
        super().__init__(rng)

    def key(self):
        return self.one(self.met) if self.met and self.chance(70) else self.one(KEYS)

    def table(self):
        return {
            "del": (3, lambda: self.some_keys()), "unlink": (2, lambda: self.some_keys()),
            "exists": (3, lambda: self.some_keys()), "touch": (2, lambda: self.some_keys()),
            "type": (3, lambda: [self.key()]), "rename": (3, lambda: [self.key(), self.key()]),
            "renamenx": (2, lambda: [self.key(), self.key()]), "copy": (4, self.copy),
            "move": (2, lambda: [self.key(), self.database()]),
            "dbsize": (1, lambda: []), "keys": (0.3, self.pattern), "randomkey": (0.5, lambda: []),
            "object": (6, self.object), "select": (1, lambda: [self.database()]),
            "swapdb": (0.3, lambda: [self.database(), self.database()]),
            "flushdb": (0.03, lambda: self.one(([], [b"SYNC"], [b"async"], [b"x"]))),
            "flushall": (0.02, lambda: self.one(([], [b"SYNC"], [b"async"], [b"x", b"y"]))),
            "scan": (0.5, self.scan),
            "expire": (2, lambda: self.expire(self.seconds())),
            "pexpire": (1, lambda: self.expire(self.millis())),
            "expireat": (1, lambda: self.expire(self.seconds_at())),
            "pexpireat": (1, lambda: self.expire(self.millis_at())),
            "persist": (2, lambda: [self.key()]), "ttl": (2, lambda: [self.key()]),
            "pttl": (2, lambda: [self.key()]), "expiretime": (1, lambda: [self.key()]),
            "pexpiretime": (1, lambda: [self.key()]),
            "get": (1, lambda: [self.key()]), "append": (0.5, lambda: [self.key(), self.value()]),
            "incr": (0.5, lambda: [self.key()]), "set": (0.3, lambda: [self.key(), self.value()]),
            "ping": (0.3, lambda: self.one(([], [self.value()], [b"a", b"b"]))),
            "echo": (0.3, lambda: [self.value()]),
            "nosuchcommand": (0.2, lambda: self.some_keys()),
        }

    def copy(self):
        out = [self.key(), self.key()]
        if self.chance(40):
            out += [self.case("db"), self.database()]
        if self.chance(40):
            out.append(self.case("replace"))
        return self.spoiled(out, ["db", "foo"])

    def pattern(self):
        return [self.one((b"*", b"k*", b"k?", b"k[1-3]", b"[^k]*", b"{t}*", b"", b"\\k1",
                          b"k1", b"*t*", b"[", b"k[", b"*\xff*"))]

    def object(self):
        sub = self.one(("encoding", "encoding", "encoding", "refcount", "freq", "idletime", "foo"))
        return [self.case(sub), self.key()][:1 if self.chance(5) else 2]

    def expire(self, when):
        out = [self.key(), when]
        for _ in range(self.one((0, 0, 1, 1, 2))):
            out.append(self.case(self.one(("nx", "xx", "gt", "lt", "nx", "xx", "gt", "lt",
                                           "foo"))))
        return out

    def scan(self):
        return self.one(([b"x"], [b"0", b"COUNT", b"0"], [b"0", b"COUNT", b"x"],
                         [b"0", b"FOO"], [b"0", b"MATCH"], [b"0", b"COUNT"]))


def commands(rng, met=()):
    """met: a list of keys that grows meanwhile."""
    keys = Keys(rng, met)
    while True:
        command = keys.next()
        yield command
