"""Clients that are broken, greedy or hostile: what they get, and that nobody else notices.

Every test ends with the same questions (`fine`): the server lives, PING and INFO are answered. What
is bounded, memory and the delay of other clients, is measured in the release build only: a
sanitizer's server has its own memory and speed.
"""
# matrix: engines

import resource
import socket
import struct
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import shards, support  # noqa: E402

MB = 1 << 20
SANITIZED = shards.sanitized()
POOL = 3000


def connected(address):
    sock = socket.create_connection(address, support.REPLY_SECONDS)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def reset(sock):
    """Closes with RST instead of FIN."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class BadInputTest(support.ServerTest):
    def setUp(self):
        super().setUp()
        self.rng = shards.rng(shards.seed_of(self.id().split(".", 1)[1]), self.id())
        self.addCleanup(self.fine)

    def fine(self):
        self.assertTrue(self.server.alive(), self.server.log()[-4000:])
        with self.server.client() as client:
            self.assertEqual(client.call("PING"), support.PONG)
            self.assertIn(b"redis_version:", client.ok("INFO"))

    def rss(self):
        return shards.memory(self.server.pid)

    def bounded(self, limit, before, what):
        grown = self.rss() - before
        if not SANITIZED:
            self.assertLess(grown, limit, f"{what}: RSS grew by {grown / MB:.0f} MB")

    def sockets(self, count):
        found = []
        self.addCleanup(lambda: [sock.close() for sock in found])
        for _ in range(count):
            found.append(connected(self.server.address))
        return found

    def answer(self, data, seconds=10):
        """What comes on a fresh connection until the server closes; None: it does not."""
        with self.server.client() as client:
            client.send_bytes(data)
            closed = client.closed_by_server(seconds)
            return bytes(client.buffer) if closed else None


class Requests(BadInputTest):
    def test_impossible_lengths(self):
        protocol = b"-ERR Protocol error: "
        for data, text in (
                (b"*99999999999\r\n", b"invalid multibulk length"),
                (b"*2147483648\r\n", b"invalid multibulk length"),
                (b"*-99999999999999999999\r\n", b"invalid multibulk length"),
                (b"*abc\r\n", b"invalid multibulk length"),
                (b"*1\r\n$-5\r\n", b"invalid bulk length"),
                (b"*1\r\n$536870913\r\n", b"invalid bulk length"),
                (b"*1\r\n$99999999999999999999\r\n", b"invalid bulk length"),
                (b"*1\r\n$4x\r\n", b"invalid bulk length"),
                (b"*1\r\n:4\r\n", b"expected '$', got ':'"),
                (b"*" + b"1" * 70000, b"too big mbulk count string"),
                (b"*1\r\n$" + b"1" * 70000, b"too big bulk count string"),
                (b"x" * 70000, b"too big inline request"),
                (b"SET \"a b\r\n", b"unbalanced quotes in request")):
            with self.subTest(data=data[:40]):
                self.assertEqual(self.answer(data), protocol + text + b"\r\n")
                good = support.encode("PING") * 3 + support.encode("SET", "k", "v")
                self.assertEqual(self.answer(good + data),
                                 b"+PONG\r\n" * 3 + b"+OK\r\n" + protocol + text + b"\r\n")

    def test_good_commands_before_an_error_over_all_shards(self):
        """The error comes behind the replies of all commands before it, wherever they run."""
        keys = [key for some in shards.keys_by_shard(8, 4) for key in some]
        for round_number in range(20):
            count = self.rng.randrange(1, 200)
            chosen = [self.rng.choice(keys) for _ in range(count)]
            data = b"".join(support.encode("SET", key, round_number) for key in chosen)
            self.assertEqual(self.answer(data + b"*x\r\n"), b"+OK\r\n" * count +
                             b"-ERR Protocol error: invalid multibulk length\r\n")

    def test_wrong_number_of_arguments(self):
        with self.client() as client:
            for info in client.ok("COMMAND"):
                name, arity = info[0].decode(), info[1]
                args = ["x"] * (abs(arity) - 2)
                if abs(arity) > 2 or (abs(arity) == 2 and not info[9]):
                    reply = client.call(name, *args)
                    self.assertEqual(
                        reply, f"ERR wrong number of arguments for '{name}' command".encode())
                if arity > 0:
                    self.assertIsInstance(client.call(name, *args, "x", "y", "z"), support.Error)
            self.assertEqual(client.call("PING"), support.PONG)

    def test_bytes_one_by_one(self):
        """Several clients at once, each sending one byte at a time."""
        text, clients = "".join(map(chr, range(1, 128))), []
        for number in range(8):
            keys = [k for some in shards.keys_by_shard(4, 1, f"one{number}") for k in some]
            data = b"".join(support.encode("SET", key, text) + support.encode("GET", key) +
                            b"SET %b 'a \\'b\\''\r\nGET %b\r\n" % ((key.encode(),) * 2)
                            for key in keys) + support.encode("MGET", *keys)
            clients.append((self.client(), data))
        for at in range(max(len(data) for _, data in clients)):
            for client, data in clients:
                client.sock.send(data[at:at + 1])
        for client, _ in clients:
            for _ in keys:
                self.assertEqual([client.read() for _ in range(4)],
                                 [support.OK, text.encode(), support.OK, b"a 'b'"])
            self.assertEqual(client.read(), [b"a 'b'"] * len(keys))

    def test_inline_commands(self):
        with self.client() as client:
            client.send_bytes(b"SET \"key with space\" 'single \\'quoted\\''\r\n"
                              b"GET \"\\x6bey with space\"\n\r\n\n"
                              b"APPEND \"key with space\" \"\\r\\n\\\"\"\r\n"
                              b"STRLEN 'key with space'\r\n")
            self.assertEqual([client.read() for _ in range(4)],
                             [support.OK, b"single 'quoted'", 18, 18])

    def test_garbage(self):
        """200 clients send nonsense; each is answered, or closed, or ignored, and none is served
        for another."""
        words = [b"*", b"$", b"\r\n", b"3", b"-1", b"GET", b"SET", b"MSET", b"key:1", b"\x00",
                 b"\"", b"'", b" ", b"99999999", b"*2\r\n$3\r\nGET",
                 b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n", b"CLIENT",
                 b"\xff\xfe", b"HELLO 3\r\n", b"*0\r\n", b"*-1\r\n", b"PING\r\n"]
        for number in range(200):
            sock = connected(self.server.address)
            if number % 2:
                data = self.rng.randbytes(self.rng.randrange(1, 3000))
            else:
                data = b"".join(self.rng.choice(words) for _ in range(self.rng.randrange(1, 60)))
            try:
                for at in range(0, len(data), 700):
                    sock.sendall(data[at:at + 700])
            except (BrokenPipeError, ConnectionResetError):
                pass  # closed after a protocol error
            if number % 3:
                sock.close()
            else:
                reset(sock)
            if number % 20 == 0:
                self.fine()

    def test_vanishing_clients(self):
        """500 clients go away in mid-command, in mid-pipeline, or before they read a reply."""
        keys = [key for some in shards.keys_by_shard(4, 2) for key in some]
        pairs = [part for key in keys for part in (key, "v" * 100)]
        whole = [support.encode("MSET", *pairs), support.encode("MGET", *keys),
                 support.encode("DEL", *keys), support.encode("RENAME", keys[0], keys[1]),
                 support.encode("COPY", keys[1], keys[2], "REPLACE"), support.encode("KEYS", "*"),
                 support.encode("CLIENT", "LIST"), support.encode("DBSIZE"),
                 support.encode("SCAN", 0), support.encode("FLUSHDB"),
                 support.encode("SET", keys[3], "x" * 100000),
                 support.encode("GET", keys[3]), support.encode("CONFIG", "SET", "timeout", 0)]
        with shards.Others(self.server):
            for number in range(500):
                sock = connected(self.server.address)
                data = b"".join(self.rng.choice(whole) for _ in range(self.rng.randrange(1, 30)))
                if number % 2:
                    data = data[:self.rng.randrange(1, len(data))]
                try:
                    sock.sendall(data)
                    if number % 5 == 0:
                        sock.settimeout(0.01)
                        sock.recv(100)
                except OSError:
                    pass
                if number % 3:
                    sock.close()
                else:
                    reset(sock)
        with self.client() as client:
            gone = shards.until(
                lambda: client.ok("CLIENT", "LIST").count(b"\n") == 1)
            self.assertTrue(gone, "clients that have gone are still listed")

    def test_half_closed(self):
        """shutdown(SHUT_WR) behind a pipeline: every reply still comes, then the end."""
        keys = [key for some in shards.keys_by_shard(4, 1) for key in some]
        for count in (1, 2, 40, 1000, 20000):
            with self.subTest(count=count), self.server.client() as client:
                names = [keys[i % len(keys)] for i in range(count)]
                data = b"".join(support.encode("SET", name, f"{name} {i}") +
                                support.encode("GET", name) for i, name in enumerate(names))
                writer = threading.Thread(target=lambda: (
                    client.sock.sendall(data), client.sock.shutdown(socket.SHUT_WR)))
                writer.start()
                for i, name in enumerate(names):
                    self.assertEqual(client.read(), support.OK)
                    self.assertEqual(client.read(), f"{name} {i}".encode())
                writer.join()
                self.assertTrue(client.closed_by_server())
                self.assertEqual(bytes(client.buffer), b"")

    def test_half_closed_and_slow(self):
        """What is still unsent when the FIN comes is sent, however slowly it is read."""
        value = self.rng.randbytes(MB)
        keys = [key for some in shards.keys_by_shard(4, 1) for key in some]
        with self.client() as client:
            client.ok("MSET", *(part for key in keys for part in (key, value)))
            client.send_bytes(b"".join(support.encode("GET", key) for key in keys) * 10)
            client.sock.shutdown(socket.SHUT_WR)
            time.sleep(0.3)
            for _ in range(10 * len(keys)):
                self.assertTrue(client.read() == value)
            self.assertTrue(client.closed_by_server())

    def test_half_closed_after_multi_key_commands(self):
        keys = [key for some in shards.keys_by_shard(4, 1) for key in some]
        for _ in range(50):
            with self.server.client() as client:
                client.send_bytes(support.encode("MSET", *(p for k in keys for p in (k, k))) +
                                  support.encode("MGET", *keys) + support.encode("DBSIZE") +
                                  support.encode("CLIENT", "LIST") + support.encode("DEL", *keys))
                client.sock.shutdown(socket.SHUT_WR)
                self.assertEqual(client.read(), support.OK)
                self.assertEqual(client.read(), [key.encode() for key in keys])
                self.assertEqual(client.read(), len(keys))
                self.assertIn(b"cmd=client|list", client.read())
                self.assertEqual(client.read(), len(keys))
                self.assertTrue(client.closed_by_server())


class Sizes(BadInputTest):
    def test_long_pipeline(self):
        """100,000 commands in one send, over all shards."""
        keys = [key for some in shards.keys_by_shard(8, 16) for key in some]
        count = 100000
        data = b"".join(support.encode("INCR", keys[i % len(keys)]) for i in range(count))
        with self.client() as client:
            writer = threading.Thread(target=client.sock.sendall, args=(data,))
            writer.start()
            replies = shards.lines(client, count)
            writer.join()
        self.assertEqual(replies, [b":%d" % (i // len(keys) + 1) for i in range(count)])

    def test_pipeline_is_written_before_it_is_read(self):
        """As client libraries do it: all is sent before the first reply is read. 30 MB of requests
        and 100 MB of replies fit into no socket buffer."""
        count = 100000
        keys = [key + "x" * 250 for some in shards.keys_by_shard(8, 1) for key in some]
        with self.client() as client:
            client.ok("MSET", *(part for key in keys for part in (key, key * 4)))
            client.sock.settimeout(20)
            client.send_bytes(b"".join(support.encode("GET", key) for key in keys) * (count // 8))
            values = [key.encode() * 4 for key in keys]
            for _ in range(100):
                self.assertEqual(shards.bulks(client, count // 100), values * (count // 800))

    def test_many_arguments(self):
        count = 100000
        names = [f"many:{i}" for i in range(count)]
        with self.client() as client:
            self.assertEqual(client.call("MSET", *(p for n in names for p in (n, n))), support.OK)
            self.assertEqual(client.call("DBSIZE"), count)
            self.assertEqual(client.call("MGET", *names), [name.encode() for name in names])
            self.assertEqual(client.call("EXISTS", *names), count)
            self.assertEqual(client.call("MSETNX", *(p for n in names for p in (n, 1))), 0)
            self.assertEqual(client.call("DEL", *names[:count // 2]), count // 2)
            self.assertEqual(client.call("UNLINK", *names), count // 2)
            self.assertEqual(client.call("DBSIZE"), 0)

    def test_values_of_100_mb(self):
        before = self.rss()
        size = 100 * MB
        value = self.rng.randbytes(MB) * 100
        with self.client() as client, shards.Others(self.server):
            self.assertEqual(client.call("SET", "big", value), support.OK)
            self.assertEqual(client.call("STRLEN", "big"), size)
            self.assertTrue(client.call("GET", "big") == value)
            self.assertEqual(client.call("APPEND", "big", value[:10 * MB]), size + 10 * MB)
            self.assertEqual(client.call("GETRANGE", "big", size - 3, size + 2),
                             value[-3:] + value[:3])
            self.assertEqual(client.call("SETRANGE", "big", size + 20 * MB, "end"),
                             size + 20 * MB + 3)
            self.assertEqual(client.call("GETRANGE", "big", -5, -1), b"\0\0end")
            self.assertEqual(client.call("SETRANGE", "new", size, "end"), size + 3)
            self.assertEqual(client.call("RENAME", "big", "new"), support.OK)
            self.assertEqual(client.call("DEL", "big", "new"), 1)
        self.assertTrue(shards.until(lambda: SANITIZED or self.rss() < before + 64 * MB),
                        f"{(self.rss() - before) / MB:.0f} MB are kept after DEL")

    def test_proto_max_bulk_len(self):
        with self.client() as client:
            client.ok("SET", "k", "v")
            for command in (("SETRANGE", "k", 512 * MB, "x"), ("APPEND", "k", "v"),
                            ("SETBIT", "k", 2 ** 32, 1), ("SETBIT", "k", -1, 1),
                            ("SETRANGE", "k", 2 ** 62, "x"), ("SETRANGE", "k", -1, "x")):
                reply = client.call(*command)
                if command[0] == "APPEND":
                    self.assertEqual(reply, 2)
                else:
                    self.assertIsInstance(reply, support.Error, command)
            client.ok("CONFIG", "SET", "proto-max-bulk-len", MB)
            self.addCleanup(self.redis().config_set, "proto-max-bulk-len", 512 * MB)
            self.assertEqual(client.call("SETRANGE", "k", MB - 1, "xy"),
                             b"ERR string exceeds maximum allowed size (proto-max-bulk-len)")
            self.assertEqual(client.call("SET", "k", "x" * MB), support.OK)
            self.assertEqual(self.answer(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n" % (MB + 1)),
                             b"-ERR Protocol error: invalid bulk length\r\n")


class Greed(BadInputTest):
    """Memory and other clients while somebody takes all he can get."""

    options = ["--requirepass", "secret"]

    def client(self, resp=2):
        client = super().client(resp)
        client.ok("AUTH", "secret")
        return client

    def setUp(self):
        self.rng = shards.rng(shards.seed_of(self.id().split(".", 1)[1]), self.id())
        self.client().ok("FLUSHALL")
        self.addCleanup(self.fine)

    def fine(self):
        self.assertTrue(self.server.alive(), self.server.log()[-4000:])
        client = self.client()
        self.assertEqual(client.call("PING"), support.PONG)
        self.assertIn(b"redis_version:", client.ok("INFO"))

    def test_claims_before_auth(self):
        """Without a password nobody gets more than ten arguments of 16 KiB."""
        before = self.rss()
        claims = (b"*11\r\n", b"*1000000\r\n$1\r\na\r\n", b"*2\r\n$536870912\r\n",
                  b"*2\r\n$4\r\nECHO\r\n$16385\r\n")
        texts = (b"unauthenticated multibulk length", b"unauthenticated multibulk length",
                 b"unauthenticated bulk length", b"unauthenticated bulk length")
        for number in range(200):
            self.assertEqual(self.answer(claims[number % 4]),
                             b"-ERR Protocol error: " + texts[number % 4] + b"\r\n")
        held = self.sockets(100)
        for sock in held:  # allowed, and as much as is allowed
            sock.sendall(b"*10\r\n" + (b"$16384\r\n" + b"x" * 16384 + b"\r\n") * 9)
        self.bounded(40 * MB, before, "100 clients with 144 KiB each")

    def test_claims_after_auth(self):
        """A length is no reason to take memory; bytes that come are."""
        before = self.rss()
        held = self.sockets(200)
        for number, sock in enumerate(held):
            sock.sendall(support.encode("AUTH", "secret"))
            sock.sendall((b"*2\r\n$4\r\nECHO\r\n$536870912\r\nabc", b"*1048576\r\n$4\r\nMGET\r\n",
                          b"*3\r\n$3\r\nSET\r\n$500000000\r\n" + b"x" * 50000)[number % 3])
        for sock in held:
            self.assertEqual(sock.recv(100), b"+OK\r\n")
        self.bounded(60 * MB, before, "200 clients that claimed up to 512 MB")

    def never_reading(self, clients, gets):
        """Sockets with small receive buffers, each having asked for `gets` values of 1 MB."""
        found = []
        self.addCleanup(lambda: [sock.close() for sock in found])
        for _ in range(clients):
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.settimeout(support.REPLY_SECONDS)
            sock.connect(self.server.address)
            sock.sendall(support.encode("AUTH", "secret") + support.encode("GET", "big") * gets)
            found.append(sock)
        return found

    def test_never_read_without_limit(self):
        """10 GB are asked for and not read: they are not made."""
        client = self.client()
        client.ok("SET", "big", "x" * MB)
        before = self.rss()
        with shards.Others(self.server, "secret"):
            self.never_reading(20, 500)
            deadline = time.monotonic() + 1.5
            while time.monotonic() < deadline:
                self.bounded(400 * MB, before, "20 clients that do not read")
                time.sleep(0.02)
        client.ok("CLIENT", "LIST")

    def test_never_read_then_read(self):
        """Who reads at last gets everything, in order."""
        self.client().ok("SET", "big", "x" * MB)
        sock = self.never_reading(1, 100)[0]
        time.sleep(0.2)
        left = 5 + 100 * (MB + 12)
        while left > 0:
            data = sock.recv(MB)
            self.assertTrue(data, f"closed with {left} bytes to come")
            left -= len(data)
        self.assertEqual(left, 0)

    def test_never_read_with_a_limit(self):
        """client-output-buffer-limit closes them, and only them."""
        client = self.client()
        client.ok("SET", "big", "x" * MB)
        client.ok("CONFIG", "SET", "client-output-buffer-limit", "normal 8mb 4mb 1")
        try:
            hard = self.never_reading(5, 200)
            soft = self.never_reading(1, 7)
            reader = self.client()
            for _ in range(50):
                self.assertEqual(len(reader.ok("GET", "big")), MB)
            listed = shards.until(lambda: client.ok("CLIENT", "LIST").count(b"cmd=get ") <= 1, 15)
            self.assertTrue(listed, client.ok("CLIENT", "LIST").decode())
            for sock in hard + soft:
                with self.assertRaises((ConnectionResetError, EOFError)):
                    while True:
                        if not sock.recv(1 << 20):
                            raise EOFError
        finally:
            client.ok("CONFIG", "SET", "client-output-buffer-limit", "normal 0 0 0")


class Floods(BadInputTest):
    options = ["--maxclients", "2500"]

    @classmethod
    def setUpClass(cls):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < POOL * 2 + 200 <= hard:
            resource.setrlimit(resource.RLIMIT_NOFILE, (POOL * 2 + 200, hard))
        super().setUpClass()

    def test_more_than_maxclients(self):
        """3000 connections where 2500 are allowed: the rest is told so, the first are served."""
        early = self.client()
        self.assertEqual(early.call("PING"), support.PONG)
        with shards.Others(self.server):
            time.sleep(0.1)
            socks = self.sockets(POOL)
            refused, served = 0, 0
            for sock in socks:
                try:
                    sock.sendall(b"PING\r\n")
                except OSError:
                    pass
            for sock in socks:
                try:
                    reply = sock.recv(100)
                except ConnectionResetError:
                    reply = b"-ERR max number of clients reached\r\n"
                if reply == b"+PONG\r\n":
                    served += 1
                else:
                    self.assertEqual(reply, b"-ERR max number of clients reached\r\n")
                    refused += 1
            self.assertTrue(2500 - 10 <= served <= 2500, served)
            self.assertEqual(served + refused, POOL)
            self.assertEqual(early.call("PING"), support.PONG)
            for sock in socks:
                sock.close()
        self.assertTrue(shards.until(lambda: self.listed() <= 2), "closed clients are listed")

    def listed(self):
        with self.server.client() as client:
            reply = client.call("CLIENT", "LIST")
            return POOL if isinstance(reply, support.Error) else reply.count(b"\n")

    def test_come_and_go(self):
        """Connections that come and go as fast as they can, most of them without a word."""
        with shards.Others(self.server):
            deadline = time.monotonic() + 1
            while time.monotonic() < deadline:
                for sock in self.sockets_now(50):
                    if self.rng.random() < 0.3:
                        sock.sendall(b"PING\r\n")
                    if self.rng.random() < 0.5:
                        reset(sock)
                    else:
                        sock.close()
        self.assertTrue(shards.until(lambda: self.listed() <= 1), "closed clients are listed")

    def sockets_now(self, count):
        return [connected(self.server.address) for _ in range(count)]


if __name__ == "__main__":
    support.unittest.main()
