#!/usr/bin/python3
"""Load measurements: Splitring and its peers in turn, in interleaved rounds, paired ratios.

    bench/load/run.py --scenario single            the table of three pipeline depths
    bench/load/run.py --scenario two --rounds 7    two workers: random keys against local ones
    bench/load/run.py --server 'redis-server --port {port} --save ""' --peer valkey

README.md beside bench/ says what each scenario measures and how to read it.
"""

import argparse
import os
import shlex
import sys
import time
from contextlib import ExitStack

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import benchlib as lib  # noqa: E402  (its folder must be on the path first)
import atomic  # noqa: E402
import bytype  # noqa: E402

PIPELINES = (1, 16, 64)
TWO_POINTS = (
    # connections, pipeline, pattern, ratio
    (1, 1, "uniform", "1:10"),
    (50, 1, "uniform", "1:10"),
    (500, 1, "uniform", "1:10"),
    (1, 64, "uniform", "1:10"),
    (50, 16, "uniform", "1:10"),
    (50, 64, "uniform", "1:10"),
    (50, 16, "zipf:0.99", "1:1"),
)


class Run:
    """One scenario: its servers, its load, all results as they come."""

    def __init__(self, arguments, programs):
        self.arguments = arguments
        self.programs = programs
        self.results = []

    def load(self, cpu):
        return lib.Load(self.programs, cpu)

    def rounds(self, default):
        return self.arguments.rounds or default

    def keep(self, server, result, **where):
        self.results.append(dict(where, scenario=self.arguments.scenario, server=server.name,
                                 **result))
        return result

    def common(self):
        return {"keys": self.arguments.keys, "data_size": self.arguments.data_size,
                "duration": self.arguments.duration, "warmup": self.arguments.warmup}

    def preload(self, load, server, **options):
        lib.progress(f"preloading {server.name}")
        load.preload(server, keys=self.arguments.keys, data_size=self.arguments.data_size,
                     **options)
        with server.client() as client:
            size = client.command("DBSIZE")
        if isinstance(size, int) and size < self.arguments.keys:
            raise lib.Failure(f"{server.name} holds {size} keys after the preload")


def check_measured(server, result):
    if result["nulls"] > 0.001 * result["requests"]:
        lib.progress(f"warning: {server.name}: {result['nulls']} GETs found no key: misses are "
                     "cheaper, the figures are worth nothing")
    if result["others"] is not None and result["others"] > 0.15:
        lib.progress(f"warning: {result['others']:.0%} of the work on {server.name}'s CPU was "
                     "somebody else's")


HEAD = ["ops/s", "CPU µs/op", "user", "system", "p50 µs", "p99", "p99.9", "busy"]


def figures(results):
    """The columns of HEAD: medians over the rounds."""
    def of(key):
        return lib.median([result[key] for result in results])

    return [lib.number(of("ops_per_s"), 0), lib.number(of("server_us")),
            lib.number(of("server_user_us")), lib.number(of("server_system_us")),
            lib.number(of("p50_us"), 0), lib.number(of("p99_us"), 0),
            lib.number(of("p999_us"), 0), lib.number(of("server_cpus"))]


def instructions(results):
    """Instructions per request, user + kernel, where perf can count them."""
    if "instructions_user" not in results[0]:
        return []
    return [lib.number(lib.median([result[key] for result in results]), 0)
            for key in ("instructions_user", "instructions_kernel")]


def compare(run, servers, points, load, title, rounds, unloaded=(), key="server_us"):
    """Measures all servers at all points in interleaved rounds and prints one table.

    points: name → options of the load. The first server is the one the ratios are about."""
    got = {(server.name, point): [] for server in servers for point in points}
    for server in servers:
        if server.name not in unloaded:
            run.preload(load, server)
    for turn in range(rounds):
        lib.progress(f"round {turn + 1} of {rounds}")
        for point, options in points.items():
            for server in lib.rotated(servers, turn):
                result = load.run(server, seed=turn + 1, **{**run.common(), **options})
                run.keep(server, result, point=point, round=turn)
                if server.name not in unloaded:
                    check_measured(server, result)
                got[server.name, point].append(result)
    rows = []
    counted = bool(instructions(got[servers[0].name, next(iter(points))]))
    first = servers[0].name
    for point in points:
        for server in servers:
            results = got[server.name, point]
            ratio = "1" if server.name == first else lib.ratio_text(
                lib.paired(got[first, point], results, key))
            others = lib.median([result["others"] for result in results])
            rows.append([point, server.name, *figures(results), *instructions(results),
                         "–" if others is None else f"{others:.0%}", ratio])
    head = ["load", "server", *HEAD] + (["instr. user", "kernel"] if counted else [])
    what = "CPU" if key == "server_us" else "p50"
    lib.print_table(title, head + ["others", f"{what}: {first} / it"], rows)


def single(run):
    arguments = run.arguments
    servers = lib.servers_of(arguments, arguments.server_cpu, arguments.threads or 1)
    run_pinned(run, servers, f"One worker on CPU {arguments.server_cpu}, GET:SET 10:1")


def pipeline_points(run):
    return {f"{run.arguments.clients}c P{depth}":
            {"clients": run.arguments.clients, "pipeline": depth, "ratio": "1:10"}
            for depth in run.arguments.pipeline}


def run_pinned(run, servers, title, unloaded=()):
    with ExitStack() as stack:
        for server in servers:
            stack.enter_context(server)
        compare(run, servers, pipeline_points(run), run.load(run.arguments.load_cpu), title,
                run.rounds(5), unloaded)


def engines(run):
    arguments = run.arguments
    template = arguments.server
    if "{engine}" not in template:
        if template != lib.SPLITRING and not arguments.splitring:
            raise lib.Failure("--server needs {engine} in this scenario")
        template += " --io-engine {engine}"
    servers = [lib.Server(engine, template, arguments.server_cpu, arguments.threads or 1, engine)
               for engine in ("epoll", "io_uring")]
    run_pinned(run, servers, "I/O engines, one worker (the bound: epoll ≤ 1.1 × io_uring)")


def echo(run):
    arguments = run.arguments
    program = shlex.quote(run.programs.path("echo"))
    servers = [lib.Server(arguments.name, arguments.server, arguments.server_cpu,
                          arguments.threads or 1, arguments.engine),
               lib.Server("echo", f"{program} --port {{port}} --data-size {arguments.data_size}",
                          arguments.server_cpu)]
    run_pinned(run, servers, "Distance to the floor: an echo server on an epoll loop", ("echo",))


def two(run):
    """Random keys, half of them another worker's, against keys of the connection's own worker."""
    arguments = run.arguments
    workers = arguments.threads or 2
    server = lib.Server(arguments.name, arguments.server, None, workers, arguments.engine,
                        "--connection-placement spread" if "splitring" in arguments.server else "")
    modes = {"local": {"shards": workers}, "random": {}}
    for mode in arguments.localities or ():
        modes[mode] = {"shards": workers, "locality": mode}
    # One connection is at home on one CPU: its figures depend on whether the load runs there too,
    # so that is nailed down (worker 0 on the first CPU, the load on the other).
    alone = {"worker": 0, "cpus": arguments.load_cpu}
    rows = []
    with server:
        load = run.load(None)
        run.preload(load, server)
        run.preload(load, server, shards=workers)
        got = {}
        told = True
        for turn in range(run.rounds(5)):
            lib.progress(f"round {turn + 1} of {run.rounds(5)}")
            for point in TWO_POINTS:
                clients, pipeline, pattern, ratio = point
                for mode in lib.rotated(list(modes), turn):
                    result = load.run(server, **run.common(), **modes[mode], seed=turn + 1,
                                      clients=clients, threads=min(clients, 2), pipeline=pipeline,
                                      pattern=pattern, ratio=ratio,
                                      **(alone if clients == 1 else {}))
                    run.keep(server, result, point=point, mode=mode, round=turn)
                    check_measured(server, result)
                    told = told and result.get("workers_told", True)
                    got.setdefault((point, mode), []).append(result)
        for point in TWO_POINTS:
            clients, pipeline, pattern, ratio = point
            name = f"{clients} × {pipeline}" + ("" if pattern == "uniform" else
                                                f" {pattern} {ratio}")
            for mode in modes:
                results = got[point, mode]
                share = "1" if mode == "local" else lib.ratio_text(
                    lib.paired(results, got[point, "local"]))
                rows.append([name, mode, *figures(results), share])
    lib.print_table(f"{workers} workers and the load on the same CPUs: {server.name}",
                    ["load", "keys", *HEAD, "CPU: it / local"], rows)
    if not told:
        print("\nCLIENT INFO told no worker=: connections were taken to alternate, so 'local' may "
              "be nothing of the kind.")


def lowload(run):
    """A tenth of what the first peer can do, at the same rate for all."""
    arguments = run.arguments
    layouts = (("server and load on a CPU each", arguments.server_cpu, arguments.load_cpu, 1),
               ("all on both CPUs, two workers", None, None, 2))
    for title, server_cpu, load_cpu, threads in layouts:
        servers = lib.servers_of(arguments, server_cpu, arguments.threads or threads)
        with ExitStack() as stack:
            for server in servers:
                stack.enter_context(server)
            load = run.load(load_cpu)
            yardstick = servers[1]
            run.preload(load, yardstick)
            points = {}
            for depth in arguments.pipeline:
                full = load.run(yardstick, keys=arguments.keys, clients=arguments.clients,
                                data_size=arguments.data_size, pipeline=depth, duration=1,
                                warmup=0.5)
                # What it could do with a CPU of its own, whoever else uses that CPU just now.
                rate = arguments.share * 1e6 / full["server_us"]
                points[f"{arguments.clients}c P{depth}, {rate / 1000:.0f}k/s"] = {
                    "clients": arguments.clients, "pipeline": depth, "ratio": "1:10",
                    "rate": f"{rate:.0f}"}
            compare(run, servers, points, load,
                    f"{arguments.share:.0%} of what {yardstick.name} can do; {title}",
                    run.rounds(5), key="p50_us")


def open_idle(server, count):
    """Opens connections, one PING on each. Returns them."""
    clients = []
    for _ in range(count):
        client = lib.Connection(server.port)
        clients.append(client)
        if client.command("PING") != b"PONG":
            raise lib.Failure(f"{server.name} refused connection {len(clients)}")
    return clients


def quiet(server, seconds):
    """CPU milliseconds and voluntary switches per second of a server that has nothing to do."""
    cpu, wakeups = server.cpu_exact_s(), server.wakeups()
    time.sleep(seconds)
    return ((server.cpu_exact_s() - cpu) * 1000 / seconds,
            (server.wakeups() - wakeups) / seconds)


def idle(run):
    arguments = run.arguments
    count = arguments.idle_clients
    limit = lib.raise_file_limit(2 * count + 1000)
    if limit < count + 100:
        raise lib.Failure(f"{count} connections need more than {limit} open files")
    rows = []
    names = ("redis-server", "valkey-server", "splitring")
    for server in lib.servers_of(arguments, arguments.server_cpu, arguments.threads or 1):
        if os.path.basename(shlex.split(server.template)[0]) in names:
            server.more = f"--maxclients {count + 100}"
        with server:
            lib.progress(f"{server.name}: quiet, then {count} idle connections")
            time.sleep(2)
            cpu, wakeups = quiet(server, arguments.idle_seconds)
            before = server.rss_bytes()
            clients = open_idle(server, count)
            after_ping = server.rss_bytes()
            time.sleep(15)
            settled = server.rss_bytes()
            cpu_many, wakeups_many = quiet(server, arguments.idle_seconds)
            for client in clients:
                client.__exit__()
            time.sleep(2)
            closed = server.rss_bytes()
        result = {"cpu_ms_per_s": cpu, "wakeups_per_s": wakeups,
                  "after_ping_bytes": (after_ping - before) / count,
                  "settled_bytes": (settled - before) / count,
                  "closed_bytes": (closed - before) / count,
                  "cpu_ms_per_s_connected": cpu_many, "wakeups_per_s_connected": wakeups_many}
        run.keep(server, result)
        rows.append([server.name, lib.number(cpu, 3), lib.number(wakeups, 1),
                     lib.number(result["after_ping_bytes"], 0),
                     lib.number(result["settled_bytes"], 0),
                     lib.number(result["closed_bytes"], 0),
                     lib.number(cpu_many, 3), lib.number(wakeups_many, 1)])
    lib.print_table(
        f"A quiet server over {arguments.idle_seconds} s; RSS bytes for each of {count} idle "
        "connections after one PING",
        ["server", "CPU ms/s", "wakeups/s", "B at once", "B after 15 s", "B after closing",
         "CPU ms/s with them", "wakeups/s"], rows)


SCENARIOS = {"single": single, "engines": engines, "two": two, "lowload": lowload, "idle": idle,
             "echo": echo, "redis-benchmark": bytype.own_tests, "types": bytype.by_type,
             "atomic": atomic.atomic}


def arguments_parse():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", choices=SCENARIOS, default="single")
    lib.add_server_options(parser)
    parser.add_argument("--threads", type=int, help="workers, instead of the scenario's number")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--pipeline", type=int, nargs="+", help="depths (1 16 64; lowload: 1 16)")
    parser.add_argument("--keys", type=int, default=1000000)
    parser.add_argument("--data-size", type=int, default=64)
    parser.add_argument("--duration", type=float, default=3, help="seconds of a measurement (3)")
    parser.add_argument("--warmup", type=float, default=0.5)
    parser.add_argument("--localities", nargs="+", choices=("any", "other"),
                        help="two: also the tagged keys of any or only of other workers")
    parser.add_argument("--share", type=float, default=0.1, help="lowload: of the peer's maximum")
    parser.add_argument("--idle-clients", type=int, default=10000)
    parser.add_argument("--idle-seconds", type=float, default=10)
    parser.add_argument("--share-of-n", type=float, default=1,
                        help="redis-benchmark, types: this share of the usual number of requests")
    parser.add_argument("--tests", nargs="+", metavar="TEST",
                        choices=[test[0] for test in bytype.BY_TYPE], help="types: only these")
    arguments = parser.parse_args()
    if arguments.pipeline is None and arguments.scenario not in ("types", "atomic"):
        arguments.pipeline = list(PIPELINES[:2] if arguments.scenario == "lowload" else PIPELINES)
    return arguments


def main():
    arguments = arguments_parse()
    lib.end_on_sigterm()
    try:
        lib.finish_server_options(arguments)
        with lib.Programs(arguments.loadgen) as programs:
            run = Run(arguments, programs)
            try:
                SCENARIOS[arguments.scenario](run)
            finally:
                lib.save_json(arguments.json, run.results)
    except lib.Failure as failure:
        sys.exit(f"run.py: {failure}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
