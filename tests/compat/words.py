"""Words that generators of commands are made of: keys, values, numbers, times.

A generator module (gen_*.py) has `commands(rng)`, which yields argument vectors for ever (or for a
while: it is then called again). What it may have besides is said at the top of differential.py.
"""

TEXTS = [b"", b"a", b"hello", b"0", b"00", b"-0", b"+1", b" 1", b"1 ", b"1.5", b"-3.25e2", b"inf",
         b"nan", b"1e400", b"0x10", b"q\x00r", b"\xff\xfe", b"\r\n", b"$5\r\nhello\r\n",
         b"abcabcab", b"x" * 44, b"y" * 45, b"z" * 300]
EDGES = [0, 1, -1, 2, 7, 8, 9, 10, 63, 64, 100, 255, 9999, 10000, 32767, -32768, 65536,
         2**31 - 1, 2**31, -2**31, 2**32, 2**53 + 1, 2**63 - 2, 2**63 - 1, -2**63]
NOT_INTS = [b"", b"abc", b"1.0", b"01", b"+5", b" 7", b"7 ", b"-", b"--1", b"0x1", b"1e3",
            b"9223372036854775808", b"-9223372036854775809", b"99999999999999999999999"]
# Few, so that everything collides with everything; hash tags and odd names among them.
KEYS = [b"k%d" % i for i in range(10)] + [
    b"{t}1", b"{t}2", b"{t}3", b"a{t}b", b"{}x", b"{{t}y", b"", b"k\x00\xff\r\n", b"K" * 300]
DATABASES = 3
FAR = 4_000_000_000  # absolute times, in seconds: the year 2096


class Words:
    """Words from a random generator. `table` of a subclass: {name: (weight, arguments)}."""

    count = 0

    def __init__(self, rng, keys=KEYS):
        self.rng = rng
        self.random = rng.random
        self.keys = keys
        self.times = 0
        Words.count += 1
        self.place = Words.count % 100
        table = self.table()
        self.makers = [(name, make) for name, (_, make) in table.items()]
        self.weights = []
        for weight, _ in table.values():
            self.weights.append(weight + (self.weights[-1] if self.weights else 0))

    def table(self):
        raise NotImplementedError

    def below(self, limit):
        return int(self.random() * limit)

    def one(self, items):
        return items[int(self.random() * len(items))]

    def chance(self, percent):
        return self.random() * 100 < percent

    def key(self):
        return self.one(self.keys)

    def some_keys(self):
        return [self.key() for _ in range(self.one((1, 1, 2, 3, 5, 8)))]

    def case(self, word):
        """Some spelling of an option."""
        return self.one((word.upper(), word.lower(), word.title())).encode()

    def value(self):
        pick = self.random()
        if pick < 0.35:
            return b"%d" % self.number()
        if pick < 0.6:
            return self.one(TEXTS)
        if pick < 0.7:
            return b"%.6g" % (self.random() * 2000 - 1000)
        if pick < 0.999:
            return self.rng.randbytes(self.one((1, 3, 8, 20, 31, 32, 33, 100, 200, 1000)))
        return self.rng.randbytes(self.one((5000, 65535, 65536, 70000)))

    def number(self):
        return self.one(EDGES) if self.chance(40) else self.below(400) - 200

    def integer(self):
        return self.one(NOT_INTS) if self.chance(8) else b"%d" % self.number()

    def index(self):
        """Into a value, from either end."""
        return self.integer() if self.chance(20) else b"%d" % (self.below(80) - 40)

    def floating(self):
        pick = self.random()
        if pick < 0.2:
            return self.integer()
        if pick < 0.5:
            return b"%.3f" % (self.random() * 198 - 99)
        if pick < 0.6:
            return b"%.17g" % self.random()
        return self.one((b"3.0e3", b"-1.5e-5", b"1e17", b"inf", b"-inf", b"nan", b"1e5000",
                         b"0.1", b" 1", b"1 "))

    def position(self, limit):
        """A place to write at; never one that takes hundreds of megabytes."""
        if self.chance(10):
            return self.one(NOT_INTS + [b"-1", b"-9223372036854775808", b"4294967296",
                                        b"9223372036854775807", b"99999999999"])
        return b"%d" % self.below(self.one((16, 64, 300, limit)))

    def bit(self):
        return self.one((b"0", b"1", b"0", b"1", b"0", b"1", b"2", b"-1", b"x"))

    def database(self):
        if self.chance(10):
            return self.one(NOT_INTS + [b"-1", b"16", b"2147483648"])
        return b"%d" % self.below(DATABASES)

    # Times are unique, so that no two TTLs are ever nearly equal, and far away.

    def unique(self):
        self.times += 1
        return self.times * 7919 % 100_003 * 10_000 + self.place * 100 + 1_000_000

    def bad_time(self, past):
        return self.one(NOT_INTS + [b"0", b"-1", b"9223372036854775807",
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
        name, make = self.one((("ex", self.seconds), ("px", self.millis),
                               ("exat", self.seconds_at), ("pxat", self.millis_at)))
        return [self.case(name), make()]

    def spoiled(self, args, words):
        """Sometimes with an option that does not belong or has no argument."""
        if self.chance(4):
            args.append(self.case(self.one(words)))
        return args

    # whole commands

    def next(self):
        """One command; rarely with too few or too many arguments."""
        pick = self.random() * self.weights[-1]
        low, high = 0, len(self.weights) - 1
        while low < high:
            middle = (low + high) // 2
            if self.weights[middle] > pick:
                high = middle
            else:
                low = middle + 1
        name, make = self.makers[low]
        args = [self.case(name)] + make()
        if self.chance(1.5):
            args = args[:1 + self.below(len(args))]
        elif self.chance(1):
            args.append(self.value())
        return args
