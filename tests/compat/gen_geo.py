"""Places: random ones all over the globe, crowds of near ones, the poles and the date line;
searches of every form, from metres to half the globe, and sets whose scores are no places.

What lies equally far has no order when COUNT is given (Redis sorts in part then). So distances are
stored where nobody searches: as scores they would put all members into one corner of the map."""

from words import Words

DISTANCES = [b"d0", b"{g}d"]
UNITS = ["m", "km", "ft", "mi"]
EXTREMES = [b"180", b"-180", b"0", b"179.9999", b"85.05112878", b"-85.05112878", b"85", b"-85",
            b"90", b"181", b"85.06", b"nan", b"x", b"1e400", b"inf"]


class Places(Words):
    polygons = False  # Valkey 9

    def table(self):
        return {
            "geoadd": (12, self.geoadd),
            "geopos": (3, lambda: [self.key()] + self.members()),
            "geohash": (3, lambda: [self.key()] + self.members()),
            "geodist": (4, self.geodist),
            "geosearch": (12, lambda: [self.key()] + self.search(False)),
            "geosearchstore": (4, self.geosearchstore),
            "georadius": (6, lambda: self.radius(True)),
            "georadius_ro": (3, lambda: self.radius(False)),
            "georadiusbymember": (5, lambda: self.radius_by_member(True)),
            "georadiusbymember_ro": (3, lambda: self.radius_by_member(False)),
            "zrem": (1, lambda: [self.key()] + self.members()),
            "zadd": (0.5, self.zadd), "zrange": (1, self.zrange),
            "object": (0.5, lambda: [b"encoding", self.key()]),
            "set": (0.1, lambda: [self.key(), b"x"]), "del": (0.4, lambda: [self.key()]),
        }

    def member(self):
        return b"p%d" % self.below(self.one((10, 60, 400)))

    def members(self):
        return [self.member() for _ in range(self.one((0, 1, 1, 2, 3)))]

    def lon(self):
        if self.chance(2):
            return self.one(EXTREMES)
        if self.chance(40):
            return b"%.6f" % (13.4 + self.random() / 10)
        if self.chance(10):
            return b"%.9f" % (self.one((179.9, -180)) + self.random() / 10)
        return b"%.10f" % (self.random() * 360 - 180)

    def lat(self):
        if self.chance(2):
            return self.one(EXTREMES)
        if self.chance(40):
            return b"%.6f" % (52.4 + self.random() / 10)
        if self.chance(10):
            return b"%.9f" % (self.one((84.9, -85.0)) + self.random() / 10)
        return b"%.10f" % (self.random() * 170 - 85)

    def unit(self):
        if self.chance(1):
            return self.one((b"", b"x", b"kmh"))
        return self.case(self.one(UNITS))

    def distance(self):
        if self.chance(3):
            return self.one((b"-1", b"0", b"abc", b"nan", b"1e300", b"inf", b"100000000"))
        scale = self.one((10, 1000, 5000, 100000, 2000000))
        return b"%.3f" % (self.random() * scale)

    def geoadd(self):
        args = [self.key()]
        for word, percent in ("nx", 6), ("xx", 6), ("ch", 12):
            if self.chance(percent):
                args.append(self.case(word))
        for _ in range(self.one((1, 1, 2, 5, 30))):
            args += [self.lon(), self.lat(), self.member()]
        return args

    def geodist(self):
        args = [self.key(), self.member(), self.member()]
        return self.spoiled(args + ([self.unit()] if self.chance(50) else []), ["m", "x"])

    def geosearchstore(self):
        args = self.search(True)
        distances = any(word.lower() == b"storedist" for word in args)
        return [self.one(DISTANCES) if distances else self.key(), self.key()] + args

    def polygon(self):
        """Not around a pole: Valkey finds nothing where the centroid is beyond the map."""
        count = self.one((3, 3, 4, 5, 8))
        near = self.chance(60)
        start = self.random() * 260 - 180
        args = [self.case("bypolygon"), b"%d" % count if self.chance(97) else self.integer()]
        for _ in range(count):
            args += [b"%.6f" % (13.4 + self.random() / 5), b"%.6f" % (52.4 + self.random() / 5)] \
                if near else [b"%.6f" % (start + self.random() * 100),
                              b"%.6f" % (self.random() * 120 - 60)]
        return args

    def search(self, store):
        options = []
        if self.polygons and self.chance(30):
            options = [self.polygon()] + self.common(not store)
            if self.chance(3):
                options.append([self.case("fromlonlat"), self.lon(), self.lat()])
            self.rng.shuffle(options)
            return self.spoiled(sum(options, []), ["asc", "bybox", "bypolygon"])
        if self.chance(97):
            if self.chance(50):
                options.append([self.case("frommember"), self.member()])
            else:
                options.append([self.case("fromlonlat"), self.lon(), self.lat()])
        if self.chance(97):
            if self.chance(50):
                options.append([self.case("byradius"), self.distance(), self.unit()])
            else:
                options.append([self.case("bybox"), self.distance(), self.distance(),
                                self.unit()])
        if self.chance(2):
            options.append([self.case("byradius"), self.distance(), self.unit()])
        if self.chance(20 if store else 1):
            options.append([self.case("storedist")])
        options += self.common(not store)
        self.rng.shuffle(options)
        return self.spoiled(sum(options, []), ["asc", "count", "any", "foo", "store"])

    def common(self, show):
        options = []
        for word in "withdist", "withhash", "withcoord":
            if self.chance(35 if show else 1):
                options.append([self.case(word)])
        if self.chance(50):
            options.append([self.case(self.one(("asc", "desc")))])
        if self.chance(35):
            number = self.one((b"1", b"3", b"10", b"0", b"-1", b"x", b"1000"))
            options.append([self.case("count"), number])
            if self.chance(30):
                options[-1].append(self.case("any"))
        return options

    def storing(self):
        if self.chance(50):
            return [[self.case("store"), self.key()]]
        return [[self.case("storedist"), self.one(DISTANCES)]]

    def options(self, can_store):
        store = can_store and self.chance(25)
        options = self.common(not store) + (self.storing() if store else [])
        self.rng.shuffle(options)
        return self.spoiled(sum(options, []), ["asc", "any", "foo", "count"])

    def radius(self, can_store):
        return [self.key(), self.lon(), self.lat(), self.distance(), self.unit()] + \
            self.options(can_store)

    def radius_by_member(self, can_store):
        return [self.key(), self.member(), self.distance(), self.unit()] + self.options(can_store)

    def zadd(self):
        score = self.one((b"-1", b"0.5", b"1e300", b"4503599627370495", b"4503599627370496",
                          b"1e18", b"-1e300", b"1e19", b"inf", b"-inf", b"3479099956230698"))
        return [self.key(), score, self.member()]

    def zrange(self):
        return [self.one(self.keys + DISTANCES), b"0", b"-1", b"withscores"]


def ties(command, ours, theirs):
    words = {word.lower() for word in command}
    return command[0].lower().startswith((b"geosearch", b"georadius")) and b"count" in words \
        and isinstance(ours, list) and isinstance(theirs, list) \
        and sorted(map(repr, ours)) == sorted(map(repr, theirs))


def no_member(command, ours, theirs):
    return isinstance(theirs, bytes) \
        and ours == b"ERR could not decode requested zset member" \
        and theirs.startswith(b"ERR member ") and theirs.endswith(b" does not exist")


def by_what(command, ours, theirs):
    return isinstance(ours, bytes) and isinstance(theirs, bytes) \
        and ours.startswith(b"ERR exactly one of BYRADIUS and BYBOX can") \
        and theirs.startswith(b"ERR exactly one of BYRADIUS, BYBOX and BYPOLYGON can")


DIFFERENCES = [("geo by", "Valkey 9 has BYPOLYGON in the text too; Redis 8 does not", by_what),
               ("geo member", "Valkey 9 names the member that is not there", no_member),
               ("geo ties", "COUNT sorts in part: members equally far have no order", ties)]


def commands(rng, oracle):
    words = Places(rng, [b"g%d" % i for i in range(4)] + [b"{g}1", b"{g}2"])
    words.polygons = oracle == "valkey"
    while True:
        yield words.next()
