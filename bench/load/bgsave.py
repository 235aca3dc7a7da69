#!/usr/bin/python3
"""What BGSAVE costs beside redis-server, in one run: time, memory, CPU and latency of writes.

    bench/load/bgsave.py [--keys 5000000] [--hashes 1000000] [--elements 1000000] [--rounds 3]
                         [--parts time load types] [--threads 2]

Strings have keys of 16 bytes and values of 32, hashes ten short fields. All servers load the same
dump. Nothing is pinned: redis-server's child wants a CPU, too.

    time    BGSAVE while nobody else is there. Bound: 0.7 of redis-server's time.
    load    BGSAVE while SETs over all string keys run as fast as they can. Growth of memory is the
            highest RSS less the one before it, with what a forked child has for itself alone, in
            percent of used_memory. Bound: 5 %. CPU per SET: of all threads but a forked child, less
            what the snapshot took when nobody else was there. Bound: 1.3 of what it is without.
    types   one hash, list, zset, stream, set of so many elements is written, and BGSAVEs follow
            each other: p99.9 of the writes' latency with and without. Bound: 2.

Servers take turns in each round, ratios are of the same round. Latencies are worth something on a
quiet machine only. The files lie in $TMPDIR.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))
import benchlib as lib  # noqa: E402

CHUNK = 500
TYPES = {"hash": "HSET big field:__number__ other",
         "list": "LMOVE big big LEFT RIGHT",
         "zset": "ZADD big 7 member:__number__",
         "set": "SADD big new:__number__",
         "stream": "XADD big * field __number__"}


def encode(words):
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        word = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(word), word))
    return b"".join(parts)


def send_all(client, requests):
    batch = []
    for words in requests:
        batch.append(encode(words))
        if len(batch) == CHUNK:
            finish(client, batch)
            batch = []
    finish(client, batch)


def finish(client, batch):
    error = client.batch(b"".join(batch), len(batch))
    if error:
        raise error


def hashes(count):
    for i in range(count):
        words = ["HSET", b"hash:%09d" % i]
        for field in range(10):
            words += [b"field:%d" % field, b"value:%d" % i]
        yield words


def elements(kind, count):
    for i in range(0, count, 100):
        some = range(i, min(i + 100, count))
        if kind == "hash":
            yield ["HSET", "big"] + [w for k in some for w in (f"field:{k:012d}", f"value:{k}")]
        elif kind == "list":
            yield ["RPUSH", "big"] + [f"element:{k:012d}" for k in some]
        elif kind == "zset":
            yield ["ZADD", "big"] + [w for k in some for w in (k, f"member:{k:012d}")]
        elif kind == "set":
            yield ["SADD", "big"] + [f"member:{k:012d}" for k in some]
        else:
            yield from (["XADD", "big", "*", "field", k] for k in some)


# ---- one server --------------------------------------------------------------------------------


def info(client):
    return dict(re.findall(r"^([^#:\r\n]+):([^\r\n]*)", client.command("INFO").decode(), re.M))


class Snapshot:
    """A BGSAVE from the moment it is asked for, waited for on a connection of its own."""

    def __init__(self, server):
        self.server = server
        self.client = lib.Connection(server.port, 600)

    def run(self):
        """How long it took in seconds."""
        before = int(info(self.client)["rdb_saves"]) if self.counts() else None
        begin = time.monotonic()
        reply = self.client.command("BGSAVE")
        if isinstance(reply, Exception):
            raise reply
        while self.running():
            time.sleep(0.002)
        took = time.monotonic() - begin
        told = info(self.client)
        if told["rdb_last_bgsave_status"] != "ok":
            raise lib.Failure(f"{self.server.name}: BGSAVE failed")
        if before is not None and int(told["rdb_saves"]) != before + 1:
            raise lib.Failure(f"{self.server.name}: BGSAVE did not save")
        return took

    def counts(self):
        return "rdb_saves" in info(self.client)

    def running(self):
        text = self.client.command("INFO", "persistence")
        return b"rdb_bgsave_in_progress:0" not in text

    def children_s(self):
        told = info(self.client)
        return float(told["used_cpu_user_children"]) + float(told["used_cpu_sys_children"])

    def commands(self):
        return int(info(self.client)["total_commands_processed"])


def private_bytes(pid):
    """What only this process has of its memory: a forked child's own pages."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            return 1024 * sum(int(kb) for kb in
                              re.findall(r"^Private_\w+:\s*(\d+) kB", file.read(), re.M))
    except OSError:
        return 0


def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return file.read().split()
    except OSError:
        return []


class Memory:
    """The highest sum of RSS and private pages of children, looked at all the time."""

    def __init__(self, server):
        self.server = server
        self.before = self.peak = server.rss_bytes()
        self.over = False
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()

    def watch(self):
        while not self.over:
            forked = sum(private_bytes(child) for child in children(self.server.pid))
            self.peak = max(self.peak, self.server.rss_bytes() + forked)
            time.sleep(0.02)

    def end(self):
        self.over = True
        self.thread.join()
        return self.peak - self.before


class Writes:
    """Loadgen in the background."""

    def __init__(self, programs, server, **options):
        argv = [programs.path("loadgen"), "--port", str(server.port), "--json"]
        for key, value in options.items():
            argv += ["--" + key.replace("_", "-"), str(value)]
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)

    def stop(self):
        self.process.kill()
        self.process.communicate()

    def result(self):
        text = self.process.communicate()[0]
        if self.process.returncode != 0:
            raise lib.Failure(f"loadgen ended with {self.process.returncode}")
        return json.loads(text)


def settle():
    os.sync()
    time.sleep(0.5)


# ---- parts -------------------------------------------------------------------------------------


def measure_time(server):
    snapshot = Snapshot(server)
    settle()
    used, forked = server.cpu_exact_s(), snapshot.children_s()
    took = snapshot.run()
    own = server.cpu_exact_s() - used
    return {"bgsave_s": took, "cpu_s": own + snapshot.children_s() - forked, "own_s": own}


def cpu_per_set(server, snapshot, begin, taken_off=0.0):
    """Since `begin`, a pair of CPU seconds and commands."""
    used, commands = server.cpu_exact_s(), snapshot.commands()
    return (used - begin[0] - taken_off) / (commands - begin[1]) * 1e6


def measure_load(arguments, programs, server, own_s):
    snapshot = Snapshot(server)
    writes = Writes(programs, server, ratio="1:0", keys=arguments.keys, key_size=16, data_size=32,
                    clients=50, pipeline=16, duration=100000, warmup=0)
    try:
        time.sleep(1.5)
        begin = server.cpu_exact_s(), snapshot.commands()
        time.sleep(2.5)
        off = cpu_per_set(server, snapshot, begin)
        told = info(snapshot.client)
        memory = Memory(server)
        begin = server.cpu_exact_s(), snapshot.commands()
        try:
            took = snapshot.run()
        finally:
            grown = memory.end()
        on = cpu_per_set(server, snapshot, begin, own_s)
        rate = (snapshot.commands() - begin[1]) / took
    finally:
        writes.stop()
    return {"bgsave_s": took, "off_us": off, "on_us": on, "cpu": on / off, "rate": rate,
            "grown": grown, "grown_percent": 100 * grown / int(told["used_memory"]),
            "peak_held": int(told.get("rdb_last_cow_size", 0))}


def measure_type(arguments, programs, server, kind):
    with lib.Connection(server.port, 600) as client:
        client.command("FLUSHALL")
        send_all(client, elements(kind, arguments.elements))
    snapshot = Snapshot(server)
    settle()
    options = {"command": TYPES[kind], "keys": arguments.elements, "clients": 10, "pipeline": 1,
               "duration": arguments.seconds, "warmup": 0.5}
    quiet = Writes(programs, server, **options).result()
    count = 0
    writes = Writes(programs, server, **options)
    while writes.process.poll() is None:
        snapshot.run()
        count += 1
    during = writes.result()
    return {"quiet_us": quiet["p999_us"], "during_us": during["p999_us"], "snapshots": count,
            "ratio": during["p999_us"] / quiet["p999_us"],
            "max_us": during["max_us"], "quiet_max_us": quiet["max_us"]}


# ---- all of it ---------------------------------------------------------------------------------


def make_dump(arguments, programs, folder):
    server = lib.Server("redis", lib.KNOWN_PEERS["redis"], more=f"--dir {folder}")
    with server:
        lib.progress(f"{arguments.keys} strings, {arguments.hashes} hashes")
        lib.Load(programs).preload(server, keys=arguments.keys, key_size=16, data_size=32)
        with lib.Connection(server.port, 600) as client:
            send_all(client, hashes(arguments.hashes))
            if isinstance(client.command("SAVE"), Exception):
                raise lib.Failure("SAVE failed")
    return os.path.join(folder, "dump.rdb")


def with_dump(server, folder, dump, run):
    """Runs while the server has the dump's data; what it saves leaves the dump alone."""
    name = re.sub(r"\W", "_", server.name) + ".rdb"
    own = os.path.join(folder, name)
    if os.path.exists(own):
        os.unlink(own)
    os.link(dump, own)
    more, server.more = server.more, f"--dir {folder} --dbfilename {name}"
    server.patience_s = 600
    try:
        with server:
            return run(server)
    finally:
        server.more = more


def show(arguments, servers, got):
    rows = {part: [] for part in ("time", "load", "types")}
    base = servers[-1].name
    for server in servers:
        name = server.name
        if ("time", name) in got:
            results = got["time", name]
            rows["time"].append([
                name, *(lib.number(lib.median([r[key] for r in results]))
                        for key in ("bgsave_s", "cpu_s")),
                lib.ratio_text(lib.paired(results, got["time", base], "bgsave_s"))])
        if ("load", name) in got:
            results = got["load", name]
            middle = {key: lib.median([r[key] for r in results]) for key in results[0]}
            rows["load"].append([
                name, lib.number(middle["bgsave_s"]), lib.number(middle["grown_percent"], 1),
                lib.number(max(r["grown_percent"] for r in results), 1),
                lib.number(middle["rate"], 0), lib.number(middle["off_us"]),
                lib.number(middle["on_us"]), lib.number(middle["cpu"]),
                lib.ratio_text(lib.paired(results, got["load", base], "bgsave_s"))])
        for kind in arguments.kinds:
            if (kind, name) in got:
                results = got[kind, name]
                middle = {key: lib.median([r[key] for r in results]) for key in results[0]}
                rows["types"].append([
                    kind, name, *(lib.number(middle[key], 0) for key in
                                  ("quiet_us", "during_us", "quiet_max_us", "max_us")),
                    lib.number(middle["ratio"]), lib.number(middle["snapshots"], 0)])
    if rows["time"]:
        lib.print_table("BGSAVE, nobody else there (bound 0.7)",
                        ["server", "seconds", "CPU s", f"ratio to {base}"], rows["time"])
    if rows["load"]:
        lib.print_table("BGSAVE while SETs run (bounds: memory 5 %, CPU 1.3)",
                        ["server", "seconds", "memory %", "worst %", "SET/s", "us off", "us on",
                         "on/off", f"time to {base}"], rows["load"])
    if rows["types"]:
        lib.print_table(f"Writes to one value of {arguments.elements:,} elements (bound 2)",
                        ["value", "server", "p99.9 us off", "on", "max off", "on", "p99.9 on/off",
                         "BGSAVEs"], rows["types"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    lib.add_server_options(parser)
    parser.add_argument("--keys", type=int, default=5000000)
    parser.add_argument("--hashes", type=int, default=1000000)
    parser.add_argument("--elements", type=int, default=1000000, help="of a large value")
    parser.add_argument("--seconds", type=float, default=5, help="of writes to a large value")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--parts", nargs="+", default=["time", "load", "types"],
                        choices=["time", "load", "types"])
    parser.add_argument("--kinds", nargs="+", default=list(TYPES), choices=list(TYPES))
    arguments = parser.parse_args()
    lib.finish_server_options(arguments)
    arguments.peer = arguments.peer or ["redis"]
    lib.end_on_sigterm()
    servers = lib.servers_of(arguments, None, arguments.threads)
    folder = tempfile.mkdtemp(prefix="splitring-bgsave-")
    got = {}

    def big_data(server):
        one = measure_time(server)
        got.setdefault(("time", server.name), []).append(one)
        if "load" in arguments.parts:
            # What redis-server's snapshot takes is a child's, and not in what is counted there.
            own_s = one["own_s"] if server.name == servers[0].name else 0.0
            got.setdefault(("load", server.name), []).append(
                measure_load(arguments, programs, server, own_s))

    def types(server):
        for kind in arguments.kinds:
            got.setdefault((kind, server.name), []).append(
                measure_type(arguments, programs, server, kind))

    try:
        with lib.Programs(arguments.loadgen) as programs:
            dump = None
            if arguments.parts != ["types"]:
                dump = make_dump(arguments, programs, folder)
            for turn in range(arguments.rounds or 3):
                for server in lib.rotated(servers, turn):
                    lib.progress(f"round {turn + 1}: {server.name}")
                    if dump:
                        with_dump(server, folder, dump, big_data)
                    if "types" in arguments.parts:
                        with server:
                            types(server)
        show(arguments, servers, got)
        lib.save_json(arguments.json, {" ".join(key): value for key, value in got.items()})
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    try:
        main()
    except lib.Failure as failure:
        sys.exit(str(failure))
