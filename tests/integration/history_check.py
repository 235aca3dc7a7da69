"""Judges of histories: what clients asked, when, and what they were told. Nothing here knows the
server; history.py records, history_selftest.py shows that doctored histories are rejected.

    registers  is there an order of all commands on one key (or one group of keys that are always
               written and read together) that explains every reply? A depth-first search with
               memory: Wing and Gong, "Testing and Verifying Concurrent Objects" (1993), and Lowe,
               "Testing for Linearizability" (2017). Values are unique, so most steps are forced.
    versions   commands and transactions over many keys whose every write tells which version it
               made (INCR, RPUSH: the reply; APPEND: the length). Then all dependencies are known,
               and the history is strictly serializable exactly if they, the order of each client
               and real time have no cycle: Kingsbury and Alvaro, "Elle: Inferring Isolation
               Anomalies from Experimental Observations" (2020).
    queues     lists that are pushed at one end and popped at the other: each element comes out once
               and in order, and nobody is told "empty" of a list that is not. The four patterns
               that are all that can go wrong: Henzinger, Sezgin, Vafeiadis, "Aspect-Oriented
               Linearizability Proofs" (2013).

Times are of one monotonic clock. A command may have taken effect at any moment between `invoked`
and `completed`, also at the two; a client's own commands take effect in the order of `seq`, those
it pipelined too. Each judge returns None or what is wrong, in words.
"""

from collections import defaultdict, namedtuple

# ---- registers -----------------------------------------------------------------------------------

# kind, arg, reply: see step(). Values are bytes, or None for a key that is not there. No value may
# come twice, by whatever means, but None.
Op = namedtuple("Op", "client seq invoked completed kind arg reply")

IMPOSSIBLE = object()
READS = ("get", "present")


def step(op, state):
    """The register after op, or IMPOSSIBLE if op would have been answered otherwise."""
    if op.kind == "get":
        return state if state == op.reply else IMPOSSIBLE
    if op.kind == "set":
        return op.arg
    if op.kind == "swap":  # GETSET, and a CAS that succeeded: replaces op.reply by op.arg
        return op.arg if state == op.reply else IMPOSSIBLE
    if op.kind == "incr":
        if state is not None and not state.isdigit():
            return IMPOSSIBLE
        number = int(state or 0) + 1
        return b"%d" % number if number == op.reply else IMPOSSIBLE
    if op.kind == "append":
        after = (state or b"") + op.arg
        return after if len(after) == op.reply else IMPOSSIBLE
    if op.kind == "present":  # MSETNX that did nothing
        return state if state is not None else IMPOSSIBLE
    if op.kind == "del":
        return None if (state is not None) == bool(op.reply) else IMPOSSIBLE
    raise ValueError(op.kind)


def sees(op):
    """The value op has met, if its reply tells; else IMPOSSIBLE."""
    if op.kind in ("get", "swap"):
        return op.reply
    if op.kind == "incr" and op.reply > 1:
        return b"%d" % (op.reply - 1)
    return IMPOSSIBLE


class Search:
    """One register. The state of the search: how far each client has come, and the value."""

    def __init__(self, ops, initial):
        clients = defaultdict(list)
        for op in ops:
            clients[op.client].append(op)
        self.queues = [sorted(some, key=lambda op: op.seq) for some in clients.values()]
        self.at = [0] * len(self.queues)
        self.state = initial
        self.left = len(ops)
        self.needed = defaultdict(int)  # who still has to see this value
        for op in ops:
            self.needed[sees(op)] += 1
        self.seen = set()
        self.best = (self.left + 1, None, ())

    def heads(self):
        """Those that may come now: no other that must still come was over before they began."""
        waiting = [(n, queue[at]) for n, (queue, at) in enumerate(zip(self.queues, self.at))
                   if at < len(queue)]
        first_end = min(op.completed for _, op in waiting)
        return [(n, op) for n, op in waiting if op.invoked <= first_end]

    def choices(self):
        """What to try next. No value comes twice (except None): a look at the present one is taken
        first, whoever has met the present one goes before those who do not care, and nothing
        replaces a value that somebody has yet to see."""
        found = []
        for n, op in self.heads():
            after = step(op, self.state)
            if after is IMPOSSIBLE:
                continue
            if op.kind in READS:
                return [(n, op, after)]
            own = sees(op) == self.state
            if self.state is not None and self.needed[self.state] > own:
                continue
            if own and self.state is not None:
                return [(n, op, after)]
            found.append((op.completed, n, op, after))
        return [choice[1:] for choice in sorted(found, key=lambda f: (f[0], f[1]))]

    def enter(self):
        """The choices here; none if this place was seen before."""
        place = (tuple(self.at), self.state)
        if place in self.seen:
            return iter(())
        self.seen.add(place)
        if self.left < self.best[0]:
            self.best = (self.left, self.state, [op for _, op in self.heads()])
        return iter(self.choices())

    def run(self):
        """True: there is an order."""
        if not self.left:
            return True
        path = [(None, None, None, self.enter())]
        while path:
            choice = next(path[-1][3], None)
            if choice is None:
                n, op, before, _ = path.pop()
                if op is not None:
                    self.at[n] -= 1
                    self.left += 1
                    self.needed[sees(op)] += 1
                    self.state = before
                continue
            n, op, after = choice
            before, self.state = self.state, after
            self.at[n] += 1
            self.left -= 1
            self.needed[sees(op)] -= 1
            if not self.left:
                return True
            path.append((n, op, before, self.enter()))
        return False


def registers(by_name, initial=None):
    """{name: [Op]}: the first that is not linearizable, or None."""
    for name, ops in by_name.items():
        search = Search(ops, initial)
        if not search.run():
            left, state, heads = search.best
            text = "\n  ".join(map(str, heads))
            return (f"{name} is not linearizable: {len(ops) - left} of {len(ops)} commands are "
                    f"explained, then its value is {state!r} and none of these fits:\n  {text}")
    return None


# Told that a watched key has changed: name, and how long it was watched.
Abort = namedtuple("Abort", "client invoked completed name")


def needless(aborts, by_name):
    """EXEC may only refuse where somebody else may have written in the meantime."""
    for abort in aborts:
        if not any(op.client != abort.client and op.kind not in READS and
                   op.invoked <= abort.completed and op.completed >= abort.invoked
                   for op in by_name[abort.name]):
            return f"EXEC refused, but nobody had written {abort.name}: {abort}"
    return None


# ---- versions ------------------------------------------------------------------------------------

# What one command or transaction did: reads and writes are lists of (key, version). Version 0 is
# the key that is not there; a write makes the next one.
Txn = namedtuple("Txn", "client seq invoked completed reads writes text")


class Graph:
    def __init__(self, txns):
        self.txns = txns
        self.after = defaultdict(list)  # node → [(node, why)]; nodes from len(txns) on are moments
        self.count = len(txns)
        self.wrong = None

    def edge(self, a, b, why):
        if a is not None and b is not None and a != b:
            self.after[a].append((b, why))

    def dependencies(self):
        writer, last = {}, defaultdict(int)
        for n, txn in enumerate(self.txns):
            for key, version in txn.writes:
                if (key, version) in writer:
                    other = self.txns[writer[key, version]]
                    self.wrong = f"two writers made version {version} of {key}: {other} and {txn}"
                writer[key, version] = n
                last[key] = max(last[key], version)
        for key, version in last.items():
            for at in range(1, version + 1):
                if (key, at) not in writer:
                    self.wrong = f"nobody made version {at} of {key}, but somebody {version}"
                self.edge(writer.get((key, at - 1)), writer.get((key, at)), f"overwrote {key}")
        for n, txn in enumerate(self.txns):
            for key, version in txn.reads:
                if version and (key, version) not in writer:
                    self.wrong = f"nobody made version {version} of {key}, which {txn} saw"
                self.edge(writer.get((key, version)), n, f"saw {key}={version} of")
                self.edge(n, writer.get((key, version + 1)), f"did not yet see {key}, written by")

    def clients(self):
        clients = defaultdict(list)
        for n, txn in enumerate(self.txns):
            clients[txn.client].append((txn.seq, n))
        for some in clients.values():
            some.sort()
            for (_, a), (_, b) in zip(some, some[1:]):
                self.edge(a, b, "was sent before, by the same client,")

    def real_time(self):
        """A chain of moments, so that it takes O(n) edges to say who was over before who began."""
        ends = sorted((txn.completed, n) for n, txn in enumerate(self.txns))
        begins = sorted((txn.invoked, n) for n, txn in enumerate(self.txns))
        at, moment = 0, None
        for invoked, n in begins:
            if at < len(ends) and ends[at][0] < invoked:
                new, self.count = self.count, self.count + 1
                self.edge(moment, new, "")
                while at < len(ends) and ends[at][0] < invoked:
                    self.edge(ends[at][1], new, "was over before")
                    at += 1
                moment = new
            self.edge(moment, n, "")

    def cycle(self):
        """Kahn's algorithm; what it cannot take away holds a cycle: one of them, as nodes."""
        into = [0] * self.count
        for edges in self.after.values():
            for b, _ in edges:
                into[b] += 1
        ready = [n for n in range(self.count) if not into[n]]
        left = set(range(self.count))
        while ready:
            a = ready.pop()
            left.discard(a)
            for b, _ in self.after[a]:
                into[b] -= 1
                if not into[b]:
                    ready.append(b)
        return self.shortest(left) if left else None

    def shortest(self, left):
        """A short cycle among the nodes that are left: breadth first from some of them."""
        best = None
        for start in sorted(left)[:50]:
            came, border = {}, [start]
            while border and start not in came:
                further = []
                for a in border:
                    for b, why in self.after[a]:
                        if b in left and b not in came:
                            came[b] = (a, why)
                            further.append(b)
                border = further
            if start not in came:
                continue
            path, node = [], start
            while not path or node != start:
                node, why = came[node]
                path.append((node, why))
            if best is None or len(path) < len(best):
                best = path[::-1]
        return best

    def tell(self, path):
        lines = ["not strictly serializable:"]
        for node, why in path:
            if node < len(self.txns):
                lines.append(f"  {self.txns[node]}\n    {why}")
        return "\n".join(lines)


def versions(txns):
    graph = Graph(txns)
    graph.dependencies()
    if graph.wrong:
        return graph.wrong
    graph.clients()
    graph.real_time()
    path = graph.cycle()
    return graph.tell(path) if path else None


def ladders(txns, pairs):
    """Each pair's first key is always written before its second, by one client: nobody may see the
    second newer than the first."""
    second_of = dict(pairs)
    for txn in txns:
        found = dict(txn.reads)
        for key, version in found.items():
            second = second_of.get(key)
            if second in found and found[second] > version:
                return f"{second} was seen before {key}: {txn}"
    return None


def contents(writes, reads):
    """APPENDs of tokens of one length: {(key, version): token}, and reads [(key, value)]."""
    for key, value in reads:
        size = len(next(iter(writes.values()), b"."))
        for n in range(len(value) // size):
            token = value[n * size:(n + 1) * size]
            if writes.get((key, n + 1)) != token:
                return f"{key}: {token!r} is in place {n + 1}, not {writes.get((key, n + 1))!r}"
    return None


# ---- queues --------------------------------------------------------------------------------------

# One element put into or taken from one list; element None: told that it is empty.
Put = namedtuple("Put", "client seq invoked completed queue element")
Took = namedtuple("Took", "client seq invoked completed queue element")

FOREVER = float("inf")


def once(puts, takes, left):
    """Every element that was put was taken once or is left; left: {queue: [element]}."""
    put = defaultdict(int)
    for op in puts:
        put[op.queue, op.element] += 1
    for where, count in put.items():
        if count > 1:
            return f"{where} was put {count} times"
    taken = defaultdict(list)
    for op in takes:
        if op.element is not None:
            taken[op.queue, op.element].append(op)
    for queue, elements in left.items():
        for element in elements:
            taken[queue, element].append("left at the end")
    for where, how in taken.items():
        if where not in put:
            return f"{where} was never put: {how}"
        if len(how) > 1:
            return f"{where} came out {len(how)} times: {how}"
    lost = set(put) - set(taken)
    return f"lost: {sorted(lost)[:5]} ({len(lost)} in all)" if lost else None


def before(a, b):
    """a took effect before b, whatever the server did."""
    return a.completed < b.invoked or (a.client == b.client and a.seq < b.seq)


def in_order(puts, takes):
    """x put before y, y taken before x: never. By time, or by the order of one client."""
    by_queue = defaultdict(dict)
    for op in takes:
        if op.element is not None:
            by_queue[op.queue][op.element] = op
    nobody = Took(None, 0, FOREVER, FOREVER, None, None)
    of_queue = defaultdict(list)
    for op in puts:
        of_queue[op.queue].append(op)
    for queue, some in of_queue.items():
        took = by_queue[queue]
        pairs = [(put, took.get(put.element, nobody)) for put in some]
        wrong = overtaken(pairs) or overtaken_by_client(pairs)
        if wrong:
            return f"{queue}: {wrong[0]} was put before {wrong[1]}, but came out after it"
    return None


def overtaken(pairs):
    """Put and taken by time: a sweep over the puts, with the element taken last of those before."""
    by_end = sorted(pairs, key=lambda pair: pair[0].completed)
    at, slowest = 0, None
    for put, take in sorted(pairs, key=lambda pair: pair[0].invoked):
        while at < len(by_end) and by_end[at][0].completed < put.invoked:
            if slowest is None or by_end[at][1].invoked > slowest[1].invoked:
                slowest = by_end[at]
            at += 1
        if slowest and before(take, slowest[1]):
            return slowest, (put, take)
    return None


def overtaken_by_client(pairs):
    """… by the order in which one client put them, or one client took them."""
    putters, takers = defaultdict(list), defaultdict(list)
    for pair in pairs:
        putters[pair[0].client].append(pair)
        takers[pair[1].client].append(pair)
    for some in putters.values():
        slowest = None
        for pair in sorted(some, key=lambda pair: pair[0].seq):
            if slowest and before(pair[1], slowest[1]):
                return slowest, pair
            if not slowest or pair[1].invoked > slowest[1].invoked:
                slowest = pair
    for client, some in takers.items():
        newest = None
        for pair in sorted(some, key=lambda pair: pair[1].seq) if client is not None else ():
            if newest and before(pair[0], newest[0]):
                return pair, newest
            if not newest or pair[0].invoked > newest[0].invoked:
                newest = pair
    by_both = defaultdict(list)
    for pair in pairs:
        if pair[1].client is not None:
            by_both[pair[0].client, pair[1].client].append(pair)
    for some in by_both.values():
        some.sort(key=lambda pair: (pair[0].seq))
        for x, y in zip(some, some[1:]):
            if before(y[1], x[1]):
                return x, y
    return None


def never_wrongly_empty(puts, takes, queues_of):
    """Who was told "empty" can have been told so only if there was a moment at which each element
    was not yet, or no longer, in one of the lists it asked (queues_of(op)). An element that was in
    for sure all the time it waited is a proof against it."""
    gone = {(op.queue, op.element): op.invoked for op in takes if op.element is not None}
    inside = defaultdict(list)  # (in for sure from, till)
    for op in puts:
        till = gone.get((op.queue, op.element), FOREVER)
        if till > op.completed:
            inside[op.queue].append((op.completed, till, op.element))
    for op in takes:
        if op.element is not None:
            continue
        spans = sorted(span for queue in queues_of(op) for span in inside[queue]
                       if span[0] <= op.completed and span[1] >= op.invoked)
        reached = op.invoked
        for begin, till, _ in spans:
            if begin >= reached:  # a moment without any
                break
            reached = max(reached, till)
        if reached > op.completed:
            return f"{op} was told that there is nothing, but there was: {spans[:4]}"
    return None


# ---- sums ----------------------------------------------------------------------------------------


def sums(reads, total):
    """Every look at all accounts at once finds the same sum; reads: [(who, [amount])]."""
    for who, amounts in reads:
        if sum(amounts) != total:
            return f"{who} saw {sum(amounts)} instead of {total}: {amounts}"
    return None
