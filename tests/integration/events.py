"""Keyspace notifications over many cores.

  order      many writers of one key; the listener sees the events in the order of the values that
             the writes gave (INCR and INCRBYFLOAT tell two kinds of writes apart)
  chains     SET x, RENAME x y, DEL y …, over shards: each key's events alternate as they must
  expiry     set, expire, expired, by reads, by the sweep, whoever holds the shard
  pipelines  events of a pipeline over all shards come in the order of its commands
  settings   CONFIG SET notify-keyspace-events holds everywhere once it is answered
Each with 1, 2 and 4 workers, with borrowed shards and with messages only. That the events are those
of Redis, tests/compat/events.py shows.
"""

import sys
import threading
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import shards, support  # noqa: E402

SECONDS = 0.8  # of each check in each setting


class Setting:
    workers = 1
    lending = "yes"

    @classmethod
    def setUpClass(cls):
        cls.server = support.server("--threads", str(cls.workers), "--shard-lending", cls.lending,
                                    "--notify-keyspace-events", "KEA")
        cls.addClassCleanup(cls.server.stop)
        cls.seed = shards.seed_of(cls.__name__)

    def setUp(self):
        with self.server.client() as client:
            client.ok("CONFIG", "SET", "notify-keyspace-events", "KEA")
            client.ok("FLUSHALL")

    def report(self, text):
        print(f"  {self.id().split('.', 1)[1]}: {text}", flush=True)

    def listener(self, *patterns):
        client = self.server.client(3)
        self.addCleanup(client.close)
        client.send("PSUBSCRIBE", *patterns, "the end")
        for _ in range(len(patterns) + 1):
            client.read()
        return client

    def hear(self, client):
        """[(channel, text)] until somebody publishes "the end"."""
        found = []
        while (push := client.read())[2] != b"the end":
            found.append((push[2], push[3]))
        return found

    def over(self):
        with self.server.client() as client:
            client.ok("PUBLISH", "the end", "")

    # order

    def test_order_of_values(self):
        keys = [key for some in shards.keys_by_shard(4, 1, "n") for key in some]
        listeners = [self.listener("__keyspace@0__:n*"), self.listener("__keyspace@0__:n*")]
        heard = [None, None]
        ears = [threading.Thread(target=lambda i=i: heard.__setitem__(
            i, self.hear(listeners[i]))) for i in range(2)]
        for thread in ears:
            thread.start()
        crew = shards.Crew(SECONDS, writes=500)
        order = {key: {} for key in keys}

        def write(number):
            rng = shards.rng(self.seed, self.id(), number)
            with self.server.client() as client:
                while crew.on():
                    commands = []
                    for _ in range(rng.choice([1, 3, 40])):
                        key = rng.choice(keys)
                        commands.append(("INCR", key) if rng.random() < 0.5 else
                                        ("INCRBYFLOAT", key, 1))
                    for command, value in zip(commands, client.pipeline(commands)):
                        order[command[1]][int(value)] = command[0]
                    crew.count("writes", len(commands))

        for number in range(6):
            crew.add(write, number)
        totals = crew.run()
        self.over()
        for thread in ears:
            thread.join(support.REPLY_SECONDS)
        self.assertEqual(heard[0], heard[1])
        names = {"INCR": b"incrby", "INCRBYFLOAT": b"incrbyfloat"}
        for key in keys:
            mine = [text for channel, text in heard[0] if channel.endswith(key.encode())]
            wanted = [names[order[key][i + 1]] for i in range(len(order[key]))]
            self.assertEqual(mine, wanted)
        self.report(totals)

    def test_chains(self):
        listener = self.listener("__keyspace@0__:chain*")
        heard = []
        ears = threading.Thread(target=lambda: heard.extend(self.hear(listener)))
        ears.start()
        crew = shards.Crew(SECONDS, rounds=30)
        pairs = [(f"chain:a{i}", f"chain:b{i}") for i in range(4)]

        def write(number):
            x, y = pairs[number]
            with self.server.client() as client:
                while crew.on():
                    replies = client.pipeline([("SET", x, number), ("RENAME", x, y), ("DEL", y)])
                    if replies != [support.OK, support.OK, 1]:
                        raise AssertionError(replies)
                    crew.count("rounds", 1)

        def disturb(number):
            rng = shards.rng(self.seed, self.id(), number)
            with self.server.client() as client:
                while crew.on():
                    client.ok("MGET", *rng.sample([key for pair in pairs for key in pair], 4))

        for number in range(4):
            crew.add(write, number)
        for number in range(2):
            crew.add(disturb, number)
        totals = crew.run()
        self.over()
        ears.join(support.REPLY_SECONDS)
        count = 0
        for x, y in pairs:
            mine = [(channel[-2:-1], text) for channel, text in heard
                    if channel[15:].decode() in (x, y)]
            self.assertEqual(mine, [(b"a", b"set"), (b"a", b"rename_from"), (b"b", b"rename_to"),
                                    (b"b", b"del")] * (len(mine) // 4))
            count += len(mine)
        self.assertEqual(count, totals["rounds"] * 4)
        self.report(totals)

    def test_expiry(self):
        listener = self.listener("__keyspace@0__:ttl*")
        with self.server.client() as client, self.server.client() as other:
            for number in range(30):
                client.pipeline([("SET", f"ttl{i}", number, "PX", 1 + (i + number) % 3)
                                 for i in range(8)])
                for i in range(8):
                    self.assertTrue(shards.until(
                        lambda: (other if i % 2 else client).call("EXISTS", f"ttl{i}") == 0))
        self.over()
        heard = self.hear(listener)
        for i in range(8):
            mine = [text for channel, text in heard if channel.endswith(b":ttl%d" % i)]
            self.assertEqual(mine, [b"set", b"expire", b"expired"] * 30)

    def test_pipelines(self):
        listener = self.listener("__keyevent@0__:*")
        keys = [key for some in shards.keys_by_shard(8, 2) for key in some]
        rng = shards.rng(self.seed, self.id())
        stop = threading.Event()

        def disturb():
            with self.server.client() as client:
                while not stop.is_set():
                    client.pipeline([("GET", key) for key in keys])

        others = [threading.Thread(target=disturb) for _ in range(2)]
        for thread in others:
            thread.start()
        with self.server.client() as client:
            sent = []
            for number in range(100):
                some = [rng.choice(keys) for _ in range(rng.choice([2, 10, 50]))]
                client.pipeline([("SET", key, number) for key in some])
                sent += some
        stop.set()
        for thread in others:
            thread.join()
        self.over()
        self.assertEqual([text.decode() for _, text in self.hear(listener)], sent)

    # settings

    def test_settings(self):
        listener = self.listener("__key*__:*")
        keys = [key for some in shards.keys_by_shard(8, 1) for key in some]
        with self.server.client() as client, self.server.client() as other:
            for classes, wanted in (("", 0), ("K$", 1), ("E$", 1), ("KE$", 2), ("KEl", 0),
                                    ("A", 0), ("KEA", 2), ("", 0)):
                client.ok("CONFIG", "SET", "notify-keyspace-events", classes)
                for key in keys:
                    other.ok("SET", key, 1)
                self.over()
                heard = self.hear(listener)
                self.assertEqual(len(heard), wanted * len(keys), classes)
                if wanted == 2:
                    self.assertEqual(heard[:2], [(b"__keyspace@0__:" + keys[0].encode(), b"set"),
                                                 (b"__keyevent@0__:set", keys[0].encode())])

    def test_databases(self):
        """The database is part of the channel, also of what a command does to another one."""
        listener = self.listener("__keyspace@*")
        with self.server.client() as client:
            client.ok("SELECT", 3)
            for command in (("SET", "a", 1), ("MOVE", "a", 5), ("SET", "a", 2),
                            ("COPY", "a", "b", "DB", 7), ("RENAME", "a", "c")):
                client.ok(*command)
        self.over()
        self.assertEqual([(c[11:].decode(), t.decode()) for c, t in self.hear(listener)], [
            ("3__:a", "set"), ("3__:a", "move_from"), ("5__:a", "move_to"), ("3__:a", "set"),
            ("7__:b", "copy_to"), ("3__:a", "rename_from"), ("3__:c", "rename_to")])


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
