"""django-redis: the cache's whole interface, its lock, and sessions that live in the cache."""

import threading
import time

import django
import django_redis
from django.conf import settings

from common import URL, check, version, wait_for

CACHE = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": URL + "/1",
         "OPTIONS": {"CLIENT_CLASS": "django_redis.client.DefaultClient"}}
COMPRESSED = {**CACHE, "LOCATION": URL + "/2", "KEY_PREFIX": "z", "OPTIONS": {
    "COMPRESSOR": "django_redis.compressors.zlib.ZlibCompressor",
    "SERIALIZER": "django_redis.serializers.json.JSONSerializer"}}
settings.configure(
    CACHES={"default": CACHE, "compressed": COMPRESSED},
    SESSION_ENGINE="django.contrib.sessions.backends.cache", SECRET_KEY="loopback only",
    INSTALLED_APPS=["django.contrib.sessions"])
django.setup()

from django.contrib.sessions.backends.cache import SessionStore  # noqa: E402
from django.core.cache import caches  # noqa: E402


def values(cache):
    thing = {"list": [1, 2.5, None], "text": "däß", "nested": {"a": [True]}}
    check("set and get", [cache.set("k", thing), cache.get("k")], [True, thing])
    check("a default", cache.get("nothing", "else"), "else")
    check("add does not overwrite", [cache.add("k", 1), cache.add("new", 1)], [False, True])
    many = {f"many-{i}": {"i": i} for i in range(300)}
    cache.set_many(many)
    check("get_many", cache.get_many(many), many)
    check("delete_many", cache.delete_many(list(many)[:100]), 100)
    check("keys", len(cache.keys("many-*")), 200)
    check("iter_keys", len(set(cache.iter_keys("many-*", itersize=20))), 200)
    check("delete_pattern", cache.delete_pattern("many-*"), 200)
    check("nothing is left of them", cache.keys("many-*"), [])
    check("versions", [cache.set("v", 1, version=1), cache.incr_version("v"), cache.get("v"),
                       cache.get("v", version=2)], [True, 2, None, 1])
    check("touch and ttl", [cache.touch("k", 100), 90 < cache.ttl("k") <= 100], [True, True])
    check("persist", [cache.persist("k"), cache.ttl("k")], [True, None])
    check("pexpire", [cache.pexpire("k", 50000), 40000 < cache.pttl("k") <= 50000], [True, True])
    cache.set("short", 1, timeout=1)
    wait_for(lambda: cache.get("short") is None)
    check("what has expired can be added", cache.add("short", 2))
    check("get_or_set", [cache.get_or_set("lazy", lambda: 5), cache.get_or_set("lazy", 6)], [5, 5])


def counters(cache):
    """incr is a script: it must not make a key that is not there."""
    cache.set("n", 0)
    threads = [threading.Thread(target=lambda: [cache.incr("n") for _ in range(100)])
               for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check("incr loses nothing", cache.get("n"), 600)
    check("decr", cache.decr("n", 100), 500)
    try:
        cache.incr("not there")
        check("incr of nothing", "no error", ValueError)
    except ValueError:
        check("incr of nothing", cache.get("not there"), None)


def locks(cache):
    counter = {"n": 0}

    def work():
        for _ in range(20):
            with cache.lock("guard", timeout=30, sleep=0.002):
                value = counter["n"]
                time.sleep(0)
                counter["n"] = value + 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check("cache.lock excludes", counter["n"], 120)


def sessions(cache):
    keys = []
    for i in range(40):
        session = SessionStore()
        session["user"] = i
        session.set_expiry(300)
        session.save(must_create=True)
        keys.append(session.session_key)
    check("forty sessions", len(set(keys)), 40)
    for key in keys:
        session = SessionStore(key)
        session["visits"] = session.get("visits", 0) + 1
        session.save()
    check("they keep what they were told",
          [(SessionStore(key)["user"], SessionStore(key)["visits"]) for key in keys],
          [(i, 1) for i in range(40)])
    SessionStore(keys[0]).flush()
    check("flushed", [SessionStore(keys[0]).load(), SessionStore(keys[1]).exists(keys[1])],
          [{}, True])
    session = SessionStore(keys[2])
    session.cycle_key()
    check("a new key, the same session", [session.session_key == keys[2], session["user"],
                                          SessionStore().exists(keys[2])], [False, 2, False])
    session.set_expiry(1)
    session.save()
    wait_for(lambda: not SessionStore().exists(session.session_key))
    check("expired", SessionStore(session.session_key).load(), {})


def main():
    version(".".join(map(str, django_redis.VERSION)))
    values(caches["default"])
    values(caches["compressed"])
    sessions(caches["default"])
    counters(caches["default"])
    locks(caches["default"])
    caches["default"].clear()
    check("clear", caches["default"].keys("*"), [])


main()
