#!/usr/bin/python3
"""tests/compat/COMMANDS.md: which commands there are, made from live servers.

    tests/compat/compat_table.py --write     makes it anew

What is there is what Splitring's COMMAND LIST says; what there could be is what redis-server says,
and the names of newer releases in commands.toml, which is checked against a Valkey 9.1 where one
has been built (bench/peers/get-valkey.sh). A command is `full` if it documents every option that a
peer documents and nobody has written down a difference: that its replies are the same is the matter
of the other files of this folder. Reasons come from commands.toml, and nothing is without one.
"""
# matrix: once

import argparse
import fnmatch
import sys
import tomllib
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from integration import support  # noqa: E402

VALKEY = HERE.parent.parent / "bench" / "peers" / ".cache" / "valkey-server"
FILE = HERE / "COMMANDS.md"
GROUPS = {"string": "Strings", "bitmap": "Bitmaps", "hash": "Hashes", "list": "Lists",
          "set": "Sets", "sorted-set": "Sorted sets", "stream": "Streams", "geo": "Geo",
          "hyperloglog": "HyperLogLog", "generic": "Keys", "pubsub": "Pub/sub",
          "transactions": "Transactions", "scripting": "Scripts and functions",
          "connection": "Connections", "server": "Server", "cluster": "Cluster",
          "module": "Vector sets and modules"}


def fields(reply):
    return {k.decode(): v for k, v in zip(reply[0::2], reply[1::2])}


def tokens(arguments):
    found = set()
    for argument in map(fields, arguments):
        if argument.get("token"):
            found.add(argument["token"].decode().upper())
        found |= tokens(argument.get("arguments", []))
    return found


def docs(client):
    """{name: (group, words of its options)}, subcommands as container|name."""
    found = {}

    def take(names):
        for name, doc in zip(names[0::2], names[1::2]):
            doc = fields(doc)
            found[name.decode()] = (doc["group"].decode(), tokens(doc.get("arguments", [])))
            take(doc.get("subcommands", []))
    take(client.ok("COMMAND", "DOCS"))
    return found


def ask(server):
    with server, server.client() as client:
        return docs(client)


class Table:
    def __init__(self):
        self.notes = tomllib.loads((HERE / "commands.toml").read_text())
        self.ours = ask(support.server())
        self.redis = ask(support.oracle())
        self.valkey = {}
        if VALKEY.exists():
            self.valkey = ask(support.Server([VALKEY, "--bind", support.HOST, "--save", ""],
                                             "valkey"))
        self.newer = {name: origin for origin, names in self.notes["newer"].items()
                      for name in names}
        self.names = sorted(set(self.ours) | set(self.redis) | set(self.newer))

    def reason_of_absence(self, name):
        return next((why for pattern, why in self.notes["absent"].items()
                     if pattern == name or fnmatch.fnmatchcase(name, pattern)), None)

    def state(self, name):
        if name not in self.ours:
            return "absent", self.reason_of_absence(name)
        if name in self.notes["differs"]:
            return "differs", self.notes["differs"][name]
        return "full", ""

    def group(self, name):
        for peer in (self.ours, self.redis):
            if name in peer:
                return peer[name][0]
        parent = name.split("|")[0]
        if parent != name:
            return self.group(parent)
        return "cluster" if name.startswith("cluster") else "module"

    def undocumented(self):
        """{command: options that a peer documents and we do not}"""
        return {name: missing for peer in (self.redis, self.valkey)
                for name, (_, words) in peer.items() if name in self.ours
                and (missing := words - self.ours[name][1]
                     - set(self.notes["otherwise"].get(name, ())))}

    def text(self):
        states = {name: self.state(name) for name in self.names}

        def count(state):
            return sum(s == state for s, _ in states.values())
        lines = [
            "# Commands", "",
            "Made by `tests/compat/compat_table.py --write` from live servers and "
            "`commands.toml`; CI sees to it that it is up to date.", "",
            f"{len(self.names)} commands and subcommands of Redis up to 8.6 and Valkey up to 9.1: "
            f"**{count('full')} full, {count('differs')} differ, {count('absent')} absent.**", "",
            "*Full*: every documented option is there; replies are compared with redis-server and "
            "Valkey by the other files of this folder."]
        for group, title in GROUPS.items():
            mine = [name for name in self.names if self.group(name) == group]
            if mine:
                lines += self.section(title, mine, states)
        return "\n".join(lines) + "\n"

    def section(self, title, names, states):
        full = [self.shown(name) for name in names if states[name][0] == "full"]
        lines = ["", f"## {title}", ""]
        if full:
            lines += [f"Full ({len(full)}): " + " · ".join(full), ""]
        rest = [name for name in names if states[name][0] != "full"]
        if rest:
            lines += ["| Command | | |", "|---|---|---|"]
            lines += [f"| {self.shown(name)} | {states[name][0]} | {states[name][1]} |"
                      for name in rest]
            lines.append("")
        return lines[:-1]

    def shown(self, name):
        origin = self.newer.get(name)
        text = f"`{name.upper().replace('|', ' ')}`"
        return f"{text} ({origin})" if origin else text


class CompatTable(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.table = Table()

    def test_everything_has_a_reason(self):
        table = self.table
        absent = [name for name in table.names if name not in table.ours]
        self.assertGreater(len(absent), 10)
        self.assertEqual([n for n in absent if not table.reason_of_absence(n)], [])
        self.assertEqual([n for n in table.notes["differs"] if n not in table.ours], [])
        self.assertEqual({n: words for n, words in table.undocumented().items()
                          if n not in table.notes["differs"]}, {})

    def test_newer_names(self):
        """What we have beyond redis-server stands under its release, and so does Valkey's."""
        table = self.table
        self.assertEqual(set(table.ours) - set(table.redis) - set(table.newer), set())
        self.assertEqual(set(table.valkey) - set(table.redis) - set(table.newer), set())
        self.assertEqual(set(table.newer) & set(table.redis), set())

    def test_up_to_date(self):
        self.assertEqual(FILE.read_text(), self.table.text(),
                         "tests/compat/compat_table.py --write makes it anew")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", action="store_true")
    if parser.parse_args().write:
        FILE.write_text(Table().text())
    else:
        unittest.main(argv=sys.argv[:1])
