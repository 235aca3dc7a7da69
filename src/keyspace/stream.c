/* Streams: the object, deleting and trimming. (stream_node.c packs and walks entries,
 * stream_group.c has consumer groups, stream_pending.c what is pending, stream_image.c copies.)
 *
 *   struct stream ─▶ blocks ─▶ node, node, …              listpacks, as Redis packs them
 *                 ─▶ group, group, … by name ─▶ blocks of struct stream_nack, by id
 *                                            ─▶ consumer, … by name ─▶ blocks of ids
 *
 * Redis hangs nodes, groups, consumers and pending entries on radix trees. Here nodes hang under
 * struct blocks, because a snapshot of a big stream must be taken in bounded pieces while it is
 * written (DESIGN section 6) and blocks copy on write by epoch; because the n-th entry, were it
 * ever wanted, is O(log n); and because ids that grow only differ in their last bytes, so a radix
 * tree spends a node per byte on them. What a client can see of Redis' tree (its nodes, in XINFO)
 * can be told from the keys alone. Groups and consumers are arrays sorted by name, the order of a
 * radix tree: they are few, and looked up by halving.
 *
 * Invariants: a block's weight is its count of entries that are not deleted; first_id is the first
 * of those (0-0: none); an id is pending in a group exactly if it is pending for one consumer of
 * that group.
 * Thread: holder of the shard. */
#include "shard.h"
#include "stream_impl.h"

bool stream_id_next(struct stream_id *id)
{
    if (++id->seq != 0) return true;
    return ++id->ms != 0;
}

bool stream_id_prev(struct stream_id *id)
{
    if (id->seq-- != 0) return true;
    return id->ms-- != 0;
}

/* ---- the object ---- */

struct stream *stream_new(struct shard *shard)
{
    struct stream *s = shard_alloc(shard, sizeof(*s));
    if (!s) return NULL;
    *s = (struct stream){.object = {.ops = &stream_object_ops}};
    blocks_init(&s->nodes);
    return s;
}

size_t stream_bytes(const struct stream *s)
{
    return sizeof(*s) + s->nodes.bytes + s->group_bytes;
}

void stream_account(struct shard *shard, struct stream *s)
{
    size_t bytes = s->nodes.bytes + s->group_bytes;
    if (unlikely(s->object.duty != NULL)) snapshot_count_kept(shard, &s->object);
    if (bytes == s->counted) return;
    shard_count_bytes(shard, (ptrdiff_t)(bytes - s->counted));
    s->counted = bytes;
}

/* ---- deleting ---- */

bool stream_edge(const struct stream *s, bool first, struct stream_id *id)
{
    struct stream_iter it;
    *id = STREAM_ID_MIN;
    if (stream_len(s) == 0) return false;
    stream_iter_init(&it, s, STREAM_ID_MIN, STREAM_ID_MAX, !first);
    if (!stream_iter_next(&it)) return false;
    *id = it.id;
    return true;
}

void stream_settle(struct stream *s) { (void)stream_edge(s, true, &s->first_id); }

void stream_deleted(struct stream *s, struct stream_id id)
{
    if (stream_id_compare(id, s->max_deleted_id) > 0) s->max_deleted_id = id;
}

bool stream_exists(const struct stream *s, struct stream_id id)
{
    struct stream_iter it;
    if (stream_id_compare(id, s->first_id) < 0 || stream_id_compare(id, s->last_id) > 0)
        return false;
    stream_iter_init(&it, s, id, id, false);
    return stream_iter_next(&it);
}

static void flag_deleted(struct block *block, size_t flags_at)
{
    block->bytes[flags_at] = (char)(block->bytes[flags_at] | ENTRY_DELETED);
}

int stream_delete(struct stream *s, struct stream_id id)
{
    struct stream_iter it;
    struct node_head head;
    if (stream_id_compare(id, s->last_id) > 0) return 0;
    stream_iter_init(&it, s, id, id, false);
    if (!stream_iter_next(&it)) return 0;
    if (blocks_own(&s->nodes, &it.at)) return -ENOMEM;
    node_head_read(&head, it.at.block->bytes);
    if (head.count == 1) return blocks_remove(&s->nodes, &it.at) ? -ENOMEM : 1;
    if (node_set_counts(&s->nodes, &it.at, head.count - 1, head.deleted + 1)) return -ENOMEM;
    /* Longer numbers have moved what follows them. */
    struct node_head after;
    node_head_read(&after, it.at.block->bytes);
    flag_deleted(it.at.block, it.flags_at + after.master_at - head.master_at);
    return 1;
}

/* ---- trimming ---- */

static bool may_go(struct stream *s, const struct stream_trim *trim, struct stream_id id)
{
    if (trim->refs == STREAM_ACKED) return !stream_referenced(s, id);
    if (trim->refs == STREAM_DELREF) (void)stream_nack_remove_all(s, id);
    return true;
}

/* Single entries of the cursor's node. The cursor then stands at the next node. Sets *removed;
 * -ENOMEM: nothing has changed. */
static int trim_node(struct stream *s, struct blocks_cursor *c, const struct stream_trim *trim,
                     uint64_t *removed)
{
    *removed = 0;
    struct node_head head;
    if (blocks_own(&s->nodes, c)) return -ENOMEM;
    /* Room for longer counters first, so that nothing fails once entries are flagged. */
    if (!block_resize(&s->nodes, c->block, c->block->len + 32u)) return -ENOMEM;
    node_head_read(&head, c->block->bytes);
    struct stream_iter it;
    stream_iter_init(&it, s, (struct stream_id){c->block->key.high, c->block->key.low},
                     STREAM_ID_MAX, false);
    const struct block *block = c->block;
    uint64_t len = stream_len(s);
    while (stream_iter_next(&it) && it.at.block == block) {
        bool done = trim->by == STREAM_TRIM_MAXLEN ? len - *removed <= trim->maxlen
                                                   : stream_id_compare(it.id, trim->minid) >= 0;
        if (done) break;
        if (!may_go(s, trim, it.id)) continue;
        flag_deleted(c->block, it.flags_at);
        ++*removed;
    }
    int64_t gone = (int64_t)*removed;
    if (gone == head.count && trim->refs != STREAM_KEEPREF) {
        int rc = blocks_remove(&s->nodes, c);
        check(rc == 0); /* it is owned */
        return 0;
    }
    int rc = node_set_counts(&s->nodes, c, head.count - gone, head.deleted + gone);
    check(rc == 0);
    blocks_next(&s->nodes, c);
    return 0;
}

uint64_t stream_trim(struct stream *s, const struct stream_trim *trim)
{
    uint64_t removed = 0;
    struct blocks_cursor c;
    if (trim->by == STREAM_TRIM_NONE) return 0;
    blocks_first(&s->nodes, &c);
    while (c.block) {
        if (trim->by == STREAM_TRIM_MAXLEN && stream_len(s) <= trim->maxlen) break;
        uint64_t entries = c.block->count;
        if (trim->limit && removed + entries > trim->limit) break;
        bool whole = trim->by == STREAM_TRIM_MAXLEN
                         ? stream_len(s) - entries >= trim->maxlen
                         : stream_id_compare(node_last_id(c.block), trim->minid) < 0;
        if (whole && trim->refs == STREAM_KEEPREF) {
            if (blocks_remove(&s->nodes, &c)) break;
            removed += entries;
            continue;
        }
        if (!whole && trim->approx) break;
        uint64_t more;
        if (trim_node(s, &c, trim, &more)) break;
        removed += more;
        /* What must stay may leave more to remove in later nodes. */
        if (!whole && (trim->by == STREAM_TRIM_MINID || trim->refs != STREAM_ACKED)) break;
    }
    if (removed) stream_settle(s);
    return removed;
}
