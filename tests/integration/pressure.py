#!/usr/bin/python3
"""Memory pressure: in a cgroup with a memory limit, with no setting at all, a thousand clients that
write as much as they can do not get the server killed.

The server takes a safe share of the cgroup's memory as its maxmemory. What clients make it keep
beside the data must fit into the rest: values that have arrived by half, replies that nobody reads.
The kernel would end it with SIGKILL, without a word, if it did not.
"""
# matrix: alone release

import os
import random
import select
import signal
import socket
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import support  # noqa: E402

MB = 1 << 20
LIMIT = 512 * MB
CLIENTS = 1000
SECONDS = 8


class NoCgroup(Exception):
    pass


class Cgroup:
    """A folder below our own cgroup, with a memory limit: version 1 or 2."""

    def __init__(self, limit):
        lines = [line.strip().split(":", 2) for line in open("/proc/self/cgroup", encoding="ascii")]
        own = next((path for _, names, path in lines if "memory" in names.split(",")), None)
        self.v1 = own is not None
        if self.v1:
            top = Path("/sys/fs/cgroup/memory" + own)
        else:
            own = next((path for number, _, path in lines if number == "0"), None)
            if own is None:
                raise NoCgroup("no cgroup of ours is told in /proc/self/cgroup")
            top = Path("/sys/fs/cgroup" + own)
        self.path = top / f"splitring-test-{os.getpid()}"
        try:
            self.path.mkdir()
        except OSError as error:
            raise NoCgroup(f"{self.path} cannot be made: {error.strerror}") from error
        try:
            self.write("memory.limit_in_bytes" if self.v1 else "memory.max", limit)
            if not self.v1:
                self.write("memory.swap.max", 0)
        except OSError as error:
            self.remove()
            raise NoCgroup(f"no memory limit can be set there: {error.strerror}") from error

    def write(self, name, value):
        (self.path / name).write_text(str(value))

    def read(self, name):
        return (self.path / name).read_text()

    def killed(self):
        text = self.read("memory.oom_control" if self.v1 else "memory.events")
        return next(int(line.split()[1]) for line in text.splitlines()
                    if line.startswith("oom_kill "))

    def peak(self):
        try:
            return int(self.read("memory.max_usage_in_bytes" if self.v1 else "memory.peak"))
        except OSError:
            return 0

    def remove(self):
        for _ in range(100):
            try:
                self.path.rmdir()
                return
            except OSError:  # its last process is still going
                time.sleep(0.05)

    def enter(self):
        """A shell's words that go there, and become what follows them."""
        return ["sh", "-c", f'echo $$ > "{self.path}/cgroup.procs" && exec "$@"', "sh"]


class Client:
    """Sends what `feed` gives for ever; reads, or not."""

    def __init__(self, address, feed, reads):
        self.sock = socket.socket()
        self.sock.connect(address)
        self.sock.setblocking(False)
        self.feed, self.reads = feed, reads
        self.unsent = memoryview(b"")

    def send(self):
        if not self.unsent:
            self.unsent = memoryview(next(self.feed))
        self.unsent = self.unsent[self.sock.send(self.unsent[:65536]):]


class Pressure(unittest.TestCase):
    def setUp(self):
        try:
            self.cgroup = Cgroup(LIMIT)
        except NoCgroup as error:
            self.skipTest(str(error))
        self.addCleanup(self.cgroup.remove)
        self.rng = random.Random(7)

    def serve(self, *options):
        command = self.cgroup.enter() + [support.program(), "--bind", support.HOST, "--save", ""]
        if support.threads():
            command += ["--threads", str(support.threads())]
        server = support.Server(command + list(options), "splitring",
                                port=support.free_port())
        self.addCleanup(server.stop, expect=None)
        with server.client() as client:
            if isinstance(client.call("MEMORY", "STATS"), support.Error):
                self.skipTest("maxmemory-clients is not acted upon in this version")
        return server

    def values(self, size):
        """SETs of that size; what is random in them are the keys."""
        value = b"v" * size
        while True:
            yield support.encode("SET", f"k{self.rng.randrange(5000)}", value)

    def pipelines(self):
        value = b"p" * 100
        while True:
            yield b"".join(support.encode("SET", f"s{self.rng.randrange(10_000_000)}", value)
                           for _ in range(100))

    @staticmethod
    def asks():
        while True:
            yield support.encode("GET", "big") * 100

    def drive(self, server, kinds):
        """CLIENTS clients, of the kinds in turn, for SECONDS. Closed ones come again."""
        epoll, clients = select.epoll(), {}
        self.addCleanup(epoll.close)

        def connect(kind):
            client = Client(server.address, *kinds[kind]())
            client.kind = kind
            clients[client.sock.fileno()] = client
            epoll.register(client.sock.fileno(), select.EPOLLOUT |
                           (select.EPOLLIN if client.reads else 0))

        for number in range(CLIENTS):
            connect(number % len(kinds))
        closed, end = 0, time.monotonic() + SECONDS
        while time.monotonic() < end:
            for fd, events in epoll.poll(0.1):
                client = clients[fd]
                try:
                    if events & select.EPOLLOUT:
                        client.send()
                    if events & select.EPOLLIN and not client.sock.recv(1 << 16):
                        raise ConnectionResetError
                    if events & (select.EPOLLHUP | select.EPOLLERR):
                        raise ConnectionResetError
                except BlockingIOError:
                    pass
                except ConnectionError:
                    epoll.unregister(fd)
                    clients.pop(fd).sock.close()
                    closed += 1
                    if not server.alive():
                        break
                    try:
                        connect(client.kind)
                    except ConnectionError:  # it has just ended
                        break
            if not server.alive():
                break
        for client in clients.values():
            client.sock.close()
        return closed

    def judge(self, server, closed):
        print(f"\n  {self.id().rsplit('.')[-1]}: highest use "
              f"{self.cgroup.peak() // MB} of {LIMIT // MB} MiB, {closed} connections closed",
              file=sys.stderr, flush=True)
        self.assertEqual(self.cgroup.killed(), 0)
        self.assertTrue(server.alive())
        with server.client() as client:
            self.assertEqual(client.ok("PING"), support.PONG)

    @unittest.skip("known: 1,000 clients with values of 1 MB may take more than the reserve")
    def test_large_values(self):
        for policy in ("noeviction", "allkeys-lru"):
            with self.subTest(policy):
                server = self.serve("--maxmemory-policy", policy)
                closed = self.drive(server, [lambda: (self.values(MB), True),
                                             lambda: (self.values(100_000), True)])
                self.judge(server, closed)
                server.stop()

    def test_pipelines(self):
        for policy in ("noeviction", "allkeys-lru"):
            with self.subTest(policy):
                server = self.serve("--maxmemory-policy", policy)
                closed = self.drive(server, [lambda: (self.pipelines(), True),
                                             lambda: (self.pipelines(), False)])
                self.judge(server, closed)
                server.stop()

    @unittest.skip("known: one pass may make more replies than the reserve holds")
    def test_replies_that_nobody_reads(self):
        server = self.serve()
        with server.client() as client:
            client.ok("SET", "big", b"b" * 100_000)
        closed = self.drive(server, [lambda: (self.asks(), False),
                                     lambda: (self.pipelines(), True)])
        self.judge(server, closed)

    def test_the_kernel_means_it(self):
        """Without a limit of its own the server is killed: this test can fail."""
        server = self.serve("--maxmemory", "0")
        self.drive(server, [lambda: (self.values(MB), True)])
        self.assertEqual(server.wait(), -signal.SIGKILL)
        self.assertGreater(self.cgroup.killed(), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
