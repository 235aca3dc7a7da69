"""Which worker serves a connection (src/worker/balance.c): packed keeps them together while there
is little to do, spread deals them in turn; a full worker gives traffic away, and nothing that moves
loses or reorders a reply.
"""

import re
import sys
import threading
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from integration import support  # noqa: E402

WORKERS = 2


def worker_of(client):
    fields = dict(field.split(b"=", 1) for field in client.ok("CLIENT", "INFO").split())
    return int(fields[b"worker"])


class Placement(unittest.TestCase):
    def start(self, placement):
        server = support.server("--threads", str(WORKERS), "--connection-placement", placement)
        self.addCleanup(server.stop)
        return server

    def clients(self, server, count):
        clients = [server.client() for _ in range(count)]
        for client in clients:
            self.addCleanup(client.close)
        return clients

    def test_packed(self):
        clients = self.clients(self.start("packed"), 12)
        self.assertEqual({worker_of(client) for client in clients}, {0})

    def test_spread(self):
        clients = self.clients(self.start("spread"), 12)
        workers = [worker_of(client) for client in clients]
        self.assertEqual({worker: workers.count(worker) for worker in set(workers)}, {0: 6, 1: 6})

    def test_a_full_worker_gives_away(self):
        """Counters go up by one per reply, whoever serves: until a connection has moved."""
        server = self.start("packed")
        over, wrong = threading.Event(), []

        def load(number):
            client, value = server.client(), 0
            name = b"counter:%d" % number
            try:
                while not over.is_set():
                    client.send_bytes(support.encode("INCR", name) * 500)
                    for _ in range(500):
                        value += 1
                        if client.value() != value:
                            wrong.append((name, value))
                            return
            finally:
                client.close()

        threads = [threading.Thread(target=load, args=(i,), daemon=True) for i in range(8)]
        for thread in threads:
            thread.start()
        # What Python sends leaves the server idle half of the time; long counts do not.
        watcher = self.clients(server, 1)[0]
        busy = self.clients(server, 4)
        give_up = time.monotonic() + 60
        moved = 0
        while not moved and not wrong and time.monotonic() < give_up:
            for client in busy:
                client.send_bytes(support.encode("SETRANGE", "big", "4000000", "x") +
                                  support.encode("BITCOUNT", "big") * 60)
            for client in busy:
                for _ in range(61):
                    client.value()
            text = watcher.ok("INFO", "all").decode()
            moved = sum(map(int, re.findall(r"migrated=(\d+)", text)))
        over.set()
        for thread in threads:
            thread.join()
        self.assertFalse(wrong)
        self.assertGreater(moved, 0)


if __name__ == "__main__":
    unittest.main()
