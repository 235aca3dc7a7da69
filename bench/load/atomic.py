"""Scripts, transactions and messages: what a client gets done in one go.

redis-benchmark can repeat one command only, so a small driver stands in for it: connections that
send a prepared block of commands, wait for all of its replies, and send the next. It reads replies
as a number of bytes (those of the first block, which is checked for errors), so it costs little;
what is measured is the server's CPU, per command, transaction or delivered message.
"""

import binascii
import itertools
import os
import selectors
import socket
import time
from contextlib import ExitStack

import benchlib as lib
from bytype import print_results

CONNECTIONS = 50
BLOCKS = 16  # different ones, so that keys differ
SUBSCRIBERS = 100
GET = "return redis.call('GET', KEYS[1])"
UNLOCK = ("if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) "
          "else return 0 end")
TWO = "redis.call('SET', KEYS[1], 'v') return redis.call('SET', KEYS[2], 'v')"
TWO_ARGV = "redis.call('SET', ARGV[1], 'v') return redis.call('SET', ARGV[2], 'v')"
SETS = 5


def encode(*words):
    parts = [str(word).encode() for word in words]
    return b"".join([b"*%d\r\n" % len(parts), *(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)])


def transaction(number):
    """Five SETs in one shard."""
    tag = f"{{t{number % 1000:04}}}"
    return b"".join([encode("MULTI"),
                     *(encode("SET", f"{tag}:{i}", "value:0123456789") for i in range(SETS)),
                     encode("EXEC")])


def tag_of_shard(shard, count, number):
    """A hash tag whose slot is one of that shard's; crc_hqx is Redis Cluster's CRC16."""
    for tag in itertools.count(number * 64):
        if binascii.crc_hqx(b"%d" % tag, 0) % 16384 * count // 16384 == shard:
            return tag


def apart(number):
    """Two keys, of the first and of the last of two shards."""
    return [f"{{{tag_of_shard(shard, 2, number % 1000)}}}key" for shard in (0, 1)]


def transaction_apart(number):
    keys = apart(number)
    return b"".join([encode("MULTI"),
                     *(encode("SET", f"{keys[i % 2]}:{i}", "value:0123456789")
                       for i in range(SETS)), encode("EXEC")])


def tests(load, workers):
    """name, a command (or several) by its number, rounds of a connection."""
    sha = load("SCRIPT", "LOAD", UNLOCK)
    over_shards = (
        ("MSET of 2 keys, 1 shard", lambda n: encode("MSET", *[
            word for i in (0, 1) for word in (f"{apart(n)[0]}:{i}", "value:0123456789")]), 400),
        ("MSET of 2 keys, 2 shards", lambda n: encode("MSET", *[
            word for key in apart(n) for word in (key, "value:0123456789")]), 400),
        (f"MULTI, {SETS} SETs in 2 shards, EXEC", transaction_apart, 200),
        ("EVAL, 2 keys of 2 shards", lambda n: encode("EVAL", TWO, 2, *apart(n)), 400),
        ("EVAL, 2 keys, none declared", lambda n: encode("EVAL", TWO_ARGV, 0, *apart(n)), 400),
    ) if workers > 1 else ()
    return over_shards + (
        ("EVAL GET of one key", lambda n: encode("EVAL", GET, 1, f"key:{n:08}"), 2000),
        ("EVALSHA unlock", lambda n: encode("EVALSHA", sha.decode(), 1, f"lock:{n:08}", "token"),
         2000),
        (f"MULTI, {SETS} SETs, EXEC", transaction, 1000),
    )


class Caller:
    """One connection that works through its blocks."""

    def __init__(self, port, blocks, rounds, reply_len):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.blocks, self.left, self.reply_len = blocks, rounds, reply_len
        self.missing = 0

    def send(self):
        self.left -= 1
        self.missing = self.reply_len
        self.socket.sendall(self.blocks[self.left % len(self.blocks)])

    def readable(self):
        """False: it has done its work."""
        data = self.socket.recv(1 << 18)
        if not data:
            raise lib.Failure("the server closed a connection")
        self.missing -= len(data)
        if self.missing > 0:
            return True
        if self.left:
            self.send()
        return self.left > 0 or self.missing > 0


def reply_len(port, block):
    """What answers a block, in bytes: until nothing more comes."""
    with socket.create_connection(("127.0.0.1", port)) as probe:
        probe.sendall(block)
        probe.settimeout(0.5)
        data = b""
        try:
            while True:
                data += probe.recv(1 << 18)
        except TimeoutError:
            pass
    if data.startswith(b"-") or b"\n-" in data:
        raise lib.Failure(f"an error in the replies: {data[:200]!r}")
    return len(data)


def drive(server, one, rounds, depth):
    """CPU µs per command (or transaction) of CONNECTIONS callers."""
    blocks = [b"".join(one(b * depth + i) for i in range(depth)) for b in range(BLOCKS)]
    length = reply_len(server.port, blocks[0])
    callers = [Caller(server.port, blocks[i % BLOCKS:] + blocks[:i % BLOCKS], rounds, length)
               for i in range(CONNECTIONS)]
    user, system = server.cpu_ticks_s()
    begin = time.monotonic()
    with selectors.DefaultSelector() as selector:
        for caller in callers:
            selector.register(caller.socket, selectors.EVENT_READ, caller)
            caller.send()
        while selector.get_map():
            for key, _ in selector.select():
                if not key.data.readable():
                    selector.unregister(key.fileobj)
    took = time.monotonic() - begin
    user_after, system_after = server.cpu_ticks_s()
    for caller in callers:
        caller.socket.close()
    count = CONNECTIONS * rounds * depth
    return figures(count, took, user_after - user, system_after - system)


def figures(count, took, user, system):
    return {"ops_per_s": count / took, "p50_us": 0, "p99_us": 0,
            "server_user_us": user / count * 1e6, "server_system_us": system / count * 1e6,
            "server_us": (user + system) / count * 1e6}


def publish(server, messages, depth, publishers):
    """CPU µs per delivered message: the next messages go out when all have these."""
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
                     for _ in range(SUBSCRIBERS)]
        for listener in listeners:
            listener.sendall(encode("SUBSCRIBE", "news"))
            listener.recv(4096)
        clients = [stack.enter_context(server.client()) for _ in range(publishers)]
        block = encode("PUBLISH", "news", "m" * 64) * depth
        length = publishers * depth * len(encode("message", "news", "m" * 64))
        user, system = server.cpu_ticks_s()
        begin = time.monotonic()
        for _ in range(messages // (depth * publishers)):
            for client in clients:
                client.sock.sendall(block)
            for client in clients:
                client.batch(b"", depth)
            for listener in listeners:
                missing = length
                while missing:
                    missing -= len(listener.recv(missing))
        took = time.monotonic() - begin
        user_after, system_after = server.cpu_ticks_s()
    count = messages // (depth * publishers) * depth * publishers * SUBSCRIBERS
    return figures(count, took, user_after - user, system_after - system)


def atomic(run):
    arguments = run.arguments
    depth = (arguments.pipeline or [16])[0]
    workers = arguments.threads or 1
    servers = lib.servers_of(arguments, arguments.server_cpu if workers == 1 else None, workers)
    got, names = {}, []
    os.sched_setaffinity(0, {int(arguments.load_cpu)})
    with ExitStack() as stack:
        for server in servers:
            stack.enter_context(server)
        for turn in range(run.rounds(3)):
            lib.progress(f"round {turn + 1} of {run.rounds(3)}")
            for server in lib.rotated(servers, turn):
                with server.client() as client:
                    plan = tests(client.command, workers)
                for name, one, rounds in plan:
                    names += [name] if name not in names else []
                    rounds = max(10, int(rounds * arguments.share_of_n))
                    result = drive(server, one, rounds, depth)
                    got.setdefault((name, server.name), []).append(
                        run.keep(server, result, test=name, round=turn))
                for publishers in (1, CONNECTIONS):
                    name = f"PUBLISH of {publishers} to {SUBSCRIBERS}, per delivery"
                    names += [name] if name not in names else []
                    messages = max(depth * publishers, int(40000 * arguments.share_of_n))
                    result = publish(server, messages, depth, publishers)
                    got.setdefault((name, server.name), []).append(
                        run.keep(server, result, test=name, round=turn))
    print_results(f"{CONNECTIONS} connections, pipeline {depth}", names, servers, got)
