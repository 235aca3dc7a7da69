/* A stream in a snapshot: told in pieces, in the order of RDB, while it is written.
 *
 *   cut ─▶ head: ids and counters, as they were
 *       ─▶ nodes: the frozen root of their blocks
 *       ─▶ groups: the array of then ─▶ group ─▶ struct stream_group_cut: its fields of then,
 *                                                frozen pending entries, the array of consumers
 *                                                ─▶ consumer ─▶ struct stream_consumer_cut …
 *
 * The cut itself is O(1), also with a hundred thousand groups: a group is kept (its fields copied,
 * its pending entries frozen) by the first writer to it, or by the walk when it comes there, and so
 * is each consumer of a group that is kept. From then on a write copies one path and block of what
 * is pending. Arrays of groups and consumers are shared with the cut until one is added or removed:
 * that moves the array anyway, and now copies it. Who is removed stays until the walk has told him.
 *
 * `cut_no` says of a group or consumer whether it has been kept for this cut, was told by it, or is
 * younger: in all three cases nothing is owed any more. So one comparison decides, and nothing has
 * to be brought into line after a snapshot, however it ended.
 *
 * The walk gives up what it has told, block by block (blocks_frozen_leave), so its end is as cheap
 * as any step of it.
 *
 * Writers have no way to fail here. One that finds no memory breaks the cut: all that is kept is
 * given up at once, and the snapshot fails.
 *
 * Why not a copy of the groups at the cut? What is pending may be as large as the stream.
 * Thread: holder of the shard. */
#include "shard.h"
#include "stream_impl.h"

enum cut_phase { AT_BEGIN, AT_NODES, AT_GROUP, AT_PENDING, AT_CONSUMER, AT_OWNED };

/* ---- keeping ---- */

static bool step(struct shard *shard, struct stream *s, struct stream_cut *cut, bool tell);

/* There is no memory for what a writer owes. */
static void break_cut(struct stream *s)
{
    struct stream_cut *cut = s->cut;
    while (step(NULL, s, cut, false)) {}
    cut->broken = true;
    s->cut = NULL;
}

void stream_group_keep_now(struct stream *s, struct stream_group *g)
{
    if (g->cut_no == s->cut_no) return;
    struct stream_group_cut *kept = mem_try_alloc(sizeof(*kept));
    if (!kept) {
        break_cut(s);
        return;
    }
    *kept = (struct stream_group_cut){.last_id = g->last_id,
                                      .entries_read = g->entries_read,
                                      .pending = g->pending.count,
                                      .consumers = g->consumers,
                                      .consumer_count = g->consumer_count};
    s->cut->kept += mem_usable(kept);
    g->cut = kept;
    g->cut_no = s->cut_no;
    blocks_freeze(&g->pending);
}

void stream_consumer_keep_now(struct stream *s, struct stream_group *g, struct stream_consumer *c)
{
    stream_group_keep_now(s, g);
    if (!g->cut || c->cut_no == s->cut_no) return;
    struct stream_consumer_cut *kept = mem_try_alloc(sizeof(*kept));
    if (!kept) {
        break_cut(s);
        return;
    }
    *kept = (struct stream_consumer_cut){
        .seen = c->seen, .active = c->active, .pending = c->pending.count};
    s->cut->kept += mem_usable(kept);
    c->cut = kept;
    c->cut_no = s->cut_no;
    blocks_freeze(&c->pending);
}

/* Another array with the same pointers and room. NULL: there is no memory for it. */
static void *array_twin(const void *array, uint32_t count, uint32_t cap)
{
    void *twin = mem_try_alloc(cap * sizeof(void *));
    if (twin) memcpy(twin, array, count * sizeof(void *));
    return twin;
}

void stream_groups_keep_now(struct stream *s)
{
    if (!s->groups || s->cut->groups != s->groups) return;
    void *twin = array_twin(s->groups, s->group_count, s->group_cap);
    if (!twin) {
        break_cut(s);
        return;
    }
    s->cut->kept += mem_usable(s->groups);
    s->group_bytes += mem_usable(twin) - mem_usable(s->groups);
    s->groups = twin;
}

void stream_consumers_keep_now(struct stream *s, struct stream_group *g)
{
    stream_group_keep_now(s, g);
    if (!g->cut || !g->consumers || g->cut->consumers != g->consumers) return;
    void *twin = array_twin(g->consumers, g->consumer_count, g->consumer_cap);
    if (!twin) {
        break_cut(s);
        return;
    }
    s->cut->kept += mem_usable(g->consumers);
    stream_group_count(s, g, (ptrdiff_t)(mem_usable(twin) - mem_usable(g->consumers)));
    g->consumers = twin;
}

/* ---- the walk ---- */

/* On to the next frozen block; what was read is given up. NULL: there are no more. */
static const struct block *next_block(struct stream_cut *cut, struct blocks *b)
{
    if (cut->shown) blocks_frozen_leave(b, &cut->at);
    cut->shown = cut->at.block != NULL;
    return cut->at.block;
}

/* The same of what is pending, whose memory the cut counts. */
static const struct block *next_pending(struct stream_cut *cut, struct blocks *b)
{
    size_t before = b->frozen_bytes;
    const struct block *block = next_block(cut, b);
    cut->kept -= before - b->frozen_bytes;
    return block;
}

static void begin_blocks(struct stream_cut *cut, const struct blocks *b)
{
    cut->shown = false;
    blocks_frozen_first(b, &cut->at);
}

static struct stream_piece *piece_of(struct stream_cut *cut, enum stream_piece_kind kind)
{
    cut->piece = (struct stream_piece){.kind = kind, .consumers = cut->head.consumers};
    return &cut->piece;
}

static void show_records(struct stream_cut *cut, enum stream_piece_kind kind,
                         const struct block *block)
{
    struct stream_piece *piece = piece_of(cut, kind);
    piece->text = slice_of(block->bytes, block->len);
    piece->count = block->count;
}

static bool show_begin(struct stream *s, struct stream_cut *cut)
{
    begin_blocks(cut, &s->nodes);
    piece_of(cut, STREAM_PIECE_BEGIN)->count = cut->nodes;
    cut->phase = AT_NODES;
    return true;
}

static bool show_node(struct stream *s, struct stream_cut *cut)
{
    const struct block *block = next_block(cut, &s->nodes);
    if (block) {
        show_records(cut, STREAM_PIECE_NODE, block);
        cut->piece.id = id_of_key(block->key);
    } else {
        cut->piece = cut->head;
        cut->phase = AT_GROUP;
    }
    return true;
}

/* False: there is nothing to show of it (and nobody wants to know). */
static bool show_group(struct stream *s, struct stream_cut *cut, bool tell)
{
    struct stream_group *g = cut->groups[cut->group];
    if (tell) stream_group_keep_now(s, g);
    if (cut->broken) return false;
    if (!g->cut) {
        g->cut_no = s->cut_no;
        cut->group++;
        return false;
    }
    struct stream_piece *piece = piece_of(cut, STREAM_PIECE_GROUP);
    piece->text = stream_group_name(g);
    piece->id = g->cut->last_id;
    piece->entries_read = g->cut->entries_read;
    piece->count = g->cut->pending;
    begin_blocks(cut, &g->pending);
    cut->phase = AT_PENDING;
    return true;
}

static bool show_pending(struct stream_cut *cut)
{
    struct stream_group *g = cut->groups[cut->group];
    const struct block *block = next_pending(cut, &g->pending);
    if (block) {
        show_records(cut, STREAM_PIECE_PENDING, block);
    } else {
        piece_of(cut, STREAM_PIECE_CONSUMERS)->count = g->cut->consumer_count;
        cut->consumer = 0;
        cut->phase = AT_CONSUMER;
    }
    return true;
}

static void leave_group(struct shard *shard, struct stream_cut *cut)
{
    struct stream_group *g = cut->groups[cut->group++];
    struct stream_group_cut *kept = g->cut;
    g->cut = NULL;
    if (kept->consumers != g->consumers) {
        cut->kept -= mem_usable(kept->consumers);
        mem_free(kept->consumers);
    }
    if (kept->gone) {
        cut->kept -= g->bytes;
        stream_group_bury(shard, g);
    }
    cut->kept -= mem_usable(kept);
    mem_free(kept);
    cut->phase = AT_GROUP;
}

static bool show_consumer(struct shard *shard, struct stream *s, struct stream_cut *cut, bool tell)
{
    struct stream_group *g = cut->groups[cut->group];
    if (cut->consumer == g->cut->consumer_count) {
        leave_group(shard, cut);
        return false;
    }
    struct stream_consumer *c = g->cut->consumers[cut->consumer];
    if (tell) stream_consumer_keep_now(s, g, c);
    if (cut->broken) return false;
    if (!c->cut) {
        c->cut_no = s->cut_no;
        cut->consumer++;
        return false;
    }
    struct stream_piece *piece = piece_of(cut, STREAM_PIECE_CONSUMER);
    piece->text = stream_consumer_name(c);
    piece->seen = c->cut->seen;
    piece->active = c->cut->active;
    piece->count = c->cut->pending;
    begin_blocks(cut, &c->pending);
    cut->phase = AT_OWNED;
    return true;
}

static bool show_owned(struct stream_cut *cut)
{
    struct stream_consumer *c = cut->groups[cut->group]->cut->consumers[cut->consumer];
    const struct block *block = next_pending(cut, &c->pending);
    if (block) {
        show_records(cut, STREAM_PIECE_OWNED, block);
        return true;
    }
    bool gone = c->cut->gone;
    cut->kept -= mem_usable(c->cut);
    mem_free(c->cut);
    c->cut = NULL;
    if (gone) {
        cut->kept -= mem_usable(c);
        mem_free(c);
    }
    cut->consumer++;
    cut->phase = AT_CONSUMER;
    return false;
}

/* To the next piece, cut->piece; false: that was all, nothing is kept any more. */
static bool step(struct shard *shard, struct stream *s, struct stream_cut *cut, bool tell)
{
    bool shown = false;
    while (!shown && !cut->broken && (cut->phase != AT_GROUP || cut->group < cut->group_count)) {
        switch (cut->phase) {
        case AT_BEGIN: shown = show_begin(s, cut); break;
        case AT_NODES: shown = show_node(s, cut); break;
        case AT_GROUP: shown = show_group(s, cut, tell); break;
        case AT_PENDING: shown = show_pending(cut); break;
        case AT_CONSUMER: shown = show_consumer(shard, s, cut, tell); break;
        case AT_OWNED: shown = show_owned(cut); break;
        }
    }
    if (shown || cut->broken) return shown;
    if (cut->groups != s->groups) {
        cut->kept -= mem_usable(cut->groups);
        mem_free(cut->groups);
        cut->groups = s->groups;
    }
    return false;
}

/* ---- the keyspace's side ---- */

void *stream_cut_begin(struct object *object, uint64_t *count)
{
    struct stream *s = (struct stream *)(void *)object;
    struct stream_cut *cut = mem_try_zalloc(sizeof(*cut));
    if (!cut) return NULL;
    *count = cut->nodes = s->nodes.blocks;
    cut->head = (struct stream_piece){.kind = STREAM_PIECE_HEAD,
                                      .consumers = s->consumer_count > 0,
                                      .count = s->group_count,
                                      .id = s->last_id,
                                      .first_id = s->first_id,
                                      .max_deleted_id = s->max_deleted_id,
                                      .len = stream_len(s),
                                      .entries_added = s->entries_added};
    cut->groups = s->groups;
    cut->group_count = s->group_count;
    s->cut = cut;
    s->cut_no++;
    blocks_freeze(&s->nodes);
    return cut;
}

enum snapshot_next stream_cut_next(struct shard *shard, struct object *object, void *state,
                                   struct snapshot_part *part)
{
    struct stream *s = (struct stream *)(void *)object;
    struct stream_cut *cut = state;
    if (!cut->broken && step(shard, s, cut, part != NULL)) {
        if (part) part->stream = &cut->piece;
        return SNAPSHOT_PIECE;
    }
    if (cut->broken && part) return SNAPSHOT_BROKEN;
    check(cut->broken || cut->kept == 0);
    if (!cut->broken) s->cut = NULL;
    mem_free(cut);
    return SNAPSHOT_END;
}

size_t stream_cut_kept(const struct object *object)
{
    const struct stream *s = (const struct stream *)(const void *)object;
    return s->cut ? s->nodes.frozen_bytes + s->cut->kept : 0;
}
