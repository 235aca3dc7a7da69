"""Where keys live, and clients that are cheap enough to keep many connections busy.

Splitring gives each shard a contiguous range of Redis Cluster's 16384 slots; a test that wants keys
of two shards, or of all, takes them from here.
"""

import os
import random
import threading
import time

from integration import support

SLOTS = 16384


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
    """Threads that work until their time is over; the first exception of any is the test's."""

    def __init__(self, seconds):
        self.deadline = time.monotonic() + seconds
        self.threads = []
        self.failure = None
        self.lock = threading.Lock()
        self.totals = {}

    def on(self):
        return self.failure is None and time.monotonic() < self.deadline

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
            thread.join(max(0.0, self.deadline - time.monotonic()) + support.REPLY_SECONDS)
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


def until(condition, seconds=10, step=0.005):
    """Polls; the last answer."""
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer or time.monotonic() > deadline:
            return answer
        time.sleep(step)
