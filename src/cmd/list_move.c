/* Lists: commands with several keys, and those that wait.
 *
 * One of several keys (LMPOP, BLPOP …): the first key that holds anything decides, and if that is
 * no list, the command fails. What was popped goes out as LPOP or RPOP of that key.
 *
 * Moving: the element is pushed first and then taken from the source, so that nothing is lost where
 * memory runs out; within one key it is a rotation. Events come in Redis' order, the push before
 * the pop.
 * Thread: holder of the call's shards. */
#include <errno.h>

#include "list_impl.h"
#include "splitring/base/check.h"
#include "splitring/base/num.h"

bool list_end_arg(struct call *c, int i, enum list_end *end)
{
    *end = call_is(c, i, "left") ? LIST_HEAD : LIST_TAIL;
    if (*end == LIST_HEAD || call_is(c, i, "right")) return true;
    reply_error(&c->reply, ERR_SYNTAX);
    return false;
}

/* ---- the first of several keys ---- */

/* The first list, in argument order. False: an error is written. */
static bool first_list(struct call *c, int first, int64_t numkeys, struct slice *key,
                       struct entry **e)
{
    *e = NULL;
    for (int64_t i = 0; i < numkeys && !*e; i++) {
        *key = c->argv[first + (int)i];
        *e = ks_edit(&c->ks, *key);
    }
    return list_type_ok(c, *e);
}

/* Key and elements, as [LR]MPOP replies them. */
static void pop_many(struct call *c, struct slice key, struct entry *e, enum list_end end,
                     uint64_t count)
{
    char digits[NUM_I64_LEN_MAX + 1];
    size_t mark = c->reply.out->len;
    uint64_t len = list_count(e);
    if (count > len) count = len;
    reply_array(&c->reply, 2);
    reply_bulk_slice(&c->reply, key);
    list_reply_range(c, e, end == LIST_HEAD ? 0 : len - 1, count,
                     end == LIST_HEAD ? LIST_TAIL : LIST_HEAD);
    if (!list_take(c, key, e, end, count, mark)) return;
    EFFECT(c, end == LIST_HEAD ? SLICE("LPOP") : SLICE("RPOP"), key,
           effect_int(digits, (int64_t)count));
}

struct mpop {
    int64_t numkeys;
    int64_t count;
    enum list_end end;
};

/* From numkeys on. False: an error is written. */
static bool mpop_args(struct call *c, int at, struct mpop *m)
{
    *m = (struct mpop){.count = -1};
    if (!call_int_range(c, at, 1, INT64_MAX, &m->numkeys, ERR_NUMKEYS_POSITIVE)) return false;
    if (m->numkeys >= c->argc - at - 1) {
        reply_error(&c->reply, ERR_SYNTAX);
        return false;
    }
    int where = at + 1 + (int)m->numkeys;
    if (!list_end_arg(c, where, &m->end)) return false;
    for (int i = where + 1; i < c->argc; i += 2) {
        if (m->count != -1 || i + 1 == c->argc || !call_is(c, i, "count")) {
            reply_error(&c->reply, ERR_SYNTAX);
            return false;
        }
        if (!call_int_range(c, i + 1, 1, INT64_MAX, &m->count, ERR_COUNT_POSITIVE)) return false;
    }
    if (m->count == -1) m->count = 1;
    return true;
}

void cmd_lmpop(struct call *c)
{
    struct mpop m;
    struct slice key;
    struct entry *e;
    if (!mpop_args(c, 1, &m) || !first_list(c, 2, m.numkeys, &key, &e)) return;
    if (e) pop_many(c, key, e, m.end, (uint64_t)m.count);
    else reply_null_array(&c->reply);
}

void cmd_blmpop(struct call *c)
{
    struct mpop m;
    struct slice key;
    struct entry *e;
    int64_t timeout_ms;
    if (!mpop_args(c, 2, &m) || !call_timeout(c, 1, &timeout_ms)) return;
    if (!first_list(c, 3, m.numkeys, &key, &e)) return;
    if (e) pop_many(c, key, e, m.end, (uint64_t)m.count);
    else if (!call_block(c, timeout_ms)) reply_null_array(&c->reply);
}

static void blocking_pop(struct call *c, enum list_end end)
{
    struct slice key;
    struct entry *e;
    int64_t timeout_ms;
    if (!call_timeout(c, c->argc - 1, &timeout_ms)) return;
    if (!first_list(c, 1, c->argc - 2, &key, &e)) return;
    if (!e) {
        if (!call_block(c, timeout_ms)) reply_null_array(&c->reply);
        return;
    }
    size_t mark = c->reply.out->len;
    struct lp_value value = list_peek(e, end);
    reply_array(&c->reply, 2);
    reply_bulk_slice(&c->reply, key);
    list_reply_value(c, &value);
    if (list_take(c, key, e, end, 1, mark))
        EFFECT(c, end == LIST_HEAD ? SLICE("LPOP") : SLICE("RPOP"), key);
}

void cmd_blpop(struct call *c) { blocking_pop(c, LIST_HEAD); }

void cmd_brpop(struct call *c) { blocking_pop(c, LIST_TAIL); }

/* ---- moving ---- */

struct move {
    enum list_end from, to;
    bool blocks;
    int64_t timeout_ms;
};

/* Of the four commands. False: an error is written. */
static bool move_args(struct call *c, struct move *m)
{
    *m = (struct move){.from = LIST_TAIL, .to = LIST_HEAD};
    m->blocks = (c->cmd->flags & CMD_BLOCKING) != 0;
    bool ends = c->argc >= 5;
    if (ends && (!list_end_arg(c, 3, &m->from) || !list_end_arg(c, 4, &m->to))) return false;
    return !m->blocks || call_timeout(c, c->argc - 1, &m->timeout_ms);
}

/* The blocking forms go out as what they came to. */
static void move_effect(struct call *c, const struct move *m)
{
    if (!m->blocks) effect_verbatim(c);
    else if (c->argc == 4) EFFECT(c, SLICE("RPOPLPUSH"), c->argv[1], c->argv[2]);
    else EFFECT(c, SLICE("LMOVE"), c->argv[1], c->argv[2], c->argv[3], c->argv[4]);
}

static void move_nothing(struct call *c, const struct move *m)
{
    if (!m->blocks || !call_block(c, m->timeout_ms)) reply_null(&c->reply);
}

/* Puts the source's element into the target and takes it from the source. */
static int move_between(struct call *c, const struct move *m, struct entry *source)
{
    struct buf copy = {0};
    char scratch[LP_NUMBER_LEN];
    struct list_key l = list_open(c, c->argv[1], source);
    if (list_prepare_pop(&l, m->from)) return -ENOMEM;
    struct lp_value value = list_peek(source, m->from);
    struct slice text = value.text;
    if (!text.ptr) {
        text = slice_of(scratch, num_format_i64(scratch, value.number));
    } else {
        buf_append_slice(&copy, text);
        text = buf_slice(&copy);
    }
    struct list_key to = list_open(c, c->argv[2], ks_edit(&c->ks, c->argv[2]));
    int rc = copy.failed ? -ENOMEM : list_push(&to, &text, 1, m->to);
    buf_deinit(&copy);
    if (rc) return rc;
    call_changed(c, c->argv[2], EVENT_LIST, m->to == LIST_HEAD ? "lpush" : "rpush");
    bool taken = list_take(c, c->argv[1], ks_edit(&c->ks, c->argv[1]), m->from, 1, 0);
    check(taken); /* list_prepare_pop() has seen to that */
    return 0;
}

static int move_within(struct call *c, const struct move *m, struct entry *e)
{
    struct slice key = c->argv[1];
    struct list_key l = list_open(c, key, e);
    int rc = list_rotate(&l, m->from, m->to);
    if (rc) return rc;
    call_changed(c, key, EVENT_LIST, m->to == LIST_HEAD ? "lpush" : "rpush");
    ks_notify(&c->ks, EVENT_LIST, m->from == LIST_HEAD ? "lpop" : "rpop", key);
    list_shrink(&l);
    c->dirty++;
    return 0;
}

static void move(struct call *c)
{
    struct move m;
    if (!move_args(c, &m)) return;
    struct entry *e = ks_edit(&c->ks, c->argv[1]);
    if (!list_type_ok(c, e)) return;
    if (!e) {
        move_nothing(c, &m);
        return;
    }
    if (!list_type_ok(c, ks_find(&c->ks, c->argv[2]))) return;
    e = ks_edit(&c->ks, c->argv[1]); /* the target may have been found expired, and deleted */
    size_t mark = c->reply.out->len;
    struct lp_value value = list_peek(e, m.from);
    list_reply_value(c, &value);
    bool same = slice_equal(c->argv[1], c->argv[2]);
    if (same ? move_within(c, &m, e) : move_between(c, &m, e)) {
        c->reply.out->len = mark;
        reply_error(&c->reply, ERR_NO_MEMORY);
        return;
    }
    move_effect(c, &m);
}

void cmd_lmove(struct call *c) { move(c); }

void cmd_blmove(struct call *c) { move(c); }

void cmd_rpoplpush(struct call *c) { move(c); }

void cmd_brpoplpush(struct call *c) { move(c); }
