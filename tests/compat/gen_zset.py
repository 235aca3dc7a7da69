"""Sorted sets: every command with every option, few keys and members, scores that collide, a set
that grows large now and then. Lexicographical ranges are asked of sets with one score: of others,
Redis' answers hang on the levels of its skiplist."""

import explained
from words import Words

MEMBERS = [b"a", b"b", b"c", b"aa", b"ab", b"abc", b"b\x00", b"\xff\xfe", b"", b"1", b"2", b"10",
           b"-5", b"007", b"x" * 63, b"x" * 65, b"9223372036854775807", b"Z"]
SCORES = [b"0", b"-0", b"1", b"1.0", b"2", b"-1", b"3.5", b"1e3", b"inf", b"-inf", b"+inf",
          b"1e17", b"1e300", b"-1e300", b"0.1", b"5e-324", b"123456789012345678", b"0x10"]
LEX_KEYS = [b"l0", b"l1", b"{z}l"]
BAD_SCORES = [b"nan", b"abc", b"", b" 1", b"1 ", b"1e400", b"(1", b"-nan"]


# Valkey 9 reads numbers without strtod: these are none to it.
STRTOD = {b"0x10", b" 1", b"", b"(", b"1\x00", b"1e400", b"5e-324", b"-nan", b"nan"}


class SortedSets(Words):
    valkey = False

    def table(self):
        return {
            "zadd": (14, self.zadd), "zincrby": (4, self.zincrby), "zrem": (5, self.zrem),
            "zcard": (2, lambda: [self.key()]),
            "zscore": (2, lambda: [self.key(), self.member()]),
            "zmscore": (2, lambda: [self.key()] + self.members()),
            "zrank": (2, self.zrank), "zrevrank": (2, self.zrank),
            "zcount": (3, lambda: [self.key(), self.bound(), self.bound()]),
            "zlexcount": (2, lambda: [self.lex_key(), self.lex(), self.lex()]),
            "zrange": (8, self.zrange), "zrangestore": (3, self.zrangestore),
            "zrevrange": (2, lambda: self.old([self.index(), self.index()])),
            "zrangebyscore": (3, lambda: self.old([self.bound(), self.bound()])),
            "zrevrangebyscore": (3, lambda: self.old([self.bound(), self.bound()])),
            "zrangebylex": (3, lambda: self.old_lex()),
            "zrevrangebylex": (3, lambda: self.old_lex()),
            "zremrangebyrank": (1, lambda: [self.key(), self.narrow(), self.narrow()]),
            "zremrangebyscore": (1, lambda: [self.key(), self.bound(), self.bound()]),
            "zremrangebylex": (1, lambda: [self.lex_key(), self.lex(), self.lex()]),
            "zpopmin": (2, self.zpop), "zpopmax": (2, self.zpop),
            "bzpopmin": (1, self.bzpop), "bzpopmax": (1, self.bzpop),
            "zmpop": (2, self.zmpop), "bzmpop": (1, lambda: [self.timeout()] + self.zmpop()),
            "zunion": (2, lambda: self.combine(True, False)),
            "zinter": (2, lambda: self.combine(True, False)),
            "zdiff": (2, lambda: self.combine(False, False)),
            "zunionstore": (3, lambda: self.combine(True, True)),
            "zinterstore": (3, lambda: self.combine(True, True)),
            "zdiffstore": (2, lambda: self.combine(False, True)),
            "zintercard": (2, self.zintercard), "zrandmember": (2, self.zrandmember),
            "zscan": (1, self.zscan), "object": (2, lambda: [b"encoding", self.key()]),
            "sadd": (1, lambda: [self.key()] + self.members()),
            "set": (0.3, lambda: [self.key(), self.value()]),
            "del": (0.6, lambda: self.some_keys()[:2]),
            "copy": (0.5, lambda: [self.key(), self.key(), b"replace"]),
            "rename": (0.4, lambda: [self.key(), self.key()]),
            "exists": (0.5, lambda: [self.key()]),
        }

    def member(self):
        if self.chance(50):
            return self.one(MEMBERS)
        return b"m%d" % self.below(self.one((8, 40, 300)))

    def members(self):
        return [self.member() for _ in range(self.one((1, 1, 2, 3, 6)))]

    def score(self):
        text = self.any_score()
        return b"1.5" if self.valkey and text in STRTOD else text

    def any_score(self):
        if self.chance(2):
            return self.one(BAD_SCORES)
        if self.chance(40):
            return self.one(SCORES)
        if self.chance(60):
            return b"%d" % (self.below(30) - 10)
        return b"%.17g" % (self.random() * 40 - 20)

    def bound(self):
        if self.chance(2) and not self.valkey:
            return self.one(BAD_SCORES + [b"((1", b"(", b"1\x00", b"+"])
        return (b"(" if self.chance(30) else b"") + \
            self.one((b"-inf", b"+inf", self.score(), self.score(), self.score()))

    def lex(self):
        if self.chance(3):
            return self.one((b"a", b"", b"++", b"-x", b"+\x00x", b"{a"))
        if self.chance(40):
            return self.one((b"-", b"+"))
        return self.one((b"[", b"(")) + self.member()

    def narrow(self):
        return self.integer() if self.chance(10) else b"%d" % (self.below(12) - 6)

    def zadd(self):
        if self.chance(25):
            members = sum(([b"3", self.member()] for _ in range(self.one((1, 3, 8, 60)))), [])
            return [self.lex_key()] + members
        args = [self.key()]
        for word, percent in ("nx", 8), ("xx", 8), ("gt", 8), ("lt", 8), ("ch", 15), ("incr", 8):
            if self.chance(percent):
                args.append(self.case(word))
        for _ in range(self.one((1, 1, 1, 2, 3, 20))):
            args += [self.score(), self.member()]
        return args

    def zincrby(self):
        return [self.key(), self.score(), self.member()]

    def zrank(self):
        return [self.key(), self.member()] + \
            ([self.case("withscore")] if self.valkey and self.chance(40) else [])

    def zrem(self):
        return [self.lex_key() if self.chance(20) else self.key()] + self.members()

    def limit(self):
        number = b"%d" % (self.below(12) - (0 if self.valkey else 2))
        return [self.case("limit"), number, self.one((b"-1", b"0", b"1", b"3", self.index()))]

    def lex_key(self):
        return self.one(LEX_KEYS)

    def zrange(self):
        kind = self.one(("rank", "score", "lex"))
        args = [self.lex_key() if kind == "lex" else self.key()]
        args += {"rank": [self.index(), self.index()], "score": [self.bound(), self.bound()],
                 "lex": [self.lex(), self.lex()]}[kind]
        options = []
        if kind != "rank":
            options.append([self.case("by" + kind)])
        if self.chance(35):
            options.append([self.case("rev")])
        if self.chance(30 if kind != "rank" else 3):
            options.append(self.limit())
        if self.chance(35 if kind != "lex" else 3):
            options.append([self.case("withscores")])
        self.rng.shuffle(options)
        return self.spoiled(args + sum(options, []), ["limit", "rev", "foo"])

    def zrangestore(self):
        args = [word for word in self.zrange() if word.lower() != b"withscores"]
        return [self.key()] + args

    def old_lex(self):
        return self.old([self.lex(), self.lex()], self.lex_key())

    def old(self, ends, key=None):
        args = [key or self.key()] + ends
        if self.chance(30):
            args.append(self.case("withscores"))
        if self.chance(30):
            args += self.limit()
        return self.spoiled(args, ["rev", "byscore", "limit"])

    def zpop(self):
        return [self.key()] + ([self.narrow()] if self.chance(60) else [])

    def timeout(self):
        return self.one((b"0.01", b"0.001", b"0.01", b"-1", b"abc", b"0.02"))

    def bzpop(self):
        return self.some_keys() + [self.timeout()]

    def zmpop(self):
        keys = self.some_keys()
        # Not 2^63 - 1: redis-server 7.0 dies of it.
        count = b"%d" % (len(keys) if self.chance(95) else self.below(9) - 2)
        args = [count] + keys + [self.case(self.one(("min", "max")))]
        if self.chance(50):
            args += [self.case("count"), self.one((b"1", b"2", b"10", b"0", self.integer()))]
        return self.spoiled(args, ["count", "min"])

    def combine(self, combines, store):
        keys = [self.key() for _ in range(self.one((1, 1, 2, 2, 3, 4)))]
        count = b"%d" % len(keys) if self.chance(96) else self.integer()
        args = ([self.key()] if store else []) + [count] + keys
        if self.chance(35 if combines else 2):
            args += [self.case("weights")] + [self.score() for _ in keys]
        if self.chance(35 if combines else 2):
            args += [self.case("aggregate"), self.case(self.one(("sum", "min", "max", "sum")))]
        if self.chance(2 if store else 40):
            args.append(self.case("withscores"))
        return self.spoiled(args, ["weights", "aggregate", "limit"])

    def zintercard(self):
        keys = [self.key() for _ in range(self.one((1, 2, 2, 3)))]
        args = [b"%d" % len(keys)] + keys
        if self.chance(40):
            args += [self.case("limit"), self.one((b"0", b"1", b"3", b"-1", self.integer()))]
        return self.spoiled(args, ["limit", "withscores"])

    def zrandmember(self):
        args = [self.key()]
        if self.chance(70):
            args.append(self.one((b"0", b"-3", b"5", b"1000", b"-9223372036854775808",
                                  b"%d" % (self.below(30) - 15), self.one((b"x", b"", b"1.5")))))
            if self.chance(40):
                args.append(self.case("withscores"))
        return self.spoiled(args, ["withscores"])

    def zscan(self):
        args = [self.key(), self.one((b"0", b"0", b"0", b"0", b"x"))]
        if self.chance(40):
            args += [self.case("match"), self.one((b"*", b"m*", b"[ab]*", b"x?*"))]
        if self.chance(40):
            args += [self.case("count"), self.one((b"1", b"100", b"1000", b"0"))]
        return args


def rank_arity(command, ours, theirs):
    return command[0].lower() in (b"zrank", b"zrevrank") and len(command) == 4 \
        and ours == b"ERR syntax error" and theirs.startswith(b"ERR wrong number of arguments")


def minus_zero(command, ours, theirs):
    if command[0].lower() != b"zscan" or not isinstance(ours, list) or len(ours) != 2:
        return False
    pages = [[b"0" if word == b"-0" else word for word in page[1]] for page in (ours, theirs)]
    return ours[0] == theirs[0] and explained.same_pairs(*pages)


DIFFERENCES = [("minus zero", "7.0 fills what it stores into a listpack first, which has no -0",
                minus_zero),
               ("zrank", "ZRANK has a fourth argument since 7.2", rank_arity)]


def commands(rng, oracle):
    words = SortedSets(rng, [b"z%d" % i for i in range(6)] + [b"{z}1", b"{z}2"])
    words.valkey = oracle == "valkey"
    while True:
        yield words.next()
