/* Comparing a string before something happens to it: SET's IFEQ … IFDNE, DELIFEQ, DELEX, DIGEST.
 *
 * A digest is XXH3-64 of the value's text (seed 0) as sixteen hexadecimal digits; integers count as
 * the text a client reads. So a client can guard a change of a large value without sending it.
 * Source: https://redis.io/docs/latest/commands/delex/ and …/digest/ (Redis 8.4),
 * https://valkey.io/commands/delifeq/ (Valkey 9.0).
 * Thread: holder of the call's shards. */
#include "cmd/string_impl.h"
#include "splitring/base/hash.h"

#define DIGEST_LEN 16u

static void digest_format(char out[DIGEST_LEN + 1], struct slice value)
{
    static const char digits[] = "0123456789abcdef";
    uint64_t hash = hash_key(value, 0);
    for (unsigned i = 0; i < DIGEST_LEN; i++) out[i] = digits[(hash >> (60 - 4 * i)) & 15];
    out[DIGEST_LEN] = '\0';
}

enum verdict string_matches(struct call *c, uint32_t option, struct slice match,
                            const struct entry *e)
{
    char scratch[ENTRY_SCRATCH], digest[DIGEST_LEN + 1];
    struct slice value = entry_string(e, scratch);
    bool equal;
    if (option & (OPT_IFEQ | OPT_IFNE)) {
        equal = slice_equal(value, match);
    } else if (match.len != DIGEST_LEN) {
        reply_error(&c->reply, ERR_DIGEST_LEN);
        return VERDICT_ERROR;
    } else {
        digest_format(digest, value);
        equal = slice_is_word(match, digest);
    }
    bool wanted = option & (OPT_IFEQ | OPT_IFDEQ);
    return equal == wanted ? VERDICT_YES : VERDICT_NO;
}

void cmd_digest(struct call *c)
{
    char scratch[ENTRY_SCRATCH], digest[DIGEST_LEN + 1];
    const struct entry *e = ks_read(&c->ks, c->argv[1]);
    if (!string_type_ok(c, e)) return;
    if (!e) {
        reply_null(&c->reply);
        return;
    }
    digest_format(digest, entry_string(e, scratch));
    reply_bulk(&c->reply, digest, DIGEST_LEN);
}

static void delete_key(struct call *c, bool async)
{
    struct slice key = c->argv[1];
    if (!ks_delete(&c->ks, key, async)) {
        reply_int(&c->reply, 0);
        return;
    }
    c->dirty++;
    call_event(c, key, EVENT_GENERIC, "del");
    EFFECT(c, SLICE("DEL"), key);
    reply_int(&c->reply, 1);
}

void cmd_delifeq(struct call *c)
{
    const struct entry *e = ks_find(&c->ks, c->argv[1]);
    if (!string_type_ok(c, e)) return;
    if (!e || string_matches(c, OPT_IFEQ, c->argv[2], e) != VERDICT_YES) {
        reply_int(&c->reply, 0);
    } else {
        delete_key(c, false);
    }
}

static uint32_t match_option(const struct call *c, int i)
{
    if (call_is(c, i, "IFEQ")) return OPT_IFEQ;
    if (call_is(c, i, "IFNE")) return OPT_IFNE;
    if (call_is(c, i, "IFDEQ")) return OPT_IFDEQ;
    return call_is(c, i, "IFDNE") ? OPT_IFDNE : 0;
}

/* DELEX key [IFEQ | IFNE | IFDEQ | IFDNE match]: without a condition it is DEL, of any type. */
void cmd_delex(struct call *c)
{
    if (c->argc == 2) {
        delete_key(c, c->env->lazyfree_user_del);
        return;
    }
    if (c->argc != 4) {
        reply_errorf(&c->reply, ERR_WRONG_ARITY, c->cmd->name);
        return;
    }
    const struct entry *e = ks_find(&c->ks, c->argv[1]);
    uint32_t option = match_option(c, 2);
    if (!e) {
        reply_int(&c->reply, 0);
    } else if (entry_type(e) != TYPE_STRING) {
        reply_error(&c->reply, ERR_DELEX_TYPE);
    } else if (!option) {
        reply_error(&c->reply, ERR_DELEX_CONDITION);
    } else {
        enum verdict verdict = string_matches(c, option, c->argv[3], e);
        if (verdict == VERDICT_NO) reply_int(&c->reply, 0);
        else if (verdict == VERDICT_YES) delete_key(c, false);
    }
}
