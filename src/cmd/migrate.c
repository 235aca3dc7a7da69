/* MIGRATE: keys go to another server by RESTORE, and here they are deleted.
 *
 * A handler knows no sockets. It runs twice: first it looks which keys are there and notes what is
 * to be sent (AUTH, SELECT, one RESTORE per key) in call->away; the worker sends that and collects
 * the answers while the keys stay locked and everything else goes on; then the handler runs again
 * on the same keys, deletes those that the other server has taken, and replies.
 *
 * Payloads are of version 10 unless a hash needs more, so that servers from Redis 7.0 on take them.
 * Source: https://redis.io/docs/latest/commands/migrate/ ; redis src/cluster.c for behaviour
 * Thread: holder of the call's shards. */
#include "splitring/base/num.h"
#include "splitring/cmd/call.h"
#include "splitring/cmd/handlers.h"
#include "splitring/persist/rdb.h"

#define TIMEOUT_DEFAULT_MS 1000

struct migrate {
    bool copy, replace;
    struct slice user, password; /* ptr NULL: none */
    int64_t timeout_ms, db;
    int first_key, key_count;
};

/* False: the error is written. */
static bool parse_options(struct call *c, struct migrate *m)
{
    m->first_key = 3;
    m->key_count = 1;
    for (int i = 6; i < c->argc; i++) {
        int more = c->argc - 1 - i;
        if (call_is(c, i, "copy")) {
            m->copy = true;
        } else if (call_is(c, i, "replace")) {
            m->replace = true;
        } else if (call_is(c, i, "auth") && more >= 1) {
            m->password = c->argv[++i];
        } else if (call_is(c, i, "auth2") && more >= 2) {
            m->user = c->argv[++i];
            m->password = c->argv[++i];
        } else if (call_is(c, i, "keys") && c->argv[3].len > 0) {
            reply_error(&c->reply, ERR_MIGRATE_KEYS);
            return false;
        } else if (call_is(c, i, "keys")) {
            m->first_key = i + 1;
            m->key_count = more;
            break;
        } else {
            reply_error(&c->reply, ERR_SYNTAX);
            return false;
        }
    }
    if (!call_int(c, 5, &m->timeout_ms) || !call_int(c, 4, &m->db)) return false;
    if (m->timeout_ms <= 0) m->timeout_ms = TIMEOUT_DEFAULT_MS;
    return true;
}

/* ---- the request ---- */

static void put_words(struct buf *out, int count, const struct slice *words)
{
    buf_printf(out, "*%d\r\n", count);
    for (int i = 0; i < count; i++) {
        buf_printf(out, "$%zu\r\n", words[i].len);
        buf_append_slice(out, words[i]);
        buf_append(out, "\r\n", 2);
    }
}

static void put_restore(struct call *c, const struct migrate *m, const struct entry *e)
{
    struct buf payload = {0}, *out = &c->away->request;
    char digits[24];
    int64_t ttl = 0;
    if (entry_expiry(e) != EXPIRE_NONE) {
        ttl = entry_expiry(e) - c->ks.now;
        if (ttl < 1) ttl = 1;
    }
    rdb_dump(e, true, &payload);
    struct slice words[] = {SLICE("RESTORE"), entry_key(e), effect_int(digits, ttl),
                            buf_slice(&payload), SLICE("REPLACE")};
    put_words(out, m->replace ? 5 : 4, words);
    if (payload.failed) {
        buf_deinit(out);
        out->failed = true;
    }
    buf_deinit(&payload);
}

/* Keys that are there, in argument order; the same in both runs. */
static const struct entry *key_at(struct call *c, const struct migrate *m, int i)
{
    return ks_find(&c->ks, c->argv[m->first_key + i]);
}

static void send_away(struct call *c, const struct migrate *m)
{
    struct call_away *away = c->away;
    struct buf *out = &away->request;
    char digits[24];
    int64_t port = 0;
    if (m->password.ptr) {
        struct slice words[] = {SLICE("AUTH"), m->user, m->password};
        if (!m->user.ptr) words[1] = m->password;
        put_words(out, m->user.ptr ? 3 : 2, words);
        away->lines_wanted++;
    }
    struct slice words[] = {SLICE("SELECT"), effect_int(digits, m->db)};
    put_words(out, 2, words);
    away->lines_wanted++;
    for (int i = 0; i < m->key_count; i++) {
        const struct entry *e = key_at(c, m, i);
        if (!e) continue;
        put_restore(c, m, e);
        away->lines_wanted++;
    }
    struct slice host = c->argv[1];
    if (!num_parse_i64(c->argv[2], &port) || port < 0 || port > UINT16_MAX) port = 0;
    if (host.len >= sizeof(away->host)) host.len = 0;
    memcpy(away->host, host.ptr, host.len);
    away->host[host.len] = '\0';
    away->port = (uint16_t)port;
    away->timeout_ms = m->timeout_ms;
    away->wanted = true;
    if (out->failed) {
        away->wanted = false;
        reply_error(&c->reply, ERR_NO_MEMORY);
    }
}

/* ---- the answers ---- */

/* The next line without its end; false: there is none. */
static bool next_line(struct slice *answer, struct slice *line)
{
    const char *end = answer->len ? memchr(answer->ptr, '\n', answer->len) : NULL;
    if (!end) return false;
    size_t len = (size_t)(end - answer->ptr);
    *line = slice_of(answer->ptr, len > 0 && end[-1] == '\r' ? len - 1 : len);
    *answer = slice_of(end + 1, answer->len - len - 1);
    return true;
}

static bool is_error(struct slice line) { return line.len > 0 && line.ptr[0] == '-'; }

static void target_error(struct call *c, struct slice line, bool *told)
{
    if (*told) return;
    *told = true;
    reply_errorf(&c->reply, ERR_MIGRATE_TARGET, (int)(line.len - 1), line.ptr + 1);
}

static void drop_key(struct call *c, struct slice key)
{
    (void)ks_delete(&c->ks, key, true);
    ks_notify(&c->ks, EVENT_GENERIC, "del", key);
    c->dirty++;
    EFFECT(c, SLICE("DEL"), key);
}

/* First every line finds its key, then keys go: one that was named twice has two lines. */
static void take_answers(struct call *c, const struct migrate *m)
{
    static const enum error_id errors[] = {[AWAY_NOT_CONNECTED] = ERR_MIGRATE_CONNECT,
                                           [AWAY_NOT_SENT] = ERR_MIGRATE_WRITE,
                                           [AWAY_NOT_ANSWERED] = ERR_MIGRATE_READ};
    struct slice answer = buf_slice(&c->away->answer), line, refusal = {0};
    bool told = false, missing = false;
    struct buf taken = {0}; /* one byte per key */
    for (int i = 0; i < (m->password.ptr ? 2 : 1) && !missing; i++) {
        missing = !next_line(&answer, &line);
        if (!missing && is_error(line) && !refusal.ptr) refusal = line;
    }
    for (int i = 0; i < m->key_count && !missing; i++) {
        bool present = key_at(c, m, i) != NULL, ok = false;
        if (present) missing = !next_line(&answer, &line);
        if (present && !missing) {
            ok = !refusal.ptr && !is_error(line);
            if (!ok) target_error(c, refusal.ptr ? refusal : line, &told);
        }
        buf_append_char(&taken, ok);
    }
    for (size_t i = 0; i < taken.len && !m->copy; i++) {
        struct slice key = c->argv[m->first_key + (int)i];
        if (taken.ptr[i] && ks_find(&c->ks, key)) drop_key(c, key);
    }
    buf_deinit(&taken);
    if (told) return;
    if (missing) {
        bool known = c->away->outcome != AWAY_DONE;
        reply_error(&c->reply, known ? errors[c->away->outcome] : ERR_MIGRATE_READ);
    } else {
        reply_ok(&c->reply);
    }
}

void cmd_migrate(struct call *c)
{
    struct migrate m = {0};
    if (!parse_options(c, &m)) return;
    int present = 0;
    for (int i = 0; i < m.key_count; i++) present += key_at(c, &m, i) != NULL;
    if (present == 0) {
        reply_simple(&c->reply, "NOKEY");
    } else if (!c->away) {
        reply_errorf(&c->reply, ERR_NOT_SUPPORTED, "migrate");
    } else if (!c->away->done) {
        send_away(c, &m);
    } else {
        take_answers(c, &m);
    }
}
