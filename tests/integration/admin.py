"""The admin port: what it tells, and that nobody can make it, or the server, suffer for it."""

import http.client
import json
import random
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import support  # noqa: E402

CONNECTIONS_MAX = 32  # include/splitring/io/http.h
HEAD_MAX = 8192
REQUEST_SECONDS = 5   # src/io/http.c


def start(*options, **more):
    """(server, its admin port)"""
    port = support.free_port()
    return support.server("--admin-port", str(port), *options, **more), port


def fetch(port, path, method="GET", headers=None):
    """(status, headers, body)"""
    connection = http.client.HTTPConnection(support.HOST, port, timeout=30)
    try:
        connection.request(method, path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def raw(port, data, seconds=30):
    """Everything that comes back until the server closes."""
    with socket.create_connection((support.HOST, port), timeout=seconds) as sock:
        sock.sendall(data)
        out = b""
        try:
            while part := sock.recv(65536):
                out += part
        except ConnectionError:
            pass
        return out


def samples(text):
    """Prometheus' text as {name{labels}: value}."""
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
            for line in text.splitlines() if line and line[0] != "#"}


class Admin(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server, cls.port = start("--databases", "4")
        cls.addClassCleanup(cls.server.stop)

    def json(self):
        time.sleep(1)  # what was told a moment ago is told again
        status, headers, body = fetch(self.port, "/stats.json")
        self.assertEqual((status, headers["Content-Type"]), (200, "application/json"))
        return json.loads(body)

    # what it tells

    def test_probes(self):
        for path in ("/livez", "/readyz"):
            self.assertEqual(fetch(self.port, path)[::2], (200, b"ok\n"))
        self.assertEqual(fetch(self.port, "/nosuch")[0], 404)
        self.assertEqual(fetch(self.port, "/livez?verbose=1")[0], 200)
        status, headers, body = fetch(self.port, "/livez", "HEAD")
        self.assertEqual((status, headers["Content-Length"], body), (200, "3", b""))

    def test_metrics(self):
        with self.server.client() as c:
            c.ok("FLUSHALL")
            c.ok("CONFIG", "RESETSTAT")
            for n in range(100):
                c.ok("SET", f"k{n}", "v")
            c.ok("SET", "db", "2", "EX", "1000")
            c.call("GET")
            c.call("INCR", "k1")
            c.call("LPUSH", "k1", "x")
            c.ok("INFO")  # gauges are fresh
            text = fetch(self.port, "/metrics")[2].decode()
        found = samples(text)
        self.assertEqual(found['splitring_commands_total{command="set"}'], 101)
        self.assertEqual(found['splitring_commands_rejected_total{command="get"}'], 1)
        self.assertEqual(found['splitring_commands_failed_total{command="lpush"}'], 1)
        self.assertEqual(found['splitring_error_replies_total{code="WRONGTYPE"}'], 1)
        self.assertEqual(found['splitring_db_keys{db="0"}'], 101)
        self.assertEqual(found['splitring_db_keys_expiring{db="0"}'], 1)
        name = 'splitring_command_duration_seconds_{}{{command="set"{}}}'
        self.assertEqual(found[name.format("count", "")], 101)
        buckets = [(k, v) for k, v in found.items() if k.startswith(name.format("bucket", "")[:-1])]
        self.assertEqual([v for _, v in buckets], sorted(v for _, v in buckets))
        self.assertEqual(buckets[-1], (name.format("bucket", ',le="+Inf"'), 101))
        self.assertGreater(found[name.format("sum", "")], 0)
        workers = int(found["splitring_workers"])
        self.assertEqual(sum(found[f'splitring_worker_commands_total{{worker="{n}"}}']
                             for n in range(workers)), sum(
            v for k, v in found.items() if k.startswith("splitring_commands_total{")))
        self.assertEqual(found["splitring_ready"], 1)

    @unittest.skipUnless(shutil.which("promtool"), "promtool is not installed")
    def test_promtool_has_nothing_to_say(self):
        with self.server.client() as c:
            c.ok("EVAL", "return redis.call('PING')", 0)
            c.ok("CONFIG", "GET", "port")  # a subcommand's name has a bar in it
        text = fetch(self.port, "/metrics")[2]
        done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"", b""))

    def test_json(self):
        strange = b'a"\\\x00\x1f\xff\xc3\xa9</script>\xed\xa0\x80'
        with self.server.client() as c:
            c.ok("CONFIG", "SET", "slowlog-log-slower-than", 0)
            c.ok("CLIENT", "SETNAME", "strange<name>")
            c.ok("SET", strange, "v" * 500)
            c.ok("AUTH", "default", "any")
            c.ok("CONFIG", "SET", "slowlog-log-slower-than", -1)
            before = self.json()
            for _ in range(500):
                c.ok("GET", strange)
            after = self.json()
            clients = [x for told in after["told"] for x in told["clients"]]
            self.assertIn("strange<name>", [x["name"] for x in clients])
        calls = {x["name"]: x for x in after["commands"]}
        old = {x["name"]: x for x in before["commands"]}
        self.assertEqual(calls["get"]["calls"] - old.get("get", {"calls": 0})["calls"], 500)
        self.assertGreaterEqual(calls["get"]["p99"], calls["get"]["p50"])
        self.assertGreater(calls["get"]["p50"], 0)
        self.assertNotIn("p99", calls["set"])  # none since the last time
        self.assertGreaterEqual(after["totals"]["commands"] - before["totals"]["commands"], 500)
        self.assertEqual(len(after["workers"]), len(after["told"]))
        self.assertEqual(sum(w["commands"] for w in after["workers"]),
                         after["totals"]["commands"])
        memory = after["memory"]
        self.assertEqual(memory["used"], sum(memory[k] for k in (
            "data", "clients", "tracking", "startup", "scripts")))
        slow = [x["args"] for told in after["told"] for x in told["slow"]]
        self.assertIn(["SET", 'a"\\\x00\x1f\ufffd\xe9</script>\ufffd\ufffd\ufffd',
                       "v" * 128 + "... (372 more bytes)"], slow)
        self.assertIn(["AUTH", "(redacted)", "(redacted)"], slow)

    def test_a_busy_worker_does_not_stop_it(self):
        """While a script runs, what workers themselves must say may be missing; the rest is not."""
        with self.server.client() as c, self.server.client() as other:
            c.send("EVAL", "local t = redis.call('TIME')[1] while redis.call('TIME')[1] - t < 3 do "
                           "end return 1", 0)
            time.sleep(0.2)
            begin = time.monotonic()
            for path in ("/livez", "/readyz", "/metrics", "/stats.json"):
                self.assertEqual(fetch(self.port, path)[0], 200)
            self.assertLess(time.monotonic() - begin, 2.5)
            self.assertEqual(c.read(), 1)
            other.ok("PING")
        self.assertIsNotNone(self.json()["told"])

    # what it refuses

    def refused(self, data, status):
        answer = raw(self.port, data)
        self.assertTrue(answer.startswith(b"HTTP/1.1 %d " % status), (data[:80], answer[:80]))
        self.assertEqual(answer.count(b"HTTP/1.1 "), 1)
        self.assertIn(b"Connection: close\r\n", answer)

    def test_bad_requests(self):
        host = b"Host: x\r\n"
        for data, status in (
                (b"GET / HTTP/1.1\r\n\r\n", 400),                        # no Host
                (b"GET / HTTP/1.1\r\n" + host * 2 + b"\r\n", 400),
                (b"GET / HTTP/1.1\n" + host + b"\r\n", 400),             # no CR
                (b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400),
                (b"GET / HTTP/1.1\r\n" + host + b" folded\r\n\r\n", 400),
                (b"GET / HTTP/1.1\r\n" + host + b"A: \x00\r\n\r\n", 400),
                (b"GET / HTTP/1.1\r\n" + host + b": v\r\n\r\n", 400),
                (b"GET  / HTTP/1.1\r\n" + host + b"\r\n", 400),
                (b"GET http://x/ HTTP/1.1\r\n" + host + b"\r\n", 400),
                (b"GET / HTTP/2.0\r\n" + host + b"\r\n", 505),
                (b"GET /\r\n", 400),
                (b"POST / HTTP/1.1\r\n" + host + b"\r\n", 405),
                (b"*1\r\n$4\r\nPING\r\n", 400),
                (b"GET / HTTP/1.1\r\n" + host + b"Content-Length: 5\r\n\r\nhello", 413),
                (b"GET / HTTP/1.1\r\n" + host + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                 413),
                (b"GET /" + b"a" * 2000 + b" HTTP/1.1\r\n" + host + b"\r\n", 414),
                (b"GET / HTTP/1.1\r\n" + host + b"A: b\r\n" * 100 + b"\r\n", 431),
                (b"GET / HTTP/1.1\r\n" + host + b"A: " + b"b" * HEAD_MAX + b"\r\n\r\n", 431),
                (b"G" * (HEAD_MAX + 1), 431)):
            with self.subTest(data=data[:60]):
                self.refused(data, status)
        self.assertEqual(fetch(self.port, "/livez")[0], 200)

    def test_connections_are_kept_and_pipelined(self):
        one = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
        answer = raw(self.port, one * 3 + b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close"
                                          b"\r\n\r\n" + one)
        self.assertEqual(answer.count(b"HTTP/1.1 200 OK"), 4)
        self.assertEqual(raw(self.port, b"GET /livez HTTP/1.0\r\n\r\n").count(b"200 OK"), 1)

    def test_noise(self):
        dice = random.Random(7)
        words = [b"GET", b" ", b"/", b"HTTP/1.1", b"\r\n", b"\n", b":", b"Host: x", b"\0", b"%00",
                 b"Content-Length", b"\r", b"A" * 500, b"\xff\xfe", b"/metrics", b"Connection: "]
        for _ in range(200):
            data = b"".join(dice.choice(words) for _ in range(dice.randrange(1, 60)))
            with socket.create_connection((support.HOST, self.port), timeout=30) as sock:
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)
                try:
                    while sock.recv(65536):
                        pass
                except ConnectionError:
                    pass
        self.assertEqual(fetch(self.port, "/livez")[0], 200)

    def test_slow_ones_lose(self):
        """Requests that trickle in: closed when their time is up, whatever they send."""
        with socket.create_connection((support.HOST, self.port), timeout=30) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
            begin = time.monotonic()
            try:
                while time.monotonic() - begin < 4 * REQUEST_SECONDS:
                    sock.sendall(b"A: b\r\n"[:1])
                    time.sleep(0.2)
                    sock.setblocking(False)
                    try:
                        if sock.recv(1) == b"":
                            break
                    except BlockingIOError:
                        pass
                    sock.setblocking(True)
                else:
                    self.fail("it may go on for ever")
            except ConnectionError:
                pass
            self.assertGreater(time.monotonic() - begin, REQUEST_SECONDS * 0.8)

    def test_nobody_is_kept_out(self):
        """More than all places are taken by connections that say nothing."""
        silent = [socket.create_connection((support.HOST, self.port), timeout=30)
                  for _ in range(3 * CONNECTIONS_MAX)]
        try:
            for _ in range(5):
                self.assertEqual(fetch(self.port, "/readyz")[0], 200)
        finally:
            for sock in silent:
                sock.close()

    def test_an_answer_that_nobody_takes(self):
        """Readers that do not read: the server goes on, and memory is bounded by their number."""
        ask = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 30
        deaf = []
        for _ in range(CONNECTIONS_MAX - 2):
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect((support.HOST, self.port))
            sock.sendall(ask)
            deaf.append(sock)
        try:
            self.assertEqual(fetch(self.port, "/livez")[0], 200)
            with self.server.client() as c:
                self.assertEqual(c.ok("PING"), support.PONG)
        finally:
            for sock in deaf:
                sock.close()

    def test_while_clients_work(self):
        """Onlookers and a load at once (the sanitizers' test)."""
        stop = threading.Event()

        def look():
            while not stop.is_set():
                for path in ("/metrics", "/stats.json"):
                    fetch(self.port, path)

        lookers = [threading.Thread(target=look) for _ in range(3)]
        for t in lookers:
            t.start()
        try:
            with self.server.client() as c:
                for n in range(300):
                    c.pipeline([("SET", f"key{m}", n) for m in range(20)] +
                               [("MGET", "key1", "key2")])
                    if n % 50 == 0:
                        c.ok("CONFIG", "RESETSTAT")
        finally:
            stop.set()
            for t in lookers:
                t.join()


class Life(unittest.TestCase):
    def test_off_by_default(self):
        with support.server() as server, server.client() as c:
            self.assertEqual(c.ok("CONFIG", "GET", "admin-*"),
                             [b"admin-port", b"0", b"admin-bind", b"127.0.0.1"])
            self.assertEqual(c.call("CONFIG", "SET", "admin-port", "1").code, "ERR")
            sockets = Path(f"/proc/{server.pid}/task")
            names = [(t / "comm").read_text().strip() for t in sockets.iterdir()]
            self.assertNotIn("admin", names)

    def test_a_port_in_use_ends_the_start(self):
        with socket.socket() as taken:
            taken.bind((support.HOST, 0))
            taken.listen()
            port = taken.getsockname()[1]
            server = support.server("--admin-port", str(port), ready=False)
            self.assertEqual(server.wait(), 1)
            self.assertIn(f"Could not create the admin port's socket {support.HOST}:{port}",
                          server.log())
            server.forget()

    def test_not_ready_while_it_stops(self):
        """A script that has written keeps SHUTDOWN waiting: /livez says yes, /readyz says no."""
        server, port = start("--save", "3600 100000000")  # else it waits for nobody
        with server.client() as c:
            c.send("EVAL", "redis.call('SET', KEYS[1], 1) local t = redis.call('TIME')[1] "
                           "while redis.call('TIME')[1] - t < 3 do end return 1", 1, "k")
            time.sleep(0.2)
            server.process.terminate()
            time.sleep(0.3)
            self.assertEqual(fetch(port, "/readyz")[::2], (503, b"stopping\n"))
            self.assertEqual(fetch(port, "/livez")[0], 200)
        self.assertEqual(server.wait(), 0)
        server.forget()

    def test_not_ready_while_it_loads(self):
        server, port = start("--save", "3600 100000000", "--dbfilename", "d.rdb")
        folder = server.folder
        with server.client() as c:
            for first in range(0, 600000, 2000):
                c.ok("MSET", *[x for n in range(first, first + 2000) for x in (f"key:{n}", n)])
            c.ok("SAVE")
            dump = (folder / "d.rdb").read_bytes()
        server.stop()
        (Path(folder)).mkdir(exist_ok=True)
        port = support.free_port()
        path = Path(folder) / "d.rdb"
        path.write_bytes(dump)
        again = support.server("--admin-port", str(port), "--dir", str(folder), "--dbfilename",
                               "d.rdb", ready=False)
        try:
            seen = set()
            deadline = time.monotonic() + 60
            while (200, b"ok\n") not in seen:
                self.assertLess(time.monotonic(), deadline)
                try:
                    seen.add(fetch(port, "/readyz")[::2])
                except OSError:
                    pass
            self.assertIn((503, b"loading\n"), seen)
            self.assertLessEqual(seen, {(503, b"loading\n"), (200, b"ok\n")})
        finally:
            again.stop()
            shutil.rmtree(folder, ignore_errors=True)

    def test_healthcheck_of_an_address(self):
        with support.server() as server:
            def check(*args):
                return subprocess.run([support.program(), "--healthcheck", *args],
                                      timeout=30, capture_output=True).returncode
            self.assertEqual(check(f"{support.HOST}:{server.port}"), 0)
            self.assertEqual(check(f"localhost:{server.port}"), 0)
            self.assertEqual(check(f"{support.HOST}:{support.free_port()}"), 1)
            self.assertEqual(check("--port", str(server.port), "--bind", support.HOST), 0)
            self.assertNotEqual(check(f"{support.HOST}:0"), 0)
            self.assertNotEqual(check("nosuchfile"), 0)


if __name__ == "__main__":
    unittest.main()
