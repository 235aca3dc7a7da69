"""Looking at the whole keyspace: SCAN's guarantee over all shards, KEYS, DBSIZE, RANDOMKEY; and
keys that leave it by themselves when their time is over.

The guarantee: a key that is there from the first call of a scan to its last is returned, however
much the tables grow and shrink meanwhile. A key that never was there is never returned.
"""

import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import shards, support  # noqa: E402

KEYS = 50000
STABLE = 4000
CHUNK = 5000


def fill(client, names, value="v", *options):
    """SET of many names, in pipelines."""
    names = list(names)
    for at in range(0, len(names), CHUNK):
        part = names[at:at + CHUNK]
        client.send_bytes(b"".join(support.encode("SET", name, value, *options) for name in part))
        if set(shards.lines(client, len(part))) != {b"+OK"}:
            raise AssertionError("SET failed")


def remove(client, names):
    names = list(names)
    for at in range(0, len(names), CHUNK):
        client.ok("UNLINK", *names[at:at + CHUNK])


class Looking(support.ServerTest):
    options = ["--enable-debug-command", "yes"]

    def setUp(self):
        super().setUp()
        self.rng = shards.rng(shards.seed_of(self.id().split(".", 1)[1]), self.id())

    def scan(self, clients, *options, cursor=b"0", turns=20000):
        """One whole scan, each step by another of the clients; (keys in order of return, steps)."""
        found = []
        for step in range(turns):
            client = clients[step % len(clients)]
            cursor, keys = client.ok("SCAN", cursor, *options)
            found += keys
            self.assertLess(int(cursor), 2 ** 53, "clients read cursors as doubles")
            if cursor == b"0":
                return found, step + 1
        self.fail("the scan does not end")

    def test_a_quiet_keyspace(self):
        """Each key once or more, none twice while nothing changes, by cursors of any connection."""
        names = [b"key:%d" % i for i in range(KEYS)]
        clients = [self.client() for _ in range(4)]
        fill(clients[0], names)
        for options in ((), ("COUNT", 1000), ("COUNT", 7777), ("COUNT", 1000000)):
            found, steps = self.scan(clients, *options)
            self.assertEqual(len(found), KEYS, options)
            self.assertEqual(set(found), set(names), options)
            if options:
                self.assertLess(steps, 40 + 12 * KEYS // options[1], options)
        self.assertEqual(sorted(clients[1].ok("KEYS", "*")), sorted(names))
        self.assertEqual(clients[2].ok("DBSIZE"), KEYS)

    def test_growing_and_shrinking(self):
        """50,000 keys come and go, several times over, while scans run: the 4,000 that stay are
        always seen."""
        stable = [b"stable:%d" % i for i in range(STABLE)]
        waves = [[b"wave:%d:%d" % (n, i) for i in range(KEYS // 2)] for n in range(2)]
        client = self.client()
        fill(client, stable)
        crew = shards.Crew(3, scans=2, waves=1)
        known = set(stable) | {name for wave in waves for name in wave}

        def churn(number):
            with self.server.client() as c:
                while crew.on():
                    for at in range(0, len(waves[number]), CHUNK):
                        if crew.on():
                            fill(c, waves[number][at:at + CHUNK])
                    for at in range(0, len(waves[number]), CHUNK):
                        if crew.on():
                            remove(c, waves[number][at:at + CHUNK])
                    crew.count("waves", 1)

        def look(number):
            rng = shards.rng(self.id(), number)
            clients = [self.server.client() for _ in range(2)]
            while crew.on():
                found, steps = self.scan(clients, "COUNT", rng.choice((10, 100, 500, 3000)))
                missed = set(stable) - set(found)
                if missed:
                    raise AssertionError(f"{len(missed)} keys that were there are missed")
                if set(found) - known:
                    raise AssertionError("keys that never were")
                crew.count("scans", 1)
                crew.count("steps", steps)
            for c in clients:
                c.close()

        for number in range(2):
            crew.add(churn, number)
            crew.add(look, number)
        print(f"  {crew.run()}", flush=True)

    def test_emptied_while_scanning(self):
        """A cursor given before FLUSHALL leads to the end, not into the void."""
        client = self.client()
        for _ in range(5):
            fill(client, (b"k%d" % i for i in range(3000)))
            cursor, _ = client.ok("SCAN", 0, "COUNT", self.rng.randrange(1, 2000))
            client.ok("FLUSHALL")
            self.assertEqual(self.scan([client], cursor=cursor)[0], [])
            fill(client, [b"new"])
            self.assertLessEqual(set(self.scan([client], cursor=cursor)[0]), {b"new"})

    def test_filters(self):
        client = self.client()
        names = [b"a:%d" % i for i in range(300)] + [b"b:%d" % i for i in range(700)]
        fill(client, names)
        found, _ = self.scan([client], "MATCH", "a:*")
        self.assertEqual(sorted(found), sorted(names[:300]))
        found, _ = self.scan([client], "MATCH", "b:[0-4]", "COUNT", 50)
        self.assertEqual(sorted(found), [b"b:%d" % i for i in range(5)])
        self.assertEqual(self.scan([client], "MATCH", "b:123")[0], [b"b:123"])
        self.assertEqual(self.scan([client], "MATCH", "{tag}*")[0], [])
        self.assertEqual(len(self.scan([client], "TYPE", "string", "COUNT", 100)[0]), 1000)
        self.assertEqual(len(self.scan([client], "TYPE", "STRING", "MATCH", "a:*")[0]), 300)
        for kind in ("list", "hash", "nosuch"):
            self.assertEqual(self.scan([client], "TYPE", kind)[0], [])
        for wrong in (("SCAN",), ("SCAN", "x"), ("SCAN", "0", "COUNT"), ("SCAN", "0", "COUNT", "0"),
                      ("SCAN", "0", "COUNT", "x"), ("SCAN", "0", "NOSUCH", "1"), ("SCAN", "-1"),
                      ("SCAN", "0", "COUNT", "-5")):
            self.assertIsInstance(client.call(*wrong), support.Error, wrong)

    def test_foreign_cursors(self):
        """Any number is a cursor: no crash, and an end."""
        client = self.client()
        fill(client, (b"k%d" % i for i in range(2000)))
        names = set(client.ok("KEYS", "*"))
        cursors = [2 ** 53 - 1, 2 ** 63, 2 ** 64 - 1, 2 ** 48, 12345]
        for cursor in cursors + [self.rng.getrandbits(64) for _ in range(50)]:
            found, _ = self.scan([client], "COUNT", 500, cursor=cursor)
            self.assertLessEqual(set(found), names)

    def test_each_database(self):
        clients = [self.client() for _ in range(3)]
        for db, client in enumerate(clients):
            client.ok("SELECT", db)
            fill(client, (b"db%d:%d" % (db, i) for i in range(500 * (db + 1))))
        for db, client in enumerate(clients):
            found, _ = self.scan([client])
            names = [b"db%d:%d" % (db, i) for i in range(500 * (db + 1))]
            self.assertEqual(sorted(found), sorted(names))
            self.assertEqual(client.ok("DBSIZE"), 500 * (db + 1))

    def test_keys_pattern(self):
        client = self.client()
        names = [b"k%d" % i for i in range(2000)] + [b"x\x00y", b"\xff", b"a*b", b""]
        fill(client, names)
        for pattern, number in (("*", 2004), ("k1??", 100), ("k[12]5", 2), ("\\*", 0), ("a\\*b", 1),
                                ("?", 1), ("", 1), (b"x\x00*", 1), ("k^", 0), ("k[^1]0", 8)):
            found = client.ok("KEYS", pattern)
            self.assertEqual(len(found), len(set(found)))
            self.assertEqual(len(found), number, pattern)

    def test_random_key(self):
        """nil for an empty keyspace; else every shard, and in the end every key, is drawn."""
        client = self.client()
        self.assertIsNone(client.ok("RANDOMKEY"))
        names = {key.encode() for some in shards.keys_by_shard(8, 3) for key in some}
        fill(client, names)
        found = set()
        for _ in range(60):
            found |= set(client.pipeline([("RANDOMKEY",)] * 50))
            if found == names:
                break
        self.assertEqual(found, names)
        keep = sorted(names)[0]
        remove(client, names - {keep})
        self.assertEqual(set(client.pipeline([("RANDOMKEY",)] * 50)), {keep})
        remove(client, [keep])
        self.assertIsNone(client.ok("RANDOMKEY"))

    def test_expired_keys_are_not_returned(self):
        client = self.client()
        client.ok("DEBUG", "SET-ACTIVE-EXPIRE", 0)
        try:
            fill(client, (b"stay:%d" % i for i in range(1000)))
            fill(client, (b"gone:%d" % i for i in range(1000)), "v", "PX", 1)
            time.sleep(0.01)
            self.assertTrue(all(key.startswith(b"stay") for key in client.ok("KEYS", "*")))
            found, _ = self.scan([client])
            self.assertEqual(len(found), 1000)
            self.assertTrue(all(key.startswith(b"stay") for key in found))
            for key in client.pipeline([("RANDOMKEY",)] * 50):
                self.assertTrue(key.startswith(b"stay"), key)
        finally:
            client.ok("DEBUG", "SET-ACTIVE-EXPIRE", 1)


class Expiry(support.ServerTest):
    def test_nobody_looks(self):
        """Keys with a time to live leave DBSIZE without being touched; the others stay."""
        client = self.client()
        client.ok("CONFIG", "RESETSTAT")
        fill(client, (b"stay:%d" % i for i in range(2000)))
        fill(client, (b"later:%d" % i for i in range(2000)), "v", "EX", 1000)
        for at in range(4):
            fill(client, (b"gone:%d:%d" % (at, i) for i in range(1000)), "v", "PX", 50 + 60 * at)
        self.assertTrue(shards.until(lambda: client.ok("DBSIZE") == 4000, 10, 0.02),
                        f"{client.ok('DBSIZE')} keys, 4000 should be left")
        info = self.redis().info()
        self.assertEqual(info["expired_keys"], 4000)
        self.assertEqual(info["db0"]["expires"], 2000)

    def test_a_sleeping_server_wakes(self):
        """Also when nothing has happened for long, and nobody looks meanwhile."""
        client = self.client()
        keys = [key for some in shards.keys_by_shard(4, 1) for key in some]
        for key in keys:
            client.ok("SET", key, "v", "PX", 4200)
        watcher = self.redis()
        time.sleep(4)
        gone = shards.until(lambda: "db0" not in watcher.info("keyspace"), 3, 0.05)
        self.assertTrue(gone, watcher.info("keyspace"))

    def test_precision(self):
        """A key is there until its millisecond and not after it, on every shard."""
        client = self.client()
        keys = [key for some in shards.keys_by_shard(4, 3) for key in some]
        for number, key in enumerate(keys):
            client.ok("SET", key, "v")
            self.assertEqual(client.ok("PEXPIRE", key, 150 + 20 * number), 1)
        for key in keys:
            ends = client.ok("PEXPIRETIME", key) / 1000
            while True:
                before = time.time()
                there = client.ok("GET", key) is not None
                after = time.time()
                if there:
                    self.assertLess(before, ends + 0.002, f"{key} lives on")
                else:
                    self.assertGreater(after, ends - 0.002, f"{key} died early")
                    break
                time.sleep(0.0005)
        client.ok("SET", "k", "v", "PX", 100000)
        self.assertTrue(99000 < client.ok("PTTL", "k") <= 100000)
        self.assertTrue(99 <= client.ok("TTL", "k") <= 100)
        at = int(time.time() * 1000) + 5000
        client.ok("PEXPIREAT", "k", at)
        self.assertEqual(client.ok("PEXPIRETIME", "k"), at)
        self.assertEqual(client.ok("EXPIRETIME", "k"), (at + 500) // 1000)
        self.assertEqual(client.ok("PEXPIRE", "k", -1), 1)
        self.assertEqual(client.ok("EXISTS", "k"), 0)

    def test_an_expiry_storm(self):
        """20,000 keys end in the same second; PING does not notice."""
        filler, ends = self.client(), int(time.time() * 1000) + 2500
        with shards.Others(self.server):
            fill(filler, (b"storm:%d" % i for i in range(20000)), "x" * 100, "PXAT", ends)
            count = filler.ok("DBSIZE")
            self.assertTrue(count == 20000 or time.time() * 1000 > ends, count)
            gone = shards.until(lambda: filler.ok("DBSIZE") == 0, 10, 0.05)
        self.assertTrue(gone, f"{filler.ok('DBSIZE')} keys are left")

    def test_times_under_load(self):
        """SETs with a time to live from many connections: all keys end, none lives on."""
        crew = shards.Crew(1)

        def work(number):
            rng = shards.rng(self.id(), number)
            with self.server.client() as client:
                count = 0
                while crew.on():
                    names = [b"t%d:%d" % (number, count + i) for i in range(200)]
                    count += 200
                    client.send_bytes(b"".join(
                        support.encode("SET", name, "v", "PX", rng.randrange(1, 1000))
                        for name in names))
                    if set(shards.lines(client, 200)) != {b"+OK"}:
                        raise AssertionError("SET failed")
                crew.count("keys", count)

        for number in range(6):
            crew.add(work, number)
        print(f"  {crew.run()}", flush=True)
        client = self.client()
        self.assertTrue(shards.until(lambda: client.ok("DBSIZE") == 0, 10, 0.05),
                        f"{client.ok('DBSIZE')} keys are left")
        self.assertEqual(client.ok("KEYS", "*"), [])


if __name__ == "__main__":
    unittest.main()
