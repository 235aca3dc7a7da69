/* Streams: XADD, XLEN, XRANGE, XREVRANGE, XDEL, XTRIM, XSETID. (XDELEX and XACKDEL are in
 * stream_refs.c, reading for groups in stream_read.c.)
 *
 * Effects: XADD goes out with the id it got; a trim that was approximate as the exact one that
 * removes the same entries (MAXLEN = what was left), because how far "~" goes depends on settings.
 * Thread: holder of the call's shards. */
#include "cmd/stream_impl.h"
#include "splitring/base/mem.h"
#include "splitring/base/num.h"
#include "splitring/cmd/effects.h"

/* ---- XADD, XTRIM ---- */

/* The command with its id (NULL: as it is) and what its trim has come to. */
static void effect_trimmed(struct call *c, const struct stream *s, const struct stream_trim_args *a,
                           const struct stream_id *id)
{
    if (!c->effects) return;
    if (!id && !a->trim.approx) {
        effect_verbatim(c);
        return;
    }
    struct slice *argv = mem_try_alloc(((size_t)c->argc + 1) * sizeof(*argv));
    if (!argv) {
        c->effects->failed = true;
        return;
    }
    char id_text[STREAM_ID_TEXT_MAX], len[NUM_I64_LEN_MAX + 1];
    int count = 0;
    for (int i = 0; i < c->argc; i++) {
        struct slice arg = c->argv[i];
        if (id && i == a->id_at) arg = stream_id_text(id_text, *id);
        if (a->trim.approx) {
            if (i == a->strategy_at) arg = SLICE("MAXLEN");
            else if (i == a->operator_at) arg = SLICE("=");
            else if (i == a->threshold_at) arg = effect_int(len, (int64_t)stream_len(s));
            else if (a->limit_at && (i == a->limit_at || i == a->limit_at - 1)) continue;
        }
        argv[count++] = arg;
    }
    effect_args(c, count, argv);
    mem_free(argv);
}

/* The id of the new entry. False: the error is written. */
static bool next_id(struct call *c, const struct stream_trim_args *a, struct stream_id last,
                    struct stream_id *id)
{
    bool ok = true;
    if (stream_id_compare(last, STREAM_ID_MAX) == 0) {
        reply_error(&c->reply, ERR_XADD_EXHAUSTED);
        return false;
    }
    if (!a->id_given) {
        *id = (struct stream_id){(uint64_t)c->ks.now, 0};
        if (id->ms <= last.ms) {
            *id = last;
            ok = stream_id_next(id);
        }
    } else {
        *id = a->id;
        if (!a->seq_given && last.ms == a->id.ms) {
            *id = last;
            ok = last.seq != UINT64_MAX;
            id->seq++;
        }
    }
    if (ok && stream_id_compare(*id, last) > 0) return true;
    reply_error(&c->reply, ERR_XADD_ID_SMALL);
    return false;
}

static bool texts_fit(struct call *c, int from)
{
    size_t total = 0;
    for (int i = from; i < c->argc; i++) total += c->argv[i].len;
    if (total <= STREAM_ENTRY_BYTES_MAX) return true;
    reply_error(&c->reply, ERR_XADD_TOO_LARGE);
    return false;
}

static int append(struct call *c, struct stream *s, struct stream_id id, int from)
{
    struct stream_limits limits = {c->env->stream_node_max_bytes, c->env->stream_node_max_entries};
    return stream_append(s, limits, id, c->argv + from, (size_t)(c->argc - from) / 2);
}

/* A stream with its first entry under a new key. */
static struct stream *create(struct call *c, struct slice key, struct stream_id id, int from)
{
    struct shard *shard = ks_shard_of(&c->ks, key);
    struct stream *s = stream_new(shard);
    if (!s) return NULL;
    if (append(c, s, id, from) == 0 && ks_put_object(&c->ks, key, &s->object, EXPIRE_NONE))
        return s;
    stream_free(shard, s);
    return NULL;
}

/* XADD with good arguments, to a stream or to a new one (NULL). */
static void add(struct call *c, struct stream *s, const struct stream_trim_args *a)
{
    struct slice key = c->argv[1];
    struct stream_id id;
    int from = a->id_at + 1;
    bool is_new = !s;
    if (!next_id(c, a, s ? s->last_id : STREAM_ID_MIN, &id) || !texts_fit(c, from)) return;
    if (is_new) s = create(c, key, id, from);
    else if (append(c, s, id, from)) s = NULL;
    if (!s) {
        reply_error(&c->reply, ERR_NO_MEMORY);
        return;
    }
    stream_reply_id(c, id);
    if (is_new) ks_notify(&c->ks, EVENT_STREAM, "xadd", key);
    else call_changed(c, key, EVENT_STREAM, "xadd");
    c->dirty++;
    if (a->trim.by != STREAM_TRIM_NONE && stream_trim(s, &a->trim) > 0)
        ks_notify(&c->ks, EVENT_STREAM, "xtrim", key);
    effect_trimmed(c, s, a, a->id_given && a->seq_given ? NULL : &id);
    stream_done(c, key, s);
    if (!is_new) ks_ready(&c->ks, key); /* a new one says so itself */
}

void cmd_xadd(struct call *c)
{
    struct stream_trim_args a;
    if (!stream_trim_parse(c, true, &a)) return;
    int texts = c->argc - a.id_at - 1;
    if (texts < 2 || texts % 2) {
        reply_errorf(&c->reply, ERR_WRONG_ARITY, c->cmd->name);
        return;
    }
    if (a.id_given && a.seq_given && stream_id_is_zero(a.id)) {
        reply_error(&c->reply, ERR_XADD_ID_ZERO);
        return;
    }
    struct entry *e = ks_edit(&c->ks, c->argv[1]);
    if (!stream_type_ok(c, e)) return;
    if (!e && a.nomkstream) reply_null(&c->reply);
    else add(c, e ? stream_of(e) : NULL, &a);
}

void cmd_xtrim(struct call *c)
{
    struct slice key = c->argv[1];
    struct stream_trim_args a;
    if (!stream_trim_parse(c, false, &a)) return;
    struct entry *e = ks_edit(&c->ks, key);
    if (!stream_type_ok(c, e)) return;
    uint64_t removed = e ? stream_trim(stream_of(e), &a.trim) : 0;
    if (removed) {
        ks_notify(&c->ks, EVENT_STREAM, "xtrim", key);
        ks_touched(&c->ks, key);
        c->dirty += removed;
        effect_trimmed(c, stream_of(e), &a, NULL);
        stream_done(c, key, stream_of(e));
    }
    reply_int(&c->reply, (int64_t)removed);
}

/* ---- reading ---- */

void cmd_xlen(struct call *c)
{
    const struct entry *e = ks_read(&c->ks, c->argv[1]);
    if (!stream_type_ok(c, e)) return;
    reply_int(&c->reply, e ? (int64_t)stream_len(stream_of(e)) : 0);
}

static void range(struct call *c, bool reverse)
{
    struct stream_id start, end;
    int64_t count = -1;
    if (!stream_arg_start(c, reverse ? 3 : 2, &start)) return;
    if (!stream_arg_end(c, reverse ? 2 : 3, &end)) return;
    for (int i = 4; i < c->argc; i += 2) {
        if (!call_is(c, i, "COUNT") || i == c->argc - 1) {
            reply_error(&c->reply, ERR_SYNTAX);
            return;
        }
        if (!call_int(c, i + 1, &count)) return;
        if (count < 0) count = 0;
    }
    const struct entry *e = ks_read(&c->ks, c->argv[1]);
    if (!stream_type_ok(c, e)) return;
    if (!e) {
        reply_array(&c->reply, 0);
    } else if (count == 0) {
        reply_null_array(&c->reply);
    } else {
        size_t mark = reply_deferred_begin(&c->reply);
        uint64_t limit = count < 0 ? 0 : (uint64_t)count;
        size_t done = stream_reply_entries(c, stream_of(e), start, end, limit, reverse);
        reply_deferred_array(&c->reply, mark, done);
    }
}

void cmd_xrange(struct call *c) { range(c, false); }

void cmd_xrevrange(struct call *c) { range(c, true); }

/* ---- XDEL, XSETID ---- */

void cmd_xdel(struct call *c)
{
    struct slice key = c->argv[1];
    struct stream_id id;
    struct entry *e = ks_edit(&c->ks, key);
    if (!stream_type_ok(c, e)) return;
    if (!e) {
        reply_int(&c->reply, 0);
        return;
    }
    for (int i = 2; i < c->argc; i++) {
        if (!stream_arg_id(c, i, &id)) return;
    }
    struct stream *s = stream_of(e);
    uint64_t deleted = 0;
    for (int i = 2; i < c->argc; i++) {
        (void)stream_id_parse(c->argv[i], 0, false, &id, NULL);
        if (stream_delete(s, id) != 1) continue;
        stream_deleted(s, id);
        deleted++;
    }
    if (deleted) {
        stream_settle(s);
        call_changed(c, key, EVENT_STREAM, "xdel");
        c->dirty += deleted;
        effect_verbatim(c);
        stream_done(c, key, s);
    }
    reply_int(&c->reply, (int64_t)deleted);
}

struct setid_args {
    struct stream_id id, max_deleted;
    int64_t added; /* -1: not given */
};

static bool setid_parse(struct call *c, struct setid_args *a)
{
    *a = (struct setid_args){.added = -1};
    if (!stream_arg_id(c, 2, &a->id)) return false;
    for (int i = 3; i < c->argc; i += 2) {
        enum error_id wrong;
        bool more = i < c->argc - 1;
        if (more && call_is(c, i, "ENTRIESADDED")) {
            if (!call_int(c, i + 1, &a->added)) return false;
            if (a->added >= 0) continue;
            wrong = ERR_XSETID_ADDED;
        } else if (more && call_is(c, i, "MAXDELETEDID")) {
            if (!stream_arg_id(c, i + 1, &a->max_deleted)) return false;
            if (stream_id_compare(a->id, a->max_deleted) >= 0) continue;
            wrong = ERR_XSETID_DELETED_GIVEN;
        } else {
            wrong = ERR_SYNTAX;
        }
        reply_error(&c->reply, wrong);
        return false;
    }
    return true;
}

void cmd_xsetid(struct call *c)
{
    struct slice key = c->argv[1];
    struct setid_args a;
    struct stream_id last;
    if (!setid_parse(c, &a)) return;
    struct entry *e = ks_edit(&c->ks, key);
    if (!e) {
        reply_error(&c->reply, ERR_NO_SUCH_KEY);
        return;
    }
    if (!stream_type_ok(c, e)) return;
    struct stream *s = stream_of(e);
    if (stream_id_compare(a.id, s->max_deleted_id) < 0) {
        reply_error(&c->reply, ERR_XSETID_DELETED);
    } else if (stream_edge(s, false, &last) && stream_id_compare(a.id, last) < 0) {
        reply_error(&c->reply, ERR_XSETID_TOP);
    } else if (a.added >= 0 && stream_len(s) > (uint64_t)a.added) {
        reply_error(&c->reply, ERR_XSETID_ADDED_LEN);
    } else {
        s->last_id = a.id;
        if (a.added >= 0) s->entries_added = (uint64_t)a.added;
        if (!stream_id_is_zero(a.max_deleted)) s->max_deleted_id = a.max_deleted;
        c->dirty++;
        effect_verbatim(c);
        ks_notify(&c->ks, EVENT_STREAM, "xsetid", key);
        reply_ok(&c->reply);
    }
}
