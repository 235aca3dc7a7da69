/* XREAD and XREADGROUP: from several streams, with or without waiting.
 *
 * Both first look at every stream (ids, groups, types), so that an error leaves nothing done, then
 * serve those that have something. If none has, the client waits: "$" is replaced by the last id of
 * now, so that the next run sees what came since. The next run is this very handler: a group that
 * is gone by then, or a key of another type, is an error of that run, as in Redis 7.2.
 *
 * With CLAIM, entries that were pending for too long come first, the oldest delivery before all;
 * every entry then tells how long it was pending, and how often it had been delivered. What is
 * pending but no longer in the stream is dropped on the way, as XCLAIM drops it. Who waits is run
 * again when the next entry has been pending for long enough.
 *
 * Reading for a group is a write. Its effects are XCLAIM … JUSTID for every entry that is now
 * pending (new ones that share time and count go out together), then XGROUP SETID with the number
 * of entries read. Redis does not say that re-reading one's history counts as a delivery; here it
 * is said, or replicas would disagree.
 * Thread: holder of the call's shards. */
#include "cmd/stream_impl.h"
#include "splitring/base/check.h"
#include "splitring/base/num.h"

#define CLAIM_IDS 64 /* in one effect */
/* Entries that become pending with a delivery in the past (XCLAIM … IDLE) tell no waiter of it; so
 * late at most does a small min-idle-time find them. */
#define LOOK_AGAIN_MS 100

struct read_args {
    int64_t count;      /* 0: all */
    int64_t timeout_ms; /* -1: does not wait */
    int streams_at, streams;
    int group_at;       /* the group's name, then the consumer's; 0: XREAD */
    bool group, noack;
    int64_t min_idle;   /* CLAIM; -1: without */
};

static struct slice key_of(const struct call *c, const struct read_args *a, int i)
{
    return c->argv[a->streams_at + i];
}
static int id_arg(const struct read_args *a, int i) { return a->streams_at + a->streams + i; }

static bool is_char(struct slice s, char c) { return s.len == 1 && s.ptr[0] == c; }

/* ---- arguments ---- */

static bool parse_block(struct call *c, int i, int64_t *timeout_ms)
{
    if (c->in_script) {
        reply_errorf(&c->reply, ERR_BLOCK_IN_SCRIPT, (int)c->argv[0].len, c->argv[0].ptr);
        return false;
    }
    enum error_id wrong = ERR_TIMEOUT_NOT_INT;
    if (num_parse_i64(c->argv[i], timeout_ms)) {
        if (*timeout_ms >= 0 && *timeout_ms <= INT64_MAX - c->ks.now) return true;
        wrong = *timeout_ms < 0 ? ERR_TIMEOUT_NEGATIVE : ERR_TIMEOUT_RANGE;
    }
    reply_error(&c->reply, wrong);
    return false;
}

static bool parse_claim(struct call *c, int i, struct read_args *a)
{
    enum error_id wrong = ERR_XREADGROUP_CLAIM_INT;
    if (!a->group) {
        wrong = ERR_XREAD_CLAIM_OPTION;
    } else if (num_parse_i64(c->argv[i], &a->min_idle)) {
        if (a->min_idle >= 0) return true;
        wrong = ERR_XREADGROUP_CLAIM_NEGATIVE;
    }
    reply_error(&c->reply, wrong);
    return false;
}

/* The option at *i, which then stands at its last argument. 1: STREAMS was it; 0: another; -1: the
 * error is written. */
static int parse_option(struct call *c, int *i, struct read_args *a)
{
    int more = c->argc - *i - 1;
    enum error_id wrong = ERR_SYNTAX;
    if (more >= 1 && call_is(c, *i, "BLOCK")) {
        return parse_block(c, ++*i, &a->timeout_ms) ? 0 : -1;
    } else if (more >= 1 && call_is(c, *i, "CLAIM")) {
        return parse_claim(c, ++*i, a) ? 0 : -1;
    } else if (more >= 1 && call_is(c, *i, "COUNT")) {
        if (!call_int(c, ++*i, &a->count)) return -1;
        if (a->count < 0) a->count = 0;
        return 0;
    } else if (more >= 1 && call_is(c, *i, "STREAMS")) {
        a->streams_at = *i + 1;
        a->streams = more / 2;
        if (more % 2 == 0) return 1;
        reply_errorf(&c->reply, ERR_XREAD_UNBALANCED, c->cmd->name, a->group ? '>' : '$');
        return -1;
    } else if (more >= 2 && call_is(c, *i, "GROUP")) {
        a->group_at = *i + 1;
        *i += 2;
        if (a->group) return 0;
        wrong = ERR_XREAD_GROUP_OPTION;
    } else if (call_is(c, *i, "NOACK")) {
        a->noack = true;
        if (a->group) return 0;
        wrong = ERR_XREAD_NOACK_OPTION;
    }
    reply_error(&c->reply, wrong);
    return -1;
}

static bool parse(struct call *c, struct read_args *a, bool group)
{
    *a = (struct read_args){.timeout_ms = -1, .group = group, .min_idle = -1};
    for (int i = 1; i < c->argc && !a->streams_at; i++) {
        if (parse_option(c, &i, a) < 0) return false;
    }
    if (!a->streams_at) reply_error(&c->reply, ERR_SYNTAX);
    else if (group && !a->group_at) reply_error(&c->reply, ERR_XREADGROUP_NO_GROUP);
    else return true;
    return false;
}

/* ---- looking ---- */

static bool no_group(struct call *c, const struct read_args *a, int i)
{
    struct slice key = key_of(c, a, i), group = c->argv[a->group_at];
    reply_errorf(&c->reply, ERR_XREADGROUP_NOGROUP, (int)key.len, key.ptr, (int)group.len,
                 group.ptr);
    return false;
}

/* From which id on (exclusive) a stream is read; "$" and "+" by what it holds. */
static struct stream_id read_from(const struct call *c, const struct read_args *a, int i,
                                  const struct stream *s)
{
    struct stream_id id = STREAM_ID_MIN;
    struct slice arg = c->argv[id_arg(a, i)];
    if (is_char(arg, '$')) return s ? s->last_id : id;
    if (is_char(arg, '+')) {
        if (s && stream_edge(s, false, &id)) (void)stream_id_prev(&id);
        else if (s) id = s->last_id;
        return id;
    }
    (void)stream_id_parse(arg, 0, false, &id, NULL);
    return id;
}

/* Type, group and id of the i-th stream. False: the error is written. */
static bool look_at(struct call *c, const struct read_args *a, int i)
{
    struct stream_id id;
    struct slice arg = c->argv[id_arg(a, i)];
    const struct entry *e = ks_read(&c->ks, key_of(c, a, i));
    if (!stream_type_ok(c, e)) return false;
    if (a->group && (!e || !stream_group_find(stream_of(e), c->argv[a->group_at])))
        return no_group(c, a, i);
    if (is_char(arg, '$') || is_char(arg, '+')) {
        if (a->group)
            reply_errorf(&c->reply, ERR_XREADGROUP_LAST_ID, arg.ptr[0], arg.ptr[0]);
        return !a->group;
    }
    if (is_char(arg, '>')) {
        if (!a->group) reply_error(&c->reply, ERR_XREAD_NEW_ID);
        return a->group;
    }
    return stream_arg_id(c, id_arg(a, i), &id);
}

/* ---- the reply: streams that have something ---- */

struct reading {
    struct read_args args;
    instant_ms next; /* when the first of the entries that CLAIM left alone was delivered */
    size_t mark;   /* of the deferred header, once there is a stream */
    size_t served;
};

static void begin_stream(struct call *c, struct reading *r, struct slice key)
{
    bool resp2 = c->reply.proto == 2, alone = r->args.streams == 1;
    if (alone && resp2) reply_array(&c->reply, 1);
    else if (alone) reply_map(&c->reply, 1);
    else if (r->served == 0) r->mark = reply_deferred_begin(&c->reply);
    r->served++;
    if (resp2) reply_array(&c->reply, 2);
    reply_bulk_slice(&c->reply, key);
}

static void serve(struct call *c, struct reading *r, int i)
{
    struct slice key = key_of(c, &r->args, i);
    const struct entry *e = ks_find(&c->ks, key);
    if (!e) return;
    const struct stream *s = stream_of(e);
    struct stream_id last, id = read_from(c, &r->args, i, s);
    if (!stream_edge(s, false, &last) || stream_id_compare(last, id) <= 0) return;
    begin_stream(c, r, key);
    (void)stream_id_next(&id);
    size_t mark = reply_deferred_begin(&c->reply);
    size_t done =
        stream_reply_entries(c, s, id, STREAM_ID_MAX, (uint64_t)r->args.count, false);
    reply_deferred_array(&c->reply, mark, done);
}

/* ---- for a group ---- */

struct delivery {
    struct call *c;
    struct slice key, group;
    struct stream *s;
    struct stream_group *g;
    struct stream_consumer *consumer;
    char texts[CLAIM_IDS][STREAM_ID_TEXT_MAX]; /* new entries, whose effect is not yet stated */
    struct slice ids[CLAIM_IDS];
    int held;
    struct buf old; /* ids that CLAIM takes over */
    bool failed;
};

static void flush_claims(struct delivery *d)
{
    if (d->held == 0) return;
    struct slice argv[CLAIM_IDS + 16];
    char time[NUM_I64_LEN_MAX + 1], last[STREAM_ID_TEXT_MAX];
    int n = 0;
    argv[n++] = SLICE("XCLAIM");
    argv[n++] = d->key;
    argv[n++] = d->group;
    argv[n++] = stream_consumer_name(d->consumer);
    argv[n++] = SLICE("0");
    for (int i = 0; i < d->held; i++) argv[n++] = d->ids[i];
    argv[n++] = SLICE("TIME");
    argv[n++] = effect_int(time, d->c->ks.now);
    argv[n++] = SLICE("RETRYCOUNT");
    argv[n++] = SLICE("1");
    argv[n++] = SLICE("FORCE");
    argv[n++] = SLICE("JUSTID");
    argv[n++] = SLICE("LASTID");
    argv[n++] = stream_id_text(last, d->g->last_id);
    effect_args(d->c, n, argv);
    d->held = 0;
}

/* The entry is the consumer's now, whoever had it. */
static bool deliver(struct delivery *d, struct stream_id id)
{
    struct stream_nack nack = {.id = id, .delivered = d->c->ks.now, .deliveries = 1,
                               .consumer = d->consumer};
    if (stream_nack_put(d->s, d->g, &nack)) return false;
    stream_consumer_got(d->s, d->g, d->consumer, d->c->ks.now);
    d->c->dirty++;
    if (!d->c->effects) return true;
    d->ids[d->held] = stream_id_text(d->texts[d->held], id);
    if (++d->held == CLAIM_IDS) flush_claims(d);
    return true;
}

static void reply_delivery(struct call *c, struct stream_iter *it, bool claims, int64_t idle,
                           uint64_t deliveries)
{
    reply_array(&c->reply, claims ? 4 : 2);
    stream_reply_body(c, it);
    if (!claims) return;
    reply_int(&c->reply, idle < 0 ? 0 : idle);
    reply_int(&c->reply, (int64_t)deliveries);
}

/* `done` entries are in the reply already; how many there are then. */
static size_t serve_new(struct delivery *d, const struct read_args *a, size_t done)
{
    struct stream_iter it;
    struct stream_id from = d->g->last_id;
    bool advanced = false;
    if (!stream_id_next(&from)) return done;
    stream_iter_init(&it, d->s, from, STREAM_ID_MAX, false);
    while ((a->count == 0 || done < (size_t)a->count) && stream_iter_next(&it)) {
        if (!a->noack && !deliver(d, it.id)) {
            d->failed = true;
            break;
        }
        stream_group_advance(d->s, d->g, it.id);
        reply_delivery(d->c, &it, a->min_idle >= 0, 0, 0);
        advanced = true;
        done++;
    }
    flush_claims(d);
    if (advanced) {
        stream_effect_setid(d->c, d->key, d->group, d->g);
        d->c->dirty++;
    }
    return done;
}

/* ---- CLAIM ---- */

static struct stream_id id_at(const struct buf *ids, size_t at)
{
    struct stream_id id;
    memcpy(&id, ids->ptr + at, sizeof(id));
    return id;
}

/* What has been pending for long enough: in d->old. Whatever of it has left the stream is dropped.
 * False: no memory. */
static bool look_for_old(struct delivery *d, const struct read_args *a, instant_ms *next)
{
    instant_ms until, first;
    struct buf gone = {0};
    if (__builtin_sub_overflow(d->c->ks.now, a->min_idle, &until)) until = INT64_MIN;
    bool ok = stream_oldest(d->s, d->g, until, (uint64_t)a->count, &d->old, &gone, &first) == 0;
    for (size_t at = 0; ok && at < gone.len; at += sizeof(struct stream_id)) {
        struct stream_nack was = *stream_nack_find(d->g, id_at(&gone, at));
        ok = stream_nack_remove(d->s, d->g, was.id) == 1;
        if (!ok) break;
        stream_effect_claim(d->c, d->key, d->group, d->g, &was);
        d->c->dirty++;
    }
    buf_deinit(&gone);
    if (first < *next) *next = first;
    return ok;
}

/* They are the consumer's now, and come first in the reply. */
static size_t serve_old(struct delivery *d)
{
    size_t done = 0;
    for (size_t at = 0; at < d->old.len; at += sizeof(struct stream_id)) {
        struct stream_iter it;
        struct stream_id id = id_at(&d->old, at);
        struct stream_nack nack = *stream_nack_find(d->g, id);
        int64_t idle = d->c->ks.now - nack.delivered;
        nack.consumer = d->consumer;
        nack.delivered = d->c->ks.now;
        nack.deliveries++;
        if (stream_nack_put(d->s, d->g, &nack)) {
            d->failed = true;
            break;
        }
        stream_consumer_got(d->s, d->g, d->consumer, d->c->ks.now);
        stream_effect_claim(d->c, d->key, d->group, d->g, &nack);
        d->c->dirty++;
        stream_iter_init(&it, d->s, id, id, false);
        bool there = stream_iter_next(&it);
        check(there);
        reply_delivery(d->c, &it, true, idle, nack.deliveries - 1);
        done++;
    }
    return done;
}

/* What is pending for the consumer, from the id on; entries that are gone show as null. */
static size_t serve_history(struct delivery *d, const struct read_args *a, struct stream_id from)
{
    struct stream_pending p;
    const struct stream_id *at;
    size_t done = 0;
    if (!stream_id_next(&from)) from = STREAM_ID_MIN;
    stream_pending_seek(&p, d->g, d->consumer, from);
    while ((a->count == 0 || done < (size_t)a->count) && (at = stream_pending_next(&p))) {
        struct stream_id id = *at;
        done++;
        if (!stream_reply_one(d->c, d->s, id)) {
            reply_array(&d->c->reply, 2);
            stream_reply_id(d->c, id);
            reply_null_array(&d->c->reply);
            continue;
        }
        struct stream_nack nack = *stream_nack_find(d->g, id);
        nack.delivered = d->c->ks.now;
        nack.deliveries++;
        if (stream_nack_put(d->s, d->g, &nack)) continue; /* it stays as it was */
        stream_effect_claim(d->c, d->key, d->group, d->g, &nack);
        d->c->dirty++;
    }
    return done;
}

/* False: memory is out. */
static bool serve_group(struct call *c, struct reading *r, int i)
{
    const struct read_args *a = &r->args;
    struct delivery d = {.c = c, .key = key_of(c, a, i), .group = c->argv[a->group_at]};
    struct entry *e = ks_edit(&c->ks, d.key);
    if (!e) return true;
    struct stream_id last, from = read_from(c, a, i, NULL);
    d.s = stream_of(e);
    d.g = stream_group_find(d.s, d.group);
    d.consumer = stream_consumer_get(c, d.key, d.s, d.g, d.group, c->argv[a->group_at + 1]);
    if (!d.consumer) return false;
    stream_consumer_saw(d.s, d.g, d.consumer, c->ks.now);
    /* The greatest id, however it is written, reads new entries: it stands for ">" in Redis too. */
    bool history = !is_char(c->argv[id_arg(a, i)], '>') &&
                   stream_id_compare(from, STREAM_ID_MAX) != 0;
    if (!history && a->min_idle >= 0) d.failed = !look_for_old(&d, a, &r->next);
    bool fresh = stream_edge(d.s, false, &last) && stream_id_compare(last, d.g->last_id) > 0;
    if (!d.failed && (history || fresh || d.old.len)) {
        begin_stream(c, r, d.key);
        size_t mark = reply_deferred_begin(&c->reply);
        size_t done = history ? serve_history(&d, a, from) : serve_old(&d);
        if (!history && !d.failed) done = serve_new(&d, a, done);
        reply_deferred_array(&c->reply, mark, done);
    }
    buf_deinit(&d.old);
    stream_done(c, d.key, d.s);
    return !d.failed;
}

/* ---- the commands ---- */

/* Nothing is there: wait, or say so. */
static void wait_or_nothing(struct call *c, const struct reading *r)
{
    const struct read_args *a = &r->args;
    if (a->timeout_ms < 0 || !call_block(c, a->timeout_ms)) {
        reply_null_array(&c->reply);
        return;
    }
    if (a->min_idle >= 0) {
        int64_t wait = a->min_idle > LOOK_AGAIN_MS ? a->min_idle : LOOK_AGAIN_MS;
        instant_ms at = r->next, again;
        if (__builtin_add_overflow(at, a->min_idle, &at)) at = EXPIRE_NONE;
        if (__builtin_add_overflow(c->ks.now, wait, &again)) again = EXPIRE_NONE;
        call_block_until(c, at < again ? at : again);
    }
    char text[STREAM_ID_TEXT_MAX];
    for (int i = 0; i < a->streams; i++) {
        int at = id_arg(a, i);
        if (!is_char(c->argv[at], '$')) continue;
        const struct entry *e = ks_find(&c->ks, key_of(c, a, i));
        struct stream_id last = e ? stream_of(e)->last_id : STREAM_ID_MIN;
        call_block_arg(c, at, stream_id_text(text, last));
    }
}

static void read_streams(struct call *c, bool group)
{
    struct reading r = {.served = 0, .next = EXPIRE_NONE};
    size_t begin = c->reply.out->len;
    if (!parse(c, &r.args, group)) return;
    for (int i = 0; i < r.args.streams; i++) {
        if (!look_at(c, &r.args, i)) return;
    }
    for (int i = 0; i < r.args.streams; i++) {
        if (!group) {
            serve(c, &r, i);
        } else if (!serve_group(c, &r, i)) {
            /* What was delivered so far is pending all the same. */
            c->reply.out->len = begin;
            reply_error(&c->reply, ERR_NO_MEMORY);
            return;
        }
    }
    if (r.served == 0) wait_or_nothing(c, &r);
    else if (r.args.streams == 1) return;
    else if (c->reply.proto == 2) reply_deferred_array(&c->reply, r.mark, r.served);
    else reply_deferred_map(&c->reply, r.mark, r.served);
}

void cmd_xread(struct call *c) { read_streams(c, false); }

void cmd_xreadgroup(struct call *c) { read_streams(c, true); }
