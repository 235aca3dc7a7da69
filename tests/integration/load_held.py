#!/usr/bin/python3
"""Load held: thousands of connections and everything that goes wrong among them, for minutes.

    tests/integration/load_held.py --minutes 10 --connections 10000 [--judge-latency]

Connections send bursts of commands of all types, the last of which is an ECHO of the burst's own
token, so each burst is seen to be answered whole and in order. Beside them: disconnects in the
middle of a command, CLIENT KILL, storms of CONFIG SET, many thousand keys that expire in the same
millisecond, keys evicted at maxmemory, clients that never read. Judged: no error reply at all (none
of these commands gets one from Redis), nobody loses his connection who was not killed, everything
is answered, memory stays where it was after the warm-up, and nothing is left of anybody at the end.

A process of its own sends PING on a connection of its own and prints what it had to wait; that is
judged only on request, as CI's machine is not ours alone. CI runs few connections for few seconds.
One thread and one epoll make the load: its memory is that of the connections.
"""

import argparse
import array
import os
import random
import resource
import select
import socket
import struct
import subprocess
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import shards, support  # noqa: E402

MB = 1 << 20
OPTIONS = argparse.Namespace(minutes=0.2, connections=1000, judge_latency=False)
P999_MS_MAX = 10
RSS_GROWTH_MAX = 1.15
RSS_SLACK = 24 * MB
PATIENCE_S = 60
DEAF_MAX = 10  # what they do not read counts for maxmemory: together far less than that
SCRIPT = "redis.call('SET', KEYS[1], ARGV[1]) return redis.call('GET', KEYS[2])"


def command(*args):
    return support.encode(*args)


# ---- Bursts --------------------------------------------------------------------------------------


class Bursts:
    """Ready-made bytes with the number of their replies, so that sending costs next to nothing."""

    def __init__(self, rng, count, keys):
        self.rng, self.keys = rng, keys
        self.text = bytes(rng.randrange(97, 123) for _ in range(4096))
        self.all = [self.make(n) for n in range(count)]

    def value(self):
        return self.text[:self.rng.choice([8, 40, 200, 1000, 3000])]

    def key(self, kind):
        return f"{kind}:{self.rng.randrange(self.keys)}"

    def one(self):
        rng, key, value = self.rng, self.key, self.value
        return rng.choice([
            lambda: [("SET", key("s"), value())] * 3,
            lambda: [("SET", key("s"), value(), "EX", rng.randrange(1, 30))],
            lambda: [("GET", key("s"))] * 4,
            lambda: [("MGET", *[key("s") for _ in range(8)])],
            lambda: [("MSET", *[x for _ in range(4) for x in (key("s"), value())])],
            lambda: [("INCR", key("n"))],
            lambda: [("APPEND", key("a"), b"x" * 50), ("DEL", key("a"))],
            lambda: [("SETBIT", key("b"), rng.randrange(8000), 1), ("BITCOUNT", key("b"))],
            lambda: [("HSET", key("h"), *[x for _ in range(5) for x in
                                          (f"f{rng.randrange(200)}", value())])],
            lambda: [("HGETALL", key("h")), ("HDEL", key("h"), f"f{rng.randrange(200)}")],
            lambda: [("LPUSH", key("l"), value(), value()), ("LTRIM", key("l"), 0, 50)],
            lambda: [("LRANGE", key("l"), 0, 9), ("RPOP", key("l"))],
            lambda: [("SADD", key("t"), *[rng.randrange(1000) for _ in range(5)])],
            lambda: [("SREM", key("t"), rng.randrange(1000)),
                     ("SINTERCARD", 2, key("t"), key("t"))],
            lambda: [("ZADD", key("z"), rng.random(), f"m{rng.randrange(500)}"),
                     ("ZREMRANGEBYRANK", key("z"), 0, -200)],
            lambda: [("ZRANGE", key("z"), 0, 9, "WITHSCORES")],
            lambda: [("XADD", key("x"), "MAXLEN", "~", 50, "*", "f", value()),
                     ("XRANGE", key("x"), "-", "+", "COUNT", 3)],
            lambda: [("PFADD", key("p"), rng.random()), ("PFCOUNT", key("p"))],
            lambda: [("GEOADD", key("g"), rng.uniform(-180, 180), rng.uniform(-80, 80), "m")],
            lambda: [("EXPIRE", key("h"), 20), ("TTL", key("h")), ("UNLINK", key("l"), key("h"))],
            lambda: [("MULTI",), ("INCR", key("n")), ("SET", key("s"), value()), ("EXEC",)],
            lambda: [("EVAL", SCRIPT, 2, key("s"), key("s"), value())],
            lambda: [("COPY", key("s"), key("s"), "REPLACE")],
            lambda: [("SCAN", 0, "COUNT", 20), ("RANDOMKEY",), ("DBSIZE",)],
            lambda: [("PUBLISH", "news", value()), ("PING",)],
            lambda: [("BLPOP", key("l"), key("l"), "0.01")],
        ])()

    def make(self, number):
        token = f"token-{number}"
        commands = [c for _ in range(self.rng.randrange(1, 5)) for c in self.one()]
        commands.append(("ECHO", token))
        return (b"".join(command(*c) for c in commands), len(commands),
                b"$%d\r\n%s\r\n" % (len(token), token.encode()))


# ---- Replies -------------------------------------------------------------------------------------


def skip(data, at, errors):
    """Where the reply at `at` ends; -1: not all of it is there."""
    wanted = 1
    while wanted:
        end = data.find(b"\r\n", at)
        if end < 0:
            return -1
        kind = data[at]
        wanted -= 1
        if kind == 45:  # -
            errors.append(bytes(data[at:end]))
        elif kind == 36:  # $
            size = int(data[at + 1:end])
            if size >= 0:
                end += size + 2
                if end + 2 > len(data):
                    return -1
        elif kind == 42:  # *
            wanted += max(int(data[at + 1:end]), 0)
        elif kind not in b"+:":
            raise support.ProtocolError(repr(bytes(data[at:at + 80])))
        at = end + 2
    return at


class Peer:
    """A connection of the load."""

    __slots__ = ("sock", "id", "got", "left", "last", "unsent", "doomed", "since")

    def __init__(self, sock):
        self.sock = sock
        self.id = None          # CLIENT ID, the first reply
        self.got = bytearray()
        self.left = 1           # replies that are still to come
        self.last = None        # … the last one's bytes
        self.unsent = b""
        self.doomed = False     # may be closed by the server
        self.since = time.monotonic()


class Load:
    def __init__(self, server, options, rng):
        self.server, self.options, self.rng = server, options, rng
        self.small = options.connections < 5000
        self.keys = 20_000 if self.small else 200_000
        self.bursts = Bursts(rng, 3000, self.keys)
        self.peers, self.idle, self.failures, self.rss = {}, [], [], []
        self.epoll = select.epoll()
        self.counts = dict.fromkeys(
            ("bursts", "replies", "cut", "killed", "config_sets", "storms", "reconnects"), 0)
        self.deaf = []
        self.active = 0

    # connections

    def connect(self):
        sock = socket.socket()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.connect(self.server.address)
        sock.setblocking(False)
        peer = Peer(sock)
        self.peers[sock.fileno()] = peer
        self.epoll.register(sock.fileno(), select.EPOLLIN)
        self.active += 1
        self.put(peer, command("CLIENT", "ID"))

    def drop(self, peer, reset=False):
        self.peers.pop(peer.sock.fileno())
        self.epoll.unregister(peer.sock.fileno())
        if reset:
            peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.sock.close()
        if peer.left:
            self.active -= 1

    def fail(self, *what):
        if len(self.failures) < 20:
            self.failures.append(what)

    def put(self, peer, data):
        try:
            sent = peer.sock.send(data)
        except BlockingIOError:
            sent = 0
        except ConnectionError as error:
            self.lost(peer, error)
            return
        if sent < len(data):
            peer.unsent = data[sent:]
            self.epoll.modify(peer.sock.fileno(), select.EPOLLIN | select.EPOLLOUT)
        elif peer.unsent:
            peer.unsent = b""
            self.epoll.modify(peer.sock.fileno(), select.EPOLLIN)

    def lost(self, peer, why):
        if not peer.doomed:
            self.fail("closed by the server", peer.id, repr(why))
        self.drop(peer)
        self.counts["reconnects"] += 1
        self.connect()

    def start_burst(self):
        """Some idle connection sends a burst; one in a hundred goes away in the middle of it."""
        at = self.rng.randrange(len(self.idle))
        self.idle[at], self.idle[-1] = self.idle[-1], self.idle[at]
        peer = self.peers.get(self.idle.pop())
        if peer is None or peer.left:  # it was closed meanwhile, and its number used again
            return
        data, peer.left, peer.last = self.rng.choice(self.bursts.all)
        peer.since = time.monotonic()
        self.active += 1
        if self.rng.random() < 0.01:
            peer.doomed = True
            self.put(peer, data[:self.rng.randrange(len(data))])
            if self.peers.get(peer.sock.fileno()) is peer:
                self.drop(peer, reset=self.rng.random() < 0.7)
                self.counts["cut"] += 1
                self.connect()
            return
        self.counts["bursts"] += 1
        self.put(peer, data)

    def receive(self, peer):
        try:
            data = peer.sock.recv(1 << 17)
        except BlockingIOError:
            return
        except ConnectionError as error:
            self.lost(peer, error)
            return
        if not data:
            self.lost(peer, "end of stream")
            return
        got = peer.got
        got += data
        errors, at, before = [], 0, 0
        while peer.left:
            end = skip(got, at, errors)
            if end < 0:
                break
            before, at = at, end
            peer.left -= 1
            self.counts["replies"] += 1
        for text in errors:
            self.fail("an error", text)
        if peer.left == 0:
            if peer.id is None:
                peer.id = int(got[1:-2])
            elif got[before:] != peer.last:
                self.fail("not its last reply", bytes(got[before:][:80]), peer.last)
            got.clear()
            self.active -= 1
            self.idle.append(peer.sock.fileno())
        elif at:
            del got[:at]

    def turn(self, timeout):
        for fd, events in self.epoll.poll(timeout, 512):
            peer = self.peers.get(fd)
            if peer is None:
                continue
            if events & select.EPOLLOUT:
                self.put(peer, peer.unsent)
            if events & ~select.EPOLLOUT and self.peers.get(fd) is peer:
                self.receive(peer)

    # what goes on beside

    def kill_somebody(self, control):
        peer = self.rng.choice(list(self.peers.values()))
        if peer.id is None:
            return
        peer.doomed = True
        if control.ok("CLIENT", "KILL", "ID", peer.id) == 1:
            self.counts["killed"] += 1

    def storm_config(self, control):
        rng = self.rng
        for _ in range(20):
            name, value = rng.choice([
                ("maxmemory-policy", rng.choice(["allkeys-lru", "allkeys-lfu", "allkeys-random"])),
                ("maxmemory", rng.choice([self.limit, self.limit * 9 // 10])),
                ("maxmemory-samples", rng.randrange(1, 12)),
                ("hash-max-listpack-entries", rng.choice([16, 128, 512])),
                ("zset-max-listpack-entries", rng.choice([16, 128])),
                ("list-max-listpack-size", rng.choice([-2, 32])),
                ("slowlog-log-slower-than", rng.choice([-1, 0, 10000])),
                ("latency-monitor-threshold", rng.choice([0, 1])),
                ("notify-keyspace-events", rng.choice(["", "KEA", "Ex"])),
                ("lazyfree-lazy-expire", rng.choice(["yes", "no"])),
                ("active-expire-effort", rng.randrange(1, 11)),
                ("hz", rng.randrange(1, 100)), ("tcp-keepalive", rng.randrange(60, 300)),
                ("client-output-buffer-limit", "pubsub 1mb 512kb 5"),
                ("maxclients", self.options.connections + rng.randrange(200, 1000)),
                ("requirepass", "")])
            control.ok("CONFIG", "SET", name, value)
            self.counts["config_sets"] += 1

    def storm_expiry(self, control):
        """Many keys with the same millisecond."""
        count = 20_000 if self.small else 100_000
        at = int(time.time() * 1000) + 1500
        for first in range(0, count, 500):
            control.send_bytes(b"".join(command("SET", f"e:{n}", "v" * 20, "PXAT", at)
                                        for n in range(first, first + 500)))
            for _ in range(500):
                if control.read() not in (support.OK,):
                    self.fail("SET … PXAT")
            self.turn(0)
        self.counts["storms"] += 1
        return at, count

    def expired(self, control, at, count):
        """After that millisecond there is none of them, whether anybody has looked or not."""
        if time.time() * 1000 <= at + 1:
            return False
        names = [f"e:{self.rng.randrange(count)}" for _ in range(200)]
        if control.ok("EXISTS", *names):
            self.fail("a key outlives its time")
        return True

    def go_deaf(self):
        """One that subscribes, one that asks for more than it reads: neither reads anything."""
        for ask in (command("SUBSCRIBE", "news"), command("GET", "big") * 500):
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(self.server.address)
            sock.setblocking(False)
            try:
                sock.send(ask)
            except BlockingIOError:
                pass
            self.deaf.append(sock)
        while len(self.deaf) > DEAF_MAX:
            self.deaf.pop(0).close()

    # the whole

    def fill(self, control):
        """Up to the limit, so that everything that comes evicts."""
        for first in range(0, self.limit // 2000, 500):
            control.send_bytes(b"".join(command("SET", f"f:{n}", "v" * 2000)
                                        for n in range(first, first + 500)))
            for _ in range(500):
                control.read()
        control.ok("SET", "big", "x" * 4000)

    def resident(self):
        text = Path(f"/proc/{self.server.pid}/statm").read_text()
        return int(text.split()[1]) * os.sysconf("SC_PAGESIZE")

    def run(self, control):
        self.limit = (64 if self.small else 256) * MB
        control.ok("CONFIG", "SET", "maxmemory", self.limit)
        self.fill(control)
        for n in range(self.options.connections):
            self.connect()
            if n % 100 == 0:
                self.turn(0)
        begin = time.monotonic()
        end = begin + self.options.minutes * 60
        outstanding = min(400, self.options.connections // 4)
        next_second, storm, seconds = begin, None, 0
        while (now := time.monotonic()) < end:
            while self.active < outstanding and self.idle:
                self.start_burst()
            self.turn(0.01)
            if now < next_second:
                continue
            next_second = now + 0.25
            seconds += 0.25
            self.kill_somebody(control)
            self.storm_config(control)
            if storm is None and seconds % 4 == 1:
                storm = self.storm_expiry(control)
            elif storm and self.expired(control, *storm):
                storm = None
            if seconds % 2 == 0:
                self.go_deaf()
                control.ok("PUBLISH", "news", "n" * 200_000)
                control.ok("SET", "big", "x" * 4000)
            self.rss.append((now - begin, self.resident()))
        self.drain()

    def drain(self):
        """Everything that was asked is answered; then all go."""
        deadline = time.monotonic() + PATIENCE_S
        while self.active and time.monotonic() < deadline:
            self.turn(0.1)
        if self.active:
            late = [(p.id, p.left) for p in self.peers.values() if p.left]
            self.fail("not answered", len(late), late[:5])
        for sock in self.deaf:
            sock.close()
        for peer in list(self.peers.values()):
            self.drop(peer)


# ---- The probe -----------------------------------------------------------------------------------


def probe(port):
    """PING every 2 ms until the input ends; prints percentiles in ms."""
    waits = array.array("f")
    with support.Client((support.HOST, port)) as client:
        ping = command("PING")
        while not select.select([sys.stdin], [], [], 0.002)[0]:
            start = time.perf_counter()
            client.send_bytes(ping)
            client.read()
            waits.append((time.perf_counter() - start) * 1000)
    ordered = sorted(waits)
    print(*[f"{ordered[min(int(len(ordered) * p), len(ordered) - 1)]:.2f}"
            for p in (0.5, 0.99, 0.999, 1)], len(ordered))


def want_files(count):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (count, max(hard, count)))
        except (ValueError, PermissionError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


class LoadHeld(unittest.TestCase):
    def test_load(self):
        options = OPTIONS
        options.connections = min(options.connections,
                                  want_files(options.connections + 500) - 300)
        server = support.server("--maxclients", str(options.connections + 500),
                                "--maxmemory-policy", "allkeys-lru",
                                "--client-output-buffer-limit", "pubsub", "1mb", "512kb", "5")
        self.addCleanup(server.stop)
        control = server.client()
        self.addCleanup(control.close)
        allocator = control.ok("INFO", "memory").decode()
        load = Load(server, options, shards.rng(shards.seed_of("load")))
        asks = subprocess.Popen([sys.executable, __file__, "--probe", str(server.port)],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            load.run(control)
        finally:
            waits, _ = asks.communicate()
        self.tell(load, waits)
        self.assertEqual(load.failures, [])
        for what, count in load.counts.items():
            self.assertGreater(count, 0, what)
        self.assertGreater(self.info(control, "stats", "evicted_keys"), 0)

        def left():
            return self.info(control, "clients", "connected_clients") == 1 and \
                self.info(control, "clients", "blocked_clients") == 0
        self.assertTrue(shards.until(left, PATIENCE_S))
        control.ok("CONFIG", "SET", "maxmemory", load.limit)
        self.assertTrue(shards.until(
            lambda: self.info(control, "memory", "used_memory")
            - self.info(control, "memory", "mem_not_counted_for_evict") <= load.limit, PATIENCE_S))
        if "mem_allocator:mimalloc" in allocator:
            self.assert_flat(load.rss)
        if options.judge_latency:
            self.assertLessEqual(float(waits.split()[2]), P999_MS_MAX)

    @staticmethod
    def info(control, section, field):
        text = control.ok("INFO", section).decode()
        return next(int(line.split(":")[1]) for line in text.split("\r\n")
                    if line.startswith(field + ":"))

    @staticmethod
    def middle(samples):
        return sorted(samples)[len(samples) // 2]

    def phases(self, rss):
        """Resident bytes after the warm-up (a third), and in the last tenth."""
        settled = [b for _, b in rss[len(rss) // 3:len(rss) // 2]]
        return self.middle(settled), self.middle([b for _, b in rss[-max(len(rss) // 10, 1):]])

    def assert_flat(self, rss):
        before, after = self.phases(rss)
        self.assertLessEqual(after, before * RSS_GROWTH_MAX + RSS_SLACK)

    def tell(self, load, waits):
        before, after = self.phases(load.rss)
        p50, p99, p999, most, count = waits.split()
        print(f"\n{load.options.connections} connections, {load.options.minutes} min: "
              + ", ".join(f"{k} {v}" for k, v in load.counts.items())
              + f"; PING ms p50 {p50} p99 {p99} p99.9 {p999} max {most} of {count}; "
              f"RSS MiB {before // MB} -> {after // MB}", file=sys.stderr)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=OPTIONS.minutes)
    parser.add_argument("--connections", type=int, default=OPTIONS.connections)
    parser.add_argument("--judge-latency", action="store_true")
    parser.add_argument("--probe", type=int)
    given = parser.parse_args()
    if given.probe:
        probe(given.probe)
    else:
        OPTIONS = given
        unittest.main(argv=sys.argv[:1], verbosity=2)
