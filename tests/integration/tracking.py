"""Client-side caching: CLIENT TRACKING, CACHING, GETREDIR, TRACKINGINFO.

  conversations  scripts over several connections, to the byte like Debian's redis-server: what is
                 told, to whom, and where among the replies; options and their errors
  caches         clients that keep what they read until they are told, writers of all kinds: nobody
                 keeps a value that has changed, nobody reads an older one than it was told of
  limits         tracking-table-max-keys, clients that go, INFO and CLIENT LIST
Each with 1, 2 and 4 workers, with borrowed shards and with messages only.
"""

import random
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import shards, support  # noqa: E402

SECONDS = 1.5  # of each check in each setting

# Connections: a, b, d speak RESP3; w and s RESP2. A step: who, and its commands (";" between those
# of one pipeline). Then everything that has come is read from all connections, but those named
# last, which cannot be asked for it (blocked, or without replies). {a} is a's client id.
TALKS = {
    "basic": [
        ("a", "CLIENT TRACKING on"), ("a", "GET k"), ("w", "SET k 1"), ("w", "SET k 2"),
        ("a", "GET k"), ("w", "SET k 3"), ("a", "MGET k l m"), ("w", "MSET l 1 k 2 m 3"),
        ("w", "MSET l 1 k 2"), ("a", "GET k"), ("w", "DEL k"), ("a", "EXISTS k n"),
        ("w", "RENAME l n"), ("a", "STRLEN n"), ("w", "APPEND n x"),
        ("a", "GET n ; TTL n ; TYPE n"), ("w", "EXPIRE n 100"), ("a", "GET n"),
        ("w", "PERSIST n ; PERSIST n"), ("a", "PING"), ("w", "SELECT 3 ; SET q x"),
        ("a", "GET q"), ("w", "SET q y"), ("a", "CLIENT TRACKING off"), ("a", "GET k"),
        ("w", "SET k 9"), ("a", "PING"),
    ],
    "own": [
        ("a", "CLIENT TRACKING on"),
        ("a", "GET k ; SET k 1 ; PING ; GET k ; INCR k ; GET k ; PING"), ("a", "SET k 2 ; PING"),
        ("a", "SET k 3 ; PING"), ("a", "MGET k l m n o p"),
        ("a", "DEL n ; PING ; MSET k 1 l 2 m 3 ; PING"),
        ("a", "HSET h f 1 ; HGET h f ; HDEL h f ; PING"),
        ("a", "MULTI ; GET k ; SET k 5 ; GET l ; SET l 1 ; GET k ; EXEC ; PING"),
        ("a", "SET k 6 ; PING"), ("a", "MULTI ; GET k ; GET k ; INCR k ; DEL l k ; EXEC ; PING"),
        ("a", "RPUSH r 1 ; LRANGE r 0 -1 ; LPOP r ; PING"),
        ("a", "GET k ; SETEX k 100 v ; GETEX k ; GETEX k PERSIST ; PING"),
        ("a", "GETSET k 1 ; GETDEL k"), ("a", "GET k ; SET k 1 NX GET ; PING"),
        ("a", "ZADD z 1 m ; ZRANGE z 0 -1 ; ZREM z x ; ZINCRBY z 1 m ; PING"),
        ("a", "GET c ; COPY k c ; GET k ; RENAME k c2 ; PING"),
        ("a", "SADD x 1 ; SMEMBERS x ; SMOVE x y 1 ; PING"),
        ("a", "PFADD p 1 ; PFCOUNT p ; PFADD p 2 ; PFCOUNT p ; PING"),
        ("a", "GET c ; FLUSHALL ; PING"), ("a", "GET c ; FLUSHDB ; PING"),
        ("a", "MULTI ; SET c 1 ; FLUSHDB ; SET c 2 ; EXEC ; PING"),
        ("a", "GET c ; MULTI ; FLUSHALL ; FLUSHDB ; INCR c ; EXEC ; PING"),
    ],
    "wrong": [
        ("a", "CLIENT TRACKING on"), ("w", "SET k 1"), ("a", "LLEN k ; GET k x"),
        ("w", "SET k 2"), ("a", "OBJECT ENCODING k"), ("w", "SET k 3"),
        ("a", "KEYS * ; DBSIZE"), ("w", "SET k 4"), ("a", "PING"),
        ("a", "GETBIT b 3 ; SETBIT b 3 1 ; BITCOUNT b ; BITOP NOT b2 b ; PING"),
        ("a", "SORT_RO k ; SINTERCARD 2 k b"), ("w", "DEL k b"),
    ],
    "events in order": [
        ("a", "CLIENT TRACKING on"), ("b", "CLIENT TRACKING on"), ("a", "MGET 1 2 3 4 5 6"),
        ("b", "MGET 1 2 3 4 5 6"), ("w", "SET 3 x ; SET 1 x ; SET 6 x ; SET 2 x ; DEL 4 3"),
        ("a", "MGET 1 2 3"), ("w", "MULTI ; SET 2 x ; SET 1 x ; DEL 3 2 ; EXEC"),
        ("b", "SET 5 x ; PING"), ("w", "FLUSHALL"), ("a", "PING"),
    ],
    "noloop": [
        ("a", "CLIENT TRACKING on NOLOOP"), ("a", "GET k ; SET k 1 ; PING"), ("w", "SET k 2"),
        ("a", "GET k"), ("w", "SET k 2"), ("a", "GET k ; MULTI ; SET k 1 ; GET k ; EXEC ; PING"),
        ("w", "SET k 2"), ("a", "MGET k l"), ("a", "FLUSHALL ; PING"), ("w", "MSET k 2 l 1"),
        ("a", "PING"),
    ],
    "broadcast": [
        ("a", "CLIENT TRACKING on BCAST"), ("w", "SET k 1"), ("w", "SET k 2"),
        ("w", "MULTI ; SET z 1 ; SET y 2 ; SET x 3 ; SET z 4 ; EXEC"),
        ("w", "MSET e 1 d 1 c 1 b 1 a 1 b 2"), ("a", "SET k 1"),
        # Not SETs of several shards in one pipeline: how many passes that takes, and so how many
        # messages, is the machine's affair.
        ("a", "SET l 1"), ("a", "GET k ; GET k"), ("w", "DEL nosuch ; GET k"),
        ("w", "FLUSHALL"), ("a", "PING"), ("a", "CLIENT TRACKINGINFO"),
        ("a", "CLIENT TRACKING on BCAST"), ("a", "CLIENT TRACKING on BCAST NOLOOP"),
        ("w", "SET k 2"), ("a", "SET k 2 ; PING"), ("a", "MULTI ; SET k 2 ; EXEC ; PING"),
        ("a", "CLIENT TRACKING off"), ("w", "SET k 2"), ("a", "PING"),
        ("a", "CLIENT TRACKING on"), ("a", "GET k"), ("a", "CLIENT TRACKING off"),
        ("a", "CLIENT TRACKING on BCAST PREFIX x"), ("w", "SET k 1 ; SET x1 1"), ("a", "PING"),
    ],
    "prefixes": [
        ("a", "CLIENT TRACKING on BCAST PREFIX a PREFIX b:"),
        ("b", "CLIENT TRACKING on BCAST PREFIX b:1 PREFIX c"), ("w", "SET a 1"), ("w", "SET b 1"),
        ("w", "SET b:2 1"), ("w", "SET b:1 1"), ("w", "SET c1 1"), ("w", "SET d 1"),
        ("w", "MULTI ; SET b:1 1 ; SET a1 1 ; SET b:0 0 ; SET c 1 ; SET a 2 ; EXEC"),
        ("a", "CLIENT TRACKING on BCAST PREFIX d"), ("w", "SET d 1"),
        ("a", "CLIENT TRACKINGINFO"), ("b", "CLIENT TRACKINGINFO"),
        ("a", "CLIENT TRACKING on BCAST PREFIX ab"),
        ("a", "CLIENT TRACKING on BCAST PREFIX e PREFIX b"),
        ("a", "CLIENT TRACKING on BCAST PREFIX x PREFIX xy"),
        ("a", "CLIENT TRACKING on BCAST PREFIX x PREFIX x"), ("a", "CLIENT TRACKING on BCAST"),
        ("w", "SET zz 1"), ("w", "SET a 1"), ("a", "CLIENT TRACKINGINFO"), ("w", "FLUSHDB"),
        ("a", "PING"),
    ],
    "options": [
        ("a", "CLIENT TRACKINGINFO"), ("a", "CLIENT GETREDIR"), ("a", "CLIENT CACHING yes"),
        ("a", "CLIENT CACHING foo"), ("a", "CLIENT TRACKING"), ("a", "CLIENT TRACKING foo"),
        ("a", "CLIENT TRACKING on foo"), ("a", "CLIENT TRACKING off foo"),
        ("a", "CLIENT TRACKING on REDIRECT"), ("a", "CLIENT TRACKING on REDIRECT x"),
        ("a", "CLIENT TRACKING on REDIRECT 0"), ("a", "CLIENT TRACKING on REDIRECT -1"),
        ("a", "CLIENT TRACKING on REDIRECT 99999999"),
        ("a", "CLIENT TRACKING on REDIRECT 99999999 foo"),
        ("a", "CLIENT TRACKING on REDIRECT {b} foo"),
        ("a", "CLIENT TRACKING on REDIRECT {b} REDIRECT {b}"),
        ("a", "CLIENT TRACKING on REDIRECT {b} REDIRECT 99999999"),
        ("a", "CLIENT TRACKING on foo REDIRECT 99999999"),
        ("a", "CLIENT TRACKING nope REDIRECT {b}"), ("a", "CLIENT TRACKINGINFO"),
        ("a", "CLIENT TRACKING on PREFIX x"), ("a", "CLIENT TRACKING on PREFIX"),
        ("a", "CLIENT TRACKING off PREFIX x"), ("a", "CLIENT TRACKING on BCAST OPTIN"),
        ("a", "CLIENT TRACKING on BCAST OPTOUT"), ("a", "CLIENT TRACKING on OPTIN OPTOUT"),
        ("a", "CLIENT TRACKING on OPTIN"), ("a", "CLIENT TRACKING on BCAST"),
        ("a", "CLIENT TRACKING on OPTOUT"), ("a", "CLIENT TRACKINGINFO"),
        ("a", "CLIENT CACHING no"), ("a", "CLIENT CACHING maybe"),
        ("a", "CLIENT CACHING yes ; CLIENT TRACKINGINFO ; PING ; CLIENT TRACKINGINFO"),
        ("a", "PING"), ("a", "CLIENT TRACKINGINFO"), ("a", "CLIENT CACHING"),
        ("a", "CLIENT CACHING yes x"), ("a", "CLIENT TRACKING on"),
        ("a", "CLIENT CACHING yes ; CLIENT TRACKINGINFO ; PING ; CLIENT TRACKINGINFO"),
        ("a", "CLIENT TRACKING on OPTOUT NOLOOP"), ("a", "CLIENT CACHING yes"),
        ("a", "CLIENT CACHING no ; CLIENT TRACKINGINFO ; PING ; CLIENT TRACKINGINFO"),
        ("a", "CLIENT TRACKING on REDIRECT {b}"), ("a", "CLIENT GETREDIR"),
        ("a", "CLIENT TRACKINGINFO"), ("a", "CLIENT TRACKING on"), ("a", "CLIENT GETREDIR"),
        ("a", "RESET"), ("a", "CLIENT TRACKINGINFO"), ("a", "CLIENT GETREDIR x"),
        ("w", "CLIENT TRACKING on BCAST PREFIX q PREFIX p"), ("w", "CLIENT TRACKINGINFO"),
        ("w", "SET q1 1"), ("w", "HELLO 3 SETNAME x"), ("w", "SET q1 1"),
        ("w", "CLIENT TRACKING off"), ("w", "CLIENT TRACKING off"),
    ],
    "optin": [
        ("a", "CLIENT TRACKING on OPTIN"), ("a", "GET k"), ("w", "SET k 1"),
        ("a", "CLIENT CACHING yes ; GET k ; GET l"), ("w", "SET l 1 ; SET k 1"),
        ("a", "CLIENT CACHING yes ; PING ; GET k"), ("w", "SET k 1"),
        
        ("a", "CLIENT CACHING yes ; CLIENT GETNAME ; GET k"), ("w", "SET k 1"),
        ("a", "CLIENT CACHING yes ; NOSUCH ; GET k"), ("w", "SET k 1"),
        ("a", "CLIENT CACHING yes ; MULTI ; GET k ; GET l ; EXEC ; GET m"),
        ("w", "SET k 1 ; SET l 1 ; SET m 1"),
        ("a", "MULTI ; GET k ; CLIENT CACHING yes ; GET l ; GET m ; EXEC ; GET n"),
        ("w", "SET k 1 ; SET l 1 ; SET m 1 ; SET n 1"),
        ("a", "CLIENT CACHING yes ; MULTI ; GET k ; DISCARD ; GET k"), ("w", "SET k 1"),
        ("a", "PING"), ("a", "CLIENT CACHING yes ; MGET k l m"), ("w", "MSET m 1 k 1"),
    ],
    "optout": [
        ("a", "CLIENT TRACKING on OPTOUT"), ("a", "GET k"), ("w", "SET k 1"),
        ("a", "CLIENT CACHING no ; GET k ; GET l"), ("w", "SET k 1 ; SET l 1"),
        ("a", "CLIENT CACHING no ; MULTI ; GET k ; GET l ; EXEC ; GET m"),
        ("w", "SET k 1 ; SET l 1 ; SET m 1"), ("a", "PING"),
    ],
    "redirect": [
        ("s", "SUBSCRIBE __redis__:invalidate"), ("w", "CLIENT TRACKING on REDIRECT {s}"),
        ("w", "GET k"), ("a", "SET k 1"), ("w", "GET k ; SET k 2"),
        ("a", "CLIENT TRACKING on REDIRECT {b}"), ("a", "GET k"), ("w", "GET k"),
        ("d", "SET k 3"), ("a", "MGET k l"), ("a", "SET k 1"), ("d", "FLUSHALL"),
        ("d", "SET l 1"), ("a", "GET k"), ("a", "CLIENT TRACKING on"), ("d", "SET k 1"),
        ("a", "CLIENT GETREDIR"), ("w", "CLIENT TRACKING off"),
        ("w", "CLIENT TRACKING on REDIRECT {s} BCAST PREFIX p"), ("d", "SET p1 1"),
        ("w", "SET p2 1"), ("a", "CLIENT TRACKING off"),
        ("a", "CLIENT TRACKING on BCAST REDIRECT {s}"), ("d", "SET k 1"),
        ("d", "MULTI ; SET k 1 ; SET p 1 ; EXEC"), ("s", "PING"), ("s", "UNSUBSCRIBE"),
        ("d", "SET p 1"), ("s", "PING"), ("a", "CLIENT TRACKING off"),
        ("a", "CLIENT TRACKING on REDIRECT {a}"), ("a", "GET k"), ("d", "SET k 1"),
        ("a", "GET k ; SET k 1 ; PING"),
    ],
    "blocked": [
        ("a", "CLIENT TRACKING on"), ("a", "GET k"), ("a", "BLPOP l 0", "a"),
        ("w", "SET k 1", "a"), ("w", "RPUSH l x"), ("a", "RPUSH l2 x ; LRANGE l2 0 -1"),
        ("a", "BLMOVE l1 l2 LEFT LEFT 0", "a"), ("w", "RPUSH l1 foo"), ("a", "PING"),
        ("a", "GET k"), ("w", "SET k 3"),
    ],
    "quiet": [
        ("a", "CLIENT TRACKING on"), ("a", "GET k"), ("a", "CLIENT REPLY OFF", "a"),
        ("w", "SET k 1", "a"), ("a", "GET k ; SET k 1", "a"), ("a", "CLIENT REPLY ON"),
        ("a", "GET k ; CLIENT REPLY SKIP ; PING ; SET k 2"), ("a", "PING"),
    ],
    "swap of protocol": [
        ("a", "CLIENT TRACKING on"), ("a", "GET k"), ("a", "HELLO 2"), ("w", "SET k 1"),
        ("a", "GET k"), ("a", "HELLO 3"), ("w", "SET k 1"), ("w", "CLIENT TRACKING on"),
        ("w", "GET k ; SET k 1 ; PING"), ("w", "FLUSHALL"), ("w", "GET k"), ("w", "HELLO 3"),
        ("a", "SET k 1"),
    ],
    "subscribed": [
        ("a", "CLIENT TRACKING on"), ("a", "SUBSCRIBE ch"), ("a", "GET k"),
        ("w", "SET k 1 ; PUBLISH ch m"), ("a", "GET k ; SET k 1 ; PING"), ("w", "SET k 2"),
        ("a", "RESET"), ("w", "SET k 1 ; PUBLISH ch m"), ("a", "PING"),
    ],
}


def gathered(heard):
    """With messages only a command over several shards tells of them one after another: here the
    keys that one client is told of in a row are put together, sorted."""
    found = []
    for line, name, raw in heard:
        begin, end = b"invalidate\r\n*", raw.find(b"\r\n", raw.find(b"invalidate\r\n*") + 13)
        if begin not in raw:
            found.append((line, name, raw))
            continue
        keys = set(raw[end + 2:].split(b"\r\n")[1::2])
        if found and found[-1][:2] == (line, name) and isinstance(found[-1][2], set):
            keys |= found.pop()[2]
        found.append((line, name, keys))
    return found


MODES = ["on", "on", "on NOLOOP", "on BCAST", "on BCAST NOLOOP", "on OPTIN", "on OPTOUT",
         "redirect"]


class Connection:
    """Sends a pipeline of its own choice, and takes replies and pushes as they come."""

    mode = "writer"

    def __init__(self, test, keys, rng):
        self.client = test.client(3)
        self.keys, self.rng = keys, rng
        self.waiting = []  # what is done with the next replies
        self.cache = {}
        self.told = 0

    def some(self, count=3):
        return self.rng.sample(self.keys, self.rng.randint(1, count))

    def value(self):
        return str(self.rng.randrange(1 << 40)).encode()

    def write(self):
        """Commands, and the keys they may change."""
        rng, keys = self.rng, self.some()
        pairs = [word for key in keys for word in (key, self.value())]
        return rng.choice([
            lambda: ([("SET", keys[0], self.value())], keys[:1]),
            lambda: ([("SET", keys[0], self.value())], keys[:1]),
            lambda: ([("APPEND", keys[0], "x")], keys[:1]),
            lambda: ([("MSET", *pairs)], keys),
            lambda: ([("DEL", *keys)], keys),
            lambda: ([("GETDEL", keys[0])], keys[:1]),
            lambda: ([("RENAMENX", keys[0], keys[-1])], [keys[0], keys[-1]]),
            lambda: ([("COPY", keys[0], keys[-1], "REPLACE")], [keys[0], keys[-1]]),
            lambda: ([("PEXPIRE", keys[0], 1)], keys[:1]),
            lambda: ([("MULTI",), ("MSET", *pairs), ("APPEND", keys[0], "x"), ("EXEC",)], keys),
        ])()

    def step(self):
        commands, changed = self.write()
        return commands, [None] * len(commands), changed

    def send(self):
        data = b""
        for _ in range(self.rng.choice([1, 3, 10, 40])):
            commands, reads, changed = self.step()
            data += b"".join(support.encode(*command) for command in commands)
            self.waiting += [(keys, changed) for keys in reads]
        self.client.send_bytes(data)

    def take(self, reply):
        if isinstance(reply, support.Push):
            self.told += 1
            if reply[1] is None:
                self.cache.clear()
            for key in reply[1] or []:
                self.cache.pop(key.decode(), None)
            return
        keys, changed = self.waiting.pop(0)
        if keys:
            values = reply if isinstance(reply, list) else [reply]
            self.cache.update(zip(keys, values, strict=True))
        for key in changed or []:  # with NOLOOP nobody else says so
            self.cache.pop(key, None)

    def answers(self):
        while self.waiting:
            self.take(self.client.read())

    def listen(self):
        """Pushes that have come."""
        self.client.send("ECHO", "end")
        while (reply := self.client.read()) != b"end":
            self.take(reply)


class Writer(Connection):
    def __init__(self, test, keys, rng):
        super().__init__(test, keys, rng)
        self.lending = test.lending

    def step(self):
        if self.rng.random() < 0.002:
            return [(self.rng.choice(["FLUSHALL", "FLUSHDB"]),)], [None], []
        return super().step()


class Cache(Connection):
    def __init__(self, test, mode, keys, rng):
        super().__init__(test, keys, rng)
        self.mode = mode
        self.other = None
        if mode == "redirect":
            self.other = test.client()
            self.other.call("SUBSCRIBE", "__redis__:invalidate")
            with test.server.client() as control:
                lines = control.call("CLIENT", "LIST", "TYPE", "pubsub").decode().splitlines()
            number = max(int(line.split("id=")[1].split()[0]) for line in lines)
            mode = f"on REDIRECT {number}"
        self.client.ok("CLIENT", "TRACKING", *mode.split())

    def read(self):
        keys = self.some()
        commands, reads = self.rng.choice([
            lambda: ([("GET", keys[0])], [keys[:1]]),
            lambda: ([("MGET", *keys)], [keys]),
            lambda: ([("MULTI",), ("GET", keys[0]), ("MGET", *keys), ("EXEC",)], None)])()
        if reads is None:  # a reply in a reply: only its place counts
            commands = [("MULTI",), *(("GET", key) for key in keys), ("EXEC",)]
            reads = [None] * (len(keys) + 1) + [keys]
        if self.mode == "on OPTIN":
            return [("CLIENT", "CACHING", "yes"), *commands], [None, *reads], None
        return commands, reads, None

    def step(self):
        return super().step() if self.rng.random() < 0.05 else self.read()

    def listen(self):
        super().listen()
        if self.other:  # only now: what it is told of may have come before a reply
            self.other.send("PING", "end")
            while (reply := self.other.read()) != [b"pong", b"end"]:
                self.take(support.Push([b"invalidate", reply[2]]))


class Setting:
    workers = 1
    lending = "yes"

    @classmethod
    def setUpClass(cls):
        cls.server = support.server("--threads", str(cls.workers), "--shard-lending", cls.lending,
                                    "--enable-debug-command", "yes")
        cls.addClassCleanup(cls.server.stop)
        cls.seed = shards.seed_of(cls.__name__)

    def setUp(self):
        with self.server.client() as client:
            client.ok("FLUSHALL")
            client.ok("CONFIG", "SET", "tracking-table-max-keys", "1000000")

    def client(self, resp=2):
        client = self.server.client(resp)
        self.addCleanup(client.close)
        return client

    def report(self, text):
        print(f"  {self.id().split('.', 1)[1]}: {text}", flush=True)

    # conversations

    def all_of(self, client, before=b""):
        """What has come, and comes before the answer to a question. Asked twice: what Redis sends
        at the end of its event loop is behind the first answer."""
        heard = []
        for question in (b"first", b"second"):
            client.send_bytes(before + support.encode("PING", question))
            before = b""
            while (reply := client.reply())[0] not in (question, [b"pong", question]):
                hello = isinstance(reply[0], list) and b"proto" in reply[0]
                if not hello:  # its version differs
                    heard.append(reply[1])
        return heard

    def talk(self, server, steps):
        clients = {name: server.client(3 if name in "abd" else 2) for name in "abdws"}
        ids = {name: client.call("CLIENT", "ID") for name, client in clients.items()}
        heard = []
        for who, line, *deaf in steps:
            commands = [part.format(**ids).split() for part in line.split(" ; ")]
            before = b"".join(support.encode(*words) for words in commands)
            for name in who + "abdws".replace(who, ""):
                if deaf and name in deaf[0]:
                    if name == who:
                        clients[name].send_bytes(before)
                    continue
                for raw in self.all_of(clients[name], before if name == who else b""):
                    if "GETREDIR" in line or "TRACKINGINFO" in line:
                        for other, number in ids.items():
                            raw = raw.replace(b":%d\r\n" % number, b":%s\r\n" % other.encode())
                    heard.append((line, name, raw))
        for client in clients.values():
            client.close()
        return heard

    def test_conversations(self):
        for name, steps in TALKS.items():
            with support.oracle() as oracle, self.subTest(talk=name):
                with self.server.client() as client:
                    client.ok("FLUSHALL")
                expected, got = self.talk(oracle, steps), self.talk(self.server, steps)
                if self.lending == "no":
                    expected, got = gathered(expected), gathered(got)
                for left, right in zip(expected, got):
                    self.assertEqual(left, right)
                self.assertEqual(len(expected), len(got))

    # caches

    def test_caches(self):
        """Rounds: everybody sends a pipeline at once; when all is answered, nobody holds a value
        that is not there any more."""
        rng = random.Random(f"{self.seed} {self.id()}")
        keys = [key for group in shards.keys_by_shard(self.workers, max(2, 8 // self.workers))
                for key in group]
        control = self.client()
        clients = [Cache(self, mode, keys, rng) for mode in MODES]
        clients += [Writer(self, keys, rng) for _ in range(3)]
        deadline, rounds, waits = time.monotonic() + SECONDS, 0, 0
        while time.monotonic() < deadline or rounds < 30:
            for client in rng.sample(clients, len(clients)):
                client.send()
            for client in clients:
                client.answers()
            truth = dict(zip(keys, control.call("MGET", *keys)))
            for client in clients:
                for _ in range(200):
                    client.listen()
                    stale = {key: value for key, value in client.cache.items()
                             if truth[key] != value}
                    if not stale:
                        break
                    waits += 1
                    time.sleep(0.005)
                self.assertEqual(stale, {}, (client.mode, rounds))
            rounds += 1
        kept = sum(len(client.cache) for client in clients)
        self.assertGreater(sum(client.told for client in clients), rounds)
        self.report(f"{rounds} rounds, {kept} values kept at the end, {waits} waits")

    def test_expiring(self):
        """Keys that nobody touches are told of when their time is over."""
        client, control = self.client(3), self.client()
        client.ok("CLIENT", "TRACKING", "on")
        names = [f"e{i}" for i in range(20)]
        for number, name in enumerate(names):
            control.ok("SET", name, "x", "PX", 300 + 10 * number)
        client.call("MGET", *names)
        told = set()
        while len(told) < len(names):
            push = client.read()
            self.assertEqual(push[0], b"invalidate")
            told |= set(push[1])
        self.assertEqual(told, {name.encode() for name in names})

    def test_swapdb(self):
        """Other than Redis, which says nothing: what was read is of the other database now."""
        client, control = self.client(3), self.client()
        client.ok("CLIENT", "TRACKING", "on")
        control.ok("SET", "k", "one")
        self.assertEqual(client.call("GET", "k"), b"one")
        control.ok("SWAPDB", 0, 1)
        self.assertEqual(client.read(), support.Push([b"invalidate", None]))
        self.assertIsNone(client.call("GET", "k"))
        control.ok("SWAPDB", 0, 1)
        self.assertEqual(client.read(), support.Push([b"invalidate", None]))

    # limits

    def numbers(self):
        with self.server.client() as client:
            info = client.call("INFO", "everything").decode()
        found = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
        return [int(found["tracking_" + name])
                for name in ("clients", "total_keys", "total_items", "total_prefixes")]

    def test_numbers(self):
        self.assertTrue(shards.until(lambda: self.numbers()[0] == 0))
        clients = [self.server.client(3) for _ in range(3)]
        clients[0].ok("CLIENT", "TRACKING", "on")
        clients[1].ok("CLIENT", "TRACKING", "on", "REDIRECT", clients[2].call("CLIENT", "ID"))
        clients[2].ok("CLIENT", "TRACKING", "on", "BCAST", "PREFIX", "a", "PREFIX", "b")
        clients[0].call("MGET", *"abcdef")
        clients[1].call("MGET", *"abcd")
        clients[2].call("MGET", *"abcd")
        self.assertEqual(self.numbers(), [3, 6, 10, 2])
        lines = {int(line.split("id=")[1].split()[0]): line for line in
                 clients[0].call("CLIENT", "LIST").decode().splitlines()}
        ids = [client.call("CLIENT", "ID") for client in clients]
        for number, words in enumerate((("flags=t ", "redir=0 "), ("flags=t ", f"redir={ids[2]} "),
                                        ("flags=tB ", "redir=0 "))):
            for word in words:
                self.assertIn(word, lines[ids[number]])
        self.assertEqual(clients[1].call("DEL", "a"), 0)
        self.assertEqual(clients[0].call("SET", "a", 1), support.OK)
        self.assertEqual(clients[0].read(), support.Push([b"invalidate", [b"a"]]))
        self.assertEqual(self.numbers(), [3, 5, 8, 2])
        for client in clients:
            client.close()
        self.assertTrue(shards.until(lambda: self.numbers() == [0, 0, 0, 0]))

    def test_clients_that_go(self):
        """Whatever they were doing: nothing is left of them, and nobody else is disturbed."""
        rng = random.Random(f"{self.seed} {self.id()}")
        stays = self.client(3)
        stays.ok("CLIENT", "TRACKING", "on", "BCAST", "PREFIX", "stays:")
        for number in range(60):
            client, other = self.server.client(3), self.server.client(3)
            options = rng.choice([[], ["BCAST"], ["BCAST", "PREFIX", "g", "PREFIX", "h"],
                                  ["OPTOUT"], ["REDIRECT", other.call("CLIENT", "ID")]])
            client.send("CLIENT", "TRACKING", "on", *options)
            for at in range(number % 5):
                client.send("GET", f"g{at}")
                other.send("SET", f"g{at}", "x" * rng.choice([1, 10, 100000]))
            if number % 2:
                client.read()
            for gone in rng.sample([client, other], 2):
                gone.close()
        self.assertTrue(shards.until(lambda: self.numbers()[::3] == [1, 1]))
        with self.server.client() as client:
            client.ok("SET", "stays:1", 1)
        self.assertEqual(stays.read(), support.Push([b"invalidate", [b"stays:1"]]))

    def test_broken_redirection(self):
        for mode in ([], ["BCAST"]):
            client, writer, target = self.client(3), self.client(), self.server.client(3)
            number = target.call("CLIENT", "ID")
            client.ok("CLIENT", "TRACKING", "on", "REDIRECT", number, *mode)
            client.call("GET", "k")
            target.close()
            lines = b""
            self.assertTrue(shards.until(
                lambda: f"id={number} ".encode() not in writer.call("CLIENT", "LIST")), lines)
            writer.ok("SET", "k", "v")
            self.assertEqual(client.read(), support.Push([b"tracking-redir-broken", number]))
            info = client.call("CLIENT", "TRACKINGINFO")
            self.assertIn(b"broken_redirect", info.get(b"flags"))
            self.assertIn(b"flags=tR", client.call("CLIENT", "INFO"))
            client.ok("CLIENT", "TRACKING", "on", *mode)
            self.assertNotIn(b"broken_redirect",
                             client.call("CLIENT", "TRACKINGINFO").get(b"flags"))

    def test_table_is_bounded(self):
        client, control = self.client(3), self.client()
        client.ok("CLIENT", "TRACKING", "on")
        control.ok("CONFIG", "SET", "tracking-table-max-keys", 100)
        told, cached = set(), set()
        for number in range(1000):
            client.send("GET", f"t{number}")
            while isinstance(reply := client.read(), support.Push):
                told |= set(reply[1])
            cached.add(b"t%d" % number)
        control.ok("CONFIG", "SET", "tracking-table-max-keys", 10)
        while len(told) < 990:
            told |= set(client.read()[1])
        self.assertEqual(self.numbers()[:3], [1, 10, 10])
        self.assertTrue(told < cached)
        client.ok("PING")
        for key in cached - told:
            control.ok("SET", key, "x")
            self.assertEqual(client.read(), support.Push([b"invalidate", [key]]))
        self.assertEqual(self.numbers()[1:3], [0, 0])


def load_tests(loader, _, __):
    suite = unittest.TestSuite()
    for workers, lending in shards.settings():
        name = f"Tracking{workers}{'Lent' if lending == 'yes' else 'Mail'}"
        case = type(name, (Setting, unittest.TestCase), {"workers": workers, "lending": lending})
        suite.addTests(loader.loadTestsFromTestCase(case))
    return suite


if __name__ == "__main__":
    unittest.main()
