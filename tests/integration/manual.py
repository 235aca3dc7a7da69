"""The man page: it renders without a warning, and tells of every option that the program has."""
# matrix: once

import re
import shutil
import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import support  # noqa: E402

PAGE = support.ROOT / "tools" / "splitring.1"


@unittest.skipUnless(shutil.which("groff"), "groff is not installed")
class Manual(unittest.TestCase):
    def render(self, device):
        return subprocess.run(["groff", "-man", "-t", "-ww", f"-T{device}", "-P-c", str(PAGE)]
                              if device != "html" else
                              ["groff", "-man", "-ww", "-z", str(PAGE)],
                              capture_output=True, text=True, timeout=60,
                              env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"})

    def text(self):
        done = self.render("ascii")
        return re.sub(r".\x08", "", done.stdout)

    def test_no_warning(self):
        for device in ("ascii", "utf8", "html"):
            done = self.render(device)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertGreater(len(self.text().splitlines()), 80)

    def test_options(self):
        usage = subprocess.run([support.program(), "--help"], capture_output=True, text=True,
                               timeout=30).stdout
        options = set(re.findall(r"^ +(--[a-z-]+)", usage, re.M))
        self.assertIn("--threads", options)
        text = self.text()
        for option in options:
            self.assertIn(option, text)

    def test_version(self):
        version = subprocess.run([support.program(), "--version"], capture_output=True, text=True,
                                 timeout=30).stdout
        self.assertIn(re.search(r"v=(\S+)", version)[1], PAGE.read_text())

    def test_it_tells_of_nothing_else(self):
        """Every directive that it names is one."""
        names = {name.replace("\\-", "-").lstrip("-") for name in re.findall(
            r"\\-\\-[a-z]+(?:\\-[a-z]+)*", PAGE.read_text())}
        names -= {"check-config", "healthcheck", "livecheck", "version", "help"}
        with support.server() as server, server.client() as c:
            for name in names:
                self.assertEqual(len(c.ok("CONFIG", "GET", name)), 2, name)


if __name__ == "__main__":
    unittest.main()
