"""Settings that meet the outside world: who is let in, what a running server can still change, and
what --healthcheck and CONFIG REWRITE make of paths and addresses.
"""

import os
import socket
import subprocess
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import support  # noqa: E402

ANYWHERE = "0.0.0.0"


def has_ipv6():
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
            return True
        except OSError:
            return False


def first_line(address):
    """What a client gets that only connects, up to the end of the stream or one PING's reply."""
    with socket.create_connection(address, timeout=support.REPLY_SECONDS) as sock:
        time.sleep(0.05)  # a refusal comes unasked
        try:
            sock.sendall(b"PING\r\n")
            data = b""
            while not data.endswith(b"\r\n"):
                part = sock.recv(65536)
                if not part:
                    break
                data += part
        except ConnectionError:
            pass
        return data


class ProtectedMode(unittest.TestCase):
    def setUp(self):
        self.address = support.own_address()
        if not self.address:
            self.skipTest("this machine has no address but the loopback")

    def stranger(self, server):
        """The greeting of a client that does not come from the loopback, before it says a word."""
        with socket.create_connection((self.address, server.port),
                                      timeout=support.REPLY_SECONDS) as sock:
            sock.settimeout(1)
            try:
                return sock.recv(65536)
            except TimeoutError:
                sock.settimeout(support.REPLY_SECONDS)
                sock.sendall(b"PING\r\n")
                return sock.recv(100)

    def test_same_words_as_the_original(self):
        with support.server("--bind", ANYWHERE) as ours, \
                support.oracle("--bind", ANYWHERE) as theirs:
            text = self.stranger(ours)
            self.assertTrue(text.startswith(b"-DENIED Redis is running in protected mode"))
            self.assertEqual(text, self.stranger(theirs))
            with ours.client() as client:
                stats = client.ok("INFO", "stats").decode()
                self.assertIn("\r\nrejected_connections:1\r\n", stats)
                self.assertIn("connected_clients:1\r\n", client.ok("INFO", "clients").decode())

    def test_changed_at_run_time(self):
        with support.server("--bind", ANYWHERE) as server, server.client() as client:
            self.assertTrue(self.stranger(server).startswith(b"-DENIED"))
            client.ok("CONFIG", "SET", "protected-mode", "no")
            self.assertEqual(self.stranger(server), b"+PONG\r\n")
            client.ok("CONFIG", "SET", "protected-mode", "yes", "requirepass", "x")
            self.assertTrue(self.stranger(server).startswith(b"-NOAUTH"))
            client.ok("CONFIG", "SET", "requirepass", "")
            self.assertTrue(self.stranger(server).startswith(b"-DENIED"))


class RunTime(support.ServerTest):
    options = ["--enable-protected-configs", "yes"]

    def setting(self, client, name):
        return client.ok("CONFIG", "GET", name)[1].decode()

    def test_addresses_are_fixed(self):
        client = self.client()
        for name, value in (("port", "1"), ("bind", "127.0.0.2")):
            before = self.setting(client, name)
            reply = client.call("CONFIG", "SET", "timeout", "3", name, value)
            self.assertIsInstance(reply, support.Error)
            self.assertIn(f"(possibly related to argument '{name}')".encode(), reply)
            for other in [client] + [self.client() for _ in range(8)]:
                self.assertEqual(self.setting(other, name), before)
                self.assertEqual(self.setting(other, "timeout"), "0")
            client.ok("CONFIG", "SET", name, before)  # the same again is no change
        self.assertIn(b"immutable", client.call("CONFIG", "SET", "unixsocket", "/tmp/x"))

    def test_directory(self):
        client = self.client()
        before = self.setting(client, "dir")
        reply = client.call("CONFIG", "SET", "dir", "/no/such/place")
        self.assertEqual(reply, b"ERR CONFIG SET failed (possibly related to argument 'dir') - "
                                b"No such file or directory")
        for other in [self.client() for _ in range(8)]:
            self.assertEqual(self.setting(other, "dir"), before)
        (self.server.folder / "sub").mkdir()
        client.ok("CONFIG", "SET", "dir", "sub")
        wanted = str((self.server.folder / "sub").resolve())
        for other in [self.client() for _ in range(8)]:
            self.assertEqual(self.setting(other, "dir"), wanted)
        self.assertEqual(os.readlink(f"/proc/{self.server.pid}/cwd"), wanted)
        client.ok("CONFIG", "SET", "dir", before)

    def test_maxclients(self):
        client = self.client()
        limit = f"/proc/{self.server.pid}/limits"

        def descriptors():
            line = next(x for x in Path(limit).read_text().splitlines() if "open files" in x)
            return int(line.split()[3])
        client.ok("CONFIG", "SET", "maxclients", "2")
        with self.server.client() as second:
            second.ok("PING")
            self.assertEqual(first_line(self.server.address),
                             b"-ERR max number of clients reached\r\n")
        more = descriptors() + 1000
        reply = client.call("CONFIG", "SET", "maxclients", str(more))
        if reply == support.OK:
            self.assertGreater(descriptors(), more)
        else:  # not root, or at the limit of the machine
            self.assertIn(b"The operating system is not able to handle", reply)
        reply = client.call("CONFIG", "SET", "maxclients", "4000000000")
        self.assertRegex(reply, rb"The operating system is not able to handle the specified number "
                                rb"of clients, try with \d+$")
        client.ok("CONFIG", "SET", "maxclients", "10000")

    def test_timeout(self):
        """Idle clients are closed, those of workers that have nothing to do too."""
        clients = [self.client() for _ in range(8)]
        for client in clients:
            client.ok("PING")
        busy = self.client()
        busy.ok("CONFIG", "SET", "timeout", "1")
        late = [self.client() for _ in range(4)]  # never say a word
        self.addCleanup(busy.close)
        begun = time.monotonic()
        while time.monotonic() - begun < 4:
            busy.ok("PING")
            time.sleep(0.2)
        for client in clients + late:
            self.assertTrue(client.closed_by_server(5))
        busy.ok("CONFIG", "SET", "timeout", "0")

    def test_policy(self):
        client = self.client()
        client.pipeline([("SET", f"k{n}", n) for n in range(50)])
        self.assertIsInstance(client.call("OBJECT", "FREQ", "k1"), support.Error)
        client.ok("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
        for n in range(50):
            client.ok("GET", f"k{n}")
            self.assertIsInstance(client.ok("OBJECT", "FREQ", f"k{n}"), int)
        client.ok("CONFIG", "SET", "maxmemory-policy", "noeviction")
        self.assertIsInstance(client.ok("OBJECT", "IDLETIME", "k1"), int)

    def test_ignored_directives_leave_a_note(self):
        client = self.client()
        client.ok("CONFIG", "SET", "hz", "50", "timeout", "0")
        log = self.server.log()
        self.assertIn("CONFIG SET hz: accepted without effect", log)
        self.assertNotIn("CONFIG SET timeout: accepted", log)


class Rewrite(unittest.TestCase):
    def test_relative_file_and_another_directory(self):
        """CONFIG REWRITE finds the file it was started with, wherever `dir` has led."""
        files = {"mine.conf": "timeout 5\nsave \"\"\ndir sub\n", "sub/other": ""}
        command = [support.program(), "mine.conf", "--bind", support.HOST]
        with support.Server(command, "rewrite", files=files) as server, server.client() as client:
            file = server.folder.resolve() / "mine.conf"
            self.assertIn(f"config_file:{file}\r\n".encode(), client.ok("INFO", "server"))
            client.ok("CONFIG", "SET", "timeout", "9")
            client.ok("CONFIG", "REWRITE")
            self.assertIn("timeout 9\n", file.read_text())
            self.assertEqual(os.listdir(server.folder / "sub"), ["other"])


class Healthcheck(unittest.TestCase):
    def check(self, server, *options):
        command = [support.program(), "--healthcheck", "--port", str(server.port), *options]
        folder = server.folder if server.alive() else None
        return subprocess.run(command, cwd=folder, timeout=support.START_SECONDS).returncode

    def test_forms_of_bind(self):
        binds = [["127.0.0.1"], ["*"], ["0.0.0.0"], ["*", "-::*"], ["-::*", "*"],
                 ["-::1", "127.0.0.1"], ["localhost"]]
        if has_ipv6():
            binds += [["::1"], ["::*"], ["-::1"]]
        for bind in binds:
            with self.subTest(bind=bind):
                options = ["--bind", *bind, "--unixsocket", "s"]
                server = support.server(*options, ready=False)
                with server:
                    self.wait(server)
                    self.assertEqual(self.check(server, "--bind", *bind), 0)
                self.assertEqual(self.check(server, "--bind", *bind), 1)

    def wait(self, server):
        """Ready on the Unix socket, which is there whatever the addresses are."""
        deadline = time.monotonic() + support.START_SECONDS
        while time.monotonic() < deadline:
            try:
                with support.Client(server.folder / "s") as client:
                    if client.call("PING") == support.PONG:
                        return
            except (OSError, support.Closed):
                time.sleep(0.02)
        self.fail(server.log())

    def test_unix_socket_alone(self):
        for options in (["--port", "0"], ["--bind", ""]):
            with self.subTest(options=options):
                server = support.server("--unixsocket", "s", *options, ready=False)
                with server:
                    self.wait(server)
                    self.assertEqual(self.check(server, *options, "--unixsocket", "s"), 0)
                    self.assertEqual(self.check(server, *options), 1)

    def test_password(self):
        with support.server("--requirepass", "x", ready=False) as server:
            deadline = time.monotonic() + support.START_SECONDS
            while self.check(server, "--bind", support.HOST) != 0:
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.05)


if __name__ == "__main__":
    unittest.main()
