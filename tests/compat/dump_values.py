"""Values for tests/compat/dump.py: commands that make them, and payloads in every encoding that RDB
has had, built by hand.

Formats: https://rdb.fnordig.de/file_format.html and the sources of redis-server.
"""

import struct

POLY = 0x95ac9329ac4bc9b5
CRC = []
for byte in range(256):
    for _ in range(8):
        byte = byte >> 1 ^ POLY if byte & 1 else byte >> 1
    CRC.append(byte)


def crc64(data):
    crc = 0
    for byte in data:
        crc = CRC[(crc ^ byte) & 255] ^ crc >> 8
    return crc


def payload(value, version=10):
    data = value + struct.pack("<H", version)
    return data + struct.pack("<Q", crc64(data))


# ---- RDB's alphabet -----------------------------------------------------------------------------

def length(n):
    if n < 64:
        return bytes([n])
    if n < 1 << 14:
        return bytes([0x40 | n >> 8, n & 255])
    if n < 1 << 32:
        return b"\x80" + struct.pack(">I", n)
    return b"\x81" + struct.pack(">Q", n)


def text(data):
    return length(len(data)) + data


def old_double(score):
    if score in (float("inf"), float("-inf")):
        return b"\xfe" if score > 0 else b"\xff"
    digits = b"%.17g" % score
    return bytes([len(digits)]) + digits


# ---- packed blocks ------------------------------------------------------------------------------

def as_number(data):
    try:
        number = int(data)
    except ValueError:
        return None
    same = b"%d" % number == data and -1 << 63 <= number < 1 << 63
    return number if same else None


def ziplist(elements):
    body, before, tail = b"", 0, 10
    for element in elements:
        tail = 10 + len(body)
        entry = bytes([before]) if before < 254 else b"\xfe" + struct.pack("<I", before)
        number = as_number(element)
        if number is not None and 0 <= number <= 12:
            entry += bytes([0xf1 + number])
        elif number is not None:
            for kind, size in ((0xfe, 1), (0xc0, 2), (0xf0, 3), (0xd0, 4), (0xe0, 8)):
                if -1 << 8 * size - 1 <= number < 1 << 8 * size - 1:
                    entry += bytes([kind]) + number.to_bytes(size, "little", signed=True)
                    break
        elif len(element) < 64:
            entry += bytes([len(element)]) + element
        elif len(element) < 1 << 14:
            entry += bytes([0x40 | len(element) >> 8, len(element) & 255]) + element
        else:
            entry += b"\x80" + struct.pack(">I", len(element)) + element
        body += entry
        before = len(entry)
    return struct.pack("<IIH", 11 + len(body), tail, min(len(elements), 65535)) + body + b"\xff"


def zipmap(pairs, slack=0):
    def size(data):
        small = len(data) < 254
        return bytes([len(data)]) if small else b"\xfe" + struct.pack("<I", len(data))

    body = b""
    for field, value in pairs:
        body += size(field) + field + size(value) + bytes([slack]) + value + b"\0" * slack
    return bytes([min(len(pairs), 254)]) + body + b"\xff"


def listpack(elements):
    body = b""
    for element in elements:
        number = as_number(element)
        if number is not None and 0 <= number <= 127:
            entry = bytes([number])
        elif number is not None and -4096 <= number <= 4095:
            entry = bytes([0xc0 | (number & 0x1fff) >> 8, number & 255])
        elif number is not None:
            for kind, size in ((0xf1, 2), (0xf2, 3), (0xf3, 4), (0xf4, 8)):
                if -1 << 8 * size - 1 <= number < 1 << 8 * size - 1:
                    entry = bytes([kind]) + number.to_bytes(size, "little", signed=True)
                    break
        elif len(element) < 64:
            entry = bytes([0x80 | len(element)]) + element
        elif len(element) < 4096:
            entry = bytes([0xe0 | len(element) >> 8, len(element) & 255]) + element
        else:
            entry = b"\xf0" + struct.pack("<I", len(element)) + element
        size = len(entry)
        groups = 1 if size <= 127 else 2 if size < 16383 else 3 if size < 2097151 else 4
        for i in range(groups):
            group = size >> 7 * (groups - 1 - i) & 127
            entry += bytes([group | (128 if i else 0)])
        body += entry
    return struct.pack("<IH", 7 + len(body), min(len(elements), 65535)) + body + b"\xff"


def intset(numbers):
    widest = max((abs(n) if n >= 0 else abs(n + 1) for n in numbers), default=0)
    width = 2 if widest < 1 << 15 else 4 if widest < 1 << 31 else 8
    return struct.pack("<II", width, len(numbers)) + b"".join(
        n.to_bytes(width, "little", signed=True) for n in sorted(numbers))


# ---- random words -------------------------------------------------------------------------------

def element(rng):
    pick = rng.random()
    if pick < 0.3:
        width = rng.choice([3, 7, 8, 12, 13, 15, 16, 23, 24, 31, 32, 63])
        return b"%d" % rng.choice([rng.randrange(-1 << width, 1 << width), (1 << width) - 1,
                                   -1 << width])
    if pick < 0.4:
        return rng.choice([b"", b"-0", b"01", b"+1", b"1.5", b"9223372036854775808", b"a"])
    if pick < 0.8:
        return rng.randbytes(rng.randrange(1, 30))
    if pick < 0.97:
        return bytes(rng.choice(b"abc") for _ in range(rng.choice([20, 63, 64, 65, 130, 300])))
    return rng.choice([b"x", rng.randbytes(1)]) * rng.choice([4094, 4096, 7000])


def distinct(rng, count):
    found = {}
    while len(found) < count:
        found[element(rng) if rng.random() < 0.7 else b"member:%d" % rng.randrange(1 << 30)] = None
    return list(found)


def score(rng):
    """One that redis-server 7.0, which prints 17 digits, spells as 7.2 does (shortest)."""
    return rng.choice([rng.randrange(-5, 5), rng.randrange(-1 << 40, 1 << 40),
                       rng.randrange(-1000, 1000) / 8, float("inf"), float("-inf"), 2.0 ** 53,
                       -0.0])


def number_text(value):
    return b"inf" if value == float("inf") else b"-inf" if value == float("-inf") else \
        b"%.17g" % value


# ---- values by commands -------------------------------------------------------------------------

def make_string(rng):
    value = rng.choice([element(rng), rng.randbytes(rng.randrange(3000)),
                        b"".join(element(rng) for _ in range(rng.randrange(30)))])
    return [[b"SET", b"k", value]]


def make_list(rng):
    out = []
    for _ in range(rng.choice([1, 2, 5, 20])):
        words = [element(rng) for _ in range(rng.choice([1, 2, 10, 60, 300]))]
        out.append([rng.choice([b"RPUSH", b"RPUSH", b"LPUSH"]), b"k"] + words)
    for _ in range(rng.choice([0, 0, 3, 40])):
        out.append([rng.choice([b"RPOP", b"LPOP"]), b"k"])
    out.append([b"RPUSH", b"k", b"last"])
    return out


def make_set(rng):
    count = rng.choice([1, 3, 20, 130, 600])
    words = [b"%d" % rng.randrange(-1 << 20, 1 << 20) for _ in range(count)] \
        if rng.random() < 0.5 else distinct(rng, count)
    return [[b"SADD", b"k"] + words]


def make_zset(rng):
    out = [[b"ZADD", b"k"]]
    for member in distinct(rng, rng.choice([1, 3, 20, 100, 129, 400])):
        out[0] += [number_text(score(rng)), member]
    return out


def make_hash(rng):
    out = [[b"HSET", b"k"]]
    for field in distinct(rng, rng.choice([1, 3, 20, 127, 128, 600])):
        out[0] += [field, element(rng)]
    return out


def make_stream(rng):
    out, ms, seq = [], 1 + rng.randrange(1000), 0
    fields = [b"a", b"temp", b"12"]
    for _ in range(rng.choice([1, 5, 99, 101, 300])):
        if rng.random() < 0.5:
            ms, seq = ms + rng.randrange(1, 1 << rng.choice([3, 20, 40])), rng.randrange(3)
        else:
            seq += rng.randrange(1, 5)
        if rng.random() < 0.3:
            fields = [element(rng) for _ in range(rng.randrange(1, 5))]
        words = [word for field in fields for word in (field, element(rng))]
        out.append([b"XADD", b"k", b"%d-%d" % (ms, seq)] + words)
        if rng.random() < 0.1:
            out.append([b"XDEL", b"k", b"%d-%d" % (ms, seq)])
    if rng.random() < 0.3:
        out.append([b"XTRIM", b"k", b"MAXLEN", b"%d" % rng.randrange(1, 100)])
    if rng.random() < 0.1:
        out.append([b"XTRIM", b"k", b"MAXLEN", b"0"])
    for group in (b"g", b"zz", b"group of some length")[:rng.choice([0, 0, 1, 3])]:
        out.append([b"XGROUP", b"CREATE", b"k", group, rng.choice([b"0", b"$", b"5-1"])])
        for _ in range(rng.choice([0, 1, 5])):
            out.append([b"XREADGROUP", b"GROUP", group, rng.choice([b"c", b"d", b"7"]), b"COUNT",
                        b"%d" % rng.randrange(1, 60), b"STREAMS", b"k", b">"])
        if rng.random() < 0.3:
            out.append([b"XGROUP", b"CREATECONSUMER", b"k", group, b"idle"])
    return out


MAKERS = {"string": make_string, "list": make_list, "set": make_set, "zset": make_zset,
          "hash": make_hash, "stream": make_stream}


# ---- values by hand, in every old encoding ------------------------------------------------------

def pairs_of(rng, count):
    return [(field, element(rng)) for field in distinct(rng, count)]


def scored(rng, count):
    """Members with scores as a packed sorted set holds them."""
    members = [(score(rng), member) for member in distinct(rng, count)]
    return sorted(members, key=lambda pair: (pair[0], pair[1]))


def flat(pairs):
    return [word for pair in pairs for word in pair]


def old_value(rng):
    """(name, bytes without footer)"""
    count = rng.choice([1, 2, 10, 100, 140, 700])
    words = [element(rng) for _ in range(count)]
    members = distinct(rng, count)
    pairs = pairs_of(rng, min(count, 200))
    small = [(f[:250], v[:250]) for f, v in {p[0][:250]: p for p in pairs}.values()]
    small = list({f: (f, v) for f, v in small}.values())
    ranks = scored(rng, count)
    packed_ranks = flat((member, number_text(value)) for value, member in ranks)
    nodes = [[element(rng) for _ in range(rng.randrange(1, 60))]
             for _ in range(rng.randrange(1, 9))]
    numbers = {rng.randrange(-1 << 60, 1 << rng.choice([4, 20, 40, 60])) for _ in range(count)}
    values = {
        "list": b"\x01" + length(count) + b"".join(map(text, words)),
        "set": b"\x02" + length(count) + b"".join(map(text, members)),
        "zset": b"\x03" + length(count) + b"".join(
            text(member) + old_double(value) for value, member in ranks),
        "zset 2": b"\x05" + length(count) + b"".join(
            text(member) + struct.pack("<d", value) for value, member in reversed(ranks)),
        "hash": b"\x04" + length(len(pairs)) + b"".join(map(text, flat(pairs))),
        "hash zipmap": b"\x09" + text(zipmap(small, rng.randrange(4))),
        "hash long zipmap": b"\x09" + text(zipmap(pairs)),
        "list ziplist": b"\x0a" + text(ziplist(words)),
        "set intset": b"\x0b" + text(intset(numbers)),
        "zset ziplist": b"\x0c" + text(ziplist(packed_ranks)),
        "hash ziplist": b"\x0d" + text(ziplist(flat(pairs))),
        "list quicklist": b"\x0e" + length(len(nodes)) + b"".join(
            text(ziplist(node)) for node in nodes),
        "hash listpack": b"\x10" + text(listpack(flat(pairs))),
        "zset listpack": b"\x11" + text(listpack(packed_ranks)),
        "list quicklist 2": b"\x12" + length(len(nodes)) + b"".join(
            length(2) + text(listpack(node)) if rng.random() < 0.8 else
            length(1) + text(b"plain" * 3000) for node in nodes),
    }
    return rng.choice(list(values.items()))
