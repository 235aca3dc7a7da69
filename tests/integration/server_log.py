"""Where the log goes, what is in it, and in which form."""
# matrix: once

import json
import os
import re
import shlex
import shutil
import socket
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import support  # noqa: E402

LEGACY = re.compile(r"\d+:M \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d\.\d{3} [.\-*#] \S.*$")
TIMES = {"legacy": r"\d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d\.\d{3}", "milliseconds": r"\d{13}",
         "iso8601": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d"}
KEYS = ["pid", "role", "timestamp", "level", "message"]


class Lines(unittest.TestCase):
    def server(self, *options):
        server = support.server("--logfile", "the.log", *options)
        self.addCleanup(server.stop)
        self.path = server.folder / "the.log"
        return server

    def lines(self):
        return self.path.read_text().splitlines()

    def wait_for(self, text):
        deadline = time.monotonic() + 20
        while not any(text in line for line in self.lines()):
            self.assertLess(time.monotonic(), deadline, text)
            time.sleep(0.01)

    def test_legacy(self):
        server = self.server()
        self.wait_for("Ready to accept connections")
        for line in self.lines():
            self.assertRegex(line, LEGACY)
        self.assertTrue(self.lines()[0].startswith(f"{server.pid}:M "))
        self.assertEqual(server.log(), "")  # nothing on standard output

    def test_formats(self):
        for times, pattern in TIMES.items():
            for form in ("legacy", "logfmt", "json"):
                with self.subTest(form=form, times=times):
                    server = self.server("--log-format", form, "--log-timestamp-format", times)
                    self.wait_for("Ready to accept connections")
                    for line in self.lines():
                        if form == "legacy":
                            self.assertRegex(line, rf"^{server.pid}:M {pattern} [*#] \S")
                            continue
                        entry = json.loads(line) if form == "json" else dict(
                            word.split("=", 1) for word in shlex.split(line))
                        self.assertEqual(list(entry), KEYS)
                        self.assertEqual(str(entry["pid"]), str(server.pid))
                        self.assertEqual(entry["role"], "primary")
                        self.assertRegex(entry["timestamp"], f"^{pattern}$")
                        self.assertIn(entry["level"], ("notice", "warning"))
                    server.stop()

    def test_what_a_line_cannot_do(self):
        """A name with quotes and line ends in it stays within its line and its value."""
        server = self.server("--log-format", "json")
        with server.client() as c:
            c.ok("CONFIG", "SET", "loglevel", "verbose")
            self.assertIsInstance(c.call("CONFIG", "SET", "dir", "/no\"such\n{}"), support.Error)
            c.ok("CONFIG", "SET", "log-format", "logfmt")
            c.ok("CONFIG", "SET", "log-timestamp-format", "milliseconds")
            c.ok("CONFIG", "SET", "activerehashing", "no")
        with server.client() as c:
            c.ok("PING")
        self.wait_for("level=info")
        for line in self.lines():
            json.loads(line) if line.startswith("{") else shlex.split(line)

    def test_levels(self):
        server = self.server("--loglevel", "warning")
        with server.client() as c:
            c.ok("PING")
            self.assertEqual(self.path.read_text(), "")
            for level, mark in (("verbose", " - Accepted 127.0.0.1:"), ("debug", " - Accepted")):
                c.ok("CONFIG", "SET", "loglevel", level)
                before = len(self.lines())
                with server.client() as other:
                    other.ok("PING")
                deadline = time.monotonic() + 20
                while not any(mark in x for x in self.lines()[before:]) or \
                        not any("Client closed connection" in x for x in self.lines()[before:]):
                    self.assertLess(time.monotonic(), deadline)
                    time.sleep(0.01)
            c.ok("CONFIG", "SET", "loglevel", "nothing")
            before = len(self.lines())
            with server.client() as other:
                other.ok("PING")
        server.stop()
        self.assertEqual(len(self.lines()) if self.path.exists() else before, before)

    def test_rotation(self):
        """Both ways of logrotate: the file is moved away, or copied and cut."""
        server = self.server("--loglevel", "verbose")
        self.wait_for("Ready")
        old = self.path.with_suffix(".1")
        self.path.rename(old)
        size = old.stat().st_size
        with server.client() as c:
            c.ok("PING")
        deadline = time.monotonic() + 20
        while not self.path.exists() or "Accepted" not in self.path.read_text():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        self.assertEqual(old.stat().st_size, size)
        shutil.copy(self.path, self.path.with_suffix(".2"))
        os.truncate(self.path, 0)
        with server.client() as c:
            c.ok("PING")
            c.ok("CONFIG", "SET", "loglevel", "debug")
        self.wait_for("Accepted")
        self.assertNotIn("\0", self.path.read_text())

    def test_the_file_stays_where_it_is(self):
        server = self.server("--enable-protected-configs", "yes", "--loglevel", "verbose")
        (server.folder / "elsewhere").mkdir()
        with server.client() as c:
            c.ok("CONFIG", "SET", "dir", str(server.folder / "elsewhere"))
            before = len(self.lines())
        with server.client() as c:
            c.ok("PING")
        deadline = time.monotonic() + 20
        while len(self.lines()) <= before:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        self.assertEqual(list((server.folder / "elsewhere").iterdir()), [])

    def test_a_file_that_cannot_be(self):
        server = support.server("--logfile", "/nosuch/folder/x.log", ready=False)
        self.assertEqual(server.wait(), 1)
        self.assertIn("Can't open the log file", server.log())
        server.forget()

    def test_syslog(self):
        device = Path("/dev/log")
        if device.exists() or os.geteuid() != 0:
            self.skipTest("/dev/log is somebody's, or may not be made")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.bind(str(device))
            try:
                sock.settimeout(20)
                server = support.server("--syslog-enabled", "yes", "--syslog-ident", "ring",
                                        "--syslog-facility", "local3")
                seen = b""
                while b"Ready to accept connections" not in seen:
                    seen = sock.recv(4096)
                # local3 is 19, notice 5
                self.assertRegex(seen, rb"^<157>.* ring\[%d\]: Ready to accept" % server.pid)
                self.assertIn("Ready to accept connections", server.log())
                server.stop()
            finally:
                device.unlink()


if __name__ == "__main__":
    unittest.main()
