/* DUMP and RESTORE: a key's value as bytes that other servers read, and back.
 *
 * The format is persist's business (persist/rdb.h); here are arguments, the order of checks (as in
 * Redis: options, then the key, then the TTL, then the payload), and what is stated as effect:
 * RESTORE with an absolute TTL, so that a replay at another time gives the same key.
 * Source: https://redis.io/docs/latest/commands/restore/ ; redis src/cluster.c for behaviour
 * Thread: holder of the call's shards. */
#include "splitring/cmd/call.h"
#include "splitring/cmd/handlers.h"
#include "splitring/persist/rdb.h"

void cmd_dump(struct call *c)
{
    const struct entry *e = ks_read(&c->ks, c->argv[1]);
    if (!e) {
        reply_null(&c->reply);
        return;
    }
    struct buf payload = {0};
    rdb_dump(e, true, &payload);
    if (payload.failed) {
        reply_error(&c->reply, ERR_NO_MEMORY);
    } else {
        reply_bulk_slice(&c->reply, buf_slice(&payload));
    }
    buf_deinit(&payload);
}

struct restore {
    bool replace, absolute;
    int64_t ttl, idle_s, freq; /* idle_s, freq: -1 if not given */
    instant_ms expire;         /* EXPIRE_NONE: for ever */
    bool expired;
};

static bool parse_options(struct call *c, struct restore *r)
{
    for (int i = 4; i < c->argc; i++) {
        bool more = i + 1 < c->argc;
        if (call_is(c, i, "replace")) {
            r->replace = true;
        } else if (call_is(c, i, "absttl")) {
            r->absolute = true;
        } else if (call_is(c, i, "idletime") && more && r->freq < 0) {
            if (!call_int(c, ++i, &r->idle_s)) return false;
            if (r->idle_s >= 0) continue;
            reply_error(&c->reply, ERR_INVALID_IDLETIME);
            return false;
        } else if (call_is(c, i, "freq") && more && r->idle_s < 0) {
            if (!call_int(c, ++i, &r->freq)) return false;
            if (r->freq >= 0 && r->freq <= 255) continue;
            reply_error(&c->reply, ERR_INVALID_FREQ);
            return false;
        } else {
            reply_error(&c->reply, ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

static bool parse_ttl(struct call *c, struct restore *r)
{
    if (!call_int(c, 2, &r->ttl)) return false;
    if (r->ttl < 0) {
        reply_error(&c->reply, ERR_INVALID_TTL_RESTORE);
        return false;
    }
    r->expire = EXPIRE_NONE;
    if (r->ttl == 0) return true;
    instant_ms at = r->ttl;
    /* Beyond the end of time Redis wraps around, into the past. */
    if (!r->absolute && __builtin_add_overflow(at, c->ks.now, &at)) at = 0;
    r->expired = call_is_past(c, at);
    r->expire = at < EXPIRE_KEEP ? at : EXPIRE_KEEP - 1;
    return true;
}

static struct rdb_limits limits_of(const struct env *env)
{
    return (struct rdb_limits){
        .hash = {env->hash_max_listpack_entries, env->hash_max_listpack_value},
        .set = {env->set_max_intset_entries, env->set_max_listpack_entries,
                env->set_max_listpack_value},
        .zset = {env->zset_max_listpack_entries, env->zset_max_listpack_value},
        .list_fill = list_fill(env->list_max_listpack_size),
    };
}

static bool read_payload(struct call *c, const struct rdb_limits *limits, struct rdb_value *value)
{
    switch (rdb_restore(&c->ks, c->argv[1], c->argv[3], limits, value)) {
    case 0: return true;
    case RDB_E_PAYLOAD: reply_error(&c->reply, ERR_BAD_DUMP); return false;
    case RDB_E_FORMAT: reply_error(&c->reply, ERR_BAD_DATA_FORMAT); return false;
    default: reply_error(&c->reply, ERR_NO_MEMORY); return false;
    }
}

static void state_effect(struct call *c, const struct restore *r)
{
    char ttl[24], number[24];
    struct slice words[8] = {SLICE("RESTORE"), c->argv[1], SLICE("0"), c->argv[3]};
    int count = 4;
    if (r->expire != EXPIRE_NONE) words[2] = effect_int(ttl, r->expire);
    if (r->replace) words[count++] = SLICE("REPLACE");
    if (r->expire != EXPIRE_NONE) words[count++] = SLICE("ABSTTL");
    if (r->idle_s >= 0 || r->freq >= 0) {
        words[count++] = r->freq >= 0 ? SLICE("FREQ") : SLICE("IDLETIME");
        words[count++] = effect_int(number, r->freq >= 0 ? r->freq : r->idle_s);
    }
    effect_args(c, count, words);
}

static void set_access(struct call *c, const struct restore *r)
{
    struct slice key = c->argv[1];
    if (!ks_lfu(&c->ks)) {
        ks_set_idle(&c->ks, key, r->idle_s < 0 ? 0 : (uint32_t)r->idle_s & 0xffffffu);
    } else if (r->freq >= 0) {
        ks_set_freq(&c->ks, key, (uint8_t)r->freq);
    }
}

void cmd_restore(struct call *c)
{
    struct restore r = {.idle_s = -1, .freq = -1};
    struct slice key = c->argv[1];
    if (!parse_options(c, &r)) return;
    if (!r.replace && ks_find(&c->ks, key)) {
        reply_error(&c->reply, ERR_BUSYKEY);
        return;
    }
    struct rdb_limits limits = limits_of(c->env);
    struct rdb_value value;
    if (!parse_ttl(c, &r) || !read_payload(c, &limits, &value)) return;

    if (r.expired) {
        rdb_value_drop(&value, &c->ks, key);
        if (r.replace && ks_delete(&c->ks, key, true)) {
            ks_notify(&c->ks, EVENT_GENERIC, "del", key);
            c->dirty++;
            EFFECT(c, SLICE("DEL"), key);
        }
        reply_ok(&c->reply);
        return;
    }
    if (rdb_value_put(&value, &c->ks, key, r.expire) < 0) {
        reply_error(&c->reply, ERR_NO_MEMORY);
        return;
    }
    set_access(c, &r);
    ks_notify(&c->ks, EVENT_GENERIC, "restore", key);
    c->dirty++;
    state_effect(c, &r);
    reply_ok(&c->reply);
}
