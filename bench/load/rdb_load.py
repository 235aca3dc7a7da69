#!/usr/bin/python3
"""How long a dump takes to load and to save, beside redis-server, in one run: the ratio counts.

    bench/load/rdb_load.py [--strings 1000000] [--hashes 200000] [--rounds 3] [--threads N]

redis-server makes the dump once (string keys of 16 bytes with values of 32; hashes of 10 fields).
Then both servers, in turns, start from it; the time is what each of them writes into its log, "DB
loaded from disk". SAVE is timed at the client. The best of the rounds is shown for each.
"""

import argparse
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
from integration import support  # noqa: E402


def fill(client, options):
    pad = b"v" * 26
    for start in range(0, options.strings, 10000):
        words = []
        for i in range(start, min(start + 10000, options.strings)):
            words += [b"string:%09d" % i, pad + b"%06d" % (i % 1000000)]
        client.ok("MSET", *words)
    fields = [b"field:%d" % i for i in range(10)]
    for start in range(0, options.hashes, 1000):
        client.pipeline([["HSET", b"hash:%09d" % i, *[word for field in fields
                                                      for word in (field, b"value:%d" % i)]]
                         for i in range(start, min(start + 1000, options.hashes))])


def once(start, keys):
    with start() as server, server.client(timeout=600) as client:
        while client.call("DBSIZE") != keys:
            time.sleep(0.05)
        loaded = float(re.search(r"DB loaded from disk: ([0-9.]+)", server.log()).group(1))
        begin = time.monotonic()
        client.ok("SAVE")
        return loaded, time.monotonic() - begin


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--strings", type=int, default=1000000)
    parser.add_argument("--hashes", type=int, default=200000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="splitring-rdb-")
    at = ["--dir", folder]
    servers = {"redis": lambda: support.oracle(*at),
               "splitring": lambda: support.server(*at, "--threads", str(options.threads))}
    try:
        with servers["redis"]() as server, server.client(timeout=600) as client:
            fill(client, options)
            client.ok("SAVE")
        size = (Path(folder) / "dump.rdb").stat().st_size
        print(f"{options.strings} strings, {options.hashes} hashes, {size / 1e6:.0f} MB")
        times = {name: [] for name in servers}
        for _ in range(options.rounds):
            for name, start in servers.items():
                times[name].append(once(start, options.strings + options.hashes))
                print(f"{name:10} load {times[name][-1][0]:.3f} s, save {times[name][-1][1]:.3f} s")
        best = {name: [min(column) for column in zip(*rows)] for name, rows in times.items()}
        for i, what in enumerate(("load", "save")):
            print(f"{what}: {best['splitring'][i]:.3f} s to {best['redis'][i]:.3f} s, ratio "
                  f"{best['splitring'][i] / best['redis'][i]:.2f}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
