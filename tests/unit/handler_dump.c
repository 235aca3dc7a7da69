/* Values as text, so that two keyspaces can be compared and shown: one function per type. What has
 * no order (members, fields) is sorted.
 * Thread: the test's. */
#include <stdlib.h>

#include "handler.h"
#include "splitring/base/mem.h"
#include "splitring/keyspace/hash.h"
#include "splitring/keyspace/list.h"
#include "splitring/keyspace/set.h"
#include "splitring/keyspace/stream.h"
#include "splitring/keyspace/zset.h"

void handler_dump_text(struct buf *out, struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c >= ' ' && c < 0x7f && c != '\\') buf_append_char(out, (char)c);
        else buf_printf(out, "\\x%02x", c);
    }
}

/* ---- lines that are sorted ---- */

struct parts {
    struct buf *at;
    size_t count;
};

static struct buf *parts_add(struct parts *p)
{
    p->at = mem_realloc(p->at, (p->count + 1) * sizeof(*p->at));
    p->at[p->count] = (struct buf){0};
    return &p->at[p->count++];
}

static int compare_parts(const void *a, const void *b)
{
    return slice_compare(buf_slice(a), buf_slice(b));
}

static void parts_end(struct parts *p, struct buf *out)
{
    if (p->count) qsort(p->at, p->count, sizeof(*p->at), compare_parts);
    for (size_t i = 0; i < p->count; i++) {
        if (i) buf_append_char(out, ',');
        buf_append_slice(out, buf_slice(&p->at[i]));
        buf_deinit(&p->at[i]);
    }
    mem_free(p->at);
}

/* ---- types ---- */

static void dump_string(struct buf *out, const struct entry *e)
{
    char scratch[ENTRY_SCRATCH];
    handler_dump_text(out, entry_string(e, scratch));
}

static bool add_member(void *ctx, struct set_member *m)
{
    handler_dump_text(parts_add(ctx), set_member_get(m));
    return true;
}

static void dump_set(struct buf *out, const struct entry *e)
{
    struct parts parts = {0};
    (void)set_each(e, add_member, &parts);
    parts_end(&parts, out);
}

static void add_field(void *ctx, const struct hash_item *item)
{
    struct buf *part = parts_add(ctx);
    handler_dump_text(part, item->field);
    buf_append_char(part, '=');
    handler_dump_text(part, item->value);
    if (item->expire != EXPIRE_NONE) buf_printf(part, " until %lld", (long long)item->expire);
}

static void dump_hash(struct buf *out, const struct entry *e)
{
    struct parts parts = {0};
    hash_each(e, add_field, &parts);
    parts_end(&parts, out);
}

/* Elements, with the seams between nodes. */
void handler_dump_node(struct buf *out, struct slice bytes, bool plain)
{
    char scratch[LP_NUMBER_LEN];
    buf_append_char(out, '[');
    if (plain) handler_dump_text(out, bytes);
    for (size_t at = plain ? LP_NONE : lp_first(bytes.ptr); at != LP_NONE;
         at = lp_next(bytes.ptr, at)) {
        handler_dump_text(out, lp_text(bytes.ptr, at, scratch));
        buf_append_char(out, ',');
    }
    buf_append_char(out, ']');
}

static void dump_node(void *ctx, const struct list_node *node)
{
    handler_dump_node(ctx, node->bytes, node->plain);
}

static void dump_list(struct buf *out, const struct entry *e)
{
    list_each_node(e, dump_node, out);
}

static void dump_zset(struct buf *out, const struct entry *e)
{
    struct zset_iter it;
    struct zset_item item;
    zset_iter_init(&it, e, 0, false);
    while (zset_iter_next(&it, &item)) {
        handler_dump_text(out, item.text);
        buf_printf(out, "=%.17g,", item.score);
    }
}

static void dump_id(struct buf *out, const char *name, struct stream_id id)
{
    buf_printf(out, "%s%llu-%llu ", name, (unsigned long long)id.ms, (unsigned long long)id.seq);
}

static void dump_stream_group(struct buf *out, const struct stream_group *g)
{
    buf_append(out, "\n  group ", 9);
    handler_dump_text(out, stream_group_name(g));
    dump_id(out, " last ", g->last_id);
    buf_printf(out, "read %lld consumers", (long long)g->entries_read);
    for (uint32_t i = 0; i < g->consumer_count; i++) {
        buf_append_char(out, ' ');
        handler_dump_text(out, stream_consumer_name(g->consumers[i]));
        buf_printf(out, ":%llu", (unsigned long long)g->consumers[i]->pending.count);
    }
    struct stream_pending p;
    const struct stream_nack *nack;
    stream_pending_seek(&p, g, NULL, STREAM_ID_MIN);
    while ((nack = stream_pending_next(&p))) {
        dump_id(out, "\n    ", nack->id);
        buf_printf(out, "at %lld, %llu times, ", (long long)nack->delivered,
                   (unsigned long long)nack->deliveries);
        handler_dump_text(out, stream_consumer_name(nack->consumer));
    }
}

/* All that RDB keeps but the times at which consumers were seen. */
static void dump_stream(struct buf *out, const struct entry *e)
{
    const struct stream *s = stream_of(e);
    struct blocks_cursor c;
    dump_id(out, "first ", s->first_id);
    dump_id(out, "last ", s->last_id);
    dump_id(out, "deleted ", s->max_deleted_id);
    buf_printf(out, "added %llu ", (unsigned long long)s->entries_added);
    for (blocks_first(&s->nodes, &c); c.block; blocks_next(&s->nodes, &c)) {
        if (c.block->count == 0) continue; /* nobody sees it, nobody replays it */
        dump_id(out, "[", (struct stream_id){c.block->key.high, c.block->key.low});
        handler_dump_text(out, slice_of(c.block->bytes, c.block->len));
        buf_append_char(out, ']');
    }
    for (uint32_t i = 0; i < s->group_count; i++) dump_stream_group(out, s->groups[i]);
}

void handler_dump_value(struct buf *out, const struct entry *e)
{
    switch (entry_type(e)) {
    case TYPE_STRING: dump_string(out, e); break;
    case TYPE_LIST: dump_list(out, e); break;
    case TYPE_HASH: dump_hash(out, e); break;
    case TYPE_SET: dump_set(out, e); break;
    case TYPE_ZSET: dump_zset(out, e); break;
    case TYPE_STREAM: dump_stream(out, e); break;
    default: break;
    }
}
