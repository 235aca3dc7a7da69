/* Expiry of fields: HEXPIRE and its forms, HTTL and its forms, HPERSIST.
 *
 * The order of checks is Redis 8.0's: type, time, condition, FIELDS and its number. An instant that
 * has passed removes the field at once, and the command then says "hdel" instead of "hexpire".
 *
 * Effects name the fields that were changed and nothing else: HPEXPIREAT with the instant, without
 * the condition that let it happen, and HDEL for what went.
 * Source: https://redis.io/docs/latest/commands/hexpire/ (8.0)
 * Thread: holder of the call's shards. */
#include "cmd/hash_impl.h"
#include "splitring/base/num.h"

bool hash_when(struct call *c, int i, bool seconds, bool relative, instant_ms *when)
{
    int64_t number, base = relative ? c->ks.now : 0;
    if (!call_int(c, i, &number)) return false;
    if (number < 0) {
        reply_error(&c->reply, ERR_FIELDS_EXPIRE_NEGATIVE);
        return false;
    }
    int64_t limit = seconds ? HASH_EXPIRE_MAX / 1000 : HASH_EXPIRE_MAX;
    if (number <= limit) {
        if (seconds) number *= 1000;
        if (number <= HASH_EXPIRE_MAX - base) {
            *when = base + number;
            return true;
        }
    }
    reply_errorf(&c->reply, ERR_INVALID_EXPIRE, c->cmd->name);
    return false;
}

bool hash_fields(struct call *c, int at, enum error_id error)
{
    int64_t count;
    if (at >= c->argc || !call_is(c, at, "fields")) {
        reply_error(&c->reply, ERR_FIELDS_MISSING);
        return false;
    }
    if (at + 1 >= c->argc) {
        reply_errorf(&c->reply, ERR_WRONG_ARITY, c->cmd->name);
        return false;
    }
    if (!call_int_range(c, at + 1, 1, INT64_MAX, &count, error)) return false;
    if (count == c->argc - at - 2) return true;
    reply_error(&c->reply, ERR_FIELDS_MISMATCH);
    return false;
}

/* ---- HEXPIRE, HPEXPIRE, HEXPIREAT, HPEXPIREAT ---- */

enum condition { COND_NONE, COND_NX, COND_XX, COND_GT, COND_LT };

static enum condition condition_of(const struct call *c, int i)
{
    if (call_is(c, i, "nx")) return COND_NX;
    if (call_is(c, i, "xx")) return COND_XX;
    if (call_is(c, i, "gt")) return COND_GT;
    if (call_is(c, i, "lt")) return COND_LT;
    return COND_NONE;
}

/* A field without expiry lives for ever: EXPIRE_NONE is above every instant. */
static bool condition_holds(enum condition condition, instant_ms present, instant_ms when)
{
    switch (condition) {
    case COND_NONE: break;
    case COND_NX: return present == EXPIRE_NONE;
    case COND_XX: return present != EXPIRE_NONE;
    case COND_GT: return when > present;
    case COND_LT: return when < present;
    }
    return true;
}

enum expire_result { RESULT_ABSENT = -2, RESULT_NO = 0, RESULT_SET = 1, RESULT_REMOVED = 2 };

/* -ENOMEM, or an expire_result. */
static int expire_field(struct call *c, struct hash *h, struct slice field,
                        enum condition condition, instant_ms when)
{
    struct hash_item item;
    if (!hash_find(h, field, &item)) return RESULT_ABSENT;
    if (!condition_holds(condition, item.expire, when)) return RESULT_NO;
    if (call_is_past(c, when)) {
        (void)hash_remove(h, field);
        return RESULT_REMOVED;
    }
    int error = hash_set_expiry(h, field, when);
    return error ? error : RESULT_SET;
}

static void expire_fields(struct call *c, struct hash *h, int first, enum condition condition,
                          instant_ms when)
{
    struct field_list set, removed;
    size_t fields = (size_t)(c->argc - first), mark = c->reply.out->len;
    bool no_memory = false;
    field_list_init(&set, c, fields);
    field_list_init(&removed, c, fields);
    reply_array(&c->reply, fields);
    for (int i = first; i < c->argc && !no_memory; i++) {
        int result = expire_field(c, h, c->argv[i], condition, when);
        if (result == RESULT_SET) field_list_add(&set, c->argv[i]);
        if (result == RESULT_REMOVED) field_list_add(&removed, c->argv[i]);
        no_memory = result < RESULT_ABSENT;
        reply_int(&c->reply, result);
    }
    c->dirty += set.count + removed.count;
    field_list_expires(&set, c, when);
    field_list_deleted(&removed, c);
    if (set.count + removed.count) hash_changed(c, h, removed.count ? "hdel" : "hexpire");
    field_list_deinit(&set);
    field_list_deinit(&removed);
    if (!no_memory) return;
    c->reply.out->len = mark;
    reply_error(&c->reply, ERR_NO_MEMORY);
}

static void reply_all(struct call *c, int first, int value)
{
    reply_array(&c->reply, (size_t)(c->argc - first));
    for (int i = first; i < c->argc; i++) reply_int(&c->reply, value);
}

static void expire(struct call *c, bool seconds, bool relative)
{
    struct hash h;
    instant_ms when;
    if (!hash_for_writing(c, &h) || !hash_when(c, 2, seconds, relative, &when)) return;
    enum condition condition = condition_of(c, 3);
    int at = condition == COND_NONE ? 3 : 4;
    if (!hash_fields(c, at, ERR_FIELDS_ZERO)) return;
    if (h.entry) expire_fields(c, &h, at + 2, condition, when);
    else reply_all(c, at + 2, RESULT_ABSENT);
}

void cmd_hexpire(struct call *c) { expire(c, true, true); }

void cmd_hpexpire(struct call *c) { expire(c, false, true); }

void cmd_hexpireat(struct call *c) { expire(c, true, false); }

void cmd_hpexpireat(struct call *c) { expire(c, false, false); }

/* ---- HTTL, HPTTL, HEXPIRETIME, HPEXPIRETIME ---- */

#define TTL_ABSENT (-2)
#define TTL_NONE (-1)

static void ttl(struct call *c, bool seconds, bool relative)
{
    struct hash h;
    if (!hash_for_reading(c, &h) || !hash_fields(c, 2, ERR_FIELDS_POSITIVE)) return;
    if (!h.entry) {
        reply_all(c, 4, TTL_ABSENT);
        return;
    }
    reply_array(&c->reply, (size_t)(c->argc - 4));
    for (int i = 4; i < c->argc; i++) {
        struct hash_item item;
        int64_t answer = TTL_ABSENT;
        if (hash_find(&h, c->argv[i], &item)) {
            answer = TTL_NONE;
            if (item.expire != EXPIRE_NONE) {
                answer = relative ? item.expire - c->ks.now : item.expire;
                if (seconds) answer = (answer + 999) / 1000;
            }
        }
        reply_int(&c->reply, answer);
    }
}

void cmd_httl(struct call *c) { ttl(c, true, true); }

void cmd_hpttl(struct call *c) { ttl(c, false, true); }

void cmd_hexpiretime(struct call *c) { ttl(c, true, false); }

void cmd_hpexpiretime(struct call *c) { ttl(c, false, false); }

/* ---- HPERSIST ---- */

void cmd_hpersist(struct call *c)
{
    struct hash h;
    if (!hash_for_writing(c, &h) || !hash_fields(c, 2, ERR_FIELDS_POSITIVE)) return;
    if (!h.entry) {
        reply_all(c, 4, TTL_ABSENT);
        return;
    }
    struct field_list list;
    size_t mark = c->reply.out->len;
    bool no_memory = false;
    field_list_init(&list, c, (size_t)(c->argc - 4));
    reply_array(&c->reply, (size_t)(c->argc - 4));
    for (int i = 4; i < c->argc && !no_memory; i++) {
        struct hash_item item;
        int64_t answer = TTL_ABSENT;
        if (hash_find(&h, c->argv[i], &item)) answer = item.expire == EXPIRE_NONE ? TTL_NONE : 1;
        if (answer == 1 && hash_set_expiry(&h, c->argv[i], EXPIRE_NONE) < 0) no_memory = true;
        else if (answer == 1) field_list_add(&list, c->argv[i]);
        reply_int(&c->reply, answer);
    }
    if (list.count) {
        c->dirty++;
        field_list_expires(&list, c, EXPIRE_NONE);
        hash_changed(c, &h, "hpersist");
    }
    field_list_deinit(&list);
    if (!no_memory) return;
    c->reply.out->len = mark;
    reply_error(&c->reply, ERR_NO_MEMORY);
}
