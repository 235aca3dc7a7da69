/* The effects of stream commands, replayed into an empty keyspace, make the same streams: nodes to
 * the byte, groups, consumers, what is pending with its times and counts, entries-read. As in
 * effects_test.c, but with few keys and commands that build on each other. */
#include <criterion/criterion.h>

#include <stdio.h>

#include "replay.h"
#include "splitring/base/mem.h"
#include "splitring/keyspace/stream.h"

struct gen {
    struct handler_world w;
    struct rng rng;
    uint64_t ms; /* of the ids, about */
    char words[16][64];
    unsigned word;
};

static unsigned pick(struct gen *g, unsigned limit) { return (unsigned)rng_below(&g->rng, limit); }

static char *word(struct gen *g) { return g->words[g->word++ % 16]; }

static const char *id(struct gen *g)
{
    char *out = word(g);
    uint64_t back = pick(g, pick(g, 4) ? 6 : 60), ms = g->ms > back ? g->ms - back : 1;
    if (pick(g, 2)) snprintf(out, 64, "%llu-%u", (unsigned long long)ms, pick(g, 3));
    else snprintf(out, 64, "%llu", (unsigned long long)ms);
    return out;
}

static const char *one(struct gen *g, const char *const *words, unsigned count)
{
    return words[pick(g, count)];
}
#define ONE(...) \
    one(g, (const char *const[]){__VA_ARGS__}, ARRAY_COUNT(((const char *const[]){__VA_ARGS__})))

static const char *key(struct gen *g) { return ONE("a", "b", "c"); }
static const char *group(struct gen *g) { return ONE("g", "g", "h", "none"); }
static const char *consumer(struct gen *g) { return ONE("c1", "c1", "c2", "zz"); }
static const char *refs(struct gen *g) { return ONE("", "", "KEEPREF", "DELREF", "ACKED"); }

static const char *trim(struct gen *g)
{
    char *out = word(g);
    const char *how = ONE("=", "~", "~", "");
    const char *limit = *how == '~' ? ONE("", "", "LIMIT 3", "LIMIT 0") : "";
    if (pick(g, 3)) snprintf(out, 64, "MAXLEN %s %u %s", how, pick(g, 25), limit);
    else snprintf(out, 64, "MINID %s %s %s", how, id(g), limit);
    return out;
}

static void add_entry(struct gen *g)
{
    const char *how = pick(g, 4) ? "" : trim(g), *fields = ONE("f v", "f v", "f 1 g 2", "200 x");
    char with[64];
    g->ms += pick(g, 3);
    switch (pick(g, 3)) {
    case 0: snprintf(with, sizeof(with), "*"); break;
    case 1: snprintf(with, sizeof(with), "%llu-*", (unsigned long long)g->ms); break;
    default: snprintf(with, sizeof(with), "%s", id(g));
    }
    if (with[0] == '*' && pick(g, 3)) return; /* ids of now end all others */
    handler_runf(&g->w, "XADD %s %s %s %s %s %s", key(g), ONE("", "", "NOMKSTREAM"), refs(g), how,
                 with, fields);
}

static void claim(struct gen *g)
{
    char time[64] = "";
    if (pick(g, 3) == 0)
        snprintf(time, sizeof(time), "TIME %lld", (long long)g->w.now - pick(g, 9000));
    handler_runf(&g->w, "XCLAIM %s %s %s %s %s %s %s %s %s %s", key(g), group(g), consumer(g),
                 ONE("0", "50"), id(g), id(g), time, ONE("", "", "RETRYCOUNT 5", "IDLE 40"),
                 ONE("", "FORCE", "FORCE JUSTID", "JUSTID"), ONE("", "", "LASTID 3-3"));
}

static void change_group(struct gen *g)
{
    const char *k = key(g), *name = group(g);
    switch (pick(g, 6)) {
    case 0:
    case 1:
        handler_runf(&g->w, "XGROUP CREATE %s %s %s %s", k, name, ONE("0", "$", id(g)),
                     ONE("", "MKSTREAM", "ENTRIESREAD 3"));
        break;
    case 2: handler_runf(&g->w, "XGROUP SETID %s %s %s", k, name, ONE("0", "$", id(g))); break;
    case 3: handler_runf(&g->w, "XGROUP CREATECONSUMER %s %s %s", k, name, consumer(g)); break;
    case 4: handler_runf(&g->w, "XGROUP DELCONSUMER %s %s %s", k, name, consumer(g)); break;
    default:
        if (pick(g, 3) == 0) handler_runf(&g->w, "XGROUP DESTROY %s %s", k, name);
    }
}

static void change_others(struct gen *g)
{
    switch (pick(g, 11)) {
    case 0: handler_runf(&g->w, "XTRIM %s %s %s", key(g), trim(g), refs(g)); break;
    case 1: handler_runf(&g->w, "XDELEX %s %s IDS 2 %s %s", key(g), refs(g), id(g), id(g)); break;
    case 2:
    case 8:
    case 9:
    case 10:
        handler_runf(&g->w, "XACKDEL %s %s %s IDS 3 %s %s %s", key(g), group(g), refs(g), id(g),
                     id(g), id(g));
        break;
    case 3:
        handler_runf(&g->w, "XAUTOCLAIM %s %s %s %s %s COUNT %s %s", key(g), group(g), consumer(g),
                     ONE("0", "50"), ONE("0", "-", id(g)), ONE("1", "3", "100"),
                     ONE("", "JUSTID"));
        break;
    case 4:
        if (pick(g, 4)) break;
        handler_runf(&g->w, "XSETID %s %llu-9 %s %s", key(g), (unsigned long long)g->ms,
                     ONE("", "ENTRIESADDED 77"), ONE("", "MAXDELETEDID 2-2"));
        break;
    case 5: handler_runf(&g->w, "COPY %s %s %s", key(g), key(g), ONE("", "REPLACE")); break;
    case 6:
        if (pick(g, 6) == 0) handler_runf(&g->w, "DEL %s", key(g));
        break;
    default: handler_runf(&g->w, "XPENDING %s %s - + 5", key(g), group(g));
    }
}

static void step(struct gen *g)
{
    if (pick(g, 4) == 0) g->w.now += pick(g, 40);
    g->w.scratch = pick(g, 2) != 0;
    unsigned what = pick(g, 20);
    if (what < 7) {
        add_entry(g);
    } else if (what < 11) {
        handler_runf(&g->w, "XREADGROUP GROUP %s %s %s %s %s STREAMS %s %s %s %s", group(g),
                     consumer(g), ONE("", "COUNT 1", "COUNT 3"), ONE("", "", "NOACK"),
                     ONE("", "", "CLAIM 0", "CLAIM 60"), key(g),
                     key(g), ONE(">", ">", "0", id(g)), ONE(">", "0"));
    } else if (what < 13) {
        handler_runf(&g->w, "XACK %s %s %s %s", key(g), group(g), id(g), id(g));
    } else if (what < 14) {
        handler_runf(&g->w, "XDEL %s %s %s", key(g), id(g), id(g));
    } else if (what < 16) {
        claim(g);
    } else if (what < 18) {
        change_group(g);
    } else {
        change_others(g);
    }
}

/* An id is pending in a group exactly if it is pending for its one consumer. */
static void check_stream(void *ctx, const struct entry *e)
{
    (void)ctx;
    if (entry_type(e) != TYPE_STREAM) return;
    const struct stream *s = stream_of(e);
    for (uint32_t i = 0; i < s->group_count; i++) {
        const struct stream_group *g = s->groups[i];
        uint64_t owned = 0;
        for (uint32_t j = 0; j < g->consumer_count; j++) {
            struct stream_pending p;
            const struct stream_id *at;
            stream_pending_seek(&p, g, g->consumers[j], STREAM_ID_MIN);
            for (; (at = stream_pending_next(&p)); owned++) {
                const struct stream_nack *nack = stream_nack_find(g, *at);
                cr_assert(nack && nack->consumer == g->consumers[j]);
            }
        }
        cr_assert_eq(owned, g->pending.count);
    }
}

static void run(uint64_t seed, uint32_t shards, int steps)
{
    struct gen *g = mem_zalloc(sizeof(*g));
    replay_init(&g->w, shards, seed);
    /* The limits of a node are settings, not effects: only equal ones make equal nodes. */
    g->w.env.stream_node_max_entries = 5;
    rng_seed(&g->rng, seed);
    g->ms = 20;
    for (int i = 0; i < steps; i++) step(g);
    struct ks ks = {.shards = g->w.shards, .shard_count = shards, .now = g->w.now};
    if (shards == 1) ks.shard = g->w.shards[0];
    ks_each(&ks, check_stream, NULL);
    replay_check(&g->w, seed, g->w.now); /* a delivery is never later than now */
    mem_free(g);
}

Test(stream_effects, replay_in_one_shard, .timeout = 120)
{
    static const char *const none[] = {NULL};
    for (uint64_t seed = 1; seed <= 200; seed++) run(seed, 1, 250);
    replay_covers(ACL_STREAM, true, none);
}

Test(stream_effects, replay_of_several_shards, .timeout = 120)
{
    for (uint64_t seed = 201; seed <= 400; seed++) run(seed, 2 + (uint32_t)(seed % 6), 250);
}

Test(stream_effects, replay_of_long_runs, .timeout = 120)
{
    for (uint64_t seed = 401; seed <= 404; seed++) run(seed, 1 + (uint32_t)(seed % 3), 6000);
}
