/* XINFO: what a stream, its groups and their consumers look like.
 *
 * Redis shows its radix tree: as many keys as there are nodes with entries, and the tree's own
 * nodes. There is no such tree here, but its shape follows from the keys (16 bytes each, big
 * endian), so clients see the numbers they would see there.
 * Thread: holder of the call's shards. */
#include "cmd/stream_impl.h"

#define FULL_COUNT 10 /* entries shown where nobody says how many */

/* ---- the tree that Redis would have ---- */

#define KEY_BYTES 16u

/* How many leading bytes two keys share; they are not equal. */
static unsigned common_bytes(struct blocks_key a, struct blocks_key b)
{
    if (a.high != b.high) return (unsigned)__builtin_clzll(a.high ^ b.high) / 8;
    return 8 + (unsigned)__builtin_clzll(a.low ^ b.low) / 8;
}

/* Nodes of a radix tree with path compression: every key's end, every byte where keys part, and one
 * for each run of bytes between. The stack has the parting bytes on the way to the present key. */
static uint64_t radix_nodes(const struct stream *s)
{
    unsigned stack[KEY_BYTES], depth = 0, before = 0;
    uint64_t nodes = s->nodes.blocks;
    struct blocks_cursor c;
    blocks_first(&s->nodes, &c);
    if (nodes <= 1) return nodes + 1;
    while (c.block) {
        struct blocks_key key = c.block->key;
        blocks_next(&s->nodes, &c);
        unsigned shared = c.block ? common_bytes(key, c.block->key) : 0;
        unsigned parent = shared > before ? shared : before;
        nodes += KEY_BYTES > parent + 1;
        while (depth > 0 && (!c.block || stack[depth - 1] > shared)) {
            unsigned at = stack[--depth];
            bool top = depth == 0 && !c.block;
            unsigned above = c.block ? shared : 0;
            if (depth > 0 && stack[depth - 1] > above) above = stack[depth - 1];
            nodes += 1u + (top ? at > 0 : at > above + 1);
        }
        if (c.block && (depth == 0 || stack[depth - 1] < shared)) stack[depth++] = shared;
        before = shared;
    }
    return nodes;
}

/* ---- XINFO STREAM ---- */

static void field_int(struct reply *r, const char *name, int64_t value)
{
    reply_bulk_str(r, name);
    reply_int(r, value);
}

static void field_id(struct call *c, const char *name, struct stream_id id)
{
    reply_bulk_str(&c->reply, name);
    stream_reply_id(c, id);
}

static void reply_edge(struct call *c, const char *name, const struct stream *s, bool last)
{
    reply_bulk_str(&c->reply, name);
    if (stream_reply_entries(c, s, STREAM_ID_MIN, STREAM_ID_MAX, 1, last) == 0)
        reply_null(&c->reply);
}

static void reply_progress(struct call *c, const struct stream *s, const struct stream_group *g)
{
    struct reply *r = &c->reply;
    int64_t lag;
    field_id(c, "last-delivered-id", g->last_id);
    reply_bulk_str(r, "entries-read");
    if (g->entries_read == STREAM_ENTRIES_READ_UNKNOWN) reply_null(r);
    else reply_int(r, g->entries_read);
    reply_bulk_str(r, "lag");
    if (stream_group_lag(s, g, &lag)) reply_int(r, lag);
    else reply_null(r);
}

/* What is pending, `count` entries at most (0: all): of the group with the consumer's name. */
static void reply_pending(struct call *c, const struct stream_group *g,
                          const struct stream_consumer *consumer, uint64_t count)
{
    struct stream_pending p;
    const struct stream_id *id;
    struct reply *r = &c->reply;
    size_t mark = reply_deferred_begin(r), done = 0;
    stream_pending_seek(&p, g, consumer, STREAM_ID_MIN);
    while ((count == 0 || done < count) && (id = stream_pending_next(&p))) {
        const struct stream_nack *nack = consumer ? stream_nack_find(g, *id) : (const void *)id;
        reply_array(r, consumer ? 3 : 4);
        stream_reply_id(c, nack->id);
        if (!consumer) reply_bulk_slice(r, stream_consumer_name(nack->consumer));
        reply_int(r, nack->delivered);
        reply_int(r, (int64_t)nack->deliveries);
        done++;
    }
    reply_deferred_array(r, mark, done);
}

static void reply_group_full(struct call *c, const struct stream *s, const struct stream_group *g,
                             uint64_t count)
{
    struct reply *r = &c->reply;
    reply_map(r, 7);
    reply_bulk_str(r, "name");
    reply_bulk_slice(r, stream_group_name(g));
    reply_progress(c, s, g);
    field_int(r, "pel-count", (int64_t)stream_group_pending(g));
    reply_bulk_str(r, "pending");
    reply_pending(c, g, NULL, count);
    reply_bulk_str(r, "consumers");
    reply_array(r, g->consumer_count);
    for (uint32_t i = 0; i < g->consumer_count; i++) {
        const struct stream_consumer *consumer = g->consumers[i];
        reply_map(r, 5);
        reply_bulk_str(r, "name");
        reply_bulk_slice(r, stream_consumer_name(consumer));
        field_int(r, "seen-time", consumer->seen);
        field_int(r, "active-time", consumer->active);
        field_int(r, "pel-count", (int64_t)consumer->pending.count);
        reply_bulk_str(r, "pending");
        reply_pending(c, g, consumer, count);
    }
}

static void reply_stream(struct call *c, const struct stream *s, bool full, uint64_t count)
{
    struct reply *r = &c->reply;
    reply_map(r, full ? 9 : 10);
    field_int(r, "length", (int64_t)stream_len(s));
    field_int(r, "radix-tree-keys", (int64_t)s->nodes.blocks);
    field_int(r, "radix-tree-nodes", (int64_t)radix_nodes(s));
    field_id(c, "last-generated-id", s->last_id);
    field_id(c, "max-deleted-entry-id", s->max_deleted_id);
    field_int(r, "entries-added", (int64_t)s->entries_added);
    field_id(c, "recorded-first-entry-id", s->first_id);
    if (!full) {
        field_int(r, "groups", s->group_count);
        reply_edge(c, "first-entry", s, false);
        reply_edge(c, "last-entry", s, true);
        return;
    }
    reply_bulk_str(r, "entries");
    size_t mark = reply_deferred_begin(r);
    size_t done = stream_reply_entries(c, s, STREAM_ID_MIN, STREAM_ID_MAX, count, false);
    reply_deferred_array(r, mark, done);
    reply_bulk_str(r, "groups");
    reply_array(r, s->group_count);
    for (uint32_t i = 0; i < s->group_count; i++) reply_group_full(c, s, s->groups[i], count);
}

/* The stream of argv[2]; NULL: the error is written. */
static const struct stream *find_stream(struct call *c)
{
    const struct entry *e = ks_read(&c->ks, c->argv[2]);
    if (!e) reply_error(&c->reply, ERR_NO_SUCH_KEY);
    else if (stream_type_ok(c, e)) return stream_of(e);
    return NULL;
}

void cmd_xinfo_stream(struct call *c)
{
    int64_t count = FULL_COUNT;
    const struct stream *s = find_stream(c);
    if (!s) return;
    bool full = c->argc > 3;
    bool good = !full || ((c->argc == 4 || c->argc == 6) && call_is(c, 3, "FULL"));
    if (!good || (c->argc == 6 && !call_is(c, 4, "COUNT"))) {
        struct slice sub = c->argv[1];
        reply_errorf(&c->reply, ERR_SUBCOMMAND_SYNTAX, (int)sub.len, sub.ptr, "XINFO");
        return;
    }
    if (c->argc == 6 && !call_int(c, 5, &count)) return;
    reply_stream(c, s, full, count < 0 ? FULL_COUNT : (uint64_t)count);
}

/* ---- groups and consumers ---- */

void cmd_xinfo_groups(struct call *c)
{
    struct reply *r = &c->reply;
    const struct stream *s = find_stream(c);
    if (!s) return;
    reply_array(r, s->group_count);
    for (uint32_t i = 0; i < s->group_count; i++) {
        const struct stream_group *g = s->groups[i];
        reply_map(r, 6);
        reply_bulk_str(r, "name");
        reply_bulk_slice(r, stream_group_name(g));
        field_int(r, "consumers", g->consumer_count);
        field_int(r, "pending", (int64_t)stream_group_pending(g));
        reply_progress(c, s, g);
    }
}

void cmd_xinfo_consumers(struct call *c)
{
    struct reply *r = &c->reply;
    struct slice key = c->argv[2], name = c->argv[3];
    const struct stream *s = find_stream(c);
    if (!s) return;
    const struct stream_group *g = stream_group_find(s, name);
    if (!g) {
        reply_errorf(r, ERR_STREAM_NOGROUP_KEY, (int)name.len, name.ptr, (int)key.len, key.ptr);
        return;
    }
    reply_array(r, g->consumer_count);
    for (uint32_t i = 0; i < g->consumer_count; i++) {
        const struct stream_consumer *consumer = g->consumers[i];
        int64_t idle = c->ks.now - consumer->seen;
        reply_map(r, 4);
        reply_bulk_str(r, "name");
        reply_bulk_slice(r, stream_consumer_name(consumer));
        field_int(r, "pending", (int64_t)consumer->pending.count);
        field_int(r, "idle", idle < 0 ? 0 : idle);
        field_int(r, "inactive", consumer->active < 0 ? -1 : c->ks.now - consumer->active);
    }
}

void cmd_xinfo_help(struct call *c)
{
    static const char *const lines[] = {"CONSUMERS <key> <groupname>",
                                        "    Show consumers of <groupname>.",
                                        "GROUPS <key>",
                                        "    Show the stream consumer groups.",
                                        "STREAM <key> [FULL [COUNT <count>]",
                                        "    Show information about the stream.",
                                        NULL};
    call_help(c, lines);
}
