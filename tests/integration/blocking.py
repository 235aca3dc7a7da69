"""Clients that wait for a key, over any mix of shards: who is served, with what, in which order;
and every way a wait can end.

Nothing here sleeps for a fixed time to let something happen: a client is known to wait when CLIENT
LIST shows it (flag b), and a reply that must not come is one that another command's reply
overtakes.
"""

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import shards, support  # noqa: E402


class Waiting(support.ServerTest):
    def blocked(self, client, count):
        """Waits until so many clients wait for a key."""
        def ready():
            lines = client.ok("CLIENT", "LIST").decode().splitlines()
            return sum("b" in dict(f.split("=", 1) for f in line.split(" "))["flags"]
                       for line in lines if line) == count
        self.assertTrue(shards.until(ready))

    def waits(self, *command, resp=2):
        """A client that has sent this command and waits; they wait in the order of the calls."""
        client = self.client(resp)
        client.send_bytes(support.encode(*command))
        self.waiting = getattr(self, "waiting", 0) + 1
        self.blocked(self.control, self.waiting)
        return client

    def setUp(self):
        super().setUp()
        self.control = self.client()
        self.control.ok("FLUSHALL")

    def test_first_come_first_served(self):
        first = self.waits("BLPOP", "list", "0")
        second = self.waits("BRPOP", "list", "0")
        third = self.waits("BLMPOP", "0", "1", "list", "RIGHT", "COUNT", "5")
        self.assertEqual(self.control.ok("RPUSH", "list", "a", "b", "c", "d"), 4)
        self.assertEqual(first.value(), [b"list", b"a"])
        self.assertEqual(second.value(), [b"list", b"d"])
        self.assertEqual(third.value(), [b"list", [b"c", b"b"]])
        self.assertEqual(self.control.ok("EXISTS", "list"), 0)

    def test_many_keys_of_many_shards(self):
        names = [f"key:{i}" for i in range(20)]
        client = self.waits("BLPOP", *names, "0")
        self.control.ok("RPUSH", "key:13", "x", "y")
        self.assertEqual(client.value(), [b"key:13", b"x"])
        # Woken once: the other registrations are gone.
        for name in names[:13] + names[14:]:
            self.control.ok("RPUSH", name, "z")
            self.assertEqual(self.control.ok("LLEN", name), 1)
        # Not empty at once: left to right.
        client.send_bytes(support.encode("BLPOP", *names[3:], "0"))
        self.assertEqual(client.value(), [b"key:3", b"z"])

    def test_a_pipeline_goes_on_behind_the_wait(self):
        client = self.client()
        client.send_bytes(support.encode("SET", "before", "1") +
                          support.encode("BLPOP", "a", "b", "c", "0") +
                          support.encode("SET", "after", "1") + support.encode("GET", "after"))
        self.assertEqual(client.value(), b"OK")
        self.blocked(self.control, 1)
        self.assertIsNone(self.control.ok("GET", "after"))
        self.control.ok("LPUSH", "b", "v")
        self.assertEqual([client.value() for _ in range(3)], [[b"b", b"v"], b"OK", b"1"])

    def test_moves_between_shards(self):
        for i in range(20):
            source, target = f"from:{i}", f"to:{i}"
            self.waiting = 0
            mover = self.waits("BLMOVE", source, target, "LEFT", "RIGHT", "0")
            taker = self.waits("BLPOP", target, "0")
            self.control.ok("RPUSH", source, "one")
            self.assertEqual(mover.value(), b"one")
            self.assertEqual(taker.value(), [target.encode(), b"one"])
            self.assertEqual(self.control.ok("EXISTS", source, target), 0)

    def test_sorted_sets(self):
        lowest = self.waits("BZPOPMIN", "z1", "z2", "z3", "0", resp=3)
        highest = self.waits("BZMPOP", "0", "2", "z3", "z2", "MAX", "COUNT", "2")
        self.control.ok("ZADD", "z2", "1", "a", "2", "b", "3", "c")
        self.assertEqual(lowest.raw(), b"*3\r\n$2\r\nz2\r\n$1\r\na\r\n,1\r\n")
        self.assertEqual(highest.value(), [b"z2", [[b"c", b"3"], [b"b", b"2"]]])

    def test_streams(self):
        self.control.ok("XADD", "s1", "1-1", "f", "v")
        reader = self.waits("XREAD", "BLOCK", "0", "STREAMS", "s1", "s2", "$", "0")
        self.control.ok("XADD", "s1", "2-1", "f", "w")
        self.assertEqual(reader.value(), [[b"s1", [[b"2-1", [b"f", b"w"]]]]])
        self.control.ok("XGROUP", "CREATE", "s1", "g", "$")
        self.waiting = 0
        one = self.waits("XREADGROUP", "GROUP", "g", "one", "BLOCK", "0", "STREAMS", "s1", ">")
        two = self.waits("XREADGROUP", "GROUP", "g", "two", "BLOCK", "0", "STREAMS", "s1", ">")
        self.control.ok("XADD", "s1", "3-1", "f", "x")
        self.assertEqual(one.value(), [[b"s1", [[b"3-1", [b"f", b"x"]]]]])
        self.control.ok("XGROUP", "DESTROY", "s1", "g")
        self.assertTrue(two.raw().startswith(b"-NOGROUP"))

    def test_a_group_called_streams(self):
        """The word may be a name; BLOCK behind it is still an option."""
        self.control.ok("XGROUP", "CREATE", "s1", "streams", "$", "MKSTREAM")
        reader = self.waits("XREADGROUP", "GROUP", "streams", "block", "BLOCK", "0", "STREAMS",
                            "s1", ">")
        self.control.ok("XADD", "s1", "1-1", "f", "v")
        self.assertEqual(reader.value(), [[b"s1", [[b"1-1", [b"f", b"v"]]]]])

    def test_served_by_a_transaction_after_all_its_writes(self):
        client = self.waits("BLPOP", "l1", "l2", "0")
        answers = self.control.pipeline([
            ["MULTI"], ["RPUSH", "l2", "a"], ["RPUSH", "l1", "b"], ["LLEN", "l2"],
            ["DEL", "l2"], ["EXEC"]])
        self.assertEqual(answers[-1], [1, 1, 1, 1])
        self.assertEqual(client.value(), [b"l1", b"b"])

    def test_served_by_what_is_no_push(self):
        for make in (["RENAME", "other", "key"], ["COPY", "other", "key"],
                     ["SORT", "other", "ALPHA", "STORE", "key"], ["LMOVE", "other", "key", "LEFT",
                                                                  "LEFT"]):
            self.waiting = 0
            self.control.ok("DEL", "other", "key")
            client = self.waits("BLPOP", "key", "0")
            self.control.ok("RPUSH", "other", "v")
            self.control.ok(*make)
            self.assertEqual(client.value(), [b"key", b"v"], make)

    def test_served_by_a_transaction(self):
        """Whatever other shards it holds, and in whichever order it fills them: who waits for two
        keys gets the one that was filled first."""
        keys = [some[0] for some in shards.keys_by_shard(8, 1)]
        for first in keys:
            for second in keys:
                if first == second:
                    continue
                for order in ([first, second], [second, first]):
                    self.waiting = 0
                    self.control.ok("DEL", *keys)
                    both = self.waits("BLPOP", *keys, "0")
                    one = self.waits("BLPOP", second, "0")
                    self.control.pipeline([["MULTI"], ["SET", "{x}", "1"], ["GET", keys[0]],
                                           *[["RPUSH", key, "a", "b"] for key in order],
                                           ["EXEC"]])
                    self.assertEqual(both.value(), [order[0].encode(), b"a"], order)
                    self.assertEqual(one.value()[0], second.encode())
                    both.close()
                    one.close()

    def test_another_type_serves_nobody(self):
        client = self.waits("BLPOP", "key", "0")
        self.control.ok("SADD", "key", "m")
        self.control.ok("DEL", "key")
        self.control.ok("ZADD", "key", "1", "m")
        self.control.ok("DEL", "key")
        self.control.ok("RPUSH", "key", "v")
        self.assertEqual(client.value(), [b"key", b"v"])

    def test_timeouts(self):
        for command, reply in ((["BLPOP", "k1", "k2", "0.01"], b"*-1\r\n"),
                               (["BLMOVE", "k1", "k2", "LEFT", "LEFT", "0.01"], b"*-1\r\n"),
                               (["BZPOPMAX", "k1", "0.01"], b"*-1\r\n"),
                               (["XREAD", "BLOCK", "10", "STREAMS", "k1", "k2", "0", "0"],
                                b"*-1\r\n"),
                               (["BLPOP", "k1", "-1"], b"-ERR timeout is negative\r\n"),
                               (["BLPOP", "k1", "x"],
                                b"-ERR timeout is not a float or out of range\r\n")):
            client = self.client()
            client.send_bytes(support.encode(*command))
            self.assertEqual(client.raw(), reply, command)
        # Nothing of them is left.
        self.control.ok("RPUSH", "k1", "v")
        self.assertEqual(self.control.ok("LLEN", "k1"), 1)

    def test_unblock_and_kill(self):
        client = self.waits("BLPOP", "k1", "k2", "0")
        ident = None
        for line in self.control.ok("CLIENT", "LIST").decode().splitlines():
            fields = dict(field.split("=", 1) for field in line.split(" "))
            if "b" in fields["flags"]:
                ident = fields["id"]
        self.assertEqual(self.control.ok("CLIENT", "UNBLOCK", ident, "ERROR"), 1)
        self.assertEqual(client.raw(), b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n")
        self.assertEqual(self.control.ok("CLIENT", "UNBLOCK", ident), 0)
        client.send_bytes(support.encode("BLPOP", "k1", "k2", "0"))
        self.blocked(self.control, 1)
        self.assertEqual(self.control.ok("CLIENT", "UNBLOCK", ident), 1)
        self.assertEqual(client.raw(), b"*-1\r\n")

    def test_the_dead_take_nothing(self):
        self.waits("BLPOP", "k1", "k2", "0").close()
        self.blocked(self.control, 0)
        self.control.ok("RPUSH", "k1", "v")
        self.assertEqual(self.control.ok("LRANGE", "k1", "0", "-1"), [b"v"])

    def test_queues_under_load(self):
        """Four takers, three lists, four givers: every element comes out once, in list order."""
        lists, count = ["q1", "q2", "q3"], 600
        takers = [self.client() for _ in range(4)]
        givers = [self.client() for _ in range(4)]
        for taker in takers:
            taker.send_bytes(support.encode("BLPOP", *lists, "20") * (count // 4))
        for n, giver in enumerate(givers):
            giver.send_bytes(b"".join(
                support.encode("RPUSH", lists[i % 3], f"{n}:{i}") for i in range(count // 4)))
        for giver in givers:
            for _ in range(count // 4):
                self.assertGreater(giver.value(), 0)
        taken = [[taker.value() for _ in range(count // 4)] for taker in takers]
        everything = sorted(element for own in taken for _, element in own)
        self.assertEqual(everything, sorted(f"{n}:{i}".encode() for n in range(4)
                                            for i in range(count // 4)))
        for own in taken:  # what one giver pushed to one list comes to one taker in its order
            last = {}
            for key, element in own:
                giver, number = element.split(b":")
                self.assertLess(last.get((key, giver), -1), int(number))
                last[key, giver] = int(number)


if __name__ == "__main__":
    unittest.main()
