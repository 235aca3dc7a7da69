#!/usr/bin/python3
"""Compares the modules struct and cmsgpack with redis-server's, by seeded random scripts.

Each script calls one function with made-up arguments (half of them sensible, the rest hostile:
odd formats, cut-off and random bytes) and returns a text of everything it gave, errors included.
Both servers must give the same text. Maps have one pair: the order of `next` is the VM's own, and
so is the sign of a key that is zero. No call is a tail call: LuaJIT forgets the caller of a C
function there, and with it the place of an error.
"""
# matrix: once

import os
import random
import struct
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import support  # noqa: E402

SERIALIZER = """
local function text(v)
  local t = type(v)
  if t == 'number' then
    if v ~= v then return 'nan' end
    return string.format('%.17g', v)
  elseif t == 'string' then return '"' .. v .. '"'
  elseif t == 'table' then
    local parts = {}
    for k, x in pairs(v) do parts[#parts + 1] = text(k == 0 and 0 or k) .. '=' .. text(x) end
    table.sort(parts)
    return '{' .. table.concat(parts, ',') .. '}'
  end
  return tostring(v)
end
local function numbers(count)
  local t = {}
  for i = 1, count do t[i] = i % 3 end
  return t
end
local function keep(...) return ... end
local function all(...)
  local parts = {}
  for i = 1, select('#', ...) do parts[i] = text((select(i, ...))) end
  return table.concat(parts, ';')
end
"""


def lua_bytes(data):
    return '"' + "".join(f"\\{b:03d}" for b in data) + '"'


# A literal -0 would be merged with 0 by Lua 5.1, so it is made when the script runs.
NUMBERS = ["0", "-tonumber('0')", "1", "-1", "31", "32", "-32", "-33", "127", "128", "-128",
           "-129", "255", "256", "32767", "-32768", "32768", "65535", "65536", "2147483647",
           "2147483648", "-2147483648", "-2147483649", "4294967295", "4294967296", "2^53",
           "2^53+2", "2^62", "2^63", "-2^63", "2^64", "-2^64", "1e300", "-1e300", "1e30", "0.1",
           "0.5", "-0.5", "1.5", "3.25", "1/0", "-1/0", "0/0", "1e-320", "3.4028235e38",
           "3.4028236e38", "1e-46"]


class Maker:
    def __init__(self, seed):
        self.rng = random.Random(seed)

    def number(self):
        if self.rng.random() < 0.5:
            return self.rng.choice(NUMBERS)
        return str(self.rng.randint(-2 ** self.rng.randint(1, 66), 2 ** self.rng.randint(1, 66)))

    def bytes(self, most=20):
        alphabet = self.rng.choice([b"\0a", b"abc", bytes(range(256))])
        return bytes(self.rng.choices(alphabet, k=self.rng.randint(0, most)))

    # ---- struct

    def format(self):
        rng = self.rng
        parts = []
        for _ in range(rng.randint(0, 7)):
            what = rng.random()
            if what < 0.55:
                parts.append(rng.choice("bBhHlLTfdiIxs"))
            elif what < 0.75:
                parts.append(rng.choice("iI") + str(rng.choice(
                    [0, 1, 2, 3, 4, 5, 7, 8, 9, 12, 16, 31, 32, 33, 99, rng.randint(0, 40)])))
            elif what < 0.82:
                parts.append("c" + str(rng.choice([0, 1, 2, 3, 5, 8, 40])))
            elif what < 0.86:
                parts.append("Bc0")
            elif what < 0.98:
                parts.append(rng.choice(["<", ">", " ", "!", "!1", "!2", "!4", "!8", "!16"]))
            else:
                parts.append(rng.choice(["!3", "!0", "z", "=", "5", "c99999999999", "c", "é",
                                         "i2147483647", "!2147483648", "i2147483648", "c2147483647",
                                         "!1073741824"]))
        return "".join(parts).encode()

    def argument(self):
        what = self.rng.random()
        if what < 0.7:
            number = self.number()
            return number if number != "0/0" else "1/0"  # as a text: -nan in Lua 5.1, nan in LuaJIT
        if what < 0.95:
            return lua_bytes(self.bytes())
        return self.rng.choice(["nil", "true", "{}", "'12'", "'0x10'", "' 7 '"])

    def argument_for(self, letter):
        if self.rng.random() < 0.03:
            return self.argument()
        return lua_bytes(self.bytes()) if letter in "cs" else self.number()

    def struct_pack(self):
        form = self.format()
        arguments = [self.argument_for(c) for c in form.decode() if c in "bBhHlLTfdiIcs"]
        if self.rng.random() < 0.1:
            arguments = arguments[:-1]
        return f"struct.pack({', '.join([lua_bytes(form)] + arguments)})"

    def struct_unpack(self):
        form = self.format()
        data = self.bytes(60) if self.rng.random() < 0.9 else b""
        position = ""
        if self.rng.random() < 0.4:
            position = ", " + self.rng.choice(["1", "2", "5", "0", "-1", "-2", "-9", "100", "2^62",
                                               "2^63", "1.7", "'3'", "nil", "{}", "1e300"])
        return f"struct.unpack({lua_bytes(form)}, {lua_bytes(data)}{position})"

    def struct_size(self):
        return f"struct.size({lua_bytes(self.format())})"

    # ---- cmsgpack

    def value(self, depth=0):
        rng = self.rng
        what = rng.random()
        if what < 0.35:
            return self.number()
        if what < 0.55:
            length = rng.choice([0, 1, 31, 32, 33, 255, 256, 300, 65535, 65536])
            return f"string.rep({lua_bytes(self.bytes(1) or b'x')}, {length})"
        if what < 0.6:
            return rng.choice(["true", "false", "string.len", "struct.pack"])
        if what < 0.65:
            count = rng.choice([0, 1, 15, 16, 17, 65535, 65536])
            return f"numbers({count})"
        if depth > 4:
            return "nil"
        if what < 0.85:
            items = [self.value(depth + 1) for _ in range(rng.randint(0, 4))]
            return "{" + ", ".join(item for item in items if item != "nil") + "}"
        key = rng.choice(["'k'", "2", "1.5", "-1", "0", "true", "2^31", "2^40", "1", "{}", "1/0"])
        return "{[" + key + "] = " + self.value(depth + 1) + "}"

    def nested(self):
        depth = self.rng.randint(13, 20)
        return "{" * depth + self.value(4) + "}" * depth

    def cmsgpack_pack(self):
        if self.rng.random() < 0.1:
            return f"cmsgpack.pack({self.nested()})"
        count = self.rng.choice([0, 1, 1, 1, 1, 2, 5])
        return f"cmsgpack.pack({', '.join(self.value() for _ in range(count))})"

    def message(self, depth=0):
        """Bytes that are MessagePack, in any of its forms."""
        rng = self.rng
        what = rng.randint(0, 15)
        if what < 4 or depth > 5:
            return bytes([rng.choice([0xc0, 0xc2, 0xc3, 0, 1, 0x7f, 0xe0, 0xff, 0x20])])
        if what < 8:
            head, size = rng.choice([(0xcc, 1), (0xcd, 2), (0xce, 4), (0xcf, 8), (0xd0, 1),
                                     (0xd1, 2), (0xd2, 4), (0xd3, 8), (0xca, 4), (0xcb, 8)])
            lowest = b"\x80" + bytes(size - 1)
            return bytes([head]) + rng.choice([rng.randbytes(size), b"\xff" * size, lowest])
        if what < 11:
            data = self.bytes(40)
            forms = [b"\xd9" + bytes([len(data)]), b"\xda" + struct.pack(">H", len(data)),
                     b"\xdb" + struct.pack(">I", len(data))]
            if len(data) < 32:
                forms.append(bytes([0xa0 | len(data)]))
            if rng.random() < 0.05:
                forms = [b"\xc4" + bytes([len(data)])]
            return rng.choice(forms) + data
        count = rng.randint(0, 4)
        if what < 14:
            head = rng.choice([bytes([0x90 | count]), b"\xdc" + struct.pack(">H", count),
                               b"\xdd" + struct.pack(">I", count)])
            return head + b"".join(self.message(depth + 1) for _ in range(count))
        head = rng.choice([bytes([0x80 | count]), b"\xde" + struct.pack(">H", count),
                           b"\xdf" + struct.pack(">I", count)])
        return head + b"".join(self.message(depth + 1) for _ in range(2 * count))

    def packed(self):
        rng = self.rng
        what = rng.random()
        if what < 0.1:
            return rng.randbytes(rng.randint(0, 30))
        data = b"".join(self.message() for _ in range(rng.randint(0, 4)))
        if what < 0.2:
            return data[:rng.randint(0, len(data))]
        if what < 0.25 and data:
            at = rng.randrange(len(data))
            return data[:at] + rng.randbytes(1) + data[at + 1:]
        if what < 0.27:
            unit = rng.choice([b"\x91", b"\x81", b"\x92\x01", b"\xdd\xff\xff\xff\xff"])
            return unit * rng.choice([100, 3000, 5000, 9000])
        if what < 0.28:
            return b"\x01" * rng.choice([7000, 7990, 8100, 20000])
        return data

    def cmsgpack_unpack(self):
        return f"cmsgpack.unpack({lua_bytes(self.packed())})"

    def cmsgpack_unpack_one(self):
        offset = self.rng.choice(["", ", 0", ", 1", ", 2", ", -1", ", 1000", ", '1'", ", {}"])
        return f"cmsgpack.unpack_one({lua_bytes(self.packed())}{offset})"

    def cmsgpack_unpack_limit(self):
        rest = self.rng.choice([", 0", ", 1", ", 2, 0", ", 1, 1", ", 5, 2", ", -1", ", 2, -2", "",
                                ", 0, 1", ", nil", ", 2^31, 0", ", 100, 0", ", 1, 2^32",
                                ", 2^33, 1", ", -2^40", ", 1, -2^32", ", 2^62, 2^62"])
        return f"cmsgpack.unpack_limit({lua_bytes(self.packed())}{rest})"

    def script(self):
        makers = [self.struct_pack, self.struct_unpack, self.struct_size, self.cmsgpack_pack,
                  self.cmsgpack_unpack, self.cmsgpack_unpack_one, self.cmsgpack_unpack_limit]
        call = self.rng.choice(makers)()
        how = f"pcall(function() return keep({call}) end)"
        if self.rng.random() < 0.2:  # the function itself, so that nobody knows its name
            name, rest = call.split("(", 1)
            how = f"pcall({name}{', ' if rest != ')' else ''}{rest}"
        return f"{SERIALIZER}return all({how})"


FIXED = [
    "return cmsgpack._NAME .. cmsgpack._VERSION .. cmsgpack._COPYRIGHT .. cmsgpack._DESCRIPTION",
    "local t = {} for k in pairs(cmsgpack) do t[#t + 1] = k end table.sort(t) "
    "return table.concat(t, ',')",
    "local t = {} for k in pairs(struct) do t[#t + 1] = k end table.sort(t) "
    "return table.concat(t, ',')",
    "local t = {} t[1] = t return cmsgpack.pack(t)",
    "local t = {} t.a = t return cmsgpack.pack(t)",
]


def compare(mine, other, seed, count):
    """mine, other: functions from a script to its reply. The number of differences, printed."""
    maker = Maker(seed)
    scripts = FIXED + [maker.script() for _ in range(count)]
    wrong = 0
    for number, script in enumerate(scripts):
        got, expected = mine(script), other(script)
        if got != expected:
            wrong += 1
            body = script[len(SERIALIZER):] if script.startswith(SERIALIZER) else script
            print(f"seed {seed} script {number}: {body[:2000]}\n  mine  {got[:300]!r}\n"
                  f"  redis {expected[:300]!r}")
    print(f"seed {seed}: {len(scripts)} scripts, {wrong} differ")
    return wrong


class Modules(unittest.TestCase):
    """SPLITRING_SEED and SPLITRING_SCRIPTS choose other scripts, and more of them."""

    def test_same_as_redis(self):
        seed = int(os.environ.get("SPLITRING_SEED", "1"))
        count = int(os.environ.get("SPLITRING_SCRIPTS", "3000"))
        with support.server() as server, support.oracle() as oracle:
            with server.client() as mine, oracle.client() as other:
                wrong = compare(lambda s: mine.call("EVAL", s, 0),
                                lambda s: other.call("EVAL", s, 0), seed, count)
        self.assertEqual(wrong, 0)


if __name__ == "__main__":
    unittest.main()
