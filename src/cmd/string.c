/* Strings: reading, and changing what is there. (SET and its relatives are in string_set.c, what
 * compares a value before it deletes is in string_match.c.)
 *
 * Every handler has the same shape, in Redis' order, because which of several errors wins is
 * visible: arguments, key and type, limits, the write, the effect, the reply. Values are read as
 * slices that live until the next write to the keyspace, so replies with an old value are written
 * before the write that ends it.
 *
 * Effects are deterministic: what depends on the clock or on the machine's floating point goes out
 * as its result (PEXPIREAT, SET … KEEPTTL), what removes a key as DEL, all else verbatim.
 *
 * A write may find no memory. The reply is then an error, and nothing has changed: handlers change
 * one key, by one call.
 * Thread: holder of the call's shards. */
#include <math.h>

#include "cmd/string_impl.h"
#include "splitring/base/num.h"

bool string_len_ok(struct call *c, uint64_t size, uint64_t more)
{
    uint64_t total;
    if (!__builtin_add_overflow(size, more, &total) &&
        total <= (uint64_t)c->env->proto_max_bulk_len) {
        return true;
    }
    reply_error(&c->reply, ERR_STRING_TOO_LONG);
    return false;
}

/* ---- reading ---- */

/* GET's reply for an entry or its absence. False: WRONGTYPE instead. */
static bool reply_value(struct call *c, const struct entry *e)
{
    char scratch[ENTRY_SCRATCH];
    if (!e) {
        reply_null(&c->reply);
        return true;
    }
    if (!string_type_ok(c, e)) return false;
    reply_bulk_slice(&c->reply, entry_string(e, scratch));
    return true;
}

void cmd_get(struct call *c) { reply_value(c, ks_read(&c->ks, c->argv[1])); }

void cmd_mget(struct call *c)
{
    char scratch[ENTRY_SCRATCH];
    reply_array(&c->reply, (size_t)(c->argc - 1));
    for (int i = 1; i < c->argc; i++) {
        const struct entry *e = ks_read(&c->ks, c->argv[i]);
        if (e && entry_type(e) == TYPE_STRING) {
            reply_bulk_slice(&c->reply, entry_string(e, scratch));
        } else {
            reply_null(&c->reply);
        }
    }
}

void cmd_strlen(struct call *c)
{
    char scratch[ENTRY_SCRATCH];
    const struct entry *e = ks_read(&c->ks, c->argv[1]);
    if (!string_type_ok(c, e)) return;
    reply_int(&c->reply, e ? (int64_t)entry_string(e, scratch).len : 0);
}

void cmd_getrange(struct call *c)
{
    char scratch[ENTRY_SCRATCH];
    int64_t start, end;
    if (!call_int(c, 2, &start) || !call_int(c, 3, &end)) return;
    const struct entry *e = ks_read(&c->ks, c->argv[1]);
    if (!string_type_ok(c, e)) return;
    struct slice value = e ? entry_string(e, scratch) : SLICE("");
    int64_t len = (int64_t)value.len;
    /* Seen before the clamping: "-1 -5" is empty even where both would become the first byte. */
    bool empty = start < 0 && end < 0 && start > end;
    if (start < 0) start = start + len < 0 ? 0 : start + len;
    if (end < 0) end = end + len < 0 ? 0 : end + len;
    if (end >= len) end = len - 1;
    if (empty || start > end) reply_bulk(&c->reply, "", 0);
    else reply_bulk(&c->reply, value.ptr + start, (size_t)(end - start + 1));
}

void cmd_substr(struct call *c) { cmd_getrange(c); }

/* ---- reading that also changes ---- */

void cmd_getdel(struct call *c)
{
    struct slice key = c->argv[1];
    const struct entry *e = ks_read(&c->ks, key);
    if (!reply_value(c, e) || !e) return;
    ks_delete(&c->ks, key, false);
    c->dirty++;
    call_event(c, key, EVENT_GENERIC, "del");
    EFFECT(c, SLICE("DEL"), key);
}

void cmd_getex(struct call *c)
{
    struct slice key = c->argv[1];
    struct string_options options;
    if (!string_options_parse(c, 2, OPT_TIMES | OPT_PERSIST, &options)) return;
    struct entry *e = ks_read(&c->ks, key);
    if (!e) {
        reply_null(&c->reply);
        return;
    }
    if (!string_type_ok(c, e) || !string_options_expiry(c, &options)) return;
    bool persists = (options.given & OPT_PERSIST) && entry_expiry(e) != EXPIRE_NONE;
    size_t mark = c->reply.out->len;
    reply_value(c, e);
    if (!options.time_arg && !persists) return;
    if (options.time_arg && call_is_past(c, options.expire)) {
        ks_delete(&c->ks, key, false);
        call_event(c, key, EVENT_GENERIC, "del");
        EFFECT(c, SLICE("DEL"), key);
    } else if (ks_set_expiry(&c->ks, key, options.expire)) {
        c->reply.out->len = mark;
        reply_error(&c->reply, ERR_NO_MEMORY);
        return;
    } else if (persists) {
        call_event(c, key, EVENT_GENERIC, "persist");
        EFFECT(c, SLICE("PERSIST"), key);
    } else {
        char digits[NUM_I64_LEN_MAX + 1];
        call_event(c, key, EVENT_GENERIC, "expire");
        EFFECT(c, SLICE("PEXPIREAT"), key, effect_int(digits, options.expire));
    }
    c->dirty++;
}

/* ---- changing bytes ---- */

/* After a write of bytes by ks_string_room: the new length is the reply. */
static void reply_grown(struct call *c, size_t len, const char *event)
{
    c->dirty++;
    call_event(c, c->argv[1], EVENT_STRING, event);
    effect_verbatim(c);
    reply_int(&c->reply, (int64_t)len);
}

void cmd_append(struct call *c)
{
    char scratch[ENTRY_SCRATCH];
    struct slice key = c->argv[1], tail = c->argv[2];
    const struct entry *e = ks_find(&c->ks, key);
    if (!string_type_ok(c, e)) return;
    if (!e) {
        if (string_store_arg(c, key, 2, EXPIRE_NONE)) reply_error(&c->reply, ERR_NO_MEMORY);
        else reply_grown(c, tail.len, "append");
        return;
    }
    size_t len = entry_string(e, scratch).len;
    if (!string_len_ok(c, len, tail.len)) return;
    char *bytes = ks_string_room_for(&c->ks, key, len + tail.len, len, tail.len);
    if (!bytes) {
        reply_error(&c->reply, ERR_NO_MEMORY);
        return;
    }
    if (tail.len) memcpy(bytes + len, tail.ptr, tail.len);
    reply_grown(c, len + tail.len, "append");
}

void cmd_setrange(struct call *c)
{
    char scratch[ENTRY_SCRATCH];
    struct slice key = c->argv[1], part = c->argv[3];
    int64_t offset;
    if (!call_int(c, 2, &offset)) return;
    if (offset < 0) {
        reply_error(&c->reply, ERR_OFFSET_RANGE);
        return;
    }
    const struct entry *e = ks_find(&c->ks, key);
    if (!string_type_ok(c, e)) return;
    size_t len = e ? entry_string(e, scratch).len : 0;
    if (part.len == 0) {
        reply_int(&c->reply, (int64_t)len);
        return;
    }
    if (!string_len_ok(c, (uint64_t)offset, part.len)) return;
    size_t end = (size_t)offset + part.len;
    char *bytes = ks_string_room_for(&c->ks, key, end, (size_t)offset, part.len);
    if (!bytes) {
        reply_error(&c->reply, ERR_NO_MEMORY);
        return;
    }
    memcpy(bytes + offset, part.ptr, part.len);
    reply_grown(c, len > end ? len : end, "setrange");
}

/* ---- numbers ---- */

static void add_int(struct call *c, int64_t by)
{
    char scratch[ENTRY_SCRATCH];
    struct slice key = c->argv[1];
    const struct entry *e = ks_find(&c->ks, key);
    int64_t value = 0;
    if (!string_type_ok(c, e)) return;
    if (e && !entry_is_int(e, &value) && !num_parse_i64(entry_string(e, scratch), &value)) {
        reply_error(&c->reply, ERR_NOT_INT);
    } else if (num_add_overflow_i64(value, by, &value)) {
        reply_error(&c->reply, ERR_OVERFLOW);
    } else if (ks_set_int(&c->ks, key, value, EXPIRE_KEEP)) {
        reply_error(&c->reply, ERR_NO_MEMORY);
    } else {
        c->dirty++;
        call_event(c, key, EVENT_STRING, "incrby");
        effect_verbatim(c);
        reply_int(&c->reply, value);
    }
}

void cmd_incr(struct call *c) { add_int(c, 1); }

void cmd_decr(struct call *c) { add_int(c, -1); }

void cmd_incrby(struct call *c)
{
    int64_t by;
    if (call_int(c, 2, &by)) add_int(c, by);
}

void cmd_decrby(struct call *c)
{
    int64_t by;
    if (!call_int(c, 2, &by)) return;
    if (by == INT64_MIN) reply_error(&c->reply, ERR_DECR_OVERFLOW);
    else add_int(c, -by);
}

void cmd_incrbyfloat(struct call *c)
{
    char scratch[ENTRY_SCRATCH], text[NUM_LDOUBLE_LEN_MAX];
    struct slice key = c->argv[1];
    const struct entry *e = ks_find(&c->ks, key);
    long double value = 0, by;
    if (!string_type_ok(c, e)) return;
    if ((e && !num_parse_ldouble(entry_string(e, scratch), &value)) ||
        !num_parse_ldouble(c->argv[2], &by)) {
        reply_error(&c->reply, ERR_NOT_FLOAT);
        return;
    }
    value += by;
    if (isnan(value) || isinf(value)) {
        reply_error(&c->reply, ERR_NAN_OR_INF);
        return;
    }
    struct slice result = slice_of(text, num_format_ldouble(text, value));
    if (ks_set_text(&c->ks, key, result, EXPIRE_KEEP)) {
        reply_error(&c->reply, ERR_NO_MEMORY);
        return;
    }
    c->dirty++;
    call_event(c, key, EVENT_STRING, "incrbyfloat");
    string_set_effect(c, key, result, EXPIRE_KEEP);
    reply_bulk_slice(&c->reply, result);
}
