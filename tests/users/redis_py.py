"""redis-py: Lock, Pipeline with and without MULTI, WATCH with retries, pub/sub thread, scripts."""

import threading
import time

import redis
from redis.exceptions import LockError, LockNotOwnedError, ResponseError, WatchError
from redis.lock import Lock

from common import HOST, PORT, check, version, wait_for

THREADS = 6
ROUNDS = 25


def connect(**options):
    return redis.Redis(host=HOST, port=PORT, **options)


def at_once(function, count=THREADS):
    """Runs function(i) in so many threads; an exception of one is ours."""
    problems = []

    def guarded(i):
        try:
            function(i)
        except BaseException as error:
            problems.append(repr(error))

    threads = [threading.Thread(target=guarded, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check("no thread failed", problems, [])


def pipelines():
    client = connect()
    for transaction in (True, False):
        client.flushdb()
        with client.pipeline(transaction=transaction) as pipe:
            for i in range(400):
                pipe.set(f"k:{i}", i).incrby(f"k:{i}", 1000)
            check(f"pipeline(transaction={transaction})", pipe.execute()[1::2],
                  [1000 + i for i in range(400)])
            pipe.set("s", "x").lpush("s", "y").get("s")
            replies = pipe.execute(raise_on_error=False)
            check("errors stay in their place",
                  [replies[0], isinstance(replies[1], ResponseError), replies[2]],
                  [True, True, b"x"])
    check("MGET of 400 keys", client.mget(f"k:{i}" for i in range(400)),
          [b"%d" % (1000 + i) for i in range(400)])
    check("scan_iter", len(set(client.scan_iter("k:*", count=30))), 400)


def watched(client, names):
    """One increment of all of these by WATCH, MULTI, EXEC; tries until nobody was faster."""
    with client.pipeline() as pipe:
        while True:
            try:
                pipe.watch(*names)
                values = {int(value or 0) for value in pipe.mget(*names)}
                if len(values) != 1:
                    raise AssertionError(f"torn: {values}")
                pipe.multi()
                for name in names:
                    pipe.set(name, values.copy().pop() + 1)
                pipe.execute()
                return
            except WatchError:
                continue


def optimistic():
    client = connect()
    names = ["w:a", "w:b", "w:c"]
    at_once(lambda _: [watched(connect(), names) for _ in range(ROUNDS)])
    check("WATCH loses no increment", client.mget(names), [b"%d" % (THREADS * ROUNDS)] * 3)

    def add(pipe):
        value = int(pipe.get("t") or 0)
        pipe.multi()
        pipe.set("t", value + 1)

    at_once(lambda _: [connect().transaction(add, "t") for _ in range(ROUNDS)])
    check("transaction() loses no increment", client.get("t"), b"%d" % (THREADS * ROUNDS))


def pubsub():
    client = connect()
    heard, patterns = [], []
    listener = client.pubsub(ignore_subscribe_messages=True)
    listener.subscribe(**{f"c:{i}": lambda m: heard.append(m["data"]) for i in range(5)})
    listener.psubscribe(**{"c:*": lambda m: patterns.append(m["data"])})
    worker = listener.run_in_thread(sleep_time=0.01)
    wait_for(lambda: client.publish("c:0", "probe") == 2)  # it has subscribed to both
    wait_for(lambda: b"probe" in heard and b"probe" in patterns)
    wait_for(lambda: len(heard) == len(patterns))
    del heard[:], patterns[:]
    for i in range(300):
        client.publish(f"c:{i % 5}", i)
    wait_for(lambda: len(heard) >= 300 and len(patterns) >= 300)
    wanted = [b"%d" % i for i in range(300)]
    check("the thread hears all, in order", [heard == wanted, patterns == wanted], [True, True])
    worker.stop()
    worker.join()
    wait_for(lambda: client.publish("c:0", "x") == 0)


def blocking_pops():
    producer = connect()
    jobs = [b"job-%d" % i for i in range(300)]
    taken = []

    def consume(_):
        client = connect()
        while (popped := client.blpop(["q:high", "q:low"], timeout=0)[1]) != b"end":
            taken.append(popped)

    def produce(i):
        if i < 4:
            return consume(i)
        for job in jobs:
            producer.rpush("q:high" if job.endswith(b"7") else "q:low", job)
        wait_for(lambda: len(taken) >= len(jobs), lambda: f"{len(taken)} of {len(jobs)}")
        return [producer.rpush("q:low", "end") for _ in range(4)]

    at_once(produce, 5)
    check("BLPOP gives each job to one consumer", sorted(taken), sorted(jobs))


def locks():
    """redis-py's Lock takes by SET NX PX; release, extend and reacquire are scripts."""
    client = connect()
    inside = []
    counter = [0]

    def work(i):
        mine = connect()
        for _ in range(ROUNDS):
            with mine.lock("lock", timeout=30, sleep=0.002):
                inside.append(i)
                value = counter[0]
                copy = int(mine.get("counter") or 0)
                time.sleep(0)
                counter[0] = value + 1
                mine.set("counter", copy + 1)
                if inside.pop() != i or inside:
                    raise AssertionError("two hold the lock")

    at_once(work)
    total = THREADS * ROUNDS
    check("locks exclude each other", [counter[0], int(client.get("counter"))], [total, total])

    first, second = (Lock(client, "other", timeout=30) for _ in range(2))
    check("acquire", [first.acquire(blocking=False), second.acquire(blocking=False)], [True, False])
    check("acquire with a bound", second.acquire(blocking_timeout=0.05), False)
    check("locked and owned", [second.locked(), first.owned(), second.owned()], [True, True, False])
    check("extend", [first.extend(100), 100000 < client.pttl("other") <= 130000], [True, True])
    check("extend to", [first.extend(7, replace_ttl=True), client.pttl("other") <= 7000],
          [True, True])
    check("reacquire", [first.reacquire(), 7000 < client.pttl("other") <= 30000], [True, True])
    first.release()
    check("released", client.exists("other"), 0)
    short = Lock(client, "short", timeout=0.05)
    check("a short lock", short.acquire())
    wait_for(lambda: not short.locked())
    check("another takes it then", second_holder(client))
    for name, act in (("release", short.release), ("extend", lambda: short.extend(1))):
        try:
            short.local.token = b"lost"
            act()
            check(f"{name} of a lost lock", "no error", LockNotOwnedError)
        except LockError as error:
            check(f"{name} of a lost lock", isinstance(error, LockNotOwnedError))


def second_holder(client):
    return Lock(client, "short", timeout=30).acquire(blocking=False)


def scripts():
    client = connect()
    client.script_flush()
    add = client.register_script("""
        local sum = 0
        for i, key in ipairs(KEYS) do sum = sum + redis.call('INCRBY', key, ARGV[1]) end
        return {sum, #KEYS, ARGV[2]}
    """)
    keys = [f"script:{i}" for i in range(8)]
    check("register_script", add(keys=keys, args=[2, "text"]), [16, 8, b"text"])
    at_once(lambda _: [add(keys=keys, args=[1, ""], client=connect()) for _ in range(ROUNDS)])
    total = 2 + THREADS * ROUNDS
    check("a script over many keys is atomic", client.mget(keys), [b"%d" % total] * 8)
    client.script_flush()
    with client.pipeline() as pipe:
        add(keys=keys[:1], args=[1, "z"], client=pipe)
        pipe.get(keys[0])
        check("a script in a pipeline, unknown to the server", pipe.execute(),
              [[total + 1, 1, b"z"], b"%d" % (total + 1)])
    check("SCRIPT EXISTS", client.script_exists(add.sha, "0" * 40), [True, False])
    try:
        client.eval("return redis.call('LPUSH', KEYS[1], 'x')", 1, keys[0])
        check("an error in a script", "no error", ResponseError)
    except ResponseError as error:
        check("an error in a script", "WRONGTYPE" in str(error))


def main():
    version(redis.__version__)
    for step in (pipelines, optimistic, pubsub, blocking_pops, locks, scripts):
        step()


main()
