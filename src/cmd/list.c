/* Lists: pushing, popping, and changing what lies inside. (Commands that only read are in
 * list_read.c, those with several keys or that wait in list_move.c.)
 *
 * Arguments and keys are judged in Redis' order. A reply with popped elements is written before
 * they go, because values are read where they lie; where the removal then finds no memory (only
 * while a snapshot looks on) the reply is taken back.
 *
 * Effects go out verbatim: what these commands do depends on nothing but the list. LREM that could
 * not finish for want of memory states the number that it did remove.
 * Thread: holder of the call's shards. */
#include "list_impl.h"
#include "splitring/base/num.h"

static void no_memory(struct call *c) { reply_error(&c->reply, ERR_NO_MEMORY); }

/* ---- pushing ---- */

static void push(struct call *c, enum list_end end, bool only_existing)
{
    struct slice key = c->argv[1];
    struct entry *e = ks_edit(&c->ks, key);
    if (!list_type_ok(c, e)) return;
    if (!e && only_existing) {
        reply_int(&c->reply, 0);
        return;
    }
    struct list_key l = list_open(c, key, e);
    size_t count = (size_t)c->argc - 2;
    if (list_push(&l, c->argv + 2, count, end)) {
        no_memory(c);
        return;
    }
    c->dirty += count;
    reply_int(&c->reply, (int64_t)list_count(l.entry));
    effect_verbatim(c);
    call_changed(c, key, EVENT_LIST, end == LIST_HEAD ? "lpush" : "rpush");
}

void cmd_lpush(struct call *c) { push(c, LIST_HEAD, false); }

void cmd_rpush(struct call *c) { push(c, LIST_TAIL, false); }

void cmd_lpushx(struct call *c) { push(c, LIST_HEAD, true); }

void cmd_rpushx(struct call *c) { push(c, LIST_TAIL, true); }

/* ---- popping ---- */

bool list_take(struct call *c, struct slice key, struct entry *e, enum list_end end,
               uint64_t count, size_t mark)
{
    struct list_key l = list_open(c, key, e);
    uint64_t len = list_count(e);
    const char *event = end == LIST_HEAD ? "lpop" : "rpop";
    if (count < len) {
        if (list_delete(&l, end == LIST_HEAD ? 0 : len - count, count)) {
            c->reply.out->len = mark;
            no_memory(c);
            return false;
        }
        list_shrink(&l);
        call_changed(c, key, EVENT_LIST, event);
    } else {
        ks_notify(&c->ks, EVENT_LIST, event, key);
        call_emptied(c, key);
    }
    c->dirty += count;
    return true;
}

static void pop(struct call *c, enum list_end end)
{
    struct slice key = c->argv[1];
    int64_t count = 1;
    bool counted = c->argc == 3;
    if (c->argc > 3) {
        reply_errorf(&c->reply, ERR_WRONG_ARITY, c->cmd->name);
        return;
    }
    if (counted && !call_int_range(c, 2, 0, INT64_MAX, &count, ERR_OUT_OF_RANGE_POSITIVE)) return;
    struct entry *e = ks_edit(&c->ks, key);
    if (!e) {
        if (counted) reply_null_array(&c->reply);
        else reply_null(&c->reply);
        return;
    }
    if (!list_type_ok(c, e)) return;
    size_t mark = c->reply.out->len;
    uint64_t n = (uint64_t)count, len = list_count(e);
    if (n > len) n = len;
    if (counted) {
        list_reply_range(c, e, end == LIST_HEAD ? 0 : len - 1, n,
                         end == LIST_HEAD ? LIST_TAIL : LIST_HEAD);
        if (n == 0) return;
    } else {
        struct lp_value value = list_peek(e, end);
        list_reply_value(c, &value);
    }
    if (list_take(c, key, e, end, n, mark)) effect_verbatim(c);
}

void cmd_lpop(struct call *c) { pop(c, LIST_HEAD); }

void cmd_rpop(struct call *c) { pop(c, LIST_TAIL); }

/* ---- inside ---- */

void cmd_linsert(struct call *c)
{
    struct slice key = c->argv[1];
    bool after = call_is(c, 2, "after");
    if (!after && !call_is(c, 2, "before")) {
        reply_error(&c->reply, ERR_SYNTAX);
        return;
    }
    struct entry *e = ks_edit(&c->ks, key);
    if (!list_type_ok(c, e)) return;
    if (!e) {
        reply_int(&c->reply, 0);
        return;
    }
    struct list_key l = list_open(c, key, e);
    int rc = list_insert(&l, c->argv[3], after, c->argv[4]);
    if (rc == LIST_E_MISSING) {
        reply_int(&c->reply, -1);
    } else if (rc) {
        no_memory(c);
    } else {
        c->dirty++;
        reply_int(&c->reply, (int64_t)list_count(l.entry));
        effect_verbatim(c);
        call_changed(c, key, EVENT_LIST, "linsert");
    }
}

void cmd_lset(struct call *c)
{
    struct slice key = c->argv[1], value = c->argv[3];
    int64_t index;
    struct entry *e = ks_edit(&c->ks, key);
    if (!e) {
        reply_error(&c->reply, ERR_NO_SUCH_KEY);
        return;
    }
    if (!list_type_ok(c, e) || !call_int(c, 2, &index)) return;
    struct list_key l = list_open(c, key, e);
    /* Before the index is judged, as in Redis: OBJECT ENCODING shows it. */
    int rc = list_grow(&l, value.len, 1);
    int64_t len = (int64_t)list_count(l.entry);
    if (index < 0) index += len;
    if (!rc && (index < 0 || index >= len)) {
        reply_error(&c->reply, ERR_INDEX_RANGE);
        return;
    }
    if (!rc) rc = list_set(&l, (uint64_t)index, value);
    if (rc) {
        no_memory(c);
        return;
    }
    list_shrink(&l);
    c->dirty++;
    reply_ok(&c->reply);
    effect_verbatim(c);
    call_changed(c, key, EVENT_LIST, "lset");
}

void cmd_ltrim(struct call *c)
{
    struct slice key = c->argv[1];
    int64_t start, end;
    if (!call_int(c, 2, &start) || !call_int(c, 3, &end)) return;
    struct entry *e = ks_edit(&c->ks, key);
    if (!list_type_ok(c, e)) return;
    if (!e) {
        reply_ok(&c->reply);
        return;
    }
    int64_t len = (int64_t)list_count(e);
    if (start < 0) start = start + len < 0 ? 0 : start + len;
    if (end < 0) end += len;
    if (end >= len) end = len - 1;
    int64_t left = start > end ? 0 : end - start + 1;
    struct list_key l = list_open(c, key, e);
    if (left > 0 && left < len && list_trim(&l, (uint64_t)start, (uint64_t)left)) {
        no_memory(c);
        return;
    }
    if (left > 0) {
        list_shrink(&l);
        call_changed(c, key, EVENT_LIST, "ltrim");
    } else {
        ks_notify(&c->ks, EVENT_LIST, "ltrim", key);
        call_emptied(c, key);
    }
    c->dirty += (uint64_t)(len - left);
    if (left < len) effect_verbatim(c);
    reply_ok(&c->reply);
}

void cmd_lrem(struct call *c)
{
    struct slice key = c->argv[1];
    int64_t count;
    if (!call_int(c, 2, &count)) return;
    if (count == INT64_MIN) {
        reply_errorf(&c->reply, ERR_OUT_OF_RANGE_BETWEEN, (long long)-INT64_MAX,
                     (long long)INT64_MAX);
        return;
    }
    struct entry *e = ks_edit(&c->ks, key);
    if (!list_type_ok(c, e)) return;
    if (!e) {
        reply_int(&c->reply, 0);
        return;
    }
    struct list_key l = list_open(c, key, e);
    bool stopped, back = count < 0;
    uint64_t removed = list_remove_value(&l, c->argv[3], (uint64_t)(back ? -count : count),
                                   back ? LIST_TAIL : LIST_HEAD, &stopped);
    if (removed == 0) {
        if (stopped) no_memory(c);
        else reply_int(&c->reply, 0);
        return;
    }
    c->dirty += removed;
    if (stopped) {
        char digits[NUM_I64_LEN_MAX + 1];
        int64_t done = back ? -(int64_t)removed : (int64_t)removed;
        EFFECT(c, SLICE("LREM"), key, effect_int(digits, done), c->argv[3]);
    } else {
        effect_verbatim(c);
    }
    if (list_count(l.entry) > 0) {
        list_shrink(&l);
        call_changed(c, key, EVENT_LIST, "lrem");
    } else {
        ks_notify(&c->ks, EVENT_LIST, "lrem", key);
        call_emptied(c, key);
    }
    reply_int(&c->reply, (int64_t)removed);
}
