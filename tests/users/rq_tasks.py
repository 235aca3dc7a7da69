"""What the RQ workers of rq_jobs.py run."""

from common import Ledger

done = Ledger("done")
tried = Ledger("tried")


def work(name):
    done.write(name)
    return name.upper()


def stubborn(name):
    """Fails twice, then succeeds."""
    tried.write(name)
    if tried.counts()[name] < 3:
        raise RuntimeError(f"{name} is not done yet")
    done.write(name)


def hopeless(name):
    tried.write(name)
    raise RuntimeError(f"{name} never works")
