/* Times to live: EXPIRE and its forms, TTL and its forms, PERSIST.
 *
 * An expiry is an instant in milliseconds. Whatever was asked for, the effect that is stated is
 * absolute (PEXPIREAT), or DEL where the instant has passed already, so that a replay at another
 * time ends in the same state.
 * Source: https://redis.io/docs/latest/commands/expire/ ; redis src/expire.c
 * Thread: holder of the call's shards. */
#include "splitring/cmd/call.h"
#include "splitring/cmd/handlers.h"

enum condition { COND_NX = 1, COND_XX = 2, COND_GT = 4, COND_LT = 8 };

/* False: the error is written. */
static bool parse_conditions(struct call *c, unsigned *conditions)
{
    static const char *const words[] = {"nx", "xx", "gt", "lt"};
    unsigned given = 0;
    for (int i = 3; i < c->argc; i++) {
        unsigned word = 0;
        while (word < ARRAY_COUNT(words) && !call_is(c, i, words[word])) word++;
        if (word == ARRAY_COUNT(words)) {
            struct slice text = c->argv[i];
            reply_errorf(&c->reply, ERR_UNKNOWN_OPTION, (int)text.len, text.ptr);
            return false;
        }
        given |= 1u << word;
    }
    *conditions = given;
    if ((given & COND_NX) && (given & (COND_XX | COND_GT | COND_LT))) {
        reply_error(&c->reply, ERR_EXPIRE_NX_CONFLICT);
        return false;
    }
    if ((given & COND_GT) && (given & COND_LT)) {
        reply_error(&c->reply, ERR_EXPIRE_GT_LT);
        return false;
    }
    return true;
}

/* A key without TTL lives for ever: EXPIRE_NONE is above every instant. */
static bool conditions_hold(unsigned conditions, instant_ms present, instant_ms when)
{
    if ((conditions & COND_NX) && present != EXPIRE_NONE) return false;
    if ((conditions & COND_XX) && present == EXPIRE_NONE) return false;
    if ((conditions & COND_GT) && when <= present) return false;
    if ((conditions & COND_LT) && when >= present) return false;
    return true;
}

/* Argument 2 as an instant: base + number × unit_ms. False: the error is written. */
static bool parse_when(struct call *c, instant_ms base, int64_t unit_ms, instant_ms *when)
{
    int64_t number;
    if (!call_int(c, 2, &number)) return false;
    if (__builtin_mul_overflow(number, unit_ms, when) ||
        __builtin_add_overflow(*when, base, when)) {
        reply_errorf(&c->reply, ERR_INVALID_EXPIRE, c->cmd->name);
        return false;
    }
    /* The last two instants have meanings of their own in the keyspace. */
    if (*when >= EXPIRE_KEEP) *when = EXPIRE_KEEP - 1;
    return true;
}

static void apply(struct call *c, instant_ms when)
{
    struct slice key = c->argv[1];
    if (call_is_past(c, when)) {
        (void)ks_delete(&c->ks, key, true);
        call_event(c, key, EVENT_GENERIC, "del");
        EFFECT(c, SLICE("DEL"), key);
    } else if (ks_set_expiry(&c->ks, key, when) < 0) {
        reply_error(&c->reply, ERR_NO_MEMORY);
        return;
    } else {
        char text[24];
        call_event(c, key, EVENT_GENERIC, "expire");
        EFFECT(c, SLICE("PEXPIREAT"), key, effect_int(text, when));
    }
    c->dirty++;
    reply_int(&c->reply, 1);
}

static void expire(struct call *c, instant_ms base, int64_t unit_ms)
{
    unsigned conditions;
    instant_ms when;
    if (!parse_conditions(c, &conditions) || !parse_when(c, base, unit_ms, &when)) return;
    const struct entry *e = ks_find(&c->ks, c->argv[1]);
    if (!e || !conditions_hold(conditions, entry_expiry(e), when)) {
        reply_int(&c->reply, 0);
        return;
    }
    apply(c, when);
}

void cmd_expire(struct call *c) { expire(c, c->ks.now, 1000); }

void cmd_pexpire(struct call *c) { expire(c, c->ks.now, 1); }

void cmd_expireat(struct call *c) { expire(c, 0, 1000); }

void cmd_pexpireat(struct call *c) { expire(c, 0, 1); }

/* ---- reading ---- */

enum ttl_form { TTL_LEFT_S, TTL_LEFT_MS, TTL_AT_S, TTL_AT_MS };

static void ttl(struct call *c, enum ttl_form form)
{
    struct ks ks = c->ks;
    ks.flags |= KS_NO_TOUCH;
    const struct entry *e = ks_read(&ks, c->argv[1]);
    if (!e) {
        reply_int(&c->reply, -2);
        return;
    }
    instant_ms at = entry_expiry(e);
    if (at == EXPIRE_NONE) {
        reply_int(&c->reply, -1);
        return;
    }
    int64_t ms = form == TTL_LEFT_S || form == TTL_LEFT_MS ? at - c->ks.now : at;
    if (ms < 0) ms = 0;
    bool seconds = form == TTL_LEFT_S || form == TTL_AT_S;
    reply_int(&c->reply, seconds ? ms / 1000 + (ms % 1000 >= 500) : ms);
}

void cmd_ttl(struct call *c) { ttl(c, TTL_LEFT_S); }

void cmd_pttl(struct call *c) { ttl(c, TTL_LEFT_MS); }

void cmd_expiretime(struct call *c) { ttl(c, TTL_AT_S); }

void cmd_pexpiretime(struct call *c) { ttl(c, TTL_AT_MS); }

void cmd_persist(struct call *c)
{
    const struct entry *e = ks_find(&c->ks, c->argv[1]);
    if (!e || entry_expiry(e) == EXPIRE_NONE) {
        reply_int(&c->reply, 0);
        return;
    }
    if (ks_set_expiry(&c->ks, c->argv[1], EXPIRE_NONE) < 0) {
        reply_error(&c->reply, ERR_NO_MEMORY);
        return;
    }
    c->dirty++;
    call_event(c, c->argv[1], EVENT_GENERIC, "persist");
    effect_verbatim(c);
    reply_int(&c->reply, 1);
}
