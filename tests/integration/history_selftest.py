"""The judges of histories (history_check.py) accept what a sequential store has answered, however
the clients overlapped, and reject the same histories with one thing changed.

Without this a judge that says yes to everything would prove the server correct.
"""
# matrix: once

import random
import sys
import unittest
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import history_check as judge  # noqa: E402

CLIENTS = 6
ROUNDS = 40


class Script:
    """Makes a history of a store that is sequential: acts happen at moments 10, 20, … and are seen
    by their clients from somewhat before till somewhat after; a client may have several under way
    (a pipeline), but they happen in its order."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.moment = 0
        self.seqs = defaultdict(int)
        self.unique = 0

    def act(self, client=None):
        """client, seq, invoked, completed of the next act."""
        client = self.rng.randrange(CLIENTS) if client is None else client
        self.moment += 10
        self.seqs[client] += 1
        return (f"c{client}", self.seqs[client], self.moment - self.rng.randrange(60),
                self.moment + self.rng.randrange(60))

    def token(self):
        self.unique += 1
        return b"%07d." % self.unique


def registers(seed, count=120):
    """One text register, one numeric; {name: [Op]}."""
    script = Script(seed)
    values = {"text": None, "number": b"7"}
    history = {"text": [], "number": []}
    for _ in range(count):
        name = script.rng.choice(("text", "number"))
        old = values[name]
        new = script.token() if name == "text" else b"%d" % ((script.moment + 1) * 100000)
        kind = script.rng.choice(("get", "get", "set", "swap",
                                  "append" if name == "text" else "incr", "del"))
        if kind == "del" and name == "number":
            kind = "get"
        reply = {"get": old, "set": b"OK", "swap": old, "del": old is not None,
                 "append": len((old or b"") + new), "incr": int(old or 0) + 1
                 if name == "number" else None}[kind]
        if kind == "append":
            values[name] = (old or b"") + new
        elif kind == "incr":
            values[name] = b"%d" % reply
        elif kind != "get":
            values[name] = None if kind == "del" else new
        history[name].append(judge.Op(*script.act(), kind, new, reply))
    return history


def versions(seed, count=150):
    """Transactions over five counters, and two of them always written in turn by client 0."""
    script = Script(seed)
    now = defaultdict(int)
    history, rung = [], False
    for _ in range(count):
        client = script.rng.randrange(CLIENTS)
        keys = script.rng.sample(["a", "b", "c", "d", "e"], script.rng.randrange(1, 4))
        writes = [key for key in keys if script.rng.random() < 0.5]
        reads = [key for key in keys if key not in writes]
        if client == 0:
            rung = not rung
            writes, reads = ["up" if rung else "down"], []
        elif script.rng.random() < 0.4:
            reads += ["up", "down"]
        seen = [(key, now[key]) for key in reads]
        for key in writes:
            now[key] += 1
        history.append(judge.Txn(*script.act(client), seen, [(k, now[k]) for k in writes], ""))
    return history


def queues(seed, count=200):
    """Two lists; (puts, takes, left)."""
    script = Script(seed)
    lists, puts, takes = {"p": [], "q": []}, [], []
    for _ in range(count):
        name = script.rng.choice("pq")
        if script.rng.random() < 0.5:
            element = script.token()
            lists[name].append(element)
            puts.append(judge.Put(*script.act(), name, element))
        elif lists[name]:
            takes.append(judge.Took(*script.act(), name, lists[name].pop(0)))
        else:
            takes.append(judge.Took(*script.act(), (name,), None))
    return puts, takes, lists


def judge_queues(puts, takes, left):
    return (judge.once(puts, takes, left) or judge.in_order(puts, takes) or
            judge.never_wrongly_empty(puts, takes, lambda op: op.queue))


def judge_registers(history):
    return (judge.registers({"text": history["text"]}) or
            judge.registers({"number": history["number"]}, b"7"))


class Accepted(unittest.TestCase):
    def test_what_a_sequential_store_answers(self):
        for seed in range(ROUNDS):
            with self.subTest(seed):
                self.assertIsNone(judge_registers(registers(seed)))
                self.assertIsNone(judge.versions(versions(seed)))
                self.assertIsNone(judge.ladders(versions(seed), [("up", "down")]))
                self.assertIsNone(judge_queues(*queues(seed)))


def op(client, seq, invoked, completed, kind, arg=b"", reply=b"OK"):
    return judge.Op(client, seq, invoked, completed, kind, arg, reply)


def txn(client, seq, invoked, completed, reads=(), writes=()):
    return judge.Txn(client, seq, invoked, completed, list(reads), list(writes), "")


class Registers(unittest.TestCase):
    def rejected(self, *ops):
        self.assertIn("not linearizable", judge.registers({"key": ops}) or "accepted")

    def accepted(self, *ops):
        self.assertIsNone(judge.registers({"key": ops}))

    def test_a_stale_read(self):
        self.rejected(op("a", 1, 0, 1, "set", b"1"), op("a", 2, 2, 3, "set", b"2"),
                      op("b", 1, 4, 5, "get", reply=b"1"))
        self.accepted(op("a", 1, 0, 1, "set", b"1"), op("a", 2, 2, 4, "set", b"2"),
                      op("b", 1, 4, 5, "get", reply=b"1"))

    def test_back_and_forth(self):
        """Two reads during a write, the first new, the second old."""
        both = [op("a", 1, 0, 1, "set", b"1"), op("a", 2, 2, 20, "set", b"2")]
        new, old = ("get", b"", b"2"), ("get", b"", b"1")
        self.rejected(*both, op("b", 1, 5, 6, *new), op("c", 1, 7, 8, *old))
        self.accepted(*both, op("b", 1, 5, 6, *old), op("c", 1, 7, 8, *new))
        self.accepted(*both, op("b", 1, 5, 7, *new), op("c", 1, 7, 8, *old))

    def test_the_order_of_a_pipeline(self):
        self.rejected(op("a", 1, 0, 9, "set", b"1"), op("a", 2, 0, 9, "get", reply=None))
        self.accepted(op("a", 1, 0, 9, "get", reply=None), op("a", 2, 0, 9, "set", b"1"))

    def test_a_value_from_nowhere(self):
        self.rejected(op("a", 1, 0, 9, "set", b"1"), op("b", 1, 0, 9, "get", reply=b"3"))

    def test_a_value_from_the_future(self):
        self.rejected(op("a", 1, 5, 9, "set", b"1"), op("b", 1, 0, 4, "get", reply=b"1"))

    def test_two_that_replaced_the_same(self):
        self.rejected(op("a", 1, 0, 1, "set", b"1"), op("b", 1, 2, 9, "swap", b"2", b"1"),
                      op("c", 1, 2, 9, "swap", b"3", b"1"))

    def test_lost_updates(self):
        self.rejected(op("b", 1, 2, 9, "incr", b"", 1), op("c", 1, 2, 9, "incr", b"", 1))
        self.rejected(op("b", 1, 2, 9, "append", b"xx", 2), op("c", 1, 2, 9, "append", b"y", 1))
        self.accepted(op("b", 1, 2, 9, "append", b"xx", 3), op("c", 1, 2, 9, "append", b"y", 1))

    def test_deleted_twice(self):
        self.rejected(op("a", 1, 0, 1, "set", b"1"), op("b", 1, 2, 9, "del", b"", True),
                      op("c", 1, 2, 9, "del", b"", True))

    def test_needless_refusal(self):
        ops = {"key": [op("a", 1, 0, 1, "set", b"1"), op("b", 1, 5, 6, "get", reply=b"1")]}
        self.assertIsNotNone(judge.needless([judge.Abort("b", 4, 9, "key")], ops))
        self.assertIsNone(judge.needless([judge.Abort("b", 1, 9, "key")], ops))

    def test_any_other_reply(self):
        """Every reply that tells something is needed: one of them changed, and it is noticed."""
        noticed = tried = 0
        for seed in range(ROUNDS):
            history = registers(seed)
            rng = random.Random(seed)
            name = rng.choice(("text", "number"))
            at = rng.choice([n for n, o in enumerate(history[name]) if o.kind != "set"])
            old = history[name][at]
            others = {o.reply for o in history[name] if o.kind == old.kind} - {old.reply}
            if not others:
                continue
            history[name][at] = old._replace(reply=rng.choice(sorted(others, key=repr)))
            tried += 1
            noticed += judge_registers(history) is not None
        self.assertGreater(tried, ROUNDS // 2)
        # A look at a value may be as right a moment earlier or later; that is rare.
        self.assertGreater(noticed, tried * 8 // 10)


class Versions(unittest.TestCase):
    def rejected(self, word, *txns):
        self.assertIn(word, judge.versions(list(txns)) or "accepted")

    def test_the_second_of_two_without_the_first(self):
        """Pipelined by one client over two shards; a reader of both sees the second only."""
        write = [txn("a", 1, 0, 9, writes=[("x", 1)]), txn("a", 2, 0, 9, writes=[("y", 1)])]
        look = txn("b", 1, 0, 9, reads=[("x", 0), ("y", 1)])
        self.rejected("not strictly", *write, look)
        self.assertIsNone(judge.versions([*write, look._replace(reads=[("x", 1), ("y", 0)])]))
        self.assertIn("before", judge.ladders([look], [("x", "y")]))

    def test_half_of_a_transaction(self):
        self.rejected("not strictly", txn("a", 1, 0, 9, writes=[("x", 1), ("y", 1)]),
                      txn("b", 1, 0, 9, reads=[("x", 1), ("y", 0)]))

    def test_two_readers_that_disagree(self):
        """A long fork: each sees one of two independent writes and not the other."""
        self.rejected("not strictly", txn("a", 1, 0, 9, writes=[("x", 1)]),
                      txn("b", 1, 0, 9, writes=[("y", 1)]),
                      txn("c", 1, 0, 9, reads=[("x", 1), ("y", 0)]),
                      txn("d", 1, 0, 9, reads=[("x", 0), ("y", 1)]))

    def test_write_skew(self):
        """Each watched what the other wrote, and both EXECs succeeded."""
        self.rejected("not strictly", txn("a", 1, 0, 9, reads=[("x", 0)], writes=[("y", 1)]),
                      txn("b", 1, 0, 9, reads=[("y", 0)], writes=[("x", 1)]))

    def test_a_missed_change(self):
        """Watched version 0, but wrote version 2."""
        self.rejected("not strictly", txn("a", 1, 0, 9, writes=[("x", 1)]),
                      txn("b", 1, 0, 9, reads=[("x", 0)], writes=[("x", 2)]))

    def test_a_stale_look(self):
        self.rejected("not strictly", txn("a", 1, 0, 1, writes=[("x", 1)]),
                      txn("b", 1, 2, 3, reads=[("x", 0)]))

    def test_cause_and_effect_through_a_third(self):
        self.rejected("not strictly", txn("a", 1, 0, 9, writes=[("x", 1)]),
                      txn("b", 1, 0, 9, reads=[("x", 1)]),
                      txn("b", 2, 0, 9, writes=[("y", 1)]),
                      txn("c", 1, 0, 9, reads=[("y", 1)]), txn("c", 2, 0, 9, reads=[("x", 0)]))

    def test_versions_that_cannot_be(self):
        once = txn("a", 1, 0, 1, writes=[("x", 1)])
        self.rejected("two writers", once, txn("b", 1, 2, 3, writes=[("x", 1)]))
        self.rejected("nobody made", once, txn("b", 1, 2, 3, writes=[("x", 3)]))
        self.rejected("nobody made", once, txn("b", 1, 2, 3, reads=[("x", 2)]))

    def test_contents(self):
        tokens = {("t", 1): b"aaaa", ("t", 2): b"bbbb"}
        self.assertIsNone(judge.contents(tokens, [("t", b"aaaa"), ("t", b"aaaabbbb")]))
        for wrong in (b"bbbb", b"bbbbaaaa", b"aaaaaaaa", b"aaaabbbbcccc"):
            self.assertIsNotNone(judge.contents(tokens, [("t", wrong)]), wrong)

    def test_any_look_one_version_off(self):
        noticed = tried = 0
        for seed in range(ROUNDS):
            history = versions(seed)
            rng = random.Random(seed)
            at = rng.choice([n for n, t in enumerate(history) if t.reads])
            reads = list(history[at].reads)
            n = rng.randrange(len(reads))
            reads[n] = (reads[n][0], max(0, reads[n][1] + rng.choice((-2, 2))))
            if reads == history[at].reads:
                continue
            history[at] = history[at]._replace(reads=reads)
            tried += 1
            noticed += judge.versions(history) is not None
        self.assertGreater(tried, ROUNDS // 2)
        self.assertGreater(noticed, tried * 8 // 10)


class Queues(unittest.TestCase):
    """One thing changed in a history that was right."""

    def each(self, doctor, at_least):
        noticed = tried = 0
        for seed in range(ROUNDS):
            puts, takes, left = queues(seed)
            if doctor(random.Random(seed), puts, takes, left):
                tried += 1
                noticed += judge_queues(puts, takes, left) is not None
        self.assertGreater(tried, ROUNDS // 2)
        self.assertGreaterEqual(noticed, tried * at_least)

    def test_one_lost(self):
        def doctor(rng, _puts, takes, _left):
            takes.remove(rng.choice([take for take in takes if take.element]))
            return True
        self.each(doctor, 1)

    def test_one_twice(self):
        def doctor(rng, _puts, takes, _left):
            take = rng.choice([take for take in takes if take.element])
            takes.append(take._replace(client="another"))
            return True
        self.each(doctor, 1)

    def test_one_both_taken_and_left(self):
        def doctor(rng, _puts, takes, left):
            take = rng.choice([take for take in takes if take.element])
            left[take.queue].append(take.element)
            return True
        self.each(doctor, 1)

    def test_one_that_nobody_put(self):
        def doctor(rng, puts, _takes, _left):
            puts.remove(rng.choice(puts))
            return True
        self.each(doctor, 1)

    def test_one_in_the_wrong_list(self):
        def doctor(rng, _puts, takes, _left):
            n = rng.choice([n for n, take in enumerate(takes) if take.element])
            takes[n] = takes[n]._replace(queue="q" if takes[n].queue == "p" else "p")
            return True
        self.each(doctor, 1)

    def test_two_swapped(self):
        def doctor(_rng, _puts, takes, _left):
            some = [n for n, take in enumerate(takes) if take.queue == "p" and take.element]
            if len(some) < 10:
                return False
            a, b = some[1], some[-1]  # far apart: no overlap explains it
            takes[a], takes[b] = (takes[a]._replace(element=takes[b].element),
                                  takes[b]._replace(element=takes[a].element))
            return True
        self.each(doctor, 1)

    def test_wrongly_empty(self):
        def doctor(rng, puts, takes, left):
            if not left["p"]:
                return False
            since = next(put.completed for put in puts if put.element == left["p"][0])
            takes.append(judge.Took("late", 1, since + 1, since + 2 + rng.randrange(50), ("p",),
                                    None))
            return True
        self.each(doctor, 1)

    def test_orders_of_one_client(self):
        """All at the same time: only what one client did one after the other counts."""
        puts = [judge.Put("a", 1, 0, 9, "q", b"1"), judge.Put("a", 2, 0, 9, "q", b"2")]
        takes = [judge.Took("b", 1, 0, 9, "q", b"1"), judge.Took("b", 2, 0, 9, "q", b"2")]
        self.assertIsNone(judge.in_order(puts, takes))
        swapped = [takes[0]._replace(element=b"2"), takes[1]._replace(element=b"1")]
        self.assertIsNotNone(judge.in_order(puts, swapped))
        by_time = [puts[0]._replace(completed=3), puts[1]._replace(client="c", invoked=4)]
        self.assertIsNotNone(judge.in_order(by_time, swapped))
        apart = [swapped[0]._replace(completed=3), swapped[1]._replace(client="d", invoked=4)]
        self.assertIsNotNone(judge.in_order(puts, apart))
        self.assertIsNotNone(judge.in_order(puts, swapped[:1]))  # and the first one never


class Sums(unittest.TestCase):
    def test_sums(self):
        self.assertIsNone(judge.sums([("a", [10, 20]), ("b", [30, 0])], 30))
        self.assertIsNotNone(judge.sums([("a", [10, 20]), ("b", [31, 0])], 30))


if __name__ == "__main__":
    unittest.main()
