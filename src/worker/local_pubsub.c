/* PUBLISH and SPUBLISH run like commands on a key, at the shard of the channel: its holder knows
 * how many will receive the message and where they are, and answers at once. (UN)SUBSCRIBE belong
 * to the connection and wait for the shards (pubsub.c). PUBSUB asks all workers for what their
 * shards know.
 * Source: https://redis.io/docs/latest/commands/?group=pubsub
 * Thread: PUBLISH: holder of the shard; parts: each worker; the rest: the connection's worker. */
#include "conn.h"
#include "fanout.h"
#include "pubsub.h"
#include "splitring/base/mem.h"
#include "splitring/cmd/handlers.h"

/* ---- PUBLISH ---- */

static void publish(struct call *c, enum topic_kind kind)
{
    struct worker *w = c->worker;
    struct slice channel = c->argv[1];
    uint64_t hash = hash_key(channel, w->hub->seed);
    shard_id shard = hub_shard_of(w->hub, channel);
    uint32_t mask;
    uint64_t count = topics_receivers(w->hub->topics[shard], kind, channel, hash, &mask);
    enum push_kind push = kind == TOPIC_SHARD ? PUSH_SHARD_MESSAGE : PUSH_MESSAGE;
    if (count && !push_message(w, push, shard, mask, channel, hash, c->argv[2]))
        reply_error(&c->reply, ERR_NO_MEMORY);
    else
        reply_int(&c->reply, (int64_t)count);
}

void cmd_publish(struct call *c) { publish(c, TOPIC_CHANNEL); }

void cmd_spublish(struct call *c) { publish(c, TOPIC_SHARD); }

/* ---- SUBSCRIBE ---- */

void cmd_subscribe(struct call *c) { pubsub_subscribe(c, TOPIC_CHANNEL); }

void cmd_psubscribe(struct call *c) { pubsub_subscribe(c, TOPIC_PATTERN); }

void cmd_ssubscribe(struct call *c) { pubsub_subscribe(c, TOPIC_SHARD); }

void cmd_unsubscribe(struct call *c) { pubsub_unsubscribe(c, TOPIC_CHANNEL); }

void cmd_punsubscribe(struct call *c) { pubsub_unsubscribe(c, TOPIC_PATTERN); }

void cmd_sunsubscribe(struct call *c) { pubsub_unsubscribe(c, TOPIC_SHARD); }

/* ---- PUBSUB ---- */

struct question {
    enum topic_kind kind;
    struct buf bytes;     /* the names asked for, or the pattern */
    struct slice *names;
    size_t count;
    bool any;             /* CHANNELS without a pattern */
    uint64_t *subscribers; /* by name; each is answered by one worker */
};

static void question_free(void *arg)
{
    struct question *q = arg;
    buf_deinit(&q->bytes);
    mem_free(q->names);
    mem_free(q->subscribers);
    mem_free(q);
}

/* Arguments from 2 on. NULL: no memory, the error is written. */
static struct question *question_new(struct call *c, enum topic_kind kind)
{
    struct question *q = mem_zalloc(sizeof *q);
    size_t len = 0;
    q->kind = kind;
    q->count = (size_t)c->argc - 2;
    q->any = q->count == 0;
    for (int i = 2; i < c->argc; i++) len += c->argv[i].len;
    q->names = mem_try_alloc((q->count + 1) * sizeof *q->names);
    q->subscribers = mem_try_zalloc((q->count + 1) * sizeof *q->subscribers);
    if (!q->names || !q->subscribers || !buf_reserve(&q->bytes, len + 1)) {
        question_free(q);
        reply_error(&c->reply, ERR_NO_MEMORY);
        return NULL;
    }
    for (size_t i = 0; i < q->count; i++) {
        q->names[i] = slice_of(q->bytes.ptr + q->bytes.len, c->argv[i + 2].len);
        buf_append_slice(&q->bytes, c->argv[i + 2]);
    }
    return q;
}

static void ask(struct call *c, struct question *q, void (*part)(struct worker *, struct fanout *),
                void (*done)(struct worker *, struct fanout *, struct conn *, struct reply *))
{
    struct fanout *f = fanout_new(c->conn->worker, c->conn, part, done, q);
    f->free_arg = question_free;
    fanout_start(f, false);
}

struct listing {
    const struct question *q;
    struct reply reply;
    int64_t count;
};

static void list_name(void *ctx, struct slice name)
{
    struct listing *l = ctx;
    if (!l->q->any && !slice_glob(l->q->names[0], name, false)) return;
    reply_bulk_slice(&l->reply, name);
    l->count++;
}

static void channels_part(struct worker *w, struct fanout *f)
{
    struct listing l = {.q = f->arg, .reply = {.out = &f->out[w->id], .proto = f->proto}};
    worker_hold(w, w->id);
    topics_each(w->hub->topics[w->id], l.q->kind, list_name, &l);
    f->number[w->id] = l.count;
}

static void channels_done(struct worker *w, struct fanout *f, struct conn *c, struct reply *reply)
{
    int64_t count = 0;
    (void)c;
    if (!reply) return;
    for (unsigned i = 0; i < w->hub->count; i++) count += f->number[i];
    reply_array(reply, (size_t)count);
    for (unsigned i = 0; i < w->hub->count; i++) reply_raw(reply, f->out[i].ptr, f->out[i].len);
}

static void channels(struct call *c, enum topic_kind kind)
{
    if (c->argc > 3) {
        reply_errorf(&c->reply, ERR_SUBCOMMAND_SYNTAX, (int)c->argv[1].len, c->argv[1].ptr,
                     "PUBSUB");
        return;
    }
    struct question *q = question_new(c, kind);
    if (q) ask(c, q, channels_part, channels_done);
}

void cmd_pubsub_channels(struct call *c) { channels(c, TOPIC_CHANNEL); }

void cmd_pubsub_shardchannels(struct call *c) { channels(c, TOPIC_SHARD); }

static void numsub_part(struct worker *w, struct fanout *f)
{
    struct question *q = f->arg;
    worker_hold(w, w->id);
    for (size_t i = 0; i < q->count; i++)
        if (hub_shard_of(w->hub, q->names[i]) == w->id)
            q->subscribers[i] = topics_subscribers(w->hub->topics[w->id], q->kind, q->names[i],
                                                   hash_key(q->names[i], w->hub->seed));
}

static void numsub_done(struct worker *w, struct fanout *f, struct conn *c, struct reply *reply)
{
    const struct question *q = f->arg;
    (void)w;
    (void)c;
    if (!reply) return;
    reply_array(reply, q->count * 2);
    for (size_t i = 0; i < q->count; i++) {
        reply_bulk_slice(reply, q->names[i]);
        reply_int(reply, (int64_t)q->subscribers[i]);
    }
}

static void numsub(struct call *c, enum topic_kind kind)
{
    struct question *q = question_new(c, kind);
    if (q) ask(c, q, numsub_part, numsub_done);
}

void cmd_pubsub_numsub(struct call *c) { numsub(c, TOPIC_CHANNEL); }

void cmd_pubsub_shardnumsub(struct call *c) { numsub(c, TOPIC_SHARD); }

/* Every shard knows all patterns; each is counted where it is at home. */
static void numpat_part(struct worker *w, struct fanout *f)
{
    worker_hold(w, w->id);
    f->number[w->id] = (int64_t)topics_count(w->hub->topics[w->id], TOPIC_PATTERN);
}

static void numpat_done(struct worker *w, struct fanout *f, struct conn *c, struct reply *reply)
{
    int64_t count = 0;
    (void)c;
    for (unsigned i = 0; i < w->hub->count; i++) count += f->number[i];
    if (reply) reply_int(reply, count);
}

void cmd_pubsub_numpat(struct call *c)
{
    fanout_start(fanout_new(c->conn->worker, c->conn, numpat_part, numpat_done, NULL), false);
}

void cmd_pubsub_help(struct call *c)
{
    static const char *const lines[] = {
        "CHANNELS [<pattern>]",
        "    Return the currently active channels matching a <pattern> (default: '*').",
        "NUMPAT",
        "    Return number of subscriptions to patterns.",
        "NUMSUB [<channel> ...]",
        "    Return the number of subscribers for the specified channels, excluding",
        "    pattern subscriptions(default: no channels).",
        "SHARDCHANNELS [<pattern>]",
        "    Return the currently active shard level channels matching a <pattern> (default: "
        "'*').",
        "SHARDNUMSUB [<shardchannel> ...]",
        "    Return the number of subscribers for the specified shard level channel(s)",
        NULL};
    call_help(c, lines);
}
