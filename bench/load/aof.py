#!/usr/bin/python3
"""What the append log costs, beside redis-server with the same setting.

    bench/load/aof.py [--rounds 5] [--requests 20000] [--threads 1]

Three cases of SET with 50 connections, by redis-benchmark:
  always    appendfsync always, pipeline 1: requests/s (aim: >= 1.5 times redis-server's)
  everysec  appendfsync everysec, pipeline 16: CPU of the server per request (aim: <= 0.6 times)
  off       no log, pipeline 16: CPU per request; with --other PROGRAM that build is measured
            beside it (main before the log: no cost)

All servers run in turn within a round, ratios are of the same round. The log lies in $TMPDIR:
`always` measures that disk's sync as much as the servers.
"""

import argparse
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import benchlib as lib  # noqa: E402

CASES = {"always": ("--appendonly yes --appendfsync always", 1, "ops_per_s"),
         "everysec": ("--appendonly yes --appendfsync everysec", 16, "server_us"),
         "off": ("--appendonly no", 16, "server_us")}


def once(arguments, server, case):
    options, pipeline, _ = CASES[case]
    more, server.more = server.more, f"{server.more} {options} --auto-aof-rewrite-percentage 0"
    count = arguments.requests * (20 if pipeline > 1 else 1)
    try:
        with server:
            argv = ["taskset", "-c", arguments.load_cpu, "redis-benchmark", "-p", str(server.port),
                    "-c", "50", "-P", str(pipeline), "-n", str(count), "-r", "100000", "-d", "100",
                    "--csv", "-t", "set"]
            before = server.cpu_exact_s()
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
            used = server.cpu_exact_s() - before
    finally:
        server.more = more
    lines = [line for line in done.stdout.splitlines() if line.startswith('"')]
    if done.returncode != 0 or len(lines) < 2:
        raise lib.Failure(f"{argv}\n{done.stdout}{done.stderr}")
    fields = [field.strip('"') for field in lines[-1].rsplit(",", 7)]
    return {"server_us": used / count * 1e6, "ops_per_s": float(fields[1])}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    lib.add_server_options(parser)
    parser.add_argument("--requests", type=int, default=20000, help="of a run at pipeline 1")
    parser.add_argument("--case", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--other", help="another build, measured without a log")
    arguments = parser.parse_args()
    lib.finish_server_options(arguments)
    arguments.rounds = arguments.rounds or 5
    arguments.peer = arguments.peer or ["redis"]
    lib.end_on_sigterm()
    servers = lib.servers_of(arguments, arguments.server_cpu)
    got = {}
    for turn in range(arguments.rounds):
        lib.progress(f"round {turn + 1} of {arguments.rounds}")
        for server in lib.rotated(servers, turn):
            for case in arguments.case:
                got.setdefault((server.name, case), []).append(once(arguments, server, case))
    if arguments.other:
        other = lib.Server("other", f"{arguments.other} --port {{port}} --threads 1 --save ''",
                           arguments.server_cpu)
        got["other", "off"] = [once(arguments, other, "off") for _ in range(arguments.rounds)]
    rows = []
    for case in arguments.case:
        base = got[servers[-1].name, case]
        for name in [s.name for s in servers] + (["other"] if ("other", case) in got else []):
            results = got[name, case]
            rows.append([case, name, lib.number(lib.median([r["server_us"] for r in results])),
                         lib.number(lib.median([r["ops_per_s"] for r in results]), 0),
                         lib.ratio_text(lib.paired(results, base, CASES[case][2]))])
    lib.print_table("SET with a log", ["case", "server", "us", "requests/s",
                                       f"ratio to {servers[-1].name}"], rows)


if __name__ == "__main__":
    try:
        main()
    except lib.Failure as failure:
        sys.exit(str(failure))
