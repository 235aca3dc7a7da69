/* Hashes: setting and removing fields, and what the group's files share. (Reading is in
 * hash_read.c, expiries in hash_expire.c, HSETEX, HGETEX and HGETDEL in hash_setex.c.)
 *
 * What a hash looks like inside is the keyspace's business (keyspace/hash.h): handlers parse, set
 * field by field, say what happened. A new key gets all its pairs in one write.
 *
 * A command of several pairs may run out of memory in its middle. What was stored then stays, is
 * stated as an effect of its own, and the reply is the error.
 *
 * Effects: HINCRBYFLOAT goes out as its result, with HSETEX KEEPTTL where the field may have an
 * expiry; all else here is deterministic and goes out as it came.
 * Source: https://redis.io/docs/latest/commands/?group=hash
 * Thread: holder of the call's shards. */
#include <math.h>

#include "cmd/hash_impl.h"
#include "splitring/base/mem.h"
#include "splitring/base/num.h"
#include "splitring/cmd/effects.h"

void hash_changed(struct call *c, const struct hash *h, const char *event)
{
    call_changed(c, c->argv[1], EVENT_HASH, event);
    if (h->entry && hash_count(h->entry) == 0) call_emptied(c, c->argv[1]);
}

/* ---- HSET, HMSET, HSETNX ---- */

/* The first `stored` pairs are all that memory was there for. */
static void stored_in_part(struct call *c, struct hash *h, size_t stored)
{
    reply_error(&c->reply, ERR_NO_MEMORY);
    if (stored == 0) {
        if (h->entry && hash_count(h->entry) == 0) call_emptied(c, c->argv[1]);
        return;
    }
    effect_args(c, (int)(2 + 2 * stored), c->argv);
    c->dirty += stored;
    hash_changed(c, h, "hset");
}

/* Sets the pairs from argument 2 on; false: an error is written. */
static bool set_pairs(struct call *c, size_t *created)
{
    struct hash h;
    const struct slice *pairs = c->argv + 2;
    size_t count = (size_t)(c->argc - 2) / 2, stored = 0;
    *created = 0;
    if (c->argc % 2 != 0) {
        reply_errorf(&c->reply, ERR_WRONG_ARITY, c->cmd->name);
        return false;
    }
    if (!hash_for_writing(c, &h)) return false;
    int status = hash_prepare(&h, pairs, count, created);
    if (likely(status >= 0)) stored = (size_t)status;
    while (status >= 0 && stored < count) {
        status = hash_set(&h, pairs[2 * stored], pairs[2 * stored + 1], EXPIRE_NONE);
        if (unlikely(status < 0)) break;
        *created += status == HASH_SET_CREATED;
        stored++;
    }
    if (unlikely(status < 0)) {
        stored_in_part(c, &h, stored);
        return false;
    }
    c->dirty += count;
    effect_verbatim(c);
    hash_changed(c, &h, "hset");
    return true;
}

void cmd_hset(struct call *c)
{
    size_t created;
    if (set_pairs(c, &created)) reply_int(&c->reply, (int64_t)created);
}

void cmd_hmset(struct call *c)
{
    size_t created;
    if (set_pairs(c, &created)) reply_ok(&c->reply);
}

/* One field gets a value; false: no memory, the error is written. */
static bool set_one(struct call *c, struct hash *h, struct slice value, instant_ms expire,
                    const char *event)
{
    if (unlikely(hash_set(h, c->argv[2], value, expire) < 0)) {
        stored_in_part(c, h, 0);
        return false;
    }
    c->dirty++;
    hash_changed(c, h, event);
    return true;
}

void cmd_hsetnx(struct call *c)
{
    struct hash h;
    struct hash_item item;
    if (!hash_for_writing(c, &h)) return;
    if (hash_find(&h, c->argv[2], &item)) {
        reply_int(&c->reply, 0);
        return;
    }
    if (!set_one(c, &h, c->argv[3], EXPIRE_NONE, "hset")) return;
    effect_verbatim(c);
    reply_int(&c->reply, 1);
}

/* ---- numbers ---- */

void cmd_hincrby(struct call *c)
{
    struct hash h;
    struct hash_item item;
    int64_t value = 0, by;
    if (!call_int(c, 3, &by) || !hash_for_writing(c, &h)) return;
    if (hash_find(&h, c->argv[2], &item) && !num_parse_i64(item.value, &value)) {
        reply_error(&c->reply, ERR_HASH_NOT_INT);
        return;
    }
    if (num_add_overflow_i64(value, by, &value)) {
        reply_error(&c->reply, ERR_OVERFLOW);
        return;
    }
    char digits[NUM_I64_LEN_MAX];
    struct slice text = slice_of(digits, num_format_i64(digits, value));
    if (!set_one(c, &h, text, EXPIRE_KEEP, "hincrby")) return;
    effect_verbatim(c);
    reply_int(&c->reply, value);
}

void cmd_hincrbyfloat(struct call *c)
{
    struct hash h;
    struct hash_item item = {.expire = EXPIRE_NONE};
    long double value = 0, by;
    if (!num_parse_ldouble(c->argv[3], &by)) {
        reply_error(&c->reply, ERR_NOT_FLOAT);
        return;
    }
    if (isnan(by) || isinf(by)) {
        reply_error(&c->reply, ERR_VALUE_NAN_OR_INF);
        return;
    }
    if (!hash_for_writing(c, &h)) return;
    bool there = hash_find(&h, c->argv[2], &item);
    if (there && !num_parse_ldouble(item.value, &value)) {
        reply_error(&c->reply, ERR_HASH_NOT_FLOAT);
        return;
    }
    value += by;
    if (isnan(value) || isinf(value)) {
        reply_error(&c->reply, ERR_NAN_OR_INF);
        return;
    }
    char digits[NUM_LDOUBLE_LEN_MAX];
    struct slice text = slice_of(digits, num_format_ldouble(digits, value));
    bool expires = there && item.expire != EXPIRE_NONE;
    if (!set_one(c, &h, text, EXPIRE_KEEP, "hincrbyfloat")) return;
    if (!expires) EFFECT(c, SLICE("HSET"), c->argv[1], c->argv[2], text);
    else
        EFFECT(c, SLICE("HSETEX"), c->argv[1], SLICE("KEEPTTL"), SLICE("FIELDS"), SLICE("1"),
               c->argv[2], text);
    reply_bulk_slice(&c->reply, text);
}

/* ---- HDEL ---- */

void cmd_hdel(struct call *c)
{
    struct hash h;
    uint64_t removed = 0;
    if (!hash_for_writing(c, &h)) return;
    for (int i = 2; i < c->argc && h.entry && hash_count(h.entry) > 0; i++)
        removed += hash_remove(&h, c->argv[i]);
    if (removed) {
        c->dirty += removed;
        effect_verbatim(c);
        hash_changed(c, &h, "hdel");
    }
    reply_int(&c->reply, (int64_t)removed);
}

/* ---- effects on some fields ---- */

void field_list_init(struct field_list *list, struct call *c, size_t fields_max)
{
    list->count = 0;
    list->argv = NULL;
    if (!c->effects) return;
    list->argv = list->small;
    if (fields_max + FIELD_LIST_HEAD <= FIELD_LIST_SMALL) return;
    list->argv = mem_try_alloc((fields_max + FIELD_LIST_HEAD) * sizeof(*list->argv));
    if (!list->argv) c->effects->failed = true;
}

/* The words go right before the fields. */
static void state(struct field_list *list, struct call *c, const struct slice *head, size_t len)
{
    if (!list->argv || list->count == 0) return;
    struct slice *argv = list->argv + FIELD_LIST_HEAD - len;
    memcpy(argv, head, len * sizeof(*head));
    effect_args(c, (int)(len + list->count), argv);
}

void field_list_deleted(struct field_list *list, struct call *c)
{
    struct slice head[] = {SLICE("HDEL"), c->argv[1]};
    state(list, c, head, ARRAY_COUNT(head));
}

void field_list_expires(struct field_list *list, struct call *c, instant_ms when)
{
    char digits[NUM_I64_LEN_MAX + 1], count[NUM_I64_LEN_MAX + 1];
    struct slice fields = effect_int(count, (int64_t)list->count);
    if (when == EXPIRE_NONE) {
        struct slice head[] = {SLICE("HPERSIST"), c->argv[1], SLICE("FIELDS"), fields};
        state(list, c, head, ARRAY_COUNT(head));
    } else {
        struct slice head[] = {SLICE("HPEXPIREAT"), c->argv[1], effect_int(digits, when),
                               SLICE("FIELDS"), fields};
        state(list, c, head, ARRAY_COUNT(head));
    }
}

void field_list_deinit(struct field_list *list)
{
    if (list->argv != list->small) mem_free(list->argv);
}
