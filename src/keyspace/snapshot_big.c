/* Big values in a snapshot: told in pieces, so that a write to one never pays for the whole.
 * (Long strings: snapshot_text.c.)
 *
 * Where the order of members means nothing (hashes, sets, sorted sets) the value's own dict has the
 * same bit per slot as the keyspace's table: a cut of the dict makes all members unsaved, a walk
 * tells them, and a writer tells a member before it changes it. Where order matters (lists,
 * streams) the type freezes its blocks and has a walk of its own through them, and a write copies
 * its path and its block. What the walk has told it gives up at once.
 *
 * RDB has one value after the other, so one is told at a time; the others wait in a queue. What
 * is overwritten in them meanwhile waits as images, in chunks. The walk of the keyspace stands
 * still until the queue is empty: the images stay few.
 *
 * Removal is handing over: an object that leaves the keyspace (DEL, SET over it, expiry, a flushed
 * database) with a duty goes to the queue's entry, is told, and then freed in slices as always. For
 * the writer that is a pointer. RENAME within a shard takes the object along, and the duty with it.
 *
 * After an abort the dicts of the queue have bits of both senses, and frozen blocks are to be
 * thawed: they stay in it until their walks have been to the end without telling anybody.
 * Thread: holder of the shard. */
#include "snapshot_impl.h"
#include "splitring/keyspace/hash.h"
#include "splitring/keyspace/stream.h"

#define PART_COST 2u            /* a piece that is told, in slots looked at */
#define BLOCK_COST 64u          /* a piece of a sequence */
#define IMAGES_LEN (64u * 1024u) /* of a chunk of images */

/* A chunk of images of members: head, text, value. */
struct snapshot_image {
    struct snapshot_image *next;
    size_t len, cap;
    char bytes[];
};
struct image_head {
    size_t text_len, value_len;
    instant_ms expire;
    double score;
};

/* ---- telling ---- */

void snapshot_tell_part(struct snapshot *s, struct snapshot_big *big,
                        const struct snapshot_part *part)
{
    if (big->blob) big->told += part->text.len;
    else if (!part->stream || part->stream->kind == STREAM_PIECE_NODE) big->told++;
    s->sink.big_part(s->sink.ctx, entry_type(big->shell), part);
    size_t len = part->stream ? part->stream->text.len : part->text.len + part->value.len;
    snapshot_spend(s, PART_COST + len / 256);
}

static struct snapshot_image *chunk_for(struct snapshot *s, struct snapshot_big *big, size_t len)
{
    struct snapshot_image *last = big->images_last;
    if (last && last->cap - last->len >= len) return last;
    size_t cap = len > IMAGES_LEN ? len : IMAGES_LEN;
    struct snapshot_image *chunk = mem_try_alloc(sizeof(*chunk) + cap);
    if (!chunk) return NULL;
    *chunk = (struct snapshot_image){.cap = cap};
    if (last) last->next = chunk;
    else big->images = chunk;
    big->images_last = chunk;
    s->image_bytes += sizeof(*chunk) + cap;
    return chunk;
}

static void keep_image(struct snapshot *s, struct snapshot_big *big,
                       const struct snapshot_part *part)
{
    struct image_head head = {part->text.len, part->value.len, part->expire, part->score};
    struct snapshot_image *chunk =
        chunk_for(s, big, sizeof(head) + part->text.len + part->value.len);
    if (!chunk) {
        s->failed = true;
        return;
    }
    char *at = chunk->bytes + chunk->len;
    memcpy(at, &head, sizeof(head));
    if (head.text_len) memcpy(at + sizeof(head), part->text.ptr, head.text_len);
    if (head.value_len) memcpy(at + sizeof(head) + head.text_len, part->value.ptr, head.value_len);
    chunk->len += sizeof(head) + head.text_len + head.value_len;
}

static void drop_chunk(struct snapshot *s, struct snapshot_big *big)
{
    struct snapshot_image *chunk = big->images;
    big->images = chunk->next;
    if (!chunk->next) big->images_last = NULL;
    s->image_bytes -= sizeof(*chunk) + chunk->cap;
    mem_free(chunk);
}

/* A chunk's worth. */
static void tell_images(struct snapshot *s, struct snapshot_big *big)
{
    const struct snapshot_image *chunk = big->images;
    for (const char *at = chunk->bytes, *end = at + chunk->len; at < end;) {
        struct image_head head;
        memcpy(&head, at, sizeof(head));
        at += sizeof(head);
        struct snapshot_part part = {.text = slice_of(at, head.text_len),
                                     .value = slice_of(at + head.text_len, head.value_len),
                                     .expire = head.expire,
                                     .score = head.score};
        at += head.text_len + head.value_len;
        snapshot_tell_part(s, big, &part);
    }
    drop_chunk(s, big);
}

/* ---- the queue ---- */

static struct dict *members_of(const struct snapshot_big *big)
{
    if (!big->object || !big->object->ops->members) return NULL;
    return big->object->ops->members(big->object);
}

static bool is_big(const struct snapshot *s, const struct entry *e)
{
    size_t least = s->sink.big ? s->sink.big : SNAPSHOT_BIG;
    if (!(e->flags & ENTRY_POINTER) || !s->sink.big_begin) return false;
    if (!kind_is_object(e->kind)) return snapshot_text_fits(e, least);
    const struct object *object = entry_pointer(e);
    const struct object_ops *ops = object->ops;
    return (ops->members || ops->cut) && ops->bytes(object) >= least;
}

/* An entry with everything but the value. */
static struct entry *shell_of(struct shard *shard, const struct entry *e)
{
    struct entry *shell = entry_new(shard, entry_key(e), entry_expiry_of(e), 1);
    if (!shell) return NULL;
    struct value v = {.kind = e->kind, .flags = ENTRY_WORD, .len = 1};
    entry_value_store(shell, &v);
    shell->access = e->access;
    return shell;
}

/* What will be told of the object is settled, as it is now. False: no memory. */
static bool cut_object(struct snapshot_big *big)
{
    struct object *object = big->object;
    struct dict *members = members_of(big);
    check(object->duty == NULL);
    if (object->ops->next_expiry) big->lowest = object->ops->next_expiry(object);
    if (members) {
        big->count = dict_count(members);
        dict_cut(members);
    } else {
        big->cut = object->ops->cut(object, &big->count);
        if (!big->cut) return false;
    }
    object->duty = big;
    return true;
}

static bool cut_value(struct snapshot_big *big, const struct entry *e)
{
    if (kind_is_object(e->kind)) {
        big->object = entry_pointer(e);
        return cut_object(big);
    }
    big->blob = entry_pointer(e);
    if (entry_type_of(e) == TYPE_HASH) big->lowest = hash_next_expiry(e);
    return snapshot_text_begin(big);
}

bool snapshot_big_begin(struct shard *shard, db_id db, const struct entry *e)
{
    struct snapshot *s = shard->snapshot;
    if (likely(!is_big(s, e))) return false;
    struct entry *shell = shell_of(shard, e);
    if (!shell) return false;
    struct snapshot_big *big = mem_zalloc(sizeof(*big));
    *big = (struct snapshot_big){.shell = shell, .db = db, .lowest = EXPIRE_NONE};
    if (!cut_value(big, e)) {
        entry_free_shell(shard, shell);
        mem_free(big);
        return false;
    }
    if (s->bigs_last) s->bigs_last->next = big;
    else s->bigs = big;
    s->bigs_last = big;
    s->blobs += big->blob != NULL;
    return true;
}

static void count_kept(struct snapshot *s, struct snapshot_big *big)
{
    if (!big->object || !big->object->ops->kept) return;
    size_t now = big->object->ops->kept(big->object);
    s->kept_bytes += now - big->kept;
    big->kept = now;
}

static void give_up_piece(struct shard *shard, struct snapshot_big *big)
{
    struct object *object = big->object;
    if (object->ops->next(shard, object, big->cut, NULL) == SNAPSHOT_END) big->cut = NULL;
}

/* All of it has been told, or nobody wants to know any more. */
static void big_end(struct shard *shard, struct snapshot_big *big)
{
    struct snapshot *s = shard->snapshot;
    struct object *object = big->object;
    check(s->bigs == big);
    while (big->images) drop_chunk(s, big);
    s->bigs = big->next;
    if (!big->next) s->bigs_last = NULL;
    if (big->blob) {
        snapshot_text_end(s, big);
        s->blobs--;
    }
    while (big->cut) give_up_piece(shard, big);
    s->kept_bytes -= big->kept;
    if (object) object->duty = NULL;
    if (big->handed_over) {
        s->value_bytes -= big->handed_over;
        struct value v = {.kind = big->shell->kind,
                          .flags = ENTRY_WORD | ENTRY_POINTER,
                          .word = (int64_t)(uintptr_t)(object ? (void *)object : big->blob)};
        value_free(shard, &v, true);
    }
    entry_free_shell(shard, big->shell);
    mem_free(big);
}

/* ---- the walk through one value ---- */

struct member_walk {
    struct snapshot *snapshot;
    struct snapshot_big *big;
};

static bool tell_member(void *ctx, void *member)
{
    const struct member_walk *walk = ctx;
    struct snapshot_part part = {0};
    walk->big->object->ops->part(member, &part);
    snapshot_tell_part(walk->snapshot, walk->big, &part);
    return snapshot_goes_on(walk->snapshot);
}

static bool pass_over(void *ctx, void *member)
{
    (void)ctx, (void)member;
    return true;
}

/* False: there are no more. */
static bool walk_members(struct snapshot *s, struct snapshot_big *big, struct dict *members)
{
    struct member_walk walk = {s, big};
    size_t looked = 0;
    big->cursor = dict_mark(members, big->cursor, s->budget,
                            s->levelling ? pass_over : tell_member, &walk, &looked);
    snapshot_spend(s, looked);
    return big->cursor != 0;
}

static bool walk_cut(struct shard *shard, struct snapshot_big *big)
{
    struct snapshot *s = shard->snapshot;
    struct object *object = big->object;
    bool more = true;
    while (more && (s->levelling ? s->budget > 0 : snapshot_goes_on(s))) {
        struct snapshot_part part = {0};
        switch (object->ops->next(shard, object, big->cut, s->levelling ? NULL : &part)) {
        case SNAPSHOT_PIECE:
            if (!s->levelling) snapshot_tell_part(s, big, &part);
            snapshot_spend(s, BLOCK_COST);
            break;
        case SNAPSHOT_END:
            big->cut = NULL;
            more = false;
            break;
        case SNAPSHOT_BROKEN:
            s->failed = true;
            s->budget = 0;
            break;
        }
    }
    count_kept(s, big);
    return more;
}

static bool walk_value(struct shard *shard, struct snapshot_big *big)
{
    struct snapshot *s = shard->snapshot;
    struct dict *members = members_of(big);
    if (members) return walk_members(s, big, members);
    if (big->cut) return walk_cut(shard, big);
    return big->blob && !s->levelling && snapshot_text_walk(s, big);
}

void snapshot_big_step(struct shard *shard)
{
    struct snapshot *s = shard->snapshot;
    struct snapshot_big *big = s->bigs;
    if (!big->begun && !s->levelling) {
        big->begun = true;
        s->sink.big_begin(s->sink.ctx, big->db, big->shell, big->count, big->lowest);
    }
    if (big->images) {
        tell_images(s, big);
        return;
    }
    if (walk_value(shard, big)) return;
    if (!s->levelling) {
        check(big->told == big->count || s->failed);
        s->sink.big_end(s->sink.ctx);
    }
    big_end(shard, big);
}

void snapshot_big_abort(struct shard *shard)
{
    struct snapshot *s = shard->snapshot;
    struct snapshot_big *kept = NULL, *kept_last = NULL;
    while (s->bigs) {
        struct snapshot_big *big = s->bigs;
        if (!big->cut && (big->handed_over || !members_of(big))) {
            big_end(shard, big);
            continue;
        }
        while (big->images) drop_chunk(s, big);
        s->bigs = big->next;
        big->next = NULL;
        if (kept) kept_last->next = big;
        else kept = big;
        kept_last = big;
    }
    s->bigs = kept;
    s->bigs_last = kept_last;
}

void snapshot_big_drop(struct shard *shard)
{
    while (shard->snapshot->bigs) big_end(shard, shard->snapshot->bigs);
}

/* ---- what writers owe ---- */

void snapshot_tell_member(struct shard *shard, struct object *object, uint64_t *slot)
{
    struct snapshot *s = shard->snapshot;
    struct snapshot_big *big = object->duty;
    if (s->levelling || dict_is_saved(members_of(big), slot)) return;
    struct snapshot_part part = {0};
    table_slot_set_bits(slot, table_slot_bits(slot) ^ TABLE_BIT_SAVED);
    object->ops->part(table_slot_entry(slot), &part);
    if (big->begun) snapshot_tell_part(s, big, &part);
    else keep_image(s, big, &part);
}

void snapshot_count_kept(struct shard *shard, struct object *object)
{
    count_kept(shard->snapshot, object->duty);
}

bool snapshot_takes_object(struct shard *shard, struct object *object)
{
    struct snapshot *s = shard->snapshot;
    struct snapshot_big *big = object->duty;
    if (s->levelling && !big->cut) {
        /* Nobody has to bring bits into line of what is gone. */
        object->duty = NULL;
        big->object = NULL;
        return false;
    }
    big->handed_over = object->ops->bytes(object);
    s->value_bytes += big->handed_over;
    return true;
}
