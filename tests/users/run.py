"""Other people's programs that live on Redis, against a fresh server each.

    tests/users/run.py [--server PATH | --peer redis-server] [--threads N] [--spread]
                       [--only PATTERN]

Each program of PRODUCTS does real work with one product and checks it against what it saw itself
(common.py, common.js). It says `version V` and one `ok …` per check; any other end than exit code
0 is a failure, and so is a server that does not end well afterwards. A product is skipped only
where its packages are missing: no Debian packages, or no way to npm's registry.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
import npm  # noqa: E402
from integration import support  # noqa: E402

PYTHON = "/usr/bin/python3"
SECONDS = 150  # a program that takes longer hangs
TAIL_LINES = 40

# program: what it must find installed (python modules, ruby libraries; node's come by npm)
PRODUCTS = {
    "redis_py.py": ["redis"],
    "django_cache.py": ["django", "django_redis"],
    "rq_jobs.py": ["redis", "rq"],
    "celery_jobs.py": ["redis", "celery", "kombu"],
    "sidekiq_jobs.rb": ["sidekiq"],
    "ioredis.js": [],
    "node_redis.js": [],
    "sessions.js": [],
    "socketio.js": [],
    "redlock.js": [],
    "bullmq.js": [],
}


def lacking(interpreter, statement, names):
    if not shutil.which(interpreter[0]):
        return f"no {interpreter[0]}"
    absent = [name for name in names if subprocess.run(
        interpreter + [statement.format(name)], capture_output=True).returncode]
    return f"{interpreter[0]} has no {' '.join(absent)}" if absent else None


def missing(program, needs):
    """Why a program cannot run here, or None."""
    if program.endswith(".py"):
        return lacking([PYTHON, "-c"], "import {}", needs)
    if program.endswith(".rb"):
        return lacking(["ruby", "-e"], "require '{}'", needs)
    try:
        npm.node_modules()
    except npm.Unreachable as reason:
        return str(reason)
    return None


def command_of(program):
    runner = {".py": [PYTHON], ".rb": ["ruby"], ".js": ["node"]}[Path(program).suffix]
    return runner + [str(HERE / program)]


def environment(program, server, folder):
    more = {"USERS_PORT": str(server.port), "USERS_FOLDER": folder, "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1"}
    if program.endswith(".js"):
        more["NODE_PATH"] = str(npm.node_modules())
    return {**os.environ, **more}


def kill_group(process):
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def run_program(program, server):
    """Runs one program with its workers; (None or what was wrong, its output)."""
    with tempfile.TemporaryDirectory(prefix="splitring-users-") as folder:
        with open(Path(folder, "output"), "w+b") as output:
            process = subprocess.Popen(
                command_of(program), env=environment(program, server, folder), cwd=folder,
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                start_new_session=True)
            try:
                code = process.wait(SECONDS)
                wrong = None if code == 0 else f"exit code {code}"
            except subprocess.TimeoutExpired:
                wrong = f"killed: took longer than {SECONDS} s"
            kill_group(process)
            process.wait()
            output.seek(0)
            return wrong, output.read().decode(errors="replace")


def start_server(options):
    if options.peer:
        command = [options.peer, "--bind", support.HOST, "--save", ""]
        return support.Server(command, Path(options.peer).name)
    command = [options.server, "--bind", support.HOST, "--threads", options.threads]
    if options.spread:
        command += ["--connection-placement", "spread"]
    return support.Server(command, "splitring")


def judge(program, options):
    """Runs a program on a server of its own; (None or what was wrong, its output)."""
    server = start_server(options)
    wrong, text = run_program(program, server)
    checks = len(re.findall(r"^ok ", text, re.M))
    if not server.alive():
        wrong = f"the server has ended with {server.process.returncode}"
        text += server.log()
    elif not wrong and checks == 0:
        wrong = "nothing was checked"
    try:
        server.stop()
    except AssertionError as error:
        wrong = wrong or str(error)
    return wrong, text


def arguments():
    parser = argparse.ArgumentParser(description="Users' programs against a server.")
    parser.add_argument("--server", default=support.program(),
                        type=lambda path: Path(path).resolve(), help="path of splitring")
    parser.add_argument("--peer", help="another server's program, e.g. redis-server")
    parser.add_argument("--threads", type=int, default=2, help="splitring's workers")
    parser.add_argument("--spread", action="store_true",
                        help="connections on all workers in turn, however little there is to do")
    parser.add_argument("--only", default="", help="programs whose name matches this")
    parser.add_argument("--verbose", action="store_true", help="print what the programs say")
    return parser.parse_args()


def main():
    options = arguments()
    where = options.peer or f"{options.threads} workers" + (", spread" if options.spread else "")
    passed = failed = skipped = 0
    for program, needs in PRODUCTS.items():
        if not re.search(options.only, program):
            continue
        reason = missing(program, needs)
        if reason:
            skipped += 1
            print(f"{program:24} {where:17} skipped: {reason}", flush=True)
            continue
        begun = time.monotonic()
        wrong, text = judge(program, options)
        version = re.search(r"^version (.+)$", text, re.M)
        checks = len(re.findall(r"^ok ", text, re.M))
        failed += bool(wrong)
        passed += not wrong
        print(f"{program:24} {where:17} {'FAILED' if wrong else 'ok':7}{checks:4} checks  "
              f"{time.monotonic() - begun:5.1f} s  {version.group(1) if version else ''}",
              flush=True)
        if wrong or options.verbose:
            print("\n".join("  | " + line for line in text.splitlines()[-TAIL_LINES:]))
            print(f"  {wrong or ''}", flush=True)
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
