"""MULTI, EXEC, DISCARD, WATCH over any keys on any shards: replies as redis-server gives them, and
all or nothing for whoever looks on.
"""

import sys
import threading
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import shards, support  # noqa: E402

ACCOUNTS, MONEY = 8, 100

# Connection 0 unless a number stands before the command. What the two servers answer must be equal.
SCRIPTS = {
    "errors while queueing": """
        MULTI | MULTI | WATCH x | SET a | NOSUCH | SET a 1 | EXEC | EXEC | DISCARD | GET a
        MULTI | DISCARD | DISCARD | UNWATCH""",
    "errors while running": """
        MULTI | SET a x | INCR a | LPUSH a 1 | SET b 2 | EXEC | MGET a b""",
    "nothing queued": "MULTI | EXEC",
    "many keys and types": """
        MULTI | MSET a 1 b 2 c 3 | RPUSH l x y z | SADD s 1 2 3 | HSET h f v | ZADD z 1 m
        DEL a c | LRANGE l 0 -1 | SCARD s | RENAME b bb | EXISTS a b bb c l s h z | TYPE z | EXEC
        GET bb""",
    "select inside": "MULTI | SET a 0 | SELECT 3 | SET a 3 | EXEC | GET a | SELECT 0 | GET a",
    "commands without keys": "MULTI | PING | ECHO hi | CLIENT SETNAME me | CLIENT GETNAME | EXEC",
    "whole databases": """
        MSET a 1 b 2 | MULTI | DBSIZE | FLUSHALL | SET c 3 | DBSIZE | KEYS * | EXEC | DBSIZE""",
    "blocking commands do not block": """
        MULTI | BLPOP q1 q2 0 | BLMOVE q1 q2 LEFT LEFT 0 | BZPOPMIN q1 0 | BLMPOP 0 1 q1 LEFT
        XREAD BLOCK 0 STREAMS q1 0 | RPUSH q2 v | BLPOP q1 q2 0 | EXEC""",
    "watched and untouched": "WATCH a b | GET a | MULTI | SET a 1 | EXEC",
    "watched and changed": "WATCH a b | 1 SET b 1 | MULTI | SET a 1 | EXEC | GET a",
    "changed by itself": "WATCH a | SET a 1 | MULTI | SET a 2 | EXEC",
    "unwatched": "WATCH a | 1 SET a 1 | UNWATCH | MULTI | SET a 2 | EXEC",
    "discarded": "WATCH a | MULTI | DISCARD | 1 SET a 1 | MULTI | SET a 2 | EXEC",
    "watched twice": "WATCH a | WATCH a b | 1 DEL nothing | MULTI | GET a | EXEC",
    "another database": "WATCH a | 1 SELECT 1 | 1 SET a 1 | MULTI | GET a | EXEC",
    "flushed": "SET a 1 | WATCH a | 1 FLUSHALL | MULTI | GET a | EXEC",
    "flushed but not there": "WATCH a | 1 SET b 1 | 1 FLUSHALL | MULTI | GET a | EXEC",
    "swapped": "SET a 1 | WATCH a | 1 SWAPDB 0 5 | MULTI | GET a | EXEC",
    "swapped for what has expired": """
        DEBUG SET-ACTIVE-EXPIRE 0 | SET a 1 PX 1 | DEBUG SLEEP 0.01 | SELECT 1 | WATCH a
        SWAPDB 0 1 | MULTI | PING | EXEC | DEBUG SET-ACTIVE-EXPIRE 1""",
    "flushed after it had expired": """
        DEBUG SET-ACTIVE-EXPIRE 0 | SET a 1 PX 1 | DEBUG SLEEP 0.01 | WATCH a | FLUSHALL
        MULTI | PING | EXEC | DEBUG SET-ACTIVE-EXPIRE 1""",
    "renamed": "SET a 1 | WATCH b | 1 RENAME a b | MULTI | GET b | EXEC",
    "elements": "RPUSH a 1 | WATCH a | 1 RPUSH a 2 | MULTI | LLEN a | EXEC",
    "a hash's field": "HSET a f 1 | WATCH a | 1 HSET a g 2 | MULTI | HLEN a | EXEC",
    "a set's member": "SADD a 1 | WATCH a | 1 SREM a 2 | MULTI | SCARD a | EXEC",
    "a sorted set's score": "ZADD a 1 m | WATCH a | 1 ZADD a 2 m | MULTI | ZCARD a | EXEC",
    "a stream's entry": "XADD a 1-1 f v | WATCH a | 1 XADD a 2-1 f v | MULTI | XLEN a | EXEC",
    "an expiry": "SET a 1 | WATCH a | 1 EXPIRE a 100 | MULTI | GET a | EXEC",
    "gone before": "SET a 1 PX 1 | DEBUG SLEEP 0.01 | WATCH a | MULTI | GET a | EXEC",
    "gone meanwhile": "SET a 1 PX 5 | WATCH a | DEBUG SLEEP 0.02 | MULTI | GET a | EXEC",
    "reset": "WATCH a | MULTI | SET a 1 | RESET | EXEC | GET a",
}


def commands(script):
    for line in script.replace("\n", "|").split("|"):
        words = line.split()
        if words:
            yield (int(words[0]), words[1:]) if words[0].isdigit() else (0, words)


class AsRedis(support.ServerTest):
    options = ["--enable-debug-command", "yes"]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.oracle = support.oracle("--enable-debug-command", "yes")

    @classmethod
    def tearDownClass(cls):
        cls.oracle.stop()
        super().tearDownClass()

    def play(self, server, script, resp):
        clients = [server.client(resp), server.client(resp)]
        clients[0].call("FLUSHALL")
        answers = []
        for number, words in commands(script):
            clients[number].send(*words)
            answers.append((words, clients[number].raw()))
        for client in clients:
            client.close()
        return answers

    def test_scripts(self):
        for name, script in SCRIPTS.items():
            for resp in (2, 3):
                with self.subTest(name, resp=resp):
                    self.assertEqual(self.play(self.server, script, resp),
                                     self.play(self.oracle, script, resp))

    def test_in_one_pipeline(self):
        client = self.client()
        script = SCRIPTS["many keys and types"]
        client.send_bytes(b"".join(support.encode(*words) for _, words in commands(script)))
        one_by_one = [raw for _, raw in self.play(self.oracle, script, 2)]
        self.assertEqual([client.raw() for _ in one_by_one], one_by_one)


class Atomic(support.ServerTest):
    def move_money(self, number, count, clash):
        rng = shards.rng(shards.seed_of("money"), number)
        client = self.server.client()
        while count:
            names = [f"account:{i}" for i in rng.sample(range(ACCOUNTS), 2)]
            client.call("WATCH", *names)
            amounts = [int(client.call("GET", name)) for name in names]
            answers = client.pipeline([["MULTI"], ["SET", names[0], amounts[0] - 1],
                                       ["SET", names[1], amounts[1] + 1], ["EXEC"]])
            if answers[-1] is None:
                clash.append(number)
            else:
                count -= 1
        client.close()

    def look_on(self, number, stop, wrong):
        names = [f"account:{i}" for i in range(ACCOUNTS)]
        client = self.server.client()
        while not stop.is_set():
            if number % 2:
                amounts = client.call("MGET", *names)
            else:
                amounts = client.pipeline([["MULTI"], *[["GET", name] for name in names],
                                           ["EXEC"]])[-1]
            if sum(map(int, amounts)) != ACCOUNTS * MONEY:
                wrong.append((number, amounts))
                break
        client.close()

    def test_money_is_neither_made_nor_lost(self):
        self.client().ok("MSET", *[word for i in range(ACCOUNTS)
                                   for word in (f"account:{i}", MONEY)])
        stop, wrong, clash = threading.Event(), [], []
        movers = [threading.Thread(target=self.move_money, args=(i, 150, clash))
                  for i in range(5)]
        lookers = [threading.Thread(target=self.look_on, args=(i, stop, wrong))
                   for i in range(2)]
        for thread in movers + lookers:
            thread.start()
        for thread in movers:
            thread.join()
        stop.set()
        for thread in lookers:
            thread.join()
        self.assertEqual(wrong, [])
        self.assertTrue(clash, "nobody got into anybody's way: nothing was tested")


if __name__ == "__main__":
    unittest.main()
