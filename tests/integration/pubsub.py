"""Publish and subscribe.

  conversations   scripts over several connections, to the byte like Debian's redis-server, RESP2
                  and RESP3: confirmations, messages, patterns, shard channels, what a subscribed
                  RESP2 connection may do, RESET, PUBSUB, CLIENT REPLY OFF
  numbers         PUBLISH's answer is exact while subscribers come and go
  order           all subscribers of some channels see one order, each publisher's own is kept in
                  it, and an answer to what was seen is never seen before it
  causes          who has the message of "SET, PUBLISH" finds the value
  limits          a subscriber that does not read is cut and stalls nobody; CLIENT LIST, KILL
Each with 1, 2 and 4 workers, with borrowed shards and with messages only.
"""

import sys
import threading
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import shards, support  # noqa: E402

SECONDS = 1.0  # of each check in each setting

# Steps: connection, command, and whose replies are read afterwards, how many (default: one of its
# own). Connection 0 publishes.
TALK = [
    (1, "SUBSCRIBE a", "1"), (1, "SUBSCRIBE b c a", "111"), (0, "PUBLISH a hello", "01"),
    (2, "PSUBSCRIBE * [ab] c?", "222"), (0, "PUBLISH a two", "0122"), (0, "PUBLISH cc x", "022"),
    (2, "SUBSCRIBE a a", "22"), (0, "PUBLISH a both", "01222"), (0, "PUBLISH nobody x", "02"),
    (1, "UNSUBSCRIBE b", "1"), (0, "PUBLISH b gone", "022"), (1, "UNSUBSCRIBE nosuch", "1"),
    (1, "PUNSUBSCRIBE nosuch", "1"), (1, "PUNSUBSCRIBE", "1"), (1, "SUNSUBSCRIBE", "1"),
    (3, "SSUBSCRIBE s1 s2 s1", "333"), (0, "SPUBLISH s1 m", "03"), (0, "PUBLISH s1 m", "02"),
    (0, "SPUBLISH a m", "0"), (0, "PUBSUB NUMSUB", "0"), (0, "PUBSUB NUMSUB a b a", "0"),
    (0, "PUBSUB SHARDNUMSUB s1 a", "0"), (0, "PUBSUB NUMPAT", "0"),
    (0, "PUBSUB SHARDCHANNELS s1*", "0"), (0, "PUBSUB CHANNELS c*", "0"),
    (0, "PUBSUB CHANNELS nosuch*", "0"), (0, "PUBSUB CHANNELS a b", "0"), (0, "PUBSUB FOO", "0"),
    (0, "PUBSUB", "0"), (0, "PUBSUB NUMPAT x", "0"), (0, "PUBLISH a", "0"), (1, "SUBSCRIBE", "1"),
    (1, "GET k", "1"), (1, "PING", "1"), (1, "PING hi", "1"), (1, "NOSUCH x", "1"),
    (1, "PUBLISH a x", None), (1, "CLIENT ID", None), (3, "SUNSUBSCRIBE s2 s2", "33"),
    (3, "SUBSCRIBE d", "3"), (3, "PSUBSCRIBE d*", "3"), (0, "PUBLISH d 1", "0332"),
    (3, "UNSUBSCRIBE", "3"), (0, "PUBLISH d 2", "032"), (3, "PUNSUBSCRIBE d*", "3"),
    (3, "SUNSUBSCRIBE", "3"), (3, "UNSUBSCRIBE", "3"), (3, "SUNSUBSCRIBE x y", "33"),
    (3, "SET k v", "3"), (2, "RESET", "2"), (0, "PUBLISH a last", "01"), (2, "GET k", "2"),
    (1, "QUIT", "1"),
]


class Setting(shards.Setting):
    def setUp(self):
        with self.server.client() as client:
            client.ok("CONFIG", "SET", "client-output-buffer-limit", "pubsub 32mb 8mb 60")

    def client(self, resp=2):
        client = self.server.client(resp)
        self.addCleanup(client.close)
        return client

    def report(self, text):
        print(f"  {self.id().split('.', 1)[1]}: {text}", flush=True)

    # conversations

    def talk(self, server, resp):
        clients = [server.client(resp) for _ in range(4)]
        heard = []
        for at, line, readers in TALK:
            words = line.split(" ")
            if readers is None:  # where RESP3 allows what RESP2 does not
                if resp == 3:
                    continue
                readers = str(at)
            clients[at].send(*words)
            replies = [(int(r), clients[int(r)].raw()) for r in readers]
            if line.startswith("PUBLISH"):  # Redis goes through patterns in an order of its own
                replies.sort()
            heard.append((line, replies))
        for client in clients:
            client.close()
        return heard

    def test_conversation(self):
        with support.oracle() as oracle:
            for resp in (2, 3):
                expected, got = self.talk(oracle, resp), self.talk(self.server, resp)
                for left, right in zip(expected, got):
                    self.assertEqual(left, right)

    def test_all_at_once(self):
        """UNSUBSCRIBE without names: every channel, though in an order of its own."""
        names = {b"ch%d" % i for i in range(300)}
        for resp in (2, 3):
            with self.server.client(resp) as client, self.server.client() as other:
                client.send("SUBSCRIBE", *names)
                self.assertEqual([client.read()[2] for _ in names],
                                 list(range(1, len(names) + 1)))
                channels = other.call("PUBSUB", "CHANNELS", "ch*")
                self.assertEqual(set(channels), names)
                self.assertEqual(len(channels), len(names))
                numbers = other.call("PUBSUB", "NUMSUB", *names)
                self.assertEqual(numbers[1::2], [1] * len(names))
                client.send("UNSUBSCRIBE")
                left = [client.read() for _ in names]
                self.assertEqual([reply[2] for reply in left], list(range(len(names)))[::-1])
                self.assertEqual({reply[1] for reply in left}, names)
                self.assertEqual(other.call("PUBSUB", "CHANNELS", "ch*"), [])

    def test_events_channels(self):
        """Channels that every shard knows are listed and counted once."""
        with self.client() as client, self.client() as other:
            names = [b"__keyspace@0__:k", b"__keyevent@0__:set", b"__keyevent@3__:del"]
            client.send("SUBSCRIBE", *names)
            for _ in names:
                client.read()
            self.assertEqual(sorted(other.call("PUBSUB", "CHANNELS")), sorted(names))
            self.assertEqual(other.call("PUBSUB", "NUMSUB", names[0], "x"), [names[0], 1, b"x", 0])
            for name in names:
                self.assertEqual(other.call("PUBLISH", name, "m"), 1)
                self.assertEqual(client.read(), [b"message", name, b"m"])
            client.send("PSUBSCRIBE", "a*", "b*")
            client.read(), client.read()
            self.assertEqual(other.call("PUBSUB", "NUMPAT"), 2)
            info = other.call("INFO").decode()
            for line in ("pubsub_channels:3", "pubsub_patterns:2", "pubsubshard_channels:0",
                         "pubsub_clients:1"):
                self.assertIn(line + "\r\n", info)

    def test_to_oneself(self):
        """In RESP3: the message follows the reply, in each pipeline."""
        client = self.client(3)
        client.call("SUBSCRIBE", "me")
        self.assertEqual(client.pipeline([("PUBLISH", "me", "x"), ("PING",)]).count(1), 1)
        rest = client.read()
        self.assertIn(support.Push([b"message", b"me", b"x"]), [rest])

    def test_reply_off(self):
        client, other = self.client(3), self.client()
        client.send("CLIENT", "REPLY", "OFF")
        client.send("SUBSCRIBE", "quiet")
        self.assertEqual(client.read(), [b"subscribe", b"quiet", 1])
        self.assertEqual(other.call("PUBLISH", "quiet", "m"), 1)
        self.assertEqual(client.read(), [b"message", b"quiet", b"m"])
        client.send("PING")
        client.send("UNSUBSCRIBE")
        self.assertEqual(client.read(), [b"unsubscribe", b"quiet", 0])
        client.send("CLIENT", "REPLY", "ON")
        self.assertEqual(client.read(), support.OK)

    def test_large_messages(self):
        names = [f"big{i}" for i in range(8)]
        subscribers = [self.client() for _ in range(3)]
        for client in subscribers:
            client.send("SUBSCRIBE", *names)
            for _ in names:
                client.read()
        other = self.client()
        for size in (0, 1, 100, 100_000, 3_000_000):
            for name in names:
                self.assertEqual(other.call("PUBLISH", name, b"x" * size), 3)
                for client in subscribers:
                    self.assertEqual(client.read(), [b"message", name.encode(), b"x" * size])

    # numbers

    def test_numbers_are_exact(self):
        """The sum of PUBLISH's answers is the number of messages that arrived."""
        names = [f"n{i}" for i in range(6)]
        crew = shards.Crew(SECONDS, published=200)
        publishing = [3]

        def listen(number):
            rng, got = shards.rng(self.seed, self.id(), number), 0
            with self.server.client(rng.choice([2, 3])) as client:
                while publishing[0]:
                    what = rng.sample(names, rng.randint(1, 4))
                    verb = "SUBSCRIBE"
                    if rng.random() < 0.3:
                        what, verb = ["n*", "n[0-3]"], "PSUBSCRIBE"
                    client.send(verb, *what)
                    client.send(verb.replace("SUB", "UNSUB"), *what)
                    left = len(what)
                    while left:
                        reply = client.read()
                        left -= b"unsubscribe" in reply[0]
                        got += reply[0].endswith(b"message")
                crew.count("received", got)

        def publish(number):
            rng = shards.rng(self.seed, self.id(), "p", number)
            with self.server.client() as client:
                while crew.on():
                    crew.count("published", sum(client.pipeline(
                        [("PUBLISH", rng.choice(names), "m")
                         for _ in range(rng.choice([1, 5, 50]))])))
            publishing[0] -= 1

        for number in range(6):
            crew.add(listen, number)
        for number in range(3):
            crew.add(publish, number)
        totals = crew.run()
        self.assertEqual(totals["published"], totals["received"])
        self.report(totals)

    # order

    def test_one_order(self):
        """Every subscriber sees the messages of all channels in one order, and those of a publisher
        in the order it sent them."""
        names = [f"o{i}" for i in range(8)]
        subscribers = [self.client(2 + i % 2) for i in range(5)]
        for number, client in enumerate(subscribers):
            verb, what = ("PSUBSCRIBE", ["o*"]) if number == 4 else ("SUBSCRIBE", names)
            client.send(verb, *what)
            for _ in what:
                client.read()
        crew = shards.Crew(SECONDS, published=200)

        def publish(number):
            rng, sent = shards.rng(self.seed, self.id(), number), 0
            with self.server.client() as client:
                while crew.on():
                    count = rng.choice([1, 2, 20])
                    counts = client.pipeline([("PUBLISH", rng.choice(names), f"{number}:{sent + i}")
                                              for i in range(count)])
                    sent += count
                    if counts != [5] * count:
                        raise AssertionError(counts)
                    crew.count("published", count)

        seen = [[] for _ in subscribers]

        def listen(number):
            while True:
                message = subscribers[number].read()[-2:]
                if message[1] == b"end":
                    return
                seen[number].append(tuple(message))

        listeners = [threading.Thread(target=listen, args=(i,)) for i in range(5)]
        for thread in listeners:
            thread.start()
        for number in range(4):
            crew.add(publish, number)
        totals = crew.run()
        with self.server.client() as client:
            client.ok("PUBLISH", names[0], "end")
        for thread in listeners:
            thread.join(support.REPLY_SECONDS)
        self.assertEqual(len(seen[0]), totals["published"])
        for other in seen[1:]:
            self.assertEqual(other, seen[0])
        last = {}
        for _, text in seen[0]:
            publisher, number = map(int, text.split(b":"))
            self.assertEqual(number, last.get(publisher, -1) + 1)
            last[publisher] = number
        self.report(totals)

    def test_answers_come_after_questions(self):
        """Who listens to both channels never sees an answer before its question."""
        asked = [f"q{i}" for i in range(4)]
        crew = shards.Crew(SECONDS, answered=100)

        def answer(name):
            with self.server.client() as client, self.server.client() as publisher:
                client.call("SUBSCRIBE", name)
                while True:
                    text = client.read()[2]
                    if text == b"end":
                        return
                    publisher.ok("PUBLISH", b"a" + name.encode(), text)

        def ask(number, name):
            sent = 0
            with self.server.client() as client:
                while crew.on():
                    client.ok("PUBLISH", name, str(sent))
                    sent += 1
                client.ok("PUBLISH", name, "end")

        def watch(ready):
            asked_last = {}
            with self.server.client(3) as client:
                client.send("PSUBSCRIBE", "q*", "aq*")
                client.read(), client.read()
                ready.release()
                while len([n for n in asked_last.values() if n == b"end"]) < len(asked):
                    _, _, channel, text = client.read()
                    if channel.startswith(b"q"):
                        asked_last[channel] = text
                    elif asked_last[channel[1:]] != b"end":
                        if int(text) > int(asked_last[channel[1:]]):
                            raise AssertionError((channel, text, asked_last))
                        crew.count("answered", 1)

        ready = threading.Semaphore(0)
        for _ in range(2):
            crew.add(watch, ready)
        for name in asked:
            crew.add(answer, name)
        for thread in crew.threads:
            thread.start()
        ready.acquire(), ready.acquire()
        with self.server.client() as client:
            while 0 in client.call("PUBSUB", "NUMSUB", *asked)[1::2]:
                time.sleep(0.001)
        started = len(crew.threads)
        for number, name in enumerate(asked):
            crew.add(ask, number, name)
        for thread in crew.threads[started:]:
            thread.start()
        for thread in crew.threads:
            thread.join(support.REPLY_SECONDS)
            self.assertFalse(thread.is_alive())
        if crew.failure:
            raise crew.failure
        self.report(crew.totals)

    def test_causes(self):
        """SET and PUBLISH in one pipeline: who has the message finds the value."""
        crew = shards.Crew(SECONDS, found=50)
        ready = threading.Semaphore(0)

        def write(number):
            sent = 0
            with self.server.client() as client:
                while crew.on():
                    sent += 1
                    client.pipeline([("SET", f"v{number}:{i}", sent) for i in range(4)] +
                                    [("PUBLISH", f"c{number}", sent)])
                client.ok("PUBLISH", f"c{number}", "end")

        def listen(number):
            with self.server.client() as client, self.server.client() as reader:
                client.call("SUBSCRIBE", f"c{number}")
                ready.release()
                while (text := client.read()[2]) != b"end":
                    values = reader.call("MGET", *(f"v{number}:{i}" for i in range(4)))
                    if any(int(value) < int(text) for value in values):
                        raise AssertionError((text, values))
                    crew.count("found", 1)

        for number in range(3):
            crew.add(listen, number)
        for thread in crew.threads:
            thread.start()
        for _ in range(3):
            ready.acquire()
        for number in range(3):
            crew.add(write, number)
        for thread in crew.threads[3:]:
            thread.start()
        for thread in crew.threads:
            thread.join(support.REPLY_SECONDS)
        if crew.failure:
            raise crew.failure
        self.report(crew.totals)

    # limits

    def test_deaf_subscriber(self):
        """It is cut at its limit, and publisher and others do not wait for it."""
        control = self.client()
        control.ok("CONFIG", "SET", "client-output-buffer-limit", "pubsub 2mb 0 0")
        deaf, other, publisher = self.client(), self.client(), self.client()
        deaf.call("SUBSCRIBE", "loud")
        other.call("SUBSCRIBE", "loud")
        text, counts = b"x" * 100_000, []
        for _ in range(400):
            counts.append(publisher.call("PUBLISH", "loud", text))
            self.assertEqual(other.read()[2], text)
            if counts[-1] == 1:
                break
        self.assertEqual(counts[0], 2)
        self.assertEqual(counts[-1], 1)
        self.assertTrue(deaf.closed_by_server())
        self.assertTrue(shards.until(
            lambda: control.call("PUBSUB", "NUMSUB", "loud") == [b"loud", 1]))

    def test_clients_are_told_apart(self):
        control, client = self.client(), self.client(3)
        client.call("CLIENT", "SETNAME", "ears")
        client.send("SUBSCRIBE", "x", "y")
        client.send("PSUBSCRIBE", "p*")
        client.send("SSUBSCRIBE", "s")
        for _ in range(4):
            client.read()
        lines = control.call("CLIENT", "LIST", "TYPE", "pubsub").decode().splitlines()
        self.assertEqual(len(lines), 1)
        self.assertIn("name=ears ", lines[0])
        self.assertIn("flags=P ", lines[0])
        self.assertIn("sub=2 psub=1 ssub=1 ", lines[0])
        self.assertNotIn("name=ears", control.call("CLIENT", "LIST", "TYPE", "normal").decode())
        self.assertEqual(control.call("CLIENT", "KILL", "TYPE", "pubsub"), 1)
        self.assertTrue(client.closed_by_server())
        self.assertTrue(shards.until(lambda: control.call("PUBLISH", "x", "m") == 0))
        self.assertEqual(control.call("PUBSUB", "NUMPAT"), 0)

    def test_clients_that_go(self):
        """Subscriptions go with their connection, whatever it was doing."""
        control = self.client()
        for number in range(60):
            client = self.server.client()
            names = [f"g{i}" for i in range(number % 7 + 1)]
            client.send("SUBSCRIBE", *names)
            if number % 3:
                client.send("PSUBSCRIBE", "g*", "h*")
            if number % 2:
                client.read()
            client.close()
        self.assertTrue(shards.until(lambda: control.call("PUBSUB", "CHANNELS", "g*") == []))
        self.assertTrue(shards.until(lambda: control.call("PUBSUB", "NUMPAT") == 0))
        self.assertEqual(control.call("PUBLISH", "g0", "m"), 0)


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
