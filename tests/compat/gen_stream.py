"""Streams: entries with few fields and ids that collide, all trims, consumer groups.

Ids are given (XADD * would have another id at each server), in steps that leave room for partial
ones (ms-*). Idle times are either none or hours, and asked for by the half hour, so that no
millisecond decides who is claimed."""

from explained import NULL_ARRAY, TIME_SLACK_MS, Error, name_of, same
from words import NOT_INTS, Words

HOUR = 3_600_000
BAD_IDS = [b"", b"x", b"1-", b"-1", b"1-x", b"1-2-3", b"18446744073709551616",
           b"1-18446744073709551616", b"(", b"(1", b" 5-1", b"+5-1", b"5--1", b"007-007", b"1\x00x"]
GREATEST = b"18446744073709551615-18446744073709551615"


class Streams(Words):
    def __init__(self, rng, oracle):
        self.newer = oracle == "valkey"
        self.ms = 1
        super().__init__(rng, [b"s%d" % i for i in range(5)])

    def table(self):
        return {
            "xadd": (14, self.xadd), "xlen": (1, lambda: [self.key()]),
            "xtrim": (2, lambda: [self.key()] + self.trim()),
            "xrange": (3, lambda: self.range(self.start(), self.end())),
            "xrevrange": (3, lambda: self.range(self.end(), self.start())),
            "xdel": (4, lambda: [self.key()] + self.ids()), "xread": (3, self.xread),
            "xsetid": (0.5, self.xsetid), "xgroup": (3, self.xgroup),
            "xreadgroup": (8, self.xreadgroup),
            "xack": (3, lambda: [self.key(), self.group()] + self.ids()),
            "xpending": (4, self.xpending), "xclaim": (4, self.xclaim),
            "xautoclaim": (2, self.xautoclaim), "xinfo": (4, self.xinfo),
            "copy": (0.4, lambda: [self.key(), self.key(), b"replace"]),
            "rename": (0.1, lambda: [self.key(), self.key()]),
            "del": (0.15, lambda: [self.key()]), "set": (0.1, lambda: [self.key(), b"text"]),
            "object": (0.3, lambda: [b"encoding", self.key()]),
            "type": (0.3, lambda: [self.key()]),
        }

    # words

    def group(self):
        return self.one((b"g1", b"g1", b"g1", b"g2", b"", b"none"))

    def consumer(self):
        return self.one((b"c1", b"c1", b"c2", b"c10", b"", b"nobody"))

    def id(self):
        """An entry's, most likely."""
        if self.chance(3):
            return self.one(BAD_IDS)
        if self.chance(3):
            return self.one((b"0", b"0-0", b"-", b"+", b"$", b">", GREATEST))
        ms = max(0, self.ms - self.below(self.one((3, 10, 40, 200))))
        return self.one((b"%d-%d" % (ms, self.below(3)), b"%d" % ms, b"%d-1" % ms, b"%d-0" % ms))

    def ids(self):
        return [self.id() for _ in range(self.one((1, 1, 2, 3, 8)))]

    def start(self):
        return self.one((b"-", b"-", b"0", self.id(), b"(" + self.id(), b"(-", b"(" + GREATEST))

    def end(self):
        return self.one((b"+", b"+", self.id(), b"(" + self.id(), b"(0-0", b"(0"))

    def count(self):
        if self.chance(50):
            return []
        return [self.case("count"), self.integer() if self.chance(15) else b"%d" % self.below(8)]

    def trim(self):
        by = self.one(("maxlen", "maxlen", "minid"))
        args = [self.case(by)] + self.one(([], [b"="], [b"~"], [b"~"]))
        if by == "maxlen":
            args.append(self.integer() if self.chance(10) else b"%d" % self.below(60))
        else:
            args.append(self.id())
        if self.chance(15):
            args += [self.case("limit"), b"%d" % self.below(30)]
        return self.spoiled(args, ("maxlen", "minid", "limit", "foo"))

    def idle(self):
        if self.chance(5):
            return self.one(NOT_INTS + [b"-1", b"9223372036854775807"])
        return self.one((b"0", b"0", b"%d" % (HOUR // 2)))

    # commands

    def xadd(self):
        self.ms += self.one((0, 1, 1, 1, 2, 5))
        args = [self.key()]
        if self.chance(5):
            args.append(self.case("nomkstream"))
        if self.chance(25):
            args += self.trim()
        pick = self.random()
        args.append(b"%d-*" % self.ms if pick < 0.5 else b"%d-%d" % (self.ms, self.below(9))
                    if pick < 0.93 else self.id())
        names = self.one(((b"f",), (b"f", b"g"), (b"f", b"g"), (b"1", b"22222"), (self.value(),)))
        for name in names:
            args += [name, self.one((b"v", b"%d" % self.number(), self.value()))]
        return args

    def range(self, first, last):
        return self.spoiled([self.key(), first, last] + self.count(), ("count", "foo"))

    def streams(self, special):
        keys = [self.key() for _ in range(self.one((1, 1, 1, 2, 3)))]
        ids = [self.one((special, special, b"0", self.id())) for _ in keys]
        if not self.newer:
            ids = [b"0" if id == b"+" else id for id in ids]
        return [self.case("streams")] + keys + ids

    def block(self):
        return [self.case("block"), self.one((b"1", b"1", b"x", b"-1"))] if self.chance(3) else []

    def xread(self):
        special = self.one((b"$", b"+")) if self.newer else b"$"
        return self.count() + self.block() + self.streams(special)

    def xreadgroup(self):
        args = [self.case("group"), self.group(), self.consumer()] + self.count() + self.block()
        if self.chance(15):
            args.append(self.case("noack"))
        return args + self.streams(b">")

    def xsetid(self):
        args = [self.key(), b"%d-%d" % (self.ms, self.below(9))]
        if self.chance(30):
            args += [self.case("entriesadded"), b"%d" % self.below(400)]
        if self.chance(30):
            args += [self.case("maxdeletedid"), self.id()]
        return self.spoiled(args, ("entriesadded", "foo"))

    def xgroup(self):
        key, group = self.key(), self.group()
        sub = self.one(("create", "create", "create", "setid", "destroy", "createconsumer",
                        "delconsumer", "foo"))
        args = [self.case(sub), key, group]
        if sub in ("create", "setid"):
            args.append(self.one((b"$", b"0", b"0", self.id())))
            if sub == "create" and self.chance(60):
                args.append(self.case("mkstream"))
            if self.chance(20):
                args += [self.case("entriesread"), b"%d" % (self.below(60) - 2)]
        elif sub == "destroy":
            args = [self.case(sub), key, group] if self.chance(40) else [b"help"]
        elif sub != "foo":
            args.append(self.consumer())
        return self.spoiled(args, ("mkstream", "entriesread", "foo"))

    def xpending(self):
        args = [self.key(), self.group()]
        if self.chance(25):
            return args
        if self.chance(25):
            args += [self.case("idle"), self.idle()]
        args += [self.start(), self.end(), self.integer() if self.chance(5) else b"10"]
        return args + ([self.consumer()] if self.chance(40) else [])

    def xclaim(self):
        args = [self.key(), self.group(), self.consumer(), self.idle()] + self.ids()
        for name, argument in (("force", None), ("justid", None), ("idle", b"%d" % HOUR),
                               ("time", b"%d" % self.below(99999)), ("lastid", self.id()),
                               ("retrycount", b"%d" % (self.below(9) - 1))):
            if self.chance(15):
                args += [self.case(name)] + ([argument] if argument else [])
        return self.spoiled(args, ("idle", "time", "retrycount", "lastid", "foo"))

    def xautoclaim(self):
        args = [self.key(), self.group(), self.consumer(), self.idle(), self.start()]
        if self.chance(50):
            args += [self.case("count"), b"%d" % self.below(9)]
        if self.chance(30):
            args.append(self.case("justid"))
        return self.spoiled(args, ("count", "foo"))

    def xinfo(self):
        sub = self.one(("stream", "stream", "full", "groups", "consumers", "help", "foo"))
        if sub == "full":
            return self.spoiled([b"stream", self.key(), self.case(sub)] + self.count(), ("foo",))
        if sub == "consumers":
            return [self.case(sub), self.key(), self.group()]
        return [self.case(sub)] + ([] if sub == "help" else [self.key()])


ORACLES = set()


def commands(rng, oracle):
    words = Streams(rng, oracle)
    ORACLES.add(oracle)
    while True:
        command = words.next()
        name = name_of(command)
        if not words.newer and name == b"xsetid":
            continue  # 7.0 lets the last id fall below that of a deleted entry
        if not words.newer and name in (b"xclaim", b"xautoclaim"):
            # Since 7.2 they make their consumer even where they claim nothing.
            yield [b"XGROUP", b"CREATECONSUMER"] + command[1:4]
        if not words.newer and name == b"xreadgroup" and len(command) > 3:
            for key in words.keys:
                yield [b"XGROUP", b"CREATECONSUMER", key] + command[2:4]
        yield command


# ---- what differs -------------------------------------------------------------------------------

ADDED = (b"active-time", b"inactive")  # Redis 7.2


def without_added(item):
    if not isinstance(item, list):
        return item
    kept = type(item)()
    skip = False
    for i, one in enumerate(item):
        if skip:
            skip = False
        elif isinstance(one, bytes) and one in ADDED and i % 2 == 0:
            skip = True
        else:
            kept.append(without_added(one))
    return kept


def alike(ours, theirs, before=None):
    """Equal but for instants, and for idle times."""
    if isinstance(ours, list):
        return type(ours) is type(theirs) and len(ours) == len(theirs) and \
            all(alike(a, b, ours[i - 1] if i else None)
                for i, (a, b) in enumerate(zip(ours, theirs)))
    if isinstance(ours, int) and isinstance(theirs, int) and ours != theirs:
        time = min(ours, theirs) > 10**12 or before in (b"idle", b"inactive")
        return time and abs(ours - theirs) < TIME_SLACK_MS
    return same(ours, theirs)


def infos(command, ours, theirs):
    return name_of(command) == b"xinfo" and \
        (alike(ours, theirs) or alike(without_added(ours), theirs))


def pending(command, ours, theirs):
    if name_of(command) != b"xpending" or type(ours) is not list or type(theirs) is not list:
        return False
    return len(ours) == len(theirs) and all(
        isinstance(a, list) and len(a) == 4 and same(a[:2] + a[3:], b[:2] + b[3:])
        and abs(a[2] - b[2]) < TIME_SLACK_MS for a, b in zip(ours, theirs))


def texts(command, ours, theirs):
    return name_of(command) in (b"xread", b"xreadgroup") and type(ours) is type(theirs) is Error \
        and ours.startswith(b"ERR Unbalanced '") and theirs.startswith(b"ERR Unbalanced XREAD ")


def helps(command, ours, theirs):
    return name_of(command) in (b"xinfo", b"xgroup") and isinstance(ours, list) \
        and ours[-1:] == [b"    Print this help."] and theirs[-1:] == [b"    Prints this help."] \
        and same(ours[:-1], theirs[:-1])


def last_entry(command, ours, theirs):
    return name_of(command) == b"xread" and b"+" in command and \
        (theirs is None or theirs == NULL_ARRAY or len(theirs) < len(ours)
         or theirs == b"ERR the stream last element ID is 0-0")


def long_texts(command, ours, theirs):
    return name_of(command) == b"xclaim" and type(ours) is type(theirs) is Error \
        and len(ours) > 900 and theirs.startswith(ours)


PROGRESS = (b"entries-read", b"lag")


def without_progress(item):
    if not isinstance(item, list):
        return item
    return type(item)(b"?" if i and item[i - 1] in PROGRESS else without_progress(one)
                      for i, one in enumerate(item))


def progress(command, ours, theirs):
    return "redis" in ORACLES and name_of(command) == b"xinfo" and \
        alike(without_added(without_progress(ours)), without_progress(theirs))


def made_before(command, ours, theirs):
    return "redis" in ORACLES and name_of(command) == b"xgroup" and (ours, theirs) == (0, 1) \
        and command[1].lower() == b"createconsumer"


DIFFERENCES = [
    ("consumer", "7.0 makes no consumer where XREADGROUP has nothing for it (commands() makes it "
     "beforehand, unless another generator has just moved the stream)", made_before),
    ("progress", "7.0 counts entries-read on where a group was moved behind the first entry, or "
     "entries were deleted", progress),
    ("xclaim text", "error texts end after a kilobyte", long_texts),
    ("xread +", "Redis 8 reads the last entry that is there; Valkey has nothing where the last one "
     "was deleted", last_entry),
    ("stream times", "times of delivery and of consumers; Redis 7.2 has more of them", infos),
    ("pending times", "times since a delivery", pending),
    ("xread text", "7.2 names the command in the error text", texts),
    ("stream help", "the last line of HELP since 7.2", helps),
]
