/* A shard's register of subscriptions, beside a plain model of it. */
#include "topics.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "splitring/base/hash.h"
#include "splitring/base/rng.h"

#define WORKERS 5u
#define NAMES 8u
#define SEED 42u

static const char *const names[TOPIC_KINDS][NAMES] = {
    {"a", "b", "news.1", "news.2", "", "__keyspace@0__:k", "__keyevent@0__:set", "__key"},
    {"a", "b", "news.1", "s", "", "__keyspace@0__:k", "x", "y"},
    {"*", "a", "news.*", "[ab]", "", "__key*", "n?ws.1", "zzz"},
};

struct model {
    unsigned counts[TOPIC_KINDS][NAMES][WORKERS];
};

static struct slice name_of(enum topic_kind kind, unsigned n)
{
    return slice_str(names[kind][n]);
}

static uint64_t total(const struct model *m, enum topic_kind kind, unsigned n, uint32_t *mask)
{
    uint64_t sum = 0;
    for (unsigned w = 0; w < WORKERS; w++) {
        sum += m->counts[kind][n][w];
        if (m->counts[kind][n][w]) *mask |= 1u << w;
    }
    return sum;
}

static uint64_t receivers(const struct model *m, enum topic_kind kind, unsigned n, uint32_t *mask)
{
    *mask = 0;
    uint64_t sum = total(m, kind, n, mask);
    for (unsigned p = 0; kind == TOPIC_CHANNEL && p < NAMES; p++)
        if (slice_glob(name_of(TOPIC_PATTERN, p), name_of(kind, n), false))
            sum += total(m, TOPIC_PATTERN, p, mask);
    return sum;
}

static bool at_home(unsigned n) { return n % 2 == 0; }

static void count_name(void *ctx, struct slice name)
{
    (void)name;
    ++*(size_t *)ctx;
}

static void compare(const struct topics *t, const struct model *m)
{
    size_t everywhere = 0;
    for (enum topic_kind kind = 0; kind < TOPIC_KINDS; kind++) {
        size_t home = 0, seen = 0;
        for (unsigned n = 0; n < NAMES; n++) {
            uint32_t mask = 0, wanted = 0;
            struct slice name = name_of(kind, n);
            uint64_t hash = hash_key(name, SEED);
            uint64_t sum = total(m, kind, n, &wanted);
            home += sum && at_home(n);
            everywhere += sum && topic_is_everywhere(kind, name);
            cr_assert_eq(topics_subscribers(t, kind, name, hash), sum);
            if (kind == TOPIC_PATTERN) continue;
            uint64_t reached = receivers(m, kind, n, &wanted);
            cr_assert_eq(topics_receivers(t, kind, name, hash, &mask), reached);
            cr_assert_eq(mask, wanted);
        }
        topics_each(t, kind, count_name, &seen);
        cr_assert_eq(topics_count(t, kind), home);
        cr_assert_eq(seen, home);
    }
    cr_assert_eq(t->everywhere, everywhere);
}

Test(topics, as_a_model)
{
    struct model m = {0};
    struct topics *t = topics_new(WORKERS, SEED);
    struct rng rng;
    rng_seed(&rng, 1);
    for (unsigned round = 0; round < 20000; round++) {
        enum topic_kind kind = (enum topic_kind)rng_below(&rng, TOPIC_KINDS);
        unsigned n = (unsigned)rng_below(&rng, NAMES), w = (unsigned)rng_below(&rng, WORKERS);
        struct slice name = name_of(kind, n);
        uint64_t hash = hash_key(name, SEED);
        bool fill = round / 500 % 2 == 0; /* it fills and empties in turn */
        if (rng_below(&rng, 3) < (fill ? 2 : 1)) {
            cr_assert(topics_add(t, kind, name, hash, (worker_id)w, at_home(n)));
            m.counts[kind][n][w]++;
        } else if (m.counts[kind][n][w]) {
            topics_remove(t, kind, name, hash, (worker_id)w);
            m.counts[kind][n][w]--;
        }
        if (round % 50 == 0) compare(t, &m);
    }
    topics_free(t);
}

Test(topics, many_channels)
{
    struct topics *t = topics_new(2, SEED);
    char text[32];
    for (unsigned pass = 0; pass < 2; pass++) {
        for (unsigned i = 0; i < 50000; i++) {
            struct slice name = slice_of(text, (size_t)snprintf(text, sizeof text, "ch:%u", i));
            uint64_t hash = hash_key(name, SEED);
            if (pass == 0) cr_assert(topics_add(t, TOPIC_SHARD, name, hash, 1, true));
            else topics_remove(t, TOPIC_SHARD, name, hash, 1);
        }
        cr_assert_eq(topics_count(t, TOPIC_SHARD), pass == 0 ? 50000 : 0);
    }
    topics_free(t);
}

Test(topics, everywhere)
{
    cr_assert(topic_is_everywhere(TOPIC_PATTERN, SLICE("x")));
    cr_assert(topic_is_everywhere(TOPIC_CHANNEL, SLICE("__keyspace@0__:x")));
    cr_assert(topic_is_everywhere(TOPIC_CHANNEL, SLICE("__keyevent@9__:x")));
    cr_assert(!topic_is_everywhere(TOPIC_CHANNEL, SLICE("__keyevent")));
    cr_assert(!topic_is_everywhere(TOPIC_CHANNEL, SLICE("")));
    cr_assert(!topic_is_everywhere(TOPIC_SHARD, SLICE("__keyspace@0__:x")));
}
