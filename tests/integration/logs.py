"""Append logs made by hand: commands, checksum lines, manifests. No tests of its own."""

from pathlib import Path

POLYNOMIAL = 0x95AC9329AC4BC9B5  # Jones' 0xad93d23594c935a9, bits reflected
MARK = b"#CRC:0000000000000000:0\r\n"


def _table():
    rows = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (POLYNOMIAL if crc & 1 else 0)
        rows.append(crc)
    return rows


TABLE = _table()


def crc64(data, crc=0):
    for byte in data:
        crc = TABLE[(crc ^ byte) & 255] ^ crc >> 8
    return crc


def command(*args):
    parts = [arg if isinstance(arg, bytes) else str(arg).encode() for arg in args]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)


def commands(*rows):
    return b"".join(command(*row) for row in rows)


def block(data):
    return data + b"#CRC:%016x:%d\r\n" % (crc64(data), len(data))


def summed(*blocks):
    """A log with checksums, of what was written at once each time."""
    return MARK + b"".join(block(data) for data in blocks)


def manifest(*files):
    """(name, number, type), with a checksum as Splitring writes it."""
    text = b"".join(b"file %s seq %d type %s\n" % (name.encode(), seq, kind.encode())
                    for name, seq, kind in files)
    return b"#CRC:%016x:%d\n" % (crc64(text), len(text)) + text


def write(folder, *logs, base=None, name="appendonly.aof"):
    """Incr files with these contents, and what names them. Returns the last one's path."""
    where = Path(folder) / "appendonlydir"
    where.mkdir(exist_ok=True)
    files = []
    if base is not None:
        ending = "rdb" if base.startswith(b"REDIS") else "aof"
        files.append((f"{name}.1.base.{ending}", 1, "b"))
        (where / files[-1][0]).write_bytes(base)
    for seq, data in enumerate(logs, 1):
        files.append((f"{name}.{seq}.incr.aof", seq, "i"))
        (where / files[-1][0]).write_bytes(data)
    (where / f"{name}.manifest").write_bytes(manifest(*files))
    return where / files[-1][0]
