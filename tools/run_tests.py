"""Builds every variant and runs every test; the engine behind tools/test.

A *job* is one test program in one setting, e.g. `release/unit/mailbox`, `tsan/stress/ring` or
`release/integration/test_strings.py[2,epoll]`. Jobs come from two places:

  meson       every test() of meson.build; its suite decides the variants (SUITES below)
  python      tests/integration/*.py and tests/compat/*.py, each file that holds tests, run for
              every number of workers, on both I/O engines. A line `# matrix: WORD…` in a
              file says otherwise:
              engines  every number of workers on every engine
              once     once per variant, with the server's defaults
              release  not against the sanitizer build
             tsan     also against the ThreadSanitizer build
              alone    nothing beside it (for tests that measure time)

Two jobs run at a time (the machine has two cores); ThreadSanitizer's and `alone` ones run alone.
Every job has a time limit, and the whole run has one, so that a hang is a failure and the closing
line `N passed, N failed` is always printed. What the programs get in their environment is listed
in CONTRIBUTING.md.
"""

import argparse
import ast
import ctypes
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import outcome

ROOT = Path(__file__).resolve().parent.parent
PYTHON = "/usr/bin/python3"  # Debian's: python3-redis is not seen by another one on the PATH
LOGS = ROOT / "build-logs"

BUILD_DIR = {"release": "build", "asan": "build-asan", "tsan": "build-tsan", "clang": "build-clang"}
SLOWER = {"release": 1, "asan": 2, "tsan": 4}  # time limits grow by this

# In which variants a meson suite runs. Criterion dies under ThreadSanitizer: only plain programs.
SUITES = {
    "unit": ("release", "asan"),
    "sim": ("release", "asan"),
    "fuzz": ("asan",),
    "stress": ("release", "tsan"),
}
OTHER_SUITES = ("release",)
QUICK = ("unit", "sim", "integration", "check", "tools")

PYTHON_SUITES = ("integration", "compat")
WORKERS = (1, 2, 4)
ENGINES = ("io_uring", "epoll")
ALL = [(w, e) for w in WORKERS for e in ENGINES]
MATRIX = {
    # Every number of workers, both engines; all six where a file asks for `engines`.
    "release": [(1, "epoll"), (2, "io_uring"), (4, "epoll")],
    "asan": [(2, "epoll"), (4, "io_uring")],
    "tsan": [(4, "io_uring"), (2, "epoll")],  # files that ask for it
}

SETTING_VARIABLES = ("TEST_THREADS", "TEST_IO_ENGINE")  # unset: the server's defaults

JOB_SECONDS = 240       # a python test file's limit
MESON_SECONDS_MIN = 90  # meson's own default, 30 s, is short where another job shares the machine
MESON_SECONDS_MAX = 900
BUILD_SECONDS = 1800
RUN_SECONDS = 80 * 60   # CI ends a run at 90 minutes, and would not print our closing line
TAIL_LINES = 60


@dataclass
class Job:
    variant: str
    group: str
    name: str  # within variant and group
    command: list
    seconds: float
    env: dict = field(default_factory=dict)
    cwd: Path = ROOT
    alone: bool = False

    @property
    def title(self):
        return f"{self.variant}/{self.group}/{self.name}"

    @property
    def heading(self):
        return f"{self.variant}/{self.group}"


def say(text=""):
    print(text, flush=True)


# ---- Jobs ---------------------------------------------------------------------------------------


def engine_refused(engine):
    """Why this machine cannot run an I/O engine, or None. Asks the kernel for an io_uring."""
    if engine != "io_uring":
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    params = ctypes.create_string_buffer(120)
    fd = libc.syscall(ctypes.c_long(425), ctypes.c_uint(4), params)
    if fd < 0:
        return os.strerror(ctypes.get_errno())
    os.close(fd)
    return None


def sanitizer_env(variant):
    if variant == "asan":
        return {
            "ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1:exitcode=99",
            "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=0",
            "SPLITRING_SIM_SEEDS": "1000",  # the full number of seeds is the release build's
        }
    if variant == "tsan":
        return {"TSAN_OPTIONS": "halt_on_error=0:second_deadlock_stack=1:exitcode=66"}
    return {}


def without_aslr(variant):
    """gcc 12's sanitizers lose their shadow memory on kernels that randomize more bits than they
    know of; the personality that setarch sets is inherited by servers that a test starts."""
    if variant not in ("asan", "tsan"):
        return []
    command = ["setarch", os.uname().machine, "-R"]
    try:
        usable = subprocess.run(command + ["true"], capture_output=True).returncode == 0
    except OSError:
        usable = False
    return command if usable else []


def meson_tests(variant):
    """What `meson introspect --tests` knows, as (suite, test) pairs."""
    done = subprocess.run(["meson", "introspect", "--tests", str(ROOT / BUILD_DIR[variant])],
                          capture_output=True, text=True)
    if done.returncode != 0:
        return []
    pairs = []
    for test in json.loads(done.stdout):
        suites = [name.rsplit(":", 1)[-1] for name in test["suite"]]
        known = [name for name in suites if name in SUITES]
        pairs.append(((known or suites or ["other"])[0], test))
    return pairs


def meson_jobs(variant):
    prefix = without_aslr(variant)
    jobs = []
    for suite, test in meson_tests(variant):
        if variant not in SUITES.get(suite, OTHER_SUITES):
            continue
        seconds = test["timeout"] if test["timeout"] > 0 else MESON_SECONDS_MAX
        seconds = max(seconds, MESON_SECONDS_MIN) * SLOWER[variant]
        jobs.append(Job(
            variant, suite, test["name"], prefix + test["cmd"],
            seconds=min(seconds, MESON_SECONDS_MAX),
            env=dict(test["env"]),
            cwd=Path(test["workdir"] or ROOT / BUILD_DIR[variant]),
            alone=variant == "tsan" or not test["is_parallel"]))
    return jobs


def matrix_words(source):
    """The words of a file's `# matrix: …` lines."""
    words = set()
    for line in re.findall(r"^#\s*matrix:(.*)$", source, re.M):
        words |= set(re.split(r"[\s,]+", line.strip()))
    unknown = words - {"once", "release", "engines", "alone", "tsan", ""}
    if unknown:
        raise ValueError(f"unknown matrix words: {' '.join(sorted(unknown))}")
    return words - {""}


def holds_tests(source):
    """Whether a class in it has a method test…; a file with none is a helper of the others."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return True  # run it, so that it fails
    return any(isinstance(method, (ast.FunctionDef, ast.AsyncFunctionDef))
               and method.name.startswith("test")
               for node in tree.body if isinstance(node, ast.ClassDef)
               for method in node.body)


def python_files():
    for suite in PYTHON_SUITES:
        for path in sorted((ROOT / "tests" / suite).glob("*.py")):
            source = path.read_text()
            if holds_tests(source):
                yield suite, path, matrix_words(source)


def python_job(variant, suite, path, setting, alone):
    env = {
        "SPLITRING": str(ROOT / BUILD_DIR[variant] / "splitring"),
        "PYTHONPATH": os.pathsep.join([str(path.parent), str(ROOT / "tests")]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONFAULTHANDLER": "1",  # says where it hung, see abort()
    }
    name = path.name
    if setting:
        workers, engine = setting
        env["TEST_THREADS"] = str(workers)
        env["TEST_IO_ENGINE"] = engine
        name += f"[{workers},{engine}]"
    command = without_aslr(variant) + [PYTHON, "-W", "ignore::ResourceWarning",
                                       "-m", "unittest", "-v", path.stem]
    return Job(variant, suite, name, command, JOB_SECONDS * SLOWER[variant], env, alone=alone)


def python_jobs(variant, quick, refused):
    """One job per file and setting; returns them and how many settings the machine cannot run."""
    jobs, skipped = [], 0
    for suite, path, words in python_files():
        if variant != "release" and "release" in words:
            continue
        if variant == "tsan" and "tsan" not in words:
            continue
        settings = [None] if "once" in words else MATRIX[variant]
        if variant == "release" and "engines" in words:
            settings = ALL
        if quick and settings != [None]:
            settings = [(2, "io_uring")]
        for setting in settings:
            if setting and setting[1] in refused:
                skipped += 1
            else:
                alone = variant == "tsan" or "alone" in words
                jobs.append(python_job(variant, suite, path, setting, alone))
    return jobs, skipped


def own_jobs():
    """The house's rules, and the tests of the tools themselves."""
    tools = ROOT / "tools"
    env = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(tools)}
    return [
        Job("release", "check", "check.py", [PYTHON, str(tools / "check.py")], 300, env),
        Job("release", "tools", "selftest", [PYTHON, "-m", "unittest", "-v", "selftest"], 120, env),
    ]


def collect(options):
    refused = {e: why for e in ENGINES if (why := engine_refused(e))}
    for engine, why in refused.items():
        say(f"note: this machine refuses {engine} ({why}); its settings are skipped")
    jobs, skipped = own_jobs(), 0
    for variant in ("release",) if options.quick else ("release", "asan", "tsan"):
        jobs += meson_jobs(variant)
        if variant in MATRIX:
            more, left_out = python_jobs(variant, options.quick, refused)
            jobs += more
            skipped += left_out
    if options.quick:
        jobs = [job for job in jobs if job.group in QUICK]
    if options.only:
        jobs = [job for job in jobs if re.search(options.only, job.title)]
        skipped = 0
    return jobs, skipped


# ---- Running one job ----------------------------------------------------------------------------


def children_of_job(tag):
    """Processes that carry a job's tag in their environment: servers it forgot to stop."""
    mark = f"SPLITRING_JOB={tag}".encode()
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            environ = Path(entry.path, "environ").read_bytes()
        except OSError:
            continue
        if mark in environ.split(b"\0"):
            yield int(entry.name)


def abort(process):
    """Asks a program that hangs to end with a word about where (python's faulthandler does)."""
    process.send_signal(signal.SIGABRT)
    try:
        process.wait(timeout=3)
    except subprocess.TimeoutExpired:
        pass


def end_job(process, tag):
    """Ends what is left of a job; how many of its processes had outlived it."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    left = 0
    for pid in children_of_job(tag):
        try:
            os.kill(pid, signal.SIGKILL)
            left += 1
        except ProcessLookupError:
            pass
    return left


def read_logs(folder):
    parts = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != "output":
            parts.append(path.read_text(errors="replace"))
    return "\n".join(parts)


def run_job(job, slot, seconds):
    """Runs one job for at most so many seconds; its outcome, its duration, its output's end."""
    tag = re.sub(r"[^A-Za-z0-9_.-]+", "-", job.title)
    folder = LOGS / tag
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    inherited = {k: v for k, v in os.environ.items() if k not in SETTING_VARIABLES}
    env = {
        **sanitizer_env(job.variant), **inherited, **job.env,
        "SPLITRING_BUILD": str(ROOT / BUILD_DIR[job.variant]),
        "SPLITRING_VARIANT": job.variant,
        "SPLITRING_LOG_DIR": str(folder),
        "SPLITRING_JOB": tag,
        "SPLITRING_PORT_BASE": str(21000 + 2000 * slot),
        "CRITERION_JOBS": "1",
    }
    begun = time.monotonic()
    limit = None
    code = 127
    with open(folder / "output", "wb") as output:
        try:
            process = subprocess.Popen(job.command, cwd=job.cwd, env=env, start_new_session=True,
                                       stdin=subprocess.DEVNULL, stdout=output,
                                       stderr=subprocess.STDOUT)
        except OSError as error:
            output.write(f"{job.command[0]}: {error}\n".encode())
        else:
            try:
                code = process.wait(timeout=seconds)
            except subprocess.TimeoutExpired:
                limit = seconds
                abort(process)
            left = end_job(process, tag)
            process.wait()
            if left and limit is None:
                output.write(f"note: {left} process(es) outlived the test\n".encode())
    text = (folder / "output").read_text(errors="replace")
    result = outcome.read(text, code, limit, read_logs(folder))
    if not result.failed:
        shutil.rmtree(folder, ignore_errors=True)
    return result, time.monotonic() - begun, text


# ---- Running them all ---------------------------------------------------------------------------


class Run:
    """Counts and prints. Thread: any (two jobs report here)."""

    def __init__(self, options):
        self.options = options
        self.begun = time.monotonic()
        self.lock = threading.Lock()
        self.groups = {}
        self.failures = []  # (title, reasons, output)
        self.total = outcome.Outcome()
        self.slots = [0, 1]

    def left(self):
        return self.options.deadline - (time.monotonic() - self.begun)

    def count(self, result):
        self.total.passed += result.passed
        self.total.failed += result.failed
        self.total.skipped += result.skipped

    def fail(self, title, reason, output=""):
        with self.lock:
            self.total.failed += 1
            self.failures.append((title, [reason], output))

    def expect(self, jobs):
        for job in jobs:
            group = self.groups.setdefault(job.heading, {"jobs": 0, "busy": 0.0,
                                                         "sum": outcome.Outcome()})
            group["jobs"] += 1

    def report(self, job, result, seconds, text):
        with self.lock:
            self.count(result)
            if result.failed:
                self.failures.append((job.title, result.reasons, text))
            if result.failed or self.options.verbose:
                word = "FAILED" if result.failed else "ok"
                say(f"  {word:6} {job.title}  {counts(result)}  {seconds:.1f} s")
            group = self.groups[job.heading]
            group["jobs"] -= 1
            group["busy"] += seconds
            for name in ("passed", "failed", "skipped"):
                setattr(group["sum"], name, getattr(group["sum"], name) + getattr(result, name))
            if group["jobs"] == 0:
                say(f"{job.heading:24} {counts(group['sum']):32} {group['busy']:7.1f} s")

    def one(self, job):
        with self.lock:
            slot = self.slots.pop()
        try:
            seconds = min(job.seconds, self.left())
            if seconds <= 1:
                result, used, text = outcome.Outcome(), 0.0, ""
                result.fail("not run: the time for the whole run is over")
            else:
                result, used, text = run_job(job, slot, seconds)
        except Exception as error:  # a fault of ours must not end the run without its last line
            result, used, text = outcome.Outcome(), 0.0, ""
            result.fail(f"tools/run_tests.py: {error!r}")
        finally:
            with self.lock:
                self.slots.append(slot)
        self.report(job, result, used, text)

    def all(self, jobs):
        self.expect(jobs)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(self.one, [job for job in jobs if not job.alone]))
        for job in jobs:
            if job.alone:
                self.one(job)

    def summary(self):
        for title, reasons, text in self.failures:
            say()
            say(f"---- FAILED {title}")
            for reason in reasons[:20]:
                say(f"     {reason}")
            tail = outcome.ANSI.sub("", text).rstrip().splitlines()[-TAIL_LINES:]
            for line in tail:
                # A program's own closing line must not look like ours.
                say("     | " + line[:300])
        say()
        if self.failures:
            say("failed: " + " ".join(title for title, _, _ in self.failures))
            say(f"(whole outputs and the servers' logs: {LOGS.relative_to(ROOT)}/)")
        say(f"{time.monotonic() - self.begun:.0f} s")
        say(counts(self.total))
        return 1 if self.total.failed else 0


def counts(result):
    text = f"{result.passed} passed, {result.failed} failed"
    return text + (f", {result.skipped} skipped" if result.skipped else "")


# ---- Builds -------------------------------------------------------------------------------------


def run_build(variant, more, env, seconds):
    """tools/build with a time limit for it and all its compilers; exit code and output."""
    LOGS.mkdir(exist_ok=True)
    log = LOGS / f"build-{variant}"
    with open(log, "wb") as output:
        process = subprocess.Popen([str(ROOT / "tools/build"), variant, *more], env=env,
                                   stdin=subprocess.DEVNULL, stdout=output,
                                   stderr=subprocess.STDOUT, start_new_session=True)
        try:
            code = process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            code = process.wait()
            output.write(f"killed: took longer than {seconds:.0f} s\n".encode())
    return code, log.read_text(errors="replace")


def build(run, variant, *more):
    """Runs tools/build; False (and a failure) if it did not work. `--setup-only` is quiet."""
    env = dict(os.environ)
    if run.options.ci:
        env["MESON_ARGS"] = "-Dwerror=true --wrap-mode=nofallback"
    begun = time.monotonic()
    code, text = run_build(variant, more, env, max(1, min(BUILD_SECONDS, run.left())))
    what = "setup" if "--setup-only" in more else "build"
    if code != 0:
        run.fail(f"{what}/{variant}", outcome.exit_text(code), text)
    if code != 0 or what == "build":
        warnings = len(re.findall(r"\bwarning: ", text))
        word = ("ok" if code == 0 else "FAILED") + (f", {warnings} warnings" if warnings else "")
        say(f"{what + '/' + variant:24} {word:32} {time.monotonic() - begun:7.1f} s")
    return code == 0


def targets(jobs, variant):
    """What ninja must build for these jobs: everything, but under TSan only its own programs."""
    if variant != "tsan":
        return []
    folder = str(ROOT / BUILD_DIR[variant]) + "/"
    paths = {part[len(folder):] for job in jobs if job.variant == variant
             for part in [*job.command, job.env.get("SPLITRING", "")] if part.startswith(folder)}
    return sorted(paths)


def arguments():
    parser = argparse.ArgumentParser(prog="tools/test", description="Builds and runs all tests.")
    parser.add_argument("--quick", action="store_true",
                        help="release build only: unit, sim, integration once, the house's rules")
    parser.add_argument("--only", metavar="PATTERN",
                        help="jobs whose name matches the regular expression (see --list)")
    parser.add_argument("--list", action="store_true", help="print the jobs' names and stop")
    parser.add_argument("--verbose", action="store_true", help="a line for every job")
    parser.add_argument("--ci", action="store_true",
                        help="warnings are errors, no subprojects, clang as a second compiler")
    parser.add_argument("--deadline", type=float, default=RUN_SECONDS, metavar="SECONDS",
                        help="limit of the whole run (default: %(default)s)")
    return parser.parse_args()


def raise_limits():
    """Ten thousand connections need descriptors on both sides."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def main():
    options = arguments()
    raise_limits()
    run = Run(options)
    variants = ["release"] if options.quick else ["release", "asan", "tsan"]
    usable = {v: build(run, v, "--setup-only") for v in variants}
    jobs, skipped = collect(options)
    jobs = [job for job in jobs if usable[job.variant] or job.group in ("check", "tools")]
    if options.list:
        for job in jobs:
            say(job.title + ("  (alone)" if job.alone else ""))
        return 0
    for variant in variants:
        needed = any(j.variant == variant and j.group not in ("check", "tools") for j in jobs)
        if usable[variant] and needed and not build(run, variant, *targets(jobs, variant)):
            jobs = [j for j in jobs if j.variant != variant or j.group in ("check", "tools")]
    if options.ci and not options.only and build(run, "clang"):
        run.total.passed += 1  # one case: it compiles without a warning
    run.total.skipped += skipped
    run.all(jobs)
    return run.summary()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Exception:  # whatever went wrong with us, the last line is there
        traceback.print_exc(file=sys.stdout)
        say("0 passed, 1 failed")
        sys.exit(1)
