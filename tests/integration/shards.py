"""Where keys live, and clients that are cheap enough to keep many connections busy.

Splitring gives each shard a contiguous range of Redis Cluster's 16384 slots; a test that wants keys
of two shards, or of all, takes them from here.
"""

import multiprocessing
import os
import random
import threading
import time

from integration import support

SLOTS = 16384
PATIENCE_SECONDS = 20


def crc16(data):
    """CRC-16/XMODEM, as Redis Cluster uses it."""
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1) ^ 0x1021 if crc & 0x8000 else crc << 1
        crc &= 0xFFFF
    return crc


def slot(key):
    data = key.encode() if isinstance(key, str) else key
    begin = data.find(b"{")
    if begin >= 0:
        end = data.find(b"}", begin + 1)
        if end > begin + 1:
            data = data[begin + 1:end]
    return crc16(data) % SLOTS


def shard(key, count):
    return slot(key) * count // SLOTS


def keys_by_shard(count, per_shard, prefix="key"):
    """per_shard keys for each of count shards, as a list of lists."""
    found = [[] for _ in range(count)]
    number = 0
    while any(len(keys) < per_shard for keys in found):
        key = f"{prefix}:{number}"
        number += 1
        at = shard(key, count)
        if len(found[at]) < per_shard:
            found[at].append(key)
    return found


def worker_counts():
    """The settings that a test of many cores runs on: what tools/test asks for (eight with four),
    else all."""
    asked = support.threads()
    if asked is None:
        return [1, 2, 4, 8]
    return [4, 8] if asked == 4 else [asked]


def settings():
    """(workers, lending) pairs."""
    return [(workers, lending) for workers in worker_counts()
            for lending in (("yes", "no") if workers > 1 else ("yes",))]


def seed_of(test):
    """A seed that is the same in every run, unless SPLITRING_SEED says otherwise; printed."""
    seed = int(os.environ.get("SPLITRING_SEED", "20240611"))
    print(f"\n  {test}: SPLITRING_SEED={seed}", flush=True)
    return seed


def lines(client, count):
    """The next `count` lines (each ended by CRLF) of what the server sends, without looking at
    them: for replies that are known to be one or two lines each."""
    while client.buffer.count(b"\r\n") < count:
        client.fill()
    found = bytes(client.buffer).split(b"\r\n", count)
    client.buffer[:] = found.pop()
    return found


def bulks(client, count):
    """The next `count` bulk replies without line breaks in them, none of them null."""
    return lines(client, 2 * count)[1::2]


class Crew:
    """Threads that work until their time is over, and on a busy machine until they have counted
    enough; the first exception of any is the test's."""

    def __init__(self, seconds, **at_least):
        self.deadline = time.monotonic() + seconds
        self.at_least = at_least
        self.threads = []
        self.failure = None
        self.lock = threading.Lock()
        self.totals = {}

    def on(self):
        left = self.deadline - time.monotonic()
        short = any(self.totals.get(name, 0) < n for name, n in self.at_least.items())
        return self.failure is None and (left > 0 or short and left > -PATIENCE_SECONDS)

    def count(self, name, number):
        with self.lock:
            self.totals[name] = self.totals.get(name, 0) + number

    def add(self, work, *args):
        def run():
            try:
                work(*args)
            except BaseException as error:  # the main thread raises it again
                with self.lock:
                    self.failure = self.failure or error
        self.threads.append(threading.Thread(target=run, daemon=True))

    def run(self):
        for thread in self.threads:
            thread.start()
        for thread in self.threads:
            left = max(0.0, self.deadline + PATIENCE_SECONDS - time.monotonic())
            thread.join(left + support.REPLY_SECONDS)
            if thread.is_alive():
                raise self.failure or AssertionError("a client hangs")
        if self.failure:
            raise self.failure
        return self.totals


def rng(seed, *names):
    return random.Random("/".join(str(part) for part in (seed, *names)))


def memory(pid, field="VmRSS"):
    """Bytes of a line of /proc/PID/status."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        for line in status:
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    raise AssertionError(f"no {field}")


def sanitized():
    """Whether the server under test is a sanitizer's build: slow, and with memory of its own."""
    return any(name in support.program() for name in ("asan", "tsan"))


def until(condition, seconds=10, step=0.005):
    """Polls; the last answer."""
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer or time.monotonic() > deadline:
            return answer
        time.sleep(step)


def probe(addresses, password, stop, result):
    """PING, SET and GET at the first address, PING at the second, in turn; their times."""
    times, control = [], []
    try:
        with support.Client(addresses[0]) as client, support.Client(addresses[1]) as other:
            if password:
                client.ok("AUTH", password)
            client.ok("SELECT", 9)
            while not (times and stop.is_set()):
                for _ in range(3):
                    begun = time.monotonic()
                    other.ok("PING")
                    control.append(time.monotonic() - begun)
                for command in (("PING",), ("SET", "probe", "x"), ("GET", "probe")):
                    begun = time.monotonic()
                    reply = client.call(*command)
                    times.append(time.monotonic() - begun)
                    if reply not in (support.PONG, support.OK, b"x"):
                        raise AssertionError(f"the other client got {reply!r}")
                stop.wait(0.003)
        result.put((times, control))
    except BaseException as error:
        result.put(repr(error))


class Others:
    """`with Others(server):` … fails if another client, in a process of its own, had to wait for
    its replies meanwhile: 95 % of them come within 50 ms. What an idle server needs at the same
    time is not held against this one: the machine may be busy with other tests."""

    SECONDS = 0.05
    PART = 0.95

    def __init__(self, server, password=None):
        self.control = support.server("--threads", "1")
        context = multiprocessing.get_context("fork")
        self.stop, self.result = context.Event(), context.Queue()
        self.process = context.Process(
            target=probe, daemon=True,
            args=((server.address, self.control.address), password, self.stop, self.result))

    def __enter__(self):
        self.process.start()
        return self

    def __exit__(self, kind, *_):
        self.stop.set()
        found = self.result.get(timeout=support.REPLY_SECONDS)
        self.process.join()
        self.control.stop()
        if kind is not None:
            return
        if isinstance(found, str):
            raise AssertionError(found)
        times, control = map(sorted, found)
        slow, idle = (some[int((len(some) - 1) * self.PART)] for some in (times, control))
        text = (f"another client: median {times[len(times) // 2] * 1000:.2f} ms, 95 % within "
                f"{slow * 1000:.1f} ms, all within {times[-1] * 1000:.1f} ms ({len(times)} "
                f"replies); at an idle server 95 % within {idle * 1000:.1f} ms")
        print("  " + text, flush=True)
        if slow > self.SECONDS + idle and not sanitized():
            raise AssertionError(text)


class Setting:
    """Checks that are made with several servers: a class for each, which is a TestCase as well,
    sets workers and lending."""

    workers = 1
    lending = "yes"

    @classmethod
    def setUpClass(cls):
        cls.server = support.server("--threads", str(cls.workers), "--shard-lending", cls.lending)
        cls.addClassCleanup(cls.server.stop)
        cls.seed = seed_of(cls.__name__)
