"""Power is cut under load: what was answered is there afterwards.

    tests/integration/power_loss.py [--rounds 5] [--writers 20] [--seed N]     (root)

kill -9 leaves the page cache as it is, so crash.py cannot tell who never synced. Here the server
writes under `appendfsync always` to an ext4 of its own on a loop device. EXT4_IOC_SHUTDOWN with
NOLOGFLUSH ends that file system where it stands: nothing that is dirty, data or journal, reaches
the device any more. Then it is unmounted, mounted again (its journal is replayed), and read by the
server itself and by redis-server. Writers, rewrites and the judge are those of crash.py. What is
written without a sync must be lost, or the test would show nothing: a plain file and a server that
does not sync are looked at, too.

The mounts live in a mount namespace of this process, so that the kernel takes them and the loop
device back however the test ends.
"""
# matrix: once

import argparse
import ctypes
import fcntl
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import crash, support  # noqa: E402

IMAGE_BYTES = 96 << 20
EXT4_IOC_SHUTDOWN, NO_LOG_FLUSH = 0x8004587D, 2
CLONE_NEWNS = 0x00020000


def run(*command):
    """A command of the system; why it failed, or None."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        return f"{command[0]}: {error.strerror}"
    return (done.stderr.strip() or f"exit {done.returncode}") if done.returncode else None


def own_mounts():
    """A mount namespace for this process and its children; why not, or None."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        return f"unshare: {os.strerror(ctypes.get_errno())}"
    return run("mount", "--make-rprivate", "/")


class Disk:
    """An ext4 on a loop device whose power can be cut."""

    def __init__(self):
        self.home = Path(tempfile.mkdtemp(prefix="splitring-power-"))
        self.image, self.root = self.home / "image", self.home / "root"
        self.mounted = False

    def make(self):
        """Why there can be none here, or None."""
        if os.geteuid() != 0:
            return "root is needed to mount"
        self.root.mkdir()
        with open(self.image, "wb") as image:
            image.truncate(IMAGE_BYTES)
        return own_mounts() or run("mkfs.ext4", "-q", "-F", str(self.image)) or self.mount()

    def mount(self):
        why = run("mount", "-t", "ext4", "-o", "loop", str(self.image), str(self.root))
        self.mounted = why is None
        return why and f"mount -o loop: {why}"

    def cut_power(self):
        folder = os.open(self.root, os.O_RDONLY)
        try:
            fcntl.ioctl(folder, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(folder)

    def power_again(self):
        deadline = time.monotonic() + 10  # a killed process' files are closed soon
        while (why := run("umount", str(self.root))) is not None:
            if time.monotonic() > deadline:
                raise AssertionError(why)
            time.sleep(0.05)
        self.mounted = False
        why = self.mount()
        if why:
            raise AssertionError(why)

    def close(self):
        if self.mounted:
            run("umount", "-l", str(self.root))
        shutil.rmtree(self.home, ignore_errors=True)


class PowerCut(crash.Crash):
    """crash.py's rounds, but the power goes before the server does."""

    def __init__(self, fsync, writers, disk):
        super().__init__(fsync, writers)
        self.disk = disk
        shutil.rmtree(self.folder)
        self.folder = disk.root / "data"
        self.folder.mkdir()
        os.sync()

    def kill(self, server):
        self.disk.cut_power()
        try:
            server.wait()  # its next sync fails, and it says so
            if "Exiting" not in server.log():
                raise AssertionError(f"the server ended otherwise:\n{server.log()[-2000:]}")
        finally:
            server.kill()
        self.disk.power_again()


    def killed_at(self, writers, killed):
        """A sync that was under way while the file system was shut down may have been told that
        all is well: only what was answered before counts."""
        for writer in writers:
            writer.answered = {name: [a for a in answers if a[0] < killed]
                               for name, answers in writer.answered.items()}


class Careless(PowerCut):
    """Judged as one that syncs, and does not."""

    def start(self):
        return support.server("--dir", str(self.folder), "--appendonly", "yes",
                              "--appendfsync", "no")

    def kill(self, server):
        self.disk.cut_power()
        server.kill()
        self.disk.power_again()


def rounds(disk, count, writers, seed, tell=lambda *_: None):
    rng = random.Random(seed)
    cut = PowerCut("always", writers, disk)
    total = 0
    for n in range(count):
        wrong, acked = cut.round(rng)
        total += acked
        tell(f"round {n + 1}: {acked} writes answered, {len(wrong)} problems")
        if wrong:
            told = "\n".join(wrong[:6] + wrong[-2:])
            raise AssertionError(f"seed {seed}, round {n + 1}:\n{told}")
    cut.close()
    return total


class Rounds(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.disk = Disk()
        cls.addClassCleanup(cls.disk.close)
        why = cls.disk.make()
        if why:
            print(f"power_loss: skipped: {why}")
            raise unittest.SkipTest(why)

    def test_unsynced_is_lost(self):
        """The cut is a cut: what nobody synced is gone, what was synced is not."""
        folder = self.disk.root / "probe"
        folder.mkdir()
        (folder / "synced").write_bytes(b"x" * 5000)
        os.sync()
        (folder / "unsynced").write_bytes(b"x" * 5000)
        self.disk.cut_power()
        self.disk.power_again()
        self.assertEqual((folder / "synced").read_bytes(), b"x" * 5000)
        lost = folder / "unsynced"
        self.assertFalse(lost.exists() and lost.read_bytes() == b"x" * 5000)

    def test_careless_is_noticed(self):
        cut = Careless("always", 4, self.disk)
        self.addCleanup(cut.close)
        wrong, _ = cut.round(random.Random(1))
        self.assertTrue(any("was answered" in line for line in wrong), wrong)

    def test_always(self):
        self.assertGreater(rounds(self.disk, 5, 20, random.randrange(1 << 32)), 0)


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1].startswith("--"):
        parser = argparse.ArgumentParser(description=__doc__)
        parser.add_argument("--rounds", type=int, default=5)
        parser.add_argument("--writers", type=int, default=20)
        parser.add_argument("--seed", type=int, default=None)
        given = parser.parse_args()
        start = given.seed if given.seed is not None else random.randrange(1 << 32)
        own = Disk()
        try:
            reason = own.make()
            if reason:
                sys.exit(f"cannot run here: {reason}")
            answered = rounds(own, given.rounds, given.writers, start, print)
        finally:
            support.kill_all()
            own.close()
        print(f"{given.rounds} cuts, {answered} writes answered, none lost, nothing torn")
    else:
        unittest.main()
