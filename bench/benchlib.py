"""What the measurements share: servers that stand in for each other, their CPU time and memory,
the load generator, paired ratios, tables.

A server is a command line with {port} in it (and {threads}, {engine} if it wants them). It runs in
a folder of its own that is removed afterwards, with its output in a file there that is shown if
the server does not come up. Only processes started here are ever ended.
"""

import json
import os
import re
import resource
import shlex
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

BENCH = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(BENCH)
VALKEY = os.path.join(BENCH, "peers", ".cache", "valkey-server")
QUIET = "--save '' --appendonly no"
SPLITRING = (
    shlex.quote(os.path.join(ROOT, "build", "splitring"))
    + " --port {port} --threads {threads} " + QUIET
)
KNOWN_PEERS = {
    "redis": "redis-server --port {port} " + QUIET,
    "valkey": shlex.quote(VALKEY) + " --port {port} " + QUIET,
}
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class Failure(Exception):
    """Something that the user can mend: shown without a traceback."""


def end_on_sigterm():
    """Lets the servers be ended and their folders removed when this program is."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def raise_file_limit(wanted):
    """Lifts RLIMIT_NOFILE as far as allowed; servers started later inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted:
        return soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(wanted, hard)))
    except (ValueError, PermissionError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


class Connection:
    """A client of a few lines: sends one command, returns its reply (an Exception for an error)."""

    def __init__(self, port, timeout=30):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.file = self.sock.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.sock.close()

    def command(self, *words):
        parts = [str(word).encode() for word in words]
        frame = b"*%d\r\n" % len(parts)
        frame += b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
        self.sock.sendall(frame)
        return self._reply()

    def batch(self, data, count):
        """Sends encoded requests, reads all replies; the first error, or None."""
        self.sock.sendall(data)
        replies = [self._reply() for _ in range(count)]
        return next((reply for reply in replies if isinstance(reply, Failure)), None)

    def _reply(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind in b"$=":
            size = int(rest)
            return None if size < 0 else self.file.read(size + 2)[:-2]
        if kind in b"*~>":
            return [self._reply() for _ in range(int(rest))]
        if kind == b":":
            return int(rest)
        return Failure(rest.decode()) if kind == b"-" else rest


class Server:
    """A running server. Use as a context manager."""

    def __init__(self, name, command, cpus=None, threads=1, engine=None, more=""):
        self.name = name
        self.cpus = cpus
        self.template = command
        self.values = {"threads": threads, "engine": engine or "auto"}
        self.more = more
        self.patience_s = 20  # until it answers; it may have to load
        self.process = None
        self.folder = None
        self.port = None

    def _argv(self):
        argv = shlex.split(self.template)
        if os.sep in argv[0]:
            argv[0] = os.path.abspath(argv[0])
        names = dict(self.values, port=self.port)
        for i, word in enumerate(argv):
            for key, value in names.items():
                word = word.replace("{" + key + "}", str(value))
            argv[i] = word
        argv += shlex.split(self.more)
        if self.cpus is not None:
            argv = ["taskset", "-c", str(self.cpus)] + argv
        return argv

    def __enter__(self):
        self.port = free_port()
        self.folder = tempfile.mkdtemp(prefix="splitring-bench-")
        log = os.path.join(self.folder, "output")
        with open(log, "wb") as output:
            try:
                self.process = subprocess.Popen(
                    self._argv(), cwd=self.folder, stdin=subprocess.DEVNULL,
                    stdout=output, stderr=subprocess.STDOUT)
            except OSError as error:
                shutil.rmtree(self.folder, ignore_errors=True)
                raise Failure(f"{self.name}: {error}") from error
        deadline = time.monotonic() + self.patience_s
        while True:
            try:
                with Connection(self.port, 1) as client:
                    if client.command("PING") == b"PONG":
                        return self
            except OSError:
                pass
            if self.process.poll() is not None or time.monotonic() > deadline:
                with open(log, errors="replace") as output:
                    text = output.read()[-2000:]
                self.__exit__()
                raise Failure(f"{self.name} does not answer: {shlex.join(self._argv())}\n{text}")
            time.sleep(0.05)

    def __exit__(self, *_):
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def pid(self):
        return self.process.pid

    def client(self):
        return Connection(self.port)

    def _threads(self):
        return os.listdir(f"/proc/{self.pid}/task")

    def cpu_ticks_s(self):
        """(user, system) seconds of all threads, in steps of a clock tick (10 ms)."""
        with open(f"/proc/{self.pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        return int(fields[11]) * TICK_S, int(fields[12]) * TICK_S

    def cpu_exact_s(self):
        """Seconds on a CPU, all living threads, in nanosecond steps if the kernel tells."""
        try:
            total = 0
            for thread in self._threads():
                with open(f"/proc/{self.pid}/task/{thread}/schedstat") as file:
                    total += int(file.read().split()[0])
            return total * 1e-9
        except (OSError, IndexError, ValueError):
            return sum(self.cpu_ticks_s())

    def wakeups(self):
        """How often any thread went to sleep by itself so far."""
        total = 0
        for thread in self._threads():
            with open(f"/proc/{self.pid}/task/{thread}/status") as file:
                total += int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", file.read(),
                                       re.M).group(1))
        return total

    def rss_bytes(self):
        with open(f"/proc/{self.pid}/status") as file:
            return int(re.search(r"^VmRSS:\s*(\d+) kB", file.read(), re.M).group(1)) * 1024

    def rss_settled_bytes(self, patience_s=20):
        """RSS once it has moved by less than 0.1 % in two seconds: growth may go on afterwards."""
        end = time.monotonic() + patience_s
        before = self.rss_bytes()
        while time.monotonic() < end:
            time.sleep(2)
            now = self.rss_bytes()
            if abs(now - before) <= 0.001 * now:
                return now
            before = now
        return before


def servers_of(arguments, cpus=None, threads=1, more=""):
    """The server under test and its peers, in this order, not yet started."""
    servers = [Server(arguments.name, arguments.server, cpus, threads, arguments.engine, more)]
    peers = arguments.peer or ["redis"] + (["valkey"] if os.path.exists(VALKEY) else [])
    for peer in peers:
        name, command = peer, KNOWN_PEERS.get(peer)
        if command is None:
            given = re.match(r"([\w.-]+)=(.*)", peer)
            name, command = given.groups() if given else (None, peer)
            if "{port}" not in command:
                raise Failure(f"--peer '{peer}' is neither {' nor '.join(KNOWN_PEERS)} "
                              "nor a command with {port} in it")
            name = name or os.path.basename(shlex.split(command)[0])
        taken = [server.name for server in servers]
        if name in taken:
            name += f"#{len(taken)}"
        servers.append(Server(name, command, cpus, threads, None, more))
    return servers


def add_server_options(parser):
    parser.add_argument("--server", metavar="CMD", default=SPLITRING,
                        help="what to start in Splitring's place; {port} {threads} {engine} are "
                             "filled in (default: build/splitring)")
    parser.add_argument("--splitring", metavar="PATH", help="another Splitring binary")
    parser.add_argument("--name", help="what the tables call it")
    parser.add_argument("--engine", default=None, help="fills {engine} (auto)")
    parser.add_argument("--peer", metavar="CMD", action="append",
                        help="redis, valkey, or [name=]command with {port} in it; may be repeated "
                             "(default: redis, and valkey if get-valkey.sh has been run)")
    parser.add_argument("--loadgen", metavar="PATH", help="(default: build/bench/loadgen, or "
                                                          "compiled for this run)")
    parser.add_argument("--server-cpu", default="0", help="CPU of the servers (0)")
    parser.add_argument("--load-cpu", default="1", help="CPU of the load (1)")
    parser.add_argument("--rounds", type=int, help="how often everything is measured")
    parser.add_argument("--json", metavar="FILE", help="all single results")


def finish_server_options(arguments):
    if arguments.splitring:
        arguments.server = SPLITRING.replace(os.path.join(ROOT, "build", "splitring"),
                                             shlex.quote(os.path.abspath(arguments.splitring)))
    if "{port}" not in arguments.server:
        raise Failure("--server needs {port}")
    if not arguments.name:
        arguments.name = os.path.basename(shlex.split(arguments.server)[0])
        if arguments.name in ("redis-server", "valkey-server"):
            arguments.name += "*"
    cpus = os.sched_getaffinity(0)
    for cpu in (arguments.server_cpu, arguments.load_cpu):
        if not cpu.isdigit() or int(cpu) not in cpus:
            raise Failure(f"CPU {cpu} is not among this process's CPUs {sorted(cpus)}")


class Programs:
    """loadgen and echo: from the build folder, else compiled into a temporary one."""

    def __init__(self, loadgen=None):
        self.folder = None
        self.given = os.path.abspath(loadgen) if loadgen else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def path(self, name):
        if name == "loadgen" and self.given:
            return self.given
        built = os.path.join(ROOT, "build", "bench", name)
        if os.access(built, os.X_OK):
            return built
        self.folder = self.folder or tempfile.mkdtemp(prefix="splitring-bench-")
        program = os.path.join(self.folder, name)
        if not os.path.exists(program):
            load = os.path.join(BENCH, "load")
            sources = [os.path.join(load, file) for file in sorted(os.listdir(load))
                       if file.endswith(".c") and (file == "echo.c") == (name == "echo")]
            subprocess.run(["cc", "-std=c17", "-D_GNU_SOURCE", "-O2", "-o", program, *sources,
                            "-pthread", "-lm"], check=True)
        return program


class Load:
    """Runs loadgen against a server, with the CPU's other users and perf's counts beside it."""

    def __init__(self, programs, cpu=None):
        self.loadgen = programs.path("loadgen")
        self.cpu = cpu
        self.perf = perf_supported()

    def run(self, server, **options):
        argv = [self.loadgen, "--port", str(server.port),
                "--server-pid", str(server.pid), "--json"]
        if self.cpu is not None:
            options.setdefault("cpus", self.cpu)
        for key, value in options.items():
            if value is not None:
                argv.append("--" + key.replace("_", "-"))
                if value is not True:
                    argv.append(str(value))
        perf = self._perf_start(server) if self.perf else None
        busy = cpu_busy_s(server.cpus)
        before = server.cpu_exact_s()
        done = subprocess.run(argv, capture_output=True, text=True)
        own = server.cpu_exact_s() - before
        busy = cpu_busy_s(server.cpus) - busy
        counts = self._perf_stop(perf) if perf else {}
        if done.returncode != 0:
            raise Failure(f"{server.name}: {shlex.join(argv)}\n{done.stderr.strip()}")
        result = json.loads(done.stdout)
        result["server_us"] = result["server_user_us"] + result["server_system_us"]
        result["others"] = max(0.0, 1 - own / busy) if server.cpus is not None and busy else None
        for name, count in counts.items():
            result[name] = count / result["requests_all"]
        return result

    def preload(self, server, **options):
        options.setdefault("clients", 4)
        options.setdefault("pipeline", 64)
        return self.run(server, preload=True, **options)

    @staticmethod
    def _perf_start(server):
        return subprocess.Popen(
            ["perf", "stat", "-x,", "-e", "instructions:u,instructions:k", "-p", str(server.pid)],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    @staticmethod
    def _perf_stop(perf):
        perf.send_signal(signal.SIGINT)
        text = perf.communicate()[1]
        counts = {}
        for line in text.splitlines():
            fields = line.split(",")
            if len(fields) > 2 and fields[0].isdigit():
                kind = "user" if fields[2].endswith(":u") else "kernel"
                counts["instructions_" + kind] = int(fields[0])
        return counts


def perf_supported():
    """Whether this machine counts instructions (most virtual ones do not)."""
    if shutil.which("perf") is None:
        return False
    done = subprocess.run(["perf", "stat", "-x,", "-e", "instructions:u", "true"],
                          capture_output=True, text=True)
    return bool(re.search(r"^\d+,", done.stderr, re.M))


def cpu_busy_s(cpus):
    """Seconds that a CPU has not been idle; 0 for servers that are not pinned."""
    if cpus is None:
        return 0
    with open("/proc/stat") as file:
        line = next(line for line in file if line.startswith(f"cpu{cpus} "))
    fields = [int(field) for field in line.split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) * TICK_S


def median(values):
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None


def paired(results, others, key="server_us"):
    """Median and range of the ratios of results that were taken in the same round."""
    ratios = [one[key] / other[key] for one, other in zip(results, others) if other[key]]
    return (statistics.median(ratios), min(ratios), max(ratios)) if ratios else None


def ratio_text(ratio):
    if ratio is None:
        return "–"
    middle, low, high = ratio
    return f"{middle:.2f} ({low:.2f}–{high:.2f})"


def rotated(items, by):
    """Who goes first changes from round to round, so that drift hits everybody alike."""
    by %= len(items)
    return items[by:] + items[:by]


def number(value, digits=2):
    if value is None:
        return "–"
    return f"{value:,.0f}" if digits == 0 else f"{value:.{digits}f}"


def print_table(title, head, rows):
    print(f"\n{title}\n")
    cells = [head] + [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    for i, row in enumerate(cells):
        line = [cell.ljust(width) if j == 0 else cell.rjust(width)
                for j, (cell, width) in enumerate(zip(row, widths))]
        print("| " + " | ".join(line) + " |")
        if i == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")
    sys.stdout.flush()


def progress(text):
    print(text, file=sys.stderr, flush=True)


def save_json(path, results):
    if path:
        with open(path, "w") as file:
            json.dump(results, file, indent=1)
            file.write("\n")
