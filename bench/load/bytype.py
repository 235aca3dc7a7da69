"""redis-benchmark's own tests, and the commands of each data type by our load generator.

CPU per request is that of the server alone. redis-benchmark is a costly client: it is busy before
a fast server is, which then does its work in many small pieces. So the types are measured by
loadgen, which any server keeps waiting.
"""

import shlex
import subprocess
import time
from contextlib import ExitStack

import benchlib as lib

OWN_TESTS = (("set", 2000000), ("get", 2000000), ("incr", 2000000), ("mset", 300000))

# name, what is prepared, the command, requests, how many random members there are. Prepared is a
# list of earlier names whose key is to be there as they left it; else the database is emptied.
# Members take 16 bytes.
MEMBER = "elem__number__"
BY_TYPE = (
    ("LPUSH", (), ["LPUSH", "list", MEMBER], 1000000, 1000000),
    ("LRANGE_100", ("LPUSH",), ["LRANGE", "list", "0", "99"], 150000, 1),
    ("RPOP", ("LPUSH",), ["RPOP", "list"], 1000000, 1),
    ("SADD", (), ["SADD", "set", MEMBER], 1000000, 1000000),
    ("HSET", (), ["HSET", "hash", MEMBER, "value:0123456789"], 1000000, 1000000),
    ("ZADD", (), ["ZADD", "zset", "__number__", MEMBER], 1000000, 1000000),
    ("ZRANGE_10", ("ZADD",), ["ZRANGE", "zset", "0", "9"], 500000, 1),
    ("ZRANGE_100", ("ZADD",), ["ZRANGE", "zset", "0", "99"], 150000, 1),
    ("ZRANK", ("ZADD",), ["ZRANK", "zset", MEMBER], 1000000, 1000000),
    ("XADD", (), ["XADD", "stream", "*", "field", "value:0123456789"], 1000000, 1),
)


def once(server, cpu, words, count, pipeline):
    """One run of redis-benchmark; words are its last arguments."""
    argv = ["taskset", "-c", str(cpu), "redis-benchmark", "-p", str(server.port),
            "-P", str(pipeline), "-c", "50", "-n", str(count), "--csv", *words]
    user, system = server.cpu_ticks_s()
    done = subprocess.run(argv, capture_output=True, text=True)
    user_after, system_after = server.cpu_ticks_s()
    lines = [line for line in done.stdout.splitlines() if line.startswith('"')]
    if done.returncode != 0 or len(lines) < 2:
        raise lib.Failure(f"{shlex.join(argv)}\n{done.stdout}{done.stderr}")
    fields = lines[-1].rsplit(",", 7)
    fields = [field.strip('"') for field in fields]
    return {"ops_per_s": float(fields[1]), "p50_us": float(fields[4]) * 1000,
            "p99_us": float(fields[6]) * 1000,
            "server_user_us": (user_after - user) / count * 1e6,
            "server_system_us": (system_after - system) / count * 1e6,
            "server_us": (user_after - user + system_after - system) / count * 1e6}


def print_results(title, names, servers, got):
    rows = []
    first = servers[0].name
    for name in names:
        for server in servers:
            results = got.get((name, server.name))
            if not results:
                continue
            ours = got.get((name, first))
            rows.append([name, server.name,
                         *(lib.number(lib.median([result[key] for result in results]), digits)
                           for key, digits in (("ops_per_s", 0), ("server_us", 2),
                                               ("server_user_us", 2), ("server_system_us", 2),
                                               ("p50_us", 0), ("p99_us", 0))),
                         "1" if server.name == first else
                         lib.ratio_text(lib.paired(ours, results)) if ours else "–"])
    lib.print_table(title, ["test", "server", "ops/s", "CPU µs/op", "user", "system", "p50 µs",
                            "p99", f"CPU: {first} / it"], rows)


def own_tests(run):
    arguments = run.arguments
    servers = lib.servers_of(arguments, arguments.server_cpu, arguments.threads or 1)
    got = {}
    names = {test: test.upper() for test, _ in OWN_TESTS}
    names["mset"] += " × 10 keys"
    with ExitStack() as stack:
        for server in servers:
            stack.enter_context(server)
        for turn in range(run.rounds(3)):
            lib.progress(f"round {turn + 1} of {run.rounds(3)}")
            for test, count in OWN_TESTS:
                for server in lib.rotated(servers, turn):
                    words = ["-r", "1000000", "-d", "64", "-t", test]
                    result = once(server, arguments.load_cpu, words,
                                  max(1000, int(count * arguments.share_of_n)), 32)
                    got.setdefault((names[test], server.name), []).append(
                        run.keep(server, result, test=test, round=turn))
    print_results("redis-benchmark -P 32 -c 50 -r 1000000 -d 64", names.values(), servers, got)


def knows(server, command):
    with server.client() as client:
        return isinstance(client.command("COMMAND", "INFO", command)[0], list)


def empty(server):
    with server.client() as client:
        client.command("FLUSHALL")
    time.sleep(0.5)  # what is freed afterwards is not the next command's


def by_type(run):
    """One command after the other on every server; keys are built by the commands themselves."""
    arguments = run.arguments
    depth = (arguments.pipeline or [16])[0]
    servers = lib.servers_of(arguments, arguments.server_cpu, arguments.threads or 1)
    wanted = [test for test in BY_TYPE if not arguments.tests or test[0] in arguments.tests]
    needed = {name for test in wanted for name in test[1]}
    got = {}
    load = run.load(arguments.load_cpu)
    with ExitStack() as stack:
        for server in servers:
            stack.enter_context(server)
        for turn in range(run.rounds(3)):
            lib.progress(f"round {turn + 1} of {run.rounds(3)}")
            for name, prepared, command, count, members in BY_TYPE:
                test = (name, prepared, command, count, members)
                if test not in wanted and name not in needed:
                    continue
                for server in lib.rotated(servers, turn):
                    if not knows(server, command[0]):
                        continue
                    if not prepared:
                        empty(server)
                    result = load.run(server, clients=50, pipeline=depth, warmup=0,
                                      command=" ".join(command), keys=members,
                                      requests=max(1000, int(count * arguments.share_of_n)))
                    got.setdefault((name, server.name), []).append(
                        run.keep(server, result, test=name, round=turn))
    print_results(f"50 connections, pipeline {depth}, members of 16 B",
                  [test[0] for test in wanted], servers, got)
