"""Users with random rules, beside Debian's redis-server 7.0: the same rules are accepted with the
same words, the same commands are let through with the same arguments, GETUSER and LIST show the
same keys and channels.

The text of a user's command rules is not compared: 7.0 makes one up from the bits, since 7.2, as
here, rules are kept as they were given. Instead the text that this server shows is given to the
reference, and must make a user that may do the same. Words that changed with 7.2 (NOPERM's) are
brought to one form first. In 7.0 new users lack sanitize-payload, which since 7.2 all have.
"""
# matrix: once

import random
import re
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import support  # noqa: E402

SEEDS = range(60)
COMMANDS = """
get a1|get b|set a1 v|set b v get|set a1 v ex 10|append a2 v|mget a1 a2 b|mget a1|mset a1 1 b 2
del a1 b|unlink c|exists a1 b|rename a1 b|copy a1 b|copy b a1|smove a1 b m|sinterstore d a1 b
lmove a1 b left left|blmove a1 b left left 0|lmpop 2 a1 b left|blmpop 0 1 a1 left|brpop a1 b 0
zunionstore d 2 a1 b|zunion 1 a1|zdiffstore a2 1 b|zrangestore a1 b 0 1|sintercard 2 a1 b
bitop and d a1 b|bitfield a1 get u8 0|bitfield a1 set u8 0 1|bitfield b get u8 0 incrby u8 0 1
bitfield_ro a1 get u8 0|pfcount a1 b|pfmerge a1 b|sort a1|sort a1 store b
sort a1 by w_* get x store b|sort_ro a1|georadius a1 0 0 1 m|georadius a1 0 0 1 m store b
geosearchstore a1 b fromlonlat 0 0 byradius 1 m|xread count 1 streams a1 b 0 0|xread streams a1
xreadgroup group g c streams a1 >|xadd a1 * f v|xgroup create a1 g $|xinfo stream a1
object encoding a1|object help|memory usage a1|getdel a1|getex a1|getex a1 ex 5|getset a1 v
lcs a1 b|ttl a1|expire a1 5|type b|dump a1|restore a1 0 x|eval x 1 a1|eval x 2 a1 b|eval x 0
eval x 3 a1 b|eval_ro x 1 a1|evalsha x 1 b|fcall f 1 a1|fcall_ro f 1 b|eval x -1 a1
eval x 99999999999999999999 a1|lmpop 0 a1 left|migrate h 1 a1 0 5|migrate h 1 "" 0 5 keys a1 b
publish ch1 m|publish other m|spublish ch1 m|subscribe ch1 ch2|subscribe other|psubscribe ch*
psubscribe ch1|ssubscribe ch1|unsubscribe other|punsubscribe|ping|echo a|auth x|hello 3|quit|reset
select 0|select 1|SELECT 1|config get x|CONFIG GET x|config set a b|config resetstat|client list
client id|client kill a:1|acl whoami|acl list|acl setuser x|debug object a1|debug sleep 0
debug jmap|command count|command getkeys get a1|info|keys *|scan 0|randomkey|dbsize|flushall
swapdb 0 1|multi|exec|watch a1 b|unwatch|script load x|script kill|function list|latency doctor
slowlog get|time|role|lolwut|monitor|save|hset a1 f v|hget b f|hrandfield a1|zadd a1 1 m
zscore b m|sadd a1 m|spop a1|lpush a1 v|rpoplpush a1 b|setrange a1 0 v|getrange b 0 1|incr a1
strlen b|substr a1 0 1|move a1 1|touch a1 b|persist a1
""".replace("\n", "|").strip("|").split("|")
PATTERNS = ["a*", "a1", "*", "b", "[ab]*", "?1", "d", "{x}*", "a\\*", "c?", "w_*"]
CHANNELS = ["ch*", "ch1", "*", "other", "ch?", "news:*"]
NAMES = ["get", "GET", "set", "config", "config|get", "CONFIG|Set", "select", "select|0",
         "Select|1", "debug", "debug|object", "client", "client|list", "acl|whoami", "mget",
         "eval", "script", "script|load", "publish", "subscribe", "psubscribe", "sort",
         "bitfield", "xread", "object", "xreadgroup", "nosuch", "config|nosuch", "config|get|x",
         "get|", "|get", "", "ping|a", "memory|usage", "latency", "function|list", "multi",
         "exec", "auth", "keys", "command|count"]
CATEGORIES = ["read", "write", "string", "hash", "list", "set", "sortedset", "stream", "pubsub",
              "admin", "fast", "slow", "dangerous", "connection", "transaction", "scripting",
              "keyspace", "all", "ALL", "Read", "blocking", "geo", "bitmap", "nosuch"]
HASH = "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8"


class Rules:
    def __init__(self, rng):
        self.rng = rng

    def one(self, items):
        return self.rng.choice(items)

    def selector_rule(self):
        kind = self.rng.random()
        if kind < 0.35:
            sign = self.one("++-")
            return sign + self.one(NAMES)
        if kind < 0.55:
            return self.one("+-") + "@" + self.one(CATEGORIES)
        if kind < 0.75:
            return self.one(["~", "~", "%R~", "%W~", "%RW~", "%w~", "%rW~"]) + self.one(PATTERNS)
        if kind < 0.88:
            return "&" + self.one(CHANNELS)
        return self.one(["allkeys", "resetkeys", "allchannels", "resetchannels", "allcommands",
                         "nocommands", "ALLKEYS", "%~a", "%RR~a", "%X~a", "%R", "~", "&", "+@",
                         "~a b", "foo", "%"])

    def rule(self):
        kind = self.rng.random()
        if kind < 0.72:
            return [self.selector_rule()]
        if kind < 0.86:
            inner = [self.selector_rule() for _ in range(self.rng.randrange(4))]
            if self.rng.random() < 0.5:
                return ["(" + " ".join(inner) + ")"]
            words = ["("] + inner + [")"]
            if self.rng.random() < 0.5 and inner:
                words = ["(" + inner[0], *inner[1:-1], (inner[-1] if inner[1:] else "") + ")"]
            return words[:-1] if self.rng.random() < 0.1 else words
        return [self.one(["on", "off", "ON", "nopass", "resetpass", ">secret", "<secret", ">", "<x",
                          "#" + HASH, "!" + HASH, "#abc", "!x", "#" + HASH.upper(),
                          "clearselectors", "reset", "sanitize-payload", "skip-sanitize-payload",
                          "", "(", ")", "()"])]

    def rules(self):
        return [word for _ in range(self.rng.randrange(1, 5)) for word in self.rule()]


def plain(reply):
    """NOPERM's words and sanitize-payload in one form."""
    if not isinstance(reply, bytes):
        return reply
    text = re.sub(rb"sanitize-payload ", b"", bytes(reply))
    if b"run the" in text:
        return b"no command " + text.split(b"'")[-2]
    if b"access the" in text:
        return b"no " + text.split(b"'", 1)[1]
    return type(reply)(text)


def described(reply):
    """GETUSER without what 7.0 and 7.2 say differently."""
    if not isinstance(reply, list):
        return reply
    user = {key: value for key, value in zip(reply[::2], reply[1::2])}
    user.pop(b"commands")
    user[b"flags"] = sorted(set(user[b"flags"]) - {b"sanitize-payload"})
    user[b"selectors"] = [
        {k: v for k, v in zip(s[::2], s[1::2]) if k != b"commands"} for s in user[b"selectors"]]
    return user


class Users(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.servers = [support.server("--enable-debug-command", "yes"),
                       support.oracle("--enable-debug-command", "yes")]
        cls.clients = [server.client() for server in cls.servers]

    @classmethod
    def tearDownClass(cls):
        for client, server in zip(cls.clients, cls.servers):
            client.close()
            server.stop()

    def both(self, *args):
        return [client.call(*args) for client in self.clients]

    def same(self, args, form=plain):
        here, there = self.both(*args)
        self.assertEqual(form(here), form(there), args)
        return here

    def verdicts(self, client, user):
        calls = [("ACL", "DRYRUN", user, *(word.strip('"') for word in line.split()))
                 for line in COMMANDS]
        return [(call[3:], plain(reply)) for call, reply in zip(calls, client.pipeline(calls))]

    def test_random_rules(self):
        for seed in SEEDS:
            rng = random.Random(seed)
            rules = Rules(rng)
            self.both("ACL", "DELUSER", "u", "copy")
            for _ in range(8):
                self.same(("ACL", "SETUSER", "u", *rules.rules()))
                self.same(("ACL", "GETUSER", "u"), described)
            here, there = (self.verdicts(client, "u") for client in self.clients)
            self.assertEqual(here, there, seed)
            self.read_back(seed, here)

    def read_back(self, seed, verdicts):
        """What LIST shows makes the same user, here and there."""
        lines = [line for line in self.clients[0].call("ACL", "LIST")
                 if line.startswith(b"user u ")]
        if not lines:
            return
        text = lines[0].decode().split(" ")[2:]
        self.both("ACL", "DELUSER", "copy")
        reply = self.same(("ACL", "SETUSER", "copy", *text))
        if reply != support.OK:  # `%RW~*` is shown as `~*`, which is more: as in Redis
            self.assertIn(b"Adding a pattern after", reply)
            return
        for client in self.clients:
            self.assertEqual(self.verdicts(client, "copy"), verdicts, (seed, text))

    def test_passwords(self):
        self.both("ACL", "DELUSER", "p")
        self.same(("ACL", "SETUSER", "p", "on", ">one", ">two", "#" + HASH, "+@all", "~*"))
        for password in ("one", "two", "password", "three", "", HASH):
            self.same(("AUTH", "p", password))
        self.both("AUTH", "default", "")
        for rules in (("<one",), ("off",), ("on", "nopass"), ("resetpass",), (">x", "nopass")):
            self.same(("ACL", "SETUSER", "p", *rules))
            for password in ("one", "two", "", "x"):
                self.same(("AUTH", "p", password))
                self.both("AUTH", "default", "")
        self.same(("AUTH", "nobody", "x"))
        self.same(("AUTH", "default", "x", "y"))
        self.same(("AUTH", "x"))

    def test_requests_that_are_wrong(self):
        for line in ("acl", "acl foo", "acl log x", "acl log 1 2", "acl cat nosuch", "acl cat a b",
                     "acl genpass 0", "acl genpass -1", "acl genpass 4097", "acl genpass x",
                     "acl genpass 1 2", "acl deluser default", "acl deluser nobody", "acl save",
                     "acl load", "acl getuser nobody", "acl dryrun nobody get a", "acl whoami",
                     "acl dryrun default nosuch", "acl dryrun default get", "acl cat",
                     "acl setuser", "acl list x", "acl users", "acl log reset",
                     "acl dryrun default config", "acl dryrun default config nosuch"):
            self.same(line.split())
        self.same(("ACL", "SETUSER", "a b"))
        self.same(("ACL", "SETUSER", "a\0b"))
        here, there = self.both("ACL", "CAT", "fast")
        known = set(self.clients[0].call("COMMAND", "LIST"))
        self.assertEqual(set(there) - set(here), {n for n in there if n not in here
                                                 and n.split(b"|")[0] not in known})


if __name__ == "__main__":
    unittest.main()
