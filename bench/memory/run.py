#!/usr/bin/python3
"""Memory measurements: RSS per key, the slowest insert while the table grows, RSS after deletes.

    bench/memory/run.py bytes                 5M keys of 16 B, values of 8, 32, 100 B, with and
                                              without a TTL, for Splitring and its peers
    bench/memory/run.py growth --keys 2000000 the slowest inserts, and when they came
    bench/memory/run.py shrink                everything deleted one by one; what RSS remains
    bench/memory/run.py churn                 5M keys, 80 % deleted at random, as many of another
                                              size: RSS by what is in use, with activedefrag
    bench/memory/run.py elements              1M elements of 16 B in one sorted set, set, list,
                                              stream, hash; 1M hashes of five fields

README.md beside bench/ says how to read it.
"""

import argparse
import os
import random
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import benchlib as lib  # noqa: E402  (its folder must be on the path first)

TTL_S = 1000000
KEY_LEN = 16
GROWTH_BATCH = 8  # what is timed at once: a stall of a millisecond stands out of 8 inserts as of 1


def fill(load, server, keys, value_len, ttl):
    load.preload(server, keys=keys, key_size=KEY_LEN, data_size=value_len,
                 ttl=TTL_S if ttl else None)
    with server.client() as client:
        size = client.command("DBSIZE")
    if size != keys:
        raise lib.Failure(f"{server.name} says DBSIZE {size} after {keys} inserts")


def bytes_per_key(arguments, load):
    rounds = arguments.rounds or 1
    results = []
    rows = []
    for ttl in ((False, True) if arguments.ttl == "both" else (arguments.ttl == "yes",)):
        for value_len in arguments.values:
            got = {}
            names = []
            for turn in range(rounds):
                servers = lib.servers_of(arguments, arguments.server_cpu, arguments.threads)
                names = [server.name for server in servers]
                for server in lib.rotated(servers, turn):
                    lib.progress(f"{server.name}: {value_len} B{', TTL' if ttl else ''}")
                    with server:
                        time.sleep(0.5)
                        before = server.rss_bytes()
                        fill(load, server, arguments.keys, value_len, ttl)
                        per_key = (server.rss_settled_bytes() - before) / arguments.keys
                    got.setdefault(server.name, []).append({"bytes": per_key})
                    results.append({"measurement": "bytes", "server": server.name,
                                    "value": value_len, "ttl": ttl, "round": turn,
                                    "keys": arguments.keys, "bytes_per_key": per_key})
            for name in names:
                per_key = lib.median([one["bytes"] for one in got[name]])
                ratio = "1" if name == names[0] else lib.ratio_text(
                    lib.paired(got[names[0]], got[name], "bytes"))
                rows.append([f"{value_len} B{' + TTL' if ttl else ''}", name,
                             lib.number(per_key, 1), lib.number(per_key - KEY_LEN - value_len, 1),
                             ratio])
    lib.print_table(f"RSS per key, {arguments.keys:,} keys of {KEY_LEN} B",
                    ["value", "server", "B/key", "beyond payload", f"{names[0]} / it"], rows)
    return results


def growth(arguments, load):
    """Small batches of inserts on one connection, each timed by the server's own CPU clock."""
    results = []
    rows = []
    servers = lib.servers_of(arguments, arguments.server_cpu, arguments.threads)
    for turn in range(arguments.rounds or 1):
        for server in lib.rotated(servers, turn):
            lib.progress(f"round {turn + 1}: {server.name}")
            with server:
                for verb in ("set", "get") if arguments.control else ("set",):
                    result = load.run(server, walk=verb, keys=arguments.keys, clients=1,
                                      key_size=KEY_LEN, data_size=arguments.values[0], slowest=16,
                                      pipeline=GROWTH_BATCH, server_time=True)
                    results.append(dict(result, measurement="growth", server=server.name,
                                        verb=verb, round=turn))
                    worked = result["server_time"]
                    rows.append([server.name, turn + 1, "insert" if verb == "set" else "get",
                                 lib.number(worked["p50_us"], 1), lib.number(worked["p999_us"], 0),
                                 lib.number(worked["max_us"] / 1000), worked["above_1ms"],
                                 moments(worked["slowest"]),
                                 lib.number(result["max_us"] / 1000, 1)])
    lib.print_table(
        f"{arguments.keys:,} inserts into an empty server, {GROWTH_BATCH} at a time: what the "
        "server itself worked for a batch",
        ["server", "round", "request", "p50 µs", "p99.9", "slowest ms", "> 1 ms",
         "slowest: ms at thousands of keys", "wall ms"], rows)
    return results


def moments(slowest, apart=100, most=4):
    """The slowest requests; neighbours, which belong to the same event, are told once."""
    kept = []
    for slow in slowest:
        if all(abs(slow["at"] - other["at"]) > apart for other in kept):
            kept.append(slow)
    return ", ".join(f"{slow['us'] / 1000:.2f} at {slow['at'] / 1000:.0f}"
                     for slow in kept[:most])


def shrink(arguments, load):
    results = []
    rows = []
    value_len = arguments.values[0]
    mib = 1 / (1 << 20)
    for server in lib.servers_of(arguments, arguments.server_cpu, arguments.threads):
        lib.progress(f"{server.name}: filling and emptying")
        with server:
            time.sleep(0.5)
            empty = server.rss_bytes()
            fill(load, server, arguments.keys, value_len, False)
            full = server.rss_settled_bytes()
            load.run(server, walk="del", keys=arguments.keys, key_size=KEY_LEN, clients=4,
                     pipeline=64)
            with server.client() as client:
                left = client.command("DBSIZE")
            if left != 0:
                raise lib.Failure(f"{server.name} says DBSIZE {left} after deleting everything")
            after = server.rss_bytes()
            time.sleep(arguments.shrink_seconds)
            settled = server.rss_bytes()
        back = (full - settled) / (full - empty)
        results.append({"measurement": "shrink", "server": server.name, "empty": empty,
                        "full": full, "after_deletes": after, "settled": settled, "back": back})
        rows.append([server.name, *(lib.number(size * mib, 0)
                                    for size in (empty, full, after, settled)), f"{back:.0%}"])
    lib.print_table(
        f"RSS in MiB: {arguments.keys:,} keys of {KEY_LEN} + {value_len} B, then all deleted",
        ["server", "at start", "full", "after deletes", f"{arguments.shrink_seconds:g} s later",
         "given back"], rows)
    return results


CHURN_BATCH = 1000
CHURN_SIZES = ((60, 160), (8, 40))  # bytes of values: first, and those that come later
CHURN_GONE = 0.8
CHURN_SECONDS = 60  # in which gaps have to close
CHURN_SETTINGS = (("activedefrag", "yes"), ("active-defrag-ignore-bytes", "1mb"))


def churn_set(client, keys, sizes, dice):
    low, high = sizes
    text = "x" * high
    for at in range(0, len(keys), CHURN_BATCH):
        part = keys[at:at + CHURN_BATCH]
        error = client.batch(encode([["SET", "k%015d" % key, text[:dice.randint(low, high)]]
                                     for key in part]), len(part))
        if error is not None:
            raise lib.Failure(f"SET: {error}")


def churn_used(client):
    for line in client.command("INFO", "memory").decode().split():
        if line.startswith("used_memory:"):
            return int(line.split(":")[1])
    raise lib.Failure("INFO memory has no used_memory")


def churn_server(arguments, server):
    """[(moment, used, RSS)] of one server; the last one is the best of CHURN_SECONDS."""
    dice = random.Random(7)
    keys = list(range(arguments.keys))
    moments_seen = []
    with server, server.client() as client:
        helped = arguments.defrag and not any(
            isinstance(client.command("CONFIG", "SET", name, value), Exception)
            for name, value in CHURN_SETTINGS)
        churn_set(client, keys, CHURN_SIZES[0], dice)
        moments_seen.append(("full", churn_used(client), server.rss_bytes()))
        dice.shuffle(keys)
        gone = keys[:int(len(keys) * CHURN_GONE)]
        for at in range(0, len(gone), CHURN_BATCH):
            part = gone[at:at + CHURN_BATCH]
            client.batch(encode([["DEL", "k%015d" % key] for key in part]), len(part))
        moments_seen.append(("deleted", churn_used(client), server.rss_bytes()))
        churn_set(client, [key + arguments.keys for key in gone], CHURN_SIZES[1], dice)
        moments_seen.append(("refilled", churn_used(client), server.rss_bytes()))
        best, end = server.rss_bytes(), time.monotonic() + arguments.churn_seconds
        while time.monotonic() < end:
            time.sleep(1)
            best = min(best, server.rss_bytes())
        moments_seen.append(("settled", churn_used(client), best))
        if client.command("DBSIZE") != arguments.keys:
            raise lib.Failure(f"{server.name} has lost keys")
    return helped, moments_seen


def churn(arguments, load):
    """What RSS is after random deletes, by what is in use: bounded at 1.3 for Splitring."""
    del load
    results = []
    rows = []
    for server in lib.servers_of(arguments, arguments.server_cpu, arguments.threads):
        lib.progress(f"{server.name}: filling, deleting at random, filling again")
        helped, seen = churn_server(arguments, server)
        row = [server.name, "yes" if helped else "no"]
        for moment, used, rss in seen:
            results.append({"measurement": "churn", "server": server.name, "moment": moment,
                            "activedefrag": helped, "used": used, "rss": rss})
            row.append(f"{used / (1 << 20):.0f} / {rss / (1 << 20):.0f} ({rss / used:.2f})")
        rows.append(row)
    lib.print_table(
        f"used / RSS in MiB (ratio): {arguments.keys:,} keys with values of "
        f"{CHURN_SIZES[0][0]}-{CHURN_SIZES[0][1]} B, {CHURN_GONE:.0%} of them deleted at random, "
        f"as many set with {CHURN_SIZES[1][0]}-{CHURN_SIZES[1][1]} B",
        ["server", "activedefrag", "full", "deleted", "refilled",
         f"within {arguments.churn_seconds:g} s"], rows)
    return results


ELEMENTS_BATCH = 1000
WARM_UP = 500  # requests that touch a server's buffers before its first RSS is read
# name: one request of ELEMENTS_BATCH elements, the n-th; and how many elements a request makes.
ELEMENTS = {
    "zset": lambda n: [["ZADD", "zset"] + [word for i in range(n, n + ELEMENTS_BATCH)
                                           for word in (str(i * 7919 % 1000003), element(i))]],
    "set": lambda n: [["SADD", "set"] + [element(i) for i in range(n, n + ELEMENTS_BATCH)]],
    "list": lambda n: [["RPUSH", "list"] + [element(i) for i in range(n, n + ELEMENTS_BATCH)]],
    "hash": lambda n: [["HSET", "hash"] + [word for i in range(n, n + ELEMENTS_BATCH)
                                           for word in (element(i), "value:%010d" % i)]],
    "stream": lambda n: [["XADD", "stream", "*", "field-a", "value:%04d" % (i % 10000),
                          "field-b", "value:%04d" % (i * 7 % 10000)]
                         for i in range(n, n + ELEMENTS_BATCH)],
    "small hash": lambda n: [["HSET", "hash:%010d" % i, "name", "user%06d" % (i % 1000000),
                              "age", str(i % 90), "city", "city%02d" % (i % 50),
                              "visits", str(i % 1000), "id", str(i)]
                             for i in range(n, n + ELEMENTS_BATCH)],
}


def element(i):
    """16 bytes without order: what a hash function would make of ids."""
    return "%016x" % (i * 0x9e3779b97f4a7c15 & (1 << 64) - 1)


def encode(requests):
    parts = []
    for words in requests:
        parts.append("*%d\r\n" % len(words))
        parts += ["$%d\r\n%s\r\n" % (len(word), word) for word in words]
    return "".join(parts).encode()


def elements(arguments, load):
    """One kind of value after the other, each in a fresh server."""
    del load
    results = []
    rows = []
    for kind in arguments.kinds:
        names = []
        got = {}
        for server in lib.servers_of(arguments, arguments.server_cpu, arguments.threads):
            lib.progress(f"{server.name}: {kind}")
            names.append(server.name)
            with server:
                time.sleep(0.5)
                with server.client() as client:
                    for _ in range(WARM_UP):
                        client.batch(encode([["ECHO", "x" * 20000]]), 1)
                    before = server.rss_bytes()
                    for n in range(0, arguments.keys, ELEMENTS_BATCH):
                        requests = ELEMENTS[kind](n)
                        error = client.batch(encode(requests), len(requests))
                        if error is not None:
                            lib.progress(f"{server.name} does not know it: {error}")
                            break
                if error is not None:
                    continue
                per_element = (server.rss_settled_bytes() - before) / arguments.keys
            got[server.name] = [{"bytes": per_element}]
            results.append({"measurement": "elements", "server": server.name, "kind": kind,
                            "elements": arguments.keys, "bytes_per_element": per_element})
        for name in names:
            if name not in got:
                continue
            ratio = "1" if name == names[0] or names[0] not in got else lib.ratio_text(
                lib.paired(got[names[0]], got[name], "bytes"))
            rows.append([kind, name, lib.number(got[name][0]["bytes"], 1), ratio])
    lib.print_table(f"RSS per element, {arguments.keys:,} of each",
                    ["value", "server", "B/element", f"{names[0]} / it"], rows)
    return results


MEASUREMENTS = {"bytes": bytes_per_key, "growth": growth, "shrink": shrink,
                "elements": elements, "churn": churn}


def arguments_parse():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measurement", choices=MEASUREMENTS, nargs="?", default="bytes")
    lib.add_server_options(parser)
    parser.add_argument("--threads", type=int, default=1, help="workers (1)")
    parser.add_argument("--keys", type=int, help="(5000000; growth: 2000000; elements: 1000000)")
    parser.add_argument("--values", type=int, nargs="+",
                        help="value sizes (8 32 100; growth and shrink use the first, or 32)")
    parser.add_argument("--ttl", choices=("no", "yes", "both"), default="both")
    parser.add_argument("--shrink-seconds", type=float, default=15)
    parser.add_argument("--churn-seconds", type=float, default=CHURN_SECONDS)
    parser.add_argument("--no-defrag", dest="defrag", action="store_false",
                        help="churn: without activedefrag")
    parser.add_argument("--control", action="store_true",
                        help="growth: then read each key once, timed alike: the tail without "
                             "growth")
    parser.add_argument("--kinds", nargs="+", choices=ELEMENTS, default=list(ELEMENTS),
                        help="elements: only these")
    arguments = parser.parse_args()
    if arguments.keys is None:
        arguments.keys = {"growth": 2000000, "elements": 1000000}.get(
            arguments.measurement, 5000000)
    if arguments.values is None:
        arguments.values = [8, 32, 100] if arguments.measurement == "bytes" else [32]
    return arguments


def main():
    arguments = arguments_parse()
    lib.end_on_sigterm()
    try:
        lib.finish_server_options(arguments)
        with lib.Programs(arguments.loadgen) as programs:
            load = lib.Load(programs, arguments.load_cpu)
            results = MEASUREMENTS[arguments.measurement](arguments, load)
            lib.save_json(arguments.json, results)
    except lib.Failure as failure:
        sys.exit(f"run.py: {failure}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
