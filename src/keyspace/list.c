/* Lists: limits, reading, nodes, images. (Writing is in list_edit.c, writing in the middle of large
 * lists in list_node.c.)
 *
 *   packed   listpack in the entry                       OBJECT ENCODING listpack
 *   large    struct list ─▶ blocks: node, node, node …   OBJECT ENCODING quicklist
 *            node: listpack, or the plain bytes of one element above the limit
 *
 * A list is packed until its listpack would exceed the limit of one node (list-max-listpack-size:
 * positive, elements; negative, -1 to -5: 4 to 64 KiB), and comes back when it has shrunk to one
 * node of half of that. Where nodes are cut, filled, split and merged follows Redis' quicklist step
 * by step: DUMP shows it.
 *
 * Redis 7.0 has no packed lists: it says quicklist where this, 7.2 and Valkey say listpack.
 * list-compress-depth is accepted and compresses nothing: it shows in no reply but DEBUG's, inner
 * nodes are read as quickly as outer ones, and DUMP's listpacks are read by any Redis.
 *
 * Invariants: no node is empty; a large list is in the keyspace only while it has elements.
 * Thread: holder of the shard. */
#include "list_impl.h"
#include "splitring/keyspace/snapshot.h"

#define FILL_BYTES_MIN 4096u  /* -1; each next doubles it, up to -5 */
#define FILL_LEVELS 5
#define NODE_SAFE_BYTES 8192u /* a node under a limit of elements has no more bytes than this */
#define ELEMENT_OVERHEAD 8u   /* what Redis thinks an element costs beside its text */

/* ---- limits ---- */

static size_t fill_bytes(int32_t fill)
{
    int32_t level = -(fill + 1);
    return (size_t)FILL_BYTES_MIN << (level < FILL_LEVELS ? level : FILL_LEVELS - 1);
}

bool list_node_exceeds(int32_t fill, size_t bytes, uint64_t count)
{
    if (fill < 0) return bytes > fill_bytes(fill);
    return bytes > NODE_SAFE_BYTES || count > (fill ? (uint64_t)fill : 1);
}

bool list_fits_packed(int32_t fill, size_t bytes, uint64_t count, unsigned part)
{
    if (fill < 0) return bytes <= fill_bytes(fill) / part;
    return count <= (fill ? (unsigned)fill : 1u) / part;
}

bool list_is_large(int32_t fill, size_t len)
{
    return len > (fill < 0 ? fill_bytes(fill) : NODE_SAFE_BYTES);
}

bool list_node_allows(const struct list *list, const struct block *node, size_t len)
{
    if (!node || node_is_plain(node) || list_is_large(list->fill, len)) return false;
    return !list_node_exceeds(list->fill, node->len + len + ELEMENT_OVERHEAD, node->count + 1ull);
}

/* ---- the object ---- */

struct list *list_new(struct shard *shard, int32_t fill)
{
    struct list *list = shard_alloc(shard, sizeof(*list));
    if (!list) return NULL;
    list->object = (struct object){.ops = &list_object_ops};
    list->fill = fill;
    blocks_init(&list->blocks);
    return list;
}

static bool list_free_step(struct shard *shard, struct object *object, size_t budget, size_t *done)
{
    struct list *list = (struct list *)(void *)object;
    size_t before = list->blocks.bytes;
    blocks_thaw(&list->blocks);
    bool over = blocks_free_step(&list->blocks, budget, done);
    shard_count_bytes(shard, (ptrdiff_t)(list->blocks.bytes - before));
    if (over) shard_release(shard, list, sizeof(*list));
    return over;
}

void list_free(struct shard *shard, struct list *list)
{
    size_t done;
    (void)list_free_step(shard, &list->object, SIZE_MAX, &done);
}

static size_t object_count(const struct object *object)
{
    return (size_t)((const struct list *)(const void *)object)->blocks.count;
}

static size_t object_bytes(const struct object *object)
{
    return sizeof(struct list) + ((const struct list *)(const void *)object)->blocks.bytes;
}

/* Image: fill, number of nodes, then for each: plain, elements, length, bytes. */
struct node_head {
    uint32_t plain, count, len;
};

static void list_save(const struct object *object, struct buf *out)
{
    const struct list *list = (const struct list *)(const void *)object;
    struct blocks_cursor c;
    buf_append(out, &list->fill, sizeof(list->fill));
    for (blocks_first(&list->blocks, &c); c.block; blocks_next(&list->blocks, &c)) {
        struct node_head head = {
            .plain = node_is_plain(c.block), .count = c.block->count, .len = c.block->len};
        buf_append(out, &head, sizeof(head));
        buf_append(out, c.block->bytes, c.block->len);
    }
}

static int append_node(struct list *list, struct slice bytes, bool plain, uint32_t count)
{
    struct blocks_cursor c;
    struct block_init init = {.bytes = mem_try_alloc(bytes.len),
                              .len = (uint32_t)bytes.len,
                              .count = count,
                              .flags = plain ? NODE_PLAIN : 0};
    if (!init.bytes) return -ENOMEM;
    if (bytes.len) memcpy(init.bytes, bytes.ptr, bytes.len);
    if (blocks_append(&list->blocks, &init, &c) == 0) return 0;
    mem_free(init.bytes);
    return -ENOMEM;
}

static struct object *list_load(struct shard *shard, struct slice image)
{
    int32_t fill;
    check(image.len >= sizeof(fill));
    memcpy(&fill, image.ptr, sizeof(fill));
    struct list *list = list_new(shard, fill);
    if (!list) return NULL;
    size_t at = sizeof(fill);
    int rc = 0;
    while (at < image.len && !rc) {
        struct node_head head;
        check(image.len - at >= sizeof(head));
        memcpy(&head, image.ptr + at, sizeof(head));
        at += sizeof(head);
        check(image.len - at >= head.len);
        rc = append_node(list, slice_of(image.ptr + at, head.len), head.plain, head.count);
        at += head.len;
    }
    shard_count_bytes(shard, (ptrdiff_t)list->blocks.bytes);
    if (!rc) return &list->object;
    list_free(shard, list);
    return NULL;
}

/* ---- told in pieces ---- */

struct list_cut {
    struct blocks_cursor at;
    bool shown; /* the node at the cursor was told */
};

static void *list_cut_begin(struct object *object, uint64_t *count)
{
    struct list *list = (struct list *)(void *)object;
    struct list_cut *cut = mem_try_zalloc(sizeof(*cut));
    if (!cut) return NULL;
    *count = list->blocks.blocks;
    blocks_freeze(&list->blocks);
    blocks_frozen_first(&list->blocks, &cut->at);
    return cut;
}

static enum snapshot_next list_cut_next(struct shard *shard, struct object *object, void *state,
                                         struct snapshot_part *part)
{
    struct list *list = (struct list *)(void *)object;
    struct list_cut *cut = state;
    (void)shard;
    if (cut->shown) blocks_frozen_leave(&list->blocks, &cut->at);
    cut->shown = true;
    const struct block *node = cut->at.block;
    if (!node) {
        mem_free(cut);
        return SNAPSHOT_END;
    }
    if (part) {
        part->text = slice_of(node->bytes, node->len);
        part->plain = node_is_plain(node);
    }
    return SNAPSHOT_PIECE;
}

static size_t list_kept(const struct object *object)
{
    return ((const struct list *)(const void *)object)->blocks.frozen_bytes;
}

const struct object_ops list_object_ops = {
    .type = TYPE_LIST,
    .encoding = "quicklist",
    .free_step = list_free_step,
    .count = object_count,
    .bytes = object_bytes,
    .save = list_save,
    .load = list_load,
    .cut = list_cut_begin,
    .next = list_cut_next,
    .kept = list_kept,
};

/* ---- reading ---- */

uint64_t list_count(const struct entry *e)
{
    const struct list *list = list_of(e);
    return list ? list->blocks.count : lp_count(entry_packed(e).ptr);
}

/* To the first element of the cursor's node, seen in the walking direction; or to `index` of it. */
static void enter_node(struct list_iter *it, int64_t index)
{
    const struct block *node = it->cursor.block;
    it->bytes = node ? node->bytes : NULL;
    if (!node) return;
    it->plain_len = 0;
    if (node_is_plain(node)) {
        it->plain_len = node->len + 1u;
        it->at = 1;
    } else {
        it->at = lp_seek(node->bytes, index);
    }
}

void list_iter_at(struct list_iter *it, const struct entry *e, uint64_t index,
                  enum list_end towards)
{
    const struct list *list = list_of(e);
    it->towards = towards;
    if (!list) {
        it->blocks = NULL;
        it->plain_len = 0;
        it->bytes = entry_packed(e).ptr;
        it->at = lp_seek(it->bytes, (int64_t)index);
        return;
    }
    uint32_t in_node = 0;
    it->blocks = &list->blocks;
    blocks_at(&list->blocks, index, &it->cursor, &in_node);
    enter_node(it, in_node);
}

static void next_node(struct list_iter *it)
{
    if (!it->blocks) {
        it->bytes = NULL;
    } else if (it->towards == LIST_TAIL) {
        blocks_next(it->blocks, &it->cursor);
        enter_node(it, 0);
    } else {
        blocks_prev(it->blocks, &it->cursor);
        enter_node(it, -1);
    }
}

bool list_next(struct list_iter *it, struct lp_value *value)
{
    if (unlikely(it->bytes && it->at == LP_NONE)) next_node(it);
    if (unlikely(!it->bytes)) return false;
    if (unlikely(it->plain_len)) {
        *value = (struct lp_value){.text = slice_of(it->bytes, it->plain_len - 1u)};
        it->at = LP_NONE;
        return true;
    }
    *value = lp_get(it->bytes, it->at);
    it->at = it->towards == LIST_TAIL ? lp_next(it->bytes, it->at) : lp_prev(it->bytes, it->at);
    return true;
}

struct lp_value list_peek(const struct entry *e, enum list_end end)
{
    const struct list *list = list_of(e);
    const char *bytes;
    if (list) {
        struct blocks_cursor c;
        if (end == LIST_HEAD) blocks_first(&list->blocks, &c);
        else blocks_last(&list->blocks, &c);
        check(c.block);
        bytes = c.block->bytes;
        if (node_is_plain(c.block))
            return (struct lp_value){.text = slice_of(bytes, c.block->len)};
    } else {
        bytes = entry_packed(e).ptr;
    }
    size_t at = end == LIST_HEAD ? lp_first(bytes) : lp_last(bytes);
    check(at != LP_NONE);
    return lp_get(bytes, at);
}

/* ---- searching ---- */

struct search {
    struct slice text;
    uint64_t looked, look_max;
    uint64_t count; /* of the whole list; positions from the tail are counted back from it */
    enum list_end from;
    list_found *found;
    void *ctx;
};

static bool tell(struct search *s)
{
    uint64_t index = s->from == LIST_HEAD ? s->looked : s->count - 1 - s->looked;
    return s->looked < s->look_max && s->found(s->ctx, index);
}

static bool search_forward(struct search *s, const char *bytes)
{
    size_t at = lp_first(bytes);
    while ((at = lp_find_counted(bytes, at, s->text, &s->looked)) != LP_NONE) {
        if (!tell(s)) return false;
        s->looked++;
        at = lp_next(bytes, at);
    }
    return s->looked < s->look_max;
}

static bool search_back(struct search *s, const char *bytes)
{
    for (size_t at = lp_last(bytes); at != LP_NONE; at = lp_prev(bytes, at)) {
        if (s->looked >= s->look_max) return false;
        if (lp_equal(bytes, at, s->text) && !tell(s)) return false;
        s->looked++;
    }
    return true;
}

static bool search_node(struct search *s, const char *bytes, const struct block *node)
{
    if (!node || !node_is_plain(node))
        return s->from == LIST_HEAD ? search_forward(s, bytes) : search_back(s, bytes);
    if (slice_equal(slice_of(bytes, node->len), s->text) && !tell(s)) return false;
    return ++s->looked < s->look_max;
}

void list_search(const struct entry *e, struct slice text, enum list_end from, uint64_t look_max,
                 list_found *found, void *ctx)
{
    struct search s = {.text = text, .look_max = look_max, .count = list_count(e), .from = from,
                       .found = found, .ctx = ctx};
    const struct list *list = list_of(e);
    struct blocks_cursor c;
    if (!list) {
        (void)search_node(&s, entry_packed(e).ptr, NULL);
        return;
    }
    if (from == LIST_HEAD) blocks_first(&list->blocks, &c);
    else blocks_last(&list->blocks, &c);
    while (c.block && search_node(&s, c.block->bytes, c.block)) {
        if (from == LIST_HEAD) blocks_next(&list->blocks, &c);
        else blocks_prev(&list->blocks, &c);
    }
}

/* ---- nodes ---- */

uint64_t list_node_count(const struct entry *e)
{
    const struct list *list = list_of(e);
    return list ? list->blocks.blocks : 1;
}

void list_each_node(const struct entry *e, void (*visit)(void *ctx, const struct list_node *node),
                    void *ctx)
{
    const struct list *list = list_of(e);
    struct blocks_cursor c;
    if (!list) {
        struct slice bytes = entry_packed(e);
        struct list_node node = {.bytes = bytes, .count = lp_count(bytes.ptr)};
        visit(ctx, &node);
        return;
    }
    for (blocks_first(&list->blocks, &c); c.block; blocks_next(&list->blocks, &c)) {
        struct list_node node = {.bytes = slice_of(c.block->bytes, c.block->len),
                                 .plain = node_is_plain(c.block),
                                 .count = c.block->count};
        visit(ctx, &node);
    }
}

/* ---- building ---- */

int list_build_begin(struct list_build *b, struct shard *shard, int32_t fill)
{
    struct list *list = list_new(shard, fill);
    *b = (struct list_build){.shard = shard, .object = list ? &list->object : NULL};
    return list ? 0 : -ENOMEM;
}

int list_build_node(struct list_build *b, struct slice bytes, bool plain)
{
    struct list *list = (struct list *)(void *)b->object;
    if (bytes.len >= UINT32_MAX) return -ENOMEM;
    size_t before = list->blocks.bytes;
    int rc = append_node(list, bytes, plain, plain ? 1 : lp_count(bytes.ptr));
    shard_count_bytes(b->shard, (ptrdiff_t)(list->blocks.bytes - before));
    return rc;
}

int list_build_push(struct list_build *b, struct slice text)
{
    struct list *list = (struct list *)(void *)b->object;
    size_t before = list->blocks.bytes;
    int rc = list_push_one(list, text, LIST_TAIL);
    shard_count_bytes(b->shard, (ptrdiff_t)(list->blocks.bytes - before));
    return rc;
}

void list_build_cancel(struct list_build *b)
{
    if (b->object) list_free(b->shard, (struct list *)(void *)b->object);
    b->object = NULL;
}

int list_build_end(struct list_build *b, struct ks *ks, struct slice key, instant_ms expire)
{
    struct list *list = (struct list *)(void *)b->object;
    const struct block *node = list->blocks.blocks == 1 ? list->blocks.root : NULL;
    if (node && !node_is_plain(node) && list_fits_packed(list->fill, node->len, node->count, 1)) {
        struct slice bytes = slice_of(node->bytes, node->len);
        bool put = ks_put_packed(ks, key, TYPE_LIST, FORM_LISTPACK, bytes, expire) != NULL;
        list_build_cancel(b);
        return put ? 0 : -ENOMEM;
    }
    if (ks_put_object(ks, key, b->object, expire)) return 0;
    list_build_cancel(b);
    return -ENOMEM;
}
