/* Consumer groups: XGROUP, XACK, XPENDING.
 *
 * Groups and consumers are made and deleted without touching the key (WATCH does not see them), as
 * in Redis; only a stream that XGROUP CREATE makes is a change of the key.
 * Thread: holder of the call's shards. */
#include "cmd/stream_impl.h"

/* ---- XGROUP ---- */

static void reply_usage(struct call *c)
{
    struct slice sub = c->argv[1];
    reply_errorf(&c->reply, ERR_SUBCOMMAND_SYNTAX, (int)sub.len, sub.ptr, "XGROUP");
}

struct group_args {
    bool mkstream;
    int64_t entries_read;
};

/* MKSTREAM (CREATE only) and ENTRIESREAD. */
static bool parse_group(struct call *c, bool create, struct group_args *a)
{
    *a = (struct group_args){.entries_read = STREAM_ENTRIES_READ_UNKNOWN};
    for (int i = 5; i < c->argc; i++) {
        if (create && call_is(c, i, "MKSTREAM")) {
            a->mkstream = true;
        } else if (call_is(c, i, "ENTRIESREAD") && i < c->argc - 1) {
            if (!call_int(c, ++i, &a->entries_read)) return false;
            if (a->entries_read < STREAM_ENTRIES_READ_UNKNOWN) {
                reply_error(&c->reply, ERR_ENTRIESREAD_NEGATIVE);
                return false;
            }
        } else {
            reply_usage(c);
            return false;
        }
    }
    return true;
}

/* The key must hold a stream; where `group` is wanted, that too. NULL: the error is written. */
static struct stream *find_stream(struct call *c, struct stream_group **group)
{
    struct slice key = c->argv[2], name = c->argv[3];
    struct entry *e = ks_edit(&c->ks, key);
    if (!stream_type_ok(c, e)) return NULL;
    if (!e) {
        reply_error(&c->reply, ERR_XGROUP_NO_KEY);
        return NULL;
    }
    struct stream *s = stream_of(e);
    if (!group) return s;
    *group = stream_group_find(s, name);
    if (*group) return s;
    reply_errorf(&c->reply, ERR_STREAM_NOGROUP_KEY, (int)name.len, name.ptr, (int)key.len,
                 key.ptr);
    return NULL;
}

/* A stream (NULL: a new one) gets the group. */
static void create_group(struct call *c, struct stream *s, struct stream_id id,
                         int64_t entries_read)
{
    struct slice key = c->argv[2], name = c->argv[3];
    struct shard *shard = ks_shard_of(&c->ks, key);
    bool is_new = !s;
    if (is_new) s = stream_new(shard);
    if (!s || !stream_group_add(s, name, id, entries_read) ||
        (is_new && !ks_put_object(&c->ks, key, &s->object, EXPIRE_NONE))) {
        if (is_new && s) stream_free(shard, s);
        reply_error(&c->reply, ERR_NO_MEMORY);
        return;
    }
    stream_done(c, key, s);
    ks_notify(&c->ks, EVENT_STREAM, "xgroup-create", key);
    c->dirty++;
    effect_verbatim(c);
    reply_ok(&c->reply);
}

static bool is_dollar(struct slice s) { return s.len == 1 && s.ptr[0] == '$'; }

void cmd_xgroup_create(struct call *c)
{
    struct group_args a;
    struct stream_id id = STREAM_ID_MIN;
    struct stream *s = NULL;
    if (!parse_group(c, true, &a)) return;
    struct entry *e = ks_edit(&c->ks, c->argv[2]);
    if (!stream_type_ok(c, e)) return;
    if (e) s = stream_of(e);
    if (!s && !a.mkstream) {
        reply_error(&c->reply, ERR_XGROUP_NO_KEY);
        return;
    }
    if (c->argc > 8) {
        reply_usage(c);
        return;
    }
    if (!is_dollar(c->argv[4])) {
        if (!stream_arg_id(c, 4, &id)) return;
    } else if (s) {
        id = s->last_id;
    }
    if (s && stream_group_find(s, c->argv[3])) reply_error(&c->reply, ERR_BUSYGROUP);
    else create_group(c, s, id, a.entries_read);
}

void cmd_xgroup_setid(struct call *c)
{
    struct group_args a;
    struct stream_group *g;
    struct stream_id id;
    if (!parse_group(c, false, &a)) return;
    struct stream *s = find_stream(c, &g);
    if (!s) return;
    if (c->argc != 5 && c->argc != 7) {
        reply_usage(c);
        return;
    }
    if (is_dollar(c->argv[4])) {
        id = s->last_id;
    } else if (!stream_id_parse(c->argv[4], 0, true, &id, NULL)) {
        reply_error(&c->reply, ERR_STREAM_ID_INVALID);
        return;
    }
    stream_group_set(s, g, id, a.entries_read);
    ks_notify(&c->ks, EVENT_STREAM, "xgroup-setid", c->argv[2]);
    c->dirty++;
    effect_verbatim(c);
    reply_ok(&c->reply);
}

void cmd_xgroup_destroy(struct call *c)
{
    struct slice key = c->argv[2];
    struct stream *s = find_stream(c, NULL);
    if (!s) return;
    struct stream_group *g = stream_group_find(s, c->argv[3]);
    if (g) {
        stream_group_remove(ks_shard_of(&c->ks, key), s, g);
        stream_done(c, key, s);
        ks_notify(&c->ks, EVENT_STREAM, "xgroup-destroy", key);
        c->dirty++;
        effect_verbatim(c);
        /* Who waits for the group learns that it is gone. */
        ks_ready(&c->ks, key);
    }
    reply_int(&c->reply, g ? 1 : 0);
}

void cmd_xgroup_createconsumer(struct call *c)
{
    struct stream_group *g;
    struct stream *s = find_stream(c, &g);
    if (!s) return;
    bool known = stream_consumer_find(g, c->argv[4]);
    if (!known && !stream_consumer_get(c, c->argv[2], s, g, c->argv[3], c->argv[4])) {
        reply_error(&c->reply, ERR_NO_MEMORY);
        return;
    }
    stream_done(c, c->argv[2], s);
    reply_int(&c->reply, known ? 0 : 1);
}

void cmd_xgroup_delconsumer(struct call *c)
{
    struct slice key = c->argv[2];
    struct stream_group *g;
    struct stream *s = find_stream(c, &g);
    if (!s) return;
    struct stream_consumer *consumer = stream_consumer_find(g, c->argv[4]);
    uint64_t pending = consumer ? consumer->pending.count : 0;
    if (consumer && stream_consumer_remove(s, g, consumer)) {
        reply_error(&c->reply, ERR_NO_MEMORY);
        return;
    }
    if (consumer) {
        stream_done(c, key, s);
        ks_notify(&c->ks, EVENT_STREAM, "xgroup-delconsumer", key);
        c->dirty++;
        effect_verbatim(c);
    }
    reply_int(&c->reply, (int64_t)pending);
}

void cmd_xgroup_help(struct call *c)
{
    static const char *const lines[] = {
        "CREATE <key> <groupname> <id|$> [option]",
        "    Create a new consumer group. Options are:",
        "    * MKSTREAM",
        "      Create the empty stream if it does not exist.",
        "    * ENTRIESREAD entries_read",
        "      Set the group's entries_read counter (internal use).",
        "CREATECONSUMER <key> <groupname> <consumer>",
        "    Create a new consumer in the specified group.",
        "DELCONSUMER <key> <groupname> <consumer>",
        "    Remove the specified consumer.",
        "DESTROY <key> <groupname>",
        "    Remove the specified group.",
        "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
        "    Set the current group ID and entries_read counter.",
        NULL};
    call_help(c, lines);
}

/* ---- XACK ---- */

void cmd_xack(struct call *c)
{
    struct slice key = c->argv[1];
    struct stream_id id;
    struct stream_group *g = NULL;
    if (!stream_type_ok(c, ks_read(&c->ks, key))) return;
    struct entry *e = ks_edit(&c->ks, key);
    if (e) g = stream_group_find(stream_of(e), c->argv[2]);
    if (!g) {
        reply_int(&c->reply, 0);
        return;
    }
    for (int i = 3; i < c->argc; i++) {
        if (!stream_arg_id(c, i, &id)) return;
    }
    uint64_t acknowledged = 0;
    for (int i = 3; i < c->argc; i++) {
        (void)stream_id_parse(c->argv[i], 0, false, &id, NULL);
        if (stream_nack_remove(stream_of(e), g, id) == 1) acknowledged++;
    }
    if (acknowledged) {
        c->dirty += acknowledged;
        effect_verbatim(c);
        stream_done(c, key, stream_of(e));
    }
    reply_int(&c->reply, (int64_t)acknowledged);
}

/* ---- XPENDING ---- */

static void reply_summary(struct call *c, const struct stream_group *g)
{
    struct stream_pending p;
    struct reply *r = &c->reply;
    reply_array(r, 4);
    reply_int(r, (int64_t)stream_group_pending(g));
    if (stream_group_pending(g) == 0) {
        reply_null(r);
        reply_null(r);
        reply_null_array(r);
        return;
    }
    stream_pending_seek(&p, g, NULL, STREAM_ID_MIN);
    const struct stream_nack *first = stream_pending_next(&p);
    struct blocks_cursor last;
    blocks_last(&g->pending, &last);
    const struct stream_nack *records = (const void *)last.block->bytes;
    stream_reply_id(c, first->id);
    stream_reply_id(c, records[last.block->count - 1].id);
    size_t count = 0;
    for (uint32_t i = 0; i < g->consumer_count; i++) count += g->consumers[i]->pending.count > 0;
    reply_array(r, count);
    for (uint32_t i = 0; i < g->consumer_count; i++) {
        const struct stream_consumer *consumer = g->consumers[i];
        if (consumer->pending.count == 0) continue;
        reply_array(r, 2);
        reply_bulk_slice(r, stream_consumer_name(consumer));
        reply_bulk_int(r, (int64_t)consumer->pending.count);
    }
}

struct pending_args {
    struct stream_id start, end;
    int64_t count, min_idle;
    int consumer_at; /* 0: of all */
};

static bool parse_pending(struct call *c, struct pending_args *a)
{
    *a = (struct pending_args){.count = 0};
    int at = 3;
    if (c->argc < 6 || c->argc > 9) {
        reply_error(&c->reply, ERR_SYNTAX);
        return false;
    }
    if (call_is(c, 3, "IDLE")) {
        if (!call_int(c, 4, &a->min_idle)) return false;
        if (c->argc < 8) {
            reply_error(&c->reply, ERR_SYNTAX);
            return false;
        }
        at += 2;
    }
    if (!call_int(c, at + 2, &a->count)) return false;
    if (!stream_arg_start(c, at, &a->start) || !stream_arg_end(c, at + 1, &a->end)) return false;
    if (at + 3 < c->argc) a->consumer_at = at + 3;
    return true;
}

static void reply_pending(struct call *c, const struct stream_group *g,
                          const struct stream_consumer *consumer, const struct pending_args *a)
{
    struct stream_pending p;
    const struct stream_id *id;
    struct reply *r = &c->reply;
    size_t mark = reply_deferred_begin(r), count = 0;
    stream_pending_seek(&p, g, consumer, a->start);
    while ((int64_t)count < a->count && (id = stream_pending_next(&p)) &&
           stream_id_compare(*id, a->end) <= 0) {
        const struct stream_nack *nack = consumer ? stream_nack_find(g, *id) : (const void *)id;
        int64_t idle = c->ks.now - nack->delivered;
        if (a->min_idle && idle < a->min_idle) continue;
        count++;
        reply_array(r, 4);
        stream_reply_id(c, nack->id);
        reply_bulk_slice(r, stream_consumer_name(nack->consumer));
        reply_int(r, idle < 0 ? 0 : idle);
        reply_int(r, (int64_t)nack->deliveries);
    }
    reply_deferred_array(r, mark, count);
}

void cmd_xpending(struct call *c)
{
    struct slice key = c->argv[1], name = c->argv[2];
    struct pending_args a = {.count = 0};
    struct stream_group *g = NULL;
    if (c->argc != 3 && !parse_pending(c, &a)) return;
    const struct entry *e = ks_read(&c->ks, key);
    if (!stream_type_ok(c, e)) return;
    if (e) g = stream_group_find(stream_of(e), name);
    if (!g) {
        reply_errorf(&c->reply, ERR_STREAM_NOGROUP, (int)key.len, key.ptr, (int)name.len,
                     name.ptr);
    } else if (c->argc == 3) {
        reply_summary(c, g);
    } else {
        const struct stream_consumer *consumer = NULL;
        if (a.consumer_at) consumer = stream_consumer_find(g, c->argv[a.consumer_at]);
        if (a.consumer_at && !consumer) reply_array(&c->reply, 0);
        else reply_pending(c, g, consumer, &a);
    }
}
