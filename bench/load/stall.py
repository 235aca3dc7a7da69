#!/usr/bin/python3
"""How long a PING on another connection of the same worker waits while large values are freed, read
or combined.

usage: stall.py [--elements N] [--rounds N] [--server CMD] [--peer CMD] …

One worker. A process of its own sends one PING after the other; another one fills values of N
elements (default 5,000,000; long reads and unions of 1,000,000) and then lets the server do one
thing. Shown is the worst PING from the command's start until two seconds after its reply, next to
the worst PING of two quiet seconds before (what the machine itself does), and how long it took.
A long read makes everybody wait as long as it takes, in Redis as here: those rows document it.

The bound (issue 3): freeing costs no PING more than 2 ms.
"""

import argparse
import multiprocessing
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))
import benchlib as lib  # noqa: E402

CHUNK = 2000
QUIET_S = 2.0


def probe(port, cpu, commands, answers):
    """A process: on "start" it begins a new maximum, on "stop" it tells it."""
    if cpu is not None:
        os.sched_setaffinity(0, {int(cpu)})
    worst = 0.0
    with lib.Connection(port, 120) as client:
        while True:
            if commands.poll():
                word = commands.recv()
                if word == "end":
                    return
                answers.send(worst)
                worst = 0.0
            begin = time.perf_counter()
            client.command("PING")
            worst = max(worst, time.perf_counter() - begin)
            time.sleep(0.0001)


class Prober:
    def __init__(self, port, cpu):
        self.here, there = multiprocessing.Pipe()
        self.answers, giving = multiprocessing.Pipe(False)
        self.process = multiprocessing.Process(target=probe, args=(port, cpu, there, giving),
                                               daemon=True)
        self.process.start()
        self.worst_ms()

    def worst_ms(self):
        """The worst since the last call."""
        self.here.send("next")
        return self.answers.recv() * 1000

    def end(self):
        self.here.send("end")
        self.process.join()


def encode(words):
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        parts.append(b"$%d\r\n%s\r\n" % (len(word), word))
    return b"".join(parts)


def fill(client, kind, key, count, first=0):
    """`count` elements of 16 bytes."""
    for at in range(first, first + count, CHUNK):
        names = [b"element:%08d" % i for i in range(at, min(at + CHUNK, first + count))]
        if kind == "hash":
            words = [b"HSET", key] + [word for name in names for word in (name, b"v")]
        elif kind == "zset":
            words = [b"ZADD", key] + [word for name in names for word in (name[-7:], name)]
        elif kind == "set":
            words = [b"SADD", key] + names
        else:
            words = [b"RPUSH", key] + names
        error = client.batch(encode(words), 1)
        if error:
            raise error


def scenarios(large, medium):
    """(title, what to fill, command)"""
    for kind in ("hash", "set", "zset", "list"):
        yield f"DEL {kind} of {large:,}", [(kind, b"big", large, 0)], ["DEL", "big"]
    yield f"UNLINK hash of {large:,}", [("hash", b"big", large, 0)], ["UNLINK", "big"]
    yield f"SET over a hash of {large:,}", [("hash", b"big", large, 0)], ["SET", "big", "x"]
    yield (f"PEXPIRE 1 of a set of {large:,}", [("set", b"big", large, 0)],
           ["PEXPIRE", "big", "1"])
    sets = [("set", b"s1", medium, 0), ("set", b"s2", medium, medium // 2),
            ("set", b"big", large, 0)]
    yield (f"SUNIONSTORE of two {medium:,} over {large:,} (reads them)", sets,
           ["SUNIONSTORE", "big", "s1", "s2"])
    yield (f"HGETALL of {medium:,} (reads it)", [("hash", b"big", medium, 0)],
           ["HGETALL", "big"])


def measure(server, arguments, scenario):
    _, values, command = scenario
    with server.client() as client, lib.Connection(server.port, 300) as actor:
        client.command("FLUSHALL")
        for kind, key, count, first in values:
            fill(client, kind, key, count, first)
        time.sleep(1)
        prober = Prober(server.port, arguments.load_cpu)
        time.sleep(QUIET_S)
        quiet = prober.worst_ms()
        begin = time.perf_counter()
        reply = actor.command(*command)
        took = (time.perf_counter() - begin) * 1000
        if isinstance(reply, Exception):
            raise reply
        time.sleep(QUIET_S)
        worst = prober.worst_ms()
        prober.end()
    return took, worst, quiet


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    lib.add_server_options(parser)
    parser.add_argument("--elements", type=int, default=5000000)
    parser.add_argument("--read", type=int, default=1000000, help="elements of long reads")
    parser.add_argument("--only", default="", help="scenarios whose title contains this")
    arguments = parser.parse_args()
    lib.end_on_sigterm()
    arguments.name = arguments.name or "splitring"
    rows = []
    for scenario in scenarios(arguments.elements, arguments.read):
        if arguments.only not in scenario[0]:
            continue
        for server in lib.servers_of(arguments, arguments.server_cpu, 1):
            results = []
            for _ in range(arguments.rounds or 3):
                lib.progress(f"{scenario[0]}: {server.name}")
                with server:
                    results.append(measure(server, arguments, scenario))
            took, worst, quiet = (sorted(column)[len(results) // 2] for column in zip(*results))
            rows.append([scenario[0], server.name, f"{took:.1f}", f"{worst:.2f}", f"{quiet:.2f}"])
    lib.print_table("Worst PING beside it, one worker, median of the rounds",
                    ["command", "server", "took ms", "worst PING ms", "quiet worst ms"], rows)


if __name__ == "__main__":
    main()
