/* XCLAIM and XAUTOCLAIM: pending entries that go to another consumer.
 *
 * Both say what happened to each entry as an XCLAIM with the time, the count and the last id
 * (XCLAIM itself runs again on a replica only in that form, whose FORCE makes it independent of
 * what the replica has pending). An entry that is no longer in the stream is dropped from the
 * group; its XCLAIM does the same where it is replayed.
 * Thread: holder of the call's shards. */
#include "cmd/stream_impl.h"
#include "splitring/base/num.h"

struct claim {
    struct call *c;
    struct slice key, group;
    struct stream *s;
    struct stream_group *g;
    struct stream_consumer *consumer;
    instant_ms delivered;
    int64_t min_idle, retries; /* retries -1: not given */
    bool force, justid, failed;
    size_t count;              /* entries in the reply */
};

/* The group of argv[1], argv[2]; `seen`: what ks_read() has found. False: the error is written. */
static bool find_group(struct call *c, struct claim *k, const struct entry *seen)
{
    k->c = c;
    k->key = c->argv[1];
    k->group = c->argv[2];
    if (!stream_type_ok(c, seen)) return false;
    struct entry *e = ks_edit(&c->ks, k->key);
    k->s = e ? stream_of(e) : NULL;
    k->g = e ? stream_group_find(k->s, k->group) : NULL;
    if (k->g) return true;
    reply_errorf(&c->reply, ERR_STREAM_NOGROUP, (int)k->key.len, k->key.ptr, (int)k->group.len,
                 k->group.ptr);
    return false;
}

static bool parse_idle(struct call *c, struct claim *k, const char *command)
{
    if (!num_parse_i64(c->argv[4], &k->min_idle)) {
        reply_errorf(&c->reply, ERR_CLAIM_IDLE, command);
        return false;
    }
    if (k->min_idle < 0) k->min_idle = 0;
    return true;
}

static bool find_consumer(struct call *c, struct claim *k)
{
    k->consumer = stream_consumer_get(c, k->key, k->s, k->g, k->group, c->argv[3]);
    if (k->consumer) stream_consumer_saw(k->s, k->g, k->consumer, c->ks.now);
    else reply_error(&c->reply, ERR_NO_MEMORY);
    return k->consumer != NULL;
}

/* What is pending but no longer in the stream goes. False: nothing was pending. */
static bool drop_gone(struct claim *k, struct stream_id id)
{
    const struct stream_nack *nack = stream_nack_find(k->g, id);
    if (!nack) return false;
    struct stream_nack was = *nack;
    if (stream_nack_remove(k->s, k->g, id) != 1) {
        k->failed = true;
        return false;
    }
    stream_effect_claim(k->c, k->key, k->group, k->g, &was);
    k->c->dirty++;
    return true;
}

/* The entry, which is in the stream, becomes the consumer's. */
static void take(struct claim *k, const struct stream_nack *nack)
{
    struct stream_nack mine = *nack;
    mine.consumer = k->consumer;
    mine.delivered = k->delivered;
    if (k->retries >= 0) mine.deliveries = (uint64_t)k->retries;
    else if (!k->justid) mine.deliveries++;
    if (stream_nack_put(k->s, k->g, &mine)) {
        k->failed = true;
        return;
    }
    if (k->justid) stream_reply_id(k->c, mine.id);
    else (void)stream_reply_one(k->c, k->s, mine.id);
    k->count++;
    stream_consumer_got(k->s, k->g, k->consumer, k->c->ks.now);
    stream_effect_claim(k->c, k->key, k->group, k->g, &mine);
    k->c->dirty++;
}

/* ---- XCLAIM ---- */

static bool claim_int(struct call *c, int i, int64_t *out, enum error_id wrong)
{
    if (num_parse_i64(c->argv[i], out)) return true;
    reply_error(&c->reply, wrong);
    return false;
}

/* Options from argument i on. *last: LASTID, or 0-0. */
static bool claim_options(struct call *c, int i, struct claim *k, struct stream_id *last)
{
    instant_ms now = c->ks.now;
    bool timed = false;
    *last = STREAM_ID_MIN;
    for (; i < c->argc; i++) {
        bool more = i < c->argc - 1, ok = true;
        if (call_is(c, i, "FORCE")) {
            k->force = true;
        } else if (call_is(c, i, "JUSTID")) {
            k->justid = true;
        } else if (more && call_is(c, i, "IDLE")) {
            ok = claim_int(c, ++i, &k->delivered, ERR_XCLAIM_IDLE_OPTION);
            if (__builtin_sub_overflow(now, k->delivered, &k->delivered)) k->delivered = now;
            timed = true;
        } else if (more && call_is(c, i, "TIME")) {
            ok = claim_int(c, ++i, &k->delivered, ERR_XCLAIM_TIME_OPTION);
            timed = true;
        } else if (more && call_is(c, i, "RETRYCOUNT")) {
            ok = claim_int(c, ++i, &k->retries, ERR_XCLAIM_RETRY_OPTION);
        } else if (more && call_is(c, i, "LASTID")) {
            ok = stream_arg_id(c, ++i, last);
        } else {
            reply_errorf(&c->reply, ERR_XCLAIM_UNKNOWN, (int)c->argv[i].len, c->argv[i].ptr);
            ok = false;
        }
        if (!ok) return false;
    }
    /* Clients work times out by themselves: one that cannot be is taken as now, not as an error. */
    if (!timed || k->delivered < 0 || k->delivered > now) k->delivered = now;
    return true;
}

static void claim_one(struct claim *k, struct stream_id id)
{
    struct stream_nack fresh = {.id = id, .deliveries = 1};
    if (!stream_exists(k->s, id)) {
        (void)drop_gone(k, id);
        return;
    }
    const struct stream_nack *nack = stream_nack_find(k->g, id);
    if (!nack && k->force) nack = &fresh;
    else if (!nack || (k->min_idle && k->c->ks.now - nack->delivered < k->min_idle)) return;
    take(k, nack);
}

void cmd_xclaim(struct call *c)
{
    struct claim k = {.retries = -1};
    struct stream_id id, last;
    if (!find_group(c, &k, ks_read(&c->ks, c->argv[1])) || !parse_idle(c, &k, "XCLAIM")) return;
    int ids_end = 5;
    while (ids_end < c->argc && stream_id_parse(c->argv[ids_end], 0, false, &id, NULL)) ids_end++;
    if (!claim_options(c, ids_end, &k, &last)) return;
    bool moved = stream_id_compare(last, k.g->last_id) > 0;
    if (moved) stream_group_set(k.s, k.g, last, k.g->entries_read);
    if (!find_consumer(c, &k)) return;
    size_t begin = c->reply.out->len, mark = reply_deferred_begin(&c->reply);
    for (int i = 5; i < ids_end && !k.failed; i++) {
        (void)stream_id_parse(c->argv[i], 0, false, &id, NULL);
        claim_one(&k, id);
    }
    if (moved && k.count == 0) {
        stream_effect_setid(c, k.key, k.group, k.g);
        c->dirty++;
    }
    stream_done(c, k.key, k.s);
    if (!k.failed) {
        reply_deferred_array(&c->reply, mark, k.count);
        return;
    }
    c->reply.out->len = begin;
    reply_error(&c->reply, ERR_NO_MEMORY);
}

/* ---- XAUTOCLAIM ---- */

#define ATTEMPTS_PER_COUNT 10
#define COUNT_MAX (INT64_MAX / 16) /* as Redis */

struct sweep {
    struct stream_id start;
    int64_t count;
    struct buf deleted; /* ids that are no longer in the stream */
};

static bool parse_sweep(struct call *c, struct claim *k, struct sweep *w)
{
    *w = (struct sweep){.count = 100};
    if (!parse_idle(c, k, "XAUTOCLAIM") || !stream_arg_start(c, 5, &w->start)) return false;
    for (int i = 6; i < c->argc; i++) {
        if (call_is(c, i, "COUNT") && i < c->argc - 1) {
            if (!call_int_range(c, ++i, 1, COUNT_MAX, &w->count, ERR_XAUTOCLAIM_COUNT))
                return false;
        } else if (call_is(c, i, "JUSTID")) {
            k->justid = true;
        } else {
            reply_error(&c->reply, ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

/* The first pending entry at or behind the id; NULL: none. */
static const struct stream_nack *pending_from(const struct claim *k, struct stream_id id)
{
    struct stream_pending p;
    stream_pending_seek(&p, k->g, NULL, id);
    return stream_pending_next(&p);
}

/* Writes claimed entries; the id to go on from, 0-0 at the end. */
static struct stream_id sweep_run(struct claim *k, struct sweep *w)
{
    struct stream_id at = w->start;
    const struct stream_nack *nack = pending_from(k, at);
    int64_t attempts = w->count > INT64_MAX / ATTEMPTS_PER_COUNT ? INT64_MAX
                                                                 : w->count * ATTEMPTS_PER_COUNT;
    while (nack && attempts-- > 0 && w->count > 0 && !k->failed) {
        at = nack->id;
        if (!stream_exists(k->s, at)) {
            if (drop_gone(k, at)) buf_append(&w->deleted, &at, sizeof(at));
            w->count--;
        } else if (!k->min_idle || k->c->ks.now - nack->delivered >= k->min_idle) {
            take(k, nack);
            w->count--;
        }
        nack = stream_id_next(&at) ? pending_from(k, at) : NULL;
    }
    return nack ? nack->id : STREAM_ID_MIN;
}

void cmd_xautoclaim(struct call *c)
{
    struct claim k = {.retries = -1, .delivered = c->ks.now};
    struct sweep w;
    char next_text[STREAM_ID_TEXT_MAX], header[128];
    /* The key is looked for (and missed) even where the arguments are wrong. */
    const struct entry *seen = ks_read(&c->ks, c->argv[1]);
    if (!parse_sweep(c, &k, &w) || !find_group(c, &k, seen) || !find_consumer(c, &k)) return;
    struct reply *r = &c->reply;
    size_t begin = r->out->len;
    reply_array(r, 3);
    size_t at = r->out->len, mark = reply_deferred_begin(r);
    struct stream_id next = sweep_run(&k, &w);
    reply_deferred_array(r, mark, k.count);
    struct slice text = stream_id_text(next_text, next);
    struct buf head = {.ptr = header, .cap = sizeof(header)};
    struct reply front = {.out = &head, .proto = r->proto};
    reply_bulk_slice(&front, text);
    buf_insert(r->out, at, header, head.len);
    reply_array(r, w.deleted.len / sizeof(struct stream_id));
    for (size_t i = 0; i < w.deleted.len; i += sizeof(struct stream_id)) {
        struct stream_id id;
        memcpy(&id, w.deleted.ptr + i, sizeof(id));
        stream_reply_id(c, id);
    }
    k.failed |= w.deleted.failed;
    buf_deinit(&w.deleted);
    stream_done(c, k.key, k.s);
    if (!k.failed) return;
    r->out->len = begin;
    reply_error(r, ERR_NO_MEMORY);
}
