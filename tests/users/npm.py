"""Installs what package-lock.json names, once per lock, into the git-ignored .cache of the root.

The client is npm: the one on the PATH, else the version that package.json pins as packageManager,
fetched as one archive and checked against the digest there. Debian's own package npm would pull
354 packages for this. No script of any package is run, and native extras are left out.
"""

import fcntl
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = HERE.parent.parent / ".cache"
REGISTRY = "https://registry.npmjs.org"
TRIES = 3
FETCH_SECONDS = 60
INSTALL_SECONDS = 180


class Unreachable(Exception):
    """The packages are not here and cannot be had: no network, no node."""


def fetch(url):
    for attempt in range(TRIES):
        try:
            with urllib.request.urlopen(url, timeout=FETCH_SECONDS) as answer:
                return answer.read()
        except OSError as error:
            problem = error
            time.sleep(attempt)
    raise Unreachable(f"{url}: {problem}")


def own_npm():
    """The pinned npm as a command; its package brings all it needs."""
    pinned = json.loads((HERE / "package.json").read_text())["packageManager"]
    name, digest = pinned.split("+sha512.")
    number = name.split("@")[1]
    folder = CACHE / f"npm-{number}"
    if not folder.exists():
        data = fetch(f"{REGISTRY}/npm/-/npm-{number}.tgz")
        if hashlib.sha512(data).hexdigest() != digest:
            raise RuntimeError(f"npm {number} from the registry is not the one that was pinned")
        with tempfile.TemporaryDirectory(dir=CACHE) as unpacked:
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                archive.extractall(unpacked)
            os.rename(Path(unpacked, "package"), folder)
    return ["node", str(folder / "bin" / "npm-cli.js")]


def install(folder):
    npm = ["npm"] if shutil.which("npm") else own_npm()
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, folder)
    command = npm + ["ci", "--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund",
                     "--loglevel=error"]
    for attempt in range(TRIES):
        done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=INSTALL_SECONDS)
        if done.returncode == 0:
            return
        time.sleep(attempt)
    if any(word in done.stdout for word in ("ENOTFOUND", "EAI_AGAIN", "ECONN", "ETIMEDOUT")):
        raise Unreachable("npm ci: " + done.stdout.strip()[-300:])
    raise RuntimeError("npm ci: " + done.stdout)


def node_modules():
    """The folder to put into NODE_PATH. Two tests may ask at a time: one installs."""
    if not shutil.which("node"):
        raise Unreachable("node is not installed")
    digest = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()[:12]
    folder = CACHE / f"users-{digest}"
    CACHE.mkdir(exist_ok=True)
    with open(CACHE / "users.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=CACHE) as fresh:
                install(fresh)
                os.rename(fresh, folder)
                os.mkdir(fresh)  # for the context manager to remove
    return folder / "node_modules"
