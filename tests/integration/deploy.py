#!/usr/bin/python3
"""Where Splitring is a guest: settings from the environment, a service manager, the place of a
container's first process, a root file system that cannot be written, a seccomp profile, manifests.
"""
# matrix: once release

import ctypes
import fnmatch
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "users")]
import npm  # noqa: E402
import process as process_tests  # noqa: E402
import support  # noqa: E402

TOP = HERE.parent.parent
DEPLOY = TOP / "tools" / "deploy"
NOBODY = 65532  # the image's user
root = unittest.skipUnless(os.geteuid() == 0, "needs root")


def setting(client, name):
    return client.ok("CONFIG", "GET", name)[1].decode()


def run(*command, **more):
    return subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60,
                          **more)


class Environment(unittest.TestCase):
    def test_directives(self):
        """File, then environment, then options; a value of several lines is several lines."""
        names = {"SPLITRING_MAXMEMORY": "7mb", "SPLITRING_TIMEOUT": "33",
                 "SPLITRING_SAVE": "900 1\n300 10", "SPLITRING_HASH_MAX_LISTPACK_ENTRIES": "9",
                 "SPLITRING_HZ": "20"}
        files = {"redis.conf": "timeout 11\nmaxclients 99\nhz 15\n"}
        command = [support.program(), "redis.conf", "--hz", "30"]
        with support.Server(command, "splitring", env=names, files=files) as server, \
                server.client() as client:
            self.assertEqual(setting(client, "maxmemory"), str(7 << 20))
            self.assertEqual(setting(client, "timeout"), "33")
            self.assertEqual(setting(client, "maxclients"), "99")
            self.assertEqual(setting(client, "hz"), "30")
            self.assertEqual(setting(client, "save"), "900 1 300 10")
            self.assertEqual(setting(client, "hash-max-listpack-entries"), "9")

    def test_what_kubernetes_adds(self):
        """A Service of the name splitring is no setting; a name that is none is told."""
        names = {"SPLITRING_PORT": "tcp://10.0.0.1:6379", "SPLITRING_SERVICE_HOST": "10.0.0.1",
                 "SPLITRING_PORT_6379_TCP_ADDR": "10.0.0.1", "SPLITRING_MAXMEMROY": "1gb"}
        with support.Server([support.program()], "splitring", env=names) as server, \
                server.client() as client:
            client.ok("PING")
            told = [line for line in server.log().splitlines() if "environment" in line]
            self.assertEqual(len(told), 1, told)
            self.assertTrue(told[0].endswith("directive: SPLITRING_MAXMEMROY"), told)

    def test_mistakes(self):
        done = run(support.program(), env={**os.environ, "SPLITRING_MAXMEMORY": "much"})
        self.assertEqual(done.returncode, 1)
        self.assertIn("Reading the environment", done.stdout)
        self.assertIn(">>> 'maxmemory much'", done.stdout)


class Supervised(unittest.TestCase):
    def listen(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = Path(folder.name) / "notify"
        heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(heard.close)
        heard.bind(str(path))
        heard.settimeout(support.START_SECONDS)
        return heard, str(path)

    def next(self, heard, word):
        """The next datagram that has the word."""
        while True:
            text = heard.recv(4096).decode()
            if word in text:
                return text

    def test_systemd(self):
        for how in ("systemd", "auto"):
            heard, path = self.listen()
            server = support.server("--supervised", how, "--save", "3600 1",
                                    env={"NOTIFY_SOCKET": path})
            self.assertIn("STATUS=Ready to accept connections", self.next(heard, "READY=1"))
            with server.client() as client:
                self.assertIn(b"process_supervised:systemd\r\n", client.ok("INFO", "server"))
                client.ok("SET", "k", "v")
            server.process.send_signal(signal.SIGTERM)
            self.next(heard, "STATUS=Saving")
            self.next(heard, "STOPPING=1")
            self.assertEqual(server.wait(), 0)

    def test_nobody_there(self):
        with support.server("--supervised", "systemd",
                            env={"NOTIFY_SOCKET": "/no/such/socket"}) as server, \
                server.client() as client:
            client.ok("PING")
            self.assertIn("systemd", server.log())
            self.assertIn(b"process_supervised:no\r\n", client.ok("INFO", "server"))

    def test_unit_file(self):
        if not shutil.which("systemd-analyze"):
            self.skipTest("no systemd-analyze")
        with tempfile.TemporaryDirectory() as folder:
            text = (DEPLOY / "splitring.service").read_text()
            text = text.replace("/usr/bin/splitring", support.program())
            unit = Path(folder) / "splitring.service"
            unit.write_text(text)
            done = run("systemd-analyze", "verify", "--man=no", unit)
        mine = [line for line in done.stdout.splitlines() if "splitring.service" in line]
        self.assertEqual(mine, [])


@root
class FirstProcess(unittest.TestCase):
    def test_orphans_leave_no_zombie(self):
        """As PID 1 it is given every orphan of its container."""
        port = support.free_port()
        command = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc",
                   support.program(), "--threads", "1"]
        with support.Server(command, "splitring", port=port) as server:
            inner = run("pgrep", "-P", server.pid).stdout.split()[0]
            done = run("nsenter", "-t", inner, "-p", "-m", "sh", "-c",
                       "(sleep 0.05 & sleep 0.1 &) ; sleep 0.5; ps -e -o stat,comm,ppid")
            self.assertEqual(done.returncode, 0, done.stdout)
            self.assertNotRegex(done.stdout, r"(?m)^Z")
            os.kill(int(inner), signal.SIGTERM)
            self.assertEqual(server.wait(), 0)


def bpf_of(profile):
    """A function that puts this process under the profile; for preexec_fn."""
    lib = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    lib.seccomp_init.restype = ctypes.c_void_p
    allow, errno_1 = 0x7fff0000, 0x00050001
    names = [n.encode() for group in profile["syscalls"] for n in group["names"]]
    numbers = [number for number in map(lib.seccomp_syscall_resolve_name, names) if number >= 0]
    context = ctypes.c_void_p(lib.seccomp_init(errno_1))
    for number in numbers:
        if lib.seccomp_rule_add(context, allow, number, 0):
            raise OSError("seccomp_rule_add")

    def load():
        if lib.seccomp_load(context):
            os._exit(99)
    return load


class Profile(unittest.TestCase):
    def test_everything_under_it(self):
        """Nothing that the server does is refused, io_uring included; what it never does is."""
        try:
            load = bpf_of(json.loads((DEPLOY / "seccomp.json").read_text()))
        except OSError:
            self.skipTest("no libseccomp")
        done = subprocess.run(["unshare", "--user", "true"], preexec_fn=load, timeout=60,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.assertNotEqual(done.returncode, 0)
        with tempfile.TemporaryDirectory() as folder:
            port = support.free_port()
            process = subprocess.Popen(
                [support.program(), "--port", str(port), "--dir", folder, "--threads", "2",
                 "--save", "3600 1", "--unixsocket", f"{folder}/s", "--logfile", "log"],
                preexec_fn=load)
            try:
                with client_of(port) as client:
                    self.assertIn(b"io_uring_refused:no\r\n", client.ok("INFO", "server"))
                    for n in range(1000):
                        client.ok("SET", f"k{n}", "v" * n)
                    client.ok("EVAL", "return redis.call('GET', 'k7')", 0)
                    client.ok("SET", "last", "1")
                    client.ok("CONFIG", "SET", "appendonly", "yes")
                    client.ok("SET", "last", "1")
                    client.ok("SAVE")
                process.send_signal(signal.SIGTERM)
                self.assertEqual(process.wait(support.STOP_SECONDS), 0)
            finally:
                process.kill()
                process.wait()


def client_of(port):
    deadline = time.monotonic() + support.START_SECONDS
    while True:
        try:
            return support.Client((support.HOST, port))
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


@root
class ReadOnlyRoot(unittest.TestCase):
    """The image's file system, mounted read-only, an unprivileged user, io_uring refused."""

    def enter(self, folder, *options):
        launch = process_tests.launcher()
        inside = " ".join(["/usr/bin/splitring", *map(str, options)])
        script = (f"set -e; cd {folder}; mount --bind . .; cd {folder}; "
                  "mount -t tmpfs -o mode=1777 tmpfs data; mount -o remount,ro,bind .; "
                  f"exec chroot --userspec={NOBODY}:{NOBODY} . {inside}")
        return [str(launch), "unshare", "--mount", "sh", "-c", script]

    def test_serve_save_and_end(self):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "root"
            done = run(DEPLOY / "rootfs", Path(support.program()).parent, folder)
            self.assertEqual(done.returncode, 0, done.stdout)
            port = support.free_port()
            command = self.enter(folder, "--port", port, "--dir", "/data", "--save", "3600", "1",
                                 "--threads", "2", "--shutdown-timeout", "1")
            with support.Server(command, "splitring", port=port) as server:
                with server.client() as client:
                    self.assertIn(b"io_engine:epoll\r\n", client.ok("INFO", "server"))
                    self.assertIn(str(NOBODY), Path(f"/proc/{server.pid}/status").read_text())
                    client.ok("SET", "k", "v")
                told, stop = {}, threading.Event()

                def write(number):
                    try:
                        with server.client() as client:
                            while not stop.is_set():
                                at = told.get(number, 0) + 1
                                client.ok("SET", f"n{number}", at)
                                told[number] = at
                    except (support.Closed, OSError):
                        pass

                writers = [threading.Thread(target=write, args=(n,)) for n in range(4)]
                for writer in writers:
                    writer.start()
                deadline = time.monotonic() + support.REPLY_SECONDS
                while len(told) < 4 and time.monotonic() < deadline:
                    time.sleep(0.02)
                server.process.send_signal(signal.SIGTERM)
                self.assertEqual(server.wait(), 0)
                stop.set()
                for writer in writers:
                    writer.join()
                self.assertEqual(len(told), 4)
                log = server.log()
                self.assertIn("io_uring is refused here", log)
                self.assertIn("DB saved on disk", log)


def run_lines(dockerfile):
    """The commands of all RUN lines, as words."""
    text = dockerfile.read_text().replace("\\\n", " ")
    for line in re.findall(r"(?m)^RUN (.*)$", text):
        yield from (part.split() for part in line.split("&&"))


class Image(unittest.TestCase):
    """Nothing here runs docker; that every command of the file is one, with such arguments, is
    seen without it."""

    def test_commands(self):
        commands = {words[0]: words[1:] for words in run_lines(DEPLOY / "Dockerfile")}
        self.assertEqual(set(commands), {"tools/install", "tools/build", "tools/deploy/rootfs"})
        for name in commands:
            self.assertTrue(os.access(TOP / name, os.X_OK), name)
        # Where there is no apt, tools/install only says what it would install.
        with tempfile.TemporaryDirectory() as folder:
            for tool in ("bash", "dirname", "env"):
                os.symlink(shutil.which(tool), f"{folder}/{tool}")
            for words, code in ((commands["tools/install"], 0), (["--build"], 2)):
                done = run(TOP / "tools/install", *words, env={"PATH": folder})
                self.assertEqual(done.returncode, code, done.stdout)
        variant, *targets = commands["tools/build"]
        built = re.search(rf"(?m)^{variant}\) dir=(\S+)", (TOP / "tools/build").read_text())
        self.assertEqual(built.group(1), commands["tools/deploy/rootfs"][0])
        known = run("ninja", "-C", Path(support.program()).parent, "-t", "targets", "all").stdout
        for target in targets:
            self.assertRegex(known, rf"(?m)^{target}: ")
        shipped = re.search(r"for program in (.*); do", (DEPLOY / "rootfs").read_text()).group(1)
        self.assertEqual(sorted(shipped.split()), sorted(targets))

    def test_what_the_build_needs_is_sent(self):
        """No file of the project is kept from the build by .dockerignore but CI's own."""
        ignored = [line.strip("/") for line in (TOP / ".dockerignore").read_text().splitlines()
                   if line and not line.startswith("#")]
        self.assertIn("build*", ignored)
        for path in run("git", "-C", TOP, "ls-files").stdout.splitlines():
            name = Path(path)
            for pattern in ignored:
                deep = pattern.removeprefix("**/")
                at = name.parts if deep != pattern else name.parts[:1]
                hit = any(fnmatch.fnmatchcase(part, deep) for part in at)
                self.assertFalse(hit and name.parts[0] != ".ci", (path, pattern))


class Monitoring(unittest.TestCase):
    """Rules and dashboard name only what a live server tells."""

    @classmethod
    def setUpClass(cls):
        port = support.free_port()
        with support.server("--admin-port", str(port)) as server, server.client() as client:
            client.ok("SET", "k", "v")
            client.call("NO")
            with urllib.request.urlopen(f"http://{support.HOST}:{port}/metrics") as answer:
                text = answer.read().decode()
        cls.names = {re.split("[{ ]", line)[0] for line in text.splitlines() if line[0] != "#"}
        cls.labels = {}
        for name, labels in re.findall(r"(?m)^(splitring_\w+)\{(.*?)\} ", text):
            cls.labels.setdefault(name, set()).update(re.findall(r"(\w+)=\"", labels))
        cls.rules = (DEPLOY / "monitoring" / "alerts.yaml").read_text()
        cls.board = json.loads((DEPLOY / "monitoring" / "dashboard.json").read_text())

    def expressions(self):
        for panel in self.board["panels"]:
            for target in panel.get("targets", ()):
                yield target["expr"]
        for note in self.board["annotations"]["list"]:
            yield note["expr"]

    def assert_told(self, text):
        used = set(re.findall(r"\bsplitring_\w+", text))
        self.assertEqual(used - self.names, set())
        return len(used)

    def test_rules(self):
        self.assertGreater(self.assert_told(self.rules), 8)
        self.assertFalse({"splitring_no_such"} <= self.names)
        # Every rule names a metric, not only the file.
        for alert in re.split(r"- alert: ", self.rules)[1:]:
            expression = alert[alert.index("expr:"):alert.index("labels:")]
            self.assertRegex(expression, r"splitring_|\bup\{", alert[:40])

    def test_dashboard(self):
        expressions = list(self.expressions())
        self.assertGreater(len(expressions), 30)
        for expression in expressions:
            self.assertEqual(self.assert_told(expression) > 0, True, expression)
            for name, wanted in re.findall(r"by \(([\w, ]+)\) \(rate\((splitring_\w+)", expression):
                self.assertLessEqual(set(name.replace(" ", "").split(",")),
                                     self.labels[wanted], expression)
        ids = [panel["id"] for panel in self.board["panels"]]
        self.assertEqual(len(ids), len(set(ids)))

    @unittest.skipUnless(shutil.which("promtool"), "promtool is not installed")
    def test_promtool(self):
        for what, file in (("rules", "alerts.yaml"), ("config", "scrape.yaml")):
            done = run("promtool", "check", what, DEPLOY / "monitoring" / file)
            self.assertEqual(done.returncode, 0, done.stdout)
        # The dashboard's expressions, as rules; variables of Grafana have no meaning to promtool.
        rules = [{"record": f"r:{n}", "expr": e.replace("$__rate_interval", "1m")}
                 for n, e in enumerate(self.expressions())]
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            json.dump({"groups": [{"name": "dashboard", "rules": rules}]}, file)
            file.flush()
            done = run("promtool", "check", "rules", file.name)
        self.assertEqual(done.returncode, 0, done.stdout)


class Manifests(unittest.TestCase):
    def validate(self, text):
        try:
            modules = npm.node_modules()
        except npm.Unreachable as error:
            self.skipTest(str(error))
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write(text)
            file.flush()
            done = run("node", HERE.parent / "users" / "kubernetes.js", file.name,
                       env={**os.environ, "NODE_PATH": str(modules)})
        return done

    def assert_sound(self, text):
        done = self.validate(text)
        self.assertEqual(done.returncode, 0, done.stdout)
        kinds = re.findall(r"(?m)^ok (\w+)", done.stdout)
        for kind in ("StatefulSet", "Service", "ConfigMap", "PodDisruptionBudget"):
            self.assertIn(kind, kinds)

    def assert_config(self, text):
        """The redis.conf inside, as the server itself reads it."""
        lines = text[text.index("redis.conf: |"):].splitlines()[1:]
        config = []
        for line in lines:
            if line.strip() and not line.startswith("    "):
                break
            config.append(line.strip())
        done = subprocess.run([support.program(), "-", "--check-config"], text=True, timeout=60,
                              input="\n".join(line for line in config if "dir /data" not in line),
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertGreater(len(config), 3)

    def test_kustomize(self):
        if not shutil.which("kubectl"):
            self.skipTest("no kubectl")
        folders = [DEPLOY / "kustomize" / "base", *(DEPLOY / "kustomize" / "overlays").iterdir()]
        self.assertGreater(len(folders), 3)
        for folder in folders:
            with self.subTest(folder.name):
                done = run("kubectl", "kustomize", folder)
                self.assertEqual(done.returncode, 0, done.stdout)
                self.assert_sound(done.stdout)
                self.assert_config(done.stdout)

    def test_a_mistake_is_found(self):
        text = (DEPLOY / "kustomize" / "base" / "statefulset.yaml").read_text()
        self.assertNotEqual(
            self.validate(text.replace("containerPort: 6379", "containerPort: six")).returncode, 0)

    def test_helm(self):
        if not shutil.which("go") or not Path("/usr/share/gocode/src/gopkg.in/yaml.v3").exists():
            self.skipTest("no go, or not its libraries")
        for options in ((), ("persistence.enabled=false", "existingSecret=pw", "image.tag=1.0",
                             "seccompProfile=profiles/splitring.json", "podAnnotations.a=b")):
            with tempfile.TemporaryDirectory() as cache:
                done = run("go", "run", HERE.parent / "users" / "helm_render.go",
                           DEPLOY / "helm" / "splitring", "release", *options,
                           env={**os.environ, "GO111MODULE": "off", "GOCACHE": cache,
                                "GOPATH": "/usr/share/gocode"})
            self.assertEqual(done.returncode, 0, done.stdout)
            self.assert_sound(done.stdout)
            self.assert_config(done.stdout)


if __name__ == "__main__":
    unittest.main(verbosity=2)
