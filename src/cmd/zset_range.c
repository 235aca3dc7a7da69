/* Sorted sets: ranges by rank, score and text. ZRANGE and the older commands it replaces, ZCOUNT,
 * ZLEXCOUNT, ZREMRANGEBY…, ZRANGESTORE.
 *
 * Every range becomes ranks [begin, end) first (zset_by_score, zset_by_lex); then it is counted,
 * cut by LIMIT, walked in either direction, removed or stored, all in one way.
 * Source: https://redis.io/docs/latest/commands/zrange/ ; redis src/t_zset.c
 * Thread: holder of the call's shards. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "splitring/base/mem.h"
#include "splitring/base/num.h"
#include "zset_impl.h"

/* ---- bounds ---- */

/* Redis reads bounds with a bare strtod: leading blanks, "", what lies behind a NUL and 1e999 are
 * all fine; NaN is not. */
static bool parse_bound(struct slice s, double *out)
{
    if (likely(num_parse_double(s, out))) return true;
    char small[128], *end;
    char *text = s.len < sizeof(small) ? small : mem_try_alloc(s.len + 1);
    if (!text) return false;
    if (s.len) memcpy(text, s.ptr, s.len);
    text[s.len] = '\0';
    *out = strtod(text, &end);
    bool ok = *end == '\0' && !isnan(*out);
    if (text != small) mem_free(text);
    return ok;
}

static bool parse_score_bound(struct slice s, double *out, bool *ex)
{
    *ex = s.len > 0 && s.ptr[0] == '(';
    if (*ex) s = slice_of(s.ptr + 1, s.len - 1);
    return parse_bound(s, out);
}

bool zset_parse_score_range(struct slice min, struct slice max, struct zset_score_range *range)
{
    return parse_score_bound(min, &range->min, &range->min_ex) &&
           parse_score_bound(max, &range->max, &range->max_ex);
}

static bool parse_lex_bound(struct slice s, struct zset_lex_end *end)
{
    *end = (struct zset_lex_end){.kind = ZSET_LEX_TEXT};
    if (s.len == 0) return false;
    switch (s.ptr[0]) {
    case '(':
    case '[':
        end->ex = s.ptr[0] == '(';
        end->text = slice_of(s.ptr + 1, s.len - 1);
        return true;
    case '-':
    case '+':
        end->ex = true;
        end->kind = s.ptr[0] == '-' ? ZSET_LEX_MIN : ZSET_LEX_MAX;
        return s.len == 1 || s.ptr[1] == '\0';
    default: return false;
    }
}

bool zset_parse_lex_range(struct slice min, struct slice max, struct zset_lex_range *range)
{
    return parse_lex_bound(min, &range->min) && parse_lex_bound(max, &range->max);
}

/* ---- a range of any kind ---- */

enum range_kind { RANGE_AUTO, RANGE_RANK, RANGE_SCORE, RANGE_LEX };

struct range {
    enum range_kind kind;
    int64_t first, last; /* by rank, as given */
    struct zset_score_range score;
    struct zset_lex_range lex;
    bool reverse;
};

/* False: the error is written. */
static bool parse_range(struct call *c, struct range *r, int min, int max)
{
    if (r->kind == RANGE_RANK) return call_int(c, min, &r->first) && call_int(c, max, &r->last);
    struct slice low = c->argv[min], high = c->argv[max];
    if (r->kind == RANGE_SCORE) {
        if (zset_parse_score_range(low, high, &r->score)) return true;
        reply_error(&c->reply, ERR_MIN_MAX_NOT_FLOAT);
    } else {
        if (zset_parse_lex_range(low, high, &r->lex)) return true;
        reply_error(&c->reply, ERR_MIN_MAX_NOT_LEX);
    }
    return false;
}

static struct zset_ranks ranks_between(uint64_t count, int64_t first, int64_t last)
{
    int64_t n = (int64_t)count;
    if (first < 0) first = first + n < 0 ? 0 : first + n;
    if (last < 0) last += n;
    if (first > last || first >= n) return (struct zset_ranks){0, 0};
    return (struct zset_ranks){(uint64_t)first, (uint64_t)(last >= n ? n : last + 1)};
}

static struct zset_ranks find_range(const struct entry *e, const struct range *r)
{
    if (r->kind == RANGE_SCORE) return zset_by_score(e, &r->score);
    if (r->kind == RANGE_LEX) return zset_by_lex(e, &r->lex, r->reverse);
    uint64_t count = zset_count(e);
    struct zset_ranks ranks = ranks_between(count, r->first, r->last);
    if (!r->reverse || ranks.begin == ranks.end) return ranks;
    return (struct zset_ranks){count - ranks.end, count - ranks.begin};
}

/* ---- ZRANGE and its kin ---- */

struct zrange {
    struct range range;
    bool fixed_direction, scores, store;
    int64_t offset, limit; /* limit below 0: all */
};

/* Arguments behind key, min and max. False: the error is written. */
static bool parse_zrange(struct call *c, struct zrange *z, int begin)
{
    for (int i = begin; i < c->argc; i++) {
        if (!z->store && call_is(c, i, "withscores")) {
            z->scores = true;
        } else if (call_is(c, i, "limit") && i + 2 < c->argc) {
            if (!call_int(c, i + 1, &z->offset) || !call_int(c, i + 2, &z->limit)) return false;
            i += 2;
        } else if (!z->fixed_direction && call_is(c, i, "rev")) {
            z->range.reverse = z->fixed_direction = true;
        } else if (z->range.kind == RANGE_AUTO && call_is(c, i, "bylex")) {
            z->range.kind = RANGE_LEX;
        } else if (z->range.kind == RANGE_AUTO && call_is(c, i, "byscore")) {
            z->range.kind = RANGE_SCORE;
        } else {
            reply_error(&c->reply, ERR_SYNTAX);
            return false;
        }
    }
    if (z->range.kind == RANGE_AUTO) z->range.kind = RANGE_RANK;
    bool limit = z->limit != -1 && z->range.kind == RANGE_RANK;
    if (!limit && !(z->scores && z->range.kind == RANGE_LEX)) return true;
    reply_error(&c->reply, limit ? ERR_ZRANGE_LIMIT : ERR_ZRANGE_LEX_SCORES);
    return false;
}

/* What is left of the range after LIMIT, seen in walking direction. */
static struct zset_ranks cut_range(struct zset_ranks ranks, const struct zrange *z)
{
    uint64_t count = ranks.end - ranks.begin;
    if (z->range.kind == RANGE_RANK) return ranks;
    if (z->offset < 0 || (uint64_t)z->offset >= count) return (struct zset_ranks){0, 0};
    count -= (uint64_t)z->offset;
    if (z->limit >= 0 && (uint64_t)z->limit < count) count = (uint64_t)z->limit;
    if (!z->range.reverse) {
        ranks.begin += (uint64_t)z->offset;
        ranks.end = ranks.begin + count;
    } else {
        ranks.end -= (uint64_t)z->offset;
        ranks.begin = ranks.end - count;
    }
    return ranks;
}

static void reply_range(struct call *c, const struct entry *e, const struct zrange *z)
{
    struct zset_ranks ranks = {0, 0};
    if (e) ranks = cut_range(find_range(e, &z->range), z);
    uint64_t count = ranks.end - ranks.begin;
    zset_reply_begin(c, count, z->scores);
    if (count == 0) return;
    struct zset_iter it;
    struct zset_item item;
    zset_iter_init(&it, e, z->range.reverse ? ranks.end - 1 : ranks.begin, z->range.reverse);
    for (uint64_t i = 0; i < count && zset_iter_next(&it, &item); i++) {
        zset_reply_item(c, &item, z->scores);
    }
}

static void store_range(struct call *c, const struct entry *e, const struct zrange *z)
{
    struct zset *out = zset_new(ks_shard_of(&c->ks, c->argv[1]));
    int rc = out ? 0 : -ENOMEM;
    struct zset_ranks ranks = {0, 0};
    if (e) ranks = cut_range(find_range(e, &z->range), z);
    if (rc == 0 && ranks.begin < ranks.end) {
        struct zset_iter it;
        struct zset_item item;
        zset_iter_init(&it, e, ranks.begin, false);
        for (uint64_t i = ranks.begin; i < ranks.end && rc == 0; i++) {
            (void)zset_iter_next(&it, &item);
            rc = zset_add(out, item.text, item.score);
        }
    }
    if (rc == 0) rc = zset_sort(out);
    if (rc < 0) {
        if (out) zset_free(out);
        reply_error(&c->reply, ERR_NO_MEMORY);
        return;
    }
    zset_store_result(c, c->argv[1], out, "zrangestore");
}

static void zrange(struct call *c, struct zrange *z, int key)
{
    struct entry *e;
    z->limit = -1;
    int min = key + 1, max = key + 2;
    if (!parse_zrange(c, z, key + 3)) return;
    if (z->range.reverse && z->range.kind != RANGE_RANK) {
        min = key + 2;
        max = key + 1;
    }
    if (!parse_range(c, &z->range, min, max) || !zset_read(c, c->argv[key], &e)) return;
    if (z->store) store_range(c, e, z);
    else reply_range(c, e, z);
}

void cmd_zrange(struct call *c)
{
    struct zrange z = {0};
    zrange(c, &z, 1);
}

void cmd_zrangestore(struct call *c)
{
    struct zrange z = {.store = true};
    zrange(c, &z, 2);
}

static void zrange_old(struct call *c, enum range_kind kind, bool reverse)
{
    struct zrange z = {.range = {.kind = kind, .reverse = reverse}, .fixed_direction = true};
    zrange(c, &z, 1);
}

void cmd_zrevrange(struct call *c) { zrange_old(c, RANGE_RANK, true); }

void cmd_zrangebyscore(struct call *c) { zrange_old(c, RANGE_SCORE, false); }

void cmd_zrevrangebyscore(struct call *c) { zrange_old(c, RANGE_SCORE, true); }

void cmd_zrangebylex(struct call *c) { zrange_old(c, RANGE_LEX, false); }

void cmd_zrevrangebylex(struct call *c) { zrange_old(c, RANGE_LEX, true); }

/* ---- counting and removing ---- */

static void count_range(struct call *c, enum range_kind kind)
{
    struct range range = {.kind = kind};
    struct entry *e;
    if (!parse_range(c, &range, 2, 3) || !zset_read(c, c->argv[1], &e)) return;
    struct zset_ranks ranks = {0, 0};
    if (e) ranks = find_range(e, &range);
    reply_int(&c->reply, (int64_t)(ranks.end - ranks.begin));
}

void cmd_zcount(struct call *c) { count_range(c, RANGE_SCORE); }

void cmd_zlexcount(struct call *c) { count_range(c, RANGE_LEX); }

static void remove_range(struct call *c, enum range_kind kind, const char *event)
{
    struct range range = {.kind = kind};
    struct zset_edit edit;
    struct slice key = c->argv[1];
    if (!parse_range(c, &range, 2, 3) || !zset_open(c, key, &edit)) return;
    struct zset_ranks ranks = {0, 0};
    if (edit.e) ranks = find_range(edit.e, &range);
    uint64_t count = ranks.end - ranks.begin;
    if (count > 0) {
        c->dirty += count;
        effect_verbatim(c);
        bool all = count == zset_count(edit.e);
        /* A whole set goes as such: freed in slices. */
        if (!all) zset_drop_ranks(&edit, ranks);
        call_changed(c, key, EVENT_ZSET, event);
        if (all) call_emptied(c, key);
    }
    reply_int(&c->reply, (int64_t)count);
}

void cmd_zremrangebyrank(struct call *c) { remove_range(c, RANGE_RANK, "zremrangebyrank"); }

void cmd_zremrangebyscore(struct call *c) { remove_range(c, RANGE_SCORE, "zremrangebyscore"); }

void cmd_zremrangebylex(struct call *c) { remove_range(c, RANGE_LEX, "zremrangebylex"); }

/* ---- replies and results ---- */

void zset_reply_begin(struct call *c, uint64_t count, bool scores)
{
    reply_array(&c->reply, scores && c->reply.proto < 3 ? count * 2 : count);
}

void zset_reply_item(struct call *c, const struct zset_item *item, bool scores)
{
    if (scores && c->reply.proto >= 3) reply_array(&c->reply, 2);
    reply_bulk_slice(&c->reply, item->text);
    if (scores) reply_double(&c->reply, item->score);
}

void zset_store_result(struct call *c, struct slice key, struct zset *z, const char *event)
{
    uint64_t count = zset_members(z);
    if (count == 0) {
        zset_free(z);
        if (ks_delete(&c->ks, key, false)) {
            ks_notify(&c->ks, EVENT_GENERIC, "del", key);
            c->dirty++;
            effect_verbatim(c);
        }
        reply_int(&c->reply, 0);
        return;
    }
    struct zset_limits limits = zset_limits_of(c);
    if (zset_store(&c->ks, key, z, &limits, EXPIRE_NONE) < 0) {
        reply_error(&c->reply, ERR_NO_MEMORY);
        return;
    }
    ks_notify(&c->ks, EVENT_ZSET, event, key);
    c->dirty++;
    effect_verbatim(c);
    reply_int(&c->reply, (int64_t)count);
}
