"""Everything at once: connections that send whatever the generators of tests/compat make, on shared
keys, in pipelines and transactions, blocked and subscribed, and that go away in the middle.

The server must answer every connection that stays, in order and in well-formed replies, be alive at
the end, and have nothing left of those that went: no blocked client, no subscription, no watched
key. Run under the sanitizers, this looks for what no single command shows.
"""
# matrix: engines

import random
import sys
import threading
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
sys.path.insert(0, str(HERE.parent / "compat"))
import differential  # noqa: E402
from integration import shards, support  # noqa: E402

CLIENTS = 8
BURSTS = 60
BURST_MAX = 24
# They would stop the others, or the test.
NEVER = {b"shutdown", b"debug", b"migrate", b"flushall", b"swapdb", b"monitor", b"quit", b"reset",
         b"config", b"client", b"hello", b"auth", b"pfselftest", b"keys"}


def generators(rng):
    for _, module in differential.load_generators(None):
        yield differential.endless(module, random.Random(rng.random()), [], "valkey")


def blocking(rng):
    keys = [rng.choice([b"l0", b"l1", b"l2", b"z0", b"z1", b"s0", b"s1"]) for _ in range(2)]
    return rng.choice([
        [b"BLPOP", *keys, b"0.05"], [b"BRPOP", *keys, b"0.05"], [b"BZPOPMIN", *keys, b"0.05"],
        [b"BLMOVE", *keys, b"LEFT", b"RIGHT", b"0.05"],
        [b"BLMPOP", b"0.05", b"2", *keys, b"LEFT"],
        [b"XREAD", b"BLOCK", b"50", b"STREAMS", *keys, b"$", b"0"],
        [b"XREADGROUP", b"GROUP", b"g0", b"c0", b"BLOCK", b"50", b"STREAMS", keys[0], b">"]])


class Chaos(support.ServerTest):
    options = ["--notify-keyspace-events", "KEA"]

    def client_of(self, number, failures):
        rng = shards.rng(shards.seed_of("chaos"), number)
        streams = list(generators(rng))
        client = None
        try:
            for _ in range(BURSTS):
                if client is None:
                    client = self.server.client(rng.choice([2, 3]))
                burst = self.burst(rng, streams)
                client.send_bytes(b"".join(support.encode(*words) for words in burst))
                if rng.random() < 0.1:  # goes away without reading
                    client.close()
                    client = None
                    continue
                for _ in burst:
                    client.value()
        except Exception as error:  # noqa: BLE001 (told by the test)
            failures.append((number, repr(error), [words[:4] for words in burst]))
        finally:
            if client:
                client.close()

    def burst(self, rng, streams):
        burst = []
        while len(burst) < BURST_MAX and rng.random() < 0.95:
            words = next(rng.choice(streams))
            if words[0].lower() not in NEVER:
                burst.append(words)
            if rng.random() < 0.05:
                burst.append(blocking(rng))
        if rng.random() < 0.3:
            burst = [[b"MULTI"], *burst, [b"EXEC"]]
            if rng.random() < 0.5:
                burst.insert(0, [b"WATCH", b"l0", b"z1", b"s1"])
        return burst

    def listener(self, stop):
        """Listens to all events, for some time each."""
        while not stop.is_set():
            client = self.server.client(3)
            client.send_bytes(support.encode("PSUBSCRIBE", "__key*__:*"))
            for _ in range(200):
                if stop.is_set():
                    break
                client.read()
            client.close()

    def test_many_of_everything(self):
        failures, stop = [], threading.Event()
        listener = threading.Thread(target=self.listener, args=(stop,), daemon=True)
        threads = [threading.Thread(target=self.client_of, args=(i, failures), daemon=True)
                   for i in range(CLIENTS)]
        for thread in [listener, *threads]:
            thread.start()
        for thread in threads:
            thread.join()
        stop.set()
        self.assertEqual(failures, [])
        control = self.client()
        listener.join(1) or control.ok("SET", "wakes", "the listener")
        listener.join(10)

        def clean():
            text = control.ok("INFO", "clients").decode()
            fields = dict(line.split(":") for line in text.splitlines() if ":" in line)
            return fields["blocked_clients"] == "0" and fields["connected_clients"] == "1"
        self.assertTrue(shards.until(clean))
        self.assertEqual(control.ok("PUBSUB", "NUMPAT"), 0)
        control.ok("FLUSHALL")
        self.assertEqual(control.ok("DBSIZE"), 0)


if __name__ == "__main__":
    unittest.main()
