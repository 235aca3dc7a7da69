"""The clients of history.py: what they ask, and what its replies mean. Each class is one client, a
program for history_drive.py; it logs records that history_check.py judges.
"""

import functools
import threading
import time

from integration import history_check as judge
from integration import shards, support

SHARDS_MAX = 8
DEPTHS = (1, 1, 2, 4, 8)

# Scripts take their keys in KEYS, in ARGV (undeclared), or some here and some there: K is all.
SCRIPT_KEYS = ("local K, n = {}, tonumber(ARGV[1]) for i = 1, #KEYS do K[i] = KEYS[i] end "
               "for i = 1, n do K[#K + 1] = ARGV[i + 1] end local A, R = ARGV[n + 2], {} ")
SCRIPT_GET = SCRIPT_KEYS + "for i = 1, #K do R[i] = redis.call('get', K[i]) end return R"
SCRIPT_SET = SCRIPT_KEYS + "for i = 1, #K do redis.call('set', K[i], A) end return #K"
SCRIPT_INCR = SCRIPT_KEYS + "for i = 1, #K do R[i] = redis.call('incr', K[i]) end return R"
SCRIPT_MOVE = SCRIPT_KEYS + ("redis.call('decrby', K[1], A) redis.call('incrby', K[2], A) "
                             "return #K")


def eval_command(rng, script, keys, arg=b""):
    declared = rng.choice((0, len(keys), rng.randrange(len(keys) + 1)))
    return ["EVAL", script, declared, *keys[:declared], len(keys) - declared, *keys[declared:], arg]


@functools.cache
def spread(count, prefix):
    """Keys over all shards, neighbours apart."""
    pool = shards.keys_by_shard(SHARDS_MAX, (count + SHARDS_MAX - 1) // SHARDS_MAX, prefix)
    return [key for some in zip(*pool) for key in some][:count]


def fine(reply):
    if isinstance(reply.value, support.Error):
        raise AssertionError(f"error reply {reply.value!r}")
    return reply


def transaction(commands):
    return [["MULTI"], *commands, ["EXEC"]]


# ---- registers -----------------------------------------------------------------------------------


class Registers:
    """One client. A register's name is the tuple of its keys. It logs (name, Op) and Abort."""

    def __init__(self, numbers, texts, groups, scripts):
        self.numbers, self.texts, self.groups = numbers, texts, groups
        self.scripts = scripts

    def __call__(self, me):
        me.plain = 0
        while me.on():
            if me.rng.random() < 0.2:
                yield from self.compare_and_set(me)
                continue
            burst = [self.choose(me) for _ in range(me.rng.choice(DEPTHS))]
            replies = yield [command for commands, _, _, _ in burst for command in commands]
            for commands, name, kind, arg in burst:
                some, replies = replies[:len(commands)], replies[len(commands):]
                for reply in some:
                    fine(reply)
                self.note(me, name, kind, arg, some[-1])

    def value(self, me, name):
        """Unique; of numbers so far apart that INCRs do not meet."""
        if name not in self.numbers:
            return me.token()
        me.plain += 1
        who = (ord(me.name[0]) - 96) * 26 + ord(me.name[1]) - 97
        return b"%d" % ((me.plain * 1000 + who) * 100000)

    def choose(self, me):
        rng = me.rng
        name = rng.choice(rng.choice((self.numbers, self.texts, self.groups)))
        if len(name) > 1:
            return self.choose_group(me, name)
        arg = self.value(me, name)
        kinds = ["get", "get", "get", "set", "swap", "change", "change"]
        kind = rng.choice(kinds + (["del", "take"] if name in self.texts else []))
        if kind == "change":
            kind = "incr" if name in self.numbers else "append"
        key = name[0]
        command = {"get": ["GET", key], "set": ["SET", key, arg], "incr": ["INCR", key],
                   "swap": rng.choice((["GETSET", key, arg], ["SET", key, arg, "GET"])),
                   "append": ["APPEND", key, arg], "del": ["DEL", key], "take": ["GETDEL", key]}
        return [command[kind]], name, kind, arg

    def choose_group(self, me, name):
        rng, arg = me.rng, me.token()
        keys = rng.sample(name, len(name))
        kind = rng.choice(("get", "get", "get", "set", "set", "del", "setnx"))
        if kind == "get":
            keys = keys[:rng.randrange(2, len(keys) + 1)]
        way = rng.randrange(3 if self.scripts else 2)
        if kind == "get" and way:
            commands = (transaction([["GET", key] for key in keys]) if way == 1 else
                        [eval_command(rng, SCRIPT_GET, keys)])
        elif kind == "set" and way:
            commands = (transaction([["SET", key, arg] for key in keys]) if way == 1 else
                        [eval_command(rng, SCRIPT_SET, keys, arg)])
        else:
            verb = {"get": "MGET", "set": "MSET", "del": "DEL", "setnx": "MSETNX"}[kind]
            words = keys if kind in ("get", "del") else [w for key in keys for w in (key, arg)]
            commands = [[verb, *words]]
        return commands, name, kind, arg

    def note(self, me, name, kind, arg, reply):
        value = reply.value
        if kind == "get" and len(name) > 1:
            if len(set(value)) != 1:
                raise AssertionError(f"torn: {name} {reply}")
            value = value[0]
        elif kind == "del":
            if value not in (0, len(name)):
                raise AssertionError(f"torn: {name} {reply}")
            value = bool(value)
        elif kind == "take":  # GETDEL
            kind, arg = ("get", b"") if value is None else ("swap", None)
        elif kind == "setnx":
            kind, value = ("swap", None) if value == 1 else ("present", 0)
        me.log.append((name, judge.Op(me.name, me.next(), reply.invoked, reply.completed, kind,
                                      arg, value)))

    def compare_and_set(self, me):
        name = me.rng.choice(me.rng.choice((self.numbers, self.texts, self.groups)))
        arg = self.value(me, name)
        watched, got = yield [["WATCH", *name], ["MGET", *name]]
        self.note(me, name, "get", b"", got._replace(
            value=got.value if len(name) > 1 else got.value[0]))
        replies = yield transaction([["MSET", *[w for key in name for w in (key, arg)]]])
        done = fine(replies[-1])
        if done.value is None:
            me.log.append(judge.Abort(me.name, watched.invoked, done.completed, name))
        else:
            self.note(me, name, "swap", arg, done._replace(value=got.value[0]))


# ---- versions ------------------------------------------------------------------------------------

LADDERS = 4


class Versions:
    """One client: commands and transactions over counters, lists and texts of all shards. It logs
    Txn, and what it appended and read: ("appended", key, version, token), ("read", key, value)."""

    def __init__(self, number, scripts):
        self.number, self.scripts = number, scripts
        self.counters = spread(12, "counter")
        self.lists = spread(6, "list")
        self.texts = spread(6, "text")

    def __call__(self, me):
        while me.on():
            if me.rng.random() < 0.15:
                yield from self.watched(me)
                continue
            burst = [self.choose(me) for _ in range(me.rng.choice(DEPTHS))]
            replies = yield [command for commands, _ in burst for command in commands]
            for commands, steps in burst:
                some, replies = replies[:len(commands)], replies[len(commands):]
                values = some[-1].value
                fine(some[-1])
                if len(steps) == 1 and len(commands) == 1 and steps[0][0] != "many":
                    values = [values]
                self.note(me, steps, values, some[-1])

    def act(self, me):
        """One command and what its reply means."""
        rng, roll = me.rng, me.rng.random()
        if roll < 0.35:
            key = rng.choice(self.counters)
            return ["INCR", key], ("add", key)
        if roll < 0.45:
            key = rng.choice(self.lists)
            return ["RPUSH", key, "x"], ("add", key)
        if roll < 0.55:
            key, token = rng.choice(self.texts) + f":{self.now(me)}", me.token()
            return ["APPEND", key, token], ("append", key, token)
        if roll < 0.65:
            key = rng.choice(self.lists)
            return ["LLEN", key], ("look", key)
        if roll < 0.75:
            key = rng.choice(self.texts) + f":{self.now(me)}"
            return ["GET", key], ("text", key)
        key = rng.choice(self.counters + [k for n in range(LADDERS) for k in ladder(n)])
        return ["GET", key], ("look", key)

    def now(self, me):
        """Texts must not become long: new ones now and then, the same for all who are as far."""
        return me.seq // 300

    def choose(self, me):
        rng, roll = me.rng, me.rng.random()
        if roll < 0.4:
            command, step = self.act(me)
            return [command], [step]
        if roll < 0.6:
            acts = [self.act(me) for _ in range(rng.randrange(2, 6))]
            return transaction([command for command, _ in acts]), [step for _, step in acts]
        keys = rng.sample(self.counters, 3)
        for n in rng.sample(range(LADDERS), 2):
            keys += ladder(n)
        rng.shuffle(keys)
        if roll < 0.7 or (self.scripts and roll < 0.75):
            if not self.scripts:
                return transaction([["GET", key] for key in keys]), [("look", k) for k in keys]
            script, step = rng.choice(((SCRIPT_GET, "look"), (SCRIPT_INCR, "add")))
            if step == "add":
                keys = [key for key in keys if key in self.counters]
            return [eval_command(rng, script, keys)], [("many",)] + [(step, key) for key in keys]
        if roll < 0.85 and self.number < LADDERS:
            first, second = ladder(self.number)
            way = first if self.next_rung(me) else second
            return [["INCR", way]], [("add", way)]
        return [["MGET", *keys]], [("many",)] + [("look", key) for key in keys]

    def next_rung(self, me):
        """First and second in turn."""
        me.rung = not getattr(me, "rung", False)
        return me.rung

    def note(self, me, steps, values, reply, more=()):
        reads, writes = list(more), []
        steps = [step for step in steps if step[0] != "many"]
        for step, value in zip(steps, values, strict=True):
            kind, key = step[:2]
            if isinstance(value, support.Error):
                raise AssertionError(f"{step}: {value!r}")
            if kind == "add":
                writes.append((key, value))
            elif kind == "append":
                version, rest = divmod(value, len(step[2]))
                if rest:
                    raise AssertionError(f"{key} has {value} bytes")
                writes.append((key, version))
                me.log.append(("appended", key, version, step[2]))
            elif kind == "text":
                text = value or b""
                reads.append((key, len(text) // 8))
                me.log.append(("read", key, text))
            else:
                reads.append((key, int(value or 0)))
        # What it did to a key before is what it sees of it afterwards: only looks at others' work.
        own = {}
        for key, version in writes:
            own.setdefault(key, []).append(version)
        others = [(key, version) for key, version in reads if version not in own.get(key, ())]
        text = " ".join(f"{key}={version}" for key, version in reads)
        me.log.append(judge.Txn(me.name, me.next(), reply.invoked, reply.completed, others, writes,
                                f"saw {text}"))

    def watched(self, me):
        """What was read under WATCH is part of the transaction that succeeds."""
        keys = me.rng.sample(self.counters, 2)
        _, got = yield [["WATCH", *keys], ["MGET", *keys]]
        steps = [("look", key) for key in keys]
        self.note(me, steps, got.value, got)
        acts = [self.act(me) for _ in range(me.rng.randrange(1, 4))]
        replies = yield transaction([command for command, _ in acts])
        done = fine(replies[-1])
        if done.value is not None:
            looks = [(key, int(value or 0)) for key, value in zip(keys, got.value)]
            self.note(me, [step for _, step in acts], done.value, done, looks)


@functools.cache
def ladder(number):
    """Two keys, of different shards but for one."""
    names = shards.keys_by_shard(SHARDS_MAX, 1, f"ladder{number}")
    return names[number % SHARDS_MAX][0], names[(3 * number + 5) % SHARDS_MAX][0]


# ---- queues --------------------------------------------------------------------------------------

STAGES, LISTS = 3, 3
END = b"end"  # elements that begin so end the work of who gets them


@functools.cache
def stage_lists():
    names = spread(STAGES * LISTS, "queue")
    return [names[stage::STAGES] for stage in range(STAGES)]


class Worker:
    """What the three kinds of clients of the queues have in common. They log Put and Took."""

    def __init__(self, stage, scripts):
        self.lists = stage_lists()
        self.stage, self.scripts = stage, scripts

    def put(self, me, reply, queue, element):
        me.log.append(judge.Put(me.name, me.next(), reply.invoked, reply.completed, queue, element))

    def took(self, me, reply, queue, element):
        me.log.append(judge.Took(me.name, me.next(), reply.invoked, reply.completed, queue,
                                 element))


class Producer(Worker):
    def __call__(self, me):
        while me.on():
            burst = []
            for _ in range(me.rng.choice(DEPTHS)):
                queue = me.rng.choice(self.lists[0])
                burst.append((queue, [me.token() for _ in range(me.rng.randrange(1, 4))]))
            commands = [["RPUSH", queue, *elements] for queue, elements in burst]
            framed = me.rng.random() < 0.3
            replies = yield transaction(commands) if framed else commands
            for n, (queue, elements) in enumerate(burst):
                reply = fine(replies[-1 if framed else n])
                for element in elements:
                    self.put(me, reply, queue, element)


class Mover(Worker):
    """From a list of its stage to one of the next, waiting for a moment or not at all."""

    def __call__(self, me):
        while me.on():
            source = me.rng.choice(self.lists[self.stage])
            target = me.rng.choice(self.lists[self.stage + 1])
            wait = round(me.rng.uniform(0.005, 0.08), 3)
            move = me.rng.choice((["BLMOVE", source, target, "LEFT", "RIGHT", wait],
                                  ["BLMOVE", source, target, "LEFT", "RIGHT", wait],
                                  ["LMOVE", source, target, "LEFT", "RIGHT"]))
            replies = yield [move] * me.rng.randrange(1, 4)
            for reply in replies:
                element = fine(reply).value
                if element is None:
                    self.took(me, reply, (source,), None)
                else:
                    self.took(me, reply, source, element)
                    self.put(me, reply, target, element)


class Drainer(Worker):
    """Takes from all lists of its stage, waiting for ever, and gives to the next."""

    def pop(self, me):
        queues = me.rng.sample(self.lists[self.stage], LISTS)
        count = me.rng.randrange(1, 4)
        wait = me.rng.choice((0, 0, 0.01))
        return queues, me.rng.choice((
            ["BLPOP", *queues, wait], ["LMPOP", LISTS, *queues, "LEFT"],
            ["BLMPOP", wait, LISTS, *queues, "LEFT", "COUNT", count]))

    def __call__(self, me):
        ended = False
        while not ended:
            queues, command = self.pop(me)
            reply, = yield [command]
            if fine(reply).value is None:
                self.took(me, reply, tuple(queues), None)
                continue
            queue, found = reply.value
            elements = found if isinstance(found, list) else [found]
            for element in elements:
                self.took(me, reply, queue.decode(), element)
            ended = any(element.startswith(END) for element in elements)
            if self.stage + 1 == STAGES:
                continue
            onward = [(me.rng.choice(self.lists[self.stage + 1]), element) for element in elements
                      if not element.startswith(END)]
            if onward:
                replies = yield [["RPUSH", *pair] for pair in onward]
                for reply, pair in zip(replies, onward):
                    self.put(me, fine(reply), *pair)


class Closer(threading.Thread):
    """When the time is over: every list has clients that wait for it, so all must become empty by
    themselves; then those who wait are ended."""

    def __init__(self, server, seconds):
        super().__init__(daemon=True)
        self.server, self.seconds = server, seconds
        self.over = threading.Event()
        self.failure, self.log = None, []

    def run(self):
        self.over.wait(self.seconds)
        queues = [queue for stage in stage_lists() for queue in stage]
        with self.server.client() as client:
            def lengths():
                return client.pipeline([["LLEN", queue] for queue in queues])
            if not shards.until(lambda: self.over.is_set() or not any(lengths()), 30):
                self.failure = f"lists that clients wait for are not empty: {lengths()}"
            number = 0
            while not self.over.wait(0.02):
                for queue in queues:
                    number += 1
                    element = END + b"%d" % number
                    begun = time.monotonic_ns()
                    client.ok("RPUSH", queue, element)
                    self.log.append(judge.Put("closer", number, begun, time.monotonic_ns(), queue,
                                              element))


# ---- bank ----------------------------------------------------------------------------------------

ACCOUNTS, MONEY = 10, 100


class Bank:
    """One client. It logs ("moved", from, to, amount) and ("looked", who, amounts)."""

    def __init__(self, scripts):
        self.accounts = spread(ACCOUNTS, "account")
        self.scripts = scripts

    def __call__(self, me):
        while me.on():
            if me.rng.random() < 0.2:
                yield from self.careful(me)
                continue
            burst = [self.choose(me) for _ in range(me.rng.choice(DEPTHS))]
            replies = yield [command for commands, _ in burst for command in commands]
            for commands, record in burst:
                some, replies = replies[:len(commands)], replies[len(commands):]
                value = fine(some[-1]).value
                if record is None:
                    who = f"{me.name}: {commands[0][:2]}"
                    me.log.append(("looked", who, list(map(int, value))))
                else:
                    me.log.append(record)

    def choose(self, me):
        rng = me.rng
        way = rng.randrange(3 if self.scripts else 2)
        if rng.random() < 0.5:
            keys = rng.sample(self.accounts, ACCOUNTS)
            if way == 0:
                return [["MGET", *keys]], None
            if way == 1:
                return transaction([["GET", key] for key in keys]), None
            return [eval_command(rng, SCRIPT_GET, keys)], None
        source, target = rng.sample(self.accounts, 2)
        amount = rng.randrange(1, 20)
        record = ("moved", source, target, amount)
        if way == 2:
            return [eval_command(rng, SCRIPT_MOVE, [source, target], amount)], record
        return transaction([["DECRBY", source, amount], ["INCRBY", target, amount]]), record

    def careful(self, me):
        """A transfer of what the client has seen."""
        source, target = names = me.rng.sample(self.accounts, 2)
        _, got = yield [["WATCH", *names], ["MGET", *names]]
        has, had = map(int, got.value)
        amount = me.rng.randrange(1, 20)
        replies = yield transaction([["MSET", source, has - amount, target, had + amount]])
        if fine(replies[-1]).value is not None:
            me.log.append(("moved", source, target, amount))
