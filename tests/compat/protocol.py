"""What is no well-formed command, byte for byte beside Debian's redis-server 7.0: inline lines and
their quotes, protocol errors and limits, requests in pieces.

Each input goes to a fresh connection of both servers, followed by an ECHO that marks the end; what
comes back until then, or until the server closes, must be the same bytes.

Known and wanted differences, not asked here: a NUL byte (Redis looks for line ends with strchr and
waits forever), lines of about 64 KiB (Redis counts what a read left in its buffer).
"""
# matrix: once

import random
import socket
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import support  # noqa: E402

MARK = b"*2\r\n$4\r\nECHO\r\n$7\r\nthe-end\r\n"
MARK_REPLY = b"$7\r\nthe-end\r\n"
CLOSED = b"<closed>"
SECONDS = 20

INLINE = [
    b"PING", b"ping", b" PING ", b"\tPING\t", b"ECHO a", b"ECHO  a", b"ECHO a b", b"ECHO \"a b\"",
    b"ECHO 'a b'", b"ECHO \"\"", b"ECHO ''", b"ECHO foo\"bar\"", b"ECHO foo'b r'", b"ECHO \"a\"b",
    b"ECHO 'a'b", b"ECHO \"a\"\"b\"", b"ECHO \"a", b"ECHO 'a", b"ECHO \"a\\\"", b"ECHO '\\''",
    b"ECHO '\\x41\\n'", b"ECHO \"\\x41\\x7a\\n\\r\\t\\b\\a\\q\\\\\"", b"ECHO \"\\xg1\\x4\"",
    b"ECHO \"\\x\"", b"ECHO \"\\\"", b"ECHO a\\nb", b"ECHO \\", b"ECHO \"it's\"", b"ECHO 'q\"q'",
    b"ECHO a\vb", b"\v\fECHO a", b"ECHO \"a\"\vb", b"ECHO a\rb", b"\"", b"'", b"\"\"", b"''",
    b"\"PING\"",
    b"'PI'", b"ECHO \xff\xfe", b"ECHO \"\\xff\\x00\"", b"ECHO \"a\\", b"ECHO 'a\\",
    b"*", b"+PING", b"$4", b":1", b"-ERR x", b"ECHO *1", b"nosuch \"x y\"",
]
FRAMES = [
    b"*abc\r\n", b"*\r\n", b"*+1\r\n", b"*01\r\n", b"* 1\r\n", b"*1 \r\n", b"*-0\r\n", b"*1x\r\n",
    b"*2147483648\r\n", b"*99999999999999999999999\r\n", b"*-99999999999999999999999\r\n",
    b"*0\r\n", b"*-1\r\n", b"*-9223372036854775808\r\n", b"\r\n", b"\n", b"\r\n\r\n",
    b"*1\r\n$-1\r\n", b"*1\r\n$\r\n", b"*1\r\n$04\r\nPING\r\n", b"*1\r\n$4 \r\nPING\r\n",
    b"*1\r\n$+4\r\nPING\r\n", b"*1\r\n$536870913\r\n", b"*1\r\n$99999999999999999999\r\n",
    b"*2\r\n$1\r\na\r\n:1\r\n", b"*1\r\n\r\n", b"*1\r\n12\r\n", b"*1\r\n\x80\r\n", b"*1\r\n%\r\n",
    b"*1\r\n$0\r\n\r\n", b"*2\r\n$4\r\nECHO\r\n$0\r\n\r\n", b"*1\rX$4\rYPINGZZ",
    b"*1\r\n$4\r\nPINGXX", b"*2\r\n$4\r\nECHO\r\n$4\r\n\r\n\r\n\r\n",
    b"*1\r\n*1\r\n", b"*1\r\nPING\r\n", b"*3\r\n$4\r\nECHO\r\n$1\r\na\r\n\r\n",
    b"*2\r\n$4\r\nECHO\r\n$70000\r\n" + b"x" * 70000 + b"\r\n",
    b"*1025\r\n" + b"$4\r\nECHO\r\n" + b"$1\r\na\r\n" * 1024,
]
UNAUTH = [
    b"*11\r\n", b"*10\r\n" + b"$1\r\na\r\n" * 10, b"*2\r\n$4\r\nECHO\r\n$16385\r\n",
    b"*2\r\n$4\r\nECHO\r\n$16384\r\n" + b"x" * 16384 + b"\r\n",
    b"*2\r\n$4\r\nECHO\r\n$536870913\r\n",
    b"*2\r\n$4\r\nAUTH\r\n$6\r\nsecret\r\n*11\r\n" + b"$4\r\nECHO\r\n" * 11,
    b"PING\r\n", b"AUTH secret\r\n",
]


def answer(server, data, cuts=None):
    """All bytes until the mark is answered or the server closes."""
    with socket.create_connection(server.address, timeout=SECONDS) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        out = b""
        try:
            if cuts is None:
                sock.sendall(data + MARK)
            else:
                whole = data + MARK
                for begin, end in zip([0] + cuts, cuts + [len(whole)]):
                    sock.sendall(whole[begin:end])
            while not out.endswith(MARK_REPLY):
                more = sock.recv(1 << 20)
                if not more:
                    return out + CLOSED
                out += more
        except (ConnectionResetError, BrokenPipeError):
            return out + CLOSED
        return out


class Protocol(support.ServerTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.peer = support.oracle()
        cls.addClassCleanup(cls.peer.stop)

    def same(self, data, cuts=None):
        ours, theirs = answer(self.server, data, cuts), answer(self.peer, data)
        if (cuts or len(data) > 16000) and CLOSED in (ours, theirs):
            # Refused while more was on its way: the reset may have overtaken the reply.
            self.assertEqual(ours[-len(CLOSED):], theirs[-len(CLOSED):], data[:80])
            return
        self.assertEqual(ours[:500], theirs[:500], data[:80])
        self.assertEqual(len(ours), len(theirs), data[:80])

    def test_inline(self):
        for line in INLINE:
            for end in (b"\r\n", b"\n"):
                with self.subTest(line=line, end=end):
                    self.same(line + end)

    def test_inline_random(self):
        rng = random.Random(7)
        alphabet = [b"\"", b"'", b"\\", b" ", b"a", b"x41", b"n", b"\t", b"\\\"", b"\\'"]
        for _ in range(300):
            line = b"ECHO " + b"".join(rng.choice(alphabet) for _ in range(rng.randrange(1, 9)))
            self.same(line + b"\r\n")

    def test_frames(self):
        for frame in FRAMES:
            with self.subTest(frame=frame[:40], length=len(frame)):
                self.same(frame)

    def test_frames_in_pieces(self):
        rng = random.Random(8)
        for frame in FRAMES:
            if len(frame) < 100:
                with self.subTest(frame=frame):
                    cuts = sorted(rng.sample(range(1, len(frame) + len(MARK)), 6))
                    self.same(frame, cuts)

    def test_errors_come_after_what_was_fine(self):
        self.same(b"PING\r\nECHO a\r\n*x\r\nPING\r\n")
        self.same(b"*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n*1\r\n$-5\r\nPING\r\n")


class Unauthenticated(Protocol):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for server in (cls.server, cls.peer):
            with server.client() as client:
                client.ok("CONFIG", "SET", "requirepass", "secret")

    def setUp(self):
        pass

    def same(self, data, cuts=None):
        """Signs in before the mark, so that it is answered."""
        with_auth = b"*2\r\n$4\r\nAUTH\r\n$6\r\nsecret\r\n"
        super().same(data + with_auth, cuts)

    def test_limits(self):
        for frame in UNAUTH:
            with self.subTest(frame=frame[:40]):
                self.same(frame)


if __name__ == "__main__":
    unittest.main()
