"""One Redis on many cores: exact counters, the order of pipelines, and atomic multi-key commands.

What is shown, for each number of workers, with borrowed shards and with messages only:
  counters    every INCR of every connection counts once: sums are exact, and the replies of all
              connections together are 1 … n, rising on each connection
  pipelines   who sees the second command of a pipeline sees the first, over shards too: a reader
              that asks for them the other way round never finds the later one newer
  atomicity   readers never see half of MSET, MSETNX, DEL, RENAME or COPY over several shards

The checks count what they saw; a run whose readers saw nothing in between would show nothing.
"""
# matrix: engines

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import shards, support  # noqa: E402

SECONDS = 0.4  # of each check in each setting
SHARDS_MAX = 8
DEPTHS = (1, 2, 3, 10, 50, 300)
PING = support.encode("PING")


class Setting(shards.Setting):
    """The checks, for one server each. Subclasses below set workers and lending."""

    def setUp(self):
        with self.server.client() as client:
            client.ok("FLUSHALL")

    def rng(self, *names):
        return shards.rng(self.seed, self.id(), *names)

    def report(self, totals):
        text = ", ".join(f"{number} {name}" for name, number in sorted(totals.items()))
        print(f"  {self.id().split('.', 1)[1]}: {text}", flush=True)

    # counters

    def test_counters_are_exact(self):
        keys = [key for some in shards.keys_by_shard(SHARDS_MAX, 2) for key in some]
        crew = shards.Crew(SECONDS, increments=1000)
        sums = {}

        def work(number):
            rng, mine = self.rng(number), dict.fromkeys(keys, 0)
            with self.server.client() as client:
                while crew.on():
                    commands = []
                    for _ in range(rng.choice(DEPTHS)):
                        key, by = rng.choice(keys), rng.randrange(-50, 50)
                        commands.append(rng.choice([
                            (1, "INCR", key), (-1, "DECR", key), (by, "INCRBY", key, by),
                            (-by, "DECRBY", key, by)]))
                        mine[key] += commands[-1][0]
                    client.send_bytes(b"".join(support.encode(*c[1:]) for c in commands))
                    for line in shards.lines(client, len(commands)):
                        if line[:1] != b":":
                            raise AssertionError(f"INCR answered {line!r}")
                    crew.count("increments", len(commands))
            with crew.lock:
                for key, number in mine.items():
                    sums[key] = sums.get(key, 0) + number

        for number in range(20):
            crew.add(work, number)
        self.report(crew.run())
        with self.server.client() as client:
            found = [int(value or 0) for value in client.ok("MGET", *keys)]
        self.assertEqual(dict(zip(keys, found)), sums)

    def test_no_increment_is_seen_twice(self):
        """All replies of INCR, of all connections: 1 … n, and rising on each connection."""
        keys = [key for some in shards.keys_by_shard(SHARDS_MAX, 1) for key in some]
        crew = shards.Crew(SECONDS)
        seen = {key: [] for key in keys}

        def work(number):
            rng = self.rng(number)
            with self.server.client() as client:
                while crew.on():
                    chosen = [rng.choice(keys) for _ in range(rng.choice(DEPTHS))]
                    client.send_bytes(b"".join(support.encode("INCR", key) for key in chosen))
                    replies = [int(line[1:]) for line in shards.lines(client, len(chosen))]
                    last = dict.fromkeys(keys, 0)
                    for key, reply in zip(chosen, replies):
                        if reply <= last[key]:
                            raise AssertionError(f"{key}: {reply} after {last[key]}")
                        last[key] = reply
                    with crew.lock:
                        for key, reply in zip(chosen, replies):
                            seen[key].append(reply)

        for number in range(24):
            crew.add(work, number)
        crew.run()
        for key, replies in seen.items():
            self.assertEqual(sorted(replies), list(range(1, len(replies) + 1)), key)
        self.report({"increments": sum(map(len, seen.values()))})

    # the order of pipelines

    def chains(self, rng, length, count):
        """Chains of keys: over all shards, in random order of shards, some within one shard."""
        pool = shards.keys_by_shard(SHARDS_MAX, count * length, f"c{length}")
        chains = []
        for number in range(count):
            if number % 4 == 3:
                home = rng.choice(pool)
                chains.append([home.pop() for _ in range(length)])
            else:
                chains.append([home.pop() for home in rng.sample(pool, length)])
        return chains

    def write_chains(self, crew, number, chains):
        """The only writer of these chains: SET first n; SET second n; … with growing n."""
        rng, at = self.rng("writer", number), 0
        with self.server.client() as client:
            while crew.on():
                # The server runs pipelines in pieces of even length: PINGs put the cuts anywhere.
                commands = [PING] * rng.randrange(3)
                for _ in range(rng.choice((1, 2, 5, 30))):
                    at += 1
                    for chain in rng.sample(chains, rng.randrange(1, len(chains) + 1)):
                        commands += [support.encode("SET", key, at) for key in chain]
                    commands += [PING] * (rng.random() < 0.1)
                client.send_bytes(b"".join(commands))
                bad = set(shards.lines(client, len(commands))) - {b"+OK", b"+PONG"}
                if bad:
                    raise AssertionError(f"SET answered {bad!r}")
                crew.count("writes", len(commands))

    def read_chains(self, crew, number, chains):
        """Asks for the last key of a chain first: each may only be as new as the one before it."""
        rng = self.rng("reader", number)
        with self.server.client() as client:
            while crew.on():
                chosen = [rng.choice(chains) for _ in range(rng.choice((1, 3, 20, 80)))]
                client.send_bytes(b"".join(support.encode("GET", key) for chain in chosen
                                           for key in reversed(chain)))
                values = [int(v) for v in shards.bulks(client, sum(map(len, chosen)))]
                between, at = 0, 0
                for chain in chosen:
                    found = values[at:at + len(chain)]
                    at += len(chain)
                    if found != sorted(found):
                        raise AssertionError(
                            f"order: {list(zip(reversed(chain), found))}, shards "
                            f"{[shards.shard(key, self.workers) for key in reversed(chain)]}")
                    between += found[0] != found[-1]
                crew.count("chains read", len(chosen))
                crew.count("of them mid-way", between)

    def check_chains(self, length, count):
        crew = shards.Crew(SECONDS * 1.5, **{"chains read": 50, "writes": 100})
        chains = self.chains(self.rng("chains"), length, count)
        with self.server.client() as client:
            client.ok("MSET", *(part for chain in chains for key in chain for part in (key, 0)))
        writers = 4
        for number in range(writers):
            crew.add(self.write_chains, crew, number, chains[number::writers])
        for number in range(6):
            crew.add(self.read_chains, crew, number, chains)
        self.report(crew.run())

    def test_pairs_are_written_in_order(self):
        self.check_chains(2, 24)

    def test_triples_are_written_in_order(self):
        self.check_chains(3, 12)

    def test_order_around_multi_key_commands(self):
        """SET a; MSET b c; SET d: read backwards, d <= b == c <= a."""
        crew = shards.Crew(SECONDS, **{"chains read": 10})
        chains = self.chains(self.rng("mixed"), 4, 4)
        with self.server.client() as client:
            client.ok("MSET", *(part for chain in chains for key in chain for part in (key, 0)))

        def write(chain):
            at = 0
            with self.server.client() as client:
                while crew.on():
                    a, b, c, d = chain
                    data = b""
                    for _ in range(10):
                        at += 1
                        data += support.encode("SET", a, at)
                        data += support.encode("MSET", b, at, c, at)
                        data += support.encode("SET", d, at)
                    client.send_bytes(data)
                    if set(shards.lines(client, 30)) != {b"+OK"}:
                        raise AssertionError("SET or MSET failed")

        def read(number):
            order = self.rng("read", number)
            with self.server.client() as client:
                while crew.on():
                    a, b, c, d = order.choice(chains)
                    later, (x, y), sooner = client.pipeline(
                        [("GET", d), ("MGET", b, c), ("GET", a)])
                    if not int(later) <= int(x) == int(y) <= int(sooner):
                        raise AssertionError(f"d={later} b={x} c={y} a={sooner}")
                    crew.count("chains read", 1)
                    crew.count("of them mid-way", later != sooner)

        for chain in chains:
            crew.add(write, chain)
        for number in range(4):
            crew.add(read, number)
        self.report(crew.run())

    # commands over several shards

    def spread(self, count, prefix):
        """Keys over all shards, neighbours apart."""
        pool = shards.keys_by_shard(SHARDS_MAX, (count + SHARDS_MAX - 1) // SHARDS_MAX, prefix)
        return [key for some in zip(*pool) for key in some][:count]

    def test_mset_is_seen_whole(self):
        keys = self.spread(7, "m")
        crew = shards.Crew(SECONDS, MSETs=10, MGETs=10)
        with self.server.client() as client:
            client.ok("MSET", *(part for key in keys for part in (key, "start")))

        def write(number):
            rng, at = self.rng("writer", number), 0
            with self.server.client() as client:
                while crew.on():
                    commands = []
                    for _ in range(rng.choice((1, 4))):
                        at += 1
                        order = rng.sample(keys, len(keys))
                        commands.append(
                            ["MSET", *(part for key in order for part in (key, f"{number}.{at}"))])
                    client.pipeline(commands)
                    crew.count("MSETs", len(commands))

        def read(number):
            rng = self.rng("reader", number)
            with self.server.client() as client:
                while crew.on():
                    asked = [rng.sample(keys, rng.randrange(2, len(keys) + 1)) for _ in range(4)]
                    for some, values in zip(asked, client.pipeline(["MGET", *a] for a in asked)):
                        if len(set(values)) != 1:
                            raise AssertionError(f"torn: {list(zip(some, values))}")
                    crew.count("MGETs", 4)

        for number in range(4):
            crew.add(write, number)
            crew.add(read, number)
        self.report(crew.run())

    def test_renames_keep_one_name(self):
        """A value that wanders over names of all shards is always under exactly one of them."""
        names = self.spread(9, "r")
        crew = shards.Crew(SECONDS, renames=10, looks=10)
        with self.server.client() as client:
            client.ok("SET", names[0], "the one")

        def wander(number):
            rng = self.rng("wander", number)
            with self.server.client() as client:
                while crew.on():
                    commands = [[rng.choice(("RENAME", "RENAMENX")), *rng.sample(names, 2)]
                                for _ in range(rng.choice((1, 3, 12)))]
                    for command, reply in zip(commands, client.pipeline(commands)):
                        if isinstance(reply, support.Error):
                            if reply != b"ERR no such key":
                                raise AssertionError(f"{command}: {reply!r}")
                        elif reply in (support.OK, 1):
                            crew.count("renames", 1)
                        else:
                            raise AssertionError(f"{command}: {reply!r} with one name")

        def look(number):
            rng = self.rng("look", number)
            with self.server.client() as client:
                while crew.on():
                    order = rng.sample(names, len(names))
                    exist, values, size, listed = client.pipeline(
                        [["EXISTS", *order], ["MGET", *order], ["DBSIZE"], ["KEYS", "*"]])
                    found = [value for value in values if value is not None]
                    if (exist, found, size, len(listed)) != (1, [b"the one"], 1, 1):
                        raise AssertionError(f"EXISTS {exist}, MGET {values}, DBSIZE {size}, "
                                             f"KEYS {listed}")
                    crew.count("looks", 1)

        for number in range(4):
            crew.add(wander, number)
        for number in range(3):
            crew.add(look, number)
        self.report(crew.run())

    def test_all_or_nothing(self):
        """MSETNX takes all its keys or none, DEL and UNLINK remove all at once."""
        keys = self.spread(5, "n")
        crew = shards.Crew(SECONDS, taken=3, looks=10)

        def take(number):
            rng = self.rng("take", number)
            with self.server.client() as client:
                while crew.on():
                    order = rng.sample(keys, len(keys))
                    if client.call("MSETNX", *(p for k in order for p in (k, number))) == 1:
                        crew.count("taken", 1)
                        if client.call("MGET", *order) != [b"%d" % number] * len(keys):
                            raise AssertionError("somebody else's value under our keys")
                        removed = client.call(rng.choice(("DEL", "UNLINK")), *order)
                        if removed != len(keys):
                            raise AssertionError(f"{removed} of {len(keys)} were there")

        def look(number):
            rng = self.rng("look", number)
            with self.server.client() as client:
                while crew.on():
                    order = rng.sample(keys, len(keys))
                    exist, values = client.pipeline([["EXISTS", *order], ["MGET", *order]])
                    if exist not in (0, len(keys)) or len(set(values)) != 1:
                        raise AssertionError(f"EXISTS {exist}, MGET {values}")
                    crew.count("looks", 1)

        for number in range(5):
            crew.add(take, number)
        for number in range(3):
            crew.add(look, number)
        self.report(crew.run())

    def test_copies_are_whole_and_not_newer(self):
        """COPY x z: z is one that x has been, with its time to live, and never newer than x."""
        x, y, z = self.spread(3, "p")
        crew = shards.Crew(SECONDS, copies=10, looks=10)
        text = "%08d" * 40
        with self.server.client() as client:
            client.ok("SET", x, text % ((0,) * 40), "EX", 1000)
            client.ok("COPY", x, y)
            client.ok("COPY", x, z)

        def write():
            at = 0
            with self.server.client() as client:
                while crew.on():
                    at += 1
                    client.ok("SET", x, text % ((at,) * 40), "EX", 1000)

        def copy(number):
            rng = self.rng("copy", number)
            with self.server.client() as client:
                while crew.on():
                    command = rng.choice((["COPY", x, y, "REPLACE"], ["COPY", y, z, "REPLACE"],
                                          ["COPY", x, z], ["COPY", z, z + "?", "REPLACE"]))
                    reply = client.ok(*command)
                    if reply != (0 if len(command) == 3 else 1):
                        raise AssertionError(f"{command}: {reply!r}")
                    crew.count("copies", 1)

        def look():
            with self.server.client() as client:
                while crew.on():
                    values = client.ok("MGET", z, y, x)
                    numbers = [int(value[:8]) for value in values]
                    whole = all(value == value[:8] * 40 for value in values)
                    # y is copied from x, z from y: each may only be older than its source
                    if not whole or numbers != sorted(numbers):
                        raise AssertionError(f"{numbers}, whole: {whole}")
                    if not all(0 < client.ok("TTL", key) <= 1000 for key in (x, y, z)):
                        raise AssertionError("a time to live is lost")
                    crew.count("looks", 1)

        crew.add(write)
        for number in range(2):
            crew.add(copy, number)
            crew.add(look)
        self.report(crew.run())


def load_tests(loader, _tests, _pattern):
    """One class per setting, named after it."""
    suite = unittest.TestSuite()
    for workers, lending in shards.settings():
        name = f"Workers{workers}" + ("" if lending == "yes" else "NoLending")
        suite.addTests(loader.loadTestsFromTestCase(type(
            name, (Setting, unittest.TestCase), {"workers": workers, "lending": lending})))
    return suite


if __name__ == "__main__":
    unittest.main()
