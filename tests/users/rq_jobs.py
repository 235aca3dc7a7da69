"""RQ: two workers with schedulers; plain, retried, delayed, scheduled, dependent, failing jobs."""

import datetime
import time

import redis
import rq
from rq.job import Job
from rq.registry import (DeferredJobRegistry, FailedJobRegistry, FinishedJobRegistry,
                         ScheduledJobRegistry, StartedJobRegistry)
from rq.version import VERSION

import rq_tasks
from common import URL, Ledger, check, start, stop, version, wait_for

PYTHON = "/usr/bin/python3"
WORKER = """
import redis, rq, sys
kind = getattr(rq, sys.argv[2])
worker = kind(["high", "low"], connection=redis.Redis.from_url(sys.argv[1]))
worker.work(with_scheduler=True, logging_level="WARNING")
"""
DELAY_SECONDS = 2.0


def enqueue(high, low):
    """Everything at once; returns the names of all jobs and when the delayed ones are due."""
    plain = [f"plain-{i}" for i in range(120)]
    for i, name in enumerate(plain):
        (high if i % 2 else low).enqueue(rq_tasks.work, name, job_id=name)
    with high.connection.pipeline() as pipe:  # one MULTI for many jobs
        batch = [f"batch-{i}" for i in range(30)]
        high.enqueue_many([rq.Queue.prepare_data(rq_tasks.work, [name], job_id=name)
                           for name in batch], pipeline=pipe)
        pipe.execute()
    stubborn = [f"stubborn-{i}" for i in range(6)]
    for i, name in enumerate(stubborn):
        interval = [0, 1] if i % 2 else 0
        low.enqueue(rq_tasks.stubborn, name, retry=rq.Retry(max=3, interval=interval))
    due = {}
    for i in range(10):
        name = f"delayed-{i}"
        due[name] = time.time() + DELAY_SECONDS
        if i % 2:
            low.enqueue_in(datetime.timedelta(seconds=DELAY_SECONDS), rq_tasks.work, name)
        else:
            at = datetime.datetime.now(datetime.timezone.utc)
            low.enqueue_at(at + datetime.timedelta(seconds=DELAY_SECONDS), rq_tasks.work, name)
    chain = [f"chain-{i}" for i in range(10)]
    before = None
    for name in chain:
        before = low.enqueue(rq_tasks.work, name, depends_on=before, job_id=name)
    low.enqueue(rq_tasks.hopeless, "hopeless", job_id="hopeless", retry=rq.Retry(max=1))
    return plain + batch + stubborn + list(due) + chain, due, chain


def main():
    version(VERSION)
    connection = redis.Redis.from_url(URL)
    high, low = (rq.Queue(name, connection=connection) for name in ("high", "low"))
    names, due, chain = enqueue(high, low)
    workers = [start(PYTHON, "-c", WORKER, URL, kind) for kind in ("Worker", "SimpleWorker")]
    done, tried = Ledger("done"), Ledger("tried")
    done.complete(names)
    times = done.times()
    early = [n for n, at in due.items() if times[n] < at - 1]  # RQ counts whole seconds
    check("nothing delayed comes early", early, [])
    check("dependents in order", sorted(chain, key=times.get), chain)
    wait_for(lambda: tried.counts()["hopeless"] == 2)
    check("tries of jobs that fail twice",
          {n: c for n, c in tried.counts().items() if c != 3 and n != "hopeless"}, {})
    wait_for(lambda: "hopeless" in FailedJobRegistry(queue=low), lambda: "no failed job")
    check("results", [Job.fetch(n, connection).result for n in ("plain-3", "batch-7")],
          ["PLAIN-3", "BATCH-7"])
    finished = [len(FinishedJobRegistry(queue=queue)) for queue in (high, low)]
    wait_for(lambda: len(FinishedJobRegistry(queue=high)) + len(FinishedJobRegistry(queue=low))
             == len(names), lambda: f"finished: {finished}")
    left = [len(kind(queue=queue)) for queue in (high, low)
            for kind in (ScheduledJobRegistry, DeferredJobRegistry, StartedJobRegistry)]
    check("nothing is left over", left + [len(high), len(low)], [0] * 8)
    check("workers are known", rq.Worker.count(connection=connection), 2)
    stop(*workers)
    check("workers have said goodbye", rq.Worker.count(connection=connection), 0)


main()
