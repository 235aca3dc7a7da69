"""SORT and SORT_RO over lists, sets and sorted sets, with keys and hashes to sort by and to get.

Elements whose BY texts are equal (or missing) come in any order: in that of a table for sets and
sorted sets, and where there is a LIMIT. So BY with ALPHA is asked of lists, without a LIMIT."""

from explained import Error, same_bag
from words import Words

ELEMENTS = [b"%d" % i for i in range(12)] + [b"-3", b"1.5", b"2.25", b"-0.5", b"1e2", b"x", b"yy",
                                             b"abc", b"10a", b" 7", b"0x10", b"inf", b"-inf", b""]
NUMBERS = [e for e in ELEMENTS if e[:1] in b"0123456789-" and e not in (b"10a", b"-inf", b"")]


LISTS = (b"sl1", b"sl2", b"sd")


class Sorts(Words):
    def table(self):
        return {
            "sort": (14, lambda: self.sort(True)), "sort_ro": (4, lambda: self.sort(False)),
            "rpush": (3, lambda: [self.one((b"sl1", b"sl2"))] + self.elements()),
            "sadd": (3, lambda: [self.one((b"ss1", b"ss2"))] + self.elements()),
            "zadd": (3, self.zadd),
            "mset": (2, self.weights_set),
            "hset": (2, lambda: [b"h_" + self.element(), self.one((b"f", b"g")),
                                 self.one(NUMBERS + [b"text"])]),
            "del": (2, lambda: [self.one(self.keys)] + [b"w_" + self.element()]),
            "lrange": (1, lambda: [b"sd", b"0", b"-1"]),
            "type": (0.5, lambda: [b"sd"]),
            "object": (0.5, lambda: [b"encoding", b"sd"]),
            "set": (0.3, lambda: [self.key(), b"string"]),
        }

    def element(self):
        return self.one(self.pool)

    def elements(self):
        self.pool = NUMBERS if self.chance(85) else ELEMENTS
        return [self.element() for _ in range(self.one((1, 2, 5, 9)))]

    pool = NUMBERS

    def zadd(self):
        out = [self.one((b"sz1", b"sz2"))]
        for element in self.elements():
            out += [b"%d" % self.below(5), element]
        return out

    def weights_set(self):
        out = []
        for _ in range(4):
            out += [b"w_" + self.element(), self.one(NUMBERS + [b"3", b"4", b"text"])]
        return out

    def by(self):
        return self.one((b"w_*", b"w_*", b"h_*->f", b"nosort", b"w_x", b"h_*->", b"*", b"w_*->f",
                         b"h_*->nosuch", b"#"))

    def get(self):
        return self.one((b"#", b"w_*", b"h_*->f", b"h_*->g", b"w_1", b"*", b"nosuch_*", b"h_*->",
                         b"w_*->f"))

    def sort(self, write):
        out = [self.key()]
        by = self.chance(40)
        alpha = self.chance(45)
        parts = []
        if by:
            parts.append([self.case("by"), self.by()])
        if alpha:
            parts.append([self.case("alpha")])
        if self.chance(30):
            parts.append([self.case(self.one(("asc", "desc", "desc")))])
        if self.chance(30) and not (by and alpha):
            parts.append([self.case("limit"), self.index(), self.index()])
        for _ in range(self.one((0, 0, 0, 1, 2, 3))):
            parts.append([self.case("get"), self.get()])
        if self.chance(25) and (write or self.chance(10)):
            # Only with ALPHA: see stale_errno.
            parts.append([self.case("store"), self.one((b"sd", b"sd", b"sl1", b"ss2"))])
            parts += [] if alpha else [[self.case("alpha")]]
        self.rng.shuffle(parts)
        for part in parts:
            out += part
        return self.spoiled(out, ["by", "get", "limit", "foo", "store"])


def commands(rng):
    words = Sorts(rng, [b"sl1", b"sl2", b"ss1", b"ss2", b"sz1", b"sz2", b"sd", b"none"])
    while True:
        command = words.next()
        if command[0].lower()[:4] == b"sort" and is_open(command):
            continue
        yield command


def is_open(command):
    lower = [word.lower() for word in command]
    return b"by" in lower and b"alpha" in lower \
        and (b"limit" in lower or b"store" in lower or command[1] not in LISTS)


def set_order(command, ours, theirs):
    """Members of a set that are not sorted; of anything, when sorted by what is not there."""
    lower = [word.lower() for word in command]
    return command[0].lower()[:4] == b"sort" and b"by" in lower and type(ours) is type(theirs) \
        and isinstance(ours, list) and len(ours) == len(theirs) \
        and (b"alpha" in lower or b"*" not in command[lower.index(b"by") + 1])


def stale_errno(command, ours, theirs):
    return command[0].lower()[:4] == b"sort" and isinstance(theirs, Error) \
        and b"converted into double" in theirs and not isinstance(ours, Error)


def unconverted(command, ours, theirs):
    return command[0].lower() == b"object" and (ours, theirs) == (b"listpack", b"skiplist")


def until_nul(items):
    return [item.split(b"\0")[0] if isinstance(item, bytes) else item for item in items]


def nul(command, ours, theirs):
    """With GET, what stands at whose place cannot be seen: then only that it is the same in all."""
    lower = [word.lower() for word in command]
    if command[0].lower()[:4] != b"sort" or b"alpha" not in lower or b"by" in lower:
        return False
    if not isinstance(ours, list) or not isinstance(theirs, list):
        return False
    return until_nul(ours) == until_nul(theirs) or b"get" in lower and same_bag(ours, theirs)


DIFFERENCES = [
    ("sort-nul", "7.0 compares with strcoll, to which what differs behind a NUL is equal", nul),
    ("sort-errno", "Redis does not clear errno before strtod: after any number out of range "
     "anywhere, SORT may refuse good ones", stale_errno),
    ("sort-zset", "Redis makes a skiplist of every sorted set that it sorts", unconverted),
    ("sort-set", "SORT BY nosort of a set has no order, and with a LIMIT or GET not even the same "
     "members", set_order),
]
