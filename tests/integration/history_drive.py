"""Clients that write down what they did: many connections in several processes, each a generator
that yields bursts of commands and gets their replies with the times.

    def program(me):
        while me.on():
            first, second = yield [("SET", "k", 1), ("GET", "k")]   # one pipeline
            me.log.append(…)                                        # anything that pickles

Each process serves its connections as they become readable, so that all of them are under way at
once and every one of them pipelines, waits and blocks on its own.
"""

import multiprocessing
import random
import selectors
import time
import traceback
from collections import namedtuple

from integration import support

PROCESSES = 3
PATIENCE_NS = 10 * 10**9

# invoked: when its burst was sent; completed: when it had been read. Nanoseconds, one clock.
Reply = namedtuple("Reply", "value invoked completed")


class Person:
    """What a program knows of itself."""

    def __init__(self, name, seed, until_ns, bursts):
        self.name = name
        self.rng = random.Random(f"{seed}/{name}")
        self.until_ns = until_ns
        self.bursts, self.bursts_max = bursts
        self.log = []
        self.seq = 0
        self.unique = 0

    def on(self):
        """Until the time is over; on a busy machine until there was enough, but not for ever."""
        self.bursts -= 1
        self.bursts_max -= 1
        late = time.monotonic_ns() - self.until_ns
        return self.bursts_max >= 0 and (late < 0 or self.bursts >= 0 and late < PATIENCE_NS)

    def next(self):
        self.seq += 1
        return self.seq

    def token(self):
        """Eight bytes that nobody else writes."""
        self.unique += 1
        return b"%s%05d." % (self.name.encode()[:2], self.unique)


class Connection:
    def __init__(self, address, person, program):
        self.client = support.Client(address)
        self.person = person
        self.program = program(person)
        self.done = False
        self.advance(None)

    def advance(self, replies):
        try:
            commands = self.program.send(replies)
        except StopIteration:
            self.done = True
            return
        self.count = len(commands)
        self.replies = []
        data = b"".join(support.encode(*command) for command in commands)
        self.invoked = time.monotonic_ns()
        self.client.send_bytes(data)

    def readable(self):
        self.client.fill()
        while self.client.buffer and not self.done:
            value = self.client.read()
            self.replies.append(Reply(value, self.invoked, time.monotonic_ns()))
            if len(self.replies) == self.count:
                self.advance(self.replies)


def serve(address, crew, seed, until_ns, bursts, pipe):
    """One process: `crew` is a list of (name, program)."""
    try:
        found = []
        with selectors.DefaultSelector() as selector:
            for name, program in crew:
                connection = Connection(address, Person(name, seed, until_ns, bursts), program)
                found.append(connection)
                selector.register(connection.client.sock, selectors.EVENT_READ, connection)
            while not all(connection.done for connection in found):
                ready = selector.select(support.REPLY_SECONDS)
                if not ready:
                    raise AssertionError("no reply: " + ", ".join(
                        c.person.name for c in found if not c.done))
                for key, _ in ready:
                    key.data.readable()
                    if key.data.done:
                        selector.unregister(key.data.client.sock)
                        key.data.client.close()
        pipe.send([record for connection in found for record in connection.person.log])
    except BaseException:
        pipe.send(traceback.format_exc())


def run(server, programs, seed, seconds, bursts):
    """Lets every program work for so many seconds, with so many bursts at least and at most;
    everything they logged. The clients' names are two letters."""
    names = [chr(97 + n // 26) + chr(97 + n % 26) for n in range(len(programs))]
    crew = list(zip(names, programs))
    until_ns = time.monotonic_ns() + int(seconds * 1e9)
    context = multiprocessing.get_context("fork")
    workers = []
    for n in range(PROCESSES):
        ours, theirs = context.Pipe(False)
        process = context.Process(target=serve, daemon=True, args=(
            server.address, crew[n::PROCESSES], seed, until_ns, bursts, theirs))
        process.start()
        theirs.close()
        workers.append((process, ours))
    records = []
    for process, pipe in workers:
        try:
            found = pipe.recv()
        except EOFError:
            found = "a client process died"
        process.join()
        if isinstance(found, str):
            raise AssertionError(found)
        records += found
    return records
