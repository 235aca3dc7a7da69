"""What the python programs of tests/users share: where the server is, a ledger, checks.

A ledger is a file beside the server: workers append one line per act, with O_APPEND and in one
write, so that lines of several processes never mix. It says what was done; the server under test
is not asked.
"""

import collections
import os
import subprocess
import sys
import time

HOST = "127.0.0.1"
PORT = int(os.environ.get("USERS_PORT", "6379"))
URL = f"redis://{HOST}:{PORT}"
FOLDER = os.environ.get("USERS_FOLDER", ".")
HERE = os.path.dirname(os.path.abspath(__file__))
PATIENCE_SECONDS = 60  # for what must happen; nothing is measured


class Ledger:
    def __init__(self, name):
        self.path = os.path.join(FOLDER, name)
        open(self.path, "a").close()

    def write(self, what):
        """`what` is one word per job; the time is when it was written."""
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(fd, f"{what} {time.time():.6f}\n".encode())
        finally:
            os.close(fd)

    def lines(self):
        with open(self.path) as file:
            return [line.split() for line in file if line.endswith("\n")]

    def counts(self):
        return collections.Counter(line[0] for line in self.lines())

    def times(self):
        return {line[0]: float(line[1]) for line in self.lines()}

    def complete(self, wanted):
        """Waits until all of these are there, then checks that each is there once, and no other."""
        wanted = set(wanted)
        wait_for(lambda: wanted <= set(self.counts()), lambda: f"missing: {self.missing(wanted)}")
        time.sleep(0.3)  # what is done twice is done twice soon
        counts = self.counts()
        check("no job done twice", {job: n for job, n in counts.items() if n != 1}, {})
        check("no job from nowhere", set(counts) - wanted, set())

    def missing(self, wanted):
        return sorted(set(wanted) - set(self.counts()))[:10]


def check(what, got, wanted=True):
    if got != wanted:
        raise SystemExit(f"not ok: {what}: {got!r}, not {wanted!r}")
    print(f"ok {what}", flush=True)


def wait_for(true, why=lambda: "", seconds=PATIENCE_SECONDS):
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise SystemExit(f"not ok: waited {seconds} s in vain; {why()}")
        time.sleep(0.05)


def version(text):
    print(f"version {text}", flush=True)


def start(*command, **environment):
    """A program of our own (a worker), which ends with us: run.py ends the process group."""
    return subprocess.Popen(command, cwd=HERE, stdin=subprocess.DEVNULL, stdout=sys.stderr,
                            env={**os.environ, **environment})


def stop(*processes):
    for process in processes:
        process.terminate()
    for process in processes:
        process.wait(PATIENCE_SECONDS)
