"""Celery: two workers and a beat; plain, retried, delayed jobs, chords and chains; a killed worker.

Broker (kombu) and results are the server under test. Workers acknowledge late, so the job of one
that is killed must be done by another after the visibility timeout.
"""

import signal
import time

import celery
import redis

import celery_tasks as tasks
from common import FOLDER, HOST, PORT, check, start, stop, version, wait_for

PYTHON = "/usr/bin/python3"
DELAY_SECONDS = 1.0
SECONDS = 60


def worker(name, *more, **environment):
    return start(PYTHON, "-m", "celery", "-A", "celery_tasks", "worker", "--loglevel", "WARNING",
                 "-n", name, "--without-mingle", *more, **environment)


def busy_day():
    workers = [worker("one@here", "-c", "2"),
               worker("two@here", "-P", "threads", "-c", "4", "-B", "-s", f"{FOLDER}/beat")]
    plain = [f"plain-{i}" for i in range(150)]
    results = [tasks.work.delay(name) for name in plain]
    stubborn = [f"stubborn-{i}" for i in range(6)]
    retried = [tasks.stubborn.delay(name, i % 2) for i, name in enumerate(stubborn)]
    due = {}
    for i in range(10):
        name = f"delayed-{i}"
        due[name] = time.time() + DELAY_SECONDS
        results.append(tasks.work.apply_async((name,), countdown=DELAY_SECONDS))
    chord = celery.chord((tasks.square.s(i) for i in range(20)), tasks.total.s()).delay()
    chain = (tasks.add.s(1, 2) | tasks.add.s(10) | tasks.add.s(100)).delay()
    hopeless = tasks.hopeless.delay("hopeless")
    tasks.done.complete(plain + stubborn + list(due) + [f"square-{i}" for i in range(20)])
    times = tasks.done.times()
    check("nothing delayed comes early", [n for n, at in due.items() if times[n] < at], [])
    check("results", [r.get(timeout=SECONDS) for r in results],
          [n.upper() for n in plain + list(due)])
    check("retries", [r.get(timeout=SECONDS) for r in retried], [2] * len(stubborn))
    check("a chord of twenty", chord.get(timeout=SECONDS), sum(i * i for i in range(20)))
    check("a chain", chain.get(timeout=SECONDS), 113)
    check("a job that never works", isinstance(hopeless.get(timeout=SECONDS, propagate=False),
                                               RuntimeError))
    check("tries", {n: c for n, c in tasks.tried.counts().items() if c != 3}, {"hopeless": 2})
    wait_for(lambda: len(tasks.ticks.lines()) >= 3, lambda: "beat does not tick")
    check("no tick done twice", set(tasks.ticks.counts().values()), {1})
    answers = tasks.app.control.ping(timeout=SECONDS, limit=2)
    check("remote control", sorted(name for answer in answers for name in answer),
          ["one@here", "two@here"])
    stop(*workers)


def killed_worker():
    """What was left unacknowledged is put back by the next worker."""
    options = ("-P", "solo", "-Q", "fragile")
    first = worker("first@here", *options, VISIBILITY="1")
    tasks.fragile.apply_async(("fragile",), queue="fragile")
    wait_for(lambda: tasks.tried.counts()["fragile"] == 1)
    first.send_signal(signal.SIGKILL)
    first.wait()
    time.sleep(1.5)  # longer than its visibility
    second = worker("second@here", *options, VISIBILITY="1")
    wait_for(lambda: tasks.done.counts()["fragile"] == 1)
    broker = redis.Redis(host=HOST, port=PORT, db=1)
    wait_for(lambda: not broker.exists("unacked", "unacked_index"), lambda: broker.keys())
    check("the job of a killed worker is done once", tasks.done.counts()["fragile"], 1)
    stop(second)


def main():
    version(celery.__version__)
    busy_day()
    killed_worker()


if __name__ == "__main__":
    main()
