/* Lists: commands that only read. Positions are counted from 0; large lists find one in O(log n),
 * so that LRANGE and LINDEX in the middle cost no more than at an end.
 * Thread: holder of the call's shards. */
#include "list_impl.h"

void list_reply_range(struct call *c, const struct entry *e, uint64_t first, uint64_t count,
                      enum list_end towards)
{
    struct list_iter it;
    struct lp_value value;
    reply_array(&c->reply, count);
    if (count == 0) return;
    list_iter_at(&it, e, first, towards);
    for (uint64_t i = 0; i < count && list_next(&it, &value); i++) list_reply_value(c, &value);
}

void cmd_llen(struct call *c)
{
    const struct entry *e = ks_read(&c->ks, c->argv[1]);
    if (list_type_ok(c, e)) reply_int(&c->reply, e ? (int64_t)list_count(e) : 0);
}

void cmd_lindex(struct call *c)
{
    const struct entry *e = ks_read(&c->ks, c->argv[1]);
    int64_t index;
    if (!e) {
        reply_null(&c->reply);
        return;
    }
    if (!list_type_ok(c, e) || !call_int(c, 2, &index)) return;
    int64_t len = (int64_t)list_count(e);
    if (index < 0) index += len;
    if (index < 0 || index >= len) {
        reply_null(&c->reply);
        return;
    }
    struct list_iter it;
    struct lp_value value;
    list_iter_at(&it, e, (uint64_t)index, LIST_TAIL);
    if (list_next(&it, &value)) list_reply_value(c, &value);
}

void cmd_lrange(struct call *c)
{
    int64_t start, end;
    if (!call_int(c, 2, &start) || !call_int(c, 3, &end)) return;
    const struct entry *e = ks_read(&c->ks, c->argv[1]);
    if (!list_type_ok(c, e)) return;
    int64_t len = e ? (int64_t)list_count(e) : 0;
    if (start < 0) start = start + len < 0 ? 0 : start + len;
    if (end < 0) end += len;
    if (end >= len) end = len - 1;
    if (start > end) reply_array(&c->reply, 0);
    else list_reply_range(c, e, (uint64_t)start, (uint64_t)(end - start + 1), LIST_TAIL);
}

/* ---- LPOS ---- */

struct pos {
    struct call *c;
    uint64_t rank;      /* the first match that counts, from 1 */
    uint64_t count_max; /* with COUNT: 0 = all */
    bool counted;
    uint64_t matches, told;
};

static bool found(void *ctx, uint64_t index)
{
    struct pos *p = ctx;
    if (++p->matches < p->rank) return true;
    reply_int(&p->c->reply, (int64_t)index);
    p->told++;
    return p->counted && p->told != p->count_max;
}

struct pos_args {
    int64_t rank, count, maxlen;
};

static bool pos_options(struct call *c, struct pos_args *args)
{
    for (int i = 3; i < c->argc; i += 2) {
        bool more = i + 1 < c->argc;
        if (more && call_is(c, i, "rank")) {
            if (!call_int(c, i + 1, &args->rank)) return false;
            if (args->rank == INT64_MIN) {
                reply_errorf(&c->reply, ERR_OUT_OF_RANGE_BETWEEN, (long long)-INT64_MAX,
                             (long long)INT64_MAX);
                return false;
            }
            if (args->rank == 0) {
                reply_error(&c->reply, ERR_LPOS_RANK);
                return false;
            }
        } else if (more && call_is(c, i, "count")) {
            if (!call_int_range(c, i + 1, 0, INT64_MAX, &args->count, ERR_COUNT_NEGATIVE))
                return false;
        } else if (more && call_is(c, i, "maxlen")) {
            if (!call_int_range(c, i + 1, 0, INT64_MAX, &args->maxlen, ERR_LPOS_MAXLEN))
                return false;
        } else {
            reply_error(&c->reply, ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

void cmd_lpos(struct call *c)
{
    struct pos_args args = {.rank = 1, .count = -1};
    if (!pos_options(c, &args)) return;
    const struct entry *e = ks_read(&c->ks, c->argv[1]);
    if (!list_type_ok(c, e)) return;
    enum list_end from = args.rank < 0 ? LIST_TAIL : LIST_HEAD;
    struct pos p = {.c = c,
                    .rank = (uint64_t)(args.rank < 0 ? -args.rank : args.rank),
                    .counted = args.count >= 0,
                    .count_max = args.count > 0 ? (uint64_t)args.count : 0};
    size_t mark = p.counted ? reply_deferred_begin(&c->reply) : 0;
    uint64_t look_max = args.maxlen ? (uint64_t)args.maxlen : UINT64_MAX;
    if (e) list_search(e, c->argv[2], from, look_max, found, &p);
    if (p.counted) reply_deferred_array(&c->reply, mark, p.told);
    else if (!p.told) reply_null(&c->reply);
}
