"""The command table beside Debian's redis-server 7.0: COMMAND, COMMAND INFO, DOCS, LIST, COUNT,
GETKEYS and GETKEYSANDFLAGS must say the same of every command that both know, in both protocol
versions.

Texts of our own (summaries, complexities, history, notes of key specs) are compared only for being
there. What is newer than 7.0 here stands in NEWER, with the release it comes from.
"""
# matrix: once

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import support  # noqa: E402

# Commands the reference does not know yet.
ADDED = {
    "client|no-touch": "7.2", "client|setinfo": "7.2",
    "msetex": "8.4", "delex": "8.4", "digest": "8.4", "delifeq": "Valkey 9.0",
    **{name: "7.4" for name in (
        "hexpire", "hpexpire", "hexpireat", "hpexpireat", "httl", "hpttl", "hexpiretime",
        "hpexpiretime", "hpersist")},
    "hgetex": "8.0", "hsetex": "8.0", "hgetdel": "8.0",
    "xdelex": "8.2", "xackdel": "8.2", "waitaof": "7.2",
    **{name: "Valkey 8.1" for name in ("commandlog", "commandlog|get", "commandlog|help",
                                       "commandlog|len", "commandlog|reset")},
    **{name: "8.6" for name in ("hotkeys", "hotkeys|get", "hotkeys|help", "hotkeys|reset",
                                "hotkeys|start", "hotkeys|stop")},
    "script|show": "Valkey 8.0", "latency|stages": "ours", "slowlog|stages": "ours",
}
# Fields of known commands that were changed since.
NEWER = {
    **{(f"acl|{name}", "tips"): "7.2" for name in ("deluser", "save", "setuser")},
    ("acl|cat", "arguments"): "7.2: category", ("acl|log", "history"): "7.2",
    ("command|getkeys", "arity"): "7.2: -3, COMMAND GETKEYS PING is well-formed",
    ("command|getkeysandflags", "arity"): "7.2",
    ("command|getkeys", "arguments"): "7.2 documents them",
    ("command|getkeysandflags", "arguments"): "7.2",
    ("set", "arguments"): "8.4: IFEQ, IFNE, IFDEQ, IFDNE", ("set", "history"): "8.4",
    ("bitop", "arguments"): "7.2: the operation is a oneof; 8.2: DIFF, DIFF1, ANDOR, ONE",
    ("bitop", "history"): "8.2",
    ("hscan", "arguments"): "7.4: NOVALUES",
    ("client|kill", "arguments"): "8.0: MAXAGE", ("client|kill", "history"): "8.0",
    ("client|list", "history"): "7.2, 8.0",
    ("client|list", "arguments"): "Valkey 9.0: filters",
    ("shutdown", "arguments"): "Valkey 9.0: SAFE, FAILOVER",
    **{("zscan", field): "Valkey 8.0: NOSCORES" for field in ("arguments", "history")},
    ("xreadgroup", "arguments"): "8.4: CLAIM", ("xreadgroup", "history"): "8.4",
    ("sinterstore", "specs"): "7.2: OW",
    **{(name, field): "Valkey 9.0: BYPOLYGON" for name in ("geosearch", "geosearchstore")
       for field in ("arguments", "history")},
    **{(name, field): "7.2: WITHSCORE" for name in ("zrank", "zrevrank")
       for field in ("arity", "arguments", "history")},
    **{(name, field): "8.2: KEEPREF, DELREF, ACKED" for name in ("xadd", "xtrim")
       for field in ("arguments", "history")},
    ("bgsave", "arguments"): "Valkey 8.1: CANCEL", ("bgsave", "history"): "Valkey 8.1",
    ("quit", "doc_flags"): "7.2: deprecated", ("quit", "deprecated_since"): "7.2",
    ("quit", "replaced_by"): "7.2",
    ("wait", "flags"): "7.2: blocking", ("wait", "categories"): "7.2",
}
# Our own words.
OWN_TEXT = {"summary", "complexity", "replaced_by"}

INFO_FIELDS = ["name", "arity", "flags", "first", "last", "step", "categories", "tips", "specs",
               "subcommands"]

GETKEYS = """
get k|set k v|set k v get|set k v ex 10 GET|set k v IFX|append k v|mget a b c|mget a|mset a 1 b 2
mset a 1 b|mset a|msetnx a 1 b 2|lcs a b|lcs a b LEN|getrange k 0 1|getex k persist|setrange k 1 v
bitop and d a b c|bitop not d a|bitop and d|bitcount k|bitcount k 0 1 bit|bitpos k 1|setbit k 1 1
bitfield k get u8 0|bitfield k get u8 0 set u8 0 1|bitfield k overflow sat incrby u8 0 1
bitfield k overflow sat get u8 1|bitfield k|bitfield k get u8|bitfield k set|bitfield_ro k get u8 0
copy a b|copy a b db 1 replace|del a b c|unlink a|exists a a b|touch a b|rename a b|renamenx a b
expire k 1|expire k|persist k|move k 1|object encoding k|object freq k|object help|object foo k
ttl k|type k|memory usage k|memory usage k samples 5|memory doctor|keys *|scan 0|randomkey|dbsize
flushall|ping|ping x y|config get a|config set a b|config foo|client list|nosuch a|swapdb 0 1
debug object k|command info get|echo a
sadd k a b|smove a b c|sinter a b|sunion a|sintercard 2 a b limit 1|sintercard 3 a b|sintercard x a
sdiffstore d a b|spop k 2|sscan k 0
""".replace("\n", "|").strip("|").split("|")

ERRORS = ["nosuch", "nosuch a b", "NoSuch 'x' " + "y" * 200, "z" * 300 + " a", "config", "client",
          "config foo", "CONFIG FoO bar", "object", "object nosuch k", "get", "get a b",
          "config get", "CONFIG GET", "client id x", "command foo", "command count 1",
          "command list foo", "command list filterby foo bar", "command list filterby module",
          "command getkeys nosuch a", "nosuch a\rb\nc", "debug", "time x", "mset a",
          "command docs nosuch", "command info nosuch", "set|get a", "config|get a",
          "nosuch " + " ".join("arg%d" % i for i in range(60))]


def by_name(reply):
    return {info[0].decode(): info for info in reply}


def plain(value):
    """Sets without order, so that replies compare."""
    if isinstance(value, support.Set):
        return frozenset(map(repr, map(plain, value)))
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def as_dict(pairs):
    return {k.decode(): v for k, v in zip(pairs[0::2], pairs[1::2])}


class Tables(support.ServerTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.peer = support.oracle()
        cls.addClassCleanup(cls.peer.stop)

    def setUp(self):
        self.ours, self.theirs = self.client(3), self.peer.client(3)
        self.addCleanup(self.theirs.close)
        names = {n.decode() for n in self.ours.ok("COMMAND", "LIST")}
        self.known = {n.decode() for n in self.theirs.ok("COMMAND", "LIST")}
        self.names = names
        self.both = sorted(names & self.known)

    def test_only_known_commands_are_added(self):
        self.assertEqual(self.names - self.known, set(ADDED) & self.names)
        self.assertGreater(len(self.both), 100)

    def compare_info(self, name, ours, theirs):
        for field, mine, other in zip(INFO_FIELDS, ours, theirs):
            if (name, field) in NEWER:
                self.assertNotEqual(plain(mine), plain(other), f"{name} {field}: not newer now")
                continue
            if field == "subcommands":
                continue  # each has its turn
            if field == "specs":
                mine, other = [[without_notes(s) for s in specs] for specs in (mine, other)]
            self.assertEqual(plain(mine), plain(other), f"{name}: {field}")

    def test_info(self):
        for name in self.both:
            with self.subTest(command=name):
                self.compare_info(name, self.ours.ok("COMMAND", "INFO", name)[0],
                                  self.theirs.ok("COMMAND", "INFO", name)[0])

    def test_whole_table(self):
        mine, other = by_name(self.ours.ok("COMMAND")), by_name(self.theirs.ok("COMMAND"))
        self.assertEqual(set(mine), {n for n in self.names if "|" not in n})
        self.assertEqual(len(mine), self.ours.ok("COMMAND", "COUNT"))
        for name in set(mine) & set(other):
            self.compare_info(name, mine[name], other[name])
            subs = {s[0].decode() for s in mine[name][9]}
            self.assertEqual(subs, {n for n in self.names if n.startswith(name + "|")})
        self.assertEqual(len(self.ours.ok("COMMAND", "INFO")), len(mine))

    def test_shapes_are_those_of_the_protocol_version(self):
        for resp in (2, 3):
            with self.server.client(resp) as mine, self.peer.client(resp) as other:
                for name in ("getrange", "bitpos", "object|freq", "mget", "lolwut"):
                    ours, theirs = (c.ok("COMMAND", "DOCS", name) for c in (mine, other))
                    self.assertEqual(kinds(ours), kinds(theirs), name)
                    ours, theirs = (c.ok("COMMAND", "INFO", name, "nosuch") for c in (mine, other))
                    self.assertEqual(kinds(ours), kinds(theirs), name)

    def compare_args(self, where, mine, other):
        self.assertEqual(len(mine), len(other), where)
        for one, two in zip(mine, other):
            one, two = as_dict(one), as_dict(two)
            self.assertEqual(set(one), set(two), f"{where} {one['name']}")
            for field in one:
                if field == "arguments":
                    self.compare_args(f"{where} {one['name']}", one[field], two[field])
                else:
                    self.assertEqual(plain(one[field]), plain(two[field]), f"{where} {one['name']}")

    def test_docs(self):
        for name in self.both:
            with self.subTest(command=name):
                mine = as_dict(self.ours.ok("COMMAND", "DOCS", name)[1])
                other = as_dict(self.theirs.ok("COMMAND", "DOCS", name)[1])
                newer = {field for command, field in NEWER if command == name}
                self.assertEqual(set(mine) - newer, set(other) - newer)
                for field in set(mine) - newer - {"subcommands"}:
                    if field == "arguments":
                        self.compare_args(name, mine[field], other[field])
                    elif field == "history":
                        self.assertEqual(sorted(h[0] for h in mine[field]),
                                         sorted(h[0] for h in other[field]), name)
                    elif field in OWN_TEXT:
                        self.assertTrue(mine[field])
                    else:
                        self.assertEqual(plain(mine[field]), plain(other[field]), field)

    def test_docs_of_all_and_of_several(self):
        every = self.ours.ok("COMMAND", "DOCS")
        self.assertEqual({k.decode() for k, _ in every.pairs()},
                         {n for n in self.names if "|" not in n})
        some = self.ours.ok("COMMAND", "DOCS", "get", "nosuch", "config|get", "GET")
        self.assertEqual([k for k, _ in some.pairs()], [b"get", b"config|get", b"get"])

    def test_filters(self):
        for words in (["ACLCAT", "bitmap"], ["ACLCAT", "DANGEROUS"], ["ACLCAT", "nosuch"],
                      ["PATTERN", "ge*"], ["PATTERN", "CONFIG|*"], ["MODULE", "x"]):
            mine, other = ({n.decode() for n in c.ok("COMMAND", "LIST", "FILTERBY", *words)}
                           for c in (self.ours, self.theirs))
            self.assertEqual(mine - set(ADDED), other & self.names, words)

    def test_getkeys(self):
        for line in GETKEYS:
            words = line.split()
            for kind in ("GETKEYS", "GETKEYSANDFLAGS"):
                if len(words) < 2:
                    continue  # refused by the arity of 7.0
                with self.subTest(line=line, kind=kind):
                    self.assertEqual(plain(self.ours.call("COMMAND", kind, *words)),
                                     plain(self.theirs.call("COMMAND", kind, *words)))

    def test_keys_of_added_commands(self):
        keys = [("msetex 2 a 1 b 2 EX 5", [b"a", b"b"]), ("msetex 1 a 1 XX", [b"a"]),
                ("delifeq k v", [b"k"]), ("delex k", [b"k"]), ("digest k", [b"k"]),
                ("set k v IFEQ x", [b"k"])]
        for line, expected in keys:
            if line.split()[0] in self.names:
                self.assertEqual(self.ours.call("COMMAND", "GETKEYS", *line.split()), expected)
        for line in ("msetex 3 a 1 b 2", "msetex x a 1", "msetex 99999999999 a 1", "msetex 0 a 1"):
            self.assertEqual(self.ours.call("COMMAND", "GETKEYS", *line.split()),
                             b"ERR Invalid arguments specified for command", line)

    def test_errors(self):
        for line in ERRORS:
            with self.subTest(line=line[:60]):
                words = line.split(" ")
                self.assertEqual(self.ours.call(*words), self.theirs.call(*words))

    def test_help(self):
        lines = self.ours.ok("COMMAND", "HELP")
        self.assertEqual(lines[0], self.theirs.ok("COMMAND", "HELP")[0])
        self.assertEqual(lines[-2], support.Status(b"HELP"))


def without_notes(spec):
    return {k: plain(v) for k, v in as_dict(spec).items() if k != "notes"}


def kinds(value):
    """The shape of a reply: types, and the sizes of aggregates."""
    if isinstance(value, list):
        inner = sorted(map(repr, map(kinds, value))) if isinstance(value, support.Set) else \
            [kinds(item) for item in value]
        return (type(value).__name__, inner)
    return type(value).__name__


if __name__ == "__main__":
    unittest.main()
