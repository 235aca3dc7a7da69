"""The Celery application of celery_jobs.py: what its workers run."""

import os
import time

import celery

from common import URL, Ledger

app = celery.Celery("celery_tasks", broker=URL + "/1", backend=URL + "/2")
app.conf.update(
    task_acks_late=True,
    worker_prefetch_multiplier=4,
    task_default_retry_delay=0,
    result_expires=600,
    broker_transport_options={"visibility_timeout": float(os.environ.get("VISIBILITY", 3600))},
    beat_schedule={"tick": {"task": "celery_tasks.tick", "schedule": 0.5}},
    timezone="UTC",
)
done = Ledger("done")
tried = Ledger("tried")
ticks = Ledger("ticks")


@app.task
def work(name):
    done.write(name)
    return name.upper()


@app.task(bind=True, max_retries=5)
def stubborn(self, name, countdown):
    """Fails twice, then succeeds."""
    tried.write(name)
    if self.request.retries < 2:
        raise self.retry(exc=RuntimeError(name), countdown=countdown)
    done.write(name)
    return self.request.retries


@app.task(bind=True, max_retries=1)
def hopeless(self, name):
    tried.write(name)
    raise self.retry(exc=RuntimeError(name), countdown=0)


@app.task
def square(number):
    done.write(f"square-{number}")
    return number * number


@app.task
def total(numbers):
    return sum(numbers)


@app.task
def add(left, right):
    return left + right


@app.task(bind=True, ignore_result=True)
def tick(self):
    ticks.write(self.request.id)


@app.task
def fragile(name):
    """Its first worker is killed while it runs."""
    tried.write(name)
    if tried.counts()[name] == 1:
        time.sleep(600)
    done.write(name)
