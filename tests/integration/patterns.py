"""What applications do with a Redis, through redis-py: caches, locks, limiters, counters.

Each test is a pattern of the product's background as people write it, not a list of commands.
"""

import sys
import threading
import time
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import support  # noqa: E402

RELEASE_SECONDS = 10


class Patterns(support.ServerTest):
    def setUp(self):
        super().setUp()
        self.r = self.redis()

    # values and their time to live

    def test_set_get_and_expiry(self):
        r = self.r
        self.assertTrue(r.set("user:1", "ada"))
        self.assertEqual(r.get("user:1"), b"ada")
        self.assertEqual(r.ttl("user:1"), -1)
        self.assertTrue(r.setex("session:1", 100, "token"))
        self.assertTrue(98 <= r.ttl("session:1") <= 100)
        at = int(time.time()) + 500
        self.assertTrue(r.expireat("session:1", at))
        self.assertTrue(498 <= r.ttl("session:1") <= 500)
        self.assertTrue(r.persist("session:1"))
        self.assertEqual(r.ttl("session:1"), -1)
        self.assertFalse(r.persist("session:1"))
        self.assertEqual(r.ttl("nobody"), -2)
        self.assertFalse(r.expireat("nobody", at))
        self.assertTrue(r.set("session:1", "again", ex=100, xx=True))
        self.assertTrue(r.set("session:1", "kept", keepttl=True))
        self.assertTrue(98 <= r.ttl("session:1") <= 100)
        self.assertEqual(r.incr("visits"), 1)
        self.assertEqual(r.incrby("visits", 41), 42)
        self.assertEqual(r.get("visits"), b"42")

    def test_a_key_expires(self):
        r = self.r
        r.set("short", "x", px=120)
        r.set("long", "y", ex=1000)
        deadline = time.monotonic() + RELEASE_SECONDS
        while r.exists("short") and time.monotonic() < deadline:
            time.sleep(0.01)
        self.assertIsNone(r.get("short"))
        self.assertEqual(r.ttl("short"), -2)
        self.assertEqual(r.get("long"), b"y")
        self.assertEqual(r.dbsize(), 1)

    def test_expired_keys_go_by_themselves(self):
        """Nobody looks at the keys; DBSIZE falls all the same."""
        r = self.r
        with r.pipeline(transaction=False) as pipe:
            for i in range(500):
                pipe.set(f"gone:{i}", "x" * 50, px=100 + i % 50)
            pipe.execute()
        deadline = time.monotonic() + RELEASE_SECONDS
        while r.dbsize() and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertEqual(r.dbsize(), 0)

    # locks

    def acquire(self, r, name, token, ms=30000):
        return bool(r.set(name, token, nx=True, px=ms))

    def release(self, r, name, token):
        """Compare the token, then delete: enough while nobody holds the lock to its end."""
        return r.get(name) == token.encode() and bool(r.delete(name))

    def test_lock_with_token(self):
        r = self.r
        mine, other = uuid.uuid4().hex, uuid.uuid4().hex
        self.assertTrue(self.acquire(r, "lock:a", mine))
        self.assertFalse(self.acquire(r, "lock:a", other))
        self.assertEqual(r.get("lock:a"), mine.encode())
        self.assertFalse(self.release(r, "lock:a", other))
        self.assertTrue(self.release(r, "lock:a", mine))
        self.assertTrue(self.acquire(r, "lock:a", other))
        self.assertTrue(0 < r.pttl("lock:a") <= 30000)

    def test_lock_released_in_one_command(self):
        r = self.r
        self.assertTrue(self.acquire(r, "lock:c", "mine"))
        self.assertEqual(r.execute_command("DELIFEQ", "lock:c", "other"), 0)
        self.assertEqual(r.get("lock:c"), b"mine")
        self.assertEqual(r.execute_command("DELIFEQ", "lock:c", "mine"), 1)
        self.assertEqual(r.execute_command("DELIFEQ", "lock:c", "mine"), 0)
        self.assertTrue(self.acquire(r, "lock:c", "other"))

    def test_lock_is_free_after_its_time(self):
        self.assertTrue(self.acquire(self.r, "lock:b", "dead", ms=80))
        deadline = time.monotonic() + RELEASE_SECONDS
        while not self.acquire(self.r, "lock:b", "next") and time.monotonic() < deadline:
            time.sleep(0.01)
        self.assertEqual(self.r.get("lock:b"), b"next")

    def test_lock_excludes(self):
        """Eight threads add to a number that the server does not add for them."""
        self.r.set("sum", 0)
        failures = []

        def work():
            r = self.server.redis()
            try:
                for _ in range(20):
                    token = uuid.uuid4().hex
                    while not self.acquire(r, "lock:sum", token):
                        if failures:
                            return
                        time.sleep(0.0005)
                    r.set("sum", int(r.get("sum")) + 1)
                    if not self.release(r, "lock:sum", token):
                        failures.append("the lock was not ours any more")
            except Exception as error:
                failures.append(repr(error))
            finally:
                r.close()

        self.in_threads(8, work)
        self.assertEqual(failures, [])
        self.assertEqual(self.r.get("sum"), b"160")

    # caches and limits

    def test_cache_aside(self):
        r, loads = self.r, []

        def load(ident):
            key = f"profile:{ident}"
            cached = r.get(key)
            if cached is not None:
                return cached
            loads.append(ident)
            value = f"profile of {ident}".encode()
            r.set(key, value, ex=300)
            return value

        for ident in (1, 2, 1, 1, 2):
            self.assertEqual(load(ident), f"profile of {ident}".encode())
        self.assertEqual(loads, [1, 2])
        r.delete("profile:1")
        load(1)
        self.assertEqual(loads, [1, 2, 1])
        self.assertEqual(r.mget("profile:1", "profile:2", "profile:3"),
                         [b"profile of 1", b"profile of 2", None])

    def test_rate_limiter(self):
        """INCR, and EXPIRE with the first hit of a window."""
        r = self.r

        def allowed(user, limit=5, window=60):
            key = f"rate:{user}:{int(time.time()) // window // 1000}"
            hits = r.incr(key)
            if hits == 1:
                r.expire(key, window)
            return hits <= limit

        self.assertEqual([allowed("ann") for _ in range(8)], [True] * 5 + [False] * 3)
        self.assertTrue(allowed("bob"))
        key = r.keys("rate:ann:*")[0]
        self.assertTrue(0 < r.ttl(key) <= 60)

    # many commands, many clients

    def test_pipeline_of_100(self):
        r = self.r
        with r.pipeline(transaction=False) as pipe:
            for i in range(25):
                pipe.set(f"p:{i}", i).incr(f"p:{i}").get(f"p:{i}").expire(f"p:{i}", 100)
            replies = pipe.execute()
        self.assertEqual(len(replies), 100)
        for i in range(25):
            self.assertEqual(replies[4 * i:4 * i + 4], [True, i + 1, b"%d" % (i + 1), True])
        with r.pipeline(transaction=False) as pipe:
            pipe.set("text", "abc").incr("text").get("text")
            replies = pipe.execute(raise_on_error=False)
        self.assertEqual((replies[0], replies[2]), (True, b"abc"))
        self.assertIn("value is not an integer", str(replies[1]))

    def in_threads(self, count, work, seconds=120):
        threads = [threading.Thread(target=work, daemon=True) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(seconds)
            self.assertFalse(thread.is_alive(), "a client hangs")

    def test_counters_are_exact(self):
        """Every client adds to shared counters, one by one and in pipelines."""
        counters = [f"c:{i}" for i in range(7)] + ["{x}c", "hot"]
        clients, rounds = 16, 25
        failures = []

        def work():
            r = self.server.redis()
            try:
                for i in range(rounds):
                    r.incr("hot")
                    with r.pipeline(transaction=False) as pipe:
                        for name in counters:
                            pipe.incrby(name, i)
                        pipe.execute()
            except Exception as error:
                failures.append(repr(error))
            finally:
                r.close()

        self.in_threads(clients, work)
        self.assertEqual(failures, [])
        total = clients * sum(range(rounds))
        values = [int(value) for value in self.r.mget(counters)]
        self.assertEqual(values, [total] * (len(counters) - 1) + [total + clients * rounds])

    def test_pairs_are_never_torn(self):
        """MSET over two shards is seen whole or not at all, whoever looks."""
        keys = [f"pair:{i}" for i in range(6)]
        self.r.mset({key: 0 for key in keys})
        torn, stop = [], threading.Event()

        def write():
            r = self.server.redis()
            try:
                for i in range(150):
                    r.mset({key: i for key in keys})
            finally:
                r.close()

        def read():
            r = self.server.redis()
            try:
                while not stop.is_set():
                    values = r.mget(keys)
                    if len(set(values)) != 1:
                        torn.append(values)
            finally:
                r.close()

        readers = [threading.Thread(target=read, daemon=True) for _ in range(2)]
        for thread in readers:
            thread.start()
        try:
            self.in_threads(2, write)
        finally:
            stop.set()
            for thread in readers:
                thread.join(60)
        self.assertEqual(torn[:3], [])

    # what is in the values

    def test_binary_values(self):
        r = self.r
        every = bytes(range(256))
        for value in (b"", b"\x00", b"\r\n", b"$3\r\nabc\r\n", every, every * 40):
            r.set(b"bin\x00\r\n\xff", value)
            self.assertEqual(r.get(b"bin\x00\r\n\xff"), value)
            self.assertEqual(r.strlen(b"bin\x00\r\n\xff"), len(value))
        self.assertEqual(r.keys(), [b"bin\x00\r\n\xff"])

    def test_large_values(self):
        r = self.r
        value = bytes(range(251)) * 41000  # a bit over 10 MB
        r.set("big", value)
        self.assertEqual(r.strlen("big"), len(value))
        self.assertEqual(r.getrange("big", 5_000_000, 5_000_099), value[5_000_000:5_000_100])
        self.assertEqual(r.get("big"), value)
        self.assertEqual(r.append("big", b"tail"), len(value) + 4)
        self.assertEqual(r.getrange("big", -6, -1), value[-2:] + b"tail")
        r.mset({"big:1": value, "small": "s", "big:2": value})
        self.assertEqual(r.mget("big:1", "small", "big:2"), [value, b"s", value])
        self.assertEqual(r.delete("big", "big:1", "big:2"), 3)
        self.assertEqual(r.dbsize(), 1)

    def test_decoded_responses(self):
        r = self.redis(decode_responses=True)
        r.set("name", "Grüße")
        self.assertEqual(r.get("name"), "Grüße")
        self.assertEqual(r.type("name"), "string")


if __name__ == "__main__":
    support.unittest.main()
