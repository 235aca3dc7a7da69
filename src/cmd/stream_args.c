/* What stream commands have in common: ids and trimming in their arguments, entries in their
 * replies, effects of groups.
 *
 * Ids are read as Redis reads them, which is a little more than the documentation says: leading
 * blanks, '+' and zeros, and "-05" as a sequence counted from the top, because strtoull() has the
 * last word there.
 * Thread: holder of the call's shards. */
#include "cmd/stream_impl.h"
#include "splitring/base/num.h"

/* ---- ids ---- */

/* An unsigned number as strtoull() reads it, all of the text. */
static bool parse_part(struct slice s, uint64_t *out)
{
    int64_t number;
    if (num_parse_i64(s, &number)) {
        *out = (uint64_t)number;
        return number >= 0;
    }
    size_t i = 0;
    while (i < s.len && (s.ptr[i] == ' ' || (s.ptr[i] >= '\t' && s.ptr[i] <= '\r'))) i++;
    bool minus = i < s.len && s.ptr[i] == '-';
    if (minus || (i < s.len && s.ptr[i] == '+')) i++;
    if (i == s.len) return false;
    uint64_t value = 0;
    for (; i < s.len; i++) {
        unsigned digit = (unsigned)s.ptr[i] - '0';
        if (digit > 9 || __builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, digit, &value)) {
            return false;
        }
    }
    *out = minus ? 0 - value : value;
    return true;
}

bool stream_id_parse(struct slice text, uint64_t seq, bool ends, struct stream_id *id,
                     bool *seq_given)
{
    if (text.len > 127) return false;
    const char *nul = text.len ? memchr(text.ptr, '\0', text.len) : NULL;
    if (nul) text.len = (size_t)(nul - text.ptr);
    if (seq_given) *seq_given = true;
    if (text.len == 1 && (text.ptr[0] == '-' || text.ptr[0] == '+')) {
        *id = text.ptr[0] == '-' ? STREAM_ID_MIN : STREAM_ID_MAX;
        return ends;
    }
    const char *dash = text.len ? memchr(text.ptr, '-', text.len) : NULL;
    struct slice ms = text;
    id->seq = seq;
    if (dash) {
        ms.len = (size_t)(dash - text.ptr);
        struct slice rest = slice_of(dash + 1, text.len - ms.len - 1);
        if (seq_given && rest.len == 1 && rest.ptr[0] == '*') {
            id->seq = 0;
            *seq_given = false;
        } else if (!parse_part(rest, &id->seq)) {
            return false;
        }
    }
    return parse_part(ms, &id->ms);
}

static bool invalid_id(struct call *c)
{
    reply_error(&c->reply, ERR_STREAM_ID_INVALID);
    return false;
}

bool stream_arg_id(struct call *c, int i, struct stream_id *id)
{
    return stream_id_parse(c->argv[i], 0, false, id, NULL) || invalid_id(c);
}

/* Sets *exclusive. */
static bool arg_bound(struct call *c, int i, uint64_t seq, struct stream_id *id, bool *exclusive)
{
    struct slice text = c->argv[i];
    *exclusive = text.len > 1 && text.ptr[0] == '(';
    if (*exclusive) text = slice_of(text.ptr + 1, text.len - 1);
    return stream_id_parse(text, seq, !*exclusive, id, NULL) || invalid_id(c);
}

bool stream_arg_start(struct call *c, int i, struct stream_id *id)
{
    bool exclusive;
    if (!arg_bound(c, i, 0, id, &exclusive)) return false;
    if (!exclusive || stream_id_next(id)) return true;
    reply_error(&c->reply, ERR_STREAM_INTERVAL_START);
    return false;
}

bool stream_arg_end(struct call *c, int i, struct stream_id *id)
{
    bool exclusive;
    if (!arg_bound(c, i, UINT64_MAX, id, &exclusive)) return false;
    if (!exclusive || stream_id_prev(id)) return true;
    reply_error(&c->reply, ERR_STREAM_INTERVAL_END);
    return false;
}

struct slice stream_id_text(char out[STREAM_ID_TEXT_MAX], struct stream_id id)
{
    size_t len = num_format_u64(out, id.ms);
    out[len++] = '-';
    return slice_of(out, len + num_format_u64(out + len, id.seq));
}

/* ---- trimming ---- */

bool stream_is_refs(const struct call *c, int i, enum stream_refs *refs)
{
    if (call_is(c, i, "KEEPREF")) *refs = STREAM_KEEPREF;
    else if (call_is(c, i, "DELREF")) *refs = STREAM_DELREF;
    else if (call_is(c, i, "ACKED")) *refs = STREAM_ACKED;
    else return false;
    return true;
}

static bool is_char(struct slice s, char c) { return s.len == 1 && s.ptr[0] == c; }

/* MAXLEN or MINID at *i, with what follows; *i then stands at its last argument. */
static bool parse_strategy(struct call *c, int *i, enum stream_trim_by by,
                           struct stream_trim_args *a)
{
    int64_t maxlen;
    if (a->trim.by != STREAM_TRIM_NONE) {
        reply_error(&c->reply, ERR_TRIM_BOTH);
        return false;
    }
    a->strategy_at = *i;
    bool more = c->argc - 1 - *i >= 2;
    a->trim.approx = more && is_char(c->argv[*i + 1], '~');
    if (a->trim.approx || (more && is_char(c->argv[*i + 1], '='))) a->operator_at = ++*i;
    a->threshold_at = ++*i;
    a->trim.by = by;
    if (by == STREAM_TRIM_MINID) return stream_arg_id(c, *i, &a->trim.minid);
    if (!call_int(c, *i, &maxlen)) return false;
    if (maxlen < 0) {
        reply_error(&c->reply, ERR_TRIM_MAXLEN);
        return false;
    }
    a->trim.maxlen = (uint64_t)maxlen;
    return true;
}

static bool parse_limit(struct call *c, int i, struct stream_trim_args *a)
{
    int64_t limit;
    a->limit_at = i;
    if (!call_int(c, i, &limit)) return false;
    a->trim.limit = (uint64_t)limit;
    if (limit >= 0) return true;
    reply_error(&c->reply, ERR_TRIM_LIMIT);
    return false;
}

/* How much an approximate trim may do: given, or a hundred nodes. */
static bool settle_limit(struct call *c, bool xadd, struct stream_trim_args *a)
{
    enum error_id wrong;
    if (a->trim.limit && a->trim.by == STREAM_TRIM_NONE) {
        wrong = ERR_TRIM_LIMIT_ALONE;
    } else if (!xadd && a->trim.by == STREAM_TRIM_NONE) {
        wrong = ERR_XTRIM_STRATEGY;
    } else if (a->limit_at && !a->trim.approx) {
        wrong = ERR_TRIM_LIMIT_EXACT;
    } else {
        if (a->limit_at || !a->trim.approx) return true;
        uint64_t entries = c->env->stream_node_max_entries;
        a->trim.limit = entries == 0 ? 10000 : entries > 10000 ? 1000000 : 100 * entries;
        return true;
    }
    reply_error(&c->reply, wrong);
    return false;
}

bool stream_trim_parse(struct call *c, bool xadd, struct stream_trim_args *a)
{
    *a = (struct stream_trim_args){.seq_given = true};
    int i = 2;
    for (; i < c->argc; i++) {
        bool more = i < c->argc - 1, ok = true;
        if (xadd && is_char(c->argv[i], '*')) break;
        if (more && call_is(c, i, "MAXLEN")) {
            ok = parse_strategy(c, &i, STREAM_TRIM_MAXLEN, a);
        } else if (more && call_is(c, i, "MINID")) {
            ok = parse_strategy(c, &i, STREAM_TRIM_MINID, a);
        } else if (more && call_is(c, i, "LIMIT")) {
            ok = parse_limit(c, ++i, a);
        } else if (xadd && call_is(c, i, "NOMKSTREAM")) {
            a->nomkstream = true;
        } else if (stream_is_refs(c, i, &a->trim.refs)) {
            ok = true;
        } else if (xadd) {
            if (!stream_id_parse(c->argv[i], 0, false, &a->id, &a->seq_given)) return invalid_id(c);
            a->id_given = true;
            break;
        } else {
            reply_error(&c->reply, ERR_SYNTAX);
            ok = false;
        }
        if (!ok) return false;
    }
    a->id_at = i;
    return settle_limit(c, xadd, a);
}

/* ---- replies ---- */

void stream_reply_id(struct call *c, struct stream_id id)
{
    char text[STREAM_ID_TEXT_MAX];
    reply_bulk_slice(&c->reply, stream_id_text(text, id));
}

static inline void reply_element(struct reply *r, struct lp_value value)
{
    if (likely(value.text.ptr != NULL)) reply_bulk_slice(r, value.text);
    else reply_bulk_int(r, value.number);
}

void stream_reply_entry(struct call *c, struct stream_iter *it)
{
    reply_array(&c->reply, 2);
    stream_reply_body(c, it);
}

void stream_reply_body(struct call *c, struct stream_iter *it)
{
    struct reply *r = &c->reply;
    stream_reply_id(c, it->id);
    reply_array(r, (size_t)it->fields * 2);
    for (uint32_t i = 0; i < it->fields; i++) {
        struct lp_value field, value;
        stream_iter_pair(it, &field, &value);
        reply_element(r, field);
        reply_element(r, value);
    }
}

size_t stream_reply_entries(struct call *c, const struct stream *s, struct stream_id start,
                            struct stream_id end, uint64_t count, bool reverse)
{
    struct stream_iter it;
    size_t done = 0;
    stream_iter_init(&it, s, start, end, reverse);
    while ((count == 0 || done < count) && stream_iter_next(&it)) {
        stream_reply_entry(c, &it);
        done++;
    }
    return done;
}

bool stream_reply_one(struct call *c, const struct stream *s, struct stream_id id)
{
    return stream_reply_entries(c, s, id, id, 1, false) == 1;
}

/* ---- writing ---- */

void stream_done(struct call *c, struct slice key, struct stream *s)
{
    stream_account(ks_shard_of(&c->ks, key), s);
}

struct stream_consumer *stream_consumer_get(struct call *c, struct slice key, struct stream *s,
                                            struct stream_group *g, struct slice group,
                                            struct slice name)
{
    struct stream_consumer *consumer = stream_consumer_find(g, name);
    if (consumer) return consumer;
    consumer = stream_consumer_add(s, g, name, c->ks.now);
    if (!consumer) return NULL;
    ks_notify(&c->ks, EVENT_STREAM, "xgroup-createconsumer", key);
    c->dirty++;
    EFFECT(c, SLICE("XGROUP"), SLICE("CREATECONSUMER"), key, group, name);
    return consumer;
}

void stream_effect_claim(struct call *c, struct slice key, struct slice group,
                         const struct stream_group *g, const struct stream_nack *nack)
{
    if (!c->effects) return;
    char id[STREAM_ID_TEXT_MAX], last[STREAM_ID_TEXT_MAX];
    char time[NUM_I64_LEN_MAX + 1], count[NUM_I64_LEN_MAX + 1];
    EFFECT(c, SLICE("XCLAIM"), key, group, stream_consumer_name(nack->consumer), SLICE("0"),
           stream_id_text(id, nack->id), SLICE("TIME"), effect_int(time, nack->delivered),
           SLICE("RETRYCOUNT"), effect_int(count, (int64_t)nack->deliveries), SLICE("FORCE"),
           SLICE("JUSTID"), SLICE("LASTID"), stream_id_text(last, g->last_id));
}

void stream_effect_setid(struct call *c, struct slice key, struct slice group,
                         const struct stream_group *g)
{
    if (!c->effects) return;
    char id[STREAM_ID_TEXT_MAX], read[NUM_I64_LEN_MAX + 1];
    EFFECT(c, SLICE("XGROUP"), SLICE("SETID"), key, group, stream_id_text(id, g->last_id),
           SLICE("ENTRIESREAD"), effect_int(read, g->entries_read));
}
