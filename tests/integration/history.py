"""A black-box proof of order and atomicity: many clients over many shards, every command written
down with its times, and the whole history judged afterwards (history_check.py).

    registers  SET, GET, GETSET, INCR, APPEND, DEL, WATCH-CAS on one key; the same on groups of
               keys of several shards that are written and read together (MSET, MGET, MULTI, EVAL)
    versions   INCR, RPUSH, APPEND and looks at them, alone, in pipelines, in MULTI and in scripts,
               over all shards: strictly serializable, all of it together. In it: who sees the
               second of two increments sees the first
    queues     RPUSH, BLPOP, BLMOVE, BLMPOP over chains of lists: nothing lost, nothing twice, in
               order, and nobody waits in vain
    bank       transfers between accounts of all shards: every look finds the same sum

With borrowed shards and with messages only. Each judgement counts what it was made of: a history in
which nothing happened at the same time would prove nothing.
"""
# matrix: tsan

import sys
import unittest
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import history_check as judge  # noqa: E402
from integration import history_drive as drive  # noqa: E402
from integration import history_programs as programs  # noqa: E402
from integration import shards, support  # noqa: E402
from integration.history_programs import ACCOUNTS, LADDERS, MONEY, spread  # noqa: E402

CLIENTS = 18
SECONDS = 0.5       # of each program in each setting,
BURSTS = (40, 250)  # and so many of each client at least and at most: the judges need time, too


class Setting:
    """One server each. Subclasses below set workers and lending."""

    workers = 1
    lending = "yes"

    @classmethod
    def setUpClass(cls):
        cls.server = support.server("--threads", str(cls.workers), "--shard-lending", cls.lending)
        cls.addClassCleanup(cls.server.stop)
        cls.seed = shards.seed_of(cls.__name__)
        with cls.server.client() as client:
            cls.scripts = client.call("EVAL", "return 1", 0) == 1

    def setUp(self):
        with self.server.client() as client:
            client.ok("FLUSHALL")

    def record(self, crew):
        return drive.run(self.server, crew, f"{self.seed}/{self.id()}", SECONDS, BURSTS)

    def report(self, **numbers):
        text = ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in numbers.items())
        print(f"  {self.id().split('.', 1)[1]}: {text}", flush=True)

    def at_once(self, ops):
        """How many began before the one before them was over: no two at once, nothing shown."""
        ops = sorted(ops, key=lambda op: op.invoked)
        count = sum(b.client != a.client and b.invoked < a.completed for a, b in zip(ops, ops[1:]))
        self.assertGreater(count, len(ops) // 20)
        return count

    def test_registers_are_linearizable(self):
        numbers = [(key,) for key in spread(6, "number")]
        texts = [(key,) for key in spread(6, "text")]
        keys = spread(18, "group")
        groups = [tuple(keys[n * 3:n * 3 + 3]) for n in range(6)]
        with self.server.client() as client:
            client.ok("MSET", *[word for name in numbers for word in (name[0], 7)])
        records = self.record([programs.Registers(numbers, texts, groups, self.scripts)] * CLIENTS)
        by_name, aborts = defaultdict(list), []
        for record in records:
            if isinstance(record, judge.Abort):
                aborts.append(record)
            else:
                by_name[record[0]].append(record[1])
        self.assertIsNone(judge.registers({n: by_name[n] for n in numbers}, b"7"))
        self.assertIsNone(judge.registers({n: by_name[n] for n in texts + groups}))
        self.assertIsNone(judge.needless(aborts, by_name))
        ops = [op for some in by_name.values() for op in some]
        self.report(commands=len(ops), at_once=self.at_once(ops), refused_EXECs=len(aborts))

    def test_versions_are_strictly_serializable(self):
        records = self.record([programs.Versions(n, self.scripts) for n in range(CLIENTS)])
        txns = [record for record in records if isinstance(record, judge.Txn)]
        self.assertIsNone(judge.versions(txns))
        self.assertIsNone(judge.ladders(txns, [programs.ladder(n) for n in range(LADDERS)]))
        appended = {r[1:3]: r[3] for r in records if r[0] == "appended"}
        self.assertIsNone(judge.contents(appended, [r[1:] for r in records if r[0] == "read"]))
        self.report(transactions=len(txns), at_once=self.at_once(txns))

    def test_queues_lose_and_double_nothing(self):
        closer = programs.Closer(self.server, SECONDS)
        closer.start()
        try:
            records = self.record(
                [programs.Producer(0, self.scripts) for _ in range(4)] +
                [programs.Mover(stage, self.scripts) for stage in (0, 0, 0, 1, 1)] +
                [programs.Drainer(stage, self.scripts) for stage in (0, 0, 1, 1, 1, 2, 2, 2)])
        finally:
            closer.over.set()
            closer.join()
        self.assertIsNone(closer.failure)
        puts = [op for op in records + closer.log if isinstance(op, judge.Put)]
        takes = [op for op in records if isinstance(op, judge.Took)]
        with self.server.client() as client:
            left = {queue: client.ok("LRANGE", queue, 0, -1)
                    for stage in programs.stage_lists() for queue in stage}
        self.assertIsNone(judge.once(puts, takes, left))
        self.assertIsNone(judge.in_order(puts, takes))
        self.assertIsNone(judge.never_wrongly_empty(puts, takes, lambda op: op.queue))
        empty = sum(op.element is None for op in takes)
        self.report(puts=len(puts), at_once=self.at_once(puts + takes), found_nothing=empty)

    def test_money_is_neither_made_nor_lost(self):
        accounts = spread(ACCOUNTS, "account")
        with self.server.client() as client:
            client.ok("MSET", *[word for key in accounts for word in (key, MONEY)])
            records = self.record([programs.Bank(self.scripts)] * CLIENTS)
            amounts = list(map(int, client.ok("MGET", *accounts)))
        looks = [record[1:] for record in records if record[0] == "looked"]
        self.assertIsNone(judge.sums(looks, ACCOUNTS * MONEY))
        expected = dict.fromkeys(accounts, MONEY)
        for _, source, target, amount in (r for r in records if r[0] == "moved"):
            expected[source] -= amount
            expected[target] += amount
        self.assertEqual(dict(zip(accounts, amounts)), expected)
        different = len({tuple(sorted(some)) for _, some in looks})
        self.assertGreater(different, 5, "the lookers saw nothing in between")
        self.report(looks=len(looks), different=different, moves=len(records) - len(looks))


def load_tests(loader, _tests, _pattern):
    """One class per setting, named after it."""
    suite = unittest.TestSuite()
    for workers in [support.threads()] if support.threads() else (1, 2, 4):
        for lending in ("yes", "no") if workers > 1 else ("yes",):
            name = f"Workers{workers}" + ("" if lending == "yes" else "NoLending")
            suite.addTests(loader.loadTestsFromTestCase(type(
                name, (Setting, unittest.TestCase), {"workers": workers, "lending": lending})))
    return suite


if __name__ == "__main__":
    unittest.main()
