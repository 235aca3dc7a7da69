/* Streams as a whole: freeing in slices, images (COPY, a hop to the coordinator and back).
 *
 *   image   fixed fields | node … | group …
 *   node    key | weight | length | bytes
 *   group   fixed fields | name | consumer … | struct stream_nack with the consumer's number …
 *
 * An image is read by the process that wrote it, so its bytes are copied as they lie, and only a
 * lack of memory can make a load fail. What is pending for a consumer is not in there: it follows
 * from the group's records.
 * Thread: holder of the shard. */
#include "stream_impl.h"

struct image_head {
    struct stream_id first_id, last_id, max_deleted_id;
    uint64_t entries_added, nodes;
    uint32_t groups;
};
struct image_node {
    struct blocks_key key;
    uint32_t count, len;
};
struct image_group {
    struct stream_id last_id;
    int64_t entries_read;
    uint64_t pending;
    uint32_t consumers, name_len;
};
struct image_consumer {
    instant_ms seen, active;
    uint32_t name_len;
};
struct image_nack {
    struct stream_id id;
    instant_ms delivered;
    uint64_t deliveries;
    uint32_t consumer;
};

/* ---- writing ---- */

static void save_group(const struct stream_group *g, struct buf *out)
{
    struct image_group head = {.last_id = g->last_id,
                               .entries_read = g->entries_read,
                               .pending = g->pending.count,
                               .consumers = g->consumer_count,
                               .name_len = g->name_len};
    buf_append(out, &head, sizeof(head));
    buf_append(out, g->name, g->name_len);
    for (uint32_t i = 0; i < g->consumer_count; i++) {
        struct stream_consumer *c = g->consumers[i];
        struct image_consumer one = {.seen = c->seen, .active = c->active, .name_len = c->name_len};
        c->index = i;
        buf_append(out, &one, sizeof(one));
        buf_append(out, c->name, c->name_len);
    }
    struct stream_pending p;
    const struct stream_nack *nack;
    stream_pending_seek(&p, g, NULL, STREAM_ID_MIN);
    while ((nack = stream_pending_next(&p))) {
        struct image_nack one = {.id = nack->id,
                                 .delivered = nack->delivered,
                                 .deliveries = nack->deliveries,
                                 .consumer = nack->consumer->index};
        buf_append(out, &one, sizeof(one));
    }
}

static void stream_save(const struct object *object, struct buf *out)
{
    const struct stream *s = (const struct stream *)(const void *)object;
    struct image_head head = {.first_id = s->first_id,
                              .last_id = s->last_id,
                              .max_deleted_id = s->max_deleted_id,
                              .entries_added = s->entries_added,
                              .nodes = s->nodes.blocks,
                              .groups = s->group_count};
    buf_append(out, &head, sizeof(head));
    struct blocks_cursor c;
    for (blocks_first(&s->nodes, &c); c.block; blocks_next(&s->nodes, &c)) {
        struct image_node one = {c.block->key, c.block->count, c.block->len};
        buf_append(out, &one, sizeof(one));
        buf_append(out, c.block->bytes, c.block->len);
    }
    for (uint32_t i = 0; i < s->group_count; i++) save_group(s->groups[i], out);
}

/* ---- reading ---- */

static void take(struct slice *image, void *out, size_t len)
{
    check(image->len >= len);
    memcpy(out, image->ptr, len);
    image->ptr += len;
    image->len -= len;
}

static struct slice take_text(struct slice *image, size_t len)
{
    check(image->len >= len);
    struct slice text = slice_of(image->ptr, len);
    image->ptr += len;
    image->len -= len;
    return text;
}

static int load_nodes(struct stream *s, uint64_t count, struct slice *image)
{
    for (; count > 0; count--) {
        struct image_node one;
        struct blocks_cursor c;
        take(image, &one, sizeof(one));
        struct block_init init = {
            .bytes = mem_try_alloc(one.len), .len = one.len, .count = one.count, .key = one.key};
        if (!init.bytes) return -ENOMEM;
        memcpy(init.bytes, take_text(image, one.len).ptr, one.len);
        if (blocks_append(&s->nodes, &init, &c)) {
            mem_free(init.bytes);
            return -ENOMEM;
        }
    }
    return 0;
}

static int load_group(struct stream *s, struct slice *image)
{
    struct image_group head;
    take(image, &head, sizeof(head));
    struct slice name = take_text(image, head.name_len);
    struct stream_group *g = stream_group_add(s, name, head.last_id, head.entries_read);
    if (!g) return -ENOMEM;
    for (uint32_t i = 0; i < head.consumers; i++) {
        struct image_consumer one;
        take(image, &one, sizeof(one));
        struct slice who = take_text(image, one.name_len);
        struct stream_consumer *c = stream_consumer_add(s, g, who, one.seen);
        if (!c) return -ENOMEM;
        c->active = one.active;
    }
    for (uint64_t i = 0; i < head.pending; i++) {
        struct image_nack one;
        take(image, &one, sizeof(one));
        check(one.consumer < g->consumer_count);
        struct stream_nack nack = {one.id, one.delivered, one.deliveries,
                                   g->consumers[one.consumer]};
        if (stream_nack_put(s, g, &nack)) return -ENOMEM;
    }
    return 0;
}

static struct object *stream_load(struct shard *shard, struct slice image)
{
    struct image_head head;
    struct stream *s = stream_new(shard);
    if (!s) return NULL;
    take(&image, &head, sizeof(head));
    s->first_id = head.first_id;
    s->last_id = head.last_id;
    s->max_deleted_id = head.max_deleted_id;
    s->entries_added = head.entries_added;
    int rc = load_nodes(s, head.nodes, &image);
    for (uint32_t i = 0; !rc && i < head.groups; i++) rc = load_group(s, &image);
    stream_account(shard, s);
    if (!rc) return &s->object;
    stream_free(shard, s);
    return NULL;
}

/* ---- freeing ---- */

/* Frees from one sequence; true when it is empty. */
static bool free_blocks(struct stream *s, struct stream_group *g, struct blocks *b, size_t budget,
                        size_t *done)
{
    if (*done >= budget) return false;
    size_t before = b->bytes, freed = 0;
    bool empty = blocks_free_step(b, budget - *done, &freed);
    stream_group_count(s, g, (ptrdiff_t)(b->bytes - before));
    *done += freed;
    return empty;
}

static bool free_group_step(struct stream *s, struct stream_group *g, size_t budget, size_t *done)
{
    if (g->by_age && !free_blocks(s, g, g->by_age, budget, done)) return false;
    if (!free_blocks(s, g, &g->pending, budget, done)) return false;
    while (g->consumer_count > 0) {
        struct stream_consumer *c = g->consumers[g->consumer_count - 1];
        if (!free_blocks(s, g, &c->pending, budget, done)) return false;
        stream_group_count(s, g, -(ptrdiff_t)mem_usable(c));
        mem_free(c);
        g->consumer_count--;
        s->consumer_count--;
        ++*done;
    }
    return true;
}

static bool stream_free_step(struct shard *shard, struct object *object, size_t budget,
                             size_t *done)
{
    struct stream *s = (struct stream *)(void *)object;
    size_t freed = 0, nodes = 0;
    bool empty = true;
    while (empty && s->group_count > 0) {
        struct stream_group *g = s->groups[s->group_count - 1];
        empty = free_group_step(s, g, budget, &freed);
        if (empty) stream_group_free(s, g);
        freed += empty;
    }
    empty = empty && freed < budget && blocks_free_step(&s->nodes, budget - freed, &nodes);
    *done = freed + nodes;
    stream_account(shard, s);
    if (!empty) return false;
    shard_release(shard, s, sizeof(*s));
    return true;
}

void stream_free(struct shard *shard, struct stream *s)
{
    size_t done;
    bool empty = stream_free_step(shard, &s->object, SIZE_MAX, &done);
    check(empty);
}

static size_t stream_count(const struct object *object)
{
    const struct stream *s = (const struct stream *)(const void *)object;
    size_t count = stream_len(s) + s->group_count;
    for (uint32_t i = 0; i < s->group_count; i++)
        count += s->groups[i]->pending.count + s->groups[i]->consumer_count;
    return count;
}

static size_t stream_object_bytes(const struct object *object)
{
    return stream_bytes((const struct stream *)(const void *)object);
}

const struct object_ops stream_object_ops = {
    .type = TYPE_STREAM,
    .encoding = "stream",
    .free_step = stream_free_step,
    .count = stream_count,
    .bytes = stream_object_bytes,
    .save = stream_save,
    .load = stream_load,
    .cut = stream_cut_begin,
    .next = stream_cut_next,
    .kept = stream_cut_kept,
};
