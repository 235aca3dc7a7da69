"""The server as a process: engines, sockets, threads and CPUs, signals, files, its start and end.

What settings mean is tested in config_commands.py and settings.py; here is what the system sees.
"""
# matrix: once

import contextlib
import os
import re
import resource
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import shards, support  # noqa: E402
from integration.support import HOST, OK, PONG  # noqa: E402

SANITIZED = shards.sanitized()
TICKS = os.sysconf("SC_CLK_TCK")


def launcher():
    """The program that takes io_uring away from another one."""
    folders = [Path(support.program()).resolve().parent]
    if os.environ.get("SPLITRING_BUILD"):
        folders.insert(0, Path(os.environ["SPLITRING_BUILD"]))
    for folder in folders:
        path = folder / "tests/integration/seccomp_launch"
        if path.exists():
            return str(path)
    raise unittest.SkipTest("seccomp_launch is not built")


def uring_works():
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen([support.program(), "--io-engine", "io_uring", "--port", "0",
                                    "--unixsocket", f"{folder}/s"], stdout=subprocess.DEVNULL)
        shards.until(lambda: process.poll() is not None or os.path.exists(f"{folder}/s"), 5)
        time.sleep(0.05)
        works = process.poll() is None
        process.kill()
        process.wait()
        return works


def run(*options, seconds=20, **more):
    """A start that is expected to end by itself: (exit code, output)."""
    done = subprocess.run([support.program(), *map(str, options)], timeout=seconds,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, **more)
    return done.returncode, done.stdout


def info(client, field, section="server"):
    found = re.search(rf"^{field}:(.*?)\r?$", client.ok("INFO", section).decode(), re.M)
    return found and found.group(1)


def tasks(pid):
    """{name: CPUs it may run on} of the workers."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        name = (task / "comm").read_text().strip()
        if name.startswith("worker"):
            status = (task / "status").read_text()
            found[name] = re.search(r"^Cpus_allowed_list:\s*(\S+)", status, re.M).group(1)
    return found


def cpu_ticks(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


class ProcessTest(unittest.TestCase):
    def start(self, *options, **more):
        server = support.server(*options, **more)
        self.addCleanup(server.stop, None)
        return server

    def folder(self):
        path = Path(tempfile.mkdtemp(prefix="splitring-process-"))
        self.addCleanup(shutil.rmtree, path, True)
        return path


class Engines(ProcessTest):
    def refused(self, error, *options):
        command = [launcher(), error, support.program(), "--bind", HOST, "--save", ""]
        server = support.Server(command + list(options), "refused", ready=False)
        self.addCleanup(server.stop, None)
        return server

    def test_refused(self):
        """Where io_uring is forbidden the server runs with epoll, says why once, and INFO too."""
        for error, text in (("EPERM", "Operation not permitted"),
                            ("ENOSYS", "Function not implemented")):
            with self.subTest(error=error):
                server = self.refused(error, "--threads", "3")
                server.wait_ready()
                with server.client() as client:
                    self.assertEqual(client.call("SET", "k", "v"), OK)
                    self.assertEqual(info(client, "io_engine"), "epoll")
                    self.assertEqual(info(client, "multiplexing_api"), "epoll")
                    self.assertEqual(info(client, "io_uring_refused"), text)
                lines = [line for line in server.log().splitlines() if "io_uring" in line]
                self.assertEqual(len(lines), 1, server.log())
                self.assertIn(text, lines[0])
                server.stop()

    def test_insisting_fails(self):
        server = self.refused("EPERM", "--io-engine", "io_uring", "--threads", "2")
        self.assertEqual(server.wait(), 1, server.log())
        self.assertIn("Operation not permitted", server.log())
        self.assertIn("io_uring", server.log())

    def test_chosen(self):
        engines = ["epoll", "io_uring"] if uring_works() else ["epoll"]
        for engine in engines:
            with self.start("--io-engine", engine) as server, server.client() as client:
                self.assertEqual(info(client, "io_engine"), engine)
                self.assertNotIn("refused", server.log())
        with self.start("--io-engine", "auto") as server, server.client() as client:
            self.assertEqual(info(client, "io_engine"), engines[-1])

    def test_unknown(self):
        code, text = run("--io-engine", "kqueue")
        self.assertEqual(code, 1)
        self.assertIn("io-engine", text)


class Sockets(ProcessTest):
    def test_many_addresses_and_a_unix_socket(self):
        path = self.folder() / "splitring.sock"
        addresses = [HOST, "127.0.0.2", "127.1.2.3"]
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
            addresses.append("::1")
        server = self.start("--bind", *addresses, "-198.51.100.7", "--unixsocket", path,
                            "--unixsocketperm", "700", "--threads", "2")
        for number, where in enumerate([(a, server.port) for a in addresses] + [path]):
            for _ in range(3):  # each comes to another worker
                with support.Client(where) as client:
                    self.assertEqual(client.call("INCR", f"from:{number}") > 0, True)
                    line = client.ok("CLIENT", "INFO").decode()
                    if where == path:
                        self.assertIn(f" addr={path}:0 laddr={path}:0 ", line)
                        self.assertIn("U", re.search(r" flags=(\S+)", line).group(1))
                    else:
                        host = f"[{where[0]}]" if ":" in where[0] else where[0]
                        self.assertIn(f" laddr={host}:{server.port} ", line)
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o700)
        with server.client() as client:
            self.assertEqual(client.ok("DBSIZE"), len(addresses) + 1)
        server.stop()
        self.assertFalse(path.exists())

    def test_unix_socket_alone(self):
        path = self.folder() / "only.sock"
        server = self.start("--port", "0", "--unixsocket", path, ready=False)
        self.assertTrue(shards.until(path.exists))
        big = "x" * 3000000
        with support.Client(path) as client:
            self.assertEqual(client.call("SET", "k", big), OK)
            self.assertEqual(client.call("GET", "k"), big.encode())
            client.send_bytes(support.encode("GET", "k") * 5)
            client.sock.shutdown(socket.SHUT_WR)
            for _ in range(5):
                self.assertEqual(client.read(), big.encode())
            self.assertTrue(client.closed_by_server())
        server.stop()

    def test_a_stale_socket_file(self):
        """A server that was killed leaves its file behind; the next one takes it over."""
        path = self.folder() / "stale.sock"
        server = self.start("--unixsocket", path)
        server.kill()
        self.assertTrue(path.exists())
        self.start("--unixsocket", path)
        with support.Client(path) as client:
            self.assertEqual(client.call("PING"), PONG)

    def test_port_in_use(self):
        """A clear word and exit code 1; the one that runs keeps its port, pid file and socket."""
        folder = self.folder()
        files = ("--pidfile", folder / "pid", "--unixsocket", folder / "sock")
        first = self.start(*files)
        pid = (folder / "pid").read_text()
        code, text = run("--bind", HOST, "--port", first.port, *files)
        self.assertEqual(code, 1)
        self.assertIn("Address already in use", text)
        self.assertIn(f"{HOST}:{first.port}", text)
        self.assertEqual((folder / "pid").read_text(), pid)
        with support.Client(folder / "sock") as client:
            self.assertEqual(client.call("PING"), PONG)

    def test_nowhere(self):
        code, text = run("--port", "0")
        self.assertEqual(code, 1)
        self.assertIn("not listen anywhere", text)
        code, text = run("--port", support.free_port(), "--bind", "198.51.100.7")
        self.assertEqual(code, 1)
        self.assertIn("198.51.100.7", text)


class Threads(ProcessTest):
    def test_count(self):
        for count in (1, 3, 5):
            with self.start("--threads", str(count)) as server, server.client() as client:
                self.assertEqual(info(client, "workers"), str(count))
                self.assertEqual(len(tasks(server.pid)), count)
                self.assertEqual(client.ok("CONFIG", "GET", "threads"), [b"threads", b"%d" % count])

    def test_pinned(self):
        """As many workers as CPUs: each has its own. More: the system moves them."""
        usable = sorted(os.sched_getaffinity(0))
        with self.start("--threads", str(len(usable))) as server:
            self.assertEqual(sorted(tasks(server.pid).values()), sorted(map(str, usable)))
        with self.start("--threads", str(len(usable) + 1)) as server:
            for allowed in tasks(server.pid).values():
                self.assertEqual(allowed, self.allowed())
        with self.start("--threads", str(len(usable)), "--cpu-pinning", "no") as server:
            for allowed in tasks(server.pid).values():
                self.assertEqual(allowed, self.allowed())

    def allowed(self):
        status = Path("/proc/self/status").read_text()
        return re.search(r"^Cpus_allowed_list:\s*(\S+)", status, re.M).group(1)

    def test_affinity(self):
        """Who may use one CPU only starts one worker, on that CPU."""
        cpu = max(os.sched_getaffinity(0))
        before = os.environ.pop("TEST_THREADS", None)
        server = support.Server(["taskset", "-c", str(cpu), support.program(), "--bind", HOST],
                                "one-cpu")
        self.addCleanup(server.stop, None)
        if before:
            os.environ["TEST_THREADS"] = before
        self.assertEqual(list(tasks(server.pid).values()), [str(cpu)])

    def test_refused_numbers(self):
        for count in ("0", "-1", "x", "100000"):
            self.assertEqual(run("--threads", count, "--port", "0")[0], 1, count)


class Files(ProcessTest):
    def test_file_include_and_options(self):
        """A file that includes another, both overridden on the command line."""
        folder = self.folder()
        (folder / "more.conf").write_text("maxmemory 5mb\ntimeout 7\n")
        (folder / "main.conf").write_text(f"databases 3\nmaxmemory 1mb\ninclude {folder}/m*.conf2\n"
                                          f"include {folder}/more.conf\ntimeout 9\n")
        server = support.Server([support.program(), folder / "main.conf", "--bind", HOST,
                                 "--maxmemory-policy", "allkeys-lru"], "files")
        self.addCleanup(server.stop, None)
        with server.client() as client:
            found = client.ok("CONFIG", "GET", "databases", "maxmemory", "timeout",
                              "maxmemory-policy")
            self.assertEqual(dict(zip(found[0::2], found[1::2])), {
                b"databases": b"3", b"maxmemory": b"5242880", b"timeout": b"9",
                b"maxmemory-policy": b"allkeys-lru"})
            self.assertEqual(info(client, "config_file"), str(folder / "main.conf"))

    def test_standard_input(self):
        port = support.free_port()
        process = subprocess.Popen([support.program(), "-", "--bind", HOST, "--databases", "5"],
                                   stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        process.stdin.write(f"port {port}\nthreads 2\ndatabases 9\n".encode())
        process.stdin.close()
        try:
            def ask():
                with contextlib.suppress(OSError), support.Client((HOST, port)) as client:
                    return client.ok("CONFIG", "GET", "databases")[1]
            self.assertEqual(shards.until(ask), b"5")
        finally:
            process.terminate()
            self.assertEqual(process.wait(support.STOP_SECONDS), 0)

    def test_pid_and_log_file(self):
        folder = self.folder()
        server = self.start("--pidfile", folder / "pid", "--logfile", "log", "--dir", folder)
        self.assertEqual((folder / "pid").read_text().strip(), str(server.pid))
        server.stop()
        self.assertFalse((folder / "pid").exists())
        log = (folder / "log").read_text()
        self.assertIn("Ready to accept connections", log)
        self.assertIn("bye bye", log)

    def test_daemon(self):
        folder, port = self.folder(), support.free_port()
        code, text = run("--daemonize", "yes", "--pidfile", folder / "pid", "--logfile",
                         folder / "log", "--bind", HOST, "--port", port, "--threads", "2")
        self.assertEqual((code, text), (0, ""))
        self.assertTrue(shards.until(lambda: "Ready" in (folder / "log").read_text()
                                     if (folder / "log").exists() else False))
        pid = int((folder / "pid").read_text())
        try:
            with support.Client((HOST, port)) as client:
                self.assertEqual(int(info(client, "process_id")), pid)
            self.assertEqual(os.getsid(pid), pid)
            self.assertEqual(os.readlink(f"/proc/{pid}/fd/0"), "/dev/null")
        finally:
            os.kill(pid, signal.SIGTERM)
        self.assertTrue(shards.until(lambda: not Path(f"/proc/{pid}").exists() or
                                     "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2]))
        self.assertFalse((folder / "pid").exists())

    def test_impossible_files(self):
        folder = self.folder()
        for options in (("--dir", folder / "no/such"), ("--logfile", folder / "no/such/log"),
                        (folder / "missing.conf",), ("--unixsocket", folder / "no/such/sock")):
            code, text = run(*options, "--bind", HOST, "--port", support.free_port())
            self.assertEqual(code, 1, options)
            self.assertIn("no such file", text.lower(), options)


class Health(ProcessTest):
    def check(self, port, *more):
        return run("--healthcheck", "--port", port, *more)[0]

    def test_exit_codes(self):
        server = self.start("--requirepass", "secret")
        self.assertEqual(self.check(server.port), 0)
        self.assertEqual(self.check(server.port, "--requirepass", "secret"), 0)
        server.process.send_signal(signal.SIGSTOP)
        try:
            self.assertEqual(self.check(server.port), 1, "a server that hangs is not well")
        finally:
            server.process.send_signal(signal.SIGCONT)
        self.assertEqual(self.check(server.port), 0)
        self.assertEqual(run("--livecheck", "--port", server.port)[0], 0)
        server.stop()
        self.assertEqual(self.check(server.port), 1)
        self.assertEqual(run("--livecheck", "--port", server.port)[0], 1)


class End(ProcessTest):
    def load(self, server, seconds=30):
        """Clients that pipeline over all shards until the server goes. Each counts how many of its
        commands were answered; what comes must be whole replies, in order."""
        keys = [key for some in shards.keys_by_shard(8, 4) for key in some]
        crew = shards.Crew(seconds)

        def work(number):
            rng = shards.rng("load", number)
            counts = {}
            try:
                client = server.client()
            except ConnectionError:  # the server went before this one had come
                return
            with client:
                try:
                    while crew.on():
                        chosen = [f"{rng.choice(keys)}:{number}"
                                  for _ in range(rng.choice((1, 9, 80)))]
                        client.send_bytes(b"".join(support.encode("INCR", key) for key in chosen))
                        for key in chosen:
                            counts[key] = counts.get(key, 0) + 1
                            reply = client.read()
                            if reply != counts[key]:
                                raise AssertionError(f"{key}: {reply!r}, not {counts[key]}")
                        client.call("MSET", *(p for key in keys for p in (key, number)))
                        crew.count("pipelines", 1)
                except support.Closed:
                    if client.buffer:
                        raise AssertionError("half a reply") from None

        for number in range(10):
            crew.add(work, number)
        for thread in crew.threads:
            thread.start()
        self.assertTrue(shards.until(lambda: crew.totals.get("pipelines", 0) > 20))
        return crew

    def ends(self, server, crew, act):
        begun = time.monotonic()
        act()
        self.assertEqual(server.wait(5 if not SANITIZED else 30), 0, server.log())
        self.assertIn("bye bye", server.log())
        for thread in crew.threads:
            thread.join(support.REPLY_SECONDS)
            self.assertFalse(thread.is_alive())
        if crew.failure:
            raise crew.failure
        return time.monotonic() - begun

    def test_signals_under_load(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            for threads, lending in ((1, "yes"), (2, "yes"), (4, "yes"), (4, "no")):
                with self.subTest(signal=number, threads=threads, lending=lending):
                    server = self.start("--threads", str(threads), "--shard-lending", lending)
                    crew = self.load(server)
                    self.ends(server, crew, lambda: server.process.send_signal(number))

    def test_shutdown_under_load(self):
        for options in (("NOSAVE",), (), ("NOSAVE", "NOW", "FORCE")):
            with self.subTest(options=options):
                server = self.start("--threads", "3")
                crew, client = self.load(server), server.client()
                self.ends(server, crew, lambda: client.send("SHUTDOWN", *options))
                self.assertTrue(client.closed_by_server())
                self.assertEqual(bytes(client.buffer), b"")
                client.close()

    def test_refused_shutdowns(self):
        server = self.start()
        with server.client() as client:
            for args in (("SAVE", "NOSAVE"), ("x",), ("ABORT", "NOW"), ("ABORT",)):
                self.assertIsInstance(client.call("SHUTDOWN", *args), support.Error, args)
            self.assertEqual(client.call("PING"), PONG)

    def test_replies_in_flight(self):
        """What was asked before the signal is answered to the end: 40 MB, to a slow reader."""
        server = self.start("--threads", "2")
        value = os.urandom(1 << 20)
        with server.client() as client:
            client.ok("SET", "big", value)
            client.send_bytes(support.encode("MGET", *["big"] * 40))
            client.fill()
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.2)
            self.assertTrue(client.read() == [value] * 40)
            self.assertTrue(client.closed_by_server())
        self.assertEqual(server.wait(5), 0)

    def test_a_client_that_never_reads(self):
        """… does not hold up the end for long."""
        server = self.start("--threads", "2")
        with server.client() as client:
            client.ok("SET", "big", "x" * (1 << 20))
            client.send_bytes(support.encode("GET", "big") * 100)
            time.sleep(0.1)
            server.process.send_signal(signal.SIGTERM)
            self.assertEqual(server.wait(10), 0)

    def test_many_idle_clients(self):
        server = self.start("--threads", "4")
        clients = [server.client() for _ in range(300)]
        server.process.send_signal(signal.SIGTERM)
        self.assertEqual(server.wait(5 if not SANITIZED else 30), 0)
        for client in clients:
            self.assertTrue(client.closed_by_server())
            client.close()

    def test_signals_at_any_moment(self):
        """Also in the first milliseconds: the end is clean, or by the signal itself."""
        for number in range(25):
            process = subprocess.Popen(
                [support.program(), "--bind", HOST, "--threads", "4", "--port",
                 str(support.free_port())], stdout=subprocess.DEVNULL)
            time.sleep(number * 0.001)
            process.send_signal(signal.SIGTERM)
            try:
                self.assertIn(process.wait(5 if not SANITIZED else 30), (0, -signal.SIGTERM))
            finally:
                process.kill()
                process.wait()


class Quiet(ProcessTest):
    def test_no_cpu(self):
        """100 idle clients, after they have all worked: not two ticks in three seconds."""
        server = self.start("--threads", "2")
        clients = [server.client() for _ in range(100)]
        for client in clients:
            client.ok("SET", "k", "v", "EX", 1000)
        self.assertTrue(shards.until(lambda: self.still(server.pid), 15), "it never comes to rest")
        before = cpu_ticks(server.pid)
        time.sleep(3)
        self.assertLessEqual(cpu_ticks(server.pid) - before, 2 * TICKS // 100)
        for client in clients:
            self.assertEqual(client.call("PING"), PONG)
            client.close()

    def still(self, pid):
        before = cpu_ticks(pid)
        time.sleep(0.7)
        return cpu_ticks(pid) == before

    def test_few_wake_ups(self):
        """It sleeps: hardly any voluntary switches, where a tick would make ten a second."""
        server = self.start("--threads", "2")
        with server.client() as client:
            client.ok("PING")

            def switches():
                return sum(int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)",
                                         (task / "status").read_text(), re.M).group(1))
                           for task in Path(f"/proc/{server.pid}/task").iterdir())

            def rests():
                before = switches()
                time.sleep(1)
                return switches() - before <= 2

            self.assertTrue(shards.until(rests, 12), "a quiet server keeps waking up")


def setUpModule():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 4096 <= hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (4096, hard))
    threading.excepthook = lambda args: None  # a crew tells its failure itself


if __name__ == "__main__":
    unittest.main()
