"""The connection's own commands, on every worker: HELLO, AUTH, CLIENT, SELECT, RESET, SWAPDB …

Where Debian's redis-server 7.0 knows the same, the replies must be the same bytes. What came later
(CLIENT SETINFO, NO-TOUCH, ID as a filter of KILL …) is held against its documentation.
"""
# matrix: engines

import re
import shlex
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import shards, support  # noqa: E402
from integration.support import OK, PONG, Error  # noqa: E402

PASSWORD = "secret"
# Fields of CLIENT LIST since Redis 7.2, in its order
FIELDS = ("id addr laddr fd name age idle flags db sub psub ssub multi watch qbuf qbuf-free "
          "argv-mem multi-mem rbs rbp obl oll omem tot-mem events cmd user redir resp lib-name "
          "lib-ver").split()


def parse(line):
    """A line of CLIENT LIST as a dict."""
    text = line.decode() if isinstance(line, bytes) else line
    return dict(field.split("=", 1) for field in text.strip().split(" "))


def commands(text):
    """Commands from a text: one a line, or with ';' between them; '' is an empty argument."""
    lines = (part.strip() for line in text.splitlines() for part in line.split(";"))
    return [shlex.split(line) for line in lines if line]


def listed(client, *filters):
    return [parse(line) for line in client.ok("CLIENT", "LIST", *filters).splitlines()]


class Beside(support.ServerTest):
    """With a redis-server to compare with."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.oracle = support.oracle(*cls.options)
        cls.addClassCleanup(cls.oracle.stop)

    def setUp(self):
        super().setUp()
        with self.oracle.client() as client:
            client.ok("FLUSHALL")

    def pair(self):
        found = self.server.client(), self.oracle.client()
        for client in found:
            self.addCleanup(client.close)
        return found

    def same(self, pair, *commands, pipelined=False):
        """Each command's reply is the same, byte for byte."""
        for client in pair:
            if pipelined:
                client.send_bytes(b"".join(support.encode(*c) for c in commands))
        for command in commands:
            replies = []
            for client in pair:
                if not pipelined:
                    client.send(*command)
                replies.append(client.raw())
            self.assertEqual(replies[0], replies[1], command)


class Hello(Beside):
    def test_replies(self):
        ours, theirs = self.pair()
        for command in (("HELLO",), ("HELLO", "2"), ("HELLO", "3"), ("HELLO",), ("HELLO", "2"),
                        ("HELLO", "3", "SETNAME", "me")):
            mine, other = ours.ok(*command), theirs.ok(*command)
            kind = support.Map if "3" in command else type(other)
            self.assertIsInstance(mine, kind, command)
            self.assertEqual(list(mine[0::2]), list(other[0::2]), command)
            values, others = dict(zip(mine[0::2], mine[1::2])), dict(zip(other[0::2], other[1::2]))
            for name in (b"server", b"proto", b"mode", b"role", b"modules"):
                self.assertEqual(values[name], others[name], command)
            self.assertEqual(values[b"id"], ours.call("CLIENT", "ID"))
        self.assertEqual(ours.call("CLIENT", "GETNAME"), b"me")

    def test_refusals(self):
        pair = self.pair()
        self.same(pair, *commands("""
            HELLO 1; HELLO 4; HELLO x; HELLO 9223372036854775808; HELLO 3 AUTH; HELLO 3 NOSUCH
            HELLO 3 AUTH default; HELLO 3 SETNAME; HELLO 3 SETNAME 'a b'; PING
            HELLO 3 AUTH nobody x; GET nothing"""))

    def test_resp3_types(self):
        """Null, map, verbatim string, big replies: the RESP3 forms of what RESP2 says otherwise."""
        pair = self.pair()
        for client in pair:
            client.ok("HELLO", "3")
        self.same(pair, *commands("""
            GET nothing; MGET a b; SET a 1 GET; SET a 2 NX; GETDEL nothing; LCS a a IDX
            CONFIG GET maxmemory; CONFIG GET nothing; OBJECT ENCODING nothing; CLIENT GETNAME
            COMMAND GETKEYS SET k v; MEMORY USAGE nothing; RANDOMKEY; DEL a; RANDOMKEY; PING
            PING text; RESET; GET a"""))
        ours = pair[0]
        ours.ok("HELLO", "3")
        self.assertTrue(ours.call("CLIENT", "INFO").startswith(b"id="))
        for command in (("CLIENT", "LIST"), ("CLIENT", "INFO"), ("INFO",), ("LOLWUT",)):
            ours.send(*command)
            self.assertTrue(ours.raw().startswith(b"=") or command == ("CLIENT", "INFO"), command)


class Auth(Beside):
    options = ["--requirepass", PASSWORD]

    def setUp(self):
        pass

    def test_before_and_after(self):
        pair = self.pair()
        self.same(pair, *commands("""
            PING; GET a; NOSUCH; GET; AUTH wrong; AUTH nobody secret; AUTH default wrong
            AUTH a b c; AUTH; GET a; AUTH secret; PING; GET a; AUTH wrong; PING
            AUTH default secret; ACL WHOAMI; RESET; PING; QUIT"""))

    def test_in_one_pipeline(self):
        for command in (("HELLO",), ("HELLO", "3"), ("CLIENT", "ID")):
            self.assertEqual([c.call(*command).code for c in self.pair()], ["NOAUTH"] * 2)
        self.same(self.pair(), ("PING",), ("AUTH", PASSWORD), ("SET", "a", "1"), ("GET", "a"),
                  ("RESET",), ("GET", "a"), ("AUTH", "default", PASSWORD), ("DEL", "a"),
                  pipelined=True)

    def test_hello_with_auth(self):
        ours, theirs = self.pair()
        for client in (ours, theirs):
            self.assertIsInstance(client.call("HELLO", "3", "AUTH", "default", "wrong"), Error)
            self.assertIsInstance(client.call("GET", "a"), Error)
            client.ok("HELLO", "3", "AUTH", "default", PASSWORD, "SETNAME", "in")
            self.assertEqual(client.call("CLIENT", "GETNAME"), b"in")

    def test_password_changes(self):
        """CONFIG SET requirepass holds for new connections of every worker; old ones stay in."""
        with self.server.client() as client:
            client.ok("AUTH", PASSWORD)
            client.ok("CONFIG", "SET", "requirepass", "new")
            try:
                for _ in range(12):
                    with self.server.client() as other:
                        self.assertEqual(other.call("GET", "a").code, "NOAUTH")
                        self.assertEqual(other.call("AUTH", PASSWORD).code, "WRONGPASS")
                        self.assertEqual(other.call("AUTH", "new"), OK)
                self.assertEqual(client.call("GET", "a"), None)
                client.ok("CONFIG", "SET", "requirepass", "")
                for _ in range(12):
                    with self.server.client() as other:
                        self.assertEqual(other.call("GET", "a"), None)
                        self.assertEqual(other.call("AUTH", "x").code, "ERR")
            finally:
                client.ok("CONFIG", "SET", "requirepass", PASSWORD)


class Names(Beside):
    def test_names(self):
        self.same(self.pair(), *commands("""
            CLIENT GETNAME; CLIENT SETNAME worker-1; CLIENT GETNAME; CLIENT SETNAME 'a b'
            CLIENT GETNAME; CLIENT SETNAME ''; CLIENT GETNAME; CLIENT SETNAME; CLIENT NOSUCH
            CLIENT; CLIENT GETNAME x; CLIENT SETNAME back; RESET; CLIENT GETNAME"""))
        self.same(self.pair(), ("CLIENT", "SETNAME", "a\nb"), ("CLIENT", "GETNAME"))

    def test_library(self):
        client = self.client()
        self.assertEqual(client.call("CLIENT", "SETINFO", "lib-name", "redis-py"), OK)
        self.assertEqual(client.call("CLIENT", "SETINFO", "LIB-VER", "4.3.4"), OK)
        self.assertEqual(client.call("CLIENT", "SETINFO", "lib-name", "a b").code, "ERR")
        self.assertEqual(client.call("CLIENT", "SETINFO", "lib-nose", "x"),
                         b"ERR Unrecognized option 'lib-nose'")
        mine = parse(client.ok("CLIENT", "INFO"))
        self.assertEqual((mine["lib-name"], mine["lib-ver"]), ("redis-py", "4.3.4"))

    def test_ids_rise(self):
        ids = [self.client().call("CLIENT", "ID") for _ in range(20)]
        self.assertEqual(ids, sorted(set(ids)))

    def test_refusals(self):
        self.same(self.pair(), *commands("""
            CLIENT LIST TYPE; CLIENT LIST TYPE nosuch; CLIENT LIST ID; CLIENT LIST ID x
            CLIENT LIST NOSUCH; CLIENT KILL; CLIENT KILL 1.2.3.4:5; CLIENT KILL ID x
            CLIENT KILL ID 0; CLIENT KILL ID 12345678; CLIENT KILL ID 12345678 SKIPME
            CLIENT KILL SKIPME maybe; CLIENT KILL TYPE nosuch; CLIENT KILL USER nosuch
            CLIENT KILL ADDR 1.2.3.4:5; CLIENT KILL LADDR 1.2.3.4:5; CLIENT REPLY
            CLIENT REPLY x; CLIENT PAUSE; CLIENT PAUSE x; CLIENT PAUSE -1; CLIENT PAUSE 1 x
            CLIENT UNPAUSE x; CLIENT UNBLOCK; CLIENT UNBLOCK x; CLIENT UNBLOCK 12345678
            CLIENT UNBLOCK 12345678 ERROR; CLIENT UNBLOCK 12345678 x; CLIENT NO-EVICT
            CLIENT NO-EVICT x; CLIENT NO-EVICT on; CLIENT ID x; CLIENT INFO x
            SELECT 16; SELECT -1; SELECT x; SELECT 99999999999; SWAPDB 0 x; SWAPDB x 0
            SWAPDB 0 16; MOVE a 16; MOVE a x; MOVE a 0; ECHO; PING a b; RESET x; QUIT x"""))


class Listing(support.ServerTest):
    def many(self, count=24):
        found = [self.client() for _ in range(count)]
        for number, client in enumerate(found):
            client.ok("CLIENT", "SETNAME", f"many-{number}")
        return found

    def test_every_field(self):
        client = self.client(resp=3)
        client.ok("SELECT", 3)
        client.ok("CLIENT", "SETNAME", "me")
        line = client.ok("CLIENT", "LIST", "ID", client.ok("CLIENT", "ID")).decode()
        names = [field.split("=", 1)[0] for field in line.strip().split(" ")]
        self.assertEqual([name for name in names if name in FIELDS], FIELDS)
        mine = parse(line)
        host, port = client.sock.getsockname()
        expected = {"addr": f"{host}:{port}", "laddr": f"{support.HOST}:{self.server.port}",
                    "name": "me", "db": "3", "flags": "N", "sub": "0", "psub": "0", "ssub": "0",
                    "multi": "-1", "watch": "0", "cmd": "client|list", "user": "default",
                    "redir": "-1", "resp": "3", "idle": "0", "events": "r"}
        self.assertEqual({name: mine[name] for name in expected}, expected)
        for name in "fd age qbuf qbuf-free obl oll omem tot-mem rbs rbp".split():
            self.assertRegex(mine[name], r"^\d+$", name)
        info = parse(client.ok("CLIENT", "INFO"))
        self.assertEqual(set(info), set(mine))
        self.assertEqual((info["id"], info["cmd"]), (mine["id"], "client|info"))

    def test_clients_of_all_workers(self):
        """Whoever asks sees everybody once, in the order of ids."""
        many = self.many()
        ids = [client.ok("CLIENT", "ID") for client in many]
        names = {str(number): f"many-{i}" for i, number in enumerate(ids)}
        for client in many[:8]:
            found = listed(client)
            self.assertEqual([int(line["id"]) for line in found], sorted(ids))
            self.assertEqual({line["id"]: line["name"] for line in found}, names)
        workers = {line["worker"] for line in found if "worker" in line}
        if support.threads() and workers:
            self.assertEqual(len(workers), support.threads(), "connections are on every worker")

    def test_filters(self):
        many = self.many(12)
        ids = [client.ok("CLIENT", "ID") for client in many]
        some = [ids[7], ids[2], 999999, ids[2]]
        self.assertEqual([int(line["id"]) for line in listed(many[0], "ID", *some)],
                         sorted([ids[2], ids[7]]))
        self.assertEqual(len(listed(many[1], "TYPE", "normal")), len(many))
        for kind in ("master", "replica", "slave", "pubsub"):
            self.assertEqual(listed(many[2], "TYPE", kind), [])

    def test_kill(self):
        many = self.many(12)
        me = many.pop()
        ids = [client.ok("CLIENT", "ID") for client in many]
        address = "%s:%d" % many[0].sock.getsockname()
        self.assertEqual(me.call("CLIENT", "KILL", address), OK)
        self.assertEqual(me.call("CLIENT", "KILL", address), b"ERR No such client")
        self.assertEqual(me.call("CLIENT", "KILL", "ID", ids[1]), 1)
        self.assertEqual(me.call("CLIENT", "KILL", "ID", ids[1]), 0)
        address = "%s:%d" % many[2].sock.getsockname()
        self.assertEqual(me.call("CLIENT", "KILL", "ADDR", address, "ID", ids[3]), 0)
        self.assertEqual(me.call("CLIENT", "KILL", "ADDR", address, "ID", ids[2]), 1)
        self.assertEqual(me.call("CLIENT", "KILL", "TYPE", "pubsub"), 0)
        for client in many[:3]:
            self.assertTrue(client.closed_by_server())
        laddr = f"{support.HOST}:{self.server.port}"
        killed = me.call("CLIENT", "KILL", "LADDR", laddr, "USER", "default")
        self.assertEqual(killed, len(many) - 3)
        for client in many[3:]:
            self.assertTrue(client.closed_by_server())
        self.assertEqual(me.call("PING"), PONG)
        gone = shards.until(lambda: len(listed(me)) == 1)
        self.assertTrue(gone, "killed clients are still listed")

    def test_kill_oneself(self):
        """The reply comes first; what was sent behind it is not run."""
        client, other = self.client(), self.client()
        me = client.ok("CLIENT", "ID")
        self.assertEqual(client.call("CLIENT", "KILL", "ID", me), 0)  # SKIPME is the default
        client.send_bytes(support.encode("CLIENT", "KILL", "ID", me, "SKIPME", "no") +
                          support.encode("SET", "after", "x"))
        self.assertEqual(client.read(), 1)
        self.assertTrue(client.closed_by_server())
        self.assertIsNone(other.call("GET", "after"))
        client = self.client()
        self.assertEqual(client.call("CLIENT", "KILL", "%s:%d" % client.sock.getsockname()), OK)
        self.assertTrue(client.closed_by_server())

    def test_kill_of_busy_clients(self):
        """Clients are killed in the middle of their pipelines; nothing hangs, nothing is left."""
        keys = [key for some in shards.keys_by_shard(4, 2) for key in some]
        killer = self.client()
        data = b"".join(support.encode("MSET", *(p for k in keys for p in (k, i))) +
                        support.encode("MGET", *keys) + support.encode("INCR", keys[i % 8])
                        for i in range(300))
        for _ in range(20):
            victims = [self.server.client() for _ in range(6)]
            for victim in victims:
                victim.ok("PING")
            for victim in victims:
                victim.send_bytes(data)
            self.assertGreaterEqual(killer.ok("CLIENT", "KILL", "TYPE", "normal"), 6)
            for victim in victims:
                self.assertTrue(victim.closed_by_server())
                victim.close()
        self.assertTrue(shards.until(lambda: len(listed(killer)) == 1))
        self.assertEqual(killer.call("MSET", *(p for k in keys for p in (k, "end"))), OK)
        self.assertEqual(killer.call("MGET", *keys), [b"end"] * len(keys))

    def test_no_touch(self):
        """Reads of a client that asked for it leave the idle time alone, on every shard."""
        client, looker = self.client(), self.client()
        keys = [key for some in shards.keys_by_shard(4, 1) for key in some]
        client.ok("MSET", *(part for key in keys for part in (key, "v")))
        self.assertEqual(client.call("CLIENT", "NO-TOUCH", "x").code, "ERR")
        self.assertEqual(client.call("CLIENT", "NO-TOUCH", "ON"), OK)
        self.assertIn("T", parse(client.ok("CLIENT", "INFO"))["flags"])
        idle = shards.until(lambda: all(looker.ok("OBJECT", "IDLETIME", key) >= 2 for key in keys))
        self.assertTrue(idle)
        for key in keys:
            client.ok("GET", key)
        client.ok("MGET", *keys)
        client.ok("STRLEN", keys[0])
        self.assertTrue(all(looker.ok("OBJECT", "IDLETIME", key) >= 2 for key in keys))
        self.assertEqual(client.ok("TOUCH", *keys), len(keys))  # TOUCH touches all the same
        self.assertTrue(all(looker.ok("OBJECT", "IDLETIME", key) <= 1 for key in keys))
        client.ok("CLIENT", "NO-TOUCH", "OFF")
        self.assertEqual(parse(client.ok("CLIENT", "INFO"))["flags"], "N")


class Reply(Beside):
    """CLIENT REPLY, in pipelines over shards; what is answered is compared with redis-server."""

    def test_skip_and_off(self):
        keys = [key for some in shards.keys_by_shard(4, 1) for key in some]
        a, b, c, d = keys
        ms, mg = f"MSET {a} 1 {b} 2 {c} 3 {d} 4", f"MGET {a} {b} {c} {d}"
        programs = [
            f"CLIENT REPLY SKIP; SET {a} 1; GET {a}",
            f"CLIENT REPLY SKIP; CLIENT REPLY SKIP; SET {a} 2; GET {a}",
            f"CLIENT REPLY SKIP; CLIENT REPLY ON; GET {a}",
            f"CLIENT REPLY SKIP; RESET; GET {a}",
            f"CLIENT REPLY SKIP; CLIENT REPLY x; CLIENT REPLY ON; GET {a}",
            f"CLIENT REPLY SKIP; CLIENT LIST ID 0; CLIENT ID; GET {a}",
            f"CLIENT REPLY SKIP; {ms}; {mg}",
            f"CLIENT REPLY SKIP; {mg}; GET {b}; GET {c}",
            f"SET {a} 1; CLIENT REPLY SKIP; SET {b} 2; SET {c} 3; GET {d}",
            f"CLIENT REPLY OFF; SET {a} 7; GET {b}; {mg}; NOSUCH; DEL {a} {b}; "
            f"CLIENT REPLY ON; {mg}",
            f"CLIENT REPLY OFF; CLIENT REPLY SKIP; GET {a}; CLIENT REPLY ON; GET {c}",
            f"CLIENT REPLY SKIP; NOSUCH; GET {d}",
            f"CLIENT REPLY SKIP; GET; GET {d}",
            "CLIENT REPLY SKIP; PING; PING",
            "CLIENT REPLY SKIP; KEYS *; DBSIZE",
            "CLIENT REPLY SKIP; CONFIG SET timeout 0; DBSIZE",
            f"CLIENT REPLY SKIP; SELECT 2; SET {a} 9; CLIENT REPLY OFF; SELECT 0; CLIENT REPLY ON; "
            f"GET {a}",
            f"CLIENT REPLY OFF; RESET; GET {a}",
        ]
        for program in programs:
            for chunked in (False, True):
                with self.subTest(program=program, chunked=chunked):
                    found = []
                    for client in self.pair():
                        data = [support.encode(*c) for c in commands(program + "; ECHO end")]
                        for part in data if chunked else [b"".join(data)]:
                            client.send_bytes(part)
                        replies = [client.raw()]
                        while replies[-1] != b"$3\r\nend\r\n":
                            replies.append(client.raw())
                        found.append(replies)
                    self.assertEqual(found[0], found[1])

    def test_off_still_works(self):
        client, other = self.client(), self.client()
        keys = [key for some in shards.keys_by_shard(4, 25) for key in some]
        client.send_bytes(support.encode("CLIENT", "REPLY", "OFF") +
                          b"".join(support.encode("INCR", key) for key in keys) * 5)
        done = shards.until(lambda: other.ok("MGET", *keys) == [b"5"] * len(keys))
        self.assertTrue(done)
        client.send("CLIENT", "REPLY", "ON")
        self.assertEqual(client.read(), OK)
        self.assertEqual(client.call("GET", keys[0]), b"5")


class Pause(support.ServerTest):
    def tearDown(self):
        self.client().ok("CLIENT", "UNPAUSE")

    def waits(self, client, *command):
        """Whether the command is held back (60 ms of patience). If not, its reply is read."""
        client.send(*command)
        client.sock.settimeout(0.06)
        try:
            client.read()
            return False
        except TimeoutError:
            return True
        finally:
            client.sock.settimeout(support.REPLY_SECONDS)

    def test_writes_wait(self):
        keys = [key for some in shards.keys_by_shard(4, 1) for key in some]
        many = [self.client() for _ in range(8)]
        boss = self.client()
        self.assertEqual(boss.call("CLIENT", "PAUSE", 60000, "WRITE"), OK)
        for client in many[:4]:
            self.assertFalse(self.waits(client, "GET", keys[0]))
            self.assertFalse(self.waits(client, "MGET", *keys))
            self.assertTrue(self.waits(client, "INCR", keys[0]))
        for client in many[4:]:
            self.assertTrue(self.waits(client, "MSET", *(p for k in keys for p in (k, "5"))))
        self.assertEqual(boss.call("GET", keys[0]), None)
        self.assertEqual(boss.call("CLIENT", "UNPAUSE"), OK)
        for client in many[:4]:
            self.assertIsInstance(client.read(), int)
        for client in many[4:]:
            self.assertEqual(client.read(), OK)
        self.assertEqual(len(set(boss.ok("MGET", *keys[1:]))), 1)

    def test_everything_waits(self):
        """… CLIENT UNPAUSE too, as in Redis; and what was sent stays in order."""
        many = [self.client() for _ in range(8)]
        keys = [key for some in shards.keys_by_shard(4, 1) for key in some]
        boss = self.client()
        boss.ok("MSET", *(part for key in keys for part in (key, 0)))
        self.assertEqual(boss.call("CLIENT", "PAUSE", 1000), OK)
        for number, client in enumerate(many):
            client.send_bytes(b"".join(support.encode("INCR", key) for key in keys) +
                              support.encode("GET", keys[0]) + support.encode("PING"))
            self.assertTrue(self.waits(client, "ECHO", number))
        self.assertTrue(self.waits(boss, "CLIENT", "UNPAUSE"))
        self.assertEqual(boss.read(), OK)
        for number, client in enumerate(many):
            counts = [client.read() for _ in keys]
            self.assertTrue(all(1 <= count <= len(many) for count in counts), counts)
            self.assertGreaterEqual(int(client.read()), counts[0])
            self.assertEqual(client.read(), PONG)
            self.assertEqual(client.read(), b"%d" % number)
        self.assertEqual(boss.ok("MGET", *keys), [b"%d" % len(many)] * len(keys))

    def test_its_time(self):
        boss, client = self.client(), self.client()
        begun = time.monotonic()
        boss.ok("CLIENT", "PAUSE", 300, "ALL")
        client.ok("SET", "a", 1)
        waited = time.monotonic() - begun
        self.assertTrue(0.28 <= waited < 2, waited)
        begun = time.monotonic()
        boss.ok("CLIENT", "PAUSE", 0)
        client.ok("SET", "a", 1)
        self.assertLess(time.monotonic() - begun, 0.25)

    def test_expiry_waits(self):
        """Nothing is deleted while writes are paused, but what has expired is not seen."""
        boss, client = self.client(), self.client()
        client.ok("SET", "short", "x", "PX", 50)
        boss.ok("CLIENT", "PAUSE", 60000, "WRITE")
        self.assertTrue(shards.until(lambda: client.ok("GET", "short") is None, 2))
        self.assertEqual(client.ok("DBSIZE"), 1)
        boss.ok("CLIENT", "UNPAUSE")
        self.assertTrue(shards.until(lambda: client.ok("DBSIZE") == 0, 5))

    def blocked(self, boss, count):
        return shards.until(lambda: b"blocked_clients:%d\r" % count in boss.ok("INFO", "clients"))

    def test_what_writes_waits(self):
        """EXEC waits for what was queued; who waits is a blocked client; mistakes are told at once,
        and what only reads goes on."""
        boss, writer, reader, publisher = (self.client() for _ in range(4))
        boss.ok("SET", "a", 1)
        publisher_id = publisher.ok("CLIENT", "ID")
        for client, words in ((writer, ("SET", "a", 2)), (reader, ("GET", "a"))):
            client.ok("MULTI")
            client.ok(*words)
        boss.ok("CLIENT", "PAUSE", 60000, "WRITE")
        writer.send("EXEC")
        publisher.send("PUBLISH", "channel", "x")
        self.assertEqual(reader.call("EXEC"), [b"1"])
        self.assertIn(b"wrong number", reader.call("SET", "a"))
        self.assertTrue(self.blocked(boss, 2))
        self.assertEqual(boss.ok("CLIENT", "LIST").count(b"flags=xb"), 1)
        boss.ok("CLIENT", "KILL", "ID", publisher_id)
        self.assertTrue(self.blocked(boss, 1))
        boss.ok("CLIENT", "UNPAUSE")
        self.assertEqual(writer.read(), [b"OK"])
        self.assertTrue(self.blocked(boss, 0))

    def test_pause_of_a_transaction(self):
        """It begins when the transaction ends."""
        boss, writer = self.client(), self.client()
        boss.ok("MULTI")
        for words in (("SET", "a", 1), ("CLIENT", "PAUSE", 60000, "WRITE"), ("SET", "b", 1)):
            boss.ok(*words)
        self.assertEqual(boss.call("EXEC"), [b"OK"] * 3)
        writer.send("SET", "c", 1)
        self.assertTrue(self.blocked(boss, 1))
        self.assertEqual(boss.ok("MGET", "a", "b", "c"), [b"1", b"1", None])
        boss.ok("CLIENT", "UNPAUSE")
        self.assertEqual(writer.read(), OK)

    def test_paused_clients_may_leave(self):
        boss = self.client()
        boss.ok("CLIENT", "PAUSE", 700)
        for _ in range(20):
            client = self.server.client()
            client.send_bytes(support.encode("INCR", "k") * 3)
            client.close()
        with self.server.client() as victim:
            victim.send("INCR", "k")
        self.assertTrue(shards.until(lambda: len(listed(boss)) == 1))


class Databases(Beside):
    """SELECT, SWAPDB, MOVE, FLUSHDB: one truth for all workers, at the right command."""

    def test_select_within_a_pipeline(self):
        keys = [key for some in shards.keys_by_shard(4, 2) for key in some]
        rng = shards.rng(shards.seed_of("select"), "select")
        for _ in range(30):
            program = []
            for _ in range(rng.randrange(2, 60)):
                key = rng.choice(keys)
                program.append(rng.choice([
                    ("SELECT", rng.randrange(16)), ("SELECT", rng.randrange(3)), ("SELECT", "99"),
                    ("SET", key, rng.randrange(1000)), ("GET", key), ("INCR", key), ("DBSIZE",),
                    ("MGET", *rng.sample(keys, 3)), ("MOVE", key, rng.randrange(3)),
                    ("SWAPDB", rng.randrange(3), rng.randrange(3)), ("DEL", *rng.sample(keys, 2)),
                    ("COPY", key, rng.choice(keys), "DB", rng.randrange(3), "REPLACE"),
                    ("RENAME", key, rng.choice(keys)), ("FLUSHDB",), ("EXISTS", *keys), ("RESET",),
                    ("CLIENT", "GETNAME"), ("PING",), ("NOSUCH",)]))
            self.same(self.pair(), *program, pipelined=True)

    def test_seen_by_all_workers(self):
        keys = [key for some in shards.keys_by_shard(4, 4) for key in some]
        many = [self.client() for _ in range(8)]
        for number, client in enumerate(many):
            client.ok("SELECT", number % 2)
        zero, one = many[0::2], many[1::2]
        zero[0].ok("MSET", *(part for key in keys for part in (key, "v")))
        self.assertEqual({client.ok("DBSIZE") for client in zero}, {len(keys)})
        self.assertEqual({client.ok("DBSIZE") for client in one}, {0})
        self.assertEqual(one[1].call("SWAPDB", 0, 1), OK)
        self.assertEqual({client.ok("DBSIZE") for client in one}, {len(keys)})
        self.assertEqual({client.ok("EXISTS", *keys) for client in zero}, {0})
        for key in keys[:5]:
            self.assertEqual(one[2].call("MOVE", key, 0), 1)
            self.assertEqual([zero[3].call("GET", key), one[0].call("GET", key)], [b"v", None])
        self.assertEqual(one[3].call("FLUSHDB"), OK)
        self.assertEqual({client.ok("DBSIZE") for client in one}, {0})
        self.assertEqual({client.ok("DBSIZE") for client in zero}, {5})
        self.assertEqual(one[0].call("FLUSHALL", "ASYNC"), OK)
        self.assertEqual({client.ok("DBSIZE") for client in many}, {0})
        self.assertEqual({len(client.ok("KEYS", "*")) for client in many}, {0})

    def test_swapdb_is_seen_whole(self):
        """While two databases are swapped all the time, every key of a look is from one of them."""
        keys = [key for some in shards.keys_by_shard(4, 1) for key in some]
        client = self.client()
        for db in (0, 1):
            client.ok("SELECT", db)
            client.ok("MSET", *(part for key in keys for part in (key, db)))
        crew = shards.Crew(0.7, swaps=6, looks=6)

        def swap():
            with self.server.client() as c:
                while crew.on():
                    c.ok("SWAPDB", 0, 1)
                    crew.count("swaps", 1)

        def look():
            with self.server.client() as c:
                while crew.on():
                    values = c.ok("MGET", *keys)
                    if len(set(values)) != 1 or None in values:
                        raise AssertionError(values)
                    crew.count("looks", 1)

        crew.add(swap)
        crew.add(look)
        crew.add(look)
        crew.run()


class End(Beside):
    def test_quit(self):
        for client in self.pair():
            client.send_bytes(support.encode("SET", "a", 1) + support.encode("QUIT") +
                              support.encode("SET", "a", 2) * 100)
            self.assertEqual([client.read(), client.read()], [OK, OK])
            self.assertTrue(client.closed_by_server())
            self.assertEqual(bytes(client.buffer), b"")
        self.assertEqual(self.client().call("GET", "a"), b"1")

    def test_reset(self):
        pair = self.pair()
        for client in pair:
            client.ok("HELLO", 3)
            client.ok("SELECT", 5)
            client.ok("CLIENT", "SETNAME", "x")
            client.ok("SET", "a", 1)
        self.same(pair, ("RESET",), ("CLIENT", "GETNAME"), ("GET", "a"), ("PING",), ("SELECT", "5"),
                  ("GET", "a"))

    def test_timeout(self):
        """CONFIG SET timeout closes idle clients of every worker, and not busy ones."""
        boss = self.client()
        idle = [self.client() for _ in range(6)]
        boss.ok("CONFIG", "SET", "timeout", 1)
        try:
            for client in idle:
                client.ok("PING")
            closed = shards.until(lambda: len(listed(boss)) == 1, 8, 0.2)
            self.assertTrue(closed, "idle clients are not closed")
            for client in idle:
                self.assertTrue(client.closed_by_server())
            self.assertEqual(boss.call("PING"), PONG)
        finally:
            boss.ok("CONFIG", "SET", "timeout", 0)


class RedisPy(support.ServerTest):
    """The same through redis-py, as applications do it."""

    def test_client_commands(self):
        r = self.redis(client_name="app")
        self.assertEqual(r.client_getname(), "app")
        self.assertEqual(r.client_list(_type="normal")[0]["name"], "app")
        self.assertEqual(int(r.client_info()["id"]), r.client_id())
        self.assertTrue(r.client_pause(1, all=False))
        self.assertTrue(r.client_unpause())
        self.assertEqual(r.client_kill_filter(_id=r.client_id() + 1000), 0)
        self.assertTrue(re.match(r"\d+\.\d+", r.info()["redis_version"]))


if __name__ == "__main__":
    unittest.main()
