"""Lua scripts: replies as redis-server gives them; any keys, declared or not, on any shards, all or
nothing; scripts that take long, or never end.
"""

import sys
import threading
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import shards, support  # noqa: E402

# One command per line: name and arguments by |, a script may hold blanks.
AS_REDIS = [
    ["EVAL", "return 1", 0],
    ["EVAL", "return {1,2,'x',{3},false,true,nil,4}", 0],
    ["EVAL", "return {KEYS[1],KEYS[2],ARGV[1],#KEYS,#ARGV}", 2, "a", "b", "c"],
    ["EVAL", "return redis.call('SET',KEYS[1],ARGV[1])", 1, "k", "v"],
    ["EVAL", "return redis.call('GET',KEYS[1])", 1, "k"],
    ["EVAL", "return redis.call('GET','nothing')", 0],
    ["EVAL", "return redis.call('INCR',KEYS[1])", 1, "k"],
    ["EVAL", "return redis.pcall('INCR',KEYS[1])", 1, "k"],
    ["EVAL", "return redis.pcall('INCR',KEYS[1]).err", 1, "k"],
    ["EVAL", "return redis.call('NOSUCH')", 0],
    ["EVAL", "return redis.call('GET')", 0],
    ["EVAL", "return redis.call('BLPOP','nothing',0)", 0],
    ["EVAL", "return redis.call('SUBSCRIBE','c')", 0],
    ["EVAL", "return redis.call('MULTI')", 0],
    ["EVAL", "return redis.call('EVAL','return 1',0)", 0],
    ["EVAL", "return redis.call()", 0],
    ["EVAL", "return redis.call({})", 0],
    ["EVAL", "return redis.call('SET','k',{})", 0],
    ["EVAL", "return redis.error_reply('MY error')", 0],
    ["EVAL", "return redis.status_reply('FINE')", 0],
    ["EVAL", "return {ok='FINE'}", 0],
    ["EVAL", "return {err='MY error'}", 0],
    ["EVAL", "error('thrown')", 0],
    ["EVAL", "error({err='ERR a table'})", 0],
    ["EVAL", "return (", 0],
    ["EVAL", "return nosuch", 0],
    ["EVAL", "x = 1", 0],
    ["EVAL", "return redis.sha1hex('')", 0],
    ["EVAL", "return tostring(3.0)..' '..tostring(1/3)..' '..2^53", 0],
    ["EVAL", "return 3.99", 0],
    ["EVAL", "return redis.call('SELECT',9) and redis.call('SET','k9',1)", 0],
    ["GET", "k9"],
    ["EVAL", "return {redis.call('RPUSH','l',1,2,3),redis.call('LRANGE','l',0,-1)}", 0],
    ["EVAL", "return redis.call('HSET','h','f','v') + redis.call('HLEN','h')", 0],
    ["EVAL", "return redis.call('HGETALL','h')", 0],
    ["EVAL", "redis.setresp(3); return redis.call('HGETALL','h')", 0],
    ["EVAL", "redis.setresp(3); return redis.call('GET','nothing')", 0],
    ["EVAL", "return redis.call('ZADD','z','1.5','m')", 0],
    ["EVAL", "return redis.call('ZSCORE','z','m')", 0],
    ["EVAL", "redis.setresp(3); return redis.call('ZSCORE','z','m')", 0],
    ["EVAL", "return cjson.encode({a={1,2,3}})", 0],
    ["EVAL", "return cjson.decode('{\"a\":[1,2,{\"b\":null}]}').a[2]", 0],
    ["EVAL", "return cmsgpack.unpack(cmsgpack.pack({1,2,{a=3}}))[3].a", 0],
    ["EVAL", "return struct.pack('>I2','258')", 0],
    ["EVAL", "return bit.band(255,15)", 0],
    ["EVAL", "return #redis.call('KEYS','*')", 0],
    ["EVAL", "return redis.call('DBSIZE')", 0],
    ["EVAL", "return redis.call('TYPE','l')", 0],
    ["EVAL", "return redis.call('TYPE','l').ok", 0],
    ["EVAL", "return redis.call('MSET','ma',1,'mb',2,'mc',3)", 0],
    ["EVAL", "return redis.call('MGET','ma','mb','mc','md')", 0],
    ["EVAL", "return redis.call('DEL','ma','mb','mc','md')", 0],
    ["EVAL", "return redis.call('PUBLISH','c','m')", 0],
    ["EVAL", "return redis.call('OBJECT','ENCODING','k')", 0],
    ["EVAL", "return redis.call('OBJECT','NOSUCH','l')", 0],
    ["EVAL_RO", "return redis.call('GET',KEYS[1])", 1, "k"],
    ["EVAL_RO", "return redis.call('SET',KEYS[1],1)", 1, "k"],
    ["EVAL", "#!lua flags=no-writes\nlocal r = redis.call('SET','a',1)\nreturn r", 0],
    ["EVAL", "#!lua flags=nonsense\nreturn 1", 0],
    ["EVAL", "#!lua\nreturn redis.call('GET',KEYS[1])", 1, "k"],
    ["EVAL", "return redis.call('SORT','l','BY','nosort','GET','#')", 0],
    ["EVAL", "return 1"],
    ["EVAL", "return 1", "x"],
    ["EVAL", "return 1", -1],
    ["EVAL", "return 1", 2, "a"],
    ["EVALSHA", "ffffffffffffffffffffffffffffffffffffffff", 0],
    ["EVALSHA", "ffff", 0],
    ["EVALSHA", "ffffffffffffffffffffffffffffffffffffffff", "x"],
    ["SCRIPT", "LOAD", "return 'loaded'"],
    ["EVALSHA", "cfbd04a0d2b83f7e8f80ae3bd4ee2e1dd6c2a3f7", 0],
    ["SCRIPT", "LOAD", "return ("],
    ["SCRIPT", "EXISTS", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db", "ffff", ""],
    ["SCRIPT", "FLUSH", "SYNC"],
    ["SCRIPT", "EXISTS", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db"],
    ["SCRIPT", "FLUSH", "NOW"],
    ["SCRIPT", "DEBUG", "maybe"],
    ["SCRIPT", "KILL"],
    ["SCRIPT", "NOSUCH"],
    ["MULTI"],
    ["SET", "k", "1"],
    ["EVAL", "return redis.call('INCR','k')", 1, "k"],
    ["EVAL", "return redis.call('NOSUCH')", 0],
    ["EVAL", "return {redis.call('GET','k'),redis.call('GET','l2')}", 0],
    ["EXEC"],
    ["EVAL", "redis.call('SET','t',1); redis.call('PEXPIRE','t',100000); "
             "return redis.call('TTL','t')", 0],
    ["EVAL", "return redis.call('TIME')[1] == redis.call('TIME')[1]", 0],
]

LOOP = "while true do end"
# How long a test waits for something that must come: far more than it takes.
SECONDS = 30


def until(condition, what):
    deadline = time.monotonic() + SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(what)
        time.sleep(0.01)


class AsRedis(support.ServerTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.oracle = support.oracle()

    @classmethod
    def tearDownClass(cls):
        cls.oracle.stop()
        super().tearDownClass()

    def test_replies(self):
        for resp in (2, 3):
            ours, theirs = self.server.client(resp), self.oracle.client(resp)
            for client in (ours, theirs):
                client.ok("FLUSHALL")
                client.ok("SCRIPT", "FLUSH")
            for command in AS_REDIS:
                with self.subTest(command, resp=resp):
                    ours.send(*command)
                    theirs.send(*command)
                    self.assertEqual(ours.raw(), theirs.raw())
            ours.close()
            theirs.close()


class Shards(support.ServerTest):
    """With more than one worker: keys that live apart."""

    def setUp(self):
        super().setUp()
        self.workers = support.threads() or 2
        self.keys = [keys[0] for keys in shards.keys_by_shard(self.workers, 1, "apart")]
        self.client().ok("FLUSHALL")

    def test_known_on_every_worker(self):
        clients = [self.client() for _ in range(8)]
        sha = clients[0].ok("SCRIPT", "LOAD", "return ARGV[1]")
        for client in clients:
            self.assertEqual(client.call("EVALSHA", sha, 0, "x"), b"x")
            self.assertEqual(client.call("SCRIPT", "EXISTS", sha), [1])
        clients[3].ok("SCRIPT", "FLUSH")
        for client in clients:
            self.assertEqual(client.call("EVALSHA", sha, 0, "x").code, "NOSCRIPT")

    def test_known_again_after_many_others(self):
        """The store keeps the last 500 scripts of EVAL; what is run again is among them."""
        clients = [self.client() for _ in range(8)]
        sha = clients[0].ok("EVAL", "return redis.sha1hex('return 7')", 0)
        for client in clients:
            self.assertEqual(client.ok("EVAL", "return 7", 0), 7)
        for i in range(600):
            clients[0].ok("EVAL", f"return {i} + 1000", 0)
        clients[0].ok("EVAL", "return 7", 0)
        for client in clients:
            self.assertEqual(client.call("SCRIPT", "EXISTS", sha), [1])
            self.assertEqual(client.call("EVALSHA", sha, 0), 7)

    def test_declared_keys_of_all_shards(self):
        client = self.client()
        script = "for i, k in ipairs(KEYS) do redis.call('INCRBY', k, i) end return #KEYS"
        for _ in range(3):
            self.assertEqual(client.ok("EVAL", script, len(self.keys), *self.keys),
                             len(self.keys))
        self.assertEqual(client.ok("MGET", *self.keys),
                         [b"%d" % (3 * (i + 1)) for i in range(len(self.keys))])

    def test_undeclared_after_writes(self):
        """Writes to its own shard first, so that everything has to be undone the first time."""
        client = self.client()
        first, last = self.keys[0], self.keys[-1]
        script = ("redis.call('INCR', KEYS[1]); redis.call('RPUSH', KEYS[1]..'{%s}', 'x');"
                  "redis.call('PUBLISH', 'c', 'm');"
                  "return redis.call('INCR', ARGV[1])" % first)
        listener = self.client(3)
        listener.ok("SUBSCRIBE", "c")
        for i in range(1, 4):
            self.assertEqual(client.ok("EVAL", script, 1, first, last), i if first != last
                             else 2 * i)
        self.assertEqual(client.ok("LLEN", first + "{%s}" % first), 3)
        self.assertEqual([listener.read()[2] for _ in range(3)], [b"m"] * 3)
        client.ok("PUBLISH", "c", "end")
        self.assertEqual(listener.read()[2], b"end")

    def test_large_values_are_not_half_written(self):
        client = self.client()
        first, last = self.keys[0], self.keys[-1]
        client.ok("RPUSH", first, *["x" * 100] * 1000)
        script = ("redis.call('LPOP', KEYS[1]); redis.call('SET', ARGV[1], redis.call('LLEN', "
                  "KEYS[1])); return redis.call('LLEN', KEYS[1])")
        for i in range(3):
            target = last if first != last else last + "other"
            self.assertEqual(client.ok("EVAL", script, 1, first, target), 999 - i)
            self.assertEqual(client.ok("GET", target), b"%d" % (999 - i))

    def transfer(self, number, count, script, declared):
        rng = shards.rng(shards.seed_of("script money"), number)
        client = self.server.client()
        for _ in range(count):
            a, b = rng.sample(self.accounts, 2)
            keys = [2, a, b] if declared else [0, a, b]
            self.assertEqual(client.call("EVAL", script, *keys), support.OK)
        client.close()

    def look_on(self, number, stop, wrong):
        client = self.server.client()
        script = ("local n = 0 for _, k in ipairs(ARGV) do n = n + redis.call('GET', k) end "
                  "return n")
        while not stop.is_set():
            if number % 2:
                total = sum(map(int, client.call("MGET", *self.accounts)))
            else:
                total = client.call("EVAL_RO", script, 0, *self.accounts)
            if total != 100 * len(self.accounts):
                wrong.append((number, total))
                break
        client.close()

    def test_money_is_neither_made_nor_lost(self):
        self.accounts = [key for keys in shards.keys_by_shard(self.workers, 4, "account")
                         for key in keys]
        self.client().ok("MSET", *[w for key in self.accounts for w in (key, 100)])
        body = ("redis.call('DECR', {0}[1]); redis.call('INCR', {0}[2]); "
                "return redis.status_reply('OK')")
        stop, wrong = threading.Event(), []
        movers = [threading.Thread(target=self.transfer, args=(
            i, 100, body.format("KEYS" if i % 2 else "ARGV"), i % 2)) for i in range(4)]
        lookers = [threading.Thread(target=self.look_on, args=(i, stop, wrong)) for i in range(2)]
        for thread in movers + lookers:
            thread.start()
        for thread in movers:
            thread.join()
        stop.set()
        for thread in lookers:
            thread.join()
        self.assertEqual(wrong, [])
        self.assertEqual(sum(map(int, self.client().ok("MGET", *self.accounts))),
                         100 * len(self.accounts))

    def test_waiters_are_served_after_the_script(self):
        waiter, client = self.client(), self.client()
        waiter.send("BLPOP", self.keys[-1], 0)
        until(lambda: b"blocked_clients:1" in client.ok("INFO", "clients"), "nobody waits")
        self.assertEqual(client.ok("EVAL", "redis.call('RPUSH', KEYS[1], 'a', 'b'); "
                                   "return redis.call('LPOP', KEYS[1])", 1, self.keys[-1]), b"a")
        self.assertEqual(waiter.read()[1], b"b")

    def test_waiters_are_not_served_while_it_pauses(self):
        """What it pushes may be popped by itself; alone, and in an EXEC that is nothing else."""
        script = ("redis.call('RPUSH', KEYS[1], 'a', 'b') for i = 1, 3000000 do end "
                  "return redis.call('LPOP', KEYS[1])")
        for in_exec in (False, True):
            waiter, client = self.client(), self.client()
            waiter.send("BLPOP", self.keys[-1], 0)
            until(lambda: b"blocked_clients:1" in client.ok("INFO", "clients"), "nobody waits")
            calls = [["EVAL", script, 1, self.keys[-1]]]
            if in_exec:
                calls = [["MULTI"], *calls, ["EXEC"]]
            answer = client.pipeline(calls)[-1]
            self.assertEqual(answer, [b"a"] if in_exec else b"a")
            self.assertEqual(waiter.read()[1], b"b")

    def test_exec_with_scripts(self):
        client = self.client()
        answers = client.pipeline([
            ["MULTI"], ["SET", self.keys[0], 1],
            ["EVAL", "redis.call('INCR', ARGV[1]); return redis.call('INCR', ARGV[2])", 0,
             self.keys[0], self.keys[-1]],
            ["CLIENT", "SETNAME", "x"], ["GET", self.keys[0]], ["EXEC"]])
        same = self.keys[0] == self.keys[-1]
        self.assertEqual(answers[-1], [support.OK, 3 if same else 1, support.OK,
                                       b"3" if same else b"2"])


class Endless(unittest.TestCase):
    """busy-reply-threshold, BUSY, SCRIPT KILL; the rest of the server goes on."""

    def setUp(self):
        self.server = support.server("--busy-reply-threshold", "50")
        self.addCleanup(self.server.stop)
        self.workers = support.threads() or 2
        self.keys = [keys[0] for keys in shards.keys_by_shard(self.workers, 1, "apart")]

    def client(self, resp=2):
        client = self.server.client(resp)
        self.addCleanup(client.close)
        return client

    def busy(self, client, *command):
        until(lambda: isinstance(client.call(*command), support.Error), "it does not get busy")
        return client.call(*command)

    def kill(self, client, command="SCRIPT"):
        until(lambda: client.call(command, "KILL") == support.OK, "it cannot be killed")

    def test_kill(self):
        for script in (LOOP, "while true do pcall(function() while true do end end) end",
                       "while true do redis.call('GET', KEYS[1]) end"):
            runner, client = self.client(), self.client()
            runner.send("EVAL", script, 1, self.keys[0])
            reply = self.busy(client, "GET", self.keys[0])
            self.assertEqual(reply, b"BUSY Redis is busy running a script. You can only call "
                                    b"SCRIPT KILL or SHUTDOWN NOSAVE.")
            self.assertEqual(client.call("PING"), support.PONG)
            for key in self.keys[1:]:
                self.assertFalse(isinstance(client.call("SET", key, 1), support.Error))
            self.kill(client)
            self.assertIn(b"Script killed by user with SCRIPT KILL", runner.read())
            self.assertFalse(isinstance(client.call("SET", self.keys[0], 1), support.Error))
            self.assertEqual(client.call("SCRIPT", "KILL").code, "NOTBUSY")

    def test_unkillable_once_it_has_written(self):
        runner, client = self.client(), self.client()
        script = ("redis.call('SET', KEYS[1], 1) while redis.call('GET', KEYS[1]) == '1' do "
                  "for i = 1, 100000 do end if ARGV[1] == 'end' then break end "
                  "ARGV[2] = ARGV[2] + 1 if ARGV[2] > 300 then break end end return 'ended'")
        runner.send("EVAL", script, 1, self.keys[0], "", 0)
        self.busy(client, "GET", self.keys[0])
        reply = client.call("SCRIPT", "KILL")
        self.assertIn(reply.code, ("UNKILLABLE", "NOTBUSY"))
        self.assertEqual(runner.read(), b"ended")
        self.assertEqual(client.call("GET", self.keys[0]), b"1")

    def test_in_exec(self):
        runner, client = self.client(), self.client()
        runner.pipeline([["MULTI"], ["SET", self.keys[0], "before"],
                         ["EVAL", LOOP, 0], ["SET", self.keys[-1], "after"]])
        runner.send("EXEC")
        self.busy(client, "GET", self.keys[0])
        self.kill(client)
        answers = runner.read()
        self.assertIn(b"Script killed", answers[1])
        self.assertEqual(answers[2], support.OK)
        self.assertEqual(client.call("GET", self.keys[-1]), b"after")

    def test_exec_meets_a_busy_script(self):
        runner, client, watcher = self.client(), self.client(), self.client()
        client.pipeline([["MULTI"], ["GET", self.keys[0]]])
        runner.send("EVAL", LOOP, 1, self.keys[0])
        self.busy(watcher, "GET", self.keys[0])
        reply = client.call("EXEC")
        self.assertEqual(reply.code, "EXECABORT")
        self.assertIn(b"BUSY", reply)
        self.kill(watcher)
        runner.read()
        self.assertEqual(client.call("PING"), support.PONG)

    def test_its_client_goes(self):
        runner, client = self.client(), self.client()
        runner.send("EVAL", LOOP, 1, self.keys[0])
        self.busy(client, "GET", self.keys[0])
        runner.close()
        self.kill(client)
        until(lambda: not isinstance(client.call("GET", self.keys[0]), support.Error),
              "still busy")

    def test_who_waits_counts_as_blocked(self):
        runner, waiting, client = self.client(), self.client(), self.client()
        client.ok("CONFIG", "SET", "busy-reply-threshold", 1000000)
        runner.send("EVAL", "while true do redis.call('GET', KEYS[1]) end", 1, self.keys[0])

        def blocked(count):
            return b"blocked_clients:%d\r\n" % count in client.ok("INFO", "clients")
        until(lambda: client.call("CLIENT", "LIST").count(b"cmd=eval"), "it does not run")
        number = waiting.ok("CLIENT", "ID")
        waiting.send("GET", self.keys[0])
        until(lambda: blocked(1), "nobody waits")
        self.assertEqual(client.ok("CLIENT", "KILL", "ID", number), 1)
        until(lambda: blocked(0), "who has gone still counts")
        self.kill(client)
        runner.read()

    def test_paused_scripts_are_atomic(self):
        """A script of many slices; whoever looks on sees all of it or nothing."""
        client, looker = self.client(), self.client()
        client.ok("CONFIG", "SET", "busy-reply-threshold", 1000000)
        keys = [self.keys[0], self.keys[-1] + "b"]
        self.look_on(client, looker, keys)
        client.ok("MULTI")
        self.look_on(client, looker, keys, "EXEC")

    def look_on(self, client, looker, keys, *then):
        script = ("for i = 1, 200 do redis.call('SET', KEYS[1], i) for j = 1, 20000 do end "
                  "redis.call('SET', KEYS[2], i) end return redis.call('PUBLISH', 'c', 'done')")
        client.send("EVAL", script, 2, *keys)
        if then:
            self.assertEqual(client.read(), b"QUEUED")
            client.send(*then)
        seen = set()
        done = threading.Thread(target=client.read)
        done.start()
        while done.is_alive():
            seen.add(tuple(looker.call("MGET", *keys)))
        self.assertLessEqual(seen, {(None, None), (b"200", b"200")})
        client.ok("DEL", *keys)

    def test_nobody_is_told_half_of_an_exec(self):
        """Its first script pauses, publishes and ends; its second one pauses as well."""
        subscriber, client = self.client(), self.client()
        subscriber.ok("SUBSCRIBE", "c")
        client.send("MULTI")
        client.send("EVAL", "redis.call('PUBLISH', 'c', 'told') for i = 1, 2000000 do end", 1,
                    self.keys[0])
        client.send("EVAL", LOOP, 1, self.keys[0])
        client.send("EXEC")
        looker = self.client()
        self.busy(looker, "GET", self.keys[0])
        time.sleep(0.2)  # whatever is told too early has arrived by then
        self.assertEqual(subscriber.call("PING"), [b"pong", b""])
        self.kill(looker)
        for expected in (support.OK, b"QUEUED", b"QUEUED"):
            self.assertEqual(client.read(), expected)
        none, killed = client.read()
        self.assertIsNone(none)
        self.assertIn(b"Script killed by user", killed)
        self.assertEqual(subscriber.read(), [b"message", b"c", b"told"])

    def test_stops_while_a_script_runs(self):
        with support.server() as other:
            runner = other.client()
            runner.send("EVAL", LOOP, 0)
            time.sleep(0.1)
        self.assertFalse(other.alive())


if __name__ == "__main__":
    unittest.main()
