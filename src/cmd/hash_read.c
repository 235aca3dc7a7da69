/* Reading hashes: one field, several, all, some at random, a page of them.
 *
 * HGETALL, HKEYS and HVALS answer whole, as Redis does: a hash of a million fields is a long read,
 * some 100 ns per field, for which others of its worker wait. Walk such a hash with HSCAN.
 *
 * A reader that names an expired field removes it on the way (hash_find), so what it needs of the
 * entry is asked again for every field.
 *
 * HRANDFIELD with a negative count repeats itself as often as asked (repeats.h). REPLY_MAX bounds
 * its bytes; whoever wants more loses the connection, like anybody whose reply cannot be held.
 * Thread: holder of the call's shards. */
#include "cmd/hash_impl.h"
#include "cmd/repeats.h"
#include "cmd/scan_members.h"

#define REPLY_MAX ((size_t)256 * 1024 * 1024) /* of HRANDFIELD */

/* ---- single fields ---- */

static void reply_field(struct call *c, struct hash *h, struct slice field)
{
    struct hash_item item;
    if (hash_find(h, field, &item)) reply_bulk_slice(&c->reply, item.value);
    else reply_null(&c->reply);
}

void cmd_hget(struct call *c)
{
    struct hash h;
    if (hash_for_reading(c, &h)) reply_field(c, &h, c->argv[2]);
}

void cmd_hmget(struct call *c)
{
    struct hash h;
    if (!hash_for_reading(c, &h)) return;
    reply_array(&c->reply, (size_t)(c->argc - 2));
    for (int i = 2; i < c->argc; i++) reply_field(c, &h, c->argv[i]);
}

void cmd_hexists(struct call *c)
{
    struct hash h;
    struct hash_item item;
    if (hash_for_reading(c, &h)) reply_int(&c->reply, hash_find(&h, c->argv[2], &item));
}

void cmd_hstrlen(struct call *c)
{
    struct hash h;
    struct hash_item item;
    if (!hash_for_reading(c, &h)) return;
    reply_int(&c->reply, hash_find(&h, c->argv[2], &item) ? (int64_t)item.value.len : 0);
}

void cmd_hlen(struct call *c)
{
    struct hash h;
    if (hash_for_reading(c, &h)) reply_int(&c->reply, h.entry ? (int64_t)hash_count(h.entry) : 0);
}

/* ---- all fields ---- */

static void visit_field(void *ctx, const struct hash_item *item)
{
    reply_bulk_slice(ctx, item->field);
}

static void visit_value(void *ctx, const struct hash_item *item)
{
    reply_bulk_slice(ctx, item->value);
}

static void visit_both(void *ctx, const struct hash_item *item)
{
    reply_bulk_slice(ctx, item->field);
    reply_bulk_slice(ctx, item->value);
}

void cmd_hgetall(struct call *c)
{
    struct hash h;
    if (!hash_for_reading(c, &h)) return;
    reply_map(&c->reply, hash_count_live(&h));
    hash_each_live(&h, visit_both, &c->reply);
}

static void reply_list(struct call *c, hash_visit *visit)
{
    struct hash h;
    if (!hash_for_reading(c, &h)) return;
    reply_array(&c->reply, hash_count_live(&h));
    hash_each_live(&h, visit, &c->reply);
}

void cmd_hkeys(struct call *c) { reply_list(c, visit_field); }

void cmd_hvals(struct call *c) { reply_list(c, visit_value); }

/* ---- HSCAN ---- */

static void scan_visit(void *ctx, const struct hash_item *item)
{
    struct member_scan *scan = ctx;
    if (!member_scan_wants(scan, item->field)) return;
    member_scan_add(scan, item->field);
    if (!scan->names_only) member_scan_add(scan, item->value);
}

void cmd_hscan(struct call *c)
{
    struct member_scan scan;
    struct hash h;
    if (!member_scan_begin(&scan, c, TYPE_HASH)) return;
    if (!hash_for(c, scan.entry, &h)) return;
    if (entry_form(h.entry) == FORM_OBJECT) {
        scan.cursor = hash_scan(&h, scan.cursor, scan.count, scan_visit, &scan);
    } else {
        scan.cursor = 0;
        hash_each_live(&h, scan_visit, &scan);
    }
    member_scan_end(&scan);
}

/* ---- HRANDFIELD ---- */

struct draw {
    struct reply *reply;
    bool values, nested, drawn;
};

static bool draw_field(void *ctx, const struct hash_item *item)
{
    struct draw *draw = ctx;
    struct reply *r = draw->reply;
    draw->drawn = true;
    if (draw->nested) reply_array(r, 2);
    reply_bulk_slice(r, item->field);
    if (draw->values) reply_bulk_slice(r, item->value);
    if (r->out->len > REPLY_MAX) r->out->failed = true;
    return !r->out->failed;
}

/* What has expired goes first, up to a bound; what then remains is passed over when drawing. */
static void expire_some(struct hash *h)
{
    for (int i = 0; i < 8 && h->entry && hash_expire_due(h, SIZE_MAX) > 0; i++) {}
}

static void random_one(struct call *c)
{
    struct hash h;
    struct draw draw = {.reply = &c->reply};
    if (!hash_for_reading(c, &h)) return;
    expire_some(&h);
    if (h.entry && !hash_random_repeat(&h, 1, c->rng, draw_field, &draw)) {
        reply_error(&c->reply, ERR_NO_MEMORY);
        return;
    }
    if (!draw.drawn) reply_null(&c->reply);
}

static void random_many(struct call *c, int64_t wanted, bool values)
{
    struct hash h;
    struct draw draw = {
        .reply = &c->reply, .values = values, .nested = values && c->reply.proto > 2};
    if (!hash_for_reading(c, &h)) return;
    if (h.entry && wanted < 0 && (uint64_t)-wanted > RANDOM_REPEATS_MAX) {
        reply_error(&c->reply, ERR_OUT_OF_RANGE);
        return;
    }
    expire_some(&h);
    uint64_t live = hash_count_live(&h);
    bool repeat = wanted < 0;
    uint64_t count = repeat ? (uint64_t)-wanted : (uint64_t)wanted;
    if (live == 0) count = 0;
    if (!repeat && count > live) count = live;
    size_t mark = c->reply.out->len;
    reply_array(&c->reply, (size_t)(values && !draw.nested ? count * 2 : count));
    if (count == 0) return;
    bool done = repeat ? hash_random_repeat(&h, count, c->rng, draw_field, &draw)
                       : hash_random_distinct(&h, count, c->rng, draw_field, &draw);
    if (done) return;
    c->reply.out->len = mark;
    reply_error(&c->reply, ERR_NO_MEMORY);
}

void cmd_hrandfield(struct call *c)
{
    int64_t count;
    if (c->argc == 2) {
        random_one(c);
        return;
    }
    if (!call_int(c, 2, &count)) return;
    if (count == INT64_MIN) {
        reply_errorf(&c->reply, ERR_OUT_OF_RANGE_BETWEEN, (long long)-INT64_MAX,
                     (long long)INT64_MAX);
        return;
    }
    bool values = c->argc == 4 && call_is(c, 3, "withvalues");
    if (c->argc > 4 || (c->argc == 4 && !values)) {
        reply_error(&c->reply, ERR_SYNTAX);
        return;
    }
    if (values && (count < -INT64_MAX / 2 || count > INT64_MAX / 2)) {
        reply_error(&c->reply, ERR_OUT_OF_RANGE);
        return;
    }
    random_many(c, count, values);
}
