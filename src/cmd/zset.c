/* Sorted sets: single members (ZADD, ZINCRBY, ZREM, ZSCORE, ZRANK …) and ZSCAN.
 *
 * ZADD adds pair after pair to the set as it is then; where memory runs out in the middle, the
 * pairs before it stay, and the effect names just those.
 * Source: https://redis.io/docs/latest/commands/zadd/ and its neighbours; redis src/t_zset.c
 * Thread: holder of the call's shards. */
#include <math.h>
#include <stdio.h>

#include "scan_members.h"
#include "splitring/base/num.h"
#include "zset_impl.h"

bool zset_read(struct call *c, struct slice key, struct entry **e)
{
    *e = ks_read(&c->ks, key);
    if (!*e || likely(entry_type(*e) == TYPE_ZSET)) return true;
    reply_error(&c->reply, ERR_WRONGTYPE);
    return false;
}

bool zset_open(struct call *c, struct slice key, struct zset_edit *edit)
{
    *edit = (struct zset_edit){
        .ks = &c->ks, .key = key, .e = ks_edit(&c->ks, key), .limits = zset_limits_of(c)};
    if (!edit->e || likely(entry_type(edit->e) == TYPE_ZSET)) return true;
    reply_error(&c->reply, ERR_WRONGTYPE);
    return false;
}

/* ---- ZADD, ZINCRBY ---- */

enum zadd_result zset_add_member(struct zset_edit *edit, unsigned flags, struct slice member,
                                 double *score)
{
    bool found = zset_find(edit, member);
    if (!found) {
        if (flags & ZADD_XX) return ZADD_SKIPPED;
        return zset_put(edit, *score) == 0 ? ZADD_ADDED : ZADD_NO_MEMORY;
    }
    if (flags & ZADD_NX) return ZADD_SKIPPED;
    if (flags & ZADD_INCR) *score += edit->score;
    if (isnan(*score)) return ZADD_NAN;
    if (flags & ZADD_LT && *score >= edit->score) return ZADD_SKIPPED;
    if (flags & ZADD_GT && *score <= edit->score) return ZADD_SKIPPED;
    if (ordered_equal_score(*score, edit->score)) return ZADD_SAME;
    return zset_put(edit, *score) == 0 ? ZADD_UPDATED : ZADD_NO_MEMORY;
}

/* Options from argument 2 on; the first pair's place, or 0: the error is written. */
static int parse_zadd(struct call *c, unsigned *flags)
{
    int i = 2;
    for (; i < c->argc; i++) {
        if (call_is(c, i, "nx")) *flags |= ZADD_NX;
        else if (call_is(c, i, "xx")) *flags |= ZADD_XX;
        else if (call_is(c, i, "ch")) *flags |= ZADD_CH;
        else if (call_is(c, i, "incr")) *flags |= ZADD_INCR;
        else if (call_is(c, i, "gt")) *flags |= ZADD_GT;
        else if (call_is(c, i, "lt")) *flags |= ZADD_LT;
        else break;
    }
    unsigned f = *flags;
    int words = c->argc - i;
    enum error_id wrong;
    if (words % 2 || words == 0) wrong = ERR_SYNTAX;
    else if (f & ZADD_NX && f & ZADD_XX) wrong = ERR_ZADD_NX_XX;
    else if ((f & (ZADD_GT | ZADD_NX)) == (ZADD_GT | ZADD_NX) ||
             (f & (ZADD_LT | ZADD_NX)) == (ZADD_LT | ZADD_NX) ||
             (f & (ZADD_GT | ZADD_LT)) == (ZADD_GT | ZADD_LT))
        wrong = ERR_ZADD_GT_LT_NX;
    else if (f & ZADD_INCR && words > 2) wrong = ERR_ZADD_INCR_PAIR;
    else return i;
    reply_error(&c->reply, wrong);
    return 0;
}

struct zadd {
    unsigned flags;
    int first;          /* argument of the first score */
    int64_t added, updated;
    enum zadd_result last;
    double score;       /* of the last pair, as it is now */
};

/* Pairs one after the other; false: an error ended it and is written. */
static bool zadd_pairs(struct call *c, struct zadd *z, struct zset_edit *edit, int *done)
{
    for (int i = z->first; i < c->argc; i += 2) {
        (void)num_parse_double(c->argv[i], &z->score);
        z->last = zset_add_member(edit, z->flags, c->argv[i + 1], &z->score);
        if (z->last == ZADD_NAN || z->last == ZADD_NO_MEMORY) {
            reply_error(&c->reply, z->last == ZADD_NAN ? ERR_SCORE_NAN : ERR_NO_MEMORY);
            *done = i;
            return false;
        }
        z->added += z->last == ZADD_ADDED;
        z->updated += z->last == ZADD_UPDATED;
    }
    *done = c->argc;
    return true;
}

static void zadd(struct call *c, unsigned flags)
{
    struct zadd z = {.flags = flags};
    struct zset_edit edit;
    double ignored;
    z.first = parse_zadd(c, &z.flags);
    if (z.first == 0) return;
    for (int i = z.first; i < c->argc; i += 2) {
        if (num_parse_double(c->argv[i], &ignored)) continue;
        reply_error(&c->reply, ERR_NOT_FLOAT);
        return;
    }
    if (!zset_open(c, c->argv[1], &edit)) return;
    int done;
    bool ok = zadd_pairs(c, &z, &edit, &done);
    if (z.added + z.updated > 0) {
        c->dirty += (uint64_t)(z.added + z.updated);
        effect_args(c, done, c->argv);
        call_changed(c, c->argv[1], EVENT_ZSET, z.flags & ZADD_INCR ? "zincr" : "zadd");
    }
    if (!ok) return;
    if (!(z.flags & ZADD_INCR))
        reply_int(&c->reply, z.flags & ZADD_CH ? z.added + z.updated : z.added);
    else if (z.last == ZADD_SKIPPED) reply_null(&c->reply);
    else reply_double(&c->reply, z.score);
}

void cmd_zadd(struct call *c) { zadd(c, 0); }

void cmd_zincrby(struct call *c) { zadd(c, ZADD_INCR); }

void cmd_zrem(struct call *c)
{
    struct zset_edit edit;
    int64_t removed = 0;
    bool emptied = false;
    if (!zset_open(c, c->argv[1], &edit)) return;
    for (int i = 2; i < c->argc && edit.e && !emptied; i++) {
        if (!zset_find(&edit, c->argv[i])) continue;
        zset_drop(&edit);
        removed++;
        emptied = zset_count(edit.e) == 0;
    }
    if (removed > 0) {
        c->dirty += (uint64_t)removed;
        effect_verbatim(c);
        call_changed(c, c->argv[1], EVENT_ZSET, "zrem");
        if (emptied) call_emptied(c, c->argv[1]);
    }
    reply_int(&c->reply, removed);
}

/* ---- reading ---- */

void cmd_zcard(struct call *c)
{
    struct entry *e;
    if (zset_read(c, c->argv[1], &e)) reply_int(&c->reply, e ? (int64_t)zset_count(e) : 0);
}

void cmd_zscore(struct call *c)
{
    struct entry *e;
    double score;
    if (!zset_read(c, c->argv[1], &e)) return;
    if (e && zset_score(e, c->argv[2], &score)) reply_double(&c->reply, score);
    else reply_null(&c->reply);
}

void cmd_zmscore(struct call *c)
{
    struct entry *e;
    double score;
    if (!zset_read(c, c->argv[1], &e)) return;
    reply_array(&c->reply, (size_t)c->argc - 2);
    for (int i = 2; i < c->argc; i++) {
        if (e && zset_score(e, c->argv[i], &score)) reply_double(&c->reply, score);
        else reply_null(&c->reply);
    }
}

static void rank(struct call *c, bool reverse)
{
    struct entry *e;
    uint64_t at;
    double score;
    bool with_score = c->argc > 3;
    if (c->argc > 4) {
        reply_errorf(&c->reply, ERR_WRONG_ARITY, c->cmd->name);
        return;
    }
    if (with_score && !call_is(c, 3, "withscore")) {
        reply_error(&c->reply, ERR_SYNTAX);
        return;
    }
    if (!zset_read(c, c->argv[1], &e)) return;
    if (!e || !zset_rank(e, c->argv[2], &at, &score)) {
        if (with_score) reply_null_array(&c->reply);
        else reply_null(&c->reply);
        return;
    }
    if (reverse) at = zset_count(e) - 1 - at;
    if (with_score) reply_array(&c->reply, 2);
    reply_int(&c->reply, (int64_t)at);
    if (with_score) reply_double(&c->reply, score);
}

void cmd_zrank(struct call *c) { rank(c, false); }

void cmd_zrevrank(struct call *c) { rank(c, true); }

/* ---- ZSCAN ---- */

static void scan_visit(void *ctx, void *entry, unsigned bits)
{
    (void)bits;
    struct member_scan *scan = ctx;
    const struct ordered_member *m = entry;
    struct slice text = ordered_text(m);
    if (!member_scan_wants(scan, text)) return;
    member_scan_add(scan, text);
    if (scan->names_only) return;
    /* Here, and only here, Redis still prints seventeen digits. */
    char score[NUM_DOUBLE_LEN_MAX];
    int len = snprintf(score, sizeof(score), "%.17g", m->score);
    member_scan_add(scan, slice_of(score, (size_t)len));
}

static void scan_packed(struct member_scan *scan)
{
    const char *bytes = entry_packed(scan->entry).ptr;
    char text[LP_NUMBER_LEN];
    for (size_t at = lp_first(bytes); at != LP_NONE; at = lp_next(bytes, at)) {
        struct slice member = lp_text(bytes, at, text);
        bool wanted = member_scan_wants(scan, member);
        if (wanted) member_scan_add(scan, member);
        at = lp_next(bytes, at);
        if (wanted && !scan->names_only) member_scan_add(scan, lp_text(bytes, at, text));
    }
    scan->cursor = 0;
}

void cmd_zscan(struct call *c)
{
    struct member_scan scan;
    if (!member_scan_begin(&scan, c, TYPE_ZSET)) return;
    struct object *object = entry_object(scan.entry);
    if (!object) {
        scan_packed(&scan);
    } else {
        const struct zset *z = CONTAINER_OF(object, const struct zset, object);
        scan.cursor = dict_scan(&z->index, scan.cursor, scan.count, scan_visit, &scan);
    }
    member_scan_end(&scan);
}
