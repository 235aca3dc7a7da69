#!/usr/bin/env python3
"""The command table: src/cmd/(group).toml → commands_table.h and .c, commands_stubs.c,
commands_list.json.

usage: gen_commands.py OUTPUT_FOLDER GROUP.toml...

The file name is the group of COMMAND DOCS. A table is a command, ["config|get"] a subcommand; a
command with subcommands is a container. Fields:

  summary since complexity arity history tips doc_flags deprecated_since replaced_by
            as in COMMAND INFO and COMMAND DOCS
  flags     command flags by their wire name, and the hidden "protected"; "movablekeys" is derived
  acl       categories beyond those that follow from the flags (read write admin dangerous pubsub
            fast slow blocking)
  keys      key specs: {flags, begin = position | keyword = "STREAMS", from = 1 | unknown = true,
            then a range {last = 0, step = 1, limit = 0} or {keynum, first, step}; notes}
  get_keys  C function for keys (src/cmd/keyspec.c) where specs do not tell the whole truth
  whole     C function that says of a call whether it reads keys that no argument names
  args      argument tree: {name, type | oneof = [...] | block = [...], token, optional, multiple,
            multiple_token, spec (key spec, 0), since, deprecated_since, summary}; a token alone is
            a pure-token
  route     here | keys | shard | channel | all; default: keys if there are key specs, else here
  split     none | sum | array | ok | concat | pick | first | move | away;
            default none (include/splitring/cmd/command.h)
  slow      true: may take long
  script    true: runs a script, which may ask for keys that it does not name
  handler   C function; default cmd_NAME with '|' and '-' as '_'; containers have none by default
"""
import json
import pathlib
import re
import sys
import tomllib

FIELDS = {
    "summary", "since", "complexity", "arity", "history", "tips", "doc_flags", "deprecated_since",
    "replaced_by", "flags", "acl", "keys", "get_keys", "whole", "args", "route", "split", "slow",
    "script", "handler",
}
FLAGS = [
    "write", "readonly", "denyoom", "admin", "pubsub", "noscript", "blocking", "loading", "stale",
    "skip_monitor", "skip_slowlog", "asking", "fast", "no_auth", "may_replicate",
    "no_async_loading", "no_multi", "allow_busy", "no_mandatory_keys", "protected",
]
CATEGORIES = [
    "keyspace", "read", "write", "set", "sortedset", "list", "hash", "string", "bitmap",
    "hyperloglog", "geo", "stream", "pubsub", "admin", "fast", "slow", "blocking", "dangerous",
    "connection", "transaction", "scripting",
]
IMPLIED = {"write": ["write"], "readonly": ["read"], "admin": ["admin", "dangerous"],
           "pubsub": ["pubsub"], "fast": ["fast"], "blocking": ["blocking"]}
KEY_FLAGS = ["RO", "RW", "OW", "RM", "access", "update", "insert", "delete", "not_key",
             "incomplete", "variable_flags"]
TYPES = ["string", "integer", "double", "key", "pattern", "unix-time", "pure-token", "oneof",
         "block"]
DOC_FLAGS = ["deprecated", "syscmd"]
ARG_FIELDS = {"name", "type", "oneof", "block", "token", "optional", "multiple", "multiple_token",
              "spec", "since", "deprecated_since", "summary"}
SPEC_FIELDS = {"flags", "begin", "keyword", "from", "unknown", "last", "step", "limit", "keynum",
               "first", "notes"}

HASH_SLOTS = 1024  # a power of two, well above twice the number of commands
MASK64 = (1 << 64) - 1


def fail(where, what):
    raise SystemExit(f"gen_commands: {where}: {what}")


def known(where, given, allowed):
    for item in given:
        if item not in allowed:
            fail(where, f"'{item}' is not known")


def c_string(text):
    if text is None:
        return "NULL"
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def constants(prefix, names):
    return " | ".join(prefix + n.upper().replace("-", "_") for n in names) or "0"


def key_constants(names):
    return constants("KEY_", ["variable" if n == "variable_flags" else n for n in names])


def symbol(name):
    return re.sub(r"[|-]", "_", name)


class Command:
    """One table of a toml file, checked, with what follows from it."""

    def __init__(self, name, group, entry):
        self.name, self.group, self.entry = name, group, entry
        self.subcommands = []
        self.parent = None
        if not re.fullmatch(r"[a-z0-9_-]+(\|[a-z0-9_-]+)?", name):
            fail(name, "not a command name")
        known(name, entry, FIELDS)
        for field in ("summary", "since", "arity", "flags"):
            if field not in entry:
                fail(name, f"no {field}")
        self.flags = entry["flags"]
        known(name, self.flags, FLAGS)
        self.specs = entry.get("keys", [])
        for spec in self.specs:
            known(name, spec, SPEC_FIELDS)
            known(name, spec["flags"], KEY_FLAGS)
        self.first, self.last, self.step, self.movable = legacy_range(self.specs)
        self.route = entry.get("route", "keys" if self.specs else "here")
        known(name, [self.route], ["here", "keys", "shard", "channel", "all"])
        self.split = entry.get("split", "none")
        known(name, [self.split], ["none", "sum", "array", "ok", "concat", "pick",
                                  "first", "move", "away"])

    def handler(self):
        if "handler" in self.entry:
            return self.entry["handler"]
        return None if self.subcommands else "cmd_" + symbol(self.name)

    def categories(self):
        found = set(self.entry.get("acl", []))
        known(self.name, found, CATEGORIES)
        for flag in self.flags:
            if flag == "readonly" and "scripting" in found:
                continue
            found.update(IMPLIED.get(flag, []))
        if "fast" not in found:
            found.add("slow")
        return [c for c in CATEGORIES if c in found]

    def keys_function(self):
        """NULL where first/last/step and one set of flags say everything."""
        if "get_keys" in self.entry:
            return self.entry["get_keys"]
        if self.movable or len({tuple(s["flags"]) for s in self.specs}) > 1:
            return "keys_by_specs"
        return "NULL"

    def all_flags(self):
        names = constants("CMD_", self.flags)
        own = {"slow": "CMD_SLOW", "script": "CMD_SCRIPT"}
        extra = ["CMD_MOVABLE_KEYS"] if self.movable else []
        extra += [flag for field, flag in own.items() if self.entry.get(field)]
        return " | ".join(([names] if names != "0" else []) + extra) or "0"


def legacy_range(specs):
    """first, last, step of COMMAND INFO, and whether that is not all: as Redis merges key specs."""
    plain = [s for s in specs if "begin" in s and "keynum" not in s]
    movable = len(plain) < len(specs) or any("incomplete" in s["flags"] for s in specs)
    if len(specs) == 1 and plain:
        last = plain[0].get("last", 0)
        return plain[0]["begin"], last if last < 0 else last + plain[0]["begin"], \
            plain[0].get("step", 1), movable
    first, last = 0, 0
    for spec in plain:
        if spec.get("step", 1) != 1 or (last and last != spec["begin"] - 1):
            movable = True
            continue
        first = min(first, spec["begin"]) if first else spec["begin"]
        here = spec.get("last", 0)
        here = here if here < 0 else here + spec["begin"]
        last = max(last & 0xFFFFFFFF, here & 0xFFFFFFFF)
        last = last - (1 << 32) if last >> 31 else last
    return (first, last, 1, movable) if first else (0, 0, 0, movable)


def load(paths):
    commands, containers = [], {}
    for path in paths:
        group = pathlib.Path(path).stem
        with open(path, "rb") as f:
            for name, entry in tomllib.load(f).items():
                commands.append(Command(name, group, entry))
    for c in commands:
        if "|" not in c.name:
            if c.name in containers:
                fail(c.name, "is there twice")
            containers[c.name] = c
    for c in commands:
        if "|" in c.name:
            c.parent = containers.get(c.name.split("|")[0]) or fail(c.name, "no such container")
            c.parent.subcommands.append(c)
    return sorted(commands, key=lambda c: c.name)


def name_hash(name):
    """As name_hash() of src/cmd/command.c: first and last eight bytes, little endian; length."""
    raw = name.encode()
    head = int.from_bytes(raw[:8], "little")
    tail = int.from_bytes(raw[-8:], "little") if len(raw) > 8 else 0
    mixed = head ^ (tail * 0x9E3779B97F4A7C15 & MASK64) ^ len(raw)
    return head, (mixed * 0xD6E8FEB86659FD93 & MASK64) >> 32 & HASH_SLOTS - 1


class Writer:
    """Collects the arrays that the table points into."""

    def __init__(self):
        self.lines = []

    def array(self, kind, name, items):
        if not items:
            return "NULL"
        self.lines.append(f"static const {kind} {name}[] = {{")
        self.lines += [f"    {item}," for item in items]
        self.lines.append("};")
        return name

    def args(self, command, name, args, specs):
        items = []
        for i, arg in enumerate(args):
            known(command, arg, ARG_FIELDS)
            inner = arg.get("oneof") or arg.get("block")
            kind = "oneof" if "oneof" in arg else "block" if "block" in arg else \
                arg.get("type", "pure-token")
            known(command, [kind], TYPES)
            if kind == "pure-token" and "token" not in arg:
                fail(command, f"argument {arg['name']} has neither type nor token")
            spec = arg.get("spec", 0 if kind == "key" else -1)
            if spec >= len(specs):
                fail(command, f"argument {arg['name']} names no key spec")
            flags = [f for f in ("optional", "multiple", "multiple_token") if arg.get(f)]
            sub = self.args(command, f"{name}_{i}", inner, specs) if inner else "NULL"
            items.append(
                f"{{.name = {c_string(arg['name'])}, .type = {constants('ARG_', [kind])}, "
                f".token = {c_string(arg.get('token'))}, .spec = {spec}, "
                f".flags = {constants('ARG_', flags)}, .since = {c_string(arg.get('since'))}, "
                f".deprecated_since = {c_string(arg.get('deprecated_since'))}, "
                f".summary = {c_string(arg.get('summary'))}, "
                f".args = {sub}, .arg_count = {len(inner or [])}}}")
        return self.array("struct command_arg", name, items)

    def docs(self, c):
        entry, name = c.entry, symbol(c.name)
        known(c.name, entry.get("doc_flags", []), DOC_FLAGS)
        history = self.array("struct command_history", f"history_{name}", [
            f"{{{c_string(v)}, {c_string(t)}}}" for v, t in entry.get("history", [])])
        tips = self.array("char *const", f"tips_{name}",
                          [c_string(t) for t in entry.get("tips", [])])
        args = self.args(c.name, f"args_{name}", entry.get("args", []), c.specs)
        self.lines += [
            f"static const struct command_docs docs_{name} = {{",
            f"    .summary = {c_string(entry['summary'])},",
            f"    .since = {c_string(entry['since'])}, .group = {c_string(c.group)},",
            f"    .complexity = {c_string(entry.get('complexity'))},",
            f"    .deprecated_since = {c_string(entry.get('deprecated_since'))},",
            f"    .replaced_by = {c_string(entry.get('replaced_by'))},",
            f"    .flags = {constants('DOC_', entry.get('doc_flags', []))},",
            f"    .history = {history}, .history_count = {len(entry.get('history', []))},",
            f"    .tips = {tips}, .tip_count = {len(entry.get('tips', []))},",
            f"    .args = {args}, .arg_count = {len(entry.get('args', []))},",
            "};"]

    def specs(self, c):
        items = []
        for s in c.specs:
            begin = "KEYS_BEGIN_INDEX" if "begin" in s else \
                "KEYS_BEGIN_KEYWORD" if "keyword" in s else "KEYS_BEGIN_UNKNOWN"
            find = "KEYS_FIND_KEYNUM" if "keynum" in s else \
                "KEYS_FIND_UNKNOWN" if s.get("unknown") else "KEYS_FIND_RANGE"
            items.append(
                f"{{.flags = {key_constants(s['flags'])}, .begin = {begin}, .find = {find}, "
                f".index = {s.get('begin', 0)}, .keyword = {c_string(s.get('keyword'))}, "
                f".from = {s.get('from', 0)}, .last = {s.get('last', 0)}, "
                f".step = {s.get('step', 1)}, .limit = {s.get('limit', 0)}, "
                f".keynum = {s.get('keynum', 0)}, .first = {s.get('first', 0)}, "
                f".notes = {c_string(s.get('notes'))}}}")
        return self.array("struct key_spec", f"specs_{symbol(c.name)}", items)


def table_row(c, ids, specs, subcommands):
    union = [f for f in KEY_FLAGS if any(f in s["flags"] for s in c.specs)]
    parent = f"&commands_table[{ids[c.parent.name]}]" if c.parent else "NULL"
    return [
        f"    [{ids[c.name]}] = {{",
        f"        .name = {c_string(c.name)}, .arity = {c.entry['arity']},",
        f"        .route = ROUTE_{c.route.upper()}, .split = SPLIT_{c.split.upper()},",
        f"        .flags = {c.all_flags()},",
        f"        .acl = {constants('ACL_', c.categories())},",
        f"        .key_first = {c.first}, .key_last = {c.last}, .key_step = {c.step},",
        f"        .key_flags = {key_constants(union)},",
        f"        .keys = {c.keys_function()}, .handler = {c.handler() or 'NULL'},",
        f"        .whole = {c.entry.get('whole', 'NULL')},",
        f"        .parent = {parent}, .subcommands = {subcommands},",
        f"        .id = {ids[c.name]}, .key_spec_count = {len(c.specs)}, .key_specs = {specs},",
        f"        .docs = &docs_{symbol(c.name)},",
        "    },"]


def table_c(commands):
    ids = {c.name: i for i, c in enumerate(commands)}
    w = Writer()
    rows = []
    for c in commands:
        w.docs(c)
        subcommands = w.array("struct command *const", f"subcommands_{symbol(c.name)}",
                              [f"&commands_table[{ids[s.name]}]" for s in c.subcommands] + ["NULL"]
                              if c.subcommands else [])
        rows += table_row(c, ids, w.specs(c), subcommands)
    slots = [None] * HASH_SLOTS
    for c in commands:
        if c.parent:
            continue
        head, at = name_hash(c.name)
        while slots[at]:
            at = (at + 1) % HASH_SLOTS
        slots[at] = f"    [{at}] = {{{head:#x}u, {ids[c.name] + 1}, {len(c.name)}}}, /* {c.name} */"
    return w.lines + [
        f"const struct command commands_table[{len(commands)}] = {{", *rows, "};",
        f"const size_t commands_table_count = {len(commands)};",
        "const struct command_slot command_slots[COMMAND_SLOTS] = {",
        *[s for s in slots if s], "};"]


def main():
    out, paths = pathlib.Path(sys.argv[1]), sys.argv[2:]
    commands = load(paths)
    handlers = sorted({c.handler() for c in commands if c.handler()})
    note = "/* Written by tools/gen_commands.py. Thread: any (constant). */\n"

    header = [note + "#ifndef SPLITRING_COMMANDS_TABLE_H", "#define SPLITRING_COMMANDS_TABLE_H", "",
              "struct call;", "", *[f"void {h}(struct call *call);" for h in handlers], "",
              "#endif"]
    body = [note + '#include "docs.h"', '#include "commands_table.h"', ""] + table_c(commands)
    body.insert(1, f"static_assert(COMMAND_SLOTS == {HASH_SLOTS}, \"tools/gen_commands.py\");")
    stubs = [note + "/* For tests that want the table without the handlers. */",
             "#include <stdlib.h>", '#include "commands_table.h"', "",
             *[f"__attribute__((weak)) void {h}(struct call *call) {{ (void)call; abort(); }}"
               for h in handlers]]
    listing = [{"name": c.name, "group": c.group, "arity": c.entry["arity"], "flags": c.flags,
                "categories": c.categories(), "route": c.route, "split": c.split,
                "handler": c.handler(), "since": c.entry["since"]} for c in commands]

    out.mkdir(parents=True, exist_ok=True)
    (out / "commands_table.h").write_text("\n".join(header) + "\n", encoding="ascii")
    (out / "commands_table.c").write_text("\n".join(body) + "\n", encoding="ascii")
    (out / "commands_stubs.c").write_text("\n".join(stubs) + "\n", encoding="ascii")
    (out / "commands_list.json").write_text(json.dumps(listing, indent=1) + "\n", encoding="ascii")


if __name__ == "__main__":
    main()
