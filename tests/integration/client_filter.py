#!/usr/bin/python3
"""CLIENT LIST and CLIENT KILL: which clients a filter means, and what is no filter.

The options and the error texts are those of Valkey 9.1; where Redis 7 has another text for the same
thing, Redis' (CLIENT LIST ID with what is no number)."""

import unittest

import support

SYNTAX = b"ERR syntax error"
WRONG = [
    (["LIST", "ID"], SYNTAX), (["LIST", "ID", "abc"], b"ERR Invalid client ID"),
    (["LIST", "ID", 3, 4, "abc"], b"ERR Invalid client ID"), (["LIST", "TYPE"], SYNTAX),
    (["LIST", "TYPE", "foo"], b"ERR Unknown client type 'foo'"), (["LIST", "LADDR"], SYNTAX),
    (["LIST", "USER", "foo"], b"ERR No such user 'foo'"), (["LIST", "SKIPME", "foo"], SYNTAX),
    (["LIST", "ID", 3, "SKIPME"], b"ERR Invalid client ID"), (["LIST", "foo", "bar"], SYNTAX),
    (["LIST", "MAXAGE", "abc"], b"ERR maxage is not an integer or out of range"),
    (["LIST", "MAXAGE", 0], b"ERR maxage should be greater than 0"),
    (["LIST", "IDLE", "abc"], b"ERR idle is not an integer or out of range"),
    (["LIST", "IDLE", -1], b"ERR idle should be greater than 0"),
    (["LIST", "FLAGS", "xyz"], b"ERR Unknown flags found in the provided filter: xyz"),
    (["LIST", "NOT-FLAGS", "Z"], b"ERR Unknown flags found in the NOT-FLAGS filter: Z"),
    (["LIST", "CAPA", "xyz"], b"ERR Unknown capa found in the provided filter: xyz"),
    (["LIST", "DB", "abc"], b"ERR DB is not an integer or out of range"),
    (["LIST", "DB", 16], b"ERR DB number should be between 0 and 15"),
    (["LIST", "NOT-DB", -1], b"ERR NOT-DB number should be between 0 and 15"),
    (["LIST", "NOT-MAXAGE", 1], SYNTAX), (["LIST", "NOT-SKIPME", "yes"], SYNTAX),
    (["KILL", "ID", "abc", "x"], b"ERR client-id should be greater than 0"),
    (["KILL", "ID", 99, "TYPE"], SYNTAX), (["KILL", "SKIPME", "foo", "ID", 1], SYNTAX),
    (["KILL", "ID", 0, 1], b"ERR client-id should be greater than 0"),
    (["KILL", "NOT-ID", 0], b"ERR client-id should be greater than 0"),
    (["KILL", "TYPE", "foo"], b"ERR Unknown client type 'foo'"),
    (["KILL", "MAXAGE", 0], b"ERR maxage should be greater than 0"),
    (["KILL", "1.1.1.1:5"], b"ERR No such client"),
]


class Filters(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = support.server()
        cls.addClassCleanup(cls.server.stop)

    def setUp(self):
        """Four clients: plain, named, of database 3, subscribed; and who asks."""
        self.me = self.client()
        self.plain, self.named, self.other, self.hears = (self.client() for _ in range(4))
        self.named.ok("CLIENT", "SETNAME", "who")
        self.named.ok("CLIENT", "SETINFO", "LIB-NAME", "lib")
        self.named.ok("CLIENT", "SETINFO", "LIB-VER", "1.2")
        self.other.ok("SELECT", 3)
        self.hears.ok("HELLO", 3)
        self.ids = {self.id_of(client): name for name, client in
                    (("me", self.me), ("plain", self.plain), ("named", self.named),
                     ("other", self.other), ("hears", self.hears))}
        self.hears.call("SUBSCRIBE", "c")

    def client(self):
        client = self.server.client()
        self.addCleanup(client.close)
        return client

    @staticmethod
    def id_of(client):
        return client.ok("CLIENT", "ID")

    def listed(self, *options):
        lines = self.me.ok("CLIENT", "LIST", *options).decode().splitlines()
        ids = [int(line.split()[0].split("=")[1]) for line in lines]
        return {self.ids[number] for number in ids if number in self.ids}

    def number(self, name):
        return next(number for number, other in self.ids.items() if other == name)

    def test_what_is_no_filter(self):
        for command, text in WRONG:
            with self.subTest(command=command):
                self.assertEqual(self.me.call("CLIENT", *command), text)

    def test_terms(self):
        everybody = set(self.ids.values())
        address = self.plain.sock.getsockname()
        for options, expected in (
                ([], everybody), (["NAME", "who"], {"named"}), (["LIB-NAME", "lib"], {"named"}),
                (["LIB-VER", "1.2"], {"named"}), (["DB", 3], {"other"}),
                (["TYPE", "pubsub"], {"hears"}), (["FLAGS", "P"], {"hears"}),
                (["FLAGS", "NP"], set()), (["FLAGS", ""], everybody),
                (["ADDR", f"{address[0]}:{address[1]}"], {"plain"}),
                (["IP", address[0]], everybody), (["IP", "192.0.2.1"], set()),
                (["USER", "default"], everybody),
                (["CAPA", "r"], set()), (["CAPA", ""], everybody), (["MAXAGE", 100000], set()),
                (["IDLE", 100000], set()), (["SKIPME", "yes"], everybody - {"me"}),
                (["SKIPME", "yes", "SKIPME", "no"], everybody), (["TYPE", "primary"], set()),
                (["ID", self.number("plain"), self.number("named")], {"plain", "named"}),
                (["ID", self.number("plain"), "ID", self.number("other")], {"plain", "other"}),
                (["ID", 0], set()), (["ID", -1], set())):
            with self.subTest(options=options):
                self.assertEqual(self.listed(*options), expected)

    def test_negated_terms(self):
        everybody = set(self.ids.values())
        address = self.plain.sock.getsockname()
        for options, expected in (
                (["NOT-NAME", "who"], everybody - {"named"}), (["NOT-LIB-NAME", ""], everybody),
                (["NOT-DB", 3], everybody - {"other"}), (["NOT-DB", 0], {"other"}),
                (["NOT-TYPE", "pubsub"], everybody - {"hears"}),
                (["NOT-FLAGS", "P"], everybody - {"hears"}), (["NOT-IP", address[0]], set()),
                (["NOT-ADDR", f"{address[0]}:{address[1]}"], everybody - {"plain"}),
                (["NOT-USER", "default"], set()), (["NOT-CAPA", "r"], everybody),
                (["NOT-ID", self.number("me"), self.number("named")],
                 everybody - {"me", "named"})):
            with self.subTest(options=options):
                self.assertEqual(self.listed(*options), expected)

    def test_terms_together(self):
        self.assertEqual(self.listed("DB", 0, "NOT-NAME", "who", "TYPE", "normal", "SKIPME", "yes"),
                         {"plain"})
        self.assertEqual(self.listed("ID", self.number("named"), "TYPE", "normal"), {"named"})
        self.assertEqual(self.listed("ID", self.number("named"), "NOT-ID", self.number("named")),
                         set())

    def test_kill(self):
        self.assertEqual(self.me.ok("CLIENT", "KILL", "NAME", "who", "DB", 3), 0)
        self.assertEqual(self.me.ok("CLIENT", "KILL", "ID", self.number("plain"),
                                    self.number("other"), "NOT-DB", 0), 1)
        self.assertEqual(self.listed(), {"me", "plain", "named", "hears"})
        self.assertGreaterEqual(self.me.ok("CLIENT", "KILL", "NOT-NAME", "who"), 2)
        self.assertEqual(self.listed(), {"me", "named"})


if __name__ == "__main__":
    unittest.main()
