/* DEBUG: what test suites need. A table of subcommands; those that concern more than the connection
 * are in local_debug_key.c.
 *
 * The whole command is refused unless enable-debug-command says otherwise. What would end the
 * process, or load a log that was never written, is refused by name, so that nobody takes silence
 * for success; what tunes an inner part that only Redis has (quicklist nodes, dictionaries) answers
 * OK.
 * Source: redis src/debug.c, HELP text and replies.
 * Thread: owner. */
#include "local_debug.h"

#include "conn.h"
#include "local.h"
#include "splitring/cmd/handlers.h"
#include "splitring/io/log.h"
#include "splitring/io/net.h"

/* What tests ask for to get at something inside that is different here. Whether an element has a
 * list node of its own (QUICKLIST-PACKED-THRESHOLD) is decided by list-max-listpack-size alone, and
 * shows in no reply: what is tested with a lower threshold must, and does, come out the same. */
static void nothing_to_do(struct call *c) { reply_ok(&c->reply); }

static void refuse(struct call *c)
{
    reply_errorf(&c->reply, ERR_DEBUG_SUB, (int)c->argv[1].len, c->argv[1].ptr);
}

static void refuse_loadaof(struct call *c)
{
    reply_errorf(&c->reply, ERR_DEBUG_RELOAD, "LOADAOF");
}

static void wrong_subcommand(struct call *c)
{
    size_t len = c->argv[1].len < 128 ? c->argv[1].len : 128;
    reply_errorf(&c->reply, ERR_SUBCOMMAND_SYNTAX, (int)len, c->argv[1].ptr, "DEBUG");
}

/* A text for the wire or the log: one line, whatever the client put into it. */
static void append_line(struct buf *out, struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        char ch = text.ptr[i];
        buf_append_char(out, ch == '\r' || ch == '\n' || ch == '\0' ? ' ' : ch);
    }
}

/* The text is the whole reply, code and all. */
static void reply_given_error(struct call *c)
{
    struct buf text = {0};
    append_line(&text, c->argv[2]);
    if (text.failed)
        reply_error(&c->reply, ERR_NO_MEMORY);
    else
        reply_error_text(&c->reply, text.ptr ? text.ptr : "", text.len);
    buf_deinit(&text);
}

static void write_log(struct call *c)
{
    struct buf text = {0};
    append_line(&text, c->argv[2]);
    log_line(LOG_LEVEL_WARNING, "DEBUG LOG: %.*s", (int)(text.len < 1024 ? text.len : 1024),
             text.ptr ? text.ptr : "");
    buf_deinit(&text);
    reply_ok(&c->reply);
}

static void match(struct call *c)
{
    reply_int(&c->reply, slice_glob(c->argv[2], c->argv[3], false));
}

/* ---- PROTOCOL: a sample of each reply type ---- */

static void sample_string(struct reply *r) { reply_bulk_str(r, "Hello World"); }
static void sample_integer(struct reply *r) { reply_int(r, 12345); }
static void sample_double(struct reply *r) { reply_double(r, 3.141); }
static void sample_null(struct reply *r) { reply_null(r); }
static void sample_true(struct reply *r) { reply_bool(r, true); }
static void sample_false(struct reply *r) { reply_bool(r, false); }

static void sample_verbatim(struct reply *r)
{
    reply_verbatim(r, "txt", SLICE("This is a verbatim\nstring"));
}

static void sample_bignum(struct reply *r)
{
    struct slice digits = SLICE("1234567999999999999999999999999999999");
    if (r->proto < 3) {
        reply_bulk_slice(r, digits);
        return;
    }
    reply_raw(r, "(", 1);
    reply_raw(r, digits.ptr, digits.len);
    reply_raw(r, "\r\n", 2);
}

static void sample_array(struct reply *r)
{
    reply_array(r, 3);
    for (int i = 0; i < 3; i++) reply_int(r, i);
}

static void sample_set(struct reply *r)
{
    reply_set(r, 3);
    for (int i = 0; i < 3; i++) reply_int(r, i);
}

static void sample_map(struct reply *r)
{
    reply_map(r, 3);
    for (int i = 0; i < 3; i++) {
        reply_int(r, i);
        reply_bool(r, i == 1);
    }
}

static void sample_attrib(struct reply *r)
{
    if (r->proto >= 3) {
        reply_raw(r, "|1\r\n", 4);
        reply_bulk_str(r, "key-popularity");
        reply_array(r, 2);
        reply_bulk_str(r, "key:123");
        reply_int(r, 90);
    }
    reply_bulk_str(r, "Some real reply following the attribute");
}

/* A push is no reply: one follows. */
static void sample_push(struct reply *r)
{
    if (r->proto < 3) {
        reply_error(r, ERR_NEEDS_RESP3);
        return;
    }
    reply_push(r, 2);
    reply_bulk_str(r, "server-cpu-usage");
    reply_int(r, 42);
    reply_bulk_str(r, "Some real reply following the push reply");
}

static void show_protocol(struct call *c)
{
    static const struct {
        const char *name;
        void (*reply)(struct reply *r);
    } samples[] = {
        {"string", sample_string}, {"integer", sample_integer}, {"double", sample_double},
        {"bignum", sample_bignum}, {"null", sample_null},       {"array", sample_array},
        {"set", sample_set},       {"map", sample_map},         {"attrib", sample_attrib},
        {"push", sample_push},     {"verbatim", sample_verbatim}, {"true", sample_true},
        {"false", sample_false},
    };
    for (size_t i = 0; i < ARRAY_COUNT(samples); i++) {
        if (!call_is(c, 2, samples[i].name)) continue;
        samples[i].reply(&c->reply);
        return;
    }
    reply_error(&c->reply, ERR_PROTOCOL_TYPE);
}

/* ---- HTSTATS ---- */

/* Tables are not chained here, so there are no chain lengths to show. */
static void show_tables(struct call *c)
{
    const struct hub *hub = c->conn->worker->hub;
    int64_t db;
    struct buf text = {0};
    if (!call_int(c, 2, &db)) return;
    if (db < 0 || db >= (int64_t)hub->databases) {
        reply_error(&c->reply, ERR_DB_OUT_OF_RANGE);
        return;
    }
    buf_printf(&text, "[Dictionary HT]\n");
    for (unsigned s = 0; s < hub->count; s++)
        buf_printf(&text,
                   "Hash table of shard %u:\n number of elements: %llu\n with expiry: %llu\n", s,
                   (unsigned long long)counter_get(&hub->shard_published[s].keys[db]),
                   (unsigned long long)counter_get(&hub->shard_published[s].expires[db]));
    reply_verbatim(&c->reply, "txt", buf_slice(&text));
    buf_deinit(&text);
}

/* ---- the table ---- */

static void help(struct call *c)
{
    static const char *const lines[] = {
        "CHANGE-REPL-ID", "    Accepted without effect: there are no replicas yet.",
        "DICT-RESIZING <0|1>", "    Accepted without effect.",
        "DIGEST", "    Return a digest of all data: equal data has equal digests.",
        "DIGEST-VALUE [<key> ...]", "    Return a digest of each key's value.",
        "ERROR <string>", "    Return an error reply with <string> as its text.",
        "HTSTATS <dbid>", "    Return how the keys of a database lie in the shards.",
        "HTSTATS-KEY <key>", "    Return the size of a set's, hash's or sorted set's table.",
        "LISTPACK <key>", "    Say whether a key's value is a listpack.",
        "LOG <message>", "    Write <message> to the server log.",
        "OBJECT <key>", "    Show low level info about a key and its value.",
        "POPULATE <count> [<prefix>] [<size>]",
        "    Create <count> string keys named <prefix>:<num> (default prefix: key), with values",
        "    named value:<num>, cut or padded to <size> bytes. Keys that exist stay as they are.",
        "PROTOCOL <type>",
        "    Reply with a sample of a type: string, integer, double, bignum, null, array, set,",
        "    map, attrib, push, verbatim, true, false.",
        "QUICKLIST <key>", "    Say whether a list has nodes.",
        "QUICKLIST-PACKED-THRESHOLD <size>", "    Accepted without effect.",
        "RELOAD [NOSAVE] [NOFLUSH] [MERGE]",
        "    Save all data to disk and load it again. NOSAVE: the dump that is there is loaded.",
        "    NOFLUSH: what is in memory stays. MERGE: keys that are in both become the dump's.",
        "SDSLEN <key>", "    Show the lengths of a key and of its string value.",
        "SET-ACTIVE-EXPIRE <0|1>",
        "    0: expired keys are no longer deleted in the background; 1: they are again.",
        "SLEEP <seconds>", "    Stop all workers for <seconds>. Decimals allowed.",
        "STRINGMATCH-LEN <pattern> <string>",
        "    1 if the glob-like <pattern> matches <string>, else 0.", NULL};
    call_help(c, lines);
}

static const struct {
    const char *name;
    int argc_min, argc_max;
    void (*run)(struct call *c);
} subcommands[] = {
    {"help", 2, 2, help},
    {"sleep", 3, 3, debug_sleep},
    {"object", 3, 4, debug_object},
    {"sdslen", 3, 3, debug_sdslen},
    {"populate", 3, 5, debug_populate},
    {"set-active-expire", 3, 3, debug_set_active_expire},
    {"stringmatch-len", 4, 4, match},
    {"protocol", 3, 3, show_protocol},
    {"error", 3, 3, reply_given_error},
    {"log", 3, 3, write_log},
    {"htstats", 3, 4, show_tables},
    {"change-repl-id", 2, 2, nothing_to_do},
    {"quicklist-packed-threshold", 3, 3, nothing_to_do},
    {"dict-resizing", 3, 3, nothing_to_do},
    {"reload", 2, INT32_MAX, debug_reload},
    {"loadaof", 2, 2, refuse_loadaof},
    {"segfault", 2, 2, refuse},
    {"panic", 2, 2, refuse},
    {"assert", 2, 2, refuse},
    {"oom", 2, 2, refuse},
    {"leak", 3, 3, refuse},
    {"restart", 2, 3, refuse},
    {"crash-and-recover", 2, 3, refuse},
    {"digest", 2, 2, debug_digest},
    {"digest-value", 2, INT32_MAX, debug_digest_value},
    {"htstats-key", 3, 4, debug_htstats_key},
    {"listpack", 3, 3, debug_listpack},
    {"quicklist", 3, 4, debug_quicklist},
    {"jmap", 2, 2, nothing_to_do},
    {"mallctl", 3, 4, refuse},
    {"mallctl-str", 3, 4, refuse},
    {"replicate", 3, INT32_MAX, refuse},
    {"config-rewrite-force-all", 2, 2, refuse},
    {"client-eviction", 2, 2, refuse},
    {"pause-cron", 3, 3, debug_pause_cron},
    {"set-skip-checksum-validation", 3, 3, refuse},
    {"replybuffer", 4, 4, nothing_to_do},
    {"structsize", 2, 2, refuse},
    {"stringmatch-test", 2, 2, refuse},
};

static bool allowed(const struct call *c)
{
    switch (c->conn->worker->config->enable_debug_command) {
    case CONFIG_GUARD_YES: return true;
    case CONFIG_GUARD_LOCAL: return net_peer_is_loopback(c->conn->sock.fd);
    case CONFIG_GUARD_NO: break;
    }
    return false;
}

void cmd_debug(struct call *c)
{
    if (!allowed(c)) {
        reply_errorf(&c->reply, ERR_DISABLED_COMMAND, "DEBUG");
        return;
    }
    for (size_t i = 0; i < ARRAY_COUNT(subcommands); i++) {
        if (!call_is(c, 1, subcommands[i].name)) continue;
        if (c->argc < subcommands[i].argc_min || c->argc > subcommands[i].argc_max) break;
        subcommands[i].run(c);
        return;
    }
    wrong_subcommand(c);
}
