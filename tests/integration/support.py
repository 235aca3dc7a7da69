"""What every python test needs: servers on free ports, and a client that sees raw bytes.

    from integration import support          # tests/ is on the path (see PATHS below)

    class Strings(support.ServerTest):
        options = ["--databases", "4"]
        def test_set(self):
            with self.server.client(resp=3) as c:
                self.assertEqual(c.call("SET", "k", "v"), support.OK)

The server under test is $SPLITRING (default: build/splitring), with $TEST_THREADS workers and
the I/O engine $TEST_IO_ENGINE where these are set. Any program that speaks like Redis will
do; `oracle()` starts Debian's redis-server the same way. What servers print goes to
$SPLITRING_LOG_DIR if that is set (tools/test looks through it for sanitizer reports), else to a
folder that is removed.

Replies are python values: int, bytes (bulk and verbatim), Status (simple string), Error, None,
list, Map, Set, Push, float, bool. `raw()` gives the reply's bytes instead.
"""

import atexit
import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
HOST = "127.0.0.1"
START_SECONDS = 30  # sanitizer builds on a busy machine
STOP_SECONDS = 60   # a disk may take half of that for the last fsync
REPLY_SECONDS = 60


# ---- Replies -------------------------------------------------------------------------------------


class Status(bytes):
    """A simple string."""

    def __repr__(self):
        return "+" + self.decode(errors="backslashreplace")


class Error(bytes):
    """An error reply, without '-'."""

    def __repr__(self):
        return "-" + self.decode(errors="backslashreplace")

    @property
    def code(self):
        return self.split(b" ", 1)[0].decode()


class Map(list):
    """[key, value, key, value, …]"""

    def pairs(self):
        return list(zip(self[0::2], self[1::2]))

    def get(self, key, default=None):
        return next((v for k, v in self.pairs() if k == key), default)


class Set(list):
    pass


class Push(list):
    pass


OK = Status(b"OK")
PONG = Status(b"PONG")


class Closed(ConnectionError):
    """The server closed the connection (or it was not there)."""


class ProtocolError(Exception):
    """The server sent what is no RESP."""


def encode(*args):
    """A command as an array of bulk strings."""
    parts = [b"*%d\r\n" % len(args)]
    for arg in args:
        data = arg if isinstance(arg, bytes) else str(arg).encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(data), data))
    return b"".join(parts)


AGGREGATES = {b"*": list, b"%": Map, b"~": Set, b">": Push}


class Client:
    """One connection. Not thread-safe."""

    def __init__(self, address, resp=2, timeout=REPLY_SECONDS):
        """address: (host, port) or the path of a Unix socket."""
        family = socket.AF_UNIX if isinstance(address, (str, Path)) else socket.AF_INET
        if family == socket.AF_INET and ":" in address[0]:
            family = socket.AF_INET6
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.settimeout(timeout)
        try:
            self.sock.connect(str(address) if family == socket.AF_UNIX else address)
        except OSError:
            self.sock.close()
            raise
        if family != socket.AF_UNIX:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()
        self.at = 0
        if resp != 2:
            hello = self.call("HELLO", resp)
            if isinstance(hello, Error):
                raise ProtocolError(repr(hello))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    # sending

    def send_bytes(self, data):
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Closed(str(error)) from error

    def send(self, *args):
        self.send_bytes(encode(*args))

    def call(self, *args):
        self.send(*args)
        return self.read()

    def ok(self, *args):
        """A call that must not be answered by an error."""
        reply = self.call(*args)
        if isinstance(reply, Error):
            raise AssertionError(f"{args!r}: {reply!r}")
        return reply

    def pipeline(self, commands):
        """Sends all, then reads all replies. Small batches only: nothing is read meanwhile."""
        self.send_bytes(b"".join(encode(*command) for command in commands))
        return [self.read() for _ in commands]

    # receiving

    def fill(self):
        try:
            data = self.sock.recv(1 << 18)
        except ConnectionResetError as error:
            raise Closed(str(error)) from error
        if not data:
            raise Closed("end of stream")
        self.buffer += data

    def line(self):
        while True:
            end = self.buffer.find(b"\r\n", self.at)
            if end >= 0:
                text = bytes(self.buffer[self.at:end])
                self.at = end + 2
                return text
            self.fill()

    def bytes(self, count):
        while len(self.buffer) - self.at < count + 2:
            self.fill()
        data = bytes(self.buffer[self.at:self.at + count])
        if self.buffer[self.at + count:self.at + count + 2] != b"\r\n":
            raise ProtocolError(f"no CRLF behind {count} bytes")
        self.at += count + 2
        return data

    def read(self):
        """The next reply as a value."""
        return self.reply()[0]

    def raw(self):
        """The next reply as the bytes it came in."""
        return self.reply()[1]

    def reply(self):
        """The next reply: (value, its bytes)."""
        value = self.value()
        raw = bytes(self.buffer[:self.at])
        del self.buffer[:self.at]
        self.at = 0
        return value, raw

    def value(self):
        line = self.line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return Status(rest)
        if kind == b"-":
            return Error(rest)
        if kind in (b":", b"("):
            return int(rest)
        if kind in (b"$", b"="):
            count = int(rest)
            if count < 0:
                return None
            data = self.bytes(count)
            return data if kind == b"$" else data[4:]
        if kind == b"_":
            return None
        if kind == b",":
            return float(rest)
        if kind == b"#":
            return {b"t": True, b"f": False}[rest]
        if kind in AGGREGATES:
            count = int(rest)
            if count < 0:
                return None
            count *= 2 if kind == b"%" else 1
            return AGGREGATES[kind](self.value() for _ in range(count))
        raise ProtocolError(f"{line[:80]!r} is no reply")

    def closed_by_server(self, seconds=REPLY_SECONDS):
        """Reads what comes until the server closes; False if it does not."""
        self.sock.settimeout(seconds)
        try:
            while True:
                self.fill()
        except Closed:
            return True
        except TimeoutError:
            return False


# ---- Servers -------------------------------------------------------------------------------------

running = []
names = itertools.count(1)
ports = None


def free_port():
    """A port nobody listens on. Jobs of tools/test get ranges of their own, below the ephemeral
    ports, so that no outgoing connection of another test takes it meanwhile."""
    global ports
    if ports is None:
        base = int(os.environ.get("SPLITRING_PORT_BASE", 0))
        ports = itertools.cycle(range(base, base + 1000)) if base else iter(())
    for port in itertools.islice(ports, 1000):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
                return port
            except OSError:
                continue
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def own_address():
    """An IPv4 address of this machine that is not the loopback, or None."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("198.51.100.1", 9))  # sends nothing: only a route is looked up
        except OSError:
            return None
        address = probe.getsockname()[0]
    return None if address.startswith("127.") or address == "0.0.0.0" else address


def surroundings():
    """The environment without what steers the tests: SPLITRING_<NAME> is a directive."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SPLITRING_")}


class Server:
    """A running server. Stopped by stop(), by leaving `with`, or when python ends."""

    def __init__(self, command, name, port=None, ready=True, env=None, files=None):
        """files: what lies in its working directory, {name: text}."""
        self.name = f"{name}-{next(names)}"
        self.port = port or free_port()
        self.command = [str(part) for part in command]
        if "--port" not in self.command:
            self.command += ["--port", str(self.port)]
        logs = os.environ.get("SPLITRING_LOG_DIR")
        self.folder = Path(tempfile.mkdtemp(prefix="splitring-test-"))
        for path, text in (files or {}).items():
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / path).write_text(text)
        self.log_path = (Path(logs) if logs else self.folder) / f"{self.name}.log"
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                self.command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, env={**surroundings(), **(env or {})})
        running.append(self)
        if ready:
            self.wait_ready()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    @property
    def pid(self):
        return self.process.pid

    @property
    def address(self):
        return (HOST, self.port)

    def log(self):
        return self.log_path.read_text(errors="replace")

    def wait_ready(self, seconds=START_SECONDS):
        """Until PING is answered."""
        deadline = time.monotonic() + seconds
        while True:
            code = self.process.poll()
            if code is not None:
                raise AssertionError(f"{self.name} ended with {code} at start:\n{self.log()}")
            try:
                with Client(self.address, timeout=seconds) as client:
                    reply = client.call("PING")
                    if reply == PONG or isinstance(reply, Error) and reply.code == "NOAUTH":
                        return
            except (OSError, Closed):
                pass
            if time.monotonic() > deadline:
                raise AssertionError(f"{self.name} does not answer PING:\n{self.log()}")
            time.sleep(0.02)

    def client(self, resp=2, timeout=REPLY_SECONDS):
        return Client(self.address, resp, timeout)

    def redis(self, **options):
        """A redis-py client."""
        import redis
        options.setdefault("socket_timeout", REPLY_SECONDS)
        return redis.Redis(host=HOST, port=self.port, **options)

    def alive(self):
        return self.process.poll() is None

    def wait(self, seconds=STOP_SECONDS):
        """The exit code, once the server has ended by itself."""
        return self.process.wait(seconds)

    def stop(self, expect=0):
        """SIGTERM; the exit code must be the expected one (None: any)."""
        if self not in running:
            return
        code = self.process.poll()
        if code is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                code = self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"{self.name} ignores SIGTERM:\n{self.log()}") from None
        text = self.log()
        self.forget()
        if expect is not None and code != expect:
            raise AssertionError(f"{self.name} ended with {code}:\n{text}")

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.forget()

    def forget(self):
        if self in running:
            running.remove(self)
        shutil.rmtree(self.folder, ignore_errors=True)


@atexit.register
def kill_all():
    for server in list(running):
        server.kill()


def program():
    return os.environ.get("SPLITRING", str(ROOT / "build" / "splitring"))


def threads():
    """Workers of the server under test; None: its own choice."""
    value = os.environ.get("TEST_THREADS")
    return int(value) if value else None


def server(*options, **more):
    """Starts the server under test. Options come last, so they win."""
    command = [program(), "--bind", HOST, "--save", "", "--connection-placement", "spread"]
    if os.environ.get("TEST_THREADS"):
        command += ["--threads", os.environ["TEST_THREADS"]]
    if os.environ.get("TEST_IO_ENGINE"):
        command += ["--io-engine", os.environ["TEST_IO_ENGINE"]]
    return Server(command + list(options), "splitring", **more)


def oracle(*options, **more):
    """Starts Debian's redis-server."""
    command = ["redis-server", "--bind", HOST, "--save", "", "--appendonly", "no"]
    return Server(command + list(options), "redis", **more)


class ServerTest(unittest.TestCase):
    """A test class with one server of its own, emptied before each test."""

    options = []

    @classmethod
    def setUpClass(cls):
        cls.server = server(*cls.options)
        cls.addClassCleanup(cls.server.stop)

    def setUp(self):
        with self.server.client() as client:
            client.ok("FLUSHALL")

    def client(self, resp=2):
        client = self.server.client(resp)
        self.addCleanup(client.close)
        return client

    def redis(self, **options):
        client = self.server.redis(**options)
        self.addCleanup(client.close)
        return client
