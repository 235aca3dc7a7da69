/* What an actor asks and what it must be told.
 *
 *   counters   INCR: every answer is larger than the last one seen, and the sum is exact at the end
 *   groups     MSET, MSETNX, DEL of all four; MGET sees one value, EXISTS and DEL say 0 or 4
 *   pairs      RENAME x y, RENAME y x, COPY to elsewhere; EXISTS x y and KEYS see exactly one
 *   marks      SET a n, SET b n in one pipeline over two shards; GET b, GET a sees a >= b
 *
 * Beside the pipelines there are visitors (connect, ask, vanish with or without reading) and
 * victims of CLIENT KILL.
 * Thread: owner. */
#include "actor.h"

#include <inttypes.h>

#include "splitring/base/hash.h"
#include "stress.h"

enum kind {
    K_INCR, K_GET, K_SET, K_MSET, K_MSETNX, K_MGET, K_DEL, K_EXISTS, K_RENAME, K_PAIR, K_COPY,
    K_KEYS, K_MARK, K_READ_MARK, K_DBSIZE, K_SCAN, K_RANDOM, K_LIST, K_CONFIG, K_PING, K_FLUSH
};

#define BURST_MAX 24

struct asked {
    enum kind kind;
    unsigned which;
    int64_t value;
};

/* ---- names ---- */

static void name_at(char out[16], const char *kind, unsigned *n, unsigned shard, uint32_t workers)
{
    do snprintf(out, 16, "%s%u", kind, (*n)++);
    while (hash_slot(slice_str(out)) * workers / SLOT_COUNT != shard % workers);
}

void names_init(struct names *names, uint32_t workers)
{
    unsigned n = 0;
    for (unsigned i = 0; i < COUNTERS; i++)
        name_at(names->counters[i], "c", &n, i, workers);
    for (unsigned i = 0; i < GROUPS; i++)
        for (unsigned k = 0; k < GROUP_KEYS; k++)
            name_at(names->groups[i][k], "g", &n, k + i, workers); /* not always ascending */
    for (unsigned i = 0; i < PAIRS; i++)
        for (unsigned k = 0; k < 2; k++) name_at(names->pairs[i][k], "p", &n, i + k, workers);
    for (unsigned i = 0; i < ACTORS; i++)
        for (unsigned k = 0; k < 2; k++) name_at(names->marks[i][k], "m", &n, 3 * i + k, workers);
}

void names_prepare(const struct names *names, int port)
{
    struct client c;
    struct slice reply;
    client_init(&c);
    EXPECT(client_open(&c, port), "cannot connect");
    for (unsigned i = 0; i < PAIRS; i++)
        EXPECT(client_call(&c, &reply, "SET %s 1", names->pairs[i][0]) && reply_is(reply, "+OK"),
               "SET of a pair");
    client_deinit(&c);
}

void names_check(const struct names *names, int port, const struct actor *actors)
{
    struct client c;
    struct slice reply;
    client_init(&c);
    EXPECT(client_open(&c, port), "cannot connect");
    for (unsigned i = 0; i < COUNTERS; i++) {
        int64_t want = 0;
        for (unsigned a = 0; a < ACTORS; a++) want += (int64_t)actors[a].counted[i];
        bool told = client_call(&c, &reply, "GET %s", names->counters[i]);
        int64_t got = told ? reply_number(reply) : -1;
        EXPECT(got == want || (want == 0 && got == INT64_MIN), "counter %u: %lld of %lld", i,
               (long long)got, (long long)want);
    }
    for (unsigned i = 0; i < PAIRS; i++)
        EXPECT(client_call(&c, &reply, "EXISTS %s %s", names->pairs[i][0], names->pairs[i][1]) &&
                   reply_number(reply) == 1, "pair %u: not one of the two", i);
    client_deinit(&c);
}

/* ---- asking ---- */

static void ask_group(struct actor *a, const char *verb, unsigned which, int64_t value)
{
    char text[256];
    int len = snprintf(text, sizeof text, "%s", verb);
    unsigned first = (unsigned)rng_below(&a->rng, GROUP_KEYS); /* in any order */
    for (unsigned k = 0; k < GROUP_KEYS; k++) {
        const char *key = a->names->groups[which][(first + k) % GROUP_KEYS];
        size_t at = (size_t)len;
        len += value ? snprintf(text + at, sizeof text - at, " %s %" PRId64, key, value)
                     : snprintf(text + at, sizeof text - at, " %s", key);
    }
    client_ask(&a->client, "%s", text);
}

static void ask_pair(struct actor *a, const char *verb, unsigned which, const char *more)
{
    unsigned first = (unsigned)rng_below(&a->rng, 2);
    client_ask(&a->client, "%s %s %s%s", verb, a->names->pairs[which][first],
               a->names->pairs[which][1 - first], more);
}

static void ask_keys(struct actor *a, struct asked *q)
{
    const struct names *n = a->names;
    struct client *c = &a->client;
    switch (q->kind) {
    case K_INCR: client_ask(c, "INCR %s", n->counters[q->which]); break;
    case K_GET: client_ask(c, "GET %s", n->counters[q->which]); break;
    case K_SET: client_ask(c, "SET x%u %" PRId64, q->which, q->value); break;
    case K_MSET: ask_group(a, "MSET", q->which % GROUPS, q->value); break;
    case K_MSETNX: ask_group(a, "MSETNX", q->which % GROUPS, q->value); break;
    case K_MGET: ask_group(a, "MGET", q->which % GROUPS, 0); break;
    case K_DEL: ask_group(a, "DEL", q->which % GROUPS, 0); break;
    case K_EXISTS: ask_group(a, "EXISTS", q->which % GROUPS, 0); break;
    case K_RENAME: ask_pair(a, "RENAME", q->which % PAIRS, ""); break;
    case K_PAIR: ask_pair(a, "EXISTS", q->which % PAIRS, ""); break;
    case K_COPY:
        client_ask(c, "COPY %s y%u REPLACE", n->pairs[q->which % PAIRS][q->value & 1], q->which);
        break;
    case K_KEYS: client_ask(c, "KEYS p*"); break;
    case K_MARK:
        a->mark++;
        client_ask(c, "SET %s %" PRId64, n->marks[a->id][0], a->mark);
        client_ask(c, "SET %s %" PRId64, n->marks[a->id][1], a->mark);
        break;
    case K_READ_MARK:
        client_ask(c, "GET %s", n->marks[q->which % ACTORS][1]);
        client_ask(c, "GET %s", n->marks[q->which % ACTORS][0]);
        break;
    default: break;
    }
}

static void ask_others(struct actor *a, const struct asked *q)
{
    static const char *const settings[] = {"maxmemory-samples 5", "timeout 0", "loglevel warning",
                                           "proto-max-bulk-len 536870912", "tcp-keepalive 300"};
    struct client *c = &a->client;
    switch (q->kind) {
    case K_DBSIZE: client_ask(c, "DBSIZE"); break;
    case K_SCAN: client_ask(c, "SCAN 0 COUNT %u", q->which + 1); break;
    case K_RANDOM: client_ask(c, "RANDOMKEY"); break;
    case K_LIST: client_ask(c, "CLIENT LIST"); break;
    case K_CONFIG:
        client_ask(c, "CONFIG SET %s", settings[q->which % ARRAY_COUNT(settings)]);
        break;
    case K_FLUSH: client_ask(c, a->mode == MODE_EXACT ? "PING" : "FLUSHALL"); break;
    default: client_ask(c, "PING"); break;
    }
}

/* Cheap kinds often, those over all shards and workers now and then. */
static struct asked draw(struct actor *a)
{
    struct asked q = {.which = (unsigned)rng_below(&a->rng, COUNTERS),
                      .value = (int64_t)(++a->unique * ACTORS + a->id)};
    uint64_t dice = rng_below(&a->rng, 100);
    if (dice < 35) q.kind = K_INCR;
    else if (dice < 45) q.kind = rng_below(&a->rng, 2) ? K_GET : K_SET;
    else if (dice < 70) q.kind = K_MSET + (enum kind)rng_below(&a->rng, 5);
    else if (dice < 82) q.kind = K_RENAME + (enum kind)rng_below(&a->rng, 3);
    else if (dice < 94) q.kind = K_MARK + (enum kind)rng_below(&a->rng, 2);
    else if (dice < 97) q.kind = K_DBSIZE + (enum kind)rng_below(&a->rng, 3);
    else if (dice < 98) q.kind = K_KEYS;
    else q.kind = K_LIST + (enum kind)rng_below(&a->rng, 4);
    return q;
}

/* ---- answers ---- */

static void check_group_values(const struct asked *q, struct slice reply)
{
    struct slice first = reply_element(reply, 0);
    bool same = reply_count(reply) == GROUP_KEYS;
    for (int k = 1; same && k < (int)GROUP_KEYS; k++)
        same = slice_equal(first, reply_element(reply, k));
    if (!same) EXPECT(false, "group %u torn: %.*s", q->which % GROUPS, (int)reply.len, reply.ptr);
}

static void check_incr(struct actor *a, const struct asked *q, struct slice reply)
{
    int64_t n = reply_number(reply);
    bool grows = n > a->last_seen[q->which] || a->mode != MODE_EXACT;
    if (reply.ptr[0] != ':' || n <= 0 || !grows)
        EXPECT(false, "INCR of counter %u: %.*s after %lld", q->which, (int)reply.len, reply.ptr,
               (long long)a->last_seen[q->which]);
    a->last_seen[q->which] = n;
    a->counted[q->which]++;
}

/* The second reply of a pair of GETs; `first` is what the mark written last was. */
static void check_marks(struct actor *a, int64_t first, struct slice reply)
{
    int64_t second = reply_number(reply);
    if (a->mode != MODE_EXACT && second == INT64_MIN) return; /* flushed between the two */
    if (first > second)
        EXPECT(false, "order: the later mark is %lld, the earlier one %lld", (long long)first,
               (long long)second);
}

static void check_reply(struct actor *a, const struct asked *q, struct slice reply)
{
    bool exact = a->mode == MODE_EXACT, fine = true;
    switch (q->kind) {
    case K_INCR: check_incr(a, q, reply); return;
    case K_MGET: check_group_values(q, reply); return;
    case K_MSET: case K_SET: case K_CONFIG: fine = reply_is(reply, "+OK"); break;
    case K_MSETNX: fine = reply_is(reply, ":0") || reply_is(reply, ":1"); break;
    case K_DEL: case K_EXISTS: fine = reply_is(reply, ":0") || reply_is(reply, ":4"); break;
    case K_PAIR: fine = !exact || reply_is(reply, ":1"); break;
    case K_KEYS: fine = reply_count(reply) == PAIRS || (!exact && reply_count(reply) >= 0); break;
    case K_RENAME: fine = reply_is(reply, "+OK") || reply_is(reply, "-ERR no such key"); break;
    case K_COPY: fine = reply_is(reply, ":0") || reply_is(reply, ":1"); break;
    case K_DBSIZE:
        fine = reply.ptr[0] == ':' && reply_number(reply) >= (exact ? (int)PAIRS : 0);
        break;
    case K_SCAN: fine = reply_count(reply) == 2; break;
    case K_LIST: fine = reply.ptr[0] == '$' && reply.len > 50; break;
    case K_RANDOM: fine = reply.ptr[0] == '$'; break;
    default: fine = !reply_failed(reply); break;
    }
    if (!fine)
        EXPECT(false, "kind %d (%u): %.*s", q->kind, q->which,
               reply.len > 100 ? 100 : (int)reply.len, reply.ptr);
}

static bool lost(struct actor *a)
{
    if (a->mode != MODE_STORM) EXPECT(false, "actor %u: the server has closed", a->id);
    a->gone = true;
    return false;
}

static bool answers(struct actor *a, const struct asked *burst, unsigned count)
{
    struct slice reply;
    for (unsigned i = 0; i < count; i++) {
        const struct asked *q = &burst[i];
        if (!client_reply(&a->client, &reply)) return lost(a);
        a->requests++;
        if (q->kind == K_READ_MARK) {
            int64_t first = reply_number(reply);
            if (!client_reply(&a->client, &reply)) return lost(a);
            check_marks(a, first, reply);
        } else if (q->kind == K_MARK) {
            if (!client_reply(&a->client, &reply)) return lost(a);
            if (!reply_is(reply, "+OK")) EXPECT(false, "SET of a mark failed");
        } else {
            check_reply(a, q, reply);
        }
    }
    return true;
}

static void burst(struct actor *a)
{
    struct asked asked[BURST_MAX];
    unsigned count = rng_below(&a->rng, 4) ? 1 + (unsigned)rng_below(&a->rng, BURST_MAX) : 1;
    for (unsigned i = 0; i < count; i++) {
        asked[i] = draw(a);
        if (asked[i].kind <= K_READ_MARK) ask_keys(a, &asked[i]);
        else ask_others(a, &asked[i]);
        if (rng_below(&a->rng, 16) == 0 && !client_send(&a->client)) break; /* cut into pieces */
    }
    if (!client_send(&a->client)) {
        lost(a);
        return;
    }
    a->bursts++;
    answers(a, asked, count);
}

/* ---- others' connections ---- */

/* Connects, asks, and is gone: with work in flight, half a command sent, or after reading. */
static void visit(struct actor *a)
{
    struct client c;
    struct slice reply;
    client_init(&c);
    a->visits++;
    if (client_open(&c, a->port)) {
        unsigned asked = 1;
        client_ask(&c, "SELECT 1");
        for (uint64_t n = rng_below(&a->rng, 12); n > 0; n--, asked += 2) {
            client_ask(&c, "MSET v%d 1 v%d 2 v%d 3", (int)n, (int)n + 7, (int)n + 13);
            client_ask(&c, n == 3 ? "FLUSHDB" : n == 5 ? "SWAPDB 1 2" : "MGET v1 v2 v3 v4 v5 v6");
        }
        if (rng_below(&a->rng, 3) == 0) client_ask(&c, "QUIT");
        bool whole = rng_below(&a->rng, 4) != 0;
        if (!whole) c.out.len -= 3;
        client_send(&c);
        for (uint64_t n = whole ? rng_below(&a->rng, 4) : 0; n > 0 && asked > 0; n--, asked--)
            if (!client_reply(&c, &reply)) break;
    }
    client_deinit(&c);
}

/* A victim, busy or idle, on whatever worker: killed by its id, or (rarely) by itself. */
static void kill_one(struct actor *a)
{
    struct client victim;
    struct slice reply;
    client_init(&victim);
    if (client_open(&victim, a->port) && client_call(&victim, &reply, "CLIENT ID")) {
        long long id = reply_number(reply);
        if (rng_below(&a->rng, 2)) {
            client_ask(&victim, "MGET v1 v2 v3 v4 v5 v6");
            client_send(&victim);
        }
        struct client *by = rng_below(&a->rng, 8) ? &a->client : &victim;
        bool told = client_call(by, &reply, "CLIENT KILL ID %lld SKIPME no", id);
        while (by == &victim && told && reply.ptr[0] == '*') told = client_reply(&victim, &reply);
        if (a->mode != MODE_STORM)
            EXPECT(told && reply_is(reply, ":1"), "KILL of %s: %.*s",
                   by == &victim ? "itself" : "another", told ? (int)reply.len : 6,
                   told ? reply.ptr : "closed");
        if (!told && by == &a->client) a->gone = true;
        while (client_reply(&victim, &reply)) continue; /* ends: it was closed */
        a->kills++;
    }
    client_deinit(&victim);
}

void actor_run(void *arg)
{
    struct actor *a = arg;
    client_init(&a->client);
    if (!client_open(&a->client, a->port)) lost(a);
    while (!a->gone && stress_now_us() < a->until_us) {
        uint64_t dice = rng_below(&a->rng, 60);
        if (dice == 0) visit(a);
        else if (dice == 1) kill_one(a);
        else if (dice == 2 && rng_below(&a->rng, 4) == 0) {
            client_close(&a->client);
            if (!client_open(&a->client, a->port)) lost(a);
        } else burst(a);
    }
    client_deinit(&a->client);
}
