/* SET and its relatives: what gives keys a whole new value.
 *
 * A plain "SET key value" is the hottest write there is: no options are parsed, the old entry is
 * not looked at, its effect is the command as sent. Everything else goes through one path:
 * options → expiry → (where something depends on it) the present value → write → effect → reply.
 *
 * Effects are always plain: SET key value, with KEEPTTL, or with PXAT and an absolute time. The
 * conditions that let the write happen are not repeated, so a replay needs no present value and
 * an older reader knows the form. MSETEX goes out as one SET per key.
 *
 * Large values are not copied: the block the parser collected them in becomes the value
 * (string_store_arg). Its bytes stay where they are, so the slices in argv remain true while the
 * effect is stated, unless the same command writes the key a second time; MSET copies then.
 * Thread: holder of the call's shards. */
#include "cmd/string_impl.h"
#include "splitring/base/check.h"
#include "splitring/base/num.h"

int string_store_arg(struct call *c, struct slice key, int i, instant_ms expire)
{
    struct slice value = c->argv[i];
    struct blob *blob = value.len >= PARSE_BIG_LEN ? call_take_blob(c, i) : NULL;
    if (!blob) return ks_set_string(&c->ks, key, value, expire);
    dcheck(blob->data == value.ptr && blob->len == value.len);
    int error = ks_set_blob(&c->ks, key, blob, expire);
    if (error) c->args[i].blob = blob;
    return error;
}

void string_set_effect(struct call *c, struct slice key, struct slice value, instant_ms expire)
{
    char digits[NUM_I64_LEN_MAX + 1];
    if (!c->effects) return;
    if (expire == EXPIRE_NONE) {
        EFFECT(c, SLICE("SET"), key, value);
    } else if (expire == EXPIRE_KEEP) {
        EFFECT(c, SLICE("SET"), key, value, SLICE("KEEPTTL"));
    } else {
        EFFECT(c, SLICE("SET"), key, value, SLICE("PXAT"), effect_int(digits, expire));
    }
}

/* ---- options ---- */

struct option {
    const char *word;
    size_t len;
    uint32_t bit;
    uint32_t excludes; /* others of its group */
    bool has_arg;
};
/* clang-format off */
#define OPTION(name, bit, group, has_arg) {name, sizeof(name) - 1, (bit), (group) & ~(bit), has_arg}
/* clang-format on */

/* Repeating an option is fine and the last one counts, as in Redis. */
static const struct option options[] = {
    OPTION("EX", OPT_EX, OPT_EXPIRIES, true),
    OPTION("PX", OPT_PX, OPT_EXPIRIES, true),
    OPTION("NX", OPT_NX, OPT_CONDITIONS, false),
    OPTION("XX", OPT_XX, OPT_CONDITIONS, false),
    OPTION("GET", OPT_GET, OPT_GET, false),
    OPTION("KEEPTTL", OPT_KEEPTTL, OPT_EXPIRIES, false),
    OPTION("EXAT", OPT_EXAT, OPT_EXPIRIES, true),
    OPTION("PXAT", OPT_PXAT, OPT_EXPIRIES, true),
    OPTION("PERSIST", OPT_PERSIST, OPT_EXPIRIES, false),
    OPTION("IFEQ", OPT_IFEQ, OPT_CONDITIONS, true),
    OPTION("IFNE", OPT_IFNE, OPT_CONDITIONS, true),
    OPTION("IFDEQ", OPT_IFDEQ, OPT_CONDITIONS, true),
    OPTION("IFDNE", OPT_IFDNE, OPT_CONDITIONS, true),
};

static const struct option *option_find(struct slice word)
{
    for (size_t i = 0; i < ARRAY_COUNT(options); i++) {
        if (options[i].len == word.len && slice_is_word(word, options[i].word)) return &options[i];
    }
    return NULL;
}

bool string_options_parse(struct call *c, int from, uint32_t allowed, struct string_options *out)
{
    *out = (struct string_options){.expire = EXPIRE_NONE};
    for (int i = from; i < c->argc; i++) {
        const struct option *option = option_find(c->argv[i]);
        if (!option || !(option->bit & allowed) || (option->excludes & out->given) ||
            (option->has_arg && i + 1 == c->argc)) {
            reply_error(&c->reply, ERR_SYNTAX);
            return false;
        }
        out->given |= option->bit;
        if (option->has_arg) {
            i++;
            if (option->bit & OPT_TIMES) out->time_arg = i;
            else out->match_arg = i;
        }
    }
    return true;
}

/* The instant that a time argument means. False: an error is written. */
static bool read_time(struct call *c, int i, bool seconds, bool relative, instant_ms *out)
{
    int64_t at;
    if (!call_int(c, i, &at)) return false;
    if (at <= 0 || (seconds && __builtin_mul_overflow(at, 1000, &at)) ||
        (relative && __builtin_add_overflow(at, c->ks.now, &at))) {
        reply_errorf(&c->reply, ERR_INVALID_EXPIRE, c->cmd->name);
        return false;
    }
    /* The two last instants of 64 bits mean something else to the keyspace. */
    *out = at < EXPIRE_KEEP ? at : EXPIRE_KEEP - 1;
    return true;
}

bool string_options_expiry(struct call *c, struct string_options *given)
{
    if (given->given & OPT_KEEPTTL) given->expire = EXPIRE_KEEP;
    if (!given->time_arg) return true;
    return read_time(c, given->time_arg, given->given & (OPT_EX | OPT_EXAT),
                     given->given & (OPT_EX | OPT_PX), &given->expire);
}

/* ---- one key ---- */

/* Stores argument `value` under argument 1 and states it. False: no memory, the error is written
 * in place of what the reply had since `mark`. */
static bool set_value(struct call *c, int value, instant_ms expire, bool verbatim, size_t mark)
{
    if (unlikely(string_store_arg(c, c->argv[1], value, expire) != 0)) {
        c->reply.out->len = mark;
        reply_error(&c->reply, ERR_NO_MEMORY);
        return false;
    }
    c->dirty++;
    call_event(c, c->argv[1], EVENT_STRING, "set");
    if (expire < EXPIRE_KEEP) call_event(c, c->argv[1], EVENT_GENERIC, "expire");
    if (verbatim) effect_verbatim(c);
    else string_set_effect(c, c->argv[1], c->argv[value], expire);
    return true;
}

/* Whether NX, XX or a comparison lets SET go on. */
static enum verdict set_condition(struct call *c, const struct string_options *given,
                                  const struct entry *e)
{
    if (given->given & OPT_NX) return e ? VERDICT_NO : VERDICT_YES;
    if (given->given & OPT_XX) return e ? VERDICT_YES : VERDICT_NO;
    uint32_t match = given->given & OPT_MATCHES;
    if (!match) return VERDICT_YES;
    if (!e) return match & (OPT_IFEQ | OPT_IFDEQ) ? VERDICT_NO : VERDICT_YES;
    if (!string_type_ok(c, e)) return VERDICT_ERROR;
    return string_matches(c, match, c->argv[given->match_arg], e);
}

static void set_with_options(struct call *c)
{
    struct string_options given;
    uint32_t allowed = OPT_CONDITIONS | OPT_TIMES | OPT_KEEPTTL | OPT_GET;
    if (!string_options_parse(c, 3, allowed, &given)) return;
    if (!string_options_expiry(c, &given)) return;
    size_t mark = c->reply.out->len;
    bool wants_old = given.given & OPT_GET;
    if (wants_old || (given.given & OPT_CONDITIONS)) {
        const struct entry *e =
            wants_old ? ks_read(&c->ks, c->argv[1]) : ks_find(&c->ks, c->argv[1]);
        if (wants_old && !string_type_ok(c, e)) return;
        enum verdict verdict = set_condition(c, &given, e);
        if (verdict == VERDICT_ERROR) return;
        if (wants_old && e) {
            char scratch[ENTRY_SCRATCH];
            reply_bulk_slice(&c->reply, entry_string(e, scratch));
        } else if (wants_old || verdict == VERDICT_NO) {
            reply_null(&c->reply);
        }
        if (verdict == VERDICT_NO) return;
    }
    bool verbatim =
        (given.given == OPT_PXAT && c->argc == 5) || (given.given == OPT_KEEPTTL && c->argc == 4);
    if (set_value(c, 2, given.expire, verbatim, mark) && !wants_old) reply_ok(&c->reply);
}

void cmd_set(struct call *c)
{
    if (c->argc > 3) {
        set_with_options(c);
    } else if (set_value(c, 2, EXPIRE_NONE, true, c->reply.out->len)) {
        reply_ok(&c->reply);
    }
}

void cmd_setnx(struct call *c)
{
    if (ks_find(&c->ks, c->argv[1])) {
        reply_int(&c->reply, 0);
    } else if (set_value(c, 2, EXPIRE_NONE, false, c->reply.out->len)) {
        reply_int(&c->reply, 1);
    }
}

void cmd_setex(struct call *c)
{
    instant_ms at;
    if (!read_time(c, 2, true, true, &at)) return;
    if (set_value(c, 3, at, false, c->reply.out->len)) reply_ok(&c->reply);
}

void cmd_psetex(struct call *c)
{
    instant_ms at;
    if (!read_time(c, 2, false, true, &at)) return;
    if (set_value(c, 3, at, false, c->reply.out->len)) reply_ok(&c->reply);
}

void cmd_getset(struct call *c)
{
    char scratch[ENTRY_SCRATCH];
    size_t mark = c->reply.out->len;
    const struct entry *e = ks_read(&c->ks, c->argv[1]);
    if (!string_type_ok(c, e)) return;
    if (e) reply_bulk_slice(&c->reply, entry_string(e, scratch));
    else reply_null(&c->reply);
    set_value(c, 2, EXPIRE_NONE, false, mark);
}

/* ---- several keys ---- */

/* Whether a key of the pairs behind `i` (up to `end`) is the same. */
static bool key_comes_again(const struct call *c, int i, int end)
{
    for (int later = i + 2; later < end; later += 2) {
        if (slice_equal(c->argv[i], c->argv[later])) return true;
    }
    return false;
}

/* Writes the pairs of argv[from..end), the last of equal keys winning. False: no memory, the error
 * is written; the pairs before it are set and stated, one by one. */
static bool set_pairs(struct call *c, int from, int end, instant_ms expire)
{
    for (int i = from; i < end; i += 2) {
        struct slice key = c->argv[i], value = c->argv[i + 1];
        /* A block that is given away goes with the second write, but the effect names it. */
        bool copy = value.len >= PARSE_BIG_LEN && key_comes_again(c, i, end);
        int error = copy ? ks_set_string(&c->ks, key, value, expire)
                         : string_store_arg(c, key, i + 1, expire);
        if (unlikely(error != 0)) {
            for (int done = from; done < i; done += 2) {
                string_set_effect(c, c->argv[done], c->argv[done + 1], expire);
            }
            reply_error(&c->reply, ERR_NO_MEMORY);
            return false;
        }
        c->dirty++;
        call_event(c, key, EVENT_STRING, "set");
        if (expire < EXPIRE_KEEP) call_event(c, key, EVENT_GENERIC, "expire");
    }
    return true;
}

static bool pairs_ok(struct call *c)
{
    if (c->argc % 2) return true;
    reply_errorf(&c->reply, ERR_WRONG_ARITY, c->cmd->name);
    return false;
}

void cmd_mset(struct call *c)
{
    if (!pairs_ok(c) || !set_pairs(c, 1, c->argc, EXPIRE_NONE)) return;
    effect_verbatim(c);
    reply_ok(&c->reply);
}

/* True if the keys of the pairs are all present (or all absent). */
static bool all_present(struct call *c, int from, int end, bool present)
{
    for (int i = from; i < end; i += 2) {
        if ((ks_find(&c->ks, c->argv[i]) != NULL) != present) return false;
    }
    return true;
}

void cmd_msetnx(struct call *c)
{
    if (!pairs_ok(c)) return;
    if (!all_present(c, 1, c->argc, false)) {
        reply_int(&c->reply, 0);
    } else if (set_pairs(c, 1, c->argc, EXPIRE_NONE)) {
        effect_verbatim(c);
        reply_int(&c->reply, 1);
    }
}

/* Redis 8.4, Valkey 9.1: MSETEX numkeys key value … [NX | XX] [EX … | KEEPTTL] */
void cmd_msetex(struct call *c)
{
    int64_t count;
    struct string_options given;
    if (!call_int_range(c, 1, 1, INT32_MAX, &count, ERR_NUMKEYS_INVALID)) return;
    if (count * 2 + 2 > c->argc) {
        reply_error(&c->reply, ERR_PAIRS_MISSING);
        return;
    }
    int end = (int)count * 2 + 2;
    uint32_t allowed = OPT_NX | OPT_XX | OPT_TIMES | OPT_KEEPTTL;
    if (!string_options_parse(c, end, allowed, &given)) return;
    if (!string_options_expiry(c, &given)) return;
    if ((given.given & (OPT_NX | OPT_XX)) && !all_present(c, 2, end, given.given & OPT_XX)) {
        reply_int(&c->reply, 0);
        return;
    }
    if (!set_pairs(c, 2, end, given.expire)) return;
    for (int i = 2; i < end; i += 2) {
        string_set_effect(c, c->argv[i], c->argv[i + 1], given.expire);
    }
    reply_int(&c->reply, 1);
}
