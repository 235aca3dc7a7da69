"""The admin port's page in a browser: it shows what the server says, loads nothing from anywhere
else, and a key's name stays text whatever it looks like.

With SPLITRING_LOG_DIR set, pictures of it lie beside the logs. The one that is shown to people,
tools/deploy/monitoring/page.png, is made by `admin_page.py --picture`, under a load that looks like
somebody's shop.
"""
# matrix: release

import os
import random
import sys
import threading
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import browser, png_palette, support  # noqa: E402

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


PICTURE = support.ROOT / "tools" / "deploy" / "monitoring" / "page.png"
PICTURE_SECONDS = 125  # the chart shows two minutes


def shop(server, number, stop):
    """One client of a shop: sessions, a board, a queue, events."""
    rng = random.Random(number)

    def one():
        user = f"user:{int(rng.paretovariate(1.2)) % 20000}"
        session = f"session:{int(rng.paretovariate(0.9)) % 50000}"
        return rng.choice([
            *[("GET", session)] * 5,
            *[("SET", session, "x" * rng.randrange(50, 600), "EX", 3600)] * 2,
            ("HGETALL", user), ("HSET", user, "seen", rng.randrange(10 ** 9), "plan", "pro"),
            ("ZADD", "board:weekly", rng.randrange(10000), user), ("RPOP", "queue:mail"),
            ("ZREVRANGE", "board:weekly", 0, 9, "WITHSCORES"), ("LPUSH", "queue:mail", user),
            ("INCR", f"hits:{rng.randrange(200)}"), ("SISMEMBER", "tags", rng.randrange(5000)),
            ("XADD", "events", "MAXLEN", "~", 20000, "*", "type", "click", "by", user),
            ("MGET", *[f"session:{rng.randrange(50000)}" for _ in range(5)])])

    with server.client() as c:
        c.ok("CLIENT", "SETNAME", ("web-1", "web-2", "worker", "jobs", "cart", "feed")[number])
        while not stop.is_set():
            c.pipeline([one() for _ in range(rng.randrange(20, 60))])
            if rng.random() < 0.002:
                c.call("KEYS", "user:*")
            time.sleep(rng.uniform(0.005, 0.03))


def take_picture():
    port = support.free_port()
    with support.server("--admin-port", str(port), "--slowlog-log-slower-than", "1000",
                        "--maxmemory", "256mb", "--threads", "2") as server:
        with server.client() as c:
            c.pipeline([("SADD", "tags", *range(5000)), ("RPUSH", "queue:mail", *["x"] * 3000)])
        stop = threading.Event()
        clients = [threading.Thread(target=shop, args=(server, n, stop)) for n in range(6)]
        for client in clients:
            client.start()
        with browser.Browser(1360, 1180) as page:
            page.scheme("light")
            page.open(f"http://{support.HOST}:{port}/")
            time.sleep(PICTURE_SECONDS)
            page.screenshot(PICTURE)
        stop.set()
        for client in clients:
            client.join()
    png_palette.shrink(PICTURE)


if __name__ == "__main__":
    if sys.argv[1:] == ["--picture"]:
        take_picture()
    else:
        unittest.main()
