"""The admin port's page in a browser: it shows what the server says, loads nothing from anywhere
else, and a key's name stays text whatever it looks like.

With SPLITRING_LOG_DIR set, pictures of it lie beside the logs.
"""
# matrix: release

import os
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import browser, support  # noqa: E402

EVIL = "<img src=x onerror=\"document.title='broken'\">"


@unittest.skipUnless(browser.available(), "chromium is not installed")
class Page(unittest.TestCase):
    def setUp(self):
        self.port = support.free_port()
        self.server = support.server("--admin-port", str(self.port), "--slowlog-log-slower-than",
                                     "0")
        self.addCleanup(self.server.stop)
        self.c = self.server.client()
        self.addCleanup(self.c.close)

    def load(self):
        for n in range(20):
            self.c.pipeline([("GET", EVIL)] * 100 + [("SET", f"k{n}", "v" * 100)] * 20)

    def test_page(self):
        self.c.ok("CLIENT", "SETNAME", "me&<b>you</b>")
        self.c.ok("RPUSH", EVIL + "list", *["v" * 100] * 2000)
        address = f"http://{support.HOST}:{self.port}/"
        with browser.Browser(1360, 1180) as page:
            page.scheme("light")
            page.open(address)
            page.until("document.getElementById('state').textContent == 'ready'")
            for rows in ("hot", "big", "slow", "conns", "commands"):
                deadline = time.monotonic() + support.REPLY_SECONDS
                while page.value(f"document.getElementById('{rows}').rows.length") < 2:
                    self.assertLess(time.monotonic(), deadline, rows)
                    self.load()
            text = page.value("document.body.innerText")
            for part in ("Operations / s", "p99 latency", "Keys and values", EVIL, "me&<b>you</b>",
                         f"port {self.server.port}"):
                self.assertIn(part, text)
            workers = page.value("document.getElementById('workers').rows.length") - 1
            self.assertEqual(workers, support.threads() or workers)
            self.load()
            page.until("document.querySelector('#chart polyline') !== null")
            self.assertEqual(page.value("document.title"), "Splitring")
            self.assertEqual(page.value("document.querySelectorAll('main img').length"), 0)
            self.assertEqual(page.console, [])
            self.assertLessEqual(set(page.requests), {address, address + "stats.json"} |
                                 {url for url in page.requests if url.startswith("data:")})
            light = page.value("getComputedStyle(document.body).backgroundColor")
            folder = os.environ.get("SPLITRING_LOG_DIR")
            if folder:
                page.screenshot(Path(folder) / "admin-light.png")
            page.scheme("dark")
            self.assertNotEqual(page.value("getComputedStyle(document.body).backgroundColor"),
                                light)
            if folder:
                page.screenshot(Path(folder) / "admin-dark.png")
            page.size(400, 800)  # a phone: nothing sticks out sideways
            self.assertLessEqual(page.value("document.documentElement.scrollWidth"), 400)
            self.server.stop()
            page.until("document.getElementById('state').textContent == 'no answer'")


if __name__ == "__main__":
    unittest.main()
