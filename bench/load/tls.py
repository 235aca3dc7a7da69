#!/usr/bin/python3
"""What TLS costs: CPU time of the server per request, beside redis-server with TLS (Debian's is
built with it), one worker against one thread, by redis-benchmark --tls.

    bench/load/tls.py [--rounds 5] [--requests 200000] [--pipeline 1 16]

Each round runs every server with and without TLS in turn, at each depth; ratios are of the same
round. Whole figures of redis-benchmark are shown as well, but it is a costly client under TLS: what
counts is `us`. Certificates (ECDSA P-256; TLS 1.3, AES-256-GCM) are made for the run by openssl.
"""

import argparse
import os
import subprocess
import sys
from contextlib import ExitStack

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tests"))
import benchlib as lib  # noqa: E402
from integration import tls_files  # noqa: E402


def tls_server(server, files):
    server.tls = lib.free_port()
    server.more = " ".join(map(str, [*files.server(), "--tls-port", server.tls]))
    return server


def once(arguments, server, files, secure, words, pipeline):
    port = server.tls if secure else server.port
    count = arguments.requests * (4 if pipeline > 1 else 1)
    argv = ["taskset", "-c", arguments.load_cpu, "redis-benchmark", "-p", str(port), "-c", "50",
            "-P", str(pipeline), "-n", str(count), "-r", "100000", "-d", "100", "--csv"]
    argv += ["--tls", "--cacert", str(files["ca.crt"])] if secure else []
    before = server.cpu_exact_s()
    done = subprocess.run(argv + ["-t", words], capture_output=True, text=True)
    used = server.cpu_exact_s() - before
    lines = [line for line in done.stdout.splitlines() if line.startswith('"')]
    if done.returncode != 0 or len(lines) < 2:
        raise lib.Failure(f"{argv}\n{done.stdout}{done.stderr}")
    fields = [field.strip('"') for field in lines[-1].rsplit(",", 7)]
    return {"server_us": used / count * 1e6, "ops_per_s": float(fields[1])}


def measure(arguments, servers, files):
    got = {}
    cases = [(secure, words, pipeline) for pipeline in arguments.pipeline
             for words in ("set", "get") for secure in (True, False)]
    for turn in range(arguments.rounds):
        lib.progress(f"round {turn + 1} of {arguments.rounds}")
        for server in lib.rotated(servers, turn):
            for case in cases:
                result = once(arguments, server, files, *case)
                got.setdefault((server.name, *case), []).append(result)
    return cases, got


def table(servers, cases, got):
    rows = []
    for case in cases:
        secure, words, pipeline = case
        base = got[(servers[-1].name, *case)]
        for server in servers:
            results = got[(server.name, *case)]
            rows.append([f"{words.upper()} {'TLS' if secure else 'plain'}, pipeline {pipeline}",
                         server.name, lib.number(lib.median([r["server_us"] for r in results])),
                         lib.number(lib.median([r["ops_per_s"] for r in results]), 0),
                         lib.ratio_text(lib.paired(results, base))])
    lib.print_table("CPU of the server per request, µs", ["", "server", "us", "requests/s",
                                                          f"us / {servers[-1].name}'s"], rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    lib.add_server_options(parser)
    parser.add_argument("--requests", type=int, default=200000, help="of a run at pipeline 1")
    parser.add_argument("--pipeline", type=int, nargs="+", default=[1, 16])
    arguments = parser.parse_args()
    lib.finish_server_options(arguments)
    arguments.rounds = arguments.rounds or 5
    arguments.peer = arguments.peer or ["redis"]
    lib.end_on_sigterm()
    files = tls_files.make()
    servers = [tls_server(server, files)
               for server in lib.servers_of(arguments, arguments.server_cpu)]
    with ExitStack() as stack:
        for server in servers:
            stack.enter_context(server)
        table(servers, *measure(arguments, servers, files))


if __name__ == "__main__":
    try:
        main()
    except lib.Failure as failure:
        sys.exit(str(failure))
