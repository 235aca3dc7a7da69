/* Sorted sets: popping from an end (ZPOPMIN, ZMPOP and the forms that wait), random members.
 *
 * What was popped from which key is stated as ZPOPMIN or ZPOPMAX key [count], as in Redis. A
 * waiting form that finds nothing asks to be run again (call_block); there it may see one shard's
 * keys only.
 * Source: https://redis.io/docs/latest/commands/zmpop/ ; redis src/t_zset.c
 * Thread: holder of the call's shards. */
#include <stdlib.h>

#include "splitring/base/mem.h"
#include "splitring/base/num.h"
#include "cmd/repeats.h"
#include "zset_impl.h"

struct pop {
    bool max;
    int64_t count;  /* below 0: one, and not asked for */
    bool emit_key;  /* the key is part of the reply */
    bool nested;    /* members as pairs */
    bool restate;   /* the effect is ZPOPMIN or ZPOPMAX */
};

static void reply_frame(struct call *c, const struct pop *pop, struct slice key, uint64_t count)
{
    if (pop->emit_key && pop->nested) {
        reply_array(&c->reply, 2);
        reply_bulk_slice(&c->reply, key);
        reply_array(&c->reply, count);
    } else if (pop->emit_key) {
        reply_array(&c->reply, count * 2 + 1);
        reply_bulk_slice(&c->reply, key);
    } else {
        reply_array(&c->reply, pop->nested ? count : count * 2);
    }
}

static void state_pop(struct call *c, const struct pop *pop, struct slice key, uint64_t count)
{
    char number[NUM_I64_LEN_MAX + 1];
    struct slice name = pop->max ? SLICE("ZPOPMAX") : SLICE("ZPOPMIN");
    if (!pop->restate) effect_verbatim(c);
    else if (pop->count < 0) EFFECT(c, name, key);
    else EFFECT(c, name, key, effect_int(number, (int64_t)count));
}

/* Pops from a set that is there. */
static void pop_from(struct call *c, const struct pop *pop, struct zset_edit *edit)
{
    uint64_t total = zset_count(edit->e), count = pop->count < 0 ? 1 : (uint64_t)pop->count;
    struct slice key = edit->key;
    if (count > total) count = total;
    reply_frame(c, pop, key, count);
    if (count == 0) return;
    struct zset_iter it;
    struct zset_item item;
    zset_iter_init(&it, edit->e, pop->max ? total - 1 : 0, pop->max);
    for (uint64_t i = 0; i < count; i++) {
        (void)zset_iter_next(&it, &item);
        if (pop->nested) reply_array(&c->reply, 2);
        reply_bulk_slice(&c->reply, item.text);
        reply_double(&c->reply, item.score);
    }
    c->dirty += count;
    state_pop(c, pop, key, count);
    uint64_t begin = pop->max ? total - count : 0;
    if (count < total) zset_drop_ranks(edit, (struct zset_ranks){begin, begin + count});
    call_changed(c, key, EVENT_ZSET, pop->max ? "zpopmax" : "zpopmin");
    if (count == total) call_emptied(c, key);
}

/* The first of the keys that is there. False: none is (or an error was written, *failed). */
static bool pop_first(struct call *c, const struct pop *pop, int first_key, int64_t keys,
                      bool *failed)
{
    struct zset_edit edit;
    *failed = false;
    for (int64_t i = 0; i < keys; i++) {
        if (!zset_open(c, c->argv[first_key + i], &edit)) {
            *failed = true;
            return false;
        }
        if (!edit.e) continue;
        pop_from(c, pop, &edit);
        return true;
    }
    return false;
}

/* ---- ZPOPMIN, ZPOPMAX, BZPOPMIN, BZPOPMAX ---- */

static void zpop(struct call *c, bool max)
{
    struct pop pop = {.max = max, .count = -1};
    bool failed;
    if (c->argc > 3) {
        reply_error(&c->reply, ERR_SYNTAX);
        return;
    }
    if (c->argc == 3 &&
        !call_int_range(c, 2, 0, INT64_MAX, &pop.count, ERR_OUT_OF_RANGE_POSITIVE))
        return;
    pop.nested = c->reply.proto >= 3 && pop.count >= 0;
    if (!pop_first(c, &pop, 1, 1, &failed) && !failed) reply_array(&c->reply, 0);
}

void cmd_zpopmin(struct call *c) { zpop(c, false); }

void cmd_zpopmax(struct call *c) { zpop(c, true); }

static void pop_or_wait(struct call *c, const struct pop *pop, int first_key, int64_t keys,
                        int timeout)
{
    int64_t timeout_ms;
    bool failed;
    if (!call_timeout(c, timeout, &timeout_ms)) return;
    if (pop_first(c, pop, first_key, keys, &failed) || failed) return;
    if (!call_block(c, timeout_ms)) reply_null_array(&c->reply);
}

static void bzpop(struct call *c, bool max)
{
    struct pop pop = {.max = max, .count = -1, .emit_key = true, .restate = true};
    pop_or_wait(c, &pop, 1, c->argc - 2, c->argc - 1);
}

void cmd_bzpopmin(struct call *c) { bzpop(c, false); }

void cmd_bzpopmax(struct call *c) { bzpop(c, true); }

/* ---- ZMPOP, BZMPOP ---- */

/* numkeys at argument `at`, then keys, MIN or MAX, COUNT. False: the error is written. */
static bool parse_mpop(struct call *c, int at, int64_t *keys, struct pop *pop)
{
    *pop = (struct pop){.count = -1, .emit_key = true, .nested = true, .restate = true};
    if (!call_int_range(c, at, 1, INT64_MAX, keys, ERR_NUMKEYS_POSITIVE)) return false;
    bool ok = *keys < c->argc - at - 1;
    int i = ok ? at + 1 + (int)*keys : 0;
    pop->max = ok && call_is(c, i, "max");
    ok = ok && (pop->max || call_is(c, i, "min"));
    for (i++; ok && i < c->argc; i += 2) {
        ok = pop->count < 0 && call_is(c, i, "count") && i + 1 < c->argc;
        if (!ok) break;
        if (!call_int_range(c, i + 1, 1, INT64_MAX, &pop->count, ERR_COUNT_POSITIVE)) return false;
    }
    if (pop->count < 0) pop->count = 1;
    if (!ok) reply_error(&c->reply, ERR_SYNTAX);
    return ok;
}

void cmd_zmpop(struct call *c)
{
    struct pop pop;
    int64_t keys;
    bool failed;
    if (!parse_mpop(c, 1, &keys, &pop)) return;
    if (!pop_first(c, &pop, 2, keys, &failed) && !failed) reply_null_array(&c->reply);
}

void cmd_bzmpop(struct call *c)
{
    struct pop pop;
    int64_t keys;
    if (parse_mpop(c, 2, &keys, &pop)) pop_or_wait(c, &pop, 3, keys, 1);
}

/* ---- ZRANDMEMBER ---- */

/* Members that may repeat: the client names any number. Too many are refused; too many bytes close
 * the client, as running out of memory for them would. */
#define RANDOM_BYTES_MAX ((size_t)512 * 1024 * 1024)

/* So that walking on from one member to the next is cheaper than finding each by its rank. */
#define RANDOM_WALK_SHARE 8u

static int compare_ranks(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* `count` different members, few of all: draws ranks until there are enough different ones. */
static void random_by_rank(struct call *c, const struct entry *e, size_t count, bool scores)
{
    uint64_t total = zset_count(e);
    uint64_t *ranks = mem_try_alloc(count * sizeof(*ranks));
    if (!ranks) {
        reply_error(&c->reply, ERR_NO_MEMORY);
        return;
    }
    for (size_t have = 0; have < count;) {
        for (size_t i = have; i < count; i++) ranks[i] = rng_below(c->rng, total);
        qsort(ranks, count, sizeof(*ranks), compare_ranks);
        have = 1;
        for (size_t i = 1; i < count; i++) {
            if (ranks[i] != ranks[have - 1]) ranks[have++] = ranks[i];
        }
    }
    zset_reply_begin(c, count, scores);
    for (size_t i = 0; i < count; i++) {
        struct zset_item item;
        zset_at(e, ranks[i], &item);
        zset_reply_item(c, &item, scores);
    }
    mem_free(ranks);
}

/* `count` different members, by one walk: each is taken with the chance that is left for it. */
static void random_by_walk(struct call *c, const struct entry *e, uint64_t count, bool scores)
{
    uint64_t left = zset_count(e);
    struct zset_iter it;
    struct zset_item item;
    zset_reply_begin(c, count, scores);
    zset_iter_init(&it, e, 0, false);
    for (; count > 0 && zset_iter_next(&it, &item); left--) {
        if (rng_below(c->rng, left) >= count) continue;
        zset_reply_item(c, &item, scores);
        count--;
    }
}

static void random_repeated(struct call *c, const struct entry *e, int64_t count, bool scores)
{
    struct zset_item item;
    if ((uint64_t)count > RANDOM_REPEATS_MAX) {
        reply_error(&c->reply, ERR_OUT_OF_RANGE);
        return;
    }
    zset_reply_begin(c, (uint64_t)count, scores);
    for (; count > 0 && !c->reply.out->failed; count--) {
        zset_at(e, rng_below(c->rng, zset_count(e)), &item);
        zset_reply_item(c, &item, scores);
        if (c->reply.out->len > RANDOM_BYTES_MAX) c->reply.out->failed = true;
    }
}

static void random_count(struct call *c, int64_t count, bool scores)
{
    struct entry *e;
    if (!zset_read(c, c->argv[1], &e)) return;
    if (!e || count == 0) {
        reply_array(&c->reply, 0);
        return;
    }
    uint64_t total = zset_count(e);
    if (count < 0) {
        random_repeated(c, e, -count, scores);
    } else if ((uint64_t)count >= total) {
        struct zset_iter it;
        struct zset_item item;
        zset_reply_begin(c, total, scores);
        zset_iter_init(&it, e, total - 1, true);
        while (zset_iter_next(&it, &item)) zset_reply_item(c, &item, scores);
    } else if ((uint64_t)count < total / RANDOM_WALK_SHARE) {
        random_by_rank(c, e, (size_t)count, scores);
    } else {
        random_by_walk(c, e, (uint64_t)count, scores);
    }
}

void cmd_zrandmember(struct call *c)
{
    struct entry *e;
    int64_t count;
    if (c->argc > 2) {
        bool scores = c->argc > 3;
        if (!call_int(c, 2, &count)) return;
        if (count < -INT64_MAX) {
            reply_errorf(&c->reply, ERR_OUT_OF_RANGE_BETWEEN, (long long)-INT64_MAX,
                         (long long)INT64_MAX);
            return;
        }
        if (c->argc > 4 || (scores && !call_is(c, 3, "withscores"))) {
            reply_error(&c->reply, ERR_SYNTAX);
        } else if (scores && (count < -INT64_MAX / 2 || count > INT64_MAX / 2)) {
            reply_error(&c->reply, ERR_OUT_OF_RANGE);
        } else {
            random_count(c, count, scores);
        }
        return;
    }
    if (!zset_read(c, c->argv[1], &e)) return;
    if (!e) {
        reply_null(&c->reply);
        return;
    }
    struct zset_item item;
    zset_at(e, rng_below(c->rng, zset_count(e)), &item);
    reply_bulk_slice(&c->reply, item.text);
}
