/* SSCAN, HSCAN and ZSCAN, as far as they are the same command.
 *
 * The cursor is a position in hash order of the collection's own table (data/dict.h), so it
 * survives growth, shrinking and the change between packed and large: a packed collection is
 * answered whole with cursor 0, whatever cursor was given, and whoever began the walk on the other
 * form has then seen every member that was there all the time.
 *
 * The elements are collected aside, because the cursor stands before them and is known after them.
 *
 * The order of checks is Redis': cursor, absent key, type, options. An absent key answers before
 * anybody looks at the options.
 * Source: https://redis.io/docs/latest/commands/scan/
 * Thread: holder of the call's shards. */
#include "cmd/scan_members.h"

#include "splitring/base/num.h"

bool scan_parse_cursor(struct slice text, uint64_t *cursor)
{
    while (text.len > 1 && text.ptr[0] == '0') text = slice_of(text.ptr + 1, text.len - 1);
    return num_parse_u64(text, cursor);
}

static void reply_empty(struct reply *r)
{
    reply_array(r, 2);
    reply_bulk_str(r, "0");
    reply_array(r, 0);
}

/* False: the error is written. */
static bool parse_options(struct member_scan *scan, struct call *c, enum value_type type)
{
    int64_t count = 10;
    for (int i = 3; i < c->argc; i++) {
        bool more = i + 1 < c->argc;
        enum error_id error = ERR_SYNTAX;
        if (more && call_is(c, i, "count")) {
            if (!call_int(c, ++i, &count)) return false;
            if (count >= 1) continue;
        } else if (more && call_is(c, i, "match")) {
            scan->pattern = c->argv[++i];
            if (slice_equal(scan->pattern, SLICE("*"))) scan->pattern = slice_of(NULL, 0);
            continue;
        } else if (call_is(c, i, "novalues")) {
            scan->names_only = true;
            if (type == TYPE_HASH) continue;
            error = ERR_SCAN_NOVALUES;
        } else if (call_is(c, i, "noscores")) {
            scan->names_only = true;
            if (type == TYPE_ZSET) continue;
            error = ERR_SCAN_NOSCORES;
        }
        reply_error(&c->reply, error);
        return false;
    }
    scan->count = (size_t)count;
    return true;
}

bool member_scan_begin(struct member_scan *scan, struct call *c, enum value_type type)
{
    *scan = (struct member_scan){.call = c};
    if (!scan_parse_cursor(c->argv[2], &scan->cursor)) {
        reply_error(&c->reply, ERR_INVALID_CURSOR);
        return false;
    }
    scan->entry = ks_read(&c->ks, c->argv[1]);
    if (!scan->entry) {
        reply_empty(&c->reply);
        return false;
    }
    if (entry_type(scan->entry) != type) {
        reply_error(&c->reply, ERR_WRONGTYPE);
        return false;
    }
    if (!parse_options(scan, c, type)) return false;
    scan->page = (struct reply){.out = &scan->bytes, .proto = c->reply.proto};
    return true;
}

void member_scan_add(struct member_scan *scan, struct slice element)
{
    reply_bulk_slice(&scan->page, element);
    scan->found++;
}

void member_scan_end(struct member_scan *scan)
{
    struct reply *r = &scan->call->reply;
    char text[NUM_I64_LEN_MAX];
    reply_array(r, 2);
    reply_bulk(r, text, num_format_u64(text, scan->cursor));
    reply_array(r, scan->found);
    reply_raw(r, scan->bytes.ptr, scan->bytes.len);
    if (scan->bytes.failed) r->out->failed = true;
    buf_deinit(&scan->bytes);
}
