"""TLS: handshakes and who is let in, data in both directions, settings while the server runs, what
bad clients can do, and that a TLS connection is a connection like any other (pub/sub, MONITOR,
moving to another worker). Redis' tools are among the clients; where texts matter, Debian's
redis-server is asked as well.
"""
# matrix: engines

import re
import select
import socket
import ssl
import subprocess
import sys
import threading
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import support, tls_files  # noqa: E402

V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
HANDSHAKE_SECONDS = 10  # timer.c


def setUpModule():
    tls_files.make()


def files():
    return tls_files.make()


class Client(support.Client):
    """A connection whose socket is wrapped."""

    def __init__(self, port, context=None, session=None, resp=2, timeout=support.REPLY_SECONDS):
        raw = socket.create_connection((support.HOST, port), timeout)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        context = context or files().client()
        try:
            self.sock = context.wrap_socket(raw, server_hostname="localhost", session=session,
                                            suppress_ragged_eofs=False)
        except BaseException:
            raw.close()
            raise
        self.buffer = bytearray()
        self.at = 0
        if resp != 2:
            self.ok("HELLO", resp)


def both_ways(sock, sent, wanted):
    """Sends and receives as either can be done, in one thread: a TLS connection is for one."""
    received, view = bytearray(), memoryview(sent)
    deadline = time.monotonic() + support.REPLY_SECONDS
    sock.setblocking(False)
    while len(received) < wanted:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(received)} of {wanted} bytes, {len(view)} not sent")
        try:
            view = view[sock.send(view[:1 << 16]):] if view else view
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        try:
            received += sock.recv(1 << 16)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            select.select([sock], [sock] if view else [], [], 1)
    sock.settimeout(support.REPLY_SECONDS)
    return received


class Wire:
    """TLS by hand: what goes over the socket is the test's choice."""

    def __init__(self, port, context=None):
        self.sock = socket.create_connection((support.HOST, port), support.REPLY_SECONDS)
        self.received, self.sent = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = context or files().client()
        self.tls = context.wrap_bio(self.received, self.sent, server_hostname="localhost")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def fill(self):
        data = self.sock.recv(1 << 16)
        if data:
            self.received.write(data)
        else:
            self.received.write_eof()

    def push(self, piece=1 << 20):
        data = self.sent.read()
        for at in range(0, len(data), piece):
            self.sock.sendall(data[at:at + piece])

    def shake_hands(self, piece=1 << 20):
        while True:
            try:
                self.tls.do_handshake()
                self.push(piece)
                return
            except ssl.SSLWantReadError:
                self.push(piece)
                self.fill()

    def read(self, count):
        data = b""
        while len(data) < count:
            try:
                data += self.tls.read(count - len(data))
            except ssl.SSLWantReadError:
                self.fill()
        return data


def start(*options, maker=support.server, **more):
    """A server on a plain and a TLS port (server.tls)."""
    port = support.free_port()
    server = maker("--tls-port", str(port), *map(str, options), **more)
    server.tls = port
    return server


class Base(unittest.TestCase):
    def start(self, *options, **more):
        server = start(*options, **more)
        self.addCleanup(server.stop)
        return server

    def client(self, *args, **more):
        client = Client(*args, **more)
        self.addCleanup(client.close)
        return client

    def assertServes(self, port, context=None, **more):
        with Client(port, context, **more) as client:
            self.assertEqual(client.call("PING"), support.PONG)
            return client.sock.version()

    def assertRefuses(self, port, context=None):
        with self.assertRaises((ssl.SSLError, ConnectionError)):
            with Client(port, context, timeout=20) as client:
                client.call("PING")


# ---- who is let in -------------------------------------------------------------------------------


class Handshakes(Base):
    def test_clients_with_certificates(self):
        """Each mode meets each client, under 1.2 and 1.3, as it does with redis-server."""
        everybody = [None, "client", "stranger", "expired"]
        welcome = {"yes": ["client"], "optional": [None, "client"], "no": everybody}
        for mode, names in welcome.items():
            ours = self.start(*files().server(auth=mode))
            theirs = self.start(*files().server(auth=mode), maker=support.oracle)
            for server in (theirs, ours):
                for version in (V12, V13):
                    for name in everybody:
                        with self.subTest(mode=mode, version=version, name=name,
                                          server=server.name):
                            context = files().client(name, version)
                            if name in names:
                                self.assertServes(server.tls, context)
                            else:
                                self.assertRefuses(server.tls, context)
                with server.client() as plain:
                    self.assertEqual(plain.call("PING"), support.PONG)

    def test_the_client_looks_as_well(self):
        server = self.start(*files().server("expired"))
        with self.assertRaises(ssl.SSLCertVerificationError):
            Client(server.tls)
        good = self.start(*files().server())
        with self.assertRaises(ssl.SSLCertVerificationError):
            Client(good.tls, files().client(ca="other"))
        self.assertServes(good.tls)

    def test_versions(self):
        server = self.start(*files().server())
        self.assertEqual(self.assertServes(server.tls, files().client(version=V12)), "TLSv1.2")
        self.assertEqual(self.assertServes(server.tls, files().client(version=V13)), "TLSv1.3")
        server = self.start(*files().server(), "--tls-protocols", "TLSv1.2")
        self.assertEqual(self.assertServes(server.tls), "TLSv1.2")
        self.assertRefuses(server.tls, files().client(version=V13))

    def test_ciphers(self):
        names = ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"]
        client = files().client(version=V12)
        client.set_ciphers(":".join(names))
        for prefer, chosen in (("no", names[0]), ("yes", names[1])):
            server = self.start(*files().server(), "--tls-ciphers", ":".join(reversed(names)),
                                "--tls-prefer-server-ciphers", prefer)
            with Client(server.tls, client) as c:
                self.assertEqual(c.sock.cipher()[0], chosen)
        server = self.start(*files().server(), "--tls-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256")
        with Client(server.tls) as c:
            self.assertEqual(c.sock.cipher()[0], "TLS_CHACHA20_POLY1305_SHA256")

    def test_dh_parameters(self):
        context = files().client(version=V12)
        context.set_ciphers("DHE-RSA-AES256-GCM-SHA384")
        for more in ([], ["--tls-dh-params-file", files()["dh.pem"]]):
            server = self.start(*files().server("server2"), *more)
            with Client(server.tls, context) as c:
                self.assertEqual(c.sock.cipher()[0], "DHE-RSA-AES256-GCM-SHA384")

    def test_key_with_a_password(self):
        options = [*files().server(), "--tls-key-file", files()["locked.key"]]
        server = self.start(*options, "--tls-key-file-pass", tls_files.PASSWORD)
        self.assertServes(server.tls)
        for wrong in ([], ["--tls-key-file-pass", "wrong"]):
            server = start(*options, *wrong, ready=False)
            self.assertEqual(server.wait(), 1)
            self.assertIn("Failed to load private key", server.log())
            server.forget()

    def test_a_start_that_fails(self):
        cases = [([], "No tls-cert-file configured!"),
                 (["--tls-cert-file", files()["server.crt"]], "No tls-key-file configured!"),
                 ([*files().server(auth="yes"), "--tls-ca-cert-file", ""],
                  "Either tls-ca-cert-file or tls-ca-cert-dir must be specified"),
                 ([*files().server(), "--tls-key-file", files()["client.key"]],
                  "Failed to load private key"),
                 ([*files().server(), "--tls-protocols", "TLSv9"],
                  "Invalid tls-protocols specified")]
        for options, reason in cases:
            with self.subTest(reason=reason):
                server = start(*options, ready=False)
                self.assertEqual(server.wait(), 1)
                self.assertIn(reason, server.log())
                self.assertIn("Failed to configure TLS. Check logs for more info.", server.log())
                server.forget()

    def test_tls_only(self):
        server = start(*files().server(), "--port", "0", ready=False)
        self.addCleanup(server.stop)
        deadline = time.monotonic() + support.START_SECONDS
        while "Ready to accept" not in server.log() and time.monotonic() < deadline:
            time.sleep(0.02)
        self.assertServes(server.tls)
        with Client(server.tls) as client:
            info = client.ok("INFO", "server").decode()
        self.assertIn(f"tcp_port:{server.tls}\r\n", info)
        self.assertRegex(info, rf"listener0:name=tls,bind=[^\r]*,port={server.tls}\r\n")

    def test_healthcheck_without_a_plain_port(self):
        options = [*map(str, files().server(auth="yes")), "--port", "0"]
        server = start(*options, ready=False)
        self.addCleanup(server.stop)
        command = [support.program(), *options, "--tls-port", str(server.tls), "--healthcheck"]
        deadline = time.monotonic() + support.START_SECONDS
        while subprocess.run(command, timeout=60).returncode and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertEqual(subprocess.run(command, timeout=60).returncode, 0)
        command[command.index("--tls-port") + 1] = str(support.free_port())
        self.assertEqual(subprocess.run(command, timeout=60).returncode, 1)

    def test_resumption(self):
        """By tickets, which redis-server gives even without caching, and by 1.2's cache (where
        redis-server forgets a session with its connection)."""
        def resumed(port, version, tickets):
            context = files().client(version=version)
            if not tickets:
                context.options |= ssl.OP_NO_TICKET
            with Client(port, context) as first:
                first.ok("PING")
                session = first.sock.session
                first.ok("PING")
            with Client(port, context, session=session) as second:
                second.ok("PING")
                return second.sock.session_reused

        for caching in ("yes", "no"):
            options = [*files().server(), "--tls-session-caching", caching]
            ours, theirs = self.start(*options), self.start(*options, maker=support.oracle)
            for case in ((V12, True), (V12, False), (V13, True)):
                with self.subTest(caching=caching, case=case):
                    result = resumed(ours.tls, *case)
                    if case[1]:
                        self.assertEqual(result, resumed(theirs.tls, *case))
                    self.assertEqual(result, case[1] or caching == "yes")

    def test_resumption_keeps_who_is_let_in(self):
        server = self.start(*files().server(auth="yes"))
        context = files().client("client", V13)
        with Client(server.tls, context) as first:
            first.ok("PING")
            session = first.sock.session
        with Client(server.tls, context, session=session) as second:
            second.ok("PING")
            self.assertTrue(second.sock.session_reused)

    def test_renegotiation_is_refused(self):
        server = self.start(*files().server())
        client = subprocess.Popen(
            ["openssl", "s_client", "-connect", f"{support.HOST}:{server.tls}", "-tls1_2",
             "-CAfile", files()["ca.crt"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT)
        client.stdin.write(b"PING\r\n")
        client.stdin.flush()
        time.sleep(0.5)
        client.stdin.write(b"R\n")
        client.stdin.flush()
        time.sleep(0.5)
        text = client.communicate(timeout=30)[0].decode(errors="replace")
        self.assertIn("+PONG", text)
        self.assertIn("RENEGOTIATING", text)
        self.assertIn("no renegotiation", text)
        self.assertServes(server.tls)


# ---- data ----------------------------------------------------------------------------------------


class Data(Base):
    @classmethod
    def setUpClass(cls):
        cls.server = start(*files().server())
        cls.addClassCleanup(cls.server.stop)

    def setUp(self):
        with self.server.client() as plain:
            plain.ok("FLUSHALL")

    def test_large_values(self):
        for version in (V12, V13):
            client = self.client(self.server.tls, files().client(version=version))
            for size in (0, 1, 16383, 16384, 16385, 65536, 1 << 20, 24 << 20):
                value = bytes(range(256)) * (size // 256 + 1)
                value = value[:size]
                self.assertEqual(client.call("SET", "k", value), support.OK)
                self.assertEqual(client.call("GET", "k"), value)

    def test_pipelines_in_both_directions(self):
        """Requests and replies of 20 MB each, sent and received at once."""
        client = self.client(self.server.tls)
        values = [b"%d:" % i + b"v" * (i * 37 % 40_000) for i in range(1000)]
        parts = [support.encode("SET", f"k{i}", value) + support.encode("GET", f"k{i}")
                 for i, value in enumerate(values)]
        wanted = b"".join(b"+OK\r\n$%d\r\n%b\r\n" % (len(v), v) for v in values)
        self.assertEqual(bytes(both_ways(client.sock, b"".join(parts), len(wanted))), wanted)

    def test_a_slow_reader_gets_everything(self):
        slow, other = self.client(self.server.tls), self.client(self.server.tls)
        value = b"x" * 1_000_000
        slow.ok("SET", "big", value)
        slow.send_bytes(support.encode("GET", "big") * 60)
        for _ in range(100):
            self.assertEqual(other.call("PING"), support.PONG)
        for _ in range(60):
            self.assertEqual(len(slow.read()), len(value))
        self.assertEqual(slow.call("ECHO", "end"), b"end")

    def test_a_reader_that_never_reads_holds_little(self):
        idle, other = self.client(self.server.tls), self.client(self.server.tls)
        other.ok("SET", "big", b"x" * 1_000_000)
        idle.send_bytes(support.encode("GET", "big") * 1000)
        deadline = time.monotonic() + 10
        held = 0
        while time.monotonic() < deadline:
            lines = other.ok("CLIENT", "LIST").decode().splitlines()
            held = max(int(re.search(r"tot-mem=(\d+)", line)[1]) for line in lines)
            if held > 1 << 20:
                break
        self.assertLess(held, 16 << 20)
        idle.close()
        self.assertEqual(other.call("PING"), support.PONG)

    def test_any_split_of_the_bytes(self):
        for version in (V12, V13):
            for piece in (1, 7):
                with Wire(self.server.tls, files().client(version=version)) as wire:
                    wire.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    wire.shake_hands(piece)
                    wire.tls.write(b"PING\r\nECHO abc\r\n")
                    wire.push(piece)
                    self.assertEqual(wire.read(16), b"+PONG\r\n$3\r\nabc\r\n")

    def test_a_request_in_the_same_flight_as_the_handshake(self):
        with Wire(self.server.tls, files().client(version=V13)) as wire:
            while True:
                try:
                    wire.tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    wire.push()
                    wire.fill()
            wire.tls.write(b"PING\r\n")  # behind Finished, in one segment
            wire.push()
            self.assertEqual(wire.read(7), b"+PONG\r\n")

    def test_many_small_records(self):
        with Wire(self.server.tls) as wire:
            wire.shake_hands()
            for byte in b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000\r\n" + b"v" * 1000 + b"\r\n":
                wire.tls.write(bytes([byte]))
            wire.push()
            self.assertEqual(wire.read(5), b"+OK\r\n")

    def test_close_notify_of_the_server(self):
        """QUIT, a protocol error and CLIENT KILL end with it; a cut would raise SSLEOFError."""
        for request in (support.encode("QUIT"), b"*1\r\n!x\r\n"):
            client = self.client(self.server.tls)
            client.send_bytes(request)
            client.read()
            self.assertEqual(client.sock.recv(10), b"")
        client = self.client(self.server.tls)
        number = client.ok("CLIENT", "ID")
        with self.server.client() as plain:
            self.assertEqual(plain.ok("CLIENT", "KILL", "ID", number), 1)
        self.assertEqual(client.sock.recv(10), b"")

    def test_a_large_reply_before_quit(self):
        client = self.client(self.server.tls)
        client.ok("SET", "k", b"x" * 8_000_000)
        client.send_bytes(support.encode("GET", "k") + support.encode("QUIT"))
        time.sleep(0.2)
        self.assertEqual(len(client.read()), 8_000_000)
        self.assertEqual(client.read(), support.OK)
        self.assertEqual(client.sock.recv(10), b"")

    def test_close_notify_of_the_client(self):
        """What came before it is answered."""
        with Wire(self.server.tls) as wire:
            wire.shake_hands()
            wire.tls.write(b"SET k v\r\nGET k\r\n")
            try:
                wire.tls.unwrap()
            except ssl.SSLWantReadError:
                pass
            wire.push()
            while True:
                data = wire.sock.recv(1 << 16)
                if not data:
                    break
                wire.received.write(data)
        with self.server.client() as plain:
            self.assertEqual(plain.call("GET", "k"), b"v")

    def test_pubsub(self):
        for resp in (2, 3):
            sub, pub = self.client(self.server.tls, resp=resp), self.client(self.server.tls)
            sub.ok("SUBSCRIBE", "news")
            for i in range(300):
                pub.send("PUBLISH", "news", b"%d" % i + b"x" * (i * 97 % 30_000))
            for i in range(300):
                self.assertEqual(sub.read()[2], b"%d" % i + b"x" * (i * 97 % 30_000))
            self.assertEqual([pub.read() for _ in range(300)], [1] * 300)
            sub.ok("UNSUBSCRIBE")

    def test_monitor_and_blocking(self):
        watch, client = self.client(self.server.tls), self.client(self.server.tls)
        self.assertEqual(watch.call("MONITOR"), support.OK)
        client.ok("SET", "a", "b")
        self.assertIn(b'"SET" "a" "b"', watch.read())
        waiter = self.client(self.server.tls)
        waiter.send("BLPOP", "list", 0)
        client.ok("RPUSH", "list", "x")
        self.assertEqual(waiter.read(), [b"list", b"x"])

    def test_what_it_is_shown_as(self):
        client = self.client(self.server.tls)
        line = client.ok("CLIENT", "INFO").decode()
        self.assertIn(f"laddr={support.HOST}:{self.server.tls} ", line)
        info = client.ok("INFO", "server").decode()
        self.assertIn(f"tcp_port:{self.server.port}\r\n", info)
        self.assertRegex(info, rf"listener1:name=tls,bind=[^\r]*,port={self.server.tls}\r\n")


class Moving(Base):
    def test_a_connection_that_changes_its_worker(self):
        """A full worker gives connections away; counters then show a lost or doubled reply."""
        server = self.start(*files().server(), "--threads", "2", "--connection-placement", "packed")
        over, wrong = threading.Event(), []

        def load(number):
            client, value = Client(server.tls), 0
            name = b"counter:%d" % number
            while not over.is_set():
                client.send_bytes(support.encode("INCR", name) * 200)
                for _ in range(200):
                    value += 1
                    if client.value() != value:
                        wrong.append((name, value))
                        return
            client.close()

        threads = [threading.Thread(target=load, args=(i,), daemon=True) for i in range(6)]
        for thread in threads:
            thread.start()
        busy = [self.client(server.tls) for _ in range(4)]
        give_up = time.monotonic() + 60
        moved = 0
        while not moved and not wrong and time.monotonic() < give_up:
            for client in busy:
                client.send_bytes(support.encode("SETRANGE", "big", "4000000", "x") +
                                  support.encode("BITCOUNT", "big") * 60)
            for client in busy:
                for _ in range(61):
                    client.value()
            with server.client() as plain:
                moved = sum(map(int, re.findall(r"migrated=(\d+)",
                                                plain.ok("INFO", "all").decode())))
        over.set()
        for thread in threads:
            thread.join()
        self.assertFalse(wrong)
        self.assertGreater(moved, 0)


# ---- bad clients ---------------------------------------------------------------------------------


class BadClients(Base):
    @classmethod
    def setUpClass(cls):
        cls.server = start(*files().server())
        cls.addClassCleanup(cls.server.stop)

    def tearDown(self):
        self.assertServes(self.server.tls)

    def raw(self):
        sock = socket.create_connection((support.HOST, self.server.tls), support.REPLY_SECONDS)
        self.addCleanup(sock.close)
        return sock

    def assertCloses(self, sock):
        try:
            while sock.recv(1 << 16):
                pass
        except ConnectionError:
            pass

    def test_what_is_no_handshake(self):
        first = [b"PING\r\n", b"*1\r\n$4\r\nPING\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\0" * 100,
                 b"\xff" * 100_000, b"\x16\x03\x01\xff\xff" + b"x" * 70_000,
                 b"\x16\x03\x01\x00\x00" * 1000, b"\x17\x03\x03\x00\x05hello",
                 b"\x15\x03\x01\x00\x02\x02\x28", b"\x80\x2e\x01\x03\x01" + b"x" * 100]
        for data in first:
            with self.subTest(data=data[:20]):
                sock = self.raw()
                try:
                    sock.sendall(data)
                    sock.shutdown(socket.SHUT_WR)
                except OSError:
                    pass
                self.assertCloses(sock)

    def test_garbage_after_the_handshake(self):
        for data in (b"PING\r\n", b"\x17\x03\x03\xff\xff" + b"x" * 70_000,
                     b"\x17\x03\x03\x00\x20" + b"x" * 32, b"\x16\x03\x03\x00\x04\x18\0\0\1"):
            for version in (V12, V13):
                with self.subTest(data=data[:10], version=version):
                    with Wire(self.server.tls, files().client(version=version)) as wire:
                        wire.shake_hands()
                        wire.tls.write(b"PING\r\n")
                        wire.push()
                        self.assertEqual(wire.read(7), b"+PONG\r\n")
                        try:
                            wire.sock.sendall(data)
                        except OSError:
                            pass
                        self.assertCloses(wire.sock)

    def test_endless_handshake(self):
        """Well-formed records of a message that never ends: closed after some 100 KiB at most."""
        sock = self.raw()
        piece = b"\x16\x03\x01\x40\x00" + b"\x01\xff\xff\xff" + b"x" * (0x4000 - 4)
        with self.assertRaises(OSError):
            for _ in range(1000):
                sock.sendall(piece)
        self.assertCloses(sock)

    def test_half_handshakes(self):
        """Many that never go on, and some that leave: others are served, and all are closed when
        their time is over."""
        begun = []
        for i in range(60):
            wire = Wire(self.server.tls)
            self.addCleanup(wire.sock.close)
            try:
                wire.tls.do_handshake()
            except ssl.SSLWantReadError:
                pass
            hello = wire.sent.read()
            wire.sock.sendall(hello[:i * len(hello) // 60])
            begun.append(wire)
        for wire in begun[::2]:
            wire.sock.close()
        self.assertServes(self.server.tls)
        start_s = time.monotonic()
        for wire in begun[1::2]:
            wire.sock.settimeout(HANDSHAKE_SECONDS + 20)
            self.assertCloses(wire.sock)
        self.assertGreater(time.monotonic() - start_s, 1)
        with self.server.client() as plain:
            self.assertEqual(plain.ok("CLIENT", "LIST").count(b"\n"), 1)

    def test_many_at_once(self):
        """More handshakes than a pass makes: all are served, in turn, and nobody is forgotten."""
        failed = []

        def one():
            try:
                for version in (V12, V13):
                    self.assertServes(self.server.tls, files().client(version=version))
            except Exception as error:
                failed.append(error)

        threads = [threading.Thread(target=one) for _ in range(100)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertFalse(failed)

    def test_key_updates_without_end(self):
        """`K` asks the server for a new key each time: answered, not hoarded."""
        client = subprocess.Popen(
            ["openssl", "s_client", "-connect", f"{support.HOST}:{self.server.tls}", "-tls1_3",
             "-CAfile", files()["ca.crt"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT)
        time.sleep(0.3)
        for _ in range(10):
            client.stdin.write(b"K\n")
            client.stdin.flush()
            time.sleep(0.02)
        client.stdin.write(b"ECHO done\r\n")
        client.stdin.flush()
        time.sleep(0.5)
        self.assertIn(b"done", client.communicate(timeout=30)[0])

    def test_cut_in_the_middle(self):
        for i in range(50):
            wire = Wire(self.server.tls)
            wire.shake_hands()
            wire.tls.write(b"SET k " + b"v" * 5000 + b"\r\n")
            data = wire.sent.read()
            wire.sock.sendall(data[:len(data) * i // 50])
            wire.sock.close()


class Limits(Base):
    def test_maxclients(self):
        server = self.start(*files().server(), "--maxclients", "3")
        kept = [self.client(server.tls) for _ in range(3)]
        for client in kept:
            client.ok("PING")
        self.assertRefuses(server.tls)
        kept.pop().close()
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                self.assertServes(server.tls)
                break
            except (ssl.SSLError, ConnectionError):
                time.sleep(0.05)
        else:
            self.fail("no room again")

    def test_protected_mode(self):
        address = support.own_address()
        if not address:
            self.skipTest("only a loopback address here")
        denied = []
        for maker in (support.server, support.oracle):
            server = self.start(*files().server(), "--bind", "*", maker=maker)
            raw = socket.create_connection((address, server.tls), support.REPLY_SECONDS)
            with files().client().wrap_socket(raw, server_hostname="localhost") as sock:
                text = b""
                while not text.endswith(b"\r\n"):
                    text += sock.recv(4096)
                denied.append(text)
        self.assertTrue(denied[0].startswith(b"-DENIED "))
        self.assertEqual(denied[0][:200], denied[1][:200])

    def test_requirepass(self):
        server = self.start(*files().server(), "--requirepass", "secret")
        client = self.client(server.tls)
        self.assertEqual(client.call("PING").code, "NOAUTH")
        client.ok("AUTH", "secret")
        self.assertEqual(client.call("PING"), support.PONG)


# ---- settings ------------------------------------------------------------------------------------


class Settings(Base):
    def test_refused_as_by_redis(self):
        """Texts to the byte, and what was in force stays."""
        options = files().server(auth="optional")
        ours, theirs = self.start(*options), self.start(*options, maker=support.oracle)
        cases = [("tls-cert-file", "/nonexistent"), ("tls-cert-file", files()["ca.key"]),
                 ("tls-key-file", files()["client.key"]), ("tls-key-file", ""),
                 ("tls-ca-cert-file", "/nonexistent"), ("tls-ca-cert-file", ""),
                 ("tls-protocols", "TLSv7"), ("tls-ciphers", "nosuch"),
                 ("tls-ciphersuites", "nosuch"), ("tls-dh-params-file", files()["ca.crt"]),
                 ("tls-auth-clients", "maybe"), ("tls-session-cache-size", "-1"),
                 ("tls-session-caching", "perhaps"), ("tls-prefer-server-ciphers", "2"),
                 ("tls-session-cache-timeout", "soon"), ("tls-port", "70000")]
        for name, value in cases:
            with self.subTest(name=name, value=value):
                replies, values = [], []
                for server in (ours, theirs):
                    with server.client() as plain:
                        replies.append(plain.call("CONFIG", "SET", name, value))
                        values.append(plain.ok("CONFIG", "GET", name))
                self.assertIsInstance(replies[0], support.Error)
                self.assertEqual(replies[0], replies[1])
                if name != "tls-port":
                    self.assertEqual(values[0], values[1])
                self.assertServes(ours.tls)

    def test_several_at_once(self):
        server = self.start(*files().server())
        with server.client() as plain, Client(server.tls) as old:
            before = old.sock.getpeercert()["subject"]
            plain.ok("CONFIG", "SET", "tls-cert-file", files()["server2.crt"],
                     "tls-key-file", files()["server2.key"])
            with Client(server.tls) as new:
                after = new.sock.getpeercert()["subject"]
                self.assertEqual(new.call("PING"), support.PONG)
            self.assertNotEqual(before, after)
            self.assertEqual(old.call("PING"), support.PONG)  # keeps what it was made of
            plain.ok("CONFIG", "SET", "tls-auth-clients", "yes")
            self.assertRefuses(server.tls)
            self.assertServes(server.tls, files().client("client"))
            plain.ok("CONFIG", "SET", "tls-protocols", "TLSv1.2", "tls-auth-clients", "no")
            self.assertEqual(self.assertServes(server.tls), "TLSv1.2")

    def test_renewed_files(self):
        """The same name, set again: the file is read again."""
        folder = Path(files().folder)
        for end in ("crt", "key"):
            (folder / f"live.{end}").write_bytes(files()[f"server.{end}"].read_bytes())
        server = self.start(*files().server("live"))
        for end in ("crt", "key"):
            (folder / f"live.{end}").write_bytes(files()[f"server2.{end}"].read_bytes())
        with server.client() as plain:
            plain.ok("CONFIG", "SET", "tls-cert-file", files()["live.crt"])
        with Client(server.tls) as new:
            self.assertIn((("commonName", "server2"),), new.sock.getpeercert()["subject"])

    def test_reload_under_load(self):
        server = self.start(*files().server())
        over, wrong = threading.Event(), []

        def load(number):
            try:
                while not over.is_set():
                    with Client(server.tls) as client:
                        for i in range(20):
                            client.ok("SET", f"k{number}", "x" * 3000)
                            if client.ok("GET", f"k{number}") != b"x" * 3000:
                                wrong.append(number)
            except Exception as error:
                wrong.append(error)

        threads = [threading.Thread(target=load, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        with server.client() as plain:
            for i in range(30):
                name = "server2" if i % 2 else "server"
                plain.ok("CONFIG", "SET", "tls-cert-file", files()[f"{name}.crt"],
                         "tls-key-file", files()[f"{name}.key"])
                self.assertIsInstance(plain.call("CONFIG", "SET", "tls-cert-file", "/nonexistent"),
                                      support.Error)
        over.set()
        for thread in threads:
            thread.join()
        self.assertFalse(wrong)

    def test_rewrite(self):
        lines = "".join(f"{option[2:]} {value}\n" for option, value in
                        zip(*[map(str, files().server())] * 2))
        port = support.free_port()
        server = support.Server([support.program(), "redis.conf"], "splitring",
                                files={"redis.conf": f"tls-port {port}\n{lines}"})
        self.addCleanup(server.stop)
        with server.client() as plain:
            plain.ok("CONFIG", "SET", "tls-auth-clients", "optional", "tls-session-caching", "no")
            plain.ok("CONFIG", "REWRITE")
        text = (server.folder / "redis.conf").read_text()
        for line in ("tls-auth-clients optional", "tls-session-caching no", f"tls-port {port}",
                     f'tls-cert-file {files()["server.crt"]}'):
            self.assertIn(line, text.replace('"', ""))


# ---- Redis' own tools ----------------------------------------------------------------------------


class Tools(Base):
    def test_redis_cli(self):
        server = self.start(*files().server(auth="yes"))
        command = ["redis-cli", "-p", str(server.tls), "--tls", "--cacert", files()["ca.crt"],
                   "--cert", files()["client.crt"], "--key", files()["client.key"]]
        def run(*args, **more):
            done = subprocess.run([*map(str, command), *args], capture_output=True, timeout=60,
                                  **more)
            self.assertEqual(done.returncode, 0, done.stderr)
            return done.stdout
        self.assertEqual(run("PING"), b"PONG\n")
        self.assertEqual(run("-3", "SET", "k", "v"), b"OK\n")
        self.assertEqual(run("GET", "k"), b"v\n")
        many = b"".join(support.encode("SET", f"key:{i}", "x" * 100) for i in range(5000))
        self.assertIn(b"errors: 0, replies: 5000", run("--pipe", input=many))
        self.assertIn(b"Keys sampled: 5001", run("--bigkeys").replace(b"Sampled 5001 keys",
                                                                    b"Keys sampled: 5001"))

    def test_redis_benchmark(self):
        server = self.start(*files().server())
        for pipeline in ("1", "16"):
            done = subprocess.run(
                ["redis-benchmark", "-p", str(server.tls), "--tls", "--cacert", files()["ca.crt"],
                 "-t", "set,get,lrange_100", "-n", "3000", "-P", pipeline, "--csv"],
                capture_output=True, timeout=120)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn(b'"SET"', done.stdout)
            self.assertNotIn(b"ERR", done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
