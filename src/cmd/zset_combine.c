/* Sorted sets together: ZUNION, ZINTER, ZDIFF, what stores them, and ZINTERCARD.
 *
 * Inputs are sorted sets and plain sets (whose members count as score 1). Scores are combined in
 * Redis' order, inputs from the smallest to the largest, because sums of doubles depend on it. The
 * result is gathered in an index without order and sorted once at its end: a random insert into the
 * tree per member would cost more. inf - inf and inf × 0 count as 0.
 *
 * ZDIFF has two ways: look every member of the first input up in the others, or take the members
 * of the others out of it; the one that touches fewer members is taken.
 * Source: https://redis.io/docs/latest/commands/zunionstore/ ; redis src/t_zset.c
 * Thread: holder of the call's shards. */
#include <math.h>
#include <stdlib.h>

#include "splitring/base/mem.h"
#include "splitring/base/num.h"
#include "splitring/keyspace/set.h"
#include "zset_impl.h"

enum combine_op { COMBINE_UNION, COMBINE_INTER, COMBINE_DIFF };
enum aggregate { AGGREGATE_SUM, AGGREGATE_MIN, AGGREGATE_MAX };

struct source {
    const struct entry *e; /* NULL: absent */
    double weight;
    uint64_t count;
    int64_t place; /* among the arguments */
};

struct combine {
    struct call *call;
    enum combine_op op;
    int numkeys;     /* the argument that says how many */
    bool store;      /* argument 1 is where the result goes */
    bool count_only; /* ZINTERCARD */
    bool scores;     /* WITHSCORES */
    enum aggregate aggregate;
    int64_t limit;   /* 0: none */
    struct source *sources;
    int64_t source_count;
    struct zset *result;
    uint64_t counted;
    int64_t at; /* the source that is walked */
};

/* ---- sources ---- */

static bool is_set(const struct source *s) { return entry_type(s->e) == TYPE_SET; }

static bool source_find(const struct source *s, struct slice text, double *score)
{
    if (!s->e) return false;
    if (!is_set(s)) return zset_score(s->e, text, score);
    struct set_member m;
    set_member_text(&m, text);
    *score = 1;
    return set_contains(s->e, &m);
}

/* False stops the walk. */
typedef bool source_visit(struct combine *cb, struct slice text, double score);

struct set_walk {
    struct combine *cb;
    source_visit *visit;
};

static bool visit_set_member(void *ctx, struct set_member *m)
{
    struct set_walk *walk = ctx;
    return walk->visit(walk->cb, set_member_get(m), 1);
}

/* False: it was stopped. */
static bool source_each(struct combine *cb, const struct source *s, source_visit *visit)
{
    if (!s->e) return true;
    if (is_set(s)) {
        struct set_walk walk = {cb, visit};
        return set_each(s->e, visit_set_member, &walk);
    }
    struct zset_iter it;
    struct zset_item item;
    zset_iter_init(&it, s->e, 0, false);
    while (zset_iter_next(&it, &item)) {
        if (!visit(cb, item.text, item.score)) return false;
    }
    return true;
}

static int compare_sources(const void *a, const void *b)
{
    const struct source *x = a, *y = b;
    if (x->count != y->count) return x->count < y->count ? -1 : 1;
    return x->place < y->place ? -1 : x->place > y->place;
}

/* ---- arguments ---- */

/* False: the error is written. Reads every key, so that wrong types come before syntax. */
static bool read_sources(struct combine *cb)
{
    struct call *c = cb->call;
    int64_t count;
    if (!call_int(c, cb->numkeys, &count)) return false;
    if (count < 1) {
        reply_errorf(&c->reply, ERR_INPUT_KEYS, c->cmd->name);
        return false;
    }
    if (count > c->argc - cb->numkeys - 1) {
        reply_error(&c->reply, ERR_SYNTAX);
        return false;
    }
    cb->source_count = count;
    cb->sources = mem_try_alloc((size_t)count * sizeof(*cb->sources));
    if (!cb->sources) {
        reply_error(&c->reply, ERR_NO_MEMORY);
        return false;
    }
    for (int64_t i = 0; i < count; i++) {
        const struct entry *e = ks_read(&c->ks, c->argv[cb->numkeys + 1 + i]);
        cb->sources[i] = (struct source){.e = e, .weight = 1, .place = i};
        if (!e) continue;
        if (entry_type(e) == TYPE_ZSET) {
            cb->sources[i].count = zset_count(e);
        } else if (entry_type(e) == TYPE_SET) {
            cb->sources[i].count = set_count(e);
        } else {
            reply_error(&c->reply, ERR_WRONGTYPE);
            return false;
        }
    }
    return true;
}

static bool parse_weights(struct combine *cb, int at)
{
    for (int64_t i = 0; i < cb->source_count; i++) {
        if (num_parse_double(cb->call->argv[at + i], &cb->sources[i].weight)) continue;
        reply_error(&cb->call->reply, ERR_WEIGHT_NOT_FLOAT);
        return false;
    }
    return true;
}

static bool parse_aggregate(struct combine *cb, int at)
{
    struct call *c = cb->call;
    if (call_is(c, at, "sum")) cb->aggregate = AGGREGATE_SUM;
    else if (call_is(c, at, "min")) cb->aggregate = AGGREGATE_MIN;
    else if (call_is(c, at, "max")) cb->aggregate = AGGREGATE_MAX;
    else {
        reply_error(&c->reply, ERR_SYNTAX);
        return false;
    }
    return true;
}

static bool parse_options(struct combine *cb)
{
    struct call *c = cb->call;
    bool combines = cb->op != COMBINE_DIFF && !cb->count_only;
    int i = cb->numkeys + 1 + (int)cb->source_count;
    while (i < c->argc) {
        int64_t left = c->argc - i;
        if (combines && left > cb->source_count && call_is(c, i, "weights")) {
            if (!parse_weights(cb, i + 1)) return false;
            i += 1 + (int)cb->source_count;
        } else if (combines && left >= 2 && call_is(c, i, "aggregate")) {
            if (!parse_aggregate(cb, i + 1)) return false;
            i += 2;
        } else if (!cb->store && !cb->count_only && call_is(c, i, "withscores")) {
            cb->scores = true;
            i++;
        } else if (cb->count_only && left >= 2 && call_is(c, i, "limit")) {
            if (!call_int_range(c, i + 1, 0, INT64_MAX, &cb->limit, ERR_LIMIT_NEGATIVE))
                return false;
            i += 2;
        } else {
            reply_error(&c->reply, ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

/* ---- the three operations: false means no memory, or enough ---- */

static double not_nan(double score) { return isnan(score) ? 0 : score; }

static double aggregate(const struct combine *cb, double a, double b)
{
    if (cb->aggregate == AGGREGATE_SUM) return not_nan(a + b);
    if (cb->aggregate == AGGREGATE_MIN) return b < a ? b : a;
    return b > a ? b : a;
}

static bool visit_union(struct combine *cb, struct slice text, double score)
{
    score = not_nan(score * cb->sources[cb->at].weight);
    struct ordered_member *m = zset_member(cb->result, text);
    if (!m) return zset_add(cb->result, text, score) == 0;
    m->score = aggregate(cb, m->score, score);
    return true;
}

static bool visit_inter(struct combine *cb, struct slice text, double score)
{
    double other;
    score = not_nan(score * cb->sources[0].weight);
    for (int64_t i = 1; i < cb->source_count; i++) {
        if (!source_find(&cb->sources[i], text, &other)) return true;
        score = aggregate(cb, score, other * cb->sources[i].weight);
    }
    if (!cb->count_only) return zset_add(cb->result, text, score) == 0;
    cb->counted++;
    return cb->limit == 0 || cb->counted < (uint64_t)cb->limit;
}

static bool visit_first(struct combine *cb, struct slice text, double score)
{
    return zset_add(cb->result, text, score) == 0;
}

static bool visit_first_looking(struct combine *cb, struct slice text, double score)
{
    double other;
    for (int64_t i = 1; i < cb->source_count; i++) {
        if (source_find(&cb->sources[i], text, &other)) return true;
    }
    return zset_add(cb->result, text, score) == 0;
}

static bool visit_taking_out(struct combine *cb, struct slice text, double score)
{
    (void)score;
    struct ordered_member *m = zset_member(cb->result, text);
    if (m) zset_take_out(cb->result, m);
    return zset_members(cb->result) > 0;
}

static bool diff(struct combine *cb)
{
    uint64_t others = 0, first = cb->sources[0].count;
    for (int64_t i = 1; i < cb->source_count; i++) others += cb->sources[i].count;
    if (first / 2 * (uint64_t)cb->source_count <= others)
        return source_each(cb, &cb->sources[0], visit_first_looking);
    if (!source_each(cb, &cb->sources[0], visit_first)) return false;
    for (int64_t i = 1; i < cb->source_count; i++) {
        if (!source_each(cb, &cb->sources[i], visit_taking_out)) break;
    }
    return true;
}

static bool combine_sources(struct combine *cb)
{
    if (cb->op == COMBINE_DIFF) return diff(cb);
    qsort(cb->sources, (size_t)cb->source_count, sizeof(*cb->sources), compare_sources);
    if (cb->op == COMBINE_UNION) {
        for (cb->at = 0; cb->at < cb->source_count; cb->at++) {
            if (!source_each(cb, &cb->sources[cb->at], visit_union)) return false;
        }
        return true;
    }
    bool whole = source_each(cb, &cb->sources[0], visit_inter);
    return whole || cb->count_only;
}

/* ---- results ---- */

static void reply_result(struct combine *cb)
{
    struct call *c = cb->call;
    struct ordered_cursor at;
    uint64_t count = zset_members(cb->result);
    zset_reply_begin(c, count, cb->scores);
    const struct ordered_member *m = count ? ordered_at(&cb->result->order, 0, &at) : NULL;
    for (; m; m = ordered_next(&cb->result->order, &at)) {
        struct zset_item item = {.text = ordered_text(m), .score = m->score};
        zset_reply_item(c, &item, cb->scores);
    }
    zset_free(cb->result);
}

static void combine(struct combine *cb)
{
    static const char *const events[] = {"zunionstore", "zinterstore", "zdiffstore"};
    struct call *c = cb->call;
    if (read_sources(cb) && parse_options(cb)) {
        struct slice home = c->argv[cb->store ? 1 : cb->numkeys + 1];
        cb->result = zset_new(ks_shard_of(&c->ks, home));
        bool ok = cb->result && combine_sources(cb) && zset_sort(cb->result) == 0;
        if (!ok) {
            if (cb->result) zset_free(cb->result);
            reply_error(&c->reply, ERR_NO_MEMORY);
        } else if (cb->count_only) {
            zset_free(cb->result);
            reply_int(&c->reply, (int64_t)cb->counted);
        } else if (cb->store) {
            zset_store_result(c, c->argv[1], cb->result, events[cb->op]);
        } else {
            reply_result(cb);
        }
    }
    mem_free(cb->sources);
}

static void combine_store(struct call *c, enum combine_op op)
{
    struct combine cb = {.call = c, .op = op, .numkeys = 2, .store = true};
    combine(&cb);
}

static void combine_reply(struct call *c, enum combine_op op, bool count_only)
{
    struct combine cb = {.call = c, .op = op, .numkeys = 1, .count_only = count_only};
    combine(&cb);
}

void cmd_zunionstore(struct call *c) { combine_store(c, COMBINE_UNION); }

void cmd_zinterstore(struct call *c) { combine_store(c, COMBINE_INTER); }

void cmd_zdiffstore(struct call *c) { combine_store(c, COMBINE_DIFF); }

void cmd_zunion(struct call *c) { combine_reply(c, COMBINE_UNION, false); }

void cmd_zinter(struct call *c) { combine_reply(c, COMBINE_INTER, false); }

void cmd_zdiff(struct call *c) { combine_reply(c, COMBINE_DIFF, false); }

void cmd_zintercard(struct call *c) { combine_reply(c, COMBINE_INTER, true); }
