"""Replies as comparable values, and the differences between servers that have a reason.

A generator module adds its own: DIFFERENCES = [(name, reason, test)], where test(command, ours,
theirs) gets the values that value() makes. All uses are counted and printed.
"""

import math
from itertools import chain

TIME_SLACK_MS = 20000


class Status(bytes):
    pass


class Error(bytes):
    pass


class Verbatim(bytes):
    pass


class Big(bytes):
    pass


class Map(list):
    pass


class Set(list):
    pass


class Push(list):
    pass


NULL_ARRAY = Status(b"(null array)")
BULK = {b"$": bytes, b"=": Verbatim}
ARRAYS = {b"*": list, b"%": Map, b"~": Set, b">": Push}


def value(data, at):
    """The reply that begins at an offset, and where it ends."""
    end = data.index(b"\r\n", at)
    kind, rest = data[at:at + 1], data[at + 1:end]
    end += 2
    if kind in BULK:
        if rest == b"-1":
            return None, end
        after = end + int(rest)
        return BULK[kind](data[end:after]), after + 2
    if kind == b":":
        return int(rest), end
    if kind in ARRAYS:
        if rest == b"-1":
            return NULL_ARRAY, end
        items = ARRAYS[kind]()
        for _ in range(int(rest) * (2 if kind == b"%" else 1)):
            item, end = value(data, end)
            items.append(item)
        return items, end
    if kind == b"+":
        return Status(rest), end
    if kind == b"-":
        return Error(rest), end
    if kind == b"_":
        return None, end
    if kind == b",":
        return float(rest), end
    if kind == b"#":
        return rest == b"t", end
    if kind == b"(":
        return Big(rest), end
    raise ValueError(f"{data[at:at + 60]!r} is no reply")


def same(a, b):
    """Equal, type for type; doubles by value."""
    if type(a) is not type(b):
        return False
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and math.isnan(a):
        return math.isnan(b)
    return a == b


def canonical(item):
    return repr(item)


def same_bag(a, b):
    return type(a) is type(b) and isinstance(a, list) and \
        sorted(map(canonical, a)) == sorted(map(canonical, b))


def pairs(items):
    return [items[i:i + 2] for i in range(0, len(items), 2)]


def same_pairs(a, b):
    return type(a) is type(b) and isinstance(a, list) and same_bag(pairs(a), pairs(b))


def near(a, b, slack):
    return isinstance(a, int) and isinstance(b, int) and a > 0 and b > 0 and abs(a - b) <= slack


def name_of(command):
    return command[0].lower()


def words_of(command):
    return {word.lower() for word in command[1:] if len(word) < 20}


# ---- Tests --------------------------------------------------------------------------------------


def digits_alike(a, b):
    """The same numbers in other digits, as bulk strings, at any depth."""
    if isinstance(a, list):
        return type(a) is type(b) and len(a) == len(b) and all(map(digits_alike, a, b))
    if type(a) is bytes and type(b) is bytes and a != b:
        try:
            return float(a) == float(b)
        except ValueError:
            return False
    return same(a, b)


def doubles(command, ours, theirs):
    name = name_of(command)
    return same(ours, theirs) or name.startswith((b"z", b"bz", b"geo")) and \
        digits_alike(ours, theirs)


TIMES = {b"ttl": TIME_SLACK_MS // 1000, b"expiretime": TIME_SLACK_MS // 1000,
         b"pttl": TIME_SLACK_MS, b"pexpiretime": TIME_SLACK_MS,
         b"httl": TIME_SLACK_MS // 1000, b"hexpiretime": TIME_SLACK_MS // 1000,
         b"hpttl": TIME_SLACK_MS, b"hpexpiretime": TIME_SLACK_MS}


def times(command, ours, theirs):
    slack = TIMES.get(name_of(command))
    if slack is None:
        return False
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        return all(a == b or near(a, b, slack) for a, b in zip(ours, theirs))
    return near(ours, theirs, slack)


BAGS = {b"smembers", b"sunion", b"sinter", b"sdiff", b"hkeys", b"hvals", b"keys"}


def unordered(command, ours, theirs):
    name = name_of(command)
    if name == b"hgetall":
        return same_pairs(ours, theirs)
    return name in BAGS and same_bag(ours, theirs)


def pages(command, ours, theirs):
    name = name_of(command)
    if name not in (b"scan", b"sscan", b"hscan", b"zscan"):
        return False
    if not (type(ours) is type(theirs) is list and len(ours) == len(theirs) == 2):
        return False
    if name == b"scan" or ours[0] != b"0" or theirs[0] != b"0":
        return True
    alone = name == b"sscan" or b"novalues" in words_of(command)
    return (same_bag if alone else same_pairs)(ours[1], theirs[1])


PICKS = {b"randomkey", b"srandmember", b"hrandfield", b"zrandmember", b"spop"}


def picks(command, ours, theirs):
    if name_of(command) not in PICKS or type(ours) is not type(theirs):
        return False
    if isinstance(ours, list):
        return len(ours) == len(theirs) and [type(i) for i in ours] == [type(i) for i in theirs]
    return not isinstance(ours, Error)


def idle(command, ours, theirs):
    """Theirs may be longer: the clock of a number that it shares (see refcount) is that of whoever
    touched it last."""
    return name_of(command) == b"object" and command[1].lower() == b"idletime" \
        and isinstance(ours, int) and isinstance(theirs, int) and -60 < theirs - ours


NEWER_ENCODINGS = {(b"listpack", b"hashtable"), (b"listpack", b"quicklist"),
                   (b"listpackex", b"listpack"), (b"listpack", b"intset"),
                   (b"hashtable", b"intset")}


def encodings(command, ours, theirs):
    return name_of(command) == b"object" and command[1].lower() == b"encoding" \
        and (ours, theirs) in NEWER_ENCODINGS


def refcounts(command, ours, theirs):
    return name_of(command) == b"object" and command[1].lower() == b"refcount" \
        and isinstance(ours, int) and isinstance(theirs, int)


def lrem_range(command, ours, theirs):
    return name_of(command) == b"lrem" and command[2] == b"-9223372036854775808" \
        and isinstance(ours, Error) and isinstance(theirs, int)


def endless_timeout(command, ours, theirs):
    return isinstance(ours, Error) and isinstance(theirs, Error) and \
        (ours, theirs) == (b"ERR timeout is out of range", b"ERR timeout is negative")


# Between any two servers.
ALIKE = [
    ("doubles", "numbers in RESP3 and scores are printed in the shortest digits since 7.2",
     doubles),
    ("times", "each server has its own clock", times),
    ("order", "members of tables have no order", unordered),
    ("pages", "SCAN and its relatives have cursors and an order of their own; complete answers "
     "are compared as bags", pages),
    ("random", "random picks: number and types are compared", picks),
    ("idle", "OBJECT IDLETIME is a time", idle),
    ("refcount", "Redis shares numbers below 10000 that SET made, but not their copies; nothing is "
     "shared here, and what it would show after a SET is shown", refcounts),
    ("timeout-inf", "7.0 calls a timeout that is too large negative", endless_timeout),
    ("lrem-range", "since 7.2 LREM refuses the one count that cannot be negated", lrem_range),
    ("encodings", "since 7.2 small sets and lists are listpacks, and SADD chooses a new set's "
     "encoding by how many members are named, twice or not", encodings),
]
